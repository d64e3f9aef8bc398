/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a chunk of a launch keeps the ids and sizes of the whole launch, in plain numbers (DESIGN "Addressing contract").
 *
 * A device that runs items [lo, hi) knows only what the enqueue says: sizes and offsets of three dimensions. The sizes of the
 * whole launch travel as global offsets of dimensions that the launch does not need, and a prelude (backend/opencl/prelude.c)
 * reads them back through get_global_id:
 *     1-D  global {n, 1, 1}    offset {user offset + lo, N, user offset}
 *     2-D  global {n0, n1, 1}  offset {lo0, lo1, N0 | N1 << 32}                needs N0, N1 < 2^32 and no user offset
 *     3-D  global {N0, N1, n2} offset {0, 0, lo2 | N2 << 32}    needs N2 < 2^32, no user offset, split along dimension 2
 * Rejected: hidden arguments (need a rewrite of the kernel's signature) and -D constants (a rebuild per size).
 */
#ifndef PEL_BACKEND_ADDRESSING_H
#define PEL_BACKEND_ADDRESSING_H

#include <pel/access.h>
#include <stdbool.h>

/* What an enqueue of work_dim 3 says about items [lo, hi) of a launch. */
typedef struct pel_addressing {
    uint64_t offset[3], global[3];
} pel_addressing;

/*
 * Why parts of this launch (a whole launch, lo == 0 and hi == global, or any part of it) cannot run with the ids of the whole;
 * NULL when they can. Static text that completes the sentence "it is not split: ...". Pure.
 */
const char *pel_addressing_refusal(const pel_span *span);

/* The enqueue for items [lo, hi) of a launch that pel_addressing_refusal accepts. */
void pel_addressing_encode(const pel_span *span, const uint64_t lo[3], const uint64_t hi[3], pel_addressing *out);

#endif
