/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the maps of hazard.c and hazard_grid.c remember of an interval: its last writer and the readers since, as a value of two
 * words.
 *
 * Most intervals have a writer, or one reader and a writer that is over: those are a node and its generation, in the value
 * itself. Only what is both written and read, or read by several at once, needs a record. A record is a chunk of a list: newer
 * readers in front, older chunks behind, shared by the parts of an interval that was cut. So noting one reader more costs the
 * same however many there are; those that are over drop out when a chunk is full and, in all chunks, when the list has doubled
 * since the last time.
 *
 * Rejected: a record for every interval (a cache miss and an allocation for each access), a vector of readers (10^5 tasks that
 * read one input behind a gate copy it 10^5 times), two maps for writers and readers (twice the misses for every access).
 */
#ifndef PEL_QUEUE_HAZARD_STATE_H
#define PEL_QUEUE_HAZARD_STATE_H

#include "queue/hazard.h"

typedef struct pel_hazard_states {
    pel_allocator allocator;
    void *free;  /* records */
    void *slabs;
} pel_hazard_states;

void pel_hazard_states_destroy(pel_hazard_states *states);

/* For pel_interval_map_create; points to `states`. */
pel_interval_hooks pel_hazard_state_hooks(pel_hazard_states *states);

/*
 * The kind of a value is in the low bits of its first word, above which are addresses of at least 8 bytes' alignment. 0 in all:
 * nothing is known. Those with PEL_HAZARD_COUNTED are references.
 */
enum {
    PEL_HAZARD_WRITER = 0,
    PEL_HAZARD_READER = 1,
    PEL_HAZARD_RECORD = 2,
    PEL_HAZARD_FAILED = 3,
    PEL_HAZARD_COUNTED = 2,
    PEL_HAZARD_KINDS = 3
};

/* Nothing is known, or one node that is over. */
static inline bool pel_hazard_is_idle(pel_interval_value value) {
    return value.a == 0 ||
           ((value.a & PEL_HAZARD_COUNTED) == 0 &&
            pel_hazard_node_over((pel_hazard_node *)(uintptr_t)(value.a & ~(uint64_t)PEL_HAZARD_KINDS), value.b));
}

/* What self alone leaves. */
static inline pel_interval_value pel_hazard_alone(pel_hazard_node *self, pel_access_mode mode) {
    const uint64_t kind = (mode & PEL_WRITE) != 0 ? PEL_HAZARD_WRITER : PEL_HAZARD_READER;
    return (pel_interval_value){(uintptr_t)self | kind, atomic_load_explicit(&self->generation, memory_order_relaxed)};
}

pel_interval_value pel_hazard_written(pel_hazard_node *self); /* by self, and read by nobody since */

/* For values that stand outside of maps: one reference more, or one less. */
void pel_hazard_hold(pel_hazard_states *states, pel_interval_value value);
void pel_hazard_let_go(pel_hazard_states *states, pel_interval_value value);

/* Self alone in place of what was there. */
static inline void pel_hazard_replace(pel_hazard_states *states, pel_interval_value *value, pel_hazard_node *self,
                                      pel_access_mode mode) {
    const pel_interval_value old = *value;
    *value = pel_hazard_alone(self, mode);
    if ((old.a & PEL_HAZARD_COUNTED) != 0) {
        pel_hazard_let_go(states, old);
    }
}

/* A change_fn: self reads now. False: no memory, as it was. */
typedef struct pel_hazard_reading {
    pel_hazard_states *states;
    pel_hazard_node *self;
} pel_hazard_reading;
bool pel_hazard_add_reader(void *reading, pel_interval_value *value);

/* A change_fn: what self should have written has failed. */
typedef struct pel_hazard_failing {
    const pel_hazard_node *self;
    pel_event *failed;
} pel_hazard_failing;
bool pel_hazard_fail_writer(void *failing, pel_interval_value *value);

bool pel_hazard_is_stale(pel_interval_value value); /* it orders nothing and marks nothing any more */
/* A change_fn that forgets what orders nothing and marks nothing any more. `states` */
bool pel_hazard_drop_stale(void *states, pel_interval_value *value);

/* A visit_fn: tells what an access must wait for. */
typedef struct pel_hazard_looking {
    pel_access_mode mode;
    const pel_hazard_node *self;
    pel_hazard_fn found;
    void *user;
    bool failed; /* `found` refused */
} pel_hazard_looking;
bool pel_hazard_look_at(void *looking, uint64_t lo, uint64_t hi, pel_interval_value value);
/*
 * The short way: looks at what is known of all bytes of an access. True: `self` alone may take its place (pel_hazard_alone, asked
 * after all looking: being told of others may give a command a later place in the order). False: it must be added as a reader.
 */
bool pel_hazard_meet(pel_hazard_looking *l, pel_interval_value value);
/* What will be asked about a value is brought near. */
static inline void pel_hazard_fetch(pel_interval_value value) { __builtin_prefetch((const void *)(uintptr_t)value.a); }
/* And what is behind that, which must be near. */
void pel_hazard_fetch_behind(pel_interval_value value);
/* The same for the shortest way, which asks whoever reads for the writer alone, and else for readers before it. */
void pel_hazard_fetch_waited(pel_interval_value value, bool reads);

bool pel_hazard_forgive_at(void *queue, uint64_t lo, uint64_t hi, pel_interval_value value); /* a visit_fn; uint64_t *queue */

#endif
