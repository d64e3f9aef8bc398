/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The task engine: items of a queue's command (lane.h) from whoever submits them to whoever runs them, without a lock and without
 * a system call while there is something to do.
 *
 * A *runner* is what a thread needs to run tasks: a deque and caches. Each worker has one; a few more are for *guests*, threads
 * of the caller that wait for something or lend themselves. Runners take from their own deque, then many at a time from the lanes
 * of those who submit from outside, then steal from the nearest. What a running task makes ready goes to its runner's deque.
 *
 * Who looks for work in vain spins for a while (`looking`), then sleeps (`asleep`). A submitter wakes one sleeper, and only when
 * nobody is looking. The last one that looks and finds something looks once more whether there is work left over for another.
 * docs/design/workers.md has the argument that no wake-up is lost.
 */
#ifndef PEL_BACKEND_HOST_TASKS_H
#define PEL_BACKEND_HOST_TASKS_H

#include "backend/host/deque.h"
#include "backend/host/feed.h"
#include "backend/host/feed_share.h"
#include "backend/host/group.h"
#include "backend/host/lane.h"
#include "base/thread_local.h"

enum { PEL_HOST_LANES = 16, PEL_HOST_GUESTS = 8, PEL_HOST_BATCH = 128 };

typedef struct pel_host_tasks pel_host_tasks;
typedef struct pel_host_runner pel_host_runner;

struct pel_host_runner {
    pel_host_deque deque;
    _Alignas(64) pel_host_self self;
    pel_host_tasks *tasks;
    const uint16_t *victims; /* other runners, the nearest first */
    uint32_t index;
    uint32_t ticks;
    uint32_t depth;          /* tasks on this thread's stack that wait */
    uint32_t most;           /* calls that it takes as one group; 0: it has not taken any yet */
    uint32_t watched, watched_next; /* a runner whose group has a rest, and how far it was; itself: none */
    uint32_t look;           /* which of the victims was watched last */
    bool stuck;              /* that one stands still */
    bool oldest_first;       /* of its deque; whoever runs an item says so (`run`) */
    _Alignas(64) atomic_bool taken; /* by a guest; workers' always */
    atomic_bool running;            /* a task */
    atomic_uint ran;                /* items and calls, ever; the owner's to write */
    atomic_int clock;               /* a clockid_t: of the time of processors of the thread that has it, or had it last */
    pel_host_group group;           /* begun and not ended, or taken from another; else empty */
};

/* For tasks that are submitted with the lock of the hazards, most of which wait for others and need no lane; that lock's. */
typedef struct pel_host_entry {
    _Alignas(PEL_POOL_BLOCK) pel_host_self self;
    atomic_uint visits; /* as a lane's */
} pel_host_entry;

struct pel_host_tasks {
    /* Read-mostly. Runs one item; returns one that became ready by it and is to run next, or NULL. */
    pel_host_item *(*run)(pel_host_runner *runner, pel_host_item *item);
    /* Makes all calls of the runner's group, the first of which is begun; the next one; takes from another's, and makes the first
     * of those. make: returns how long it took; the other two: false, there is none. */
    int64_t (*make)(pel_host_runner *runner, uint32_t count);
    bool (*go_on)(pel_host_runner *runner);
    bool (*relieve)(pel_host_runner *runner, pel_host_group *from);
    void *owner; /* of the items: for these four */
    pel_host_runner *runners;
    pel_host_lane *lanes;
    pel_host_feed *feeds;
    pel_host_pages pages;
    pel_host_shares shares;
    void (*invite)(void *host); /* somebody of the caller's may come and work; NULL: nobody. Any thread, any lock */
    void *invite_host;
    uint32_t worker_count, runner_count;
    uint16_t *victims;
    void *block; /* runners and lanes, as allocated */
    atomic_uint runners_used; /* workers', and the first ones of guests': others have never had anything */
    atomic_uint lanes_used;
    atomic_uint feeds_used;
    atomic_uint shards_used; /* those of pel_host_self that have done something; 0 is for the queue's own use */
    _Alignas(64) atomic_uint looking; /* runners that look for work, and PEL_HOST_LOOKER for each that is a worker's */
    atomic_uint asleep;               /* workers that can be woken */
    atomic_uint stuck;                /* workers inside tasks that wait and may not run others any more */
    void (*wake)(void *device); /* wakes one worker; the device's */
    void *device;
    unsigned char before_entry[PEL_LINE_PAIR]; /* runners write the lines above */
    pel_host_entry entry;
    unsigned char after_entry[PEL_POOL_BLOCK];
};

/* OUT_OF_MEMORY or OK. wake(device) wakes one sleeping worker and may be called from any thread without locks. */
pel_status pel_host_tasks_init(pel_host_tasks *tasks, const pel_allocator *allocator, uint32_t workers,
                               void (*wake)(void *device), void *device);
void pel_host_tasks_free(pel_host_tasks *tasks, const pel_allocator *allocator);

/* Shares that counters need for all who have a pel_host_self, and for feeds. */
static inline uint32_t pel_host_tasks_shards(const pel_host_tasks *tasks) {
    return 2 + tasks->runner_count + PEL_HOST_LANES + PEL_HOST_FEEDS;
}

/* The calling thread's runner in this engine; NULL: it has none. enter returns what to give to leave. */
pel_host_runner *pel_host_runner_current(const pel_host_tasks *tasks);
pel_host_runner *pel_host_runner_enter(pel_host_runner *runner);
void pel_host_runner_leave(pel_host_runner *before);

/* A guest's runner, entered; NULL: all are taken. *before is for leave. */
pel_host_runner *pel_host_guest_enter(pel_host_tasks *tasks, pel_host_runner **before);
void pel_host_guest_leave(pel_host_runner *runner, pel_host_runner *before);

/* From outside: claim a lane, use its self, push, release. release also wakes whom it must: inside the claim the sleepers are
 * asked about (lane.h). */
extern PEL_THREAD_LOCAL uint32_t pel_host_usual_lane;
pel_host_lane *pel_host_lane_claim_other(pel_host_tasks *tasks);
pel_host_lane *pel_host_lane_claimed(pel_host_tasks *tasks, uint32_t index); /* for the first time, maybe */
static inline pel_host_lane *pel_host_lane_claim(pel_host_tasks *tasks) {
    pel_host_lane *usual = &tasks->lanes[pel_host_usual_lane];
    if (!pel_host_lane_try_claim(usual)) {
        return pel_host_lane_claim_other(tasks);
    }
    return usual->self.shard != 0 ? usual : pel_host_lane_claimed(tasks, pel_host_usual_lane);
}
void pel_host_entry_begin(pel_host_tasks *tasks); /* for the first time */
static inline void pel_host_entry_count(pel_host_entry *entry, uint32_t visits) {
    atomic_store_explicit(&entry->visits, atomic_load_explicit(&entry->visits, memory_order_relaxed) + visits,
                          memory_order_relaxed);
}
void pel_host_wake_for_lane(pel_host_tasks *tasks, bool sleepers);
static inline void pel_host_lane_give_back(pel_host_tasks *tasks, pel_host_lane *lane, bool pushed) {
    const bool sleepers = pushed && atomic_load_explicit(&tasks->looking, memory_order_seq_cst) == 0 &&
                          atomic_load_explicit(&tasks->asleep, memory_order_seq_cst) > 0;
    atomic_store_explicit(&lane->visits, atomic_load_explicit(&lane->visits, memory_order_relaxed) + 1, memory_order_relaxed);
    pel_host_lane_release(lane);
    if (sleepers || (pushed && tasks->invite)) {
        pel_host_wake_for_lane(tasks, sleepers);
    }
}

/* The calling thread's feed for `of`, which is opened if need be; NULL: there are too many. Only where all processors can be
 * fenced. */
pel_host_feed *pel_host_feed_open(pel_host_tasks *tasks, const void *of, uint32_t weight);
/* NULL: it has to be opened, or looked for. */
static inline pel_host_feed *pel_host_feed_mine(const pel_host_tasks *tasks, const void *of) {
    pel_host_feed *usual = &tasks->feeds[*pel_host_usual_feed(of)];
    const bool mine = atomic_load_explicit(&usual->of, memory_order_relaxed) == of &&
                      atomic_load_explicit(&usual->producer, memory_order_relaxed) == pel_host_thread_number;
    return mine ? usual : NULL;
}
/* `of` goes: everything in its feeds has been run. */
void pel_host_feed_close(pel_host_tasks *tasks, const void *of);
/* Behind a submission to a feed. A sleeper is counted, fences all processors, and looks: so either it sees the call, or this sees
 * that it sleeps, and then fences itself before it asks whether anybody looks. */
void pel_host_wake_for_feed(pel_host_tasks *tasks);
static inline void pel_host_feed_tell(pel_host_tasks *tasks) {
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&tasks->asleep, memory_order_relaxed) > 0 || tasks->invite) {
        pel_host_wake_for_feed(tasks);
    }
}
/* Whoever saw before this that something of `of` was current is not inside any more. */
void pel_host_feeds_settle(pel_host_tasks *tasks, const void *of);

/* From a runner: what its task made ready. */
void pel_host_runner_push(pel_host_runner *runner, pel_host_item *item);
/* From a runner: opens its group, which was empty, and tells whom it must: there may be need of others. */
void pel_host_runner_open(pel_host_runner *runner, uint32_t count);
/* From a runner whose group is empty: pel_host_group_steal into that, likewise. */
uint32_t pel_host_runner_halve(pel_host_runner *runner, pel_host_group *from);
/* Looks whether a group elsewhere stands still, since this runner's last look of this kind, which should be some microseconds
 * ago. True: there is one, and pel_host_runner_work will take from it. */
bool pel_host_runner_sees_stuck(pel_host_runner *runner);

/* Whether an item is the offer of the lane that the calling thread used last: a guess. Take it back: or whatever is offered
 * there by then; NULL: nothing is. */
bool pel_host_still_offered(const pel_host_tasks *tasks, const pel_host_item *item);
pel_host_item *pel_host_take_back(pel_host_tasks *tasks);

/* calls.c. A page among a deque's items; one that was taken from a deque has its place there still. */
static inline bool pel_host_is_page(const pel_host_item *item) { return ((uintptr_t)item & 1) != 0; }
static inline pel_host_page *pel_host_page_of(const pel_host_item *item) {
    return (pel_host_page *)((uintptr_t)item & ~(uintptr_t)1);
}
static inline void pel_host_push_page(pel_host_runner *runner, pel_host_page *page, bool announce) {
    (void)pel_host_deque_push(&runner->deque, (uintptr_t)page | 1, announce);
}
void pel_host_runner_run_page(pel_host_runner *runner, pel_host_page *page); /* its first calls */
/* Makes calls from a feed; the rest of its group; of another's that stands still. False: there was nothing. */
bool pel_host_runner_take_calls(pel_host_runner *runner);
bool pel_host_runner_go_on(pel_host_runner *runner);
bool pel_host_runner_relieve(pel_host_runner *runner);
bool pel_host_feeds_have(const pel_host_tasks *tasks); /* a guess */

/* After a push: somebody who sleeps and whom nobody counts on. */
void pel_host_wake_if_needed(pel_host_tasks *tasks);

/* Runs an item if there is one. False: nothing was found; it may be there all the same. */
bool pel_host_runner_work(pel_host_runner *runner);
/* An offer of some lane; NULL: there is none. Who took one must run it. *offers: how many there have been, of all lanes. */
pel_host_item *pel_host_runner_catch(pel_host_runner *runner, uint32_t *offers);
void pel_host_runner_run(pel_host_runner *runner, pel_host_item *item);
/* Moves what is in a runner's deque to a lane, where others look sooner. By its owner. */
void pel_host_runner_hand_over(pel_host_runner *runner);
/* Submissions from outside, and items that other runners have run: ever, guesses. */
uint32_t pel_host_tasks_visits(const pel_host_tasks *tasks);
uint32_t pel_host_tasks_ran_by_others(const pel_host_runner *runner);

/* What the process had of its processors, in ns, with that of the runners' threads up to now. 0.2 us a runner. */
int64_t pel_host_tasks_processor_ns(const pel_host_tasks *tasks);
bool pel_host_tasks_have_guest(const pel_host_tasks *tasks);
/* How many workers run tasks: a guess. */
uint32_t pel_host_tasks_running(const pel_host_tasks *tasks);
/* A guess whether there is something to run for this runner. */
bool pel_host_runner_sees_work(const pel_host_runner *runner);
/* The truth, for whoever will sleep: after it has said in `asleep` that it does. Fences all processors where there are feeds. */
bool pel_host_tasks_any_for_sure(pel_host_tasks *tasks);

/* Brackets looking for work, by a guest or a worker. stop: whoever looked does not any more, because it found something or gave
 * up. */
#define PEL_HOST_LOOKER 0x10000u
void pel_host_look_begin(pel_host_tasks *tasks, bool worker);
void pel_host_look_stop(pel_host_tasks *tasks, bool worker);
/* Wakes somebody if there is anything to run: by who was relied upon and does something else now. */
void pel_host_look_back(pel_host_tasks *tasks);
/* How many workers look. */
static inline uint32_t pel_host_lookers(const pel_host_tasks *tasks) {
    return atomic_load_explicit(&((pel_host_tasks *)(uintptr_t)tasks)->looking, memory_order_relaxed) / PEL_HOST_LOOKER;
}

/* Everything counted by lanes so far is counted: waits for each claim that is under way. */
void pel_host_lanes_settle(pel_host_tasks *tasks);

#endif
