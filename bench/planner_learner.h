/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The learner that nobody can be: it knows a world of planner_world.h in all (bends, profiles, how devices disturb each other and
 * drift, the law of the noise and its memory, which chunks met a spike, when the machine changed) but each device's speed and
 * start cost, which it estimates from its chunks as well as can be. What it loses against the oracle is what noise takes from
 * anybody who must learn.
 */
#ifndef PEL_BENCH_PLANNER_LEARNER_H
#define PEL_BENCH_PLANNER_LEARNER_H

#include "planner_world.h"

typedef struct pel_learner pel_learner;

/* NULL: no memory. Freed by free(); the world must outlive it. */
pel_learner *pel_learner_create(const pel_world *world);

/* The world with the speeds and start costs that are most likely now. Valid until the next call. */
const pel_world *pel_learner_world(pel_learner *learner);

/* A chunk of a launch of `units` that began at `now_ns` took so long, company left out. */
void pel_learner_see(pel_learner *learner, double now_ns, uint64_t units, pel_world_range range, double ns);

#endif
