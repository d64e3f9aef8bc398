/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting inside a task.
 *
 * The thread goes on working: whatever it finds it runs on top of the task that waits, as a rule that task's own children, which
 * are at the young end of its deque. Who finds nothing looks for a moment, then sleeps as an idle worker does, so that a
 * submitter can wake it; ends that somebody may wait for nudge it. What runs on top must return before the task below goes on. So
 * a task counts everything below it on its stack among those that it must not wait for (deadlock.c), and the stack is bounded:
 * from DEPTH waits on, a thread only sleeps, and the last worker that would do so is told WOULD_DEADLOCK instead, because nobody
 * would be left to run what all wait for.
 *
 * Rejected: a fresh thread for each one that waits (a wake-up of 30-50 us for each wait, and more threads than cores when they
 * resume).
 */
#include "backend/host/host.h"
#include "queue/command.h"

enum { DEPTH = 200, LOOKS_PER_CLOCK = 32 };

/* Runs what there is; looks for more for a while. */
static void work(pel_host_device *device, pel_host_runner *runner, const pel_waiting *what) {
    pel_host_tasks *tasks = runner->tasks;
    int64_t until = 0;
    for (;;) {
        for (uint32_t i = 1; pel_host_work_inside(device, runner); i++) {
            until = 0;
            if (i % what->patience == 0 && what->seems_over(what->user)) {
                return;
            }
        }
        pel_host_look_begin(tasks, false);
        bool over = false, found = false;
        for (uint32_t look = 1; !(over = what->seems_over(what->user)) && !(found = pel_host_runner_sees_work(runner)); look++) {
            pel_host_pause();
            if (look % LOOKS_PER_CLOCK == 0) {
                int64_t now = pel_clock_now(&pel_clock_monotonic);
                until = until == 0 ? now + device->env->spin_ns : until;
                found = pel_host_runner_sees_stuck(runner);
                if (found || now > until) {
                    break;
                }
            }
        }
        pel_host_look_stop(tasks, false);
        if (over || !found) {
            return;
        }
    }
}

static void only_sleep(pel_runtime *runtime, const pel_waiting *what) {
    const pel_waiting bare = {.over = what->over, .user = what->user, .restless = what->restless};
    pthread_mutex_lock(&runtime->lock);
    pel_wait_for(runtime, &bare);
    pthread_mutex_unlock(&runtime->lock);
}

/* Until it is over, which is returned, or there may be work. */
static bool sleep_or_be_woken(pel_runtime *runtime, pel_host_device *device, const pel_waiting *what, unsigned nudges) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pthread_mutex_lock(&runtime->lock);
    atomic_fetch_add(&dispatcher->inside, 1);
    dispatcher->restless += what->restless ? 1u : 0u;
    const bool over = what->over(what->user); /* which sees to it that there will be a nudge */
    pthread_mutex_unlock(&runtime->lock);
    const bool worker = over || pel_host_sleep_inside(device, nudges);
    pthread_mutex_lock(&runtime->lock);
    dispatcher->restless -= what->restless ? 1u : 0u;
    atomic_fetch_sub(&dispatcher->inside, 1);
    pthread_mutex_unlock(&runtime->lock);
    if (!worker) { /* a guest: workers look after what there is */
        only_sleep(runtime, what);
    }
    return over || !worker;
}

static pel_status wait_without_working(pel_runtime *runtime, const pel_waiting *what) {
    pel_host_tasks *tasks = runtime->dispatcher->tasks;
    const pel_host_device *device = (const pel_host_device *)runtime->task_device->driver;
    const bool worker = pel_host_is_worker(runtime->task_device->driver);
    if (worker && atomic_fetch_add(&tasks->stuck, 1) + 1 >= device->active) {
        atomic_fetch_sub(&tasks->stuck, 1);
        return PEL_WOULD_DEADLOCK;
    }
    only_sleep(runtime, what);
    if (worker) {
        atomic_fetch_sub(&tasks->stuck, 1);
    }
    return PEL_OK;
}

pel_status pel_wait_inside(pel_runtime *runtime, const pel_waiting *what) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_host_device *device = (pel_host_device *)runtime->task_device->driver;
    pel_host_runner *runner = dispatcher->tasks ? pel_host_runner_current(dispatcher->tasks) : NULL;
    if (!runner) {
        return PEL_WOULD_DEADLOCK;
    }
    if (runner->depth >= DEPTH) {
        return wait_without_working(runtime, what);
    }
    runner->depth++;
    for (bool over = false; !over && !what->seems_over(what->user);) {
        const unsigned nudges = pel_host_nudges(device);
        work(device, runner, what);
        over = what->seems_over(what->user) || sleep_or_be_woken(runtime, device, what, nudges);
    }
    runner->depth--;
    return PEL_OK;
}
