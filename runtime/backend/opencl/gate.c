/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order between devices, as OpenCL does it: a work's gate is a user event in its device's context, a work's end is told by a callback of its last event.
 *
 * The callback comes on a driver's thread, the one that has just computed on PoCL, and completes the user events of those that waited only for this: from the
 * end of one kernel to the start of the next no thread has to wake up. It is a hint all the same: it never comes for failed commands on PoCL before 7, so the
 * completion raises the signal again, and callbacks that did not come keep their signal alive until the device is closed. Rejected: waiting for the other
 * queue's event itself, which ends at a context; and a failed user event, which ends at a PoCL that never tells: who waits behind a failure runs, on bytes that
 * mean nothing, and is taken as failed by its owner.
 */
#include "backend/opencl/internal.h"

#include <time.h>

enum { AWAIT_NS = 100000 };

struct pel_cl_telling {
    struct pel_cl_telling *next; /* of the device */
    const pel_allocator *allocator;
    pel_signal *signal;
    atomic_uint references;      /* the driver's and the device's */
};

static void open_gate(void *handle) {
    (void)clSetUserEventStatus(handle, CL_COMPLETE);
    (void)clReleaseEvent(handle);
}

pel_status pel_cl_gate(pel_cl_device *device, pel_gate *gate, cl_event *event, pel_error **error) {
    cl_int code = CL_SUCCESS;
    *event = clCreateUserEvent(device->context, &code);
    if (!*event || code != CL_SUCCESS) {
        *event = NULL;
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateUserEvent", "a launch cannot wait for another device");
    }
    code = clRetainEvent(*event); /* for who opens it */
    if (code != CL_SUCCESS) {
        clReleaseEvent(*event);
        *event = NULL;
        return pel_cl_fail(device, error, code, "clRetainEvent", "a launch cannot wait for another device");
    }
    pel_gate_arm(gate, open_gate, *event);
    return PEL_OK;
}

bool pel_cl_gate_is_new(const pel_cl_device *device, const pel_work *work, int64_t limit_ns) {
    return work->gate && (!pel_gate_is_open(work->gate) || pel_clock_now(device->env->clock) - pel_gate_opened_at(work->gate) < limit_ns);
}

void pel_cl_gate_await(const pel_work *work) {
    const struct timespec pause = {.tv_nsec = AWAIT_NS};
    while (work->gate && !pel_gate_is_open(work->gate)) {
        (void)nanosleep(&pause, NULL);
    }
}

static void let_go(struct pel_cl_telling *telling) {
    if (atomic_fetch_sub_explicit(&telling->references, 1, memory_order_acq_rel) == 1) {
        pel_signal_release(telling->signal);
        pel_free(telling->allocator, telling);
    }
}

static void CL_CALLBACK has_ended(cl_event event, cl_int state, void *user) {
    struct pel_cl_telling *telling = user;
    (void)event;
    if (state == CL_COMPLETE) { /* else those behind it hear of it first */
        pel_signal_raise(telling->signal);
    }
    let_go(telling);
}

/* Those that the driver is done with go; `all`: it never calls any more. */
static void sweep(pel_cl_device *device, bool all) {
    for (struct pel_cl_telling **at = &device->tellings; *at;) {
        struct pel_cl_telling *telling = *at;
        if (!all && atomic_load_explicit(&telling->references, memory_order_acquire) > 1) {
            at = &telling->next;
            continue;
        }
        *at = telling->next;
        if (all && atomic_load_explicit(&telling->references, memory_order_acquire) > 1) {
            let_go(telling);
        }
        let_go(telling);
    }
}

void pel_cl_tell_end(pel_cl_device *device, pel_work *work, cl_event event) {
    pel_signal *ends = atomic_load_explicit(&work->ends, memory_order_acquire);
    if (!ends || !device->base.facts->host_coherent) {
        return;
    }
    sweep(device, false);
    struct pel_cl_telling *telling = pel_alloc(device->env->allocator, sizeof *telling);
    if (!telling) {
        return; /* the completion tells */
    }
    *telling = (struct pel_cl_telling){.next = device->tellings, .allocator = device->env->allocator, .signal = pel_signal_retain(ends), .references = 2};
    device->tellings = telling;
    if (clSetEventCallback(event, CL_COMPLETE, has_ended, telling) != CL_SUCCESS) {
        let_go(telling);
    }
}

void pel_cl_tell_no_more(pel_cl_device *device) { sweep(device, true); }

bool pel_cl_gates(const pel_backend_device *base) {
    const pel_cl_device *device = (const pel_cl_device *)base;
    return base->facts->host_coherent && device->may_begin;
}
