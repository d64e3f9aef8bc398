/* SPDX-License-Identifier: BSD-3-Clause */
/* Hazards against a naive model: for every byte, the last writer and the readers since. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "queue/hazard.h"
#include "support/random.h"
#include "support/slow.h"

#define FEWER (PEL_TEST_SLOW ? 10 : 1)

enum { BASE = 1000, BYTES = 260, PITCH = 16, COMMANDS = 400, ROUNDS = 60 / FEWER };

typedef struct model {
    int writer[BYTES];             /* index of a command, -1 none */
    bool reads[BYTES][COMMANDS];   /* since the last writer */
} model;

static uint64_t random_state;
static uint64_t next_random(void) { return test_random(&random_state); }

static struct pel_runtime runtime;
static pel_event *events[COMMANDS];
static pel_hazard_node *nodes[COMMANDS]; /* reused by later commands once given back */
static uint64_t generations[COMMANDS];
static pel_hazard_range ranges[COMMANDS];
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

static void end(pel_hazards *hazards, int i, pel_status status) {
    if (status != PEL_OK) {
        pel_hazards_fail(hazards, &ranges[i], 1, nodes[i], events[i]);
    }
    pel_event_finish(events[i], status, NULL, NULL, 0);
    pel_hazards_give_node(hazards, nodes[i]);
}

static bool covers(const pel_hazard_range *range, uint64_t byte) {
    uint64_t at = BASE + byte;
    return at >= range->lo && at < range->hi && (range->pitch == 0 || (at - range->lo) % range->pitch < range->row_bytes);
}

/* What command i means for an access: an order, and whether its result is read. */
static void expect(const model *m, int i, const pel_hazard_range *range, bool *order, bool *data) {
    const bool lives = !done(i), writes = (range->mode & PEL_WRITE) != 0, reads = (range->mode & PEL_READ) != 0;
    const bool matters = lives || (failed(i) && reads); /* as a writer */
    *order = *data = false;
    for (uint64_t b = range->lo - BASE; b < range->hi - BASE && matters; b++) {
        if (covers(range, b)) {
            *order |= m->writer[b] == i || (writes && lives && m->reads[b][i]);
            *data |= m->writer[b] == i && reads;
        }
    }
}

static void apply(model *m, int self) {
    for (uint64_t b = 0; b < BYTES; b++) {
        if (!covers(&ranges[self], b)) {
            continue;
        }
        if (ranges[self].mode & PEL_WRITE) {
            m->writer[b] = self;
            memset(m->reads[b], 0, sizeof m->reads[b]);
        } else {
            m->reads[b][self] = true;
        }
    }
}

static void start_model(model *m) {
    memset(m->reads, 0, sizeof m->reads);
    memset(nodes, 0, sizeof nodes);
    for (int b = 0; b < BYTES; b++) {
        m->writer[b] = -1;
    }
}

static pel_hazard_range random_bytes(void) {
    uint64_t lo = next_random() % BYTES, most = next_random() % 4 == 0 ? BYTES : 40, hi = lo + 1 + next_random() % most;
    return (pel_hazard_range){
        .lo = BASE + lo, .hi = BASE + (hi < BYTES ? hi : BYTES), .mode = (pel_access_mode)(1 + next_random() % 3)};
}

static pel_hazard_range random_rectangle(uint64_t pitch) {
    for (;;) {
        uint64_t row_bytes = 1 + next_random() % (pitch - 1), rows = 2 + next_random() % 6, lo = next_random() % BYTES;
        uint64_t hi = lo + (rows - 1) * pitch + row_bytes;
        if (hi <= BYTES) {
            return (pel_hazard_range){BASE + lo, BASE + hi,   (pel_access_mode)(1 + next_random() % 3), pitch, row_bytes,
                                      BASE,      BASE + BYTES};
        }
    }
}

/* The command that was begun last has gone the short way, which looks and notes at once. */
static bool entered;
static int short_ways;

static void begin_command(pel_hazards *hazards, int i, pel_hazard_range range) {
    events[i] = pel_event_new(&runtime);
    nodes[i] = pel_hazards_take_node(hazards, NULL);
    assert_true(events[i] && nodes[i]);
    events[i]->queue = 1 + next_random() % 2;
    generations[i] = atomic_load(&nodes[i]->generation);
    ranges[i] = range;
    memset(found_order, 0, sizeof found_order);
    memset(found_data, 0, sizeof found_data);
    const pel_hazard_span span = {range.lo, range.hi, range.mode, BASE, BASE + BYTES};
    entered = range.pitch == 0 && next_random() % 2 == 0 &&
              pel_hazards_enter(hazards, &span, 1, nodes[i], remember, NULL) == PEL_OK;
    short_ways += entered;
    if (!entered) {
        assert_int_equal(pel_hazards_look(hazards, &range, 1, nodes[i], remember, NULL), PEL_OK);
    }
}

static void note(pel_hazards *hazards, int i) {
    if (!entered) {
        assert_int_equal(pel_hazards_note(hazards, &ranges[i], 1, nodes[i]), PEL_OK);
    }
}

/* The same bytes again and again, as programs do: what the short way is for. */
static pel_hazard_range random_or_known_bytes(int i) {
    pel_hazard_range range = random_bytes();
    if (i > 0 && next_random() % 2 == 0) {
        const pel_hazard_range *known = &ranges[next_random() % (uint64_t)i];
        range.lo = known->pitch == 0 ? known->lo : range.lo;
        range.hi = known->pitch == 0 ? known->hi : range.hi;
    }
    return range.lo < range.hi ? range : random_bytes();
}

/* Cells of one size, another size now and then, and what lies across them once in a while. */
static pel_hazard_range random_cell(int i) {
    const uint64_t size = i / 100 % 2 == 0 ? 20 : 7, lo = next_random() % (BYTES / size + 1) * size;
    if (next_random() % 32 == 0 || lo >= BYTES) {
        return next_random() % 8 == 0 ? random_rectangle(PITCH) : random_bytes();
    }
    return (pel_hazard_range){.lo = BASE + lo,
                              .hi = BASE + (lo + size < BYTES ? lo + size : BYTES),
                              .mode = (pel_access_mode)(1 + next_random() % 3)};
}

typedef enum what { ANY_BYTES, RECTANGLES, CELLS } what;

static pel_hazard_range random_range(what kind, int i) {
    return kind == CELLS                                  ? random_cell(i)
           : kind == RECTANGLES && next_random() % 3 != 0 ? random_rectangle(PITCH)
                                                          : random_or_known_bytes(i);
}

static void end_all(pel_hazards *hazards) {
    pel_hazards_forget(hazards, BASE, BASE + BYTES);
    memset(found_order, 0, sizeof found_order);
    const pel_hazard_range all = {.hi = UINT64_MAX, .mode = PEL_READ_WRITE};
    assert_int_equal(pel_hazards_look(hazards, &all, 1, NULL, remember, NULL), PEL_OK);
    for (int i = 0; i < COMMANDS; i++) {
        assert_false(found_order[i]);
        pel_event_release(events[i]);
    }
    pel_hazards_destroy(hazards);
}

/* Bytes alone, or bytes and rectangles of one pitch: exactly what the model says. */
static void one_round(uint64_t seed, what kind) {
    static model m;
    random_state = seed;
    start_model(&m);
    pel_hazards *hazards = pel_hazards_create(&runtime.allocator);
    assert_non_null(hazards);
    for (int i = 0; i < COMMANDS; i++) {
        begin_command(hazards, i, random_range(kind, i));
        for (int k = 0; k < i; k++) {
            bool order, data;
            expect(&m, k, &ranges[i], &order, &data);
            if (found_order[k] != order || found_data[k] != data) {
                fail_msg("seed %llu: command %d after %d", (unsigned long long)seed, i, k);
            }
        }
        note(hazards, i);
        apply(&m, i);
        for (int k = 0; k < 2; k++) { /* some complete, a few of them badly */
            int j = (int)(next_random() % (uint64_t)(i + 1));
            if (!done(j)) {
                end(hazards, j, next_random() % 8 == 0 ? PEL_TASK_FAILED : PEL_OK);
            }
        }
        if (next_random() % 64 == 0) {
            uint64_t queue = 1 + next_random() % 2;
            pel_hazards_forgive(hazards, queue);
            for (int b = 0; b < BYTES; b++) {
                assert_false(m.writer[b] >= 0 && failed(m.writer[b]) && events[m.writer[b]]->queue == queue);
            }
        }
    }
    end_all(hazards);
}

static void test_bytes(void **state) {
    (void)state;
    printf("hazards: seeds 1 to %d, %d commands each\n", ROUNDS, COMMANDS);
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        one_round(seed, ANY_BYTES);
    }
    assert_true(short_ways > ROUNDS);
}

static void test_rectangles_of_one_pitch(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        one_round(seed, RECTANGLES);
    }
}

static void test_cells(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        one_round(seed, CELLS);
    }
}

/*
 * Several pitches in one memory: never an order too few. Commands run in the order that was found and inherit failures; then what
 * the model asks for must follow from what was found, directly or through others.
 */
static bool after[COMMANDS][COMMANDS], reads_from[COMMANDS][COMMANDS]; /* [later][earlier] */
static bool doomed[COMMANDS]; /* it has failed, or is going to: what it reads has */

static void spread(int failed_one, int last) {
    doomed[failed_one] = true;
    for (int i = failed_one + 1; i <= last; i++) {
        for (int k = failed_one; k < i && !doomed[i] && !done(i); k++) {
            doomed[i] = reads_from[i][k] && doomed[k];
        }
    }
}

static void mixed_round(uint64_t seed) {
    static model m;
    random_state = seed;
    start_model(&m);
    memset(after, 0, sizeof after);
    memset(reads_from, 0, sizeof reads_from);
    pel_hazards *hazards = pel_hazards_create(&runtime.allocator);
    assert_non_null(hazards);
    for (int i = 0; i < COMMANDS; i++) {
        static const uint64_t pitches[] = {16, 24, 7};
        begin_command(hazards, i,
                      next_random() % 4 != 0 ? random_rectangle(pitches[next_random() % 3]) : random_or_known_bytes(i));
        bool reads_failure = false, should = false;
        for (int k = 0; k < i; k++) {
            reads_failure |= found_data[k] && doomed[k];
            after[i][k] |= found_order[k] && !done(k);
            reads_from[i][k] |= found_data[k] && !done(k);
            for (int j = 0; after[i][k] && j < k; j++) {
                after[i][j] |= after[k][j];
            }
        }
        for (int k = 0; k < i; k++) {
            bool order, data;
            expect(&m, k, &ranges[i], &order, &data);
            if (order && !done(k) && !after[i][k]) {
                fail_msg("seed %llu: command %d does not wait for %d", (unsigned long long)seed, i, k);
            }
            should |= failed(k) && data;
        }
        assert_true(reads_failure || !should);
        note(hazards, i);
        apply(&m, i);
        doomed[i] = reads_failure;
        for (int k = 0; k < 3; k++) {
            int j = (int)(next_random() % (uint64_t)(i + 1));
            bool ready = !done(j);
            for (int e = 0; e < j && ready; e++) {
                ready = !after[j][e] || done(e);
            }
            if (ready) {
                bool fails = doomed[j] || next_random() % 16 == 0;
                end(hazards, j, fails ? PEL_TASK_FAILED : PEL_OK);
                if (fails) {
                    spread(j, i);
                }
            }
        }
    }
    end_all(hazards);
}

static void test_several_pitches(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        mixed_round(seed);
    }
}

static int64_t live_bytes, most_bytes, refuse_at;
static void *counted_reallocate(void *user, void *pointer, size_t bytes) {
    (void)user;
    int64_t *old = pointer ? (int64_t *)pointer - 2 : NULL;
    if (bytes > 0 && refuse_at >= 0 && refuse_at-- == 0) {
        refuse_at = -1;
        return NULL;
    }
    live_bytes -= old ? *old : 0;
    if (bytes == 0) {
        free(old);
        return NULL;
    }
    int64_t *made = realloc(old, bytes + 16);
    assert_non_null(made);
    *made = (int64_t)bytes;
    live_bytes += *made;
    most_bytes = live_bytes > most_bytes ? live_bytes : most_bytes;
    return made + 2;
}

static uint64_t told;
static bool count_only(void *user, const pel_hazard *before) {
    (void)user;
    told += before->node != NULL;
    return true;
}

enum { WINDOW = 64 };

/* So many commands under way at a time; `make` says what each touches. Returns the most memory that was held. */
static int64_t long_run(uint64_t commands, pel_hazard_range (*make)(uint64_t i)) {
    const pel_allocator allocator = {counted_reallocate, NULL};
    pel_hazard_node *under_way[WINDOW] = {NULL};
    live_bytes = most_bytes = 0;
    refuse_at = -1;
    told = 0;
    random_state = 5;
    pel_hazards *hazards = pel_hazards_create(&allocator);
    assert_non_null(hazards);
    for (uint64_t i = 0; i < commands; i++) {
        const pel_hazard_range range = make(i);
        pel_hazards_give_node(hazards, under_way[i % WINDOW]);
        pel_hazard_node *node = under_way[i % WINDOW] = pel_hazards_take_node(hazards, NULL);
        assert_non_null(node);
        const pel_hazard_span span = {range.lo, range.hi, range.mode, range.domain_lo, range.domain_hi};
        if (range.pitch > 0 || range.domain_hi == 0 || pel_hazards_enter(hazards, &span, 1, node, count_only, NULL) != PEL_OK) {
            assert_int_equal(pel_hazards_look(hazards, &range, 1, node, count_only, NULL), PEL_OK);
            assert_int_equal(pel_hazards_note(hazards, &range, 1, node), PEL_OK);
        }
    }
    pel_hazards_destroy(hazards);
    assert_int_equal(live_bytes, 0);
    return most_bytes;
}

static pel_hazard_range scattered(uint64_t i) {
    uint64_t lo = next_random() % (1u << 30);
    return (pel_hazard_range){.lo = lo, .hi = lo + 1 + next_random() % 4096, .mode = (pel_access_mode)(1 + i % 3)};
}

static pel_hazard_range scattered_cells(uint64_t i) {
    const uint64_t lo = next_random() % (1u << 20) * 24;
    return (pel_hazard_range){
        .lo = lo, .hi = lo + 24, .mode = (pel_access_mode)(1 + i % 3), .domain_lo = 0, .domain_hi = 24u << 20};
}

/* Now and then somebody takes all of it, and everything moves. */
static pel_hazard_range cells_and_all(uint64_t i) {
    pel_hazard_range range = scattered_cells(i);
    if (i % 16 == 0) {
        range.lo = range.domain_lo;
        range.hi = range.domain_hi;
    }
    return range;
}

static pel_hazard_range always_read(uint64_t i) {
    (void)i;
    return (pel_hazard_range){.lo = 64, .hi = 1 << 20, .mode = PEL_READ};
}

static pel_hazard_range scattered_tiles(uint64_t i) {
    uint64_t pitch = 65536, lo = next_random() % 1000 * pitch + next_random() % 16000 * 4;
    return (pel_hazard_range){lo, lo + 15 * pitch + 1024, (pel_access_mode)(1 + i % 3), pitch, 1024, 0, 1024 * pitch};
}

/* A million commands in one buffer: time and memory follow what is under way. Quadratic cost would take hours. */
static void test_history_costs_nothing(void **state) {
    (void)state;
    const uint64_t many = 1000000 / FEWER;
    assert_true(long_run(many, scattered) < 2 << 20);
    assert_true(long_run(many, scattered_cells) < 1 << 18);
    assert_true(long_run(many, cells_and_all) < 2 << 20);
    assert_true(long_run(many, always_read) < 1 << 20);
    assert_int_equal(told, 0);
    assert_true(long_run(100000 / FEWER, scattered_tiles) < 64 << 20);
}

/* Readers that all wait behind one writer, and then somebody who writes: one report for each. */
static void test_many_readers_at_once(void **state) {
    (void)state;
    enum { READERS = 200000 / FEWER };
    static pel_hazard_node *readers[READERS];
    pel_hazards *hazards = pel_hazards_create(&pel_allocator_default);
    assert_non_null(hazards);
    pel_hazard_node *writer = pel_hazards_take_node(hazards, NULL);
    const pel_hazard_range write = {.lo = 0, .hi = 4096, .mode = PEL_WRITE}, read = {.lo = 0, .hi = 4096, .mode = PEL_READ};
    assert_int_equal(pel_hazards_note(hazards, &write, 1, writer), PEL_OK);
    told = 0;
    for (int i = 0; i < READERS; i++) {
        readers[i] = pel_hazards_take_node(hazards, NULL);
        assert_non_null(readers[i]);
        assert_int_equal(pel_hazards_look(hazards, &read, 1, readers[i], count_only, NULL), PEL_OK);
        assert_int_equal(pel_hazards_note(hazards, &read, 1, readers[i]), PEL_OK);
    }
    assert_int_equal(told, READERS);
    told = 0;
    const pel_hazard_range part = {.lo = 100, .hi = 200, .mode = PEL_WRITE};
    assert_int_equal(pel_hazards_look(hazards, &part, 1, NULL, count_only, NULL), PEL_OK);
    assert_int_equal(told, READERS + 1);
    for (int i = 0; i < READERS; i += 2) {
        pel_hazards_give_node(hazards, readers[i]);
    }
    told = 0;
    assert_int_equal(pel_hazards_look(hazards, &write, 1, NULL, count_only, NULL), PEL_OK);
    assert_int_equal(told, READERS / 2 + 1);
    pel_hazards_destroy(hazards);
}

/* A million commands on one memory, none of them over: each is told of the last writer, or of the readers since, never of all. */
static void test_reports_grow_with_commands(void **state) {
    (void)state;
    enum { GROUP = 8, GROUPS = 1000000 / GROUP / FEWER };
    for (int short_way = 0; short_way < 2; short_way++) {
        pel_hazards *hazards = pel_hazards_create(&pel_allocator_default);
        assert_non_null(hazards);
        told = 0;
        for (int i = 0; i < GROUP * GROUPS; i++) {
            const pel_access_mode mode = i % GROUP == GROUP - 1 ? PEL_READ_WRITE : PEL_READ;
            const pel_hazard_range range = {.lo = 0, .hi = 4096, .mode = mode};
            const pel_hazard_span span = {.lo = 0, .hi = 4096, .mode = mode};
            pel_hazard_node *node = pel_hazards_take_node(hazards, NULL);
            assert_non_null(node);
            if (short_way) {
                assert_int_equal(pel_hazards_enter(hazards, &span, 1, node, count_only, NULL), PEL_OK);
            } else {
                assert_int_equal(pel_hazards_look(hazards, &range, 1, node, count_only, NULL), PEL_OK);
                assert_int_equal(pel_hazards_note(hazards, &range, 1, node), PEL_OK);
            }
        }
        assert_int_equal(told, GROUPS * (2 * GROUP - 1) - GROUP); /* each reader of one writer, each writer of all before it */
        pel_hazards_destroy(hazards);
    }
}

enum { COLUMNS = 1500 };
static bool ordered[COLUMNS + 1][COLUMNS + 1]; /* [later][earlier], also through others */
static int asking;

static bool note_order(void *user, const pel_hazard *before) {
    int earlier = (int)(intptr_t)before->node->user - 1;
    (void)user;
    ordered[asking][earlier] = true;
    for (int i = 0; i < earlier; i++) {
        ordered[asking][i] |= ordered[earlier][i];
    }
    return true;
}

/* More columns than a grid has strips, all under way: exact as long as there are strips, and never an order too few. */
static void test_too_many_columns(void **state) {
    (void)state;
    enum { WIDTH = 8192 };
    uint64_t rounded = 0;
    memset(ordered, 0, sizeof ordered);
    pel_hazards *hazards = pel_hazards_create(&pel_allocator_default);
    assert_non_null(hazards);
    for (asking = 0; asking < COLUMNS; asking++) {
        uint64_t lo = 5 * (uint64_t)asking;
        const pel_hazard_range range = {lo, lo + 2 * WIDTH + 2, PEL_WRITE, WIDTH, 2, 0, 4 * WIDTH};
        pel_hazard_node *node = pel_hazards_take_node(hazards, (struct pel_command *)(intptr_t)(asking + 1));
        assert_non_null(node);
        assert_int_equal(pel_hazards_look(hazards, &range, 1, node, note_order, NULL), PEL_OK);
        assert_int_equal(pel_hazards_note(hazards, &range, 1, node), PEL_OK);
        for (int i = 0; i < asking; i++) {
            rounded += ordered[asking][i];
            assert_true(asking >= 1000 || !ordered[asking][i]);
        }
    }
    assert_true(rounded > 0);
    for (int column = 0; column < COLUMNS; column++) {
        uint64_t lo = 5 * (uint64_t)column + 1;
        const pel_hazard_range range = {lo, lo + 2 * WIDTH + 1, PEL_READ, WIDTH, 1, 0, 4 * WIDTH};
        asking = COLUMNS;
        memset(ordered[COLUMNS], 0, sizeof ordered[COLUMNS]);
        assert_int_equal(pel_hazards_look(hazards, &range, 1, NULL, note_order, NULL), PEL_OK);
        assert_true(ordered[COLUMNS][column]);
    }
    pel_hazards_destroy(hazards);
}

/* Each allocation of a short life fails in turn. A refused look leaves nothing behind; after a refused note nothing that it
 * replaced is lost too early. */
static void test_failing_allocations(void **state) {
    (void)state;
    const pel_allocator allocator = {counted_reallocate, NULL};
    int64_t fail = 0;
    bool refused;
    live_bytes = 0;
    do {
        refuse_at = fail++;
        random_state = 77;
        pel_hazards *hazards = pel_hazards_create(&allocator);
        refused = !hazards;
        for (int i = 0; hazards && i < 150; i++) {
            const pel_hazard_range range = i % 3 ? random_rectangle(i % 2 ? 16 : 24) : random_bytes();
            pel_hazard_node *node = pel_hazards_take_node(hazards, NULL);
            refused |= !node;
            if (!node) {
                continue;
            }
            const uint64_t lo = BASE + (uint64_t)i % 64 * 4;
            const pel_hazard_span cell = {lo, lo + 4, PEL_WRITE, BASE, BASE + BYTES};
            if (i < 120 && i % 40 != 39 && pel_hazards_enter(hazards, &cell, 1, node, count_only, NULL) == PEL_OK) {
                continue; /* cells, until something else comes */
            }
            if (pel_hazards_look(hazards, &range, 1, node, count_only, NULL) != PEL_OK) {
                refused = true;
                assert_int_equal(pel_hazards_look(hazards, &range, 1, node, count_only, NULL), PEL_OK);
            }
            if (pel_hazards_note(hazards, &range, 1, node) != PEL_OK) {
                refused = true;
            }
        }
        pel_hazards_destroy(hazards);
        assert_int_equal(live_bytes, 0);
        refused |= refuse_at < 0; /* met, and made good in silence: a grid that could not be had */
    } while (refused);
    printf("%lld allocations failed in turn\n", (long long)fail - 1);
    assert_true(fail > 5);
}

/* Being told of another thread's command may give the one that looks a later place in the order: it must be noted under that. */
static pel_hazard_node *looker;

static bool come_later(void *user, const pel_hazard *before) {
    (void)user;
    atomic_store(&looker->generation, before->generation + 1);
    return true;
}

static void test_place_changes_while_looking(void **state) {
    (void)state;
    const pel_hazard_span span = {BASE, BASE + 8, PEL_READ_WRITE, 0, 0};
    pel_hazards *hazards = pel_hazards_create(&runtime.allocator);
    pel_hazard_node *first = pel_hazards_take_node(hazards, NULL);
    looker = pel_hazards_take_node(hazards, NULL);
    atomic_store(&first->generation, 100);
    assert_int_equal(pel_hazards_enter(hazards, &span, 1, first, come_later, NULL), PEL_OK);
    assert_int_equal(pel_hazards_enter(hazards, &span, 1, looker, come_later, NULL), PEL_OK);
    assert_int_equal(atomic_load(&looker->generation), 101);
    const pel_hazard_range all = {.lo = BASE, .hi = BASE + 8, .mode = PEL_READ_WRITE};
    told = 0;
    assert_int_equal(pel_hazards_look(hazards, &all, 1, NULL, count_only, NULL), PEL_OK);
    assert_int_equal(told, 1);
    pel_hazards_destroy(hazards);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_rectangles_of_one_pitch),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_several_pitches),
        cmocka_unit_test(test_place_changes_while_looking),
        cmocka_unit_test(test_history_costs_nothing),
        cmocka_unit_test(test_many_readers_at_once),
        cmocka_unit_test(test_reports_grow_with_commands),
        cmocka_unit_test(test_too_many_columns),
        cmocka_unit_test(test_failing_allocations),
    };
    runtime.allocator = pel_allocator_default;
    runtime.clock = &pel_clock_monotonic;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
