/* SPDX-License-Identifier: BSD-3-Clause */
/* The caller's executor: it is asked when there is work, no more often than it may be at once, does the work while the
 * runtime's own thread cannot, and is waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <pel/pel.h>

enum { TASKS = 500, MOST = 2 };

typedef struct call {
    void (*work)(void *argument);
    void *argument;
} call;

static atomic_int asked, running, most_at_once, ran;
static pthread_t threads[100000];
static atomic_int thread_count;

static void *call_main(void *user) {
    const call c = *(call *)user;
    free(user);
    const int now = atomic_fetch_add(&running, 1) + 1;
    for (int most = atomic_load(&most_at_once); now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now);) {
    }
    atomic_fetch_sub(&running, 1); /* before the work's end, which lets another one be asked for */
    c.work(c.argument);
    return NULL;
}

/* A thread for each: the simplest executor, and the one with the most races. */
static void submit(void *user, void (*work)(void *argument), void *argument) {
    (void)user;
    call *made = malloc(sizeof *made);
    const int number = atomic_fetch_add(&thread_count, 1);
    if (!made || number >= 100000) {
        abort();
    }
    *made = (call){work, argument};
    atomic_fetch_add(&asked, 1);
    if (pthread_create(&threads[number], NULL, call_main, made) != 0) {
        abort();
    }
}

static pel_status count(void *context) {
    (void)context;
    atomic_fetch_add(&ran, 1);
    return PEL_OK;
}

/* The runtime's only thread waits here until everything else is done, so others must have done it. */
static pel_status hold(void *context) {
    (void)context;
    while (atomic_load(&ran) < TASKS) {
        sched_yield();
    }
    return PEL_OK;
}

static void join_all(void) {
    for (int i = 0; i < atomic_load(&thread_count); i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&thread_count, 0);
}

static void test_it_works(void **state) {
    (void)state;
    const pel_executor executor = {submit, NULL, MOST, 0};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.executor = &executor;
    for (int round = 0; round < 10; round++) {
        pel_runtime *runtime = NULL;
        pel_queue *queue = NULL;
        pel_task_desc named = PEL_TASK_DESC_INIT;
        named.name = "hold"; /* for the runtime's own thread */
        atomic_store(&ran, 0);
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        assert_int_equal(pel_runtime_get_workers(runtime), 1);
        assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
        assert_int_equal(pel_task(queue, hold, NULL, NULL, 0, &named, NULL), PEL_OK);
        for (int i = 0; i < TASKS; i++) {
            assert_int_equal(pel_task(queue, count, NULL, NULL, 0, NULL, NULL), PEL_OK);
        }
        while (atomic_load(&ran) < TASKS) { /* the executor alone */
            sched_yield();
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(pel_queue_destroy(queue), PEL_OK);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
        join_all();
    }
    assert_true(atomic_load(&asked) > 0 && atomic_load(&most_at_once) <= MOST);
}

static void test_refusals(void **state) {
    (void)state;
    pel_executor executor = {NULL, NULL, 0, 0};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = "host";
    desc.executor = &executor;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_INVALID_ARGUMENT);
    executor = (pel_executor){submit, NULL, 0, 1};
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_works), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
