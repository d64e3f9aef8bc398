/* SPDX-License-Identifier: BSD-3-Clause */
/* Transfers through pinned memory, in pieces, on a thread of their own: see staging.c. For the holder of the baton, who is the
 * only one to use a device's rings. */
#ifndef PEL_BACKEND_OPENCL_STAGING_H
#define PEL_BACKEND_OPENCL_STAGING_H

#include "backend/opencl/internal.h"

typedef struct pel_cl_ring pel_cl_ring;

/* Transfers of one direction; the caller's, and not to be moved, until it is over. */
typedef struct pel_cl_load {
    struct pel_cl_load *next;
    const pel_transfer *list;
    uint32_t count;
    bool sensitive;    /* no trace of them stays in the ring */
    pel_status status; /* these two once it is over; the error is the caller's */
    pel_error *error;
    atomic_bool over;
    atomic_bool given_up; /* it need not arrive any more */
} pel_cl_load;

/* Whether there may be a ring for these: it can still come to nothing. */
bool pel_cl_may_stage(const pel_cl_device *device, const pel_transfer *list, uint32_t count);
/* The ring for transfers in this direction if these should go through one, made if need be; NULL: enqueue them directly. */
pel_cl_ring *pel_cl_ring_for(pel_cl_device *device, const pel_transfer *list, uint32_t count, bool in);
/* `load` says what, and is not over. Loads of one ring go one after the other. */
void pel_cl_ring_give(pel_cl_ring *ring, pel_cl_load *load);
void pel_cl_ring_await(pel_cl_ring *ring, pel_cl_load *load);
/* A load that is given, and over or not, fails soon, also where its commands do not end: for whoever has failed and must wait. */
void pel_cl_ring_give_up(pel_cl_load *load);

void pel_cl_rings_end(pel_cl_device *device); /* nothing is under way */

#endif
