/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes of work-groups: how often the default is left although it is best, how soon where another one is, and that trials are
 * paid for. */
#include "planner/groups.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS = 40, LAUNCHES = 4000 };
#define UNITS 1000.0
#define VARIANT_NS 20e6
#define LAUNCH_NS 3e6

static uint64_t random_state;

/* A kernel of which only the sizes of its groups matter: launch after launch, with the models that a runtime has. */
typedef struct history {
    double best_share;    /* of the later half of the launches, with the arm that is fastest */
    double wrong_share;   /* with one that is slower than the default */
    double explored;      /* part of the time */
    uint32_t trials;
} history;

static history run(uint64_t seed, const double speed[PEL_GROUP_ARMS], bool frozen) {
    pel_models *models = pel_models_create(&pel_allocator_default);
    const pel_model_family family = {.kernel = seed + 1, .shape = 2, .items_per_unit = 1.0};
    history h = {0};
    uint32_t best = 0;
    bool compiled[PEL_GROUP_ARMS] = {true};
    random_state = seed * 2654435761u + 1;
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS; arm++) {
        best = speed[arm] > speed[best] ? arm : best;
    }
    for (uint32_t launch = 0; launch < LAUNCHES; launch++) {
        pel_group_request request = {
            .allowed = 0xe, .units = UNITS, .launches_seen = launch, .variant_ns = VARIANT_NS, .frozen = frozen};
        pel_group_choice choice;
        request.record = pel_models_record(models, &family);
        for (uint32_t arm = 0; arm < PEL_GROUP_ARMS; arm++) {
            request.costs[arm] = pel_models_cost(models, &family, pel_group_device(77, arm));
        }
        pel_group_choose(&request, &choice);
        const bool tries = choice.trial != choice.best;
        const bool cold = !compiled[choice.trial];
        const double ns = LAUNCH_NS / speed[choice.trial] * exp(0.05 * test_normal(&random_state)) + (cold ? VARIANT_NS : 0.0);
        const pel_lesson_chunk chunk = {
            .device = pel_group_device(77, choice.trial), .hi = (uint64_t)UNITS, .ns = ns, .cold = cold};
        const pel_lesson lesson = {.family = family,
                                   .units = (uint64_t)UNITS,
                                   .chunks = &chunk,
                                   .chunk_count = 1,
                                   .makespan_ns = ns,
                                   .expected_ns = tries ? LAUNCH_NS / speed[choice.best] : 0.0,
                                   .variant_probe = tries};
        compiled[choice.trial] = true;
        assert_int_equal(pel_models_learn(models, &lesson), PEL_OK);
        h.trials += tries;
        h.best_share += launch >= LAUNCHES / 2 && choice.best == best ? 2.0 / LAUNCHES : 0.0;
        h.wrong_share += launch >= LAUNCHES / 2 && speed[choice.best] < speed[0] ? 2.0 / LAUNCHES : 0.0;
    }
    const pel_record *record = pel_models_record(models, &family);
    h.explored = record->explored_ns / record->total_ns;
    pel_models_destroy(models);
    return h;
}

/* The default is best: whatever luck says, the others do not come in for long, and what is tried stays within 1 %. */
static void test_default_is_best(void **state) {
    (void)state;
    double wrong = 0.0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const double speed[PEL_GROUP_ARMS] = {1.0, 0.97, 0.9, 0.7};
        const history h = run(seed, speed, false);
        wrong += h.wrong_share / SEEDS;
        assert_true(h.explored <= 0.0101);
    }
    print_message("seeds 0 to %d: %.2f %% of later launches with groups that are slower than the default\n", SEEDS - 1,
                  100.0 * wrong);
    assert_true(wrong < 0.05);
}

static void test_another_is_best(void **state) {
    (void)state;
    double best = 0.0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const double speed[PEL_GROUP_ARMS] = {1.0, 1.02, 1.2, 0.8};
        const history h = run(seed, speed, false);
        best += h.best_share / SEEDS;
        assert_true(h.explored <= 0.0101);
    }
    print_message("seeds 0 to %d: %.1f %% of later launches with the groups that are 20 %% faster\n", SEEDS - 1, 100.0 * best);
    assert_true(best > 0.95);
}

static void test_frozen_tries_nothing(void **state) {
    (void)state;
    const double speed[PEL_GROUP_ARMS] = {1.0, 2.0, 2.0, 2.0};
    assert_int_equal(run(1, speed, true).trials, 0);
}

/* A device that takes no larger groups; and one launch of each, which says nothing. */
static void test_limits(void **state) {
    (void)state;
    pel_group_request request = {.allowed = 0, .units = UNITS, .launches_seen = 4};
    pel_group_choice choice;
    const pel_record record = {.launches = 1000, .total_ns = 1e15};
    for (uint32_t arm = 0; arm < PEL_GROUP_ARMS; arm++) {
        request.costs[arm].alone = (pel_line){.unit_ns = arm == 0 ? 1000.0 : 500.0, .deviation = 0.05, .samples = 20};
    }
    request.record = &record;
    pel_group_choose(&request, &choice);
    assert_int_equal(choice.best, 0);
    assert_int_equal(choice.trial, 0);
    request.allowed = 1u << 2;
    pel_group_choose(&request, &choice);
    assert_int_equal(choice.best, 2);
    assert_true(fabs(choice.gain - 0.5) < 1e-9);
    request.costs[2].alone.samples = 1;
    pel_group_choose(&request, &choice);
    assert_int_equal(choice.best, 0);
    assert_int_equal(choice.trial, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_is_best),
        cmocka_unit_test(test_another_is_best),
        cmocka_unit_test(test_frozen_tries_nothing),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
