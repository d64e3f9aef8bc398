/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floors: the least that two threads and a few atomics need for the same work, without any runtime. One helper thread spins
 * on a generation number; the main thread posts it. What a runtime adds to these figures buys generality; nothing can be below
 * them for long.
 */
#include "cholesky.h"
#include "raw_online.h"
#include "raw_tasks.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

const char contestant_name[] = "raw";

typedef void (*helper_fn)(void);
static struct {
    _Alignas(64) _Atomic uint64_t posted; /* what goes to the helper travels in one line, its answer in another */
    helper_fn function;
    pthread_t thread;
    _Alignas(64) _Atomic uint64_t answered;
} helper;

static void *help(void *nothing) {
    (void)nothing;
    for (uint64_t seen = 0;;) {
        while (atomic_load_explicit(&helper.posted, memory_order_acquire) == seen) {
            workload_pause();
        }
        seen++;
        if (!helper.function) {
            return NULL;
        }
        helper.function();
        atomic_store_explicit(&helper.answered, seen, memory_order_release);
    }
}

/* Two threads that spin for each other need a core each. */
static bool one_core(const char *row) {
    if (workload_cores() < 2) {
        contestant_absent(row, "one core only");
        return true;
    }
    return false;
}

static void helper_start(void) {
    if (pthread_create(&helper.thread, NULL, help, NULL) != 0) {
        exit(1);
    }
}

static uint64_t helper_post(helper_fn function) {
    const uint64_t number = atomic_load_explicit(&helper.posted, memory_order_relaxed) + 1;
    helper.function = function;
    atomic_store_explicit(&helper.posted, number, memory_order_release);
    return number;
}

static void helper_await(uint64_t number) {
    while (atomic_load_explicit(&helper.answered, memory_order_acquire) != number) {
        workload_pause();
    }
}

static void helper_stop(void) {
    (void)helper_post(NULL);
    pthread_join(helper.thread, NULL);
}

/* Work that is only noted, then run: an array of 16-byte entries, first written, then called. */
typedef struct noted {
    void (*function)(void);
    void *context;
} noted;

static void tasks(const contestant_run *run) {
    const uint64_t count = contestant_tasks(run);
    noted *volatile shared = malloc(count * sizeof *shared);
    noted *list = shared;
    if (!list) {
        exit(1);
    }
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < count; i++) {
            list[i] = (noted){workload_count, NULL};
        }
        __asm__ volatile("" : : "r"(list) : "memory");
        for (uint64_t i = 0; i < count; i++) {
            list[i].function();
        }
        const double ended = workload_now();
        if (workload_total() != count) {
            contestant_wrong("tasks gated", "not every task ran once");
        } else if (s > 0) {
            contestant_sample("tasks gated", "ns/task", (ended - began) / (double)count);
        }
    }
    free(list);
    raw_tasks_queued(run);
}

/* A chain whose links alternate between two threads: each must see the other's store. */
static _Alignas(64) _Atomic uint64_t turn;
static uint64_t links;

static void hand_over(uint64_t first) {
    for (uint64_t i = first; i < links; i += 2) {
        while (atomic_load_explicit(&turn, memory_order_acquire) != i) {
            workload_pause();
        }
        workload_chain_link(i);
        atomic_store_explicit(&turn, i + 1, memory_order_release);
    }
}

static void odd_links(void) {
    hand_over(1);
}

static void chain(const contestant_run *run) {
    if (one_core("handover")) {
        return;
    }
    links = contestant_links(run);
    helper_start();
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        atomic_store(&turn, 0);
        const double began = workload_now();
        const uint64_t number = helper_post(odd_links);
        hand_over(0);
        helper_await(number);
        const double ended = workload_now();
        if (!workload_chain_holds(links)) {
            contestant_wrong("handover", "links ran out of order");
        } else if (s > 0) {
            contestant_sample("handover", "ns/task", (ended - began) / (double)links);
        }
    }
    helper_stop();
    raw_online_chain(run);
}

/* Two threads take rows in turns and follow each other: how near to ideal the wavefront gets here. */
static struct {
    _Alignas(64) _Atomic unsigned done;
} progress[WORKLOAD_SIDE];
static unsigned side;

static void rows_from(unsigned first) {
    for (unsigned i = first; i < side; i += 2) {
        for (unsigned j = 0; j < side; j++) {
            while (i > 0 && atomic_load_explicit(&progress[i - 1].done, memory_order_acquire) <= j) {
                workload_pause();
            }
            workload_wave_cell(i, j);
            atomic_store_explicit(&progress[i].done, j + 1, memory_order_release);
        }
    }
}

static void odd_rows(void) {
    rows_from(1);
}

static void wavefront(const contestant_run *run) {
    if (one_core("wavefront")) {
        return;
    }
    side = contestant_side(run);
    const double serial = workload_wave_serial(side, run->work);
    helper_start();
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        for (unsigned i = 0; i < side; i++) {
            atomic_store(&progress[i].done, 0);
        }
        const double began = workload_now();
        const uint64_t number = helper_post(odd_rows);
        rows_from(0);
        helper_await(number);
        const double ended = workload_now();
        if (s > 0) {
            contestant_wave("wavefront", ended - began, serial);
        }
    }
    helper_stop();
    raw_online_wavefront(run, serial);
}

static void other_half(void) {
    workload_half(1);
}

static void fork_join(const contestant_run *run) {
    if (one_core("fork-join")) {
        return;
    }
    const unsigned rounds = run->quick ? 500 : 10000;
    helper_start();
    for (unsigned s = 0; contestant_more(run, s); s++) {
        unsigned both = 0, lost = 0;
        const double began = workload_now();
        for (unsigned i = 0; i < rounds; i++) {
            const uint64_t number = helper_post(other_half);
            workload_half(0);
            helper_await(number);
            lost += !workload_halves_ran();
            both += workload_halves_differ();
        }
        const double ended = workload_now();
        if (s > 0) {
            contestant_fork_join(ended - began, rounds, both, lost);
        }
    }
    helper_stop();
}

/*
 * A task that its submitter runs when it comes to wait: an entry that others may take, too, and an event that others may ask. So
 * one exchange decides who runs it, and a store says that it is over. The other thread looks for it now and then, as idle workers
 * do. Entry and event are used again at once: no memory is allocated.
 */
typedef struct entry {
    _Alignas(64) helper_fn function;
    atomic_uint over;
} entry;
static struct {
    _Alignas(64) _Atomic(entry *) offered;
    _Alignas(64) atomic_bool stop;
} mailbox;

static bool take_entry(void) {
    entry *taken = atomic_load_explicit(&mailbox.offered, memory_order_relaxed) ? atomic_exchange(&mailbox.offered, NULL) : NULL;
    if (taken) {
        taken->function();
        atomic_store_explicit(&taken->over, 1, memory_order_release);
    }
    return taken != NULL;
}

static void *look_for_entries(void *nothing) {
    enum { PAUSES_PER_LOOK = 64 };
    for (unsigned i = 1; !atomic_load_explicit(&mailbox.stop, memory_order_relaxed); i++) {
        workload_pause();
        if (i % PAUSES_PER_LOOK == 0) {
            (void)take_entry();
        }
    }
    return nothing;
}

static void wait_by_caller(const contestant_run *run, double *spent) {
    static entry only;
    const unsigned count = contestant_waits(run);
    pthread_t other;
    unsigned kept = 0;
    if (pthread_create(&other, NULL, look_for_entries, NULL) != 0) {
        exit(1);
    }
    workload_reset();
    for (unsigned i = 0; i < count; i++) {
        const double began = workload_now();
        only.function = workload_count;
        atomic_store_explicit(&only.over, 0, memory_order_relaxed);
        atomic_store_explicit(&mailbox.offered, &only, memory_order_release);
        const bool mine = take_entry();
        while (!atomic_load_explicit(&only.over, memory_order_acquire)) {
            workload_pause();
        }
        spent[kept] = workload_now() - began;
        kept += mine;
    }
    atomic_store(&mailbox.stop, true);
    pthread_join(other, NULL);
    if (workload_total() != count || kept == 0) {
        contestant_wrong("wait, by caller", "not every task ran once, or none by the caller");
    } else {
        contestant_latencies("wait, by caller", contestant_name, "ns", spent, kept);
    }
}

static void wait_for(const contestant_run *run) {
    if (one_core("wait, by worker")) {
        return;
    }
    const unsigned count = contestant_waits(run);
    double *spent = malloc(count * sizeof *spent);
    if (!spent) {
        exit(1);
    }
    wait_by_caller(run, spent);
    helper_start();
    workload_reset();
    for (unsigned i = 0; i < count; i++) {
        const double began = workload_now();
        helper_await(helper_post(workload_count));
        spent[i] = workload_now() - began;
    }
    helper_stop();
    if (workload_total() != count) {
        contestant_wrong("wait, by worker", "not every task ran once");
    } else {
        contestant_latencies("wait, by worker", contestant_name, "ns", spent, count);
    }
    free(spent);
}

static void small_loop(void *context, double *sums, unsigned count) {
    (void)context;
    for (unsigned i = 0; i < count; i++) {
        workload_small(sums, 0, WORKLOAD_SMALL);
    }
}

static void small(const contestant_run *run) {
    static double sums[WORKLOAD_SMALL];
    contestant_small(run, "a plain loop", sums, small_loop, NULL);
}

static void whole_cholesky(const contestant_run *run) {
    const unsigned n = run->full ? 8192 : run->quick ? 1024 : 4096;
    char row[48];
    snprintf(row, sizeof row, "cholesky %u", n);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        const double spent = cholesky_whole(n, workload_cores());
        if (spent <= 0.0) {
            contestant_absent(row, "no OpenBLAS, or it failed");
            return;
        }
        if (s > 0) {
            contestant_sample(row, "GFLOP/s", (double)n * n * n / 3.0 / spent);
        }
    }
    snprintf(row, sizeof row, "cholesky %u efficiency", n);
    for (unsigned s = 0; contestant_more(run, s); s++) { /* what both cores give at once, whoever shares them */
        const double apart = cholesky_apart(run->quick ? 512 : 2048, run->quick ? 128 : 256, workload_cores());
        if (s > 0 && apart > 0.0) {
            contestant_sample(row, "ratio", apart);
        }
    }
}

static void ranges(const contestant_run *run) {
    if (!one_core("ranges ascending")) {
        raw_online_ranges(run);
    }
}

const contestant_row contestant_rows[] = {{"tasks", tasks},         {"ranges", ranges},       {"chain", chain},
                                          {"wavefront", wavefront}, {"fork-join", fork_join}, {"wait", wait_for},
                                          {"small", small},         {"cholesky", whole_cholesky}, {NULL, NULL}};
