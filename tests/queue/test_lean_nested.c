/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random trees of tasks without events while requests for memory are refused: each task may submit others, and none of them has
 * any other way to tell how it ended than what it did to its cell. What was refused never ran, what ran did so once and in the
 * order of the program, and where nothing failed everything that was accepted has run. PEL_TEST_TREES: how many.
 */
#include "support/counted.h"
#include "support/random.h"
#include "support/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pel/pel.h>

enum { CELLS = 8, ROOTS = 4, MOST_CHILDREN = 6, MOST = ROOTS * (1 + MOST_CHILDREN * (1 + MOST_CHILDREN)), TREES = 200 };
enum { ROOT, CHILD, GRANDCHILD };

typedef struct tree tree;
typedef struct place {
    tree *of;
    uint64_t random;
    uint32_t number, cell, level;
    uint32_t first, count; /* its children */
    bool accepted;
    atomic_uint ran;
} place;

struct tree {
    counted memory;
    pel_runtime *runtime;
    pel_queue *queue;
    pel_buffer *buffer;
    place places[MOST];
    uint32_t used;
    bool lean;
    atomic_uint refused, skipped;
};

/* Of two of these the order can be told. */
static uint64_t step(uint64_t value, uint32_t number) { return value * 6364136223846793005u + number + 1; }

/* From here on there is memory, or none, for all. */
static void starve(tree *t, uint64_t *random) {
    if (t->lean && test_random(random) % 4 == 0) {
        atomic_store(&t->memory.fail_at, (long)(test_random(random) % 2));
    }
}

static pel_status run(void *context);

static void submit(place *p) {
    tree *t = p->of;
    const pel_access all = PEL_ACCESS(t->buffer, 0, CELLS * sizeof(uint64_t), PEL_READ_WRITE);
    const pel_access one = PEL_ACCESS(t->buffer, p->cell * sizeof(uint64_t), sizeof(uint64_t), PEL_READ_WRITE);
    const pel_status status = pel_task(t->queue, run, p, p->level == ROOT ? &all : &one, 1, NULL, NULL);
    p->accepted = status == PEL_OK;
    if (!p->accepted) {
        atomic_fetch_add(&t->refused, 1);
        if (status != PEL_OUT_OF_MEMORY) {
            abort();
        }
    }
}

static pel_status run(void *context) {
    place *p = context;
    uint64_t *cells = pel_buffer_data(p->of->buffer);
    cells[p->cell] = step(cells[p->cell], p->number);
    atomic_fetch_add(&p->ran, 1);
    for (uint32_t i = 0; i < p->count; i++) {
        starve(p->of, &p->random);
        submit(&p->of->places[p->first + i]);
    }
    return PEL_OK;
}

/* Places of a level lie side by side: a place's children first, then theirs. */
static void make(tree *t, place *p, uint32_t level, uint32_t cell, uint64_t *random) {
    *p = (place){.of = t, .random = test_random(random), .number = (uint32_t)(p - t->places), .cell = cell, .level = level};
    p->count = level == GRANDCHILD ? 0 : (uint32_t)(test_random(random) % (MOST_CHILDREN + 1));
    p->first = t->used;
    t->used += p->count;
    for (uint32_t i = 0; i < p->count; i++) {
        make(t, &t->places[p->first + i], level + 1, level == ROOT ? (uint32_t)(test_random(random) % CELLS) : cell, random);
    }
}

/* As one thread does it that runs each task where it is submitted. */
static void follow(tree *t, const place *p, uint64_t *cells) {
    const uint32_t ran = atomic_load(&p->ran);
    assert_true(ran <= (p->accepted ? 1u : 0u));
    t->skipped += p->accepted && !ran;
    if (ran) {
        cells[p->cell] = step(cells[p->cell], p->number);
    }
    for (uint32_t i = 0; ran && i < p->count; i++) {
        follow(t, &t->places[p->first + i], cells);
    }
}

static void one_tree(tree *t, uint64_t seed) {
    uint64_t random = seed, expected[CELLS];
    uint64_t *cells = pel_buffer_data(t->buffer);
    t->used = ROOTS;
    t->skipped = 0;
    for (uint32_t i = 0; i < ROOTS; i++) {
        make(t, &t->places[i], ROOT, (uint32_t)(test_random(&random) % CELLS), &random);
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        cells[i] = expected[i] = i;
    }
    for (uint32_t i = 0; i < ROOTS; i++) {
        starve(t, &random);
        submit(&t->places[i]);
    }
    const pel_status status = pel_queue_finish(t->queue);
    atomic_store(&t->memory.fail_at, 0);
    for (uint32_t i = 0; i < ROOTS; i++) {
        follow(t, &t->places[i], expected);
    }
    if ((status == PEL_OK && t->skipped > 0) || memcmp(cells, expected, sizeof expected) != 0) {
        fail_msg("seed %llu: finish says %s, %u did not run", (unsigned long long)seed, pel_status_name(status), t->skipped);
    }
    assert_int_equal(pel_queue_reset(t->queue), PEL_OK);
}

/* Each with a runtime of its own: one that has seen others has all it needs. */
static void trees(uint32_t workers, bool lean, uint64_t first) {
    static tree t;
    static pel_allocator allocator;
    const char *told = getenv("PEL_TEST_TREES");
    const uint64_t count = told ? strtoull(told, NULL, 10) : (PEL_TEST_SLOW ? TREES / 8 : TREES);
    uint32_t refused = 0, skipped = 0;
    for (uint64_t i = 0; i < count; i++) {
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        t = (tree){.lean = lean, .memory = {.for_ever = true}};
        allocator = (pel_allocator){counted_reallocate, &t.memory};
        desc.devices = "host";
        desc.history = "off";
        desc.host_workers = workers;
        desc.allocator = &allocator;
        assert_int_equal(pel_runtime_create(&desc, &t.runtime, NULL), PEL_OK);
        assert_int_equal(pel_queue_create(t.runtime, NULL, &t.queue, NULL), PEL_OK);
        assert_int_equal(pel_buffer_create(t.runtime, CELLS * sizeof(uint64_t), &t.buffer, NULL), PEL_OK);
        one_tree(&t, first + i);
        refused += atomic_load(&t.refused);
        skipped += atomic_load(&t.skipped);
        assert_int_equal(pel_buffer_destroy(t.buffer), PEL_OK);
        (void)pel_queue_destroy(t.queue);
        assert_int_equal(pel_runtime_destroy(t.runtime), PEL_OK);
        assert_int_equal(atomic_load(&t.memory.live), 0);
    }
    print_message("%u workers: %llu trees, %u tasks refused, %u accepted and not run\n", workers, (unsigned long long)count,
                  refused, skipped);
    assert_true(lean || refused + skipped == 0);
}

static void test_with_memory(void **state) {
    (void)state;
    trees(2, false, 1);
}

static void test_one_worker(void **state) {
    (void)state;
    trees(1, true, 100000);
}

static void test_three_workers(void **state) {
    (void)state;
    trees(3, true, 200000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_memory),
        cmocka_unit_test(test_one_worker),
        cmocka_unit_test(test_three_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
