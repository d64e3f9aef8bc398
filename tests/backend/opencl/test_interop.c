/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interoperation: queues, memory and events of the caller's adopted, ours handed out, with every reference counted. Once on the
 * CPU device as it is, in host memory, and once disguised as a device with memory of its own, which PoCL's buffers are when
 * nobody asks for host memory.
 */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS /* clCreateCommandQueue */
#include "core/runtime.h"
#include <pel/opencl.h>
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N = 1000, BYTES = N * (int)sizeof(int) };

static const char source[] = "kernel void twice(global int *x) { x[get_global_id(0)] *= 2; }\n";

typedef struct world {
    pel_runtime *runtime;
    const pel_device *device;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    cl_context context;
    cl_command_queue own; /* the caller's */
} world;

static bool disguised;

static pel_status twice(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    int *x = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i] *= 2;
    }
    return PEL_OK;
}

static const pel_device *opencl_device(const pel_runtime *runtime) {
    for (uint32_t i = 0; i < pel_runtime_device_count(runtime); i++) {
        if (pel_device_get_info(pel_runtime_device(runtime, i))->kind == PEL_DEVICE_OPENCL) {
            return pel_runtime_device(runtime, i);
        }
    }
    return NULL;
}

static void disguise(pel_runtime *runtime) {
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_topology_device *facts = (pel_topology_device *)(uintptr_t)runtime->devices[i].facts;
        if (facts->info.kind == PEL_DEVICE_OPENCL) {
            facts->host_coherent = false;
            facts->info.shares_host_memory = 0;
            runtime->devices[i].place = 1 + i;
        }
    }
}

static pel_runtime *make_runtime(const pel_opencl_adoption *adoption, pel_status *status) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = "host,opencl:0";
    desc.opencl = adoption;
    *status = pel_runtime_create(&desc, &runtime, &error);
    if (*status != PEL_OK) {
        print_message("%s\n", pel_error_story(error));
    }
    pel_error_destroy(error);
    if (runtime && disguised) {
        disguise(runtime);
    }
    return runtime;
}

static world begin(const pel_opencl_adoption *adoption) {
    world w = {0};
    pel_status status;
    cl_int code = CL_SUCCESS;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    w.runtime = make_runtime(adoption, &status);
    if (!w.runtime) {
        skip();
    }
    w.device = opencl_device(w.runtime);
    program.source = source;
    kernel.entry = "twice";
    kernel.params = params;
    kernel.param_count = 1;
    kernel.host = twice;
    assert_int_equal(pel_program_create(w.runtime, &program, &w.program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(w.program, &kernel, &w.kernel, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(w.runtime, NULL, &w.queue, NULL), PEL_OK);
    w.context = pel_opencl_context(w.device);
    w.own = clCreateCommandQueue(w.context, pel_opencl_device_id(w.device), 0, &code);
    assert_int_equal(code, CL_SUCCESS);
    return w;
}

static void end(world *w) {
    assert_int_equal(clFinish(w->own), CL_SUCCESS);
    clReleaseCommandQueue(w->own);
    assert_int_equal(pel_queue_destroy(w->queue), PEL_OK);
    assert_int_equal(pel_kernel_destroy(w->kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(w->program), PEL_OK);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static void launch_on(world *w, const pel_device *device, pel_buffer *buffer, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_share share = {.device = device, .weight = 1};
    const pel_arg args[] = {pel_buf(buffer)};
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    assert_int_equal(pel_launch(w->queue, w->kernel, &desc, args, 1, event), PEL_OK);
}

/* A driver's own threads let go of what a command used some time after it has ended. */
enum { PATIENCE_MS = 60000 };

#define REFERENCES(name, type, get, what)                                                                                        \
    static cl_uint name##_references(type object) {                                                                              \
        cl_uint count = 0;                                                                                                       \
        assert_int_equal(get(object, what, sizeof count, &count, NULL), CL_SUCCESS);                                             \
        return count;                                                                                                            \
    }                                                                                                                            \
    static void expect_##name##_references(type object, cl_uint expected) {                                                      \
        const struct timespec pause = {.tv_nsec = 1000000};                                                                      \
        for (int i = 0; i < PATIENCE_MS && name##_references(object) != expected; i++) {                                         \
            (void)nanosleep(&pause, NULL);                                                                                       \
        }                                                                                                                        \
        assert_int_equal(name##_references(object), expected);                                                                   \
    }
REFERENCES(memory, cl_mem, clGetMemObjectInfo, CL_MEM_REFERENCE_COUNT)
REFERENCES(queue, cl_command_queue, clGetCommandQueueInfo, CL_QUEUE_REFERENCE_COUNT)
REFERENCES(context, cl_context, clGetContextInfo, CL_CONTEXT_REFERENCE_COUNT)
REFERENCES(event, cl_event, clGetEventInfo, CL_EVENT_REFERENCE_COUNT)

static void write_all(const world *w, cl_mem memory, int factor) {
    int values[N];
    for (int i = 0; i < N; i++) {
        values[i] = factor * i;
    }
    assert_int_equal(clEnqueueWriteBuffer(w->own, memory, CL_TRUE, 0, BYTES, values, 0, NULL, NULL), CL_SUCCESS);
}

static void check_all(const world *w, cl_mem memory, uint64_t offset, int factor) {
    int values[N];
    assert_int_equal(clEnqueueReadBuffer(w->own, memory, CL_TRUE, (size_t)offset, BYTES, values, 0, NULL, NULL), CL_SUCCESS);
    for (int i = 0; i < N; i++) {
        assert_int_equal(values[i], factor * i);
    }
}

static pel_mapping *map_there(world *w, pel_buffer *buffer, uint32_t flags, cl_mem *memory, uint64_t *offset) {
    pel_mapping *mapping = NULL;
    assert_int_equal(pel_opencl_map(w->queue, buffer, 0, 0, flags, w->device, NULL, &mapping), PEL_OK);
    assert_int_equal(pel_opencl_map_wait(mapping, memory, offset), PEL_OK);
    assert_non_null(*memory);
    return mapping;
}

/* ---- nothing is copied ---- */

static void test_wrapped_memory_is_used_in_place(void **state) {
    (void)state;
    world w = begin(NULL);
    static int values[N];
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_share share = {.device = w.device, .weight = 1};
    pel_buffer *buffer = NULL;
    pel_buffer_counters counters;
    pel_plan_chunk chunk;
    assert_int_equal(pel_buffer_wrap(w.runtime, values, BYTES, &buffer), PEL_OK);
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    desc.protection = PEL_PROTECT_NONE;
    for (uint64_t round = 1; round <= 5; round++) { /* the caller changes it in between */
        const pel_arg args[] = {pel_buf(buffer)};
        pel_event *event = NULL;
        pel_plan *plan = NULL;
        values[7] = (int)round;
        assert_int_equal(pel_launch(w.queue, w.kernel, &desc, args, 1, &event), PEL_OK);
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        assert_int_equal(values[7], 2 * (int)round);
        pel_buffer_get_counters(buffer, &counters);
        assert_int_equal(counters.to_devices, disguised ? round * BYTES : 0);
        assert_int_equal(counters.to_host, disguised ? round * BYTES : 0);
        assert_int_equal(counters.used_in_place, disguised ? 0 : round * BYTES);
        assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
        assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
        assert_int_equal(chunk.bytes_in, disguised ? BYTES : 0);
        assert_int_equal(chunk.bytes_out, 0);
        pel_plan_destroy(plan);
        pel_event_release(event);
    }
    if (!disguised) { /* the driver says so, too */
        uint64_t offset = 0;
        cl_mem memory = NULL;
        void *host = NULL;
        pel_mapping *mapping = map_there(&w, buffer, PEL_MAP_READ, &memory, &offset);
        assert_int_equal(clGetMemObjectInfo(memory, CL_MEM_HOST_PTR, sizeof host, &host, NULL), CL_SUCCESS);
        assert_ptr_equal((char *)host + offset, values);
        pel_mapping_destroy(mapping);
    }
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    end(&w);
}

/* ---- queues ---- */

static void test_queues_are_adopted_and_given_back(void **state) {
    (void)state;
    pel_status status;
    cl_int code = CL_SUCCESS;
    pel_runtime *first = make_runtime(NULL, &status);
    if (!first) {
        skip();
    }
    cl_device_id id = pel_opencl_device_id(opencl_device(first));
    /* where the process may not use all cores it is a sub-device, made by the runtime */
    assert_int_equal(clRetainDevice(id), CL_SUCCESS);
    assert_int_equal(pel_runtime_destroy(first), PEL_OK);
    cl_context context = clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    cl_command_queue queue = clCreateCommandQueue(context, id, 0, &code);
    assert_int_equal(code, CL_SUCCESS);
    cl_uint queue_before = queue_references(queue), context_before = context_references(context);
    pel_opencl_adoption adoption = PEL_OPENCL_ADOPTION_INIT;
    adoption.queues = &queue;
    adoption.queue_count = 1;

    world w = begin(&adoption);
    int values[N];
    pel_buffer *buffer = NULL;
    for (int i = 0; i < N; i++) {
        values[i] = i;
    }
    assert_ptr_equal(w.context, context);
    assert_int_equal(pel_buffer_wrap(w.runtime, values, BYTES, &buffer), PEL_OK);
    launch_on(&w, w.device, buffer, NULL);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    assert_int_equal(values[N - 1], 2 * (N - 1));
    assert_true(queue_references(queue) >= queue_before + 2); /* the table of devices, the device, and the driver's own */
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    end(&w);
    expect_queue_references(queue, queue_before);
    expect_context_references(context, context_before);

    cl_command_queue twice_the_same[] = {queue, queue}, nothing = NULL;
    adoption.queues = twice_the_same;
    adoption.queue_count = 2;
    assert_null(make_runtime(&adoption, &status));
    assert_int_equal(status, PEL_INVALID_ARGUMENT);
    adoption.queues = &nothing;
    adoption.queue_count = 1;
    assert_null(make_runtime(&adoption, &status));
    assert_int_equal(status, PEL_INVALID_ARGUMENT);
    cl_command_queue disorderly = clCreateCommandQueue(context, id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    if (code == CL_SUCCESS) {
        adoption.queues = &disorderly;
        assert_null(make_runtime(&adoption, &status));
        assert_int_equal(status, PEL_INVALID_ARGUMENT);
        clReleaseCommandQueue(disorderly);
    }
    expect_queue_references(queue, queue_before);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    clReleaseDevice(id);
}

/* ---- memory ---- */

static void adopt_and_use(cl_mem_flags flags) {
    world w = begin(NULL);
    static int host[N] __attribute__((aligned(128)));
    pel_buffer_counters counters;
    pel_buffer *buffer = NULL;
    pel_error *error = NULL;
    cl_int code = CL_SUCCESS;
    cl_mem again = NULL,
           memory = clCreateBuffer(w.context, CL_MEM_READ_WRITE | flags, BYTES, flags & CL_MEM_USE_HOST_PTR ? host : NULL, &code);
    uint64_t offset = 7;
    assert_int_equal(code, CL_SUCCESS);
    cl_uint before = memory_references(memory);
    write_all(&w, memory, 1);
    expect_memory_references(memory, before);

    pel_status status = pel_opencl_buffer_adopt(w.device, memory, &buffer, &error);
    if (status != PEL_OK) {
        print_message("%s\n", pel_error_story(error));
    }
    assert_int_equal(status, PEL_OK);
    assert_true(memory_references(memory) > before);
    assert_int_equal(pel_buffer_bytes(buffer), BYTES);
    launch_on(&w, w.device, buffer, NULL); /* where it is */
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    pel_buffer_get_counters(buffer, &counters);
    assert_int_equal(counters.to_devices, 0);
    assert_int_equal(counters.to_host, 0);
    assert_int_equal(counters.used_in_place, BYTES);
    pel_mapping *mapping = map_there(&w, buffer, PEL_MAP_READ | PEL_MAP_WRITE, &again, &offset);
    if (disguised) {
        assert_ptr_equal(again, memory);
    }
    check_all(&w, again, offset, 2);
    write_all(&w, again, 3); /* the caller's own command on it */
    assert_int_equal(pel_unmap(mapping), PEL_OK);
    pel_mapping_destroy(mapping);
    launch_on(&w, pel_runtime_find_device(w.runtime, "host"), buffer, NULL); /* elsewhere */
    mapping = map_there(&w, buffer, PEL_MAP_READ, &again, &offset);
    check_all(&w, again, offset, 6);
    pel_mapping_destroy(mapping);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    expect_memory_references(memory, before);
    check_all(&w, memory, 0, 6);
    clReleaseMemObject(memory);
    end(&w);
}

static void test_memory_is_adopted_in_place(void **state) {
    (void)state;
    adopt_and_use(0);
    adopt_and_use(CL_MEM_ALLOC_HOST_PTR);
    adopt_and_use(CL_MEM_USE_HOST_PTR);
}

static void test_memory_that_cannot_be_adopted(void **state) {
    (void)state;
    world w = begin(NULL);
    cl_int code = CL_SUCCESS;
    cl_device_id id = pel_opencl_device_id(w.device);
    cl_context other = clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    cl_mem foreign = clCreateBuffer(other, CL_MEM_READ_WRITE, BYTES, NULL, &code),
           fine = clCreateBuffer(w.context, CL_MEM_READ_WRITE, BYTES, NULL, &code),
           closed = clCreateBuffer(w.context, CL_MEM_READ_WRITE | CL_MEM_HOST_NO_ACCESS, BYTES, NULL, &code);
    pel_buffer *buffer = NULL;
    pel_error *error = NULL;
    assert_int_equal(pel_opencl_buffer_adopt(w.device, foreign, &buffer, &error), PEL_INVALID_ARGUMENT);
    assert_non_null(strstr(pel_error_message(error), "context"));
    pel_error_destroy(error);
    assert_int_equal(pel_opencl_buffer_adopt(w.device, NULL, &buffer, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_opencl_buffer_adopt(w.device, closed, &buffer, NULL), PEL_UNSUPPORTED);
    assert_int_equal(pel_opencl_buffer_adopt(NULL, fine, &buffer, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_opencl_buffer_adopt(pel_runtime_find_device(w.runtime, "host"), fine, &buffer, NULL),
                     PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_opencl_buffer_adopt(w.device, fine, NULL, NULL), PEL_INVALID_ARGUMENT);
    cl_buffer_region region = {0, 512};
    cl_mem part = clCreateSubBuffer(fine, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    assert_int_equal(code, CL_SUCCESS);
    assert_int_equal(pel_opencl_buffer_adopt(w.device, part, &buffer, NULL), disguised ? PEL_UNSUPPORTED : PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    expect_memory_references(part, 1);
    clReleaseMemObject(part);
    expect_memory_references(foreign, 1);
    expect_memory_references(closed, 1);
    clReleaseMemObject(foreign);
    clReleaseMemObject(closed);
    clReleaseMemObject(fine);
    clReleaseContext(other);
    end(&w);
}

static void test_our_memory_is_handed_out(void **state) {
    (void)state;
    world w = begin(NULL);
    pel_buffer *buffer = NULL;
    pel_mapping *mapping = NULL;
    pel_event *event = NULL;
    cl_mem memory = NULL;
    uint64_t offset = 0;
    assert_int_equal(pel_buffer_create(w.runtime, BYTES, &buffer, NULL), PEL_OK);
    mapping = map_there(&w, buffer, PEL_MAP_WRITE | PEL_MAP_DISCARD, &memory, &offset);
    cl_uint references = memory_references(memory);
    launch_on(&w, w.device, buffer, &event); /* waits for the caller */
    write_all(&w, memory, 5);
    assert_int_equal(pel_event_status(event), PEL_BUSY);
    assert_int_equal(pel_event_wait(event), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_unmap(mapping), PEL_OK);
    assert_int_equal(pel_opencl_map_wait(mapping, &memory, &offset), PEL_CONFLICT);
    assert_null(memory);
    pel_mapping_destroy(mapping);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_release(event);
    mapping = map_there(&w, buffer, PEL_MAP_READ, &memory, &offset);
    expect_memory_references(memory, references);
    check_all(&w, memory, offset, 10);
    pel_mapping_destroy(mapping);
    assert_int_equal(pel_buffer_sync(buffer), PEL_OK);
    assert_int_equal(((int *)pel_buffer_data(buffer))[7], 70);
    /* What is no mapping there. */
    assert_int_equal(pel_opencl_map(w.queue, buffer, 0, 0, PEL_MAP_READ, NULL, NULL, &mapping), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_opencl_map(w.queue, buffer, 0, 0, PEL_MAP_READ | PEL_MAP_GUARD, w.device, NULL, &mapping),
                     PEL_INVALID_ARGUMENT);
    assert_int_equal(
        pel_opencl_map(w.queue, buffer, 0, 0, PEL_MAP_READ, pel_runtime_find_device(w.runtime, "host"), NULL, &mapping),
        PEL_INVALID_ARGUMENT);
    assert_null(mapping);
    assert_int_equal(pel_map(w.queue, buffer, 0, 0, PEL_MAP_READ, NULL, &mapping), PEL_OK);
    assert_int_equal(pel_opencl_map_wait(mapping, &memory, &offset), PEL_INVALID_ARGUMENT);
    pel_mapping_destroy(mapping);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    end(&w);
}

/* ---- events ---- */

static pel_status count_up(void *context) {
    ++*(int *)context;
    return PEL_OK;
}

static void test_a_cl_event_is_waited_for(void **state) {
    (void)state;
    world w = begin(NULL);
    cl_int code = CL_SUCCESS;
    int count = 0;
    cl_event before = clCreateUserEvent(w.context, &code), bad = clCreateUserEvent(w.context, &code);
    pel_event *event = NULL, *task = NULL;
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    assert_int_equal(pel_opencl_event_adopt(w.device, before, &event, NULL), PEL_OK);
    expect_event_references(before, 2);
    desc.waits = (const pel_event *const *)&event;
    desc.wait_count = 1;
    assert_int_equal(pel_task(w.queue, count_up, &count, NULL, 0, &desc, &task), PEL_OK);
    assert_int_equal(pel_event_status(task), PEL_BUSY);
    assert_int_equal(count, 0);
    assert_int_equal(clSetUserEventStatus(before, CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(pel_event_wait(task), PEL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(pel_event_status(event), PEL_OK);
    pel_event_release(task);
    pel_event_release(event);

    assert_int_equal(pel_opencl_event_adopt(w.device, bad, &event, NULL), PEL_OK);
    assert_int_equal(pel_task(w.queue, count_up, &count, NULL, 0, &desc, &task), PEL_OK);
    assert_int_equal(clSetUserEventStatus(bad, CL_OUT_OF_RESOURCES), CL_SUCCESS);
    assert_int_equal(pel_event_wait(task), PEL_DEPENDENCY_FAILED);
    assert_int_not_equal(pel_event_wait(event), PEL_OK);
    assert_int_equal(count, 1);
    pel_event_release(task);
    pel_event_release(event);
    assert_int_equal(pel_queue_reset(w.queue), PEL_OK);

    /* Called off by the caller while the cl_event never ends: the runtime can go. */
    cl_event never = clCreateUserEvent(w.context, &code);
    assert_int_equal(pel_opencl_event_adopt(w.device, never, &event, NULL), PEL_OK);
    assert_int_equal(pel_runtime_destroy(w.runtime), PEL_BUSY);
    assert_int_equal(pel_event_cancel(event), PEL_OK);
    pel_event_release(event);
    assert_int_equal(pel_opencl_event_adopt(w.device, NULL, &event, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_opencl_event_adopt(NULL, before, &event, NULL), PEL_INVALID_ARGUMENT);
    assert_null(event);
    end(&w);
    expect_event_references(before, 1);
    expect_event_references(bad, 1);
    expect_event_references(never, 1);
    clReleaseEvent(before);
    clReleaseEvent(bad);
    clReleaseEvent(never);
}

static void test_our_event_as_a_cl_event(void **state) {
    (void)state;
    world w = begin(NULL);
    pel_event *event = NULL;
    cl_event ours = NULL, marker = NULL;
    cl_int run = CL_QUEUED;
    pel_error *error = NULL;
    assert_int_equal(pel_event_create_user(w.runtime, &event, NULL), PEL_OK);
    assert_int_equal(pel_opencl_event(w.queue, event, w.device, &ours, NULL), PEL_OK);
    expect_event_references(ours, 2);
    assert_int_equal(clEnqueueMarkerWithWaitList(w.own, 1, &ours, &marker), CL_SUCCESS);
    assert_int_equal(clFlush(w.own), CL_SUCCESS);
    assert_int_equal(clGetEventInfo(marker, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof run, &run, NULL), CL_SUCCESS);
    assert_true(run > 0);
    assert_int_equal(pel_event_set_status(event, PEL_OK), PEL_OK);
    assert_int_equal(clFinish(w.own), CL_SUCCESS);
    assert_int_equal(clGetEventInfo(marker, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof run, &run, NULL), CL_SUCCESS);
    assert_int_equal(run, CL_COMPLETE);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    clReleaseEvent(marker);
    expect_event_references(ours, 1);
    clReleaseEvent(ours);
    pel_event_release(event);

    assert_int_equal(pel_event_create_user(w.runtime, &event, NULL), PEL_OK);
    assert_int_equal(pel_opencl_event(w.queue, event, w.device, &ours, NULL), PEL_OK);
    assert_int_equal(pel_event_set_status(event, PEL_DEVICE_FAILED), PEL_OK);
    (void)pel_queue_finish(w.queue);
    assert_int_equal(clGetEventInfo(ours, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof run, &run, NULL), CL_SUCCESS);
    assert_true(run < 0);
    clReleaseEvent(ours);
    assert_int_equal(pel_opencl_event(w.queue, event, NULL, &ours, &error), PEL_INVALID_ARGUMENT);
    assert_null(ours);
    pel_error_destroy(error);
    assert_int_equal(pel_opencl_event(NULL, event, w.device, &ours, NULL), PEL_INVALID_ARGUMENT);
    pel_event_release(event);
    assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
    end(&w);
}

static int as_it_is(void **state) {
    (void)state;
    disguised = false;
    return 0;
}

static int as_another(void **state) {
    (void)state;
    disguised = true;
    return 0;
}

#define BOTH(test) {#test, test, as_it_is, NULL, NULL}, {#test "_in_memory_of_its_own", test, as_another, NULL, NULL}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_queues_are_adopted_and_given_back), BOTH(test_memory_is_adopted_in_place),
        BOTH(test_memory_that_cannot_be_adopted),     BOTH(test_wrapped_memory_is_used_in_place),
        BOTH(test_our_memory_is_handed_out),          BOTH(test_a_cl_event_is_waited_for),
        BOTH(test_our_event_as_a_cl_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
