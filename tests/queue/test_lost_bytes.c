/* SPDX-License-Identifier: BSD-3-Clause */
/* What lived on a lost device alone: it is not read, until it is wholly written again or given back by a reset. */
#include "support/counted.h"
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

static void test_lost_bytes_are_not_read(void **state) {
    (void)state;
    enum { N = 1000 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10), machine_device("cpu", 1, 0)};
    devices[0].lost_at = 2;
    pel_runtime *runtime = machine_create(devices, 2, NULL);
    pel_queue *queue = machine_queue(runtime);
    pel_kernel *kernel = machine_kernel(runtime, "doubled", params, 2, machine_double, 0);
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
    machine_finish(queue);
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
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10), machine_device("cpu", 1, 0)};
    pel_buffer **buffers[] = {&l->x, &l->y, &l->z};
    memset(l, 0, sizeof *l);
    devices[0].lost_at = 2;
    l->runtime = machine_create(devices, 2, NULL);
    l->queue = machine_queue(l->runtime);
    l->kernel = machine_kernel(l->runtime, "doubled", params, 2, machine_double, 0);
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
    /* waits for the launch that fails, without needing its result */
    pel_access accesses[] = {PEL_ACCESS(l.y, 0, 0, PEL_READ), PEL_ACCESS(l.z, 0, 0, PEL_WRITE)};
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
    pel_access writes[] = {PEL_ACCESS(l.y, 0, 0, PEL_WRITE), PEL_ACCESS(l.z, 0, 0, PEL_WRITE)},
               reads = PEL_ACCESS(l.y, 0, 0, PEL_READ);
    pel_event *event = NULL;
    assert_int_equal(pel_task(l.queue, fill_with_sevens, p.bytes, writes, 2, NULL, NULL), PEL_OK);
    assert_int_equal(pel_event_wait(l.lost), PEL_DEVICE_LOST);
    /* after the loss, behind a writer from before it */
    assert_int_equal(pel_task(l.queue, do_peek, &p, &reads, 1, NULL, &event), PEL_OK);
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
    machine_finish(l.queue);
    assert_int_equal(l.memory[2][5], 6);
    tear_down_loss(&l);
}

/*
 * Where memory fails while a fill is submitted, whoever looks afterwards must not take what was there before for its result:
 * either the submission says so, or the looking fails.
 */
static void test_no_memory_leaves_no_stale_bytes(void **state) {
    (void)state;
    bool injected = true;
    for (long site = 1; injected && site < 200; site++) {
        counted memory = {0};
        const pel_allocator allocator = {counted_reallocate, &memory};
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        desc.devices = "host";
        desc.history = "off";
        desc.allocator = &allocator;
        pel_runtime *runtime;
        pel_queue *queue;
        pel_buffer *buffer;
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
        assert_int_equal(pel_buffer_create(runtime, 100, &buffer, NULL), PEL_OK);
        memory.fail_at = atomic_load(&memory.calls) + site;
        const pel_status filled = pel_fill(queue, buffer, 0, 100, "\7", 1, NULL, NULL);
        pel_mapping *mapping = NULL;
        void *bytes;
        if (pel_map(queue, buffer, 0, 100, PEL_MAP_READ, NULL, &mapping) == PEL_OK &&
            pel_map_wait(mapping, &bytes) == PEL_OK) {
            assert_int_equal(*(const char *)bytes, filled == PEL_OK ? 7 : 0);
        }
        pel_mapping_destroy(mapping);
        (void)!pel_queue_finish(queue);
        injected = atomic_load(&memory.calls) >= memory.fail_at;
        pel_buffer_destroy(buffer);
        pel_queue_destroy(queue);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
        assert_int_equal(atomic_load(&memory.live), 0);
    }
    assert_false(injected);
}

enum { PLACES = 44, STRIDE = 64, PLACE = 8 };

static pel_status do_nothing(void *context) {
    (void)context;
    return PEL_OK;
}

/* Whether a task that reads the place ran. */
static bool can_read(pel_queue *queue, pel_buffer *buffer, uint64_t at, uint64_t bytes) {
    const pel_access read = PEL_ACCESS(buffer, at, bytes, PEL_READ);
    pel_event *event = NULL;
    assert_int_equal(pel_task(queue, do_nothing, NULL, &read, 1, NULL, &event), PEL_OK);
    const pel_status status = pel_event_wait(event);
    assert_true(status == PEL_OK || status == PEL_DEPENDENCY_FAILED);
    pel_event_release(event);
    return status == PEL_OK;
}

/* A task that writes many places, as a node alone or as a command, whose memory fails once. Returns whether it did. */
static bool write_many_without_memory(counted *memory, pel_queue *queue, pel_buffer *buffer, bool as_command, long site,
                                      unsigned *lost) {
    pel_access accesses[PLACES];
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    pel_event *event = NULL;
    desc.name = as_command ? "writes many" : NULL;
    for (uint64_t i = 0; i < PLACES; i++) {
        accesses[i] = (pel_access)PEL_ACCESS(buffer, i * STRIDE, PLACE, PEL_WRITE);
    }
    memory->fail_at = atomic_load(&memory->calls) + site;
    const pel_status submitted = pel_task(queue, do_nothing, NULL, accesses, PLACES, &desc, &event);
    const bool injected = atomic_load(&memory->calls) >= memory->fail_at;
    memory->fail_at = 0;
    const bool wrote = submitted != PEL_OK || pel_event_wait(event) == PEL_OK;
    pel_event_release(event);
    for (uint64_t i = 0; i < PLACES; i++) {
        assert_int_equal(can_read(queue, buffer, i * STRIDE, PLACE), wrote);
        assert_true(can_read(queue, buffer, i * STRIDE + PLACE, PLACE)); /* and nothing beside it is lost */
    }
    *lost += !wrote;
    assert_int_equal(pel_fill(queue, buffer, 0, PLACES / 2 * STRIDE, "\1", 1, NULL, NULL), PEL_OK);
    for (uint64_t i = 0; i < PLACES; i++) { /* until it is overwritten */
        assert_int_equal(can_read(queue, buffer, i * STRIDE, PLACE), wrote || i < PLACES / 2);
    }
    assert_int_equal(pel_queue_reset(queue), PEL_OK); /* or forgiven */
    assert_true(can_read(queue, buffer, 0, PLACES * STRIDE));
    return injected;
}

/* Where a later access of a command finds no memory, what it should have written there is as undefined as what was noted. */
static void test_no_memory_for_a_later_access(void **state) {
    (void)state;
    for (int as_command = 0; as_command < 2; as_command++) {
        bool injected = true;
        unsigned lost = 0;
        for (long site = 1; injected && site < 200; site++) {
            counted memory = {0};
            const pel_allocator allocator = {counted_reallocate, &memory};
            pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
            desc.devices = "host";
            desc.history = "off";
            desc.host_workers = 1;
            desc.allocator = &allocator;
            pel_runtime *runtime;
            pel_queue *queue;
            pel_buffer *buffer;
            assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
            assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
            assert_int_equal(pel_buffer_create(runtime, PLACES * STRIDE, &buffer, NULL), PEL_OK);
            injected = write_many_without_memory(&memory, queue, buffer, as_command != 0, site, &lost);
            pel_buffer_destroy(buffer);
            pel_queue_destroy(queue);
            assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
            assert_int_equal(atomic_load(&memory.live), 0);
        }
        assert_false(injected);
        assert_true(lost > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_bytes_are_not_read),
        cmocka_unit_test(test_readers_that_waited_do_not_read_lost_bytes),
        cmocka_unit_test(test_overwriting_lost_bytes_makes_them_valid),
        cmocka_unit_test(test_reset_gives_lost_wraps_back),
        cmocka_unit_test(test_no_memory_leaves_no_stale_bytes),
        cmocka_unit_test(test_no_memory_for_a_later_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
