/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the task engine: the deque and lanes, alone and under thieves; each item exactly once, those of one submitter
 * in order. */
#include "backend/backend.h"
#include "backend/host/tasks.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS = 200000, THIEVES = 3 };

static void test_deque_ends(void **state) {
    (void)state;
    static pel_host_deque deque;
    memset(&deque, 0, sizeof deque);
    assert_int_equal(pel_host_deque_take(&deque), 0);
    assert_int_equal(pel_host_deque_steal(&deque), 0);
    for (uintptr_t i = 1; i <= PEL_HOST_DEQUE_SLOTS; i++) {
        assert_true(pel_host_deque_push(&deque, i, i % 2 == 0));
    }
    assert_false(pel_host_deque_push(&deque, 1, true)); /* full */
    assert_true(pel_host_deque_any(&deque));
    assert_int_equal(pel_host_deque_steal(&deque), 1);
    assert_int_equal(pel_host_deque_take(&deque), PEL_HOST_DEQUE_SLOTS);
    assert_int_equal(pel_host_deque_count(&deque), PEL_HOST_DEQUE_SLOTS - 2);
    while (pel_host_deque_take(&deque) != 0) {
    }
    assert_false(pel_host_deque_any(&deque));
    assert_int_equal(pel_host_deque_steal(&deque), 0);
}

static pel_host_deque contested;
static atomic_uint seen[ITEMS + 1];
static atomic_uint left;

static void note(uintptr_t item) {
    if (item != 0) {
        atomic_fetch_add(&seen[item], 1);
        atomic_fetch_sub(&left, 1);
    }
}

static void *steal_all(void *unused) {
    (void)unused;
    while (atomic_load(&left) > 0) {
        uintptr_t item = pel_host_deque_steal(&contested);
        note(item);
        if (item == 0) {
            sched_yield();
        }
    }
    return NULL;
}

/* Short runs of pushes and takes, so that owner and thieves meet at the last item again and again. */
static void test_deque_under_thieves(void **state) {
    (void)state;
    pthread_t thieves[THIEVES];
    memset(&contested, 0, sizeof contested);
    atomic_store(&left, ITEMS);
    for (int i = 0; i < THIEVES; i++) {
        assert_int_equal(pthread_create(&thieves[i], NULL, steal_all, NULL), 0);
    }
    for (uintptr_t next = 1; next <= ITEMS;) {
        for (uintptr_t run = 1 + next % 5; run > 0 && next <= ITEMS; run--) {
            next += pel_host_deque_push(&contested, next, run == 1);
        }
        note(pel_host_deque_take(&contested));
        note(pel_host_deque_take(&contested));
    }
    for (uintptr_t item; (item = pel_host_deque_take(&contested)) != 0;) {
        note(item);
    }
    for (int i = 0; i < THIEVES; i++) {
        assert_int_equal(pthread_join(thieves[i], NULL), 0);
    }
    for (uint32_t i = 1; i <= ITEMS; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
}

typedef struct numbered {
    pel_host_item item;
    uint32_t submitter, number;
} numbered;

enum { SUBMITTERS = 3, EACH = 30000 };
static numbered *items;
static pel_host_tasks engine;
static atomic_uint taken;

static void wake_nobody(void *unused) { (void)unused; }

static pel_host_item *note_item(pel_host_runner *runner, pel_host_item *item) {
    const numbered *n = (const numbered *)(const void *)item;
    (void)runner;
    atomic_fetch_add(&seen[n->submitter * EACH + n->number], 1);
    atomic_fetch_add(&taken, 1);
    return NULL;
}

static void *submit_all(void *argument) {
    uint32_t submitter = (uint32_t)(uintptr_t)argument;
    for (uint32_t i = 0; i < EACH; i++) {
        numbered *n = &items[submitter * EACH + i];
        *n = (numbered){.submitter = submitter, .number = i};
        pel_host_lane *lane = pel_host_lane_claim(&engine);
        pel_host_lane_push(lane, &n->item);
        pel_host_lane_give_back(&engine, lane, true);
    }
    return NULL;
}

static void *drain_all(void *unused) {
    pel_host_item *batch[PEL_HOST_BATCH];
    (void)unused;
    while (atomic_load(&taken) < SUBMITTERS * EACH) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < PEL_HOST_LANES; i++) {
            count += pel_host_lane_take(&engine.lanes[i], batch, 1 + i % PEL_HOST_BATCH);
            for (uint32_t k = 0; k < count; k++) {
                numbered *n = (numbered *)(void *)batch[k];
                atomic_fetch_add(&seen[n->submitter * EACH + n->number], 1);
            }
            atomic_fetch_add(&taken, count);
            count = 0;
        }
        sched_yield();
    }
    return NULL;
}

/* Threads that submit EACH items beside two that take them: each item is seen once, and nothing is left. */
static void each_is_seen_once(void *(*submit)(void *), void *(*take)(void *)) {
    pthread_t threads[SUBMITTERS + 2];
    items = calloc(SUBMITTERS * EACH, sizeof *items);
    assert_non_null(items);
    memset(seen, 0, sizeof seen);
    memset(&engine, 0, sizeof engine);
    atomic_store(&taken, 0);
    assert_int_equal(pel_host_tasks_init(&engine, &pel_allocator_default, 2, wake_nobody, NULL), PEL_OK);
    engine.run = note_item;
    for (uintptr_t i = 0; i < SUBMITTERS + 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, i < SUBMITTERS ? submit : take, (void *)i), 0);
    }
    for (int i = 0; i < SUBMITTERS + 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t i = 0; i < SUBMITTERS * EACH; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
    assert_false(pel_host_tasks_any_for_sure(&engine));
    pel_host_tasks_free(&engine, &pel_allocator_default);
    free(items);
}

static void test_lanes_lose_nothing(void **state) {
    (void)state;
    each_is_seen_once(submit_all, drain_all);
}

static void test_a_lane_is_first_in_first_out(void **state) {
    (void)state;
    static pel_host_lane lane;
    numbered some[300];
    pel_host_item *batch[7];
    uint32_t next = 0;
    memset(&lane, 0, sizeof lane);
    for (uint32_t i = 0; i < 300; i++) {
        some[i].number = i;
        assert_true(pel_host_lane_try_claim(&lane));
        assert_false(pel_host_lane_try_claim(&lane));
        pel_host_lane_push(&lane, &some[i].item);
        pel_host_lane_release(&lane);
        uint32_t count = i % 3 == 0 ? pel_host_lane_take(&lane, batch, 1 + i % 7) : 0;
        for (uint32_t k = 0; k < count; k++) {
            assert_int_equal(((numbered *)(void *)batch[k])->number, next++);
        }
    }
    for (uint32_t count; (count = pel_host_lane_take(&lane, batch, 7)) > 0;) {
        for (uint32_t k = 0; k < count; k++) {
            assert_int_equal(((numbered *)(void *)batch[k])->number, next++);
        }
    }
    assert_int_equal(next, 300);
    assert_false(pel_host_lane_any_for_sure(&lane));
}

static void test_one_offer_beside_the_list(void **state) {
    (void)state;
    static pel_host_lane lane;
    numbered some[3];
    pel_host_item *batch[3];
    memset(&lane, 0, sizeof lane);
    assert_null(pel_host_lane_take_offer(&lane));
    assert_true(pel_host_lane_try_claim(&lane));
    for (int i = 0; i < 3; i++) {
        pel_host_lane_offer(&lane, &some[i].item, &some[i]);
    }
    pel_host_lane_release(&lane);
    for (int i = 1; i < 3; i++) { /* those for which there was no room */
        assert_int_equal(pel_host_lane_take(&lane, batch, 1), 1);
        assert_ptr_equal(batch[0], &some[i].item);
    }
    assert_true(pel_host_lane_any(&lane) && pel_host_lane_any_for_sure(&lane)); /* an empty list is not an empty lane */
    assert_ptr_equal(pel_host_lane_take_offer(&lane), &some[0].item);
    assert_null(pel_host_lane_take_offer(&lane));
    assert_false(pel_host_lane_any(&lane) || pel_host_lane_any_for_sure(&lane));
}

static void *offer_all(void *argument) {
    uint32_t submitter = (uint32_t)(uintptr_t)argument;
    for (uint32_t i = 0; i < EACH; i++) {
        numbered *n = &items[submitter * EACH + i];
        *n = (numbered){.submitter = submitter, .number = i};
        pel_host_lane *lane = pel_host_lane_claim(&engine);
        pel_host_lane_offer(lane, &n->item, n);
        pel_host_lane_give_back(&engine, lane, true);
        if (i % 3 == 0 && pel_host_still_offered(&engine, &n->item)) {
            n = (numbered *)(void *)pel_host_take_back(&engine); /* it, or another's by now */
            if (n) {
                atomic_fetch_add(&seen[n->submitter * EACH + n->number], 1);
                atomic_fetch_add(&taken, 1);
            }
        }
    }
    return NULL;
}

static void *catch_all(void *argument) {
    pel_host_runner *runner = &engine.runners[(uintptr_t)argument - SUBMITTERS];
    while (atomic_load(&taken) < SUBMITTERS * EACH) {
        uint32_t offers;
        pel_host_item *item = pel_host_runner_catch(runner, &offers);
        if (item) {
            pel_host_runner_run(runner, item);
        } else if (!pel_host_runner_work(runner)) {
            sched_yield();
        }
    }
    return NULL;
}

/* Offers that submitters take back while two runners want them, too: each item once. */
static void test_offers_lose_nothing(void **state) {
    (void)state;
    each_is_seen_once(offer_all, catch_all);
}

/* Somebody makes offers as fast as they are taken: the list beside them gets its turn all the same. */
static void test_offers_do_not_shut_out_the_list(void **state) {
    (void)state;
    enum { LISTED = 3, ROUNDS = 64 * (LISTED + 1) };
    items = calloc(LISTED + ROUNDS, sizeof *items);
    assert_non_null(items);
    memset(seen, 0, sizeof seen);
    memset(&engine, 0, sizeof engine);
    assert_int_equal(pel_host_tasks_init(&engine, &pel_allocator_default, 1, wake_nobody, NULL), PEL_OK);
    engine.run = note_item;
    for (uint32_t i = 0; i < LISTED + ROUNDS; i++) {
        items[i].number = i;
        pel_host_lane *lane = pel_host_lane_claim(&engine);
        if (i < LISTED) {
            pel_host_lane_push(lane, &items[i].item);
        } else {
            pel_host_lane_offer(lane, &items[i].item, &items[i]);
        }
        pel_host_lane_give_back(&engine, lane, true);
        assert_true(i < LISTED || pel_host_runner_work(&engine.runners[0]));
    }
    for (uint32_t i = 0; i < LISTED; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
    while (pel_host_runner_work(&engine.runners[0])) {
    }
    for (uint32_t i = 0; i < LISTED + ROUNDS; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
    pel_host_tasks_free(&engine, &pel_allocator_default);
    free(items);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deque_ends),
                                       cmocka_unit_test(test_deque_under_thieves),
                                       cmocka_unit_test(test_a_lane_is_first_in_first_out),
                                       cmocka_unit_test(test_lanes_lose_nothing),
                                       cmocka_unit_test(test_one_offer_beside_the_list),
                                       cmocka_unit_test(test_offers_lose_nothing),
                                       cmocka_unit_test(test_offers_do_not_shut_out_the_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
