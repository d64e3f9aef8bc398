/* SPDX-License-Identifier: BSD-3-Clause */
/* PNG files: every kind comes back as it was, the documented mapping to cells holds, damage is refused. */
#include "cli/image.h"
#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pel_array make_array(const char *type, uint64_t height, uint64_t width, uint64_t channels) {
    char message[PEL_MESSAGE_BYTES];
    pel_array array;
    const uint64_t shape[3] = {height, width, channels};
    assert_true(pel_array_create(&array, pel_cell_find(type, strlen(type)), channels == 1 ? 2 : 3, shape, message));
    return array;
}

static const char *save(const char *name, const pel_array *array, uint32_t bits) {
    const char *path = scratch_path(name);
    uint64_t odd;
    FILE *file = fopen(path, "wb");
    assert_true(pel_image_write(file, array, bits, &odd));
    assert_int_equal(odd, 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void comes_back_as_it_was(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    for (uint32_t channels = 1; channels <= 4; channels++)
        for (uint32_t bytes = 1; bytes <= 2; bytes++) {
            const pel_cell *cell = pel_cell_of('u', bytes);
            pel_array array = make_array(cell->name, 7, 13, channels), back;
            for (uint64_t i = 0; i < array.bytes; i++)
                ((unsigned char *)array.data)[i] = (unsigned char)(i * 89 + 3 * channels);
            pel_image image;
            assert_true(pel_image_read(save("a.png", &array, 0), &image, message));
            assert_int_equal(image.width, 13);
            assert_int_equal(image.height, 7);
            assert_int_equal(image.channels, channels);
            assert_int_equal(image.bits, 8 * bytes);
            assert_true(pel_image_to_array(&image, cell, channels, false, &back, message));
            assert_int_equal(back.dims, array.dims);
            assert_memory_equal(back.data, array.data, array.bytes);
            pel_image_free(&image);
            pel_array_free(&array);
            pel_array_free(&back);
        }
}

static void maps_as_documented(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array rgb = make_array("uchar", 1, 2, 3), out;
    const unsigned char pixels[6] = {255, 0, 51, 10, 10, 10};
    memcpy(rgb.data, pixels, 6);
    pel_image image;
    assert_true(pel_image_read(save("b.png", &rgb, 0), &image, message));
    assert_true(pel_image_to_array(&image, pel_cell_find("uchar", 5), 4, false, &out, message));
    const unsigned char rgba[8] = {255, 0, 51, 255, 10, 10, 10, 255};
    assert_memory_equal(out.data, rgba, 8);
    pel_array_free(&out);
    assert_true(pel_image_to_array(&image, pel_cell_find("float", 5), 3, false, &out, message));
    assert_true(((float *)out.data)[0] == 1.0f && ((float *)out.data)[1] == 0.0f && fabsf(((float *)out.data)[2] - 0.2f) < 1e-6f);
    pel_array_free(&out);
    assert_true(pel_image_to_array(&image, pel_cell_find("uchar", 5), 1, false, &out, message));
    assert_int_equal(out.dims, 2);
    assert_int_equal(((unsigned char *)out.data)[1], 10); /* gray stays exact */
    pel_array_free(&out);
    assert_false(pel_image_to_array(&image, pel_cell_find("int", 3), 1, false, &out, message));
    assert_non_null(strstr(message, "int"));
    pel_image_free(&image);
    pel_array_free(&rgb);
}

static void narrows_only_when_asked(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array deep = make_array("ushort", 1, 1, 1), out;
    *(uint16_t *)deep.data = 0xABCD;
    pel_image image;
    assert_true(pel_image_read(save("c.png", &deep, 0), &image, message));
    assert_false(pel_image_to_array(&image, pel_cell_find("uchar", 5), 1, false, &out, message));
    assert_non_null(strstr(message, "16 bit"));
    assert_true(pel_image_to_array(&image, pel_cell_find("uchar", 5), 1, true, &out, message));
    assert_int_equal(*(unsigned char *)out.data, 0xAB);
    pel_array_free(&out);
    pel_image_free(&image);
    pel_array_free(&deep);
}

static void cuts_reals_and_counts(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array reals = make_array("float", 1, 5, 1), out;
    const float values[5] = {0.5f, -1, 2, NAN, INFINITY};
    memcpy(reals.data, values, sizeof values);
    uint64_t odd;
    FILE *file = fopen(scratch_path("d.png"), "wb");
    assert_true(pel_image_write(file, &reals, 8, &odd));
    fclose(file);
    assert_int_equal(odd, 4);
    pel_image image;
    assert_true(pel_image_read(scratch_path("d.png"), &image, message));
    assert_true(pel_image_to_array(&image, pel_cell_find("uchar", 5), 1, false, &out, message));
    const unsigned char expected[5] = {128, 0, 255, 0, 0};
    assert_memory_equal(out.data, expected, 5);
    pel_array_free(&out);
    pel_image_free(&image);
    pel_array_free(&reals);
}

static void knows_what_fits(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    pel_array a = make_array("uchar", 2, 2, 4), b = make_array("int", 2, 2, 1), c = make_array("uchar", 2, 2, 5);
    assert_true(pel_image_fits(&a, message));
    assert_false(pel_image_fits(&b, message));
    assert_false(pel_image_fits(&c, message));
    a.dims = 1;
    assert_false(pel_image_fits(&a, message));
    pel_array_free(&a);
    pel_array_free(&b);
    pel_array_free(&c);
}

static void survives_damage(void **state) {
    (void)state;
    char message[PEL_MESSAGE_BYTES];
    unsigned char bytes[4096];
    pel_array array = make_array("uchar", 5, 9, 3);
    FILE *file = fopen(save("e.png", &array, 0), "rb");
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    pel_array_free(&array);
    pel_image image;
    for (size_t cut = 0; cut < count; cut++)
        assert_false(pel_image_read(scratch_write("f.png", bytes, cut), &image, message));
    for (size_t at = 0; at < count; at++) {
        bytes[at] ^= 0x55;
        message[0] = '\0';
        if (pel_image_read(scratch_write("f.png", bytes, count), &image, message))
            pel_image_free(&image);
        else
            assert_true(message[0] != '\0');
        bytes[at] ^= 0x55;
    }
    assert_false(pel_image_read(scratch_path("absent.png"), &image, message));
    assert_false(pel_image_read("/dev/null", &image, message));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),  cmocka_unit_test(maps_as_documented), cmocka_unit_test(narrows_only_when_asked),
        cmocka_unit_test(cuts_reals_and_counts), cmocka_unit_test(knows_what_fits),    cmocka_unit_test(survives_damage),
    };
    return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
