/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What deciding costs: one plan with all its words for 2 to 64 devices, one observation learned, one prediction. These run
 * inside every launch, under the runtime's lock. Beside learning, in turns with it and over the same data, stands the least that
 * a learner of its kind needs: the recursion alone, written by hand, without a table of models, company, knees or accounts.
 */
#include "cli/bench_measure.h"
#include "harness.h"
#include "model/model.h"
#include "planner/planner.h"

#include <math.h>
#include <string.h>

enum { BATCH = 2000, ROUNDS = 31 };

/* The sums of a line's regression, the line, and what watches over it. */
typedef struct bare_line {
    double w, wn, wnn, wt, wnt;
    double start, slope, variance, up, down;
} bare_line;

typedef struct desk {
    bare_line bare[PEL_PLAN_DEVICE_LIMIT];
    pel_models *models;
    pel_plan_device devices[PEL_PLAN_DEVICE_LIMIT];
    pel_plan_request request;
    uint64_t launch;
    pel_record differing; /* of devices that are not alike along the range */
    bool no_window;       /* a plan that should have been one in windows was not */
} desk;

static const pel_model_family family = {1, 2, 1.0};

/* Sizes and times that wander a little, as real ones do. */
static void measure(desk *d, pel_lesson_chunk *chunks, uint32_t count) {
    uint64_t lo = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n = 1000 + 40 * ((d->launch * 7 + i) % 16);
        double luck = 1.0 + 0.004 * (double)((d->launch * 5 + i) % 11);
        chunks[i] =
            (pel_lesson_chunk){.device = i, .lo = lo, .hi = lo + n, .ns = (2e4 + 10.0 * (double)n * (1.0 + 0.3 * i)) * luck};
        lo += n;
    }
    d->launch++;
}

static void learn(desk *d, uint32_t count) {
    pel_lesson_chunk chunks[PEL_PLAN_DEVICE_LIMIT];
    measure(d, chunks, count);
    (void)pel_models_learn(d->models,
                           &(pel_lesson){.family = family, .chunks = chunks, .chunk_count = count, .makespan_ns = 1e5});
}

static inline double within(double value, double most) {
    return value > most ? most : value < -most ? -most : value;
}

/* Least squares with relative errors, Huber clipping, forgetting and a two-sided CUSUM that makes it forget more. */
static void update(bare_line *line, double units, double ns) {
    const double n = units * 1e-3, predicted = line->start + line->slope * n, rate = 1.0 / predicted;
    const double relative = ns * rate - 1.0, deviation = sqrt(line->variance > 1e-4 ? line->variance : 1e-4);
    const double bounded = within(relative, 2.0 * deviation), z = within(relative / deviation, 2.5);
    line->variance += 0.05 * (bounded * bounded - line->variance);
    line->up = line->up + z - 0.5 > 0.0 ? line->up + z - 0.5 : 0.0;
    line->down = line->down - z - 0.5 > 0.0 ? line->down - z - 0.5 : 0.0;
    double keep = 0.98;
    if (line->up > 7.0 || line->down > 7.0) {
        keep = 0.1;
        line->up = line->down = 0.0;
    }
    const double weight = rate * rate, t = predicted * (1.0 + bounded);
    line->w = keep * line->w + weight;
    line->wn = keep * line->wn + weight * n;
    line->wnn = keep * line->wnn + weight * n * n;
    line->wt = keep * line->wt + weight * t;
    line->wnt = keep * line->wnt + weight * n * t;
    const double determinant = line->w * line->wnn - line->wn * line->wn;
    if (determinant > 1e-9 * line->w * line->wnn) {
        const double start = (line->wt * line->wnn - line->wn * line->wnt) / determinant;
        line->start = start > 0.0 ? start : 0.0;
    }
    line->slope = (line->wnt - line->start * line->wn) / line->wnn;
}

static void bare(desk *d, uint32_t count) {
    pel_lesson_chunk chunks[PEL_PLAN_DEVICE_LIMIT];
    measure(d, chunks, count);
    for (uint32_t i = 0; i < count; i++) {
        update(&d->bare[chunks[i].device], (double)(chunks[i].hi - chunks[i].lo), chunks[i].ns);
    }
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

/* Devices whose own densities are known: the best window is looked for. */
static void place(desk *d, uint32_t count) {
    static pel_plan_result result;
    d->request.device_count = count;
    d->request.record = &d->differing;
    d->request.launches_seen++;
    (void)pel_planner_plan(&d->request, &result);
    d->no_window = d->no_window || result.slice_count != 3;
}

/* The second one is dear at both ends of the range. */
static void differ(desk *d) {
    static double all[PEL_MODEL_PROFILE_BINS + 1], own[2][PEL_MODEL_PROFILE_BINS + 1];
    d->differing = *pel_models_record(d->models, &family);
    for (int i = 0; i < PEL_MODEL_PROFILE_BINS; i++) {
        const double off = fabs(2.0 * (i + 0.5) / PEL_MODEL_PROFILE_BINS - 1.0);
        all[i + 1] = own[0][i + 1] = all[i] + 1.0;
        own[1][i + 1] = own[1][i] + 1.0 + 7.0 * off * off;
    }
    for (int i = 0; i <= PEL_MODEL_PROFILE_BINS; i++) {
        all[i] /= all[PEL_MODEL_PROFILE_BINS];
        own[0][i] /= own[0][PEL_MODEL_PROFILE_BINS];
        own[1][i] /= own[1][PEL_MODEL_PROFILE_BINS];
    }
    d->differing.profile = all;
    for (uint32_t i = 0; i < 2; i++) {
        d->differing.own[i] = own[i];
        d->differing.own_device[i] = d->devices[i].model;
    }
}

typedef struct contestant {
    const char *subject;
    void (*run)(desk *, uint32_t);
} contestant;

enum { CONTESTANTS = 2 };

/* Contestants take turns, because the machine's speed changes within a second. */
static void row(pel_results *results, desk *d, const char *name, const contestant *who, uint32_t whos, uint32_t count,
                double per) {
    double values[CONTESTANTS][ROUNDS];
    if (!pel_results_wants(results, name)) {
        return;
    }
    for (uint32_t turn = 0; turn < ROUNDS * whos; turn++) {
        const uint32_t round = turn / whos, at = turn % whos;
        double began = pel_bench_now();
        for (uint32_t i = 0; i < BATCH; i++) {
            who[at].run(d, count);
        }
        values[at][round] = (pel_bench_now() - began) / BATCH / per;
    }
    for (uint32_t i = 0; i < whos; i++) {
        pel_results_add(results, name, who[i].subject, "ns", values[i], ROUNDS, NULL);
    }
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
        d.devices[i] = (pel_plan_device){.id = ids[i], .model = i, .prior_rate = 1.0, .unit_limit = UINT64_MAX};
    }
    for (uint32_t i = 0; i < PEL_PLAN_DEVICE_LIMIT; i++) {
        d.bare[i] = (bare_line){.start = 2e4, .slope = 1e4, .variance = 0.0025};
    }
    d.request = (pel_plan_request){.units = 1000000, .granularity = 64, .devices = d.devices};
    for (uint32_t i = 0; i < 64; i++) {
        learn(&d, PEL_PLAN_DEVICE_LIMIT);
    }
    predict(&d, PEL_PLAN_DEVICE_LIMIT);
    const contestant learners[] = {{"one chunk of 8", learn}, {"bare update, one chunk of 8", bare}};
    row(&results, &d, "learn", learners, CONTESTANTS, 8, 8.0);
    row(&results, &d, "predict", &(contestant){"one device", predict}, 1, 8, 8.0);
    row(&results, &d, "plan", &(contestant){"2 devices", plan}, 1, 2, 1.0);
    differ(&d);
    row(&results, &d, "plan", &(contestant){"2 devices, a window", place}, 1, 2, 1.0);
    row(&results, &d, "plan", &(contestant){"8 devices", plan}, 1, 8, 1.0);
    row(&results, &d, "plan", &(contestant){"64 devices", plan}, 1, 64, 1.0);
    pel_models_destroy(d.models);
    if (d.no_window) {
        fprintf(stderr, "plan, 2 devices, a window: planned without one\n");
    }
    const int status = pel_results_close(&results);
    return d.no_window ? 1 : status;
}
