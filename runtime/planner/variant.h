/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which variant computes on a set of cores: the host function or a CPU OpenCL device, where both use the very same cores.
 *
 * One of them is the expert's default: the faster by its prior, else the first in the device list, which is the host function
 * unless the caller lists it later. Another one replaces it where the logarithm of their predicted times is apart by 1.645
 * standard errors (95 %), both as launches went that both are known from. The decision follows from the lines alone and needs no
 * state, so it is in the history as they are. While it is open, the others are tried: in every other launch where they are
 * expected to win, which costs nothing, else from the family's account. Variants are compared by the whole launch, also where a
 * division gives them a part of it; without an account predictions are taken at their word. Invariant: at most one variant of a
 * set of cores takes part in a plan. Rejected: the smaller of two predictions, which changes sides with every accident; and an
 * arm of planner/groups.h for each variant, because variants are devices: they have health, memory and lines of their own.
 */
#ifndef PEL_PLANNER_VARIANT_H
#define PEL_PLANNER_VARIANT_H

#include "planner/internal.h"

/* Chooses for each set of cores and takes the others from planning->known into planning->standby; after the digest. */
void pel_variant_choose(pel_planning *planning);

/* The launch that would decide an open choice becomes the plan, if it is due and can be paid. False: none is. */
bool pel_variant_try(const pel_contest *contest, uint64_t chosen);

/* What is to be said of a device as a variant, after its time; nothing where it is none. */
void pel_variant_say(pel_words *words, const pel_planning *planning, uint32_t device);

#endif
