/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results drained early: what a launch that is already submitted will want from a device of this one goes home behind the chunk
 * that computes it.
 *
 * The problem: a stencil on two devices with memory of their own needs a row of each on the other. Fetched when the next launch
 * finds it missing, that row costs a work of its own: a report, a submission, and a link's latency, each iteration, while both
 * devices stand still. So when the chunks of a launch are built, the launches that wait for it are looked at: what they will read
 * elsewhere of what a chunk writes becomes a transfer of that chunk's work. The invariant: residency stays what it is, a copy
 * more in host memory; nobody relies on it, and a guess that was wrong costs bytes, never a result. The guess is that a launch of
 * the same range is divided as this one, which holds for fixed shares and mostly for learned ones; others are fetched when their
 * turn comes, as ever. Rejected: planning the next launch ahead, whose inputs and models are not known yet; draining all that is
 * written, which would move whole grids for one row.
 */
#include "queue/command.h"
#include "queue/retry.h"
#include "queue/stream.h"

typedef struct drain {
    pel_command *command;
    pel_footprint footprint;
    bool failed; /* no memory: what is missing is fetched later */
} drain;

static bool may_drain(const pel_job *job) {
    return job->device->place != 0 && !job->stream && !job->superseded && !job->vote && !job->sampled;
}

/* A retry begins with what host memory has: of what is read and written in place that must stay as it was (retry.c). */
static bool must_stay(const pel_command *command, const pel_allocation *allocation) {
    bool stays = false;
    for (uint32_t i = 0; i < command->bound.arg_count && command->protection >= PEL_PROTECT_RETRY; i++) {
        stays = stays || (command->bound.args[i].allocation == allocation && pel_retry_must_save(&command->bound, i));
    }
    return stays;
}

/* Of [lo, hi), read elsewhere: what this job will have written. */
static void note_part(drain *d, pel_job *job, const pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    for (uint32_t i = 0; i < job->written.count && !d->failed; i++) {
        const pel_use *use = &job->written.data[i];
        const uint64_t from = use->lo > lo ? use->lo : lo, to = use->hi < hi ? use->hi : hi;
        if (use->allocation == allocation && from < to) {
            d->failed = !pel_uses_add(&d->command->runtime->allocator, &job->drained, use->allocation, from, to, PEL_READ);
        }
    }
}

static void note_slice(drain *d, const pel_command *after, const pel_plan_slice *slice) {
    const pel_bound *bound = &after->bound;
    const uint32_t place = d->command->runtime->devices[slice->device].place;
    pel_span span;
    pel_bound_span(bound, slice->lo, slice->hi, &span);
    for (uint32_t i = 0; i < bound->arg_count && !d->failed; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        if (!arg->allocation || must_stay(d->command, arg->allocation) ||
            arg->param == PEL_PARAM_KIND_CUSTOM) { /* the caller's function is asked once a launch, not for guesses */
            continue;
        }
        d->failed = pel_footprint_query(bound, &span, i, &d->footprint) != PEL_OK;
        for (uint32_t k = 0; k < d->footprint.reads.count && !d->failed; k++) {
            const pel_interval *part = &d->footprint.reads.data[k];
            for (uint32_t j = 0; j < d->command->job_count; j++) {
                pel_job *job = &d->command->jobs[j];
                if (may_drain(job) && job->device->place != place) {
                    note_part(d, job, arg->allocation, arg->offset + part->lo, arg->offset + part->hi);
                }
            }
        }
    }
}

/* Divided as this one, as far as can be known before it is planned. */
static bool is_alike(const pel_command *command, const pel_command *after) {
    bool alike = after->kind == PEL_COMMAND_LAUNCH && after->phase == PEL_PHASE_WAITING && after->asked < PEL_PROTECT_RETRY &&
                 after->bound.units == command->bound.units && after->bound.granularity == command->bound.granularity &&
                 after->share_count == command->share_count && !after->bound.single;
    for (uint32_t i = 0; i < command->share_count && alike; i++) {
        alike = after->shares[i].device == command->shares[i].device && after->shares[i].weight == command->shares[i].weight;
    }
    return alike;
}

static void look_at(pel_node *to, void *user) {
    drain *d = user;
    const pel_command *after = pel_node_kind_of(to) == PEL_NODE_COMMAND ? to->hazard.user : NULL;
    if (after && is_alike(d->command, after)) {
        for (uint32_t s = 0; s < d->command->slice_count && !d->failed; s++) {
            note_slice(d, after, &d->command->slices[s]);
        }
    }
}

void pel_launch_drain(pel_command *command) {
    drain d = {.command = command};
    bool any = false;
    for (uint32_t j = 0; j < command->job_count; j++) {
        any = any || may_drain(&command->jobs[j]);
    }
    if (!any || command->job_count < 2 || command->protection == PEL_PROTECT_ISOLATE || command->tail) {
        return;
    }
    pel_node_visit(command->node, look_at, &d);
    for (uint32_t j = 0; j < command->job_count; j++) {
        pel_job_bring_home(&command->jobs[j]);
    }
    pel_footprint_free(&command->runtime->allocator, &d.footprint);
}
