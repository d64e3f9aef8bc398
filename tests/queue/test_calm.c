/* SPDX-License-Identifier: BSD-3-Clause */
/* When a launch counts as deprived of processors. That models take the hint is tests/model/test_learn.c's. */
#include "queue/calm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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
    pel_runtime runtime = {.devices = &device, .device_count = 1};
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_missing_time_is_theft), cmocka_unit_test(asks_where_it_tells)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
