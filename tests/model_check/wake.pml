/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wake-up protocol of the task engine (docs/design/workers.md, "Waking"): SUBMITTERS threads put ITEMS items each
 * into lanes that they claim, or run on a worker and push to its deque; WORKERS workers look, run and sleep. When nothing can
 * move any more, everything has been run.
 *
 * FEEDS threads put one item each into a feed of their own without any fence: what they store lies in a buffer until memory has
 * it, they look whether anybody sleeps before that, and only if so they fence and ask as the others do. Who is about to sleep
 * empties all buffers (the heavy barrier) before its last look; MUTANT 3 leaves that out. MUTANT 6:
 * a producer that sees a sleeper does not fence before it asks.
 *
 * One access of shared memory a step, under sequential consistency, as the code's are. `asleep` repeats how many sleep and were
 * not told to wake; it is written under the device's lock and read without. MUTANT 1 tells of the sleeper after its last look,
 * MUTANT 2 leaves that look out: with one worker the model must then fail.
 *
 * AWAY 1: a worker that has found something stays counted in `looking` while it runs it, if nobody sleeps; who falls asleep
 * counts it off. TELLERS threads tell at any time without falling asleep or looking. And the first item waits until all others
 * have been run, as tasks may. MUTANT 4: they count off, too.
 *
 * BUFFERED 1: what a worker pushes to its deque lies in its buffer, too, until it fences, as it does before it asks whom to wake
 * (deque.h: announce), or until memory has it; and whoever makes the child waits until all has been run, as tasks may. MUTANT 5:
 * it does not fence.
 */
#ifndef SUBMITTERS
#define SUBMITTERS 2
#endif
#ifndef ITEMS
#define ITEMS 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CHILDREN
#define CHILDREN 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef FEEDS
#define FEEDS 0
#endif
#ifndef AWAY
#define AWAY 0
#endif
#ifndef TELLERS
#define TELLERS 0
#endif
#ifndef BUFFERED
#define BUFFERED 0
#endif
#define ALL (SUBMITTERS * ITEMS + FEEDS + CHILDREN)

byte lane[SUBMITTERS + 1];    /* items in it */
bool claimed[SUBMITTERS + 1];
byte deque[WORKERS];      /* as memory has it */
bool pushed[WORKERS];     /* in its owner's buffer */
byte feed[FEEDS + 1];      /* as memory has it */
bool buffered[FEEDS + 1];
byte looking = 0, asleep = 0;
bool locked = false;      /* the device's lock */
byte sleeping = 0, tokens = 0;
byte ran = 0, children = CHILDREN;
bool away[WORKERS];
bool waits = false;       /* somebody runs the first item, which waits for the others */

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline tell() { asleep = sleeping - tokens }

/* Under the lock: who is away is counted no more. */
inline count_off() {
    k = 0;
    do
    :: k < WORKERS ->
        atomic { off = away[k]; away[k] = false }
        if
        :: off -> looking--
        :: else -> skip
        fi;
        k++
    :: else -> break
    od;
    k = 0;
    off = false
}

inline wake_one() {
    lock();
    if
    :: sleeping > tokens -> tokens++; tell()
    :: else -> skip
    fi;
    unlock()
}

/* A submitter outside: pushes and asks inside its claim, wakes after it. */
proctype submitter(byte id) {
    byte left = ITEMS;
    bool wake;
    do
    :: left > 0 ->
        left--;
        atomic { !claimed[id] -> claimed[id] = true }
        lane[id]++;
        wake = false;
        if
        :: looking == 0 ->
            if
            :: asleep > 0 -> wake = true
            :: else -> skip
            fi
        :: else -> skip
        fi;
        claimed[id] = false;
        if
        :: wake -> wake_one()
        :: else -> skip
        fi
    :: else -> break
    od
}

inline ask_and_wake() {
    if
    :: looking == 0 ->
        if
        :: asleep > 0 -> wake_one()
        :: else -> skip
        fi
    :: else -> skip
    fi
}

/* Of a feed's item memory learns some time later, or when somebody fences. */
inline flush(which) { atomic { if :: buffered[which] -> buffered[which] = false; feed[which]++ :: else -> skip fi } }

proctype producer(byte id) {
    buffered[id] = true;
    if
    :: asleep > 0 ->
#if MUTANT != 6
        flush(id);
#endif
        ask_and_wake()
    :: else -> skip
    fi
}

proctype memory(byte id) { end_memory: atomic { buffered[id] -> buffered[id] = false; feed[id]++ } }

inline heavy_barrier() {
#if FEEDS > 0 && MUTANT != 3
    d_step {
        i = 0;
        do
        :: i < FEEDS ->
            if
            :: buffered[i] -> buffered[i] = false; feed[i]++
            :: else -> skip
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
#else
    skip
#endif
}

inline flush_push() { atomic { if :: pushed[id] -> pushed[id] = false; deque[id]++ :: else -> skip fi } }

proctype memory_of_worker(byte id) { end_memory: do :: atomic { pushed[id] -> pushed[id] = false; deque[id]++ } od }

/* Looks at every lane, feed and deque once; found: took one item. */
inline take_something() {
    found = false;
    i = 0;
    do
    :: !found && i < SUBMITTERS ->
        atomic { if :: lane[i] > 0 -> lane[i]--; found = true :: else -> skip fi }
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: !found && i < WORKERS ->
        atomic { if :: deque[i] > 0 -> deque[i]--; found = true :: else -> skip fi }
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: !found && i < FEEDS ->
        atomic { if :: feed[i] > 0 -> feed[i]--; found = true :: else -> skip fi }
        i++
    :: else -> break
    od;
    i = 0
}

/* The truth: claims each lane for the look. */
inline any_for_sure() {
    found = false;
    i = 0;
    do
    :: i < SUBMITTERS ->
        atomic { !claimed[i] -> claimed[i] = true }
        found = found || lane[i] > 0;
        claimed[i] = false;
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < WORKERS -> found = found || deque[i] > 0; i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < FEEDS -> found = found || feed[i] > 0; i++
    :: else -> break
    od;
    i = 0
}

/* Whoever looked does not any more: the last one looks after what others left to it. */
inline look_stop() {
    atomic { last = (looking == 1); looking-- }
    if
    :: last && asleep > 0 ->
        any_for_sure();
        if
        :: found -> wake_one()
        :: else -> skip
        fi
    :: else -> skip
    fi;
    last = false
}

inline run_item() {
#if AWAY
    atomic { first = !waits; waits = true }
    if
    :: first -> ran >= ALL - 1; first = false
    :: else -> skip
    fi;
#endif
    ran++;
    atomic { spawn = (children > 0); if :: spawn -> children-- :: else -> skip fi }
    if
    :: spawn ->
#if BUFFERED
        pushed[id] = true;
#if MUTANT != 5
        flush_push();
#endif
        ask_and_wake();
        ran == ALL;
#else
        deque[id]++;
        ask_and_wake();
#endif
        spawn = false
    :: else -> skip
    fi
}

/* As go_away in workers.c: either it stays counted, or it has stopped looking. */
inline go_away() {
    if
    :: asleep == 0 ->
        away[id] = true;
        if
        :: asleep == 0 -> left = true
        :: else ->
            atomic { off = away[id]; away[id] = false }
            if
            :: off -> look_stop()
            :: else -> skip
            fi;
            off = false
        fi
    :: else -> look_stop()
    fi;
    found = false
}

proctype teller() {
    byte k = 0;
    bool off = false;
    lock();
    tell();
#if MUTANT == 4
    count_off();
#endif
    unlock()
}

proctype worker(byte id) {
    byte i = 0, k = 0;
    bool found = false, last = false, spawn = false, works = false, left = false, off = false, first = false;
again:
    looking++;
look:
    take_something();
#if AWAY
    if
    :: found ->
        go_away();
        run_item();
        if
        :: left ->
            left = false;
            atomic { off = away[id]; away[id] = false }
            if
            :: off -> off = false; goto look
            :: else -> goto again
            fi
        :: else -> goto again
        fi
    :: else -> skip
    fi;
#endif
    if
    :: found -> works = true
    :: else -> works = false
    fi;
    found = false;
    look_stop();
    found = false;
    if
    :: works -> works = false; run_item(); goto again
    :: else -> skip
    fi;
    lock();
    sleeping++;
#if MUTANT != 1
    tell();
#endif
#if AWAY
    count_off();
#endif
#if MUTANT != 2
    heavy_barrier();
    any_for_sure();
#endif
    if
    :: found -> found = false; sleeping--; tell(); unlock(); goto again
    :: else -> skip
    fi;
#if MUTANT == 1
    tell();
#endif
    unlock();
end_asleep:
    atomic { tokens > 0 && !locked -> locked = true }
    if
    :: tokens > 0 -> tokens--; sleeping--; tell(); unlock(); goto again
    :: else -> unlock(); goto end_asleep
    fi
}

init {
    byte n = 0;
    atomic {
        do :: n < SUBMITTERS -> run submitter(n); n++ :: else -> break od;
        n = 0;
        do :: n < FEEDS -> run producer(n); run memory(n); n++ :: else -> break od;
        n = 0;
        do :: n < WORKERS -> run worker(n); n++ :: else -> break od;
#if BUFFERED
        n = 0;
        do :: n < WORKERS -> run memory_of_worker(n); n++ :: else -> break od;
#endif
        n = 0;
        do :: n < TELLERS -> run teller(); n++ :: else -> break od
    }
    timeout -> assert(ran == ALL)
}
