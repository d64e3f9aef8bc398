/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A catalogue case run by a hand-written OpenCL program, without pel: what the library is measured against. Same device, same
 * source, same local size; the program is built, launched once and rebuilt from its binary, as the library does; devices of the
 * host's memory use the case's memory in place, others keep the inputs and read the outputs back after each launch. One enqueue
 * and one clFinish a run: nothing less would be correct.
 */
#ifndef PEL_CLI_BENCH_RAW_H
#define PEL_CLI_BENCH_RAW_H

#include "catalogue.h"

typedef struct pel_bench_raw pel_bench_raw;

/* The case must outlive it. UNSUPPORTED when the build has no OpenCL or the device is not an OpenCL one; otherwise `why` says
 * what failed. */
pel_status pel_bench_raw_open(const pel_device *device, pel_case *c, pel_bench_raw **raw, char why[128]);
bool pel_bench_raw_run(pel_bench_raw *raw);

/* Items [lo, hi) along the highest dimension only, whole work-groups; not for kernels that ask for group numbers. */
bool pel_bench_raw_run_part(pel_bench_raw *raw, uint64_t lo, uint64_t hi);
void pel_bench_raw_close(pel_bench_raw *raw);

#endif
