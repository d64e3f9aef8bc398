/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which work-group a device uses where the launch leaves it open: the expert's default until another one is better with 95 %
 * confidence.
 *
 * Each size is an arm with a line of its own (on its device, as if it were another device), so that what is known of it is kept,
 * aged and forgotten like everything else. The decision follows from the lines alone and needs no state: an arm replaces the
 * default when the logarithm of their predicted times is apart by 1.645 standard errors, both from FEW launches or more.
 * Invariant: what is tried is paid from the family's account, a driver's compilation included, and an arm that is likely to be
 * slower by what it has shown is not tried again. Rejected: Thompson sampling over the arms (it keeps paying for sizes that are
 * nearly as good, and a new size costs a compilation), and the best divisor of each range (a new variant for each size).
 */
#ifndef PEL_PLANNER_GROUPS_H
#define PEL_PLANNER_GROUPS_H

#include "model/model.h"
#include "model/variants.h"
#include <stdbool.h>

typedef struct pel_group_request {
    pel_cost costs[PEL_GROUP_ARMS]; /* of the sizes of model/variants.h */
    uint32_t allowed;         /* arms that the device can run, by bit; the default always */
    double units;             /* of the whole launch */
    uint64_t launches_seen;   /* of the kernel */
    const pel_record *record; /* NULL: no account, nothing is tried */
    /* what a driver takes to compile another size, where it has to; added to the price of a first trial */
    double variant_ns;
    bool frozen;
} pel_group_request;

typedef struct pel_group_choice {
    uint32_t best;  /* arm to plan with */
    uint32_t trial; /* arm to use in this launch; == best: nothing is tried */
    double gain;    /* of best over the default, relative; 0 for the default */
    double ns[PEL_GROUP_ARMS]; /* what the whole launch takes with each; 0: never seen */
} pel_group_choice;

void pel_group_choose(const pel_group_request *request, pel_group_choice *choice);

#endif
