/* SPDX-License-Identifier: BSD-3-Clause */
/* The runner of the storm: a plan through the library. Everything that is waited for can end: user events that the submitting
 * thread ends are ended before each of its waits. */
#include "storm.h"

#include "support/counted.h"
#include "support/random.h"
#include <sched.h>
#include <string.h>
#include <time.h>

void storm_complain(storm *s, const storm_op *op, const char *what, long is, long should) {
    if (atomic_fetch_add(&s->complaints, 1) < 4) {
        fprintf(stderr, "seed 0x%llx, %s %ld: %s is %ld instead of %ld\n", (unsigned long long)s->plan.seed,
                !op                                                               ? "the end"
                : op >= s->plan.inner && op < s->plan.inner + s->plan.inner_count ? "inner op"
                                                                                  : "op",
                op ? (long)op->number : -1L, what, is, should);
    }
}

static void expect_ok(storm *s, const storm_op *op, const char *what, pel_status status) {
    if (status != PEL_OK) {
        storm_complain(s, op, what, (long)status, (long)PEL_OK);
    }
}

/* ---- lack of memory ---- */

/* One of the next requests fails, whoever makes it. */
static void make_lean(storm *s) {
    if (storm_is_lean(s) && test_random(&s->random) % 3 == 0) {
        atomic_store(&s->scene->memory->fail_at, atomic_load(&s->scene->memory->calls) + 1 + (long)(test_random(&s->random) % 4));
    }
}

static void make_plenty(const storm *s) {
    if (storm_is_lean(s)) {
        atomic_store(&s->scene->memory->fail_at, 0);
    }
}

/* Whether it has happened: else it was refused for want of memory, and whoever asks for it later does not. */
static bool happened(storm *s, storm_op *op, const char *what, pel_status status) {
    op->refused = storm_is_lean(s) && status == PEL_OUT_OF_MEMORY;
    if (!op->refused) {
        expect_ok(s, op, what, status);
    }
    return !op->refused;
}

/* ---- what runs ---- */

/* Another thread's turn, a few microseconds, or a sleep. */
static void take_time(const storm_op *op) {
    const struct timespec nap = {0, 30000};
    if (op->pause > 38) {
        (void)nanosleep(&nap, NULL);
    } else if (op->pause > 20) {
        (void)sched_yield();
    }
    for (volatile uint32_t i = 0; i < op->pause * 100; i++) {
    }
}

typedef struct part_of_write {
    const storm_access *access;
    unsigned char *const *bases;
    uint32_t hash;
} part_of_write;

static pel_status write_part(const pel_range *part, void *context) {
    const part_of_write *w = context;
    storm_write_hash(w->access, w->hash, w->bases, (uint32_t)part->lo[0], (uint32_t)part->hi[0]);
    return PEL_OK;
}

static uint32_t apply_divided(const storm_op *op) {
    const uint32_t hash = storm_hash(op, op->storm->bases);
    for (uint32_t i = 0; i < op->access_count; i++) {
        const pel_range range = PEL_RANGE_1D(storm_items(&op->accesses[i]));
        part_of_write w = {&op->accesses[i], op->storm->bases, hash};
        pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
        desc.partition = (pel_partition)(op->salt % 3);
        if (storm_writes(&op->accesses[i])) {
            expect_ok(op->storm, op, "a parallel loop",
                      pel_parallel_for(op->storm->scene->runtime, &range, write_part, &w, &desc));
        }
    }
    return hash;
}

/* Without retries whoever fails does so each time. */
static pel_status run_task(void *context) {
    storm_op *op = context;
    const uint32_t times = atomic_fetch_add_explicit(&op->ran, 1, memory_order_relaxed) + 1;
    take_time(op);
    if (op->fails > 0 && (op->retries == 0 || times <= op->fails)) {
        return PEL_IO;
    }
    op->result = op->divided && !storm_is_lean(op->storm) ? apply_divided(op) : storm_apply(op, op->storm->bases);
    return PEL_OK;
}

static pel_status submit(storm *s, storm_op *op, pel_queue *queue, storm_op *list);

static pel_status run_parent(void *context) {
    storm_op *op = context, *inner = op->storm->plan.inner;
    pel_status status = run_task(context);
    pel_event *last = NULL;
    for (uint32_t i = 0; i < op->count && status == PEL_OK; i++) {
        (void)happened(op->storm, &inner[op->first + i], "a child's submission",
                       submit(op->storm, &inner[op->first + i], op->storm->queues[op->queue], inner));
        last = inner[op->first + i].event ? inner[op->first + i].event : last;
    }
    const bool waits = status == PEL_OK && op->waits_inside && last && (op->storm->scene->flags & STORM_SIMULATED) == 0;
    if (waits && pel_event_wait(last) == PEL_WOULD_DEADLOCK) {
        storm_complain(op->storm, op, "a wait for a child", (long)PEL_WOULD_DEADLOCK, (long)PEL_OK);
    }
    return status;
}

static pel_status run_loop(uint64_t begin, uint64_t end, void *context) {
    storm_op *op = context;
    atomic_fetch_add_explicit(&op->ran, (unsigned)(end - begin), memory_order_relaxed);
    take_time(op);
    if (op->fails > 0 && begin == 0) {
        return PEL_IO;
    }
    storm_apply_items(op, op->storm->bases, (uint32_t)begin, (uint32_t)end);
    return PEL_OK;
}

pel_status storm_run_span(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t buffers = *(const uint32_t *)user;
    const unsigned char *from = buffers == 2 ? arguments[0] : NULL;
    unsigned char *to = arguments[buffers - 1];
    storm_op *op;
    (void)scratch;
    memcpy(&op, arguments[buffers], sizeof op);
    atomic_fetch_add_explicit(&op->ran, (unsigned)(span->hi[0] - span->lo[0]), memory_order_relaxed);
    take_time(op);
    if (op->fails > 0 && span->lo[0] == 0) {
        return PEL_IO;
    }
    for (uint32_t k = (uint32_t)span->lo[0]; k < span->hi[0]; k++) {
        to[k] = storm_item(op, k, storm_reads(&op->accesses[0]) ? to[k] : 0, from ? from[k] : 0);
    }
    return PEL_OK;
}

static void run_callback(pel_event *watched, void *context) {
    storm_op *op = context;
    op->said = pel_event_status(watched);
    atomic_fetch_add_explicit(&op->ran, 1, memory_order_relaxed);
}

/* OK, or somebody was faster with a cancel. */
static pel_status end_user(void *context) {
    storm_op *op = context;
    const pel_status status =
        op->ender == STORM_BY_CANCEL ? pel_event_cancel(op->event) : pel_event_set_status(op->event, op->ends_as);
    return status == PEL_OK || status == PEL_BUSY ? PEL_OK : status;
}

static void end_user_after(pel_event *watched, void *context) {
    (void)watched;
    (void)end_user(context);
}

/* ---- submission ---- */

/* By hand, whatever the planner would do. */
static bool may_divide(const storm *s, const storm_access *a) {
    return s->plan.align == 0 || storm_address(a, 0) % STORM_AREA % s->plan.align == 0;
}

static pel_status submit_launch(storm *s, storm_op *op, pel_queue *queue, const pel_task_desc *like, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const storm_access *to = &op->accesses[0], *from = &op->accesses[1];
    const uint64_t self = (uintptr_t)op;
    const bool fails = op->fails > 0 && (s->scene->flags & STORM_OPENCL) != 0; /* kernels in OpenCL C cannot */
    const storm_kernels *kernels = fails ? &s->scene->host : &s->scene->any;
    const pel_arg place = pel_buf_range(s->buffers[to->buffer], to->offset, to->bytes);
    const pel_arg source = op->access_count > 1 ? pel_buf_range(s->buffers[from->buffer], from->offset, from->bytes) : pel_null();
    const pel_arg two[] = {source, place, pel_u64(self), pel_u32(op->salt)}, *one = two + 1;
    desc.global[0] = to->bytes;
    desc.waits = like->waits;
    desc.wait_count = like->wait_count;
    desc.priority = op->priority;
    const bool begins_well = may_divide(s, to) && (op->access_count == 1 || may_divide(s, from));
    if (op->salt % 3 == 0 && begins_well && kernels == &s->scene->any && to->bytes >= 8 * s->scene->share_count) {
        desc.local[0] = 1;
        desc.shares = s->scene->shares;
        desc.share_count = s->scene->share_count;
    }
    return op->access_count > 1 ? pel_launch(queue, kernels->from, &desc, two, 4, event)
           : storm_reads(to)    ? pel_launch(queue, kernels->change, &desc, one, 3, event)
                                : pel_launch(queue, kernels->make, &desc, one, 3, event);
}

static pel_status submit_task(storm *s, storm_op *op, pel_queue *queue, const pel_task_desc *desc, pel_event **event) {
    pel_access accesses[STORM_ACCESSES];
    for (uint32_t i = 0; i < op->access_count; i++) {
        const storm_access *a = &op->accesses[i];
        const pel_access one = PEL_ACCESS(s->buffers[a->buffer], a->offset, a->bytes, a->mode);
        const pel_access rows = PEL_ACCESS_RECTANGLE(s->buffers[a->buffer], a->offset, a->bytes, a->rows, a->pitch, a->mode);
        accesses[i] = a->rows > 1 ? rows : one;
    }
    const uint64_t items = op->access_count > 0 ? storm_items(&op->accesses[0]) : 0;
    return op->kind == STORM_LOOP
               ? pel_loop(queue, items, op->grain, run_loop, op, accesses, op->access_count, desc, event)
               : pel_task(queue, op->kind == STORM_PARENT ? run_parent : run_task, op, accesses, op->access_count, desc, event);
}

static pel_status submit_bytes(storm *s, storm_op *op, pel_queue *queue, const pel_task_desc *desc, pel_event **event) {
    const storm_access *to = &op->accesses[0], *from = &op->accesses[1];
    unsigned char pattern[8];
    const pel_rows to_rows = {s->buffers[to->buffer], to->offset, to->pitch};
    const pel_rows from_rows = {s->buffers[from->buffer], from->offset, from->pitch};
    switch (op->kind) {
    case STORM_COPY:
        return pel_copy(queue, s->buffers[to->buffer], to->offset, s->buffers[from->buffer], from->offset, to->bytes, desc,
                        event);
    case STORM_COPY_RECT:
        return pel_copy_rect(queue, &to_rows, &from_rows, to->bytes, to->rows, desc, event);
    case STORM_FILL:
        for (uint32_t k = 0; k < sizeof pattern; k++) {
            pattern[k] = (unsigned char)(op->salt + 7 * k);
        }
        return pel_fill(queue, s->buffers[to->buffer], to->offset, to->bytes, pattern, storm_pattern_bytes(op), desc, event);
    case STORM_READ:
        return pel_read(queue, s->buffers[to->buffer], to->offset, to->bytes, op->bytes, desc, event);
    default:
        for (uint32_t k = 0; k < to->bytes; k++) {
            op->bytes[k] = storm_item(op, k, 0, 0);
        }
        return pel_write(queue, s->buffers[to->buffer], to->offset, to->bytes, op->bytes, desc, event);
    }
}

static pel_status submit_map(storm *s, storm_op *op, pel_queue *queue, const pel_task_desc *desc) {
    const storm_access *a = &op->accesses[0];
    const uint32_t flags = (a->mode == PEL_READ    ? PEL_MAP_READ
                            : a->mode == PEL_WRITE ? PEL_MAP_WRITE | PEL_MAP_DISCARD
                                                   : PEL_MAP_READ | PEL_MAP_WRITE) |
                           (op->guarded ? PEL_MAP_GUARD : 0u);
    return pel_map(queue, s->buffers[a->buffer], a->offset, a->bytes, flags, desc, &s->mapping);
}

static pel_status submit(storm *s, storm_op *op, pel_queue *queue, storm_op *list) {
    const pel_event *waits[STORM_WAITS] = {NULL};
    pel_task_desc full = PEL_TASK_DESC_INIT;
    op->storm = s;
    uint32_t wait_count = 0;
    for (uint32_t i = 0; i < op->wait_count; i++) {
        if (list[op->waits[i]].event) { /* it was not refused */
            waits[wait_count++] = list[op->waits[i]].event;
        }
    }
    full.name = op->named ? "named" : NULL;
    full.waits = waits;
    full.wait_count = wait_count;
    full.priority = op->priority;
    full.retries = op->retries;
    const bool plain = !op->named && wait_count == 0 && op->priority == 0 && op->retries == 0;
    const pel_task_desc *desc = plain ? NULL : &full;
    const bool tells = op->kind == STORM_TASK && list == s->plan.ops; /* by its runs: without an event it goes the short way */
    pel_event **event = op->wants_event || (storm_is_lean(s) && !tells) ? &op->event : NULL;
    const bool nowhere =
        op->kind == STORM_CALLBACK ? !list[op->target].event : op->kind == STORM_REPLAY && !s->graphs[op->target];
    if (nowhere && storm_is_lean(s)) {
        return PEL_OUT_OF_MEMORY;
    }
    switch (op->kind) {
    case STORM_TASK:
    case STORM_PARENT:
    case STORM_LOOP:
        return submit_task(s, op, queue, desc, event);
    case STORM_LAUNCH:
        return submit_launch(s, op, queue, &full, event);
    case STORM_MARKER:
        return pel_marker(queue, desc, event);
    case STORM_BARRIER:
        return pel_barrier(queue, desc, event);
    case STORM_CALLBACK:
        return pel_callback(queue, list[op->target].event, run_callback, op, event);
    case STORM_REPLAY:
        return pel_graph_replay(s->graphs[op->target], queue, desc, event);
    case STORM_MAP:
        return submit_map(s, op, queue, desc);
    default:
        return submit_bytes(s, op, queue, desc, event);
    }
}

/* ---- the submitting thread ---- */

static void end_pending(storm *s) {
    for (uint32_t i = 0; i < s->at; i++) {
        storm_op *op = &s->plan.ops[i];
        if (op->kind == STORM_USER && op->event && (op->ender == STORM_BY_THREAD || op->ender == STORM_BY_CANCEL)) {
            expect_ok(s, op, "ending a user event", end_user(op));
        }
    }
}

static void make_user(storm *s, storm_op *op) {
    pel_queue *helper = s->queues[STORM_QUEUES];
    pel_status status = PEL_OK;
    if (!happened(s, op, "a user event", pel_event_create_user(s->scene->runtime, &op->event, NULL))) {
        return;
    }
    const bool lean = storm_is_lean(s); /* who ends it could fail, too */
    if (lean && (op->ender == STORM_BY_TASK || op->ender == STORM_BY_CALLBACK)) {
        status = end_user(op);
    } else if (op->ender == STORM_BY_TASK) {
        status = pel_task(helper, end_user, op, NULL, 0, NULL, NULL);
    } else if (op->ender == STORM_BY_CALLBACK) {
        status = pel_callback(helper, s->plan.ops[op->target].event, end_user_after, op, NULL);
    }
    expect_ok(s, op, "who ends a user event", status);
}

static void unmap(storm *s) {
    unsigned char *bases[STORM_BUFFERS];
    storm_op *map = &s->plan.ops[s->plan.ops[s->at].target];
    const storm_access *a = &map->accesses[0];
    void *memory = NULL;
    if (map->refused) {
        return;
    }
    map->said = pel_map_wait(s->mapping, &memory);
    if (map->said == PEL_OK) {
        for (uint32_t b = 0; b < STORM_BUFFERS; b++) {
            bases[b] = (unsigned char *)((uintptr_t)memory - a->offset);
        }
        map->result = storm_apply(map, bases);
        expect_ok(s, map, "an unmapping", pel_unmap(s->mapping));
    }
    pel_mapping_destroy(s->mapping);
    s->mapping = NULL;
}

static void record(storm *s, storm_op *op, bool replaces) {
    pel_queue *queue = s->queues[STORM_QUEUES]; /* whose tasks have no children: those would be recorded, too */
    pel_graph **graph = &s->graphs[op->target];
    if (replaces) { /* replays must be over */
        for (uint32_t i = 0; i < s->at; i++) {
            storm_op *replay = &s->plan.ops[i];
            if (replay->kind == STORM_REPLAY && replay->target == op->target) {
                (void)pel_event_wait(replay->event);
            }
        }
    }
    bool fine = replaces ? *graph && happened(s, op, "replacing", pel_graph_replace(*graph, queue, op->count))
                         : happened(s, op, "a graph", pel_graph_create(s->scene->runtime, graph, NULL)) &&
                               happened(s, op, "recording", pel_graph_record(*graph, queue));
    for (uint32_t i = 0; i < (replaces ? 1 : op->count) && fine; i++) {
        storm_op *recorded = &s->plan.inner[op->first + i];
        fine = happened(s, op, "a recorded command", submit(s, recorded, queue, s->plan.inner));
    }
    if (*graph) {
        fine = happened(s, op, "the end of a recording", pel_graph_end(*graph)) && fine;
    }
    op->refused = !fine;
    if (!fine && !replaces) {
        expect_ok(s, op, "destroying half a graph", pel_graph_destroy(*graph));
        *graph = NULL;
    }
}

/* Forgiven bytes are whatever memory holds then: that is noted while nothing runs. */
static void reset(storm *s, storm_op *op) {
    make_plenty(s);
    for (uint32_t q = 0; q < s->plan.queues; q++) {
        (void)pel_queue_finish(s->queues[q]);
    }
    expect_ok(s, op, "a reset", pel_queue_reset(s->queues[op->queue]));
    for (uint32_t b = 0; b < 2; b++) {
        expect_ok(s, op, "a sync", pel_buffer_sync(s->buffers[b]));
        memcpy(op->bytes + storm_base(b), s->bases[b], STORM_AREA);
    }
}

static void do_other(storm *s, storm_op *op) {
    storm_op *target = &s->plan.ops[op->target];
    if (op->kind >= STORM_UNMAP && op->kind != STORM_RECORD && op->kind != STORM_CANCEL) {
        end_pending(s);
    }
    switch (op->kind) {
    case STORM_USER:
        make_user(s, op);
        break;
    case STORM_FIRE:
        if (target->kind == STORM_USER && target->event) {
            expect_ok(s, op, "ending a user event", end_user(target));
        }
        break;
    case STORM_UNMAP:
        unmap(s);
        break;
    case STORM_RECORD:
    case STORM_REPLACE:
        record(s, op, op->kind == STORM_REPLACE);
        break;
    case STORM_CANCEL:
        op->said = target->event ? pel_event_cancel(target->event) : PEL_NOT_FOUND;
        target->cancelled = target->cancelled || op->said == PEL_OK;
        break;
    case STORM_WAIT:
        op->said = target->event ? pel_event_wait(target->event) : PEL_OK;
        break;
    case STORM_FINISH:
        op->said = pel_queue_finish(s->queues[op->queue]);
        break;
    default:
        reset(s, op);
    }
}

static bool set_up(storm *s) {
    pel_runtime *runtime = s->scene->runtime;
    bool fine = true;
    memset(s->memory, 0, sizeof s->memory);
    for (uint32_t q = 0; q <= STORM_QUEUES; q++) {
        pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
        const bool helper = q == STORM_QUEUES;
        desc.max_in_flight = helper ? 0 : s->plan.limit;
        desc.weight = helper ? 0 : s->plan.weights[q];
        desc.flags = helper ? 0 : s->plan.flags[q];
        s->queues[q] = NULL;
        fine = fine && ((q >= s->plan.queues && !helper) || pel_queue_create(runtime, &desc, &s->queues[q], NULL) == PEL_OK);
    }
    fine = fine && pel_buffer_wrap(runtime, s->memory, STORM_AREA, &s->buffers[0]) == PEL_OK &&
           pel_buffer_create(runtime, STORM_AREA, &s->buffers[1], NULL) == PEL_OK &&
           pel_buffer_wrap(runtime, s->memory + STORM_PART, STORM_PART_BYTES, &s->buffers[2]) == PEL_OK;
    for (uint32_t b = 0; b < STORM_BUFFERS && fine; b++) {
        s->bases[b] = pel_buffer_data(s->buffers[b]);
    }
    return fine;
}

void storm_run(storm *s, const storm_scene *scene) {
    s->scene = scene;
    s->mapping = NULL;
    s->random = s->plan.seed;
    memset(s->graphs, 0, sizeof s->graphs);
    atomic_store(&s->complaints, 0);
    if (!set_up(s)) {
        storm_complain(s, NULL, "setting up", 1, 0);
        return;
    }
    for (s->at = 0; s->at < s->plan.count; s->at++) {
        storm_op *op = &s->plan.ops[s->at];
        make_lean(s);
        if (storm_is_command(op)) {
            (void)happened(s, op, "a submission", submit(s, op, s->queues[op->queue], s->plan.ops));
        } else {
            do_other(s, op);
        }
    }
    end_pending(s);
    make_plenty(s);
    for (uint32_t q = 0; q < s->plan.queues; q++) {
        s->finished[q] = pel_queue_finish(s->queues[q]);
    }
    expect_ok(s, NULL, "the queue that ends user events", pel_queue_finish(s->queues[STORM_QUEUES]));
    for (uint32_t b = 0; b < STORM_BUFFERS; b++) {
        expect_ok(s, NULL, "a sync", pel_buffer_sync(s->buffers[b]));
    }
}

void storm_end(storm *s) {
    for (uint32_t i = 0; i < s->plan.count; i++) {
        pel_event_release(s->plan.ops[i].event);
    }
    for (uint32_t i = 0; i < s->plan.inner_count; i++) {
        pel_event_release(s->plan.inner[i].event);
    }
    for (uint32_t g = 0; g < STORM_GRAPHS; g++) {
        expect_ok(s, NULL, "destroying a graph", pel_graph_destroy(s->graphs[g]));
    }
    for (uint32_t q = 0; q <= STORM_QUEUES; q++) {
        const pel_status status = pel_queue_destroy(s->queues[q]);
        expect_ok(s, NULL, "destroying a queue", status == (q < s->plan.queues ? s->finished[q] : PEL_OK) ? PEL_OK : status);
    }
    for (uint32_t b = 0; b < STORM_BUFFERS; b++) {
        expect_ok(s, NULL, "destroying a buffer", pel_buffer_destroy(s->buffers[b]));
    }
}
