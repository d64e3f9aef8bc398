/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs of launches on real devices: recorded once, replayed, with a command replaced in between, beside a host task, against
 * sequential execution. On cores of their own and with memory of its own, so that bytes have to follow the replays.
 */
#include "support/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { N = 20000, REPLAYS = 12, LAUNCHES = 3 };

typedef struct turned {
    update_scene s;
    pel_buffer *z;
    uint32_t zs[N], expected[N];
} turned;

static turned t;

static pel_status add_up(void *context) { /* z += y, in whole */
    turned *all = context;
    for (uint32_t i = 0; i < N; i++) {
        all->zs[i] += all->s.ys[i];
    }
    return PEL_OK;
}

static void launch(uint64_t items) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(t.s.x), pel_buf(t.s.y)};
    desc.global[0] = items;
    assert_int_equal(pel_launch(t.s.queue, t.s.kernel, &desc, args, 2, NULL), PEL_OK);
}

static void step(uint32_t items) {
    for (uint32_t i = 0; i < items; i++) {
        t.s.expected[i] = 3 * t.s.expected[i] + t.s.xs[i];
    }
}

/* False: there are no such devices here. */
static bool run_on(const char *devices) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_graph *graph = NULL;
    uint32_t middle = N;
    desc.devices = devices;
    desc.history = "off";
    if (update_begin(&t.s, &desc, NULL, N, NULL) != PEL_OK) {
        return false;
    }
    memset(t.zs, 0, sizeof t.zs);
    memset(t.expected, 0, sizeof t.expected);
    assert_int_equal(pel_buffer_wrap(t.s.runtime, t.zs, sizeof t.zs, &t.z), PEL_OK);
    const pel_access accesses[] = {PEL_ACCESS(t.s.y, 0, N * sizeof(uint32_t), PEL_READ),
                                   PEL_ACCESS(t.z, 0, sizeof t.zs, PEL_READ_WRITE)};
    assert_int_equal(pel_graph_create(t.s.runtime, &graph, NULL), PEL_OK);
    assert_int_equal(pel_graph_record(graph, t.s.queue), PEL_OK);
    for (int i = 0; i < LAUNCHES; i++) {
        launch(N);
    }
    assert_int_equal(pel_task(t.s.queue, add_up, &t, accesses, 2, NULL, NULL), PEL_OK);
    launch(N); /* a write after the task's read */
    assert_int_equal(pel_graph_end(graph), PEL_OK);
    assert_int_equal(pel_graph_size(graph), LAUNCHES + 2);
    assert_true(update_is_right(&t.s)); /* nothing has run */
    for (uint32_t k = 0; k < REPLAYS; k++) {
        if (k % 4 == 2) { /* the second launch over another part, and back */
            middle = middle == N ? N / 3 : N;
            assert_int_equal(pel_queue_finish(t.s.queue), PEL_OK);
            assert_int_equal(pel_graph_replace(graph, t.s.queue, 1), PEL_OK);
            launch(middle);
        }
        assert_int_equal(pel_graph_replay(graph, t.s.queue, NULL, NULL), PEL_OK);
        if (k % 3 == 0) { /* each now and then at home, and a launch of its own between replays */
            assert_int_equal(pel_queue_finish(t.s.queue), PEL_OK);
            launch(N);
        }
        for (uint32_t i = 0; i < LAUNCHES; i++) {
            step(i == 1 ? middle : N);
        }
        for (uint32_t i = 0; i < N; i++) {
            t.expected[i] += t.s.expected[i];
        }
        step(N);
        if (k % 3 == 0) {
            step(N);
        }
    }
    assert_int_equal(pel_queue_finish(t.s.queue), PEL_OK);
    assert_true(update_is_right(&t.s));
    assert_memory_equal(t.zs, t.expected, sizeof t.zs);
    assert_int_equal(pel_graph_destroy(graph), PEL_OK);
    pel_buffer_destroy(t.z);
    assert_int_equal(update_end(&t.s), PEL_OK);
    update_free(&t.s);
    return true;
}

static void on_all(void **state) {
    (void)state;
    static const char *const lists[] = {"host@0,opencl:0@1", "host,opencl:0", "opencl:0[own]", "opencl:0"};
    int ran = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        ran += run_on(lists[i]) ? 1 : 0;
    }
    if (ran == 0) {
        skip();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
