/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What isolating a launch on the host takes without pel: threads that compute into private memory, and a caller that must not
 * compute itself, because it would hang with a kernel that hangs; it sleeps until they are done or a second has passed, and
 * copies what they wrote. No queue, no hazards, no model, no retry: what is dearer than the launch alone here is what handing
 * work over and being woken costs on this machine.
 */
#ifndef PEL_BENCH_ISOLATE_HAND_H
#define PEL_BENCH_ISOLATE_HAND_H

#include <stdbool.h>
#include <stdint.h>

#include <pel/pel.h>

typedef struct pel_isolate_hand pel_isolate_hand;

/*
 * `function` is a host variant of two arguments of uint32_t, read and written, of up to `items`. with_caller: it is one of the
 * threads, for pel_isolate_hand_plain. NULL: no memory, no threads.
 */
pel_isolate_hand *pel_isolate_hand_open(uint32_t threads, pel_host_fn function, uint32_t items, bool with_caller);
void pel_isolate_hand_close(pel_isolate_hand *hand); /* NULL is fine */

/* keep: what was in y is needed, too. False: not done within a second. */
bool pel_isolate_hand_run(pel_isolate_hand *hand, const uint32_t *x, uint32_t *y, uint32_t items, bool keep);

/* Without isolation: the caller computes the last part, and all write to y. */
void pel_isolate_hand_plain(pel_isolate_hand *hand, const uint32_t *x, uint32_t *y, uint32_t items);

#endif
