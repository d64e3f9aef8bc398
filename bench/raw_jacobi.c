/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * By hand and with all that is known: one context, one queue per half, host memory in place, no copies, and events instead of
 * waiting between iterations: a half begins when both halves of the iteration before are over.
 */
#include "raw_jacobi.h"

#include "harness.h"

const char raw_jacobi_source[] =
    "__kernel void jacobi(__global const float *in, __global float *out) {\n"
    "    size_t x = get_global_id(0), y = get_global_id(1), w = get_global_size(0), h = get_global_size(1), i = y * w + x;\n"
    "    bool rim = x == 0 || y == 0 || x + 1 == w || y + 1 == h;\n"
    "    out[i] = rim ? in[i] : 0.25f * (in[i - 1] + in[i + 1] + in[i - w] + in[i + w]);\n"
    "}\n";

#ifdef PEL_HAVE_OPENCL
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

/* A launch of a half has the sizes of a half: the hand-written kernel takes those of the whole as numbers. */
static const char half_source[] =
    "__kernel void jacobi(__global const float *in, __global float *out, ulong w, ulong h) {\n"
    "    size_t x = get_global_id(0), y = get_global_id(1), i = y * w + x;\n"
    "    bool rim = x == 0 || y == 0 || x + 1 == w || y + 1 == h;\n"
    "    out[i] = rim ? in[i] : 0.25f * (in[i - 1] + in[i + 1] + in[i - w] + in[i + w]);\n"
    "}\n";

static struct {
    uint32_t size;
    cl_device_id halves[2];
    cl_context context;
    cl_program program;
    cl_command_queue queues[2];
    cl_kernel kernels[2][2]; /* [half][from which grid] */
    cl_mem grids[2];
} raw;

static bool part_device(void) {
    cl_platform_id platforms[16];
    cl_uint count = 0;
    cl_bool found = CL_FALSE;
    const cl_device_partition_property counts[] = {CL_DEVICE_PARTITION_BY_COUNTS, 1, 1, CL_DEVICE_PARTITION_BY_COUNTS_LIST_END,
                                                   0};
    if (clGetPlatformIDs(16, platforms, &count) != CL_SUCCESS) {
        return false;
    }
    for (cl_uint i = 0; i < count && i < 16 && !found; i++) {
        cl_device_id device;
        found = clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &device, NULL) == CL_SUCCESS &&
                clCreateSubDevices(device, counts, 2, raw.halves, NULL) == CL_SUCCESS;
    }
    return found;
}

bool raw_jacobi_open(uint32_t size, float *grids[2]) {
    const char *source = half_source;
    const size_t bytes = (size_t)size * size * sizeof(float);
    const cl_ulong side = size;
    cl_int code = CL_SUCCESS;
    raw.size = size;
    if (!part_device()) {
        return false;
    }
    raw.context = clCreateContext(NULL, 2, raw.halves, NULL, NULL, &code);
    raw.program = code == CL_SUCCESS ? clCreateProgramWithSource(raw.context, 1, &source, NULL, &code) : NULL;
    code = code == CL_SUCCESS ? clBuildProgram(raw.program, 2, raw.halves, "", NULL, NULL) : code;
    for (int g = 0; g < 2 && code == CL_SUCCESS; g++) {
        raw.grids[g] = clCreateBuffer(raw.context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, grids[g], &code);
    }
    for (int d = 0; d < 2 && code == CL_SUCCESS; d++) {
        raw.queues[d] = clCreateCommandQueue(raw.context, raw.halves[d], 0, &code);
        for (int g = 0; g < 2 && code == CL_SUCCESS; g++) {
            raw.kernels[d][g] = clCreateKernel(raw.program, "jacobi", &code);
            code = code == CL_SUCCESS ? clSetKernelArg(raw.kernels[d][g], 0, sizeof(cl_mem), &raw.grids[g]) : code;
            code = code == CL_SUCCESS ? clSetKernelArg(raw.kernels[d][g], 1, sizeof(cl_mem), &raw.grids[1 - g]) : code;
            code = code == CL_SUCCESS ? clSetKernelArg(raw.kernels[d][g], 2, sizeof side, &side) : code;
            code = code == CL_SUCCESS ? clSetKernelArg(raw.kernels[d][g], 3, sizeof side, &side) : code;
        }
    }
    return code == CL_SUCCESS;
}

double raw_jacobi_run(uint32_t iterations) {
    cl_event before[2] = {NULL, NULL};
    cl_int code = CL_SUCCESS;
    const double began = pel_bench_now();
    for (uint32_t r = 0; r < iterations && code == CL_SUCCESS; r++) {
        cl_event now[2] = {NULL, NULL};
        for (size_t d = 0; d < 2 && code == CL_SUCCESS; d++) {
            const size_t offset[2] = {0, d * (raw.size / 2)}, global[2] = {raw.size, raw.size / 2}, local[2] = {64, 1};
            code = clEnqueueNDRangeKernel(raw.queues[d], raw.kernels[d][r % 2], 2, offset, global, local, r > 0 ? 2 : 0,
                                          r > 0 ? before : NULL, &now[d]);
            clFlush(raw.queues[d]);
        }
        for (int d = 0; d < 2; d++) {
            if (before[d]) {
                clReleaseEvent(before[d]);
            }
            before[d] = now[d];
        }
    }
    for (int d = 0; d < 2; d++) {
        code = code == CL_SUCCESS ? clFinish(raw.queues[d]) : code;
        if (before[d]) {
            clReleaseEvent(before[d]);
        }
    }
    return code == CL_SUCCESS ? pel_bench_now() - began : -1.0;
}

void raw_jacobi_close(void) {
    for (int d = 0; d < 2; d++) {
        for (int g = 0; g < 2; g++) {
            if (raw.kernels[d][g]) {
                clReleaseKernel(raw.kernels[d][g]);
            }
        }
        if (raw.queues[d]) {
            clReleaseCommandQueue(raw.queues[d]);
        }
        if (raw.grids[d]) {
            clReleaseMemObject(raw.grids[d]);
        }
    }
    if (raw.program) {
        clReleaseProgram(raw.program);
    }
    if (raw.context) {
        clReleaseContext(raw.context);
    }
    for (int d = 0; d < 2; d++) {
        if (raw.halves[d]) {
            clReleaseDevice(raw.halves[d]);
        }
    }
}

#else

bool raw_jacobi_open(uint32_t size, float *grids[2]) {
    (void)size, (void)grids;
    return false;
}
double raw_jacobi_run(uint32_t iterations) {
    (void)iterations;
    return -1.0;
}
void raw_jacobi_close(void) {}
#endif
