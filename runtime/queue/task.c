/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that are only nodes: from pel_task to a runner, and from there to their end (task_end.c), without runtime->lock.
 *
 * A submitter claims a lane (a running task uses its runner), takes a node, counts it, and pushes it if nothing comes before.
 * Accesses go through the hazards under their own lock, which completion never takes. What is rare goes the long way as a
 * pel_command: names, priorities, rectangles, bytes that may live in a device's own memory, a virtual machine. Failures are rare
 * too: they take the lock.
 */
#include "base/checked.h"
#include "queue/awaited.h"
#include "queue/command.h"
#include "queue/short_launch.h"

void pel_task_put(pel_runtime *runtime, pel_node *node) {
    pel_host_tasks *tasks = runtime->dispatcher->tasks;
    pel_host_runner *runner = pel_host_runner_current(tasks);
    if (runner) {
        pel_host_runner_push(runner, &node->item);
        return;
    }
    pel_host_lane *lane = pel_host_lane_claim(tasks);
    pel_host_lane_push(lane, &node->item);
    pel_host_lane_give_back(tasks, lane, true);
}

typedef struct submission {
    pel_queue *queue;
    pel_runtime *runtime;
    pel_node *node;
    pel_host_lane *lane;   /* claimed; NULL: the runner's own */
    pel_host_runner *runner;
    pel_host_self *self;
    pel_frame *frame;      /* the task that submits it; NULL: none */
    pel_event *event;
    /* of a predecessor that is over and whose result is read; retained: what this one writes may be what else knew it */
    pel_event *failed;
    bool orderless;        /* no memory to note all of its accesses: later ones could not be kept behind it, and it is not run */
} submission;

/* Wrong descriptors and accesses go the long way, too: it knows what to say. */
static bool plain(const pel_task_desc *desc) {
    return !desc || ((desc->size == 0 || desc->size == sizeof *desc) && !desc->name && desc->priority == 0 &&
                     desc->retries == 0 && desc->reserved == 0);
}

static bool all_at_home(const pel_runtime *runtime, const pel_access *accesses, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const pel_buffer *buffer = accesses[i].buffer;
        if (!buffer || buffer->runtime != runtime || accesses[i].mode < PEL_READ || accesses[i].mode > PEL_READ_WRITE ||
            accesses[i].rows > 1 || accesses[i].reserved != 0 || accesses[i].offset >= buffer->bytes ||
            accesses[i].bytes > buffer->bytes - accesses[i].offset ||
            atomic_load_explicit(&((pel_buffer *)(uintptr_t)buffer)->away, memory_order_relaxed)) {
            return false;
        }
    }
    return true;
}

static void note_failed(submission *s, const pel_event *failed) {
    s->failed = s->failed ? s->failed : pel_event_retain((pel_event *)(uintptr_t)failed);
}

static bool depend_on(void *user, const pel_hazard *before) {
    submission *s = user;
    pel_follow how;
    if (before->failed) {
        if (before->data) {
            note_failed(s, before->failed);
        }
        return true;
    }
    return pel_node_follow(&s->runtime->dispatcher->pools, s->self, pel_node_of_hazard(before->node), before->generation, s->node,
                           before->data, &how) == PEL_OK;
}

/* Keeps the ranges with the node, for a failure, and the event. */
static bool keep_ranges(submission *s, const pel_access *accesses, uint32_t count) {
    const pel_node_pools *pools = &s->runtime->dispatcher->pools;
    pel_node_more *last = NULL;
    if (count == 0 && s->event) {
        s->node->brief = true;
        s->node->event = s->event;
    }
    for (uint32_t i = 0; i < count; i += PEL_MORE_RANGES) {
        pel_node_more *more = i == 0 ? pel_node_more_of(s->node) : pel_pool_take(pools->scraps, &s->self->scraps);
        if (!more) {
            return false;
        }
        *more = (pel_node_more){.event = i == 0 ? s->event : NULL};
        if (last) {
            s->node->several = true;
            last->next = more;
        } else {
            s->node->accesses = true;
            s->node->eventful = s->event != NULL;
        }
        last = more;
        for (uint32_t k = 0; k < PEL_MORE_RANGES && i + k < count; k++) {
            const pel_access *a = &accesses[i + k];
            uint64_t bytes = a->bytes != 0 ? a->bytes : a->buffer->bytes - a->offset;
            more->ranges[k].lo = (uintptr_t)a->buffer->data + a->offset;
            more->ranges[k].bytes = bytes | (uint64_t)a->mode << PEL_MORE_MODE_SHIFT;
        }
    }
    return true;
}

static uint32_t ranges_of(const pel_node_more *more, pel_hazard_range *ranges) {
    uint32_t n = 0;
    for (; n < PEL_MORE_RANGES && more->ranges[n].bytes != 0; n++) {
        ranges[n] = pel_more_range(more, n);
    }
    return n;
}

/* With the lock, until all is noted: as soon as others can come after the node, it can come after nobody more. */
static pel_status look(submission *s, pel_hazards *hazards) {
    pel_hazard_range ranges[PEL_MORE_RANGES];
    pel_status status = PEL_OK;
    for (const pel_node_more *more = pel_node_accesses(s->node); more && status == PEL_OK; more = more->next) {
        const uint32_t n = ranges_of(more, ranges);
        status = pel_hazards_look(hazards, ranges, n, &s->node->hazard, depend_on, s);
    }
    return status;
}

/*
 * What cannot be noted fails when its turn comes, not now: a part of it may be noted, in the place of others that go on or have
 * failed, and stands for those until they are over. Which ranges of a block are not noted is not known: all of them are lost.
 */
static void note(submission *s, pel_hazards *hazards) {
    pel_hazard_range ranges[PEL_MORE_RANGES];
    for (const pel_node_more *more = pel_node_accesses(s->node); more; more = more->next) {
        const uint32_t n = ranges_of(more, ranges);
        if (pel_hazards_note(hazards, ranges, n, &s->node->hazard) == PEL_OK) {
            continue;
        }
        s->orderless = true;
        for (uint32_t i = 0; i < n; i++) {
            pel_hazards_lose(hazards, &ranges[i], s->queue->anonymous);
        }
    }
}

static pel_status look_and_note(submission *s, pel_hazards *hazards) {
    const pel_status status = look(s, hazards);
    if (status == PEL_OK) {
        note(s, hazards);
    }
    return status;
}

/* UNSUPPORTED: a launch has taken some of the bytes to a device meanwhile. */
static pel_status enter_hazards(submission *s, const pel_access *accesses, uint32_t count) {
    pel_dispatcher *dispatcher = s->runtime->dispatcher;
    pel_status status = PEL_UNSUPPORTED;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    if (all_at_home(s->runtime, accesses, count)) {
        pel_hazards *hazards = pel_stage_hazards(s->runtime, s->node->stage);
        status = hazards ? look_and_note(s, hazards) : PEL_OUT_OF_MEMORY;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    return status;
}

static pel_status follow_events(submission *s, const pel_task_desc *desc) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; desc && i < desc->wait_count && status == PEL_OK; i++) {
        bool failed;
        status = pel_follow_event(s->runtime, s->self, s->node, desc->waits[i], true, &failed);
        if (status == PEL_OK && failed) {
            note_failed(s, desc->waits[i]);
        }
    }
    return status;
}

/*
 * It is not run: it fails when its turn comes. Without the lane: nobody who has one waits for the lock, because whoever has the
 * lock waits for lanes. With the lock, because a predecessor may tell it of its own failure just now.
 */
static void fail_in_turn(submission *s) {
    pthread_mutex_lock(&s->runtime->lock);
    if (s->node->status == PEL_OK) { /* of its predecessors none has told it yet */
        const pel_allocator *allocator = &s->runtime->allocator;
        pel_error *error = NULL;
        s->node->status = s->orderless ? PEL_OUT_OF_MEMORY : PEL_DEPENDENCY_FAILED;
        if (s->orderless) {
            pel_fail(&error, allocator, PEL_OUT_OF_MEMORY, NULL, "%s: no memory to keep its order",
                     pel_short_name(s->node, "task"));
        } else {
            pel_fail(&error, allocator, PEL_DEPENDENCY_FAILED, NULL, "%s was not run: what it depends on had failed: %s",
                     pel_short_name(s->node, "task"), pel_error_message(s->failed->error));
        }
        pel_short_forgo(s->node);
        s->node->task = NULL;
        s->node->hazard.user = error;
    }
    pthread_mutex_unlock(&s->runtime->lock);
}

static void leave(submission *s, bool pushed) {
    if (s->lane) {
        pel_host_lane_give_back(s->runtime->dispatcher->tasks, s->lane, pushed);
    }
}

/* What somebody is going to wait for is offered, to that thread, too. */
static void put(submission *s) {
    if (s->lane) {
        if (s->event) {
            pel_host_lane_offer(s->lane, &s->node->item, &s->event->phase); /* what its beginning writes */
        } else {
            pel_host_lane_push(s->lane, &s->node->item);
        }
        leave(s, true);
    } else {
        pel_host_runner_push(s->runner, &s->node->item);
    }
}

/* Predecessors may know it already: it stays until they are over, as something that is not counted, not run, and not
 * remembered. */
static void withdraw(submission *s) {
    pel_node *node = s->node;
    node->brief = false;
    pel_node_drop_accesses(&s->runtime->dispatcher->pools, s->self, node);
    leave(s, false);
    pthread_mutex_lock(&s->runtime->lock);
    if (node->task) {
        pel_short_forgo(node);
    } else { /* one of them failed meanwhile, and has told it */
        pel_error_destroy(node->hazard.user);
    }
    pel_node_become(node, PEL_NODE_COMMAND);
    node->hazard.user = NULL;
    node->shared = true;
    node->stage = NULL;
    if (pel_node_arrive(node)) {
        pel_start_node(s->runtime, node);
        pel_dispatch(s->runtime);
    }
    pel_dispatcher_unlock(s->runtime, true);
    pel_event_release(s->event);
    pel_event_release(s->failed);
}

static bool begin(submission *s) {
    pel_dispatcher *dispatcher = s->runtime->dispatcher;
    s->runner = pel_host_runner_current(dispatcher->tasks);
    s->frame = pel_frame_top(s->runtime);
    const bool child = s->frame && s->runner && !s->frame->loop && !pel_frame_counts_in_queue(s->frame, s->queue);
    s->lane = child ? NULL : pel_host_lane_claim(dispatcher->tasks);
    s->self = child ? &s->runner->self : &s->lane->self;
    if (s->frame) {
        pel_node_come_after(pel_node_place(s->frame->node));
    }
    s->node = pel_node_take(&dispatcher->pools, s->self, PEL_NODE_TASK);
    pel_stage *stage = s->node ? pel_frame_stage(s->frame, s->queue) : NULL;
    if (!stage) {
        if (s->node) {
            pel_node_give(&dispatcher->pools, s->self, s->node);
        }
        leave(s, false);
        pel_event_release(s->event);
        return false;
    }
    s->node->stage = stage;
    return true;
}

pel_status pel_task_out_of_memory(pel_queue *queue) {
    pel_error *error = NULL;
    pel_fail(&error, &queue->runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a task");
    return pel_refuse(queue, PEL_OUT_OF_MEMORY, error);
}

static pel_status check_scope(const submission *s, pel_error **error) {
    pel_range_walk w = pel_node_ranges(s->node);
    uint32_t index = 0;
    pel_status status = PEL_OK;
    for (pel_hazard_range range; s->node->stage->scope && status == PEL_OK && pel_range_next(&w, &range);) {
        status = pel_stage_allows(s->node->stage, &range, "task", index++, error);
    }
    return status;
}

/* What others may know: its event, its accesses, those that it waits for. */
static pel_status connect(submission *s, const pel_access *accesses, uint32_t access_count, const pel_task_desc *desc,
                          pel_error **error) {
    s->node->shared = true;
    if (s->event) {
        s->event->node = s->node;
        s->event->queue = s->queue->id;
        s->event->scope = s->node->stage->scope;
    }
    if (!keep_ranges(s, accesses, access_count)) {
        return PEL_OUT_OF_MEMORY;
    }
    if (check_scope(s, error) != PEL_OK) {
        return PEL_CONFLICT;
    }
    pel_status status = follow_events(s, desc);
    return status == PEL_OK && access_count > 0 ? enter_hazards(s, accesses, access_count) : status;
}

/* Fills the task's own record of its accesses and what the hazards are asked. False: not for the short way. */
static bool take_accesses(const submission *s, const pel_access *accesses, uint32_t count, pel_node_more *more,
                          pel_hazard_span *spans) {
    more->next = NULL;
    more->event = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const pel_access *a = &accesses[i];
        const pel_buffer *buffer = a->buffer;
        if (!buffer || buffer->runtime != s->runtime || a->mode < PEL_READ || a->mode > PEL_READ_WRITE || a->rows > 1 ||
            a->reserved != 0 || a->offset >= buffer->bytes || a->bytes > buffer->bytes - a->offset) {
            return false;
        }
        const uint64_t bytes = a->bytes != 0 ? a->bytes : buffer->bytes - a->offset;
        spans[i].lo = more->ranges[i].lo = (uintptr_t)buffer->data + a->offset;
        spans[i].hi = spans[i].lo + bytes;
        spans[i].mode = a->mode;
        spans[i].domain_lo = (uintptr_t)buffer->data;
        spans[i].domain_hi = spans[i].domain_lo + buffer->bytes;
        more->ranges[i].bytes = bytes | (uint64_t)a->mode << PEL_MORE_MODE_SHIFT;
    }
    for (uint32_t i = count; i < PEL_MORE_RANGES; i++) {
        more->ranges[i].bytes = 0;
    }
    return true;
}

static bool is_away(const pel_access *accesses, uint32_t count) {
    bool away = false;
    for (uint32_t i = 0; i < count; i++) {
        away = away || atomic_load_explicit(&((pel_buffer *)(uintptr_t)accesses[i].buffer)->away, memory_order_relaxed);
    }
    return away;
}

/* Nobody has heard of the node yet. */
static pel_status take_back(submission *s) {
    s->node->shared = false;
    pel_node_give(&s->runtime->dispatcher->pools, s->self, s->node);
    leave(s, false);
    return PEL_UNSUPPORTED;
}

/* It is known to whom it must be: now it is counted, and runs as soon as it may. */
static pel_status count_in(submission *s) {
    pel_stage_enter(s->node->stage, s->self->shard);
    if (s->failed || s->orderless) {
        leave(s, false);
        fail_in_turn(s);
        pel_event_release(s->failed);
        if (pel_node_arrive(s->node)) {
            pel_task_put(s->runtime, s->node);
        }
    } else if (!s->node->shared || pel_node_arrive(s->node)) {
        put(s);
    } else {
        leave(s, false);
    }
    return PEL_OK;
}

/* A task from outside of tasks with few accesses and nothing else: as below with what cannot happen left out. UNSUPPORTED:
 * nothing has happened, take the other way. */
__attribute__((noinline)) /* what it saves on the stack is not for bare tasks to pay */
static pel_status submit_few(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t count) {
    pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_hazard_span spans[PEL_MORE_RANGES];
    pel_host_lane *lane = pel_host_lane_claim(dispatcher->tasks);
    submission s = {.queue = queue,
                    .runtime = runtime,
                    .node = pel_node_take(&dispatcher->pools, &lane->self, PEL_NODE_TASK),
                    .lane = lane,
                    .self = &lane->self};
    if (!s.node) {
        leave(&s, false);
        return PEL_UNSUPPORTED; /* it will find out, too, and say so */
    }
    if (!take_accesses(&s, accesses, count, pel_node_more_of(s.node), spans)) {
        return take_back(&s);
    }
    s.node->accesses = true;
    s.node->stage = atomic_load_explicit(&queue->stage, memory_order_acquire);
    s.node->task = function;
    s.node->hazard.user = context;
    s.node->shared = true;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    if (is_away(accesses, count)) { /* with the lock: a launch may be about to take them */
        pel_hazard_lock_give(&dispatcher->hazard_lock);
        return take_back(&s);
    }
    pel_status status = pel_hazards_enter(dispatcher->hazards, spans, count, &s.node->hazard, depend_on, &s);
    if (status == PEL_UNSUPPORTED) {
        status = look_and_note(&s, dispatcher->hazards);
    } else if (status != PEL_OK) {
        note(&s, dispatcher->hazards);
        status = PEL_OK;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    if (status != PEL_OK) {
        withdraw(&s);
        return status == PEL_OUT_OF_MEMORY ? pel_task_out_of_memory(queue) : status;
    }
    pel_node_fetch_more(s.self);
    return count_in(&s);
}

__attribute__((noinline))
static pel_status submit(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t access_count,
                         const pel_task_desc *desc, pel_event **event) {
    pel_runtime *runtime = queue->runtime;
    submission s = {.queue = queue, .runtime = runtime};
    if (!runtime->dispatcher->tasks || atomic_load_explicit(&runtime->dispatcher->mapping_count, memory_order_relaxed) > 0 ||
        !function || !plain(desc) || queue->priority != 0 || (access_count > 0 && !accesses) ||
        !all_at_home(runtime, accesses, access_count)) {
        pel_short_unused(function, context);
        return PEL_UNSUPPORTED;
    }
    if (desc && desc->wait_count > 0 && pel_check_waits(queue, desc->waits, desc->wait_count, NULL) != PEL_OK) {
        return PEL_UNSUPPORTED;
    }
    pel_error *error = NULL;
    if (desc && desc->wait_count > 0 && pel_check_waits_inside(runtime, desc->waits, desc->wait_count, &error) != PEL_OK) {
        return pel_refuse(queue, pel_error_status(error), error);
    }
    pel_queue_make_room_for_task(queue);
    if (event && (s.event = pel_event_new_for_task(runtime, !queue->untimed)) == NULL) {
        return pel_task_out_of_memory(queue);
    }
    if (!begin(&s)) {
        pel_short_unused(function, context);
        pel_event_release(s.event); /* the caller's reference */
        return pel_task_out_of_memory(queue);
    }
    s.node->task = function;
    s.node->hazard.user = context;
    if (event || access_count > 0 || (desc && desc->wait_count > 0)) {
        pel_status status = connect(&s, accesses, access_count, desc, &error);
        if (status != PEL_OK) {
            withdraw(&s);
            pel_event_release(s.event);
            return status == PEL_OUT_OF_MEMORY ? pel_task_out_of_memory(queue)
                   : status == PEL_CONFLICT    ? pel_refuse(queue, status, error)
                                               : status;
        }
        if (event) {
            s.event->generation = pel_node_order(s.node);
            *event = s.event;
        }
    }
    return count_in(&s);
}

pel_status pel_task_submit(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses,
                           uint32_t access_count, const pel_task_desc *desc, pel_event **event) {
    const pel_dispatcher *dispatcher = queue->runtime->dispatcher;
    const bool simple =
        !desc && queue->priority == 0 && function && dispatcher->tasks && !pel_frames &&
        atomic_load_explicit(&((pel_dispatcher *)(uintptr_t)dispatcher)->mapping_count, memory_order_relaxed) == 0;
    if (simple && access_count == 0 && event && queue->max_in_flight == 0) {
        pel_status status = pel_task_awaited(queue, function, context, event);
        if (status != PEL_UNSUPPORTED) {
            return status;
        }
    }
    if (simple && !event && access_count <= PEL_MORE_RANGES && accesses) {
        pel_queue_make_room_for_task(queue);
        pel_status status = submit_few(queue, function, context, accesses, access_count);
        if (status != PEL_UNSUPPORTED) {
            return status;
        }
    }
    return submit(queue, function, context, accesses, access_count, desc, event);
}
