/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Feeds: bare calls of one thread for one queue, on their way to whoever runs them.
 *
 * Most tasks have no event and declare nothing, so nobody can know them and they need no identity: a function and a context, 16
 * bytes, written one behind the other into pages. A feed has one producer for good, the thread that opened it, so a submission is
 * a few plain stores: no exchange, no fence, no memory of its own. `put` counts what is there, `got` what was taken; a consumer
 * takes many at a time under a flag of its own and never writes what the producer writes. What changes on the way, the stage in
 * which calls are counted and where they stand in program order, is told by a mark between them. Where calls are short consumers
 * take whole pages, in no time: several threads share a core, and one that lost it with the flag would stop the others.
 *
 * Two things need to know more than that, and pay for it with a fence on every processor (base/barrier.h): who is about to sleep,
 * and who makes a new stage current. The producer says that it is inside, then reads; they write, fence, and then look. Who has
 * submitted sees after that whether anybody sleeps; only if so it fences itself, and asks whom to wake (tasks.h).
 *
 * Pages go back to their feed's producer, the last one first, and to the engine when the queue goes. They stay readable until the
 * engine ends, because a look at a feed needs no flag.
 *
 * Rejected: one list for all that a thread submits, claimed for each submission (an exchange, 7 ns of some 25, and a node or a
 * place in one for each task: lines that come from other cores); a feed that threads hand to each other (nobody tells us when a
 * thread ends, and to take a feed from one that lives needs an agreement that each submission would have to read).
 */
#ifndef PEL_BACKEND_HOST_FEED_H
#define PEL_BACKEND_HOST_FEED_H

#include "backend/host/group.h"
#include "base/pool.h"
#include "base/thread_local.h"

enum { PEL_HOST_FEEDS = 32, PEL_HOST_PAGE_CALLS = 250 }; /* a page is 4 KiB, the allocator's own part included */

typedef struct pel_host_feed pel_host_feed;
typedef struct pel_host_page pel_host_page;
struct pel_host_page {
    _Atomic(pel_host_page *) next; /* of the feed; of whatever list the page is in while it is not used */
    pel_host_page *all;            /* the next one of the engine's */
    pel_host_feed *feed;
    uint32_t filled;               /* calls; written before `next`: with that the page is complete */
    /* The consumer's, from the page's beginning on: */
    uint32_t taken;                /* calls */
    void *stage;                   /* of the next one */
    uint64_t order;
    pel_host_call *at;             /* where it is, or a mark */
    /* function NULL: a mark, the new stage; the next entry has the order */
    _Alignas(16) pel_host_call calls[PEL_HOST_PAGE_CALLS];
};

struct pel_host_feed {
    /* The producer's, but for `of`, which is also written when the queue goes. */
    _Alignas(64) _Atomic uint64_t put;
    atomic_uint inside;               /* it is submitting */
    uint32_t shard;                   /* of counters that are kept apart; 0: none yet */
    _Atomic uint64_t producer;        /* the thread's number; 0: the feed is free */
    _Atomic(const void *) of;         /* whose calls they are; NULL: nobody's */
    pel_host_call *at, *end;          /* where the next one goes */
    void *stage;                      /* of the last one */
    uint64_t order;                   /* the same: the next one's follows, or there is a mark */
    pel_host_page *page, *spare;
    uint64_t began;                   /* `put` at the page's beginning */
    _Atomic uint32_t share;           /* of which all feeds of `of` are; the first one's index */
    _Alignas(64) atomic_uint draining;/* by whoever takes; what follows is its own meanwhile, but for `got`, which all read */
    _Atomic uint64_t got;
    pel_host_page *head;
    _Atomic(pel_host_page *) returned;/* pages for the producer; anybody's to add to */
};

/* Pages of an engine that no feed has, and all there are. */
typedef struct pel_host_pages {
    atomic_uint busy;
    atomic_bool full;              /* no feed is free: who has none need not look, nor wait for the others who do */
    pel_host_page *free, *all;
    const pel_allocator *allocator;
} pel_host_pages;

void pel_host_pages_free(pel_host_pages *pages); /* with the engine */

extern PEL_THREAD_LOCAL uint64_t pel_host_thread_number; /* of the calling thread, never again another's; 0: it has none yet */
/* Where it looks first. A guess: which feeds these are has to be asked. */
enum { PEL_HOST_USUAL_FEEDS = 4 };
extern PEL_THREAD_LOCAL uint8_t pel_host_usual_feeds[PEL_HOST_USUAL_FEEDS];
static inline uint8_t *pel_host_usual_feed(const void *of) {
    return &pel_host_usual_feeds[((uintptr_t)of >> 6 ^ (uintptr_t)of >> 12) % PEL_HOST_USUAL_FEEDS];
}

/* The calling thread's feed for `of` among these; one that nobody has becomes it. NULL: there is none any more. *fresh: the first
 * of its share. */
pel_host_feed *pel_host_feed_find(pel_host_feed *feeds, const void *of, pel_host_pages *pages, bool *fresh);
/* Nothing of `of` is under way any more: its feeds are free, their pages go back. */
void pel_host_feeds_close(pel_host_feed *feeds, uint32_t used, const void *of, pel_host_pages *pages);

/* By the producer, inside: room for a call of this stage and order, which does not follow the last one or has no place. False: no
 * memory. */
bool pel_host_feed_turn(pel_host_feed *feed, pel_host_pages *pages, void *stage, uint64_t order);

/* Bracket a submission: what is read between them is true until the end for whoever fences all processors before it looks. */
static inline void pel_host_feed_enter(pel_host_feed *feed) {
    atomic_store_explicit(&feed->inside, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}
static inline void pel_host_feed_leave(pel_host_feed *feed) { atomic_store_explicit(&feed->inside, 0, memory_order_release); }

/* Whether the next call can be written as it is. */
static inline bool pel_host_feed_follows(const pel_host_feed *feed, const void *stage, uint64_t order) {
    return feed->stage == stage && feed->order + 1 == order && feed->at != feed->end;
}

enum { PEL_HOST_FEED_AHEAD = 32 }; /* calls; lines that other cores wrote last take 50 ns and more to come */
static inline void pel_host_feed_write(pel_host_feed *feed, pel_task_fn function, void *context) {
    pel_host_call *call = feed->at;
    *call = (pel_host_call){function, context};
    pel_pool_fetch(call + PEL_HOST_FEED_AHEAD);
    feed->at = call + 1;
    feed->order++;
    atomic_store_explicit(&feed->put, atomic_load_explicit(&feed->put, memory_order_relaxed) + 1, memory_order_release);
}

/* A guess; the truth for whoever has fenced all processors since, or was told. */
static inline bool pel_host_feed_any(const pel_host_feed *feed) {
    pel_host_feed *f = (pel_host_feed *)(uintptr_t)feed;
    const uint64_t got = atomic_load_explicit(&f->got, memory_order_acquire);
    return atomic_load_explicit(&f->put, memory_order_acquire) != got;
}

/* Moves up to `most` calls of one stage into a group, which is the caller's and empty; returns how many. 0 also when another
 * consumer is at it. */
uint32_t pel_host_feed_take(pel_host_feed *feed, pel_host_group *group, uint32_t most);
/* Takes complete pages, in order, which are the caller's then; returns how many. */
uint32_t pel_host_feed_take_pages(pel_host_feed *feed, pel_host_page **pages, uint32_t most);
/* Likewise from such a page. *rest: it has more; else it has gone back, and is not the caller's any more. */
uint32_t pel_host_page_take(pel_host_page *page, pel_host_group *group, uint32_t most, bool *rest);

#endif
