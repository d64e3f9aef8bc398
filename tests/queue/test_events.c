/* SPDX-License-Identifier: BSD-3-Clause */
/* User events, barriers, callbacks and cancelling: order, how far failures spread, who ends what, and races between runner and
 * canceller. */
#include "machines.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <pel/pel.h>

static pel_runtime *runtime;
static pel_queue *queue;

static int set_up(void **state) {
    (void)state;
    runtime = machine_host(3);
    queue = machine_queue(runtime);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)pel_queue_destroy(queue);
    return (int)pel_runtime_destroy(runtime);
}

static pel_event *new_event(void) {
    pel_event *event = NULL;
    assert_int_equal(pel_event_create_user(runtime, &event, NULL), PEL_OK);
    return event;
}

static pel_status count_up(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
    return PEL_OK;
}

static pel_status add_task_after(const pel_event *before, atomic_int *count, pel_event **event) {
    const pel_task_desc desc = {.size = sizeof desc, .waits = &before, .wait_count = 1};
    return pel_task(queue, count_up, count, NULL, 0, &desc, event);
}

static void test_user_event_holds_back(void **state) {
    (void)state;
    atomic_int count = 0;
    pel_event *gate = new_event(), *task = NULL;
    assert_int_equal(pel_event_status(gate), PEL_BUSY);
    assert_int_equal(add_task_after(gate, &count, &task), PEL_OK);
    assert_int_equal(pel_event_get_state(task), PEL_EVENT_SUBMITTED);
    assert_int_equal(atomic_load(&count), 0);
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    assert_int_equal(pel_event_wait(task), PEL_OK);
    assert_int_equal(atomic_load(&count), 1);
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_BUSY); /* once */
    assert_int_equal(pel_event_wait(gate), PEL_OK);
    assert_int_equal(pel_event_set_status(task, PEL_OK), PEL_INVALID_ARGUMENT);
    pel_event_release(task);
    pel_event_release(gate);
}

static void test_user_event_fails(void **state) {
    (void)state;
    atomic_int count = 0;
    pel_event *gate = new_event(), *task = NULL;
    assert_int_equal(add_task_after(gate, &count, &task), PEL_OK);
    assert_int_equal(pel_event_set_status(gate, PEL_TIMED_OUT), PEL_OK);
    assert_int_equal(pel_event_wait(task), PEL_DEPENDENCY_FAILED);
    assert_non_null(strstr(pel_error_message(pel_event_error(task)), "a user event"));
    assert_int_equal(atomic_load(&count), 0);
    assert_int_equal(pel_event_status(gate), PEL_TIMED_OUT);
    assert_int_equal(pel_queue_finish(queue), PEL_DEPENDENCY_FAILED);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    pel_event_release(task);
    pel_event_release(gate);
}

/* Nobody could end it any more. */
static void test_abandoned_user_event(void **state) {
    (void)state;
    atomic_int count = 0;
    pel_event *gate = new_event(), *task = NULL;
    assert_int_equal(pel_runtime_destroy(runtime), PEL_BUSY);
    assert_int_equal(add_task_after(gate, &count, &task), PEL_OK);
    pel_event_release(gate);
    assert_int_equal(pel_event_wait(task), PEL_DEPENDENCY_FAILED);
    assert_int_equal(atomic_load(&count), 0);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    pel_event_release(task);
}

static pel_status end_it(void *context) { return pel_event_set_status(context, PEL_OK); }

static void test_barrier_waits_for_an_event(void **state) {
    (void)state;
    atomic_int before = 0, after = 0;
    pel_event *gate = new_event(), *early = NULL, *late = NULL;
    const pel_event *waits = gate;
    const pel_task_desc desc = {.size = sizeof desc, .waits = &waits, .wait_count = 1};
    assert_int_equal(pel_task(queue, count_up, &before, NULL, 0, NULL, &early), PEL_OK);
    assert_int_equal(pel_barrier(queue, &desc, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, count_up, &after, NULL, 0, NULL, &late), PEL_OK);
    assert_int_equal(pel_event_wait(early), PEL_OK);
    assert_int_equal(pel_event_get_state(late), PEL_EVENT_SUBMITTED);
    assert_int_equal(atomic_load(&after), 0);
    pel_queue *other = NULL; /* barriers are a queue's own */
    assert_int_equal(pel_queue_create(runtime, NULL, &other, NULL), PEL_OK);
    assert_int_equal(pel_task(other, end_it, gate, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&after), 1);
    assert_int_equal(pel_queue_destroy(other), PEL_OK);
    pel_event_release(early);
    pel_event_release(late);
    pel_event_release(gate);
}

typedef struct phase {
    atomic_int *ended;
    int at_least;
    atomic_bool early;
} phase;

static pel_status check_phase(void *context) {
    phase *p = context;
    if (atomic_load(p->ended) < p->at_least) {
        atomic_store(&p->early, true);
    }
    atomic_fetch_add(p->ended, 1);
    return PEL_OK;
}

static void test_barriers_separate_phases(void **state) {
    (void)state;
    enum { PHASES = 40, TASKS = 25 };
    atomic_int ended = 0;
    static phase phases[PHASES];
    for (int i = 0; i < PHASES; i++) {
        phases[i] = (phase){.ended = &ended, .at_least = i * TASKS};
        for (int k = 0; k < TASKS; k++) {
            assert_int_equal(pel_task(queue, check_phase, &phases[i], NULL, 0, NULL, NULL), PEL_OK);
        }
        assert_int_equal(pel_barrier(queue, NULL, NULL), PEL_OK);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&ended), PHASES * TASKS);
    for (int i = 0; i < PHASES; i++) {
        assert_false(atomic_load(&phases[i].early));
    }
}

static void test_failed_barrier_stays_until_reset(void **state) {
    (void)state;
    atomic_int count = 0;
    pel_event *gate = new_event(), *task = NULL;
    const pel_event *waits = gate;
    const pel_task_desc desc = {.size = sizeof desc, .waits = &waits, .wait_count = 1};
    assert_int_equal(pel_event_set_status(gate, PEL_IO), PEL_OK);
    assert_int_equal(pel_barrier(queue, &desc, NULL), PEL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, NULL, &task), PEL_OK);
        assert_int_equal(pel_event_wait(task), PEL_DEPENDENCY_FAILED);
        pel_event_release(task);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_DEPENDENCY_FAILED);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&count), 1);
    pel_event_release(gate);
}

typedef struct told {
    pthread_t caller;
    atomic_int calls;
    pel_status status;
    pthread_t thread;
} told;

static void note_call(pel_event *watched, void *context) {
    told *t = context;
    t->status = pel_event_status(watched);
    t->thread = pthread_self();
    atomic_fetch_add(&t->calls, 1);
}

static pel_status fail_at_once(void *context) {
    (void)context;
    return PEL_IO;
}

static void test_callbacks(void **state) {
    (void)state;
    told good = {0}, bad = {0}, late = {0};
    pel_event *gate = new_event(), *failing = NULL, *done = NULL;
    assert_int_equal(pel_callback(queue, gate, note_call, &good, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, fail_at_once, NULL, NULL, 0, NULL, &failing), PEL_OK);
    assert_int_equal(pel_callback(queue, failing, note_call, &bad, &done), PEL_OK);
    assert_int_equal(pel_event_wait(done), PEL_OK); /* it ran, though what it watched failed */
    assert_int_equal(atomic_load(&bad.calls), 1);
    assert_int_equal(bad.status, PEL_TASK_FAILED);
    assert_int_equal(atomic_load(&good.calls), 0);
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    assert_int_equal(pel_callback(queue, gate, note_call, &late, NULL), PEL_OK); /* complete already */
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(atomic_load(&good.calls), 1);
    assert_int_equal(good.status, PEL_OK);
    assert_int_equal(atomic_load(&late.calls), 1);
    assert_int_equal(pel_callback(queue, NULL, note_call, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_callback(queue, gate, NULL, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    pel_event_release(done);
    pel_event_release(failing);
    pel_event_release(gate);
}

/* One that is only a node, and one that has a name and so is a command of the lock. */
static void test_cancel(void **state) {
    (void)state;
    for (int named = 0; named < 2; named++) {
        atomic_int count = 0;
        unsigned char bytes[8] = {0};
        pel_buffer *buffer = NULL;
        pel_event *gate = new_event(), *first = NULL, *reader = NULL, *writer = NULL;
        const pel_event *waits = gate;
        const pel_task_desc desc = {.size = sizeof desc, .name = named ? "named" : NULL, .waits = &waits, .wait_count = 1};
        assert_int_equal(pel_buffer_wrap(runtime, bytes, sizeof bytes, &buffer), PEL_OK);
        const pel_access writes = PEL_ACCESS(buffer, 0, 8, PEL_WRITE), reads = PEL_ACCESS(buffer, 0, 8, PEL_READ);
        assert_int_equal(pel_task(queue, count_up, &count, &writes, 1, &desc, &first), PEL_OK);
        assert_int_equal(pel_task(queue, count_up, &count, &reads, 1, NULL, &reader), PEL_OK);
        assert_int_equal(pel_task(queue, count_up, &count, &writes, 1, NULL, &writer), PEL_OK);
        assert_int_equal(pel_event_cancel(first), PEL_OK);
        assert_int_equal(pel_event_cancel(first), PEL_BUSY);
        assert_int_equal(pel_event_status(first), PEL_BUSY); /* its turn has not come */
        assert_int_equal(pel_event_get_state(first), PEL_EVENT_SUBMITTED);
        assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
        assert_int_equal(pel_event_wait(first), PEL_CANCELLED);
        assert_non_null(strstr(pel_error_message(pel_event_error(first)), "was cancelled"));
        assert_int_equal(pel_event_wait(reader), PEL_DEPENDENCY_FAILED);
        assert_int_equal(pel_event_wait(writer), PEL_OK);
        assert_int_equal(pel_event_cancel(writer), PEL_BUSY);
        assert_int_equal(atomic_load(&count), 1);
        assert_int_equal(pel_queue_finish(queue), PEL_CANCELLED);
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
        pel_event_release(first);
        pel_event_release(reader);
        pel_event_release(writer);
        pel_event_release(gate);
        pel_buffer_destroy(buffer);
    }
    pel_event *gate = new_event();
    assert_int_equal(pel_event_cancel(gate), PEL_OK);
    assert_int_equal(pel_event_status(gate), PEL_CANCELLED);
    pel_event_release(gate);
    assert_int_equal(pel_event_cancel(NULL), PEL_INVALID_ARGUMENT);
}

/* Whoever wins, the task has run exactly when the cancel was refused. */
static void test_cancel_races_with_runners(void **state) {
    (void)state;
    enum { ROUNDS = 3000 };
    int cancelled = 0;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_int count = 0;
        pel_event *event = NULL;
        const pel_task_desc named = {.size = sizeof named, .name = "named"};
        assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, i % 2 == 0 ? &named : NULL, &event), PEL_OK);
        for (volatile int spin = 0; spin < i % 64; spin++) {
        }
        pel_status said = pel_event_cancel(event), ended = pel_event_wait(event);
        assert_true((said == PEL_OK && ended == PEL_CANCELLED && atomic_load(&count) == 0) ||
                    (said == PEL_BUSY && ended == PEL_OK && atomic_load(&count) == 1));
        cancelled += said == PEL_OK;
        pel_event_release(event);
    }
    assert_int_equal(pel_queue_finish(queue), cancelled > 0 ? PEL_CANCELLED : PEL_OK);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_user_event_holds_back),
                                       cmocka_unit_test(test_user_event_fails),
                                       cmocka_unit_test(test_abandoned_user_event),
                                       cmocka_unit_test(test_barrier_waits_for_an_event),
                                       cmocka_unit_test(test_barriers_separate_phases),
                                       cmocka_unit_test(test_failed_barrier_stays_until_reset),
                                       cmocka_unit_test(test_callbacks),
                                       cmocka_unit_test(test_cancel),
                                       cmocka_unit_test(test_cancel_races_with_runners)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
