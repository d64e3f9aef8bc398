/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/hazard_record.h"

#include "base/alloc.h"

enum {
    KIND_WRITER = PEL_HAZARD_WRITER,
    KIND_READER = PEL_HAZARD_READER,
    KIND_RECORD = PEL_HAZARD_RECORD,
    KIND_FAILED = PEL_HAZARD_FAILED,
    KIND_COUNTED = PEL_HAZARD_COUNTED,
    KIND_MASK = PEL_HAZARD_KINDS
};
enum { CHUNK_READERS = PEL_HAZARD_CHUNK_READERS, RECORDS_PER_SLAB = 64, COMPACT_FROM = 16 };

typedef pel_hazard_reference reference;
typedef pel_hazard_record record;

enum { RECORD_BYTES = 128 };
_Static_assert(sizeof(record) <= RECORD_BYTES, "two lines");

typedef struct record_slab {
    struct record_slab *next;
    unsigned char space[(RECORDS_PER_SLAB + 1) * RECORD_BYTES]; /* its records begin at the first multiple */
} record_slab;

static uint64_t kind_of(pel_interval_value value) { return value.a & KIND_MASK; }
static bool is_nothing(pel_interval_value value) { return value.a == 0; }
static void *pointer_of(pel_interval_value value) { return (void *)(uintptr_t)(value.a & ~(uint64_t)KIND_MASK); }
static pel_interval_value value_of(const void *pointer, uint64_t kind, uint64_t generation) {
    return (pel_interval_value){(uintptr_t)pointer | kind, generation};
}
static reference reference_of(pel_interval_value value) { return (reference){pointer_of(value), value.b}; }

static reference reference_to(pel_hazard_node *self) {
    return (reference){self, atomic_load_explicit(&self->generation, memory_order_relaxed)};
}

static bool is_over(reference r) { return pel_hazard_node_over(r.node, r.generation); }

pel_interval_value pel_hazard_written(pel_hazard_node *self) {
    reference r = reference_to(self);
    return value_of(r.node, KIND_WRITER, r.generation);
}

static record *take_record(pel_hazard_states *states) {
    if (!states->free) {
        record_slab *slab = pel_alloc(&states->allocator, sizeof *slab);
        if (!slab) {
            return NULL;
        }
        slab->next = states->slabs;
        states->slabs = slab;
        const uintptr_t first = ((uintptr_t)slab->space + RECORD_BYTES - 1) & ~(uintptr_t)(RECORD_BYTES - 1);
        for (uint32_t i = RECORDS_PER_SLAB; i > 0; i--) {
            record *made = (record *)(first + (i - 1) * RECORD_BYTES);
            made->older = states->free;
            states->free = made;
        }
    }
    return pel_hazard_record_take(states);
}

void pel_hazard_states_destroy(pel_hazard_states *states) {
    for (record_slab *slab = states->slabs; slab;) {
        record_slab *next = slab->next;
        pel_free(&states->allocator, slab);
        slab = next;
    }
    states->slabs = states->free = NULL;
}

static void release_record(pel_hazard_states *states, record *r) {
    while (r && --r->references == 0) {
        record *older = r->older;
        if (kind_of(r->writer) == KIND_FAILED) {
            pel_event_release(pointer_of(r->writer));
        }
        r->older = states->free;
        states->free = r;
        r = older;
    }
}

static void retain(void *states, pel_interval_value value) {
    (void)states;
    if (kind_of(value) == KIND_RECORD) {
        ((record *)pointer_of(value))->references++;
    } else {
        (void)pel_event_retain(pointer_of(value));
    }
}

static void release(void *states, pel_interval_value value) {
    if (kind_of(value) == KIND_RECORD) {
        release_record(states, pointer_of(value));
    } else {
        pel_event_release(pointer_of(value));
    }
}

void pel_hazard_hold(pel_hazard_states *states, pel_interval_value value) {
    if ((value.a & KIND_COUNTED) != 0) {
        retain(states, value);
    }
}

void pel_hazard_let_go(pel_hazard_states *states, pel_interval_value value) {
    if ((value.a & KIND_COUNTED) != 0) {
        release(states, value);
    }
}

pel_interval_hooks pel_hazard_state_hooks(pel_hazard_states *states) {
    return (pel_interval_hooks){retain, release, states, KIND_COUNTED};
}

/* A writer that succeeded orders nothing any more, nor does one whose failure was forgiven. */
static bool writer_matters(pel_interval_value writer) {
    return !is_nothing(writer) &&
           (kind_of(writer) == KIND_FAILED ? !((const pel_event *)pointer_of(writer))->forgiven : !is_over(reference_of(writer)));
}

static void append(record *r, reference reader) { r->readers[r->count++] = reader; }

static uint32_t total_of(const record *r) { return r->count + (r->older ? r->behind : 0); }

/* A chunk in front of `older`, whose reference it takes over. */
static record *chunk_before(pel_hazard_states *states, record *older) {
    record *r = take_record(states);
    if (r && older) {
        r->older = older;
        r->behind = total_of(older);
        r->compact_at = older->older ? older->compact_at : COMPACT_FROM;
    }
    return r;
}

static void adopt_writer(record *r, pel_interval_value writer) {
    if (writer_matters(writer)) {
        r->writer = writer;
        if (kind_of(writer) == KIND_FAILED) {
            (void)pel_event_retain(pointer_of(writer));
        }
    }
}

/* A list of its own with the readers of `old` that are not over. NULL: no memory. */
static record *copy_living(pel_hazard_states *states, const record *old) {
    record *made = take_record(states);
    for (const record *chunk = old; made && chunk; chunk = chunk->older) {
        for (uint32_t i = 0; made && i < chunk->count; i++) {
            if (is_over(chunk->readers[i])) {
                continue;
            }
            if (made->count == CHUNK_READERS) {
                record *front = chunk_before(states, made);
                if (!front) {
                    release_record(states, made);
                }
                made = front;
            }
            if (made) {
                append(made, chunk->readers[i]);
            }
        }
    }
    if (made) {
        adopt_writer(made, old->writer);
        made->compact_at = 2 * total_of(made) + COMPACT_FROM;
    }
    return made;
}

static void drop_finished(record *r) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        if (!is_over(r->readers[i])) {
            r->readers[kept++] = r->readers[i];
        }
    }
    r->count = kept;
}

/* One reader more in a record; *r may become another, and takes the reference along. */
static bool add_to_record(pel_hazard_states *states, record **r, reference self) {
    record *front = *r;
    if (front->older && total_of(front) >= front->compact_at) {
        record *compact = copy_living(states, front);
        if (!compact) {
            return false;
        }
        release_record(states, front);
        front = *r = compact;
    }
    if (front->count > 0 && front->readers[front->count - 1].node == self.node && !is_over(front->readers[front->count - 1])) {
        return true; /* the same command reads it twice */
    }
    if (front->references == 1 && front->count == CHUNK_READERS) {
        drop_finished(front);
    }
    if (front->references > 1 || front->count == CHUNK_READERS) {
        record *chunk = chunk_before(states, front);
        if (!chunk) {
            return false;
        }
        adopt_writer(chunk, front->writer);
        front = *r = chunk;
    }
    append(front, self);
    return true;
}

bool pel_hazard_add_reader(void *user, pel_interval_value *value) {
    const pel_hazard_reading *reading = user;
    reference self = reference_to(reading->self);
    uint64_t kind = kind_of(*value);
    if (kind == KIND_RECORD) {
        record *r = pointer_of(*value);
        bool added = add_to_record(reading->states, &r, self);
        *value = value_of(r, KIND_RECORD, 0);
        return added;
    }
    bool idle = is_nothing(*value) || (kind == KIND_READER ? is_over(reference_of(*value)) : !writer_matters(*value));
    if (!idle && kind != KIND_FAILED && pointer_of(*value) == self.node) {
        return true; /* its own write, or read, orders others enough */
    }
    if (!idle) {
        record *r = take_record(reading->states);
        if (!r) {
            return false;
        }
        if (kind == KIND_READER) {
            append(r, reference_of(*value));
        } else {
            r->writer = *value; /* with its reference */
        }
        append(r, self);
        *value = value_of(r, KIND_RECORD, 0);
        return true;
    }
    if (kind == KIND_FAILED) {
        release(reading->states, *value);
    }
    *value = value_of(self.node, KIND_READER, self.generation);
    return true;
}

bool pel_hazard_fail_writer(void *user, pel_interval_value *value) {
    const pel_hazard_failing *failing = user;
    pel_interval_value mine = pel_hazard_written((pel_hazard_node *)(uintptr_t)failing->self);
    record *r = kind_of(*value) == KIND_RECORD ? pointer_of(*value) : NULL;
    pel_interval_value *writer = r ? &r->writer : value; /* all that share the record share the writer */
    if (writer->a == mine.a && writer->b == mine.b) {
        *writer = value_of(pel_event_retain(failing->failed), KIND_FAILED, 0);
    }
    return true;
}

bool pel_hazard_is_stale(pel_interval_value value) {
    if (kind_of(value) != KIND_RECORD) {
        return kind_of(value) == KIND_READER ? is_over(reference_of(value)) : !writer_matters(value);
    }
    const record *front = pointer_of(value);
    bool stale = !writer_matters(front->writer);
    for (const record *r = front; r && stale; r = r->older) {
        for (uint32_t i = 0; i < r->count && stale; i++) {
            stale = is_over(r->readers[i]);
        }
    }
    return stale;
}

bool pel_hazard_drop_stale(void *states, pel_interval_value *value) {
    if (!is_nothing(*value) && pel_hazard_is_stale(*value)) {
        pel_hazard_let_go(states, *value);
        *value = (pel_interval_value){0, 0};
    }
    return true;
}

static void tell(pel_hazard_looking *l, reference r, bool data) {
    if (!l->failed && r.node != l->self && !is_over(r)) {
        l->failed = !l->found(l->user, &(pel_hazard){r.node, r.generation, NULL, data});
    }
}

static void tell_writer(pel_hazard_looking *l, pel_interval_value writer) {
    bool data = (l->mode & PEL_READ) != 0;
    if (kind_of(writer) != KIND_FAILED) {
        tell(l, reference_of(writer), data);
    } else if (data && writer_matters(writer)) {
        l->failed = !l->found(l->user, &(pel_hazard){NULL, 0, pointer_of(writer), true});
    }
}

bool pel_hazard_look_at(void *looking, uint64_t lo, uint64_t hi, pel_interval_value value) {
    pel_hazard_looking *l = looking;
    (void)lo, (void)hi;
    if (is_nothing(value) || l->failed) {
        return !l->failed;
    }
    if (kind_of(value) == KIND_READER) {
        if ((l->mode & PEL_WRITE) != 0) {
            tell(l, reference_of(value), false);
        }
        return !l->failed;
    }
    const record *front = kind_of(value) == KIND_RECORD ? pointer_of(value) : NULL;
    pel_interval_value writer = front ? front->writer : value;
    if (!is_nothing(writer)) {
        tell_writer(l, writer);
    }
    for (const record *r = (l->mode & PEL_WRITE) != 0 ? front : NULL; r && !l->failed; r = r->older) {
        for (uint32_t i = 0; i < r->count; i++) {
            tell(l, r->readers[i], false);
        }
    }
    return !l->failed;
}

void pel_hazard_fetch_behind(pel_interval_value value) {
    if (kind_of(value) == KIND_RECORD) {
        const record *r = pointer_of(value);
        __builtin_prefetch(pointer_of(r->writer)); /* of nobody: does no harm */
        for (uint32_t i = 0; i < r->count; i++) {
            __builtin_prefetch(r->readers[i].node);
        }
    }
}

void pel_hazard_fetch_waited(pel_interval_value value, bool reads) {
    if (kind_of(value) == KIND_RECORD) {
        const record *r = pointer_of(value);
        if (reads || r->count == 0) {
            __builtin_prefetch(pointer_of(r->writer));
        }
        for (uint32_t i = 0; i < r->count && !reads; i++) {
            __builtin_prefetch(r->readers[i].node);
        }
    }
}

bool pel_hazard_meet(pel_hazard_looking *l, pel_interval_value value) {
    if (is_nothing(value) || ((value.a & KIND_COUNTED) == 0 && is_over(reference_of(value)))) {
        return true;
    }
    (void)pel_hazard_look_at(l, 0, 0, value);
    return (l->mode & PEL_WRITE) != 0; /* who reads stands beside the one that is there */
}

bool pel_hazard_forgive_at(void *queue, uint64_t lo, uint64_t hi, pel_interval_value value) {
    pel_interval_value writer = kind_of(value) == KIND_RECORD ? ((const record *)pointer_of(value))->writer : value;
    (void)lo, (void)hi;
    if (kind_of(writer) == KIND_FAILED) {
        pel_event *failed = pointer_of(writer);
        failed->forgiven = failed->forgiven || failed->queue == *(const uint64_t *)queue;
    }
    return true;
}
