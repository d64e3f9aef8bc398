/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps the caller's process as it was around calls in which an OpenCL driver may start itself: signal dispositions, the
 * environment, and the signal mask of threads that the driver starts. For discovery, and for the first build on a device.
 */
#ifndef PEL_TOPOLOGY_GUARD_H
#define PEL_TOPOLOGY_GUARD_H

#include <pel/runtime.h>
#include <pel/status.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum { PEL_GUARD_SIGNALS = 65 };

typedef struct pel_guard {
    const pel_allocator *allocator;
    struct sigaction actions[PEL_GUARD_SIGNALS];
    bool known[PEL_GUARD_SIGNALS];
    sigset_t mask;
    stack_t signal_stack;
    char *environment; /* "NAME=value\0" one after another */
    size_t environment_bytes;
    bool took_sigfpe; /* after leave: the driver keeps SIGFPE */
} pel_guard;

/*
 * Enters; only one thread of the process is inside at a time, others wait. Blocks asynchronous signals in this thread, so that
 * threads started inside never run the caller's handlers. Not recursive. On OUT_OF_MEMORY nothing was entered.
 */
pel_status pel_guard_enter(pel_guard *guard, const pel_allocator *allocator);

/* Puts everything back, but SIGFPE if it was taken meanwhile: PoCL needs it to survive an integer division by zero. */
void pel_guard_leave(pel_guard *guard);

#endif
