/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker that runs letters one after the other is not counted among those that look (run_letters in backend/host/workers.c); who has submitted something, finds nobody that
 * looks and somebody who sleeps, calls it back with its box, or, where a letter is under way, wakes the sleeper (pel_host_call_back in fork.c). Some letters last until all items
 * have been run: nobody may count on who has begun one. One worker gets letters, another sleeps; OWNERS send LETTERS each, SUBMITTERS submit one item each. When nothing can move any
 * more, everything has been run. One access of shared memory a step, under sequential consistency: what is not ordered so is read with the box or with the count of who looks.
 *
 * MUTANT 1: who calls back does not take the box. MUTANT 2: the worker runs a letter without looking whether it was called back.
 */
#ifndef OWNERS
#define OWNERS 1
#endif
#ifndef LETTERS
#define LETTERS 2
#endif
#ifndef SUBMITTERS
#define SUBMITTERS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

byte items = 0, ran = 0;
byte looking = 0, asleep = 1, token = 0;
byte called = 0, ended = 0;
bool taken = false, awaits = false, look = false;
#define ALL SUBMITTERS

/* In place of a sleeper a worker that awaits letters and has none. */
inline wake() {
    done = false;
    if
    :: awaits && called == ended ->
        if
        :: MUTANT != 1 -> atomic { if :: !taken -> taken = true; got = true :: else -> got = false fi }
        :: else -> got = true
        fi;
        if
        :: got ->
            if
            :: awaits ->
                if
                :: called == ended -> look = true; done = true
                :: else -> skip
                fi
            :: else -> skip
            fi;
            if
            :: MUTANT != 1 -> taken = false
            :: else -> skip
            fi
        :: else -> skip
        fi;
        got = false
    :: else -> skip
    fi;
    if
    :: !done -> atomic { if :: asleep > 0 -> asleep--; token++ :: else -> skip fi }
    :: else -> skip
    fi;
    done = false
}

proctype submitter() {
    bool got = false, done = false;
    items++;
    if
    :: looking == 0 ->
        if
        :: asleep > 0 -> wake()
        :: else -> skip
        fi
    :: else -> skip
    fi
}

proctype owner() {
    byte turn;
    bool mine;
    for (turn : 1 .. LETTERS) {
        atomic { if :: !taken -> taken = true; mine = true :: else -> mine = false fi }
        if
        :: mine ->
            called++;
            (ended == called);
            taken = false
        :: else -> skip
        fi
    }
}

inline look_back() {
    if
    :: asleep > 0 ->
        if
        :: items > 0 -> wake()
        :: else -> skip
        fi
    :: else -> skip
    fi
}

inline look_stop() {
    atomic { last = (looking == 1); looking-- }
    if
    :: last -> look_back()
    :: else -> skip
    fi;
    last = false
}

inline run_letter() { if :: true -> skip :: true -> (ran == ALL) fi; ended = seen }

proctype worker() {
    byte seen = 0;
    bool got = false, done = false, last = false;
    looking++;
spin:
    if
    :: called != seen ->
        seen = called;
        look_stop();
        run_letter();
        awaits = true
    :: atomic { items > 0 -> items-- }
        look_stop();
        ran++;
        looking++;
        goto spin
    :: ran == ALL && called == seen -> goto end_over
    fi;
wait_for_letter:
    if
    :: called != seen ->
        seen = called;
        if
        :: look && MUTANT != 2 -> look = false; look_back()
        :: else -> skip
        fi;
        run_letter();
        goto wait_for_letter
    :: true -> skip /* called back, or it has looked for long enough */
    fi;
    looking++;
    awaits = false;
    look = false;
    goto spin;
end_over:
    if
    :: called != seen -> goto spin
    :: items > 0 -> goto spin
    fi
}

proctype sleeper() {
    bool got = false, done = false, last = false;
end_asleep:
    atomic { token > 0 -> token-- }
again:
    looking++;
    if
    :: atomic { items > 0 -> items-- }
        look_stop();
        ran++;
        goto again
    :: items == 0 -> look_stop()
    fi;
    asleep++;
    if
    :: items > 0 -> atomic { if :: asleep > 0 -> asleep--; goto again :: else -> skip fi }
    :: else -> skip
    fi;
    goto end_asleep
}

init {
    byte n;
    atomic {
        for (n : 1 .. SUBMITTERS) { run submitter() }
        for (n : 1 .. OWNERS) { run owner() }
        run worker();
        run sleeper()
    }
    timeout -> assert(ran == ALL)
}
