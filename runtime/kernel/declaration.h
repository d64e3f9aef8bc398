/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of kernel/ share about declarations; users include kernel.h and footprint.h. */
#ifndef PEL_KERNEL_DECLARATION_H
#define PEL_KERNEL_DECLARATION_H

#include "kernel/footprint.h"

/* Beyond so many strided pieces per argument a launch is not split: lists of that length cost more than a split gains. */
#define PEL_RUN_LIMIT 65536u

/* "elementwise", "block", ...; "unknown" for values outside the enumeration. Static. */
const char *pel_param_kind_name(pel_param_kind kind);
const char *pel_access_mode_name(pel_access_mode mode);

static inline bool pel_param_is_pointer(pel_param_kind kind) {
    return kind >= PEL_PARAM_KIND_POINTER;
}

/* Items of the whole launch per unit along its split dimension, of the dimensions below it. The launch's total fits 64 bits. */
uint64_t pel_items_below_split(const pel_span *span);

/* Bytes per unit of a block parameter. False: beyond 64 bits, or a pitch argument of 0. */
bool pel_block_pitch(const pel_bound *bound, uint32_t arg, uint64_t *pitch);

/* Sets granularity and, where the launch may not be split, the reason. Everything else of the launch is bound. */
pel_status pel_bound_find_cuts(pel_bound *bound, pel_error **error);

/*
 * Sorts in place. libc's qsort is not used: it may allocate behind the runtime's allocator. `size` is 64 at most. Sorted input
 * costs one pass.
 */
void pel_heap_sort(void *data, size_t count, size_t size, int (*compare)(const void *left, const void *right));

#endif
