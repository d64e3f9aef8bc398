/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data hazards between commands: read-after-write, write-after-read, write-after-write, by byte.
 *
 * One map per runtime over *host addresses*: every buffer has host memory behind it, so overlapping wraps and sub-ranges need no special case, and
 * dependencies hold across queues in the order of submission. Each interval remembers its last writer and the readers since. A successful writer is
 * as good as none; a failed one stays, because what it should have written is undefined until wholly overwritten.
 */
#ifndef PEL_QUEUE_HAZARD_H
#define PEL_QUEUE_HAZARD_H

#include "base/interval_map.h"
#include "queue/event.h"
#include <pel/access.h>

typedef struct pel_hazards pel_hazards;

pel_hazards *pel_hazards_create(const pel_allocator *allocator); /* NULL: no memory */
void pel_hazards_destroy(pel_hazards *hazards);

/* Told for each earlier command that must come first. data: its result is read. Returns false when it cannot be noted (no memory). */
typedef bool (*pel_hazard_fn)(void *user, pel_event *before, bool data);

/*
 * Submission in two steps, so that one which fails half-way leaves nothing behind: look for what all accesses must wait for (reported possibly more than
 * once, never `event` itself), then note them all. OUT_OF_MEMORY from look: nothing happened. From note: the caller must wait for everything
 * reported and complete `event` as failed; what was noted so far keeps the order right.
 */
pel_status pel_hazards_look(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_access_mode mode, const pel_event *event, pel_hazard_fn found,
                            void *user);
pel_status pel_hazards_note(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_access_mode mode, pel_event *event);

void pel_hazards_forget(pel_hazards *hazards, uint64_t lo, uint64_t hi); /* the memory is gone */
void pel_hazards_forgive(pel_hazards *hazards, uint64_t queue);          /* failures of this queue's commands no longer spread */

#endif
