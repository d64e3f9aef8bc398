/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parallel loops: a range of one to three dimensions divided among the calling thread and the host workers, now, without a queue.
 * The call returns when all of it is done. For work that shall be ordered with other commands, or run while the caller does
 * something else, use pel_task and pel_loop.
 *
 * From any thread, also inside tasks and inside the body of another parallel loop. The calling thread takes part; workers come
 * when they are free, and what none of them has begun the caller does itself, so a call never waits for anybody but those who
 * work for it. With one worker, or on a simulated machine, the caller does everything, in order.
 *
 * A body computes. It cannot wait for commands of the runtime: pel_event_wait (for what is not complete), pel_queue_finish and
 * all else that waits return WOULD_DEADLOCK at once, on the caller's thread as on any other, inside and outside of tasks; so the
 * outcome does not depend on who runs which part. It must not submit commands, which nobody checks. What it may touch is the
 * caller's business: no hazards are looked for.
 */
#ifndef PEL_PARALLEL_H
#define PEL_PARALLEL_H

#include <pel/export.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

/* [lo, hi) in each of the first `dims` dimensions. Dimension 0 is the one whose neighbours are neighbours in memory; the
 * highest one is cut first. */
typedef struct pel_range {
    uint32_t dims; /* 1 to 3 */
    uint32_t reserved;
    uint64_t lo[3], hi[3];
} pel_range;
#define PEL_RANGE_1D(n) {1, 0, {0, 0, 0}, {n, 1, 1}}
#define PEL_RANGE_2D(n0, n1) {2, 0, {0, 0, 0}, {n0, n1, 1}}
#define PEL_RANGE_3D(n0, n1, n2) {3, 0, {0, 0, 0}, {n0, n1, n2}}

typedef enum pel_partition {
    PEL_PARTITION_AUTO = 0,   /* an equal part for each thread; who is done early takes half of what another has left */
    /* one equal part for each thread, the same thread as a rule for the same part; best where all parts take as long */
    PEL_PARTITION_STATIC = 1,
    PEL_PARTITION_DYNAMIC = 2 /* pieces of `grain`, in order, to whoever is free; best where pieces differ much */
} pel_partition;

typedef struct pel_parallel_desc {
    size_t size;              /* sizeof(pel_parallel_desc); 0: the layout of the first release */
    pel_partition partition;
    uint32_t threads;         /* at most so many, the caller included; 0: as many as there are host workers */
    uint64_t grain;           /* points in a piece, at least, but for the last; 0: chosen */
} pel_parallel_desc;
#define PEL_PARALLEL_DESC_INIT {sizeof(pel_parallel_desc), PEL_PARTITION_AUTO, 0, 0}

/* Computes a part of the range, which has its dimensions. A result other than PEL_OK keeps parts from being begun that are not
 * yet, and is returned. Static parts belong to threads that may all be about to begin, so some may begin after a failure. */
typedef pel_status (*pel_parallel_fn)(const pel_range *part, void *context);

/*
 * Calls `body` for parts that cover the range, each point once. An empty range: PEL_OK, no call. desc NULL: all defaults. Blocks
 * until all parts have ended. Returns the first failure of a body that was seen; or INVALID_ARGUMENT (NULL, dims, a range that
 * ends before it begins, an unknown partition, a descriptor of another size), TOO_LARGE (more than 2^64 - 1 points), AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_parallel_for(pel_runtime *runtime, const pel_range *range, pel_parallel_fn body,
                                                   void *context, const pel_parallel_desc *desc);

/* Adds what the part yields to *partial; several parts may go into one partial, always the same ones in the same order. */
typedef pel_status (*pel_parallel_reduce_fn)(const pel_range *part, void *partial, void *context);
/* Makes *into the combination of *into and *from, which comes after it in the range. */
typedef void (*pel_merge_fn)(void *into, const void *from, void *context);

/*
 * Reduces a range to one value of `bytes` bytes. The range is cut into at most 256 blocks, which depend on the range and the
 * grain alone; each block begins with a copy of *identity, and the blocks are merged in a fixed binary tree, so the result has
 * the same bits whatever the number of threads and whoever was faster. *result is written only on success; it may be where
 * `identity` is. Errors besides those of pel_parallel_for: OUT_OF_MEMORY.
 */
PEL_API PEL_MUST_CHECK pel_status pel_parallel_reduce(pel_runtime *runtime, const pel_range *range, pel_parallel_reduce_fn body,
                                                      pel_merge_fn merge, size_t bytes, const void *identity, void *result,
                                                      void *context, const pel_parallel_desc *desc);

PEL_END_DECLS
#endif
