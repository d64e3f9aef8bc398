/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers from text, whatever the locale; extents; suggestions; the option parser. */
#include "cli/options.h"

#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void reads_numbers(void **state) {
    (void)state;
    uint64_t u;
    int64_t i;
    double d;
    assert_true(pel_cli_read_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_true(pel_cli_read_u64("0x1F", &u) && u == 31);
    assert_true(pel_cli_read_u64("010", &u) && u == 10);
    assert_true(pel_cli_read_i64("-9223372036854775808", &i) && i == INT64_MIN);
    static const char *const bad[] = {"",   " 1", "1 ", "+1",      "-1", "1.0", "1e3", "18446744073709551616",
                                      "0x", "x1", "1x", "\xc2\xb2"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        if (pel_cli_read_u64(bad[k], &u))
            fail_msg("'%s' accepted", bad[k]);
    assert_false(pel_cli_read_i64("-9223372036854775809", &i));
    assert_false(pel_cli_read_i64("- 1", &i));
    assert_true(pel_cli_read_real("1.5e3", &d) && d == 1500);
    assert_true(pel_cli_read_real("nan", &d) && isnan(d));
    assert_false(pel_cli_read_real("1,5", &d));
    assert_false(pel_cli_read_real(" 1", &d));
    assert_false(pel_cli_read_real("", &d));
    assert_false(pel_cli_read_real("1.5x", &d));
}

/* Where a comma is the decimal sign, a point stays one here. */
static void ignores_the_locale(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    double d;
    bool found = false;
    for (size_t k = 0; k < 4 && !found; k++)
        found = setlocale(LC_ALL, names[k]) != NULL;
    assert_true(pel_cli_read_real("0.25", &d) && d == 0.25);
    assert_false(pel_cli_read_real("0,25", &d));
    setlocale(LC_ALL, "C");
}

static void checks_ranges(void **state) {
    (void)state;
    uint64_t u = 7;
    double d = 7;
    assert_true(pel_cli_parse_u64(NULL, "--n", "5", 1, 5, &u) && u == 5);
    assert_false(pel_cli_parse_u64(NULL, "--n", "6", 1, 5, &u));
    assert_false(pel_cli_parse_u64(NULL, "--n", "0", 1, 5, &u));
    assert_int_equal(u, 5);
    assert_true(pel_cli_parse_real(NULL, "--x", "0.5", 0, 1, &d) && d == 0.5);
    assert_false(pel_cli_parse_real(NULL, "--x", "nan", 0, 1, &d));
    assert_false(pel_cli_parse_real(NULL, "--x", "inf", 0, INFINITY, &d));
    assert_false(pel_cli_parse_real(NULL, "--x", "-0.1", 0, 1, &d));
}

static void reads_extents(void **state) {
    (void)state;
    uint64_t e[3];
    uint32_t n;
    assert_true(pel_cli_parse_extent(NULL, "--range", "1920x1080", 1, e, &n) && n == 2 && e[0] == 1920 && e[1] == 1080 &&
                e[2] == 0);
    assert_true(pel_cli_parse_extent(NULL, "--range", "7", 1, e, &n) && n == 1 && e[0] == 7);
    assert_true(pel_cli_parse_extent(NULL, "--offset", "0x0x5", 0, e, &n) && n == 3 && e[0] == 0 && e[2] == 5);
    assert_true(pel_cli_parse_extent(NULL, "--range", "1X2x3", 1, e, &n) && n == 3);
    static const char *const bad[] = {
        "", "x", "1x", "x1", "1x2x3x4", "0", "1x0", "-1", "1.5", "4294967296x4294967296", "99999999999999999999", "1x 2", "a"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        if (pel_cli_parse_extent(NULL, "--range", bad[k], 1, e, &n))
            fail_msg("'%s' accepted", bad[k]);
}

static void suggests_slips_only(void **state) {
    (void)state;
    static const char *const names[] = {"info", "doctor", "bench", "run", "version", NULL};
    assert_string_equal(pel_cli_nearest("docter", names), "doctor");
    assert_string_equal(pel_cli_nearest("bnech", names), "bench");
    assert_string_equal(pel_cli_nearest("rum", names), "run");
    assert_null(pel_cli_nearest("xyzzy", names));
    assert_null(pel_cli_nearest("", names));
    assert_null(pel_cli_nearest("a-very-long-word-that-is-longer-than-any-command-of-the-program", names));
}

static const pel_cli_option options[] = {
    {'n', "number", "N", "a number"}, {0, "flag", NULL, "a flag"}, {0, "file", "FILE", "a file"}, {0, NULL, NULL, NULL}};
static const pel_cli_usage usage = {"test", "", "About.", options, NULL};

static void parses_a_line(void **state) {
    (void)state;
    char a0[] = "test", a1[] = "-n", a2[] = "5", a3[] = "operand", a4[] = "--flag", a5[] = "--file=x", a6[] = "--",
         a7[] = "--rest";
    char *argv[] = {a0, a1, a2, a3, a4, a5, a6, a7, NULL};
    const char *value;
    optind = 0;
    assert_int_equal(pel_cli_next(&usage, 8, argv, &value), 0);
    assert_string_equal(value, "5");
    assert_int_equal(pel_cli_next(&usage, 8, argv, &value), 1);
    assert_int_equal(pel_cli_next(&usage, 8, argv, &value), 2);
    assert_string_equal(value, "x");
    assert_int_equal(pel_cli_next(&usage, 8, argv, &value), PEL_CLI_END);
    assert_int_equal(8 - pel_cli_operands(), 2);
    assert_string_equal(argv[pel_cli_operands()], "operand");
    assert_false(pel_cli_no_operands(&usage, 8, argv));
}

static void refuses_a_wrong_line(void **state) {
    (void)state;
    static const char *const wrong[] = {"--nosuch", "-x", "--number", "-n", "--flag=3", "--", "--help=1", "-xn"};
    for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
        char name[] = "test", text[32];
        strcpy(text, wrong[k]);
        char *argv[] = {name, text, NULL};
        const char *value;
        optind = 0;
        assert_int_equal(pel_cli_next(&usage, 2, argv, &value), strcmp(text, "--") == 0 ? PEL_CLI_END : PEL_CLI_WRONG);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers),        cmocka_unit_test(ignores_the_locale),  cmocka_unit_test(checks_ranges),
        cmocka_unit_test(reads_extents),        cmocka_unit_test(suggests_slips_only), cmocka_unit_test(parses_a_line),
        cmocka_unit_test(refuses_a_wrong_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
