/* SPDX-License-Identifier: BSD-3-Clause */
/* The interval map against a value per byte: random operations, counted references, failing allocations, cheap ascending use. */
#include "base/interval_map.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 96, VALUES = 5 };

static uint32_t seed;
static uint32_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

static void start(uint32_t from) {
    seed = from;
    print_message("seed %u\n", seed);
}

typedef struct seen {
    uint64_t next, values[BYTES];
    uint64_t last;
    bool first, plain;
} seen;

/* Parts come in order, without holes, and, for plain numbers, neighbours differ. */
static bool see(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    seen *its = user;
    assert_int_equal(lo, its->next);
    assert_true(lo < hi && hi <= BYTES);
    assert_true(its->first || value != its->last || (!its->plain && value != 0));
    for (uint64_t i = lo; i < hi; i++) {
        its->values[i] = value;
    }
    its->next = hi;
    its->last = value;
    its->first = false;
    return true;
}

static void check_all(const pel_interval_map *map, const uint64_t *model, bool plain) {
    uint64_t lo = next_random() % BYTES, hi = lo + 1 + next_random() % (BYTES - lo);
    seen its = {.next = lo, .first = true, .plain = plain};
    pel_interval_map_visit(map, lo, hi, see, &its);
    assert_int_equal(its.next, hi);
    assert_memory_equal(its.values + lo, model + lo, (hi - lo) * sizeof model[0]);
}

static size_t count_runs(const uint64_t *model) {
    size_t count = 0;
    for (int i = 0; i < BYTES; i++) {
        count += model[i] != 0 && (i == 0 || model[i] != model[i - 1]);
    }
    return count;
}

static void test_plain_numbers(void **state) {
    (void)state;
    start(123457);
    uint64_t model[BYTES] = {0};
    pel_interval_map *map = pel_interval_map_create(&pel_allocator_default, NULL);
    assert_non_null(map);
    for (int step = 0; step < 2000000; step++) {
        uint64_t a = next_random() % (BYTES + 1), b = next_random() % (BYTES + 1), lo = a < b ? a : b, hi = a < b ? b : a;
        if (next_random() % 2) {
            uint64_t value = next_random() % VALUES;
            assert_int_equal(pel_interval_map_set(map, lo, hi, value), PEL_OK);
            for (uint64_t i = lo; i < hi; i++) {
                model[i] = value;
            }
        } else {
            uint64_t clear = next_random() % 8, set = next_random() % 4 ? 0 : next_random() % 8;
            assert_int_equal(pel_interval_map_mask(map, lo, hi, clear, set), PEL_OK);
            for (uint64_t i = lo; i < hi; i++) {
                model[i] = (model[i] & ~clear) | set;
            }
        }
        check_all(map, model, true);
        assert_int_equal(pel_interval_map_count(map), count_runs(model));
    }
    pel_interval_map_destroy(map);
}

static int64_t holders[VALUES];
static void retain(void *user, uint64_t value) {
    assert_ptr_equal(user, holders);
    assert_true(value > 0 && value < VALUES && holders[value] > 0);
    holders[value]++;
}
static void release(void *user, uint64_t value) {
    assert_ptr_equal(user, holders);
    assert_true(value > 0 && value < VALUES && holders[value] > 0);
    holders[value]--;
}

static bool count_references(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    (void)lo, (void)hi;
    ((int64_t *)user)[value]++;
    return true;
}

static void test_references(void **state) {
    (void)state;
    start(987653);
    memset(holders, 0, sizeof holders);
    pel_interval_hooks hooks = {retain, release, holders};
    uint64_t model[BYTES] = {0};
    pel_interval_map *map = pel_interval_map_create(&pel_allocator_default, &hooks);
    assert_non_null(map);
    for (int step = 0; step < 1000000; step++) {
        uint64_t a = next_random() % (BYTES + 1), b = next_random() % (BYTES + 1), lo = a < b ? a : b, hi = a < b ? b : a;
        uint64_t value = next_random() % VALUES;
        holders[value] += value != 0; /* the reference that set takes over */
        assert_int_equal(pel_interval_map_set(map, lo, hi, value), PEL_OK);
        for (uint64_t i = lo; i < hi; i++) {
            model[i] = value;
        }
        check_all(map, model, false);
        int64_t found[VALUES] = {0};
        pel_interval_map_visit(map, 0, BYTES, count_references, found);
        found[0] = 0;
        assert_memory_equal(found, holders, sizeof found);
    }
    pel_interval_map_destroy(map);
    for (int value = 1; value < VALUES; value++) {
        assert_int_equal(holders[value], 0);
    }
}

static bool allowed;
static int64_t live;
static void *reallocate_if_allowed(void *user, void *pointer, size_t bytes) {
    (void)user;
    if (bytes == 0) {
        live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (!allowed) {
        return NULL;
    }
    live += pointer == NULL;
    return realloc(pointer, bytes);
}

static void test_failing_allocations(void **state) {
    (void)state;
    start(5551);
    memset(holders, 0, sizeof holders);
    live = 0;
    pel_allocator allocator = {reallocate_if_allowed, NULL};
    pel_interval_hooks hooks = {retain, release, holders};
    allowed = false;
    assert_null(pel_interval_map_create(&allocator, &hooks));
    allowed = true;
    pel_interval_map *map = pel_interval_map_create(&allocator, &hooks);
    assert_non_null(map);
    uint64_t model[BYTES] = {0};
    unsigned refused = 0;
    for (int step = 0; step < 100000; step++) {
        uint64_t lo = next_random() % BYTES, hi = lo + 1 + next_random() % 3, value = 1 + next_random() % (VALUES - 1);
        hi = hi < BYTES ? hi : BYTES;
        if (step % 1000 == 0) { /* a fresh map, so that it has to grow again */
            pel_interval_map_destroy(map);
            allowed = true;
            map = pel_interval_map_create(&allocator, &hooks);
            assert_non_null(map);
            memset(model, 0, sizeof model);
        }
        allowed = next_random() % 8 == 0;
        holders[value]++;
        pel_status status = pel_interval_map_set(map, lo, hi, value);
        assert_true(status == PEL_OK || (status == PEL_OUT_OF_MEMORY && !allowed));
        if (status == PEL_OK) {
            for (uint64_t i = lo; i < hi; i++) {
                model[i] = value;
            }
        } else {
            holders[value]--; /* still the caller's */
            refused++;
        }
        check_all(map, model, false);
    }
    assert_true(refused > 100);
    pel_interval_map_destroy(map);
    assert_int_equal(live, 0);
    for (int value = 1; value < VALUES; value++) {
        assert_int_equal(holders[value], 0);
    }
}

static void test_reserved_operations_cannot_fail(void **state) {
    (void)state;
    start(77);
    pel_allocator allocator = {reallocate_if_allowed, NULL};
    live = 0;
    for (int round = 0; round < 200; round++) {
        allowed = true;
        pel_interval_map *map = pel_interval_map_create(&allocator, NULL);
        assert_non_null(map);
        for (int burst = 0; burst < 5; burst++) {
            size_t operations = 1 + next_random() % 200;
            allowed = true;
            assert_int_equal(pel_interval_map_reserve(map, operations), PEL_OK);
            allowed = false;
            for (size_t i = 0; i < operations; i++) {
                uint64_t lo = next_random() % 100000, hi = lo + 1 + next_random() % 100;
                pel_status status = next_random() % 2
                                        ? pel_interval_map_set(map, lo, hi, next_random() % 4)
                                        : pel_interval_map_mask(map, lo, hi * 2, next_random() % 4, next_random() % 4);
                assert_int_equal(status, PEL_OK);
            }
        }
        assert_int_equal(pel_interval_map_reserve(map, SIZE_MAX), PEL_OUT_OF_MEMORY);
        assert_int_equal(pel_interval_map_reserve(map, SIZE_MAX / 2), PEL_OUT_OF_MEMORY);
        pel_interval_map_destroy(map);
        assert_int_equal(live, 0);
    }
}

typedef struct ends {
    uint64_t lo, hi, value;
    unsigned parts;
} ends;

static bool note_part(void *user, uint64_t lo, uint64_t hi, uint64_t value) {
    ends *its = user;
    its->lo = its->parts == 0 ? lo : its->lo;
    its->hi = hi;
    its->value = value;
    its->parts++;
    return its->parts < 3;
}

static void test_ends_of_the_range(void **state) {
    (void)state;
    pel_interval_map *map = pel_interval_map_create(NULL, NULL);
    assert_non_null(map);
    assert_int_equal(pel_interval_map_set(map, UINT64_MAX - 10, UINT64_MAX, 3), PEL_OK);
    assert_int_equal(pel_interval_map_set(map, 0, 5, 4), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 2);
    ends its = {0};
    pel_interval_map_visit(map, 0, UINT64_MAX, note_part, &its);
    assert_int_equal(its.parts, 3);
    assert_int_equal(its.lo, 0);
    assert_int_equal(its.hi, UINT64_MAX);
    assert_int_equal(its.value, 3);
    its.parts = 0;
    pel_interval_map_visit(map, 9, 9, note_part, &its); /* nothing to see */
    assert_int_equal(its.parts, 0);
    assert_int_equal(pel_interval_map_set(map, 0, UINT64_MAX, 4), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 1);
    assert_int_equal(pel_interval_map_mask(map, 0, UINT64_MAX, 4, 0), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 0);
    assert_int_equal(pel_interval_map_set(map, 7, 3, 1), PEL_OK); /* empty */
    assert_int_equal(pel_interval_map_count(map), 0);
    its.parts = 0;
    pel_interval_map_visit(map, 1, 8, note_part, &its);
    assert_int_equal(its.parts, 1);
    pel_interval_map_destroy(map);
    pel_interval_map_destroy(NULL);
}

/* 200,000 intervals in ascending and then in random order; a linear structure would need minutes. */
static void test_many_intervals(void **state) {
    (void)state;
    start(31);
    enum { MANY = 200000 };
    pel_interval_map *map = pel_interval_map_create(NULL, NULL);
    assert_non_null(map);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(pel_interval_map_set(map, 10 * i, 10 * i + 5, 1 + i % 2), PEL_OK);
    }
    assert_int_equal(pel_interval_map_count(map), MANY);
    for (int i = 0; i < MANY; i++) {
        uint64_t at = next_random() % MANY;
        assert_int_equal(pel_interval_map_set(map, 10 * at + 1, 10 * at + 3, 3), PEL_OK);
        ends its = {0};
        pel_interval_map_visit(map, 10 * at + 2, 10 * at + 3, note_part, &its);
        assert_int_equal(its.value, 3);
    }
    assert_int_equal(pel_interval_map_mask(map, 0, 10 * MANY, 7, 0), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 0);
    pel_interval_map_destroy(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_numbers),       cmocka_unit_test(test_references),
        cmocka_unit_test(test_failing_allocations), cmocka_unit_test(test_reserved_operations_cannot_fail),
        cmocka_unit_test(test_ends_of_the_range),   cmocka_unit_test(test_many_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
