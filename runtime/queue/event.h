/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: the part of a command that outlives it. Whoever ends the command writes all but `references` before state becomes
 * COMPLETE: under runtime->lock, or, of a task that is only a node, its runner without. What the end of a command writes and a
 * waiting thread looks at is one cache line, so that it travels once.
 */
#ifndef PEL_QUEUE_EVENT_H
#define PEL_QUEUE_EVENT_H

#include "core/runtime.h"
#include "planner/plan.h"
#include <pel/event.h>
#include <stddef.h>

struct pel_command;

struct pel_event {
    atomic_int state;               /* pel_event_state; the first field, at the beginning of a cache line */
    atomic_uint references;
    pel_event_timing timing;
    pel_error *error;
    pel_plan *plan;                 /* NULL for commands other than launches */
    struct pel_command *command;    /* (L) NULL once complete, and of a task that is only a node */
    pel_status status;
    bool is_node;                   /* its task is only a node: the dispatcher knows no command */
    bool untimed;                   /* no clock is read for it */
    bool user;                      /* ended by the caller; has a node of its own and no command */
    bool forgiven;                  /* (L) its failure was reset: what it wrote counts as written */
    struct pel_node *node;          /* with this generation; meaningful until COMPLETE */
    uint64_t generation;
    pel_runtime *runtime;           /* meaningful until COMPLETE */
    pel_allocator allocator;        /* a copy: the event may outlive its runtime */
    void *block;                    /* as allocated */
    const void *scope;              /* the one in which its command is (scope.h), to be compared only; NULL: none */
    uint64_t queue;                 /* id of its queue */
    uint64_t graph;                 /* id of the graph in which it stands for a recorded command; 0: none */
    uint32_t recorded;
};

_Static_assert(offsetof(struct pel_event, node) <= 64, "what the end of a command writes");

pel_event *pel_event_new(pel_runtime *runtime); /* one reference; NULL: no memory */
pel_event *pel_event_new_for_task(pel_runtime *runtime, bool timed); /* two references; of a task that is only a node */
void pel_event_renew(pel_event *event, pel_runtime *runtime); /* one that nobody else has, for another command */

/* Makes the event complete; takes over `error` and `plan`. Under the lock when it has a command. */
void pel_event_finish(pel_event *event, pel_status status, pel_error *error, pel_plan *plan, int64_t now);

/* Besides the public states: will not run, or is being ended by its owner; told as SUBMITTED. */
enum { PEL_EVENT_CLAIMED = 3 };

/* From submitted to `state`, once: who begins a command and who cancels it may be two threads. False: the other was first. */
static inline bool pel_event_claim(pel_event *event, int state) {
    int expected = PEL_EVENT_SUBMITTED;
    return atomic_compare_exchange_strong_explicit(&event->state, &expected, state, memory_order_acq_rel, memory_order_relaxed);
}

pel_error *pel_event_cancelled(const pel_event *event, const char *name); /* the story of a cancelled command; name may be NULL */

static inline bool pel_event_is_complete(const pel_event *event) {
    return atomic_load_explicit(&((pel_event *)(uintptr_t)event)->state, memory_order_acquire) == PEL_EVENT_COMPLETE;
}

#endif
