/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a piece of a tail tells as much of the chunks' line.
 *
 * Pieces of a tail have a line of their own, because costs bend where chunks are small. Where they do not, keeping them apart
 * throws away what pieces tell: on launches of mixed sizes that was the largest part of the planner's gap, because pieces are
 * small, and small chunks tell the start cost. So a piece teaches the line of the chunks, too, where two things hold: the line's
 * own chunks have been about as small, so little is told of sizes at which only pieces were seen; and what pieces took is not
 * known to differ from what the line says. Invariant: where a launch is always of one size, the line learns from its own chunks
 * alone. Rejected: one line for all (bent costs: a gap of 12 % at 95 % instead of 4), and to count in how wrong the line itself
 * may be when the two are compared (dearer pieces were believed for longer, and mixed sizes gained nothing).
 */
#include "model/table.h"

#include <math.h>

#define LEAST_CREEPS 1.01 /* an observation: sizes that have not been seen for long do not count for ever */
#define LEAST_BEFORE 4u   /* own chunks that the line rests on */
#define CLIP 2.5          /* deviations of one chunk */
#define APART 3.0 /* standard errors of the mean: they differ. 2 costs a third of the gain (mixed sizes, seeds 1001 to 1300) */
#define BELOW 4.0         /* times as small as the line's own chunks: so far it may be extended */
#define REMEMBERED 40.0   /* chunks */
#define COMPARED_LEAST 2.0 /* before any is believed: pieces that are dearer spoil the line with the first one */
#define SCATTER_LEAST 0.01

void pel_kindred_own(pel_model_entry *line, double units) {
    const double crept = line->least * LEAST_CREEPS;
    line->least = line->least > 0.0 && crept < units ? crept : units;
}

bool pel_kindred_teaches(pel_model_entry *other, const pel_model_entry *line, double units, double ns) {
    if (line == NULL || line->fit.samples < LEAST_BEFORE || !(line->least > 0.0) || units * BELOW < line->least || !(ns > 0.0)) {
        return false;
    }
    const pel_cost cost = pel_fit_cost(&line->fit);
    const double scatter = fmax(cost.deviation, SCATTER_LEAST), most = CLIP * scatter;
    const double off = ns / (cost.start_ns + cost.unit_ns * pel_cost_counted(&cost, units)) - 1.0;
    other->compared = fmin(other->compared + 1.0, REMEMBERED);
    other->apart += (fmin(fmax(off, -most), most) - other->apart) / other->compared;
    return other->compared >= COMPARED_LEAST && fabs(other->apart) * sqrt(other->compared) < APART * scatter;
}
