/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers over memory that came with a driver's object.
 *
 * An adopted object is a buffer's copy on its device, made before the first use instead of at it, and valid there alone from the
 * beginning. So nothing downstream knows the difference, except that it is never given up to make room: its owner would look in
 * vain for what was written elsewhere meanwhile. Where the device computes in host memory the object's memory is wrapped, and
 * goes back when nothing uses it any more.
 */
#include "backend/interop.h"
#include "memory/residency.h"

pel_status pel_buffer_adopt_mem(const pel_device *device, pel_mem *mem, pel_buffer **buffer, pel_error **error) {
    pel_runtime *runtime = device->runtime;
    pel_device *own = &runtime->devices[device->index];
    pel_status status = pel_buffer_create(runtime, mem->bytes, buffer, error);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_allocation *allocation = (*buffer)->allocation;
    status = pel_allocation_written(allocation, own->place, 0, allocation->bytes);
    if (status == PEL_OK) {
        mem->host = allocation->base;
        allocation->mems[own->index] = mem;
        allocation->kept |= pel_device_bit(own);
        own->memory_used += allocation->bytes;
        pel_allocation_leave_home(allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    if (status != PEL_OK) {
        (void)pel_buffer_destroy(*buffer);
        *buffer = NULL;
        return pel_fail(error, &runtime->allocator, status, NULL, "no memory for an adopted buffer's records");
    }
    return PEL_OK;
}

pel_status pel_buffer_adopt_host(const pel_device *device, void *host, uint64_t bytes, void (*let_go)(void *user), void *user,
                                 pel_buffer **buffer, pel_error **error) {
    pel_runtime *runtime = device->runtime;
    pel_status status = pel_buffer_wrap(runtime, host, bytes, buffer);
    if (status != PEL_OK) {
        return pel_fail(error, &runtime->allocator, status, NULL, "the memory of an adopted buffer cannot be wrapped: %s",
                        pel_status_text(status));
    }
    (*buffer)->let_go = let_go;
    (*buffer)->user = user;
    return PEL_OK;
}
