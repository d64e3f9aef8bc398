/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers: what is refused, overlapping wraps in every arrangement, and, on simulated devices with memory of their own, that
 * bytes which only a device holds are home when a wrap grows, is synchronised or goes.
 */
#include "base/checked.h"
#include "memory/memory.h"
#include "support/fake_runtime.h"
#include "support/random.h"
#include <pel/pel.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define BYTES 4096

static fake_runtime fake;
static unsigned char memory[BYTES];

static pel_buffer *wrap(uint64_t lo, uint64_t hi) {
    pel_buffer *buffer = NULL;
    assert_int_equal(pel_buffer_wrap(&fake.runtime, memory + lo, hi - lo, &buffer), PEL_OK);
    assert_int_equal(pel_buffer_bytes(buffer), hi - lo);
    assert_ptr_equal(pel_buffer_data(buffer), memory + lo);
    return buffer;
}

static void test_refusals(void **state) {
    (void)state;
    fake_runtime_init(&fake, "h");
    pel_buffer *buffer = (pel_buffer *)(void *)memory;
    pel_error *error = NULL;
    pel_buffer_counters counters = {1, 2, 3};
    assert_int_equal(pel_buffer_wrap(NULL, memory, 1, &buffer), PEL_INVALID_ARGUMENT);
    assert_null(buffer);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, NULL, 1, &buffer), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, memory, 0, &buffer), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, memory, 1, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, memory, UINT64_MAX, &buffer), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_create(&fake.runtime, 0, &buffer, &error), PEL_INVALID_ARGUMENT);
    assert_non_null(strstr(pel_error_message(error), "0 bytes"));
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(pel_buffer_create(&fake.runtime, UINT64_MAX, &buffer, &error), PEL_TOO_LARGE);
    assert_non_null(strstr(pel_error_message(error), "18446744073709551615"));
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(pel_buffer_create(&fake.runtime, 1ull << 62, &buffer, &error), PEL_OUT_OF_MEMORY);
    pel_error_destroy(error);
    assert_int_equal(pel_buffer_create(NULL, 1, &buffer, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_create(&fake.runtime, 1, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_sync(NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_buffer_destroy(NULL), PEL_OK);
    assert_int_equal(pel_buffer_bytes(NULL), 0);
    assert_null(pel_buffer_data(NULL));
    pel_buffer_get_counters(NULL, &counters);
    assert_int_equal(counters.to_devices + counters.to_host + counters.used_in_place, 0);
    fake_runtime_end(&fake);
}

static void test_after_fork(void **state) {
    (void)state;
    fake_runtime_init(&fake, "h");
    pel_buffer *buffer = wrap(0, 10), *other;
    pid_t pid = fake.runtime.pid;
    fake.runtime.pid = pid + 1; /* as a child sees it: its locks may be held for ever */
    pthread_mutex_lock(&fake.runtime.lock);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, memory, 1, &other), PEL_AFTER_FORK);
    assert_int_equal(pel_buffer_create(&fake.runtime, 1, &other, NULL), PEL_AFTER_FORK);
    assert_int_equal(pel_buffer_sync(buffer), PEL_AFTER_FORK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_AFTER_FORK);
    pthread_mutex_unlock(&fake.runtime.lock);
    fake.runtime.pid = pid;
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    fake_runtime_end(&fake);
}

static void test_owned_memory(void **state) {
    (void)state;
    fake_runtime_init(&fake, "h");
    pel_buffer *buffer, *inside, *across;
    assert_int_equal(pel_buffer_create(&fake.runtime, 100000, &buffer, NULL), PEL_OK);
    unsigned char *data = pel_buffer_data(buffer);
    assert_int_equal((uintptr_t)data % 4096, 0);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(data[i], 0);
    }
    data[99999] = 7;
    assert_int_equal(pel_buffer_wrap(&fake.runtime, data + 100, 200, &inside), PEL_OK);
    assert_ptr_equal(inside->allocation, buffer->allocation);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, data + 99000, 2000, &across), PEL_INVALID_ARGUMENT);
    assert_null(across);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    data[150] = 3; /* still there */
    assert_int_equal(pel_buffer_destroy(inside), PEL_OK);
    fake_runtime_end(&fake);
}

/* Random wraps and destroys: allocations are exactly the maximal ranges that living wraps cover, once joined never separated. */
static void test_overlapping_wraps(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        pel_buffer *buffers[12] = {NULL};
        fake_runtime_init(&fake, "h");
        for (int step = 0; step < 60; step++) {
            uint32_t i = (uint32_t)(test_random(&random) % 12);
            if (buffers[i]) {
                assert_int_equal(pel_buffer_destroy(buffers[i]), PEL_OK);
                buffers[i] = NULL;
            } else {
                uint64_t lo = test_random(&random) % BYTES,
                         hi = lo + 1 + test_random(&random) % (BYTES - lo < 700 ? BYTES - lo : 700);
                buffers[i] = wrap(lo, hi);
            }
            uint32_t references = 0, alive = 0;
            for (pel_allocation *a = fake.runtime.allocations; a; a = a->next) {
                references += a->references;
                for (pel_allocation *b = a->next; b; b = b->next) {
                    assert_true(a->base + a->bytes <= b->base || b->base + b->bytes <= a->base);
                }
            }
            for (uint32_t k = 0; k < 12; k++) {
                alive += buffers[k] != NULL;
                for (uint32_t m = 0; m < k && buffers[k]; m++) {
                    const unsigned char *x = buffers[k] ? pel_buffer_data(buffers[k]) : NULL,
                                        *y = buffers[m] ? pel_buffer_data(buffers[m]) : NULL;
                    if (y && x < y + buffers[m]->bytes && y < x + buffers[k]->bytes) {
                        assert_ptr_equal(buffers[k]->allocation, buffers[m]->allocation);
                    }
                }
                if (buffers[k]) {
                    assert_true(pel_range_within(buffers[k]->offset, buffers[k]->bytes, buffers[k]->allocation->bytes));
                }
            }
            assert_int_equal(references, alive);
        }
        for (uint32_t i = 0; i < 12; i++) {
            assert_int_equal(pel_buffer_destroy(buffers[i]), PEL_OK);
        }
        fake_runtime_end(&fake);
    }
}

/* A finished command that still holds an allocation of memory that is gone must not stand in the way of new memory there. */
static void test_dead_allocations_give_way(void **state) {
    (void)state;
    fake_runtime_init(&fake, "d");
    pel_buffer *buffer = wrap(0, 100);
    pel_allocation *held = buffer->allocation;
    pel_allocation_retain(held);
    assert_int_equal(pel_allocation_copied(held, 1, 0, 100), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    pel_buffer *same = wrap(0, 100), *partly = wrap(50, 150);
    assert_ptr_not_equal(same->allocation, held);
    assert_ptr_equal(same->allocation, partly->allocation);
    assert_int_equal(pel_allocation_missing_bytes(same->allocation, 1, 0, 100), 100);
    pel_allocation_release(held);
    assert_int_equal(pel_buffer_destroy(same), PEL_OK);
    assert_int_equal(pel_buffer_destroy(partly), PEL_OK);
    fake_runtime_end(&fake);
}

/* What the caller wraps may have changed since a device copied it. */
static void test_wrapping_again_trusts_the_host(void **state) {
    (void)state;
    fake_runtime_init(&fake, "d");
    pel_buffer *all = wrap(0, 100);
    assert_int_equal(pel_allocation_copied(all->allocation, 1, 0, 100), PEL_OK);
    pel_buffer *part = wrap(20, 30);
    assert_int_equal(pel_allocation_missing_bytes(all->allocation, 1, 0, 100), 10);
    assert_int_equal(pel_buffer_destroy(part), PEL_OK);
    assert_int_equal(pel_buffer_destroy(all), PEL_OK);
    fake_runtime_end(&fake);
}

typedef struct releaser {
    pthread_t thread;
    pel_allocation *allocation;
} releaser;

static void *release_later(void *user) {
    const releaser *r = user;
    const struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&fake.runtime.lock);
    pel_allocation_release(r->allocation);
    pthread_mutex_unlock(&fake.runtime.lock);
    return NULL;
}

/* Somebody holds an allocation without a command (a launch that is being bound): a merge waits for that. */
static void test_merge_waits_for_holders(void **state) {
    (void)state;
    fake_runtime_init(&fake, "h");
    pel_buffer *first = wrap(0, 100), *second;
    releaser r = {.allocation = first->allocation};
    pel_allocation_retain(r.allocation);
    assert_int_equal(pel_buffer_wrap(&fake.runtime, memory + 50, 100, &second), PEL_BUSY); /* it never lets go */
    assert_null(second);
    assert_int_equal(pthread_create(&r.thread, NULL, release_later, &r), 0);
    second = wrap(50, 150);
    assert_int_equal(pthread_join(r.thread, NULL), 0);
    assert_ptr_equal(first->allocation, second->allocation);
    assert_int_equal(first->allocation->bytes, 150);
    assert_int_equal(pel_buffer_destroy(first), PEL_OK);
    assert_int_equal(pel_buffer_destroy(second), PEL_OK);
    fake_runtime_end(&fake);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        fake_runtime_init(&fake, "d");
        fake.memory.fail_from = n;
        pel_buffer *made[4] = {NULL};
        const uint64_t lo[] = {0, 200, 20, 50}, hi[] = {100, 300, 40, 250}; /* two apart, one inside, one bridging */
        pel_status status = PEL_OK;
        for (int i = 0; i < 4 && status == PEL_OK; i++) {
            status = pel_buffer_wrap(&fake.runtime, memory + lo[i], hi[i] - lo[i], &made[i]);
        }
        bool wraps_done = status == PEL_OK;
        pel_buffer *owned = NULL;
        status = wraps_done ? pel_buffer_create(&fake.runtime, 5000, &owned, NULL) : status;
        bool reached = fake.memory.calls >= n;
        assert_int_equal(status, reached ? PEL_OUT_OF_MEMORY : PEL_OK);
        for (int i = 0; i < 4; i++) { /* what was made before the failure still works */
            if (made[i]) {
                assert_ptr_equal(pel_buffer_data(made[i]), memory + lo[i]);
            }
            assert_int_equal(pel_buffer_destroy(made[i]), PEL_OK);
        }
        assert_int_equal(pel_buffer_destroy(owned), PEL_OK);
        fake_runtime_end(&fake);
        if (!reached) {
            assert_true(n > 10);
            return;
        }
    }
}

/* --- with a dispatcher and devices that have memory of their own --- */

typedef struct machine {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel; /* adds 1 to each byte */
    const pel_device *device;
} machine;

static pel_status increment(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    unsigned char *bytes = arguments[0];
    (void)scratch;
    (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        bytes[i]++;
    }
    return PEL_OK;
}

static void start(machine *m) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 1, 1, 1)};
    pel_simulated_device gpu;
    memset(&gpu, 0, sizeof gpu);
    snprintf(gpu.name, sizeof gpu.name, "gpu");
    gpu.start_ns = 5000;
    gpu.rate = 10;
    gpu.link_bytes_per_ns = 1;
    pel_simulation simulation = PEL_SIMULATION_INIT;
    simulation.devices = &gpu;
    simulation.device_count = 1;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.simulation = &simulation;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    kernel_desc.host = increment;
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    pel_program *program;
    assert_int_equal(pel_runtime_create(&desc, &m->runtime, NULL), PEL_OK);
    assert_int_equal(pel_program_create(m->runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &m->kernel, NULL), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_queue_create(m->runtime, NULL, &m->queue, NULL), PEL_OK);
    m->device = pel_runtime_find_device(m->runtime, "sim:gpu");
    assert_non_null(m->device);
    assert_int_not_equal(m->device->place, 0);
    memset(memory, 0, sizeof memory);
}

static void stop(machine *m) {
    assert_int_equal(pel_queue_destroy(m->queue), PEL_OK);
    assert_int_equal(pel_kernel_destroy(m->kernel), PEL_OK);
    assert_int_equal(pel_runtime_destroy(m->runtime), PEL_OK);
}

static void increment_on_device(machine *m, pel_buffer *buffer, uint64_t bytes) {
    pel_share share = {m->device, 1};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = bytes;
    desc.shares = &share;
    desc.share_count = 1;
    pel_arg arg = pel_buf(buffer);
    assert_int_equal(pel_launch(m->queue, m->kernel, &desc, &arg, 1, NULL), PEL_OK);
}

static void test_growing_brings_bytes_home(void **state) {
    (void)state;
    machine m;
    pel_buffer *first, *second;
    start(&m);
    assert_int_equal(pel_buffer_wrap(m.runtime, memory, 1000, &first), PEL_OK);
    increment_on_device(&m, first, 1000); /* submitted, not waited for */
    assert_int_equal(pel_buffer_wrap(m.runtime, memory + 500, 1000, &second), PEL_OK);
    assert_ptr_equal(first->allocation, second->allocation);
    assert_int_equal(memory[0], 1);
    assert_int_equal(memory[999], 1);
    assert_int_equal(memory[1000], 0);
    increment_on_device(&m, second, 1000);
    increment_on_device(&m, first, 1000);
    assert_int_equal(pel_queue_finish(m.queue), PEL_OK);
    for (int i = 0; i < 1600; i++) {
        assert_int_equal(memory[i], i < 500 ? 2 : i < 1000 ? 3 : i < 1500 ? 1 : 0);
    }
    assert_int_equal(pel_buffer_destroy(first), PEL_OK);
    assert_int_equal(pel_buffer_destroy(second), PEL_OK);
    stop(&m);
}

static void test_destroying_a_wrap_brings_bytes_home(void **state) {
    (void)state;
    machine m;
    pel_buffer *buffer, *again;
    start(&m);
    assert_int_equal(pel_buffer_wrap(m.runtime, memory, 1000, &buffer), PEL_OK);
    increment_on_device(&m, buffer, 1000);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(memory[0], 1);
    assert_int_equal(memory[999], 1);
    memset(memory, 40, 1000); /* ours again, and no device's copy counts */
    assert_int_equal(pel_buffer_wrap(m.runtime, memory, 1000, &again), PEL_OK);
    increment_on_device(&m, again, 1000);
    assert_int_equal(pel_queue_finish(m.queue), PEL_OK);
    assert_int_equal(memory[0], 41);
    assert_int_equal(pel_buffer_destroy(again), PEL_OK);
    stop(&m);
}

static void test_sync_and_counters(void **state) {
    (void)state;
    machine m;
    pel_buffer *owned;
    pel_buffer_counters counters;
    start(&m);
    assert_int_equal(pel_buffer_create(m.runtime, 1000, &owned, NULL), PEL_OK);
    increment_on_device(&m, owned, 1000);
    increment_on_device(&m, owned, 1000);
    assert_int_equal(pel_buffer_sync(owned), PEL_OK);
    const unsigned char *data = pel_buffer_data(owned);
    assert_int_equal(data[0], 2);
    assert_int_equal(data[999], 2);
    pel_buffer_get_counters(owned, &counters);
    assert_int_equal(counters.to_devices, 1000); /* the second launch found it there */
    assert_int_equal(counters.to_host, 1000);
    increment_on_device(&m, owned, 1000);
    assert_int_equal(pel_buffer_destroy(owned), PEL_OK); /* the launch keeps what it needs */
    assert_int_equal(pel_queue_finish(m.queue), PEL_OK);
    stop(&m);
}

static pel_status fail_at_once(void *context) {
    (void)context;
    return PEL_IO;
}

/* What a failed task should have written is undefined; the rest comes home all the same. */
static void test_sync_beside_a_failure(void **state) {
    (void)state;
    machine m;
    pel_buffer *owned;
    start(&m);
    assert_int_equal(pel_buffer_create(m.runtime, 1000, &owned, NULL), PEL_OK);
    const pel_access access = PEL_ACCESS(owned, 100, 50, PEL_WRITE);
    increment_on_device(&m, owned, 1000);
    assert_int_equal(pel_task(m.queue, fail_at_once, NULL, &access, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_buffer_sync(owned), PEL_OK);
    const unsigned char *data = pel_buffer_data(owned);
    assert_int_equal(data[99], 1);
    assert_int_equal(data[150], 1);
    assert_int_equal(pel_queue_finish(m.queue), PEL_TASK_FAILED);
    assert_int_equal(pel_queue_reset(m.queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(owned), PEL_OK);
    stop(&m);
}

typedef struct inside {
    pel_runtime *runtime;
    pel_buffer *buffer;
    pel_status destroyed, synced, wrapped;
} inside;

static pel_status waiting_task(void *context) {
    inside *in = context;
    pel_buffer *other;
    in->destroyed = pel_buffer_destroy(in->buffer);
    in->synced = pel_buffer_sync(in->buffer);
    in->wrapped = pel_buffer_wrap(in->runtime, memory + 500, 1000, &other);
    return PEL_OK;
}

/* A task must not wait for the queue that it belongs to. */
static void test_inside_a_task(void **state) {
    (void)state;
    machine m;
    start(&m);
    inside in = {.runtime = m.runtime};
    assert_int_equal(pel_buffer_wrap(m.runtime, memory, 1000, &in.buffer), PEL_OK);
    const pel_access access = PEL_ACCESS(in.buffer, 0, 0, PEL_READ);
    assert_int_equal(pel_task(m.queue, waiting_task, &in, &access, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(m.queue), PEL_OK);
    assert_int_equal(in.destroyed, PEL_WOULD_DEADLOCK);
    assert_int_equal(in.synced, PEL_WOULD_DEADLOCK);
    assert_int_equal(in.wrapped, PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_buffer_bytes(in.buffer), 1000);
    assert_int_equal(pel_buffer_destroy(in.buffer), PEL_OK);
    stop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_after_fork),
        cmocka_unit_test(test_owned_memory),
        cmocka_unit_test(test_overlapping_wraps),
        cmocka_unit_test(test_dead_allocations_give_way),
        cmocka_unit_test(test_wrapping_again_trusts_the_host),
        cmocka_unit_test(test_merge_waits_for_holders),
        cmocka_unit_test(test_every_failing_allocation),
        cmocka_unit_test(test_growing_brings_bytes_home),
        cmocka_unit_test(test_destroying_a_wrap_brings_bytes_home),
        cmocka_unit_test(test_sync_and_counters),
        cmocka_unit_test(test_sync_beside_a_failure),
        cmocka_unit_test(test_inside_a_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
