/* SPDX-License-Identifier: BSD-3-Clause */
/* The functions of pel/opencl.h from four threads, on a device that is none of OpenCL's and, where there is one, on one that
 * is. */
#include "four_threads.h"

#include <pel/opencl.h>
#include <pel/pel.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdint.h>

enum { BYTES = 4096, ROUNDS = 6 };

static pel_runtime *runtime;
static pel_queue *queue;
static pel_buffer *shared;
static const pel_device *host, *device; /* device: NULL where there is none */

static int set_up(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.host_workers = 2;
    desc.devices = "host,opencl";
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        desc.devices = "host";
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    }
    host = pel_runtime_find_device(runtime, "host");
    for (uint32_t i = 0; i < pel_runtime_device_count(runtime) && !device; i++) {
        device = pel_runtime_device(runtime, i) != host ? pel_runtime_device(runtime, i) : NULL;
    }
    return pel_queue_create(runtime, NULL, &queue, NULL) == PEL_OK && pel_buffer_create(runtime, BYTES, &shared, NULL) == PEL_OK
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    return (int)pel_queue_destroy(queue) | (int)pel_buffer_destroy(shared) | (int)pel_runtime_destroy(runtime);
}

static pel_status nothing(void *context) {
    (void)context;
    return PEL_OK;
}

static void play_refusals(int thread) {
    pel_buffer *buffer = NULL;
    pel_event *event = NULL, *task = NULL;
    pel_mapping *mapping = NULL;
    cl_event given = NULL;
    cl_mem memory = NULL;
    uint64_t offset = 0;
    (void)thread;
    EXPECT(pel_opencl_device_id(host) == NULL && pel_opencl_context(host) == NULL);
    EXPECT(pel_opencl_buffer_adopt(host, NULL, &buffer, NULL) == PEL_INVALID_ARGUMENT);
    EXPECT(pel_opencl_map(queue, shared, 0, 0, PEL_MAP_READ, host, NULL, &mapping) != PEL_OK);
    EXPECT(pel_opencl_map_wait(NULL, &memory, &offset) == PEL_INVALID_ARGUMENT);
    EXPECT(pel_opencl_event_adopt(host, NULL, &event, NULL) == PEL_INVALID_ARGUMENT);
    EXPECT(pel_task(queue, nothing, NULL, NULL, 0, NULL, &task) == PEL_OK);
    EXPECT(pel_opencl_event(queue, task, host, &given, NULL) != PEL_OK);
    pel_event_release(task);
}

/* Maps for reading may be open at once; cl_events come and go. */
static void play_device(int thread) {
    pel_event *task = NULL, *back = NULL;
    pel_mapping *mapping = NULL;
    cl_event given = NULL;
    cl_mem memory = NULL;
    uint64_t offset = 0;
    (void)thread;
    EXPECT(pel_opencl_device_id(device) != NULL && pel_opencl_context(device) != NULL);
    EXPECT(pel_opencl_map(queue, shared, 0, 0, PEL_MAP_READ, device, NULL, &mapping) == PEL_OK);
    EXPECT(pel_opencl_map_wait(mapping, &memory, &offset) == PEL_OK && memory);
    pel_mapping_destroy(mapping);
    EXPECT(pel_task(queue, nothing, NULL, NULL, 0, NULL, &task) == PEL_OK);
    EXPECT(pel_opencl_event(queue, task, device, &given, NULL) == PEL_OK);
    if (given) {
        EXPECT(pel_opencl_event_adopt(device, given, &back, NULL) == PEL_OK && pel_event_wait(back) == PEL_OK);
        pel_event_release(back);
        clReleaseEvent(given);
    }
    pel_event_release(task);
}

static void test_four_threads(void **state) {
    (void)state;
    four_threads_require_all("tests/queue/test_four_threads_opencl.c", true);
    four_threads_play("refusals", play_refusals, ROUNDS);
    if (device) {
        four_threads_play("device", play_device, ROUNDS);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_four_threads)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
