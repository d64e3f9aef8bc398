/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands under way and how they are waited for.
 *
 * Everything is enqueued on the one in-order queue, flushed, and then waited for in order, so that a device with its own memory
 * has no gaps while the times of the parts are still seen. Each command has an event, and each event's own status is asked:
 * status does not always propagate, and on PoCL < 7 waiting for an event that has failed never returns. After a failure the queue
 * is drained, with a limit, and replaced.
 *
 * How to wait depends on the driver. PoCL's clFinish sleeps on a condition variable: it is used there. GPU drivers' blocking
 * waits spin a core, so there we sleep to half of the predicted time, look 16 times until it is due (an end is seen 3 % late at
 * most), often for a moment, and then nanosleep in growing steps. Rejected: the first look at 0.85 of it. What is seen is what
 * the model learns, so a device that was once thought slow stayed so: llvmpipe's parts of 14 ms took 21 for ever.
 */
#include "backend/opencl/flight.h"

#include "backend/opencl/staging.h"
#include "base/pause.h"
#include <sched.h>
#include <time.h>

#define LOOK_NS 20000 /* looking without sleeping: shorter than the sleep that it may save */
#define LONGEST_NAP_NS 500000

/* A look asks the driver, which takes a lock that its threads want, too. */
enum { PAUSES = 16, LOOKS_PER_YIELD = 16, MOST_VAIN = 7 };

void pel_cl_nap(int64_t nanoseconds) {
    struct timespec time = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    (void)nanosleep(&time, NULL);
}

/* > 0: under way; 0: complete; < 0: failed. */
cl_int pel_cl_state_of(cl_event event) {
    cl_int state = CL_QUEUED;
    cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return code == CL_SUCCESS ? state : code < 0 ? code : CL_INVALID_EVENT;
}

/* Looks, then naps, until the event has ended or `limit_ns` (0: none) has passed. */
cl_int pel_cl_poll_event(cl_event event, int64_t limit_ns) {
    int64_t began = pel_clock_now(&pel_clock_monotonic), pause = PEL_CL_FIRST_NAP_NS, passed = 0;
    cl_int state;
    while ((state = pel_cl_state_of(event)) > 0 && (limit_ns == 0 || passed < limit_ns)) {
        if (passed > LOOK_NS) {
            pel_cl_nap(pause);
            pause = pause < LONGEST_NAP_NS ? pause + pause / 4 : LONGEST_NAP_NS;
        }
        passed = pel_clock_now(&pel_clock_monotonic) - began;
    }
    return state;
}

int64_t pel_cl_begin_of(const pel_cl_device *device, const pel_work *work) {
    const int64_t opened = work->gate ? pel_gate_opened_at(work->gate) : 0,
                  began = device->last_report > work->launch_began ? device->last_report : work->launch_began;
    return opened > began ? opened : began;
}

/*
 * The time that has passed counts: who comes late to wait would sleep past the end, and to ask may itself take as long as the
 * kernel (Mesa 22.3 has the event locked while llvmpipe computes, and says then that it is under way).
 */
void pel_cl_nap_until_due(const pel_cl_device *device, const pel_work *work, cl_event event) {
    const double predicted = work->predicted_ns;
    const int64_t passed = pel_cl_now(device) - pel_cl_begin_of(device, work), step = (int64_t)(predicted * PEL_CL_LOOK_SHARE),
                  due = pel_clock_now(&pel_clock_monotonic) + (int64_t)predicted - passed,
                  asleep = (int64_t)(predicted * PEL_CL_SLEEP_SHARE) - passed;
    if (asleep > 0) {
        pel_cl_nap(asleep);
    }
    while (pel_clock_now(&pel_clock_monotonic) + step < due && pel_cl_state_of(event) > 0) {
        pel_cl_nap(step);
    }
}

/*
 * To be woken costs 15 to 50 us here, more than a short launch takes, so a thread that waits anyway looks first, for no longer
 * than the runtime may spin. On the host's cores a look takes what the kernel might use: where looking was in vain it is left out
 * for a while, each time twice as long. Between looks it gives way to whoever wants this core.
 */
bool pel_cl_look_awhile(pel_cl_device *device, cl_event event) {
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + device->env->spin_ns;
    cl_int state = CL_QUEUED;
    if (!device->guest || device->env->spin_ns == 0 || device->looks_left_out > 0) {
        device->looks_left_out -= device->looks_left_out > 0 ? 1u : 0u;
        return false;
    }
    for (uint32_t look = 1; (state = pel_cl_state_of(event)) > 0 && pel_clock_now(&pel_clock_monotonic) < until; look++) {
        for (uint32_t i = 0; i < PAUSES; i++) {
            pel_pause();
        }
        if (look % LOOKS_PER_YIELD == 0) {
            sched_yield();
        }
    }
    device->vain_looks = state <= 0 ? 0 : device->vain_looks < MOST_VAIN ? device->vain_looks + 1 : MOST_VAIN;
    device->looks_left_out = state <= 0 ? 0 : 1u << device->vain_looks;
    return state <= 0;
}

void pel_cl_flight_drop(pel_cl_flight *flight) {
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
void pel_cl_drain_events(const pel_cl_device *device, const cl_event *events, uint32_t count, int64_t limit_ns) {
    bool stuck = false, mute = false;
    clFlush(device->queue);
    for (uint32_t i = 0; i < count && !stuck; i++) {
        cl_int state = events[i] ? pel_cl_poll_event(events[i], limit_ns) : CL_COMPLETE;
        if (state < 0 && pel_cl_state_of(events[i]) > 0) { /* it was the question that failed, not the command */
            state = pel_cl_poll_event(events[i], limit_ns);
        }
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

void pel_cl_flight_drain(pel_cl_flight *flight) {
    pel_cl_drain_events(flight->device, flight->events, flight->count, PEL_CL_DRAIN_NS);
    pel_cl_flight_drop(flight);
    (void)pel_cl_renew_queue(flight->device, NULL); /* without one, the next work finds none and says so */
}

void pel_cl_let_go(const pel_cl_flight *flight) {
    if (flight->held && pel_cl_opening_state(flight->held) == 0) {
        pel_cl_opening_open(flight->held);
    }
}

/* Waits for events [from, to). */
pel_status pel_cl_settle(pel_cl_flight *flight, uint32_t from, uint32_t to, double predicted_ns, const char *what,
                         pel_error **error) {
    pel_cl_device *device = flight->device;
    cl_int state = CL_COMPLETE;

    if (from == to) {
        return PEL_OK;
    }
    pel_cl_let_go(flight); /* nobody else would */
    if (flight->opening) { /* first: clFinish would wait for ever for one that is never opened */
        pel_cl_gate_await(flight->work, flight->opening);
        if (pel_cl_opening_state(flight->opening) < 0) {
            return pel_cl_opening_failed(device, error);
        }
    }
    state = pel_cl_state_of(flight->events[to - 1]);
    if (state > 0 && device->is_pocl) {
        const bool seen = pel_cl_look_awhile(device, flight->events[to - 1]);
        const cl_int code = seen ? CL_SUCCESS : clFinish(device->queue);
        if (code != CL_SUCCESS) {
            return pel_cl_fail(device, error, code, "clFinish", "%s", what);
        }
    } else if (state > 0 && predicted_ns > PEL_CL_WORTH_SLEEPING_NS) {
        pel_cl_nap_until_due(device, flight->work, flight->events[to - 1]);
    }
    for (uint32_t i = from; i < to; i++) {
        state = pel_cl_poll_event(flight->events[i], 0);
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
        pel_status status = pel_cl_settle(flight, 0, flight->count, 0, "what a transfer waits for failed", error);
        if (status != PEL_OK) {
            return status;
        }
        pel_cl_flight_drop(flight);
    }
    pel_cl_ring_give(ring, &load);
    pel_cl_ring_await(ring, &load);
    if (load.status != PEL_OK) {
        *error = load.error;
    }
    return load.status;
}

pel_status pel_cl_enqueue_transfers(pel_cl_flight *flight, const pel_transfer *list, uint32_t count, bool in, pel_error **error) {
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
        if (flight->count == PEL_CL_FLIGHT_EVENTS) {
            clFlush(device->queue);
            pel_status status = pel_cl_settle(flight, 0, PEL_CL_FLIGHT_EVENTS, 0, "a transfer failed", error);
            if (status != PEL_OK) {
                return status;
            }
            pel_cl_flight_drop(flight);
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

/* Room for so many more commands: else what is in flight is waited for. */
pel_status pel_cl_make_room(pel_cl_flight *flight, uint32_t commands, pel_error **error) {
    if (flight->count + commands <= PEL_CL_FLIGHT_EVENTS) {
        return PEL_OK;
    }
    clFlush(flight->device->queue);
    pel_status status = pel_cl_settle(flight, 0, flight->count, 0, "a transfer or a part of the launch failed", error);
    if (status == PEL_OK) {
        pel_cl_flight_drop(flight);
    }
    return status;
}
