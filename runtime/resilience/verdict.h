/* SPDX-License-Identifier: BSD-3-Clause */
/* The pure parts of verification: which chunks are computed twice, whether two results are equal, and who is right. No memory,
 * no clock, no lock. */
#ifndef PEL_RESILIENCE_VERDICT_H
#define PEL_RESILIENCE_VERDICT_H

#include "base/error.h"
#include <pel/verification.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether chunk `index` of a sequence is chosen: exactly one of each 1 / share that follow each other, which one by the seed
 * and the sequence's name. */
bool pel_verdict_chosen(const pel_verification *how, uint64_t sequence, uint64_t index);

/* *first: the first byte that differs by more than allowed; at the boundary of a number where numbers are compared. */
bool pel_verdict_equal(const pel_verification *how, const void *a, const void *b, uint64_t bytes, uint64_t *first);

enum { PEL_VERDICT_VOTES = 8 };

/* What was computed for one chunk so far; vote 0 is the result in the buffers. */
typedef struct pel_verdict_votes {
    uint32_t count;
    uint32_t device[PEL_VERDICT_VOTES];
    bool counts[PEL_VERDICT_VOTES];     /* false: it failed */
    uint32_t agrees[PEL_VERDICT_VOTES]; /* bit k: with vote k; both ways */
    bool checked;                       /* the kernel's own check says who is right */
    bool passes[PEL_VERDICT_VOTES];     /* if so */
    bool alone;                         /* one device is all there is, so its agreement with itself has to do */
} pel_verdict_votes;

typedef enum pel_verdict { PEL_VERDICT_MORE, PEL_VERDICT_RIGHT } pel_verdict;

/* MORE: another vote is needed. RIGHT: *winner is right; *wrong has a bit for each vote that is not. `last`: there will be no
 * other vote, so a device that contradicts itself loses. */
pel_verdict pel_verdict_find(const pel_verdict_votes *votes, bool last, uint32_t *winner, uint32_t *wrong);

#endif
