/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches of which one device has the middle and the other one both sides (planner/windows.c): a machine whose devices differ
 * along the range learns it, every unit is computed once, and neither part is lost or waits for ever when the other one fails,
 * hangs, or is not even taken.
 */
#include "machines.h"
#include "queue/begins.h"
#include "support/counted.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20003, LAUNCHES = 45, STEPS = 256 };
#define SECOND 1000000000ull

static double work_up_to[2][STEPS + 1]; /* of "scalar" and "lanes", for the whole range 1 */

static double up_to(uint32_t device, double x) {
    const double at = x * STEPS;
    const uint32_t step = at >= STEPS ? STEPS - 1 : (uint32_t)at;
    return work_up_to[device][step] + (at - step) * (work_up_to[device][step + 1] - work_up_to[device][step]);
}

/* Dearest in the middle, and on the second device eight times as dear at the ends as there. */
static void make_work(void) {
    for (uint32_t device = 0; device < 2; device++) {
        for (uint32_t i = 0; i < STEPS; i++) {
            const double off = fabs(2.0 * (i + 0.5) / STEPS - 1.0), items = 1.0 + 12.0 * exp(-8.0 * off * off);
            work_up_to[device][i + 1] = work_up_to[device][i] + items * (device == 1 ? pow(8.0, off * off) : 1.0);
        }
        for (uint32_t i = 0; i <= STEPS; i++) {
            work_up_to[device][i] /= work_up_to[device][STEPS];
        }
    }
}

static double work_of(void *user, const char *device, const char *kernel, const pel_span *span) {
    const uint32_t which = strcmp(device, "sim:lanes") == 0;
    const uint32_t last = span->dims - 1;
    const double all = (double)span->global[last], before = (double)span->offset[last];
    (void)user, (void)kernel;
    return N * (up_to(which, ((double)span->hi[last] - before) / all) - up_to(which, ((double)span->lo[last] - before) / all));
}

typedef struct machine {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    uint32_t *xs, *ys, *expected;
    pel_launch_desc desc;
    counted memory;
} machine;

/* In place, and from both neighbours: what is done twice, left out or not brought shows. */
static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = 3 * y[i] + x[i] + (i > 0 ? x[i - 1] : 0) + (i + 1 < N ? x[i + 1] : 0);
    }
    return PEL_OK;
}

static void begin(machine *m, double link, void (*change)(pel_simulated_device *devices, uint64_t at), uint64_t at) {
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(uint32_t), sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_simulated_device devices[] = {machine_device("scalar", 1.0, link), machine_device("lanes", 0.4, link)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    *m = (machine){.desc = PEL_LAUNCH_DESC_INIT};
    make_work();
    if (change) {
        change(devices, at);
    }
    simulation.seed = 3;
    simulation.devices = devices;
    simulation.device_count = 2;
    simulation.work = work_of;
    desc.simulation = &simulation;
    desc.devices = "!host";
    const pel_allocator allocator = {counted_reallocate, &m->memory};
    desc.allocator = &allocator;
    assert_int_equal(pel_runtime_create(&desc, &m->runtime, NULL), PEL_OK);
    m->queue = machine_queue(m->runtime);
    m->kernel = machine_kernel(m->runtime, "update", params, 2, update, PEL_KERNEL_IRREGULAR);
    m->xs = calloc(N, sizeof *m->xs);
    m->ys = calloc(N, sizeof *m->ys);
    m->expected = calloc(N, sizeof *m->expected);
    assert_true(m->xs && m->ys && m->expected);
    for (uint32_t i = 0; i < N; i++) {
        m->xs[i] = 7 * i;
        m->ys[i] = m->expected[i] = i ^ 21;
    }
    assert_int_equal(pel_buffer_wrap(m->runtime, m->xs, N * sizeof *m->xs, &m->x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(m->runtime, m->ys, N * sizeof *m->ys, &m->y), PEL_OK);
    m->desc.global[0] = N;
}

static void end(machine *m) {
    pel_kernel_destroy(m->kernel);
    pel_queue_destroy(m->queue);
    pel_buffer_destroy(m->x);
    pel_buffer_destroy(m->y);
    assert_int_equal(pel_runtime_destroy(m->runtime), PEL_OK);
    free(m->xs);
    free(m->ys);
    free(m->expected);
}

static void expect(machine *m) {
    for (uint32_t i = 0; i < N; i++) {
        m->expected[i] = 3 * m->expected[i] + m->xs[i] + (i > 0 ? m->xs[i - 1] : 0) + (i + 1 < N ? m->xs[i + 1] : 0);
    }
}

/* The parts that count are the whole range. True: three of two devices, one of which has both sides. */
static bool is_window(const pel_plan *plan, uint64_t units) {
    pel_plan_chunk chunks[3] = {{.lo = 0}};
    const uint32_t count = pel_plan_chunk_count(plan);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        pel_plan_chunk chunk;
        assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
        sum += chunk.failure[0] == '\0' ? chunk.hi - chunk.lo : 0;
        chunks[i < 3 ? i : 2] = chunk;
    }
    assert_int_equal(sum, units);
    return count == 3 && strcmp(chunks[0].device, chunks[2].device) == 0 && strcmp(chunks[0].device, chunks[1].device) != 0 &&
           chunks[0].lo == 0 && chunks[0].hi == chunks[1].lo && chunks[1].hi == chunks[2].lo && chunks[2].hi == units;
}

/* So many launches, each right; how many of them in windows. */
static uint32_t run(machine *m, uint32_t launches) {
    const pel_arg args[] = {pel_buf(m->x), pel_buf(m->y)};
    uint32_t windows = 0;
    for (uint32_t i = 0; i < launches; i++) {
        pel_event *event = NULL;
        assert_int_equal(pel_launch(m->queue, m->kernel, &m->desc, args, 2, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        windows += is_window(plan, N);
        pel_plan_destroy(plan);
        expect(m);
        machine_finish(m->queue);
        assert_memory_equal(m->ys, m->expected, N * sizeof *m->ys);
    }
    return windows;
}

static void test_windows_are_learned_and_right(void **state) {
    (void)state;
    for (uint32_t own_memory = 0; own_memory < 2; own_memory++) {
        machine m;
        begin(&m, own_memory ? 1000.0 : 0.0, NULL, 0);
        (void)run(&m, LAUNCHES);
        assert_int_equal(run(&m, 10), 10);
        for (uint32_t i = 0; i < pel_runtime_device_count(m.runtime); i++) { /* a second part is not one that begins late */
            assert_true(pel_begins_ns(pel_runtime_device(m.runtime, i)) < 10e3);
        }
        end(&m);
    }
}

/* Behind each other without a wait between them: in order on the device that has two parts of each. */
static void test_a_row_of_windows(void **state) {
    (void)state;
    machine m;
    begin(&m, 0.0, NULL, 0);
    (void)run(&m, LAUNCHES);
    const pel_arg args[] = {pel_buf(m.x), pel_buf(m.y)};
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(pel_launch(m.queue, m.kernel, &m.desc, args, 2, NULL), PEL_OK);
        expect(&m);
    }
    machine_finish(m.queue);
    assert_memory_equal(m.ys, m.expected, N * sizeof *m.ys);
    end(&m);
}

/* Rows of a picture, each of which adds to one sum: a device with two parts has one private copy of it. */
enum { WIDTH = 83, HEIGHT = N / WIDTH };
_Static_assert(WIDTH * HEIGHT == N, "whole rows");

static pel_status rows(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1], *sum = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t row = span->lo[1]; row < span->hi[1]; row++) {
        for (uint64_t i = row * WIDTH + span->lo[0]; i < row * WIDTH + span->hi[0]; i++) {
            y[i] = 3 * y[i] + x[i] + (row > 0 ? x[i - WIDTH] : 0) + (row + 1 < HEIGHT ? x[i + WIDTH] : 0);
            *sum += y[i];
        }
    }
    return PEL_OK;
}

static uint32_t expect_rows(machine *m) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        m->expected[i] = 3 * m->expected[i] + m->xs[i] + (i >= WIDTH ? m->xs[i - WIDTH] : 0) +
                         (i + WIDTH < N ? m->xs[i + WIDTH] : 0);
        sum += m->expected[i];
    }
    return sum;
}

static void test_rows_with_a_sum(void **state) {
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(uint32_t), WIDTH * sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_BLOCK(PEL_READ_WRITE, sizeof(uint32_t), WIDTH * sizeof(uint32_t), 0, 0),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 1)};
    (void)state;
    for (uint32_t own_memory = 0; own_memory < 2; own_memory++) {
        machine m;
        uint32_t windows = 0, sum = 0, expected = 0;
        pel_buffer *total;
        begin(&m, own_memory ? 1000.0 : 0.0, NULL, 0);
        pel_kernel *kernel = machine_kernel(m.runtime, "rows", params, 3, rows, PEL_KERNEL_IRREGULAR);
        assert_int_equal(pel_buffer_wrap(m.runtime, &sum, sizeof sum, &total), PEL_OK);
        m.desc.global[0] = WIDTH;
        m.desc.global[1] = HEIGHT;
        const pel_arg args[] = {pel_buf(m.x), pel_buf(m.y), pel_buf(total)};
        for (uint32_t i = 0; i < LAUNCHES + 10; i++) {
            pel_event *event = NULL;
            assert_int_equal(pel_launch(m.queue, kernel, &m.desc, args, 3, &event), PEL_OK);
            pel_plan *plan = machine_plan_of(event);
            windows += i >= LAUNCHES && is_window(plan, HEIGHT);
            pel_plan_destroy(plan);
            expected += expect_rows(&m);
            machine_finish(m.queue);
            assert_memory_equal(m.ys, m.expected, N * sizeof *m.ys);
            assert_int_equal(sum, expected);
        }
        assert_int_equal(windows, 10);
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(total);
        end(&m);
    }
}

/*
 * Read and written side by side in one buffer: between what a device's second part needs of both lies what its first part has
 * written, and that is less than a transfer's start is worth.
 */
static void test_side_by_side(void **state) {
    enum { SMALL = 4001 };
    (void)state;
    for (uint32_t own_memory = 0; own_memory < 2; own_memory++) {
        machine m;
        uint32_t both[2 * SMALL], expected[2 * SMALL], windows = 0;
        pel_buffer *buffer;
        begin(&m, own_memory ? 1000.0 : 0.0, NULL, 0);
        for (uint32_t i = 0; i < 2 * SMALL; i++) {
            both[i] = expected[i] = 5 * i + 1;
        }
        assert_int_equal(pel_buffer_wrap(m.runtime, both, sizeof both, &buffer), PEL_OK);
        pel_kernel *kernel = machine_add(m.runtime, PEL_KERNEL_IRREGULAR);
        m.desc.global[0] = SMALL;
        const uint64_t half = sizeof both / 2;
        for (uint32_t i = 0; i < 2 * LAUNCHES; i++) {
            pel_event *event = NULL;
            const bool written_first = i % 2;
            const pel_arg args[] = {pel_buf_range(buffer, written_first ? half : 0, half),
                                    pel_buf_range(buffer, written_first ? 0 : half, half), pel_u32(i)};
            uint32_t *out = expected + (written_first ? 0 : SMALL), *in = expected + (written_first ? SMALL : 0);
            assert_int_equal(pel_launch(m.queue, kernel, &m.desc, args, 3, &event), PEL_OK);
            pel_plan *plan = machine_plan_of(event);
            windows += is_window(plan, SMALL);
            pel_plan_destroy(plan);
            for (uint32_t k = 0; k < SMALL; k++) {
                out[k] = 5 * out[k] + in[k] + i;
            }
            if (i % 4 != 1) {
                machine_finish(m.queue);
                assert_memory_equal(both, expected, sizeof both);
            }
        }
        machine_finish(m.queue);
        assert_memory_equal(both, expected, sizeof both);
        assert_true(windows > LAUNCHES / 2);
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(buffer);
        end(&m);
    }
}

/* Where what is read and what is written lie, and how far around is read, at random; some launches in a row without a wait. */
typedef struct layout {
    uint32_t count, before, after, from, to, all; /* elements */
} layout;

static layout laid; /* of the launches under way */

static pel_status around(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const layout *l = &laid;
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        const uint64_t first = i < l->before ? 0 : i - l->before, last = i + l->after < l->count ? i + l->after : l->count - 1;
        y[i] = 3 * y[i] + x[first] + x[last] + x[i];
    }
    return PEL_OK;
}

static layout random_layout(void) {
    layout l = {.count = 300 + (uint32_t)(machine_random() % 6000),
                .before = (uint32_t)(machine_random() % 5),
                .after = (uint32_t)(machine_random() % 5)};
    const uint32_t gap = machine_random() % 2 ? 0 : (uint32_t)(machine_random() % 3000);
    const bool swapped = machine_random() % 2;
    l.from = swapped ? l.count + gap : (uint32_t)(machine_random() % 100);
    l.to = swapped ? (uint32_t)(machine_random() % (gap + 1)) : l.from + l.count + gap;
    l.all = (l.from > l.to ? l.from : l.to) + l.count + (uint32_t)(machine_random() % 50);
    return l;
}

static void test_random_layouts(void **state) {
    uint32_t windows = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        machine m;
        machine_seed(seed);
        const layout l = laid = random_layout();
        begin(&m, machine_random() % 3 ? 1000.0 : 0.0, NULL, 0);
        const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(uint32_t), sizeof(uint32_t), l.before, l.after),
                                    PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
        pel_kernel *kernel = machine_kernel(m.runtime, "around", params, 2, around, PEL_KERNEL_IRREGULAR);
        pel_buffer *buffer;
        uint32_t *bytes = calloc(l.all, sizeof *bytes), *expected = calloc(l.all, sizeof *expected);
        assert_true(bytes && expected);
        for (uint32_t i = 0; i < l.all; i++) {
            bytes[i] = expected[i] = (uint32_t)machine_random();
        }
        assert_int_equal(pel_buffer_wrap(m.runtime, bytes, l.all * sizeof *bytes, &buffer), PEL_OK);
        m.desc.global[0] = l.count;
        const uint64_t length = l.count * sizeof(uint32_t);
        const pel_arg args[] = {pel_buf_range(buffer, l.from * sizeof(uint32_t), length),
                                pel_buf_range(buffer, l.to * sizeof(uint32_t), length)};
        const pel_span whole = {.dims = 1, .hi = {l.count}};
        for (uint32_t i = 0; i < 2 * LAUNCHES; i++) {
            pel_event *event = NULL;
            assert_int_equal(pel_launch(m.queue, kernel, &m.desc, args, 2, &event), PEL_OK);
            assert_int_equal(around(&whole, (void *[]){expected + l.from, expected + l.to}, NULL, NULL), PEL_OK);
            if (i < LAUNCHES || machine_random() % 2) {
                pel_plan *plan = machine_plan_of(event);
                windows += is_window(plan, l.count);
                pel_plan_destroy(plan);
            } else {
                pel_event_release(event);
            }
            if (machine_random() % 3 == 0) {
                machine_finish(m.queue);
                assert_memory_equal(bytes, expected, l.all * sizeof *bytes);
                for (uint32_t k = 0; k < 5; k++) { /* the host's own change, which devices must get */
                    const uint32_t at = (uint32_t)(machine_random() % l.all);
                    expected[at] += k;
                }
                pel_mapping *mapping;
                void *memory;
                assert_int_equal(pel_map(m.queue, buffer, 0, 0, PEL_MAP_READ | PEL_MAP_WRITE, NULL, &mapping), PEL_OK);
                assert_int_equal(pel_map_wait(mapping, &memory), PEL_OK);
                memcpy(memory, expected, l.all * sizeof *bytes);
                assert_int_equal(pel_unmap(mapping), PEL_OK);
                pel_mapping_destroy(mapping);
            }
        }
        machine_finish(m.queue);
        assert_memory_equal(bytes, expected, l.all * sizeof *bytes);
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(buffer);
        free(bytes);
        free(expected);
        end(&m);
    }
    print_message("# %u launches in windows\n", windows);
    assert_true(windows > 500);
}

/* A graph plans its launches by the same models; what it makes of them must be right. */
static void test_replays(void **state) {
    (void)state;
    for (uint32_t own_memory = 0; own_memory < 2; own_memory++) {
        machine m;
        pel_graph *graph;
        begin(&m, own_memory ? 1000.0 : 0.0, NULL, 0);
        (void)run(&m, LAUNCHES);
        const pel_arg args[] = {pel_buf(m.x), pel_buf(m.y)};
        assert_int_equal(pel_graph_create(m.runtime, &graph, NULL), PEL_OK);
        assert_int_equal(pel_graph_record(graph, m.queue), PEL_OK);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(pel_launch(m.queue, m.kernel, &m.desc, args, 2, NULL), PEL_OK);
        }
        assert_int_equal(pel_graph_end(graph), PEL_OK);
        for (uint32_t i = 0; i < 20; i++) {
            assert_int_equal(pel_graph_replay(graph, m.queue, NULL, NULL), PEL_OK);
            expect(&m);
            expect(&m);
            expect(&m);
            if (i % 2) {
                machine_finish(m.queue);
                assert_memory_equal(m.ys, m.expected, N * sizeof *m.ys);
            }
        }
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
        end(&m);
    }
}

/* Each part is computed a second time by the other device, which has a part of its own. */
static void test_verified(void **state) {
    (void)state;
    for (uint32_t own_memory = 0; own_memory < 2; own_memory++) {
        machine m;
        pel_verification verification = PEL_VERIFICATION_INIT;
        verification.share = 1.0;
        begin(&m, own_memory ? 1000.0 : 0.0, NULL, 0);
        (void)run(&m, LAUNCHES);
        m.desc.verification = &verification;
        (void)run(&m, 20);
        end(&m);
    }
}

static void fail_scalar(pel_simulated_device *devices, uint64_t at) { devices[0].fail_at = at; }
static void fail_lanes(pel_simulated_device *devices, uint64_t at) { devices[1].fail_at = at; }
static void lose_scalar(pel_simulated_device *devices, uint64_t at) { devices[0].lost_at = at; }
static void hang_scalar(pel_simulated_device *devices, uint64_t at) { devices[0].hang_at = at; }
static void hang_lanes(pel_simulated_device *devices, uint64_t at) { devices[1].hang_at = at; }

/* The first part, the second one, the window: the chunks of two launches in windows, one after the other. */
static void each_part(void (*change)(pel_simulated_device *devices, uint64_t at), pel_protection protection) {
    for (uint32_t own_memory = 0; own_memory < 2; own_memory++) {
        for (uint64_t at = 70; at < 76; at++) {
            machine m;
            begin(&m, own_memory ? 1000.0 : 0.0, change, at);
            m.desc.protection = protection;
            m.desc.deadline_ns = protection == PEL_PROTECT_ISOLATE ? SECOND : 0;
            (void)run(&m, 2 * LAUNCHES);
            end(&m);
        }
    }
}

static void test_a_part_fails(void **state) {
    (void)state;
    each_part(fail_scalar, PEL_PROTECT_RETRY);
    each_part(fail_lanes, PEL_PROTECT_RETRY);
}

static void test_its_device_is_lost(void **state) {
    (void)state;
    each_part(lose_scalar, PEL_PROTECT_RETRY);
}

static void test_a_part_hangs(void **state) {
    (void)state;
    each_part(hang_scalar, PEL_PROTECT_ISOLATE);
    each_part(hang_lanes, PEL_PROTECT_ISOLATE);
}

/* Each request of a launch in windows: one that a device could not even take must not keep the other part waiting. */
static void test_memory_is_refused(void **state) {
    (void)state;
    machine m;
    uint32_t good = 0;
    begin(&m, 0.0, NULL, 0);
    m.desc.protection = PEL_PROTECT_RETRY;
    (void)run(&m, LAUNCHES);
    const pel_arg args[] = {pel_buf(m.x), pel_buf(m.y)};
    for (long at = 1; at <= 120; at++) {
        atomic_store(&m.memory.fail_at, atomic_load(&m.memory.calls) + at);
        pel_status status = pel_launch(m.queue, m.kernel, &m.desc, args, 2, NULL);
        const pel_status end = pel_queue_finish(m.queue);
        status = status == PEL_OK ? end : status;
        atomic_store(&m.memory.fail_at, 0);
        assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
        expect(&m);
        if (status != PEL_OK) {
            assert_int_equal(pel_queue_reset(m.queue), PEL_OK);
            memcpy(m.ys, m.expected, N * sizeof *m.ys);
        }
        good += status == PEL_OK;
        assert_memory_equal(m.ys, m.expected, N * sizeof *m.ys);
    }
    assert_true(good > 0 && good < 120);
    end(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows_are_learned_and_right),
                                       cmocka_unit_test(test_a_row_of_windows), cmocka_unit_test(test_rows_with_a_sum),
                                       cmocka_unit_test(test_side_by_side), cmocka_unit_test(test_random_layouts),
                                       cmocka_unit_test(test_replays), cmocka_unit_test(test_verified),
                                       cmocka_unit_test(test_a_part_fails), cmocka_unit_test(test_its_device_is_lost),
                                       cmocka_unit_test(test_a_part_hangs), cmocka_unit_test(test_memory_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
