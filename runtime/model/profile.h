/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where in its range an irregular kernel spends its time: a density over bins, with mean 1, shared by all devices unless two of
 * them differ (irregular.c). Pure; fixed size.
 */
#ifndef PEL_MODEL_PROFILE_H
#define PEL_MODEL_PROFILE_H

#include <stdbool.h>

#define PEL_PROFILE_BINS 32
#define PEL_PROFILE_CONTRAST 0.8 /* prior standard deviation of a bin; items differ up to 20 times (mandelbrot, sparse rows) */

typedef struct pel_profile {
    double density[PEL_PROFILE_BINS];
    double covariance[PEL_PROFILE_BINS][PEL_PROFILE_BINS];
    double cumulative[PEL_PROFILE_BINS + 1]; /* of the work, up to a bin's begin; the last is 1 */
} pel_profile;

/* Knows nothing: flat, neighbours alike. */
void pel_profile_begin(pel_profile *profile);

/* A device's own: like the one for all, give or take the relative `contrast` in each bin. */
void pel_profile_begin_like(pel_profile *profile, const pel_profile *all, double contrast);

/*
 * The part [lo, hi) of the range, 0 <= lo < hi <= 1, was `density` times as dense as the mean, give or take the relative
 * `error`.
 */
void pel_profile_observe(pel_profile *profile, double lo, double hi, double density, double error);

/* As it was, from its densities and how sure each was (standard deviations). False: no profile has these. */
bool pel_profile_recall(pel_profile *profile, const double density[PEL_PROFILE_BINS], const double deviation[PEL_PROFILE_BINS]);

/* The part of the work that lies below the part x of the range, and back. */
double pel_profile_work(const double cumulative[PEL_PROFILE_BINS + 1], double x);
double pel_profile_place(const double cumulative[PEL_PROFILE_BINS + 1], double work);

#endif
