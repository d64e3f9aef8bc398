/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A map from disjoint half-open intervals of uint64_t to 64-bit values; unmapped gaps have the value 0, neighbours of equal value merge
 * (unless the map holds references, see hooks). The base of residency (value: a mask of places) and of hazards (value: a record).
 */
#ifndef PEL_BASE_INTERVAL_MAP_H
#define PEL_BASE_INTERVAL_MAP_H

#include <pel/runtime.h>
#include <pel/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pel_interval_map pel_interval_map;

/* When values are references: retain is called when an interval is cut in two, release when one goes. Both NULL: plain numbers. */
typedef struct pel_interval_hooks {
    void (*retain)(void *user, uint64_t value);
    void (*release)(void *user, uint64_t value);
    void *user;
} pel_interval_hooks;

pel_interval_map *pel_interval_map_create(const pel_allocator *allocator, const pel_interval_hooks *hooks); /* NULL: no memory */
void pel_interval_map_destroy(pel_interval_map *map);
size_t pel_interval_map_count(const pel_interval_map *map);

/* Makes room so that the next `operations` set/update calls cannot fail. */
pel_status pel_interval_map_reserve(pel_interval_map *map, size_t operations);

/* [lo, hi) gets `value` (0: unmapped). Takes over one reference. OUT_OF_MEMORY leaves the map as it was. */
pel_status pel_interval_map_set(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t value);

/* Every part of [lo, hi), gaps included, gets (value & ~clear) | set. For maps of plain numbers. */
pel_status pel_interval_map_mask(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t clear, uint64_t set);

/* Calls visit for every part of [lo, hi) in ascending order, gaps included (value 0), clipped. Stops when visit returns false. The map must not change meanwhile. */
void pel_interval_map_visit(const pel_interval_map *map, uint64_t lo, uint64_t hi,
                            bool (*visit)(void *user, uint64_t lo, uint64_t hi, uint64_t value), void *user);

#endif
