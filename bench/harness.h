/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all benchmark programs share: one schema of results, one table of bars.
 *
 * A result is one JSON line: bench, row, subject, unit, median, min, max, runs, bar, holds. `bar` is the limit that bars.json
 * sets for this bench, row and subject ("<= 1.03"), or null; `holds` says whether the median keeps it, or null without a bar. A
 * figure that could not be measured well enough has "void" with the reason and does not hold. People get the same as a line of
 * text. Bars live in a file of their own so that raising one is a change that can be seen and discussed.
 */
#ifndef PEL_BENCH_HARNESS_H
#define PEL_BENCH_HARNESS_H

#include "cli/bench_case.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct pel_results {
    const char *bench; /* "overhead" */
    FILE *file;        /* JSON lines, or NULL */
    json_t *bars;
    bool quick;       /* --quick: short and rough, for a look and for tests */
    bool full;        /* --full: sizes that take minutes, where a section has them */
    const char *only; /* --only TEXT: rows whose name holds the text; NULL: all */
    uint32_t missed;  /* bars that do not hold */
} pel_results;

/*
 * Reads --out FILE (appended to), --bars FILE, --quick, --full and --only. False after a message: the program ends with 2. Other
 * arguments are refused.
 */
bool pel_results_open(pel_results *results, const char *bench, int argc, char **argv);

/* Prints and writes one result. `why_void` NULL: the figure is good. */
void pel_results_add(pel_results *results, const char *row, const char *subject, const char *unit, const double *values,
                     uint32_t count, const char *why_void);
void pel_results_add_one(pel_results *results, const char *row, const char *subject, const char *unit, double value,
                         uint32_t runs, const char *why_void);

/* A row that does not apply here ("no OpenCL device"): said, not written, no bar missed. */
void pel_results_skip(const pel_results *results, const char *row, const char *why);

bool pel_results_wants(const pel_results *results, const char *row);

/* The program's exit status: 1 when a bar was missed or a file could not be written. */
int pel_results_close(pel_results *results);

/* The options of a session of this program. */
pel_bench_options pel_results_options(const pel_results *results, double target_ns);

#endif
