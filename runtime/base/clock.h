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

/*
 * Processor time of all threads of this process. Linux brings what a running thread had up to date at its tick only (each 1 to 10
 * ms), or when that thread's own clock is read: pel_clock_settle does that, for 0.2 us a thread. Without it times below some ten
 * milliseconds are wrong by a tick a thread (measured: 14.5 ms within 6.5 on two processors). thread: as pel_clock_of_this_thread
 * told it there; it may have ended.
 */
extern const pel_clock pel_clock_process;
int pel_clock_of_this_thread(void);
void pel_clock_settle(int thread);

static inline int64_t pel_clock_now(const pel_clock *clock) { return clock->now(clock->state); }

#endif
