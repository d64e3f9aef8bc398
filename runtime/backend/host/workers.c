/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers: threads that take work, spin for a moment when there is none, and sleep. Looking for work needs no lock (copies of
 * the counts, the job's gate); taking it does. A sleeper is woken by token, and only as many as there is work for beyond the
 * workers that spin or are waking already; a worker that takes work and leaves some behind wakes the next. Invariant: whoever
 * makes work available does so under the lock or takes it afterwards, and a worker looks once more under the lock before it
 * sleeps; so nothing can be missed between the two. Workers run the user's functions: they keep the synchronous signals, so that
 * a crash is reported where it happened, and block all others, which belong to the caller's threads. They are confined to the
 * device's cores, never the caller's threads. A caller that waits takes the last worker's place (host.h). Rejected: one condition
 * variable per worker (cheaper wake-ups of many, but more state to agree upon).
 */
#include "backend/host/host.h"
#include "topology/core_set.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

static const int64_t settle_ns = 50000;
enum {
    PAUSES_PER_LOOK = 8,
    LOOKS_PER_CLOCK = 64,
    /* so many looks at tasks in a row; then one in SPARSE, because each takes the line from a submitter who does all by itself */
    CLOSE_LOOKS = 64,
    SPARSE = 8,
    WAKE_FANOUT = 2 /* a wake-up costs its caller 10-19 us (same machine): sleepers wake each other, in a tree */
};

void pel_host_pause(void) {
    for (int i = 0; i < PAUSES_PER_LOOK; i++) {
        pel_host_pause_once();
    }
}

/* Under the lock: the counts for those who look without it. */
static void publish_counts(pel_host_device *device) {
    atomic_store_explicit(&device->tasks_waiting, device->queue.tasks, memory_order_relaxed);
    atomic_store_explicit(&device->jobs_waiting, device->queue.jobs, memory_order_relaxed);
    atomic_store_explicit(&device->job_busy, device->busy, memory_order_relaxed);
    const pel_host_queue *queue = &device->queue;
    bool background = queue->heap && queue->heap->priority < 0 && !queue->first_task && (queue->jobs == 0 || device->busy);
    atomic_store_explicit(&device->background, background, memory_order_relaxed);
}

/* Under the lock, after each change: whom the task engine may have woken. */
static void publish_sleepers(pel_host_device *device) {
    uint32_t asleep = device->sleeping - device->tokens + (device->reserve_asleep && !device->reserve_token ? 1 : 0);
    atomic_store_explicit(&device->tasks.asleep, asleep, memory_order_seq_cst);
}

/* Under the lock. */
static bool issue_reserve_token(pel_host_device *device) {
    bool issued = device->reserve_asleep && !device->reserve_token;
    device->reserve_token = device->reserve_token || issued;
    publish_sleepers(device);
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
    publish_sleepers(device);
    return count;
}

/* Not more than a few: whoever takes a token passes the rest on. A signal too many finds no token and sleeps on. */
static void send_tokens(pel_host_device *device, uint32_t count) {
    for (count = count < WAKE_FANOUT ? count : WAKE_FANOUT; count > 0; count--) {
        pthread_cond_signal(&device->wake);
    }
}

/*
 * Under the lock: tokens for the work that waits, beyond those who are looking for some already. The reserve is told last, and of
 * a job only when all others are in tasks: a worker that neither sleeps nor looks is about to.
 */
static uint32_t issue_for_waiting(pel_host_device *device) {
    const bool job = device->queue.jobs > 0 && !device->busy;
    size_t wanted = device->queue.tasks + job;
    size_t looking =
        device->tokens + (size_t)atomic_load_explicit(&device->spinning, memory_order_relaxed) + device->reserve_token;
    if (wanted <= looking) {
        return 0;
    }
    uint32_t issued = issue_tokens(device, wanted - looking);
    const bool all_in_tasks =
        device->in_tasks + pel_host_tasks_running(&device->tasks) + device->parked + 1 >= device->worker_count;
    if (issued < wanted - looking && (device->queue.tasks > 0 || all_in_tasks) && issue_reserve_token(device)) {
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
    send_tokens(device, tokens);
}

/* One that is waking already will look, and wake the next when there is more than it takes. */
void pel_host_wake_one(void *user) {
    pel_host_device *device = user;
    uint32_t tokens = 0;
    bool reserve = false;
    pthread_mutex_lock(&device->lock);
    device->fork_cpu = -1;
    if (device->tokens == 0 && !device->reserve_token) {
        tokens = issue_tokens(device, 1);
        reserve = tokens == 0 && issue_reserve_token(device);
    }
    pthread_mutex_unlock(&device->lock);
    send_tokens(device, tokens);
    if (reserve) {
        pthread_cond_signal(&device->wake_reserve);
    }
}

static void wake_for_waiting(pel_host_device *device) {
    pthread_mutex_lock(&device->lock);
    uint32_t tokens = issue_for_waiting(device);
    pthread_mutex_unlock(&device->lock);
    send_tokens(device, tokens);
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
    wake_for_waiting(device);
}

void pel_host_submit(pel_host_device *device, pel_work *work) {
    work->status = PEL_OK;
    work->error = NULL;
    work->cold = false;
    atomic_fetch_add_explicit(&device->pending, 1, memory_order_relaxed);
    pthread_mutex_lock(&device->lock);
    pel_host_queue_push(&device->queue, work);
    device->submitter_cpu = sched_getcpu();
    publish_counts(device);
    uint32_t tokens = work->soon && is_in_the_way(device, device->submitter_cpu) ? 0 : issue_for_waiting(device);
    pthread_mutex_unlock(&device->lock);
    send_tokens(device, tokens);
    if (device->tasks.invite && work->kind != PEL_WORK_TASK) { /* workers run those */
        device->tasks.invite(device->tasks.invite_host);
    }
}

/* Delivers a work that is done. It may be gone afterwards. */
static void complete(pel_host_device *device, pel_work *work, bool job) {
    work->ended = pel_clock_now(device->env->clock);
    work->complete(work);
    pthread_mutex_lock(&device->lock);
    if (job) {
        device->busy = false;
        publish_counts(device);
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

static void run_task(pel_host_device *device, pel_work *work) {
    work->began = work->launch_began = pel_clock_now(device->env->clock);
    pel_status returned = work->task(work->context);
    if (returned != PEL_OK) {
        pel_story story = {.device = device->base.facts->info.id, .code = (int64_t)returned};
        work->status = pel_fail(&work->error, device->env->allocator, PEL_TASK_FAILED, &story, "a host task returned %s (%s)",
                                pel_status_name(returned), pel_status_text(returned));
    }
    work->launch_ended = pel_clock_now(device->env->clock);
}

/* Where the worker may run: its own core when binding was asked for, else the cores of the device. False: not known. */
static bool allowed_cores(const pel_host_worker *worker, pel_core_set *set) {
    const pel_host_device *device = worker->device;
    const pel_topology_device *facts = device->base.facts;
    if (facts->info.cores_count == 0) {
        return false;
    }
    *set = facts->info.cores;
    if (pel_host_is_bound(device)) {
        memset(set, 0, sizeof *set);
        pel_core_set_add(set, pel_host_home_core(device, worker->index));
    }
    return true;
}

static bool run_on(const pel_core_set *set) {
    cpu_set_t masks[(sizeof *set + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t)];
    memset(masks, 0, sizeof masks);
    for (uint32_t core = 0; core < PEL_CORE_LIMIT; core++) {
        if (pel_core_set_has(set, core)) {
            CPU_SET_S(core, sizeof masks, masks);
        }
    }
    return sched_setaffinity(0, sizeof masks, masks) == 0;
}

static void confine(const pel_host_worker *worker) {
    pel_core_set set;
    if (allowed_cores(worker, &set) && !run_on(&set)) {
        pel_log(worker->device->env->logger, PEL_LOG_WARNING,
                "%s: worker %u cannot be bound to its cores (errno %d); it runs where the system likes",
                worker->device->base.facts->info.id, worker->index, errno);
    }
}

/*
 * Leaves the core to the thread that is known to be there. The system likes to put a woken thread beside its waker, and takes
 * milliseconds to part them: two of one job shared a core in a fifth of all launches (2 cores, Linux 6, 2026-11).
 */
static void make_room(const pel_host_worker *worker, int cpu) {
    pel_core_set set;
    if (cpu < 0 || cpu >= PEL_CORE_LIMIT || sched_getcpu() != cpu || pel_host_is_bound(worker->device) ||
        worker->device->base.facts->info.cores_count < 2 || !allowed_cores(worker, &set)) {
        return;
    }
    set.bits[cpu / 64] &= ~(1ull << (cpu % 64));
    (void)run_on(&set);
    confine(worker);
}

/* Takes what is this worker's turn: a task or the next job. NULL: others were faster. */
static pel_work *take(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    pthread_mutex_lock(&device->lock);
    bool job_ready = device->queue.jobs > 0 && !device->busy;
    pel_work *work = NULL;
    int crowd = -1;
    if (job_ready && !(worker->task_turn && device->queue.tasks > 0)) {
        work = pel_host_queue_pop_job(&device->queue);
        device->busy = true;
        crowd = work->alone ? -1 : device->submitter_cpu; /* whoever waits for that one sleeps, and its core is free */
    } else {
        work = pel_host_queue_pop_task(&device->queue);
        device->in_tasks += work != NULL;
    }
    publish_counts(device);
    uint32_t tokens = issue_for_waiting(device);
    pthread_mutex_unlock(&device->lock);
    send_tokens(device, tokens);
    make_room(worker, crowd);
    return work;
}

static bool tasks_wait(const pel_host_device *device) {
    return atomic_load_explicit(&device->tasks_waiting, memory_order_relaxed) > 0;
}

static bool anything_waits(const pel_host_device *device) {
    return tasks_wait(device) || (atomic_load_explicit(&device->jobs_waiting, memory_order_relaxed) > 0 &&
                                  !atomic_load_explicit(&device->job_busy, memory_order_relaxed));
}

static bool job_open(const pel_host_device *device, uint64_t seen) {
    const pel_host_job *job = &device->job;
    return (atomic_load_explicit(&job->gate, memory_order_relaxed) & PEL_HOST_OPEN) != 0 &&
           atomic_load_explicit(&job->generation, memory_order_relaxed) != seen;
}

static bool job_to_join(const pel_host_worker *worker) {
    const pel_host_job *job = &worker->device->job;
    return job_open(worker->device, worker->seen) &&
           (!pel_host_is_last(worker) || (atomic_load_explicit(&job->last_lane_free, memory_order_relaxed) &&
                                          atomic_load_explicit(&job->reserve_called, memory_order_relaxed)));
}

static bool run_item(pel_host_worker *worker) {
    worker->node_turn = false;
    if (anything_waits(worker->device) && pel_host_runner_sees_work(worker->runner)) {
        wake_for_waiting(worker->device); /* whoever submitted may have counted on this worker */
    }
    return pel_host_runner_work(worker->runner);
}

/* A job or a task that waits under the lock. */
static bool work_locked(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    if (job_to_join(worker) && !(worker->task_turn && tasks_wait(device))) {
        bool ended;
        if (tasks_wait(device)) {
            wake_for_waiting(device); /* whoever submitted may have counted on this worker, which spun */
        }
        make_room(worker, atomic_load_explicit(&device->job.cpu, memory_order_relaxed));
        if (pel_host_job_join(worker, false, &worker->seen, &ended)) {
            worker->task_turn = true;
            if (pel_host_is_last(worker)) {
                atomic_store_explicit(&device->guests, false, memory_order_relaxed);
            }
            if (ended) {
                complete(device, device->job.work, true);
            }
            return true;
        }
    }
    if (!anything_waits(device)) {
        return false;
    }
    pel_work *work = take(worker);
    if (work == NULL) {
        return false;
    }
    worker->task_turn = work->kind != PEL_WORK_TASK;
    if (work->kind == PEL_WORK_TASK) {
        run_task(device, work);
        complete(device, work, false);
    } else if (pel_host_job_run(worker, &worker->seen, work)) {
        complete(device, work, true);
    }
    return true;
}

static bool may_come(const pel_host_worker *worker, pel_host_team *team) {
    return pel_host_team_may_come(team) &&
           !(pel_host_is_last(worker) && atomic_load_explicit(&team->outside, memory_order_relaxed));
}

static pel_host_team *open_team(const pel_host_worker *worker) {
    pel_host_team *teams = worker->device->teams;
    for (int i = 0; i < PEL_HOST_TEAMS; i++) {
        if (may_come(worker, &teams[i])) {
            return &teams[i];
        }
    }
    return NULL;
}

static bool run_team(const pel_host_worker *worker, pel_host_team *team) {
    const uint32_t member = pel_host_team_come(team);
    if (member > 0) {
        pel_host_piece piece;
        pel_host_piece_enter(&piece, &worker->device->base);
        team->run(team->region, member);
        pel_host_piece_leave(&piece);
        pel_host_team_leave(team);
    }
    return member > 0;
}

pel_host_team *pel_host_fork(pel_host_device *device, uint32_t wanted, bool outside, void (*run)(void *region, uint32_t member),
                             void *region) {
    /* an owner from outside comes in place of the reserve */
    const uint32_t others = atomic_load_explicit(&device->active, memory_order_relaxed) - 1;
    wanted = wanted < others ? wanted : others;
    wanted = wanted < PEL_HOST_TEAM_MOST ? wanted : PEL_HOST_TEAM_MOST;
    if (outside && !atomic_load_explicit(&device->guests, memory_order_relaxed)) {
        atomic_store_explicit(&device->guests, true, memory_order_relaxed);
    }
    return wanted > 0 ? pel_host_team_open(device->teams, wanted, outside, run, region) : NULL;
}

bool pel_host_is_attended(const pel_host_device *device) {
    return atomic_load_explicit(&((pel_host_device *)(uintptr_t)device)->attending, memory_order_relaxed) > 0;
}

void pel_host_fork_wake(pel_host_device *device, uint32_t most) {
    pthread_mutex_lock(&device->lock);
    const uint32_t tokens = issue_tokens(device, most);
    device->fork_cpu = tokens > 0 ? sched_getcpu() : device->fork_cpu;
    pthread_mutex_unlock(&device->lock);
    send_tokens(device, tokens);
}

/* The reserve does not spin where guests come: they need the core. */
static bool gives_way(const pel_host_worker *worker) {
    return pel_host_is_last(worker) && worker->device->worker_count > 1 &&
           atomic_load_explicit(&worker->device->guests, memory_order_relaxed);
}

/* Does one thing, if there is one to do. */
static bool work_once(pel_host_worker *worker) {
    const pel_host_device *device = worker->device;
    pel_host_team *team = open_team(worker);
    if (team && run_team(worker, team)) {
        return true;
    }
    if ((worker->node_turn || atomic_load_explicit(&((pel_host_device *)(uintptr_t)device)->background, memory_order_relaxed)) &&
        run_item(worker)) {
        return true;
    }
    if (work_locked(worker)) {
        worker->node_turn = true;
        return true;
    }
    return run_item(worker);
}

static void look_begin(pel_host_device *device) {
    atomic_fetch_add_explicit(&device->spinning, 1, memory_order_relaxed);
    pel_host_look_begin(&device->tasks);
}

static void look_stop(pel_host_device *device) {
    pel_host_look_stop(&device->tasks);
    atomic_fetch_sub_explicit(&device->spinning, 1, memory_order_relaxed);
}

/* Looks for work for a while, and runs what regions there are on the spot: another one is likely to follow. True: there is
 * something else. */
static bool spin(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    int64_t until = pel_clock_now(&pel_clock_monotonic) + device->env->spin_ns;
    bool found = false;
    pel_host_item *caught = NULL;
    atomic_fetch_add_explicit(&device->attending, 1, memory_order_relaxed);
    look_begin(device);
    for (unsigned look = 1; !found; look++) {
        pel_host_team *team = open_team(worker);
        if (team) {
            look_stop(device);
            (void)run_team(worker, team);
            look_begin(device);
            until = 0;
        }
        found = job_to_join(worker) || anything_waits(device);
        if (!found && (look < CLOSE_LOOKS || look % SPARSE == 0)) {
            caught = pel_host_runner_catch(worker->runner);
            found = caught || pel_host_runner_sees_work(worker->runner);
        }
        if (gives_way(worker)) {
            break;
        }
        if (look % LOOKS_PER_CLOCK == 0) {
            const int64_t now = pel_clock_now(&pel_clock_monotonic);
            until = until == 0 ? now + device->env->spin_ns : until;
            if (now > until) {
                break;
            }
        } else if (device->env->spin_ns == 0) {
            break;
        }
        pel_host_pause_once();
    }
    look_stop(device);
    atomic_fetch_sub_explicit(&device->attending, 1, memory_order_relaxed);
    if (caught) {
        pel_host_runner_run(worker->runner, caught);
    }
    return found;
}

/* Under the lock, the worker counted among the sleepers: whoever makes something ready after this look knows of them. */
static bool must_not_sleep(const pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    return device->stop || device->queue.tasks > 0 || open_team(worker) || (device->queue.jobs > 0 && !device->busy) ||
           job_to_join(worker) || pel_host_tasks_any_for_sure(&device->tasks);
}

static bool nudged(const pel_host_device *device, const unsigned *nudges) {
    return nudges && *nudges != pel_host_nudges(device);
}

/* Under the lock. `nudges`: of whoever waits inside a task; NULL: an idle worker. */
static void sleep_as_reserve(const pel_host_worker *worker, const unsigned *nudges) {
    pel_host_device *device = worker->device;
    device->reserve_asleep = true;
    publish_sleepers(device);
    if (!must_not_sleep(worker)) {
        while (!device->reserve_token && !device->stop && !nudged(device, nudges)) {
            pthread_cond_wait(&device->wake_reserve, &device->lock);
        }
    }
    device->reserve_asleep = device->reserve_token = false;
    publish_sleepers(device);
}

/* Under the lock. */
static void sleep_for_token(const pel_host_worker *worker, const unsigned *nudges) {
    pel_host_device *device = worker->device;
    device->sleeping++;
    publish_sleepers(device);
    if (!must_not_sleep(worker)) {
        while (device->tokens == 0 && !device->stop && !nudged(device, nudges) && (nudges || !pel_host_is_parked(worker))) {
            pthread_cond_wait(&device->wake, &device->lock);
        }
        device->tokens -= device->tokens > 0;
    }
    device->sleeping--;
    device->tokens = device->tokens < device->sleeping ? device->tokens : device->sleeping;
    publish_sleepers(device);
}

bool pel_host_is_parked(const pel_host_worker *worker) {
    const uint32_t active = atomic_load_explicit(&worker->device->active, memory_order_relaxed);
    return !pel_host_is_last(worker) && worker->index + 1 >= active;
}

/* Work that counted on it is passed on, then it sleeps where no token finds it. False: time to stop. */
static bool park(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    pthread_mutex_lock(&device->lock);
    device->parked++; /* first: with all others parked, the reserve must do everything */
    pthread_mutex_unlock(&device->lock);
    wake_for_waiting(device);
    if (pel_host_tasks_any_for_sure(&device->tasks)) {
        pel_host_wake_one(device);
    }
    pthread_mutex_lock(&device->lock);
    while (pel_host_is_parked(worker) && !device->stop) {
        pthread_cond_wait(&device->unpark, &device->lock);
    }
    device->parked--;
    const bool go_on = !device->stop;
    pthread_mutex_unlock(&device->lock);
    pel_host_near_look(worker);
    return go_on;
}

/* Sleeps until there is work. False: time to stop. */
static bool sleep_until_woken(pel_host_worker *worker, const unsigned *nudges) {
    pel_host_device *device = worker->device;
    pthread_mutex_lock(&device->lock);
    if (pel_host_is_last(worker)) {
        sleep_as_reserve(worker, nudges);
    } else {
        sleep_for_token(worker, nudges);
    }
    bool go_on = !device->stop;
    uint32_t left = device->tokens;
    const int crowd = device->fork_cpu;
    pthread_mutex_unlock(&device->lock);
    send_tokens(device, left);
    make_room(worker, crowd);
    pel_host_near_look(worker);
    return go_on;
}

static _Thread_local const pel_host_device *worker_of;
static _Thread_local pel_host_worker *myself; /* of workers' threads */

bool pel_host_is_worker(const pel_backend_device *device) { return worker_of != NULL && &worker_of->base == device; }

unsigned pel_host_nudges(const pel_host_device *device) {
    return atomic_load_explicit(&((pel_host_device *)(uintptr_t)device)->nudges, memory_order_acquire);
}

void pel_host_nudge(pel_host_device *device) {
    pthread_mutex_lock(&device->lock);
    atomic_fetch_add_explicit(&device->nudges, 1, memory_order_release);
    pthread_cond_broadcast(&device->wake);
    pthread_cond_broadcast(&device->wake_reserve);
    pthread_mutex_unlock(&device->lock);
}

bool pel_host_work_inside(pel_host_device *device, pel_host_runner *runner) {
    return myself && myself->device == device ? work_once(myself) : pel_host_runner_work(runner);
}

bool pel_host_sleep_inside(pel_host_device *device, unsigned nudges) {
    if (!myself || myself->device != device) {
        return false;
    }
    (void)sleep_until_woken(myself, &nudges);
    return true;
}

/* A worker that has just taken the job opens it in a moment, and one that ends it is done with it in a moment. */
static bool settle(pel_host_device *device) {
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + settle_ns;
    while (atomic_load_explicit(&device->job_busy, memory_order_relaxed) && !job_open(device, 0)) {
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
        publish_counts(device);
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
        if (job_open(device, 0)) {
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
        complete(device, device->job.work, true);
        wake_for_waiting(device); /* a worker would go on with what waits; a guest may leave */
    }
    return helped;
}

bool pel_host_help(pel_host_device *device) {
    const pel_host_device *outer = worker_of;
    if (pel_host_is_bound(device)) {
        return false; /* the calling thread may run elsewhere than the device may */
    }
    worker_of = device;
    const bool helped = help_once(device, &device->workers[device->worker_count - 1]);
    worker_of = outer;
    return helped;
}

static void *worker_main(void *argument) {
    pel_host_worker *worker = argument;
    worker_of = worker->device;
    myself = worker;
    (void)pel_host_runner_enter(worker->runner);
    confine(worker);
    pel_host_near_look(worker);
    for (;;) {
        while (!pel_host_is_parked(worker) && work_once(worker)) {
        }
        if (pel_host_is_parked(worker)) {
            if (!park(worker)) {
                return NULL;
            }
            continue;
        }
        /* also after it was woken: it looks, and wakes the next if there is more */
        while (!spin(worker) && !pel_host_is_parked(worker)) {
            if (!sleep_until_woken(worker, NULL)) {
                return NULL;
            }
        }
    }
}

/* Under the lock: threads of those that are wanted and have none. 0, or why not. Threads inherit the mask of signals. */
static int start_wanted(pel_host_device *device) {
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t blocked, before;
    int code = 0;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof synchronous / sizeof synchronous[0]; i++) {
        sigdelset(&blocked, synchronous[i]);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    for (uint32_t i = 0; i < device->worker_count && code == 0; i++) {
        pel_host_worker *worker = &device->workers[i];
        if (!worker->started && !pel_host_is_parked(worker)) {
            code = pthread_create(&worker->thread, NULL, worker_main, worker);
            worker->started = code == 0;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

pel_status pel_host_workers_start(pel_host_device *device, pel_error **error) {
    pthread_mutex_lock(&device->lock);
    const int code = start_wanted(device);
    pthread_mutex_unlock(&device->lock);
    if (code == 0) {
        return PEL_OK;
    }
    pel_host_workers_stop(device);
    pel_story story = {.device = device->base.facts->info.id,
                       .call = "pthread_create",
                       .code = code,
                       .advice =
                           "raise the limit of threads (ulimit -u, the container's pids limit) or ask for fewer host workers"};
    return pel_fail(error, device->env->allocator, PEL_IO, &story, "cannot start all of %u host workers (%s)",
                    atomic_load_explicit(&device->active, memory_order_relaxed),
                    code == EAGAIN ? "no more threads allowed" : "the system refused");
}

static uint32_t count_started(const pel_host_device *device) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < device->worker_count; i++) {
        count += device->workers[i].started;
    }
    return count;
}

/* The last worker always stays: it is what makes sure that something runs where guests do not come. */
pel_status pel_host_set_active(pel_host_device *device, uint32_t count) {
    pthread_mutex_lock(&device->lock);
    const uint32_t before = atomic_load_explicit(&device->active, memory_order_relaxed), started = count_started(device);
    atomic_store_explicit(&device->active, count, memory_order_relaxed);
    const int code = start_wanted(device);
    device->parked -= count_started(device) - started; /* who has no thread counted as parked */
    if (code != 0) {
        atomic_store_explicit(&device->active, before, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&device->moves, 1, memory_order_relaxed);
    pthread_cond_broadcast(&device->wake);
    pthread_cond_broadcast(&device->unpark);
    pthread_mutex_unlock(&device->lock);
    return code == 0 ? PEL_OK : PEL_IO;
}

void pel_host_workers_stop(pel_host_device *device) {
    pthread_mutex_lock(&device->lock);
    while (atomic_load_explicit(&device->pending, memory_order_acquire) > 0) {
        pthread_cond_wait(&device->drained, &device->lock);
    }
    device->stop = true;
    pthread_cond_broadcast(&device->wake);
    pthread_cond_broadcast(&device->wake_reserve);
    pthread_cond_broadcast(&device->unpark);
    pthread_mutex_unlock(&device->lock);
    for (uint32_t i = 0; i < device->worker_count; i++) { /* nobody asks for more of them while they are stopped */
        if (device->workers[i].started) {
            pthread_join(device->workers[i].thread, NULL);
        }
    }
}
