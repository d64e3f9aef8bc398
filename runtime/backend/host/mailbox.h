/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mailboxes: how a thread calls a worker that spins, for less than any other way.
 *
 * Each worker has a box that it looks at when it looks for work. What is to be run travels in the line at which it looks (the
 * *letter*), and that it has ended on another, at which only the owner of the letter looks; so a call and its return are one
 * journey of a line each way, as between two threads that know nothing but each other. `begun` is where both meet: a letter has
 * begun, or its owner has taken it back, by compare-and-swap from the last number to this one. It lies on a line of its own,
 * which stays with the worker as long as owners get what they want.
 *
 * Neither side loads anything from the line that it is about to write: that load goes ahead of the store, fetches the line to be
 * shared, and the store has to fetch it once more to own it (40 to 50 ns of each letter, 2 vCPUs, 2026-11). So whether the owner
 * sleeps is not beside the answer, and an owner counts its letters on a line of its own.
 *
 * A box is taken by one owner at a time, who gives it up when the letter has ended or was taken back. Nothing depends on an
 * answer: a worker that said it attends may have lost its core, and then its letter is taken back after a moment, and it is sent
 * no other before it has seen that.
 */
#ifndef PEL_BACKEND_HOST_MAILBOX_H
#define PEL_BACKEND_HOST_MAILBOX_H

#include "base/pool.h"

#include <pel/status.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEL_HOST_LETTER = 40 };
typedef pel_status (*pel_host_letter_fn)(const void *letter);

typedef struct pel_host_mailbox {
    _Alignas(PEL_LINE_PAIR) _Atomic uint64_t called; /* the number of the last letter */
    atomic_bool look;                       /* at all else first: somebody counts on it; written by whoever has the box */
    pel_host_letter_fn run;
    unsigned char letter[PEL_HOST_LETTER];  /* the rest of the line */
    _Alignas(PEL_LINE_PAIR) _Atomic uint64_t begun;  /* of the last letter that was begun or taken back */
    uint64_t seen;                          /* the worker's: of the last letter that it has met */
    atomic_bool owner_sleeps;               /* written only when that changes */
    _Alignas(PEL_LINE_PAIR) _Atomic uint64_t ended;  /* of the last that has ended, or was met when it had been taken back */
    pel_status status;                      /* of that */
    _Alignas(PEL_LINE_PAIR) atomic_bool taken;         /* by an owner */
    atomic_bool attended;                   /* its worker looks at it; written only when that changes */
    atomic_bool awaited;                    /* and at little else: not counted among those that look; likewise */
    _Atomic uint64_t number;                /* of the last letter; written by whoever has the box, before `called` */
    pthread_mutex_t lock;                   /* for an owner that sleeps */
    pthread_cond_t over;
} pel_host_mailbox;

void pel_host_mailbox_init(pel_host_mailbox *box);
void pel_host_mailbox_destroy(pel_host_mailbox *box);

/* The worker's. attend: from now on it looks, or does not. claim: there is a letter, which is now to be run; false: it was taken
 * back. */
static inline void pel_host_mailbox_attend(pel_host_mailbox *box, bool attends) {
    atomic_store_explicit(&box->attended, attends, memory_order_relaxed);
}
static inline bool pel_host_mailbox_has(const pel_host_mailbox *box) {
    return atomic_load_explicit(&((pel_host_mailbox *)(uintptr_t)box)->called, memory_order_relaxed) != box->seen;
}
static inline bool pel_host_mailbox_is_called_back(const pel_host_mailbox *box) {
    return atomic_load_explicit(&((pel_host_mailbox *)(uintptr_t)box)->look, memory_order_acquire);
}
bool pel_host_mailbox_claim(pel_host_mailbox *box);
void pel_host_mailbox_run(pel_host_mailbox *box);

/* An owner's. is_attended: a guess whether its worker looks at it, and has nothing to do. take: false: another has it. The
 * letter's line is not fetched ahead: its worker looks at it all the time, and takes it back before anything is written. */
static inline bool pel_host_mailbox_is_attended(const pel_host_mailbox *box) {
    pel_host_mailbox *b = (pel_host_mailbox *)(uintptr_t)box;
    return atomic_load_explicit(&b->attended, memory_order_relaxed) &&
           atomic_load_explicit(&b->ended, memory_order_relaxed) == atomic_load_explicit(&b->number, memory_order_relaxed);
}
static inline bool pel_host_mailbox_take(pel_host_mailbox *box) {
    return !atomic_load_explicit(&box->taken, memory_order_relaxed) &&
           !atomic_exchange_explicit(&box->taken, true, memory_order_acquire);
}
static inline void pel_host_mailbox_give(pel_host_mailbox *box) {
    atomic_store_explicit(&box->taken, false, memory_order_release);
}
void pel_host_mailbox_post(pel_host_mailbox *box, pel_host_letter_fn run, const void *letter, size_t bytes);
/* Whether the letter has ended. What it wrote is seen. */
static inline bool pel_host_mailbox_is_over(const pel_host_mailbox *box) {
    pel_host_mailbox *b = (pel_host_mailbox *)(uintptr_t)box;
    return atomic_load_explicit(&b->ended, memory_order_acquire) == atomic_load_explicit(&b->number, memory_order_relaxed);
}
/* True: it will not run. False: it has begun, or is over. */
bool pel_host_mailbox_take_back(pel_host_mailbox *box);
/* Waits until it is over, looking for up to spin_ns. */
pel_status pel_host_mailbox_await(pel_host_mailbox *box, int64_t spin_ns);

#endif
