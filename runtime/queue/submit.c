/* SPDX-License-Identifier: BSD-3-Clause */
/* From a public call to a command in the graph: checks, hazards, edges. A submission that fails leaves nothing behind. */
#include "base/checked.h"
#include "queue/command.h"
#include <math.h>
#include <string.h>

pel_command *pel_command_new(pel_queue *queue, pel_command_kind kind, const char *name, int32_t priority, pel_error **error) {
    pel_runtime *runtime = queue->runtime;
    pel_command *command = pel_alloc_zero(&runtime->allocator, 1, sizeof *command);
    if (command) {
        command->runtime = runtime;
        command->queue = queue;
        command->kind = kind;
        command->priority = priority;
        command->name = pel_strdup(&runtime->allocator, name);
        command->event = pel_event_new(runtime);
    }
    if (!command || !command->event || (name && !command->name)) {
        pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a command");
        if (command) {
            pel_command_discard(command);
        }
        return NULL;
    }
    command->event->command = command;
    command->event->queue = queue->id;
    return command;
}

void pel_command_free(pel_command *command) {
    pel_runtime *runtime = command->runtime;
    const pel_allocator *allocator = &runtime->allocator;
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job_clear(&command->jobs[i]);
    }
    if (command->fold.command) {
        pel_job_clear(&command->fold);
    }
    for (uint32_t i = 0; i < command->uses.count; i++) {
        pel_allocation_release(command->uses.data[i].allocation);
    }
    if (command->is_bound) {
        pel_unbind(&command->bound);
    }
    pel_uses_free(allocator, &command->uses);
    pel_plan_destroy(command->plan);
    pel_error_destroy(command->error);
    pel_event_release(command->event);
    pel_free(allocator, command->jobs);
    pel_free(allocator, command->slices);
    pel_free(allocator, command->shares);
    pel_free(allocator, command->edges);
    pel_free(allocator, command->move);
    pel_free(allocator, command->name);
    pel_free(allocator, command);
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

pel_status pel_command_use_rectangle(pel_command *command, pel_allocation *allocation, uint64_t lo, uint64_t row_bytes, uint64_t rows, uint64_t pitch,
                                     pel_access_mode mode) {
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

static bool add_edge(pel_command *from, pel_command *to, bool data) {
    if (from->edge_count > 0 && from->edges[from->edge_count - 1].to == to) {
        from->edges[from->edge_count - 1].data |= data;
        return true;
    }
    if (from->edge_count == from->edge_capacity) {
        uint32_t capacity = from->edge_capacity ? 2 * from->edge_capacity : 4;
        pel_edge *grown = pel_resize(&from->runtime->allocator, from->edges, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        from->edges = grown;
        from->edge_capacity = capacity;
    }
    from->edges[from->edge_count++] = (pel_edge){to, data};
    to->pending++;
    return true;
}

static void fail_for(pel_command *command, const pel_event *before) {
    pel_error *error = NULL;
    pel_fail(&error, &command->runtime->allocator, PEL_DEPENDENCY_FAILED, NULL, "%s was not run: what it depends on had failed: %s",
             command->name ? command->name : "a command", pel_error_message(before->error));
    pel_command_fail(command, PEL_DEPENDENCY_FAILED, error);
}

/* Called for each command that comes before: an edge if it still runs, a failure if it failed and its result is read. */
static bool depend_on(void *user, const pel_hazard *before) {
    pel_command *command = user;
    if (before->failed) {
        if (before->data && !command->tolerant) {
            fail_for(command, before->failed);
        }
        return true;
    }
    return add_edge(before->node->command, command, before->data && !command->tolerant);
}

static void take_edge_back(pel_command *from, const pel_command *to) {
    if (from->edge_count > 0 && from->edges[from->edge_count - 1].to == to) {
        from->edge_count--;
    }
}

/* Its edges are the last of each predecessor, because the lock was held since they were made. */
static bool undo_edge(void *user, const pel_hazard *before) {
    if (!before->failed) {
        take_edge_back(before->node->command, user);
    }
    return true;
}

static pel_hazard_range range_of(const pel_use *use) {
    uint64_t base = (uintptr_t)use->allocation->base;
    return (pel_hazard_range){base + use->lo, base + use->hi, use->mode, use->pitch, use->row_bytes, base, base + use->allocation->bytes};
}

static pel_status look(pel_command *command, pel_hazard_fn found) {
    pel_hazards *hazards = command->runtime->dispatcher->hazards;
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < command->uses.count && status == PEL_OK; i++) {
        const pel_hazard_range range = range_of(&command->uses.data[i]);
        status = pel_hazards_look(hazards, &range, 1, command->node, found, command);
    }
    return status;
}

/* Explicit waits: like a hazard whose result is read. */
static pel_status wait_for_events(pel_command *command, const pel_event *const *waits, uint32_t wait_count) {
    for (uint32_t i = 0; i < wait_count; i++) {
        if (!pel_event_is_complete(waits[i])) {
            if (!add_edge(waits[i]->command, command, !command->tolerant)) {
                return PEL_OUT_OF_MEMORY;
            }
        } else if (waits[i]->status != PEL_OK && !command->tolerant) {
            fail_for(command, waits[i]);
        }
    }
    return PEL_OK;
}

/* What must come first. Half-way out of memory: nothing has happened. */
static pel_status find_predecessors(pel_command *command, const pel_event *const *waits, uint32_t wait_count) {
    if (command->uses.count > 0) {
        command->node = pel_hazards_take_node(command->runtime->dispatcher->hazards, command);
        if (!command->node) {
            return PEL_OUT_OF_MEMORY;
        }
    }
    pel_status status = look(command, depend_on);
    if (status == PEL_OK) {
        status = wait_for_events(command, waits, wait_count);
    }
    if (status != PEL_OK) {
        (void)look(command, undo_edge);
        for (uint32_t i = 0; i < wait_count; i++) {
            if (!pel_event_is_complete(waits[i])) {
                take_edge_back(waits[i]->command, command);
            }
        }
    }
    return status;
}

void pel_command_leave_hazards(pel_command *command) {
    pel_hazards *hazards = command->runtime->dispatcher ? command->runtime->dispatcher->hazards : NULL;
    for (uint32_t i = 0; i < command->uses.count && command->node && command->status != PEL_OK; i++) {
        const pel_hazard_range range = range_of(&command->uses.data[i]);
        pel_hazards_fail(hazards, &range, 1, command->node, command->event);
    }
    pel_hazards_give_node(hazards, command->node);
    command->node = NULL;
}

/* A marker without waits follows everything that its queue has not finished. */
static pel_status follow_queue(pel_command *command) {
    pel_status status = PEL_OK;
    for (pel_command *c = command->queue->first; c && status == PEL_OK; c = c->after) {
        status = add_edge(c, command, false) ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    for (pel_command *c = command->queue->first; c && status != PEL_OK; c = c->after) {
        if (c->edge_count > 0 && c->edges[c->edge_count - 1].to == command) {
            c->edge_count--;
        }
    }
    return status;
}

static void note_all(pel_command *command) {
    pel_hazards *hazards = command->runtime->dispatcher->hazards;
    for (uint32_t i = 0; i < command->uses.count; i++) {
        const pel_hazard_range range = range_of(&command->uses.data[i]);
        command->uses.data[i].allocation->commands++;
        if (pel_hazards_note(hazards, &range, 1, command->node) != PEL_OK) {
            pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL); /* not run: the order of later commands could not be kept */
        }
    }
}

static void join_queue(pel_command *command) {
    pel_queue *queue = command->queue;
    command->sequence = ++command->runtime->dispatcher->sequence;
    command->before = queue->last;
    *(queue->last ? &queue->last->after : &queue->first) = command;
    queue->last = command;
    queue->unfinished++;
    if (pel_inside_task(command->runtime)) {
        queue->nested = command->sequence;
    }
}

static bool has_room(void *user) {
    const pel_queue *queue = user;
    return queue->unfinished < queue->max_in_flight;
}

static const uint32_t *own_works(void *user) { return ((const pel_queue *)user)->on_device; }

static pel_status check_waits(const pel_command *command, const pel_event *const *waits, uint32_t count, pel_error **error) {
    const pel_allocator *allocator = &command->runtime->allocator;
    if (count > 0 && !waits) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "wait_count is %u but waits is NULL", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!waits[i]) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "waits[%u] is NULL", i);
        }
        if (!pel_event_is_complete(waits[i]) && waits[i]->runtime != command->runtime) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "waits[%u] belongs to another runtime", i);
        }
    }
    return PEL_OK;
}

pel_status pel_command_submit(pel_command *command, const pel_event *const *waits, uint32_t wait_count, pel_event **event) {
    pel_runtime *runtime = command->runtime;
    pel_queue *queue = command->queue;
    pel_error *error = NULL;
    pthread_mutex_lock(&runtime->lock);
    pel_status status = check_waits(command, waits, wait_count, &error);
    if (status == PEL_OK && queue->max_in_flight > 0 && !pel_inside_task(runtime)) {
        pel_wait_for(runtime, has_room, own_works, queue);
    }
    if (status == PEL_OK) {
        status = find_predecessors(command, waits, wait_count);
        if (status == PEL_OK && command->kind == PEL_COMMAND_MARKER && command->uses.count == 0 && wait_count == 0) {
            status = follow_queue(command);
        }
    }
    if (status != PEL_OK) {
        pel_error_destroy(queue->refused);
        queue->refused = error;
        pel_hazards_give_node(runtime->dispatcher->hazards, command->node);
        pel_command_free(command);
        pthread_mutex_unlock(&runtime->lock);
        return status;
    }
    join_queue(command);
    note_all(command);
    if (event) {
        *event = pel_event_retain(command->event);
    }
    if (command->pending == 0) {
        pel_command_make_ready(command);
    }
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true); /* a command may have failed on the spot */
    return PEL_OK;
}
