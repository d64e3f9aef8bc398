/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks of a launch that begin while it runs: the pieces of a held-back tail (planner/tail.h).
 *
 * A chunk that ends makes its device free; all free devices of the plan are asked, the one that has just ended first, and what
 * they take becomes another job of the command. The command's list of jobs was made long enough when it started, because jobs
 * that run must not move. A device that something else keeps busy is asked only when nobody else works for the launch any more.
 * Invariant: a command whose tail is not empty has a job outstanding, or has failed.
 *
 * A device that cannot even take a piece of a protected launch has failed it: the piece runs again elsewhere when all others are
 * over (retry.c), and so does all that is left when nobody took anything.
 */
#include "planner/plan.h"
#include "queue/begins.h"
#include "queue/command.h"
#include "queue/groups.h"
#include "queue/retry.h"

/*
 * Between a chunk and the piece that follows it on its device lie a report, a plan and a start, which no line knows of: 20 to
 * 100 us on two vCPUs (bench coexec with PEL_BENCH_PLANS=1, 2026-11), more than a piece of a launch of a millisecond can bring. A
 * simulated machine's dispatcher takes no time: there a piece comes as late as every begin. What else they wait for is other
 * queues' chunks: learned without a guess to begin from, one of 20 ms was enough that no tail was held any more.
 */
static const double gap_guess_ns = 50e3, gap_weight = 0.125, gap_news = 8.0;

double pel_piece_gap_ns(const pel_device *device) {
    if (device->facts->info.kind == PEL_DEVICE_SIMULATED) {
        return pel_begins_ns(device);
    }
    return device->piece_gap_ns > 0.0 ? device->piece_gap_ns : gap_guess_ns;
}

/* One that waited for its core for milliseconds tells little. */
static void learn_gap(const pel_job *job) {
    pel_device *device = job->device;
    const double known = pel_piece_gap_ns(device), seen = (double)(job->work.began - job->after);
    if (job->after > 0 && job->work.status == PEL_OK && seen > 0.0 && !job->command->runtime->frozen) {
        device->piece_gap_ns = known + gap_weight * ((seen < gap_news * known ? seen : gap_news * known) - known);
    }
}

/* Makes a slice the command's next job. */
static pel_status append(pel_command *command, const pel_plan_slice *slice) {
    pel_error *error = NULL;
    if (command->job_count >= command->job_limit) {
        pel_command_fail(command, PEL_INTERNAL, NULL);
        return PEL_INTERNAL;
    }
    command->slices[command->slice_count++] = *slice;
    pel_job *job = &command->jobs[command->job_count++];
    *job = (pel_job){.command = command,
                     .device = &command->runtime->devices[slice->device],
                     .data_parallel = true,
                     .done = pel_launch_chunk_done};
    pel_status status = pel_plan_add_chunk(command->plan, job->device->facts->info.id, slice, command->bound.units);
    status = status == PEL_OK ? pel_retry_build(job, slice, &error) : status;
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    }
    return status;
}

static bool is_free(const pel_command *command, uint32_t device) {
    const pel_device *of = &command->runtime->devices[device];
    return !of->lost && of->running == 0;
}

/* The device takes a piece if it wants one, or must. False: the launch has failed. */
static bool give(pel_command *command, pel_tail *tail, uint32_t device, double now, const pel_job *ended, bool must) {
    pel_tail_piece piece;
    if (!pel_tail_next(tail, device, now, must, &piece)) {
        return true;
    }
    pel_plan_slice slice = {.device = device,
                            .lo = piece.lo,
                            .hi = piece.hi,
                            .predicted_ns = piece.predicted_ns,
                            .group = pel_groups_planned(command, device)};
    if (append(command, &slice) != PEL_OK) {
        return false;
    }
    pel_job *job = &command->jobs[command->job_count - 1];
    job->after = ended->device == job->device ? ended->work.ended : 0;
    if (job->work.status != PEL_OK) {
        pel_tail_refuse(tail, device);
        return true;
    }
    pel_tail_begin(tail, &piece, now);
    command->outstanding++;
    pel_job_submit_next(job);
    return true;
}

void pel_launch_chunk_done(pel_job *job) {
    pel_command *command = job->command;
    pel_tail *tail = command->tail;
    const pel_work *work = &job->work;
    double now = (double)pel_clock_now(command->runtime->clock);
    if (!tail) {
        return;
    }
    learn_gap(job);
    pel_tail_end(tail, job->device->index, work->status != PEL_OK || work->cold ? 0.0 : (double)(work->ended - work->began));
    if (work->status != PEL_OK) {
        pel_tail_refuse(tail, job->device->index); /* it may run again elsewhere (retry.c) */
    }
    if (command->status != PEL_OK) {
        return;
    }
    bool good = !is_free(command, job->device->index) || give(command, tail, job->device->index, now, job, false);
    for (uint32_t i = 0; i < tail->count && good; i++) {
        good = !is_free(command, tail->devices[i].device) || give(command, tail, tail->devices[i].device, now, job, false);
    }
    if (good && pel_tail_left(tail) && command->outstanding == 1) { /* this job is still counted */
        good = give(command, tail, job->device->index, now, job, true);
    }
    for (uint32_t i = 0; i < tail->count && good && pel_tail_left(tail) && command->outstanding == 1; i++) {
        good = give(command, tail, tail->devices[i].device, now, job, true);
    }
    if (good && command->outstanding == 1) {
        pel_launch_tail_forfeit(command, job->device);
    }
}

void pel_launch_tail_forfeit(pel_command *command, const pel_device *device) {
    pel_tail *tail = command->tail;
    if (!tail || !pel_tail_left(tail) || command->status != PEL_OK) {
        return;
    }
    const pel_plan_slice slice = {.device = device->index, .lo = tail->at, .hi = tail->hi};
    if (append(command, &slice) == PEL_OK) {
        pel_job *job = &command->jobs[command->job_count - 1];
        if (command->protection < PEL_PROTECT_RETRY) {
            pel_command_fail(command, PEL_INTERNAL, NULL); /* an unprotected launch fails before it comes to this */
        } else if (job->work.status == PEL_OK) {
            job->work.status = PEL_DEVICE_FAILED;
        }
        tail->at = tail->hi;
    }
}

void pel_launch_tail_begin(pel_command *command) {
    pel_tail *tail = command->tail;
    double now = (double)pel_clock_now(command->runtime->clock);
    for (uint32_t i = 0; i < command->slice_count && tail; i++) {
        const pel_plan_slice *slice = &command->slices[i];
        const pel_tail_piece first = {slice->device, slice->lo, slice->hi, slice->predicted_ns};
        pel_tail_begin(tail, &first, now);
    }
}
