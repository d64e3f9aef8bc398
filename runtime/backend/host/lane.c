/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/lane.h"

#include <sched.h>

enum { LOOKS_BEFORE_YIELD = 200 }; /* a claim lasts 10 to 200 ns, unless its holder lost its core */

static void claim(pel_host_lane *lane) {
    for (unsigned look = 1; !pel_host_lane_try_claim(lane); look++) {
        if (look % LOOKS_BEFORE_YIELD == 0) {
            sched_yield();
        }
    }
}

bool pel_host_lane_any_for_sure(pel_host_lane *lane) {
    claim(lane);
    bool any = lane->tail != NULL || atomic_load_explicit(&lane->offer, memory_order_relaxed) != NULL;
    pel_host_lane_release(lane);
    return any;
}

/* The last item can only be taken with the claim, because the next push writes its link. */
static pel_host_item *pass_last(pel_host_lane *lane, pel_host_item *item) {
    claim(lane);
    pel_host_item *next = atomic_load_explicit(&item->link, memory_order_relaxed);
    if (!next) {
        lane->tail = NULL;
        atomic_store_explicit(&lane->head, NULL, memory_order_relaxed);
    }
    pel_host_lane_release(lane);
    return next;
}

uint32_t pel_host_lane_take(pel_host_lane *lane, pel_host_item **items, uint32_t most) {
    if (!atomic_load_explicit(&lane->head, memory_order_relaxed) ||
        atomic_load_explicit(&lane->draining, memory_order_relaxed) != 0 ||
        atomic_exchange_explicit(&lane->draining, 1, memory_order_acquire) != 0) {
        return 0;
    }
    uint32_t count = 0;
    pel_host_item *item = atomic_load_explicit(&lane->head, memory_order_acquire), *first = item;
    while (item && count < most) {
        pel_pool_fetch_ahead(item);
        pel_host_item *next = atomic_load_explicit(&item->link, memory_order_acquire);
        if (!next) {
            if (count > 0) {
                break; /* while there are others to run, the last one need not disturb the submitter */
            }
            next = pass_last(lane, item);
        }
        items[count++] = item;
        item = next;
    }
    if (item && item != first) {
        atomic_store_explicit(&lane->head, item, memory_order_relaxed);
    }
    atomic_store_explicit(&lane->draining, 0, memory_order_release);
    return count;
}
