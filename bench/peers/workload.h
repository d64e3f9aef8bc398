/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every contestant of `bench/run peers` runs: the same bodies, counted and checked the same way.
 *
 * A figure of a task runtime means nothing unless the tasks ran, once each, in an allowed order and on the threads that it
 * claims. So each body notes what it did in memory of its own thread (about a nanosecond), and the row is wrong when the notes do
 * not add up. Bodies live in one file that is compiled once; a contestant differs only in how it hands them out. C and C++.
 */
#ifndef PEL_PEERS_WORKLOAD_H
#define PEL_PEERS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

double workload_now(void);      /* nanoseconds, monotonic */
unsigned workload_cores(void);  /* that this process may use */
double workload_cpu_seconds(void);
uint64_t workload_resident(void); /* bytes of this process in memory */

/* Executed bodies, by thread. Reset only while none runs. */
void workload_reset(void);
void workload_count(void);
uint64_t workload_total(void);
unsigned workload_threads(void); /* that counted since the reset */

/* A body of `iterations` dependent steps, and how many of them last that long here. */
void workload_spin(uint64_t iterations);
uint64_t workload_calibrate(double nanoseconds);

/* For loops that wait for another thread. */
static inline void workload_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* The caller computes for so long while others rest. It does not sleep: a core that was halted a moment ago attracts the
 * threads that it wakes. */
void workload_busy(double nanoseconds);

/* A gate: bodies that sleep in it keep their threads away from what is queued behind them. */
void workload_gate_close(void);
void workload_gate_pass(void);                   /* sleeps until the gate opens */
bool workload_gate_wait(unsigned threads);       /* until so many sleep in it; false after a tenth of a second */
void workload_gate_open(void);

/* A chain: link i must run after link i - 1. */
void workload_chain_reset(void);
void workload_chain_link(uint64_t i);
bool workload_chain_holds(uint64_t links);

/* A wavefront: cell (i, j) after (i - 1, j) and (i, j - 1). */
enum { WORKLOAD_SIDE = 300 };
void workload_wave_begin(unsigned side, uint64_t work);
void workload_wave_cell(unsigned i, unsigned j);
bool workload_wave_holds(void);
double workload_wave_serial(unsigned side, uint64_t work); /* nanoseconds of all cells one after the other */

/* Fork and join: each half notes who ran it. */
void workload_half(unsigned index);
bool workload_halves_differ(void); /* both ran since the last call, on two threads */
bool workload_halves_ran(void);    /* the same without the threads; asked first */

/* The nth of pseudo-random slots below `slots`, the same for all. */
uint64_t workload_random_slot(uint64_t n, uint64_t slots);

void workload_triad(double *a, const double *b, const double *c, uint64_t begin, uint64_t end);
bool workload_triad_holds(const double *out, const double *b, const double *c, uint64_t count);

/* A launch so small that it is nothing but its price: each element of `sums` grows by one. */
enum { WORKLOAD_SMALL = 256, WORKLOAD_SMALL_BATCH = 1000 };
void workload_small(double *sums, uint64_t begin, uint64_t end);
bool workload_small_holds(const double *sums, uint64_t launches);

double workload_median(double *values, size_t count); /* sorts */
double workload_quantile(double *values, size_t count, double q);

#ifdef __cplusplus
}
#endif
#endif
