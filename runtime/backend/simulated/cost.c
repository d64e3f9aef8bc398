/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * t = (start + work / rate) x luck, and how real devices differ from that line: a wide one is not filled by few items, a cache is
 * left behind by many, clocks and heat change with time, noise has a memory. Each bend is one field of the description and is
 * continuous and monotone in the items, so that a best division exists and can be found by bisection (the hindsight oracle of the
 * benchmark does). Every chunk takes the same number of draws, so that one option does not change the luck of another.
 */
#include "backend/simulated/cost.h"

#include <math.h>

#define TURN 6.283185307179586

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014). */
uint64_t pel_simulated_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double pel_simulated_uniform(uint64_t *state) {
    return ((double)(pel_simulated_random(state) >> 11) + 0.5) * 0x1p-53;
}

void pel_simulated_seed(pel_simulated_stream *stream, uint64_t seed, uint32_t index) {
    uint64_t state = seed;
    stream->random = pel_simulated_random(&state) ^ ((uint64_t)index * 0x9e3779b97f4a7c15u);
    stream->noise = 0.0;
}

/* Units of work that count for `work` units in `items` items. */
static double bent(const pel_simulated_device *device, double items, double work) {
    if (items < device->knee_items && items > 0.0) {
        work *= device->knee_items / items;
    }
    if (device->cliff_items > 0.0 && items > device->cliff_items) {
        double over = items / device->cliff_items - 1.0;
        work *= 1.0 + (1.0 / device->cliff_factor - 1.0) * (over < 1.0 ? over : 1.0);
    }
    return work;
}

double pel_simulated_cost(const pel_simulated_device *device, uint64_t chunk, double now_ns, double items, double work) {
    double rate = device->rate;
    if (device->slow_after > 0 && chunk >= device->slow_after && (device->slow_until == 0 || chunk < device->slow_until)) {
        rate *= device->slow_factor;
    }
    if (device->drift > 0.0 && device->drift_period_ns > 0.0) {
        rate *= 1.0 + device->drift * sin(TURN * now_ns / device->drift_period_ns);
    }
    return device->start_ns + 1e3 * bent(device, items, work) / rate;
}

/* Log-normal with mean 1, and now and then a spike. */
double pel_simulated_luck(const pel_simulated_device *device, pel_simulated_stream *stream) {
    double first = pel_simulated_uniform(&stream->random), second = pel_simulated_uniform(&stream->random);
    double third = pel_simulated_uniform(&stream->random), fourth = pel_simulated_uniform(&stream->random);
    double factor = 1.0;
    if (device->noise > 0.0) {
        double variance = log1p(device->noise * device->noise), memory = device->noise_memory;
        double normal = sqrt(-2.0 * log(first)) * cos(TURN * second); /* Box and Muller */
        stream->noise = memory * stream->noise + sqrt(1.0 - memory * memory) * normal;
        factor = exp(sqrt(variance) * stream->noise - 0.5 * variance);
    }
    if (third < device->spike_chance) {
        double more = device->spike_factor_most > device->spike_factor ? device->spike_factor_most - device->spike_factor : 0.0;
        factor *= device->spike_factor + fourth * more;
    }
    return factor;
}
