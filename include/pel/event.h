/* SPDX-License-Identifier: BSD-3-Clause */
/* An event is the completion of a command: its state, status, timings and plan. Reference-counted; outlives queue and runtime. */
#ifndef PEL_EVENT_H
#define PEL_EVENT_H

#include <pel/export.h>
#include <pel/plan.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_event pel_event;

typedef enum pel_event_state {
    PEL_EVENT_SUBMITTED = 0, /* waits for what it depends on */
    PEL_EVENT_RUNNING = 1,
    PEL_EVENT_COMPLETE = 2   /* succeeded, failed or cancelled: see pel_event_status */
} pel_event_state;

/* Any thread; never blocks. A task that was cancelled may show RUNNING for a moment before it is COMPLETE, while whoever would
 * have run it finds out; its function is not called all the same. */
PEL_API pel_event_state pel_event_get_state(const pel_event *event);

/* Status of a complete command; PEL_BUSY before that. Any thread; never blocks. Who looks again and again until it is complete
 * asks this: pel_event_get_state also reads what the beginning writes, and so holds that up. */
PEL_API pel_status pel_event_status(const pel_event *event);

/* The story of a failed command, owned by the event; NULL when there is none or the command is not complete. Any thread; never
 * blocks. */
PEL_API const pel_error *pel_event_error(const pel_event *event);

/*
 * Waits until the command is complete and returns its status. Blocks; may drive devices and run tasks and host variants on the
 * calling thread meanwhile, as pel_queue_finish does. It does not bring data home: that is pel_queue_finish or pel_buffer_sync.
 *
 * From inside a task: runs other tasks on the calling thread meanwhile, whatever they are. WOULD_DEADLOCK, at once, when the
 * command cannot be complete before the task: it is the task, one that submitted it, one below it on the calling thread's stack,
 * or comes after one of these; or when stacks are 200 waits deep everywhere. A wait for commands that the task itself has
 * submitted is refused for the last reason only. From inside a loop, a parallel loop or a host variant: WOULD_DEADLOCK, unless
 * the command is complete.
 */
PEL_API pel_status pel_event_wait(pel_event *event);

/*
 * Nanoseconds of the runtime's clock (pel_runtime_now). Zero where not reached; all zero for tasks of a queue with
 * PEL_QUEUE_UNTIMED; `began` and `ended` are told once the command is complete. Any thread; never blocks.
 */
typedef struct pel_event_timing {
    int64_t submitted, began, ended;
} pel_event_timing;
PEL_API void pel_event_get_timing(const pel_event *event, pel_event_timing *timing);

/* A snapshot of the launch's plan with its actual times, owned by the caller (pel_plan_destroy). NOT_FOUND for commands other
 * than launches; BUSY before completion; OUT_OF_MEMORY. Any thread; never blocks. */
PEL_API PEL_MUST_CHECK pel_status pel_event_get_plan(const pel_event *event, pel_plan **plan);

/*
 * An event that the caller ends: commands that wait for it begin only then. Unless it is ended it counts as an object of the
 * runtime (pel_runtime_destroy is BUSY). Releasing the last reference ends it as CANCELLED. Any thread. On a virtual machine,
 * waiting for something that waits for it is WOULD_DEADLOCK or INTERNAL unless it has been ended before: nobody else could.
 */
PEL_API PEL_MUST_CHECK pel_status pel_event_create_user(pel_runtime *runtime, pel_event **event, pel_error **error);

/*
 * Ends a user event. A status other than OK is a failure: what waits for it is not run and ends as DEPENDENCY_FAILED. Any thread,
 * also in a task or a callback; never blocks. INVALID_ARGUMENT: not a user event; BUSY: it has been ended already.
 */
PEL_API pel_status pel_event_set_status(pel_event *event, pel_status status);

/*
 * Cancels a command that has not begun. OK: it will not run; it ends as CANCELLED as soon as what it comes after is over (or as
 * DEPENDENCY_FAILED when that fails first). It is a failure like any other: what depends on it by data or by waiting ends as
 * DEPENDENCY_FAILED, what only comes after it runs, what it should have written is undefined, and pel_queue_finish reports it
 * until pel_queue_reset. BUSY: it has begun (state RUNNING: it may still be waiting for a device) or is over. A launch that has
 * begun is cancelled all the same, and OK returned, where its kernel has a flag for that (PEL_PARAM_CANCEL): it ends as CANCELLED
 * when its chunks have returned. A user event is ended as CANCELLED. Any thread; never blocks.
 */
PEL_API pel_status pel_event_cancel(pel_event *event);

/* One reference more, which somebody releases; returns the event. The last release frees it, command, queue and runtime living
 * or not. Any thread; never blocks. */
PEL_API pel_event *pel_event_retain(pel_event *event);
PEL_API void pel_event_release(pel_event *event); /* NULL is allowed */

PEL_END_DECLS
#endif
