/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spare blocks.
 *
 * Sizes are powers of two, so that the next launch of about the same size finds its block; what of it is never touched is never
 * committed. At most 64 MiB are kept, and nothing of what held sensitive data. Rejected: keeping them with each kernel; ten
 * kernels that take turns need one block.
 */
#include "queue/spare.h"
#include "queue/command.h"

#define MOST_BYTES (64ull << 20)

void *pel_spare_take(pel_runtime *runtime, uint64_t bytes, uint64_t *got) {
    pel_spares *spares = &runtime->dispatcher->spares;
    uint64_t size = 4096;
    while (size < bytes && size < UINT64_MAX / 2) {
        size *= 2;
    }
    *got = size;
    for (int i = 0; i < PEL_SPARE_BLOCKS; i++) {
        if (spares->blocks[i].data && spares->blocks[i].bytes == size) {
            void *data = spares->blocks[i].data;
            spares->blocks[i].data = NULL;
            spares->bytes -= size;
            return data;
        }
    }
    return size >= bytes ? pel_pages_alloc(size) : NULL;
}

void pel_spare_give(pel_runtime *runtime, void *data, uint64_t bytes, bool secret) {
    pel_spares *spares = runtime->dispatcher ? &runtime->dispatcher->spares : NULL;
    for (int i = 0; data && spares && !secret && i < PEL_SPARE_BLOCKS && spares->bytes + bytes <= MOST_BYTES; i++) {
        if (!spares->blocks[i].data) {
            spares->blocks[i].data = data;
            spares->blocks[i].bytes = bytes;
            spares->bytes += bytes;
            return;
        }
    }
    if (data) {
        pel_pages_free(data, bytes);
    }
}

void pel_spares_free(pel_spares *spares) {
    for (int i = 0; i < PEL_SPARE_BLOCKS; i++) {
        if (spares->blocks[i].data) {
            pel_pages_free(spares->blocks[i].data, spares->blocks[i].bytes);
            spares->blocks[i].data = NULL;
        }
    }
    spares->bytes = 0;
}
