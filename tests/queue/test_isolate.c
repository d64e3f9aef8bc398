/* SPDX-License-Identifier: BSD-3-Clause */
/* Isolated launches on simulated machines: chunks that hang are given up in time and run elsewhere, what comes late lands
 * nowhere, nobody is accused in vain. */
#include "backend/simulated/machine.h"
#include "core/runtime.h"
#include "queue/isolate.h"
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4000, BIG = 400000 };
#define SECOND 1000000000ll

static void launch(scene *s, uint32_t shares, uint64_t n, uint64_t deadline, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    desc.global[0] = n;
    desc.protection = PEL_PROTECT_ISOLATE;
    desc.shares = s->shares;
    desc.share_count = shares;
    desc.deadline_ns = deadline;
    scene_expect_update(s);
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, event), PEL_OK);
}

static void check(scene *s, uint64_t n) {
    machine_finish(s->queue);
    assert_memory_equal(s->ys, s->expected, n * sizeof(int));
}

static pel_device_health health_of(const pel_device *device) {
    pel_device_health health;
    pel_device_get_health(device, &health);
    return health;
}

/* Each device, each of its chunks; never, or late. */
static void test_a_hang_costs_a_deadline(void **state) {
    (void)state;
    for (uint32_t victim = 0; victim < 3; victim++) {
        for (uint64_t at = 1; at <= 3; at++) {
            for (int late = 0; late < 2; late++) {
                pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                                  machine_device("cpu", 1, 0)};
                pel_event *event = NULL;
                scene s;
                devices[victim].hang_at = at;
                devices[victim].hang_ns = late ? 3.0 * (double)SECOND : 0.0;
                scene_begin(&s, devices, 3, false, N);
                for (uint64_t k = 1; k <= at; k++) {
                    const int64_t began = pel_runtime_now(s.runtime);
                    launch(&s, 3, N, SECOND, &event);
                    assert_int_equal(pel_event_wait(event), PEL_OK);
                    const int64_t took = pel_runtime_now(s.runtime) - began;
                    if (k == at) { /* found within 10 ms of the deadline; what is done again takes 4 ms at most */
                        assert_in_range(took, SECOND, SECOND + 10000000 + 8000000);
                    }
                    pel_event_release(event);
                    check(&s, N);
                }
                assert_int_equal(health_of(s.shares[victim].device).state, PEL_DEVICE_QUARANTINED);
                assert_non_null(strstr(health_of(s.shares[victim].device).reason, "did not end"));
                for (int k = 0; k < 60; k++) { /* time passes, and what comes late finds other bytes there */
                    launch(&s, 0, N, SECOND, NULL);
                    check(&s, N);
                }
                scene_end(&s);
            }
        }
    }
}

/* Three seconds pass with launches on another device; the late result is not in them. */
static void test_late_results_land_nowhere(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("host", 1, 0), machine_device("sick", 1, 0), machine_device("well", 1, 0)};
    scene s;
    devices[1].hang_at = 1;
    devices[1].hang_ns = 2.0 * (double)SECOND;
    scene_begin(&s, devices, 3, false, BIG);
    s.shares[2] = (pel_share){pel_runtime_find_device(s.runtime, "sim:well"), 1};
    s.shares[0] = s.shares[1] = s.shares[2];
    s.shares[0].device = pel_runtime_find_device(s.runtime, "sim:sick");
    launch(&s, 1, BIG, SECOND, NULL); /* all on the sick one */
    check(&s, BIG);
    const pel_device *sick = s.shares[0].device;
    s.shares[0].device = s.shares[2].device;
    for (int k = 0; k < 10; k++) { /* 0.4 s each */
        launch(&s, 1, BIG, 5 * SECOND, NULL);
        check(&s, BIG);
    }
    assert_int_equal(health_of(sick).state, PEL_DEVICE_WELL); /* in a new context */
    s.shares[0].device = sick;
    scene_end(&s);
}

static void test_the_plan_names_the_hang(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0), machine_device("two", 1, 0)};
    pel_event *event = NULL;
    pel_plan_chunk chunk;
    scene s;
    devices[0].hang_at = 1;
    scene_begin(&s, devices, 2, false, N);
    launch(&s, 2, N, SECOND, &event);
    pel_plan *plan = machine_plan_of(event);
    assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
    assert_non_null(strstr(chunk.failure, "did not end"));
    assert_non_null(strstr(pel_plan_protection(plan), "isolate, as asked"));
    pel_plan_destroy(plan);
    check(&s, N);
    scene_end(&s);
}

/* The whole runtime hangs: an error in time, and it can be destroyed. */
static void test_nobody_else(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    int xs[64] = {0}, ys[64] = {0}, zeros[64] = {0};
    pel_buffer *x, *y;
    devices[0].hang_at = 1;
    pel_runtime *runtime = machine_create(devices, 1, "sim:one");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = scene_kernel(runtime);
    assert_int_equal(pel_buffer_wrap(runtime, xs, sizeof xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, sizeof ys, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    desc.global[0] = 64;
    desc.protection = PEL_PROTECT_ISOLATE;
    xs[5] = 1;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK); /* never measured: ten minutes */
    assert_int_equal(pel_event_wait(event), PEL_TIMED_OUT);
    assert_true(pel_runtime_now(runtime) >= 600 * SECOND);
    pel_event_release(event);
    assert_memory_equal(ys, zeros, sizeof ys);
    assert_int_equal(pel_queue_finish(queue), PEL_TIMED_OUT);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* A hang that nothing gives up: no wait ends well, the queue stays, and once the device has returned all goes on. */
static void test_nothing_gives_it_up(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    scene s;
    devices[0].hang_at = 1;
    scene_begin(&s, devices, 1, false, N);
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_NONE;
    scene_expect_update(&s);
    desc.shares = s.shares;
    desc.share_count = 1;
    assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, &event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_queue_finish(s.queue), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_queue_reset(s.queue), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_queue_destroy(s.queue), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_runtime_destroy(s.runtime), PEL_BUSY);
    pel_machine_release(s.runtime->machine);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_release(event);
    check(&s, N);
    scene_end(&s);
}

/* Time in which threads of the process waited for cores does not count, but at most nineteen twentieths of the time. */
static void test_starvation_is_no_hang(void **state) {
    (void)state;
    static pel_runtime runtime;
    static pel_dispatcher dispatcher;
    static pel_device device;
    static pel_command command;
    static pel_job job;
    bool old = false;
    runtime.dispatcher = &dispatcher;
    command.runtime = &runtime;
    command.deadline_ns = SECOND;
    job.command = &command;
    job.device = &device;
    dispatcher.watched = &job;
    atomic_store(&job.isolation, PEL_ISOLATION_RUNNING);
    atomic_store(&job.work.started, SECOND);
    int64_t now = SECOND + SECOND / 5;
    assert_int_equal(pel_isolate_look(&runtime, now, (pel_lateness){0, 0}, &old), now + SECOND / 20);
    assert_false(old);
    now = SECOND + SECOND / 2;
    assert_int_equal(pel_isolate_look(&runtime, now, (pel_lateness){0, 0}, &old), now + SECOND / 20);
    assert_true(old);
    now = SECOND + 3 * SECOND / 2; /* half a second over its deadline, but 0.52 s it waited for a core */
    assert_int_equal(pel_isolate_look(&runtime, now, (pel_lateness){0, 520000000}, &old), SECOND + SECOND + 520000000);
    now = SECOND + 10 * SECOND; /* stopped, which is not starved: that counts wholly */
    assert_int_equal(pel_isolate_look(&runtime, now, (pel_lateness){9 * SECOND, 0}, &old), SECOND + 10 * SECOND + 50000000);
    now = SECOND + 28 * SECOND; /* of 19 s since then 18 are an excuse at most, so the twentieth s of the deadline is due soon */
    assert_int_equal(pel_isolate_look(&runtime, now, (pel_lateness){0, 100 * SECOND}, &old), now + SECOND / 20);
    assert_ptr_equal(dispatcher.watched, &job);
}

/* Noise and spikes of ten times are no hangs. PEL_ISOLATED_LAUNCHES: how many (1,000,000 in the campaign). */
static void test_no_false_alarm(void **state) {
    (void)state;
    const char *given = getenv("PEL_ISOLATED_LAUNCHES");
    const long launches = given ? strtol(given, NULL, 10) : 5000;
    pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                      machine_device("cpu", 0.0005, 0)};
    scene s;
    for (int i = 0; i < 3; i++) {
        devices[i].noise = 0.1;
        devices[i].spike_chance = 0.02;
        devices[i].spike_factor = 3;
        devices[i].spike_factor_most = 10;
    }
    scene_begin(&s, devices, 3, false, 256); /* half a second on the slow one, five with a spike */
    for (long k = 0; k < launches; k++) {
        launch(&s, k % 2 == 0 ? 3 : 0, 256, 0, NULL);
        machine_finish(s.queue);
    }
    check(&s, 256);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(health_of(s.shares[i].device).failures, 0);
    }
    scene_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hang_costs_a_deadline), cmocka_unit_test(test_late_results_land_nowhere),
        cmocka_unit_test(test_the_plan_names_the_hang), cmocka_unit_test(test_nobody_else),
        cmocka_unit_test(test_nothing_gives_it_up),     cmocka_unit_test(test_starvation_is_no_hang),
        cmocka_unit_test(test_no_false_alarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
