/* SPDX-License-Identifier: BSD-3-Clause */
/* Device memory: budget, room made by dropping idle copies, views, and the stories of refusals. */
#include "memory/residency.h"
#include "support/fake_runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define PIECE (200u << 10) /* five of them fill the fake discrete device of 1 MiB */

static unsigned char memory[8][PIECE];

static void test_host_needs_none(void **state) {
    (void)state;
    fake_runtime fake;
    fake_runtime_init(&fake, "h");
    pel_allocation *a = pel_allocation_create(&fake.runtime, memory[0], PIECE, false);
    pel_mem *mem = (pel_mem *)memory;
    assert_int_equal(pel_allocation_mem(a, &fake.devices[0], &mem, NULL), PEL_OK);
    assert_null(mem);
    mem = (pel_mem *)memory;
    assert_int_equal(pel_allocation_view(a, &fake.devices[0], 8, 16, &mem, NULL), PEL_OK);
    assert_null(mem);
    pel_allocation_destroy(a);
    fake_runtime_end(&fake);
}

static void test_coherent_memory_is_not_counted(void **state) {
    (void)state;
    fake_runtime fake;
    fake_runtime_init(&fake, "hc");
    pel_allocation *a = pel_allocation_create(&fake.runtime, memory[0], PIECE, false);
    pel_mem *mem, *again;
    assert_int_equal(pel_allocation_mem(a, &fake.devices[1], &mem, NULL), PEL_OK);
    assert_int_equal(pel_allocation_mem(a, &fake.devices[1], &again, NULL), PEL_OK);
    assert_non_null(mem);
    assert_ptr_equal(mem, again);
    assert_int_equal(fake.devices[1].memory_used, 0);
    pel_allocation_destroy(a);
    fake_runtime_end(&fake);
}

static void test_too_large_names_the_numbers(void **state) {
    (void)state;
    fake_runtime fake;
    fake_runtime_init(&fake, "d");
    fake.facts[0].info.max_allocation_bytes = 1000;
    pel_allocation *a = pel_allocation_create(&fake.runtime, memory[0], 1001, false);
    pel_mem *mem;
    pel_error *error = NULL;
    assert_int_equal(pel_allocation_mem(a, &fake.devices[0], &mem, &error), PEL_TOO_LARGE);
    assert_null(mem);
    assert_non_null(strstr(pel_error_message(error), "1001"));
    assert_non_null(strstr(pel_error_message(error), "1000"));
    assert_string_equal(pel_error_device(error), "dev:0");
    assert_true(pel_error_advice(error)[0] != '\0');
    pel_error_destroy(error);
    pel_allocation_destroy(a);
    fake_runtime_end(&fake);
}

/* Held copies stay, device-only bytes stay, idle copies go. */
static void test_room_is_made(void **state) {
    (void)state;
    fake_runtime fake;
    fake_runtime_init(&fake, "d");
    pel_device *device = &fake.devices[0];
    pel_allocation *a[6];
    pel_mem *mem;
    for (int i = 0; i < 6; i++) {
        a[i] = pel_allocation_create(&fake.runtime, memory[i], PIECE, false);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pel_allocation_mem(a[i], device, &mem, NULL), PEL_OK);
        pel_allocation_pin(a[i], device); /* as a command does */
        assert_int_equal(pel_allocation_copied(a[i], device->place, 0, PIECE), PEL_OK);
    }
    assert_int_equal(device->memory_used, 5 * PIECE);
    pel_error *error = NULL;
    assert_int_equal(pel_allocation_mem(a[5], device, &mem, &error), PEL_DEVICE_MEMORY);
    assert_non_null(strstr(pel_error_message(error), "1024000"));
    pel_error_destroy(error);

    assert_int_equal(pel_allocation_written(a[1], device->place, 5, 6), PEL_OK);
    pel_allocation_unpin(a[1], device); /* the command is over, but the only copy of byte 5 is there */
    assert_int_equal(pel_allocation_mem(a[5], device, &mem, NULL), PEL_DEVICE_MEMORY);
    pel_allocation_unpin(a[3], device);
    assert_int_equal(pel_allocation_mem(a[5], device, &mem, NULL), PEL_OK);
    assert_null(a[3]->mems[0]);
    assert_int_equal(pel_allocation_missing_bytes(a[3], device->place, 0, PIECE), PIECE);
    assert_int_equal(pel_allocation_missing_bytes(a[3], 0, 0, PIECE), 0);
    assert_non_null(a[1]->mems[0]);
    assert_int_equal(device->memory_used, 5 * PIECE);
    for (int i = 0; i < 6; i++) {
        pel_allocation_destroy(a[i]);
    }
    fake_runtime_end(&fake);
}

static void test_lost_device_keeps_what_works_point_to(void **state) {
    (void)state;
    fake_runtime fake;
    fake_runtime_init(&fake, "d");
    pel_allocation *a = pel_allocation_create(&fake.runtime, memory[0], PIECE, false);
    pel_mem *mem;
    pel_allocation_retain(a);
    assert_int_equal(pel_allocation_mem(a, &fake.devices[0], &mem, NULL), PEL_OK);
    assert_int_equal(pel_allocation_written(a, 1, 0, PIECE), PEL_OK);
    pel_allocation_forget_device(a, &fake.devices[0]);
    assert_int_equal(pel_allocation_missing_bytes(a, 0, 0, PIECE), 0);
    assert_int_equal(fake.drivers[0].live_mems, 1);
    pel_allocation_release(a);
    fake_runtime_end(&fake);
}

static void test_views(void **state) {
    (void)state;
    fake_runtime fake;
    fake_runtime_init(&fake, "dc");
    fake.drivers[0].view_alignment = 128;
    pel_allocation *a = pel_allocation_create(&fake.runtime, memory[0], PIECE, false);
    pel_mem *whole, *first, *again, *other;
    pel_allocation_retain(a);
    pel_allocation_retain(a);
    assert_int_equal(pel_allocation_mem(a, &fake.devices[0], &whole, NULL), PEL_OK);
    assert_int_equal(pel_allocation_view(a, &fake.devices[0], 0, 64, &first, NULL), PEL_OK);
    assert_ptr_equal(first, whole);
    assert_int_equal(pel_allocation_view(a, &fake.devices[0], 128, 64, &first, NULL), PEL_OK);
    assert_int_equal(pel_allocation_view(a, &fake.devices[0], 128, 64, &again, NULL), PEL_OK);
    assert_ptr_equal(first, again);
    assert_ptr_equal(first->host, memory[0] + 128);
    assert_int_equal(pel_allocation_view(a, &fake.devices[0], 128, 65, &other, NULL), PEL_OK);
    assert_ptr_not_equal(first, other);
    assert_int_equal(pel_allocation_view(a, &fake.devices[1], 128, 64, &other, NULL), PEL_OK);
    assert_ptr_not_equal(first, other);
    pel_error *error = NULL;
    assert_int_equal(pel_allocation_view(a, &fake.devices[0], 100, 64, &other, &error), PEL_UNSUPPORTED);
    assert_null(other);
    assert_non_null(strstr(pel_error_message(error), "100"));
    pel_error_destroy(error);
    /* A program that walks over a buffer does not pile up views: they go when nobody uses the allocation. */
    for (uint64_t i = 1; i <= 200; i++) {
        assert_int_equal(pel_allocation_view(a, &fake.devices[1], i, 8, &other, NULL), PEL_OK);
    }
    assert_int_equal(fake.drivers[1].live_mems, 202);
    a->references = 1; /* the buffers' and one command's: none of ours are left but the command's */
    pel_allocation_retain(a);
    pel_buffer buffer = {.runtime = &fake.runtime, .allocation = a, .bytes = PIECE};
    a->buffers = &buffer;
    pel_allocation_release(a);
    assert_int_equal(fake.drivers[1].live_mems, 1);
    assert_int_equal(fake.drivers[0].live_mems, 1);
    a->buffers = NULL;
    pel_allocation_release(a);
    fake_runtime_end(&fake);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        fake_runtime fake;
        fake_runtime_init(&fake, "hdc");
        fake.memory.fail_from = n;
        pel_status status = PEL_OUT_OF_MEMORY;
        pel_allocation *a = pel_allocation_create(&fake.runtime, memory[0], PIECE, false);
        if (a) {
            pel_mem *mem;
            status = pel_allocation_mem(a, &fake.devices[1], &mem, NULL);
            status = status == PEL_OK ? pel_allocation_view(a, &fake.devices[2], 64, 64, &mem, NULL) : status;
            status = status == PEL_OK ? pel_allocation_written(a, 2, 3, 9) : status;
            pel_allocation_destroy(a);
        }
        bool reached = fake.memory.calls >= n;
        assert_int_equal(status, reached ? PEL_OUT_OF_MEMORY : PEL_OK);
        fake_runtime_end(&fake);
        if (!reached) {
            assert_true(n > 5);
            return;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_needs_none),
        cmocka_unit_test(test_coherent_memory_is_not_counted),
        cmocka_unit_test(test_too_large_names_the_numbers),
        cmocka_unit_test(test_room_is_made),
        cmocka_unit_test(test_lost_device_keeps_what_works_point_to),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
