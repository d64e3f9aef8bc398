/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls on their way from feeds to whoever makes them: feeds of the engine, what a runner takes from them, and the groups in
 * which it makes them (feed.h, group.h). Where calls are short a runner takes whole pages, which stand in its deque like items,
 * as odd addresses: so what it has not begun, others can steal. Where they are longer, or queues compete, it takes no more than
 * it will make at once.
 */
#include "backend/host/host.h"
#include "base/barrier.h"

#include <sched.h>

enum {
    PAGES_AT_ONCE = 16,
    STAY = 64 /* looks at feeds that begin with the same one: who never leaves one that is always full shuts the others out */
};

/* ---- feeds ---- */

pel_host_feed *pel_host_feed_open(pel_host_tasks *tasks, const void *of, uint32_t weight) {
    bool fresh;
    pel_host_feed *feed = pel_host_feed_find(tasks->feeds, of, &tasks->pages, &fresh);
    if (feed) {
        const uint32_t index = (uint32_t)(feed - tasks->feeds);
        if (fresh) {
            pel_host_share_come(&tasks->shares, index, weight);
        }
        if (feed->shard == 0) {
            feed->shard = atomic_fetch_add(&tasks->shards_used, 1);
        }
        uint32_t used = atomic_load_explicit(&tasks->feeds_used, memory_order_relaxed);
        while (used <= index && !atomic_compare_exchange_weak_explicit(&tasks->feeds_used, &used, index + 1, memory_order_seq_cst,
                                                                       memory_order_relaxed)) {
        }
        /* who makes a stage current, or is about to sleep, sees the feed, or this thread sees the stage, or the sleeper */
        atomic_thread_fence(memory_order_seq_cst);
    }
    return feed;
}

void pel_host_feed_close(pel_host_tasks *tasks, const void *of) {
    pel_host_feeds_close(tasks->feeds, atomic_load(&tasks->feeds_used), of, &tasks->pages);
}

void pel_host_feeds_settle(pel_host_tasks *tasks, const void *of) {
    atomic_thread_fence(memory_order_seq_cst);
    const uint32_t used = atomic_load_explicit(&tasks->feeds_used, memory_order_seq_cst);
    bool fenced = false;
    for (uint32_t i = 0; i < used; i++) {
        pel_host_feed *feed = &tasks->feeds[i];
        if (atomic_load_explicit(&feed->of, memory_order_acquire) != of ||
            atomic_load_explicit(&feed->producer, memory_order_relaxed) == pel_host_thread_number) {
            continue;
        }
        if (!fenced) {
            pel_barrier_heavy();
            fenced = true;
        }
        while (atomic_load_explicit(&feed->inside, memory_order_acquire) != 0) {
            sched_yield();
        }
    }
}

void pel_host_wake_for_feed(pel_host_tasks *tasks) {
    atomic_thread_fence(memory_order_seq_cst);
    pel_host_wake_if_needed(tasks);
}

bool pel_host_feeds_have(const pel_host_tasks *tasks) {
    const uint32_t used = atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->feeds_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        if (pel_host_feed_any(&tasks->feeds[i])) {
            return true;
        }
    }
    return false;
}

/*
 * With the group of another that stands still, or NULL: the rest of its own, of which a task waits further down on this stack, or
 * which it took from another. What stood still may be over for long, and the queue gone: whoever takes the queue away waits for
 * `running`, so first that, then a look.
 */
static bool go(pel_host_runner *runner, pel_host_group *from) {
    const pel_host_tasks *tasks = runner->tasks;
    const bool outer = atomic_exchange_explicit(&runner->running, true, memory_order_seq_cst);
    const bool went = pel_host_group_any(from ? from : &runner->group) &&
                      (from ? tasks->relieve(runner, from) : tasks->go_on(runner));
    atomic_store_explicit(&runner->running, outer, memory_order_release);
    return went;
}

bool pel_host_runner_go_on(pel_host_runner *runner) { return pel_host_group_rest(&runner->group) > 0 && go(runner, NULL); }

bool pel_host_runner_relieve(pel_host_runner *runner) {
    const bool stuck = runner->stuck && pel_host_group_rest(&runner->group) == 0;
    runner->stuck = false;
    return stuck && go(runner, &runner->tasks->runners[runner->watched].group);
}

/* ---- calls ---- */

static uint32_t group_size(const pel_host_runner *runner) { return runner->most > 0 ? runner->most : 1; }

/* The first calls of it; what is left can be reached by others meanwhile. */
void pel_host_runner_run_page(pel_host_runner *runner, pel_host_page *page) {
    bool rest;
    if (pel_host_group_rest(&runner->group) > 0) { /* of a task that waits below on this stack: it has the place */
        pel_host_push_page(runner, page, true);
        pel_host_wake_if_needed(runner->tasks);
        (void)go(runner, NULL);
        return;
    }
    const bool outer = atomic_exchange_explicit(&runner->running, true, memory_order_seq_cst);
    const uint32_t count = pel_host_page_take(page, &runner->group, group_size(runner), &rest);
    if (rest) {
        pel_host_push_page(runner, page, true);
        pel_host_wake_if_needed(runner->tasks);
    }
    pel_host_runner_open(runner, count);
    (void)runner->tasks->make(runner, count);
    atomic_store_explicit(&runner->running, outer, memory_order_release);
}

/* Where calls are short, whole pages; their owner takes them in order. */
static bool take_pages(pel_host_runner *runner, pel_host_feed *feed) {
    pel_host_page *pages[PAGES_AT_ONCE];
    const bool room = (uint32_t)pel_host_deque_count(&runner->deque) + PAGES_AT_ONCE < PEL_HOST_DEQUE_SLOTS;
    const uint32_t count =
        room && runner->most == PEL_HOST_GROUP_MOST ? pel_host_feed_take_pages(feed, pages, PAGES_AT_ONCE) : 0;
    for (uint32_t k = count; k > 1; k--) {
        pel_host_push_page(runner, pages[k - 1], k == 2);
    }
    if (count > 0) {
        pel_host_wake_if_needed(runner->tasks);
        pel_host_runner_run_page(runner, pages[0]);
    }
    return count > 0;
}

/* As many as should last some microseconds by what this runner's last ones took. */
static bool take_calls(pel_host_runner *runner, pel_host_feed *feed, bool charged) {
    pel_host_tasks *tasks = runner->tasks;
    const bool outer = atomic_exchange_explicit(&runner->running, true, memory_order_seq_cst);
    const uint32_t count = pel_host_feed_take(feed, &runner->group, group_size(runner));
    if (count > 0) { /* the queue may be gone once they are made */
        const uint32_t share = atomic_load_explicit(&feed->share, memory_order_relaxed);
        const uint32_t comer = pel_host_share_comer(&tasks->shares, share);
        pel_host_runner_open(runner, count);
        const int64_t took = tasks->make(runner, count);
        if (charged) {
            pel_host_share_charge(&tasks->shares, share, comer, took);
        }
    }
    atomic_store_explicit(&runner->running, outer, memory_order_release);
    return count > 0;
}

bool pel_host_runner_take_calls(pel_host_runner *runner) {
    pel_host_tasks *tasks = runner->tasks;
    const uint32_t used = atomic_load_explicit(&tasks->feeds_used, memory_order_relaxed);
    if (used > 0 && pel_host_group_rest(&runner->group) > 0) {
        return false;
    }
    bool competes;
    const uint32_t first = used > 0 ? (runner->index + runner->ticks / STAY) % used : 0;
    pel_host_feed *feed = pel_host_share_choose(&tasks->shares, tasks->feeds, used, first, &competes);
    return feed && ((!competes && take_pages(runner, feed)) || take_calls(runner, feed, competes));
}
