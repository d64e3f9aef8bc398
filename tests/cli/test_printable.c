/* SPDX-License-Identifier: BSD-3-Clause */
/* UTF-8 passes, what a terminal would obey does not, whatever the bytes. */
#include "cli/printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void becomes(const char *text, const char *expected) {
    char *copy = strdup(text); /* on the heap: a read behind its end is seen */
    assert_non_null(copy);
    pel_make_printable(copy);
    assert_string_equal(copy, expected);
    free(copy);
}

static void text_passes(void **state) {
    (void)state;
    becomes("", "");
    becomes("plain text, 100 %", "plain text, 100 %");
    becomes("Gr\xc3\xbc\xc3\x9f"
            "e, \xe2\x82\xac, \xf0\x9f\x9a\x80, \xe8\xae\xbe",
            "Gr\xc3\xbc\xc3\x9f"
            "e, \xe2\x82\xac, \xf0\x9f\x9a\x80, \xe8\xae\xbe");
    /* first and last that are not controls */
    becomes("\xc2\xa0\xef\xbf\xbd\xf4\x8f\xbf\xbd", "\xc2\xa0\xef\xbf\xbd\xf4\x8f\xbf\xbd");
}

static void controls_do_not(void **state) {
    (void)state;
    becomes("\x1b[2J\x07 a\tb\nc\x7f", "?[2J? a?b?c?");
    becomes("\xc2\x9b" "2J \xc2\x85", "?2J ?"); /* the 8-bit forms of ESC [ and of a new line */
    becomes("a\xe2\x80\xae" "b\xe2\x81\xa6" "c\xe2\x80\xa8" "d\xd8\x9c", "a?b?c?d?");
}

static void broken_bytes_do_not(void **state) {
    (void)state;
    becomes("\xff\xfe\x80\xbf", "????");
    becomes("\xc3", "?");
    becomes("\xe2\x82", "??");
    becomes("\xf0\x9f\x9a", "???");
    becomes("\xc0\x80\xc1\xbf \xe0\x80\x80 \xf0\x80\x80\x80", "???? ??? ????"); /* too long forms */
    becomes("\xed\xa0\x80 \xf4\x90\x80\x80 \xf8\x88\x80\x80\x80", "??? ???? ?????");
    becomes("\xc3(\xe2(\xf0(", "?(?(?(");
}

/* Whatever comes in, what comes out stays as it is, has no control, and is no longer. */
static void any_bytes(void **state) {
    (void)state;
    unsigned seed = 20261122;
    printf("seed %u\n", seed);
    for (int round = 0; round < 100000; round++) {
        char text[17] = "", once[17];
        for (int i = 0; i < 16; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = (char)((seed >> 16 & 3) == 0 ? seed >> 24 : 0x80u | seed >> 24);
        }
        size_t length = strlen(text);
        pel_make_printable(text);
        strcpy(once, text);
        assert_true(strlen(once) <= length);
        pel_make_printable(text);
        assert_string_equal(text, once);
        for (const char *c = once; *c; c++) {
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_passes),
        cmocka_unit_test(controls_do_not),
        cmocka_unit_test(broken_bytes_do_not),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
