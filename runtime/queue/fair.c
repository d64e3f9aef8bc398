/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who computes next: data-parallel works that wait for their device.
 *
 * Order is by priority, then by what the queues have had: each queue has a clock that runs with the time of its works, divided by
 * its weight, and the queue whose clock is behind goes first (start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996). A
 * queue that was idle begins where the others are. While one queue alone has work, a device gets it as it comes, up to AHEAD_NS
 * of it; as soon as two compete, no more than COMPETING works each, so that what waits can still be put in order. Works of one
 * queue for one device keep their order; one that is queued behind what it depends on (chain.c) overtakes nobody.
 *
 * A thousand launches may wait while their device has all it may have, and each submission and each completion comes by: so what
 * is asked then takes no walk. `borders` counts neighbours in the list that differ in queue or priority (none: nobody competes),
 * each device knows how many wait for it, and a walk ends where no device is left that could take anything. What a walk finds
 * out of a device is noted there, under the walk's number: sets of devices as masks would end at 64 of them.
 *
 * Rejected: time slices (a work cannot be interrupted), and one list per device and queue (the order between queues would have to
 * be found anew each time).
 */
#include "queue/command.h"
#include "queue/graph_plan.h"
#include "queue/isolate.h"

enum { AT_LEAST = 32, COMPETING = 2, UNKNOWN_NS = 1000000, AHEAD_NS = 20000000, PLANNED_NS = 200000 };

/* Cores are leased once: a data-parallel work starts only while no device that shares its cores computes. */
static bool cores_are_free(const pel_device *device) {
    for (uint32_t i = 0; i < device->overlap_count; i++) {
        if (device->overlaps[i]->running > 0) {
            return false;
        }
    }
    return true;
}

static double expected_ns(const pel_job *job) {
    return job->work.predicted_ns > 0          ? job->work.predicted_ns
           : job->command->queue->usual_ns > 0 ? job->command->queue->usual_ns
                                               : UNKNOWN_NS;
}

static bool has_room_at_all(const pel_device *device) { return device->running < AT_LEAST || device->queued_ns < AHEAD_NS; }
static bool has_room_for_many(const pel_device *device) { return device->running < 2 * COMPETING; }

/* With its device, or on its way there. One that was given up is not: it may never be over (isolate.c). */
static bool is_under_way(pel_job *job) {
    return !job->over && atomic_load_explicit(&job->isolation, memory_order_relaxed) != PEL_ISOLATION_ABANDONED;
}

/*
 * What it waits for on other devices is with them, so it cannot keep that off its cores. And of two parts of a launch the second
 * waits for the first: drivers that are looked at tell their times apart only so, and the models need both.
 */
static bool may_queue(const pel_job *job) {
    return (!job->work.gate || pel_gate_may_queue(job->work.gate)) &&
           (job->second == 0 || !is_under_way(&job->command->jobs[job->second - 1]));
}

/* Whether its device has room for it: `competing` queues leave each other a say. */
static bool has_room(const pel_job *job, bool competing) {
    return may_queue(job) && (competing ? has_room_for_many(job->device) : has_room_at_all(job->device));
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

void pel_fair_grown(pel_job *job, double by_ns) {
    job->expected_ns += by_ns;
    job->device->queued_ns += by_ns;
}

/* Clocks run with what works took, never with what was expected of them. */
void pel_fair_ended(pel_job *job) {
    pel_queue *queue = job->command->queue;
    const double took = (double)(job->work.ended - job->work.began);
    pel_fair_given_up(job);
    if (job->data_parallel && took >= 0) {
        queue->served += took / queue->weight;
        const double each = job->work.times > 1 ? took / job->work.times : took;
        queue->usual_ns += (each - queue->usual_ns) / (queue->usual_ns > 0 ? 8 : 1);
    }
}

/* With what it has under way. */
static double clock_of(const pel_queue *queue) { return queue->served + queue->computing * queue->usual_ns / queue->weight; }

static int32_t priority_of(const pel_job *job) { return job->command->priority; }

static bool differ(const pel_job *a, const pel_job *b) {
    return a && b && (a->command->queue != b->command->queue || priority_of(a) != priority_of(b));
}

/* Two queues, or two priorities, among what waits. */
static bool they_compete(const pel_dispatcher *dispatcher) { return dispatcher->borders > 0; }

static void one_waits(pel_dispatcher *dispatcher, pel_device *device) {
    if (device->waiting++ == 0) {
        device->wanted_before = NULL;
        device->wanted_next = dispatcher->wanted;
        if (device->wanted_next) {
            device->wanted_next->wanted_before = device;
        }
        dispatcher->wanted = device;
    }
}

static void one_waits_less(pel_dispatcher *dispatcher, pel_device *device) {
    if (--device->waiting == 0) {
        *(device->wanted_before ? &device->wanted_before->wanted_next : &dispatcher->wanted) = device->wanted_next;
        if (device->wanted_next) {
            device->wanted_next->wanted_before = device->wanted_before;
        }
    }
}

void pel_fair_append(pel_dispatcher *dispatcher, pel_job *job) {
    job->next = NULL;
    dispatcher->borders += differ(dispatcher->last_job, job);
    *(dispatcher->last_job ? &dispatcher->last_job->next : &dispatcher->first_job) = job;
    dispatcher->last_job = job;
    one_waits(dispatcher, job->device);
}

void pel_fair_prepend(pel_dispatcher *dispatcher, pel_job *job) {
    job->next = dispatcher->first_job;
    dispatcher->borders += differ(job, job->next);
    dispatcher->first_job = job;
    dispatcher->last_job = dispatcher->last_job ? dispatcher->last_job : job;
    one_waits(dispatcher, job->device);
}

bool pel_fair_at_once(pel_dispatcher *dispatcher, pel_job *job) {
    const pel_command *command = job->command;
    if (dispatcher->first_job || dispatcher->ready || command->job_count != 1 || command->part_of ||
        !cores_are_free(job->device) || !has_room(job, false)) {
        return false;
    }
    charge(job);
    return true;
}

/* How many devices somebody waits for, and `may` take something: these are open in this walk. */
static uint32_t open_wanted(const pel_dispatcher *dispatcher, bool (*may)(const pel_device *device), uint64_t walk) {
    uint32_t open = 0;
    for (pel_device *device = dispatcher->wanted; device; device = device->wanted_next) {
        if (may(device)) {
            device->open_in = walk;
            open++;
        }
    }
    return open;
}

/* How many that were open are so no more. */
static uint32_t shut_one(pel_device *device, uint64_t walk) {
    const bool was_open = device->open_in == walk;
    device->open_in = was_open ? 0 : device->open_in;
    return was_open ? 1 : 0;
}

static uint32_t shut_cores(pel_device *device, uint64_t walk) {
    uint32_t shut = shut_one(device, walk);
    for (uint32_t i = 0; i < device->overlap_count; i++) {
        shut += shut_one(device->overlaps[i], walk);
    }
    return shut;
}

static void take_out(pel_dispatcher *dispatcher, pel_job **place, pel_job *before) {
    pel_job *job = *place;
    dispatcher->borders = dispatcher->borders - differ(before, job) - differ(job, job->next) + differ(before, job->next);
    *place = job->next;
    if (dispatcher->last_job == job) {
        dispatcher->last_job = before;
    }
    one_waits_less(dispatcher, job->device);
    charge(job);
    pel_job_hand_over(job);
}

/* In order: a job that must wait for cores keeps later ones off them, so that nobody starves. */
static void submit_in_order(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const uint64_t walk = ++dispatcher->walks;
    uint32_t open = open_wanted(dispatcher, has_room_at_all, walk); /* without those whose cores an earlier job waits for */
    pel_job *before = NULL;
    for (pel_job **place = &dispatcher->first_job; *place && open != 0;) {
        pel_job *job = *place;
        if (job->device->open_in != walk || !cores_are_free(job->device) || !has_room(job, false)) {
            open -= shut_cores(job->device, walk);
            before = job;
            place = &job->next;
            continue;
        }
        take_out(dispatcher, place, before);
        open -= job->device->waiting > 0 ? 0 : shut_one(job->device, walk);
    }
}

/* A walk over the list: what it has met is noted in the queues and the devices, under its number. Whether an earlier one of its
 * queue, or any that it may depend on, waits for the same device. */
static bool is_behind(uint64_t walk, const pel_job *job) {
    pel_queue_met *own = &job->command->queue->met[job->device->index];
    const bool met = own->walk == walk;
    const bool behind = (met && own->priority >= priority_of(job)) || (job->command->early && job->device->met_in == walk);
    own->priority = met && own->priority > priority_of(job) ? own->priority : priority_of(job);
    own->walk = walk;
    job->device->met_in = walk;
    return behind;
}

static bool is_better(const pel_job *a, const pel_job *b) {
    if (priority_of(a) != priority_of(b)) {
        return priority_of(a) > priority_of(b);
    }
    return clock_of(a->command->queue) < clock_of(b->command->queue);
}

/* The best of those whose device has not been found shut in this round. */
static pel_job **find_best(pel_dispatcher *dispatcher, uint64_t round, pel_job **before) {
    pel_job **best = NULL, *last = NULL;
    const uint64_t walk = ++dispatcher->walks;
    for (pel_job **place = &dispatcher->first_job; *place; place = &(*place)->next) {
        const bool behind = is_behind(walk, *place);
        if (!behind && (*place)->device->shut_in != round && (!best || is_better(*place, *best))) {
            best = place;
            *before = last;
        }
        last = *place;
    }
    return best;
}

static void claim_cores(pel_device *device, uint64_t round) {
    device->claimed_in = round;
    for (uint32_t i = 0; i < device->overlap_count; i++) {
        device->overlaps[i]->claimed_in = round;
    }
}

static bool submit_best(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const uint64_t round = ++dispatcher->walks;
    pel_job *before = NULL;
    if (open_wanted(dispatcher, has_room_for_many, round) == 0) {
        return false;
    }
    for (pel_job **best; (best = find_best(dispatcher, round, &before)) != NULL;) {
        pel_job *job = *best;
        if (job->device->claimed_in != round && cores_are_free(job->device) && has_room(job, true)) {
            take_out(dispatcher, best, before);
            return true;
        }
        if (may_queue(job)) {
            claim_cores(job->device, round);
        }
        job->device->shut_in = round;
    }
    return false;
}

void pel_fair_submit(pel_runtime *runtime) {
    while (they_compete(runtime->dispatcher)) {
        if (!submit_best(runtime)) {
            return;
        }
    }
    if (runtime->dispatcher->first_job) {
        submit_in_order(runtime);
    }
}
