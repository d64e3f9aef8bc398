/* SPDX-License-Identifier: BSD-3-Clause */
/* From intervals to transfers, and that an iterated stencil on two devices moves its halos and nothing else. */
#include "machines.h"

#include "queue/transfers.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* ---- weaving ---- */

enum { MOST = 64 };

typedef struct loom {
    pel_runtime *runtime;
    pel_device device;
    unsigned char host[65536];
    pel_allocation allocation;
    pel_mem mem;
    bool free_gaps;
} loom;

static bool answer_gap(void *user, uint64_t lo, uint64_t hi) {
    assert_true(lo < hi);
    return ((const loom *)user)->free_gaps;
}

static void set_up(loom *l, double latency, double rate) {
    memset(l, 0, sizeof *l);
    l->runtime = calloc(1, sizeof *l->runtime);
    assert_non_null(l->runtime);
    l->runtime->allocator = pel_allocator_default;
    l->device.runtime = l->runtime;
    l->device.link_latency_ns = latency;
    l->device.link_bytes_per_ns = rate;
    l->allocation.base = l->host;
    l->mem = (pel_mem){.host = l->host, .bytes = sizeof l->host};
}

static uint32_t weave(loom *l, const uint64_t (*intervals)[2], uint32_t count, pel_transfer **list) {
    pel_use uses[MOST];
    uint32_t made = 0;
    *list = NULL;
    for (uint32_t i = 0; i < count; i++) {
        uses[i] = (pel_use){.allocation = &l->allocation, .lo = intervals[i][0], .hi = intervals[i][1]};
    }
    count = pel_uses_merge(uses, count);
    assert_int_equal(pel_transfers_append(&l->device, uses, count, &l->mem, 0, answer_gap, l, list, &made), PEL_OK);
    return made;
}

static void test_equal_pieces_are_rows(void **state) {
    (void)state;
    loom *l = malloc(sizeof *l);
    pel_transfer *list;
    uint64_t rows[MOST][2];
    set_up(l, 10000, 8);
    for (uint64_t i = 0; i < MOST; i++) {
        rows[MOST - 1 - i][0] = 128 + 1024 * i; /* in any order */
        rows[MOST - 1 - i][1] = 128 + 1024 * i + 16;
    }
    assert_int_equal(weave(l, (const uint64_t(*)[2])rows, MOST, &list), 1);
    assert_int_equal(list[0].offset, 128);
    assert_int_equal(list[0].bytes, 16);
    assert_int_equal(list[0].rows, MOST);
    assert_int_equal(list[0].pitch, 1024);
    assert_ptr_equal(pel_transfer_host(&list[0]), l->host + 128);
    assert_int_equal(pel_transfers_bytes(list, 1), MOST * 16);
    free(list);
    free(l->runtime);
    free(l);
}

static void test_gaps_that_cost_less_than_a_start_are_copied_where_they_may_be(void **state) {
    (void)state;
    static const uint64_t scattered[][2] = {{0, 10}, {500, 530}, {600, 700}, {30000, 30004}};
    loom *l = malloc(sizeof *l);
    pel_transfer *list;
    set_up(l, 100, 8); /* a start is worth 800 bytes */
    assert_int_equal(weave(l, scattered, 4, &list), 4); /* not ours to copy */
    free(list);
    l->free_gaps = true;
    assert_int_equal(weave(l, scattered, 4, &list), 2);
    assert_int_equal(list[0].offset, 0);
    assert_int_equal(list[0].bytes, 700);
    assert_int_equal(list[1].offset, 30000);
    free(list);
    l->device.link_latency_ns = 10;
    assert_int_equal(weave(l, scattered, 4, &list), 3); /* 80 bytes: only the gap of 70 */
    free(list);
    free(l->runtime);
    free(l);
}

static void test_a_link_is_learned(void **state) {
    (void)state;
    loom *l = malloc(sizeof *l);
    set_up(l, 0, 0);
    for (int i = 0; i < 40; i++) {
        pel_link_learn(&l->device, 1, 1 << 20, 3000 + (1 << 20) / 4);
        pel_link_learn(&l->device, 4, 4 * 1024, 4 * 3000 + 4 * 1024 / 4);
    }
    assert_true(l->device.link_bytes_per_ns > 3.96 && l->device.link_bytes_per_ns < 4.04);
    assert_true(l->device.link_latency_ns > 2900 && l->device.link_latency_ns < 3100);
    free(l->runtime);
    free(l);
}

/* ---- stencils ---- */

enum { SIZE = 64, ROUNDS = 20 };

static pel_status jacobi(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const float *in = arguments[0];
    float *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            const bool rim = x == 0 || y == 0 || x == SIZE - 1 || y == SIZE - 1;
            const float *at = in + y * SIZE + x;
            out[y * SIZE + x] = rim ? at[0] : 0.25f * (at[-1] + at[1] + at[-SIZE] + at[SIZE]);
        }
    }
    return PEL_OK;
}

static void reference(float *a, float *b) {
    for (int r = 0; r < ROUNDS; r++) {
        const pel_span whole = {.dims = 2, .lo = {0, 0}, .hi = {SIZE, SIZE}};
        void *args[] = {r % 2 == 0 ? a : b, r % 2 == 0 ? b : a};
        assert_int_equal(jacobi(&whole, args, NULL, NULL), PEL_OK);
    }
}

static void test_a_stencil_moves_its_halos(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(float), SIZE * sizeof(float), 1, 1),
                                       PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), SIZE * sizeof(float), 0, 0)};
    static float expected[2][SIZE * SIZE];
    pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 4, 10)};
    pel_runtime *runtime = machine_create(devices, 2, "sim:gpu0,sim:gpu1");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "jacobi", params, 2, jacobi, 0);
    pel_buffer *grid[2];
    pel_buffer_counters before[2], after;
    pel_device_counters device[2];
    pel_share halves[] = {{pel_runtime_device(runtime, 0), 1}, {pel_runtime_device(runtime, 1), 1}};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = desc.global[1] = SIZE;
    desc.shares = halves;
    desc.share_count = 2;
    for (int g = 0; g < 2; g++) {
        assert_int_equal(pel_buffer_create(runtime, sizeof expected[0], &grid[g], NULL), PEL_OK);
    }
    for (int i = 0; i < SIZE * SIZE; i++) {
        expected[0][i] = (float)(i % 97);
    }
    memcpy(pel_buffer_data(grid[0]), expected[0], sizeof expected[0]);
    for (int r = 0; r < ROUNDS; r++) {
        pel_arg args[] = {pel_buf(grid[r % 2]), pel_buf(grid[1 - r % 2])};
        pel_event *event = NULL;
        pel_plan_bytes bytes;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        assert_int_equal(pel_plan_get_bytes(plan, &bytes), PEL_OK);
        pel_plan_destroy(plan);
        assert_int_equal(bytes.needed, (SIZE + 2) * SIZE * sizeof(float));
        if (r > 0) { /* one row down and one up on either side */
            assert_int_equal(bytes.moved, 4 * SIZE * sizeof(float));
            assert_int_equal(bytes.saved, bytes.needed - 2 * SIZE * sizeof(float));
        }
        for (int g = 0; g < 2 && r == 0; g++) {
            pel_buffer_get_counters(grid[g], &before[g]);
        }
    }
    uint64_t up = 0, down = 0;
    for (int g = 0; g < 2; g++) {
        pel_buffer_get_counters(grid[g], &after);
        up += after.to_devices - before[g].to_devices;
        down += after.to_host - before[g].to_host;
    }
    assert_int_equal(up, (ROUNDS - 1) * 2 * SIZE * sizeof(float));
    assert_int_equal(down, (ROUNDS - 1) * 2 * SIZE * sizeof(float));
    for (int d = 0; d < 2; d++) {
        pel_device_get_counters(pel_runtime_device(runtime, (uint32_t)d), &device[d]);
        assert_int_equal(device[d].needed, ROUNDS * (SIZE / 2 + 1) * SIZE * sizeof(float));
        assert_int_equal(device[d].to_host, (ROUNDS - 1) * SIZE * sizeof(float));
    }
    reference(expected[0], expected[1]);
    assert_int_equal(pel_buffer_sync(grid[0]), PEL_OK);
    assert_memory_equal(pel_buffer_data(grid[0]), expected[0], sizeof expected[0]);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(grid[0]);
    pel_buffer_destroy(grid[1]);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

typedef struct iterated {
    float grid[SIZE * SIZE];
    uint64_t moved;     /* by all launches */
    pel_plan_bytes last; /* of the last one */
} iterated;

/* Iterations on two devices, waited for one by one, or all submitted before the first is waited for. */
static void iterate(bool one_by_one, iterated *out) {
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(float), SIZE * sizeof(float), 1, 1),
                                       PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), SIZE * sizeof(float), 0, 0)};
    pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 4, 10)};
    pel_runtime *runtime = machine_create(devices, 2, "sim:gpu0,sim:gpu1");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "jacobi", params, 2, jacobi, 0);
    pel_buffer *grid[2];
    pel_event *event = NULL;
    pel_share halves[] = {{pel_runtime_device(runtime, 0), 1}, {pel_runtime_device(runtime, 1), 1}};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = desc.global[1] = SIZE;
    desc.shares = halves;
    desc.share_count = 2;
    for (int g = 0; g < 2; g++) {
        assert_int_equal(pel_buffer_create(runtime, sizeof out->grid, &grid[g], NULL), PEL_OK);
    }
    for (int i = 0; i < SIZE * SIZE; i++) {
        ((float *)pel_buffer_data(grid[0]))[i] = (float)(i % 97);
    }
    for (int r = 0; r < ROUNDS; r++) {
        pel_arg args[] = {pel_buf(grid[r % 2]), pel_buf(grid[1 - r % 2])};
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, r == ROUNDS - 1 ? &event : NULL), PEL_OK);
        if (one_by_one) {
            machine_finish(queue);
        }
    }
    pel_plan *plan = machine_plan_of(event);
    assert_int_equal(pel_plan_get_bytes(plan, &out->last), PEL_OK);
    pel_plan_destroy(plan);
    out->moved = 0;
    for (uint32_t d = 0; d < 2; d++) {
        pel_device_counters counters;
        pel_device_get_counters(halves[d].device, &counters);
        out->moved += counters.to_device + counters.to_host;
    }
    assert_int_equal(pel_buffer_sync(grid[0]), PEL_OK);
    memcpy(out->grid, pel_buffer_data(grid[0]), sizeof out->grid);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(grid[0]);
    pel_buffer_destroy(grid[1]);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* The same bytes, but those that go home do so with the chunk that computed them: none are left for the last launch to fetch. */
static void test_halos_that_are_waited_for_go_home_with_their_chunk(void **state) {
    (void)state;
    enum { ROW = SIZE * sizeof(float) };
    static float expected[2][SIZE * SIZE];
    static iterated alone, ahead;
    for (int i = 0; i < SIZE * SIZE; i++) {
        expected[0][i] = (float)(i % 97);
    }
    reference(expected[0], expected[1]);
    iterate(true, &alone);
    iterate(false, &ahead);
    assert_memory_equal(alone.grid, expected[0], sizeof alone.grid);
    assert_memory_equal(ahead.grid, expected[0], sizeof ahead.grid);
    assert_int_equal(alone.moved, ahead.moved);
    assert_int_equal(alone.last.moved, 4 * ROW); /* a row home and on, for each device */
    assert_int_equal(ahead.last.moved, 2 * ROW); /* on */
}

static pel_status bump(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    float *grid = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            grid[y * SIZE + x] += 1;
        }
    }
    return PEL_OK;
}

/* What a stencil moved behind launches that read and write in place. */
static uint64_t moved_behind_one_in_place(pel_protection protection) {
    static const pel_param in_place[] = {PEL_PARAM_BLOCK(PEL_READ_WRITE, sizeof(float), SIZE * sizeof(float), 0, 0)};
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(float), SIZE * sizeof(float), 1, 1),
                                       PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), SIZE * sizeof(float), 0, 0)};
    pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 4, 10)};
    pel_runtime *runtime = machine_create(devices, 2, "sim:gpu0,sim:gpu1");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *first = machine_kernel(runtime, "bump", in_place, 1, bump, 0);
    pel_kernel *last = machine_kernel(runtime, "jacobi", params, 2, jacobi, 0);
    pel_buffer *grid[2];
    pel_event *event = NULL;
    pel_plan_bytes bytes;
    pel_share halves[] = {{pel_runtime_device(runtime, 0), 1}, {pel_runtime_device(runtime, 1), 1}};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = desc.global[1] = SIZE;
    desc.shares = halves;
    desc.share_count = 2;
    for (int g = 0; g < 2; g++) {
        assert_int_equal(pel_buffer_create(runtime, SIZE * SIZE * sizeof(float), &grid[g], NULL), PEL_OK);
    }
    pel_arg args[] = {pel_buf(grid[0]), pel_buf(grid[1])};
    desc.protection = protection;
    for (int i = 0; i < 2; i++) { /* the second begins when its successor is known */
        assert_int_equal(pel_launch(queue, first, &desc, args, 1, NULL), PEL_OK);
    }
    desc.protection = PEL_PROTECT_NONE;
    assert_int_equal(pel_launch(queue, last, &desc, args, 2, &event), PEL_OK);
    pel_plan *plan = machine_plan_of(event);
    assert_int_equal(pel_plan_get_bytes(plan, &bytes), PEL_OK);
    pel_plan_destroy(plan);
    assert_int_equal(pel_buffer_sync(grid[0]), PEL_OK);
    for (int i = 0; i < SIZE * SIZE; i++) {
        assert_true(((float *)pel_buffer_data(grid[0]))[i] == 2);
    }
    pel_kernel_destroy(first);
    pel_kernel_destroy(last);
    pel_queue_destroy(queue);
    pel_buffer_destroy(grid[0]);
    pel_buffer_destroy(grid[1]);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return bytes.moved;
}

/* A chunk that fails after a part of its results came home would be run again with them as its input. */
static void test_what_a_retry_begins_with_is_not_overwritten_early(void **state) {
    (void)state;
    enum { ROW = SIZE * sizeof(float) };
    assert_int_equal(moved_behind_one_in_place(PEL_PROTECT_NONE), 2 * ROW); /* on: they came home with their chunk */
    assert_int_equal(moved_behind_one_in_place(PEL_PROTECT_RETRY), 4 * ROW);
}

static pel_status sum(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *a = arguments[0], *b = arguments[1];
    int *out = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = a[i] + b[i];
    }
    return PEL_OK;
}

static void test_what_two_arguments_read_moves_once(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10)};
    pel_runtime *runtime = machine_create(devices, 1, "sim:gpu");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "sum", params, 3, sum, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_buffer_counters counters;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &y, NULL), PEL_OK);
    ((int *)pel_buffer_data(x))[7] = 21;
    pel_arg args[] = {pel_buf(x), pel_buf(x), pel_buf(y)};
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 3, NULL), PEL_OK);
    machine_finish(queue);
    pel_buffer_get_counters(x, &counters);
    assert_int_equal(counters.to_devices, N * sizeof(int));
    assert_int_equal(pel_buffer_sync(y), PEL_OK);
    assert_int_equal(((int *)pel_buffer_data(y))[7], 42);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_pieces_are_rows),
        cmocka_unit_test(test_gaps_that_cost_less_than_a_start_are_copied_where_they_may_be),
        cmocka_unit_test(test_a_link_is_learned),
        cmocka_unit_test(test_a_stencil_moves_its_halos),
        cmocka_unit_test(test_halos_that_are_waited_for_go_home_with_their_chunk),
        cmocka_unit_test(test_what_a_retry_begins_with_is_not_overwritten_early),
        cmocka_unit_test(test_what_two_arguments_read_moves_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
