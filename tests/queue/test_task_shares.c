/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of plain tasks that compete have the workers in proportion to their weights. One worker, held until everything is
 * queued, and a clock that only tasks move: the order of tasks is what is looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/barrier.h"
#include "core/runtime.h"
#include <pel/pel.h>

enum { QUEUES = 3, EACH = 4000, MINUTE = 60 };

static _Atomic int64_t moment;

static int64_t now(void *state) {
    (void)state;
    return atomic_load(&moment);
}

static const pel_clock by_tasks = {now, NULL};

typedef struct counted {
    int64_t takes;            /* nanoseconds of each of its tasks */
    int ran;
} counted;

static counted queues[QUEUES];
static atomic_int inside, open_gate, total;

static pel_status hold(void *context) {
    (void)context;
    const time_t late = time(NULL) + MINUTE;
    atomic_store(&inside, 1);
    while (!atomic_load(&open_gate) && time(NULL) < late) {
        sched_yield();
    }
    atomic_fetch_add(&moment, 10000); /* a long one: so the runner takes calls one by one at first, and no pages */
    return PEL_OK;
}

static int shot[QUEUES]; /* how many of each had run when the first one was through */
static bool shot_taken;

static pel_status count_task(void *context) {
    counted *mine = context;
    mine->ran++;
    atomic_fetch_add(&moment, mine->takes);
    if (mine->ran == EACH && !shot_taken) {
        shot_taken = true;
        for (int i = 0; i < QUEUES; i++) {
            shot[i] = queues[i].ran;
        }
    }
    atomic_fetch_add(&total, 1);
    return PEL_OK;
}

/* The caller must not help: it would be a second worker. */
static void compete(const uint32_t *weights, const int64_t *takes, int count) {
    pel_runtime *runtime;
    pel_queue *made[QUEUES], *gate;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    const time_t late = time(NULL) + MINUTE;
    if (!pel_barrier_prepare()) {
        skip(); /* tasks then wait in the order in which they came */
    }
    desc.devices = "host";
    desc.host_workers = 1;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    runtime->clock = &by_tasks;
    assert_int_equal(pel_queue_create(runtime, NULL, &gate, NULL), PEL_OK);
    atomic_store(&inside, 0);
    atomic_store(&open_gate, 0);
    atomic_store(&total, 0);
    shot_taken = false;
    assert_int_equal(pel_task(gate, hold, NULL, NULL, 0, NULL, NULL), PEL_OK);
    while (!atomic_load(&inside) && time(NULL) < late) {
        sched_yield();
    }
    for (int i = 0; i < count; i++) {
        pel_queue_desc queue = PEL_QUEUE_DESC_INIT;
        queue.weight = weights[i];
        queues[i] = (counted){.takes = takes[i]};
        assert_int_equal(pel_queue_create(runtime, &queue, &made[i], NULL), PEL_OK);
        for (int k = 0; k < EACH; k++) {
            assert_int_equal(pel_task(made[i], count_task, &queues[i], NULL, 0, NULL, NULL), PEL_OK);
        }
    }
    atomic_store(&open_gate, 1);
    while (atomic_load(&total) < count * EACH && time(NULL) < late) {
        sched_yield();
    }
    assert_int_equal(atomic_load(&total), count * EACH);
    for (int i = 0; i < count; i++) {
        assert_int_equal(pel_queue_destroy(made[i]), PEL_OK);
    }
    assert_int_equal(pel_queue_destroy(gate), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Within what the longest group takes: 4 us, and one of 64 before the runner knows better. */
static void assert_near(int is, int wanted) {
    if (is < wanted - 150 || is > wanted + 150) {
        fail_msg("%d tasks had run, not about %d", is, wanted);
    }
}

static void test_of_weights(void **state) {
    (void)state;
    compete((const uint32_t[]){1, 3, 2}, (const int64_t[]){500, 500, 500}, 3);
    assert_int_equal(shot[1], EACH);
    assert_near(shot[0], EACH / 3);
    assert_near(shot[2], 2 * EACH / 3);
}

/* Shares are of time, not of numbers. */
static void test_of_lengths(void **state) {
    (void)state;
    compete((const uint32_t[]){1, 1}, (const int64_t[]){2000, 500}, 2);
    assert_int_equal(shot[1], EACH);
    assert_near(shot[0], EACH / 4);
}

static atomic_int long_ran, at_first, second_inside, second_gate;
static int short_ran, late_ran;

static pel_status run_long(void *context) {
    (void)context;
    atomic_fetch_add(&moment, 1000000000);
    atomic_store(&long_ran, 1);
    return PEL_OK;
}

static pel_status hold_again(void *context) {
    const time_t late = time(NULL) + MINUTE;
    (void)context;
    atomic_store(&second_inside, atomic_load(&long_ran) ? 1 : 2);
    while (!atomic_load(&second_gate) && time(NULL) < late) {
        sched_yield();
    }
    return PEL_OK;
}

static pel_status run_short(void *context) {
    (void)context;
    short_ran++;
    atomic_fetch_add(&moment, 500);
    atomic_fetch_add(&total, 1);
    return PEL_OK;
}

static pel_status run_late(void *context) {
    (void)context;
    if (late_ran++ == 0) {
        atomic_store(&at_first, short_ran);
    }
    atomic_fetch_add(&moment, 500);
    atomic_fetch_add(&total, 1);
    return PEL_OK;
}

static void wait_for(atomic_int *value, int wanted) {
    const time_t late = time(NULL) + MINUTE;
    while (atomic_load(value) < wanted && time(NULL) < late) {
        sched_yield();
    }
    assert_true(atomic_load(value) >= wanted);
}

/* One queue has run for long and goes; another comes in its place beside one that has waited meanwhile. */
static void test_a_queue_does_not_begin_with_what_another_has_run(void **state) {
    pel_runtime *runtime;
    pel_queue *gate, *before, *beside, *after;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    (void)state;
    if (!pel_barrier_prepare()) {
        skip();
    }
    short_ran = late_ran = 0;
    desc.devices = "host";
    desc.host_workers = 1;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    runtime->clock = &by_tasks;
    assert_int_equal(pel_queue_create(runtime, NULL, &gate, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &before, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &beside, NULL), PEL_OK);
    atomic_store(&inside, 0);
    atomic_store(&open_gate, 0);
    atomic_store(&total, 0);
    assert_int_equal(pel_task(gate, hold, NULL, NULL, 0, NULL, NULL), PEL_OK);
    wait_for(&inside, 1);
    assert_int_equal(pel_task(before, run_long, NULL, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_task(beside, hold_again, NULL, NULL, 0, NULL, NULL), PEL_OK);
    for (int k = 0; k < EACH; k++) {
        assert_int_equal(pel_task(beside, run_short, NULL, NULL, 0, NULL, NULL), PEL_OK);
    }
    atomic_store(&open_gate, 1);
    wait_for(&second_inside, 1);
    assert_int_equal(atomic_load(&second_inside), 1); /* equal clocks: the first one was first */
    assert_int_equal(pel_queue_destroy(before), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &after, NULL), PEL_OK);
    assert_int_equal(pel_task(after, run_late, NULL, NULL, 0, NULL, NULL), PEL_OK);
    atomic_store(&second_gate, 1);
    wait_for(&total, EACH + 1);
    assert_true(atomic_load(&at_first) < 150); /* a group that was begun, and one more */
    assert_int_equal(pel_queue_destroy(after), PEL_OK);
    assert_int_equal(pel_queue_destroy(beside), PEL_OK);
    assert_int_equal(pel_queue_destroy(gate), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_queue *common;
static int mark_at;

static pel_status note_when(void *context) {
    (void)context;
    mark_at = short_ran;
    return PEL_OK;
}

static void *submit_a_mark(void *unused) {
    (void)unused;
    assert_int_equal(pel_task(common, note_when, NULL, NULL, 0, NULL, NULL), PEL_OK);
    return NULL;
}

static void *submit_many(void *unused) {
    (void)unused;
    for (int k = 0; k < EACH; k++) {
        assert_int_equal(pel_task(common, run_short, NULL, NULL, 0, NULL, NULL), PEL_OK);
    }
    return NULL;
}

/* One worker finds the feed of one thread full for as long as it likes, and turns to the other's all the same, wherever it
 * begins. */
static void test_who_submits_much_does_not_shut_another_thread_out(void **state) {
    (void)state;
    if (!pel_barrier_prepare()) {
        skip();
    }
    for (int first = 0; first < 2; first++) {
        pel_runtime *runtime;
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        desc.devices = "host";
        desc.host_workers = 1;
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        runtime->clock = &by_tasks;
        assert_int_equal(pel_queue_create(runtime, NULL, &common, NULL), PEL_OK);
        atomic_store(&inside, 0);
        atomic_store(&open_gate, 0);
        atomic_store(&total, 0);
        short_ran = 0;
        mark_at = EACH;
        assert_int_equal(pel_task(common, hold, NULL, NULL, 0, NULL, NULL), PEL_OK);
        wait_for(&inside, 1);
        for (int i = 0; i < 2; i++) {
            pthread_t submitter;
            assert_int_equal(pthread_create(&submitter, NULL, i == first ? submit_a_mark : submit_many, NULL), 0);
            assert_int_equal(pthread_join(submitter, NULL), 0);
        }
        atomic_store(&open_gate, 1);
        wait_for(&total, EACH);
        assert_int_equal(pel_queue_destroy(common), PEL_OK);
        assert_true(mark_at < EACH);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_of_weights), cmocka_unit_test(test_of_lengths),
                                       cmocka_unit_test(test_a_queue_does_not_begin_with_what_another_has_run),
                                       cmocka_unit_test(test_who_submits_much_does_not_shut_another_thread_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
