/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layer itself: what the ICD loader asks for, and the wrappers of every call that is not a command.
 *
 * A layer stands between the program and its drivers (OPENCL_LAYERS). The loader hands it a table of functions and takes one
 * back. Everything in our table meets the script first; extensions and OpenGL or Direct3D sharing go straight through. Both entry
 * points are exported: ocl-icd 2.3.1 asks for clInitLayer, newer Khronos loaders for clInitLayerWithProperties. Releases that
 * shall fail release all the same and then say the code: otherwise each such fault would be a leak that the program cannot help.
 */
#include "faults/faults.h"
#include "faults/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T (*pel_faults_target)
#define EXPORT __attribute__((visibility("default")))

static bool stops(const pel_faults_fault *fault) {
    return fault->kind == PEL_FAULT_CODE || fault->kind == PEL_FAULT_VANISH;
}

#define CODE_WRAPPER(name, scope, handle, parameters, arguments, ...)                                                            \
    static CL_API_ENTRY cl_int CL_API_CALL wrapped_##name parameters {                                                           \
        pel_faults_fault fault = pel_faults_meet(PEL_CALL_##name, PEL_SCOPE_##scope, handle);                                    \
        return stops(&fault) ? fault.code : T.name arguments;                                                                    \
    }
PEL_FAULTS_CODE_CALLS(CODE_WRAPPER)

#define NOTE_CONTEXT(made) (void)0
#define NOTE_QUEUE(made) (void)0
#define NOTE_PROGRAM(made) (void)0
#define NOTE_KERNEL(made) (void)0
#define NOTE_EVENT(made) (void)0
#define NOTE_SAMPLER(made) (void)0
#define NOTE_MEM(made) pel_faults_note_mem(made)

#define MAKE_WRAPPER(name, type, object, scope, handle, parameters, arguments, ...)                                              \
    static CL_API_ENTRY type CL_API_CALL wrapped_##name parameters {                                                             \
        pel_faults_fault fault = pel_faults_meet(PEL_CALL_##name, PEL_SCOPE_##scope, handle);                                    \
        if (stops(&fault)) {                                                                                                     \
            if (errcode_ret) {                                                                                                   \
                *errcode_ret = fault.code;                                                                                       \
            }                                                                                                                    \
            return NULL;                                                                                                         \
        }                                                                                                                        \
        type made = T.name arguments;                                                                                            \
        if (made) {                                                                                                              \
            pel_faults_count_object(1);                                                                                          \
            NOTE_##object(made);                                                                                                 \
        }                                                                                                                        \
        return made;                                                                                                             \
    }
PEL_FAULTS_MAKE_CALLS(MAKE_WRAPPER)

#define RETAIN_WRAPPER(name, scope, type, ...)                                                                                   \
    static CL_API_ENTRY cl_int CL_API_CALL wrapped_##name(type object) {                                                         \
        pel_faults_fault fault = pel_faults_meet(PEL_CALL_##name, PEL_SCOPE_##scope, object);                                    \
        cl_int code = stops(&fault) ? fault.code : T.name(object);                                                               \
        if (code == CL_SUCCESS) {                                                                                                \
            pel_faults_count_object(1);                                                                                          \
        }                                                                                                                        \
        return code;                                                                                                             \
    }
PEL_FAULTS_RETAIN_CALLS(RETAIN_WRAPPER)

/* Whether this release ends the object's life; only asked where the layer remembers something of it. */
static bool ends(pel_faults_scope scope, void *object) {
    cl_uint references = 0;
    switch (scope) {
    case PEL_SCOPE_MEM:
        (void)T.clGetMemObjectInfo(object, CL_MEM_REFERENCE_COUNT, sizeof references, &references, NULL);
        break;
    case PEL_SCOPE_KERNEL:
        (void)T.clGetKernelInfo(object, CL_KERNEL_REFERENCE_COUNT, sizeof references, &references, NULL);
        break;
    case PEL_SCOPE_EVENT:
        if (pel_faults_poison_of(object) != CL_SUCCESS) {
            (void)T.clGetEventInfo(object, CL_EVENT_REFERENCE_COUNT, sizeof references, &references, NULL);
        }
        break;
    default:
        break;
    }
    return references == 1;
}

#define RELEASE_WRAPPER(name, scope, type, ...)                                                                                  \
    static CL_API_ENTRY cl_int CL_API_CALL wrapped_##name(type object) {                                                         \
        pel_faults_fault fault = pel_faults_meet(PEL_CALL_##name, PEL_SCOPE_##scope, object);                                    \
        if (object && ends(PEL_SCOPE_##scope, object)) {                                                                         \
            pel_faults_cure(object);                                                                                             \
        }                                                                                                                        \
        cl_int code = T.name(object);                                                                                            \
        if (code == CL_SUCCESS) {                                                                                                \
            pel_faults_count_object(-1);                                                                                         \
        }                                                                                                                        \
        return stops(&fault) ? fault.code : code;                                                                                \
    }
PEL_FAULTS_RELEASE_CALLS(RELEASE_WRAPPER)

/* ---- by hand ---- */

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clGetDeviceIDs(cl_platform_id platform, cl_device_type type, cl_uint capacity,
                                                              cl_device_id *devices, cl_uint *count) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clGetDeviceIDs, PEL_SCOPE_NONE, NULL);
    if (stops(&fault)) {
        return fault.code;
    }
    return pel_faults_vanished(PEL_SCOPE_DEVICE, platform) ? CL_DEVICE_NOT_FOUND
                                                           : T.clGetDeviceIDs(platform, type, capacity, devices, count);
}

/* What a driver remembers of a vanished device it still tells; only that it is not available any more. */
static CL_API_ENTRY cl_int CL_API_CALL wrapped_clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t bytes,
                                                               void *value, size_t *bytes_ret) {
    bool gone = pel_faults_vanished(PEL_SCOPE_DEVICE, device);
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clGetDeviceInfo, PEL_SCOPE_DEVICE, device);
    if (fault.kind == PEL_FAULT_CODE) {
        return fault.code;
    }
    cl_int code = T.clGetDeviceInfo(device, what, bytes, value, bytes_ret);
    if (gone && code == CL_SUCCESS && what == CL_DEVICE_AVAILABLE && value) {
        const cl_bool no = CL_FALSE;
        memcpy(value, &no, sizeof no);
    }
    return code;
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clCreateSubDevices(cl_device_id device,
                                                                  const cl_device_partition_property *properties,
                                                                  cl_uint capacity, cl_device_id *devices, cl_uint *count) {
    cl_uint made = 0;
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clCreateSubDevices, PEL_SCOPE_DEVICE, device);
    if (stops(&fault)) {
        return fault.code;
    }
    cl_int code = T.clCreateSubDevices(device, properties, capacity, devices, &made);
    if (count) {
        *count = made;
    }
    for (cl_uint i = 0; code == CL_SUCCESS && devices && i < made; i++) {
        pel_faults_count_object(1);
    }
    return code;
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clCreateKernelsInProgram(cl_program program, cl_uint capacity, cl_kernel *kernels,
                                                                        cl_uint *count) {
    cl_uint made = 0;
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clCreateKernelsInProgram, PEL_SCOPE_PROGRAM, program);
    if (stops(&fault)) {
        return fault.code;
    }
    cl_int code = T.clCreateKernelsInProgram(program, capacity, kernels, &made);
    if (count) {
        *count = made;
    }
    for (cl_uint i = 0; code == CL_SUCCESS && kernels && i < made; i++) {
        pel_faults_count_object(1);
    }
    return code;
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clSetKernelArg(cl_kernel kernel, cl_uint index, size_t bytes, const void *value) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clSetKernelArg, PEL_SCOPE_KERNEL, kernel);
    if (stops(&fault)) {
        return fault.code;
    }
    cl_int code = T.clSetKernelArg(kernel, index, bytes, value);
    if (code == CL_SUCCESS) {
        pel_faults_note_argument(kernel, index, bytes, value);
    }
    return code;
}

static CL_API_ENTRY void *CL_API_CALL wrapped_clSVMAlloc(cl_context context, cl_svm_mem_flags flags, size_t size,
                                                         cl_uint alignment) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clSVMAlloc, PEL_SCOPE_CONTEXT, context);
    return stops(&fault) ? NULL : T.clSVMAlloc(context, flags, size, alignment);
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clWaitForEvents(cl_uint count, const cl_event *events) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clWaitForEvents, PEL_SCOPE_EVENT, count > 0 && events ? events[0] : NULL);
    if (fault.kind == PEL_FAULT_CODE) {
        return fault.code;
    }
    cl_int code = T.clWaitForEvents(count, events);
    for (cl_uint i = 0; code == CL_SUCCESS && i < count; i++) {
        code = pel_faults_poison_of(events[i]) != CL_SUCCESS ? CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST : CL_SUCCESS;
    }
    return stops(&fault) ? fault.code : code;
}

/* What runs on a device that vanishes ends unseen: the program must not read or free memory that is still being written. */
static CL_API_ENTRY cl_int CL_API_CALL wrapped_clFinish(cl_command_queue queue) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clFinish, PEL_SCOPE_QUEUE, queue);
    if (fault.kind == PEL_FAULT_CODE) {
        return fault.code;
    }
    cl_int code = T.clFinish(queue);
    return stops(&fault) ? fault.code : code;
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clGetEventInfo(cl_event event, cl_event_info what, size_t bytes, void *value,
                                                              size_t *bytes_ret) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clGetEventInfo, PEL_SCOPE_EVENT, event);
    cl_int state = CL_COMPLETE;
    if (fault.kind == PEL_FAULT_CODE) {
        return fault.code;
    }
    cl_int code = T.clGetEventInfo(event, what, bytes, value, bytes_ret);
    if (code != CL_SUCCESS || what != CL_EVENT_COMMAND_EXECUTION_STATUS || !value) {
        return code;
    }
    memcpy(&state, value, sizeof state);
    cl_int poison = pel_faults_poison_of(event);
    if (fault.kind == PEL_FAULT_VANISH && state != CL_COMPLETE) {
        (void)T.clWaitForEvents(1, &event);
        state = CL_DEVICE_NOT_AVAILABLE;
    } else if (poison != CL_SUCCESS && state == CL_COMPLETE) {
        state = poison;
    } else if (fault.kind == PEL_FAULT_EVENT) {
        state = fault.code;
    }
    memcpy(value, &state, sizeof state);
    return CL_SUCCESS;
}

/* A callback of an event that is reported as failed gets its code. */
typedef struct callback {
    void(CL_CALLBACK *notify)(cl_event, cl_int, void *);
    void *user;
    cl_int code;
} callback;

static void CL_CALLBACK call_back(cl_event event, cl_int state, void *user) {
    callback c = *(callback *)user;
    free(user);
    c.notify(event, state == CL_COMPLETE ? c.code : state, c.user);
}

static CL_API_ENTRY cl_int CL_API_CALL wrapped_clSetEventCallback(cl_event event, cl_int state,
                                                                  void(CL_CALLBACK *notify)(cl_event, cl_int, void *),
                                                                  void *user) {
    pel_faults_fault fault = pel_faults_meet(PEL_CALL_clSetEventCallback, PEL_SCOPE_EVENT, event);
    if (stops(&fault)) {
        return fault.code;
    }
    cl_int poison = notify ? pel_faults_poison_of(event) : CL_SUCCESS;
    if (poison == CL_SUCCESS) {
        return T.clSetEventCallback(event, state, notify, user);
    }
    callback *c = malloc(sizeof *c);
    if (!c) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    *c = (callback){notify, user, poison};
    cl_int code = T.clSetEventCallback(event, state, call_back, c);
    if (code != CL_SUCCESS) {
        free(c);
    }
    return code;
}

/* ---- for the loader ---- */

static cl_icd_dispatch table;

static void fill(void) {
#define FILL(name, ...) table.name = wrapped_##name;
    PEL_FAULTS_CODE_CALLS(FILL)
    PEL_FAULTS_MAKE_CALLS(FILL)
    PEL_FAULTS_RETAIN_CALLS(FILL)
    PEL_FAULTS_RELEASE_CALLS(FILL)
    FILL(clGetDeviceIDs)
    FILL(clGetDeviceInfo)
    FILL(clCreateSubDevices)
    FILL(clCreateKernelsInProgram)
    FILL(clSetKernelArg)
    FILL(clSVMAlloc)
    FILL(clWaitForEvents)
    FILL(clFinish)
    FILL(clGetEventInfo)
    FILL(clSetEventCallback)
    pel_faults_fill_commands(&table);
}

static cl_int start(cl_uint count, const cl_icd_dispatch *target, cl_uint *count_ret, const cl_icd_dispatch **table_ret) {
    const cl_uint ours = (cl_uint)(sizeof table / sizeof(void *));
    char why[256] = "";
    if (!target || !count_ret || !table_ret || count < ours) {
        (void)fprintf(stderr, "pel-faults: the ICD loader is too old\n");
        return CL_INVALID_VALUE;
    }
    const pel_faults_control *control = pel_faults_control_get(PEL_FAULTS_CONTROL_VERSION);
    pel_faults_target = target;
    table = *target;
    fill();
    if (control->set(secure_getenv("PEL_FAULTS"), why, sizeof why) != 0) {
        (void)fprintf(stderr, "pel-faults: PEL_FAULTS: %s; no call is disturbed\n", why);
        return CL_INVALID_VALUE;
    }
    *count_ret = ours;
    *table_ret = &table;
    return CL_SUCCESS;
}

EXPORT CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch *target, cl_uint *count_ret,
                                                   const cl_icd_dispatch **table_ret) {
    return start(count, target, count_ret, table_ret);
}

/* Khronos loader of 2026 and later. No property is defined that this layer would obey; the report is written when the library
 * is unloaded. */
EXPORT CL_API_ENTRY cl_int CL_API_CALL clInitLayerWithProperties(cl_uint count, const cl_icd_dispatch *target, cl_uint *count_ret,
                                                                 const cl_icd_dispatch **table_ret,
                                                                 const cl_properties *properties);
CL_API_ENTRY cl_int CL_API_CALL clInitLayerWithProperties(cl_uint count, const cl_icd_dispatch *target, cl_uint *count_ret,
                                                          const cl_icd_dispatch **table_ret, const cl_properties *properties) {
    (void)properties;
    return start(count, target, count_ret, table_ret);
}

EXPORT CL_API_ENTRY cl_int CL_API_CALL clDeinitLayer(void);
CL_API_ENTRY cl_int CL_API_CALL clDeinitLayer(void) {
    return CL_SUCCESS;
}

static cl_int answer(const void *from, size_t needed, size_t bytes, void *value, size_t *bytes_ret) {
    if (value && bytes < needed) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        memcpy(value, from, needed);
    }
    if (bytes_ret) {
        *bytes_ret = needed;
    }
    return CL_SUCCESS;
}

EXPORT CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t bytes, void *value, size_t *bytes_ret) {
    static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    static const char name[] = "pel-faults";
    switch (what) {
    case CL_LAYER_API_VERSION:
        return answer(&version, sizeof version, bytes, value, bytes_ret);
    case CL_LAYER_NAME:
        return answer(name, sizeof name, bytes, value, bytes_ret);
    default:
        return CL_INVALID_VALUE;
    }
}
