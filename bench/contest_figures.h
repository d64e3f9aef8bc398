/* SPDX-License-Identifier: BSD-3-Clause */
/* What contestants said: figures by row and subject, those derived from two subjects, and the table. */
#ifndef PEL_BENCH_CONTEST_FIGURES_H
#define PEL_BENCH_CONTEST_FIGURES_H

#include "harness.h"

enum { FIGURES = 256, FIGURE_VALUES = 100 };

typedef struct figure {
    char row[40], subject[24], unit[12];
    char why[96]; /* absent, void or wrong, and why; "" for a good one */
    bool absent, wrong;
    unsigned count;
    double values[FIGURE_VALUES];
} figure;

typedef struct figures {
    figure list[FIGURES];
    size_t count;
} figures;

/* One line of a contestant's output. What is not understood is a wrong result. */
void figures_read(figures *all, char *line);
void figures_wrong(figures *all, const char *row, const char *subject, const char *why);

/* Adds what one turn said to what was said before. */
void figures_merge(figures *all, const figures *turn);

/* Reports the figures from index `first` on, and what is derived from them. `versus`: pel over the best other subject too. */
void figures_report(figures *all, size_t first, pel_results *results, bool versus);
void figures_table(const figures *all);

#endif
