/* SPDX-License-Identifier: BSD-3-Clause */
/* How a span becomes enqueues with explicit local sizes. Plain numbers, no OpenCL. */
#ifndef PEL_BACKEND_OPENCL_SHAPE_H
#define PEL_BACKEND_OPENCL_SHAPE_H

#include "backend/addressing.h"
#include <pel/status.h>

#define PEL_CL_PIECES 3 /* unaligned head, bulk, tail */
#define PEL_CL_HALVINGS 192 /* at most, of one piece: a bit of three 64-bit sizes each */

/* What one kernel allows. */
typedef struct pel_cl_limits {
    uint64_t max_group;      /* items in a work-group */
    uint64_t required[3];    /* reqd_work_group_size, or all zero */
    uint64_t preferred;      /* items in a work-group where nobody asked for a local size; 0: what is usual */
    uint64_t max_groups;     /* work-groups in one enqueue, of the device; 0: any number */
} pel_cl_limits;

/* Items [lo, hi) of the launch: one enqueue, or as many as their work-groups need (pel_cl_piece_halve). */
typedef struct pel_cl_piece {
    uint64_t lo[3], hi[3], local[3];
} pel_cl_piece;

typedef struct pel_cl_shape {
    pel_cl_piece pieces[PEL_CL_PIECES];
    uint32_t count;          /* 0: nothing to do */
    bool chunked;            /* the pieces need the chunked form */
} pel_cl_shape;

/*
 * Cuts a span. `chunked`: ids of the whole launch are asked for. `plain_only`: the chunked form must not be used, whatever the
 * price. Returns NULL, or why the span cannot run with such limits (static text; *status says which kind of refusal).
 */
const char *pel_cl_shape_make(const pel_span *span, bool chunked, bool plain_only, const pel_cl_limits *limits,
                              pel_cl_shape *shape, pel_status *status);

/*
 * Whether a piece of a chunked shape has more than `max_groups` work-groups (0: any number). It then becomes two that meet at a
 * work-group: *piece the first, *rest what follows it.
 */
bool pel_cl_piece_halve(pel_cl_piece *piece, uint32_t dims, uint64_t max_groups, pel_cl_piece *rest);

/* Whether there are rows enough for groups that are as large as can be, where nobody asked for a size. */
bool pel_cl_shape_is_plenty(const pel_span *span);

#endif
