/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Enqueueing a launch: the form of the kernel (plain, or with ids of the whole launch), the pieces that its range becomes, the
 * arguments, and whether the driver has compiled this variant already. A launch like the last one of its kernel needs none of
 * these questions again.
 */
#include "backend/opencl/flight.h"

#include "base/hash.h"
#include <string.h>

#define SMALL_GRID 65535u /* PoCL's limit for its small-grid variants */
#define PART_ITEMS 256u /* parts of whole such have the same work-groups where nobody asked for a size (shape.c) */

/* PoCL compiles once per local size x offset is zero x small grid; other drivers at most once per kernel. */
static uint64_t variant_key(const pel_cl_device *device, const pel_cl_kernel *kernel, const size_t offset[3],
                            const size_t global[3], const size_t local[3]) {
    uint64_t key = kernel->entry_key;
    if (device->is_pocl) {
        size_t widest = global[0] > global[1] ? global[0] : global[1];
        widest = widest > global[2] ? widest : global[2];
        key = pel_mix_u64(key, local[0]);
        key = pel_mix_u64(key, local[1]);
        key = pel_mix_u64(key, local[2]);
        key = pel_mix_u64(key, (offset[0] | offset[1] | offset[2]) != 0 ? 2 : 1);
        key = pel_mix_u64(key, widest < SMALL_GRID ? 2 : 1);
    }
    return key;
}

/* The kernel to launch: the program's own, or the one that moves its pointers. */
static cl_kernel kernel_of(const pel_cl_flight *flight, const pel_cl_kernel *kernel, pel_cl_form form) {
    return flight->windowed ? pel_cl_windowed_kernel(kernel, form) : kernel->kernels[form];
}

static void tell_compiling(const pel_cl_flight *flight) {
    if (flight->work->compiling) {
        flight->work->compiling(flight->work);
    }
}

static pel_status enqueue_piece(pel_cl_flight *flight, const pel_cl_kernel *kernel, pel_cl_form form, const pel_cl_piece *piece,
                                bool *cold, pel_error **error) {
    pel_cl_device *device = flight->device;
    const pel_span *span = &flight->work->span;
    size_t offset[3], global[3], local[3];
    pel_addressing spare;

    if (form != PEL_CL_PLAIN) {
        pel_addressing_encode(span, piece->lo, piece->hi, &spare);
    }
    for (unsigned d = 0; d < 3; d++) {
        offset[d] = (size_t)(form != PEL_CL_PLAIN ? spare.offset[d] : d < span->dims ? span->offset[d] + piece->lo[d] : 0);
        global[d] = (size_t)(piece->hi[d] - piece->lo[d]);
        local[d] = (size_t)piece->local[d];
    }
    pel_status status = pel_cl_make_room(flight, 1, error);
    if (status != PEL_OK) {
        return status;
    }
    if (!flight->usual &&
        pel_cl_variant_is_new(device, flight->windowed ? pel_cl_windowed_program(kernel) : kernel->program, form,
                              variant_key(device, kernel, offset, global, local))) {
        *cold = true;
        tell_compiling(flight); /* PoCL compiles when it runs it */
    }
    cl_event *event = &flight->events[flight->count];
    *event = NULL;
    const bool waits = flight->opening && !flight->gated; /* the queue is in order: what comes after it waits, too */
    cl_int code =
        clEnqueueNDRangeKernel(device->queue, kernel_of(flight, kernel, form), form != PEL_CL_PLAIN ? 3 : span->dims, offset,
                               global, local, waits ? 1 : 0, waits ? pel_cl_opening_event(flight->opening) : NULL, event);
    if (code != CL_SUCCESS) {
        return pel_cl_fail(device, error, code, "clEnqueueNDRangeKernel",
                           "kernel %s cannot be launched (%zu x %zu x %zu items in groups of %zu x %zu x %zu)",
                           kernel->image->name, global[0], global[1], global[2], local[0], local[1], local[2]);
    }
    flight->count++;
    flight->gated = flight->partly = true;
    return PEL_OK;
}

/* A piece, in as many enqueues as its work-groups need; the halves that wait are at most one per bit of their number. */
static pel_status enqueue_parts(pel_cl_flight *flight, const pel_cl_kernel *kernel, pel_cl_form form, pel_cl_piece piece,
                                bool *cold, pel_error **error) {
    pel_cl_piece waiting[PEL_CL_HALVINGS];
    uint32_t count = 0, dims = flight->work->span.dims;
    for (;;) {
        while (count < PEL_CL_HALVINGS && pel_cl_piece_halve(&piece, dims, flight->device->max_groups, &waiting[count])) {
            count++;
        }
        pel_status status = enqueue_piece(flight, kernel, form, &piece, cold, error);
        if (status != PEL_OK || count == 0) {
            return status;
        }
        piece = waiting[--count];
    }
}

static pel_status get_kernel(const pel_cl_flight *flight, pel_cl_form form, pel_cl_kernel **kernel, bool *built,
                             pel_error **error) {
    if (!pel_cl_kernel_is_made(flight->device, flight->work->kernel, form)) {
        pel_cl_let_go(flight);
        tell_compiling(flight);
    }
    return pel_cl_kernel_get(flight->device, flight->work->kernel, form, kernel, built, error);
}

/* Chooses form and pieces; needs the plain kernel's limits, so the plain form comes first. */
static pel_status find_shape(pel_cl_flight *flight, pel_cl_kernel **kernel, pel_cl_shape *shape, bool *built, pel_error **error) {
    pel_cl_device *device = flight->device;
    const pel_work *work = flight->work;
    pel_status why_status;
    bool plain_only = work->kernel->program->plain_only || device->base.facts->info.address_bits < 64;

    pel_cl_form form = work->chunked ? (pel_cl_form)work->span.dims : PEL_CL_PLAIN;
    if (work->span.dims < 1 || work->span.dims > 3) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT, "", "a launch has 1, 2 or 3 dimensions, not %u",
                             work->span.dims);
    }
    if (work->chunked && plain_only) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "run it whole on one device", "kernel %s cannot run in chunks: %s",
                             work->kernel->name,
                             work->kernel->program->plain_only ? "its source changes the functions that tell ids and sizes"
                                                               : "the device has 32-bit addresses");
    }
    pel_status status = get_kernel(flight, form, kernel, built, error);
    if (status != PEL_OK) {
        return status;
    }
    pel_cl_limits limits = (*kernel)->limits[form];
    limits.max_groups = device->max_groups;
    limits.preferred = work->group;
    const char *why = pel_cl_shape_make(&work->span, work->chunked, plain_only, &limits, shape, &why_status);
    if (why) {
        return pel_cl_refuse(device, error, why_status, "", "kernel %s cannot run so: %s", work->kernel->name, why);
    }
    if (shape->chunked && form == PEL_CL_PLAIN) {
        return get_kernel(flight, (pel_cl_form)work->span.dims, kernel, built, error);
    }
    return PEL_OK;
}

static bool uses_local_memory(const pel_cl_kernel *kernel, pel_cl_form form, const pel_work_arg *args) {
    bool uses = kernel->local_bytes[form] > 0;
    for (uint32_t i = 0; i < kernel->image->param_count; i++) {
        uses |= args[i].kind == PEL_WORK_ARG_LOCAL;
    }
    return uses;
}

/* A launch whose traces cannot be wiped has failed: the promise is part of it. */
static pel_status scrub(pel_cl_flight *flight, pel_error **error) {
    pel_status status = pel_cl_make_room(flight, 1, error);
    if (status == PEL_OK) {
        status = pel_cl_scrub(flight->device, &flight->events[flight->count], error);
        flight->count += status == PEL_OK ? 1u : 0u;
    }
    return status;
}

static bool is_habit(const pel_cl_kernel *kernel, const pel_work *work) {
    return kernel->habit.known && kernel->habit.chunked == work->chunked && kernel->habit.group == work->group &&
           memcmp(&kernel->habit.span, &work->span, sizeof work->span) == 0;
}

static bool is_large(const pel_span *span) {
    const uint64_t local = span->local[span->split] > 0 ? span->local[span->split] : 1;
    return (span->hi[span->split] - span->lo[span->split]) / local >= SMALL_GRID;
}

/* Where it begins counts, too: a group's size divides both (shape.c). */
static bool is_whole(const pel_span *span) {
    const uint64_t lo = span->lo[span->split], items = span->hi[span->split] - lo;
    return span->local[span->split] > 0 || (lo % PART_ITEMS == 0 && items % PART_ITEMS == 0);
}

/* Another part of the same launch, for which nothing has to be compiled that the usual one did not need. */
static bool is_like(const pel_span *a, const pel_span *b) {
    const uint32_t s = a->split;
    bool like = a->dims == b->dims && s == b->split && s < a->dims && (a->lo[s] == 0) == (b->lo[s] == 0) &&
                is_large(a) == is_large(b) && is_whole(a) && is_whole(b) &&
                (a->local[s] > 0 || pel_cl_shape_is_plenty(a) == pel_cl_shape_is_plenty(b));
    for (uint32_t d = 0; d < a->dims; d++) {
        like = like && a->global[d] == b->global[d] && a->local[d] == b->local[d] && a->offset[d] == b->offset[d] &&
               (d == s || (a->lo[d] == b->lo[d] && a->hi[d] == b->hi[d]));
    }
    return like;
}

static bool is_usual(pel_cl_device *device, const pel_work *work) {
    const pel_cl_kernel *kernel = pel_cl_kernel_recent(device, work->kernel->id);
    return kernel && kernel->habit.known && kernel->habit.chunked == work->chunked && kernel->habit.group == work->group &&
           is_like(&kernel->habit.span, &work->span);
}

bool pel_cl_is_usual(pel_cl_device *device, const pel_work *work) {
    bool usual = work->row || is_usual(device, work);
    for (uint32_t i = 0; work->row && i < work->times && usual; i++) {
        usual = is_usual(device, work->row[i]);
    }
    return usual;
}

static pel_status choose_shape(pel_cl_flight *flight, pel_cl_kernel **kernel, pel_cl_shape *shape, pel_cl_form *form, bool *built,
                               pel_error **error) {
    const pel_work *work = flight->work;
    *kernel = pel_cl_kernel_recent(flight->device, work->kernel->id);
    if (*kernel && is_habit(*kernel, work)) {
        flight->usual = !flight->windowed;
        *shape = (*kernel)->habit.shape;
        *form = (*kernel)->habit.form;
        return PEL_OK;
    }
    pel_status status = find_shape(flight, kernel, shape, built, error);
    *form = status == PEL_OK && shape->chunked ? (pel_cl_form)work->span.dims : PEL_CL_PLAIN;
    return status;
}

/*
 * As often as it is to run, each time with events of its own: what failed before the next was enqueued fails nothing on PoCL 3.1,
 * even on an in-order queue, so the last one's event tells of the last one only.
 */
static pel_status enqueue_pieces(pel_cl_flight *flight, const pel_cl_kernel *kernel, pel_cl_form form, const pel_cl_shape *shape,
                                 bool *cold, pel_error **error) {
    pel_status status = PEL_OK;
    for (uint32_t time = 0; time < pel_cl_times(flight->work) && status == PEL_OK; time++) {
        for (uint32_t i = 0; i < shape->count && status == PEL_OK; i++) {
            status = enqueue_parts(flight, kernel, form, shape->pieces[i], cold, error);
        }
        if (status == PEL_OK) {
            flight->complete++;
            flight->each = flight->complete == 1 || flight->count == flight->complete * flight->each
                               ? flight->count / flight->complete
                               : 0;
            flight->partly = false;
        }
    }
    return status;
}

pel_status pel_cl_enqueue_launch(pel_cl_flight *flight, bool *cold, pel_error **error) {
    const pel_work *work = flight->work;
    pel_cl_kernel *kernel;
    pel_cl_shape shape;
    pel_cl_form form;
    bool built = false;

    pel_status status = choose_shape(flight, &kernel, &shape, &form, &built, error);
    *cold = built;
    if (status != PEL_OK || shape.count == 0) {
        flight->complete += status == PEL_OK ? pel_cl_times(work) : 0;
        return status;
    }
    if (flight->windowed) {
        bool made = false;
        status = pel_cl_windowed_get(flight->device, kernel, form, &made, error);
        *cold = *cold || made;
        status = status == PEL_OK ? pel_cl_check_local_memory(flight->device, kernel, form, work->args, error) : status;
        status = status == PEL_OK ? pel_cl_windowed_arguments(flight->device, kernel, form, work->args, error) : status;
    } else {
        status = pel_cl_set_arguments(flight->device, kernel, form, work->args, error);
    }
    status = status == PEL_OK ? enqueue_pieces(flight, kernel, form, &shape, cold, error) : status;
    if (status == PEL_OK && !flight->windowed && !flight->usual) {
        kernel->habit = (pel_cl_habit){true, work->chunked, work->group, work->span, form, shape};
    }
    return status == PEL_OK && work->sensitive && uses_local_memory(kernel, form, work->args) ? scrub(flight, error) : status;
}
