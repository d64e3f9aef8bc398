/* SPDX-License-Identifier: BSD-3-Clause */
/* Verified launches whose nth allocation fails, for each n: an error, or the right bytes, and nothing leaks. A device lies, so
 * that all of the voting is passed through. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { N = 600, DEVICES = 3, LIMIT = 4000 };

static atomic_int left; /* allocations that go well; negative: all do */
static atomic_bool failed;

static void *allocate(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    if (atomic_load(&left) >= 0 && atomic_fetch_sub(&left, 1) == 0) {
        atomic_store(&failed, true);
        return NULL;
    }
    return realloc(pointer, bytes);
}

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint32_t *y = arguments[0], *sum = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = 3 * y[i] + (uint32_t)i;
        *sum += 1;
    }
    return PEL_OK;
}

static pel_status is_update(const pel_span *span, void *const *arguments, void *user) {
    const uint32_t *y = arguments[0], *sum = arguments[1]; /* the chunk's own */
    (void)user;
    if (*sum != span->hi[0] - span->lo[0]) {
        return PEL_MISMATCH;
    }
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        if (y[i] != 3 * 7 + (uint32_t)i) {
            return PEL_MISMATCH;
        }
    }
    return PEL_OK;
}

/* True: allocation `nth` was reached. */
static bool live(int nth, uint32_t liar, pel_protection protection, bool checks) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(uint32_t), 1)};
    static const pel_verification all = {.share = 1};
    pel_simulated_device devices[DEVICES] = {machine_device("gpu0", 4, 10), machine_device("gpu1", 1, 2),
                                             machine_device("cpu", 1, 0)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    const pel_allocator allocator = {allocate, NULL};
    pel_share shares[DEVICES];
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *y, *sum;
    uint32_t ys[N], sums = 0;
    atomic_store(&left, -1);
    atomic_store(&failed, false);
    devices[liar].wrong_every = 1;
    simulation.seed = 3;
    simulation.devices = devices;
    simulation.device_count = DEVICES;
    desc.simulation = &simulation;
    desc.allocator = &allocator;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    kernel_desc.name = "update";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    kernel_desc.host = update;
    kernel_desc.check = checks ? is_update : NULL;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (uint32_t i = 0; i < N; i++) {
        ys[i] = 7;
    }
    assert_int_equal(pel_buffer_wrap(runtime, ys, sizeof ys, &y), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &sums, sizeof sums, &sum), PEL_OK);
    for (uint32_t i = 0; i < DEVICES; i++) {
        shares[i] = (pel_share){pel_runtime_device(runtime, i + 1), 1};
    }
    pel_arg args[] = {pel_buf(y), pel_buf(sum)};
    launch.global[0] = N;
    launch.shares = shares;
    launch.share_count = DEVICES;
    launch.protection = protection;
    launch.verification = &all;
    atomic_store(&left, nth);
    pel_status status = pel_launch(queue, kernel, &launch, args, 2, NULL);
    const pel_status finished = pel_queue_finish(queue);
    atomic_store(&left, -1);
    status = status == PEL_OK ? finished : status;
    if (status == PEL_OK && pel_buffer_sync(y) == PEL_OK && pel_buffer_sync(sum) == PEL_OK) {
        assert_int_equal(sums, N);
        for (uint32_t i = 0; i < N; i++) {
            assert_int_equal(ys[i], 3 * 7 + i);
        }
    }
    assert_true(status == PEL_OK || atomic_load(&failed));
    const bool reached = atomic_load(&failed);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_queue_destroy(queue);
    pel_buffer_destroy(y);
    pel_buffer_destroy(sum);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return reached;
}

static void test_each_allocation(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        int nth = 0;
        while (nth < LIMIT &&
               live(nth, (uint32_t)kind % DEVICES, kind % 2 == 1 ? PEL_PROTECT_ISOLATE : PEL_PROTECT_DEFAULT, kind >= 2)) {
            nth++;
        }
        print_message("%d allocations\n", nth);
        assert_in_range(nth, 20, LIMIT - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
