/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The planner: which devices take how much of one launch. A pure function of its request: no clock, no thread, no OpenCL.
 *
 * Water-filling: devices finish together at T = (N + sum a_i/b_i) / sum 1/b_i with n_i = (T - a_i) / b_i, devices added in
 * ascending a_i while a_i < T; shares are rounded to the granularity so that they sum to N. Devices that share cores are
 * alternatives, never together. Co-execution is chosen only when predicted to beat the best single device by more than max(3 %,
 * two standard errors of the prediction) plus the expected wait for the latest of several scattering devices
 * (docs/design/planner.md). Unknown devices are probed with work that is useful: the plan says so.
 */
#ifndef PEL_PLANNER_PLANNER_H
#define PEL_PLANNER_PLANNER_H

#include "base/alloc.h"
#include "model/model.h"
#include "planner/tail.h"
#include <pel/device.h>
#include <pel/status.h>
#include <stdbool.h>
#include <stdint.h>

#define PEL_PLAN_DEVICE_LIMIT 64   /* devices that are looked at one against the other; more of them: planner/wide.h */
#define PEL_PLAN_WIDE_LIMIT 8192

typedef enum pel_aim { PEL_AIM_TIME, PEL_AIM_ENERGY, PEL_AIM_ENERGY_DELAY } pel_aim;

typedef struct pel_plan_device {
    const char *id;            /* for the texts */
    uint64_t model;            /* how the models call it: pel_division.device */
    const pel_core_set *cores; /* host cores it occupies; NULL: none */
    bool host_memory;          /* computes in the host's memory, and so shares its bandwidth with others that do */
    const char *excluded;      /* not NULL: may not be used, and why */
    pel_cost cost;             /* samples == 0: unknown */
    double prior_rate;         /* guess of relative speed for unknown devices, > 0 */
    double move_start_ns;      /* predicted transfers, added to the model: fixed part */
    double move_unit_ns;       /* and per unit */
    double begins_ns;          /* how much later than the others it is at work, in no line */
    double piece_unit_ns;      /* per unit that is nobody's before: what it costs to bring it, on top */
    double piece_start_ns;     /* from a chunk's end to the begin of the next on this device, in no line */
    double busy_watts, idle_watts; /* busy 0: not known */
    bool watts_measured;           /* by a meter, else declared */
    bool watts_pending;            /* it has a meter that has not told enough yet */
    uint64_t unit_limit;       /* most units that fit into its memory; UINT64_MAX: no limit */
} pel_plan_device;

typedef struct pel_plan_request {
    uint64_t units, granularity; /* units > 0; shares are multiples of granularity, but for the last one */
    bool single_only;            /* splitting is not allowed */
    const pel_plan_device *devices;
    uint32_t device_count;
    double margin;            /* 0: 0.03 */
    const pel_record *record; /* the family's account; NULL: none is kept, and nothing is tried that has to be paid for */
    pel_aim objective;
    double deadline_ns;       /* from its begin; 0: none */
    bool pieces;              /* chunks may be handed out while the launch runs */
    bool irregular;           /* its user says that units differ in cost */
    bool frozen;              /* nothing is tried for the sake of learning: same models, same plan */
    uint32_t launches_seen;   /* of this kernel, for exploration in turn among core-sharing alternatives */
    const pel_allocator *allocator; /* for more than PEL_PLAN_DEVICE_LIMIT devices; else not used, and may be NULL */
} pel_plan_request;

/* Whether a launch may be used to learn: not where plans must repeat, and not where a deadline would pay for it. */
static inline bool pel_plan_may_try(const pel_plan_request *request) {
    return !request->frozen && !(request->deadline_ns > 0.0);
}

typedef struct pel_plan_slice {
    uint32_t device; /* index into request.devices */
    uint64_t lo, hi;
    double predicted_ns; /* 0: unknown */
    uint32_t group;      /* items of a work-group, where the launch leaves that open; 0: the device's default. planner/groups.h */
} pel_plan_slice;

typedef struct pel_plan_choice {
    uint64_t device_mask; /* devices of this alternative; 0 in a wide plan: */
    uint32_t many, only;  /* so many of them; if that is one: which */
    double predicted_ns;  /* 0: unknown */
    char reason[160];     /* why chosen, or why it lost */
    bool chosen;
} pel_plan_choice;

#define PEL_PLAN_CHOICE_LIMIT 24

typedef struct pel_plan_result {
    pel_plan_slice slices[PEL_PLAN_DEVICE_LIMIT]; /* ascending, contiguous, covering [0, units) but for the tail */
    pel_plan_slice *many; /* instead of these in a wide plan, where it owns them; else NULL */
    uint32_t slice_count;
    pel_tail tail; /* tail.lo == tail.hi: none, and the rest of it undefined */
    double predicted_ns;
    double predicted_joules; /* of the whole machine while it runs; 0: not known */
    pel_energy_source energy_source; /* of its watts: MEASURED where all of them are; UNKNOWN while joules are 0 */
    bool exploring;
    bool together_probe; /* exploring a combination that looks slower: pel_lesson.together_probe */
    bool variant_probe;  /* exploring another size of work-groups, which may have to be compiled: pel_lesson.variant_probe */
    double expected_ns;  /* what the best known plan would take, while exploring; 0: not known. pel_lesson.expected_ns */
    char reason[240];
    pel_plan_choice choices[PEL_PLAN_CHOICE_LIMIT];
    uint32_t choice_count;
    uint32_t unlisted; /* devices that have no choice of their own, for lack of room */
} pel_plan_result;

/*
 * Fails with NO_DEVICE when every device is excluded or too small (the text names each), INVALID_ARGUMENT for a malformed
 * request. Blocks never; allocates nothing for PEL_PLAN_DEVICE_LIMIT devices at most. For more: OUT_OF_MEMORY, and a result that
 * needs pel_plan_result_free.
 */
pel_status pel_planner_plan(const pel_plan_request *request, pel_plan_result *result);

/* A fixed split by weights (pel_launch_desc.shares), same rounding. weights[i] >= 0, sum > 0. */
pel_status pel_planner_fixed(const pel_plan_request *request, const uint32_t *devices, const double *weights, uint32_t count,
                             pel_plan_result *result);

/* Of a result that was filled in, by whichever of these, even if that failed. */
static inline const pel_plan_slice *pel_plan_slices(const pel_plan_result *result) {
    return result->many ? result->many : result->slices;
}
static inline void pel_plan_result_free(const pel_allocator *allocator, pel_plan_result *result) {
    if (result->many) {
        pel_free(allocator, result->many);
        result->many = NULL;
    }
}

#endif
