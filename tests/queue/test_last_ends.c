/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last two tasks of a queue end at the same moment, on two workers, while somebody sleeps until all are over: one of them
 * must see that both are. tests/model_check/ends.pml goes through all orders; this goes the real way, with delays that sweep over
 * one another. A wake-up that is lost shows as a test that never ends.
 */
#include <pel/pel.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { ROUNDS = 2000, SWEEP = 41, STEP_NS = 5, ASLEEP_NS = 100000, MINUTE = 60 };

static atomic_int inside;
static _Atomic int64_t moment; /* when both return; 0: not known yet */

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static pel_status end_together(void *context) {
    const int64_t late = now() + (int64_t)MINUTE * 1000000000;
    atomic_fetch_add(&inside, 1);
    while (atomic_load(&moment) == 0 && now() < late) {
        sched_yield();
    }
    while (now() < atomic_load(&moment) + *(const int64_t *)context) {
    }
    return PEL_OK;
}

static void test_one_of_two_that_end_at_once_sees_it(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_queue *queue = NULL;
    int64_t delays[2] = {STEP_NS * SWEEP / 2, 0};
    desc.devices = "host";
    desc.host_workers = 2;
    desc.spin_us = -1;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    for (int round = 0; round < ROUNDS; round++) {
        delays[1] = STEP_NS * (round % SWEEP);
        atomic_store(&inside, 0);
        atomic_store(&moment, 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pel_task(queue, end_together, &delays[i], NULL, 0, NULL, NULL), PEL_OK);
        }
        while (atomic_load(&inside) < 2) { /* workers have both: this thread does not help */
            sched_yield();
        }
        atomic_store(&moment, now() + ASLEEP_NS);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
    }
    pel_queue_destroy(queue);
    pel_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_of_two_that_end_at_once_sees_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
