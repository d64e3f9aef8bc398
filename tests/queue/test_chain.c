/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches that are queued behind each other on one device: results, failures in the middle, gates, and what must not be
 * queued. On simulated machines. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 64, LONG = 2000 };

static atomic_int calls, fail_at_call; /* fail_at_call: 0 never */

/* x = 3 x + k; wrong if anything runs twice, out of order, or on bytes that are not there. */
static pel_status step(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint32_t *x = arguments[0];
    const uint32_t k = *(const uint32_t *)arguments[1];
    (void)scratch, (void)user;
    if (atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at_call)) {
        return PEL_IO;
    }
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i] = 3 * x[i] + k;
    }
    return PEL_OK;
}

static const pel_param step_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1), PEL_PARAM_VALUE(uint32_t)};

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    const pel_device *device, *other;
} scene;

/* link 0: computes in host memory. */
static void set_up(scene *s, double link) {
    pel_simulated_device devices[] = {machine_device("one", 1, link), machine_device("two", 1, link)};
    memset(s, 0, sizeof *s);
    atomic_store(&calls, 0);
    atomic_store(&fail_at_call, 0);
    s->runtime = machine_create(devices, 2, "sim:one,sim:two");
    s->queue = machine_queue(s->runtime);
    s->kernel = machine_kernel(s->runtime, "step", step_params, 2, step, 0);
    assert_int_equal(pel_buffer_create(s->runtime, ITEMS * sizeof(uint32_t), &s->x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(s->runtime, ITEMS * sizeof(uint32_t), &s->y, NULL), PEL_OK);
    s->device = pel_runtime_find_device(s->runtime, "sim:one");
    s->other = pel_runtime_find_device(s->runtime, "sim:two");
}

static void tear_down(scene *s) {
    pel_kernel_destroy(s->kernel);
    pel_queue_destroy(s->queue);
    pel_buffer_destroy(s->x);
    pel_buffer_destroy(s->y);
    assert_int_equal(pel_runtime_destroy(s->runtime), PEL_OK);
}

static pel_event *launch(scene *s, pel_buffer *buffer, uint32_t k, const pel_device *device, const pel_event *after) {
    pel_event *event = NULL;
    const pel_share share = {device, 1};
    const pel_event *waits[] = {after};
    const pel_arg args[] = {pel_buf(buffer), pel_u32(k)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    desc.shares = &share;
    desc.share_count = device ? 1 : 0;
    desc.waits = waits;
    desc.wait_count = after ? 1 : 0;
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, &event), PEL_OK);
    return event;
}

static void expect(scene *s, pel_buffer *buffer, uint32_t value) {
    uint32_t values[ITEMS];
    assert_int_equal(pel_read(s->queue, buffer, 0, sizeof values, values, NULL, NULL), PEL_OK);
    machine_finish(s->queue);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(values[i], value);
    }
}

static bool is_running(const pel_event *event) { return pel_event_get_state(event) == PEL_EVENT_RUNNING; }

/* Once its data is there, the whole chain is with the device before any of it is over; and each launch's times are its own. */
static void one_chain(double link) {
    scene s;
    pel_event *events[10];
    set_up(&s, link);
    uint32_t value = 1;
    pel_event_release(launch(&s, s.x, 1, s.device, NULL));
    machine_finish(s.queue);
    for (uint32_t i = 0; i < 10; i++) {
        events[i] = launch(&s, s.x, i, s.device, NULL);
        value = 3 * value + i;
    }
    for (int i = 0; i < 10; i++) {
        assert_true(is_running(events[i]));
    }
    int64_t last = 0;
    for (int i = 0; i < 10; i++) {
        pel_event_timing timing;
        pel_plan_chunk chunk;
        assert_int_equal(pel_event_wait(events[i]), PEL_OK);
        pel_event_get_timing(events[i], &timing);
        assert_true(timing.ended > last);
        last = timing.ended;
        pel_plan *plan = machine_plan_of(events[i]);
        assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
        assert_true(chunk.actual_ns >= 69000 && chunk.actual_ns < 70000); /* 5 us to start, 64 items at one a microsecond */
        if (i > 0) {
            assert_non_null(strstr(pel_plan_protection(plan), "queued behind"));
        }
        pel_plan_destroy(plan);
    }
    expect(&s, s.x, value);
    tear_down(&s);
}

static void test_a_chain_is_queued_at_once(void **state) {
    (void)state;
    one_chain(0);
    one_chain(10);
}

/* Deeper than is queued at once, and begun behind a user event: when that ends all of it follows. */
static void test_long_chains_behind_a_gate(void **state) {
    (void)state;
    for (int link = 0; link < 2; link++) {
        scene s;
        pel_event *gate = NULL;
        uint32_t value = 0;
        set_up(&s, 10.0 * link);
        assert_int_equal(pel_event_create_user(s.runtime, &gate, NULL), PEL_OK);
        for (uint32_t i = 0; i < LONG; i++) {
            pel_event_release(launch(&s, s.x, i % 7, s.device, i == 0 ? gate : NULL));
            value = 3 * value + i % 7;
        }
        assert_int_equal(atomic_load(&calls), 0);
        assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
        pel_event_release(gate);
        expect(&s, s.x, value);
        assert_int_equal(atomic_load(&calls), LONG);
        tear_down(&s);
    }
}

/* A launch fails in the middle: what reads its result is not run and says why, what does not goes on. */
static void test_a_failure_in_the_middle(void **state) {
    (void)state;
    for (int link = 0; link < 2; link++) {
        scene s;
        pel_event *on_x[6], *on_y[6];
        set_up(&s, 10.0 * link);
        pel_event_release(launch(&s, s.x, 1, s.device, NULL));
        pel_event_release(launch(&s, s.y, 1, s.device, NULL));
        machine_finish(s.queue);
        atomic_store(&fail_at_call, 2 + 2 * 2 + 1); /* the third on x */
        for (uint32_t i = 0; i < 6; i++) {
            on_x[i] = launch(&s, s.x, i, s.device, NULL);
            on_y[i] = launch(&s, s.y, 0, s.device, NULL);
        }
        assert_int_equal(pel_queue_finish(s.queue), PEL_TASK_FAILED);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(pel_event_status(on_x[i]), i < 2 ? PEL_OK : i == 2 ? PEL_TASK_FAILED : PEL_DEPENDENCY_FAILED);
            assert_int_equal(pel_event_status(on_y[i]), PEL_OK);
            assert_true(i <= 2 || strstr(pel_error_message(pel_event_error(on_x[i])), "step"));
            pel_event_release(on_x[i]);
            pel_event_release(on_y[i]);
        }
        assert_int_equal(atomic_load(&calls), 2 + 3 + 6);
        assert_int_equal(pel_queue_reset(s.queue), PEL_OK);
        expect(&s, s.y, 729);
        tear_down(&s);
    }
}

/* What another device or the host must have a part in waits for it. */
static pel_status add_seven(void *context) {
    uint32_t *x = context;
    for (int i = 0; i < ITEMS; i++) {
        x[i] += 7;
    }
    return PEL_OK;
}

static void test_others_in_between(void **state) {
    (void)state;
    for (int link = 0; link < 2; link++) {
        scene s;
        uint32_t values[ITEMS] = {0}, value = 0;
        pel_buffer *wrapped = NULL;
        set_up(&s, 10.0 * link);
        assert_int_equal(pel_buffer_wrap(s.runtime, values, sizeof values, &wrapped), PEL_OK);
        machine_seed(11);
        for (uint32_t i = 0; i < 300; i++) {
            const uint64_t what = machine_random() % 8;
            const pel_access access = {.buffer = wrapped, .bytes = sizeof values, .mode = PEL_READ_WRITE};
            if (what == 0) {
                assert_int_equal(pel_task(s.queue, add_seven, values, &access, 1, NULL, NULL), PEL_OK);
                value += 7;
                continue;
            }
            pel_event_release(launch(&s, wrapped, i, what == 1 ? s.other : what == 2 ? NULL : s.device, NULL));
            value = 3 * value + i;
        }
        machine_finish(s.queue);
        for (int i = 0; i < ITEMS; i++) {
            assert_int_equal(values[i], value);
        }
        pel_buffer_destroy(wrapped);
        tear_down(&s);
    }
}

/* Who asks for protection waits for what it would have to save. */
static void test_protection_waits(void **state) {
    scene s;
    (void)state;
    set_up(&s, 0);
    const pel_share share = {s.device, 1};
    const pel_arg args[] = {pel_buf(s.x), pel_u32(1)};
    pel_event *events[3];
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    desc.shares = &share;
    desc.share_count = 1;
    for (int i = 0; i < 3; i++) {
        desc.protection = i == 1 ? PEL_PROTECT_RETRY : PEL_PROTECT_NONE;
        assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, &events[i]), PEL_OK);
    }
    assert_true(is_running(events[0]) && !is_running(events[1]) && !is_running(events[2]));
    machine_finish(s.queue);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pel_event_status(events[i]), PEL_OK);
        pel_event_release(events[i]);
    }
    expect(&s, s.x, 13);
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_chain_is_queued_at_once),
                                       cmocka_unit_test(test_long_chains_behind_a_gate),
                                       cmocka_unit_test(test_a_failure_in_the_middle), cmocka_unit_test(test_others_in_between),
                                       cmocka_unit_test(test_protection_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
