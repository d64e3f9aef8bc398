/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/task_few.h"
#include "queue/hazard_parts.h"
#include "queue/hazard_record.h"
#include "queue/node_list.h"

enum { NONE = 1, /* no address: that of an empty list is 0 */ MOST_BEFORE = PEL_HAZARD_SPANS * (1 + PEL_HAZARD_CHUNK_READERS) };

/* One of the accesses. */
typedef struct place {
    pel_hazard_cell *cell;
    bool reads;
    bool idle;   /* nothing that is known of the cell need stay */
} place;

/* Who must go first. */
typedef struct before {
    pel_hazard_node *node;
    uint64_t generation;
    bool data;
} before;

typedef struct few {
    pel_host_self *self;
    pel_node *node;
    pel_node_pools *pools;
    uint64_t order;
    uintptr_t last;  /* entry that was made: its address; NONE */
    uint32_t edges;
    uint32_t count;  /* predecessors that there may be */
    uint32_t records;
    bool ready;      /* none of them is left */
} few;

static inline uint64_t kind_of(pel_interval_value value) { return value.a & PEL_HAZARD_KINDS; }

static inline pel_hazard_node *node_in(pel_interval_value value) {
    return (pel_hazard_node *)(uintptr_t)(value.a & ~(uint64_t)PEL_HAZARD_KINDS);
}

static inline pel_hazard_record *record_in(pel_interval_value value) {
    return (pel_hazard_record *)(uintptr_t)(value.a & ~(uint64_t)PEL_HAZARD_KINDS);
}

/* The cell of an access in the field where the last task's was. False: not that simple. Branches, each of which goes the same way
 * nearly always: what is computed without them takes twice the instructions. */
static inline bool find(pel_hazard_field *field, const pel_runtime *runtime, const pel_access *a, pel_node_more *more, uint32_t i,
                        place *found) {
    pel_buffer *buffer = (pel_buffer *)(uintptr_t)a->buffer;
    uint64_t number;
    if (!buffer || !field || buffer->runtime != runtime || a->offset >= buffer->bytes || a->bytes > buffer->bytes - a->offset) {
        return false;
    }
    const uint64_t bytes = a->bytes != 0 ? a->bytes : buffer->bytes - a->offset;
    const uint64_t lo = (uintptr_t)buffer->data + a->offset;
    if ((unsigned)a->mode - PEL_READ > PEL_READ_WRITE - PEL_READ || a->rows > 1 || a->reserved != 0 ||
        atomic_load_explicit(&buffer->away, memory_order_relaxed) || field->used + PEL_HAZARD_SPANS > field->limit) {
        return false;
    }
    if (!pel_hazard_field_has(field, lo, bytes, &number) && !pel_hazard_field_fits(field, lo, lo + bytes, &number)) {
        return false;
    }
    more->ranges[i].lo = lo;
    more->ranges[i].bytes = bytes | (uint64_t)a->mode << PEL_MORE_MODE_SHIFT;
    found->cell = pel_hazard_field_cell(field, number); /* one too many would be known, and of nothing */
    found->reads = (a->mode & PEL_WRITE) == 0;
    pel_hazard_field_walk(field, number, i);
    return true;
}

static inline void come_after(few *f, before *at, pel_hazard_node *node, uint64_t generation, bool data) {
    at[f->count++] = (before){node, generation, data};
    f->order = generation >= f->order ? generation + 1 : f->order;
}

static inline bool is_over(pel_hazard_reference r) { return pel_hazard_node_over(r.node, r.generation); }

/* One chunk of readers, none of which failed; with room for one more, if that is needed. */
static inline bool weigh_record(few *f, before *at, pel_hazard_record *r, bool reads, bool data) {
    if (r->older || kind_of(r->writer) == PEL_HAZARD_FAILED || (reads && r->references > 1)) {
        return false;
    }
    if (r->writer.a != 0 && !pel_hazard_node_over(node_in(r->writer), r->writer.b)) {
        come_after(f, at, node_in(r->writer), r->writer.b, data);
    }
    if (!reads) {
        for (uint32_t i = 0; i < r->count; i++) {
            if (!is_over(r->readers[i])) {
                come_after(f, at, r->readers[i].node, r->readers[i].generation, false);
            }
        }
    } else if (r->count == PEL_HAZARD_CHUNK_READERS) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < r->count; i++) {
            if (!is_over(r->readers[i])) {
                r->readers[kept++] = r->readers[i];
            }
        }
        r->count = kept;
        return kept < PEL_HAZARD_CHUNK_READERS;
    }
    return true;
}

/* What is known of a cell, before anything is changed. False: not that simple. */
static inline bool weigh(few *f, before *at, place *p, pel_access_mode mode) {
    const pel_interval_value value = p->cell->value;
    const bool data = (mode & PEL_READ) != 0;
    p->idle = value.a == 0;
    if (p->idle) {
        return true;
    }
    if ((value.a & PEL_HAZARD_COUNTED) != 0) {
        return kind_of(value) == PEL_HAZARD_RECORD && weigh_record(f, at, record_in(value), p->reads, data);
    }
    p->idle = pel_hazard_node_over(node_in(value), value.b);
    if (p->idle) {
        return true;
    }
    if (kind_of(value) == PEL_HAZARD_WRITER) {
        come_after(f, at, node_in(value), value.b, data);
    } else if (!p->reads) {
        come_after(f, at, node_in(value), value.b, false);
    }
    f->records += p->reads ? 1 : 0;
    return true;
}

/* It need not come after one of those that were counted. */
static inline void go_without(few *f) {
    if (f->edges == 0) { /* nobody knows it yet */
        f->count--;
        f->ready = f->count == 0;
        atomic_store_explicit(&f->node->pending, f->count, memory_order_relaxed);
    } else {
        f->ready = pel_node_arrive(f->node);
    }
}

/*
 * pel_node_follow, for each of those that were counted. As soon as the last one knows, the node may run, and be another task. The
 * first entry is linked through the node, the second through its block of accesses, any other one is an edge.
 */
static inline void follow(few *f, const before *b) {
    pel_node *from = pel_node_of_hazard(b->node);
    const uint64_t generation = b->generation;
    uintptr_t head = atomic_load_explicit(&from->successors, memory_order_acquire), wanted;
    if (!pel_list_open(head, generation) ||
        ((head & PEL_LIST_ADDRESS) == f->last && (!b->data || (head & PEL_LIST_DATA) != 0))) {
        go_without(f);
        return;
    }
    pel_edge *added = NULL;
    uintptr_t entry = (uintptr_t)f->node | (f->edges == 1 ? PEL_LIST_BESIDE : 0u);
    if (f->edges > 1) {
        added = pel_pool_take(f->pools->scraps, &f->self->scraps);
        added->to = f->node;
        entry = (uintptr_t)added | PEL_LIST_EDGE;
    }
    entry |= pel_list_tag(generation) | (b->data ? PEL_LIST_DATA : 0u);
    do {
        if (!pel_list_open(head, generation)) {
            if (added) {
                pel_pool_give(f->pools->scraps, &f->self->scraps, added);
            }
            go_without(f);
            return;
        }
        const uintptr_t rest = head & ~(uintptr_t)PEL_LIST_WATCHED;
        if (added) {
            added->next = rest;
        } else if (f->edges == 1) {
            pel_node_more_of(f->node)->link = rest;
        } else {
            atomic_store_explicit(&f->node->item.link, (pel_host_item *)rest, memory_order_relaxed);
        }
        wanted = entry | (head & PEL_LIST_WATCHED) | ((head & PEL_LIST_ADDRESS) == 0 ? PEL_LIST_LAST : 0u);
    } while (
        !atomic_compare_exchange_weak_explicit(&from->successors, &head, wanted, memory_order_release, memory_order_acquire));
    f->last = entry & PEL_LIST_ADDRESS;
    f->edges++;
}

static inline void read_beside(pel_hazard_states *states, const few *f, pel_interval_value *value) {
    pel_hazard_record *r = record_in(*value);
    if (kind_of(*value) != PEL_HAZARD_RECORD) {
        r = pel_hazard_record_take(states);
        if (kind_of(*value) == PEL_HAZARD_WRITER) {
            r->writer = *value;
        } else {
            r->readers[r->count++] = (pel_hazard_reference){node_in(*value), value->b};
        }
        *value = (pel_interval_value){(uintptr_t)r | PEL_HAZARD_RECORD, 0};
    }
    r->readers[r->count++] = (pel_hazard_reference){&f->node->hazard, f->order};
}

static inline void note(pel_hazard_states *states, const few *f, const place *p) {
    pel_interval_value *value = &p->cell->value;
    if (!p->idle && p->reads) {
        read_beside(states, f, value);
        return;
    }
    const pel_interval_value old = *value;
    *value = (pel_interval_value){(uintptr_t)&f->node->hazard | (p->reads ? PEL_HAZARD_READER : PEL_HAZARD_WRITER), f->order};
    if ((old.a & PEL_HAZARD_COUNTED) != 0) {
        pel_hazard_record_let_go(states, record_in(old));
    }
}

/* With the lock of the hazards. False: nothing has happened. */
__attribute__((always_inline)) /* once for each count, so that what is known of an access stays in registers */
static inline bool enter(few *f, pel_hazards *hazards, const pel_runtime *runtime, const pel_access *accesses, uint32_t count) {
    place places[PEL_HAZARD_SPANS];
    before at[MOST_BEFORE];
    pel_node_more *more = pel_node_more_of(f->node);
    if (hazards->lost.count > 0) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!find(hazards->fields.near[i], runtime, &accesses[i], more, i, &places[i])) {
            return false;
        }
        hazards->fields.near[i]->served++;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((i > 0 && places[i].cell == places[i - 1].cell) || (i > 1 && places[i].cell == places[0].cell) ||
            !weigh(f, at, &places[i], accesses[i].mode)) {
            return false;
        }
    }
    if ((f->count > 2 && pel_pool_ready(&f->self->scraps) < f->count - 2) ||
        (f->records > 0 && !pel_hazard_records_ready(&hazards->states, f->records))) {
        return false;
    }
    for (uint32_t i = count; i < PEL_MORE_RANGES; i++) {
        more->ranges[i].bytes = 0;
    }
    atomic_store_explicit(&f->node->hazard.generation, f->order, memory_order_relaxed);
    atomic_store_explicit(&f->node->successors, pel_list_tag(f->order), memory_order_relaxed);
    atomic_store_explicit(&f->node->pending, f->count, memory_order_relaxed);
    f->ready = f->count == 0;
    pel_stage_begin(f->node->stage, f->self->shard);
    for (uint32_t i = 0, all = f->count; i < all; i++) {
        follow(f, &at[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        note(&hazards->states, f, &places[i]);
    }
    return true;
}

/* The node that is taken next, made a task that has not come after anybody. It is not taken yet. */
static inline pel_node *prepare(const pel_node_pools *pools, pel_host_self *self, pel_queue *queue, pel_task_fn function,
                                void *context) {
    if (pel_pool_ready(&self->cache) == 0 && !pel_pool_refill(pools->nodes, &self->cache)) {
        return NULL;
    }
    pel_node *node = pel_pool_next(&self->cache);
    char *later = pel_pool_later(&self->cache);
    pel_pool_fetch(later);
    pel_pool_fetch(later + PEL_POOL_BLOCK);
    node->task = function;
    node->hazard.user = context;
    node->stage = atomic_load_explicit(&queue->stage, memory_order_acquire);
    pel_node_become(node, PEL_NODE_TASK);
    node->shared = true;
    node->status = PEL_OK;
    node->brief = node->several = node->eventful = node->placed = false;
    node->accesses = true;
    return node;
}

static inline bool is_simple(const pel_queue *queue, const pel_dispatcher *dispatcher) {
    return dispatcher->tasks && pel_runtime_is_ours(queue->runtime) && queue->priority == 0 &&
           !pel_frames && !atomic_load_explicit(&((pel_queue *)(uintptr_t)queue)->gate, memory_order_relaxed) &&
           !atomic_load_explicit(&((pel_queue *)(uintptr_t)queue)->recorder, memory_order_relaxed) &&
           atomic_load_explicit(&((pel_dispatcher *)(uintptr_t)dispatcher)->mapping_count, memory_order_relaxed) == 0;
}

pel_status pel_task_few(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses, uint32_t count) {
    const pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    if (!is_simple(queue, dispatcher)) {
        return PEL_UNSUPPORTED;
    }
    pel_queue_make_room_for_task(queue);
    pel_host_lane *lane = pel_host_lane_claim(dispatcher->tasks);
    pel_hazard_lock_take(&dispatcher->hazard_lock); /* at once: an exchange waits for all that was written before it */
    pel_node *node = prepare(&dispatcher->pools, &lane->self, queue, function, context);
    few f = {.self = &lane->self, .node = node, .pools = &dispatcher->pools, .last = NONE};
    bool entered = false;
    if (node) {
        f.order = pel_node_order(node);
        f.order = (f.order > pel_node_last_order ? f.order : pel_node_last_order) + 1;
        entered = count == 1   ? enter(&f, dispatcher->hazards, runtime, accesses, 1)
                  : count == 2 ? enter(&f, dispatcher->hazards, runtime, accesses, 2)
                               : enter(&f, dispatcher->hazards, runtime, accesses, 3);
        lane->self.cache.ready->at += entered ? 1 : 0;
    }
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    if (!entered) {
        pel_host_lane_give_back(dispatcher->tasks, lane, false);
        return PEL_UNSUPPORTED;
    }
    pel_node_last_order = f.order;
    if (f.ready) { /* else it may be anything by now */
        pel_host_lane_push(lane, &node->item);
    }
    pel_host_lane_give_back(dispatcher->tasks, lane, f.ready);
    return PEL_OK;
}
