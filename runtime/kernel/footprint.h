/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The footprint: which bytes a span of a launch reads and may write, per argument. Declarations are one source of it; everything
 * downstream (hazards, conflict rule, transfers, verification) asks only here, so that other sources can stand beside them.
 */
#ifndef PEL_KERNEL_FOOTPRINT_H
#define PEL_KERNEL_FOOTPRINT_H

#include "kernel/kernel.h"
#include "memory/memory.h"
#include <pel/launch.h>
#include <pel/arg.h>

/* An argument of a submitted launch: values copied, buffers resolved to allocation and offset. */
typedef struct pel_bound_arg {
    pel_arg_kind kind;
    pel_param_kind param;          /* of the kernel's declaration */
    const void *value;             /* VALUE and STRUCT: into pel_bound.storage */
    uint64_t bytes;                /* of the value, the local memory, or the buffer (range) */
    pel_buffer *buffer;            /* for counters only; NULL after the command was unbound from it */
    pel_allocation *allocation;    /* BUFFER and RANGE, else NULL */
    uint64_t offset;               /* of the argument's byte 0 in the allocation */
} pel_bound_arg;

/* A launch with everything checked and copied. */
typedef struct pel_bound {
    pel_kernel *kernel;            /* retained */
    pel_span span;                 /* the whole launch; local all zero when the library chooses */
    uint64_t units;                /* along span.split */
    uint64_t granularity;          /* units per chunk are a multiple of this */
    pel_bound_arg *args;
    uint32_t arg_count;
    const void **values;           /* per argument: value or NULL, for pel_access_fn */
    void *storage;                 /* one block behind it all */
    const char *single;            /* why it may not be split, or NULL (kernel/cuts.c) */
    char *single_text;             /* storage for a composed reason */
    /* devices, by index, that take parts of its buffers (queue/stream.c); asked where it may not fit whole */
    uint64_t windows;
    pel_objective objective;       /* what it is planned for */
    pel_verification verification; /* share 0: none */
    const char *unverified;        /* why, although it is the runtime's default; static */
    const char *no_windows;        /* why one does not */
    uint32_t avoid;                /* the device that failed it, by index, plus 1, while there are others; 0: none */
} pel_bound;

/*
 * Checks a launch against its kernel and binds it: dimensions, sizes (64-bit, beyond-memory ranges), local size dividing
 * global, values' sizes, argument kinds, buffers of this runtime, declared accesses of the whole launch within their buffers.
 * Takes runtime->lock for a moment; retains kernel and allocations. Errors name the argument: "argument 2 (elementwise float):
 * needs 4096 bytes, the buffer has 4000".
 */
pel_status pel_bind(pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args, uint32_t arg_count, pel_bound *bound,
                    pel_error **error);
void pel_unbind(pel_bound *bound); /* needs runtime->lock */

/* The span of units [lo, hi) of a bound launch. */
void pel_bound_span(const pel_bound *bound, uint64_t lo, uint64_t hi, pel_span *span);

/* A growing list of byte intervals, relative to the argument's byte 0, sorted and disjoint after pel_footprint. */
typedef struct pel_intervals {
    pel_interval *data;
    uint32_t count, capacity;
} pel_intervals;

typedef struct pel_footprint {
    pel_intervals reads;           /* must be valid where the span runs */
    pel_intervals writes;          /* may be written there; bytes that are not in `reads` are all written */
    bool known;                    /* false: undeclared; reads and writes are the whole argument */
} pel_footprint;

/*
 * Lists are reused between calls (cleared first). Errors: OUT_OF_MEMORY. PER_GROUP: rows of the span's groups. REDUCE_PRIVATE:
 * reads and writes the whole array (the dispatcher substitutes private copies).
 */
pel_status pel_footprint_query(const pel_bound *bound, const pel_span *span, uint32_t arg, pel_footprint *footprint);
void pel_footprint_free(const pel_allocator *allocator, pel_footprint *footprint);

/*
 * The conflict rule over allocations: for chunks A != B with boundaries cuts[0] < ... < cuts[chunks] (in units), writes(A) and
 * reads or writes of B are disjoint. OK: *why stays NULL. CONFLICT: *why says which arguments and bytes (owned by the caller).
 * REDUCE_PRIVATE arguments are exempt among themselves.
 */
pel_status pel_conflict_check(const pel_bound *bound, const uint64_t *cuts, uint32_t chunks, char **why);

#endif
