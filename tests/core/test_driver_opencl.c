/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was learned under one driver says nothing under another: three lives with one history, the last of them with a driver
 * that gives itself another version (the function below stands in front of the loader's), and one more with the first again.
 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pel/pel.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4096, LAUNCHES = 12 };

static bool other;

cl_int clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t bytes, void *value, size_t *needed) {
    static cl_int (*real)(cl_device_id, cl_device_info, size_t, void *, size_t *);
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "clGetDeviceInfo");
    }
    const cl_int code = real(device, what, bytes, value, needed);
    if (other && code == CL_SUCCESS && what == CL_DRIVER_VERSION && value) {
        char *text = value;
        text[0] = text[0] == '9' ? '8' : '9'; /* as long as it was */
    }
    return code;
}

/* What the first plan of this life predicts, ns; negative: there is no OpenCL here. */
static double live(const char *history) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_queue *queue = NULL;
    pel_buffer *buffer = NULL;
    pel_plan *plan = NULL;
    desc.devices = "opencl:0";
    desc.history = history;
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        return -1.0;
    }
    program_desc.source = "kernel void count(global uint *launches) { launches[get_global_id(0)]++; }\n";
    kernel_desc.entry = "count";
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(uint32_t), &buffer, NULL), PEL_OK);
    const pel_arg args[] = {pel_buf(buffer)};
    launch.global[0] = N;
    assert_int_equal(pel_launch_plan(queue, kernel, &launch, args, 1, &plan), PEL_OK);
    const double predicted = pel_plan_predicted_ns(plan);
    pel_plan_destroy(plan);
    for (int i = 0; i < LAUNCHES; i++) {
        assert_int_equal(pel_launch(queue, kernel, &launch, args, 1, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
    }
    pel_buffer_destroy(buffer);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_queue_destroy(queue);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return predicted;
}

static void test_another_driver_knows_nothing(void **state) {
    (void)state;
    char directory[] = "/tmp/pel-driver-XXXXXX", path[64], command[64];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/history", directory);
    other = false;
    const double first = live(path);
    if (first < 0.0) {
        skip();
    }
    assert_true(first == 0.0);
    assert_true(live(path) > 0.0);
    other = true;
    assert_true(live(path) == 0.0);
    assert_true(live(path) > 0.0); /* it has learned for itself */
    other = false;
    assert_true(live(path) > 0.0);
    (void)snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_another_driver_knows_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
