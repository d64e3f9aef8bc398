/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel tells of threads that wait for a core, from files as it writes them. */
#include "resilience/starvation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MS 1000000ll

static char root[] = "/tmp/test_starvation.XXXXXX";

static void write_file(const char *path, const char *text) {
    char full[256];
    snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_folder(const char *path) {
    char full[256];
    snprintf(full, sizeof full, "%s/%s", root, path);
    assert_int_equal(mkdir(full, 0700), 0);
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(root));
    make_folder("proc");
    make_folder("proc/self");
    make_folder("proc/self/task");
    make_folder("proc/self/task/10");
    make_folder("proc/self/task/11");
    return 0;
}

static int tear_down(void **state) {
    static const char *const paths[] = {"proc/stat",
                                        "proc/self/task/10/schedstat",
                                        "proc/self/task/11/schedstat",
                                        "proc/self/task/12/schedstat",
                                        "proc/self/task/10",
                                        "proc/self/task/11",
                                        "proc/self/task/12",
                                        "proc/self/task",
                                        "proc/self",
                                        "proc",
                                        ""};
    char full[256];
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(full, sizeof full, "%s/%s", root, paths[i]);
        (void)remove(full);
    }
    return 0;
}

static void test_who_fared_worst(void **state) {
    (void)state;
    pel_starvation s = {.at = 0};
    write_file("proc/self/task/10/schedstat", "5000000 70000000 12\n");
    write_file("proc/self/task/11/schedstat", "9000000 1000000 40\n");
    write_file("proc/stat", "cpu  100 0 50 1000 0 0 0 10 0 0\ncpu0 1 2 3\n");
    assert_int_equal(pel_starvation_look(&s, root, 1000 * MS), 0); /* nothing to compare with */
    assert_int_equal(pel_starvation_look(&s, root, 1050 * MS), 0); /* nobody waited */
    write_file("proc/self/task/10/schedstat", "6000000 90000000 13\n");
    write_file("proc/self/task/11/schedstat", "9100000 41000000 50\n");
    assert_int_equal(pel_starvation_look(&s, root, 1100 * MS), 40 * MS);
    make_folder("proc/self/task/12"); /* one that was born meanwhile, and never ran */
    write_file("proc/self/task/12/schedstat", "0 45000000 0\n");
    assert_int_equal(pel_starvation_look(&s, root, 1150 * MS), 45 * MS);
    s.at = 0; /* looked for anew: what was before does not count */
    write_file("proc/self/task/10/schedstat", "6000000 890000000 13\n");
    assert_int_equal(pel_starvation_look(&s, root, 9150 * MS), 0);
}

/* Its figures are another thread's, or of a whole life: never more than the time that has passed. */
static void test_not_more_than_has_passed(void **state) {
    (void)state;
    pel_starvation s = {.at = 0};
    write_file("proc/self/task/10/schedstat", "6000000 890000000 13\n");
    (void)pel_starvation_look(&s, root, 1000 * MS);
    write_file("proc/self/task/10/schedstat", "100 3000000 1\n"); /* the id was given to a new one */
    assert_int_equal(pel_starvation_look(&s, root, 1050 * MS), 3 * MS);
    (void)pel_starvation_look(&s, "/nonexistent", 1100 * MS); /* no descriptor was left */
    write_file("proc/self/task/10/schedstat", "6000000 890000000 13\n");
    assert_int_equal(pel_starvation_look(&s, root, 1150 * MS), 50 * MS);
}

static void test_what_a_hypervisor_takes(void **state) {
    (void)state;
    pel_starvation s = {.at = 0};
    (void)pel_starvation_look(&s, root, 1000 * MS);
    write_file("proc/stat", "cpu  102 0 50 1010 0 0 0 16 0 0\n");  /* of 8 ticks that somebody wanted 6 are gone */
    assert_int_equal(pel_starvation_look(&s, root, 1100 * MS), 0); /* but nobody of ours computed: it is no excuse */
    write_file("proc/self/task/10/schedstat", "26000000 890000000 13\n");
    write_file("proc/stat", "cpu  104 0 50 1010 0 0 0 22 0 0\n");
    assert_int_equal(pel_starvation_look(&s, root, 1200 * MS), 75 * MS);
}

static void test_a_kernel_that_does_not_tell(void **state) {
    (void)state;
    pel_starvation s = {.at = 0};
    assert_int_equal(pel_starvation_look(&s, "/nonexistent", 1000 * MS), 0);
    assert_int_equal(pel_starvation_look(&s, "/nonexistent", 2000 * MS), 0);
    write_file("proc/stat", "cpu  nonsense\n");
    write_file("proc/self/task/10/schedstat", "");
    s.at = 0;
    assert_int_equal(pel_starvation_look(&s, root, 3000 * MS), 0);
    assert_int_equal(pel_starvation_look(&s, root, 3100 * MS), 0);
    assert_int_equal(s.count, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_fared_worst),
        cmocka_unit_test(test_not_more_than_has_passed),
        cmocka_unit_test(test_what_a_hypervisor_takes),
        cmocka_unit_test(test_a_kernel_that_does_not_tell),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
