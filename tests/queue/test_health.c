/* SPDX-License-Identifier: BSD-3-Clause */
/* Quarantine, known-answer tests, a context built anew; on simulated machines, whose second passes in a moment. And host tasks
 * that run again. */
#include "machines.h"
#include "core/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 1000, SECOND = 1000000 }; /* items; the slow device does one a microsecond */

static const pel_param pure[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                 PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    int *xs, *ys;
    const pel_device *sick, *slow;
} scene;

/* A device that may fall ill and one that lets time pass. */
static void set_up(scene *s, pel_simulated_device sick) {
    pel_simulated_device devices[] = {sick, machine_device("slow", 1, 0)};
    memset(s, 0, sizeof *s);
    s->runtime = machine_create(devices, 2, "sim:sick,sim:slow");
    s->queue = machine_queue(s->runtime);
    s->kernel = machine_kernel(s->runtime, "doubled", pure, 2, machine_double, 0);
    s->xs = calloc(2 * SECOND, sizeof(int));
    s->ys = calloc(2 * SECOND, sizeof(int));
    for (int i = 0; i < 2 * SECOND; i++) {
        s->xs[i] = i;
    }
    assert_int_equal(pel_buffer_wrap(s->runtime, s->xs, 2 * SECOND * sizeof(int), &s->x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(s->runtime, s->ys, 2 * SECOND * sizeof(int), &s->y), PEL_OK);
    s->sick = pel_runtime_find_device(s->runtime, "sim:sick");
    s->slow = pel_runtime_find_device(s->runtime, "sim:slow");
}

static void tear_down(scene *s) {
    pel_kernel_destroy(s->kernel);
    pel_queue_destroy(s->queue);
    pel_buffer_destroy(s->x);
    pel_buffer_destroy(s->y);
    free(s->xs);
    free(s->ys);
    assert_int_equal(pel_runtime_destroy(s->runtime), PEL_OK);
}

/* Retry, so that each launch goes well whoever fails. NULL: wherever the planner likes. */
static void launch(scene *s, const pel_device *device, uint64_t items) {
    const pel_share share = {device, 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    desc.global[0] = items;
    desc.protection = PEL_PROTECT_RETRY;
    desc.shares = &share;
    desc.share_count = device ? 1 : 0;
    memset(s->ys, 0, items * sizeof(int));
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, NULL), PEL_OK);
    machine_finish(s->queue);
    for (uint64_t i = 0; i < items; i++) {
        assert_int_equal(s->ys[i], 2 * (int)i);
    }
}

static pel_device_state state_of(const pel_device *device) {
    pel_device_health health;
    pel_device_get_health(device, &health);
    return health.state;
}

static void test_three_in_a_row(void **state) {
    (void)state;
    pel_simulated_device sick = machine_device("sick", 100, 0);
    pel_device_health health;
    scene s;
    sick.fail_at = 2;
    sick.fail_until = 4;
    set_up(&s, sick);
    for (int i = 0; i < 3; i++) {
        launch(&s, s.sick, SMALL);
        assert_int_equal(state_of(s.sick), PEL_DEVICE_WELL);
    }
    launch(&s, s.sick, SMALL);
    pel_device_get_health(s.sick, &health);
    assert_int_equal(health.state, PEL_DEVICE_QUARANTINED);
    assert_int_equal(health.failures, 3);
    assert_int_equal(health.quarantines, 1);
    assert_int_equal(health.until - health.since, 1000000000);
    assert_non_null(strstr(health.reason, "fail_at"));

    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT; /* the plan says why it is left out */
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    pel_plan *plan = NULL;
    desc.global[0] = SMALL;
    assert_int_equal(pel_launch_plan(s.queue, s.kernel, &desc, args, 2, &plan), PEL_OK);
    assert_non_null(strstr(pel_plan_text(plan), "quarantined since"));
    assert_non_null(strstr(pel_plan_text(plan), "because"));
    pel_plan_destroy(plan);

    launch(&s, s.slow, SECOND + SMALL); /* a second passes */
    assert_int_equal(state_of(s.sick), PEL_DEVICE_QUARANTINED);
    launch(&s, s.slow, SMALL); /* and the next launch has it tested */
    launch(&s, s.slow, SMALL);
    assert_int_equal(state_of(s.sick), PEL_DEVICE_WELL);
    launch(&s, s.sick, SMALL);
    pel_device_get_health(s.sick, &health);
    assert_int_equal(health.failures, 3);
    tear_down(&s);
}

/* A test that fails doubles the time. */
static void test_it_takes_longer_each_time(void **state) {
    (void)state;
    pel_simulated_device sick = machine_device("sick", 100, 0);
    pel_device_health health;
    scene s;
    sick.fail_at = 1;
    sick.fail_until = 4; /* three launches and the first test */
    set_up(&s, sick);
    for (int i = 0; i < 3; i++) {
        launch(&s, s.sick, SMALL);
    }
    launch(&s, s.slow, SECOND + SMALL);
    launch(&s, s.slow, SMALL);
    launch(&s, s.slow, SMALL);
    pel_device_get_health(s.sick, &health);
    assert_int_equal(health.state, PEL_DEVICE_QUARANTINED);
    assert_int_equal(health.quarantines, 2);
    assert_int_equal(health.until - health.since, 2000000000);
    launch(&s, s.slow, SECOND + SMALL);
    launch(&s, s.slow, SMALL);
    assert_int_equal(state_of(s.sick), PEL_DEVICE_QUARANTINED); /* not yet */
    launch(&s, s.slow, SECOND + SMALL);
    launch(&s, s.slow, SMALL);
    launch(&s, s.slow, SMALL);
    assert_int_equal(state_of(s.sick), PEL_DEVICE_WELL);
    tear_down(&s);
}

/* Gone: a new context once, with and without memory of its own; then it is retired. */
static void test_lost_twice(void **state) {
    (void)state;
    for (int link = 0; link < 2; link++) {
        pel_simulated_device sick = machine_device("sick", 100, link * 10);
        scene s;
        sick.lost_at = 3;
        set_up(&s, sick);
        launch(&s, s.sick, SMALL);
        launch(&s, s.sick, SMALL);
        launch(&s, s.sick, SMALL); /* lost: done by the other one */
        assert_int_equal(state_of(s.sick), PEL_DEVICE_QUARANTINED);
        launch(&s, s.slow, SECOND + SMALL);
        assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
        launch(&s, s.slow, SMALL);
        launch(&s, s.slow, SMALL);
        assert_int_equal(state_of(s.sick), PEL_DEVICE_WELL); /* the test was its new context's first chunk */
        launch(&s, s.sick, SMALL);
        launch(&s, s.sick, SMALL); /* its third: lost again */
        assert_int_equal(state_of(s.sick), PEL_DEVICE_RETIRED);
        launch(&s, s.slow, 2 * SECOND);
        launch(&s, NULL, SMALL);
        assert_int_equal(state_of(s.sick), PEL_DEVICE_RETIRED);
        tear_down(&s);
    }
}

static void test_known_answers_find_a_liar(void **state) {
    (void)state;
    pel_simulated_device sick = machine_device("sick", 100, 10);
    pel_error *error = NULL;
    scene s;
    set_up(&s, sick);
    assert_int_equal(pel_runtime_test_devices(s.runtime, &error), PEL_OK);
    assert_null(error);
    tear_down(&s);
    sick.wrong_every = 1;
    set_up(&s, sick);
    assert_int_equal(pel_runtime_test_devices(s.runtime, &error), PEL_MISMATCH);
    assert_non_null(strstr(pel_error_message(error), "sim:sick"));
    pel_error_destroy(error);
    assert_int_equal(state_of(s.sick), PEL_DEVICE_QUARANTINED);
    assert_int_equal(state_of(s.slow), PEL_DEVICE_WELL);
    launch(&s, NULL, SMALL); /* right, because elsewhere */
    tear_down(&s);
}

static const pel_backend *plain;
static pel_backend seen_backend;
static unsigned alone_seen;

static void submit_seen(pel_backend_device *device, pel_work *work) {
    alone_seen += work->alone;
    plain->submit(device, work);
}

/* A device that hung may hang in its test: only its own thread may be caught in that. */
static void test_known_answers_hang_alone(void **state) {
    (void)state;
    scene s;
    set_up(&s, machine_device("sick", 100, 10));
    pel_backend_device *driver = s.sick->driver;
    plain = driver->backend;
    seen_backend = *plain;
    seen_backend.submit = submit_seen;
    driver->backend = &seen_backend;
    assert_int_equal(pel_runtime_test_devices(s.runtime, NULL), PEL_OK);
    assert_int_equal(alone_seen, 1);
    driver->backend = plain;
    tear_down(&s);
}

/* The only device is never left out for failures alone. */
static void test_nobody_is_left_alone(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("sick", 100, 0)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    int xs[64] = {0}, ys[64] = {0};
    pel_buffer *x, *y;
    devices[0].fail_at = 1;
    devices[0].fail_until = 3;
    pel_runtime *runtime = machine_create(devices, 1, "sim:sick");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", pure, 2, machine_double, 0);
    assert_int_equal(pel_buffer_wrap(runtime, xs, sizeof xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, sizeof ys, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    desc.global[0] = 64;
    desc.protection = PEL_PROTECT_NONE;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_DEVICE_FAILED);
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
    }
    assert_int_equal(state_of(pel_runtime_device(runtime, 0)), PEL_DEVICE_QUARANTINED);
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
    machine_finish(queue);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status third_time_lucky(void *context) {
    int *count = context;
    return ++*count < 3 ? PEL_IO : PEL_OK;
}

static void test_tasks_run_again(void **state) {
    (void)state;
    for (int virtual = 0; virtual < 2; virtual++) {
        pel_runtime *runtime = NULL;
        if (virtual) {
            runtime = machine_create(NULL, 0, NULL);
        } else {
            runtime = machine_host(0);
        }
        pel_queue *queue = machine_queue(runtime);
        for (uint32_t retries = 0; retries < 4; retries++) {
            pel_task_desc desc = PEL_TASK_DESC_INIT;
            pel_event *event = NULL;
            int count = 0;
            desc.retries = retries;
            assert_int_equal(pel_task(queue, third_time_lucky, &count, NULL, 0, &desc, &event), PEL_OK);
            assert_int_equal(pel_event_wait(event), retries >= 2 ? PEL_OK : PEL_TASK_FAILED);
            assert_int_equal(count, retries >= 2 ? 3 : retries + 1);
            pel_event_release(event);
        }
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
        pel_queue_destroy(queue);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_in_a_row),
        cmocka_unit_test(test_it_takes_longer_each_time),
        cmocka_unit_test(test_lost_twice),
        cmocka_unit_test(test_known_answers_find_a_liar),
        cmocka_unit_test(test_known_answers_hang_alone),
        cmocka_unit_test(test_nobody_is_left_alone),
        cmocka_unit_test(test_tasks_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
