/* SPDX-License-Identifier: BSD-3-Clause */
/* When a launch counts as deprived of processors. That models take the hint is tests/model/test_learn.c's. */
#include "planner/plan.h"
#include "queue/calm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void only_missing_time_is_theft(void **state) {
    (void)state;
    assert_false(pel_calm_is_deprived(6e6, 6e6, 2));
    assert_false(pel_calm_is_deprived(6e6, 9e6, 2));  /* others computed, too */
    assert_false(pel_calm_is_deprived(6e6, 5.8e6, 2)); /* wake-ups of a driver's threads */
    assert_false(pel_calm_is_deprived(200e3, 90e3, 2)); /* short: mostly those */
    assert_true(pel_calm_is_deprived(6e6, 5.5e6, 2));
    assert_true(pel_calm_is_deprived(60e6, 57e6, 2));
    assert_false(pel_calm_is_deprived(60e6, 58.5e6, 2));
    assert_false(pel_calm_is_deprived(6e6, 5.5e6, 8)); /* many chunks, many wake-ups */
}

/* Nobody asks where nothing could be told: no clock is read for short launches or for devices of several cores. */
static void asks_where_it_tells(void **state) {
    (void)state;
    pel_topology_device facts = {.info = {.kind = PEL_DEVICE_HOST, .device_class = PEL_CLASS_HOST_CPU, .cores_count = 1}};
    pel_device device = {.facts = &facts};
    pel_dispatcher dispatcher = {0}; /* without a task engine */
    pel_runtime runtime = {.devices = &device, .device_count = 1, .dispatcher = &dispatcher};
    pel_plan_slice slice = {.device = 0, .lo = 0, .hi = 10, .predicted_ns = 5e6};
    pel_command command = {.runtime = &runtime, .slices = &slice, .slice_count = 1};
    assert_true(pel_calm_begin(&command) > 0);
    slice.predicted_ns = 5e3;
    assert_int_equal(pel_calm_begin(&command), 0);
    slice.predicted_ns = 0.0; /* not known: perhaps long */
    assert_true(pel_calm_begin(&command) > 0);
    facts.info.cores_count = 2;
    assert_int_equal(pel_calm_begin(&command), 0);
    facts.info.cores_count = 1;
    facts.outside = true; /* its time is another process's */
    assert_int_equal(pel_calm_begin(&command), 0);
    facts.outside = false;
    facts.info.kind = PEL_DEVICE_SIMULATED;
    assert_int_equal(pel_calm_begin(&command), 0);
    assert_false(pel_calm_was_deprived(&command)); /* what was not looked at */
}

/* Who asks why a launch took so long is told. */
static void the_plan_says_so(void **state) {
    (void)state;
    const pel_plan_device device = {.id = "d", .prior_rate = 1.0, .unit_limit = UINT64_MAX};
    const pel_plan_request request = {.units = 10, .granularity = 1, .devices = &device, .device_count = 1};
    const pel_plan_context context = {.kernel = "k"};
    pel_plan_result result;
    assert_int_equal(pel_planner_plan(&request, &result), PEL_OK);
    for (int deprived = 0; deprived < 2; deprived++) {
        pel_plan *plan = pel_plan_build(&pel_allocator_default, &request, &result, &context);
        assert_non_null(plan);
        pel_plan_set_makespan(plan, 5e6);
        if (deprived) {
            pel_plan_set_deprived(plan);
        }
        pel_plan *shown = pel_plan_snapshot(plan);
        assert_non_null(shown);
        assert_int_equal(strstr(pel_plan_text(shown), "others had its devices' cores") != NULL, deprived);
        pel_plan_destroy(shown);
        pel_plan_destroy(plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_missing_time_is_theft), cmocka_unit_test(asks_where_it_tells),
                                       cmocka_unit_test(the_plan_says_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
