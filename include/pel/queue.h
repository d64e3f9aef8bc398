/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue takes commands in program order and runs them in any order that the data hazards allow. Dependencies belong to memory,
 * not to the queue: commands of several queues of one runtime that touch the same bytes are ordered by submission.
 * All submitting functions: any thread; they copy what they are given, run no kernels, and wait only where max_in_flight says so.
 * What a context points to must last until the command is complete. `event` may be NULL, else it receives a reference that the
 * caller releases. On error nothing was submitted: INVALID_ARGUMENT, TOO_LARGE (an access leaves its buffer), CONFLICT (inside a
 * task that has not declared it), UNSUPPORTED (in a recording), OUT_OF_MEMORY, AFTER_FORK; the story is in pel_queue_error.
 */
#ifndef PEL_QUEUE_H
#define PEL_QUEUE_H

#include <pel/buffer.h>
#include <pel/event.h>
#include <pel/export.h>
#include <pel/launch.h>
#include <pel/plan.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_queue pel_queue;

typedef enum pel_queue_flags {
    /* no clock is read for host tasks with nothing in their descriptor: their events' times are 0 (three readings are up to
     * half of such a task) */
    PEL_QUEUE_UNTIMED = 1u << 0,
    /*
     * Of the queue's tasks that a worker has made ready it takes the one that came ready first, as a sequential program would
     * come to them, instead of the last, which uses what the worker has just written. For tasks of tens of microseconds and more
     * that share their inputs with their neighbours (tiles of a factorisation). Of several that one end makes ready at once, any
     * may be first. Not for those that tasks submit.
     */
    PEL_QUEUE_OLDEST_FIRST = 1u << 1
} pel_queue_flags;

typedef struct pel_queue_desc {
    size_t size;               /* sizeof(pel_queue_desc); 0: the layout of the first release */
    const char *name;          /* for messages and traces */
    /* submission waits beyond so many unfinished commands; 0: no limit. Of n threads that submit at once
     * n - 1 may each be one too many. Neither a task nor a thread that has something mapped waits. */
    uint32_t max_in_flight;
    /* its share of the devices' time while other queues have launches or loops, too, and of the host workers' time while others
     * have tasks of nothing but a function and a context that wait, too: twice the weight, twice the time; 0: 1. Other tasks are
     * run in the order in which they can. */
    uint32_t weight;
    int32_t priority;          /* added to that of its launches, loops and tasks: higher ones go first, whatever the shares */
    uint32_t flags;            /* pel_queue_flags */
} pel_queue_desc;
#define PEL_QUEUE_DESC_INIT {sizeof(pel_queue_desc), NULL, 0, 0, 0, 0}

/* desc NULL: defaults. The queue is the caller's (pel_queue_destroy). Any thread; does not block. Errors: INVALID_ARGUMENT,
 * OUT_OF_MEMORY, AFTER_FORK. */
PEL_API PEL_MUST_CHECK pel_status pel_queue_create(pel_runtime *runtime, const pel_queue_desc *desc, pel_queue **queue,
                                                   pel_error **error);

/* What launches of the queue that are submitted from now on are planned for; NULL: time. Copied. Any thread; takes
 * the runtime's lock for a moment. INVALID_ARGUMENT: an unknown kind, a negative deadline. */
PEL_API pel_status pel_queue_set_objective(pel_queue *queue, const pel_objective *objective);

/*
 * Waits for the queue's commands (blocks), then destroys it for all threads. Returns what pel_queue_finish would. NULL: OK. BUSY:
 * a launch that is not isolated seems to hang: for as long as an isolated one may take (pel_launch_desc.deadline_ns, or what is
 * predicted many times over, 10 s at least; 10 minutes where nothing is known, or something is compiled) nothing came back. Then
 * the queue stays as it was, pel_queue_error tells which launch, and since the device may still write to them, its buffers'
 * memory must stay, too, and the runtime: left on purpose. Another call may succeed. Parts of a replayed graph are waited for
 * without such an end. WOULD_DEADLOCK, and the queue stays, too, on a simulated machine that stands still (pel_queue_finish).
 */
PEL_API pel_status pel_queue_destroy(pel_queue *queue);

/*
 * Submits a launch. `args` has one entry per parameter of the kernel. See pel_launch_desc for the range. Errors besides the
 * common ones: TOO_LARGE (a declared access leaves its buffer), NO_DEVICE (also: it fits no device, whole or in parts; the story
 * has the numbers), UNSUPPORTED.
 */
PEL_API PEL_MUST_CHECK pel_status pel_launch(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc,
                                             const pel_arg *args, uint32_t arg_count, pel_event **event);

/* Dry run: what pel_launch would do now. Nothing is submitted, nothing learned. The plan is the caller's (pel_plan_destroy). Any
 * thread; does not wait for commands. Errors as pel_launch. */
PEL_API PEL_MUST_CHECK pel_status pel_launch_plan(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc,
                                                  const pel_arg *args, uint32_t arg_count, pel_plan **plan);

/*
 * A declared access of a host command: bytes [offset, offset + bytes) of a buffer; bytes 0: to its end. With rows > 1 a
 * rectangle: so many rows of `bytes` bytes each, `pitch` bytes from the start of one to the start of the next. Commands on
 * rectangles of one pitch that do not overlap run at once; a rectangle beside one of another pitch, too, if it has 64 rows at
 * most, else it counts as everything from its first byte to its last. Use the macros: fields may be added behind.
 */
typedef struct pel_access {
    pel_buffer *buffer;
    uint64_t offset, bytes;
    pel_access_mode mode;
    uint32_t reserved;         /* 0 */
    uint64_t rows, pitch;      /* 0, 0: bytes in one piece */
} pel_access;
#define PEL_ACCESS(buffer, offset, bytes, mode) {buffer, offset, bytes, mode, 0, 0, 0}
#define PEL_ACCESS_RECTANGLE(buffer, offset, row_bytes, rows, pitch, mode) {buffer, offset, row_bytes, mode, 0, rows, pitch}

typedef struct pel_task_desc {
    size_t size;               /* sizeof(pel_task_desc); 0: the layout of the first release */
    const char *name;
    const pel_event *const *waits;
    uint32_t wait_count;
    int32_t priority;          /* higher runs first among the tasks that wait for a host worker */
    /* a function that returned a failure runs so many times more, on what memory holds then: it must bear that */
    uint32_t retries;
    uint32_t reserved;         /* 0 */
} pel_task_desc;
#define PEL_TASK_DESC_INIT {sizeof(pel_task_desc), NULL, NULL, 0, 0, 0, 0}

/*
 * A host task: runs once on a host worker when its accesses allow. A result other than PEL_OK becomes TASK_FAILED.
 *
 * A task may submit commands, to any queue of its runtime, and wait for them (pel_event_wait). What it submits is a part of it:
 * its children are ordered among themselves, they may touch only what the task has declared (else CONFLICT), and the task is
 * complete when its function has returned and its children are complete. A child that fails and should have written something
 * makes the task fail with DEPENDENCY_FAILED. A marker without waits follows what the task has submitted to that queue before.
 * While a task waits, its thread runs other tasks on the same stack.
 */
typedef pel_status (*pel_task_fn)(void *context);
PEL_API PEL_MUST_CHECK pel_status pel_task(pel_queue *queue, pel_task_fn function, void *context, const pel_access *accesses,
                                           uint32_t access_count, const pel_task_desc *desc, pel_event **event);

/* A host loop: [0, count) in pieces of at least `grain` (0: chosen), several at once, on the host workers. Fails as a task. */
typedef pel_status (*pel_loop_fn)(uint64_t begin, uint64_t end, void *context);
PEL_API PEL_MUST_CHECK pel_status pel_loop(pel_queue *queue, uint64_t count, uint64_t grain, pel_loop_fn function, void *context,
                                           const pel_access *accesses, uint32_t access_count, const pel_task_desc *desc,
                                           pel_event **event);

/* Copies bytes between buffers. CONFLICT: the ranges overlap in memory. As for all that copies or fills, 0 bytes (or rows) are
 * INVALID_ARGUMENT. */
PEL_API PEL_MUST_CHECK pel_status pel_copy(pel_queue *queue, pel_buffer *destination, uint64_t destination_offset,
                                           pel_buffer *source, uint64_t source_offset, uint64_t bytes, const pel_task_desc *desc,
                                           pel_event **event);

/*
 * Copies a rectangle: `rows` rows of `row_bytes` bytes; row i begins at offset + i * pitch in its buffer. Pitches are at least
 * row_bytes (0: row_bytes) and may differ. Orders by the bytes of the rows only, as PEL_ACCESS_RECTANGLE does. CONFLICT: rows of
 * source and destination overlap.
 */
typedef struct pel_rows {
    pel_buffer *buffer;
    uint64_t offset, pitch;
} pel_rows;
PEL_API PEL_MUST_CHECK pel_status pel_copy_rect(pel_queue *queue, const pel_rows *destination, const pel_rows *source,
                                                uint64_t row_bytes, uint64_t rows, const pel_task_desc *desc, pel_event **event);

/* Fills bytes with a repeated pattern of 1 to 128 bytes, which is copied; `bytes` is a multiple of it, else INVALID_ARGUMENT. */
PEL_API PEL_MUST_CHECK pel_status pel_fill(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes,
                                           const void *pattern, uint64_t pattern_bytes, const pel_task_desc *desc,
                                           pel_event **event);

/* Copies bytes from a buffer to `destination`, or from `source` to a buffer; the memory must stay valid until the command is
 * complete. */
PEL_API PEL_MUST_CHECK pel_status pel_read(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes,
                                           void *destination, const pel_task_desc *desc, pel_event **event);
PEL_API PEL_MUST_CHECK pel_status pel_write(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes,
                                            const void *source, const pel_task_desc *desc, pel_event **event);

/* Completes when the waits of `desc` are complete; without any, when everything submitted to the queue before is. */
PEL_API PEL_MUST_CHECK pel_status pel_marker(pel_queue *queue, const pel_task_desc *desc, pel_event **event);

/*
 * A marker that later commands of the queue wait for. With waits: later commands begin only when these events are complete
 * (wait-for-event); earlier ones are left alone. Without: later commands begin only when everything submitted before is complete.
 * What running tasks of the queue submit to it is part of those tasks and does not wait. When a wait fails, so does every later
 * command, as DEPENDENCY_FAILED, until pel_queue_reset.
 */
PEL_API PEL_MUST_CHECK pel_status pel_barrier(pel_queue *queue, const pel_task_desc *desc, pel_event **event);

/*
 * Runs `function` as a host task of the queue once `watched` is complete, however it ended (pel_event_status tells): on a host
 * worker or a thread that waits, never on a driver's thread and never inside this call, even when `watched` is complete already.
 * It may submit, end user events and cancel, but not wait. pel_queue_finish waits for it. `watched` may belong to any queue of
 * the runtime and is held until then.
 */
typedef void (*pel_callback_fn)(pel_event *watched, void *context);
PEL_API PEL_MUST_CHECK pel_status pel_callback(pel_queue *queue, pel_event *watched, pel_callback_fn function, void *context,
                                               pel_event **event);

/*
 * Waits for all commands of the queue and for those that tasks submit to it meanwhile, brings wrapped memory that they wrote up
 * to date, and returns the first failure in program order since the queue was made or reset. Blocks; drives devices meanwhile,
 * and may run tasks and host variants on the calling thread (not where workers are bound to cores). From inside a task it waits
 * only, and leaves memory where it is; WOULD_DEADLOCK when the queue has a command that cannot end before the task (the task
 * itself, as a rule: see pel_event_wait). From inside a loop, a parallel loop or the host variant of a kernel: WOULD_DEADLOCK.
 * So it is, here and in every other wait, on a simulated machine on which nothing will ever happen while the caller waits: what
 * is waited for hangs and is not isolated, or needs a user event or an unmapping. On real devices it waits without end for a
 * launch that never comes back and is not isolated, because the device may still write to the caller's memory: isolated launches
 * end with their deadline, pel_event_status of the launch's event asks without waiting, and pel_queue_destroy gives up (BUSY).
 */
PEL_API pel_status pel_queue_finish(pel_queue *queue);

/*
 * The story of the first failure in program order, or, when nothing has failed, of the last refused submission;
 * NULL when there is none. An owned copy: pel_error_destroy. Any thread; takes the runtime's lock for a moment.
 */
PEL_API pel_error *pel_queue_error(pel_queue *queue);

/*
 * Forgets failures, so that the queue may be used again; waits for running commands first. Bytes that a failed command should
 * have written, or that were lost with a device, are from now on whatever memory holds. Any thread; blocks as pel_queue_finish
 * does, but brings nothing home. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, WOULD_DEADLOCK, AFTER_FORK.
 */
PEL_API pel_status pel_queue_reset(pel_queue *queue);

PEL_END_DECLS
#endif
