/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A work-stealing deque: its owner pushes and takes at the bottom, everybody else steals at the top.
 *
 * Chase and Lev, "Dynamic circular work-stealing deque" (SPAA 2005), with C11 atomics as Le, Pop, Cohen and Zappa Nardelli derive
 * them in "Correct and efficient work-stealing for weak memory models" (PPoPP 2013). Two differences. The array does not grow:
 * what does not fit goes to a lane (lane.h), whose links are the items' own, so that a push never allocates and no array must
 * outlive a slow thief. And the two fences of the paper are sequentially consistent accesses to `bottom` and `top`: the same
 * price on x86 and ARMv8, and sanitizers understand them.
 */
#ifndef PEL_BACKEND_HOST_DEQUE_H
#define PEL_BACKEND_HOST_DEQUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEL_HOST_DEQUE_SLOTS = 1024 };

typedef struct pel_host_deque {
    _Alignas(64) _Atomic int64_t top; /* thieves */
    _Alignas(64) _Atomic int64_t bottom; /* owner */
    _Alignas(64) _Atomic uintptr_t slots[PEL_HOST_DEQUE_SLOTS];
} pel_host_deque;

/* How many there were a moment ago; exact for the owner while nobody steals. */
static inline int64_t pel_host_deque_count(const pel_host_deque *deque) {
    pel_host_deque *d = (pel_host_deque *)(uintptr_t)deque;
    return atomic_load_explicit(&d->bottom, memory_order_relaxed) - atomic_load_explicit(&d->top, memory_order_relaxed);
}

/* Whether something is in it. Ordered after what the caller did before with sequential consistency: for whoever is about to
 * sleep. */
static inline bool pel_host_deque_any(const pel_host_deque *deque) {
    pel_host_deque *d = (pel_host_deque *)(uintptr_t)deque;
    int64_t top = atomic_load_explicit(&d->top, memory_order_seq_cst);
    return atomic_load_explicit(&d->bottom, memory_order_seq_cst) > top;
}

/*
 * Owner. False: full. `announce`: the push is ordered before whatever sequentially consistent load follows, so that the owner may
 * ask whether somebody sleeps; of several pushes in a row only the last needs it.
 */
static inline bool pel_host_deque_push(pel_host_deque *deque, uintptr_t item, bool announce) {
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire);
    if (bottom - top >= PEL_HOST_DEQUE_SLOTS) {
        return false;
    }
    atomic_store_explicit(&deque->slots[bottom & (PEL_HOST_DEQUE_SLOTS - 1)], item, memory_order_relaxed);
    if (announce) {
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_seq_cst);
    } else { /* compilers take an order that they do not know for the strongest: an exchange */
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_release);
    }
    return true;
}

/* Owner: the youngest item; 0: none. */
static inline uintptr_t pel_host_deque_take(pel_host_deque *deque) {
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed) - 1;
    int64_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    if (top > bottom) {
        return 0; /* `top` only grows: it was empty before, and it is now */
    }
    atomic_store_explicit(&deque->bottom, bottom, memory_order_seq_cst);
    top = atomic_load_explicit(&deque->top, memory_order_seq_cst);
    if (top > bottom) {
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        return 0;
    }
    uintptr_t item = atomic_load_explicit(&deque->slots[bottom & (PEL_HOST_DEQUE_SLOTS - 1)], memory_order_relaxed);
    if (top == bottom) { /* the last one: thieves want it too */
        bool mine =
            atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst, memory_order_relaxed);
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        return mine ? item : 0;
    }
    return item;
}

/* Anybody: the oldest item; 0: none, or another was faster. */
static inline uintptr_t pel_host_deque_steal(pel_host_deque *deque) {
    int64_t top = atomic_load_explicit(&deque->top, memory_order_seq_cst);
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_seq_cst);
    if (top >= bottom) {
        return 0;
    }
    uintptr_t item = atomic_load_explicit(&deque->slots[top & (PEL_HOST_DEQUE_SLOTS - 1)], memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst, memory_order_relaxed)) {
        return 0;
    }
    return item;
}

#endif
