/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order between devices, as OpenCL does it: a work's gate is a user event in its device's context, a work's end is told by a
 * callback of its last event.
 *
 * The callback comes on a driver's thread, the one that has just computed on PoCL, and completes the user events of those that
 * waited only for this: from the end of one kernel to the start of the next no thread has to wake up. It is a hint all the same:
 * it never comes for failed commands on PoCL before 7, so the completion raises the signal again, and callbacks that did not come
 * keep their signal alive until the device is closed. Rejected: waiting for the other queue's event itself, which ends at a
 * context; and a failed user event, which ends at a PoCL that never tells: who waits behind a failure runs, on bytes that mean
 * nothing, and is taken as failed by its owner.
 */
#include "backend/opencl/internal.h"

#include <time.h>

/* LATE: what a callback may come after its command was seen to be complete */
enum { AWAIT_NS = 100000, ATTEMPTS = 3, LATE_NS = 1000000000 };

struct pel_cl_telling {
    struct pel_cl_telling *next; /* of the device */
    const pel_allocator *allocator;
    pel_signal *signal;
    atomic_uint references;      /* the driver's and the device's */
};

/* A user event that completes when a gate opens; the work's and the opener's. */
struct pel_cl_opening {
    const pel_allocator *allocator;
    cl_event event;
    atomic_int state;            /* 0: closed; > 0: open; < 0: it could not be completed, and what waits for it never begins */
    atomic_uint references;
};

void pel_cl_opening_release(struct pel_cl_opening *opening) {
    if (opening && atomic_fetch_sub_explicit(&opening->references, 1, memory_order_acq_rel) == 1) {
        clReleaseEvent(opening->event);
        pel_free(opening->allocator, opening);
    }
}

void pel_cl_opening_open(struct pel_cl_opening *opening) {
    cl_int code = CL_OUT_OF_RESOURCES;
    for (int i = 0; i < ATTEMPTS && code != CL_SUCCESS; i++) {
        code = clSetUserEventStatus(opening->event, CL_COMPLETE);
    }
    atomic_store_explicit(&opening->state, code == CL_SUCCESS ? 1 : -1, memory_order_release);
}

static void open_gate(void *handle) {
    pel_cl_opening_open(handle);
    pel_cl_opening_release(handle);
}

static struct pel_cl_opening *make_opening(const pel_cl_device *device, cl_int *code) {
    struct pel_cl_opening *made = pel_alloc_zero(device->env->allocator, 1, sizeof *made);
    *code = CL_SUCCESS;
    if (!made) {
        return NULL;
    }
    made->allocator = device->env->allocator;
    made->event = clCreateUserEvent(device->context, code);
    if (!made->event || *code != CL_SUCCESS) {
        *code = *code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : *code;
        pel_free(device->env->allocator, made);
        return NULL;
    }
    atomic_init(&made->references, 1);
    return made;
}

struct pel_cl_opening *pel_cl_hold(const pel_cl_device *device) {
    cl_int code;
    return make_opening(device, &code);
}

struct pel_cl_opening *pel_cl_opening_retain(struct pel_cl_opening *opening) {
    if (opening) {
        atomic_fetch_add_explicit(&opening->references, 1, memory_order_relaxed);
    }
    return opening;
}

pel_status pel_cl_gate(pel_cl_device *device, pel_gate *gate, struct pel_cl_opening **opening, pel_error **error) {
    cl_int code;
    struct pel_cl_opening *made = make_opening(device, &code);
    if (!made && code == CL_SUCCESS) {
        return pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory",
                             "no memory for a launch that waits for another device");
    }
    if (!made) {
        return pel_cl_fail(device, error, code, "clCreateUserEvent", "a launch cannot wait for another device");
    }
    *opening = made;
    pel_gate_arm(gate, open_gate, pel_cl_opening_retain(made));
    return PEL_OK;
}

const cl_event *pel_cl_opening_event(const struct pel_cl_opening *opening) { return &opening->event; }
int pel_cl_opening_state(const struct pel_cl_opening *opening) {
    return opening ? atomic_load_explicit(&opening->state, memory_order_acquire) : 1;
}

pel_status pel_cl_opening_failed(const pel_cl_device *device, pel_error **error) {
    return pel_cl_fail(device, error, CL_OUT_OF_RESOURCES, "clSetUserEventStatus",
                       "a launch that waited for another device could not be told to begin");
}

bool pel_cl_gate_is_new(const pel_cl_device *device, const pel_work *work, int64_t limit_ns) {
    return work->gate &&
           (!pel_gate_is_open(work->gate) || pel_clock_now(device->env->clock) - pel_gate_opened_at(work->gate) < limit_ns);
}

void pel_cl_gate_await(const pel_work *work, const struct pel_cl_opening *opening) {
    const struct timespec pause = {.tv_nsec = AWAIT_NS};
    while ((work->gate && !pel_gate_is_open(work->gate)) || pel_cl_opening_state(opening) == 0) {
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
    *telling = (struct pel_cl_telling){
        .next = device->tellings, .allocator = device->env->allocator, .signal = pel_signal_retain(ends), .references = 2};
    device->tellings = telling;
    if (clSetEventCallback(event, CL_COMPLETE, has_ended, telling) != CL_SUCCESS) {
        let_go(telling);
    }
}

/* Drivers call back a moment after everything else says that the command is complete; of those that never call nothing is
 * known but that they have not. */
void pel_cl_tell_no_more(pel_cl_device *device) {
    const struct timespec pause = {.tv_nsec = AWAIT_NS};
    const int64_t began = pel_clock_now(&pel_clock_monotonic);
    sweep(device, false);
    while (device->tellings && pel_clock_now(&pel_clock_monotonic) - began < LATE_NS) {
        (void)nanosleep(&pause, NULL);
        sweep(device, false);
    }
    sweep(device, true);
}

bool pel_cl_gates(const pel_backend_device *base) {
    const pel_cl_device *device = (const pel_cl_device *)base;
    return base->facts->host_coherent && device->may_begin;
}
