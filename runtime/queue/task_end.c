/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that are only nodes, on the runner's side: a task is run, and ends. What it makes ready is started, waiters are told, the
 * node goes back, the end is counted; all without runtime->lock. Failures are rare and take it. How tasks come here: task.c.
 */
#include "base/barrier.h"
#include "queue/awaited.h"
#include "queue/bare.h"
#include "queue/command.h"
#include "queue/node_list.h"
#include "queue/short_launch.h"

__attribute__((noinline)) /* rare */
static void start_command(pel_runtime *runtime, pel_node *node) {
    pthread_mutex_lock(&runtime->lock);
    pel_start_node(runtime, node);
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true);
}

/*
 * Of several that become ready by one task, which are met with the youngest first, the one that was submitted first is run next,
 * and the deque yields the others in their order: programs walk over memory as they submit. (Not where the deque is used from
 * its other end.)
 */
static inline void start(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, pel_node **next) {
    if (pel_node_kind_of(node) != PEL_NODE_TASK) {
        start_command(runtime, node);
        return;
    }
    if (*next) {
        pel_node *later = runner->oldest_first ? node : *next;
        node = runner->oldest_first ? *next : node;
        pel_host_runner_push(runner, &later->item);
    }
    *next = node;
}

__attribute__((noinline)) /* rare */
static void tell_failure(pel_runtime *runtime, const pel_node *node, pel_node *to, const pel_error *failed) {
    pthread_mutex_lock(&runtime->lock);
    pel_node_inherit_failure(runtime, to, pel_short_name(node, "task"), failed);
    pthread_mutex_unlock(&runtime->lock);
}

/* In each of its two callers: most tasks have not failed. */
__attribute__((always_inline))
static inline pel_node *wake_successors(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, const pel_error *failed) {
    const pel_node_pools *pools = &runtime->dispatcher->pools;
    pel_node *next = NULL;
    bool watched, data;
    pel_successors list = pel_node_close(node, &watched);
    for (pel_node *to; (to = pel_successors_next(pools, &runner->self, &list, &data)) != NULL;) {
        if (failed && data) {
            tell_failure(runtime, node, to, failed);
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

pel_error *pel_task_note_failure(pel_runtime *runtime, pel_node *node, pel_status status, pel_error *error) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_queue *queue = node->stage->queue;
    pel_event *event = pel_event_retain(pel_node_event(node));
    pel_error *told = pel_error_clone(error, &runtime->allocator);
    bool writes = false;
    pthread_mutex_lock(&runtime->lock);
    pel_queue_note_failure(queue, node, pel_node_kind_of(node) == PEL_NODE_ENDED, status, error);
    event = !event && pel_node_accesses(node) ? pel_event_new(runtime) : event;
    if (event) {
        event->queue = queue->id;
        pel_event_finish(event, status, error, NULL, event->untimed ? 0 : pel_clock_now(runtime->clock));
    } else {
        event = pel_event_retain(queue->anonymous);
        pel_error_destroy(error);
    }
    pel_range_walk w = pel_node_ranges(node);
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    pel_hazards *hazards = pel_stage_hazards(runtime, node->stage);
    for (pel_hazard_range range; hazards && pel_range_next(&w, &range);) {
        pel_hazards_fail(hazards, &range, 1, &node->hazard, event);
        writes = writes || (range.mode & PEL_WRITE) != 0;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    pel_scope_note_failure(node->stage, pel_node_place(node), writes, told);
    pthread_mutex_unlock(&runtime->lock);
    pel_event_release(event);
    return told;
}

pel_error *pel_task_failed(pel_runtime *runtime, pel_status returned) {
    pel_error *error = NULL;
    pel_story story = {.device = runtime->task_device->facts->info.id, .code = (int64_t)returned};
    pel_fail(&error, &runtime->allocator, PEL_TASK_FAILED, &story, "task: a host task returned %s (%s)",
             pel_status_name(returned), pel_status_text(returned));
    return error;
}

/* Its event is complete before its successors are closed. A node that lies beside its event may be gone with that. */
static pel_node *end_shared(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, pel_status status, pel_error *error) {
    pel_event *event = pel_node_event(node);
    const bool nested = node->nested;
    if (status == PEL_OK) {
        const bool followed = event && pel_event_over(event, event->untimed ? 0 : pel_clock_now(runtime->clock));
        pel_node *next = nested && !followed ? NULL : wake_successors(runtime, runner, node, NULL);
        if (followed) {
            pel_event_release(event);
        }
        return next;
    }
    pel_error *told = pel_task_note_failure(runtime, node, status, error);
    pel_node *next = wake_successors(runtime, runner, node, told);
    if (event && pel_event_is_followed(event)) {
        pel_event_release(event);
    }
    pel_event_release(event);
    pel_error_destroy(told);
    return next;
}

__attribute__((noinline)) /* rare */
static void tell_of_end(pel_runtime *runtime, const pel_stage *stage) {
    pel_barrier_full(); /* of several that end at once, one must see what all the others have ended */
    if (pel_stage_unfinished(stage) == 0 ||
        atomic_load_explicit(&runtime->dispatcher->throttled, memory_order_seq_cst) > 0) {
        pel_queues_advance(runtime);
    }
}

static inline void count_in_stage(pel_runtime *runtime, const pel_host_runner *runner, pel_stage *stage, uint32_t count) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_stage_end(stage, runner->self.shard, count, dispatcher->fence);
    if (atomic_load_explicit(&dispatcher->watches, memory_order_seq_cst) != 0) {
        tell_of_end(runtime, stage);
    }
}

void pel_task_count(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage, uint32_t count) {
    count_in_stage(runtime, runner, stage, count);
}

/* Of a task's child. Returns the task whose last child this was. */
__attribute__((noinline)) /* rare */
static pel_node *count_in_scope(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage) {
    pel_scope *scope = stage->scope;
    pel_stage *counted_in = stage->counted_in;
    pel_node *parent = pel_brood_leave(stage, false) ? pel_scope_over(scope, false) : NULL;
    if (counted_in) {
        pel_task_count(runtime, runner, counted_in, 1);
    }
    return parent;
}

/* After this nothing of the queue is touched, which may be gone. Returns what is to run next, which may be the task whose last
 * child this was. */
static inline pel_host_item *count(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage, pel_node *next) {
    if (__builtin_expect(!stage->scope, 1)) {
        count_in_stage(runtime, runner, stage, 1);
        return next ? &next->item : NULL;
    }
    pel_node *parent = count_in_scope(runtime, runner, stage);
    if (parent && next) {
        pel_host_runner_push(runner, &next->item);
    }
    next = parent ? parent : next;
    return next ? &next->item : NULL;
}

/* False: it was cancelled. */
static bool begin_event(const pel_runtime *runtime, pel_event *event) {
    const bool begins = pel_event_begin_task(event, runtime->dispatcher->fence);
    if (begins && !event->untimed) {
        event->timing.began = pel_clock_now(runtime->clock);
    }
    return begins;
}

/* The function has returned. False: its children go on, and the last of them ends the node, which is not touched any more. */
static bool is_over(pel_runtime *runtime, pel_node *node, const pel_frame *frame, pel_status returned, pel_status *status,
                    pel_error **error) {
    if (returned != PEL_OK) {
        *status = PEL_TASK_FAILED;
        *error = pel_short_error(node, returned);
        *error = *error ? *error : pel_task_failed(runtime, returned);
    }
    if (frame->scope) {
        if (!pel_scope_return(frame->scope, status, error)) {
            return false;
        }
        pel_node_become(node, PEL_NODE_ENDED);
    }
    return true;
}

/* All of it is over. Returns what is to run next. */
static pel_host_item *end(pel_runtime *runtime, pel_host_runner *runner, pel_node *node, bool nested, pel_status status,
                          pel_error *error) {
    pel_stage *stage = node->stage;
    pel_node *next = NULL;
    if (node->shared) {
        next = end_shared(runtime, runner, node, status, error);
    } else if (status != PEL_OK) {
        pel_error_destroy(pel_task_note_failure(runtime, node, status, error));
    }
    if (!nested) {
        if (status != PEL_OK) {
            pel_short_forgo(node);
        }
        pel_node_give(&runtime->dispatcher->pools, &runner->self, node);
    }
    return count(runtime, runner, stage, next);
}

__attribute__((noinline)) /* what it saves on the stack is not for plain tasks to pay */
static pel_host_item *run_any(pel_host_runner *runner, pel_node *node) {
    pel_runtime *runtime = node->stage->runtime;
    pel_status status = (pel_status)node->status;
    pel_error *error = NULL;
    const bool nested = node->nested;
    const pel_event *event = node->shared ? pel_node_event(node) : NULL;
    if (event && pel_node_kind_of(node) == PEL_NODE_TASK && status == PEL_OK && !begin_event(runtime, pel_node_event(node))) {
        node->task = NULL;
        status = PEL_CANCELLED;
        node->hazard.user = pel_event_cancelled(event, "task");
    }
    if (node->shared) {
        pel_node_foresee(node);
    }
    if (node->task) {
        pel_frame frame = {.runtime = runtime, .node = node};
        pel_frame_enter(&frame);
        const pel_status returned = node->task(node->hazard.user);
        pel_frame_leave(&frame);
        if (!is_over(runtime, node, &frame, returned, &status, &error)) {
            return NULL;
        }
    } else {
        error = node->hazard.user;
    }
    return end(runtime, runner, node, nested, status, error);
}

__attribute__((noinline)) /* rare */
static pel_host_item *end_after_children(pel_host_runner *runner, pel_node *node, const pel_frame *frame, pel_status returned) {
    pel_runtime *runtime = frame->runtime;
    pel_status status = PEL_OK;
    pel_error *error = NULL;
    return is_over(runtime, node, frame, returned, &status, &error) ? end(runtime, runner, node, false, status, error) : NULL;
}

/* Of a task that others may know, as most do, and that has no event: all in one, with what cannot happen left out. */
pel_host_item *pel_task_run(pel_host_runner *runner, pel_host_item *item) {
    pel_node *node = (pel_node *)(void *)item;
    pel_stage *stage = node->stage;
    pel_runtime *runtime = stage->runtime;
    runner->oldest_first = stage->oldest_first; /* of a brood: no */
    if (__builtin_expect(!pel_node_is_plain(node), 0)) {
        return run_any(runner, node);
    }
    pel_node_foresee(node);
    pel_frame frame = {.runtime = runtime, .node = node};
    pel_frame_enter(&frame);
    const pel_status returned = node->task(node->hazard.user);
    pel_frame_leave(&frame);
    if (returned != PEL_OK || frame.scope) {
        return end_after_children(runner, node, &frame, returned);
    }
    pel_node *next = wake_successors(runtime, runner, node, NULL);
    pel_node_give_plain(&runtime->dispatcher->pools, &runner->self, node);
    return count(runtime, runner, stage, next);
}
