/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated backend passes the conformance suite: as the host, with memory of its own behind a link, and with noise in the
 * host's memory.
 */
#include "backend/backends.h"
#include "backend/simulated/machine.h"
#include "suite.h"

#include <stdio.h>

static bool drive(const pel_conformance_fixture *fixture) { return pel_machine_advance(fixture->env->machine); }

int main(void) {
    static const pel_simulated_device devices[] = {
        {.name = "card", .start_ns = 2000.0, .rate = 800.0, .link_bytes_per_ns = 6.0, .link_latency_ns = 900.0},
        {.name = "noisy", .rate = 300.0, .noise = 0.3, .spike_chance = 0.1, .spike_factor = 20.0}};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_machine *machine = NULL;
    pel_topology *topology = NULL;
    int failures = 0;
    simulation.seed = 11;
    simulation.devices = devices;
    simulation.device_count = 2;
    if (pel_machine_create(&pel_allocator_default, &simulation, NULL, &machine, &topology, NULL) != PEL_OK) {
        return 1;
    }
    const pel_backend_env env = {.allocator = &pel_allocator_default, .clock = pel_machine_clock(machine), .machine = machine};
    for (uint32_t i = 0; i < topology->device_count + 1; i++) {
        /* The last round is the card again with several threads at once: they lose the determinism, nothing else. */
        bool threads = i == topology->device_count;
        const pel_topology_device *facts = &topology->devices[threads ? 1 : i];
        char name[64];
        (void)snprintf(name, sizeof name, "simulated %s%s", facts->info.id, threads ? ", several threads" : "");
        const pel_conformance_fixture fixture = {.name = name,
                                                 .backend = &pel_backend_simulated,
                                                 .env = &env,
                                                 .facts = facts,
                                                 .flags = PEL_FIXTURE_HOST_FUNCTIONS | (threads ? 0u : PEL_FIXTURE_ONE_THREAD) |
                                                          (i == 0 ? PEL_FIXTURE_TASKS : 0u),
                                                 .drive = drive};
        failures += pel_conformance_run(&fixture);
    }
    pel_topology_destroy(topology);
    pel_machine_destroy(machine);
    return failures;
}
