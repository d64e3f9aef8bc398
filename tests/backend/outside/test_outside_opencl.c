/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device in a process of its own dies: in a launch, between launches, by a signal, by a kernel. Under retry the results are
 * right, without protection there is a story; afterwards no process, thread or descriptor is left. And a child that lies: it is
 * this program, called with the words of pel-device.
 */
#include "support/cores.h"
#include "support/update.h"
#include "backend/backends.h"
#include "backend/outside/outside.h"
#include "core/runtime.h"
#include "kernel/kernel.h"
#include <pel/opencl.h>
#include <pel/pel.h>

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 20000, ROUNDS = 20000 };

/* y = 3 y + x, after as many idle rounds as are asked for; crash: through a wild pointer, on OpenCL only. */
static const char source[] =
    "kernel void update(uint rounds, uint crash, global const uint *x, global uint *y) {\n"
    "    size_t i = get_global_id(0);\n"
    "    uint t = (uint)i;\n"
    "    for (uint k = 0; k < rounds; k++) t = t * 1664525u + 1013904223u;\n"
    "    if (crash) *((volatile global uint *)(x + (1ul << 46))) = t;\n"
    "    y[i] = 3u * y[i] + x[i] + (t == 12345u && rounds == 77u ? 1u : 0u);\n"
    "}\n";

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    update_items(span, arguments[2], arguments[3]);
    return PEL_OK;
}

static int count_entries(const char *path) {
    DIR *directory = opendir(path);
    int count = 0;
    assert_non_null(directory);
    while (readdir(directory)) {
        count++;
    }
    closedir(directory);
    return count;
}

static int descriptors(void) { return count_entries("/proc/self/fd"); }

/* A thread that was joined may show for a moment more. */
static void expect_threads(int wanted) {
    const struct timespec nap = {0, 1000000};
    for (int i = 0; i < 2000 && count_entries("/proc/self/task") > wanted; i++) {
        nanosleep(&nap, NULL);
    }
    assert_true(count_entries("/proc/self/task") <= wanted);
}

static void expect_no_child(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* Gone, and buried. The driver is the one that had it: quarantine may have put another in its place by now. */
static void expect_dead(pel_backend_device *driver) {
    const struct timespec nap = {0, 1000000};
    for (int i = 0; i < 20000 && pel_outside_process(driver) != 0; i++) {
        nanosleep(&nap, NULL);
    }
    assert_int_equal(pel_outside_process(driver), 0);
}

static pel_runtime *make_runtime(const char *devices, pel_status expected, const char *word) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.history = "off";
    const pel_status status = pel_runtime_create(&desc, &runtime, &error);
    if (status != expected || (word && !strstr(pel_error_story(error), word))) {
        fail_msg("%s: %s: %s", devices, pel_status_name(status), pel_error_story(error));
    }
    pel_error_destroy(error);
    return runtime;
}

static const pel_device *device_of(const update_scene *s) { return pel_runtime_find_device(s->runtime, "opencl:0"); }

static void set_up(update_scene *s, const char *devices) {
    static const pel_param params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_VALUE(uint32_t), UPDATE_PARAMS};
    static const update_variant variant = {source, params, 4, update};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.history = "off";
    if (update_begin(s, &desc, &variant, N, &error) != PEL_OK) {
        fail_msg("%s: %s", devices, pel_error_story(error));
    }
    assert_non_null(device_of(s));
    assert_int_equal(pel_device_get_info(device_of(s))->outside, 1);
    assert_ptr_equal(device_of(s)->driver->backend, &pel_backend_outside);
}

static void tear_down(update_scene *s) {
    (void)update_end(s);
    update_free(s);
}

/* By halves on all devices. */
static void launch(update_scene *s, pel_protection protection, uint32_t rounds, uint32_t crash, pel_event **event) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_share shares[4];
    const pel_arg args[] = {pel_u32(rounds), pel_u32(crash), pel_buf(s->x), pel_buf(s->y)};
    desc.global[0] = N;
    desc.protection = protection;
    desc.shares = shares;
    desc.share_count = pel_runtime_device_count(s->runtime);
    for (uint32_t i = 0; i < desc.share_count; i++) {
        shares[i] = (pel_share){.device = pel_runtime_device(s->runtime, i), .weight = 1};
    }
    assert_int_equal(pel_launch(s->queue, s->kernel, &desc, args, 4, event), PEL_OK);
    update_expect(s);
}

static void expect_right(update_scene *s) {
    const pel_status status = pel_queue_finish(s->queue);
    if (status != PEL_OK) {
        fail_msg("%s: %s", pel_status_name(status), pel_error_story(pel_queue_error(s->queue)));
    }
    assert_true(update_is_right(s));
}

/* Both processes see the same pages, so what is zeroed here is zeroed there; and the child goes on. */
static void test_sensitive_memory(void **state) {
    enum { BYTES = 12345 };
    static unsigned char host[BYTES];
    pel_mem *mem = NULL;
    update_scene s;
    (void)state;
    set_up(&s, "opencl:0[outside]");
    pel_backend_device *driver = device_of(&s)->driver;
    assert_int_equal(driver->backend->mem_create(driver, host, BYTES, &mem, NULL), PEL_OK);
    unsigned char *region = ((pel_outside_mem *)mem)->region;
    memset(region, 0xa5, BYTES);
    assert_int_equal(driver->backend->mem_wipe(driver, mem, NULL), PEL_OK);
    for (size_t i = 0; i < BYTES; i++) {
        assert_int_equal(region[i], 0);
    }
    driver->backend->mem_destroy(driver, mem);
    launch(&s, PEL_PROTECT_NONE, 10, 0, NULL);
    expect_right(&s);
    tear_down(&s);
}

/* The kernel's own limit and whether its source demands a size: as in this process. */
static void test_groups(void **state) {
    static const char groups[] = "kernel void free_size(global int *x) { x[get_global_id(0)] = 1; }\n"
                                 "kernel __attribute__((reqd_work_group_size(8, 1, 1))) void eight(global int *x) {\n"
                                 "    x[get_global_id(0)] = 1; }\n";
    static const char *const entries[] = {"free_size", "eight"}, *const lists[] = {"opencl:0", "opencl:0[outside]"};
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    uint64_t largest[2][2] = {{0}};
    (void)state;
    for (int l = 0; l < 2; l++) {
        pel_runtime *runtime = make_runtime(lists[l], PEL_OK, NULL);
        pel_program *program = NULL;
        const pel_program_desc program_desc = {.source = groups};
        assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
        for (int e = 0; e < 2; e++) {
            const pel_kernel_desc desc = {.entry = entries[e], .params = params, .param_count = 1};
            pel_kernel *kernel = NULL;
            pel_backend_device *driver = pel_runtime_device(runtime, 0)->driver;
            bool fixed = e == 0;
            assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
            largest[l][e] = driver->backend->largest_group(driver, &kernel->image, &fixed);
            assert_int_equal(fixed, e == 1);
            assert_int_equal(kernel->largest_group[0], largest[l][e]);
            assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        }
        assert_int_equal(pel_program_destroy(program), PEL_OK);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    assert_true(largest[0][0] > 0 && largest[0][1] > 0);
    assert_memory_equal(largest[0], largest[1], sizeof largest[0]);
}

static void test_works(void **state) {
    (void)state;
    static const char *const lists[] = {"opencl:0[outside]", "host@0,opencl:0@1[outside]", "opencl:0@1[own;outside],host@0"};
    for (size_t i = 0; i < (test_has_cores_0_and_1() ? sizeof lists / sizeof *lists : 1); i++) {
        const int before = descriptors();
        update_scene s;
        set_up(&s, lists[i]);
        for (int k = 0; k < 20; k++) {
            launch(&s, PEL_PROTECT_NONE, 10, 0, NULL);
        }
        expect_right(&s);
        assert_null(pel_opencl_context(device_of(&s))); /* it is another process's */
        tear_down(&s);
        expect_no_child();
        assert_int_equal(descriptors(), before);
    }
}

static void test_killed_in_a_launch(void **state) {
    (void)state;
    static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT};
    const struct timespec nap = {0, 30000000};
    if (!test_has_cores_0_and_1()) {
        skip();
    }
    for (int i = 0; i < 6; i++) {
        const bool retry = i % 2 == 0;
        const int number = signals[i / 2], before = descriptors();
        pel_event *event = NULL;
        update_scene s;
        set_up(&s, "host@0,opencl:0@1[outside]");
        pel_backend_device *driver = device_of(&s)->driver;
        const pid_t child = pel_outside_process(driver);
        assert_true(child > 0);
        launch(&s, PEL_PROTECT_NONE, 0, 0, NULL);
        expect_right(&s);
        launch(&s, retry ? PEL_PROTECT_RETRY : PEL_PROTECT_NONE, ROUNDS, 0, &event);
        nanosleep(&nap, NULL); /* in the launch most likely; before it is as good */
        assert_int_equal(kill(child, number), 0);
        if (retry) {
            expect_right(&s);
            launch(&s, PEL_PROTECT_DEFAULT, 0, 0, NULL); /* and goes on without it: the planner knows */
            pel_queue_finish(s.queue);
        } else if (pel_queue_finish(s.queue) == PEL_OK) { /* it was done before the signal had its effect */
            assert_true(update_is_right(&s));
        } else {
            pel_error *error = pel_queue_error(s.queue);
            const char *story = pel_error_story(error);
            char process[32];
            snprintf(process, sizeof process, "process %ld", (long)child);
            assert_int_equal(pel_error_status(error), PEL_DEVICE_LOST);
            if (!strstr(story, process) || !strstr(story, "opencl:0") || (number == SIGKILL && !strstr(story, "SIGKILL"))) {
                fail_msg("%s", story);
            }
            pel_error_destroy(error);
        }
        pel_event_release(event);
        expect_dead(driver);
        tear_down(&s);
        expect_no_child();
        assert_int_equal(descriptors(), before);
    }
}

/* It is found by the watchdog and done by the host; the child, which would hang for ever, is killed. */
static void test_hanging_kernel(void **state) {
    (void)state;
    if (!test_has_cores_0_and_1()) {
        skip();
    }
    const int before = descriptors();
    update_scene s;
    set_up(&s, "host@0,opencl:0@1[outside]");
    for (int k = 0; k < 8; k++) { /* how long it takes is learned */
        launch(&s, PEL_PROTECT_NONE, 10, 0, NULL);
        expect_right(&s);
    }
    launch(&s, PEL_PROTECT_ISOLATE, 10, 0, NULL);
    expect_right(&s);
    launch(&s, PEL_PROTECT_ISOLATE, UINT32_MAX, 0, NULL);
    expect_right(&s);
    tear_down(&s);
    expect_no_child();
    assert_int_equal(descriptors(), before);
}

/* A kernel that writes where nothing is takes the child along, and the child only. */
static void test_crashing_kernel(void **state) {
    (void)state;
    update_scene s;
    if (test_has_cores_0_and_1()) {
        set_up(&s, "host@0,opencl:0@1[outside]");
        launch(&s, PEL_PROTECT_RETRY, 0, 1, NULL);
        expect_right(&s);
        tear_down(&s);
        expect_no_child();
    }
    set_up(&s, "opencl:0[outside]");
    launch(&s, PEL_PROTECT_NONE, 0, 1, NULL);
    assert_int_equal(pel_queue_finish(s.queue), PEL_DEVICE_LOST);
    tear_down(&s);
    expect_no_child();
}

/* Dead before anybody asks: noticed at once, and told to whoever asks then. */
static void test_killed_when_idle(void **state) {
    (void)state;
    update_scene s;
    set_up(&s, "opencl:0[outside]");
    assert_int_equal(kill(pel_outside_process(device_of(&s)->driver), SIGKILL), 0);
    expect_dead(device_of(&s)->driver);
    launch(&s, PEL_PROTECT_NONE, 0, 0, NULL);
    assert_int_equal(pel_queue_finish(s.queue), PEL_DEVICE_LOST);
    pel_program *program = NULL;
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    pel_error *error = NULL;
    desc.source = "kernel void other(global int *x) { x[0] = 1; }";
    if (pel_program_create(s.runtime, &desc, &program, &error) == PEL_OK) { /* it may be lazy */
        pel_program_destroy(program);
    }
    pel_error_destroy(error);
    tear_down(&s);
}

static void test_many_runtimes(void **state) {
    (void)state;
    int files = 0, threads = 0;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(pel_runtime_destroy(make_runtime("opencl:0[outside]", PEL_OK, NULL)), PEL_OK);
        if (i == 0) {
            files = descriptors();
            threads = count_entries("/proc/self/task");
        }
    }
    assert_int_equal(descriptors(), files);
    expect_threads(threads);
    expect_no_child();
}

/* Who asks for outside never gets inside. */
static void test_refusals(void **state) {
    (void)state;
    char *program = strdup(getenv("PEL_DEVICE_PROGRAM"));
    const int files = descriptors();
    setenv("PEL_DEVICE_PROGRAM", "/nonexistent/pel-device", 1);
    assert_null(make_runtime("opencl:0[outside]", PEL_NOT_FOUND, "/nonexistent/pel-device"));
    setenv("PEL_DEVICE_PROGRAM", "/bin/true", 1);
    assert_null(make_runtime("opencl:0[outside]", PEL_DEVICE_LOST, "ended with status 0"));
    setenv("PEL_DEVICE_PROGRAM", program, 1);
    free(program);
    assert_int_equal(descriptors(), files);
    expect_no_child();
}

/* ---- a child that lies ---- */

static const char *const lies[] = {"nothing", "bytes", "kind",       "twice",  "done", "reply",
                                   "length",  "text",  "descriptor", "status", "exit",  "compiling"};

static void put_hello(pel_packet *packet) {
    pel_packet_begin(packet, PEL_OUTSIDE_HELLO, 0);
    pel_packet_put_u32(packet, PEL_OK);
    pel_packet_put_error(packet, NULL);
    pel_packet_put_u32(packet, 1);
}

static void put_lie(pel_packet *packet, const char *lie) {
    const pel_outside_done done = {.status = 0, .began = INT64_MIN, .ended = INT64_MAX};
    if (strcmp(lie, "kind") == 0) {
        pel_packet_begin(packet, (pel_outside_kind)999, 1);
    } else if (strcmp(lie, "twice") == 0) {
        put_hello(packet);
    } else if (strcmp(lie, "done") == 0) {
        pel_packet_begin(packet, PEL_OUTSIDE_DONE, 12345);
        pel_packet_put(packet, &done, sizeof done);
    } else if (strcmp(lie, "compiling") == 0) {
        pel_packet_begin(packet, PEL_OUTSIDE_COMPILING, 12345);
    } else if (strcmp(lie, "reply") == 0) {
        pel_packet_begin(packet, PEL_OUTSIDE_REPLY, UINT64_MAX);
    } else if (strcmp(lie, "status") == 0) {
        pel_packet_begin(packet, PEL_OUTSIDE_LOG, 0);
        pel_packet_put_u32(packet, 77);
    } else {
        pel_packet_begin(packet, PEL_OUTSIDE_LOG, 0);
        pel_packet_put_u32(packet, PEL_LOG_ERROR);
        pel_packet_put_u64(packet, strcmp(lie, "text") == 0 ? UINT64_MAX - 3 : 8);
        pel_packet_put(packet, "no end!!", 8);
    }
}

static int be_a_liar(const char *lie) {
    static pel_packet packet;
    pel_reader reader;
    int attached;
    if (strcmp(lie, "nothing") == 0 || pel_packet_receive(PEL_OUTSIDE_SOCKET, &packet, &reader, &attached, true) != 0) {
        return 0;
    }
    put_hello(&packet);
    (void)pel_packet_send(PEL_OUTSIDE_SOCKET, &packet, -1, true);
    if (strcmp(lie, "exit") == 0) {
        return 7;
    }
    put_lie(&packet, lie);
    if (strcmp(lie, "bytes") == 0) {
        memset(packet.data, 0xa5, 64);
        (void)!write(PEL_OUTSIDE_SOCKET, packet.data, 64);
    } else if (strcmp(lie, "length") == 0) {
        (void)!write(PEL_OUTSIDE_SOCKET, packet.data, packet.bytes - 8);
    } else {
        (void)pel_packet_send(PEL_OUTSIDE_SOCKET, &packet, strcmp(lie, "descriptor") == 0 ? 2 : -1, true);
    }
    for (;;) {
        pause();
    }
}

static void test_lies(void **state) {
    (void)state;
    char *program = strdup(getenv("PEL_DEVICE_PROGRAM"));
    char self[4096] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    setenv("PEL_DEVICE_PROGRAM", self, 1);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const int files = descriptors();
        setenv("PEL_TEST_LIE", lies[i], 1);
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        pel_runtime *runtime = NULL;
        desc.devices = "opencl:0[outside]";
        desc.history = "off";
        if (pel_runtime_create(&desc, &runtime, NULL) == PEL_OK) { /* it has said hello */
            print_message("lie: %s\n", lies[i]);
            expect_dead(pel_runtime_device(runtime, 0)->driver); /* nothing was launched, so nothing has replaced it */
            assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
        }
        expect_no_child();
        assert_int_equal(descriptors(), files);
    }
    setenv("PEL_DEVICE_PROGRAM", program, 1);
    free(program);
}

int main(int argc, char **argv) {
    char words[128];
    if (argc == 3 && strcmp(argv[1], pel_outside_words(words, sizeof words)) == 0) {
        return be_a_liar(getenv("PEL_TEST_LIE"));
    }
    if (!getenv("PEL_DEVICE_PROGRAM")) {
        return 77;
    }
    pel_runtime *runtime = NULL; /* loads the drivers, and tells whether there is one */
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "opencl:0";
    if (pel_runtime_create(&desc, &runtime, NULL) != PEL_OK || pel_runtime_destroy(runtime) != PEL_OK) {
        return 77;
    }
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_works),          cmocka_unit_test(test_killed_in_a_launch), cmocka_unit_test(test_crashing_kernel),
        cmocka_unit_test(test_killed_when_idle), cmocka_unit_test(test_many_runtimes),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lies),           cmocka_unit_test(test_sensitive_memory),
        cmocka_unit_test(test_groups),         cmocka_unit_test(test_hanging_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
