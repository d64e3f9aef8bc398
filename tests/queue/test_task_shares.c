/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of plain tasks that compete have the workers in proportion to their weights. One worker, held until everything is
 * queued, and a clock that only tasks move: the order of tasks is what is looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_of_weights), cmocka_unit_test(test_of_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
