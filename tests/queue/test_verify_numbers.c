/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification that compares numbers instead of bits, asked for in words ($PEL_VERIFY) and in the struct. The kernel is an honest
 * one that rounds otherwise each time: two numbers apart. Bit by bit it contradicts itself, with four numbers of tolerance
 * it is right, with one it is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { N = 500, APART = 2 };

static unsigned char times[N]; /* that an item was computed */

static pel_status round_otherwise(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const float *x = arguments[0];
    float *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        uint32_t bits;
        y[i] = 3.0f * x[i];
        memcpy(&bits, &y[i], sizeof bits);
        bits += times[i]++ * (uint32_t)APART;
        memcpy(&y[i], &bits, sizeof bits);
    }
    return PEL_OK;
}

/* One launch; how it ended, and what its plan says of verification. */
static pel_status run(const char *words, const pel_verification *of_launch, const pel_verification *of_runtime,
                      pel_plan_verification *came) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(float), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_queue *queue = NULL;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_buffer *x = NULL, *y = NULL;
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    float xs[N], ys[N];
    memset(times, 0, sizeof times);
    for (int i = 0; i < N; i++) {
        xs[i] = 1.0f + (float)i;
        ys[i] = -1.0f;
    }
    assert_int_equal(words ? setenv("PEL_VERIFY", words, 1) : unsetenv("PEL_VERIFY"), 0);
    desc.devices = "host";
    desc.history = "off";
    desc.verification = of_runtime;
    const pel_status created = pel_runtime_create(&desc, &runtime, NULL);
    if (created != PEL_OK) {
        return created;
    }
    kernel_desc.name = "round_otherwise";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    kernel_desc.host = round_otherwise;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, xs, sizeof xs, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, ys, sizeof ys, &y), PEL_OK);
    const pel_arg args[] = {pel_buf(x), pel_buf(y)};
    launch.global[0] = N;
    launch.verification = of_launch;
    assert_int_equal(pel_launch(queue, kernel, &launch, args, 2, &event), PEL_OK);
    const pel_status status = pel_event_wait(event);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    assert_int_equal(pel_plan_get_verification(plan, came), PEL_OK);
    came->devices = came->wrong_devices = came->text = NULL; /* the plan's */
    pel_plan_destroy(plan);
    pel_event_release(event);
    (void)pel_queue_destroy(queue);
    for (int i = 0; i < N && status == PEL_OK; i++) {
        assert_true(ys[i] >= 3.0f * xs[i] && ys[i] <= 3.0f * xs[i] * 1.000001f);
    }
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    (void)unsetenv("PEL_VERIFY");
    return status;
}

static void test_in_words(void **state) {
    (void)state;
    pel_plan_verification came;
    assert_int_equal(run(NULL, NULL, NULL, &came), PEL_OK);
    assert_int_equal(came.verified, 0);
    assert_int_equal(times[0], 1);
    assert_int_equal(run("100,same,f32=4", NULL, NULL, &came), PEL_OK);
    assert_true(came.verified > 0 && came.verified == came.chunks);
    assert_int_equal(came.wrong, 0);
    assert_true(times[0] >= 2);
    assert_int_equal(run("100,same", NULL, NULL, &came), PEL_MISMATCH);
    assert_int_equal(run("100,same,f32=1", NULL, NULL, &came), PEL_MISMATCH);
    assert_int_equal(run("100,f32=many", NULL, NULL, &came), PEL_INVALID_ARGUMENT);
    (void)unsetenv("PEL_VERIFY");
}

static void test_in_structs(void **state) {
    (void)state;
    const pel_verification near = {1, 0, PEL_VERIFY_SAME_DEVICE, PEL_F32, APART};
    const pel_verification nearer = {1, 0, PEL_VERIFY_SAME_DEVICE, PEL_F32, APART - 1};
    pel_plan_verification came;
    assert_int_equal(run(NULL, &near, NULL, &came), PEL_OK);
    assert_true(came.verified > 0 && came.wrong == 0);
    assert_int_equal(run(NULL, &nearer, NULL, &came), PEL_MISMATCH);
    assert_int_equal(run(NULL, NULL, &near, &came), PEL_OK);
    assert_true(came.verified > 0 && came.wrong == 0);
    assert_int_equal(run(NULL, &nearer, &near, &came), PEL_MISMATCH); /* the launch's own word counts, */
    assert_int_equal(run("100,same", NULL, &near, &came), PEL_OK);    /* and the program's before the environment's */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_words), cmocka_unit_test(test_in_structs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
