/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups: calls that a runner has taken all at once and makes one after the other.
 *
 * To take small tasks one by one costs more than the tasks. So a runner takes as many as last a few microseconds, by what its
 * last ones took, into a place of its own. What they really take nobody knows: one of them may last long, or sleep until one
 * behind it has run. So what is not begun must stay within reach of others: whoever finds nothing else, and sees that a group
 * stands still, takes the later half of it.
 *
 * The owner begins a call with plain accesses: it counts it (`next`), then looks whether somebody wishes. A thief pays for both
 * sides: it wishes, makes every processor pass a fence (base/barrier.h), and only then reads how far the owner is. An owner that
 * counted before the fence is seen to have counted; one that counts after it sees the wish and waits until the thief is done.
 * That is Dijkstra's protocol in the asymmetric form of Cilk-5's deques (Frigo, Leiserson and Randall, "The implementation of the
 * Cilk-5 multithreaded language", PLDI 1998). tests/model_check/group.pml goes through it.
 *
 * Rejected: the deque, with a full fence for each item (7 ns of 15), and groups out of reach (a task that waits for another would
 * wait for ever).
 */
#ifndef PEL_BACKEND_HOST_GROUP_H
#define PEL_BACKEND_HOST_GROUP_H

#include <pel/queue.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEL_HOST_GROUP_MOST = 64 };

typedef struct pel_host_call {
    pel_task_fn function;
    void *context;
} pel_host_call;

typedef struct pel_host_group {
    _Alignas(64) atomic_uint next; /* the first that is not begun; the owner's to write */
    atomic_uint end;               /* of the calls; lowered by thieves, with `busy` */
    atomic_uint wish;              /* a thief is at it */
    atomic_uint busy;              /* a lock for thieves, and for an owner that met a wish */
    void *of;                      /* whose calls they are: the same for all */
    uint64_t order;                /* of call 0; the others follow */
    _Alignas(64) pel_host_call calls[PEL_HOST_GROUP_MOST];
} pel_host_group;

/* How many are not begun: a guess for others than the owner. */
static inline uint32_t pel_host_group_rest(const pel_host_group *group) {
    pel_host_group *g = (pel_host_group *)(uintptr_t)group;
    const uint32_t next = atomic_load_explicit(&g->next, memory_order_relaxed);
    const uint32_t end = atomic_load_explicit(&g->end, memory_order_acquire);
    return next < end ? end - next : 0;
}

/* Whether there are any, ordered after what the caller did before: for whoever is about to sleep. */
static inline bool pel_host_group_any(const pel_host_group *group) {
    pel_host_group *g = (pel_host_group *)(uintptr_t)group;
    const uint32_t next = atomic_load_explicit(&g->next, memory_order_seq_cst);
    return next < atomic_load_explicit(&g->end, memory_order_seq_cst);
}

/* By the owner, of an empty group: the first `count` > 0 calls are to be made. Call 0 is begun by this: the owner always has one
 * that nobody else ends. Before a look at who sleeps, when there are several. */
static inline void pel_host_group_open(pel_host_group *group, uint32_t count) {
    atomic_store_explicit(&group->end, 0, memory_order_relaxed); /* first: the old end and the new beginning are no group */
    atomic_store_explicit(&group->next, 1, memory_order_release);
    if (count > 1) {
        atomic_store_explicit(&group->end, count, memory_order_seq_cst);
    } else {
        atomic_store_explicit(&group->end, count, memory_order_release);
    }
}

bool pel_host_group_settle(pel_host_group *group, uint32_t index); /* for pel_host_group_begin */

/* By the owner: call number *index is its own now. False: there is none left. */
static inline bool pel_host_group_begin(pel_host_group *group, uint32_t *index) {
    const uint32_t next = atomic_load_explicit(&group->next, memory_order_relaxed);
    if (next >= atomic_load_explicit(&group->end, memory_order_acquire)) {
        return false;
    }
    *index = next;
    atomic_store_explicit(&group->next, next + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the count, then the look; who wishes sees to it that processors keep to that */
    if (atomic_load_explicit(&group->wish, memory_order_acquire) == 0 &&
        next < atomic_load_explicit(&group->end, memory_order_relaxed)) {
        return true;
    }
    return pel_host_group_settle(group, next);
}

/* The later half of what another has not begun becomes `into`, which is the caller's and empty, opened as above. Needs
 * pel_barrier_prepare. Returns how many: 0 also when another thief is at it. */
uint32_t pel_host_group_steal(pel_host_group *from, pel_host_group *into);

#endif
