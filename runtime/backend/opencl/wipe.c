/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sensitive data leaves the device: memory objects are filled with zeroes before they are released, and local memory after the
 * launch that used it.
 *
 * Local memory belongs to no object, so a kernel of ours takes all that a work-group may have and zeroes it, in as many groups as
 * should reach each compute unit several times. Which unit runs which group is the driver's business: it is likely, not certain,
 * that none is left out. The stores are volatile, or a compiler would see that nobody reads them. Rejected: zeroing at the end of
 * the user's kernel, which would have to be rewritten, and whose early returns would leave work-items behind.
 */
#include "backend/opencl/internal.h"


#define GROUPS_PER_UNIT 16u
#define ITEMS 64u

static const char scrub_source[] =
    "kernel void pel_scrub(volatile local uint *memory, uint count) {\n"
    "    for (uint i = (uint)get_local_id(0); i < count; i += (uint)get_local_size(0)) memory[i] = 0;\n"
    "}\n";

/* With a queue of its own: the device's is the holder of the baton's, and whoever asks may be anybody. Nothing uses the object
 * any more. */
pel_status pel_cl_mem_wipe(pel_backend_device *base, pel_mem *mem, pel_error **error) {
    pel_cl_device *device = (pel_cl_device *)base;
    const cl_uint zero = 0;
    cl_int code = CL_SUCCESS;
    if (device->base.facts->host_coherent || device->base.facts->info.shares_host_memory) {
        return PEL_OK; /* it is host memory, and may be valid there still */
    }
    pel_status status = pel_cl_ready(device, error);
    if (status != PEL_OK) {
        return status;
    }
    cl_command_queue queue = clCreateCommandQueue(device->context, device->id, 0, &code);
    if (!queue || code != CL_SUCCESS) {
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateCommandQueue",
                           "no queue to zero memory with");
    }
    const char *call = "clEnqueueFillBuffer";
    const size_t whole = (size_t)mem->bytes & ~(sizeof zero - 1), rest = (size_t)mem->bytes - whole;
    code =
        whole > 0 ? clEnqueueFillBuffer(queue, ((pel_cl_mem *)mem)->cl, &zero, sizeof zero, 0, whole, 0, NULL, NULL) : CL_SUCCESS;
    if (code == CL_SUCCESS && rest > 0) {
        code = clEnqueueFillBuffer(queue, ((pel_cl_mem *)mem)->cl, &zero, 1, whole, rest, 0, NULL, NULL);
    }
    if (code == CL_SUCCESS) {
        call = "clFinish";
        code = clFinish(queue);
    }
    clReleaseCommandQueue(queue);
    return code == CL_SUCCESS
               ? PEL_OK
               : pel_cl_fail(device, error, code, call, "memory of %llu bytes is not zeroed", (unsigned long long)mem->bytes);
}

static pel_status make_scrub(pel_cl_device *device, pel_error **error) {
    const char *text = scrub_source;
    const size_t length = sizeof scrub_source - 1;
    const char *call = "clCreateProgramWithSource";
    cl_int code = CL_SUCCESS;
    device->scrub_program = clCreateProgramWithSource(device->context, 1, &text, &length, &code);
    if (device->scrub_program && code == CL_SUCCESS) {
        call = "clBuildProgram";
        code = pel_cl_compile(device, device->scrub_program, "");
    }
    if (device->scrub_program && code == CL_SUCCESS) {
        call = "clCreateKernel";
        device->scrub = clCreateKernel(device->scrub_program, "pel_scrub", &code);
    }
    if (device->scrub && code == CL_SUCCESS) {
        return PEL_OK;
    }
    pel_cl_scrub_end(device);
    return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, call,
                       "no kernel to zero local memory with");
}

pel_status pel_cl_scrub(pel_cl_device *device, cl_event *event, pel_error **error) {
    const pel_device_info *info = &device->base.facts->info;
    const size_t local = ITEMS, global = (size_t)ITEMS * GROUPS_PER_UNIT * (info->compute_units > 0 ? info->compute_units : 1);
    const cl_uint count = (cl_uint)(info->local_memory_bytes / sizeof(cl_uint));
    const char *call = "clSetKernelArg";
    pel_status status = device->scrub ? PEL_OK : make_scrub(device, error);
    *event = NULL;
    if (status != PEL_OK || count == 0) {
        return status != PEL_OK
                   ? status
                   : pel_cl_refuse(device, error, PEL_UNSUPPORTED, "", "the device does not tell how much local memory it has");
    }
    cl_int code = clSetKernelArg(device->scrub, 0, count * sizeof(cl_uint), NULL);
    code = code ? code : clSetKernelArg(device->scrub, 1, sizeof count, &count);
    if (code == CL_SUCCESS) {
        call = "clEnqueueNDRangeKernel";
        code = clEnqueueNDRangeKernel(device->queue, device->scrub, 1, NULL, &global, &local, 0, NULL, event);
    }
    return code == CL_SUCCESS
               ? PEL_OK
               : pel_cl_fail(device, error, code, call, "local memory is not zeroed after a launch with sensitive data");
}

void pel_cl_scrub_end(pel_cl_device *device) {
    if (device->scrub) {
        clReleaseKernel(device->scrub);
    }
    if (device->scrub_program) {
        clReleaseProgram(device->scrub_program);
    }
    device->scrub = NULL;
    device->scrub_program = NULL;
}
