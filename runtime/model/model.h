/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cost models: time of a chunk of n units of one kernel on one device, t = a + b max(n, knee) + c bytes, where the bytes are
 * those that were not where it computed; learned by recursive least squares with relative-error weights and Huber clipping. What
 * a device does *alone* and what it does *while others run* are two lines, because memory, caches and power are shared; and what
 * a kernel does in other shapes (*kin*) stands in while a shape is new. Beside the lines, a record per kernel and shape: how
 * often, how long, what exploring has cost. Not thread-safe: guarded by the dispatcher's lock.
 */
#ifndef PEL_MODEL_MODEL_H
#define PEL_MODEL_MODEL_H

#include "base/alloc.h"
#include <pel/status.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pel_models pel_models;

typedef struct pel_model_key {
    uint64_t kernel; /* identity of kernel, source, options, and of the unit's size (lower dimensions, local size) */
    uint64_t device; /* identity of device and driver */
} pel_model_key;

/* Launches that have a line in common. */
typedef struct pel_model_family {
    uint64_t kernel;       /* what is computed: source, options, declaration */
    uint64_t shape;        /* how: work-group, lower dimensions, octave of what every item reads */
    double items_per_unit; /* makes shapes comparable; 0: 1 */
} pel_model_family;

typedef struct pel_line {
    double start_ns;  /* a >= 0 */
    double unit_ns;   /* b > 0 */
    double deviation; /* relative standard deviation of an observation about the line */
    uint64_t samples; /* 0: nothing known, the other fields are 0 */
} pel_line;

#define PEL_COMPANY_PRIOR 0.05 /* what pel_cost.company is thought to be before: 0, give or take */

/* The first fields are the line while others run, or of observations whose company is not known. */
typedef struct pel_cost {
    double start_ns;      /* a >= 0 */
    double unit_ns;       /* b > 0 */
    double deviation;     /* relative standard deviation of an observation about the model */
    uint64_t samples;     /* 0: nothing known, the other fields are 0 */
    double largest_units; /* largest chunk seen: predictions far beyond it are extrapolations */
    double knee_units;    /* a smaller chunk takes as long as one of so many: a wide device is not full; 0: none is known */
    pel_line alone;       /* while nothing else ran; samples 0: never seen alone */
    pel_line piece;       /* small chunks at the end of a launch: costs bend where chunks are small; samples 0: never seen */
    pel_line kin;         /* from other shapes of the kernel; samples 0: nothing. A guess: what every item reads differs */
    bool outdated;        /* it was seen alone, but the machine has changed since */
    double companions;    /* devices beside it at which the first line holds; 0: not known */
    double company;       /* natural logarithm of the slowness that each one more adds, */
    double company_error; /* give or take; PEL_COMPANY_PRIOR: nothing has told it */
    uint64_t last_launch; /* of the family, when it was last seen; 0: never, or before this process */
} pel_cost;

/* Units that a chunk of `units` counts as. */
static inline double pel_cost_counted(const pel_cost *cost, double units) {
    return units > cost->knee_units ? units : cost->knee_units;
}

#define PEL_DIVISION_LIMIT 16

/* Who took which part of a family's latest launch, and so where its bytes are: [0, hi[0]), [hi[0], hi[1]), ... */
typedef struct pel_division {
    uint64_t units; /* of the whole range, which the parts cover; 0: not known, or too many of them */
    uint32_t count;
    uint64_t device[PEL_DIVISION_LIMIT], hi[PEL_DIVISION_LIMIT];
} pel_division;

/* The account of a family: what its launches have cost, and what of it went into exploring. */
typedef struct pel_record {
    uint64_t launches;        /* learned from */
    double total_ns;          /* their makespans */
    double explored_ns;       /* by how much exploring ones were slower than the best known plan */
    uint64_t together_probes; /* trials of a combination that looks slower than one device */
    uint64_t together_last;   /* launch of the latest */
    double misfit;            /* usual relative error of predictions, before there is a profile */
    const double *profile;    /* model/profile.h: where an irregular kernel works; lines are then over work; NULL: regular */
    /* Two devices that differ along the range have one each, and lines over the work that it says; both, or NULL. */
    const double *own[2];
    uint64_t own_device[2];
    uint64_t profiled_since; /* launch; 0 with a profile: it came from the history */
    uint32_t turned;         /* divided launches learned from since */
    bool told;               /* its user says that items differ in cost */
    uint32_t cold_in_a_row;  /* launches in which something was compiled */
    uint32_t deprived;       /* launches in which cores were missing, less those that had them; at most a few */
    pel_division last;       /* planner/stay.c */
} pel_record;

pel_models *pel_models_create(const pel_allocator *allocator); /* NULL: no memory */
void pel_models_destroy(pel_models *models);

/*
 * Learns from one warm, successful chunk. Non-finite or non-positive values are ignored. OUT_OF_MEMORY: not learned, nothing
 * broken.
 */
pel_status pel_models_observe(pel_models *models, pel_model_key key, double units, double ns);

/* What is known. One sample: start from the device's typical start cost (median over other kernels), rest to the slope. */
pel_cost pel_models_predict(const pel_models *models, pel_model_key key);

typedef struct pel_lesson_chunk {
    uint64_t device;
    uint64_t lo, hi; /* units */
    double ns;       /* of the kernel itself */
    bool cold;       /* a compilation took place in it: not learned from, nor is what ran beside it */
    bool piece;      /* of a held-back tail: small */
    bool unfinished; /* given up after `ns`: it takes longer than that (censored) */
    double bytes;    /* that had to be moved for it, in and out; */
    double move_ns;  /* and what that took, beside `ns`; 0: it was not measured */
    uint64_t memory; /* the device whose link they went over; 0: `device`, which may be a variant of it */
} pel_lesson_chunk;

/* What one launch taught. Chunks of different devices ran beside each other, those of one device one after the other. */
typedef struct pel_lesson {
    pel_model_family family;
    uint64_t units; /* of the whole range; 0: it ends with the last chunk */
    const pel_lesson_chunk *chunks;
    uint32_t chunk_count;
    double makespan_ns;  /* > 0 */
    double expected_ns;  /* of the best known plan, when this one was exploring; 0: it was not, or nothing was known */
    bool together_probe; /* it tried a combination that looked slower */
    bool variant_probe;  /* it tried another size of work-groups: what that took is paid for, a compilation included */
    bool irregular;      /* the kernel's user says that its items differ in cost */
    bool deprived;       /* its devices lost their cores to others for a while: not learned from, while that is not the rule */
} pel_lesson;

/*
 * Learns from one successful launch (under 100 ns a chunk once a model is past its first eight). OUT_OF_MEMORY: something was
 * not learned.
 */
pel_status pel_models_learn(pel_models *models, const pel_lesson *lesson);

/* All that is known of a family on a device. */
pel_cost pel_models_cost(const pel_models *models, const pel_model_family *family, uint64_t device);

/*
 * What moving bytes for a kernel takes: as its own chunks took, once there are three, else as its device's link usually does. The
 * link's rate is that of large pieces; a kernel that reads columns moves thousands of short rows.
 */
pel_line pel_models_moving(const pel_models *models, const pel_model_family *family, uint64_t device, pel_line link);

/* NULL: no launch of the family was learned from. Valid until the next learning. */
const pel_record *pel_models_record(const pel_models *models, const pel_model_family *family);

/* What a device draws, as a meter told (model/watts.h). windows 0: nothing is known. */
typedef struct pel_model_watts {
    double busy_watts, idle_watts;
    double extra_error, idle_error; /* standard errors of busy - idle, and of idle */
    uint64_t windows;
    bool known; /* both are sure enough to plan with */
} pel_model_watts;

/* Zeros: nothing. */
pel_model_watts pel_models_watts(const pel_models *models, uint64_t device);
/* OUT_OF_MEMORY: not noted, nothing broken. */
pel_status pel_models_set_watts(pel_models *models, uint64_t device, const pel_model_watts *watts);

/*
 * What one model remembers, as numbers, for the history store (model/history.h). What the numbers mean belongs to this module; a
 * change of meaning raises the version, and what an older version wrote is forgotten.
 */
#define PEL_MODEL_STATE_VERSION 6u
#define PEL_MODEL_STATE_LIMIT 64u
#define PEL_MODEL_SEASONED 4u /* samples from which a model counts as one, and never gives way to a younger one */

/* See above. */
typedef enum pel_model_aspect {
    PEL_MODEL_BESIDE = 0,
    PEL_MODEL_ALONE = 1,
    PEL_MODEL_KIN = 2,
    PEL_MODEL_PIECE = 3,
    PEL_MODEL_PROFILE = 4, /* no line: where an irregular kernel works; of no single device, or of one of two that differ */
    PEL_MODEL_MOVING = 5,  /* a line over bytes */
    PEL_MODEL_POWER = 6    /* no line: what a device draws, as meters said; of no kernel */
} pel_model_aspect;

#define PEL_MODEL_ASPECTS 7u

#define PEL_MODEL_PROFILE_BINS 32

typedef struct pel_model_state {
    pel_model_key key;
    uint64_t kernel; /* pel_model_family.kernel; 0: unknown */
    pel_model_aspect aspect;
    uint64_t samples; /* observations behind it: of two states of one key the larger wins */
    uint32_t count;
    double values[PEL_MODEL_STATE_LIMIT];
} pel_model_state;

/* Calls with *cursor = 0 at first yield one model after the other; false: no more. The table must not change meanwhile. */
bool pel_models_next(const pel_models *models, size_t *cursor, pel_model_state *state);

/*
 * Takes a state into the table, unless the table knows its key from more samples. INVALID_ARGUMENT: the numbers are no model's
 * (they come from a file and may be anything), nothing has changed. OUT_OF_MEMORY likewise.
 */
pel_status pel_models_restore(pel_models *models, const pel_model_state *state);

/* The device that a state is about; 0: all devices, as most profiles are. */
uint64_t pel_model_state_device(const pel_model_state *state);

/* The prediction of a state without a table, `outdated` where it is forgotten; false: the numbers are no line's. */
bool pel_model_state_cost(const pel_model_state *state, pel_cost *cost);

/* What a state says of a device's power; false: the numbers are none's. */
bool pel_model_state_watts(const pel_model_state *state, pel_model_watts *watts);

/* How dense the work is in each part of the range, 1 on average; false: the numbers are no profile's. */
bool pel_model_state_profile(const pel_model_state *state, double density[PEL_MODEL_PROFILE_BINS]);

#endif
