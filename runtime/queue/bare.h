/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bare tasks: no event, no accesses, no submitter that is a task itself.
 *
 * Nobody can know such a task, so it is a function and a context and nothing else: its thread writes it into the feed that it has
 * for the queue (backend/host/feed.h), where it can be taken at once. Whoever takes makes a group of the next ones
 * (backend/host/group.h), as many as should last GROUP_NS by what this runner's last ones took, one by one where tasks are long.
 * In a group tasks begin in the order of submission; what is behind a task that lasts, others can still reach.
 *
 * Their places in program order follow each other: they are what a failure is reported by, and what children are ordered by. The
 * tasks of a group share a node on the stack of whoever runs them, so running one needs no memory; a task that submits something
 * gets a node of the pool for that (scope.c), and where there is none, its submission is refused.
 *
 * Rejected: to hold tasks back in the submitter until there are enough (what is submitted begins at once here, and who knows that
 * nothing more comes?), and tasks packed into nodes of one list for all (until 2026-11-23: an exchange for each, and lines of
 * three tasks from all over the pool, which the next submitter had to fetch from whoever had run them).
 */
#ifndef PEL_QUEUE_BARE_H
#define PEL_QUEUE_BARE_H

#include "queue/command.h"

/* A task that nobody else can know: no event, nothing declared. Those that need it go the long way (pel_task_any). */
pel_status pel_task_bare(pel_queue *queue, pel_task_fn function, void *context);

/* Of pel_host_tasks. */
int64_t pel_bare_make(pel_host_runner *runner, uint32_t count);
bool pel_bare_go_on(pel_host_runner *runner);
bool pel_bare_relieve(pel_host_runner *runner, pel_host_group *from);

/* task_end.c. The queue, the event and the hazards learn of a failure. Takes over `error`; returns what successors are told,
 * owned by the caller. */
pel_error *pel_task_note_failure(pel_runtime *runtime, pel_node *node, pel_status status, pel_error *error);
pel_error *pel_task_failed(pel_runtime *runtime, pel_status returned);
pel_status pel_task_out_of_memory(pel_queue *queue);
/* So many tasks are over. After this nothing of the queue is touched, which may be gone. */
void pel_task_count(pel_runtime *runtime, pel_host_runner *runner, pel_stage *stage, uint32_t count);

#endif
