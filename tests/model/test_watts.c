/* SPDX-License-Identifier: BSD-3-Clause */
/* Watts told by a meter that devices share: told apart once windows differ, not before; and kept. */
#include "model/watts.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define IDLE 12.0

static const double extra[2] = {40.0, 25.0};

static void window(pel_watts *watts, double seconds, double first, double second, double noise) {
    const double busy[2] = {first * seconds, second * seconds};
    pel_watts_observe(watts, seconds, seconds * (IDLE + extra[0] * first + extra[1] * second) * (1.0 + noise), busy);
}

static void near(double value, double wanted, double part) {
    assert_true(fabs(value - wanted) <= part * wanted);
}

/* Windows of any mixture, with noise of 3 %: all three numbers come out, and the idle power is counted once. */
static void test_mixtures(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        pel_watts watts;
        pel_watts_begin(&watts, 2);
        for (int i = 0; i < 60; i++) {
            const double first = test_uniform(&random), second = test_uniform(&random) * (1.0 - first);
            window(&watts, 0.02 + test_uniform(&random), first, second, 0.03 * (2.0 * test_uniform(&random) - 1.0));
        }
        const pel_model_watts a = pel_watts_of(&watts, 0), b = pel_watts_of(&watts, 1);
        assert_true(a.known && b.known);
        near(a.idle_watts + b.idle_watts, IDLE, 0.15);
        near(a.busy_watts - a.idle_watts, extra[0], 0.1);
        near(b.busy_watts - b.idle_watts, extra[1], 0.15);
    }
}

/* Always busy: what is its own and what is the machine's cannot be told. One pause tells. */
static void test_pauses_tell(void **state) {
    (void)state;
    pel_watts watts;
    pel_watts_begin(&watts, 2);
    for (int i = 0; i < 100; i++) {
        window(&watts, 0.02, 1.0, 0.0, 0.0);
    }
    assert_false(pel_watts_of(&watts, 0).known);
    window(&watts, 0.05, 0.0, 0.0, 0.0);
    assert_true(pel_watts_of(&watts, 0).known);
    near(pel_watts_of(&watts, 0).busy_watts, IDLE / 2 + extra[0], 0.05);
    assert_false(pel_watts_of(&watts, 1).known); /* it has never computed */
}

static void test_nonsense_is_ignored(void **state) {
    (void)state;
    pel_watts watts;
    const double busy[2] = {0.0, 0.0}, much[2] = {1e9, -5.0};
    pel_watts_begin(&watts, 2);
    pel_watts_observe(&watts, 0.0, 1.0, busy);
    pel_watts_observe(&watts, 1.0, -1.0, busy);
    pel_watts_observe(&watts, 1.0, (double)NAN, busy);
    pel_watts_observe(&watts, 1.0, (double)INFINITY, busy);
    assert_int_equal(watts.windows, 0);
    pel_watts_observe(&watts, 1.0, 50.0, much);
    assert_true(isfinite(pel_watts_of(&watts, 0).busy_watts));
}

/* Through the table and a state into another process; numbers that are no power's are refused. */
static void test_kept(void **state) {
    (void)state;
    pel_models *models = pel_models_create(&pel_allocator_default), *other = pel_models_create(&pel_allocator_default);
    pel_model_state kept;
    pel_model_watts read;
    pel_watts watts, later;
    size_t cursor = 0;
    pel_watts_begin(&watts, 1);
    const double idle = 0.0, busy = 0.1;
    for (int i = 0; i < 4; i++) {
        pel_watts_observe(&watts, 0.1, 0.1 * IDLE, &idle);
        pel_watts_observe(&watts, 0.1, 0.1 * (IDLE + extra[0]), &busy);
    }
    const pel_model_watts told = pel_watts_of(&watts, 0);
    assert_true(told.known);
    assert_int_equal(pel_models_set_watts(models, 7, &told), PEL_OK);
    assert_true(pel_models_next(models, &cursor, &kept));
    assert_int_equal(kept.aspect, PEL_MODEL_POWER);
    assert_int_equal(kept.key.device, 7);
    assert_int_equal(pel_models_restore(other, &kept), PEL_OK);
    const pel_model_watts back = pel_models_watts(other, 7);
    assert_true(back.known);
    near(back.busy_watts, IDLE + extra[0], 0.05);
    assert_int_equal(pel_models_watts(other, 8).windows, 0);
    pel_watts_begin(&later, 1);
    pel_watts_recall(&later, 0, &back);
    near(pel_watts_of(&later, 0).busy_watts, IDLE + extra[0], 0.05);
    assert_true(pel_watts_of(&later, 0).known);
    assert_true(pel_model_state_watts(&kept, &read));
    pel_cost cost;
    assert_false(pel_model_state_cost(&kept, &cost));
    kept.values[0] = (double)NAN;
    assert_int_equal(pel_models_restore(other, &kept), PEL_INVALID_ARGUMENT);
    kept.values[0] = 1.0; /* less than idle */
    assert_int_equal(pel_models_restore(other, &kept), PEL_INVALID_ARGUMENT);
    pel_models_destroy(models);
    pel_models_destroy(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mixtures), cmocka_unit_test(test_pauses_tell),
                                       cmocka_unit_test(test_nonsense_is_ignored), cmocka_unit_test(test_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
