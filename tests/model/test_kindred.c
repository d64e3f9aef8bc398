/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pieces of a tail are counted in with the line of the chunks where both agree, and only there. Devices, sizes and luck are drawn
 * by seed.
 */
#include "model/table.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { SEEDS = 100, LAUNCHES = 60 };

static const pel_model_family family = {1, 2, 1.0};
static uint64_t random_state = 11;

static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }
static double between_log(double low, double high) { return low * exp(test_uniform(&random_state) * log(high / low)); }

typedef struct machine {
    double start, unit;
    double piece; /* factor of what a piece takes */
} machine;

static double time_of(const machine *m, double units) { return (m->start + m->unit * units) * between(0.85, 1.15); }

/* Two devices that are alike, and two pieces of a tail where that is asked for. */
static void launch(pel_models *models, const machine *m, uint64_t units, bool tailed) {
    const uint64_t part = tailed ? units / 16 : 0, cut = (units - 2 * part) / 2;
    pel_lesson_chunk chunks[4] = {{.device = 1, .lo = 0, .hi = cut}, {.device = 2, .lo = cut, .hi = units - 2 * part}};
    for (uint32_t i = 2; i < 4; i++) {
        const uint64_t lo = units - (4 - i) * part;
        chunks[i] = (pel_lesson_chunk){.device = i - 1, .lo = lo, .hi = lo + part, .piece = true};
    }
    for (uint32_t i = 0; i < 4; i++) {
        chunks[i].ns = time_of(m, (double)(chunks[i].hi - chunks[i].lo)) * (i > 1 ? m->piece : 1.0);
    }
    const pel_lesson lesson = {
        .family = family, .units = units, .chunks = chunks, .chunk_count = tailed ? 4 : 2, .makespan_ns = chunks[0].ns};
    assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
}

/* Mean error of the start cost after launches of sizes over two decades; pieces take `piece` times as long. */
static double error_of(double piece, bool tailed, uint64_t *samples) {
    double sum = 0.0;
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        const machine m = {between_log(2e4, 4e5), between(1.0, 16.0), piece};
        pel_models *models = pel_models_create(&pel_allocator_default);
        assert_non_null(models);
        for (uint32_t i = 0; i < LAUNCHES; i++) {
            launch(models, &m, (uint64_t)between_log(2e4, 2e6), tailed && i > 4);
        }
        const pel_cost cost = pel_models_cost(models, &family, 1);
        sum += fabs(cost.start_ns / m.start - 1.0) / SEEDS;
        *samples = cost.samples;
        pel_models_destroy(models);
    }
    return sum;
}

static void pieces_tell_the_start(void **state) {
    (void)state;
    uint64_t with, without;
    const double plain = error_of(1.0, false, &without), more = error_of(1.0, true, &with);
    printf("start costs are off by %.1f %% on average; with what pieces tell by %.1f %%\n", 100.0 * plain, 100.0 * more);
    assert_true(more < 0.5 * plain);
    assert_int_equal(with, without); /* the line itself has learned from its own chunks alone */
}

/* Pieces that take 1.5 times as long are another thing: their line says so, the other one is as it would be without them. */
static void dear_pieces_do_not(void **state) {
    (void)state;
    uint64_t samples;
    const double plain = error_of(1.0, false, &samples), dear = error_of(1.5, true, &samples);
    printf("dear pieces: start costs off by %.1f %%, without pieces by %.1f %%\n", 100.0 * dear, 100.0 * plain);
    assert_true(dear < 1.25 * plain);
    assert_int_equal(samples, LAUNCHES);
}

/* At one size, pieces say how start and slope share the time; that they are dearer does not change what a chunk takes. */
static void one_size_is_left_alone(void **state) {
    (void)state;
    const machine m = {1e5, 4.0, 1.3};
    pel_models *models = pel_models_create(&pel_allocator_default);
    assert_non_null(models);
    for (uint32_t i = 0; i < LAUNCHES; i++) {
        launch(models, &m, 400000, true);
    }
    const pel_cost cost = pel_models_cost(models, &family, 1);
    assert_int_equal(cost.samples, LAUNCHES);
    assert_int_equal(cost.piece.samples, LAUNCHES);
    const double units = 400000 * 7.0 / 16.0;
    assert_true(fabs((cost.start_ns + cost.unit_ns * units) / (m.start + m.unit * units) - 1.0) < 0.05);
    pel_models_destroy(models);
}

static double wild(double decades) { return exp(2.302585 * decades * between(-1.0, 1.0)); }

/* Any line that a history file may tell; `sums` > 0: all its sums are so large. */
static bool any_line(double decades, double sums, pel_fit *fit) {
    double values[64] = {3.0 + floor(between(0.0, 100.0))};
    for (uint32_t i = 1; i <= 14; i++) {
        values[i] = i == 8 ? 0.0 : wild(decades);
    }
    values[4] = values[3] * values[3] / values[2] * between(1.0, 2.0);
    for (uint32_t i = 2; i <= 6 && sums > 0.0; i++) {
        values[i] = sums;
    }
    const pel_fit empty = {.samples = 0};
    const uint32_t count = pel_fit_write(&empty, (double[64]){0.0}, 64);
    values[count - 2 * PEL_FIT_RECENT] = 1.0;
    values[count - 2 * PEL_FIT_RECENT + 1] = wild(fmin(decades, 90.0));
    return pel_fit_read(values, count, fit);
}

/* Whatever was read, numbers come out; what has no solution, because its squares overflow, is left as it was. */
static void wild_lines_stay_lines(void **state) {
    (void)state;
    uint32_t joined = 0, left = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        const bool overflows = i % 3 == 0;
        const double decades = overflows ? 1.0 : i % 3 == 1 ? 10.0 : 190.0, sums = overflows ? 1e160 : 0.0;
        pel_fit line, pieces;
        if (!any_line(decades, sums, &line) || !any_line(decades, sums, &pieces)) {
            continue;
        }
        pel_cost cost = pel_fit_cost(&line);
        const pel_cost own = cost, other = pel_fit_cost(&pieces);
        if (!isfinite(own.unit_ns) || !(own.unit_ns > 0.0)) {
            continue;
        }
        pel_kindred_join(&line, &pieces, &other, &cost);
        assert_true(isfinite(cost.start_ns) && cost.start_ns >= 0.0 && isfinite(cost.unit_ns) && cost.unit_ns > 0.0);
        const bool same = cost.start_ns == own.start_ns && cost.unit_ns == own.unit_ns;
        assert_true(same || !overflows);
        joined += !same;
        left += overflows;
    }
    printf("%u of any lines were joined, %u could not be\n", joined, left);
    assert_true(joined > 1000 && left > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_tell_the_start), cmocka_unit_test(dear_pieces_do_not),
                                       cmocka_unit_test(one_size_is_left_alone), cmocka_unit_test(wild_lines_stay_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
