/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that submit and wait: child scopes, what is refused, what would never end; random trees of tasks against sequential
 * execution.
 */
#include "machines.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pel/pel.h>

static pel_runtime *runtime;
static pel_queue *queue, *second;
static pel_buffer *buffer;
enum { BYTES = 256 };
static unsigned char bytes[BYTES];

static void open_runtime(uint32_t workers) {
    memset(bytes, 0, sizeof bytes);
    runtime = machine_host(workers);
    queue = machine_queue(runtime);
    second = machine_queue(runtime);
    assert_int_equal(pel_buffer_wrap(runtime, bytes, BYTES, &buffer), PEL_OK);
}

static void close_runtime(void) {
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    (void)pel_queue_destroy(queue);
    (void)pel_queue_destroy(second);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status bump(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
    return PEL_OK;
}

/* ---- what may be waited for ---- */

typedef struct inner {
    atomic_int ran, go;
    pel_event *own, *later, *other;
    pel_status event_wait, own_wait, later_wait, marker_wait, own_finish, other_finish, later_child;
    const char *name; /* a command of the dispatcher, not only a node */
} inner;

static pel_status waits_for_much(void *context) {
    inner *in = context;
    pel_event *event = NULL, *marker = NULL;
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    const pel_event *waits[1];
    while (atomic_load(&in->go) == 0) {
        sched_yield();
    }
    if (pel_task(queue, bump, &in->ran, NULL, 0, NULL, NULL) != PEL_OK ||
        pel_task(queue, bump, &in->ran, NULL, 0, NULL, &event) != PEL_OK) {
        return PEL_INTERNAL;
    }
    in->event_wait = pel_event_wait(event);
    pel_event_release(event);
    if (pel_marker(queue, NULL, &marker) != PEL_OK) {
        return PEL_INTERNAL;
    }
    in->marker_wait = pel_event_wait(marker);
    pel_event_release(marker);
    if (atomic_load(&in->ran) != 2 || pel_task(second, bump, &in->ran, NULL, 0, NULL, NULL) != PEL_OK) {
        return PEL_INTERNAL;
    }
    in->other_finish = pel_queue_finish(second);
    in->own_finish = pel_queue_finish(queue);
    in->own_wait = pel_event_wait(in->own);
    in->later_wait = pel_event_wait(in->later);
    waits[0] = in->later;
    desc.waits = waits;
    desc.wait_count = 1;
    in->later_child = pel_task(queue, bump, &in->ran, NULL, 0, &desc, NULL);
    return atomic_load(&in->ran) == 3 ? PEL_OK : PEL_INTERNAL;
}

static void check_waits(const char *name) {
    inner in = {.name = name};
    atomic_int after = 0;
    pel_task_desc first = PEL_TASK_DESC_INIT, desc = PEL_TASK_DESC_INIT;
    first.name = name;
    assert_int_equal(pel_task(queue, waits_for_much, &in, NULL, 0, &first, &in.own), PEL_OK);
    const pel_event *waits[1] = {in.own};
    pel_event *between = NULL;
    desc.waits = waits;
    desc.wait_count = 1;
    assert_int_equal(pel_task(queue, bump, &after, NULL, 0, &desc, &between), PEL_OK); /* later comes after a dependent */
    waits[0] = between;
    assert_int_equal(pel_task(queue, bump, &after, NULL, 0, &desc, &in.later), PEL_OK);
    atomic_store(&in.go, 1);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(in.event_wait, PEL_OK);
    assert_int_equal(in.marker_wait, PEL_OK);
    assert_int_equal(in.other_finish, PEL_OK);
    assert_int_equal(in.own_finish, PEL_WOULD_DEADLOCK);
    assert_int_equal(in.own_wait, PEL_WOULD_DEADLOCK);
    assert_int_equal(in.later_wait, PEL_WOULD_DEADLOCK);
    assert_int_equal(in.later_child, PEL_WOULD_DEADLOCK);
    assert_int_equal(atomic_load(&after), 2);
    pel_event_release(in.own), pel_event_release(in.later), pel_event_release(between);
}

static void test_what_may_be_waited_for(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        open_runtime(workers);
        check_waits(NULL);
        check_waits("named");
        close_runtime();
    }
}

/* A marker that follows the whole queue, and with it the task, must not be waited for either; nor what waits for the marker. */
static pel_status waits_for_marker(void *context) {
    inner *in = context;
    while (atomic_load(&in->go) == 0) {
        sched_yield();
    }
    in->later_wait = pel_event_wait(in->later);
    in->other_finish = pel_queue_finish(second);
    return PEL_OK;
}

static void test_markers_count_as_dependents(void **state) {
    (void)state;
    inner in = {0};
    atomic_int after = 0;
    open_runtime(2);
    assert_int_equal(pel_task(queue, waits_for_marker, &in, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_marker(queue, NULL, &in.later), PEL_OK);
    const pel_event *waits[1] = {in.later};
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.waits = waits;
    desc.wait_count = 1;
    assert_int_equal(pel_task(second, bump, &after, NULL, 0, &desc, NULL), PEL_OK);
    atomic_store(&in.go, 1);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(pel_queue_finish(second), PEL_OK);
    assert_int_equal(in.later_wait, PEL_WOULD_DEADLOCK);
    assert_int_equal(in.other_finish, PEL_WOULD_DEADLOCK);
    pel_event_release(in.later);
    close_runtime();
}

/* Two tasks that wait for each other: one is told, and so both end. */
typedef struct pair {
    atomic_int *begun;
    pel_event **other;
    atomic_int *go;
    pel_status status;
} pair;

static pel_status waits_for_other(void *context) {
    pair *p = context;
    while (atomic_load(p->go) == 0) {
        sched_yield();
    }
    p->status = pel_event_wait(*p->other);
    return PEL_OK;
}

static void test_tasks_that_wait_for_each_other(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        open_runtime(workers);
        for (int round = 0; round < 20; round++) {
            atomic_int go = 0;
            pel_event *a = NULL, *b = NULL;
            pair first = {.other = &b, .go = &go}, other = {.other = &a, .go = &go};
            assert_int_equal(pel_task(queue, waits_for_other, &first, NULL, 0, NULL, &a), PEL_OK);
            assert_int_equal(pel_task(queue, waits_for_other, &other, NULL, 0, NULL, &b), PEL_OK);
            atomic_store(&go, 1);
            assert_int_equal(pel_queue_finish(queue), PEL_OK);
            assert_true((first.status == PEL_WOULD_DEADLOCK) != (other.status == PEL_WOULD_DEADLOCK));
            assert_true(first.status == PEL_OK || other.status == PEL_OK);
            pel_event_release(a), pel_event_release(b);
        }
        close_runtime();
    }
}

/* ---- scopes ---- */

static pel_status writes_five(void *context) {
    *(unsigned char *)context = 5;
    return PEL_OK;
}

static pel_status adds_one(void *context) {
    (*(unsigned char *)context)++;
    return PEL_OK;
}

static pel_status fails(void *context) {
    (void)context;
    return PEL_IO;
}

typedef struct refusals {
    pel_status read, write, beyond, fill, gap, allowed;
} refusals;

static pel_status tries_accesses(void *context) {
    refusals *r = context;
    const pel_access read = PEL_ACCESS(buffer, 100, 4, PEL_READ), write = PEL_ACCESS(buffer, 40, 4, PEL_WRITE),
                     beyond = PEL_ACCESS(buffer, 30, 4, PEL_READ), gap = PEL_ACCESS(buffer, 10, 40, PEL_READ),
                     allowed[2] = {PEL_ACCESS(buffer, 0, 20, PEL_READ_WRITE), PEL_ACCESS(buffer, 40, 10, PEL_READ)};
    const unsigned char zero = 0;
    r->read = pel_task(queue, adds_one, bytes, &read, 1, NULL, NULL);
    r->write = pel_task(queue, adds_one, bytes, &write, 1, NULL, NULL);
    r->beyond = pel_task(queue, adds_one, bytes, &beyond, 1, NULL, NULL);
    r->gap = pel_task(queue, adds_one, bytes, &gap, 1, NULL, NULL);
    r->fill = pel_fill(queue, buffer, 20, 16, &zero, 1, NULL, NULL);
    r->allowed = pel_task(queue, writes_five, bytes, allowed, 2, NULL, NULL);
    return r->allowed == PEL_OK ? pel_task(queue, adds_one, bytes, allowed, 1, NULL, NULL) : PEL_INTERNAL;
}

static void test_children_stay_within_their_parent(void **state) {
    (void)state;
    const char *names[2] = {NULL, "named"};
    open_runtime(2);
    for (int i = 0; i < 2; i++) {
        refusals r = {0};
        pel_task_desc desc = PEL_TASK_DESC_INIT;
        desc.name = names[i];
        const pel_access own[3] = {PEL_ACCESS(buffer, 0, 16, PEL_READ_WRITE), PEL_ACCESS(buffer, 16, 8, PEL_WRITE),
                                   PEL_ACCESS(buffer, 36, 16, PEL_READ)};
        const pel_access all = PEL_ACCESS(buffer, 0, 0, PEL_READ_WRITE);
        assert_int_equal(pel_task(queue, tries_accesses, &r, own, 3, &desc, NULL), PEL_OK);
        /* after the parent, and so after its children */
        assert_int_equal(pel_task(queue, adds_one, bytes, &all, 1, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(bytes[0], 7);
        assert_int_equal(r.read, PEL_CONFLICT);
        assert_int_equal(r.write, PEL_CONFLICT);
        assert_int_equal(r.beyond, PEL_CONFLICT);
        assert_int_equal(r.fill, PEL_CONFLICT);
        assert_int_equal(r.gap, PEL_CONFLICT);
        pel_error *error = pel_queue_error(queue);
        assert_non_null(error);
        assert_non_null(strstr(pel_error_message(error), "has not declared"));
        pel_error_destroy(error);
    }
    close_runtime();
}

static pel_status has_a_failing_child(void *context) {
    const pel_access access = PEL_ACCESS(buffer, 0, 8, PEL_WRITE);
    return pel_task(queue, fails, NULL, &access, context != NULL, NULL, NULL);
}

/* What a child should have written is undefined, and so is its parent's result; a child that writes nothing concerns its queue
 * only. */
static void test_failing_children(void **state) {
    (void)state;
    const char *names[2] = {NULL, "named"};
    open_runtime(2);
    const pel_access access = PEL_ACCESS(buffer, 0, 8, PEL_READ_WRITE);
    for (int i = 0; i < 4; i++) {
        pel_task_desc desc = PEL_TASK_DESC_INIT;
        pel_event *parent = NULL, *reader = NULL;
        desc.name = names[i % 2];
        assert_int_equal(pel_task(queue, has_a_failing_child, i < 2 ? bytes : NULL, &access, 1, &desc, &parent), PEL_OK);
        assert_int_equal(pel_task(queue, adds_one, bytes, &access, 1, NULL, &reader), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
        assert_int_equal(pel_event_status(parent), i < 2 ? PEL_DEPENDENCY_FAILED : PEL_OK);
        assert_int_equal(pel_event_status(reader), i < 2 ? PEL_DEPENDENCY_FAILED : PEL_OK);
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
        pel_event_release(parent), pel_event_release(reader);
    }
    close_runtime();
}

/* ---- depth ---- */

enum { DEEP = 1000 };
typedef struct ladder {
    atomic_int ran, refused;
    int left;
} ladder;

typedef struct rung {
    ladder *of;
    int left;
} rung;

static pel_status climb(void *context) {
    rung *r = context;
    atomic_fetch_add(&r->of->ran, 1);
    if (r->left == 0) {
        return PEL_OK;
    }
    rung next = {r->of, r->left - 1};
    pel_event *event = NULL;
    if (pel_task(queue, climb, &next, NULL, 0, NULL, &event) != PEL_OK) {
        return PEL_INTERNAL;
    }
    pel_status status = pel_event_wait(event);
    pel_event_release(event);
    return status;
}

static void test_shallow_ladders(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        ladder l = {0};
        rung first = {&l, 150};
        open_runtime(workers);
        assert_int_equal(pel_task(queue, climb, &first, NULL, 0, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&l.ran), 151);
        close_runtime();
    }
}

static rung deep[DEEP + 1];

static pel_status climb_deep(void *context) {
    rung *r = context;
    atomic_fetch_add(&r->of->ran, 1);
    if (r->left == 0) {
        return PEL_OK;
    }
    pel_event *event = NULL;
    deep[r->left - 1] = (rung){r->of, r->left - 1};
    if (pel_task(queue, climb_deep, &deep[r->left - 1], NULL, 0, NULL, &event) != PEL_OK) {
        return PEL_INTERNAL;
    }
    pel_status status = pel_event_wait(event);
    atomic_fetch_add(&r->of->refused, status == PEL_WOULD_DEADLOCK);
    pel_event_release(event);
    return status == PEL_WOULD_DEADLOCK ? PEL_OK : status;
}

/* Deeper than stacks may become: somebody is told that nobody is left to wait, and everything runs all the same. */
static void test_deep_ladders(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        ladder l = {0};
        open_runtime(workers);
        deep[DEEP] = (rung){&l, DEEP};
        assert_int_equal(pel_task(queue, climb_deep, &deep[DEEP], NULL, 0, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&l.ran), DEEP + 1);
        close_runtime();
    }
}

/* ---- random trees ---- */

typedef struct node {
    uint64_t seed;
    unsigned lo, hi, read_lo, read_hi;
    int depth;
    unsigned char *memory;
} node;

static void change(const node *n, unsigned salt) {
    unsigned hash = salt;
    for (unsigned i = n->read_lo; i < n->read_hi; i++) {
        hash = hash * 31 + n->memory[i];
    }
    for (unsigned i = n->lo; i < n->hi; i++) {
        n->memory[i] = (unsigned char)(n->memory[i] * 3 + hash + i);
    }
}

enum { CHILDREN = 4 };

/* The children of a node are a function of its seed alone. */
static unsigned make_children(const node *n, node *children) {
    const unsigned count = n->depth == 0 || n->hi - n->lo < 2 ? 0 : (unsigned)(test_mix(n->seed) % (CHILDREN + 1));
    for (unsigned i = 0; i < count; i++) {
        const uint64_t a = test_mix(n->seed + 10 + i), b = test_mix(a), c = test_mix(b), d = test_mix(c);
        const unsigned room = n->hi - n->lo, lo = n->lo + (unsigned)(a % room), hi = lo + 1 + (unsigned)(b % (n->hi - lo));
        const unsigned read_lo = n->lo + (unsigned)(c % room), read_hi = read_lo + 1 + (unsigned)(d % (n->hi - read_lo));
        children[i] = (node){test_mix(d), lo, hi, read_lo, read_hi, n->depth - 1, n->memory};
    }
    return count;
}

static void run_oracle(const node *n) {
    node children[CHILDREN];
    change(n, 1);
    const unsigned count = make_children(n, children);
    for (unsigned i = 0; i < count; i++) {
        run_oracle(&children[i]);
    }
    if (n->seed % 2 == 0) {
        change(n, 2);
    }
}

static pel_status run_node(void *context);

static pel_status submit_node(const node *n, pel_event **event) {
    const pel_access accesses[2] = {PEL_ACCESS(buffer, n->lo, n->hi - n->lo, PEL_READ_WRITE),
                                    PEL_ACCESS(buffer, n->read_lo, n->read_hi - n->read_lo, PEL_READ)};
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.name = n->seed % 8 == 3 ? "a named one" : NULL;
    desc.priority = n->seed % 16 == 5 ? 1 : 0;
    node *own = malloc(sizeof *own);
    if (!own) {
        return PEL_OUT_OF_MEMORY;
    }
    *own = *n;
    return pel_task(n->seed % 5 == 0 ? second : queue, run_node, own, accesses, 2, &desc, event);
}

static pel_status run_node(void *context) {
    node n = *(node *)context, children[CHILDREN];
    pel_event *last = NULL, *marker = NULL;
    pel_status status = PEL_OK;
    free(context);
    change(&n, 1);
    const unsigned count = make_children(&n, children);
    for (unsigned i = 0; i < count && status == PEL_OK; i++) {
        pel_event_release(last);
        last = NULL;
        status = submit_node(&children[i], &last);
        if (status == PEL_OK && children[i].seed % 7 == 0) {
            status = pel_event_wait(last);
        }
    }
    if (status == PEL_OK && n.seed % 2 == 0) {
        for (int i = 0; i < 2 && status == PEL_OK; i++) { /* a marker for each queue */
            status = pel_marker(i == 0 ? queue : second, NULL, &marker);
            status = status == PEL_OK ? pel_event_wait(marker) : status;
            pel_event_release(marker);
            marker = NULL;
        }
        if (status == PEL_OK) {
            change(&n, 2);
        }
    }
    pel_event_release(last);
    return status;
}

static void test_random_trees(void **state) {
    (void)state;
    const char *text = getenv("PEL_TEST_TREES");
    const uint64_t rounds = text ? strtoull(text, NULL, 10) : 60;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        open_runtime(workers);
        for (uint64_t seed = 1; seed <= rounds; seed++) {
            unsigned char expected[BYTES];
            memcpy(expected, bytes, BYTES);
            for (uint64_t k = 0; k < 8; k++) {
                const uint64_t a = test_mix(seed * 100 + k), b = test_mix(a);
                const unsigned lo = (unsigned)(a % BYTES), hi = lo + 1 + (unsigned)(b % (BYTES - lo));
                node root = {test_mix(b), lo, hi, lo, hi, 5, bytes};
                assert_int_equal(submit_node(&root, NULL), PEL_OK);
                root.memory = expected;
                run_oracle(&root);
            }
            assert_int_equal(pel_queue_finish(queue), PEL_OK);
            assert_int_equal(pel_queue_finish(second), PEL_OK);
            if (memcmp(bytes, expected, BYTES) != 0) {
                fail_msg("seed %llu with %u workers differs from sequential execution", (unsigned long long)seed, workers);
            }
        }
        close_runtime();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_be_waited_for), cmocka_unit_test(test_markers_count_as_dependents),
        cmocka_unit_test(test_tasks_that_wait_for_each_other), cmocka_unit_test(test_children_stay_within_their_parent),
        cmocka_unit_test(test_failing_children), cmocka_unit_test(test_shallow_ladders), cmocka_unit_test(test_deep_ladders),
        cmocka_unit_test(test_random_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
