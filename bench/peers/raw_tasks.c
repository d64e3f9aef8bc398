/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody writes who needs just this: any thread may submit a function and a context, workers run them, and the submitter
 * can wait until all are done. A bounded ring, whose memory is used again; submitters take a lock that is a word (they may be
 * several), so that a submission is an exchange and a few stores; consumers take 64 at a time with one compare-and-swap and count
 * what they have run once for these. Behind the gate the worker sleeps; when it opens, the submitter takes part, as a waiter of
 * the others does. Nothing else: no priorities, no failures, no growth, no children, no sleep but in the gate. The second form
 * has one submitter for good, and no lock.
 */
#include "raw_tasks.h"
#include "workload.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BATCH = 64 };

typedef struct entry {
    int (*function)(void *context);
    void *context;
} entry;

static struct {
    _Alignas(64) _Atomic unsigned locked; /* by who submits */
    uint64_t written;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t over;
    _Atomic bool stop;
    uint64_t mask;
    entry *entries;
} ring;

static int count_one(void *context) {
    (void)context;
    workload_count();
    return 0;
}

/* False: it is full. The entry may be written as soon as its last task was taken: consumers copy before they claim. */
__attribute__((noinline))
static bool submit(bool several, int (*function)(void *context), void *context) {
    while (several && atomic_exchange_explicit(&ring.locked, 1, memory_order_acquire) != 0) {
        workload_pause();
    }
    const uint64_t at = ring.written;
    const bool room = at - atomic_load_explicit(&ring.head, memory_order_acquire) <= ring.mask;
    if (room) {
        ring.entries[at & ring.mask] = (entry){function, context};
        ring.written = at + 1;
        atomic_store_explicit(&ring.tail, at + 1, memory_order_release);
    }
    if (several) {
        atomic_store_explicit(&ring.locked, 0, memory_order_release);
    }
    return room;
}

/* Copies before it claims: after that the places are the submitter's again. */
static bool run_some(void) {
    entry mine[BATCH];
    uint64_t first = atomic_load_explicit(&ring.head, memory_order_acquire);
    const uint64_t there = atomic_load_explicit(&ring.tail, memory_order_acquire) - first;
    const uint64_t count = there < BATCH ? there : BATCH;
    for (uint64_t i = 0; i < count; i++) {
        mine[i] = ring.entries[(first + i) & ring.mask];
    }
    if (count == 0 || !atomic_compare_exchange_strong_explicit(&ring.head, &first, first + count, memory_order_acq_rel,
                                                               memory_order_relaxed)) {
        return count > 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        (void)mine[i].function(mine[i].context);
    }
    atomic_fetch_add_explicit(&ring.over, count, memory_order_acq_rel);
    return true;
}

static void *work(void *nothing) {
    workload_gate_pass();
    while (!atomic_load_explicit(&ring.stop, memory_order_relaxed)) {
        if (!run_some()) {
            workload_pause();
        }
    }
    return nothing;
}

static bool one_round(uint64_t count, bool several, bool told) {
    pthread_t worker;
    bool taken = true;
    atomic_store(&ring.stop, false);
    atomic_store(&ring.over, 0);
    workload_reset();
    workload_gate_close();
    if (pthread_create(&worker, NULL, work, NULL) != 0) {
        exit(1);
    }
    (void)workload_gate_wait(1);
    const double began = workload_now();
    for (uint64_t i = 0; i < count; i++) {
        taken = submit(several, count_one, NULL) && taken;
    }
    const double queued = workload_now();
    const bool waiting = workload_total() == 0;
    workload_gate_open();
    while (taken && atomic_load_explicit(&ring.over, memory_order_acquire) < count) {
        (void)run_some();
    }
    const double ended = workload_now();
    atomic_store(&ring.stop, true);
    (void)pthread_join(worker, NULL);
    if (told && several) {
        contestant_sample("tasks gated, by hand", "ns/task", (ended - began) / (double)count);
        contestant_sample("tasks gated, by hand, submit", "ns/task", (queued - began) / (double)count);
        contestant_sample("tasks gated, by hand, run", "ns/task", (ended - queued) / (double)count);
    } else if (told) {
        contestant_sample("tasks gated, by hand, one submitter", "ns/task", (ended - began) / (double)count);
    }
    return waiting && workload_total() == count;
}

void raw_tasks_queued(const contestant_run *run) {
    const uint64_t count = contestant_tasks(run);
    uint64_t slots = 1;
    while (slots < count) {
        slots *= 2;
    }
    ring.mask = slots - 1;
    ring.entries = calloc(slots, sizeof *ring.entries);
    if (!ring.entries) {
        exit(1);
    }
    for (unsigned s = 0; contestant_more(run, s); s++) {
        const bool several = one_round(count, true, s > 0), one = one_round(count, false, s > 0);
        if (!several || !one) {
            contestant_wrong("tasks gated, by hand", "tasks passed the gate or were lost");
        }
    }
    free(ring.entries);
}
