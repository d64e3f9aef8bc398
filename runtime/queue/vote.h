/* SPDX-License-Identifier: BSD-3-Clause */
/* What verify.c and vote.c share: a launch's verification, its chunks, and their votes. Everything needs runtime->lock. */
#ifndef PEL_QUEUE_VOTE_H
#define PEL_QUEUE_VOTE_H

#include "queue/verify.h"
#include "resilience/verdict.h"

typedef struct pel_vote {
    pel_job job;               /* a chunk computed again, or a task that runs the kernel's check on the result itself */
    struct pel_vote *next;     /* of the round */
    struct pel_checking *of;
    uint32_t number;           /* among the votes for its chunk */
    bool task;
    pel_uses written;          /* what it computed, in its private memory */
} pel_vote;

/* One chunk whose result is being verified. */
typedef struct pel_checking {
    struct pel_checking *next;
    pel_command *command;
    uint32_t job;              /* whose result it is */
    pel_verdict_votes votes;
    pel_vote *vote[PEL_VERDICT_VOTES];
    bool asked;                /* the kernel's check has seen the result itself */
    pel_device_set failed;     /* those that could not vote */
    uint32_t argument;         /* where the first difference was; UINT32_MAX: nowhere, or in no argument */
    uint64_t byte;
    void **arguments;          /* for the kernel's check */
} pel_checking;

struct pel_verify {
    pel_checking *open, *settled;
    pel_vote *round;
    bool filling;
    int64_t began;
    double took_ns;
    uint32_t chunks, verified, wrong; /* verified: of those that did not run again */
    pel_device_set voters, liars;
    double *load;              /* by device, for who chooses a voter; and */
    uint32_t *votes;
    char *why_not;             /* of the first chunk that could not be verified */
    char *story;               /* of the first wrong result */
};

/* Into the round: the chunk computed once more, by whoever may and is done with it first. False: by nobody. */
bool pel_vote_begin(pel_checking *c);
/* Or the kernel's own check of the result itself. False: no memory, and the command has failed. */
bool pel_check_begin(pel_checking *c);
void pel_verify_note_why_not(pel_checking *c, const char *why); /* keeps the first one */
void pel_vote_free(pel_runtime *runtime, pel_vote *vote);

#endif
