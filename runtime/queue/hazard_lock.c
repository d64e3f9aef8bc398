/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard_lock.h"

#include "base/pause.h"
#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { LOOKS = 200, OFFERS = 100, REST_NS = 50000 };

/* A thread that is cancelled here might have the lock, or be about to take it, and would leave it taken. */
static void rest(void) {
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    nanosleep(&(struct timespec){0, REST_NS}, NULL);
    pthread_setcancelstate(state, &state);
}

/* Looks do not write, so that they do not take the line from whoever has the lock. */
void pel_hazard_lock_wait(pel_hazard_lock *lock) {
    for (unsigned look = 1;; look++) {
        if (atomic_load_explicit(&lock->taken, memory_order_relaxed) == 0 &&
            atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire) == 0) {
            return;
        }
        if (look > LOOKS + OFFERS) {
            rest();
        } else if (look > LOOKS) {
            sched_yield();
        } else {
            pel_pause();
        }
    }
}
