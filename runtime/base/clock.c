/* SPDX-License-Identifier: BSD-3-Clause */
/* The real clock. Everything asks a pel_clock object, so that a simulation can stand in; only this file knows clock_gettime. */
#include "base/clock.h"

#include <pthread.h>
#include <stddef.h>
#include <time.h>

static int64_t monotonic_now(void *state) {
    (void)state;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: the clock exists and the pointer is valid */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t process_now(void *state) {
    (void)state;
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* likewise */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int pel_clock_of_this_thread(void) {
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    (void)pthread_getcpuclockid(pthread_self(), &clock); /* no system call: made of the thread's number */
    return clock;
}

void pel_clock_settle(int thread) {
    struct timespec now;
    (void)clock_gettime(thread, &now); /* of a thread that has ended: refused */
}

const pel_clock pel_clock_monotonic = {monotonic_now, NULL};
const pel_clock pel_clock_process = {process_now, NULL};
