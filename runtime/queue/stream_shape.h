/* SPDX-License-Identifier: BSD-3-Clause */
/* How a chunk is cut into steps, and what windows these need. (L) */
#ifndef PEL_QUEUE_STREAM_SHAPE_H
#define PEL_QUEUE_STREAM_SHAPE_H

#include "kernel/footprint.h"

#define PEL_STREAM_DEPTH 3u        /* one step comes in, one computes, one goes home */
#define PEL_WINDOW_ALIGNMENT                                                                                                     \
    128u /* windows begin at multiples of this within their allocation: no vector type wants more (double16) */
#define PEL_NO_WINDOW UINT32_MAX

typedef struct pel_window_range {
    uint64_t lo, hi;               /* within the allocation; lo aligned; empty where hi is 0 */
} pel_window_range;

/*
 * Arguments whose windows meet in one allocation share one; groups are such sets. ranges[step * group_count + group];
 * sizes[group]: the largest of its ranges.
 */
typedef struct pel_stream_shape {
    const pel_allocator *allocator;
    uint64_t step_units;
    uint32_t step_count, depth, group_count;
    uint32_t *group;               /* of each argument, or PEL_NO_WINDOW */
    pel_window_range *ranges;
    uint64_t *sizes;
    uint64_t bytes;                /* of depth windows of every group */
} pel_stream_shape;

/* What a shape is made for. */
typedef struct pel_stream_room {
    uint64_t bytes;                /* that windows may take in all */
    uint64_t largest;              /* that one may have; 0: any */
    double fixed_ns;               /* what a step costs beside its bytes */
    double moving_ns;              /* what all bytes take, in and out */
} pel_stream_room;

/* Units [lo, hi) of a launch. TOO_LARGE: even steps of one granule do not fit; shape->bytes says what those would take. */
pel_status pel_stream_shape_make(const pel_bound *bound, uint64_t lo, uint64_t hi, const pel_stream_room *room,
                                 pel_stream_shape *shape);
void pel_stream_shape_free(pel_stream_shape *shape);
void pel_stream_step(const pel_stream_shape *shape, uint64_t lo, uint64_t hi, uint32_t step, uint64_t *from, uint64_t *to);

#endif
