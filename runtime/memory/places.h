/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of places, as values of the residency map: place 0 is host memory, place 1 + d the memory of device d.
 *
 * Bit 0 of `a` says that the host does NOT have the bytes, so that {0, 0}, a gap of the map, means "host memory only". While a
 * runtime has 63 devices at most, the other bits of `a` are the other places, and b is 0. With more, up to four of them stand in
 * `b`, 16 bits each, ascending; larger sets are kept once each in the runtime's table, and a >> 1 is the number of the row. An
 * inputs' copy on each of 4,096 devices is one row of 65 words, not a mask of 65 words in every interval. Rows that no map names
 * any more are given up when the table has doubled: a walk over all maps finds them, which costs less than counting references
 * through every cut and merge. Rejected: a fixed number of places in each value (the copy that does not fit would have to be
 * forgotten, and sent again), a map for each device (a write has to be noted in all of them).
 */
#ifndef PEL_MEMORY_PLACES_H
#define PEL_MEMORY_PLACES_H

#include "base/interval_map.h"
#include "core/runtime.h"

#define PEL_PLACE_HOST 1ull
#define PEL_PLACE_BITS 64u /* places that one word holds */

typedef pel_interval_value pel_place_set;

/* The runtime has more places than bits. */
static inline bool pel_places_are_many(const pel_runtime *runtime) { return runtime->place_sets != 0; }

static inline bool pel_places_at_home(pel_place_set places) { return (places.a & PEL_PLACE_HOST) == 0; }

/* The next place in a device's memory after `after`, which may be 0; 0: none. */
uint32_t pel_places_next_of_many(const pel_runtime *runtime, pel_place_set places, uint32_t after);
static inline uint32_t pel_places_next(const pel_runtime *runtime, pel_place_set places, uint32_t after) {
    if (pel_places_are_many(runtime)) {
        return pel_places_next_of_many(runtime, places, after);
    }
    const uint64_t rest = after + 1 < PEL_PLACE_BITS ? places.a >> (after + 1) : 0;
    return rest != 0 ? after + 1 + (uint32_t)__builtin_ctzll(rest) : 0;
}

bool pel_places_have_of_many(const pel_runtime *runtime, pel_place_set places, uint32_t place);
static inline bool pel_places_have(const pel_runtime *runtime, pel_place_set places, uint32_t place) {
    return pel_places_are_many(runtime) ? pel_places_have_of_many(runtime, places, place)
                                        : ((places.a ^ PEL_PLACE_HOST) >> place & 1u) != 0;
}

/* In this device's memory, and nowhere else. */
static inline bool pel_places_are_only(const pel_runtime *runtime, pel_place_set places, uint32_t place) {
    return !pel_places_at_home(places) && pel_places_next(runtime, places, 0) == place &&
           pel_places_next(runtime, places, place) == 0;
}

/* {place} alone. */
static inline pel_place_set pel_places_one(const pel_runtime *runtime, uint32_t place) {
    if (pel_places_are_many(runtime)) {
        return place == 0 ? (pel_place_set){0, 0} : (pel_place_set){PEL_PLACE_HOST, place};
    }
    return (pel_place_set){(1ull << place) ^ PEL_PLACE_HOST, 0};
}

/* ---- runtimes of many places; under the runtime's lock ---- */

/* The table of a runtime of so many devices, for runtime->place_sets. NULL: no memory. */
struct pel_place_sets *pel_place_sets_create(const pel_allocator *allocator, uint32_t device_count);
void pel_place_sets_destroy(const pel_allocator *allocator, struct pel_place_sets *sets);
uint32_t pel_place_sets_count(const struct pel_place_sets *sets); /* rows in use */

/* With a device's place. False: no memory, *places is as it was. */
bool pel_places_add(pel_runtime *runtime, pel_place_set *places, uint32_t place);

/* Without it; host memory where nothing is left. Cannot fail: without memory others than that may be forgotten, never all. */
void pel_places_drop(pel_runtime *runtime, pel_place_set *places, uint32_t place);

/* Gives up rows that no allocation's map names, if there may be many. No value may be on its way into a map. */
void pel_place_sets_tidy(pel_runtime *runtime);

#endif
