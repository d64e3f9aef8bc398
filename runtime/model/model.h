/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cost models: time of a chunk of n units of one kernel on one device, t(n) = a + b n, learned by recursive least squares with
 * relative-error weights and Huber clipping. Not thread-safe: guarded by the dispatcher's lock.
 */
#ifndef PEL_MODEL_MODEL_H
#define PEL_MODEL_MODEL_H

#include "base/alloc.h"
#include <pel/status.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pel_models pel_models;

typedef struct pel_model_key {
    uint64_t kernel;   /* identity of kernel, source, options, and of the unit's size (lower dimensions, local size) */
    uint64_t device;   /* identity of device and driver */
} pel_model_key;

typedef struct pel_cost {
    double start_ns;   /* a >= 0 */
    double unit_ns;    /* b > 0 */
    double deviation;  /* relative standard deviation of an observation about the model */
    uint64_t samples;  /* 0: nothing known, the other fields are 0 */
    double largest_units; /* largest chunk seen: predictions far beyond it are extrapolations */
} pel_cost;

pel_models *pel_models_create(const pel_allocator *allocator); /* NULL: no memory */
void pel_models_destroy(pel_models *models);

/*
 * Learns from one warm, successful chunk. Non-finite or non-positive values are ignored. OUT_OF_MEMORY: not learned, nothing
 * broken.
 */
pel_status pel_models_observe(pel_models *models, pel_model_key key, double units, double ns);

/* What is known. One sample: start from the device's typical start cost (median over other kernels), rest to the slope. */
pel_cost pel_models_predict(const pel_models *models, pel_model_key key);

/*
 * What one model remembers, as numbers, for the history store (model/history.h). What the numbers mean belongs to this module; a change of
 * meaning raises the version, and what an older version wrote is forgotten.
 */
#define PEL_MODEL_STATE_VERSION 1u
#define PEL_MODEL_STATE_LIMIT 128u

typedef struct pel_model_state {
    pel_model_key key;
    uint64_t samples;  /* observations behind it: of two states of one key the larger wins */
    uint32_t count;
    double values[PEL_MODEL_STATE_LIMIT];
} pel_model_state;

/* Calls with *cursor = 0 at first yield one model after the other; false: no more. The table must not change meanwhile. */
bool pel_models_next(const pel_models *models, size_t *cursor, pel_model_state *state);

/*
 * Takes a state into the table, unless the table knows its key from more samples. INVALID_ARGUMENT: the numbers are no model's (they come from a
 * file and may be anything), nothing has changed. OUT_OF_MEMORY likewise.
 */
pel_status pel_models_restore(pel_models *models, const pel_model_state *state);

/* The prediction of a state without a table; false: the numbers are no model's. */
bool pel_model_state_cost(const pel_model_state *state, pel_cost *cost);

#endif
