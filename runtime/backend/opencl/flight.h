/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of one work under way, and how they are waited for: see flight.c. Everything here needs the baton. */
#ifndef PEL_BACKEND_OPENCL_FLIGHT_H
#define PEL_BACKEND_OPENCL_FLIGHT_H

#include "backend/opencl/internal.h"

#define PEL_CL_FLIGHT_EVENTS 64u   /* commands of one work in flight; more transfers are waited for in between */
#define PEL_CL_SLEEP_SHARE 0.5     /* of the predicted time that is slept through before looking */
#define PEL_CL_LOOK_SHARE 0.03125  /* and between looks */
/* a nanosleep takes 55-110 us whatever is asked (timer slack 50 us; 2 cores, 2026-11) */
#define PEL_CL_WORTH_SLEEPING_NS 100000.0
#define PEL_CL_FIRST_NAP_NS 5000
#define PEL_CL_TINY_NS 16000.0     /* as predicted from launches by themselves, which take four times as long as in a row */
#define PEL_CL_DRAIN_NS 1000000000 /* what a failed work's other commands get to end */

typedef struct pel_cl_flight {
    pel_cl_device *device;
    pel_work *work;
    cl_event events[PEL_CL_FLIGHT_EVENTS];
    uint32_t count;
    uint32_t in_end; /* events before this one are transfers to the device */
    bool windowed;   /* a step: the kernel with windows */
    bool usual;      /* its kernel was enqueued just so before: whatever it needs is compiled */
    struct pel_cl_opening *opening; /* before the first enqueue of the launch; NULL: none */
    struct pel_cl_opening *held; /* who enqueues opens it: this or an earlier launch begins with it, so nothing ends before */
    bool gated;      /* that has been enqueued */
    uint32_t complete; /* launches of the work whose commands are all enqueued */
    uint32_t each;   /* commands of each of them; 0: not alike */
    bool partly;     /* and some commands of the next one are */
} pel_cl_flight;

static inline int64_t pel_cl_now(const pel_cl_device *device) { return pel_clock_now(device->env->clock); }

void pel_cl_nap(int64_t nanoseconds);
cl_int pel_cl_state_of(cl_event event); /* > 0: under way; 0: complete; < 0: failed */
/* Not before the oldest work was enqueued, what was before it ended, and its gate opened; by the device's clock. */
int64_t pel_cl_begin_of(const pel_cl_device *device, const pel_work *work);
/* Or until the event, its last, has ended. */
void pel_cl_nap_until_due(const pel_cl_device *device, const pel_work *work, cl_event event);
/* Looks, then naps, until the event has ended or `limit_ns` (0: none) has passed. */
cl_int pel_cl_poll_event(cl_event event, int64_t limit_ns);
/* Whether it was seen to end, well or not, by a waiting thread that looked for a moment. */
bool pel_cl_look_awhile(pel_cl_device *device, cl_event event);
void pel_cl_let_go(const pel_cl_flight *flight); /* opens what is held: before anything that takes long, or waits */
/* Waits for events [from, to). */
pel_status pel_cl_settle(pel_cl_flight *flight, uint32_t from, uint32_t to, double predicted_ns, const char *what,
                         pel_error **error);
pel_status pel_cl_make_room(pel_cl_flight *flight, uint32_t commands, pel_error **error); /* for so many more */
pel_status pel_cl_enqueue_transfers(pel_cl_flight *flight, const pel_transfer *list, uint32_t count, bool in, pel_error **error);
void pel_cl_flight_drop(pel_cl_flight *flight); /* releases its events */
/* After a failure: nothing of these runs any more, if that can be had; and of all that is under way, and the queue is new. */
void pel_cl_drain_events(const pel_cl_device *device, const cl_event *events, uint32_t count, int64_t limit_ns);
void pel_cl_flight_drain(pel_cl_flight *flight);

/* run.c: a flight for a work that begins now; its gate is looked at. */
pel_status pel_cl_flight_begin(pel_cl_flight *flight, pel_cl_device *device, pel_work *work);

/* Of a launch that failed while it was enqueued, or before: how many launches of the work have not begun. */
static inline uint32_t pel_cl_untouched(const pel_cl_flight *flight, const pel_work *work) {
    return pel_cl_times(work) - flight->complete - (flight->partly ? 1u : 0u);
}

/* launch.c: enqueues a launch without waiting for it; *cold: something was compiled */
pel_status pel_cl_enqueue_launch(pel_cl_flight *flight, bool *cold, pel_error **error);

/* arguments.c */
/* Before any argument is set: PoCL accepts too much local memory and then aborts the process, Oclgrind throws an exception. */
pel_status pel_cl_check_local_memory(const pel_cl_device *device, const pel_cl_kernel *kernel, pel_cl_form form,
                                     const pel_work_arg *args, pel_error **error);
/* Only what changed since the last launch of this form. */
pel_status pel_cl_set_arguments(const pel_cl_device *device, pel_cl_kernel *kernel, pel_cl_form form, const pel_work_arg *args,
                                pel_error **error);

#endif
