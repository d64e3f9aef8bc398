/* SPDX-License-Identifier: BSD-3-Clause */
/* From a public call to a command in the graph: checks, hazards, edges. A submission that fails leaves nothing behind. */
#include "base/checked.h"
#include "queue/command.h"
#include "queue/graph.h"
#include "queue/mapping.h"
#include "queue/isolate.h"
#include "queue/repeat.h"
#include "queue/retry.h"
#include "queue/verify.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { SPARES = 256 };

/* `fold` is nearly half of it, and seldom used. */
static void clear(pel_command *command) {
    const bool folded = command->fold.command != NULL;
    memset(command, 0, folded ? sizeof *command : offsetof(pel_command, fold));
}

static pel_command *take_memory(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    pel_command *command = dispatcher->spare;
    if (command) {
        dispatcher->spare = command->next;
        dispatcher->spare_count--;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    if (command) {
        clear(command);
        return command;
    }
    return pel_alloc_zero(&runtime->allocator, 1, sizeof *command);
}

static void give_memory(pel_runtime *runtime, pel_command *command) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    const bool kept = dispatcher->spare_count < SPARES;
    if (kept) {
        command->next = dispatcher->spare;
        dispatcher->spare = command;
        dispatcher->spare_count++;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    if (!kept) {
        pel_free(&runtime->allocator, command);
    }
}

static int32_t priority_of(const pel_queue *queue, pel_command_kind kind, int32_t priority) {
    const bool works = kind == PEL_COMMAND_LAUNCH || kind == PEL_COMMAND_LOOP || kind == PEL_COMMAND_TASK;
    const int64_t sum = (int64_t)priority + (works ? queue->priority : 0);
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

bool pel_command_has_priority(const pel_command *command, int32_t priority) {
    return command->priority == priority_of(command->queue, command->kind, priority);
}

/* What every command begins with. */
static void enter(pel_command *command, pel_queue *queue, pel_command_kind kind, int32_t priority, pel_event *event) {
    command->runtime = queue->runtime;
    command->queue = queue;
    command->kind = kind;
    command->priority = priority_of(queue, kind, priority);
    command->event = event;
    if (event) {
        event->command = command;
        event->queue = queue->id;
    }
}

void pel_command_give(pel_command *idle) {
    pel_runtime *runtime = idle->runtime;
    pel_event_release(idle->event);
    pel_free(&runtime->allocator, idle->spare_job);
    pel_free(&runtime->allocator, idle->spare_slice);
    pel_retry_forget(idle);
    give_memory(runtime, idle);
}

pel_command *pel_command_renew(pel_queue *queue, pel_command *idle, pel_command_kind kind, int32_t priority) {
    pel_command *command = idle ? idle : take_memory(queue->runtime);
    if (!command) {
        return NULL;
    }
    pel_event *event = command->event;
    pel_job *job = command->spare_job;
    pel_plan_slice *slice = command->spare_slice;
    struct pel_saved *saved = command->spare_saved;
    if (idle) {
        clear(command);
    }
    command->spare_job = job;
    command->spare_slice = slice;
    command->spare_saved = saved;
    if (event) {
        pel_event_renew(event, queue->runtime);
    } else {
        event = pel_event_new(queue->runtime);
    }
    enter(command, queue, kind, priority, event);
    if (!event) {
        pel_command_give(command);
        return NULL;
    }
    return command;
}

pel_command *pel_command_new(pel_queue *queue, pel_command_kind kind, const char *name, int32_t priority, pel_error **error) {
    pel_runtime *runtime = queue->runtime;
    pel_command *command = take_memory(runtime);
    if (command) {
        enter(command, queue, kind, priority, pel_event_new(runtime));
        command->name = pel_strdup(&runtime->allocator, name);
    }
    if (!command || !command->event || (name && !command->name)) {
        pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a command");
        if (command) {
            pel_command_discard(command);
        }
        return NULL;
    }
    return command;
}

/* What the next of its kind can use again. */
static void leave_to_kin(pel_command *command) {
    pel_repeat_leave(command);
    if (command->kin) {
        pel_retry_leave(command);
    }
    if (command->kin && command->job_count == 1 && command->job_limit == 1) {
        pel_free(&command->runtime->allocator, command->spare_job);
        command->spare_job = command->jobs;
        command->jobs = NULL;
    }
    if (command->kin && command->slice_count == 1 && !command->tail) {
        pel_free(&command->runtime->allocator, command->spare_slice);
        command->spare_slice = command->slices;
        command->slices = NULL;
    }
}

void pel_command_free(pel_command *command) {
    pel_runtime *runtime = command->runtime;
    const pel_allocator *allocator = &runtime->allocator;
    if (pel_isolate_keeps(command)) {
        return;
    }
    pel_isolate_forget_moved(command);
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job_clear(&command->jobs[i]);
    }
    if (command->fold.command) {
        pel_job_clear(&command->fold);
    }
    pel_verify_free(command); /* its votes are jobs: they look at the bound arguments, too */
    pel_command_unpin(command); /* before the allocations may go */
    pel_command_waives(command);
    if (command->repeat) {
        leave_to_kin(command);
    }
    for (uint32_t i = 0; i < command->uses.count; i++) {
        pel_allocation_release(command->uses.data[i].allocation);
    }
    if (command->is_bound) {
        pel_unbind(&command->bound);
    }
    if (command->mapping) {
        pel_mapping_end(command);
    }
    pel_uses_free(allocator, &command->uses);
    pel_plan_destroy(command->plan);
    pel_error_destroy(command->error);
    if (!command->kin || command->event->error || command->event->plan ||
        pel_event_is_shared(command->event)) {
        pel_event_release(command->event);
        command->event = NULL;
    }
    pel_event_release(command->watched);
    pel_retry_free(command);
    pel_recall_forget(command);
    pel_free(allocator, command->jobs);
    pel_free(allocator, command->slices);
    pel_free(allocator, command->tail);
    pel_free(allocator, command->shares);
    pel_free(allocator, command->move);
    pel_free(allocator, command->name);
    if (!pel_repeat_takes_back(command)) {
        pel_command_give(command);
    }
}

void pel_command_discard(pel_command *command) {
    pel_runtime *runtime = command->runtime;
    pthread_mutex_lock(&runtime->lock);
    pel_command_free(command);
    pthread_mutex_unlock(&runtime->lock);
}

pel_status pel_refuse(pel_queue *queue, pel_status status, pel_error *error) {
    pthread_mutex_lock(&queue->runtime->lock);
    pel_error_destroy(queue->refused);
    queue->refused = error;
    pthread_mutex_unlock(&queue->runtime->lock);
    return status;
}

pel_status pel_command_use(pel_command *command, pel_allocation *allocation, uint64_t lo, uint64_t hi, pel_access_mode mode) {
    uint32_t before = command->uses.count;
    if (!pel_uses_add(&command->runtime->allocator, &command->uses, allocation, lo, hi, mode)) {
        return PEL_OUT_OF_MEMORY;
    }
    if (command->uses.count > before) {
        pel_allocation_retain(allocation);
    }
    return PEL_OK;
}

pel_status pel_command_use_rectangle(pel_command *command, pel_allocation *allocation, uint64_t lo, uint64_t row_bytes,
                                     uint64_t rows, uint64_t pitch, pel_access_mode mode) {
    if (rows <= 1 || pitch == row_bytes) {
        return pel_command_use(command, allocation, lo, lo + (rows > 1 ? rows : 1) * row_bytes, mode);
    }
    const pel_use use = {allocation, lo, lo + (rows - 1) * pitch + row_bytes, mode, pitch, row_bytes};
    if (!pel_uses_append(&command->runtime->allocator, &command->uses, use)) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_allocation_retain(allocation);
    return PEL_OK;
}

static void fail_for(pel_command *command, const pel_event *before) {
    pel_error *error = NULL;
    pel_fail(&error, &command->runtime->allocator, PEL_DEPENDENCY_FAILED, NULL,
             "%s was not run: what it depends on had failed: %s", command->name ? command->name : "a command",
             pel_error_message(before->error));
    pel_command_fail(command, PEL_DEPENDENCY_FAILED, error);
}

/* Called for each command that comes before: an edge if it still runs, a failure if it failed and its result is read. */
static bool depend_on(void *user, const pel_hazard *before) {
    pel_command *command = user;
    pel_dispatcher *dispatcher = command->runtime->dispatcher;
    bool data = before->data && !command->tolerant;
    pel_follow how;
    if (before->failed) {
        if (data) {
            fail_for(command, before->failed);
        }
        return true;
    }
    pel_node *node = pel_node_of_hazard(before->node);
    const bool is_command = pel_node_kind_of(node) == PEL_NODE_COMMAND;
    if (pel_node_follow(&dispatcher->pools, &dispatcher->self, node, before->generation, command->node, data, &how) != PEL_OK) {
        return false;
    }
    if (how == PEL_FOLLOW_ADDED && is_command) {
        pel_chain_added(node, command->node);
    }
    if (how != PEL_FOLLOW_OVER && is_command && node->hazard.user) {
        pel_command_come_after(command, node->hazard.user);
    }
    return true;
}

pel_status pel_follow_event(pel_runtime *runtime, pel_host_self *self, pel_node *to, const pel_event *event, bool data,
                            bool *failed) {
    *failed = false;
    if (!pel_event_is_complete(event) && (!event->is_node || pel_event_follow((pel_event *)(uintptr_t)event))) {
        pel_follow how;
        const bool is_command = pel_node_kind_of(event->node) == PEL_NODE_COMMAND;
        pel_status status = pel_node_follow(&runtime->dispatcher->pools, self, event->node, event->generation, to, data, &how);
        if (how == PEL_FOLLOW_ADDED && is_command) {
            pel_chain_added(event->node, to);
        }
        if (status != PEL_OK || how != PEL_FOLLOW_OVER) {
            return status;
        }
    }
    *failed = event->status != PEL_OK; /* a command's event is complete before its successors are closed */
    return PEL_OK;
}

/* Explicit waits: like a hazard whose result is read. */
static pel_status follow_events(pel_command *command, const pel_event *const *waits, uint32_t wait_count) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < wait_count && status == PEL_OK; i++) {
        bool failed;
        status = pel_follow_event(command->runtime, &command->runtime->dispatcher->self, command->node, waits[i],
                                  !command->tolerant, &failed);
        if (status == PEL_OK && failed && !command->tolerant) {
            fail_for(command, waits[i]);
        }
        if (waits[i]->command) {
            pel_command_come_after(command, waits[i]->command);
        }
    }
    return status;
}

/* Its bytes may live on devices from now on: tasks that use them must have them fetched. Under both locks. */
static void note_devices(const pel_command *command) {
    const pel_runtime *runtime = command->runtime;
    bool elsewhere = false;
    for (uint32_t i = 0; i < runtime->device_count && command->kind == PEL_COMMAND_LAUNCH; i++) {
        elsewhere |= runtime->devices[i].place != 0;
    }
    for (uint32_t i = 0; i < runtime->device_count && command->graph && !command->graph->host_only; i++) {
        elsewhere |= runtime->devices[i].place != 0;
    }
    elsewhere |= command->device && command->device->place != 0;
    for (uint32_t i = 0; i < command->uses.count && elsewhere; i++) {
        pel_allocation_leave_home(command->uses.data[i].allocation);
    }
}

/*
 * A command that cannot be noted fails when its turn comes, not now: a part of it may be noted, in the place of others that go on
 * or have failed, and stands for those until they are over. What is not noted is lost, of which whoever reads it learns. The
 * runtime's own commands, which give memory back, are refused.
 */
static pel_status note_all(pel_command *command, pel_hazards *hazards) {
    for (uint32_t i = 0; i < command->uses.count; i++) {
        const pel_hazard_range range = pel_use_range(&command->uses.data[i]);
        if (pel_hazards_note(hazards, &range, 1, &command->node->hazard) != PEL_OK) {
            if (i == 0 && !command->queue->anonymous) {
                return PEL_OUT_OF_MEMORY;
            }
            pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL); /* not run: the order of later commands could not be kept */
            if (command->queue->anonymous) { /* else it is of the runtime's own, and gives memory back */
                pel_hazards_lose(hazards, &range, command->queue->anonymous);
            }
        }
        command->uses.data[i].allocation->commands++;
    }
    return PEL_OK;
}

/* Look and note in one: what all accesses must come after, and that they are there. OUT_OF_MEMORY: it is not to run. */
static pel_status enter_hazards(pel_command *command) {
    pel_dispatcher *dispatcher = command->runtime->dispatcher;
    pel_status status = PEL_OK;
    if (command->uses.count == 0) {
        return PEL_OK;
    }
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    pel_hazards *hazards = pel_stage_hazards(command->runtime, command->node->stage);
    status = hazards ? PEL_OK : PEL_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < command->uses.count && status == PEL_OK; i++) {
        const pel_hazard_range range = pel_use_range(&command->uses.data[i]);
        status = pel_hazards_look(hazards, &range, 1, &command->node->hazard, depend_on, command);
    }
    if (status == PEL_OK) {
        note_devices(command);
        status = note_all(command, hazards);
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    return status;
}

void pel_command_leave_hazards(pel_command *command) {
    pel_dispatcher *dispatcher = command->runtime->dispatcher;
    if (command->status == PEL_OK || command->uses.count == 0) {
        return;
    }
    bool writes = false;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    pel_hazards *hazards = pel_stage_hazards(command->runtime, command->node->stage);
    for (uint32_t i = 0; hazards && i < command->uses.count; i++) {
        const pel_hazard_range range = pel_use_range(&command->uses.data[i]);
        pel_hazards_fail(hazards, &range, 1, &command->node->hazard, command->event);
        writes = writes || (range.mode & PEL_WRITE) != 0;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    pel_scope_note_failure(command->node->stage, command->order, writes, command->error);
}

/* A marker without waits follows everything that its queue has not finished: the stage that it ends. */
static pel_status follow_queue(pel_command *command, pel_frame *frame) {
    pel_queue *queue = command->queue;
    pel_stage *before;
    if (frame && !frame->loop) {
        return pel_brood_follow(frame, queue, command->node);
    }
    pel_status status = pel_queue_cut(queue, &before);
    if (status == PEL_OK) {
        atomic_fetch_add_explicit(&command->node->pending, 1, memory_order_relaxed);
        before->follower = command->node;
        command->node->stage = atomic_load_explicit(&queue->stage, memory_order_relaxed);
        for (const pel_command *c = queue->first; c; c = c->after) {
            pel_command_come_after(command, c);
        }
        pel_watch_begin(command->runtime->dispatcher);
    }
    return status;
}

/* Barriers are for their own scope only: what a running task submits is a part of the task, which comes before later barriers
 * and may be what they wait for. */
static pel_status follow_gate(pel_command *command) {
    const pel_event *gate = atomic_load_explicit(&command->queue->gate, memory_order_relaxed);
    const bool follows = gate && (!command->node->stage || gate->scope == command->node->stage->scope);
    return follows ? follow_events(command, &gate, 1) : PEL_OK;
}

static void join_queue(pel_command *command) {
    pel_runtime *runtime = command->runtime;
    pel_queue *queue = command->queue;
    pel_stage_enter(command->node->stage, runtime->dispatcher->self.shard);
    command->order = pel_node_order(command->node);
    command->before = queue->last;
    *(queue->last ? &queue->last->after : &queue->first) = command;
    queue->last = command;
}

pel_status pel_check_waits(const pel_queue *queue, const pel_event *const *waits, uint32_t count, pel_error **error) {
    const pel_allocator *allocator = &queue->runtime->allocator;
    if (count > 0 && !waits) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "wait_count is %u but waits is NULL", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!waits[i]) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "waits[%u] is NULL", i);
        }
        if (!pel_event_is_complete(waits[i]) && waits[i]->runtime != queue->runtime) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "waits[%u] belongs to another runtime", i);
        }
    }
    return PEL_OK;
}

/* A node that may have predecessors already cannot be taken back: it stays, without its command, until they are over. */
static void withdraw(pel_command *command) {
    pel_runtime *runtime = command->runtime;
    pel_node *node = command->node;
    command->node = NULL;
    pel_command_free(command);
    if (node) {
        node->hazard.user = NULL;
        node->stage = NULL;
        if (pel_node_arrive(node)) {
            pel_start_node(runtime, node);
        }
    }
}

static pel_status check_scope(const pel_command *command, const pel_stage *stage, pel_error **error) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < command->uses.count && stage->scope && status == PEL_OK; i++) {
        const pel_hazard_range range = pel_use_range(&command->uses.data[i]);
        status = pel_stage_allows(stage, &range, command->name, i, error);
    }
    return status;
}

/*
 * Where the command is counted. A marker in a loop must not be counted where the loop is, which it follows. What a task that is a
 * command writes is at home from now on, not from its end: its children may take it to a device.
 */
static pel_status find_stage(pel_command *command, pel_frame *frame, bool follows_queue, pel_error **error) {
    pel_queue *queue = command->queue;
    const bool in_loop = frame && frame->loop && follows_queue;
    if (in_loop && frame->node->stage->scope) {
        return pel_fail(error, &queue->runtime->allocator, PEL_WOULD_DEADLOCK, NULL,
                        "%s: a marker without waits in a loop that a task submitted would wait for that task", command->name);
    }
    if (frame && !frame->loop && frame->command && frame->command->jobs[0].written.count > 0) {
        pel_job_apply(&frame->command->jobs[0]);
        pel_uses_free(&queue->runtime->allocator, &frame->command->jobs[0].written);
    }
    command->node->stage = in_loop ? NULL : pel_frame_stage(frame, queue);
    if (!command->node->stage && !in_loop) {
        return PEL_OUT_OF_MEMORY;
    }
    command->event->scope = in_loop ? NULL : command->node->stage->scope;
    return in_loop ? PEL_OK : check_scope(command, command->node->stage, error);
}

static pel_status find_predecessors(pel_command *command, const pel_event *const *waits, uint32_t wait_count, pel_error **error) {
    pel_dispatcher *dispatcher = command->runtime->dispatcher;
    pel_frame *frame = command->queue == &dispatcher->own ? NULL : pel_frame_top(command->runtime);
    const bool follows_queue = command->kind == PEL_COMMAND_MARKER && command->uses.count == 0 && wait_count == 0;
    if (frame) {
        pel_node_come_after(pel_node_place(frame->node));
    }
    command->node = pel_node_take(&dispatcher->pools, &dispatcher->self, PEL_NODE_COMMAND);
    if (!command->node) {
        return PEL_OUT_OF_MEMORY;
    }
    command->node->hazard.user = command;
    command->node->shared = true;
    command->event->node = command->node;
    pel_status status = find_stage(command, frame, follows_queue, error);
    if (status == PEL_OK) {
        status = follow_events(command, waits, wait_count);
    }
    if (status == PEL_OK) {
        status = follow_gate(command);
    }
    if (status == PEL_OK && command->graph) {
        status = pel_graph_follow_last(command);
    }
    if (status == PEL_OK && follows_queue) {
        status = follow_queue(command, frame);
    }
    if (status == PEL_OK) {
        status = enter_hazards(command);
    }
    command->event->generation = pel_node_order(command->node);
    return status;
}

pel_status pel_command_submit(pel_command *command, const pel_event *const *waits, uint32_t wait_count, pel_event **event) {
    pel_runtime *runtime = command->runtime;
    pel_queue *queue = command->queue;
    pel_error *error = NULL;
    pel_graph *recorder = atomic_load_explicit(&queue->recorder, memory_order_acquire);
    if (recorder) {
        return pel_graph_take(recorder, command, waits, wait_count, event);
    }
    pel_queue_make_room(queue);
    pel_status status = pel_check_waits(queue, waits, wait_count, &error);
    if (status == PEL_OK) {
        status = pel_check_waits_inside(runtime, waits, wait_count, &error);
    }
    pthread_mutex_lock(&runtime->lock);
    if (status != PEL_OK) {
        pel_error_destroy(queue->refused);
        queue->refused = error;
        withdraw(command);
        pthread_mutex_unlock(&runtime->lock);
        return status;
    }
    return pel_command_submit_locked(command, waits, wait_count, event);
}

pel_status pel_command_submit_locked(pel_command *command, const pel_event *const *waits, uint32_t wait_count,
                                     pel_event **event) {
    pel_runtime *runtime = command->runtime;
    pel_queue *queue = command->queue;
    pel_error *error = NULL;
    pel_status status = find_predecessors(command, waits, wait_count, &error);
    if (status != PEL_OK) {
        if (!error) {
            pel_fail(&error, &runtime->allocator, status, NULL, "no memory for what %s comes after",
                     command->name ? command->name : "a command");
        }
        pel_error_destroy(queue->refused);
        queue->refused = error;
        withdraw(command);
        pel_dispatcher_unlock(runtime, false); /* forgets the moment of a repeated launch */
        return status;
    }
    join_queue(command);
    if (command->graph) {
        pel_graph_submitted(command);
    }
    if (command->is_gate) { /* it follows the one before */
        pel_event_release(atomic_exchange_explicit(&queue->gate, pel_event_retain(command->event), memory_order_relaxed));
    }
    if (event) {
        *event = pel_event_retain(command->event);
    }
    if (pel_node_arrive(command->node) || pel_chain_may_begin(command)) {
        pel_command_make_ready(command);
    } else {
        pel_queue_advance(queue); /* what a marker follows may be over already */
    }
    runtime->dispatcher->submitting = true;
    pel_dispatch(runtime);
    pel_dispatcher_unlock_and_begin(runtime); /* a command may have failed on the spot */
    return PEL_OK;
}
