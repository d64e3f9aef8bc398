/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands print as JSON is JSON: parsed by jansson, which refuses NaN, and holding what the manual says. */
#include "scratch.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The parsed output of `pel ARGUMENTS`, or NULL when the program failed; *status as from pclose. */
static json_t *run_pel(const char *arguments, int *status) {
    char command[4096];
    json_error_t error;
    snprintf(command, sizeof command, "'%s' %s", getenv("PEL_BIN"), arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    json_t *root = json_loadf(pipe, JSON_DISABLE_EOF_CHECK, &error);
    char rest[8];
    size_t left = fread(rest, 1, sizeof rest, pipe);
    *status = pclose(pipe);
    if (root && left > 1)
        fail_msg("%s: more text behind the JSON", command);
    return root;
}

static void info_is_json(void **state) {
    (void)state;
    int status;
    json_t *root = run_pel("info --json", &status);
    assert_int_equal(status, 0);
    assert_true(json_is_object(root));
    assert_true(json_array_size(json_object_get(root, "devices")) > 0);
    json_decref(root);
}

static void doctor_is_json(void **state) {
    (void)state;
    int status;
    json_t *root = run_pel("doctor --json", &status);
    assert_true(json_is_object(root));
    json_decref(root);
}

static void run_is_json(void **state) {
    (void)state;
    const char source[] = "kernel void fill(global float *out, float v) { out[get_global_id(0)] = v; }";
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "run '%s' --range 100 --arg 'out=%s:write:elementwise' --arg v=nan --repeat 3 --json -",
             scratch_write("fill.cl", source, sizeof source - 1), scratch_path("out.npy"));
    int status;
    json_t *root = run_pel(arguments, &status);
    if (!root)
        skip(); /* no OpenCL device: said on stderr, and tested in test_run.sh */
    assert_int_equal(status, 0);
    assert_string_equal(json_string_value(json_object_get(root, "kernel")), "fill");
    assert_int_equal(json_array_size(json_object_get(root, "times_ns")), 3);
    assert_true(json_number_value(json_object_get(root, "median_ns")) > 0);
    json_t *plan = json_object_get(root, "plan"), *chunks = json_object_get(plan, "chunks"), *chunk;
    size_t index;
    json_int_t at = 0;
    json_array_foreach(chunks, index, chunk) {
        assert_int_equal(json_integer_value(json_object_get(chunk, "lo")), at);
        at = json_integer_value(json_object_get(chunk, "hi"));
    }
    assert_int_equal(at, 100);
    json_decref(root);
}

int main(void) {
    if (!getenv("PEL_BIN")) {
        puts("PEL_BIN is not set");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(info_is_json), cmocka_unit_test(doctor_is_json),
                                       cmocka_unit_test(run_is_json)};
    return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
