/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of a node's list of successors: the generation's lower 16 bits, an address, and what it is. Seen by node.c and by the
 * short way of tasks (task_few.c, task_end.c).
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

/*
 * What ending a task will touch is brought near, while it is run; by whoever runs it. Lines that other cores have written last:
 * the successors', three at most, and that of the first one's first successor, so that it is near when this is asked of the first
 * one. Nobody waits for what is read here but these requests.
 */
static inline void pel_node_foresee(const pel_node *node) {
    uintptr_t entry = atomic_load_explicit(&((pel_node *)(uintptr_t)node)->successors, memory_order_acquire);
    pel_edge *edge;
    if ((entry & PEL_LIST_ADDRESS) == 0) {
        return;
    }
    pel_node *first = pel_list_read(entry, &entry, &edge);
    pel_pool_fetch(first);
    for (int i = 0; i < 2 && (entry & PEL_LIST_ADDRESS) != 0; i++) {
        pel_pool_fetch(pel_list_read(entry, &entry, &edge));
    }
    pel_pool_fetch((const void *)(atomic_load_explicit(&first->successors, memory_order_relaxed) & PEL_LIST_ADDRESS));
}

/* The successors of a node, closed. next: NULL at the end; call pel_node_arrive for each that it yields. */
typedef uintptr_t pel_successors;
static inline pel_successors pel_node_close(pel_node *node, bool *watched) {
    const uintptr_t closed = pel_list_tag(pel_node_order(node)) | PEL_LIST_CLOSED;
    const uintptr_t head = atomic_exchange_explicit(&node->successors, closed, memory_order_acq_rel);
    *watched = (head & PEL_LIST_WATCHED) != 0;
    return head;
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
