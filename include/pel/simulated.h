/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated machine: devices with invented speeds under a virtual clock. Kernels run their *host variants*, so results are
 * real; time is invented. Same description, same seed, same program (one thread): the same trace, always.
 */
#ifndef PEL_SIMULATED_H
#define PEL_SIMULATED_H

#include <pel/access.h>
#include <pel/export.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

/*
 * One device. A device named "host" describes the simulated host itself, which exists always (without a description: start_ns
 * 2000, rate 1000); the others are "sim:NAME" in device lists. Time of a chunk = start_ns + work / rate, times noise; work is
 * kernel cost per item x items. The fields after core_group bend this line; zero leaves it straight.
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
    /* bytes at whose multiples a buffer range in memory of its own must begin (GPUs: 128 to 512); 0: anywhere */
    uint32_t view_alignment;
    double knee_items;         /* a wide device: fewer items than this take as long as so many */
    double cliff_items;        /* a cache: beyond so many items in a chunk it slows, at twice as many to */
    double cliff_factor;       /* this fraction of the rate */
    double spike_factor_most;  /* spikes are between spike_factor and this, uniformly; 0: all alike */
    double noise_memory;       /* correlation of a chunk's noise with that of the chunk before, below 1 */
    uint64_t slow_until;       /* the slowness of slow_after ends before this chunk; 0: never */
    double drift;              /* the rate swings by this fraction, below 1, */
    double drift_period_ns;    /* as a sine of the virtual time */
    double contention;         /* slower by this fraction for each other device that is busy at the same time */
    double busy_watts, idle_watts;
    double lost_part;          /* how much of the chunk of lost_at runs before the device is gone, above 0 to 1; 0: half */
    uint64_t hang_at;          /* this chunk (1-based) does not end; 0: never */
    double hang_ns;            /* but for so much later; 0: not at all */
    uint64_t fail_until;       /* the chunks from fail_at to this one fail; 0: only fail_at */
    uint64_t wrong_every;      /* every so many chunks have one bit of their result flipped; 0: none */
    double begins_late_ns;     /* an idle device begins so long after the submission; no chunk's time contains it */
} pel_simulated_device;

/*
 * The work of a span on a device ("sim:gpu0") in units of cost 1, for kernels whose items differ or that one device likes better.
 * Pure. What is not above 0 and finite counts as items x cost.
 */
typedef double (*pel_simulated_work_fn)(void *user, const char *device, const char *kernel, const pel_span *span);

enum { PEL_SIMULATED_HOST_GROUP = 1 }; /* core_group of the host's cores */

typedef struct pel_simulation {
    size_t size;               /* sizeof(pel_simulation); 0: the layout of the first release */
    uint64_t seed;             /* 0: the file's, if there is one */
    const char *path;          /* a machine description file (docs/guide: "Simulated machines"), or NULL */
    const pel_simulated_device *devices; /* copied; used when path is NULL */
    uint32_t device_count;
    pel_simulated_work_fn work; /* NULL: items x cost */
    void *work_user;
} pel_simulation;

#define PEL_SIMULATION_INIT {sizeof(pel_simulation), 0, NULL, NULL, 0, NULL, NULL}

PEL_END_DECLS
#endif
