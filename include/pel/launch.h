/* SPDX-License-Identifier: BSD-3-Clause */
/* The descriptor of a launch, common to pel_launch and pel_launch_plan. */
#ifndef PEL_LAUNCH_H
#define PEL_LAUNCH_H

#include <pel/arg.h>
#include <pel/event.h>
#include <pel/export.h>
#include <pel/kernel.h>
#include <pel/verification.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef enum pel_protection {
    /* retry where saving what chunks read and write is predicted to cost at most 1 %, else none; none with fixed shares */
    PEL_PROTECT_DEFAULT = 0,
    PEL_PROTECT_NONE = 1,
    /* a chunk whose device reports a failure runs again on others, also with fixed shares, from the bytes it began with */
    PEL_PROTECT_RETRY = 2,
    /*
     * As RETRY, and a chunk that does not end in time is given up: outputs are private until then, so nothing lands late. A hung
     * device may go on *reading* the launch's inputs: memory that was wrapped for it must stay readable. Devices that use the
     * program's memory in place and are not known to be coherent have no part in it (shares_host_memory; PoCL has).
     */
    PEL_PROTECT_ISOLATE = 3
} pel_protection;

/* A fixed share of a launch for one device, instead of the planner's choice. */
typedef struct pel_share {
    const pel_device *device;
    double weight;           /* relative to the sum of the weights; >= 0, finite */
} pel_share;

/* What a plan is made for. The power of devices is measured where a meter can be read, else declared (pel_device_set_power, or a
 * simulated machine's description). */
typedef enum pel_objective_kind {
    PEL_OBJECTIVE_TIME = 0,
    PEL_OBJECTIVE_ENERGY = 1,      /* least energy of all devices of the runtime while the launch runs, idle ones included */
    PEL_OBJECTIVE_ENERGY_DELAY = 2 /* least energy x time */
} pel_objective_kind;

typedef struct pel_objective {
    pel_objective_kind kind;
    uint32_t reserved;
    /* from the launch's begin; 0: none. Kept, as far as the models know, with two deviations to spare, for time as well: the
     * fastest plan that is sure to be in time; as fast as possible where none is. Nothing is tried for the sake of learning,
     * unless nothing at all is known: devices that were never measured stay out of such launches */
    double deadline_ns;
} pel_objective;

typedef struct pel_launch_desc {
    size_t size;                         /* sizeof(pel_launch_desc); 0: the layout of the first release */
    uint64_t global[3];                  /* items in each dimension; trailing zeros are absent dimensions */
    uint64_t local[3];                   /* work-group size, dividing global; all zero: the library chooses */
    uint64_t offset[3];                  /* global offset; access declarations and spans count items without it (docs/guide.md) */
    const pel_event *const *waits;       /* explicit dependencies, besides the data hazards */
    uint32_t wait_count;
    /* higher starts first of those ready together; chunks that wait for busy cores keep their order */
    int32_t priority;
    pel_protection protection;
    uint32_t share_count;                /* > 0: split exactly so (adjacent, in this order); one share: that device only */
    const pel_share *shares;
    /* ISOLATE: how long a chunk may run; 0: max(1 s, 30 x predicted), 10 minutes where nothing is known */
    uint64_t deadline_ns;
    const pel_objective *objective;      /* NULL: the queue's; copied; has no say where shares are given */
    /* NULL: the runtime's; copied. Other devices than those of `shares` may compute a second time */
    const pel_verification *verification;
} pel_launch_desc;

#define PEL_LAUNCH_DESC_INIT \
    {sizeof(pel_launch_desc), {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, NULL, 0, 0, PEL_PROTECT_DEFAULT, 0, NULL, 0, NULL, NULL}

PEL_END_DECLS
#endif
