/* SPDX-License-Identifier: BSD-3-Clause */
/* Several queues on one device of a simulated machine: time by weight, priorities first, nobody starves, nothing overtakes
 * what it depends on. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { N = 1000, LAUNCHES = 120 };

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};

typedef struct stream {
    pel_queue *queue;
    pel_buffer *in, *out[LAUNCHES];
    pel_event *events[LAUNCHES];
} stream;

static pel_runtime *machine;
static pel_kernel *kernel;
static int memory[2][LAUNCHES + 1][N];

static void open_stream(stream *s, int number, uint32_t weight, int32_t priority) {
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    desc.weight = weight;
    desc.priority = priority;
    assert_int_equal(pel_queue_create(machine, &desc, &s->queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(machine, memory[number][LAUNCHES], sizeof memory[0][0], &s->in), PEL_OK);
    for (int i = 0; i < LAUNCHES; i++) {
        assert_int_equal(pel_buffer_wrap(machine, memory[number][i], sizeof memory[0][0], &s->out[i]), PEL_OK);
    }
}

static void submit(stream *s, int first, int last) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_share on_gpu = {pel_runtime_find_device(machine, "sim:gpu"), 1};
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    for (int i = first; i < last; i++) {
        pel_arg args[] = {pel_buf(s->in), pel_buf(s->out[i])};
        assert_int_equal(pel_launch(s->queue, kernel, &desc, args, 2, &s->events[i]), PEL_OK);
    }
}

static void close_stream(stream *s) {
    for (int i = 0; i < LAUNCHES; i++) {
        pel_event_release(s->events[i]);
    }
    assert_int_equal(pel_queue_destroy(s->queue), PEL_OK);
    pel_buffer_destroy(s->in);
    for (int i = 0; i < LAUNCHES; i++) {
        pel_buffer_destroy(s->out[i]);
    }
}

static int64_t end_of(const pel_event *event) {
    pel_event_timing timing;
    pel_event_get_timing(event, &timing);
    return timing.ended;
}

/* How many launches of `other` had ended when the last of `s` did. */
static int ended_before(const stream *other, const stream *s) {
    int count = 0;
    for (int i = 0; i < LAUNCHES; i++) {
        count += end_of(other->events[i]) < end_of(s->events[LAUNCHES - 1]);
    }
    return count;
}

static void begin(void) {
    static pel_simulated_device devices[1];
    devices[0] = machine_device("gpu", 0.001, 0);
    machine = machine_create(devices, 1, NULL);
    kernel = machine_kernel(machine, "doubled", params, 2, machine_double, 0);
}

static void end(void) {
    pel_kernel_destroy(kernel);
    assert_int_equal(pel_runtime_destroy(machine), PEL_OK);
}

/* The first queue was there first, with all it has: the second, with three times its weight, gets three quarters all the same. */
static void test_time_by_weight(void **state) {
    (void)state;
    stream light, heavy;
    begin();
    open_stream(&light, 0, 1, 0);
    open_stream(&heavy, 1, 3, 0);
    submit(&light, 0, LAUNCHES);
    submit(&heavy, 0, LAUNCHES);
    machine_finish(heavy.queue);
    machine_finish(light.queue);
    const int had = ended_before(&light, &heavy);
    assert_in_range(had, LAUNCHES / 3 - 2, LAUNCHES / 3 + 24); /* what was in flight already counts for nobody */
    close_stream(&light);
    close_stream(&heavy);
    end();
}

static void test_priorities_come_first(void **state) {
    (void)state;
    stream low, high;
    begin();
    open_stream(&low, 0, 100, 0);
    open_stream(&high, 1, 1, 5);
    submit(&low, 0, LAUNCHES);
    submit(&high, 0, LAUNCHES);
    machine_finish(high.queue);
    machine_finish(low.queue);
    assert_in_range(ended_before(&low, &high), 0, 34); /* what was in flight already, at most 32, cannot be called back */
    close_stream(&low);
    close_stream(&high);
    end();
}

/* A queue that rested has no claim on the time that others used meanwhile. */
static void test_rest_is_not_saved(void **state) {
    (void)state;
    stream busy, late;
    begin();
    open_stream(&busy, 0, 1, 0);
    open_stream(&late, 1, 1, 0);
    submit(&busy, 0, LAUNCHES / 2);
    machine_finish(busy.queue);
    submit(&busy, LAUNCHES / 2, LAUNCHES);
    submit(&late, 0, LAUNCHES);
    machine_finish(busy.queue);
    machine_finish(late.queue);
    assert_in_range(ended_before(&late, &busy), 15, LAUNCHES / 2 + 5);
    close_stream(&busy);
    close_stream(&late);
    end();
}

/* Launches of three queues, and of forty, with other weights and priorities on the same buffers: in the order of submission. */
static void test_order_is_kept(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static int data[4][N], expected[4][N];
        pel_buffer *buffers[4];
        const int count = seed % 2 == 0 ? 3 : 40;
        pel_queue *queues[40];
        begin();
        pel_kernel *next = machine_kernel(machine, "next", params, 2, machine_add_one, 0);
        machine_seed(seed);
        memset(data, 0, sizeof data);
        memset(expected, 0, sizeof expected);
        for (int b = 0; b < 4; b++) {
            assert_int_equal(pel_buffer_wrap(machine, data[b], sizeof data[b], &buffers[b]), PEL_OK);
        }
        for (int q = 0; q < count; q++) {
            pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
            desc.weight = (uint32_t)(machine_random() % 5);
            desc.priority = (int32_t)(machine_random() % 3);
            assert_int_equal(pel_queue_create(machine, &desc, &queues[q], NULL), PEL_OK);
        }
        for (int i = 0; i < 200; i++) {
            const int from = (int)(machine_random() % 4), to = (from + 1 + (int)(machine_random() % 3)) % 4;
            pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
            pel_arg args[] = {pel_buf(buffers[from]), pel_buf(buffers[to])};
            desc.global[0] = N;
            desc.priority = (int32_t)(machine_random() % 2);
            assert_int_equal(pel_launch(queues[machine_random() % (unsigned)count], next, &desc, args, 2, NULL), PEL_OK);
            for (int k = 0; k < N; k++) {
                expected[to][k] = expected[from][k] + 1;
            }
        }
        for (int q = 0; q < count; q++) {
            machine_finish(queues[q]);
            assert_int_equal(pel_queue_destroy(queues[q]), PEL_OK);
        }
        if (memcmp(data, expected, sizeof data) != 0) {
            fail_msg("seed %llu: a launch overtook what it depends on", (unsigned long long)seed);
        }
        for (int b = 0; b < 4; b++) {
            pel_buffer_destroy(buffers[b]);
        }
        pel_kernel_destroy(next);
        end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_time_by_weight), cmocka_unit_test(test_priorities_come_first),
                                       cmocka_unit_test(test_rest_is_not_saved), cmocka_unit_test(test_order_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
