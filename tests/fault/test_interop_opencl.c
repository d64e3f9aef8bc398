/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every OpenCL call of interoperation fails in turn, once and for ever: adopting memory and events, mappings on the device,
 * handing out events, the zeroing of sensitive memory; on PoCL as it is and with memory of its own. Each time: the right result
 * or a clean error, and no reference and no memory is left.
 */
#include "fault/layer.h"
#include "support/counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/opencl.h>
#include <pel/pel.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { N = 256, BYTES = N * (int)sizeof(int), MOST_CALLS = 160, TIMES = 6 };

static const pel_faults_control *faults;
static counted records;

typedef struct life {
    pel_runtime *runtime;
    const pel_device *device;
    pel_queue *queue;
    pel_buffer *adopted, *secret;
    cl_mem memory;
    cl_event before;
} life;

static pel_status begin(life *l, const char *devices) {
    static const pel_allocator allocator = {counted_reallocate, &records};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_buffer_desc secret = PEL_BUFFER_DESC_INIT;
    cl_int code = CL_SUCCESS;
    *l = (life){0};
    desc.devices = devices;
    desc.allocator = &allocator;
    desc.host_workers = 1;
    secret.bytes = BYTES;
    secret.flags = PEL_BUFFER_SENSITIVE;
    pel_status status = pel_runtime_create(&desc, &l->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    l->device = pel_runtime_device(l->runtime, 0);
    assert_int_equal(pel_queue_create(l->runtime, NULL, &l->queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create_with(l->runtime, &secret, &l->secret, NULL), PEL_OK);
    l->memory = clCreateBuffer(pel_opencl_context(l->device), CL_MEM_READ_WRITE, BYTES, NULL, &code);
    assert_int_equal(code, CL_SUCCESS);
    l->before = clCreateUserEvent(pel_opencl_context(l->device), &code);
    assert_int_equal(code, CL_SUCCESS);
    return PEL_OK;
}

/* Fills an adopted cl_mem, copies it to a sensitive buffer, looks at that on the device and on the host. */
static pel_status live(life *l, bool *wrong) {
    pel_event *after = NULL, *copied = NULL;
    pel_mapping *there = NULL, *here = NULL;
    cl_event promised = NULL;
    cl_mem memory = NULL;
    uint64_t offset;
    void *data = NULL;
    const int pattern = 41;
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    pel_status status = pel_opencl_buffer_adopt(l->device, l->memory, &l->adopted, NULL);
    if (status == PEL_OK) {
        status = pel_opencl_event_adopt(l->device, l->before, &after, NULL);
    }
    desc.waits = (const pel_event *const *)&after;
    desc.wait_count = 1;
    if (status == PEL_OK) {
        status = pel_fill(l->queue, l->adopted, 0, BYTES, &pattern, sizeof pattern, &desc, NULL);
    }
    status = status == PEL_OK ? pel_copy(l->queue, l->secret, 0, l->adopted, 0, BYTES, NULL, &copied) : status;
    status = status == PEL_OK ? pel_opencl_event(l->queue, copied, l->device, &promised, NULL) : status;
    if (clSetUserEventStatus(l->before, CL_COMPLETE) != CL_SUCCESS && after) { /* our own call failed: it never ends */
        (void)pel_event_cancel(after);
    }
    status = status == PEL_OK ? pel_prefetch(l->queue, l->secret, 0, BYTES / 2, l->device, NULL, NULL) : status;
    status = status == PEL_OK ? pel_opencl_map(l->queue, l->secret, 0, 0, PEL_MAP_READ | PEL_MAP_WRITE, l->device, NULL, &there)
                              : status;
    status = status == PEL_OK ? pel_opencl_map_wait(there, &memory, &offset) : status;
    pel_mapping_destroy(there);
    status = status == PEL_OK ? pel_map(l->queue, l->secret, 0, 0, PEL_MAP_READ, NULL, &here) : status;
    status = status == PEL_OK ? pel_map_wait(here, &data) : status;
    for (int i = 0; status == PEL_OK && i < N; i++) {
        *wrong |= ((int *)data)[i] != pattern;
    }
    pel_mapping_destroy(here);
    pel_status finished = pel_queue_finish(l->queue);
    if (promised) {
        clReleaseEvent(promised);
    }
    pel_event_release(copied);
    pel_event_release(after);
    return status != PEL_OK ? status : finished;
}

static void tear_down(life *l) {
    (void)pel_buffer_destroy(l->adopted);
    (void)pel_buffer_destroy(l->secret);
    (void)pel_queue_destroy(l->queue);
    pel_status status = pel_runtime_destroy(l->runtime);
    for (int i = 0; status == PEL_BUSY && i < 1; i++) {
        status = pel_runtime_destroy(l->runtime);
    }
    assert_int_equal(status, PEL_OK);
}

/* PEL_NO_DEVICE and the like: there is no such device here. */
static pel_status live_once(const char *devices, const char *script, uint64_t *fired) {
    life l;
    bool wrong = false;
    int64_t objects = faults->objects();
    pel_status status = begin(&l, devices);
    if (!l.runtime) {
        return PEL_NO_DEVICE;
    }
    layer_script(faults, "%s", script);
    status = live(&l, &wrong);
    *fired = faults->fired();
    tear_down(&l); /* under the script, too */
    *fired += faults->fired() > *fired ? 1 : 0;
    layer_script(faults, "%s", "");
    clReleaseEvent(l.before);
    clReleaseMemObject(l.memory);
    if (wrong || atomic_load(&records.live) != 0 || faults->objects() != objects) {
        fail_msg("%s on %s: %s, %ld blocks and %lld references left", script, devices,
                 wrong ? "wrong result" : pel_status_name(status), atomic_load(&records.live),
                 (long long)(faults->objects() - objects));
    }
    return status;
}

static void every_call(const char *devices) {
    uint64_t times[MOST_CALLS] = {0}, fired = 0;
    uint32_t calls = faults->call_count() < MOST_CALLS ? faults->call_count() : MOST_CALLS, lives = 0, right = 0;
    char script[160];
    if (live_once(devices, "", &fired) != PEL_OK) {
        print_message("%s is not here\n", devices);
        skip();
    }
    /* The counts of a life: those since its script was set. */
    life l;
    bool wrong = false;
    assert_int_equal(begin(&l, devices), PEL_OK);
    layer_script(faults, "%s", "clFlush@1000000:-5");
    assert_int_equal(live(&l, &wrong), PEL_OK);
    tear_down(&l);
    for (uint32_t call = 0; call < calls; call++) {
        times[call] = faults->call_times(call);
    }
    layer_script(faults, "%s", "");
    clReleaseEvent(l.before);
    clReleaseMemObject(l.memory);
    for (uint32_t call = 0; call < calls; call++) {
        const char *name = faults->call_name(call);
        uint32_t codes = 0;
        const int32_t *code = faults->call_codes(call, &codes);
        /* a reference that the driver will not give back is the driver's leak */
        if (codes == 0 || strncmp(name, "clRelease", 9) == 0) {
            continue;
        }
        for (uint64_t number = 1; number <= times[call] && number <= TIMES; number++) {
            for (int for_ever = 0; for_ever < 2; for_ever++) {
                (void)snprintf(script, sizeof script, "%s@%llu%s:%d", name, (unsigned long long)number, for_ever ? "+" : "",
                               (int)code[0]);
                lives++;
                right += live_once(devices, script, &fired) == PEL_OK;
            }
        }
    }
    print_message("%s: %u lives, %u right results, %u clean errors\n", devices, lives, right, lives - right);
    assert_true(lives > right);
}

static void test_in_host_memory(void **state) {
    (void)state;
    every_call("opencl:0");
}

static void test_in_memory_of_its_own(void **state) {
    (void)state;
    every_call("opencl:0[own]");
}

int main(void) {
    faults = layer_load();
    if (!faults) {
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_host_memory), cmocka_unit_test(test_in_memory_of_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
