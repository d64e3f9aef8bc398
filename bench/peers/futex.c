/* SPDX-License-Identifier: BSD-3-Clause */
#include "futex.h"
#include "workload.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic uint32_t call, answer;
static _Atomic bool stopping;
static pthread_t sleeper;

static void *sleep_and_answer(void *nothing) {
    (void)nothing;
    uint32_t seen = 0;
    while (!atomic_load(&stopping)) {
        while (atomic_load(&call) == seen) {
            syscall(SYS_futex, &call, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        }
        seen = atomic_load(&call);
        atomic_store_explicit(&answer, seen, memory_order_release);
    }
    return NULL;
}

bool futex_sleeper_start(void) {
    return pthread_create(&sleeper, NULL, sleep_and_answer, NULL) == 0;
}

double futex_sleeper_call(void) {
    const double began = workload_now();
    const uint32_t number = atomic_fetch_add(&call, 1) + 1;
    syscall(SYS_futex, &call, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    while (atomic_load_explicit(&answer, memory_order_acquire) != number) {
        workload_pause();
    }
    return workload_now() - began;
}

void futex_sleeper_stop(void) {
    atomic_store(&stopping, true);
    (void)futex_sleeper_call();
    pthread_join(sleeper, NULL);
}
