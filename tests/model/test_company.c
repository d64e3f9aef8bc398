/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What company costs: learned where the number of companions changes, without effect where it does not, and never mixed up with
 * the speed of the device.
 */
#include "model/history.h"
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

static const pel_model_family family = {1, 2, 1.0};

/* One launch on so many devices, each slowed down by `each` a companion. */
static void launch(pel_models *models, uint32_t devices, double each, double noise) {
    pel_lesson_chunk chunks[8];
    uint64_t at = 0;
    for (uint32_t i = 0; i < devices; i++) {
        uint64_t units = 10000 + (uint64_t)(4000.0 * uniform());
        double ns = (2e4 + 100.0 * (double)units) * (1.0 + each * (devices - 1.0)) * exp(noise * normal());
        chunks[i] = (pel_lesson_chunk){.device = 1 + i, .lo = at, .hi = at + units, .ns = ns};
        at += units;
    }
    const pel_lesson lesson = {.family = family, .units = at, .chunks = chunks, .chunk_count = devices, .makespan_ns = 1e6};
    assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
}

static pel_models *fresh(uint64_t seed) {
    pel_models *models = pel_models_create(&pel_allocator_default);
    assert_non_null(models);
    random_state = seed;
    return models;
}

static double predicted(const pel_models *models, double companions) {
    pel_cost cost = pel_models_cost(models, &family, 1);
    return (cost.start_ns + cost.unit_ns * 12000.0) * exp(cost.company * (companions - cost.companions));
}

static void same_company_tells_nothing(void **state) {
    (void)state;
    pel_models *models = fresh(1);
    for (int i = 0; i < 100; i++) {
        launch(models, 4, 0.1, 0.1);
    }
    pel_cost cost = pel_models_cost(models, &family, 1);
    assert_true(cost.companions == 3.0 && cost.company == 0.0 && cost.company_error > 0.04);
    pel_models_destroy(models);
}

static void other_company_tells(void **state) {
    (void)state;
    double off = 0.0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        double each = 0.15 * (double)(seed % 4) / 3.0;
        pel_models *models = fresh(100 + seed);
        for (int i = 0; i < 80; i++) {
            launch(models, i % 8 == 7 ? 2 : 4, each, 0.1);
        }
        off += fabs(predicted(models, 1.0) / (1.22e6 * (1.0 + each)) - 1.0) / 50.0;
        pel_models_destroy(models);
    }
    printf("# beside one instead of three: off by %.3f on average\n", off);
    assert_true(off < 0.06);
}

/* Whatever the company that it ends in, the line moves there and predictions for it are right. */
static void moves_to_its_company(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        pel_models *models = fresh(200 + seed);
        for (int i = 0; i < 120; i++) {
            launch(models, i < 40 ? 4 : 2, 0.12, 0.05);
        }
        pel_cost cost = pel_models_cost(models, &family, 1);
        if (fabs(cost.companions - 1.0) > 0.1 || fabs(predicted(models, 1.0) / (1.22e6 * 1.12) - 1.0) > 0.08) {
            fail_msg("seed %d: %.3f companions, off by %.3f", (int)(200 + seed), cost.companions,
                     predicted(models, 1.0) / (1.22e6 * 1.12) - 1.0);
        }
        pel_models_destroy(models);
    }
}

/* The history keeps lines with the company that they hold in and what it costs: neither is forgotten, and both are learned on. */
static void learns_after_a_history(void **state) {
    (void)state;
    double off = 0.0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        pel_models *before = fresh(400 + seed), *models = pel_models_create(&pel_allocator_default);
        size_t cursor = 0;
        pel_model_state kept;
        for (int i = 0; i < 40; i++) {
            launch(before, 4, 0.12, 0.05);
        }
        while (pel_models_next(before, &cursor, &kept)) {
            assert_int_equal(pel_models_restore(models, &kept), PEL_OK);
        }
        for (int i = 0; i < 20; i++) {
            launch(models, 4, 0.12, 0.05);
        }
        assert_true(pel_models_cost(models, &family, 1).companions == 3.0);
        for (int i = 0; i < 40; i++) {
            launch(models, i % 4 == 3 ? 2 : 4, 0.12, 0.05);
        }
        off += fabs(predicted(models, 1.0) / (1.22e6 * 1.12) - 1.0) / 50.0;
        pel_models_destroy(before);
        pel_models_destroy(models);
    }
    printf("# after a history, beside one instead of three: off by %.3f on average\n", off);
    assert_true(off < 0.04); /* with nothing of company kept: 0.05 */
}

static void stays_sane_on_anything(void **state) {
    (void)state;
    const double odd[] = {1e-12, 1e-3, 1.0, 1e3, 1e9, 1e17, INFINITY, NAN, -1.0, 0.0};
    pel_models *models = fresh(300);
    for (int i = 0; i < 20000; i++) {
        pel_lesson_chunk chunks[4];
        uint32_t devices = 1 + (uint32_t)(4.0 * uniform());
        for (uint32_t k = 0; k < devices; k++) {
            uint64_t width = (uint64_t)pow(10.0, 12.0 * uniform());
            chunks[k] = (pel_lesson_chunk){.device = 1 + k, .hi = width, .ns = odd[(size_t)(10.0 * uniform())]};
        }
        const pel_lesson lesson = {.family = family, .chunks = chunks, .chunk_count = devices, .makespan_ns = 1.0};
        (void)pel_models_learn(models, &lesson);
        pel_cost cost = pel_models_cost(models, &family, 1);
        assert_true(isfinite(cost.company) && fabs(cost.company) <= 0.71 && isfinite(cost.companions) && cost.companions >= 0.0);
        assert_true(isfinite(cost.start_ns) && isfinite(cost.unit_ns) && cost.start_ns >= 0.0 && isfinite(cost.company_error));
    }
    pel_models_destroy(models);
}

/* One launch alone tells what company costs, and an accident there tells nothing. */
static void one_launch_alone_tells(void **state) {
    (void)state;
    double off = 0.0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        const double each = 0.15 * (double)(seed % 4) / 3.0;
        pel_models *models = fresh(600 + seed);
        for (int i = 0; i < 20; i++) {
            launch(models, i == 3 ? 1 : 4, each, 0.05);
        }
        const pel_cost cost = pel_models_cost(models, &family, 1);
        assert_true(cost.company_error < 0.7 * PEL_COMPANY_PRIOR);
        off += fabs(cost.company - log(1.0 + 3.0 * each) / 3.0) / 50.0;
        pel_models_destroy(models);
        models = fresh(600 + seed);
        const pel_lesson_chunk late = {.device = 1, .lo = 0, .hi = 12000, .ns = 8e6};
        const pel_lesson accident = {.family = family, .units = 12000, .chunks = &late, .chunk_count = 1, .makespan_ns = 8e6};
        assert_int_equal(pel_models_learn(models, &accident), PEL_OK);
        for (int i = 0; i < 20; i++) {
            launch(models, 4, each, 0.05);
        }
        const pel_cost unmoved = pel_models_cost(models, &family, 1);
        assert_true(unmoved.company == 0.0 && unmoved.company_error > 0.04);
        pel_models_destroy(models);
    }
    printf("# after one launch alone: what a companion costs is off by %.3f on average\n", off);
    assert_true(off < 0.02);
}

static void unnamed(void *user, pel_history_entry *entry) { (void)user, (void)entry; }

/* What another process would begin with. */
static pel_models *next_process(pel_history *history, pel_models *models, uint64_t now) {
    pel_models *next = fresh(now);
    uint32_t skipped;
    bool changed;
    assert_int_equal(pel_history_take(history, models, now, unnamed, NULL, &changed), PEL_OK);
    assert_int_equal(pel_history_give(history, next, &skipped), PEL_OK);
    assert_true(changed && skipped == 0);
    pel_models_destroy(models);
    return next;
}

/*
 * Devices become three times slower, and one launch alone has shown it: the history holds that, and not what was seen alone
 * before, which it still knows from more observations. Without that launch the next process knows that it knows nothing.
 */
static void is_out_of_date_in_the_history_too(void **state) {
    (void)state;
    for (uint32_t again = 0; again < 2; again++) {
        pel_history history = {.allocator = &pel_allocator_default};
        pel_models *models = fresh(7);
        double alone = 0.0;
        for (int i = 0; i < 40; i++) {
            launch(models, i % 4 == 0 ? 1 : 2, 0.1, 0.02);
        }
        alone = pel_models_cost(models, &family, 1).alone.unit_ns;
        models = next_process(&history, models, 1);
        assert_true(pel_models_cost(models, &family, 1).alone.unit_ns == alone);
        for (int i = 0; i < 20 && !pel_models_cost(models, &family, 1).outdated; i++) {
            launch(models, 2, 2.3, 0.02); /* 1 + 2.3 = 3 x 1.1 */
        }
        assert_true(pel_models_cost(models, &family, 1).outdated);
        if (again == 1) {
            const pel_lesson_chunk chunk = {.device = 1, .hi = 12000, .ns = 3.0 * 1.22e6};
            const pel_lesson lesson = {.family = family, .units = 12000, .chunks = &chunk, .chunk_count = 1, .makespan_ns = 1e6};
            assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
        }
        models = next_process(&history, models, 2);
        const pel_cost cost = pel_models_cost(models, &family, 1);
        pel_model_state kept;
        pel_cost read;
        bool outdated = false;
        for (size_t cursor = 0; pel_models_next(models, &cursor, &kept);) {
            assert_true(pel_model_state_cost(&kept, &read) && read.outdated == (read.samples == 0));
            outdated = outdated || (read.outdated && kept.key.device == 1);
        }
        assert_true(cost.outdated == (again == 0) && outdated == (again == 0));
        assert_true(cost.alone.samples == again && (again == 0 || cost.alone.unit_ns > 2.0 * alone));
        assert_true(isfinite(cost.company) && cost.company_error > 0.0);
        pel_history_free(&history);
        pel_models_destroy(models);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_company_tells_nothing), cmocka_unit_test(other_company_tells),
                                       cmocka_unit_test(one_launch_alone_tells), cmocka_unit_test(moves_to_its_company),
                                       cmocka_unit_test(learns_after_a_history),
                                       cmocka_unit_test(is_out_of_date_in_the_history_too),
                                       cmocka_unit_test(stays_sane_on_anything)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
