/* SPDX-License-Identifier: BSD-3-Clause */
/* Repeated launches: boundaries move when that pays, and only then. Devices, lines and bytes are drawn by seed. */
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

enum { DEVICES = 3, UNITS = 100000, GRAIN = 10 };

static uint64_t random_state = 11;
static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }

static void draw(pel_plan_device devices[DEVICES], double piece) {
    static const char *const names[DEVICES] = {"a", "b", "c"};
    for (uint32_t i = 0; i < DEVICES; i++) {
        devices[i] = (pel_plan_device){
            .id = names[i], .model = 100 + i, .prior_rate = 1.0, .unit_limit = UINT64_MAX, .piece_unit_ns = piece};
        devices[i].cost = (pel_cost){
            .start_ns = between(1e3, 1e4), .unit_ns = between(10.0, 30.0), .deviation = 0.1, .samples = 50, .largest_units = 1e6};
        devices[i].cost.alone = (pel_line){devices[i].cost.start_ns, devices[i].cost.unit_ns, 0.1, 50};
    }
}

static void plan(const pel_plan_device devices[DEVICES], const pel_record *record, pel_plan_result *result) {
    const pel_plan_request request = {
        .units = UNITS, .granularity = GRAIN, .devices = devices, .device_count = DEVICES, .record = record, .frozen = true};
    assert_int_equal(pel_planner_plan(&request, result), PEL_OK);
    uint64_t at = 0;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        assert_true(result->slices[i].lo == at && result->slices[i].hi > at);
        at = result->slices[i].hi;
    }
    assert_true(at == UNITS && result->slice_count == DEVICES);
}

static void remember(pel_record *record, const pel_plan_result *result) {
    record->last = (pel_division){.units = UNITS, .count = result->slice_count};
    for (uint32_t i = 0; i < result->slice_count; i++) {
        record->last.device[i] = 100 + result->slices[i].device;
        record->last.hi[i] = result->slices[i].hi;
    }
}

static bool same(const pel_plan_result *a, const pel_plan_result *b) {
    bool equal = a->slice_count == b->slice_count;
    for (uint32_t i = 0; i < a->slice_count && equal; i++) {
        equal = a->slices[i].device == b->slices[i].device && a->slices[i].lo == b->slices[i].lo &&
                a->slices[i].hi == b->slices[i].hi;
    }
    return equal;
}

/* What a division takes by the lines, and what reaching it from another one costs, written down once more. */
static double time_of(const pel_plan_device devices[DEVICES], const pel_plan_result *division) {
    double longest = 0.0;
    for (uint32_t i = 0; i < division->slice_count; i++) {
        const pel_cost *cost = &devices[division->slices[i].device].cost;
        longest = fmax(longest, cost->start_ns + cost->unit_ns * (double)(division->slices[i].hi - division->slices[i].lo));
    }
    return longest;
}

static double moving(const pel_plan_device devices[DEVICES], const pel_plan_result *from, const pel_plan_result *to) {
    double longest = 0.0;
    for (uint32_t i = 0; i < DEVICES; i++) {
        uint64_t comes = 0;
        for (uint64_t unit = to->slices[i].lo; unit < to->slices[i].hi; unit++) {
            comes += unit < from->slices[i].lo || unit >= from->slices[i].hi;
        }
        longest = fmax(longest, (double)comes * devices[i].piece_unit_ns);
    }
    return longest;
}

static void moves_when_it_pays(void **state) {
    (void)state;
    int stayed = 0, moved = 0;
    for (int seed = 0; seed < 300; seed++) {
        static pel_plan_result before, free, after;
        pel_plan_device devices[DEVICES];
        pel_record record = {.launches = (uint64_t)exp(between(0.0, 7.0)), .total_ns = 1e9};
        draw(devices, exp(between(0.0, 8.0)));
        plan(devices, &record, &before);
        for (uint32_t i = 0; i < DEVICES; i++) {
            double wander = exp(between(-0.04, 0.04));
            devices[i].cost.unit_ns *= wander;
            devices[i].cost.alone.unit_ns *= wander;
        }
        plan(devices, &record, &free);
        remember(&record, &before);
        plan(devices, &record, &after);
        double doubt = 1.0 + devices[0].cost.deviation / sqrt(50.0);
        double gain = (time_of(devices, &before) - doubt * time_of(devices, &free)) * (double)record.launches,
               cost = moving(devices, &before, &free);
        assert_true(same(&after, &free) || same(&after, &before));
        if (!same(&free, &before) && fabs(gain - cost) > 1e-6 * cost) {
            assert_true(same(&after, gain > cost ? &free : &before));
            *(gain > cost ? &moved : &stayed) += 1;
            assert_true((strstr(after.reason, "parts as before") != NULL) == (gain < cost));
        }
    }
    printf("# %d stayed, %d moved\n", stayed, moved);
    assert_true(stayed > 30 && moved > 30);
}

/* Noise alone must not move boundaries for ever, and a device that has changed must be followed. */
static void iterations_settle_and_follow(void **state) {
    (void)state;
    uint32_t moves = 0, moves_free = 0;
    for (int seed = 0; seed < 50; seed++) {
        static pel_plan_result now, last, unbound;
        pel_plan_device devices[DEVICES], seen[DEVICES];
        pel_record record = {.total_ns = 1e9};
        draw(devices, 5.0);
        for (uint32_t launch = 0; launch < 100; launch++) {
            memcpy(seen, devices, sizeof seen);
            for (uint32_t i = 0; i < DEVICES; i++) { /* as the lines wander */
                seen[i].cost.unit_ns *= exp(between(-0.01, 0.01)) * (launch >= 50 && i == 0 ? 2.5 : 1.0);
                seen[i].cost.alone.unit_ns = seen[i].cost.unit_ns;
            }
            record.launches = launch;
            plan(seen, &(pel_record){.launches = launch, .total_ns = 1e9}, &unbound);
            plan(seen, launch > 0 ? &record : NULL, &now);
            moves += launch > 0 && !same(&now, &last);
            moves_free += launch > 0;
            last = now;
            remember(&record, &now);
        }
        assert_true(time_of(seen, &now) < 1.05 * time_of(seen, &unbound)); /* the change was followed */
    }
    printf("# boundaries moved %u times of %u\n", moves, moves_free);
    assert_true(moves * 3 < moves_free && moves >= 50);
}

/* Another range, another device, nothing to move, a share that no longer fits: the past does not matter. */
static void the_past_must_fit(void **state) {
    (void)state;
    static pel_plan_result before, free, after;
    pel_plan_device devices[DEVICES];
    pel_record record = {.launches = 1, .total_ns = 1e9};
    draw(devices, 100.0);
    plan(devices, &record, &before);
    devices[0].cost.unit_ns *= 1.03;
    devices[0].cost.alone.unit_ns *= 1.03;
    plan(devices, &record, &free);
    assert_false(same(&free, &before));
    for (int what = 0; what < 6; what++) {
        pel_plan_device changed[DEVICES];
        memcpy(changed, devices, sizeof changed);
        remember(&record, &before);
        record.last.units -= what == 1;
        record.last.device[1] += what == 2;
        record.last.hi[0] += what == 3; /* not on a grain */
        for (uint32_t i = 0; i < DEVICES; i++) {
            changed[i].piece_unit_ns = what == 4 ? 0.0 : changed[i].piece_unit_ns;
        }
        changed[0].unit_limit = what == 5 ? (before.slices[0].hi - 1) / GRAIN * GRAIN : UINT64_MAX;
        plan(changed, &record, &after);
        assert_true(what == 0 ? same(&after, &before) : what == 5 || same(&after, &free));
        assert_true(after.slices[0].hi <= changed[0].unit_limit);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(moves_when_it_pays), cmocka_unit_test(iterations_settle_and_follow),
                                       cmocka_unit_test(the_past_must_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
