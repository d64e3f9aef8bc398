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

static bool visit_missing(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    const missing_walk *walk = user;
    uint64_t places = value ^ PEL_PLACE_HOST;
    return (places & walk->bit) != 0 || walk->visit(walk->user, lo, hi, places);
}

void pel_allocation_missing(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi,
                            bool (*visit)(void *user, uint64_t lo, uint64_t hi, uint64_t places), void *user) {
    missing_walk walk = {place_bit(place), visit, user};
    if (lo < hi) {
        pel_interval_map_visit(allocation->residency, lo, hi, visit_missing, &walk);
    }
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

/* Room for the change and for one more: what is left lets pel_allocation_forget_place work without memory. */
static pel_status reserve(pel_allocation *allocation) {
    return pel_interval_map_reserve(allocation->residency, 2);
}

pel_status pel_allocation_copied(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    if (lo >= hi) {
        return PEL_OK;
    }
    if (reserve(allocation) != PEL_OK) {
        return PEL_OUT_OF_MEMORY;
    }
    uint64_t bit = place_bit(place);
    return place == 0 ? pel_interval_map_mask(allocation->residency, lo, hi, bit, 0)
                      : pel_interval_map_mask(allocation->residency, lo, hi, 0, bit);
}

pel_status pel_allocation_written(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi) {
    if (lo >= hi) {
        return PEL_OK;
    }
    if (reserve(allocation) != PEL_OK) {
        return PEL_OUT_OF_MEMORY;
    }
    return pel_interval_map_set(allocation->residency, lo, hi, place_bit(place) ^ PEL_PLACE_HOST);
}

typedef struct only_walk {
    uint64_t value;
    bool found;
    uint64_t lo, hi;
} only_walk;

static bool visit_only(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    only_walk *walk = user;
    if (value != walk->value) {
        return true;
    }
    walk->found = true;
    walk->lo = lo;
    walk->hi = hi;
    return false;
}

static only_walk find_value(const pel_allocation *allocation, uint64_t from, uint64_t value) {
    only_walk walk = {.value = value};
    if (from < allocation->bytes) {
        pel_interval_map_visit(allocation->residency, from, allocation->bytes, visit_only, &walk);
    }
    return walk;
}

bool pel_allocation_alone_at(const pel_allocation *allocation, uint32_t place) {
    return place != 0 && find_value(allocation, 0, place_bit(place) | PEL_PLACE_HOST).found;
}

/*
 * Bytes held by the device alone go to the host first and the device's bit second, so that no moment knows a byte without a
 * place. Both steps need no more nodes than were set aside when the bytes came there; should one be refused all the same,
 * everything is declared to be in host memory, which is where a lost device's bytes end anyhow.
 */
void pel_allocation_forget_place(pel_allocation *allocation, uint32_t place) {
    if (place == 0 || pel_interval_map_count(allocation->residency) == 0) {
        return;
    }
    uint64_t alone = place_bit(place) | PEL_PLACE_HOST;
    pel_status status = PEL_OK;
    for (only_walk walk = find_value(allocation, 0, alone); walk.found && status == PEL_OK;
         walk = find_value(allocation, walk.hi, alone)) {
        status = pel_interval_map_set(allocation->residency, walk.lo, walk.hi, 0);
    }
    if (status == PEL_OK) {
        status = pel_interval_map_mask(allocation->residency, 0, allocation->bytes, place_bit(place), 0);
    }
    if (status != PEL_OK) {
        (void)pel_interval_map_set(allocation->residency, 0, allocation->bytes, 0);
    }
}
