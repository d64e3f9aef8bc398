/* SPDX-License-Identifier: BSD-3-Clause */
/* Priorities of host tasks, their own and their queue's: whatever was submitted before, the higher ones run first. One worker. */
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>
#include <time.h>

enum { TASKS = 60 };

typedef struct row {
    atomic_bool begun, open;
    atomic_int count;
    int order[TASKS];
} row;

typedef struct item {
    row *to;
    int priority;
} item;

static pel_status hold(void *context) {
    row *r = context;
    const struct timespec nap = {0, 100000};
    atomic_store(&r->begun, true);
    while (!atomic_load(&r->open)) {
        nanosleep(&nap, NULL);
    }
    return PEL_OK;
}

static pel_status note(void *context) {
    const item *i = context;
    i->to->order[atomic_load(&i->to->count)] = i->priority;
    atomic_fetch_add(&i->to->count, 1);
    return PEL_OK;
}

/* The one worker holds a task while the others are submitted; nobody helps it, because nobody waits. */
static void run(int first, int step, bool of_queue) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_queue *queues[3];
    item items[TASKS];
    row r = {.begun = false};
    const struct timespec nap = {0, 100000};
    desc.devices = "host";
    desc.host_workers = 1;
    desc.history = "off";
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    for (int q = 0; q < 3; q++) {
        pel_queue_desc how = PEL_QUEUE_DESC_INIT;
        how.priority = of_queue ? first + q * step : 0;
        assert_int_equal(pel_queue_create(runtime, &how, &queues[q], NULL), PEL_OK);
    }
    assert_int_equal(pel_task(queues[0], hold, &r, NULL, 0, NULL, NULL), PEL_OK);
    while (!atomic_load(&r.begun)) {
        nanosleep(&nap, NULL);
    }
    for (int i = 0; i < TASKS; i++) {
        pel_task_desc how = PEL_TASK_DESC_INIT;
        items[i] = (item){&r, first + i % 3 * step};
        how.priority = of_queue ? 0 : items[i].priority;
        assert_int_equal(pel_task(queues[i % 3], note, &items[i], NULL, 0, &how, NULL), PEL_OK);
    }
    atomic_store(&r.open, true);
    while (atomic_load(&r.count) < TASKS) {
        nanosleep(&nap, NULL);
    }
    for (int q = 0; q < 3; q++) {
        assert_int_equal(pel_queue_destroy(queues[q]), PEL_OK);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    for (int i = 1; i < TASKS; i++) {
        assert_true(r.order[i] <= r.order[i - 1]);
    }
}

static void test_of_tasks(void **state) {
    (void)state;
    run(0, 1, false);
    run(-2, 1, false);
    run(-1, 2, false);
}

static void test_of_queues(void **state) {
    (void)state;
    run(0, 1, true);
    run(-2, 1, true);
}

int main(void) {
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_of_tasks), cmocka_unit_test(test_of_queues)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
