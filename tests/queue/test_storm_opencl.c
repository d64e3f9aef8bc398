/* SPDX-License-Identifier: BSD-3-Clause */
/* The storm (storm.h) with an OpenCL device beside the host, which works in the host's memory or gets copies; launches are
 * divided between the two. The environment is that of test_storm.c. */
#include "storm.h"

#include "support/cores.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { THREADS = 3, USUAL = 600 };

static void run_with(const char *devices) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = devices;
    if (!test_has_cores_0_and_1() || pel_runtime_create(&desc, &runtime, NULL) != PEL_OK) {
        skip();
    }
    storm_threads(runtime, THREADS, USUAL, STORM_OPENCL, NULL);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_shared_memory(void **state) {
    (void)state;
    run_with("host@0,opencl:0@1");
}

static void test_own_memory(void **state) {
    (void)state;
    run_with("host@0,opencl:0@1[own]");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared_memory), cmocka_unit_test(test_own_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
