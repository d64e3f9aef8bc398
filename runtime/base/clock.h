/* SPDX-License-Identifier: BSD-3-Clause */
/* Where time comes from: the real monotonic clock, or a simulation's virtual one. */
#ifndef PEL_BASE_CLOCK_H
#define PEL_BASE_CLOCK_H

#include <stdint.h>

typedef struct pel_clock {
    int64_t (*now)(void *state); /* nanoseconds */
    void *state;
} pel_clock;

extern const pel_clock pel_clock_monotonic;
extern const pel_clock pel_clock_process; /* processor time of all threads of this process */

static inline int64_t pel_clock_now(const pel_clock *clock) { return clock->now(clock->state); }

#endif
