/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PEL_QUEUE_OLDEST_FIRST: which of the tasks that a worker has made ready it takes next. One worker, and a caller that waits
 * without taking part, so the order is certain: a gate makes several ready, and each of these one more. Without the flag, too:
 * those that one task makes ready come in the order of their submission. And with several workers, that everything is run once,
 * as ever.
 */
#include "machines.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include <pel/pel.h>

enum { WIDE = 5, CELL = 64, TASKS = 1 + 2 * WIDE, MANY = 20000, CHAINS = 64 };

static atomic_bool open;
static atomic_uint ran;
static unsigned order[TASKS];
static unsigned char memory[(1 + WIDE) * CELL];
static uint64_t chains[CHAINS * 8];

static pel_status run(void *context) {
    const unsigned number = (unsigned)(uintptr_t)context;
    while (number == 0 && !atomic_load(&open)) {
        sched_yield();
    }
    order[atomic_load(&ran)] = number;
    atomic_fetch_add(&ran, 1);
    return PEL_OK;
}

static pel_queue *queue_on(pel_runtime *runtime, uint32_t flags) {
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    pel_queue *queue = NULL;
    desc.flags = flags;
    assert_int_equal(pel_queue_create(runtime, &desc, &queue, NULL), PEL_OK);
    return queue;
}

/* Where in the order the last of the first ones is. */
static unsigned run_all(uint32_t flags) {
    pel_runtime *runtime = machine_host(1);
    pel_queue *queue = queue_on(runtime, flags);
    pel_buffer *buffer;
    unsigned last = 0;
    atomic_store(&open, false);
    atomic_store(&ran, 0);
    assert_int_equal(pel_buffer_wrap(runtime, memory, sizeof memory, &buffer), PEL_OK);
    pel_access access = PEL_ACCESS(buffer, 0, CELL, PEL_WRITE);
    assert_int_equal(pel_task(queue, run, NULL, &access, 1, NULL, NULL), PEL_OK);
    for (uintptr_t i = 1; i <= WIDE; i++) {
        const pel_access both[] = {PEL_ACCESS(buffer, 0, CELL, PEL_READ), PEL_ACCESS(buffer, i * CELL, CELL, PEL_WRITE)};
        assert_int_equal(pel_task(queue, run, (void *)i, both, 2, NULL, NULL), PEL_OK);
    }
    for (uintptr_t i = 1; i <= WIDE; i++) {
        access = (pel_access)PEL_ACCESS(buffer, i * CELL, CELL, PEL_READ_WRITE);
        assert_int_equal(pel_task(queue, run, (void *)(WIDE + i), &access, 1, NULL, NULL), PEL_OK);
    }
    atomic_store(&open, true);
    while (atomic_load(&ran) < TASKS) {
        sched_yield();
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    for (unsigned i = 0; i < TASKS; i++) {
        last = order[i] <= WIDE ? i : last;
    }
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return last;
}

static void the_one_that_came_ready_first_is_next(void **state) {
    (void)state;
    assert_int_equal(run_all(PEL_QUEUE_OLDEST_FIRST), WIDE);
    assert_int_equal(run_all(0), 2 * WIDE - 1); /* each is followed by what it made ready */
}

static void what_one_makes_ready_comes_as_it_was_submitted(void **state) {
    (void)state;
    (void)run_all(0);
    assert_int_equal(order[0], 0);
    for (unsigned i = 1; i <= WIDE; i++) {
        assert_int_equal(order[2 * i - 1], i);
        assert_int_equal(order[2 * i], WIDE + i);
    }
}

static pel_status add(void *context) {
    uint64_t *sum = context;
    *sum = *sum * 3 + 1; /* not atomic: they follow each other */
    return PEL_OK;
}

static void all_are_run_once_and_in_their_order(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(3);
    pel_queue *queue = queue_on(runtime, PEL_QUEUE_OLDEST_FIRST | PEL_QUEUE_UNTIMED);
    pel_buffer *buffer;
    uint64_t expected = 0;
    assert_int_equal(pel_buffer_wrap(runtime, chains, sizeof chains, &buffer), PEL_OK);
    for (unsigned i = 0; i < MANY; i++) {
        const unsigned chain = i % CHAINS;
        const pel_access access = PEL_ACCESS(buffer, chain * CELL, CELL, PEL_READ_WRITE);
        assert_int_equal(pel_task(queue, add, &chains[chain * 8], &access, 1, NULL, NULL), PEL_OK);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    for (unsigned i = 0; i < MANY; i += CHAINS) {
        expected = expected * 3 + 1;
    }
    for (unsigned chain = 0; chain < MANY % CHAINS; chain++) {
        assert_int_equal(chains[chain * 8], expected);
    }
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_one_that_came_ready_first_is_next),
                                       cmocka_unit_test(what_one_makes_ready_comes_as_it_was_submitted),
                                       cmocka_unit_test(all_are_run_once_and_in_their_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
