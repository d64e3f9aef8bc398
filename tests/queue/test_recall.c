/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random launches that are queued behind each other, on simulated machines two of whose three devices fail or are lost on the
 * way (recall.c). What only writes its result is never lost. Of what computes in place only the launch that had begun on the
 * device that failed may be, with that device's status, and what reads its result; all else ends with the bytes of sequential
 * execution. The same as replays of a graph.
 */
#include "machines.h"
#include "support/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 64, BUFFERS = 6, LAUNCHES = 60, SEEDS = PEL_TEST_SLOW ? 60 : 300, REPLAYS = 5, PLACES = 3400 };
enum { NEXT_PLACE = PEL_TEST_SLOW ? 17 : 1 };

typedef struct step {
    int from, to;
    bool in_place;
} step;

typedef struct world {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *put, *add;
    pel_buffer *buffers[BUFFERS];
    uint32_t values[BUFFERS]; /* all items of a buffer are alike */
    bool defined[BUFFERS];
    step steps[LAUNCHES];
    pel_event *events[LAUNCHES];
} world;

/* The one request that finds no memory; 0: none. */
static uint64_t requests, refused;

static void *reallocate(void *user, void *block, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(block);
        return NULL;
    }
    requests++;
    return requests == refused ? NULL : realloc(block, bytes);
}

static void begin(world *w, uint64_t seed, bool in_place, bool lost) {
    pel_simulated_device devices[] = {machine_device("one", 8, 0), machine_device("two", 4, 0), machine_device("three", 1, 0)};
    machine_seed(seed);
    memset(w, 0, sizeof *w);
    for (int d = 0; d < 2; d++) {
        const uint64_t at = 1 + machine_random() % LAUNCHES;
        devices[d].lost_at = lost ? at : 0;
        devices[d].lost_part = machine_random() % 2 == 0 ? 1e-9 : 0.7;
        devices[d].fail_at = lost ? 0 : at;
    }
    const pel_allocator allocator = {reallocate, NULL};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    simulation.seed = 7;
    simulation.devices = devices;
    simulation.device_count = 3;
    desc.simulation = &simulation;
    desc.devices = "sim:one,sim:two,sim:three";
    desc.allocator = &allocator;
    assert_int_equal(pel_runtime_create(&desc, &w->runtime, NULL), PEL_OK);
    w->queue = machine_queue(w->runtime);
    w->put = machine_put(w->runtime, PEL_KERNEL_SINGLE_DEVICE);
    w->add = machine_add(w->runtime, PEL_KERNEL_SINGLE_DEVICE);
    for (int b = 0; b < BUFFERS; b++) {
        assert_int_equal(pel_buffer_create(w->runtime, ITEMS * sizeof(uint32_t), &w->buffers[b], NULL), PEL_OK);
        uint32_t *data = pel_buffer_data(w->buffers[b]);
        w->values[b] = 17 * (uint32_t)b + 1;
        w->defined[b] = true;
        for (int i = 0; i < ITEMS; i++) {
            data[i] = w->values[b];
        }
    }
    for (int s = 0; s < LAUNCHES; s++) {
        const int from = (int)(machine_random() % BUFFERS), by = 1 + (int)(machine_random() % (BUFFERS - 1));
        w->steps[s] = (step){from, (from + by) % BUFFERS, in_place && machine_random() % 3 == 0};
    }
}

static void end(world *w) {
    pel_queue_destroy(w->queue);
    pel_kernel_destroy(w->put);
    pel_kernel_destroy(w->add);
    for (int b = 0; b < BUFFERS; b++) {
        pel_buffer_destroy(w->buffers[b]);
    }
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static void launch(world *w, int s, pel_event **event) {
    const step *at = &w->steps[s];
    const pel_arg args[] = {pel_buf(w->buffers[at->from]), pel_buf(w->buffers[at->to]), pel_u32((uint32_t)s)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    assert_int_equal(pel_launch(w->queue, at->in_place ? w->add : w->put, &desc, args, 3, event), PEL_OK);
}

/* One launch in the order of the program, if it ended so. How many were lost. */
static uint32_t follow(world *w, int s, pel_status status) {
    const step *at = &w->steps[s];
    const bool readable = w->defined[at->from] && (w->defined[at->to] || !at->in_place);
    if (!readable) {
        assert_int_equal(status, PEL_DEPENDENCY_FAILED);
    } else if (status != PEL_OK) {
        if (!at->in_place) {
            fail_msg("launch %d: %s", s, pel_error_story(pel_event_error(w->events[s])));
        }
        assert_true(status == PEL_DEVICE_FAILED || status == PEL_DEVICE_LOST);
    }
    w->defined[at->to] = status == PEL_OK;
    w->values[at->to] = (at->in_place ? 5 * w->values[at->to] + w->values[at->from] : 3 * w->values[at->from]) +
                          (uint32_t)s;
    return status == PEL_OK ? 0 : 1;
}

static void check(world *w) {
    for (int b = 0; b < BUFFERS; b++) {
        const uint32_t *data = pel_buffer_data(w->buffers[b]);
        for (int i = 0; i < ITEMS && w->defined[b]; i++) {
            assert_int_equal(data[i], w->values[b]);
        }
    }
}

static uint32_t live(uint64_t seed, bool in_place, bool lost) {
    world w;
    uint32_t missed = 0;
    begin(&w, seed, in_place, lost);
    for (int s = 0; s < LAUNCHES; s++) {
        launch(&w, s, &w.events[s]);
        if (machine_random() % 20 == 0) {
            (void)pel_queue_finish(w.queue);
        }
    }
    const pel_status status = pel_queue_finish(w.queue);
    for (int s = 0; s < LAUNCHES; s++) {
        missed += follow(&w, s, pel_event_status(w.events[s]));
        pel_event_release(w.events[s]);
    }
    assert_int_equal(status == PEL_OK, missed == 0);
    assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
    check(&w);
    end(&w);
    return missed;
}

static void test_nothing_is_lost(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        assert_int_equal(live(seed, false, seed % 2 == 0), 0);
    }
}

static void test_in_place(void **state) {
    uint32_t missed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        missed += live(seed, true, seed % 2 == 0);
    }
    print_message("%u of %u launches were lost, with those that read their results\n", missed, SEEDS * LAUNCHES);
}

static void test_replays(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS / 3; seed++) {
        world w;
        pel_graph *graph = NULL;
        begin(&w, seed, false, seed % 2 == 0);
        assert_int_equal(pel_graph_create(w.runtime, &graph, NULL), PEL_OK);
        assert_int_equal(pel_graph_record(graph, w.queue), PEL_OK);
        for (int s = 0; s < LAUNCHES / 4; s++) {
            launch(&w, s, NULL);
        }
        assert_int_equal(pel_graph_end(graph), PEL_OK);
        for (int i = 0; i < REPLAYS; i++) {
            assert_int_equal(pel_graph_replay(graph, w.queue, NULL, NULL), PEL_OK);
            assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
            for (int s = 0; s < LAUNCHES / 4; s++) {
                (void)follow(&w, s, PEL_OK);
            }
            check(&w);
        }
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
        end(&w);
    }
}

/* At every place memory is lacking once: what ended well all the same is right. */
static void test_no_memory(void **state) {
    (void)state;
    for (uint64_t place = 1; place <= PLACES; place += NEXT_PLACE) {
        world w;
        begin(&w, 1, false, false);
        for (int s = 0; s < LAUNCHES; s++) {
            launch(&w, s, &w.events[s]);
        }
        refused = requests + place;
        (void)pel_queue_finish(w.queue);
        refused = 0;
        (void)pel_queue_finish(w.queue);
        for (int s = 0; s < LAUNCHES; s++) {
            const step *at = &w.steps[s];
            const bool well = pel_event_status(w.events[s]) == PEL_OK;
            assert_true(!well || (w.defined[at->from] && (w.defined[at->to] || !at->in_place)));
            w.defined[at->to] = well;
            w.values[at->to] = (at->in_place ? 5 * w.values[at->to] + w.values[at->from] : 3 * w.values[at->from]) + (uint32_t)s;
            pel_event_release(w.events[s]);
        }
        check(&w);
        end(&w);
    }
}

/* A device goes through what it computes in place in steps, and hands their results to host memory as it goes: when it is lost,
 * that has been spoiled, though the device's own memory went with it. */
static void lose_halfway(uint64_t at, double part) {
    enum { MANY = 1 << 16 };
    pel_simulated_device devices[] = {machine_device("gpu", 2000, 100), machine_device("cpu", 0.02, 0)};
    static uint32_t memory[2][MANY];
    pel_buffer *buffers[2];
    devices[0].lost_at = at;
    devices[0].lost_part = part;
    devices[0].memory_bytes = MANY;
    pel_runtime *runtime = machine_create(devices, 2, "sim:gpu,sim:cpu");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_add(runtime, 0);
    for (int b = 0; b < 2; b++) {
        assert_int_equal(pel_buffer_wrap(runtime, memory[b], sizeof memory[b], &buffers[b]), PEL_OK);
        for (uint32_t i = 0; i < MANY; i++) {
            memory[b][i] = i + (uint32_t)b;
        }
    }
    const pel_arg args[] = {pel_buf(buffers[0]), pel_buf(buffers[1]), pel_u32(3)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = MANY;
    pel_status status = PEL_OK;
    for (uint32_t n = 0; n < 12 && status == PEL_OK; n++) {
        uint32_t *data = memory[1];
        for (uint32_t i = 0; i < MANY; i++) {
            data[i] = i + 1;
        }
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 3, NULL), PEL_OK);
        status = pel_queue_finish(queue);
        assert_true(status == PEL_OK || status == PEL_DEVICE_LOST);
        for (uint32_t i = 0; i < MANY && status == PEL_OK; i++) {
            assert_int_equal(data[i], 5 * (i + 1) + i + 3);
        }
    }
    pel_queue_destroy(queue);
    pel_kernel_destroy(kernel);
    for (int b = 0; b < 2; b++) {
        pel_buffer_destroy(buffers[b]);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_lost_in_steps(void **state) {
    (void)state;
    for (uint64_t at = 10; at < 200; at += 9) {
        lose_halfway(at, 1e-9);
        lose_halfway(at, 0.5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_lost), cmocka_unit_test(test_in_place),
                                       cmocka_unit_test(test_replays), cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_lost_in_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
