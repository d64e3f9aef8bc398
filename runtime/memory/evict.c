/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room in a device's memory. Device memory is counted against the budget before the driver is asked, because drivers accept more
 * than they have and fail at the launch instead. When the budget is full, copies that no command has pinned and that are valid
 * elsewhere make room, least recently used first. Launches claim room for all that they need at once, and have written back what
 * is valid on the device alone (queue/claim.c); others, prefetches and retries, take what is free or goes without that.
 */
#include "base/checked.h"
#include "memory/residency.h"
#include <inttypes.h>

void pel_allocation_pin(pel_allocation *allocation, const pel_device *device) {
    allocation->pins[device->index]++;
    allocation->used[device->index] = ++((pel_device *)(uintptr_t)device)->uses;
}

void pel_allocation_unpin(pel_allocation *allocation, const pel_device *device) {
    allocation->pins[device->index]--;
}

bool pel_allocation_may_leave(const pel_allocation *allocation, const pel_device *device) {
    return allocation->mems[device->index] && allocation->pins[device->index] == 0 &&
           (allocation->kept & pel_device_bit(device)) == 0;
}

void pel_allocation_leave(pel_allocation *allocation, pel_device *device) {
    pel_allocation_drop_mem(allocation, device);
    pel_allocation_forget_place(allocation, device->place);
}

int pel_allocation_rank(const pel_allocation *allocation, const pel_device *device) {
    const uint64_t bit = pel_device_bit(device);
    return (allocation->stays & bit) != 0 ? 1 : (allocation->leaves & bit) != 0 ? -1 : 0;
}

static bool goes_before(const pel_allocation *a, const pel_allocation *b, const pel_device *device) {
    const int difference = pel_allocation_rank(a, device) - pel_allocation_rank(b, device);
    return difference < 0 || (difference == 0 && a->used[device->index] < b->used[device->index]);
}

static bool may_go(const pel_allocation *allocation, const pel_device *device) {
    return pel_allocation_may_leave(allocation, device) && !pel_allocation_alone_at(allocation, device->place);
}

uint64_t pel_device_held_bytes(const pel_device *device) {
    uint64_t idle = 0;
    for (const pel_allocation *a = device->runtime->allocations; a && device->place != 0; a = a->next) {
        idle += may_go(a, device) ? a->bytes : 0;
    }
    return device->memory_used - idle;
}

/* Drops copies that may go, those first that the caller has given up, least recently used first, until `bytes` more fit. */
static void make_room(pel_device *device, uint64_t bytes) {
    const uint64_t budget = device->facts->info.memory_bytes;
    for (pel_allocation *oldest = device->runtime->allocations; oldest && device->memory_used > budget - bytes;) {
        oldest = NULL;
        for (pel_allocation *other = device->runtime->allocations; other; other = other->next) {
            if (may_go(other, device) && (!oldest || goes_before(other, oldest, device))) {
                oldest = other;
            }
        }
        if (oldest) {
            pel_log(&device->runtime->logger, PEL_LOG_DEBUG, "%s: dropped an idle copy of %" PRIu64 " bytes to make room",
                    device->facts->info.id, oldest->bytes);
            pel_allocation_leave(oldest, device);
        }
    }
}

pel_status pel_device_reserve(pel_device *device, uint64_t bytes, pel_error **error) {
    const pel_device_info *info = &device->facts->info;
    if (info->memory_bytes != 0) {
        if (bytes <= info->memory_bytes) {
            make_room(device, bytes);
        }
        if (!pel_range_within(device->memory_used, bytes, info->memory_bytes)) {
            pel_story story = {.device = info->id,
                               .advice = "destroy buffers, wait for commands that use others, or use smaller ones"};
            return pel_fail(error, &device->runtime->allocator, PEL_DEVICE_MEMORY, &story,
                            "%s has no room for %" PRIu64 " bytes more: %" PRIu64 " of its %" PRIu64 " bytes are in use",
                            info->id, bytes, device->memory_used, info->memory_bytes);
        }
    }
    device->memory_used += bytes;
    return PEL_OK;
}

void pel_device_unreserve(pel_device *device, uint64_t bytes) {
    device->memory_used -= bytes;
}
