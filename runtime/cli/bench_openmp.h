/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A catalogue case run by a plain OpenMP loop, without pel: what the host variants are measured against. The loop's body is the
 * host variant itself, compiled with the same flags, so that the ratio is the library's scheduling and nothing else. Regular
 * kernels use schedule(static), irregular ones schedule(dynamic).
 */
#ifndef PEL_CLI_BENCH_OPENMP_H
#define PEL_CLI_BENCH_OPENMP_H

#include "catalogue.h"

bool pel_bench_openmp_available(void);

/*
 * Around each timed run: begin wakes the team (a program in its steady state has one), end dismisses it: idle OpenMP threads spin
 * for milliseconds and would be charged to whoever runs next.
 */
void pel_bench_openmp_begin(unsigned threads);
bool pel_bench_openmp_run(pel_case *c, unsigned threads);
void pel_bench_openmp_end(void);

#endif
