/* SPDX-License-Identifier: BSD-3-Clause */
/* The generator of the tests: splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
 * The state is the seed. */
#ifndef TESTS_SUPPORT_RANDOM_H
#define TESTS_SUPPORT_RANDOM_H

#include <stdint.h>

static inline uint64_t test_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Without a state: the first number of that seed. */
static inline uint64_t test_mix(uint64_t seed) { return test_random(&seed); }

/* Between 0 and 1, neither of them. */
static inline double test_uniform(uint64_t *state) { return ((double)(test_random(state) >> 11) + 0.5) * 0x1p-53; }

/* About normal, mean 0 and deviation 1, between -6 and 6: Irwin and Hall's sum of twelve. */
static inline double test_normal(uint64_t *state) {
    double sum = 0.0;
    for (int i = 0; i < 12; i++) {
        sum += test_uniform(state);
    }
    return sum - 6.0;
}

#endif
