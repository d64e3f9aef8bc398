/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order between works on different devices, for works that are queued ahead: *signals* are ends of works, *gates* are what a work
 * waits for.
 *
 * The problem: a work may be with its device long before works on other devices that it depends on have ended, and nobody on the
 * host should have to wake up in between (on two busy cores that costs a millisecond, not 50 us). So whoever learns first that a
 * work has ended raises its signal: a driver's callback, else the dispatcher that is told of the completion; and whoever raises a
 * gate's last signal opens it. The invariant: after pel_signal_raise() has come back nobody is at a gate through that signal, so
 * a gate may go once all its signals were raised. Rejected: the driver's own events between queues. They end at a context, so not
 * between drivers, and PoCL before 7 waits for failed ones for ever.
 */
#ifndef PEL_BACKEND_ORDER_H
#define PEL_BACKEND_ORDER_H

#include "base/alloc.h"
#include "base/clock.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct pel_signal pel_signal;
typedef struct pel_gate pel_gate;

/* With one reference; NULL: no memory. Any thread for all of them. */
pel_signal *pel_signal_create(const pel_allocator *allocator, const pel_clock *clock);
pel_signal *pel_signal_retain(pel_signal *signal);
void pel_signal_release(pel_signal *signal); /* NULL: nothing */
void pel_signal_raise(pel_signal *signal);   /* once or more often */

/* Room for so many signals, which are held as long as the gate. NULL: no memory. */
pel_gate *pel_gate_create(const pel_allocator *allocator, uint32_t capacity);
void pel_gate_destroy(pel_gate *gate); /* NULL: nothing; all its signals were raised, or it was never armed */
void pel_gate_add(pel_gate *gate, pel_signal *signal);
/* Once: `open` is called, on whatever thread raises the last signal, or here if all were raised. It must not wait. NULL:
 * nothing is called. */
void pel_gate_arm(pel_gate *gate, void (*open)(void *handle), void *handle);
bool pel_gate_is_open(const pel_gate *gate);
int64_t pel_gate_opened_at(const pel_gate *gate); /* of the signals' clock; 0: it is closed, or never was */

/* The dispatcher's, under its lock: a signal's work is with its device; all works that a gate waits for are. */
void pel_signal_note_begun(pel_signal *signal);
bool pel_gate_may_queue(const pel_gate *gate);

#endif
