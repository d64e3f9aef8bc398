/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/model.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t random_state;

static double uniform(void) { return test_uniform(&random_state); }

static double between(double low, double high) { return low + (high - low) * uniform(); }

static double normal(void) { return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform()); }

static const pel_model_key key = {11, 22};

static pel_models *new_models(void) {
    pel_models *models = pel_models_create(&pel_allocator_default);
    assert_non_null(models);
    return models;
}

static double predict(const pel_models *models, double units) {
    pel_cost cost = pel_models_predict(models, key);
    return cost.start_ns + cost.unit_ns * units;
}

static void observe(pel_models *models, double units, double ns) {
    assert_int_equal(pel_models_observe(models, key, units, ns), PEL_OK);
}

static void nothing_is_known_at_first(void **state) {
    (void)state;
    pel_models *models = new_models();
    pel_cost cost = pel_models_predict(models, key);
    assert_int_equal(cost.samples, 0);
    assert_true(cost.start_ns == 0.0 && cost.unit_ns == 0.0);
    pel_models_destroy(models);
    pel_models_destroy(NULL);
}

static void one_sample_is_reproduced(void **state) {
    (void)state;
    pel_models *models = new_models();
    observe(models, 1000.0, 5e4);
    assert_int_equal(pel_models_predict(models, key).samples, 1);
    assert_true(fabs(predict(models, 1000.0) / 5e4 - 1.0) < 1e-9);
    assert_true(pel_models_predict(models, key).unit_ns > 0.0);
    pel_models_destroy(models);
}

/* Two sizes without noise tell start and slope apart. */
static void two_sizes_tell_both(void **state) {
    (void)state;
    pel_models *models = new_models();
    observe(models, 1000.0, 2e4 + 10.0 * 1000.0);
    observe(models, 4000.0, 2e4 + 10.0 * 4000.0);
    pel_cost cost = pel_models_predict(models, key);
    assert_int_equal(cost.samples, 2);
    assert_true(fabs(cost.start_ns - 2e4) < 0.1 * 2e4);
    assert_true(fabs(cost.unit_ns - 10.0) < 1.0);
    assert_true(cost.largest_units == 4000.0);
    pel_models_destroy(models);
}

/*
 * Over many random devices with 10 % noise: the median error of a prediction after 30 launches is small, and no model is far off.
 */
static void converges_under_noise(void **state) {
    (void)state;
    int good = 0, trials = 300;
    for (int trial = 0; trial < trials; trial++) {
        random_state = 1000u + (uint64_t)trial;
        pel_models *models = new_models();
        double start = exp(between(log(2e4), log(4e5))), slope = exp(between(log(0.1), log(100.0))), size = 1e6;
        for (int i = 0; i < 30; i++) {
            double n = size * between(0.05, 1.0);
            observe(models, n, (start + slope * n) * exp(0.1 * normal()));
        }
        double error = 0.0;
        for (double n = 0.1 * size; n < 1.5 * size; n += 0.1 * size) {
            error = fmax(error, fabs(predict(models, n) / (start + slope * n) - 1.0));
        }
        if (error > 0.5) {
            fail_msg("seed %d: error %.2f (start %.0f, slope %.2f)", 1000 + trial, error, start, slope);
        }
        good += error < 0.10;
        double deviation = pel_models_predict(models, key).deviation;
        assert_true(deviation > 0.03 && deviation < 0.25);
        pel_models_destroy(models);
    }
    printf("# %d of %d models within 10 %% everywhere after 30 observations\n", good, trials);
    assert_true(good > trials * 85 / 100);
}

/* One observation ten times too slow, wherever it falls, moves the prediction by less than half soon after. */
static void survives_one_spike_anywhere(void **state) {
    (void)state;
    for (int spike = 0; spike < 12; spike++) {
        for (int seed = 0; seed < 20; seed++) {
            random_state = (uint64_t)(7000 + 100 * spike + seed);
            pel_models *models = new_models();
            for (int i = 0; i < spike + 4; i++) {
                double n = 1e5 * between(0.3, 1.0);
                observe(models, n, (3e4 + 2.0 * n) * exp(0.03 * normal()) * (i == spike ? 10.0 : 1.0));
            }
            for (double n = 3e4; n <= 1e5; n += 1e4) {
                double ratio = predict(models, n) / (3e4 + 2.0 * n);
                if (!(ratio > 0.65 && ratio < 1.5)) {
                    fail_msg("spike at %d, seed %llu: prediction off by a factor of %.2f", spike,
                             (unsigned long long)(7000 + 100 * spike + seed), ratio);
                }
            }
            pel_models_destroy(models);
        }
    }
}

/* StarPU #50: a kernel of 190 us whose first measurement was 70 ms. */
static void first_impression_is_corrected(void **state) {
    (void)state;
    pel_models *models = new_models();
    observe(models, 1e4, 70e6);
    observe(models, 2e4, 190e3);
    assert_int_equal(pel_models_predict(models, key).samples, 1); /* so that it is tried once more */
    assert_true(fabs(predict(models, 2e4) / 190e3 - 1.0) < 0.01);
    observe(models, 1e4, 100e3);
    assert_true(fabs(predict(models, 1e4) / 100e3 - 1.0) < 0.1);
    pel_models_destroy(models);
}

/* A device that becomes 2.5 times slower is believed after a handful of launches. */
static void follows_drift(void **state) {
    (void)state;
    int worst = 0, quick = 0;
    for (int seed = 0; seed < 200; seed++) {
        random_state = (uint64_t)(9000 + seed);
        pel_models *models = new_models();
        for (int i = 0; i < 60; i++) {
            double n = 1e5 * between(0.5, 1.0);
            observe(models, n, (3e4 + 2.0 * n) * exp(0.1 * normal()));
        }
        int launches = 0;
        for (; launches < 100 && fabs(predict(models, 1e5) / 2.5 / 2.3e5 - 1.0) > 0.15; launches++) {
            double n = 1e5 * between(0.5, 1.0);
            observe(models, n, 2.5 * (3e4 + 2.0 * n) * exp(0.1 * normal()));
        }
        worst = launches > worst ? launches : worst;
        quick += launches <= 6;
        pel_models_destroy(models);
    }
    printf("# drift of 2.5x followed within 6 launches by %d of 200 models, by all within %d\n", quick, worst);
    assert_true(quick >= 170 && worst <= 40);
}

/* Three accidents among four chunks are no change of speed. Without a look at whether they agree 45 of 200 models fell for it. */
static void accidents_in_a_row_are_no_drift(void **state) {
    (void)state;
    int fooled = 0;
    for (int seed = 0; seed < 200; seed++) {
        random_state = (uint64_t)(31000 + seed);
        pel_models *models = new_models();
        for (int i = 0; i < 40; i++) {
            double n = 1e5 * between(0.9, 1.1);
            observe(models, n,
                    (3e4 + 2.0 * n) * exp(0.1 * normal()) * (i == 36 || i == 38 || i == 39 ? between(3.0, 10.0) : 1.0));
        }
        fooled += fabs(predict(models, 1e5) / 2.3e5 - 1.0) > 0.2;
        pel_models_destroy(models);
    }
    printf("# of 200 models %d took three accidents for a change of speed\n", fooled);
    assert_true(fooled <= 40);
}

/* One model under noise of 5 % of which each chunk repeats `memory` of the one before; the mean of its latest 60 errors. */
static double error_with_memory(double memory, uint64_t seed, int *followed) {
    random_state = seed;
    pel_models *models = new_models();
    double luck = normal(), sum = 0.0;
    for (int i = 0; i < 120; i++) {
        double n = 1e5 * between(0.9, 1.1);
        luck = memory * luck + sqrt(1.0 - memory * memory) * normal();
        observe(models, n, (3e4 + 2.0 * n) * exp(0.05 * luck));
        sum += i >= 60 ? fabs(predict(models, 1e5) / 2.3e5 - 1.0) / 60.0 : 0.0;
    }
    for (*followed = 0; *followed < 50 && fabs(predict(models, 1e5) / 2.5 / 2.3e5 - 1.0) > 0.15; ++*followed) {
        luck = memory * luck + sqrt(1.0 - memory * memory) * normal();
        observe(models, 1e5, 2.5 * 2.3e5 * exp(0.05 * luck));
    }
    pel_models_destroy(models);
    return sum;
}

/*
 * Luck that lasts is no change of speed: a model that looks at each residual by itself restarts again and again (mean error 3.3
 * %). A change of speed is still found.
 */
static void luck_that_lasts_is_no_drift(void **state) {
    (void)state;
    double sum = 0.0;
    int quick = 0, launches = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        sum += error_with_memory(0.85, 47000 + seed, &launches) / 200.0;
        quick += launches <= 6;
    }
    printf("# luck with a memory of 0.85: mean error %.2f %%, drift followed within 6 launches by %d of 200\n", 100.0 * sum,
           quick);
    assert_true(sum < 0.022 && quick >= 180);
}

/* A speed that swings by 8 % every 150 chunks, under 5 % of noise with a memory. */
static void swings_are_followed(void **state) {
    (void)state;
    double sum = 0.0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        random_state = 53000 + seed;
        pel_models *models = new_models();
        const double turn = 6.283185307179586 * uniform();
        double luck = normal();
        for (int i = 0; i < 160; i++) {
            double n = 1e5 * between(0.9, 1.1), slow = 1.0 + 0.08 * sin(turn + 6.283185307179586 * i / 150.0);
            sum += i >= 60 ? fabs(predict(models, n) / (slow * (3e4 + 2.0 * n)) - 1.0) / (100.0 * 200.0) : 0.0;
            luck = 0.7 * luck + sqrt(1.0 - 0.7 * 0.7) * normal();
            observe(models, n, slow * (3e4 + 2.0 * n) * exp(0.05 * luck));
        }
        pel_models_destroy(models);
    }
    printf("# swings of 8 %%: mean error %.2f %%\n", 100.0 * sum);
    assert_true(sum < 0.042);
}

/* Every tenth chunk is 3 to 10 times late: the others' line stays where it is. Times wholly of that kind are believed soon. */
static void accidents_teach_nothing(void **state) {
    (void)state;
    double late = 0.0;
    int most = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        random_state = 59000 + seed;
        pel_models *models = new_models();
        for (int i = 0; i < 120; i++) {
            double n = 1e5 * between(0.3, 1.0);
            observe(models, n, (3e4 + 2.0 * n) * exp(0.05 * normal()) * (i >= 12 && i % 10 == 0 ? between(3.0, 10.0) : 1.0));
        }
        late += (predict(models, 7e4) / (3e4 + 2.0 * 7e4) - 1.0) / 100.0;
        int launches = 0;
        for (; launches < 100 && fabs(predict(models, 7e4) / 5.0 / 1.7e5 - 1.0) > 0.2; launches++) {
            observe(models, 7e4, 5.0 * 1.7e5 * exp(0.4 * normal())); /* so that no three agree */
        }
        most = launches > most ? launches : most;
        pel_models_destroy(models);
    }
    printf("# with an accident in ten lines are late by %.2f %%; what stays late is believed within %d\n", 100.0 * late, most);
    assert_true(fabs(late) < 0.005 && most <= 60);
}

/* Sizes that hardly vary, for ever: noise must not become a start cost or a speed, however long it goes on. */
static void hardly_varying_sizes_keep_the_line(void **state) {
    (void)state;
    int good = 0;
    for (int seed = 0; seed < 100; seed++) {
        random_state = (uint64_t)(33000 + seed);
        pel_models *models = new_models();
        for (int i = 0; i < 1000; i++) {
            double n = i < 10 ? 1e5 * between(0.2, 1.0) : 1e5 * between(0.98, 1.02);
            observe(models, n, (6e4 + 2.0 * n) * exp(0.1 * normal()));
        }
        good += fabs(predict(models, 3e5) / 6.6e5 - 1.0) < 0.3;
        pel_models_destroy(models);
    }
    printf("# %d of 100 models know three times the size after a thousand repetitions\n", good);
    assert_true(good >= 80);
}

/* Sizes that stop varying do not make the model forget what they told. */
static void keeps_start_cost_at_one_size(void **state) {
    (void)state;
    random_state = 5;
    pel_models *models = new_models();
    for (int i = 0; i < 20; i++) {
        double n = 1e4 * (double)(1 + i % 5);
        observe(models, n, (1e5 + 4.0 * n) * exp(0.02 * normal()));
    }
    for (int i = 0; i < 1000; i++) {
        observe(models, 3e4, (1e5 + 4.0 * 3e4) * exp(0.02 * normal()));
    }
    double start = pel_models_predict(models, key).start_ns;
    assert_true(start > 0.7e5 && start < 1.3e5);
    pel_models_destroy(models);
}

/* Another kernel's start cost stands in after one sample of a new kernel. */
static void start_cost_is_borrowed(void **state) {
    (void)state;
    pel_models *models = new_models();
    for (uint64_t kernel = 1; kernel <= 3; kernel++) {
        for (int i = 1; i <= 6; i++) {
            double n = 1e4 * i;
            assert_int_equal(pel_models_observe(models, (pel_model_key){kernel, 22}, n, 6e4 + (double)kernel * n), PEL_OK);
        }
    }
    observe(models, 5e4, 6e4 + 5e4);
    pel_cost cost = pel_models_predict(models, key);
    assert_true(fabs(cost.start_ns - 5.5e4) < 1e4); /* at most half of the time seen */
    assert_true(pel_models_predict(models, (pel_model_key){11, 23}).samples == 0);
    pel_models_destroy(models);
}

static void nonsense_is_ignored(void **state) {
    (void)state;
    static const double bad[] = {0.0, -1.0, 1e300, 1e-300};
    pel_models *models = new_models();
    observe(models, 1000.0, 5e4);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        observe(models, bad[i], 5e4);
        observe(models, 1000.0, bad[i]);
    }
    observe(models, (double)NAN, 5e4);
    observe(models, 1000.0, (double)NAN);
    observe(models, (double)INFINITY, 1.0);
    observe(models, 1.0, (double)INFINITY);
    assert_int_equal(pel_models_predict(models, key).samples, 1);
    assert_true(fabs(predict(models, 1000.0) / 5e4 - 1.0) < 1e-9);
    pel_models_destroy(models);
}

/* Whatever comes in, what comes out is usable. */
static void stays_sane_on_anything(void **state) {
    (void)state;
    for (int seed = 0; seed < 500; seed++) {
        random_state = (uint64_t)(20000 + seed);
        pel_models *models = new_models();
        double spread = between(0.0, 40.0);
        for (int i = 0; i < 200; i++) {
            observe(models, exp(between(0.0, spread)), exp(between(-2.0, spread)));
            pel_cost cost = pel_models_predict(models, key);
            if (!(cost.start_ns >= 0.0) || !(cost.unit_ns > 0.0) || !isfinite(cost.start_ns) || !isfinite(cost.unit_ns) ||
                !isfinite(cost.deviation) || cost.samples == 0) {
                fail_msg("seed %d, observation %d: a %g b %g deviation %g", 20000 + seed, i, cost.start_ns, cost.unit_ns,
                         cost.deviation);
            }
        }
        pel_models_destroy(models);
    }
}

static void many_kernels_and_devices(void **state) {
    (void)state;
    pel_models *models = new_models();
    for (uint64_t kernel = 0; kernel < 300; kernel++) {
        for (uint64_t device = 0; device < 4; device++) {
            assert_int_equal(
                pel_models_observe(models, (pel_model_key){kernel, device}, 100.0, (double)(1 + kernel * 4 + device) * 100.0),
                PEL_OK);
        }
    }
    for (uint64_t kernel = 0; kernel < 300; kernel++) {
        for (uint64_t device = 0; device < 4; device++) {
            pel_cost cost = pel_models_predict(models, (pel_model_key){kernel, device});
            assert_int_equal(cost.samples, 1);
            assert_true(fabs(cost.start_ns + 100.0 * cost.unit_ns - (double)(1 + kernel * 4 + device) * 100.0) < 1e-6);
        }
    }
    pel_models_destroy(models);
}

typedef struct failing {
    int left;
} failing;

static void *failing_reallocate(void *user, void *pointer, size_t bytes) {
    failing *limit = user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return limit->left-- > 0 ? realloc(pointer, bytes) : NULL;
}

static void failed_allocations_lose_one_observation(void **state) {
    (void)state;
    for (int allowed = 0; allowed < 6; allowed++) {
        failing limit = {allowed};
        pel_allocator allocator = {failing_reallocate, &limit};
        pel_models *models = pel_models_create(&allocator);
        if (models == NULL) {
            assert_int_equal(allowed, 0);
            continue;
        }
        uint64_t learned = 0;
        for (uint64_t kernel = 0; kernel < 60; kernel++) {
            pel_model_key other = {kernel, 1};
            pel_status status = pel_models_observe(models, other, 10.0, 100.0);
            assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
            assert_int_equal(pel_models_predict(models, other).samples, status == PEL_OK);
            learned += status == PEL_OK;
        }
        for (uint64_t kernel = 0; kernel < learned; kernel++) {
            assert_int_equal(pel_models_predict(models, (pel_model_key){kernel, 1}).samples, 1);
        }
        pel_models_destroy(models);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(one_sample_is_reproduced),
        cmocka_unit_test(two_sizes_tell_both),
        cmocka_unit_test(converges_under_noise),
        cmocka_unit_test(survives_one_spike_anywhere),
        cmocka_unit_test(first_impression_is_corrected),
        cmocka_unit_test(follows_drift),
        cmocka_unit_test(accidents_in_a_row_are_no_drift),
        cmocka_unit_test(luck_that_lasts_is_no_drift),
        cmocka_unit_test(swings_are_followed),
        cmocka_unit_test(accidents_teach_nothing),
        cmocka_unit_test(hardly_varying_sizes_keep_the_line),
        cmocka_unit_test(keeps_start_cost_at_one_size),
        cmocka_unit_test(start_cost_is_borrowed),
        cmocka_unit_test(nonsense_is_ignored),
        cmocka_unit_test(stays_sane_on_anything),
        cmocka_unit_test(many_kernels_and_devices),
        cmocka_unit_test(failed_allocations_lose_one_observation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
