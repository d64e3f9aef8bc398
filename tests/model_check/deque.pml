/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work-stealing deque (runtime/backend/host/deque.h), step by step: one access of shared memory each, under sequential consistency. An owner
 * pushes ITEMS items through SLOTS slots and takes between; thieves steal. Every item is got exactly once; a full deque refuses; nothing is lost.
 *
 * MUTANT 1: the owner's store of `bottom` and its look at `top` change places, as without the fence between them. MUTANT 2: the owner takes the
 * last item without a compare-and-swap. MUTANT 3: a thief does. The model must find each of them out.
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef ITEMS
#define ITEMS 4
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef THIEVES
#define THIEVES 2
#endif

int top = 0, bottom = 0;
byte slot[SLOTS];
byte got[ITEMS + 1];
byte refused = 0;
byte thieves_left = THIEVES;

inline have(item) {
    d_step {
        assert(item >= 1 && item <= ITEMS);
        got[item]++;
        assert(got[item] == 1);
    }
}

inline push(item) {
    b = bottom;
    t = top;
    if
    :: b - t >= SLOTS -> have(item); refused++ /* it goes to a lane */
    :: else -> slot[b % SLOTS] = item; bottom = b + 1
    fi
}

inline take() {
    b = bottom - 1;
    t = top;
    if
    :: t > b -> skip
    :: else ->
#if MUTANT == 1
        t = top;
        bottom = b;
#else
        bottom = b;
        t = top;
#endif
        if
        :: t > b -> bottom = b + 1
        :: else ->
            x = slot[b % SLOTS];
            if
            :: t == b ->
#if MUTANT == 2
                won = (top == t);
                top = t + 1;
#else
                atomic { won = (top == t); if :: won -> top = t + 1 :: else -> skip fi }
#endif
                bottom = b + 1;
                if :: won -> have(x) :: else -> skip fi
            :: else -> have(x)
            fi
        fi
    fi
}

proctype thief() {
    int t, b;
    byte x, tries = 0;
    bool won;
    do
    :: tries < 3 ->
        tries++;
        t = top;
        b = bottom;
        if
        :: t >= b -> skip
        :: else ->
            x = slot[t % SLOTS];
#if MUTANT == 3
            won = (top == t);
            if :: won -> top = t + 1 :: else -> skip fi;
#else
            atomic { won = (top == t); if :: won -> top = t + 1 :: else -> skip fi }
#endif
            if :: won -> have(x) :: else -> skip fi
        fi
    :: break
    od;
    thieves_left--
}

init {
    int b, t;
    byte x, next = 1, i = 0;
    bool won;
    atomic { do :: i < THIEVES -> run thief(); i++ :: else -> break od }
    do
    :: next <= ITEMS -> push(next); next++
    :: next > 1 && next <= ITEMS -> take(); push(next); next++
    :: next > ITEMS -> break
    od;
    thieves_left == 0; /* what they left is the owner's */
    do
    :: top < bottom -> take()
    :: else -> break
    od;
    for (i : 1 .. ITEMS) { assert(got[i] == 1) }
}
