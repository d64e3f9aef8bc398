/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * $PEL_FREEZE: two runs with one history decide alike, whatever their luck. The machine scatters by a fifth and its links are not
 * what is thought of them, so a run that learned of links, gaps or free devices would plan otherwise, and differ from one whose
 * luck was another; the run that is not frozen shows that there is something to learn.
 */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { N = 200000, LAUNCHES = 24, TEXT = 1 << 16, DEVICES = 3 };

static char path[64], directory[48];
static int in[N], out[N];

static int begin(void **state) {
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/pel-freeze-XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/history", directory);
    return 0;
}

static int end(void **state) {
    (void)state;
    char lock[80];
    (void)unlink(path);
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    (void)unlink(lock);
    unsetenv("PEL_FREEZE");
    return rmdir(directory);
}

static pel_runtime *create(uint64_t seed) {
    pel_simulated_device devices[DEVICES] = {machine_device("a", 3, 3), machine_device("b", 2, 1), machine_device("c", 1, 0)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    for (int i = 0; i < DEVICES; i++) {
        devices[i].noise = 0.2;
        devices[i].start_ns = 20e3;
    }
    simulation.seed = seed;
    simulation.devices = devices;
    simulation.device_count = DEVICES;
    desc.simulation = &simulation;
    desc.devices = "!host";
    desc.history = path;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    return runtime;
}

/* What was decided, without what it took; `tails`: launches that were divided while they ran. */
static void note(const pel_plan *plan, char *text, size_t *length, uint32_t *tails) {
    char line[512];
    (void)snprintf(line, sizeof line, "%s; %s; %.3f ns\n", pel_plan_reason(plan), pel_plan_protection(plan),
                   pel_plan_predicted_ns(plan));
    *tails += strstr(pel_plan_text(plan), "held back") != NULL ? 1u : 0u;
    for (uint32_t i = 0; i <= pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        const size_t bytes = strlen(line);
        assert_true(*length + bytes < TEXT);
        memcpy(text + *length, line, bytes + 1);
        *length += bytes;
        if (pel_plan_get_chunk(plan, i, &chunk) == PEL_OK) {
            (void)snprintf(line, sizeof line, "  %s %llu to %llu, %.3f ns\n", chunk.device, (unsigned long long)chunk.lo,
                           (unsigned long long)chunk.hi, chunk.predicted_ns);
        }
    }
}

/* Launches of two kernels, one of which reads and writes what it changes, with the caller's memory each time as the only copy. */
static uint32_t run(uint64_t seed, bool frozen, char *text) {
    static const pel_param params[2][2] = {
        {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)},
        {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)}};
    pel_runtime *runtime = create(seed);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernels[2] = {machine_kernel(runtime, "doubled", params[0], 2, machine_double, 0),
                              machine_kernel(runtime, "again", params[1], 2, machine_double, 0)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_buffer *x = NULL, *y = NULL;
    size_t length = 0, before[3] = {0};
    uint32_t tails = 0;
    desc.global[0] = N;
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &y), PEL_OK);
    const pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (int launch = 0; launch < LAUNCHES; launch++) {
        pel_event *event = NULL;
        in[launch] = launch;
        assert_int_equal(pel_launch(queue, kernels[launch % 2], &desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        before[0] = before[1], before[1] = before[2], before[2] = length;
        note(plan, text, &length, &tails);
        if (frozen && launch >= 2) { /* as the launch of this kernel before */
            assert_int_equal(length - before[2], before[1] - before[0]);
            assert_memory_equal(text + before[2], text + before[0], length - before[2]);
        }
        pel_plan_destroy(plan);
        machine_finish(queue);
        assert_int_equal(out[launch], 2 * launch);
    }
    for (int i = 0; i < 2; i++) {
        pel_kernel_destroy(kernels[i]);
    }
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return tails;
}

static void test_the_same_history_the_same_plans(void **state) {
    (void)state;
    static char learned[TEXT], first[TEXT], second[TEXT];
    uint32_t tails = 0;
    unsetenv("PEL_FREEZE");
    for (uint64_t seed = 1; seed <= 4; seed++) {
        tails += run(seed, false, learned);
    }
    assert_true(tails > 0); /* hands a tail to whoever is free, which is luck */
    assert_int_equal(setenv("PEL_FREEZE", "1", 1), 0);
    assert_int_equal(run(11, true, first), 0);
    assert_int_equal(run(12, true, second), 0);
    assert_non_null(strstr(first, "together"));
    assert_string_equal(first, second);
    unsetenv("PEL_FREEZE");
    (void)run(13, false, learned); /* and the same machine has more to teach */
    assert_string_not_equal(first, learned);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_the_same_history_the_same_plans, begin, end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
