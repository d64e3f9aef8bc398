/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Placing a whole graph: which device takes which task, by earliest finish time (HEFT: Topcuoglu, Hariri and Wu, IEEE TPDS 13(3),
 * 2002). Tasks are taken by descending upward rank, the length of the longest way from a task to the end with mean times; each
 * goes where it would end first, into a gap if there is one that is long enough. A pure function of its request, as the rest of
 * the planner.
 *
 * Added to the paper: data that one task has brought to a device is there for the next one, and where a device moves and computes
 * by turns, its transfers take its time. A task may be *divided* over several devices, which is one more way to run it. And the
 * result is the best of what is known: HEFT, HEFT on each device alone, and placing command by command as the planner does
 * without a graph; a plan that is not predicted to beat the last is not made. Rejected: looking ahead one step (Bittencourt et
 * al. 2010: some per cent better, at the number of devices times the cost).
 */
#ifndef PEL_PLANNER_SCHEDULE_H
#define PEL_PLANNER_SCHEDULE_H

#include "base/alloc.h"
#include <pel/status.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEL_SCHEDULE_DEVICES = 63 };

typedef struct pel_schedule_edge {
    uint32_t from, to; /* from < to */
    double bytes;      /* that `to` reads of what `from` wrote; 0: an order */
} pel_schedule_edge;

/* A way to run a task. Ways 0 to devices - 1: on that device. Then `home`: in host memory beside everything else, as tasks of
 * the host are. Then divided. */
typedef struct pel_schedule_way {
    bool possible;
    double ns;
} pel_schedule_way;

typedef struct pel_schedule_device {
    uint64_t overlaps;     /* devices that cannot compute while it does, itself not included */
    double latency_ns;     /* of a transfer between it and host memory; 0, 0: it computes in host memory */
    double byte_ns;
    bool beside;           /* transfers run beside computing and beside each other; else they take its time */
} pel_schedule_device;

typedef struct pel_schedule_request {
    uint32_t task_count, device_count, edge_count;
    const pel_schedule_device *devices;
    const pel_schedule_edge *edges; /* any order */
    const pel_schedule_way *ways;   /* device_count + 2 for each task */
    const uint64_t *divided;        /* by task: over which devices, where that way is possible; NULL: nowhere */
    const double *home_bytes;       /* by task: what must be in host memory before the whole is over; NULL: nothing */
    /* by task: devices that have its output already (inputs from outside are tasks at home of 0 ns); NULL: none */
    const uint64_t *present;
} pel_schedule_request;

static inline uint32_t pel_schedule_home(const pel_schedule_request *request) { return request->device_count; }
static inline uint32_t pel_schedule_divided(const pel_schedule_request *request) { return request->device_count + 1; }
static inline uint32_t pel_schedule_ways(const pel_schedule_request *request) { return request->device_count + 2; }

typedef struct pel_schedule_place {
    uint32_t way;
    double begin_ns, end_ns; /* with what it brings in */
    double ns;      /* without */
    double rank_ns; /* upward rank: what is still to come once the task begins, in the mean */
} pel_schedule_place;

/* Which of the schedules it is. */
typedef enum pel_schedule_kind {
    PEL_SCHEDULE_EARLIEST, /* by earliest finish time over all devices */
    PEL_SCHEDULE_ALONE,    /* likewise, over one device and home */
    PEL_SCHEDULE_IN_ORDER  /* no plan: command by command is predicted to be as good */
} pel_schedule_kind;

typedef struct pel_schedule {
    pel_schedule_kind kind;
    pel_schedule_place *places; /* by task; pel_schedule_free */
    double makespan_ns;
    double in_order_ns;         /* what command by command would take by the same models */
    double earliest_ns;         /* and HEFT over all devices */
} pel_schedule;

/* INVALID_ARGUMENT: a task that cannot run anywhere, an edge that goes backwards, too many devices. OUT_OF_MEMORY. Nothing to
 * free then. */
pel_status pel_schedule_make(const pel_schedule_request *request, const pel_allocator *allocator, pel_schedule *schedule);
void pel_schedule_free(pel_schedule *schedule, const pel_allocator *allocator);

#endif
