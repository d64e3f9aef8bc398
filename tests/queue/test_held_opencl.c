/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Very short launches are held until all that are queued have been enqueued (backend/opencl/train.c). One work among them may
 * have more commands than there is room for, so that some must have ended before the rest is enqueued: then what is held must
 * begin. And where nobody waits, all begin by themselves.
 */
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { ITEMS = 64, MORE = 100, BATCH = 500, BATCHES = 12, WARM = 4, FIRST = 3, ROW = 64, ROUNDS = 10, LOOKS = 100000 };

static const char source[] = "kernel void count(global uint *launches) { launches[get_global_id(0)]++; }\n"
                             "kernel void slow(global uint *launches) { uint x = launches[get_global_id(0)];\n"
                             "    for (uint i = 0; i < SLOW; i++) { x = x * 3 + 1; if (x == 7) x++; }\n"
                             "    launches[get_global_id(0)] = x; }\n";

typedef struct world {
    pel_runtime *runtime;
    pel_program *program;
    pel_kernel *count, *slow;
    pel_queue *queue;
    pel_buffer *buffer, *aside;
} world;

static pel_kernel *make_kernel(const world *w, const char *entry) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel;
    desc.entry = entry;
    desc.params = params;
    desc.param_count = 1;
    assert_int_equal(pel_kernel_create(w->program, &desc, &kernel, NULL), PEL_OK);
    return kernel;
}

static bool begin(world *w, const char *devices) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    desc.devices = devices;
    desc.history = "off";
    if (pel_runtime_create(&desc, &w->runtime, NULL) != PEL_OK) {
        return false;
    }
    program.source = source;
    program.options = "-DSLOW=300000u";
    assert_int_equal(pel_queue_create(w->runtime, NULL, &w->queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(w->runtime, &program, &w->program, NULL), PEL_OK);
    w->count = make_kernel(w, "count");
    w->slow = make_kernel(w, "slow");
    assert_int_equal(pel_buffer_create(w->runtime, MORE * sizeof(uint32_t), &w->buffer, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(w->runtime, MORE * sizeof(uint32_t), &w->aside, NULL), PEL_OK);
    memset(pel_buffer_data(w->buffer), 0, MORE * sizeof(uint32_t));
    memset(pel_buffer_data(w->aside), 0, MORE * sizeof(uint32_t));
    return true;
}

static void end(world *w) {
    pel_queue_destroy(w->queue);
    pel_buffer_destroy(w->buffer);
    pel_buffer_destroy(w->aside);
    pel_kernel_destroy(w->count);
    pel_kernel_destroy(w->slow);
    pel_program_destroy(w->program);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

static void launch(const world *w, pel_kernel *kernel, pel_buffer *buffer, uint32_t items, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(buffer)};
    desc.global[0] = items;
    assert_int_equal(pel_launch(w->queue, kernel, &desc, args, 1, event), PEL_OK);
}

static void *wait_for(void *event) {
    return pel_event_wait(event) == PEL_OK ? event : NULL;
}

/* Each round makes the device's pace known, then so many launches come that nobody waits for. */
static void test_nobody_waits(void **state) {
    static const uint32_t rows[] = {1, 2, 3, 15, 17, 40, 700, 3000};
    const struct timespec moment = {.tv_nsec = 200000};
    world w;
    uint32_t launches = 0;
    (void)state;
    if (!begin(&w, "opencl:0")) {
        skip();
    }
    const uint32_t *counts = pel_buffer_data(w.buffer);
    for (size_t round = 0; round < 3 * sizeof rows / sizeof *rows; round++) {
        const uint32_t row = rows[round % (sizeof rows / sizeof *rows)];
        for (int i = 0; i < BATCHES; i++, launches += BATCH) {
            for (int k = 0; k < BATCH; k++) {
                launch(&w, w.count, w.buffer, ITEMS, NULL);
            }
            assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        }
        pel_event *event = NULL;
        for (uint32_t i = 0; i < row; i++, launches++) {
            launch(&w, w.count, w.buffer, ITEMS, i + 1 == row ? &event : NULL);
        }
        for (int i = 0; i < LOOKS && pel_event_get_state(event) != PEL_EVENT_COMPLETE; i++) {
            (void)nanosleep(&moment, NULL);
        }
        assert_int_equal(pel_event_get_state(event), PEL_EVENT_COMPLETE);
        pel_event_release(event);
        for (uint32_t i = 0; i < ITEMS; i++) {
            assert_int_equal(counts[i], launches);
        }
    }
    end(&w);
}

/* While launches ride, others' bytes are brought home, which is no launch. */
static void test_transfers_come_behind(void **state) {
    world w;
    uint32_t counts[ITEMS] = {0}, others[ITEMS] = {0}, launches = 0;
    pel_buffer *wrapped, *other;
    (void)state;
    if (!begin(&w, "opencl:0[own]")) {
        skip();
    }
    assert_int_equal(pel_buffer_wrap(w.runtime, counts, sizeof counts, &wrapped), PEL_OK);
    assert_int_equal(pel_buffer_wrap(w.runtime, others, sizeof others, &other), PEL_OK);
    for (uint32_t i = 1; i <= 4 * BATCHES; i++, launches += BATCH) {
        pel_mapping *mapping;
        void *memory;
        launch(&w, w.count, other, ITEMS, NULL);
        for (int k = 0; k < BATCH; k++) {
            launch(&w, w.count, wrapped, ITEMS, NULL);
        }
        assert_int_equal(pel_map(w.queue, other, 0, 0, PEL_MAP_READ, NULL, &mapping), PEL_OK);
        assert_int_equal(pel_map_wait(mapping, &memory), PEL_OK);
        assert_int_equal(((const uint32_t *)memory)[ITEMS - 1], i);
        pel_mapping_destroy(mapping);
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        assert_int_equal(counts[0], launches + BATCH);
    }
    pel_buffer_destroy(wrapped);
    pel_buffer_destroy(other);
    end(&w);
}

/* Launches of 100 items are two commands each, those of 64 one: so many as fit of the latter. */
static void test_more_than_fits(void **state) {
    world w;
    const struct timespec moment = {.tv_nsec = 3000000};
    uint32_t first = 0, rest = 0;
    (void)state;
    if (!begin(&w, "opencl:0")) {
        skip();
    }
    const uint32_t *counts = pel_buffer_data(w.buffer);
    for (int i = 0; i < WARM; i++, first++, rest++) {
        launch(&w, w.slow, w.aside, ITEMS, NULL);
        launch(&w, w.count, w.buffer, MORE, NULL);
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BATCHES; i++, first += BATCH) {
            for (int k = 0; k < BATCH; k++) {
                launch(&w, w.count, w.buffer, ITEMS, NULL);
            }
            assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        }
        pel_event *event;
        pthread_t waiter;
        void *waited;
        launch(&w, w.slow, w.aside, ITEMS, &event);
        assert_int_equal(pthread_create(&waiter, NULL, wait_for, event), 0);
        (void)nanosleep(&moment, NULL); /* it waits in the driver, so that the next ones queue up */
        for (int i = 0; i < FIRST; i++, first++) {
            launch(&w, w.count, w.buffer, ITEMS, NULL);
        }
        for (int i = 0; i < ROW; i++, first++, rest++) {
            launch(&w, w.count, w.buffer, MORE, NULL);
        }
        assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
        assert_int_equal(pthread_join(waiter, &waited), 0);
        assert_ptr_equal(waited, event);
        pel_event_release(event);
        for (uint32_t i = 0; i < MORE; i++) {
            assert_int_equal(counts[i], i < ITEMS ? first : rest);
        }
    }
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_more_than_fits), cmocka_unit_test(test_nobody_waits),
                                       cmocka_unit_test(test_transfers_come_behind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
