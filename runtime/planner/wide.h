/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans for more devices than can be looked at one against the other: some thousands.
 *
 * The questions are those of planner.c, and so are the lines (digest.c), the margins and the ways of learning; the answers take
 * time in proportion to the number of devices. The level of the water is found by bisection instead of from sorted floors;
 * devices that share cores are taken greedily, the fastest first, instead of in every maximal set; scatter is met by leaving out
 * the noisier devices by halves instead of one by one; all unknown devices are probed at once. Invariants as there: every unit is
 * in exactly one slice, parts are whole quanta and within each memory, no core is used twice, and the answer depends on the
 * request alone. What a wide plan does not do, and says: weigh energy or deadlines, hold back a tail, keep boundaries where they
 * were, divide among fewer because of what company costs. Rejected: groups of devices planned as one device each, and then their
 * members: a group of different devices has no single line, and thousands need no second level.
 */
#ifndef PEL_PLANNER_WIDE_H
#define PEL_PLANNER_WIDE_H

#include "planner/planner.h"

/* As pel_planner_plan. */
pel_status pel_wide_plan(const pel_plan_request *request, pel_plan_result *result);

/* ---- what wide.c, wide_fill.c and fixed.c share ---- */

/* A device digested: pel_planning, a device at a time. */
typedef struct pel_wide_line {
    double start, unit, error, knee;
    double alone_start, alone_unit, alone_error;
    uint64_t limit, share; /* quanta */
    bool usable, known;
    bool in;    /* of the set that is asked about */
    bool probe; /* tried in this launch: explore */
} pel_wide_line;

typedef struct pel_wide {
    const pel_plan_request *request;
    pel_plan_result *result;
    pel_wide_line *lines;
    uint32_t *order;  /* room for as many numbers */
    uint32_t count;
    uint64_t quanta;
    const double *profile;
} pel_wide;

/* Reads the request; INVALID_ARGUMENT, OUT_OF_MEMORY: nothing is to be ended. */
pel_status pel_wide_begin(pel_wide *wide, const pel_plan_request *request, pel_plan_result *result);
void pel_wide_end(pel_wide *wide);

/* Of the devices that are `in`, leaves one where several share cores: the faster one. Then none is in that shares cores with a
 * device that was in before and is marked in `taken`. */
void pel_wide_disjoin(pel_wide *wide, pel_core_set *taken);

double pel_wide_finish(const pel_wide_line *line, uint64_t quanta);
double pel_wide_alone(const pel_wide *wide, uint32_t device); /* for the whole launch */

/* Shares for those that are in, the others' stay; false: they cannot hold it. *makespan: when the last is done. */
bool pel_wide_fill(pel_wide *wide, uint64_t quanta, double *makespan);

/* Slices for all shares above 0, in the order of the devices. OUT_OF_MEMORY. */
pel_status pel_wide_emit(pel_wide *wide);

#endif
