/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A work that runs by itself: transfers in, the launch, transfers out, each waited for in order so that the times of the parts
 * are seen. What only launches goes with others instead: rider.c.
 */
#include "backend/opencl/flight.h"

#include "backend/opencl/staging.h"
#include <string.h>

static const char from_device[] = "a transfer from the device failed";

static const pel_transfer *hints_of(const pel_work *work) { return work->out + (work->out_count - work->hint_count); }

/* What came of them is all the same to the work. */
static void note_hints(const pel_cl_device *device, pel_work *work, pel_status status, pel_error *error) {
    work->hint_lost = work->hint_lost || status != PEL_OK;
    if (status != PEL_OK) {
        pel_log(device->env->logger, PEL_LOG_INFO,
                "%s: results that were sent home early did not arrive, and are fetched when they are wanted: %s", device->label,
                error ? pel_error_message(error) : pel_status_text(status));
    }
    pel_error_destroy(error);
}

static void enqueue_hints(pel_cl_flight *flight, pel_work *work) {
    pel_error *error = NULL;
    if (work->hint_count > 0) {
        const pel_status status = pel_cl_enqueue_transfers(flight, hints_of(work), work->hint_count, false, &error);
        note_hints(flight->device, work, status, error);
    }
}

static void settle_hints(pel_cl_flight *flight, pel_work *work, uint32_t from) {
    pel_error *error = NULL;
    if (from < flight->count) {
        const pel_status status = pel_cl_settle(flight, from, flight->count, 0, from_device, &error);
        note_hints(flight->device, work, status, error);
    }
}

/* Behind the launch, without waiting; hints are those from *hints_begin on. */
static pel_status enqueue_results(pel_cl_flight *flight, pel_work *work, uint32_t *hints_begin) {
    pel_status status =
        pel_cl_enqueue_transfers(flight, work->out, work->out_count - work->hint_count, false, &work->error);
    *hints_begin = flight->count;
    if (status == PEL_OK) {
        enqueue_hints(flight, work);
    }
    return status;
}

/* More than fits beside the launch, or through pinned memory: the launch has been seen to end. */
static pel_status bring_results(pel_cl_flight *flight, pel_work *work) {
    pel_cl_flight_drop(flight);
    pel_status status =
        pel_cl_enqueue_transfers(flight, work->out, work->out_count - work->hint_count, false, &work->error);
    clFlush(flight->device->queue);
    status = status == PEL_OK ? pel_cl_settle(flight, 0, flight->count, 0, from_device, &work->error) : status;
    if (status == PEL_OK && work->hint_count > 0) {
        pel_cl_flight_drop(flight);
        enqueue_hints(flight, work);
        clFlush(flight->device->queue);
        settle_hints(flight, work, 0);
    }
    return status;
}

static pel_status run_launch(pel_cl_flight *flight, pel_work *work) {
    pel_cl_device *device = flight->device;
    pel_status status = pel_cl_enqueue_transfers(flight, work->in, work->in_count, true, &work->error);
    if (status == PEL_OK) {
        status = pel_cl_make_room(flight, PEL_CL_PIECES, &work->error);
    }
    flight->in_end = flight->count;
    work->launch_began = work->launch_ended = pel_cl_now(device);
    if (status == PEL_OK) {
        status = pel_cl_enqueue_launch(flight, &work->cold, &work->error);
    }
    uint32_t launch_end = flight->count, hints_begin = launch_end;
    bool copies_out = work->out_count > 0 && !device->base.facts->host_coherent;
    /* More transfers than fit are enqueued after the launch has been seen to end. */
    bool together = copies_out && work->out_count <= PEL_CL_FLIGHT_EVENTS - launch_end &&
                    !pel_cl_may_stage(device, work->out, work->out_count);
    if (status == PEL_OK && together) {
        status = enqueue_results(flight, work, &hints_begin);
    }
    if (status == PEL_OK && !device->is_pocl) {
        clFlush(device->queue);
    }
    uint32_t in_end = flight->in_end;
    if (status == PEL_OK && in_end > 0) {
        status = pel_cl_settle(flight, 0, in_end, 0, "a transfer to the device failed", &work->error);
        work->launch_began = pel_cl_now(device);
    }
    if (status == PEL_OK) {
        status = pel_cl_settle(flight, in_end, launch_end, work->predicted_ns, "the launch failed", &work->error);
        work->launch_ended = pel_cl_now(device);
    }
    if (status == PEL_OK && copies_out && !together) {
        return bring_results(flight, work);
    }
    if (status == PEL_OK) {
        status = pel_cl_settle(flight, launch_end, hints_begin, 0, from_device, &work->error);
    }
    if (status == PEL_OK) {
        settle_hints(flight, work, hints_begin);
    }
    return status;
}

static pel_status run_transfers(pel_cl_flight *flight, pel_work *work) {
    pel_status status = pel_cl_enqueue_transfers(flight, work->in, work->in_count, true, &work->error);
    if (status == PEL_OK) {
        status = pel_cl_enqueue_transfers(flight, work->out, work->out_count, false, &work->error);
    }
    if (status == PEL_OK && flight->count > 0) {
        clFlush(flight->device->queue);
        status = pel_cl_settle(flight, 0, flight->count, 0, "a transfer failed", &work->error);
    }
    return status;
}

pel_status pel_cl_enqueue_step(pel_cl_device *device, pel_work *step, bool *cold, cl_event *events, uint32_t *count,
                               pel_error **error) {
    pel_cl_flight flight = {.device = device, .work = step, .windowed = true};
    pel_status status = pel_cl_enqueue_launch(&flight, cold, error);
    memcpy(events, flight.events, flight.count * sizeof *events);
    *count = flight.count;
    return status;
}

/* What all steps need comes in before them, what they add up goes home after them. */
static pel_status run_stepped(pel_cl_flight *flight, pel_work *work) {
    pel_cl_device *device = flight->device;
    pel_status status = pel_cl_enqueue_transfers(flight, work->in, work->in_count, true, &work->error);
    if (status == PEL_OK && flight->count > 0) {
        clFlush(device->queue);
        status = pel_cl_settle(flight, 0, flight->count, 0, "a transfer to the device failed", &work->error);
    }
    work->launch_began = work->launch_ended = pel_cl_now(device);
    if (status != PEL_OK) {
        return status;
    }
    pel_cl_flight_drop(flight);
    status = pel_cl_run_steps(device, work);
    work->launch_ended = pel_cl_now(device);
    if (status == PEL_OK) {
        status = pel_cl_enqueue_transfers(flight, work->out, work->out_count, false, &work->error);
    }
    if (status == PEL_OK && flight->count > 0) {
        clFlush(device->queue);
        status = pel_cl_settle(flight, 0, flight->count, 0, from_device, &work->error);
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

pel_status pel_cl_flight_begin(pel_cl_flight *flight, pel_cl_device *device, pel_work *work) {
    flight->device = device;
    flight->work = work;
    flight->count = flight->in_end = 0;
    flight->windowed = flight->usual = false;
    flight->opening = NULL;
    flight->gated = flight->partly = false;
    flight->complete = flight->each = 0;
    flight->held = NULL;
    work->error = NULL;
    work->reached = work->untouched = 0;
    work->well = 0;
    work->cold = work->pooled = work->hint_lost = false;
    work->began = work->launch_began = work->launch_ended = pel_cl_now(device);
    atomic_store_explicit(&work->started, work->began, memory_order_relaxed);
    if (atomic_load_explicit(&work->skip, memory_order_acquire)) {
        return pel_cl_refuse(device, &work->error, PEL_DEPENDENCY_FAILED, "", "not run: what it depends on has failed");
    }
    pel_status status = pel_cl_ready(device, &work->error);
    return status == PEL_OK ? find_gate(flight, work) : status;
}

void pel_cl_run(pel_cl_device *device, pel_work *work) {
    pel_cl_flight flight;
    work->status = pel_cl_flight_begin(&flight, device, work);
    if (work->status == PEL_OK) {
        switch (work->kind) {
        case PEL_WORK_TRANSFER:
            work->status = run_transfers(&flight, work);
            break;
        case PEL_WORK_LAUNCH:
            work->status = work->step_count > 0 ? run_stepped(&flight, work) : run_launch(&flight, work);
            break;
        default:
            work->status = pel_cl_refuse(device, &work->error, PEL_UNSUPPORTED, "run it on the host",
                                         "host tasks and loops do not run on an OpenCL device");
        }
    }
    if (work->status != PEL_OK && work->step_count == 0) {
        work->untouched = pel_cl_untouched(&flight, work);
    }
    if ((work->status != PEL_OK || work->hint_lost) && flight.count > 0) {
        pel_cl_gate_await(work, flight.opening);
        pel_cl_flight_drain(&flight);
    }
    pel_cl_opening_release(flight.opening);
    pel_cl_flight_drop(&flight);
    work->ended = pel_cl_now(device);
    device->last_ended = pel_clock_now(&pel_clock_monotonic);
}
