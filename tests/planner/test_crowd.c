/* SPDX-License-Identifier: BSD-3-Clause */
/* Divisions among fewer devices where company costs: against every set of devices, by brute force. */
#include "planner/internal.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { DEVICES = 4 };

static uint64_t random_state;

static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }

static double factor_of(const pel_cost *cost, int count) {
    return exp(cost->company * (count - 1.0 - cost->companions));
}

/* When the devices of `mask` are done with `units`, fluid. */
static double level(const pel_plan_device *devices, uint32_t mask, double units) {
    double low = 0.0, high = 1e12;
    for (int step = 0; step < 100; step++) {
        double middle = 0.5 * (low + high), done = 0.0;
        for (uint32_t i = 0; i < DEVICES; i++) {
            const pel_cost *cost = &devices[i].cost;
            double factor = factor_of(cost, __builtin_popcount(mask));
            done += (mask >> i & 1u) != 0 ? fmax(0.0, (middle / factor - cost->start_ns) / cost->unit_ns) : 0.0;
        }
        *(done >= units ? &high : &low) = middle;
    }
    return high;
}

static void draw(pel_plan_device devices[DEVICES], double most) {
    static const char *const names[DEVICES] = {"a", "b", "c", "d"};
    for (uint32_t i = 0; i < DEVICES; i++) {
        devices[i] = (pel_plan_device){.id = names[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
        devices[i].cost = (pel_cost){.start_ns = between(2e4, 2e5),
                                     .unit_ns = exp(between(0.0, 2.5)),
                                     .deviation = 0.01,
                                     .samples = 50,
                                     .largest_units = 1e6,
                                     .companions = 3.0,
                                     .company = most > 0.0 ? between(0.0, most) : 0.0};
        devices[i].cost.alone = (pel_line){devices[i].cost.start_ns, devices[i].cost.unit_ns * 2.0, 0.01, 50};
    }
}

static double plan(const pel_plan_device *devices, uint64_t units, pel_plan_result *result) {
    const pel_plan_request request = {
        .units = units, .granularity = 1, .devices = devices, .device_count = DEVICES, .frozen = true};
    uint64_t at = 0;
    assert_int_equal(pel_planner_plan(&request, result), PEL_OK);
    for (uint32_t i = 0; i < result->slice_count; i++) {
        assert_true(result->slices[i].lo == at && result->slices[i].hi > at);
        at = result->slices[i].hi;
    }
    assert_true(at == units);
    return result->predicted_ns;
}

static void finds_nearly_the_best_set(void **state) {
    (void)state;
    double sum = 0.0, worst = 0.0;
    int fewer = 0;
    for (int seed = 0; seed < 500; seed++) {
        pel_plan_device devices[DEVICES];
        pel_plan_result result;
        random_state = (uint64_t)(seed + 1);
        draw(devices, 0.15);
        uint64_t units = (uint64_t)exp(between(12.0, 15.0));
        double chosen = plan(devices, units, &result), best = INFINITY;
        for (uint32_t mask = 3; mask < 1u << DEVICES; mask++) {
            best = (mask & (mask - 1)) != 0 ? fmin(best, level(devices, mask, (double)units)) : best;
        }
        if (result.slice_count > 1) {
            sum += chosen / best - 1.0;
            worst = fmax(worst, chosen / best - 1.0);
        }
        fewer += result.slice_count == 2 || result.slice_count == 3;
    }
    printf("# above the best of all sets by %.2f %% on average, %.1f %% at most; %d of 500 leave somebody out\n", sum / 5.0,
           100.0 * worst, fewer);
    assert_true(sum / 500.0 < 0.01 && worst < 0.12 && fewer > 50);
}

static void harmless_company_changes_nothing(void **state) {
    (void)state;
    for (int seed = 0; seed < 200; seed++) {
        pel_plan_device devices[DEVICES];
        pel_plan_result with, without;
        random_state = (uint64_t)(seed + 7001);
        draw(devices, 0.0);
        double known = plan(devices, 500000, &with);
        for (uint32_t i = 0; i < DEVICES; i++) {
            devices[i].cost.companions = 0.0;
        }
        assert_true(known == plan(devices, 500000, &without) && with.slice_count == without.slice_count);
    }
}

/*
 * What one device showed alone is what is thought of the others', and only of those that are as it is: not of those that share a
 * memory; an exact one stays, and what a device has shown itself counts most.
 */
static void others_learn_from_one(void **state) {
    (void)state;
    static pel_plan_result result;
    pel_planning planning;
    pel_plan_device devices[DEVICES];
    for (int shown = 0; shown < 2; shown++) {
        const double company = shown != 0 ? 0.1 : 0.0;
        draw(devices, 0.0);
        for (uint32_t i = 0; i < DEVICES; i++) {
            devices[i].cost.company_error = PEL_COMPANY_PRIOR;
        }
        devices[0].cost.company = company;
        devices[0].cost.company_error = 0.01;
        devices[2].host_memory = devices[3].host_memory = true;
        devices[3].cost.company = 0.02;
        devices[3].cost.company_error = 0.0;
        const pel_plan_request request = {.units = 1000, .granularity = 1, .devices = devices, .device_count = DEVICES};
        assert_int_equal(pel_plan_begin(&request, &result, &planning), PEL_OK);
        assert_true(fabs(planning.company[0] - company) < 0.01 && planning.company_error[0] <= 0.01);
        assert_true(planning.company[1] >= 0.5 * company && planning.company[1] <= 0.8 * company);
        assert_true(planning.company_error[1] < 0.75 * PEL_COMPANY_PRIOR && planning.company_error[1] > 0.02);
        assert_true(fabs(planning.company[2]) < 1e-12 && fabs(planning.company_error[2] - PEL_COMPANY_PRIOR) < 1e-12);
        assert_true(planning.company[3] == 0.02 && planning.company_error[3] == 0.0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(others_learn_from_one), cmocka_unit_test(finds_nearly_the_best_set),
                                       cmocka_unit_test(harmless_company_changes_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
