/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the planner's gap comes from: before each launch its lines are read, and the best division by them, in part replaced by
 * the truth, is valued on the true world without luck. What the lines leave of the gap is what else a plan does: margins, tails,
 * trials.
 */
#ifndef PEL_BENCH_PLANNER_DECOMPOSE_H
#define PEL_BENCH_PLANNER_DECOMPOSE_H

#include "planner_policies.h"

typedef enum pel_part {
    PEL_PART_PLAN,   /* what the plan takes, over the oracle */
    PEL_PART_SET,    /* the best division among the plan's devices */
    PEL_PART_LINES,  /* the best division by pel's lines */
    PEL_PART_SPEEDS, /* ... by pel's speeds and the true start costs */
    PEL_PART_STARTS, /* ... by pel's start costs and the true speeds */
    PEL_PART_COUNT
} pel_part;

/* Classes of launches, by what the oracle takes, and whether a tail was held back. */
enum { PEL_DECOMPOSE_SIZES = 3, PEL_DECOMPOSE_CLASSES = 2 * PEL_DECOMPOSE_SIZES };
extern const char *const pel_decompose_classes[PEL_DECOMPOSE_CLASSES];

typedef struct pel_decomposition {
    pel_world believed[3]; /* scratch: as PEL_PART_LINES and those below see it */
    bool known;
    uint64_t units;
    double oracle, now;
    double sum[PEL_DECOMPOSE_CLASSES][PEL_PART_COUNT]; /* of gaps */
    uint32_t count[PEL_DECOMPOSE_CLASSES];
} pel_decomposition;

/* Before a launch of pel, and after it. */
void pel_decompose_before(pel_decomposition *d, const pel_contestant *contestant, uint64_t units, double oracle);
void pel_decompose_after(pel_decomposition *d, const pel_contestant *contestant, const pel_outcome *outcome);

#endif
