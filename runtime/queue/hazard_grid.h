/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hazards of memory that is used in rectangles of one pitch: the tiles of a matrix.
 *
 * Seen as rows of `pitch` bytes, such memory is cut into strips of columns where rectangles begin and end, and every strip has
 * its own intervals of rows, all of them in one interval map keyed by (strip, row): a tile is one interval, whatever its height,
 * and whole rows are one interval for each strip. Intervals of bytes are at most three rectangles, so here everything is exact
 * but rectangles of another pitch. Invariant: what a strip says of a row holds for all its bytes of that row; cutting a strip
 * copies its intervals and changes nothing else.
 *
 * Rejected: one interval for each row in a map over addresses (a tile of 256 rows costs 256 updates), quad-trees and R-trees (a
 * write over parts of others leaves fragments that no tree merges again; failures need those fragments to be exact).
 */
#ifndef PEL_QUEUE_HAZARD_GRID_H
#define PEL_QUEUE_HAZARD_GRID_H

#include "queue/hazard_state.h"

typedef struct pel_hazard_grid {
    uint64_t lo, hi, pitch, height; /* memory; bytes from row to row; rows */
    uint64_t *cuts;                 /* where strips begin, ascending, the first at 0 */
    uint32_t cut_count, cut_capacity;
    uint32_t misfits;               /* rectangles of another pitch since the last sweep */
    size_t sweep_at;                /* pieces */
    pel_interval_map *map;
    pel_hazard_states *states;
} pel_hazard_grid;

/* Columns [left, right) of rows [top, bottom). */
typedef struct pel_hazard_block {
    uint64_t left, right, top, bottom;
} pel_hazard_block;

enum { PEL_HAZARD_BLOCKS = 3 };

/* NULL: no memory, or too large */
pel_hazard_grid *pel_hazard_grid_create(pel_hazard_states *states, uint64_t lo, uint64_t hi, uint64_t pitch);
void pel_hazard_grid_destroy(pel_hazard_grid *grid);

/* Bytes [lo, hi) of the grid's memory, or a rectangle of its pitch, as blocks. Returns how many. */
uint32_t pel_hazard_grid_bytes(const pel_hazard_grid *grid, uint64_t lo, uint64_t hi, pel_hazard_block *blocks);
uint32_t pel_hazard_grid_rectangle(const pel_hazard_grid *grid, uint64_t lo, uint64_t row_bytes, uint64_t rows,
                                   pel_hazard_block *blocks);

/*
 * Cuts strips where the block begins and ends. There may be too many strips already; then the block grows to the next cuts, and
 * an access counts as one that reads and writes: an order or a failure too many, never one too few. *exact tells.
 */
pel_status pel_hazard_grid_prepare(pel_hazard_grid *grid, pel_hazard_block *block, bool *exact);

/* All for prepared blocks. */
void pel_hazard_grid_visit(const pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_visit_fn visit, void *user);
pel_status pel_hazard_grid_update(pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_change_fn change,
                                  void *user);
/* retains by itself */
pel_status pel_hazard_grid_set(pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_value value);

/* needs no cuts */
void pel_hazard_grid_alter(pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_change_fn change, void *user);

void pel_hazard_grid_sweep(pel_hazard_grid *grid); /* drops what is stale, and cuts that nothing needs */

#endif
