/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Retry on real drivers: whatever a launch's OpenCL calls and commands do, a kernel that updates in place ends with the right
 * bits, computed by the host device from the bytes it began with. Integer arithmetic, so that both implementations agree to the
 * bit.
 */
#include "fault/layer.h"
#include "support/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pel/pel.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 20000, LAUNCHES = 4 };

static const pel_faults_control *faults;

static atomic_bool host_hangs; /* for 10 s at most */

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    for (int i = 0; i < 1000 && atomic_load(&host_hangs); i++) {
        (void)usleep(10000);
    }
    return update_on_host(span, arguments, scratch, user);
}

static bool set_up(update_scene *s, const char *devices) {
    static const pel_param params[] = {UPDATE_PARAMS};
    static const update_variant variant = {update_source, params, 2, update};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = devices;
    return update_begin(s, &desc, &variant, N, NULL) == PEL_OK;
}

static void tear_down(update_scene *s) {
    (void)update_end(s);
    update_free(s);
}

/* All that are well; with `alone` the OpenCL device only. */
static uint32_t pick(const update_scene *s, bool alone, pel_share *shares) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < pel_runtime_device_count(s->runtime); i++) {
        const pel_device *device = pel_runtime_device(s->runtime, i);
        pel_device_health health;
        pel_device_get_health(device, &health);
        if (health.state == PEL_DEVICE_WELL && (!alone || pel_device_get_info(device)->kind == PEL_DEVICE_OPENCL)) {
            shares[count++] = (pel_share){device, 1};
        }
    }
    return count;
}

static void live(const char *devices, bool alone, const char *script) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    update_scene s;
    if (!set_up(&s, devices)) {
        return; /* one core: no two disjoint sets */
    }
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_RETRY;
    desc.shares = shares;
    layer_script(faults, "%s", script);
    for (int k = 0; k < LAUNCHES; k++) {
        desc.share_count = pick(&s, alone, shares);
        for (uint32_t i = 0; i < N; i++) {
            s.expected[i] = 3 * s.expected[i] + s.xs[i];
        }
        pel_status status = pel_launch(s.queue, s.kernel, &desc, args, 2, NULL);
        status = status == PEL_OK ? pel_queue_finish(s.queue) : status;
        if (status == PEL_DEVICE_LOST && strstr(devices, "[own]") && strstr(script, "vanish")) {
            break; /* lost after the launch, with a result that only it had: an error, and never the old bytes */
        }
        if (status != PEL_OK || memcmp(s.ys, s.expected, N * sizeof(uint32_t)) != 0) {
            pel_error *error = pel_queue_error(s.queue);
            fail_msg("%s, %s, launch %d: %s: %s", devices, script, k, pel_status_name(status), pel_error_story(error));
        }
    }
    layer_script(faults, "%s", "");
    tear_down(&s);
}

static void test_any_failure_elsewhere(void **state) {
    static const char *const calls[] = {
        "clEnqueueNDRangeKernel", "clSetKernelArg",       "clFinish",      "clFlush", "clGetEventInfo",
        "clEnqueueReadBuffer",    "clEnqueueWriteBuffer", "clCreateBuffer"};
    static const char *const actions[] = {"CL_OUT_OF_RESOURCES", "CL_OUT_OF_HOST_MEMORY", "vanish"};
    static const char *const devices[] = {"host,opencl:0", "host@0,opencl:0@1", "host,opencl:0[own]"};
    (void)state;
    for (size_t d = 0; d < 3; d++) {
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
            for (size_t a = 0; a < 3; a++) {
                for (int n = 1; n <= 2; n++) {
                    char script[128];
                    if (d != 1 && strcmp(actions[a], "CL_OUT_OF_HOST_MEMORY") == 0) {
                        continue;
                    }
                    (void)snprintf(script, sizeof script, "%s@%d:%s", calls[c], n, actions[a]);
                    live(devices[d], d != 1, script);
                }
            }
        }
    }
}

static void test_commands_that_fail(void **state) {
    (void)state;
    for (int n = 1; n <= 3; n++) {
        char script[128];
        (void)snprintf(script, sizeof script, "clEnqueueNDRangeKernel@%d+:event(CL_OUT_OF_RESOURCES)", n);
        live("host,opencl:0", true, script);
        live("host@0,opencl:0@1", false, script);
        live("host,opencl:0[own]", true, script);
    }
}

/*
 * PoCL under a name that nobody knows is a device like others that share the host's memory: what is valid where is kept account
 * of as for memory of its own, and its kernels write the host's bytes all the same. The second part of a launch is refused when
 * the first has been run.
 */
static void test_in_place_and_not_known(void **state) {
    enum { PRIME = 11329 };
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    update_scene s;
    (void)state;
    layer_script(faults, "clGetPlatformInfo@1+:CL_OUT_OF_HOST_MEMORY");
    assert_true(set_up(&s, "host,opencl:0"));
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = PRIME;
    desc.protection = PEL_PROTECT_RETRY;
    desc.shares = shares;
    desc.share_count = pick(&s, true, shares);
    assert_int_equal(desc.share_count, 1);
    assert_int_equal(pel_device_get_info(shares[0].device)->shares_host_memory, 1);
    layer_script(faults, "clEnqueueNDRangeKernel@2:CL_OUT_OF_RESOURCES");
    for (uint32_t i = 0; i < PRIME; i++) {
        s.expected[i] = 3 * s.expected[i] + s.xs[i];
    }
    assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    assert_int_equal(faults->fired(), 1);
    assert_memory_equal(s.ys, s.expected, N * sizeof(uint32_t));
    /* and what is given up could still write there */
    desc.protection = PEL_PROTECT_ISOLATE;
    layer_script(faults, "%s", "");
    pel_status status = pel_launch(s.queue, s.kernel, &desc, args, 2, NULL);
    status = status == PEL_OK ? pel_queue_finish(s.queue) : status;
    assert_int_not_equal(status, PEL_OK);
    pel_error *error = pel_queue_error(s.queue);
    assert_non_null(strstr(pel_error_message(error), "in place"));
    pel_error_destroy(error);
    tear_down(&s);
}

/* A command that never completes: given up in time, done by the host; what it does when it ends after all lands nowhere. */
static void hang(const char *devices) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    pel_device_health health;
    update_scene s;
    assert_true(set_up(&s, devices));
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_ISOLATE;
    desc.shares = shares;
    desc.deadline_ns = 1000000000;
    for (int k = 0; k < 3; k++) { /* the second one hangs */
        layer_script(faults, "%s", k == 1 ? "clEnqueueNDRangeKernel@1:never" : "");
        desc.share_count = k == 2 ? 0 : pick(&s, true, shares);
        for (uint32_t i = 0; i < N; i++) {
            s.expected[i] = 3 * s.expected[i] + s.xs[i];
        }
        const int64_t began = pel_runtime_now(s.runtime);
        assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
        const double took = (double)(pel_runtime_now(s.runtime) - began) / 1e6;
        assert_memory_equal(s.ys, s.expected, N * sizeof(uint32_t));
        if (k == 1) {
            print_message("%s: the launch with a hang took %.1f ms, its deadline is 1000\n", devices, took);
            assert_true(took >= 1000);
            pel_device_get_health(shares[0].device, &health);
            assert_int_equal(health.state, PEL_DEVICE_QUARANTINED);
        }
    }
    assert_memory_equal(s.ys, s.expected, N * sizeof(uint32_t));
    tear_down(&s);
}

static void test_commands_that_hang(void **state) {
    (void)state;
    hang("host,opencl:0");
    hang("host,opencl:0[own]");
}

/* A kernel whose time is known gets a form that is not compiled yet, and the compiler takes longer than the deadline. */
static void test_a_slow_compiler_is_no_hang(void **state) {
    enum { WHOLE = 64 * 300 }; /* else even all of it is cut, and in the form for chunks */
    (void)state;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    pel_device_health health;
    update_scene s;
    if (!set_up(&s, "host@0,opencl:0@1")) {
        return; /* one core: no two disjoint sets */
    }
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = WHOLE;
    desc.protection = PEL_PROTECT_ISOLATE;
    desc.shares = shares;
    for (int k = 0; k < 9; k++) { /* whole on OpenCL, then in chunks */
        desc.share_count = pick(&s, k < 8, shares);
        layer_script(faults, "%s", k == 8 ? "clBuildProgram@1+:delay(1300ms)" : "");
        for (uint32_t i = 0; i < WHOLE; i++) {
            s.expected[i] = 3 * s.expected[i] + s.xs[i];
        }
        assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
        assert_true(update_is_right(&s));
    }
    assert_int_equal(faults->fired(), 1); /* else nothing was compiled */
    layer_script(faults, "%s", "");
    for (uint32_t i = 0; i < pel_runtime_device_count(s.runtime); i++) {
        pel_device_get_health(pel_runtime_device(s.runtime, i), &health);
        assert_int_equal(health.state, PEL_DEVICE_WELL);
    }
    tear_down(&s);
}

/* The watchdog goes on with the chunk that replaces a hung one: when that hangs, too, the launch ends with an error, in time. */
static void test_the_next_one_hangs_too(void **state) {
    (void)state;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    update_scene s;
    assert_true(set_up(&s, "host,opencl:0"));
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_ISOLATE;
    desc.shares = shares;
    desc.share_count = pick(&s, true, shares);
    desc.deadline_ns = 1000000000;
    atomic_store(&host_hangs, true);
    layer_script(faults, "%s", "clEnqueueNDRangeKernel@1:never");
    const int64_t began = pel_runtime_now(s.runtime);
    assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, NULL), PEL_OK);
    const pel_status status = pel_queue_finish(s.queue);
    const double took = (double)(pel_runtime_now(s.runtime) - began) / 1e6;
    atomic_store(&host_hangs, false);
    layer_script(faults, "%s", "");
    print_message("two hangs took %.1f ms, their deadlines are 1000\n", took);
    assert_int_equal(status, PEL_TIMED_OUT);
    assert_true(took >= 2000);
    assert_memory_equal(s.ys, s.expected, N * sizeof(uint32_t));
    tear_down(&s);
}

/* The process is stopped for longer than the deadline while a command runs that needs most of it: nobody is accused. */
static void test_a_stop_is_no_hang(void **state) {
    (void)state;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    pel_device_health health;
    update_scene s;
    assert_true(set_up(&s, "host,opencl:0"));
    pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_ISOLATE;
    desc.shares = shares;
    desc.share_count = pick(&s, true, shares);
    desc.deadline_ns = 1000000000;
    layer_script(faults, "%s", "clEnqueueNDRangeKernel@1:late(700ms)");
    const pid_t parent = getpid(), child = fork();
    if (child == 0) {
        (void)usleep(300000);
        (void)kill(parent, SIGSTOP);
        (void)usleep(1500000);
        (void)kill(parent, SIGCONT);
        _exit(0);
    }
    assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    assert_int_equal(waitpid(child, NULL, 0), child);
    pel_device_get_health(shares[0].device, &health);
    assert_int_equal(health.state, PEL_DEVICE_WELL);
    assert_int_equal(health.failures, 0);
    layer_script(faults, "%s", "");
    tear_down(&s);
}

static pel_device_health health_of(const pel_device *device) {
    pel_device_health health;
    pel_device_get_health(device, &health);
    return health;
}

static void launch_that_hangs(update_scene *s, pel_protection protection, uint64_t deadline_ns) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share share;
    assert_true(set_up(s, "host,opencl:0"));
    const pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    assert_int_equal(pick(s, true, &share), 1);
    desc.global[0] = N;
    desc.protection = protection;
    desc.shares = &share;
    desc.share_count = 1;
    desc.deadline_ns = deadline_ns;
    layer_script(faults, "%s", "clEnqueueNDRangeKernel@1:never");
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 2, NULL), PEL_OK);
}

/* An unprotected launch never ends: its queue stays with all that the driver may write to, until it does end. */
static void test_destroyed_while_it_hangs(void **state) {
    update_scene s;
    (void)state;
    launch_that_hangs(&s, PEL_PROTECT_NONE, 100000000);
    assert_int_equal(pel_queue_destroy(s.queue), PEL_BUSY);
    pel_error *error = pel_queue_error(s.queue);
    assert_non_null(strstr(pel_error_story(error), "opencl:0"));
    pel_error_destroy(error);
    assert_int_equal(pel_runtime_destroy(s.runtime), PEL_BUSY);
    layer_script(faults, "%s", ""); /* now it ends, one way or the other */
    (void)pel_queue_finish(s.queue);
    tear_down(&s);
}

/* An isolated one is given up by its own deadline: whoever destroys its queue waits for that, and for who does it instead. */
static void test_destroyed_while_an_isolated_one_hangs(void **state) {
    update_scene s;
    (void)state;
    launch_that_hangs(&s, PEL_PROTECT_ISOLATE, 300000000);
    assert_int_not_equal(pel_queue_destroy(s.queue), PEL_BUSY);
    s.queue = NULL;
    layer_script(faults, "%s", "");
    tear_down(&s);
}

/* How many launches the host ended while the context of the lost device was being built anew. */
static int launches_meanwhile(const char *script) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[8];
    update_scene s;
    int meanwhile = 0, all = 0;
    assert_true(set_up(&s, "host,opencl:0"));
    const pel_arg args[] = {pel_buf(s.x), pel_buf(s.y)};
    desc.global[0] = N;
    desc.protection = PEL_PROTECT_RETRY;
    desc.shares = shares;
    desc.share_count = pick(&s, true, shares);
    const pel_device *lost = shares[0].device;
    layer_script(faults, "%s", "clEnqueueNDRangeKernel@1:vanish");
    for (; all == 0 || health_of(lost).state != PEL_DEVICE_WELL; all++) {
        const pel_device_state before = health_of(lost).state;
        update_expect(&s);
        assert_int_equal(pel_launch(s.queue, s.kernel, &desc, args, 2, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
        meanwhile += before == PEL_DEVICE_TESTED && health_of(lost).state == PEL_DEVICE_TESTED ? 1 : 0;
        if (all == 0) {
            layer_script(faults, "%s", script);
            shares[0].device = pel_runtime_device(s.runtime, shares[0].device == pel_runtime_device(s.runtime, 0) ? 1 : 0);
        }
        assert_true(all < 60000);
        (void)usleep(1000);
    }
    assert_true(update_is_right(&s));
    layer_script(faults, "%s", "");
    tear_down(&s);
    return meanwhile;
}

/* A driver that takes long to open holds nobody up. Tried again when everything stood still during just that time. */
static void test_a_slow_context(void **state) {
    int meanwhile = 0;
    (void)state;
    for (int i = 0; i < 5 && meanwhile == 0; i++) {
        meanwhile = launches_meanwhile("clCreateContext@1:delay(300ms)");
    }
    print_message("%d launches while a context was built anew\n", meanwhile);
    assert_true(meanwhile > 0);
}

static int find_layer(void **state) {
    (void)state;
    faults = layer_load();
    if (!faults) {
        fprintf(stderr, "no layer\n");
        exit(77);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_destroyed_while_it_hangs), cmocka_unit_test(test_destroyed_while_an_isolated_one_hangs),
        cmocka_unit_test(test_any_failure_elsewhere),  cmocka_unit_test(test_commands_that_fail),
        cmocka_unit_test(test_in_place_and_not_known), cmocka_unit_test(test_commands_that_hang),
        cmocka_unit_test(test_the_next_one_hangs_too),
        cmocka_unit_test(test_a_slow_compiler_is_no_hang), cmocka_unit_test(test_a_stop_is_no_hang),
        cmocka_unit_test(test_a_slow_context),
    };
    return cmocka_run_group_tests(tests, find_layer, NULL);
}
