/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/order.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct entry {
    struct entry *next; /* of the signal */
    pel_gate *gate;
    pel_signal *signal;
} entry;

struct pel_signal {
    const pel_allocator *allocator;
    const pel_clock *clock;
    atomic_uint references;
    pthread_mutex_t lock;
    bool raised;        /* (lock) */
    entry *first;       /* (lock) gates that wait */
    bool begun;         /* the dispatcher's */
};

struct pel_gate {
    const pel_allocator *allocator;
    atomic_uint waiting; /* signals that were not raised */
    atomic_uint closed;  /* the same, and one more until it is armed */
    _Atomic int64_t opened_at;
    void (*open)(void *handle);
    void *handle;
    uint32_t count, capacity;
    entry entries[];
};

pel_signal *pel_signal_create(const pel_allocator *allocator, const pel_clock *clock) {
    pel_signal *signal = pel_alloc_zero(allocator, 1, sizeof *signal);
    if (signal) {
        signal->allocator = allocator;
        signal->clock = clock;
        atomic_init(&signal->references, 1);
        pthread_mutex_init(&signal->lock, NULL);
    }
    return signal;
}

pel_signal *pel_signal_retain(pel_signal *signal) {
    atomic_fetch_add_explicit(&signal->references, 1, memory_order_relaxed);
    return signal;
}

void pel_signal_release(pel_signal *signal) {
    if (signal && atomic_fetch_sub_explicit(&signal->references, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&signal->lock);
        pel_free(signal->allocator, signal);
    }
}

static void let_through(pel_gate *gate) {
    if (atomic_fetch_sub_explicit(&gate->closed, 1, memory_order_acq_rel) == 1 && gate->open) {
        gate->open(gate->handle);
    }
}

void pel_signal_raise(pel_signal *signal) {
    pthread_mutex_lock(&signal->lock);
    signal->raised = true;
    entry *waiting = signal->first;
    signal->first = NULL;
    const int64_t now = waiting ? pel_clock_now(signal->clock) : 0;
    for (entry *next; waiting; waiting = next) {
        next = waiting->next;
        atomic_store_explicit(&waiting->gate->opened_at, now, memory_order_relaxed);
        atomic_fetch_sub_explicit(&waiting->gate->waiting, 1, memory_order_release);
        let_through(waiting->gate);
    }
    pthread_mutex_unlock(&signal->lock);
}

void pel_signal_note_begun(pel_signal *signal) { signal->begun = true; }

pel_gate *pel_gate_create(const pel_allocator *allocator, uint32_t capacity) {
    pel_gate *gate = pel_alloc_zero(allocator, 1, sizeof *gate + capacity * sizeof gate->entries[0]);
    if (gate) {
        gate->allocator = allocator;
        gate->capacity = capacity;
        atomic_init(&gate->closed, 1);
    }
    return gate;
}

void pel_gate_destroy(pel_gate *gate) {
    for (uint32_t i = 0; gate && i < gate->count; i++) { /* one that was never armed may still be waiting */
        pel_signal *signal = gate->entries[i].signal;
        pthread_mutex_lock(&signal->lock);
        for (entry **at = &signal->first; *at; at = &(*at)->next) {
            if (*at == &gate->entries[i]) {
                *at = (*at)->next;
                break;
            }
        }
        pthread_mutex_unlock(&signal->lock);
        pel_signal_release(signal);
    }
    if (gate) {
        pel_free(gate->allocator, gate);
    }
}

void pel_gate_add(pel_gate *gate, pel_signal *signal) {
    if (gate->count == gate->capacity) {
        return; /* the caller has counted */
    }
    entry *made = &gate->entries[gate->count++];
    *made = (entry){.gate = gate, .signal = pel_signal_retain(signal)};
    pthread_mutex_lock(&signal->lock);
    if (!signal->raised) {
        atomic_fetch_add_explicit(&gate->waiting, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&gate->closed, 1, memory_order_relaxed);
        made->next = signal->first;
        signal->first = made;
    }
    pthread_mutex_unlock(&signal->lock);
}

void pel_gate_arm(pel_gate *gate, void (*open)(void *handle), void *handle) {
    gate->open = open;
    gate->handle = handle;
    let_through(gate);
}

bool pel_gate_is_open(const pel_gate *gate) { return atomic_load_explicit(&gate->waiting, memory_order_acquire) == 0; }

int64_t pel_gate_opened_at(const pel_gate *gate) {
    return pel_gate_is_open(gate) ? atomic_load_explicit(&gate->opened_at, memory_order_relaxed) : 0;
}

bool pel_gate_may_queue(const pel_gate *gate) {
    for (uint32_t i = 0; i < gate->count; i++) {
        if (!gate->entries[i].signal->begun) {
            return false;
        }
    }
    return true;
}
