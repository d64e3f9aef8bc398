/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A launch whose working set is beyond a device's memory goes through it in steps.
 *
 * Whatever a kernel was declared to touch in a part of its range is known, so a step needs windows of its buffers only, and the
 * kernel gets pointers that lie before them by as much as the windows begin within the buffers (DESIGN "Addressing contract"; the
 * driver has to agree, pel_backend.windows). Inputs come from host memory and outputs go back there, step by step, beside the
 * computing of other steps. The invariant: while a launch streams, host memory is where its windowed bytes are valid, before and
 * after; windows are nobody's place. Rejected: keeping what the last steps left on the device for the next launch, because a
 * working set that is larger than the memory has pushed it out before the next launch asks for it, and paging with whole-buffer
 * addresses, which no portable OpenCL has. Arguments that every item may touch (whole, undeclared) are there whole.
 */
#include "queue/stream.h"
#include "base/checked.h"
#include "base/text.h"
#include "queue/stream_shape.h"
#include "queue/transfers.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define STEP_NS 6000.0 /* what a step's launch costs behind others in a queue: 3 to 8 us on discrete devices */

struct pel_stream {
    pel_stream_shape shape;
    pel_mem **windows;         /* slot * group_count + group */
    pel_step *steps;
    pel_work_arg *args;        /* step_count * arg_count */
    uint64_t reserved;         /* of the device's memory */
};

/* ---- whether ---- */

static bool counted_before(const pel_bound *bound, uint32_t arg) {
    for (uint32_t j = 0; j < arg; j++) {
        if (bound->args[j].allocation == bound->args[arg].allocation) {
            return true;
        }
    }
    return false;
}

static bool too_large_for(const pel_device *device, uint64_t bytes) {
    const pel_device_info *info = &device->facts->info;
    return (info->max_allocation_bytes != 0 && bytes > info->max_allocation_bytes) ||
           (info->memory_bytes != 0 && bytes > info->memory_bytes);
}

bool pel_stream_needed(const pel_bound *bound, const pel_device *device) {
    uint64_t sum = 0;
    if (device->place == 0) {
        return false;
    }
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_allocation *a = bound->args[i].allocation;
        if (a && !counted_before(bound, i) && (too_large_for(device, a->bytes) || !pel_add_u64(sum, a->bytes, &sum))) {
            return true;
        }
    }
    return device->facts->info.memory_bytes != 0 && sum > device->facts->info.memory_bytes;
}

bool pel_stream_windowed(const pel_bound *bound, uint32_t arg) {
    switch (bound->args[arg].param) {
    case PEL_PARAM_KIND_ELEMENTWISE:
    case PEL_PARAM_KIND_BLOCK:
    case PEL_PARAM_KIND_CUSTOM:
    case PEL_PARAM_KIND_PER_GROUP: return bound->args[arg].allocation != NULL;
    default: return false;
    }
}

void pel_stream_ask(pel_runtime *runtime, pel_bound *bound) {
    uint64_t cannot = 0; /* of those that have a bit together, all must */
    for (uint32_t d = 0; d < runtime->device_count; d++) {
        const pel_device *device = &runtime->devices[d];
        const pel_backend *backend = device->driver->backend;
        const char *why = "its driver cannot give a kernel parts of its buffers";
        if (pel_stream_needed(bound, device)) { /* sizes of allocations only grow, and a wrong answer is found again later */
            const bool can = backend->windows && backend->windows(device->driver, &bound->kernel->image, &why);
            cannot |= can ? 0 : pel_device_bit(device);
            bound->windows |= pel_device_bit(device);
            bound->no_windows = can ? bound->no_windows : why;
        }
    }
    bound->windows &= ~cannot;
}

/* What is on the device whole while the launch streams. */
static uint64_t whole_bytes(const pel_bound *bound) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        bool seen = false;
        for (uint32_t j = 0; j < i && arg->allocation && !pel_stream_windowed(bound, i); j++) {
            seen = seen || (bound->args[j].allocation == arg->allocation && !pel_stream_windowed(bound, j));
        }
        if (arg->allocation && !pel_stream_windowed(bound, i) && !seen) {
            const pel_param *param = &bound->kernel->image.params[i];
            uint64_t bytes = arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE ? param->num * param->bytes : arg->allocation->bytes;
            sum = pel_add_u64(sum, bytes, &sum) ? sum : UINT64_MAX;
        }
    }
    return sum;
}

static double moving_bytes(const pel_bound *bound, const pel_span *span) {
    pel_footprint footprint = {0};
    double bytes = 0;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (pel_stream_windowed(bound, i) && pel_footprint_query(bound, span, i, &footprint) == PEL_OK) {
            for (uint32_t k = 0; k < footprint.reads.count; k++) {
                bytes += (double)(footprint.reads.data[k].hi - footprint.reads.data[k].lo);
            }
            for (uint32_t k = 0; k < footprint.writes.count; k++) {
                bytes += (double)(footprint.writes.data[k].hi - footprint.writes.data[k].lo);
            }
        }
    }
    pel_footprint_free(&bound->kernel->runtime->allocator, &footprint);
    return bytes;
}

static pel_stream_room room_of(const pel_bound *bound, const pel_device *device, const pel_span *span, uint64_t taken) {
    const pel_device_info *info = &device->facts->info;
    const uint64_t all = info->memory_bytes != 0 ? info->memory_bytes : UINT64_MAX;
    return (pel_stream_room){.bytes = all > taken ? all - taken : 0,
                             .largest = info->max_allocation_bytes,
                             .fixed_ns = fmax(STEP_NS, pel_link_latency_ns(device)), /* they run beside each other */
                             .moving_ns = moving_bytes(bound, span) / pel_link_bytes_per_ns(device)};
}

/* The conflict rule for steps, as for chunks: a step must not read what another wrote. NULL: kept. */
static char *conflict_of(const pel_bound *bound, const pel_stream_shape *shape, uint64_t lo, uint64_t hi) {
    const pel_allocator *allocator = shape->allocator;
    char *why = NULL;
    uint64_t *cuts = pel_alloc(allocator, (shape->step_count + 1u) * sizeof *cuts);
    for (uint32_t s = 0; cuts && s < shape->step_count; s++) {
        pel_stream_step(shape, lo, hi, s, &cuts[s], &cuts[s + 1]);
    }
    if (!cuts || (pel_conflict_check(bound, cuts, shape->step_count, &why) != PEL_OK && !why)) {
        why = pel_strdup(allocator, "no memory to check its parts for conflicts");
        why = why ? why : pel_strdup(allocator, "");
    }
    pel_free(allocator, cuts);
    return why;
}

char *pel_stream_refusal(const pel_bound *bound, const pel_device *device) {
    const pel_allocator *allocator = &device->runtime->allocator;
    const pel_device_info *info = &device->facts->info;
    pel_stream_shape shape = {0};
    pel_text why;
    const bool can = (bound->windows & pel_device_bit(device)) != 0;
    const char *reason = bound->single ? bound->single : can ? NULL : bound->no_windows;
    uint64_t whole = whole_bytes(bound);
    char *conflict = NULL;
    pel_status status = PEL_OK;
    if (!reason) {
        const pel_stream_room room = room_of(bound, device, &bound->span, whole);
        status = pel_stream_shape_make(bound, 0, bound->units, &room, &shape);
        conflict = status == PEL_OK ? conflict_of(bound, &shape, 0, bound->units) : NULL;
        reason = status == PEL_OK ? conflict : status == PEL_OUT_OF_MEMORY ? "no memory to look into it" : NULL;
    }
    if (status == PEL_OK && !reason) {
        pel_stream_shape_free(&shape);
        return NULL;
    }
    pel_text_init(&why, allocator);
    if (reason) {
        pel_text_format(&why,
                        "its buffers do not fit whole (%" PRIu64 " bytes of memory, %" PRIu64
                        " at once at most), and it cannot go through in parts: %s",
                        info->memory_bytes, info->max_allocation_bytes, reason);
    } else {
        pel_text_format(&why,
                        "even its smallest part needs %" PRIu64 " bytes, besides %" PRIu64
                        " that every part needs whole; the device has %" PRIu64 ", and allocates %" PRIu64 " at once at most",
                        shape.bytes, whole, info->memory_bytes, info->max_allocation_bytes);
    }
    pel_stream_shape_free(&shape);
    pel_free(allocator, conflict);
    char *text = pel_text_take(&why);
    return text ? text : pel_strdup(allocator, "");
}

/* ---- steps ---- */

typedef struct builder {
    pel_job *job;
    struct pel_stream *stream;
    pel_uses reads, writes; /* of one group in one step */
    pel_footprint footprint;
} builder;

static pel_status add_intervals(builder *b, const pel_bound_arg *arg, const pel_intervals *list, pel_uses *uses) {
    const pel_use one = {.allocation = arg->allocation};
    for (uint32_t k = 0; k < list->count; k++) {
        pel_use use = one;
        use.lo = arg->offset + list->data[k].lo;
        use.hi = arg->offset + list->data[k].hi;
        if (!pel_uses_append(&b->job->command->runtime->allocator, uses, use)) {
            return PEL_OUT_OF_MEMORY;
        }
    }
    return PEL_OK;
}

static pel_status note_all(const pel_allocator *allocator, pel_uses *list, const pel_uses *from) {
    for (uint32_t i = 0; i < from->count; i++) {
        if (!pel_uses_append(allocator, list, from->data[i])) {
            return PEL_OUT_OF_MEMORY;
        }
    }
    return PEL_OK;
}

/* Bytes between those that are asked for: nobody computes on them, so whatever the host's memory holds there will do. */
static bool any_gap(void *user, uint64_t lo, uint64_t hi) {
    (void)user, (void)lo, (void)hi;
    return true;
}

/* The transfers of one group in one step, and what they mean. */
static pel_status add_group(builder *b, pel_step *step, const pel_span *span, uint32_t group, pel_mem *mem,
                            const pel_window_range *range) {
    pel_job *job = b->job;
    const pel_bound *bound = &job->command->bound;
    const pel_allocator *allocator = &job->command->runtime->allocator;
    pel_transfer *in = NULL, *out = NULL;
    pel_status status = PEL_OK;
    b->reads.count = b->writes.count = 0;
    for (uint32_t i = 0; i < bound->arg_count && status == PEL_OK; i++) {
        if (b->stream->shape.group[i] == group) {
            status = pel_footprint_query(bound, span, i, &b->footprint);
            status = status == PEL_OK ? add_intervals(b, &bound->args[i], &b->footprint.reads, &b->reads) : status;
            status = status == PEL_OK ? add_intervals(b, &bound->args[i], &b->footprint.writes, &b->writes) : status;
        }
    }
    b->reads.count = pel_uses_merge(b->reads.data, b->reads.count);
    b->writes.count = pel_uses_merge(b->writes.data, b->writes.count);
    if (status == PEL_OK) {
        in = (pel_transfer *)(uintptr_t)step->in;
        status =
            pel_transfers_append(job->device, b->reads.data, b->reads.count, mem, range->lo, any_gap, NULL, &in, &step->in_count);
        step->in = in;
    }
    if (status == PEL_OK) {
        out = (pel_transfer *)(uintptr_t)step->out;
        status = pel_transfers_append(job->device, b->writes.data, b->writes.count, mem, range->lo, NULL, NULL, &out,
                                      &step->out_count);
        step->out = out;
    }
    status = status == PEL_OK ? note_all(allocator, &job->streamed_in, &b->reads) : status;
    return status == PEL_OK ? note_all(allocator, &job->written_home, &b->writes) : status;
}

static pel_status build_step(builder *b, uint32_t index) {
    pel_job *job = b->job;
    struct pel_stream *stream = b->stream;
    const pel_stream_shape *shape = &stream->shape;
    const pel_bound *bound = &job->command->bound;
    pel_step *step = &stream->steps[index];
    pel_work_arg *args = &stream->args[(size_t)index * bound->arg_count];
    pel_mem **windows = &stream->windows[(size_t)(index % shape->depth) * shape->group_count];
    const pel_window_range *ranges = &shape->ranges[(size_t)index * shape->group_count];
    uint64_t from, to;
    pel_status status = PEL_OK;
    pel_stream_step(shape, job->lo, job->hi, index, &from, &to);
    pel_bound_span(bound, from, to, &step->span);
    memcpy(args, job->args, bound->arg_count * sizeof *args);
    step->args = args;
    for (uint32_t g = 0; g < shape->group_count && status == PEL_OK; g++) {
        status = ranges[g].hi != 0 ? add_group(b, step, &step->span, g, windows[g], &ranges[g]) : PEL_OK;
    }
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (shape->group[i] != PEL_NO_WINDOW) {
            args[i].mem = windows[shape->group[i]];
            /* modulo 2^64: the window may begin before the argument */
            args[i].rebase = ranges[shape->group[i]].lo - bound->args[i].offset;
        }
    }
    return status;
}

static pel_status make_windows(pel_job *job, struct pel_stream *stream, pel_error **error) {
    pel_device *device = job->device;
    const pel_stream_shape *shape = &stream->shape;
    pel_status status = pel_device_reserve(device, shape->bytes, error);
    if (status != PEL_OK) {
        return status;
    }
    stream->reserved = shape->bytes;
    device->windows += shape->bytes;
    for (uint32_t w = 0; w < shape->depth * shape->group_count && status == PEL_OK; w++) {
        const uint64_t bytes = shape->sizes[w % shape->group_count];
        /* Mirrors nothing: each transfer names its host memory. */
        status =
            bytes > 0 ? device->driver->backend->mem_create(device->driver, NULL, bytes, &stream->windows[w], error) : PEL_OK;
    }
    return status;
}

static pel_status refuse_conflict(const pel_job *job, const char *conflict, pel_error **error) {
    return pel_fail(error, &job->command->runtime->allocator, PEL_CONFLICT, NULL, "%s cannot go through %s in parts: %s",
                    job->command->bound.kernel->image.name, job->device->facts->info.id, conflict);
}

static pel_status shape_for(pel_job *job, pel_stream_shape *shape, pel_error **error) {
    const pel_bound *bound = &job->command->bound;
    const pel_stream_room room = room_of(bound, job->device, &job->work.span, pel_device_held_bytes(job->device));
    pel_status status = pel_stream_shape_make(bound, job->lo, job->hi, &room, shape);
    if (status != PEL_OK) {
        pel_story story = {.device = job->device->facts->info.id,
                           .advice = "wait for commands that use the device, or split the range"};
        return pel_fail(error, &job->command->runtime->allocator, status == PEL_TOO_LARGE ? PEL_DEVICE_MEMORY : status, &story,
                        "%s: the smallest part needs %" PRIu64 " bytes of %s, which has %" PRIu64 " free just now",
                        bound->kernel->image.name, shape->bytes, job->device->facts->info.id, room.bytes);
    }
    char *conflict = conflict_of(bound, shape, job->lo, job->hi);
    status = conflict ? refuse_conflict(job, conflict, error) : PEL_OK;
    pel_free(shape->allocator, conflict);
    return status;
}

pel_status pel_stream_build(pel_job *job, pel_error **error) {
    const pel_allocator *allocator = &job->command->runtime->allocator;
    const uint32_t args = job->command->bound.arg_count;
    struct pel_stream *stream = pel_alloc_zero(allocator, 1, sizeof *stream);
    if (!stream) {
        return PEL_OUT_OF_MEMORY;
    }
    job->stream = stream;
    pel_status status = shape_for(job, &stream->shape, error);
    if (status != PEL_OK) {
        return status;
    }
    const pel_stream_shape *shape = &stream->shape;
    stream->windows = pel_alloc_zero(allocator, (size_t)shape->depth * shape->group_count + 1, sizeof(pel_mem *));
    stream->steps = pel_alloc_zero(allocator, shape->step_count + 1u, sizeof *stream->steps);
    stream->args = pel_alloc_zero(allocator, (size_t)shape->step_count * args + 1, sizeof *stream->args);
    status = stream->windows && stream->steps && stream->args ? make_windows(job, stream, error) : PEL_OUT_OF_MEMORY;
    builder b = {.job = job, .stream = stream};
    for (uint32_t s = 0; s < shape->step_count && status == PEL_OK; s++) {
        status = build_step(&b, s);
    }
    pel_uses_free(allocator, &b.reads);
    pel_uses_free(allocator, &b.writes);
    pel_footprint_free(allocator, &b.footprint);
    job->work.steps = stream->steps;
    job->work.step_count = shape->step_count;
    job->work.step_depth = shape->depth;
    job->work.chunked = true;
    return status;
}

uint64_t pel_stream_bytes(const pel_job *job, bool in) {
    uint64_t bytes = 0;
    for (uint32_t s = 0; s < job->work.step_count; s++) {
        const pel_step *step = &job->work.steps[s];
        bytes += in ? pel_transfers_bytes(step->in, step->in_count) : pel_transfers_bytes(step->out, step->out_count);
    }
    return bytes;
}

void pel_stream_free(pel_job *job) {
    struct pel_stream *stream = job->stream;
    if (!stream) {
        return;
    }
    const pel_allocator *allocator = &job->command->runtime->allocator;
    const pel_stream_shape *shape = &stream->shape;
    for (uint32_t s = 0; stream->steps && s < shape->step_count; s++) {
        pel_free(allocator, (void *)(uintptr_t)stream->steps[s].in);
        pel_free(allocator, (void *)(uintptr_t)stream->steps[s].out);
    }
    for (uint32_t w = 0; stream->windows && w < shape->depth * shape->group_count; w++) {
        if (stream->windows[w]) {
            if (job->work.sensitive) {
                pel_device_wipe(job->device, stream->windows[w]);
            }
            job->device->driver->backend->mem_destroy(job->device->driver, stream->windows[w]);
        }
    }
    pel_device_unreserve(job->device, stream->reserved);
    job->device->windows -= stream->reserved;
    pel_restart_stalled(job->command->runtime);
    pel_free(allocator, stream->windows);
    pel_free(allocator, stream->steps);
    pel_free(allocator, stream->args);
    pel_stream_shape_free(&stream->shape);
    pel_free(allocator, stream);
    job->stream = NULL;
}
