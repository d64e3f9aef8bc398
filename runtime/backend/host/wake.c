/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Submitting to the host, and waking whom it needs. A sleeper is woken by token, and only as many as there is work for beyond the
 * workers that spin or are waking already; who takes a token passes the rest on. Invariant: whoever makes work available does so
 * under the lock or takes it afterwards, and a worker looks once more under the lock before it sleeps; so nothing can be missed
 * between the two. Rejected: one condition variable per worker (cheaper wake-ups of many, but more state to agree upon).
 */
#include "backend/host/workers.h"
#include "base/barrier.h"

#include <sched.h>

enum { FORK_PATIENCE_NS = 50000 };
enum { WAKE_FANOUT = 2 /* a wake-up costs its caller 10-19 us (2 cores, 2026-11): sleepers wake each other, in a tree */ };

/* Under the lock: the counts for those who look without it. */
void pel_host_publish_counts(pel_host_device *device) {
    atomic_store_explicit(&device->tasks_waiting, device->queue.tasks, memory_order_relaxed);
    atomic_store_explicit(&device->jobs_waiting, device->queue.jobs, memory_order_relaxed);
    atomic_store_explicit(&device->job_busy, device->busy, memory_order_relaxed);
    const pel_host_queue *queue = &device->queue;
    bool background = queue->heap && queue->heap->priority < 0 && !queue->first_task && (queue->jobs == 0 || device->busy);
    atomic_store_explicit(&device->background, background, memory_order_relaxed);
    atomic_store_explicit(&device->urgent, queue->heap && queue->heap->priority > 0, memory_order_relaxed);
}

/* Under the lock, after each change: whom the task engine may have woken. */
void pel_host_publish_sleepers(pel_host_device *device) {
    uint32_t asleep =
        device->sleeping - device->tokens + (device->reserve_asleep && !device->reserve_token && !device->reserve_stands ? 1 : 0);
    atomic_store_explicit(&device->tasks.asleep, asleep, memory_order_seq_cst);
}

/* Under the lock. */
static bool issue_reserve_token(pel_host_device *device) {
    bool issued = device->reserve_asleep && !device->reserve_token;
    device->reserve_token = device->reserve_token || issued;
    pel_host_publish_sleepers(device);
    return issued;
}

void pel_host_wake_reserve(pel_host_device *device) {
    pthread_mutex_lock(&device->lock);
    bool issued = issue_reserve_token(device);
    pthread_mutex_unlock(&device->lock);
    if (issued) {
        pthread_cond_signal(&device->wake_reserve);
    }
}

/* Under the lock: hands out up to `wanted` tokens, to be followed by send_tokens without the lock. */
static uint32_t issue_tokens(pel_host_device *device, size_t wanted) {
    uint32_t asleep = device->sleeping - device->tokens, count = wanted < asleep ? (uint32_t)wanted : asleep;
    device->tokens += count;
    pel_host_publish_sleepers(device);
    return count;
}

/* Not more than a few: whoever takes a token passes the rest on. A signal too many finds no token and sleeps on. */
void pel_host_send_tokens(pel_host_device *device, uint32_t count) {
    for (count = count < WAKE_FANOUT ? count : WAKE_FANOUT; count > 0; count--) {
        pthread_cond_signal(&device->wake);
    }
}

/*
 * Under the lock: tokens for the work that waits, beyond those who are looking for some already. The reserve is told last, and of
 * a job only when all others are in tasks: a worker that neither sleeps nor looks is about to.
 */
uint32_t pel_host_issue_for_waiting(pel_host_device *device) {
    const bool job = device->queue.jobs > 0 && !device->busy;
    size_t wanted = device->queue.tasks + job;
    if (wanted == 0) {
        return 0;
    }
    pel_barrier_full(); /* what was published, and the count then: whoever has stopped looking looks at what waits (workers.c) */
    size_t looking = device->tokens + (size_t)pel_host_lookers(&device->tasks) + device->reserve_token;
    looking += wanted > looking ? pel_host_call_back(device, wanted - looking) : 0;
    if (wanted <= looking) {
        return 0;
    }
    uint32_t issued = issue_tokens(device, wanted - looking);
    const bool all_in_tasks =
        device->in_tasks + pel_host_tasks_running(&device->tasks) + device->parked + 1 >= device->worker_count;
    const bool for_tasks = device->queue.tasks > 0 && !device->reserve_stands;
    if (issued < wanted - looking && (for_tasks || (job && all_in_tasks)) && issue_reserve_token(device)) {
        pthread_cond_signal(&device->wake_reserve);
    }
    return issued;
}

void pel_host_wake_for_job(pel_host_device *device, const pel_host_worker *lane) {
    uint32_t wanted =
        device->job.units.count - 1 < device->worker_count - 1 ? device->job.units.count - 1 : device->worker_count - 1;
    pthread_mutex_lock(&device->lock);
    const bool reserve = !pel_host_is_last(lane) && atomic_load_explicit(&device->job.reserve_called, memory_order_relaxed) &&
                         issue_reserve_token(device);
    uint32_t tokens = issue_tokens(device, wanted);
    pthread_mutex_unlock(&device->lock);
    if (reserve) {
        pthread_cond_signal(&device->wake_reserve);
    }
    pel_host_send_tokens(device, tokens);
}

/* One that awaits a letter is called first. One that is waking already will look, and wake the next when there is more than it
 * takes. */
void pel_host_wake_one(void *user) {
    pel_host_device *device = user;
    uint32_t tokens = 0;
    bool reserve = false;
    if (pel_host_call_back(device, 1) > 0) {
        return;
    }
    pthread_mutex_lock(&device->lock);
    device->fork_cpu = -1;
    if (device->tokens == 0 && !device->reserve_token) {
        tokens = issue_tokens(device, 1);
        reserve = tokens == 0 && !device->reserve_stands && issue_reserve_token(device);
    }
    pthread_mutex_unlock(&device->lock);
    pel_host_send_tokens(device, tokens);
    if (reserve) {
        pthread_cond_signal(&device->wake_reserve);
    }
}

void pel_host_wake_for_waiting(pel_host_device *device) {
    pthread_mutex_lock(&device->lock);
    uint32_t tokens = pel_host_issue_for_waiting(device);
    pthread_mutex_unlock(&device->lock);
    pel_host_send_tokens(device, tokens);
}

/*
 * A woken thread is there after 10 to 55 us, unless the system has put it behind its waker, which goes on and on, so that it
 * waits for a slice of that core: in half of all processes that made one short loop after the other no worker came for 3 ms. So a
 * caller to whom nobody has come by then gives its core away, and again after twice as long each time. Who runs then moves away
 * (place.c).
 */
void pel_host_fork_wake(pel_host_device *device, uint32_t most) {
    const int64_t now = pel_clock_now(&pel_clock_monotonic);
    pthread_mutex_lock(&device->lock);
    const uint32_t tokens = issue_tokens(device, most);
    const bool offer_core = tokens == 0 && now > device->offer_core_at;
    device->fork_cpu = sched_getcpu();
    if (tokens > 0) {
        device->fork_patience = FORK_PATIENCE_NS;
        device->offer_core_at = now + FORK_PATIENCE_NS;
    } else if (offer_core) {
        device->fork_patience = 2 * device->fork_patience > FORK_PATIENCE_NS ? 2 * device->fork_patience : FORK_PATIENCE_NS;
        device->offer_core_at = now + device->fork_patience;
    }
    pthread_mutex_unlock(&device->lock);
    pel_host_send_tokens(device, tokens);
    if (offer_core) {
        (void)sched_yield();
    }
}

/*
 * A thread that is woken on the core of its waker takes that core from it at once, or waits until it sleeps. So where the
 * submitter is on a declared core, the wake-up is the last thing that it does (pel_host_begin): a division's other part was begun
 * a whole chunk late (3 ms; 2 cores, 2026-11).
 */
static bool is_in_the_way(const pel_host_device *device, int cpu) {
    return cpu >= 0 && cpu < PEL_CORE_LIMIT && device->base.facts->core_set_declared &&
           pel_core_set_has(&device->base.facts->info.cores, (uint32_t)cpu);
}

void pel_host_begin(pel_host_device *device) {
    pel_host_wake_for_waiting(device);
}

/*
 * A worker that is woken while the launch is still being planned is there when its chunk is: from its sleep it takes 45 to 75 us,
 * and planning as much (launches of 2 ms; 2 cores, 2026-11). Should nothing come, it has looked for as long as after any work.
 */
void pel_host_rouse(pel_host_device *device) {
    if (device->env->spin_ns == 0 || atomic_load_explicit(&device->tasks.asleep, memory_order_relaxed) == 0 ||
        is_in_the_way(device, sched_getcpu())) {
        return;
    }
    pthread_mutex_lock(&device->lock);
    const bool attended = device->busy || device->tokens > 0 || device->reserve_token ||
                          pel_host_lookers(&device->tasks) > 0 || pel_host_call_back(device, 1) > 0;
    const uint32_t tokens = attended ? 0 : issue_tokens(device, 1);
    const bool reserve = !attended && tokens == 0 && device->worker_count == 1 && issue_reserve_token(device);
    pthread_mutex_unlock(&device->lock);
    pel_host_send_tokens(device, tokens);
    if (reserve) {
        pthread_cond_signal(&device->wake_reserve);
    }
}

void pel_host_submit(pel_host_device *device, pel_work *work) {
    work->status = PEL_OK;
    work->error = NULL;
    work->cold = false;
    atomic_fetch_add_explicit(&device->pending, 1, memory_order_relaxed);
    pthread_mutex_lock(&device->lock);
    pel_host_queue_push(&device->queue, work);
    device->submitter_cpu = sched_getcpu();
    pel_host_publish_counts(device);
    uint32_t tokens = work->soon && is_in_the_way(device, device->submitter_cpu) ? 0 : pel_host_issue_for_waiting(device);
    pthread_mutex_unlock(&device->lock);
    pel_host_send_tokens(device, tokens);
    if (device->tasks.invite && work->kind != PEL_WORK_TASK) { /* workers run those */
        device->tasks.invite(device->tasks.invite_host);
    }
}

/* Delivers a work that is done. It may be gone afterwards. */
void pel_host_complete(pel_host_device *device, pel_work *work, bool job) {
    work->ended = pel_clock_now(device->env->clock);
    work->complete(work);
    pthread_mutex_lock(&device->lock);
    if (job) {
        device->busy = false;
        pel_host_publish_counts(device);
    } else {
        device->in_tasks--;
    }
    pthread_mutex_unlock(&device->lock);
    if (atomic_fetch_sub_explicit(&device->pending, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_lock(&device->lock); /* so that it cannot fall between the look and the wait of whoever closes */
        pthread_cond_broadcast(&device->drained);
        pthread_mutex_unlock(&device->lock);
    }
}
