/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conformance suite: what runtime/backend/backend.h promises, as tests that every backend passes.
 *
 * A backend's own file is short: main() makes an environment and the facts of a device (by discovery, by a machine description,
 * or by hand), fills a fixture and returns pel_conformance_run(&fixture). The suite opens the device through the vtable, so
 * nothing of the backend but the vtable is seen. The same kernels exist in OpenCL C and as host functions of equal, bit for bit
 * equal, meaning; a fixture says which of them its backend runs.
 */
#ifndef PEL_CONFORMANCE_SUITE_H
#define PEL_CONFORMANCE_SUITE_H

#include "backend/backend.h"

enum {
    PEL_FIXTURE_COMPILES = 1u << 0, /* runs OpenCL C: bad source and missing entries are refused by prepare */
    PEL_FIXTURE_HOST_FUNCTIONS = 1u << 1, /* runs host variants: those without one are refused, failing ones are TASK_FAILED */
    PEL_FIXTURE_TASKS = 1u << 2,     /* takes PEL_WORK_TASK and PEL_WORK_LOOP */
    PEL_FIXTURE_ONE_THREAD = 1u << 3 /* single-threaded by design: no concurrent submitters, nothing happens but in drive() */
};

typedef struct pel_conformance_fixture {
    const char *name; /* shown in front of the results */
    const pel_backend *backend;
    const pel_backend_env *env;
    const pel_topology_device *facts;
    uint32_t flags; /* PEL_FIXTURE_* */
    /* Makes progress, when completions do not come by themselves (advances a virtual clock); false: nothing was pending. NULL:
     * not needed. */
    bool (*drive)(const struct pel_conformance_fixture *fixture);
    void *state; /* the fixture's own */
} pel_conformance_fixture;

/* Runs every test that applies; returns the number of failures, for main. */
int pel_conformance_run(const pel_conformance_fixture *fixture);

#endif
