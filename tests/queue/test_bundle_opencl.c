/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same launch right after itself may become one work that runs several times (repeat.c): every launch still counts once, is
 * seen by what follows it and not by what goes before it, and one that cannot be enqueued, or fails later, fails what follows,
 * whichever it is. The functions below stand in front of the loader's: one enqueue is refused, or a marker takes its place whose
 * event, if anybody asks for one, tells of a failure, while what comes after it runs.
 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <pel/pel.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 64, WARM = 30, ROUNDS = 12, ROW = 70 };

static atomic_long enqueues;
static long fail_at = -1;
static bool fails_late;
static _Atomic(cl_event) failed;

cl_int clGetEventInfo(cl_event event, cl_event_info what, size_t bytes, void *value, size_t *needed) {
    static cl_int (*real)(cl_event, cl_event_info, size_t, void *, size_t *);
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "clGetEventInfo");
    }
    const cl_int code = real(event, what, bytes, value, needed);
    if (code == CL_SUCCESS && what == CL_EVENT_COMMAND_EXECUTION_STATUS && event == atomic_load(&failed) &&
        *(cl_int *)value == CL_COMPLETE) {
        *(cl_int *)value = CL_OUT_OF_RESOURCES;
    }
    return code;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global,
                              const size_t *local, cl_uint count, const cl_event *waits, cl_event *event) {
    static cl_int (*real)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                          const cl_event *, cl_event *);
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
    }
    const bool fails = atomic_fetch_add(&enqueues, 1) == fail_at;
    if (fails && !fails_late) {
        return CL_OUT_OF_RESOURCES;
    }
    const cl_int code = fails ? clEnqueueMarkerWithWaitList(queue, count, waits, event)
                              : real(queue, kernel, dims, offset, global, local, count, waits, event);
    if (code == CL_SUCCESS && event && (fails || *event == atomic_load(&failed))) { /* an address may come again */
        atomic_store(&failed, fails ? *event : NULL);
    }
    return code;
}

typedef struct world {
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue, *other;
    pel_buffer *buffer;
    uint32_t *counts;
} world;

static bool begin(world *w) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    desc.devices = "opencl:0";
    if (pel_runtime_create(&desc, &w->runtime, NULL) != PEL_OK) {
        return false;
    }
    program.source = "kernel void count(global uint *launches) { launches[get_global_id(0)]++; }\n";
    kernel.entry = "count";
    kernel.params = params;
    kernel.param_count = 1;
    assert_int_equal(pel_queue_create(w->runtime, NULL, &w->queue, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(w->runtime, NULL, &w->other, NULL), PEL_OK);
    assert_int_equal(pel_program_create(w->runtime, &program, &w->program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(w->program, &kernel, &w->kernel, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(w->runtime, ITEMS * sizeof(uint32_t), &w->buffer, NULL), PEL_OK);
    w->counts = pel_buffer_data(w->buffer);
    memset(w->counts, 0, ITEMS * sizeof(uint32_t));
    return true;
}

static void end(world *w) {
    pel_queue_destroy(w->queue);
    pel_queue_destroy(w->other);
    pel_buffer_destroy(w->buffer);
    pel_kernel_destroy(w->kernel);
    pel_program_destroy(w->program);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static void launch(const world *w, pel_queue *queue, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(w->buffer)};
    desc.global[0] = desc.local[0] = ITEMS;
    assert_int_equal(pel_launch(queue, w->kernel, &desc, args, 1, event), PEL_OK);
}

static void warm_up(const world *w) {
    for (int i = 0; i < WARM; i++) {
        launch(w, w->queue, NULL);
        assert_int_equal(pel_queue_finish(w->queue), PEL_OK);
    }
}

static void expect(const world *w, uint32_t launches) {
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(w->counts[i], launches);
    }
}

typedef struct look {
    const world *w;
    uint32_t expected;
    atomic_int wrong;
} look;

static pel_status look_at(void *context) {
    look *l = context;
    for (int i = 0; i < ITEMS; i++) {
        if (l->w->counts[i] != l->expected) {
            atomic_fetch_add(&l->wrong, 1);
        }
    }
    return PEL_OK;
}

/* Tasks, events and another queue between launches: each sees all before it and nothing after it. */
static void test_each_counts_once(void **state) {
    world w;
    (void)state;
    if (!begin(&w)) {
        skip();
    }
    static look looks[ROUNDS * ROW];
    uint32_t made = WARM;
    warm_up(&w);
    expect(&w, made);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < ROW; i++) {
            pel_event *event = NULL;
            const bool has_event = i % 23 == 22;
            launch(&w, round % 3 == 2 && i % 5 == 0 ? w.other : w.queue, has_event ? &event : NULL);
            made++;
            if (has_event) {
                assert_int_equal(pel_event_wait(event), PEL_OK);
                pel_event_release(event);
                expect(&w, made);
            }
            if (round > 2 && i % (round + 3) == 0) {
                look *l = &looks[round * ROW + i];
                const pel_access access = PEL_ACCESS(w.buffer, 0, ITEMS * sizeof(uint32_t), PEL_READ);
                *l = (look){.w = &w, .expected = made};
                assert_int_equal(pel_task(i % 2 ? w.queue : w.other, look_at, l, &access, 1, NULL, NULL), PEL_OK);
            }
        }
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        assert_int_equal(pel_queue_finish(w.other), PEL_OK);
        expect(&w, made);
    }
    for (int i = 0; i < ROUNDS * ROW; i++) {
        assert_int_equal(atomic_load(&looks[i].wrong), 0);
    }
    for (int i = 0; i < ROW; i++) { /* and nobody finishes these but the destruction */
        launch(&w, w.queue, NULL);
    }
    end(&w);
}

/* Whichever of them fails: a clean error or, where it was protected, the right result; and the queue goes on. */
static void check_one_fails(bool late) {
    world w;
    if (!begin(&w)) {
        skip();
    }
    fails_late = late;
    for (int at = 0; at < 40; at += at < 4 ? 1 : 7) {
        memset(w.counts, 0, ITEMS * sizeof(uint32_t));
        warm_up(&w);
        fail_at = atomic_load(&enqueues) + at;
        for (int i = 0; i < ROW; i++) {
            launch(&w, w.queue, NULL);
        }
        const pel_status status = pel_queue_finish(w.queue);
        fail_at = -1;
        if (status == PEL_OK) {
            expect(&w, WARM + ROW);
        } else {
            pel_error *error = pel_queue_error(w.queue);
            assert_non_null(strstr(pel_error_message(error), "count"));
            pel_error_destroy(error);
            assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
        }
        memset(w.counts, 0, ITEMS * sizeof(uint32_t));
        for (int i = 0; i < ROW; i++) {
            launch(&w, w.queue, NULL);
        }
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        expect(&w, ROW);
    }
    end(&w);
}

/* A row of launches in a graph, which are queued behind each other when it is replayed: likewise, and the next one is right. */
static void test_a_replayed_one_fails(void **state) {
    world w;
    pel_graph *graph;
    (void)state;
    if (!begin(&w)) {
        skip();
    }
    warm_up(&w);
    assert_int_equal(pel_graph_create(w.runtime, &graph, NULL), PEL_OK);
    assert_int_equal(pel_graph_record(graph, w.queue), PEL_OK);
    for (int i = 0; i < ROW; i++) {
        launch(&w, w.queue, NULL);
    }
    assert_int_equal(pel_graph_end(graph), PEL_OK);
    for (int late = 0; late < 2; late++) {
        fails_late = late == 1;
        for (int at = 0; at < ROW + 9; at += 9) { /* the last time, none does */
            memset(w.counts, 0, ITEMS * sizeof(uint32_t));
            fail_at = atomic_load(&enqueues) + at;
            assert_int_equal(pel_graph_replay(graph, w.queue, NULL, NULL), PEL_OK);
            const pel_status status = pel_queue_finish(w.queue);
            fail_at = -1;
            if (status == PEL_OK) {
                expect(&w, ROW);
            } else {
                pel_error *error = pel_queue_error(w.queue);
                assert_non_null(strstr(pel_error_message(error), "count"));
                pel_error_destroy(error);
                assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
            }
            memset(w.counts, 0, ITEMS * sizeof(uint32_t));
            assert_int_equal(pel_graph_replay(graph, w.queue, NULL, NULL), PEL_OK);
            assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
            expect(&w, ROW);
        }
    }
    assert_int_equal(pel_graph_destroy(graph), PEL_OK);
    end(&w);
}

/* What a protected launch may spoil is saved each time it is made, also where the place for it was used before. */
static void test_a_place_is_used_again(void **state) {
    world w;
    (void)state;
    if (!begin(&w)) {
        skip();
    }
    fails_late = true;
    for (uint32_t made = 0; made < 3 * WARM; made++) {
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        const pel_arg args[] = {pel_buf(w.buffer)};
        desc.global[0] = desc.local[0] = ITEMS;
        desc.protection = PEL_PROTECT_RETRY;
        fail_at = made % 7 == 6 ? atomic_load(&enqueues) : -1;
        assert_int_equal(pel_launch(w.queue, w.kernel, &desc, args, 1, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        expect(&w, made + 1);
    }
    fail_at = -1;
    end(&w);
}

static void test_one_is_refused(void **state) {
    (void)state;
    check_one_fails(false);
}

static void test_one_fails_later(void **state) {
    (void)state;
    check_one_fails(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_counts_once), cmocka_unit_test(test_one_is_refused),
                                       cmocka_unit_test(test_one_fails_later), cmocka_unit_test(test_a_replayed_one_fails),
                                       cmocka_unit_test(test_a_place_is_used_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
