/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches of a graph that replay as one work (graph_rows.c): of two kernels in turns, with host tasks and unrelated launches
 * between some of them, over enough replays for rows to be made, to grow old and to be made again; with a command replaced; and
 * where the device is in quarantine when a row's turn comes, so that its launches go one by one; and of launches that run again
 * when their device fails, which are in no row. Always the bytes of sequential execution. The function below stands in front of
 * the loader's and refuses some enqueues.
 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pel/pel.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { ITEMS = 128, STEPS = 90, REPLAYS = 150, SEEN = 4, STREAK = 3 };

static atomic_int refusals; /* so many of the next enqueues fail */

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global,
                              const size_t *local, cl_uint count, const cl_event *waits, cl_event *event) {
    static cl_int (*real)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                          const cl_event *, cl_event *);
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
    }
    if (atomic_load(&refusals) > 0 && atomic_fetch_sub(&refusals, 1) > 0) {
        return CL_OUT_OF_RESOURCES;
    }
    return real(queue, kernel, dims, offset, global, local, count, waits, event);
}

static const char source[] =
    "kernel void add(global const uint *from, global uint *to) { to[get_global_id(0)] += from[get_global_id(0)]; }\n"
    "kernel void stir(global const uint *from, global uint *to) {\n"
    "    to[get_global_id(0)] = 3 * from[get_global_id(0)] + to[get_global_id(0)] % 7; }\n"
    "kernel void put(global const uint *from, global uint *to) { to[get_global_id(0)] = 3 * from[get_global_id(0)]; }\n";

static pel_status add_here(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[1])[i] += ((const uint32_t *)arguments[0])[i];
    }
    return PEL_OK;
}

static pel_status stir_here(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        uint32_t *to = (uint32_t *)arguments[1] + i;
        *to = 3 * ((const uint32_t *)arguments[0])[i] + *to % 7;
    }
    return PEL_OK;
}

typedef struct world {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernels[2];
    pel_buffer *buffers[3];
    uint32_t *data[3], expected[3][ITEMS];
    uint32_t sums[SEEN], wanted[SEEN], seen;
    pel_graph *graph;
} world;

static pel_status sum_up(void *context) { /* what a launch in the middle left behind, before a later one changes it */
    world *w = context;
    uint32_t sum = 0;
    for (int i = 0; i < ITEMS; i++) {
        sum += w->data[1][i];
    }
    w->sums[w->seen++ % SEEN] = sum;
    return PEL_OK;
}

static bool begin(world *w, const char *devices) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    memset(w, 0, sizeof *w);
    desc.devices = devices;
    desc.history = "off";
    if (pel_runtime_create(&desc, &w->runtime, NULL) != PEL_OK) {
        return false;
    }
    program.source = source;
    assert_int_equal(pel_queue_create(w->runtime, NULL, &w->queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(w->runtime, &program, &w->program, NULL), PEL_OK);
    for (int i = 0; i < 2; i++) {
        pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
        kernel.entry = i == 0 ? "add" : "stir";
        kernel.host = i == 0 ? add_here : stir_here;
        kernel.params = params;
        kernel.param_count = 2;
        kernel.flags = PEL_KERNEL_SINGLE_DEVICE;
        assert_int_equal(pel_kernel_create(w->program, &kernel, &w->kernels[i], NULL), PEL_OK);
    }
    for (int b = 0; b < 3; b++) {
        assert_int_equal(pel_buffer_create(w->runtime, ITEMS * sizeof(uint32_t), &w->buffers[b], NULL), PEL_OK);
        w->data[b] = pel_buffer_data(w->buffers[b]);
        for (uint32_t i = 0; i < ITEMS; i++) {
            w->data[b][i] = w->expected[b][i] = i + 17 * (uint32_t)b;
        }
    }
    assert_int_equal(pel_graph_create(w->runtime, &w->graph, NULL), PEL_OK);
    return true;
}

static void end(world *w) {
    assert_int_equal(pel_graph_destroy(w->graph), PEL_OK);
    pel_queue_destroy(w->queue);
    for (int b = 0; b < 3; b++) {
        pel_buffer_destroy(w->buffers[b]);
    }
    pel_kernel_destroy(w->kernels[0]);
    pel_kernel_destroy(w->kernels[1]);
    pel_program_destroy(w->program);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static void launch(const world *w, int kernel, int from, int to) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(w->buffers[from]), pel_buf(w->buffers[to])};
    desc.global[0] = ITEMS;
    desc.local[0] = 64;
    assert_int_equal(pel_launch(w->queue, w->kernels[kernel], &desc, args, 2, NULL), PEL_OK);
}

/* Step s: add b to a, stir a into b, in turns; now and then c, which nobody else touches, and a task that reads b. */
static int kernel_of(int s) { return s % 2; }
static int from_of(int s) { return s % 11 == 5 ? 1 : s % 2 == 0 ? 1 : 0; }
static int to_of(int s) { return s % 11 == 5 ? 2 : s % 2 == 0 ? 0 : 1; }
static bool is_seen(int s) { return s == 2 || s == 31 || s == 65 || s == STEPS - 1; }

static void record(world *w) {
    const pel_access access = PEL_ACCESS(w->buffers[1], 0, ITEMS * sizeof(uint32_t), PEL_READ);
    assert_int_equal(pel_graph_record(w->graph, w->queue), PEL_OK);
    for (int s = 0; s < STEPS; s++) {
        launch(w, kernel_of(s), from_of(s), to_of(s));
        if (is_seen(s)) {
            assert_int_equal(pel_task(w->queue, sum_up, w, &access, 1, NULL, NULL), PEL_OK);
        }
    }
    assert_int_equal(pel_graph_end(w->graph), PEL_OK);
}

static void expect(world *w, int replaced) {
    uint32_t seen = 0;
    for (int s = 0; s < STEPS; s++) {
        const uint32_t *from = w->expected[from_of(s)];
        uint32_t *to = w->expected[to_of(s)], sum = 0;
        const int kernel = s == replaced ? 1 - kernel_of(s) : kernel_of(s);
        for (int i = 0; i < ITEMS; i++) {
            to[i] = kernel == 0 ? to[i] + from[i] : 3 * from[i] + to[i] % 7;
            sum += w->expected[1][i];
        }
        if (is_seen(s)) {
            w->wanted[seen++] = sum;
        }
    }
}

static void check(world *w) {
    for (int b = 0; b < 3; b++) {
        assert_memory_equal(w->data[b], w->expected[b], sizeof w->expected[b]);
    }
    assert_memory_equal(w->sums, w->wanted, sizeof w->wanted);
}

static void replay(world *w, int replaced) {
    w->seen = 0;
    assert_int_equal(pel_graph_replay(w->graph, w->queue, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(w->queue), PEL_OK);
    expect(w, replaced);
    check(w);
}

static void run_on(const char *devices) {
    enum { REPLACED = 40 }; /* as recorded: two tasks stand before it */
    world w;
    if (!begin(&w, devices)) {
        skip();
    }
    record(&w);
    for (int i = 0; i < REPLAYS; i++) {
        replay(&w, -1);
    }
    assert_int_equal(pel_graph_replace(w.graph, w.queue, REPLACED + 2), PEL_OK);
    launch(&w, 1 - kernel_of(REPLACED), from_of(REPLACED), to_of(REPLACED));
    for (int i = 0; i < SEEN; i++) {
        replay(&w, REPLACED);
    }
    end(&w);
}

static void test_one_device(void **state) {
    (void)state;
    run_on("opencl:0");
}

static void test_two_devices(void **state) {
    (void)state;
    run_on("host,opencl:0");
}

static void test_in_quarantine(void **state) {
    world w;
    pel_device_health health = {0};
    (void)state;
    if (!begin(&w, "opencl:0")) {
        skip();
    }
    record(&w);
    for (int i = 0; i < SEEN; i++) {
        replay(&w, -1);
    }
    for (int i = 0; i < STREAK; i++) {
        atomic_store(&refusals, 1000);
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        const pel_arg args[] = {pel_buf(w.buffers[0]), pel_buf(w.buffers[2])};
        desc.global[0] = ITEMS;
        desc.local[0] = 64;
        desc.protection = PEL_PROTECT_NONE;
        assert_int_equal(pel_launch(w.queue, w.kernels[0], &desc, args, 2, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(w.queue), PEL_DEVICE_FAILED);
        assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
    }
    atomic_store(&refusals, 0);
    pel_device_get_health(pel_runtime_device(w.runtime, 0), &health);
    assert_int_equal(health.state, PEL_DEVICE_QUARANTINED);
    memcpy(w.data[2], w.expected[2], sizeof w.expected[2]);
    for (int i = 0; i < SEEN; i++) {
        replay(&w, -1);
    }
    end(&w);
}

/* Nothing has to be saved of launches that only write, so they are protected; and nobody is queued behind these. */
static void test_that_run_again(void **state) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1)};
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    world w;
    (void)state;
    if (!begin(&w, "opencl:0")) {
        skip();
    }
    pel_kernel_destroy(w.kernels[0]);
    desc.entry = "put";
    desc.flags = PEL_KERNEL_SINGLE_DEVICE;
    desc.params = params;
    desc.param_count = 2;
    assert_int_equal(pel_kernel_create(w.program, &desc, &w.kernels[0], NULL), PEL_OK);
    assert_int_equal(pel_graph_record(w.graph, w.queue), PEL_OK);
    launch(&w, 0, 0, 1);
    launch(&w, 0, 0, 2);
    assert_int_equal(pel_graph_end(w.graph), PEL_OK);
    for (int i = 0; i < REPLAYS; i++) {
        for (uint32_t k = 0; k < ITEMS; k++) {
            w.data[0][k] = k + (uint32_t)i;
        }
        atomic_store(&refusals, i % SEEN == SEEN - 1 ? 1 : 0);
        assert_int_equal(pel_graph_replay(w.graph, w.queue, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        for (uint32_t k = 0; k < ITEMS; k++) {
            assert_int_equal(w.data[1][k], 3 * (k + (uint32_t)i));
            assert_int_equal(w.data[2][k], 3 * (k + (uint32_t)i));
        }
    }
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_device), cmocka_unit_test(test_two_devices),
                                       cmocka_unit_test(test_in_quarantine), cmocka_unit_test(test_that_run_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
