/* SPDX-License-Identifier: BSD-3-Clause */
/* Energy of devices: the readings behind pel_device_get_energy. */
#ifndef PEL_CORE_ENERGY_H
#define PEL_CORE_ENERGY_H

#include "core/runtime.h"

/* Adds what the device drew since it was last settled, at the watts declared now. The lock is held. */
void pel_energy_settle(pel_device *device);

/* The devices whose meter is that of the processors' packages. */
bool pel_energy_on_packages(const pel_device_info *info);

/* Joules of a device's meter so far; false: it has none that can be read. The lock is held. */
bool pel_energy_meter(pel_device *device, double *joules);

#endif
