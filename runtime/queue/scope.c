/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/scope.h"
#include "base/thread_local.h"
#include "queue/command.h"

PEL_THREAD_LOCAL pel_frame *pel_frames;

pel_frame *pel_frame_top(const pel_runtime *runtime) { return pel_frames && pel_frames->runtime == runtime ? pel_frames : NULL; }

static pel_queue *home_of(const pel_frame *frame) {
    const pel_stage *stage = frame->node->stage;
    return stage->scope ? stage->scope->home : stage->queue;
}

static pel_stage *current(pel_queue *queue) { return atomic_load_explicit(&queue->stage, memory_order_acquire); }

bool pel_frame_counts_in_queue(const pel_frame *frame, const pel_queue *queue) { return home_of(frame) != queue; }

/* Of a bare task the node is only lent: what its children know must be its own. */
static bool own_node(pel_frame *frame) {
    pel_dispatcher *dispatcher = frame->runtime->dispatcher;
    pel_host_runner *runner = frame->node->placed ? pel_host_runner_current(dispatcher->tasks) : NULL;
    pel_node *own = runner ? pel_node_own(&dispatcher->pools, &runner->self, frame->node) : frame->node;
    frame->node = own ? own : frame->node;
    return own != NULL;
}

static pel_scope *make_scope(pel_frame *frame) {
    pel_scope *scope = pel_alloc(&frame->runtime->allocator, sizeof *scope);
    if (!scope || !own_node(frame)) {
        pel_free(&frame->runtime->allocator, scope);
        return NULL;
    }
    *scope = (pel_scope){.runtime = frame->runtime,
                         .parent = frame->node,
                         .command = frame->command,
                         .home = home_of(frame),
                         .failed_order = UINT64_MAX};
    atomic_init(&scope->open, 1);
    return scope;
}

static pel_stage *begin_brood(pel_scope *scope, pel_queue *queue, pel_stage *counted_in) {
    pel_stage *brood = scope->broods ? pel_alloc_zero(&scope->runtime->allocator, 1, sizeof *brood) : &scope->first;
    if (!brood) {
        return NULL;
    }
    brood->runtime = scope->runtime;
    brood->queue = queue;
    brood->scope = scope;
    brood->counted_in = counted_in;
    atomic_init(&brood->members, 1);
    atomic_fetch_add_explicit(&scope->open, 1, memory_order_relaxed);
    brood->all = scope->broods;
    scope->broods = brood;
    return brood;
}

static pel_stage *find_brood(const pel_scope *scope, const pel_queue *queue, const pel_stage *counted_in) {
    pel_stage *brood = scope->broods;
    while (brood && (brood->queue != queue || brood->counted_in != counted_in || brood->cut)) {
        brood = brood->all;
    }
    return brood;
}

pel_stage *pel_frame_stage(pel_frame *frame, pel_queue *queue) {
    if (!frame || queue == &queue->runtime->dispatcher->own) {
        return current(queue);
    }
    pel_stage *counted_in = pel_frame_counts_in_queue(frame, queue) ? current(queue) : NULL;
    if (frame->loop) {
        return counted_in ? counted_in : frame->node->stage;
    }
    if (!frame->scope && !(frame->scope = make_scope(frame))) {
        return NULL;
    }
    pel_stage *brood = find_brood(frame->scope, queue, counted_in);
    return brood ? brood : begin_brood(frame->scope, queue, counted_in);
}

pel_hazards *pel_stage_hazards(const pel_runtime *runtime, const pel_stage *stage) {
    pel_scope *scope = stage->scope;
    if (!scope) {
        return runtime->dispatcher->hazards;
    }
    if (!scope->hazards) {
        scope->hazards = pel_hazards_create(&scope->runtime->allocator);
    }
    return scope->hazards;
}

/* ---- what the parent has declared ---- */

/* How far beyond `at` a declared range reaches without a gap; at: not at all. */
static uint64_t reach(const pel_hazard_range *range, uint64_t at) {
    if (at < range->lo || at >= range->hi) {
        return at;
    }
    if (range->pitch == 0) {
        return range->hi;
    }
    uint64_t column = (at - range->lo) % range->pitch;
    return column < range->row_bytes ? at - column + range->row_bytes : at;
}

static uint64_t reach_of_parent(const pel_scope *scope, uint64_t at, bool write) {
    uint64_t best = at;
    pel_hazard_range range;
    if (scope->command) {
        for (uint32_t i = 0; i < scope->command->uses.count; i++) {
            const pel_use *use = &scope->command->uses.data[i];
            const uint64_t base = (uintptr_t)use->allocation->base;
            range =
                (pel_hazard_range){.lo = base + use->lo, .hi = base + use->hi, .pitch = use->pitch, .row_bytes = use->row_bytes};
            const uint64_t end = !write || (use->mode & PEL_WRITE) != 0 ? reach(&range, at) : at;
            best = end > best ? end : best;
        }
        return best;
    }
    pel_range_walk w = pel_node_ranges(scope->parent);
    while (pel_range_next(&w, &range)) {
        const uint64_t end = !write || (range.mode & PEL_WRITE) != 0 ? reach(&range, at) : at;
        best = end > best ? end : best;
    }
    return best;
}

static bool covers(const pel_scope *scope, uint64_t lo, uint64_t hi, bool write) {
    while (lo < hi) {
        const uint64_t next = reach_of_parent(scope, lo, write);
        if (next == lo) {
            return false;
        }
        lo = next;
    }
    return true;
}

pel_status pel_stage_allows(const pel_stage *stage, const pel_hazard_range *range, const char *name, uint32_t index,
                            pel_error **error) {
    const pel_scope *scope = stage->scope;
    const bool write = (range->mode & PEL_WRITE) != 0;
    bool covered = true;
    if (scope && range->pitch == 0) {
        covered = covers(scope, range->lo, range->hi, write);
    } else if (scope && !covers(scope, range->lo, range->hi, write)) { /* as a rule the parent has all of it; else row by row */
        for (uint64_t row = range->lo; row < range->hi && covered; row += range->pitch) {
            covered = covers(scope, row, row + range->row_bytes, write);
        }
    }
    if (covered) {
        return PEL_OK;
    }
    pel_story story = {.advice = "declare for the task whatever it and the commands that it submits touch"};
    return pel_fail(error, &scope->runtime->allocator, PEL_CONFLICT, &story,
                    "%s: access %u %s bytes that the task which submits it has not declared so", name ? name : "task", index,
                    write ? "writes" : "reads");
}

/* ---- the end ---- */

bool pel_brood_leave(pel_stage *brood, bool locked) {
    pel_scope *scope = brood->scope;
    pel_runtime *runtime = scope->runtime;
    if (atomic_fetch_sub_explicit(&brood->members, 1, memory_order_acq_rel) != 1) {
        return false;
    }
    if (brood->follower && pel_node_arrive(brood->follower)) {
        if (locked) {
            pel_start_node(runtime, brood->follower);
        } else {
            pthread_mutex_lock(&runtime->lock);
            pel_start_node(runtime, brood->follower);
            pel_dispatch(runtime);
            pel_dispatcher_unlock(runtime, true);
        }
    }
    return atomic_fetch_sub_explicit(&scope->open, 1, memory_order_acq_rel) == 1;
}

/* As a rule one; more where the queue has been finished meanwhile, so that its commands are counted in another of its stages. */
pel_status pel_brood_follow(pel_frame *frame, pel_queue *queue, pel_node *marker) {
    pel_stage *now = pel_frame_stage(frame, queue);
    pel_stage *fresh = now ? begin_brood(frame->scope, queue, now->counted_in) : NULL;
    if (!fresh) {
        return PEL_OUT_OF_MEMORY;
    }
    for (pel_stage *brood = frame->scope->broods; brood; brood = brood->all) {
        if (brood->queue == queue && !brood->cut && brood != fresh) {
            atomic_fetch_add_explicit(&marker->pending, 1, memory_order_relaxed);
            brood->follower = marker;
            brood->next = fresh;
            brood->cut = true;
            /* not the scope's last: the function runs; nor the marker's: it is being submitted */
            (void)pel_brood_leave(brood, true);
        }
    }
    marker->stage = fresh;
    return PEL_OK;
}

static void free_scope(pel_scope *scope) {
    pel_runtime *runtime = scope->runtime;
    if (scope->hazards) { /* whoever walks the hazards has the lock and none of this scope's commands any more */
        pel_hazards_destroy(scope->hazards);
    }
    while (scope->broods) {
        pel_stage *brood = scope->broods;
        scope->broods = brood->all;
        if (brood != &scope->first) {
            pel_free(&runtime->allocator, brood);
        }
    }
    pel_error_destroy(scope->failed);
    pel_free(&runtime->allocator, scope);
}

/* Everything is over: how the parent ends. */
static void conclude(pel_scope *scope, pel_status *status, pel_error **error) {
    *status = scope->returned;
    *error = scope->error;
    if (*status == PEL_OK && scope->failed_order != UINT64_MAX) {
        *status = PEL_DEPENDENCY_FAILED;
        pel_fail(error, &scope->runtime->allocator, PEL_DEPENDENCY_FAILED, NULL,
                 "a command that a task submitted failed, and what it should have written is a part of the task's result: %s",
                 pel_error_message(scope->failed));
    }
    free_scope(scope);
}

bool pel_scope_return(pel_scope *scope, pel_status *status, pel_error **error) {
    scope->returned = *status;
    scope->error = *error;
    for (pel_stage *brood = scope->broods; brood; brood = brood->all) {
        if (!brood->cut) {
            (void)pel_brood_leave(brood, false); /* never the last: the function itself still holds the scope */
        }
    }
    if (atomic_fetch_sub_explicit(&scope->open, 1, memory_order_acq_rel) != 1) {
        return false;
    }
    conclude(scope, status, error);
    return true;
}

pel_node *pel_scope_over(pel_scope *scope, bool locked) {
    pel_node *node = scope->parent;
    pel_command *command = scope->command;
    pel_runtime *runtime = scope->runtime;
    pel_status status;
    pel_error *error;
    if (!command) {
        conclude(scope, &status, &error);
        pel_node_become(node, PEL_NODE_ENDED);
        node->task = NULL;
        node->hazard.user = error;
        node->status = (uint8_t)status;
        return node;
    }
    if (!locked) {
        pthread_mutex_lock(&runtime->lock);
    }
    command->scope = NULL;
    conclude(scope, &status, &error);
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    }
    command->next = runtime->dispatcher->over;
    runtime->dispatcher->over = command;
    if (!locked) {
        pel_dispatch(runtime);
        pel_dispatcher_unlock(runtime, true);
    }
    return NULL;
}

void pel_scope_note_failure(const pel_stage *stage, uint64_t order, bool writes, const pel_error *error) {
    pel_scope *scope = stage->scope;
    if (scope && writes && order < scope->failed_order) {
        pel_error_destroy(scope->failed);
        scope->failed = pel_error_clone(error, &scope->runtime->allocator);
        scope->failed_order = order;
    }
}
