/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches split over devices with memory of their own, on a simulated machine: a transfer that is forgotten shows as a wrong result, because each device
 * computes on a private copy. Every result is compared with plain loops.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pel/pel.h>

static uint64_t random_state;
static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static pel_simulated_device device(const char *name, double rate, double link) {
    pel_simulated_device d;
    memset(&d, 0, sizeof d);
    snprintf(d.name, sizeof d.name, "%s", name);
    d.start_ns = 5000;
    d.rate = rate;
    d.link_bytes_per_ns = link;
    d.link_latency_ns = link > 0 ? 1000 : 0;
    return d;
}

/* Two devices with memory of their own, one that shares the host's. */
static pel_runtime *new_machine(pel_simulated_device *devices, uint32_t count, const char *list) {
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    simulation.seed = 7;
    simulation.devices = devices;
    simulation.device_count = count;
    desc.simulation = &simulation;
    desc.devices = list;
    if (pel_runtime_create(&desc, &runtime, &error) != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    assert_non_null(runtime);
    return runtime;
}

static pel_runtime *three_devices(void) {
    pel_simulated_device devices[] = {device("gpu0", 4, 10), device("gpu1", 1, 2), device("cpu", 1, 0)};
    return new_machine(devices, 3, NULL);
}

static pel_queue *new_queue(pel_runtime *runtime) {
    pel_queue *queue = NULL;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    return queue;
}

static void finish(pel_queue *queue) {
    pel_status status = pel_queue_finish(queue);
    if (status != PEL_OK) {
        pel_error *error = pel_queue_error(queue);
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    assert_int_equal(status, PEL_OK);
}

static pel_kernel *new_kernel(pel_runtime *runtime, const char *name, const pel_param *params, uint32_t count, pel_host_fn host, uint32_t flags) {
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    desc.name = name;
    desc.params = params;
    desc.param_count = count;
    desc.host = host;
    desc.flags = flags;
    if (pel_kernel_create(program, &desc, &kernel, &error) != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    assert_non_null(kernel);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    return kernel;
}

/* Random shares over all devices of the runtime, in random order, some zero. */
static uint32_t random_shares(pel_runtime *runtime, pel_share *shares) {
    uint32_t count = pel_runtime_device_count(runtime);
    for (uint32_t i = 0; i < count; i++) {
        shares[i] = (pel_share){pel_runtime_device(runtime, i), (double)(next_random() % 4)};
    }
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(next_random() % (i + 1));
        pel_share swap = shares[i];
        shares[i] = shares[j];
        shares[j] = swap;
    }
    shares[0].weight += 1;
    return count;
}

static pel_status stencil(const pel_span *span, void *const *arguments, void *scratch, void *user) { /* 2-D, rows depend on their neighbours */
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
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), 0, 1, 1), PEL_PARAM_BLOCK(PEL_WRITE, sizeof(int), 0, 0, 0)};
    random_state = seed;
    static unsigned memory[2][W * H], expected[2][W * H];
    pel_buffer *buffers[2];
    poke pokes[STEPS];
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "stencil", params, 2, stencil, 0);
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
        uint64_t at = next_random() % (W * H);
        pel_share shares[8];
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = W;
        desc.global[1] = H;
        if (next_random() % 4 != 0) { /* else the planner decides */
            desc.share_count = random_shares(runtime, shares);
            desc.shares = shares;
        }
        pokes[step] = (poke){pel_buffer_data(buffers[from]), at};
        pel_access access = {buffers[from], at * sizeof(int), sizeof(int), PEL_READ_WRITE};
        assert_int_equal(pel_task(queue, do_poke, &pokes[step], &access, 1, NULL, NULL), PEL_OK);
        pel_arg args[] = {pel_buf(buffers[from]), pel_buf(buffers[to])};
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        expected[from][at] += 1000;
        plain_stencil(expected[from], expected[to], W, H);
        if (next_random() % 5 == 0) {
            finish(queue);
        }
    }
    finish(queue);
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
    pel_runtime *runtime = three_devices();
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
    pel_runtime *runtime = three_devices();
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "sum", params, 2, block_sums, 0);
    pel_buffer *x = NULL, *p = NULL;
    random_state = 3;
    double exact = 0;
    for (int i = 0; i < N; i++) {
        in[i] = (float)(next_random() % 1000003) * 1e-3f;
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
        desc.share_count = random_shares(runtime, shares);
        desc.shares = shares;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        finish(queue);
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
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, 1, 1, 1), PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 10)};
    static unsigned char in[N];
    uint32_t bins[10] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5}, expected[10];
    pel_runtime *runtime = three_devices();
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "histogram", params, 2, histogram, 0);
    pel_buffer *x = NULL, *b = NULL;
    memcpy(expected, bins, sizeof bins);
    random_state = 11;
    for (int i = 0; i < N; i++) {
        in[i] = (unsigned char)next_random();
    }
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, bins, sizeof bins, &b), PEL_OK);
    for (int round = 0; round < 10; round++) {
        pel_share shares[8];
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        pel_arg args[] = {pel_buf(x), pel_buf(b)};
        desc.global[0] = N;
        desc.share_count = random_shares(runtime, shares);
        desc.shares = shares;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        for (int i = 0; i < N; i++) {
            expected[in[i] % 10]++;
        }
    }
    finish(queue);
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

static pel_plan *plan_of(pel_event *event) {
    pel_plan *plan = NULL;
    assert_int_equal(pel_event_wait(event), PEL_OK);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    pel_event_release(event);
    return plan;
}

static void test_undeclared_writes_stay_on_one_device(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};
    static int a[4096];
    pel_runtime *runtime = three_devices();
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "undeclared", params, 1, shift_left, 0);
    pel_buffer *x = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 4096;
    assert_int_equal(pel_buffer_wrap(runtime, a, sizeof a, &x), PEL_OK);
    pel_arg args[] = {pel_buf(x)};
    for (int i = 0; i < 8; i++) {
        pel_event *event = NULL;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 1, &event), PEL_OK);
        pel_plan *plan = plan_of(event);
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
    static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), 0, 1, 1), PEL_PARAM_BLOCK(PEL_WRITE, sizeof(int), 0, 0, 0)};
    static int a[64 * 64];
    pel_runtime *runtime = three_devices();
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "in place", params, 2, stencil, 0);
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

static pel_status doubled(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = 2 * in[i];
    }
    return PEL_OK;
}

static void test_planner_learns_to_share(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {device("fast", 300, 0), device("slow", 100, 0)};
    pel_runtime *runtime = new_machine(devices, 2, "sim:fast,sim:slow");
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "doubled", params, 2, doubled, 0);
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
        plan = plan_of(event);
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

/* Wraps that stay alive add up to more than the device has: idle copies make room, the device is not given up. */
static void test_idle_copies_make_room(void **state) {
    (void)state;
    enum { N = 1000, PAIRS = 4 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    static int memory[2 * PAIRS][N];
    pel_simulated_device devices[] = {device("gpu", 1, 10)};
    devices[0].memory_bytes = 5 * sizeof memory[0];
    pel_runtime *runtime = new_machine(devices, 1, NULL);
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "doubled", params, 2, doubled, 0);
    pel_buffer *buffers[2 * PAIRS];
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    for (int i = 0; i < 2 * PAIRS; i++) {
        memory[i][5] = i;
        assert_int_equal(pel_buffer_wrap(runtime, memory[i], sizeof memory[i], &buffers[i]), PEL_OK);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2 * PAIRS; i += 2) {
            pel_arg args[] = {pel_buf(buffers[i]), pel_buf(buffers[i + 1])};
            assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
            finish(queue);
            assert_int_equal(memory[i + 1][5], 2 * i);
        }
    }
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    for (int i = 0; i < 2 * PAIRS; i++) {
        pel_buffer_destroy(buffers[i]);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_counters_tell_what_moved(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {device("gpu", 1, 10), device("cpu", 1, 0)};
    pel_runtime *runtime = new_machine(devices, 2, NULL);
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "doubled", params, 2, doubled, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_buffer_counters counters;
    pel_share share = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(int), &y, NULL), PEL_OK);
    pel_arg args[] = {pel_buf(x), pel_buf(y)};
    for (uint64_t round = 0; round < 2; round++) { /* moved the first time, there the second time */
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        finish(queue);
        pel_buffer_get_counters(x, &counters);
        assert_int_equal(counters.to_devices, N * sizeof(int));
        assert_int_equal(counters.used_in_place, round * N * sizeof(int));
    }
    share.device = pel_runtime_find_device(runtime, "sim:cpu"); /* shares the host's memory */
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
    finish(queue);
    pel_buffer_get_counters(x, &counters);
    assert_int_equal(counters.used_in_place, 2 * N * sizeof(int));
    assert_int_equal(counters.to_host, 0);
    assert_int_equal(pel_buffer_sync(y), PEL_OK);
    pel_buffer_get_counters(y, &counters);
    assert_int_equal(counters.to_devices, 0);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Two queues work on the halves of one wrap; the caller changes its half while the other queue is still busy with the other one. */
static void test_a_half_is_given_back_beside_a_busy_one(void **state) {
    (void)state;
    enum { N = 1000, BYTES = N * sizeof(int) };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    static int in[2 * N], out[2 * N];
    pel_simulated_device devices[] = {device("gpu", 1, 10)};
    pel_runtime *runtime = new_machine(devices, 1, NULL);
    pel_queue *queue = new_queue(runtime), *other = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "doubled", params, 2, doubled, 0);
    pel_buffer *x = NULL, *y = NULL;
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    for (int i = 0; i < 2 * N; i++) {
        in[i] = i;
    }
    assert_int_equal(pel_buffer_wrap(runtime, in, sizeof in, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, out, sizeof out, &y), PEL_OK);
    pel_arg low[] = {pel_buf_range(x, 0, BYTES), pel_buf_range(y, 0, BYTES)};
    pel_arg high[] = {pel_buf_range(x, BYTES, BYTES), pel_buf_range(y, BYTES, BYTES)};
    assert_int_equal(pel_launch(queue, kernel, &desc, low, 2, NULL), PEL_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pel_launch(other, kernel, &desc, high, 2, i == 4 ? &event : NULL), PEL_OK);
    }
    finish(queue);
    assert_int_equal(pel_event_status(event), PEL_BUSY);
    assert_int_equal(out[5], 10);
    in[5] = 50;
    assert_int_equal(pel_launch(queue, kernel, &desc, low, 2, NULL), PEL_OK);
    finish(queue);
    assert_int_equal(out[5], 100);
    finish(other);
    assert_int_equal(out[N + 5], 2 * (N + 5));
    pel_event_release(event);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_queue_destroy(other);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_a_wrap_inside_an_owned_buffer_comes_home(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {device("gpu", 1, 10)};
    pel_runtime *runtime = new_machine(devices, 1, NULL);
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "doubled", params, 2, doubled, 0);
    pel_buffer *owned = NULL, *in = NULL, *out = NULL;
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    assert_int_equal(pel_buffer_create(runtime, 2 * N * sizeof(int), &owned, NULL), PEL_OK);
    int *memory = pel_buffer_data(owned);
    assert_int_equal(pel_buffer_wrap(runtime, memory, N * sizeof(int), &in), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, memory + N, N * sizeof(int), &out), PEL_OK);
    pel_arg args[] = {pel_buf(in), pel_buf(out)};
    for (int round = 1; round <= 2; round++) {
        memory[5] = 100 * round;
        assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
        finish(queue);
        assert_int_equal(memory[N + 5], 200 * round);
    }
    memory[5] = 7;
    assert_int_equal(pel_launch(queue, kernel, &desc, args, 2, NULL), PEL_OK);
    assert_int_equal(pel_buffer_destroy(out), PEL_OK);
    assert_int_equal(memory[N + 5], 14);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(in);
    pel_buffer_destroy(owned);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_lost_bytes_are_not_read(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {device("gpu", 1, 10), device("cpu", 1, 0)};
    devices[0].lost_at = 2;
    pel_runtime *runtime = new_machine(devices, 2, NULL);
    pel_queue *queue = new_queue(runtime);
    pel_kernel *kernel = new_kernel(runtime, "doubled", params, 2, doubled, 0);
    pel_buffer *x = NULL, *y = NULL, *z = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share on_gpu = {pel_runtime_find_device(runtime, "sim:gpu"), 1};
    pel_event *third = NULL;
    int out[N];
    assert_non_null(on_gpu.device);
    desc.global[0] = N;
    assert_int_equal(pel_buffer_create(runtime, sizeof out, &x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, sizeof out, &y, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, sizeof out, &z, NULL), PEL_OK);
    pel_arg xy[] = {pel_buf(x), pel_buf(y)}, yz[] = {pel_buf(y), pel_buf(z)}, xz[] = {pel_buf(x), pel_buf(z)};
    desc.shares = &on_gpu;
    desc.share_count = 1;
    assert_int_equal(pel_launch(queue, kernel, &desc, xy, 2, NULL), PEL_OK);    /* y now lives on the gpu alone */
    assert_int_equal(pel_launch(queue, kernel, &desc, xz, 2, NULL), PEL_OK);    /* here it is lost */
    desc.share_count = 0;
    assert_int_equal(pel_queue_finish(queue), PEL_DEVICE_LOST);
    assert_int_equal(pel_launch(queue, kernel, &desc, yz, 2, &third), PEL_OK);  /* must not compute with stale bytes of y */
    assert_int_equal(pel_event_wait(third), PEL_DEPENDENCY_FAILED);
    pel_event_release(third);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    assert_int_equal(pel_launch(queue, kernel, &desc, xz, 2, NULL), PEL_OK);    /* x is fine, and so are the other devices */
    assert_int_equal(pel_read(queue, z, 0, sizeof out, out, NULL, NULL), PEL_OK);
    finish(queue);
    pel_kernel_destroy(kernel);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    pel_buffer_destroy(z);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* What the tests of lost devices share: y lives on the gpu alone when the second launch, which writes z, loses the gpu. */
typedef struct loss {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_buffer *x, *y, *z;
    int memory[3][1000];
    pel_event *lost;
} loss;

static void set_up_loss(loss *l, bool wrapped) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {device("gpu", 1, 10), device("cpu", 1, 0)};
    pel_buffer **buffers[] = {&l->x, &l->y, &l->z};
    memset(l, 0, sizeof *l);
    devices[0].lost_at = 2;
    l->runtime = new_machine(devices, 2, NULL);
    l->queue = new_queue(l->runtime);
    l->kernel = new_kernel(l->runtime, "doubled", params, 2, doubled, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wrapped ? pel_buffer_wrap(l->runtime, l->memory[i], sizeof l->memory[i], buffers[i])
                                 : pel_buffer_create(l->runtime, sizeof l->memory[i], buffers[i], NULL),
                         PEL_OK);
    }
    pel_share on_gpu = {pel_runtime_find_device(l->runtime, "sim:gpu"), 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg xy[] = {pel_buf(l->x), pel_buf(l->y)}, xz[] = {pel_buf(l->x), pel_buf(l->z)};
    desc.global[0] = 1000;
    desc.shares = &on_gpu;
    desc.share_count = 1;
    assert_int_equal(pel_launch(l->queue, l->kernel, &desc, xy, 2, NULL), PEL_OK);
    assert_int_equal(pel_launch(l->queue, l->kernel, &desc, xz, 2, &l->lost), PEL_OK);
}

static void tear_down_loss(loss *l) {
    pel_event_release(l->lost);
    pel_kernel_destroy(l->kernel);
    pel_queue_destroy(l->queue);
    pel_buffer_destroy(l->x);
    pel_buffer_destroy(l->y);
    pel_buffer_destroy(l->z);
    assert_int_equal(pel_runtime_destroy(l->runtime), PEL_OK);
}

typedef struct peek {
    int *bytes;
    int seen;
} peek;

static pel_status do_peek(void *context) {
    peek *p = context;
    p->seen = p->bytes[5];
    return PEL_OK;
}

static pel_status fill_with_sevens(void *context) {
    for (int i = 0; i < 1000; i++) {
        ((int *)context)[i] = 7;
    }
    return PEL_OK;
}

static void test_readers_that_waited_do_not_read_lost_bytes(void **state) {
    (void)state;
    loss l;
    set_up_loss(&l, false);
    peek p = {pel_buffer_data(l.y), -1};
    pel_access accesses[] = {{l.y, 0, 0, PEL_READ}, {l.z, 0, 0, PEL_WRITE}}; /* waits for the launch that fails, without needing its result */
    pel_event *event = NULL;
    assert_int_equal(pel_task(l.queue, do_peek, &p, accesses, 2, NULL, &event), PEL_OK);
    assert_int_equal(pel_queue_finish(l.queue), PEL_DEVICE_LOST);
    assert_int_equal(pel_event_status(event), PEL_DEPENDENCY_FAILED);
    assert_int_equal(p.seen, -1);
    pel_event_release(event);
    tear_down_loss(&l);
}

static void test_overwriting_lost_bytes_makes_them_valid(void **state) {
    (void)state;
    loss l;
    set_up_loss(&l, false);
    peek p = {pel_buffer_data(l.y), -1};
    pel_access writes[] = {{l.y, 0, 0, PEL_WRITE}, {l.z, 0, 0, PEL_WRITE}}, reads = {l.y, 0, 0, PEL_READ};
    pel_event *event = NULL;
    assert_int_equal(pel_task(l.queue, fill_with_sevens, p.bytes, writes, 2, NULL, NULL), PEL_OK);
    assert_int_equal(pel_event_wait(l.lost), PEL_DEVICE_LOST);
    assert_int_equal(pel_task(l.queue, do_peek, &p, &reads, 1, NULL, &event), PEL_OK); /* after the loss, behind a writer from before it */
    assert_int_equal(pel_event_wait(event), PEL_OK);
    assert_int_equal(p.seen, 7);
    pel_event_release(event);
    tear_down_loss(&l);
}

static void test_reset_gives_lost_wraps_back(void **state) {
    (void)state;
    static loss l;
    set_up_loss(&l, true);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg yz[] = {pel_buf(l.y), pel_buf(l.z)};
    desc.global[0] = 1000;
    assert_int_equal(pel_queue_finish(l.queue), PEL_DEVICE_LOST);
    assert_int_equal(pel_queue_finish(l.queue), PEL_DEVICE_LOST); /* and still comes to an end */
    assert_int_equal(pel_queue_reset(l.queue), PEL_OK);
    l.memory[1][5] = 3;
    assert_int_equal(pel_launch(l.queue, l.kernel, &desc, yz, 2, NULL), PEL_OK);
    finish(l.queue);
    assert_int_equal(l.memory[2][5], 6);
    tear_down_loss(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iterated_stencil),
        cmocka_unit_test(test_per_group_has_the_same_bits_for_any_split),
        cmocka_unit_test(test_private_reduction_adds_to_what_was_there),
        cmocka_unit_test(test_undeclared_writes_stay_on_one_device),
        cmocka_unit_test(test_in_place_stencil_is_a_conflict),
        cmocka_unit_test(test_planner_learns_to_share),
        cmocka_unit_test(test_idle_copies_make_room),
        cmocka_unit_test(test_counters_tell_what_moved),
        cmocka_unit_test(test_a_half_is_given_back_beside_a_busy_one),
        cmocka_unit_test(test_a_wrap_inside_an_owned_buffer_comes_home),
        cmocka_unit_test(test_lost_bytes_are_not_read),
        cmocka_unit_test(test_readers_that_waited_do_not_read_lost_bytes),
        cmocka_unit_test(test_overwriting_lost_bytes_makes_them_valid),
        cmocka_unit_test(test_reset_gives_lost_wraps_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
