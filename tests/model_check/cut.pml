/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new stage is made current (pel_queue_cut, pel_host_feeds_settle) while PRODUCERS threads submit ITEMS bare tasks each: a
 * producer says that it is inside, reads which stage is current, counts its task there, and says that it has left. Its stores
 * lie one after the other in its buffer, which has one place, until memory has them. Who cuts stores the new stage, makes every
 * processor pass a fence, waits until nobody is inside, and sums what the old stage has: nothing is counted there any more.
 *
 * MUTANT 1: who cuts makes nobody fence. MUTANT 2: a producer reads before it says that it is inside. MUTANT 3: who cuts does
 * not wait.
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define EMPTY 0
#define LEAVES 1
#define ENTERS 2
#define COUNTS 3 /* in the old stage; COUNTS + 1: in the new one */

byte stage = 0;               /* 0: the old one */
bool inside[PRODUCERS];
byte begun[2];                /* all shares, of which each has one writer */
byte buffer[PRODUCERS];

inline commit(which) {
    if
    :: buffer[which] == ENTERS -> inside[which] = true
    :: buffer[which] == LEAVES -> inside[which] = false
    :: buffer[which] >= COUNTS -> begun[buffer[which] - COUNTS]++
    :: else -> skip
    fi;
    buffer[which] = EMPTY
}

proctype memory(byte id) {
end_memory:
    do
    :: atomic { buffer[id] != EMPTY -> commit(id) }
    od
}

inline put(what) { atomic { buffer[id] == EMPTY -> buffer[id] = what } }

proctype producer(byte id) {
    byte left = ITEMS, current;
    do
    :: left > 0 ->
        left--;
#if MUTANT == 2
        current = stage;
        put(ENTERS);
#else
        put(ENTERS);
        current = stage;
#endif
        put(COUNTS + current);
        put(LEAVES)
    :: else -> break
    od
}

init {
    byte i = 0, sum;
    atomic {
        do :: i < PRODUCERS -> run producer(i); run memory(i); i++ :: else -> break od
    }
    stage = 1;
#if MUTANT != 1
    for (i : 0 .. PRODUCERS - 1) {
        atomic { commit(i) }
    }
#endif
#if MUTANT != 3
    for (i : 0 .. PRODUCERS - 1) {
        !inside[i]
    }
#endif
    sum = begun[0];
    timeout -> assert(begun[0] == sum && begun[0] + begun[1] == PRODUCERS * ITEMS)
}
