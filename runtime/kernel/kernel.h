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
    char *unsafe;                  /* why its launches cannot be split (kernel/scan.c); NULL: nothing found */
    bool uses_atomics;             /* splitting is safe only with a declared reduction */
    bool knows_offset;             /* it may count items without the launch's offset, as declarations do */
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
    uint64_t *largest_group;       /* per device: items of its largest work-group of this kernel; 0: not known */
    uint64_t fixed_group;          /* devices (pel_device_bit) that find one size of work-groups demanded in its source */
    uint64_t model_id;             /* hash of name, entry, digest, declaration */
    atomic_uint launches;          /* submitted so far */
    struct pel_backend_device *_Atomic roused; /* whom its next launch is likely to have to wake: queue/begins.c; or NULL */
    uint64_t chunks_seen;          /* (lock) that might have been verified: resilience/verdict.h */
    pel_kernel *next_released;     /* in runtime->released_kernels */
};

void pel_kernel_retain(pel_kernel *kernel);
/* not under runtime->lock: the last release asks the drivers, which may write their caches */
void pel_kernel_release(pel_kernel *kernel);
void pel_kernel_release_locked(pel_kernel *kernel); /* under it: the last release only notes the kernel for pel_kernels_reap */
/* without the lock, on the caller's threads only: drivers may be closing on theirs */
void pel_kernels_reap(pel_runtime *runtime);
void pel_program_release(pel_program *program);

/* Devices that run source, not host variants. */
static inline bool pel_device_builds_source(const pel_device *device) {
    return device->facts->info.kind == PEL_DEVICE_OPENCL && !device->runtime->machine;
}

/* What the text of a program says about splitting. */
typedef struct pel_scan {
    char *unsafe;                  /* a reason, or NULL; owned by the caller */
    bool plain_only;               /* the ids themselves are tampered with: the addressing prelude must not be used at all */
    bool uses_atomics;
    bool knows_offset;             /* it names the launch's offset, or ids that do not contain it */
} pel_scan;

/*
 * Reads OpenCL C with comments removed and names what the addressing contract does not cover: printf, pipes, enqueue_kernel,
 * #undef of or own macros for the id functions, variables of the program, pointers in structs, non-OpenCL C. Conservative: a
 * false alarm costs a split, never a result. Several files may be joined with PEL_SCAN_NEXT_FILE between them.
 */
#define PEL_SCAN_NEXT_FILE '\x01'
pel_status pel_scan_source(const pel_allocator *allocator, const char *source, size_t bytes, pel_scan *scan);

#endif
