/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_disjoint.h"
#include "cli/options.h"
#include <pel/pel.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* How many cores the budget allows, quotas included; 0 after an error message. */
static uint32_t budgeted_cores(const char *command) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = "host";
    desc.flags = PEL_RUNTIME_NO_CACHE;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        pel_cli_error(command, "%s", pel_error_story(error));
        pel_error_destroy(error);
        return 0;
    }
    const uint32_t cores = pel_device_get_info(pel_runtime_device(runtime, 0))->compute_units;
    (void)pel_runtime_destroy(runtime);
    return cores;
}

bool pel_bench_disjoint(const char *command, char list[PEL_BENCH_DISJOINT_LIST]) {
    cpu_set_t mine;
    unsigned first = CPU_SETSIZE, second = CPU_SETSIZE;
    const uint32_t cores = budgeted_cores(command);
    CPU_ZERO(&mine);
    if (cores == 0) {
        return false;
    }
    if (sched_getaffinity(0, sizeof mine, &mine) == 0) {
        for (unsigned core = 0; core < CPU_SETSIZE && second == CPU_SETSIZE; core++) {
            if (CPU_ISSET(core, &mine)) {
                second = first < CPU_SETSIZE ? core : second;
                first = first < CPU_SETSIZE ? first : core;
            }
        }
    }
    if (cores < 2 || second == CPU_SETSIZE) {
        pel_cli_error(
            "bench",
            "disjoint devices (--disjoint) need two cores; this process may use %u (affinity, cpuset or quota): there is "
            "nothing to share out",
            cores);
        return false;
    }
    snprintf(list, PEL_BENCH_DISJOINT_LIST, "host@%u,opencl:0@%u", first, second);
    /* Older PoCL reads the first, newer the second; both before the driver starts. */
    return setenv("POCL_MAX_PTHREAD_COUNT", "1", 1) == 0 && setenv("POCL_CPU_MAX_CU_COUNT", "1", 1) == 0;
}
