/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>

struct pel_bench_raw {
    pel_case *c;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel;
    cl_mem memory[PEL_CASE_ARRAYS];
    bool in_place;
};

static bool failed(char why[128], const char *call, cl_int code) {
    if (code == CL_SUCCESS) {
        return false;
    }
    snprintf(why, 128, "the raw OpenCL program failed: %s returned %d", call, (int)code);
    return true;
}

static bool make_kernel(pel_bench_raw *raw, char why[128]) {
    cl_int code = clBuildProgram(raw->program, 1, &raw->device, "", NULL, NULL);
    if (failed(why, "clBuildProgram", code)) {
        return false;
    }
    raw->kernel = clCreateKernel(raw->program, raw->c->kernel->entry, &code);
    return !failed(why, "clCreateKernel", code);
}

static bool set_arguments(pel_bench_raw *raw, char why[128]) {
    cl_int code = CL_SUCCESS;
    for (cl_uint i = 0; i < raw->c->arg_count && code == CL_SUCCESS; i++) {
        const pel_case_arg *arg = &raw->c->args[i];
        switch (arg->kind) {
        case PEL_CASE_ARRAY:
            code = clSetKernelArg(raw->kernel, i, sizeof(cl_mem), &raw->memory[arg->array]);
            break;
        case PEL_CASE_VALUE:
            code = clSetKernelArg(raw->kernel, i, (size_t)arg->bytes, arg->value);
            break;
        case PEL_CASE_LOCAL:
            code = clSetKernelArg(raw->kernel, i, (size_t)arg->bytes, NULL);
            break;
        }
    }
    return !failed(why, "clSetKernelArg", code);
}

static bool make_memory(pel_bench_raw *raw, char why[128]) {
    for (uint32_t i = 0; i < raw->c->array_count; i++) {
        const pel_case_array *array = &raw->c->arrays[i];
        cl_int code;
        const cl_mem_flags from = raw->in_place ? CL_MEM_USE_HOST_PTR : CL_MEM_COPY_HOST_PTR;
        raw->memory[i] = clCreateBuffer(raw->context, from | (array->output ? CL_MEM_READ_WRITE : CL_MEM_READ_ONLY),
                                        (size_t)array->bytes, array->data, &code);
        if (failed(why, "clCreateBuffer", code)) {
            return false;
        }
    }
    return true;
}

/* A binary saved after a launch holds the compiled work-group function too; the kernel is remade from it, as the library's cache
 * does. */
static bool remake_from_binary(pel_bench_raw *raw, char why[128]) {
    size_t bytes = 0;
    cl_int code = clGetProgramInfo(raw->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL);
    if (failed(why, "clGetProgramInfo", code)) {
        return false;
    }
    unsigned char *binary = (unsigned char *)malloc(bytes ? bytes : 1);
    if (!binary) {
        snprintf(why, 128, "no memory for a binary of %zu bytes", bytes);
        return false;
    }
    code = clGetProgramInfo(raw->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL);
    cl_program program = NULL;
    if (code == CL_SUCCESS) {
        program = clCreateProgramWithBinary(raw->context, 1, &raw->device, &bytes, (const unsigned char **)&binary, NULL, &code);
    }
    free(binary);
    if (failed(why, "clCreateProgramWithBinary", code)) {
        return false;
    }
    clReleaseKernel(raw->kernel);
    clReleaseProgram(raw->program);
    raw->kernel = NULL;
    raw->program = program;
    return make_kernel(raw, why) && set_arguments(raw, why);
}

static bool make_all(pel_bench_raw *raw, char why[128]) {
    cl_int code;
    cl_device_type type = 0;
    const char *source = raw->c->kernel->source;
    clGetDeviceInfo(raw->device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    raw->in_place = (type & CL_DEVICE_TYPE_CPU) != 0;
    raw->context = clCreateContext(NULL, 1, &raw->device, NULL, NULL, &code);
    if (failed(why, "clCreateContext", code)) {
        return false;
    }
    raw->queue = clCreateCommandQueueWithProperties(raw->context, raw->device, NULL, &code);
    if (failed(why, "clCreateCommandQueueWithProperties", code)) {
        return false;
    }
    raw->program = clCreateProgramWithSource(raw->context, 1, &source, NULL, &code);
    if (failed(why, "clCreateProgramWithSource", code) || !make_kernel(raw, why) || !make_memory(raw, why) ||
        !set_arguments(raw, why)) {
        return false;
    }
    if (!pel_bench_raw_run(raw)) {
        snprintf(why, 128, "the raw OpenCL program failed: its first launch");
        return false;
    }
    return remake_from_binary(raw, why);
}

pel_status pel_bench_raw_open(const pel_device *device, pel_case *c, pel_bench_raw **raw, char why[128]) {
    *raw = NULL;
    cl_device_id id = pel_opencl_device_id(device);
    if (!id) {
        snprintf(why, 128, "not an OpenCL device");
        return PEL_UNSUPPORTED;
    }
    pel_bench_raw *made = (pel_bench_raw *)calloc(1, sizeof *made);
    if (!made) {
        snprintf(why, 128, "no memory");
        return PEL_OUT_OF_MEMORY;
    }
    made->c = c;
    made->device = id;
    if (!make_all(made, why)) {
        pel_bench_raw_close(made);
        return PEL_DEVICE_FAILED;
    }
    *raw = made;
    return PEL_OK;
}

static cl_uint dimensions_of(const pel_case *c) {
    return c->global[1] == 0 ? 1 : c->global[2] == 0 ? 2 : 3;
}

bool pel_bench_raw_run_part(pel_bench_raw *raw, uint64_t lo, uint64_t hi) {
    const pel_case *c = raw->c;
    const cl_uint dims = dimensions_of(c);
    size_t global[3], local[3], offset[3] = {0, 0, 0};
    for (int d = 0; d < 3; d++) {
        global[d] = (size_t)c->global[d];
        local[d] = (size_t)c->local[d];
    }
    offset[dims - 1] = (size_t)lo;
    global[dims - 1] = (size_t)(hi - lo);
    if (clEnqueueNDRangeKernel(raw->queue, raw->kernel, dims, lo > 0 ? offset : NULL, global, local[0] ? local : NULL, 0, NULL,
                               NULL) != CL_SUCCESS) {
        return false;
    }
    for (uint32_t i = 0; i < c->array_count && !raw->in_place; i++) {
        const pel_case_array *array = &c->arrays[i];
        if (array->output && clEnqueueReadBuffer(raw->queue, raw->memory[i], CL_FALSE, 0, (size_t)array->bytes, array->data, 0,
                                                 NULL, NULL) != CL_SUCCESS) {
            return false;
        }
    }
    if (clFinish(raw->queue) != CL_SUCCESS) {
        return false;
    }
    if (c->kernel->fold) {
        c->kernel->fold(raw->c);
    }
    return true;
}

bool pel_bench_raw_run(pel_bench_raw *raw) {
    return pel_bench_raw_run_part(raw, 0, raw->c->global[dimensions_of(raw->c) - 1]);
}

void pel_bench_raw_close(pel_bench_raw *raw) {
    if (!raw) {
        return;
    }
    for (uint32_t i = 0; i < PEL_CASE_ARRAYS; i++) {
        if (raw->memory[i]) {
            clReleaseMemObject(raw->memory[i]);
        }
    }
    if (raw->kernel) {
        clReleaseKernel(raw->kernel);
    }
    if (raw->program) {
        clReleaseProgram(raw->program);
    }
    if (raw->queue) {
        clReleaseCommandQueue(raw->queue);
    }
    if (raw->context) {
        clReleaseContext(raw->context);
    }
    free(raw);
}

#else

pel_status pel_bench_raw_open(const pel_device *device, pel_case *c, pel_bench_raw **raw, char why[128]) {
    (void)device;
    (void)c;
    *raw = NULL;
    snprintf(why, 128, "this build has no OpenCL");
    return PEL_UNSUPPORTED;
}

bool pel_bench_raw_run(pel_bench_raw *raw) {
    (void)raw;
    return false;
}

bool pel_bench_raw_run_part(pel_bench_raw *raw, uint64_t lo, uint64_t hi) {
    (void)raw;
    (void)lo;
    (void)hi;
    return false;
}

void pel_bench_raw_close(pel_bench_raw *raw) {
    (void)raw;
}

#endif
