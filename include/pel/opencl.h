/* SPDX-License-Identifier: BSD-3-Clause */
/* Interoperation with OpenCL: the only public header that names its types. Not included by pel/pel.h. */
#ifndef PEL_OPENCL_H
#define PEL_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pel/runtime.h>

PEL_BEGIN_DECLS

/*
 * Contexts of the caller's to work in, handed over in pel_runtime_desc.opencl. Each is retained by pel_runtime_create and released by
 * pel_runtime_destroy. A device of the runtime that belongs to one of these contexts uses it instead of a context of its own; other devices
 * are not affected. A context whose devices are unknown to the ICD loader is refused (INVALID_ARGUMENT).
 */
typedef struct pel_opencl_adoption {
    size_t size; /* sizeof(pel_opencl_adoption); 0: the layout of the first release */
    const cl_context *contexts;
    uint32_t context_count;
} pel_opencl_adoption;
#define PEL_OPENCL_ADOPTION_INIT {sizeof(pel_opencl_adoption), NULL, 0}

/* The cl_device_id and cl_context behind an OpenCL device, not retained, valid as long as the runtime; NULL for other devices.
 * The first call may make the context (milliseconds); it is NULL when the driver refuses one. Any thread. */
PEL_API cl_device_id pel_opencl_device_id(const pel_device *device);
PEL_API cl_context pel_opencl_context(const pel_device *device);

PEL_END_DECLS
#endif
