/* SPDX-License-Identifier: BSD-3-Clause */
/* What this process may use of the machine: cores, how many of them at once, and memory. */
#ifndef PEL_TOPOLOGY_BUDGET_H
#define PEL_TOPOLOGY_BUDGET_H

#include <pel/device.h>
#include <stdint.h>

typedef struct pel_budget {
    pel_core_set cores;        /* affinity and every cpuset above us */
    uint32_t core_count;       /* in `cores` */
    uint32_t usable;           /* how many at once: core_count, or less under a quota; at least 1 */
    uint64_t quota_millicores; /* the tightest CPU quota, in thousandths of a core; UINT64_MAX: none */
    uint64_t memory_available; /* min(MemAvailable, what the memory cgroups leave); UINT64_MAX: unknown */
    uint64_t memory_limit;     /* the tightest memory cgroup limit; UINT64_MAX: none */
} pel_budget;

/*
 * Reads /proc and the cgroup trees (v1, v2 and both at once) below `root` ("" for this machine; tests give a recorded tree).
 * affinity NULL: the calling thread's. Files that are missing or unreadable restrict nothing. Cannot fail: an unknown affinity is
 * one core.
 */
void pel_budget_read(const char *root, const pel_core_set *affinity, pel_budget *budget);

#endif
