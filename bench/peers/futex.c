/* SPDX-License-Identifier: BSD-3-Clause */
#include "futex.h"
#include "workload.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic uint32_t call, answer;
static _Atomic bool stopping;
static _Atomic int answered_on;
static pthread_t sleeper;

#define LOOKING 50e3 /* nanoseconds */

static void *sleep_and_answer(void *nothing) {
    (void)nothing;
    uint32_t seen = 0;
    while (!atomic_load(&stopping)) {
        const double until = workload_now() + LOOKING;
        while (atomic_load(&call) == seen && workload_now() < until) {
            workload_pause();
        }
        while (atomic_load(&call) == seen) {
            syscall(SYS_futex, &call, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        }
        seen = atomic_load(&call);
        atomic_store_explicit(&answered_on, sched_getcpu(), memory_order_relaxed);
        atomic_store_explicit(&answer, seen, memory_order_release);
    }
    return NULL;
}

bool futex_sleeper_start(void) {
    return pthread_create(&sleeper, NULL, sleep_and_answer, NULL) == 0;
}

double futex_sleeper_call(bool *other_core) {
    const double began = workload_now();
    const uint32_t number = atomic_fetch_add(&call, 1) + 1;
    syscall(SYS_futex, &call, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    while (atomic_load_explicit(&answer, memory_order_acquire) != number) {
        workload_pause();
    }
    const double spent = workload_now() - began;
    *other_core = sched_getcpu() != atomic_load_explicit(&answered_on, memory_order_relaxed);
    return spent;
}

void futex_sleeper_stop(void) {
    atomic_store(&stopping, true);
    bool ignored;
    (void)futex_sleeper_call(&ignored);
    pthread_join(sleeper, NULL);
}
