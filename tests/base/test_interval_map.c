/* SPDX-License-Identifier: BSD-3-Clause */
/* The interval map against a value per byte: random operations, counted references, failing allocations, hints of any age. */
#include "support/random.h"
#include "support/slow.h"

#include "base/interval_map.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FEWER (PEL_TEST_SLOW ? 20 : 1)

/* values below REFERENCE are numbers, the same plus REFERENCE are references */
enum { MOST_BYTES = 8192, VALUES = 6, REFERENCE = 8 };

static uint64_t seed;
static uint64_t next_random(void) { return test_random(&seed); }

static void start(uint64_t from) {
    seed = from;
    print_message("seed %llu\n", (unsigned long long)from);
}

typedef struct world {
    pel_interval_map *map;
    uint64_t bytes;
    uint64_t model[MOST_BYTES];
    uint64_t next, last; /* of a visit */
    bool first;
} world;

/* The second word follows from the first, so that one that is lost or mixed up shows. */
static pel_interval_value value_of(uint64_t a) { return (pel_interval_value){a, a == 0 ? 0 : ~a}; }

/* Parts come in order, without holes, neighbours differ, and all is as in the model. */
static bool see(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    world *w = user;
    if (lo != w->next || lo >= hi || hi > w->bytes || (!w->first && value.a == w->last) || value.b != value_of(value.a).b) {
        fail_msg("part %llu to %llu", (unsigned long long)lo, (unsigned long long)hi);
    }
    for (uint64_t i = lo; i < hi; i++) {
        if (w->model[i] != value.a) {
            fail_msg("byte %llu is %llu, not %llu", (unsigned long long)i, (unsigned long long)value.a,
                     (unsigned long long)w->model[i]);
        }
    }
    w->next = hi;
    w->last = value.a;
    w->first = false;
    return true;
}

static void check(world *w, uint64_t lo, uint64_t hi, pel_interval_hint *hint) {
    w->next = lo;
    w->first = true;
    pel_interval_map_visit(w->map, lo, hi, see, w, hint);
    assert_int_equal(w->next, hi);
}

static size_t count_runs(const world *w) {
    size_t count = 0;
    for (uint64_t i = 0; i < w->bytes; i++) {
        count += w->model[i] != 0 && (i == 0 || w->model[i] != w->model[i - 1]);
    }
    return count;
}

static void check_all(world *w) {
    check(w, 0, w->bytes, NULL);
    size_t runs = count_runs(w);
    assert_int_equal(pel_interval_map_count(w->map), runs);
    assert_true(pel_interval_map_pieces(w->map) >= runs && pel_interval_map_pieces(w->map) <= 2 * runs + 2);
    assert_int_equal(pel_interval_map_is_empty(w->map), runs == 0);
}

/* Mostly short ranges, so that there are many; now and then one over everything, so that all kinds of leaves come and go. */
static void pick(const world *w, uint64_t *lo, uint64_t *hi) {
    uint64_t most = next_random() % 512 == 0 ? w->bytes : next_random() % 8 == 0 ? 200 : 4;
    *lo = next_random() % (w->bytes + 1);
    *hi = *lo + next_random() % (most + 1);
    *hi = *hi < w->bytes ? *hi : w->bytes;
}

static int64_t holders[VALUES + REFERENCE];
static void retain(void *user, pel_interval_value value) {
    assert_ptr_equal(user, holders);
    assert_true(value.a > REFERENCE && value.a < VALUES + REFERENCE && holders[value.a] > 0);
    holders[value.a]++;
}
static void release(void *user, pel_interval_value value) {
    assert_ptr_equal(user, holders);
    assert_true(value.a > REFERENCE && value.a < VALUES + REFERENCE && holders[value.a] > 0);
    holders[value.a]--;
}
static const pel_interval_hooks hooks = {retain, release, holders, REFERENCE};

static void give_holder(uint64_t value) { holders[value] += (value & REFERENCE) != 0 ? 1 : 0; }

/* As many references are held as there are pieces: at least one per run, and none of a value that is nowhere. */
static void check_holders(const world *w) {
    int64_t runs[VALUES + REFERENCE] = {0};
    for (uint64_t i = 0; i < w->bytes; i++) {
        runs[w->model[i]] += i == 0 || w->model[i] != w->model[i - 1];
    }
    for (int value = REFERENCE; value < VALUES + REFERENCE; value++) {
        assert_true(holders[value] >= runs[value] && (runs[value] > 0 || holders[value] == 0));
    }
}

typedef struct change {
    uint64_t add;
    uint64_t allowed; /* so many parts before it refuses */
} change;

/* Counts numbers and references alike on, each within its kind; 0 stays. */
static uint64_t changed(uint64_t a, uint64_t add) {
    return a == 0 ? 0 : (a & REFERENCE) | (1 + ((a & 7) - 1 + add) % (VALUES - 1));
}

static bool change_value(void *user, pel_interval_value *value) {
    change *c = user;
    if (c->allowed-- == 0) {
        return false;
    }
    uint64_t after = changed(value->a, c->add);
    if ((value->a & REFERENCE) != 0) {
        holders[value->a]--;
        holders[after]++;
    }
    *value = value_of(after);
    return true;
}

static bool two_to_one(void *user, pel_interval_value *value) {
    (void)user;
    *value = value->a == 2 ? value_of(1) : *value;
    return true;
}

static uint64_t random_value(bool references) {
    uint64_t value = next_random() % VALUES;
    return value != 0 && references && next_random() % 2 ? value + REFERENCE : value;
}

static pel_interval_hint hints[3];
static pel_interval_hint *some_hint(void) { return next_random() % 4 == 0 ? NULL : &hints[next_random() % 3]; }

static void one_operation(world *w, bool references) {
    uint64_t lo, hi;
    pick(w, &lo, &hi);
    switch (next_random() % 8) {
    case 0: {
        change c = {1 + next_random() % 3, UINT64_MAX};
        assert_int_equal(pel_interval_map_update(w->map, lo, hi, change_value, &c, some_hint()), PEL_OK);
        for (uint64_t i = lo; i < hi; i++) {
            w->model[i] = changed(w->model[i], c.add);
        }
        break;
    }
    case 1: {
        change c = {1 + next_random() % 3, UINT64_MAX};
        if (next_random() % 16 != 0) {
            break;
        }
        pel_interval_map_alter(w->map, 0, UINT64_MAX, change_value, &c);
        for (uint64_t i = 0; i < w->bytes; i++) {
            w->model[i] = changed(w->model[i], c.add);
        }
        break;
    }
    case 2: { /* two values become one everywhere, told by the parts that may have one of them */
        uint64_t i = 0;
        while (i < w->bytes && w->model[i] != 2) {
            i++;
        }
        uint64_t end = w->bytes;
        while (end > i && w->model[end - 1] != 2) {
            end--;
        }
        pel_interval_map_alter(w->map, i, end, two_to_one, NULL);
        for (; i < end; i++) {
            w->model[i] = w->model[i] == 2 ? 1 : w->model[i];
        }
        break;
    }
    default: {
        uint64_t value = random_value(references);
        give_holder(value);
        assert_int_equal(pel_interval_map_set(w->map, lo, hi, value_of(value), some_hint()), PEL_OK);
        for (uint64_t i = lo; i < hi; i++) {
            w->model[i] = value;
        }
    }
    }
}

static void random_operations(uint64_t bytes, int steps, bool references) {
    static world w;
    memset(&w, 0, sizeof w);
    memset(holders, 0, sizeof holders);
    memset(hints, 0, sizeof hints);
    w.bytes = bytes;
    w.map = pel_interval_map_create(&pel_allocator_default, references ? &hooks : NULL);
    assert_non_null(w.map);
    for (int step = 0; step < steps; step++) {
        one_operation(&w, references);
        uint64_t lo, hi;
        pick(&w, &lo, &hi);
        check(&w, lo, lo < hi ? hi : lo, some_hint());
        if ((uint64_t)step % bytes == 0) {
            check_all(&w);
            check_holders(&w);
        }
    }
    check_all(&w);
    assert_int_equal(pel_interval_map_set(w.map, 0, UINT64_MAX, value_of(0), NULL), PEL_OK);
    assert_true(pel_interval_map_is_empty(w.map));
    for (int value = 0; value < VALUES + REFERENCE; value++) {
        assert_int_equal(holders[value], 0);
    }
    pel_interval_map_destroy(w.map);
}

static void test_against_bytes(void **state) {
    (void)state;
    start(123457);
    random_operations(96, 1000000 / FEWER, false);
    random_operations(1000, 1000000 / FEWER, false);
    random_operations(MOST_BYTES, 2000000 / FEWER, false);
}

static void test_references(void **state) {
    (void)state;
    start(987653);
    random_operations(96, 500000 / FEWER, true);
    random_operations(MOST_BYTES, 1000000 / FEWER, true);
}

static void test_masks(void **state) {
    (void)state;
    static world w;
    start(4711);
    memset(&w, 0, sizeof w);
    w.bytes = 2000;
    w.map = pel_interval_map_create(&pel_allocator_default, NULL);
    assert_non_null(w.map);
    for (int step = 0; step < 300000 / FEWER; step++) {
        uint64_t lo, hi, clear = next_random() % 8, set = next_random() % 4 ? 0 : next_random() % 8;
        pick(&w, &lo, &hi);
        assert_int_equal(pel_interval_map_mask(w.map, lo, hi, clear, set, NULL), PEL_OK);
        for (uint64_t i = lo; i < hi; i++) {
            w.model[i] = (w.model[i] & ~clear) | set;
        }
        if (step % 1000 == 0) {
            assert_int_equal(pel_interval_map_count(w.map), count_runs(&w));
        }
    }
    assert_int_equal(pel_interval_map_count(w.map), count_runs(&w));
    pel_interval_map_destroy(w.map);
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

/* Every operation that wants memory is refused first, and must have left everything as it was; then it succeeds. */
static void test_failing_allocations(void **state) {
    (void)state;
    static world w;
    static uint64_t before[MOST_BYTES];
    start(5551);
    const pel_allocator allocator = {reallocate_if_allowed, NULL};
    unsigned refused = 0;
    memset(holders, 0, sizeof holders);
    live = 0;
    allowed = false;
    assert_null(pel_interval_map_create(&allocator, &hooks));
    for (int round = 0; round < 1000 / FEWER; round++) {
        memset(&w, 0, sizeof w);
        memset(hints, 0, sizeof hints);
        w.bytes = 600;
        allowed = true;
        w.map = pel_interval_map_create(&allocator, &hooks);
        assert_non_null(w.map);
        for (int step = 0; step < 300; step++) {
            uint64_t lo = next_random() % w.bytes, hi = lo + 1 + next_random() % (next_random() % 8 == 0 ? 300 : 3),
                     value = random_value(true);
            hi = hi < w.bytes ? hi : w.bytes;
            memcpy(before, w.model, sizeof before);
            bool update = next_random() % 4 == 0;
            for (int attempt = 0; attempt < 2; attempt++) {
                allowed = attempt == 1;
                change c = {1, UINT64_MAX};
                give_holder(update ? 0 : value);
                pel_status status = update ? pel_interval_map_update(w.map, lo, hi, change_value, &c, some_hint())
                                           : pel_interval_map_set(w.map, lo, hi, value_of(value), some_hint());
                assert_true(status == PEL_OK || (status == PEL_OUT_OF_MEMORY && attempt == 0));
                if (status != PEL_OK) {
                    refused++;
                    holders[value] -= !update && (value & REFERENCE) != 0; /* still the caller's */
                    check_all(&w);
                    check_holders(&w);
                    continue;
                }
                for (uint64_t i = lo; i < hi; i++) {
                    w.model[i] = update ? changed(w.model[i], 1) : value;
                }
                break;
            }
            check_all(&w);
        }
        check_holders(&w);
        pel_interval_map_destroy(w.map);
        assert_int_equal(live, 0);
        for (int value = 0; value < VALUES + REFERENCE; value++) {
            assert_int_equal(holders[value], 0);
        }
    }
    assert_true(refused > 2000 / FEWER);
}

/* A change that refuses after some parts leaves those changed and the others as they were. */
static void test_refused_changes(void **state) {
    (void)state;
    static world w;
    start(99);
    memset(&w, 0, sizeof w);
    memset(hints, 0, sizeof hints);
    memset(holders, 0, sizeof holders);
    w.bytes = 500;
    w.map = pel_interval_map_create(&pel_allocator_default, &hooks);
    assert_non_null(w.map);
    for (int step = 0; step < 100000 / FEWER; step++) {
        one_operation(&w, true);
        uint64_t lo, hi, parts = 0, at;
        pick(&w, &lo, &hi);
        change c = {1, next_random() % 20};
        uint64_t limit = c.allowed;
        for (at = lo; at < hi && parts <= limit; at++) {
            parts += at == lo || w.model[at] != w.model[at - 1];
        }
        pel_status status = pel_interval_map_update(w.map, lo, hi, change_value, &c, NULL);
        /* parts that begin a leaf count, too: the map may have refused earlier than the model would, never later */
        if (status == PEL_OK) {
            assert_true(parts <= limit);
            for (uint64_t i = lo; i < hi; i++) {
                w.model[i] = changed(w.model[i], 1);
            }
            check_all(&w);
            continue;
        }
        pel_interval_map_destroy(w.map);
        for (int value = 0; value < VALUES + REFERENCE; value++) {
            assert_int_equal(holders[value], 0);
        }
        memset(w.model, 0, sizeof w.model);
        memset(hints, 0, sizeof hints);
        w.map = pel_interval_map_create(&pel_allocator_default, &hooks);
        assert_non_null(w.map);
    }
    pel_interval_map_destroy(w.map);
}

typedef struct ends {
    uint64_t lo, hi, value;
    unsigned parts;
} ends;

static bool note_part(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    ends *its = user;
    its->lo = its->parts == 0 ? lo : its->lo;
    its->hi = hi;
    its->value = value.a;
    its->parts++;
    return its->parts < 3;
}

static pel_status set(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t value) {
    return pel_interval_map_set(map, lo, hi, value_of(value), NULL);
}

static void test_ends_of_the_range(void **state) {
    (void)state;
    pel_interval_map *map = pel_interval_map_create(NULL, NULL);
    assert_non_null(map);
    ends its = {0};
    pel_interval_map_visit(map, 3, 8, note_part, &its, NULL);
    assert_int_equal(its.parts, 1);
    assert_int_equal(set(map, UINT64_MAX - 10, UINT64_MAX, 3), PEL_OK);
    assert_int_equal(set(map, 0, 5, 4), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 2);
    its = (ends){0};
    pel_interval_map_visit(map, 0, UINT64_MAX, note_part, &its, NULL);
    assert_int_equal(its.parts, 3);
    assert_int_equal(its.lo, 0);
    assert_int_equal(its.hi, UINT64_MAX);
    assert_int_equal(its.value, 3);
    its.parts = 0;
    pel_interval_map_visit(map, 9, 9, note_part, &its, NULL); /* nothing to see */
    assert_int_equal(its.parts, 0);
    assert_int_equal(set(map, 0, UINT64_MAX, 4), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 1);
    assert_int_equal(pel_interval_map_mask(map, 0, UINT64_MAX, 4, 0, NULL), PEL_OK);
    assert_int_equal(set(map, 0, UINT64_MAX, 0), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), 0);
    assert_int_equal(set(map, 7, 3, 1), PEL_OK); /* empty */
    assert_int_equal(pel_interval_map_count(map), 0);
    its.parts = 0;
    pel_interval_map_visit(map, 1, 8, note_part, &its, NULL);
    assert_int_equal(its.parts, 1);
    pel_interval_map_destroy(map);
    pel_interval_map_destroy(NULL);
}

/* Many intervals in ascending, descending and random order; a linear structure would need minutes. All goes and comes back in
 * one sweep. */
static void test_many_intervals(void **state) {
    (void)state;
    start(31);
    enum { MANY = 1000000 / FEWER };
    pel_interval_map *map = pel_interval_map_create(NULL, NULL);
    assert_non_null(map);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(set(map, 10 * i, 10 * i + 5, 1 + i % 2), PEL_OK);
    }
    assert_int_equal(pel_interval_map_count(map), MANY);
    for (int i = 0; i < MANY; i++) {
        uint64_t at = next_random() % MANY;
        assert_int_equal(set(map, 10 * at + 1, 10 * at + 3, 3), PEL_OK);
        ends its = {0};
        pel_interval_map_visit(map, 10 * at + 2, 10 * at + 3, note_part, &its, NULL);
        assert_int_equal(its.value, 3);
    }
    assert_int_equal(set(map, 5, 10 * MANY, 0), PEL_OK);
    assert_int_equal(pel_interval_map_count(map), pel_interval_map_pieces(map));
    assert_true(pel_interval_map_count(map) <= 3);
    for (uint64_t i = MANY; i-- > 0;) {
        assert_int_equal(set(map, 10 * i, 10 * i + 5, 1 + i % 2), PEL_OK);
    }
    assert_int_equal(pel_interval_map_count(map), MANY);
    assert_int_equal(set(map, 0, UINT64_MAX, 0), PEL_OK);
    assert_true(pel_interval_map_is_empty(map));
    pel_interval_map_destroy(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_bytes),   cmocka_unit_test(test_references),
        cmocka_unit_test(test_masks),           cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_refused_changes), cmocka_unit_test(test_ends_of_the_range),
        cmocka_unit_test(test_many_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
