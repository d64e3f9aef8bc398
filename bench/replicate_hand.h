/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What computing everything twice takes without pel: threads on the host and the caller compute, then an OpenCL device computes
 * the same into memory of its own, then the caller compares. One context, one queue, one kernel with its arguments set, memory
 * that is warm: what is dearer than the two launches alone here is what going from one to the other costs on this machine.
 */
#ifndef PEL_BENCH_REPLICATE_HAND_H
#define PEL_BENCH_REPLICATE_HAND_H

#include <stdbool.h>
#include <stdint.h>

#include <pel/pel.h>

typedef struct pel_replicate_hand pel_replicate_hand;

typedef struct pel_replicate_hand_desc {
    const pel_device *device;   /* OpenCL */
    const char *source, *entry; /* of the kernel: uint32_t read and written, one an item */
    pel_host_fn function;       /* the same on the host */
    uint32_t threads;           /* there, with the caller */
    uint32_t items, group;      /* items of a work-group */
    uint32_t *x, *y;            /* page-aligned */
    bool keep;                  /* what is in y is read, too */
    bool device_first;
} pel_replicate_hand_desc;

typedef enum pel_replicate_parts {
    PEL_REPLICATE_BOTH, /* and compare */
    PEL_REPLICATE_HOST, /* alone, as a control */
    PEL_REPLICATE_DEVICE
} pel_replicate_parts;

/* NULL: no memory, no threads, or OpenCL refused. */
pel_replicate_hand *pel_replicate_hand_open(const pel_replicate_hand_desc *desc);
void pel_replicate_hand_close(pel_replicate_hand *hand); /* NULL is fine */

/* False: OpenCL failed, or the results differ. */
bool pel_replicate_hand_run(pel_replicate_hand *hand, pel_replicate_parts parts);

#endif
