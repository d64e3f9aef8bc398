/* SPDX-License-Identifier: BSD-3-Clause */
/* Statuses, errors and their stories, also when memory runs out while telling them; the log. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int left, live;
static void *count_down(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (left-- <= 0) {
        left = 0;
        return NULL;
    }
    live += pointer == NULL;
    return realloc(pointer, bytes);
}
static const pel_allocator counting = {count_down, NULL};

static void test_statuses(void **state) {
    (void)state;
    assert_string_equal(pel_status_name(PEL_OK), "PEL_OK");
    assert_string_equal(pel_status_name(PEL_INTERNAL), "PEL_INTERNAL");
    assert_string_equal(pel_status_name((pel_status)999), "PEL_?");
    assert_string_not_equal(pel_status_text((pel_status)999), "");
#define CHECK(name, value, text)                                                                                                 \
    assert_int_equal(PEL_##name, value);                                                                                         \
    assert_string_equal(pel_status_name(PEL_##name), "PEL_" #name);                                                              \
    assert_string_equal(pel_status_text(PEL_##name), text);
    PEL_STATUSES(CHECK)
#undef CHECK
}

static void test_story(void **state) {
    (void)state;
    left = 100;
    live = 0;
    pel_error *error = NULL;
    char log[] = "line 1: no\nline 2: no";
    pel_story story = {"opencl:0 (test)", "clBuildProgram", -11, "mend the source", log};
    assert_int_equal(pel_fail(&error, &counting, PEL_BUILD_FAILED, &story, "program %s, kernel %d", "p", 3), PEL_BUILD_FAILED);
    log[0] = 'X'; /* copied */
    assert_int_equal(pel_error_status(error), PEL_BUILD_FAILED);
    assert_string_equal(pel_error_message(error), "program p, kernel 3");
    assert_string_equal(pel_error_device(error), "opencl:0 (test)");
    assert_string_equal(pel_error_call(error), "clBuildProgram");
    assert_int_equal(pel_error_code(error), -11);
    assert_string_equal(pel_error_advice(error), "mend the source");
    assert_string_equal(pel_error_build_log(error), "line 1: no\nline 2: no");
    assert_string_equal(pel_error_story(error), "PEL_BUILD_FAILED: program p, kernel 3\n  device: opencl:0 (test)\n"
                                                "  call: clBuildProgram (code -11)\n  advice: mend the source\n"
                                                "  build log:\nline 1: no\nline 2: no");
    pel_error *first = error; /* the first story stays */
    assert_int_equal(pel_fail(&error, &counting, PEL_IO, NULL, "later"), PEL_IO);
    assert_ptr_equal(error, first);
    pel_error *copy = pel_error_clone(error, &counting);
    assert_ptr_not_equal(copy, error);
    pel_error_destroy(error);
    assert_string_equal(pel_error_advice(copy), "mend the source");
    assert_non_null(strstr(pel_error_story(copy), "build log"));
    pel_error_destroy(copy);
    assert_int_equal(live, 0);
}

static void test_nothing_to_tell(void **state) {
    (void)state;
    assert_int_equal(pel_fail(NULL, NULL, PEL_BUSY, NULL, "unheard"), PEL_BUSY);
    pel_error *error = NULL;
    assert_int_equal(pel_fail(&error, NULL, PEL_BUSY, NULL, "%s", ""), PEL_BUSY);
    assert_string_equal(pel_error_message(error), "");
    assert_string_equal(pel_error_device(error), "");
    assert_string_equal(pel_error_story(error), "PEL_BUSY: ");
    pel_error_destroy(error);
    assert_int_equal(pel_error_status(NULL), PEL_OK);
    assert_int_equal(pel_error_code(NULL), 0);
    assert_string_equal(pel_error_message(NULL), "");
    assert_string_equal(pel_error_device(NULL), "");
    assert_string_equal(pel_error_call(NULL), "");
    assert_string_equal(pel_error_advice(NULL), "");
    assert_string_equal(pel_error_build_log(NULL), "");
    assert_string_equal(pel_error_story(NULL), "");
    assert_null(pel_error_clone(NULL, NULL));
    pel_error_destroy(NULL);
}

static void test_long_messages(void **state) {
    (void)state;
    char *text = malloc(100001);
    assert_non_null(text);
    memset(text, 'y', 100000);
    text[100000] = '\0';
    static const size_t lengths[] = {510, 511, 512, 513, 100000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        pel_error *error = NULL;
        left = 100;
        pel_fail(&error, &counting, PEL_IO, NULL, "%.*s", (int)lengths[i], text);
        assert_int_equal(strlen(pel_error_message(error)), lengths[i]);
        pel_error_destroy(error);
    }
    pel_error *error = NULL;
    left = 0; /* nothing left */
    assert_int_equal(pel_fail(&error, &counting, PEL_IO, NULL, "%s", text), PEL_IO);
    assert_int_equal(pel_error_status(error), PEL_OUT_OF_MEMORY);
    free(text);
}

static void test_out_of_memory(void **state) {
    (void)state;
    live = 0;
    left = 0;
    pel_error *error = NULL, *other = NULL;
    assert_int_equal(pel_fail(&error, &counting, PEL_IO, NULL, "x"), PEL_IO); /* the status is still true */
    assert_non_null(error);
    assert_int_equal(pel_error_status(error), PEL_OUT_OF_MEMORY);
    assert_string_not_equal(pel_error_message(error), "");
    assert_non_null(strstr(pel_error_story(error), "PEL_OUT_OF_MEMORY"));
    assert_string_equal(pel_error_device(error), "");
    assert_string_equal(pel_error_build_log(error), "");
    pel_error_destroy(error);
    pel_error_destroy(error); /* nobody's */
    left = 1;
    pel_fail(&other, &counting, PEL_IO, NULL, "x");
    pel_error *copy = pel_error_clone(other, &counting);
    assert_int_equal(pel_error_status(copy), PEL_OUT_OF_MEMORY);
    assert_ptr_equal(pel_error_clone(copy, NULL), copy);
    pel_error_destroy(copy);
    pel_error_destroy(other);
    assert_int_equal(live, 0);
}

static void test_hand_over(void **state) {
    (void)state;
    live = 0;
    left = 10;
    pel_error *to = NULL, *one = NULL, *two = NULL, *three = NULL;
    pel_fail(&one, &counting, PEL_IO, NULL, "one");
    pel_fail(&two, &counting, PEL_IO, NULL, "two");
    pel_fail(&three, &counting, PEL_IO, NULL, "three");
    pel_error_hand_over(&to, one);
    pel_error_hand_over(&to, two);
    pel_error_hand_over(NULL, three);
    assert_string_equal(pel_error_message(to), "one");
    assert_int_equal(live, 1);
    pel_error_destroy(to);
    assert_int_equal(live, 0);
}

static char logged[2000];
static int records;
static void keep(void *user, pel_log_level level, const char *message) {
    assert_ptr_equal(user, &records);
    assert_true(level == PEL_LOG_WARNING || level == PEL_LOG_ERROR);
    strncpy(logged, message, sizeof logged - 1);
    records++;
}

static void test_log(void **state) {
    (void)state;
    pel_logger logger;
    pel_logger_init(&logger, keep, &records, PEL_LOG_WARNING);
    pel_log(&logger, PEL_LOG_WARNING, "%d things\nand more", 3);
    assert_string_equal(logged, "3 things and more"); /* one line */
    pel_log(&logger, PEL_LOG_INFO, "too detailed");
    pel_log(NULL, PEL_LOG_ERROR, "nobody listens");
    assert_int_equal(records, 1);
    char text[3000];
    memset(text, 'z', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    pel_log(&logger, PEL_LOG_ERROR, "%s", text);
    assert_int_equal(strlen(logged), 1024 + 3);
    assert_string_equal(logged + 1020, "zzzz...");
    pel_log(&logger, PEL_LOG_ERROR, "%.1024s", text);
    assert_string_equal(logged + 1020, "zzzz");
    pel_logger_destroy(&logger);
    pel_logger_init(&logger, NULL, NULL, PEL_LOG_DEBUG);
    pel_log(&logger, PEL_LOG_ERROR, "no sink");
    pel_logger_destroy(&logger);
    assert_int_equal(records, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),      cmocka_unit_test(test_story),         cmocka_unit_test(test_nothing_to_tell),
        cmocka_unit_test(test_long_messages), cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
