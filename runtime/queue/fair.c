/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who computes next: data-parallel works that wait for their device.
 *
 * Order is by priority, then by what the queues have had: each queue has a clock that runs with the time of its works, divided by its weight, and the queue
 * whose clock is behind goes first (start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996). A queue that was idle begins where the others are. While one
 * queue alone has work, a device gets it as it comes, up to AHEAD_NS of it; as soon as two compete, no more than COMPETING works each, so that what waits can
 * still be put in order. Works of one queue for one device keep their order; one that is queued behind what it depends on (chain.c) overtakes nobody.
 *
 * Rejected: time slices (a work cannot be interrupted), and one list per device and queue (works are few, and the list is walked only when they compete).
 */
#include "queue/command.h"

enum { AT_LEAST = 32, COMPETING = 2, UNKNOWN_NS = 1000000, AHEAD_NS = 20000000 };

/* Cores are leased once: a data-parallel work starts only while no device that shares its cores computes. */
static bool cores_are_free(const pel_runtime *runtime, const pel_device *device) {
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        if ((device->overlaps >> i & 1u) != 0 && runtime->devices[i].running > 0) {
            return false;
        }
    }
    return (device->overlaps >> PEL_RUNTIME_DEVICE_LIMIT & 1u) == 0 || runtime->hidden_host.running == 0;
}

static double expected_ns(const pel_job *job) {
    return job->work.predicted_ns > 0 ? job->work.predicted_ns : job->command->queue->usual_ns > 0 ? job->command->queue->usual_ns : UNKNOWN_NS;
}

/* Whether its device has room for it: `competing` queues leave each other a say. */
static bool has_room(const pel_job *job, bool competing) {
    const pel_device *device = job->device;
    return competing ? device->running < 2 * COMPETING : device->running < AT_LEAST || device->queued_ns < AHEAD_NS;
}

static void charge(pel_job *job) {
    pel_dispatcher *dispatcher = job->command->runtime->dispatcher;
    pel_queue *queue = job->command->queue;
    if (queue->served < dispatcher->fair_clock && queue->computing == 0) {
        queue->served = dispatcher->fair_clock;
    }
    dispatcher->fair_clock = queue->served; /* it was the one that is behind */
    queue->computing++;
    job->expected_ns = expected_ns(job);
    job->device->queued_ns += job->expected_ns;
}

void pel_fair_given_up(pel_job *job) {
    if (job->data_parallel) {
        job->command->queue->computing--;
        job->device->queued_ns = job->device->running > 0 ? job->device->queued_ns - job->expected_ns : 0;
    }
}

/* Clocks run with what works took, never with what was expected of them. */
void pel_fair_ended(pel_job *job) {
    pel_queue *queue = job->command->queue;
    const double took = (double)(job->work.ended - job->work.began);
    pel_fair_given_up(job);
    if (job->data_parallel && took >= 0) {
        queue->served += took / queue->weight;
        queue->usual_ns += (took - queue->usual_ns) / (queue->usual_ns > 0 ? 8 : 1);
    }
}

/* With what it has under way. */
static double clock_of(const pel_queue *queue) { return queue->served + queue->computing * queue->usual_ns / queue->weight; }

static int32_t priority_of(const pel_job *job) { return job->command->priority; }

/* Two queues, or two priorities, among what waits. */
static bool they_compete(const pel_dispatcher *dispatcher) {
    const pel_job *first = dispatcher->first_job;
    for (const pel_job *job = first; job; job = job->next) {
        if (job->command->queue != first->command->queue || priority_of(job) != priority_of(first)) {
            return true;
        }
    }
    return false;
}

static void take_out(pel_dispatcher *dispatcher, pel_job **place, pel_job *before) {
    pel_job *job = *place;
    *place = job->next;
    if (dispatcher->last_job == job) {
        dispatcher->last_job = before;
    }
    charge(job);
    pel_job_hand_over(job);
}

/* In order: a job that must wait for cores keeps later ones off them, so that nobody starves. */
static void submit_in_order(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    uint64_t claimed = 0; /* devices whose cores an earlier job waits for */
    pel_job *before = NULL;
    for (pel_job **place = &dispatcher->first_job; *place;) {
        pel_job *job = *place;
        if ((claimed >> job->device->index & 1u) != 0 || !cores_are_free(runtime, job->device) || !has_room(job, false)) {
            claimed |= job->device->overlaps | 1ull << job->device->index;
            before = job;
            place = &job->next;
            continue;
        }
        take_out(dispatcher, place, before);
    }
}

/* Whether an earlier one of its queue, or any that it may depend on, waits for the same device. */
static bool is_behind(const pel_dispatcher *dispatcher, const pel_job *job) {
    for (const pel_job *before = dispatcher->first_job; before != job; before = before->next) {
        const bool same = before->command->queue == job->command->queue && priority_of(before) >= priority_of(job);
        if (before->device == job->device && (same || job->command->early)) {
            return true;
        }
    }
    return false;
}

static bool is_better(const pel_job *a, const pel_job *b) {
    if (priority_of(a) != priority_of(b)) {
        return priority_of(a) > priority_of(b);
    }
    return clock_of(a->command->queue) < clock_of(b->command->queue);
}

/* The best of those that have not been looked at in this round. */
static pel_job **find_best(pel_dispatcher *dispatcher, pel_job **before) {
    pel_job **best = NULL, *last = NULL;
    for (pel_job **place = &dispatcher->first_job; *place; place = &(*place)->next) {
        if (!(*place)->passed_over && (!best || is_better(*place, *best)) && !is_behind(dispatcher, *place)) {
            best = place;
            *before = last;
        }
        last = *place;
    }
    return best;
}

static bool submit_best(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    uint64_t claimed = 0;
    pel_job *before = NULL;
    for (pel_job *job = dispatcher->first_job; job; job = job->next) {
        job->passed_over = false;
    }
    for (pel_job **best; (best = find_best(dispatcher, &before)) != NULL;) {
        pel_job *job = *best;
        if ((claimed >> job->device->index & 1u) == 0 && cores_are_free(runtime, job->device) && has_room(job, true)) {
            take_out(dispatcher, best, before);
            return true;
        }
        claimed |= job->device->overlaps | 1ull << job->device->index;
        job->passed_over = true;
    }
    return false;
}

void pel_fair_submit(pel_runtime *runtime) {
    while (they_compete(runtime->dispatcher)) {
        if (!submit_best(runtime)) {
            return;
        }
    }
    submit_in_order(runtime);
}
