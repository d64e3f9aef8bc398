/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard_cells.h"

#include "base/alloc.h"
#include <string.h>

enum { FIRST_BITS = 6, LINE = 64, MERGED_MOST = 256, FETCH_AHEAD = 12, FIRST_PATIENCE = 16, MOST_PATIENCE = 65536,
       STRAYS = 64, SHRINKS_BY = 3 /* bits */, ROOMY_BITS = 13 /* 196 KB: stays in a cache */,
       KEPT_BITS = 10 /* a table so small is kept although little is left in it */ };

/* A table of its own. False: no memory. */
static bool make_table(pel_hazard_field *field, uint32_t bits) {
    const uint64_t count = (uint64_t)1 << bits;
    /* one more at the end, that of no number, so that there is a next one of each */
    const uint64_t bytes = (count + 1) * sizeof(pel_hazard_cell) + LINE;
    void *block = bits < 40 ? pel_alloc_zero(&field->states->allocator, 1, bytes) : NULL;
    if (!block) {
        return false;
    }
    field->block = block;
    field->cells = (pel_hazard_cell *)(((uintptr_t)block + LINE - 1) / LINE * LINE);
    for (uint32_t place = 0; place < PEL_HAZARD_SPANS; place++) {
        field->at[place] = field->cells;
    }
    field->bits = bits;
    field->mask = count - 1;
    field->limit = count / 8 * 5;
    field->used = 0;
    return true;
}

pel_hazard_field *pel_hazard_field_create(pel_hazard_states *states, uint64_t lo, uint64_t hi, uint64_t size) {
    pel_hazard_field *field = pel_alloc_zero(&states->allocator, 1, sizeof *field);
    if (!field) {
        return NULL;
    }
    field->lo = lo;
    field->hi = hi;
    field->size = size;
    field->shift = (size & (size - 1)) == 0 ? (uint32_t)__builtin_ctzll(size) : 64;
    field->low_bits = field->shift < 64 ? size - 1 : UINT64_MAX;
    field->whole = (hi - lo) / size * size;
    field->states = states;
    if (!make_table(field, FIRST_BITS)) {
        pel_free(&states->allocator, field);
        return NULL;
    }
    return field;
}

void pel_hazard_field_destroy(pel_hazard_field *field) {
    if (field) {
        const pel_allocator allocator = field->states->allocator;
        for (uint64_t i = 0; i <= field->mask; i++) {
            pel_hazard_let_go(field->states, field->cells[i].value);
        }
        pel_free(&allocator, field->block);
        pel_free(&allocator, field);
    }
}

typedef struct living {
    uint64_t count;
    uint32_t stray_count; /* not at home */
    uint64_t strays[STRAYS];
} living;

/* Forgets the values that are over; their cells stay, so that everything is found as before. */
static void drop_what_is_over(pel_hazard_field *field, living *l) {
    l->count = l->stray_count = 0;
    for (uint64_t i = 0; i <= field->mask; i++) {
        pel_hazard_cell *cell = &field->cells[i];
        const pel_interval_value soon = field->cells[(i + FETCH_AHEAD / 2) & field->mask].value;
        pel_hazard_fetch(field->cells[(i + FETCH_AHEAD) & field->mask].value); /* it may have ended on another core */
        if ((soon.a & PEL_HAZARD_COUNTED) != 0) {
            pel_hazard_fetch_behind(soon);
        }
        if (pel_hazard_is_idle(cell->value)) {
            cell->value.a = 0;
            continue;
        }
        (void)pel_hazard_drop_stale(field->states, &cell->value);
        if (cell->value.a != 0) {
            l->count++;
            if (cell != pel_hazard_field_home(field, cell->key - 1) && l->stray_count++ < STRAYS) {
                l->strays[l->stray_count - 1] = i;
            }
        }
    }
}

/* Cells of no value become free. Others stay where they are, but for those that might not be found any more. */
static void settle(pel_hazard_field *field, const living *l) {
    pel_hazard_cell strays[STRAYS] = {{0, {0, 0}}};
    for (uint32_t i = 0; i < l->stray_count; i++) {
        strays[i] = field->cells[l->strays[i]];
        field->cells[l->strays[i]].value.a = 0;
    }
    for (uint64_t i = 0; i <= field->mask; i++) {
        field->cells[i].key = field->cells[i].value.a != 0 ? field->cells[i].key : 0;
    }
    field->used = l->count - l->stray_count;
    for (uint32_t i = 0; i < l->stray_count; i++) {
        pel_hazard_field_cell(field, strays[i].key - 1)->value = strays[i].value;
    }
}

/* What is not over fills five sixteenths of a table at most, and less of a small one: how often all of it is looked at depends on
 * how much of it is free. */
static uint32_t bits_for(uint64_t count, uint64_t more) {
    uint32_t bits = FIRST_BITS;
    while ((count > ((uint64_t)5 << bits) / (bits < ROOMY_BITS ? 64 : 16) || count + more > ((uint64_t)5 << bits) / 8) &&
           bits < 40) {
        bits++;
    }
    return bits;
}

/* Only what is not over stays, in a table that suits it: where that may be the one that is there, it
 * stays in its place, so that programs which walk over memory neither ask for memory nor clear it. */
bool pel_hazard_field_make_room(pel_hazard_field *field, uint64_t more) {
    living l;
    drop_what_is_over(field, &l);
    const pel_hazard_field old = *field;
    const uint32_t bits = bits_for(l.count, more);
    if (bits <= field->bits && (bits + SHRINKS_BY > field->bits || field->bits <= KEPT_BITS) && l.stray_count <= STRAYS) {
        settle(field, &l);
        return true;
    }
    if (!make_table(field, bits)) {
        return old.used + more < old.mask; /* it becomes crowded, but one cell stays free */
    }
    for (uint64_t i = 0; i <= old.mask; i++) {
        if (old.cells[i].value.a != 0) {
            pel_hazard_field_cell(field, old.cells[i].key - 1)->value = old.cells[i].value;
        }
    }
    pel_free(&field->states->allocator, old.block);
    return true;
}

static uint64_t begin_of(const pel_hazard_field *field, const pel_hazard_cell *cell) {
    return field->lo + (cell->key - 1) * field->size;
}

static uint64_t end_of(const pel_hazard_field *field, const pel_hazard_cell *cell) {
    const uint64_t left = field->hi - begin_of(field, cell);
    return begin_of(field, cell) + (left < field->size ? left : field->size);
}

/* NULL: nothing is known of it. */
static pel_hazard_cell *find(const pel_hazard_field *field, uint64_t number) {
    pel_hazard_cell *cell = pel_hazard_field_home(field, number);
    for (bool first = true; cell->key != number + 1 && cell->key != 0; first = false) {
        cell = pel_hazard_field_next(field, number, cell, first);
    }
    return cell->key != 0 ? cell : NULL;
}

void pel_hazard_field_alter(pel_hazard_field *field, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user) {
    lo = lo > field->lo ? lo : field->lo;
    hi = hi < field->hi ? hi : field->hi;
    if (lo >= hi) {
        return;
    }
    const uint64_t first = (lo - field->lo) / field->size, last = (hi - 1 - field->lo) / field->size;
    if (last - first <= field->mask) {
        bool more = true;
        for (uint64_t number = first; number <= last && more; number++) {
            pel_hazard_cell *cell = find(field, number);
            more = !cell || change(user, &cell->value);
        }
        return;
    }
    for (uint64_t i = 0; i <= field->mask; i++) {
        pel_hazard_cell *cell = &field->cells[i];
        if (cell->key != 0 && cell->key - 1 >= first && cell->key - 1 <= last && !change(user, &cell->value)) {
            return;
        }
    }
}

typedef struct filling {
    pel_hazard_field *field;
    bool fits;
} filling;

/* Neighbours of equal value are one interval: it may be several cells. */
static bool take_part(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    filling *f = user;
    pel_hazard_field *field = f->field;
    const uint64_t first = (lo - field->lo) / field->size, end = (hi - field->lo + field->size - 1) / field->size;
    if (value.a == 0 || pel_hazard_is_stale(value)) {
        return true;
    }
    f->fits = (lo - field->lo) % field->size == 0 && ((hi - field->lo) % field->size == 0 || hi == field->hi) &&
              end - first <= MERGED_MOST && pel_hazard_field_has_room(field, end - first);
    for (uint64_t number = first; number < end && f->fits; number++) {
        pel_hazard_hold(field->states, value);
        pel_hazard_field_cell(field, number)->value = value;
    }
    return f->fits;
}

bool pel_hazard_field_fill(pel_hazard_field *field, pel_interval_map *map) {
    filling f = {field, true};
    pel_interval_map_visit(map, field->lo, field->hi, take_part, &f, NULL);
    return f.fits && pel_interval_map_set(map, field->lo, field->hi, (pel_interval_value){0, 0}, NULL) == PEL_OK;
}

/* After a failure, what the map has got already is taken back; where even that wants memory, it means an order too many. */
bool pel_hazard_field_empty(pel_hazard_field *field, pel_interval_map *map) {
    for (uint64_t i = 0; i <= field->mask; i++) {
        pel_hazard_cell *cell = &field->cells[i];
        if (cell->value.a == 0 || pel_hazard_is_stale(cell->value)) {
            continue;
        }
        pel_hazard_hold(field->states, cell->value);
        if (pel_interval_map_set(map, begin_of(field, cell), end_of(field, cell), cell->value, NULL) != PEL_OK) {
            pel_hazard_let_go(field->states, cell->value);
            (void)pel_interval_map_set(map, field->lo, field->hi, (pel_interval_value){0, 0}, NULL);
            return false;
        }
    }
    return true;
}

void pel_hazard_fields_init(pel_hazard_fields *fields, pel_hazard_states *states, pel_interval_map *map) {
    *fields = (pel_hazard_fields){.states = states, .map = map, .patience = FIRST_PATIENCE};
}

void pel_hazard_fields_destroy(pel_hazard_fields *fields) {
    for (uint32_t i = 0; i < fields->count; i++) {
        pel_hazard_field_destroy(fields->at[i]);
    }
    fields->count = 0;
}

/* The first field that ends behind an address, or count. */
static uint32_t field_behind(const pel_hazard_fields *fields, uint64_t address) {
    uint32_t lo = 0, hi = fields->count;
    while (lo < hi) {
        const uint32_t middle = lo + (hi - lo) / 2;
        if (fields->at[middle]->hi > address) {
            hi = middle;
        } else {
            lo = middle + 1;
        }
    }
    return lo;
}

pel_hazard_field *pel_hazard_fields_touching(const pel_hazard_fields *fields, uint64_t lo, uint64_t hi) {
    const uint32_t at = field_behind(fields, lo);
    return at < fields->count && fields->at[at]->lo < hi ? fields->at[at] : NULL;
}

static void wait_longer(pel_hazard_fields *fields, uint64_t cells) {
    fields->quiet = fields->patience + 4 * cells;
    fields->patience = fields->patience < MOST_PATIENCE ? 2 * fields->patience : MOST_PATIENCE;
}

static void remove_field(pel_hazard_fields *fields, uint32_t at) {
    pel_hazard_field_destroy(fields->at[at]);
    fields->count--;
    memmove(&fields->at[at], &fields->at[at + 1], (fields->count - at) * sizeof fields->at[0]);
    memset(fields->near, 0, sizeof fields->near);
}

static bool note_if_living(void *any, pel_interval_value *value) {
    *(bool *)any = value->a != 0 && !pel_hazard_is_stale(*value);
    return !*(bool *)any;
}

/* Fields in which nothing is under way make room for others. */
static void remove_idle(pel_hazard_fields *fields) {
    for (uint32_t i = fields->count; i > 0; i--) {
        bool any = false;
        pel_hazard_field_alter(fields->at[i - 1], 0, UINT64_MAX, note_if_living, &any);
        if (!any) {
            remove_field(fields, i - 1);
        }
    }
}

void pel_hazard_fields_try(pel_hazard_fields *fields, uint64_t lo, uint64_t hi, uint64_t cell_lo, uint64_t cell_hi) {
    const uint64_t size = cell_hi - cell_lo;
    if (fields->quiet > 0) {
        fields->quiet--;
        return;
    }
    if (cell_lo < lo || cell_hi > hi || (cell_lo - lo) % size != 0 || pel_hazard_fields_touching(fields, lo, hi)) {
        return;
    }
    if (fields->count == PEL_HAZARD_FIELDS) {
        remove_idle(fields);
    }
    pel_hazard_field *made = fields->count < PEL_HAZARD_FIELDS ? pel_hazard_field_create(fields->states, lo, hi, size) : NULL;
    if (!made || !pel_hazard_field_fill(made, fields->map)) {
        wait_longer(fields, made ? made->used : PEL_HAZARD_FIELDS);
        pel_hazard_field_destroy(made);
        return;
    }
    const uint32_t at = field_behind(fields, lo);
    memmove(&fields->at[at + 1], &fields->at[at], (fields->count - at) * sizeof fields->at[0]);
    fields->at[at] = made;
    fields->count++;
}

bool pel_hazard_fields_dissolve(pel_hazard_fields *fields, uint64_t lo, uint64_t hi) {
    for (uint32_t at = field_behind(fields, lo); at < fields->count && fields->at[at]->lo < hi;) {
        pel_hazard_field *field = fields->at[at];
        if (!pel_hazard_field_empty(field, fields->map)) {
            return false;
        }
        fields->patience = field->served > 64 * fields->patience ? FIRST_PATIENCE : fields->patience; /* it was worth it */
        wait_longer(fields, field->used);
        remove_field(fields, at);
    }
    return true;
}

void pel_hazard_fields_forget(pel_hazard_fields *fields, uint64_t lo, uint64_t hi) {
    for (uint32_t at = field_behind(fields, lo); at < fields->count && fields->at[at]->lo < hi;) {
        if (fields->at[at]->lo >= lo && fields->at[at]->hi <= hi) {
            remove_field(fields, at);
        } else {
            at++;
        }
    }
    (void)pel_hazard_fields_dissolve(fields, lo, hi); /* else it stays: an order too many */
}

void pel_hazard_fields_alter(pel_hazard_fields *fields, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user) {
    for (uint32_t at = field_behind(fields, lo); at < fields->count && fields->at[at]->lo < hi; at++) {
        pel_hazard_field_alter(fields->at[at], lo, hi, change, user);
    }
}
