/* SPDX-License-Identifier: BSD-3-Clause */
/* Cells, elements and arrays: names, sizes, numbers from text, halves, 3-vectors, raw files. */
#include "cli/array.h"
#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void knows_the_types(void **state) {
    (void)state;
    pel_element element;
    assert_true(pel_element_find("float", 5, &element) && pel_element_bytes(&element) == 4);
    assert_true(pel_element_find("float3", 6, &element) && pel_element_bytes(&element) == 16);
    assert_true(pel_element_find("uchar4", 6, &element) && pel_element_bytes(&element) == 4 && element.width == 4);
    assert_true(pel_element_find("double16", 8, &element) && pel_element_bytes(&element) == 128);
    assert_false(pel_element_find("float5", 6, &element));
    assert_false(pel_element_find("4", 1, &element));
    assert_false(pel_element_find("floats", 6, &element));
    assert_false(pel_element_find("", 0, &element));
    assert_string_equal(pel_cell_of('f', 2)->name, "half");
    assert_null(pel_cell_of('f', 16));
}

static bool parse(const char *type, const char *text, void *out) {
    char message[PEL_MESSAGE_BYTES] = "";
    bool good = pel_cell_parse(pel_cell_find(type, strlen(type)), text, out, message);
    assert_true(good || (message[0] && (strstr(message, text) || strstr(message, type))));
    return good;
}

static void parses_whole_numbers(void **state) {
    (void)state;
    union {
        int8_t b;
        uint8_t ub;
        int16_t h;
        int32_t i;
        uint32_t u;
        int64_t l;
        uint64_t ul;
    } v;
    assert_true(parse("char", "-128", &v) && v.b == -128);
    assert_true(parse("uchar", "0xff", &v) && v.ub == 255);
    assert_true(parse("short", "+32767", &v) && v.h == 32767);
    assert_true(parse("int", "-2147483648", &v) && v.i == INT32_MIN);
    assert_true(parse("long", "-9223372036854775808", &v) && v.l == INT64_MIN);
    assert_true(parse("ulong", "18446744073709551615", &v) && v.ul == UINT64_MAX);
    static const struct {
        const char *type, *text;
    } bad[] = {
        {"char", "128"},
        {"char", "-129"},
        {"uchar", "256"},
        {"uchar", "-1"},
        {"int", "2147483648"},
        {"uint", "4294967296"},
        {"long", "9223372036854775808"},
        {"ulong", "18446744073709551616"},
        {"int", "1.5"},
        {"int", ""},
        {"int", "1 "},
        {"int", " 1"},
        {"int", "ten"},
        {"int", "nan"},
        {"int", "--1"},
        {"int", "0x"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parse(bad[i].type, bad[i].text, &v))
            fail_msg("%s accepted as %s", bad[i].text, bad[i].type);
}

static void parses_reals(void **state) {
    (void)state;
    float f;
    double d;
    uint16_t h;
    assert_true(parse("float", "0.5f", &f) && f == 0.5f);
    assert_true(parse("float", "-1e-3", &f) && f == -1e-3f);
    assert_true(parse("float", "nan", &f) && isnan(f));
    assert_true(parse("float", "-inf", &f) && isinf(f) && f < 0);
    assert_true(parse("double", "1e300", &d) && d == 1e300);
    assert_true(parse("half", "1", &h) && h == 0x3C00);
    assert_false(parse("float", "1e39", &f));
    assert_false(parse("double", "1e999", &d));
    assert_false(parse("half", "70000", &h));
    assert_false(parse("float", "1,5", &f));
    assert_false(parse("float", "", &f));
    assert_false(parse("float", "f", &f));
}

/* Every half becomes a float and comes back; values between two halves round to the nearer one, ties to even. */
static void rounds_halves(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = pel_half_to_float((uint16_t)bits);
        uint16_t back = pel_half_from_float(value);
        if (isnan(value))
            assert_true((back & 0x7C00) == 0x7C00 && (back & 0x3FF));
        else
            assert_int_equal(back, bits);
    }
    for (uint32_t bits = 0; bits < 0x7BFF; bits++) {
        float low = pel_half_to_float((uint16_t)bits), high = pel_half_to_float((uint16_t)(bits + 1)), middle = (low + high) / 2;
        assert_int_equal(pel_half_from_float(middle), bits + (bits & 1));
        assert_int_equal(pel_half_from_float(nextafterf(middle, 0)), bits);
        assert_int_equal(pel_half_from_float(nextafterf(middle, INFINITY)), bits + 1);
    }
    assert_int_equal(pel_half_from_float(65520.0f), 0x7C00);
    assert_int_equal(pel_half_from_float(-1e-30f), 0x8000);
}

static void checks_sizes(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES], text[160];
    pel_array array;
    const uint64_t huge[2] = {1ull << 40, 1ull << 40}, none[1] = {0}, shape[3] = {2, 3, 4};
    assert_false(pel_array_create(&array, pel_cell_find("float", 5), 2, huge, message));
    assert_false(pel_array_create(&array, pel_cell_find("float", 5), 1, none, message));
    assert_true(pel_array_create(&array, pel_cell_find("float", 5), 3, shape, message));
    assert_int_equal(array.bytes, 96);
    assert_string_equal(pel_array_describe(&array, false, text), "4x3x2 float");
    assert_string_equal(pel_array_describe(&array, true, text), "3x2 float4");
    pel_array_free(&array);
}

static void pads_three_vectors(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    const uint64_t shape[2] = {2, 3};
    assert_true(pel_array_create(&array, pel_cell_find("int", 3), 2, shape, message));
    for (int i = 0; i < 6; i++)
        ((int *)array.data)[i] = i + 1;
    const int wide[8] = {1, 2, 3, 0, 4, 5, 6, 0}, narrow[6] = {1, 2, 3, 4, 5, 6};
    assert_true(pel_array_widen(&array, message));
    assert_int_equal(array.shape[1], 4);
    assert_memory_equal(array.data, wide, sizeof wide);
    assert_false(pel_array_widen(&array, message));
    assert_true(pel_array_narrow(&array, message));
    assert_memory_equal(array.data, narrow, sizeof narrow);
    pel_array_free(&array);
}

static void reads_raw_files(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    const pel_cell *cell = pel_cell_find("short", 5);
    assert_true(pel_raw_read(scratch_write("a.raw", "\1\0\2\0\3\0", 6), cell, &array, message));
    assert_int_equal(array.shape[0], 3);
    pel_array_free(&array);
    assert_false(pel_raw_read(scratch_write("a.raw", "\1\0\2", 3), cell, &array, message));
    assert_non_null(strstr(message, "whole number"));
    assert_false(pel_raw_read(scratch_write("a.raw", "", 0), cell, &array, message));
    assert_false(pel_raw_read("/dev/zero", cell, &array, message));
    assert_false(pel_raw_read("/", cell, &array, message));
    assert_false(pel_raw_read(scratch_path("absent"), cell, &array, message));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_types), cmocka_unit_test(parses_whole_numbers), cmocka_unit_test(parses_reals),
        cmocka_unit_test(rounds_halves),   cmocka_unit_test(checks_sizes),         cmocka_unit_test(pads_three_vectors),
        cmocka_unit_test(reads_raw_files),
    };
    return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
