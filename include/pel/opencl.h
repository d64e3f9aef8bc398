/* SPDX-License-Identifier: BSD-3-Clause */
/* Interoperation with OpenCL: the only public header that names its types. Not included by pel/pel.h. */
#ifndef PEL_OPENCL_H
#define PEL_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pel/buffer.h>
#include <pel/event.h>
#include <pel/map.h>
#include <pel/runtime.h>

PEL_BEGIN_DECLS

/*
 * What the caller has already, handed over in pel_runtime_desc.opencl. contexts: a device of the runtime that belongs to one of
 * them works in it instead of in one of its own. One whose devices are unknown to the ICD loader is refused (INVALID_ARGUMENT).
 * queues: the device of each, which comes with its context, gets its commands through it, in order with the caller's own.
 * In-order queues only, one a device. After a failed command the device goes on with a queue of its own. Other devices are not
 * affected. References: pel_runtime_create retains each context once for each of its devices and each queue, a device that is
 * used once more; pel_runtime_destroy, or a failing create, releases what was retained.
 */
typedef struct pel_opencl_adoption {
    size_t size; /* sizeof(pel_opencl_adoption); 0: the layout of the first release */
    const cl_context *contexts;
    uint32_t context_count;
    const cl_command_queue *queues;
    uint32_t queue_count;
} pel_opencl_adoption;
#define PEL_OPENCL_ADOPTION_INIT {sizeof(pel_opencl_adoption), NULL, 0, NULL, 0}

/* The cl_device_id and cl_context behind an OpenCL device, not retained, valid as long as the runtime; NULL for other devices.
 * The first call may make the context (milliseconds); it is NULL when the driver refuses one. Any thread. */
PEL_API cl_device_id pel_opencl_device_id(const pel_device *device);
PEL_API cl_context pel_opencl_context(const pel_device *device);

/*
 * A buffer whose bytes are those of a cl_mem: valid on that device at first, nothing is copied. The cl_mem must be a buffer of
 * the device's context (pel_opencl_context: adopt the context, or make the cl_mem in ours) that the host may read and write; no
 * sub-buffer, except on CPU devices that compute in host memory. On these it stays mapped (or is the caller's host memory, with
 * CL_MEM_USE_HOST_PTR) and is used in place. It is never evicted. From now on the caller uses the cl_mem only between
 * pel_opencl_map_wait and pel_unmap, which make it current. After pel_buffer_destroy it holds what it held last; a mapping before
 * that makes sure of it. References: retained once here, released when the buffer's memory goes: in pel_buffer_destroy, or with
 * the last command that uses it. Any thread; blocks for a mapping. Errors: INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY,
 * DEVICE_*, AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_opencl_buffer_adopt(const pel_device *device, cl_mem memory, pel_buffer **buffer,
                                                          pel_error **error);

/*
 * Maps bytes of a buffer in the memory of an OpenCL device: like pel_map, for commands of the caller's own on that device. While
 * it is open the cl_mem holds these bytes, commands of the runtime that conflict wait, and with PEL_MAP_WRITE they are valid
 * nowhere else. PEL_MAP_GUARD: INVALID_ARGUMENT. UNSUPPORTED: a device that a process of its own drives ("[outside]"), whose
 * memory objects are not of this process.
 */
PEL_API PEL_MUST_CHECK pel_status pel_opencl_map(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes,
                                                 uint32_t flags, const pel_device *device, const pel_task_desc *desc,
                                                 pel_mapping **mapping);

/*
 * Waits until the bytes are there, as pel_map_wait does. The mapped bytes begin at byte *offset of *memory, which may hold others
 * that are none of the caller's business and possibly old. The caller's commands must be complete before pel_unmap. References:
 * none; *memory is valid until pel_unmap. Retained by the caller it lives on, but means nothing any more.
 */
PEL_API PEL_MUST_CHECK pel_status pel_opencl_map_wait(pel_mapping *mapping, cl_mem *memory, uint64_t *offset);

/*
 * An event that completes when a cl_event of the device's platform does, for pel_task_desc.waits and its like; a failed one fails
 * with the status of its code. Noticed by a thread that looks, at most a quarter of the time later that it has taken since, and
 * at most 2 ms. The caller releases the event (pel_event_release); pel_runtime_destroy is BUSY until it is complete. References:
 * the cl_event is retained here and released when it is complete. Any thread. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY,
 * AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_opencl_event_adopt(const pel_device *device, cl_event opencl_event, pel_event **event,
                                                         pel_error **error);

/*
 * A cl_event for the caller's own commands that completes when `event` does: a user event of the device's context. When `event`
 * failed it gets CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST. (PoCL before 7 never ends a wait for an event that has failed
 * already, and PoCL 3.1 aborts the process when one fails that commands wait for: there, enqueue what depends on it once `event`
 * has gone well.) It is set by a host task of `queue`. References: the caller gets one and releases it (clReleaseEvent); the
 * runtime holds one until it is set. Any thread. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, DEVICE_*, AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_opencl_event(pel_queue *queue, pel_event *event, const pel_device *device,
                                                   cl_event *opencl_event, pel_error **error);

PEL_END_DECLS
#endif
