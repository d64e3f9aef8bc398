/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last worker, the reserve, out of a submitter's way.
 *
 * There are as many workers as cores, and a thread that submits is one more. While it submits small tasks one after the other,
 * the three on two cores take turns, and each turn costs more than the tasks: with the reserve away, a stream of them is run up
 * to twice as fast (docs/results/queue.md). So the reserve stands back: it sleeps for a moment, again and again,
 * as long as there have been a good many submissions meanwhile (or a guest has its place) and the others have run a good many
 * items. Both are counts, not times, and they are looked at while it sleeps, when nobody suffers from it; so larger tasks, a
 * submitter that pauses and workers that are stuck each bring it back after a moment or two, 12 ms at most.
 *
 * Tasks too large to be counted in a moment, while a guest runs them: there it looks whether the process had all of the cores'
 * time without it. If so, one thread more would only take turns with the others, on caches that hold their data. Moments become
 * longer and longer while it is spared. The cores' time may be that of threads which only wait for what nobody runs: where the
 * others have not run anything for a second, it is back.
 *
 * It needs no wake-up: it is not among the sleepers whom submitters may count on, and looks again by itself, as the workers do
 * that run something. Jobs wake it as ever, tasks do not; but where some have waited under the lock for a few milliseconds and
 * nobody took any (no other worker is free, or there is none: guests do not look there), it is back. Not sooner: behind tasks of
 * 0.6 ms a thread too many would be back at once, and take turns with the others (docs/results/cholesky.md). What is in its deque
 * goes to a lane first: the others look there before they steal.
 * Rejected: a worker less from the start (a caller that does not wait would leave a core idle).
 */
#include "backend/host/workers.h"
#include "base/clock.h"
#include "topology/core_set.h"

enum { BRISK = 32, LEAST_PATIENCE = 32, MOST_PATIENCE = 4096, GUEST_PATIENCE = 4, MISSES = 2 };
/* A wake-up costs whoever has the core some 50 us (virtual machine, 2026-11), so they become rare. */
enum { MOMENT_NS = 200000, MOST_MOMENT_NS = 6400000, UNTAKEN_NS = 3000000, STILL_NS = 1000000000 };

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
    return device->stop || device->reserve_token || (device->queue.jobs > 0 && !device->busy);
}

/* Works that were ever taken. Under the lock. */
static uint64_t taken(const pel_host_queue *queue) { return queue->sequence - queue->tasks - queue->jobs; }

/* True: it is called to do something else. *untaken_ns: for how long tasks have waited under the lock of which none was taken. */
static bool sleep_for_a_moment(pel_host_device *device, long moment_ns, long *untaken_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += moment_ns;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&device->lock);
    device->reserve_asleep = device->reserve_stands = true;
    pel_host_publish_sleepers(device);
    const bool tasks = device->queue.tasks > 0;
    const uint64_t before = taken(&device->queue);
    while (!is_called(device) && pthread_cond_timedwait(&device->wake_reserve, &device->lock, &until) == 0) {
    }
    *untaken_ns = tasks && taken(&device->queue) == before ? *untaken_ns + moment_ns : 0;
    const bool called = is_called(device) || *untaken_ns >= UNTAKEN_NS;
    device->reserve_asleep = device->reserve_stands = device->reserve_token = false;
    pel_host_publish_sleepers(device);
    pthread_mutex_unlock(&device->lock);
    return called;
}

/* What the process had of its cores; a time and a time of processors. */
typedef struct usage {
    int64_t elapsed, used;
} usage;

static usage usage_now(const pel_host_tasks *tasks) {
    return (usage){pel_clock_now(&pel_clock_monotonic), pel_host_tasks_processor_ns(tasks)};
}

/* Less than half of a core was left over since then. */
static bool cores_were_full(const pel_host_device *device, usage since) {
    const usage now = usage_now(&device->tasks);
    const int64_t cores = pel_core_set_count(&device->base.facts->info.cores);
    return 2 * (now.used - since.used) >= (2 * cores - 1) * (now.elapsed - since.elapsed);
}

/* Since it looked last. */
typedef struct counts {
    bool submitted, run; /* a good many, the latter by others */
    bool still;          /* others have not run any */
} counts;

/* Longer moments want more: with 32 in any of them, tasks of 150 us behind a stream of small ones had 1.3 of two cores. */
static counts count(pel_host_worker *worker, long moment_ns) {
    const pel_host_tasks *tasks = &worker->device->tasks;
    const uint32_t visits = pel_host_tasks_visits(tasks), ran = pel_host_tasks_ran_by_others(worker->runner);
    const uint32_t many = BRISK * (uint32_t)(moment_ns / MOMENT_NS);
    const counts counted = {visits - worker->visits >= many || pel_host_tasks_have_guest(tasks), ran - worker->ran >= many,
                            ran == worker->ran};
    worker->visits = visits;
    worker->ran = ran;
    return counted;
}

/* Sleeps for as long as others do without it what comes from outside. How many moments that was. */
static uint32_t stand(pel_host_worker *worker) {
    long moment_ns = MOMENT_NS, untaken_ns = 0, still_ns = 0;
    uint32_t misses = 0; /* in a row. Until the system has moved who shares a core to the free one it takes a moment or two */
    for (uint32_t moments = 0;; moments++) {
        const usage since = usage_now(&worker->device->tasks);
        if (sleep_for_a_moment(worker->device, moment_ns, &untaken_ns)) {
            return moments;
        }
        const counts counted = count(worker, moment_ns);
        still_ns = counted.still ? still_ns + moment_ns : 0;
        if (still_ns >= STILL_NS) {
            return 0;
        }
        const bool guest = pel_host_tasks_have_guest(&worker->device->tasks);
        const bool full = guest && cores_were_full(worker->device, since);
        const bool spared = full || (counted.submitted && counted.run);
        misses = spared ? 0 : misses + 1;
        if (misses > (guest ? MISSES : 0) || !is_in_the_way(worker)) {
            return moments + 1 - misses;
        }
        moment_ns = !spared ? MOMENT_NS : moment_ns < MOST_MOMENT_NS ? 2 * moment_ns : moment_ns;
    }
}

void pel_host_stand_back(pel_host_worker *worker) {
    if (!pel_host_is_last(worker)) {
        return;
    }
    const uint32_t own = atomic_load_explicit(&worker->runner->ran, memory_order_relaxed), since = own - worker->own;
    if (since < worker->patience && (since < GUEST_PATIENCE || worker->patience > LEAST_PATIENCE ||
                                     !pel_host_tasks_have_guest(&worker->device->tasks))) {
        return;
    }
    worker->own = own;
    if (!count(worker, MOMENT_NS).submitted || !is_in_the_way(worker)) { /* what others ran says nothing while they sleep */
        return;
    }
    pel_host_runner_hand_over(worker->runner);
    const uint32_t moments = stand(worker);
    /* in vain: it tries again later and later */
    worker->patience = moments > 0 ? LEAST_PATIENCE : worker->patience < MOST_PATIENCE ? 2 * worker->patience : MOST_PATIENCE;
}
