/* SPDX-License-Identifier: BSD-3-Clause */
#include "planner/groups.h"
#include "planner/confidence.h"

#include <math.h>

#define FEW 4u          /* launches from which on an arm is believed */
#define SETTLED 8u      /* of the default, before anything else is tried */
#define EVERY 8u        /* launches between trials */
#define MOST_SAMPLES 50.0 /* lines forget */
#define BUDGET 0.01     /* of the family's time, as for everything that is tried (doubt.c) */
#define WORST 0.5       /* what a size that was never seen may lose */

typedef struct view {
    double ns, error;
    bool known;
} view;

static view view_of(const pel_cost *cost, bool alone, double units) {
    const pel_line beside = {cost->start_ns, cost->unit_ns, cost->deviation, cost->samples},
                   *line = alone ? &cost->alone : &beside;
    view v = {.known = line->samples >= FEW};
    if (v.known) {
        v.ns = line->start_ns + line->unit_ns * pel_cost_counted(cost, units);
        v.error = fmax(line->deviation, PEL_CONFIDENCE_LEAST) / sqrt(fmin((double)line->samples, MOST_SAMPLES));
    }
    return v;
}

/* By how many standard errors the arm is faster than the default, and by what part; as the launches went that both are known
 * from. */
static double lead(const pel_group_request *request, uint32_t arm, double *gain) {
    double sure = 0.0;
    *gain = 0.0;
    for (int alone = 0; alone < 2 && sure == 0.0; alone++) {
        const view mine = view_of(&request->costs[arm], alone == 1, request->units),
                   its = view_of(&request->costs[0], alone == 1, request->units);
        if (mine.known && its.known) {
            sure = pel_confidence_lead(mine.ns, mine.error, its.ns, its.error);
            *gain = 1.0 - mine.ns / its.ns;
        }
    }
    return sure;
}

static uint64_t seen(const pel_group_request *request, uint32_t arm) {
    return request->costs[arm].samples + request->costs[arm].alone.samples;
}

static double time_of(const pel_group_request *request, uint32_t arm) {
    const pel_cost *cost = &request->costs[arm];
    const double units = pel_cost_counted(cost, request->units);
    return cost->alone.samples > 0 ? cost->alone.start_ns + cost->alone.unit_ns * units
           : cost->samples > 0     ? cost->start_ns + cost->unit_ns * units
                                   : 0.0;
}

/* What a trial may cost beyond the launch. */
static double price_of(const pel_group_request *request, uint32_t arm) {
    return WORST * time_of(request, 0) +
           (seen(request, arm) == 0 && request->record->cold_in_a_row == 0 ? request->variant_ns : 0.0);
}

/* Of those that are not known to be slower the one that was begun, else the first: each new one may have to be compiled. */
static uint32_t next_trial(const pel_group_request *request) {
    uint32_t found = 0;
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS; arm++) {
        const uint64_t count = seen(request, arm);
        double gain;
        const bool hopeless = lead(request, arm, &gain) < -PEL_CONFIDENCE_SURE;
        if ((request->allowed >> arm & 1u) != 0 && count < 2 * FEW && !hopeless && (found == 0 || count > seen(request, found))) {
            found = arm;
        }
    }
    return found;
}

void pel_group_choose(const pel_group_request *request, pel_group_choice *choice) {
    *choice = (pel_group_choice){.ns[0] = time_of(request, 0)};
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS; arm++) {
        choice->ns[arm] = (request->allowed >> arm & 1u) != 0 ? time_of(request, arm) : 0.0;
    }
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS; arm++) {
        double gain;
        if ((request->allowed >> arm & 1u) != 0 && lead(request, arm, &gain) > PEL_CONFIDENCE_SURE && gain > choice->gain) {
            choice->best = arm;
            choice->gain = gain;
        }
    }
    choice->trial = choice->best;
    const pel_record *record = request->record;
    if (request->frozen || record == NULL || seen(request, 0) < SETTLED) {
        return;
    }
    /* what has just been compiled is measured at once */
    if (record->cold_in_a_row == 0 && request->launches_seen % EVERY != EVERY / 2) {
        return;
    }
    const uint32_t arm = next_trial(request);
    if (arm != 0 && record->explored_ns + price_of(request, arm) <= BUDGET * record->total_ns) {
        choice->trial = arm;
    }
}
