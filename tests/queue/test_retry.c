/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks that fail or whose device is lost run again elsewhere, with the bytes they began with. Simulated machines: a chunk that
 * fails there has spoilt what it wrote in place, and devices with a link compute on copies of their own.
 */
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4000 };

static pel_status launch(scene *s, pel_protection protection, const pel_share *shares, uint32_t count, uint64_t n,
                         pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    desc.global[0] = n;
    desc.protection = protection;
    desc.shares = shares;
    desc.share_count = count;
    scene_expect_update(s);
    return pel_launch(s->queue, s->kernel, &desc, args, 2, event);
}

static void check(scene *s, uint64_t n) {
    int *out = malloc(n * sizeof(int));
    assert_int_equal(pel_read(s->queue, s->y, 0, n * sizeof(int), out, NULL, NULL), PEL_OK);
    machine_finish(s->queue);
    assert_memory_equal(out, s->expected, n * sizeof(int));
    free(out);
}

/*
 * Each device, at each of its chunks, at its begin, middle and end; wrapped memory (all of it comes home after each launch),
 * memory of ours (it does not), with and without waiting between launches.
 */
static void test_lost_at_every_boundary(void **state) {
    (void)state;
    static const double parts[] = {1e-9, 0.5, 1.0};
    enum { LAUNCHES = 4, DEVICES = 3 };
    for (uint32_t victim = 0; victim < DEVICES; victim++) {
        for (uint64_t at = 1; at <= LAUNCHES; at++) {
            for (uint32_t how = 0; how < 3 * 2; how++) {
                pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                                  machine_device("cpu", 1, 0)};
                const bool owned = how >= 3;
                pel_share shares[4];
                scene s;
                devices[victim].lost_at = at;
                devices[victim].lost_part = parts[how % 3];
                scene_begin(&s, devices, DEVICES, owned, N);
                for (uint32_t i = 0; i < 4; i++) {
                    shares[i] = (pel_share){pel_runtime_device(s.runtime, i), 1 + i};
                }
                for (uint64_t k = 0; k < LAUNCHES; k++) {
                    if (k >= at && owned && victim < 2) { /* what only the lost device held from before is another matter */
                        break;
                    }
                    for (uint32_t i = 0; i < 4; i++) { /* fixed shares name living devices only */
                        shares[i].weight = k >= at && i == victim + 1 ? 0 : 1 + i;
                    }
                    if (owned && k + 1 == at && victim < 2) { /* all of y is at home before the loss */
                        assert_int_equal(pel_read(s.queue, s.y, 0, N * sizeof(int), s.ys, NULL, NULL), PEL_OK);
                    }
                    assert_int_equal(launch(&s, PEL_PROTECT_RETRY, shares, 4, N, NULL), PEL_OK);
                    if (!owned) {
                        machine_finish(s.queue);
                        assert_memory_equal(s.ys, s.expected, N * sizeof(int));
                    }
                }
                check(&s, N);
                scene_end(&s);
            }
        }
    }
}

static void test_the_plan_tells(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0), machine_device("two", 1, 0)};
    pel_share shares[2];
    pel_event *event = NULL;
    scene s;
    devices[0].fail_at = 2;
    scene_begin(&s, devices, 2, false, N);
    shares[0] = (pel_share){pel_runtime_find_device(s.runtime, "sim:one"), 1};
    shares[1] = (pel_share){pel_runtime_find_device(s.runtime, "sim:two"), 1};
    assert_int_equal(launch(&s, PEL_PROTECT_RETRY, shares, 2, N, NULL), PEL_OK);
    assert_int_equal(launch(&s, PEL_PROTECT_RETRY, shares, 2, N, &event), PEL_OK);
    pel_plan *plan = machine_plan_of(event);
    check(&s, N);
    pel_plan_chunk chunk;
    assert_true(pel_plan_chunk_count(plan) >= 3);
    assert_int_equal(pel_plan_get_chunk(plan, 0, &chunk), PEL_OK);
    assert_non_null(strstr(chunk.failure, "fail_at"));
    const uint64_t lost = chunk.hi - chunk.lo;
    assert_int_equal(pel_plan_get_chunk(plan, 1, &chunk), PEL_OK);
    assert_string_equal(chunk.failure, "");
    uint64_t covered = 0;
    for (uint32_t i = 2; i < pel_plan_chunk_count(plan); i++) {
        assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
        assert_string_not_equal(chunk.device, "sim:one");
        covered += chunk.hi - chunk.lo;
    }
    assert_int_equal(covered, lost);
    assert_non_null(strstr(pel_plan_text(plan), "runs again below"));
    assert_non_null(strstr(pel_plan_protection(plan), "retry, as asked"));
    pel_plan_destroy(plan);
    scene_end(&s);
}

/* The only device gets a second chance, and no third. */
static void test_the_only_device(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0)};
    pel_event *event = NULL;
    scene s;
    devices[0].fail_at = 1;
    memset(&s, 0, sizeof s);
    pel_runtime *runtime = machine_create(devices, 1, "sim:one");
    s.runtime = runtime;
    s.n = N;
    s.queue = machine_queue(runtime);
    s.kernel = scene_kernel(runtime);
    s.expected = calloc(N, sizeof(int));
    s.xs = calloc(N, sizeof(int));
    s.ys = calloc(N, sizeof(int));
    for (int i = 0; i < N; i++) {
        s.xs[i] = 7 * i;
    }
    assert_int_equal(pel_buffer_wrap(runtime, s.xs, N * sizeof(int), &s.x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, s.ys, N * sizeof(int), &s.y), PEL_OK);
    assert_int_equal(launch(&s, PEL_PROTECT_RETRY, NULL, 0, N, &event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_release(event);
    check(&s, N);
    scene_end(&s);
}

static void test_when_nobody_is_left(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0)};
    pel_event *event = NULL;
    devices[0].lost_at = 1;
    pel_runtime *runtime = machine_create(devices, 1, "sim:one");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = scene_kernel(runtime);
    int xs[8] = {0}, ys[8] = {0};
    pel_buffer *x, *y;
    assert_int_equal(pel_buffer_wrap(runtime, xs, sizeof xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, sizeof ys, &y), PEL_OK);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    desc.global[0] = 8;
    desc.protection = PEL_PROTECT_RETRY;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_DEVICE_LOST);
    pel_event_release(event);
    pel_error *error = pel_queue_error(queue);
    assert_non_null(strstr(pel_error_message(error), "could not run again"));
    pel_error_destroy(error);
    assert_int_equal(pel_queue_finish(queue), PEL_DEVICE_LOST);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Sums over all groups and private reductions: a chunk's partial results count once. */
static pel_status histogram(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *x = arguments[0];
    uint64_t *bins = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        bins[(unsigned)x[i] % 4u]++;
    }
    return PEL_OK;
}

static void test_reductions_count_once(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U64, 8, 4)};
    for (uint64_t victim = 0; victim < 3; victim++) {
        pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                          machine_device("cpu", 1, 0)};
        devices[victim].lost_at = 1;
        devices[victim].lost_part = 1;
        pel_runtime *runtime = machine_create(devices, 3, NULL);
        pel_queue *queue = machine_queue(runtime);
        pel_kernel *kernel = machine_kernel(runtime, "histogram", params, 2, histogram, 0);
        static int xs[N];
        uint64_t bins[4] = {1, 2, 3, 4};
        pel_buffer *x, *b;
        for (int i = 0; i < N; i++) {
            xs[i] = i;
        }
        assert_int_equal(pel_buffer_wrap(runtime, xs, sizeof xs, &x), PEL_OK);
        assert_int_equal(pel_buffer_wrap(runtime, bins, sizeof bins, &b), PEL_OK);
        pel_share shares[3];
        for (uint32_t i = 0; i < 3; i++) {
            shares[i] = (pel_share){pel_runtime_device(runtime, i + 1), 1};
        }
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        pel_arg args[] = {pel_buf(x), pel_buf(b)};
        desc.global[0] = N;
        desc.shares = shares;
        desc.share_count = 3;
        desc.protection = PEL_PROTECT_RETRY;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        machine_finish(queue);
        for (uint64_t i = 0; i < 4; i++) {
            assert_int_equal(bins[i], N / 4 + i + 1);
        }
        pel_kernel_destroy(kernel);
        pel_queue_destroy(queue);
        pel_buffer_destroy(x);
        pel_buffer_destroy(b);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

/* Time: at most what the survivors would have needed for all of it, the lost chunk, and 5 %. */
static void test_time_after_a_loss(void **state) {
    (void)state;
    enum { BIG = 200000, WARM = 12 };
    static const double rates[] = {4, 2, 1}, parts[] = {1e-9, 0.5, 1.0};
    for (uint32_t victim = 0; victim < 3; victim++) {
        for (uint32_t part = 0; part < 3; part++) {
            pel_simulated_device devices[] = {machine_device("host", 1, 0), machine_device("a", rates[0], 0),
                                              machine_device("b", rates[1], 0), machine_device("c", rates[2], 0)};
            pel_event *event = NULL;
            pel_plan_chunk lost;
            scene s;
            devices[victim + 1].lost_part = parts[part];
            devices[victim + 1].lost_at = WARM + 1;
            scene_begin(&s, devices, 4, false, BIG);
            pel_share shares[4];
            double rest = 0;
            for (uint32_t i = 0; i < 4; i++) { /* shares that end together */
                const double rate = i == 0 ? 1 : rates[i - 1];
                shares[i] = (pel_share){pel_runtime_device(s.runtime, i), rate};
                rest += i == victim + 1 ? 0 : rate;
            }
            for (uint32_t k = 0; k < WARM; k++) {
                assert_int_equal(launch(&s, PEL_PROTECT_RETRY, shares, 4, BIG, NULL), PEL_OK);
                machine_finish(s.queue);
            }
            assert_int_equal(launch(&s, PEL_PROTECT_RETRY, shares, 4, BIG, &event), PEL_OK);
            pel_plan *plan = machine_plan_of(event);
            check(&s, BIG);
            assert_int_equal(pel_plan_get_chunk(plan, victim + 1, &lost), PEL_OK);
            assert_string_not_equal(lost.failure, "");
            const double ideal = BIG / rest * 1e3 + 5000, took = pel_plan_actual_ns(plan);
            if (took > 1.05 * (ideal + lost.actual_ns)) {
                fail_msg("device %u lost after %g of its chunk: %g us; the survivors' ideal is %g us, the lost chunk %g us",
                         victim, parts[part], took / 1e3, ideal / 1e3, lost.actual_ns / 1e3);
            }
            assert_true(took <= 1.05 * ideal + 20000); /* in fact without the lost chunk: it is over when the others are */
            pel_plan_destroy(plan);
            scene_end(&s);
        }
    }
}

/* What is free is given to all; what costs is asked for. */
static void test_the_default(void **state) {
    (void)state;
    static const pel_param pure[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                     PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("one", 1, 0)};
    scene s;
    scene_begin(&s, devices, 1, false, N);
    pel_kernel *doubled = machine_kernel(s.runtime, "doubled", pure, 2, machine_double, 0);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    pel_plan *plan = NULL;
    desc.global[0] = N;
    assert_int_equal(pel_launch_plan(s.queue, doubled, &desc, args, 2, &plan), PEL_OK);
    assert_non_null(strstr(pel_plan_protection(plan), "retry: nothing has to be saved"));
    pel_plan_destroy(plan);
    assert_int_equal(pel_launch_plan(s.queue, s.kernel, &desc, args, 2, &plan), PEL_OK);
    assert_non_null(strstr(pel_plan_protection(plan), "none: the launch was never measured"));
    pel_plan_destroy(plan);
    const pel_share share = {pel_runtime_device(s.runtime, 1), 1};
    desc.shares = &share;
    desc.share_count = 1;
    assert_int_equal(pel_launch_plan(s.queue, doubled, &desc, args, 2, &plan), PEL_OK);
    assert_non_null(strstr(pel_plan_protection(plan), "none: the shares are fixed"));
    pel_plan_destroy(plan);
    desc.protection = PEL_PROTECT_NONE;
    assert_int_equal(pel_launch_plan(s.queue, doubled, &desc, args, 2, &plan), PEL_OK);
    assert_non_null(strstr(pel_plan_protection(plan), "none, as asked"));
    pel_plan_destroy(plan);
    pel_kernel_destroy(doubled);
    scene_end(&s);
}

/* The text of what the default came to, of a measured launch that changes N items in place on a device so fast. */
static void protection_at(double items_per_us, char *text, size_t bytes, pel_status *after_failure) {
    pel_simulated_device devices[] = {machine_device("one", items_per_us, 0), machine_device("two", items_per_us, 0)};
    devices[0].fail_at = 20;
    pel_runtime *runtime = machine_create(devices, 2, "!host");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = scene_kernel(runtime);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_buffer *x = NULL, *y = NULL;
    pel_plan *plan = NULL;
    *after_failure = PEL_OK;
    desc.global[0] = N;
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &y, NULL), PEL_OK);
    const pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (int i = 0; i < 16; i++) {
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
    }
    assert_int_equal(pel_launch_plan(queue, kernel, &desc, args, 2, &plan), PEL_OK);
    (void)snprintf(text, bytes, "%s", pel_plan_protection(plan));
    pel_plan_destroy(plan);
    for (int i = 0; i < 30 && *after_failure == PEL_OK; i++) { /* one of these meets the failure, and does as the plan said */
        const pel_status status = pel_launch(queue, kernel, &desc, args, 2, NULL);
        *after_failure = status == PEL_OK ? pel_queue_finish(queue) : status;
    }
    pel_kernel_destroy(kernel);
    (void)pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* 16000 bytes cost 4 us to save: a thousandth of a launch of 2 ms and more, and half of one of 7 us. */
static void test_the_default_by_cost(void **state) {
    (void)state;
    char text[256];
    pel_status status;
    protection_at(1, text, sizeof text, &status);
    assert_true(strncmp(text, "retry: saving 16000 bytes is predicted to cost 0.", 49) == 0);
    assert_int_equal(status, PEL_OK);
    protection_at(1000, text, sizeof text, &status);
    assert_true(strncmp(text, "none: saving 16000 bytes is predicted to cost ", 46) == 0);
    assert_true(atof(text + 46) > 20.0);
    assert_int_not_equal(status, PEL_OK);
}

/* Random machines, shares, losses and failures; what comes out is right or an error, and right whenever the host is left. */
static void test_random_losses(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                          machine_device("cpu", 1, 0)};
        pel_share shares[8];
        scene s;
        machine_seed(seed);
        for (uint32_t i = 0; i < 3; i++) {
            devices[i].lost_at = machine_random() % 3 == 0 ? 1 + machine_random() % 6 : 0;
            devices[i].lost_part = (double)(machine_random() % 11) / 10;
            devices[i].fail_at = machine_random() % 2 == 0 ? 1 + machine_random() % 6 : 0;
        }
        scene_begin(&s, devices, 3, false, N);
        for (uint32_t k = 0; k < 6; k++) {
            uint32_t count = machine_random_shares(s.runtime, shares);
            pel_status status = launch(&s, PEL_PROTECT_RETRY, k % 2 == 0 ? shares : NULL, k % 2 == 0 ? count : 0, N, NULL);
            status = status == PEL_OK ? pel_queue_finish(s.queue) : status;
            if (k % 2 == 0 && status == PEL_NO_DEVICE) { /* a share for a device that is known to be lost */
                assert_int_equal(pel_queue_reset(s.queue), PEL_OK);
                memcpy(s.expected, s.ys, N * sizeof(int));
                continue;
            }
            if (status != PEL_OK || memcmp(s.ys, s.expected, N * sizeof(int)) != 0) {
                pel_error *error = pel_queue_error(s.queue);
                fail_msg("seed %llu, launch %u: %s: %s", (unsigned long long)seed, k, pel_status_name(status),
                         pel_error_message(error));
            }
        }
        scene_end(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_at_every_boundary),
        cmocka_unit_test(test_the_plan_tells),
        cmocka_unit_test(test_the_only_device),
        cmocka_unit_test(test_when_nobody_is_left),
        cmocka_unit_test(test_reductions_count_once),
        cmocka_unit_test(test_time_after_a_loss),
        cmocka_unit_test(test_the_default),
        cmocka_unit_test(test_the_default_by_cost),
        cmocka_unit_test(test_random_losses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
