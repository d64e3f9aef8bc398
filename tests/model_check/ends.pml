/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who ends the last task of a stage tells (queue/stage.h, pel_task_count): ENDERS runners end one task each, each in a share of
 * its own, with a plain store that lies in the runner's buffer until memory has it, or somebody fences. Then a runner looks
 * whether anybody watches; if so it fences, sums, and tells if all is over. The waiter says that it watches, makes every
 * processor pass a fence, sums, and sleeps until it is told. When nothing can move any more, it is not asleep.
 *
 * FENCED 1: this system has no membarrier. Every runner fences after its store, the waiter only itself after its own, which lies
 * in its buffer until then, too.
 *
 * MUTANT 1: runners do not fence before they sum. MUTANT 2: the waiter makes nobody fence. FENCED: MUTANT 3: runners do not
 * fence after their store; MUTANT 4: the waiter does not.
 */
#ifndef ENDERS
#define ENDERS 2
#endif
#ifndef FENCED
#define FENCED 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

bool ended[ENDERS], buffered[ENDERS];
bool watched = false, says = false, told = false, over = false;

inline flush(which) { atomic { if :: buffered[which] -> buffered[which] = false; ended[which] = true :: else -> skip fi } }

proctype memory(byte id) { end_memory: atomic { buffered[id] -> buffered[id] = false; ended[id] = true } }

proctype memory_of_waiter() { end_memory: atomic { says -> says = false; watched = true } }

/* Its own share it sees before memory does. */
proctype ender(byte id) {
    byte i = 0;
    bool all = true;
    buffered[id] = true;
#if FENCED && MUTANT != 3
    flush(id);
#endif
    if
    :: watched ->
#if MUTANT != 1
        flush(id);
#endif
        do
        :: i < ENDERS -> all = all && (ended[i] || (i == id && buffered[i])); i++
        :: else -> break
        od;
        if
        :: all -> flush(id); told = true /* under a lock */
        :: else -> skip
        fi
    :: else -> skip
    fi
}

proctype waiter() {
    byte i = 0;
    bool all = true;
    says = true;
#if MUTANT != 4
    atomic { if :: says -> says = false; watched = true :: else -> skip fi }
#endif
#if !FENCED && MUTANT != 2
    do
    :: i < ENDERS -> flush(i); i++
    :: else -> break
    od;
    i = 0;
#endif
    do
    :: i < ENDERS -> all = all && ended[i]; i++
    :: else -> break
    od;
    if
    :: all -> skip
    :: else -> end_asleep: told
    fi;
    over = true
}

init {
    byte n = 0;
    atomic {
        do :: n < ENDERS -> run ender(n); run memory(n); n++ :: else -> break od;
        run waiter();
        run memory_of_waiter()
    }
    timeout -> assert(over)
}
