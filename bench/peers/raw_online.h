/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dependent tasks by hand, found while they are submitted: the floor of the rows `ranges`, `chain` and `wavefront`, online.
 *
 * It does what these rows need and no more: one submitter, one helper, blocks that are known by their number, at most three
 * accesses a task, no failures, no events, no memory that runs out. A task is one cache line of a ring, used again when it is
 * over; a block remembers the number of its last writer and of the readers since; an edge is a word of the later task's line.
 * Ready tasks lie in a deque of Chase and Lev for each thread, and whoever ends a task runs the first one that this has made
 * ready. The submitter is `ahead` tasks in front at most, then it helps, and at the end, too.
 */
#ifndef PEL_PEERS_RAW_ONLINE_H
#define PEL_PEERS_RAW_ONLINE_H

#include "contestant.h"

void raw_online_ranges(const contestant_run *run);
void raw_online_chain(const contestant_run *run);
void raw_online_wavefront(const contestant_run *run, double serial);

#endif
