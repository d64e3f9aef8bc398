/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hindsight oracle gives each device, in order, as much as it finishes by T, and bisects for the least T that uses up the
 * range: exact for costs that grow with the range, whatever their shape. Where devices disturb each other, every set of them is
 * tried with the slowness that its company causes.
 */
#include "planner_world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STEPS 44

static double between(pel_world *world, double low, double high) {
    return low + (high - low) * pel_simulated_uniform(&world->luck);
}
static double between_log(pel_world *world, double low, double high) {
    return low * exp(pel_simulated_uniform(&world->luck) * log(high / low));
}

static void draw_devices(pel_world *world, uint32_t count, double noise, double spikes) {
    world->count = count;
    for (uint32_t i = 0; i < count; i++) {
        pel_simulated_device *device = &world->devices[i];
        (void)snprintf(device->name, sizeof device->name, "d%u", (unsigned)i);
        device->start_ns = between_log(world, 20e3, 400e3);
        device->rate = between_log(world, 62.5, 1000.0);
        device->noise = noise;
        device->spike_chance = spikes;
        device->spike_factor = 3.0;
        device->spike_factor_most = 10.0;
        world->factor[i] = 1.0;
    }
}

uint32_t pel_world_fastest(const pel_world *world) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < world->count; i++) {
        best = world->devices[i].rate > world->devices[best].rate ? i : best;
    }
    return best;
}

/* A smooth hump, as of a fractal, or steps at random, as of sparse rows. */
static void draw_profile(pel_world *world) {
    double weight[PEL_WORLD_BINS], sum = 0.0, contrast = between_log(world, 3.0, 20.0);
    double middle = between(world, 0.2, 0.8), width = between(world, 0.05, 0.3);
    bool steps = pel_simulated_uniform(&world->luck) < 0.5;
    for (uint32_t i = 0; i < PEL_WORLD_BINS; i++) {
        double x = ((double)i + 0.5) / PEL_WORLD_BINS - middle;
        if (!steps || i % 16 == 0) {
            weight[i] = steps ? between_log(world, 1.0, contrast) : 1.0 + (contrast - 1.0) * exp(-0.5 * x * x / (width * width));
        } else {
            weight[i] = weight[i - 1];
        }
        sum += weight[i];
    }
    for (uint32_t i = 0; i < PEL_WORLD_BINS; i++) {
        world->cumulative[i + 1] = world->cumulative[i] + weight[i] / sum;
    }
    world->irregular = true;
}

static void bend(pel_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        pel_simulated_device *device = &world->devices[i];
        double units = (double)world->units;
        if (pel_simulated_uniform(&world->luck) < 0.5) {
            device->knee_items = units * between_log(world, 0.01, 0.2);
        } else {
            device->cliff_items = units * between_log(world, 0.05, 0.5);
            device->cliff_factor = between(world, 0.4, 0.8);
        }
    }
}

static void correlate(pel_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        pel_simulated_device *device = &world->devices[i];
        device->noise = 0.05;
        device->noise_memory = between(world, 0.5, 0.95);
        device->contention = between(world, 0.0, 0.15);
        device->drift = between(world, 0.0, 0.1);
        device->drift_period_ns = 1e9 * between_log(world, 0.3, 30.0);
    }
}

void pel_world_draw(pel_world *world, pel_family family, uint64_t seed, double target_ns) {
    memset(world, 0, sizeof *world);
    world->family = family;
    world->seed = seed;
    world->luck = seed * 0x9e3779b97f4a7c15u + (uint64_t)family;
    world->granularity = 64;
    for (uint32_t i = 0; i <= PEL_WORLD_BINS; i++) {
        world->cumulative[i] = (double)i / PEL_WORLD_BINS;
    }
    if (family == PEL_FAMILY_SIZED) {
        draw_devices(world, 2 + (uint32_t)between(world, 0.0, 3.999), 0.03, 0.0);
        const pel_simulated_device *fastest = &world->devices[pel_world_fastest(world)];
        double work = (target_ns - fastest->start_ns) * fastest->rate * 1e-3;
        world->units = 64u * (uint64_t)(1.0 + fmax(work, 0.1 * target_ns * fastest->rate * 1e-3) / 64.0);
        bool shared = pel_simulated_uniform(&world->luck) < 0.5; /* one memory feeds all, or not */
        for (uint32_t i = 0; i < world->count; i++) {
            world->devices[i].contention = shared ? between(world, 0.0, 1.0) : 0.0;
        }
    } else {
        draw_devices(world, 4, 0.1, 0.02);
        world->units = 64u * (uint64_t)(between_log(world, 1e5, 1e8) / 64.0);
    }
    if (family == PEL_FAMILY_BENT) {
        bend(world);
    } else if (family == PEL_FAMILY_CORRELATED) {
        correlate(world);
    } else if (family == PEL_FAMILY_IRREGULAR) {
        memset(world->cumulative, 0, sizeof world->cumulative);
        draw_profile(world);
    }
}

uint64_t pel_world_next_size(pel_world *world) {
    return world->family == PEL_FAMILY_MIXED ? 64u * (uint64_t)(between_log(world, 1e5, 1e8) / 64.0) : world->units;
}

static double up_to(const pel_world *world, double x) {
    double at = x * PEL_WORLD_BINS;
    uint32_t bin = at >= PEL_WORLD_BINS ? PEL_WORLD_BINS - 1u : (uint32_t)at;
    return world->cumulative[bin] + (at - bin) * (world->cumulative[bin + 1] - world->cumulative[bin]);
}

double pel_world_work(const pel_world *world, uint32_t device, uint64_t units, uint64_t lo, uint64_t hi) {
    double n = (double)units;
    double work = world->irregular ? n * (up_to(world, (double)hi / n) - up_to(world, (double)lo / n)) : (double)(hi - lo);
    return work * world->factor[device];
}

double pel_world_time(const pel_world *world, double now_ns, uint64_t units, pel_world_range range) {
    if (range.hi <= range.lo) {
        return 0.0;
    }
    return pel_simulated_cost(&world->devices[range.device], 0, now_ns, (double)(range.hi - range.lo),
                              pel_world_work(world, range.device, units, range.lo, range.hi));
}

double pel_world_together(const pel_world *world, const double *alone) {
    double left[PEL_WORLD_DEVICES], now = 0.0;
    uint32_t busy = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        left[i] = alone[i];
        busy += alone[i] > 0.0;
    }
    while (busy > 0) {
        double step = INFINITY;
        uint32_t first = 0, still = busy;
        for (uint32_t i = 0; i < world->count; i++) {
            double needs = left[i] * (1.0 + world->devices[i].contention * (double)(busy - 1));
            if (left[i] > 0.0 && needs < step) {
                step = needs;
                first = i;
            }
        }
        for (uint32_t i = 0; i < world->count; i++) {
            if (left[i] > 0.0) {
                left[i] -= step / (1.0 + world->devices[i].contention * (double)(still - 1));
                if (i == first || left[i] <= 0.0) {
                    left[i] = 0.0;
                    busy--;
                }
            }
        }
        now += step;
    }
    return now;
}

/* Whether the devices of `mask` finish the range by T, and what each does then. */
static bool done_by(const pel_world *world, double now_ns, uint64_t units, uint32_t mask, double T, uint64_t *edges) {
    uint64_t at = 0;
    double company = (double)__builtin_popcount(mask) - 1.0;
    for (uint32_t i = 0; i <= world->count; i++) {
        edges[i] = i == 0 ? 0 : units;
    }
    for (uint32_t i = 0; i < world->count && at < units; i++) {
        double limit = T / (1.0 + world->devices[i].contention * company);
        edges[i + 1] = at;
        if ((mask >> i & 1u) == 0) {
            continue;
        }
        uint64_t low = at, high = units;
        if (pel_world_time(world, now_ns, units, (pel_world_range){i, at, units}) <= limit) {
            edges[i + 1] = units;
            return true;
        }
        while (high - low > 1) {
            uint64_t middle = low + (high - low) / 2;
            *(pel_world_time(world, now_ns, units, (pel_world_range){i, at, middle}) <= limit ? &low : &high) = middle;
        }
        at = edges[i + 1] = low;
    }
    return at >= units;
}

double pel_world_single(const pel_world *world, double now_ns, uint64_t units, uint32_t *device) {
    double best = INFINITY;
    for (uint32_t i = 0; i < world->count; i++) {
        double time = pel_world_time(world, now_ns, units, (pel_world_range){i, 0, units});
        if (time < best) {
            best = time;
            *device = i;
        }
    }
    return best;
}

double pel_world_divide(const pel_world *world, double now_ns, uint64_t units, uint64_t edges[PEL_WORLD_DEVICES + 1]) {
    uint32_t device = 0, all = (1u << world->count) - 1u;
    uint64_t tried[PEL_WORLD_DEVICES + 1];
    double best = pel_world_single(world, now_ns, units, &device);
    bool disturbed = false;
    for (uint32_t i = 0; i < world->count; i++) {
        disturbed = disturbed || world->devices[i].contention > 0.0;
    }
    for (uint32_t i = 0; i <= world->count; i++) {
        edges[i] = i > device ? units : 0;
    }
    for (uint32_t mask = disturbed ? 3u : all; mask <= all; mask++) {
        double low = 0.0, high = best;
        if ((mask & (mask - 1u)) == 0 || !done_by(world, now_ns, units, mask, best, tried)) {
            continue;
        }
        memcpy(edges, tried, sizeof tried);
        for (int step = 0; step < STEPS && high - low > 1e-6 * high; step++) {
            double middle = 0.5 * (low + high);
            if (done_by(world, now_ns, units, mask, middle, tried)) {
                memcpy(edges, tried, sizeof tried);
                high = middle;
            } else {
                low = middle;
            }
        }
        best = high;
    }
    return best;
}
