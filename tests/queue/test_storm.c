/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several threads at once, each with random graphs of its own against sequential execution, and all on one shared counter that
 * only the hazards protect. Tasks with and without accesses, explicit waits, markers, loops, children, limits on what is in
 * flight, finish in between.
 *
 * More of it: PEL_STORM_GRAPHS=1000000 tests/queue/test_storm, that many graphs in all, of 1 to 40 steps each, with a line every
 * now and then on a terminal.
 */
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pel/pel.h>

enum { THREADS = 4, BYTES = 96, STEPS = 400, ROUNDS = 6 };

static pel_runtime *runtime;
static pel_buffer *shared;
static uint64_t counter; /* behind `shared`; not atomic on purpose */
static atomic_uint bumps, children, failures;

typedef struct step {
    unsigned char *bytes;
    uint64_t read_lo, read_hi, write_lo, write_hi;
} step;

typedef struct storm {
    uint64_t random, seed;
    uint32_t limit;
    pel_queue *queue;
} storm;

static uint64_t next_random(storm *s) { return test_random(&s->random); }

static pel_status run_step(void *context) { /* the written range becomes a hash of the read range */
    const step *s = context;
    unsigned hash = 17;
    for (uint64_t i = s->read_lo; i < s->read_hi; i++) {
        hash = hash * 31 + s->bytes[i];
    }
    for (uint64_t i = s->write_lo; i < s->write_hi; i++) {
        s->bytes[i] = (unsigned char)(hash + i);
    }
    return PEL_OK;
}

static pel_status bump(void *context) {
    (void)context;
    counter++;
    return PEL_OK;
}

static pel_status child(void *context) {
    (void)context;
    atomic_fetch_add(&children, 1);
    return PEL_OK;
}

static pel_status parent(void *context) {
    pel_queue *queue = context;
    pel_status status = pel_task(queue, child, NULL, NULL, 0, NULL, NULL);
    return status == PEL_OK ? pel_task(queue, child, NULL, NULL, 0, NULL, NULL) : status;
}

static bool expect(bool holds) {
    atomic_fetch_add(&failures, holds ? 0 : 1);
    return holds;
}

static void submit_step(storm *s, pel_buffer *buffer, step *now, pel_event **last) {
    now->read_lo = next_random(s) % BYTES;
    now->read_hi = now->read_lo + 1 + next_random(s) % (BYTES - now->read_lo);
    now->write_lo = next_random(s) % BYTES;
    uint64_t room = BYTES - now->write_lo;
    now->write_hi = now->write_lo + 1 + next_random(s) % (room > 16 ? 16 : room);
    const pel_access accesses[2] = {PEL_ACCESS(buffer, now->read_lo, now->read_hi - now->read_lo, PEL_READ),
                                    PEL_ACCESS(buffer, now->write_lo, now->write_hi - now->write_lo, PEL_WRITE)};
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    const pel_event *waits[1] = {*last};
    desc.waits = waits;
    desc.wait_count = *last && next_random(s) % 4 == 0;
    desc.priority = next_random(s) % 16 == 0 ? 1 : 0;
    pel_event *event = NULL;
    expect(pel_task(s->queue, run_step, now, accesses, 2, &desc, next_random(s) % 3 == 0 ? &event : NULL) == PEL_OK);
    if (event) {
        pel_event_release(*last);
        *last = event;
    }
}

static void submit_other(storm *s, pel_event *last) {
    const pel_access whole = PEL_ACCESS(shared, 0, 0, PEL_READ_WRITE);
    switch (next_random(s) % 8) {
    case 0:
        expect(pel_marker(s->queue, NULL, NULL) == PEL_OK);
        return;
    case 1:
        expect(pel_task(s->queue, parent, s->queue, NULL, 0, NULL, NULL) == PEL_OK);
        return;
    case 2:
        expect(!last || pel_event_wait(last) == PEL_OK);
        return;
    case 3:
        expect(next_random(s) % 4 != 0 || pel_queue_finish(s->queue) == PEL_OK);
        return;
    default:
        atomic_fetch_add(&bumps, 1);
        expect(pel_task(s->queue, bump, NULL, &whole, 1, NULL, NULL) == PEL_OK);
    }
}

static void one_round(storm *s, int count) {
    unsigned char bytes[BYTES] = {0}, expected[BYTES] = {0};
    static _Thread_local step steps[STEPS];
    pel_buffer *buffer = NULL;
    pel_event *last = NULL;
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    desc.max_in_flight = s->limit;
    if (!expect(pel_queue_create(runtime, &desc, &s->queue, NULL) == PEL_OK) ||
        !expect(pel_buffer_wrap(runtime, bytes, BYTES, &buffer) == PEL_OK)) {
        return;
    }
    for (int i = 0; i < count; i++) {
        steps[i].bytes = bytes;
        submit_step(s, buffer, &steps[i], &last);
        step oracle = steps[i];
        oracle.bytes = expected;
        run_step(&oracle);
        submit_other(s, last);
    }
    expect(pel_queue_finish(s->queue) == PEL_OK);
    if (!expect(memcmp(bytes, expected, BYTES) == 0)) {
        fprintf(stderr, "seed %llu: the result differs from sequential execution\n", (unsigned long long)s->seed);
    }
    pel_event_release(last);
    expect(pel_buffer_destroy(buffer) == PEL_OK);
    expect(pel_queue_destroy(s->queue) == PEL_OK);
}

static uint64_t graphs; /* of each thread; 0: a few large ones */
static atomic_ullong done;

static void progress(uint64_t so_far) {
    if (so_far % 10000 == 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%llu of %llu graphs, %u failures ", (unsigned long long)so_far, (unsigned long long)graphs * THREADS,
                atomic_load(&failures));
    }
}

static void *storm_main(void *argument) {
    storm s = {.seed = (uint64_t)(uintptr_t)argument};
    for (uint64_t round = 0; round < (graphs > 0 ? graphs : ROUNDS); round++) {
        s.random = s.seed = (uint64_t)(uintptr_t)argument << 40 | round;
        s.limit = round % 3 == 2 ? 5 : 0;
        one_round(&s, graphs > 0 ? 1 + (int)(next_random(&s) % 40) : STEPS);
        progress(atomic_fetch_add(&done, 1) + 1);
    }
    return NULL;
}

static void test_storm(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    const char *wanted = getenv("PEL_STORM_GRAPHS");
    graphs = wanted ? strtoull(wanted, NULL, 10) / THREADS : 0;
    desc.devices = "host";
    desc.host_workers = 3;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &counter, sizeof counter, &shared), PEL_OK);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, storm_main, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(counter, atomic_load(&bumps));
    print_message("%llu random graphs like sequential execution\n", (unsigned long long)atomic_load(&done));
    assert_int_equal(atomic_load(&children) % 2, 0);
    assert_int_equal(pel_buffer_destroy(shared), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
