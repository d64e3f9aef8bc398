/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device cannot do is known before the plan: the launch runs elsewhere, and the plan says why. */
#include "kernel/kernel.h"
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { N = 1024, ALIGNMENT = 128 };

typedef struct limits {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_buffer *x, *y;
} limits;

static int in[2 * N], out[2 * N];

/* A fast device with memory of its own and strict alignment, and a slow one that computes in the host's. */
static limits set_up(const pel_param *params, uint32_t count, pel_host_fn host) {
    pel_simulated_device devices[] = {machine_device("gpu", 1000, 10), machine_device("cpu", 1, 0)};
    limits l = {0};
    devices[0].view_alignment = ALIGNMENT;
    devices[1].view_alignment = ALIGNMENT; /* asks for nothing: there are no parts of buffers in host memory */
    l.runtime = machine_create(devices, 2, "sim:gpu,sim:cpu");
    l.queue = machine_queue(l.runtime);
    l.kernel = machine_kernel(l.runtime, "limited", params, count, host, 0);
    for (int i = 0; i < 2 * N; i++) {
        in[i] = i;
    }
    memset(out, 0, sizeof out);
    assert_int_equal(pel_buffer_wrap(l.runtime, in, sizeof in, &l.x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(l.runtime, out, sizeof out, &l.y), PEL_OK);
    return l;
}

static void tear_down(limits *l) {
    pel_kernel_destroy(l->kernel);
    pel_queue_destroy(l->queue);
    pel_buffer_destroy(l->x);
    pel_buffer_destroy(l->y);
    assert_int_equal(pel_runtime_destroy(l->runtime), PEL_OK);
}

static const pel_param doubling[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                     PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};

static void test_a_misaligned_range_runs_elsewhere(void **state) {
    (void)state;
    limits l = set_up(doubling, 2, machine_double);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    for (uint64_t offset = 0; offset <= 2 * ALIGNMENT; offset += sizeof(int)) {
        pel_arg args[] = {pel_buf_range(l.x, ALIGNMENT, N * sizeof(int)), pel_buf_range(l.y, offset, N * sizeof(int))};
        pel_event *event = NULL;
        assert_int_equal(pel_launch(l.queue, l.kernel, &desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        bool aligned = offset % ALIGNMENT == 0;
        char reason[200];
        snprintf(reason, sizeof reason,
                 "argument 1 begins at byte %d of its memory; this device wants multiples of 128 bytes (begin there, also "
                 "in what overlapping wraps cover",
                 (int)offset);
        assert_int_equal(strstr(pel_plan_text(plan), reason) == NULL, aligned);
        for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
            pel_plan_chunk chunk;
            assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
            assert_true(aligned || strcmp(chunk.device, "sim:cpu") == 0);
        }
        pel_plan_destroy(plan);
        machine_finish(l.queue);
        for (uint64_t i = 0; i < N; i++) {
            assert_int_equal(out[offset / sizeof(int) + i], 2 * in[ALIGNMENT / sizeof(int) + i]);
        }
    }
    tear_down(&l);
}

/* A kernel may need so much of a device that its work-groups must be smaller there than the device's own limit (llvmpipe,
 * GPUs). */
static void test_a_kernel_with_a_smaller_work_group_runs_elsewhere(void **state) {
    (void)state;
    limits l = set_up(doubling, 2, machine_double);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf_range(l.x, 0, N * sizeof(int)), pel_buf_range(l.y, 0, N * sizeof(int))};
    const pel_device *gpu = pel_runtime_find_device(l.runtime, "sim:gpu");
    l.kernel->largest_group[gpu->index] = 64; /* as its driver would have told when the kernel was made */
    desc.global[0] = N;
    for (uint64_t local = 32; local <= 128; local *= 2) {
        pel_event *event = NULL;
        desc.local[0] = local;
        assert_int_equal(pel_launch(l.queue, l.kernel, &desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        assert_int_equal(strstr(pel_plan_text(plan), "work-groups of 128 items; it takes at most 64 of this kernel") != NULL,
                         local == 128);
        for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
            pel_plan_chunk chunk;
            assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
            assert_true(local <= 64 || strcmp(chunk.device, "sim:cpu") == 0);
        }
        pel_plan_destroy(plan);
        machine_finish(l.queue);
        for (uint64_t i = 0; i < N; i++) {
            assert_int_equal(out[i], 2 * in[i]);
        }
    }
    tear_down(&l);
}

/* Asked for by name, the device is refused with the reason. */
static void test_fixed_shares_are_refused_with_the_reason(void **state) {
    (void)state;
    limits l = set_up(doubling, 2, machine_double);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share share = {pel_runtime_find_device(l.runtime, "sim:gpu"), 1};
    pel_arg args[] = {pel_buf_range(l.x, 4, N * sizeof(int)), pel_buf(l.y)};
    pel_plan *plan = NULL;
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    assert_int_equal(pel_launch_plan(l.queue, l.kernel, &desc, args, 2, &plan), PEL_NO_DEVICE);
    assert_null(plan);
    assert_int_equal(pel_launch(l.queue, l.kernel, &desc, args, 2, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(l.queue), PEL_NO_DEVICE);
    pel_error *error = pel_queue_error(l.queue);
    assert_non_null(strstr(pel_error_message(error), "sim:gpu cannot run limited: argument 0 begins at byte 4"));
    pel_error_destroy(error);
    tear_down(&l);
}

static pel_status add_up(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *a = arguments[0];
    int *sum = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        *sum += a[i];
    }
    return PEL_OK;
}

/* A private reduction is computed in a copy of its own, wherever its result goes. */
static void test_private_results_may_lie_anywhere(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_I32, sizeof(int), 1)};
    limits l = set_up(params, 2, add_up);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share share = {pel_runtime_find_device(l.runtime, "sim:gpu"), 1};
    pel_arg args[] = {pel_buf(l.x), pel_buf_range(l.y, 4, sizeof(int))};
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    assert_int_equal(pel_launch(l.queue, l.kernel, &desc, args, 2, NULL), PEL_OK);
    machine_finish(l.queue);
    assert_int_equal(out[1], N * (N - 1) / 2);
    assert_int_equal(out[0], 0);
    tear_down(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_misaligned_range_runs_elsewhere),
        cmocka_unit_test(test_a_kernel_with_a_smaller_work_group_runs_elsewhere),
        cmocka_unit_test(test_fixed_shares_are_refused_with_the_reason),
        cmocka_unit_test(test_private_results_may_lie_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
