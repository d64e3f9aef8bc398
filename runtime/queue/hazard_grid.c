/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard_grid.h"

#include "base/alloc.h"
#include "base/checked.h"
#include <string.h>

/* Strips of a grid: whole rows cost that many updates at the worst. */
enum { CUT_LIMIT = 2048, SWEEP_FROM = 2048, COPY_TOGETHER = 32 };

pel_hazard_grid *pel_hazard_grid_create(pel_hazard_states *states, uint64_t lo, uint64_t hi, uint64_t pitch) {
    uint64_t height = (hi - lo) / pitch + 1, cells;
    if (!pel_mul_u64(height, pitch, &cells)) {
        return NULL;
    }
    pel_hazard_grid *grid = pel_alloc_zero(&states->allocator, 1, sizeof *grid);
    if (!grid) {
        return NULL;
    }
    const pel_interval_hooks hooks = pel_hazard_state_hooks(states);
    grid->lo = lo;
    grid->hi = hi;
    grid->pitch = pitch;
    grid->height = height;
    grid->states = states;
    grid->sweep_at = SWEEP_FROM;
    grid->map = pel_interval_map_create(&states->allocator, &hooks);
    grid->cut_capacity = 16;
    grid->cuts = pel_alloc_zero(&states->allocator, grid->cut_capacity, sizeof grid->cuts[0]);
    grid->cut_count = 1;
    if (!grid->map || !grid->cuts) {
        pel_hazard_grid_destroy(grid);
        return NULL;
    }
    return grid;
}

void pel_hazard_grid_destroy(pel_hazard_grid *grid) {
    if (grid) {
        const pel_allocator *allocator = &grid->states->allocator;
        pel_interval_map_destroy(grid->map);
        pel_free(allocator, grid->cuts);
        pel_free(allocator, grid);
    }
}

uint32_t pel_hazard_grid_bytes(const pel_hazard_grid *grid, uint64_t lo, uint64_t hi, pel_hazard_block *blocks) {
    uint64_t top = (lo - grid->lo) / grid->pitch, left = (lo - grid->lo) % grid->pitch;
    uint64_t bottom = (hi - grid->lo) / grid->pitch, right = (hi - grid->lo) % grid->pitch;
    uint32_t count = 0;
    if (top == bottom) {
        blocks[0] = (pel_hazard_block){left, right, top, top + 1};
        return lo < hi ? 1 : 0;
    }
    if (left > 0) {
        blocks[count++] = (pel_hazard_block){left, grid->pitch, top, top + 1};
        top++;
    }
    if (top < bottom) {
        blocks[count++] = (pel_hazard_block){0, grid->pitch, top, bottom};
    }
    if (right > 0) {
        blocks[count++] = (pel_hazard_block){0, right, bottom, bottom + 1};
    }
    return count;
}

uint32_t pel_hazard_grid_rectangle(const pel_hazard_grid *grid, uint64_t lo, uint64_t row_bytes, uint64_t rows,
                                   pel_hazard_block *blocks) {
    uint64_t top = (lo - grid->lo) / grid->pitch, left = (lo - grid->lo) % grid->pitch;
    if (row_bytes <= grid->pitch - left) {
        blocks[0] = (pel_hazard_block){left, left + row_bytes, top, top + rows};
        return 1;
    }
    blocks[0] = (pel_hazard_block){left, grid->pitch, top, top + rows}; /* runs over the end of the rows as the grid sees them */
    blocks[1] = (pel_hazard_block){0, left + row_bytes - grid->pitch, top + 1, top + 1 + rows};
    return 2;
}

/* The strip that holds a column. */
static uint32_t strip_of(const pel_hazard_grid *grid, uint64_t column) {
    uint32_t lo = 0, hi = grid->cut_count;
    while (hi - lo > 1) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (grid->cuts[middle] <= column) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    return lo;
}

static uint64_t key(const pel_hazard_grid *grid, uint32_t strip, uint64_t row) { return grid->cuts[strip] * grid->height + row; }

static uint64_t end_of(const pel_hazard_grid *grid, uint32_t strip) {
    return strip + 1 < grid->cut_count ? grid->cuts[strip + 1] : grid->pitch;
}

typedef struct part {
    uint64_t lo, hi;
    pel_interval_value value;
} part;

typedef struct parts {
    part items[COPY_TOGETHER];
    uint32_t count;
    uint64_t next; /* what has been seen */
} parts;

static bool collect(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    parts *p = user;
    if ((value.a | value.b) != 0) {
        p->items[p->count++] = (part){lo, hi, value};
    }
    p->next = hi;
    return p->count < COPY_TOGETHER;
}

/* The intervals of rows of one strip go to another, too, some at a time: the map must not change while it is visited. */
static pel_status copy_strip(pel_hazard_grid *grid, uint64_t from, uint64_t to) {
    const pel_interval_hooks hooks = pel_hazard_state_hooks(grid->states);
    pel_status status = PEL_OK;
    for (uint64_t at = from; at < from + grid->height && status == PEL_OK;) {
        parts p = {.count = 0, .next = at};
        pel_interval_map_visit(grid->map, at, from + grid->height, collect, &p, NULL);
        at = p.next;
        for (uint32_t i = 0; i < p.count && status == PEL_OK; i++) {
            if ((p.items[i].value.a & hooks.references) != 0) {
                hooks.retain(hooks.user, p.items[i].value);
            }
            status =
                pel_interval_map_set(grid->map, p.items[i].lo - from + to, p.items[i].hi - from + to, p.items[i].value, NULL);
            if (status != PEL_OK && (p.items[i].value.a & hooks.references) != 0) {
                hooks.release(hooks.user, p.items[i].value);
            }
        }
    }
    return status;
}

static pel_status make_room(pel_hazard_grid *grid) {
    if (grid->cut_count == grid->cut_capacity) {
        uint64_t *grown = pel_resize(&grid->states->allocator, grid->cuts, 2 * (size_t)grid->cut_capacity * sizeof *grown);
        if (!grown) {
            return PEL_OUT_OF_MEMORY;
        }
        grid->cuts = grown;
        grid->cut_capacity *= 2;
    }
    return PEL_OK;
}

static void clear_strip(pel_hazard_grid *grid, uint64_t first) {
    /* Cannot want memory where nothing but whole strips begins and ends; a strip that is no strip any more is never looked at. */
    (void)pel_interval_map_set(grid->map, first, first + grid->height, (pel_interval_value){0, 0}, NULL);
}

static pel_status cut(pel_hazard_grid *grid, uint64_t column) {
    uint32_t strip = strip_of(grid, column);
    if (column == grid->pitch || grid->cuts[strip] == column || grid->cut_count == CUT_LIMIT) {
        return PEL_OK;
    }
    if (make_room(grid) != PEL_OK) {
        return PEL_OUT_OF_MEMORY;
    }
    clear_strip(grid, column * grid->height);
    if (copy_strip(grid, key(grid, strip, 0), column * grid->height) != PEL_OK) {
        clear_strip(grid, column * grid->height);
        return PEL_OUT_OF_MEMORY;
    }
    memmove(&grid->cuts[strip + 2], &grid->cuts[strip + 1], (grid->cut_count - strip - 1) * sizeof grid->cuts[0]);
    grid->cuts[strip + 1] = column;
    grid->cut_count++;
    return PEL_OK;
}

pel_status pel_hazard_grid_prepare(pel_hazard_grid *grid, pel_hazard_block *block, bool *exact) {
    if (cut(grid, block->left) != PEL_OK || cut(grid, block->right) != PEL_OK) {
        return PEL_OUT_OF_MEMORY;
    }
    uint32_t first = strip_of(grid, block->left), last = strip_of(grid, block->right - 1);
    *exact = grid->cuts[first] == block->left && end_of(grid, last) == block->right;
    block->left = grid->cuts[first];
    block->right = end_of(grid, last);
    return PEL_OK;
}

void pel_hazard_grid_visit(const pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_visit_fn visit, void *user) {
    for (uint32_t strip = strip_of(grid, block->left); strip < grid->cut_count && grid->cuts[strip] < block->right; strip++) {
        pel_interval_map_visit(grid->map, key(grid, strip, block->top), key(grid, strip, block->bottom), visit, user, NULL);
    }
}

pel_status pel_hazard_grid_update(pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_change_fn change,
                                  void *user) {
    pel_status status = PEL_OK;
    for (uint32_t strip = strip_of(grid, block->left); strip < grid->cut_count && grid->cuts[strip] < block->right; strip++) {
        pel_status one =
            pel_interval_map_update(grid->map, key(grid, strip, block->top), key(grid, strip, block->bottom), change, user, NULL);
        status = status != PEL_OK ? status : one;
    }
    return status;
}

pel_status pel_hazard_grid_set(pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_value value) {
    const pel_interval_hooks hooks = pel_hazard_state_hooks(grid->states);
    bool counted = (value.a & hooks.references) != 0;
    pel_status status = PEL_OK;
    for (uint32_t strip = strip_of(grid, block->left); strip < grid->cut_count && grid->cuts[strip] < block->right; strip++) {
        if (counted) {
            hooks.retain(hooks.user, value);
        }
        pel_status one =
            pel_interval_map_set(grid->map, key(grid, strip, block->top), key(grid, strip, block->bottom), value, NULL);
        if (one != PEL_OK && counted) {
            hooks.release(hooks.user, value);
        }
        status = status != PEL_OK ? status : one;
    }
    return status;
}

void pel_hazard_grid_alter(pel_hazard_grid *grid, const pel_hazard_block *block, pel_interval_change_fn change, void *user) {
    for (uint32_t strip = strip_of(grid, block->left); strip < grid->cut_count && grid->cuts[strip] < block->right; strip++) {
        pel_interval_map_alter(grid->map, key(grid, strip, block->top), key(grid, strip, block->bottom), change, user);
    }
}

static bool is_free(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    (void)lo, (void)hi;
    return *(bool *)user = (value.a | value.b) == 0;
}

static bool strip_is_free(const pel_hazard_grid *grid, uint32_t strip) {
    bool yes = true;
    pel_interval_map_visit(grid->map, key(grid, strip, 0), key(grid, strip, grid->height), is_free, &yes, NULL);
    return yes;
}

void pel_hazard_grid_sweep(pel_hazard_grid *grid) {
    pel_interval_map_alter(grid->map, 0, UINT64_MAX, pel_hazard_drop_stale, grid->states);
    grid->sweep_at = 4 * pel_interval_map_pieces(grid->map);
    grid->sweep_at = grid->sweep_at > SWEEP_FROM ? grid->sweep_at : SWEEP_FROM;
    grid->misfits = 0;
    uint32_t kept = 1;
    bool before_free = strip_is_free(grid, 0);
    for (uint32_t strip = 1; strip < grid->cut_count; strip++) {
        bool free = strip_is_free(grid, strip);
        if (!free || !before_free) {
            grid->cuts[kept++] = grid->cuts[strip];
        }
        before_free = free;
    }
    grid->cut_count = kept;
}
