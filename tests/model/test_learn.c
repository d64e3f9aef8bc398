/* SPDX-License-Identifier: BSD-3-Clause */
/* From launches to lines: company, kin, compilation, chunks that were given up, the account, and memory that runs out. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const pel_model_family family = {11, 3, 1.0};

static pel_models *new_models(void) {
    pel_models *models = pel_models_create(&pel_allocator_default);
    assert_non_null(models);
    return models;
}

static void learn(pel_models *models, const pel_model_family *of, const pel_lesson_chunk *chunks, uint32_t count,
                  double expected) {
    double makespan = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        makespan = fmax(makespan, chunks[i].ns);
    }
    pel_lesson lesson = {.family = *of, .chunks = chunks, .chunk_count = count, .makespan_ns = makespan, .expected_ns = expected};
    assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
}

static void alone(pel_models *models, const pel_model_family *of, uint64_t device, uint64_t units, double ns) {
    learn(models, of, &(pel_lesson_chunk){.device = device, .hi = units, .ns = ns}, 1, 0.0);
}

static void company_is_another_line(void **state) {
    (void)state;
    pel_models *models = new_models();
    for (uint64_t i = 0; i < 6; i++) {
        uint64_t n = 1000 + 300 * i;
        alone(models, &family, 1, n, 1e3 + 10.0 * (double)n);
        const pel_lesson_chunk both[] = {{.device = 1, .lo = 0, .hi = n, .ns = 2e3 + 20.0 * (double)n},
                                         {.device = 2, .lo = n, .hi = 2 * n, .ns = 5e3 + 5.0 * (double)n}};
        learn(models, &family, both, 2, 0.0);
    }
    pel_cost cost = pel_models_cost(models, &family, 1), other = pel_models_cost(models, &family, 2);
    assert_int_equal(cost.samples, 6);
    assert_int_equal(cost.alone.samples, 6);
    assert_true(fabs(cost.unit_ns / 20.0 - 1.0) < 0.05 && fabs(cost.alone.unit_ns / 10.0 - 1.0) < 0.05);
    assert_int_equal(other.samples, 6);
    assert_int_equal(other.alone.samples, 0);
    assert_int_equal(pel_models_cost(models, &family, 3).samples, 0);
    assert_int_equal(cost.last_launch, 12);
    pel_models_destroy(models);
}

/* A shape that is new borrows what the kernel's other shapes told, in items, until it has been seen itself. */
static void kin_stand_in(void **state) {
    (void)state;
    pel_models *models = new_models();
    const pel_model_family narrow = {11, 3, 100.0}, wide = {11, 4, 400.0}, stranger = {12, 4, 400.0};
    for (uint64_t i = 0; i < 6; i++) {
        alone(models, &narrow, 1, 50 + 10 * i, 1e3 + 2.0 * 100.0 * (double)(50 + 10 * i));
    }
    pel_cost cost = pel_models_cost(models, &wide, 1);
    assert_int_equal(cost.samples + cost.alone.samples, 0);
    assert_int_equal(cost.kin.samples, 6);
    assert_true(fabs(cost.kin.unit_ns / 800.0 - 1.0) < 0.1); /* 400 items of 2 ns */
    assert_int_equal(pel_models_cost(models, &stranger, 1).kin.samples, 0);
    alone(models, &wide, 1, 50, 5e4);
    alone(models, &wide, 1, 70, 7e4);
    assert_int_equal(pel_models_cost(models, &wide, 1).kin.samples, 0);
    pel_models_destroy(models);
}

/*
 * Compilation takes the cores of whoever runs beside it: neither is learned from; but who compiles for ever does not blind the
 * others.
 */
static void cold_launches_teach_nothing(void **state) {
    (void)state;
    pel_models *models = new_models();
    const pel_lesson_chunk chunks[] = {{.device = 1, .lo = 0, .hi = 100, .ns = 1e4},
                                       {.device = 2, .lo = 100, .hi = 200, .ns = 1e8, .cold = true}};
    learn(models, &family, chunks, 2, 0.0);
    assert_int_equal(pel_models_cost(models, &family, 1).samples, 0);
    assert_int_equal(pel_models_cost(models, &family, 2).samples, 0);
    assert_int_equal(pel_models_record(models, &family)->launches, 1);
    assert_true(pel_models_record(models, &family)->total_ns == 0.0);
    for (int i = 0; i < 8; i++) {
        learn(models, &family, chunks, 2, 0.0);
    }
    assert_true(pel_models_cost(models, &family, 1).samples >= 4);
    assert_int_equal(pel_models_cost(models, &family, 2).samples, 0);
    pel_models_destroy(models);
}

/* "It takes longer than that" is news only where less was expected. */
static void given_up_chunks_are_lower_bounds(void **state) {
    (void)state;
    pel_models *models = new_models();
    for (uint64_t i = 0; i < 10; i++) {
        alone(models, &family, 1, 1000 + 100 * i, 1e4 + 10.0 * (double)(1000 + 100 * i));
    }
    pel_cost before = pel_models_cost(models, &family, 1);
    pel_lesson_chunk chunk = {.device = 1, .hi = 1000, .ns = 1e4, .unfinished = true};
    learn(models, &family, &chunk, 1, 0.0);
    assert_true(pel_models_cost(models, &family, 1).alone.samples == before.alone.samples);
    chunk.ns = 1e6;
    for (int i = 0; i < 8; i++) {
        learn(models, &family, &chunk, 1, 0.0);
    }
    pel_cost after = pel_models_cost(models, &family, 1);
    assert_true(after.alone.start_ns + 1000.0 * after.alone.unit_ns > 3e5);
    pel_models_destroy(models);
}

static void the_account_adds_up(void **state) {
    (void)state;
    pel_models *models = new_models();
    assert_null(pel_models_record(models, &family));
    alone(models, &family, 1, 100, 1e6);
    const pel_lesson_chunk probe = {.device = 2, .hi = 100, .ns = 3e6};
    learn(models, &family, &probe, 1, 1e6); /* exploring, and slower than what was known */
    learn(models, &family, &(pel_lesson_chunk){.device = 2, .hi = 100, .ns = 5e5}, 1, 1e6); /* a lucky find earns nothing back */
    const pel_record *record = pel_models_record(models, &family);
    assert_int_equal(record->launches, 3);
    assert_true(fabs(record->total_ns - 4.5e6) < 1.0 && fabs(record->explored_ns - 2e6) < 1.0);
    for (uint64_t shape = 10; shape < 200; shape++) { /* the table of records grows */
        alone(models, &(pel_model_family){11, shape, 1.0}, 1, 100, 1e6);
    }
    assert_int_equal(pel_models_record(models, &family)->launches, 3);
    assert_int_equal(pel_models_record(models, &(pel_model_family){11, 150, 1.0})->launches, 1);
    pel_models_destroy(models);
}

static long left;

static void *scarce(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return left-- > 0 ? realloc(pointer, bytes) : NULL;
}

static void failed_allocations_lose_a_lesson_only(void **state) {
    (void)state;
    const pel_allocator allocator = {scarce, NULL};
    for (long limit = 1; limit < 12; limit++) {
        left = limit;
        pel_models *models = pel_models_create(&allocator);
        assert_non_null(models);
        uint32_t failed = 0;
        for (uint64_t shape = 1; shape < 60; shape++) {
            const pel_lesson_chunk chunk = {.device = 1, .hi = 100, .ns = 1e5};
            pel_lesson lesson = {.family = {5, shape, 1.0}, .chunks = &chunk, .chunk_count = 1, .makespan_ns = 1e5};
            pel_status status = pel_models_learn(models, &lesson);
            assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
            failed += status != PEL_OK;
            pel_cost cost = pel_models_cost(models, &lesson.family, 1);
            assert_true(cost.alone.samples <= 1 && (status != PEL_OK || cost.alone.samples == 1));
        }
        assert_true(limit > 8 || failed > 0);
        pel_models_destroy(models);
    }
}

static void rob(pel_models *models, uint64_t n, double slower, bool deprived, bool probe) {
    const pel_lesson_chunk both[] = {{.device = 1, .lo = 0, .hi = n, .ns = slower * 10.0 * (double)n},
                                     {.device = 2, .lo = n, .hi = 2 * n, .ns = 10.0 * (double)n}};
    const pel_lesson lesson = {.family = family,
                               .chunks = both,
                               .chunk_count = 2,
                               .makespan_ns = slower * 10.0 * (double)n,
                               .expected_ns = probe ? 9.0 * (double)n : 0.0,
                               .together_probe = probe,
                               .deprived = deprived};
    assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
}

/*
 * Launches that lost their cores to others say nothing about devices while they are the fewer; where they are the rule, the
 * devices are that slow. A trial that was spoilt so has cost nothing and shown nothing.
 */
static void thieves_are_not_learned_from(void **state) {
    (void)state;
    pel_models *models = new_models();
    for (uint64_t i = 0; i < 40; i++) {
        rob(models, 1000 + 50 * (i % 5), i % 3 == 1 ? 4.0 : 1.0, i % 3 == 1, false);
    }
    pel_cost calm = pel_models_cost(models, &family, 1);
    assert_int_equal(calm.samples, 27);
    assert_true(calm.start_ns + 1000.0 * calm.unit_ns < 10100.0);
    const double before = pel_models_record(models, &family)->explored_ns;
    rob(models, 1000, 4.0, true, true);
    assert_int_equal(pel_models_record(models, &family)->together_probes, 0);
    assert_true(pel_models_record(models, &family)->explored_ns <= before); /* exact: nothing was added */
    rob(models, 1000, 4.0, false, true);
    assert_int_equal(pel_models_record(models, &family)->together_probes, 1);
    assert_true(pel_models_record(models, &family)->explored_ns > before);
    for (uint64_t i = 0; i < 40; i++) {
        rob(models, 1000 + 50 * (i % 5), 4.0, true, false);
    }
    pel_cost robbed = pel_models_cost(models, &family, 1);
    assert_true(robbed.start_ns + 1000.0 * robbed.unit_ns > 30000.0);
    pel_models_destroy(models);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(company_is_another_line),     cmocka_unit_test(kin_stand_in),
        cmocka_unit_test(cold_launches_teach_nothing), cmocka_unit_test(given_up_chunks_are_lower_bounds),
        cmocka_unit_test(the_account_adds_up),         cmocka_unit_test(failed_allocations_lose_a_lesson_only),
        cmocka_unit_test(thieves_are_not_learned_from)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
