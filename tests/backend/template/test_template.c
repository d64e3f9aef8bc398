/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend template compiles and keeps the order and completion rules, although it runs nothing. It is compiled in here: it is
 * not in the library. */
#include "backend/template/template.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { WORKS = 500 };
static pel_work works[WORKS];
static unsigned completed[WORKS];
static atomic_uint count;

static void on_complete(pel_work *work) {
    completed[atomic_fetch_add(&count, 1)] = (unsigned)(work - works);
}

static void test_works_complete_in_order(void **state) {
    (void)state;
    static const pel_topology_device facts = {.info = {.id = "null:0"}};
    pel_backend_env env = {.allocator = &pel_allocator_default, .clock = &pel_clock_monotonic};
    pel_backend_device *device = NULL;
    assert_int_equal(pel_backend_template.open(&env, &facts, &device, NULL), PEL_OK);
    char memory[64];
    pel_mem *mem = NULL, *view = NULL;
    assert_int_equal(pel_backend_template.mem_create(device, memory, sizeof memory, &mem, NULL), PEL_OK);
    assert_int_equal(pel_backend_template.mem_view(device, mem, 8, 16, &view, NULL), PEL_OK);
    assert_ptr_equal(view->host, memory + 8);
    pel_error *error = NULL;
    pel_program_image program = {.name = "nothing"};
    assert_int_equal(pel_backend_template.prepare(device, &program, NULL, &error), PEL_UNSUPPORTED);
    assert_non_null(strstr(pel_error_story(error), "null:0"));
    pel_error_destroy(error);
    for (int i = 0; i < WORKS; i++) {
        works[i] = (pel_work){.kind = i % 2 ? PEL_WORK_LAUNCH : PEL_WORK_TRANSFER, .complete = on_complete};
        pel_backend_template.submit(device, &works[i]);
    }
    pel_backend_template.mem_destroy(device, view);
    pel_backend_template.mem_destroy(device, mem);
    pel_backend_template.close(device);
    assert_int_equal(atomic_load(&count), WORKS);
    for (unsigned i = 0; i < WORKS; i++) {
        assert_int_equal(completed[i], i);
        assert_int_equal(works[i].status, i % 2 ? PEL_UNSUPPORTED : PEL_OK);
        assert_int_equal(pel_error_status(works[i].error), works[i].status);
        pel_error_destroy(works[i].error);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_works_complete_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
