/* SPDX-License-Identifier: BSD-3-Clause */
/* One life of the machine of `pel sim`: its runtime, the workload's kernels and buffers, and what is counted meanwhile. */
#ifndef PEL_CLI_SIM_SESSION_H
#define PEL_CLI_SIM_SESSION_H

#include "cli/sim_workload.h"

#include <jansson.h>
#include <pel/pel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pel_sim_total {
    const char *id;
    double busy_ns, items;
    uint64_t chunks, bytes;
} pel_sim_total;

/* What a kernel writes, so that each byte tells the launch and the place that it is of. */
typedef struct pel_sim_pattern {
    uint64_t bytes; /* an item; 0: nothing is written */
    uint64_t launch;
    int argument;
} pel_sim_pattern;

typedef struct pel_sim_session {
    pel_sim_workload workload;
    const char *machine, *devices, *history, *faults, *workload_path;
    uint64_t seed, luck, hash, launches;
    uint64_t failures, wrongs;
    char first_failure[200];
    pel_protection protection;
    bool quiet, explain, silent, check, hangs, misused;
    pel_sim_pattern patterns[PEL_SIM_KERNELS];
    json_t *lines; /* NULL: text */
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernels[PEL_SIM_KERNELS];
    pel_buffer *buffers[PEL_SIM_KERNELS][2];
    void *memory[PEL_SIM_KERNELS][2];
    pel_plan *last[PEL_SIM_KERNELS];
    pel_sim_total *totals; /* in the order in which they first worked; room for all devices */
    uint32_t total_count, total_at; /* the latter: the one after which the next chunk's is looked for first */
    double *errors; /* relative, of launches with a prediction */
    size_t error_count;
} pel_sim_session;

/* What a launch writes at this place. */
static inline unsigned char pel_sim_byte(const pel_sim_pattern *p, uint64_t place) {
    return (unsigned char)(place * 31 + p->launch * 7 + 1);
}

/* True after a message, where it is no success; the error is gone. By address: arguments are evaluated in any order. */
bool pel_sim_failed(pel_status status, pel_error **error);

/* False after a message; what there is goes with the session. */
bool pel_sim_session_open(pel_sim_session *s);
void pel_sim_session_close(pel_sim_session *s);

#endif
