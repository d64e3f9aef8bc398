/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Promises of a queue that are about when and where, not about results: never more commands in flight than allowed, the first
 * failure is the first in program order whoever fails first, callbacks run on workers or waiting threads and never on a driver's.
 * Nothing here depends on who is faster.
 */
#include "backend/host/host.h"
#include "core/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static pel_runtime *runtime;

static int set_up(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host,opencl:0";
    desc.host_workers = 2;
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        desc.devices = "host";
        return (int)pel_runtime_create(&desc, &runtime, NULL);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return (int)pel_runtime_destroy(runtime);
}

/* ---- max_in_flight ---- */

enum { LIMIT = 4, TASKS = 60 };

typedef struct producer {
    pel_queue *queue;
    const pel_event *gate;
    pel_buffer *cells;
    atomic_int returned, begun; /* submissions; tasks */
    atomic_int too_many;
} producer;

static pel_status begin(void *context) {
    atomic_fetch_add(&((producer *)context)->begun, 1);
    return PEL_OK;
}

/* A task counts as over when it begins, which is before it is: so what is counted is never more than what was in flight when
 * the submission went through. */
static void *produce(void *context) {
    producer *p = context;
    for (int i = 0; i < TASKS; i++) {
        pel_task_desc desc = PEL_TASK_DESC_INIT;
        desc.waits = &p->gate;
        desc.wait_count = i < 2 * LIMIT ? 1 : 0;
        desc.name = i % 2 ? "of the long way" : NULL;
        if (pel_task(p->queue, begin, p, NULL, 0, &desc, NULL) != PEL_OK) {
            return NULL;
        }
        const int begun = atomic_load(&p->begun), returned = atomic_fetch_add(&p->returned, 1) + 1;
        atomic_fetch_add(&p->too_many, returned - begun > LIMIT);
    }
    return context;
}

/* The same by accesses: each reads the cell of the first, which waits for the gate, and writes its own. */
static void *produce_cells(void *context) {
    producer *p = context;
    for (uint64_t i = 0; i < TASKS; i++) {
        pel_task_desc desc = PEL_TASK_DESC_INIT;
        const pel_access accesses[] = {PEL_ACCESS(p->cells, 0, 8, i == 0 ? PEL_WRITE : PEL_READ),
                                       PEL_ACCESS(p->cells, 8 * (i + 1), 8, PEL_WRITE)};
        desc.waits = &p->gate;
        desc.wait_count = 1;
        if (pel_task(p->queue, begin, p, accesses, 2, i == 0 ? &desc : NULL, NULL) != PEL_OK) {
            return NULL;
        }
        const int begun = atomic_load(&p->begun), returned = atomic_fetch_add(&p->returned, 1) + 1;
        atomic_fetch_add(&p->too_many, returned - begun > LIMIT);
    }
    return context;
}

static void expect_never_more(producer p, void *(*produces)(void *context)) {
    pel_event *gate = NULL;
    pthread_t thread;
    void *fine = NULL;
    assert_int_equal(pel_event_create_user(runtime, &gate, NULL), PEL_OK);
    p.gate = gate;
    assert_int_equal(pthread_create(&thread, NULL, produces, &p), 0);
    while (atomic_load(&p.returned) < LIMIT) {
        sched_yield();
    }
    for (int i = 0; i < 1000; i++) { /* it has its chance to go on, and must not */
        sched_yield();
        assert_int_equal(atomic_load(&p.returned), LIMIT);
    }
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    assert_int_equal(pthread_join(thread, &fine), 0);
    assert_ptr_equal(fine, &p);
    assert_int_equal(pel_queue_finish(p.queue), PEL_OK);
    assert_int_equal(atomic_load(&p.begun), TASKS);
    assert_int_equal(atomic_load(&p.too_many), 0);
    pel_event_release(gate);
}

static void test_never_more_in_flight(void **state) {
    (void)state;
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    producer p = {.queue = NULL};
    desc.max_in_flight = LIMIT;
    assert_int_equal(pel_queue_create(runtime, &desc, &p.queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, 8 * (TASKS + 1), &p.cells, NULL), PEL_OK);
    expect_never_more(p, produce);
    for (int i = 0; i < 20; i++) {
        expect_never_more(p, produce_cells);
    }
    assert_int_equal(pel_buffer_destroy(p.cells), PEL_OK);
    assert_int_equal(pel_queue_destroy(p.queue), PEL_OK);
}

/* ---- the first cause ---- */

static pel_status fail_now(void *context) {
    (void)context;
    return PEL_IO;
}

static void expect_story(pel_queue *queue, const char *word) {
    pel_error *story = pel_queue_error(queue);
    assert_non_null(story);
    if (!strstr(pel_error_message(story), word)) {
        fail_msg("not of %s: %s", word, pel_error_message(story));
    }
    pel_error_destroy(story);
}

/* The later one fails first; a third, which needs the second's bytes, is no cause. */
static void test_first_cause_in_program_order(void **state) {
    (void)state;
    int memory = 0;
    pel_queue *queue = NULL;
    pel_buffer *buffer = NULL;
    pel_event *gate = NULL, *second = NULL, *third = NULL;
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &memory, sizeof memory, &buffer), PEL_OK);
    assert_int_equal(pel_event_create_user(runtime, &gate, NULL), PEL_OK);
    const pel_event *waits = gate;
    const pel_access writes = PEL_ACCESS(buffer, 0, 0, PEL_WRITE), reads = PEL_ACCESS(buffer, 0, 0, PEL_READ);
    desc.waits = &waits;
    desc.wait_count = 1;
    desc.name = "the first";
    assert_int_equal(pel_task(queue, fail_now, NULL, NULL, 0, &desc, NULL), PEL_OK);
    desc = (pel_task_desc)PEL_TASK_DESC_INIT;
    desc.name = "the second";
    assert_int_equal(pel_task(queue, fail_now, NULL, &writes, 1, &desc, &second), PEL_OK);
    desc.name = "the third";
    assert_int_equal(pel_task(queue, fail_now, NULL, &reads, 1, &desc, &third), PEL_OK);
    assert_int_equal(pel_event_wait(second), PEL_TASK_FAILED);
    assert_int_equal(pel_event_wait(third), PEL_DEPENDENCY_FAILED);
    expect_story(queue, "the second"); /* so far */
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    expect_story(queue, "the first");
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    assert_null(pel_queue_error(queue));
    pel_event_release(gate), pel_event_release(second), pel_event_release(third);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
}

/* ---- callbacks ---- */

enum { N = 64, LAUNCHES = 40 };

static pel_status add_one(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[0])[i]++;
    }
    return PEL_OK;
}

typedef struct callers {
    pthread_t main;
    atomic_int calls, strange;
} callers;

static void note_caller(pel_event *watched, void *context) {
    callers *c = context;
    (void)watched;
    atomic_fetch_add(&c->strange, !pel_host_is_worker(runtime->task_device->driver) && !pthread_equal(c->main, pthread_self()));
    atomic_fetch_add(&c->calls, 1);
}

static void test_callbacks_are_not_the_drivers(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_queue *queue = NULL;
    pel_buffer *buffer = NULL;
    callers c = {.main = pthread_self()};
    program_desc.source = "kernel void add_one(global uint *x) { x[get_global_id(0)]++; }";
    kernel_desc.entry = kernel_desc.name = "add_one";
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    kernel_desc.host = add_one;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N * sizeof(uint32_t), &buffer, NULL), PEL_OK);
    const pel_arg arg = pel_buf(buffer);
    for (uint32_t i = 0; i < LAUNCHES; i++) {
        pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
        const pel_share share = {pel_runtime_device(runtime, i % pel_runtime_device_count(runtime)), 1};
        pel_event *event = NULL;
        launch.global[0] = N;
        launch.shares = &share;
        launch.share_count = 1;
        assert_int_equal(pel_launch(queue, kernel, &launch, &arg, 1, &event), PEL_OK);
        assert_int_equal(pel_callback(queue, event, note_caller, &c, NULL), PEL_OK);
        while (i % 4 == 0 && pel_event_status(event) == PEL_BUSY) { /* nobody waits: whoever brings the news is not this thread */
            sched_yield();
        }
        pel_event_release(event);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&c.calls), LAUNCHES);
    assert_int_equal(atomic_load(&c.strange), 0);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_never_more_in_flight),
                                       cmocka_unit_test(test_first_cause_in_program_order),
                                       cmocka_unit_test(test_callbacks_are_not_the_drivers)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
