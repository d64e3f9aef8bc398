/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock of the hazards: a word, taken by one exchange and given up by a plain store.
 *
 * It is taken once in each submission of a task with accesses, for 20 to 100 ns, nearly always by a thread that had it before. A
 * mutex of the system needs a second read-modify-write to give it up, because somebody might sleep: two of them are a fifth of
 * what a link of a chain costs to submit. Here nobody sleeps in the kernel for it: who finds it taken looks for a while, then
 * offers its core to whoever has it, and after long (a sweep of a million intervals lasts 10 ms) rests between the looks.
 */
#ifndef PEL_QUEUE_HAZARD_LOCK_H
#define PEL_QUEUE_HAZARD_LOCK_H

#include <stdatomic.h>

typedef struct pel_hazard_lock {
    atomic_uint taken;
} pel_hazard_lock;

void pel_hazard_lock_wait(pel_hazard_lock *lock);

static inline void pel_hazard_lock_take(pel_hazard_lock *lock) {
    if (atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire) != 0) {
        pel_hazard_lock_wait(lock);
    }
}

static inline void pel_hazard_lock_give(pel_hazard_lock *lock) { atomic_store_explicit(&lock->taken, 0, memory_order_release); }

#endif
