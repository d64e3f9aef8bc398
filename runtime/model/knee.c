/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/knee.h"

#include <math.h>
#include <string.h>

#define COUNT_MOST 12u  /* chunks that an octave's mean is worth: it follows slow changes */
#define COUNT_LEAST 3u  /* ... that make it one */
#define OCTAVES_LEAST 4u
#define SEEN_LEAST 12u
#define LATE 1.6        /* a chunk that takes longer than so many means is an accident */
#define SOON 2u         /* chunks of an octave's mean that one which is as much shorter shows to have been accidents */
#define SCATTER_RATE 0.05
#define SCATTER_FIRST 0.01 /* noise of 10 % */
#define SCATTER_LEAST 1e-4
#define GAIN 14.0       /* variances by which a knee must explain more: of 300 straight devices none is taken for bent */
#define BETTER 0.5      /* and the part of the error that it may leave */
#define STAYS 6.0       /* variances by which it explains more while it stays */
#define BELOW 0.8       /* of it, and less: sizes that tell whether there is one; the least candidate is 2^(1/3) of a mean */
#define STEPS 3u        /* candidates between the means of two octaves */

static double larger(double a, double b) {
    return a > b ? a : b;
}

void pel_knee_see(pel_knee *knee, double n, double t) {
    uint64_t bits;
    memcpy(&bits, &n, sizeof bits); /* its exponent: frexp and logb are calls */
    const uint32_t at = (uint32_t)(bits >> 52) % PEL_KNEE_OCTAVES;
    const double mean_n = (double)knee->n[at], mean_t = (double)knee->t[at];
    if (!(knee->scatter > 0.0)) {
        knee->scatter = SCATTER_FIRST;
    }
    const bool spoilt = knee->count[at] <= SOON && LATE * t * larger(1.0, mean_n / n) < mean_t;
    if (knee->count[at] == 0 || spoilt || !(n < 2.5 * mean_n && n > 0.4 * mean_n)) {
        /* new, or begun by accidents (of 3 to 10 times: few later ones outweigh them), or another octave, 4096 times away */
        knee->n[at] = (float)n;
        knee->t[at] = (float)t;
        knee->count[at] = 1;
        return;
    }
    const double seen = t > LATE * mean_t ? LATE * mean_t : t;
    const double off = seen / mean_t - 1.0, rate = 1.0 / (1.0 + (double)knee->count[at]);
    knee->scatter += SCATTER_RATE * (off * off - knee->scatter);
    knee->n[at] = (float)(mean_n + rate * (n - mean_n));
    knee->t[at] = (float)(mean_t + rate * (seen - mean_t));
    knee->count[at] = (uint8_t)(knee->count[at] < COUNT_MOST ? knee->count[at] + 1u : COUNT_MOST);
}

/* The octaves that count, by size. */
typedef struct means {
    double n[PEL_KNEE_OCTAVES], t[PEL_KNEE_OCTAVES], weight[PEL_KNEE_OCTAVES];
    uint32_t count;
    double seen;
} means;

static void collect(const pel_knee *knee, means *m) {
    m->count = 0;
    m->seen = 0.0;
    for (uint32_t i = 0; i < PEL_KNEE_OCTAVES; i++) {
        if (knee->count[i] < COUNT_LEAST) {
            continue;
        }
        uint32_t at = m->count++;
        for (; at > 0 && m->n[at - 1] > (double)knee->n[i]; at--) {
            m->n[at] = m->n[at - 1];
            m->t[at] = m->t[at - 1];
            m->weight[at] = m->weight[at - 1];
        }
        m->n[at] = (double)knee->n[i];
        m->t[at] = (double)knee->t[i];
        m->weight[at] = (double)knee->count[i];
        m->seen += m->weight[at];
    }
}

/* Squared relative error that the best line with this knee leaves, weighted. */
static double error_of(const means *m, double size) {
    double w = 0.0, wn = 0.0, wnn = 0.0, wt = 0.0, wnt = 0.0, error = 0.0;
    for (uint32_t i = 0; i < m->count; i++) {
        const double n = m->n[i] > size ? m->n[i] : size, weight = m->weight[i] / (m->t[i] * m->t[i]);
        w += weight;
        wn += weight * n;
        wnn += weight * n * n;
        wt += weight * m->t[i];
        wnt += weight * n * m->t[i];
    }
    const double determinant = w * wnn - wn * wn;
    double start = determinant > 1e-12 * w * wnn ? (wt * wnn - wn * wnt) / determinant : 0.0;
    start = start > 0.0 ? start : 0.0;
    const double unit = (wnt - start * wn) / wnn;
    for (uint32_t i = 0; i < m->count; i++) {
        const double n = m->n[i] > size ? m->n[i] : size, off = (start + unit * n) / m->t[i] - 1.0;
        error += m->weight[i] * off * off;
    }
    return unit > 0.0 ? error : INFINITY;
}

/* Whether no single octave carries it: an accident or a slow spell spoils one, a knee shows in several. */
static bool is_shared(means *m, double size, double variance) {
    bool shared = true;
    for (uint32_t i = 0; i < m->count && shared; i++) {
        const double weight = m->weight[i];
        m->weight[i] = 0.0;
        const double none = error_of(m, 0.0), bent = error_of(m, size);
        shared = none - bent > GAIN * variance && bent < BETTER * none;
        m->weight[i] = weight;
    }
    return shared;
}

bool pel_knee_find(pel_knee *knee) {
    means m;
    collect(knee, &m);
    if (m.count < OCTAVES_LEAST || m.seen < SEEN_LEAST) {
        return false;
    }
    const double variance = knee->scatter > SCATTER_LEAST ? knee->scatter : SCATTER_LEAST;
    const double none = error_of(&m, 0.0), now = knee->size > 0.0 ? error_of(&m, knee->size) : none;
    double best = knee->size, least = now;
    for (uint32_t i = 0; i + 2 < m.count; i++) { /* one octave below, two above */
        for (uint32_t k = 1; k <= STEPS; k++) {
            const double size = m.n[i] * pow(m.n[i + 1] / m.n[i], (double)k / STEPS), error = error_of(&m, size);
            best = error < least ? size : best;
            least = error < least ? error : least;
        }
    }
    const double before = knee->size;
    if (knee->size > 0.0 && m.n[0] < BELOW * knee->size && none < least + STAYS * variance) {
        knee->size = 0.0;
    } else if (knee->size > 0.0 ? now - least > STAYS * variance
                                : none - least > GAIN * variance && least < BETTER * none && is_shared(&m, best, variance)) {
        knee->size = best;
    }
    return knee->size != before;
}

void pel_knee_forget(pel_knee *knee) {
    memset(knee->count, 0, sizeof knee->count);
    knee->scatter = 0.0; /* the change was in it */
}

void pel_knee_scale(pel_knee *knee, double factor) {
    for (uint32_t i = 0; i < PEL_KNEE_OCTAVES; i++) {
        knee->t[i] = (float)((double)knee->t[i] * factor);
    }
}
