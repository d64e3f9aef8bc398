/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that are only nodes: from pel_task to a runner and to their end without runtime->lock.
 *
 * A submitter claims a lane (a running task uses its runner), takes a node, counts it, and pushes it if nothing comes before. Accesses go through the hazards
 * under their own lock, which completion never takes. What is rare goes the long way as a pel_command: names, priorities, rectangles, bytes that may live
 * in a device's own memory, a virtual machine. Failures are rare too: they take the lock.
 */
#include "base/checked.h"
#include "queue/command.h"
#include <stddef.h>

#define MODE_SHIFT 62

static pel_hazard_range range_at(const pel_node_more *more, uint32_t i) {
    uint64_t bytes = more->ranges[i].bytes & (((uint64_t)1 << MODE_SHIFT) - 1);
    return (pel_hazard_range){.lo = more->ranges[i].lo, .hi = more->ranges[i].lo + bytes,
                              .mode = (pel_access_mode)(more->ranges[i].bytes >> MODE_SHIFT)};
}

/* Every range of the node, one after the other. */
typedef struct range_walk {
    const pel_node_more *more;
    uint32_t next;
} range_walk;

static bool walk(range_walk *w, pel_hazard_range *range) {
    if (w->more && w->next == PEL_MORE_RANGES) {
        *w = (range_walk){w->more->next, 0};
    }
    if (!w->more || w->more->ranges[w->next].bytes == 0) {
        return false;
    }
    *range = range_at(w->more, w->next++);
    return true;
}

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

/* ---- the end ---- */

static void start(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, pel_node **next) {
    if (node->kind == PEL_NODE_TASK) {
        if (!*next) {
            *next = node;
        } else {
            pel_host_runner_push(runner, &node->item);
        }
        return;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_start_node(runtime, node);
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true);
}

static pel_node *wake_successors(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, const pel_error *failed) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_node *next = NULL;
    bool watched, data;
    pel_successors list = pel_node_close(node, &watched);
    for (pel_node *to; (to = pel_successors_next(&dispatcher->pools, &runner->self, &list, &data)) != NULL;) {
        if (failed && data) {
            pthread_mutex_lock(&runtime->lock);
            pel_node_inherit_failure(runtime, to, "task", failed);
            pthread_mutex_unlock(&runtime->lock);
        }
        if (pel_node_arrive(to)) {
            start(runtime, runner, to, &next);
        }
    }
    if (watched) {
        pel_tell_waiters(runtime);
    }
    return next;
}

/* The queue, the event and the hazards learn of it. Takes over `error`; returns what successors are told, owned by the caller. */
static pel_error *note_failure(pel_runtime *runtime, pel_node *node, pel_status status, pel_error *error) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_queue *queue = node->stage->queue;
    pel_event *event = node->more ? pel_event_retain(node->more->event) : NULL;
    pel_error *told = pel_error_clone(error, &runtime->allocator);
    pthread_mutex_lock(&runtime->lock);
    pel_queue_note_failure(queue, pel_node_order(node), status, error);
    event = !event && node->more ? pel_event_new(runtime) : event;
    if (event) {
        event->queue = queue->id;
        pel_event_finish(event, status, error, NULL, pel_clock_now(runtime->clock));
    } else {
        event = pel_event_retain(queue->anonymous);
        pel_error_destroy(error);
    }
    range_walk w = {node->more, 0};
    pthread_mutex_lock(&dispatcher->hazard_lock);
    for (pel_hazard_range range; walk(&w, &range);) {
        pel_hazards_fail(dispatcher->hazards, &range, 1, &node->hazard, event);
    }
    pthread_mutex_unlock(&dispatcher->hazard_lock);
    pthread_mutex_unlock(&runtime->lock);
    pel_event_release(event);
    return told;
}

static pel_error *task_failed(pel_runtime *runtime, pel_status returned) {
    pel_error *error = NULL;
    pel_story story = {.device = runtime->task_device->facts->info.id, .code = (int64_t)returned};
    pel_fail(&error, &runtime->allocator, PEL_TASK_FAILED, &story, "task: a host task returned %s (%s)", pel_status_name(returned),
             pel_status_text(returned));
    return error;
}

/* Its event is complete before its successors are closed. */
static pel_node *end_shared(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, pel_status status, pel_error *error) {
    pel_event *event = node->more ? node->more->event : NULL;
    pel_error *told = NULL;
    if (status != PEL_OK) {
        told = note_failure(runtime, node, status, error);
    } else if (event) {
        pel_event_finish(event, PEL_OK, NULL, NULL, pel_clock_now(runtime->clock));
    }
    pel_node *next = wake_successors(runtime, runner, node, told);
    pel_event_release(event);
    pel_error_destroy(told);
    return next;
}

/* After this nothing of the queue is touched, which may be gone. */
static void count(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_stage_end(stage, runner->self.shard, dispatcher->fence);
    if (atomic_load_explicit(&dispatcher->watches, memory_order_seq_cst) > 0 &&
        (pel_stage_unfinished(stage) == 0 || atomic_load_explicit(&dispatcher->throttled, memory_order_seq_cst) > 0)) {
        pel_queues_advance(runtime);
    }
}

pel_host_item *pel_task_run(pel_host_runner *runner, pel_host_item *item) {
    pel_node *node = (pel_node *)(void *)item, *next = NULL;
    pel_stage *stage = node->stage;
    pel_runtime *runtime = stage->runtime;
    void *outer = runner->task;
    pel_status status = (pel_status)node->status;
    pel_error *error = NULL;
    bool runs = node->task, begins = status == PEL_OK && node->more && node->more->event;
    if (begins && pel_event_claim(node->more->event, PEL_EVENT_RUNNING)) {
        node->more->event->timing.began = pel_clock_now(runtime->clock);
    } else if (begins) {
        runs = false;
        status = PEL_CANCELLED;
        node->hazard.user = pel_event_cancelled(node->more->event, "task");
    }
    if (runs) {
        runner->task = node;
        pel_status returned = node->task(node->hazard.user);
        runner->task = outer;
        if (returned != PEL_OK) {
            status = PEL_TASK_FAILED;
            error = task_failed(runtime, returned);
        }
    } else {
        error = node->hazard.user;
    }
    if (node->shared) {
        next = end_shared(runtime, runner, node, status, error);
    } else if (status != PEL_OK) {
        pel_error_destroy(note_failure(runtime, node, status, error));
    }
    pel_node_give(&runtime->dispatcher->pools, &runner->self, node);
    count(runtime, runner, stage);
    return next ? &next->item : NULL;
}

/* ---- the beginning ---- */

typedef struct submission {
    pel_queue *queue;
    pel_runtime *runtime;
    pel_node *node;
    pel_host_lane *lane;   /* claimed; NULL: the runner's own */
    pel_host_runner *runner;
    pel_host_self *self;
    pel_event *event;
    const pel_event *failed; /* a predecessor that is over and whose result is read */
} submission;

/* Wrong descriptors and accesses go the long way, too: it knows what to say. */
static bool plain(const pel_task_desc *desc) {
    return !desc || ((desc->size == 0 || desc->size == sizeof *desc) && !desc->name && desc->priority == 0);
}

static bool all_at_home(const pel_runtime *runtime, const pel_access *accesses, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const pel_buffer *buffer = accesses[i].buffer;
        if (!buffer || buffer->runtime != runtime || accesses[i].mode < PEL_READ || accesses[i].mode > PEL_READ_WRITE || accesses[i].rows > 1 ||
            accesses[i].reserved != 0 ||
            accesses[i].offset >= buffer->bytes || accesses[i].bytes > buffer->bytes - accesses[i].offset ||
            atomic_load_explicit(&((pel_buffer *)(uintptr_t)buffer)->away, memory_order_relaxed)) {
            return false;
        }
    }
    return true;
}

static bool depend_on(void *user, const pel_hazard *before) {
    submission *s = user;
    pel_follow how;
    if (before->failed) {
        s->failed = before->data && !s->failed ? before->failed : s->failed;
        return true;
    }
    return pel_node_follow(&s->runtime->dispatcher->pools, s->self, pel_node_of_hazard(before->node), before->generation, s->node, before->data,
                           &how) == PEL_OK;
}

/* Keeps the ranges with the node, for a failure. */
static bool keep_ranges(submission *s, const pel_access *accesses, uint32_t count) {
    pel_node_more **link = &s->node->more;
    for (uint32_t i = 0; i < count || (i == 0 && s->event); i += PEL_MORE_RANGES) {
        pel_node_more *more = pel_pool_take(s->runtime->dispatcher->pools.scraps, &s->self->scraps);
        if (!more) {
            return false;
        }
        *more = (pel_node_more){.event = i == 0 ? s->event : NULL};
        *link = more;
        link = &more->next;
        for (uint32_t k = 0; k < PEL_MORE_RANGES && i + k < count; k++) {
            const pel_access *a = &accesses[i + k];
            uint64_t bytes = a->bytes != 0 ? a->bytes : a->buffer->bytes - a->offset;
            more->ranges[k].lo = (uintptr_t)a->buffer->data + a->offset;
            more->ranges[k].bytes = bytes | (uint64_t)a->mode << MODE_SHIFT;
        }
    }
    return true;
}

/* UNSUPPORTED: a launch has taken some of the bytes to a device meanwhile. */
static pel_status enter_hazards(submission *s, const pel_access *accesses, uint32_t count) {
    pel_dispatcher *dispatcher = s->runtime->dispatcher;
    pel_hazard_range ranges[PEL_MORE_RANGES];
    pel_status status = PEL_OK;
    bool noted = true;
    pthread_mutex_lock(&dispatcher->hazard_lock);
    if (!all_at_home(s->runtime, accesses, count)) {
        pthread_mutex_unlock(&dispatcher->hazard_lock);
        return PEL_UNSUPPORTED;
    }
    for (int pass = 0; pass < 2 && status == PEL_OK; pass++) {
        for (const pel_node_more *more = s->node->more; more && status == PEL_OK; more = more->next) {
            uint32_t n = 0;
            for (; n < PEL_MORE_RANGES && more->ranges[n].bytes != 0; n++) {
                ranges[n] = range_at(more, n);
            }
            if (pass == 0) {
                status = pel_hazards_look(dispatcher->hazards, ranges, n, &s->node->hazard, depend_on, s);
            } else if (pel_hazards_note(dispatcher->hazards, ranges, n, &s->node->hazard) != PEL_OK) {
                noted = false;
            }
        }
    }
    if (!noted) { /* not run: the order of later commands could not be kept */
        s->node->status = PEL_OUT_OF_MEMORY;
        s->node->task = NULL;
        s->node->hazard.user = NULL;
        pel_fail((pel_error **)&s->node->hazard.user, &s->runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "task: no memory to keep its order");
    }
    pthread_mutex_unlock(&dispatcher->hazard_lock);
    return status;
}

static pel_status follow_events(submission *s, const pel_task_desc *desc) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; desc && i < desc->wait_count && status == PEL_OK; i++) {
        bool failed;
        status = pel_follow_event(s->runtime, s->self, s->node, desc->waits[i], true, &failed);
        s->failed = status == PEL_OK && failed && !s->failed ? desc->waits[i] : s->failed;
    }
    return status;
}

/* Without the lane: nobody who has one waits for the lock, because whoever has the lock waits for lanes. */
static void inherit(submission *s) {
    pthread_mutex_lock(&s->runtime->lock);
    if (s->node->status == PEL_OK) {
        pel_error *error = NULL;
        pel_fail(&error, &s->runtime->allocator, PEL_DEPENDENCY_FAILED, NULL, "task was not run: what it depends on had failed: %s",
                 pel_error_message(s->failed->error));
        s->node->status = PEL_DEPENDENCY_FAILED;
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

static void put(submission *s) {
    if (s->lane) {
        pel_host_lane_push(s->lane, &s->node->item);
        leave(s, true);
    } else {
        pel_host_runner_push(s->runner, &s->node->item);
    }
}

/* Predecessors may know it already: it stays until they are over, as something that is not counted, not run, and not remembered. */
static void withdraw(submission *s) {
    pel_node *node = s->node;
    pel_pool *scraps = s->runtime->dispatcher->pools.scraps;
    for (pel_node_more *next; node->more; node->more = next) {
        next = node->more->next;
        pel_pool_give(scraps, &s->self->scraps, node->more);
    }
    leave(s, false);
    pthread_mutex_lock(&s->runtime->lock);
    node->kind = PEL_NODE_COMMAND;
    node->hazard.user = NULL;
    node->shared = true;
    if (pel_node_arrive(node)) {
        pel_start_node(s->runtime, node);
    }
    pthread_mutex_unlock(&s->runtime->lock);
    pel_event_release(s->event);
}

static bool begin(submission *s) {
    pel_dispatcher *dispatcher = s->runtime->dispatcher;
    s->runner = pel_host_runner_current(dispatcher->tasks);
    const pel_node *parent = s->runner ? s->runner->task : NULL;
    bool child = parent && parent->stage->queue == s->queue;
    s->lane = child ? NULL : pel_host_lane_claim(dispatcher->tasks);
    s->self = child ? &s->runner->self : &s->lane->self;
    if (parent) {
        pel_node_come_after(pel_node_order(parent));
    }
    s->node = pel_node_take(&dispatcher->pools, s->self, PEL_NODE_TASK);
    if (!s->node) {
        leave(s, false);
        pel_event_release(s->event);
        return false;
    }
    s->node->stage = child ? parent->stage : atomic_load_explicit(&s->queue->stage, memory_order_acquire);
    return true;
}

static pel_status out_of_memory(pel_queue *queue) {
    pel_error *error = NULL;
    pel_fail(&error, &queue->runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a task");
    return pel_refuse(queue, PEL_OUT_OF_MEMORY, error);
}

/* What others may know: its event, its accesses, those that it waits for. */
static pel_status connect(submission *s, const pel_access *accesses, uint32_t access_count, const pel_task_desc *desc) {
    s->node->shared = true;
    if (s->event) {
        s->event->node = s->node;
        s->event->queue = s->queue->id;
    }
    if (!keep_ranges(s, accesses, access_count)) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_status status = follow_events(s, desc);
    return status == PEL_OK && access_count > 0 ? enter_hazards(s, accesses, access_count) : status;
}

pel_status pel_task_submit(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t access_count,
                           const pel_task_desc *desc, pel_event **event) {
    pel_runtime *runtime = queue->runtime;
    submission s = {.queue = queue, .runtime = runtime};
    if (!runtime->dispatcher->tasks || atomic_load_explicit(&runtime->dispatcher->mapping_count, memory_order_relaxed) > 0 || !function || !plain(desc) || (access_count > 0 && !accesses) ||
        !all_at_home(runtime, accesses, access_count)) {
        return PEL_UNSUPPORTED;
    }
    if (desc && desc->wait_count > 0 && pel_check_waits(queue, desc->waits, desc->wait_count, NULL) != PEL_OK) {
        return PEL_UNSUPPORTED;
    }
    pel_queue_make_room(queue);
    if (event && (s.event = pel_event_new(runtime)) == NULL) {
        return out_of_memory(queue);
    }
    if (!begin(&s)) {
        return out_of_memory(queue);
    }
    s.node->task = function;
    s.node->hazard.user = context;
    if (event || access_count > 0 || (desc && desc->wait_count > 0)) {
        pel_status status = connect(&s, accesses, access_count, desc);
        if (status != PEL_OK) {
            withdraw(&s);
            return status == PEL_OUT_OF_MEMORY ? out_of_memory(queue) : status;
        }
        if (event) {
            s.event->generation = pel_node_order(s.node);
            *event = pel_event_retain(s.event);
        }
    }
    pel_stage_begin(s.node->stage, s.self->shard);
    if (s.failed) {
        leave(&s, false);
        inherit(&s);
        if (pel_node_arrive(s.node)) {
            pel_task_put(runtime, s.node);
        }
    } else if (!s.node->shared || pel_node_arrive(s.node)) {
        put(&s);
    } else {
        leave(&s, false);
    }
    return PEL_OK;
}
