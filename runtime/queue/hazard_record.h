/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record behind a value of two words (hazard_state.h): a writer and readers. Seen by hazard_state.c, which knows all about
 * them, and by the short way of tasks (task_few.c), which deals with one chunk of its own.
 */
#ifndef PEL_QUEUE_HAZARD_RECORD_H
#define PEL_QUEUE_HAZARD_RECORD_H

#include "queue/hazard_state.h"

enum { PEL_HAZARD_CHUNK_READERS = 5 };

typedef struct pel_hazard_reference {
    pel_hazard_node *node;
    uint64_t generation;
} pel_hazard_reference;

/* A writer and two readers, as most have, are one cache line. */
typedef struct pel_hazard_record {
    struct pel_hazard_record *older;
    uint32_t references; /* by intervals, and by the chunk in front */
    uint32_t count;      /* readers of this chunk */
    pel_interval_value writer; /* nothing, KIND_WRITER or KIND_FAILED; of the front chunk */
    pel_hazard_reference readers[PEL_HAZARD_CHUNK_READERS];
    /* Of a chunk with others behind it: */
    uint32_t behind;     /* readers in those */
    uint32_t compact_at; /* with so many in all, those that are over go; in the front chunk */
} pel_hazard_record;

/* Whether so many can be taken without asking for memory. */
static inline bool pel_hazard_records_ready(const pel_hazard_states *states, uint32_t count) {
    const pel_hazard_record *r = states->free;
    for (; count > 1 && r; count--) {
        r = r->older;
    }
    return count == 0 || r;
}

/* One that is ready. */
static inline pel_hazard_record *pel_hazard_record_take(pel_hazard_states *states) {
    pel_hazard_record *r = states->free;
    states->free = r->older;
    __builtin_prefetch(states->free, 1); /* it was given up long ago */
    r->references = 1;
    r->count = 0;
    r->older = NULL;
    r->writer = (pel_interval_value){0, 0};
    return r;
}

/* One reference less to one without others behind it, of nobody who failed. */
static inline void pel_hazard_record_let_go(pel_hazard_states *states, pel_hazard_record *r) {
    if (--r->references == 0) {
        r->older = states->free;
        states->free = r;
    }
}

#endif
