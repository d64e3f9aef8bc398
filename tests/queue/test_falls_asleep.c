/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Something is submitted in the very moment in which the only worker that could run it falls asleep: one of both must see the
 * other. From outside, as a bare task and as one with an access, to a runtime with one worker; and from inside a task, which
 * waits for its child without helping, to the other of two. tests/model_check/wake.pml goes through all orders; this goes the
 * real way, with delays that sweep over one another. A wake-up that is lost shows as a test that never ends.
 *
 * At last as a program does that refuses itself membarrier when its runtime works already (a filter of calls, as sandboxes
 * install them): nothing is lost, and it is said once.
 */
#include "support/refuse_membarrier.h"

#include <pel/pel.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 4000, SWEEP_NS = 10000, STEP_NS = 7, AHEAD_NS = 3000, REST_NS = 20000, BYTES = 64, BATCH = 300 };

typedef struct sweep {
    pel_queue *queue;
    int64_t delay;
    atomic_bool over;
} sweep;

static atomic_int inside, ran, told;
static _Atomic int64_t moment; /* when the worker has nothing left; 0: not known yet */

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static pel_status until_the_moment(void *context) {
    (void)context;
    atomic_fetch_add(&inside, 1);
    while (atomic_load(&moment) == 0) {
        sched_yield();
    }
    while (now() < atomic_load(&moment)) {
    }
    return PEL_OK;
}

static pel_status last(void *context) {
    (void)context;
    atomic_store(&ran, 1);
    return PEL_OK;
}

/* Without helping. */
static void wait_for_the_last(void) {
    while (!atomic_load(&ran)) {
        sched_yield();
    }
}

static pel_status makes_a_child(void *context) {
    sweep *s = context;
    atomic_fetch_add(&inside, 1);
    while (atomic_load(&moment) == 0) {
        sched_yield();
    }
    while (now() < atomic_load(&moment) + s->delay) {
    }
    pel_status status = pel_task(s->queue, last, NULL, NULL, 0, NULL, NULL);
    if (status == PEL_OK) {
        wait_for_the_last();
    }
    atomic_store(&s->over, true);
    return status;
}

static void begin(int tasks) {
    while (atomic_load(&inside) < tasks) {
        sched_yield();
    }
    atomic_store(&moment, now() + AHEAD_NS);
}

static void listen(void *user, pel_log_level level, const char *message) {
    (void)user;
    atomic_fetch_add(&told, level == PEL_LOG_WARNING && strstr(message, "membarrier"));
}

static pel_runtime *make(uint32_t workers, sweep *s) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = "host";
    desc.host_workers = workers;
    desc.spin_us = -1;
    desc.log = listen;
    desc.log_level = PEL_LOG_WARNING;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &s->queue, NULL), PEL_OK);
    return runtime;
}

static void next_round(sweep *s, int round) {
    atomic_store(&inside, 0);
    atomic_store(&ran, 0);
    atomic_store(&moment, 0);
    atomic_store(&s->over, false);
    s->delay = (int64_t)round * STEP_NS % SWEEP_NS;
}

static void submit_while_it_falls_asleep(sweep *s, const pel_access *access) {
    for (int round = 0; round < ROUNDS; round++) {
        next_round(s, round);
        assert_int_equal(pel_task(s->queue, until_the_moment, NULL, NULL, 0, NULL, NULL), PEL_OK);
        begin(1);
        while (now() < atomic_load(&moment) + s->delay) {
        }
        assert_int_equal(pel_task(s->queue, last, NULL, access, access ? 1 : 0, NULL, NULL), PEL_OK);
        wait_for_the_last();
    }
}

static void test_a_bare_task(void **state) {
    (void)state;
    sweep s = {0};
    pel_runtime *runtime = make(1, &s);
    submit_while_it_falls_asleep(&s, NULL);
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    pel_queue_destroy(s.queue);
    pel_runtime_destroy(runtime);
}

static void test_a_task_in_a_lane(void **state) {
    (void)state;
    sweep s = {0};
    pel_runtime *runtime = make(1, &s);
    pel_buffer *buffer = NULL;
    assert_int_equal(pel_buffer_create(runtime, BYTES, &buffer, NULL), PEL_OK);
    const pel_access access = PEL_ACCESS(buffer, 0, BYTES, PEL_WRITE);
    submit_while_it_falls_asleep(&s, &access);
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    pel_buffer_destroy(buffer);
    pel_queue_destroy(s.queue);
    pel_runtime_destroy(runtime);
}

static void test_a_child(void **state) {
    (void)state;
    sweep s = {0};
    pel_runtime *runtime = make(2, &s);
    for (int round = 0; round < ROUNDS; round++) {
        next_round(&s, round);
        assert_int_equal(pel_task(s.queue, makes_a_child, &s, NULL, 0, NULL, NULL), PEL_OK);
        assert_int_equal(pel_task(s.queue, until_the_moment, NULL, NULL, 0, NULL, NULL), PEL_OK);
        begin(2);
        while (!atomic_load(&s.over)) { /* both processors are theirs */
            nanosleep(&(struct timespec){0, REST_NS}, NULL);
        }
    }
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    pel_queue_destroy(s.queue);
    pel_runtime_destroy(runtime);
}

/* Each is waited for, and what can still be cancelled did not run. */
static void wait_and_cancel(pel_queue *queue) {
    for (int i = 0; i < BATCH; i++) {
        pel_event *event;
        atomic_store(&ran, 0);
        assert_int_equal(pel_task(queue, last, NULL, NULL, 0, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(ran, 1);
        atomic_store(&ran, 0);
        assert_int_equal(pel_task(queue, last, NULL, NULL, 0, NULL, &event), PEL_OK);
        const bool cancelled = pel_event_cancel(event) == PEL_OK;
        assert_int_equal(pel_event_wait(event), cancelled ? PEL_CANCELLED : PEL_OK);
        assert_int_equal(ran, !cancelled);
        pel_event_release(event);
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
    }
}

/* The last one: it cannot be taken back. */
static void test_without_membarrier_from_now_on(void **state) {
    (void)state;
    const bool there = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0;
    sweep s = {0};
    pel_runtime *runtime = make(1, &s);
    assert_int_equal(pel_task(s.queue, last, NULL, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    assert_int_equal(told, 0);
    if (refuse_membarrier(true, EPERM) == 0) {
        submit_while_it_falls_asleep(&s, NULL);
        wait_and_cancel(s.queue);
        assert_int_equal(told, there);
    }
    pel_queue_destroy(s.queue);
    pel_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bare_task),
        cmocka_unit_test(test_a_task_in_a_lane),
        cmocka_unit_test(test_a_child),
        cmocka_unit_test(test_without_membarrier_from_now_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
