/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where accesses are looked up and noted: one map over addresses, fields over memory that is used in pieces of one size
 * (hazard_cells.h), and grids over memory that is used in rectangles.
 *
 * Memory is governed by exactly one of them: by a grid from the first rectangle on that is used there, before that by the map, or
 * by a field as long as all accesses there are its cells. Whatever lies across grids is taken apart at the borders. A rectangle
 * that its grid cannot express (another pitch) is taken row by row if it has few; with many, or no grid for want of memory, it
 * counts as its enclosing interval, read and, if it writes, written in part.
 *
 * Cost follows what is under way, not history: what is over is dropped when met, and a sweep drops the rest whenever the pieces
 * have grown fourfold since the last one, so every access pays for a fraction of a visit.
 */
#include "queue/hazard.h"

#include "base/alloc.h"
#include "queue/hazard_parts.h"
#include <string.h>

/* ROWS_APART: a rectangle that does not fit its grid is exact, row by row, up to so many rows */
enum { NODES_PER_SLAB = 128, MOVE_TOGETHER = 32, ROWS_APART = 64 };

struct pel_hazard_node_slab {
    struct pel_hazard_node_slab *next;
    pel_hazard_node nodes[NODES_PER_SLAB];
};

pel_hazards *pel_hazards_create(const pel_allocator *allocator) {
    pel_hazards *hazards = pel_alloc_zero(allocator, 1, sizeof *hazards);
    if (!hazards) {
        return NULL;
    }
    hazards->states.allocator = *allocator;
    hazards->sweep_at = PEL_HAZARD_SWEEP_FROM;
    const pel_interval_hooks hooks = pel_hazard_state_hooks(&hazards->states);
    hazards->map = pel_interval_map_create(&hazards->states.allocator, &hooks);
    if (!hazards->map) {
        pel_free(allocator, hazards);
        return NULL;
    }
    pel_hazard_fields_init(&hazards->fields, &hazards->states, hazards->map);
    return hazards;
}

void pel_hazards_destroy(pel_hazards *hazards) {
    if (hazards) {
        pel_allocator allocator = hazards->states.allocator;
        for (uint32_t i = 0; i < hazards->grid_count; i++) {
            pel_hazard_grid_destroy(hazards->grids[i]);
        }
        pel_free(&allocator, hazards->grids);
        pel_hazard_fields_destroy(&hazards->fields);
        pel_interval_map_destroy(hazards->map);
        pel_hazard_lost_drop(&hazards->lost, 0, UINT64_MAX);
        pel_hazard_states_destroy(&hazards->states);
        while (hazards->slabs) {
            struct pel_hazard_node_slab *next = hazards->slabs->next;
            pel_free(&allocator, hazards->slabs);
            hazards->slabs = next;
        }
        pel_free(&allocator, hazards);
    }
}

pel_hazard_node *pel_hazards_take_node(pel_hazards *hazards, void *user) {
    if (!hazards->free) {
        struct pel_hazard_node_slab *slab = pel_alloc_zero(&hazards->states.allocator, 1, sizeof *slab);
        if (!slab) {
            return NULL;
        }
        slab->next = hazards->slabs;
        hazards->slabs = slab;
        for (uint32_t i = 0; i < NODES_PER_SLAB; i++) {
            slab->nodes[i].user = hazards->free;
            hazards->free = &slab->nodes[i];
        }
    }
    pel_hazard_node *node = hazards->free;
    hazards->free = node->user;
    node->user = user;
    return node;
}

void pel_hazards_give_node(pel_hazards *hazards, pel_hazard_node *node) {
    if (node) {
        atomic_fetch_add_explicit(&node->generation, 1, memory_order_release);
        node->user = hazards->free;
        hazards->free = node;
    }
}

/* The first grid that ends behind an address, or grid_count. */
static uint32_t grid_behind(const pel_hazards *hazards, uint64_t address) {
    uint32_t lo = 0, hi = hazards->grid_count;
    while (lo < hi) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (hazards->grids[middle]->hi > address) {
            hi = middle;
        } else {
            lo = middle + 1;
        }
    }
    return lo;
}

pel_hazard_grid *pel_hazards_grid_touching(const pel_hazards *hazards, uint64_t lo, uint64_t hi) {
    uint32_t at = grid_behind(hazards, lo);
    return at < hazards->grid_count && hazards->grids[at]->lo < hi ? hazards->grids[at] : NULL;
}

static bool is_rectangle(const pel_hazard_range *range) {
    return range->pitch > range->row_bytes && range->hi - range->lo > range->row_bytes;
}

/* A part of an access that lies in one structure: bytes of the map, or a block of a grid. */
typedef struct target {
    pel_hazard_grid *grid; /* NULL: the map */
    uint64_t lo, hi;
    pel_hazard_block block;
    pel_access_mode mode;
    pel_interval_hint *hint;
} target;

typedef pel_status (*target_fn)(pel_hazards *hazards, const target *t, void *user);

typedef struct route {
    pel_hazards *hazards;
    bool prepare; /* cut the strips of grids where blocks begin and end */
    target_fn act;
    void *user;
    pel_status status;
} route;

static pel_access_mode in_part(pel_access_mode mode) { return (mode & PEL_WRITE) != 0 ? PEL_READ_WRITE : mode; }

static void keep_first(route *r, pel_status status) { r->status = r->status != PEL_OK ? r->status : status; }

static void act_on_blocks(route *r, target t, const pel_hazard_block *blocks, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        target one = t;
        bool exact = true;
        one.block = blocks[i];
        if (r->prepare) {
            keep_first(r, pel_hazard_grid_prepare(t.grid, &one.block, &exact));
        }
        one.mode = exact ? t.mode : in_part(t.mode);
        keep_first(r, r->act(r->hazards, &one, r->user));
    }
}

static void act_on_bytes(route *r, target t, uint64_t lo, uint64_t hi) {
    pel_hazard_block blocks[PEL_HAZARD_BLOCKS];
    while (lo < hi) {
        t.grid = pel_hazards_grid_touching(r->hazards, lo, hi);
        uint64_t border = !t.grid ? hi : t.grid->lo > lo ? t.grid->lo : t.grid->hi < hi ? t.grid->hi : hi;
        if (t.grid && t.grid->lo <= lo) {
            act_on_blocks(r, t, blocks, pel_hazard_grid_bytes(t.grid, lo, border, blocks));
        } else {
            t.grid = NULL;
            t.lo = lo;
            t.hi = border;
            keep_first(r, r->act(r->hazards, &t, r->user));
        }
        lo = border;
    }
}

/* An access that no grid has to do with. */
static bool is_plain(const pel_hazards *hazards, const pel_hazard_range *range) {
    return hazards->grid_count == 0 || !pel_hazards_grid_touching(hazards, range->lo, range->hi);
}

/* Takes an access apart. Goes on after a failure: each part keeps some order right. */
static void act_on_range(route *r, const pel_hazard_range *range, uint32_t index) {
    target t = {.mode = range->mode, .hint = &r->hazards->hints[index % PEL_HAZARD_HINTS]};
    if (is_rectangle(range)) {
        pel_hazard_block blocks[PEL_HAZARD_BLOCKS];
        const uint64_t rows = (range->hi - range->lo - range->row_bytes) / range->pitch + 1;
        t.grid = pel_hazards_grid_touching(r->hazards, range->lo, range->hi);
        if (t.grid && t.grid->pitch == range->pitch && t.grid->lo <= range->lo && range->hi <= t.grid->hi) {
            act_on_blocks(r, t, blocks, pel_hazard_grid_rectangle(t.grid, range->lo, range->row_bytes, rows, blocks));
            return;
        }
        if (t.grid && rows <= ROWS_APART) {
            for (uint64_t row = range->lo; row < range->hi; row += range->pitch) {
                act_on_bytes(r, t, row, row + range->row_bytes);
            }
            return;
        }
        t.mode = in_part(t.mode);
    }
    act_on_bytes(r, t, range->lo, range->hi);
}

static pel_status look_into(pel_hazards *hazards, const target *t, void *user) {
    pel_hazard_looking *l = user;
    l->mode = t->mode;
    if (t->grid) {
        pel_hazard_grid_visit(t->grid, &t->block, pel_hazard_look_at, l);
    } else if (!l->failed) {
        pel_interval_map_visit(hazards->map, t->lo, t->hi, pel_hazard_look_at, l, t->hint);
    }
    return l->failed ? PEL_OUT_OF_MEMORY : PEL_OK;
}

static pel_status note_in(pel_hazards *hazards, const target *t, void *self) {
    if ((t->mode & PEL_WRITE) != 0) {
        const pel_interval_value written = pel_hazard_written(self);
        return t->grid ? pel_hazard_grid_set(t->grid, &t->block, written)
                       : pel_interval_map_set(hazards->map, t->lo, t->hi, written, t->hint);
    }
    pel_hazard_reading reading = {&hazards->states, self};
    return t->grid ? pel_hazard_grid_update(t->grid, &t->block, pel_hazard_add_reader, &reading)
                   : pel_interval_map_update(hazards->map, t->lo, t->hi, pel_hazard_add_reader, &reading, t->hint);
}

static pel_status fail_in(pel_hazards *hazards, const target *t, void *failing) {
    if (t->grid) {
        pel_hazard_grid_alter(t->grid, &t->block, pel_hazard_fail_writer, failing);
    } else {
        pel_interval_map_alter(hazards->map, t->lo, t->hi, pel_hazard_fail_writer, failing);
    }
    return PEL_OK;
}

static pel_status forget_in(pel_hazards *hazards, const target *t, void *user) {
    const pel_interval_value nothing = {0, 0};
    (void)user;
    return t->grid ? pel_hazard_grid_set(t->grid, &t->block, nothing)
                   : pel_interval_map_set(hazards->map, t->lo, t->hi, nothing, NULL);
}

typedef struct moving {
    struct {
        uint64_t lo, hi;
        pel_interval_value value;
    } parts[MOVE_TOGETHER];
    uint32_t count;
} moving;

static bool collect(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    moving *m = user;
    m->parts[m->count].lo = lo;
    m->parts[m->count].hi = hi;
    m->parts[m->count++].value = value;
    return m->count < MOVE_TOGETHER;
}

static bool move_part(pel_hazard_grid *grid, uint64_t lo, uint64_t hi, pel_interval_value value) {
    pel_hazard_block blocks[PEL_HAZARD_BLOCKS];
    uint32_t count = pel_hazard_grid_bytes(grid, lo, hi, blocks);
    bool exact = true, fits = true;
    for (uint32_t i = 0; i < count && fits; i++) {
        fits = pel_hazard_grid_prepare(grid, &blocks[i], &exact) == PEL_OK && exact &&
               pel_hazard_grid_set(grid, &blocks[i], value) == PEL_OK;
    }
    return fits;
}

/* What the map knows of the grid's memory goes to the grid. False: no memory, or too many strips; the map is as it was. */
static bool move_into(pel_hazards *hazards, pel_hazard_grid *grid) {
    for (uint64_t at = grid->lo; at < grid->hi;) {
        moving m = {.count = 0};
        pel_interval_map_visit(hazards->map, at, grid->hi, collect, &m, NULL);
        for (uint32_t i = 0; i < m.count; i++) {
            if ((m.parts[i].value.a | m.parts[i].value.b) != 0 &&
                !move_part(grid, m.parts[i].lo, m.parts[i].hi, m.parts[i].value)) {
                return false;
            }
            at = m.parts[i].hi;
        }
    }
    return pel_interval_map_set(hazards->map, grid->lo, grid->hi, (pel_interval_value){0, 0}, NULL) == PEL_OK;
}

static void remove_grid(pel_hazards *hazards, uint32_t at) {
    pel_hazard_grid_destroy(hazards->grids[at]);
    hazards->grid_count--;
    memmove(&hazards->grids[at], &hazards->grids[at + 1], (hazards->grid_count - at) * sizeof(pel_hazard_grid *));
}

/* Without memory for it, rectangles count as their enclosing intervals. */
static void add_grid(pel_hazards *hazards, const pel_hazard_range *range) {
    const pel_allocator *allocator = &hazards->states.allocator;
    if (hazards->grid_count == hazards->grid_capacity) {
        uint32_t capacity = hazards->grid_capacity ? 2 * hazards->grid_capacity : 4;
        pel_hazard_grid **grown = pel_resize(allocator, hazards->grids, capacity * sizeof(pel_hazard_grid *));
        if (!grown) {
            return;
        }
        hazards->grids = grown;
        hazards->grid_capacity = capacity;
    }
    pel_hazard_grid *grid = pel_hazard_grid_create(&hazards->states, range->domain_lo, range->domain_hi, range->pitch);
    if (!grid || !move_into(hazards, grid)) {
        pel_hazard_grid_destroy(grid);
        return;
    }
    uint32_t at = grid_behind(hazards, grid->lo);
    memmove(&hazards->grids[at + 1], &hazards->grids[at], (hazards->grid_count - at) * sizeof(pel_hazard_grid *));
    hazards->grids[at] = grid;
    hazards->grid_count++;
}

/* A grid for the rectangle, in place of one of another pitch in which nothing is under way any more: asked as seldom as that
 * has pieces. */
static void suit(pel_hazards *hazards, const pel_hazard_range *range) {
    if (range->domain_lo > range->lo || range->domain_hi < range->hi) {
        return;
    }
    pel_hazard_grid *grid = pel_hazards_grid_touching(hazards, range->domain_lo, range->domain_hi);
    if (grid && grid->pitch != range->pitch && grid->lo == range->domain_lo &&
        grid->misfits++ >= pel_interval_map_pieces(grid->map)) {
        pel_hazard_grid_sweep(grid);
        if (pel_interval_map_is_empty(grid->map)) {
            remove_grid(hazards, grid_behind(hazards, grid->lo));
            grid = NULL;
        }
    }
    if (!grid) {
        add_grid(hazards, range);
    }
}

static bool look_at_cell(void *looking, pel_interval_value *value) { return pel_hazard_look_at(looking, 0, 0, *value); }

/* What fields know of an access; the map knows nothing there. */
static bool look_at_fields(pel_hazards *hazards, const pel_hazard_range *range, pel_hazard_looking *l) {
    if (hazards->fields.count > 0) {
        l->mode = is_rectangle(range) ? in_part(range->mode) : range->mode;
        pel_hazard_fields_alter(&hazards->fields, range->lo, range->hi, look_at_cell, l);
    }
    return !l->failed;
}

/* Notes an access in a field if it is a cell there; else no field is in its way any more. */
static pel_status note_in_field(pel_hazards *hazards, const pel_hazard_range *range, pel_hazard_node *self, bool *noted) {
    pel_hazard_field *field = pel_hazard_fields_touching(&hazards->fields, range->lo, range->hi);
    uint64_t number;
    *noted = field && !is_rectangle(range) && pel_hazard_field_fits(field, range->lo, range->hi, &number);
    if (!*noted) {
        return !field || pel_hazard_fields_dissolve(&hazards->fields, range->lo, range->hi) ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    if (!pel_hazard_field_has_room(field, 1)) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_hazard_cell *cell = pel_hazard_field_cell(field, number);
    pel_hazard_reading reading = {&hazards->states, self};
    if ((range->mode & PEL_WRITE) != 0) {
        pel_hazard_replace(&hazards->states, &cell->value, self, range->mode);
        return PEL_OK;
    }
    return pel_hazard_add_reader(&reading, &cell->value) ? PEL_OK : PEL_OUT_OF_MEMORY;
}

/* Finds the places of all accesses at once, so that their cache misses overlap. */
static void seek(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count) {
    uint64_t keys[PEL_HAZARD_HINTS];
    count = count < PEL_HAZARD_HINTS ? count : PEL_HAZARD_HINTS;
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = ranges[i].lo;
    }
    pel_interval_map_seek(hazards->map, keys, hazards->hints, count);
}

pel_status pel_hazards_look(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, const pel_hazard_node *self,
                            pel_hazard_fn found, void *user) {
    pel_hazard_looking looking = {PEL_READ, self, found, user, false};
    route r = {hazards, true, look_into, &looking, PEL_OK};
    pel_hazards_sweep_when_due(hazards);
    for (uint32_t i = 0; i < count; i++) {
        pel_hazard_grid *grid = hazards->grid_count > 0 ? pel_hazards_grid_touching(hazards, ranges[i].lo, ranges[i].hi) : NULL;
        if (grid && pel_interval_map_pieces(grid->map) >= grid->sweep_at) {
            pel_hazard_grid_sweep(grid);
        }
        if (is_rectangle(&ranges[i])) {
            if (!pel_hazard_fields_dissolve(&hazards->fields, ranges[i].domain_lo, ranges[i].domain_hi)) {
                return PEL_OUT_OF_MEMORY;
            }
            suit(hazards, &ranges[i]);
        }
    }
    if (hazards->grid_count == 0) {
        seek(hazards, ranges, count);
    }
    for (uint32_t i = 0; i < count && hazards->lost.count > 0; i++) {
        if ((is_rectangle(&ranges[i]) ? in_part(ranges[i].mode) : ranges[i].mode) & PEL_READ &&
            !pel_hazard_lost_look(&hazards->lost, ranges[i].lo, ranges[i].hi, found, user)) {
            return PEL_OUT_OF_MEMORY;
        }
    }
    for (uint32_t i = 0; i < count && r.status == PEL_OK; i++) {
        if (!look_at_fields(hazards, &ranges[i], &looking)) {
            return PEL_OUT_OF_MEMORY;
        }
        if (!is_plain(hazards, &ranges[i])) {
            act_on_range(&r, &ranges[i], i);
            continue;
        }
        looking.mode = is_rectangle(&ranges[i]) ? in_part(ranges[i].mode) : ranges[i].mode;
        pel_interval_map_visit(hazards->map, ranges[i].lo, ranges[i].hi, pel_hazard_look_at, &looking,
                               &hazards->hints[i % PEL_HAZARD_HINTS]);
        r.status = looking.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
    }
    return r.status;
}

static pel_status note_plain(pel_hazards *hazards, const pel_hazard_range *range, uint32_t index, pel_hazard_node *self) {
    pel_interval_hint *hint = &hazards->hints[index % PEL_HAZARD_HINTS];
    if ((range->mode & PEL_WRITE) != 0) {
        return pel_interval_map_set(hazards->map, range->lo, range->hi, pel_hazard_written(self), hint);
    }
    pel_hazard_reading reading = {&hazards->states, self};
    return pel_interval_map_update(hazards->map, range->lo, range->hi, pel_hazard_add_reader, &reading, hint);
}

/* What was lost there is forgotten only if all of it is noted. */
static pel_status note_range(pel_hazards *hazards, const pel_hazard_range *range, uint32_t index, pel_hazard_node *self) {
    route r = {hazards, true, note_in, self, PEL_OK};
    bool noted = false;
    keep_first(&r, note_in_field(hazards, range, self, &noted));
    if (!noted && is_plain(hazards, range)) {
        keep_first(&r, note_plain(hazards, range, index, self));
    } else if (!noted) {
        act_on_range(&r, range, index);
    }
    if (r.status == PEL_OK && (range->mode & PEL_WRITE) != 0 && !is_rectangle(range)) {
        pel_hazard_lost_drop(&hazards->lost, range->lo, range->hi);
    }
    return r.status;
}

pel_status pel_hazards_note(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *self) {
    pel_status first = PEL_OK;
    for (uint32_t i = 0; i < count; i++) {
        const pel_status status = note_range(hazards, &ranges[i], i, self);
        first = first == PEL_OK ? status : first;
    }
    return first;
}

void pel_hazards_fail(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *self,
                      pel_event *failed) {
    pel_hazard_failing failing = {self, failed};
    route r = {hazards, false, fail_in, &failing, PEL_OK};
    for (uint32_t i = 0; i < count; i++) {
        if ((ranges[i].mode & PEL_WRITE) != 0) {
            pel_hazard_fields_alter(&hazards->fields, ranges[i].lo, ranges[i].hi, pel_hazard_fail_writer, &failing);
            act_on_range(&r, &ranges[i], i);
        }
    }
}

void pel_hazards_lose(pel_hazards *hazards, const pel_hazard_range *range, pel_event *failed) {
    if ((range->mode & PEL_WRITE) != 0) {
        pel_hazard_lost_add(&hazards->lost, range->lo, range->hi, failed);
    }
}

void pel_hazards_forget(pel_hazards *hazards, uint64_t lo, uint64_t hi) {
    pel_hazard_lost_drop(&hazards->lost, lo, hi);
    pel_hazard_fields_forget(&hazards->fields, lo, hi);
    for (uint32_t at = grid_behind(hazards, lo); at < hazards->grid_count && hazards->grids[at]->lo < hi;) {
        if (hazards->grids[at]->lo >= lo && hazards->grids[at]->hi <= hi) {
            remove_grid(hazards, at);
        } else {
            at++;
        }
    }
    /* When a map cannot even be cut for want of memory, what is over stays, which orders nothing unless it failed. */
    route r = {hazards, true, forget_in, NULL, PEL_OK};
    act_on_range(&r, &(pel_hazard_range){.lo = lo, .hi = hi, .mode = PEL_WRITE}, 0);
}

static bool forgive_cell(void *queue, pel_interval_value *value) { return pel_hazard_forgive_at(queue, 0, 0, *value); }

void pel_hazards_forgive(pel_hazards *hazards, uint64_t queue) {
    pel_hazard_lost_forgive(&hazards->lost, queue);
    pel_hazard_fields_alter(&hazards->fields, 0, UINT64_MAX, forgive_cell, &queue);
    pel_interval_map_visit(hazards->map, 0, UINT64_MAX, pel_hazard_forgive_at, &queue, NULL);
    for (uint32_t i = 0; i < hazards->grid_count; i++) {
        pel_interval_map_visit(hazards->grids[i]->map, 0, UINT64_MAX, pel_hazard_forgive_at, &queue, NULL);
    }
}
