/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Running one work: transfers in, the launch, transfers out.
 *
 * Everything is enqueued on the one in-order queue, flushed, and then waited for in order, so that a device with its own memory
 * has no gaps while the times of the parts are still seen. Each command has an event, and each event's own status is asked:
 * status does not always propagate, and on PoCL < 7 waiting for an event that has failed never returns. After a failure the queue
 * is drained, with a limit, and replaced.
 *
 * How to wait depends on the driver. PoCL's clFinish sleeps on a condition variable: it is used there. GPU drivers' blocking
 * waits spin a core, so there we sleep to 0.85 of the predicted time, look often for a moment, and then nanosleep in growing
 * steps.
 */
#include "backend/opencl/staging.h"

#include "base/checked.h"
#include "base/hash.h"
#include <string.h>
#include <time.h>

#define EVENTS 64            /* commands of one work in flight; more transfers are waited for in between */
#define SLEEP_SHARE 0.85     /* of the predicted time that is slept through before looking */
#define WORTH_SLEEPING_NS 100000.0 /* a nanosleep takes 55-110 us whatever is asked (timer slack 50 us; 2 cores, 2026-11) */
#define LOOK_NS 20000        /* looking without sleeping: shorter than the sleep that it may save */
#define FIRST_NAP_NS 5000
#define LONGEST_NAP_NS 500000
#define LONGEST_BESIDE_NS                                                                                                        \
    5000000 /* the same beside launches that follow by themselves: what a prediction that is far too long may cost */
#define DRAIN_NS 1000000000  /* what a failed work's other commands get to end */
#define SOON_NS 300000.0     /* what a report may be late for those behind it: five times what waiting costs at all */
#define SMALL_GRID 65535u    /* PoCL's limit for its small-grid variants */

typedef struct pel_cl_flight {
    pel_cl_device *device;
    const pel_work *work;
    cl_event events[EVENTS];
    uint32_t count;
    uint32_t in_end; /* events before this one are transfers to the device */
    bool windowed;   /* a step: the kernel with windows */
    struct pel_cl_opening *opening; /* before the first enqueue of the launch; NULL: none */
    bool gated;      /* that has been enqueued */
} pel_cl_flight;

static int64_t now(const pel_cl_device *device) { return pel_clock_now(device->env->clock); }

static void nap(int64_t nanoseconds) {
    struct timespec time = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    (void)nanosleep(&time, NULL);
}

/* > 0: under way; 0: complete; < 0: failed. */
static cl_int state_of(cl_event event) {
    cl_int state = CL_QUEUED;
    cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return code == CL_SUCCESS ? state : code < 0 ? code : CL_INVALID_EVENT;
}

/* Looks, then naps, until the event has ended or `limit_ns` (0: none) has passed. */
static cl_int poll_event(cl_event event, int64_t limit_ns) {
    int64_t began = pel_clock_now(&pel_clock_monotonic), pause = FIRST_NAP_NS, passed = 0;
    cl_int state;
    while ((state = state_of(event)) > 0 && (limit_ns == 0 || passed < limit_ns)) {
        if (passed > LOOK_NS) {
            nap(pause);
            pause = pause < LONGEST_NAP_NS ? pause + pause / 4 : LONGEST_NAP_NS;
        }
        passed = pel_clock_now(&pel_clock_monotonic) - began;
    }
    return state;
}

static void drop_events(pel_cl_flight *flight) {
    for (uint32_t i = 0; i < flight->count; i++) {
        if (flight->events[i]) {
            clReleaseEvent(flight->events[i]);
        }
    }
    flight->count = flight->in_end = 0;
}

/* Whether the driver does not tell how an event is, as against telling that it has failed. */
static bool is_mute(cl_event event) {
    cl_int state;
    return clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) != CL_SUCCESS;
}

/* After a failure: nothing of this work may touch memory any more when it is reported. */
static void drain_events(const pel_cl_device *device, const cl_event *events, uint32_t count, int64_t limit_ns) {
    bool stuck = false, mute = false;
    clFlush(device->queue);
    for (uint32_t i = 0; i < count && !stuck; i++) {
        cl_int state = events[i] ? poll_event(events[i], limit_ns) : CL_COMPLETE;
        stuck = state > 0;
        mute = mute || (state < 0 && is_mute(events[i]));
    }
    if (mute && !stuck) {
        /* the last way to learn that the command has ended: it may still be writing to memory that is freed next */
        clFinish(device->queue);
    }
    if (stuck) {
        pel_log(device->env->logger, PEL_LOG_ERROR, "%s: commands of a failed launch do not end", device->label);
    }
}

static void drain(pel_cl_flight *flight) {
    drain_events(flight->device, flight->events, flight->count, DRAIN_NS);
    drop_events(flight);
    (void)pel_cl_renew_queue(flight->device, NULL); /* without one, the next work finds none and says so */
}

/* Waits for events [from, to). */
static pel_status settle(pel_cl_flight *flight, uint32_t from, uint32_t to, double predicted_ns, const char *what,
                         pel_error **error) {
    pel_cl_device *device = flight->device;
    cl_int state = CL_COMPLETE;

    if (from == to) {
        return PEL_OK;
    }
    if (flight->opening) { /* first: clFinish would wait for ever for one that is never opened */
        pel_cl_gate_await(flight->work, flight->opening);
        if (pel_cl_opening_state(flight->opening) < 0) {
            return pel_cl_opening_failed(device, error);
        }
    }
    state = state_of(flight->events[to - 1]);
    if (state > 0 && device->is_pocl) {
        cl_int code = clFinish(device->queue);
        if (code != CL_SUCCESS) {
            return pel_cl_fail(device, error, code, "clFinish", "%s", what);
        }
    } else if (state > 0 && predicted_ns > WORTH_SLEEPING_NS) {
        nap((int64_t)(predicted_ns * SLEEP_SHARE));
    }
    for (uint32_t i = from; i < to; i++) {
        state = poll_event(flight->events[i], 0);
        if (state < 0) {
            return pel_cl_fail(device, error, state, "the command's event", "%s", what);
        }
    }
    return PEL_OK;
}

/* ---- transfers ---- */

/* Through pinned memory, which takes a thread of its own, so that all is over when this comes back. What is under way before
 * must have ended. */
static pel_status stage(pel_cl_flight *flight, pel_cl_ring *ring, const pel_transfer *list, uint32_t count, pel_error **error) {
    pel_cl_load load = {.list = list, .count = count, .sensitive = flight->work->sensitive};
    if (flight->count > 0) {
        clFlush(flight->device->queue);
        pel_status status = settle(flight, 0, flight->count, 0, "what a transfer waits for failed", error);
        if (status != PEL_OK) {
            return status;
        }
        drop_events(flight);
    }
    pel_cl_ring_give(ring, &load);
    pel_cl_ring_await(ring, &load);
    if (load.status != PEL_OK) {
        *error = load.error;
    }
    return load.status;
}

static pel_status enqueue_transfers(pel_cl_flight *flight, const pel_transfer *list, uint32_t count, bool in, pel_error **error) {
    pel_cl_device *device = flight->device;
    if (device->base.facts->host_coherent) {
        return PEL_OK; /* the memory is the host's own */
    }
    pel_cl_ring *ring = pel_cl_ring_for(device, list, count, in);
    if (ring) {
        return stage(flight, ring, list, count, error);
    }
    for (uint32_t i = 0; i < count; i++) {
        const pel_transfer *t = &list[i];
        if (t->bytes == 0) {
            continue;
        }
        if (flight->count == EVENTS) {
            clFlush(device->queue);
            pel_status status = settle(flight, 0, EVENTS, 0, "a transfer failed", error);
            if (status != PEL_OK) {
                return status;
            }
            drop_events(flight);
        }
        cl_event *event = &flight->events[flight->count];
        *event = NULL;
        pel_status status = pel_cl_enqueue_transfer(device, device->queue, t, in, event, error);
        if (status != PEL_OK) {
            return status;
        }
        flight->count++;
    }
    return PEL_OK;
}

/* ---- the launch ---- */

/* Fills what is to be remembered; false: this argument is set each time. */
static bool describe(const pel_work_arg *arg, pel_cl_arg_set *set) {
    memset(set, 0, sizeof *set);
    set->kind = (uint64_t)arg->kind;
    if (arg->kind == PEL_WORK_ARG_MEM) {
        set->u.mem = ((const pel_cl_mem *)arg->mem)->id;
        return true;
    }
    set->bytes = arg->bytes;
    if (arg->kind == PEL_WORK_ARG_VALUE && arg->bytes <= sizeof set->u.value) {
        memcpy(set->u.value, arg->host, (size_t)arg->bytes);
        return true;
    }
    return arg->kind == PEL_WORK_ARG_LOCAL;
}

static pel_status set_argument(const pel_cl_device *device, const pel_cl_kernel *kernel, cl_kernel cl, uint32_t i,
                               const pel_work_arg *arg, pel_error **error) {
    size_t bytes = (size_t)arg->bytes;
    const void *value = NULL;
    cl_mem mem = NULL;

    switch (arg->kind) {
    case PEL_WORK_ARG_VALUE: value = arg->host; break;
    case PEL_WORK_ARG_LOCAL: break;
    case PEL_WORK_ARG_NULL: bytes = sizeof mem; break;
    case PEL_WORK_ARG_MEM:
    case PEL_WORK_ARG_PRIVATE:
        if (device->base.facts->host_coherent && kernel->args && kernel->args[i].alignment > 1 &&
            (uintptr_t)arg->mem->host % kernel->args[i].alignment != 0) {
            return pel_cl_refuse(
                device, error, PEL_INVALID_ARGUMENT, "align the memory, or begin the range elsewhere",
                "argument %u of kernel %s points to elements of %llu bytes and its memory is not aligned to them", i,
                kernel->image->name, (unsigned long long)kernel->args[i].alignment);
        }
        mem = ((pel_cl_mem *)arg->mem)->cl;
        value = &mem;
        bytes = sizeof mem;
        break;
    }
    cl_int code = clSetKernelArg(cl, i, bytes, value);
    return code == CL_SUCCESS ? PEL_OK
                              : pel_cl_fail(device, error, code, "clSetKernelArg", "argument %u of kernel %s is not taken", i,
                                            kernel->image->name);
}

/* Before any argument is set: PoCL accepts too much local memory and then aborts the process, Oclgrind throws an exception. */
static pel_status check_local_memory(const pel_cl_device *device, const pel_cl_kernel *kernel, pel_cl_form form,
                                     const pel_work_arg *args, pel_error **error) {
    uint64_t bytes = kernel->local_bytes[form], room = device->base.facts->info.local_memory_bytes;
    for (uint32_t i = 0; i < kernel->image->param_count; i++) {
        if (args[i].kind == PEL_WORK_ARG_LOCAL && !pel_add_u64(bytes, args[i].bytes, &bytes)) {
            bytes = UINT64_MAX;
            break;
        }
    }
    if (bytes > (room != 0 ? room : SIZE_MAX)) {
        return pel_cl_refuse(device, error, PEL_TOO_LARGE, "use smaller work-groups or less local memory",
                             "kernel %s wants %llu bytes of local memory, the device has %llu", kernel->image->name,
                             (unsigned long long)bytes, (unsigned long long)room);
    }
    return PEL_OK;
}

static bool same_set(const pel_cl_arg_set *a, const pel_cl_arg_set *b) {
    return a->kind == b->kind && a->bytes == b->bytes && memcmp(a->u.value, b->u.value, sizeof a->u.value) == 0;
}

/* Only what changed since the last launch of this form. */
static pel_status set_arguments(const pel_cl_device *device, pel_cl_kernel *kernel, pel_cl_form form, const pel_work_arg *args,
                                pel_error **error) {
    const uint32_t count = kernel->image->param_count;
    pel_status status = check_local_memory(device, kernel, form, args, error);
    if (!kernel->set) {
        /* without it all are set each time */
        kernel->set = pel_alloc_zero(device->env->allocator, count + 1u, sizeof *kernel->set);
    } else if (kernel->set_form != form) {
        memset(kernel->set, 0, count * sizeof *kernel->set);
    }
    kernel->set_form = form;
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        pel_cl_arg_set set;
        const bool lasting = describe(&args[i], &set) && kernel->set;
        if (lasting && same_set(&set, &kernel->set[i])) {
            continue;
        }
        if (kernel->set) {
            memset(&kernel->set[i], 0, sizeof kernel->set[i]);
        }
        status = set_argument(device, kernel, kernel->kernels[form], i, &args[i], error);
        if (lasting && status == PEL_OK) {
            kernel->set[i] = set;
        }
    }
    return status;
}

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

/* Room for so many more commands: else what is in flight is waited for. */
static pel_status make_room(pel_cl_flight *flight, uint32_t commands, pel_error **error) {
    if (flight->count + commands <= EVENTS) {
        return PEL_OK;
    }
    clFlush(flight->device->queue);
    pel_status status = settle(flight, 0, flight->count, 0, "a transfer or a part of the launch failed", error);
    if (status == PEL_OK) {
        drop_events(flight);
    }
    return status;
}

/* The kernel to launch: the program's own, or the one that moves its pointers. */
static cl_kernel kernel_of(const pel_cl_flight *flight, const pel_cl_kernel *kernel, pel_cl_form form) {
    return flight->windowed ? pel_cl_windowed_kernel(kernel, form) : kernel->kernels[form];
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
    pel_status status = make_room(flight, 1, error);
    if (status != PEL_OK) {
        return status;
    }
    if (pel_cl_variant_is_new(device, flight->windowed ? pel_cl_windowed_program(kernel) : kernel->program, form,
                              variant_key(device, kernel, offset, global, local))) {
        *cold = true;
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
    flight->gated = true;
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
    pel_status status = pel_cl_kernel_get(device, work->kernel, form, kernel, built, error);
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
        return pel_cl_kernel_get(device, work->kernel, (pel_cl_form)work->span.dims, kernel, built, error);
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
    pel_status status = make_room(flight, 1, error);
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

bool pel_cl_is_usual(pel_cl_device *device, const pel_work *work) {
    const pel_cl_kernel *kernel = pel_cl_kernel_known(device, work->kernel->id);
    return kernel && is_habit(kernel, work);
}

static pel_status choose_shape(pel_cl_flight *flight, pel_cl_kernel **kernel, pel_cl_shape *shape, pel_cl_form *form, bool *built,
                               pel_error **error) {
    const pel_work *work = flight->work;
    *kernel = pel_cl_kernel_known(flight->device, work->kernel->id);
    if (*kernel && is_habit(*kernel, work)) {
        *shape = (*kernel)->habit.shape;
        *form = (*kernel)->habit.form;
        return PEL_OK;
    }
    pel_status status = find_shape(flight, kernel, shape, built, error);
    *form = status == PEL_OK && shape->chunked ? (pel_cl_form)work->span.dims : PEL_CL_PLAIN;
    return status;
}

static pel_status enqueue_launch(pel_cl_flight *flight, bool *cold, pel_error **error) {
    const pel_work *work = flight->work;
    pel_cl_kernel *kernel;
    pel_cl_shape shape;
    pel_cl_form form;
    bool built = false;

    pel_status status = choose_shape(flight, &kernel, &shape, &form, &built, error);
    *cold = built;
    if (status != PEL_OK || shape.count == 0) {
        return status;
    }
    if (flight->windowed) {
        bool made = false;
        status = pel_cl_windowed_get(flight->device, kernel, form, &made, error);
        *cold = *cold || made;
        status = status == PEL_OK ? check_local_memory(flight->device, kernel, form, work->args, error) : status;
        status = status == PEL_OK ? pel_cl_windowed_arguments(flight->device, kernel, form, work->args, error) : status;
    } else {
        status = set_arguments(flight->device, kernel, form, work->args, error);
    }
    for (uint32_t i = 0; i < shape.count && status == PEL_OK; i++) {
        status = enqueue_parts(flight, kernel, form, shape.pieces[i], cold, error);
    }
    if (status == PEL_OK && !flight->windowed && !is_habit(kernel, work)) {
        kernel->habit = (pel_cl_habit){true, work->chunked, work->group, work->span, form, shape};
    }
    return status == PEL_OK && work->sensitive && uses_local_memory(kernel, form, work->args) ? scrub(flight, error) : status;
}

/* ---- a work ---- */

static pel_status run_launch(pel_cl_flight *flight, pel_work *work) {
    pel_cl_device *device = flight->device;
    pel_status status = enqueue_transfers(flight, work->in, work->in_count, true, &work->error);
    if (status == PEL_OK) {
        status = make_room(flight, PEL_CL_PIECES, &work->error);
    }
    flight->in_end = flight->count;
    work->launch_began = work->launch_ended = now(device);
    if (status == PEL_OK) {
        status = enqueue_launch(flight, &work->cold, &work->error);
    }
    uint32_t launch_end = flight->count;
    bool copies_out = work->out_count > 0 && !device->base.facts->host_coherent;
    /* More transfers than fit are enqueued after the launch has been seen to end. */
    bool together = copies_out && work->out_count <= EVENTS - launch_end && !pel_cl_may_stage(device, work->out, work->out_count);
    if (status == PEL_OK && together) {
        status = enqueue_transfers(flight, work->out, work->out_count, false, &work->error);
    }
    if (status == PEL_OK && !device->is_pocl) {
        clFlush(device->queue);
    }
    uint32_t in_end = flight->in_end;
    if (status == PEL_OK && in_end > 0) {
        status = settle(flight, 0, in_end, 0, "a transfer to the device failed", &work->error);
        work->launch_began = now(device);
    }
    if (status == PEL_OK) {
        status = settle(flight, in_end, launch_end, work->predicted_ns, "the launch failed", &work->error);
        work->launch_ended = now(device);
    }
    if (status == PEL_OK && copies_out && !together) {
        drop_events(flight);
        launch_end = 0;
        status = enqueue_transfers(flight, work->out, work->out_count, false, &work->error);
        clFlush(device->queue);
    }
    return status == PEL_OK ? settle(flight, launch_end, flight->count, 0, "a transfer from the device failed", &work->error)
                            : status;
}

static pel_status run_transfers(pel_cl_flight *flight, pel_work *work) {
    pel_status status = enqueue_transfers(flight, work->in, work->in_count, true, &work->error);
    if (status == PEL_OK) {
        status = enqueue_transfers(flight, work->out, work->out_count, false, &work->error);
    }
    if (status == PEL_OK && flight->count > 0) {
        clFlush(flight->device->queue);
        status = settle(flight, 0, flight->count, 0, "a transfer failed", &work->error);
    }
    return status;
}

pel_status pel_cl_enqueue_step(pel_cl_device *device, const pel_work *step, bool *cold, cl_event *events, uint32_t *count,
                               pel_error **error) {
    pel_cl_flight flight = {.device = device, .work = step, .windowed = true};
    pel_status status = enqueue_launch(&flight, cold, error);
    memcpy(events, flight.events, flight.count * sizeof *events);
    *count = flight.count;
    return status;
}

/* What all steps need comes in before them, what they add up goes home after them. */
static pel_status run_stepped(pel_cl_flight *flight, pel_work *work) {
    pel_cl_device *device = flight->device;
    pel_status status = enqueue_transfers(flight, work->in, work->in_count, true, &work->error);
    if (status == PEL_OK && flight->count > 0) {
        clFlush(device->queue);
        status = settle(flight, 0, flight->count, 0, "a transfer to the device failed", &work->error);
    }
    work->launch_began = work->launch_ended = now(device);
    if (status != PEL_OK) {
        return status;
    }
    drop_events(flight);
    status = pel_cl_run_steps(device, work);
    work->launch_ended = now(device);
    if (status == PEL_OK) {
        status = enqueue_transfers(flight, work->out, work->out_count, false, &work->error);
    }
    if (status == PEL_OK && flight->count > 0) {
        clFlush(device->queue);
        status = settle(flight, 0, flight->count, 0, "a transfer from the device failed", &work->error);
    }
    return status;
}

/* The first enqueue of a launch whose gate is closed waits for a user event. */
static pel_status find_gate(pel_cl_flight *flight, pel_work *work) {
    if (!work->gate) {
        return PEL_OK;
    }
    if (pel_gate_is_open(work->gate)) {
        pel_gate_arm(work->gate, NULL, NULL);
        return PEL_OK;
    }
    return pel_cl_gate(flight->device, work->gate, &flight->opening, &work->error);
}

static pel_status begin(pel_cl_flight *flight, pel_cl_device *device, pel_work *work) {
    flight->device = device;
    flight->work = work;
    flight->count = flight->in_end = 0;
    flight->windowed = false;
    flight->opening = NULL;
    flight->gated = false;
    work->error = NULL;
    work->cold = work->pooled = false;
    work->began = work->launch_began = work->launch_ended = now(device);
    atomic_store_explicit(&work->started, work->began, memory_order_relaxed);
    if (atomic_load_explicit(&work->skip, memory_order_acquire)) {
        return pel_cl_refuse(device, &work->error, PEL_DEPENDENCY_FAILED, "", "not run: what it depends on has failed");
    }
    pel_status status = pel_cl_ready(device, &work->error);
    return status == PEL_OK ? find_gate(flight, work) : status;
}

void pel_cl_run(pel_cl_device *device, pel_work *work) {
    pel_cl_flight flight;
    work->status = begin(&flight, device, work);
    if (work->status == PEL_OK) {
        switch (work->kind) {
        case PEL_WORK_TRANSFER: work->status = run_transfers(&flight, work); break;
        case PEL_WORK_LAUNCH: work->status = work->step_count > 0 ? run_stepped(&flight, work) : run_launch(&flight, work); break;
        default:
            work->status = pel_cl_refuse(device, &work->error, PEL_UNSUPPORTED, "run it on the host",
                                         "host tasks and loops do not run on an OpenCL device");
        }
    }
    if (work->status != PEL_OK && flight.count > 0) {
        pel_cl_gate_await(work, flight.opening);
        drain(&flight);
    }
    pel_cl_opening_release(flight.opening);
    drop_events(&flight);
    work->ended = now(device);
    device->last_ended = pel_clock_now(&pel_clock_monotonic);
}

/* ---- works on the train ---- */

bool pel_cl_rides(const pel_cl_device *device, const pel_work *work) {
    return work->kind == PEL_WORK_LAUNCH && !work->alone && work->step_count == 0 && !work->sensitive &&
           (device->base.facts->host_coherent || (work->in_count == 0 && work->out_count == 0));
}

void pel_cl_board(pel_cl_device *device, pel_work *work, pel_cl_rider *rider) {
    pel_cl_flight flight;
    rider->work = work;
    rider->count = 0;
    rider->opening = NULL;
    work->status = begin(&flight, device, work);
    if (work->status == PEL_OK) {
        work->status = enqueue_launch(&flight, &work->cold, &work->error);
    }
    rider->opening = flight.opening;
    if (work->status == PEL_OK && !device->is_pocl) {
        clFlush(device->queue);
    }
    if (work->status == PEL_OK && flight.count > 0) {
        pel_cl_tell_end(device, work, flight.events[flight.count - 1]);
    }
    if (work->status == PEL_OK && flight.count > PEL_CL_RIDER_EVENTS) { /* more work-groups than one enqueue takes: billions */
        work->status = settle(&flight, 0, flight.count, work->predicted_ns, "the launch failed", &work->error);
    } else if (flight.count <= PEL_CL_RIDER_EVENTS) {
        memcpy(rider->events, flight.events, flight.count * sizeof *rider->events);
        rider->count = flight.count;
        flight.count = 0;
    }
    if (flight.count > 0) {
        if (work->status != PEL_OK) {
            device->broken_at = pel_clock_now(&pel_clock_monotonic);
            pel_cl_gate_await(work, rider->opening);
            drain_events(device, flight.events, flight.count, DRAIN_NS);
        }
        drop_events(&flight);
    }
    if (work->status != PEL_OK && rider->count > 0 && device->broken_at == 0) {
        device->broken_at = pel_clock_now(&pel_clock_monotonic);
    }
}

int pel_cl_look(pel_cl_device *device, pel_cl_rider *rider) {
    pel_work *work = rider->work;
    const int open = pel_cl_opening_state(rider->opening);
    if (work->status == PEL_OK && open == 0) { /* those before it are reported first: it may be their report that opens it */
        return 1;
    }
    if (work->status == PEL_OK && open < 0) {
        work->status = pel_cl_opening_failed(device, &work->error);
    }
    for (uint32_t i = 0; i < rider->count && work->status == PEL_OK; i++) {
        cl_int state = state_of(rider->events[i]);
        if (state > 0) {
            if (device->broken_at == 0 || pel_cl_gate_is_new(device, work, DRAIN_NS) ||
                pel_clock_now(&pel_clock_monotonic) - device->broken_at < DRAIN_NS) {
                return 1;
            }
            work->status = pel_cl_refuse(device, &work->error, PEL_DEVICE_FAILED, "",
                                         "the launch did not end after an earlier one had failed");
        } else if (state < 0) {
            work->status = pel_cl_fail(device, &work->error, state, "the command's event", "the launch failed");
        }
    }
    return 0;
}

void pel_cl_alight(pel_cl_device *device, pel_cl_rider *rider) {
    if (rider->work->status != PEL_OK && rider->count > 0) {
        pel_cl_gate_await(rider->work, rider->opening);
        device->broken_at = device->broken_at != 0 ? device->broken_at : pel_clock_now(&pel_clock_monotonic);
        if (pel_cl_opening_state(rider->opening) > 0) { /* else it never begins */
            drain_events(device, rider->events, rider->count, DRAIN_NS);
        }
    }
    for (uint32_t i = 0; i < rider->count; i++) {
        clReleaseEvent(rider->events[i]);
    }
    pel_cl_opening_release(rider->opening);
    rider->count = 0;
    rider->opening = NULL;
}

/* clFinish waits for all of them: where that is not much longer than for the oldest. */
static bool ends_soon(const pel_cl_device *device, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count && count > 1 && sum < SOON_NS; i++) {
        const double predicted = device->riders[(device->first_rider + i) % PEL_CL_TRAIN].work->predicted_ns;
        sum += predicted > 0 ? predicted : SOON_NS;
    }
    return sum < SOON_NS;
}

/* Or may never end, which clFinish would wait for. */
static bool one_has_failed(const pel_cl_device *device, uint32_t count) {
    bool failed = false;
    for (uint32_t i = 0; i < count && !failed; i++) {
        const pel_cl_rider *rider = &device->riders[(device->first_rider + i) % PEL_CL_TRAIN];
        failed = failed || pel_cl_opening_state(rider->opening) <= 0;
        for (uint32_t k = 0; k < rider->count && !failed; k++) {
            failed = state_of(rider->events[k]) < 0;
        }
    }
    return failed;
}

/*
 * Others follow without us, so an end that is seen a twentieth late costs little, and whoever looks takes a core from them: 80
 * looks an iteration of 10 ms cost about a tenth of the time where all cores computed (2 vCPUs, Jacobi on two halves of a CPU,
 * 2026-11).
 */
static int64_t nap_beside_others(const pel_cl_device *device, const pel_work *work) {
    const int64_t opened = work->gate ? pel_gate_opened_at(work->gate) : 0;
    int64_t began = device->last_report > work->began ? device->last_report : work->began;
    began = opened > began ? opened : began;
    const double left = work->predicted_ns - (double)(now(device) - began), step = work->predicted_ns / 20,
                 wanted = left > step ? left : step;
    return wanted > LONGEST_BESIDE_NS ? LONGEST_BESIDE_NS : wanted > FIRST_NAP_NS ? (int64_t)wanted : FIRST_NAP_NS;
}

void pel_cl_await(pel_cl_device *device) {
    const uint32_t count = atomic_load_explicit(&device->rider_count, memory_order_relaxed);
    pel_cl_rider *oldest = &device->riders[device->first_rider];
    pel_work *work = oldest->work;
    if (device->is_pocl && device->broken_at == 0 && ends_soon(device, count) && !one_has_failed(device, count)) {
        cl_int code = clFinish(device->queue);
        if (code != CL_SUCCESS) {
            work->status = pel_cl_fail(device, &work->error, code, "clFinish", "the launch failed");
        }
    } else if (device->is_pocl || device->broken_at != 0) {
        nap(device->broken_at == 0 ? nap_beside_others(device, work) : FIRST_NAP_NS);
    } else {
        if (work->predicted_ns > WORTH_SLEEPING_NS && count == 1) {
            nap((int64_t)(work->predicted_ns * SLEEP_SHARE));
        }
        (void)poll_event(oldest->events[oldest->count - 1], 0);
    }
}
