/* SPDX-License-Identifier: BSD-3-Clause */
/* Graphs: recording, replacing, and replays as commands of a queue. */
#include "queue/graph.h"

#include "queue/graph_plan.h"
#include "queue/graph_rows.h"
#include "queue/host_commands.h"
#include <string.h>

pel_status pel_graph_create(pel_runtime *runtime, pel_graph **graph, pel_error **error) {
    if (!runtime || !graph) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_graph_create: the %s is NULL",
                        runtime ? "graph" : "runtime");
    }
    *graph = NULL;
    pel_status status = pel_runtime_check(runtime, error);
    if (status == PEL_OK) {
        status = pel_dispatcher_ensure(runtime, error);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_graph *made = pel_alloc_zero(&runtime->allocator, 1, sizeof *made);
    if (!made) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a graph");
    }
    made->runtime = runtime;
    made->id = pel_runtime_next_id(runtime);
    made->replaced = PEL_GRAPH_NONE;
    pthread_mutex_init(&made->guard, NULL);
    pel_object_made(runtime, PEL_OBJECT_GRAPH);
    *graph = made;
    return PEL_OK;
}

static void drop(pel_graph *graph, pel_recorded *recorded) {
    pel_free(&graph->runtime->allocator, recorded->waits);
    if (recorded->command) {
        pel_command_discard(recorded->command);
    }
    *recorded = (pel_recorded){0};
}

/* Under the guard. */
static void stop(pel_graph *graph) {
    if (graph->recording) {
        atomic_store_explicit(&graph->recording->recorder, NULL, memory_order_release);
        graph->recording = NULL;
    }
    graph->replaced = PEL_GRAPH_NONE;
}

static uint32_t unfinished(pel_graph *graph) {
    pthread_mutex_lock(&graph->runtime->lock);
    const uint32_t count = graph->unfinished;
    pthread_mutex_unlock(&graph->runtime->lock);
    return count;
}

pel_status pel_graph_destroy(pel_graph *graph) {
    if (!graph) {
        return PEL_OK;
    }
    pel_runtime *runtime = graph->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&graph->guard);
    stop(graph);
    const bool busy = unfinished(graph) > 0;
    pthread_mutex_unlock(&graph->guard);
    if (busy) {
        return PEL_BUSY;
    }
    pel_graph_rows_forget(graph);
    for (uint32_t i = 0; i < graph->count; i++) {
        drop(graph, &graph->commands[i]);
    }
    pel_graph_program_release(graph->program);
    pel_graph_edges_free(&runtime->allocator, &graph->edges);
    pel_uses_free(&runtime->allocator, &graph->footprint);
    pel_event_release(graph->last);
    pel_free(&runtime->allocator, graph->waiting);
    pel_graph_outlook_free(graph);
    pel_free(&runtime->allocator, graph->commands);
    pthread_mutex_destroy(&graph->guard);
    pel_free(&runtime->allocator, graph);
    pel_object_gone(runtime, PEL_OBJECT_GRAPH);
    return PEL_OK;
}

static pel_status begin(pel_graph *graph, pel_queue *queue, uint32_t index) {
    if (!graph || !queue || graph->runtime != queue->runtime) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(graph->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&graph->guard);
    pel_graph *none = NULL;
    if (index != PEL_GRAPH_NONE && index >= graph->count) {
        status = PEL_NOT_FOUND;
    } else if (unfinished(graph) > 0) {
        status = PEL_BUSY;
    } else if (graph->recording || !atomic_compare_exchange_strong(&queue->recorder, &none, graph)) {
        status = PEL_CONFLICT;
    } else {
        graph->recording = queue;
        graph->replaced = index;
    }
    pthread_mutex_unlock(&graph->guard);
    return status;
}

pel_status pel_graph_record(pel_graph *graph, pel_queue *queue) { return begin(graph, queue, PEL_GRAPH_NONE); }

pel_status pel_graph_replace(pel_graph *graph, pel_queue *queue, uint32_t index) {
    return index == PEL_GRAPH_NONE ? PEL_NOT_FOUND : begin(graph, queue, index);
}

pel_status pel_graph_end(pel_graph *graph) {
    if (!graph) {
        return PEL_INVALID_ARGUMENT;
    }
    pthread_mutex_lock(&graph->guard);
    stop(graph);
    pthread_mutex_unlock(&graph->guard);
    return PEL_OK;
}

uint32_t pel_graph_size(pel_graph *graph) {
    if (!graph) {
        return 0;
    }
    pthread_mutex_lock(&graph->guard);
    const uint32_t count = graph->count;
    pthread_mutex_unlock(&graph->guard);
    return count;
}

/* ---- recording ---- */

static pel_status refuse(const pel_command *command, pel_status status, const char *why, pel_error **error) {
    const pel_story story = {.advice = "end the recording with pel_graph_end before it"};
    return pel_fail(error, &command->runtime->allocator, status, status == PEL_UNSUPPORTED ? &story : NULL,
                    "%s cannot be recorded: %s", command->name ? command->name : "a command", why);
}

/* Which recorded commands it waits for: those that its waits stand for. */
static pel_status find_waits(const pel_graph *graph, pel_recorded *recorded, const pel_event *const *waits, uint32_t count,
                             uint32_t place, pel_error **error) {
    recorded->waits = count > 0 ? pel_alloc(&graph->runtime->allocator, count * sizeof *recorded->waits) : NULL;
    if (count > 0 && !recorded->waits) {
        return refuse(recorded->command, PEL_OUT_OF_MEMORY, "no memory", error);
    }
    recorded->wait_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!waits || !waits[i] || waits[i]->graph != graph->id) {
            return refuse(recorded->command, PEL_INVALID_ARGUMENT, "it waits for an event that is none of this recording's",
                          error);
        }
        if (waits[i]->recorded >= place) {
            return refuse(recorded->command, PEL_INVALID_ARGUMENT, "it waits for a command that comes after it", error);
        }
        recorded->waits[i] = waits[i]->recorded;
    }
    return PEL_OK;
}

static pel_status make_room(pel_graph *graph) {
    if (graph->count < graph->capacity) {
        return PEL_OK;
    }
    const uint32_t capacity = graph->capacity ? 2 * graph->capacity : 16;
    pel_recorded *grown =
        capacity < PEL_GRAPH_NONE / 4 ? pel_resize(&graph->runtime->allocator, graph->commands, capacity * sizeof *grown) : NULL;
    if (!grown) {
        return PEL_OUT_OF_MEMORY;
    }
    graph->commands = grown;
    graph->capacity = capacity;
    return PEL_OK;
}

/* The event that the caller gets: over already, and good for nothing but waits in the same graph. */
static void give_event(const pel_graph *graph, pel_command *command, uint32_t place, pel_event **event) {
    pel_event *of = command->event;
    pel_error *error = NULL;
    pel_fail(&error, &graph->runtime->allocator, PEL_INVALID_ARGUMENT, NULL, "%s was recorded in a graph, not run",
             command->name ? command->name : "a command");
    pel_event_finish(of, PEL_INVALID_ARGUMENT, error, NULL, 0);
    of->graph = graph->id;
    of->recorded = place;
    command->event = NULL;
    if (event) {
        *event = of;
    } else {
        pel_event_release(of);
    }
}

static bool can_be_recorded(const pel_command *command) {
    /* a hung work may come back after its replay */
    return command->kind <= PEL_COMMAND_MARKER && !command->callback && command->asked != PEL_PROTECT_ISOLATE;
}

static bool same_accesses(const pel_command *a, const pel_command *b) {
    bool same = a->kind == b->kind && a->uses.count == b->uses.count && a->is_gate == b->is_gate &&
                a->loop_count == b->loop_count && a->loop_grain == b->loop_grain;
    for (uint32_t i = 0; i < a->uses.count && same; i++) {
        const pel_use *x = &a->uses.data[i], *y = &b->uses.data[i];
        same = x->allocation == y->allocation && x->lo == y->lo && x->hi == y->hi && x->mode == y->mode && x->pitch == y->pitch &&
               x->row_bytes == y->row_bytes;
    }
    return same;
}

static bool same_waits(const pel_recorded *a, const pel_recorded *b) {
    return a->wait_count == b->wait_count &&
           (a->wait_count == 0 || memcmp(a->waits, b->waits, a->wait_count * sizeof *a->waits) == 0);
}

/* Under the guard; takes over what is recorded. */
static void keep(pel_graph *graph, uint32_t place, pel_recorded recorded) {
    if (place == graph->count) {
        graph->commands[graph->count++] = recorded;
        graph->analysed = false;
        return;
    }
    pel_recorded *old = &graph->commands[place];
    const bool same = graph->analysed && same_accesses(old->command, recorded.command) && same_waits(old, &recorded);
    if (same && old->command->kind == PEL_COMMAND_LAUNCH &&
        (old->command->bound.kernel != recorded.command->bound.kernel ||
         old->command->bound.units != recorded.command->bound.units)) {
        pel_graph_outlook_forget(graph);
    }
    pel_graph_rows_replaced(graph, place);
    drop(graph, old);
    *old = recorded;
    if (!same) {
        graph->analysed = false;
    } else if (graph->host_only) {
        pel_graph_program_refresh(graph, place);
    }
    stop(graph);
}

pel_status pel_graph_take(pel_graph *graph, pel_command *command, const pel_event *const *waits, uint32_t wait_count,
                          pel_event **event) {
    pel_queue *queue = command->queue;
    pel_error *error = NULL;
    pel_recorded recorded = {.command = command};
    pthread_mutex_lock(&graph->guard);
    const uint32_t place = graph->replaced != PEL_GRAPH_NONE ? graph->replaced : graph->count;
    pel_status status =
        can_be_recorded(command) ? make_room(graph) : refuse(command, PEL_UNSUPPORTED, "this kind is run only", &error);
    if (status == PEL_OK) {
        status = find_waits(graph, &recorded, waits, wait_count, place, &error);
    }
    if (status == PEL_OK) {
        give_event(graph, command, place, event);
        keep(graph, place, recorded);
    } else {
        drop(graph, &recorded);
    }
    pthread_mutex_unlock(&graph->guard);
    return status == PEL_OK ? PEL_OK : pel_refuse(queue, status, error);
}

/* ---- replaying ---- */

static bool is_host_only(const pel_graph *graph) {
    bool host_only = graph->runtime->dispatcher->tasks;
    for (uint32_t i = 0; i < graph->count && host_only; i++) {
        host_only = graph->commands[i].command->kind != PEL_COMMAND_LAUNCH;
    }
    return host_only;
}

/* Under the guard, while no replay is under way. */
static pel_status prepare(pel_graph *graph) {
    if (graph->analysed) {
        return PEL_OK;
    }
    pel_graph_outlook_free(graph);
    pel_graph_rows_forget(graph);
    pel_status status = pel_graph_analyse(graph);
    graph->host_only = is_host_only(graph);
    if (status == PEL_OK && graph->host_only) {
        status = pel_graph_program_build(graph);
    } else if (status == PEL_OK) {
        uint32_t *waiting = pel_alloc_zero(&graph->runtime->allocator, graph->count, sizeof *waiting);
        pel_free(&graph->runtime->allocator, graph->waiting);
        graph->waiting = waiting;
        status = waiting ? pel_graph_rows_prepare(graph) : PEL_OUT_OF_MEMORY;
        status = status == PEL_OK ? pel_graph_outlook_make(graph) : status;
    }
    graph->analysed = status == PEL_OK;
    return status;
}

static pel_status use_footprint(pel_command *command, const pel_uses *footprint) {
    pel_status status = PEL_OK;
    pthread_mutex_lock(&command->runtime->lock);
    for (uint32_t i = 0; i < footprint->count && status == PEL_OK; i++) {
        status = pel_uses_append(&command->runtime->allocator, &command->uses, footprint->data[i]) ? PEL_OK : PEL_OUT_OF_MEMORY;
        if (status == PEL_OK) {
            pel_allocation_retain(footprint->data[i].allocation);
        }
    }
    pthread_mutex_unlock(&command->runtime->lock);
    return status;
}

static pel_status submit(pel_graph *graph, pel_queue *queue, const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    pel_command *command = pel_host_command(queue, PEL_COMMAND_GRAPH, desc, "graph", &error);
    if (!command) {
        return pel_host_command_none(queue, error);
    }
    pel_status status = PEL_OK;
    if (graph->recording || graph->count == 0) {
        status = pel_fail(&error, &queue->runtime->allocator, graph->recording ? PEL_CONFLICT : PEL_INVALID_ARGUMENT, NULL,
                          "%s: %s", command->name, graph->recording ? "it is being recorded" : "nothing has been recorded");
    }
    if (status == PEL_OK) {
        status = prepare(graph);
    }
    if (status == PEL_OK) {
        status = use_footprint(command, &graph->footprint);
    }
    if (status != PEL_OK && !error) {
        pel_fail(&error, &queue->runtime->allocator, status, NULL, "%s: no memory to replay it", command->name);
    }
    command->graph = graph;
    return pel_host_command_conclude(queue, command, status, error, desc, event);
}

pel_status pel_graph_replay(pel_graph *graph, pel_queue *queue, const pel_task_desc *desc, pel_event **event) {
    pel_status status = pel_host_command_check(queue, event);
    if (status != PEL_OK) {
        return status;
    }
    if (!graph || graph->runtime != queue->runtime) {
        return pel_host_command_refuse(queue, PEL_INVALID_ARGUMENT, "graph",
                                       graph ? "it belongs to another runtime" : "it is NULL");
    }
    if (atomic_load_explicit(&queue->recorder, memory_order_acquire)) {
        return pel_host_command_refuse(queue, PEL_UNSUPPORTED, "graph", "a replay cannot be recorded");
    }
    pthread_mutex_lock(&graph->guard);
    status = submit(graph, queue, desc, event);
    pthread_mutex_unlock(&graph->guard);
    return status;
}

pel_status pel_graph_follow_last(pel_command *replay) {
    bool failed;
    const pel_event *last = replay->graph->last;
    return last ? pel_follow_event(replay->runtime, &replay->runtime->dispatcher->self, replay->node, last, false, &failed)
                : PEL_OK;
}

void pel_graph_submitted(pel_command *replay) {
    pel_graph *graph = replay->graph;
    graph->unfinished++;
    pel_event_release(graph->last);
    graph->last = pel_event_retain(replay->event);
}

void pel_graph_replay_ends(pel_command *replay) { replay->graph->unfinished--; }
