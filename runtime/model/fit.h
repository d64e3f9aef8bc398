/* SPDX-License-Identifier: BSD-3-Clause */
/* The regression behind one cost model: fixed-size state, no allocation, no I/O. */
#ifndef PEL_MODEL_FIT_H
#define PEL_MODEL_FIT_H

#include "model/knee.h"

#include <stdbool.h>
#include <stdint.h>

#define PEL_FIT_RECENT 8

typedef struct pel_fit {
    uint64_t samples;                /* since the start or the last reset */
    double scale;                    /* units of the first observation: keeps the sums near 1 */
    double w, wn, wnn, wt, wnt;      /* decayed sums of weight x powers of (n / scale) and of the time */
    double anchor;                   /* start cost to fall back on where the sizes do not tell it */
    bool anchored;                   /* anchor comes from this model's own data */
    double start, slope;             /* ns, and ns per scale */
    double variance;                 /* of relative residuals */
    double up, down;                 /* CUSUM of clipped standardised residuals */
    double before;                   /* the latest standardised residual, clipped; */
    double repeated, squared;        /* decayed sums of its products with the next one, and with itself */
    double largest;                  /* units */
    double recent_n[PEL_FIT_RECENT]; /* the last observations, oldest first; in units of scale, and ns */
    double recent_t[PEL_FIT_RECENT];
    uint32_t recent_count;           /* 0: forgotten */
    double jump;                     /* natural logarithm of how much slower the latest restart made it; not kept */
    bool anew;                       /* it was forgotten, and what it tells is of later; not kept */
    bool unsteady;                   /* what its sizes mean is itself being learned: it forgets sooner */
    pel_knee knee;                   /* below its size all chunks take as long as there */
} pel_fit;

/*
 * Learns from one observation; `typical_start` is the device's usual start cost, used until the data tell it. Values are finite
 * and positive.
 */
void pel_fit_observe(pel_fit *fit, double units, double ns, double typical_start);

/*
 * By how much the last chunks, of about the size of the latest, agree that the line is wrong there: 1 where it is not or they do
 * not agree. Real costs bend (caches, wake-ups, vectors), so a line through all sizes can miss the one in use, for ever.
 */
double pel_fit_correction(const pel_fit *fit);

/*
 * What is believed of a start cost before any data: within 0.5 ms of the anchor (one deviation; launches cost 20-400 us).
 */
#define PEL_FIT_START_PRIOR (1.0 / (5e5 * 5e5))

/* What part of its observations count as independent: those whose luck is alike say less than their number. */
double pel_fit_independent(const pel_fit *fit);

/* All times of the fit are `factor` times as long, past and future: the line is meant for another company from now on. */
void pel_fit_scale(pel_fit *fit, double factor);

/* What it tells is out of date: nothing is known until the next observation, which is the first. */
void pel_fit_forget(pel_fit *fit);
static inline bool pel_fit_knows(const pel_fit *fit) {
    return fit->recent_count > 0;
}

/*
 * The state as numbers and back, for the history store. Writing yields how many there are, at most `limit`; reading refuses what
 * no fit could hold.
 */
uint32_t pel_fit_write(const pel_fit *fit, double *values, uint32_t limit);
bool pel_fit_read(const double *values, uint32_t count, pel_fit *fit);

#endif
