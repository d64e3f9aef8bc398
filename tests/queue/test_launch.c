/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches split over simulated devices: every result is compared with plain loops, every plan with what may be split. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* 2-D, rows depend on their neighbours */
static pel_status stencil(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const unsigned *in = arguments[0];
    unsigned *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            uint64_t up = y > 0 ? y - 1 : y, down = y + 1 < span->global[1] ? y + 1 : y, w = span->global[0];
            out[y * w + x] = in[up * w + x] + 3u * in[y * w + x] + 7u * in[down * w + x] + (unsigned)x;
        }
    }
    return PEL_OK;
}

static void plain_stencil(const unsigned *in, unsigned *out, uint64_t w, uint64_t h) {
    pel_span span = {.dims = 2, .split = 1, .hi = {w, h}, .global = {w, h}};
    void *arguments[] = {(void *)(uintptr_t)in, out};
    stencil(&span, arguments, NULL, NULL);
}

/* Iterated stencil under random splits, with host tasks that touch some bytes in between. */
typedef struct poke {
    unsigned *bytes;
    uint64_t at;
} poke;

static pel_status do_poke(void *context) {
    const poke *p = context;
    p->bytes[p->at] += 1000;
    return PEL_OK;
}

static void one_stencil(pel_runtime *runtime, uint64_t seed, bool owned) {
    enum { W = 19, H = 37, STEPS = 12 };
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), 0, 1, 1),
                                       PEL_PARAM_BLOCK(PEL_WRITE, sizeof(int), 0, 0, 0)};
    machine_seed(seed);
    static unsigned memory[2][W * H], expected[2][W * H];
    pel_buffer *buffers[2];
    poke pokes[STEPS];
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "stencil", params, 2, stencil, 0);
    for (int i = 0; i < 2; i++) {
        if (owned) {
            assert_int_equal(pel_buffer_create(runtime, sizeof memory[i], &buffers[i], NULL), PEL_OK);
        } else {
            memset(memory[i], 0, sizeof memory[i]);
            assert_int_equal(pel_buffer_wrap(runtime, memory[i], sizeof memory[i], &buffers[i]), PEL_OK);
        }
    }
    memset(expected, 0, sizeof expected);
    for (int step = 0; step < STEPS; step++) {
        int from = step % 2, to = 1 - from;
        uint64_t at = machine_random() % (W * H);
        pel_share shares[8];
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = W;
        desc.global[1] = H;
        if (machine_random() % 4 != 0) { /* else the planner decides */
            desc.share_count = machine_random_shares(runtime, shares);
            desc.shares = shares;
        }
        pokes[step] = (poke){pel_buffer_data(buffers[from]), at};
        pel_access access = PEL_ACCESS(buffers[from], at * sizeof(int), sizeof(int), PEL_READ_WRITE);
        assert_int_equal(pel_task(queue, do_poke, &pokes[step], &access, 1, NULL, NULL), PEL_OK);
        pel_arg args[] = {pel_buf(buffers[from]), pel_buf(buffers[to])};
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        expected[from][at] += 1000;
        plain_stencil(expected[from], expected[to], W, H);
        if (machine_random() % 5 == 0) {
            machine_finish(queue);
        }
    }
    machine_finish(queue);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_buffer_sync(buffers[i]), PEL_OK);
        if (memcmp(pel_buffer_data(buffers[i]), expected[i], sizeof expected[i]) != 0) {
            fail_msg("seed %llu, %s memory: buffer %d differs", (unsigned long long)seed, owned ? "owned" : "wrapped", i);
        }
    }
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(buffers[0]);
    pel_buffer_destroy(buffers[1]);
}

static void test_iterated_stencil(void **state) {
    (void)state;
    pel_runtime *runtime = machine_of_three();
    for (uint64_t seed = 1; seed <= 40; seed++) {
        one_stencil(runtime, seed, seed % 2 == 0);
    }
    printf("stencil: seeds 1 to 40\n");
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status block_sums(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const float *in = arguments[0];
    float *partial = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t g = span->group_lo[0]; g < span->group_hi[0]; g++) {
        float sum = 0;
        for (uint64_t i = g * span->local[0]; i < (g + 1) * span->local[0]; i++) {
            sum += in[i];
        }
        partial[g] = sum;
    }
    return PEL_OK;
}

static void test_per_group_has_the_same_bits_for_any_split(void **state) {
    (void)state;
    enum { LOCAL = 16, GROUPS = 77, N = LOCAL * GROUPS };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1),
                                       PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F32, sizeof(float), 1)};
    static float in[N], partial[GROUPS];
    pel_runtime *runtime = machine_of_three();
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "sum", params, 2, block_sums, 0);
    pel_buffer *x = NULL, *p = NULL;
    machine_seed(3);
    double exact = 0;
    for (int i = 0; i < N; i++) {
        in[i] = (float)(machine_random() % 1000003) * 1e-3f;
        exact += in[i];
    }
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, partial, sizeof partial, &p), PEL_OK);
    float first = 0;
    for (int round = 0; round < 30; round++) {
        pel_share shares[8];
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        pel_arg args[] = {pel_buf(x), pel_buf(p)};
        desc.global[0] = N;
        desc.local[0] = LOCAL;
        desc.share_count = machine_random_shares(runtime, shares);
        desc.shares = shares;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        machine_finish(queue);
        first = round == 0 ? partial[0] : first;
        assert_memory_equal(&partial[0], &first, sizeof first);
    }
    assert_true(first > exact * (1 - 1e-5) && first < exact * (1 + 1e-5));
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(p);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status histogram(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const unsigned char *in = arguments[0];
    uint32_t *bins = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        bins[in[i] % 10]++;
    }
    return PEL_OK;
}

static void test_private_reduction_adds_to_what_was_there(void **state) {
    (void)state;
    enum { N = 5003 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, 1, 1, 1),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 10)};
    static unsigned char in[N];
    uint32_t bins[10] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5}, expected[10];
    pel_runtime *runtime = machine_of_three();
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "histogram", params, 2, histogram, 0);
    pel_buffer *x = NULL, *b = NULL;
    memcpy(expected, bins, sizeof bins);
    machine_seed(11);
    for (int i = 0; i < N; i++) {
        in[i] = (unsigned char)machine_random();
    }
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, bins, sizeof bins, &b), PEL_OK);
    for (int round = 0; round < 10; round++) {
        pel_share shares[8];
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        pel_arg args[] = {pel_buf(x), pel_buf(b)};
        desc.global[0] = N;
        desc.share_count = machine_random_shares(runtime, shares);
        desc.shares = shares;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        for (int i = 0; i < N; i++) {
            expected[in[i] % 10]++;
        }
    }
    machine_finish(queue);
    assert_memory_equal(bins, expected, sizeof bins);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(b);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status shift_left(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    int *a = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        a[i] = 2 * a[i];
    }
    return PEL_OK;
}

static void test_undeclared_writes_stay_on_one_device(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};
    static int a[4096];
    pel_runtime *runtime = machine_of_three();
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "undeclared", params, 1, shift_left, 0);
    pel_buffer *x = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 4096;
    assert_int_equal(pel_buffer_wrap(runtime, a, sizeof a, &x), PEL_OK);
    pel_arg args[] = {pel_buf(x)};
    for (int i = 0; i < 8; i++) {
        pel_event *event = NULL;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 1, &event), PEL_OK);
        pel_plan *plan = machine_plan_of(event);
        assert_int_equal(pel_plan_chunk_count(plan), 1);
        assert_true(pel_plan_restriction(plan)[0] != '\0');
        assert_true(pel_plan_actual_ns(plan) > 0);
        assert_non_null(strstr(pel_plan_text(plan), pel_plan_restriction(plan)));
        pel_plan_destroy(plan);
    }
    pel_share shares[2] = {{pel_runtime_device(runtime, 0), 1}, {pel_runtime_device(runtime, 1), 1}};
    desc.shares = shares;
    desc.share_count = 2;
    pel_event *event = NULL;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 1, &event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_CONFLICT); /* asked for, but it could be silently wrong */
    pel_event_release(event);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_in_place_stencil_is_a_conflict(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), 0, 1, 1),
                                       PEL_PARAM_BLOCK(PEL_WRITE, sizeof(int), 0, 0, 0)};
    static int a[64 * 64];
    pel_runtime *runtime = machine_of_three();
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "in place", params, 2, stencil, 0);
    pel_buffer *x = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = desc.global[1] = 64;
    assert_int_equal(pel_buffer_wrap(runtime, a, sizeof a, &x), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(x)};
    pel_plan *plan = NULL;
    assert_int_equal(pel_launch_plan(queue, kernel, &desc, args, 2, &plan), PEL_OK);
    assert_int_equal(pel_plan_chunk_count(plan), 1);
    assert_true(pel_plan_actual_ns(plan) == 0);
    pel_plan_destroy(plan);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_planner_learns_to_share(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("fast", 300, 0), machine_device("slow", 100, 0)};
    pel_runtime *runtime = machine_create(devices, 2, "sim:fast,sim:slow");
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_plan *plan = NULL;
    desc.global[0] = N;
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &y, NULL), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (int i = 0; i < 12; i++) {
        pel_event *event = NULL;
        pel_plan_destroy(plan);
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, &event), PEL_OK);
        plan = machine_plan_of(event);
    }
    double fast = 0, slow = 0;
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
        fast += strstr(chunk.device, "fast") ? chunk.share : 0;
        slow += strstr(chunk.device, "slow") ? chunk.share : 0;
    }
    assert_true(fast > 0.70 && fast < 0.80);
    assert_true(slow > 0.20 && slow < 0.30);
    pel_plan_destroy(plan);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iterated_stencil),
        cmocka_unit_test(test_per_group_has_the_same_bits_for_any_split),
        cmocka_unit_test(test_private_reduction_adds_to_what_was_there),
        cmocka_unit_test(test_undeclared_writes_stay_on_one_device),
        cmocka_unit_test(test_in_place_stencil_is_a_conflict),
        cmocka_unit_test(test_planner_learns_to_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
