/* SPDX-License-Identifier: BSD-3-Clause */
/* Energy, energy x time and deadlines against every division of a few quanta, and what is said where an aim cannot be
 * followed. */
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

#define DEVICES 3u

static uint64_t random_state;

static double uniform(void) { return test_uniform(&random_state); }

typedef struct machine {
    pel_plan_device devices[DEVICES];
    pel_plan_request request;
} machine;

static void draw(machine *m, pel_aim aim, uint64_t units) {
    static const char *const names[DEVICES] = {"a", "b", "c"};
    memset(m, 0, sizeof *m);
    for (uint32_t i = 0; i < DEVICES; i++) {
        double idle = 50.0 * uniform();
        const double start = 10e3 * exp(3.0 * uniform()), unit = 1e3 * exp(2.0 * uniform());
        m->devices[i] = (pel_plan_device){.id = names[i],
                                          .prior_rate = 1.0,
                                          .unit_limit = UINT64_MAX,
                                          .idle_watts = idle,
                                          .busy_watts = idle + 5.0 + 300.0 * uniform(),
                                          .cost = {.start_ns = start, .unit_ns = unit, .samples = 1000000}};
    }
    m->request = (pel_plan_request){
        .units = units, .granularity = 1, .devices = m->devices, .device_count = DEVICES, .frozen = true, .objective = aim};
}

static double cost_of(const machine *m, const uint64_t *share, double *makespan) {
    double joules = 0.0, idle = 0.0;
    *makespan = 0.0;
    for (uint32_t i = 0; i < DEVICES; i++) {
        const pel_plan_device *d = &m->devices[i];
        double time = share[i] > 0 ? d->cost.start_ns + d->cost.unit_ns * (double)share[i] : 0.0;
        *makespan = fmax(*makespan, time);
        joules += (d->busy_watts - d->idle_watts) * time * 1e-9;
        idle += d->idle_watts;
    }
    return joules + idle * *makespan * 1e-9;
}

/* The least value of all divisions that end by the deadline; INFINITY: none does. *fastest: the least time of any. */
static double brute_force(const machine *m, double *fastest) {
    double best = INFINITY, deadline = m->request.deadline_ns > 0.0 ? m->request.deadline_ns : INFINITY;
    uint64_t n = m->request.units;
    *fastest = INFINITY;
    for (uint64_t a = 0; a <= n; a++) {
        for (uint64_t b = 0; a + b <= n; b++) {
            const uint64_t share[DEVICES] = {a, b, n - a - b};
            double makespan, joules = cost_of(m, share, &makespan);
            *fastest = fmin(*fastest, makespan);
            if (makespan <= deadline) {
                best = fmin(best, m->request.objective == PEL_AIM_ENERGY ? joules : joules * makespan);
            }
        }
    }
    return best;
}

static double value_of(const machine *m, const pel_plan_result *result, double *makespan) {
    uint64_t share[DEVICES] = {0}, at = 0;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        assert_true(result->slices[i].lo == at && result->slices[i].hi > at);
        at = result->slices[i].hi;
        share[result->slices[i].device] += result->slices[i].hi - result->slices[i].lo;
    }
    assert_true(at == m->request.units);
    double joules = cost_of(m, share, makespan);
    assert_true(fabs(result->predicted_joules / joules - 1.0) < 1e-6);
    return m->request.objective == PEL_AIM_ENERGY ? joules : joules * *makespan;
}

static void compare(pel_aim aim, bool deadlines) {
    machine m;
    pel_plan_result result;
    double worst = 0.0, sum = 0.0;
    uint32_t compared = 0, late = 0;
    for (int round = 0; round < 600; round++) {
        double fastest, makespan;
        draw(&m, aim, 200);
        (void)brute_force(&m, &fastest);
        m.request.deadline_ns = deadlines ? fastest * (0.9 + 1.5 * uniform()) : 0.0;
        double best = brute_force(&m, &fastest);
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        assert_true(result.tail.lo == result.tail.hi);
        double value = value_of(&m, &result, &makespan);
        if (best == INFINITY) { /* nobody can: the fastest, and it says so */
            assert_non_null(strstr(result.reason, "the deadline cannot be met"));
            late++;
            continue;
        }
        if (m.request.deadline_ns > 0.0 && m.request.deadline_ns < 1.01 * fastest) {
            continue; /* what is met only by the last quantum */
        }
        assert_true(m.request.deadline_ns == 0.0 || makespan <= m.request.deadline_ns);
        double excess = value / best - 1.0;
        worst = fmax(worst, excess);
        sum += excess;
        compared++;
    }
    printf("aim %d%s: %u divisions, above the least by %.3f %% on average, %.3f %% at most; %u deadlines nobody meets\n",
           (int)aim, deadlines ? " by a deadline" : "", (unsigned)compared, 100.0 * sum / compared, 100.0 * worst,
           (unsigned)late);
    assert_true(compared > 300 && sum / compared < 0.002 && worst < 0.03);
}

static void meets_brute_force(void **state) {
    (void)state;
    random_state = 3;
    compare(PEL_AIM_ENERGY, false);
    compare(PEL_AIM_ENERGY, true);
    compare(PEL_AIM_ENERGY_DELAY, false);
    compare(PEL_AIM_ENERGY_DELAY, true);
}

static void scatter_keeps_its_distance(void **state) {
    (void)state;
    machine m;
    pel_plan_result steady, noisy;
    double early, late;
    random_state = 4;
    for (int round = 0; round < 200; round++) {
        double fastest;
        draw(&m, PEL_AIM_ENERGY, 200);
        (void)brute_force(&m, &fastest);
        m.request.deadline_ns = 1.6 * fastest;
        assert_int_equal(pel_planner_plan(&m.request, &steady), PEL_OK);
        for (uint32_t i = 0; i < DEVICES; i++) {
            m.devices[i].cost.deviation = 0.1;
        }
        assert_int_equal(pel_planner_plan(&m.request, &noisy), PEL_OK);
        (void)value_of(&m, &steady, &late);
        (void)value_of(&m, &noisy, &early);
        assert_true(late <= m.request.deadline_ns && early <= m.request.deadline_ns / 1.2);
    }
}

static void says_why_it_cannot(void **state) {
    (void)state;
    machine m;
    pel_plan_result with, without;
    random_state = 5;
    draw(&m, PEL_AIM_ENERGY, 200);
    m.devices[1].busy_watts = m.devices[1].idle_watts = 0.0;
    assert_int_equal(pel_planner_plan(&m.request, &with), PEL_OK);
    assert_non_null(strstr(with.reason, "the power of b is not known"));
    assert_true(with.predicted_joules == 0.0);
    m.request.objective = PEL_AIM_TIME;
    assert_int_equal(pel_planner_plan(&m.request, &without), PEL_OK);
    assert_true(with.slice_count == without.slice_count && with.predicted_ns == without.predicted_ns);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(meets_brute_force), cmocka_unit_test(scatter_keeps_its_distance),
                                       cmocka_unit_test(says_why_it_cannot)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
