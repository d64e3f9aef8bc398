/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one device cannot do, asked before the plan is made: a limit that is met at the chunk fails a launch that would have run
 * elsewhere.
 *
 * Whatever the facts of a device and of a kernel tell without calling its driver is decided here: memory, where a part of a
 * buffer may begin, work-groups (the kernel's own largest one was asked for when it was made), local memory. What only a launch
 * tells (the local memory of the kernel's body, a smaller limit of the form that runs chunks) is still refused by the driver when
 * it runs.
 */
#include "backend/addressing.h"
#include "base/checked.h"
#include "base/text.h"
#include "queue/stream.h"
#include "queue/command.h"
#include "resilience/health.h"
#include <inttypes.h>

/* OpenCL drivers number work-groups in 32 bits; a launch with more is cut by the backend, where the addressing contract lets
 * it. */
#define MOST_GROUPS UINT32_MAX

typedef struct limits {
    const pel_bound *bound;
    const pel_device *device;
    const pel_device_info *info;
    pel_text why;
} limits;

/* Whole, or else in parts. What others use just now does not count: it goes, or is waited for. */
static bool check_memory(limits *l) {
    const uint64_t largest = l->info->max_allocation_bytes;
    /* In host memory, but in one object of the driver's. */
    for (uint32_t i = 0; i < l->bound->arg_count && l->device->place == 0 && largest > 0; i++) {
        const pel_allocation *a = l->bound->args[i].allocation;
        if (a && a->bytes > largest) {
            pel_text_format(&l->why, "a buffer of %" PRIu64 " bytes; it allocates %" PRIu64 " at once at most", a->bytes,
                            largest);
            return false;
        }
    }
    if (!pel_stream_needed(l->bound, l->device)) {
        return true;
    }
    char *why = pel_stream_refusal(l->bound, l->device);
    if (why) {
        pel_text_append(&l->why, why);
        pel_free(&l->device->runtime->allocator, why);
    }
    return !why;
}

/* In memory of its own an argument that begins within an allocation is a part of the device's buffer, and those must be
 * aligned. */
static bool check_views(limits *l) {
    uint32_t alignment = l->device->facts->view_alignment;
    const bool streams = pel_stream_needed(l->bound, l->device);
    for (uint32_t i = 0; i < l->bound->arg_count && l->device->place != 0 && alignment > 1; i++) {
        const pel_bound_arg *arg = &l->bound->args[i];
        if (streams && pel_stream_windowed(l->bound, i)) {
            continue; /* windows begin anywhere */
        }
        const bool copied = arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE; /* a copy of its own */
        if (arg->allocation && !copied && arg->offset % alignment != 0) {
            pel_text_format(&l->why,
                            "argument %" PRIu32 " begins at byte %" PRIu64 " of its memory; this device wants "
                            "multiples of %" PRIu32
                            " bytes (begin there, also in what "
                            "overlapping wraps cover together, or give it a buffer of its own)",
                            i, arg->offset, alignment);
            return false;
        }
    }
    return true;
}

static bool check_local_memory(limits *l) {
    uint64_t bytes = 0; /* the sum was checked when the launch was bound */
    for (uint32_t i = 0; i < l->bound->arg_count; i++) {
        bytes += l->bound->args[i].kind == PEL_ARG_LOCAL ? l->bound->args[i].bytes : 0;
    }
    if (l->info->local_memory_bytes == 0 || bytes <= l->info->local_memory_bytes) {
        return true;
    }
    pel_text_format(&l->why, "needs %" PRIu64 " bytes of local memory; it has %" PRIu64, bytes, l->info->local_memory_bytes);
    return false;
}

/* Whether a launch with too many work-groups for one enqueue can be cut into several that keep its ids; else why not. */
static const char *why_uncuttable(const limits *l) {
    const pel_span *span = &l->bound->span;
    if (l->bound->kernel->image.program->plain_only) {
        return "its source changes the functions that tell ids and sizes";
    }
    if (l->info->address_bits < 64) {
        return "the device has 32-bit addresses";
    }
    return pel_addressing_refusal(span);
}

static bool check_groups(limits *l) {
    const pel_span *span = &l->bound->span;
    uint64_t items = 1, groups = 1;
    for (uint32_t d = 0; d < span->dims && span->local[0] != 0; d++) {
        items *= span->local[d]; /* divides the range, which fits */
        if (!pel_mul_u64(groups, span->global[d] / span->local[d], &groups)) {
            groups = UINT64_MAX;
        }
    }
    const uint64_t largest = l->bound->kernel->largest_group[l->device->index];
    if (largest != 0 && items > largest) {
        pel_text_format(&l->why, "work-groups of %" PRIu64 " items; it takes at most %" PRIu64 "%s", items, largest,
                        largest < l->info->max_work_group ? " of this kernel" : "");
        return false;
    }
    const char *why = l->info->kind == PEL_DEVICE_OPENCL && groups > MOST_GROUPS ? why_uncuttable(l) : NULL;
    if (why) {
        pel_text_format(&l->why, "more work-groups than the 2^32 - 1 that it takes at once, and it cannot be cut: %s", why);
    }
    return !why;
}

const char *pel_launch_exclusion(const pel_bound *bound, const pel_device *device, char **text) {
    const pel_kernel *kernel = bound->kernel;
    limits l = {.bound = bound, .device = device, .info = &device->facts->info};
    if (!pel_health_usable(device)) {
        const char *why = pel_health_exclusion(device, text);
        if (why) {
            return why;
        }
    }
    if (bound->avoid == device->index + 1u) {
        return "it failed this launch";
    }
    if (kernel->not_on && kernel->not_on[device->index]) {
        return kernel->not_on[device->index];
    }
    if (device->facts->info.kind == PEL_DEVICE_HOST) {
        return NULL;
    }
    pel_text_init(&l.why, &device->runtime->allocator);
    bool able = check_memory(&l) && check_views(&l) && check_local_memory(&l) && check_groups(&l);
    *text = able ? NULL : pel_text_take(&l.why);
    return able ? NULL : *text ? *text : "beyond what it takes; no memory to say which limit";
}
