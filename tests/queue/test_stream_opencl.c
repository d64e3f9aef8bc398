/* SPDX-License-Identifier: BSD-3-Clause */
/* An OpenCL device with less memory than a launch needs: right results through windows, and rows as rectangles. PoCL stands in
 * for a discrete device. */
#include "support/cores.h"
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PITCH = 256, ROWS = 2048, N = PITCH * ROWS };

static const char source[] =
    "__kernel void everything(__global const int *in, __constant int *table, __global int4 *out, __global int *restrict both, "
    "__global ulong *total,\n"
    "                         __local int *scratch, int factor, __global const volatile int *absent) {\n"
    "    size_t x = get_global_id(0), y = get_global_id(1), i = y * get_global_size(0) + x;\n"
    "    scratch[get_local_id(0)] = factor;\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    int sum = in[i] + (y > 0 ? in[i - get_global_size(0)] : 0) + (y + 1 < get_global_size(1) ? in[i + get_global_size(0)] "
    ": 0);\n"
    "    sum = sum * scratch[get_local_id(0)] + table[i % 16] + (absent != 0);\n"
    "    out[i] = (int4)(sum, (int)x, (int)y, (int)get_group_id(1));\n"
    "    both[i] += sum;\n"
    "    atom_add(total, (ulong)(sum & 255));\n"
    "}\n";

static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), PITCH * sizeof(int), 1, 1),
                                   PEL_PARAM_WHOLE(PEL_READ),
                                   PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4 * sizeof(int), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1),
                                   PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U64, 8, 1),
                                   PEL_PARAM_LOCAL,
                                   PEL_PARAM_VALUE(int),
                                   PEL_PARAM_POINTER(PEL_READ)};

static void reference(const int *in, const int *table, int (*out)[4], int *both, uint64_t *total) {
    for (int y = 0; y < ROWS; y++) {
        for (int x = 0; x < PITCH; x++) {
            const int i = y * PITCH + x;
            const int sum = (in[i] + (y > 0 ? in[i - PITCH] : 0) + (y + 1 < ROWS ? in[i + PITCH] : 0)) * 3 + table[i % 16];
            out[i][0] = sum;
            out[i][1] = x;
            out[i][2] = out[i][3] = y; /* work-groups of one row */
            both[i] += sum;
            *total += (uint64_t)(sum & 255);
        }
    }
}

static pel_runtime *open_runtime(const char *devices) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = devices;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        printf("%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    return runtime;
}

static pel_kernel *open_kernel(pel_runtime *runtime, const char *text, const char *entry, const pel_param *list, uint32_t count) {
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    program_desc.source = text;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, &error), PEL_OK);
    desc.entry = entry;
    desc.params = list;
    desc.param_count = count;
    desc.flags = PEL_KERNEL_CHUNK_SAFE;
    if (pel_kernel_create(program, &desc, &kernel, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    return kernel;
}

static void finish(pel_queue *queue) {
    if (pel_queue_finish(queue) != PEL_OK) {
        pel_error *error = pel_queue_error(queue);
        fail_msg("%s", pel_error_story(error));
    }
}

static void run_with(const char *devices) {
    pel_runtime *runtime = open_runtime(devices);
    pel_queue *queue = NULL;
    pel_buffer *buffers[5] = {NULL};
    const uint64_t bytes[5] = {N * sizeof(int), 64, N * sizeof(int[4]), N * sizeof(int), 8};
    assert_non_null(runtime);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    pel_kernel *kernel = open_kernel(runtime, source, "everything", params, 8);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pel_buffer_create(runtime, bytes[i], &buffers[i], NULL), PEL_OK);
        for (uint64_t k = 0; k < bytes[i] / sizeof(int) && i != 4; k++) {
            ((int *)pel_buffer_data(buffers[i]))[k] = (int)(k * 2654435761u >> 20 & 1023u);
        }
    }
    int(*out)[4] = malloc(bytes[2]), *both = malloc(bytes[3]);
    uint64_t total = 0;
    assert_true(out && both);
    memcpy(both, pel_buffer_data(buffers[3]), bytes[3]);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = PITCH;
    desc.global[1] = ROWS;
    desc.local[0] = PITCH;
    desc.local[1] = 1;
    pel_arg args[] = {pel_buf(buffers[0]), pel_buf(buffers[1]), pel_buf(buffers[2]), pel_buf(buffers[3]), pel_buf(buffers[4]),
                      pel_local(PITCH * sizeof(int)), pel_i32(3), pel_null()};
    for (int round = 0; round < 2; round++) {
        reference(pel_buffer_data(buffers[0]), pel_buffer_data(buffers[1]), out, both, &total);
        if (pel_launch(queue, kernel, &desc, args, 8, NULL) != PEL_OK) {
            pel_error *error = pel_queue_error(queue);
            fail_msg("%s", pel_error_story(error));
        }
        finish(queue);
    }
    for (int i = 2; i < 5; i++) {
        assert_int_equal(pel_buffer_sync(buffers[i]), PEL_OK);
    }
    assert_memory_equal(pel_buffer_data(buffers[2]), out, bytes[2]);
    assert_memory_equal(pel_buffer_data(buffers[3]), both, bytes[3]);
    assert_int_equal(*(uint64_t *)pel_buffer_data(buffers[4]), total);
    free(out);
    free(both);
    pel_kernel_destroy(kernel);
    for (int i = 0; i < 5; i++) {
        pel_buffer_destroy(buffers[i]);
    }
    pel_queue_destroy(queue);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_four_times_the_memory(void **state) {
    (void)state;
    run_with("opencl:0[own]");
    run_with("opencl:0[own;memory=3M]");              /* the set is 12 MB */
    run_with("opencl:0[own;memory=64M;allocation=1M]");
    run_with("opencl:0[own;memory=160k]");
    run_with("opencl:0[own;memory=3M;staging=20k]"); /* through pinned memory, in pieces */
    if (test_has_cores_0_and_1()) {
        run_with("opencl:0@0[own;memory=3M],opencl:0@1[own;memory=2M]");
    }
}

static void test_what_cannot_have_windows_says_why(void **state) {
    (void)state;
    static const char text[] =
        "__kernel void reverse(__global int *x) { __local int held[64]; held[get_local_id(0)] = x[get_global_id(0)];\n"
        " barrier(CLK_LOCAL_MEM_FENCE); x[get_global_id(0)] = held[63 - get_local_id(0)]; }\n";
    static const pel_param list[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    pel_runtime *runtime = open_runtime("opencl:0[own;memory=1M]");
    pel_queue *queue = NULL;
    pel_buffer *buffer = NULL;
    assert_non_null(runtime);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, 4 << 20, &buffer, NULL), PEL_OK);
    pel_kernel *kernel = open_kernel(runtime, text, "reverse", list, 1);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 1 << 20;
    desc.local[0] = 64;
    pel_arg args[] = {pel_buf(buffer)};
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 1, NULL), PEL_NO_DEVICE);
    pel_error *error = pel_queue_error(queue);
    assert_non_null(strstr(pel_error_message(error), "__local variables of its own"));
    assert_non_null(strstr(pel_error_message(error), "1048576 bytes of memory"));
    pel_error_destroy(error);
    pel_kernel_destroy(kernel);
    pel_buffer_destroy(buffer);
    pel_queue_destroy(queue);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Sixteen columns of a matrix, also such that run on at the beginning of the next row: each row is one of a rectangle. */
enum { COLUMNS = 16, LINES = 1000 };

static uint32_t columns(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                        uint32_t capacity) {
    const uint64_t first = *(const uint64_t *)user;
    (void)arguments;
    for (uint64_t y = span->lo[0]; y < span->hi[0] && y - span->lo[0] < capacity; y++) {
        const uint64_t lo = (y * PITCH + first) * sizeof(int);
        intervals[y - span->lo[0]] = (pel_interval){lo, lo + COLUMNS * sizeof(int)};
    }
    return (uint32_t)(span->hi[0] - span->lo[0]);
}

static void test_columns_are_rectangles(void **state) {
    (void)state;
    static const char text[] =
        "__kernel void sums(__global const int *x, __global int *y, ulong first) { int sum = 0; size_t i = get_global_id(0);\n"
        " for (int k = 0; k < 16; k++) sum += x[i * 256 + first + k];\n y[i] = sum; }\n";
    static const char *const devices[] = {"opencl:0[own]", "opencl:0[own;memory=200k]"};
    static uint64_t first[] = {40, PITCH - 6};
    for (int d = 0; d < 4; d++) {
        const pel_param list[] = {PEL_PARAM_CUSTOM(PEL_READ, columns, &first[d % 2]),
                                  PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1), PEL_PARAM_VALUE(uint64_t)};
        pel_runtime *runtime = open_runtime(devices[d / 2]);
        pel_queue *queue = NULL;
        pel_buffer *x = NULL, *y = NULL;
        pel_event *event = NULL;
        pel_buffer_counters counters;
        pel_plan *plan = NULL;
        pel_plan_chunk chunk;
        assert_non_null(runtime);
        assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
        assert_int_equal(pel_buffer_create(runtime, (LINES + 1) * PITCH * sizeof(int), &x, NULL), PEL_OK);
        assert_int_equal(pel_buffer_create(runtime, LINES * sizeof(int), &y, NULL), PEL_OK);
        int *in = pel_buffer_data(x);
        for (int i = 0; i < (LINES + 1) * PITCH; i++) {
            in[i] = i % 1013;
        }
        pel_kernel *kernel = open_kernel(runtime, text, "sums", list, 3);
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = LINES;
        pel_arg args[] = {pel_buf(x), pel_buf(y), pel_u64(first[d % 2])};
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 3, &event), PEL_OK);
        finish(queue);
        assert_int_equal(pel_buffer_sync(y), PEL_OK);
        for (int i = 0; i < LINES; i++) {
            int sum = 0;
            for (int k = 0; k < COLUMNS; k++) {
                sum += in[i * PITCH + (int)first[d % 2] + k];
            }
            assert_int_equal(((int *)pel_buffer_data(y))[i], sum);
        }
        pel_buffer_get_counters(x, &counters);
        assert_int_equal(counters.to_devices, LINES * COLUMNS * sizeof(int));
        assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
        assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
        assert_int_equal(chunk.bytes_in, LINES * COLUMNS * sizeof(int)); /* not a byte between the columns */
        pel_plan_destroy(plan);
        pel_event_release(event);
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(x);
        pel_buffer_destroy(y);
        pel_queue_destroy(queue);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

/* Whether a compiler ran in the first streamed launch of a runtime. */
static bool first_is_cold(void) {
    static const char text[] =
        "__kernel void thrice(__global const int *x, __global int *y) { y[get_global_id(0)] = 3 * x[get_global_id(0)]; }\n";
    static const pel_param list[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                     PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_runtime *runtime = open_runtime("opencl:0[own;memory=64k]");
    pel_queue *queue = NULL;
    pel_buffer *buffers[2] = {NULL};
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    pel_plan_chunk chunk;
    assert_non_null(runtime);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    pel_kernel *kernel = open_kernel(runtime, text, "thrice", list, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_buffer_create(runtime, 1 << 18, &buffers[i], NULL), PEL_OK);
    }
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 1 << 16;
    pel_arg args[] = {pel_buf(buffers[0]), pel_buf(buffers[1])};
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
    finish(queue);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
    pel_plan_destroy(plan);
    pel_event_release(event);
    pel_kernel_destroy(kernel);
    pel_buffer_destroy(buffers[0]);
    pel_buffer_destroy(buffers[1]);
    pel_queue_destroy(queue);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return chunk.cold != 0;
}

static void test_wrappers_are_kept_on_disk(void **state) {
    (void)state;
    if (!getenv("PEL_CACHE_DIR")) {
        skip();
    }
    (void)first_is_cold();
    assert_false(first_is_cold());
}

/* In a child, where Oclgrind is the only driver: it checks addresses, so windows must be refused there. 77: it is not there. */
static int ask_oclgrind(void) {
    static const char text[] =
        "__kernel void twice(__global const int *x, __global int *y) { y[get_global_id(0)] = 2 * x[get_global_id(0)]; }\n";
    static const pel_param list[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                     PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_runtime *runtime = open_runtime("opencl:0[own;memory=4k]");
    pel_queue *queue = NULL;
    pel_buffer *buffers[2] = {NULL};
    if (!runtime || !strstr(pel_device_get_info(pel_runtime_device(runtime, 0))->platform, "Oclgrind")) {
        return 77;
    }
    pel_status status = pel_queue_create(runtime, NULL, &queue, NULL);
    pel_kernel *kernel = open_kernel(runtime, text, "twice", list, 2);
    for (int i = 0; i < 2 && status == PEL_OK; i++) {
        status = pel_buffer_create(runtime, 4096, &buffers[i], NULL);
    }
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 1024;
    pel_arg args[] = {pel_buf(buffers[0]), pel_buf(buffers[1])};
    const pel_status refused = pel_launch(queue, kernel, &desc, args, 2, NULL);
    pel_error *error = pel_queue_error(queue);
    const int right = status == PEL_OK && refused == PEL_NO_DEVICE && error &&
                      strstr(pel_error_message(error), "pointers that begin before their buffer");
    printf("%s\n", error ? pel_error_message(error) : "it was not refused");
    pel_error_destroy(error);
    pel_kernel_destroy(kernel);
    pel_buffer_destroy(buffers[0]);
    pel_buffer_destroy(buffers[1]);
    pel_queue_destroy(queue);
    (void)pel_runtime_destroy(runtime);
    return right ? 0 : 1;
}

static const char *self;

static void test_oclgrind_refuses(void **state) {
    (void)state;
    static const char driver[] = "/usr/lib/oclgrind/liboclgrind-rt-icd.so";
    char command[1024];
    if (access(driver, R_OK) != 0) {
        skip();
    }
    (void)snprintf(command, sizeof command, "OCL_ICD_VENDORS=%s '%s' oclgrind", driver, self);
    const int answer = system(command);
    if (WIFEXITED(answer) && WEXITSTATUS(answer) == 77) {
        skip();
    }
    assert_int_equal(answer, 0);
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc > 1) {
        return ask_oclgrind();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_times_the_memory),
        cmocka_unit_test(test_what_cannot_have_windows_says_why),
        cmocka_unit_test(test_columns_are_rectangles),
        cmocka_unit_test(test_wrappers_are_kept_on_disk),
        cmocka_unit_test(test_oclgrind_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
