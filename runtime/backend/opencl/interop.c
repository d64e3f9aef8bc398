/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pel/opencl.h: the caller's objects become ours, ours the caller's.
 *
 * The problem: two parties use one object, and each must know when it may. For memory the answer is a mapping on the device
 * (queue/mapping.c): open, the bytes are there and the caller's; closed, they are the runtime's. For events each side gets one of
 * its own kind. Every handle is checked here, because drivers take those of another context and say CL_SUCCESS (PoCL 3.1).
 * Rejected: handing out memory with a promise that it is current until the next launch; nobody can see from outside which launch
 * that was.
 */
#include "backend/backends.h"
#include "backend/interop.h"
#include "backend/opencl/internal.h"

#include <pel/opencl.h>

static pel_cl_device *driver_of(const pel_device *device) {
    pel_backend_device *driver = pel_device_driver(device);
    return driver && driver->backend == &pel_backend_opencl ? (pel_cl_device *)driver : NULL;
}

cl_device_id pel_opencl_device_id(const pel_device *device) {
    pel_cl_device *driver = driver_of(device);
    return driver ? driver->id : NULL;
}

cl_context pel_opencl_context(const pel_device *device) {
    pel_cl_device *driver = driver_of(device);
    return driver ? pel_cl_context_of(&driver->base) : NULL;
}

/* The driver of a device whose process and context are well. */
static pel_status usable(const pel_device *device, const char *call, pel_cl_device **driver, pel_error **error) {
    *driver = driver_of(device);
    if (!*driver) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "%s: the device is %s", call,
                        device ? "no OpenCL device of this process" : "NULL");
    }
    pel_status status = pel_device_usable(device, error);
    return status == PEL_OK ? pel_cl_ready(*driver, error) : status;
}

/* ---- memory ---- */

typedef struct memory_facts {
    size_t bytes;
    cl_mem_flags flags;
    void *host;
    cl_mem parent;
} memory_facts;

static pel_status look_at_memory(pel_cl_device *device, cl_mem memory, memory_facts *facts, pel_error **error) {
    cl_mem_object_type type = 0;
    cl_context context = NULL;
    *facts = (memory_facts){0};
    cl_int code = memory ? clGetMemObjectInfo(memory, CL_MEM_TYPE, sizeof type, &type, NULL) : CL_INVALID_MEM_OBJECT;
    code = code ? code : clGetMemObjectInfo(memory, CL_MEM_SIZE, sizeof facts->bytes, &facts->bytes, NULL);
    code = code ? code : clGetMemObjectInfo(memory, CL_MEM_FLAGS, sizeof facts->flags, &facts->flags, NULL);
    code = code ? code : clGetMemObjectInfo(memory, CL_MEM_CONTEXT, sizeof(cl_context), &context, NULL);
    code = code ? code : clGetMemObjectInfo(memory, CL_MEM_HOST_PTR, sizeof(void *), &facts->host, NULL);
    code = code ? code : clGetMemObjectInfo(memory, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(cl_mem), &facts->parent, NULL);
    if (code != CL_SUCCESS) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT, "hand over a living cl_mem",
                             "an adopted cl_mem does not answer (%s)", pel_cl_code_name(code));
    }
    if (type != CL_MEM_OBJECT_BUFFER || context != device->context) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT,
                             "adopt its context with the runtime, or make it in pel_opencl_context", "an adopted cl_mem is %s",
                             type != CL_MEM_OBJECT_BUFFER ? "no buffer" : "of another context than the device's");
    }
    if ((facts->flags & (CL_MEM_HOST_NO_ACCESS | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY)) != 0 ||
        (facts->parent && !device->base.facts->host_coherent)) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "use a buffer of its own that the host may read and write",
                             "an adopted cl_mem is %s", facts->parent ? "a sub-buffer" : "closed to the host");
    }
    return PEL_OK;
}

static pel_status adopt_own_memory(pel_cl_device *driver, const pel_device *device, cl_mem memory, uint64_t bytes,
                                   pel_buffer **buffer, pel_error **error) {
    pel_mem *mem = NULL;
    pel_status status = pel_cl_mem_adopt(driver, memory, bytes, &mem, error);
    if (status == PEL_OK) {
        status = pel_buffer_adopt_mem(device, mem, buffer, error);
        if (status != PEL_OK) {
            pel_cl_mem_destroy(&driver->base, mem);
        }
    }
    return status;
}

/* A cl_mem whose memory is the host's, mapped if it has to be. */
typedef struct borrowed {
    const pel_allocator *allocator;
    cl_mem memory;          /* retained */
    cl_command_queue queue; /* NULL: not mapped */
    void *mapped;
} borrowed;

static void let_go(void *user) {
    borrowed *b = user;
    if (b->mapped && clEnqueueUnmapMemObject(b->queue, b->memory, b->mapped, 0, NULL, NULL) == CL_SUCCESS) {
        clFinish(b->queue);
    }
    if (b->queue) {
        clReleaseCommandQueue(b->queue);
    }
    clReleaseMemObject(b->memory);
    pel_free(b->allocator, b);
}

/* With a queue of its own: it goes when nothing else of the device may be there to ask. */
static pel_status map_it(pel_cl_device *device, borrowed *b, size_t bytes, pel_error **error) {
    cl_int code = CL_SUCCESS;
    b->queue = clCreateCommandQueue(device->context, device->id, 0, &code);
    if (!b->queue || code != CL_SUCCESS) {
        b->queue = NULL;
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateCommandQueue",
                           "no queue to map an adopted buffer");
    }
    b->mapped = clEnqueueMapBuffer(b->queue, b->memory, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0, NULL, NULL, &code);
    if (!b->mapped || code != CL_SUCCESS) {
        b->mapped = NULL;
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_MAP_FAILURE : code, "clEnqueueMapBuffer",
                           "an adopted buffer cannot be mapped");
    }
    return PEL_OK;
}

static pel_status adopt_host_memory(pel_cl_device *driver, const pel_device *device, cl_mem memory, const memory_facts *facts,
                                    pel_buffer **buffer, pel_error **error) {
    borrowed *b = pel_alloc_zero(driver->env->allocator, 1, sizeof *b);
    if (!b) {
        return pel_cl_refuse(driver, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory for an adopted buffer's records");
    }
    cl_int code = clRetainMemObject(memory);
    if (code != CL_SUCCESS) {
        pel_free(driver->env->allocator, b);
        return pel_cl_fail(driver, error, code, "clRetainMemObject", "an adopted buffer cannot be retained");
    }
    b->allocator = driver->env->allocator;
    b->memory = memory;
    pel_status status = PEL_OK;
    void *host = (facts->flags & CL_MEM_USE_HOST_PTR) != 0 ? facts->host : NULL;
    if (!host) {
        status = map_it(driver, b, facts->bytes, error);
        host = b->mapped;
    }
    status = status == PEL_OK ? pel_buffer_adopt_host(device, host, facts->bytes, let_go, b, buffer, error) : status;
    if (status != PEL_OK) {
        let_go(b);
    }
    return status;
}

pel_status pel_opencl_buffer_adopt(const pel_device *device, cl_mem memory, pel_buffer **buffer, pel_error **error) {
    pel_cl_device *driver;
    memory_facts facts;
    if (!buffer) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_buffer_adopt: the buffer is NULL");
    }
    *buffer = NULL;
    pel_status status = usable(device, "pel_opencl_buffer_adopt", &driver, error);
    status = status == PEL_OK ? look_at_memory(driver, memory, &facts, error) : status;
    if (status != PEL_OK) {
        return status;
    }
    return driver->base.facts->host_coherent ? adopt_host_memory(driver, device, memory, &facts, buffer, error)
                                             : adopt_own_memory(driver, device, memory, facts.bytes, buffer, error);
}

pel_status pel_opencl_map(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                          const pel_device *device, const pel_task_desc *desc, pel_mapping **mapping) {
    if (mapping) {
        *mapping = NULL;
    }
    if (!queue || !mapping || !device || (flags & PEL_MAP_GUARD) != 0) {
        return PEL_INVALID_ARGUMENT;
    }
    if (!driver_of(device)) { /* one that a process of its own drives has no cl_mem here */
        return pel_device_get_info(device)->outside != 0 ? PEL_UNSUPPORTED : PEL_INVALID_ARGUMENT;
    }
    return pel_mapping_on_device(queue, buffer, offset, bytes, flags, device, desc, mapping);
}

pel_status pel_opencl_map_wait(pel_mapping *mapping, cl_mem *memory, uint64_t *offset) {
    pel_mem *mem = NULL;
    if (memory) {
        *memory = NULL;
    }
    if (!mapping || !memory || !offset) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_mapping_mem(mapping, &mem, offset);
    if (status == PEL_OK) {
        *memory = ((pel_cl_mem *)mem)->cl;
    }
    return status;
}

/* ---- events ---- */

pel_status pel_opencl_event_adopt(const pel_device *device, cl_event opencl_event, pel_event **event, pel_error **error) {
    pel_cl_device *driver;
    cl_int state;
    if (!event) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_event_adopt: the event is NULL");
    }
    *event = NULL;
    pel_status status = usable(device, "pel_opencl_event_adopt", &driver, error);
    if (status != PEL_OK) {
        return status;
    }
    cl_int code = opencl_event ? clGetEventInfo(opencl_event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL)
                               : CL_INVALID_EVENT;
    if (code != CL_SUCCESS) {
        return pel_cl_refuse(driver, error, PEL_INVALID_ARGUMENT, "hand over a living cl_event",
                             "an adopted cl_event does not answer (%s)", pel_cl_code_name(code));
    }
    status = pel_event_create_user(pel_device_runtime(device), event, error);
    if (status == PEL_OK) {
        status = pel_cl_watch(driver, opencl_event, *event, error);
        if (status != PEL_OK) {
            (void)pel_event_cancel(*event);
            pel_event_release(*event);
            *event = NULL;
        }
    }
    return status;
}

typedef struct promise {
    const pel_allocator *allocator;
    cl_event event;
} promise;

/* Whoever waits for it in the driver goes on now. */
static void keep_promise(pel_event *watched, void *context) {
    promise *p = context;
    bool well = pel_event_status(watched) == PEL_OK;
    clSetUserEventStatus(p->event, well ? CL_COMPLETE : CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    clReleaseEvent(p->event);
    pel_free(p->allocator, p);
}

static pel_status make_promise(pel_cl_device *driver, promise **made, pel_error **error) {
    cl_int code = CL_SUCCESS;
    promise *p = pel_alloc_zero(driver->env->allocator, 1, sizeof *p);
    *made = NULL;
    if (!p) {
        return pel_cl_refuse(driver, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory for an event");
    }
    p->allocator = driver->env->allocator;
    p->event = clCreateUserEvent(driver->context, &code);
    if (!p->event || code != CL_SUCCESS) {
        pel_free(driver->env->allocator, p);
        return pel_cl_fail(driver, error, code == CL_SUCCESS ? CL_OUT_OF_RESOURCES : code, "clCreateUserEvent", "no user event");
    }
    code = clRetainEvent(p->event);
    if (code != CL_SUCCESS) {
        clReleaseEvent(p->event);
        pel_free(driver->env->allocator, p);
        return pel_cl_fail(driver, error, code, "clRetainEvent", "a user event cannot be retained");
    }
    *made = p;
    return PEL_OK;
}

pel_status pel_opencl_event(pel_queue *queue, pel_event *event, const pel_device *device, cl_event *opencl_event,
                            pel_error **error) {
    pel_cl_device *driver;
    promise *p = NULL;
    if (!queue || !event || !opencl_event) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_event: the %s is NULL",
                        queue ? "event" : "queue");
    }
    *opencl_event = NULL;
    pel_status status = usable(device, "pel_opencl_event", &driver, error);
    status = status == PEL_OK ? make_promise(driver, &p, error) : status;
    if (status != PEL_OK) {
        return status;
    }
    *opencl_event = p->event; /* before: the promise may be kept at once */
    status = pel_callback(queue, event, keep_promise, p, NULL);
    if (status != PEL_OK) {
        *opencl_event = NULL;
        clSetUserEventStatus(p->event, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        clReleaseEvent(p->event);
        clReleaseEvent(p->event);
        pel_free(p->allocator, p);
        return pel_fail(error, driver->env->allocator, status, NULL, "pel_opencl_event: %s", pel_status_text(status));
    }
    return PEL_OK;
}
