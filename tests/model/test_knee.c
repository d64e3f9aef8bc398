/* SPDX-License-Identifier: BSD-3-Clause */
/* The knee of wide devices: found where there is one, and nowhere else; kept, moved and forgotten with its line. */
#include "model/knee.h"
#include "model/model.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { SEEDS = 300, LAUNCHES = 96 };

static const pel_model_key key = {1, 2};
static uint64_t random_state = 21;

static double uniform(void) { return test_uniform(&random_state); }
static double between_log(double low, double high) { return low * exp(uniform() * log(high / low)); }

typedef struct truth {
    double start, unit, knee;
} truth;

static double time_of(const truth *t, double n) { return t->start + t->unit * fmax(n, t->knee); }

static double told(const pel_cost *cost, double n) { return cost->start_ns + cost->unit_ns * pel_cost_counted(cost, n); }

static void teach_between(pel_models *models, const truth *t, uint32_t count, double least, double most) {
    for (uint32_t i = 0; i < count; i++) {
        const double n = floor(between_log(least, most));
        const double normal = sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform());
        const double ns = time_of(t, n) * exp(0.1 * normal) * (uniform() < 0.02 ? 3.0 + 7.0 * uniform() : 1.0);
        assert_int_equal(pel_models_observe(models, key, n, ns), PEL_OK);
    }
}

static void teach(pel_models *models, const truth *t, uint32_t count) { teach_between(models, t, count, 1e4, 1e7); }

/* Mean relative error of what is predicted, over sizes. */
static double off(const pel_cost *cost, const truth *t) {
    double sum = 0.0;
    int count = 0;
    for (double n = 1e4; n < 1.1e7; n *= 2.0, count++) {
        sum += fabs(told(cost, n) / time_of(t, n) - 1.0);
    }
    return sum / count;
}

static void is_found(void **state) {
    (void)state;
    double bent = 0.0, straight = 0.0;
    uint32_t found = 0;
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default);
        const truth t = {between_log(1e4, 1e5), between_log(1.0, 16.0), between_log(2e5, 2e6)};
        teach(models, &t, LAUNCHES);
        pel_cost cost = pel_models_predict(models, key);
        found += cost.knee_units > 0.5 * t.knee && cost.knee_units < 2.0 * t.knee;
        bent += off(&cost, &t) / SEEDS;
        cost.knee_units = 0.0; /* the same line without its knee is what small shares would be promised */
        straight += off(&cost, &t) / SEEDS;
        pel_models_destroy(models);
    }
    printf("# found in %u of %u, off by %.1f %% (without it %.0f %%)\n", found, SEEDS, 100.0 * bent, 100.0 * straight);
    assert_true(found >= SEEDS - SEEDS / 10 && bent < 0.08);
}

static void is_not_invented(void **state) {
    (void)state;
    uint32_t invented = 0;
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default);
        const truth t = {between_log(2e4, 4e5), between_log(1.0, 16.0), 0.0};
        teach(models, &t, LAUNCHES);
        invented += pel_models_predict(models, key).knee_units > 0.0;
        pel_models_destroy(models);
    }
    printf("# invented in %u of %u straight lines\n", invented, SEEDS);
    assert_true(invented <= SEEDS / 50);
}

/* Late chunks of one octave (its first, an accident; or all of them, a slow spell) bend no straight line. */
static void one_octave_shows_none(void **state) {
    (void)state;
    static const double lateness[] = {1.5, 2.0, 3.0, 5.0, 8.0};
    uint32_t bent = 0, cases = 0;
    for (uint32_t i = 0; i < 5u * 10u * 12u * 2u; i++, cases++) {
        const uint32_t spoilt = i / 5u % 10u, chunks = 4u + i / 50u % 12u, last = i / 600u == 0 ? 1u : chunks;
        pel_knee knee = {.size = 0.0};
        bool found = false;
        for (uint32_t chunk = 0; chunk < chunks; chunk++) {
            for (uint32_t octave = 0; octave < 10u; octave++) {
                const double n = 1.1 * (double)(1u << octave), late = octave == spoilt && chunk < last ? lateness[i % 5u] : 1.0;
                pel_knee_see(&knee, n, (0.05 + n) * (chunk % 2u == 0 ? 1.05 : 0.95) * late);
            }
            found = pel_knee_find(&knee) || found;
        }
        bent += found;
    }
    printf("# bent in %u of %u\n", bent, cases);
    assert_int_equal(bent, 0);
}

/* A machine that became slower keeps its knee; a line that is told to be slower (company) bends where it did. */
static void survives_a_change(void **state) {
    (void)state;
    double sum = 0.0;
    for (uint32_t seed = 0; seed < 60; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default);
        truth t = {between_log(1e4, 1e5), between_log(1.0, 16.0), between_log(2e5, 2e6)};
        teach(models, &t, LAUNCHES);
        t.start *= 2.5;
        t.unit *= 2.5;
        teach(models, &t, LAUNCHES);
        const pel_cost cost = pel_models_predict(models, key);
        sum += off(&cost, &t) / 60.0;
        pel_models_destroy(models);
    }
    printf("# after a change off by %.1f %%\n", 100.0 * sum);
    assert_true(sum < 0.12);
}

static void is_remembered(void **state) {
    (void)state;
    pel_models *models = pel_models_create(&pel_allocator_default), *other = pel_models_create(&pel_allocator_default);
    const truth t = {5e4, 4.0, 5e5};
    teach(models, &t, LAUNCHES);
    pel_model_state saved;
    size_t cursor = 0;
    assert_true(pel_models_next(models, &cursor, &saved));
    assert_int_equal(pel_models_restore(other, &saved), PEL_OK);
    pel_cost mine = pel_models_predict(models, key), its = pel_models_predict(other, key), read;
    assert_true(mine.knee_units > 0.0 && mine.knee_units == its.knee_units);
    assert_true(pel_model_state_cost(&saved, &read) && read.knee_units == mine.knee_units);
    teach(other, &t, 3); /* what says nothing of the knee leaves it */
    assert_true(pel_models_predict(other, key).knee_units == mine.knee_units);
    teach_between(other, &t, LAUNCHES, 8e5, 8e7); /* so do other sizes, in this process and in the next */
    its = pel_models_predict(other, key);
    assert_true(its.knee_units > 0.5 * t.knee && its.knee_units < 2.0 * t.knee && off(&its, &t) < 0.15);
    pel_models_destroy(models);
    pel_models_destroy(other);
}

/* A device that computes alone at one size only, and often, says nothing against the knee that its shares have shown. */
static void is_kept_beside(void **state) {
    (void)state;
    pel_models *models = pel_models_create(&pel_allocator_default);
    const truth t = {5e4, 4.0, 5e5};
    for (uint32_t i = 0; i < 4 * LAUNCHES; i++) {
        const bool alone = i % 4 != 0;
        const uint64_t n = alone ? 20000000 : (uint64_t)between_log(1e4, 1e7);
        const pel_lesson_chunk chunks[] = {
            {.device = 2, .hi = n, .ns = time_of(&t, (double)n) * (0.95 + 0.1 * uniform())},
            {.device = 3, .lo = n, .hi = 20000000, .ns = (double)(20000000 - n) * (0.95 + 0.1 * uniform())}};
        const pel_lesson lesson = {.family = {.kernel = 1}, .units = 20000000, .chunks = chunks, .chunk_count = alone ? 1 : 2};
        assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
    }
    const pel_cost cost = pel_models_cost(models, &(pel_model_family){.kernel = 1}, 2);
    assert_true(cost.alone.samples > cost.samples && cost.samples > 0);
    assert_true(cost.knee_units > 0.5 * t.knee && cost.knee_units < 2.0 * t.knee);
    pel_models_destroy(models);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_found),          cmocka_unit_test(is_not_invented),
                                       cmocka_unit_test(one_octave_shows_none), cmocka_unit_test(survives_a_change),
                                       cmocka_unit_test(is_remembered),     cmocka_unit_test(is_kept_beside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
