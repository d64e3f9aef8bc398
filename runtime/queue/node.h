/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes: what all commands have in common, in one cache line, and the accesses of a task in the next.
 *
 * A node counts the predecessors that are not over (`pending`) and lists its successors; both without a lock. Whoever takes the
 * last predecessor away owns the node and starts it; completing it closes the list, so that nobody can be added any more, and
 * takes one predecessor from each that is in it. A successor's first entry in such a list is the successor itself, linked through
 * the word with which it will later be queued: a chain of a million tasks allocates no edges.
 *
 * Nodes come from a pool and are used again while others may still know them, so a node is known by address and generation, which
 * only grows: it is also the command's place in program order. The upper 16 bits of a list's head repeat it, so that an edge to a
 * command that is over is refused by the same compare-and-swap that would have added it. (An address has 48 bits at most here;
 * the list must live through exactly 65,536 commands of one node between two instructions of one submitter for the tag to lie,
 * and what happens then is one order too many.)
 *
 * Two kinds. A *task* is all here: function, context, accesses in `more`; it goes from its submitter to a runner without
 * runtime->lock. Any other command hangs on `hazard.user` (a pel_command), and its readiness and end are the dispatcher's
 * business, under the lock.
 */
#ifndef PEL_QUEUE_NODE_H
#define PEL_QUEUE_NODE_H

#include "backend/host/tasks.h"
#include "base/thread_local.h"
#include "queue/hazard.h"
#include "queue/stage.h"
#include <pel/queue.h>
#include <stddef.h>

/* ENDED: a task whose function has returned and whose children are over. */
typedef enum pel_node_kind { PEL_NODE_TASK, PEL_NODE_COMMAND, PEL_NODE_ENDED } pel_node_kind;

/* Accesses and event of a task that has accesses: in the line behind its node, further ones in blocks of the pool. */
enum { PEL_MORE_RANGES = 3 };
typedef struct pel_node_more {
    union {
        struct pel_node_more *next;                  /* if the node has several */
        uintptr_t link;                              /* else what follows its second entry in a list of successors */
    };
    pel_event *event;                                /* the first block's, if it is eventful; retained */
    struct { uint64_t lo, bytes; } ranges[PEL_MORE_RANGES]; /* mode in the two upper bits of bytes; bytes 0: no more */
} pel_node_more;

#define PEL_MORE_MODE_SHIFT 62

static inline pel_hazard_range pel_more_range(const pel_node_more *more, uint32_t i) {
    uint64_t bytes = more->ranges[i].bytes & (((uint64_t)1 << PEL_MORE_MODE_SHIFT) - 1);
    return (pel_hazard_range){.lo = more->ranges[i].lo, .hi = more->ranges[i].lo + bytes,
                              .mode = (pel_access_mode)(more->ranges[i].bytes >> PEL_MORE_MODE_SHIFT)};
}

/* Every range of a task, one after the other (pel_node_ranges). */
typedef struct pel_range_walk {
    const pel_node_more *more;
    uint32_t next;
    bool several;
} pel_range_walk;

static inline bool pel_range_next(pel_range_walk *w, pel_hazard_range *range) {
    if (w->more && w->next == PEL_MORE_RANGES) {
        *w = (pel_range_walk){w->several ? w->more->next : NULL, 0, w->several};
    }
    if (!w->more || w->more->ranges[w->next].bytes == 0) {
        return false;
    }
    *range = pel_more_range(w->more, w->next++);
    return true;
}

typedef struct pel_node {
    pel_host_item item;
    pel_task_fn task;             /* NULL: it is not run */
    _Atomic uintptr_t successors;
    /* generation; user: the task's context or the pel_command; of a task that is not run its pel_error */
    pel_hazard_node hazard;
    pel_stage *stage;             /* where it is counted; NULL: nowhere, it is being made or was withdrawn */
    union {                       /* of a task */
        pel_event *event;         /* when `brief`: a task with an event and no accesses; retained */
        /* when `placed`: of the bare task that it is lent to just now; not the generation, which only grows */
        uint64_t place;
    };
    atomic_uint pending;
    atomic_uchar kind;            /* a pel_node_kind; others look at a task's while it ends */
    bool shared;                  /* others may know it: successors, the hazards, an event */
    uint8_t status;               /* a failed predecessor's mark (a pel_status); under runtime->lock until it is ready */
    /* The submitter's: */
    bool linked : 1;              /* its own entry is used */
    bool brief : 1;
    bool accesses : 1;            /* in pel_node_more_of */
    bool several : 1;             /* more than fit there */
    bool eventful : 1;            /* there is the event */
    bool placed : 1;              /* the runner's */
    bool nested : 1;              /* lies beside its event (awaited.h): not the pool's */
} pel_node;

_Static_assert(sizeof(pel_node) <= PEL_POOL_BLOCK && sizeof(pel_node_more) <= PEL_POOL_BLOCK, "blocks of the pool");
enum { PEL_NODE_BLOCK = 2 * PEL_POOL_BLOCK };

/* Nodes have blocks of their own, of two lines, so that a generation is never anything else; edges and further pel_node_more
 * share the others. */
typedef struct pel_node_pools {
    pel_pool *nodes, *scraps;
} pel_node_pools;

/* Of a node of the pool: two lines side by side, so that both can be asked for before either is there. */
static inline pel_node_more *pel_node_more_of(const pel_node *node) {
    return (pel_node_more *)(void *)((char *)(uintptr_t)node + PEL_POOL_BLOCK);
}
static inline const pel_node_more *pel_node_accesses(const pel_node *node) {
    return node->accesses ? pel_node_more_of(node) : NULL;
}
static inline pel_range_walk pel_node_ranges(const pel_node *node) {
    return (pel_range_walk){pel_node_accesses(node), 0, node->several};
}
static inline pel_event *pel_node_event(const pel_node *node) {
    return node->brief ? node->event : node->eventful ? pel_node_more_of(node)->event : NULL;
}

static inline pel_node *pel_node_of_hazard(pel_hazard_node *hazard) {
    return (pel_node *)(void *)((char *)hazard - offsetof(pel_node, hazard));
}
static inline uint64_t pel_node_order(const pel_node *node) {
    return atomic_load_explicit(&((pel_node *)(uintptr_t)node)->hazard.generation, memory_order_relaxed);
}

/* Where it comes in program order, for whoever compares tasks and what they submit. */
static inline uint64_t pel_node_place(const pel_node *node) {
    return node->placed ? node->place : pel_node_order(node);
}

static inline pel_node_kind pel_node_kind_of(const pel_node *node) {
    return (pel_node_kind)atomic_load_explicit(&((pel_node *)(uintptr_t)node)->kind, memory_order_relaxed);
}
static inline void pel_node_become(pel_node *node, pel_node_kind kind) {
    atomic_store_explicit(&node->kind, (unsigned char)kind, memory_order_relaxed);
}

/* The calling thread's logical clock, of all its runtimes: what it submits later has the higher number, whatever its lane. */
extern PEL_THREAD_LOCAL uint64_t pel_node_last_order;

/* A new one with one predecessor, the submission itself. NULL: no memory. */
pel_node *pel_node_take(const pel_node_pools *pools, pel_host_self *self, pel_node_kind kind);
/* The same for a node of one's own that is a task's once more; what it has beside is left as it is. */
void pel_node_renew(pel_node *node);
/* Over: nobody adds an edge any more; whoever knows it by its generation sees that. The memory goes to the cache. */
void pel_node_give(const pel_node_pools *pools, pel_host_self *self, pel_node *node);

/* What runs it need not ask about: a task that others may know, of which nothing has failed and nobody has an event, with no
 * more accesses than fit behind it. */
static inline bool pel_node_is_plain(const pel_node *node) {
    return node->shared && node->status == PEL_OK && pel_node_kind_of(node) == PEL_NODE_TASK && node->task &&
           !node->brief && !node->several && !node->eventful && !node->nested;
}
/* The same as pel_node_give. */
static inline void pel_node_give_plain(const pel_node_pools *pools, pel_host_self *self, pel_node *node) {
    atomic_store_explicit(&node->hazard.generation, pel_node_order(node) + 1, memory_order_release);
    pel_pool_give(pools->nodes, &self->cache, node);
}

void pel_node_drop_accesses(const pel_node_pools *pools, pel_host_self *self, pel_node *node); /* it has none */

/* Brings near where the accesses of one that is taken later go. Its own line is asked for as it comes (pel_pool_take). */
static inline void pel_node_fetch_more(const pel_host_self *self) {
    if (pel_pool_ready(&self->cache) > 0) {
        pel_pool_fetch((char *)pel_pool_later(&self->cache) + PEL_POOL_BLOCK);
    }
}

/* On the stack of whoever runs bare tasks of this stage (bare.h), one after the other: `place` tells which. Nobody else ever
 * knows it: who would gets another one (pel_node_own). */
static inline void pel_node_lend(pel_node *node, pel_stage *stage) {
    *node = (pel_node){.stage = stage, .placed = true};
}
/* The pool's, in place of a lent one. NULL: no memory. */
pel_node *pel_node_own(const pel_node_pools *pools, pel_host_self *self, const pel_node *lent);

/* What the calling thread takes from now on has a higher order. */
void pel_node_come_after(uint64_t order);

/*
 * `to`, which nobody but its submitter knows yet, comes after `from`, and has the higher order from now on. Done: also when
 * `from` was over already, and nothing is to be waited for. OUT_OF_MEMORY: not noted. A task may be over, and its node another
 * command's, as soon as this returns: what `from` is must have been asked before.
 */
/* it was over; it was there already; one predecessor more */
typedef enum pel_follow { PEL_FOLLOW_OVER, PEL_FOLLOW_KNOWN, PEL_FOLLOW_ADDED } pel_follow;
pel_status pel_node_follow(const pel_node_pools *pools, pel_host_self *self, pel_node *from, uint64_t generation, pel_node *to,
                           bool data, pel_follow *how);

/* Visits the successors that a node has now, once for each predecessor that they count for it; the node must not end
 * meanwhile. */
void pel_node_visit(pel_node *node, void (*visit)(pel_node *to, void *user), void *user);

bool pel_node_has_successors(const pel_node *node); /* or somebody waits for it */

/* Asks to be told by pel_node_close that somebody waits. False: it is over already. */
bool pel_node_watch(pel_node *node, uint64_t generation);

/*
 * A predecessor is over. True: it was the last one, and the caller must start the node. Who sees that only its own arrival is
 * missing need not count atomically: the submitter alone adds predecessors, and counts as one until it has done so.
 */
static inline bool pel_node_arrive(pel_node *node) {
    if (atomic_load_explicit(&node->pending, memory_order_acquire) == 1) {
        atomic_store_explicit(&node->pending, 0, memory_order_relaxed);
        return true;
    }
    return atomic_fetch_sub_explicit(&node->pending, 1, memory_order_acq_rel) == 1;
}

#endif
