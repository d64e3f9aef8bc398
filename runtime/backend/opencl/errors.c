/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From OpenCL's codes to what a caller can do. A code means different things from different calls and drivers; the table keeps to
 * what is safe to conclude: only codes after which a device is known to be gone count as lost, everything unclear is
 * DEVICE_FAILED (another device may succeed).
 */
#include "backend/opencl/internal.h"

#include <stdarg.h>
#include <stdio.h>

/* X(code, status, advice) */
#define CODES(X)                                                                                                                 \
    X(CL_DEVICE_NOT_FOUND, PEL_DEVICE_LOST, "the driver no longer shows this device; restart the program")                       \
    X(CL_DEVICE_NOT_AVAILABLE, PEL_DEVICE_LOST, "the device is gone or taken; look at the system log, use another device")       \
    X(CL_COMPILER_NOT_AVAILABLE, PEL_BUILD_FAILED, "this driver has no compiler; use another device")                            \
    X(CL_MEM_OBJECT_ALLOCATION_FAILURE, PEL_DEVICE_MEMORY, "use smaller buffers, or fewer at a time")                            \
    X(CL_OUT_OF_RESOURCES, PEL_DEVICE_FAILED, "the device ran out of something, or a kernel went out of bounds")                 \
    X(CL_OUT_OF_HOST_MEMORY, PEL_OUT_OF_MEMORY, "free host memory, or raise its limit")                                          \
    X(CL_BUILD_PROGRAM_FAILURE, PEL_BUILD_FAILED, "see the build log")                                                           \
    X(CL_COMPILE_PROGRAM_FAILURE, PEL_BUILD_FAILED, "see the build log")                                                         \
    X(CL_LINK_PROGRAM_FAILURE, PEL_BUILD_FAILED, "see the build log")                                                            \
    X(CL_LINKER_NOT_AVAILABLE, PEL_BUILD_FAILED, "install the linker that the driver needs")                                     \
    X(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, PEL_DEVICE_FAILED, "a command before this one failed on the device")         \
    X(CL_MISALIGNED_SUB_BUFFER_OFFSET, PEL_UNSUPPORTED, "begin the range at a multiple of the device's alignment")               \
    X(CL_INVALID_BUILD_OPTIONS, PEL_BUILD_FAILED, "correct the program's options")                                               \
    X(CL_INVALID_BINARY, PEL_CORRUPT, "remove the cached file")                                                                  \
    X(CL_INVALID_BUFFER_SIZE, PEL_TOO_LARGE, "use a smaller buffer")                                                             \
    X(CL_INVALID_COMMAND_QUEUE, PEL_DEVICE_LOST,                                                                                 \
      "the driver gave this device up, as after a kernel out of bounds; restart the program")                                    \
    X(CL_INVALID_CONTEXT, PEL_DEVICE_LOST,                                                                                       \
      "the driver gave this device up, as after a kernel out of bounds; restart the program")                                    \
    X(CL_INVALID_KERNEL_NAME, PEL_NOT_FOUND, "name a kernel of the program")                                                     \
    X(CL_INVALID_ARG_INDEX, PEL_INVALID_ARGUMENT, "declare as many parameters as the kernel has")                                \
    X(CL_INVALID_ARG_SIZE, PEL_INVALID_ARGUMENT, "declare the size that the kernel's parameter has")                             \
    X(CL_INVALID_ARG_VALUE, PEL_INVALID_ARGUMENT, "declare the kind that the kernel's parameter has")                            \
    X(CL_INVALID_WORK_GROUP_SIZE, PEL_INVALID_ARGUMENT, "choose another local size, or none")                                    \
    X(CL_INVALID_WORK_ITEM_SIZE, PEL_INVALID_ARGUMENT, "choose another local size, or none")                                     \
    X(CL_INVALID_GLOBAL_WORK_SIZE, PEL_TOO_LARGE, "launch fewer items at a time")                                                \
    X(CL_INVALID_GLOBAL_OFFSET, PEL_TOO_LARGE, "use a smaller global offset")                                                    \
    X(CL_INVALID_VALUE, PEL_DEVICE_FAILED, "")                                                                                   \
    X(CL_INVALID_DEVICE, PEL_DEVICE_FAILED, "")                                                                                  \
    X(CL_INVALID_MEM_OBJECT, PEL_DEVICE_FAILED, "")                                                                              \
    X(CL_INVALID_PROGRAM, PEL_DEVICE_FAILED, "")                                                                                 \
    X(CL_INVALID_PROGRAM_EXECUTABLE, PEL_DEVICE_FAILED, "")                                                                      \
    X(CL_INVALID_KERNEL, PEL_DEVICE_FAILED, "")                                                                                  \
    X(CL_INVALID_KERNEL_ARGS, PEL_DEVICE_FAILED, "")                                                                             \
    X(CL_INVALID_EVENT, PEL_DEVICE_FAILED, "")                                                                                   \
    X(CL_INVALID_OPERATION, PEL_DEVICE_FAILED, "")                                                                               \
    X(CL_INVALID_HOST_PTR, PEL_DEVICE_FAILED, "")                                                                                \
    X(CL_INVALID_QUEUE_PROPERTIES, PEL_DEVICE_FAILED, "")                                                                        \
    X(CL_INVALID_WORK_DIMENSION, PEL_DEVICE_FAILED, "")                                                                          \
    X(CL_INVALID_KERNEL_DEFINITION, PEL_BUILD_FAILED, "the kernel differs between the devices of the context")                   \
    X(CL_KERNEL_ARG_INFO_NOT_AVAILABLE, PEL_UNSUPPORTED, "")                                                                     \
    X(CL_MAP_FAILURE, PEL_DEVICE_FAILED, "")

static const struct {
    cl_int code;
    pel_status status;
    const char *name, *advice;
} codes[] = {
#define CODE_ROW(code, status, advice) {code, status, #code, advice},
    CODES(CODE_ROW)
#undef CODE_ROW
};

static size_t find(cl_int code) {
    size_t i = 0;
    while (i < sizeof codes / sizeof *codes && codes[i].code != code) {
        i++;
    }
    return i;
}

const char *pel_cl_code_name(cl_int code) {
    size_t i = find(code);
    return i < sizeof codes / sizeof *codes ? codes[i].name : "an unknown code";
}

pel_status pel_cl_status(cl_int code) {
    size_t i = find(code);
    return i < sizeof codes / sizeof *codes ? codes[i].status : PEL_DEVICE_FAILED;
}

pel_status pel_cl_fail(const pel_cl_device *device, pel_error **error, cl_int code, const char *call, const char *format, ...) {
    char text[512];
    va_list list;
    size_t i = find(code);
    const char *advice = i < sizeof codes / sizeof *codes ? codes[i].advice : "";
    pel_story story = {.device = device->label, .call = call, .code = code, .advice = advice};

    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return pel_fail(error, device->env->allocator, pel_cl_status(code), &story, "%s: %s said %s (%d)", text, call,
                    pel_cl_code_name(code), (int)code);
}

pel_status pel_cl_refuse(const pel_cl_device *device, pel_error **error, pel_status status, const char *advice,
                         const char *format, ...) {
    char text[768];
    va_list list;
    pel_story story = {.device = device->label, .advice = advice};

    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return pel_fail(error, device->env->allocator, status, &story, "%s", text);
}
