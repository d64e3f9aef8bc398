/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies for one launch after another on a world of planner_world.h. All but pel are written down here, with the knowledge that
 * they are said to need given to them for nothing; pel is the real runtime with simulated devices under the virtual clock.
 */
#ifndef PEL_BENCH_PLANNER_POLICIES_H
#define PEL_BENCH_PLANNER_POLICIES_H

#include "planner_world.h"
#include <pel/runtime.h>

typedef enum pel_policy {
    PEL_POLICY_PEL,
    PEL_POLICY_SINGLE,  /* the device that is the best for the whole run, known beforehand */
    PEL_POLICY_STATIC,  /* shares by true speeds, known beforehand, for ever */
    PEL_POLICY_EWMA,    /* Qilin-like: shares by smoothed rates, no start cost */
    PEL_POLICY_HGUIDED, /* EngineCL: shrinking packages by true speeds, to whoever is free */
    PEL_POLICY_LEARNER, /* knows all but speeds and start costs: what noise alone takes from a learner; planner_learner.h */
    PEL_POLICY_KNOWS,   /* knows all but the luck of the coming launch */
    PEL_POLICY_COUNT
} pel_policy;

extern const char *const pel_policy_names[PEL_POLICY_COUNT];

typedef struct pel_contestant {
    pel_policy policy;
    const pel_world *world;
    double now; /* virtual ns since the run began */
    uint64_t best[PEL_WORLD_DEVICES + 1]; /* the coming launch's best division, for PEL_POLICY_KNOWS: pel_world_divide */
    pel_simulated_stream luck[PEL_WORLD_DEVICES];
    double rate[PEL_WORLD_DEVICES]; /* EWMA */
    uint32_t single;
    struct pel_real *real;       /* PEL_POLICY_PEL */
    struct pel_learner *learner; /* PEL_POLICY_LEARNER */
} pel_contestant;

typedef struct pel_outcome {
    double ns;    /* with luck */
    double ideal; /* the same division without luck */
    bool exploring;
    uint32_t chunks;
    uint32_t devices; /* pel: those with a part, as bits; */
    bool held;        /* and whether a tail was held back */
} pel_outcome;

/* What pel has learned of a device beside others. */
typedef struct pel_contestant_line {
    double start_ns, unit_ns, companions;
} pel_contestant_line;

/* False after a message. The world must outlive the contestant and not move; its fields may change between launches. */
bool pel_contestant_begin(pel_contestant *contestant, pel_policy policy, const pel_world *world);
bool pel_contestant_launch(pel_contestant *contestant, uint64_t units, pel_outcome *outcome);
void pel_contestant_end(pel_contestant *contestant);

/* pel begins anew, with what its models know: another process with the same history. */
bool pel_contestant_restart(pel_contestant *contestant);

/* False: nothing yet. */
bool pel_contestant_get_line(const pel_contestant *contestant, uint32_t device, pel_contestant_line *line);

#endif
