/* SPDX-License-Identifier: BSD-3-Clause */
/* What a queue and a launch are planned for: refused when it means nothing, followed when the power of devices is known. */
#include "machines.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { N = 200000, LAUNCHES = 12 };

static int in[N], out[N];

static pel_plan *last_of(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args) {
    pel_event *event = NULL;
    for (int i = 0; i < LAUNCHES; i++) {
        assert_int_equal(pel_launch(queue, kernel, desc, args, 2, i + 1 < LAUNCHES ? NULL : &event), PEL_OK);
    }
    pel_plan *plan = machine_plan_of(event);
    machine_finish(queue);
    return plan;
}

static void test_energy_of_queues_and_launches(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("frugal", 1, 0), machine_device("hungry", 3, 0)};
    const pel_objective energy = {PEL_OBJECTIVE_ENERGY, 0, 0}, time = {PEL_OBJECTIVE_TIME, 0, 0};
    pel_runtime *runtime = machine_create(devices, 2, "!host");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    const pel_device *frugal = pel_runtime_find_device(runtime, "sim:frugal"),
                     *hungry = pel_runtime_find_device(runtime, "sim:hungry");
    pel_buffer *x = NULL, *y = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_plan_chunk chunk;
    desc.global[0] = N;
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    assert_int_equal(pel_queue_set_objective(queue, &energy), PEL_OK);
    pel_plan *plan = last_of(queue, kernel, &desc, args); /* nobody said what they draw */
    assert_non_null(strstr(pel_plan_text(plan), "is not known"));
    assert_true(pel_plan_predicted_joules(plan) == 0);
    assert_true(pel_plan_chunk_count(plan) >= 2);
    pel_plan_destroy(plan);
    assert_int_equal(pel_device_set_power(frugal, 5, 1), PEL_OK);
    assert_int_equal(pel_device_set_power(hungry, 300, 1), PEL_OK);
    plan = last_of(queue, kernel, &desc, args);
    assert_int_equal(pel_plan_chunk_count(plan), 1);
    assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
    assert_string_equal(chunk.device, "sim:frugal");
    assert_true(pel_plan_predicted_joules(plan) > 0);
    assert_non_null(strstr(pel_plan_text(plan), "modelled from declared watts"));
    const double slow = pel_plan_predicted_ns(plan);
    pel_plan_destroy(plan);
    desc.objective = &(pel_objective){PEL_OBJECTIVE_ENERGY, 0, 0.6 * slow}; /* then the other one must help */
    plan = last_of(queue, kernel, &desc, args);
    assert_true(pel_plan_chunk_count(plan) == 2 && pel_plan_actual_ns(plan) <= 0.6 * slow);
    pel_plan_destroy(plan);
    desc.objective = &time; /* the launch's own word counts */
    plan = last_of(queue, kernel, &desc, args);
    assert_true(pel_plan_chunk_count(plan) >= 2 && pel_plan_actual_ns(plan) < 0.5 * slow);
    pel_plan_destroy(plan);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_nonsense_is_refused(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("a", 1, 0)};
    pel_runtime *runtime = machine_create(devices, 1, "!host");
    pel_queue *queue = machine_queue(runtime);
    const pel_device *device = pel_runtime_find_device(runtime, "sim:a");
    assert_int_equal(pel_queue_set_objective(NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_set_objective(queue, &(pel_objective){(pel_objective_kind)7, 0, 0}), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_set_objective(queue, &(pel_objective){PEL_OBJECTIVE_TIME, 0, -1}), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_set_objective(queue, &(pel_objective){PEL_OBJECTIVE_TIME, 0, NAN}), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_set_objective(queue, NULL), PEL_OK);
    assert_int_equal(pel_device_set_power(NULL, 1, 1), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_device_set_power(device, 1, 2), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_device_set_power(device, NAN, 0), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_device_set_power(device, 1, -1), PEL_INVALID_ARGUMENT);
    pel_queue_destroy(queue);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_energy_of_queues_and_launches),
                                       cmocka_unit_test(test_nonsense_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
