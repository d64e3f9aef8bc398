/* SPDX-License-Identifier: BSD-3-Clause */
/* Compiled programs on disk: kept after launches, believed only when whole and ours, never a reason to fail. */
#include "backend/opencl/internal.h"
#include "fixture.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static fixture f;
static char directory[64], programs[96], file[256];
static const pel_param params[] = {PEL_PARAM_POINTER(PEL_READ_WRITE)};
static const char source[] = "kernel void count(global int *x) { x[get_global_id(0)] += (int)get_global_size(0); }\n";

static int set_up(void **state) { return fixture_set_up(&f, state); }

/* A new, empty cache directory for each test. */
static int fresh(void **state) {
    (void)state;
    strcpy(directory, "/tmp/pel-cache-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(programs, sizeof programs, "%s/opencl", directory);
    f.env.cache_directory = directory;
    f.log[0] = '\0';
    return 0;
}

static unsigned files(void) {
    unsigned count = 0;
    DIR *list = opendir(programs);
    for (struct dirent *entry; list && (entry = readdir(list)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)snprintf(file, sizeof file, "%s/%.100s", programs, entry->d_name);
            count++;
        }
    }
    if (list) {
        closedir(list);
    }
    return count;
}

static int clear(void **state) {
    (void)state;
    (void)chmod(directory, 0700);
    (void)chmod(programs, 0700);
    while (files() > 0) {
        (void)unlink(file);
    }
    (void)unlink(programs);
    (void)rmdir(programs);
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

/* One life of a device: prepares, launches `items` items, checks the result; tells whether the launch was cold. */
static bool live(uint64_t items, bool chunked, const char *text) {
    pel_program_image program = fixture_program(text);
    pel_kernel_image kernel = fixture_kernel(&program, "count", params, 1);
    int *x = calloc((size_t)items, sizeof *x);
    pel_mem *mem = NULL;
    pel_error *error = NULL;

    fixture_start(&f);
    assert_int_equal(f.device->backend->prepare(f.device, &program, &kernel, &error), PEL_OK);
    assert_int_equal(f.device->backend->mem_create(f.device, x, items * sizeof *x, &mem, &error), PEL_OK);
    pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = items * sizeof *x};
    pel_transfer all = {.mem = mem, .bytes = items * sizeof *x};
    pel_work work = {.kind = PEL_WORK_LAUNCH,
                     .kernel = &kernel,
                     .args = &arg,
                     .span = fixture_span(1, items, 0, 0),
                     .chunked = chunked,
                     .in = &all,
                     .in_count = 1,
                     .out = &all,
                     .out_count = 1};
    fixture_run(&f, &work);
    assert_int_equal(work.status, PEL_OK);
    for (uint64_t i = 0; i < items; i++) {
        assert_int_equal(x[i], items);
    }
    f.device->backend->mem_destroy(f.device, mem);
    f.device->backend->kernel_forget(f.device, &kernel);
    f.device->backend->program_forget(f.device, &program);
    fixture_stop(&f);
    free(x);
    return work.cold;
}

static void kept_and_used(void **state) {
    (void)state;
    struct stat status;
    assert_true(live(128, false, source));
    assert_int_equal(files(), 1);
    assert_int_equal(stat(programs, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    f.log[0] = '\0';
    assert_false(live(128, false, source)); /* the binary holds the variant */
    assert_null(strstr(f.log, "built program"));
    assert_true(live(1u << 17, false, source)); /* a large grid is another variant of PoCL's: cold, and then known too */
    assert_false(live(1u << 17, false, source));
    assert_false(live(128, false, source));
    assert_int_equal(files(), 1);
    assert_true(live(128, true, source)); /* another form, another file */
    assert_int_equal(files(), 2);
    assert_false(live(128, true, source));
}

/* A size that does not divide runs in the chunked form alone; the plain form, which every program builds first, is kept all
 * the same. */
static void never_launched(void **state) {
    (void)state;
    assert_true(live(100, false, source));
    assert_int_equal(files(), 2);
    f.log[0] = '\0';
    assert_false(live(100, false, source));
    assert_null(strstr(f.log, "built program"));
}

static void names_differ(void **state) {
    (void)state;
    (void)live(64, false, source);
    (void)live(64, false, "kernel void count(global int *x) { x[get_global_id(0)] = (int)get_global_size(0); }\n");
    assert_int_equal(files(), 2);
    f.env.runtime_flags = PEL_RUNTIME_REPRODUCIBLE;
    (void)live(64, false, source);
    f.env.runtime_flags = 0;
    assert_int_equal(files(), 3);
    f.facts.info.driver = "another";
    (void)live(64, false, source);
    f.facts.info.driver = f.topology->devices[f.topology->selection[0]].info.driver;
    assert_int_equal(files(), 4);
}

static void uncacheable(void **state) {
    (void)state;
    pel_program_image program = fixture_program(source);
    pel_kernel_image kernel = fixture_kernel(&program, "count", params, 1);
    int x[64];
    pel_mem *mem = NULL;
    program.cacheable = false;
    fixture_start(&f);
    assert_int_equal(f.device->backend->mem_create(f.device, x, sizeof x, &mem, NULL), PEL_OK);
    pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = sizeof x};
    pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = &arg, .span = fixture_span(1, 64, 0, 0)};
    fixture_run(&f, &work);
    assert_int_equal(work.status, PEL_OK);
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
    assert_int_equal(files(), 0);
}

/* Changes the only file and expects: from source again, right result, a log line, a good file again. */
static void damaged(void (*damage)(void), const char *word) {
    (void)live(64, false, source);
    assert_int_equal(files(), 1);
    damage();
    f.log[0] = '\0';
    assert_true(live(64, false, source));
    if (!strstr(f.log, word)) {
        fail_msg("no \"%s\" in the log:\n%s", word, f.log);
    }
    f.log[0] = '\0';
    assert_false(live(64, false, source));
    assert_null(strstr(f.log, "not used"));
}

static void flip(long at, int whence) {
    FILE *stream = fopen(file, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, at, whence), 0);
    int byte = fgetc(stream);
    assert_int_equal(fseek(stream, -1, SEEK_CUR), 0);
    (void)fputc(byte ^ 0x10, stream);
    assert_int_equal(fclose(stream), 0);
}
static void flip_last(void) { flip(-1, SEEK_END); }
static void flip_middle(void) { flip(5000, SEEK_SET); }
static void flip_magic(void) { flip(0, SEEK_SET); }
static void flip_variant(void) { flip(40, SEEK_SET); }
static void shorten(void) { assert_int_equal(truncate(file, 3000), 0); }
static void empty(void) { assert_int_equal(truncate(file, 0), 0); }
static void lengthen(void) {
    struct stat status;
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(truncate(file, status.st_size + 1), 0);
}
static void open_to_all(void) { assert_int_equal(chmod(file, 0666), 0); }
static void make_link(void) {
    char target[300];
    (void)snprintf(target, sizeof target, "%s/target", directory);
    assert_int_equal(rename(file, target), 0);
    assert_int_equal(symlink(target, file), 0);
}

static void damage(void **state) {
    (void)state;
    damaged(flip_last, "checksum");
    damaged(flip_middle, "checksum");
    damaged(flip_variant, "checksum");
    damaged(flip_magic, "not a cached binary");
    damaged(shorten, "size is wrong");
    damaged(lengthen, "size is wrong");
    damaged(empty, "not a cached binary");
    damaged(open_to_all, "ours alone");
}

static void links(void **state) {
    (void)state;
    char target[300];
    damaged(make_link, "not used");
    (void)snprintf(target, sizeof target, "%s/target", directory);
    assert_int_equal(unlink(target), 0);
}

/* A whole file with a good checksum whose content is not a binary: the driver refuses it, and the file goes. */
static void foreign_content(void **state) {
    (void)state;
    pel_program_image program = fixture_program(source);
    unsigned char junk[4000];
    uint64_t variant = 1;
    pel_cl_binary binary = {.data = junk, .bytes = sizeof junk, .variants = &variant, .variant_count = 1};
    memset(junk, 'x', sizeof junk);
    fixture_start(&f);
    assert_int_equal(pel_cl_ready((pel_cl_device *)f.device, NULL), PEL_OK); /* the platform's version is part of the name */
    assert_true(pel_cl_cache_store((pel_cl_device *)f.device, &program, PEL_CL_PLAIN, &binary));
    fixture_stop(&f);
    assert_int_equal(files(), 1);
    assert_true(live(64, false, source));
    assert_non_null(strstr(f.log, "does not load"));
    assert_false(live(64, false, source));
}

static void directory_of_others(void **state) {
    (void)state;
    assert_int_equal(mkdir(programs, 0777), 0);
    assert_int_equal(chmod(programs, 0777), 0);
    (void)live(64, false, source);
    assert_int_equal(files(), 0);
    assert_non_null(strstr(f.log, "yours alone"));
    assert_int_equal(rmdir(programs), 0);
    assert_int_equal(symlink("/tmp", programs), 0);
    (void)live(64, false, source);
    assert_int_equal(unlink(programs), 0);
}

static void read_only_directory(void **state) {
    (void)state;
    (void)live(64, false, source);
    assert_int_equal(chmod(programs, 0500), 0);
    assert_false(live(64, false, source));
    (void)live(1u << 17, false, source); /* root may write anyway: then it is kept; either way the result is right */
    f.env.cache_directory = "/proc/no/such/place";
    (void)live(64, false, source);
    f.env.cache_directory = "/dev/full";
    (void)live(64, false, source);
    f.env.cache_directory = directory;
}

/* Idle, the driver thread writes the binary by itself. */
static void saved_when_idle(void **state) {
    (void)state;
    pel_program_image program = fixture_program(source);
    pel_kernel_image kernel = fixture_kernel(&program, "count", params, 1);
    int x[64];
    pel_mem *mem = NULL;
    fixture_start(&f);
    assert_int_equal(f.device->backend->mem_create(f.device, x, sizeof x, &mem, NULL), PEL_OK);
    pel_work_arg arg = {.kind = PEL_WORK_ARG_MEM, .mem = mem, .host = x, .bytes = sizeof x};
    pel_work work = {.kind = PEL_WORK_LAUNCH, .kernel = &kernel, .args = &arg, .span = fixture_span(1, 64, 0, 0)};
    fixture_run(&f, &work);
    for (int i = 0; i < 1000 && files() == 0; i++) {
        usleep(10000);
    }
    while (files() == 1 && strstr(file, "/.")) { /* still under its temporary name */
        usleep(1000);
    }
    assert_int_equal(files(), 1);
    f.device->backend->mem_destroy(f.device, mem);
    fixture_stop(&f);
    assert_false(live(64, false, source));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_and_used, fresh, clear),
        cmocka_unit_test_setup_teardown(never_launched, fresh, clear),
        cmocka_unit_test_setup_teardown(names_differ, fresh, clear),
        cmocka_unit_test_setup_teardown(uncacheable, fresh, clear),
        cmocka_unit_test_setup_teardown(damage, fresh, clear),
        cmocka_unit_test_setup_teardown(links, fresh, clear),
        cmocka_unit_test_setup_teardown(foreign_content, fresh, clear),
        cmocka_unit_test_setup_teardown(directory_of_others, fresh, clear),
        cmocka_unit_test_setup_teardown(read_only_directory, fresh, clear),
        cmocka_unit_test_setup_teardown(saved_when_idle, fresh, clear),
    };
    return cmocka_run_group_tests(tests, set_up, fixture_tear_down);
}
