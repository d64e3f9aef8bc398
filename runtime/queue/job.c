/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs become works of backends, and come back: with their results, or with what went wrong. */
#include "queue/command.h"
#include "queue/graph_rows.h"
#include "queue/isolate.h"
#include "queue/retry.h"
#include "queue/verify.h"
#include "resilience/health.h"

/*
 * What only the lost device held stays marked as held by it alone: whoever needs these bytes, now or in a command that waits
 * already, fails to fetch them (moves.c), and whoever overwrites them makes them valid again. Old bytes are never taken for them.
 */
static void lose_device(pel_device *device, const pel_error *why) {
    device->lost = true;
    pel_log(&device->runtime->logger, PEL_LOG_WARNING, "%s is lost: %s", device->facts->info.id, pel_error_message(why));
}

/* The backend's story, with the command's name in front. */
pel_error *pel_job_story(const pel_job *job) {
    pel_error *error = NULL;
    const pel_error *why = pel_job_verdict_error(job);
    const pel_status verdict = pel_job_verdict(job), status = verdict != PEL_OK ? verdict : PEL_DEVICE_LOST; /* it went later */
    pel_story story = {pel_error_device(why), pel_error_call(why), pel_error_code(why), pel_error_advice(why),
                       pel_error_build_log(why)};
    const char *name = pel_graph_row_name(job->command);
    pel_fail(&error, &job->command->runtime->allocator, status, &story, "%s: %s", name ? name : "command",
             why ? pel_error_message(why) : pel_status_text(status));
    return error;
}

/* False: it is not to be taken in: whoever watches isolated works has it. Without the lock. */
static bool returns(pel_job *job) {
    if (!pel_isolate_returns(job)) {
        return false;
    }
    if (job->vote) {
        pel_verify_compare(job->vote);
    }
    return true;
}

static void take_in(pel_job *job) {
    pel_work *work = &job->work;
    pel_command *command = job->command;
    pel_runtime *runtime = command->runtime;
    runtime->dispatcher->returned++;
    command->queue->on_device[job->device->index] -= work->alone ? 0u : 1u;
    job->device->running -= job->data_parallel ? 1u : 0u;
    pel_fair_ended(job);
    if (work->status == PEL_DEVICE_LOST && !job->device->lost) {
        lose_device(job->device, work->error);
    }
    if (work->kind == PEL_WORK_LAUNCH) {
        pel_health_note(job->device, work->status, work->error, runtime->clock);
    } else if (work->status != PEL_OK && pel_retry_at_once(job)) {
        pel_job_submit(job);
        runtime->dispatcher->news = true;
        return;
    }
    if (work->status == PEL_OK) {
        pel_job_apply(job);
    } else if (!job->vote && !command->recalled && !pel_retry_takes(job)) {
        pel_command_fail(command, work->status, pel_job_story(job));
    }
    if (work->status != PEL_OK) {
        pel_recall_begin(job);
    }
    if (job->done) {
        job->done(job);
    }
    pel_chain_job_over(job);
    if (--command->outstanding == 0 && !pel_recall_takes(command) && !pel_chain_holds(command)) {
        pel_command_phase_over(command);
    }
    if (runtime->dispatcher->broken) {
        pel_recall_look(runtime);
    }
}

static void go_on(pel_runtime *runtime) {
    const pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, dispatcher->news || dispatcher->restless > 0 ||
                                       atomic_load_explicit(&dispatcher->inside, memory_order_relaxed) > 0);
}

static void job_complete(pel_work *work) {
    pel_job *job = work->owner;
    pel_runtime *runtime = job->command->runtime;
    if (returns(job)) {
        pthread_mutex_lock(&runtime->lock);
        take_in(job);
        go_on(runtime);
    }
}

/* One look at the clock for all of them. */
static void jobs_complete(pel_work **works, uint32_t count) {
    pel_runtime *runtime = ((pel_job *)works[0]->owner)->command->runtime;
    for (uint32_t i = 0; i < count; i++) {
        works[i] = returns(works[i]->owner) ? works[i] : NULL;
    }
    pthread_mutex_lock(&runtime->lock);
    runtime->dispatcher->moment = pel_clock_now(runtime->clock);
    for (uint32_t i = 0; i < count; i++) {
        if (works[i]) {
            take_in(works[i]->owner);
        }
    }
    go_on(runtime);
}

void pel_job_hand_over(pel_job *job) {
    pel_dispatcher *dispatcher = job->command->runtime->dispatcher;
    dispatcher->news = dispatcher->news || job->device->facts->info.kind == PEL_DEVICE_HOST; /* a waiter is a guest there */
    job->prompt = job->device->running == 0;
    job->device->running += job->data_parallel ? 1u : 0u;
    if (job->command->protection == PEL_PROTECT_ISOLATE && job->work.kind == PEL_WORK_LAUNCH) {
        pel_isolate_begin(job);
    }
    pel_chain_job_begun(job);
    job->command->queue->on_device[job->device->index] += job->work.alone ? 0u : 1u; /* no waiter helps with what may hang */
    const bool is_begun = job->device != &job->command->runtime->hidden_host;
    dispatcher->fresh |= is_begun ? pel_device_bit(job->device) : 0;
    job->work.soon = is_begun && dispatcher->submitting && !job->work.alone;
    job->device->driver->backend->submit(job->device->driver, &job->work);
}

/* By the device: from now on the prediction says nothing. */
static void note_compiling(pel_work *work) {
    atomic_store_explicit(&((pel_job *)work->owner)->compiling, true, memory_order_relaxed);
}

static void prepare(pel_job *job) {
    job->work.complete = job_complete;
    job->work.complete_all = jobs_complete;
    job->work.owner = job;
    job->work.priority = job->command->priority;
    job->work.compiling = note_compiling;
    atomic_store_explicit(&job->compiling, false, memory_order_relaxed);
}

void pel_job_submit_next(pel_job *job) {
    pel_dispatcher *dispatcher = job->command->runtime->dispatcher;
    prepare(job);
    pel_fair_prepend(dispatcher, job);
}

void pel_job_submit(pel_job *job) {
    pel_dispatcher *dispatcher = job->command->runtime->dispatcher;
    prepare(job);
    if (!job->data_parallel || pel_fair_at_once(dispatcher, job)) {
        pel_job_hand_over(job);
        return;
    }
    pel_fair_append(dispatcher, job);
}
