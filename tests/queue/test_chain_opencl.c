/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Iterations of a stencil on two halves of an OpenCL CPU, queued behind each other across both: right also when launches are
 * short, when somebody waits in between, when some run on one half, and when a queue ends in the middle.
 */
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 128, ROUNDS = 3, ITERATIONS = 300 };

static const char source[] =
    "__kernel void blur(__global const uint *in, __global uint *out) {\n"
    "    size_t x = get_global_id(0), y = get_global_id(1), w = get_global_size(0), h = get_global_size(1), i = y * w + x;\n"
    "    out[i] = 3 * in[i] + (y > 0 ? in[i - w] : 1) + (y + 1 < h ? 7 * in[i + w] : 5) + (x > 0 ? in[i - 1] : 2);\n"
    "}\n";

static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(uint32_t), SIZE * sizeof(uint32_t), 1, 1),
                                   PEL_PARAM_BLOCK(PEL_WRITE, sizeof(uint32_t), SIZE * sizeof(uint32_t), 0, 0)};

static uint32_t ours[2][SIZE * SIZE], expected[2][SIZE * SIZE];

static void iterate_here(int from) {
    const uint32_t *in = expected[from];
    for (int y = 0; y < SIZE; y++) {
        for (int x = 0; x < SIZE; x++) {
            const int i = y * SIZE + x;
            expected[1 - from][i] =
                3 * in[i] + (y > 0 ? in[i - SIZE] : 1) + (y + 1 < SIZE ? 7 * in[i + SIZE] : 5) + (x > 0 ? in[i - 1] : 2);
        }
    }
}

static void test_two_halves(void **state) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    (void)state;
    desc.devices = "opencl:0@0,opencl:0@1";
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        skip(); /* one core, or no OpenCL CPU device that can be parted */
    }
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_queue *queue = NULL;
    pel_buffer *grids[2];
    program_desc.source = source;
    kernel_desc.entry = "blur";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (int g = 0; g < 2; g++) {
        for (uint32_t i = 0; i < SIZE * SIZE; i++) {
            ours[g][i] = expected[g][i] = i * 2654435761u;
        }
        assert_int_equal(pel_buffer_wrap(runtime, ours[g], sizeof ours[g], &grids[g]), PEL_OK);
    }
    for (int round = 0; round < ROUNDS; round++) {
        const pel_share shares[] = {{pel_runtime_device(runtime, 0), 1.0 + round}, {pel_runtime_device(runtime, 1), 1}};
        pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
        launch.global[0] = launch.global[1] = SIZE;
        launch.shares = shares;
        for (int i = 0; i < ITERATIONS; i++) {
            pel_event *event = NULL;
            const pel_arg args[] = {pel_buf(grids[i % 2]), pel_buf(grids[1 - i % 2])};
            launch.share_count = i % 16 == 15 ? 1 : 2;
            assert_int_equal(pel_launch(queue, kernel, &launch, args, 2, i % 100 == 50 ? &event : NULL), PEL_OK);
            iterate_here(i % 2);
            if (event) {
                assert_int_equal(pel_event_wait(event), PEL_OK);
                pel_event_release(event);
            }
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_memory_equal(ours[0], expected[0], sizeof ours[0]);
        assert_memory_equal(ours[1], expected[1], sizeof ours[1]);
    }
    const pel_arg args[] = {pel_buf(grids[0]), pel_buf(grids[1])};
    const pel_share shares[] = {{pel_runtime_device(runtime, 0), 1}, {pel_runtime_device(runtime, 1), 1}};
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    launch.global[0] = launch.global[1] = SIZE;
    launch.shares = shares;
    launch.share_count = 2;
    for (int i = 0; i < 40; i++) { /* and nobody finishes them but the destruction */
        assert_int_equal(pel_launch(queue, kernel, &launch, args, 2, NULL), PEL_OK);
    }
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_buffer_destroy(grids[0]);
    pel_buffer_destroy(grids[1]);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_halves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
