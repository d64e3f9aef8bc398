/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification on real drivers whose results the fault layer falsifies: with everything replicated no flipped bit survives, on
 * PoCL in host memory, with memory of its own, and in a process beside; the device that was wrong is named. Integer arithmetic,
 * so that both implementations agree to the bit.
 */
#include "fault/layer.h"
#include "support/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <string.h>

enum { N = 20000, LAUNCHES = 4 };

static const pel_faults_control *faults;
/* One life: launches whose results on OpenCL are falsified by the script; `on`: where they run; the host is the other one.
 * Returns how many lies were told in the end. */
static uint32_t live(const char *devices, const char *script, const char *on, uint32_t quarantines) {
    const pel_verification all = {.share = 1};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_device_health health;
    update_scene s;
    layer_script(faults, "%s", "");
    desc.devices = devices;
    desc.verification = &all;
    if (update_begin(&s, &desc, NULL, N, NULL) != PEL_OK) {
        fail_msg("no runtime of %s", devices);
    }
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    const pel_device *opencl = pel_runtime_find_device(s.runtime, "opencl:0");
    const pel_share share = {pel_runtime_find_device(s.runtime, on), 1};
    launch.global[0] = N;
    launch.shares = &share;
    launch.share_count = 1;
    layer_script(faults, "%s", script);
    for (int k = 0; k < LAUNCHES; k++) {
        pel_device_get_health(opencl, &health);
        if (health.state == PEL_DEVICE_QUARANTINED) {
            break;
        }
        update_expect(&s);
        assert_int_equal(pel_launch(s.queue, s.kernel, &launch, args, 2, NULL), PEL_OK);
        const pel_status status = pel_queue_finish(s.queue);
        if (status != PEL_OK || !update_is_right(&s)) {
            pel_error *error = pel_queue_error(s.queue);
            fail_msg("%s, %s on %s, launch %d: %s", devices, script, on, k,
                     status == PEL_OK ? "wrong bytes" : pel_error_story(error));
        }
    }
    layer_script(faults, "%s", "");
    pel_device_get_health(opencl, &health);
    assert_int_equal(health.quarantines, quarantines);
    assert_true(health.lies == 0 || strstr(health.reason, "opencl:0 computed units 0 to 20000 of update wrongly: argument 1"));
    pel_device_health other;
    pel_device_get_health(pel_runtime_find_device(s.runtime, "host"), &other);
    assert_int_equal(other.lies, 0);
    (void)update_end(&s);
    update_free(&s);
    return health.lies;
}

static void test_flipped_bits(void **state) {
    (void)state;
    static const char *const devices[] = {"host,opencl:0", "host,opencl:0[own]"};
    for (int d = 0; d < 2; d++) {
        assert_int_equal(live(devices[d], "", "opencl:0", 0), 0);
        assert_int_equal(live(devices[d], "clEnqueueNDRangeKernel@2:flip", "opencl:0", 0), 1);     /* once: suspect */
        /* always: gone after the second */
        assert_int_equal(live(devices[d], "clEnqueueNDRangeKernel@1+:flip(3)", "opencl:0", 1), 2);
        assert_int_equal(live(devices[d], "clEnqueueNDRangeKernel@1:flip", "host", 0), 1);         /* as the one that votes */
    }
}

int main(void) {
    faults = layer_load();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flipped_bits)};
    return faults ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
