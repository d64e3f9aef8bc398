/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plan says how one launch is (or would be) executed, and why. An owned snapshot: nothing changes it, it outlives its runtime.
 *
 * Getters: from any threads at once, until pel_plan_destroy; none blocks. Strings belong to the plan and are never NULL. Those
 * that fill a structure return INVALID_ARGUMENT for NULL and for an index that there is not; all others give 0 or "" for a NULL
 * plan. Times are in nanoseconds, energy is in joules.
 */
#ifndef PEL_PLAN_H
#define PEL_PLAN_H

#include <pel/device.h>
#include <pel/export.h>
#include <pel/status.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_plan pel_plan;

/* One chunk. Times in nanoseconds; actual ones are 0 in a dry run. */
typedef struct pel_plan_chunk {
    const char *device;        /* device id; owned by the plan */
    uint64_t lo, hi;           /* units along the split dimension */
    double share;              /* of the whole range, 0..1 */
    /* items, where the launch left its local size open and pel chose; 0: asked for, or the device's default */
    uint32_t work_group;
    double predicted_ns;       /* 0: no model yet */
    double began_ns;           /* when its device began with it, since the launch began (pel_event_timing.began) */
    double actual_ns;          /* from the chunk's first transfer to its end */
    double compute_ns;         /* of which the kernel itself */
    uint64_t bytes_in, bytes_out;
    uint32_t cold;             /* 1: contained a compilation, not learned from */
    const char
        *failure; /* why its result does not count and its units are in later chunks again; "" when it does; owned by the plan */
} pel_plan_chunk;

/* One alternative that was considered. */
typedef struct pel_plan_candidate {
    const char *devices;       /* "host", "opencl:0", "host + opencl:0" */
    double predicted_ns;       /* 0: unknown */
    const char *reason;        /* why it was chosen, or why it lost */
    uint32_t chosen;
} pel_plan_candidate;

PEL_API uint32_t pel_plan_chunk_count(const pel_plan *plan);
PEL_API pel_status pel_plan_get_chunk(const pel_plan *plan, uint32_t index, pel_plan_chunk *chunk);
PEL_API uint32_t pel_plan_candidate_count(const pel_plan *plan);
PEL_API pel_status pel_plan_get_candidate(const pel_plan *plan, uint32_t index, pel_plan_candidate *candidate);
PEL_API const char *pel_plan_reason(const pel_plan *plan);       /* why these devices, in words */
PEL_API const char *pel_plan_restriction(const pel_plan *plan);  /* why it may not be split; "" when it may */
PEL_API const char *pel_plan_protection(const pel_plan *plan);   /* which protection, and why */

/* Bytes of the whole launch: what its chunks read, what was copied for it (what came home from other devices for it included),
 * and what they read that was where they ran already, or in host memory that the device shares. All 0 in a dry run. */
typedef struct pel_plan_bytes {
    uint64_t needed, moved, saved;
} pel_plan_bytes;
PEL_API pel_status pel_plan_get_bytes(const pel_plan *plan, pel_plan_bytes *bytes);

/* What was computed twice, or checked (pel/verification.h), and what came of it. All 0 and "" where nothing was to be
 * verified. */
typedef struct pel_plan_verification {
    uint32_t chunks;           /* of the launch, those that failed and ran again apart; as are the following. 0 in a dry run */
    uint32_t verified;         /* of them compared or checked, and known to be right */
    uint32_t wrong;            /* of these: were wrong at first */
    double predicted_ns;       /* what it adds to the launch; 0: no model yet */
    double actual_ns;          /* what it added; 0 in a dry run */
    const char *devices;       /* which computed a second time; "" */
    const char *wrong_devices; /* which were wrong; "" */
    const char *text;          /* all of it in words, and why what was not verified was not; "" */
} pel_plan_verification;
/* OK, or INVALID_ARGUMENT (NULL). The strings belong to the plan. Any thread; never blocks. */
PEL_API pel_status pel_plan_get_verification(const pel_plan *plan, pel_plan_verification *verification);

PEL_API double pel_plan_predicted_ns(const pel_plan *plan);      /* makespan; 0: no model yet */
PEL_API double pel_plan_actual_ns(const pel_plan *plan);         /* makespan; 0 in a dry run */
/* Energy of all devices of the runtime while the launch runs, where the plan's aim is energy or has a deadline; 0: some device's
 * power, or its time, is not known. */
PEL_API double pel_plan_predicted_joules(const pel_plan *plan);
/* Where the watts of that come from: MEASURED where the meters of all devices told them (pel_device_get_energy names the meters;
 * a launch whose aim is energy makes pel read them), MODELLED where some were declared, UNKNOWN while the energy is 0, and for
 * NULL. Any thread; never blocks. */
PEL_API pel_energy_source pel_plan_energy_source(const pel_plan *plan);
PEL_API uint32_t pel_plan_split_dimension(const pel_plan *plan); /* along which the range is divided, 0 to 2 */

/* The whole plan in words, several lines, owned by the plan. */
PEL_API const char *pel_plan_text(const pel_plan *plan);

PEL_API void pel_plan_destroy(pel_plan *plan); /* any thread, when no other reads it or its strings any more; NULL is allowed */

PEL_END_DECLS
#endif
