/* SPDX-License-Identifier: BSD-3-Clause */
#include "raw_opencl.h"
#include "workload.h"

const char raw_opencl_source[] = "kernel void count(global uint *launches) { launches[get_global_id(0)]++; }\n";

#ifdef PEL_HAVE_OPENCL
#include <CL/cl.h>
#include <sched.h>

enum { RAW_MOST_EVENTS = 1000, PAUSES = 16, LOOKS_PER_YIELD = 16 };
#define LOOK_NS 50000.0

static struct {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel;
    cl_mem memory;
} raw;

static bool find_device(void) {
    cl_platform_id platforms[16];
    cl_uint count = 0;
    if (clGetPlatformIDs(16, platforms, &count) != CL_SUCCESS) {
        return false;
    }
    for (cl_uint i = 0; i < count && i < 16; i++) {
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &raw.device, NULL) == CL_SUCCESS) {
            return true;
        }
    }
    return false;
}

bool raw_opencl_open(void *device, void *context) {
    const char *source = raw_opencl_source;
    const cl_uint zero = 0;
    cl_int code;
    raw.device = device;
    if (!raw.device && !find_device()) {
        return false;
    }
    raw.context = context;
    code = context ? clRetainContext(raw.context) : CL_SUCCESS;
    if (!context) {
        raw.context = clCreateContext(NULL, 1, &raw.device, NULL, NULL, &code);
    }
    if (code == CL_SUCCESS) {
        raw.queue = clCreateCommandQueueWithProperties(raw.context, raw.device, NULL, &code);
    }
    if (code == CL_SUCCESS) {
        raw.program = clCreateProgramWithSource(raw.context, 1, &source, NULL, &code);
    }
    if (code == CL_SUCCESS) {
        code = clBuildProgram(raw.program, 1, &raw.device, "", NULL, NULL);
    }
    if (code == CL_SUCCESS) {
        raw.kernel = clCreateKernel(raw.program, "count", &code);
    }
    if (code == CL_SUCCESS) {
        raw.memory = clCreateBuffer(raw.context, CL_MEM_READ_WRITE, RAW_ITEMS * sizeof(cl_uint), NULL, &code);
    }
    return code == CL_SUCCESS && clSetKernelArg(raw.kernel, 0, sizeof raw.memory, &raw.memory) == CL_SUCCESS &&
           clEnqueueFillBuffer(raw.queue, raw.memory, &zero, sizeof zero, 0, RAW_ITEMS * sizeof zero, 0, NULL, NULL) ==
               CL_SUCCESS &&
           clFinish(raw.queue) == CL_SUCCESS;
}

double raw_opencl_batch(unsigned count) {
    const size_t items = RAW_ITEMS;
    const double began = workload_now();
    for (unsigned i = 0; i < count; i++) {
        /* a lost launch shows in the count */
        (void)clEnqueueNDRangeKernel(raw.queue, raw.kernel, 1, NULL, &items, &items, 0, NULL, NULL);
    }
    (void)clFinish(raw.queue);
    return workload_now() - began;
}

double raw_opencl_single(void) {
    return raw_opencl_batch(1);
}

double raw_opencl_batch_with_events(unsigned count) {
    static cl_event events[RAW_MOST_EVENTS];
    const size_t items = RAW_ITEMS;
    cl_int state;
    count = count < RAW_MOST_EVENTS ? count : RAW_MOST_EVENTS;
    const double began = workload_now();
    for (unsigned i = 0; i < count; i++) {
        events[i] = NULL;
        (void)clEnqueueNDRangeKernel(raw.queue, raw.kernel, 1, NULL, &items, &items, 0, NULL, &events[i]);
    }
    (void)clFinish(raw.queue);
    for (unsigned i = 0; i < count; i++) {
        if (events[i]) {
            (void)clGetEventInfo(events[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
            (void)clReleaseEvent(events[i]);
        }
    }
    return workload_now() - began;
}

double raw_opencl_single_looking(void) {
    const size_t items = RAW_ITEMS;
    const double began = workload_now();
    cl_event event = NULL;
    cl_int state = CL_QUEUED;
    if (clEnqueueNDRangeKernel(raw.queue, raw.kernel, 1, NULL, &items, &items, 0, NULL, &event) != CL_SUCCESS) {
        return workload_now() - began; /* a lost launch shows in the count */
    }
    for (unsigned look = 1; clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) == CL_SUCCESS &&
                            state > 0 && workload_now() - began < LOOK_NS; look++) {
        for (unsigned i = 0; i < PAUSES; i++) {
            workload_pause();
        }
        if (look % LOOKS_PER_YIELD == 0) {
            (void)sched_yield();
        }
    }
    if (state > 0) {
        (void)clFinish(raw.queue);
    }
    (void)clReleaseEvent(event);
    return workload_now() - began;
}

bool raw_opencl_close(uint32_t launches) {
    cl_uint counts[RAW_ITEMS] = {0};
    bool right = clEnqueueReadBuffer(raw.queue, raw.memory, CL_TRUE, 0, sizeof counts, counts, 0, NULL, NULL) == CL_SUCCESS;
    for (unsigned i = 0; i < RAW_ITEMS; i++) {
        right = right && counts[i] == launches;
    }
    clReleaseMemObject(raw.memory);
    clReleaseKernel(raw.kernel);
    clReleaseProgram(raw.program);
    clReleaseCommandQueue(raw.queue);
    clReleaseContext(raw.context);
    return right;
}

#else

double raw_opencl_batch_with_events(unsigned count) {
    (void)count;
    return 0.0;
}
double raw_opencl_single_looking(void) {
    return 0.0;
}
bool raw_opencl_open(void *device, void *context) {
    (void)device, (void)context;
    return false;
}
double raw_opencl_single(void) {
    return 0.0;
}
double raw_opencl_batch(unsigned count) {
    (void)count;
    return 0.0;
}
bool raw_opencl_close(uint32_t launches) {
    (void)launches;
    return false;
}
#endif
