/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups of calls (runtime/backend/host/group.h), step by step: one access of shared memory each. What the owner stores lies in
 * a buffer of one place until memory has it, or a thief makes every processor pass a fence. An owner opens groups of FIRST and
 * SECOND calls in one place and makes them; THIEVES thieves try twice each. Every call is made exactly once. MUTANT 1: the owner
 * does not look for a wish; MUTANT 2: it opens a group without closing the one before; MUTANT 3: a thief makes nobody fence;
 * MUTANT 4: the owner settles without the lock.
 */
#ifndef FIRST
#define FIRST 3
#endif
#ifndef SECOND
#define SECOND 2
#endif
#ifndef THIEVES
#define THIEVES 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define ALL (FIRST + SECOND)
#define MOST 4

byte next = 0, end = 0;
bool wish = false, busy = false;
byte call[MOST];
byte made[ALL + 1];
byte thieves_left = THIEVES;

#define EMPTY 0
#define NEXT 1
#define END 2
byte buffer = EMPTY, value; /* the owner's */

inline commit() {
    if
    :: buffer == NEXT -> next = value
    :: buffer == END -> end = value
    :: else -> skip
    fi;
    buffer = EMPTY
}

inline put(what, to) { atomic { buffer == EMPTY -> buffer = what; value = to } }
inline fence() { buffer == EMPTY }

active proctype memory() {
end_memory:
    do
    :: atomic { buffer != EMPTY -> commit() }
    od
}

inline make(c) {
    d_step {
        assert(c >= 1 && c <= ALL);
        made[c]++;
        assert(made[c] == 1);
        c = 0
    }
}

proctype owner() {
    byte round, count, base = 1, i, n, c;
    bool mine;
    for (round : 0 .. 1) {
        count = (round == 0 -> FIRST : SECOND);
        for (i : 0 .. count - 1) {
            call[i] = base + i
        }
        base = base + count;
        if
        :: MUTANT != 2 -> put(END, 0)
        :: else -> skip
        fi;
        put(NEXT, 1);
        put(END, count);
        if
        :: count > 1 -> fence()
        :: else -> skip
        fi;
        c = call[0];
        make(c);
        do
        :: atomic { n = (buffer == NEXT -> value : next) }
            if
            :: n >= (buffer == END -> value : end) -> break
            :: else -> skip
            fi;
            put(NEXT, n + 1);
            mine = false;
            if
            :: MUTANT == 1 || !wish ->
                if
                :: n < end -> mine = true
                :: else -> skip
                fi
            :: else -> skip
            fi;
            if
            :: !mine ->
#if MUTANT != 4
                atomic { !busy && buffer == EMPTY -> busy = true }
#endif
                mine = (n < end);
                if
                :: !mine -> put(NEXT, n)
                :: else -> skip
                fi;
#if MUTANT != 4
                atomic { buffer == EMPTY -> busy = false }
#endif
            :: else -> skip
            fi;
            if
            :: mine -> c = call[n]; make(c)
            :: else -> skip
            fi
        od
    }
}

proctype thief() {
    byte turn, n, e, at, i, c;
    bool got;
    for (turn : 0 .. 1) {
        atomic { got = !busy; busy = true }
        if
        :: got ->
            wish = true;
#if MUTANT != 3
            atomic { commit() }
#endif
            n = next;
            e = end;
            if
            :: n < e ->
                at = n + (e - n) / 2;
                for (i : at .. e - 1) {
                    c = call[i];
                    make(c)
                }
                end = at
            :: else -> skip
            fi;
            wish = false;
            busy = false
        :: else -> skip
        fi
    }
    thieves_left--
}

init {
    byte i;
    pid own;
    atomic {
        own = run owner();
        for (i : 1 .. THIEVES) {
            run thief()
        }
    }
    (_nr_pr == 2); /* memory stays */
    for (i : 1 .. ALL) {
        assert(made[i] == 1)
    }
}
