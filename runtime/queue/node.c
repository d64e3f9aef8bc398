/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/node_list.h"
#include "base/thread_local.h"

PEL_THREAD_LOCAL uint64_t pel_node_last_order;

void pel_node_come_after(uint64_t order) {
    pel_node_last_order = pel_node_last_order > order ? pel_node_last_order : order;
}

static void set_order(pel_node *node, uint64_t order) {
    pel_node_come_after(order);
    atomic_store_explicit(&node->hazard.generation, order, memory_order_relaxed);
    atomic_store_explicit(&node->successors, pel_list_tag(order), memory_order_relaxed);
}

static void begin(pel_node *node, pel_node_kind kind) {
    uint64_t generation = pel_node_order(node);
    set_order(node, (generation > pel_node_last_order ? generation : pel_node_last_order) + 1);
    atomic_store_explicit(&node->pending, 1, memory_order_relaxed);
    pel_node_become(node, kind);
    node->status = PEL_OK;
}

void pel_node_renew(pel_node *node) { begin(node, PEL_NODE_TASK); }

pel_node *pel_node_take(const pel_node_pools *pools, pel_host_self *self, pel_node_kind kind) {
    pel_node *node = pel_pool_take(pools->nodes, &self->cache);
    if (!node) {
        return NULL;
    }
    begin(node, kind);
    node->stage = NULL;
    node->shared = false;
    node->linked = node->brief = node->accesses = node->several = node->eventful = node->placed = false;
    return node;
}

static void give_blocks(const pel_node_pools *pools, pel_host_self *self, pel_node_more *more) {
    for (pel_node_more *next; more; more = next) {
        next = more->next;
        pel_pool_give(pools->scraps, &self->scraps, more);
    }
}

void pel_node_drop_accesses(const pel_node_pools *pools, pel_host_self *self, pel_node *node) {
    if (node->several) {
        give_blocks(pools, self, pel_node_more_of(node)->next);
    }
    node->accesses = node->several = node->eventful = false;
}

pel_node *pel_node_own(const pel_node_pools *pools, pel_host_self *self, const pel_node *lent) {
    pel_node *node = pel_node_take(pools, self, PEL_NODE_TASK);
    if (node) {
        node->stage = lent->stage;
        node->place = lent->place;
        node->placed = true;
    }
    return node;
}

void pel_node_give(const pel_node_pools *pools, pel_host_self *self, pel_node *node) {
    if (node->shared) {
        uint64_t generation = pel_node_order(node);
        atomic_store_explicit(&node->hazard.generation, generation + 1, memory_order_release);
    }
    if (node->several) {
        give_blocks(pools, self, pel_node_more_of(node)->next);
    }
    pel_pool_give(pools->nodes, &self->cache, node);
}

pel_status pel_node_follow(const pel_node_pools *pools, pel_host_self *self, pel_node *from, uint64_t generation, pel_node *to,
                           bool data, pel_follow *how) {
    uintptr_t head = atomic_load_explicit(&from->successors, memory_order_acquire);
    uintptr_t address = (uintptr_t)to;
    pel_edge *added = NULL;
    *how = PEL_FOLLOW_OVER;
    if (generation >= pel_node_order(to)) { /* of another thread; nobody knows `to` yet */
        set_order(to, generation + 1);
    }
    if (!pel_list_open(head, generation)) {
        return PEL_OK;
    }
    if ((head & PEL_LIST_ADDRESS) == address && (!data || (head & PEL_LIST_DATA))) {
        *how = PEL_FOLLOW_KNOWN;
        return PEL_OK;
    }
    if (to->linked) {
        added = pel_pool_take(pools->scraps, &self->scraps);
        if (!added) {
            return PEL_OUT_OF_MEMORY;
        }
        added->to = to;
        address = (uintptr_t)added | PEL_LIST_EDGE;
    }
    atomic_fetch_add_explicit(&to->pending, 1, memory_order_relaxed);
    uintptr_t wanted;
    do {
        if (!pel_list_open(head, generation)) {
            atomic_fetch_sub_explicit(&to->pending, 1, memory_order_relaxed); /* not the last: the submission counts, too */
            if (added) {
                pel_pool_give(pools->scraps, &self->scraps, added);
            }
            return PEL_OK;
        }
        uintptr_t rest = head & ~(uintptr_t)PEL_LIST_WATCHED;
        if (added) {
            added->next = rest;
        } else {
            atomic_store_explicit(&to->item.link, (pel_host_item *)rest, memory_order_relaxed);
        }
        wanted = pel_list_tag(generation) | address | (data ? PEL_LIST_DATA : 0) | (head & PEL_LIST_WATCHED);
    } while (
        !atomic_compare_exchange_weak_explicit(&from->successors, &head, wanted, memory_order_release, memory_order_acquire));
    to->linked = to->linked || !added;
    *how = PEL_FOLLOW_ADDED;
    return PEL_OK;
}

bool pel_node_watch(pel_node *node, uint64_t generation) {
    uintptr_t head = atomic_load_explicit(&node->successors, memory_order_acquire);
    do {
        if (!pel_list_open(head, generation)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&node->successors, &head, head | PEL_LIST_WATCHED, memory_order_acq_rel,
                                                    memory_order_acquire));
    return true;
}

bool pel_node_has_successors(const pel_node *node) {
    const uintptr_t head = atomic_load_explicit(&((pel_node *)(uintptr_t)node)->successors, memory_order_acquire);
    return (head & (PEL_LIST_ADDRESS | PEL_LIST_WATCHED)) != 0;
}

/* Entries are pushed in front only, and stay as they are until the list is closed. */
void pel_node_visit(pel_node *node, void (*visit)(pel_node *to, void *user), void *user) {
    uintptr_t at = atomic_load_explicit(&node->successors, memory_order_acquire);
    while ((at & PEL_LIST_ADDRESS) != 0) {
        pel_edge *edge;
        pel_node *to = pel_list_read(at, &at, &edge);
        visit(to, user);
    }
}
