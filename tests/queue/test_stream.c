/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches beyond a device's memory: right results through windows, how well the pipeline overlaps, and what is refused with
 * which numbers. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 100000 };

typedef struct bench {
    pel_runtime *runtime;
    pel_queue *queue;
    const pel_device *gpu;
} bench;

static bench open_bench(uint64_t memory, double rate, double link) {
    bench b;
    pel_simulated_device devices[] = {machine_device("gpu", rate, link), machine_device("other", rate, link)};
    devices[0].memory_bytes = devices[1].memory_bytes = memory;
    b.runtime = machine_create(devices, 2, "sim:gpu,sim:other");
    b.queue = machine_queue(b.runtime);
    b.gpu = pel_runtime_find_device(b.runtime, "sim:gpu");
    return b;
}

static void close_bench(bench *b) {
    assert_int_equal(pel_queue_destroy(b->queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(b->runtime), PEL_OK);
}

static int *filled(pel_buffer *buffer, uint64_t count) {
    int *data = pel_buffer_data(buffer);
    for (uint64_t i = 0; i < count; i++) {
        data[i] = (int)(machine_random() % 1000);
    }
    return data;
}

static pel_buffer *new_buffer(const bench *b, uint64_t bytes) {
    pel_buffer *buffer = NULL;
    assert_int_equal(pel_buffer_create(b->runtime, bytes, &buffer, NULL), PEL_OK);
    return buffer;
}

/* out[i] = in[i] + the neighbours + table[i % 16]; sums[group] = of out; total += of out */
enum { PITCH = 100, ROWS = N / PITCH, GROUP = 100 };

static pel_status everything(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0], *table = arguments[1];
    int *out = arguments[2], *both = arguments[3];
    uint64_t *total = arguments[4];
    (void)scratch, (void)user;
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            const uint64_t i = y * PITCH + x;
            out[i] = in[i] + (y > 0 ? in[i - PITCH] : 0) + (y + 1 < ROWS ? in[i + PITCH] : 0) + table[i % 16];
            both[i] += out[i];
            *total += (uint64_t)out[i];
        }
    }
    return PEL_OK;
}

static const pel_param everything_params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), PITCH * sizeof(int), 1, 1),
                                              PEL_PARAM_WHOLE(PEL_READ),
                                              PEL_PARAM_BLOCK(PEL_WRITE, sizeof(int), PITCH * sizeof(int), 0, 0),
                                              PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1),
                                              PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U64, 8, 1)};

static void run_everything(uint64_t memory, bool split) {
    bench b = open_bench(memory, 100, 4);
    pel_kernel *kernel = machine_kernel(b.runtime, "everything", everything_params, 5, everything, 0);
    const uint64_t bytes = N * sizeof(int);
    pel_buffer *in = new_buffer(&b, bytes), *table = new_buffer(&b, 64), *out = new_buffer(&b, bytes),
               *both = new_buffer(&b, bytes), *total = new_buffer(&b, 8);
    int *expected_out = malloc(bytes), *expected_both = malloc(bytes);
    uint64_t expected_total = 0;
    pel_share shares[] = {{b.gpu, 1}, {pel_runtime_find_device(b.runtime, "sim:other"), 2}};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = PITCH;
    desc.global[1] = ROWS;
    desc.shares = shares;
    desc.share_count = split ? 2 : 1;
    assert_non_null(expected_out);
    assert_non_null(expected_both);
    const pel_span whole = {.dims = 2, .hi = {PITCH, ROWS}};
    void *reference[] = {filled(in, N), filled(table, 16), expected_out, expected_both, &expected_total};
    memcpy(expected_both, filled(both, N), bytes);
    pel_arg args[] = {pel_buf(in), pel_buf(table), pel_buf(out), pel_buf(both), pel_buf(total)};
    for (int round = 0; round < 3; round++) {
        pel_event *event = NULL;
        pel_plan_bytes moved;
        assert_int_equal(everything(&whole, reference, NULL, NULL), PEL_OK);
        assert_int_equal(pel_launch(b.queue, kernel, &desc, args, 5, &event), PEL_OK);
        machine_finish(b.queue);
        pel_plan *plan = machine_plan_of(event);
        assert_int_equal(pel_plan_get_bytes(plan, &moved), PEL_OK);
        if (memory < 3 * bytes) { /* in, both in; out, both home */
            assert_true(moved.moved >= 4 * bytes);
        }
        pel_plan_destroy(plan);
    }
    assert_int_equal(pel_buffer_sync(out), PEL_OK);
    assert_int_equal(pel_buffer_sync(both), PEL_OK);
    assert_int_equal(pel_buffer_sync(total), PEL_OK);
    assert_memory_equal(pel_buffer_data(out), expected_out, bytes);
    assert_memory_equal(pel_buffer_data(both), expected_both, bytes);
    assert_int_equal(*(uint64_t *)pel_buffer_data(total), expected_total);
    free(expected_out);
    free(expected_both);
    pel_kernel_destroy(kernel);
    pel_buffer *all[] = {in, table, out, both, total};
    for (int i = 0; i < 5; i++) {
        pel_buffer_destroy(all[i]);
    }
    close_bench(&b);
}

static void test_results_are_right_whatever_fits(void **state) {
    (void)state;
    const uint64_t set = 3 * N * sizeof(int);
    machine_seed(1);
    for (uint64_t part = 1; part <= 64; part *= 4) {
        run_everything(set / part + 200, false);
        run_everything(set / part + 200, true);
    }
}

/* Two ranges of one buffer meet in places: they must share a window. */
static pel_status shifted(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *left = arguments[0], *right = arguments[1];
    int *out = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = left[i] - right[i];
    }
    return PEL_OK;
}

static void test_ranges_of_one_buffer(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    for (uint64_t shift = 1; shift <= N; shift *= 10) {
        bench b = open_bench(N, 100, 4);
        pel_kernel *kernel = machine_kernel(b.runtime, "shifted", params, 3, shifted, 0);
        pel_buffer *in = new_buffer(&b, 2 * N * sizeof(int)), *out = new_buffer(&b, N * sizeof(int));
        pel_share share = {b.gpu, 1};
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = N;
        desc.shares = &share;
        desc.share_count = 1;
        const int *data = filled(in, 2 * N);
        pel_arg args[] = {pel_buf_range(in, 0, N * sizeof(int)), pel_buf_range(in, shift * sizeof(int), N * sizeof(int)),
                          pel_buf(out)};
        assert_int_equal(pel_launch(b.queue, kernel, &desc, args, 3, NULL), PEL_OK);
        machine_finish(b.queue);
        assert_int_equal(pel_buffer_sync(out), PEL_OK);
        const int *got = pel_buffer_data(out);
        for (uint64_t i = 0; i < N; i++) {
            assert_int_equal(got[i], data[i] - data[i + shift]);
        }
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(in);
        pel_buffer_destroy(out);
        close_bench(&b);
    }
}

/* What a launch wrote on the device before is home before another one streams it. */
static void test_resident_bytes_come_home_first(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    const uint64_t bytes = N * sizeof(int);
    bench b = open_bench(bytes + bytes / 2, 100, 4);
    pel_kernel *kernel = machine_kernel(b.runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *x = new_buffer(&b, bytes), *y = new_buffer(&b, bytes);
    pel_share share = {b.gpu, 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.shares = &share;
    desc.share_count = 1;
    int *data = filled(x, N);
    int first = data[7];
    pel_arg half[] = {pel_buf_range(x, 0, 4096), pel_buf_range(x, 8192, 4096)}; /* x alone fits: it becomes resident */
    desc.global[0] = 1024;
    assert_int_equal(pel_launch(b.queue, kernel, &desc, half, 2, NULL), PEL_OK);
    pel_arg all[] = {pel_buf(x), pel_buf(y)};
    desc.global[0] = N;
    assert_int_equal(pel_launch(b.queue, kernel, &desc, all, 2, NULL), PEL_OK);
    pel_arg back[] = {pel_buf(y), pel_buf(x)};
    assert_int_equal(pel_launch(b.queue, kernel, &desc, back, 2, NULL), PEL_OK);
    machine_finish(b.queue);
    assert_int_equal(pel_buffer_sync(x), PEL_OK);
    assert_int_equal(((int *)pel_buffer_data(x))[2048 + 7], 8 * first);
    pel_kernel_destroy(kernel);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    close_bench(&b);
}

/* The pipeline, against one whose transfers and computing overlap without end or beginning. */
static void test_transfers_run_beside_the_computing(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    enum { MANY = 8 << 20 };
    const uint64_t bytes = (uint64_t)MANY * sizeof(int);
    const double link = 8, rates[] = {500, 2000, 8000}; /* computing takes 4 times, once, a quarter of what the transfers take */
    for (int r = 0; r < 3; r++) {
        bench b = open_bench(2 * bytes / 4, rates[r], link);
        pel_kernel *kernel = machine_kernel(b.runtime, "doubled", params, 2, machine_double, 0);
        pel_buffer *x = new_buffer(&b, bytes), *y = new_buffer(&b, bytes);
        pel_share share = {b.gpu, 1};
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = MANY;
        desc.shares = &share;
        desc.share_count = 1;
        pel_arg args[] = {pel_buf(x), pel_buf(y)};
        const int64_t began = pel_runtime_now(b.runtime);
        assert_int_equal(pel_launch(b.queue, kernel, &desc, args, 2, NULL), PEL_OK);
        machine_finish(b.queue);
        const double took = (double)(pel_runtime_now(b.runtime) - began), moving = (double)bytes / link,
                     computing = 1e3 * MANY / rates[r];
        const double ideal = moving > computing ? moving : computing;
        printf("rate %g: %.3f of the ideal pipeline\n", rates[r], ideal / took);
        assert_true(ideal / took >= 0.9);
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(x);
        pel_buffer_destroy(y);
        close_bench(&b);
    }
}

static void expect_refusal(bench *b, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args, uint32_t count,
                           const char *part) {
    assert_int_equal(pel_launch(b->queue, kernel, desc, args, count, NULL), PEL_NO_DEVICE);
    pel_error *error = pel_queue_error(b->queue);
    assert_non_null(error);
    if (!strstr(pel_error_message(error), part)) {
        fail_msg("'%s' lacks '%s'", pel_error_message(error), part);
    }
    pel_error_destroy(error);
}

static void test_what_cannot_fit_is_refused_with_the_numbers(void **state) {
    (void)state;
    static const pel_param in_place[] = {PEL_PARAM_BLOCK(PEL_READ_WRITE, sizeof(int), PITCH * sizeof(int), 1, 1)};
    static const pel_param with_whole[] = {PEL_PARAM_WHOLE(PEL_READ), PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    static const pel_param wide[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                     PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    bench b = open_bench(100000, 100, 4);
    pel_buffer *x = new_buffer(&b, N * sizeof(int)), *y = new_buffer(&b, N * sizeof(int));
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    pel_kernel *kernel = machine_kernel(b.runtime, "with_whole", with_whole, 2, machine_double, 0);
    expect_refusal(&b, kernel, &desc, args, 2, "besides 400000 that every part needs whole; the device has 100000");
    pel_kernel_destroy(kernel);
    kernel = machine_kernel(b.runtime, "single", wide, 2, machine_double, PEL_KERNEL_SINGLE_DEVICE);
    expect_refusal(&b, kernel, &desc, args, 2,
                   "(100000 bytes of memory, 100000 at once at most), and it cannot go through in parts");
    pel_kernel_destroy(kernel);
    kernel = machine_kernel(b.runtime, "in_place", in_place, 1, machine_double, 0);
    desc.global[0] = PITCH;
    desc.global[1] = ROWS;
    expect_refusal(&b, kernel, &desc, args, 1, "cannot go through in parts");
    pel_kernel_destroy(kernel);
    desc.global[0] = 50000; /* one row of the split dimension is more than the device has */
    desc.global[1] = 2;
    kernel = machine_kernel(b.runtime, "wide", wide, 2, machine_double, 0);
    expect_refusal(&b, kernel, &desc, args, 2, "even its smallest part needs 400128 bytes");
    pel_kernel_destroy(kernel);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    close_bench(&b);
}

/* ---- every allocation of a launch that streams, and of one that writes back for room, fails in turn ---- */

typedef struct meter {
    long left; /* allocations that succeed; < 0: all do */
} meter;

static void *metered(void *user, void *pointer, size_t bytes) {
    meter *m = user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    if (m->left == 0) {
        return NULL;
    }
    m->left -= m->left > 0 ? 1 : 0;
    return realloc(pointer, bytes);
}

static void test_every_allocation_fails_in_turn(void **state) {
    (void)state;
    enum { COUNT = 3000, SIZE = COUNT * sizeof(int) };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device device = machine_device("gpu", 10, 4);
    pel_simulation simulation = PEL_SIMULATION_INIT;
    uint64_t right = 0, refused = 0;
    device.memory_bytes = SIZE;
    simulation.devices = &device;
    simulation.device_count = 1;
    for (long n = 0; n < 2000 && right < 3; n++) {
        meter m = {-1};
        const pel_allocator allocator = {metered, &m};
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        pel_runtime *runtime = NULL;
        pel_buffer *x = NULL, *y = NULL;
        desc.simulation = &simulation;
        desc.devices = "sim:gpu";
        desc.allocator = &allocator;
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        pel_queue *queue = machine_queue(runtime);
        pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
        assert_int_equal(pel_buffer_create(runtime, SIZE, &x, NULL), PEL_OK);
        assert_int_equal(pel_buffer_create(runtime, SIZE, &y, NULL), PEL_OK);
        for (int i = 0; i < COUNT; i++) {
            ((int *)pel_buffer_data(x))[i] = i;
        }
        pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
        /* x becomes resident, and partly dirty */
        pel_arg half[] = {pel_buf_range(x, 0, SIZE / 4), pel_buf_range(x, SIZE / 2, SIZE / 4)};
        pel_arg all[] = {pel_buf(x), pel_buf(y)};
        m.left = n;
        launch.global[0] = COUNT / 4;
        pel_status status = pel_launch(queue, kernel, &launch, half, 2, NULL);
        launch.global[0] = COUNT;
        status = status == PEL_OK ? pel_launch(queue, kernel, &launch, all, 2, NULL) : status;
        const pel_status finished = pel_queue_finish(queue);
        status = status == PEL_OK ? finished : status;
        m.left = -1;
        if (status == PEL_OK) {
            assert_int_equal(pel_buffer_sync(y), PEL_OK);
            for (int i = 0; i < COUNT; i++) {
                const int from = i >= COUNT / 2 && i < COUNT / 2 + COUNT / 4 ? 2 * (i - COUNT / 2) : i;
                assert_int_equal(((int *)pel_buffer_data(y))[i], 2 * from);
            }
            right++;
        } else {
            assert_true(status == PEL_OUT_OF_MEMORY || status == PEL_DEPENDENCY_FAILED || status == PEL_NO_DEVICE);
            refused++;
        }
        pel_kernel_destroy(kernel);
        pel_queue_destroy(queue);
        pel_buffer_destroy(x);
        pel_buffer_destroy(y);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    printf("%u failures were reported\n", (unsigned)refused);
    assert_int_equal(right, 3);
    assert_true(refused > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_are_right_whatever_fits),
        cmocka_unit_test(test_ranges_of_one_buffer),
        cmocka_unit_test(test_resident_bytes_come_home_first),
        cmocka_unit_test(test_transfers_run_beside_the_computing),
        cmocka_unit_test(test_what_cannot_fit_is_refused_with_the_numbers),
        cmocka_unit_test(test_every_allocation_fails_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
