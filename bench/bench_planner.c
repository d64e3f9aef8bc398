/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How good the planner's choices are: pel, the real planner and dispatcher under the virtual clock, against policies of the field
 * on machines drawn by seed.
 *
 * `gap` is the time of a division without luck over that of the hindsight oracle, minus 1: luck cannot be planned, so it is no
 * merit and no fault. Comparisons of whole runs (over best single, over HGuided) are with luck, because reacting to it is what
 * the rivals are for. A seed is a machine, a kernel and its luck; figures are percentiles over seeds. Phases of a learning run:
 * 100 launches (steady: the last 60), then the fastest device becomes 2.5 times slower for 100 more (steady after drift: the last
 * 60), then a restart that keeps the models. Two policies are no rivals: the one that knows all but the coming luck, and the
 * learner that knows all but speeds and start costs (planner_learner.h). What the latter loses is what noise takes from anybody:
 * a bar below it could not be reached.
 */
#include "harness.h"
#include "planner_decompose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEDS = 300,
    QUICK_SEEDS = 24,
    LAUNCHES = 200,
    STEADY_FROM = 40, /* launches after the begin, and after the drift */
    DRIFT_AT = 100,
    TOTAL_AT = 150, /* what runs are compared by */
    WARM = 10,
    SIZED_WARM_UP = 40,
    SIZED_LAUNCHES = 60
};
#define NEAR 0.10
#define DRIFT 2.5

typedef struct figures {
    double cold[SEEDS], steady[SEEDS], drift[SEEDS], after[SEEDS], warm[SEEDS], exploring[SEEDS], total[SEEDS];
} figures;

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void report(pel_results *results, const char *row, const char *subject, const char *unit, const double *values,
                   uint32_t count) {
    static const double fractions[] = {0.5, 0.95};
    double sorted[SEEDS];
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    for (int i = 0; i < 2; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s %s", subject, i == 0 ? "p50" : "p95");
        uint32_t at = (uint32_t)ceil(fractions[i] * count);
        pel_results_add_one(results, row, name, unit, sorted[at > 0 ? at - 1 : 0], count, NULL);
    }
}

/* One launch at the world's present state. */
static bool step(pel_contestant *contestant, pel_world *world, double *gap, pel_outcome *outcome) {
    uint64_t units = pel_world_next_size(world);
    double now = contestant->now, oracle = pel_world_divide(world, now, units, contestant->best);
    if (!pel_contestant_launch(contestant, units, outcome)) {
        return false;
    }
    *gap = outcome->ideal / oracle - 1.0;
    return true;
}

/* Launches until the gap is small. */
static void reach(double *count, uint32_t launch, double gap) {
    if (isnan(*count) && gap < NEAR) {
        *count = (double)launch;
    }
}

static bool learning_run(pel_policy policy, pel_family family, uint64_t seed, uint32_t at, figures *out) {
    static pel_world world;
    pel_contestant contestant;
    pel_outcome outcome;
    double gap = INFINITY, cold = NAN, drift = NAN, warm = NAN, steady = 0.0, after = 0.0, spent = 0.0,
           excess = 0.0;
    bool good = true;
    pel_world_draw(&world, family, seed, 0.0);
    uint32_t fastest = pel_world_fastest(&world);
    if (!pel_contestant_begin(&contestant, policy, &world)) {
        return false;
    }
    for (uint32_t launch = 0; launch < LAUNCHES && good; launch++) {
        world.factor[fastest] = launch >= DRIFT_AT ? DRIFT : 1.0;
        good = step(&contestant, &world, &gap, &outcome);
        reach(&cold, launch, gap);
        if (launch >= STEADY_FROM && launch < DRIFT_AT) {
            steady += gap / (DRIFT_AT - STEADY_FROM);
            spent += outcome.ideal;
            excess += outcome.exploring ? outcome.ideal * gap / (1.0 + gap) : 0.0;
        }
        if (launch >= DRIFT_AT) {
            reach(&drift, launch - DRIFT_AT, gap);
        }
        if (launch >= DRIFT_AT + STEADY_FROM) {
            after += gap / (LAUNCHES - DRIFT_AT - STEADY_FROM);
        }
        if (launch + 1 == TOTAL_AT) {
            out->total[at] = contestant.now;
        }
    }
    if (good && policy == PEL_POLICY_PEL && pel_contestant_restart(&contestant)) {
        for (uint32_t launch = 0; launch < WARM && good; launch++) {
            good = step(&contestant, &world, &gap, &outcome);
            reach(&warm, launch, gap);
        }
    }
    pel_contestant_end(&contestant);
    out->cold[at] = isnan(cold) ? LAUNCHES : cold;
    out->drift[at] = isnan(drift) ? LAUNCHES - DRIFT_AT : drift;
    out->warm[at] = isnan(warm) ? WARM : warm;
    out->steady[at] = 100.0 * steady;
    out->after[at] = 100.0 * after;
    out->exploring[at] = 100.0 * excess / spent;
    return good;
}

/*
 * With --full: the gap of the steady launches, by their size, and what would be left of it with part of the truth; means over
 * all launches.
 */
static bool decomposed(pel_results *results, pel_family family, const char *of, uint32_t seeds) {
    static const char *const parts[PEL_PART_COUNT] = {"plan", "its devices, best", "by the lines", "true starts", "true speeds"};
    static pel_decomposition d;
    static pel_world world;
    char row[64], name[64];
    (void)snprintf(row, sizeof row, "decomposed %s", of);
    if (!results->full || !pel_results_wants(results, row)) {
        return true;
    }
    memset(&d, 0, sizeof d);
    for (uint32_t i = 0; i < seeds; i++) {
        pel_contestant contestant;
        bool good = true;
        pel_world_draw(&world, family, 1 + i, 0.0);
        if (!pel_contestant_begin(&contestant, PEL_POLICY_PEL, &world)) {
            return false;
        }
        for (uint32_t launch = 0; launch < DRIFT_AT && good; launch++) {
            pel_outcome outcome;
            uint64_t units = pel_world_next_size(&world);
            double oracle = pel_world_divide(&world, contestant.now, units, contestant.best);
            if (launch >= STEADY_FROM) {
                pel_decompose_before(&d, &contestant, units, oracle);
            }
            good = pel_contestant_launch(&contestant, units, &outcome);
            if (good && launch >= STEADY_FROM) {
                pel_decompose_after(&d, &contestant, &outcome);
            }
        }
        pel_contestant_end(&contestant);
        if (!good) {
            return false;
        }
    }
    for (uint32_t class = 0; class < PEL_DECOMPOSE_CLASSES; class++) {
        (void)snprintf(name, sizeof name, "%s, %s", of, pel_decompose_classes[class]);
        pel_results_add_one(results, name, "launches", "", d.count[class], seeds, NULL);
        for (uint32_t part = 0; part < PEL_PART_COUNT && d.count[class] > 0; part++) {
            pel_results_add_one(results, name, parts[part], "%", 100.0 * d.sum[class][part] / d.count[class], seeds, NULL);
        }
    }
    return true;
}

static bool learning(pel_results *results, pel_family family, const char *row, uint32_t seeds) {
    static figures all[PEL_POLICY_COUNT];
    if (!pel_results_wants(results, row)) {
        return true;
    }
    for (uint32_t policy = 0; policy < PEL_POLICY_COUNT; policy++) {
        char name[64];
        for (uint32_t i = 0; i < seeds; i++) {
            if (!learning_run((pel_policy)policy, family, 1 + i, i, &all[policy])) {
                return false;
            }
        }
        (void)snprintf(name, sizeof name, policy == PEL_POLICY_PEL ? "%s" : "%s, %s", row, pel_policy_names[policy]);
        if (policy != PEL_POLICY_KNOWS) { /* 0 by its meaning */
            report(results, name, "steady gap", "%", all[policy].steady, seeds);
            report(results, name, "steady gap after drift", "%", all[policy].after, seeds);
        }
        if (policy == PEL_POLICY_PEL || policy == PEL_POLICY_EWMA) {
            report(results, name, "cold launches", "", all[policy].cold, seeds);
            report(results, name, "drift launches", "", all[policy].drift, seeds);
        }
        if (policy == PEL_POLICY_PEL) {
            report(results, name, "warm launches", "", all[policy].warm, seeds);
            report(results, name, "exploring", "%", all[policy].exploring, seeds);
        } else {
            double ratio[SEEDS];
            for (uint32_t i = 0; i < seeds; i++) {
                ratio[i] = all[PEL_POLICY_PEL].total[i] / all[policy].total[i];
            }
            (void)snprintf(name, sizeof name, "over %s", pel_policy_names[policy]);
            report(results, row, name, "ratio", ratio, seeds);
        }
    }
    return true;
}

static bool sized_run(pel_policy policy, double target_ns, uint64_t seed, double *ns) {
    static pel_world world;
    pel_contestant contestant;
    pel_outcome outcome;
    bool good = true;
    *ns = 0.0;
    pel_world_draw(&world, PEL_FAMILY_SIZED, seed, target_ns);
    if (!pel_contestant_begin(&contestant, policy, &world)) {
        return false;
    }
    for (uint32_t launch = 0; launch < SIZED_WARM_UP + SIZED_LAUNCHES && good; launch++) {
        good = pel_contestant_launch(&contestant, world.units, &outcome);
        *ns += launch >= SIZED_WARM_UP ? outcome.ns : 0.0;
    }
    pel_contestant_end(&contestant);
    return good;
}

static bool sized(pel_results *results, double target_ms, uint32_t seeds) {
    static double ns[PEL_POLICY_COUNT][SEEDS];
    char row[32];
    (void)snprintf(row, sizeof row, "%g ms", target_ms);
    if (!pel_results_wants(results, row)) {
        return true;
    }
    for (uint32_t policy = 0; policy < PEL_POLICY_COUNT; policy++) {
        double ratio[SEEDS];
        char name[64];
        if (policy == PEL_POLICY_LEARNER || policy == PEL_POLICY_KNOWS) {
            continue; /* these rows are about rivals */
        }
        for (uint32_t i = 0; i < seeds; i++) {
            if (!sized_run((pel_policy)policy, 1e6 * target_ms, 1 + i, &ns[policy][i])) {
                return false;
            }
            ratio[i] = ns[PEL_POLICY_PEL][i] / ns[policy][i];
        }
        if (policy != PEL_POLICY_PEL) {
            (void)snprintf(name, sizeof name, "over %s", pel_policy_names[policy]);
            report(results, row, name, "ratio", ratio, seeds);
        }
    }
    return true;
}

int main(int argc, char **argv) {
    static const double targets_ms[] = {1, 3, 10, 30, 100, 1000};
    static const struct {
        pel_family family;
        const char *row;
    } families[] = {{PEL_FAMILY_ANCHOR, "anchor"},
                    {PEL_FAMILY_MIXED, "mixed sizes"},
                    {PEL_FAMILY_BENT, "bent"},
                    {PEL_FAMILY_IRREGULAR, "irregular"},
                    {PEL_FAMILY_CORRELATED, "correlated"}};
    pel_results results;
    bool good = true;
    if (!pel_results_open(&results, "planner", argc, argv)) {
        return 2;
    }
    uint32_t seeds = results.quick ? QUICK_SEEDS : SEEDS;
    for (size_t i = 0; i < sizeof families / sizeof *families && good; i++) {
        good = learning(&results, families[i].family, families[i].row, seeds);
    }
    for (size_t i = 0; i < sizeof families / sizeof *families && good; i++) {
        good = decomposed(&results, families[i].family, families[i].row, seeds);
    }
    for (size_t i = 0; i < sizeof targets_ms / sizeof *targets_ms && good; i++) {
        good = sized(&results, targets_ms[i], seeds);
    }
    int status = pel_results_close(&results);
    return good ? status : 2;
}
