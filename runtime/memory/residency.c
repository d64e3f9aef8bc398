/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where each byte of an allocation is valid.
 *
 * The invariant is that a byte is valid somewhere at every moment. The map therefore stores the places with the host's bit
 * inverted (places.h): a gap, value 0, means "valid in host memory only". A fresh allocation needs no entry, memory shared with
 * every device never gets one, and no state of the map can say "nowhere". Storing the plain mask was rejected: it needs an entry
 * before the first use, and a forgotten range would have meant lost data.
 */
#include "memory/residency.h"

typedef struct missing_walk {
    const pel_runtime *runtime;
    uint32_t place;
    bool (*visit)(void *user, uint64_t lo, uint64_t hi, pel_place_set places);
    void *user;
} missing_walk;

static bool visit_missing(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    const missing_walk *walk = user;
    return pel_places_have(walk->runtime, value, walk->place) || walk->visit(walk->user, lo, hi, value);
}

void pel_allocation_missing(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi,
                            bool (*visit)(void *user, uint64_t lo, uint64_t hi, pel_place_set places), void *user) {
    missing_walk walk = {allocation->runtime, place, visit, user};
    if (lo < hi) {
        pel_interval_map_visit(allocation->residency, lo, hi, visit_missing, &walk, NULL);
    }
}

static bool note_elsewhere(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    (void)lo, (void)hi;
    return *(bool *)user = (value.a | value.b) == 0;
}

bool pel_allocation_at_home(const pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    bool home = true;
    pel_interval_map_visit(allocation->residency, lo, hi, note_elsewhere, &home, NULL);
    return home;
}

static bool add_bytes(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    (void)places;
    *(uint64_t *)user += hi - lo;
    return true;
}

uint64_t pel_allocation_missing_bytes(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    uint64_t bytes = 0;
    pel_allocation_missing(allocation, place, lo, hi, add_bytes, &bytes);
    return bytes;
}

typedef struct change {
    pel_runtime *runtime;
    uint32_t place;
} change;

static bool add_place(void *user, pel_interval_value *value) {
    const change *c = user;
    return pel_places_add(c->runtime, value, c->place);
}

pel_status pel_allocation_copied(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    if (place == 0) {
        return pel_interval_map_mask(allocation->residency, lo, hi, PEL_PLACE_HOST, 0, NULL);
    }
    if (!pel_places_are_many(allocation->runtime)) {
        return pel_interval_map_mask(allocation->residency, lo, hi, 0, 1ull << place, NULL);
    }
    change c = {allocation->runtime, place};
    pel_place_sets_tidy(allocation->runtime);
    return pel_interval_map_update(allocation->residency, lo, hi, add_place, &c, NULL);
}

pel_status pel_allocation_written(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    return pel_interval_map_set(allocation->residency, lo, hi, pel_places_one(allocation->runtime, place), NULL);
}

typedef struct alone_walk {
    pel_place_set alone;
    bool found;
} alone_walk;

static bool visit_alone(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    alone_walk *walk = user;
    (void)lo, (void)hi;
    walk->found = value.a == walk->alone.a && value.b == walk->alone.b;
    return !walk->found;
}

bool pel_allocation_alone_at(const pel_allocation *allocation, uint32_t place) {
    alone_walk walk = {pel_places_one(allocation->runtime, place), false};
    if (place != 0) {
        pel_interval_map_visit(allocation->residency, 0, allocation->bytes, visit_alone, &walk, NULL);
    }
    return walk.found;
}

/* What the device held alone becomes the host's in the same step, so that no moment knows a byte without a place. */
static bool drop_place(void *user, pel_interval_value *value) {
    const uint64_t bit = *(const uint64_t *)user;
    value->a = value->a == (bit | PEL_PLACE_HOST) ? 0 : value->a & ~bit;
    return true;
}

static bool drop_place_of_many(void *user, pel_interval_value *value) {
    const change *c = user;
    pel_places_drop(c->runtime, value, c->place);
    return true;
}

void pel_allocation_forget_place(pel_allocation *allocation, uint32_t place) {
    if (place != 0 && pel_places_are_many(allocation->runtime)) {
        change c = {allocation->runtime, place};
        pel_interval_map_alter(allocation->residency, 0, UINT64_MAX, drop_place_of_many, &c);
    } else if (place != 0) {
        uint64_t bit = 1ull << place;
        pel_interval_map_alter(allocation->residency, 0, UINT64_MAX, drop_place, &bit);
    }
}
