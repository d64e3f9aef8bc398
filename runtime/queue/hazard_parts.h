/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hazards are made of, for the two ways in: hazard.c, which takes any access, and hazard_enter.c, the short way. Exactly one
 * of map, fields and grids governs a byte.
 */
#ifndef PEL_QUEUE_HAZARD_PARTS_H
#define PEL_QUEUE_HAZARD_PARTS_H

#include "queue/hazard_cells.h"
#include "queue/hazard_grid.h"
#include "queue/hazard_lost.h"
#include "queue/hazard_state.h"

enum { PEL_HAZARD_HINTS = 8, PEL_HAZARD_SWEEP_FROM = 2048 };

struct pel_hazards {
    pel_hazard_states states; /* and the allocator */
    pel_interval_map *map;
    size_t sweep_at;          /* pieces of the map */
    /* by the number of a range: programs walk over memory with each access of their tasks */
    pel_interval_hint hints[PEL_HAZARD_HINTS];
    pel_hazard_grid **grids;  /* by address; disjoint */
    uint32_t grid_count, grid_capacity;
    pel_hazard_fields fields;
    pel_hazard_lost lost;     /* beside what governs these bytes */
    struct pel_hazard_node_slab *slabs;
    pel_hazard_node *free; /* linked through `user` */
};

/* NULL: none. */
pel_hazard_grid *pel_hazards_grid_touching(const pel_hazards *hazards, uint64_t lo, uint64_t hi);

/* What is over goes from the map when that has grown fourfold. */
static inline void pel_hazards_sweep_when_due(pel_hazards *hazards) {
    if (pel_interval_map_pieces(hazards->map) >= hazards->sweep_at) {
        pel_interval_map_alter(hazards->map, 0, UINT64_MAX, pel_hazard_drop_stale, &hazards->states);
        hazards->sweep_at = 4 * pel_interval_map_pieces(hazards->map);
        hazards->sweep_at = hazards->sweep_at > PEL_HAZARD_SWEEP_FROM ? hazards->sweep_at : PEL_HAZARD_SWEEP_FROM;
    }
}

#endif
