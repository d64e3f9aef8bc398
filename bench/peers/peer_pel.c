/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer_pel.h"
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAVE_AHEAD = 4096 }; /* of the program by hand, which never goes further (raw_online.c) */

const char contestant_name[] = "pel";

static void give_up(const char *doing, pel_status status, pel_error *error) {
    fprintf(stderr, "pel: %s: %s\n", doing, error ? pel_error_story(error) : pel_status_text(status));
    exit(1);
}

/* most: unfinished tasks; 0: any number */
static peer_pel open_bounded(const char *devices, uint32_t workers, uint32_t most, uint32_t flags,
                             const pel_allocator *allocator) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_queue_desc queue = PEL_QUEUE_DESC_INIT;
    peer_pel p = {NULL, NULL};
    pel_error *error = NULL;
    desc.devices = devices;
    desc.host_workers = workers;
    desc.allocator = allocator;
    queue.max_in_flight = most;
    queue.flags = PEL_QUEUE_UNTIMED | flags; /* nobody else's tasks read a clock */
    pel_status status = pel_runtime_create(&desc, &p.runtime, &error);
    if (status == PEL_OK) {
        status = pel_queue_create(p.runtime, &queue, &p.queue, &error);
    }
    if (status != PEL_OK) {
        give_up("start", status, error);
    }
    return p;
}

peer_pel peer_pel_open(const char *devices, uint32_t workers, const pel_allocator *allocator) {
    return peer_pel_open_queue(devices, workers, allocator, 0);
}

peer_pel peer_pel_open_queue(const char *devices, uint32_t workers, const pel_allocator *allocator, uint32_t flags) {
    return open_bounded(devices, workers, 0, flags, allocator);
}

void peer_pel_close(peer_pel *p) {
    (void)pel_queue_destroy(p->queue);
    (void)pel_runtime_destroy(p->runtime);
}

void peer_pel_must(peer_pel *p, pel_status status, const char *doing) {
    if (status != PEL_OK) {
        give_up(doing, status, pel_queue_error(p->queue));
    }
}

void peer_pel_finish(peer_pel *p) {
    peer_pel_must(p, pel_queue_finish(p->queue), "finish");
}

static pel_status count_task(void *context) {
    (void)context;
    workload_count();
    return PEL_OK;
}

static pel_status gate_task(void *context) {
    (void)context;
    workload_gate_pass();
    return PEL_OK;
}

static void submit_empty(peer_pel *p, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        peer_pel_must(p, pel_task(p->queue, count_task, NULL, NULL, 0, NULL, NULL), "task");
    }
}

/* All workers asleep in tasks. A runtime may start a worker late: waits a moment, and the caller proves that nothing ran
 * meanwhile. */
static void close_gate(peer_pel *p) {
    const unsigned cores = workload_cores();
    workload_gate_close();
    for (unsigned i = 0; i < cores; i++) {
        peer_pel_must(p, pel_task(p->queue, gate_task, NULL, NULL, 0, NULL, NULL), "task");
    }
    (void)workload_gate_wait(cores);
}

static void tasks(const contestant_run *run) {
    peer_pel p = peer_pel_open("host", 0, NULL);
    const uint64_t count = contestant_tasks(run);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        close_gate(&p);
        const double began = workload_now();
        submit_empty(&p, count);
        const double queued = workload_now();
        const bool waiting = workload_total() == 0;
        workload_gate_open();
        peer_pel_finish(&p);
        const double ended = workload_now();
        if (!waiting || workload_total() != count) {
            contestant_wrong("tasks gated", waiting ? "not every task ran once" : "tasks passed the gate");
        } else if (s > 0) {
            contestant_sample("tasks gated", "ns/task", (ended - began) / (double)count);
            contestant_sample("tasks gated, submit", "ns/task", (queued - began) / (double)count);
            contestant_sample("tasks gated, run", "ns/task", (ended - queued) / (double)count);
        }
    }
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        const double began = workload_now();
        submit_empty(&p, 5 * count);
        peer_pel_finish(&p);
        const double ended = workload_now();
        if (workload_total() != 5 * count) {
            contestant_wrong("tasks", "not every task ran once");
        } else if (s > 0) {
            contestant_sample("tasks", "ns/task", (ended - began) / (double)(5 * count));
        }
    }
    peer_pel_close(&p);
}

/* Live bytes of the library, by its own allocator. */
static _Atomic int64_t live_bytes;

static void *counting_reallocate(void *user, void *pointer, size_t bytes) {
    (void)user;
    const int64_t before = pointer ? (int64_t)malloc_usable_size(pointer) : 0;
    if (bytes == 0) {
        free(pointer);
        atomic_fetch_sub(&live_bytes, before);
        return NULL;
    }
    void *moved = realloc(pointer, bytes);
    if (moved) {
        atomic_fetch_add(&live_bytes, (int64_t)malloc_usable_size(moved) - before);
    }
    return moved;
}

static void memory(const contestant_run *run) {
    const pel_allocator allocator = {counting_reallocate, NULL};
    const uint64_t count = contestant_tasks(run);
    peer_pel p = peer_pel_open("host", 0, &allocator);
    submit_empty(&p, 100);
    peer_pel_finish(&p);
    workload_reset();
    close_gate(&p);
    const int64_t before = atomic_load(&live_bytes);
    const uint64_t resident = workload_resident();
    submit_empty(&p, count);
    const int64_t after = atomic_load(&live_bytes);
    const uint64_t grown = workload_resident() - resident;
    const bool waiting = workload_total() == 0;
    workload_gate_open();
    peer_pel_finish(&p);
    if (!waiting || workload_total() != count) {
        contestant_wrong("memory", "tasks passed the gate or were lost");
    } else {
        contestant_sample("memory", "B/task", (double)(after - before) / (double)count);
        contestant_sample("memory, resident", "B/task", (double)grown / (double)count);
    }
    peer_pel_close(&p);
}

/* A task with two ranges of 16 bytes, one read and one written, in slots that ascend or are random. */
typedef struct ranges {
    pel_buffer *read, *write;
    uint64_t slots;
    uint64_t *last; /* of each slot: the number of the task that wrote it last */
} ranges;
static ranges the_ranges;

static pel_status range_task(void *context) {
    (void)context;
    workload_count();
    return PEL_OK;
}

static pel_status stamp_task(void *context) {
    const uint64_t i = (uint64_t)(uintptr_t)context;
    the_ranges.last[workload_random_slot(i, the_ranges.slots)] = i + 1;
    return PEL_OK;
}

/* Tasks number `first` and on, so that rounds go on where the one before ended. */
static void submit_ranges(peer_pel *p, uint64_t first, uint64_t count, uint64_t slots, bool random, pel_task_fn function) {
    for (uint64_t i = first; i < first + count; i++) {
        const uint64_t at = 16 * (random ? workload_random_slot(i, slots) : i % slots);
        const pel_access accesses[] = {PEL_ACCESS(the_ranges.read, at, 16, PEL_READ),
                                       PEL_ACCESS(the_ranges.write, at, 16, PEL_READ_WRITE)};
        peer_pel_must(p, pel_task(p->queue, function, (void *)(uintptr_t)i, accesses, 2, NULL, NULL), "task");
    }
}

/* While the tasks run, or queued behind a gate, where every interval stays live until the gate opens. */
static void ranges_row(const contestant_run *run, peer_pel *p, const char *row, bool random, bool queued) {
    const uint64_t count = contestant_tasks(run), slots = contestant_slots(run);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_reset();
        if (queued) {
            close_gate(p);
        }
        const double began = workload_now();
        submit_ranges(p, s * count, count, slots, random, range_task);
        workload_gate_open();
        peer_pel_finish(p);
        const double ended = workload_now();
        if (workload_total() != count) {
            contestant_wrong(row, "not every task ran once");
        } else if (s > 0) {
            contestant_sample(row, "ns/task", (ended - began) / (double)count);
        }
    }
}

/* The last task that wrote a slot is the last in program order: overlapping ranges were ordered. */
static bool ordered(peer_pel *p, uint64_t slots) {
    const uint64_t count = 2 * slots;
    uint64_t *expected = calloc(slots, sizeof *expected);
    the_ranges.slots = slots;
    the_ranges.last = calloc(slots, sizeof *expected);
    if (!expected || !the_ranges.last) {
        return false;
    }
    submit_ranges(p, 0, count, slots, true, stamp_task);
    peer_pel_finish(p);
    for (uint64_t i = 0; i < count; i++) {
        expected[workload_random_slot(i, slots)] = i + 1;
    }
    const bool same = memcmp(expected, the_ranges.last, slots * sizeof *expected) == 0;
    free(expected);
    free(the_ranges.last);
    return same;
}

/*
 * Who submits is busy, too: with a worker for each core they are one thread more than cores. Rows `, spared core` leave a core to
 * the producer, as OpenMP does, whose producer is one of the team. 0: there is no other core.
 */
static uint32_t workers_beside_producer(void) { return workload_cores() - 1; }

static void ranges_spared(const contestant_run *run) {
    const uint64_t slots = contestant_slots(run);
    if (workers_beside_producer() == 0) {
        return;
    }
    peer_pel p = peer_pel_open("host", workers_beside_producer(), NULL);
    peer_pel_must(&p, pel_buffer_create(p.runtime, slots * 16, &the_ranges.read, NULL), "buffer");
    peer_pel_must(&p, pel_buffer_create(p.runtime, slots * 16, &the_ranges.write, NULL), "buffer");
    ranges_row(run, &p, "ranges ascending, spared core", false, false);
    ranges_row(run, &p, "ranges random, spared core", true, false);
    (void)pel_buffer_destroy(the_ranges.read);
    (void)pel_buffer_destroy(the_ranges.write);
    peer_pel_close(&p);
}

static void two_ranges(const contestant_run *run) {
    ranges_spared(run);
    peer_pel p = peer_pel_open("host", 0, NULL);
    const uint64_t slots = contestant_slots(run);
    peer_pel_must(&p, pel_buffer_create(p.runtime, slots * 16, &the_ranges.read, NULL), "buffer");
    peer_pel_must(&p, pel_buffer_create(p.runtime, slots * 16, &the_ranges.write, NULL), "buffer");
    ranges_row(run, &p, "ranges ascending", false, false);
    ranges_row(run, &p, "ranges random", true, false);
    ranges_row(run, &p, "ranges ascending, queued", false, true);
    ranges_row(run, &p, "ranges random, queued", true, true);
    if (!ordered(&p, run->quick ? 2000 : 20000)) {
        contestant_wrong("ranges random", "overlapping ranges were not kept in order");
    }
    (void)pel_buffer_destroy(the_ranges.read);
    (void)pel_buffer_destroy(the_ranges.write);
    peer_pel_close(&p);
}

static pel_status link_task(void *context) {
    workload_chain_link((uint64_t)(uintptr_t)context);
    return PEL_OK;
}

static void chain_online(const contestant_run *run, const char *row, uint32_t workers) {
    peer_pel p = peer_pel_open("host", workers, NULL);
    const uint64_t links = contestant_links(run);
    pel_buffer *buffer;
    peer_pel_must(&p, pel_buffer_create(p.runtime, 8, &buffer, NULL), "buffer");
    const pel_access access = PEL_ACCESS(buffer, 0, 8, PEL_READ_WRITE);
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_chain_reset();
        const double began = workload_now();
        for (uint64_t i = 0; i < links; i++) {
            peer_pel_must(&p, pel_task(p.queue, link_task, (void *)(uintptr_t)i, &access, 1, NULL, NULL), "task");
        }
        peer_pel_finish(&p);
        const double ended = workload_now();
        if (!workload_chain_holds(links)) {
            contestant_wrong(row, "links ran out of order");
        } else if (s > 0) {
            contestant_sample(row, "ns/task", (ended - began) / (double)links);
        }
    }
    (void)pel_buffer_destroy(buffer);
    peer_pel_close(&p);
}

static void chain(const contestant_run *run) {
    peer_pel_chain_replay(run);
    chain_online(run, "chain", 0);
    if (workers_beside_producer() > 0) {
        chain_online(run, "chain, spared core", workers_beside_producer());
    }
}

static pel_status cell_task(void *context) {
    const uintptr_t at = (uintptr_t)context;
    workload_wave_cell((unsigned)(at / WORKLOAD_SIDE), (unsigned)(at % WORKLOAD_SIDE));
    return PEL_OK;
}

void peer_pel_submit_wave(peer_pel *p, pel_buffer *cells, unsigned side) {
    for (unsigned i = 0; i < side; i++) {
        for (unsigned j = 0; j < side; j++) {
            pel_access accesses[3];
            uint32_t count = 0;
            const uint64_t at = (uint64_t)i * WORKLOAD_SIDE + j;
            accesses[count++] = (pel_access)PEL_ACCESS(cells, at * 8, 8, PEL_WRITE);
            if (i > 0) {
                accesses[count++] = (pel_access)PEL_ACCESS(cells, (at - WORKLOAD_SIDE) * 8, 8, PEL_READ);
            }
            if (j > 0) {
                accesses[count++] = (pel_access)PEL_ACCESS(cells, (at - 1) * 8, 8, PEL_READ);
            }
            peer_pel_must(p, pel_task(p->queue, cell_task, (void *)(uintptr_t)at, accesses, count, NULL, NULL), "task");
        }
    }
}

static void wave_online(const contestant_run *run, const char *row, uint32_t workers, uint32_t most, double serial) {
    const unsigned side = contestant_side(run);
    peer_pel p = open_bounded("host", workers, most, 0, NULL);
    pel_buffer *cells;
    peer_pel_must(&p, pel_buffer_create(p.runtime, WORKLOAD_SIDE * WORKLOAD_SIDE * 8, &cells, NULL), "buffer");
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, run->work);
        const double began = workload_now();
        peer_pel_submit_wave(&p, cells, side);
        peer_pel_finish(&p);
        const double ended = workload_now();
        if (s > 0) {
            contestant_wave(row, ended - began, serial);
        }
    }
    (void)pel_buffer_destroy(cells);
    peer_pel_close(&p);
}

/*
 * What stops the wavefront: cells of no work behind a gate say what one costs to submit, and to run and end, in time of one core.
 * Both are work that the cores do beside the cells', so the least that the row can be is 1 and what they add to a cell's time.
 */
static void wave_limit(const contestant_run *run, double serial) {
    const unsigned side = contestant_side(run);
    const double cells = (double)side * side;
    peer_pel p = peer_pel_open("host", 0, NULL);
    pel_buffer *buffer;
    peer_pel_must(&p, pel_buffer_create(p.runtime, WORKLOAD_SIDE * WORKLOAD_SIDE * 8, &buffer, NULL), "buffer");
    for (unsigned s = 0; contestant_more(run, s); s++) {
        workload_wave_begin(side, 0);
        close_gate(&p);
        const double began = workload_now();
        peer_pel_submit_wave(&p, buffer, side);
        const double queued = workload_now();
        workload_gate_open();
        peer_pel_finish(&p);
        const double submitting = queued - began, ending = (workload_now() - queued) * workload_cores();
        if (!workload_wave_holds()) {
            contestant_wrong("wavefront, limit", "a cell ran before its neighbours, twice or never");
        } else if (s > 0) {
            contestant_sample("wavefront, submit", "ns/cell", submitting / cells);
            contestant_sample("wavefront, run and end", "ns/cell", ending / cells);
            contestant_sample("wavefront, limit", "ratio", 1.0 + (submitting + ending) / serial);
        }
    }
    (void)pel_buffer_destroy(buffer);
    peer_pel_close(&p);
}

static void wavefront(const contestant_run *run) {
    const double serial = workload_wave_serial(contestant_side(run), run->work); /* before the workers are there */
    peer_pel_wave_replay(run, serial);
    wave_online(run, "wavefront", 0, 0, serial);
    wave_online(run, "wavefront, bounded", 0, WAVE_AHEAD, serial);
    if (workers_beside_producer() > 0) {
        wave_online(run, "wavefront, spared core", workers_beside_producer(), 0, serial);
        wave_online(run, "wavefront, bounded, spared core", workers_beside_producer(), WAVE_AHEAD, serial);
    }
    wave_limit(run, serial);
}

static void idle(const contestant_run *run) {
    peer_pel p = peer_pel_open("host", 0, NULL);
    submit_empty(&p, 10000);
    peer_pel_finish(&p);
    contestant_idle(run);
    peer_pel_close(&p);
}

const contestant_row contestant_rows[] = {{"tasks", tasks},
                                          {"memory", memory},
                                          {"ranges", two_ranges},
                                          {"chain", chain},
                                          {"wavefront", wavefront},
                                          {"fork-join", peer_pel_fork_join},
                                          {"wait", peer_pel_wait},
                                          {"wake", peer_pel_wake},
                                          {"launch", peer_pel_launch},
                                          {"small", peer_pel_small},
                                          {"idle", idle},
                                          {"triad", peer_pel_triad},
                                          {"cholesky", peer_pel_cholesky},
                                          {NULL, NULL}};
