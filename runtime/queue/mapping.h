/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that want bytes at a place: mappings, which keep them there until the program lets go, and prefetches. */
#ifndef PEL_QUEUE_MAPPING_H
#define PEL_QUEUE_MAPPING_H

#include "queue/command.h"
#include <pel/map.h>

enum { PEL_MAPPING_CROWD = 63 };

typedef enum pel_mapping_state { PEL_MAPPING_WAITING, PEL_MAPPING_OPEN, PEL_MAPPING_OVER } pel_mapping_state;

struct pel_mapping {
    pel_mapping *next;        /* (L) of the dispatcher's, until it is over */
    pel_runtime *runtime;
    pel_command *command;     /* (L) NULL once it is over */
    pel_device *device;       /* whose memory; NULL: the host's */
    pthread_t owner;          /* who may not wait for what waits for it */
    uint32_t flags;
    /* (L) a bit of its own in what comes after it, until it is over; PEL_MAPPING_CROWD: shared by those that found none */
    uint32_t place;
    atomic_int state;         /* (L) to write */
    pel_status status;        /* once it is over */
    unsigned char *data;      /* host memory of the buffer */
    uint64_t offset, bytes;   /* in its allocation */
    pel_mem *mem;             /* (L) open, on a device: the memory object of the whole allocation */
    unsigned char *pages;     /* of PEL_MAP_GUARD, else NULL */
    bool filled;              /* these hold the bytes */
};

/* (L) The command's life, for the dispatcher: what it needs in host memory first, then the move to its device, then what it is
 * for. */
pel_status pel_place_start(pel_command *command, bool *stalled);
bool pel_place_run(pel_command *command); /* true: its job is to be submitted; else it is not the caller's any more */
void pel_place_arrived(pel_command *command);
void pel_place_forgive(pel_command *prefetch); /* what it failed of by itself is logged, and it has not failed */
void pel_mapping_end(pel_command *command); /* its command is over */

#endif
