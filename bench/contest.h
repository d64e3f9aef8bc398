/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs contestants (bench/peers/contestant.h) in turns and reports what they found. Shared by the sections `micro` (pel and the
 * floors below it) and `peers` (all that were found when the tree was built).
 *
 * Per row, each contestant runs as a process of its own, once a round, every other round in the opposite order: a disturbed or
 * drifting machine does the same to all, and threads that a runtime leaves spinning are gone before the next one starts. A
 * contestant that crashes, hangs or fails its own verification has no figure in that row, and the section fails.
 */
#ifndef PEL_BENCH_CONTEST_H
#define PEL_BENCH_CONTEST_H

#include "harness.h"

typedef struct pel_contest {
    pel_results *results;
    const char *const
        *programs; /* "peer_pel" beside this program; the list ends with NULL. Those that were not built are left out. */
    bool table;                  /* all rows and subjects at the end, and pel over the best other one */
} pel_contest;

/* False when nothing could be run at all; wrong results count as missed bars. */
bool pel_contest_run(const pel_contest *contest);

#endif
