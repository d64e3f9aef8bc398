/* SPDX-License-Identifier: BSD-3-Clause */
/* The getters of pel/opencl.h. */
#include "backend/opencl/internal.h"

#include <pel/opencl.h>

static pel_backend_device *driver_of(const pel_device *device) {
    pel_backend_device *driver = pel_device_driver(device);
    return driver && driver->facts->info.kind == PEL_DEVICE_OPENCL ? driver : NULL;
}

cl_device_id pel_opencl_device_id(const pel_device *device) {
    pel_backend_device *driver = driver_of(device);
    return driver ? ((pel_cl_device *)driver)->id : NULL;
}

cl_context pel_opencl_context(const pel_device *device) {
    pel_backend_device *driver = driver_of(device);
    return driver ? pel_cl_context_of(driver) : NULL;
}
