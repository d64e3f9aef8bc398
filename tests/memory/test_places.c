/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of thousands of places against naive bitmaps; rows that nobody names are given up. */
#include "memory/residency.h"
#include "support/fake_runtime.h"
#include "support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { DEVICES = 1000, SETS = 24, STEPS = 6000, BYTES = 240 };

static void compare(const pel_runtime *runtime, pel_place_set set, const bool *truth) {
    uint32_t at = 0, count = 0, found = 0;
    assert_int_equal(pel_places_at_home(set), truth[0]);
    for (uint32_t place = 1; place <= DEVICES; place++) {
        count += truth[place] ? 1u : 0u;
    }
    while ((at = pel_places_next(runtime, set, at)) != 0) {
        assert_true(at <= DEVICES && truth[at] && pel_places_have(runtime, set, at));
        found++;
    }
    assert_int_equal(found, count);
}

/* Adds and drops at random; small sets and large ones, the first and the last place of each word. */
static void sets_hold_what_bitmaps_do(void **state) {
    (void)state;
    static bool truth[SETS][DEVICES + 1];
    pel_place_set sets[SETS] = {{0, 0}};
    pel_runtime runtime = {.allocator = pel_allocator_default};
    uint64_t random = 2026;
    runtime.place_sets = pel_place_sets_create(&runtime.allocator, DEVICES);
    assert_non_null(runtime.place_sets);
    for (uint32_t i = 0; i < SETS; i++) {
        truth[i][0] = true;
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        const uint32_t i = (uint32_t)(test_random(&random) % SETS);
        const uint32_t range = i < SETS / 2 ? 6 : DEVICES, place = 1 + (uint32_t)(test_random(&random) % range);
        if (test_random(&random) % 3 == 0) {
            bool any = truth[i][0];
            pel_places_drop(&runtime, &sets[i], place);
            truth[i][place] = false;
            for (uint32_t k = 1; k <= DEVICES; k++) {
                any = any || truth[i][k];
            }
            truth[i][0] = truth[i][0] || !any;
        } else {
            assert_true(pel_places_add(&runtime, &sets[i], place));
            truth[i][place] = true;
        }
        if (test_random(&random) % 16 == 0 && pel_places_next(&runtime, sets[i], 0) != 0) { /* the host's copy is old */
            sets[i].a |= PEL_PLACE_HOST;
            truth[i][0] = false;
        }
        compare(&runtime, sets[i], truth[i]);
    }
    pel_place_sets_destroy(&runtime.allocator, runtime.place_sets);
}

static bool note_alone(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    (void)lo, (void)hi, (void)places;
    *(bool *)user = true;
    return true;
}

/* An input goes to all devices, one after the other, again and again: the sets on the way do not stay. */
static void sets_on_the_way_are_given_up(void **state) {
    (void)state;
    static unsigned char bytes[BYTES];
    fake_runtime fake;
    fake_runtime_init(&fake, "h");
    fake.runtime.place_sets = pel_place_sets_create(&fake.runtime.allocator, DEVICES);
    pel_allocation *allocation = pel_allocation_create(&fake.runtime, bytes, BYTES, false);
    assert_non_null(allocation);
    uint32_t most = 0;
    for (uint32_t round = 0; round < 12; round++) {
        assert_int_equal(pel_allocation_written(allocation, 0, 0, BYTES), PEL_OK);
        for (uint32_t i = 0; i < DEVICES; i++) { /* in another order each time: all prefixes are new */
            const uint32_t place = 1 + (i * 7 + round * 13) % DEVICES;
            assert_int_equal(pel_allocation_copied(allocation, place, 0, BYTES), PEL_OK);
        }
        const uint32_t rows = pel_place_sets_count(fake.runtime.place_sets);
        most = rows > most ? rows : most;
        for (uint32_t place = 0; place <= DEVICES; place++) {
            assert_int_equal(pel_allocation_missing_bytes(allocation, place, 0, BYTES), 0);
        }
    }
    assert_true(most <= 4096 + DEVICES);
    assert_int_equal(pel_allocation_written(allocation, 77, 0, 100), PEL_OK);
    assert_true(pel_allocation_alone_at(allocation, 77) && !pel_allocation_alone_at(allocation, 78));
    bool missing = false;
    pel_allocation_missing(allocation, 78, 0, 100, note_alone, &missing);
    assert_true(missing);
    pel_allocation_forget_place(allocation, 77);
    assert_int_equal(pel_allocation_missing_bytes(allocation, 0, 0, BYTES), 0);
    assert_int_equal(pel_allocation_missing_bytes(allocation, 77, 0, BYTES), BYTES);
    pel_allocation_destroy(allocation);
    pel_place_sets_destroy(&fake.runtime.allocator, fake.runtime.place_sets);
    fake.runtime.place_sets = NULL;
    fake_runtime_end(&fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sets_hold_what_bitmaps_do),
                                       cmocka_unit_test(sets_on_the_way_are_given_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
