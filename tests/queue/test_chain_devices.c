/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches on several devices that are queued behind each other: an iterated stencil is wrong as soon as any chunk begins before
 * a neighbour's of the launch before. On simulated machines whose devices are of very different speed, so that without gates the
 * fast ones would run far ahead.
 */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 192, DEVICES = 3, LONG = 1200 };

static atomic_int calls, fail_at_call; /* fail_at_call: 0 never */

static pel_status blur(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *in = arguments[0];
    uint32_t *out = arguments[1];
    (void)scratch, (void)user;
    if (atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at_call)) {
        return PEL_IO;
    }
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = 3 * in[i] + (i > 0 ? in[i - 1] : 1) + (i + 1 < ITEMS ? 7 * in[i + 1] : 5);
    }
    return PEL_OK;
}

static const pel_param blur_params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(uint32_t), sizeof(uint32_t), 1, 1),
                                        PEL_PARAM_BLOCK(PEL_WRITE, sizeof(uint32_t), sizeof(uint32_t), 0, 0)};

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    uint32_t memory[2][ITEMS], expected[2][ITEMS];
    pel_buffer *lines[2];
} scene;

static void set_up(scene *s) {
    pel_simulated_device devices[DEVICES] = {machine_device("slow", 1, 0), machine_device("fast", 50, 0),
                                             machine_device("middle", 7, 0)};
    memset(s, 0, sizeof *s);
    atomic_store(&calls, 0);
    atomic_store(&fail_at_call, 0);
    s->runtime = machine_create(devices, DEVICES, "sim:slow,sim:fast,sim:middle");
    s->queue = machine_queue(s->runtime);
    s->kernel = machine_kernel(s->runtime, "blur", blur_params, 2, blur, 0);
    for (int g = 0; g < 2; g++) {
        for (uint32_t i = 0; i < ITEMS; i++) {
            s->memory[g][i] = s->expected[g][i] = i * 2654435761u;
        }
        assert_int_equal(pel_buffer_wrap(s->runtime, s->memory[g], sizeof s->memory[g], &s->lines[g]), PEL_OK);
    }
}

static void tear_down(scene *s) {
    pel_kernel_destroy(s->kernel);
    pel_queue_destroy(s->queue);
    pel_buffer_destroy(s->lines[0]);
    pel_buffer_destroy(s->lines[1]);
    assert_int_equal(pel_runtime_destroy(s->runtime), PEL_OK);
}

/* From line `from` to the other one; weights 0: that device has no part. */
static pel_event *launch(scene *s, uint32_t from, const double weights[DEVICES], pel_protection protection,
                         const pel_event *after) {
    pel_event *event = NULL;
    pel_share shares[DEVICES];
    const pel_event *waits[] = {after};
    const pel_arg args[] = {pel_buf(s->lines[from]), pel_buf(s->lines[1 - from])};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    for (uint32_t d = 0; d < DEVICES; d++) {
        shares[d] = (pel_share){pel_runtime_device(s->runtime, d), weights[d]};
    }
    desc.global[0] = ITEMS;
    desc.shares = shares;
    desc.share_count = DEVICES;
    desc.protection = protection;
    desc.waits = waits;
    desc.wait_count = after ? 1 : 0;
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, &event), PEL_OK);
    const uint32_t *in = s->expected[from];
    for (uint32_t i = 0; i < ITEMS; i++) {
        s->expected[1 - from][i] = 3 * in[i] + (i > 0 ? in[i - 1] : 1) + (i + 1 < ITEMS ? 7 * in[i + 1] : 5);
    }
    return event;
}

static void expect(const scene *s) {
    assert_memory_equal(s->memory[0], s->expected[0], sizeof s->memory[0]);
    assert_memory_equal(s->memory[1], s->expected[1], sizeof s->memory[1]);
}

static const double thirds[DEVICES] = {1, 1, 1};

static void test_all_are_queued_at_once(void **state) {
    scene s;
    pel_event *events[10];
    int64_t last = 0;
    (void)state;
    set_up(&s);
    for (uint32_t i = 0; i < 10; i++) {
        events[i] = launch(&s, i % 2, thirds, PEL_PROTECT_DEFAULT, NULL);
    }
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(pel_event_get_state(events[i]), PEL_EVENT_RUNNING);
    }
    for (uint32_t i = 0; i < 10; i++) {
        pel_event_timing timing;
        assert_int_equal(pel_event_wait(events[i]), PEL_OK);
        pel_event_get_timing(events[i], &timing);
        assert_true(timing.ended >= last + 69000); /* the slow third takes 5 + 64 us, and the next begins after it */
        assert_true(timing.ended < last + 71000);
        last = timing.ended;
        pel_event_release(events[i]);
    }
    expect(&s);
    tear_down(&s);
}

static void test_long_chains_of_changing_devices(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 6; seed++) {
        scene s;
        pel_event *gate = NULL;
        set_up(&s);
        machine_seed(seed);
        printf("seed %u\n", seed);
        assert_int_equal(pel_event_create_user(s.runtime, &gate, NULL), PEL_OK);
        for (uint32_t i = 0; i < LONG; i++) {
            double weights[DEVICES] = {(double)(machine_random() % 3), (double)(machine_random() % 3),
                                       (double)(machine_random() % 3)};
            weights[machine_random() % DEVICES] += 1;
            const uint32_t from = machine_random() % 4 == 0 ? 0 : i % 2; /* also the same direction twice */
            const pel_protection protection = machine_random() % 16 == 0 ? PEL_PROTECT_RETRY : PEL_PROTECT_DEFAULT;
            pel_event_release(launch(&s, from, weights, protection, i == 0 && seed % 2 == 0 ? gate : NULL));
            if (machine_random() % 400 == 0 && seed % 2 != 0) {
                machine_finish(s.queue);
                expect(&s);
            }
        }
        assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
        pel_event_release(gate);
        machine_finish(s.queue);
        expect(&s);
        tear_down(&s);
    }
}

/* Two queues with priorities: what competes for the devices must not stand in the way of what a gate waits for. */
static void test_two_queues_compete(void **state) {
    scene s, other;
    (void)state;
    set_up(&s);
    other = s;
    other.queue = machine_queue(s.runtime);
    for (int g = 0; g < 2; g++) {
        assert_int_equal(pel_buffer_wrap(s.runtime, other.memory[g], sizeof other.memory[g], &other.lines[g]), PEL_OK);
    }
    machine_seed(3);
    for (uint32_t i = 0; i < 300; i++) {
        double weights[2][DEVICES];
        for (int q = 0; q < 2; q++) {
            for (int d = 0; d < DEVICES; d++) {
                weights[q][d] = (double)(1 + machine_random() % 3);
            }
        }
        pel_event_release(launch(&s, i % 2, weights[0], PEL_PROTECT_NONE, NULL));
        pel_event_release(launch(&other, i % 2, weights[1], PEL_PROTECT_NONE, NULL));
    }
    machine_finish(s.queue);
    machine_finish(other.queue);
    expect(&s);
    expect(&other);
    pel_queue_destroy(other.queue);
    pel_buffer_destroy(other.lines[0]);
    pel_buffer_destroy(other.lines[1]);
    tear_down(&s);
}

/* Any chunk fails: its launch does, all that follow are not run, and the queue goes on after a reset. */
static void test_any_chunk_fails(void **state) {
    (void)state;
    for (int failing = 1; failing <= 5 * DEVICES; failing++) {
        scene s;
        pel_event *events[5];
        set_up(&s);
        atomic_store(&fail_at_call, failing);
        for (uint32_t i = 0; i < 5; i++) {
            events[i] = launch(&s, i % 2, thirds, PEL_PROTECT_DEFAULT, NULL);
        }
        assert_int_equal(pel_queue_finish(s.queue), PEL_TASK_FAILED);
        for (int i = 0; i < 5; i++) {
            const pel_status status = pel_event_status(events[i]);
            assert_int_equal(status, i < (failing - 1) / DEVICES    ? PEL_OK
                                     : i == (failing - 1) / DEVICES ? PEL_TASK_FAILED
                                                                    : PEL_DEPENDENCY_FAILED);
            pel_event_release(events[i]);
        }
        atomic_store(&fail_at_call, 0);
        assert_int_equal(pel_queue_reset(s.queue), PEL_OK);
        memcpy(s.expected, s.memory, sizeof s.memory); /* undefined, but the next ones start from there */
        for (uint32_t i = 0; i < 4; i++) {
            pel_event_release(launch(&s, i % 2, thirds, PEL_PROTECT_DEFAULT, NULL));
        }
        machine_finish(s.queue);
        expect(&s);
        tear_down(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_are_queued_at_once),
                                       cmocka_unit_test(test_long_chains_of_changing_devices),
                                       cmocka_unit_test(test_two_queues_compete), cmocka_unit_test(test_any_chunk_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
