/* SPDX-License-Identifier: BSD-3-Clause */
/* Bare tasks that travel together keep what each of them is promised: order, being reached, failures, children, other queues. */
#include "machines.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/barrier.h"
#include <pel/pel.h>

enum { SHORT = 3000, PACK = 60, MINUTE = 60 };

static pel_runtime *runtime;
static pel_queue *queue;

static void open_with(uint32_t workers) {
    runtime = machine_host(workers);
    queue = machine_queue(runtime);
}

static void close_all(void) {
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void submit(pel_task_fn function, void *context) {
    assert_int_equal(pel_task(queue, function, context, NULL, 0, NULL, NULL), PEL_OK);
}

static pel_status add_one(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
    return PEL_OK;
}

/* Without waiting for a command: the caller's thread would run tasks itself. */
static bool comes_to(atomic_int *count, int wanted) {
    const time_t late = time(NULL) + MINUTE;
    while (atomic_load(count) < wanted && time(NULL) < late) {
        sched_yield();
    }
    return atomic_load(count) >= wanted;
}

/* Runners learn that tasks are short and take as many as they can. */
static void run_short_ones(void) {
    atomic_int count = 0;
    for (int i = 0; i < SHORT; i++) {
        submit(add_one, &count);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&count), SHORT);
}

typedef struct gate {
    atomic_int inside, open;
} gate;

static pel_status wait_at(void *context) {
    gate *at = context;
    const time_t late = time(NULL) + MINUTE;
    atomic_fetch_add(&at->inside, 1);
    while (!atomic_load(&at->open) && time(NULL) < late) {
        sched_yield();
    }
    return atomic_load(&at->open) ? PEL_OK : PEL_TIMED_OUT;
}

static pel_status open_it(void *context) {
    atomic_store(&((gate *)context)->open, 1);
    return PEL_OK;
}

/* Within one pack, with one worker and a caller that does not help; beyond it nothing is promised. */
static atomic_int at_number, out_of_order;

static pel_status in_order(void *context) {
    if (atomic_fetch_add(&at_number, 1) != (int)(intptr_t)context) {
        atomic_fetch_add(&out_of_order, 1);
    }
    return PEL_OK;
}

static void test_one_worker_keeps_the_order_of_a_pack(void **state) {
    (void)state;
    if (!pel_barrier_prepare()) {
        skip(); /* no bare tasks, no packs */
    }
    open_with(1);
    for (int round = 0; round < 10; round++) {
        gate at = {0};
        run_short_ones();
        atomic_store(&at_number, 0);
        submit(wait_at, &at);
        assert_true(comes_to(&at.inside, 1));
        for (int i = 0; i < PACK; i++) {
            submit(in_order, (void *)(intptr_t)i);
        }
        (void)open_it(&at);
        assert_true(comes_to(&at_number, PACK));
        assert_int_equal(atomic_load(&out_of_order), 0);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
    }
    close_all();
}

/* A task waits for one that was submitted behind it: as long as another worker has nothing to do, that one runs. */
static void test_what_is_behind_a_long_task_is_reached(void **state) {
    (void)state;
    open_with(3);
    for (int round = 0; round < 20; round++) {
        gate at[2] = {{0}};
        atomic_int count = 0;
        run_short_ones();
        for (int i = 0; i < 40; i++) { /* submitted while nobody takes them */
            submit(i == 5 || i == 20 ? wait_at : i == 39 ? open_it : add_one,
                   i == 5 ? &at[0] : i == 20 ? &at[1] : i == 39 ? &at[round % 2] : (void *)&count);
        }
        assert_true(comes_to(&count, 37));
        assert_true(comes_to(&at[round % 2].open, 1));
        (void)open_it(&at[1 - round % 2]);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
    }
    close_all();
}

static pel_status fail_with(void *context) { return (pel_status)(intptr_t)context; }

static void test_the_first_failure_in_order_is_told(void **state) {
    (void)state;
    open_with(2);
    for (int round = 0; round < 10; round++) {
        atomic_int count = 0;
        run_short_ones();
        for (int i = 0; i < 60; i++) {
            submit(i == 30 || i == 50 ? fail_with : add_one,
                   i == 30 ? (void *)(intptr_t)PEL_IO : i == 50 ? (void *)(intptr_t)PEL_BUSY : (void *)&count);
        }
        assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
        assert_int_equal(atomic_load(&count), 58);
        pel_error *error = pel_queue_error(queue);
        assert_non_null(strstr(pel_error_story(error), pel_status_name(PEL_IO)));
        pel_error_destroy(error);
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
    }
    close_all();
}

/* Tasks that submit: some leave their children behind, some wait for one of them, one has a child that fails. */
typedef struct family {
    atomic_int children;
    int number;
} family;

static pel_status have_children(void *context) {
    family *f = context;
    pel_event *event = NULL;
    pel_status status = pel_task(queue, add_one, &f->children, NULL, 0, NULL, NULL);
    if (status == PEL_OK) {
        status = pel_task(queue, add_one, &f->children, NULL, 0, NULL, f->number % 3 == 0 ? &event : NULL);
    }
    if (status == PEL_OK && event) {
        status = pel_event_wait(event);
        pel_event_release(event);
    }
    return status;
}

static void test_tasks_of_a_pack_have_children(void **state) {
    (void)state;
    enum { FAMILIES = 300 };
    static family all[FAMILIES];
    open_with(2);
    run_short_ones();
    for (int i = 0; i < FAMILIES; i++) {
        all[i].number = i;
        submit(have_children, &all[i]);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    for (int i = 0; i < FAMILIES; i++) {
        assert_int_equal(atomic_load(&all[i].children), 2);
    }
    close_all();
}

/* A task waits, inside, for an event that only a task behind it in its pack raises; there is one worker. */
static pel_event *raised;

static pel_status wait_for_it(void *context) {
    (void)context;
    return pel_event_wait(raised);
}

static pel_status raise_it(void *context) {
    (void)context;
    return pel_event_set_status(raised, PEL_OK);
}

static void test_who_waits_inside_runs_the_rest_of_its_pack(void **state) {
    (void)state;
    open_with(1);
    for (int round = 0; round < 20; round++) {
        atomic_int count = 0;
        gate at = {0};
        run_short_ones();
        assert_int_equal(pel_event_create_user(runtime, &raised, NULL), PEL_OK);
        submit(wait_at, &at);
        for (int i = 0; i < 50; i++) {
            submit(i == 10 ? wait_for_it : i == 40 ? raise_it : add_one, &count);
        }
        (void)open_it(&at);
        assert_true(comes_to(&count, 48));
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        pel_event_release(raised);
    }
    close_all();
}

/* Several threads, two queues in turns, events and markers between, some tasks that give their core away. */
enum { SUBMITTERS = 3, ROUNDS = 40 };
static pel_queue *second;
static atomic_int done;

static pel_status pause_and_add(void *context) {
    const struct timespec moment = {0, 50000};
    (void)nanosleep(&moment, NULL);
    return add_one(context);
}

static void *submit_mixed(void *argument) {
    const uintptr_t me = (uintptr_t)argument;
    uintptr_t refused = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 100; i++) {
            pel_queue *to = (i / 7) % 2 ? second : queue;
            pel_event *event = NULL;
            const bool slow = (i + me + round) % 97 == 0, awaited = i % 31 == 30;
            refused += pel_task(to, slow ? pause_and_add : add_one, &done, NULL, 0, NULL, awaited ? &event : NULL) != PEL_OK;
            if (event) {
                refused += round % 8 == 0 && pel_event_wait(event) != PEL_OK;
                pel_event_release(event);
            }
        }
        if (round % 10 == me) {
            refused += pel_queue_finish(second) != PEL_OK;
        }
    }
    return (void *)refused;
}

static void test_many_submitters(void **state) {
    (void)state;
    pthread_t threads[SUBMITTERS];
    open_with(2);
    second = machine_queue(runtime);
    for (uintptr_t i = 0; i < SUBMITTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, submit_mixed, (void *)i), 0);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        void *refused;
        assert_int_equal(pthread_join(threads[i], &refused), 0);
        assert_null(refused);
    }
    assert_int_equal(pel_queue_destroy(second), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&done), SUBMITTERS * ROUNDS * 100);
    close_all();
}

/* Whoever saw a group stand still may come only when the queue, and what its tasks were made of, is gone. */
static void test_a_runtime_goes_behind_a_relieved_group(void **state) {
    (void)state;
    for (int round = 0; round < 30; round++) {
        atomic_int count = 0;
        open_with(4);
        for (int i = 0; i < 300; i++) {
            submit(i > 250 && i % 10 == 0 ? pause_and_add : add_one, &count);
        }
        close_all();
        assert_int_equal(atomic_load(&count), 300);
    }
}

/* Tasks that were taken in are run whether there is memory by then or not; what they submit is refused. */
static atomic_bool starved;

static void *reallocate(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return atomic_load(&starved) ? NULL : realloc(pointer, bytes);
}

static pel_status have_child_if_possible(void *context) {
    const pel_status status = pel_task(queue, add_one, context, NULL, 0, NULL, NULL);
    return status == PEL_OUT_OF_MEMORY ? add_one(context) : PEL_BUSY;
}

static void test_running_needs_no_memory(void **state) {
    (void)state;
    enum { MANY = 2000 };
    const pel_allocator allocator = {reallocate, NULL};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    gate at = {0};
    atomic_int count = 0;
    desc.devices = "host";
    desc.host_workers = 1;
    desc.allocator = &allocator;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    queue = machine_queue(runtime);
    submit(wait_at, &at);
    assert_true(comes_to(&at.inside, 1));
    for (int i = 0; i < MANY; i++) {
        submit(i % 10 == 0 ? have_child_if_possible : add_one, &count);
    }
    atomic_store(&starved, true);
    (void)open_it(&at);
    assert_true(comes_to(&count, MANY));
    pel_status status = PEL_OK;
    for (int i = 0; i < 2000 && status == PEL_OK; i++) { /* until the pages that are left are full */
        status = pel_task(queue, add_one, &count, NULL, 0, NULL, NULL);
    }
    assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
    atomic_store(&starved, false);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    close_all();
}

/* One thread, more queues than it can have feeds, in turns; all of them go and come again. */
static void test_more_queues_than_feeds(void **state) {
    (void)state;
    enum { QUEUES = 40, TURNS = 50 };
    pel_queue *queues[QUEUES];
    open_with(2);
    for (int round = 0; round < 3; round++) {
        atomic_int count = 0;
        for (int i = 0; i < QUEUES; i++) {
            queues[i] = machine_queue(runtime);
        }
        for (int i = 0; i < TURNS * QUEUES; i++) {
            assert_int_equal(pel_task(queues[i % QUEUES], add_one, &count, NULL, 0, NULL, NULL), PEL_OK);
        }
        for (int i = 0; i < QUEUES; i++) {
            assert_int_equal(pel_queue_destroy(queues[i]), PEL_OK);
        }
        assert_int_equal(atomic_load(&count), TURNS * QUEUES);
    }
    close_all();
}

enum { VISITORS = 40 };

static void *visit(void *count) {
    submit(add_one, count);
    submit(add_one, count);
    return NULL;
}

/* Nobody tells when a thread ends, so more threads than feeds come in time; a queue that goes frees its feeds. */
static void test_threads_come_and_go(void **state) {
    atomic_int count = 0;
    (void)state;
    open_with(2);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < VISITORS; i++) {
            pthread_t visitor;
            assert_int_equal(pthread_create(&visitor, NULL, visit, &count), 0);
            assert_int_equal(pthread_join(visitor, NULL), 0);
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&count), (round + 1) * 2 * VISITORS);
        assert_int_equal(pel_queue_destroy(queue), PEL_OK);
        queue = machine_queue(runtime);
    }
    close_all();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_worker_keeps_the_order_of_a_pack),
                                       cmocka_unit_test(test_what_is_behind_a_long_task_is_reached),
                                       cmocka_unit_test(test_the_first_failure_in_order_is_told),
                                       cmocka_unit_test(test_tasks_of_a_pack_have_children),
                                       cmocka_unit_test(test_who_waits_inside_runs_the_rest_of_its_pack),
                                       cmocka_unit_test(test_many_submitters),
                                       cmocka_unit_test(test_running_needs_no_memory),
                                       cmocka_unit_test(test_more_queues_than_feeds),
                                       cmocka_unit_test(test_threads_come_and_go),
                                       cmocka_unit_test(test_a_runtime_goes_behind_a_relieved_group)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
