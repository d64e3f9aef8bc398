/* SPDX-License-Identifier: BSD-3-Clause */
/* A kernel: an entry of a program and/or a host function, the access declaration of each argument, and how it may be split.
 * Immutable. */
#ifndef PEL_KERNEL_H
#define PEL_KERNEL_H

#include <pel/access.h>
#include <pel/export.h>
#include <pel/program.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_kernel pel_kernel;

/*
 * Host variant: computes the items of `span`, which is cut at work-group boundaries. arguments[i] points to the value, to byte 0
 * of the buffer or sub-range ("base-relative": index with global ids), or to local memory; scratch is `scratch_bytes` of the
 * executing worker's own, 64-byte aligned, contents undefined. Runs on several threads at once, on different spans: workers, and
 * threads of the caller that wait. Returns PEL_OK or a failure that becomes the command's TASK_FAILED.
 */
typedef pel_status (*pel_host_fn)(const pel_span *span, void *const *arguments, void *scratch, void *user);

/* Group-wise host variant, for kernels with local memory and barriers: called once per work-group; LOCAL arguments point to
 * memory of the worker. */
typedef struct pel_group {
    uint32_t dims;
    uint64_t id[3];            /* work-group id in the whole launch */
    uint64_t lo[3], hi[3];     /* global ids of its items, without the launch's offset */
    uint64_t global[3], local[3], offset[3];
} pel_group;
typedef pel_status (*pel_host_group_fn)(const pel_group *group, void *const *arguments, void *scratch, void *user);

/*
 * Result check: whether what a launch computed for `span` is right, found for less than computing it again (checksums of a matrix
 * product, a residual). Arguments as for the host variant, results included; what it read *and* wrote is there as written only.
 * Runs on host workers, several at once, for the chunks that are to be verified (pel/verification.h), and on the thread that
 * brings a chunk back that was computed anew: PEL_OK, or anything else, upon which the chunk is computed anew on another device.
 * Must not write; waiting in it is refused (WOULD_DEADLOCK).
 */
typedef pel_status (*pel_check_fn)(const pel_span *span, void *const *arguments, void *user);

enum {
    PEL_KERNEL_SINGLE_DEVICE = 1u << 0, /* never split */
    PEL_KERNEL_CHUNK_SAFE = 1u << 1,    /* "I know what I do": lifts the refusals about global atomics and the like */
    PEL_KERNEL_IRREGULAR = 1u << 2      /* cost differs much between items: start with smaller pieces */
};

typedef struct pel_kernel_desc {
    size_t size;                       /* sizeof(pel_kernel_desc); 0: the layout of the first release */
    const char *entry;                 /* kernel function in the program; NULL: host function only */
    const char *name;                  /* for plans and traces; NULL: the entry */
    const pel_param *params;           /* copied */
    uint32_t param_count;
    uint32_t flags;                    /* PEL_KERNEL_* */
    uint32_t split_dimension;          /* 1 + dimension; 0: the highest-numbered one of the launch */
    uint32_t reserved;
    uint64_t granularity;              /* units per chunk are a multiple of this (besides the local size); 0: 1 */
    pel_host_fn host;                  /* host variant, or NULL */
    pel_host_group_fn host_group;      /* or this one */
    uint64_t scratch_bytes;
    void *user;                        /* handed to the host variant */
    double cost_hint;                  /* work per item relative to one multiply-add; 0: unknown. A simulation's cost unit. */
    pel_check_fn check;                /* of results, or NULL; with `user` */
} pel_kernel_desc;

#define PEL_KERNEL_DESC_INIT {sizeof(pel_kernel_desc), NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, 0, NULL, 0.0, NULL}

/*
 * Makes a kernel, from any thread; everything is copied. May block where a driver has to be asked. The number of parameters and,
 * where the driver tells, their kinds and sizes are checked against the program. Errors: NOT_FOUND (no such entry; the message
 * lists the entries), INVALID_ARGUMENT (wrong declaration; the message names the parameter), OUT_OF_MEMORY.
 */
PEL_API PEL_MUST_CHECK pel_status pel_kernel_create(pel_program *program, const pel_kernel_desc *desc, pel_kernel **kernel,
                                                    pel_error **error);

/* Releases the caller's hold; submitted commands keep theirs. Any thread; never waits for commands. NULL: OK. AFTER_FORK. */
PEL_API pel_status pel_kernel_destroy(pel_kernel *kernel);

PEL_END_DECLS
#endif
