/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/feed.h"

#include <sched.h>

enum { MARK = 2, CALLS_A_LINE = 4, FETCHED_FIRST = PEL_HOST_FEED_AHEAD };

PEL_THREAD_LOCAL uint64_t pel_host_thread_number;
PEL_THREAD_LOCAL uint8_t pel_host_usual_feeds[PEL_HOST_USUAL_FEEDS];

static void lock(atomic_uint *flag) {
    while (atomic_exchange_explicit(flag, 1, memory_order_acquire) != 0) {
        sched_yield();
    }
}

static void unlock(atomic_uint *flag) { atomic_store_explicit(flag, 0, memory_order_release); }

/* ---- who has which ---- */

static uint64_t my_number(void) {
    static _Atomic uint64_t last;
    if (pel_host_thread_number == 0) {
        pel_host_thread_number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    }
    return pel_host_thread_number;
}

/* A free feed was emptied by whoever closed it. */
static pel_host_feed *claim(pel_host_feed *feeds, const void *of, pel_host_pages *pages, bool *fresh) {
    uint32_t free = PEL_HOST_FEEDS, share = PEL_HOST_FEEDS;
    for (uint32_t i = 0; i < PEL_HOST_FEEDS; i++) {
        const bool taken = atomic_load_explicit(&feeds[i].producer, memory_order_relaxed) != 0;
        if (taken && atomic_load_explicit(&feeds[i].of, memory_order_relaxed) == of) {
            share = atomic_load_explicit(&feeds[i].share, memory_order_relaxed);
        }
        free = !taken && free == PEL_HOST_FEEDS ? i : free;
    }
    if (free == PEL_HOST_FEEDS) {
        atomic_store_explicit(&pages->full, true, memory_order_relaxed);
        return NULL;
    }
    *fresh = share == PEL_HOST_FEEDS;
    atomic_store_explicit(&feeds[free].share, *fresh ? free : share, memory_order_relaxed);
    atomic_store_explicit(&feeds[free].producer, pel_host_thread_number, memory_order_relaxed);
    atomic_store_explicit(&feeds[free].of, of, memory_order_seq_cst);
    return &feeds[free];
}

pel_host_feed *pel_host_feed_find(pel_host_feed *feeds, const void *of, pel_host_pages *pages, bool *fresh) {
    const bool full = atomic_load_explicit(&pages->full, memory_order_relaxed);
    pel_host_feed *feed = NULL;
    *fresh = false;
    if (full && pel_host_thread_number == 0) {
        return NULL;
    }
    const uint64_t me = my_number();
    for (uint32_t i = 0; i < PEL_HOST_FEEDS && !feed; i++) {
        const bool mine = atomic_load_explicit(&feeds[i].producer, memory_order_relaxed) == me &&
                          atomic_load_explicit(&feeds[i].of, memory_order_relaxed) == of;
        feed = mine ? &feeds[i] : NULL;
    }
    if (!feed && !full) {
        lock(&pages->busy);
        feed = claim(feeds, of, pages, fresh);
        unlock(&pages->busy);
    }
    if (feed) {
        *pel_host_usual_feed(of) = (uint8_t)(feed - feeds);
    }
    return feed;
}

static void give_all(pel_host_pages *pages, pel_host_page *list) {
    for (pel_host_page *next; list; list = next) {
        next = atomic_load_explicit(&list->next, memory_order_relaxed);
        atomic_store_explicit(&list->next, pages->free, memory_order_relaxed);
        pages->free = list;
    }
}

/* With the pages. The producer may be anywhere but inside. Consumers look at `put` and `got`, which stay as they are, and at
 * nothing else. */
static void empty(pel_host_feed *feed, pel_host_pages *pages) {
    lock(&feed->draining);
    give_all(pages, feed->head); /* the producer's page among them: it is the last one */
    give_all(pages, feed->spare);
    give_all(pages, atomic_exchange_explicit(&feed->returned, NULL, memory_order_acquire));
    feed->head = feed->page = feed->spare = NULL;
    feed->at = feed->end = NULL;
    feed->stage = NULL;
    unlock(&feed->draining);
}

void pel_host_feeds_close(pel_host_feed *feeds, uint32_t used, const void *of, pel_host_pages *pages) {
    lock(&pages->busy);
    for (uint32_t i = 0; i < used; i++) {
        if (atomic_load_explicit(&feeds[i].of, memory_order_acquire) == of) {
            empty(&feeds[i], pages);
            atomic_store_explicit(&feeds[i].of, NULL, memory_order_relaxed);
            atomic_store_explicit(&feeds[i].producer, 0, memory_order_relaxed);
            atomic_store_explicit(&pages->full, false, memory_order_relaxed);
        }
    }
    unlock(&pages->busy);
}

/* ---- pages ---- */

void pel_host_pages_free(pel_host_pages *pages) {
    for (pel_host_page *next; pages->all; pages->all = next) {
        next = pages->all->all;
        pel_free(pages->allocator, pages->all);
    }
    pages->free = NULL;
}

static pel_host_page *take_page(pel_host_feed *feed, pel_host_pages *pages) {
    pel_host_page *page =
        feed->spare ? feed->spare : atomic_exchange_explicit(&feed->returned, NULL, memory_order_acquire);
    if (page) {
        feed->spare = atomic_load_explicit(&page->next, memory_order_relaxed);
        return page;
    }
    lock(&pages->busy);
    page = pages->free;
    if (page) {
        pages->free = atomic_load_explicit(&page->next, memory_order_relaxed);
    } else if ((page = pel_alloc(pages->allocator, sizeof *page)) != NULL) {
        page->all = pages->all;
        pages->all = page;
    }
    unlock(&pages->busy);
    return page;
}

/* Consumers follow the link as soon as `put` says that there is something behind it. */
static bool next_page(pel_host_feed *feed, pel_host_pages *pages, void *stage, uint64_t order) {
    pel_host_page *page = take_page(feed, pages);
    if (!page) {
        return false;
    }
    for (uint32_t i = 0; i < FETCHED_FIRST; i += CALLS_A_LINE) {
        pel_pool_fetch(&page->calls[i]);
    }
    atomic_store_explicit(&page->next, NULL, memory_order_relaxed);
    page->feed = feed;
    page->stage = feed->stage = stage;
    page->order = order;
    feed->order = order - 1;
    page->taken = 0;
    page->at = page->calls;
    const uint64_t put = atomic_load_explicit(&feed->put, memory_order_relaxed);
    if (feed->page) {
        feed->page->filled = (uint32_t)(put - feed->began);
        atomic_store_explicit(&feed->page->next, page, memory_order_release);
    } else { /* nobody takes from an empty feed: whoever reads this has seen `put` change after it */
        feed->head = page;
    }
    feed->page = page;
    feed->began = put;
    feed->at = page->calls;
    feed->end = page->calls + PEL_HOST_PAGE_CALLS;
    return true;
}

static void write_mark(pel_host_feed *feed, void *stage, uint64_t order) {
    feed->at[0] = (pel_host_call){NULL, stage};
    feed->at[1] = (pel_host_call){NULL, (void *)(uintptr_t)order};
    feed->at += MARK;
    feed->stage = stage;
    feed->order = order - 1;
}

/* A mark is published with what follows it: whoever knows that there is more finds a call. A page is left early where a mark has
 * no place. */
bool pel_host_feed_turn(pel_host_feed *feed, pel_host_pages *pages, void *stage, uint64_t order) {
    const bool follows = feed->stage == stage && feed->order + 1 == order;
    const long wanted = follows ? 1 : MARK + 1, left = feed->at ? feed->end - feed->at : 0;
    if (left < wanted) {
        return next_page(feed, pages, stage, order);
    }
    if (!follows) {
        write_mark(feed, stage, order);
    }
    return true;
}

/* ---- to take ---- */

/* It is empty, complete, and the caller's. */
static void give_back(pel_host_page *page) {
    pel_host_feed *feed = page->feed;
    pel_host_page *first = atomic_load_explicit(&feed->returned, memory_order_relaxed);
    do {
        atomic_store_explicit(&page->next, first, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&feed->returned, &first, page, memory_order_release, memory_order_relaxed));
}

/* Another core wrote them: one after the other that takes longer than to run them. */
static void fetch(const pel_host_page *page, uint32_t count) {
    for (uint32_t i = 0; i < count; i += CALLS_A_LINE) {
        __builtin_prefetch(page->at + i);
    }
}

/* There is a call: page->at is where, after this. False: it belongs to another stage than the ones before. */
static bool skip_marks(pel_host_page *page, bool may_change) {
    while (!page->at->function) {
        if (!may_change) {
            return false;
        }
        page->stage = page->at[0].context;
        page->order = (uint64_t)(uintptr_t)page->at[1].context;
        page->at += MARK;
    }
    return true;
}

/* Of `wanted` calls that the page has. A group is of one stage, and its places follow each other. */
static uint32_t take(pel_host_page *page, pel_host_group *group, uint32_t wanted) {
    uint32_t count = 0;
    fetch(page, wanted);
    while (count < wanted && skip_marks(page, count == 0)) {
        if (count == 0) {
            group->of = page->stage;
            group->order = page->order;
        }
        group->calls[count++] = *page->at++;
    }
    page->taken += count;
    page->order += count;
    return count;
}

uint32_t pel_host_page_take(pel_host_page *page, pel_host_group *group, uint32_t most, bool *rest) {
    const uint32_t there = page->filled - page->taken;
    const uint32_t count = take(page, group, there < most ? there : most);
    *rest = count < there;
    if (*rest) {
        fetch(page, there - count < most ? there - count : most); /* while these are run */
    } else {
        give_back(page);
    }
    return count;
}

/* True: the feed has something, and the caller has the flag. */
static bool begin_draining(pel_host_feed *feed) {
    return pel_host_feed_any(feed) && atomic_load_explicit(&feed->draining, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&feed->draining, 1, memory_order_acquire) == 0;
}

static void took(pel_host_feed *feed, uint32_t count) {
    atomic_store_explicit(&feed->got, atomic_load_explicit(&feed->got, memory_order_relaxed) + count, memory_order_release);
}

/* What the head has, which is the first page that has any; 0: nothing has been put that was not taken. */
static uint32_t look_at_head(pel_host_feed *feed, bool *complete) {
    const uint64_t there = atomic_load_explicit(&feed->put, memory_order_acquire) -
                           atomic_load_explicit(&feed->got, memory_order_relaxed);
    while (there > 0) {
        pel_host_page *page = feed->head, *next = atomic_load_explicit(&page->next, memory_order_acquire);
        *complete = next != NULL;
        if (!next || page->taken < page->filled) {
            return next ? page->filled - page->taken : (uint32_t)there;
        }
        feed->head = next;
        give_back(page);
    }
    return 0;
}

uint32_t pel_host_feed_take(pel_host_feed *feed, pel_host_group *group, uint32_t most) {
    uint32_t count = 0;
    if (begin_draining(feed)) {
        bool complete = false;
        const uint32_t there = look_at_head(feed, &complete);
        count = there > 0 ? take(feed->head, group, there < most ? there : most) : 0;
        took(feed, count);
        unlock(&feed->draining);
    }
    return count;
}

uint32_t pel_host_feed_take_pages(pel_host_feed *feed, pel_host_page **pages, uint32_t most) {
    uint32_t count = 0;
    if (begin_draining(feed)) {
        for (bool complete = false; count < most; count++) {
            const uint32_t there = look_at_head(feed, &complete);
            if (there == 0 || !complete) {
                break;
            }
            pages[count] = feed->head;
            feed->head = atomic_load_explicit(&feed->head->next, memory_order_acquire);
            took(feed, there);
        }
        unlock(&feed->draining);
    }
    return count;
}
