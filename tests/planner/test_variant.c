/* SPDX-License-Identifier: BSD-3-Clause */
/* Variants on the same cores: the default stays until another one is surely faster, what is tried is paid for, the history brings
 * the decision back, and no cores are used twice whatever the costs are. */
#include "planner/planner.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS = 60, LAUNCHES = 600, UNITS = 100000, HOST = 0, DRIVER = 1, APART = 2 };
#define LAUNCH_NS 3e6
#define NOISE 0.05

static uint64_t random_state;

/* Two variants on one set of cores, and with count 3 a device with cores of its own. */
typedef struct machine {
    pel_core_set cores[2];
    pel_plan_device devices[3];
    pel_plan_request request;
    pel_models *models;
    pel_model_family family;
} machine;

static void make(machine *m, uint32_t count, pel_models *models) {
    static const char *const ids[] = {"host", "opencl:0", "opencl:1"};
    *m = (machine){.models = models, .family = {.kernel = 1, .shape = 2, .items_per_unit = 1.0}};
    m->cores[0].bits[0] = 3;
    m->cores[1].bits[0] = 12;
    for (uint32_t i = 0; i < count; i++) {
        m->devices[i] = (pel_plan_device){.id = ids[i],
                                          .model = 70 + i,
                                          .cores = &m->cores[i == APART],
                                          .host_memory = i != APART,
                                          .prior_rate = 1.0,
                                          .unit_limit = UINT64_MAX};
    }
    m->request = (pel_plan_request){.units = UNITS, .granularity = 1, .devices = m->devices, .device_count = count};
}

static void plan(machine *m, pel_plan_result *r) {
    m->request.record = pel_models_record(m->models, &m->family);
    for (uint32_t i = 0; i < m->request.device_count; i++) {
        m->devices[i].cost = pel_models_cost(m->models, &m->family, m->devices[i].model);
    }
    assert_int_equal(pel_planner_plan(&m->request, r), PEL_OK);
    uint64_t cores = 0, at = 0;
    for (uint32_t i = 0; i < r->slice_count; i++) {
        const uint64_t its = m->devices[r->slices[i].device].cores->bits[0];
        assert_true((cores & its) == 0);
        cores |= its;
        assert_true(r->slices[i].lo == at);
        at = r->slices[i].hi;
    }
    assert_true(r->tail.lo < r->tail.hi || at == UNITS);
}

/* Runs what was planned; held-back work goes to the first device, which is enough here. */
static void run(machine *m, const pel_plan_result *r, const double *speed) {
    pel_lesson_chunk chunks[PEL_PLAN_DEVICE_LIMIT];
    pel_lesson lesson = {.family = m->family, .units = UNITS, .chunks = chunks, .chunk_count = r->slice_count};
    for (uint32_t i = 0; i < r->slice_count; i++) {
        const pel_plan_slice *slice = &r->slices[i];
        const uint64_t hi = i + 1 == r->slice_count ? UNITS : slice->hi;
        const double share = (double)(hi - slice->lo) / UNITS;
        const double ns = LAUNCH_NS / speed[slice->device] * share * exp(NOISE * test_normal(&random_state));
        chunks[i] = (pel_lesson_chunk){.device = m->devices[slice->device].model, .lo = slice->lo, .hi = hi, .ns = ns};
        lesson.makespan_ns = fmax(lesson.makespan_ns, ns);
    }
    lesson.expected_ns = r->exploring ? r->expected_ns : 0.0;
    lesson.together_probe = r->together_probe;
    assert_int_equal(pel_models_learn(m->models, &lesson), PEL_OK);
    m->request.launches_seen++;
}

static bool uses(const pel_plan_result *r, uint32_t device) {
    for (uint32_t i = 0; i < r->slice_count; i++) {
        if (r->slices[i].device == device) {
            return true;
        }
    }
    return false;
}

typedef struct tally {
    double driver;   /* part of the later half's launches, those that explore apart, in which the driver's variant computes */
    double explored; /* part of the time */
} tally;

static tally history_of(uint64_t seed, uint32_t count, const double *speed) {
    pel_models *models = pel_models_create(&pel_allocator_default);
    machine m;
    tally t = {0};
    double later = 0.0;
    random_state = seed * 2654435761u + 1;
    make(&m, count, models);
    for (uint32_t launch = 0; launch < LAUNCHES; launch++) {
        pel_plan_result r;
        plan(&m, &r);
        if (launch >= LAUNCHES / 2 && !r.exploring) {
            later += 1.0;
            t.driver += uses(&r, DRIVER);
        }
        run(&m, &r, speed);
    }
    const pel_record *record = pel_models_record(models, &m.family);
    t.driver /= later;
    t.explored = record->explored_ns / record->total_ns;
    pel_models_destroy(models);
    return t;
}

static double over_seeds(uint32_t count, const double *speed) {
    double driver = 0.0, explored = 0.0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const tally t = history_of(seed, count, speed);
        driver += t.driver / SEEDS;
        explored = fmax(explored, t.explored);
    }
    print_message("seeds 0 to %d, speeds %.2f and %.2f: the driver's variant in %.1f %% of later launches, explored %.2f %%\n",
                  SEEDS - 1, speed[HOST], speed[DRIVER], 100.0 * driver, 100.0 * explored);
    assert_true(explored <= 0.02); /* first looks are owed; 1 % of 600 launches are six */
    return driver;
}

/* Equal ones cost nothing either way: each look has 95 %, and there are many. Where the other one is slower it may not stay. */
static void test_default_stays(void **state) {
    (void)state;
    assert_true(over_seeds(2, (double[]){1.0, 1.0}) < 0.4);
    assert_true(over_seeds(2, (double[]){1.0, 0.97}) < 0.05);
    assert_true(over_seeds(2, (double[]){1.0, 0.5}) == 0.0);
}

static void test_faster_variant_comes_in(void **state) {
    (void)state;
    assert_true(over_seeds(2, (double[]){1.0, 1.05}) > 0.9);
    assert_true(over_seeds(2, (double[]){1.0, 1.3}) > 0.99);
}

/* Beside a device with cores of its own the choice is the same. */
static void test_beside_another_device(void **state) {
    (void)state;
    assert_true(over_seeds(3, (double[]){1.0, 1.3, 2.0}) > 0.95);
    assert_true(over_seeds(3, (double[]){1.0, 0.8, 2.0}) < 0.05);
}

static void known(machine *m, uint32_t device, double unit_ns, double deviation, uint64_t samples) {
    m->devices[device].cost = (pel_cost){.alone = {.unit_ns = unit_ns, .deviation = deviation, .samples = samples}};
}

static void decide(machine *m, pel_plan_result *r) {
    static const pel_record record = {.launches = 10, .total_ns = 1e6, .explored_ns = 1e6}; /* nothing can be paid for */
    m->request.launches_seen = 1;
    m->request.record = &record;
    assert_int_equal(pel_planner_plan(&m->request, r), PEL_OK);
}

/* The words of the alternative of one device alone. */
static const char *words_of(const pel_plan_result *r, uint32_t device) {
    for (uint32_t i = 0; i < r->choice_count; i++) {
        if (r->choices[i].device_mask == 1ull << device) {
            return r->choices[i].reason;
        }
    }
    return "";
}

static void test_words_and_limits(void **state) {
    (void)state;
    machine m;
    pel_plan_result r;
    make(&m, 2, NULL);
    known(&m, HOST, 10.0, 0.1, 9);
    known(&m, DRIVER, 9.5, 0.1, 9); /* one standard error apart */
    decide(&m, &r);
    assert_true(uses(&r, HOST));
    assert_non_null(strstr(words_of(&r, DRIVER), "less than host, the usual variant on these cores: not yet 95 % sure"));
    assert_non_null(strstr(words_of(&r, HOST), "the usual variant on these cores"));
    known(&m, HOST, 10.0, 0.05, 2); /* in one of two launches a core may have been stolen; */
    known(&m, DRIVER, 6.0, 0.05, 2);
    decide(&m, &r);
    assert_true(uses(&r, HOST));
    known(&m, DRIVER, 4.0, 0.05, 2); /* but not so */
    decide(&m, &r);
    assert_true(uses(&r, DRIVER));
    known(&m, HOST, 10.0, 0.1, 9);
    known(&m, DRIVER, 8.5, 0.1, 9);
    decide(&m, &r);
    assert_true(uses(&r, DRIVER));
    assert_non_null(strstr(r.reason, "opencl:0; 15"));
    assert_non_null(strstr(r.reason, "less than host, the usual variant on these cores (95 % sure)"));
    m.devices[DRIVER].unit_limit = UNITS / 2; /* it would win, and cannot hold it */
    decide(&m, &r);
    assert_true(uses(&r, HOST));
    m.devices[DRIVER].unit_limit = UINT64_MAX;
    known(&m, DRIVER, 10.5, 0.1, 9);
    m.devices[DRIVER].prior_rate = 2.0; /* the expert thinks otherwise */
    decide(&m, &r);
    assert_true(uses(&r, DRIVER));
    m.devices[DRIVER].excluded = "lost";
    decide(&m, &r);
    assert_true(uses(&r, HOST));
}

/* What has been learned, written down and read back, decides alike; and nothing is tried where models are frozen. */
static void test_history_keeps_it(void **state) {
    (void)state;
    pel_models *models = pel_models_create(&pel_allocator_default), *copy = pel_models_create(&pel_allocator_default);
    pel_model_state kept;
    pel_plan_result r;
    machine m, later;
    size_t cursor = 0;
    random_state = 1;
    make(&m, 2, models);
    for (int i = 0; i < 60; i++) {
        plan(&m, &r);
        run(&m, &r, (double[]){1.0, 1.3});
    }
    while (pel_models_next(models, &cursor, &kept)) {
        assert_int_equal(pel_models_restore(copy, &kept), PEL_OK);
    }
    make(&later, 2, copy);
    later.request.frozen = true;
    for (int i = 0; i < 40; i++) {
        plan(&later, &r);
        assert_false(r.exploring);
        assert_true(uses(&r, DRIVER));
    }
    pel_models_destroy(models);
    pel_models_destroy(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_stays),    cmocka_unit_test(test_faster_variant_comes_in),
        cmocka_unit_test(test_beside_another_device), cmocka_unit_test(test_words_and_limits),
        cmocka_unit_test(test_history_keeps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
