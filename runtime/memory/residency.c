/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where each byte of an allocation is valid.
 *
 * The invariant is that a byte is valid somewhere at every moment. The map therefore stores the mask of places with the host's
 * bit inverted: a gap, value 0, means "valid in host memory only". A fresh allocation needs no entry, memory shared with every
 * device never gets one, and no state of the map can say "nowhere". Storing the plain mask was rejected: it needs an entry
 * before the first use, and a forgotten range would have meant lost data.
 */
#include "memory/residency.h"

static uint64_t place_bit(uint32_t place) {
    return 1ull << place;
}

typedef struct missing_walk {
    uint64_t bit;
    bool (*visit)(void *user, uint64_t lo, uint64_t hi, uint64_t places);
    void *user;
} missing_walk;

static bool visit_missing(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    const missing_walk *walk = user;
    uint64_t places = value.a ^ PEL_PLACE_HOST;
    return (places & walk->bit) != 0 || walk->visit(walk->user, lo, hi, places);
}

void pel_allocation_missing(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi,
                            bool (*visit)(void *user, uint64_t lo, uint64_t hi, uint64_t places), void *user) {
    missing_walk walk = {place_bit(place), visit, user};
    if (lo < hi) {
        pel_interval_map_visit(allocation->residency, lo, hi, visit_missing, &walk, NULL);
    }
}

static bool note_elsewhere(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    (void)lo, (void)hi;
    return *(bool *)user = value.a == 0;
}

bool pel_allocation_at_home(const pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    bool home = true;
    pel_interval_map_visit(allocation->residency, lo, hi, note_elsewhere, &home, NULL);
    return home;
}

static bool add_bytes(void *user, uint64_t lo, uint64_t hi, uint64_t places) {
    (void)places;
    *(uint64_t *)user += hi - lo;
    return true;
}

uint64_t pel_allocation_missing_bytes(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    uint64_t bytes = 0;
    pel_allocation_missing(allocation, place, lo, hi, add_bytes, &bytes);
    return bytes;
}

pel_status pel_allocation_copied(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    uint64_t bit = place_bit(place);
    return place == 0 ? pel_interval_map_mask(allocation->residency, lo, hi, bit, 0, NULL)
                      : pel_interval_map_mask(allocation->residency, lo, hi, 0, bit, NULL);
}

pel_status pel_allocation_written(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    return pel_interval_map_set(allocation->residency, lo, hi, (pel_interval_value){place_bit(place) ^ PEL_PLACE_HOST, 0}, NULL);
}

static bool visit_alone(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    uint64_t *alone = user;
    (void)lo, (void)hi;
    if (value.a != *alone) {
        return true;
    }
    *alone = 0; /* found */
    return false;
}

bool pel_allocation_alone_at(const pel_allocation *allocation, uint32_t place) {
    uint64_t alone = place_bit(place) | PEL_PLACE_HOST;
    if (place != 0) {
        pel_interval_map_visit(allocation->residency, 0, allocation->bytes, visit_alone, &alone, NULL);
    }
    return alone == 0;
}

/* What the device held alone becomes the host's in the same step, so that no moment knows a byte without a place. */
static bool drop_place(void *user, pel_interval_value *value) {
    uint64_t bit = *(const uint64_t *)user;
    value->a = value->a == (bit | PEL_PLACE_HOST) ? 0 : value->a & ~bit;
    return true;
}

void pel_allocation_forget_place(pel_allocation *allocation, uint32_t place) {
    uint64_t bit = place_bit(place);
    if (place != 0) {
        pel_interval_map_alter(allocation->residency, 0, UINT64_MAX, drop_place, &bit);
    }
}
