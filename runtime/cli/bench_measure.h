/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timing of several contestants in one run: each round runs all of them once, every other round in the opposite order, so that a
 * machine that warms up, slows down or is disturbed does the same to all. Figures are medians; a ratio is the median of the
 * rounds' ratios, because neighbours in time suffered alike.
 */
#ifndef PEL_CLI_BENCH_MEASURE_H
#define PEL_CLI_BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

enum { PEL_BENCH_RUNS = 401 };

typedef struct pel_bench_subject {
    const char *name;
    bool (*run)(void *context);    /* timed */
    void (*before)(void *context); /* not timed; may be NULL */
    void (*after)(void *context);
    void *context;
    uint32_t count; /* runs so far */
    double ns[PEL_BENCH_RUNS];
} pel_bench_subject;

double pel_bench_now(void); /* nanoseconds, monotonic */

/* Adds `rounds` runs to every subject. False as soon as one fails. */
bool pel_bench_rounds(pel_bench_subject *subjects, uint32_t count, uint32_t rounds);

/* One timed run outside of the rounds: nanoseconds, or a negative number when it failed. */
double pel_bench_time(const pel_bench_subject *subject);

double pel_bench_median(const double *values, uint32_t count); /* 0 for none; at most PEL_BENCH_RUNS */
double pel_bench_ratio(const pel_bench_subject *above, const pel_bench_subject *below);

/* above / below where `below` was measured twice, as two subjects: each round's mean of both; and the control, one against the
 * other. */
double pel_bench_ratio_to_pair(const pel_bench_subject *above, const pel_bench_subject *below, const pel_bench_subject *again);

#endif
