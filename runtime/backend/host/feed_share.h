/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose calls are next, where several queues have some that wait.
 *
 * Each queue's feeds have one clock, which runs with what its calls took over the queue's weight, and the queue whose clock is
 * behind goes first (start-time fair queueing, as for launches: queue/fair.c). Clocks run only while queues compete: a queue that
 * had nothing at the last look begins where the others are. So a program with one queue reads nothing of this, and a queue alone
 * is charged nothing.
 *
 * A look takes a flag, and gives up where another has it: then whatever feed comes first is taken from, and charged all the same.
 * Clocks live with the engine, not with the queue, which may go while somebody looks.
 *
 * Rejected: shares by number (a queue of long tasks would have more than its share of the workers), a list of tasks in order (a
 * lock for each submission), and to charge what is expected (workers that choose at once may choose the same queue; the next look
 * puts that right).
 */
#ifndef PEL_BACKEND_HOST_FEED_SHARE_H
#define PEL_BACKEND_HOST_FEED_SHARE_H

#include "backend/host/feed.h"

typedef struct pel_host_share {
    _Atomic uint64_t clock;      /* nanoseconds over the weight, in 1/1024 */
    _Atomic uint32_t weight;
    atomic_uint comer;           /* how many queues have had it: a late charge for one that is gone is not the next one's */
    uint64_t met;                /* the last look that found something of it */
} pel_host_share;

typedef struct pel_host_shares {
    atomic_uint busy;            /* somebody looks: `of` and below, and `met` */
    uint64_t looks;
    uint64_t now;                /* the clock of who went last */
    pel_host_share of[PEL_HOST_FEEDS];
} pel_host_shares;

/* A queue comes, and begins where the others are, whoever had the share before. */
void pel_host_share_come(pel_host_shares *shares, uint32_t index, uint32_t weight);
uint32_t pel_host_share_comer(const pel_host_shares *shares, uint32_t index);
/* Of the feeds that have something the one to take from, from `first` on where they are equal. NULL: none has. *competes: others
 * have something, too, and what it takes is to be charged. */
pel_host_feed *pel_host_share_choose(pel_host_shares *shares, pel_host_feed *feeds, uint32_t used, uint32_t first,
                                     bool *competes);
/* For calls that were taken when it was this comer's. */
void pel_host_share_charge(pel_host_shares *shares, uint32_t index, uint32_t comer, int64_t ns);

#endif
