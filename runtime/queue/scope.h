/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scopes: what a task submits from inside its function.
 *
 * Children are ordered among themselves only, by hazards of the scope's own: whatever they touch, their parent has declared, so
 * everybody outside is kept away from it by the parent's place in the order, and the parent is over only when its children are.
 * An access that the parent has not declared is refused. So a task can be written as a tree of tasks without anybody seeing the
 * difference, and waiting for a child can never mean waiting for oneself.
 *
 * Children are counted in *broods*, stages (stage.h) with one atomic counter instead of shares: one brood per queue, and a new
 * one after each marker, which follows the brood that it ends. The parent's function holds every brood open; when it has returned
 * and the last brood has drained, the parent's node goes to a runner once more (PEL_NODE_ENDED), or its command to the
 * dispatcher, to be ended as if the function had returned just then.
 *
 * Rejected: counting children in their parent's stage (the parent would be over before them), and one map of hazards for all (a
 * child would have to wait for its own parent, or the parent's entry would have to be split whenever a child is over).
 *
 * A *frame* is a task's function on the stack of a thread. A task that waits has others run on top of it (inner_wait.c): a thread
 * may have many frames.
 */
#ifndef PEL_QUEUE_SCOPE_H
#define PEL_QUEUE_SCOPE_H

#include "base/thread_local.h"
#include "queue/node.h"

struct pel_command;
typedef struct pel_scope pel_scope;

typedef struct pel_frame {
    struct pel_frame *outer;     /* below it on this thread's stack, also of other runtimes */
    pel_runtime *runtime;
    pel_node *node;
    struct pel_command *command; /* NULL: the task is only a node */
    pel_scope *scope;            /* NULL: it has not submitted anything */
    bool foreign_waits;          /* a child waits for an event that is not a sibling's */
    bool loop;                   /* of a loop, which several threads run: it has no scope and cannot wait */
} pel_frame;

struct pel_scope {
    pel_runtime *runtime;
    pel_node *parent;
    struct pel_command *command; /* the parent's; NULL: it is only a node */
    pel_queue *home;             /* of the outermost ancestor */
    pel_stage *broods;           /* all, linked by `all`; the parent's thread only */
    pel_status returned;         /* by the parent's function */
    pel_error *error;            /* the same */
    uint64_t failed_order;       /* (lock) of the first child that failed and should have written something; UINT64_MAX: none */
    pel_error *failed;           /* (lock) */
    pel_hazards *hazards;        /* (hazard_lock) NULL: no child has accesses */
    pel_stage first;             /* storage of the first brood */
    atomic_uint open;            /* broods that have not drained, and the function */
};

extern PEL_THREAD_LOCAL pel_frame *pel_frames;           /* of this thread, of whatever runtime; the youngest */
static inline void pel_frame_enter(pel_frame *frame) {
    frame->outer = pel_frames;
    pel_frames = frame;
}
static inline void pel_frame_leave(const pel_frame *frame) { pel_frames = frame->outer; }
pel_frame *pel_frame_top(const pel_runtime *runtime);    /* NULL: this thread does not run a task of this runtime just now */

/* Whether a command that this frame submits to the queue is counted in the queue's own stages, too: then with a lane or the
 * lock only. */
bool pel_frame_counts_in_queue(const pel_frame *frame, const pel_queue *queue);
/* Where it is counted. NULL: no memory. frame NULL: outside of tasks. */
pel_stage *pel_frame_stage(pel_frame *frame, pel_queue *queue);

/* The hazards that a command of this stage is in; with hazard_lock. NULL: no memory. */
pel_hazards *pel_stage_hazards(const pel_runtime *runtime, const pel_stage *stage);

/* CONFLICT, with its story: the task in whose scope the stage is has not declared such an access. With the lock or from the
 * parent's thread. */
pel_status pel_stage_allows(const pel_stage *stage, const pel_hazard_range *range, const char *name, uint32_t index,
                            pel_error **error);

/* Counts a command in; `shard` as for pel_stage_begin. */
static inline void pel_stage_enter(pel_stage *stage, uint32_t shard) {
    if (stage->scope) {
        atomic_fetch_add_explicit(&stage->members, 1, memory_order_relaxed);
        stage = stage->counted_in;
    }
    if (stage) {
        pel_stage_begin(stage, shard);
    }
}

/* A marker ends the queue's broods and follows them; it is counted in the next one. Under the lock, while the marker is being
 * submitted. */
pel_status pel_brood_follow(pel_frame *frame, pel_queue *queue, pel_node *marker);

/* One of the brood is over. True: everything of its scope is; call pel_scope_over. `locked`: runtime->lock is held. */
bool pel_brood_leave(pel_stage *brood, bool locked);
/* Ends the parent. Returns its node for a runner, or NULL: it is a command, and the dispatcher ends it. */
pel_node *pel_scope_over(pel_scope *scope, bool locked);
/*
 * The parent's function has returned. False: children go on, and the last one ends the parent, which the caller must not touch
 * any more. True: the scope is gone; *status and *error say how the parent ends.
 */
bool pel_scope_return(pel_scope *scope, pel_status *status, pel_error **error);
/* A child has failed. Under the lock; a no-operation outside of scopes. */
void pel_scope_note_failure(const pel_stage *stage, uint64_t order, bool writes, const pel_error *error);

#endif
