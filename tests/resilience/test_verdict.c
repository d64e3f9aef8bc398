/* SPDX-License-Identifier: BSD-3-Clause */
/* The pure parts of verification: the rate of the choice, equality in units in the last place, and who is right, for all
 * patterns of agreement of few votes. */
#include "core/verification.h"
#include "resilience/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

static void test_the_rate_holds_everywhere(void **state) {
    (void)state;
    static const double shares[] = {0.001, 0.01, 0.05, 0.1, 0.25, 1.0 / 3.0, 0.5, 0.75, 0.9, 0.99, 1.0};
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        const pel_verification how = {.share = shares[s], .seed = s};
        uint64_t chosen = 0;
        for (uint64_t i = 0; i < 20000; i++) {
            chosen += pel_verdict_chosen(&how, 42, i) ? 1u : 0u;
            const double due = (double)(i + 1) * shares[s];
            assert_true((double)chosen > due - 1.0001 && (double)chosen < due + 1.0001); /* in whatever stretch from the start */
        }
    }
    assert_false(pel_verdict_chosen(&(pel_verification){.share = 0}, 1, 0));
}

/* Strata that no 64-bit number ends: a share like that is allowed, so it must have an answer. */
static void test_the_smallest_shares(void **state) {
    (void)state;
    static const double shares[] = {1e-18, 1e-19, 1e-20, 1e-24, 1e-300, DBL_TRUE_MIN};
    static const uint64_t indices[] = {0, 1, 1000, 1ull << 53, UINT64_MAX - 1, UINT64_MAX};
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        for (uint64_t sequence = 0; sequence < 100; sequence++) {
            uint32_t chosen = 0;
            for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
                chosen += pel_verdict_chosen(&(pel_verification){.share = shares[s]}, sequence, indices[i]) ? 1u : 0u;
            }
            assert_true(chosen <= 1);
        }
    }
}

/* One of four: not always the same of four, and by the seed. */
static void test_the_choice_has_no_rhythm(void **state) {
    (void)state;
    const pel_verification how = {.share = 0.25, .seed = 1}, other = {.share = 0.25, .seed = 2};
    uint32_t places[4] = {0}, different = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        places[i % 4] += pel_verdict_chosen(&how, 7, i) ? 1u : 0u;
        different += pel_verdict_chosen(&how, 7, i) != pel_verdict_chosen(&other, 7, i) ? 1u : 0u;
        assert_int_equal(pel_verdict_chosen(&how, 7, i), pel_verdict_chosen(&how, 7, i));
    }
    for (int k = 0; k < 4; k++) {
        assert_in_range(places[k], 150, 350);
    }
    assert_true(different > 500);
}

static bool equal_f32(float a, float b, uint64_t ulps) {
    const pel_verification how = {.share = 1, .scalar = PEL_F32, .ulps = ulps};
    uint64_t first;
    return pel_verdict_equal(&how, &a, &b, sizeof a, &first);
}

static void test_numbers_apart(void **state) {
    (void)state;
    assert_true(equal_f32(1.0f, 1.0f + FLT_EPSILON, 1));
    assert_false(equal_f32(1.0f, 1.0f + 2 * FLT_EPSILON, 1));
    assert_true(equal_f32(0.0f, -0.0f, 0));
    assert_true(equal_f32(FLT_TRUE_MIN, -FLT_TRUE_MIN, 2));
    assert_false(equal_f32(FLT_TRUE_MIN, -FLT_TRUE_MIN, 1));
    assert_true(equal_f32(FLT_MAX, INFINITY, 1));
    assert_true(equal_f32(NAN, -NAN, 0));
    assert_false(equal_f32(NAN, 1.0f, UINT64_MAX));
    const pel_verification wide = {.share = 1, .scalar = PEL_F64, .ulps = 3};
    double a[1000], b[1000];
    uint64_t first = 0;
    for (int i = 0; i < 1000; i++) {
        a[i] = i;
        b[i] = nextafter((double)i, 1e9);
    }
    assert_true(pel_verdict_equal(&wide, a, b, sizeof a, &first));
    b[700] += 0.25;
    assert_false(pel_verdict_equal(&wide, a, b, sizeof a, &first));
    assert_int_equal(first, 700 * sizeof(double));
    assert_false(pel_verdict_equal(&(pel_verification){.share = 1}, "abc", "abd", 3, &first));
    assert_int_equal(first, 2);
}

/* Votes by letters: the device; and which answer it gave. */
static pel_verdict find(const char *devices, const char *answers, bool last, bool alone, uint32_t *winner, uint32_t *wrong) {
    pel_verdict_votes v = {.count = (uint32_t)strlen(devices), .alone = alone};
    for (uint32_t i = 0; i < v.count; i++) {
        v.device[i] = (uint32_t)(devices[i] - 'A');
        v.counts[i] = answers[i] != '-';
        for (uint32_t k = 0; k < v.count; k++) {
            v.agrees[i] |= k != i && answers[k] == answers[i] && answers[i] != '-' ? 1u << k : 0;
        }
    }
    return pel_verdict_find(&v, last, winner, wrong);
}

static void test_who_is_right(void **state) {
    (void)state;
    static const struct {
        const char *devices, *answers;
        bool last, alone;
        pel_verdict verdict;
        uint32_t winner, wrong;
    } cases[] = {
        {"A", "x", false, false, PEL_VERDICT_MORE, 0, 0},
        {"AB", "xx", false, false, PEL_VERDICT_RIGHT, 0, 0},
        {"AB", "xy", false, false, PEL_VERDICT_MORE, 0, 0},
        {"ABC", "xyx", false, false, PEL_VERDICT_RIGHT, 0, 2},
        {"ABC", "xyy", false, false, PEL_VERDICT_RIGHT, 1, 1},
        {"ABC", "xyz", false, false, PEL_VERDICT_MORE, 0, 0},
        {"ABA", "xyx", false, false, PEL_VERDICT_MORE, 0, 0},   /* A repeats itself: that proves nothing */
        {"ABA", "xyy", false, false, PEL_VERDICT_RIGHT, 1, 1},  /* A was wrong the first time */
        {"ABAB", "xyxy", true, false, PEL_VERDICT_MORE, 0, 0},  /* both insist */
        {"ABAB", "xyxz", true, false, PEL_VERDICT_RIGHT, 0, 10},/* B contradicts itself */
        {"ABAB", "xyzy", true, false, PEL_VERDICT_RIGHT, 1, 5},
        {"ABAB", "xyzw", true, false, PEL_VERDICT_MORE, 0, 0},
        {"AB", "x-", true, false, PEL_VERDICT_MORE, 0, 0},      /* B failed */
        {"ABC", "x-x", false, false, PEL_VERDICT_RIGHT, 0, 0},
        {"AA", "xx", false, true, PEL_VERDICT_RIGHT, 0, 0},
        {"AAA", "xyy", false, true, PEL_VERDICT_RIGHT, 1, 1},
        {"AA", "xx", false, false, PEL_VERDICT_MORE, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t winner = 0, wrong = 0;
        assert_int_equal(find(cases[i].devices, cases[i].answers, cases[i].last, cases[i].alone, &winner, &wrong),
                         cases[i].verdict);
        if (cases[i].verdict == PEL_VERDICT_RIGHT) {
            assert_int_equal(winner, cases[i].winner);
            assert_int_equal(wrong, cases[i].wrong);
        }
    }
    pel_verdict_votes checked = {.count = 2, .device = {0, 1}, .counts = {true, true}, .checked = true, .passes = {false, true}};
    uint32_t winner, wrong;
    assert_int_equal(pel_verdict_find(&checked, false, &winner, &wrong), PEL_VERDICT_RIGHT);
    assert_int_equal(winner, 1);
    assert_int_equal(wrong, 1);
    checked.passes[1] = false;
    assert_int_equal(pel_verdict_find(&checked, true, &winner, &wrong), PEL_VERDICT_MORE);
}

static void test_words(void **state) {
    (void)state;
    pel_verification how;
    assert_true(pel_verification_parse("100", &how));
    assert_true(how.share == 1.0 && how.flags == 0 && how.scalar == 0);
    assert_true(pel_verification_parse("2.5%,seed=7,f32=4,same", &how));
    assert_true(fabs(how.share - 0.025) < 1e-12 && how.seed == 7 && how.scalar == PEL_F32 && how.ulps == 4 &&
                how.flags == PEL_VERIFY_SAME_DEVICE);
    assert_true(pel_verification_parse("1,seed=18446744073709551615", &how));
    assert_true(how.seed == UINT64_MAX);
    assert_false(pel_verification_parse("1,seed=18446744073709551616", &how));
    assert_false(pel_verification_parse("1,seed=99999999999999999999", &how));
    assert_true(pel_verification_parse("0", &how));
    static const char *const wrong[] = {"",           "x",        "101", "-1",  "10,",
                                        "10,f32",     "10,f16=1", "10 ", "1e1", "99999999999999999999999",
                                        "10,seed=-1", "1,,2",     "5.",  "nan", "10,f32=1,f64=1", "10,same,same"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (pel_verification_parse(wrong[i], &how)) {
            fail_msg("'%s' was understood", wrong[i]);
        }
    }
    assert_non_null(pel_verification_refusal(&(pel_verification){.share = NAN}));
    assert_non_null(pel_verification_refusal(&(pel_verification){.share = 1, .flags = 8}));
    assert_non_null(pel_verification_refusal(&(pel_verification){.share = 1, .ulps = 1}));
    assert_non_null(pel_verification_refusal(&(pel_verification){.share = 1, .scalar = PEL_I32}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rate_holds_everywhere),
        cmocka_unit_test(test_the_smallest_shares),
        cmocka_unit_test(test_the_choice_has_no_rhythm),
        cmocka_unit_test(test_numbers_apart),
        cmocka_unit_test(test_who_is_right),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
