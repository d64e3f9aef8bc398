/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans for 65 to 1,000 devices: the rules that hold for a few hold for many, and the level is the water's. */
#include "planner/planner.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 1000 };

typedef struct machine {
    char names[MOST][16];
    pel_plan_device devices[MOST];
    pel_core_set cores[MOST];
    pel_plan_request request;
} machine;

static double draw(uint64_t *random, double least, double most) {
    return least * exp((double)(test_random(random) % 100000) / 1e5 * log(most / least));
}

/* Devices of all kinds: some excluded, some small, some that share cores, some never seen. */
static void make(machine *m, uint32_t count, uint64_t *random, bool known) {
    memset(m, 0, sizeof *m);
    for (uint32_t i = 0; i < count; i++) {
        pel_plan_device *d = &m->devices[i];
        (void)snprintf(m->names[i], sizeof m->names[i], "d%u", (unsigned)i);
        *d = (pel_plan_device){.id = m->names[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
        d->excluded = test_random(random) % 20 == 0 ? "it is switched off" : NULL;
        d->unit_limit = test_random(random) % 10 == 0 ? test_random(random) % 50000 : UINT64_MAX;
        if (known || test_random(random) % 2 == 0) {
            d->cost = (pel_cost){.start_ns = draw(random, 1e4, 4e5),
                                 .unit_ns = draw(random, 0.5, 50.0),
                                 .deviation = 0.02,
                                 .samples = 30,
                                 .largest_units = 1e4};
            d->cost.knee_units = test_random(random) % 16 == 0 ? draw(random, 10.0, 3e4) : 0.0;
        }
        if (test_random(random) % 4 == 0) {
            const uint32_t core = (uint32_t)(test_random(random) % 40);
            m->cores[i].bits[core / 64] |= 1ull << core % 64;
            d->cores = &m->cores[i];
        }
    }
    m->request = (pel_plan_request){.units = 1 + test_random(random) % 20000000,
                                    .granularity = 1 + test_random(random) % 64,
                                    .devices = m->devices,
                                    .device_count = count,
                                    .allocator = &pel_allocator_default};
}

/* What every plan must be. */
static void check(const machine *m, const pel_plan_result *r) {
    const pel_plan_request *request = &m->request;
    pel_core_set taken = {{0}};
    uint64_t at = 0;
    uint32_t last = 0, chosen = 0;
    assert_true(r->slice_count > 0 && r->slice_count <= request->device_count);
    for (uint32_t i = 0; i < r->slice_count; i++) {
        const pel_plan_slice *s = &pel_plan_slices(r)[i];
        const pel_plan_device *d = &request->devices[s->device];
        assert_true(i == 0 || s->device > last);
        last = s->device;
        assert_int_equal(s->lo, at);
        assert_true(s->hi > s->lo && (s->hi % request->granularity == 0 || s->hi == request->units));
        assert_true(d->excluded == NULL && s->hi - s->lo <= d->unit_limit);
        for (size_t w = 0; d->cores != NULL && w < sizeof taken.bits / sizeof taken.bits[0]; w++) {
            assert_int_equal(taken.bits[w] & d->cores->bits[w], 0);
            taken.bits[w] |= d->cores->bits[w];
        }
        at = s->hi;
    }
    assert_int_equal(at, request->units);
    assert_true(!request->single_only || r->slice_count == 1);
    assert_true(r->reason[0] != '\0' && strlen(r->reason) < sizeof r->reason);
    for (uint32_t i = 0; i < r->choice_count; i++) {
        assert_true(r->choices[i].many > 0 && r->choices[i].reason[0] != '\0');
        chosen += r->choices[i].chosen ? 1u : 0u;
    }
    assert_int_equal(chosen, 1);
}

static void plans_are_plans(void **state) {
    (void)state;
    static const uint32_t counts[] = {65, 200, 1000};
    machine *m = malloc(sizeof *m);
    uint64_t random = 77;
    for (uint32_t k = 0; k < 60; k++) {
        pel_plan_result r, again;
        make(m, counts[k % 3], &random, k % 2 == 0);
        m->request.single_only = k % 7 == 6;
        m->request.frozen = k % 5 == 4;
        m->request.launches_seen = k;
        const pel_status status = pel_planner_plan(&m->request, &r);
        assert_true(status == PEL_OK || (status == PEL_NO_DEVICE && r.reason[0] != '\0'));
        if (status == PEL_OK) {
            check(m, &r);
            assert_int_equal(pel_planner_plan(&m->request, &again), PEL_OK);
            assert_int_equal(again.slice_count, r.slice_count);
            assert_memory_equal(pel_plan_slices(&again), pel_plan_slices(&r), r.slice_count * sizeof(pel_plan_slice));
            pel_plan_result_free(&pel_allocator_default, &again);
        }
        pel_plan_result_free(&pel_allocator_default, &r);
    }
    free(m);
}

/* No level is lower: at a hair less time the devices together would not do it. */
static void the_level_is_the_waters(void **state) {
    (void)state;
    machine *m = malloc(sizeof *m);
    uint64_t random = 5;
    for (uint32_t k = 0; k < 12; k++) {
        pel_plan_result r;
        make(m, 300, &random, true);
        m->request.units = 1000000 + test_random(&random) % 10000000;
        m->request.granularity = 1;
        m->request.frozen = true;
        for (uint32_t i = 0; i < 300; i++) {
            m->devices[i].cores = NULL;
            m->devices[i].cost.deviation = 0.0;
        }
        assert_int_equal(pel_planner_plan(&m->request, &r), PEL_OK);
        assert_true(r.slice_count > 1);
        double done = 0.0;
        for (uint32_t i = 0; i < 300; i++) {
            const pel_plan_device *d = &m->devices[i];
            const double level = 0.999 * r.predicted_ns, fluid = (level - d->cost.start_ns) / d->cost.unit_ns;
            const bool can = d->excluded == NULL && fluid > 0.0 && fluid >= d->cost.knee_units;
            done += can ? fmin(fluid, (double)d->unit_limit) : 0.0;
        }
        assert_true(done < (double)m->request.units);
        pel_plan_result_free(&pel_allocator_default, &r);
    }
    free(m);
}

/* Nobody is known: everybody is seen in the first launch, and known after the second; the sizes differ. */
static void all_are_learned_at_once(void **state) {
    (void)state;
    machine *m = malloc(sizeof *m);
    uint64_t random = 9;
    uint64_t first[200] = {0};
    make(m, 200, &random, false);
    m->request.units = 10000000;
    for (uint32_t i = 0; i < 200; i++) {
        m->devices[i] = (pel_plan_device){.id = m->names[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
    }
    for (uint32_t launch = 0; launch < 3; launch++) {
        pel_plan_result r;
        m->request.launches_seen = launch;
        assert_int_equal(pel_planner_plan(&m->request, &r), PEL_OK);
        check(m, &r);
        assert_int_equal(r.slice_count, 200);
        assert_int_equal(r.exploring, launch < 2);
        for (uint32_t i = 0; i < 200; i++) {
            const pel_plan_slice *s = &pel_plan_slices(&r)[i];
            const uint64_t units = s->hi - s->lo;
            assert_true(launch != 1 || units < first[i] * 9 / 10 || units > first[i] * 11 / 10);
            first[i] = units;
            m->devices[i].cost =
                (pel_cost){.start_ns = 1e4, .unit_ns = 10.0, .samples = launch + 1, .largest_units = (double)units};
        }
        pel_plan_result_free(&pel_allocator_default, &r);
    }
    free(m);
}

/* A device that nobody measured is guessed from those that were, wherever these stand: sizes of its probe are the same beside
 * them and in a block of sixty-four others that nobody measured. Borrowed lines count in the same way, few observations not. */
static void guesses_come_from_all(void **state) {
    (void)state;
    machine *m = malloc(sizeof *m);
    uint64_t random = 12;
    for (uint64_t kin = 0; kin < 40; kin += 1 + kin) {
        uint64_t least = UINT64_MAX, most = 0;
        pel_plan_result r;
        make(m, 300, &random, true);
        m->request.units = 50000000;
        m->request.granularity = 1;
        for (uint32_t i = 0; i < 300; i++) {
            m->devices[i] = (pel_plan_device){.id = m->names[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
            if (i < 70) {
                m->devices[i].cost = (pel_cost){.start_ns = 1e4, .unit_ns = 1e3, .samples = 30, .largest_units = 1e4};
            }
            m->devices[i].cost.kin = (pel_line){.start_ns = 1e4, .unit_ns = 10.0, .samples = kin};
        }
        assert_int_equal(pel_planner_plan(&m->request, &r), PEL_OK);
        check(m, &r);
        assert_int_equal(r.slice_count, 300);
        for (uint32_t i = 70; i < 300; i++) {
            const uint64_t units = pel_plan_slices(&r)[i].hi - pel_plan_slices(&r)[i].lo;
            least = units < least ? units : least;
            most = units > most ? units : most;
        }
        assert_true(least >= most - 1);
        pel_plan_result_free(&pel_allocator_default, &r);
    }
    free(m);
}

static void shares_are_done_as_asked(void **state) {
    (void)state;
    machine *m = malloc(sizeof *m);
    uint64_t random = 3;
    uint32_t devices[3] = {70, 150, 10};
    double weights[3] = {1, 2, 1};
    pel_plan_result r;
    make(m, 200, &random, true);
    for (uint32_t i = 0; i < 200; i++) {
        m->devices[i].cores = NULL;
        m->devices[i].excluded = NULL;
        m->devices[i].unit_limit = UINT64_MAX;
    }
    m->request.units = 4000;
    m->request.granularity = 10;
    assert_int_equal(pel_planner_fixed(&m->request, devices, weights, 3, &r), PEL_OK);
    assert_int_equal(r.slice_count, 3);
    assert_true(pel_plan_slices(&r)[1].device == 150 && pel_plan_slices(&r)[1].lo == 1000 && pel_plan_slices(&r)[1].hi == 3000);
    pel_plan_result_free(&pel_allocator_default, &r);
    devices[2] = 70;
    assert_int_equal(pel_planner_fixed(&m->request, devices, weights, 3, &r), PEL_INVALID_ARGUMENT);
    pel_plan_result_free(&pel_allocator_default, &r);
    m->request.allocator = NULL;
    assert_int_equal(pel_planner_plan(&m->request, &r), PEL_INVALID_ARGUMENT);
    free(m);
}

/* An aim or a deadline changes nothing, and no plan is silent about that, whether it learns or decides. */
static void what_is_not_weighed_is_said(void **state) {
    static machine m;
    static pel_plan_result r;
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        uint64_t random = 1500 + i;
        const bool aims = i % 4 != 1, hurries = i % 4 != 0;
        make(&m, 100, &random, i < 20);
        m.request.objective = aims ? i % 8 < 4 ? PEL_AIM_ENERGY : PEL_AIM_ENERGY_DELAY : PEL_AIM_TIME;
        m.request.deadline_ns = hurries ? draw(&random, 1e4, 1e9) : 0.0;
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        check(&m, &r);
        assert_int_equal(strstr(r.reason, "energy is not weighed") != NULL, aims);
        assert_int_equal(strstr(r.reason, "deadlines are not weighed") != NULL, hurries);
        pel_plan_result_free(&pel_allocator_default, &r);
    }
}

/* So is that no tail is held back, where one of few devices might have got less for one. */
static void what_is_not_held_back_is_said(void **state) {
    static machine m;
    static pel_plan_result r;
    uint32_t divided = 0;
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        uint64_t random = 2500 + i;
        make(&m, 100, &random, true);
        m.request.objective = PEL_AIM_TIME;
        m.request.deadline_ns = 0.0;
        m.request.pieces = i % 2 == 0;
        m.request.frozen = i % 4 > 1;
        assert_int_equal(pel_planner_plan(&m.request, &r), PEL_OK);
        const bool expected = !r.exploring && r.slice_count > 1 && m.request.pieces && !m.request.frozen;
        assert_int_equal(strstr(r.reason, "no tail is held back") != NULL, expected);
        divided += expected;
        pel_plan_result_free(&pel_allocator_default, &r);
    }
    assert_true(divided > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_are_plans), cmocka_unit_test(the_level_is_the_waters),
                                       cmocka_unit_test(all_are_learned_at_once), cmocka_unit_test(guesses_come_from_all),
                                       cmocka_unit_test(shares_are_done_as_asked),
                                       cmocka_unit_test(what_is_not_weighed_is_said),
                                       cmocka_unit_test(what_is_not_held_back_is_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
