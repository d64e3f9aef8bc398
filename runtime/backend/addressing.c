/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/addressing.h"

#include "base/checked.h"

#define PEL_HALF_RANGE (1ull << 32) /* sizes that share one 64-bit offset must stay below this */

static bool has_offset(const pel_span *span) {
    return span->offset[0] != 0 || (span->dims > 1 && span->offset[1] != 0) || (span->dims > 2 && span->offset[2] != 0);
}

const char *pel_addressing_refusal(const pel_span *span) {
    uint64_t end;

    if (span->dims < 1 || span->dims > 3 || span->split >= span->dims) {
        return "its dimensions are not those of a launch";
    }
    if (!pel_add_u64(span->offset[0], span->global[0], &end)) {
        return "its global offset and size together leave 64 bits";
    }
    if (span->dims == 1) {
        return NULL;
    }
    if (has_offset(span)) {
        return "a 2- or 3-D launch with a global offset leaves no room for the whole size";
    }
    if (span->dims == 2) {
        return span->global[0] < PEL_HALF_RANGE && span->global[1] < PEL_HALF_RANGE
                   ? NULL
                   : "a 2-D launch of 2^32 or more items in one dimension leaves no room for the whole size";
    }
    if (span->split != 2) {
        return "a 3-D launch can only be split along dimension 2";
    }
    return span->global[2] < PEL_HALF_RANGE
               ? NULL
               : "a 3-D launch of 2^32 or more items in dimension 2 leaves no room for the whole size";
}

void pel_addressing_encode(const pel_span *span, const uint64_t lo[3], const uint64_t hi[3], pel_addressing *out) {
    for (uint32_t d = 0; d < 3; d++) {
        out->offset[d] = d < span->dims ? lo[d] : 0;
        out->global[d] = d < span->dims ? hi[d] - lo[d] : 1;
    }
    if (span->dims == 1) {
        out->offset[0] = span->offset[0] + lo[0];
        out->offset[1] = span->global[0];
        out->offset[2] = span->offset[0];
    } else if (span->dims == 2) {
        out->offset[2] = span->global[0] | span->global[1] << 32;
    } else {
        out->offset[2] = lo[2] | span->global[2] << 32;
    }
}
