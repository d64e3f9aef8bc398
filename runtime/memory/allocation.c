/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations: life, device memory, views.
 *
 * An allocation mirrors its whole range in one memory object per device, made on first use. One object instead of one per
 * buffer or per launch keeps a byte in one place per device, so overlapping wraps cannot disagree; a sub-range argument is a
 * view of it. Device memory is counted against the budget before the driver is asked, because drivers accept more than they
 * have and fail at the launch instead. When the budget is full, copies that nobody uses and that are valid elsewhere make room;
 * a copy that a command holds is never taken.
 */
#include "base/checked.h"
#include "memory/residency.h"
#include <inttypes.h>

#define VIEW_LIMIT 64 /* views of one allocation kept for reuse: looking through more costs more than making one */

static uint32_t buffer_count(const pel_allocation *allocation) {
    uint32_t count = 0;
    for (const pel_buffer *buffer = allocation->buffers; buffer; buffer = buffer->next) {
        count++;
    }
    return count;
}

bool pel_allocation_quiet(const pel_allocation *allocation) {
    return allocation->commands == 0 && allocation->fetching == 0 && allocation->references == buffer_count(allocation);
}

pel_allocation *pel_allocation_create(pel_runtime *runtime, unsigned char *base, uint64_t bytes, bool owned) {
    const pel_allocator *allocator = &runtime->allocator;
    pel_allocation *allocation = pel_alloc_zero(allocator, 1, sizeof *allocation);
    if (!allocation) {
        return NULL;
    }
    allocation->runtime = runtime;
    allocation->serial = pel_runtime_next_id(runtime);
    allocation->base = base;
    allocation->bytes = bytes;
    allocation->mems = pel_alloc_zero(allocator, runtime->device_count + 1u, sizeof(pel_mem *));
    allocation->residency = pel_interval_map_create(allocator, NULL);
    allocation->pins = pel_alloc_zero(allocator, runtime->device_count + 1u, sizeof *allocation->pins);
    allocation->used = pel_alloc_zero(allocator, runtime->device_count + 1u, sizeof *allocation->used);
    if (!allocation->mems || !allocation->residency || !allocation->pins || !allocation->used) {
        pel_free(allocator, allocation->mems);
        pel_free(allocator, allocation->pins);
        pel_free(allocator, allocation->used);
        pel_interval_map_destroy(allocation->residency);
        pel_free(allocator, allocation);
        return NULL;
    }
    allocation->owned = owned; /* last: until here the pages are the caller's to free */
    allocation->next = runtime->allocations;
    runtime->allocations = allocation;
    return allocation;
}

static bool take_off_list(pel_allocation *allocation) {
    for (pel_allocation **link = &allocation->runtime->allocations; *link; link = &(*link)->next) {
        if (*link == allocation) {
            *link = allocation->next;
            allocation->next = NULL;
            return true;
        }
    }
    return false;
}

void pel_allocation_delist(pel_allocation *allocation) {
    (void)take_off_list(allocation);
}

void pel_allocation_unlist(pel_allocation *allocation) {
    const pel_memory_hooks *hooks = take_off_list(allocation) ? pel_memory_hooks_get(allocation->runtime) : NULL;
    if (hooks && hooks->gone) {
        hooks->gone(allocation->runtime, allocation);
    }
}

static void destroy_view(pel_allocation *allocation, pel_view *view) {
    pel_device *device = &allocation->runtime->devices[view->device];
    device->driver->backend->mem_destroy(device->driver, view->mem);
    pel_free(&allocation->runtime->allocator, view);
}

/* Views of one device, or of all when device is UINT32_MAX. */
static void destroy_views(pel_allocation *allocation, uint32_t device) {
    pel_view **link = &allocation->views;
    while (*link) {
        pel_view *view = *link;
        if (device == UINT32_MAX || view->device == device) {
            *link = view->next;
            destroy_view(allocation, view);
        } else {
            link = &view->next;
        }
    }
}

void pel_device_wipe(pel_device *device, pel_mem *mem) {
    pel_error *error = NULL;
    if (!mem || device->place == 0 || !device->driver->backend->mem_wipe) {
        return;
    }
    pel_status status = device->lost ? PEL_DEVICE_LOST : device->driver->backend->mem_wipe(device->driver, mem, &error);
    if (status != PEL_OK) {
        pel_log(&device->runtime->logger, PEL_LOG_ERROR, "%s: a sensitive buffer's memory could not be zeroed: %s",
                device->facts->info.id, error ? pel_error_message(error) : pel_status_text(status));
    }
    pel_error_destroy(error);
}

void pel_allocation_drop_mem(pel_allocation *allocation, pel_device *device) {
    pel_mem *mem = allocation->mems[device->index];
    if (!mem) {
        return;
    }
    destroy_views(allocation, device->index);
    if (allocation->sensitive && (allocation->kept & pel_device_bit(device)) == 0) {
        pel_device_wipe(device, mem);
    }
    device->driver->backend->mem_destroy(device->driver, mem);
    allocation->mems[device->index] = NULL;
    if (device->place != 0) {
        pel_device_unreserve(device, allocation->bytes);
    }
}

static void free_memory(pel_allocation *allocation) {
    if (allocation->sensitive) {
        pel_wipe(allocation->base, allocation->bytes);
    }
    if (allocation->source.release) {
        allocation->source.release(allocation->source.user, allocation->base, allocation->bytes);
    } else {
        pel_pages_free(allocation->base, allocation->bytes);
    }
}

void pel_allocation_destroy(pel_allocation *allocation) {
    pel_runtime *runtime = allocation->runtime;
    pel_allocation_unlist(allocation);
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_allocation_drop_mem(allocation, &runtime->devices[i]);
    }
    pel_interval_map_destroy(allocation->residency);
    pel_free(&runtime->allocator, allocation->mems);
    pel_free(&runtime->allocator, allocation->pins);
    pel_free(&runtime->allocator, allocation->used);
    if (allocation->owned) {
        free_memory(allocation);
    }
    pel_free(&runtime->allocator, allocation);
}

void pel_allocation_retain(pel_allocation *allocation) {
    allocation->references++;
}

void pel_allocation_leave_home(pel_allocation *allocation) {
    for (pel_buffer *buffer = allocation->away ? NULL : allocation->buffers; buffer; buffer = buffer->next) {
        atomic_store_explicit(&buffer->away, true, memory_order_relaxed);
    }
    allocation->away = true;
}

static bool too_many_views(const pel_allocation *allocation) {
    uint32_t count = 0;
    for (const pel_view *view = allocation->views; view && count <= VIEW_LIMIT; view = view->next) {
        count++;
    }
    return count > VIEW_LIMIT;
}

void pel_allocation_release(pel_allocation *allocation) {
    if (--allocation->references == 0) {
        pel_allocation_destroy(allocation);
    } else if (allocation->views && too_many_views(allocation) && pel_allocation_quiet(allocation)) {
        destroy_views(allocation, UINT32_MAX);
    }
}

/* Works that the lost device has not given back yet still point to its memory objects: those stay until nobody can use them. */
void pel_allocation_forget_device(pel_allocation *allocation, pel_device *device) {
    pel_allocation_forget_place(allocation, device->place);
    if (pel_allocation_quiet(allocation)) {
        pel_allocation_drop_mem(allocation, device);
    }
}

static pel_status check_room(const pel_allocation *allocation, pel_device *device, pel_error **error) {
    const pel_device_info *info = &device->facts->info;
    const pel_allocator *allocator = &allocation->runtime->allocator;
    if (info->max_allocation_bytes != 0 && allocation->bytes > info->max_allocation_bytes) {
        pel_story story = {.device = info->id, .advice = "use smaller buffers, or leave this launch to another device"};
        return pel_fail(error, allocator, PEL_TOO_LARGE, &story,
                        "a buffer of %" PRIu64 " bytes is more than %s allows for one (%" PRIu64 " bytes)", allocation->bytes,
                        info->id, info->max_allocation_bytes);
    }
    return device->place == 0 ? PEL_OK : pel_device_reserve(device, allocation->bytes, error);
}

pel_status pel_allocation_mem(pel_allocation *allocation, pel_device *device, pel_mem **mem, pel_error **error) {
    *mem = NULL;
    const pel_backend *backend = device->driver->backend;
    if (device->facts->info.kind == PEL_DEVICE_HOST || !backend->mem_create) {
        return PEL_OK;
    }
    if (!allocation->mems[device->index]) {
        pel_status status = check_room(allocation, device, error);
        if (status == PEL_OK) {
            status =
                backend->mem_create(device->driver, allocation->base, allocation->bytes, &allocation->mems[device->index], error);
            if (status != PEL_OK && device->place != 0) {
                pel_device_unreserve(device, allocation->bytes);
            }
        }
        if (status != PEL_OK) {
            allocation->mems[device->index] = NULL;
            return status;
        }
    }
    *mem = allocation->mems[device->index];
    return PEL_OK;
}

pel_status pel_allocation_view(pel_allocation *allocation, pel_device *device, uint64_t offset, uint64_t bytes, pel_mem **view,
                               pel_error **error) {
    *view = NULL;
    pel_mem *parent = NULL;
    pel_status status = pel_allocation_mem(allocation, device, &parent, error);
    if (status != PEL_OK || !parent || offset == 0) { /* the whole object starts at the same byte: no view is needed */
        *view = parent;
        return status;
    }
    for (pel_view *known = allocation->views; known; known = known->next) {
        if (known->device == device->index && known->offset == offset && known->bytes == bytes) {
            *view = known->mem;
            return PEL_OK;
        }
    }
    pel_view *made = pel_alloc_zero(&allocation->runtime->allocator, 1, sizeof *made);
    if (!made) {
        return pel_fail(error, &allocation->runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a view of a buffer");
    }
    status = device->driver->backend->mem_view(device->driver, parent, offset, bytes, &made->mem, error);
    if (status != PEL_OK) {
        pel_free(&allocation->runtime->allocator, made);
        return status;
    }
    made->device = device->index;
    made->offset = offset;
    made->bytes = bytes;
    made->next = allocation->views;
    allocation->views = made;
    *view = made->mem;
    return PEL_OK;
}
