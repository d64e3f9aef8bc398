/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verified launches on real threads: two devices vote on each other's chunks while further launches are submitted, one is
 * cancelled, and the queue and the runtime are destroyed behind the last one. Without OpenCL the host votes on itself.
 */
#include "support/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>

enum { N = 50000, LIVES = 3, LAUNCHES = 6 };

static const char source[] = "kernel void update(global const volatile int *cancel, global const uint *x, global uint *y) {\n"
                             "    size_t i = get_global_id(0); y[i] = 3 * y[i] + x[i] + (uint)*cancel; }";

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    update_items(span, arguments[1], arguments[2]);
    return PEL_OK;
}

static void live(int life) {
    static const pel_param params[] = {PEL_PARAM_CANCEL, UPDATE_PARAMS};
    static const update_variant variant = {source, params, 3, update};
    static const pel_verification all = {.share = 1, .flags = PEL_VERIFY_SAME_DEVICE};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    update_scene s;
    desc.devices = "host,opencl:0";
    if (update_begin(&s, &desc, &variant, N, NULL) != PEL_OK) {
        desc.devices = "host";
        assert_int_equal(update_begin(&s, &desc, &variant, N, NULL), PEL_OK);
    }
    pel_arg args[] = {pel_null(), pel_buf(s.x), pel_buf(s.y)};
    pel_share share = {NULL, 1};
    launch.global[0] = N;
    launch.shares = &share;
    launch.share_count = 1; /* the devices may have the same cores */
    launch.verification = &all;
    launch.protection = life % 2 == 1 ? PEL_PROTECT_ISOLATE : PEL_PROTECT_DEFAULT;
    for (uint32_t k = 0; k < LAUNCHES; k++) {
        share.device = pel_runtime_device(s.runtime, k % pel_runtime_device_count(s.runtime));
        assert_int_equal(pel_launch(s.queue, s.kernel, &launch, args, 3, k + 1 < LAUNCHES ? NULL : &event), PEL_OK);
        update_expect(&s);
    }
    /* wherever it is: waiting, running, or being verified */
    const pel_status cancelled = life == LIVES - 1 ? pel_event_cancel(event) : PEL_BUSY;
    assert_true(cancelled == PEL_OK || cancelled == PEL_BUSY);
    assert_int_equal(update_end(&s), cancelled == PEL_OK ? PEL_CANCELLED : PEL_OK); /* votes are under way */
    if (cancelled == PEL_BUSY) {
        assert_true(update_is_right(&s));
    }
    assert_true(pel_event_get_state(event) >= PEL_EVENT_COMPLETE);
    pel_event_release(event);
    update_free(&s);
}

static void test_destroyed_behind_votes(void **state) {
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        live(i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_destroyed_behind_votes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
