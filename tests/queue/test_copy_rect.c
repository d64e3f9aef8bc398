/* SPDX-License-Identifier: BSD-3-Clause */
/* Rectangular copies: between all places against an oracle, beside neighbours that are still busy, and what is refused. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { ROWS = 24, COLUMNS = 40, N = ROWS * COLUMNS, STEPS = 300 };

static void copy_rows(int *to, const int *from, uint64_t to_pitch, uint64_t from_pitch, uint64_t columns, uint64_t rows) {
    for (uint64_t i = 0; i < rows; i++) {
        memcpy(to + i * to_pitch, from + i * from_pitch, columns * sizeof(int));
    }
}

/* Launches leave parts of the buffers on devices with memory of their own; copies must find and leave the right bytes. */
static void test_between_places(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        static int memory[3][N], expected[3][N];
        pel_runtime *runtime = machine_of_three();
        pel_queue *queue = machine_queue(runtime);
        pel_kernel *kernel = machine_kernel(runtime, "next", params, 2, machine_add_one, 0);
        pel_buffer *buffers[3];
        machine_seed(seed);
        for (int b = 0; b < 3; b++) {
            for (int i = 0; i < N; i++) {
                memory[b][i] = expected[b][i] = (int)(machine_random() % 1000);
            }
            assert_int_equal(pel_buffer_wrap(runtime, memory[b], sizeof memory[b], &buffers[b]), PEL_OK);
        }
        for (int step = 0; step < STEPS; step++) {
            const int from = (int)(machine_random() % 3), to = (from + 1 + (int)(machine_random() % 2)) % 3;
            if (machine_random() % 3 == 0) {
                pel_share shares[8];
                pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
                pel_arg args[] = {pel_buf(buffers[from]), pel_buf(buffers[to])};
                desc.global[0] = N;
                desc.shares = shares;
                desc.share_count = machine_random_shares(runtime, shares);
                assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
                for (int i = 0; i < N; i++) {
                    expected[to][i] = expected[from][i] + 1;
                }
                continue;
            }
            const uint64_t columns = 1 + machine_random() % COLUMNS, rows = 1 + machine_random() % ROWS;
            const uint64_t to_pitch = columns + machine_random() % (COLUMNS - columns + 1),
                           from_pitch = machine_random() % 2 ? COLUMNS : columns;
            const uint64_t to_offset = machine_random() % (N - (rows - 1) * to_pitch - columns + 1);
            const uint64_t from_offset = machine_random() % (N - (rows - 1) * from_pitch - columns + 1);
            const pel_rows destination = {buffers[to], to_offset * sizeof(int), to_pitch * sizeof(int)};
            const pel_rows source = {buffers[from], from_offset * sizeof(int),
                                     from_pitch == columns ? 0 : from_pitch * sizeof(int)};
            assert_int_equal(pel_copy_rect(queue, &destination, &source, columns * sizeof(int), rows, NULL, NULL), PEL_OK);
            copy_rows(expected[to] + to_offset, expected[from] + from_offset, to_pitch, from_pitch, columns, rows);
        }
        machine_finish(queue);
        if (memcmp(memory, expected, sizeof memory) != 0) {
            fail_msg("seed %llu: a copy moved the wrong bytes", (unsigned long long)seed);
        }
        pel_kernel_destroy(kernel);
        pel_queue_destroy(queue);
        for (int b = 0; b < 3; b++) {
            pel_buffer_destroy(buffers[b]);
        }
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

static pel_status nothing(void *context) {
    (void)context;
    return PEL_OK;
}

/* The left half of a matrix is held by a task that cannot begin; the right half is copied meanwhile, a column more is not. */
static void test_beside_a_busy_neighbour(void **state) {
    (void)state;
    static int matrix[ROWS][COLUMNS], out[ROWS][COLUMNS];
    pel_buffer *from = NULL, *to = NULL;
    pel_event *gate = NULL, *beside = NULL, *across = NULL;
    pel_runtime *runtime = machine_host(0);
    pel_queue *queue = machine_queue(runtime);
    for (int i = 0; i < ROWS; i++) {
        matrix[i][COLUMNS - 1] = i;
    }
    assert_int_equal(pel_buffer_wrap(runtime, matrix, sizeof matrix, &from), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &to), PEL_OK);
    assert_int_equal(pel_event_create_user(runtime, &gate, NULL), PEL_OK);
    const pel_event *waits = gate;
    const pel_task_desc held = {.size = sizeof held, .waits = &waits, .wait_count = 1};
    const uint64_t half = sizeof matrix[0] / 2;
    const pel_access left = PEL_ACCESS_RECTANGLE(from, 0, half, ROWS, 2 * half, PEL_WRITE);
    assert_int_equal(pel_task(queue, nothing, NULL, &left, 1, &held, NULL), PEL_OK);
    const pel_rows right = {from, half, 2 * half}, right_out = {to, half, 2 * half};
    assert_int_equal(pel_copy_rect(queue, &right_out, &right, half, ROWS, NULL, &beside), PEL_OK);
    const pel_rows wider = {from, half - 4, 2 * half}, wider_out = {to, half - 4, 2 * half};
    assert_int_equal(pel_copy_rect(queue, &wider_out, &wider, half + 4, ROWS, NULL, &across), PEL_OK);
    assert_int_equal(pel_event_wait(beside), PEL_OK);
    assert_int_equal(out[ROWS - 1][COLUMNS - 1], ROWS - 1);
    assert_int_equal(pel_event_get_state(across), PEL_EVENT_SUBMITTED);
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    machine_finish(queue);
    /* Halves of one matrix may be copied onto each other, parts that overlap not. */
    const pel_rows left_rows = {from, 0, 2 * half};
    assert_int_equal(pel_copy_rect(queue, &left_rows, &right, half, ROWS, NULL, NULL), PEL_OK);
    assert_int_equal(pel_copy_rect(queue, &left_rows, &right, half + 1, ROWS - 1, NULL, NULL), PEL_CONFLICT);
    assert_int_equal(pel_copy_rect(queue, &left_rows, &right_out, 2 * half + 1, 2, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_copy_rect(queue, &left_rows, &right_out, half, ROWS + 1, NULL, NULL), PEL_TOO_LARGE);
    assert_int_equal(pel_copy_rect(queue, &left_rows, &right_out, half, UINT64_MAX / 2, NULL, NULL), PEL_TOO_LARGE);
    assert_int_equal(pel_copy_rect(queue, &left_rows, NULL, half, 1, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_copy_rect(queue, &left_rows, &right_out, half, 0, NULL, NULL), PEL_INVALID_ARGUMENT);
    machine_finish(queue);
    assert_int_equal(matrix[5][COLUMNS / 2 - 1], 5);
    pel_event_release(gate);
    pel_event_release(beside);
    pel_event_release(across);
    pel_queue_destroy(queue);
    pel_buffer_destroy(from);
    pel_buffer_destroy(to);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status fail_at_once(void *context) {
    (void)context;
    return PEL_IO;
}

/* Whoever overwrites wholly what a failed command left makes it good, in rectangles of whatever pitch; beside it nobody fails. */
static void test_failures_and_other_pitches(void **state) {
    (void)state;
    static unsigned char memory[64 * 64];
    pel_runtime *runtime = machine_of_three();
    pel_queue *queue = machine_queue(runtime);
    pel_buffer *buffer;
    assert_int_equal(pel_buffer_wrap(runtime, memory, sizeof memory, &buffer), PEL_OK);
    const pel_access failing = PEL_ACCESS_RECTANGLE(buffer, 0, 16, 4, 64, PEL_WRITE);
    const pel_access beside = PEL_ACCESS_RECTANGLE(buffer, 16, 40, 4, 128, PEL_READ_WRITE);
    const pel_access over = PEL_ACCESS_RECTANGLE(buffer, 0, 24, 8, 32, PEL_WRITE);
    const pel_access whole = PEL_ACCESS(buffer, 0, 256, PEL_READ);
    const pel_access *const accesses[] = {&failing, &beside, &whole, &over, &whole};
    const pel_status ends[] = {PEL_TASK_FAILED, PEL_OK, PEL_DEPENDENCY_FAILED, PEL_OK, PEL_OK};
    for (int i = 0; i < 5; i++) {
        pel_event *event = NULL;
        assert_int_equal(pel_task(queue, i == 0 ? fail_at_once : nothing, NULL, accesses[i], 1, NULL, &event), PEL_OK);
        assert_int_equal(pel_event_wait(event), ends[i]);
        pel_event_release(event);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    pel_queue_destroy(queue);
    pel_buffer_destroy(buffer);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_between_places), cmocka_unit_test(test_beside_a_busy_neighbour),
                                       cmocka_unit_test(test_failures_and_other_pitches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
