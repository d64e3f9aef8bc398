/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hazards of memory that is used in pieces of one size: the elements, tiles and rows of most programs.
 *
 * Such memory is a *field* of numbered cells. What is known of a cell stands in a table by its number, found with one cache line
 * where a tree needs a search, an insertion and three lines. Only cells that are used stand there; what is over is dropped when
 * the table is five eighths full, so it is as large as what is under way asks for, or 196 KB. Eight numbers that follow each
 * other have homes side by side, so programs that walk over memory meet few lines; whoever finds its home taken goes where a hash
 * of its own leads, and on from there. (Homes in longer rows were tried: two rows in one place make whoever comes second walk
 * along the first.)
 *
 * Invariant: an access either is exactly one cell, or it ends the field: what is not over goes back into the map of intervals,
 * which alone knows partial overlaps. While a field lives, the map knows nothing of its memory. Rejected: a table of exact ranges
 * beside the map, of all memory (each access would have to ask both), pages of cells (they are cleared for each cell that is used
 * when cells are scattered), several sizes at once.
 */
#ifndef PEL_QUEUE_HAZARD_CELLS_H
#define PEL_QUEUE_HAZARD_CELLS_H

#include "queue/hazard_state.h"

typedef struct pel_hazard_cell {
    uint64_t key;                /* its number + 1; 0: free */
    pel_interval_value value;
} pel_hazard_cell;

typedef struct pel_hazard_field {
    uint64_t lo, hi, size;   /* memory; bytes of a cell, the last one may have fewer */
    uint64_t mask;           /* of the table */
    uint64_t used, limit;    /* cells in the table; when so many, it is made anew */
    uint64_t served;         /* accesses; of one task on neighbours one */
    /* for each place in a task's list of accesses: the number of the last one, and the shortest way's cell (any one at first) */
    uint64_t last[PEL_HAZARD_SPANS];
    pel_hazard_cell *at[PEL_HAZARD_SPANS];
    uint64_t low_bits;       /* size - 1; no power of two: all bits, by which nothing but the first is one */
    uint64_t whole;          /* bytes of cells that have all */
    uint32_t shift, bits;    /* size is 1 << shift, 64: no power of two; the table has 1 << bits, 8 at least */
    pel_hazard_cell *cells;
    void *block;             /* as allocated */
    pel_hazard_states *states;
} pel_hazard_field;

/* NULL: no memory */
pel_hazard_field *pel_hazard_field_create(pel_hazard_states *states, uint64_t lo, uint64_t hi, uint64_t size);
void pel_hazard_field_destroy(pel_hazard_field *field);

/* Whether [lo, hi) is one cell, and which. */
static inline bool pel_hazard_field_fits(const pel_hazard_field *field, uint64_t lo, uint64_t hi, uint64_t *number) {
    if (lo < field->lo || hi > field->hi) {
        return false;
    }
    const uint64_t offset = lo - field->lo;
    *number = field->shift < 64 ? offset >> field->shift : offset / field->size;
    return *number * field->size == offset && (hi - lo == field->size || (hi == field->hi && hi - lo < field->size));
}

/* The same for a whole cell of a field whose size is a power of two, as most are. */
static inline bool pel_hazard_field_has(const pel_hazard_field *field, uint64_t lo, uint64_t bytes, uint64_t *number) {
    const uint64_t offset = lo - field->lo;
    *number = offset >> (field->shift & 63);
    return ((offset & field->low_bits) | (bytes ^ field->size)) == 0 && offset < field->whole;
}

static inline pel_hazard_cell *pel_hazard_field_home(const pel_hazard_field *field, uint64_t number) {
    return &field->cells[((number >> 3) * 0x9e3779b97f4a7c15u >> (64 - field->bits) & ~(uint64_t)7) | (number & 7)];
}

/* Brings a number's line near, and where numbers ascend the three lines of the next eight, in time. `place`: in a task's list. */
static inline void pel_hazard_field_fetch(pel_hazard_field *field, uint64_t number, uint32_t place) {
    __builtin_prefetch(pel_hazard_field_home(field, number), 1);
    if ((number & 7) == 0 && number == field->last[place] + 1) {
        const pel_hazard_cell *next = pel_hazard_field_home(field, number + 8);
        __builtin_prefetch(next, 1);
        __builtin_prefetch(next + 3, 1);
        __builtin_prefetch(next + 6, 1);
    }
    field->last[place] = number;
}

/*
 * Where a cell has a list, the next ones are likely to: what is known of the one four further, and what is behind that of the one
 * two further, is brought near. Nothing else could overlap these, as each leads to the next.
 */
static inline void pel_hazard_field_foresee(const pel_hazard_field *field, uint64_t number) {
    pel_hazard_fetch(pel_hazard_field_home(field, number + 4)->value);
    pel_hazard_fetch_behind(pel_hazard_field_home(field, number + 2)->value);
}

/*
 * The same in one for the shortest way, whose tasks walk over fields as a rule: at every fourth number, what is known of eight to
 * eleven further is brought near, and what is behind that of four to seven further, which must be near by then; where numbers
 * ascend the lines of the next eight cells in time. Fours stand side by side.
 */
static inline void pel_hazard_field_walk(pel_hazard_field *field, uint64_t number, uint32_t place, bool reads) {
    const bool ascends = number == field->last[place] + 1;
    field->last[place] = number;
    field->served++;
    if ((number & 3) != 0 || !ascends) {
        return;
    }
    const pel_hazard_cell *soon = pel_hazard_field_home(field, number + 4), *later = pel_hazard_field_home(field, number + 8);
    for (int i = 0; i < 4; i++) {
        pel_hazard_fetch(later[i].value);
        if ((soon[i].value.a & PEL_HAZARD_COUNTED) != 0) {
            pel_hazard_fetch_waited(soon[i].value, reads);
        }
    }
    const pel_hazard_cell *far = pel_hazard_field_home(field, number + 16); /* one and a half lines */
    __builtin_prefetch(far, 1);
    __builtin_prefetch((const char *)far + 64, 1);
}

/* Where a number may stand otherwise, one place after the other: `cell` is the one before. */
static inline pel_hazard_cell *pel_hazard_field_next(const pel_hazard_field *field, uint64_t number, const pel_hazard_cell *cell,
                                                     bool first) {
    const uint64_t at = first ? number * 0xd6e8feb86659fd93u >> (64 - field->bits) : (uint64_t)(cell - field->cells) + 1;
    return &field->cells[at & field->mask];
}

/* Room for so many cells more: before they are added, because the table may move. False: no memory, nothing changed. */
bool pel_hazard_field_make_room(pel_hazard_field *field, uint64_t more);
static inline bool pel_hazard_field_has_room(pel_hazard_field *field, uint64_t more) {
    return field->used + more <= field->limit || pel_hazard_field_make_room(field, more);
}

/* A free cell becomes that of a number; its value is nothing. */
static inline pel_hazard_cell *pel_hazard_field_add(pel_hazard_field *field, pel_hazard_cell *cell, uint64_t number) {
    cell->key = number + 1;
    field->used++;
    return cell;
}

/* The cell of a number, added if it was not there. There is room. */
static inline pel_hazard_cell *pel_hazard_field_cell(pel_hazard_field *field, uint64_t number) {
    pel_hazard_cell *cell = pel_hazard_field_home(field, number);
    for (bool first = true; cell->key != number + 1; first = false) {
        if (cell->key == 0) {
            return pel_hazard_field_add(field, cell, number);
        }
        cell = pel_hazard_field_next(field, number, cell, first);
    }
    return cell;
}

/* The same; NULL if it is not known and there is no room. Where numbers ascend, seven of eight stand behind the one before; what
 * has the number as its key is its cell, wherever that is. */
static inline pel_hazard_cell *pel_hazard_field_cell_if_room(pel_hazard_field *field, uint64_t number, uint32_t place) {
    pel_hazard_cell *cell = field->at[place] + 1;
    if (cell->key == number + 1) {
        return field->at[place] = cell;
    }
    field->at[place] = cell = pel_hazard_field_home(field, number);
    for (bool first = true; cell->key != number + 1; first = false) {
        if (cell->key == 0) {
            return field->used < field->limit ? pel_hazard_field_add(field, cell, number) : NULL;
        }
        cell = pel_hazard_field_next(field, number, cell, first);
    }
    return cell;
}

/* Changes every cell that is known and touches [lo, hi), as far as `change` goes on. */
void pel_hazard_field_alter(pel_hazard_field *field, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user);

/* Takes over what the map knows of the field's memory. False: that is not all whole cells, or no memory; nothing changed. */
bool pel_hazard_field_fill(pel_hazard_field *field, pel_interval_map *map);
/* Gives all to the map that is not over. False: no memory; the field stays as it is. */
bool pel_hazard_field_empty(pel_hazard_field *field, pel_interval_map *map);

/*
 * All fields, by address; they do not touch each other. One that ended is not made again at once: programs that mix sizes would
 * pay for moving all the time. `quiet` accesses pass first, more each time, and four for each cell that was moved.
 */
enum { PEL_HAZARD_FIELDS = 64 };
typedef struct pel_hazard_fields {
    pel_hazard_states *states;
    pel_interval_map *map;
    uint32_t count;
    uint64_t quiet, patience;
    pel_hazard_field *near[PEL_HAZARD_SPANS]; /* where the accesses of the last command were, by their number */
    pel_hazard_field *at[PEL_HAZARD_FIELDS];
} pel_hazard_fields;

void pel_hazard_fields_init(pel_hazard_fields *fields, pel_hazard_states *states, pel_interval_map *map);
void pel_hazard_fields_destroy(pel_hazard_fields *fields);

/* The first that touches [lo, hi), or NULL. */
pel_hazard_field *pel_hazard_fields_touching(const pel_hazard_fields *fields, uint64_t lo, uint64_t hi);
/* Makes a field of the memory [lo, hi) with cells like [cell_lo, cell_hi), if that is worth trying. Others may go. */
void pel_hazard_fields_try(pel_hazard_fields *fields, uint64_t lo, uint64_t hi, uint64_t cell_lo, uint64_t cell_hi);
/* No field touches [lo, hi) any more. False: no memory, one or several are as they were. */
bool pel_hazard_fields_dissolve(pel_hazard_fields *fields, uint64_t lo, uint64_t hi);
/* The memory is gone. */
void pel_hazard_fields_forget(pel_hazard_fields *fields, uint64_t lo, uint64_t hi);
void pel_hazard_fields_alter(pel_hazard_fields *fields, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user);

#endif
