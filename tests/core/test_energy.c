/* SPDX-License-Identifier: BSD-3-Clause */
/* Energy of devices as users see it: modelled under the virtual clock, and a word for what is not known. */
#include <pel/pel.h>
#include <pel/simulated.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void near(double value, double wanted, double within) {
    assert_true(fabs(value - wanted) <= within);
}

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)arguments, (void)scratch, (void)user;
    return PEL_OK;
}

static double read(const pel_device *device, pel_energy_source source, const char *word) {
    pel_device_energy energy;
    assert_int_equal(pel_device_get_energy(device, &energy), PEL_OK);
    assert_int_equal(energy.source, source);
    assert_non_null(strstr(energy.how, word));
    return energy.joules;
}

/* A launch of 1 s on one of two devices: that one draws its busy watts, the other its idle ones. */
static void modelled(void **state) {
    (void)state;
    pel_simulated_device devices[2] = {{.name = "a", .rate = 1e-3}, {.name = "b", .rate = 1e-3}}; /* rates: items per us */
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_event *event;
    pel_plan *plan;
    simulation.devices = devices;
    simulation.device_count = 2;
    desc.simulation = &simulation;
    kernel_desc.name = "kernel";
    kernel_desc.host = nothing;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    const pel_device *a = pel_runtime_find_device(runtime, "sim:a"), *b = pel_runtime_find_device(runtime, "sim:b");
    assert_non_null(a);
    assert_non_null(b);
    (void)read(a, PEL_ENERGY_UNKNOWN, "simulation");
    assert_int_equal(pel_device_set_power(a, 100.0, 10.0), PEL_OK);
    assert_int_equal(pel_device_set_power(b, 50.0, 5.0), PEL_OK);
    const double a_before = read(a, PEL_ENERGY_MODELLED, "declared"), b_before = read(b, PEL_ENERGY_MODELLED, "declared");
    const pel_share share = {a, 1.0};
    launch.global[0] = 1000;
    launch.local[0] = 1;
    launch.shares = &share;
    launch.share_count = 1;
    assert_int_equal(pel_launch(queue, kernel, &launch, NULL, 0, &event), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    const double seconds = pel_plan_actual_ns(plan) * 1e-9;
    pel_plan_destroy(plan);
    pel_event_release(event);
    assert_true(seconds > 0.0);
    near(read(a, PEL_ENERGY_MODELLED, "declared") - a_before, 100.0 * seconds, 0.02 * 100.0 * seconds);
    near(read(b, PEL_ENERGY_MODELLED, "declared") - b_before, 5.0 * seconds, 0.02 * 5.0 * seconds);
    /* What is over was drawn at the old watts. */
    const double kept = read(a, PEL_ENERGY_MODELLED, "declared");
    assert_int_equal(pel_device_set_power(a, 1e6, 1e6), PEL_OK);
    near(read(a, PEL_ENERGY_MODELLED, "declared"), kept, 1e-9);
    assert_int_equal(pel_device_set_power(a, 0.0, 0.0), PEL_OK);
    (void)read(a, PEL_ENERGY_UNKNOWN, "simulation");
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Here there may be a meter or none: either way a reading has a source and a word, and grows. */
static void real(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime;
    pel_device_energy first, second;
    desc.devices = "host";
    desc.flags = PEL_RUNTIME_NO_CACHE;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    const pel_device *host = pel_runtime_find_device(runtime, "host");
    assert_int_equal(pel_device_get_energy(host, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_device_get_energy(NULL, &first), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_device_get_energy(host, &first), PEL_OK);
    assert_true(first.how[0] != '\0');
    assert_true(first.source == PEL_ENERGY_MEASURED || first.source == PEL_ENERGY_UNKNOWN);
    assert_int_equal(pel_device_set_power(host, 20.0, 2.0), PEL_OK);
    assert_int_equal(pel_device_get_energy(host, &first), PEL_OK);
    assert_int_equal(pel_device_get_energy(host, &second), PEL_OK);
    assert_true(second.source == PEL_ENERGY_MEASURED || second.source == PEL_ENERGY_MODELLED);
    assert_true(second.joules >= first.joules);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(modelled), cmocka_unit_test(real)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
