/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: a launch that is not isolated may hang, and whoever waits for it drives its device, so hangs with it, inside the
 * driver. Somebody who destroys a queue wants to get away from that. But what hangs is not over: its driver may still write to
 * the launch's memory, and nothing that it points to may be freed.
 *
 * So the wait before a queue is destroyed looks, and drives nothing (driver threads and workers do), until nothing is under
 * way, or a launch has had the time that isolation would have given it, 10 s at least. Then the queue stays, with its commands,
 * their buffers and its runtime: left on purpose, since to free them would be a write into memory that is another's by then.
 * Later the same call may succeed. The invariant: an answer of BUSY has changed nothing. Time runs from the last work of the
 * runtime that came back, as commands on a device wait for each other; what the thread sleeps longer than asked for does not
 * count (a stopped process). Rejected: to abandon the jobs as isolation does, whose outputs are private: here a late write would
 * land in bytes that the caller believes to have again.
 */
#include "queue/hung.h"
#include "queue/isolate.h"
#include <time.h>

enum { FIRST_NAP_NS = 20000, LONGEST_NAP_NS = 5000000 };

/* Nobody else can do its chunks, so there is time: a crowded machine may be late by more than the second that isolation gives. */
static const int64_t least_ns = 10000000000;

static int64_t allowance(const pel_job *job) {
    const int64_t isolated = pel_isolate_allowance(job);
    return isolated > least_ns || job->command->deadline_ns > 0 ? isolated : least_ns;
}

/* It is with its device, and nobody else watches it: isolated ones are given up by their own deadline, which forgives more. */
static bool may_hang(const pel_job *job) {
    return !job->over && atomic_load(&((pel_job *)(uintptr_t)job)->isolation) == PEL_ISOLATION_NONE;
}

/* Of the queue's works that have begun, the one that may take longest: they may wait for each other. NULL: there is none. */
static const pel_job *slowest(const pel_queue *queue, int64_t *began) {
    const pel_job *found = NULL;
    for (const pel_command *command = queue->first; command; command = command->after) {
        const bool runs = command->kind == PEL_COMMAND_LAUNCH && command->phase == PEL_PHASE_RUNNING;
        for (uint32_t i = 0; runs && i < command->job_count; i++) {
            const pel_job *job = &command->jobs[i];
            const int64_t started = atomic_load(&((pel_job *)(uintptr_t)job)->work.started);
            if (started != 0 && may_hang(job) && (!found || allowance(job) > allowance(found))) {
                found = job;
                *began = started;
            }
        }
    }
    return found;
}

static void tell(pel_queue *queue, const pel_job *job) {
    pel_runtime *runtime = queue->runtime;
    const char *device = job->device->facts->info.id, *name = job->command->name;
    pel_story story = {.device = device,
                       .advice = "the queue was not destroyed, because the device may still write to the launch's memory: leave "
                                 "all of it, or try again; isolated launches (PEL_PROTECT_ISOLATE) are given up for good"};
    pel_error_destroy(queue->refused);
    queue->refused = NULL;
    pel_fail(&queue->refused, &runtime->allocator, PEL_BUSY, &story, "%s has not ended %s for %lld ms, nor anything else", device,
             name ? name : "a launch", (long long)(allowance(job) / 1000000));
    pel_log(&runtime->logger, PEL_LOG_WARNING, "pel_queue_destroy: %s", pel_error_message(queue->refused));
}

pel_status pel_queue_outlast(pel_queue *queue) {
    pel_runtime *runtime = queue->runtime;
    uint64_t returned = UINT64_MAX;
    int64_t since = 0, nap = FIRST_NAP_NS;
    if (runtime->machine || pel_inside_task(runtime)) {
        return PEL_OK; /* a virtual machine stops when nothing will happen; a task's own wait is another one */
    }
    for (;;) {
        int64_t began = 0;
        pthread_mutex_lock(&runtime->lock);
        const int64_t now = pel_clock_now(runtime->clock);
        if (!queue->first || pel_mapping_blocks_queue(queue)) {
            pthread_mutex_unlock(&runtime->lock);
            return PEL_OK;
        }
        since = runtime->dispatcher->returned != returned ? now : since;
        returned = runtime->dispatcher->returned;
        const pel_job *job = slowest(queue, &began);
        const bool hangs = job && now - (began > since ? began : since) > allowance(job);
        if (hangs) {
            tell(queue, job);
        }
        pthread_mutex_unlock(&runtime->lock);
        if (hangs) {
            return PEL_BUSY;
        }
        const struct timespec time = {.tv_nsec = nap};
        (void)nanosleep(&time, NULL);
        const int64_t late = pel_clock_now(runtime->clock) - now - nap;
        since += late > 2 * LONGEST_NAP_NS ? late : 0;
        nap = nap < LONGEST_NAP_NS ? nap + nap / 4 : LONGEST_NAP_NS;
    }
}
