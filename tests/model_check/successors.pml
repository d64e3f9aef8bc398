/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of successors (runtime/queue/node_list.h; task_few.c: follow), one access of shared memory a step.
 *
 * TASKS tasks are submitted at once, after predecessors that end meanwhile: a task's first entry in a list is linked through its
 * node, the second through its block beside, the third is an edge. Task 0 comes after predecessors 0, 1 and 0 once more, task 1
 * after 1, 0, 1, or as task 0 does (ALIKE 1); so a list may have one of them twice. Who ends looks through the list first
 * (pel_node_foresee; predecessor 1 here), closes it, tells all who are in it, gives its node up, and is another task with an open
 * list. A task that is started is another one at once, too: its links are anything.
 *
 * Each task starts exactly once, after all of its predecessors have closed their lists; no link is read that is not there; nobody
 * joins the list of a node's next life. MUTANT 1: who ends tells a successor before it reads its link. MUTANT 2: the second entry
 * is linked through the node, too. MUTANT 3: whether nothing follows is not asked again where the compare-and-swap met another
 * head. MUTANT 4: the generation is not compared. MUTANT 5: who goes without a predecessor stores what is left also when others
 * know the task already.
 */
#ifndef TASKS
#define TASKS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef ALIKE
#define ALIKE 0
#endif
#define PREDECESSORS 2
#define ADDRESS 31 /* of a word: the entry; 1 + 4 * task + which of its entries */
#define LAST 32
#define CLOSED 64
#define TAG 128
#define GARBAGE 255
#define task_of(entry) (((entry) - 1) / 4)
#define kind_of(entry) (((entry) - 1) % 4)
#define same(entry, other) ((entry) == (other) || ((entry) > 0 && (other) > 0 && task_of(entry) == task_of(other) && \
                            kind_of(entry) < 2 && kind_of(other) < 2))
#define before(task, i) (((i) == 1) != ((task) == 1 && !ALIKE) -> 1 : 0)
#define open(word) (((word) & CLOSED) == 0 && (MUTANT == 4 || (word) < TAG))
#define slot(entry) ((MUTANT == 2 && kind_of(entry) == 1) -> (entry) - 1 : (entry))

short head[PREDECESSORS];
byte generation[PREDECESSORS];
bool closed[PREDECESSORS];
byte link[1 + 4 * TASKS];
byte pending[TASKS];
bool started[TASKS];

inline start(task) {
    d_step {
        assert(!started[task]);
        started[task] = true;
        assert(closed[0] && closed[1]);
        link[1 + 4 * (task)] = GARBAGE;
        link[2 + 4 * (task)] = GARBAGE
    }
}

inline arrive(task, last) {
    last = (pending[task] == 1);
    if
    :: last -> pending[task] = 0
    :: else ->
        atomic {
            pending[task]--;
            last = (pending[task] == 0)
        }
    fi
}

inline read(entry, rest) {
    if
    :: ((entry) & LAST) != 0 -> rest = 0
    :: else ->
        rest = link[slot((entry) & ADDRESS)];
        assert(rest != GARBAGE)
    fi
}

proctype predecessor(byte me) {
    short at = head[me] & (ADDRESS | LAST), rest;
    byte i = 0, to;
    bool last;
    do
    :: me == 1 && i < 3 && (at & ADDRESS) != 0 -> /* one of them does for all */
        read(at, at);
        i++
    :: else -> break
    od;
    atomic {
        i = 0;
        at = head[me] & (ADDRESS | LAST);
        head[me] = CLOSED;
        closed[me] = true
    }
    do
    :: (at & ADDRESS) == 0 -> break
    :: else ->
        to = task_of(at & ADDRESS);
        if
        :: MUTANT == 1 -> skip
        :: else ->
            read(at, rest);
            if
            :: kind_of(at & ADDRESS) > 1 -> link[at & ADDRESS] = GARBAGE
            :: else -> skip
            fi
        fi;
        arrive(to, last);
        if
        :: last -> start(to)
        :: else -> skip
        fi;
        if
        :: MUTANT == 1 -> read(at, rest)
        :: else -> skip
        fi;
        at = rest;
        last = false
    od;
    atomic {
        rest = 0;
        to = 0;
        generation[me] = 1
    }
    head[me] = TAG
}

proctype submitter(byte me) {
    byte after[3], count = 0, entries = 0, i, from, entry, all;
    short word, wanted, known = -1;
    bool ready, joined, nothing;
    for (i : 0 .. 2) {
        if
        :: generation[before(me, i)] == 0 ->
            after[count] = before(me, i);
            count++
        :: else -> skip
        fi
    }
    pending[me] = count;
    ready = (count == 0);
    all = count;
    i = 0;
    do
    :: i == all -> break
    :: else ->
        from = after[i];
        joined = false;
        entry = 1 + 4 * me + entries;
        word = head[from];
        nothing = ((word & ADDRESS) == 0);
        do
        :: !open(word) || same(word & ADDRESS, known) -> break
        :: else ->
            link[slot(entry)] = word & (ADDRESS | LAST);
            if
            :: MUTANT == 3 -> skip
            :: else -> nothing = ((word & ADDRESS) == 0)
            fi;
            wanted = (word & TAG) | entry | (nothing -> LAST : 0);
            atomic {
                if
                :: head[from] == word ->
                    head[from] = wanted;
                    joined = true
                :: else -> word = head[from]
                fi
            }
            if
            :: joined -> break
            :: else -> skip
            fi
        od;
        if
        :: joined ->
            known = entry;
            entries++
        :: !joined && (entries == 0 || MUTANT == 5) ->
            count--;
            ready = (count == 0);
            pending[me] = count
        :: else -> arrive(me, ready)
        fi;
        d_step {
            i++;
            entry = 0;
            word = 0;
            wanted = 0;
            from = 0;
            joined = false;
            nothing = false
        }
    od;
    if
    :: ready -> start(me)
    :: else -> skip
    fi
}

init {
    byte i;
    atomic {
        for (i : 0 .. PREDECESSORS - 1) {
            run predecessor(i)
        }
        for (i : 0 .. TASKS - 1) {
            run submitter(i)
        }
    }
    (_nr_pr == 1);
    for (i : 0 .. TASKS - 1) {
        assert(started[i])
    }
    for (i : 0 .. PREDECESSORS - 1) {
        assert(head[i] == TAG)
    }
}
