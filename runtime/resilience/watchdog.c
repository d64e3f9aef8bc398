/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watchdog's sense of time.
 *
 * It sleeps on a condition while nothing is watched and to the next moment that matters otherwise, so an idle runtime costs
 * nothing. How much later than asked for it wakes is what the process did not get (it was stopped), and is handed on: no device
 * is blamed for that; nor for the time in which threads wait for a core, which is asked for, without the lock, only while
 * something watched is old. In a virtual machine there is no thread: the machine rings. Rejected: timers of the system (signals
 * are the host's), and a look in each wait: nobody may be waiting.
 */
#include "resilience/watchdog.h"
#include "backend/simulated/machine.h"
#include "queue/command.h"
#include "queue/isolate.h"
#include "resilience/starvation.h"
#include <signal.h>
#include <time.h>

struct pel_watchdog {
    pthread_t thread;
    pthread_cond_t wake;
    int64_t when;      /* INT64_MAX: sleeps */
    bool ending;
    bool old;          /* something is watched that takes long */
    pel_starvation starvation;
};

static void ring(void *user) {
    pel_runtime *runtime = user;
    bool old;
    pthread_mutex_lock(&runtime->lock);
    const int64_t next = pel_isolate_look(runtime, pel_clock_now(runtime->clock), (pel_lateness){0, 0}, &old);
    pel_dispatch(runtime);
    if (next != INT64_MAX) {
        pel_machine_alarm(runtime->machine, next, ring, runtime);
    }
    pel_dispatcher_unlock(runtime, true);
}

/* The lock is held on entry and given up, in between and in the end. */
static void look(pel_runtime *runtime, struct pel_watchdog *dog) {
    const int64_t when = dog->when;
    pel_lateness late = {0, 0};
    dog->when = INT64_MAX; /* what begins during the look asks for a moment of its own */
    if (dog->old) {
        pthread_mutex_unlock(&runtime->lock);
        late.starved = pel_starvation_look(&dog->starvation, "", pel_clock_now(runtime->clock));
        pthread_mutex_lock(&runtime->lock);
    } else {
        dog->starvation.at = 0;
    }
    const int64_t now = pel_clock_now(runtime->clock);
    late.stopped = now - when;
    const int64_t next = pel_isolate_look(runtime, now, late, &dog->old);
    dog->when = next < dog->when ? next : dog->when;
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true);
}

static void *watch(void *user) {
    pel_runtime *runtime = user;
    struct pel_watchdog *dog = runtime->watchdog;
    pthread_mutex_lock(&runtime->lock);
    while (!dog->ending) {
        if (dog->when == INT64_MAX) {
            pthread_cond_wait(&dog->wake, &runtime->lock);
        } else if (pel_clock_now(runtime->clock) < dog->when) {
            const struct timespec until = {.tv_sec = dog->when / 1000000000, .tv_nsec = dog->when % 1000000000};
            (void)pthread_cond_timedwait(&dog->wake, &runtime->lock, &until);
        } else {
            look(runtime, dog);
            pthread_mutex_lock(&runtime->lock);
        }
    }
    pthread_mutex_unlock(&runtime->lock);
    return NULL;
}

static struct pel_watchdog *start(pel_runtime *runtime) {
    struct pel_watchdog *dog = pel_alloc_zero(&runtime->allocator, 1, sizeof *dog);
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (!dog) {
        return NULL;
    }
    dog->when = INT64_MAX;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    runtime->watchdog = dog;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    const int code = pthread_create(&dog->thread, NULL, watch, runtime);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        pthread_cond_destroy(&dog->wake);
        pel_free(&runtime->allocator, dog);
        runtime->watchdog = NULL;
    }
    return runtime->watchdog;
}

void pel_watchdog_wake(pel_runtime *runtime, int64_t when) {
    if (runtime->machine) {
        pel_machine_alarm(runtime->machine, when, ring, runtime);
        return;
    }
    struct pel_watchdog *dog = runtime->watchdog ? runtime->watchdog : start(runtime);
    if (!dog) {
        pel_log(&runtime->logger, PEL_LOG_ERROR, "no thread for the watchdog: hanging devices will not be found");
    } else if (when < dog->when) {
        dog->when = when;
        pthread_cond_signal(&dog->wake);
    }
}

void pel_watchdog_end(pel_runtime *runtime) {
    struct pel_watchdog *dog = runtime->watchdog;
    if (runtime->machine) {
        pel_machine_alarm(runtime->machine, INT64_MAX, NULL, NULL);
    }
    if (dog) {
        pthread_mutex_lock(&runtime->lock);
        dog->ending = true;
        pthread_cond_signal(&dog->wake);
        pthread_mutex_unlock(&runtime->lock);
        pthread_join(dog->thread, NULL);
        pthread_cond_destroy(&dog->wake);
        pel_free(&runtime->allocator, dog);
        runtime->watchdog = NULL;
    }
}
