/* SPDX-License-Identifier: BSD-3-Clause */
/* Models as numbers: what is written and read back predicts and learns as before; numbers that no model could hold are
 * refused. */
#include "model/model.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state = 77;

static double uniform(void) { return test_uniform(&random_state); }

static void teach(pel_models *models, pel_model_key key, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        double n = floor(1000.0 * (1.0 + 9.0 * uniform()));
        double ns = (20000.0 + 15.0 * n) * (0.9 + 0.2 * uniform()) * (uniform() < 0.05 ? 6.0 : 1.0);
        assert_int_equal(pel_models_observe(models, key, n, ns), PEL_OK);
    }
}

static void same_cost(pel_cost a, pel_cost b) {
    assert_true(a.start_ns == b.start_ns && a.unit_ns == b.unit_ns && a.deviation == b.deviation && a.samples == b.samples &&
                a.largest_units == b.largest_units);
}

static void comes_back_as_it_was(void **state) {
    (void)state;
    for (uint32_t count = 1; count < 40; count++) {
        const pel_model_key key = {count, 2};
        pel_models *first = pel_models_create(&pel_allocator_default), *second = pel_models_create(&pel_allocator_default);
        teach(first, key, count);
        pel_model_state saved;
        size_t cursor = 0;
        assert_true(pel_models_next(first, &cursor, &saved));
        assert_true(saved.key.kernel == count && saved.key.device == 2 && saved.samples > 0 && saved.count > 0);
        assert_int_equal(pel_models_restore(second, &saved), PEL_OK);
        pel_cost alone;
        assert_true(pel_model_state_cost(&saved, &alone));
        same_cost(pel_models_predict(first, key), pel_models_predict(second, key));
        same_cost(pel_models_predict(first, key), alone);
        uint64_t luck = random_state;
        teach(first, key, 20);
        random_state = luck;
        teach(second, key, 20);
        same_cost(pel_models_predict(first, key), pel_models_predict(second, key));
        assert_false(pel_models_next(first, &cursor, &saved));
        pel_models_destroy(first);
        pel_models_destroy(second);
    }
}

static void the_better_founded_stays(void **state) {
    (void)state;
    const pel_model_key key = {1, 2};
    pel_models *models = pel_models_create(&pel_allocator_default), *other = pel_models_create(&pel_allocator_default);
    teach(models, key, 30);
    teach(other, key, 5);
    pel_cost known = pel_models_predict(models, key);
    pel_model_state young;
    size_t cursor = 0;
    assert_true(pel_models_next(other, &cursor, &young));
    assert_int_equal(pel_models_restore(models, &young), PEL_OK);
    same_cost(known, pel_models_predict(models, key));
    pel_models_destroy(models);
    pel_models_destroy(other);
}

/* Whatever a file holds: refused, or a model that predicts and learns finite numbers. */
static void nonsense_is_refused(void **state) {
    (void)state;
    static const double wild[] = {0.0, -1.0, 1.0, NAN, INFINITY, -INFINITY, 1e300, 1e-300, 5e-324, 9e15, 1e16, -0.0};
    const pel_model_key key = {1, 2};
    pel_models *teacher = pel_models_create(&pel_allocator_default);
    teach(teacher, key, 12);
    pel_model_state good;
    size_t cursor = 0;
    assert_true(pel_models_next(teacher, &cursor, &good));
    uint32_t refused = 0, taken = 0;
    for (uint32_t trial = 0; trial < 20000; trial++) {
        pel_model_state bad = good;
        for (uint32_t change = 0; change < 1 + trial % 3; change++) {
            bad.values[(uint32_t)(uniform() * bad.count)] = wild[(uint32_t)(uniform() * sizeof wild / sizeof *wild)];
        }
        bad.count = trial % 100 == 0 ? (uint32_t)(uniform() * PEL_MODEL_STATE_LIMIT) : bad.count;
        pel_models *models = pel_models_create(&pel_allocator_default);
        if (pel_models_restore(models, &bad) == PEL_OK) {
            taken++;
            for (int i = 0; i < 12; i++) {
                pel_cost cost = pel_models_predict(models, key);
                assert_true(isfinite(cost.start_ns) && cost.start_ns >= 0.0 && isfinite(cost.unit_ns) && cost.unit_ns > 0.0);
                assert_true(isfinite(cost.deviation) && cost.samples > 0);
                teach(models, key, 1);
            }
        } else {
            refused++;
            assert_true(pel_models_predict(models, key).samples == 0);
        }
        pel_models_destroy(models);
    }
    printf("# %u refused, %u taken\n", refused, taken);
    assert_true(refused > 0 && taken > 0);
    pel_models_destroy(teacher);
}

/*
 * Launches of all sizes and then many of one: directional forgetting must leave sums that a model can have. One in five of such
 * models could not be read back, and its device began anew.
 */
static void what_was_learned_can_be_read_back(void **state) {
    (void)state;
    const pel_model_key key = {1, 2};
    for (uint32_t seed = 0; seed < 100; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default), *other = pel_models_create(&pel_allocator_default);
        double start = 1e3 * exp(7.0 * uniform());
        for (uint32_t i = 0; i < 160; i++) {
            double n = floor(100.0 * (i < 12 ? exp(7.0 * uniform()) : 900.0 + 50.0 * uniform()));
            double ns = (start + 10.0 * n) * (0.8 + 0.4 * uniform()) * (uniform() < 0.02 ? 5.0 : 1.0);
            assert_int_equal(pel_models_observe(models, key, n, ns), PEL_OK);
            pel_model_state saved;
            size_t cursor = 0;
            assert_true(pel_models_next(models, &cursor, &saved));
            assert_int_equal(pel_models_restore(other, &saved), PEL_OK);
        }
        pel_models_destroy(models);
        pel_models_destroy(other);
    }
}

/* Launches of an irregular kernel, twice as dense at one end as at the other, in the order of the devices. */
static void launch_irregular(pel_models *models, const pel_model_family *family, uint32_t turn) {
    const uint64_t edge = 400 + 40 * (turn % 6), units = 1000;
    pel_lesson_chunk chunks[2];
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t lo = i == 0 ? 0 : edge, hi = i == 0 ? edge : units;
        double from = (double)lo / 1000.0, to = (double)hi / 1000.0,
               work = 1000.0 * ((to - from) * 0.2 + 1.6 * 0.5 * (to * to - from * from));
        uint64_t device = turn % 2 == 0 ? i : 1 - i;
        chunks[i] = (pel_lesson_chunk){.device = device + 1,
                                       .lo = lo,
                                       .hi = hi,
                                       .ns = (2e4 + 1e3 * (double)(device + 1) * work) * (0.97 + 0.06 * uniform())};
    }
    const pel_lesson lesson = {
        .family = *family, .units = units, .chunks = chunks, .chunk_count = 2, .makespan_ns = 5e5, .irregular = true};
    assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
}

/* Lines of an irregular kernel are over work: they come back with the profile that says what work is, or they mislead. */
static void profiles_come_back(void **state) {
    (void)state;
    const pel_model_family family = {5, 6, 1.0};
    pel_models *models = pel_models_create(&pel_allocator_default), *other = pel_models_create(&pel_allocator_default);
    for (uint32_t i = 0; i < 40; i++) {
        launch_irregular(models, &family, i);
    }
    const pel_record *taught = pel_models_record(models, &family);
    assert_non_null(taught);
    assert_non_null(taught->profile);
    pel_model_state saved;
    uint32_t profiles = 0;
    for (size_t cursor = 0; pel_models_next(models, &cursor, &saved);) {
        double density[PEL_MODEL_PROFILE_BINS];
        pel_cost cost;
        assert_true(pel_model_state_cost(&saved, &cost) != pel_model_state_profile(&saved, density));
        profiles += saved.aspect == PEL_MODEL_PROFILE;
        assert_int_equal(pel_models_restore(other, &saved), PEL_OK);
        assert_int_equal(pel_models_restore(other, &saved), PEL_OK); /* twice is once */
        if (saved.aspect == PEL_MODEL_PROFILE) {
            assert_true(saved.kernel == family.kernel && density[PEL_MODEL_PROFILE_BINS - 1] > 1.5 * density[0]);
            for (uint32_t i = 0; i < saved.count; i++) { /* nonsense is refused, and what was there stays */
                pel_model_state bad = saved;
                bad.values[i] = i % 2 == 0 ? NAN : -1.0;
                assert_int_equal(pel_models_restore(other, &bad), PEL_INVALID_ARGUMENT);
            }
            saved.count--;
            assert_int_equal(pel_models_restore(other, &saved), PEL_INVALID_ARGUMENT);
        }
    }
    assert_int_equal(profiles, 1);
    const pel_record *back = pel_models_record(other, &family);
    assert_non_null(back);
    assert_non_null(back->profile);
    assert_int_equal(back->launches, 0);
    for (uint32_t i = 0; i <= PEL_MODEL_PROFILE_BINS; i++) {
        assert_true(fabs(back->profile[i] - taught->profile[i]) < 1e-9);
    }
    for (uint32_t i = 0; i < 40; i++) { /* it goes on learning; who has learned does not listen to the file any more */
        launch_irregular(other, &family, i);
    }
    back = pel_models_record(other, &family);
    const double before = back->profile[PEL_MODEL_PROFILE_BINS / 2];
    assert_true(fabs(before - 0.3) < 0.06); /* 0.5 x 0.2 + 0.8 x 0.25 */
    for (size_t cursor = 0; pel_models_next(models, &cursor, &saved);) {
        assert_int_equal(pel_models_restore(other, &saved), PEL_OK);
    }
    assert_true(pel_models_record(other, &family)->profile[PEL_MODEL_PROFILE_BINS / 2] == before);
    pel_models_destroy(models);
    pel_models_destroy(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_learned_can_be_read_back), cmocka_unit_test(profiles_come_back),
                                       cmocka_unit_test(comes_back_as_it_was), cmocka_unit_test(the_better_founded_stays),
                                       cmocka_unit_test(nonsense_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
