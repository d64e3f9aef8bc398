/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of memory for copies of the user's data, kept for the next launch: fresh pages cost as much as copying to them. All
 * under runtime->lock. */
#ifndef PEL_QUEUE_SPARE_H
#define PEL_QUEUE_SPARE_H

#include "core/runtime.h"

enum { PEL_SPARE_BLOCKS = 8 };

typedef struct pel_spares {
    struct { void *data; uint64_t bytes; } blocks[PEL_SPARE_BLOCKS];
    uint64_t bytes; /* of all */
} pel_spares;

/* At least so many bytes, contents undefined; NULL: no memory. *got: what to give back. */
void *pel_spare_take(pel_runtime *runtime, uint64_t bytes, uint64_t *got);
/* `secret`: to the system, not to the next one. NULL is allowed. */
void pel_spare_give(pel_runtime *runtime, void *data, uint64_t bytes, bool secret);
void pel_spares_free(pel_spares *spares);

#endif
