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
    assert_non_null(strstr(with.reason, "the power of b is not known: "));
    assert_true(with.predicted_joules == 0.0 && with.energy_source == PEL_ENERGY_UNKNOWN);
    m.devices[1].watts_pending = true;
    assert_int_equal(pel_planner_plan(&m.request, &with), PEL_OK);
    assert_non_null(strstr(with.reason, "the power of b is not known yet"));
    m.request.objective = PEL_AIM_TIME;
    assert_int_equal(pel_planner_plan(&m.request, &without), PEL_OK);
    assert_true(with.slice_count == without.slice_count && with.predicted_ns == without.predicted_ns);
}

/* What must be said of every alternative: why it lost, and its energy where that counts. */
static void check_reasons(const machine *m, const pel_plan_result *r) {
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < r->choice_count; i++) {
        const pel_plan_choice *choice = &r->choices[i];
        const bool timed = choice->predicted_ns > 0.0 && strstr(choice->reason, "work-groups") == NULL;
        chosen += choice->chosen;
        assert_true(choice->reason[0] != '\0');
        if (timed && (!choice->chosen || m->request.objective != PEL_AIM_TIME)) {
            assert_non_null(strchr(choice->reason, ';'));
        }
        if (timed && m->request.objective != PEL_AIM_TIME) {
            assert_non_null(strstr(choice->reason, "J"));
        }
    }
    assert_int_equal(chosen, 1);
}

/* No device can hold the launch alone: there is no best single one to compare with, and every aim is followed all the same. */
static void memory_forces_it_apart(void **state) {
    (void)state;
    static const pel_aim aims[] = {PEL_AIM_TIME, PEL_AIM_ENERGY, PEL_AIM_ENERGY_DELAY};
    random_state = 6;
    for (int round = 0; round < 300; round++) {
        machine m;
        pel_plan_result r;
        draw(&m, aims[round % 3], 200);
        for (uint32_t i = 0; i < DEVICES; i++) {
            m.devices[i].unit_limit = 80 + (uint64_t)(100.0 * uniform());
        }
        m.request.deadline_ns = round % 2 == 0 ? 0.0 : 1e5 * exp(4.0 * uniform());
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        assert_true(r.slice_count > 1);
        for (uint32_t i = 0; i < r.slice_count; i++) {
            assert_true(r.slices[i].hi - r.slices[i].lo <= m.devices[r.slices[i].device].unit_limit);
        }
        check_reasons(&m, &r);
    }
}

/* Whoever lost by energy is told so, with both figures; by the deadline, too. */
static void each_candidate_says_why(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    random_state = 7;
    for (int round = 0; round < 600; round++) {
        draw(&m, round % 2 == 0 ? PEL_AIM_ENERGY : PEL_AIM_ENERGY_DELAY, 200);
        m.request.deadline_ns = round % 3 == 0 ? 1e5 * exp(3.0 * uniform()) : 0.0;
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        check_reasons(&m, &r);
    }
    draw(&m, PEL_AIM_ENERGY, 200);
    m.request.single_only = true;
    for (uint32_t i = 0; i < DEVICES; i++) { /* a: slow and frugal, b: fast and hungry, c: slowest */
        m.devices[i].cost.start_ns = 0.0;
        m.devices[i].cost.unit_ns = i == 0 ? 2e3 : i == 1 ? 1e3 : 4e3;
        m.devices[i].idle_watts = 0.0;
        m.devices[i].busy_watts = i == 1 ? 100.0 : 10.0;
    }
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
    assert_int_equal(r.slices[0].device, 0);
    assert_non_null(strstr(r.choices[0].reason, "a alone: 400 us, 4.00 mJ; least energy"));
    assert_non_null(strstr(r.choices[1].reason, "b alone: 200 us, 20.0 mJ; needs more energy than the plan (4.00 mJ in 400 us)"));
    m.request.deadline_ns = 300e3;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
    assert_int_equal(r.slices[0].device, 1);
    assert_non_null(strstr(r.choices[0].reason, "a alone: 400 us, 4.00 mJ; misses the deadline of 300 us"));
}

/* More devices than there is room for: how many are not listed is counted, and the chosen ones are. */
static void many_devices_are_counted(void **state) {
    (void)state;
    enum { MANY = 40 };
    static char names[MANY][8];
    pel_plan_device devices[MANY];
    pel_plan_result r;
    memset(devices, 0, sizeof devices);
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "d%u", (unsigned)i);
        devices[i] = (pel_plan_device){.id = names[i],
                                       .prior_rate = 1.0,
                                       .unit_limit = UINT64_MAX,
                                       .cost = {.start_ns = 1e3, .unit_ns = i == 30 ? 1.0 : 2.0 + i, .samples = 1000000}};
    }
    const pel_plan_request request = {
        .units = 1000, .granularity = 1, .devices = devices, .device_count = MANY, .frozen = true, .single_only = true};
    assert_int_equal(pel_planner_plan(&request, &r), PEL_OK);
    assert_int_equal(r.slices[0].device, 30);
    uint64_t listed = 0;
    for (uint32_t i = 0; i < r.choice_count; i++) {
        listed |= r.choices[i].device_mask;
    }
    assert_true((listed >> 30 & 1u) != 0);
    assert_int_equal(r.unlisted + (uint32_t)__builtin_popcountll(listed), MANY);
}

/* A device of which nothing is known, and who pays for that. */
static void nothing_is_tried_by_a_deadline(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    random_state = 8;
    draw(&m, PEL_AIM_TIME, 200);
    m.request.frozen = false;
    m.devices[2].cost.samples = 0;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
    assert_true(r.exploring);
    m.request.deadline_ns = 1e9;
    for (uint32_t launch = 0; launch < 100; launch++) {
        m.request.launches_seen = launch;
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        assert_false(r.exploring);
        for (uint32_t i = 0; i < r.slice_count; i++) {
            assert_int_not_equal(r.slices[i].device, 2);
        }
    }
    m.devices[0].cost.samples = m.devices[1].cost.samples = 0; /* then anything is a try */
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
    assert_true(r.exploring && r.predicted_ns == 0.0);
}

/* The least time by a deadline: the fastest plan that is sure to meet it, not the fastest. */
static void time_by_a_deadline(void **state) {
    (void)state;
    static const struct {
        double deadline;
        uint32_t device;
        const char *says;
    } cases[] = {{0.0, 0, "a alone"},
                 {200e3, 0, "a alone"},
                 {135e3, 1, "b: sure to meet the deadline, in 130 us; the fastest needs 100 us and scatters too much for it"},
                 {110e3, 0, "the deadline is met, but with less than two deviations to spare: a alone"},
                 {90e3, 0, "the deadline cannot be met; as good as possible: a alone"}};
    machine m;
    pel_plan_result r;
    random_state = 9;
    draw(&m, PEL_AIM_TIME, 100);
    m.request.single_only = true;
    m.devices[0].cost = (pel_cost){.unit_ns = 1000.0, .deviation = 0.2, .samples = 1000000};
    m.devices[1].cost = (pel_cost){.unit_ns = 1300.0, .samples = 1000000};
    m.devices[2].cost = (pel_cost){.unit_ns = 9000.0, .samples = 1000000};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m.request.deadline_ns = cases[i].deadline;
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        assert_int_equal(r.slices[0].device, cases[i].device);
        assert_true(strncmp(r.reason, cases[i].says, strlen(cases[i].says)) == 0);
        check_reasons(&m, &r);
    }
    m.request.deadline_ns = 135e3;
    assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
    assert_non_null(strstr(r.choices[0].reason, "; scatters too much for the deadline of 135 us"));
    for (int round = 0; round < 300; round++) { /* divisions: one that is surely in time is left alone, else it is in time */
        pel_plan_result by;
        draw(&m, PEL_AIM_TIME, 200);
        for (uint32_t i = 0; i < DEVICES; i++) {
            m.devices[i].cost.deviation = 0.2 * uniform();
        }
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        m.request.deadline_ns = r.predicted_ns * (1.0 + uniform());
        assert_int_equal(pel_planner_plan(&m.request, &by), PEL_OK);
        check_reasons(&m, &by);
        assert_true(by.predicted_ns >= r.predicted_ns * (1.0 - 1e-9) && by.predicted_ns <= m.request.deadline_ns);
        if (m.request.deadline_ns > 1.5 * r.predicted_ns) {
            assert_true(by.slice_count == r.slice_count && by.predicted_ns == r.predicted_ns);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(meets_brute_force),
                                       cmocka_unit_test(scatter_keeps_its_distance),
                                       cmocka_unit_test(says_why_it_cannot),
                                       cmocka_unit_test(memory_forces_it_apart),
                                       cmocka_unit_test(each_candidate_says_why),
                                       cmocka_unit_test(many_devices_are_counted),
                                       cmocka_unit_test(nothing_is_tried_by_a_deadline),
                                       cmocka_unit_test(time_by_a_deadline)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
