/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One kernel of the catalogue, measured: sized so that the fastest device needs the target time, run on each device alone and by
 * the planner's choice on all, beside a raw OpenCL program and an OpenMP loop, and verified. Shared by `pel bench` and by bench/.
 *
 * The comparison with programs without pel carries its own control: they run twice in every round, as if they were two
 * contestants. When the two disagree by more than PEL_BENCH_CONTROL the machine was not quiet enough to tell; the figure is void
 * and measured again, a bounded number of times, and then reported as void.
 */
#ifndef PEL_CLI_BENCH_CASE_H
#define PEL_CLI_BENCH_CASE_H

#include "catalogue.h"
#include "cli/bench_cores.h"
#include "cli/bench_measure.h"

enum { PEL_BENCH_DEVICES = 16 };
#define PEL_BENCH_CONTROL 0.015
/* A round of figures that need two cores at once counts only when the machine gave both, just before and just after it (see
 * bench_cores.h). */
#define PEL_BENCH_BOTH_CORES 0.95

typedef struct pel_bench_options {
    double target_ns; /* of the fastest device */
    uint32_t rounds;
    uint32_t warm_ups;  /* launches before the planner's choice is measured */
    uint32_t tries;     /* of a comparison whose control is off */
    double patience_ns; /* from the opening of the session; then such comparisons are not tried again */
    uint64_t seed;
    double verify_work; /* see pel_case_verify */
    bool compare;       /* with programs without pel */
    bool both_cores;    /* control each round by two plain threads on the cores of the first two devices */
} pel_bench_options;

typedef struct pel_bench_session {
    pel_bench_options options;
    pel_runtime *runtime;
    pel_queue *queue;
    const pel_device *devices[PEL_BENCH_DEVICES];
    uint32_t device_count;
    double opened_ns;
    pel_bench_cores *cores; /* NULL: no such control */
} pel_bench_session;

typedef struct pel_bench_figure {
    const char *device; /* id, or "all" */
    bool ran, verified;
    uint32_t runs;
    double median_ns, min_ns, max_ns;
    double checked;  /* share of the results that were compared with the reference */
    char story[256]; /* why it did not run or verify; "" otherwise */
} pel_bench_figure;

typedef struct pel_bench_share {
    char device[48];
    double share;
} pel_bench_share;

typedef struct pel_bench_comparison {
    bool tried, valid;
    char device[48];
    double ratio;   /* pel's time over the other program's */
    double control; /* the other program against itself */
    uint32_t tries;
    char story[256]; /* why there is none, or why it is void */
} pel_bench_comparison;

typedef struct pel_bench_row {
    const pel_catalogue_kernel *kernel;
    uint64_t n;
    pel_bench_figure alone[PEL_BENCH_DEVICES], hybrid;
    uint32_t device_count;
    pel_bench_share plan[PEL_BENCH_DEVICES];
    uint32_t plan_count;
    char plan_reason[256];
    double best_ns;    /* best single device */
    double speedup;    /* best single device over hybrid */
    double ideal;      /* S_max: the sum of T_fastest / T_i over devices that may run at once */
    double efficiency; /* speedup / ideal */
    pel_bench_comparison raw, openmp;
    double both_cores;     /* median of the control; 0: none */
    uint32_t void_rounds;  /* not counted because of it */
    char void_story[160];  /* why the figures of several devices are void; "": they are not */
    bool verified;
} pel_bench_row;

/* A runtime and a queue with these devices (NULL: the default). An error message was printed when false. */
bool pel_bench_open(pel_bench_session *session, const char *command, const char *devices, const pel_bench_options *options);
void pel_bench_close(pel_bench_session *session);

/* The n at which the session's fastest device needs its target time. 0: nothing works, see the story. */
uint64_t pel_bench_size(pel_bench_session *session, const pel_catalogue_kernel *kernel, pel_kernel *handle, char story[256]);

/* Measures one kernel; what fails is in the row. False only when nothing could be measured at all. n 0: sized by the target time.
 */
bool pel_bench_measure(pel_bench_session *session, const pel_catalogue_kernel *kernel, uint64_t n, pel_bench_row *row);

#endif
