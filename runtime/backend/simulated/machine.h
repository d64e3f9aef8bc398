/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtual machine behind simulated devices: its clock, its pending completions, its random stream. Single-threaded by design.
 */
#ifndef PEL_BACKEND_SIMULATED_MACHINE_H
#define PEL_BACKEND_SIMULATED_MACHINE_H

#include "base/clock.h"
#include "topology/topology.h"
#include <pel/simulated.h>
#include <stdbool.h>

typedef struct pel_machine pel_machine;

/*
 * Reads the description (file or array), validates it, and makes the device table: a simulated host first, then the devices, all
 * selected or as `device_list` says.
 */
pel_status pel_machine_create(const pel_allocator *allocator, const pel_simulation *description, const char *device_list,
                              pel_machine **machine, pel_topology **topology, pel_error **error);
void pel_machine_destroy(pel_machine *machine);
const pel_clock *pel_machine_clock(pel_machine *machine);

/* Rings once when the clock gets there, unless something else is sooner; one alarm at a time, the soonest. INT64_MAX: none any
 * more. */
void pel_machine_alarm(pel_machine *machine, int64_t when, void (*ring)(void *user), void *user);

/* What hangs ends now. */
void pel_machine_release(pel_machine *machine);

/* Advances the clock to the next completion and delivers it. False: nothing is pending. */
bool pel_machine_advance(pel_machine *machine);

#endif
