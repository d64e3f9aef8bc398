/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What devices draw, learned from a meter that several of them may share: over a window of time the meter's mean power is what
 * it shows while nobody computes, plus for each device what it adds while it does, times the part of the window in which it did.
 * These are as many unknowns as devices and one, and each window is one equation: a Kalman filter, which also says how sure each
 * of them is. Invariant: nothing is called known that windows have not told apart; a device that was busy in every window leaves
 * its own part and the idle power unknown. Rejected: the power of the busiest window (it contains whoever else was at work), and
 * shares by processor time (core/energy.c).
 */
#ifndef PEL_MODEL_WATTS_H
#define PEL_MODEL_WATTS_H

#include "model/model.h"

#define PEL_WATTS_DEVICES 8u /* on one meter; further ones are not told apart, and their meter is not used */

typedef struct pel_watts {
    uint32_t count; /* devices */
    uint64_t windows;
    /* 0: while nobody computes; 1 + i: what device i adds while it does; watts */
    double mean[PEL_WATTS_DEVICES + 1], covariance[PEL_WATTS_DEVICES + 1][PEL_WATTS_DEVICES + 1];
} pel_watts;

/* Nothing is known. count: 1 to PEL_WATTS_DEVICES. */
void pel_watts_begin(pel_watts *watts, uint32_t count);

/* What was known of one device in an earlier process; before the first window. */
void pel_watts_recall(pel_watts *watts, uint32_t device, const pel_model_watts *known);

/* One window: `joules` in `seconds`, of which each device was busy for busy_seconds[i]. What cannot be is ignored. */
void pel_watts_observe(pel_watts *watts, double seconds, double joules, const double *busy_seconds);

/* One device: the idle power of the meter is shared out equally, so that all devices together idle at what it shows. */
pel_model_watts pel_watts_of(const pel_watts *watts, uint32_t device);

#endif
