/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of backends, one line each. The runtime finds a driver here by the kind of device and knows nothing else about it. A
 * table in code rather than registration at start-up: the library runs no constructors, and what a build contains is plain to
 * see.
 */
#include "backend/backends.h"

#include <stddef.h>

static const struct {
    pel_device_kind kind;
    const pel_backend *backend;
} table[] = {
    {PEL_DEVICE_HOST, &pel_backend_host},
#ifdef PEL_HAVE_OPENCL
    {PEL_DEVICE_OPENCL, &pel_backend_opencl},
#endif
    {PEL_DEVICE_SIMULATED, &pel_backend_simulated},
};

const pel_backend *pel_backend_for(pel_device_kind kind) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].kind == kind) {
            return table[i].backend;
        }
    }
    return NULL;
}
