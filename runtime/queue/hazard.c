/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard.h"

/* What happened last to an interval. Shared by the parts of a cut interval, so never changed once it is in the map. */
typedef struct record {
    uint32_t references;
    uint32_t reader_count;
    pel_event *writer; /* may be NULL */
    pel_event *readers[];
} record;

struct pel_hazards {
    pel_allocator allocator;
    pel_interval_map *map;
};

static record *record_of(uint64_t value) { return (record *)(uintptr_t)value; }

static void record_retain(void *user, uint64_t value) {
    (void)user;
    record_of(value)->references++;
}

static void record_release(void *user, uint64_t value) {
    pel_hazards *hazards = user;
    record *r = record_of(value);
    if (r && --r->references == 0) {
        pel_event_release(r->writer);
        for (uint32_t i = 0; i < r->reader_count; i++) {
            pel_event_release(r->readers[i]);
        }
        pel_free(&hazards->allocator, r);
    }
}

pel_hazards *pel_hazards_create(const pel_allocator *allocator) {
    pel_hazards *hazards = pel_alloc_zero(allocator, 1, sizeof *hazards);
    if (!hazards) {
        return NULL;
    }
    hazards->allocator = *allocator;
    hazards->map = pel_interval_map_create(allocator, &(pel_interval_hooks){record_retain, record_release, hazards});
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
        pel_free(&allocator, hazards);
    }
}

/* A writer that succeeded orders nothing any more, nor does one whose failure was forgiven. */
static bool writer_matters(const pel_event *writer) {
    return writer && (!pel_event_is_complete(writer) || (writer->status != PEL_OK && !writer->forgiven));
}

typedef struct look {
    pel_access_mode mode;
    const pel_event *self;
    pel_hazard_fn found;
    void *user;
    bool failed;
} look;

static bool look_at(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    look *l = user;
    const record *r = record_of(value);
    (void)lo, (void)hi;
    if (!r) {
        return true;
    }
    if (writer_matters(r->writer) && r->writer != l->self) {
        l->failed = !l->found(l->user, r->writer, (l->mode & PEL_READ) != 0);
    }
    for (uint32_t i = 0; !l->failed && (l->mode & PEL_WRITE) != 0 && i < r->reader_count; i++) {
        if (r->readers[i] != l->self && !pel_event_is_complete(r->readers[i])) {
            l->failed = !l->found(l->user, r->readers[i], false);
        }
    }
    return !l->failed;
}

pel_status pel_hazards_look(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_access_mode mode, const pel_event *event, pel_hazard_fn found,
                            void *user) {
    look l = {mode, event, found, user, false};
    pel_interval_map_visit(hazards->map, lo, hi, look_at, &l);
    return l.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
}

/* Parts to be replaced are collected first: the map must not change while it is visited. */
typedef struct part {
    uint64_t lo, hi;
    record *after;
} part;

typedef struct note {
    pel_hazards *hazards;
    pel_event *event;
    part *parts;
    uint32_t count, capacity;
    bool failed;
} note;

static bool still_reading(const pel_event *reader, const pel_event *self) {
    return reader != self && !pel_event_is_complete(reader);
}

/* The record after `event` has read an interval whose record was `old`: completed readers and harmless writers drop out. */
static record *with_reader(pel_hazards *hazards, const record *old, pel_event *event) {
    uint32_t count = 1;
    for (uint32_t i = 0; old && i < old->reader_count; i++) {
        count += still_reading(old->readers[i], event) ? 1u : 0u;
    }
    record *r = pel_alloc_zero(&hazards->allocator, 1, sizeof *r + count * sizeof r->readers[0]);
    if (!r) {
        return NULL;
    }
    r->references = 1;
    r->writer = old && writer_matters(old->writer) ? pel_event_retain(old->writer) : NULL;
    for (uint32_t i = 0; old && i < old->reader_count && r->reader_count + 1 < count; i++) {
        if (still_reading(old->readers[i], event)) {
            r->readers[r->reader_count++] = pel_event_retain(old->readers[i]);
        }
    }
    r->readers[r->reader_count++] = pel_event_retain(event);
    return r;
}

static bool note_part(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
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
    record *after = with_reader(n->hazards, record_of(value), n->event);
    if (!after) {
        n->failed = true;
        return false;
    }
    n->parts[n->count++] = (part){lo, hi, after};
    return true;
}

static pel_status note_read(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_event *event) {
    note n = {.hazards = hazards, .event = event};
    pel_interval_map_visit(hazards->map, lo, hi, note_part, &n);
    pel_status status = n.failed ? PEL_OUT_OF_MEMORY : pel_interval_map_reserve(hazards->map, n.count);
    for (uint32_t i = 0; i < n.count; i++) {
        if (status != PEL_OK || pel_interval_map_set(hazards->map, n.parts[i].lo, n.parts[i].hi, (uintptr_t)n.parts[i].after) != PEL_OK) {
            status = status != PEL_OK ? status : PEL_OUT_OF_MEMORY;
            record_release(hazards, (uintptr_t)n.parts[i].after);
        }
    }
    pel_free(&hazards->allocator, n.parts);
    return status;
}

static pel_status note_write(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_event *event) {
    record *r = pel_alloc_zero(&hazards->allocator, 1, sizeof *r);
    if (!r) {
        return PEL_OUT_OF_MEMORY;
    }
    r->references = 1;
    r->writer = pel_event_retain(event);
    pel_status status = pel_interval_map_set(hazards->map, lo, hi, (uintptr_t)r);
    if (status != PEL_OK) {
        record_release(hazards, (uintptr_t)r);
    }
    return status;
}

pel_status pel_hazards_note(pel_hazards *hazards, uint64_t lo, uint64_t hi, pel_access_mode mode, pel_event *event) {
    return (mode & PEL_WRITE) != 0 ? note_write(hazards, lo, hi, event) : note_read(hazards, lo, hi, event);
}

void pel_hazards_forget(pel_hazards *hazards, uint64_t lo, uint64_t hi) {
    /* When the map cannot even be cut for want of memory, completed records stay, which order nothing unless they failed. */
    (void)pel_interval_map_set(hazards->map, lo, hi, 0);
}

static bool forgive_part(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    const uint64_t *queue = user;
    record *r = record_of(value);
    (void)lo, (void)hi;
    if (r && r->writer && r->writer->queue == *queue && pel_event_is_complete(r->writer)) {
        r->writer->forgiven = true;
    }
    return true;
}

void pel_hazards_forgive(pel_hazards *hazards, uint64_t queue) {
    pel_interval_map_visit(hazards->map, 0, UINT64_MAX, forgive_part, &queue);
}
