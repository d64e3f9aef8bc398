/* SPDX-License-Identifier: BSD-3-Clause */
/* The host backend passes the conformance suite, with one, two and five workers. */
#include "backend/backends.h"
#include "suite.h"

#include <stdio.h>

int main(void) {
    static pel_topology_device facts = {.info = {.id = "host",
                                                 .name = "test",
                                                 .kind = PEL_DEVICE_HOST,
                                                 .device_class = PEL_CLASS_HOST_CPU,
                                                 .compute_units = 2,
                                                 .shares_host_memory = 1},
                                        .selected = true,
                                        .host_coherent = true};
    static const uint32_t workers[] = {1, 2, 5};
    int failures = 0;
    for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "host, %u workers", workers[i]);
        pel_backend_env env = {.allocator = &pel_allocator_default, .clock = &pel_clock_monotonic, .host_workers = workers[i]};
        pel_conformance_fixture fixture = {.name = name,
                                           .backend = &pel_backend_host,
                                           .env = &env,
                                           .facts = &facts,
                                           .flags = PEL_FIXTURE_HOST_FUNCTIONS | PEL_FIXTURE_TASKS};
        failures += pel_conformance_run(&fixture);
    }
    return failures;
}
