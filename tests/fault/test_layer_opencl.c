/* SPDX-License-Identifier: BSD-3-Clause */
/* The fault layer itself, on plain OpenCL: each kind of fault does what the manual says, a script that is not understood is
 * refused, and counts are right. */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "fault/layer.h"

enum { N = 256 };

static const pel_faults_control *faults;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;
static cl_program program;
static cl_kernel kernel;
static cl_mem mem;
static int data[N];

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static cl_int launch(cl_event *event) {
    const size_t items = N, local = 64;
    return clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, &local, 0, NULL, event);
}

static cl_int read_back(void) {
    return clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, sizeof data, data, 0, NULL, NULL);
}

static void fill(int value) {
    layer_script(faults, "%s", "");
    assert_int_equal(clEnqueueFillBuffer(queue, mem, &value, sizeof value, 0, sizeof data, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(clFinish(queue), CL_SUCCESS);
}

static int count_equal(int value) {
    int equal = 0;
    for (int i = 0; i < N; i++) {
        equal += data[i] == value;
    }
    return equal;
}

static cl_int state_of(cl_event event) {
    cl_int state = 99;
    assert_int_equal(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL), CL_SUCCESS);
    return state;
}

/* ---- the script ---- */

static void test_scripts(void **state) {
    static const char *const right[] = {"",
                                        "clFinish:CL_OUT_OF_RESOURCES",
                                        " any@3 : -5 ; seed=7 # a remark\n clEnqueue*[pocl]@2+:late(20ms)",
                                        "clCreateBuffer@2-4:CL_INVALID_VALUE",
                                        "clCreateBuffer@2/5:random",
                                        "any@0.5%:random",
                                        "clEnqueueNDRangeKernel:flip(3)",
                                        "any:delay(1.5us);any:slow(2.5);any:never;any@9:vanish;any:event(CL_INVALID_VALUE)"};
    static const char *const wrong[] = {"clFinish",
                                        "clFinnish:-5",
                                        "clFinish:CL_NO_SUCH_CODE",
                                        "clFinish:5",
                                        "clFinish@0:-5",
                                        "clFinish@x:-5",
                                        "clFinish@3-2:-5",
                                        "clFinish@2/0:-5",
                                        "clFinish@101%:-5",
                                        "any:late(20)",
                                        "any:late(20ms",
                                        "any:late",
                                        "any:slow(0.5)",
                                        "any:event(7)",
                                        "any:never(1)",
                                        "seed=x",
                                        "log=",
                                        "any[x:-5",
                                        "any[]x:-5",
                                        "any:",
                                        "@/nonexistent/script",
                                        "any@99999999999999999999999:-5",
                                        ":-5",
                                        "any:flip(0)",
                                        "any:delay(2000000s)"};
    char why[256];
    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        memset(why, 0, sizeof why);
        if (faults->set(right[i], why, sizeof why) != 0) {
            fail_msg("%s: %s", right[i], why);
        }
    }
    layer_script(faults, "clFinish:CL_OUT_OF_RESOURCES");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(why, 0, sizeof why);
        if (faults->set(wrong[i], why, sizeof why) == 0 || why[0] == '\0') {
            fail_msg("%s was taken", wrong[i]);
        }
    }
    assert_int_equal(clFinish(queue), CL_OUT_OF_RESOURCES); /* the last right script stays */
}

static void test_file_and_log(void **state) {
    char path[] = "/tmp/pel-faults-script-XXXXXX", log[] = "/tmp/pel-faults-log-XXXXXX", script[128], line[256] = "";
    (void)state;
    int fd = mkstemp(path), log_fd = mkstemp(log);
    assert_true(fd >= 0 && log_fd >= 0);
    int length = snprintf(script, sizeof script, "# a file\nlog=%s\nclFlush@2: CL_INVALID_COMMAND_QUEUE\n", log);
    assert_int_equal(write(fd, script, (size_t)length), length);
    layer_script(faults, "@%s", path);
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    assert_int_equal(clFlush(queue), CL_INVALID_COMMAND_QUEUE);
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    assert_true(read(log_fd, line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, "clFlush #2:  CL_INVALID_COMMAND_QUEUE"));
    close(fd);
    close(log_fd);
    unlink(path);
    unlink(log);
}

/* ---- calls ---- */

static void test_which_call(void **state) {
    cl_int code;
    (void)state;
    layer_script(faults, "clCreateBuffer@2:CL_MEM_OBJECT_ALLOCATION_FAILURE");
    int64_t before = faults->objects();
    for (int i = 1; i <= 4; i++) {
        cl_mem made = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &code);
        assert_int_equal(code, i == 2 ? CL_MEM_OBJECT_ALLOCATION_FAILURE : CL_SUCCESS);
        assert_int_equal(made == NULL, i == 2);
        assert_int_equal(faults->objects(), before + (made != NULL));
        if (made) {
            clReleaseMemObject(made);
        }
    }
    assert_int_equal(faults->fired(), 1);
    assert_string_equal(faults->last(), "clCreateBuffer");
    assert_int_equal(faults->objects(), before);
    layer_script(faults, "cl*Buffer@3+:-5"); /* patterns; from then on */
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(read_back(), i < 3 ? CL_SUCCESS : CL_OUT_OF_RESOURCES);
    }
    layer_script(faults, "clFlush@2/3:-6");
    for (int i = 1; i <= 9; i++) {
        assert_int_equal(clFlush(queue), i % 3 == 2 ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS);
    }
    layer_script(faults, "clFlush[no such device]:-6; clFinish[%s]:-5", "p");
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    assert_int_equal(clFinish(queue), CL_OUT_OF_RESOURCES);
    layer_script(faults, "any:-5"); /* not retains and releases, unless they are named */
    assert_int_equal(clRetainMemObject(mem), CL_SUCCESS);
    assert_int_equal(clReleaseMemObject(mem), CL_SUCCESS);
    layer_script(faults, "clRelease*:-5");
    assert_int_equal(clRetainMemObject(mem), CL_SUCCESS);
    assert_int_equal(clReleaseMemObject(mem), CL_OUT_OF_RESOURCES);
    assert_int_equal(faults->objects(), before);
}

/* The same seed gives the same faults; the codes are documented ones. */
static void test_random(void **state) {
    cl_int first[100];
    int failed = 0;
    uint32_t count, call = 0;
    (void)state;
    while (strcmp(faults->call_name(call), "clFlush") != 0) {
        call++;
    }
    const int32_t *codes = faults->call_codes(call, &count);
    assert_true(count == 3);
    for (int round = 0; round < 2; round++) {
        layer_script(faults, "seed=42; any@30%%:random");
        for (int i = 0; i < 100; i++) {
            cl_int code = clFlush(queue);
            if (round == 0) {
                first[i] = code;
                failed += code != CL_SUCCESS;
                assert_true(code == CL_SUCCESS || code == codes[0] || code == codes[1] || code == codes[2]);
            }
            assert_int_equal(code, first[i]);
        }
        assert_int_equal(faults->call_times(call), 100);
    }
    assert_in_range(failed, 15, 45);
}

/* ---- commands ---- */

static void test_failed_event(void **state) {
    cl_event event, after;
    const int value = 5;
    (void)state;
    fill(1);
    int64_t before = faults->objects();
    layer_script(faults, "clEnqueueNDRangeKernel@1:event(CL_OUT_OF_RESOURCES)");
    assert_int_equal(launch(&event), CL_SUCCESS);
    assert_int_equal(clFinish(queue), CL_SUCCESS);
    assert_int_equal(state_of(event), CL_OUT_OF_RESOURCES);
    assert_int_equal(clWaitForEvents(1, &event), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    assert_int_equal(clEnqueueFillBuffer(queue, mem, &value, sizeof value, 0, sizeof data, 1, &event, &after), CL_SUCCESS);
    assert_int_equal(clFinish(queue), CL_SUCCESS);
    assert_int_equal(state_of(after), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(1), N); /* neither was done */
    clReleaseEvent(after);
    clReleaseEvent(event);
    assert_int_equal(faults->objects(), before);
    assert_int_equal(launch(NULL), CL_SUCCESS);
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(2), N);
}

static void test_late_and_never(void **state) {
    cl_event event;
    (void)state;
    fill(1);
    layer_script(faults, "clEnqueueNDRangeKernel@1:late(30ms)");
    int64_t began = now();
    assert_int_equal(launch(&event), CL_SUCCESS);
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    assert_true(state_of(event) > 0);
    assert_int_equal(clFinish(queue), CL_SUCCESS);
    assert_true(now() - began >= 30000000);
    assert_int_equal(state_of(event), CL_COMPLETE);
    clReleaseEvent(event);
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(2), N);

    layer_script(faults, "clEnqueueNDRangeKernel@1:never");
    assert_int_equal(launch(&event), CL_SUCCESS);
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    usleep(20000);
    assert_true(state_of(event) > 0);
    layer_script(faults, "%s", ""); /* sets it free: the write lands late */
    assert_int_equal(clFinish(queue), CL_SUCCESS);
    assert_int_equal(state_of(event), CL_COMPLETE);
    clReleaseEvent(event);
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(3), N);
}

static void test_flips(void **state) {
    const int value = 7;
    int sent[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        sent[i] = value;
    }
    fill(1);
    layer_script(faults, "seed=3; clEnqueueNDRangeKernel:flip");
    assert_int_equal(launch(NULL), CL_SUCCESS);
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(2), N - 1);
    fill(value);
    layer_script(faults, "clEnqueueReadBuffer@1:flip(1)");
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(value), N - 1);
    assert_int_equal(read_back(), CL_SUCCESS); /* only what was read was wrong */
    assert_int_equal(count_equal(value), N);
    layer_script(faults, "clEnqueueWriteBuffer@1:flip(1)");
    assert_int_equal(clEnqueueWriteBuffer(queue, mem, CL_FALSE, 0, sizeof sent, sent, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(value), N - 1);
    assert_int_equal(sent[0], value);
}

static void test_slow(void **state) {
    (void)state;
    fill(1);
    layer_script(faults, "clFlush:delay(20ms)");
    int64_t began = now();
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    assert_true(now() - began >= 20000000);
    layer_script(faults, "clEnqueueNDRangeKernel:slow(1000)");
    assert_int_equal(launch(NULL), CL_SUCCESS);
    began = now();
    assert_int_equal(launch(NULL), CL_SUCCESS);
    assert_true(now() - began >= 400000); /* an empty launch takes 0.4 us at least, on any device */
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(3), N);
}

static void test_vanished(void **state) {
    cl_bool available = CL_TRUE;
    cl_platform_id platform;
    cl_uint count;
    cl_int code;
    (void)state;
    fill(1);
    assert_int_equal(clGetPlatformIDs(1, &platform, NULL), CL_SUCCESS);
    layer_script(faults, "clEnqueueNDRangeKernel[p]@2:vanish");
    assert_int_equal(launch(NULL), CL_SUCCESS);
    assert_int_equal(launch(NULL), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(clFinish(queue), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(read_back(), CL_DEVICE_NOT_AVAILABLE);
    assert_null(clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &code));
    assert_int_equal(code, CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(clGetDeviceInfo(device, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL), CL_SUCCESS);
    assert_int_equal(available, CL_FALSE);
    assert_int_equal(clRetainMemObject(mem), CL_DEVICE_NOT_AVAILABLE);
    layer_script(faults, "clFlush:vanish");
    assert_int_equal(clFlush(queue), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count), CL_DEVICE_NOT_FOUND);
    layer_script(faults, "%s", ""); /* and back */
    assert_int_equal(read_back(), CL_SUCCESS);
    assert_int_equal(count_equal(2), N);
}

static int set_up(void **state) {
    static const char *source = "kernel void add(global int *x) { x[get_global_id(0)] += 1; }";
    cl_platform_id platform;
    cl_int code = CL_SUCCESS;
    (void)state;
    faults = layer_load();
    if (!faults || clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL) != CL_SUCCESS) {
        fprintf(stderr, "no layer, or no OpenCL device\n");
        exit(77);
    }
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    queue = clCreateCommandQueue(context, device, 0, &code);
    program = clCreateProgramWithSource(context, 1, &source, NULL, &code);
    assert_int_equal(clBuildProgram(program, 1, &device, "", NULL, NULL), CL_SUCCESS);
    kernel = clCreateKernel(program, "add", &code);
    mem = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof data, NULL, &code);
    assert_int_equal(clSetKernelArg(kernel, 0, sizeof mem, &mem), CL_SUCCESS);
    assert_int_equal(code, CL_SUCCESS);
    assert_int_equal(faults->objects(), 5);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    layer_script(faults, "%s", "");
    clReleaseMemObject(mem);
    clReleaseKernel(kernel);
    clReleaseProgram(program);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    assert_int_equal(faults->objects(), 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts), cmocka_unit_test(test_file_and_log), cmocka_unit_test(test_which_call),
        cmocka_unit_test(test_random),  cmocka_unit_test(test_failed_event), cmocka_unit_test(test_late_and_never),
        cmocka_unit_test(test_flips),   cmocka_unit_test(test_slow),         cmocka_unit_test(test_vanished)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
