/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A task that is only a node begins or is cancelled (queue/event.h), step by step: one access of shared memory each. What the
 * runner and the canceller store, that it has begun and that somebody wishes, lies in a buffer of their processor until memory
 * has it. The canceller makes every processor pass a fence before it looks; FENCED 1: where there is no membarrier, each fences
 * after its own store. CANCELLERS come one after the other, under a lock. The task runs, or one of them was told that it will
 * not.
 *
 * MUTANT 1: the canceller makes nobody fence; FENCED: MUTANT 2: the runner does not fence, MUTANT 3: the canceller does not.
 * MUTANT 4: a runner that meets a wish runs without settling it; MUTANT 5: a canceller does not settle it; MUTANT 6: a second
 * one wishes again.
 */
#ifndef CANCELLERS
#define CANCELLERS 2
#endif
#ifndef FENCED
#define FENCED 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define WISHED 1
#define CANCELLED 2
#define BEGUN 3

bool running = false, begins = false; /* as memory has it; in the runner's buffer */
byte wish = 0;
bool wishes = false;                  /* in the canceller's buffer: WISHED */
bool locked = false;
byte ran = 0, cancelled = 0;

inline flush_runner() { atomic { if :: begins -> begins = false; running = true :: else -> skip fi } }
inline flush_canceller() { atomic { if :: wishes -> wishes = false; wish = WISHED :: else -> skip fi } }

proctype memory() {
end_memory:
    do
    :: atomic { begins -> begins = false; running = true }
    :: atomic { wishes -> wishes = false; wish = WISHED }
    od
}

proctype runner() {
    bool mine = false;
    begins = true;
#if FENCED && MUTANT != 2
    flush_runner();
#endif
    if
    :: wish == 0 -> mine = true
    :: else ->
#if MUTANT == 4
        mine = true
#else
        flush_runner(); /* a read-modify-write */
        atomic { mine = (wish == WISHED); wish = (mine -> BEGUN : wish) }
#endif
    fi;
    ran = (mine -> ran + 1 : ran)
}

proctype canceller() {
    bool mine = false;
    atomic { !locked -> locked = true }
    if
    :: wish == 0 || MUTANT == 6 ->
        wishes = true;
#if !FENCED || MUTANT != 3
        flush_canceller();
#endif
#if !FENCED && MUTANT != 1
        flush_runner();
#endif
        if
        :: !running ->
            flush_canceller(); /* a read-modify-write */
#if MUTANT == 5
            mine = true;
            wish = CANCELLED
#else
            atomic { mine = (wish == WISHED); wish = (mine -> CANCELLED : wish) }
#endif
        :: else -> skip
        fi
    :: else -> skip
    fi;
    cancelled = (mine -> cancelled + 1 : cancelled);
    flush_canceller();
    locked = false
}

init {
    byte n = 0;
    atomic {
        do :: n < CANCELLERS -> run canceller(); n++ :: else -> break od;
        run runner();
        run memory()
    }
    timeout -> assert(ran + cancelled == 1)
}
