/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lanes: how threads that are no workers hand over tasks.
 *
 * A device has several lanes; a submitting thread claims one for the length of a submission (one exchange on a line that is its
 * own as long as threads are fewer than lanes; it comes back to the same lane) and releases it with a plain store. Meanwhile
 * everything of the lane is its own: the tail of the list and the cache of free commands. So a submission costs one atomic
 * read-modify-write. A claim that is taken is never waited for: the next lane is tried. Consumers take from the front, many at a
 * time, under a flag of their own, and need the claim only for the very last item.
 *
 * Beside the list there is room for one *offer*, for an item that somebody is going to wait for: whoever comes first takes it
 * with one exchange, its submitter too when it waits, and nothing else of the lane is touched on the way. What is behind the item
 * is named with it (`about`), so that a taker on another core fetches both lines at once. An offer goes before the list, but for
 * one look in 64.
 *
 * The links are the items' own, so a push cannot fail. Whoever makes sure that a lane is empty before it sleeps claims it: the
 * claims of one lane are totally ordered, so either the sleeper sees the item, or the submitter, inside its claim, sees that
 * somebody sleeps (docs/design/workers.md).
 *
 * Rejected: one list with an exchange on its tail (two read-modify-writes, and all submitters meet on one line); a lane for each
 * thread for good (nobody tells us when a thread ends).
 */
#ifndef PEL_BACKEND_HOST_LANE_H
#define PEL_BACKEND_HOST_LANE_H

#include "base/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What runners run: it begins with its link, and is whatever the runner's owner (queue/) makes of it. */
typedef struct pel_host_item pel_host_item;
struct pel_host_item {
    _Atomic(pel_host_item *) link;
};

/* What a thread needs that submits or runs tasks. Its own as long as it has the lane or the runner that this is a part of. */
typedef struct pel_host_self {
    uint32_t shard;     /* its share of counters that are kept apart; 0: none yet, it has done nothing so far */
    pel_pool_cache cache, scraps;
    void *nest;         /* queue/awaited.h; of lanes only */
} pel_host_self;

typedef struct pel_host_lane {
    _Alignas(PEL_LINE_PAIR) atomic_uint claimed; /* by whoever submits; the fields down to `draining` are its own meanwhile */
    pel_host_item *tail;                /* the last item; NULL: empty */
    pel_host_self self;
    atomic_uint visits;                 /* submissions, ever */
    uint32_t offered;                   /* what `offers` says */
    pel_host_item *last_offer;          /* to be compared only */
    _Alignas(PEL_LINE_PAIR) atomic_uint draining; /* by whoever takes */
    _Atomic(pel_host_item *) head;      /* the first item; set by a submitter only while the lane is empty */
    _Atomic(pel_host_item *) offer;     /* set by a submitter only while there is none; taken by anybody */
    _Atomic(void *) about;              /* of the offer, or of the one before: what its taker will write to */
    atomic_uint offers;                 /* how many there were; written with the claim */
} pel_host_lane;

static inline bool pel_host_lane_try_claim(pel_host_lane *lane) {
    return atomic_load_explicit(&lane->claimed, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&lane->claimed, 1, memory_order_acquire) == 0;
}

static inline void pel_host_lane_release(pel_host_lane *lane) { atomic_store_explicit(&lane->claimed, 0, memory_order_release); }

/* With the claim. */
static inline void pel_host_lane_push(pel_host_lane *lane, pel_host_item *item) {
    atomic_store_explicit(&item->link, NULL, memory_order_relaxed);
    pel_host_item *last = lane->tail;
    lane->tail = item;
    atomic_store_explicit(last ? &last->link : &lane->head, item, memory_order_release);
}

/*
 * With the claim. To the list where there is an offer already. What was the last offer and is offered again has been taken, so
 * that the place is free: no look at the line, which whoever took it has. It is only written, once all of it is known.
 */
static inline void pel_host_lane_offer(pel_host_lane *lane, pel_host_item *item, void *about) {
    if (lane->last_offer != item && atomic_load_explicit(&lane->offer, memory_order_relaxed)) {
        pel_host_lane_push(lane, item);
        return;
    }
    lane->last_offer = item;
    lane->offered++;
    atomic_store_explicit(&lane->about, about, memory_order_relaxed);
    atomic_store_explicit(&lane->offers, lane->offered, memory_order_relaxed);
    atomic_store_explicit(&lane->offer, item, memory_order_release);
}

/* Without any claim. NULL: there was none. */
static inline pel_host_item *pel_host_lane_take_offer(pel_host_lane *lane) {
    pel_host_item *item = atomic_load_explicit(&lane->offer, memory_order_relaxed);
    if (!item) {
        return NULL;
    }
    __builtin_prefetch(item); /* only read, as a rule: its submitter has it still when it makes the next one */
    pel_pool_fetch(atomic_load_explicit(&lane->about, memory_order_relaxed));
    return atomic_exchange_explicit(&lane->offer, NULL, memory_order_acquire);
}

/* A guess, without any claim. */
static inline bool pel_host_lane_any(const pel_host_lane *lane) {
    pel_host_lane *l = (pel_host_lane *)(uintptr_t)lane;
    return atomic_load_explicit(&l->head, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&l->offer, memory_order_relaxed) != NULL;
}

/* Takes up to `most` items from the front of the list, in order; returns how many. 0 also when another consumer is at it. */
uint32_t pel_host_lane_take(pel_host_lane *lane, pel_host_item **items, uint32_t most);

/* The truth, by claiming the lane: waits for whoever has it. */
bool pel_host_lane_any_for_sure(pel_host_lane *lane);

#endif
