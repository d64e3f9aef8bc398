/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that slow each other down: two sets of cores on one memory. A planner that believes what each does beside the other
 * would divide for ever, or never; it has to find out what one does alone, and come back when the machine changes.
 */
#include "model/model.h"
#include "planner/planner.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEEDS 100u
#define LAUNCHES 200u
#define WARM 10u

static uint64_t random_state;

static double uniform(void) { return test_uniform(&random_state); }

static double normal(void) {
    return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static const pel_model_family family = {7, 8, 1.0};

typedef struct world {
    double start[2], unit[2]; /* alone */
    double slowdown;          /* of each while the other runs */
    double noise;
    pel_core_set cores[2];
    pel_plan_device devices[2];
    pel_plan_request request;
    pel_models *models;
    double explored, total; /* time beyond the best, and all time */
} world;

static void make(world *w, uint64_t seed, double slowdown, double noise) {
    random_state = seed;
    *w = (world){.slowdown = slowdown, .noise = noise, .models = pel_models_create(&pel_allocator_default)};
    assert_non_null(w->models);
    for (uint32_t i = 0; i < 2; i++) {
        w->start[i] = 20e3 * exp(uniform());
        w->unit[i] = 10.0 * exp(0.8 * uniform());
        w->cores[i].bits[0] = 1u << i;
        w->devices[i] = (pel_plan_device){.id = i == 0 ? "host" : "opencl:0",
                                          .cores = &w->cores[i],
                                          .host_memory = true,
                                          .prior_rate = 1.0,
                                          .unit_limit = UINT64_MAX};
    }
    w->request = (pel_plan_request){.units = 1000000, .granularity = 64, .devices = w->devices, .device_count = 2};
}

static double alone(const world *w, uint32_t device) {
    return w->start[device] + w->unit[device] * (double)w->request.units;
}

/* The best there is: the better single device or the division that suits the slowdown. */
static double best_of(const world *w) {
    double single = fmin(alone(w, 0), alone(w, 1));
    double rate = 1.0 / (w->unit[0] * w->slowdown) + 1.0 / (w->unit[1] * w->slowdown);
    double together = ((double)w->request.units + w->start[0] / w->unit[0] + w->start[1] / w->unit[1]) / rate;
    return fmin(single, together);
}

/* One launch; its time over the best one's, without noise. */
static double step(world *w) {
    pel_plan_result result;
    pel_lesson_chunk chunks[3]; /* one of the two may have both sides of the range */
    double ends[2] = {0.0, 0.0}, seen[2] = {0.0, 0.0};
    for (uint32_t i = 0; i < 2; i++) {
        w->devices[i].cost = pel_models_cost(w->models, &family, i);
    }
    w->request.record = pel_models_record(w->models, &family);
    assert_int_equal(pel_planner_plan(&w->request, &result), PEL_OK);
    w->request.launches_seen++;
    assert_true(result.slice_count <= sizeof chunks / sizeof *chunks);
    for (uint32_t i = 0; i < result.slice_count; i++) {
        const pel_plan_slice *slice = &result.slices[i];
        double time = w->start[slice->device] + w->unit[slice->device] * (double)(slice->hi - slice->lo);
        time *= result.slice_count > 1 ? w->slowdown : 1.0;
        ends[slice->device] += time;
        chunks[i] =
            (pel_lesson_chunk){.device = slice->device, .lo = slice->lo, .hi = slice->hi, .ns = time * exp(w->noise * normal())};
        seen[slice->device] += chunks[i].ns;
    }
    pel_lesson lesson = {.family = family,
                         .chunks = chunks,
                         .chunk_count = result.slice_count,
                         .makespan_ns = fmax(seen[0], seen[1]),
                         .expected_ns = result.expected_ns,
                         .together_probe = result.together_probe};
    assert_int_equal(pel_models_learn(w->models, &lesson), PEL_OK);
    const double makespan = fmax(ends[0], ends[1]);
    w->total += makespan;
    w->explored += makespan - best_of(w);
    return makespan / best_of(w);
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void finds_what_company_costs(void **state) {
    (void)state;
    const double slowdowns[] = {1.0, 1.2, 1.5, 1.9, 2.3, 3.0};
    for (size_t k = 0; k < sizeof slowdowns / sizeof slowdowns[0]; k++) {
        double warm[SEEDS], all[SEEDS];
        for (uint32_t seed = 0; seed < SEEDS; seed++) {
            world w;
            make(&w, 31000 + seed, slowdowns[k], 0.02);
            for (uint32_t launch = 0; launch < WARM; launch++) {
                (void)step(&w);
            }
            w.explored = w.total = 0.0;
            for (uint32_t launch = WARM; launch < LAUNCHES; launch++) {
                (void)step(&w);
            }
            warm[seed] = w.explored / (w.total - w.explored);
            all[seed] = step(&w);
            pel_models_destroy(w.models);
        }
        qsort(warm, SEEDS, sizeof warm[0], ascending);
        qsort(all, SEEDS, sizeof all[0], ascending);
        printf("# each slowed down by %.1f: after %u launches behind the best p50 %.1f %%, p95 %.1f %%; at the end p95 %.1f %%\n",
               slowdowns[k], WARM, 100.0 * warm[SEEDS / 2], 100.0 * warm[SEEDS * 95 / 100],
               100.0 * (all[SEEDS * 95 / 100] - 1.0));
        /* Gains below the margin are not taken: that is what the margin is. */
        assert_true(warm[SEEDS / 2] < 0.02 && warm[SEEDS * 95 / 100] < 0.06);
    }
}

/* Company stops to matter (the other half of the machine was busy): a division is taken up again, without having cost much. */
static void comes_back(void **state) {
    (void)state;
    world w;
    uint32_t launch = 0;
    make(&w, 77, 2.5, 0.02);
    for (; launch < 1000; launch++) {
        (void)step(&w);
    }
    w.slowdown = 1.0;
    while (launch < 100000 && step(&w) > 1.05) {
        launch++;
    }
    printf("# taken up again at launch %u\n", launch);
    assert_true(launch < 4000);
    pel_models_destroy(w.models);
}

/*
 * Bad minutes (another guest on the machine: both together are slow and scatter) come again and again. A division is taken up
 * again soon after each, and not later after each: the pauses do not grow for ever. Everything here is computed from fixed seeds,
 * without clocks or threads, so the figures are the same in every run: 9.9 % and 30.6 %. The limits of 15 % and 40 % are no aim,
 * they were set after these were seen; what they tell apart is pauses that begin anew from pauses of 16, 32, 64 ... launches,
 * which gave 77 % and 96 %. The last limit is the one that "not later after each" means: the second six rounds lose no more than
 * the first six.
 */
static void comes_back_from_bad_minutes(void **state) {
    (void)state;
    double lost[SEEDS], halves[2] = {0.0, 0.0};
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        world w;
        make(&w, 900 + seed, 1.0, 0.02);
        lost[seed] = 0.0;
        for (uint32_t launch = 0; launch < 12 * 80; launch++) {
            bool bad = launch % 80 >= 20 && launch % 80 < 32;
            w.slowdown = bad ? 1.7 : 1.05;
            w.noise = bad ? 0.3 : 0.02;
            double over = step(&w);
            double gone = !bad && over > 1.15 ? 1.0 / (12 * 68) : 0.0;
            lost[seed] += gone;
            halves[launch / (6 * 80)] += 2.0 * gone / SEEDS;
        }
        pel_models_destroy(w.models);
    }
    qsort(lost, SEEDS, sizeof lost[0], ascending);
    printf("# undivided though calm: %.1f %% of the launches (p50), %.1f %% (p95); on average %.1f %% at first, %.1f %% later\n",
           100.0 * lost[SEEDS / 2], 100.0 * lost[SEEDS * 95 / 100], 100.0 * halves[0], 100.0 * halves[1]);
    assert_true(lost[SEEDS / 2] < 0.15 && lost[SEEDS * 95 / 100] < 0.4 && halves[1] <= halves[0]);
}

/*
 * A disturbed warm-up: for the first 30 launches others use the machine, each device is slower alone, too, and more so beside
 * the other; then there is none of it. Launches from then on until both are used twice in a row. The first trial must wait until
 * 1 % of the time pays for what it would cost by the lines of the bad minute. Limits are a seventh above what was seen (20 and
 * 55, 47 and 103, 128 and 214), and below what it was while each further trial waited 12 launches (35 and 67, 71 and 133, 154
 * and 269).
 */
static void comes_back_from_a_disturbed_begin(void **state) {
    (void)state;
    static const double alone_slower[] = {1.0, 1.3, 2.0};
    static const double usual[] = {23.0, 54.0, 146.0}, most[] = {63.0, 118.0, 245.0};
    for (size_t k = 0; k < 3; k++) {
        double until[SEEDS], explored[SEEDS];
        for (uint32_t seed = 0; seed < SEEDS; seed++) {
            world w;
            make(&w, 7100 + seed, 2.2, 0.15);
            for (uint32_t i = 0; i < 2; i++) {
                w.unit[i] *= alone_slower[k];
            }
            for (uint32_t launch = 0; launch < 30; launch++) {
                (void)step(&w);
            }
            w.slowdown = 1.02;
            w.noise = 0.03;
            for (uint32_t i = 0; i < 2; i++) {
                w.unit[i] /= alone_slower[k];
            }
            uint32_t launch = 0, good = 0;
            for (; launch < 2000 && good < 2; launch++) {
                good = step(&w) < 1.1 ? good + 1 : 0;
            }
            until[seed] = launch - 2.0;
            explored[seed] = pel_models_record(w.models, &family)->explored_ns / pel_models_record(w.models, &family)->total_ns;
            pel_models_destroy(w.models);
        }
        qsort(until, SEEDS, sizeof until[0], ascending);
        qsort(explored, SEEDS, sizeof explored[0], ascending);
        assert_true(until[SEEDS / 2] <= usual[k] && until[SEEDS * 95 / 100] <= most[k] && explored[SEEDS * 95 / 100] < 0.01);
        printf("# alone %.1f times slower at first: both again after %.0f launches (p50), %.0f (p95); explored %.2f %% (p95)\n",
               alone_slower[k], until[SEEDS / 2], until[SEEDS * 95 / 100], 100.0 * explored[SEEDS * 95 / 100]);
    }
}

/*
 * After 100 launches something changes: a device becomes 2.5 times slower, or company does what it did not. What a launch alone
 * told before is out of date in the first case, and what saves the second. Behind the best in launches 10 to 60 after that.
 */
static void follows_what_changes(void **state) {
    (void)state;
    static const struct {
        const char *what;
        double before, after; /* slowness by company */
        double first, second; /* by how much each device becomes slower by itself */
        double usual, most;
    } changes[] = {{"the first device 2.5 times slower", 1.1, 1.1, 2.5, 1.0, 0.02, 0.05},
                   {"the second device 2.5 times slower", 1.1, 1.1, 1.0, 2.5, 0.02, 0.05},
                   {"company: 1.1 before, now 2.4", 1.1, 2.4, 1.0, 1.0, 0.02, 0.05},
                   {"both devices 2.5 times slower", 1.1, 1.1, 2.5, 2.5, 0.02, 0.05}};
    for (size_t k = 0; k < sizeof changes / sizeof *changes; k++) {
        double behind[SEEDS];
        for (uint32_t seed = 0; seed < SEEDS; seed++) {
            world w;
            make(&w, 51000 + seed, changes[k].before, 0.03);
            for (uint32_t launch = 0; launch < 110; launch++) {
                if (launch == 100) {
                    w.slowdown = changes[k].after;
                    w.unit[0] *= changes[k].first;
                    w.unit[1] *= changes[k].second;
                }
                (void)step(&w);
            }
            w.explored = w.total = 0.0;
            for (uint32_t launch = 0; launch < 50; launch++) {
                (void)step(&w);
            }
            behind[seed] = w.explored / (w.total - w.explored);
            pel_models_destroy(w.models);
        }
        qsort(behind, SEEDS, sizeof behind[0], ascending);
        printf("# %s: behind the best p50 %.1f %%, p95 %.1f %%\n", changes[k].what, 100.0 * behind[SEEDS / 2],
               100.0 * behind[SEEDS * 95 / 100]);
        assert_true(behind[SEEDS / 2] < changes[k].usual && behind[SEEDS * 95 / 100] < changes[k].most);
    }
}

/* The same launches with the same models give the same plans, and a frozen planner tries nothing. */
static void frozen_tries_nothing(void **state) {
    (void)state;
    world w;
    pel_plan_result first, second;
    make(&w, 5, 1.0, 0.02);
    w.request.frozen = true;
    assert_int_equal(pel_planner_plan(&w.request, &first), PEL_OK); /* nothing is known: by what the devices promise */
    assert_false(first.exploring);
    w.request.frozen = false;
    for (uint32_t launch = 0; launch < 40; launch++) {
        (void)step(&w);
    }
    w.request.frozen = true;
    for (uint32_t launch = 0; launch < 400; launch++) {
        w.request.launches_seen = launch;
        assert_int_equal(pel_planner_plan(&w.request, launch == 0 ? &first : &second), PEL_OK);
        assert_false(first.exploring);
        if (launch > 0) {
            assert_string_equal(first.reason, second.reason);
            assert_int_equal(first.slices[0].hi, second.slices[0].hi);
        }
    }
    pel_models_destroy(w.models);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_company_costs), cmocka_unit_test(comes_back),
                                       cmocka_unit_test(comes_back_from_bad_minutes),
                                       cmocka_unit_test(comes_back_from_a_disturbed_begin),
                                       cmocka_unit_test(follows_what_changes),
                                       cmocka_unit_test(frozen_tries_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
