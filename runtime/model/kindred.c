/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What pieces of a tail tell of the chunks' line.
 *
 * Pieces have a line of their own, because costs bend where chunks are small. Where they do not, keeping them apart throws away
 * what pieces tell: they are small, and small chunks tell the start cost. So both are put together when the line is asked for,
 * each with the information that its sums hold (a 2 x 2 matrix of start and slope), and never when it learns: what does not
 * agree today has spoilt nothing. Pieces may be off as a whole by a little (APART); what differs beyond that and beyond what
 * noise explains (chi squared, two degrees of freedom) takes weight from them. Invariant: the answer does not depend on the
 * order in which the two were seen. Rejected: one line for all (bent costs: a gap of 12 % at 95 % instead of 4), and pieces
 * that teach the line as they come (a wrong start cost stayed in it, and a test one by one threw out half of what agrees).
 */
#include "model/table.h"

#include <math.h>

#define TELLING 3u   /* observations of each */
#define APART 0.015  /* relative deviation of all pieces from the line, honest noise aside */
#define BEARABLE 6.0 /* chi squared: 5 % of pairs of lines that are one */
#define VARIANCE_LEAST 1e-4

/* A line and what is known of it: the inverse covariance of start (a) and time a unit (b). */
typedef struct known {
    double a, b, aa, ab, bb;
} known;

/* False: a knee, or what the latest chunks correct, makes it no straight line. */
static bool know(const pel_fit *fit, const pel_cost *cost, known *line) {
    const double unit = fit->slope / fit->scale;
    const double one = pel_fit_independent(fit) / fmax(fit->variance, VARIANCE_LEAST);
    *line = (known){fit->start, unit, one * fit->w, one * fit->wn * fit->scale, one * fit->wnn * fit->scale * fit->scale};
    return fit->samples >= TELLING && !(fit->knee.size > 0.0) && cost->unit_ns == unit;
}

/* That all of it may be off by the same factor: information along the line itself is worth less. */
static void doubt(known *line) {
    const double along = line->aa * line->a + line->ab * line->b, across = line->ab * line->a + line->bb * line->b;
    const double less = APART * APART / (1.0 + APART * APART * (line->a * along + line->b * across));
    line->aa -= less * along * along;
    line->ab -= less * along * across;
    line->bb -= less * across * across;
}

/* How far apart two lines are, in their own measure. */
static double chi_squared(const known *of, const known *other) {
    const double aa = of->aa + other->aa, ab = of->ab + other->ab, bb = of->bb + other->bb;
    const double da = of->a - other->a, db = of->b - other->b;
    const double ya = other->aa * da + other->ab * db, yb = other->ab * da + other->bb * db;
    const double xa = bb * ya - ab * yb, xb = aa * yb - ab * ya;
    return (da * (of->aa * xa + of->ab * xb) + db * (of->ab * xa + of->bb * xb)) / (aa * bb - ab * ab);
}

void pel_kindred_join(const pel_fit *fit, const pel_fit *pieces, const pel_cost *of_pieces, pel_cost *cost) {
    known line, other;
    if (!know(fit, cost, &line) || !know(pieces, of_pieces, &other)) {
        return;
    }
    doubt(&other);
    line.aa += PEL_FIT_START_PRIOR;
    const double far = chi_squared(&line, &other) / BEARABLE, weight = far > 1.0 ? 1.0 / (far * far) : 1.0;
    const double aa = line.aa + weight * other.aa, ab = line.ab + weight * other.ab, bb = line.bb + weight * other.bb;
    const double ya = line.aa * line.a + line.ab * line.b + weight * (other.aa * other.a + other.ab * other.b);
    const double yb = line.ab * line.a + line.bb * line.b + weight * (other.ab * other.a + other.bb * other.b);
    const double solved = (bb * ya - ab * yb) / (aa * bb - ab * ab), start = solved > 0.0 ? solved : 0.0;
    const double unit = (yb - ab * start) / bb;
    if (isfinite(solved) && isfinite(unit) && unit > 0.0) {
        cost->start_ns = start;
        cost->unit_ns = unit;
    }
}
