/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/pack.h"

/* What a waiting job, a region or a waiter may have to stand for. A full group of the shortest tasks lasts half of it. */
#define GROUP_NS 4000

/* ---- the beginning ---- */

/* The first of a row. False: no memory. */
__attribute__((noinline))
static bool begin(pel_dispatcher *dispatcher, pel_host_lane *lane, pel_stage *stage, pel_task_fn function, void *context) {
    pel_node *node = pel_node_take(&dispatcher->pools, &lane->self, PEL_NODE_TASK);
    if (node) {
        node->stage = stage;
        node->task = function;
        node->hazard.user = context;
        atomic_store_explicit(&node->pending, 0, memory_order_relaxed);
        pel_host_lane_push(lane, &node->item);
        lane->open = &node->item;
        lane->slot = NULL;
    }
    return node != NULL;
}

__attribute__((noinline, cold))
static pel_status nothing(pel_queue *queue, pel_host_lane *lane) {
    pel_host_lane_give_back(queue->runtime->dispatcher->tasks, lane, false);
    return pel_task_out_of_memory(queue);
}

/* All in one piece: each call on this way costs as much as the rest of it. */
pel_status pel_task_bare(pel_queue *queue, pel_task_fn function, void *context) {
    const pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_host_tasks *tasks = dispatcher->tasks;
    if (!tasks || !pel_runtime_is_ours(runtime) || queue->max_in_flight != 0 || queue->priority != 0 || pel_frames ||
        atomic_load_explicit(&queue->gate, memory_order_relaxed) ||
        atomic_load_explicit(&queue->recorder, memory_order_relaxed) ||
        atomic_load_explicit(&dispatcher->mapping_count, memory_order_relaxed) != 0) {
        return pel_task_any(queue, function, context, NULL, 0, NULL, NULL);
    }
    pel_host_lane *lane = pel_host_lane_claim(tasks);
    pel_stage *stage = atomic_load_explicit(&queue->stage, memory_order_acquire);
    pel_node *node = (pel_node *)(void *)lane->open;
    if ((!node || node->stage != stage ||
         !pel_node_extend(&dispatcher->pools, &lane->self, node, &lane->slot, function, context)) &&
        !begin(dispatcher, lane, stage, function, context)) {
        return nothing(queue, lane);
    }
    pel_stage_begin(stage, lane->self.shard);
    pel_host_lane_give_back(tasks, lane, true);
    return PEL_OK;
}

/* ---- the end ---- */

static pel_node *node_for(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage) {
    pel_node *node = pel_node_take(&runtime->dispatcher->pools, &runner->self, PEL_NODE_TASK);
    if (node) {
        if (node->more) {
            pel_node_drop_more(&runtime->dispatcher->pools, &runner->self, node);
        }
        node->stage = stage;
        node->placed = true;
    }
    return node;
}

/* A task that has failed or has submitted something. False: its children go on, and the last of them ends the node and counts
 * the task. */
static bool settle(pel_frame *frame, pel_status returned) {
    pel_runtime *runtime = frame->runtime;
    pel_node *node = frame->node;
    pel_status status = returned == PEL_OK ? PEL_OK : PEL_TASK_FAILED;
    pel_error *error = returned == PEL_OK ? NULL : pel_task_failed(runtime, returned);
    if (frame->scope) {
        if (!pel_scope_return(frame->scope, &status, &error)) {
            return false;
        }
        pel_node_become(node, PEL_NODE_ENDED);
    }
    if (status != PEL_OK) {
        pel_error_destroy(pel_task_note_failure(runtime, node, status, error));
    }
    pel_node_become(node, PEL_NODE_TASK);
    return true;
}

/*
 * Call number `index`, which is begun, and `more` after it; with a node, which is this function's from here on. They are counted
 * at the end: until then the queue is there. What is not begun is not: others may take it, and end it.
 */
static void run_group(pel_host_runner *runner, pel_node *node, uint32_t index, uint32_t more) {
    pel_host_group *group = &runner->group;
    pel_stage *stage = node->stage;
    pel_runtime *runtime = stage->runtime;
    pel_frame frame = {.runtime = runtime, .node = node};
    uint32_t ran = 0, counted = 0;
    pel_frame_enter(&frame);
    do {
        const pel_host_call call = group->calls[index];
        frame.node->place = group->order + index;
        const pel_status status = call.function(call.context);
        ran++;
        counted++;
        if (status != PEL_OK || frame.scope) {
            if (!settle(&frame, status)) {
                counted--;
                frame.node = node_for(runtime, runner, stage); /* NULL: what is left is tried again, here or by others */
            }
            frame.scope = NULL;
            frame.foreign_waits = false;
        }
        /* another's: of a task that ran on top of one that waited, which found no memory to go on */
    } while (ran <= more && frame.node && group->of == stage && pel_host_group_begin(group, &index));
    pel_frame_leave(&frame);
    if (frame.node) {
        pel_node_give(&runtime->dispatcher->pools, &runner->self, frame.node);
    }
    atomic_store_explicit(&runner->ran, atomic_load_explicit(&runner->ran, memory_order_relaxed) + ran, memory_order_relaxed);
    if (counted > 0) {
        pel_task_count(runtime, runner, stage, counted);
    }
}

bool pel_pack_go_on(pel_host_runner *runner) {
    pel_runtime *runtime = runner->tasks->owner;
    uint32_t index;
    pel_node *node = node_for(runtime, runner, NULL);
    if (!node) {
        return false;
    }
    if (!pel_host_group_begin(&runner->group, &index)) {
        pel_node_give(&runtime->dispatcher->pools, &runner->self, node);
        return false;
    }
    node->stage = runner->group.of;
    run_group(runner, node, index, 0);
    return true;
}

/* Tasks that stand still may be long ones: the first of them, and then the runner looks whether that is all it has to do. */
bool pel_pack_relieve(pel_host_runner *runner, pel_host_group *from) {
    pel_runtime *runtime = runner->tasks->owner;
    /* without a heavy barrier only who finds no memory makes a group of several, and keeps it */
    pel_node *node = runtime->dispatcher->fence ? NULL : node_for(runtime, runner, NULL);
    if (!node) {
        return false;
    }
    if (pel_host_runner_halve(runner, from) == 0) {
        pel_node_give(&runtime->dispatcher->pools, &runner->self, node);
        return false;
    }
    node->stage = runner->group.of;
    run_group(runner, node, 0, 0);
    return true;
}

/* How many such tasks a group should have, after `count` of them took so long. */
static uint32_t how_many(uint32_t count, int64_t ns) {
    const int64_t most = ns > 0 ? GROUP_NS * (int64_t)count / ns : PEL_HOST_GROUP_MOST;
    return most < 1 ? 1 : most < PEL_HOST_GROUP_MOST ? (uint32_t)most : PEL_HOST_GROUP_MOST;
}

void pel_pack_run(pel_host_runner *runner, pel_node *node) {
    pel_runtime *runtime = runner->tasks->owner;
    const pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_host_group *group = &runner->group;
    if (pel_host_group_rest(group) > 0) { /* a task of it waits below on this stack, or it was another's: it has the place */
        pel_host_runner_push(runner, &node->item);
        (void)pel_pack_go_on(runner);
        return;
    }
    /* one at a time without a heavy barrier: others could not help */
    uint32_t most = dispatcher->fence || runner->most == 0 ? 1 : runner->most;
    const bool whole = most > atomic_load_explicit(&node->pending, memory_order_relaxed);
    pel_node *first = whole ? NULL : node_for(runtime, runner, node->stage);
    most = first ? most : PEL_HOST_GROUP_MOST;
    group->of = node->stage;
    group->order = pel_node_order(node);
    const uint32_t count = pel_node_unpack(&dispatcher->pools, &runner->self, node, group->calls, most);
    pel_host_runner_open(runner, count);
    if (first) {
        pel_host_runner_push(runner, &node->item);
    } else {
        node->placed = true;
    }
    const int64_t began = pel_clock_now(&pel_clock_monotonic);
    run_group(runner, first ? first : node, 0, count);
    runner->most = how_many(count, pel_clock_now(&pel_clock_monotonic) - began);
}
