/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs and kernels behind their public handles. Immutable after creation but for reference counts. */
#ifndef PEL_KERNEL_KERNEL_H
#define PEL_KERNEL_KERNEL_H

#include "backend/backend.h"
#include "core/runtime.h"
#include <pel/kernel.h>
#include <pel/program.h>
#include <stdatomic.h>

struct pel_program {
    pel_runtime *runtime;
    atomic_uint references;        /* caller + kernels */
    pel_program_image image;
    char *unsafe;                  /* why its launches cannot be split (printf, pipes, #undef ...: kernel/scan.c); NULL: nothing found */
    char **not_on;                 /* per device: why it does not build there; NULL: builds */
};

struct pel_kernel {
    pel_runtime *runtime;
    atomic_uint references;        /* caller + commands */
    pel_program *program;
    pel_kernel_image image;
    uint32_t split_dimension;      /* 1 + dimension, 0: highest */
    uint64_t granularity;
    char *single;                  /* static reason why it is never split, or NULL */
    char **not_on;                 /* per device: why it cannot run there (no host variant, does not build); NULL: can */
    uint64_t model_id;             /* hash of name, entry, digest, declaration */
    atomic_uint launches;          /* submitted so far */
};

void pel_kernel_retain(pel_kernel *kernel);
void pel_kernel_release(pel_kernel *kernel);

/*
 * Reads OpenCL C with comments and strings removed and names what the addressing contract does not cover: printf, pipes, enqueue_kernel, #undef of
 * or own macros for the id functions, global atomics in a kernel without a declared reduction, non-OpenCL C. Conservative: a false alarm costs a split, never a result.
 */
pel_status pel_scan_source(const pel_allocator *allocator, const char *source, size_t bytes, char **why_unsafe, bool *uses_atomics);

#endif
