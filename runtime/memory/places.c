/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/places.h"
#include "base/hash.h"
#include "memory/memory.h"

#include <string.h>

#define INLINE 4u        /* places that a value holds itself */
#define INLINE_BITS 16u
#define FIRST_TIDY 4096u /* rows: 2 MB, with 4,096 devices */
#define NOBODY UINT32_MAX

/*
 * Rows are found by their contents through `slots`, open addressing with linear probing, at most half full. A row that is given
 * up is chained to the others through its first word.
 */
struct pel_place_sets {
    uint32_t words;    /* of a row */
    uint64_t *rows;
    uint32_t room, made; /* rows that there is memory for; that were ever used */
    uint32_t idle, idle_count; /* first of those given up */
    uint32_t *slots;   /* row + 1; 0: empty */
    uint32_t slot_count;
    uint32_t tidy_at;
    uint64_t *work;    /* a row, for whoever composes one */
    unsigned char *named; /* by row, while it is tidied up; as many as `room` */
};

struct pel_place_sets *pel_place_sets_create(const pel_allocator *allocator, uint32_t device_count) {
    struct pel_place_sets *sets = pel_alloc_zero(allocator, 1, sizeof *sets);
    if (sets) {
        sets->words = (device_count + 1u + 63u) / 64u;
        sets->idle = NOBODY;
        sets->tidy_at = FIRST_TIDY;
        sets->work = pel_alloc_zero(allocator, sets->words, sizeof *sets->work);
        if (!sets->work) {
            pel_free(allocator, sets);
            return NULL;
        }
    }
    return sets;
}

void pel_place_sets_destroy(const pel_allocator *allocator, struct pel_place_sets *sets) {
    if (sets) {
        pel_free(allocator, sets->rows);
        pel_free(allocator, sets->slots);
        pel_free(allocator, sets->work);
        pel_free(allocator, sets->named);
        pel_free(allocator, sets);
    }
}

uint32_t pel_place_sets_count(const struct pel_place_sets *sets) { return sets->made - sets->idle_count; }

static uint64_t *row_at(const struct pel_place_sets *sets, uint32_t row) { return sets->rows + (size_t)row * sets->words; }

static bool is_row(pel_place_set places) { return places.a >> 1 != 0; }
static uint32_t row_of(pel_place_set places) { return (uint32_t)(places.a >> 1) - 1; }
static uint32_t inline_at(pel_place_set places, uint32_t i) { return (uint32_t)(places.b >> (INLINE_BITS * i)) & 0xffffu; }

uint32_t pel_places_next_of_many(const pel_runtime *runtime, pel_place_set places, uint32_t after) {
    const struct pel_place_sets *sets = runtime->place_sets;
    if (!is_row(places)) {
        for (uint32_t i = 0; i < INLINE; i++) {
            if (inline_at(places, i) > after) {
                return inline_at(places, i);
            }
        }
        return 0;
    }
    const uint64_t *row = row_at(sets, row_of(places));
    uint32_t word = (after + 1) / 64;
    uint64_t rest = word < sets->words ? row[word] >> ((after + 1) % 64) << ((after + 1) % 64) : 0;
    while (rest == 0 && ++word < sets->words) {
        rest = row[word];
    }
    return rest != 0 ? word * 64 + (uint32_t)__builtin_ctzll(rest) : 0;
}

bool pel_places_have_of_many(const pel_runtime *runtime, pel_place_set places, uint32_t place) {
    return place == 0 ? pel_places_at_home(places) : pel_places_next_of_many(runtime, places, place - 1) == place;
}

/* ---- rows ---- */

static uint64_t hash_of(const struct pel_place_sets *sets, const uint64_t *row) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < sets->words; i++) {
        hash = pel_mix_u64(hash, row[i]);
    }
    return hash;
}

/* Where the row is, or the empty slot where it would be. */
static uint32_t slot_of(const struct pel_place_sets *sets, const uint64_t *row) {
    uint32_t at = (uint32_t)hash_of(sets, row) & (sets->slot_count - 1);
    while (sets->slots[at] != 0 && memcmp(row_at(sets, sets->slots[at] - 1), row, sets->words * sizeof *row) != 0) {
        at = (at + 1) & (sets->slot_count - 1);
    }
    return at;
}

static bool grow(const pel_allocator *allocator, struct pel_place_sets *sets) {
    const uint32_t room = sets->room ? 2 * sets->room : 64, slot_count = 4 * room;
    uint64_t *rows = pel_resize(allocator, sets->rows, (size_t)room * sets->words * sizeof *rows);
    sets->rows = rows ? rows : sets->rows;
    unsigned char *named = rows ? pel_resize(allocator, sets->named, room) : NULL;
    sets->named = named ? named : sets->named;
    uint32_t *slots = named ? pel_alloc_zero(allocator, slot_count, sizeof *slots) : NULL;
    if (!slots) {
        return false;
    }
    uint32_t *old = sets->slots;
    const uint32_t old_count = sets->slot_count;
    sets->slots = slots;
    sets->slot_count = slot_count;
    sets->room = room;
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i] != 0) {
            sets->slots[slot_of(sets, row_at(sets, old[i] - 1))] = old[i];
        }
    }
    pel_free(allocator, old);
    return true;
}

/* The number of the row that equals sets->work; NOBODY: no memory. */
static uint32_t keep(const pel_allocator *allocator, struct pel_place_sets *sets) {
    if (sets->idle == NOBODY && sets->made == sets->room && !grow(allocator, sets)) {
        return NOBODY;
    }
    const uint32_t slot = slot_of(sets, sets->work);
    if (sets->slots[slot] != 0) {
        return sets->slots[slot] - 1;
    }
    const uint32_t row = sets->idle != NOBODY ? sets->idle : sets->made;
    if (sets->idle != NOBODY) {
        sets->idle = (uint32_t)row_at(sets, row)[0];
        sets->idle_count--;
    } else {
        sets->made++;
    }
    memcpy(row_at(sets, row), sets->work, sets->words * sizeof *sets->work);
    sets->slots[slot] = row + 1;
    return row;
}

/* ---- values ---- */

static void unpack(const struct pel_place_sets *sets, pel_place_set places) {
    if (is_row(places)) {
        memcpy(sets->work, row_at(sets, row_of(places)), sets->words * sizeof *sets->work);
        return;
    }
    memset(sets->work, 0, sets->words * sizeof *sets->work);
    for (uint32_t i = 0; i < INLINE && inline_at(places, i) != 0; i++) {
        sets->work[inline_at(places, i) / 64] |= 1ull << inline_at(places, i) % 64;
    }
}

/* The first four of sets->work; how many there are. */
static uint32_t pack_few(const struct pel_place_sets *sets, uint64_t *few) {
    uint32_t count = 0;
    *few = 0;
    for (uint32_t word = 0; word < sets->words; word++) {
        for (uint64_t rest = sets->work[word]; rest != 0; rest &= rest - 1, count++) {
            if (count < INLINE) {
                *few |= (uint64_t)(word * 64 + (uint32_t)__builtin_ctzll(rest)) << (INLINE_BITS * count);
            }
        }
    }
    return count;
}

/* False: no memory for a row; *few of them are in the value then. */
static bool pack(const pel_runtime *runtime, pel_place_set *places) {
    uint64_t few;
    const uint64_t home = places->a & PEL_PLACE_HOST;
    if (pack_few(runtime->place_sets, &few) <= INLINE) {
        *places = (pel_place_set){home, few};
        return true;
    }
    const uint32_t row = keep(&runtime->allocator, runtime->place_sets);
    *places = row != NOBODY ? (pel_place_set){home | (row + 1ull) << 1, 0} : (pel_place_set){home, few};
    return row != NOBODY;
}

bool pel_places_add(pel_runtime *runtime, pel_place_set *places, uint32_t place) {
    const pel_place_set before = *places;
    if (pel_places_have_of_many(runtime, before, place)) {
        return true;
    }
    unpack(runtime->place_sets, before);
    runtime->place_sets->work[place / 64] |= 1ull << place % 64;
    const bool packed = pack(runtime, places);
    *places = packed ? *places : before;
    return packed;
}

void pel_places_drop(pel_runtime *runtime, pel_place_set *places, uint32_t place) {
    if (!pel_places_have_of_many(runtime, *places, place)) {
        return;
    }
    unpack(runtime->place_sets, *places);
    runtime->place_sets->work[place / 64] &= ~(1ull << place % 64);
    (void)pack(runtime, places);
    if (places->a == PEL_PLACE_HOST && places->b == 0) {
        *places = (pel_place_set){0, 0}; /* nowhere: host bytes */
    }
}

/* ---- what nobody names any more ---- */

static bool note_named(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    unsigned char *named = user;
    (void)lo, (void)hi;
    if (is_row(value)) {
        named[row_of(value)] = 1;
    }
    return true;
}

void pel_place_sets_tidy(pel_runtime *runtime) {
    struct pel_place_sets *sets = runtime->place_sets;
    if (pel_place_sets_count(sets) < sets->tidy_at) {
        return;
    }
    memset(sets->named, 0, sets->made);
    for (const pel_allocation *a = runtime->allocations; a; a = a->next) {
        pel_interval_map_visit(a->residency, 0, UINT64_MAX, note_named, sets->named, NULL);
    }
    memset(sets->slots, 0, sets->slot_count * sizeof *sets->slots);
    sets->idle = NOBODY;
    sets->idle_count = 0;
    for (uint32_t row = 0; row < sets->made; row++) {
        if (sets->named[row]) {
            sets->slots[slot_of(sets, row_at(sets, row))] = row + 1;
        } else {
            row_at(sets, row)[0] = sets->idle;
            sets->idle = row;
            sets->idle_count++;
        }
    }
    const uint32_t left = pel_place_sets_count(sets);
    sets->tidy_at = 2 * left > FIRST_TIDY ? 2 * left : FIRST_TIDY;
}
