/* SPDX-License-Identifier: BSD-3-Clause */
/* Drivers that crash, abort, exit and hang at discovery cost themselves only; the answer is remembered exactly as long as it may
 * be. */
#include "base/error.h"
#include "topology/guard.h"
#include "topology/helper.h"
#include "base/log.h"
#include "topology/probe.h"
#include "topology/scenario.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Settings of the scenarios below: OCL_ICD_VENDORS is a directory with a.icd (bad, by PEL_FAKE_MODE) and b.icd (good, 1 GPU).
 * TEST_CACHE: cache directory. */
static pel_topology *discover_with_probe(void) {
    pel_topology_options options = {.devices = "all", .probe = true, .cache_directory = getenv("TEST_CACHE")};
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    if (pel_topology_discover(&options, &topology, &error) != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        exit(1);
    }
    return topology;
}

static unsigned temporary_directories(void) {
    unsigned count = 0;
    DIR *directory = opendir(getenv("TMPDIR"));
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        count += strncmp(entry->d_name, "pel-drivers-", 12) == 0;
    closedir(directory);
    return count;
}

/* The bad driver is gone, the good one is there, and nothing is left behind. */
static void bad_left_out(void) {
    pel_topology *topology = discover_with_probe();
    CHECK(topology->device_count == 2);
    CHECK(strcmp(topology->devices[1].info.name, "Good") == 0);
    /* The fake cannot make a context, so the probe finds that the device does not work. */
    CHECK(!topology->devices[1].selected && strstr(topology->devices[1].why_not, "clCreateContext"));
    CHECK(!getenv("OCL_ICD_VENDORS") || !strstr(getenv("OCL_ICD_VENDORS"), "pel-drivers-"));
    CHECK(temporary_directories() == 0);
    pel_topology_destroy(topology);
}

static unsigned warnings;
static void count_warnings(void *user, pel_log_level level, const char *message) {
    (void)user;
    warnings += level == PEL_LOG_WARNING && strstr(message, "PEL_PROBE_TIMEOUT_MS=") != NULL;
}

static pel_probe_answer ask(bool refresh) {
    pel_logger logger;
    pel_icd_list drivers;
    pel_probe_answer answer;
    CHECK(pel_icd_list_read("", &pel_allocator_default, &drivers, NULL) == PEL_OK);
    pel_logger_init(&logger, count_warnings, NULL, PEL_LOG_WARNING);
    CHECK(pel_probe_ask(&drivers, &pel_allocator_default, &logger, getenv("TEST_CACHE"), refresh, &answer, NULL) == PEL_OK);
    pel_logger_destroy(&logger);
    pel_icd_list_free(&drivers);
    return answer;
}

static void ask_once(bool refresh, bool remembered, uint32_t bad_drivers) {
    uint32_t bad = 0;
    pel_probe_answer answer = ask(refresh);
    for (uint32_t i = 0; i < answer.count; i++)
        bad += answer.findings[i].driver;
    if (!answer.asked || answer.remembered != remembered || bad != bad_drivers) {
        fprintf(stderr, "asked %d remembered %d bad %u\n", answer.asked, answer.remembered, (unsigned)bad);
        exit(1);
    }
    pel_probe_free(&answer);
}

/* The one file in the cache directory. */
static void cache_file(char path[PATH_MAX]) {
    DIR *directory = opendir(getenv("TEST_CACHE"));
    CHECK(directory);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strncmp(entry->d_name, "probe-", 6) != 0)
            continue;
        CHECK(snprintf(path, PATH_MAX, "%s/%s", getenv("TEST_CACHE"), entry->d_name) < PATH_MAX);
        count++;
    }
    closedir(directory);
    CHECK(count == 1);
}

static void damage(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* Good news: remembered until something changes; a damaged, foreign or writable file is no answer. */
static void remembering(void) {
    char path[PATH_MAX];
    ask_once(false, false, 0);
    ask_once(false, true, 0);
    ask_once(true, false, 0);
    cache_file(path);
    struct stat status;
    CHECK(stat(path, &status) == 0 && (status.st_mode & 077) == 0);
    static const char *const texts[] = {"", "done\n", "pel-probe 1 0000\ndone\n", "pel-probe 1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        damage(path, texts[i]);
        ask_once(false, false, 0);
        ask_once(false, true, 0);
    }
    CHECK(truncate(path, status.st_size - 3) == 0);
    ask_once(false, false, 0);
    CHECK(chmod(path, 0666) == 0);
    ask_once(false, false, 0);
    CHECK(chmod(path, 0600) == 0);
    ask_once(false, true, 0);
    setenv("PEL_FAKE_PLATFORM", "Another", 1); /* a relevant variable */
    ask_once(false, false, 0);
    unsetenv("PEL_FAKE_PLATFORM");
    setenv("PEL_UNRELATED", "1", 1);
    ask_once(false, true, 0);
    CHECK(warnings == 0);
    setenv("PEL_PROBE_TIMEOUT_MS", "soon", 1); /* told although nothing is tried */
    ask_once(false, true, 0);
    CHECK(warnings == 1);
    setenv("PEL_PROBE_TIMEOUT_MS", "20000", 1);
    setenv("TEST_CACHE", "/proc/nowhere", 1);
    ask_once(false, false, 0);
}

/* Bad news: believed for minutes. */
static void bad_news(void) {
    char path[PATH_MAX];
    ask_once(false, false, 1);
    ask_once(false, true, 1);
    cache_file(path);
    struct timespec past[2] = {{time(NULL) - PEL_PROBE_BAD_NEWS_SECONDS - 60, 0},
                               {time(NULL) - PEL_PROBE_BAD_NEWS_SECONDS - 60, 0}};
    CHECK(utimensat(AT_FDCWD, path, past, 0) == 0);
    ask_once(false, false, 1);
}

/* A host that reaps all its children, and one that ignores SIGCHLD, still get the answer. */
static void ignored_children(void) {
    signal(SIGCHLD, SIG_IGN);
    ask_once(true, false, 0);
    struct sigaction action;
    CHECK(sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
}

static void no_helper(void) {
    pel_probe_answer answer = ask(false);
    CHECK(!answer.asked && answer.count == 0);
    pel_probe_free(&answer);
    pel_topology *topology = discover_with_probe();
    CHECK(topology->device_count == 3); /* without the probe, all drivers are taken as they are */
    pel_topology_destroy(topology);
}

static const scenario scenarios[] = {{"bad_left_out", bad_left_out},         {"remembering", remembering}, {"bad_news", bad_news},
                                     {"ignored_children", ignored_children}, {"no_helper", no_helper},     {NULL, NULL}};

/* ---- a directory with two drivers ---- */

typedef struct setup {
    char *directory;
    char vendors[PATH_MAX], cache[PATH_MAX], temporary[PATH_MAX];
} setup;

static void copy_file(const char *from, const char *to) {
    char buffer[65536];
    size_t count;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    while ((count = fread(buffer, 1, sizeof buffer, in)) > 0)
        assert_int_equal(fwrite(buffer, 1, count, out), count);
    assert_int_equal(fclose(out), 0);
    fclose(in);
}

static int make_setup(void **state) {
    setup *made = calloc(1, sizeof *made);
    char first[PATH_MAX], second[PATH_MAX], line[PATH_MAX + 1];
    assert_non_null(made);
    made->directory = scenario_directory();
    snprintf(made->vendors, sizeof made->vendors, "OCL_ICD_VENDORS=%s/vendors", made->directory);
    snprintf(made->cache, sizeof made->cache, "TEST_CACHE=%s/cache", made->directory);
    snprintf(made->temporary, sizeof made->temporary, "TMPDIR=%s/tmp", made->directory);
    scenario_write(made->directory, "cache/keep", "");
    scenario_write(made->directory, "tmp/keep", "");
    snprintf(first, sizeof first, "%s/fake-a.so", made->directory);
    snprintf(second, sizeof second, "%s/fake-b.so", made->directory);
    copy_file(scenario_environment("PEL_FAKE_ICD"), first);
    copy_file(scenario_environment("PEL_FAKE_ICD"), second);
    snprintf(line, sizeof line, "%s\n", first);
    scenario_write(made->directory, "vendors/a.icd", line);
    snprintf(line, sizeof line, "%s\n", second);
    scenario_write(made->directory, "vendors/b.icd", line);
    *state = made;
    return 0;
}

static int drop_setup(void **state) {
    setup *made = *state;
    scenario_remove(made->directory);
    free(made);
    return 0;
}

static void expect(const setup *made, const char *name, const char *mode, const char *more) {
    char setting[64];
    snprintf(setting, sizeof setting, "PEL_FAKE_MODE=%s", mode);
    const char *settings[] = {"PEL_DEVICES",
                              "PEL_FAKE_DEVICES_B=gpu:name=Good",
                              "PEL_PROBE_TIMEOUT_MS=20000",
                              made->vendors,
                              made->cache,
                              made->temporary,
                              setting,
                              more,
                              NULL};
    assert_int_equal(scenario_run(name, settings), 0);
}

static void test_crash(void **state) {
    expect(*state, "bad_left_out", "crash", NULL);
}
static void test_abort(void **state) {
    expect(*state, "bad_left_out", "abort", NULL);
}
static void test_exit(void **state) {
    expect(*state, "bad_left_out", "exit", NULL);
}
static void test_hang(void **state) {
    expect(*state, "bad_left_out", "hang", "PEL_PROBE_TIMEOUT_MS=1500");
}
static void test_remembering(void **state) {
    expect(*state, "remembering", "", NULL);
}
static void test_bad_news(void **state) {
    expect(*state, "bad_news", "crash", NULL);
}
static void test_ignored_children(void **state) {
    expect(*state, "ignored_children", "", NULL);
}
static void test_no_helper(void **state) {
    expect(*state, "no_helper", "", "PEL_PROBE=/proc/nowhere/pel-probe");
}

static void test_drivers_are_listed(void **state) {
    setup *made = *state;
    pel_icd_list list;
    setenv("OCL_ICD_VENDORS", made->vendors + strlen("OCL_ICD_VENDORS="), 1);
    assert_int_equal(pel_icd_list_read("", &pel_allocator_default, &list, NULL), PEL_OK);
    assert_int_equal(list.count, 2);
    assert_true(list.readable && strcmp(list.variable, "OCL_ICD_VENDORS") == 0);
    assert_non_null(strstr(list.icds[0].path, "/a.icd"));
    assert_string_equal(list.icds[1].resolved, list.icds[1].library);
    pel_icd_list_free(&list);
    setenv("OCL_ICD_VENDORS", scenario_environment("PEL_FAKE_ICD"), 1);
    assert_int_equal(pel_icd_list_read("", &pel_allocator_default, &list, NULL), PEL_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.icds[0].library, scenario_environment("PEL_FAKE_ICD"));
    pel_icd_list_free(&list);
    unsetenv("OCL_ICD_VENDORS");
    scenario_write(made->directory, "root/etc/OpenCL/vendors/x.icd", "libx.so.1  \r\n");
    scenario_write(made->directory, "root/etc/OpenCL/vendors/empty.icd", "");
    scenario_write(made->directory, "root/etc/OpenCL/vendors/readme.txt", "no driver");
    scenario_write(made->directory, "root/etc/ld.so.conf.d/x.conf", "# comment\n/opt/x/lib\n");
    scenario_write(made->directory, "root/opt/x/lib/libx.so.1", "");
    char root[PATH_MAX];
    snprintf(root, sizeof root, "%s/root", made->directory);
    assert_int_equal(pel_icd_list_read(root, &pel_allocator_default, &list, NULL), PEL_OK);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.icds[0].library, "");
    assert_string_equal(list.icds[1].library, "libx.so.1");
    assert_non_null(strstr(list.icds[1].resolved, "/root/opt/x/lib/libx.so.1"));
    pel_icd_list_free(&list);
    assert_int_equal(pel_icd_list_read("/proc/nowhere", &pel_allocator_default, &list, NULL), PEL_OK);
    assert_true(list.count == 0 && !list.readable);
    pel_icd_list_free(&list);
}

/* pel-probe --load tells what the dynamic linker thinks. */
static void test_load_only(void **state) {
    (void)state;
    static const struct {
        const char *library, *says;
    } rows[] = {{"/proc/nowhere.so", "cannot open shared object file"}, {"libm.so.6", "not an OpenCL driver"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pel_helper_run run;
        assert_int_equal(pel_helper(&pel_allocator_default, "--load", rows[i].library, NULL, 20000, &run, NULL), PEL_OK);
        assert_int_equal(run.end, PEL_HELPER_DONE);
        assert_non_null(strstr(run.output.data, rows[i].says));
        pel_text_free(&run.output);
    }
    pel_helper_run run;
    assert_int_equal(pel_helper(&pel_allocator_default, "--load", scenario_environment("PEL_FAKE_ICD"), NULL, 20000, &run, NULL),
                     PEL_OK);
    assert_string_equal(run.output.data, "done\n");
    pel_text_free(&run.output);
}

int main(int argc, char **argv) {
    scenario_main(argc, argv, scenarios);
    (void)scenario_environment("PEL_FAKE_ICD");
    (void)scenario_environment("PEL_PROBE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_crash, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_abort, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_exit, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_hang, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_remembering, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_bad_news, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_ignored_children, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_no_helper, make_setup, drop_setup),
        cmocka_unit_test_setup_teardown(test_drivers_are_listed, make_setup, drop_setup),
        cmocka_unit_test(test_load_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
