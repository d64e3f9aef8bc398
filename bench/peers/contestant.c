/* SPDX-License-Identifier: BSD-3-Clause */
#include "contestant.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void line(const char *kind, const char *row, const char *subject, const char *rest) {
    printf("%s\t%s\t%s\t%s\n", kind, row, subject, rest);
    fflush(stdout);
}

void contestant_floor(const char *row, const char *subject, const char *unit, double value) {
    char rest[64];
    snprintf(rest, sizeof rest, "%s\t%.9g", unit, value);
    line("sample", row, subject, rest);
}

void contestant_sample(const char *row, const char *unit, double value) {
    contestant_floor(row, contestant_name, unit, value);
}

void contestant_absent(const char *row, const char *why) {
    line("absent", row, contestant_name, why);
}

void contestant_void(const char *row, const char *subject, const char *why) {
    line("void", row, subject, why);
}

void contestant_wrong(const char *row, const char *why) {
    line("wrong", row, contestant_name, why);
}

bool contestant_more(const contestant_run *run, unsigned s) {
    static double began;
    if (s == 0) {
        began = workload_now();
    }
    return s < 2 || (s <= run->samples && workload_now() - began < 2e9);
}

uint64_t contestant_tasks(const contestant_run *run) {
    return run->quick ? 20000 : 200000;
}

uint64_t contestant_slots(const contestant_run *run) {
    return run->quick ? 20000 : 1000000;
}

uint64_t contestant_links(const contestant_run *run) {
    return run->quick ? 2000 : 100000;
}

unsigned contestant_side(const contestant_run *run) {
    return run->quick ? 40 : WORKLOAD_SIDE;
}

unsigned contestant_waits(const contestant_run *run) {
    return run->quick ? 1000 : 20000;
}

void contestant_wave(const char *row, double elapsed, double serial) {
    const unsigned cores = workload_cores();
    if (!workload_wave_holds()) {
        contestant_wrong(row, "a cell ran before its neighbours, twice or never");
    } else {
        if (cores > 1 && workload_threads() < 2) {
            contestant_void(row, contestant_name, "one thread ran all cells");
        }
        contestant_sample(row, "ratio", elapsed / (serial / (cores < 2 ? 1 : cores)));
    }
}

void contestant_fork_join(double elapsed, unsigned rounds, unsigned on_two_threads, unsigned lost) {
    if (lost > 0) {
        contestant_wrong("fork-join", "halves were left out");
        return;
    }
    contestant_sample("fork-join", "ns", elapsed / rounds);
    contestant_sample("fork-join, two threads", "% rounds", 100.0 * on_two_threads / rounds);
    if (on_two_threads < rounds - rounds / 10) {
        contestant_void("fork-join", contestant_name, "one thread ran both halves");
    }
}

void contestant_idle(const contestant_run *run) {
    /* OpenBLAS, which all are linked with, starts threads when it is loaded that look for work for some 100 ms */
    const struct timespec settle = {0, 500000000}, rest = {run->quick ? 0 : 1, run->quick ? 200000000 : 0};
    nanosleep(&settle, NULL);
    const double began = workload_now(), cpu = workload_cpu_seconds();
    nanosleep(&rest, NULL);
    const double spent = workload_cpu_seconds() - cpu;
    contestant_sample("idle", "% CPU", spent * 1e9 / (workload_now() - began) * 100.0);
}

void contestant_latencies(const char *row, const char *subject, const char *unit, double *values, unsigned count) {
    char tail[64];
    const double scale = strcmp(unit, "us") == 0 ? 1e-3 : 1.0;
    snprintf(tail, sizeof tail, "%s p99", row);
    contestant_floor(row, subject, unit, workload_median(values, count) * scale);
    contestant_floor(tail, subject, unit, workload_quantile(values, count, 0.99) * scale);
}

void contestant_small(const contestant_run *run, const char *subject, double *sums, contestant_small_fn *small, void *context) {
    enum { MOST = 2000, WARM = 50 };
    static double spent[MOST];
    const unsigned singles = run->quick ? 100 : MOST, batches = run->quick ? 2 : 9,
                   batch = run->quick ? 100 : WORKLOAD_SMALL_BATCH;
    for (unsigned i = 0; i < WORKLOAD_SMALL; i++) {
        sums[i] = 0.0;
    }
    for (unsigned i = 0; i < WARM; i++) {
        small(context, sums, 1);
    }
    for (unsigned i = 0; i < singles; i++) {
        const double began = workload_now();
        small(context, sums, 1);
        spent[i] = workload_now() - began;
    }
    for (unsigned i = 0; i < batches + 1; i++) {
        const double began = workload_now();
        small(context, sums, batch);
        if (i > 0) {
            contestant_floor("small host launches", subject, "ns", (workload_now() - began) / batch);
        }
    }
    contestant_latencies("small host launch", subject, "ns", spent, singles);
    if (!workload_small_holds(sums, WARM + singles + (uint64_t)(batches + 1) * batch)) {
        contestant_wrong("small host launch", "launches were lost");
    }
}

static const contestant_row *find_row(const char *name) {
    for (const contestant_row *row = contestant_rows; row->name; row++) {
        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    contestant_run run = {.samples = 3};
    const contestant_row *row = argc > 1 ? find_row(argv[1]) : NULL;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            run.quick = true;
            run.samples = 1;
        } else if (strcmp(argv[i], "--full") == 0) {
            run.full = true;
        } else if (strcmp(argv[i], "--work") == 0 && i + 1 < argc) {
            run.work = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "%s: '%s' is not understood\n", contestant_name, argv[i]);
            return 2;
        }
    }
    if (!row) {
        return 0; /* nothing to say about that row */
    }
    if (run.work == 0) {
        run.work = workload_calibrate(1000.0);
    }
    row->measure(&run);
    return 0;
}
