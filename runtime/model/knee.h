/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wide devices are not filled by small chunks: below its knee a chunk takes as long as one at the knee, t = a + b max(n, knee). A
 * line through both sides takes the flat part for a start cost, promises too much of small shares and too little of large ones.
 *
 * Whether there is a knee is seen in sizes, not in the latest chunks: so one mean is kept for each octave of sizes, and now and
 * then the knee is looked for that explains these means best. Invariants: without sizes on both sides there is none; one is
 * believed only where chance does not explain what it gains, and given up only where smaller sizes speak against it. Rejected: a
 * knee among the parameters of the recursion (the problem is not convex: it stays where it began), and all observations (the
 * means of octaves say as much in a hundred bytes).
 */
#ifndef PEL_MODEL_KNEE_H
#define PEL_MODEL_KNEE_H

#include <stdbool.h>
#include <stdint.h>

#define PEL_KNEE_OCTAVES 12u

/* Zeroed: nothing was seen. Sizes and times as in the fit that it belongs to. */
typedef struct pel_knee {
    double size;    /* 0: none */
    double scatter; /* squared, relative, within an octave */
    float n[PEL_KNEE_OCTAVES], t[PEL_KNEE_OCTAVES];
    uint8_t count[PEL_KNEE_OCTAVES]; /* 0: not seen */
} pel_knee;

void pel_knee_see(pel_knee *knee, double n, double t);

/* Looks for the size that explains the octaves best, by now. True: knee->size is another one. */
bool pel_knee_find(pel_knee *knee);

/* The machine has changed: the size stays, what was seen is out of date. */
void pel_knee_forget(pel_knee *knee);

/* All times are `factor` times as long. */
void pel_knee_scale(pel_knee *knee, double factor);

#endif
