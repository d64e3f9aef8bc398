/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenMP's triad, for contestants that take turns with it on the same arrays: page placement makes a bandwidth differ by a
 * third between two processes. */
#ifndef PEL_PEERS_TRIAD_OPENMP_H
#define PEL_PEERS_TRIAD_OPENMP_H

#include "workload.h"

#ifdef __cplusplus
extern "C" {
#endif

bool triad_openmp_available(void);
void triad_openmp_wake(unsigned threads); /* the team, not timed */
void triad_openmp_run(double *a, const double *b, const double *c, uint64_t count, unsigned threads);
void triad_openmp_rest(void); /* ends the team: its idle threads spin */

#ifdef __cplusplus
}
#endif
#endif
