/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread of the caller's that works for a while.
 *
 * It is a guest that waits for nothing of ours: it runs tasks, takes part in loops and launches, looks as long as workers do,
 * then naps, longer each time, up to MOST_NAP. It takes no part in the protocol of wake-ups: whatever comes meanwhile is told to
 * a worker, of which there always is one, so nothing depends on a thread that may be gone the next moment. Rejected: to let it
 * sleep among the workers (it could be told of a job that it cannot run, and leave with it).
 */
#include "backend/host/host.h"
#include "queue/command.h"
#include <time.h>

enum { LOOKS_PER_CLOCK = 32 };
static const int64_t first_nap_ns = 50000, most_nap_ns = 2000000;

bool pel_lend(pel_runtime *runtime, pel_host_runner *runner, bool (*stop)(void *user), void *user) {
    pel_host_device *device = (pel_host_device *)runtime->task_device->driver;
    bool worked = false;
    while (!stop(user) && (pel_host_runner_work(runner) || pel_host_help(device))) {
        worked = true;
    }
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + device->env->spin_ns;
    for (uint32_t look = 1; !stop(user) && !pel_host_runner_sees_work(runner); look++) {
        pel_host_pause();
        if (look % LOOKS_PER_CLOCK == 0) {
            if (pel_host_runner_sees_stuck(runner)) {
                return true;
            }
            if (pel_clock_now(&pel_clock_monotonic) > until) {
                return worked;
            }
        }
    }
    return true;
}

pel_status pel_worker_run(pel_runtime *runtime, bool (*stop)(void *user), void *user) {
    if (!runtime || !stop) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status == PEL_OK) {
        status = runtime->machine           ? PEL_UNSUPPORTED
                 : pel_inside_task(runtime) ? PEL_WOULD_DEADLOCK
                                            : pel_dispatcher_ensure(runtime, NULL);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_host_runner *before, *runner = pel_host_guest_enter(runtime->dispatcher->tasks, &before);
    if (!runner) {
        return PEL_BUSY;
    }
    int64_t nap = first_nap_ns;
    while (!stop(user)) {
        if (pel_lend(runtime, runner, stop, user)) {
            nap = first_nap_ns;
        } else {
            const struct timespec time = {0, (long)nap};
            (void)nanosleep(&time, NULL);
            nap = 2 * nap < most_nap_ns ? 2 * nap : most_nap_ns;
        }
    }
    pel_host_guest_leave(runner, before);
    return PEL_OK;
}
