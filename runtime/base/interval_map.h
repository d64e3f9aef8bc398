/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A map from disjoint half-open intervals of uint64_t to values of two words; unmapped gaps have the value {0, 0}, equal
 * neighbours merge. The base of residency (value: masks of places) and of hazards (value: who wrote last, who reads).
 */
#ifndef PEL_BASE_INTERVAL_MAP_H
#define PEL_BASE_INTERVAL_MAP_H

#include <pel/runtime.h>
#include <pel/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pel_interval_map pel_interval_map;

typedef struct pel_interval_value {
    uint64_t a, b;
} pel_interval_value;

/* Values with any of `references` set in `a` are references: retain is called when an interval is cut in two, release when one
 * goes. */
typedef struct pel_interval_hooks {
    void (*retain)(void *user, pel_interval_value value);
    void (*release)(void *user, pel_interval_value value);
    void *user;
    uint64_t references;
} pel_interval_hooks;

/*
 * Where the last operation of a series was: the next one near it needs no search. Starts as zeros, belongs to one map, and may be
 * as old as it likes. A NULL hint is allowed everywhere.
 */
typedef struct pel_interval_hint {
    void *leaf;
    uint32_t at;
} pel_interval_hint;

/* hooks NULL: plain numbers. NULL: no memory */
pel_interval_map *pel_interval_map_create(const pel_allocator *allocator, const pel_interval_hooks *hooks);
void pel_interval_map_destroy(pel_interval_map *map);
bool pel_interval_map_is_empty(const pel_interval_map *map); /* nothing is mapped */
size_t pel_interval_map_pieces(const pel_interval_map *map); /* what it holds: intervals may be in several */
size_t pel_interval_map_count(const pel_interval_map *map);  /* intervals; counts them */

/* [lo, hi) gets `value` ({0, 0}: unmapped). Takes over one reference. OUT_OF_MEMORY leaves the map, and the reference, as they
 * were. */
pel_status pel_interval_map_set(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_value value,
                                pel_interval_hint *hint);

/* Every part of [lo, hi), gaps included, gets a = (a & ~clear) | set. For maps of plain numbers. OUT_OF_MEMORY leaves the map
 * as it was. */
pel_status pel_interval_map_mask(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t clear, uint64_t set,
                                 pel_interval_hint *hint);

/*
 * Tells the new value of a part that had *value, in *value: takes over the reference to the old one, gives one to the new. False:
 * no more (no memory); *value is as it was.
 */
typedef bool (*pel_interval_change_fn)(void *user, pel_interval_value *value);

/* Changes every part of [lo, hi), gaps included, cut at lo and hi. OUT_OF_MEMORY: nothing was changed, or `change` refused
 * after some parts. */
pel_status pel_interval_map_update(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user,
                                   pel_interval_hint *hint);

/*
 * The same without cutting: the intervals and gaps at lo and hi are changed as far as they happen to be one piece. For changes
 * that ask for the old value, and for whole maps. Needs no memory; ends where `change` refuses.
 */
void pel_interval_map_alter(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user);

/* Calls visit for every part of [lo, hi) in ascending order, gaps included, clipped. Stops when visit returns false. The map
 * must not change meanwhile. */
typedef bool (*pel_interval_visit_fn)(void *user, uint64_t lo, uint64_t hi, pel_interval_value value);
void pel_interval_map_visit(const pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_visit_fn visit, void *user,
                            pel_interval_hint *hint);

/*
 * The short ways, for millions of small ranges. one: whether all of [lo, hi) is one piece, and its value. replace: what `set`
 * does, where that takes nothing but storing the value: [lo, hi) is a piece by itself, or the beginning of the gap at the end of
 * a leaf, and neither value is a reference; else false. It follows `one` with the same hint.
 */
bool pel_interval_map_one(const pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_value *value,
                          pel_interval_hint *hint);
bool pel_interval_map_replace(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_value value, pel_interval_hint *hint);

/* Finds where several operations will begin; the cache misses of the searches overlap. Hints that fit already are kept. */
void pel_interval_map_seek(const pel_interval_map *map, const uint64_t *keys, pel_interval_hint *hints, uint32_t count);

#endif
