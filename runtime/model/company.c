/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What company costs: how much slower a device is for each other one that works beside it.
 *
 * Devices share memory, links and the threads that feed them. Where that matters, the best division is not the one of all: a
 * device that takes 3 % of the work and slows the others by 5 % is a loss. A line beside others holds for the number of
 * companions that it was taught in; when that number changes, what the line did not expect is news of the company, and only the
 * rest of the line. One number a line, by a Kalman filter, because sizes change with company, and more parameters could not be
 * told apart. Invariant: while the number of companions stays, a line is learned as if nothing of this were here. Rejected: a
 * line for each number (each would begin anew), and one number for all devices (one lives in its caches, another from the memory
 * bus). What a launch alone tells is looked up in its line as long as the machine stays the same; when the line beside others
 * begins anew, what it has told is kept in that number, and the line alone is forgotten: it is of a machine that has gone.
 * Rejected: comparing on (a device that became slower looked as if company had slowed it down, and was believed to be faster
 * alone), and moving the line alone with the other one (right for a device that changed, wrong for ever where company did).
 */
#include "model/table.h"

#include <math.h>

#define YOUNG 4u         /* observations before which a line cannot tell company from anything else */
#define CLIP 2.5         /* deviations */
#define SAME 0.02        /* companions: no difference */
#define FOLLOWS 0.1      /* how fast a line moves to the company that it is in now */
#define MOST 0.7         /* each companion twice as slow: more is no sharing, it is something else */
#define LINES_APART 0.02 /* two lines of one device differ so much without any reason */
#define OWN_SCATTER 8u   /* observations alone before which their scatter is taken for that beside others */

/* In another company than the line's. Out of line: its frame would be paid for by every chunk in the same one. */
__attribute__((noinline)) static double learn_difference(pel_model_entry *entry, double units, double ns, double more) {
    if (entry->fit.samples >= YOUNG && units > 0.0 && ns > 0.0) {
        pel_cost line = pel_fit_cost(&entry->fit);
        double scatter = fmax(line.deviation, LINES_APART), expected = entry->company * more;
        double error = log(ns / (line.start_ns + line.unit_ns * pel_cost_counted(&line, units))) - expected;
        double most = CLIP * sqrt(scatter * scatter + entry->company_variance * more * more);
        double gain = entry->company_variance * more / (entry->company_variance * more * more + scatter * scatter);
        entry->company = fmin(fmax(entry->company + gain * fmin(fmax(error, -most), most), -MOST), MOST);
        entry->company_variance *= 1.0 - gain * more;
    }
    double own = ns * exp(-entry->company * more), moved = FOLLOWS * more;
    pel_fit_scale(&entry->fit, exp(entry->company * moved));
    entry->companions += moved;
    return own * exp(entry->company * moved);
}

double pel_company_learn(pel_model_entry *entry, double units, double ns, double companions) {
    /* new, or from the history, which knows nothing of company */
    if (entry->fit.samples == 0 || entry->company_variance <= 0.0) {
        entry->companions = companions;
        entry->company = 0.0;
        entry->company_variance = PEL_COMPANY_PRIOR * PEL_COMPANY_PRIOR;
    }
    double more = companions - entry->companions;
    return fabs(more) < SAME ? ns : learn_difference(entry, units, ns, more);
}

/* What the line alone tells of a companion, where the line beside others says `cost`; the weight of that; 0: nothing. */
static double told_alone(const pel_cost *cost, double units, double companions, double *each) {
    const pel_line *other = &cost->alone;
    const double own = fmax(cost->deviation, LINES_APART);
    const double its = fmax(other->deviation, other->samples < OWN_SCATTER ? own : LINES_APART);
    const double slower = log((cost->start_ns + cost->unit_ns * units) / (other->start_ns + other->unit_ns * units));
    const double variance = own * own / fmin((double)cost->samples, 50.0) + its * its / fmin((double)other->samples, 50.0) +
                            LINES_APART * LINES_APART;
    if (!(slower > -CLIP * sqrt(variance))) { /* company does not help: what took so long alone was an accident */
        return 0.0;
    }
    *each = fmin(slower / companions, MOST);
    return companions * companions / variance;
}

void pel_company_keep(pel_model_entry *beside, uint64_t samples, pel_model_entry *alone) {
    /* Less may be luck, and is no more than its line alone is off by itself. */
    if (alone == NULL || fabs(beside->fit.jump) < CLIP * fmax(sqrt(beside->fit.variance), LINES_APART)) {
        return;
    }
    if (beside->company_variance > 0.0 && beside->companions >= SAME && samples >= YOUNG) {
        const double then = exp(-beside->fit.jump);
        pel_cost cost = pel_fit_cost(&beside->fit), other = pel_fit_cost(&alone->fit);
        cost.start_ns *= then;
        cost.unit_ns *= then;
        cost.samples = samples;
        cost.alone = (pel_line){other.start_ns, other.unit_ns, other.deviation, other.samples};
        double each = 0.0, weight = told_alone(&cost, alone->fit.largest, beside->companions, &each);
        double precision = 1.0 / beside->company_variance + weight;
        beside->company = (beside->company / beside->company_variance + weight * each) / precision;
        beside->company_variance = 1.0 / precision;
    }
    pel_fit_forget(&alone->fit);
}

void pel_company_cost(const pel_model_entry *beside, const pel_model_entry *alone, pel_cost *cost) {
    if (beside == NULL || beside->company_variance <= 0.0 || beside->companions < SAME) {
        return;
    }
    double precision = 1.0 / beside->company_variance, sum = precision * beside->company;
    if (alone != NULL && alone->fit.samples > 0 && beside->fit.samples >= YOUNG) {
        double each = 0.0, weight = told_alone(cost, alone->fit.largest, beside->companions, &each);
        sum += weight * each;
        precision += weight;
    }
    cost->companions = beside->companions;
    cost->company = sum / precision;
    cost->company_error = sqrt(1.0 / precision);
}
