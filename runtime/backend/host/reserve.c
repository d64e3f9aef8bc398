/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last worker, the reserve, out of a submitter's way.
 *
 * There are as many workers as cores, and a thread that submits is one more. While it submits small tasks one after the other,
 * the three on two cores take turns, and each turn costs more than the tasks: with the reserve away, a stream of them is run up
 * to twice as fast (docs/results/2026-11-22-submission.md). So the reserve stands back: it sleeps for a moment, again and again,
 * as long as there have been a good many submissions meanwhile (or a guest has its place) and the others have run a good many
 * items. Both are counts, not times, and they are looked at while it sleeps, when nobody suffers from it; so larger tasks, a
 * submitter that pauses and workers that are stuck each bring it back after one moment.
 *
 * It needs no wake-up: it is not among the sleepers whom submitters may count on, and looks again by itself, as the workers do
 * that run something. Jobs wake it as ever. What is in its deque goes to a lane first: the others look there before they steal.
 * Rejected: a worker less from the start (a caller that does not wait would leave a core idle).
 */
#include "backend/host/workers.h"
#include "topology/core_set.h"

enum { BRISK = 32, LEAST_PATIENCE = 32, MOST_PATIENCE = 4096 };

static const long moment_ns = 200000;

void pel_host_reserve_init(pel_host_device *device) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes); /* these cannot fail on Linux */
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&device->wake_reserve, &attributes);
    pthread_condattr_destroy(&attributes);
    device->workers[device->worker_count - 1].patience = LEAST_PATIENCE;
}

/* Where each core of the machine has a worker; one that the caller has confined has cores elsewhere to submit from. */
static bool is_in_the_way(const pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    return pel_host_is_last(worker) && !pel_host_is_bound(device) &&
           atomic_load_explicit(&device->active, memory_order_relaxed) >= pel_core_set_count(&device->base.facts->info.cores);
}

static bool is_called(pel_host_device *device) {
    return device->stop || device->reserve_token || device->queue.tasks > 0 || (device->queue.jobs > 0 && !device->busy);
}

/* True: it is called to do something else. */
static bool sleep_for_a_moment(pel_host_device *device) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += moment_ns;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&device->lock);
    device->reserve_asleep = device->reserve_stands = true;
    pel_host_publish_sleepers(device);
    while (!is_called(device) && pthread_cond_timedwait(&device->wake_reserve, &device->lock, &until) == 0) {
    }
    const bool called = is_called(device);
    device->reserve_asleep = device->reserve_stands = device->reserve_token = false;
    pel_host_publish_sleepers(device);
    pthread_mutex_unlock(&device->lock);
    return called;
}

/* Since it looked last. */
typedef struct counts {
    bool submitted, run; /* a good many, the latter by others */
} counts;

static counts count(pel_host_worker *worker) {
    const pel_host_tasks *tasks = &worker->device->tasks;
    const uint32_t visits = pel_host_tasks_visits(tasks), ran = pel_host_tasks_ran_by_others(worker->runner);
    const counts counted = {visits - worker->visits >= BRISK || pel_host_tasks_have_guest(tasks), ran - worker->ran >= BRISK};
    worker->visits = visits;
    worker->ran = ran;
    return counted;
}

/* Whether others do without it what comes from outside. */
static bool is_spared(pel_host_worker *worker) {
    const counts counted = count(worker);
    return counted.submitted && counted.run;
}

void pel_host_stand_back(pel_host_worker *worker) {
    if (!pel_host_is_last(worker)) {
        return;
    }
    const uint32_t own = atomic_load_explicit(&worker->runner->ran, memory_order_relaxed);
    if (own - worker->own < worker->patience) {
        return;
    }
    worker->own = own;
    if (!count(worker).submitted || !is_in_the_way(worker)) { /* what others ran says nothing while they sleep */
        return;
    }
    pel_host_runner_hand_over(worker->runner);
    uint32_t moments = 0;
    while (!sleep_for_a_moment(worker->device) && is_spared(worker)) {
        moments++;
    }
    /* in vain: it tries again later and later */
    worker->patience = moments > 0 ? LEAST_PATIENCE : worker->patience < MOST_PATIENCE ? 2 * worker->patience : MOST_PATIENCE;
}
