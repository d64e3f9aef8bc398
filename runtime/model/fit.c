/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * t(n) = a + b max(n, knee) (model/knee.h) from a stream of noisy, sometimes wild observations.
 *
 * The first eight observations are kept and fitted together, reweighted until outliers no longer count. Then least squares go
 * on over sums that forget (lambda 0.95 to 0.99, in the direction of what is observed: other sizes' news stay), with relative
 * errors clipped at two deviations (Huber); accidents are left out. When all sizes are alike the sums cannot tell a from b:
 * then a stays at its anchor, the last value that the data did determine, or the device's usual one. Invariants: a >= 0, b > 0,
 * finite, whatever comes in. Accidents make chunks late, hardly ever early: a second observation that makes the first look
 * absurd replaces it (a kernel of 190 us first seen at 70 ms, StarPU #50). Drift: a CUSUM of clipped residuals, which one spike
 * cannot fill but four steady ones do; the model restarts from them. Luck may have a memory (heat, other programs): then eight
 * late chunks in a row are one accident, so what the chunk before explains is taken off before drift is looked for. Policy and
 * figures: ANCHORS.md, "Learning schedulers". Rejected: exponential averages of rates (no start cost: 11 % from the optimum at
 * best), and dropping whatever is four deviations off (a changed machine looks like that, and so does a start cost that no size
 * has told yet: mixed sizes, gap 1.79 instead of 1.66 %).
 */
#include "model/fit.h"

#include <math.h>
#include <string.h>

#define LAMBDA_STEADY 0.99 /* where chunks do not resemble the one before: drift beyond the noise shows as likeness */
#define LAMBDA 0.98        /* where they may */
#define LAMBDA_ALIKE 0.95  /* where they do */
#define LEFT 0.5 /* of each sum, after forgetting a fiftieth of one direction: less is a rounding error */
#define LAMBDA_ACROSS 0.999 /* of what observations of other sizes told */
#define CLIP 2.0             /* residuals beyond so many deviations are pulled in */
#define ACCIDENT 10.0        /* what is later teaches the line nothing: see step */
#define DEVIATION_FLOOR 0.01 /* timers and caches alone scatter so much */
#define DEVIATION_FIRST 0.05 /* before there are residuals to tell */
#define FIRST_WEIGHT 2.0     /* how many residuals that is worth */
#define ABSURD 2.0           /* two observations that differ so much beyond any start cost: one is an accident */
#define RIDGE 0.01           /* weight of the anchor, in observations */
/*
 * PEL_FIT_START_PRIOR in the weights' unit, that of noise of 10 %. Late chunks of 20 ms must not look like a start cost of 10 ms:
 * that would end co-execution for a long time.
 */
#define START_PRIOR (0.01 * PEL_FIT_START_PRIOR)
#define LEVER 0.1      /* ... from which sizes differ enough to say that a chunk is nearly all start cost */
#define START_MOST 0.8 /* of the time of a mean chunk, before */
#define DETERMINED 0.02 /* share of the sums' determinant from which a and b count as told apart */
#define REWEIGHTINGS 8
#define LOCAL_SIZES 1.4  /* "about the same size": within this factor */
#define LOCAL_ERRORS 4.0 /* how sure: with 10 % noise less than 1 launch in 100 is corrected for nothing */
#define LOCAL_LEAST 4u
#define LOCAL_MOST 8u
/*
 * How much of one chunk's residual the next one repeats, over the latest thirty; and as if so many without memory had been seen
 * before. Without this, steady luck was taken for drift: gap on correlated costs, seeds 1001 to 1100, 2.82 / 6.36 % (mean, 95 %)
 * instead of 2.22 / 5.11.
 */
#define MEMORY_KEEPS 0.97
#define MEMORY_PRIOR 5.0
#define MEMORY_LEAST 0.15 /* less is chance */
#define MEMORY_SURE 0.4  /* so much seldom is: with 0.15 mixed sizes lost 0.04 % to LAMBDA_ALIKE */
#define MEMORY_MOST 0.95
#define MEMORY_BOUND 3.0 /* deviations */
#define KNEE_WHILE 96u    /* observations that are all seen by it, */
#define KNEE_SOMETIMES 4u /* and which of the later ones */
#define KNEE_EVERY 16u /* observations; finding one takes 1 to 2 us where sizes are many */
#define CUSUM_SLACK 0.5
#define CUSUM_CLIP 2.5
#define CUSUM_ALARM 7.0
#define CUSUM_AGREE 3u
#define AGREEMENT 4.0 /* deviations between the first and the last of three: 98 % of honest triples */
#define REBASED 2.0     /* by how much the variance may grow with a change of speed */
#define CUSUM_LENGTH 4u /* observations that raise the alarm, at the least: 4 x (2.5 - 0.5) > 7 */

/* Out of line: the frame and the registers of what is rare would be paid for by every observation. */
#define RARE __attribute__((noinline))

/* fmax and fmin are calls, and they care for values that cannot be here: a quarter of an observation's time. */
static inline double larger(double a, double b) {
    return a > b ? a : b;
}
static inline double smaller(double a, double b) {
    return a < b ? a : b;
}

/* The size that a chunk counts as. */
static inline double counted(const pel_fit *fit, double n) {
    return larger(n, fit->knee.size);
}

static double time_at(const pel_fit *fit, double n) {
    return fit->start + fit->slope * counted(fit, n);
}

/* Correlation of one chunk's luck with the next one's; 0: none that is seen. */
static inline double memory_of(const pel_fit *fit) {
    double memory = fit->repeated / (fit->squared + MEMORY_PRIOR);
    return memory > MEMORY_LEAST ? smaller(memory, MEMORY_MOST) : 0.0;
}

double pel_fit_independent(const pel_fit *fit) {
    const double memory = memory_of(fit);
    return (1.0 - memory) / (1.0 + memory);
}

static double middle(const double *values, uint32_t count) {
    double sorted[PEL_FIT_RECENT] = {0.0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = values[i];
    }
    return sorted[count / 2];
}

double pel_fit_correction(const pel_fit *fit) {
    double ratio[PEL_FIT_RECENT] = {0.0}, off[PEL_FIT_RECENT] = {0.0};
    uint32_t count = 0;
    for (uint32_t i = fit->recent_count; i-- > 0 && count < LOCAL_MOST;) {
        double size = fit->recent_n[i] / fit->recent_n[fit->recent_count - 1];
        if (size * LOCAL_SIZES > 1.0 && size < LOCAL_SIZES) {
            ratio[count++] = fit->recent_t[i] / time_at(fit, fit->recent_n[i]);
        }
    }
    if (count < LOCAL_LEAST) {
        return 1.0;
    }
    double agreed = middle(ratio, count);
    for (uint32_t i = 0; i < count; i++) {
        off[i] = fabs(ratio[i] - agreed);
    }
    double doubt = LOCAL_ERRORS * 1.25 * 1.48 * middle(off, count) / sqrt((double)count * pel_fit_independent(fit));
    return fabs(agreed - 1.0) > doubt ? agreed : 1.0;
}

static void decay(pel_fit *fit, double factor) {
    fit->w *= factor;
    fit->wn *= factor;
    fit->wnn *= factor;
    fit->wt *= factor;
    fit->wnt *= factor;
}

/*
 * Forgets what an observation of size `n` tells anew, and only that (directional forgetting): a launch that is repeated says
 * nothing about other sizes, so what they once told about the start cost stays, but for a slow decay of everything. Where sizes
 * are so far apart that rounding would leave no sums of any observations, all is forgotten alike.
 */
static void forget(pel_fit *fit, double n) {
    double along = fit->w + fit->wn * n, across = fit->wn + fit->wnn * n, told = fit->wt + n * fit->wnt;
    const double least = fit->squared + MEMORY_PRIOR; /* of memory_of */
    const bool alike = fit->repeated > MEMORY_LEAST * least, surely = fit->repeated > MEMORY_SURE * least;
    const double lambda = surely && !fit->unsteady ? LAMBDA_ALIKE : alike || fit->unsteady ? LAMBDA : LAMBDA_STEADY;
    double part = (1.0 - lambda) / (along + across * n);
    double w = fit->w - part * along * along, wn = fit->wn - part * along * across, wnn = fit->wnn - part * across * across;
    double wt = fit->wt - part * along * told, wnt = fit->wnt - part * across * told;
    bool sound = w > LEFT * fit->w && wn > 0.0 && wnn > LEFT * fit->wnn && wt > LEFT * fit->wt && wnt > LEFT * fit->wnt &&
                 w * wnn >= wn * wn;
    if (!sound) {
        decay(fit, LAMBDA);
        return;
    }
    fit->w = LAMBDA_ACROSS * w;
    fit->wn = LAMBDA_ACROSS * wn;
    fit->wnn = LAMBDA_ACROSS * wnn;
    fit->wt = LAMBDA_ACROSS * wt;
    fit->wnt = LAMBDA_ACROSS * wnt;
}

static void add(pel_fit *fit, double n, double t, double weight) {
    fit->w += weight;
    fit->wn += weight * n;
    fit->wnn += weight * n * n;
    fit->wt += weight * t;
    fit->wnt += weight * n * t;
}

/* Solves for start and slope within their bounds. */
static inline void solve(pel_fit *fit) {
    double mean_time = fit->wt / fit->w;
    double anchor = fit->anchor < 0.5 * mean_time ? fit->anchor : 0.5 * mean_time;
    double ridge = larger(RIDGE * fit->w / (double)(fit->samples > 0 ? fit->samples : 1), START_PRIOR);
    double w = fit->w + ridge, wt = fit->wt + ridge * anchor;
    double square = fit->wn * fit->wn, determinant = w * fit->wnn - square, per_wnn = 1.0 / fit->wnn;
    double start = (wt * fit->wnn - fit->wn * fit->wnt) / determinant;
    bool levered = fit->w * fit->wnn - square >= LEVER * fit->w * fit->wnn;
    double most = levered ? INFINITY : START_MOST * mean_time;
    start = start < most ? start : most;
    if (!(start >= 0.0)) {
        start = 0.0;
    }
    double slope = (fit->wnt - start * fit->wn) * per_wnn;
    if (!(slope > 0.0) || !isfinite(slope)) {
        /* Larger took no longer: nearly all is start cost, and a sliver of slope keeps divisions by it sane. */
        double mean_size = fit->wn / fit->w;
        slope = 1e-3 * mean_time / mean_size;
        start = mean_time - slope * mean_size;
    }
    fit->start = start;
    fit->slope = slope;
}

static bool determined(const pel_fit *fit) {
    return fit->samples > 2 && fit->w * fit->wnn - fit->wn * fit->wn > DETERMINED * fit->w * fit->wnn;
}

/*
 * Two points fit any line, also through an accident; a second one that is later than any start cost explains hardly counts until
 * there are more.
 */
static bool late_second(const pel_fit *fit) {
    double n = fit->recent_n[1] / fit->recent_n[0];
    return fit->recent_count == 2 && fit->recent_t[1] > ABSURD * fit->recent_t[0] * larger(n, 1.0);
}

/*
 * Fits the kept observations together. Errors relative to the *observed* time come first: there a late outlier counts at most 1,
 * however late. Then residuals beyond twice their median are weighted down (Huber weights, iterated).
 */
RARE static void fit_recent(pel_fit *fit) {
    double weight[PEL_FIT_RECENT], residual[PEL_FIT_RECENT], square = 0.0;
    for (uint32_t i = 0; i < fit->recent_count; i++) {
        weight[i] = 1.0 / (fit->recent_t[i] * fit->recent_t[i]);
    }
    bool late = late_second(fit);
    if (late) {
        weight[1] *= 1e-3;
    }
    for (int pass = 0; pass <= REWEIGHTINGS && !(late && pass > 0); pass++) {
        fit->w = fit->wn = fit->wnn = fit->wt = fit->wnt = 0.0;
        for (uint32_t i = 0; i < fit->recent_count; i++) {
            add(fit, counted(fit, fit->recent_n[i]), fit->recent_t[i], weight[i]);
        }
        solve(fit);
        for (uint32_t i = 0; i < fit->recent_count; i++) {
            residual[i] = fabs(fit->recent_t[i] / time_at(fit, fit->recent_n[i]) - 1.0);
        }
        double bound = larger(CLIP * 1.48 * middle(residual, fit->recent_count), CLIP * DEVIATION_FLOOR);
        square = FIRST_WEIGHT * DEVIATION_FIRST * DEVIATION_FIRST;
        for (uint32_t i = 0; i < fit->recent_count; i++) {
            double time = pass + 1 < REWEIGHTINGS ? larger(fit->recent_t[i], time_at(fit, fit->recent_n[i]))
                                                  : time_at(fit, fit->recent_n[i]);
            double far = residual[i] > bound ? bound / residual[i] : 1.0;
            weight[i] = far * far / (time * time);
            square += far * far * residual[i] * residual[i];
        }
    }
    /* Two observations went into a and b. */
    fit->variance = square / (FIRST_WEIGHT + larger(1.0, (double)fit->recent_count - 2.0));
}

static void remember(pel_fit *fit, double n, double t) {
    if (fit->recent_count == PEL_FIT_RECENT) {
        double kept[PEL_FIT_RECENT - 1]; /* becomes a few wide moves; memmove is a call */
        memcpy(kept, fit->recent_n + 1, sizeof kept);
        memcpy(fit->recent_n, kept, sizeof kept);
        memcpy(kept, fit->recent_t + 1, sizeof kept);
        memcpy(fit->recent_t, kept, sizeof kept);
        fit->recent_count--;
    }
    fit->recent_n[fit->recent_count] = n;
    fit->recent_t[fit->recent_count++] = t;
}

/*
 * Accidents in a row raise the alarm, too, but each is of another length. A machine that has changed takes longer every time, and
 * by the same factor: three of the last four agree with each other, and not with the line.
 */
RARE static bool has_changed(const pel_fit *fit, double deviation, bool later) {
    double ratio[CUSUM_LENGTH];
    for (uint32_t i = 0; i < CUSUM_LENGTH; i++) {
        uint32_t from = fit->recent_count - CUSUM_LENGTH + i, at = i;
        double value = fit->recent_t[from] / time_at(fit, fit->recent_n[from]);
        for (; at > 0 && ratio[at - 1] > value; at--) {
            ratio[at] = ratio[at - 1];
        }
        ratio[at] = value;
    }
    for (uint32_t low = 0; low + CUSUM_AGREE <= CUSUM_LENGTH; low++) {
        double least = ratio[low], most = ratio[low + CUSUM_AGREE - 1];
        if (most < least * (1.0 + AGREEMENT * deviation) && (later ? least > 1.0 + deviation : most < 1.0 - deviation)) {
            return true;
        }
    }
    return false;
}

/* The machine has changed: only what raised the alarm counts, and the fit is young again. Its scatter is what it was. */
RARE static void rebase(pel_fit *fit) {
    double before = fit->variance, size = fit->recent_n[fit->recent_count - 1], expected = time_at(fit, size);
    uint32_t drop = fit->recent_count - CUSUM_LENGTH;
    memmove(fit->recent_n, fit->recent_n + drop, CUSUM_LENGTH * sizeof fit->recent_n[0]);
    memmove(fit->recent_t, fit->recent_t + drop, CUSUM_LENGTH * sizeof fit->recent_t[0]);
    fit->recent_count = CUSUM_LENGTH;
    fit->samples = CUSUM_LENGTH;
    fit->up = fit->down = fit->before = 0.0;
    fit->repeated = 0.0; /* the change looked like memory, too */
    pel_knee_forget(&fit->knee);
    fit_recent(fit);
    fit->jump = log(time_at(fit, size) / expected);
    fit->variance = smaller(fit->variance, larger(before, DEVIATION_FIRST * DEVIATION_FIRST) * REBASED);
}

/* The second observation sits in judgement over the first: true when it replaces it. */
static bool replaces_first(const pel_fit *fit, double units, double ns) {
    double n = units / fit->scale, first = fit->recent_t[0];
    /* Whatever part of it is start cost, an honest second time is at least this. */
    return ns * ABSURD < (n < 1.0 ? first * n : first);
}

RARE static void begin(pel_fit *fit, double units, double ns) {
    fit->scale = units;
    fit->samples = 1;
    fit->knee = (pel_knee){.size = 0.0};
    fit->recent_count = 0;
    remember(fit, 1.0, ns);
    fit_recent(fit);
    fit->variance = DEVIATION_FIRST * DEVIATION_FIRST;
}

/* The deviations by which a residual is off beyond what the one before explains; learns how much that is. */
static double surprise(pel_fit *fit, double relative, double deviation) {
    double inverse = 1.0 / deviation, memory = memory_of(fit), z = relative * inverse;
    double bounded = smaller(larger(z, -MEMORY_BOUND), MEMORY_BOUND), before = fit->before;
    fit->repeated = MEMORY_KEEPS * fit->repeated + bounded * before;
    fit->squared = MEMORY_KEEPS * fit->squared + before * before;
    fit->before = bounded;
    return memory > 0.0 ? (z - memory * before) / sqrt(1.0 - memory * memory) : z;
}

/* A fit that has left its youth: one recursive step. */
static void step(pel_fit *fit, double n, double ns) {
    double predicted = time_at(fit, n), rate = 1.0 / predicted, relative = ns * rate - 1.0;
    double deviation = larger(sqrt(fit->variance), DEVIATION_FLOOR);
    double bounded = smaller(larger(relative, -3.0 * deviation), 3.0 * deviation);
    fit->variance += 0.05 * (bounded * bounded - fit->variance);
    double z = smaller(larger(surprise(fit, relative, deviation), -CUSUM_CLIP), CUSUM_CLIP);
    fit->up = larger(0.0, fit->up + z - CUSUM_SLACK);
    fit->down = larger(0.0, fit->down - z - CUSUM_SLACK);
    fit->samples++;
    if (fit->up > CUSUM_ALARM || fit->down > CUSUM_ALARM) {
        if (has_changed(fit, deviation, fit->up > CUSUM_ALARM)) {
            rebase(fit);
            return;
        }
        fit->up = smaller(fit->up, CUSUM_ALARM);
        fit->down = smaller(fit->down, CUSUM_ALARM);
    }
    if (relative > ACCIDENT * deviation && !fit->unsteady) {
        /* Not even pulled in: late chunks are no news of the line, and if it is the line that is wrong, the deviation grows with
         * each of them until they count, or the alarm is raised. Under a profile the error may be that of the chunk's place. */
        return;
    }
    relative = smaller(larger(relative, -CLIP * deviation), CLIP * deviation);
    n = counted(fit, n);
    forget(fit, n);
    add(fit, n, predicted * larger(1.0 + relative, 0.1), rate * rate);
    solve(fit);
}

/* The line anew from the means of the octaves, which know of sizes that the sums took for something else. */
RARE static void bend(pel_fit *fit) {
    const pel_knee *knee = &fit->knee;
    fit->w = fit->wn = fit->wnn = fit->wt = fit->wnt = 0.0;
    for (uint32_t i = 0; i < PEL_KNEE_OCTAVES; i++) {
        double t = (double)knee->t[i];
        if (knee->count[i] > 0) {
            add(fit, counted(fit, (double)knee->n[i]), t, (double)knee->count[i] / (t * t));
        }
    }
    fit->variance = larger(knee->scatter, DEVIATION_FLOOR * DEVIATION_FLOOR);
    fit->up = fit->down = fit->before = fit->repeated = 0.0;
    solve(fit);
}

void pel_fit_observe(pel_fit *fit, double units, double ns, double typical_start) {
    if (!fit->anchored) {
        fit->anchor = typical_start;
    }
    fit->largest = units > fit->largest ? units : fit->largest;
    if (!pel_fit_knows(fit) || (fit->samples == 1 && replaces_first(fit, units, ns))) {
        begin(fit, units, ns);
        return;
    }
    double n = units / fit->scale;
    remember(fit, n, ns);
    if (fit->samples < PEL_FIT_RECENT) {
        fit->samples++;
        fit_recent(fit);
    } else {
        step(fit, n, ns);
    }
    if (fit->samples <= KNEE_WHILE || fit->samples % KNEE_SOMETIMES == 0) {
        pel_knee_see(&fit->knee, n, ns);
    }
    if (fit->samples % KNEE_EVERY == 0 && pel_knee_find(&fit->knee)) {
        bend(fit);
    }
    if (determined(fit)) {
        fit->anchor = fit->start;
        fit->anchored = true;
    }
}

void pel_fit_scale(pel_fit *fit, double factor) {
    /* Weights are over squared times. */
    decay(fit, 1.0 / (factor * factor));
    fit->wt *= factor;
    fit->wnt *= factor;
    fit->start *= factor;
    fit->slope *= factor;
    fit->anchor *= fit->anchored ? factor : 1.0;
    for (uint32_t i = 0; i < fit->recent_count; i++) {
        fit->recent_t[i] *= factor;
    }
    pel_knee_scale(&fit->knee, factor);
}

void pel_fit_forget(pel_fit *fit) {
    fit->recent_count = 0;
    fit->largest = 0.0;
    fit->up = fit->down = 0.0;
    fit->anew = true;
}

#define SCALARS 19u
#define SQUARED_MOST (1.01 * MEMORY_BOUND * MEMORY_BOUND / (1.0 - MEMORY_KEEPS))
#define WORDS (SCALARS + 2u * PEL_FIT_RECENT)

uint32_t pel_fit_write(const pel_fit *fit, double *values, uint32_t limit) {
    const double scalars[SCALARS] = {
        (double)fit->samples,      fit->scale, fit->w,     fit->wn,       fit->wnn, fit->wt,   fit->wnt,    fit->anchor,
        fit->anchored ? 1.0 : 0.0, fit->start, fit->slope, fit->variance, fit->up,  fit->down, fit->largest,
        fit->before,               fit->repeated, fit->squared, fit->knee.size};
    if (limit < WORDS) {
        return 0;
    }
    memcpy(values, scalars, sizeof scalars);
    for (uint32_t i = 0; i < PEL_FIT_RECENT; i++) {
        bool used = i < fit->recent_count;
        values[SCALARS + 2 * i] = used ? fit->recent_n[i] : 0.0;
        values[SCALARS + 2 * i + 1] = used ? fit->recent_t[i] : 0.0;
    }
    return WORDS;
}

static bool plausible(const pel_fit *fit) {
    const double positive[] = {fit->scale, fit->w, fit->wn, fit->wnn, fit->wt, fit->wnt, fit->slope};
    const double least_zero[] = {fit->anchor, fit->start, fit->variance, fit->up, fit->down, fit->largest};
    bool good = fit->samples > 0 && (fit->largest > 1e-200 || !pel_fit_knows(fit)) &&
                fit->w * fit->wnn >= fit->wn * fit->wn * (1.0 - 1e-9);
    for (size_t i = 0; i < sizeof positive / sizeof positive[0]; i++) {
        good = good && positive[i] > 1e-200 && positive[i] < 1e200;
    }
    for (size_t i = 0; i < sizeof least_zero / sizeof least_zero[0]; i++) {
        good = good && least_zero[i] >= 0.0 && least_zero[i] < 1e200;
    }
    good = good && fit->knee.size >= 0.0 && fit->knee.size < 1e100;
    return good && fabs(fit->before) <= MEMORY_BOUND && fit->squared >= 0.0 && fit->squared < SQUARED_MOST &&
           fabs(fit->repeated) < SQUARED_MOST;
}

bool pel_fit_read(const double *values, uint32_t count, pel_fit *fit) {
    if (count != WORDS || !(values[0] >= 1.0 && values[0] < 9e15) || !(values[8] == 0.0 || values[8] == 1.0)) {
        return false;
    }
    *fit = (pel_fit){.samples = (uint64_t)values[0],
                     .scale = values[1],
                     .w = values[2],
                     .wn = values[3],
                     .wnn = values[4],
                     .wt = values[5],
                     .wnt = values[6],
                     .anchor = values[7],
                     .anchored = values[8] == 1.0,
                     .start = values[9],
                     .slope = values[10],
                     .variance = values[11],
                     .up = values[12],
                     .down = values[13],
                     .largest = values[14],
                     .before = values[15],
                     .repeated = values[16],
                     .squared = values[17],
                     .knee = {.size = values[18]}};
    for (uint32_t i = 0; i < PEL_FIT_RECENT; i++) {
        double n = values[SCALARS + 2 * i], t = values[SCALARS + 2 * i + 1];
        if (n == 0.0 && t == 0.0) {
            continue;
        }
        if (!(n > 1e-100 && n < 1e100) || !(t > 1e-100 && t < 1e100) || fit->recent_count != i) {
            return false;
        }
        fit->recent_n[i] = n;
        fit->recent_t[i] = t;
        fit->recent_count++;
    }
    return plausible(fit);
}
