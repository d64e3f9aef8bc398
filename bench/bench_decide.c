/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What deciding costs: one plan with all its words for 2 to 64 devices, one observation learned, one prediction. These run
 * inside every launch, under the runtime's lock.
 */
#include "cli/bench_measure.h"
#include "harness.h"
#include "model/model.h"
#include "planner/planner.h"

#include <math.h>
#include <string.h>

enum { BATCH = 2000, ROUNDS = 31 };

typedef struct desk {
    pel_models *models;
    pel_plan_device devices[PEL_PLAN_DEVICE_LIMIT];
    pel_plan_request request;
    uint64_t launch;
} desk;

static const pel_model_family family = {1, 2, 1.0};

static void learn(desk *d, uint32_t count) {
    pel_lesson_chunk chunks[PEL_PLAN_DEVICE_LIMIT];
    uint64_t lo = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* Sizes and times that wander a little, as real ones do. */
        uint64_t n = 1000 + 40 * ((d->launch * 7 + i) % 16);
        double luck = 1.0 + 0.004 * (double)((d->launch * 5 + i) % 11);
        chunks[i] =
            (pel_lesson_chunk){.device = i, .lo = lo, .hi = lo + n, .ns = (2e4 + 10.0 * (double)n * (1.0 + 0.3 * i)) * luck};
        lo += n;
    }
    d->launch++;
    (void)pel_models_learn(d->models,
                           &(pel_lesson){.family = family, .chunks = chunks, .chunk_count = count, .makespan_ns = 1e5});
}

static void predict(desk *d, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        d->devices[i].cost = pel_models_cost(d->models, &family, i);
    }
}

static void plan(desk *d, uint32_t count) {
    static pel_plan_result result;
    d->request.device_count = count;
    d->request.record = pel_models_record(d->models, &family);
    d->request.launches_seen++;
    (void)pel_planner_plan(&d->request, &result);
}

static void row(pel_results *results, desk *d, const char *name, const char *subject, void (*run)(desk *, uint32_t),
                uint32_t count, double per) {
    double values[ROUNDS];
    if (!pel_results_wants(results, name)) {
        return;
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double began = pel_bench_now();
        for (uint32_t i = 0; i < BATCH; i++) {
            run(d, count);
        }
        values[round] = (pel_bench_now() - began) / BATCH / per;
    }
    pel_results_add(results, name, subject, "ns", values, ROUNDS, NULL);
}

int main(int argc, char **argv) {
    static desk d;
    static char ids[PEL_PLAN_DEVICE_LIMIT][16];
    pel_results results;
    if (!pel_results_open(&results, "decide", argc, argv)) {
        return 2;
    }
    d.models = pel_models_create(&pel_allocator_default);
    if (d.models == NULL) {
        return 2;
    }
    for (uint32_t i = 0; i < PEL_PLAN_DEVICE_LIMIT; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "opencl:%u", i);
        d.devices[i] = (pel_plan_device){.id = ids[i], .prior_rate = 1.0, .unit_limit = UINT64_MAX};
    }
    d.request = (pel_plan_request){.units = 1000000, .granularity = 64, .devices = d.devices};
    for (uint32_t i = 0; i < 64; i++) {
        learn(&d, PEL_PLAN_DEVICE_LIMIT);
    }
    predict(&d, PEL_PLAN_DEVICE_LIMIT);
    row(&results, &d, "learn", "one chunk of 8", learn, 8, 8.0);
    row(&results, &d, "predict", "one device", predict, 8, 8.0);
    row(&results, &d, "plan", "2 devices", plan, 2, 1.0);
    row(&results, &d, "plan", "8 devices", plan, 8, 1.0);
    row(&results, &d, "plan", "64 devices", plan, 64, 1.0);
    pel_models_destroy(d.models);
    return pel_results_close(&results);
}
