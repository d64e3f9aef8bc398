/* SPDX-License-Identifier: BSD-3-Clause */
/* Hazards against a naive model: for every byte, the last writer and the readers since. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/hazard.h"

enum { BYTES = 96, COMMANDS = 400, ROUNDS = 60 };

typedef struct model {
    int writer[BYTES];                 /* index of a command, -1 none */
    bool reads[BYTES][COMMANDS];       /* since the last writer */
} model;

static uint64_t random_state;
static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static pel_event *events[COMMANDS];
static pel_hazard_node *nodes[COMMANDS];       /* reused by later commands once given back */
static uint64_t generations[COMMANDS];
static bool found_order[COMMANDS], found_data[COMMANDS];

static bool done(int i) { return pel_event_is_complete(events[i]); }
static bool failed(int i) { return done(i) && events[i]->status != PEL_OK && !events[i]->forgiven; }

static bool remember(void *user, const pel_hazard *before) {
    (void)user;
    for (int i = 0; i < COMMANDS; i++) {
        if (before->failed ? events[i] == before->failed : nodes[i] == before->node && generations[i] == before->generation) {
            assert_int_equal(done(i), before->failed != NULL);
            found_order[i] = true;
            found_data[i] |= before->data;
            return true;
        }
    }
    fail_msg("an unknown command was reported");
    return false;
}

static void end(pel_hazards *hazards, int i, const pel_hazard_range *range, pel_status status) {
    if (status != PEL_OK) {
        pel_hazards_fail(hazards, range, 1, nodes[i], events[i]);
    }
    pel_event_finish(events[i], status, NULL, NULL, 0);
    pel_hazards_give_node(hazards, nodes[i]);
}

static void check_against(const model *m, int self, uint64_t lo, uint64_t hi, pel_access_mode mode) {
    for (int i = 0; i < self; i++) {
        bool order = false, data = false;
        for (uint64_t b = lo; b < hi; b++) {
            bool wrote = m->writer[b] == i && (!done(i) || (failed(i) && (mode & PEL_READ) != 0));
            order |= wrote || ((mode & PEL_WRITE) && m->reads[b][i] && !done(i));
            data |= wrote && (mode & PEL_READ);
        }
        assert_int_equal(found_order[i], order);
        assert_int_equal(found_data[i], data);
    }
}

static void apply(model *m, int self, uint64_t lo, uint64_t hi, pel_access_mode mode) {
    for (uint64_t b = lo; b < hi; b++) {
        if (mode & PEL_WRITE) {
            m->writer[b] = self;
            memset(m->reads[b], 0, sizeof m->reads[b]);
        } else {
            m->reads[b][self] = true;
        }
    }
}

static void one_round(pel_runtime *runtime, uint64_t seed) {
    static model m;
    random_state = seed;
    memset(m.reads, 0, sizeof m.reads);
    for (int b = 0; b < BYTES; b++) {
        m.writer[b] = -1;
    }
    static pel_hazard_range ranges[COMMANDS];
    pel_hazards *hazards = pel_hazards_create(&runtime->allocator);
    assert_non_null(hazards);
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < COMMANDS; i++) {
        events[i] = pel_event_new(runtime);
        assert_non_null(events[i]);
        events[i]->queue = 1 + next_random() % 2;
        uint64_t lo = next_random() % BYTES, hi = lo + 1 + next_random() % (BYTES - lo);
        pel_access_mode mode = (pel_access_mode)(1 + next_random() % 3);
        memset(found_order, 0, sizeof found_order);
        memset(found_data, 0, sizeof found_data);
        nodes[i] = pel_hazards_take_node(hazards, NULL);
        assert_non_null(nodes[i]);
        generations[i] = atomic_load(&nodes[i]->generation);
        ranges[i] = (pel_hazard_range){.lo = 1000 + lo, .hi = 1000 + hi, .mode = mode};
        assert_int_equal(pel_hazards_look(hazards, &ranges[i], 1, nodes[i], remember, NULL), PEL_OK);
        check_against(&m, i, lo, hi, mode);
        assert_int_equal(pel_hazards_note(hazards, &ranges[i], 1, nodes[i]), PEL_OK);
        apply(&m, i, lo, hi, mode);
        for (int k = 0; k < 2; k++) { /* some complete, a few of them badly */
            int j = (int)(next_random() % (uint64_t)(i + 1));
            if (!done(j)) {
                end(hazards, j, &ranges[j], next_random() % 8 == 0 ? PEL_TASK_FAILED : PEL_OK);
            }
        }
        if (next_random() % 64 == 0) {
            uint64_t queue = 1 + next_random() % 2;
            pel_hazards_forgive(hazards, queue);
            for (int j = 0; j <= i; j++) { /* the model forgives those that still count as writers; others do not matter */
                assert_false(failed(j) && events[j]->queue == queue && m.writer[0] == j);
            }
        }
    }
    pel_hazards_forget(hazards, 1000, 1000 + BYTES);
    memset(found_order, 0, sizeof found_order);
    const pel_hazard_range all = {.hi = UINT64_MAX, .mode = PEL_READ_WRITE};
    assert_int_equal(pel_hazards_look(hazards, &all, 1, NULL, remember, NULL), PEL_OK);
    for (int i = 0; i < COMMANDS; i++) {
        assert_false(found_order[i]);
        pel_event_release(events[i]);
    }
    pel_hazards_destroy(hazards);
}

static void test_against_model(void **state) {
    (void)state;
    static struct pel_runtime runtime;
    runtime.allocator = pel_allocator_default;
    runtime.clock = &pel_clock_monotonic;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        one_round(&runtime, seed);
    }
    printf("hazards: seeds 1 to %d, %d commands each\n", ROUNDS, COMMANDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
