/* SPDX-License-Identifier: BSD-3-Clause */
/* Residency against a naive table: one mask of places per byte. */
#include "memory/residency.h"
#include "support/fake_runtime.h"
#include "support/random.h"
#include "support/slow.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define FEWER (PEL_TEST_SLOW ? 20 : 1)

#define BYTES 300
#define PLACES 4 /* host, devices 0 to 2 */

typedef struct seen {
    uint64_t masks[BYTES]; /* what missing reported; 0: not missing */
    uint64_t next;
} seen;

static bool note(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    seen *s = user;
    assert_true(lo >= s->next && lo < hi && hi <= BYTES);
    s->next = hi;
    for (uint64_t i = lo; i < hi; i++) {
        s->masks[i] = places.a ^ PEL_PLACE_HOST;
    }
    return true;
}

static void compare(const pel_allocation *allocation, const uint64_t *truth, uint32_t place, uint64_t lo, uint64_t hi) {
    seen s = {.next = lo};
    uint64_t bytes = 0;
    pel_allocation_missing(allocation, place, lo, hi, note, &s);
    for (uint64_t i = lo; i < hi; i++) {
        bool missing = (truth[i] >> place & 1u) == 0;
        assert_int_equal(s.masks[i], missing ? truth[i] : 0);
        bytes += missing;
    }
    assert_int_equal(pel_allocation_missing_bytes(allocation, place, lo, hi), bytes);
}

static void step(pel_allocation *allocation, pel_device *devices, uint64_t *truth, uint64_t *random) {
    uint32_t place = (uint32_t)(test_random(random) % PLACES);
    uint64_t lo = test_random(random) % BYTES, hi = lo + test_random(random) % (BYTES - lo + 1);
    switch (test_random(random) % 8) {
    case 0:
        if (place != 0) {
            pel_allocation_forget_device(allocation, &devices[place - 1]);
            for (uint64_t i = 0; i < BYTES; i++) {
                truth[i] &= ~(1ull << place);
                truth[i] = truth[i] ? truth[i] : PEL_PLACE_HOST;
            }
        }
        return;
    case 1:
    case 2:
    case 3:
        assert_int_equal(pel_allocation_written(allocation, place, lo, hi), PEL_OK);
        for (uint64_t i = lo; i < hi; i++) {
            truth[i] = 1ull << place;
        }
        return;
    default:
        assert_int_equal(pel_allocation_copied(allocation, place, lo, hi), PEL_OK);
        for (uint64_t i = lo; i < hi; i++) {
            truth[i] |= 1ull << place;
        }
    }
}

static void test_against_a_table(void **state) {
    (void)state;
    fake_runtime fake;
    static unsigned char memory[BYTES];
    fake_runtime_init(&fake, "ddd");
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t random = seed, truth[BYTES];
        pel_allocation *allocation = pel_allocation_create(&fake.runtime, memory, BYTES, false);
        assert_non_null(allocation);
        for (uint64_t i = 0; i < BYTES; i++) {
            truth[i] = PEL_PLACE_HOST;
        }
        for (int i = 0; i < 200; i++) {
            step(allocation, fake.devices, truth, &random);
            uint64_t lo = test_random(&random) % BYTES, hi = lo + test_random(&random) % (BYTES - lo + 1);
            compare(allocation, truth, (uint32_t)(test_random(&random) % PLACES), lo, hi);
            for (uint32_t place = 0; place < PLACES; place++) {
                bool alone = false;
                for (uint64_t k = 0; k < BYTES; k++) {
                    alone = alone || (place != 0 && truth[k] == 1ull << place);
                }
                assert_int_equal(pel_allocation_alone_at(allocation, place), alone);
            }
        }
        pel_allocation_destroy(allocation);
    }
    fake_runtime_end(&fake);
}

/* A lost device must not need memory, and no byte may end without a place. */
static void test_forgetting_needs_no_memory(void **state) {
    (void)state;
    fake_runtime fake;
    static unsigned char memory[BYTES];
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t random = seed, truth[BYTES];
        fake_runtime_init(&fake, "ddd");
        pel_allocation *allocation = pel_allocation_create(&fake.runtime, memory, BYTES, false);
        for (uint64_t i = 0; i < BYTES; i++) {
            truth[i] = PEL_PLACE_HOST;
        }
        for (uint64_t i = 0; i < seed * 3; i++) {
            step(allocation, fake.devices, truth, &random);
        }
        fake.memory.fail_from = fake.memory.calls + 1;
        fake.memory.for_ever = true;
        for (uint32_t d = 0; d < 3; d++) {
            pel_allocation_forget_device(allocation, &fake.devices[d]);
            for (uint64_t i = 0; i < BYTES; i++) {
                truth[i] &= ~(2ull << d);
                truth[i] = truth[i] ? truth[i] : PEL_PLACE_HOST;
            }
            for (uint32_t place = 0; place < PLACES; place++) {
                compare(allocation, truth, place, 0, BYTES);
            }
        }
        pel_allocation_destroy(allocation);
        fake_runtime_end(&fake);
    }
}

/* A change that fails for want of memory leaves the old truth. */
static void test_failed_change(void **state) {
    (void)state;
    fake_runtime fake;
    static unsigned char memory[BYTES];
    fake_runtime_init(&fake, "ddd");
    pel_allocation *allocation = pel_allocation_create(&fake.runtime, memory, BYTES, false);
    uint64_t truth[BYTES], random = 7;
    for (uint64_t i = 0; i < BYTES; i++) {
        truth[i] = PEL_PLACE_HOST;
    }
    bool failed = false;
    for (int i = 0; i < 2000; i++) {
        uint64_t lo = test_random(&random) % BYTES, hi = lo + 1;
        uint32_t place = 1 + (uint32_t)(test_random(&random) % 3);
        fake.memory.fail_from = i % 3 == 0 ? fake.memory.calls + 1 : 0;
        pel_status status = pel_allocation_written(allocation, place, lo, hi);
        if (status == PEL_OK) {
            truth[lo] = 1ull << place;
        } else {
            assert_int_equal(status, PEL_OUT_OF_MEMORY);
            failed = true;
        }
        compare(allocation, truth, place, 0, BYTES);
    }
    assert_true(failed);
    fake.memory.fail_from = 0;
    pel_allocation_destroy(allocation);
    fake_runtime_end(&fake);
}

enum { WIDE = 4096, ALL_PLACES = 64 };

static uint64_t runs_elsewhere(const uint64_t *truth) {
    uint64_t runs = 0;
    for (uint64_t i = 0; i < WIDE; i++) {
        runs += truth[i] != PEL_PLACE_HOST && (i == 0 || truth[i] != truth[i - 1]);
    }
    return runs;
}

typedef struct window {
    const uint64_t *truth;
    uint64_t at, bit, missed;
} window;

static bool check_missing(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    window *w = user;
    for (; w->at < lo; w->at++) {
        assert_true((w->truth[w->at] & w->bit) != 0);
    }
    for (; w->at < hi; w->at++) {
        assert_true(((places.a ^ PEL_PLACE_HOST) & w->bit) == 0 && w->truth[w->at] == (places.a ^ PEL_PLACE_HOST));
    }
    w->missed += hi - lo;
    return true;
}

/* The host and 63 devices, millions of changes. */
static void test_all_places(void **state) {
    (void)state;
    fake_runtime fake;
    static unsigned char memory[WIDE];
    static uint64_t truth[WIDE];
    uint64_t random = 20261122;
    const uint64_t steps = 2000000 / FEWER;
    print_message("seed %llu, %llu steps\n", (unsigned long long)random, (unsigned long long)steps);
    fake_runtime_init(&fake, "d");
    pel_allocation *allocation = pel_allocation_create(&fake.runtime, memory, WIDE, false);
    assert_non_null(allocation);
    for (uint64_t i = 0; i < WIDE; i++) {
        truth[i] = PEL_PLACE_HOST;
    }
    for (uint64_t i = 0; i < steps; i++) {
        uint32_t place = (uint32_t)(test_random(&random) % ALL_PLACES);
        uint64_t lo = test_random(&random) % WIDE, most = test_random(&random) % 1024 == 0 ? WIDE : 12;
        uint64_t hi = lo + test_random(&random) % most, bit = 1ull << place;
        hi = hi < WIDE ? hi : WIDE;
        bool written = test_random(&random) % 3 == 0;
        if (test_random(&random) % 5000 == 0) {
            pel_allocation_forget_place(allocation, place);
            for (uint64_t k = 0; k < WIDE && place != 0; k++) {
                truth[k] = truth[k] == bit ? PEL_PLACE_HOST : truth[k] & ~bit;
            }
        }
        assert_int_equal(written ? pel_allocation_written(allocation, place, lo, hi)
                                 : pel_allocation_copied(allocation, place, lo, hi),
                         PEL_OK);
        for (uint64_t k = lo; k < hi; k++) {
            truth[k] = written ? bit : truth[k] | bit;
        }
        window w = {truth, test_random(&random) % WIDE, 1ull << test_random(&random) % ALL_PLACES, 0};
        uint64_t from = w.at, to = from + 40 < WIDE ? from + 40 : WIDE;
        uint32_t asked = (uint32_t)__builtin_ctzll(w.bit);
        pel_allocation_missing(allocation, asked, from, to, check_missing, &w);
        assert_int_equal(pel_allocation_missing_bytes(allocation, asked, from, to), w.missed);
        bool home = true;
        for (uint64_t k = from; k < to; k++) {
            home = home && truth[k] == PEL_PLACE_HOST;
            assert_true(k < w.at || (truth[k] & w.bit) != 0);
        }
        assert_int_equal(pel_allocation_at_home(allocation, from, to), home);
        if (i % 5000 == 0) {
            assert_int_equal(pel_interval_map_count(allocation->residency), runs_elsewhere(truth)); /* equal neighbours are one */
        }
    }
    pel_allocation_destroy(allocation);
    fake_runtime_end(&fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_a_table), cmocka_unit_test(test_forgetting_needs_no_memory),
                                       cmocka_unit_test(test_failed_change),   cmocka_unit_test(test_all_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
