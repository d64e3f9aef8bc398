/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of --arg: what each means, and that each slip is an error that names it. */
#include "cli/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static pel_run_argument read_one(const char *text) {
    pel_run_argument a;
    char message[PEL_MESSAGE_BYTES] = "";
    if (!pel_run_read_argument(text, &a, message))
        fail_msg("%s: %s", text, message);
    return a;
}

static void reads_the_example(void **state) {
    (void)state;
    pel_run_argument a = read_one("in=photo.png:read:block:halo=2");
    assert_string_equal(a.name, "in");
    assert_string_equal(a.value, "photo.png");
    assert_int_equal(a.mode, PEL_READ);
    assert_int_equal(a.pattern, PEL_RUN_BLOCK);
    assert_int_equal(a.halo_lo, 2);
    assert_int_equal(a.halo_hi, 2);
    pel_run_argument_free(&a);
    a = read_one("r=2");
    assert_string_equal(a.value, "2");
    assert_int_equal(a.mode, 0);
    pel_run_argument_free(&a);
}

static void reads_every_word(void **state) {
    (void)state;
    pel_run_argument a = read_one("x=a.raw:rw:block:halo=1,3:pitch=w:type=float4:shape=3x4x5:save=b\\:c.raw:format=raw");
    assert_int_equal(a.mode, PEL_READ_WRITE);
    assert_int_equal(a.halo_lo, 1);
    assert_int_equal(a.halo_hi, 3);
    assert_string_equal(a.pitch, "w");
    assert_string_equal(a.type, "float4");
    assert_int_equal(a.shape_dims, 3);
    assert_int_equal(a.shape[0], 3);
    assert_int_equal(a.shape[2], 5);
    assert_string_equal(a.save, "b:c.raw");
    pel_run_argument_free(&a);
    a = read_one("y=o\\:u=t.png:write:elementwise=1/255:like=x:channels=3:bits=16");
    assert_string_equal(a.value, "o:u=t.png");
    assert_int_equal(a.num, 1);
    assert_int_equal(a.den, 255);
    assert_int_equal(a.channels, 3);
    assert_int_equal(a.bits, 16);
    pel_run_argument_free(&a);
    a = read_one("p=o.npy:write:pergroup=4:op=max");
    assert_int_equal(a.pattern, PEL_RUN_PER_GROUP);
    assert_int_equal(a.count, 4);
    assert_int_equal(a.op, PEL_REDUCE_MAX);
    pel_run_argument_free(&a);
    a = read_one("h=o.npy:write:reduce=sum:shape=256");
    assert_int_equal(a.pattern, PEL_RUN_REDUCE);
    assert_int_equal(a.op, PEL_REDUCE_SUM);
    pel_run_argument_free(&a);
    a = read_one("t=local:count=64");
    assert_int_equal(a.count, 64);
    pel_run_argument_free(&a);
}

static void names_every_slip(void **state) {
    (void)state;
    static const struct {
        const char *text, *expect;
    } cases[] = {
        {"", "NAME=VALUE"},
        {"x", "NAME=VALUE"},
        {"=x", "NAME=VALUE"},
        {"x=", "no value"},
        {"x=:read", "no value"},
        {"x=a:raed", "did you mean 'read'"},
        {"x=C:\\dir", "written '\\:'"},
        {"x=a:", "no word"},
        {"x=a:read:write", "more than one"},
        {"x=a:read:read", "more than one"},
        {"x=a:read:block:whole", "more than one"},
        {"x=a:read:halo=2", "belongs to block"},
        {"x=a:read:whole:pitch=8", "belongs to block"},
        {"x=a:write:block:halo=1", "halo"},
        {"x=a:read:block:halo", "needs a value"},
        {"x=a:read:block:halo=-1", "halo=-1"},
        {"x=a:read:block:halo=1,", "halo="},
        {"x=a:read:block:halo=1,2,3", "halo="},
        {"x=a:read=1", "takes no value"},
        {"x=a:read:elementwise=0/1", "elementwise=0"},
        {"x=a:read:elementwise=1/0", "elementwise=0"},
        {"x=a:read:elementwise=1/2/3", "elementwise="},
        {"x=a:type=floot", "floot"},
        {"x=a:shape=0", "shape=0"},
        {"x=a:shape=1x2x3x4", "shape="},
        {"x=a:shape=", "shape="},
        {"x=a:shape=9223372036854775807x3", "2^64"},
        {"x=a:write:pergroup=0", "pergroup=0"},
        {"x=a:read:pergroup", "pergroup"},
        {"x=a:write:pergroup:op=mean", "'mean'"},
        {"x=a:read:reduce=sum", "reduction"},
        {"x=a:write:reduce", "needs a value"},
        {"x=a:write:op=sum", "pergroup"},
        {"x=a:write:save=b", "belongs to rw"},
        {"x=a:rw:save=", "needs a file"},
        {"x=a:write:like=y:shape=3", "both"},
        {"x=a:format=jpg", "jpg"},
        {"x=a:channels=5", "channels=5"},
        {"x=a:bits=12", "bits=12"},
        {"x=a:count=0", "count=0"},
        {"x=a:bytes=99999999999999999999", "bytes="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pel_run_argument a;
        char message[PEL_MESSAGE_BYTES] = "";
        if (pel_run_read_argument(cases[i].text, &a, message) || !strstr(message, cases[i].expect))
            fail_msg("%s: expected '%s', got '%s'", cases[i].text, cases[i].expect, message);
        assert_null(a.text);
    }
}

static void survives_long_text(void **state) {
    (void)state;
    static char text[20000];
    pel_run_argument a;
    char message[PEL_MESSAGE_BYTES];
    memset(text, 'x', sizeof text - 1);
    assert_false(pel_run_read_argument(text, &a, message));
    text[5000] = '=';
    text[9000] = ':';
    assert_false(pel_run_read_argument(text, &a, message));
    assert_true(strlen(message) < PEL_MESSAGE_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_example),
        cmocka_unit_test(reads_every_word),
        cmocka_unit_test(names_every_slip),
        cmocka_unit_test(survives_long_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
