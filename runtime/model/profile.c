/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The density of an irregular kernel's work, from times of chunks.
 *
 * A chunk tells the mean over its part of the range, so an observation is linear in the bins: a Kalman filter with a smooth
 * prior. Its covariance knows that the mean over the whole range is 1, so what is added in one place is taken away elsewhere,
 * and that a chunk over everything tells nothing. Invariants: positive, mean 1, whatever comes in. Rejected: one average a bin
 * (boundaries lie inside bins, and chunks are few and wide), and more bins than the planner's cuts can use.
 */
#include "model/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS PEL_PROFILE_BINS
#define CONTRAST PEL_PROFILE_CONTRAST
#define ALIKE 3.0    /* bins over which neighbours are alike */
#define LEAST 0.02   /* density of a bin */
#define SURPRISE 3.0 /* standard deviations; what is further off counts as so much */

static void settle(pel_profile *profile) {
    double sum = 0.0;
    for (int i = 0; i < BINS; i++) {
        profile->density[i] = profile->density[i] > LEAST ? profile->density[i] : LEAST;
        sum += profile->density[i];
    }
    profile->cumulative[0] = 0.0;
    for (int i = 0; i < BINS; i++) {
        profile->density[i] *= BINS / sum;
        profile->cumulative[i + 1] = profile->cumulative[i] + profile->density[i] / BINS;
    }
    profile->cumulative[BINS] = 1.0;
}

/* One linear observation: sum of h[i] density[i] = seen, with a variance. */
static void update(pel_profile *profile, const double h[BINS], double seen, double variance) {
    double gain[BINS], expected = 0.0, spread = variance;
    for (int i = 0; i < BINS; i++) {
        gain[i] = 0.0;
        for (int j = 0; j < BINS; j++) {
            gain[i] += profile->covariance[i][j] * h[j];
        }
        expected += h[i] * profile->density[i];
    }
    for (int i = 0; i < BINS; i++) {
        spread += h[i] * gain[i];
    }
    if (!(spread > 1e-12)) {
        return;
    }
    double most = SURPRISE * sqrt(spread), off = seen - expected;
    off = off > most ? most : off < -most ? -most : off;
    for (int i = 0; i < BINS; i++) {
        profile->density[i] += gain[i] / spread * off;
        for (int j = 0; j < BINS; j++) {
            profile->covariance[i][j] -= gain[i] * gain[j] / spread;
        }
    }
}

/* A profile of mean 1, whose bins are so uncertain, and neighbours alike. */
static void start(pel_profile *profile, const double *density, const double *deviation) {
    double mean[BINS];
    for (int i = 0; i < BINS; i++) {
        profile->density[i] = density != NULL ? density[i] : 1.0;
        mean[i] = 1.0 / BINS;
        for (int j = 0; j < BINS; j++) {
            double both = deviation != NULL ? deviation[i] * deviation[j] : CONTRAST * CONTRAST;
            profile->covariance[i][j] = both * exp(-abs(i - j) / ALIKE);
        }
    }
    update(profile, mean, 1.0, 1e-9);
    settle(profile);
}

void pel_profile_begin(pel_profile *profile) {
    start(profile, NULL, NULL);
}

void pel_profile_begin_like(pel_profile *profile, const pel_profile *all, double contrast) {
    double deviation[BINS];
    for (int i = 0; i < BINS; i++) {
        deviation[i] = contrast * all->density[i];
    }
    start(profile, all->density, deviation);
}

bool pel_profile_recall(pel_profile *profile, const double density[BINS], const double deviation[BINS]) {
    double sum = 0.0;
    for (int i = 0; i < BINS; i++) {
        if (!(density[i] >= LEAST / 10.0 && density[i] <= BINS && deviation[i] >= 0.0 && deviation[i] <= 1.01 * CONTRAST)) {
            return false;
        }
        sum += density[i];
    }
    if (fabs(sum / BINS - 1.0) > 1e-6) {
        return false;
    }
    start(profile, density, deviation);
    return true;
}

void pel_profile_observe(pel_profile *profile, double lo, double hi, double density, double error) {
    double h[BINS], sum = 0.0;
    if (!(lo >= 0.0 && hi <= 1.0 && hi > lo) || !(density > 0.0 && density < 1e6) || !(error > 0.0)) {
        return;
    }
    for (int i = 0; i < BINS; i++) {
        double from = fmax(lo, (double)i / BINS), to = fmin(hi, (double)(i + 1) / BINS);
        h[i] = to > from ? to - from : 0.0;
        sum += h[i];
    }
    for (int i = 0; i < BINS && sum > 0.0; i++) {
        h[i] /= sum;
    }
    update(profile, h, density, error * error * density * density);
    settle(profile);
}

double pel_profile_work(const double cumulative[BINS + 1], double x) {
    double at = x * BINS;
    int bin = at >= BINS ? BINS - 1 : at > 0.0 ? (int)at : 0;
    return cumulative[bin] + (at - bin) * (cumulative[bin + 1] - cumulative[bin]);
}

double pel_profile_place(const double cumulative[BINS + 1], double work) {
    int bin = 0;
    while (bin < BINS - 1 && cumulative[bin + 1] < work) {
        bin++;
    }
    double width = cumulative[bin + 1] - cumulative[bin];
    double x = (bin + (width > 0.0 ? (work - cumulative[bin]) / width : 0.0)) / BINS;
    return x < 0.0 ? 0.0 : x > 1.0 ? 1.0 : x;
}
