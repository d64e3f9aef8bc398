/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every allocation of a life with mappings, prefetches, copies and launches of sensitive data fails in turn, once and for ever:
 * of records through the runtime's allocator, of memory through the buffers' source. And every chunk of the device, transfers
 * included. Each time: the right result or a clean error, nothing leaks, nobody hangs, and the secret is in nothing that is given
 * back.
 */
#include "support/counted.h"

#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 64, BYTES = N * (int)sizeof(int), SECRET = 0x5ec2e7a5 };

static atomic_long secrets_seen; /* in memory that was given back */

static void *counted_take(void *user, uint64_t bytes) { return counted_reallocate(user, NULL, (size_t)bytes); }

static void counted_give(void *user, void *memory, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes / sizeof(int); i++) {
        atomic_fetch_add(&secrets_seen, ((int *)memory)[i] == SECRET);
    }
    (void)counted_reallocate(user, memory, 0);
}

static pel_status add_one(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    int *x = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i]++;
    }
    return PEL_OK;
}

typedef struct life {
    counted *counted;
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    pel_mapping *mapping;
} life;

static pel_status make_buffer(life *l, pel_buffer **buffer) {
    const pel_memory_source source = {counted_take, counted_give, l->counted};
    pel_buffer_desc desc = PEL_BUFFER_DESC_INIT;
    desc.bytes = BYTES;
    desc.source = &source;
    desc.flags = PEL_BUFFER_SENSITIVE;
    return pel_buffer_create_with(l->runtime, &desc, buffer, NULL);
}

static pel_status build(life *l, const pel_runtime_desc *desc) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_status status;
    kernel_desc.name = "add_one";
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    kernel_desc.host = add_one;
    if ((status = pel_runtime_create(desc, &l->runtime, NULL)) != PEL_OK ||
        (status = pel_queue_create(l->runtime, NULL, &l->queue, NULL)) != PEL_OK || (status = make_buffer(l, &l->x)) != PEL_OK ||
        (status = make_buffer(l, &l->y)) != PEL_OK ||
        (status = pel_program_create(l->runtime, &program_desc, &l->program, NULL)) != PEL_OK) {
        return status;
    }
    return pel_kernel_create(l->program, &kernel_desc, &l->kernel, NULL);
}

static pel_status launch(life *l) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share share = {pel_runtime_device(l->runtime, pel_runtime_device_count(l->runtime) - 1), 1};
    const pel_arg args[] = {pel_buf(l->x)};
    desc.global[0] = N;
    desc.shares = &share;
    desc.share_count = 1;
    return pel_launch(l->queue, l->kernel, &desc, args, 1, NULL);
}

/* Maps, fills with `value` (0: checks that `expected` is there) and unmaps. */
static pel_status touch(life *l, pel_buffer *buffer, uint32_t flags, int value, int expected, bool *wrong) {
    void *memory = NULL;
    pel_status status = pel_map(l->queue, buffer, 0, 0, flags, NULL, &l->mapping);
    status = status == PEL_OK ? pel_map_wait(l->mapping, &memory) : status;
    for (int i = 0; status == PEL_OK && i < N; i++) {
        int *cell = (int *)memory + i;
        *wrong |= (flags & PEL_MAP_DISCARD) == 0 && *cell != expected;
        if ((flags & PEL_MAP_WRITE) != 0) {
            *cell = value;
        }
    }
    pel_status ended = status == PEL_OK ? pel_unmap(l->mapping) : PEL_OK;
    pel_mapping_destroy(l->mapping);
    l->mapping = NULL;
    return status == PEL_OK ? ended : status;
}

static pel_status live(life *l, bool *wrong) {
    const pel_device *far = pel_runtime_device(l->runtime, pel_runtime_device_count(l->runtime) - 1);
    pel_status status, finished;
    if ((status = touch(l, l->x, PEL_MAP_WRITE | PEL_MAP_DISCARD | PEL_MAP_GUARD, SECRET - 1, 0, wrong)) == PEL_OK &&
        (status = pel_prefetch(l->queue, l->x, 0, BYTES / 2, far, NULL, NULL)) == PEL_OK && (status = launch(l)) == PEL_OK &&
        (status = pel_copy(l->queue, l->y, 0, l->x, 0, BYTES, NULL, NULL)) == PEL_OK &&
        (status = touch(l, l->y, PEL_MAP_READ, 0, SECRET, wrong)) == PEL_OK &&
        (status = touch(l, l->x, PEL_MAP_READ | PEL_MAP_WRITE, 7, SECRET, wrong)) == PEL_OK && (status = launch(l)) == PEL_OK &&
        (status = touch(l, l->x, PEL_MAP_READ | PEL_MAP_GUARD, 0, 8, wrong)) == PEL_OK) {
        status = pel_buffer_sync(l->x);
    }
    finished = pel_queue_finish(l->queue);
    return status != PEL_OK ? status : finished;
}

static void tear_down(life *l) {
    pel_kernel_destroy(l->kernel);
    pel_program_destroy(l->program);
    pel_queue_destroy(l->queue);
    pel_buffer_destroy(l->x);
    pel_buffer_destroy(l->y);
    assert_int_equal(pel_runtime_destroy(l->runtime), PEL_OK);
}

static bool live_once(counted *memory, const pel_runtime_desc *wanted) {
    const pel_allocator allocator = {counted_reallocate, memory};
    pel_runtime_desc desc = *wanted;
    life l = {.counted = memory};
    bool wrong = false;
    desc.allocator = &allocator;
    pel_status status = build(&l, &desc);
    if (status == PEL_OK) {
        status = live(&l, &wrong);
    }
    tear_down(&l);
    if (wrong || atomic_load(&secrets_seen) != 0) {
        fail_msg("allocation %ld failed %s: %s, the secret given back %ld times", memory->fail_at,
                 memory->for_ever ? "for ever" : "once", wrong ? "wrong result" : pel_status_name(status),
                 atomic_load(&secrets_seen));
    }
    return status == PEL_OK;
}

static pel_simulated_device far_device(void) {
    pel_simulated_device device = {.start_ns = 1000, .rate = 1, .link_bytes_per_ns = 1};
    strcpy(device.name, "far");
    return device;
}

static void test_allocations_with_memory_elsewhere(void **state) {
    (void)state;
    pel_simulated_device device = far_device();
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    simulation.devices = &device;
    simulation.device_count = 1;
    desc.simulation = &simulation;
    counted_every_site("simulated host and far device", live_once, &desc);
}

static void test_allocations_on_the_host(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = 2;
    desc.flags = PEL_RUNTIME_NO_CACHE;
    counted_every_site("host", live_once, &desc);
}

/* Each work of the device in turn, transfers and launches, fails or takes the device along. */
static void test_works_that_fail(void **state) {
    (void)state;
    long survivors = 0;
    for (uint64_t at = 1; at <= 12; at++) {
        for (int lost = 0; lost < 2; lost++) {
            pel_simulated_device device = far_device();
            pel_simulation simulation = PEL_SIMULATION_INIT;
            pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
            counted memory = {.fail_at = 0};
            *(lost ? &device.lost_at : &device.fail_at) = at;
            simulation.devices = &device;
            simulation.device_count = 1;
            desc.simulation = &simulation;
            survivors += live_once(&memory, &desc);
            assert_int_equal(atomic_load(&memory.live), 0);
        }
    }
    printf("24 lives with a failing or vanishing device: %ld right results\n", survivors);
    assert_true(survivors < 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_allocations_with_memory_elsewhere),
                                       cmocka_unit_test(test_allocations_on_the_host), cmocka_unit_test(test_works_that_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
