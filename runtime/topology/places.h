/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How near logical processors are to each other: what of core, second- and third-level cache, NUMA node and package two of them
 * have in common. Read from hwloc once, plain numbers after that. The distance counts what they do not share, so it needs no
 * order among the levels, which machines nest differently (several third-level caches in a node, several nodes in a package). A
 * level that a machine does not tell of is shared by all and decides nothing. Rejected: hwloc's distance matrices (absent on most
 * machines, and about memory only).
 */
#ifndef PEL_TOPOLOGY_PLACES_H
#define PEL_TOPOLOGY_PLACES_H

#include <stdint.h>

enum { PEL_PLACE_LEVELS = 5 };

typedef struct pel_place {
    uint16_t of[PEL_PLACE_LEVELS]; /* number of its core, caches, node, package; 0: unknown */
} pel_place;

typedef struct pel_places {
    uint32_t count; /* logical processors by operating-system number, those that are missing included */
    pel_place at[];
} pel_places;

/* 0: the same core, to PEL_PLACE_LEVELS: nothing in common, or not known. */
static inline uint32_t pel_place_distance(const pel_places *places, uint32_t a, uint32_t b) {
    if (a >= places->count || b >= places->count) {
        return PEL_PLACE_LEVELS;
    }
    const pel_place *one = &places->at[a], *other = &places->at[b];
    uint32_t distance = 0;
    for (uint32_t level = 0; level < PEL_PLACE_LEVELS; level++) {
        distance += one->of[level] != other->of[level];
    }
    return distance;
}

#endif
