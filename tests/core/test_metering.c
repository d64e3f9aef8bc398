/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans with measured watts: a powercap folder made for the test counts 10 W, and 50 W more while the kernel runs. */
#include "core/history_file.h"
#include "core/metering.h"
#include "topology/power.h"
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ZONE "/sys/class/powercap/intel-rapl:0"

static char root[64], history[96];
static int64_t began;
static double busy_ns;
static bool hidden; /* the counter cannot be read */

static void put(const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, file);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* What the counter shows by now. */
static void count(void) {
    char text[32];
    const double joules = 10e-9 * (double)(pel_clock_now(&pel_clock_monotonic) - began) + 50e-9 * busy_ns;
    snprintf(text, sizeof text, hidden ? "?\n" : "%.0f\n", 1e6 + 1e6 * joules);
    put(ZONE "/energy_uj", text);
}

static void pause_ms(long ms) {
    const struct timespec time = {0, ms * 1000000};
    (void)nanosleep(&time, NULL);
}

static int make(void **state) {
    static const char *const folders[] = {"/sys", "/sys/class", "/sys/class/powercap", ZONE};
    (void)state;
    snprintf(root, sizeof root, "/tmp/pel-metering-XXXXXX");
    if (!mkdtemp(root)) {
        return -1;
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s%s", root, folders[i]);
        if (mkdir(path, 0700) != 0) {
            return -1;
        }
    }
    snprintf(history, sizeof history, "%s/history", root);
    put(ZONE "/name", "package-0\n");
    put(ZONE "/max_energy_range_uj", "262143328850\n");
    began = pel_clock_now(&pel_clock_monotonic);
    count();
    return 0;
}

static int unmake(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static pel_status hot(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)arguments, (void)scratch, (void)user;
    const int64_t from = pel_clock_now(&pel_clock_monotonic);
    pause_ms(25);
    busy_ns += (double)(pel_clock_now(&pel_clock_monotonic) - from);
    count();
    return PEL_OK;
}

static pel_plan *launch(pel_queue *queue, pel_kernel *kernel, const pel_objective *objective) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event;
    pel_plan *plan;
    desc.global[0] = 1;
    desc.objective = objective;
    pause_ms(25);
    count();
    assert_int_equal(pel_launch(queue, kernel, &desc, NULL, 0, &event), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    pel_event_release(event);
    return plan;
}

static void runs(pel_runtime *runtime, bool *measured) {
    const pel_objective energy = {PEL_OBJECTIVE_ENERGY, 0, 0};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    kernel_desc.name = "hot";
    kernel_desc.host = hot;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (int i = 0; i < 3; i++) { /* time is the aim: nothing is read */
        pel_plan_destroy(launch(queue, kernel, NULL));
        assert_null(runtime->metering);
    }
    *measured = false;
    for (int i = 0; i < 40 && !*measured; i++) {
        hidden = i == 1; /* a reading that fails once is no meter that is gone */
        pel_plan *plan = launch(queue, kernel, &energy);
        const pel_energy_source source = pel_plan_energy_source(plan);
        *measured = source == PEL_ENERGY_MEASURED;
        assert_true(*measured == (pel_plan_predicted_joules(plan) > 0.0));
        if (*measured) {
            assert_non_null(strstr(pel_plan_text(plan), "energy, predicted from measured watts"));
            assert_non_null(strstr(pel_plan_reason(plan), "measured watts"));
        }
        pel_plan_destroy(plan);
    }
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
}

static pel_runtime *begin(void) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime;
    desc.devices = "host";
    desc.history = history;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    runtime->power = pel_power_open(&runtime->allocator, root, "/nowhere");
    assert_non_null(runtime->power);
    return runtime;
}

/* Learned from pauses and launches, said so in the plan, kept for the next process. */
static void test_measured(void **state) {
    (void)state;
    pel_runtime *runtime = begin();
    double busy = 0.0, idle = 0.0;
    bool measured;
    runs(runtime, &measured);
    assert_true(measured);
    assert_int_equal(pel_metering_watts(&runtime->devices[0], &busy, &idle), PEL_METERING_KNOWN);
    print_message("busy %.1f W, idle %.1f W\n", busy, idle);
    assert_true(idle > 0.5 && busy > idle + 5.0 && busy < 1000.0); /* the counter is a pause behind where cores are stolen */
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    pel_history read = {.allocator = &pel_allocator_default};
    pel_model_watts kept;
    bool found = false;
    assert_int_equal(pel_history_file_read(history, &read, NULL), PEL_OK);
    for (uint32_t i = 0; i < read.count; i++) {
        found = found || (pel_model_state_watts(&read.entries[i]->state, &kept) && kept.known);
    }
    pel_history_free(&read);
    assert_true(found);
}

/* No meter: declared watts, and the plan says that they are. */
static void test_declared(void **state) {
    (void)state;
    const pel_objective energy = {PEL_OBJECTIVE_ENERGY, 0, 0};
    put(ZONE "/name", "dram\n"); /* no package */
    pel_runtime *runtime = begin();
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    kernel_desc.name = "hot";
    kernel_desc.host = hot;
    assert_int_equal(pel_device_set_power(pel_runtime_device(runtime, 0), 30.0, 3.0), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (int i = 0; i < 4; i++) {
        pel_plan *plan = launch(queue, kernel, &energy);
        if (i == 3) {
            assert_int_equal(pel_plan_energy_source(plan), PEL_ENERGY_MODELLED);
            assert_non_null(strstr(pel_plan_text(plan), "modelled from declared watts"));
        }
        pel_plan_destroy(plan);
    }
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_measured), cmocka_unit_test(test_declared)};
    return cmocka_run_group_tests(tests, make, unmake);
}
