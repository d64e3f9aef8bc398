/* SPDX-License-Identifier: BSD-3-Clause */
/* Host launches that are over sooner than they are dealt out, as tasks: see short_launch.c. */
#ifndef PEL_QUEUE_SHORT_LAUNCH_H
#define PEL_QUEUE_SHORT_LAUNCH_H

#include "queue/command.h"

typedef struct pel_short pel_short;

/* Whether a launch on this device, predicted to take so long, is to be one: nothing of it needs memory of a worker's own, a merge
 * of partial results, or a look at what it wrote. */
bool pel_short_suits(const pel_runtime *runtime, const pel_bound *bound, uint32_t device, double predicted_ns);
/* NULL: no memory, or not as a task. Its accesses are `uses`. */
pel_short *pel_short_create(const pel_runtime *runtime, const pel_bound *bound, const pel_uses *uses);
/* One more run of it, which pel_short_submit uses up. Under the runtime's lock. */
void pel_short_take(pel_short *launch);
/* No more are taken; what was taken may still run. */
void pel_short_destroy(pel_short *launch);

/* Not under the lock; `args` are those that it was made of. UNSUPPORTED: nothing has happened. */
pel_status pel_short_submit(pel_short *launch, pel_queue *queue, const pel_arg *args);

/* For task.c and the dispatcher. forgo: the node's task is not going to be called; nothing where it is another's. unused: there
 * is not even a node. error: why it failed; NULL: it is another's. name: as failures tell it. */
void pel_short_forgo(const pel_node *node);
void pel_short_unused(pel_task_fn function, void *context);
pel_error *pel_short_error(const pel_node *node, pel_status returned);
const char *pel_short_name(const pel_node *node, const char *other);

#endif
