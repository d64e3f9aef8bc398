/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks that somebody waits for (queue/awaited.h): their places are used again, and outlive the runtime; who comes to wait or to
 * follow while they end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <pel/pel.h>

enum { HELD = 40, ROUNDS = 1000 };

static void *counted(void *user, void *pointer, size_t bytes) {
    atomic_int *blocks = user;
    if (bytes == 0) {
        atomic_fetch_sub(blocks, 1);
        free(pointer);
        return NULL;
    }
    void *block = realloc(pointer, bytes);
    atomic_fetch_add(blocks, !pointer && block ? 1 : 0);
    return block;
}

static void begin(pel_runtime **runtime, pel_queue **queue, atomic_int *blocks, uint32_t workers) {
    const pel_allocator allocator = {counted, blocks};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = workers;
    desc.allocator = blocks ? &allocator : NULL;
    assert_int_equal(pel_runtime_create(&desc, runtime, NULL), PEL_OK);
    assert_int_equal(pel_queue_create(*runtime, NULL, queue, NULL), PEL_OK);
}

static void end(pel_runtime *runtime, pel_queue *queue) {
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static pel_status add(void *context) {
    atomic_fetch_add((atomic_uint *)context, 1);
    return PEL_OK;
}

static pel_status refuse(void *context) {
    atomic_fetch_add((atomic_uint *)context, 1);
    return PEL_INVALID_ARGUMENT;
}

static void *release_all(void *context) {
    pel_event **events = context;
    for (unsigned i = 0; i < HELD; i++) {
        pel_event_release(events[i]);
    }
    return NULL;
}

/* More than there are places; given back before the runtime goes, after it, by another thread, or meanwhile. */
static void test_events_outlive_the_runtime(void **state) {
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        atomic_int blocks = 0;
        atomic_uint ran = 0;
        pel_runtime *runtime;
        pel_queue *queue;
        pel_event *events[HELD];
        pthread_t thread;
        begin(&runtime, &queue, &blocks, 2);
        for (unsigned i = 0; i < HELD; i++) {
            assert_int_equal(pel_task(queue, add, &ran, NULL, 0, NULL, &events[i]), PEL_OK);
        }
        for (unsigned i = 0; i < HELD; i++) {
            assert_int_equal(pel_event_wait(events[i]), PEL_OK);
            if (way == 1 && i % 3 == 0) {
                pel_event_release(events[i]);
                events[i] = NULL;
            }
        }
        assert_int_equal(atomic_load(&ran), HELD);
        if (way == 2) {
            assert_int_equal(pthread_create(&thread, NULL, release_all, events), 0);
        }
        end(runtime, queue);
        for (unsigned i = 0; i < HELD && way != 2; i++) {
            assert_true(!events[i] || pel_event_status(events[i]) == PEL_OK);
        }
        if (way == 3) {
            assert_int_equal(pthread_create(&thread, NULL, release_all, events), 0);
        } else if (way != 2) {
            (void)release_all(events);
        }
        if (way >= 2) {
            assert_int_equal(pthread_join(thread, NULL), 0);
        }
        assert_int_equal(atomic_load(&blocks), 0);
    }
}

/* What a task leaves in its place is not the next one's. */
static void test_places_are_clean(void **state) {
    (void)state;
    atomic_uint ran = 0, failed = 0, cancelled = 0;
    pel_runtime *runtime;
    pel_queue *queue;
    begin(&runtime, &queue, NULL, 2);
    for (unsigned i = 0; i < ROUNDS; i++) {
        pel_event *event;
        pel_event_timing timing;
        const bool fails = i % 3 == 0;
        assert_int_equal(pel_task(queue, fails ? refuse : add, fails ? &failed : &ran, NULL, 0, NULL, &event), PEL_OK);
        const bool called_off = i % 3 == 1 && pel_event_cancel(event) == PEL_OK;
        cancelled += called_off;
        assert_int_equal(pel_event_wait(event), fails ? PEL_TASK_FAILED : called_off ? PEL_CANCELLED : PEL_OK);
        assert_true((pel_event_error(event) != NULL) == (fails || called_off));
        pel_event_get_timing(event, &timing);
        assert_true(timing.submitted > 0 && timing.ended >= timing.submitted);
        assert_true(called_off || (timing.began >= timing.submitted && timing.ended >= timing.began));
        pel_event_release(event);
        if (fails || called_off) {
            assert_int_not_equal(pel_queue_finish(queue), PEL_OK);
            pel_queue_reset(queue);
        }
    }
    assert_int_equal(atomic_load(&failed), (ROUNDS + 2) / 3);
    assert_int_equal(atomic_load(&ran) + atomic_load(&failed) + cancelled, ROUNDS);
    end(runtime, queue);
}

/* ---- others ---- */

typedef struct pair {
    pel_queue *queue;
    _Atomic(pel_event *) given; /* by the one, with a reference; taken by the other */
    atomic_uint first, after, wrong;
    atomic_bool stop;
} pair;

typedef struct follower {
    pair *p;
    pel_event *event;
} follower;

static pel_status come_after(void *context) {
    follower *f = context;
    if (pel_event_get_state(f->event) != PEL_EVENT_COMPLETE) {
        atomic_fetch_add(&f->p->wrong, 1);
    }
    atomic_fetch_add(&f->p->after, 1);
    pel_event_release(f->event);
    free(f);
    return PEL_OK;
}

/* Waits for every other one, and has a task follow the others. */
static void *meet(void *context) {
    pair *p = context;
    for (unsigned i = 0; !atomic_load(&p->stop); i++) {
        pel_event *event = atomic_exchange(&p->given, NULL);
        if (!event) {
            sched_yield();
        } else if (i % 2 == 0) {
            if (pel_event_wait(event) != PEL_OK) {
                atomic_fetch_add(&p->wrong, 1);
            }
            atomic_fetch_add(&p->after, 1);
            pel_event_release(event);
        } else {
            follower *f = malloc(sizeof *f);
            const pel_event *waits[] = {event};
            pel_task_desc desc = PEL_TASK_DESC_INIT;
            desc.waits = waits;
            desc.wait_count = 1;
            *f = (follower){p, event};
            if (pel_task(p->queue, come_after, f, NULL, 0, &desc, NULL) != PEL_OK) {
                atomic_fetch_add(&p->wrong, 1);
            }
        }
    }
    return NULL;
}

static void test_others_wait_and_follow(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers < 4; workers++) {
        pair p = {.first = 0};
        pel_runtime *runtime;
        pthread_t thread;
        unsigned given = 0;
        begin(&runtime, &p.queue, NULL, workers);
        assert_int_equal(pthread_create(&thread, NULL, meet, &p), 0);
        for (unsigned i = 0; i < 3 * ROUNDS; i++) {
            pel_event *event;
            assert_int_equal(pel_task(p.queue, add, &p.first, NULL, 0, NULL, &event), PEL_OK);
            if (atomic_load(&p.given) == NULL) {
                atomic_store(&p.given, pel_event_retain(event));
                given++;
            }
            while (i % 2 == 0 && pel_event_get_state(event) != PEL_EVENT_COMPLETE) {
                sched_yield();
            }
            assert_int_equal(pel_event_wait(event), PEL_OK);
            pel_event_release(event);
        }
        while (atomic_load(&p.given) != NULL) {
            sched_yield();
        }
        atomic_store(&p.stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(pel_queue_finish(p.queue), PEL_OK);
        assert_int_equal(atomic_load(&p.first), 3 * ROUNDS);
        assert_int_equal(atomic_load(&p.after), given);
        assert_int_equal(atomic_load(&p.wrong), 0);
        end(runtime, p.queue);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_outlive_the_runtime),
        cmocka_unit_test(test_places_are_clean),
        cmocka_unit_test(test_others_wait_and_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
