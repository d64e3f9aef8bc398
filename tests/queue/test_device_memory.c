/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers in memory of a device: room for them, what moves, and when the caller's memory is right again. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

/* Wraps that stay alive add up to more than the device has: idle copies make room, the device is not given up. */
static void test_idle_copies_make_room(void **state) {
    (void)state;
    enum { N = 1000, PAIRS = 4 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    static int memory[2 * PAIRS][N];
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10)};
    devices[0].memory_bytes = 5 * sizeof memory[0];
    pel_runtime *runtime = machine_create(devices, 1, NULL);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *buffers[2 * PAIRS];
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    for (int i = 0; i < 2 * PAIRS; i++) {
        memory[i][5] = i;
        assert_int_equal(pel_buffer_wrap(runtime, memory[i], sizeof memory[i], &buffers[i]), PEL_OK);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2 * PAIRS; i += 2) {
            pel_arg args[] = {pel_buf(buffers[i]), pel_buf(buffers[i + 1])};
            assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
            machine_finish(queue);
            assert_int_equal(memory[i + 1][5], 2 * i);
        }
    }
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    for (int i = 0; i < 2 * PAIRS; i++) {
        pel_buffer_destroy(buffers[i]);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/*
 * What moving takes is learned for each kernel: pieces too small to tell the link's rate are most of these launches, and still a
 * launch of another size is predicted.
 */
static void test_moves_are_predicted(void **state) {
    (void)state;
    enum { MOST = 16000, LAUNCHES = 12 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    static const uint64_t sizes[] = {1000, 16000, 4000};
    static int from[MOST];
    pel_simulated_device devices[] = {machine_device("gpu", 100, 0.05)};
    pel_runtime *runtime = machine_create(devices, 1, "!host");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    for (int i = 0; i <= LAUNCHES; i++) {
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        pel_buffer *x = NULL, *y = NULL;
        pel_event *event = NULL;
        desc.global[0] = i < LAUNCHES ? sizes[i % 3] : 8000;
        assert_int_equal(pel_buffer_wrap(runtime, from, desc.global[0] * sizeof(int), &x), PEL_OK);
        assert_int_equal(pel_buffer_create(runtime, desc.global[0] * sizeof(int), &y, NULL), PEL_OK); /* stays there */
        pel_arg args[] = {pel_buf(x), pel_buf(y)};
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
        machine_finish(queue);
        pel_plan *plan = machine_plan_of(event);
        const double ratio = pel_plan_predicted_ns(plan) / pel_plan_actual_ns(plan);
        if (i == LAUNCHES) {
            assert_true(ratio > 0.9 && ratio < 1.1);
            assert_non_null(strstr(pel_plan_text(plan), "of it to move what is elsewhere"));
        }
        pel_plan_destroy(plan);
        pel_buffer_destroy(x);
        pel_buffer_destroy(y);
    }
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_counters_tell_what_moved(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10), machine_device("cpu", 1, 0)};
    pel_runtime *runtime = machine_create(devices, 2, NULL);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_buffer_counters counters;
    pel_share share = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &y, NULL), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (uint64_t round = 0; round < 2; round++) { /* moved the first time, there the second time */
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        machine_finish(queue);
        pel_buffer_get_counters(x, &counters);
        assert_int_equal(counters.to_devices, N * sizeof(int));
        assert_int_equal(counters.used_in_place, round * N * sizeof(int));
    }
    share.device = pel_runtime_find_device(runtime, "sim:cpu"); /* shares the host's memory */
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
    machine_finish(queue);
    pel_buffer_get_counters(x, &counters);
    assert_int_equal(counters.used_in_place, 2 * N * sizeof(int));
    assert_int_equal(counters.to_host, 0);
    assert_int_equal(pel_buffer_sync(y), PEL_OK);
    pel_buffer_get_counters(y, &counters);
    assert_int_equal(counters.to_devices, 0);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Two queues work on the halves of one wrap; the caller changes its half while the other queue is still busy with the other
 * one. */
static void test_a_half_is_given_back_beside_a_busy_one(void **state) {
    (void)state;
    enum { N = 1000, BYTES = N * sizeof(int) };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    static int in[2 * N], out[2 * N];
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10)};
    pel_runtime *runtime = machine_create(devices, 1, NULL);
    pel_queue *queue = machine_queue(runtime), *other = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    for (int i = 0; i < 2 * N; i++) {
        in[i] = i;
    }
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &y), PEL_OK);
    pel_arg low[] = {pel_buf_range(x, 0, BYTES), pel_buf_range(y, 0, BYTES)};
    pel_arg high[] = {pel_buf_range(x, BYTES, BYTES), pel_buf_range(y, BYTES, BYTES)};
    assert_int_equal(pel_launch(queue, kernel, &desc, low, 2, NULL), PEL_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pel_launch(other, kernel, &desc, high, 2, i == 4 ? &event : NULL), PEL_OK);
    }
    machine_finish(queue);
    assert_int_equal(pel_event_status(event), PEL_BUSY);
    assert_int_equal(out[5], 10);
    in[5] = 50;
    assert_int_equal(pel_launch(queue, kernel, &desc, low, 2, NULL), PEL_OK);
    machine_finish(queue);
    assert_int_equal(out[5], 100);
    machine_finish(other);
    assert_int_equal(out[N + 5], 2 * (N + 5));
    pel_event_release(event);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_queue_destroy(other);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_a_wrap_inside_an_owned_buffer_comes_home(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10)};
    pel_runtime *runtime = machine_create(devices, 1, NULL);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *owned = NULL, *in = NULL, *out = NULL;
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    assert_int_equal(pel_buffer_create(runtime, 2 * N * sizeof(int), &owned, NULL), PEL_OK);
    int *memory = pel_buffer_data(owned);
    assert_int_equal(pel_buffer_wrap(runtime, memory, N * sizeof(int), &in), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, memory + N, N * sizeof(int), &out), PEL_OK);
    pel_arg args[] = {pel_buf(in), pel_buf(out)};
    for (int round = 1; round <= 2; round++) {
        memory[5] = 100 * round;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        machine_finish(queue);
        assert_int_equal(memory[N + 5], 200 * round);
    }
    memory[5] = 7;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
    assert_int_equal(pel_buffer_destroy(out), PEL_OK);
    assert_int_equal(memory[N + 5], 14);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(in);
    pel_buffer_destroy(owned);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_copies_make_room),
        cmocka_unit_test(test_moves_are_predicted),
        cmocka_unit_test(test_counters_tell_what_moved),
        cmocka_unit_test(test_a_half_is_given_back_beside_a_busy_one),
        cmocka_unit_test(test_a_wrap_inside_an_owned_buffer_comes_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
