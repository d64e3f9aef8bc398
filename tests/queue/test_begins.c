/* SPDX-License-Identifier: BSD-3-Clause */
/* How late a device begins: followed, and not led astray by cores that are stolen. */
#include "queue/begins.h"
#include <pel/pel.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t state = 1;

static double between(double least, double most) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return least + (most - least) * (double)(state >> 11) * 0x1p-53;
}

static double after(double known, uint32_t count, double usual, double stolen) {
    for (uint32_t i = 0; i < count; i++) {
        known = pel_begins_after(known, between(0.0, 1.0) < stolen ? between(0.5e6, 5e6) : usual * between(0.8, 1.2));
    }
    return known;
}

static void follows_what_is_usual(void **unused) {
    (void)unused;
    assert_true(pel_begins_after(0.0, 90e3) == 90e3);
    assert_true(pel_begins_after(0.0, 5e6) < 250e3);
    assert_true(pel_begins_after(70e3, 0.0) == 70e3);
    assert_true(pel_begins_after(70e3, -1.0) == 70e3);
    assert_true(fabs(after(0.0, 200, 90e3, 0.0) - 90e3) < 10e3);
    assert_true(fabs(after(300e3, 200, 50e3, 0.0) - 50e3) < 10e3);
}

/* One launch in five is late by milliseconds. */
static void is_not_led_astray(void **unused) {
    (void)unused;
    for (int i = 0; i < 50; i++) {
        const double known = after(90e3, 100, 90e3, 0.2);
        assert_true(known > 70e3 && known < 150e3);
    }
}

/* Nothing is learned under a virtual clock: the same seed, the same plans. */
static void virtual_machines_begin_at_once(void **unused) {
    (void)unused;
    pel_topology_device facts = {.info = {.kind = PEL_DEVICE_SIMULATED}};
    const pel_device device = {.facts = &facts, .begins_ns = 5e4};
    assert_true(pel_begins_ns(&device) == 0.0);
    facts.info.kind = PEL_DEVICE_HOST;
    assert_true(pel_begins_ns(&device) == 5e4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_what_is_usual), cmocka_unit_test(is_not_led_astray),
                                       cmocka_unit_test(virtual_machines_begin_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
