/* SPDX-License-Identifier: BSD-3-Clause */
/* What starting takes without pel: hwloc's own load with the same flags, OpenCL's own first call, a program from its binary.
 * Nanoseconds, or negative. */
#ifndef PEL_BENCH_RAW_STARTUP_H
#define PEL_BENCH_RAW_STARTUP_H

#include <pel/runtime.h>
#include <stdbool.h>

double pel_raw_hwloc_load(void);
double pel_raw_first_platform_call(void);

/* Builds the triad from source, launches it and saves the binary. */
bool pel_raw_save_binary(const char *path);

/* Makes the context of a runtime's OpenCL device, which pel makes when it is first needed, and the raw contestant before its
 * clock starts. */
bool pel_raw_touch_context(const pel_runtime *runtime);

/* From a saved binary: time until the kernel exists, and of its first launch. */
bool pel_raw_kernel_from_binary(const char *path, double *ready_ns, double *launch_ns);

#endif
