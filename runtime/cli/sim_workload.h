/* SPDX-License-Identifier: BSD-3-Clause */
/* The workload of `pel sim`: which kernels are launched, how often, how large, and what their items cost. */
#ifndef PEL_CLI_SIM_WORKLOAD_H
#define PEL_CLI_SIM_WORKLOAD_H

#include <pel/access.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEL_SIM_KERNELS = 64, PEL_SIM_NAME = 32, PEL_SIM_LIKES = 16, PEL_SIM_BINS = 256 };

typedef enum pel_sim_profile { PEL_SIM_FLAT, PEL_SIM_RAMP, PEL_SIM_HUMP, PEL_SIM_STEPS } pel_sim_profile;

typedef struct pel_sim_kernel {
    char name[PEL_SIM_NAME];
    uint64_t items, items_most; /* each launch between the two, by seed, logarithmically; items_most 0: always `items` */
    uint64_t launches;          /* in a row, a round */
    uint64_t granularity;
    uint64_t bytes_in, bytes_out; /* per item */
    double cost;                  /* per item, on average */
    double contrast;              /* dearest over cheapest item */
    pel_sim_profile profile;
    bool irregular, single, resident;
    struct {
        char device[PEL_SIM_NAME];
        double speed; /* relative to what the machine's description says */
    } likes[PEL_SIM_LIKES];
    uint32_t like_count;
    double cumulative[PEL_SIM_BINS + 1]; /* cost up to a bin's begin; 1 in all */
} pel_sim_kernel;

typedef struct pel_sim_workload {
    uint64_t rounds;
    pel_sim_kernel kernels[PEL_SIM_KERNELS];
    uint32_t kernel_count;
} pel_sim_workload;

/* False after a message that names file and line. Any bytes may come. */
bool pel_sim_workload_read(const char *path, pel_sim_workload *workload);

/* Draws the steps of profiles; after reading, when the seed is known. */
void pel_sim_workload_draw(pel_sim_workload *workload, uint64_t seed);

/* pel_simulated_work_fn; user: the workload. */
double pel_sim_work(void *user, const char *device, const char *kernel, const pel_span *span);

#endif
