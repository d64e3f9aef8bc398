/* SPDX-License-Identifier: BSD-3-Clause */
/* The last worker stands back from a stream of small tasks, and is there all the same when nobody else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <pel/pel.h>

enum { STREAM = 20000, MANY = 10000, MINUTE = 60, NAPS = 10000 };

static pel_runtime *runtime;
static pel_queue *queue;

/* As many workers as cores, two at least: the more threads than cores, the sooner the reserve is in the way. */
static int set_up(void **state) {
    (void)state;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = cores > 2 ? (uint32_t)cores : 2;
    return pel_runtime_create(&desc, &runtime, NULL) || pel_queue_create(runtime, NULL, &queue, NULL);
}

static int tear_down(void **state) {
    (void)state;
    return pel_queue_destroy(queue) || pel_runtime_destroy(runtime);
}

static void submit(pel_task_fn function, void *context) {
    assert_int_equal(pel_task(queue, function, context, NULL, 0, NULL, NULL), PEL_OK);
}

static pel_status add_one(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
    return PEL_OK;
}

typedef struct gate {
    atomic_int inside;
    atomic_bool open;
} gate;

static pel_status wait_at(void *context) {
    gate *at = context;
    atomic_fetch_add(&at->inside, 1);
    while (!atomic_load(&at->open)) {
        sched_yield();
    }
    return PEL_OK;
}

/* Without waiting for a command: the caller's thread would run tasks itself. */
static bool comes_to(atomic_int *count, int wanted) {
    const time_t late = time(NULL) + MINUTE;
    while (atomic_load(count) < wanted && time(NULL) < late) {
        sched_yield();
    }
    return atomic_load(count) == wanted;
}

static void test_all_others_are_stuck_in_the_middle_of_a_stream(void **state) {
    (void)state;
    const uint32_t workers = pel_runtime_get_workers(runtime);
    for (int round = 0; round < 10; round++) {
        atomic_int count = 0;
        gate at = {0};
        for (int i = 0; i < STREAM; i++) {
            submit(add_one, &count);
            if (i == STREAM / 2) {
                for (uint32_t k = 1; k < workers; k++) {
                    submit(wait_at, &at);
                }
            }
        }
        const bool all = comes_to(&count, STREAM), stuck = comes_to(&at.inside, (int)workers - 1);
        atomic_store(&at.open, true);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_true(all && stuck);
    }
}

typedef struct parent {
    atomic_int *count;
    int children;
} parent;

static pel_status have_children(void *context) {
    const parent *me = context;
    for (int i = 0; i < me->children; i++) {
        pel_status status = pel_task(queue, add_one, me->count, NULL, 0, NULL, NULL);
        if (status != PEL_OK) {
            return status;
        }
    }
    return PEL_OK;
}

/* What the reserve has in its own deque when it stands back is run by others. */
static void test_tasks_made_by_tasks_beside_a_stream(void **state) {
    (void)state;
    atomic_int count = 0;
    parent them = {&count, 100};
    for (int i = 0; i < STREAM; i++) {
        if (i % 100 == 0) {
            submit(have_children, &them);
        } else {
            submit(add_one, &count);
        }
    }
    const int wanted = STREAM - STREAM / 100 + STREAM / 100 * them.children;
    assert_true(comes_to(&count, wanted));
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&count), wanted);
}

static pel_status add_many(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add((atomic_int *)context, (int)(end - begin));
    return PEL_OK;
}

/* The reserve sleeps, and a loop calls it. */
static void test_loops_beside_a_stream(void **state) {
    (void)state;
    enum { LOOPS = 20, POINTS = 1000 };
    atomic_int count = 0;
    for (int i = 0; i < STREAM; i++) {
        submit(add_one, &count);
        if (i % (STREAM / LOOPS) == 0) {
            assert_int_equal(pel_loop(queue, POINTS, 1, add_many, &count, NULL, 0, NULL, NULL), PEL_OK);
        }
    }
    assert_true(comes_to(&count, STREAM + LOOPS * POINTS));
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
}

/* Tasks of a tenth of a millisecond, and how many of them there are. */
typedef struct crowd {
    atomic_int inside, most, ended;
} crowd;

static int64_t now_ns(void) {
    return pel_runtime_now(runtime);
}

static pel_status take_a_while(void *context) {
    crowd *them = context;
    const int inside = atomic_fetch_add(&them->inside, 1) + 1;
    for (int most = atomic_load(&them->most); inside > most && !atomic_compare_exchange_weak(&them->most, &most, inside);) {
    }
    for (const int64_t until = now_ns() + 100000; now_ns() < until;) {
    }
    atomic_fetch_sub(&them->inside, 1);
    atomic_fetch_add(&them->ended, 1);
    return PEL_OK;
}

/* Long moments want more tasks than short ones: larger tasks that follow a stream without a pause get all workers. Where they do
 * not, they may have to wait for a moment that something else disturbs: many more of these than here, as a rule. */
static void test_larger_tasks_behind_a_stream(void **state) {
    (void)state;
    const int workers = (int)pel_runtime_get_workers(runtime);
    atomic_int count = 0;
    int small = 0, large = 0;
    for (const int64_t until = now_ns() + 50000000; now_ns() < until; small++) {
        submit(add_one, &count);
    }
    crowd them = {0};
    const int64_t settled = now_ns() + 30000000; /* by then it has looked after its longest moment */
    for (bool again = false; (atomic_load(&them.most) < workers || !again) && large < MANY;) {
        if (!again && now_ns() > settled) {
            again = true;
            atomic_store(&them.most, 0);
        }
        while (large - atomic_load(&them.ended) < 4 * workers) {
            submit(take_a_while, &them);
            large++;
        }
        usleep(50); /* the cores are the workers' */
    }
    assert_true(comes_to(&them.ended, large) && comes_to(&count, small));
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&them.most), workers);
}

/* What a guest does not take: with a priority, so it waits under the lock. */
typedef struct long_way {
    atomic_int count, at; /* how many tasks of the guest's had been run when it was */
    atomic_bool ran;
} long_way;

static pel_status note_when(void *context) {
    long_way *way = context;
    atomic_store(&way->at, atomic_load(&way->count));
    atomic_store(&way->ran, true);
    return PEL_OK;
}

static pel_status until_it_ran(void *context) {
    long_way *way = context;
    for (const time_t late = time(NULL) + MINUTE; !atomic_load(&way->ran) && time(NULL) < late;) {
    }
    return PEL_OK;
}

static pel_status last_for_a_moment(void *context) {
    long_way *way = context;
    for (const int64_t until = now_ns() + 3000; !atomic_load(&way->ran) && now_ns() < until;) {
    }
    atomic_fetch_add(&way->count, 1);
    return PEL_OK;
}

static void *submit_from_elsewhere(void *context) {
    pel_task_desc first = PEL_TASK_DESC_INIT;
    first.priority = 1;
    usleep(30000); /* by then the reserve stands back, if it does */
    return pel_task(queue, note_when, context, NULL, 0, &first, NULL) == PEL_OK ? context : NULL;
}

/* All workers but the reserve are in a task that does not end, and a guest runs so many small ones that the reserve is spared. */
static void test_what_guests_do_not_take(void **state) {
    (void)state;
    const uint32_t workers = pel_runtime_get_workers(runtime);
    long_way way = {0};
    pthread_t elsewhere;
    void *submitted = NULL;
    for (uint32_t k = 1; k < workers; k++) {
        submit(until_it_ran, &way);
    }
    for (int i = 0; i < 10 * STREAM; i++) {
        submit(last_for_a_moment, &way);
    }
    assert_int_equal(pthread_create(&elsewhere, NULL, submit_from_elsewhere, &way), 0);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(pthread_join(elsewhere, &submitted), 0);
    assert_ptr_equal(submitted, &way);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_true(atomic_load(&way.ran) && atomic_load(&way.at) < 10 * STREAM);
}

/* All workers but the reserve, and two guests. */
typedef struct standstill {
    pthread_t guests[2];
    unsigned holders; /* at most */
    atomic_uint inside;
    atomic_bool ran, stop;
} standstill;

static bool is_to_stop(void *context) { return atomic_load(&((standstill *)context)->stop); }

static void *lend_myself(void *context) { return pel_worker_run(runtime, is_to_stop, context) == PEL_OK ? context : NULL; }

static pel_status end_standstill(void *context) {
    atomic_store(&((standstill *)context)->ran, true);
    return PEL_OK;
}

/* Until another task has run: one guest sleeps, all others use their cores. */
static pel_status stand_still(void *context) {
    standstill *all = context;
    atomic_fetch_add(&all->inside, 1);
    while (!atomic_load(&all->ran)) {
        if (pthread_equal(pthread_self(), all->guests[0])) {
            usleep(1000);
        }
    }
    return PEL_OK;
}

static pel_status last_3_us(void *context) {
    (void)context;
    for (const int64_t until = now_ns() + 3000; now_ns() < until;) {
    }
    return PEL_OK;
}

/* Naps are counted, not time: who is stopped by a debugger is not late. */
static bool await_holders(standstill *all) {
    for (int nap = 0; nap < NAPS && atomic_load(&all->inside) < all->holders; nap++) {
        usleep(1000);
    }
    return atomic_load(&all->inside) == all->holders;
}

/* No core is left over, and nobody runs anything all the same. Whether it is the reserve that has nothing is chance, so several
 * times. */
static void test_others_stand_still_on_full_cores(void **state) {
    (void)state;
    for (int round = 0; round < 5; round++) {
        standstill all = {.holders = pel_runtime_get_workers(runtime) + 1};
        void *lent[2] = {NULL, NULL};
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&all.guests[i], NULL, lend_myself, &all), 0);
        }
        for (int i = 0; i < STREAM; i++) {
            submit(last_3_us, NULL);
        }
        for (unsigned i = 0; i < all.holders; i++) {
            submit(stand_still, &all);
        }
        const bool held = await_holders(&all);
        usleep(30000);
        submit(end_standstill, &all);
        for (int nap = 0; nap < NAPS && !atomic_load(&all.ran); nap++) {
            usleep(1000);
        }
        const bool ended = atomic_exchange(&all.ran, true);
        atomic_store(&all.stop, true);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_join(all.guests[i], &lent[i]), 0);
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_true(held && ended && lent[0] && lent[1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_larger_tasks_behind_a_stream),
        cmocka_unit_test(test_all_others_are_stuck_in_the_middle_of_a_stream),
        cmocka_unit_test(test_tasks_made_by_tasks_beside_a_stream),
        cmocka_unit_test(test_loops_beside_a_stream),
        cmocka_unit_test(test_what_guests_do_not_take),
        cmocka_unit_test(test_others_stand_still_on_full_cores),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
