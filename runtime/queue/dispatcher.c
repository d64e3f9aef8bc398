/* SPDX-License-Identifier: BSD-3-Clause */
/* The state machine of command.h: ready commands become jobs, and jobs that are over advance commands. */
#include "queue/command.h"
#include "backend/host/host.h"
#include "queue/graph_rows.h"
#include "queue/mapping.h"
#include "queue/node_list.h"
#include "queue/retry.h"
#include "queue/short_launch.h"
#include "queue/verify.h"
#include <sched.h>

enum { FOLDED_AT_ONCE = 8192 }; /* partial results: under 10 us, where waking a worker for them costs 30-50 us */

/* Host variants of kernels and bodies of parallel loops count as tasks, on whatever thread: what they wait for may need a
 * thread that waits for them. */
bool pel_inside_task(const pel_runtime *runtime) {
    const pel_backend_device *host = runtime->task_device->driver;
    return pel_frame_top(runtime) || pel_host_is_worker(host) || pel_host_in_piece(host);
}

static pel_status run_task(void *context) {
    pel_command *command = context;
    pel_frame frame = {.runtime = command->runtime, .node = command->node, .command = command};
    pel_frame_enter(&frame);
    pel_status status = command->task(command->context);
    pel_frame_leave(&frame);
    command->scope = frame.scope;
    return status;
}

static pel_status run_loop(uint64_t begin, uint64_t end, void *context) {
    pel_command *command = context;
    pel_frame frame = {.runtime = command->runtime, .node = command->node, .command = command, .loop = true};
    pel_frame_enter(&frame);
    pel_status status = command->loop(begin, end, command->context);
    pel_frame_leave(&frame);
    return status;
}

static pel_status run_fold(void *context) {
    pel_launch_fold(context);
    return PEL_OK;
}

/* Parts of one replay have its order. */
static bool comes_first(const pel_command *a, const pel_command *b) {
    return a->order < b->order || (a->order == b->order && a->turn < b->turn);
}

void pel_command_make_ready(pel_command *command) {
    pel_command **place = &command->runtime->dispatcher->ready;
    while (*place && ((*place)->priority > command->priority ||
                      ((*place)->priority == command->priority && comes_first(*place, command)))) {
        place = &(*place)->next;
    }
    command->next = *place;
    *place = command;
}

void pel_command_fail(pel_command *command, pel_status status, pel_error *error) {
    if (command->status != PEL_OK) {
        pel_error_destroy(error);
        return;
    }
    if (!error) {
        pel_fail(&error, &command->runtime->allocator, status, NULL, "%s: %s", command->name ? command->name : "command",
                 pel_status_text(status));
    }
    command->error = command->cause ? pel_recall_told(command, &status, error) : error;
    command->status = status;
}

void pel_queue_note_failure(pel_queue *queue, const pel_node *node, bool had_children, pel_status status,
                            const pel_error *error) {
    const uint64_t inner = had_children ? UINT64_MAX : pel_node_place(node);
    while (node->stage->scope) {
        node = node->stage->scope->parent;
    }
    const uint64_t order = pel_node_place(node);
    if (order < queue->first_failure || (order == queue->first_failure && inner < queue->first_inner)) {
        pel_error_destroy(queue->error);
        queue->first_failure = order;
        queue->first_inner = inner;
        queue->status = status;
        queue->error = pel_error_clone(error, &queue->runtime->allocator);
    }
}

static void leave_queue(pel_command *command) {
    pel_queue *queue = command->queue;
    *(command->before ? &command->before->after : &queue->first) = command->after;
    *(command->after ? &command->after->before : &queue->last) = command->before;
}

void pel_node_inherit_failure(pel_runtime *runtime, pel_node *to, const char *from, const pel_error *error) {
    pel_command *command = pel_node_kind_of(to) == PEL_NODE_COMMAND ? to->hazard.user : NULL;
    pel_error *story = NULL;
    if (pel_node_kind_of(to) == PEL_NODE_TASK ? to->status != PEL_OK : !command) {
        return; /* it has failed already, or was withdrawn */
    }
    pel_fail(&story, &runtime->allocator, PEL_DEPENDENCY_FAILED, NULL, "%s was not run: %s, which it depends on, failed: %s",
             !command        ? pel_short_name(to, "task")
             : command->name ? command->name
                             : "a command",
             from ? from : "a command", pel_error_message(error));
    if (command) {
        pel_command_fail(command, PEL_DEPENDENCY_FAILED, story);
        pel_chain_spread_failure(command);
        return;
    }
    to->status = PEL_DEPENDENCY_FAILED;
    pel_short_forgo(to);
    to->task = NULL;
    to->hazard.user = story;
}

void pel_start_node(pel_runtime *runtime, pel_node *node) {
    if (pel_node_kind_of(node) == PEL_NODE_TASK) {
        pel_task_put(runtime, node);
    } else if (node->hazard.user) {
        pel_command *command = node->hazard.user;
        if (!command->early || command->held) { /* else it is queued on its device already */
            pel_command_make_ready(command);
        }
    } else { /* withdrawn: it only waited to be forgotten, by those too that were told of it before it was */
        pel_node_end(runtime, node, NULL, false, NULL);
        pel_node_give(&runtime->dispatcher->pools, &runtime->dispatcher->self, node);
    }
}

void pel_node_end(pel_runtime *runtime, pel_node *node, const char *name, bool failed, const pel_error *error) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    bool watched, data;
    pel_successors list = pel_node_close(node, &watched);
    dispatcher->news = dispatcher->news || watched;
    for (pel_node *to; (to = pel_successors_next(&dispatcher->pools, &dispatcher->self, &list, &data)) != NULL;) {
        if (failed && data) {
            pel_node_inherit_failure(runtime, to, name, error);
        }
        pel_chain_left(node, to);
        if (pel_node_arrive(to)) {
            pel_start_node(runtime, to);
        }
    }
}

/* A barrier that has failed stays: whatever comes later depends on it. */
static void open_gate(const pel_command *command) {
    if (command->status == PEL_OK && atomic_load_explicit(&command->queue->gate, memory_order_relaxed) == command->event) {
        atomic_store_explicit(&command->queue->gate, NULL, memory_order_relaxed);
        pel_event_release(command->event);
    }
}

static void leave_stage(pel_runtime *runtime, pel_stage *stage) {
    pel_scope *scope = stage->scope;
    pel_stage *counted_in = scope ? stage->counted_in : stage;
    if (scope && pel_brood_leave(stage, true)) {
        pel_node *parent = pel_scope_over(scope, true);
        if (parent) {
            pel_task_put(runtime, parent);
        }
    }
    if (counted_in) {
        pel_stage_end(counted_in, runtime->dispatcher->self.shard, 1, true);
    }
}

/* The time, read once while the lock is held where that is short. */
static int64_t moment_of(const pel_runtime *runtime) {
    return runtime->dispatcher->moment != 0 ? runtime->dispatcher->moment : pel_clock_now(runtime->clock);
}

void pel_command_end(pel_command *command) {
    if (command->part_of) {
        pel_graph_part_over(command);
        return;
    }
    pel_runtime *runtime = command->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_queue *queue = command->queue;
    pel_node *node = command->node;
    if (command->kind == PEL_COMMAND_PREFETCH) {
        pel_place_forgive(command);
    }
    if (command->status != PEL_OK) {
        pel_queue_note_failure(queue, node, command->had_children, command->status, command->error);
    }
    leave_queue(command);
    open_gate(command);
    if (command->graph) {
        pel_graph_replay_ends(command);
    }
    pel_command_leave_hazards(command);
    pel_event_finish(command->event, command->status, command->error, command->plan, moment_of(runtime));
    command->error = NULL;
    command->plan = NULL;
    pel_node_end(runtime, node, command->name, command->status != PEL_OK, command->event->error);
    for (uint32_t i = 0; i < command->uses.count; i++) {
        command->uses.data[i].allocation->commands--;
    }
    pel_command_free(command);
    pel_stage *stage = node->stage;
    pel_node_give(&dispatcher->pools, &dispatcher->self, node);
    leave_stage(runtime, stage);
    pel_queue_advance(queue);
}

static void submit_from(pel_command *command, pel_command_phase phase, uint32_t first) {
    command->phase = phase;
    command->outstanding = 0;
    for (uint32_t i = first; i < command->job_count; i++) {
        command->outstanding += command->jobs[i].work.status == PEL_OK ? 1u : 0u;
    }
    for (uint32_t i = first; i < command->job_count; i++) {
        if (command->jobs[i].work.status == PEL_OK) { /* else its device could not even take it: queue/retry.c */
            pel_job_submit(&command->jobs[i]);
        }
    }
    if (command->outstanding == 0) {
        if (phase == PEL_PHASE_RUNNING && command->tail) {
            pel_launch_tail_forfeit(command, command->jobs[0].device);
        }
        pel_command_phase_over(command);
        return;
    }
    if (phase == PEL_PHASE_RUNNING) {
        pel_chain_lead(command);
    }
}

static void submit_phase(pel_command *command, pel_command_phase phase) { submit_from(command, phase, 0); }

static void submit_aside(pel_command *command, pel_command_phase phase) {
    command->phase = phase;
    command->outstanding = 1;
    pel_job_submit(&command->fold);
}

static void clear_jobs(pel_command *command) {
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job_clear(&command->jobs[i]);
    }
    pel_free(&command->runtime->allocator, command->jobs);
    command->jobs = NULL;
    command->job_count = 0;
}

static pel_status build_host_job(pel_command *command) {
    pel_runtime *runtime = command->runtime;
    command->jobs = pel_alloc_zero(&runtime->allocator, 1, sizeof *command->jobs);
    if (!command->jobs) {
        pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL);
        return PEL_OUT_OF_MEMORY;
    }
    command->job_count = 1;
    pel_job *job = &command->jobs[0];
    *job = (pel_job){.command = command, .device = runtime->task_device, .data_parallel = command->kind == PEL_COMMAND_LOOP};
    job->work.kind = command->kind == PEL_COMMAND_LOOP ? PEL_WORK_LOOP : PEL_WORK_TASK;
    job->work.task = run_task;
    job->work.loop = run_loop;
    job->work.context = command;
    job->work.loop_count = command->loop_count;
    job->work.loop_grain = command->loop_grain;
    for (uint32_t i = 0; i < command->uses.count; i++) {
        const pel_use *use = &command->uses.data[i];
        if ((use->mode & PEL_WRITE) != 0 &&
            !pel_uses_add_rows(&runtime->allocator, &job->written, use, PEL_WRITE)) {
            pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL);
            return PEL_OUT_OF_MEMORY;
        }
    }
    return PEL_OK;
}

static bool goes_to_a_place(const pel_command *command) {
    return command->kind == PEL_COMMAND_MAP || command->kind == PEL_COMMAND_PREFETCH;
}

/* Its parts end it. */
static void run_graph(pel_command *command) {
    pel_status status = command->graph->host_only ? build_host_job(command) : PEL_OK;
    command->phase = PEL_PHASE_RUNNING;
    if (status == PEL_OK) {
        status = command->graph->host_only ? pel_graph_steps_begin(command) : pel_graph_parts_begin(command);
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, NULL);
        pel_command_end(command);
    }
}

static void run(pel_command *command) {
    pel_status status = PEL_OK;
    if (command->kind == PEL_COMMAND_GRAPH) {
        run_graph(command);
        return;
    }
    if (command->kind == PEL_COMMAND_MARKER) {
        pel_command_end(command);
        return;
    }
    if (goes_to_a_place(command)) {
        if (pel_place_run(command)) {
            submit_phase(command, PEL_PHASE_RUNNING);
        }
        return;
    }
    status = command->kind == PEL_COMMAND_LAUNCH ? pel_launch_run(command) : build_host_job(command);
    if (status != PEL_OK) {
        pel_command_end(command);
        return;
    }
    if (command->kind == PEL_COMMAND_LAUNCH && pel_retry_save(command)) {
        command->built = 0;
        submit_aside(command, PEL_PHASE_SAVING);
    } else if (command->status != PEL_OK) {
        pel_command_end(command);
    } else {
        submit_phase(command, PEL_PHASE_RUNNING);
    }
}

static pel_status fetch_for_host(pel_command *command, bool *stalled) {
    pel_uses needed = {0};
    for (uint32_t i = 0; i < command->uses.count; i++) {
        const pel_use *use = &command->uses.data[i];
        if ((use->mode & PEL_READ) != 0 &&
            !pel_uses_add_rows(&command->runtime->allocator, &needed, use, PEL_READ)) {
            pel_uses_free(&command->runtime->allocator, &needed);
            pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL);
            return PEL_OUT_OF_MEMORY;
        }
    }
    pel_status status = pel_fetch_home(command, &needed, stalled);
    pel_uses_free(&command->runtime->allocator, &needed);
    return status;
}

static void begin(pel_command *command) {
    command->event->timing.began = moment_of(command->runtime);
    atomic_store_explicit(&command->event->phase, PEL_EVENT_RUNNING, memory_order_relaxed);
}

static void start(pel_command *command) {
    bool stalled = false;
    if (command->held) {
        command->held = false;
        pel_command_phase_over(command);
        return;
    }
    if (pel_chain_pending(command) > 0) { /* only a chain makes it ready before that */
        if (pel_chain_begin(command)) {
            begin(command);
            submit_phase(command, PEL_PHASE_RUNNING);
        }
        return;
    }
    if (command->part_of && pel_graph_row_look(command)) {
        return;
    }
    pel_status status = command->status;
    if (status == PEL_OK) {
        begin(command);
        status = command->kind == PEL_COMMAND_LAUNCH ? pel_launch_start(command, &stalled)
                 : goes_to_a_place(command)          ? pel_place_start(command, &stalled)
                 : command->graph && !command->graph->host_only ? PEL_OK
                                                                : fetch_for_host(command, &stalled);
    }
    if (status != PEL_OK) {
        pel_command_end(command);
    } else if (stalled) {
        command->next = command->runtime->dispatcher->stalled;
        command->runtime->dispatcher->stalled = command;
    } else if (command->job_count > 0) {
        submit_phase(command, PEL_PHASE_FETCHING);
    } else {
        run(command);
    }
}

void pel_restart_stalled(pel_runtime *runtime) {
    pel_command *list = runtime->dispatcher ? runtime->dispatcher->stalled : NULL;
    if (!list) {
        return;
    }
    runtime->dispatcher->stalled = NULL;
    while (list) {
        pel_command *next = list->next;
        pel_command_make_ready(list);
        list = next;
    }
}

static void start_fold(pel_command *command) {
    command->fold = (pel_job){.command = command, .device = command->runtime->task_device};
    command->fold.work.kind = PEL_WORK_TASK;
    command->fold.work.task = run_fold;
    command->fold.work.context = command;
    submit_aside(command, PEL_PHASE_FOLDING);
}

/* False: its children go on, and the last one ends the command. */
static bool task_is_over(pel_command *command) {
    pel_scope *scope = command->scope;
    pel_status status = command->status;
    pel_error *error = command->error;
    command->error = NULL;
    command->status = PEL_OK;
    command->had_children = true;
    if (!pel_scope_return(scope, &status, &error)) {
        return false;
    }
    command->scope = NULL;
    command->status = status;
    command->error = error;
    return true;
}

/* All its results are there, and as sure as was asked for. True: they are being merged. */
static bool launch_is_over(pel_command *command) {
    pel_launch_done(command);
    pel_verify_done(command);
    const uint64_t partials = command->status == PEL_OK ? pel_launch_fold_count(command) : 0;
    if (partials > FOLDED_AT_ONCE) {
        start_fold(command);
        return true;
    }
    if (partials > 0) {
        pel_launch_fold(command);
        pel_launch_folded(command);
    }
    return false;
}

/* Its chunks ran, or were verified. True: it goes on. */
static bool launch_goes_on(pel_command *command) {
    uint32_t again;
    if (command->recalled) { /* and there was no memory to see what became of it (recall.c) */
        pel_command_fail(command, PEL_DEPENDENCY_FAILED, NULL);
    }
    if (pel_retry_again(command, &again)) {
        submit_from(command, PEL_PHASE_RUNNING, again);
        return true;
    }
    return pel_recall_more(command) || pel_verify_begin(command) || launch_is_over(command);
}

void pel_command_phase_over(pel_command *command) {
    switch (command->phase) {
    case PEL_PHASE_FETCHING:
        clear_jobs(command);
        pel_restart_stalled(command->runtime);
        if (command->status == PEL_OK && command->makes_room) {
            pel_command_unpin(command);
            pel_command_make_ready(command);
        } else if (command->status == PEL_OK) {
            run(command);
        } else {
            pel_command_end(command);
        }
        return;
    case PEL_PHASE_SAVING:
        if (command->status == PEL_OK) {
            submit_phase(command, PEL_PHASE_RUNNING);
        } else {
            pel_command_end(command);
        }
        return;
    case PEL_PHASE_RUNNING:
        if (goes_to_a_place(command)) {
            pel_place_arrived(command);
            return;
        }
        if (command->kind == PEL_COMMAND_LAUNCH && launch_goes_on(command)) {
            return;
        }
        if (command->scope && !task_is_over(command)) {
            return;
        }
        pel_command_end(command);
        return;
    case PEL_PHASE_VERIFYING:
        if (!pel_verify_again(command) && !launch_goes_on(command)) {
            pel_command_end(command);
        }
        return;
    case PEL_PHASE_FOLDING:
        if (command->status == PEL_OK) {
            pel_launch_folded(command);
        }
        pel_command_end(command);
        return;
    case PEL_PHASE_WAITING:
    case PEL_PHASE_MAPPED:
        return;
    }
}

void pel_dispatch(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    while (dispatcher->ready || dispatcher->over) {
        pel_command *command = dispatcher->over ? dispatcher->over : dispatcher->ready;
        const bool ends = command == dispatcher->over;
        *(ends ? &dispatcher->over : &dispatcher->ready) = command->next;
        command->next = NULL;
        if (ends) {
            pel_command_end(command);
        } else {
            start(command);
        }
    }
    if (dispatcher->first_job) {
        pel_fair_submit(runtime);
    }
}

void pel_dispatcher_unlock(pel_runtime *runtime, bool something_completed) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    if (something_completed) {
        atomic_fetch_add_explicit(&dispatcher->completions, 1, memory_order_relaxed);
    }
    if (something_completed && dispatcher->waiters > 0) {
        dispatcher->news = false;
        pthread_cond_broadcast(&dispatcher->changed);
    }
    if (something_completed && atomic_load_explicit(&dispatcher->inside, memory_order_relaxed) > 0) {
        pel_host_nudge((pel_host_device *)runtime->task_device->driver);
    }
    dispatcher->fresh = 0;
    dispatcher->submitting = false;
    dispatcher->moment = 0;
    pthread_mutex_unlock(&runtime->lock);
}

/* Devices that compute on the core where we are come last: what they wake may take it from us. */
static uint64_t those_here(const pel_runtime *runtime, uint64_t devices) {
    const int cpu = sched_getcpu();
    uint64_t here = 0;
    for (uint64_t rest = devices; rest != 0 && cpu >= 0 && cpu < PEL_CORE_LIMIT; rest &= rest - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(rest);
        const pel_device_info *info = &runtime->devices[i].facts->info;
        here |= i < PEL_DEVICE_BITS - 1 && info->cores_count > 0 && pel_core_set_has(&info->cores, (uint32_t)cpu) ? 1ull << i : 0;
    }
    return here;
}

/* Whoever has nothing to begin takes no harm from being asked: so all that one bit stands for are. */
static void begin_devices(const pel_runtime *runtime, uint64_t fresh) {
    for (; fresh != 0; fresh &= fresh - 1) {
        const uint32_t first = (uint32_t)__builtin_ctzll(fresh),
                       end = first == PEL_DEVICE_BITS - 1 ? runtime->device_count : first + 1;
        for (uint32_t i = first; i < end; i++) {
            pel_backend_device *driver = runtime->devices[i].driver;
            if (driver->backend->begin) {
                driver->backend->begin(driver);
            }
        }
    }
}

void pel_dispatcher_unlock_and_begin(pel_runtime *runtime) {
    const uint64_t fresh = runtime->dispatcher->fresh, here = (fresh & (fresh - 1)) != 0 ? those_here(runtime, fresh) : 0;
    pel_dispatcher_unlock(runtime, true);
    begin_devices(runtime, fresh & ~here);
    begin_devices(runtime, here);
}
