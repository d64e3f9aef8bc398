/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes of a launch: actual times and bytes for its plan, and lessons for the models.
 */
#include "core/metering.h"
#include "planner/plan.h"
#include "queue/command.h"
#include "queue/begins.h"
#include "queue/calm.h"
#include "queue/groups.h"
#include "queue/repeat.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include "queue/transfers.h"
#include "queue/isolate.h"

enum { FEW = 64 }; /* chunks that a lesson has room for itself, besides a tail's pieces */

static double compute_ns(const pel_work *work) {
    return (double)(work->step_count > 0 ? work->computed : work->launch_ended - work->launch_began);
}

/* What a chunk's bytes took, in and out; nothing where they moved while others were computed on. */
static void note_moves(const pel_job *job, pel_lesson_chunk *chunk) {
    const pel_work *work = &job->work;
    const bool in = work->in_count > 0, out = work->out_count > 0;
    if (job->device->place == 0 || work->step_count > 0 || (!in && !out)) {
        return;
    }
    chunk->memory = job->device->model_id;
    chunk->bytes = (double)(pel_transfers_bytes(work->in, work->in_count) + pel_transfers_bytes(work->out, work->out_count));
    chunk->move_ns = in ? (double)(work->launch_began - work->began) : 0;
    chunk->move_ns += out ? (double)(work->ended - work->launch_ended) : 0;
}

/* Hands what the chunks took to the models: the kernel's own times, and apart from them what moving their bytes took. */
static void learn(pel_command *command, double makespan_ns) {
    pel_lesson_chunk few[FEW + PEL_TAIL_PIECES], *chunks = few;
    /* one that was cancelled took less than it takes */
    if (command->status != PEL_OK || command->runtime->frozen || pel_repeat_taught(command)) {
        return;
    }
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        /* a share of several launches' time is not what one takes */
        if (job->superseded || job->work.status != PEL_OK || job->work.pooled) {
            return;
        }
    }
    if (command->job_count > FEW + PEL_TAIL_PIECES) {
        chunks = pel_alloc(&command->runtime->allocator, command->job_count * sizeof *chunks);
    }
    if (!chunks) {
        return; /* not learned, nothing broken */
    }
    pel_lesson lesson = {.units = command->bound.units,
                         .chunks = chunks,
                         .makespan_ns = makespan_ns,
                         .expected_ns = command->expected_ns,
                         .together_probe = command->together_probe,
                         .variant_probe = command->variant_probe,
                         .irregular = (command->bound.kernel->image.flags & PEL_KERNEL_IRREGULAR) != 0};
    const pel_tail *tail = command->tail;
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        chunks[lesson.chunk_count++] = (pel_lesson_chunk){.device = pel_groups_model(job->device, &job->work),
                                                          .lo = job->lo,
                                                          .hi = job->hi,
                                                          .ns = compute_ns(&job->work),
                                                          .cold = job->work.cold,
                                                          .piece = i >= command->planned && tail};
        note_moves(job, &chunks[lesson.chunk_count - 1]);
    }
    lesson.deprived = pel_calm_was_deprived(command);
    if (lesson.deprived) {
        pel_plan_set_deprived(command->plan);
    }
    lesson.family = pel_launch_family(&command->bound);
    command->runtime->dispatcher->lessons++;
    (void)pel_models_learn(command->runtime->models, &lesson); /* out of memory here: not learned, nothing broken */
    if (chunks != few) {
        pel_free(&command->runtime->allocator, chunks);
    }
}

static uint64_t uses_bytes(const pel_uses *uses) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < uses->count; i++) {
        bytes += uses->data[i].hi - uses->data[i].lo;
    }
    return bytes;
}

void pel_launch_done(pel_command *command) {
    int64_t first = INT64_MAX, last = 0;
    pel_plan_bytes bytes = {.moved = command->fetched};
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job *job = &command->jobs[i];
        const pel_work *work = &job->work;
        if (pel_job_verdict(job) == PEL_TIMED_OUT || (work->status != PEL_OK && work->ended == 0)) {
            continue; /* its device may still write there; or it never had it */
        }
        pel_plan_chunk chunk = {.began_ns = (double)(work->began - command->event->timing.began),
                                .actual_ns = (double)(work->ended - work->began),
                                .compute_ns = compute_ns(work),
                                .bytes_in = pel_transfers_bytes(work->in, work->in_count) + pel_stream_bytes(job, true),
                                .bytes_out = pel_transfers_bytes(work->out, work->out_count) + pel_stream_bytes(job, false),
                                .cold = work->cold};
        pel_plan_set_actual(command->plan, i, &chunk);
        job->device->busy_ns += chunk.actual_ns;
        first = work->began < first ? work->began : first;
        last = work->ended > last ? work->ended : last;
        if (work->status == PEL_OK && !work->cold && job->device->place != 0 && !command->runtime->frozen) {
            pel_link_learn(job->device, work->in_count, chunk.bytes_in, work->launch_began - work->began);
        }
        if (command->repeat && command->job_count == 1 && work->status == PEL_OK && !work->cold) {
            pel_repeat_saw(command, (double)(work->launch_ended - work->launch_began) / (work->times > 1 ? work->times : 1));
        }
        bytes.needed += job->needed;
        bytes.moved += job->device->place != 0 ? chunk.bytes_in + chunk.bytes_out : 0;
        bytes.saved += job->needed - uses_bytes(&job->copied_in) - (job->streamed_in.count > 0 ? job->streamed_needed : 0);
    }
    double makespan = last > first ? (double)(last - first) : 1.0;
    pel_plan_set_makespan(command->plan, makespan);
    pel_plan_set_bytes(command->plan, &bytes);
    learn(command, makespan);
    pel_begins_learn(command);
    pel_metering_look(command->runtime);
}
