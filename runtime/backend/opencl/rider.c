/* SPDX-License-Identifier: BSD-3-Clause */
/* One launch on the train (train.c): getting on, whether it has ended, how the next end is waited for, getting off. */
#include "backend/opencl/flight.h"

#include <string.h>

_Static_assert((int)PEL_CL_RIDER_EVENTS == (int)PEL_CL_FLIGHT_EVENTS, "a flight's events are the rider's");

#define SOON_NS 300000.0          /* what a report may be late for those behind it: five times what waiting costs at all */
/* The same of works that are many tiny launches each, of which nobody waits for one: to look on the way costs 0.2 to 0.5 us a
 * launch (2 vCPUs, 2026-11). */
#define SOON_MANY_NS 3000000.0

bool pel_cl_rides(const pel_cl_device *device, const pel_work *work) {
    return work->kind == PEL_WORK_LAUNCH && !work->alone && work->step_count == 0 && !work->sensitive &&
           (device->base.facts->host_coherent || (work->in_count == 0 && work->out_count == 0));
}

static pel_status enqueue_row(pel_cl_flight *flight, pel_work *work) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < work->times && status == PEL_OK; i++) {
        bool cold = false;
        flight->work = work->row[i];
        flight->usual = false;
        status = pel_cl_enqueue_launch(flight, &cold, &work->error);
        work->cold = work->cold || cold;
    }
    flight->work = work;
    return status;
}

void pel_cl_board(pel_cl_device *device, pel_work *work, pel_cl_rider *rider, struct pel_cl_opening *held, bool first) {
    pel_cl_flight flight;
    rider->work = work;
    rider->count = rider->ended = 0;
    rider->opening = NULL;
    work->status = pel_cl_flight_begin(&flight, device, work);
    flight.held = held;
    if (work->status == PEL_OK && first && !flight.opening) {
        flight.opening = pel_cl_opening_retain(held);
    }
    if (work->status == PEL_OK) {
        work->status = work->row ? enqueue_row(&flight, work) : pel_cl_enqueue_launch(&flight, &work->cold, &work->error);
    }
    work->commands = flight.count;
    if (work->status != PEL_OK) {
        work->untouched = pel_cl_untouched(&flight, work);
        work->reached = flight.complete;
    }
    rider->each = flight.partly ? 0 : flight.each;
    rider->opening = flight.opening;
    if (work->status == PEL_OK && !device->is_pocl) {
        clFlush(device->queue);
    }
    if (work->status == PEL_OK && flight.count > 0) {
        pel_cl_tell_end(device, work, flight.events[flight.count - 1]);
    }
    memcpy(rider->events, flight.events, flight.count * sizeof *rider->events);
    rider->count = flight.count;
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
    while (rider->ended < rider->count && work->status == PEL_OK) {
        cl_int state = pel_cl_state_of(rider->events[rider->ended]);
        if (state > 0) {
            if (device->broken_at == 0 || pel_cl_gate_is_new(device, work, PEL_CL_DRAIN_NS) ||
                pel_clock_now(&pel_clock_monotonic) - device->broken_at < PEL_CL_DRAIN_NS) {
                return 1;
            }
            work->status = pel_cl_refuse(device, &work->error, PEL_DEVICE_FAILED, "",
                                         "the launch did not end after an earlier one had failed");
        } else if (state < 0) {
            work->status = pel_cl_fail(device, &work->error, state, "the command's event", "the launch failed");
        } else {
            rider->ended++;
        }
    }
    return 0;
}

/* Which launches of a work that failed ended well all the same. */
static void tell_which(pel_cl_rider *rider) {
    pel_work *work = rider->work;
    const uint32_t launches = rider->each > 0 ? rider->count / rider->each : 0;
    work->well = 0;
    for (uint32_t i = 0; i < launches; i++) {
        bool well = true;
        for (uint32_t k = 0; k < rider->each && well; k++) {
            well = pel_cl_state_of(rider->events[i * rider->each + k]) == CL_COMPLETE;
        }
        work->well |= (uint64_t)well << i;
    }
    const uint32_t first = ~work->well != 0 ? (uint32_t)__builtin_ctzll(~work->well) : launches;
    const bool fails = first < pel_cl_times(work); /* else all of them did, and it failed all the same: who knows why */
    work->well = fails ? work->well : 0;
    work->reached = fails ? first : 0;
}

void pel_cl_alight(pel_cl_device *device, pel_cl_rider *rider) {
    if (rider->work->status != PEL_OK && rider->count > 0) {
        pel_cl_gate_await(rider->work, rider->opening);
        device->broken_at = device->broken_at != 0 ? device->broken_at : pel_clock_now(&pel_clock_monotonic);
        if (pel_cl_opening_state(rider->opening) > 0) { /* else it never begins */
            pel_cl_drain_events(device, rider->events, rider->count, PEL_CL_DRAIN_NS);
        }
        tell_which(rider);
    }
    for (uint32_t i = 0; i < rider->count; i++) {
        clReleaseEvent(rider->events[i]);
    }
    pel_cl_opening_release(rider->opening);
    rider->count = 0;
    rider->opening = NULL;
}

/*
 * clFinish waits for all of them: where that is not much longer than for the oldest. Somebody may wait for one that is no such
 * row, and would hear of its end after those behind it.
 */
static bool ends_soon(const pel_cl_device *device, uint32_t count) {
    double all = 0, late = 0;
    for (uint32_t i = 0; i < count && count > 1 && all < SOON_MANY_NS; i++) {
        const pel_work *work = device->riders[(device->first_rider + i) % PEL_CL_TRAIN].work;
        const double predicted = pel_cl_expected_ns(device, work), expected = predicted > 0 ? predicted : SOON_MANY_NS;
        const bool is_row = work->times > 1 && expected / work->times < PEL_CL_TINY_NS;
        all += expected;
        late += is_row && late <= 0 ? 0 : expected;
    }
    return late < SOON_NS && all < SOON_MANY_NS;
}

/* Or may never end, which clFinish would wait for. */
static bool one_has_failed(const pel_cl_device *device, uint32_t count) {
    bool failed = false;
    for (uint32_t i = 0; i < count && !failed; i++) {
        const pel_cl_rider *rider = &device->riders[(device->first_rider + i) % PEL_CL_TRAIN];
        failed = failed || pel_cl_opening_state(rider->opening) <= 0;
        for (uint32_t k = rider->ended; k < rider->count && !failed; k++) {
            failed = pel_cl_state_of(rider->events[k]) < 0;
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
    const double expected = pel_cl_expected_ns(device, work), step = expected / 20,
                 left = expected - (double)(pel_cl_now(device) - pel_cl_begin_of(device, work)),
                 wanted = left > step ? left : step;
    return wanted > PEL_CL_LONGEST_BESIDE_NS ? PEL_CL_LONGEST_BESIDE_NS
           : wanted > PEL_CL_FIRST_NAP_NS    ? (int64_t)wanted
                                             : PEL_CL_FIRST_NAP_NS;
}

void pel_cl_await(pel_cl_device *device) {
    const uint32_t count = atomic_load_explicit(&device->rider_count, memory_order_relaxed);
    pel_cl_rider *oldest = &device->riders[device->first_rider];
    pel_work *work = oldest->work;
    if (device->is_pocl && device->broken_at == 0 && ends_soon(device, count) && !one_has_failed(device, count)) {
        const bool seen = count == 1 && pel_cl_look_awhile(device, oldest->events[oldest->count - 1]);
        cl_int code = seen ? CL_SUCCESS : clFinish(device->queue);
        if (code != CL_SUCCESS) {
            work->status = pel_cl_fail(device, &work->error, code, "clFinish", "the launch failed");
        }
    } else if (device->is_pocl || device->broken_at != 0) {
        pel_cl_nap(device->broken_at == 0 ? nap_beside_others(device, work) : PEL_CL_FIRST_NAP_NS);
    } else {
        if (work->predicted_ns > PEL_CL_WORTH_SLEEPING_NS && count == 1) {
            pel_cl_nap_until_due(device, work, oldest->events[oldest->count - 1]);
        }
        (void)pel_cl_poll_event(oldest->events[oldest->count - 1], 0);
    }
}
