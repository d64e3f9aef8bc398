/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that fails in the middle of launches that it was given together: rows of a replay, launches that are one work, and
 * launches queued behind each other (recall.c). An enqueue is refused, a command fails, or the device vanishes, at every place of
 * the row: what only reads what nobody overwrites, or had not begun, is done by the host device; of what computes in place at
 * most the launch that failed is lost, and what reads its result; and never a wrong byte.
 */
#include "fault/layer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ITEMS = 128, ROW = 24, RING = 3, WARM = 4, BATCH = 40, SLOW_NS = 300000 };

static const pel_faults_control *faults;

static const char source[] =
    "kernel void put(global const uint *from, global uint *to) { to[get_global_id(0)] = 3 * from[get_global_id(0)] + 1; }\n"
    "kernel void add(global const uint *from, global uint *to) { to[get_global_id(0)] += from[get_global_id(0)]; }\n";

static void be_slow(void) { /* so that rows are OpenCL's */
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - began.tv_sec) * 1000000000 + now.tv_nsec - began.tv_nsec < SLOW_NS);
}

static pel_status put(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    be_slow();
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[1])[i] = 3 * ((const uint32_t *)arguments[0])[i] + 1;
    }
    return PEL_OK;
}

static pel_status add(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    be_slow();
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[1])[i] += ((const uint32_t *)arguments[0])[i];
    }
    return PEL_OK;
}

/* RING: each reads what the one before wrote, over three buffers. FAN: each has a result of its own. IN_PLACE: the same, added
 * to what is there. SUMMED: and a last one reads the first one's result. OVER: all have the same result, and the last one's
 * stays. */
typedef enum world_shape { SHAPE_RING, SHAPE_FAN, SHAPE_IN_PLACE, SHAPE_SUMMED, SHAPE_OVER } world_shape;

typedef struct world {
    world_shape shape;
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *put, *add;
    pel_buffer *buffers[ROW + 2];
    uint32_t *data[ROW + 2], expected[ROW + 2][ITEMS];
} world;

static pel_kernel *kernel_of(const world *w, const char *entry, pel_host_fn host, const pel_param *params) {
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel = NULL;
    desc.entry = entry;
    desc.host = host;
    desc.params = params;
    desc.param_count = 2;
    desc.flags = PEL_KERNEL_SINGLE_DEVICE;
    assert_int_equal(pel_kernel_create(w->program, &desc, &kernel, NULL), PEL_OK);
    return kernel;
}

static void begin(world *w, world_shape shape) {
    static const pel_param put_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                           PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1)};
    static const pel_param add_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                           PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    memset(w, 0, sizeof *w);
    w->shape = shape;
    desc.devices = "host,opencl:0";
    desc.history = "off";
    program.source = source;
    assert_int_equal(pel_runtime_create(&desc, &w->runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(w->runtime, NULL, &w->queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(w->runtime, &program, &w->program, NULL), PEL_OK);
    w->put = kernel_of(w, "put", put, put_params);
    w->add = kernel_of(w, "add", add, add_params);
    for (uint32_t b = 0; b < ROW + 2; b++) {
        assert_int_equal(pel_buffer_create(w->runtime, ITEMS * sizeof(uint32_t), &w->buffers[b], NULL), PEL_OK);
        w->data[b] = pel_buffer_data(w->buffers[b]);
        for (uint32_t i = 0; i < ITEMS; i++) {
            w->data[b][i] = w->expected[b][i] = i + 17 * b;
        }
    }
}

static void end(world *w) {
    pel_queue_destroy(w->queue);
    for (uint32_t b = 0; b < ROW + 2; b++) {
        pel_buffer_destroy(w->buffers[b]);
    }
    pel_kernel_destroy(w->put);
    pel_kernel_destroy(w->add);
    pel_program_destroy(w->program);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static int from_of(world_shape shape, int s) {
    return shape == SHAPE_RING ? s % RING : shape == SHAPE_OVER ? s : s == ROW ? 1 : 0;
}
static int to_of(world_shape shape, int s) {
    return shape == SHAPE_RING ? (s + 1) % RING : shape == SHAPE_OVER ? ROW + 1 : s + 1;
}
static bool adds(world_shape shape) { return shape == SHAPE_IN_PLACE || shape == SHAPE_SUMMED; }
static int launches_of(world_shape shape) { return shape == SHAPE_SUMMED ? ROW + 1 : ROW; }

static void launch(const world *w, int s) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(w->buffers[from_of(w->shape, s)]), pel_buf(w->buffers[to_of(w->shape, s)])};
    desc.global[0] = ITEMS;
    desc.local[0] = 64;
    assert_int_equal(pel_launch(w->queue, adds(w->shape) ? w->add : w->put, &desc, args, 2, NULL), PEL_OK);
}

static void expect(world *w) {
    for (int s = 0; s < launches_of(w->shape); s++) {
        const uint32_t *from = w->expected[from_of(w->shape, s)];
        uint32_t *to = w->expected[to_of(w->shape, s)];
        for (int i = 0; i < ITEMS; i++) {
            to[i] = adds(w->shape) ? to[i] + from[i] : 3 * from[i] + 1;
        }
    }
}

/* How many buffers are not as they must be. */
static int differences(const world *w) {
    int count = 0;
    for (int b = 0; b < ROW + 2; b++) {
        count += memcmp(w->data[b], w->expected[b], sizeof w->expected[b]) != 0;
    }
    return count;
}

/* All in one replay, or one after the other. */
static pel_status live_once(world *w, pel_graph *graph) {
    for (int s = 0; s < launches_of(w->shape) && !graph; s++) {
        launch(w, s);
    }
    if (graph) {
        assert_int_equal(pel_graph_replay(graph, w->queue, NULL, NULL), PEL_OK);
    }
    expect(w);
    return pel_queue_finish(w->queue);
}

/* The status with the fault; the device is well again at the end. *wrong: buffers that are. */
static pel_status live(world_shape shape, bool replays, const char *script, int *wrong) {
    world w;
    pel_graph *graph = NULL;
    begin(&w, shape);
    if (replays) {
        assert_int_equal(pel_graph_create(w.runtime, &graph, NULL), PEL_OK);
        assert_int_equal(pel_graph_record(graph, w.queue), PEL_OK);
        for (int s = 0; s < launches_of(shape); s++) {
            launch(&w, s);
        }
        assert_int_equal(pel_graph_end(graph), PEL_OK);
    }
    for (int i = 0; i < WARM; i++) {
        if (live_once(&w, graph) != PEL_OK) {
            fail_msg("without a fault: %s", pel_error_story(pel_queue_error(w.queue)));
        }
    }
    assert_int_equal(differences(&w), 0);
    layer_script(faults, "%s", script);
    const pel_status status = live_once(&w, graph);
    *wrong = differences(&w);
    layer_script(faults, "%s", "");
    if (status != PEL_OK) {
        pel_error *error = pel_queue_error(w.queue);
        assert_non_null(error);
        assert_int_equal(pel_error_status(error), status);
        pel_error_destroy(error);
        assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
    }
    for (int b = 0; b < ROW + 2; b++) {
        memcpy(w.data[b], w.expected[b], sizeof w.expected[b]);
    }
    assert_int_equal(live_once(&w, graph), PEL_OK); /* and everything goes on */
    assert_int_equal(differences(&w), 0);
    if (graph) {
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
    }
    end(&w);
    return status;
}

static void must_be_well(world_shape shape, const char *how) {
    for (int place = 1; place <= ROW; place += 3) {
        for (int replays = 0; replays < 2; replays++) {
            char script[128];
            int wrong;
            (void)snprintf(script, sizeof script, "clEnqueueNDRangeKernel@%d:%s", place, how);
            const pel_status status = live(shape, replays == 1, script, &wrong);
            if (status != PEL_OK || wrong != 0) {
                fail_msg("shape %d, %s, %s: %s, %d buffers wrong", (int)shape, replays ? "replayed" : "launched", script,
                         pel_status_name(status), wrong);
            }
        }
    }
}

/* What was refused has not begun. */
static void test_refused(void **state) {
    (void)state;
    must_be_well(SHAPE_RING, "CL_OUT_OF_RESOURCES");
    must_be_well(SHAPE_FAN, "CL_OUT_OF_RESOURCES");
    must_be_well(SHAPE_IN_PLACE, "CL_OUT_OF_RESOURCES");
    must_be_well(SHAPE_SUMMED, "CL_OUT_OF_RESOURCES");
}

static void test_a_command_fails(void **state) {
    (void)state;
    must_be_well(SHAPE_FAN, "event(CL_OUT_OF_RESOURCES)");
    must_be_well(SHAPE_OVER, "event(CL_OUT_OF_RESOURCES)");
}

static void test_the_device_vanishes(void **state) {
    (void)state;
    must_be_well(SHAPE_FAN, "vanish");
}

/* The one that may have begun is lost, and what reads its result: nothing else. */
static void test_in_place(void **state) {
    (void)state;
    for (int place = 1; place <= ROW; place += 3) {
        for (int replays = 0; replays < 2; replays++) {
            char script[128];
            int wrong;
            (void)snprintf(script, sizeof script, "clEnqueueNDRangeKernel@%d:event(CL_OUT_OF_RESOURCES)", place);
            const pel_status status = live(SHAPE_SUMMED, replays == 1, script, &wrong);
            /* OK: what it overwrites was saved; the sum had begun on it, in place */
            assert_true(status == PEL_OK || status == PEL_DEVICE_FAILED || (status == PEL_DEPENDENCY_FAILED && place == 1));
            assert_in_range(wrong, status == PEL_OK ? 0 : 1, status == PEL_OK ? 0 : place == 1 ? 2 : 1);
        }
    }
}

/* Never wrong and well at once; whichever it is. */
static void test_never_silently(void **state) {
    static const char *const how[] = {"vanish", "event(CL_OUT_OF_RESOURCES)"};
    (void)state;
    for (int place = 1; place <= ROW; place += 5) {
        for (int i = 0; i < 8; i++) {
            char script[128];
            int wrong;
            (void)snprintf(script, sizeof script, "clEnqueueNDRangeKernel@%d:%s", place, how[i % 2]);
            const world_shape shape = i / 2 % 2 == 0 ? SHAPE_RING : SHAPE_SUMMED;
            if (live(shape, i >= 4, script, &wrong) == PEL_OK) {
                assert_int_equal(wrong, 0);
            }
        }
    }
}

/* The same launch right after itself becomes one work that runs several times. */
static void test_again_and_again(void **state) {
    (void)state;
    for (int place = 1; place <= BATCH; place += 3) {
        world w;
        begin(&w, SHAPE_IN_PLACE);
        for (int i = 0; i < 20 * WARM; i++) {
            launch(&w, 1);
            assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        }
        layer_script(faults, "clEnqueueNDRangeKernel@%d:%s", place, place % 2 == 0 ? "CL_OUT_OF_RESOURCES" : "vanish");
        for (int i = 0; i < BATCH; i++) {
            launch(&w, 1);
        }
        const pel_status status = pel_queue_finish(w.queue);
        layer_script(faults, "%s", "");
        if (place % 2 == 0) {
            assert_int_equal(status, PEL_OK);
        }
        for (uint32_t i = 0; i < ITEMS && status == PEL_OK; i++) {
            assert_int_equal(w.data[2][i], w.expected[2][i] + (20 * WARM + BATCH) * w.expected[0][i]);
        }
        end(&w);
    }
}

/* Once its launches run, a replay cannot be called off, nor can a part of it be. */
static void test_cancelled(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        world w;
        pel_graph *graph = NULL;
        begin(&w, SHAPE_RING);
        assert_int_equal(pel_graph_create(w.runtime, &graph, NULL), PEL_OK);
        assert_int_equal(pel_graph_record(graph, w.queue), PEL_OK);
        for (int s = 0; s < ROW; s++) {
            launch(&w, s);
        }
        assert_int_equal(pel_graph_end(graph), PEL_OK);
        for (int k = 0; k < 10 * WARM; k++) {
            pel_event *events[2];
            assert_int_equal(pel_graph_replay(graph, w.queue, NULL, &events[0]), PEL_OK);
            assert_int_equal(pel_graph_replay(graph, w.queue, NULL, &events[1]), PEL_OK);
            const bool first = pel_event_cancel(events[0]) == PEL_OK, second = pel_event_cancel(events[1]) == PEL_OK;
            const pel_status status = pel_queue_finish(w.queue);
            assert_int_equal(status, first || second ? PEL_CANCELLED : PEL_OK);
            for (int e = 0; e < 2; e++) {
                if (pel_event_status(events[e]) == PEL_OK) {
                    expect(&w);
                }
                pel_event_release(events[e]);
            }
            if (status != PEL_OK) {
                assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
            }
            assert_int_equal(differences(&w), 0);
        }
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
        end(&w);
    }
}

static int find_layer(void **state) {
    (void)state;
    faults = layer_load();
    if (!faults) {
        fprintf(stderr, "no layer\n");
        exit(77);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),  cmocka_unit_test(test_a_command_fails),
                                       cmocka_unit_test(test_the_device_vanishes), cmocka_unit_test(test_in_place),
                                       cmocka_unit_test(test_never_silently), cmocka_unit_test(test_again_and_again),
                                       cmocka_unit_test(test_cancelled)};
    return cmocka_run_group_tests(tests, find_layer, NULL);
}
