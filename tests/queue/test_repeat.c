/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches that are made again and again: with what changes between them, and with what goes and comes back at the same place. */
#include "machines.h"

#include "core/runtime.h"
#include "queue/repeat.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

enum { ITEMS = 256, AGAIN = 100 };

/* out[i] = in[i] * factor + out[i] */
static pel_status add_scaled(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const unsigned factor = *(const unsigned *)arguments[0], *in = arguments[1];
    unsigned *out = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] += in[i] * factor;
    }
    return PEL_OK;
}

static const pel_param params[] = {PEL_PARAM_VALUE(unsigned), PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};

static pel_buffer *filled(pel_runtime *runtime, unsigned value) {
    pel_buffer *buffer;
    assert_int_equal(pel_buffer_create(runtime, ITEMS * sizeof(int), &buffer, NULL), PEL_OK);
    unsigned *data = pel_buffer_data(buffer);
    for (unsigned i = 0; i < ITEMS; i++) {
        data[i] = value;
    }
    return buffer;
}

static void launch(pel_queue *queue, pel_kernel *kernel, uint64_t items, unsigned factor, pel_buffer *in, pel_buffer *out) {
    const pel_arg args[] = {pel_u32(factor), pel_buf(in), pel_buf(out)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = items;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 3, NULL), PEL_OK);
}

static void expect(pel_queue *queue, pel_buffer *buffer, uint64_t items, unsigned value, unsigned rest) {
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    const unsigned *data = pel_buffer_data(buffer);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(data[i], i < items ? value : rest);
    }
}

/* The same, then other values, other ranges, buffers the other way round: each taken for what it is. */
static void test_what_changes(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(2);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "add_scaled", params, 3, add_scaled, 0);
    pel_buffer *one = filled(runtime, 1), *out = filled(runtime, 0), *other = filled(runtime, 0);
    for (unsigned i = 0; i < AGAIN; i++) {
        launch(queue, kernel, ITEMS, 2, one, out);
    }
    expect(queue, out, ITEMS, 2 * AGAIN, 0);
    for (unsigned i = 0; i < AGAIN; i++) {
        launch(queue, kernel, ITEMS, i % 3, one, out);
        launch(queue, kernel, ITEMS / 2, 5, one, other);
    }
    expect(queue, out, ITEMS, 2 * AGAIN + 99, 0); /* 0 + 1 + 2, 33 times, and 0 */
    expect(queue, other, ITEMS / 2, 5 * AGAIN, 0);
    unsigned even = 2 * AGAIN + 99, odd = 1;
    for (unsigned i = 0; i < 16; i++) { /* each reads what the one before has written */
        launch(queue, kernel, ITEMS, 1, out, one);
        launch(queue, kernel, ITEMS, 1, one, out);
        odd += even;
        even += odd;
    }
    expect(queue, one, ITEMS, odd, 0);
    expect(queue, out, ITEMS, even, 0);
    pel_buffer *all[] = {one, out, other};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pel_buffer_destroy(all[i]), PEL_OK);
    }
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Nothing holds a buffer or a kernel that nobody launches any more, and what comes to the same address is not taken for it. */
static void test_what_goes(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(2);
    pel_queue *queue = machine_queue(runtime);
    for (unsigned round = 0; round < 20; round++) {
        pel_kernel *kernel = machine_kernel(runtime, "add_scaled", params, 3, add_scaled, 0);
        pel_buffer *in = filled(runtime, round), *out = filled(runtime, 7);
        for (unsigned i = 0; i < 5; i++) {
            launch(queue, kernel, ITEMS, 3, in, out);
        }
        expect(queue, out, ITEMS, 7 + 15 * round, 0);
        assert_int_equal(pel_buffer_destroy(in), PEL_OK);
        assert_int_equal(pel_buffer_destroy(out), PEL_OK);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    }
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* A failure spreads as ever, and launches after a reset are as before. */
static bool fails;

static pel_status may_fail(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    return fails ? PEL_TASK_FAILED : add_scaled(span, arguments, scratch, user);
}

static void test_failures(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(2);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "may_fail", params, 3, may_fail, 0);
    pel_buffer *in = filled(runtime, 1), *out = filled(runtime, 0);
    for (unsigned i = 0; i < 10; i++) {
        launch(queue, kernel, ITEMS, 1, in, out);
    }
    expect(queue, out, ITEMS, 10, 0);
    fails = true;
    for (unsigned i = 0; i < 3; i++) {
        launch(queue, kernel, ITEMS, 1, in, out);
    }
    assert_int_not_equal(pel_queue_finish(queue), PEL_OK);
    fails = false;
    pel_queue_reset(queue);
    memset(pel_buffer_data(out), 0, ITEMS * sizeof(int));
    for (unsigned i = 0; i < 10; i++) {
        launch(queue, kernel, ITEMS, 1, in, out);
    }
    expect(queue, out, ITEMS, 10, 0);
    assert_int_equal(pel_buffer_destroy(in), PEL_OK);
    assert_int_equal(pel_buffer_destroy(out), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* The next launch of a row, with a decision that expects `expected_ns`; what it goes on with. */
static double goes_on_with(pel_queue *queue, pel_kernel *kernel, pel_buffer *in, pel_buffer *out, double expected_ns,
                           const double *took_ns, uint32_t count) {
    const pel_arg args[] = {pel_u32(2), pel_buf(in), pel_buf(out)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_repeated repeated = {0};
    desc.global[0] = ITEMS;
    pthread_mutex_lock(&queue->runtime->lock);
    assert_int_equal(pel_repeat_launch(queue, kernel, &desc, args, 3, true, false, &repeated), PEL_REPEAT_COMMAND);
    pel_command *command = repeated.command;
    for (uint32_t i = 0; i < count; i++) {
        pel_repeat_saw(command, took_ns[i]);
    }
    if (expected_ns > 0) {
        command->slices = pel_alloc_zero(&queue->runtime->allocator, 1, sizeof *command->slices);
        assert_non_null(command->slices);
        command->slices[0] = (pel_plan_slice){.hi = command->bound.units, .predicted_ns = expected_ns};
        command->slice_count = command->planned = 1;
        pel_repeat_keep(command, false);
    } else {
        assert_true(pel_repeat_decide(command));
    }
    const double expects = command->slices[0].predicted_ns;
    pel_command_free(command);
    pthread_mutex_unlock(&queue->runtime->lock);
    return expects;
}

static pel_status add_far(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint64_t *far = arguments[0]; /* eight words: more than an argument holds itself */
    unsigned *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] += (unsigned)far[7];
    }
    return PEL_OK;
}

/* A large value without memory is refused before and after launches that had some; nothing reads it to look for these. */
static void test_no_value(void **state) {
    (void)state;
    const uint64_t far[8] = {0, 0, 0, 0, 0, 0, 0, 3};
    const pel_param with_far[] = {PEL_PARAM_VALUE(far), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    pel_runtime *runtime = machine_host(2);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "add_far", with_far, 2, add_far, 0);
    pel_buffer *out = filled(runtime, 0);
    const pel_arg good[] = {pel_struct(far, sizeof far), pel_buf(out)}, bad[] = {pel_struct(NULL, sizeof far), pel_buf(out)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    for (unsigned i = 0; i < AGAIN; i++) {
        assert_int_equal(pel_launch(queue, kernel, &desc, bad, 2, NULL), PEL_INVALID_ARGUMENT);
        assert_int_equal(pel_launch(queue, kernel, &desc, good, 2, NULL), PEL_OK);
    }
    expect(queue, out, ITEMS, 3 * AGAIN, 0);
    assert_int_equal(pel_buffer_destroy(out), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* One lesson of a second does not decide what is expected of a row whose launches take a tenth of a microsecond, nor does one of
 * the row that took so long; where all of them take longer, more is expected. */
static void test_poison(void **state) {
    (void)state;
    pel_simulated_device device = machine_device("host", 1000, 0);
    pel_runtime *runtime = machine_create(&device, 1, NULL);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "add_scaled", params, 3, add_scaled, 0);
    pel_buffer *in = filled(runtime, 1), *out = filled(runtime, 0);
    const double second = 1e9, short_one = 100;
    double longer[100];
    for (unsigned i = 0; i < 3; i++) {
        launch(queue, kernel, ITEMS, 2, in, out);
        expect(queue, out, ITEMS, 2 * (i + 1), 0);
    }
    const double most = goes_on_with(queue, kernel, in, out, second, &short_one, 1);
    assert_true(most >= short_one && most <= 100 * short_one);
    const double kept = goes_on_with(queue, kernel, in, out, 0, NULL, 0);
    assert_true(kept >= most && kept <= most);
    assert_true(goes_on_with(queue, kernel, in, out, 50, NULL, 0) <= 50); /* a bound, not a guess */
    assert_true(goes_on_with(queue, kernel, in, out, second, &second, 1) <= 1.5 * most);
    for (unsigned i = 0; i < 100; i++) {
        longer[i] = 1e6;
    }
    const double later = goes_on_with(queue, kernel, in, out, second, longer, 100);
    assert_true(later >= 1e6 && later <= 100 * 1e6);
    assert_int_equal(pel_buffer_destroy(in), PEL_OK);
    assert_int_equal(pel_buffer_destroy(out), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_changes),
        cmocka_unit_test(test_what_goes),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_no_value),
        cmocka_unit_test(test_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
