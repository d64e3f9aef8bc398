/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The density of irregular kernels: recovered from chunks, positive and normalised whatever comes in, and only made where it
 * explains something.
 */
#include "model/model.h"
#include "model/profile.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t random_state;

static double uniform(void) { return test_uniform(&random_state); }

static double normal(void) {
    return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform());
}

/* Work below x of a range whose first half costs a third of its second half. */
static double truth(double x) {
    return x < 0.5 ? 0.5 * x : 0.25 + 1.5 * (x - 0.5);
}

static void check(const pel_profile *profile) {
    double sum = 0.0;
    for (int i = 0; i < PEL_PROFILE_BINS; i++) {
        assert_true(profile->density[i] > 0.0 && isfinite(profile->density[i]));
        assert_true(profile->cumulative[i + 1] > profile->cumulative[i]);
        sum += profile->density[i];
    }
    assert_true(fabs(sum / PEL_PROFILE_BINS - 1.0) < 1e-9 && profile->cumulative[PEL_PROFILE_BINS] == 1.0);
    for (double x = 0.0; x <= 1.0; x += 0.01) { /* there and back */
        assert_true(fabs(pel_profile_place(profile->cumulative, pel_profile_work(profile->cumulative, x)) - x) < 1e-9);
    }
}

static void recovers_a_step(void **state) {
    (void)state;
    pel_profile profile;
    double worst = 0.0;
    random_state = 3;
    pel_profile_begin(&profile);
    check(&profile);
    for (int i = 0; i < 60; i++) {
        double lo = 0.8 * uniform(), hi = lo + 0.1 + (0.9 - lo) * uniform();
        double mean = (truth(hi) - truth(lo)) / (hi - lo);
        pel_profile_observe(&profile, lo, hi, mean * exp(0.05 * normal()), 0.05);
        check(&profile);
    }
    for (double x = 0.0; x <= 1.0; x += 0.05) {
        worst = fmax(worst, fabs(pel_profile_work(profile.cumulative, x) - truth(x)));
    }
    printf("# work below any place is known to %.3f of the whole\n", worst);
    assert_true(worst < 0.03);
}

static void survives_anything(void **state) {
    (void)state;
    const double odd[] = {0.0, -1.0, 1e-300, 1e300, INFINITY, -INFINITY, NAN, 0.5, 1.0, 2.0, 1e6, 0.999999};
    const size_t count = sizeof odd / sizeof odd[0];
    pel_profile profile;
    random_state = 4;
    pel_profile_begin(&profile);
    for (int i = 0; i < 20000; i++) {
        pel_profile_observe(&profile, odd[(size_t)(uniform() * (double)count)], odd[(size_t)(uniform() * (double)count)],
                            odd[(size_t)(uniform() * (double)count)], odd[(size_t)(uniform() * (double)count)]);
    }
    check(&profile);
}

/* Two devices, launches cut at wandering places. */
static const pel_record *run(pel_models *models, double drift, int launches) {
    static const pel_model_family family = {1, 2, 1.0};
    for (int i = 0; i < launches; i++) {
        uint64_t units = 100000, cut = (uint64_t)(30000.0 + 40000.0 * uniform());
        double edge = (double)cut / (double)units, left = edge, slower = i > 20 ? drift : 1.0;
        const pel_lesson_chunk chunks[] = {
            {.device = 1, .lo = 0, .hi = cut, .ns = (2e4 + 1e6 * left) * slower * exp(0.05 * normal())},
            {.device = 2, .lo = cut, .hi = units, .ns = (1e4 + 2e6 * (1.0 - left)) * exp(0.05 * normal())}};
        const pel_lesson lesson = {.family = family, .chunks = chunks, .chunk_count = 2, .makespan_ns = 1e6};
        assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
    }
    return pel_models_record(models, &family);
}

static void regular_kernels_get_none(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default);
        assert_non_null(models);
        random_state = 900 + seed;
        const pel_record *record = run(models, seed % 2 == 0 ? 1.0 : 2.5, 60);
        if (record->profile != NULL) {
            fail_msg("seed %d: a profile for a regular kernel", (int)(900 + seed));
        }
        pel_models_destroy(models);
    }
}

/* Whose user says that items differ gets a profile early; that a device becomes slower later is learned by its line. */
static void told_kernels_get_one_early(void **state) {
    (void)state;
    static const pel_model_family family = {1, 2, 1.0};
    int early = 0, right = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default);
        assert_non_null(models);
        random_state = 1900 + seed;
        for (int i = 0; i < 80; i++) {
            const uint64_t units = 100000;
            uint64_t cut = (uint64_t)(30000.0 + 40000.0 * uniform()), first = 1 + (uint64_t)(i % 2);
            double below = truth((double)cut / (double)units), slower = i >= 40 ? 2.5 : 1.0;
            const double speed[] = {0.0, 1e6 * slower, 2e6};
            double lower = (1e4 + speed[first] * below) * exp(0.05 * normal());
            double upper = (1e4 + speed[3 - first] * (1.0 - below)) * exp(0.05 * normal());
            const pel_lesson_chunk chunks[] = {{.device = first, .lo = 0, .hi = cut, .ns = lower},
                                               {.device = 3 - first, .lo = cut, .hi = units, .ns = upper}};
            const pel_lesson lesson = {
                .family = family, .chunks = chunks, .chunk_count = 2, .makespan_ns = 1e6, .irregular = true};
            assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
            early += i == 15 && pel_models_record(models, &family)->profile != NULL;
        }
        const pel_record *record = pel_models_record(models, &family);
        double slow = pel_models_cost(models, &family, 1).unit_ns * 1e5, fast = pel_models_cost(models, &family, 2).unit_ns * 1e5;
        right += record->profile != NULL && fabs(pel_profile_work(record->profile, 0.5) - 0.25) < 0.06 &&
                 fabs(slow / 2.5e6 - 1.0) < 0.2 && fabs(fast / 2e6 - 1.0) < 0.2;
        pel_models_destroy(models);
    }
    printf("# of 50 kernels %d had a profile after 16 launches, and %d the right one and right lines after a drift\n", early,
           right);
    assert_true(early >= 45 && right >= 38);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(recovers_a_step), cmocka_unit_test(survives_anything),
                                       cmocka_unit_test(regular_kernels_get_none),
                                       cmocka_unit_test(told_kernels_get_one_early)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
