/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verified launches on real threads: two devices vote on each other's chunks while further launches are submitted, one is cancelled, and the queue and the runtime are destroyed
 * behind the last one. Without OpenCL the host votes on itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <stdlib.h>
#include <string.h>

enum { N = 50000, LIVES = 3, LAUNCHES = 6 };

static const char source[] = "kernel void update(global const volatile int *cancel, global const uint *x, global uint *y) {\n"
                             "    size_t i = get_global_id(0); y[i] = 3 * y[i] + x[i] + (uint)*cancel; }";

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[1];
    uint32_t *y = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = 3 * y[i] + x[i];
    }
    return PEL_OK;
}

static void live(int life) {
    static const pel_param params[] = {PEL_PARAM_CANCEL, PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    static const pel_verification all = {.share = 1, .flags = PEL_VERIFY_SAME_DEVICE};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *x, *y;
    pel_event *event = NULL;
    uint32_t *xs = malloc(N * sizeof *xs), *ys = malloc(N * sizeof *ys), *expected = malloc(N * sizeof *expected);
    for (uint32_t i = 0; i < N; i++) {
        xs[i] = i * 7;
        ys[i] = expected[i] = i ^ 21;
    }
    desc.devices = "host,opencl:0";
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        desc.devices = "host";
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    }
    program_desc.source = source;
    kernel_desc.entry = kernel_desc.name = "update";
    kernel_desc.params = params;
    kernel_desc.param_count = 3;
    kernel_desc.host = update;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, xs, N * sizeof *xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, N * sizeof *ys, &y), PEL_OK);
    pel_arg args[] = {pel_null(), pel_buf(x), pel_buf(y)};
    pel_share share = {NULL, 1};
    launch.global[0] = N;
    launch.shares = &share;
    launch.share_count = 1; /* the devices may have the same cores */
    launch.verification = &all;
    launch.protection = life % 2 == 1 ? PEL_PROTECT_ISOLATE : PEL_PROTECT_DEFAULT;
    for (uint32_t k = 0; k < LAUNCHES; k++) {
        share.device = pel_runtime_device(runtime, k % pel_runtime_device_count(runtime));
        assert_int_equal(pel_launch(queue, kernel, &launch, args, 3, k + 1 < LAUNCHES ? NULL : &event), PEL_OK);
        for (uint32_t i = 0; i < N; i++) {
            expected[i] = 3 * expected[i] + xs[i];
        }
    }
    const pel_status cancelled = life == LIVES - 1 ? pel_event_cancel(event) : PEL_BUSY; /* wherever it is: waiting, running, or being verified */
    assert_true(cancelled == PEL_OK || cancelled == PEL_BUSY);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    assert_int_equal(pel_queue_destroy(queue), cancelled == PEL_OK ? PEL_CANCELLED : PEL_OK); /* votes are under way */
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    if (cancelled == PEL_BUSY) {
        assert_memory_equal(ys, expected, N * sizeof *ys);
    }
    assert_true(pel_event_get_state(event) >= PEL_EVENT_COMPLETE);
    pel_event_release(event);
    free(xs);
    free(ys);
    free(expected);
}

static void test_destroyed_behind_votes(void **state) {
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        live(i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_destroyed_behind_votes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
