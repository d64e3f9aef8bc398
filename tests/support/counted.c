/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/simulated.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool counted_fails(counted *memory) {
    const long call = atomic_fetch_add(&memory->calls, 1) + 1;
    const long at = atomic_load(&memory->fail_at);
    return at > 0 && (memory->for_ever ? call >= at : call == at);
}

void *counted_reallocate(void *user, void *pointer, size_t bytes) {
    counted *memory = user;
    if (bytes == 0) {
        atomic_fetch_sub(&memory->live, pointer ? 1 : 0);
        free(pointer);
        return NULL;
    }
    void *block = counted_fails(memory) ? NULL : realloc(pointer, bytes);
    atomic_fetch_add(&memory->live, !pointer && block ? 1 : 0);
    return block;
}

void counted_every_site(const char *what, bool (*live)(counted *memory, const pel_runtime_desc *desc),
                        const pel_runtime_desc *desc) {
    counted memory = {.fail_at = 0};
    assert_true(live(&memory, desc));
    const long sites = atomic_load(&memory.calls);
    long right = 0;
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        for (long at = 1; at <= sites; at++) {
            counted failing = {.fail_at = at, .for_ever = for_ever};
            right += live(&failing, desc);
            if (atomic_load(&failing.live) != 0) {
                fail_msg("%s: allocation %ld failed %s: %ld blocks leaked", what, at, for_ever ? "for ever" : "once",
                         atomic_load(&failing.live));
            }
        }
    }
    printf("%s: %ld sites, once and for ever: %ld right results, %ld clean errors\n", what, sites, right, 2 * sites - right);
}

void counted_every_site_simulated(bool (*live)(counted *memory, const pel_runtime_desc *desc)) {
    pel_simulated_device devices[2] = {{.start_ns = 1000, .rate = 1, .link_bytes_per_ns = 1}, {.start_ns = 1000, .rate = 2}};
    strcpy(devices[0].name, "far");
    strcpy(devices[1].name, "near");
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    simulation.devices = devices;
    simulation.device_count = 2;
    desc.simulation = &simulation;
    counted_every_site("simulated host, far and near device", live, &desc);
}
