/* SPDX-License-Identifier: BSD-3-Clause */
/* Room on devices: dirty copies are written back and only they, who goes first, many launches in turn over too little memory,
 * nobody waits for ever. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1000, BYTES = N * sizeof(int) };

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};

/* Twice, without an overflow after hundreds of launches. */
static int twice(int value) { return 2 * value % 65521; }

static pel_status double_all(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = twice(in[i]);
    }
    return PEL_OK;
}

typedef struct room {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_share share;
} room;

static room open_room(uint64_t buffers) {
    room r;
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10)};
    devices[0].memory_bytes = buffers * BYTES;
    r.runtime = machine_create(devices, 1, "sim:gpu");
    r.queue = machine_queue(r.runtime);
    r.kernel = machine_kernel(r.runtime, "doubled", params, 2, double_all, 0);
    r.share = (pel_share){pel_runtime_find_device(r.runtime, "sim:gpu"), 1};
    return r;
}

static void close_room(room *r) {
    pel_kernel_destroy(r->kernel);
    pel_queue_destroy(r->queue);
    assert_int_equal(pel_runtime_destroy(r->runtime), PEL_OK);
}

static pel_buffer *new_buffer(const room *r, int value) {
    pel_buffer *buffer = NULL;
    assert_int_equal(pel_buffer_create(r->runtime, BYTES, &buffer, NULL), PEL_OK);
    for (int i = 0; i < N; i++) {
        ((int *)pel_buffer_data(buffer))[i] = value;
    }
    return buffer;
}

static void launch_after(const room *r, pel_queue *queue, pel_buffer *from, pel_buffer *to, const pel_event *const *waits,
                         uint32_t count, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.waits = waits;
    desc.wait_count = count;
    desc.global[0] = N;
    desc.shares = &r->share;
    desc.share_count = 1;
    pel_arg args[] = {pel_buf(from), pel_buf(to)};
    assert_int_equal(pel_launch(queue, r->kernel, &desc, args, 2, event), PEL_OK);
}

static void launch(const room *r, pel_queue *queue, pel_buffer *from, pel_buffer *to) {
    launch_after(r, queue, from, to, NULL, 0, NULL);
}

static uint64_t brought_home(const pel_buffer *buffer) {
    pel_buffer_counters counters;
    pel_buffer_get_counters(buffer, &counters);
    return counters.to_host;
}

static int value_of(pel_buffer *buffer) {
    assert_int_equal(pel_buffer_sync(buffer), PEL_OK);
    return ((const int *)pel_buffer_data(buffer))[N - 1];
}

static void test_only_dirty_bytes_go_home(void **state) {
    (void)state;
    room r = open_room(2);
    pel_buffer *a = new_buffer(&r, 1), *b = new_buffer(&r, 0), *c = new_buffer(&r, 5), *d = new_buffer(&r, 0);
    launch(&r, r.queue, a, b); /* a is clean there, b dirty */
    launch(&r, r.queue, c, d);
    machine_finish(r.queue);
    assert_int_equal(brought_home(a), 0);
    assert_int_equal(brought_home(b), BYTES);
    assert_int_equal(brought_home(d), 0);
    assert_int_equal(value_of(b), 2);
    assert_int_equal(brought_home(b), BYTES); /* it was home already */
    assert_int_equal(value_of(d), 10);
    pel_buffer *all[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        pel_buffer_destroy(all[i]);
    }
    close_room(&r);
}

/* Of two dirty copies goes the one that no submitted command will use, though the other was used earlier. */
static void test_what_is_needed_soon_stays(void **state) {
    (void)state;
    room r = open_room(4);
    pel_buffer *a = new_buffer(&r, 1), *soon = new_buffer(&r, 0), *b = new_buffer(&r, 2), *never = new_buffer(&r, 0);
    pel_buffer *c = new_buffer(&r, 3), *d = new_buffer(&r, 0);
    pel_event *events[2];
    launch_after(&r, r.queue, a, soon, NULL, 0, &events[0]);
    launch_after(&r, r.queue, b, never, NULL, 0, &events[1]);
    launch_after(&r, r.queue, c, d, (const pel_event *const *)events, 2, NULL); /* when nothing is pinned: two of four must go */
    launch(&r, r.queue, d, c);
    launch(&r, r.queue, soon, d);
    machine_finish(r.queue);
    pel_event_release(events[0]);
    pel_event_release(events[1]);
    assert_int_equal(brought_home(soon), 0);
    assert_int_equal(value_of(never), 4);
    assert_int_equal(value_of(d), 4);
    pel_buffer *all[] = {a, soon, b, never, c, d};
    for (int i = 0; i < 6; i++) {
        pel_buffer_destroy(all[i]);
    }
    close_room(&r);
}

/* Four copies fill the device and two must go: which, is the caller's word. Without it the two that were used first, of which
 * b is dirty. */
static void who_goes(pel_advice first, pel_advice second, bool *b_went, bool *d_went) {
    room r = open_room(4);
    pel_buffer *all[6];
    for (int i = 0; i < 6; i++) {
        all[i] = new_buffer(&r, i + 1);
    }
    launch(&r, r.queue, all[0], all[1]);
    launch(&r, r.queue, all[2], all[3]);
    machine_finish(r.queue);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pel_buffer_advise(all[i], i < 2 ? first : second, i % 2 == 0 ? NULL : r.share.device), PEL_OK);
    }
    launch(&r, r.queue, all[4], all[5]);
    machine_finish(r.queue);
    assert_int_equal(brought_home(all[1]) + brought_home(all[3]), BYTES); /* one clean and one dirty copy are enough */
    *b_went = brought_home(all[1]) == BYTES;
    *d_went = brought_home(all[3]) == BYTES;
    assert_int_equal(value_of(all[1]), 2);
    assert_int_equal(value_of(all[3]), 6);
    assert_int_equal(value_of(all[5]), 10);
    for (int i = 0; i < 6; i++) {
        pel_buffer_destroy(all[i]);
    }
    close_room(&r);
}

static void test_advice_says_who_goes(void **state) {
    (void)state;
    bool b, d;
    who_goes(PEL_ADVICE_NONE, PEL_ADVICE_NONE, &b, &d);
    assert_true(b && !d);
    who_goes(PEL_ADVICE_KEEP, PEL_ADVICE_NONE, &b, &d);
    assert_true(!b && d);
    who_goes(PEL_ADVICE_NONE, PEL_ADVICE_LEAVE, &b, &d);
    assert_true(!b && d);
    who_goes(PEL_ADVICE_KEEP, PEL_ADVICE_KEEP, &b, &d); /* nobody goes before anybody: as ever */
    assert_true(b && !d);
}

static void test_discarded_bytes_stay_where_they_are(void **state) {
    (void)state;
    room r = open_room(2);
    pel_buffer *a = new_buffer(&r, 1), *b = new_buffer(&r, 0), *c = new_buffer(&r, 5), *d = new_buffer(&r, 0);
    launch(&r, r.queue, a, b);
    assert_int_equal(pel_buffer_advise(b, PEL_ADVICE_DISCARD, NULL), PEL_BUSY);
    machine_finish(r.queue);
    assert_int_equal(pel_buffer_advise(b, PEL_ADVICE_DISCARD, NULL), PEL_OK);
    launch(&r, r.queue, c, d);
    machine_finish(r.queue);
    assert_int_equal(brought_home(b), 0); /* though it was written there and made room */
    launch(&r, r.queue, a, b); /* written again it means something again */
    machine_finish(r.queue);
    assert_int_equal(value_of(b), 2);
    assert_int_equal(value_of(d), 10);
    assert_int_equal(pel_buffer_advise(NULL, PEL_ADVICE_KEEP, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_advise(a, (pel_advice)4, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_advise(a, PEL_ADVICE_DISCARD, r.share.device), PEL_INVALID_ARGUMENT);
    pel_buffer *all[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        pel_buffer_destroy(all[i]);
    }
    close_room(&r);
}

/* Many buffers, room for three; random chains on several queues. Everything ends, and is right. */
static void test_many_launches_share_too_little(void **state) {
    (void)state;
    enum { BUFFERS = 12, LAUNCHES = 400, QUEUES = 3 };
    for (uint64_t seed = 1; seed <= 5; seed++) {
        room r = open_room(2 + seed % 3);
        pel_queue *queues[QUEUES];
        pel_buffer *buffers[BUFFERS];
        int expected[BUFFERS];
        machine_seed(seed);
        for (int q = 0; q < QUEUES; q++) {
            queues[q] = machine_queue(r.runtime);
        }
        for (int i = 0; i < BUFFERS; i++) {
            expected[i] = i + 1;
            buffers[i] = new_buffer(&r, expected[i]);
        }
        for (int i = 0; i < LAUNCHES; i++) {
            const uint64_t from = machine_random() % BUFFERS, to = (from + 1 + machine_random() % (BUFFERS - 1)) % BUFFERS;
            launch(&r, queues[machine_random() % QUEUES], buffers[from], buffers[to]);
            expected[to] = twice(expected[from]);
        }
        for (int q = 0; q < QUEUES; q++) {
            machine_finish(queues[q]);
        }
        for (int i = 0; i < BUFFERS; i++) {
            assert_int_equal(value_of(buffers[i]), expected[i]);
            pel_buffer_destroy(buffers[i]);
        }
        for (int q = 0; q < QUEUES; q++) {
            pel_queue_destroy(queues[q]);
        }
        close_room(&r);
    }
}

/* Launches that stream and launches that do not, at once. */
static void test_streams_among_others(void **state) {
    (void)state;
    enum { LARGE = 8 };
    room r = open_room(3);
    pel_queue *other = machine_queue(r.runtime);
    pel_buffer *x = NULL, *y = NULL, *a = new_buffer(&r, 1), *b = new_buffer(&r, 0);
    assert_int_equal(pel_buffer_create(r.runtime, LARGE * BYTES, &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(r.runtime, LARGE * BYTES, &y, NULL), PEL_OK);
    for (int i = 0; i < LARGE * N; i++) {
        ((int *)pel_buffer_data(x))[i] = i;
    }
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = LARGE * N;
    for (int round = 0; round < 6; round++) {
        pel_arg args[] = {pel_buf(round % 2 ? y : x), pel_buf(round % 2 ? x : y)};
        assert_int_equal(pel_launch(r.queue, r.kernel, &desc, args, 2, NULL), PEL_OK);
        launch(&r, other, round % 2 ? b : a, round % 2 ? a : b);
    }
    machine_finish(r.queue);
    machine_finish(other);
    assert_int_equal(value_of(a), 64);
    assert_int_equal(pel_buffer_sync(x), PEL_OK);
    for (int i = 0; i < LARGE * N; i++) {
        assert_int_equal(((int *)pel_buffer_data(x))[i], 64 * i % 65521);
    }
    pel_buffer *all[] = {a, b, x, y};
    for (int i = 0; i < 4; i++) {
        pel_buffer_destroy(all[i]);
    }
    pel_queue_destroy(other);
    close_room(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_dirty_bytes_go_home),
        cmocka_unit_test(test_what_is_needed_soon_stays),
        cmocka_unit_test(test_advice_says_who_goes),
        cmocka_unit_test(test_discarded_bytes_stay_where_they_are),
        cmocka_unit_test(test_many_launches_share_too_little),
        cmocka_unit_test(test_streams_among_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
