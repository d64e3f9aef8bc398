/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that a command should have written, and that could not even be noted for want of memory.
 *
 * A command whose later access finds no memory fails, but the structures do not know that it was to write there, so nothing would
 * stop whoever reads next from taking old bytes for its result. What is written here needs no memory: a few ranges, of which the
 * nearest grows to enclose another when there are more. So it may mean a failure too many, never one too few. Each lasts until it
 * is wholly overwritten, forgiven or gone. Rejected: to reserve all that the notes of a command may need before the first one
 * (every submission would pay for counting it), and to mark the pieces that are there (the one around may be the whole memory).
 */
#ifndef PEL_QUEUE_HAZARD_LOST_H
#define PEL_QUEUE_HAZARD_LOST_H

#include "queue/hazard_state.h"

enum { PEL_HAZARD_LOST = 64 };

typedef struct pel_hazard_lost {
    uint32_t count;
    struct {
        uint64_t lo, hi;
        pel_event *failed; /* retained */
        bool mixed;        /* of several queues: not forgiven with one of them */
    } at[PEL_HAZARD_LOST];
} pel_hazard_lost;

/* `failed` is complete. */
void pel_hazard_lost_add(pel_hazard_lost *lost, uint64_t lo, uint64_t hi, pel_event *failed);
/* Tells of what whoever reads [lo, hi) must not read. False: it could not be noted. */
bool pel_hazard_lost_look(const pel_hazard_lost *lost, uint64_t lo, uint64_t hi, pel_hazard_fn found, void *user);
/* Overwritten, or gone; where only the middle of a range is, all of it stays. */
void pel_hazard_lost_drop(pel_hazard_lost *lost, uint64_t lo, uint64_t hi);
void pel_hazard_lost_forgive(pel_hazard_lost *lost, uint64_t queue);

#endif
