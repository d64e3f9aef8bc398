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
    PEL_LIST_CLOSED = 8,  /* of the head */
    PEL_LIST_BESIDE = 16, /* the successor's second entry, linked through its block of accesses: two predecessors need no edge */
    PEL_LIST_LAST = 32    /* nothing follows: the link need not be read */
};

typedef struct pel_edge {
    uintptr_t next;
    pel_node *to;
} pel_edge;

static inline uintptr_t pel_list_tag(uint64_t generation) { return (uintptr_t)(generation & 0xffff) << PEL_LIST_TAG_SHIFT; }

static inline bool pel_list_open(uintptr_t head, uint64_t generation) {
    return ((head ^ pel_list_tag(generation)) & (~(uintptr_t)0 << PEL_LIST_TAG_SHIFT | PEL_LIST_CLOSED)) == 0;
}

/* What an entry leads to, and the rest of the list; the entry is not touched any more after this. An edge is to be given back. */
static inline pel_node *pel_list_read(uintptr_t entry, uintptr_t *rest, pel_edge **edge) {
    const uintptr_t address = entry & PEL_LIST_ADDRESS;
    *edge = NULL;
    if ((entry & PEL_LIST_EDGE) != 0) {
        *edge = (pel_edge *)address;
        *rest = (*edge)->next;
        return (*edge)->to;
    }
    pel_node *to = (pel_node *)address;
    *rest = (entry & PEL_LIST_LAST) != 0     ? 0
            : (entry & PEL_LIST_BESIDE) != 0 ? pel_node_more_of(to)->link
                                             : (uintptr_t)atomic_load_explicit(&to->item.link, memory_order_relaxed);
    return to;
}

/* The next one of a closed list, and whether it reads the result; NULL: there is none. The link is read before the successor is
 * told: it may run, end and be another command at once. */
static inline pel_node *pel_successors_next(const pel_node_pools *pools, pel_host_self *self, pel_successors *list, bool *data) {
    pel_edge *edge;
    if ((*list & PEL_LIST_ADDRESS) == 0) {
        return NULL;
    }
    *data = (*list & PEL_LIST_DATA) != 0;
    pel_node *to = pel_list_read(*list, list, &edge);
    if (edge) {
        pel_pool_give(pools->scraps, &self->scraps, edge);
    }
    return to;
}

#endif
