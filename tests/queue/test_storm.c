/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several threads at once, each with random graphs of its own against sequential execution (storm.h), and all on one shared
 * counter that only the hazards protect, through one shared queue. On the host; then on simulated machines, by one thread.
 *
 *     PEL_STORM_GRAPHS=1000000    so many graphs in all, with a line every now and then on a terminal
 *     PEL_STORM_SEED=0x1000002    this graph only, so many times (1,000 unless PEL_STORM_GRAPHS says otherwise), by all threads
 *     PEL_STORM_STEPS=12          no more than so many steps of each graph: to find the shortest one that fails
 *     PEL_STORM_FIRST=7           another start, other graphs
 *     PEL_STORM_DEVICES=host      other devices
 */
#include "storm.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, USUAL = 8000, USUAL_SIMULATED = 1500 };

static storm_scene scene;
static pel_queue *shared_queue;
static pel_buffer *shared;
static uint64_t counter; /* behind `shared`; not atomic on purpose */
static atomic_uint bumps, failures;
static atomic_ullong done;
static uint64_t graphs, one_seed, steps, first; /* graphs: of each thread */
static int threads;

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static pel_status bump(void *context) {
    (void)context;
    counter++;
    return PEL_OK;
}

static void submit_bump(void) {
    const pel_access whole = PEL_ACCESS(shared, 0, 0, PEL_READ_WRITE);
    atomic_fetch_add(&bumps, 1);
    atomic_fetch_add(&failures, pel_task(shared_queue, bump, NULL, &whole, 1, NULL, NULL) == PEL_OK ? 0 : 1);
}

static void progress(uint64_t so_far) {
    if (so_far % 10000 == 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%llu of %llu graphs, %u failures ", (unsigned long long)so_far,
                (unsigned long long)graphs * (unsigned)threads, atomic_load(&failures));
    }
}

static void *storm_main(void *argument) {
    const uint64_t number = (uint64_t)(uintptr_t)argument;
    storm *s = calloc(1, sizeof *s);
    atomic_fetch_add(&failures, s ? 0 : 1);
    for (uint64_t round = 0; s && round < graphs && atomic_load(&failures) < 20; round++) {
        storm_plan_make(&s->plan, one_seed ? one_seed : number << 40 | (first + round), (uint32_t)steps);
        storm_run(s, &scene);
        storm_judge(s);
        if (atomic_load(&s->complaints) > 0 && atomic_fetch_add(&failures, 1) == 0) {
            storm_plan_print(s, stderr);
        }
        storm_end(s);
        submit_bump();
        progress(atomic_fetch_add(&done, 1) + 1);
    }
    free(s);
    return NULL;
}

static void run_threads(pel_runtime *runtime, int count, uint64_t usual, bool simulated) {
    pthread_t ids[THREADS];
    counter = 0;
    threads = count;
    atomic_store(&bumps, 0);
    atomic_store(&failures, 0);
    atomic_store(&done, 0);
    one_seed = number_from("PEL_STORM_SEED", 0);
    graphs = number_from("PEL_STORM_GRAPHS", one_seed ? 1000 : usual) / (unsigned)count;
    steps = number_from("PEL_STORM_STEPS", STORM_OPS);
    first = number_from("PEL_STORM_FIRST", 0);
    assert_int_equal(storm_scene_make(&scene, runtime, simulated), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &shared_queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &counter, sizeof counter, &shared), PEL_OK);
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&ids[i], NULL, storm_main, (void *)((uintptr_t)i + 1)), 0);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_join(ids[i], NULL), 0);
    }
    assert_int_equal(pel_queue_finish(shared_queue), PEL_OK);
    assert_int_equal(counter, atomic_load(&bumps));
    print_message("%llu random graphs like sequential execution, but for %u\n", (unsigned long long)atomic_load(&done),
                  atomic_load(&failures));
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(pel_queue_destroy(shared_queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(shared), PEL_OK);
    storm_scene_end(&scene);
}

static void test_host(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = getenv("PEL_STORM_DEVICES") ? getenv("PEL_STORM_DEVICES") : "host";
    desc.host_workers = 3;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    run_threads(runtime, THREADS, USUAL, false);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Devices with memory of their own: what is valid where matters, and launches are divided. */
static void test_simulated(void **state) {
    (void)state;
    const pel_simulated_device devices[] = {
        {.name = "host", .start_ns = 200, .rate = 1},
        {.name = "near", .start_ns = 500, .rate = 2, .noise = 0.1},
        {.name = "far", .start_ns = 300, .rate = 6, .noise = 0.1, .link_bytes_per_ns = 2, .link_latency_ns = 300},
        {.name = "far2", .start_ns = 100, .rate = 3, .link_bytes_per_ns = 0.5, .link_latency_ns = 50}};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    simulation.seed = 7;
    simulation.devices = devices;
    simulation.device_count = 4;
    desc.simulation = &simulation;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    run_threads(runtime, 1, USUAL_SIMULATED, true);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_simulated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
