/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/bare.h"

/* What a waiting job, a region or a waiter may have to stand for. A full group of the shortest tasks lasts half of it. */
#define GROUP_NS 4000

/* ---- the beginning ---- */

/* The queue takes such tasks as they are, and the process is the one that made the runtime. */
static bool may_be_bare(pel_queue *queue, pel_dispatcher *dispatcher) {
    return dispatcher->tasks && !dispatcher->fence && pel_runtime_is_ours(queue->runtime) && queue->max_in_flight == 0 &&
           queue->priority == 0 && !pel_frames && !atomic_load_explicit(&queue->gate, memory_order_relaxed) &&
           !atomic_load_explicit(&queue->recorder, memory_order_relaxed) &&
           atomic_load_explicit(&dispatcher->mapping_count, memory_order_relaxed) == 0;
}

static void write(pel_host_tasks *tasks, pel_host_feed *feed, pel_stage *stage, uint64_t order, pel_task_fn function,
                  void *context) {
    pel_node_last_order = order;
    pel_stage_begin(stage, feed->shard); /* first: somebody may take it, and end it, at once */
    pel_host_feed_write(feed, function, context);
    pel_host_feed_leave(feed);
    pel_host_feed_tell(tasks);
}

/* The first of a stage, of a page or after something else, inside the feed; or of a feed; or no bare task at all. */
__attribute__((noinline))
static pel_status begin(pel_queue *queue, pel_host_feed *feed, pel_stage *stage, pel_task_fn function, void *context) {
    pel_host_tasks *tasks = queue->runtime->dispatcher->tasks;
    const uint64_t order = pel_node_last_order + 1;
    if (!pel_host_feed_turn(feed, &tasks->pages, stage, order)) {
        pel_host_feed_leave(feed);
        return pel_task_out_of_memory(queue);
    }
    write(tasks, feed, stage, order, function, context);
    return PEL_OK;
}

__attribute__((noinline))
static pel_status begin_feed(pel_queue *queue, bool may, pel_task_fn function, void *context) {
    pel_host_feed *feed = may ? pel_host_feed_open(queue->runtime->dispatcher->tasks, queue, (uint32_t)queue->weight) : NULL;
    if (!feed) {
        return pel_task_any(queue, function, context, NULL, 0, NULL, NULL);
    }
    pel_host_feed_enter(feed);
    return begin(queue, feed, atomic_load_explicit(&queue->stage, memory_order_acquire), function, context);
}

/* Each call on this way costs as much as the rest of it: so there is none but the last thing of all. */
pel_status pel_task_bare(pel_queue *queue, pel_task_fn function, void *context) {
    pel_dispatcher *dispatcher = queue->runtime->dispatcher;
    const bool may = may_be_bare(queue, dispatcher);
    pel_host_feed *feed = may ? pel_host_feed_mine(dispatcher->tasks, queue) : NULL;
    if (!feed) {
        return begin_feed(queue, may, function, context);
    }
    pel_host_feed_enter(feed);
    pel_stage *stage = atomic_load_explicit(&queue->stage, memory_order_acquire);
    const uint64_t order = pel_node_last_order + 1;
    if (!pel_host_feed_follows(feed, stage, order)) {
        return begin(queue, feed, stage, function, context);
    }
    write(dispatcher->tasks, feed, stage, order, function, context);
    return PEL_OK;
}

/* ---- the end ---- */

/* A task that has failed or has submitted something. False: its children go on, and the last of them ends the node and counts
 * the task. */
static bool settle(pel_host_runner *runner, pel_frame *frame, pel_status returned) {
    pel_runtime *runtime = frame->runtime;
    pel_node *node = frame->node;
    pel_status status = returned == PEL_OK ? PEL_OK : PEL_TASK_FAILED;
    pel_error *error = returned == PEL_OK ? NULL : pel_task_failed(runtime, returned);
    const bool has_own = frame->scope != NULL;
    if (has_own) {
        if (!pel_scope_return(frame->scope, &status, &error)) {
            return false;
        }
        pel_node_become(node, PEL_NODE_ENDED);
    }
    if (status != PEL_OK) {
        pel_error_destroy(pel_task_note_failure(runtime, node, status, error));
    }
    if (has_own) {
        pel_node_give(&runtime->dispatcher->pools, &runner->self, node);
    }
    return true;
}

/*
 * Call number `index`, which is begun, and `more` after it. They are counted at the end: until then the queue is there. What is
 * not begun is not: others may take it, and end it.
 */
static void run_group(pel_host_runner *runner, uint32_t index, uint32_t more) {
    pel_host_group *group = &runner->group;
    pel_runtime *runtime = runner->tasks->owner;
    pel_stage *stage = group->of;
    pel_node lent;
    pel_frame frame = {.runtime = runtime, .node = &lent};
    uint32_t ran = 0, counted = 0;
    pel_node_lend(&lent, stage);
    pel_frame_enter(&frame);
    do {
        const pel_host_call call = group->calls[index];
        lent.place = group->order + index;
        const pel_status status = call.function(call.context);
        ran++;
        counted++;
        if (status != PEL_OK || frame.scope) {
            counted -= settle(runner, &frame, status) ? 0 : 1;
            frame.node = &lent;
            frame.scope = NULL;
            frame.foreign_waits = false;
        }
        /* another's: of a task that ran on top of one that waited */
    } while (ran <= more && group->of == stage && pel_host_group_begin(group, &index));
    pel_frame_leave(&frame);
    atomic_store_explicit(&runner->ran, atomic_load_explicit(&runner->ran, memory_order_relaxed) + ran, memory_order_relaxed);
    if (counted > 0) {
        pel_task_count(runtime, runner, stage, counted);
    }
}

bool pel_bare_go_on(pel_host_runner *runner) {
    uint32_t index;
    if (!pel_host_group_begin(&runner->group, &index)) {
        return false;
    }
    run_group(runner, index, 0);
    return true;
}

/* Tasks that stand still may be long ones: the first of them, and then the runner looks whether that is all it has to do. */
bool pel_bare_relieve(pel_host_runner *runner, pel_host_group *from) {
    if (pel_host_runner_halve(runner, from) == 0) {
        return false;
    }
    run_group(runner, 0, 0);
    return true;
}

/* How many such tasks a group should have, after `count` of them took so long. */
static uint32_t how_many(uint32_t count, int64_t ns) {
    const int64_t most = ns > 0 ? GROUP_NS * (int64_t)count / ns : PEL_HOST_GROUP_MOST;
    return most < 1 ? 1 : most < PEL_HOST_GROUP_MOST ? (uint32_t)most : PEL_HOST_GROUP_MOST;
}

int64_t pel_bare_make(pel_host_runner *runner, uint32_t count) {
    const pel_clock *clock = ((pel_runtime *)runner->tasks->owner)->clock;
    const int64_t began = pel_clock_now(clock);
    run_group(runner, 0, count);
    const int64_t took = pel_clock_now(clock) - began;
    runner->most = how_many(count, took);
    return took;
}
