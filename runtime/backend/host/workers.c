/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers: threads that take work, spin for a moment when there is none, and sleep. Looking for work needs no lock (copies of
 * the counts, the job's gate); taking it does. A worker that takes work and leaves some behind wakes the next, and looks once
 * more under the lock before it sleeps (wake.c). Workers run the user's functions: they keep the synchronous signals, so that a
 * crash is reported where it happened, and block all others, which belong to the caller's threads.
 */
#include "backend/host/workers.h"
#include "base/barrier.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

enum {
    PAUSES_PER_LOOK = 8,
    LOOKS_PER_CLOCK = 64,
    YIELDS = 4,      /* looks at the clock per time that the core is offered to others, which takes as long as a short region */
    AFTER_LETTER = 64, /* looks for another one: a microsecond or two */
    AFTER_REGION = 8, /* looks at regions and jobs before the next one at tasks: another region is likely */
    SPAREST = 64,    /* looks at regions and jobs for one at tasks, at most */
    CLOSE_CLOCKS = 8 /* looks per look at the clock after an isolated launch */
};

void pel_host_pause(void) {
    for (int i = 0; i < PAUSES_PER_LOOK; i++) {
        pel_pause();
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
        atomic_store_explicit(&device->after_alone, work->alone, memory_order_relaxed);
        crowd = work->alone ? -1 : device->submitter_cpu; /* whoever waits for that one sleeps, and its core is free */
    } else {
        work = pel_host_queue_pop_task(&device->queue);
        device->in_tasks += work != NULL;
    }
    pel_host_publish_counts(device);
    uint32_t tokens = pel_host_issue_for_waiting(device);
    pthread_mutex_unlock(&device->lock);
    pel_host_send_tokens(device, tokens);
    pel_host_make_room(worker, crowd);
    return work;
}

/* In one order with the count of who looks: see pass_on. */
static bool tasks_wait(const pel_host_device *device) {
    return atomic_load_explicit(&device->tasks_waiting, memory_order_seq_cst) > 0;
}

static bool anything_waits(const pel_host_device *device) {
    return tasks_wait(device) || (atomic_load_explicit(&device->jobs_waiting, memory_order_seq_cst) > 0 &&
                                  !atomic_load_explicit(&device->job_busy, memory_order_seq_cst));
}

/*
 * By a worker that does not look any more, before it runs something else than what waits under the lock, which may have been left
 * to it. Who submits that publishes it, fences, and counts then who looks (pel_host_issue_for_waiting); so one sees the other.
 */
static void pass_on(pel_host_device *device) {
    if (anything_waits(device)) {
        pel_host_wake_for_waiting(device);
    }
}

static bool job_to_join(const pel_host_worker *worker) {
    const pel_host_job *job = &worker->device->job;
    return pel_host_job_open(worker->device, worker->seen) &&
           (!pel_host_is_last(worker) || (atomic_load_explicit(&job->last_lane_free, memory_order_relaxed) &&
                                          atomic_load_explicit(&job->reserve_called, memory_order_relaxed)));
}

static bool run_item(pel_host_worker *worker) {
    worker->node_turn = false;
    if (anything_waits(worker->device) && pel_host_runner_sees_work(worker->runner)) {
        pel_host_wake_for_waiting(worker->device); /* whoever submitted may have counted on this worker */
    }
    return pel_host_runner_work(worker->runner);
}

/* A job or a task that waits under the lock. */
static bool work_locked(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    if (job_to_join(worker) && !(worker->task_turn && tasks_wait(device))) {
        bool ended;
        if (tasks_wait(device)) {
            pel_host_wake_for_waiting(device); /* whoever submitted may have counted on this worker, which spun */
        }
        pel_host_make_room(worker, atomic_load_explicit(&device->job.cpu, memory_order_relaxed));
        if (pel_host_job_join(worker, false, &worker->seen, &ended)) {
            worker->task_turn = true;
            if (pel_host_is_last(worker)) {
                atomic_store_explicit(&device->guests, false, memory_order_relaxed);
            }
            if (ended) {
                pel_host_complete(device, device->job.work, true);
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
        pel_host_complete(device, work, false);
    } else if (pel_host_job_run(worker, &worker->seen, work)) {
        pel_host_complete(device, work, true);
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

static void run_team(const pel_host_worker *worker, pel_host_team *team, uint32_t member) {
    pel_host_piece piece;
    pel_host_piece_enter(&piece, &worker->device->base);
    team->run(team->region, member);
    pel_host_piece_leave(&piece);
    pel_host_team_leave(team);
}

static void run_letter(pel_host_worker *worker) {
    pel_host_piece piece;
    pel_host_piece_enter(&piece, &worker->device->base);
    pel_host_mailbox_run(&worker->mailbox);
    pel_host_piece_leave(&piece);
}

/* The reserve does not spin where guests come: they need the core. */
static bool gives_way(const pel_host_worker *worker) {
    return pel_host_is_last(worker) && worker->device->worker_count > 1 &&
           atomic_load_explicit(&worker->device->guests, memory_order_relaxed);
}

/* Whether the task engine's come before what waits under the lock: in turns, but for priorities. */
static bool items_first(const pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    return atomic_load_explicit(&device->background, memory_order_relaxed) ||
           (worker->node_turn && !atomic_load_explicit(&device->urgent, memory_order_relaxed));
}

/* Does one thing, if there is one to do. */
static bool work_once(pel_host_worker *worker) {
    /* one that came when it did not look any more; it would not fall asleep with it, also where it waits inside a task */
    if (pel_host_mailbox_has(&worker->mailbox) && pel_host_mailbox_claim(&worker->mailbox)) {
        pass_on(worker->device);
        run_letter(worker);
        return true;
    }
    pel_host_team *team = open_team(worker);
    const uint32_t member = team ? pel_host_team_come(team) : 0;
    if (member > 0) {
        pass_on(worker->device);
        run_team(worker, team, member);
        return true;
    }
    if (items_first(worker) && run_item(worker)) {
        return true;
    }
    if (work_locked(worker)) {
        worker->node_turn = true;
        return true;
    }
    return run_item(worker);
}

static void look_begin(pel_host_worker *worker) {
    pel_host_look_begin(&worker->device->tasks, true);
}

static void look_stop(pel_host_worker *worker) {
    pel_host_look_stop(&worker->device->tasks, true);
}

/* Whoever called once is likely to call again at once: so tasks are not looked at for a moment, unless it is called for them.
 * True: there is a letter. */
static bool await_letter(const pel_host_worker *worker) {
    const pel_host_mailbox *box = &worker->mailbox;
    for (int look = 0; look < AFTER_LETTER; look++) {
        if (pel_host_mailbox_is_called_back(box) || open_team(worker) || job_to_join(worker) || anything_waits(worker->device)) {
            return false;
        }
        if (pel_host_mailbox_has(box)) {
            return true;
        }
        pel_pause();
    }
    return false;
}

/*
 * A letter that was claimed, and those that follow it. To be counted out of those that look, and in again, takes two
 * read-modify-writes and a look at all there is; so between letters it stays out, and who would wake a sleeper calls it back
 * (fork.c). It may have been called back just before the next letter came: then it looks first whether somebody is to be woken
 * instead. Model: tests/model_check/letters.pml.
 */
static void run_letters(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    pel_host_mailbox *box = &worker->mailbox;
    look_stop(worker);
    pass_on(device);
    run_letter(worker);
    atomic_store_explicit(&box->awaited, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&device->lettered, 1, memory_order_relaxed);
    while (await_letter(worker) && pel_host_mailbox_claim(box)) {
        if (pel_host_mailbox_is_called_back(box)) {
            atomic_store_explicit(&box->look, false, memory_order_relaxed);
            pel_host_look_back(&device->tasks);
            pass_on(device);
        }
        run_letter(worker);
    }
    look_begin(worker);
    atomic_store_explicit(&box->awaited, false, memory_order_relaxed);
    atomic_store_explicit(&box->look, false, memory_order_relaxed); /* it looks now */
    atomic_fetch_sub_explicit(&device->lettered, 1, memory_order_relaxed);
}

/* Regions on the spot; whose letter this is has taken the box. False: there is none. */
static bool run_regions(pel_host_worker *worker) {
    if (pel_host_mailbox_has(&worker->mailbox)) {
        if (pel_host_mailbox_claim(&worker->mailbox)) {
            run_letters(worker);
        }
        return true;
    }
    pel_host_team *team = open_team(worker);
    const uint32_t member = team ? pel_host_team_come(team) : 0; /* at once: the line is here now */
    if (member > 0) {
        pel_host_mailbox_attend(&worker->mailbox, false);
        look_stop(worker);
        pass_on(worker->device);
        run_team(worker, team, member);
        look_begin(worker);
        pel_host_mailbox_attend(&worker->mailbox, true);
    }
    return member > 0;
}

/*
 * Each look takes the line from a submitter who does all by itself, and costs nobody anything while none submits: where there
 * have been offers since the last look and somebody took them, half as many looks are made from now on, else twice as many.
 */
static pel_host_item *look_at_tasks(pel_host_worker *worker) {
    uint32_t offers;
    pel_host_item *caught = pel_host_runner_catch(worker->runner, &offers);
    const bool missed = !caught && offers != worker->offers;
    worker->offers = offers;
    /* kept from one spell of looking to the next: a task that it caught does not make it forget all that it missed */
    worker->interval = missed ? (worker->interval < SPAREST ? 2 * worker->interval : SPAREST)
                              : worker->interval > 1 ? worker->interval / 2 : 1;
    return caught;
}

/*
 * An offer that a looking worker caught it runs without being counted out and in again, which would take the line of `looking`
 * from whoever submits, twice a task. That may be as long as nobody sleeps who could be called in its place: who falls asleep
 * counts those off who are away, and looks after that whether anything is left. Each says first what it does and then looks at
 * the other. Nobody else counts off: somebody may have counted on who was away. False: it is not away, and counted no more.
 */
static bool go_away(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    /* the reserve, too, where it is the only one: else it considers standing back after each */
    const bool may = (!pel_host_is_last(worker) || atomic_load_explicit(&device->active, memory_order_relaxed) == 1) &&
                     !pel_host_is_parked(worker);
    if (may && atomic_load_explicit(&device->tasks.asleep, memory_order_relaxed) == 0) {
        (void)atomic_exchange_explicit(&worker->away, true, memory_order_seq_cst);
        if (atomic_load_explicit(&device->tasks.asleep, memory_order_seq_cst) == 0) {
            return true;
        }
        if (!atomic_exchange_explicit(&worker->away, false, memory_order_seq_cst)) {
            pass_on(device);
            return false;
        }
    }
    look_stop(worker);
    pass_on(device);
    return false;
}

/* It looks, and is counted, again. */
static void come_back(pel_host_worker *worker) {
    if (!atomic_exchange_explicit(&worker->away, false, memory_order_seq_cst)) {
        look_begin(worker);
    }
}

void pel_host_count_off(pel_host_device *device) {
    for (uint32_t i = 0; i < device->worker_count; i++) {
        atomic_bool *away = &device->workers[i].away;
        if (atomic_load_explicit(away, memory_order_seq_cst) && atomic_exchange_explicit(away, false, memory_order_seq_cst)) {
            atomic_fetch_sub_explicit(&device->tasks.looking, PEL_HOST_LOOKER + 1, memory_order_seq_cst);
        }
    }
}

/* Looks for work for a while, and runs what regions there are on the spot: another one is likely to follow. True: there is
 * something else. */
static bool spin(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    int64_t until = pel_clock_now(&pel_clock_monotonic) + device->env->spin_ns;
    /* the waiter of an isolated launch sleeps, runs for 30 us where a worker is, and brings the next one: no core falls asleep */
    const unsigned clocks = atomic_load_explicit(&device->after_alone, memory_order_relaxed) ? CLOSE_CLOCKS : LOOKS_PER_CLOCK;
    unsigned next = 1;
    bool found = false, left = false;
    pel_host_item *caught = NULL;
    atomic_fetch_add_explicit(&device->attending, 1, memory_order_relaxed);
    look_begin(worker);
    pel_host_mailbox_attend(&worker->mailbox, true);
    for (unsigned look = 1; !found; look++) {
        if (run_regions(worker)) {
            until = 0;
            next = look + AFTER_REGION;
        }
        found = job_to_join(worker) || anything_waits(device);
        if (!found && look == next) {
            caught = look_at_tasks(worker);
            found = !caught && pel_host_runner_sees_work(worker->runner);
            next = look + worker->interval;
        }
        if (caught) { /* another one is likely to follow */
            pel_host_mailbox_attend(&worker->mailbox, false);
            const bool away = go_away(worker);
            pel_host_runner_run(worker->runner, caught);
            caught = NULL;
            if (!away) {
                left = found = true;
                break;
            }
            come_back(worker);
            pel_host_mailbox_attend(&worker->mailbox, true);
            until = 0;
        }
        if (gives_way(worker)) {
            found = found || pel_host_runner_sees_stuck(worker->runner);
            break;
        }
        if (look % clocks == 0) { /* whoever waits for what just ended, or an OpenCL device's threads, may want this core */
            if (clocks == CLOSE_CLOCKS || look % (YIELDS * clocks) == 0) {
                (void)sched_yield();
            }
            const int64_t now = pel_clock_now(&pel_clock_monotonic);
            until = until == 0 ? now + device->env->spin_ns : until;
            found = found || pel_host_runner_sees_stuck(worker->runner);
            if (now > until) {
                break;
            }
        } else if (device->env->spin_ns == 0) {
            found = found || pel_host_runner_sees_stuck(worker->runner);
            break;
        }
        pel_pause();
    }
    pel_host_mailbox_attend(&worker->mailbox, false);
    if (!left) {
        look_stop(worker);
    }
    atomic_fetch_sub_explicit(&device->attending, 1, memory_order_relaxed);
    return found;
}

/*
 * Who sends a letter looks after that whether the worker still attends (fork.c); who falls asleep has said that it does not, and
 * looks then. So one of both sees the other; the fence of the former is made by the latter.
 */
static bool has_letter(const pel_host_worker *worker) {
    pel_barrier_full();
    if (!atomic_load_explicit(&worker->device->letters, memory_order_seq_cst)) {
        return false;
    }
    pel_barrier_heavy();
    return pel_host_mailbox_has(&worker->mailbox);
}

/* Under the lock, the worker counted among the sleepers: whoever makes something ready after this look knows of them. */
static bool must_not_sleep(const pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    return has_letter(worker) || device->stop || device->queue.tasks > 0 || open_team(worker) ||
           (device->queue.jobs > 0 && !device->busy) || job_to_join(worker) || pel_host_tasks_any_for_sure(&device->tasks);
}

static bool nudged(const pel_host_device *device, const unsigned *nudges) {
    return nudges && *nudges != pel_host_nudges(device);
}

/* Under the lock. `nudges`: of whoever waits inside a task; NULL: an idle worker. */
static void sleep_as_reserve(const pel_host_worker *worker, const unsigned *nudges) {
    pel_host_device *device = worker->device;
    device->reserve_asleep = true;
    pel_host_publish_sleepers(device);
    pel_host_count_off(device);
    if (!must_not_sleep(worker)) {
        while (!device->reserve_token && !device->stop && !nudged(device, nudges)) {
            pthread_cond_wait(&device->wake_reserve, &device->lock);
        }
    }
    device->reserve_asleep = device->reserve_token = false;
    pel_host_publish_sleepers(device);
}

/* Under the lock. */
static void sleep_for_token(const pel_host_worker *worker, const unsigned *nudges) {
    pel_host_device *device = worker->device;
    device->sleeping++;
    pel_host_publish_sleepers(device);
    pel_host_count_off(device);
    if (!must_not_sleep(worker)) {
        while (device->tokens == 0 && !device->stop && !nudged(device, nudges) && (nudges || !pel_host_is_parked(worker))) {
            pthread_cond_wait(&device->wake, &device->lock);
        }
        device->tokens -= device->tokens > 0;
    }
    device->sleeping--;
    device->tokens = device->tokens < device->sleeping ? device->tokens : device->sleeping;
    pel_host_publish_sleepers(device);
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
    pel_host_wake_for_waiting(device);
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
    pel_host_send_tokens(device, left);
    pel_host_make_room(worker, crowd);
    pel_host_near_look(worker);
    return go_on;
}

static _Thread_local const pel_host_device *worker_of;
static _Thread_local pel_host_worker *myself; /* of workers' threads */

const pel_host_device *pel_host_become_worker(const pel_host_device *device) {
    const pel_host_device *before = worker_of;
    worker_of = device;
    return before;
}

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

static int called_from(pel_host_device *device) {
    pthread_mutex_lock(&device->lock);
    const int cpu = device->fork_cpu;
    pthread_mutex_unlock(&device->lock);
    return cpu;
}

/* Where the process has refused itself the barrier, falling asleep and waiting take longer: said once. */
static void tell_of_barrier(pel_host_device *device) {
    if (device->has_barrier && pel_barrier_is_refused() && !atomic_exchange(&device->told_of_barrier, true)) {
        pel_log(device->env->logger, PEL_LOG_WARNING,
                "%s: the system refuses membarrier, which it allowed when the runtime was made (a filter of calls?); to fall "
                "asleep and to wait take 0.2 ms more each",
                device->base.facts->info.id);
    }
}

static void *worker_main(void *argument) {
    pel_host_worker *worker = argument;
    (void)pel_host_become_worker(worker->device);
    myself = worker;
    (void)pel_host_runner_enter(worker->runner);
    pel_host_confine(worker);
    pel_host_make_room(worker, called_from(worker->device));
    pel_host_near_look(worker);
    for (;;) {
        while (!pel_host_is_parked(worker) && work_once(worker)) {
            pel_host_stand_back(worker);
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
            tell_of_barrier(worker->device);
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
