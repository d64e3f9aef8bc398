/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every OpenCL 3.0 call that the layer can disturb, with the error codes that the specification documents for it: one table
 * from which the wrappers, the dispatch table, the names and the campaign's list of cases are made. Calls of the specification
 * that cannot fail (clSVMFree, the two that look up extension functions) and extensions go straight through.
 *
 * Parameters have the names that the wrappers rely on: queue, wait_count, wait_list, event, errcode_ret.
 */
#ifndef PEL_FAULTS_CALLS_H
#define PEL_FAULTS_CALLS_H

/* X(name, scope, handle, parameters, arguments, codes...): calls that return a code; `scope` is what kind of object handle is. */
#define PEL_FAULTS_CODE_CALLS(X)                                                                                                \
    X(clGetPlatformIDs, NONE, NULL, (cl_uint num_entries, cl_platform_id *platforms, cl_uint *num_platforms),                   \
      (num_entries, platforms, num_platforms), CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY)                                         \
    X(clGetPlatformInfo, NONE, NULL,                                                                                            \
      (cl_platform_id platform, cl_platform_info what, size_t bytes, void *value, size_t *bytes_ret),                           \
      (platform, what, bytes, value, bytes_ret), CL_INVALID_PLATFORM, CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY)                  \
    X(clSetDefaultDeviceCommandQueue, CONTEXT, context, (cl_context context, cl_device_id device, cl_command_queue queue),      \
      (context, device, queue), CL_INVALID_CONTEXT, CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_COMMAND_QUEUE,          \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetDeviceAndHostTimer, DEVICE, device, (cl_device_id device, cl_ulong *device_timestamp, cl_ulong *host_timestamp),     \
      (device, device_timestamp, host_timestamp), CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_VALUE,                    \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetHostTimer, DEVICE, device, (cl_device_id device, cl_ulong *host_timestamp), (device, host_timestamp),                \
      CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                    \
    X(clGetContextInfo, CONTEXT, context,                                                                                       \
      (cl_context context, cl_context_info what, size_t bytes, void *value, size_t *bytes_ret),                                 \
      (context, what, bytes, value, bytes_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clSetContextDestructorCallback, CONTEXT, context,                                                                         \
      (cl_context context, void (CL_CALLBACK *pfn_notify)(cl_context context, void *user_data), void *user_data),               \
      (context, pfn_notify, user_data), CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)       \
    X(clGetCommandQueueInfo, QUEUE, queue,                                                                                      \
      (cl_command_queue queue, cl_command_queue_info what, size_t bytes, void *value, size_t *bytes_ret),                       \
      (queue, what, bytes, value, bytes_ret), CL_INVALID_COMMAND_QUEUE, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES,                  \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clGetSupportedImageFormats, CONTEXT, context,                                                                             \
      (cl_context context, cl_mem_flags flags, cl_mem_object_type image_type, cl_uint num_entries,                              \
        cl_image_format *image_formats, cl_uint *num_image_formats),                                                            \
      (context, flags, image_type, num_entries, image_formats, num_image_formats), CL_INVALID_CONTEXT, CL_INVALID_VALUE,        \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetMemObjectInfo, MEM, memobj, (cl_mem memobj, cl_mem_info what, size_t bytes, void *value, size_t *bytes_ret),         \
      (memobj, what, bytes, value, bytes_ret), CL_INVALID_VALUE, CL_INVALID_MEM_OBJECT, CL_OUT_OF_RESOURCES,                    \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clGetImageInfo, MEM, image, (cl_mem image, cl_image_info what, size_t bytes, void *value, size_t *bytes_ret),             \
      (image, what, bytes, value, bytes_ret), CL_INVALID_VALUE, CL_INVALID_MEM_OBJECT, CL_OUT_OF_RESOURCES,                     \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clGetPipeInfo, MEM, pipe, (cl_mem pipe, cl_pipe_info what, size_t bytes, void *value, size_t *bytes_ret),                 \
      (pipe, what, bytes, value, bytes_ret), CL_INVALID_VALUE, CL_INVALID_MEM_OBJECT, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clSetMemObjectDestructorCallback, MEM, memobj,                                                                            \
      (cl_mem memobj, void (CL_CALLBACK *pfn_notify)(cl_mem memobj, void *user_data), void *user_data),                         \
      (memobj, pfn_notify, user_data), CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)     \
    X(clGetSamplerInfo, SAMPLER, sampler,                                                                                       \
      (cl_sampler sampler, cl_sampler_info what, size_t bytes, void *value, size_t *bytes_ret),                                 \
      (sampler, what, bytes, value, bytes_ret), CL_INVALID_VALUE, CL_INVALID_SAMPLER, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clBuildProgram, PROGRAM, program,                                                                                         \
      (cl_program program, cl_uint num_devices, const cl_device_id *device_list, const char *options,                           \
        void (CL_CALLBACK *pfn_notify)(cl_program program, void *user_data), void *user_data),                                  \
      (program, num_devices, device_list, options, pfn_notify, user_data), CL_INVALID_PROGRAM, CL_INVALID_VALUE,                \
      CL_INVALID_DEVICE, CL_INVALID_BINARY, CL_INVALID_BUILD_OPTIONS, CL_COMPILER_NOT_AVAILABLE, CL_BUILD_PROGRAM_FAILURE,      \
      CL_INVALID_OPERATION, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                         \
    X(clCompileProgram, PROGRAM, program,                                                                                       \
      (cl_program program, cl_uint num_devices, const cl_device_id *device_list, const char *options,                           \
        cl_uint num_input_headers, const cl_program *input_headers, const char **header_include_names,                         \
        void (CL_CALLBACK *pfn_notify)(cl_program program, void *user_data), void *user_data),                                  \
      (program, num_devices, device_list, options, num_input_headers, input_headers, header_include_names, pfn_notify,          \
        user_data),                                                                                                             \
      CL_INVALID_PROGRAM, CL_INVALID_VALUE, CL_INVALID_DEVICE, CL_COMPILER_NOT_AVAILABLE, CL_INVALID_OPERATION,                 \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY, CL_INVALID_COMPILER_OPTIONS, CL_COMPILE_PROGRAM_FAILURE)                      \
    X(clSetProgramReleaseCallback, PROGRAM, program,                                                                            \
      (cl_program program, void (CL_CALLBACK *pfn_notify)(cl_program program, void *user_data), void *user_data),               \
      (program, pfn_notify, user_data), CL_INVALID_PROGRAM, CL_INVALID_VALUE, CL_INVALID_OPERATION, CL_OUT_OF_RESOURCES,        \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clSetProgramSpecializationConstant, PROGRAM, program,                                                                     \
      (cl_program program, cl_uint spec_id, size_t spec_size, const void *spec_value),                                          \
      (program, spec_id, spec_size, spec_value), CL_INVALID_PROGRAM, CL_INVALID_OPERATION, CL_INVALID_SPEC_ID,                  \
      CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                             \
    X(clUnloadPlatformCompiler, NONE, NULL, (cl_platform_id platform), (platform), CL_INVALID_PLATFORM)                         \
    X(clGetProgramInfo, PROGRAM, program,                                                                                       \
      (cl_program program, cl_program_info what, size_t bytes, void *value, size_t *bytes_ret),                                 \
      (program, what, bytes, value, bytes_ret), CL_INVALID_VALUE, CL_INVALID_PROGRAM, CL_INVALID_PROGRAM_EXECUTABLE,            \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetProgramBuildInfo, PROGRAM, program,                                                                                  \
      (cl_program program, cl_device_id device, cl_program_build_info what, size_t bytes, void *value, size_t *bytes_ret),      \
      (program, device, what, bytes, value, bytes_ret), CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_INVALID_PROGRAM,                \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clSetKernelArgSVMPointer, KERNEL, kernel, (cl_kernel kernel, cl_uint arg_index, const void *arg_value),                   \
      (kernel, arg_index, arg_value), CL_INVALID_KERNEL, CL_INVALID_OPERATION, CL_INVALID_ARG_INDEX, CL_INVALID_ARG_VALUE,      \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clSetKernelExecInfo, KERNEL, kernel, (cl_kernel kernel, cl_kernel_exec_info what, size_t bytes, const void *value),       \
      (kernel, what, bytes, value), CL_INVALID_KERNEL, CL_INVALID_VALUE, CL_INVALID_OPERATION, CL_OUT_OF_RESOURCES,             \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clGetKernelInfo, KERNEL, kernel,                                                                                          \
      (cl_kernel kernel, cl_kernel_info what, size_t bytes, void *value, size_t *bytes_ret),                                    \
      (kernel, what, bytes, value, bytes_ret), CL_INVALID_VALUE, CL_INVALID_KERNEL, CL_OUT_OF_RESOURCES,                        \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clGetKernelArgInfo, KERNEL, kernel,                                                                                       \
      (cl_kernel kernel, cl_uint arg_indx, cl_kernel_arg_info what, size_t bytes, void *value, size_t *bytes_ret),              \
      (kernel, arg_indx, what, bytes, value, bytes_ret), CL_INVALID_ARG_INDEX, CL_INVALID_VALUE,                                \
      CL_KERNEL_ARG_INFO_NOT_AVAILABLE, CL_INVALID_KERNEL)                                                                      \
    X(clGetKernelWorkGroupInfo, KERNEL, kernel,                                                                                 \
      (cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info what, size_t bytes, void *value, size_t *bytes_ret),    \
      (kernel, device, what, bytes, value, bytes_ret), CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_INVALID_KERNEL,                  \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetKernelSubGroupInfo, KERNEL, kernel,                                                                                  \
      (cl_kernel kernel, cl_device_id device, cl_kernel_sub_group_info what, size_t input_value_size,                           \
        const void *input_value, size_t bytes, void *value, size_t *bytes_ret),                                                 \
      (kernel, device, what, input_value_size, input_value, bytes, value, bytes_ret), CL_INVALID_DEVICE,                        \
      CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_INVALID_KERNEL, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                    \
    X(clSetUserEventStatus, EVENT, event, (cl_event event, cl_int execution_status), (event, execution_status),                 \
      CL_INVALID_EVENT, CL_INVALID_VALUE, CL_INVALID_OPERATION, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                     \
    X(clGetEventProfilingInfo, EVENT, event,                                                                                    \
      (cl_event event, cl_profiling_info what, size_t bytes, void *value, size_t *bytes_ret),                                   \
      (event, what, bytes, value, bytes_ret), CL_PROFILING_INFO_NOT_AVAILABLE, CL_INVALID_VALUE, CL_INVALID_EVENT,              \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clFlush, QUEUE, queue, (cl_command_queue queue), (queue), CL_INVALID_COMMAND_QUEUE, CL_OUT_OF_RESOURCES,                  \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clSetCommandQueueProperty, QUEUE, queue,                                                                                  \
      (cl_command_queue queue, cl_command_queue_properties properties, cl_bool enable,                                          \
        cl_command_queue_properties *old_properties),                                                                           \
      (queue, properties, enable, old_properties), CL_INVALID_COMMAND_QUEUE, CL_INVALID_VALUE, CL_INVALID_QUEUE_PROPERTIES,     \
      CL_INVALID_OPERATION, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                         \
    X(clEnqueueWaitForEvents, QUEUE, queue, (cl_command_queue queue, cl_uint num_events, const cl_event *event_list),           \
      (queue, num_events, event_list), CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_INVALID_EVENT,        \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clEnqueueBarrier, QUEUE, queue, (cl_command_queue queue), (queue), CL_INVALID_COMMAND_QUEUE, CL_OUT_OF_RESOURCES,         \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clUnloadCompiler, NONE, NULL, (void), (), CL_OUT_OF_RESOURCES)

/* X(name, type, object, scope, handle, parameters, arguments, codes...): calls that make an object and have errcode_ret. */
#define PEL_FAULTS_MAKE_CALLS(X)                                                                                                \
    X(clCreateContext, cl_context, CONTEXT, DEVICE, num_devices > 0 ? devices[0] : NULL,                                        \
      (const cl_context_properties *properties, cl_uint num_devices, const cl_device_id *devices,                               \
        void (CL_CALLBACK *pfn_notify)(const char *errinfo, const void *private_info, size_t cb, void *user_data),              \
        void *user_data, cl_int *errcode_ret),                                                                                  \
      (properties, num_devices, devices, pfn_notify, user_data, errcode_ret), CL_INVALID_PLATFORM, CL_INVALID_PROPERTY,         \
      CL_INVALID_VALUE, CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_DEVICE_NOT_AVAILABLE, CL_OUT_OF_RESOURCES,                  \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clCreateContextFromType, cl_context, CONTEXT, NONE, NULL,                                                                 \
      (const cl_context_properties *properties, cl_device_type device_type,                                                     \
        void (CL_CALLBACK *pfn_notify)(const char *errinfo, const void *private_info, size_t cb, void *user_data),              \
        void *user_data, cl_int *errcode_ret),                                                                                  \
      (properties, device_type, pfn_notify, user_data, errcode_ret), CL_INVALID_PLATFORM, CL_INVALID_PROPERTY,                  \
      CL_INVALID_VALUE, CL_INVALID_DEVICE_TYPE, CL_DEVICE_NOT_AVAILABLE, CL_DEVICE_NOT_FOUND, CL_INVALID_OPERATION,             \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clCreateCommandQueueWithProperties, cl_command_queue, QUEUE, CONTEXT, context,                                            \
      (cl_context context, cl_device_id device, const cl_queue_properties *properties, cl_int *errcode_ret),                    \
      (context, device, properties, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_DEVICE, CL_INVALID_VALUE,                      \
      CL_INVALID_QUEUE_PROPERTIES, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                  \
    X(clCreateBuffer, cl_mem, MEM, CONTEXT, context,                                                                            \
      (cl_context context, cl_mem_flags flags, size_t size, void *host_ptr, cl_int *errcode_ret),                               \
      (context, flags, size, host_ptr, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_INVALID_BUFFER_SIZE,              \
      CL_INVALID_HOST_PTR, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                        \
    X(clCreateSubBuffer, cl_mem, MEM, MEM, buffer,                                                                              \
      (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type buffer_create_type, const void *buffer_create_info,             \
        cl_int *errcode_ret),                                                                                                   \
      (buffer, flags, buffer_create_type, buffer_create_info, errcode_ret), CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,            \
      CL_INVALID_BUFFER_SIZE, CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,           \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clCreateImage, cl_mem, MEM, CONTEXT, context,                                                                             \
      (cl_context context, cl_mem_flags flags, const cl_image_format *image_format, const cl_image_desc *image_desc,            \
        void *host_ptr, cl_int *errcode_ret),                                                                                   \
      (context, flags, image_format, image_desc, host_ptr, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE,                  \
      CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_IMAGE_DESCRIPTOR, CL_INVALID_IMAGE_SIZE, CL_INVALID_HOST_PTR,              \
      CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,               \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clCreatePipe, cl_mem, MEM, CONTEXT, context,                                                                              \
      (cl_context context, cl_mem_flags flags, cl_uint pipe_packet_size, cl_uint pipe_max_packets,                              \
        const cl_pipe_properties *properties, cl_int *errcode_ret),                                                             \
      (context, flags, pipe_packet_size, pipe_max_packets, properties, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE,      \
      CL_INVALID_PIPE_SIZE, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                       \
    X(clCreateBufferWithProperties, cl_mem, MEM, CONTEXT, context,                                                              \
      (cl_context context, const cl_mem_properties *properties, cl_mem_flags flags, size_t size, void *host_ptr,                \
        cl_int *errcode_ret),                                                                                                   \
      (context, properties, flags, size, host_ptr, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_PROPERTY, CL_INVALID_VALUE,     \
      CL_INVALID_BUFFER_SIZE, CL_INVALID_HOST_PTR, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,                       \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clCreateImageWithProperties, cl_mem, MEM, CONTEXT, context,                                                               \
      (cl_context context, const cl_mem_properties *properties, cl_mem_flags flags, const cl_image_format *image_format,        \
        const cl_image_desc *image_desc, void *host_ptr, cl_int *errcode_ret),                                                  \
      (context, properties, flags, image_format, image_desc, host_ptr, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE,      \
      CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_IMAGE_DESCRIPTOR, CL_INVALID_IMAGE_SIZE, CL_INVALID_HOST_PTR,              \
      CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,               \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clCreateSamplerWithProperties, cl_sampler, SAMPLER, CONTEXT, context,                                                     \
      (cl_context context, const cl_sampler_properties *sampler_properties, cl_int *errcode_ret),                               \
      (context, sampler_properties, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_INVALID_OPERATION,                   \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clCreateProgramWithSource, cl_program, PROGRAM, CONTEXT, context,                                                         \
      (cl_context context, cl_uint count, const char **strings, const size_t *lengths, cl_int *errcode_ret),                   \
      (context, count, strings, lengths, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES,               \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clCreateProgramWithBinary, cl_program, PROGRAM, CONTEXT, context,                                                         \
      (cl_context context, cl_uint num_devices, const cl_device_id *device_list, const size_t *lengths,                         \
        const unsigned char * *binaries, cl_int *binary_status, cl_int *errcode_ret),                                           \
      (context, num_devices, device_list, lengths, binaries, binary_status, errcode_ret), CL_INVALID_CONTEXT,                   \
      CL_INVALID_VALUE, CL_INVALID_DEVICE, CL_INVALID_BINARY, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                       \
    X(clCreateProgramWithBuiltInKernels, cl_program, PROGRAM, CONTEXT, context,                                                 \
      (cl_context context, cl_uint num_devices, const cl_device_id *device_list, const char *kernel_names,                      \
        cl_int *errcode_ret),                                                                                                   \
      (context, num_devices, device_list, kernel_names, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE,                     \
      CL_INVALID_DEVICE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                            \
    X(clCreateProgramWithIL, cl_program, PROGRAM, CONTEXT, context,                                                             \
      (cl_context context, const void *il, size_t length, cl_int *errcode_ret), (context, il, length, errcode_ret),             \
      CL_INVALID_CONTEXT, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                   \
    X(clLinkProgram, cl_program, PROGRAM, CONTEXT, context,                                                                     \
      (cl_context context, cl_uint num_devices, const cl_device_id *device_list, const char *options,                           \
        cl_uint num_input_programs, const cl_program *input_programs, void (CL_CALLBACK *pfn_notify)(cl_program program,        \
        void *user_data), void *user_data, cl_int *errcode_ret),                                                                \
      (context, num_devices, device_list, options, num_input_programs, input_programs, pfn_notify, user_data, errcode_ret),     \
      CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_INVALID_PROGRAM, CL_INVALID_DEVICE, CL_INVALID_LINKER_OPTIONS,                   \
      CL_INVALID_OPERATION, CL_LINKER_NOT_AVAILABLE, CL_LINK_PROGRAM_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)       \
    X(clCreateKernel, cl_kernel, KERNEL, PROGRAM, program,                                                                      \
      (cl_program program, const char *kernel_name, cl_int *errcode_ret), (program, kernel_name, errcode_ret),                  \
      CL_INVALID_PROGRAM, CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_KERNEL_NAME, CL_INVALID_KERNEL_DEFINITION,                  \
      CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                             \
    X(clCloneKernel, cl_kernel, KERNEL, KERNEL, source_kernel, (cl_kernel source_kernel, cl_int *errcode_ret),                  \
      (source_kernel, errcode_ret), CL_INVALID_KERNEL, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                              \
    X(clCreateUserEvent, cl_event, EVENT, CONTEXT, context, (cl_context context, cl_int *errcode_ret),                          \
      (context, errcode_ret), CL_INVALID_CONTEXT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                   \
    X(clCreateImage2D, cl_mem, MEM, CONTEXT, context,                                                                           \
      (cl_context context, cl_mem_flags flags, const cl_image_format *image_format, size_t image_width,                         \
        size_t image_height, size_t image_row_pitch, void *host_ptr, cl_int *errcode_ret),                                      \
      (context, flags, image_format, image_width, image_height, image_row_pitch, host_ptr, errcode_ret), CL_INVALID_CONTEXT,    \
      CL_INVALID_VALUE, CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_IMAGE_DESCRIPTOR, CL_INVALID_IMAGE_SIZE,                 \
      CL_INVALID_HOST_PTR, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION, CL_MEM_OBJECT_ALLOCATION_FAILURE,               \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clCreateImage3D, cl_mem, MEM, CONTEXT, context,                                                                           \
      (cl_context context, cl_mem_flags flags, const cl_image_format *image_format, size_t image_width,                         \
        size_t image_height, size_t image_depth, size_t image_row_pitch, size_t image_slice_pitch, void *host_ptr,              \
        cl_int *errcode_ret),                                                                                                   \
      (context, flags, image_format, image_width, image_height, image_depth, image_row_pitch, image_slice_pitch, host_ptr,      \
        errcode_ret),                                                                                                           \
      CL_INVALID_CONTEXT, CL_INVALID_VALUE, CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_IMAGE_DESCRIPTOR,                    \
      CL_INVALID_IMAGE_SIZE, CL_INVALID_HOST_PTR, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION,                          \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clCreateCommandQueue, cl_command_queue, QUEUE, CONTEXT, context,                                                          \
      (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *errcode_ret),                   \
      (context, device, properties, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_DEVICE, CL_INVALID_VALUE,                      \
      CL_INVALID_QUEUE_PROPERTIES, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                  \
    X(clCreateSampler, cl_sampler, SAMPLER, CONTEXT, context,                                                                   \
      (cl_context context, cl_bool normalized_coords, cl_addressing_mode addressing_mode, cl_filter_mode filter_mode,           \
        cl_int *errcode_ret),                                                                                                   \
      (context, normalized_coords, addressing_mode, filter_mode, errcode_ret), CL_INVALID_CONTEXT, CL_INVALID_VALUE,            \
      CL_INVALID_OPERATION, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)

/* X(name, blocking, parameters, arguments, codes...): commands with a wait list and an event. */
#define PEL_FAULTS_COMMAND_CALLS(X)                                                                                             \
    X(clEnqueueReadBufferRect, blocking_read,                                                                                   \
      (cl_command_queue queue, cl_mem buffer, cl_bool blocking_read, const size_t *buffer_origin,                               \
        const size_t *host_origin, const size_t *region, size_t buffer_row_pitch, size_t buffer_slice_pitch,                    \
        size_t host_row_pitch, size_t host_slice_pitch, void *ptr, cl_uint wait_count, const cl_event *wait_list,               \
        cl_event *event),                                                                                                       \
      (queue, buffer, blocking_read, buffer_origin, host_origin, region, buffer_row_pitch, buffer_slice_pitch,                  \
        host_row_pitch, host_slice_pitch, ptr, wait_count, wait_list, event),                                                   \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_INVALID_OPERATION,                      \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueWriteBufferRect, blocking_write,                                                                                 \
      (cl_command_queue queue, cl_mem buffer, cl_bool blocking_write, const size_t *buffer_origin,                              \
        const size_t *host_origin, const size_t *region, size_t buffer_row_pitch, size_t buffer_slice_pitch,                    \
        size_t host_row_pitch, size_t host_slice_pitch, const void *ptr, cl_uint wait_count, const cl_event *wait_list,         \
        cl_event *event),                                                                                                       \
      (queue, buffer, blocking_write, buffer_origin, host_origin, region, buffer_row_pitch, buffer_slice_pitch,                 \
        host_row_pitch, host_slice_pitch, ptr, wait_count, wait_list, event),                                                   \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_INVALID_OPERATION,                      \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueFillBuffer, CL_FALSE,                                                                                            \
      (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size, size_t offset, size_t size,             \
        cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                                        \
      (queue, buffer, pattern, pattern_size, offset, size, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,             \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,                                  \
      CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)            \
    X(clEnqueueCopyBuffer, CL_FALSE,                                                                                            \
      (cl_command_queue queue, cl_mem src_buffer, cl_mem dst_buffer, size_t src_offset, size_t dst_offset, size_t size,         \
        cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                                        \
      (queue, src_buffer, dst_buffer, src_offset, dst_offset, size, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,    \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,                                  \
      CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY,            \
      CL_MEM_COPY_OVERLAP)                                                                                                      \
    X(clEnqueueCopyBufferRect, CL_FALSE,                                                                                        \
      (cl_command_queue queue, cl_mem src_buffer, cl_mem dst_buffer, const size_t *src_origin, const size_t *dst_origin,        \
        const size_t *region, size_t src_row_pitch, size_t src_slice_pitch, size_t dst_row_pitch, size_t dst_slice_pitch,       \
        cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                                        \
      (queue, src_buffer, dst_buffer, src_origin, dst_origin, region, src_row_pitch, src_slice_pitch, dst_row_pitch,            \
        dst_slice_pitch, wait_count, wait_list, event),                                                                         \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY,            \
      CL_MEM_COPY_OVERLAP)                                                                                                      \
    X(clEnqueueReadImage, blocking_read,                                                                                        \
      (cl_command_queue queue, cl_mem image, cl_bool blocking_read, const size_t *origin, const size_t *region,                 \
        size_t row_pitch, size_t slice_pitch, void *ptr, cl_uint wait_count, const cl_event *wait_list, cl_event *event),       \
      (queue, image, blocking_read, origin, region, row_pitch, slice_pitch, ptr, wait_count, wait_list, event),                 \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION,                                               \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clEnqueueWriteImage, blocking_write,                                                                                      \
      (cl_command_queue queue, cl_mem image, cl_bool blocking_write, const size_t *origin, const size_t *region,                \
        size_t input_row_pitch, size_t input_slice_pitch, const void *ptr, cl_uint wait_count, const cl_event *wait_list,       \
        cl_event *event),                                                                                                       \
      (queue, image, blocking_write, origin, region, input_row_pitch, input_slice_pitch, ptr, wait_count, wait_list, event),    \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION,                                               \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clEnqueueFillImage, CL_FALSE,                                                                                             \
      (cl_command_queue queue, cl_mem image, const void *fill_color, const size_t *origin, const size_t *region,                \
        cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                                        \
      (queue, image, fill_color, origin, region, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,                       \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE, CL_INVALID_IMAGE_SIZE,           \
      CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,                        \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueCopyImage, CL_FALSE,                                                                                             \
      (cl_command_queue queue, cl_mem src_image, cl_mem dst_image, const size_t *src_origin, const size_t *dst_origin,          \
        const size_t *region, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                  \
      (queue, src_image, dst_image, src_origin, dst_origin, region, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,    \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE, CL_INVALID_IMAGE_SIZE,           \
      CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,                        \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueCopyImageToBuffer, CL_FALSE,                                                                                     \
      (cl_command_queue queue, cl_mem src_image, cl_mem dst_buffer, const size_t *src_origin, const size_t *region,             \
        size_t dst_offset, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                     \
      (queue, src_image, dst_buffer, src_origin, region, dst_offset, wait_count, wait_list, event),                             \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION,                                               \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clEnqueueCopyBufferToImage, CL_FALSE,                                                                                     \
      (cl_command_queue queue, cl_mem src_buffer, cl_mem dst_image, size_t src_offset, const size_t *dst_origin,                \
        const size_t *region, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                  \
      (queue, src_buffer, dst_image, src_offset, dst_origin, region, wait_count, wait_list, event),                             \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,        \
      CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION,                                               \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES,                      \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clEnqueueUnmapMemObject, CL_FALSE,                                                                                        \
      (cl_command_queue queue, cl_mem memobj, void *mapped_ptr, cl_uint wait_count, const cl_event *wait_list,                  \
        cl_event *event),                                                                                                       \
      (queue, memobj, mapped_ptr, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT,                  \
      CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)          \
    X(clEnqueueMigrateMemObjects, CL_FALSE,                                                                                     \
      (cl_command_queue queue, cl_uint num_mem_objects, const cl_mem *mem_objects, cl_mem_migration_flags flags,                \
        cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                                        \
      (queue, num_mem_objects, mem_objects, flags, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,                     \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,                                  \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueNativeKernel, CL_FALSE,                                                                                          \
      (cl_command_queue queue, void (CL_CALLBACK *user_func)(void *), void *args, size_t cb_args, cl_uint num_mem_objects,      \
        const cl_mem *mem_list, const void **args_mem_loc, cl_uint wait_count, const cl_event *wait_list, cl_event *event),    \
      (queue, user_func, args, cb_args, num_mem_objects, mem_list, args_mem_loc, wait_count, wait_list, event),                 \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION,         \
      CL_INVALID_MEM_OBJECT, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                      \
    X(clEnqueueMarkerWithWaitList, CL_FALSE,                                                                                    \
      (cl_command_queue queue, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                 \
      (queue, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST,          \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clEnqueueBarrierWithWaitList, CL_FALSE,                                                                                   \
      (cl_command_queue queue, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                                 \
      (queue, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST,          \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clEnqueueSVMFree, CL_FALSE,                                                                                               \
      (cl_command_queue queue, cl_uint num_svm_pointers, void *svm_pointers[],                                                  \
        void (CL_CALLBACK *pfn_free_func)(cl_command_queue queue, cl_uint num_svm_pointers, void *svm_pointers[],               \
        void *user_data), void *user_data, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                     \
      (queue, num_svm_pointers, svm_pointers, pfn_free_func, user_data, wait_count, wait_list, event),                          \
      CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION,         \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                 \
    X(clEnqueueSVMMemcpy, blocking_copy,                                                                                        \
      (cl_command_queue queue, cl_bool blocking_copy, void *dst_ptr, const void *src_ptr, size_t size, cl_uint wait_count,      \
        const cl_event *wait_list, cl_event *event),                                                                            \
      (queue, blocking_copy, dst_ptr, src_ptr, size, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,                   \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION,                                   \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                 \
    X(clEnqueueSVMMemFill, CL_FALSE,                                                                                            \
      (cl_command_queue queue, void *svm_ptr, const void *pattern, size_t pattern_size, size_t size, cl_uint wait_count,        \
        const cl_event *wait_list, cl_event *event),                                                                            \
      (queue, svm_ptr, pattern, pattern_size, size, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,                    \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION,                                   \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                 \
    X(clEnqueueSVMMap, blocking_map,                                                                                            \
      (cl_command_queue queue, cl_bool blocking_map, cl_map_flags flags, void *svm_ptr, size_t size, cl_uint wait_count,        \
        const cl_event *wait_list, cl_event *event),                                                                            \
      (queue, blocking_map, flags, svm_ptr, size, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,                      \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION,                                   \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                 \
    X(clEnqueueSVMUnmap, CL_FALSE,                                                                                              \
      (cl_command_queue queue, void *svm_ptr, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                  \
      (queue, svm_ptr, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT,                             \
      CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,         \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clEnqueueSVMMigrateMem, CL_FALSE,                                                                                         \
      (cl_command_queue queue, cl_uint num_svm_pointers, const void **svm_pointers, const size_t *sizes,                       \
        cl_mem_migration_flags flags, cl_uint wait_count, const cl_event *wait_list, cl_event *event),                          \
      (queue, num_svm_pointers, svm_pointers, sizes, flags, wait_count, wait_list, event), CL_INVALID_COMMAND_QUEUE,            \
      CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_VALUE, CL_INVALID_OPERATION,                                   \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)

/* X(name, object, type, codes...) */
#define PEL_FAULTS_RETAIN_CALLS(X)                                                                                              \
    X(clRetainDevice, DEVICE, cl_device_id, CL_INVALID_DEVICE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                      \
    X(clRetainContext, CONTEXT, cl_context, CL_INVALID_CONTEXT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                     \
    X(clRetainCommandQueue, QUEUE, cl_command_queue, CL_INVALID_COMMAND_QUEUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)      \
    X(clRetainMemObject, MEM, cl_mem, CL_INVALID_MEM_OBJECT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                        \
    X(clRetainSampler, SAMPLER, cl_sampler, CL_INVALID_SAMPLER, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                     \
    X(clRetainProgram, PROGRAM, cl_program, CL_INVALID_PROGRAM, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                     \
    X(clRetainKernel, KERNEL, cl_kernel, CL_INVALID_KERNEL, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                         \
    X(clRetainEvent, EVENT, cl_event, CL_INVALID_EVENT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)

/* X(name, object, type, codes...) */
#define PEL_FAULTS_RELEASE_CALLS(X)                                                                                             \
    X(clReleaseDevice, DEVICE, cl_device_id, CL_INVALID_DEVICE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                     \
    X(clReleaseContext, CONTEXT, cl_context, CL_INVALID_CONTEXT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                    \
    X(clReleaseCommandQueue, QUEUE, cl_command_queue, CL_INVALID_COMMAND_QUEUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)     \
    X(clReleaseMemObject, MEM, cl_mem, CL_INVALID_MEM_OBJECT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                       \
    X(clReleaseSampler, SAMPLER, cl_sampler, CL_INVALID_SAMPLER, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                    \
    X(clReleaseProgram, PROGRAM, cl_program, CL_INVALID_PROGRAM, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                    \
    X(clReleaseKernel, KERNEL, cl_kernel, CL_INVALID_KERNEL, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                        \
    X(clReleaseEvent, EVENT, cl_event, CL_INVALID_EVENT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)

/* X(name, codes...): calls whose wrappers are written by hand (layer.c, commands.c, state.c). */
#define PEL_FAULTS_SPECIAL_CALLS(X)                                                                                             \
    X(clGetDeviceIDs, CL_INVALID_PLATFORM, CL_INVALID_DEVICE_TYPE, CL_INVALID_VALUE, CL_DEVICE_NOT_FOUND,                       \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetDeviceInfo, CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                         \
    X(clCreateSubDevices, CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_DEVICE_PARTITION_FAILED,                                      \
      CL_INVALID_DEVICE_PARTITION_COUNT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                            \
    X(clSVMAlloc, CL_OUT_OF_HOST_MEMORY)                                                                                        \
    X(clCreateKernelsInProgram, CL_INVALID_PROGRAM, CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES,       \
      CL_OUT_OF_HOST_MEMORY)                                                                                                    \
    X(clSetKernelArg, CL_INVALID_KERNEL, CL_INVALID_ARG_INDEX, CL_INVALID_ARG_VALUE, CL_INVALID_MEM_OBJECT,                     \
      CL_INVALID_SAMPLER, CL_INVALID_DEVICE_QUEUE, CL_INVALID_ARG_SIZE, CL_MAX_SIZE_RESTRICTION_EXCEEDED,                       \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clWaitForEvents, CL_INVALID_VALUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,    \
      CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                                               \
    X(clGetEventInfo, CL_INVALID_VALUE, CL_INVALID_EVENT, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                           \
    X(clSetEventCallback, CL_INVALID_EVENT, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                       \
    X(clFinish, CL_INVALID_COMMAND_QUEUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                           \
    X(clEnqueueReadBuffer, CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT,     \
      CL_INVALID_VALUE, CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_INVALID_OPERATION,    \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueWriteBuffer, CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT,    \
      CL_INVALID_VALUE, CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_INVALID_OPERATION,    \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueMapBuffer, CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT,      \
      CL_INVALID_VALUE, CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_INVALID_OPERATION,    \
      CL_MAP_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                                               \
    X(clEnqueueMapImage, CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_MEM_OBJECT,       \
      CL_INVALID_VALUE, CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_OPERATION,                             \
      CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_MAP_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                 \
    X(clEnqueueNDRangeKernel, CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_COMMAND_QUEUE, CL_INVALID_KERNEL,                       \
      CL_INVALID_CONTEXT, CL_INVALID_KERNEL_ARGS, CL_INVALID_WORK_DIMENSION, CL_INVALID_GLOBAL_WORK_SIZE,                       \
      CL_INVALID_GLOBAL_OFFSET, CL_INVALID_WORK_GROUP_SIZE, CL_INVALID_WORK_ITEM_SIZE, CL_MISALIGNED_SUB_BUFFER_OFFSET,         \
      CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED, CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_OPERATION,                   \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                                             \
    X(clEnqueueMarker, CL_INVALID_COMMAND_QUEUE, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)                  \
    X(clEnqueueTask, CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_COMMAND_QUEUE, CL_INVALID_KERNEL, CL_INVALID_CONTEXT,            \
      CL_INVALID_KERNEL_ARGS, CL_INVALID_WORK_GROUP_SIZE, CL_MISALIGNED_SUB_BUFFER_OFFSET, CL_INVALID_EVENT_WAIT_LIST,          \
      CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY)

#endif
