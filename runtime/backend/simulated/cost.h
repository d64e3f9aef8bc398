/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a chunk costs on a simulated device: pure functions, which the machine and the benchmark of planners
 * (bench/bench_planner.c) share, so that a rival policy and the real dispatcher meet the same device.
 */
#ifndef PEL_BACKEND_SIMULATED_COST_H
#define PEL_BACKEND_SIMULATED_COST_H

#include <pel/simulated.h>
#include <stdint.h>

/* A device's own stream of luck. */
typedef struct pel_simulated_stream {
    uint64_t random;
    double noise; /* of the chunk before, in deviations */
} pel_simulated_stream;

/* SplitMix64; next state, next value. */
uint64_t pel_simulated_random(uint64_t *state);
double pel_simulated_uniform(uint64_t *state); /* within (0, 1) */

/* Device `index` of a machine (0: the host) with this seed. */
void pel_simulated_seed(pel_simulated_stream *stream, uint64_t seed, uint32_t index);

/* ns of chunk number `chunk` (1-based) of `items` items and `work` units, begun at `now`, without luck and without company. */
double pel_simulated_cost(const pel_simulated_device *device, uint64_t chunk, double now_ns, double items, double work);

/* The factor of luck of the next chunk. */
double pel_simulated_luck(const pel_simulated_device *device, pel_simulated_stream *stream);

#endif
