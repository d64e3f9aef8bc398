/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/feed_share.h"

#include <sched.h>

#define SCALE 1024

void pel_host_share_come(pel_host_shares *shares, uint32_t index, uint32_t weight) {
    pel_host_share *share = &shares->of[index];
    while (atomic_exchange_explicit(&shares->busy, 1, memory_order_acquire) != 0) {
        sched_yield();
    }
    atomic_fetch_add_explicit(&share->comer, 1, memory_order_relaxed);
    atomic_store_explicit(&share->weight, weight, memory_order_relaxed);
    atomic_store_explicit(&share->clock, shares->now, memory_order_relaxed);
    share->met = shares->looks;
    atomic_store_explicit(&shares->busy, 0, memory_order_release);
}

uint32_t pel_host_share_comer(const pel_host_shares *shares, uint32_t index) {
    return atomic_load_explicit(&((pel_host_shares *)(uintptr_t)shares)->of[index].comer, memory_order_relaxed);
}

static uint32_t share_of(const pel_host_feed *feed) {
    return atomic_load_explicit(&((pel_host_feed *)(uintptr_t)feed)->share, memory_order_relaxed);
}

static uint64_t clock_of(const pel_host_share *share) {
    return atomic_load_explicit(&((pel_host_share *)(uintptr_t)share)->clock, memory_order_relaxed);
}

/* Who was not there at the last look comes in at the time of the others. */
static uint64_t meet(pel_host_shares *shares, pel_host_share *share) {
    if (share->met + 1 < shares->looks && clock_of(share) < shares->now) {
        atomic_store_explicit(&share->clock, shares->now, memory_order_relaxed);
    }
    share->met = shares->looks;
    return clock_of(share);
}

static pel_host_feed *find_behind(pel_host_shares *shares, pel_host_feed *feeds, uint32_t used, uint32_t first) {
    pel_host_feed *best = NULL;
    uint64_t earliest = UINT64_MAX;
    shares->looks++;
    for (uint32_t i = 0; i < used; i++) {
        pel_host_feed *feed = &feeds[(first + i) % used];
        if (pel_host_feed_any(feed)) {
            const uint64_t clock = meet(shares, &shares->of[share_of(feed)]);
            best = clock < earliest ? feed : best;
            earliest = clock < earliest ? clock : earliest;
        }
    }
    shares->now = best ? earliest : shares->now;
    return best;
}

pel_host_feed *pel_host_share_choose(pel_host_shares *shares, pel_host_feed *feeds, uint32_t used, uint32_t first,
                                     bool *competes) {
    pel_host_feed *found = NULL;
    *competes = false;
    for (uint32_t i = 0; i < used && !*competes; i++) {
        pel_host_feed *feed = &feeds[(first + i) % used];
        if (pel_host_feed_any(feed)) {
            *competes = found && share_of(feed) != share_of(found);
            found = found ? found : feed;
        }
    }
    if (*competes && atomic_exchange_explicit(&shares->busy, 1, memory_order_acquire) == 0) {
        pel_host_feed *best = find_behind(shares, feeds, used, first);
        found = best ? best : found;
        atomic_store_explicit(&shares->busy, 0, memory_order_release);
    }
    return found;
}

void pel_host_share_charge(pel_host_shares *shares, uint32_t index, uint32_t comer, int64_t ns) {
    pel_host_share *share = &shares->of[index];
    if (pel_host_share_comer(shares, index) != comer) {
        return;
    }
    const uint32_t weight = atomic_load_explicit(&share->weight, memory_order_relaxed);
    const uint64_t took = (ns > 0 ? (uint64_t)ns : 0) * SCALE / (weight > 0 ? weight : 1);
    atomic_fetch_add_explicit(&share->clock, took > 0 ? took : 1, memory_order_relaxed);
}
