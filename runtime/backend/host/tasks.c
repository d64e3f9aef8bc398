/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/host.h"
#include "base/thread_local.h"

#include "base/alloc.h"
#include "base/barrier.h"
#include "base/clock.h"

#include <sched.h>

enum {
    OUTSIDE_FIRST = 64, /* every so often lanes go before the own deque, so that tasks that make tasks do not shut others out */
    FEEDS_FIRST = 8,    /* the same for feeds, whose calls are taken many at once */
    CHAIN_LIMIT = 64    /* tasks run one after the other before the worker looks at anything else */
};

static PEL_THREAD_LOCAL pel_host_runner *current;
PEL_THREAD_LOCAL uint32_t pel_host_usual_lane;

pel_host_runner *pel_host_runner_current(const pel_host_tasks *tasks) {
    pel_host_runner *runner = current;
    return runner && runner->tasks == tasks ? runner : NULL;
}

pel_host_runner *pel_host_runner_enter(pel_host_runner *runner) {
    pel_host_runner *before = current;
    current = runner;
    atomic_store_explicit(&runner->clock, pel_clock_of_this_thread(), memory_order_relaxed);
    return before;
}

void pel_host_runner_leave(pel_host_runner *before) { current = before; }

/* Counters are summed by whoever waits: so only those that were ever used have one. */
static void number(pel_host_tasks *tasks, pel_host_self *self) {
    if (self->shard == 0) {
        self->shard = atomic_fetch_add(&tasks->shards_used, 1);
    }
}

/* Before something is pushed there: who must see that reads this first, with sequential consistency. */
static void raise_to(atomic_uint *used, uint32_t to) {
    uint32_t before = atomic_load_explicit(used, memory_order_relaxed);
    while (before < to && !atomic_compare_exchange_weak_explicit(used, &before, to, memory_order_seq_cst, memory_order_relaxed)) {
    }
}

pel_host_runner *pel_host_guest_enter(pel_host_tasks *tasks, pel_host_runner **before) {
    for (uint32_t i = tasks->worker_count; i < tasks->runner_count; i++) {
        pel_host_runner *runner = &tasks->runners[i];
        if (!atomic_load_explicit(&runner->taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&runner->taken, true, memory_order_acquire)) {
            *before = pel_host_runner_enter(runner);
            number(tasks, &runner->self);
            raise_to(&tasks->runners_used, i + 1);
            return runner;
        }
    }
    return NULL;
}

/* What is left in its deque stays there for thieves, who look at guests' runners whether they are taken or not. */
void pel_host_guest_leave(pel_host_runner *runner, pel_host_runner *before) {
    pel_host_runner_leave(before);
    atomic_store_explicit(&runner->taken, false, memory_order_release);
}

void pel_host_wake_if_needed(pel_host_tasks *tasks) {
    if (tasks->invite) {
        tasks->invite(tasks->invite_host);
    }
    if (atomic_load_explicit(&tasks->looking, memory_order_seq_cst) == 0 &&
        atomic_load_explicit(&tasks->asleep, memory_order_seq_cst) > 0) {
        tasks->wake(tasks->device);
    }
}

void pel_host_entry_begin(pel_host_tasks *tasks) { number(tasks, &tasks->entry.self); }

pel_host_lane *pel_host_lane_claimed(pel_host_tasks *tasks, uint32_t index) {
    pel_host_usual_lane = index;
    number(tasks, &tasks->lanes[index].self);
    raise_to(&tasks->lanes_used, index + 1);
    return &tasks->lanes[index];
}

pel_host_lane *pel_host_lane_claim_other(pel_host_tasks *tasks) {
    for (uint32_t first = pel_host_usual_lane;; sched_yield()) {
        for (uint32_t i = 0; i < PEL_HOST_LANES; i++) {
            uint32_t index = (first + i) % PEL_HOST_LANES;
            if (pel_host_lane_try_claim(&tasks->lanes[index])) {
                return pel_host_lane_claimed(tasks, index);
            }
        }
    }
}

void pel_host_wake_for_lane(pel_host_tasks *tasks, bool sleepers) {
    if (sleepers) {
        tasks->wake(tasks->device);
    }
    if (tasks->invite) {
        tasks->invite(tasks->invite_host);
    }
}

void pel_host_runner_push(pel_host_runner *runner, pel_host_item *item) {
    pel_host_tasks *tasks = runner->tasks;
    if (pel_host_deque_push(&runner->deque, (uintptr_t)item, true)) {
        pel_host_wake_if_needed(tasks);
        return;
    }
    pel_host_lane *lane = pel_host_lane_claim(tasks);
    pel_host_lane_push(lane, item);
    pel_host_lane_give_back(tasks, lane, true);
}

void pel_host_runner_open(pel_host_runner *runner, uint32_t count) {
    pel_host_group_open(&runner->group, count);
    if (count > 1) {
        pel_host_wake_if_needed(runner->tasks);
    }
}

/* Between its leaving the other group and this opening nobody could see them: so it tells, too. */
uint32_t pel_host_runner_halve(pel_host_runner *runner, pel_host_group *from) {
    const uint32_t count = pel_host_group_steal(from, &runner->group);
    if (count > 1) {
        pel_host_wake_if_needed(runner->tasks);
    }
    return count;
}

static bool stands_still(const pel_host_runner *runner, const pel_host_group *group) {
    return pel_host_group_rest(group) > 0 &&
           atomic_load_explicit(&((pel_host_group *)(uintptr_t)group)->next, memory_order_relaxed) == runner->watched_next;
}

/* One that moves does not hide others that do not: the next one is watched. */
bool pel_host_runner_sees_stuck(pel_host_runner *runner) {
    const pel_host_tasks *tasks = runner->tasks;
    const uint32_t others = tasks->runner_count - 1;
    runner->stuck = runner->watched != runner->index && stands_still(runner, &tasks->runners[runner->watched].group);
    if (runner->stuck) {
        return true;
    }
    for (uint32_t i = 0; i < others; i++) {
        runner->look = runner->look + 1 < others ? runner->look + 1 : 0;
        const uint32_t victim = runner->victims[runner->look];
        const pel_host_group *group = &tasks->runners[victim].group;
        if (pel_host_group_rest(group) > 0) {
            runner->watched = victim;
            runner->watched_next = atomic_load_explicit(&((pel_host_group *)(uintptr_t)group)->next, memory_order_relaxed);
            return false;
        }
    }
    runner->watched = runner->index;
    return false;
}

/* Where a runner begins: a guest at the lane where its thread submits, because it waits for what is there. */
static uint32_t first_lane(const pel_host_runner *runner, uint32_t used) {
    return used < 2 ? 0 : (runner->index < runner->tasks->worker_count ? runner->index : pel_host_usual_lane) % used;
}

pel_host_item *pel_host_runner_catch(pel_host_runner *runner, uint32_t *offers) {
    pel_host_tasks *tasks = runner->tasks;
    const uint32_t used = atomic_load_explicit(&tasks->lanes_used, memory_order_relaxed), first = first_lane(runner, used);
    pel_host_item *item = NULL;
    *offers = 0;
    for (uint32_t i = 0; i < used && !item; i++) {
        pel_host_lane *lane = &tasks->lanes[first + i < used ? first + i : first + i - used];
        item = pel_host_lane_take_offer(lane);
        *offers += atomic_load_explicit(&lane->offers, memory_order_relaxed);
    }
    return item;
}

bool pel_host_still_offered(const pel_host_tasks *tasks, const pel_host_item *item) {
    return atomic_load_explicit(&tasks->lanes[pel_host_usual_lane].offer, memory_order_relaxed) == item;
}

pel_host_item *pel_host_take_back(pel_host_tasks *tasks) { return pel_host_lane_take_offer(&tasks->lanes[pel_host_usual_lane]); }

/*
 * The first of a batch is returned, the others go to the deque so that the owner takes them in order. Every so often the list
 * goes before the offer: who submits faster than tasks are run would shut out what is in it.
 */
static pel_host_item *take_from_lanes(pel_host_runner *runner) {
    pel_host_tasks *tasks = runner->tasks;
    pel_host_item *items[PEL_HOST_BATCH];
    const uint32_t used = atomic_load_explicit(&tasks->lanes_used, memory_order_relaxed), first = first_lane(runner, used);
    const bool list_first = runner->ticks % OUTSIDE_FIRST == 0;
    for (uint32_t i = 0; i < used; i++) {
        pel_host_lane *lane = &tasks->lanes[first + i < used ? first + i : first + i - used];
        const bool waits = list_first && atomic_load_explicit(&lane->head, memory_order_relaxed);
        pel_host_item *offered = waits ? NULL : pel_host_lane_take_offer(lane);
        if (offered) {
            if (pel_host_lane_any(lane)) {
                pel_host_wake_if_needed(tasks);
            }
            return offered;
        }
        uint32_t room = PEL_HOST_DEQUE_SLOTS - (uint32_t)pel_host_deque_count(&runner->deque);
        uint32_t count = pel_host_lane_take(lane, items, room < PEL_HOST_BATCH ? room + 1 : PEL_HOST_BATCH);
        if (count == 0) {
            continue;
        }
        for (uint32_t k = count - 1; k > 0; k--) {
            (void)pel_host_deque_push(&runner->deque, (uintptr_t)items[runner->oldest_first ? count - k : k], k == 1);
        }
        if (count > 1 || pel_host_lane_any(lane)) {
            pel_host_wake_if_needed(tasks);
        }
        return items[0];
    }
    return NULL;
}

static pel_host_item *steal(pel_host_runner *runner) {
    pel_host_tasks *tasks = runner->tasks;
    for (uint32_t i = 0; i + 1 < tasks->runner_count; i++) {
        uintptr_t item = pel_host_deque_steal(&tasks->runners[runner->victims[i]].deque);
        if (item != 0) {
            return (pel_host_item *)item;
        }
    }
    return NULL;
}

/* Not within a task that waits: there the youngest is wanted, which may be what is waited for. */
static bool takes_oldest(const pel_host_runner *runner) {
    return runner->oldest_first && !atomic_load_explicit(&runner->running, memory_order_relaxed);
}

static pel_host_item *own_item(pel_host_runner *runner) {
    pel_host_item *item = NULL;
    if (++runner->ticks % OUTSIDE_FIRST == 0) {
        item = take_from_lanes(runner);
    }
    if (!item && takes_oldest(runner)) {
        item = (pel_host_item *)pel_host_deque_steal(&runner->deque);
    }
    return item ? item : (pel_host_item *)pel_host_deque_take(&runner->deque);
}

static pel_host_item *any_item(pel_host_runner *runner) {
    pel_host_item *item = take_from_lanes(runner);
    return item ? item : steal(runner);
}

void pel_host_runner_run(pel_host_runner *runner, pel_host_item *item) {
    if (pel_host_is_page(item)) {
        pel_host_runner_run_page(runner, pel_host_page_of(item));
        return;
    }
    const pel_host_tasks *tasks = runner->tasks;
    const bool outer = atomic_load_explicit(&runner->running, memory_order_relaxed); /* a task that waits */
    atomic_store_explicit(&runner->running, true, memory_order_relaxed);
    uint32_t ran = 0;
    while (item) {
        item = tasks->run(runner, item);
        const bool older = runner->oldest_first && !outer && pel_host_deque_count(&runner->deque) > 0;
        if (item && (ran == CHAIN_LIMIT || older)) {
            pel_host_runner_push(runner, item);
            item = NULL;
        }
        ran++;
    }
    atomic_store_explicit(&runner->ran, atomic_load_explicit(&runner->ran, memory_order_relaxed) + ran, memory_order_relaxed);
    atomic_store_explicit(&runner->running, outer, memory_order_release);
}

bool pel_host_runner_work(pel_host_runner *runner) {
    if (runner->ticks % FEEDS_FIRST == 0 && pel_host_runner_take_calls(runner)) {
        runner->ticks++;
        return true;
    }
    pel_host_item *item = own_item(runner);
    if (!item && pel_host_runner_go_on(runner)) {
        return true;
    }
    item = item ? item : any_item(runner);
    if (item) {
        pel_host_runner_run(runner, item);
    }
    return item || pel_host_runner_take_calls(runner) || pel_host_runner_relieve(runner);
}

void pel_host_runner_hand_over(pel_host_runner *runner) {
    uintptr_t item = pel_host_deque_take(&runner->deque);
    pel_host_page *pages = NULL;
    if (item == 0) {
        return;
    }
    pel_host_lane *lane = pel_host_lane_claim(runner->tasks);
    for (; item != 0; item = pel_host_deque_take(&runner->deque)) {
        if (pel_host_is_page((pel_host_item *)item)) {
            pel_host_page *page = pel_host_page_of((pel_host_item *)item);
            atomic_store_explicit(&page->next, pages, memory_order_relaxed);
            pages = page;
        } else {
            pel_host_lane_push(lane, (pel_host_item *)item);
        }
    }
    for (; pages; pages = atomic_load_explicit(&pages->next, memory_order_relaxed)) { /* they stay: thieves look there, too */
        pel_host_push_page(runner, pages, true);
    }
    pel_host_lane_give_back(runner->tasks, lane, true);
}

uint32_t pel_host_tasks_visits(const pel_host_tasks *tasks) {
    const uint32_t used = atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->lanes_used, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->entry.visits, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        count += atomic_load_explicit(&tasks->lanes[i].visits, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->feeds_used, memory_order_relaxed); i++) {
        count += (uint32_t)atomic_load_explicit(&tasks->feeds[i].put, memory_order_relaxed);
    }
    return count;
}

uint32_t pel_host_tasks_ran_by_others(const pel_host_runner *runner) {
    const pel_host_tasks *tasks = runner->tasks;
    uint32_t count = 0;
    for (uint32_t i = 0; i < tasks->runner_count; i++) {
        count += i != runner->index ? atomic_load_explicit(&tasks->runners[i].ran, memory_order_relaxed) : 0;
    }
    return count;
}

int64_t pel_host_tasks_processor_ns(const pel_host_tasks *tasks) {
    const uint32_t used = atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->runners_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        pel_clock_settle(atomic_load_explicit(&tasks->runners[i].clock, memory_order_relaxed));
    }
    return pel_clock_now(&pel_clock_process);
}

bool pel_host_tasks_have_guest(const pel_host_tasks *tasks) {
    for (uint32_t i = tasks->worker_count; i < tasks->runner_count; i++) {
        if (atomic_load_explicit(&tasks->runners[i].taken, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

uint32_t pel_host_tasks_running(const pel_host_tasks *tasks) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < tasks->worker_count; i++) {
        count += atomic_load_explicit(&tasks->runners[i].running, memory_order_relaxed);
    }
    return count;
}

bool pel_host_runner_sees_work(const pel_host_runner *runner) {
    const pel_host_tasks *tasks = runner->tasks;
    uint32_t used = atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->lanes_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        if (pel_host_lane_any(&tasks->lanes[i])) {
            return true;
        }
    }
    const uint32_t runners = atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->runners_used, memory_order_relaxed);
    for (uint32_t i = 0; i < runners; i++) {
        if (pel_host_deque_count(&tasks->runners[i].deque) > 0) {
            return true;
        }
    }
    return pel_host_feeds_have(tasks);
}

/* But for feeds whose producer may have pushed just now without seeing a sleeper that has fenced. */
static bool any_for_who_looked(pel_host_tasks *tasks) {
    uint32_t used = atomic_load_explicit(&tasks->lanes_used, memory_order_seq_cst);
    for (uint32_t i = 0; i < used; i++) {
        if (pel_host_lane_any_for_sure(&tasks->lanes[i])) {
            return true;
        }
    }
    const uint32_t runners = atomic_load_explicit(&tasks->runners_used, memory_order_seq_cst);
    for (uint32_t i = 0; i < runners; i++) {
        if (pel_host_deque_any(&tasks->runners[i].deque) || pel_host_group_any(&tasks->runners[i].group)) {
            return true;
        }
    }
    return pel_host_feeds_have(tasks);
}

bool pel_host_tasks_any_for_sure(pel_host_tasks *tasks) {
    if (atomic_load_explicit(&tasks->feeds_used, memory_order_seq_cst) > 0) {
        pel_barrier_heavy();
    }
    return any_for_who_looked(tasks);
}

static uint32_t looker(bool worker) { return worker ? PEL_HOST_LOOKER + 1 : 1; }

void pel_host_look_begin(pel_host_tasks *tasks, bool worker) {
    atomic_fetch_add_explicit(&tasks->looking, looker(worker), memory_order_seq_cst);
}

/* Not where nobody could come. */
void pel_host_look_back(pel_host_tasks *tasks) {
    if (atomic_load_explicit(&tasks->asleep, memory_order_seq_cst) > 0) {
        if (atomic_load_explicit(&tasks->feeds_used, memory_order_seq_cst) > 0) {
            atomic_thread_fence(memory_order_seq_cst); /* who saw it look has fenced, too, after its push to a feed */
        }
        if (any_for_who_looked(tasks)) {
            tasks->wake(tasks->device);
        }
    }
}

/* Submitters relied on it: if it was the last, it looks after what they left, unless it will look anyway. */
void pel_host_look_stop(pel_host_tasks *tasks, bool worker) {
    const uint32_t one = looker(worker);
    if (atomic_fetch_sub_explicit(&tasks->looking, one, memory_order_seq_cst) == one) {
        pel_host_look_back(tasks);
    }
}

void pel_host_lanes_settle(pel_host_tasks *tasks) {
    uint32_t used = atomic_load_explicit(&tasks->lanes_used, memory_order_seq_cst);
    for (uint32_t i = 0; i < used; i++) {
        (void)pel_host_lane_any_for_sure(&tasks->lanes[i]);
    }
}

/* By number, until the device knows better (near.c). Guests last: nobody knows where they are. */
static void order_victims(pel_host_tasks *tasks) {
    uint32_t others = tasks->runner_count - 1, workers = tasks->worker_count;
    for (uint32_t i = 0; i < tasks->runner_count; i++) {
        uint16_t *list = tasks->victims + (size_t)i * others;
        uint32_t count = 0;
        for (uint32_t k = 1; k < workers + (i >= workers ? 1u : 0u); k++) {
            list[count++] = (uint16_t)((i + k) % workers);
        }
        for (uint32_t k = workers; k < tasks->runner_count; k++) {
            if (k != i) {
                list[count++] = (uint16_t)k;
            }
        }
        tasks->runners[i].victims = list;
    }
}

pel_status pel_host_tasks_init(pel_host_tasks *tasks, const pel_allocator *allocator, uint32_t workers,
                               void (*wake)(void *device), void *device) {
    uint32_t runners = workers + PEL_HOST_GUESTS;
    size_t bytes = runners * sizeof(pel_host_runner) + PEL_HOST_LANES * sizeof(pel_host_lane) +
                   PEL_HOST_FEEDS * sizeof(pel_host_feed);
    tasks->block = pel_alloc_zero(allocator, 1, bytes + PEL_LINE_PAIR - 1);
    tasks->victims = pel_alloc_zero(allocator, (size_t)runners * (runners - 1), sizeof *tasks->victims);
    if (!tasks->block || !tasks->victims) {
        pel_host_tasks_free(tasks, allocator);
        return PEL_OUT_OF_MEMORY;
    }
    tasks->runners = (pel_host_runner *)(((uintptr_t)tasks->block + 63) & ~(uintptr_t)63);
    const uintptr_t behind = (uintptr_t)(tasks->runners + runners);
    tasks->lanes = (pel_host_lane *)((behind + PEL_LINE_PAIR - 1) & ~(uintptr_t)(PEL_LINE_PAIR - 1));
    tasks->feeds = (pel_host_feed *)(void *)(tasks->lanes + PEL_HOST_LANES);
    tasks->pages.allocator = allocator;
    tasks->worker_count = workers;
    tasks->runner_count = runners;
    tasks->wake = wake;
    tasks->device = device;
    for (uint32_t i = 0; i < runners; i++) {
        tasks->runners[i].tasks = tasks;
        tasks->runners[i].index = tasks->runners[i].watched = i;
        tasks->runners[i].self.shard = i < workers ? 1 + i : 0;
        atomic_init(&tasks->runners[i].taken, i < workers);
    }
    atomic_init(&tasks->shards_used, 1 + workers);
    atomic_init(&tasks->runners_used, workers);
    order_victims(tasks);
    return PEL_OK;
}

void pel_host_tasks_free(pel_host_tasks *tasks, const pel_allocator *allocator) {
    pel_host_pages_free(&tasks->pages);
    pel_free(allocator, tasks->block);
    pel_free(allocator, tasks->victims);
    tasks->block = NULL;
    tasks->victims = NULL;
}

/* Whoever ran the last task may still be on its way out of it. Caches name memory of whoever filled them; it goes now. */
void pel_host_tasks_forget(pel_host_tasks *tasks) {
    for (uint32_t i = 0; i < tasks->runner_count; i++) {
        while (atomic_load_explicit(&tasks->runners[i].running, memory_order_seq_cst)) {
            sched_yield();
        }
        tasks->runners[i].self.cache = tasks->runners[i].self.scraps = (pel_pool_cache){0};
    }
    tasks->entry.self.cache = tasks->entry.self.scraps = (pel_pool_cache){0};
    for (uint32_t i = 0; i < PEL_HOST_LANES; i++) {
        tasks->lanes[i].self.cache = tasks->lanes[i].self.scraps = (pel_pool_cache){0};
    }
}
