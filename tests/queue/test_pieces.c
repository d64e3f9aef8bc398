/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks that begin while a launch runs: every unit is computed once, by whoever, with right results and a plan that tells all of
 * it, on devices with memory of their own, for reductions, and when a device fails in the middle.
 */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

enum { N = 200000, LAUNCHES = 30 };

static int in[N], out[N];

static pel_runtime *noisy(uint64_t seed, double link, uint64_t fail_at) {
    pel_simulated_device devices[] = {machine_device("a", 3, link), machine_device("b", 2, link), machine_device("c", 1, 0)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    for (int i = 0; i < 3; i++) {
        devices[i].noise = 0.2;
        devices[i].start_ns = 20e3;
    }
    devices[0].fail_at = fail_at;
    simulation.seed = seed;
    simulation.devices = devices;
    simulation.device_count = 3;
    desc.simulation = &simulation;
    desc.devices = "!host";
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    return runtime;
}

/* The chunks of a plan are disjoint and together the whole range. */
static void check_covered(const pel_plan *plan) {
    uint64_t at = 0, sum = 0;
    for (bool found = true; found;) {
        found = false;
        for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
            pel_plan_chunk chunk;
            assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
            assert_true(chunk.actual_ns > 0);
            if (chunk.lo == at) {
                found = true;
                at = chunk.hi;
                sum += chunk.hi - chunk.lo;
                break;
            }
        }
    }
    assert_int_equal(at, N);
    assert_int_equal(sum, N);
}

static void run_doubling(double link) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_runtime *runtime = noisy(7, link, 0);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    uint32_t most = 0;
    desc.global[0] = N;
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (int launch = 0; launch < LAUNCHES; launch++) {
        pel_event *event = NULL;
        for (int i = 0; i < N; i++) {
            in[i] = i + launch;
            out[i] = -1;
        }
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        check_covered(plan);
        most = pel_plan_chunk_count(plan) > most ? pel_plan_chunk_count(plan) : most;
        pel_plan_destroy(plan);
        machine_finish(queue);
        for (int i = 0; i < N; i++) {
            assert_int_equal(out[i], 2 * (i + launch));
        }
    }
    assert_true(most > 3); /* a tail was handed out */
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_one_memory(void **state) {
    (void)state;
    run_doubling(0);
}

static void test_memories_of_their_own(void **state) {
    (void)state;
    run_doubling(1000);
}

static pel_status count(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *values = arguments[0];
    uint32_t *sums = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        sums[values[i] % 4]++;
    }
    return PEL_OK;
}

static void test_private_copies_of_pieces_are_folded(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 4)};
    pel_runtime *runtime = noisy(9, 0, 0);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "count", params, 2, count, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    uint32_t sums[4] = {0}, most = 0;
    desc.global[0] = N;
    for (int i = 0; i < N; i++) {
        in[i] = i;
    }
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, sums, sizeof sums, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (uint32_t launch = 1; launch <= LAUNCHES; launch++) {
        pel_event *event = NULL;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        check_covered(plan);
        most = pel_plan_chunk_count(plan) > most ? pel_plan_chunk_count(plan) : most;
        pel_plan_destroy(plan);
        machine_finish(queue);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(sums[i], launch * N / 4);
        }
    }
    assert_true(most > 3);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Whichever chunk fails, first ones or pieces: the launch ends, with the story, and the next one goes well. */
static void test_a_piece_fails(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    for (uint64_t fail_at = 1; fail_at < 40; fail_at += 3) {
        pel_runtime *runtime = noisy(11, 0, fail_at);
        pel_queue *queue = machine_queue(runtime);
        pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
        pel_buffer *x = NULL, *y = NULL;
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        uint32_t failures = 0;
        desc.global[0] = N;
        desc.protection = PEL_PROTECT_NONE;
        assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
        assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &y), PEL_OK);
        pel_arg args[] = {pel_buf(x), pel_buf(y)};
        for (int launch = 0; launch < LAUNCHES; launch++) {
            assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
            if (pel_queue_finish(queue) != PEL_OK) {
                failures++;
                assert_int_equal(pel_queue_reset(queue), PEL_OK);
            }
        }
        assert_int_equal(failures, 1);
        pel_kernel_destroy(kernel);
        pel_queue_destroy(queue);
        pel_buffer_destroy(x);
        pel_buffer_destroy(y);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

/* Devices have room for the private copies of a few chunks only: what they cannot take is computed by others, and nothing
 * twice. */
static void test_pieces_that_are_refused(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 4)};
    for (uint64_t chunks = 0; chunks < 5; chunks++) {
        pel_simulated_device devices[] = {machine_device("a", 3, 1000), machine_device("b", 2, 1000), machine_device("c", 1, 0)};
        uint32_t sums[4] = {0};
        pel_buffer *x = NULL, *y = NULL;
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        for (int i = 0; i < 3; i++) {
            devices[i].noise = 0.2;
            devices[i].start_ns = 20e3;
        }
        devices[0].memory_bytes = devices[1].memory_bytes = sizeof in + chunks * sizeof sums;
        pel_runtime *runtime = machine_create(devices, 3, "!host");
        pel_queue *queue = machine_queue(runtime);
        pel_kernel *kernel = machine_kernel(runtime, "count", params, 2, count, 0);
        desc.global[0] = N;
        desc.protection = PEL_PROTECT_RETRY;
        for (int i = 0; i < N; i++) {
            in[i] = i;
        }
        assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
        assert_int_equal(pel_buffer_wrap(runtime, sums, sizeof sums, &y), PEL_OK);
        pel_arg args[] = {pel_buf(x), pel_buf(y)};
        for (uint32_t launch = 1; launch <= LAUNCHES; launch++) {
            assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
            machine_finish(queue);
            for (int i = 0; i < 4; i++) {
                assert_int_equal(sums[i], launch * N / 4);
            }
        }
        pel_kernel_destroy(kernel);
        pel_queue_destroy(queue);
        pel_buffer_destroy(x);
        pel_buffer_destroy(y);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_memory), cmocka_unit_test(test_memories_of_their_own),
                                       cmocka_unit_test(test_private_copies_of_pieces_are_folded),
                                       cmocka_unit_test(test_a_piece_fails), cmocka_unit_test(test_pieces_that_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
