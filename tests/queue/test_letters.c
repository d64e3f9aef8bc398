/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker that runs one part of a static loop after the other is not counted among those that look for work: what another thread
 * submits at that moment is run all the same, also when the next part waits until it has been; by lanes, and (tasks with a
 * priority) under the device's lock.
 */
#include "machines.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include <pel/pel.h>

enum { ROUNDS = 4000, SHORT_LOOPS = 4, MOST_SECONDS = 30 };

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    atomic_int round; /* whose task may be submitted */
    atomic_int ran;   /* tasks */
    atomic_int refused, late;
    int waits_for;    /* how many tasks the second part waits for; 0: it is short */
    int32_t priority; /* of the tasks */
} scene;

static pel_status note(void *context) {
    atomic_fetch_add(&((scene *)context)->ran, 1);
    return PEL_OK;
}

/* Looks now and then gives its core away: there may be no other for who runs the task. */
static bool wait_until(const atomic_int *value, int least) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (const time_t until = now.tv_sec + MOST_SECONDS; atomic_load((atomic_int *)(uintptr_t)value) < least;) {
        (void)sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > until) {
            return false;
        }
    }
    return true;
}

static pel_status part(const pel_range *range, void *context) {
    scene *s = context;
    if (range->hi[0] == 2 && s->waits_for > 0 && !wait_until(&s->ran, s->waits_for)) {
        atomic_fetch_add(&s->late, 1);
    }
    return PEL_OK;
}

/* One task a round, bare, with an event or with a priority, at any moment of a loop. */
static void *submit(void *context) {
    scene *s = context;
    uint64_t random = 7;
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.priority = s->priority;
    for (int round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&s->round) < round) {
            (void)sched_yield();
        }
        for (volatile uint64_t pauses = test_random(&random) % 600; pauses > 0; pauses--) {
        }
        pel_event *event = NULL;
        const bool awaited = test_random(&random) % 2 == 1;
        if (pel_task(s->queue, note, s, NULL, 0, s->priority != 0 ? &desc : NULL, awaited ? &event : NULL) != PEL_OK) {
            atomic_fetch_add(&s->refused, 1);
            atomic_fetch_add(&s->ran, 1);
        }
        pel_event_release(event);
    }
    return NULL;
}

static void play(int32_t priority) {
    scene s = {.runtime = machine_host(2), .priority = priority};
    s.queue = machine_queue(s.runtime);
    const pel_range range = PEL_RANGE_1D(2);
    pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
    desc.partition = PEL_PARTITION_STATIC;
    pthread_t submitter;
    assert_int_equal(pthread_create(&submitter, NULL, submit, &s), 0);
    for (int round = 1; round <= ROUNDS && atomic_load(&s.late) == 0; round++) {
        s.waits_for = 0;
        for (int i = 0; i < SHORT_LOOPS; i++) {
            if (i == SHORT_LOOPS / 2) {
                atomic_store(&s.round, round);
            }
            assert_int_equal(pel_parallel_for(s.runtime, &range, part, &s, &desc), PEL_OK);
        }
        s.waits_for = round;
        assert_int_equal(pel_parallel_for(s.runtime, &range, part, &s, &desc), PEL_OK);
    }
    atomic_store(&s.round, ROUNDS);
    assert_int_equal(pthread_join(submitter, NULL), 0);
    assert_int_equal(pel_queue_finish(s.queue), PEL_OK);
    assert_int_equal(atomic_load(&s.late), 0);
    assert_int_equal(atomic_load(&s.refused), 0);
    assert_int_equal(atomic_load(&s.ran), ROUNDS);
    assert_int_equal(pel_queue_destroy(s.queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(s.runtime), PEL_OK);
}

static void test_nobody_counts_on_who_runs_a_letter(void **state) {
    (void)state;
    play(0);
}

static void test_nor_with_what_waits_under_the_lock(void **state) {
    (void)state;
    play(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_counts_on_who_runs_a_letter),
        cmocka_unit_test(test_nor_with_what_waits_under_the_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
