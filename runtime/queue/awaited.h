/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that somebody waits for and that declare nothing, where they live, and their way from submission to end.
 *
 * Node and event of such a task lie side by side in a *nest* of the lane that it is submitted through, so that what goes to
 * another core is one pair of cache lines, and so that a thread that submits and waits again and again uses the same lines each
 * time: no memory is allocated, no node taken from a pool. Each place has a word that tells whether it is in use. Whoever gives
 * the last reference up writes that, from any thread and at any time, also when the runtime is gone: the nest goes with the last
 * of its places, of which the runtime gives up those that nobody has. A nest has few places; where all are in use events have
 * memory of their own, as all others do.
 *
 * Nobody knows the node but through the event. So its list of successors is closed only when somebody said in the event's word
 * that he is about to touch it (pel_event_follow): the end of a task that nobody followed is one atomic operation.
 *
 * Rejected: one block for good for each thread (nobody tells us when a thread ends), and a free list for each nest (an exchange
 * more on each side, for an order that a ring of a few places does not need).
 */
#ifndef PEL_QUEUE_AWAITED_H
#define PEL_QUEUE_AWAITED_H

#include "queue/command.h"

/* A task with an event that declares nothing, from outside of tasks. UNSUPPORTED: nothing has happened, take the other way. */
pel_status pel_task_awaited(pel_queue *queue, pel_task_fn function, void *context, pel_event **event);

/* Of an event that lies in a nest: nobody has it any more. */
void pel_nest_give(pel_event *event);
/* Nobody will take places from the nests of these lanes any more: what is in use outlives them. */
void pel_nests_leave(pel_host_tasks *tasks);

#endif
