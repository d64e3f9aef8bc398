/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/task_few.h"
#include "queue/hazard_parts.h"
#include "queue/hazard_record.h"
#include "queue/node_list.h"

/* In each variant of `enter`, so that what is known of an access stays in registers. */
#define WITHIN __attribute__((always_inline)) static inline

enum {
    MOST_BEFORE = PEL_HAZARD_SPANS * (1 + PEL_HAZARD_CHUNK_READERS),
    PLACES = 32,    /* in a bounded queue */
    NEIGHBOURS = 1024 /* cells that lie so far before the first access's were it a moment ago, as tasks walk on */
};

/* One of the accesses. */
typedef struct place {
    pel_hazard_cell *cell;
    uint64_t number;
    bool reads;
    bool idle;   /* nothing that is known of the cell need stay */
} place;

/* Who must go first. */
typedef struct before {
    pel_hazard_node *node;
    uint64_t generation;
    uintptr_t data; /* PEL_LIST_DATA or 0 */
} before;

typedef struct few {
    pel_host_self *self;
    pel_node *node;
    pel_node_pools *pools;
    uint64_t order;
    uint32_t edges;
    uint32_t count;  /* predecessors that there may be */
    before *all_before, *end; /* the list of them */
    uint32_t records;
    pel_edge *spare; /* blocks for all of its edges but the first two, linked by `next` */
    bool all;        /* the last access was in a buffer that is all of a field's memory */
    bool ready;      /* none of them is left */
} few;

static inline uint64_t kind_of(pel_interval_value value) { return value.a & PEL_HAZARD_KINDS; }

static inline pel_hazard_node *node_in(pel_interval_value value) {
    return (pel_hazard_node *)(uintptr_t)(value.a & ~(uint64_t)PEL_HAZARD_KINDS);
}

static inline pel_hazard_record *record_in(pel_interval_value value) {
    return (pel_hazard_record *)(uintptr_t)(value.a & ~(uint64_t)PEL_HAZARD_KINDS);
}

/* The number of the cell that an access is, if it is one, whatever its size. */
__attribute__((noinline)) /* rare */
static bool number_of(const pel_hazard_field *field, const pel_runtime *runtime, const pel_access *a, uint64_t *number) {
    const pel_buffer *buffer = a->buffer;
    if (!buffer || !field || buffer->runtime != runtime || a->offset >= buffer->bytes || a->bytes > buffer->bytes - a->offset ||
        (unsigned)a->mode - PEL_READ > PEL_READ_WRITE - PEL_READ || a->rows > 1 || a->reserved != 0 ||
        atomic_load_explicit(&((pel_buffer *)(uintptr_t)buffer)->away, memory_order_relaxed)) {
        return false;
    }
    const uint64_t lo = (uintptr_t)buffer->data + a->offset, bytes = a->bytes != 0 ? a->bytes : buffer->bytes - a->offset;
    return pel_hazard_field_fits(field, lo, lo + bytes, number);
}

/* A buffer that may be used as it is, and that is all of the field's memory. */
WITHIN bool is_all_of(const pel_buffer *buffer, const pel_runtime *runtime, const pel_hazard_field *field) {
    return buffer && field && buffer->runtime == runtime && (uintptr_t)buffer->data == field->lo &&
           buffer->bytes == field->hi - field->lo &&
           !atomic_load_explicit(&((pel_buffer *)(uintptr_t)buffer)->away, memory_order_relaxed);
}

/* A whole cell of a field whose size is a power of two; of a buffer that is all of it. */
WITHIN bool is_whole_cell(const pel_hazard_field *field, const pel_access *a) {
    return ((a->offset & field->low_bits) | (a->bytes ^ field->size) | a->reserved) == 0 && a->offset < field->whole &&
           a->rows <= 1 && (unsigned)a->mode - PEL_READ <= PEL_READ_WRITE - PEL_READ;
}

/* The cell of access `i` in the field where the last task's was. False: not that simple. Most tasks' accesses are in one buffer,
 * of which is asked once. */
WITHIN bool find(pel_hazard_field *const *near, const pel_runtime *runtime, const pel_access *accesses, uint32_t i,
                        bool *all, pel_node_more *more, place *places) {
    const pel_access *a = &accesses[i];
    pel_hazard_field *field = near[i];
    const bool as_before = i > 0 && a->buffer == accesses[i - 1].buffer && field == near[i - 1];
    uint64_t number, lo, bytes;
    *all = as_before ? *all : is_all_of(a->buffer, runtime, field);
    if (*all && is_whole_cell(field, a)) {
        number = a->offset >> (field->shift & 63);
        lo = field->lo + a->offset;
        bytes = field->size;
    } else if (number_of(field, runtime, a, &number)) {
        lo = (uintptr_t)a->buffer->data + a->offset;
        bytes = a->bytes != 0 ? a->bytes : a->buffer->bytes - a->offset;
    } else {
        return false;
    }
    places[i].reads = (a->mode & PEL_WRITE) == 0;
    places[i].cell = pel_hazard_field_cell_if_room(field, number, i); /* one too many would be known, and of nothing */
    if (!places[i].cell) {
        return false;
    }
    places[i].number = number;
    more->ranges[i].lo = lo;
    more->ranges[i].bytes = bytes | (uint64_t)a->mode << PEL_MORE_MODE_SHIFT;
    if (!as_before || places[0].number - number > NEIGHBOURS) { /* else it has been near for long */
        pel_hazard_field_walk(field, number, i, places[i].reads);
    }
    return true;
}

WITHIN void come_after(few *f, pel_hazard_node *node, uint64_t generation, pel_access_mode data) {
    *f->end++ = (before){node, generation, (uintptr_t)data * PEL_LIST_DATA};
    f->order = generation >= f->order ? generation + 1 : f->order;
}

static inline bool is_over(pel_hazard_reference r) { return pel_hazard_node_over(r.node, r.generation); }

/* False: there are none. */
__attribute__((noinline)) /* rare */
static bool drop_finished(pel_hazard_record *r) {
    const uint32_t known = r->count;
    r->count = 0;
    for (uint32_t i = 0; i < known; i++) {
        if (!is_over(r->readers[i])) {
            r->readers[r->count++] = r->readers[i];
        }
    }
    return r->count < known;
}

/* One chunk of readers, none of which failed; with room for one more, if that is needed. Readers come after the writer: where the
 * first one is over (acquire), that has returned and told its successors, and its line, which another core had last, need not be
 * asked for. Also a reader that was withdrawn, failed or was cancelled is over only after its predecessors. */
WITHIN bool weigh_record(few *f, pel_hazard_record *r, bool reads, pel_access_mode data) {
    if (r->older || kind_of(r->writer) == PEL_HAZARD_FAILED || (reads && r->references > 1)) {
        return false;
    }
    if (r->writer.a != 0 && (reads || r->count == 0 || !is_over(r->readers[0])) &&
        !pel_hazard_node_over(node_in(r->writer), r->writer.b)) {
        come_after(f, node_in(r->writer), r->writer.b, data);
    }
    if (!reads) {
        for (uint32_t i = 0; i < r->count; i++) {
            if (!is_over(r->readers[i])) {
                come_after(f, r->readers[i].node, r->readers[i].generation, 0);
            }
        }
        return true;
    }
    return r->count < PEL_HAZARD_CHUNK_READERS || drop_finished(r);
}

/* What is known of a cell, before anything is changed. False: not that simple. */
WITHIN bool weigh(few *f, place *p, pel_access_mode mode) {
    const pel_interval_value value = p->cell->value;
    const pel_access_mode data = mode & PEL_READ;
    p->idle = value.a == 0;
    if (p->idle) {
        return true;
    }
    if ((value.a & PEL_HAZARD_COUNTED) != 0) {
        return kind_of(value) == PEL_HAZARD_RECORD && weigh_record(f, record_in(value), p->reads, data);
    }
    p->idle = pel_hazard_node_over(node_in(value), value.b);
    if (p->idle) {
        return true;
    }
    if (kind_of(value) == PEL_HAZARD_WRITER) {
        come_after(f, node_in(value), value.b, data);
    } else if (!p->reads) {
        come_after(f, node_in(value), value.b, 0);
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
 * first entry is linked through the node, the second through its block of accesses, any other one is an edge. A predecessor that
 * has the node in front of its list knows it already; of an edge that could not be said, which may be another task's by now.
 */
WITHIN void follow(few *f, const before *b) {
    pel_node *from = pel_node_of_hazard(b->node);
    const uintptr_t tag = pel_list_tag(b->generation);
    uintptr_t head = atomic_load_explicit(&from->successors, memory_order_acquire), entry, wanted;
    pel_edge *added = NULL;
    if ((head & PEL_LIST_ADDRESS) == (uintptr_t)f->node && (head & b->data) == b->data) {
        go_without(f);
        return;
    }
    do {
        if (!pel_list_open(head, b->generation)) {
            if (added) {
                pel_pool_give(f->pools->scraps, &f->self->scraps, added);
            }
            go_without(f);
            return;
        }
        const uintptr_t rest = head & ~(uintptr_t)PEL_LIST_WATCHED;
        if (f->edges == 0) {
            entry = (uintptr_t)f->node;
            atomic_store_explicit(&f->node->item.link, (pel_host_item *)rest, memory_order_relaxed);
        } else if (f->edges == 1) {
            entry = (uintptr_t)f->node | PEL_LIST_BESIDE;
            pel_node_more_of(f->node)->link = rest;
        } else {
            if (!added) {
                added = f->spare;
                f->spare = (pel_edge *)added->next;
            }
            *added = (pel_edge){rest, f->node};
            entry = (uintptr_t)added | PEL_LIST_EDGE;
        }
        wanted = entry | tag | b->data | (head & PEL_LIST_WATCHED) | ((head & PEL_LIST_ADDRESS) == 0 ? PEL_LIST_LAST : 0u);
    } while (
        !atomic_compare_exchange_weak_explicit(&from->successors, &head, wanted, memory_order_release, memory_order_acquire));
    f->edges++;
}

WITHIN void read_beside(pel_hazard_states *states, const few *f, pel_interval_value *value) {
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

WITHIN void note(pel_hazard_states *states, const few *f, const place *p) {
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

static void give_edges(const pel_node_pools *pools, pel_host_self *self, pel_edge *edges) {
    for (pel_edge *next; edges; edges = next) {
        next = (pel_edge *)edges->next;
        pel_pool_give(pools->scraps, &self->scraps, edges);
    }
}

/* NULL: no memory. */
__attribute__((noinline)) /* rare */
static pel_edge *take_edges(const pel_node_pools *pools, pel_host_self *self, uint32_t count) {
    pel_edge *all = NULL;
    for (uint32_t i = 0; i < count; i++) {
        pel_edge *edge = pel_pool_take(pools->scraps, &self->scraps);
        if (!edge) {
            give_edges(pools, self, all);
            return NULL;
        }
        edge->next = (uintptr_t)all;
        all = edge;
    }
    return all;
}

/* Finds one of the accesses, each of another cell. */
WITHIN bool find_other(few *f, const pel_hazards *hazards, const pel_runtime *runtime, const pel_access *accesses, uint32_t i,
                       place *places) {
    return find(hazards->fields.near, runtime, accesses, i, &f->all, pel_node_more_of(f->node), places) &&
           !(i > 0 && places[i].cell == places[i - 1].cell) && !(i > 1 && places[i].cell == places[0].cell);
}

/* With the lock of the hazards. False: nothing has happened. */
WITHIN bool enter(few *f, pel_hazards *hazards, const pel_runtime *runtime, const pel_access *accesses, uint32_t count) {
    place places[PEL_HAZARD_SPANS];
    pel_node_more *more = pel_node_more_of(f->node);
    if (hazards->lost.count > 0) {
        return false;
    }
    if (!find_other(f, hazards, runtime, accesses, 0, places) ||
        (count > 1 && !find_other(f, hazards, runtime, accesses, 1, places)) ||
        (count > 2 && !find_other(f, hazards, runtime, accesses, 2, places))) {
        return false;
    }
    if (!weigh(f, &places[0], accesses[0].mode) || (count > 1 && !weigh(f, &places[1], accesses[1].mode)) ||
        (count > 2 && !weigh(f, &places[2], accesses[2].mode))) {
        return false;
    }
    f->count = (uint32_t)(f->end - f->all_before);
    if (f->records > 0 && !pel_hazard_records_ready(&hazards->states, f->records)) {
        return false;
    }
    if (f->count > 2 && (f->spare = take_edges(f->pools, f->self, f->count - 2)) == NULL) {
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
    for (const before *b = f->all_before; b < f->end; b++) {
        follow(f, b);
    }
    if (f->spare) {
        give_edges(f->pools, f->self, f->spare);
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

/* With the lock of the hazards: one of the places in a bounded queue that were taken together. False: there is none. */
static bool take_place(pel_queue *queue) {
    if (queue->places == 0 && atomic_load_explicit(&queue->room, memory_order_relaxed) > 0) {
        const int room = atomic_fetch_sub_explicit(&queue->room, PLACES, memory_order_relaxed);
        queue->places = room <= 0 ? 0 : room < PLACES ? (uint32_t)room : PLACES;
    }
    const bool any = queue->places > 0;
    queue->places -= any ? 1 : 0;
    return any;
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
        return pel_task_any(queue, function, context, accesses, count, NULL, NULL);
    }
    pel_host_entry *entry = &dispatcher->tasks->entry;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    if (queue->max_in_flight != 0 && !take_place(queue)) {
        pel_hazard_lock_give(&dispatcher->hazard_lock);
        pel_queue_make_room(queue);
        pel_hazard_lock_take(&dispatcher->hazard_lock);
    }
    if (entry->self.shard == 0) {
        pel_host_entry_begin(dispatcher->tasks);
    }
    pel_node *node = prepare(&dispatcher->pools, &entry->self, queue, function, context);
    before list[MOST_BEFORE];
    few f = {.self = &entry->self, .node = node, .pools = &dispatcher->pools, .all_before = list, .end = list};
    bool entered = false;
    if (node) {
        f.order = pel_node_order(node);
        f.order = (f.order > pel_node_last_order ? f.order : pel_node_last_order) + 1;
        entered = count == 1   ? enter(&f, dispatcher->hazards, runtime, accesses, 1)
                  : count == 2 ? enter(&f, dispatcher->hazards, runtime, accesses, 2)
                               : enter(&f, dispatcher->hazards, runtime, accesses, 3);
    }
    if (!entered) {
        pel_hazard_lock_give(&dispatcher->hazard_lock);
        return pel_task_any(queue, function, context, accesses, count, NULL, NULL);
    }
    entry->self.cache.ready->at++;
    pel_host_entry_count(entry, f.ready ? 0 : 1); /* the others visit a lane */
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    pel_node_last_order = f.order;
    if (f.ready) { /* else it may be anything by now */
        pel_host_lane *lane = pel_host_lane_claim(dispatcher->tasks);
        pel_host_lane_push(lane, &node->item);
        pel_host_lane_give_back(dispatcher->tasks, lane, true);
    }
    return PEL_OK;
}
