/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The caller's own executor: whenever something is made ready, one of its threads is asked to come, up to a number; it works as a
 * lent thread does (lend.c) and goes back when it has found nothing for as long as workers look.
 *
 * Like a lent thread it is a guest that nothing depends on: workers are told of all work as if there was no executor, so one that
 * is busy, slow or stuck delays nobody. That is why one thread of the runtime's own stays. Rejected: workers that are works of
 * the executor (who waits inside a task would keep a thread that the executor needs for what is waited for).
 */
#include "backend/host/host.h"
#include "queue/command.h"
#include <time.h>

enum { MOST = PEL_HOST_GUESTS - 2 }; /* threads that wait need places of guests, too */

static bool never(void *user) {
    (void)user;
    return false;
}

static void invite(void *host);

/*
 * On a thread of the executor. Whoever pushes asks for another one if it sees that this one leaves, and this one looks once more
 * after it has said so: one of both sees the other. After the last line the runtime may be gone.
 */
static void work(void *argument) {
    pel_runtime *runtime = argument;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    pel_hands *hands = &runtime->hands;
    pel_host_runner *before, *runner = pel_inside_task(runtime) ? NULL : pel_host_guest_enter(dispatcher->tasks, &before);
    if (runner) {
        while (pel_lend(runtime, runner, never, NULL) && pel_host_runner_sees_work(runner)) {
        }
        pel_host_guest_leave(runner, before);
    }
    atomic_fetch_sub_explicit(&hands->invited, 1, memory_order_seq_cst);
    if (runner && pel_host_tasks_any_for_sure(dispatcher->tasks)) {
        invite(runtime);
    }
    atomic_fetch_sub_explicit(&hands->inside, 1, memory_order_release);
}

/* Inside before it looks: pel_hands_end either is seen here or waits. */
static void invite(void *host) {
    pel_runtime *runtime = host;
    pel_hands *hands = &runtime->hands;
    atomic_fetch_add_explicit(&hands->inside, 1, memory_order_seq_cst);
    unsigned invited = atomic_load_explicit(&hands->invited, memory_order_seq_cst);
    while (invited < atomic_load_explicit(&hands->most, memory_order_seq_cst)) {
        if (atomic_compare_exchange_weak_explicit(&hands->invited, &invited, invited + 1, memory_order_seq_cst,
                                                  memory_order_seq_cst)) {
            runtime->executor.submit(runtime->executor.user, work, runtime);
            return;
        }
    }
    atomic_fetch_sub_explicit(&hands->inside, 1, memory_order_release);
}

void pel_hands_begin(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const uint32_t cores = runtime->topology ? runtime->topology->budget_count : 1;
    uint32_t most = runtime->executor.concurrency > 0 ? runtime->executor.concurrency : cores;
    if (!runtime->executor.submit || !pel_host_may_help(runtime->task_device->driver)) {
        return;
    }
    most = most < MOST ? most : MOST;
    atomic_store_explicit(&runtime->hands.most, most > 0 ? most : 1, memory_order_relaxed);
    dispatcher->tasks->invite_host = runtime;
    dispatcher->tasks->invite = invite;
}

void pel_hands_end(pel_runtime *runtime) {
    const struct timespec moment = {0, 50000};
    atomic_store_explicit(&runtime->hands.most, 0, memory_order_seq_cst);
    while (atomic_load_explicit(&runtime->hands.inside, memory_order_seq_cst) > 0) {
        (void)nanosleep(&moment, NULL);
    }
}
