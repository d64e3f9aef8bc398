/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Binding: from what the caller wrote to a launch with everything checked and copied.
 *
 * All that can be wrong with a launch is found here, before anything is submitted, because only here can the message still name
 * the argument in the caller's terms. What is bound needs nothing of the caller's any more: values are copied into one block,
 * buffers are resolved to allocations and held. Rejected: checking per chunk, when half of a launch may have run.
 */
#include "base/checked.h"
#include "kernel/declaration.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define VALUE_ALIGNMENT 64 /* of the largest OpenCL vector types, double8 and up */

typedef struct binder {
    pel_kernel *kernel;
    const pel_allocator *allocator;
    pel_bound *bound;
    pel_error **error;
} binder;

#define FAIL(b, status, ...) pel_fail((b)->error, (b)->allocator, status, NULL, __VA_ARGS__)

/* --- the range --- */

static pel_status bind_global(const binder *b, const pel_launch_desc *desc) {
    pel_span *span = &b->bound->span;
    uint32_t dims = 3;
    while (dims > 0 && desc->global[dims - 1] == 0) {
        dims--;
    }
    uint64_t items = 1;
    for (uint32_t d = 0; d < 3; d++) {
        span->global[d] = d < dims ? desc->global[d] : 1;
        span->lo[d] = 0;
        span->hi[d] = span->global[d];
        if (d < dims && desc->global[d] == 0) {
            return FAIL(b, PEL_INVALID_ARGUMENT, "the global range has 0 items in dimension %u of %u", d, dims);
        }
        if (!pel_mul_u64(items, span->global[d], &items)) {
            return FAIL(b, PEL_TOO_LARGE, "the global range %" PRIu64 " x %" PRIu64 " x %" PRIu64 " has more than 2^64 items",
                        desc->global[0], desc->global[1], desc->global[2]);
        }
    }
    if (dims == 0) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "the global range is empty: global[0] is 0");
    }
    uint32_t split = b->kernel->split_dimension;
    if (split > dims) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "kernel %s is split along dimension %u, but the launch has %u dimension%s",
                    b->kernel->image.name, split - 1, dims, dims == 1 ? "" : "s");
    }
    span->dims = dims;
    span->split = split == 0 ? dims - 1 : split - 1;
    b->bound->units = span->global[span->split];
    return PEL_OK;
}

static pel_status bind_offset(const binder *b, const pel_launch_desc *desc) {
    pel_span *span = &b->bound->span;
    for (uint32_t d = 0; d < 3; d++) {
        uint64_t end;
        if (d >= span->dims && desc->offset[d] != 0) {
            return FAIL(b, PEL_INVALID_ARGUMENT, "offset[%u] is %" PRIu64 ", but the launch has %u dimension%s", d,
                        desc->offset[d], span->dims, span->dims == 1 ? "" : "s");
        }
        if (!pel_add_u64(desc->offset[d], span->global[d], &end)) {
            return FAIL(b, PEL_TOO_LARGE, "offset[%u] + global[%u] is beyond 2^64: %" PRIu64 " + %" PRIu64, d, d, desc->offset[d],
                        span->global[d]);
        }
        span->offset[d] = desc->offset[d];
    }
    return PEL_OK;
}

/*
 * Patterns count items from 0, get_global_id from the offset: source that never asks for the offset touches other bytes than it
 * declares. Host variants get ids that begin at 0, and custom functions get both.
 */
static pel_status check_offset(const binder *b) {
    const pel_kernel *kernel = b->kernel;
    const pel_span *span = &b->bound->span;
    const bool moved = (span->offset[0] | span->offset[1] | span->offset[2]) != 0;
    if (!moved || !kernel->image.entry || kernel->program->knows_offset || (kernel->image.flags & PEL_KERNEL_CHUNK_SAFE) != 0) {
        return PEL_OK;
    }
    for (uint32_t i = 0; i < kernel->image.param_count; i++) {
        const pel_param_kind kind = kernel->image.params[i].kind;
        if (kind == PEL_PARAM_KIND_ELEMENTWISE || (kind == PEL_PARAM_KIND_BLOCK && span->offset[span->split] != 0)) {
            const pel_story story = {
                .advice = "pass parts of the buffers (pel_buf_range) instead of an offset, let the source subtract "
                          "get_global_offset, or declare the parameter PEL_PARAM_CUSTOM"};
            return pel_fail(b->error, b->allocator, PEL_INVALID_ARGUMENT, &story,
                            "kernel %s: parameter %u is declared %s, which counts from 0, but the launch has an offset (%" PRIu64
                            ", %" PRIu64 ", %" PRIu64 "), which get_global_id contains, and the source never asks for it",
                            kernel->image.name, i, pel_param_kind_name(kind), span->offset[0], span->offset[1], span->offset[2]);
        }
    }
    return PEL_OK;
}

/* The largest work-group that any device of this kernel takes; 0: not known. */
static uint64_t largest_work_group(const pel_kernel *kernel) {
    uint64_t largest = 0;
    for (uint32_t i = 0; i < kernel->runtime->device_count; i++) {
        uint64_t limit = kernel->largest_group[i];
        if (!kernel->not_on[i]) {
            if (limit == 0) {
                return 0;
            }
            largest = limit > largest ? limit : largest;
        }
    }
    return largest;
}

static pel_status bind_local(const binder *b, const pel_launch_desc *desc) {
    pel_span *span = &b->bound->span;
    uint64_t items = 1;
    if (desc->local[0] == 0 && desc->local[1] == 0 && desc->local[2] == 0) {
        return PEL_OK;
    }
    for (uint32_t d = 0; d < 3; d++) {
        bool present = d < span->dims;
        if (present ? desc->local[d] == 0 : desc->local[d] > 1) {
            return FAIL(b, PEL_INVALID_ARGUMENT, "local[%u] is %" PRIu64 ", but the launch has %u dimension%s", d, desc->local[d],
                        span->dims, span->dims == 1 ? "" : "s");
        }
        span->local[d] = present ? desc->local[d] : 1;
        if (span->global[d] % span->local[d] != 0) {
            pel_story story = {
                .advice = "round the global size up, and buffers that are declared item by item, and let the kernel ignore the "
                          "items beyond; or leave local all zero"};
            return pel_fail(b->error, b->allocator, PEL_INVALID_ARGUMENT, &story,
                            "local[%u] = %" PRIu64 " does not divide global[%u] = %" PRIu64, d, span->local[d], d,
                            span->global[d]);
        }
        items *= span->local[d]; /* divides the global range, which fits */
        span->group_lo[d] = 0;
        span->group_hi[d] = span->global[d] / span->local[d];
    }
    uint64_t largest = largest_work_group(b->kernel);
    if (largest != 0 && items > largest) {
        return FAIL(b, PEL_INVALID_ARGUMENT,
                    "a work-group of %" PRIu64 " items is beyond every device of kernel %s; the largest is %" PRIu64, items,
                    b->kernel->image.name, largest);
    }
    return PEL_OK;
}

static pel_status check_shares(const binder *b, const pel_launch_desc *desc) {
    const pel_runtime *runtime = b->kernel->runtime;
    double sum = 0;
    if (desc->share_count > 0 && !desc->shares) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "share_count is %u, but shares is NULL", desc->share_count);
    }
    for (uint32_t i = 0; i < desc->share_count; i++) {
        const pel_share *share = &desc->shares[i];
        bool known = false;
        for (uint32_t d = 0; d < runtime->device_count && !known; d++) {
            known = share->device == &runtime->devices[d];
        }
        if (!known) {
            return FAIL(b, PEL_INVALID_ARGUMENT, "share %u names a device that is not of this runtime", i);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (desc->shares[j].device == share->device) {
                return FAIL(b, PEL_INVALID_ARGUMENT, "shares %u and %u name the same device, %s", j, i,
                            share->device->facts->info.id);
            }
        }
        if (!isfinite(share->weight) || share->weight < 0) {
            return FAIL(b, PEL_INVALID_ARGUMENT, "the weight of share %u (%s) is negative or not finite", i,
                        share->device->facts->info.id);
        }
        sum += share->weight;
    }
    if (desc->share_count > 0 && !(sum > 0 && isfinite(sum))) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "the weights of the shares do not sum to a positive finite number");
    }
    return PEL_OK;
}

static pel_status check_desc(const binder *b, const pel_launch_desc *desc) {
    if (desc->size != 0 && desc->size != sizeof *desc) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "pel_launch_desc.size is %zu; this library knows %zu", desc->size, sizeof *desc);
    }
    if ((int)desc->protection < PEL_PROTECT_DEFAULT || (int)desc->protection > PEL_PROTECT_ISOLATE) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "unknown protection %d", (int)desc->protection);
    }
    if (desc->wait_count > 0 && !desc->waits) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "wait_count is %u, but waits is NULL", desc->wait_count);
    }
    for (uint32_t i = 0; i < desc->wait_count; i++) {
        if (!desc->waits[i]) {
            return FAIL(b, PEL_INVALID_ARGUMENT, "waits[%u] is NULL", i);
        }
    }
    return check_shares(b, desc);
}

/* --- the arguments --- */

static const char *arg_kind_name(uint32_t kind) {
    static const char *const names[] = {"null",           "a value",      "a struct", "a buffer",
                                        "a buffer range", "local memory", "an image", "a sampler"};
    return kind < sizeof names / sizeof names[0] ? names[kind] : "of an unknown kind";
}

static pel_status wrong_kind(const binder *b, uint32_t index, const pel_arg *arg) {
    return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u of kernel %s is %s, but parameter %u is declared %s", index,
                b->kernel->image.name, arg_kind_name(arg->kind), index, pel_param_kind_name(b->kernel->image.params[index].kind));
}

static pel_status check_value(const binder *b, uint32_t index, const pel_arg *arg) {
    const pel_param *param = &b->kernel->image.params[index];
    if (arg->kind != PEL_ARG_VALUE && arg->kind != PEL_ARG_STRUCT) {
        return wrong_kind(b, index, arg);
    }
    if (arg->bytes != param->bytes) {
        return FAIL(b, PEL_INVALID_ARGUMENT,
                    "argument %u of kernel %s has %" PRIu64 " bytes, but parameter %u is a value of %" PRIu64, index,
                    b->kernel->image.name, arg->bytes, index, param->bytes);
    }
    if (arg->kind == PEL_ARG_VALUE && arg->bytes > sizeof arg->u.value) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u: an inline value has %zu bytes at most; use pel_struct", index,
                    sizeof arg->u.value);
    }
    if (arg->kind == PEL_ARG_STRUCT && !arg->u.pointer) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u: the struct's pointer is NULL", index);
    }
    return PEL_OK;
}

static pel_status check_buffer(const binder *b, uint32_t index, const pel_arg *arg) {
    if (arg->kind == PEL_ARG_NULL) {
        return PEL_OK;
    }
    if (arg->kind != PEL_ARG_BUFFER && arg->kind != PEL_ARG_RANGE) {
        return wrong_kind(b, index, arg);
    }
    const pel_buffer *buffer = arg->u.range.buffer;
    if (!buffer) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u: the buffer is NULL; use pel_null() for a null pointer", index);
    }
    if (buffer->runtime != b->kernel->runtime) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u: the buffer belongs to another runtime", index);
    }
    if (arg->kind == PEL_ARG_RANGE && (arg->bytes == 0 || !pel_range_within(arg->u.range.offset, arg->bytes, buffer->bytes))) {
        return FAIL(b, PEL_INVALID_ARGUMENT,
                    "argument %u: %" PRIu64 " bytes from byte %" PRIu64 " on are not a part of the buffer's %" PRIu64, index,
                    arg->bytes, arg->u.range.offset, buffer->bytes);
    }
    return PEL_OK;
}

static pel_status check_arg(const binder *b, uint32_t index, const pel_arg *arg) {
    if (arg->kind == PEL_ARG_IMAGE || arg->kind == PEL_ARG_SAMPLER) {
        return FAIL(b, PEL_UNSUPPORTED, "argument %u: images and samplers are not supported yet; use a buffer", index);
    }
    switch (b->kernel->image.params[index].kind) {
    case PEL_PARAM_KIND_VALUE:
        return check_value(b, index, arg);
    case PEL_PARAM_KIND_LOCAL:
        if (arg->kind != PEL_ARG_LOCAL) {
            return wrong_kind(b, index, arg);
        }
        return arg->bytes > 0 ? PEL_OK : FAIL(b, PEL_INVALID_ARGUMENT, "argument %u: local memory of 0 bytes", index);
    case PEL_PARAM_KIND_CANCEL:
        return arg->kind == PEL_ARG_NULL ? PEL_OK : wrong_kind(b, index, arg);
    case PEL_PARAM_KIND_POINTER:
    case PEL_PARAM_KIND_ELEMENTWISE:
    case PEL_PARAM_KIND_BLOCK:
    case PEL_PARAM_KIND_WHOLE:
    case PEL_PARAM_KIND_PER_GROUP:
    case PEL_PARAM_KIND_REDUCE_PRIVATE:
    case PEL_PARAM_KIND_CUSTOM:
        break;
    }
    return check_buffer(b, index, arg);
}

/* Local memory must fit at least one device, or the launch can run nowhere (PoCL aborts the process instead of refusing). */
static pel_status check_local_memory(const binder *b, const pel_arg *args, uint32_t count) {
    uint64_t sum = 0, largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].kind == PEL_ARG_LOCAL && !pel_add_u64(sum, args[i].bytes, &sum)) {
            return FAIL(b, PEL_TOO_LARGE, "the local memory of the arguments exceeds 2^64 bytes");
        }
    }
    if (sum == 0) {
        return PEL_OK;
    }
    for (uint32_t i = 0; i < b->kernel->runtime->device_count; i++) {
        uint64_t limit = b->kernel->runtime->devices[i].facts->info.local_memory_bytes;
        if (!b->kernel->not_on[i]) {
            if (limit == 0) {
                return PEL_OK;
            }
            largest = limit > largest ? limit : largest;
        }
    }
    return sum <= largest ? PEL_OK
                          : FAIL(b, PEL_TOO_LARGE,
                                 "%" PRIu64 " bytes of local memory are beyond every device of kernel %s; the most is %" PRIu64,
                                 sum, b->kernel->image.name, largest);
}

/* One block: the argument table, the table of values, then the values themselves, each aligned for any OpenCL type. */
static pel_status allocate_storage(const binder *b, const pel_arg *args, uint32_t count, unsigned char **values) {
    uint64_t tables, bytes;
    if (!pel_mul_u64(count, sizeof(pel_bound_arg) + sizeof(void *), &tables) ||
        !pel_add_u64(tables, 2 * VALUE_ALIGNMENT, &bytes)) {
        return PEL_TOO_LARGE;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (b->kernel->image.params[i].kind == PEL_PARAM_KIND_VALUE &&
            !(pel_add_u64(bytes, args[i].bytes, &bytes) && pel_add_u64(bytes, VALUE_ALIGNMENT, &bytes))) {
            return FAIL(b, PEL_TOO_LARGE, "argument %u: a value of %" PRIu64 " bytes", i, args[i].bytes);
        }
    }
    size_t size;
    unsigned char *block = pel_u64_to_size(bytes, &size) ? pel_alloc(b->allocator, size) : NULL;
    if (!block) {
        return FAIL(b, PEL_OUT_OF_MEMORY, "no memory for the %u arguments of kernel %s", count, b->kernel->image.name);
    }
    memset(block, 0, (size_t)tables);
    b->bound->storage = block;
    b->bound->args = (pel_bound_arg *)(void *)block;
    b->bound->values = (const void **)(void *)(block + count * sizeof(pel_bound_arg));
    uintptr_t first = (uintptr_t)(block + tables);
    *values = block + tables + (VALUE_ALIGNMENT - first % VALUE_ALIGNMENT) % VALUE_ALIGNMENT;
    return PEL_OK;
}

static void copy_values(const binder *b, const pel_arg *args, uint32_t count, unsigned char *values) {
    for (uint32_t i = 0; i < count; i++) {
        pel_bound_arg *to = &b->bound->args[i];
        to->kind = (pel_arg_kind)args[i].kind;
        to->param = b->kernel->image.params[i].kind;
        to->bytes = args[i].kind == PEL_ARG_NULL ? 0 : args[i].bytes;
        if (to->param == PEL_PARAM_KIND_VALUE) {
            const void *from = args[i].kind == PEL_ARG_VALUE ? (const void *)args[i].u.value : args[i].u.pointer;
            memcpy(values, from, (size_t)args[i].bytes);
            to->value = values;
            b->bound->values[i] = values;
            values += (args[i].bytes + VALUE_ALIGNMENT - 1) / VALUE_ALIGNMENT * VALUE_ALIGNMENT;
        }
    }
}

static void hold_buffers(const binder *b, const pel_arg *args, uint32_t count) {
    pthread_mutex_lock(&b->kernel->runtime->lock);
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].kind != PEL_ARG_BUFFER && args[i].kind != PEL_ARG_RANGE) {
            continue;
        }
        pel_buffer *buffer = args[i].u.range.buffer;
        pel_bound_arg *to = &b->bound->args[i];
        bool part = args[i].kind == PEL_ARG_RANGE;
        to->buffer = buffer;
        to->bytes = part ? args[i].bytes : buffer->bytes;
        to->allocation = buffer->allocation;
        to->offset = buffer->offset + (part ? args[i].u.range.offset : 0);
        pel_allocation_retain(to->allocation);
    }
    pthread_mutex_unlock(&b->kernel->runtime->lock);
}

/* --- declared accesses against sizes --- */

static pel_status needs(const binder *b, uint32_t index, unsigned __int128 bytes) {
    const pel_bound_arg *arg = &b->bound->args[index];
    const pel_param *param = &b->kernel->image.params[index];
    if (bytes <= arg->bytes) {
        return PEL_OK;
    }
    const char *what = arg->kind == PEL_ARG_RANGE ? "range" : "buffer";
    pel_story story = {.advice = "make the buffer larger, the launch smaller, or correct the declaration"};
    if (bytes > UINT64_MAX) {
        return pel_fail(b->error, b->allocator, PEL_TOO_LARGE, &story,
                        "argument %u of kernel %s (%s, %s): needs more than 2^64 bytes, the %s has %" PRIu64, index,
                        b->kernel->image.name, pel_param_kind_name(param->kind), pel_access_mode_name(param->mode), what,
                        arg->bytes);
    }
    return pel_fail(b->error, b->allocator, PEL_TOO_LARGE, &story,
                    "argument %u of kernel %s (%s, %s, elements of %" PRIu64 " bytes): needs %" PRIu64
                    " bytes, the %s has %" PRIu64,
                    index, b->kernel->image.name, pel_param_kind_name(param->kind), pel_access_mode_name(param->mode),
                    param->bytes, (uint64_t)bytes, what, arg->bytes);
}

static unsigned __int128 product(uint64_t a, uint64_t b) {
    return (unsigned __int128)a * b;
}

/* a * b, or 2^127 where that would not fit: larger than any buffer either way. */
static unsigned __int128 saturating(unsigned __int128 a, uint64_t b) {
    const unsigned __int128 limit = (unsigned __int128)1 << 127;
    return b != 0 && a > limit / b ? limit : a * b;
}

static pel_status check_elementwise(const binder *b, uint32_t index) {
    const pel_param *param = &b->kernel->image.params[index];
    const pel_span *span = &b->bound->span;
    uint64_t items = span->global[0] * span->global[1] * span->global[2];
    unsigned __int128 scaled = product(items, param->num);
    return needs(b, index, saturating(scaled / param->den + (scaled % param->den != 0), param->bytes));
}

static pel_status check_block(const binder *b, uint32_t index) {
    uint64_t pitch;
    if (!pel_block_pitch(b->bound, index, &pitch)) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u of kernel %s (block): its pitch is %s", index, b->kernel->image.name,
                    b->kernel->image.params[index].pitch_argument != 0 ? "0 or beyond 2^64 bytes; look at the pitch argument"
                                                                       : "beyond 2^64 bytes");
    }
    return needs(b, index, product(b->bound->units, pitch));
}

static pel_status check_per_group(const binder *b, uint32_t index) {
    const pel_param *param = &b->kernel->image.params[index];
    const pel_span *span = &b->bound->span;
    if (span->local[0] == 0) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "argument %u of kernel %s is declared per-group: the launch needs a local size",
                    index, b->kernel->image.name);
    }
    return needs(b, index,
                 saturating(product(span->group_hi[0] * span->group_hi[1] * span->group_hi[2], param->num), param->bytes));
}

static pel_status check_custom(const binder *b, uint32_t index) {
    pel_footprint footprint = {0};
    pel_status status = pel_footprint_query(b->bound, &b->bound->span, index, &footprint);
    pel_footprint_free(b->allocator, &footprint);
    switch ((int)status) {
    case PEL_OK:
        return PEL_OK;
    case PEL_OUT_OF_MEMORY:
        return FAIL(b, status, "no memory for the intervals of argument %u", index);
    case PEL_TOO_LARGE:
        return FAIL(b, status,
                    "argument %u of kernel %s (custom): its access function names bytes beyond the %" PRIu64 " there are", index,
                    b->kernel->image.name, b->bound->args[index].bytes);
    default:
        return FAIL(b, status,
                    "argument %u of kernel %s (custom): its access function gave a reversed interval or two different answers",
                    index, b->kernel->image.name);
    }
}

static pel_status check_extent(const binder *b, uint32_t index) {
    const pel_param *param = &b->kernel->image.params[index];
    if (param->kind == PEL_PARAM_KIND_PER_GROUP && b->bound->span.local[0] == 0) {
        return check_per_group(b, index);
    }
    if (!b->bound->args[index].allocation) {
        return PEL_OK;
    }
    switch (param->kind) {
    case PEL_PARAM_KIND_VALUE:
    case PEL_PARAM_KIND_LOCAL:
    case PEL_PARAM_KIND_POINTER:
    case PEL_PARAM_KIND_WHOLE:
        return PEL_OK;
    case PEL_PARAM_KIND_ELEMENTWISE:
        return check_elementwise(b, index);
    case PEL_PARAM_KIND_BLOCK:
        return check_block(b, index);
    case PEL_PARAM_KIND_PER_GROUP:
        return check_per_group(b, index);
    case PEL_PARAM_KIND_REDUCE_PRIVATE:
        return needs(b, index, product(param->num, param->bytes));
    case PEL_PARAM_KIND_CANCEL:
        return PEL_OK;
    case PEL_PARAM_KIND_CUSTOM:
        return check_custom(b, index);
    }
    return PEL_OK;
}

/* --- all together --- */

static pel_status bind_arguments(const binder *b, const pel_arg *args, uint32_t count) {
    if (count != b->kernel->image.param_count) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "kernel %s has %u parameters, but %u arguments were given", b->kernel->image.name,
                    b->kernel->image.param_count, count);
    }
    if (count > 0 && !args) {
        return FAIL(b, PEL_INVALID_ARGUMENT, "kernel %s: the array of its %u arguments is NULL", b->kernel->image.name, count);
    }
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        status = check_arg(b, i, &args[i]);
    }
    unsigned char *values = NULL;
    if (status == PEL_OK) {
        status = check_local_memory(b, args, count);
    }
    if (status == PEL_OK) {
        status = allocate_storage(b, args, count, &values);
    }
    if (status != PEL_OK) {
        return status;
    }
    b->bound->arg_count = count;
    copy_values(b, args, count, values);
    hold_buffers(b, args, count);
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        status = check_extent(b, i);
    }
    return status;
}

static pel_status bind_all(const binder *b, const pel_launch_desc *desc, const pel_arg *args, uint32_t count) {
    pel_status status = check_desc(b, desc);
    if (status == PEL_OK) {
        status = bind_global(b, desc);
    }
    if (status == PEL_OK) {
        status = bind_offset(b, desc);
    }
    if (status == PEL_OK) {
        status = check_offset(b);
    }
    if (status == PEL_OK) {
        status = bind_local(b, desc);
    }
    if (status == PEL_OK) {
        status = bind_arguments(b, args, count);
    }
    return status == PEL_OK ? pel_bound_find_cuts(b->bound, b->error) : status;
}

pel_status pel_bind(pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args, uint32_t arg_count, pel_bound *bound,
                    pel_error **error) {
    memset(bound, 0, sizeof *bound);
    if (!kernel || !desc) {
        return pel_fail(error, kernel ? &kernel->runtime->allocator : &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
                        "pel_launch: %s is NULL", kernel ? "desc" : "kernel");
    }
    binder b = {kernel, &kernel->runtime->allocator, bound, error};
    pel_kernel_retain(kernel);
    bound->kernel = kernel;
    pel_status status = bind_all(&b, desc, args, arg_count);
    if (status != PEL_OK) {
        pel_runtime *runtime = kernel->runtime;
        pthread_mutex_lock(&runtime->lock);
        pel_unbind(bound);
        pthread_mutex_unlock(&runtime->lock);
    }
    return status;
}

void pel_unbind(pel_bound *bound) {
    if (!bound->kernel) {
        return;
    }
    const pel_allocator *allocator = &bound->kernel->runtime->allocator;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].allocation) {
            pel_allocation_release(bound->args[i].allocation);
        }
    }
    pel_free(allocator, bound->storage);
    pel_free(allocator, bound->single_text);
    pel_kernel_release_locked(bound->kernel);
    memset(bound, 0, sizeof *bound);
}

void pel_bound_span(const pel_bound *bound, uint64_t lo, uint64_t hi, pel_span *span) {
    *span = bound->span;
    uint32_t d = span->split;
    span->lo[d] = lo;
    span->hi[d] = hi;
    if (span->local[d] != 0) {
        span->group_lo[d] = lo / span->local[d];
        span->group_hi[d] = hi / span->local[d] + (hi % span->local[d] != 0);
    }
}
