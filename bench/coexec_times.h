/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the time of a divided launch goes, for the planner's launches and for divisions by hand alike: until the first and until
 * the last device is at work, how long they are, how far apart they end, and how long until the caller knows. The parts of a
 * whole that a comparison of two totals does not tell: an uneven division, a late begin, a late waking.
 */
#ifndef PEL_BENCH_COEXEC_TIMES_H
#define PEL_BENCH_COEXEC_TIMES_H

#include "coexec_hand.h"
#include "harness.h"

enum {
    PEL_TIMES_FIRST,
    PEL_TIMES_LAST,
    PEL_TIMES_WORK,       /* summed over devices */
    PEL_TIMES_WORK_FIRST, /* the first device's */
    PEL_TIMES_APART,
    PEL_TIMES_KNOWN,
    PEL_TIMES_PIECES, /* a number */
    PEL_TIMES_KINDS
};

/* Of one run, in nanoseconds. Undivided ones have LAST = FIRST, APART = 0. */
typedef struct pel_times {
    double values[PEL_TIMES_KINDS];
    double share; /* of the first device */
} pel_times;

/* The devices' times of a launch that the caller began at `begin` and knew to be over at `end` (pel_bench_now()). */
void pel_times_of_plan(const pel_plan *plan, const pel_event *event, double begin, double end, const char *first,
                       pel_times *times);
void pel_times_of_hand(const pel_hand_part parts[2], double begin, double end, double share, pel_times *times);

/* What many runs had. */
typedef struct pel_times_table {
    double values[PEL_TIMES_KINDS + 1][PEL_BENCH_RUNS];
    uint32_t count;
} pel_times_table;

void pel_times_note(pel_times_table *table, const pel_times *times);
void pel_times_tell(const pel_times_table *table, const char *row, const char *who); /* prints the medians, as a comment */

#endif
