/* SPDX-License-Identifier: BSD-3-Clause */
/* .npy files: what numpy writes is read, what it would not write is refused, and no damaged header does harm. */
#include "cli/npy.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A file of the given version, header text and data. */
static const char *make(const char *name, int version, const char *header, const void *data, size_t bytes) {
    unsigned char buffer[2048];
    size_t length = strlen(header), at = 8;
    memcpy(buffer, "\x93NUMPY", 6);
    buffer[6] = (unsigned char)version;
    buffer[7] = 0;
    buffer[at++] = (unsigned char)(length & 255);
    buffer[at++] = (unsigned char)(length >> 8);
    if (version > 1) {
        buffer[at++] = 0;
        buffer[at++] = 0;
    }
    memcpy(buffer + at, header, length);
    memcpy(buffer + at + length, data, bytes);
    return scratch_write(name, buffer, at + length + bytes);
}

static void reads_all_versions(void **state) {
    (void)state;
    const float data[6] = {1, 2, 3, 4, 5, 6};
    char message[PEL_MESSAGE_BYTES];
    for (int version = 1; version <= 3; version++) {
        pel_array array;
        const char *path =
            make("a.npy", version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", data, sizeof data);
        assert_true(pel_npy_read(path, &array, message));
        assert_string_equal(array.cell->name, "float");
        assert_int_equal(array.dims, 2);
        assert_int_equal(array.shape[0], 2);
        assert_int_equal(array.shape[1], 3);
        assert_memory_equal(array.data, data, sizeof data);
        pel_array_free(&array);
    }
}

static void swaps_foreign_order(void **state) {
    (void)state;
    const unsigned char big[4] = {0, 0, 1, 2}, little[4] = {2, 1, 0, 0};
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    assert_true(
        pel_npy_read(make("b.npy", 1, "{'descr': '>i4', 'fortran_order': False, 'shape': (1,)}", big, 4), &array, message));
    assert_int_equal(*(int32_t *)array.data, 258);
    pel_array_free(&array);
    assert_true(
        pel_npy_read(make("b.npy", 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (1,)}", little, 4), &array, message));
    assert_int_equal(*(int32_t *)array.data, 258);
    pel_array_free(&array);
}

static void understands_other_spellings(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    const double data[2] = {1.5, -2.5};
    pel_array array;
    const char *header =
        "{ \"shape\" :(2L , ) , \"fortran_order\":True,\"descr\":\"<f8\" }\n"; /* Python 2; order does not matter in 1-D */
    assert_true(pel_npy_read(make("c.npy", 1, header, data, 16), &array, message));
    assert_int_equal(array.dims, 1);
    assert_true(((double *)array.data)[1] == -2.5);
    pel_array_free(&array);
    assert_true(
        pel_npy_read(make("c.npy", 1, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", data, 8), &array, message));
    assert_int_equal(array.dims, 0);
    assert_int_equal(array.bytes, 8);
    pel_array_free(&array);
    assert_true(
        pel_npy_read(make("c.npy", 1, "{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}", data, 16), &array, message));
    assert_string_equal(array.cell->name, "float");
    assert_int_equal(array.shape[1], 2);
    pel_array_free(&array);
    assert_true(
        pel_npy_read(make("c.npy", 1, "{'descr': '|b1', 'fortran_order': False, 'shape': (16,)}", data, 16), &array, message));
    assert_string_equal(array.cell->name, "uchar");
    pel_array_free(&array);
}

static void refuses_what_it_must(void **state) {
    (void)state;
    static const struct {
        const char *header, *expect;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", "Fortran order"},
        {"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (4,)}", "structured"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "no OpenCL type"},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}", "no OpenCL type"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", "no OpenCL type"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", "promises 20 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "promises 12 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", "promises 0 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}", "64 bits"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "64 bits"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4)}", "dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}", "tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 4}", "tuple"},
        {"{'descr': '<f4', 'fortran_order': False}", "missing"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'extra': 1}", "unexpected key"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'shape': (4,)}", "unexpected key"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (4,)}", "damaged"},
        {"{'descr': '<f4", "damaged"},
        {"{", "damaged"},
        {"", "damaged"},
        {"[]", "damaged"},
    };
    const float data[4] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[PEL_MESSAGE_BYTES] = "";
        pel_array array;
        if (pel_npy_read(make("d.npy", 1, cases[i].header, data, sizeof data), &array, message) ||
            !strstr(message, cases[i].expect))
            fail_msg("%s: expected '%s', got '%s'", cases[i].header, cases[i].expect, message);
        assert_null(array.data);
    }
}

static void refuses_other_files(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    assert_false(pel_npy_read(scratch_path("absent.npy"), &array, message));
    assert_non_null(strstr(message, "No such file"));
    assert_false(pel_npy_read(scratch_write("e.npy", "PK\3\4 a zip archive", 18), &array, message));
    assert_non_null(strstr(message, "not a .npy"));
    assert_false(pel_npy_read(scratch_write("e.npy", "", 0), &array, message));
    assert_false(pel_npy_read("/dev/null", &array, message));
    assert_false(pel_npy_read(scratch_write("e.npy", "\x93NUMPY\x09\0\x10\0", 10), &array, message));
    assert_non_null(strstr(message, "version 9"));
    assert_false(pel_npy_read(scratch_write("e.npy", "\x93NUMPY\2\0\xff\xff\xff\xff{", 13), &array, message));
}

/* Every prefix and every changed byte of a good file either reads as an array of the right size or is refused. */
static void survives_damage(void **state) {
    (void)state;
    unsigned char bytes[512];
    char message[PEL_MESSAGE_BYTES];
    const short data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    FILE *file =
        fopen(make("f.npy", 1, "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 4), }\n", data, sizeof data), "rb");
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    pel_array array;
    for (size_t cut = 0; cut < count; cut++)
        assert_false(pel_npy_read(scratch_write("g.npy", bytes, cut), &array, message));
    for (size_t at = 0; at + sizeof data < count; at++)
        for (int change = 1; change < 256; change += 7) {
            bytes[at] ^= (unsigned char)change;
            if (pel_npy_read(scratch_write("g.npy", bytes, count), &array, message)) {
                assert_int_equal(array.bytes, 16);
                pel_array_free(&array);
            }
            bytes[at] ^= (unsigned char)change;
        }
}

static void writes_what_it_reads(void **state) {
    (void)state;
    static const char *const names[] = {"char", "uchar", "short", "ushort", "int",   "uint",
                                        "long", "ulong", "half",  "float",  "double"};
    char message[PEL_MESSAGE_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (uint32_t dims = 0; dims <= 4; dims++) {
            const uint64_t shape[4] = {3, 1, 5, 2};
            pel_array array, back;
            assert_true(pel_array_create(&array, pel_cell_find(names[i], strlen(names[i])), dims, shape, message));
            for (uint64_t j = 0; j < array.bytes; j++)
                ((unsigned char *)array.data)[j] = (unsigned char)(j * 37 + i);
            const char *path = scratch_path("h.npy");
            FILE *file = fopen(path, "wb");
            assert_true(pel_npy_write(file, &array));
            assert_int_equal((ftell(file) - (long)array.bytes) % 64, 0); /* numpy maps files; it wants the data aligned */
            fclose(file);
            assert_true(pel_npy_read(path, &back, message));
            assert_ptr_equal(back.cell, array.cell);
            assert_int_equal(back.dims, dims);
            assert_memory_equal(back.shape, array.shape, dims * sizeof shape[0]);
            assert_memory_equal(back.data, array.data, array.bytes);
            pel_array_free(&array);
            pel_array_free(&back);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_versions),          cmocka_unit_test(swaps_foreign_order),
        cmocka_unit_test(understands_other_spellings), cmocka_unit_test(refuses_what_it_must),
        cmocka_unit_test(refuses_other_files),         cmocka_unit_test(survives_damage),
        cmocka_unit_test(writes_what_it_reads),
    };
    return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
