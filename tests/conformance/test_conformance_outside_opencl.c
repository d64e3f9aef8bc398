/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device in a process of its own passes the conformance suite: where the child's device computes in the shared memory, and
 * where it copies once more, as a discrete device would.
 */
#include "backend/backends.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>

static int run_list(const char *list) {
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    pel_topology_options options = {.allocator = &pel_allocator_default, .devices = list};
    pel_backend_env env = {
        .allocator = &pel_allocator_default, .clock = &pel_clock_monotonic, .cache_directory = getenv("PEL_CACHE_DIR")};
    if (pel_topology_discover(&options, &topology, &error) != PEL_OK) {
        printf("%s: %s\n", list, pel_error_message(error));
        pel_error_destroy(error);
        return 77;
    }
    const pel_topology_device *facts = &topology->devices[topology->selection[0]];
    pel_conformance_fixture fixture = {
        .name = list, .backend = &pel_backend_outside, .env = &env, .facts = facts, .flags = PEL_FIXTURE_COMPILES};
    const int failures = pel_conformance_run(&fixture);
    pel_topology_destroy(topology);
    return failures > 70 ? 70 : failures;
}

int main(void) {
    const int in_place = run_list("opencl:0[outside]");
    return in_place != 0 ? in_place : run_list("opencl:0[own;outside]");
}
