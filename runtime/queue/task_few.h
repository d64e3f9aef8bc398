/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shortest way of a task with one to three accesses from outside of tasks, all of which are cells of the fields where the
 * last task's were (hazard_cells.h).
 *
 * A hand-written program for the same tasks spends some 100 instructions an access (bench/peers/raw_online.h); the general way
 * spends three times as many on calls, on what is written down twice, and on what it must be able to take back. Here everything
 * that could fail or is rare is asked first, before anybody can know of the node: wrong accesses, cells of no field, no room,
 * failures, long lists of readers, blocks of the pools that are not at hand. Then the general way is taken and nothing has
 * happened. What follows cannot fail: an edge from each predecessor, then the notes. The submission itself does not count as a
 * predecessor: when the last edge is there, the task may run, before it is noted; a note of a task that is over is void.
 */
#ifndef PEL_QUEUE_TASK_FEW_H
#define PEL_QUEUE_TASK_FEW_H

#include "queue/command.h"

/* What is not that simple goes on to pel_task_any. 1 to PEL_HAZARD_SPANS accesses; queue and function are not NULL. */
pel_status pel_task_few(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t count);

#endif
