/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches that are made again and again: with what changes between them, and with what goes and comes back at the same place. */
#include "machines.h"

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

static pel_runtime *open_host(void) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime;
    desc.devices = "host";
    desc.host_workers = 2;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    return runtime;
}

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
    pel_runtime *runtime = open_host();
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
    pel_runtime *runtime = open_host();
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
    pel_runtime *runtime = open_host();
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_changes),
        cmocka_unit_test(test_what_goes),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
