/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watts of devices from the machine's meters, for plans whose aim is energy. A meter is read where nothing computes on its
 * devices, at the begin and at the end of launches and 20 ms apart at least; what it went on, and for how long each device was
 * busy meanwhile, is one window of model/watts.h. Pauses between launches are windows like any other, and are what tells idle
 * power. Invariant: nothing is read, opened or remembered before a launch asks for energy as its aim, and reading costs no launch
 * more than a look at the clock but once in 20 ms. Rejected: a thread that samples (a guest has none to spare), and a reading for
 * each launch (a powercap counter steps once in a millisecond, and is a file). A meter that cannot be read is asked again after
 * 0.1 s, then ever more rarely; what it told before still holds.
 * All functions: under the runtime's lock.
 */
#ifndef PEL_CORE_METERING_H
#define PEL_CORE_METERING_H

#include "core/runtime.h"

/* From now on meters are read. Without memory, or in a simulation, they are not, and watts stay as declared. */
void pel_metering_want(pel_runtime *runtime);

/* Reads what is due. */
void pel_metering_look(pel_runtime *runtime);

typedef enum pel_metering_state { PEL_METERING_NONE, PEL_METERING_LEARNING, PEL_METERING_KNOWN } pel_metering_state;

/* What a device draws by its meter; watts are set when KNOWN. LEARNING: it has a meter that has not told enough yet. */
pel_metering_state pel_metering_watts(const pel_device *device, double *busy_watts, double *idle_watts);

void pel_metering_end(pel_runtime *runtime);

#endif
