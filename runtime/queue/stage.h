/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stages: how a queue knows what it has not finished, without one counter that everybody writes.
 *
 * A stage counts the commands that were submitted while it was the queue's current one, and those that their tasks submitted to
 * the same queue: begun and ended, each in as many shares as there are runners and lanes, each share written by one thread at a
 * time. Who wants to wait for "all until now" makes a new stage current; the old one can then only grow by its own tasks'
 * children, so it drains however much is submitted meanwhile. Sums are read ended first: a child is begun before its parent ends,
 * so when both sums agree, nothing was under way at that moment.
 *
 * Rejected: one atomic counter per queue (submitter and workers fight over its line: 40 to 100 ns a task), and a list of
 * unfinished commands.
 *
 * Who ends something while somebody waits fences before it sums (pel_task_count), so that of several that end at once one sees
 * all.
 *
 * Under runtime->lock, but for counting and summing. Stages are never freed before the dispatcher, only used again.
 */
#ifndef PEL_QUEUE_STAGE_H
#define PEL_QUEUE_STAGE_H

#include "base/alloc.h"
#include <pel/queue.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct pel_stage_share {
    _Alignas(64) _Atomic uint64_t begun;
    _Atomic uint64_t ended;
} pel_stage_share;

typedef struct pel_stage {
    struct pel_stage *next;      /* the queue's next one, or of the free list */
    struct pel_stage *all;       /* every stage there is */
    pel_runtime *runtime;
    pel_queue *queue;
    struct pel_node *follower;   /* a marker that waits for this stage and all before it; NULL: none */
    void *block;                 /* as allocated */
    const atomic_uint *used;     /* how many shares are */
    pel_stage_share *shares;
    /* Of a brood, the children of a task (scope.h), which has no shares: */
    struct pel_scope *scope;     /* NULL: this is none */
    struct pel_stage *counted_in;/* where its members are counted, too; NULL: nowhere */
    bool cut;                    /* a marker follows it */
    bool oldest_first;           /* its queue's */
    atomic_uint members;         /* under way, and one for the task's function */
} pel_stage;

typedef struct pel_stages {
    pel_stage *all, *free;
    uint32_t share_count;
    const atomic_uint *used;
} pel_stages;

/* NULL: no memory. */
pel_stage *pel_stage_take(pel_stages *stages, pel_runtime *runtime, const pel_allocator *allocator, pel_queue *queue);
void pel_stage_give(pel_stages *stages, pel_stage *stage);
void pel_stages_free(pel_stages *stages, const pel_allocator *allocator);

/* A share belongs to whoever counts: no other thread writes it meanwhile. */
static inline void pel_stage_begin(pel_stage *stage, uint32_t share) {
    _Atomic uint64_t *begun = &stage->shares[share].begun;
    atomic_store_explicit(begun, atomic_load_explicit(begun, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* `fence`: ordered before the look whether somebody waits for it. Without it, who begins to wait must make a heavy barrier
 * (base/barrier.h). */
static inline void pel_stage_end(pel_stage *stage, uint32_t share, uint32_t count, bool fence) {
    _Atomic uint64_t *ended = &stage->shares[share].ended;
    const uint64_t now = atomic_load_explicit(ended, memory_order_relaxed) + count;
    if (fence) {
        atomic_store_explicit(ended, now, memory_order_seq_cst);
    } else { /* one store with an order that is computed would be an exchange */
        atomic_store_explicit(ended, now, memory_order_release);
    }
}

/* How many are under way; never too few of what the caller knows to have been begun. */
uint64_t pel_stage_unfinished(const pel_stage *stage);

#endif
