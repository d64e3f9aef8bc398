/* SPDX-License-Identifier: BSD-3-Clause */
/* Models as numbers: what is written and read back predicts and learns as before; numbers that no model could hold are refused. */
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back_as_it_was), cmocka_unit_test(the_better_founded_stays),
                                       cmocka_unit_test(nonsense_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
