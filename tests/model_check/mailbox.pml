/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Letters to a worker (runtime/backend/host/mailbox.h), step by step: one access of shared memory each. The two stores that others look for without a compare-and-swap, that a letter
 * has ended and that its owner sleeps, lie in a buffer of their processor until memory has them. OWNERS owners send LETTERS letters each to one worker; each takes its letter back,
 * or not, at any time, looks until it is over, or sleeps. Every letter runs exactly once, is read as it was written, and nobody sleeps for ever. MUTANT 1: the worker does not claim
 * a letter; MUTANT 2: the owner fences itself alone before it looks once more, and not the worker, too; MUTANT 3: nobody; MUTANT 4: owners do not take the box.
 */
#ifndef OWNERS
#define OWNERS 2
#endif
#ifndef LETTERS
#define LETTERS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define ALL (OWNERS * LETTERS)

byte called = 0, letter = 0, begun = 0, ended = 0, number = 0;
byte answer = 0;                             /* the worker's buffer; 0: empty */
bool sleeps = false, going = false, says;    /* the owner's buffer: whether something is in it, and what */
bool locked = false, signalled = false, taken = false, over = false;
byte ran[ALL + 1];
byte owners_left = OWNERS;

inline lock() { atomic { !locked -> locked = true } }

active proctype memory() {
    do
    :: atomic { answer != 0 -> ended = answer; answer = 0 }
    :: atomic { going -> sleeps = says; going = false }
    :: atomic { owners_left == 0 && over && answer == 0 && !going -> break }
    od
}

active proctype worker() {
    byte seen = 0, text;
    bool mine;
    do
    :: called != seen ->
        seen = called;
        atomic {
            mine = (MUTANT == 1 || begun == seen - 1);
            begun = (mine -> seen : begun)
        }
        if
        :: mine ->
            text = letter;
            d_step {
                assert(text == seen);
                ran[seen]++;
                assert(ran[seen] == 1)
            }
        :: else -> skip
        fi;
        atomic { answer == 0 -> answer = seen }
        if
        :: mine && sleeps ->
            (answer == 0); /* who takes a lock fences */
            lock();
            signalled = true;
            locked = false
        :: else -> skip
        fi
    :: owners_left == 0 -> break
    od;
    over = true
}

proctype owner() {
    byte turn, n;
    bool back;
    for (turn : 1 .. LETTERS) {
        if
        :: MUTANT != 4 -> atomic { !taken -> taken = true }
        :: else -> skip
        fi;
        n = number + 1;
        number = n;
        letter = 0;
        letter = n;
        called = n;
        back = false;
        do
        :: ended == n -> break
        :: begun != n ->
            atomic {
                back = (begun == n - 1);
                begun = (back -> n : begun)
            }
            if
            :: back ->
                d_step {
                    ran[n]++;
                    assert(ran[n] == 1)
                }
                break
            :: else -> skip
            fi
        :: begun == n ->
            lock();
            atomic { !going -> going = true; says = true }
            if
            :: MUTANT != 3 -> (!going)
            :: else -> skip
            fi;
            if
            :: MUTANT < 2 || MUTANT > 3 -> atomic { if :: answer != 0 -> ended = answer; answer = 0 :: else -> skip fi }
            :: else -> skip
            fi;
            do
            :: ended == n -> break
            :: else ->
                locked = false;
                atomic { signalled -> signalled = false }
                lock()
            od;
            atomic { !going -> going = true; says = false }
            locked = false;
            break
        od;
        taken = false
    }
    owners_left--
}

init {
    byte i;
    atomic {
        for (i : 1 .. OWNERS) {
            run owner()
        }
    }
    (owners_left == 0);
    for (i : 1 .. ALL) {
        assert(ran[i] == 1)
    }
}
