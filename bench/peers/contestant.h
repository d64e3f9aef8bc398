/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A contestant is a program of its own that measures rows and says what it found, one line each, on its output. One process per
 * contestant and round: StarPU's polling threads, OpenMP's spinning team or a crash disturb nobody else, and every contestant
 * starts from the same state. The driver (bench/contest.c) starts them in turns and does everything else: rounds, medians, bars,
 * tables. C and C++.
 *
 * Lines are tab-separated: "sample ROW SUBJECT UNIT VALUE", "absent ROW WHY" (this runtime has no such thing, or not here), "void
 * ROW SUBJECT WHY" (measured, but not what the row asks for), "wrong ROW WHY" (a result that does not verify).
 */
#ifndef PEL_PEERS_CONTESTANT_H
#define PEL_PEERS_CONTESTANT_H

#include "workload.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct contestant_run {
    bool quick, full;
    unsigned samples; /* of each figure, in this process */
    uint64_t work;    /* iterations of workload_spin that last 1 us */
} contestant_run;

typedef struct contestant_row {
    const char *name;
    void (*measure)(const contestant_run *run);
} contestant_row;

/* What a contestant's program defines. The list ends with a name of NULL. */
extern const char contestant_name[];
extern const contestant_row contestant_rows[];

void contestant_sample(const char *row, const char *unit, double value);
/* of another subject, measured beside */
void contestant_floor(const char *row, const char *subject, const char *unit, double value);
void contestant_absent(const char *row, const char *why);
void contestant_void(const char *row, const char *subject, const char *why);
void contestant_wrong(const char *row, const char *why);

/*
 * Whether there is time for sample number `s` of a figure: 0 warms up and is not reported, 1 is always taken, more up to
 * `samples` while the row has not lasted two seconds. `for (s = 0; contestant_more(run, s); s++)`.
 */
bool contestant_more(const contestant_run *run, unsigned s);

/* Sizes of the rows: the same for all. */
uint64_t contestant_tasks(const contestant_run *run);
uint64_t contestant_slots(const contestant_run *run);
uint64_t contestant_links(const contestant_run *run);
unsigned contestant_side(const contestant_run *run);
unsigned contestant_waits(const contestant_run *run);

/* Half of the cells' solo time over `elapsed`, the other way round: what the wavefront rows report. */
void contestant_wave(const char *row, double elapsed, double serial);

/* The fork-join row: void where the two halves ran on one thread in more than a tenth of the rounds. */
void contestant_fork_join(double elapsed, unsigned rounds, unsigned on_two_threads, unsigned lost);

/*
 * The rows "small host launch" (each waited for) and "small host launches" (many, then one wait): `run` makes so many on the sums
 * and waits for them. Their results are looked at.
 */
typedef void contestant_small_fn(void *context, double *sums, unsigned count);
void contestant_small(const contestant_run *run, const char *subject, double *sums, contestant_small_fn *small, void *context);

/* Shared by all: the CPU time that a live, idle runtime takes. Called when the runtime has run something. */
void contestant_idle(const contestant_run *run);

/* Records and reports latencies: median and 99th percentile, as rows ROW and "ROW p99". */
void contestant_latencies(const char *row, const char *subject, const char *unit, double *values, unsigned count);

#ifdef __cplusplus
}
#endif
#endif
