/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packs: bare tasks that travel together.
 *
 * A bare task has no event, no accesses and no submitter that is a task itself: nobody can know it, so it needs no identity. One
 * that its thread submits right behind another, to the same queue, is put into the node of the first one, as a function and a
 * context, as long as nobody has taken that: 64 tasks to a node at most. So a million of them are some 21 bytes each instead of a
 * line, and one publication, one hand-over, one end counted for 64. The first of a row costs what a task by itself does, and a
 * task is never held back to wait for company: it lies in the lane as before, whoever wants it takes the pack as it is.
 *
 * Whoever takes a pack makes a group of its first tasks (backend/host/group.h), as many as should last GROUP_NS by what this
 * runner's last ones took, one by one where tasks are long, and pushes the rest to its deque, where others steal it as ever. In a
 * group tasks begin in the order of submission; what is behind a task that lasts, others can still reach.
 *
 * Their places in program order follow each other: they are what a failure is reported by, and what children are ordered by. All
 * tasks of a group share one node for that; a task whose children outlive its function keeps it, and the others get another.
 *
 * Rejected: to hold tasks back in the submitter until there are enough (what is submitted begins at once here, and who knows that
 * nothing more comes?), a slab of nodes a pack (the same memory, the same ends; 64 bytes a task through the caches).
 */
#ifndef PEL_QUEUE_PACK_H
#define PEL_QUEUE_PACK_H

#include "queue/command.h"

/* A task that nobody else can know: no event, nothing declared. Those that need it go the long way (pel_task_any). */
pel_status pel_task_bare(pel_queue *queue, pel_task_fn function, void *context);

/* Runs a node of kind PACK, or the part of it that should not last long. */
void pel_pack_run(pel_host_runner *runner, pel_node *node);
/* Of pel_host_tasks. False: there is none any more, or no memory for it just now. */
bool pel_pack_go_on(pel_host_runner *runner);
bool pel_pack_relieve(pel_host_runner *runner, pel_host_group *from);

/* task.c. The queue, the event and the hazards learn of a failure. Takes over `error`; returns what successors are told, owned by
 * the caller. */
pel_error *pel_task_note_failure(pel_runtime *runtime, pel_node *node, pel_status status, pel_error *error);
pel_error *pel_task_failed(pel_runtime *runtime, pel_status returned);
pel_status pel_task_out_of_memory(pel_queue *queue);
/* So many tasks are over. After this nothing of the queue is touched, which may be gone. */
void pel_task_count(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage, uint32_t count);

#endif
