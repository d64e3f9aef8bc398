/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a launch until its chunks run: planned now or as ever, what devices must have gathered, the chunks.
 * What the planner is asked is in launch_ask.c, what comes of a launch in launch_done.c.
 */
#include "core/metering.h"
#include "planner/plan.h"
#include "planner/planner.h"
#include "queue/command.h"
#include "queue/graph_plan.h"
#include "queue/graph_rows.h"
#include "queue/begins.h"
#include "queue/calm.h"
#include "queue/claim.h"
#include "queue/stream.h"
#include "queue/transfers.h"
#include "queue/habit.h"
#include "queue/repeat.h"
#include "queue/retry.h"
#include "queue/verify.h"
#include <string.h>

pel_status pel_launch_take_device(pel_command *command, uint32_t device, double predicted_ns) {
    pel_runtime *runtime = command->runtime;
    char *text = NULL;
    const char *why = pel_launch_exclusion(&command->bound, &runtime->devices[device], &text);
    pel_free(&runtime->allocator, text);
    if (why) {
        return PEL_NO_DEVICE;
    }
    command->slices = pel_alloc(&runtime->allocator, sizeof *command->slices);
    if (!command->slices) {
        return PEL_OUT_OF_MEMORY;
    }
    const pel_plan_result result = {.slices = {{.device = device, .hi = command->bound.units, .predicted_ns = predicted_ns}},
                                    .slice_count = 1,
                                    .predicted_ns = predicted_ns};
    command->slices[0] = result.slices[0];
    command->slice_count = command->planned = 1;
    command->protection = pel_retry_choose(runtime, &command->bound, command->asked, false, &result, NULL);
    command->expected_ns = 0;
    command->together_probe = command->variant_probe = false;
    return PEL_OK;
}

/* Nobody can ask for the plan of a launch whose event nobody has, now or later. */
static bool is_asked_for(const pel_command *command) {
    return pel_event_is_shared(command->event);
}

/* Planned for something else than time. */
static bool has_aim(const pel_bound *bound) {
    return bound->objective.kind != PEL_OBJECTIVE_TIME || bound->objective.deadline_ns > 0;
}

pel_status pel_launch_plan_now(pel_command *command, bool *exploring) {
    pel_runtime *runtime = command->runtime;
    pel_plan_result result;
    pel_error *error = NULL;
    const bool has_habits = !has_aim(&command->bound) && command->bound.verification.share == 0 && !command->restarted;
    const bool as_ever = !is_asked_for(command) && has_habits;
    *exploring = command->explores = false;
    if (command->part_of && pel_graph_row_decide(command)) {
        return command->status;
    }
    if (command->part_of && pel_graph_plan_take(command)) {
        atomic_fetch_add_explicit(&command->bound.kernel->launches, 1, memory_order_relaxed);
        return PEL_OK;
    }
    if (as_ever && pel_repeat_decide(command)) {
        atomic_fetch_add_explicit(&command->bound.kernel->launches, 1, memory_order_relaxed);
        return PEL_OK;
    }
    const pel_model_family family = pel_launch_family(&command->bound);
    if (as_ever && !command->repeat && pel_habit_take(command, &family)) {
        atomic_fetch_add(&command->bound.kernel->launches, 1);
        return PEL_OK;
    }
    command->protection = command->asked;
    pel_status status = pel_launch_decide(runtime, &command->bound, command->shares, command->share_count, &command->protection,
                                          &result, is_asked_for(command) ? &command->plan : NULL, &error);
    if (status == PEL_OK) {
        const bool tailed = pel_tail_left(&result.tail);
        const uint32_t pieces = tailed ? pel_tail_pieces(&result.tail) : 0;
        command->slices = pel_alloc(&runtime->allocator, ((size_t)result.slice_count + pieces) * sizeof *command->slices);
        command->tail = tailed ? pel_alloc(&runtime->allocator, sizeof *command->tail) : NULL;
        status = command->slices && (command->tail || !tailed) ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    if (status != PEL_OK) {
        pel_plan_result_free(&runtime->allocator, &result);
        pel_command_fail(command, status, error);
        return status;
    }
    if (command->tail) {
        *command->tail = result.tail;
    }
    memcpy(command->slices, pel_plan_slices(&result), result.slice_count * sizeof *command->slices);
    pel_plan_result_free(&runtime->allocator, &result);
    command->slice_count = command->planned = result.slice_count;
    command->expected_ns = result.expected_ns;
    command->together_probe = result.together_probe;
    command->variant_probe = result.variant_probe;
    *exploring = command->explores = result.exploring;
    if (has_habits && !command->tail) {
        pel_habit_keep(command, &family, result.exploring);
        pel_repeat_keep(command, result.exploring);
    }
    atomic_fetch_add(&command->bound.kernel->launches, 1);
    return PEL_OK;
}

typedef struct gather {
    pel_runtime *runtime;
    pel_uses needed;
    pel_allocation *allocation;
    bool failed;
} gather;

static bool gather_missing(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    gather *g = user;
    if (!pel_places_at_home(places)) {
        g->failed = !pel_uses_add(&g->runtime->allocator, &g->needed, g->allocation, lo, hi, PEL_READ);
    }
    return !g->failed;
}

/* What must be in host memory before a device can start with [lo, hi): its inputs that neither it nor the host has. */
static pel_status gather_for(pel_command *command, gather *g, const pel_device *device, uint64_t lo, uint64_t hi) {
    pel_footprint footprint = {0};
    pel_status status = PEL_OK;
    pel_span span;
    /* A protected launch may run again elsewhere, so it begins with all its inputs in host memory. */
    const uint32_t place = command->protection >= PEL_PROTECT_RETRY ? 0 : device->place;
    const bool streams = pel_stream_needed(&command->bound, device);
    pel_bound_span(&command->bound, lo, hi, &span);
    for (uint32_t i = 0; i < command->bound.arg_count && status == PEL_OK; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        if (!arg->allocation) {
            continue;
        }
        g->allocation = arg->allocation;
        bool through = streams && pel_stream_windowed(&command->bound, i);
        uint32_t where = through || arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE ? 0 : place;
        if (where == 0 && pel_interval_map_is_empty(arg->allocation->residency)) { /* all of it is at home */
            continue;
        }
        status = pel_footprint_query(&command->bound, &span, i, &footprint);
        for (uint32_t k = 0; k < footprint.reads.count && status == PEL_OK; k++) {
            pel_allocation_missing(arg->allocation, where, arg->offset + footprint.reads.data[k].lo,
                                   arg->offset + footprint.reads.data[k].hi, gather_missing, g);
            status = g->failed ? PEL_OUT_OF_MEMORY : PEL_OK;
        }
    }
    pel_footprint_free(&command->runtime->allocator, &footprint);
    return status;
}

/* For all slices, and for whoever may take whichever piece of the tail. */
static pel_status gather_needed(pel_command *command, gather *g) {
    const pel_device *devices = command->runtime->devices;
    const pel_tail *tail = command->tail;
    pel_status status = PEL_OK;
    uint64_t asked = 0;
    for (uint32_t s = 0; s < command->slice_count && status == PEL_OK; s++) {
        status = gather_for(command, g, &devices[command->slices[s].device], command->slices[s].lo, command->slices[s].hi);
    }
    for (uint32_t i = 0; tail && i < tail->count && status == PEL_OK; i++) {
        const pel_device *device = &devices[tail->devices[i].device];
        if (device->place >= PEL_PLACE_BITS || (asked >> device->place & 1u) == 0) {
            asked |= device->place < PEL_PLACE_BITS ? 1ull << device->place : 0;
            status = gather_for(command, g, device, tail->lo, tail->hi);
        }
    }
    return status;
}

pel_status pel_launch_start(pel_command *command, bool *stalled) {
    if (!command->slices) { /* else it was planned already and had stalled */
        bool exploring;
        pel_status status = pel_launch_plan_now(command, &exploring);
        if (status != PEL_OK) {
            return status;
        }
    }
    if (pel_repeat_is_home(command)) {
        return PEL_OK;
    }
    gather g = {.runtime = command->runtime};
    pel_status status = pel_launch_claim(command, &g.needed, stalled, &command->makes_room);
    if (status != PEL_OK || *stalled) {
        pel_uses_free(&command->runtime->allocator, &g.needed);
        return status;
    }
    status = command->makes_room ? PEL_OK : gather_needed(command, &g);
    if (status == PEL_OK) {
        status = pel_fetch_home(command, &g.needed, stalled);
    } else {
        pel_command_fail(command, status, NULL);
    }
    pel_uses_free(&command->runtime->allocator, &g.needed);
    return status;
}

/* A first one that its device could not even take is never over (queue/retry.c). */
static uint32_t first_there(const pel_command *command, uint32_t slice) {
    return pel_slice_is_second(command, slice) && command->jobs[0].work.status == PEL_OK ? 1 : 0;
}

pel_status pel_launch_run(pel_command *command) {
    pel_error *error = NULL;
    pel_metering_look(command->runtime);
    command->processor_ns = pel_calm_begin(command);
    pel_begins_note(command);
    if (pel_repeat_run(command)) {
        return PEL_OK;
    }
    if (command->part_of && pel_graph_row_run(command)) {
        return command->status;
    }
    command->job_limit = command->slice_count + pel_tail_pieces(command->tail);
    command->jobs = pel_alloc_zero(&command->runtime->allocator, command->job_limit, sizeof *command->jobs);
    pel_status status = command->jobs ? pel_verify_prepare(command) : PEL_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < command->slice_count && status == PEL_OK; i++) {
        pel_device *device = &command->runtime->devices[command->slices[i].device];
        command->jobs[i] = (pel_job){.command = command,
                                     .device = device,
                                     .data_parallel = true,
                                     .sampled = pel_verify_samples(command, device),
                                     .done = command->tail ? pel_launch_chunk_done : NULL};
        command->jobs[i].second = first_there(command, i);
        command->job_count++;
        status = pel_retry_build(&command->jobs[i], &command->slices[i], &error);
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    } else {
        pel_launch_drain(command);
        pel_repeat_built(command);
        pel_graph_row_built(command);
        command->built = pel_clock_now(command->runtime->clock);
    }
    pel_launch_tail_begin(command);
    return status;
}
