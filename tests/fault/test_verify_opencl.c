/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification on real drivers whose results the fault layer falsifies: with everything replicated no flipped bit survives, on PoCL in host memory, with memory of its
 * own, and in a process beside; the device that was wrong is named. Integer arithmetic, so that both implementations agree to the bit.
 */
#include "fault/layer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20000, LAUNCHES = 4 };

static const pel_faults_control *faults;
static const char source[] = "kernel void update(global const uint *x, global uint *y) { size_t i = get_global_id(0); y[i] = 3 * y[i] + x[i]; }";

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = 3 * y[i] + x[i];
    }
    return PEL_OK;
}

/* One life: launches whose results on OpenCL are falsified by the script; `on`: where they run; the host is the other one. Returns how many lies were told in the end. */
static uint32_t live(const char *devices, const char *script, const char *on, uint32_t quarantines) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    const pel_verification all = {.share = 1};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *x, *y;
    pel_device_health health;
    uint32_t *xs = aligned_alloc(4096, 81920), *ys = aligned_alloc(4096, 81920), *expected = malloc(N * sizeof *expected);
    layer_script(faults, "%s", "");
    desc.devices = devices;
    desc.verification = &all;
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        fail_msg("no runtime of %s", devices);
    }
    program_desc.source = source;
    kernel_desc.entry = kernel_desc.name = "update";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    kernel_desc.host = update;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (uint32_t i = 0; i < N; i++) {
        xs[i] = i * 7;
        ys[i] = expected[i] = i ^ 21;
    }
    assert_int_equal(pel_buffer_wrap(runtime, xs, N * sizeof *xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, N * sizeof *ys, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    const pel_device *opencl = pel_runtime_find_device(runtime, "opencl:0");
    const pel_share share = {pel_runtime_find_device(runtime, on), 1};
    launch.global[0] = N;
    launch.shares = &share;
    launch.share_count = 1;
    layer_script(faults, "%s", script);
    for (int k = 0; k < LAUNCHES; k++) {
        pel_device_get_health(opencl, &health);
        if (health.state == PEL_DEVICE_QUARANTINED) {
            break;
        }
        for (uint32_t i = 0; i < N; i++) {
            expected[i] = 3 * expected[i] + xs[i];
        }
        assert_int_equal(pel_launch(queue, kernel, &launch, args, 2, NULL), PEL_OK);
        const pel_status status = pel_queue_finish(queue);
        if (status != PEL_OK || memcmp(ys, expected, N * sizeof *ys) != 0) {
            pel_error *error = pel_queue_error(queue);
            fail_msg("%s, %s on %s, launch %d: %s", devices, script, on, k, status == PEL_OK ? "wrong bytes" : pel_error_story(error));
        }
    }
    layer_script(faults, "%s", "");
    pel_device_get_health(opencl, &health);
    assert_int_equal(health.quarantines, quarantines);
    assert_true(health.lies == 0 || strstr(health.reason, "opencl:0 computed units 0 to 20000 of update wrongly: argument 1"));
    pel_device_health other;
    pel_device_get_health(pel_runtime_find_device(runtime, "host"), &other);
    assert_int_equal(other.lies, 0);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    free(xs);
    free(ys);
    free(expected);
    return health.lies;
}

static void test_flipped_bits(void **state) {
    (void)state;
    static const char *const devices[] = {"host,opencl:0", "host,opencl:0[own]"};
    for (int d = 0; d < 2; d++) {
        assert_int_equal(live(devices[d], "", "opencl:0", 0), 0);
        assert_int_equal(live(devices[d], "clEnqueueNDRangeKernel@2:flip", "opencl:0", 0), 1);     /* once: suspect */
        assert_int_equal(live(devices[d], "clEnqueueNDRangeKernel@1+:flip(3)", "opencl:0", 1), 2); /* always: gone after the second */
        assert_int_equal(live(devices[d], "clEnqueueNDRangeKernel@1:flip", "host", 0), 1);         /* as the one that votes */
    }
}

int main(void) {
    faults = layer_load();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flipped_bits)};
    return faults ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
