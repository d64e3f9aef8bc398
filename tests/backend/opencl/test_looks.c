/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a thread sleeps before it looks again whether a launch has ended, on a driver that is not PoCL. The functions below
 * stand in front of the loader's and of libc's: a launch ends when so much has been slept, so no test depends on how fast the
 * machine is.
 */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>

#include "fixture.h"
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { ITEMS = 256, PREDICTED_NS = 64000000, STEP_NS = PREDICTED_NS / 32 };

/* Of one launch after the other, which one thread waits for. */
static int64_t ends_after;    /* so much sleep, ns */
static int64_t asking_takes;  /* the first look, until it has ended; and it is said to be under way */
static unsigned ends_at_look;
static cl_event watched;      /* of the launch; NULL: none */
static unsigned looks;        /* at it */
static int64_t slept, first_sleep, first_sleep_at; /* since the first of them */
static pthread_t looker;

static int64_t now(void) { return pel_clock_now(&pel_clock_monotonic); }

static void really_sleep(int64_t ns) {
    const struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

int nanosleep(const struct timespec *time, struct timespec *left) {
    const int64_t ns = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
    (void)left;
    if (looks > 0 && pthread_equal(looker, pthread_self())) {
        first_sleep = slept == 0 ? ns : first_sleep;
        first_sleep_at = slept == 0 ? now() : first_sleep_at;
        slept += ns;
    }
    really_sleep(ns);
    return 0;
}

static void *real(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) {
        abort();
    }
    return function;
}

static bool watching; /* the next launch */

CL_API_ENTRY cl_int CL_API_CALL clEnqueueNDRangeKernel(cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d,
                                                       const size_t *e, const size_t *f, cl_uint g, const cl_event *h,
                                                       cl_event *i) {
    const cl_int code =
        ((cl_int(CL_API_CALL *)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                                const cl_event *, cl_event *))real("clEnqueueNDRangeKernel"))(a, b, c, d, e, f, g, h, i);
    watched = watching && i ? *i : NULL;
    return code;
}

/* What is to have ended has. */
CL_API_ENTRY cl_int CL_API_CALL clGetEventInfo(cl_event a, cl_event_info b, size_t c, void *d, size_t *e) {
    cl_int(CL_API_CALL *ask)(cl_event, cl_event_info, size_t, void *, size_t *) =
        (cl_int(CL_API_CALL *)(cl_event, cl_event_info, size_t, void *, size_t *))real("clGetEventInfo");
    cl_int code = ask(a, b, c, d, e);
    if (a == watched && b == CL_EVENT_COMMAND_EXECUTION_STATUS) {
        looker = pthread_self();
        looks++;
        const bool locked = looks == 1 && asking_takes > 0, under_way = looks < ends_at_look || slept < ends_after;
        if (locked) {
            really_sleep(asking_takes);
        }
        while (!under_way && code == CL_SUCCESS && *(cl_int *)d > 0) {
            really_sleep(STEP_NS / 10);
            code = ask(a, b, c, d, e);
        }
        *(cl_int *)d = locked || under_way ? CL_SUBMITTED : *(cl_int *)d;
    }
    return code;
}

/* ---- a launch ---- */

static fixture f;
static const char source[] = "kernel void add(global int *x) { x[get_global_id(0)] += 1; }\n";
static int64_t began;
static const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};

static void end(pel_work *work) { atomic_store((atomic_bool *)work->owner, true); }

static void run(pel_work *work, bool helps) {
    atomic_bool ended = false;
    if (!helps) {
        fixture_run(&f, work);
        return;
    }
    work->soon = true; /* nobody else is woken for it */
    work->owner = &ended;
    work->complete = end;
    f.device->backend->submit(f.device, work);
    while (!atomic_load(&ended)) {
        (void)f.device->backend->help(f.device);
    }
}

/* The second one is looked at. `rides`: it copies nothing, so it may go with others. `helps`: this thread waits, and not the
 * device's own. */
static void launch(bool rides, bool helps) {
    _Alignas(128) static int x[ITEMS];
    pel_program_image program = fixture_program(source);
    pel_kernel_image kernel = fixture_kernel(&program, "add", params, 1);
    pel_mem *mem = NULL;
    const pel_topology_device usual = f.facts;
    f.facts.host_coherent = rides;
    f.facts.info.shares_host_memory = rides ? usual.info.shares_host_memory : 0;
    fixture_start(&f);
    assert_int_equal(f.device->backend->prepare(f.device, &program, &kernel, NULL), PEL_OK);
    assert_int_equal(f.device->backend->mem_create(f.device, x, sizeof x, &mem, NULL), PEL_OK);
    pel_work_arg args[] = {{.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = sizeof x}};
    pel_transfer in = {.mem = mem, .bytes = sizeof x};
    for (int i = 0; i < 2; i++) {
        pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = args, .span = fixture_span(1, ITEMS, 0, 0)};
        work.in = rides ? NULL : &in;
        work.in_count = rides ? 0 : 1;
        work.predicted_ns = PREDICTED_NS;
        watching = i > 0;
        looks = 0;
        slept = first_sleep = first_sleep_at = 0;
        run(&work, helps);
        assert_int_equal(work.status, PEL_OK);
        began = work.launch_began;
        watched = NULL;
    }
    f.device->backend->mem_destroy(f.device, mem);
    f.device->backend->kernel_forget(f.device, &kernel);
    f.device->backend->program_forget(f.device, &program);
    fixture_stop(&f);
    f.facts = usual;
}

/* It ends before it was expected, and is seen by the next look: the first one at half of the prediction. */
static void a_quicker_one(void **state) {
    (void)state;
    f.facts.info.platform = "another driver";
    for (int rides = 0; rides < 2; rides++) {
        for (int64_t share = 16; share <= 28; share += 4) {
            ends_after = share * STEP_NS;
            launch(rides, false);
            assert_in_range(slept, ends_after, ends_after + STEP_NS);
            assert_in_range(first_sleep, 1, PREDICTED_NS / 2);
            assert_true(first_sleep_at + first_sleep >= began + PREDICTED_NS / 2);
        }
    }
    ends_after = 0;
}

/* Mesa 22.3 has the event locked while llvmpipe computes: asking takes that long, and it is under way still. */
static void a_look_that_takes_as_long_as_the_kernel(void **state) {
    (void)state;
    f.facts.info.platform = "another driver";
    asking_takes = PREDICTED_NS * 5 / 8;
    for (int rides = 0; rides < 2; rides++) {
        launch(rides, false);
        assert_true(looks >= 2);
        assert_int_equal(slept, 0);
    }
    asking_takes = 0;
}

/* A waiter that looks without sleeping, and sees it end, does not sleep after that. */
static void seen_without_sleeping(void **state) {
    (void)state;
    f.facts.info.platform = "Portable Computing Language";
    f.env.spin_ns = 3600 * INT64_C(1000000000);
    ends_at_look = 5;
    for (int rides = 0; rides < 2; rides++) {
        launch(rides, true);
        assert_true(looks >= ends_at_look);
        assert_int_equal(slept, 0);
    }
    ends_at_look = 0;
}

static int set_up(void **state) { return fixture_set_up(&f, state); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_quicker_one), cmocka_unit_test(a_look_that_takes_as_long_as_the_kernel),
                                       cmocka_unit_test(seen_without_sleeping)};
    return cmocka_run_group_tests(tests, set_up, fixture_tear_down);
}
