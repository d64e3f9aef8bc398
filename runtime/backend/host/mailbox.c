/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/mailbox.h"

#include "base/barrier.h"
#include "base/clock.h"
#include "base/pause.h"
#include <string.h>

enum { LOOKS_PER_CLOCK = 64 };

void pel_host_mailbox_init(pel_host_mailbox *box) {
    pthread_mutex_init(&box->lock, NULL); /* default attributes: these cannot fail on Linux */
    pthread_cond_init(&box->over, NULL);
}

void pel_host_mailbox_destroy(pel_host_mailbox *box) {
    pthread_mutex_destroy(&box->lock);
    pthread_cond_destroy(&box->over);
}

/* Letters are numbered one after the other, and each is begun or taken back before the next one is posted. */
static bool settle(pel_host_mailbox *box, uint64_t number) {
    uint64_t before = number - 1;
    return atomic_compare_exchange_strong_explicit(&box->begun, &before, number, memory_order_acquire, memory_order_acquire);
}

/* The letter may be read only once it is claimed. The answer's line is not fetched ahead: its owner looks at it by now, and would
 * take it back before the answer is there (17 ns more). */
bool pel_host_mailbox_claim(pel_host_mailbox *box) {
    box->seen = atomic_load_explicit(&box->called, memory_order_acquire);
    if (settle(box, box->seen)) {
        return true;
    }
    atomic_store_explicit(&box->ended, box->seen, memory_order_release);
    return false;
}

/*
 * It says that it has ended and looks then whether its owner sleeps, who says that and looks then whether it has ended. The fence
 * of both is the owner's (there are no letters where all processors cannot be fenced): here it would wait until the answer's line
 * has come, 65 to 80 ns of each letter by hand (2 vCPUs, 2026-11).
 */
void pel_host_mailbox_run(pel_host_mailbox *box) {
    box->status = box->run(box->letter);
    atomic_store_explicit(&box->ended, box->seen, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&box->owner_sleeps, memory_order_relaxed)) {
        pthread_mutex_lock(&box->lock);
        pthread_cond_broadcast(&box->over);
        pthread_mutex_unlock(&box->lock);
    }
}

void pel_host_mailbox_post(pel_host_mailbox *box, pel_host_letter_fn run, const void *letter, size_t bytes) {
    const uint64_t number = atomic_load_explicit(&box->number, memory_order_relaxed) + 1;
    atomic_store_explicit(&box->number, number, memory_order_relaxed);
    box->run = run;
    memcpy(box->letter, letter, bytes);
    atomic_store_explicit(&box->called, number, memory_order_release);
}

bool pel_host_mailbox_take_back(pel_host_mailbox *box) {
    const uint64_t number = atomic_load_explicit(&box->number, memory_order_relaxed);
    return !pel_host_mailbox_is_over(box) && atomic_load_explicit(&box->begun, memory_order_relaxed) != number &&
           settle(box, number);
}

static void sleep_until_over(pel_host_mailbox *box) {
    pthread_mutex_lock(&box->lock);
    atomic_store_explicit(&box->owner_sleeps, true, memory_order_relaxed);
    pel_barrier_heavy();
    while (!pel_host_mailbox_is_over(box)) {
        pthread_cond_wait(&box->over, &box->lock);
    }
    atomic_store_explicit(&box->owner_sleeps, false, memory_order_relaxed);
    pthread_mutex_unlock(&box->lock);
}

pel_status pel_host_mailbox_await(pel_host_mailbox *box, int64_t spin_ns) {
    int64_t until = 0;
    for (unsigned look = 1; !pel_host_mailbox_is_over(box); look++) {
        pel_pause();
        if (look % LOOKS_PER_CLOCK == 0) {
            const int64_t now = pel_clock_now(&pel_clock_monotonic);
            until = until == 0 ? now + spin_ns : until;
            if (now >= until) {
                sleep_until_over(box);
            }
        }
    }
    return box->status;
}
