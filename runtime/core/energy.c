/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Measured where a meter can be read, else modelled, and always said which. Meters are asked, never sampled: they count joules
 * themselves. The model counts at the watts that were declared while the time passed, so that a later declaration changes nothing
 * that is over. Rejected: shares of a package's energy by CPU time; a memory-bound core draws a fraction of a computing one, and
 * a guess would be called measured.
 */
#include "core/energy.h"
#include "topology/power.h"

#include <string.h>

void pel_energy_settle(pel_device *device) {
    int64_t now = pel_clock_now(device->runtime->clock);
    if (device->busy_watts > 0.0 && device->joules_at != 0) {
        double busy = device->busy_ns - device->joules_busy_ns, passed = (double)(now - device->joules_at);
        double idle = passed > busy ? passed - busy : 0.0;
        device->joules += (device->busy_watts * busy + device->idle_watts * idle) * 1e-9;
    }
    device->joules_busy_ns = device->busy_ns;
    device->joules_at = now != 0 ? now : 1;
}

static void model(pel_device *device, pel_device_energy *energy) {
    if (device->busy_watts > 0.0) {
        pel_energy_settle(device);
        energy->source = PEL_ENERGY_MODELLED;
        energy->joules = device->joules;
    }
}

bool pel_energy_on_packages(const pel_device_info *info) {
    return info->device_class == PEL_CLASS_HOST_CPU || info->device_class == PEL_CLASS_SOFTWARE;
}

/* Why nothing is measured, or NULL. */
static const char *measure(pel_device *device, pel_device_energy *energy) {
    const pel_device_info *info = &device->facts->info;
    struct pel_power *power = device->runtime->power;
    const char *why = NULL;
    if (pel_energy_on_packages(info)) {
        if (pel_power_packages(power, &energy->joules, &why)) {
            energy->source = PEL_ENERGY_MEASURED;
            energy->how = "measured by intel-rapl: whole processor packages";
        }
    } else if (info->kind == PEL_DEVICE_OPENCL && strncmp(info->identity, "pci:", 4) == 0) {
        if (pel_power_nvidia(power, info->identity + 4, &energy->joules, &why)) {
            energy->source = PEL_ENERGY_MEASURED;
            energy->how = "measured by NVML: the whole GPU";
        }
    } else {
        why = "no meter is known for this device";
    }
    return why;
}

/* False: no memory. */
static bool has_meters(pel_runtime *runtime) {
    runtime->power = runtime->power ? runtime->power : pel_power_open(&runtime->allocator, NULL, NULL);
    return runtime->power != NULL;
}

bool pel_energy_meter(pel_device *device, double *joules) {
    pel_device_energy energy = {0};
    const bool good = !device->runtime->machine && has_meters(device->runtime) && !measure(device, &energy);
    *joules = energy.joules;
    return good && energy.source == PEL_ENERGY_MEASURED;
}

pel_status pel_device_get_energy(const pel_device *device, pel_device_energy *energy) {
    if (!device || !energy) {
        return PEL_INVALID_ARGUMENT;
    }
    *energy = (pel_device_energy){.how = "no watts are declared"};
    pel_runtime *runtime = device->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_device *own = &runtime->devices[device->index];
    const char *why = "devices of a simulation are not measured";
    if (!runtime->machine) {
        status = has_meters(runtime) ? PEL_OK : PEL_OUT_OF_MEMORY;
        why = status == PEL_OK ? measure(own, energy) : NULL;
    }
    if (energy->source == PEL_ENERGY_UNKNOWN && status == PEL_OK) {
        model(own, energy);
        energy->how = energy->source == PEL_ENERGY_MODELLED ? "modelled from declared watts" : why;
    }
    pthread_mutex_unlock(&runtime->lock);
    return status;
}
