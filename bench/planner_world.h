/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machines and kernels drawn by seed, on which planning policies are compared (bench_planner.c): what a range costs on a device,
 * with and without luck, and the best that could have been done.
 */
#ifndef PEL_BENCH_PLANNER_WORLD_H
#define PEL_BENCH_PLANNER_WORLD_H

#include "backend/simulated/cost.h"
#include <stdbool.h>
#include <stdint.h>

enum { PEL_WORLD_DEVICES = 8, PEL_WORLD_BINS = 256 };

typedef enum pel_family {
    /* 4 devices, starts of 20-400 us, rates 16x apart, noise 10 %, 2 % of spikes; a size a seed, over 3 decades */
    PEL_FAMILY_ANCHOR,
    PEL_FAMILY_MIXED,      /* the same, every launch of another size */
    PEL_FAMILY_BENT,       /* knees and cache cliffs */
    PEL_FAMILY_IRREGULAR,  /* items that differ in cost up to 20x */
    PEL_FAMILY_CORRELATED, /* noise with a memory, speeds that swing, devices that disturb each other */
    PEL_FAMILY_SIZED /* 2 to 5 devices, noise 3 %, half with one memory for all; the fastest alone takes `target_ns` */
} pel_family;

typedef struct pel_world {
    pel_family family;
    uint64_t seed;
    uint32_t count;
    pel_simulated_device devices[PEL_WORLD_DEVICES];
    uint64_t units, granularity;
    double factor[PEL_WORLD_DEVICES];      /* of the work: a device that gets hot */
    double cumulative[PEL_WORLD_BINS + 1]; /* work up to a bin's begin; the mean over the range is 1 */
    bool irregular;
    uint64_t luck; /* state of the stream that draws the world */
} pel_world;

typedef struct pel_world_range {
    uint32_t device;
    uint64_t lo, hi;
} pel_world_range;

void pel_world_draw(pel_world *world, pel_family family, uint64_t seed, double target_ns);
uint64_t pel_world_next_size(pel_world *world); /* units of the next launch */
uint32_t pel_world_fastest(const pel_world *world);

/* Work of [lo, hi) of a launch of `units` on a device, in units of the device description. */
double pel_world_work(const pel_world *world, uint32_t device, uint64_t units, uint64_t lo, uint64_t hi);

/* ns of a range on a device at this time: without luck, without company. */
double pel_world_time(const pel_world *world, double now_ns, uint64_t units, pel_world_range range);

/* When the last is over, of devices that begin together and need `alone` ns each when undisturbed (0: idle). */
double pel_world_together(const pel_world *world, const double *alone);

/* The best contiguous division in hindsight, device i has [edges[i], edges[i + 1]); and the best single device. ns without
 * luck. */
double pel_world_divide(const pel_world *world, double now_ns, uint64_t units, uint64_t edges[PEL_WORLD_DEVICES + 1]);
double pel_world_single(const pel_world *world, double now_ns, uint64_t units, uint32_t *device);

#endif
