/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread of the caller's that waits for a job takes part in it, in the last worker's place (host.h): it joins the running job,
 * or takes the queued one.
 */
#include "backend/host/workers.h"

static const int64_t settle_ns = 50000;

/* A worker that has just taken the job opens it in a moment, and one that ends it is done with it in a moment. */
static bool settle(pel_host_device *device) {
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + settle_ns;
    while (atomic_load_explicit(&device->job_busy, memory_order_relaxed) && !pel_host_job_open(device, 0)) {
        pel_host_pause();
        if (pel_clock_now(&pel_clock_monotonic) > until) {
            return false;
        }
    }
    return true;
}

/* The queued job, if it is there for a guest to take: not one that may hang. */
static pel_work *take_job(pel_host_device *device) {
    pel_work *work = NULL;
    pthread_mutex_lock(&device->lock);
    if (device->queue.jobs > 0 && !device->busy && !device->queue.first_job->alone) {
        work = pel_host_queue_pop_job(&device->queue);
        device->busy = true;
        pel_host_publish_counts(device);
    }
    pthread_mutex_unlock(&device->lock);
    return work;
}

/* Works on the running job, or else on the queued one. */
static bool help_once(pel_host_device *device, pel_host_worker *lane) {
    uint64_t seen = 0;
    bool ended = false, helped = false;
    while (!helped && settle(device)) {
        pel_work *work = NULL;
        if (pel_host_job_open(device, 0)) {
            helped = atomic_load_explicit(&device->job.last_lane_free, memory_order_relaxed) &&
                     pel_host_job_join(lane, true, &seen, &ended);
            atomic_store_explicit(&device->guests, true, memory_order_relaxed);
            if (!helped) {
                return false;
            }
        } else if ((work = take_job(device)) != NULL) {
            atomic_store_explicit(&device->guests, true, memory_order_relaxed);
            ended = pel_host_job_run(lane, &seen, work);
            helped = true;
        } else if (!atomic_load_explicit(&device->job_busy, memory_order_relaxed)) {
            return false;
        }
    }
    if (ended) {
        pel_host_complete(device, device->job.work, true);
        pel_host_wake_for_waiting(device); /* a worker would go on with what waits; a guest may leave */
    }
    return helped;
}

bool pel_host_help(pel_host_device *device) {
    if (pel_host_is_bound(device)) {
        return false; /* the calling thread may run elsewhere than the device may */
    }
    const pel_host_device *outer = pel_host_become_worker(device);
    const bool helped = help_once(device, &device->workers[device->worker_count - 1]);
    (void)pel_host_become_worker(outer);
    return helped;
}
