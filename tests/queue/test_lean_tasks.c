/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks for whose accesses there is no memory: a part of them may be noted already, in the place of others that go on, and of
 * those whom it comes after some tell it of their failure meanwhile.
 */
#include "support/counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <pthread.h>

enum { EDGES = 140 /* more than a new pool of them has */, CELL = 64, OTHERS = 8, ROUNDS = 400 };

typedef struct lean {
    counted memory;
    pel_runtime *runtime;
    pel_queue *queue, *other;
    pel_buffer *buffer;
    pel_event *gate, *second;
} lean;

static void begin(lean *l, uint32_t workers) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    static pel_allocator allocator;
    *l = (lean){.runtime = NULL};
    allocator = (pel_allocator){counted_reallocate, &l->memory};
    desc.devices = "host";
    desc.history = "off";
    desc.host_workers = workers;
    desc.allocator = &allocator;
    assert_int_equal(pel_runtime_create(&desc, &l->runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(l->runtime, NULL, &l->queue, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(l->runtime, NULL, &l->other, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(l->runtime, 16 * CELL, &l->buffer, NULL), PEL_OK);
    assert_int_equal(pel_event_create_user(l->runtime, &l->gate, NULL), PEL_OK);
    assert_int_equal(pel_event_create_user(l->runtime, &l->second, NULL), PEL_OK);
}

static void end(lean *l) {
    pel_event_release(l->gate);
    pel_event_release(l->second);
    assert_int_equal(pel_buffer_destroy(l->buffer), PEL_OK);
    (void)pel_queue_destroy(l->queue);
    (void)pel_queue_destroy(l->other);
    assert_int_equal(pel_runtime_destroy(l->runtime), PEL_OK);
    assert_int_equal(atomic_load(&l->memory.live), 0);
}

static void take_memory(lean *l) {
    l->memory.for_ever = true;
    atomic_store(&l->memory.fail_at, 1);
}

static void give_memory(lean *l) { atomic_store(&l->memory.fail_at, 0); }

static atomic_uint turn;

static pel_status take_turn(void *context) {
    *(unsigned *)context = atomic_fetch_add(&turn, 1) + 1;
    return PEL_OK;
}

static pel_status do_nothing(void *context) {
    (void)context;
    return PEL_OK;
}

/* What a worker had before it was noted is done. */
static void let_others_run(lean *l) {
    for (int i = 0; i < OTHERS; i++) {
        unsigned at;
        pel_event *event = NULL;
        assert_int_equal(pel_task(l->other, take_turn, &at, NULL, 0, NULL, &event), PEL_OK);
        assert_int_equal(pel_event_wait(event), PEL_OK);
        pel_event_release(event);
    }
}

/* So many places of the pool of edges are taken, by who waits for both gates, and for one again and
 * again. False: there are fewer. */
static bool take_edges(lean *l, uint32_t count) {
    const pel_event *waits[EDGES + 1];
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    for (uint32_t i = 0; i <= count; i++) {
        waits[i] = i == 0 ? l->gate : l->second;
    }
    desc.waits = waits;
    desc.wait_count = count + 1;
    return pel_task(l->other, do_nothing, NULL, NULL, 0, &desc, NULL) == PEL_OK;
}

/*
 * A reader of one place, which it keeps busy, and writer of another; who writes the first and reads the second is noted in the
 * first alone, because the second needs a record. Who writes the first after that comes after the reader all the same.
 */
static bool order_with_edges(uint32_t edges, unsigned *refused, unsigned *failed) {
    static lean l;
    unsigned reader = 0, task = 0, writer = 0;
    begin(&l, 1);
    pel_task_desc behind = PEL_TASK_DESC_INIT;
    const pel_event *gate = l.gate;
    behind.waits = &gate;
    behind.wait_count = 1;
    const pel_access first[] = {PEL_ACCESS(l.buffer, 0, CELL, PEL_READ), PEL_ACCESS(l.buffer, 8 * CELL, CELL, PEL_WRITE)},
                     then[] = {PEL_ACCESS(l.buffer, 0, CELL, PEL_WRITE), PEL_ACCESS(l.buffer, 8 * CELL, CELL, PEL_READ)};
    atomic_store(&turn, 0);
    assert_int_equal(pel_task(l.queue, take_turn, &reader, first, 2, &behind, NULL), PEL_OK);
    assert_true(take_edges(&l, 1)); /* now there are some */
    take_memory(&l);
    const bool more = take_edges(&l, edges);
    const pel_status status = pel_task(l.queue, take_turn, &task, then, 2, NULL, NULL);
    give_memory(&l);
    assert_int_equal(pel_task(l.queue, take_turn, &writer, then, 1, NULL, NULL), PEL_OK);
    let_others_run(&l);
    assert_int_equal(writer, 0);
    assert_int_equal(pel_event_set_status(l.gate, PEL_OK), PEL_OK);
    assert_int_equal(pel_event_set_status(l.second, PEL_OK), PEL_OK);
    assert_int_equal(pel_queue_finish(l.other), PEL_OK);
    assert_int_equal(pel_queue_finish(l.queue), status == PEL_OK && task == 0 ? PEL_OUT_OF_MEMORY : PEL_OK);
    if (reader == 0 || reader >= writer) {
        fail_msg("%u edges: the reader is %u. to run, the writer %u.", edges, reader, writer);
    }
    assert_true(status == PEL_OK || (status == PEL_OUT_OF_MEMORY && task == 0));
    *refused += status != PEL_OK;
    *failed += status == PEL_OK && task == 0;
    end(&l);
    return more;
}

static void test_a_part_that_is_noted_keeps_the_order(void **state) {
    unsigned refused = 0, failed = 0;
    (void)state;
    uint32_t edges = 0;
    while (order_with_edges(edges, &refused, &failed)) {
        assert_true(++edges < EDGES);
    }
    print_message("%u refused, %u failed of %u\n", refused, failed, edges + 1);
    assert_true(refused > 0 && failed > 0);
}

static void *fail_second(void *context) {
    const lean *l = context;
    atomic_store(&turn, 1);
    (void)pel_event_set_status(l->second, PEL_TASK_FAILED);
    return NULL;
}

/* Who waits for an event that fails while there is no memory for the record of what it reads: either is a reason, told once. */
static void test_a_failure_meanwhile_is_told_once(void **state) {
    (void)state;
    unsigned orderless = 0, told = 0;
    for (int round = 0; round < ROUNDS; round++) {
        static lean l;
        unsigned reader = 0, task = 0;
        pthread_t thread;
        begin(&l, 1);
        const pel_event *gate = l.gate, *second = l.second;
        pel_task_desc behind = PEL_TASK_DESC_INIT;
        pel_event *event = NULL;
        const pel_access read = PEL_ACCESS(l.buffer, 0, CELL, PEL_READ);
        behind.wait_count = 1;
        behind.waits = &gate;
        assert_int_equal(pel_task(l.queue, take_turn, &reader, &read, 1, &behind, NULL), PEL_OK);
        atomic_store(&turn, 0);
        assert_int_equal(pthread_create(&thread, NULL, fail_second, &l), 0);
        while (atomic_load(&turn) == 0) {
        }
        behind.waits = &second;
        atomic_store(&l.memory.fail_at, atomic_load(&l.memory.calls) + 1 + round % 4);
        const pel_status status = pel_task(l.queue, take_turn, &task, &read, 1, &behind, &event);
        assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
        assert_int_equal(pthread_join(thread, NULL), 0);
        give_memory(&l);
        assert_int_equal(pel_event_set_status(l.gate, PEL_OK), PEL_OK);
        if (status == PEL_OK) {
            const pel_status ended = pel_event_wait(event);
            assert_true(ended == PEL_OUT_OF_MEMORY || ended == PEL_DEPENDENCY_FAILED);
            orderless += ended == PEL_OUT_OF_MEMORY;
            told += ended == PEL_DEPENDENCY_FAILED;
        }
        assert_int_equal(task, 0);
        pel_event_release(event);
        end(&l);
    }
    print_message("%u had no memory, %u were told of a failure\n", orderless, told);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_part_that_is_noted_keeps_the_order),
                                       cmocka_unit_test(test_a_failure_meanwhile_is_told_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
