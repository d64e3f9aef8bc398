/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that both processes see: a memfd a mem, mapped here and there, its descriptor closed as soon as the child has it. Its
 * size is sealed, so that a child that went mad cannot cut it off and have us die by SIGBUS. To the library it is the device's
 * own memory; for a device that works in host memory nothing is copied beyond that. The child is told without waiting for its
 * answer (these calls come under the runtime's lock): if the driver cannot take the memory, the works that use it fail.
 */
#include "backend/outside/outside.h"

#include "base/checked.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int pel_outside_share(uint64_t bytes, void **mapping) {
    size_t size;
    if (!pel_u64_to_size(bytes, &size) || bytes > INT64_MAX) {
        errno = EFBIG;
        return -1;
    }
    const int descriptor = memfd_create("pel-device", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) {
        return -1;
    }
    *mapping = MAP_FAILED;
    if (ftruncate(descriptor, (off_t)bytes) == 0 &&
        fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    }
    if (*mapping == MAP_FAILED) {
        const int code = errno;
        close(descriptor);
        errno = code;
        return -1;
    }
    return descriptor;
}

static pel_status no_record(const pel_outside *device, pel_error **error) {
    return pel_outside_refuse(device, error, PEL_OUT_OF_MEMORY, NULL, 0, "free host memory", "no memory for a buffer's record");
}

static pel_status check_size(const pel_outside *device, uint64_t bytes, pel_error **error) {
    const uint64_t most = device->base.facts->info.max_allocation_bytes;
    if (bytes == 0) {
        return pel_outside_refuse(device, error, PEL_INVALID_ARGUMENT, NULL, 0, "give it at least one byte",
                                  "a buffer of 0 bytes cannot be on a device");
    }
    if (most != 0 && bytes > most) {
        return pel_outside_refuse(device, error, PEL_TOO_LARGE, NULL, 0, "use smaller buffers, or another device",
                                  "a buffer of %llu bytes is beyond the device's largest of %llu", (unsigned long long)bytes,
                                  (unsigned long long)most);
    }
    return PEL_OK;
}

pel_status pel_outside_mem_create(pel_backend_device *base, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    pel_outside *device = (pel_outside *)base;
    void *mapping;
    *mem = NULL;
    pel_status status = check_size(device, bytes, error);
    if (status != PEL_OK) {
        return status;
    }
    pel_outside_mem *made = pel_alloc(device->env->allocator, sizeof *made);
    if (!made) {
        return no_record(device, error);
    }
    const int descriptor = pel_outside_share(bytes, &mapping);
    if (descriptor < 0) {
        const int code = errno;
        pel_free(device->env->allocator, made);
        return pel_outside_refuse(device, error, PEL_OUT_OF_MEMORY, "memfd_create", code,
                                  "free host memory, or raise the limits of descriptors and mappings",
                                  "no shared memory of %llu bytes: %s", (unsigned long long)bytes, strerror(code));
    }
    *made = (pel_outside_mem){.base = {.host = host, .bytes = bytes}, .region = mapping};
    pthread_mutex_lock(&device->lock);
    made->id = device->next_id++;
    pel_packet_begin(&device->out, PEL_OUTSIDE_MEM, made->id);
    pel_packet_put_u64(&device->out, bytes);
    status = pel_outside_post_out(device, descriptor);
    if (status == PEL_DEVICE_LOST) {
        pel_outside_lost_error(device, error);
    }
    pthread_mutex_unlock(&device->lock);
    if (status != PEL_OK) {
        munmap(mapping, (size_t)bytes);
        pel_free(device->env->allocator, made);
        return status == PEL_OUT_OF_MEMORY ? no_record(device, error) : status;
    }
    *mem = &made->base;
    return PEL_OK;
}

static pel_status check_view(const pel_outside *device, const pel_mem *parent, uint64_t offset, uint64_t bytes,
                             pel_error **error) {
    const uint32_t alignment = device->base.facts->view_alignment;
    if (bytes == 0 || !pel_range_within(offset, bytes, parent->bytes)) {
        return pel_outside_refuse(device, error, PEL_INVALID_ARGUMENT, NULL, 0, "choose a range within the buffer",
                                  "bytes [%llu, +%llu) are not a part of a buffer of %llu", (unsigned long long)offset,
                                  (unsigned long long)bytes, (unsigned long long)parent->bytes);
    }
    if (alignment > 1 && offset % alignment != 0) {
        return pel_outside_refuse(
            device, error, PEL_UNSUPPORTED, NULL, 0, "begin the range at a multiple of the alignment, or copy it",
            "a range that begins at byte %llu: this device wants multiples of %u bytes", (unsigned long long)offset, alignment);
    }
    return PEL_OK;
}

pel_status pel_outside_mem_view(pel_backend_device *base, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                                pel_error **error) {
    pel_outside *device = (pel_outside *)base;
    const pel_outside_mem *whole = (pel_outside_mem *)parent;
    *view = NULL;
    pel_status status = check_view(device, parent, offset, bytes, error);
    if (status != PEL_OK) {
        return status;
    }
    pel_outside_mem *made = pel_alloc(device->env->allocator, sizeof *made);
    if (!made) {
        return no_record(device, error);
    }
    *made = (pel_outside_mem){
        .base = {.host = (unsigned char *)parent->host + offset, .bytes = bytes}, .region = whole->region + offset, .view = true};
    pthread_mutex_lock(&device->lock);
    made->id = device->next_id++;
    pel_packet_begin(&device->out, PEL_OUTSIDE_VIEW, made->id);
    pel_packet_put_u64(&device->out, whole->id);
    pel_packet_put_u64(&device->out, offset);
    pel_packet_put_u64(&device->out, bytes);
    status = pel_outside_post_out(device, -1);
    if (status == PEL_DEVICE_LOST) {
        pel_outside_lost_error(device, error);
    }
    pthread_mutex_unlock(&device->lock);
    if (status != PEL_OK) {
        pel_free(device->env->allocator, made);
        return status == PEL_OUT_OF_MEMORY ? no_record(device, error) : status;
    }
    *view = &made->base;
    return PEL_OK;
}

/* Both processes see the zeroes; what the child's device has beside is zeroed when it lets go of it. */
pel_status pel_outside_mem_wipe(pel_backend_device *base, pel_mem *mem, pel_error **error) {
    pel_outside_mem *secret = (pel_outside_mem *)mem;
    (void)base, (void)error;
    pel_wipe(secret->region, (size_t)mem->bytes);
    secret->wiped = true;
    return PEL_OK;
}

void pel_outside_mem_destroy(pel_backend_device *base, pel_mem *mem) {
    pel_outside *device = (pel_outside *)base;
    pel_outside_mem *gone = (pel_outside_mem *)mem;
    if (!gone) {
        return;
    }
    pthread_mutex_lock(&device->lock);
    pel_packet_begin(&device->out, PEL_OUTSIDE_MEM_DROP, gone->id);
    pel_packet_put_u32(&device->out, gone->wiped);
    (void)pel_outside_post_out(device, -1); /* without memory for the message the child keeps it until it ends */
    pthread_mutex_unlock(&device->lock);
    if (!gone->view) {
        munmap(gone->region, (size_t)gone->base.bytes);
    }
    pel_free(device->env->allocator, gone);
}
