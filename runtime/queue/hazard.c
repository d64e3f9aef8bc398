/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard.h"

enum { NODES_PER_SLAB = 128 };

typedef struct reference {
    pel_hazard_node *node;
    uint64_t generation;
} reference;

/* What happened last to an interval. Shared by the parts of a cut interval, so in the map only pel_hazards_fail changes it. */
typedef struct record {
    uint32_t references;
    uint32_t reader_count;
    reference writer;  /* node may be NULL */
    pel_event *failed; /* instead of writer */
    reference readers[];
} record;

typedef struct node_slab {
    struct node_slab *next;
    pel_hazard_node nodes[NODES_PER_SLAB];
} node_slab;

struct pel_hazards {
    pel_allocator allocator;
    pel_interval_map *map;
    node_slab *slabs;
    pel_hazard_node *free; /* linked through `command` */
};

static record *record_of(pel_interval_value value) { return (record *)(uintptr_t)value.a; }
static pel_interval_value value_of(const record *r) { return (pel_interval_value){(uintptr_t)r, 0}; }

static void record_retain(void *user, pel_interval_value value) {
    (void)user;
    record_of(value)->references++;
}

static void record_release(void *user, pel_interval_value value) {
    pel_hazards *hazards = user;
    record *r = record_of(value);
    if (r && --r->references == 0) {
        pel_event_release(r->failed);
        pel_free(&hazards->allocator, r);
    }
}

pel_hazards *pel_hazards_create(const pel_allocator *allocator) {
    pel_hazards *hazards = pel_alloc_zero(allocator, 1, sizeof *hazards);
    if (!hazards) {
        return NULL;
    }
    hazards->allocator = *allocator;
    hazards->map = pel_interval_map_create(allocator, &(pel_interval_hooks){record_retain, record_release, hazards, UINT64_MAX});
    if (!hazards->map) {
        pel_free(allocator, hazards);
        return NULL;
    }
    return hazards;
}

void pel_hazards_destroy(pel_hazards *hazards) {
    if (hazards) {
        pel_allocator allocator = hazards->allocator;
        pel_interval_map_destroy(hazards->map);
        while (hazards->slabs) {
            node_slab *next = hazards->slabs->next;
            pel_free(&allocator, hazards->slabs);
            hazards->slabs = next;
        }
        pel_free(&allocator, hazards);
    }
}

pel_hazard_node *pel_hazards_take_node(pel_hazards *hazards, struct pel_command *command) {
    if (!hazards->free) {
        node_slab *slab = pel_alloc_zero(&hazards->allocator, 1, sizeof *slab);
        if (!slab) {
            return NULL;
        }
        slab->next = hazards->slabs;
        hazards->slabs = slab;
        for (uint32_t i = 0; i < NODES_PER_SLAB; i++) {
            slab->nodes[i].command = (struct pel_command *)(void *)hazards->free;
            hazards->free = &slab->nodes[i];
        }
    }
    pel_hazard_node *node = hazards->free;
    hazards->free = (pel_hazard_node *)(void *)node->command;
    node->command = command;
    return node;
}

void pel_hazards_give_node(pel_hazards *hazards, pel_hazard_node *node) {
    if (node) {
        atomic_fetch_add_explicit(&node->generation, 1, memory_order_release);
        node->command = (struct pel_command *)(void *)hazards->free;
        hazards->free = node;
    }
}

static reference reference_to(pel_hazard_node *node) {
    return (reference){node, atomic_load_explicit(&node->generation, memory_order_relaxed)};
}

/* Whether it still orders anything, seen from `self`. */
static bool under_way(const reference *r, const pel_hazard_node *self) {
    return r->node && r->node != self && !pel_hazard_node_over(r->node, r->generation);
}

typedef struct look {
    pel_access_mode mode;
    const pel_hazard_node *self;
    pel_hazard_fn found;
    void *user;
    bool failed;
} look;

static void tell(look *l, const reference *r, bool data) {
    if (!l->failed && under_way(r, l->self)) {
        l->failed = !l->found(l->user, &(pel_hazard){r->node, r->generation, NULL, data});
    }
}

static bool look_at(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    look *l = user;
    const record *r = record_of(value);
    (void)lo, (void)hi;
    if (!r) {
        return true;
    }
    bool data = (l->mode & PEL_READ) != 0;
    tell(l, &r->writer, data);
    if (data && r->failed && !r->failed->forgiven && !l->failed) {
        l->failed = !l->found(l->user, &(pel_hazard){NULL, 0, r->failed, true});
    }
    for (uint32_t i = 0; (l->mode & PEL_WRITE) != 0 && i < r->reader_count; i++) {
        tell(l, &r->readers[i], false);
    }
    return !l->failed;
}

pel_status pel_hazards_look(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, const pel_hazard_node *self, pel_hazard_fn found,
                            void *user) {
    look l = {PEL_READ, self, found, user, false};
    for (uint32_t i = 0; i < count && !l.failed; i++) {
        l.mode = ranges[i].mode;
        pel_interval_map_visit(hazards->map, ranges[i].lo, ranges[i].hi, look_at, &l, NULL);
    }
    return l.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
}

/* Parts to be replaced are collected first: the map must not change while it is visited. */
typedef struct part {
    uint64_t lo, hi;
    record *after;
} part;

typedef struct note {
    pel_hazards *hazards;
    pel_hazard_node *self;
    part *parts;
    uint32_t count, capacity;
    bool failed;
} note;

/* The record after `self` has read an interval whose record was `old`: completed readers and harmless writers drop out. */
static record *with_reader(pel_hazards *hazards, const record *old, pel_hazard_node *self) {
    uint32_t count = 1;
    for (uint32_t i = 0; old && i < old->reader_count; i++) {
        count += under_way(&old->readers[i], self) ? 1u : 0u;
    }
    record *r = pel_alloc_zero(&hazards->allocator, 1, sizeof *r + count * sizeof r->readers[0]);
    if (!r) {
        return NULL;
    }
    r->references = 1;
    if (old && under_way(&old->writer, NULL)) {
        r->writer = old->writer;
    }
    r->failed = old && old->failed && !old->failed->forgiven ? pel_event_retain(old->failed) : NULL;
    for (uint32_t i = 0; old && i < old->reader_count && r->reader_count + 1 < count; i++) {
        if (under_way(&old->readers[i], self)) {
            r->readers[r->reader_count++] = old->readers[i];
        }
    }
    r->readers[r->reader_count++] = reference_to(self);
    return r;
}

static bool note_part(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    note *n = user;
    if (n->count == n->capacity) {
        uint32_t capacity = n->capacity ? 2 * n->capacity : 8;
        part *grown = pel_resize(&n->hazards->allocator, n->parts, capacity * sizeof *grown);
        if (!grown) {
            n->failed = true;
            return false;
        }
        n->parts = grown;
        n->capacity = capacity;
    }
    record *after = with_reader(n->hazards, record_of(value), n->self);
    if (!after) {
        n->failed = true;
        return false;
    }
    n->parts[n->count++] = (part){lo, hi, after};
    return true;
}

static pel_status note_read(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_hazard_node *self) {
    note n = {.hazards = hazards, .self = self};
    pel_interval_map_visit(hazards->map, lo, hi, note_part, &n, NULL);
    pel_status status = n.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
    for (uint32_t i = 0; i < n.count; i++) {
        if (status != PEL_OK || pel_interval_map_set(hazards->map, n.parts[i].lo, n.parts[i].hi, value_of(n.parts[i].after), NULL) != PEL_OK) {
            status = status != PEL_OK ? status : PEL_OUT_OF_MEMORY;
            record_release(hazards, value_of(n.parts[i].after));
        }
    }
    pel_free(&hazards->allocator, n.parts);
    return status;
}

static pel_status note_write(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_hazard_node *self) {
    record *r = pel_alloc_zero(&hazards->allocator, 1, sizeof *r);
    if (!r) {
        return PEL_OUT_OF_MEMORY;
    }
    r->references = 1;
    r->writer = reference_to(self);
    pel_status status = pel_interval_map_set(hazards->map, lo, hi, value_of(r), NULL);
    if (status != PEL_OK) {
        record_release(hazards, value_of(r));
    }
    return status;
}

pel_status pel_hazards_note(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *self) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < count; i++) { /* all of them, even after a failure: each keeps some order right */
        pel_status one = (ranges[i].mode & PEL_WRITE) != 0 ? note_write(hazards, ranges[i].lo, ranges[i].hi, self)
                                                           : note_read(hazards, ranges[i].lo, ranges[i].hi, self);
        status = status != PEL_OK ? status : one;
    }
    return status;
}

typedef struct failure {
    reference self;
    pel_event *failed;
} failure;

static bool fail_part(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    const failure *f = user;
    record *r = record_of(value);
    (void)lo, (void)hi;
    if (r && r->writer.node == f->self.node && r->writer.generation == f->self.generation) {
        r->writer = (reference){NULL, 0};
        r->failed = pel_event_retain(f->failed);
    }
    return true;
}

void pel_hazards_fail(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *self, pel_event *failed) {
    failure f = {reference_to(self), failed};
    for (uint32_t i = 0; i < count; i++) {
        if ((ranges[i].mode & PEL_WRITE) != 0) {
            pel_interval_map_visit(hazards->map, ranges[i].lo, ranges[i].hi, fail_part, &f, NULL);
        }
    }
}

void pel_hazards_forget(pel_hazards *hazards, uint64_t lo, uint64_t hi) {
    /* When the map cannot even be cut for want of memory, completed records stay, which order nothing unless they failed. */
    (void)pel_interval_map_set(hazards->map, lo, hi, (pel_interval_value){0, 0}, NULL);
}

static bool forgive_part(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    const uint64_t *queue = user;
    record *r = record_of(value);
    (void)lo, (void)hi;
    if (r && r->failed && r->failed->queue == *queue) {
        r->failed->forgiven = true;
    }
    return true;
}

void pel_hazards_forgive(pel_hazards *hazards, uint64_t queue) {
    pel_interval_map_visit(hazards->map, 0, UINT64_MAX, forgive_part, &queue, NULL);
}
