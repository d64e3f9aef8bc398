/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where workers run. They are confined to the device's cores, or bound each to its own, and move away from a core on which
 * somebody is whom they work with; the caller's threads are never moved.
 */
#include "backend/host/workers.h"
#include "topology/core_set.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* Where the worker may run: its own core when binding was asked for, else the cores of the device. False: not known. */
static bool allowed_cores(const pel_host_worker *worker, pel_core_set *set) {
    const pel_host_device *device = worker->device;
    const pel_topology_device *facts = device->base.facts;
    if (facts->info.cores_count == 0) {
        return false;
    }
    *set = facts->info.cores;
    if (pel_host_is_bound(device)) {
        memset(set, 0, sizeof *set);
        pel_core_set_add(set, pel_host_home_core(device, worker->index));
    }
    return true;
}

static bool run_on(const pel_core_set *set) {
    cpu_set_t masks[(sizeof *set + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t)];
    memset(masks, 0, sizeof masks);
    for (uint32_t core = 0; core < PEL_CORE_LIMIT; core++) {
        if (pel_core_set_has(set, core)) {
            CPU_SET_S(core, sizeof masks, masks);
        }
    }
    return sched_setaffinity(0, sizeof masks, masks) == 0;
}

void pel_host_confine(const pel_host_worker *worker) {
    pel_core_set set;
    if (allowed_cores(worker, &set) && !run_on(&set)) {
        pel_log(worker->device->env->logger, PEL_LOG_WARNING,
                "%s: worker %u cannot be bound to its cores (errno %d); it runs where the system likes",
                worker->device->base.facts->info.id, worker->index, errno);
    }
}

/*
 * Leaves the core to the thread that is known to be there. The system likes to put a woken thread beside its waker, and takes
 * milliseconds to part them: two of one job shared a core in a fifth of all launches (2 cores, Linux 6, 2026-11).
 */
void pel_host_make_room(const pel_host_worker *worker, int cpu) {
    pel_core_set set;
    if (cpu < 0 || cpu >= PEL_CORE_LIMIT || sched_getcpu() != cpu || pel_host_is_bound(worker->device) ||
        worker->device->base.facts->info.cores_count < 2 || !allowed_cores(worker, &set)) {
        return;
    }
    set.bits[cpu / 64] &= ~(1ull << (cpu % 64));
    (void)run_on(&set);
    pel_host_confine(worker);
}
