/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pel-probe, the helper that goes first: what crashes or hangs here does not crash or hang the program that asks. Without
 * arguments it discovers all devices, and on each OpenCL one builds, launches and checks a tiny kernel; a line per device, "done"
 * at the end: device <TAB> opencl:0 <TAB> NAME <TAB> reason, empty when it works `pel-probe --load LIBRARY` loads a driver's
 * library only and prints what the dynamic linker has to say. Drivers may print to stdout: it is moved away first. Exit status 0
 * whenever it got to the end: a device that fails politely is a finding, not a crash.
 */
#ifdef PEL_HAVE_OPENCL
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS /* clCreateCommandQueue: its successor hangs on Oclgrind */
#include <pel/opencl.h>
#endif
#include "base/alloc.h"
#include "base/error.h"
#include "topology/topology.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef PEL_HAVE_OPENCL
enum { ITEMS = 64 };

static const char source[] = "__kernel void probe(__global int *out, int k) { int i = get_global_id(0); out[i] = i * k + 1; }";

static const char *launch(cl_context context, cl_device_id device, cl_kernel kernel, cl_mem memory) {
    cl_int code, factor = 3, values[ITEMS];
    size_t global = ITEMS, local = 8;
    const char *failed = NULL;
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &code);
    if (code != CL_SUCCESS)
        return "fails in clCreateCommandQueue";
    if (clSetKernelArg(kernel, 0, sizeof memory, &memory) != CL_SUCCESS ||
        clSetKernelArg(kernel, 1, sizeof factor, &factor) != CL_SUCCESS) {
        failed = "fails in clSetKernelArg";
    } else if (clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &local, 0, NULL, NULL) != CL_SUCCESS) {
        failed = "fails in clEnqueueNDRangeKernel";
    } else if (clFinish(queue) != CL_SUCCESS) {
        failed = "fails in clFinish";
    } else if (clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL) != CL_SUCCESS) {
        failed = "fails in clEnqueueReadBuffer";
    }
    for (cl_int i = 0; !failed && i < ITEMS; i++) {
        if (values[i] != i * factor + 1)
            failed = "computes wrong values";
    }
    clReleaseCommandQueue(queue);
    return failed ? failed : "";
}

static const char *build_and_launch(cl_context context, cl_device_id device) {
    const char *text = source, *result;
    cl_int code;
    cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &code);
    if (code != CL_SUCCESS)
        return "fails in clCreateProgramWithSource";
    cl_kernel kernel = NULL;
    cl_mem memory = NULL;
    if (clBuildProgram(program, 1, &device, "", NULL, NULL) != CL_SUCCESS) {
        result = "cannot build a program";
    } else if (kernel = clCreateKernel(program, "probe", &code), code != CL_SUCCESS) {
        result = "fails in clCreateKernel";
    } else if (memory = clCreateBuffer(context, CL_MEM_READ_WRITE, ITEMS * sizeof(cl_int), NULL, &code), code != CL_SUCCESS) {
        result = "fails in clCreateBuffer";
    } else {
        result = launch(context, device, kernel, memory);
    }
    if (memory)
        clReleaseMemObject(memory);
    if (kernel)
        clReleaseKernel(kernel);
    clReleaseProgram(program);
    return result;
}

static const char *try_device(const pel_topology_device *facts) {
    cl_device_id device = facts->cl_device;
    cl_int code;
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return "fails in clCreateContext";
    const char *result = build_and_launch(context, device);
    clReleaseContext(context);
    return result;
}
#else
static const char *try_device(const pel_topology_device *facts) {
    (void)facts;
    return "";
}
#endif

static int load_only(FILE *out, const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fprintf(out, "error\t%s\n", dlerror());
    } else if (!dlsym(handle, "clGetExtensionFunctionAddress") && !dlsym(handle, "clIcdGetPlatformIDsKHR")) {
        fprintf(out, "error\t%s is not an OpenCL driver\n", library);
    }
    fprintf(out, "done\n");
    return fclose(out) == 0 ? 0 : 1;
}

/* A name of one line and no tabs. */
static void print_device(FILE *out, const pel_topology_device *facts, const char *reason) {
    fprintf(out, "device\t%s\t", facts->info.id);
    for (const char *at = facts->info.name; *at; at++)
        fputc(*at == '\t' || *at == '\n' ? ' ' : *at, out);
    fprintf(out, "\t%s\n", reason);
    fflush(out);
}

int main(int argc, char **argv) {
    int kept = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FILE *out = kept >= 0 ? fdopen(kept, "w") : NULL;
    if (!out || nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0)
        return 1;
    if (argc == 3 && strcmp(argv[1], "--load") == 0)
        return load_only(out, argv[2]);
    pel_topology_options options = {.devices = "all"};
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    if (pel_topology_discover(&options, &topology, &error) != PEL_OK) {
        fprintf(out, "error\t%s\n", pel_error_message(error));
        pel_error_destroy(error);
        return 1;
    }
    for (uint32_t i = 0; i < topology->selection_count; i++) {
        const pel_topology_device *facts = &topology->devices[topology->selection[i]];
        if (facts->info.kind == PEL_DEVICE_OPENCL)
            print_device(out, facts, try_device(facts));
    }
    pel_topology_destroy(topology);
    fprintf(out, "done\n");
    return fclose(out) == 0 ? 0 : 1;
}
