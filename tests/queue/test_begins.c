/* SPDX-License-Identifier: BSD-3-Clause */
/* How late a device begins: followed, and not led astray by cores that are stolen. Workers that are roused, with and without
 * work. */
#include "machines.h"
#include "backend/host/host.h"
#include "queue/begins.h"
#include "queue/command.h"
#include <pel/pel.h>
#include <pel/simulated.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t state = 1;

static double between(double least, double most) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return least + (most - least) * (double)(state >> 11) * 0x1p-53;
}

static double after(double known, uint32_t count, double usual, double stolen) {
    for (uint32_t i = 0; i < count; i++) {
        known = pel_begins_after(known, between(0.0, 1.0) < stolen ? between(0.5e6, 5e6) : usual * between(0.8, 1.2));
    }
    return known;
}

static void follows_what_is_usual(void **unused) {
    (void)unused;
    assert_true(pel_begins_after(0.0, 90e3) == 90e3);
    assert_true(pel_begins_after(0.0, 5e6) < 250e3);
    assert_true(pel_begins_after(70e3, 0.0) == 70e3);
    assert_true(pel_begins_after(70e3, -1.0) == 70e3);
    assert_true(fabs(after(0.0, 200, 90e3, 0.0) - 90e3) < 10e3);
    assert_true(fabs(after(300e3, 200, 50e3, 0.0) - 50e3) < 10e3);
}

/* One launch in five is late by milliseconds. */
static void is_not_led_astray(void **unused) {
    (void)unused;
    for (int i = 0; i < 50; i++) {
        const double known = after(90e3, 100, 90e3, 0.2);
        assert_true(known > 70e3 && known < 150e3);
    }
}

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)arguments, (void)scratch, (void)user;
    return PEL_OK;
}

/* Sixteen launches of 2 ms of two equal devices, one of which is late; how much more the other one took in the last one. */
static double lead_of_the_prompt(double late_ns, double *learned_ns) {
    const pel_simulated_device devices[] = {{.name = "prompt", .rate = 1000.0},
                                            {.name = "late", .rate = 1000.0, .begins_late_ns = late_ns}};
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime = machine_create(devices, 2, "sim:prompt,sim:late");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "kernel", NULL, 0, nothing, 0);
    double lead = 0.0;
    launch.global[0] = 4000000;
    launch.local[0] = 1;
    for (int i = 0; i < 16; i++) {
        pel_event *event = NULL;
        assert_int_equal(pel_launch(queue, kernel, &launch, NULL, 0, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        lead = 0.0;
        for (uint32_t k = 0; k < pel_plan_chunk_count(plan); k++) {
            pel_plan_chunk chunk;
            assert_int_equal(pel_plan_get_chunk(plan, k, &chunk), PEL_OK);
            lead += strcmp(chunk.device, "sim:late") == 0 ? -chunk.actual_ns : chunk.actual_ns;
        }
        pel_plan_destroy(plan);
    }
    *learned_ns = pel_begins_ns(pel_runtime_find_device(runtime, "sim:late"));
    assert_true(pel_begins_ns(pel_runtime_find_device(runtime, "sim:prompt")) == 0.0);
    (void)pel_queue_destroy(queue);
    (void)pel_kernel_destroy(kernel);
    (void)pel_runtime_destroy(runtime);
    return lead;
}

/* Nothing is learned under a virtual clock but what the machine's description says. */
static void virtual_machines_begin_as_described(void **unused) {
    (void)unused;
    double learned;
    assert_true(fabs(lead_of_the_prompt(0.0, &learned)) < 5e3);
    assert_true(learned == 0.0);
    assert_true(fabs(lead_of_the_prompt(100e3, &learned) - 100e3) < 10e3);
    assert_true(fabs(learned - 100e3) < 1.0);
}

/* Pieces that wait for another queue's chunks are no late ones: tails go on being held. */
static void others_chunks_are_no_gap(void **unused) {
    (void)unused;
    static const char *const names[] = {"sim:a", "sim:b", "sim:c"};
    const pel_simulated_device devices[] = {{.name = "a", .rate = 1000.0, .start_ns = 1e4, .noise = 0.1},
                                            {.name = "b", .rate = 1000.0, .start_ns = 1e4, .noise = 0.1},
                                            {.name = "c", .rate = 1000.0, .start_ns = 1e4, .noise = 0.1}};
    enum { DEVICES = 3, LAUNCHES = 60, LEARNED = 20 };
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT, other = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime = machine_create(devices, DEVICES, "sim:a,sim:b,sim:c");
    pel_queue *queues[] = {machine_queue(runtime), machine_queue(runtime)};
    pel_kernel *kernels[] = {machine_kernel(runtime, "held", NULL, 0, nothing, 0),
                             machine_kernel(runtime, "other", NULL, 0, nothing, 0)};
    uint32_t tails = 0;
    launch.global[0] = 50000000;
    other.global[0] = 20000000;
    launch.local[0] = other.local[0] = 1;
    for (uint32_t i = 0; i < LAUNCHES; i++) {
        pel_event *event = NULL, *beside[DEVICES];
        assert_int_equal(pel_launch(queues[0], kernels[0], &launch, NULL, 0, &event), PEL_OK);
        for (uint32_t k = 0; k < DEVICES; k++) {
            const pel_share share = {.device = pel_runtime_find_device(runtime, names[k]), .weight = 1.0};
            other.shares = &share;
            other.share_count = 1;
            assert_int_equal(pel_launch(queues[1], kernels[1], &other, NULL, 0, &beside[k]), PEL_OK);
        }
        pel_plan *plan = machine_plan_of(event);
        tails += i >= LEARNED && pel_plan_chunk_count(plan) > DEVICES;
        pel_plan_destroy(plan);
        for (uint32_t k = 0; k < DEVICES; k++) {
            assert_int_equal(pel_event_wait(beside[k]), PEL_OK);
            pel_event_release(beside[k]);
            assert_true(pel_piece_gap_ns(pel_runtime_find_device(runtime, names[k])) == 0.0);
        }
    }
    assert_true(tails > (LAUNCHES - LEARNED) / 2);
    for (int i = 0; i < 2; i++) {
        (void)pel_queue_destroy(queues[i]);
        (void)pel_kernel_destroy(kernels[i]);
    }
    (void)pel_runtime_destroy(runtime);
}

static void rest(long ns) {
    const struct timespec time = {0, ns};
    (void)nanosleep(&time, NULL);
}

static pel_status toil(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[0])[i]++;
    }
    rest(1000000);
    return PEL_OK;
}

static bool all_sleep(pel_host_device *host) {
    pthread_mutex_lock(&host->lock);
    const uint32_t asleep = host->sleeping + (host->reserve_asleep ? 1u : 0u);
    const bool all = asleep == host->worker_count && host->tokens == 0 && !host->reserve_token;
    pthread_mutex_unlock(&host->lock);
    return all;
}

static void await_sleep(pel_host_device *host) {
    for (int i = 0; i < 60000 && !all_sleep(host); i++) {
        rest(1000000);
    }
    assert_true(all_sleep(host));
}

/* Long chunks of the host's have it roused from then on; a worker that was roused for nothing sleeps again. */
static void workers_are_roused(void **unused) {
    (void)unused;
    enum { N = 64 };
    static uint32_t counts[N];
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime;
    pel_buffer *buffer;
    desc.devices = "host@0";
    launch.global[0] = N;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    pel_kernel *kernel = machine_kernel(runtime, "toil", params, 1, toil, 0);
    pel_queue *queue = machine_queue(runtime);
    assert_int_equal(pel_buffer_wrap(runtime, counts, sizeof counts, &buffer), PEL_OK);
    const pel_arg args[] = {pel_buf(buffer)};
    pel_host_device *host = (pel_host_device *)runtime->devices[0].driver;
    for (uint32_t i = 0; i < 20; i++) {
        if (i % 4 == 0) {
            await_sleep(host);
        }
        if (i % 8 == 4) {
            pel_host_rouse(host);
        }
        assert_int_equal(pel_launch(queue, kernel, &launch, args, 1, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(counts[0], i + 1);
        assert_int_equal(counts[N - 1], i + 1);
    }
    assert_ptr_equal(atomic_load(&kernel->roused), runtime->devices[0].driver);
    await_sleep(host);
    for (int i = 0; i < 5; i++) {
        pel_host_rouse(host);
    }
    await_sleep(host);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_what_is_usual), cmocka_unit_test(is_not_led_astray),
                                       cmocka_unit_test(virtual_machines_begin_as_described),
                                       cmocka_unit_test(others_chunks_are_no_gap),
                                       cmocka_unit_test(workers_are_roused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
