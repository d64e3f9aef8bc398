/* SPDX-License-Identifier: BSD-3-Clause */
#include "raw_startup.h"
#include "cli/bench_measure.h"
#include "kernels_cl.h"
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>

double pel_raw_hwloc_load(void) {
    static const char *const drivers[] = {"opencl", "cuda", "nvml", "rsmi", "levelzero", "gl", "pci"};
    hwloc_topology_t topology;
    const double begin = pel_bench_now();
    if (hwloc_topology_init(&topology) != 0) {
        return -1.0;
    }
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, drivers[i]);
    }
    const unsigned long flags = HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING;
    const bool loaded = hwloc_topology_set_flags(topology, flags) == 0 && hwloc_topology_load(topology) == 0;
    const double end = pel_bench_now();
    hwloc_topology_destroy(topology);
    return loaded ? end - begin : -1.0;
}

#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>

enum { ITEMS = 65536, LOCAL = 256 };

typedef struct raw {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel;
    cl_mem memory[3];
} raw;

double pel_raw_first_platform_call(void) {
    cl_uint count = 0;
    const double begin = pel_bench_now();
    const cl_int code = clGetPlatformIDs(0, NULL, &count);
    const double end = pel_bench_now();
    return code == CL_SUCCESS && count > 0 ? end - begin : -1.0;
}

/* The first CPU device: the one that pel calls opencl:0 where PoCL is alone. */
static bool find_device(raw *r) {
    cl_platform_id platforms[16];
    cl_uint count = 0;
    if (clGetPlatformIDs(16, platforms, &count) != CL_SUCCESS) {
        return false;
    }
    for (cl_uint i = 0; i < count && i < 16; i++) {
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &r->device, NULL) == CL_SUCCESS) {
            cl_int code;
            r->context = clCreateContext(NULL, 1, &r->device, NULL, NULL, &code);
            r->queue = code == CL_SUCCESS ? clCreateCommandQueueWithProperties(r->context, r->device, NULL, &code) : NULL;
            return code == CL_SUCCESS;
        }
    }
    return false;
}

static bool make_kernel(raw *r) {
    cl_int code;
    if (clBuildProgram(r->program, 1, &r->device, "", NULL, NULL) != CL_SUCCESS) {
        return false;
    }
    r->kernel = clCreateKernel(r->program, "triad", &code);
    return code == CL_SUCCESS;
}

static bool launch(raw *r) {
    const size_t global = ITEMS, local = LOCAL;
    const float factor = 2.0f;
    cl_int code = CL_SUCCESS;
    for (cl_uint i = 0; i < 3 && code == CL_SUCCESS; i++) {
        r->memory[i] = clCreateBuffer(r->context, CL_MEM_READ_WRITE, ITEMS * sizeof(float), NULL, &code);
        code = code == CL_SUCCESS ? clSetKernelArg(r->kernel, i, sizeof(cl_mem), &r->memory[i]) : code;
    }
    return code == CL_SUCCESS && clSetKernelArg(r->kernel, 3, sizeof factor, &factor) == CL_SUCCESS &&
           clEnqueueNDRangeKernel(r->queue, r->kernel, 1, NULL, &global, &local, 0, NULL, NULL) == CL_SUCCESS &&
           clFinish(r->queue) == CL_SUCCESS;
}

static void release(raw *r) {
    for (int i = 0; i < 3; i++) {
        if (r->memory[i]) {
            clReleaseMemObject(r->memory[i]);
        }
    }
    if (r->kernel) {
        clReleaseKernel(r->kernel);
    }
    if (r->program) {
        clReleaseProgram(r->program);
    }
    if (r->queue) {
        clReleaseCommandQueue(r->queue);
    }
    if (r->context) {
        clReleaseContext(r->context);
    }
}

static bool write_binary(raw *r, const char *path) {
    size_t bytes = 0;
    unsigned char *binary = NULL;
    bool fine = clGetProgramInfo(r->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) == CL_SUCCESS && bytes > 0 &&
                (binary = (unsigned char *)malloc(bytes)) != NULL &&
                clGetProgramInfo(r->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS;
    FILE *file = fine ? fopen(path, "wbe") : NULL;
    fine = file && fwrite(binary, 1, bytes, file) == bytes;
    fine = file && fclose(file) == 0 && fine;
    free(binary);
    return fine;
}

bool pel_raw_save_binary(const char *path) {
    raw r = {.device = NULL};
    const char *source = pel_cl_triad;
    cl_int code = CL_SUCCESS;
    bool fine = find_device(&r) && (r.program = clCreateProgramWithSource(r.context, 1, &source, NULL, &code)) != NULL &&
                make_kernel(&r) && launch(&r) && write_binary(&r, path);
    release(&r);
    return fine;
}

bool pel_raw_touch_context(const pel_runtime *runtime) {
    return pel_opencl_context(pel_runtime_device(runtime, 0)) != NULL;
}

bool pel_raw_kernel_from_binary(const char *path, double *ready_ns, double *launch_ns) {
    raw r = {.device = NULL};
    static unsigned char binary[1u << 22];
    const unsigned char *pointer = binary;
    if (!find_device(&r)) {
        return false;
    }
    cl_int code = CL_SUCCESS;
    const double begin = pel_bench_now();
    FILE *file = fopen(path, "rbe"); /* reading the file is part of it, as it is for pel */
    const size_t bytes = file ? fread(binary, 1, sizeof binary, file) : 0;
    bool fine = bytes > 0 && bytes < sizeof binary;
    if (file) {
        fclose(file);
    }
    r.program = fine ? clCreateProgramWithBinary(r.context, 1, &r.device, &bytes, &pointer, NULL, &code) : NULL;
    fine = r.program && make_kernel(&r);
    const double ready = pel_bench_now();
    fine = fine && launch(&r);
    *launch_ns = pel_bench_now() - ready;
    *ready_ns = ready - begin;
    release(&r);
    return fine;
}

#else

double pel_raw_first_platform_call(void) {
    return -1.0;
}
bool pel_raw_save_binary(const char *path) {
    (void)path;
    return false;
}
bool pel_raw_touch_context(const pel_runtime *runtime) {
    (void)runtime;
    return false;
}
bool pel_raw_kernel_from_binary(const char *path, double *ready_ns, double *launch_ns) {
    (void)path;
    (void)ready_ns;
    (void)launch_ns;
    return false;
}

#endif
