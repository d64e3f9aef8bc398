/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches that are verified on simulated machines whose devices lie: what is wrong is found at the rate that was asked for,
 * the right device is named, the right bytes land. */
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3000 };

static pel_device_health health_of(const pel_device *device) {
    pel_device_health health;
    pel_device_get_health(device, &health);
    return health;
}

static pel_status try_launch(scene *s, uint32_t shares, const pel_verification *how, pel_protection protection,
                             pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    desc.global[0] = s->n;
    desc.shares = s->shares;
    desc.share_count = shares;
    desc.protection = protection;
    desc.verification = how;
    return pel_launch(s->queue, s->kernel, &desc, args, 2, event);
}

static void launch(scene *s, uint32_t shares, const pel_verification *how, pel_protection protection,
                   pel_plan_verification *came) {
    pel_event *event = NULL;
    scene_expect_update(s);
    assert_int_equal(try_launch(s, shares, how, protection, &event), PEL_OK);
    pel_plan *plan = machine_plan_of(event);
    assert_int_equal(pel_plan_get_verification(plan, came), PEL_OK);
    assert_non_null(strstr(pel_plan_text(plan), came->text));
    came->devices = came->wrong_devices = came->text = NULL; /* the plan's */
    pel_plan_destroy(plan);
}

static void check(scene *s) {
    machine_finish(s->queue);
    assert_int_equal(pel_buffer_sync(s->y), PEL_OK);
    assert_memory_equal(s->ys, s->expected, s->n * sizeof(int));
}

static const pel_verification all = {.share = 1};

/* Whoever lies, with memory of its own or in the host's, in place, owned or wrapped: all of it is found. */
static void test_every_lie_is_found(void **state) {
    (void)state;
    for (uint32_t liar = 0; liar < 3; liar++) {
        for (int k = 0; k < 4; k++) {
            const pel_protection protection = k < 2 ? PEL_PROTECT_DEFAULT : PEL_PROTECT_ISOLATE;
            pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                              machine_device("cpu", 1, 0)};
            pel_plan_verification came;
            scene s;
            devices[liar].wrong_every = 3;
            scene_begin(&s, devices, 3, k % 2 == 1, N);
            uint32_t wrong = 0;
            for (int i = 0; i < 6 && health_of(s.shares[liar].device).state != PEL_DEVICE_QUARANTINED; i++) {
                launch(&s, 3, &all, protection, &came);
                assert_int_equal(came.chunks, 3);
                assert_int_equal(came.verified, 3);
                assert_true(came.actual_ns > 0);
                wrong += came.wrong;
                check(&s);
            }
            assert_int_equal(health_of(s.shares[liar].device).state, PEL_DEVICE_QUARANTINED); /* by its second lie */
            assert_int_equal(health_of(s.shares[liar].device).lies, 2);
            assert_non_null(strstr(health_of(s.shares[liar].device).reason, "wrongly"));
            assert_true(wrong <= 2); /* a vote may be the lie */
            for (uint32_t i = 0; i < 3; i++) {
                assert_true(i == liar || health_of(s.shares[i].device).lies == 0);
            }
            scene_end(&s);
        }
    }
}

static void test_the_plan_names_it(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0), machine_device("two", 1, 10), machine_device("three", 1, 0)};
    pel_plan_verification v;
    pel_event *event = NULL;
    scene s;
    devices[1].wrong_every = 1;
    scene_begin(&s, devices, 3, false, N);
    scene_expect_update(&s);
    s.shares[0] = s.shares[1]; /* all on the liar */
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    pel_plan *dry = NULL;
    desc.global[0] = N;
    desc.shares = s.shares;
    desc.share_count = 1;
    desc.verification = &all;
    assert_int_equal(pel_launch_plan(s.queue, s.kernel, &desc, args, 2, &dry), PEL_OK);
    assert_int_equal(pel_plan_get_verification(dry, &v), PEL_OK);
    assert_int_equal(v.verified, 0);
    assert_non_null(strstr(v.text, "100 % of the chunks are computed again on "));
    assert_non_null(strstr(pel_plan_protection(dry), "retry, as chunks are verified"));
    pel_plan_destroy(dry);
    assert_int_equal(try_launch(&s, 1, &all, PEL_PROTECT_DEFAULT, &event), PEL_OK);
    pel_plan *plan = machine_plan_of(event);
    assert_int_equal(pel_plan_get_verification(plan, &v), PEL_OK);
    assert_string_equal(v.wrong_devices, "sim:two");
    assert_int_equal(v.wrong, 1);
    assert_non_null(strstr(v.text, "verified 1 of 1 chunks on "));
    assert_non_null(strstr(v.text, "sim:two computed units 0 to 3000 of update wrongly: argument 1 differs from byte "));
    assert_non_null(strstr(v.text, "the right bytes are in place"));
    pel_plan_destroy(plan);
    check(&s);
    assert_int_equal(health_of(s.shares[0].device).state, PEL_DEVICE_SUSPECT);
    scene_end(&s);
}

/* A share of all chunks: at least that share of the lies is found, and a suspect is looked at always. */
static void test_a_share_finds_its_share(void **state) {
    (void)state;
    static const double shares[] = {0.1, 0.25, 0.5};
    for (int k = 0; k < 3; k++) {
        const pel_verification how = {.share = shares[k], .seed = 5};
        pel_simulated_device devices[] = {machine_device("one", 1, 0), machine_device("two", 1, 10),
                                          machine_device("three", 1, 0)};
        uint32_t verified = 0, chunks = 0, found_after = 0;
        pel_plan_verification came;
        scene s;
        devices[2].wrong_every = 1;
        scene_begin(&s, devices, 3, true, 96);
        for (int i = 0; i < 200 && health_of(s.shares[2].device).state == PEL_DEVICE_WELL; i++) {
            launch(&s, 3, &how, PEL_PROTECT_DEFAULT, &came);
            verified += came.verified;
            chunks += came.chunks;
            found_after++;
        }
        assert_true((double)verified >= shares[k] * chunks - 1 && (double)verified <= shares[k] * chunks + 1);
        assert_int_equal(health_of(s.shares[2].device).state, PEL_DEVICE_SUSPECT);
        launch(&s, 3, &how, PEL_PROTECT_DEFAULT, &came);
        assert_int_equal(health_of(s.shares[2].device).state, PEL_DEVICE_QUARANTINED); /* the next one is found for sure */
        (void)found_after;
        machine_finish(s.queue);
        scene_end(&s);
    }
}

/* Who was wrong once is trusted again after 64 right chunks. */
static void test_forgiven(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0), machine_device("two", 1, 0), machine_device("three", 1, 0)};
    pel_plan_verification came;
    scene s;
    devices[0].wrong_every = 100;
    scene_begin(&s, devices, 3, false, 960);
    bool suspect = false;
    for (int i = 0; i < 180; i++) {
        launch(&s, 3, &all, PEL_PROTECT_DEFAULT, &came);
        check(&s);
        suspect = suspect || health_of(s.shares[0].device).state == PEL_DEVICE_SUSPECT;
    }
    assert_true(suspect);
    assert_int_equal(health_of(s.shares[0].device).state, PEL_DEVICE_WELL);
    assert_int_equal(health_of(s.shares[0].device).lies, 1);
    assert_int_equal(health_of(s.shares[0].device).quarantines, 0);
    scene_end(&s);
}

/* Two devices are enough where the fault comes and goes: who contradicts itself is wrong. */
static void test_two_devices(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("host", 1, 0), machine_device("one", 1, 10)};
    pel_plan_verification came;
    scene s;
    devices[1].wrong_every = 1; /* another bit each time */
    scene_begin(&s, devices, 2, false, N);
    s.shares[1] = (pel_share){pel_runtime_find_device(s.runtime, "host"), 1};
    launch(&s, 2, &all, PEL_PROTECT_DEFAULT, &came);
    check(&s);
    assert_int_equal(came.verified, 2);
    assert_int_equal(health_of(s.shares[1].device).lies, 0);
    assert_true(health_of(pel_runtime_find_device(s.runtime, "sim:one")).lies > 0);
    scene_end(&s);
}

static pel_status insists(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    int *y = arguments[1];
    static int call;
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = call == 1 || call == 2 ? 2 : 1; /* one, host, host again, one again: each repeats itself */
    }
    call++;
    return PEL_OK;
}

static void test_undecided_is_an_error(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("host", 1, 0), machine_device("one", 1, 0)};
    static const pel_param out[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                    PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    scene s;
    scene_begin(&s, devices, 2, false, N);
    pel_kernel_destroy(s.kernel);
    s.kernel = machine_kernel(s.runtime, "insists", out, 2, insists, 0);
    s.shares[0] = (pel_share){pel_runtime_find_device(s.runtime, "sim:one"), 1};
    assert_int_equal(try_launch(&s, 1, &all, PEL_PROTECT_DEFAULT, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(s.queue), PEL_MISMATCH);
    pel_error *error = pel_queue_error(s.queue);
    assert_non_null(strstr(pel_error_message(error), "nothing tells who is right (host, sim:one)"));
    assert_non_null(strstr(pel_error_message(error), "argument 1 from byte 0 on"));
    pel_error_destroy(error);
    assert_int_equal(pel_queue_reset(s.queue), PEL_OK);
    scene_end(&s);
}

static void test_refused_up_front(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("one", 1, 0)};
    const pel_verification same = {.share = 1, .flags = PEL_VERIFY_SAME_DEVICE};
    pel_runtime *runtime = machine_create(devices, 1, "sim:one");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = scene_kernel(runtime);
    pel_buffer *x, *y;
    int xs[64] = {0}, ys[64] = {0};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    pel_plan_verification v;
    assert_int_equal(pel_buffer_wrap(runtime, xs, sizeof xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, sizeof ys, &y), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    desc.global[0] = 64;
    desc.verification = &all;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_NO_DEVICE);
    pel_error *error = pel_queue_error(queue);
    assert_non_null(strstr(pel_error_message(error), "no two devices"));
    pel_error_destroy(error);
    desc.verification = &same;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
    pel_plan *plan = machine_plan_of(event);
    assert_int_equal(pel_plan_get_verification(plan, &v), PEL_OK);
    assert_int_equal(v.verified, 1);
    pel_plan_destroy(plan);
    desc.verification = &(pel_verification){.share = 2};
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_INVALID_ARGUMENT);
    machine_finish(queue);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* A voter that fails, is lost or hangs is replaced; a device that is lost after its chunk, too. */
static void test_voters_that_fail(void **state) {
    (void)state;
    for (uint32_t victim = 0; victim < 3; victim++) {
        for (uint64_t at = 1; at <= 6; at++) {
            for (int kind = 0; kind < 3; kind++) {
                pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                                  machine_device("cpu", 1, 0)};
                pel_plan_verification came;
                scene s;
                devices[victim].fail_at = kind == 0 ? at : 0;
                devices[victim].lost_at = kind == 1 ? at : 0;
                devices[victim].hang_at = kind == 2 ? at : 0;
                scene_begin(&s, devices, 3, at % 2 == 0, N);
                for (int i = 0; i < 3; i++) {
                    const bool first = health_of(s.shares[victim].device).state == PEL_DEVICE_WELL;
                    launch(&s, first ? 3 : 0, &all, kind == 2 ? PEL_PROTECT_ISOLATE : PEL_PROTECT_DEFAULT, &came);
                    assert_int_equal(came.verified, came.chunks);
                    assert_int_equal(came.wrong, 0);
                    check(&s);
                }
                scene_end(&s);
            }
        }
    }
}

static pel_status count_into(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint32_t *bins = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        bins[i % 16]++;
    }
    return PEL_OK;
}

static void test_private_reductions(void **state) {
    (void)state;
    static const pel_param bins[] = {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 16)};
    for (uint32_t liar = 0; liar < 3; liar++) {
        pel_simulated_device devices[] = {machine_device("gpu0", 1, 10), machine_device("gpu1", 1, 2),
                                          machine_device("cpu", 1, 0)};
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        uint32_t counts[16] = {0};
        pel_buffer *b;
        scene s;
        devices[liar].wrong_every = 1;
        scene_begin(&s, devices, 3, false, 64);
        pel_kernel *kernel = machine_kernel(s.runtime, "count", bins, 1, count_into, 0);
        assert_int_equal(pel_buffer_wrap(s.runtime, counts, sizeof counts, &b), PEL_OK);
        pel_arg args[] = {pel_buf(b)};
        desc.global[0] = 4800;
        desc.shares = s.shares;
        desc.share_count = 3;
        desc.verification = &all;
        assert_int_equal(pel_launch(s.queue, kernel, &desc, args, 1, NULL), PEL_OK);
        machine_finish(s.queue);
        for (int i = 0; i < 16; i++) {
            assert_int_equal(counts[i], 300);
        }
        assert_true(health_of(s.shares[liar].device).lies > 0);
        pel_kernel_destroy(kernel);
        pel_buffer_destroy(b);
        scene_end(&s);
    }
}

/* A vote that hangs keeps its memory until it returns, beyond the end of its launch; sensitive memory is wiped then, with all
 * that this needs to know. */
static void test_votes_that_hang_over_secrets(void **state) {
    (void)state;
    static const pel_param bins[] = {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 16)};
    pel_simulated_device devices[] = {machine_device("host", 1, 0), machine_device("one", 1, 10)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_buffer_desc secret = PEL_BUFFER_DESC_INIT;
    uint32_t counts[16] = {0};
    pel_buffer *b;
    scene s;
    devices[1].hang_at = 1;
    scene_begin(&s, devices, 2, false, 64);
    const pel_share share = {pel_runtime_find_device(s.runtime, "host"), 1};
    const pel_device *one = pel_runtime_find_device(s.runtime, "sim:one");
    pel_kernel *kernel = machine_kernel(s.runtime, "count", bins, 1, count_into, 0);
    secret.bytes = sizeof counts;
    secret.memory = counts;
    secret.flags = PEL_BUFFER_SENSITIVE;
    assert_int_equal(pel_buffer_create_with(s.runtime, &secret, &b, NULL), PEL_OK);
    pel_arg args[] = {pel_buf(b)};
    desc.global[0] = 4800;
    desc.shares = &share;
    desc.share_count = 1;
    desc.protection = PEL_PROTECT_ISOLATE;
    desc.verification = &all;
    assert_int_equal(pel_launch(s.queue, kernel, &desc, args, 1, NULL), PEL_OK);
    machine_finish(s.queue);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(counts[i], 300);
    }
    assert_int_equal(health_of(one).failures, 1);
    pel_kernel_destroy(kernel);
    pel_buffer_destroy(b);
    scene_end(&s);
}

/* Who has nobody left to be compared with is compared with itself only where that was asked for. */
static void test_the_last_one(void **state) {
    (void)state;
    for (uint32_t same = 0; same < 2; same++) {
        const pel_verification how = {.share = 1, .flags = same == 1 ? PEL_VERIFY_SAME_DEVICE : 0};
        pel_simulated_device devices[] = {machine_device("host", 1, 0), machine_device("one", 1, 10)};
        pel_plan_verification came;
        scene s;
        devices[1].lost_at = 1;
        scene_begin(&s, devices, 2, false, N);
        s.shares[0] = (pel_share){pel_runtime_find_device(s.runtime, "host"), 1};
        launch(&s, 1, &how, PEL_PROTECT_DEFAULT, &came);
        assert_int_equal(came.chunks, 1);
        assert_int_equal(came.verified, same);
        check(&s);
        scene_end(&s);
    }
}

/* A check of the kernel's own: what it refuses is computed elsewhere, and nothing else is computed twice. */
static pel_status is_update(const pel_span *span, void *const *arguments, void *user) {
    const int *x = arguments[0], *y = arguments[1], *before = *(int *const *)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        if (y[i] != (int)(3u * (unsigned)before[i] + (unsigned)x[i])) {
            return PEL_MISMATCH;
        }
    }
    return PEL_OK;
}

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *x = arguments[0];
    int *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = (int)(3u * (unsigned)y[i] + (unsigned)x[i]);
    }
    return PEL_OK;
}

static void test_a_check_of_its_own(void **state) {
    (void)state;
    static const pel_param in_place[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                         PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    for (uint32_t liar = 0; liar < 4; liar++) { /* 3: nobody lies */
        pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                          machine_device("cpu", 1, 0)};
        pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
        pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
        pel_program *program;
        pel_plan_verification came;
        int *before = malloc(N * sizeof *before);
        scene s;
        if (liar < 3) {
            devices[liar].wrong_every = 1;
        }
        scene_begin(&s, devices, 3, liar % 2 == 1, N);
        pel_kernel_destroy(s.kernel);
        desc.name = "update";
        desc.params = in_place;
        desc.param_count = 2;
        desc.host = update;
        desc.check = is_update;
        desc.user = &before;
        assert_int_equal(pel_program_create(s.runtime, &program_desc, &program, NULL), PEL_OK);
        assert_int_equal(pel_kernel_create(program, &desc, &s.kernel, NULL), PEL_OK);
        memcpy(before, s.ys, N * sizeof *before);
        launch(&s, 3, &all, PEL_PROTECT_DEFAULT, &came);
        assert_int_equal(came.verified, 3);
        assert_int_equal(came.wrong, liar < 3 ? 1 : 0);
        check(&s);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(health_of(s.shares[i].device).lies > 0, i == liar);
        }
        free(before);
        pel_program_destroy(program);
        scene_end(&s);
    }
}

typedef struct waiting {
    pel_queue *queue;
    uint32_t calls, refused;
} waiting;

static pel_status waits(const pel_span *span, void *const *arguments, void *user) {
    waiting *w = user;
    (void)span, (void)arguments;
    w->refused += pel_queue_finish(w->queue) == PEL_WOULD_DEADLOCK ? 1u : 0u;
    return ++w->calls == 1 ? PEL_MISMATCH : PEL_OK;
}

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)arguments, (void)scratch, (void)user;
    return PEL_OK;
}

/* Whichever thread a check runs on, of the first result or of a vote: waiting inside would be waiting for itself. */
static void test_a_check_cannot_wait(void **state) {
    (void)state;
    static const pel_param out[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("one", 1, 0), machine_device("two", 1, 10)};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch_desc = PEL_LAUNCH_DESC_INIT;
    pel_program *program;
    waiting w = {NULL, 0, 0};
    scene s;
    scene_begin(&s, devices, 2, false, N);
    pel_kernel_destroy(s.kernel);
    desc.name = "nothing";
    desc.params = out;
    desc.param_count = 1;
    desc.host = nothing;
    desc.check = waits;
    desc.user = &w;
    w.queue = s.queue;
    assert_int_equal(pel_program_create(s.runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &desc, &s.kernel, NULL), PEL_OK);
    pel_arg args[] = {pel_buf(s.y)};
    launch_desc.global[0] = N;
    launch_desc.shares = s.shares;
    launch_desc.share_count = 1;
    launch_desc.verification = &all;
    assert_int_equal(pel_launch(s.queue, s.kernel, &launch_desc, args, 1, NULL), PEL_OK);
    machine_finish(s.queue);
    assert_int_equal(w.calls, 2);
    assert_int_equal(w.refused, 2);
    pel_program_destroy(program);
    scene_end(&s);
}

/* Same machine, same seeds: the same virtual times and the same choice. */
static void test_it_replays(void **state) {
    (void)state;
    const pel_verification how = {.share = 0.3, .seed = 11};
    int64_t end[2];
    uint32_t verified[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        pel_simulated_device devices[] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                          machine_device("cpu", 1, 0)};
        pel_plan_verification came;
        scene s;
        devices[0].noise = devices[1].noise = 0.1;
        devices[1].wrong_every = 7;
        scene_begin(&s, devices, 3, false, N);
        for (int i = 0; i < 40; i++) {
            launch(&s, 0, &how, PEL_PROTECT_DEFAULT, &came);
            verified[k] = verified[k] * 3 + came.verified;
        }
        machine_finish(s.queue);
        end[k] = pel_runtime_now(s.runtime);
        scene_end(&s);
    }
    assert_int_equal(end[0], end[1]);
    assert_int_equal(verified[0], verified[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_lie_is_found),
        cmocka_unit_test(test_the_plan_names_it),
        cmocka_unit_test(test_a_share_finds_its_share),
        cmocka_unit_test(test_forgiven),
        cmocka_unit_test(test_two_devices),
        cmocka_unit_test(test_undecided_is_an_error),
        cmocka_unit_test(test_refused_up_front),
        cmocka_unit_test(test_voters_that_fail),
        cmocka_unit_test(test_private_reductions),
        cmocka_unit_test(test_votes_that_hang_over_secrets),
        cmocka_unit_test(test_the_last_one),
        cmocka_unit_test(test_a_check_of_its_own),
        cmocka_unit_test(test_a_check_cannot_wait),
        cmocka_unit_test(test_it_replays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
