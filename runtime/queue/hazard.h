/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data hazards between commands: read-after-write, write-after-read, write-after-write, by byte.
 *
 * One map per runtime over *host addresses*: every buffer has host memory behind it, so overlapping wraps and sub-ranges need no
 * special case, and dependencies hold across queues in the order of submission. Each interval remembers its last writer and the
 * readers since. A successful writer is as good as none; a failed one stays, because what it should have written is undefined
 * until wholly overwritten.
 *
 * The map names a command by its node and the node's generation. Completing a command is one store into its own memory: the map
 * is not touched and needs no lock; what the map still says about it is stale from then on and is dropped when met. Only a
 * failure is written into the map, because it must outlive the command. Everything else needs the caller's lock, one for all
 * queues: held from the look of a command to its note, and as short.
 */
#ifndef PEL_QUEUE_HAZARD_H
#define PEL_QUEUE_HAZARD_H

#include "base/interval_map.h"
#include "queue/event.h"
#include <pel/access.h>

typedef struct pel_hazards pel_hazards;

/*
 * What a command is known by. Its memory must stay readable until the hazards are destroyed, whatever becomes of the command:
 * part of a pooled command, or taken from pel_hazards_take_node. `generation` says which command; it counts on (release) when
 * that one is over, and never back.
 */
typedef struct pel_hazard_node {
    _Atomic uint64_t generation;
    void *user; /* for whoever is told of it; hazards do not look at it */
} pel_hazard_node;

static inline bool pel_hazard_node_over(pel_hazard_node *node, uint64_t generation) {
    return atomic_load_explicit(&node->generation, memory_order_acquire) != generation;
}

/* What a command touches. Rectangle: rows of row_bytes that begin at lo, lo + pitch, ...; the last one ends at hi. */
typedef struct pel_hazard_range {
    uint64_t lo, hi;               /* host addresses */
    pel_access_mode mode;
    uint64_t pitch, row_bytes;     /* 0, 0: all of [lo, hi) */
    uint64_t domain_lo, domain_hi; /* of a rectangle: the memory that it is a part of, as a rule the allocation */
} pel_hazard_range;

/* One in one piece, and the memory that it is a part of, as a rule the buffer (0, 0: not known): which only says where programs
 * are likely to use pieces of one size. */
typedef struct pel_hazard_span {
    uint64_t lo, hi;
    pel_access_mode mode;
    uint64_t domain_lo, domain_hi;
} pel_hazard_span;

/* An earlier command that must come first. */
typedef struct pel_hazard {
    /* it was under way a moment ago and may be over by now: see generation. NULL: it failed, see failed */
    pel_hazard_node *node;
    uint64_t generation;
    pel_event *failed;             /* complete; what it should have written is read */
    bool data;                     /* its result is read: a failure spreads along this edge */
} pel_hazard;

/* Told of each, possibly more than once. Returns false when it cannot be noted (no memory). */
typedef bool (*pel_hazard_fn)(void *user, const pel_hazard *before);

pel_hazards *pel_hazards_create(const pel_allocator *allocator); /* NULL: no memory */
void pel_hazards_destroy(pel_hazards *hazards);

/* For commands that are not pooled. NULL: no memory. Giving it back moves the generation on. */
pel_hazard_node *pel_hazards_take_node(pel_hazards *hazards, void *user);
void pel_hazards_give_node(pel_hazards *hazards, pel_hazard_node *node);

/*
 * Submission in two steps, so that one which fails half-way leaves nothing behind: look for what all accesses must wait for
 * (never for `self` at its present generation), then note them all. OUT_OF_MEMORY from look: nothing happened. From note: the
 * caller must wait for everything reported and complete the command as failed; what was noted so far keeps the order right, and
 * pel_hazards_lose tells of the rest.
 */
pel_status pel_hazards_look(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, const pel_hazard_node *self,
                            pel_hazard_fn found, void *user);
pel_status pel_hazards_note(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *self);

/*
 * Both steps for a task of few ranges in one piece each, PEL_HAZARD_SPANS at most. UNSUPPORTED (rectangles are about, the ranges
 * overlap each other, something was lost, no memory to tell of all): nothing is noted, and the two steps must follow, which tell
 * again of what was told here. OUT_OF_MEMORY: all was told, a part is noted, and pel_hazards_note must follow. The lock must be
 * kept until then.
 */
enum { PEL_HAZARD_SPANS = 3 };
pel_status pel_hazards_enter(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count, pel_hazard_node *self,
                             pel_hazard_fn found, void *user);

/*
 * The command has failed: what it should have written is marked with `failed`, which is complete or will be before the lock is
 * given up. Before its generation moves on. Cannot fail itself. Of a command that succeeds, the generation is all that changes.
 */
void pel_hazards_fail(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *self,
                      pel_event *failed);

/*
 * What the range's command should have written is undefined, although it could not be noted: whoever reads it from now on is
 * told of `failed`, which is complete, until it is overwritten. Of a range that is only read: nothing. Cannot fail itself.
 */
void pel_hazards_lose(pel_hazards *hazards, const pel_hazard_range *range, pel_event *failed);

void pel_hazards_forget(pel_hazards *hazards, uint64_t lo, uint64_t hi); /* the memory is gone */
void pel_hazards_forgive(pel_hazards *hazards, uint64_t queue);          /* failures of this queue's commands no longer spread */

#endif
