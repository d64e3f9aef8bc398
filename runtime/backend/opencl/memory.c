/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory objects. Every device has a cl_mem of its own for a range: shared contexts make drivers migrate whole buffers behind our
 * back.
 *
 * Host-coherent devices (PoCL on the CPU) use the host memory itself: USE_HOST_PTR without map and unmap (16-22 us each), and a
 * view is another cl_mem over a part of it, at any alignment. Other devices that share the host's memory get USE_HOST_PTR too,
 * and transfers are reads and writes whose host pointer is the buffer's own: the specification defines them as "make up to date",
 * so drivers without a copy of their own do nothing. Rejected there: map and unmap, which need a record of what is mapped and
 * forbid kernels meanwhile. Devices with own memory get plain buffers; views are sub-buffers, so their origin must be aligned.
 */
#include "backend/opencl/internal.h"

#include "base/checked.h"

static pel_status wrap(pel_cl_device *device, cl_mem cl, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    pel_cl_mem *made = pel_alloc(device->env->allocator, sizeof *made);
    if (!made) {
        clReleaseMemObject(cl);
        return pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory for a buffer's record");
    }
    *made = (pel_cl_mem){.base = {.host = host, .bytes = bytes},
                         .cl = cl,
                         .id = atomic_fetch_add_explicit(&device->mems_made, 1, memory_order_relaxed) + 1};
    *mem = &made->base;
    return PEL_OK;
}

static pel_status create(pel_cl_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    const pel_device_info *info = &device->base.facts->info;
    bool in_place = host && (device->base.facts->host_coherent || info->shares_host_memory != 0); /* a window mirrors nothing */
    cl_mem_flags flags = CL_MEM_READ_WRITE | (in_place ? CL_MEM_USE_HOST_PTR : 0);
    cl_int code = CL_SUCCESS;
    size_t size;

    *mem = NULL;
    if (bytes == 0) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT, "give it at least one byte",
                             "a buffer of 0 bytes cannot be on a device");
    }
    if ((info->max_allocation_bytes != 0 && bytes > info->max_allocation_bytes) || !pel_u64_to_size(bytes, &size)) {
        return pel_cl_refuse(device, error, PEL_TOO_LARGE, "use smaller buffers, or another device",
                             "a buffer of %llu bytes is beyond the device's largest of %llu", (unsigned long long)bytes,
                             (unsigned long long)info->max_allocation_bytes);
    }
    pel_status status = pel_cl_ready(device, error);
    if (status != PEL_OK) {
        return status;
    }
    cl_mem cl = clCreateBuffer(device->context, flags, size, in_place ? host : NULL, &code);
    if (!cl || code != CL_SUCCESS) {
        code = code == CL_SUCCESS || code == CL_OUT_OF_RESOURCES ? CL_MEM_OBJECT_ALLOCATION_FAILURE : code;
        return pel_cl_fail(device, error, code, "clCreateBuffer", "no buffer of %llu bytes", (unsigned long long)bytes);
    }
    return wrap(device, cl, host, bytes, mem, error);
}

pel_status pel_cl_mem_create(pel_backend_device *base, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    return create((pel_cl_device *)base, host, bytes, mem, error);
}

pel_status pel_cl_mem_view(pel_backend_device *base, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                           pel_error **error) {
    pel_cl_device *device = (pel_cl_device *)base;
    unsigned char *host = (unsigned char *)parent->host + offset;
    cl_int code = CL_SUCCESS;

    *view = NULL;
    if (bytes == 0 || !pel_range_within(offset, bytes, parent->bytes)) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT, "choose a range within the buffer",
                             "bytes [%llu, +%llu) are not a part of a buffer of %llu", (unsigned long long)offset,
                             (unsigned long long)bytes, (unsigned long long)parent->bytes);
    }
    if (device->base.facts->host_coherent) {
        return create(device, host, bytes, view, error);
    }
    uint32_t alignment = device->base.facts->view_alignment;
    if (alignment > 1 && offset % alignment != 0) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "begin the range at a multiple of the alignment, or copy it",
                             "a range that begins at byte %llu: this device wants multiples of %u bytes",
                             (unsigned long long)offset, alignment);
    }
    cl_buffer_region region = {.origin = (size_t)offset, .size = (size_t)bytes};
    cl_mem cl = clCreateSubBuffer(((pel_cl_mem *)parent)->cl, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    if (!cl || code != CL_SUCCESS) {
        code = code == CL_SUCCESS ? CL_MEM_OBJECT_ALLOCATION_FAILURE : code;
        return pel_cl_fail(device, error, code, "clCreateSubBuffer", "no view of bytes [%llu, +%llu)", (unsigned long long)offset,
                           (unsigned long long)bytes);
    }
    return wrap(device, cl, host, bytes, view, error);
}

pel_status pel_cl_mem_adopt(pel_cl_device *device, cl_mem cl, uint64_t bytes, pel_mem **mem, pel_error **error) {
    cl_int code = clRetainMemObject(cl);
    *mem = NULL;
    if (code != CL_SUCCESS) {
        return pel_cl_fail(device, error, code, "clRetainMemObject", "an adopted buffer cannot be retained");
    }
    return wrap(device, cl, NULL, bytes, mem, error);
}

void pel_cl_mem_destroy(pel_backend_device *base, pel_mem *mem) {
    if (mem) {
        clReleaseMemObject(((pel_cl_mem *)mem)->cl);
        pel_free(((pel_cl_device *)base)->env->allocator, mem);
    }
}
