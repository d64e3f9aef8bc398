/* SPDX-License-Identifier: BSD-3-Clause */
#include "raw_online.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* WAVE_AHEAD: 256: 1.27 to 1.34, 1,024: 1.12 to 1.17, 4,096: 1.01 to 1.05, 16,000: 1.08 to 1.14 (2 cores, 2026-11) */
enum { TASKS = 1 << 14, SLOTS = 1 << 15, MOST_EDGES = 6, MOST_READERS = 2, CLOSED = 1, WAVE_AHEAD = 4096 };

typedef struct task {
    _Alignas(64) _Atomic uintptr_t successors; /* the first edge: its address in the task that it leads to; CLOSED: over */
    atomic_uint pending;
    uint32_t number;                           /* of the task that the line is now; the submitter's */
    void (*function)(uint32_t context);
    uint32_t context;
    _Atomic uintptr_t links[MOST_EDGES - 2];   /* of its edges: the next one in that list */
} task;

typedef struct block {
    uint32_t writer; /* numbers of tasks, from 1 on; 0: none */
    uint32_t readers[MOST_READERS];
} block;

typedef struct deque {
    _Alignas(64) _Atomic int64_t top;
    _Alignas(64) _Atomic int64_t bottom;
    _Alignas(64) _Atomic(task *) slots[SLOTS];
} deque;

static struct {
    task tasks[TASKS];
    deque deques[2];                              /* the submitter's, the helper's */
    struct { _Alignas(64) _Atomic uint64_t count; } over[2];
    _Alignas(64) _Atomic bool stop;
    uint32_t last;                                /* number */
    uint32_t ahead;
    uint64_t submitted;
    pthread_t helper;
} online;

static void push(deque *d, task *t) {
    const int64_t at = atomic_load_explicit(&d->bottom, memory_order_relaxed);
    atomic_store_explicit(&d->slots[at % SLOTS], t, memory_order_relaxed);
    atomic_store_explicit(&d->bottom, at + 1, memory_order_release);
}

static task *pop(deque *d) {
    const int64_t at = atomic_load_explicit(&d->bottom, memory_order_relaxed) - 1;
    if (at < atomic_load_explicit(&d->top, memory_order_relaxed)) {
        return NULL;
    }
    atomic_store_explicit(&d->bottom, at, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    int64_t top = atomic_load_explicit(&d->top, memory_order_relaxed);
    task *t = top <= at ? atomic_load_explicit(&d->slots[at % SLOTS], memory_order_relaxed) : NULL;
    if (top >= at) {
        if (top == at && !atomic_compare_exchange_strong_explicit(&d->top, &top, top + 1, memory_order_seq_cst,
                                                                  memory_order_relaxed)) {
            t = NULL;
        }
        atomic_store_explicit(&d->bottom, at + 1, memory_order_relaxed);
    }
    return t;
}

/* The other thread's oldest. */
static task *steal(deque *d) {
    int64_t top = atomic_load_explicit(&d->top, memory_order_acquire);
    if (top >= atomic_load_explicit(&d->bottom, memory_order_acquire)) {
        return NULL;
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (top >= atomic_load_explicit(&d->bottom, memory_order_acquire)) {
        return NULL;
    }
    task *t = atomic_load_explicit(&d->slots[top % SLOTS], memory_order_relaxed);
    return atomic_compare_exchange_strong_explicit(&d->top, &top, top + 1, memory_order_seq_cst, memory_order_relaxed) ? t : NULL;
}

static bool arrive(task *t) {
    if (atomic_load_explicit(&t->pending, memory_order_acquire) == 1) {
        return true; /* only this arrival is missing, and the submission is over */
    }
    return atomic_fetch_sub_explicit(&t->pending, 1, memory_order_acq_rel) == 1;
}

static task *task_of(uintptr_t edge) { return (task *)(edge & ~(uintptr_t)63); }

/* Runs a task, and what it leads to as long as there is something. */
static void run_from(unsigned who, task *t) {
    while (t) {
        uintptr_t edge = atomic_load_explicit(&t->successors, memory_order_relaxed);
        if (edge) {
            __builtin_prefetch(task_of(edge), 1);
        }
        t->function(t->context);
        edge = atomic_exchange_explicit(&t->successors, CLOSED, memory_order_acq_rel);
        t = NULL;
        while (edge) {
            task *to = task_of(edge);
            edge = atomic_load_explicit((_Atomic uintptr_t *)edge, memory_order_relaxed);
            if (arrive(to)) {
                if (t) {
                    push(&online.deques[who], to);
                } else {
                    t = to;
                }
            }
        }
        atomic_store_explicit(&online.over[who].count, atomic_load_explicit(&online.over[who].count, memory_order_relaxed) + 1,
                              memory_order_release);
    }
}

static bool help(unsigned who) {
    task *t = pop(&online.deques[who]);
    t = t ? t : steal(&online.deques[1 - who]);
    run_from(who, t);
    return t != NULL;
}

static void *helper(void *nothing) {
    (void)nothing;
    while (!atomic_load_explicit(&online.stop, memory_order_acquire)) {
        if (!help(1)) {
            workload_pause();
        }
    }
    return NULL;
}

static bool is_over(uint32_t number) {
    const task *t = &online.tasks[number % TASKS];
    return t->number != number || atomic_load_explicit(&((task *)(uintptr_t)t)->successors, memory_order_acquire) == CLOSED;
}

static uint64_t over(void) {
    return atomic_load_explicit(&online.over[0].count, memory_order_acquire) +
           atomic_load_explicit(&online.over[1].count, memory_order_acquire);
}

static task *begin(void (*function)(uint32_t context), uint32_t context) {
    while (online.submitted - over() >= online.ahead) {
        for (unsigned i = 0; i < 32 && help(0); i++) {
        }
    }
    const uint32_t number = ++online.last == 0 ? ++online.last : online.last;
    task *t = &online.tasks[number % TASKS];
    while (t->number != 0 && !is_over(t->number)) {
        (void)help(0);
    }
    t->number = number;
    t->function = function;
    t->context = context;
    atomic_store_explicit(&t->pending, MOST_EDGES, memory_order_relaxed);
    atomic_store_explicit(&t->successors, 0, memory_order_relaxed);
    return t;
}

static void follow(task *t, uint32_t number, unsigned *edges) {
    task *from = &online.tasks[number % TASKS];
    if (number == 0 || from->number != number) {
        return;
    }
    uintptr_t head = atomic_load_explicit(&from->successors, memory_order_acquire);
    _Atomic uintptr_t *edge = &t->links[*edges];
    while (head != CLOSED) {
        atomic_store_explicit(edge, head, memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&from->successors, &head, (uintptr_t)edge, memory_order_release,
                                                  memory_order_acquire)) {
            ++*edges;
            break;
        }
    }
}

static void writes(task *t, block *b, unsigned *edges) {
    bool read = false;
    for (unsigned i = 0; i < MOST_READERS; i++) {
        read = read || b->readers[i] != 0;
        follow(t, b->readers[i], edges);
        b->readers[i] = 0;
    }
    if (!read) {
        follow(t, b->writer, edges);
    }
    b->writer = t->number;
}

static void reads(task *t, block *b, unsigned *edges) {
    follow(t, b->writer, edges);
    for (;;) {
        for (unsigned i = 0; i < MOST_READERS; i++) {
            if (b->readers[i] == 0 || is_over(b->readers[i])) {
                b->readers[i] = t->number;
                return;
            }
        }
        (void)help(0);
    }
}

static void submit(task *t, unsigned edges) {
    online.submitted++;
    if (edges == 0 || atomic_fetch_sub_explicit(&t->pending, MOST_EDGES - edges, memory_order_acq_rel) == MOST_EDGES - edges) {
        push(&online.deques[0], t);
    }
}

static void drain(void) {
    while (over() != online.submitted) {
        if (!help(0)) {
            workload_pause();
        }
    }
}

static block *start(uint64_t blocks, uint32_t ahead) {
    block *volatile made = calloc(blocks, sizeof *made);
    online.ahead = ahead;
    atomic_store(&online.stop, false);
    if (!made || pthread_create(&online.helper, NULL, helper, NULL) != 0) {
        exit(1);
    }
    for (uint64_t i = 0; i < blocks; i += 64) {
        made[i] = (block){0};
    }
    return made;
}

static void stop(block *blocks) {
    atomic_store(&online.stop, true);
    pthread_join(online.helper, NULL);
    free(blocks);
}

static void count_one(uint32_t context) {
    (void)context;
    workload_count();
}

static void ranges_row(const contestant_run *run, const char *row, block *read, block *written, bool random) {
    const uint64_t count = contestant_tasks(run), slots = contestant_slots(run);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        const double began = workload_now();
        for (uint64_t i = s * count; i < (s + 1) * count; i++) {
            const uint64_t at = random ? workload_random_slot(i, slots) : i % slots;
            unsigned edges = 0;
            task *t = begin(count_one, 0);
            reads(t, &read[at], &edges);
            writes(t, &written[at], &edges);
            submit(t, edges);
        }
        drain();
        const double ended = workload_now();
        if (workload_total() != count) {
            contestant_wrong(row, "not every task ran once");
        } else if (s > 0) {
            contestant_sample(row, "ns/task", (ended - began) / (double)count);
        }
    }
}

void raw_online_ranges(const contestant_run *run) {
    block *blocks = start(2 * contestant_slots(run), TASKS / 2);
    ranges_row(run, "ranges ascending", blocks, blocks + contestant_slots(run), false);
    ranges_row(run, "ranges random", blocks, blocks + contestant_slots(run), true);
    stop(blocks);
}

static void link_one(uint32_t context) { workload_chain_link(context); }

void raw_online_chain(const contestant_run *run) {
    const uint64_t links = contestant_links(run);
    block *blocks = start(1, TASKS / 2);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < links; i++) {
            unsigned edges = 0;
            task *t = begin(link_one, (uint32_t)i);
            writes(t, &blocks[0], &edges);
            submit(t, edges);
        }
        drain();
        const double ended = workload_now();
        if (!workload_chain_holds(links)) {
            contestant_wrong("chain", "links ran out of order");
        } else if (s > 0) {
            contestant_sample("chain", "ns/task", (ended - began) / (double)links);
        }
    }
    stop(blocks);
}

static void run_cell(uint32_t context) { workload_wave_cell(context / WORKLOAD_SIDE, context % WORKLOAD_SIDE); }

static void submit_cell(block *blocks, unsigned i, unsigned j) {
    const uint32_t at = i * WORKLOAD_SIDE + j;
    unsigned edges = 0;
    task *t = begin(run_cell, at);
    writes(t, &blocks[at], &edges);
    if (i > 0) {
        reads(t, &blocks[at - WORKLOAD_SIDE], &edges);
    }
    if (j > 0) {
        reads(t, &blocks[at - 1], &edges);
    }
    submit(t, edges);
}

void raw_online_wavefront(const contestant_run *run, double serial) {
    const unsigned side = contestant_side(run);
    block *blocks = start(WORKLOAD_SIDE * WORKLOAD_SIDE, WAVE_AHEAD);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        const double began = workload_now();
        for (unsigned i = 0; i < side; i++) {
            for (unsigned j = 0; j < side; j++) {
                submit_cell(blocks, i, j);
            }
        }
        drain();
        const double ended = workload_now();
        if (s > 0) {
            contestant_wave("wavefront by counters", ended - began, serial);
        }
    }
    stop(blocks);
}
