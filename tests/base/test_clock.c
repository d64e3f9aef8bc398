/* SPDX-License-Identifier: BSD-3-Clause */
/* The time of processors: what threads had that still run is in it when they were settled. */
#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

typedef struct spinner {
    atomic_int clock;
    atomic_bool stop;
} spinner;

static void *spin(void *argument) {
    spinner *s = argument;
    atomic_store(&s->clock, pel_clock_of_this_thread());
    while (!atomic_load(&s->stop)) {
    }
    return NULL;
}

static int64_t read_clock(int clock) {
    struct timespec now;
    assert_int_equal(clock_gettime(clock, &now), 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Reading a thread's clock settles it, so the threads' own are read afterwards: since then they had the time between at most. */
static void test_threads_that_run(void **state) {
    enum { THREADS = 2, LOOKS = 200, ROUNDING_NS = 50000 };
    static spinner all[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, spin, &all[i]), 0);
        while (atomic_load(&all[i].clock) == 0) {
            sched_yield();
        }
    }
    for (int look = 0; look < LOOKS; look++) {
        int64_t sum = 0;
        const int64_t began = pel_clock_now(&pel_clock_monotonic);
        for (int i = 0; i < THREADS; i++) {
            pel_clock_settle(atomic_load(&all[i].clock));
        }
        const int64_t process = pel_clock_now(&pel_clock_process);
        for (int i = 0; i < THREADS; i++) {
            sum += read_clock(atomic_load(&all[i].clock));
        }
        const int64_t between = pel_clock_now(&pel_clock_monotonic) - began;
        assert_true(process + THREADS * between + ROUNDING_NS >= sum);
        const struct timespec nap = {0, 300000};
        (void)nanosleep(&nap, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        atomic_store(&all[i].stop, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void test_a_thread_that_has_ended(void **state) {
    spinner s = {0};
    pthread_t thread;
    (void)state;
    atomic_store(&s.stop, true);
    assert_int_equal(pthread_create(&thread, NULL, spin, &s), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pel_clock_settle(atomic_load(&s.clock));
    const int64_t before = pel_clock_now(&pel_clock_process);
    assert_true(pel_clock_now(&pel_clock_process) >= before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_that_run),
        cmocka_unit_test(test_a_thread_that_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
