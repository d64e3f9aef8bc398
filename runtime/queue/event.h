/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: the part of a command that outlives it. Whoever ends the command writes all but `references` before state becomes COMPLETE: under runtime->lock, or, of a task that is only a node, its runner without. */
#ifndef PEL_QUEUE_EVENT_H
#define PEL_QUEUE_EVENT_H

#include "core/runtime.h"
#include "planner/plan.h"
#include <pel/event.h>

struct pel_command;

struct pel_event {
    atomic_uint references;
    atomic_int state;               /* pel_event_state */
    pel_allocator allocator;        /* a copy: the event may outlive its runtime */
    pel_runtime *runtime;           /* meaningful until COMPLETE */
    struct pel_command *command;    /* (L) NULL once complete, and of a task that is only a node */
    struct pel_node *node;          /* with this generation; meaningful until COMPLETE */
    uint64_t generation;
    bool is_node;                   /* its task is only a node: the dispatcher knows no command */
    const void *scope;              /* the one in which its command is (scope.h), to be compared only; NULL: none */
    uint64_t queue;                 /* id of its queue */
    pel_status status;
    uint64_t graph;                 /* id of the graph in which it stands for a recorded command; 0: none */
    uint32_t recorded;
    bool user;                      /* ended by the caller; has a node of its own and no command */
    bool forgiven;                  /* (L) its failure was reset: what it wrote counts as written */
    pel_error *error;
    pel_plan *plan;                 /* NULL for commands other than launches */
    pel_event_timing timing;
};

pel_event *pel_event_new(pel_runtime *runtime); /* one reference; NULL: no memory */
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
