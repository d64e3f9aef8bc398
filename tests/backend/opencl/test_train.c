/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches of several threads on one OpenCL device: some submit while others sleep until works end, and whoever comes by enqueues
 * works and takes in ends.
 * None is lost or done twice, and what follows a launch is not kept waiting by those who go on submitting.
 */
#include <pel/pel.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

enum { ITEMS = 64, LAUNCHES = 100, WAITERS = 10, SUBMITTERS = 2 };

static const char source[] = "kernel void count(global uint *n) { n[get_global_id(0)]++; }\n";
static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};

typedef struct user {
    pthread_t thread;
    pel_runtime *runtime;
    pel_kernel *kernel;
    pel_queue *queue;
    pel_buffer *buffer;
    uint32_t counts[ITEMS];
    atomic_uint seen;    /* tasks that found what they follow done */
    uint32_t expected;
    pel_status status;   /* the first that was not OK: assertions are for the main thread */
} user;

static void keep(user *u, pel_status status) { u->status = u->status == PEL_OK ? status : u->status; }

static pel_status launch(user *u, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(u->buffer)};
    desc.global[0] = desc.local[0] = ITEMS;
    return pel_launch(u->queue, u->kernel, &desc, args, 1, event);
}

/* Never waits but at its end, and now and then. */
static void *submit(void *argument) {
    user *u = argument;
    for (uint32_t i = 0; i < LAUNCHES; i++) {
        pel_event *event = NULL;
        pel_event_timing timing;
        keep(u, launch(u, i % 50 == 49 ? &event : NULL));
        if (event) {
            keep(u, pel_event_wait(event));
            pel_event_get_timing(event, &timing);
            keep(u, timing.submitted <= timing.began && timing.began <= timing.ended ? PEL_OK : PEL_INTERNAL);
            pel_event_release(event);
        }
    }
    u->expected = LAUNCHES;
    keep(u, pel_queue_finish(u->queue));
    return NULL;
}

static pel_status look(void *argument) {
    user *u = argument;
    atomic_fetch_add(&u->seen, u->counts[0] == u->counts[ITEMS - 1] && u->counts[0] == atomic_load(&u->seen) + 1 ? 1u : 0u);
    return PEL_OK;
}

/* A host task behind each launch, and nobody who drives the device for it. */
static void *follow(void *argument) {
    user *u = argument;
    for (uint32_t i = 0; i < WAITERS; i++) {
        pel_event *event = NULL;
        const pel_access access = {.buffer = u->buffer, .mode = PEL_READ, .offset = 0, .bytes = sizeof u->counts};
        keep(u, launch(u, NULL));
        keep(u, pel_task(u->queue, look, u, &access, 1, NULL, &event));
        keep(u, pel_event_wait(event));
        pel_event_release(event);
    }
    u->expected = WAITERS;
    keep(u, pel_queue_finish(u->queue));
    return NULL;
}

static void test_several_threads(void **state) {
    static user users[SUBMITTERS + 1];
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    (void)state;
    desc.devices = "opencl:0";
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        skip();
    }
    program_desc.source = source;
    kernel_desc.entry = "count";
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (int i = 0; i <= SUBMITTERS; i++) {
        user *u = &users[i];
        u->runtime = runtime;
        u->kernel = kernel;
        assert_int_equal(pel_queue_create(runtime, NULL, &u->queue, NULL), PEL_OK);
        assert_int_equal(pel_buffer_wrap(runtime, u->counts, sizeof u->counts, &u->buffer), PEL_OK);
        assert_int_equal(pthread_create(&u->thread, NULL, i < SUBMITTERS ? submit : follow, u), 0);
    }
    for (int i = 0; i <= SUBMITTERS; i++) {
        pthread_join(users[i].thread, NULL);
    }
    for (int i = 0; i <= SUBMITTERS; i++) {
        user *u = &users[i];
        assert_int_equal(u->status, PEL_OK);
        for (int k = 0; k < ITEMS; k++) {
            assert_int_equal(u->counts[k], u->expected);
        }
        assert_int_equal(atomic_load(&u->seen), i < SUBMITTERS ? 0 : WAITERS);
        pel_queue_destroy(u->queue);
        pel_buffer_destroy(u->buffer);
    }
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_several_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
