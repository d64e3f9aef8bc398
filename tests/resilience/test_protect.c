/* SPDX-License-Identifier: BSD-3-Clause */
#include "resilience/protect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const pel_protection kinds[] = {PEL_PROTECT_DEFAULT, PEL_PROTECT_NONE, PEL_PROTECT_RETRY, PEL_PROTECT_ISOLATE};

/* Launches whose plan nobody asks for are not told why, and get the same. */
static void test_the_text_decides_nothing(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 4 * 2 * 2 * 3 * 3; i++) {
        const double bytes[] = {0, 4096, 1e9}, times[] = {0, 1e6, 1e10};
        const pel_protect_question question = {.asked = kinds[i % 4],
                                               .fixed = i / 4 % 2,
                                               .verified = i / 8 % 2,
                                               .copy_bytes = bytes[i / 16 % 3],
                                               .link_bytes_per_ns = 8,
                                               .predicted_ns = times[i / 48]};
        char text[PEL_PROTECT_TEXT] = "";
        const pel_protection told = pel_protect_choose(&question, text);
        assert_int_equal(pel_protect_choose(&question, NULL), told);
        assert_int_not_equal(told, PEL_PROTECT_DEFAULT);
        assert_true(strlen(text) > 0);
    }
}

/* A hundredth of the launch at most, by itself; whatever it costs, if it was asked for. */
static void test_by_cost(void **state) {
    (void)state;
    pel_protect_question question = {.copy_bytes = 1e6, .link_bytes_per_ns = 8};
    question.predicted_ns = 101 * pel_protect_cost_ns(&question);
    assert_int_equal(pel_protect_choose(&question, NULL), PEL_PROTECT_RETRY);
    question.predicted_ns = 99 * pel_protect_cost_ns(&question);
    assert_int_equal(pel_protect_choose(&question, NULL), PEL_PROTECT_NONE);
    question.asked = PEL_PROTECT_RETRY;
    assert_int_equal(pel_protect_choose(&question, NULL), PEL_PROTECT_RETRY);
    question.asked = PEL_PROTECT_DEFAULT;
    question.copy_bytes = 0;
    assert_int_equal(pel_protect_choose(&question, NULL), PEL_PROTECT_RETRY);
    question.fixed = true;
    assert_int_equal(pel_protect_choose(&question, NULL), PEL_PROTECT_NONE);
}

/* A history may hold a line by which a launch takes next to nothing: the text fits and ends. */
static void test_absurd_shares(void **state) {
    (void)state;
    const pel_protect_question question = {
        .copy_bytes = 1e18, .fetch_bytes = 1e18, .link_bytes_per_ns = 1e-9, .predicted_ns = 1e-200};
    char text[PEL_PROTECT_TEXT] = "";
    assert_int_equal(pel_protect_choose(&question, text), PEL_PROTECT_NONE);
    assert_non_null(strstr(text, "100000000000000.0 % of the launch"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_text_decides_nothing), cmocka_unit_test(test_by_cost),
                                       cmocka_unit_test(test_absurd_shares)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
