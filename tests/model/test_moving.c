/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What moving bytes costs a kernel on a device, c of t = a + b n + c bytes: learned from its own chunks, whatever its link
 * usually does. Devices, bytes and luck are drawn by seed.
 */
#include "model/model.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { SEEDS = 100, DEVICE = 9 };

static const pel_model_family family = {1, 2, 1.0};
static const pel_line usual = {.start_ns = 1e4, .unit_ns = 0.125};
static uint64_t random_state = 5;

static double between(double low, double high) { return low + (high - low) * test_uniform(&random_state); }
static double between_log(double low, double high) { return low * exp(test_uniform(&random_state) * log(high / low)); }

typedef struct truth {
    double start, unit, move_start, byte;
} truth;

static truth draw(void) {
    return (truth){between_log(2e4, 4e5), between(1.0, 16.0), between_log(1e3, 1e5), between_log(0.02, 2.0)};
}

/* A launch of one device. `bytes` 0: all was there. */
static void launch(pel_models *models, const pel_model_family *of, const truth *t, uint64_t device, double bytes) {
    const uint64_t units = (uint64_t)between_log(1e3, 1e6);
    const double luck = 0.9 + 0.2 * test_uniform(&random_state), spike = test_uniform(&random_state) < 0.03 ? 6.0 : 1.0;
    const pel_lesson_chunk chunk = {.device = device,
                                    .memory = DEVICE,
                                    .hi = units,
                                    .ns = (t->start + t->unit * (double)units) * luck,
                                    .bytes = bytes,
                                    .move_ns = bytes > 0.0 ? (t->move_start + t->byte * bytes) * luck * spike : 0.0};
    const pel_lesson lesson = {.family = *of, .units = units, .chunks = &chunk, .chunk_count = 1, .makespan_ns = chunk.ns};
    assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
}

static double off(const truth *t, pel_line line, double bytes) {
    return fabs((line.start_ns + line.unit_ns * bytes) / (t->move_start + t->byte * bytes) - 1.0);
}

/*
 * From a link that is up to 16 times faster or slower than this kernel's transfers are; launches whose bytes are there say
 * nothing and change nothing.
 */
static void is_learned(void **state) {
    (void)state;
    double worst = 0.0, sum = 0.0;
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        pel_models *models = pel_models_create(&pel_allocator_default);
        const truth t = draw();
        assert_true(pel_models_moving(models, &family, DEVICE, usual).unit_ns == usual.unit_ns);
        for (uint32_t i = 0; i < 40; i++) {
            launch(models, &family, &t, DEVICE, i % 3 == 2 ? 0.0 : between_log(1e4, 1e8));
        }
        const pel_line line = pel_models_moving(models, &family, DEVICE, usual);
        assert_true(line.samples >= 4);
        for (double bytes = 1e5; bytes < 1e8; bytes *= 10.0) {
            worst = fmax(worst, off(&t, line, bytes));
            sum += off(&t, line, bytes) / (3.0 * SEEDS);
        }
        const pel_cost cost = pel_models_cost(models, &family, DEVICE);
        assert_true(fabs(cost.alone.unit_ns / t.unit - 1.0) < 0.2); /* and b has nothing of it */
        pel_models_destroy(models);
    }
    printf("# moves predicted to %.1f %% on average, %.1f %% at worst\n", 100.0 * sum, 100.0 * worst);
    assert_true(sum < 0.04 && worst < 0.35);
}

/* Two chunks are no evidence, and neither are those of another kernel. */
static void needs_evidence_of_its_own(void **state) {
    (void)state;
    const pel_model_family other = {3, 4, 1.0};
    pel_models *models = pel_models_create(&pel_allocator_default);
    const truth t = draw();
    for (uint32_t i = 0; i < 10; i++) {
        launch(models, &other, &t, DEVICE, 1e6);
    }
    launch(models, &family, &t, DEVICE, 1e6);
    launch(models, &family, &t, DEVICE, 1e6);
    assert_true(pel_models_moving(models, &family, DEVICE, usual).unit_ns == usual.unit_ns);
    launch(models, &family, &t, DEVICE, 1e6);
    assert_true(pel_models_moving(models, &family, DEVICE, usual).unit_ns != usual.unit_ns);
    pel_models_destroy(models);
}

/*
 * Starts of transfers are none of kernels: what a new kernel's start is thought to be comes from the latter alone. And
 * work-groups of another size are a device of their own to the lines, but not to the link.
 */
static void belongs_to_the_link(void **state) {
    (void)state;
    const pel_model_family fresh = {7, 8, 1.0};
    pel_models *models = pel_models_create(&pel_allocator_default), *without = pel_models_create(&pel_allocator_default);
    truth t = draw();
    t.move_start = 1e7;
    for (uint32_t i = 0; i < 20; i++) {
        const uint64_t luck = random_state;
        const pel_model_family known = {10 + i % 2, 2, 1.0};
        launch(models, &known, &t, i % 2 == 0 ? DEVICE : DEVICE + 1, between_log(1e4, 1e7));
        random_state = luck;
        (void)between_log(1e4, 1e7);
        launch(without, &known, &t, i % 2 == 0 ? DEVICE : DEVICE + 1, 0.0);
    }
    const pel_model_family second = {11, 2, 1.0};
    assert_true(pel_models_moving(models, &second, DEVICE, usual).samples == 10);
    const uint64_t luck = random_state;
    launch(models, &fresh, &t, DEVICE, 0.0);
    random_state = luck;
    launch(without, &fresh, &t, DEVICE, 0.0);
    const pel_cost with = pel_models_cost(models, &fresh, DEVICE), never = pel_models_cost(without, &fresh, DEVICE);
    assert_true(with.alone.start_ns == never.alone.start_ns);
    pel_models_destroy(models);
    pel_models_destroy(without);
}

static void is_remembered(void **state) {
    (void)state;
    pel_models *models = pel_models_create(&pel_allocator_default), *other = pel_models_create(&pel_allocator_default);
    const truth t = draw();
    for (uint32_t i = 0; i < 12; i++) {
        launch(models, &family, &t, DEVICE, between_log(1e4, 1e8));
    }
    pel_model_state saved;
    uint32_t moves = 0;
    for (size_t cursor = 0; pel_models_next(models, &cursor, &saved);) {
        moves += saved.aspect == PEL_MODEL_MOVING;
        assert_int_equal(pel_models_restore(other, &saved), PEL_OK);
    }
    assert_int_equal(moves, 1);
    const pel_line mine = pel_models_moving(models, &family, DEVICE, usual);
    const pel_line its = pel_models_moving(other, &family, DEVICE, usual);
    assert_true(mine.start_ns == its.start_ns && mine.unit_ns == its.unit_ns && mine.samples == its.samples);
    pel_models_destroy(models);
    pel_models_destroy(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_learned), cmocka_unit_test(needs_evidence_of_its_own),
                                       cmocka_unit_test(belongs_to_the_link), cmocka_unit_test(is_remembered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
