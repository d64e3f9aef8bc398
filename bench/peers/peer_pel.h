/* SPDX-License-Identifier: BSD-3-Clause */
/* pel as a contestant: what its files share. Public API only: this is a user's program. */
#ifndef PEL_PEERS_PEER_PEL_H
#define PEL_PEERS_PEER_PEL_H

#include "contestant.h"
#include <pel/pel.h>

typedef struct peer_pel {
    pel_runtime *runtime;
    pel_queue *queue;
} peer_pel;

/* A runtime on these devices, with so many workers (0: its own choice), and a queue. What fails ends the program with its
 * story: the row has no figure. */
peer_pel peer_pel_open(const char *devices, uint32_t workers, const pel_allocator *allocator);
peer_pel peer_pel_open_queue(const char *devices, uint32_t workers, const pel_allocator *allocator, uint32_t flags);
void peer_pel_close(peer_pel *p);
void peer_pel_must(peer_pel *p, pel_status status, const char *doing);
void peer_pel_finish(peer_pel *p);

void peer_pel_submit_wave(peer_pel *p, pel_buffer *cells, unsigned side);
void peer_pel_chain_replay(const contestant_run *run);
void peer_pel_wave_replay(const contestant_run *run, double serial); /* of all cells one after the other, measured before */
void peer_pel_launch(const contestant_run *run);
void peer_pel_small(const contestant_run *run);
void peer_pel_cholesky(const contestant_run *run);
void peer_pel_wait(const contestant_run *run);
void peer_pel_wake(const contestant_run *run);
void peer_pel_fork_join(const contestant_run *run);
void peer_pel_triad(const contestant_run *run);

#endif
