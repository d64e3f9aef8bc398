/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leaving devices out to learn what company costs: the bound that spares the planner most fillings never changes what is chosen.
 * Devices are drawn by seed; what is chosen without the bound is written down once more.
 */
#include "planner/internal.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST = 8, UNITS = 100000, SEEDS = 10000 };
#define COMPANY_ERRORS 1.5 /* as in planner/doubt.c */

static uint64_t random_state = 23;
static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }

static void draw(pel_plan_device *devices, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const double start = exp(between(8.0, 14.5)), unit = exp(between(2.0, 5.0));
        devices[i] = (pel_plan_device){.id = "d", .model = 100 + i, .prior_rate = 1.0, .unit_limit = UINT64_MAX};
        devices[i].unit_limit = between(0.0, 1.0) < 0.1 ? (uint64_t)between(1.0, UNITS) : UINT64_MAX;
        devices[i].cost = (pel_cost){.start_ns = start, .unit_ns = unit, .deviation = 0.02, .samples = 50, .largest_units = 1e6};
        devices[i].cost.alone = (pel_line){start, unit, 0.02, 50};
        if (between(0.0, 1.0) < 0.8) {
            devices[i].cost.companions = between(0.5, count);
            devices[i].cost.company = 0.5 * pow(between(-0.3, 1.0), 3.0);
            devices[i].cost.company_error = 0.2 * pow(between(0.0, 1.0), 3.0);
        }
    }
}

static uint32_t least_of(const pel_filling *filling, uint64_t mask) {
    uint32_t least = (uint32_t)__builtin_ctzll(mask);
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        const uint32_t device = (uint32_t)__builtin_ctzll(rest);
        least = filling->share[device] < filling->share[least] ? device : least;
    }
    return least;
}

/* The devices that are left, by filling every set; 0: nothing is tried. */
static uint64_t without_bound(const pel_planning *planning, const pel_filling *best) {
    for (uint64_t fewer = best->mask; __builtin_popcountll(fewer) > 2;) {
        pel_planning hopeful = *planning, sober = *planning;
        pel_filling hoped, likely;
        fewer &= ~pel_bit(least_of(best, fewer));
        if (pel_plan_fill_crowd(&hopeful, fewer, COMPANY_ERRORS, &hoped) && __builtin_popcountll(hoped.mask) >= 2 &&
            hoped.makespan < best->makespan * (1.0 - planning->margin) && pel_plan_fill_crowd(&sober, fewer, 0.0, &likely) &&
            __builtin_popcountll(likely.mask) >= 2) {
            return likely.mask;
        }
    }
    return 0;
}

static void bound_changes_nothing(void **state) {
    (void)state;
    uint32_t tried = 0, not_tried = 0;
    for (int seed = 0; seed < SEEDS; seed++) {
        static pel_plan_result result;
        pel_plan_device devices[MOST];
        pel_planning planning;
        const uint32_t count = 3 + (uint32_t)between(0.0, MOST - 2.001);
        const pel_record record = {.launches = 10, .total_ns = 1e18};
        const pel_plan_request request = {
            .units = UNITS, .granularity = 10, .devices = devices, .device_count = count, .record = &record};
        draw(devices, count);
        assert_int_equal(pel_plan_begin(&request, &result, &planning), PEL_OK);
        static pel_contest contest;
        contest = (pel_contest){.planning = &planning, .has_best = true};
        if (!pel_plan_fill_crowd(&planning, planning.known, 0.0, &contest.best) ||
            __builtin_popcountll(contest.best.mask) < 3) {
            continue;
        }
        pel_plan_crowd(&planning, contest.best.mask, (uint32_t)__builtin_popcountll(contest.best.mask), 0.0);
        pel_plan_emit(&planning, &contest.best);
        result.predicted_ns = 0.0; /* nobody is hoped to be better alone */
        const uint64_t expected = without_bound(&planning, &contest.best), before = pel_plan_chosen(&result);
        const bool any = pel_plan_second_opinion(&contest);
        if (any && pel_plan_chosen(&result) == before) {
            fail_msg("seed %d: something else was tried", seed);
        }
        if ((any ? pel_plan_chosen(&result) : 0) != expected) {
            fail_msg("draw %d: %#llx of %#llx, without the bound %#llx", seed,
                     (unsigned long long)(any ? pel_plan_chosen(&result) : 0), (unsigned long long)before,
                     (unsigned long long)expected);
        }
        *(any ? &tried : &not_tried) += 1;
    }
    printf("# %u with fewer devices, %u as they were\n", tried, not_tried);
    assert_true(tried > SEEDS / 100 && not_tried > SEEDS / 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(bound_changes_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
