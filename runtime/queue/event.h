/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: the part of a command that outlives it. Whoever ends the command writes all of it before `word` says that it is over:
 * under runtime->lock, or, of a task that is only a node, its runner without. What the end of a command writes and a waiting
 * thread looks at is one cache line, so that it travels once; and being complete is a bit beside the count of references, so that
 * a runner ends a task's event and gives up its own reference by one atomic operation.
 *
 * A command begins or is cancelled, not both: `phase` is claimed. A task begins with a plain store: millions begin and hardly one
 * is cancelled, so whoever cancels pays for both (base/barrier.h): it says so in `wish`, makes every processor pass a fence, and
 * only then looks whether the task has begun. A runner that meets a wish after its store settles it by compare-and-swap.
 */
#ifndef PEL_QUEUE_EVENT_H
#define PEL_QUEUE_EVENT_H

#include "core/runtime.h"
#include "planner/plan.h"
#include <pel/event.h>
#include <stddef.h>

struct pel_command;

struct pel_event {
    atomic_uint word;               /* references and what PEL_EVENT_OVER... say; the first field, at the beginning of a line */
    pel_event_timing timing;
    pel_error *error;
    pel_plan *plan;                 /* NULL for commands other than launches */
    struct pel_command *command;    /* (L) NULL once complete, and of a task that is only a node */
    pel_status status;
    bool user;                      /* ended by the caller; has a node of its own and no command */
    bool nested;                    /* lies in a nest (awaited.h) */
    bool forgiven;                  /* (L) its failure was reset: what it wrote counts as written */
    struct pel_node *node;          /* with this generation; meaningful until COMPLETE */
    uint64_t generation;
    /* What a task's beginning reads and writes is not in the line that who waits for its end looks at. */
    atomic_uchar phase;             /* SUBMITTED, RUNNING or CLAIMED */
    atomic_uchar wish;              /* pel_event_wish: to cancel a task that is only a node */
    bool is_node;                   /* its task is only a node: the dispatcher knows no command */
    bool untimed;                   /* no clock is read for it */
    pel_runtime *runtime;           /* meaningful until COMPLETE */
    pel_allocator allocator;        /* a copy: the event may outlive its runtime */
    void *block;                    /* as allocated; the nest in which it lies */
    const void *scope;              /* the one in which its command is (scope.h), to be compared only; NULL: none */
    uint64_t queue;                 /* id of its queue */
    uint64_t graph;                 /* id of the graph in which it stands for a recorded command; 0: none */
    uint32_t recorded;
};

_Static_assert(offsetof(struct pel_event, node) <= 64, "what the end of a command writes");
_Static_assert(offsetof(struct pel_event, phase) >= 64, "what its beginning writes");

pel_event *pel_event_new(pel_runtime *runtime); /* one reference; NULL: no memory */
pel_event *pel_event_new_for_task(pel_runtime *runtime, bool timed); /* two references; of a task that is only a node */
void pel_event_renew(pel_event *event, pel_runtime *runtime); /* one that nobody else has, for another command */

/* Makes the event complete; takes over `error` and `plan`. Under the lock when it has a command. */
void pel_event_finish(pel_event *event, pel_status status, pel_error *error, pel_plan *plan, int64_t now);

/*
 * Of `word`. FOLLOWED: of a task that is only a node; somebody may be in the list of its successors. It comes with a reference
 * that whoever ends the task gives up when it has closed the list.
 */
enum { PEL_EVENT_OVER = 1, PEL_EVENT_FOLLOWED = 2, PEL_EVENT_REFERENCE = 4 };
/* Besides the public states, of `phase`: will not run, or is being ended by its owner; told as SUBMITTED. */
enum { PEL_EVENT_CLAIMED = 3 };

/* From submitted to claimed, once. Not of tasks that are only nodes. False: it was claimed or has begun. */
static inline bool pel_event_claim(pel_event *event) {
    unsigned char expected = PEL_EVENT_SUBMITTED;
    return atomic_compare_exchange_strong_explicit(&event->phase, &expected, PEL_EVENT_CLAIMED, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/*
 * Of a task that is only a node. begin: by its runner; false: it was cancelled. cancel: under runtime->lock; false: too late.
 * `fence`: there is no heavy barrier. over: it has succeeded; the runner's reference goes with it, unless it returns true: then
 * somebody follows it, the list is to be closed, and the reference that came with FOLLOWED to be given up after that. follow:
 * before its list is touched, by whoever has a reference; false: it is over.
 */
enum { PEL_EVENT_WISHED = 1, PEL_EVENT_CANCELLED = 2, PEL_EVENT_BEGUN = 3 };
static inline bool pel_event_begin_task(pel_event *event, bool fence) {
    unsigned char wished = PEL_EVENT_WISHED;
    if (fence) { /* compilers take an order that they do not know for the strongest: an exchange */
        atomic_store_explicit(&event->phase, PEL_EVENT_RUNNING, memory_order_seq_cst);
    } else {
        atomic_store_explicit(&event->phase, PEL_EVENT_RUNNING, memory_order_relaxed);
    }
    atomic_signal_fence(memory_order_seq_cst); /* the store, then the look; who wishes sees to it that processors keep to that */
    return atomic_load_explicit(&event->wish, memory_order_seq_cst) == 0 ||
           atomic_compare_exchange_strong(&event->wish, &wished, PEL_EVENT_BEGUN);
}
bool pel_event_cancel_task(pel_event *event, bool fence);
bool pel_event_over(pel_event *event, int64_t now);
bool pel_event_follow(pel_event *event);
static inline bool pel_event_is_followed(const pel_event *event) {
    return (atomic_load_explicit(&((pel_event *)(uintptr_t)event)->word, memory_order_acquire) & PEL_EVENT_FOLLOWED) != 0;
}

static inline bool pel_event_is_shared(const pel_event *event) { /* somebody but its command has it */
    return atomic_load_explicit(&((pel_event *)(uintptr_t)event)->word, memory_order_acquire) >= 2 * PEL_EVENT_REFERENCE;
}

pel_error *pel_event_cancelled(const pel_event *event, const char *name); /* the story of a cancelled command; name may be NULL */

static inline bool pel_event_is_complete(const pel_event *event) {
    return (atomic_load_explicit(&((pel_event *)(uintptr_t)event)->word, memory_order_acquire) & PEL_EVENT_OVER) != 0;
}

#endif
