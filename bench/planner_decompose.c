/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines are those of devices beside others; what company truly does is divided out of them, because the oracle's search puts it
 * in again. A launch before all devices are known has no lines to value: it is left out.
 */
#include "planner_decompose.h"

#include <math.h>
#include <string.h>

const char *const pel_decompose_classes[PEL_DECOMPOSE_CLASSES] = {"< 1 ms",        "1 to 10 ms",        "> 10 ms",
                                                                  "< 1 ms, tailed", "1 to 10 ms, tailed", "> 10 ms, tailed"};

void pel_decompose_before(pel_decomposition *d, const pel_contestant *contestant, uint64_t units, double oracle) {
    const pel_world *truth = contestant->world;
    d->known = true;
    d->units = units;
    d->oracle = oracle;
    d->now = contestant->now;
    for (uint32_t k = 0; k < 3; k++) {
        d->believed[k] = *truth;
    }
    for (uint32_t i = 0; i < truth->count; i++) {
        pel_contestant_line line;
        if (!pel_contestant_get_line(contestant, i, &line)) {
            d->known = false;
            return;
        }
        const double company = 1.0 + truth->devices[i].contention * line.companions;
        const double start = line.start_ns / company, rate = 1e3 * truth->factor[i] * company / line.unit_ns;
        d->believed[0].devices[i].start_ns = d->believed[2].devices[i].start_ns = start;
        d->believed[0].devices[i].rate = d->believed[1].devices[i].rate = rate;
    }
}

/* Without luck, on the true world. */
static double value(const pel_decomposition *d, const pel_world *truth, const uint64_t *edges) {
    double alone[PEL_WORLD_DEVICES] = {0.0};
    for (uint32_t i = 0; i < truth->count; i++) {
        alone[i] = pel_world_time(truth, d->now, d->units, (pel_world_range){i, edges[i], edges[i + 1]});
    }
    return pel_world_together(truth, alone);
}

void pel_decompose_after(pel_decomposition *d, const pel_contestant *contestant, const pel_outcome *outcome) {
    uint32_t class = d->oracle < 1e6 ? 0 : d->oracle < 1e7 ? 1 : 2;
    uint64_t edges[PEL_WORLD_DEVICES + 1];
    if (!d->known) {
        return;
    }
    class += outcome->held ? PEL_DECOMPOSE_SIZES : 0;
    double *sum = d->sum[class];
    d->count[class]++;
    sum[PEL_PART_PLAN] += outcome->ideal / d->oracle - 1.0;
    for (uint32_t k = 0; k < 3; k++) {
        (void)pel_world_divide(&d->believed[k], d->now, d->units, edges);
        sum[PEL_PART_LINES + k] += value(d, contestant->world, edges) / d->oracle - 1.0;
    }
    d->believed[0] = *contestant->world;
    for (uint32_t i = 0; i < contestant->world->count; i++) {
        d->believed[0].devices[i].start_ns += (outcome->devices >> i & 1u) != 0 ? 0.0 : 1e18;
    }
    (void)pel_world_divide(&d->believed[0], d->now, d->units, edges);
    sum[PEL_PART_SET] += value(d, contestant->world, edges) / d->oracle - 1.0;
}
