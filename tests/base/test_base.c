/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocation, checked sizes, texts and numbers in any locale, reductions, clock, version. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/reduce.h"
#include "base/text.h"

#include <pel/version.h>

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int left;
static void *count_down(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return left-- > 0 ? realloc(pointer, bytes) : NULL;
}
static const pel_allocator meagre = {count_down, NULL};

static void test_allocation(void **state) {
    (void)state;
    assert_null(pel_alloc(NULL, 0));
    assert_null(pel_alloc_zero(NULL, SIZE_MAX / 2, 3));
    assert_null(pel_alloc_zero(NULL, 0, 8));
    char *zeros = pel_alloc_zero(NULL, 10, 10);
    assert_non_null(zeros);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(zeros[i], 0);
    }
    zeros[99] = 7;
    zeros = pel_resize(NULL, zeros, 5000);
    assert_non_null(zeros);
    assert_int_equal(zeros[99], 7);
    assert_null(pel_resize(NULL, zeros, 0)); /* the old block survives */
    zeros[99] = 8;
    left = 0;
    assert_null(pel_resize(&meagre, zeros, 9000));
    assert_int_equal(zeros[99], 8);
    pel_free(NULL, zeros);
    pel_free(NULL, NULL);
    assert_null(pel_strdup(NULL, NULL));
    char *copy = pel_strdup(NULL, "text"), *part = pel_strndup(NULL, "text", 2), *whole = pel_strndup(NULL, "text", SIZE_MAX);
    assert_string_equal(copy, "text");
    assert_string_equal(part, "te");
    assert_string_equal(whole, "text");
    pel_free(NULL, copy);
    pel_free(NULL, part);
    pel_free(NULL, whole);
    assert_null(pel_strdup(&meagre, "text"));
    unsigned char *pages = pel_pages_alloc(1ull << 33); /* lazily: beyond what a small machine has */
    assert_non_null(pages);
    assert_int_equal((uintptr_t)pages % 4096, 0);
    assert_int_equal(pages[(1ull << 33) - 1], 0);
    pages[1ull << 32] = 3;
    pel_pages_free(pages, 1ull << 33);
    assert_null(pel_pages_alloc(0));
    assert_null(pel_pages_alloc(UINT64_MAX));
    pel_pages_free(NULL, 10);
}

static void test_checked(void **state) {
    (void)state;
    uint64_t out;
    assert_true(pel_add_u64(UINT64_MAX - 1, 1, &out) && out == UINT64_MAX);
    assert_false(pel_add_u64(UINT64_MAX, 1, &out));
    assert_true(pel_mul_u64(1ull << 32, (1ull << 32) - 1, &out));
    assert_false(pel_mul_u64(1ull << 32, 1ull << 32, &out));
    assert_true(pel_range_within(5, 5, 10) && pel_range_within(10, 0, 10));
    assert_false(pel_range_within(5, 6, 10) || pel_range_within(11, 0, 10) || pel_range_within(1, UINT64_MAX, 10));
    assert_int_equal(pel_muldiv_u64(1ull << 60, 1ull << 60, 1ull << 58), 1ull << 62);
}

static void test_text(void **state) {
    (void)state;
    pel_text text;
    pel_text_init(&text, NULL);
    char *taken = pel_text_take(&text);
    assert_string_equal(taken, "");
    pel_free(NULL, taken);
    for (int i = 0; i < 1000; i++) {
        pel_text_format(&text, "%d,", i);
    }
    pel_text_append(&text, NULL);
    pel_text_append_bytes(&text, "end!", 3);
    assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    taken = pel_text_take(&text);
    assert_non_null(strstr(taken, "998,999,end"));
    assert_int_equal(text.length, 0);
    pel_free(NULL, taken);
    for (int budget = 0; budget < 8; budget++) { /* a failure is remembered, and nothing else happens */
        left = budget;
        pel_text_init(&text, &meagre);
        for (int i = 0; i < 500; i++) {
            pel_text_append(&text, "abc");
        }
        assert_int_equal(text.failed, budget < 6);
        taken = pel_text_take(&text);
        assert_true((taken == NULL) == (budget < 6));
        pel_free(&meagre, taken);
        pel_text_free(&text);
    }
}

static void check_number(double value, int decimals, const char *expected) {
    pel_text text;
    pel_text_init(&text, NULL);
    pel_text_number(&text, value, decimals);
    assert_string_equal(text.data, expected);
    pel_text_free(&text);
}

static void test_numbers(void **state) {
    (void)state;
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8",
                                          "ps_AF.UTF-8"}; /* those that the machine lacks change nothing */
    for (size_t i = 0; i < sizeof locales / sizeof locales[0]; i++) {
        setlocale(LC_ALL, locales[i]);
        check_number(1234567.891, 2, "1234567.89");
        check_number(-0.5, 3, "-0.500");
        check_number(3.0, 0, "3");
        check_number(2.5, -4, "2"); /* round half to even, as printf does */
        check_number((double)NAN, 2, "nan");
        check_number(-(double)NAN, 2, "nan");
        check_number((double)INFINITY, 2, "inf");
        check_number(-(double)INFINITY, 2, "-inf");
    }
    setlocale(LC_ALL, "C");
    pel_text text;
    pel_text_init(&text, NULL);
    pel_text_number(&text, -1.7976931348623157e308, 100);
    assert_int_equal(text.length, 1 + 309 + 1 + 40);
    assert_true(strtod(text.data, NULL) == -1.7976931348623157e308);
    pel_text_free(&text);
}

/* One element of each kind through identity and fold; the identity must change nothing. */
#define CHECK_FOLD(op, scalar, type, a, b, result)                                                                               \
    do {                                                                                                                         \
        type into_ = (type)(a), from_ = (type)(b), id_;                                                                          \
        assert_true(pel_reduce_valid(op, scalar));                                                                               \
        pel_reduce_identity(op, scalar, &id_, 1);                                                                                \
        pel_reduce_fold(op, scalar, &id_, &into_, 1);                                                                            \
        assert_memory_equal(&id_, &into_, sizeof into_);                                                                         \
        pel_reduce_fold(op, scalar, &into_, &from_, 1);                                                                          \
        type wanted_ = (type)(result);                                                                                           \
        assert_memory_equal(&into_, &wanted_, sizeof into_);                                                                     \
        into_ = (type)(a);                                                                                                       \
        pel_reduce_fold(op, scalar, &from_, &into_, 1); /* commutes */                                                           \
        assert_memory_equal(&from_, &wanted_, sizeof into_);                                                                     \
    } while (0)

static void test_folds(void **state) {
    (void)state;
    CHECK_FOLD(PEL_REDUCE_SUM, PEL_I32, int32_t, INT32_MAX, 1, INT32_MIN); /* wraps */
    CHECK_FOLD(PEL_REDUCE_SUM, PEL_U32, uint32_t, 0xffffffffu, 2, 1);
    CHECK_FOLD(PEL_REDUCE_SUM, PEL_I64, int64_t, INT64_MIN, -1, INT64_MAX);
    CHECK_FOLD(PEL_REDUCE_SUM, PEL_U64, uint64_t, 1ull << 63, 1ull << 63, 0);
    CHECK_FOLD(PEL_REDUCE_SUM, PEL_F32, float, 1.5f, -3.0f, -1.5f);
    CHECK_FOLD(PEL_REDUCE_SUM, PEL_F64, double, 1.5, 2.25, 3.75);
    CHECK_FOLD(PEL_REDUCE_MIN, PEL_I32, int32_t, -5, 3, -5);
    CHECK_FOLD(PEL_REDUCE_MAX, PEL_I32, int32_t, -5, -7, -5);
    CHECK_FOLD(PEL_REDUCE_MIN, PEL_U32, uint32_t, 0xfffffffbu, 3, 3);
    CHECK_FOLD(PEL_REDUCE_MAX, PEL_U32, uint32_t, 0xfffffffbu, 3, 0xfffffffbu);
    CHECK_FOLD(PEL_REDUCE_MIN, PEL_I64, int64_t, INT64_MIN, INT64_MAX, INT64_MIN);
    CHECK_FOLD(PEL_REDUCE_MAX, PEL_I64, int64_t, INT64_MIN, INT64_MAX, INT64_MAX);
    CHECK_FOLD(PEL_REDUCE_MIN, PEL_U64, uint64_t, UINT64_MAX, 9, 9);
    CHECK_FOLD(PEL_REDUCE_MAX, PEL_U64, uint64_t, UINT64_MAX, 9, UINT64_MAX);
    CHECK_FOLD(PEL_REDUCE_MIN, PEL_F32, float, 1.0f, -2.0f, -2.0f);
    CHECK_FOLD(PEL_REDUCE_MAX, PEL_F64, double, -1.0, -2.0, -1.0);
    CHECK_FOLD(PEL_REDUCE_AND, PEL_U32, uint32_t, 0xf0f0, 0xff00, 0xf000);
    CHECK_FOLD(PEL_REDUCE_OR, PEL_I64, int64_t, 0xf0f0, 0x0f00, 0xfff0);
    CHECK_FOLD(PEL_REDUCE_XOR, PEL_U64, uint64_t, 0xff, 0x0f, 0xf0);
    /* The order does not matter, not even for zeros and NaN. */
    CHECK_FOLD(PEL_REDUCE_MIN, PEL_F64, double, 0.0, -0.0, -0.0);
    CHECK_FOLD(PEL_REDUCE_MAX, PEL_F32, float, 0.0f, -0.0f, 0.0f);
    double into = 4.0, nan = (double)NAN;
    pel_reduce_fold(PEL_REDUCE_MIN, PEL_F64, &into, &nan, 1);
    assert_true(into == 4.0);
    pel_reduce_fold(PEL_REDUCE_MAX, PEL_F64, &nan, &into, 1);
    assert_true(nan == 4.0);
    assert_false(pel_reduce_valid(PEL_REDUCE_AND, PEL_F32) || pel_reduce_valid(PEL_REDUCE_NONE, PEL_U32));
    assert_false(pel_reduce_valid((pel_reduce_op)77, PEL_U32) || pel_reduce_valid(PEL_REDUCE_SUM, (pel_scalar)77));
    assert_true(pel_reduce_exact(PEL_REDUCE_SUM, PEL_I32) && pel_reduce_exact(PEL_REDUCE_MAX, PEL_F32));
    assert_false(pel_reduce_exact(PEL_REDUCE_SUM, PEL_F64) || pel_reduce_exact(PEL_REDUCE_XOR, PEL_F64));
}

static void test_folds_anywhere(void **state) {
    (void)state;
    unsigned char bytes[64 + 1], more[64 + 3]; /* arrays that begin at odd addresses */
    pel_reduce_identity(PEL_REDUCE_SUM, PEL_U64, bytes + 1, 8);
    for (uint64_t i = 0; i < 8; i++) {
        memcpy(more + 3 + i * 8, &i, 8);
    }
    pel_reduce_fold(PEL_REDUCE_SUM, PEL_U64, bytes + 1, more + 3, 8);
    assert_memory_equal(bytes + 1, more + 3, 64);
}

/* The tree's bits depend on the number of groups only; checked against the definition, recursively. */
static float pairwise(const float *values, uint64_t first, uint64_t step, uint64_t groups) {
    if (step == 1) {
        return values[first];
    }
    float a = pairwise(values, first, step / 2, groups);
    return first + step / 2 < groups ? a + pairwise(values, first + step / 2, step / 2, groups) : a;
}

static void test_tree(void **state) {
    (void)state;
    enum { MOST = 70, COUNT = 3 };
    for (uint64_t groups = 1; groups <= MOST; groups++) {
        float rows[MOST * COUNT], column[MOST];
        for (uint64_t i = 0; i < groups * COUNT; i++) {
            rows[i] = 1.0f / (float)(1 + i * 7919 % 1009);
        }
        for (uint64_t g = 0; g < groups; g++) {
            column[g] = rows[g * COUNT + 1];
        }
        pel_reduce_tree(PEL_REDUCE_SUM, PEL_F32, rows, groups, COUNT);
        float wanted = pairwise(column, 0, 128, groups);
        assert_memory_equal(&rows[1], &wanted, sizeof wanted);
    }
}

static void test_clock_and_version(void **state) {
    (void)state;
    int64_t before = pel_clock_now(&pel_clock_monotonic), after = pel_clock_now(&pel_clock_monotonic);
    assert_true(before > 0 && after >= before);
    char text[32];
    snprintf(text, sizeof text, "%u.%u.%u", pel_version() / 1000000, pel_version() / 1000 % 1000, pel_version() % 1000);
    assert_string_equal(pel_version_string(), text);
    assert_string_equal(PEL_VERSION_STRING, text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocation), cmocka_unit_test(test_checked),
        cmocka_unit_test(test_text),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_folds),      cmocka_unit_test(test_folds_anywhere),
        cmocka_unit_test(test_tree),       cmocka_unit_test(test_clock_and_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
