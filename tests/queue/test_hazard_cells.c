/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields of cells: the table against an array, tasks of several ranges against a naive model, moves to the map and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "queue/hazard_cells.h"
#include "support/random.h"
#include "support/slow.h"

#define FEWER (PEL_TEST_SLOW ? 10 : 1)

static uint64_t random_state;
static uint64_t next_random(void) { return test_random(&random_state); }

static pel_hazard_states states;
static pel_hazards *nodes_from;

static pel_interval_value living(pel_hazard_node **node) {
    *node = pel_hazards_take_node(nodes_from, NULL);
    assert_non_null(*node);
    return pel_hazard_alone(*node, PEL_WRITE);
}

enum { NUMBERS = 1 << 20, KNOWN = 20000 };

static bool count_cells(void *count, pel_interval_value *value) {
    ++*(uint64_t *)count;
    return value->a != 0;
}

/* Numbers in rows, in strides of powers of two, and scattered: each is found again, none of another. */
static void test_every_pattern_is_found_again(void **state) {
    (void)state;
    static uint64_t numbers[KNOWN];
    for (int pattern = 0; pattern < 4; pattern++) {
        pel_hazard_field *field = pel_hazard_field_create(&states, 64, 64 + 24ull * NUMBERS * 1024, 24);
        pel_hazard_node *node;
        assert_non_null(field);
        random_state = (uint64_t)pattern + 1;
        const pel_interval_value value = living(&node);
        for (uint64_t i = 0; i < KNOWN / FEWER; i++) {
            numbers[i] = pattern == 0 ? i + 12345 : pattern == 1 ? i * 8 : pattern == 2 ? i * 4096 : next_random() % NUMBERS;
            assert_true(pel_hazard_field_has_room(field, 1));
            pel_hazard_field_cell(field, numbers[i])->value = value;
        }
        for (uint64_t i = 0; i < KNOWN / FEWER; i++) {
            const uint64_t used = field->used;
            assert_int_equal(pel_hazard_field_cell(field, numbers[i])->key, numbers[i] + 1);
            assert_int_equal(field->used, used); /* nothing was added */
        }
        uint64_t count = 0, seen = field->used;
        pel_hazard_field_alter(field, 0, UINT64_MAX, count_cells, &count);
        assert_int_equal(count, seen);
        count = 0;
        pel_hazard_field_alter(field, 64 + 24 * numbers[7] + 5, 64 + 24 * numbers[7] + 6, count_cells, &count);
        assert_int_equal(count, 1);
        pel_hazards_give_node(nodes_from, node);
        assert_true(pel_hazard_field_make_room(field, 1)); /* all of it is over */
        assert_int_equal(field->used, 0);
        assert_true(field->mask < 1024);
        pel_hazard_field_destroy(field);
    }
}

/* What is not over goes to the map, and comes back, byte for byte. */
static void test_to_the_map_and_back(void **state) {
    (void)state;
    enum { CELLS = 100, SIZE = 12, BASE = 4096, END = BASE + CELLS * SIZE - 5 };
    const pel_interval_hooks hooks = pel_hazard_state_hooks(&states);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        pel_interval_map *map = pel_interval_map_create(&states.allocator, &hooks);
        pel_hazard_field *field = pel_hazard_field_create(&states, BASE, END, SIZE);
        pel_hazard_node *nodes[8], *reader = pel_hazards_take_node(nodes_from, NULL);
        assert_true(map && field && reader);
        random_state = seed;
        pel_interval_value expected[CELLS] = {{0, 0}};
        for (int i = 0; i < 8; i++) {
            const pel_interval_value value = living(&nodes[i]);
            for (uint64_t k = 0, at = next_random() % CELLS; k < 9 && at < CELLS; k++, at++) { /* a few neighbours alike */
                assert_true(pel_hazard_field_has_room(field, 1));
                pel_hazard_cell *cell = pel_hazard_field_cell(field, at);
                pel_hazard_let_go(&states, cell->value);
                cell->value = value;
                if (next_random() % 4 == 0) { /* a list */
                    assert_true(pel_hazard_add_reader(&(pel_hazard_reading){&states, reader}, &cell->value));
                }
                expected[at] = cell->value;
            }
        }
        assert_true(pel_hazard_field_empty(field, map));
        pel_hazard_field_destroy(field);
        field = pel_hazard_field_create(&states, BASE, END, SIZE);
        assert_true(field && pel_hazard_field_fill(field, map));
        assert_true(pel_interval_map_is_empty(map));
        for (uint64_t i = 0; i < CELLS; i++) {
            uint64_t number = 0;
            const uint64_t lo = BASE + i * SIZE, hi = lo + SIZE < END ? lo + SIZE : END;
            assert_true(pel_hazard_field_fits(field, lo, hi, &number) && number == i);
            assert_false(pel_hazard_field_fits(field, lo, hi - 1, &number) || pel_hazard_field_fits(field, lo + 1, hi, &number));
            assert_true(pel_hazard_field_has_room(field, 1));
            const pel_interval_value value = pel_hazard_field_cell(field, i)->value;
            assert_true(value.a == expected[i].a && value.b == expected[i].b);
        }
        /* memory in which something lies across cells gets no field */
        pel_hazard_field *other = pel_hazard_field_create(&states, END + 1, END + 101, 10);
        assert_true(other && pel_interval_map_set(map, END + 6, END + 16, living(&nodes[0]), NULL) == PEL_OK);
        assert_false(pel_hazard_field_fill(other, map));
        assert_false(pel_interval_map_is_empty(map));
        pel_hazard_field_destroy(other);
        pel_hazard_field_destroy(field);
        pel_interval_map_destroy(map);
    }
}

/* ---- tasks of several ranges ---- */

enum { TASKS = 300, SPACE = 240, PLACES = 24 };
static pel_hazard_node *task_nodes[TASKS];
static uint64_t task_generations[TASKS];
static bool task_over[TASKS], told[TASKS];

static bool tell(void *user, const pel_hazard *before) {
    (void)user;
    for (int i = 0; i < TASKS; i++) {
        if (!task_over[i] && task_nodes[i] == before->node && task_generations[i] == before->generation) {
            told[i] = true;
        }
    }
    return true;
}

typedef struct naive {
    int writer[SPACE];
    bool reads[SPACE][TASKS];
} naive;

static uint32_t random_spans(pel_hazard_span *spans, uint64_t base) {
    const uint32_t count = 1 + (uint32_t)(next_random() % PEL_HAZARD_SPANS);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t size = SPACE / PLACES, lo = next_random() % PLACES * size;
        if (next_random() % 40 == 0) { /* across */
            lo = next_random() % SPACE;
            size = 1 + next_random() % (SPACE - lo);
        }
        spans[i] = (pel_hazard_span){base + lo, base + lo + size, (pel_access_mode)(1 + next_random() % 3), base, base + SPACE};
    }
    return count;
}

/* The same as two steps would do. */
static void go_the_long_way(pel_hazards *hazards, const pel_hazard_span *spans, uint32_t count, pel_hazard_node *node) {
    pel_hazard_range ranges[PEL_HAZARD_SPANS];
    for (uint32_t i = 0; i < count; i++) {
        ranges[i] = (pel_hazard_range){.lo = spans[i].lo, .hi = spans[i].hi, .mode = spans[i].mode};
    }
    assert_int_equal(pel_hazards_look(hazards, ranges, count, node, tell, NULL), PEL_OK);
    assert_int_equal(pel_hazards_note(hazards, ranges, count, node), PEL_OK);
}

static void expect_and_apply(naive *n, const pel_hazard_span *spans, uint32_t count, uint64_t base, int self, bool *expected) {
    memset(expected, 0, TASKS * sizeof *expected);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count; i++) {
            const bool writes = (spans[i].mode & PEL_WRITE) != 0;
            for (uint64_t b = spans[i].lo - base; b < spans[i].hi - base; b++) {
                if (pass == 0) {
                    if (n->writer[b] >= 0) {
                        expected[n->writer[b]] = true;
                    }
                    for (int k = 0; k < self && writes; k++) {
                        expected[k] |= n->reads[b][k];
                    }
                } else if (writes) {
                    n->writer[b] = self;
                    memset(n->reads[b], 0, sizeof n->reads[b]);
                } else if (n->writer[b] != self) {
                    n->reads[b][self] = true;
                }
            }
        }
    }
}

static void test_tasks_of_several_ranges(void **state) {
    (void)state;
    static naive n;
    int short_ways = 0, all = 0;
    const uint64_t base = 1 << 20;
    for (uint64_t seed = 1; seed <= 100 / FEWER; seed++) {
        pel_hazards *hazards = pel_hazards_create(&states.allocator);
        assert_non_null(hazards);
        random_state = seed;
        memset(&n, 0, sizeof n);
        memset(n.writer, -1, sizeof n.writer);
        memset(task_over, 0, sizeof task_over);
        memset(task_nodes, 0, sizeof task_nodes);
        for (int i = 0; i < TASKS; i++) {
            pel_hazard_span spans[PEL_HAZARD_SPANS];
            bool expected[TASKS];
            const uint32_t count = random_spans(spans, base);
            task_nodes[i] = pel_hazards_take_node(hazards, NULL);
            assert_non_null(task_nodes[i]);
            task_generations[i] = atomic_load(&task_nodes[i]->generation);
            memset(told, 0, sizeof told);
            const bool entered = next_random() % 8 != 0 &&
                                 pel_hazards_enter(hazards, spans, count, task_nodes[i], tell, NULL) == PEL_OK;
            if (!entered) {
                go_the_long_way(hazards, spans, count, task_nodes[i]);
            }
            all++;
            short_ways += entered;
            expect_and_apply(&n, spans, count, base, i, expected);
            for (int k = 0; k < i; k++) {
                if (told[k] != (expected[k] && !task_over[k])) {
                    fail_msg("seed %llu: task %d after %d: told %d", (unsigned long long)seed, i, k, told[k]);
                }
            }
            for (int k = 0; k < 2; k++) {
                const int j = (int)(next_random() % (uint64_t)(i + 1));
                if (!task_over[j] && next_random() % 3 != 0) {
                    task_over[j] = true;
                    pel_hazards_give_node(hazards, task_nodes[j]);
                }
            }
        }
        pel_hazards_destroy(hazards);
    }
    printf("%d tasks, %d of them the short way\n", all, short_ways);
    assert_true(short_ways > all / 4);
}

/* More memories than there are fields for, and memory that is given back. */
static void test_many_fields(void **state) {
    (void)state;
    pel_hazards *hazards = pel_hazards_create(&states.allocator);
    assert_non_null(hazards);
    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t base = (1 + i % (3 * PEL_HAZARD_FIELDS)) << 20, lo = base + i / 192 % 8 * 64;
        const pel_hazard_span span = {lo, lo + 64, PEL_WRITE, base, base + 512};
        pel_hazard_node *node = pel_hazards_take_node(hazards, NULL);
        assert_true(node && pel_hazards_enter(hazards, &span, 1, node, tell, NULL) == PEL_OK);
        pel_hazards_give_node(hazards, node);
        if (i % 1000 == 999) {
            pel_hazards_forget(hazards, base, base + 512);
        }
    }
    pel_hazards_destroy(hazards);
}

static int set_up(void **state) {
    (void)state;
    states.allocator = pel_allocator_default;
    nodes_from = pel_hazards_create(&pel_allocator_default);
    return nodes_from ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    pel_hazard_states_destroy(&states);
    pel_hazards_destroy(nodes_from);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pattern_is_found_again),
        cmocka_unit_test(test_to_the_map_and_back),
        cmocka_unit_test(test_tasks_of_several_ranges),
        cmocka_unit_test(test_many_fields),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
