/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups of calls: each call is the owner's or one thief's, whatever meets whatever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "backend/host/group.h"
#include "base/barrier.h"

enum { ROUNDS = 4000, THIEVES = 2, SIZE = 5 };

static atomic_uint seen[ROUNDS * SIZE];

static pel_status call(void *context) {
    atomic_fetch_add((atomic_uint *)context, 1);
    return PEL_OK;
}

static void open_round(pel_host_group *group, uint32_t round, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        group->calls[i] = (pel_host_call){call, &seen[round * SIZE + i]};
    }
    group->of = group;
    group->order = round * SIZE;
    pel_host_group_open(group, count);
}

/* Of one that was opened and not begun beyond that. */
static uint32_t run_all(pel_host_group *group) {
    uint32_t index = 0, ran = 0;
    do {
        const pel_host_call c = group->calls[index];
        (void)c.function(c.context);
        ran++;
    } while (pel_host_group_begin(group, &index));
    return ran;
}

static void test_the_later_half(void **state) {
    (void)state;
    static pel_host_group group, other;
    uint32_t index;
    if (!pel_barrier_prepare()) {
        skip();
    }
    memset(seen, 0, sizeof seen);
    assert_false(pel_host_group_any(&group) || pel_host_group_begin(&group, &index));
    assert_int_equal(pel_host_group_steal(&group, &other), 0);
    open_round(&group, 0, SIZE);
    assert_int_equal(pel_host_group_rest(&group), SIZE - 1); /* call 0 is begun */
    assert_int_equal(pel_host_group_steal(&group, &other), 2);
    assert_ptr_equal(other.of, &group);
    assert_int_equal(other.order, 3); /* 1 and 2 stay */
    assert_int_equal(run_all(&other), 2);
    assert_int_equal(pel_host_group_steal(&group, &other), 1);
    assert_int_equal(run_all(&other), 1);
    assert_int_equal(pel_host_group_steal(&group, &other), 1); /* also the last one: the owner may stand still for ever */
    assert_int_equal(other.order, 1);
    assert_int_equal(run_all(&other), 1);
    assert_int_equal(run_all(&group), 1);
    assert_false(pel_host_group_any(&group));
    for (int i = 0; i < SIZE; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
}

static pel_host_group contested;
static atomic_bool over;

static void *steal_all(void *counter) {
    static _Thread_local pel_host_group mine;
    while (!atomic_load(&over)) {
        if (pel_host_group_steal(&contested, &mine) > 0) {
            atomic_fetch_add((atomic_uint *)counter, run_all(&mine));
        }
        sched_yield();
    }
    return NULL;
}

/* Short groups, one after the other in one place, so that owner and thieves meet at both ends again and again. */
static void test_each_call_once(void **state) {
    (void)state;
    pthread_t thieves[THIEVES];
    atomic_uint stolen = 0;
    if (!pel_barrier_prepare()) {
        skip();
    }
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < THIEVES; i++) {
        assert_int_equal(pthread_create(&thieves[i], NULL, steal_all, &stolen), 0);
    }
    uint32_t ran = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        open_round(&contested, round, SIZE);
        ran += run_all(&contested);
    }
    atomic_store(&over, true);
    for (int i = 0; i < THIEVES; i++) {
        assert_int_equal(pthread_join(thieves[i], NULL), 0);
    }
    assert_int_equal(ran + atomic_load(&stolen), ROUNDS * SIZE);
    for (uint32_t i = 0; i < ROUNDS * SIZE; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_later_half), cmocka_unit_test(test_each_call_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
