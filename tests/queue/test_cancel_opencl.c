/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernels that poll a flag end early: when their launch is cancelled while it runs, and when the watchdog gives them up; on
 * the host and, where there is one, on PoCL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 64 };

/* Without the flag it would go on for minutes: long enough for any machine, and not for ever where the test fails. */
static const char source[] = "kernel void poll(global const volatile int *cancel, global int *y) { size_t i = get_global_id(0);\n"
                             "    for (long k = 0; k < (1L << 38) && !*cancel; k++) {} y[i] = *cancel; }";

static pel_status poll_flag(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    _Atomic int *cancel = arguments[0];
    int *y = arguments[1];
    (void)scratch, (void)user;
    for (int64_t k = 0; k < (1ll << 36) && !atomic_load(cancel); k++) {
    }
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = atomic_load(cancel);
    }
    return PEL_OK;
}

/* Ends at once where it computes for the user, and waits for the flag where a vote has it write to memory of its own. */
static const int *users;
static atomic_bool votes;

static pel_status poll_in_votes(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *y = arguments[1];
    if (y == users) {
        return PEL_OK;
    }
    atomic_store(&votes, true);
    return poll_flag(span, arguments, scratch, user);
}

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *y;
    int *ys;
} scene;

static bool begin(scene *s, const char *devices) {
    static const pel_param params[] = {PEL_PARAM_CANCEL, PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    memset(s, 0, sizeof *s);
    desc.devices = devices;
    if (pel_runtime_create(&desc, &s->runtime, NULL) != PEL_OK) {
        return false; /* a build or a machine without OpenCL */
    }
    program_desc.source = source;
    kernel_desc.entry = kernel_desc.name = "poll";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    kernel_desc.host = poll_flag;
    assert_int_equal(pel_queue_create(s->runtime, NULL, &s->queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(s->runtime, &program_desc, &s->program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(s->program, &kernel_desc, &s->kernel, NULL), PEL_OK);
    s->ys = aligned_alloc(4096, 4096);
    memset(s->ys, 0, 4096);
    assert_int_equal(pel_buffer_wrap(s->runtime, s->ys, ITEMS * sizeof(int), &s->y), PEL_OK);
    return true;
}

static void end(scene *s) {
    pel_kernel_destroy(s->kernel);
    pel_program_destroy(s->program);
    pel_queue_destroy(s->queue);
    pel_buffer_destroy(s->y);
    assert_int_equal(pel_runtime_destroy(s->runtime), PEL_OK);
    free(s->ys);
}

static void launch(scene *s, pel_protection protection, uint64_t deadline, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_null(), pel_buf(s->y)};
    desc.global[0] = ITEMS;
    desc.protection = protection;
    desc.deadline_ns = deadline;
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, event), PEL_OK);
}

static void cancel_on(const char *devices) {
    pel_event *event = NULL;
    scene s;
    if (!begin(&s, devices)) {
        return;
    }
    launch(&s, PEL_PROTECT_DEFAULT, 0, &event);
    while (pel_event_get_state(event) == PEL_EVENT_SUBMITTED) {
        (void)usleep(1000);
    }
    (void)usleep(20000); /* mostly it is in the kernel by now; the rest holds anyhow */
    assert_int_equal(pel_event_cancel(event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_CANCELLED);
    assert_int_equal(pel_event_cancel(event), PEL_BUSY);
    pel_event_release(event);
    assert_int_equal(pel_queue_finish(s.queue), PEL_CANCELLED);
    assert_int_equal(pel_queue_reset(s.queue), PEL_OK);
    assert_int_equal(s.ys[ITEMS - 1], 1); /* it saw the flag */
    end(&s);
}

static void test_cancel_on_the_host(void **state) {
    (void)state;
    cancel_on("host");
}

static void test_cancel_on_opencl(void **state) {
    (void)state;
    cancel_on("opencl:0");
}

/* The chunks are done; what is cancelled is the computation that they are compared with. */
static void test_cancel_while_votes_are_cast(void **state) {
    (void)state;
    static const pel_verification all = {.share = 1, .flags = PEL_VERIFY_SAME_DEVICE};
    pel_event *event = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    scene s;
    assert_true(begin(&s, "host"));
    pel_kernel_destroy(s.kernel);
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    static const pel_param params[] = {PEL_PARAM_CANCEL, PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    kernel.name = "poll in votes";
    kernel.params = params;
    kernel.param_count = 2;
    kernel.host = poll_in_votes;
    assert_int_equal(pel_kernel_create(s.program, &kernel, &s.kernel, NULL), PEL_OK);
    users = s.ys;
    desc.global[0] = desc.local[0] = ITEMS; /* one group: one piece */
    desc.verification = &all;
    assert_int_equal(pel_launch(s.queue, s.kernel, &desc, (pel_arg[]){pel_null(), pel_buf(s.y)}, 2, &event), PEL_OK);
    while (!atomic_load(&votes)) {
        (void)usleep(1000);
    }
    assert_int_equal(pel_event_cancel(event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_CANCELLED);
    pel_event_release(event);
    assert_int_equal(pel_queue_finish(s.queue), PEL_CANCELLED);
    end(&s);
}

/* What is given up comes back by itself, so its device is not lost for good and the runtime can go at once. */
static void give_up_on(const char *devices) {
    pel_event *event = NULL;
    scene s;
    if (!begin(&s, devices)) {
        return;
    }
    launch(&s, PEL_PROTECT_ISOLATE, 200000000, &event);
    assert_int_equal(pel_event_wait(event), PEL_TIMED_OUT);
    pel_event_release(event);
    assert_int_equal(pel_queue_finish(s.queue), PEL_TIMED_OUT);
    assert_int_equal(s.ys[0], 0); /* and lands nowhere */
    end(&s);
}

static void test_given_up_on_the_host(void **state) {
    (void)state;
    give_up_on("host");
}

static void test_given_up_on_opencl(void **state) {
    (void)state;
    give_up_on("opencl:0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_on_the_host),          cmocka_unit_test(test_cancel_on_opencl),
        cmocka_unit_test(test_given_up_on_the_host),        cmocka_unit_test(test_given_up_on_opencl),
        cmocka_unit_test(test_cancel_while_votes_are_cast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
