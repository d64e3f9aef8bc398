/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of a node's list of successors: the generation's lower 16 bits, an address, and what it is. Seen by node.c and by the
 * short way of tasks (task_few.c).
 */
#ifndef PEL_QUEUE_NODE_LIST_H
#define PEL_QUEUE_NODE_LIST_H

#include "queue/node.h"

enum { PEL_LIST_TAG_SHIFT = 48 };
#define PEL_LIST_ADDRESS (((uintptr_t)1 << PEL_LIST_TAG_SHIFT) - 64)
enum {
    PEL_LIST_EDGE = 1,    /* a pel_edge, not the successor itself */
    PEL_LIST_DATA = 2,    /* its result is read */
    PEL_LIST_WATCHED = 4, /* of the head: somebody waits */
    PEL_LIST_CLOSED = 8   /* of the head */
};

typedef struct pel_edge {
    uintptr_t next;
    pel_node *to;
} pel_edge;

static inline uintptr_t pel_list_tag(uint64_t generation) { return (uintptr_t)(generation & 0xffff) << PEL_LIST_TAG_SHIFT; }

static inline bool pel_list_open(uintptr_t head, uint64_t generation) {
    return (head & PEL_LIST_CLOSED) == 0 && (head ^ pel_list_tag(generation)) >> PEL_LIST_TAG_SHIFT == 0;
}

#endif
