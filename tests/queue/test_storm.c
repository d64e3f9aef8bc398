/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random graphs of commands of all kinds against sequential execution (storm.h): by several threads on the host; tasks of a few
 * cells, in a runtime of their own, because what does not fit closes their way; graphs while workers come and go; on a simulated
 * machine, by one thread; and where requests for memory fail.
 *
 *     PEL_STORM_GRAPHS=1000000    so many graphs in all, with a line every now and then on a terminal
 *     PEL_STORM_SEED=0x1000002    this graph only, so many times (1,000 unless PEL_STORM_GRAPHS says otherwise), by all threads
 *     PEL_STORM_STEPS=12          no more than so many steps of each graph: to find the shortest one that fails
 *     PEL_STORM_FIRST=7           another start, other graphs
 *     PEL_STORM_ONLY=test_lean    one of the tests
 *     PEL_STORM_DEVICES=host      other devices
 */
#include "storm.h"
#include "support/counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

enum { THREADS = 4, USUAL = 8000, USUAL_CELLS = 4000, USUAL_RESTLESS = 2000, USUAL_SIMULATED = 1500, USUAL_LEAN = 1500 };

static void run_on_host(int threads, uint64_t usual, uint32_t flags, counted *memory) {
    const pel_allocator allocator = {counted_reallocate, memory};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = getenv("PEL_STORM_DEVICES") ? getenv("PEL_STORM_DEVICES") : "host";
    desc.host_workers = 3;
    desc.allocator = memory ? &allocator : NULL;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    storm_threads(runtime, threads, usual, flags, memory);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_host(void **state) {
    (void)state;
    run_on_host(THREADS, USUAL, 0, NULL);
}

/* By one thread: the way is open where the last task's cells were. */
static void test_cells(void **state) {
    (void)state;
    run_on_host(1, USUAL_CELLS, STORM_CELLS, NULL);
}

static void test_restless(void **state) {
    (void)state;
    run_on_host(THREADS, USUAL_RESTLESS, STORM_RESTLESS, NULL);
}

/* Devices with memory of their own: what is valid where matters, and launches are divided. */
static void run_simulated(uint64_t graphs, uint32_t flags, counted *memory) {
    const pel_simulated_device devices[] = {
        {.name = "host", .start_ns = 200, .rate = 1},
        {.name = "near", .start_ns = 500, .rate = 2, .noise = 0.1},
        {.name = "far", .start_ns = 300, .rate = 6, .noise = 0.1, .link_bytes_per_ns = 2, .link_latency_ns = 300},
        {.name = "far2", .start_ns = 100, .rate = 3, .link_bytes_per_ns = 0.5, .link_latency_ns = 50}};
    const pel_allocator allocator = {counted_reallocate, memory};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    simulation.seed = 7;
    simulation.devices = devices;
    simulation.device_count = 4;
    desc.simulation = &simulation;
    desc.allocator = memory ? &allocator : NULL;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    storm_threads(runtime, 1, graphs, STORM_SIMULATED | flags, memory);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_simulated(void **state) {
    (void)state;
    run_simulated(USUAL_SIMULATED, 0, NULL);
}

/* What is asked for is had, or refused and has not happened, or fails as OUT_OF_MEMORY; and nothing leaks. */
static void test_lean(void **state) {
    counted memory = {.fail_at = 0};
    (void)state;
    run_on_host(1, USUAL_LEAN, STORM_LEAN, &memory);
    assert_int_equal(atomic_load(&memory.live), 0);
    run_on_host(1, USUAL_LEAN, STORM_LEAN | STORM_CELLS, &memory);
    assert_int_equal(atomic_load(&memory.live), 0);
    run_simulated(USUAL_LEAN, STORM_LEAN, &memory);
    assert_int_equal(atomic_load(&memory.live), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_cells), cmocka_unit_test(test_restless),
                                       cmocka_unit_test(test_simulated), cmocka_unit_test(test_lean)};
    cmocka_set_test_filter(getenv("PEL_STORM_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
