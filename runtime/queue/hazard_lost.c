/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard_lost.h"

static void widen(pel_hazard_lost *lost, uint32_t i, uint64_t lo, uint64_t hi, const pel_event *failed) {
    lost->at[i].lo = lost->at[i].lo < lo ? lost->at[i].lo : lo;
    lost->at[i].hi = lost->at[i].hi > hi ? lost->at[i].hi : hi;
    lost->at[i].mixed = lost->at[i].mixed || lost->at[i].failed->queue != failed->queue;
}

/* The one that grows least. */
static uint32_t nearest(const pel_hazard_lost *lost, uint64_t lo, uint64_t hi) {
    uint32_t best = 0;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < lost->count; i++) {
        const uint64_t grows = (lost->at[i].lo > lo ? lost->at[i].lo - lo : 0) + (lost->at[i].hi < hi ? hi - lost->at[i].hi : 0);
        if (grows < least) {
            least = grows;
            best = i;
        }
    }
    return best;
}

void pel_hazard_lost_add(pel_hazard_lost *lost, uint64_t lo, uint64_t hi, pel_event *failed) {
    if (lost->count == PEL_HAZARD_LOST) {
        widen(lost, nearest(lost, lo, hi), lo, hi, failed);
        return;
    }
    const uint32_t i = lost->count++;
    lost->at[i].lo = lo;
    lost->at[i].hi = hi;
    lost->at[i].failed = pel_event_retain(failed);
    lost->at[i].mixed = false;
}

bool pel_hazard_lost_look(const pel_hazard_lost *lost, uint64_t lo, uint64_t hi, pel_hazard_fn found, void *user) {
    for (uint32_t i = 0; i < lost->count; i++) {
        const pel_hazard hazard = {NULL, 0, lost->at[i].failed, true};
        if (lost->at[i].lo < hi && lo < lost->at[i].hi && !found(user, &hazard)) {
            return false;
        }
    }
    return true;
}

static void remove_at(pel_hazard_lost *lost, uint32_t i) {
    pel_event_release(lost->at[i].failed);
    lost->at[i] = lost->at[--lost->count];
}

void pel_hazard_lost_drop(pel_hazard_lost *lost, uint64_t lo, uint64_t hi) {
    for (uint32_t i = lost->count; i > 0; i--) {
        uint64_t *from = &lost->at[i - 1].lo, *to = &lost->at[i - 1].hi;
        if (lo <= *from && *to <= hi) {
            remove_at(lost, i - 1);
        } else if (lo <= *from && *from < hi) {
            *from = hi;
        } else if (lo < *to && *to <= hi) {
            *to = lo;
        }
    }
}

void pel_hazard_lost_forgive(pel_hazard_lost *lost, uint64_t queue) {
    for (uint32_t i = lost->count; i > 0; i--) {
        if (lost->at[i - 1].failed->queue == queue && !lost->at[i - 1].mixed) {
            remove_at(lost, i - 1);
        }
    }
}
