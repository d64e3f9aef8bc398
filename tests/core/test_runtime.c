/* SPDX-License-Identifier: BSD-3-Clause */
/* Runtimes come and go a thousand times, idle ones use no CPU, the caller's process is as it was, and wrong descriptors are
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <pel/pel.h>

extern char **environ;

/* Leaks add up under AddressSanitizer as for users; races do not get likelier after the first hundred. */
#if defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { LIVES = 150 };
#else
enum { LIVES = 1000 };
#endif

static int entries(const char *directory) {
    int count = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    while (readdir(d)) {
        count++;
    }
    closedir(d);
    return count;
}

static void live(const pel_runtime_desc *desc) {
    pel_runtime *runtime = NULL;
    pel_error *error = NULL;
    pel_queue *queue = NULL;
    if (pel_runtime_create(desc, &runtime, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void many_lives(const pel_runtime_desc *desc, int lives) {
    live(desc); /* what drivers keep for the process they keep from here on */
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* see below */
    int threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
    for (int i = 0; i < lives; i++) {
        live(desc);
    }
    /* A joined thread stays listed until the kernel has buried it, a moment after the join. */
    for (int turn = 0; turn < 2000 && entries("/proc/self/task") != threads; turn++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(entries("/proc/self/task"), threads);
    assert_int_equal(entries("/proc/self/fd"), descriptors);
}

static void test_thousand_host_runtimes(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    many_lives(&desc, LIVES);
}

static void test_thousand_simulated_runtimes(void **state) {
    (void)state;
    pel_simulated_device device = {.start_ns = 1000, .rate = 1};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    strcpy(device.name, "one");
    simulation.devices = &device;
    simulation.device_count = 1;
    desc.simulation = &simulation;
    many_lives(&desc, LIVES);
}

static void test_thousand_runtimes_with_every_device(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    many_lives(&desc, LIVES);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static pel_status nothing(void *context) {
    (void)context;
    return PEL_OK;
}

static void test_idle_uses_no_cpu(void **state) {
    (void)state;
    pel_runtime *runtime = NULL;
    pel_queue *queue = NULL;
    const struct timespec settle = {0, 100000000}, idle = {0, 500000000};
    assert_int_equal(pel_runtime_create(NULL, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, nothing, NULL, NULL, 0, NULL, NULL), PEL_OK); /* workers have been awake */
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    nanosleep(&settle, NULL);
    double before = cpu_seconds();
    nanosleep(&idle, NULL);
    double used = cpu_seconds() - before;
    printf("idle: %.6f s of CPU in 0.5 s\n", used);
    assert_true(used < 0.02); /* one spinning worker would use 0.5 */
    pel_queue_destroy(queue);
    pel_runtime_destroy(runtime);
}

static uint64_t hash_environment(void) {
    uint64_t hash = 1469598103934665603u;
    for (char **entry = environ; *entry; entry++) {
        for (const char *c = *entry; *c; c++) {
            hash = (hash ^ (unsigned char)*c) * 1099511628211u;
        }
    }
    return hash;
}

static void test_the_process_is_as_it_was(void **state) {
    (void)state;
    struct sigaction before[32], after;
    cpu_set_t mask_before, mask_after;
    char directory_before[4096], directory_after[4096];
    for (int s = 1; s < 32; s++) {
        sigaction(s, NULL, &before[s]);
    }
    sched_getaffinity(0, sizeof mask_before, &mask_before);
    assert_non_null(getcwd(directory_before, sizeof directory_before));
    uint64_t environment = hash_environment();
    live(NULL);
    for (int s = 1; s < 32; s++) {
        sigaction(s, NULL, &after);
        if (s != SIGFPE) { /* PoCL needs it, see pel/runtime.h */
            assert_true(before[s].sa_handler == after.sa_handler);
        }
    }
    sched_getaffinity(0, sizeof mask_after, &mask_after);
    assert_true(CPU_EQUAL(&mask_before, &mask_after));
    assert_non_null(getcwd(directory_after, sizeof directory_after));
    assert_string_equal(directory_before, directory_after);
    assert_true(environment == hash_environment());
}

static void test_wrong_descriptors(void **state) {
    (void)state;
    pel_runtime *runtime = (pel_runtime *)&runtime;
    pel_error *error = NULL;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.size = sizeof desc + 8;
    assert_int_equal(pel_runtime_create(&desc, &runtime, &error), PEL_INVALID_ARGUMENT);
    assert_null(runtime);
    assert_non_null(strstr(pel_error_message(error), "size"));
    pel_error_destroy(error);
    error = NULL;
    desc = (pel_runtime_desc)PEL_RUNTIME_DESC_INIT;
    desc.flags = 1u << 30;
    assert_int_equal(pel_runtime_create(&desc, &runtime, &error), PEL_INVALID_ARGUMENT);
    pel_error_destroy(error);
    error = NULL;
    desc = (pel_runtime_desc)PEL_RUNTIME_DESC_INIT;
    desc.reserved = 1;
    assert_int_equal(pel_runtime_create(&desc, &runtime, &error), PEL_INVALID_ARGUMENT);
    assert_non_null(strstr(pel_error_message(error), "reserved"));
    pel_error_destroy(error);
    error = NULL;
    assert_int_equal(pel_runtime_test_devices(NULL, &error), PEL_INVALID_ARGUMENT);
    assert_non_null(strstr(pel_error_message(error), "NULL"));
    pel_error_destroy(error);
    error = NULL;
    desc = (pel_runtime_desc)PEL_RUNTIME_DESC_INIT;
    desc.devices = "no such device";
    assert_int_equal(pel_runtime_create(&desc, &runtime, &error), PEL_NOT_FOUND);
    assert_non_null(strstr(pel_error_message(error), "no such device"));
    assert_non_null(strstr(pel_error_message(error), "host"));
    pel_error_destroy(error);
    assert_int_equal(pel_runtime_create(NULL, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_destroy(NULL), PEL_OK);
    assert_int_equal(pel_runtime_device_count(NULL), 0);
    assert_null(pel_runtime_device(NULL, 0));
}

static char heard[256];

static void hear(void *user, pel_log_level level, const char *message) {
    (void)user;
    (void)level;
    (void)snprintf(heard, sizeof heard, "%s", message);
}

static void what_is_left_is_named(void **state) {
    (void)state;
    int values[4] = {0};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_buffer *buffers[2] = {NULL, NULL};
    pel_queue *queue = NULL;
    desc.devices = "host";
    desc.log = hear;
    desc.log_level = PEL_LOG_WARNING;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, values, sizeof *values, &buffers[0]), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, values + 2, sizeof *values, &buffers[1]), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_BUSY);
    assert_non_null(strstr(heard, "queues: 1, buffers: 2"));
    pel_queue_destroy(queue);
    pel_buffer_destroy(buffers[0]);
    pel_buffer_destroy(buffers[1]);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_is_named),
        cmocka_unit_test(test_the_process_is_as_it_was),
        cmocka_unit_test(test_thousand_host_runtimes),
        cmocka_unit_test(test_thousand_simulated_runtimes),
        cmocka_unit_test(test_thousand_runtimes_with_every_device),
        cmocka_unit_test(test_idle_uses_no_cpu),
        cmocka_unit_test(test_wrong_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
