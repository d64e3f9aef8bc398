/* SPDX-License-Identifier: BSD-3-Clause */
/* One vote for a chunk: who computes it, the kernel's own check, and what it agrees with. */
#include "queue/vote.h"
#include "queue/isolate.h"
#include <stdio.h>
#include <string.h>

/* ---- votes ---- */

void pel_vote_free(pel_runtime *runtime, pel_vote *vote) {
    pel_job_clear(&vote->job);
    pel_uses_free(&runtime->allocator, &vote->written);
    pel_free(&runtime->allocator, vote);
}

static pel_vote *new_vote(pel_checking *c, pel_device *device) {
    pel_command *command = c->command;
    pel_vote *vote = pel_alloc_zero(&command->runtime->allocator, 1, sizeof *vote);
    if (vote) {
        vote->of = c;
        vote->job = (pel_job){.command = command, .device = device, .vote = vote};
    }
    return vote;
}

static void enter(pel_checking *c, pel_vote *vote) {
    struct pel_verify *v = c->command->verify;
    vote->next = v->round;
    v->round = vote;
}

void pel_verify_note_why_not(pel_checking *c, const char *why) {
    struct pel_verify *v = c->command->verify;
    v->why_not = v->why_not ? v->why_not : pel_strdup(&c->command->runtime->allocator, why);
}

static bool begin_vote(pel_checking *c, pel_device *device) {
    pel_command *command = c->command;
    pel_runtime *runtime = command->runtime;
    pel_error *error = NULL;
    pel_vote *vote = new_vote(c, device);
    pel_plan_slice slice = command->slices[c->job];
    pel_status status = vote ? PEL_OK : PEL_OUT_OF_MEMORY;
    if (status == PEL_OK) {
        vote->job.data_parallel = true;
        slice.device = device->index;
        slice.predicted_ns = pel_launch_predict(runtime, &command->bound, device, slice.hi - slice.lo);
        status = pel_chunk_build(&vote->job, &slice, &error);
    }
    if (status != PEL_OK) {
        pel_verify_note_why_not(c, error ? pel_error_message(error) : pel_status_text(status));
        pel_error_destroy(error);
        if (vote) {
            pel_vote_free(runtime, vote);
        }
        return false;
    }
    vote->written = vote->job.written; /* nowhere but in its own memory */
    vote->job.written = (pel_uses){0};
    vote->number = c->votes.count++;
    c->vote[vote->number] = vote;
    c->votes.device[vote->number] = device->index;
    pel_device_set_add(&command->verify->voters, device->index);
    enter(c, vote);
    return true;
}

/* A device that may vote on the chunk, or NULL. */
static pel_device *next_voter(pel_checking *c) {
    const pel_command *command = c->command;
    const pel_runtime *runtime = command->runtime;
    double *load = command->verify->load;
    uint32_t *votes = command->verify->votes;
    memset(load, 0, runtime->device_count * (sizeof *load + sizeof *votes));
    const uint32_t own = c->votes.device[0];
    for (uint32_t i = 0; i < c->votes.count; i++) {
        votes[c->votes.device[i]]++;
    }
    for (const pel_vote *vote = command->verify->round; vote; vote = vote->next) {
        load[vote->job.device->index] += vote->job.work.predicted_ns;
    }
    c->votes.alone = true;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        c->votes.alone = c->votes.alone && (i == own || pel_device_set_has(&c->failed, i) ||
                                            !pel_voter_may(&command->bound, &runtime->devices[i], command->protection));
    }
    for (uint32_t i = 1; i < c->votes.count; i++) {
        c->votes.alone = c->votes.alone && !(c->votes.counts[i] && c->votes.device[i] != own);
    }
    pel_device *voter = NULL;
    /* else the others went since; that it agrees with itself is not what was asked for */
    if (!c->votes.alone || c->votes.checked || (command->bound.verification.flags & PEL_VERIFY_SAME_DEVICE) != 0) {
        voter = pel_voter_choose(runtime, &command->bound, command->protection, votes,
                                 c->votes.alone ? PEL_VOTER_THRICE : PEL_VOTER_TWICE, &c->failed,
                                 command->slices[c->job].hi - command->slices[c->job].lo, load);
    }
    return voter;
}

bool pel_vote_begin(pel_checking *c) {
    if (c->votes.count == PEL_VERDICT_VOTES) {
        char why[96];
        (void)snprintf(why, sizeof why, "it was computed %d times, and votes for a chunk end there", PEL_VERDICT_VOTES);
        pel_verify_note_why_not(c, why);
        return false;
    }
    for (pel_device *device; (device = next_voter(c)) != NULL;) {
        if (begin_vote(c, device)) {
            return true;
        }
        pel_device_set_add(&c->failed, device->index);
    }
    return false;
}

/* ---- the kernel's own check ---- */

/* Arguments as the host variant gets them, with the results that `job` has. The caller's function may not wait, whichever
 * thread this is: like a loop's piece. */
static bool passes_check(const pel_checking *c, const pel_job *job, const pel_span *span) {
    pel_command *command = c->command;
    const pel_bound *bound = &command->bound;
    pel_frame frame = {.runtime = command->runtime, .node = command->node, .command = command, .loop = true};
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        void *private = pel_private_data(job, i); /* also a cancel flag */
        c->arguments[i] = private ? private
                          : arg->allocation ? pel_isolate_data(job, arg->allocation, arg->offset)
                                            : (void *)(uintptr_t)arg->value;
    }
    pel_frame_enter(&frame);
    const pel_status status = bound->kernel->image.check(span, c->arguments, bound->kernel->image.user);
    pel_frame_leave(&frame);
    return status == PEL_OK;
}

static pel_status run_check(void *context) {
    const pel_vote *vote = context;
    pel_checking *c = vote->of;
    const pel_job *job = &c->command->jobs[c->job];
    c->votes.passes[0] = passes_check(c, job, &job->work.span);
    return PEL_OK;
}

bool pel_check_begin(pel_checking *c) {
    pel_vote *vote = new_vote(c, c->command->runtime->task_device);
    if (!vote) {
        pel_command_fail(c->command, PEL_OUT_OF_MEMORY, NULL);
        return false;
    }
    vote->task = true;
    vote->job.work.kind = PEL_WORK_TASK;
    vote->job.work.task = run_check;
    vote->job.work.context = vote;
    vote->number = UINT32_MAX;
    enter(c, vote);
    return true;
}

/* ---- comparing ---- */

static const pel_job *job_of(const pel_checking *c, uint32_t vote) {
    return vote == 0 ? &c->command->jobs[c->job] : &c->vote[vote]->job;
}

static void note_difference(pel_checking *c, const pel_allocation *allocation, uint64_t at) {
    const pel_bound *bound = &c->command->bound;
    for (uint32_t i = 0; i < bound->arg_count && c->argument == UINT32_MAX; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        if (arg->allocation == allocation && bound->kernel->image.params[i].mode != PEL_READ && at >= arg->offset &&
            at < arg->offset + arg->bytes) {
            c->argument = i;
            c->byte = at - arg->offset;
        }
    }
}

static bool equal_privates(pel_checking *c, const pel_job *a, const pel_job *b) {
    const pel_bound *bound = &c->command->bound;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_param *param = &bound->kernel->image.params[i];
        const void *x = pel_private_data(a, i), *y = pel_private_data(b, i);
        uint64_t first;
        if (x && y && !pel_verdict_equal(&bound->verification, x, y, param->num * param->bytes, &first)) {
            if (c->argument == UINT32_MAX) {
                c->argument = i;
                c->byte = first;
            }
            return false;
        }
    }
    return true;
}

static bool equal(pel_checking *c, const pel_vote *vote, uint32_t with) {
    const pel_job *a = &vote->job, *b = job_of(c, with);
    uint64_t first;
    for (uint32_t i = 0; i < vote->written.count; i++) {
        const pel_use *use = &vote->written.data[i];
        if (!pel_verdict_equal(&c->command->bound.verification, pel_isolate_data(a, use->allocation, use->lo),
                               pel_isolate_data(b, use->allocation, use->lo), use->hi - use->lo, &first)) {
            note_difference(c, use->allocation, use->lo + first);
            return false;
        }
    }
    return equal_privates(c, a, b);
}

void pel_verify_compare(pel_vote *vote) {
    pel_checking *c = vote->of;
    if (vote->task || vote->job.work.status != PEL_OK) {
        return;
    }
    if (c->votes.checked) {
        c->votes.passes[vote->number] = passes_check(c, &vote->job, &vote->job.work.span);
        (void)equal(c, vote, 0); /* where the difference is, for the story */
        return;
    }
    for (uint32_t k = 0; k < vote->number; k++) {
        if (c->votes.counts[k] && equal(c, vote, k)) {
            c->votes.agrees[k] |= 1u << vote->number;
            c->votes.agrees[vote->number] |= 1u << k;
        }
    }
}
