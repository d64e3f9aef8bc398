/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody would write without pel for one kernel and two devices: a thread confined to each device's core, one share for
 * each, chosen beforehand. A host device's thread calls the host variant, an OpenCL device's enqueues its part with an offset and
 * waits. No queue, no hazards, no model: the best of several such shares is what a division by a library can be compared with.
 */
#ifndef PEL_BENCH_COEXEC_HAND_H
#define PEL_BENCH_COEXEC_HAND_H

#include "catalogue.h"

typedef struct pel_hand pel_hand;

/* NULL with the reason: a kernel that asks for group numbers, or what OpenCL said. The case must outlive it. */
pel_hand *pel_hand_open(const pel_device *first, const pel_device *second, pel_case *c, char why[128]);
void pel_hand_close(pel_hand *hand); /* NULL is fine */

/* Of one part: moments of pel_bench_now(); both 0 where there was none. */
typedef struct pel_hand_part {
    double began, ended;
} pel_hand_part;

/* Both parts; `share` of the first. When their threads were at work goes to parts. */
bool pel_hand_run(pel_hand *hand, double share, pel_hand_part parts[2]);

/* The smallest step of a share. */
double pel_hand_grain(const pel_hand *hand);

#endif
