/* SPDX-License-Identifier: BSD-3-Clause */
/* Independent tasks by hand, really queued: see raw_tasks.c. */
#ifndef PEL_PEERS_RAW_TASKS_H
#define PEL_PEERS_RAW_TASKS_H

#include "contestant.h"

void raw_tasks_queued(const contestant_run *run);

#endif
