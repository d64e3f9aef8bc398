/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories of runtimes: found again, shared by processes, never in the way. */
#include "core/history_file.h"
#include "core/runtime.h"
#include "model/history.h"

#include <pel/pel.h>
#include <pel/simulated.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64], path[96], away[112];
static char last_log[1024];

static void log_it(void *user, pel_log_level level, const char *message) {
    (void)user;
    (void)level;
    (void)snprintf(last_log, sizeof last_log, "%s", message);
}

static int make_directory(void **state) {
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/pel-history-XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/history", directory);
    (void)snprintf(away, sizeof away, "%s.bad", path);
    last_log[0] = '\0';
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    char command[128];
    (void)chmod(directory, 0700);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

static pel_status other_code(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    return user ? PEL_TASK_FAILED : nothing(span, arguments, scratch, user);
}

typedef struct run_options {
    const char *kernel;
    pel_host_fn host;
    double rate;
    uint32_t launches;
    const char *history;
} run_options;

/* A process's worth of work; yields what the first plan predicted, ns. */
static double run(const run_options *options) {
    const pel_simulated_device devices[] = {{.name = "a", .start_ns = 1e4, .rate = options->rate, .noise = 0.02},
                                            {.name = "b", .start_ns = 2e4, .rate = 500.0, .noise = 0.02}};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch_desc = PEL_LAUNCH_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    pel_queue *queue = NULL;
    pel_plan *plan = NULL;
    simulation.devices = devices;
    simulation.device_count = 2;
    simulation.seed = 5;
    desc.simulation = &simulation;
    desc.devices = "!host";
    desc.history = options->history ? options->history : path;
    desc.log = log_it;
    desc.log_level = PEL_LOG_WARNING;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    kernel_desc.name = options->kernel;
    kernel_desc.host = options->host;
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    launch_desc.global[0] = 1000000;
    assert_int_equal(pel_launch_plan(queue, kernel, &launch_desc, NULL, 0, &plan), PEL_OK);
    double predicted = pel_plan_predicted_ns(plan);
    pel_plan_destroy(plan);
    for (uint32_t i = 0; i < options->launches; i++) {
        assert_int_equal(pel_launch(queue, kernel, &launch_desc, NULL, 0, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
    }
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    return predicted;
}

static const run_options usual = {"kernel", nothing, 1000.0, 20, NULL};

static void the_second_process_knows(void **state) {
    (void)state;
    assert_true(run(&usual) == 0.0);
    double predicted = run(&usual);
    assert_true(predicted > 6e5 && predicted < 8e5); /* 1e6 items at 1.5 per ns, and the starts */
    assert_string_equal(last_log, "");
    pel_history history = {.allocator = &pel_allocator_default};
    assert_int_equal(pel_history_file_read(path, &history, NULL), PEL_OK);
    assert_true(history.count >= 2);
    for (uint32_t i = 0; i < history.count; i++) {
        assert_string_equal(history.entries[i]->kernel, "kernel");
        assert_true(strncmp(history.entries[i]->device, "sim:", 4) == 0);
    }
    pel_history_free(&history);
}

static void what_has_changed_does_not_inherit(void **state) {
    (void)state;
    run_options changed = usual;
    (void)run(&usual);
    changed.host = other_code;
    assert_true(run(&changed) == 0.0);
    changed = usual;
    changed.kernel = "another";
    assert_true(run(&changed) == 0.0);
    changed = usual;
    changed.rate = 900.0; /* another device */
    assert_true(run(&changed) == 0.0);
    changed = usual;
    changed.history = "off";
    assert_true(run(&changed) == 0.0);
    assert_true(run(&usual) > 0.0);
}

static void write_file(const char *name, const void *data, size_t bytes) {
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void unusable_ones_are_set_aside(void **state) {
    (void)state;
    static const char foreign[] =
        "pelhist\n\377\0\0\0\1\0\0\0 of a later version, or whatever else may stand in a file of that name at some time";
    static const struct {
        const char *text;
        size_t bytes;
        const char *complaint;
    } files[] = {{"pelhist\nhello", 13, "it is cut off"}, {"", 0, "it is empty"}, {foreign, sizeof foreign, "another version"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_file(path, files[i].text, files[i].bytes);
        assert_true(run(&usual) == 0.0);
        assert_non_null(strstr(last_log, files[i].complaint));
        assert_non_null(strstr(last_log, ".bad"));
        struct stat facts;
        assert_int_equal(stat(away, &facts), 0);
        assert_int_equal(facts.st_size, files[i].bytes);
        last_log[0] = '\0';
        assert_true(run(&usual) > 0.0); /* and a new one was written */
        assert_string_equal(last_log, "");
        assert_int_equal(unlink(path), 0);
    }
}

static void assert_file_has(const char *name, const char *text) {
    char bytes[64] = {0};
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    assert_true(fread(bytes, 1, sizeof bytes - 1, file) == strlen(text));
    (void)fclose(file);
    assert_string_equal(bytes, text);
}

/* A file of the user's, named as the history or in the place where a damaged one would go, stays as it is. */
static void what_is_no_history_is_left_alone(void **state) {
    (void)state;
    write_file(path, "my thesis", 9);
    for (int i = 0; i < 2; i++) {
        last_log[0] = '\0';
        assert_true(run(&usual) == 0.0);
        assert_non_null(strstr(last_log, "it is not a history"));
        assert_file_has(path, "my thesis");
        assert_true(access(away, F_OK) != 0);
    }
    write_file(path, "pelhist\nhello", 13);
    write_file(away, "my thesis", 9);
    last_log[0] = '\0';
    assert_true(run(&usual) == 0.0);
    assert_non_null(strstr(last_log, "cannot be set aside"));
    assert_file_has(path, "pelhist\nhello");
    assert_file_has(away, "my thesis");
    assert_true(unlink(away) == 0 && unlink(path) == 0);
}

static void places_that_cannot_be_written(void **state) {
    (void)state;
    run_options nowhere = usual;
    nowhere.history = "/proc/nowhere/history";
    (void)run(&nowhere);
    assert_non_null(strstr(last_log, "/proc/nowhere/history"));
}

/* Devices, directories, pipes are never read, renamed or replaced, nor is anything made beside them. */
static void what_is_no_file_is_left_alone(void **state) {
    (void)state;
    char lock[112];
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    for (int kind = 0; kind < 2; kind++) {
        struct stat before, after;
        assert_int_equal(kind == 0 ? mkdir(path, 0700) : mkfifo(path, 0600), 0);
        assert_int_equal(stat(path, &before), 0);
        last_log[0] = '\0';
        assert_true(run(&usual) == 0.0);
        assert_non_null(strstr(last_log, "it is no regular file"));
        assert_int_equal(lstat(path, &after), 0);
        assert_true(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
        assert_true(access(away, F_OK) != 0 && access(lock, F_OK) != 0);
        assert_int_equal(remove(path), 0);
    }
}

/* Eight processes at once, each with a kernel of its own and one in common: nothing of anybody is lost. */
static void processes_share(void **state) {
    (void)state;
    enum { PROCESSES = 8 };
    static char names[PROCESSES][32];
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        (void)snprintf(names[i], sizeof names[i], "own-%d", i);
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            run_options own = usual;
            own.kernel = names[i];
            for (int j = 0; j < 4; j++) {
                (void)run(&usual);
                (void)run(&own);
            }
            _exit(last_log[0] != '\0');
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_true(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        run_options own = usual;
        own.kernel = names[i];
        assert_true(run(&own) > 0.0);
    }
    assert_true(run(&usual) > 0.0);
}

static uint64_t allocations_left;

static void *rationed(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left--;
    return realloc(pointer, bytes);
}

/* From the n-th allocation on there is no memory: a clean error or a runtime, and the file is whole. */
static void memory_runs_out(void **state) {
    (void)state;
    const pel_allocator allocator = {rationed, NULL};
    const pel_simulated_device device = {.name = "a", .rate = 1000.0};
    (void)run(&usual);
    uint32_t made = 0;
    for (uint64_t n = 0; n < 120 && made < 5; n++) {
        pel_simulation simulation = PEL_SIMULATION_INIT;
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        pel_runtime *runtime = NULL;
        simulation.devices = &device;
        simulation.device_count = 1;
        desc.simulation = &simulation;
        desc.history = path;
        desc.allocator = &allocator;
        allocations_left = n;
        pel_status status = pel_runtime_create(&desc, &runtime, NULL);
        assert_true(status == PEL_OK || status == PEL_OUT_OF_MEMORY);
        made += status == PEL_OK;
        allocations_left = n % 2 == 0 ? n : 0;
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
        pel_history history = {.allocator = &pel_allocator_default};
        assert_int_equal(pel_history_file_read(path, &history, NULL), PEL_OK);
        assert_true(history.count >= 2);
        pel_history_free(&history);
    }
    assert_int_equal(made, 5);
}

/* Killed at any moment: the file is whole. */
static void killed_writers_leave_it_whole(void **state) {
    (void)state;
    (void)run(&usual);
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (uint32_t j = 0;; j++) {
                char name[32];
                run_options own = usual;
                (void)snprintf(name, sizeof name, "k%u", j);
                own.kernel = name;
                (void)run(&own);
            }
        }
        (void)usleep((useconds_t)(500 + 997 * i % 9000));
        (void)kill(child, SIGKILL);
        int status;
        assert_true(waitpid(child, &status, 0) == child);
        pel_history history = {.allocator = &pel_allocator_default};
        assert_int_equal(pel_history_file_read(path, &history, NULL), PEL_OK);
        assert_true(history.count >= 2);
        pel_history_free(&history);
    }
    assert_true(run(&usual) > 0.0);
    assert_string_equal(last_log, "");
}

int main(void) {
#define ROW(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        ROW(the_second_process_knows),      ROW(what_has_changed_does_not_inherit),
        ROW(unusable_ones_are_set_aside),   ROW(what_is_no_history_is_left_alone), ROW(places_that_cannot_be_written),
        ROW(what_is_no_file_is_left_alone), ROW(processes_share),
        ROW(killed_writers_leave_it_whole), ROW(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
