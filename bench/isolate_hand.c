/* SPDX-License-Identifier: BSD-3-Clause */
#include "isolate_hand.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SPIN_NS = 50000 /* as pel's workers do */ };

typedef struct member {
    pel_isolate_hand *hand;
    pthread_t thread;
    uint32_t index;
} member;

struct pel_isolate_hand {
    pel_host_fn function;
    member *members;
    uint32_t count, started; /* parts; threads */
    uint32_t *private;
    const uint32_t *x;
    uint32_t *y;
    uint32_t items;
    bool stop;
    pthread_mutex_t lock;
    pthread_cond_t go, done;
    _Alignas(64) atomic_uint round;
    _Alignas(64) atomic_uint left;
};

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000 + at.tv_nsec;
}

/* Looks for a while, then sleeps. */
static void await_round(pel_isolate_hand *hand, unsigned round) {
    for (const int64_t until = now() + SPIN_NS; now() < until;) {
        if (atomic_load_explicit(&hand->round, memory_order_acquire) == round) {
            return;
        }
    }
    pthread_mutex_lock(&hand->lock);
    while (atomic_load_explicit(&hand->round, memory_order_relaxed) != round) {
        pthread_cond_wait(&hand->go, &hand->lock);
    }
    pthread_mutex_unlock(&hand->lock);
}

static void compute(const pel_isolate_hand *hand, uint32_t index) {
    pel_span span = {.dims = 1, .global = {hand->items}, .local = {1}};
    span.lo[0] = (uint64_t)hand->items * index / hand->count;
    span.hi[0] = (uint64_t)hand->items * (index + 1) / hand->count;
    void *arguments[] = {(void *)(uintptr_t)hand->x, hand->y};
    (void)hand->function(&span, arguments, NULL, NULL);
}

static void *work(void *context) {
    const member *me = context;
    pel_isolate_hand *hand = me->hand;
    for (unsigned round = 1;; round++) {
        await_round(hand, round);
        if (hand->stop) {
            return NULL;
        }
        compute(hand, me->index);
        if (atomic_fetch_sub_explicit(&hand->left, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&hand->lock);
            pthread_cond_signal(&hand->done);
            pthread_mutex_unlock(&hand->lock);
        }
    }
}

static void begin(pel_isolate_hand *hand) {
    atomic_store_explicit(&hand->left, hand->started, memory_order_relaxed);
    pthread_mutex_lock(&hand->lock);
    atomic_fetch_add_explicit(&hand->round, 1, memory_order_release);
    pthread_cond_broadcast(&hand->go);
    pthread_mutex_unlock(&hand->lock);
}

bool pel_isolate_hand_run(pel_isolate_hand *hand, const uint32_t *x, uint32_t *y, uint32_t items, bool keep) {
    if (keep) {
        memcpy(hand->private, y, items * sizeof *y);
    }
    hand->x = x;
    hand->y = hand->private;
    hand->items = items;
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec++;
    begin(hand);
    int code = 0;
    pthread_mutex_lock(&hand->lock);
    while (atomic_load_explicit(&hand->left, memory_order_acquire) > 0 && code == 0) {
        code = pthread_cond_timedwait(&hand->done, &hand->lock, &deadline);
    }
    pthread_mutex_unlock(&hand->lock);
    if (atomic_load_explicit(&hand->left, memory_order_acquire) > 0) {
        return false;
    }
    memcpy(y, hand->private, items * sizeof *y);
    return true;
}

/* The caller's part takes as long as the others', so it looks for a moment before it sleeps. */
void pel_isolate_hand_plain(pel_isolate_hand *hand, const uint32_t *x, uint32_t *y, uint32_t items) {
    hand->x = x;
    hand->y = y;
    hand->items = items;
    begin(hand);
    compute(hand, hand->count - 1);
    for (const int64_t until = now() + SPIN_NS; now() < until && atomic_load_explicit(&hand->left, memory_order_acquire) > 0;) {
    }
    pthread_mutex_lock(&hand->lock);
    while (atomic_load_explicit(&hand->left, memory_order_acquire) > 0) {
        pthread_cond_wait(&hand->done, &hand->lock);
    }
    pthread_mutex_unlock(&hand->lock);
}

void pel_isolate_hand_close(pel_isolate_hand *hand) {
    if (!hand) {
        return;
    }
    hand->stop = true;
    begin(hand);
    for (uint32_t i = 0; i < hand->started; i++) {
        pthread_join(hand->members[i].thread, NULL);
    }
    pthread_cond_destroy(&hand->done);
    pthread_cond_destroy(&hand->go);
    pthread_mutex_destroy(&hand->lock);
    free(hand->private);
    free(hand->members);
    free(hand);
}

pel_isolate_hand *pel_isolate_hand_open(uint32_t threads, pel_host_fn function, uint32_t items, bool with_caller) {
    pel_isolate_hand *hand = aligned_alloc(64, sizeof *hand);
    if (!hand) {
        return NULL;
    }
    memset(hand, 0, sizeof *hand);
    hand->function = function;
    hand->count = threads;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&hand->lock, NULL);
    pthread_cond_init(&hand->go, NULL);
    pthread_cond_init(&hand->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    hand->members = calloc(threads, sizeof *hand->members);
    hand->private = calloc(items, sizeof *hand->private);
    bool fine = hand->members && hand->private;
    for (uint32_t i = 0; fine && i + with_caller < threads; i++) {
        hand->members[i].hand = hand;
        hand->members[i].index = i;
        fine = pthread_create(&hand->members[i].thread, NULL, work, &hand->members[i]) == 0;
        hand->started += fine;
    }
    if (!fine) {
        pel_isolate_hand_close(hand);
        hand = NULL;
    }
    return hand;
}
