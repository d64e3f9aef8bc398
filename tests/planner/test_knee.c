/* SPDX-License-Identifier: BSD-3-Clause */
/* Divisions among devices with knees: no division of whole quanta is faster, and words say why a share is large or none. */
#include "planner/planner.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICES = 3, UNITS = 60, TRIALS = 3000 };

static uint64_t random_state = 8;
static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }

static double time_of(const pel_cost *cost, uint64_t share) {
    return share == 0 ? 0.0 : cost->start_ns + cost->unit_ns * pel_cost_counted(cost, (double)share);
}

static double best_of(const pel_plan_device devices[DEVICES]) {
    double best = INFINITY;
    for (uint64_t a = 0; a <= UNITS; a++) {
        for (uint64_t b = 0; a + b <= UNITS; b++) {
            double time = fmax(time_of(&devices[0].cost, a), time_of(&devices[1].cost, b));
            best = fmin(best, fmax(time, time_of(&devices[2].cost, UNITS - a - b)));
        }
    }
    return best;
}

static void no_division_is_faster(void **state) {
    (void)state;
    static const char *const names[DEVICES] = {"a", "b", "c"};
    uint32_t partly = 0, out = 0;
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        pel_plan_device devices[DEVICES];
        pel_plan_result result;
        for (uint32_t i = 0; i < DEVICES; i++) {
            devices[i] = (pel_plan_device){.id = names[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
            devices[i].cost = (pel_cost){.start_ns = between(0.0, 200.0), .unit_ns = between(10.0, 40.0), .samples = 50};
            devices[i].cost.knee_units = between(0.0, 1.0) < 0.6 ? between(1.0, 50.0) : 0.0;
        }
        const pel_plan_request request = {
            .units = UNITS, .granularity = 1, .devices = devices, .device_count = DEVICES, .margin = 1e-9, .frozen = true};
        assert_int_equal(pel_planner_plan(&request, &result), PEL_OK);
        double longest = 0.0;
        uint64_t at = 0;
        for (uint32_t i = 0; i < result.slice_count; i++) {
            const pel_plan_slice *slice = &result.slices[i];
            const pel_cost *cost = &devices[slice->device].cost;
            assert_true(slice->lo == at && slice->hi > at);
            at = slice->hi;
            longest = fmax(longest, time_of(cost, slice->hi - slice->lo));
            partly += (double)(slice->hi - slice->lo) < cost->knee_units;
            assert_true(fabs(slice->predicted_ns - time_of(cost, slice->hi - slice->lo)) < 1e-6);
        }
        assert_int_equal(at, UNITS);
        out += result.slice_count < DEVICES;
        if (longest > best_of(devices) * (1.0 + 1e-9)) {
            printf("# trial %u: %.3f instead of %.3f\n", trial, longest, best_of(devices));
        }
        assert_true(longest <= best_of(devices) * (1.0 + 1e-9));
    }
    printf("# %u shares below a knee, %u divisions without somebody\n", partly, out);
    assert_true(partly > 0 && out > 0);
}

static void words_name_it(void **state) {
    (void)state;
    pel_plan_device device = {.id = "wide", .prior_rate = 1.0, .unit_limit = UINT64_MAX};
    pel_plan_result result;
    device.cost = (pel_cost){.start_ns = 100.0, .unit_ns = 10.0, .samples = 50, .knee_units = 4096.0};
    const pel_plan_request request = {.units = UNITS, .granularity = 1, .devices = &device, .device_count = 1};
    assert_int_equal(pel_planner_plan(&request, &result), PEL_OK);
    assert_true(fabs(result.predicted_ns - 41060.0) < 1e-6);
    assert_non_null(strstr(result.choices[0].reason, "not full below 4096 units"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_division_is_faster), cmocka_unit_test(words_name_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
