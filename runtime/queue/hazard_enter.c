/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The short way: looking and noting in one for a task of few accesses in one piece each.
 *
 * Most tasks of most programs touch cells of fields (hazard_cells.h), and of those that the last task touched by the same places
 * in its list. That is done here without a search, in walks over the accesses, each of which waits for memory that the one before
 * has asked for: where the cells are, what they say, who must go before, the note. Everything else (the first use of a field, the
 * map, no room) goes by the longer of the two functions, and what neither can do, by look and note. Rejected: one walk, which
 * takes the misses of all accesses one after the other.
 */
#include "queue/hazard_parts.h"

/* Ranges of one task that overlap each other would each take the other's place: that is for the long way. */
static bool overlap(const pel_hazard_span *spans, uint32_t count) {
    bool any = false;
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            any = any || (spans[i].lo < spans[k].hi && spans[k].lo < spans[i].hi);
        }
    }
    return any;
}

/* Notes one range. `alone`: nothing that is there need stay. */
static pel_status enter_one(pel_hazards *hazards, const pel_hazard_span *span, bool alone, pel_hazard_node *self,
                            pel_interval_hint *hint) {
    if (!alone && (span->mode & PEL_WRITE) == 0) { /* beside others: a list, or one more in it */
        pel_hazard_reading reading = {&hazards->states, self};
        return pel_interval_map_update(hazards->map, span->lo, span->hi, pel_hazard_add_reader, &reading, hint);
    }
    const pel_interval_value mine = pel_hazard_alone(self, span->mode);
    return pel_interval_map_replace(hazards->map, span->lo, span->hi, mine, hint)
               ? PEL_OK
               : pel_interval_map_set(hazards->map, span->lo, span->hi, mine, hint);
}

/* The fields of ranges that have one, or may get one. All that is made, or makes room for it, comes before any is named. */
static void find_fields(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count) {
    pel_hazard_fields *fields = &hazards->fields;
    for (uint32_t i = 0; i < count; i++) {
        if (spans[i].domain_hi > 0 && !pel_hazard_fields_touching(fields, spans[i].lo, spans[i].hi) &&
            !pel_hazards_grid_touching(hazards, spans[i].domain_lo, spans[i].domain_hi)) {
            pel_hazard_fields_try(fields, spans[i].domain_lo, spans[i].domain_hi, spans[i].lo, spans[i].hi);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        fields->near[i] = pel_hazard_fields_touching(fields, spans[i].lo, spans[i].hi);
    }
}

/* Finds the cells of those ranges that are cells of fields; *others are not. False: one lies across cells, or no memory. */
static bool find_cells(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count, pel_hazard_cell **cells,
                       uint32_t *others) {
    pel_hazard_field *const *near = hazards->fields.near;
    uint64_t numbers[PEL_HAZARD_SPANS];
    find_fields(hazards, spans, count);
    *others = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!near[i]) {
            ++*others;
            continue;
        }
        if (!pel_hazard_field_fits(near[i], spans[i].lo, spans[i].hi, &numbers[i]) ||
            !pel_hazard_field_has_room(near[i], PEL_HAZARD_SPANS)) {
            return false;
        }
        near[i]->served++;
        pel_hazard_field_fetch(near[i], numbers[i], i);
    }
    for (uint32_t i = 0; i < count; i++) {
        cells[i] = near[i] ? pel_hazard_field_cell(near[i], numbers[i]) : NULL;
        if (cells[i]) {
            pel_hazard_fetch(cells[i]->value);
        }
    }
    return true;
}

static bool enter_cell(pel_hazards *hazards, pel_hazard_cell *cell, pel_access_mode mode, bool alone, pel_hazard_node *self) {
    if (alone) {
        pel_hazard_replace(&hazards->states, &cell->value, self, mode);
        return true;
    }
    pel_hazard_reading reading = {&hazards->states, self};
    return pel_hazard_add_reader(&reading, &cell->value);
}

static void seek_spans(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count) {
    uint64_t keys[PEL_HAZARD_SPANS];
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = spans[i].lo;
    }
    pel_hazards_sweep_when_due(hazards);
    if (count > 1) {
        pel_interval_map_seek(hazards->map, keys, hazards->hints, count);
    }
}

static pel_status enter_any(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count, pel_hazard_looking *looking,
                            pel_hazard_node *self) {
    pel_hazard_cell *cells[PEL_HAZARD_SPANS];
    bool alone[PEL_HAZARD_SPANS], noted = true;
    uint32_t others;
    if (overlap(spans, count) || !find_cells(hazards, spans, count, cells, &others) || (others > 0 && hazards->grid_count > 0)) {
        return PEL_UNSUPPORTED;
    }
    if (others > 0) {
        seek_spans(hazards, spans, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        pel_interval_value value;
        looking->mode = spans[i].mode;
        if (cells[i]) {
            alone[i] = pel_hazard_meet(looking, cells[i]->value);
        } else if (pel_interval_map_one(hazards->map, spans[i].lo, spans[i].hi, &value, &hazards->hints[i])) {
            alone[i] = pel_hazard_meet(looking, value);
        } else {
            alone[i] = false;
            pel_interval_map_visit(hazards->map, spans[i].lo, spans[i].hi, pel_hazard_look_at, looking, &hazards->hints[i]);
        }
        if (looking->failed) {
            return PEL_UNSUPPORTED;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (cells[i]) {
            noted = enter_cell(hazards, cells[i], spans[i].mode, alone[i], self) && noted;
        } else {
            noted = enter_one(hazards, &spans[i], alone[i], self, &hazards->hints[i]) == PEL_OK && noted;
        }
    }
    return noted ? PEL_OK : PEL_OUT_OF_MEMORY;
}

/* All ranges are cells of the fields where the last ones were, each another one, and there is room. */
static bool find_near(const pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count, pel_hazard_cell **cells) {
    pel_hazard_field *const *near = hazards->fields.near;
    uint64_t numbers[PEL_HAZARD_SPANS];
    for (uint32_t i = 0; i < count; i++) {
        if (!near[i] || !pel_hazard_field_fits(near[i], spans[i].lo, spans[i].hi, &numbers[i]) ||
            near[i]->used + PEL_HAZARD_SPANS > near[i]->limit) {
            return false;
        }
        pel_hazard_field_fetch(near[i], numbers[i], i);
    }
    bool twice = false;
    for (uint32_t i = 0; i < count; i++) {
        near[i]->served++;
        cells[i] = pel_hazard_field_cell(near[i], numbers[i]); /* one too many would be known, and of nothing */
        if ((cells[i]->value.a & PEL_HAZARD_COUNTED) != 0) {
            pel_hazard_field_foresee(near[i], numbers[i]);
        }
        pel_hazard_fetch(cells[i]->value);
        for (uint32_t k = 0; k < i; k++) {
            twice = twice || cells[k] == cells[i];
        }
    }
    return !twice;
}

pel_status pel_hazards_enter(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count, pel_hazard_node *self,
                             pel_hazard_fn found, void *user) {
    pel_hazard_looking looking = {PEL_READ, self, found, user, false};
    pel_hazard_cell *cells[PEL_HAZARD_SPANS];
    bool alone[PEL_HAZARD_SPANS], noted = true;
    if (hazards->lost.count > 0) {
        return PEL_UNSUPPORTED;
    }
    if (!find_near(hazards, spans, count, cells)) {
        return enter_any(hazards, spans, count, &looking, self);
    }
    for (uint32_t i = 0; i < count; i++) {
        alone[i] = pel_hazard_is_idle(cells[i]->value);
        if (!alone[i]) {
            looking.mode = spans[i].mode;
            alone[i] = pel_hazard_meet(&looking, cells[i]->value);
        }
    }
    if (looking.failed) {
        return PEL_UNSUPPORTED;
    }
    for (uint32_t i = 0; i < count; i++) {
        noted = enter_cell(hazards, cells[i], spans[i].mode, alone[i], self) && noted;
    }
    return noted ? PEL_OK : PEL_OUT_OF_MEMORY;
}
