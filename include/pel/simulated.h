/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated machine: devices with invented speeds under a virtual clock. Kernels run their *host variants*, so results are
 * real; time is invented. Same description, same seed, same program (one thread): the same trace, always.
 */
#ifndef PEL_SIMULATED_H
#define PEL_SIMULATED_H

#include <pel/export.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

/*
 * One device. A device named "host" describes the simulated host itself, which exists always (without a description: start_ns
 * 2000, rate 1000); the others are "sim:NAME" in device lists. Time of a chunk = start_ns + work / rate, times noise; work is
 * kernel cost per item x items.
 */
typedef struct pel_simulated_device {
    char name[32];
    double start_ns;           /* fixed cost of a chunk */
    double rate;               /* work-items per microsecond for a kernel of cost 1 */
    double noise;              /* relative standard deviation of a chunk's time (log-normal); 0: none */
    double spike_chance;       /* chance that a chunk takes spike_factor times as long */
    double spike_factor;
    uint64_t memory_bytes;     /* 0: unlimited */
    double link_bytes_per_ns;  /* 0: shares the host's memory */
    double link_latency_ns;
    uint64_t slow_after;       /* from this chunk on (1-based) the rate is multiplied by slow_factor; 0: never */
    double slow_factor;
    uint64_t fail_at;          /* this chunk (1-based) fails with PEL_DEVICE_FAILED; 0: never */
    uint64_t lost_at;          /* from this chunk on the device is lost; 0: never */
    uint32_t core_group;       /* devices of one non-zero group share the same cores and never run at once */
    uint32_t view_alignment;   /* bytes at whose multiples a buffer range in memory of its own must begin (GPUs: 128 to 512); 0: anywhere */
} pel_simulated_device;

enum { PEL_SIMULATED_HOST_GROUP = 1 }; /* core_group of the host's cores */

typedef struct pel_simulation {
    size_t size;               /* sizeof(pel_simulation); 0: the layout of the first release */
    uint64_t seed;             /* 0: the file's, if there is one */
    const char *path;          /* a machine description file (docs/guide: "Simulated machines"), or NULL */
    const pel_simulated_device *devices; /* copied; used when path is NULL */
    uint32_t device_count;
} pel_simulation;

#define PEL_SIMULATION_INIT {sizeof(pel_simulation), 0, NULL, NULL, 0}

PEL_END_DECLS
#endif
