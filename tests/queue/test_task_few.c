/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that name memory in equal blocks, as the short way likes it (queue/task_few.h), with others among them that lie across
 * blocks or fill a part of one, against sequential execution; behind a gate, so that predecessors are really under way, and
 * without one, so that they end meanwhile. Several threads, a field each, and one block that all of them change.
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
#include <string.h>
#include <unistd.h>

#include <pel/pel.h>

enum { THREADS = 3, BLOCKS = 24, BLOCK = 16, BYTES = BLOCKS * BLOCK, STEPS = 600, ROUNDS = 8 };

static pel_runtime *runtime;
static pel_buffer *shared;
static uint64_t counter[2]; /* behind `shared`, changed by all; not atomic on purpose */
static atomic_uint bumps, failures;
static atomic_bool gate;

typedef struct step {
    unsigned char *bytes;
    uint32_t count;
    struct { uint64_t lo, bytes; pel_access_mode mode; } uses[3];
    bool bumps;
} step;

typedef struct storm {
    uint64_t random, seed;
    step steps[STEPS];
} storm;

static storm storms[THREADS];

static bool expect(bool holds) {
    atomic_fetch_add(&failures, holds ? 0 : 1);
    return holds;
}

/* What is read decides what is written; a range that is only written does not count. */
static pel_status run_step(void *context) {
    const step *s = context;
    unsigned hash = 17;
    for (uint32_t u = 0; u < s->count; u++) {
        for (uint64_t i = 0; i < s->uses[u].bytes && (s->uses[u].mode & PEL_READ) != 0; i++) {
            hash = hash * 31 + s->bytes[s->uses[u].lo + i];
        }
    }
    for (uint32_t u = 0; u < s->count; u++) {
        for (uint64_t i = 0; i < s->uses[u].bytes && (s->uses[u].mode & PEL_WRITE) != 0; i++) {
            s->bytes[s->uses[u].lo + i] = (unsigned char)(hash + i);
        }
    }
    if (s->bumps) { /* the oracle must not touch it */
        counter[0]++;
    }
    return PEL_OK;
}

static pel_status wait_at_gate(void *context) {
    (void)context;
    while (!atomic_load(&gate)) {
        usleep(100);
    }
    return PEL_OK;
}

static void make(storm *s, step *made, unsigned odd) {
    static const pel_access_mode modes[] = {PEL_READ, PEL_READ, PEL_READ, PEL_WRITE, PEL_READ_WRITE};
    made->count = 1 + (uint32_t)(test_random(&s->random) % 3);
    made->bumps = false;
    for (uint32_t u = 0; u < made->count; u++) {
        const uint64_t block = test_random(&s->random) % BLOCKS;
        made->uses[u].lo = block * BLOCK;
        made->uses[u].bytes = BLOCK;
        made->uses[u].mode = modes[test_random(&s->random) % 5];
        if (odd > 0 && test_random(&s->random) % odd == 0) { /* a part, or more than one */
            made->uses[u].lo += test_random(&s->random) % BLOCK;
            made->uses[u].bytes = 1 + test_random(&s->random) % (BYTES - made->uses[u].lo);
        }
    }
}

static void submit(pel_queue *queue, pel_buffer *buffer, step *made, bool bump) {
    pel_access accesses[3];
    uint32_t count = 0;
    if (bump) {
        made->count = made->count > 2 ? 2 : made->count;
        made->bumps = true;
        atomic_fetch_add(&bumps, 1);
        accesses[count++] = (pel_access)PEL_ACCESS(shared, 0, 8, PEL_READ_WRITE);
    }
    for (uint32_t u = 0; u < made->count; u++) {
        accesses[count++] = (pel_access)PEL_ACCESS(buffer, made->uses[u].lo, made->uses[u].bytes, made->uses[u].mode);
    }
    expect(pel_task(queue, run_step, made, accesses, count, NULL, NULL) == PEL_OK);
}

static void one_round(storm *s, unsigned odd) {
    unsigned char bytes[BYTES] = {0}, expected[BYTES] = {0};
    pel_buffer *buffer = NULL;
    pel_queue *queue = NULL;
    if (!expect(pel_queue_create(runtime, NULL, &queue, NULL) == PEL_OK) ||
        !expect(pel_buffer_wrap(runtime, bytes, BYTES, &buffer) == PEL_OK)) {
        return;
    }
    for (int part = 0; part < 2; part++) { /* in the second one, much of what the hazards know is over */
        for (uint32_t i = 0; i < STEPS; i++) {
            step *made = &s->steps[i];
            made->bytes = bytes;
            make(s, made, odd);
            submit(queue, buffer, made, test_random(&s->random) % 4 == 0);
            step oracle = *made;
            oracle.bytes = expected;
            oracle.bumps = false;
            (void)run_step(&oracle);
        }
        expect(pel_queue_finish(queue) == PEL_OK);
        if (!expect(memcmp(bytes, expected, BYTES) == 0)) {
            fprintf(stderr, "seed %llu: another result than in sequence\n", (unsigned long long)s->seed);
        }
    }
    expect(pel_queue_destroy(queue) == PEL_OK);
    expect(pel_buffer_destroy(buffer) == PEL_OK);
}

static void *storm_main(void *argument) {
    storm *s = argument;
    for (unsigned round = 0; round < ROUNDS; round++) {
        one_round(s, round % 4 == 3 ? 50 : 0);
    }
    return NULL;
}

static void run_storms(uint32_t workers) {
    pthread_t threads[THREADS];
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = workers;
    atomic_store(&bumps, 0);
    counter[0] = 0;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, counter, sizeof counter, &shared), PEL_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        storms[i].seed = storms[i].random = 100 * workers + i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, storm_main, &storms[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(counter[0], atomic_load(&bumps));
    assert_int_equal(pel_buffer_destroy(shared), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_with_one_worker(void **state) {
    (void)state;
    run_storms(1);
}

static void test_with_three_workers(void **state) {
    (void)state;
    run_storms(3);
}

/* ---- one field, which all threads have their blocks in ---- */

static struct {
    _Alignas(BLOCK) unsigned char bytes[THREADS][BYTES];
    uint64_t counter[BLOCK / sizeof(uint64_t)]; /* the last block, changed by all */
} field;
static pel_buffer *whole;
static pel_queue *bounded;
static int bound;
static atomic_int returned, begun, too_many; /* submissions; tasks */

static pel_status run_counted(void *context) {
    const step *s = context;
    atomic_fetch_add(&begun, 1);
    if (s->bumps) {
        field.counter[0]++;
    }
    step rest = *s;
    rest.bumps = false;
    return run_step(&rest);
}

/* What is under way is told by who has returned and, asked after that, what has begun: so it is never said to be more than it
 * was. Threads that submit at once may each be one too many but the first. */
static void *submit_to_field(void *argument) {
    storm *s = argument;
    const uint64_t base = (uint64_t)(s - storms) * BYTES;
    unsigned char expected[BYTES] = {0};
    for (uint32_t i = 0; i < STEPS; i++) {
        step *made = &s->steps[i];
        pel_access accesses[3];
        uint32_t count = 0;
        make(s, made, 0);
        made->bytes = field.bytes[s - storms];
        made->bumps = i % 4 == 0;
        made->count = made->bumps && made->count > 2 ? 2 : made->count;
        atomic_fetch_add(&bumps, made->bumps ? 1 : 0);
        for (; count < made->count; count++) {
            accesses[count] = (pel_access)PEL_ACCESS(whole, base + made->uses[count].lo, BLOCK, made->uses[count].mode);
        }
        if (made->bumps) {
            accesses[count++] = (pel_access)PEL_ACCESS(whole, sizeof field.bytes, BLOCK, PEL_READ_WRITE);
        }
        expect(pel_task(bounded, run_counted, made, accesses, count, NULL, NULL) == PEL_OK);
        const int so_far = atomic_fetch_add(&returned, 1) + 1;
        atomic_fetch_add(&too_many, bound != 0 && so_far - atomic_load(&begun) > bound + THREADS - 1 ? 1 : 0);
        step oracle = *made;
        oracle.bytes = expected;
        oracle.bumps = false;
        (void)run_step(&oracle);
    }
    expect(pel_queue_finish(bounded) == PEL_OK);
    expect(memcmp(field.bytes[s - storms], expected, BYTES) == 0);
    return NULL;
}

static void submit_at_once(uint32_t workers, uint32_t max_in_flight) {
    pthread_t threads[THREADS];
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_queue_desc queue = PEL_QUEUE_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = workers;
    queue.max_in_flight = max_in_flight;
    bound = (int)max_in_flight;
    memset(&field, 0, sizeof field);
    atomic_store(&bumps, 0);
    atomic_store(&returned, 0);
    atomic_store(&begun, 0);
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, &queue, &bounded, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &field, sizeof field, &whole), PEL_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        storms[i].seed = storms[i].random = 100 * max_in_flight + i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, submit_to_field, &storms[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(atomic_load(&too_many), 0);
    assert_int_equal(atomic_load(&begun), THREADS * STEPS);
    assert_int_equal(field.counter[0], atomic_load(&bumps));
    assert_int_equal(pel_queue_destroy(bounded), PEL_OK);
    assert_int_equal(pel_buffer_destroy(whole), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* Places of a bounded queue are taken 32 at a time. */
static void test_threads_in_one_field(void **state) {
    static const uint32_t bounds[] = {0, 1, 2, 3, 31, 32, 33, 100};
    (void)state;
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        submit_at_once(1 + (uint32_t)i % 3, bounds[i]);
    }
}

/* Everything is submitted before anything runs: lists of readers of every length, and each predecessor is waited for. */
static void test_behind_a_gate(void **state) {
    static unsigned char bytes[BYTES], expected[BYTES];
    static step steps[4 * STEPS];
    storm *s = &storms[0];
    pel_buffer *buffer;
    pel_queue *queue;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = 2;
    (void)state;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, bytes, BYTES, &buffer), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, counter, sizeof counter, &shared), PEL_OK);
    s->random = 7;
    for (int round = 0; round < 3; round++) {
        atomic_store(&gate, false);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pel_task(queue, wait_at_gate, NULL, NULL, 0, NULL, NULL), PEL_OK);
        }
        for (uint32_t i = 0; i < 4 * STEPS; i++) {
            steps[i].bytes = bytes;
            make(s, &steps[i], round == 2 ? 300 : 0);
            submit(queue, buffer, &steps[i], i % 7 == 0);
        }
        for (uint32_t i = 0; i < 4 * STEPS; i++) {
            step oracle = steps[i];
            oracle.bytes = expected;
            oracle.bumps = false;
            (void)run_step(&oracle);
        }
        atomic_store(&gate, true);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_memory_equal(bytes, expected, BYTES);
    }
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_buffer_destroy(shared), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static atomic_uint ran;

static pel_status fail_now(void *context) {
    (void)context;
    return PEL_INVALID_ARGUMENT;
}

static pel_status count(void *context) {
    (void)context;
    atomic_fetch_add(&ran, 1);
    return PEL_OK;
}

/* A failure spreads to those who read, behind a gate and after it, until the block is overwritten. */
static void test_failures_spread(void **state) {
    static unsigned char bytes[BYTES];
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_buffer *buffer;
    pel_queue *queue;
    desc.devices = "host";
    desc.host_workers = 1;
    (void)state;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, bytes, BYTES, &buffer), PEL_OK);
    const pel_access write0 = PEL_ACCESS(buffer, 0, BLOCK, PEL_WRITE), read0 = PEL_ACCESS(buffer, 0, BLOCK, PEL_READ);
    const pel_access both[] = {PEL_ACCESS(buffer, 0, BLOCK, PEL_READ), PEL_ACCESS(buffer, BLOCK, BLOCK, PEL_WRITE)};
    const pel_access read1 = PEL_ACCESS(buffer, BLOCK, BLOCK, PEL_READ);
    atomic_store(&ran, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pel_task(queue, count, NULL, &write0, 1, NULL, NULL), PEL_OK);
    }
    atomic_store(&gate, false);
    assert_int_equal(pel_task(queue, wait_at_gate, NULL, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, fail_now, NULL, &write0, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, count, NULL, &read0, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, count, NULL, both, 2, NULL, NULL), PEL_OK);
    atomic_store(&gate, true);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(atomic_load(&ran), 3);
    assert_int_equal(pel_task(queue, count, NULL, &read1, 1, NULL, NULL), PEL_OK); /* inherited by the second block, too */
    assert_int_equal(pel_task(queue, count, NULL, &read0, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(atomic_load(&ran), 3);
    assert_int_equal(pel_task(queue, count, NULL, &write0, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, count, NULL, &read0, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(atomic_load(&ran), 5);
    (void)pel_queue_destroy(queue);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_with_one_worker), cmocka_unit_test(test_with_three_workers),
                                       cmocka_unit_test(test_threads_in_one_field), cmocka_unit_test(test_behind_a_gate),
                                       cmocka_unit_test(test_failures_spread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
