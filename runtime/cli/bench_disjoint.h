/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices that honestly share nothing: PoCL with one thread on one core, one host worker on another. PoCL's pool takes its
 * size from the environment when the driver starts, so this belongs to programs, which own their environment, and not to the
 * library.
 */
#ifndef PEL_CLI_BENCH_DISJOINT_H
#define PEL_CLI_BENCH_DISJOINT_H

#include <stdbool.h>

enum { PEL_BENCH_DISJOINT_LIST = 64 };

/* Sets the environment and writes the device list. Before any OpenCL call. False after an error message: no two cores to share
 * out. */
bool pel_bench_disjoint(const char *command, char list[PEL_BENCH_DISJOINT_LIST]);

#endif
