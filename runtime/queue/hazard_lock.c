/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard_lock.h"

#include "base/pause.h"
#include <sched.h>
#include <time.h>

enum { LOOKS = 200, OFFERS = 100, REST_NS = 50000 };

/* Looks do not write, so that they do not take the line from whoever has the lock. */
void pel_hazard_lock_wait(pel_hazard_lock *lock) {
    for (unsigned look = 1;; look++) {
        if (atomic_load_explicit(&lock->taken, memory_order_relaxed) == 0 &&
            atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire) == 0) {
            return;
        }
        if (look > LOOKS + OFFERS) {
            nanosleep(&(struct timespec){0, REST_NS}, NULL);
        } else if (look > LOOKS) {
            sched_yield();
        } else {
            pel_pause();
        }
    }
}
