/* SPDX-License-Identifier: BSD-3-Clause */
/* Files appear whole or not at all; JSON holds no NaN; tables line up. */
#include "cli/output.h"
#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *load(const char *path) {
    static char text[4096];
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void appears_on_commit(void **state) {
    (void)state;
    pel_output output;
    const char *path = scratch_path("a.txt");
    assert_true(pel_output_open(&output, NULL, path, 0));
    fputs("new", output.file);
    assert_null(load(path));
    assert_true(pel_output_commit(&output));
    assert_string_equal(load(path), "new");
    struct stat facts;
    stat(path, &facts);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(facts.st_mode & 0777, 0666 & ~mask);
    chmod(path, 0640);
    assert_true(pel_output_open(&output, NULL, path, 100));
    fputs("newer", output.file);
    pel_output_abandon(&output);
    assert_string_equal(load(path), "new");
    assert_true(pel_output_open(&output, NULL, path, 1000));
    fputs("newest", output.file);
    assert_true(pel_output_commit(&output));
    assert_string_equal(load(path), "newest");
    stat(path, &facts);
    assert_int_equal(facts.st_mode & 0777, 0640);
    assert_int_equal(scratch_count(), 1);
}

static void refuses_bad_places(void **state) {
    (void)state;
    pel_output output;
    int before = scratch_count();
    assert_false(pel_output_open(&output, NULL, scratch_path("nodir/a.txt"), 0));
    assert_false(pel_output_open(&output, NULL, scratch_path("."), 0));
    assert_false(pel_output_open(&output, NULL, "", 0));
    assert_false(pel_output_probe(NULL, "/proc/nothing-here"));
    assert_true(pel_output_probe(NULL, scratch_path("b.txt")));
    assert_int_equal(scratch_count(), before);
}

static void notices_a_full_disk(void **state) {
    (void)state;
    pel_output output;
    assert_true(pel_output_open(&output, NULL, "/dev/full", 0));
    fputs("lost", output.file);
    assert_false(pel_output_commit(&output));
    assert_false(pel_output_json(NULL, "/dev/full", json_pack("{s:i}", "a", 1)));
}

/* A size limit stands in for a full disk: a file that stops growing must not appear, nor replace the old one. */
static void leaves_nothing_half_written(void **state) {
    (void)state;
    pel_output output;
    const char *path = scratch_write("c.txt", "old", 3);
    int before = scratch_count();
    struct rlimit limit = {65536, 65536}, old;
    getrlimit(RLIMIT_FSIZE, &old);
    limit.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_false(pel_output_open(&output, NULL, path, 1 << 20)); /* seen before the work */
    assert_true(pel_output_open(&output, NULL, path, 0));
    for (int i = 0; i < 40000; i++)
        fputs("xxxx", output.file);
    assert_false(pel_output_commit(&output)); /* and at the latest here */
    setrlimit(RLIMIT_FSIZE, &old);
    assert_string_equal(load(path), "old");
    assert_int_equal(scratch_count(), before);
}

static void follows_links(void **state) {
    (void)state;
    char link_path[600];
    const char *path = scratch_write("d.txt", "old", 3);
    snprintf(link_path, sizeof link_path, "%s", scratch_path("d.link"));
    assert_int_equal(symlink(path, link_path), 0);
    pel_output output;
    assert_true(pel_output_open(&output, NULL, link_path, 0));
    fputs("new", output.file);
    assert_true(pel_output_commit(&output));
    struct stat facts;
    assert_int_equal(lstat(link_path, &facts), 0);
    assert_true(S_ISLNK(facts.st_mode));
    assert_string_equal(load(path), "new");
}

static void writes_valid_json(void **state) {
    (void)state;
    json_t *root = json_object();
    json_object_set_new(root, "nan", pel_json_real(NAN));
    json_object_set_new(root, "inf", pel_json_real(INFINITY));
    json_object_set_new(root, "tenth", pel_json_real(0.1));
    json_object_set_new(root, "bad", pel_json_text("caf\xe9"));
    json_object_set_new(root, "none", pel_json_text(NULL));
    const char *path = scratch_path("e.json");
    assert_true(pel_output_json(NULL, path, root));
    json_t *back = json_load_file(path, 0, NULL);
    assert_non_null(back);
    assert_true(json_is_null(json_object_get(back, "nan")) && json_is_null(json_object_get(back, "inf")));
    assert_string_equal(json_string_value(json_object_get(back, "bad")), "caf?");
    assert_non_null(strstr(load(path), "\"tenth\": 0.1,"));
    json_decref(back);
}

static void aligns_columns(void **state) {
    (void)state;
    pel_table table;
    pel_table_init(&table, "lr");
    static const char *const cells[] = {"name", "ms", "caf\xc3\xa9", "1.5", "x", "100"};
    for (int i = 0; i < 6; i++)
        pel_table_cell(&table, "%s", cells[i]);
    char text[512] = "";
    FILE *file = fmemopen(text, sizeof text, "w");
    assert_true(pel_table_print(&table, file, "> "));
    fclose(file);
    assert_string_equal(text, "> name   ms\n> ---------\n> caf\xc3\xa9  1.5\n> x     100\n");
    pel_table_free(&table);
}

static void formats_quantities(void **state) {
    (void)state;
    char text[32];
    assert_string_equal(pel_format_time(text, 1.5e6), "1.50 ms");
    assert_string_equal(pel_format_time(text, 12.34e9), "12.3 s");
    assert_string_equal(pel_format_time(text, 0), "0.00 ns");
    assert_string_equal(pel_format_time(text, 999), "999 ns");
    assert_string_equal(pel_format_bytes(text, 640), "640 B");
    assert_string_equal(pel_format_bytes(text, 1.5 * 1024 * 1024 * 1024), "1.5 GiB");
}

int main(void) {
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appears_on_commit),   cmocka_unit_test(refuses_bad_places),
        cmocka_unit_test(notices_a_full_disk), cmocka_unit_test(leaves_nothing_half_written),
        cmocka_unit_test(follows_links),       cmocka_unit_test(writes_valid_json),
        cmocka_unit_test(aligns_columns),      cmocka_unit_test(formats_quantities),
    };
    return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
