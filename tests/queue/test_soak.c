/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No lost wake-up: threads that submit a little, now and then, to workers who sleep at once, and wait for it without helping.
 * Whatever is submitted must be done although nobody looks for it: a wake-up that is lost shows as a wait without end. Tasks of
 * the short and of the long way, children, loops, parallel loops, launches of a host variant, replays of a graph, callbacks;
 * waiting by looking, by pel_event_wait, by pel_queue_finish. Half of the time one thread is alone with the workers, whose number
 * stays: nobody else's wake-up makes good what was lost. Then several submit, and workers become fewer and more meanwhile.
 *
 *     tests/queue/test_soak [SECONDS]      an hour unless told, or PEL_SOAK_SECONDS; progress on a terminal
 */
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pel/pel.h>

/* a machine that is busy with other things may be slow, but not that slow */
enum { SUBMITTERS = 3, WORKERS = 3, ITEMS = 64, LOST_S = 120 };

static _Atomic double limit_s = 3600;
static pel_runtime *runtime;
static pel_kernel *kernel;
static pel_buffer *memory[SUBMITTERS];
static _Atomic double began;
static atomic_ullong rounds, waited_for, failures;
static _Atomic double longest_s, stood_s; /* stood: the whole process was stopped, and nobody could be woken */
static atomic_int stuck_at[SUBMITTERS]; /* what each waits for; 0: nothing */
static _Atomic double stuck_since[SUBMITTERS], stood_before[SUBMITTERS];
static int submitters;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct submitter {
    uint64_t random;
    int number;
    pel_queue *queue;
    pel_graph *graph;
    atomic_uint done;
    unsigned wanted;
} submitter;

static void expect(bool holds, const char *what) {
    if (!holds && atomic_fetch_add(&failures, 1) < 10) {
        fprintf(stderr, "\nnot so: %s\n", what);
    }
}

static pel_status count(void *context) {
    atomic_fetch_add(&((submitter *)context)->done, 1);
    return PEL_OK;
}

static pel_status parent(void *context) {
    submitter *s = context;
    expect(pel_task(s->queue, count, s, NULL, 0, NULL, NULL) == PEL_OK, "a child is submitted");
    return PEL_OK;
}

static pel_status count_piece(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add(&((submitter *)context)->done, (unsigned)(end - begin));
    return PEL_OK;
}

static pel_status count_part(const pel_range *part, void *context) {
    atomic_fetch_add(&((submitter *)context)->done, (unsigned)(part->hi[0] - part->lo[0]));
    return PEL_OK;
}

static pel_status parallel(void *context) {
    const pel_range range = PEL_RANGE_1D(20);
    return pel_parallel_for(runtime, &range, count_part, context, NULL);
}

static void count_event(pel_event *watched, void *context) {
    (void)watched;
    (void)count(context);
}

static pel_status add_one(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch;
    (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((unsigned *)arguments[0])[i]++;
    }
    return PEL_OK;
}

/* Returns how many it adds to the count. */
static unsigned submit_one(submitter *s, pel_event **event) {
    pel_task_desc named = PEL_TASK_DESC_INIT;
    const pel_arg arg = pel_buf(memory[s->number]);
    named.name = "named";
    switch (test_random(&s->random) % 9) {
    case 0:
        expect(pel_task(s->queue, count, s, NULL, 0, &named, event) == PEL_OK, "a task of the long way is submitted");
        return 1;
    case 1:
        expect(pel_task(s->queue, parent, s, NULL, 0, NULL, event) == PEL_OK, "a parent is submitted");
        return 1;
    case 2:
        expect(pel_loop(s->queue, 20, 1, count_piece, s, NULL, 0, NULL, event) == PEL_OK, "a loop is submitted");
        return 20;
    case 3:
        expect(pel_task(s->queue, parallel, s, NULL, 0, NULL, event) == PEL_OK, "a task with a parallel loop is submitted");
        return 20;
    case 4:
        expect(pel_launch(s->queue, kernel, &(pel_launch_desc){.global = {ITEMS}}, &arg, 1, event) == PEL_OK,
               "a launch is submitted");
        return 0;
    case 5:
        expect(pel_graph_replay(s->graph, s->queue, NULL, event) == PEL_OK, "a replay is submitted");
        return 5;
    case 6:
        expect(pel_task(s->queue, count, s, NULL, 0, NULL, event) == PEL_OK, "a watched task is submitted");
        expect(pel_callback(s->queue, *event, count_event, s, NULL) == PEL_OK, "a callback is submitted");
        return 2;
    default:
        expect(pel_task(s->queue, count, s, NULL, 0, NULL, event) == PEL_OK, "a task is submitted");
        return 1;
    }
}

static void wait_begins(const submitter *s, int what) {
    atomic_store(&stood_before[s->number], atomic_load(&stood_s));
    atomic_store(&stuck_since[s->number], now());
    atomic_store(&stuck_at[s->number], what);
}

static void look(submitter *s, int what) {
    wait_begins(s, what);
    for (unsigned i = 0; atomic_load(&s->done) != s->wanted; i++) {
        if (i > 100) {
            const struct timespec nap = {0, 20000};
            nanosleep(&nap, NULL);
        } else {
            sched_yield();
        }
    }
}

static void waited(submitter *s) {
    const double took = now() - atomic_load(&stuck_since[s->number]);
    double known = atomic_load(&longest_s);
    while (took > known && !atomic_compare_exchange_weak(&longest_s, &known, took)) {
    }
    atomic_store(&stuck_at[s->number], 0);
    atomic_fetch_add(&waited_for, 1);
}

static void one_round(submitter *s) {
    const uint64_t many = 1 + (test_random(&s->random) % 4 == 0 ? test_random(&s->random) % 30 : 0);
    const uint64_t way = test_random(&s->random) % 4;
    pel_event *last = NULL;
    for (uint64_t i = 0; i < many; i++) {
        pel_event_release(last);
        last = NULL;
        s->wanted += submit_one(s, &last);
    }
    if (way < 2) {
        look(s, 1); /* nobody helps */
    } else if (way == 2) {
        wait_begins(s, 2);
        expect(pel_event_wait(last) == PEL_OK, "an event ends well");
        look(s, 1);
    } else {
        wait_begins(s, 3);
        expect(pel_queue_finish(s->queue) == PEL_OK, "a queue ends well");
        expect(atomic_load(&s->done) == s->wanted, "all is done after finish");
    }
    waited(s);
    pel_event_release(last);
    if (test_random(&s->random) % 3 != 0) { /* long enough for everybody to fall asleep, or just not */
        const struct timespec pause = {0, (long)(test_random(&s->random) % 150000)};
        nanosleep(&pause, NULL);
    }
    if (submitters > 1 && test_random(&s->random) % 64 == 0) {
        expect(pel_runtime_set_workers(runtime, 1 + (uint32_t)(test_random(&s->random) % WORKERS)) == PEL_OK,
               "workers come and go");
    }
    atomic_fetch_add(&rounds, 1);
}

static void *submitter_main(void *argument) {
    submitter s = {.random = 77 + (uint64_t)(uintptr_t)argument, .number = (int)(uintptr_t)argument};
    expect(pel_queue_create(runtime, NULL, &s.queue, NULL) == PEL_OK && pel_graph_create(runtime, &s.graph, NULL) == PEL_OK,
           "a queue and a graph are made");
    expect(pel_graph_record(s.graph, s.queue) == PEL_OK, "a graph is recorded");
    for (int i = 0; i < 5; i++) {
        expect(pel_task(s.queue, count, &s, NULL, 0, NULL, NULL) == PEL_OK, "a task is recorded");
    }
    expect(pel_graph_end(s.graph) == PEL_OK, "a recording ends");
    while (now() - began < limit_s && atomic_load(&failures) == 0) {
        one_round(&s);
    }
    expect(pel_queue_finish(s.queue) == PEL_OK && pel_graph_destroy(s.graph) == PEL_OK && pel_queue_destroy(s.queue) == PEL_OK,
           "all ends well");
    return NULL;
}

/* A wait without end cannot be undone: what was waited for is said, and the process ends. */
static void *watch(void *over) {
    static const char *const words[] = {"nothing", "what nobody helps with", "an event", "a queue"};
    while (!atomic_load((atomic_bool *)over)) {
        const struct timespec second = {1, 0};
        const struct timespec moment = {0, 50000000};
        const double before = now();
        nanosleep(limit_s > 30 ? &second : &moment, NULL);
        const double slept = now() - before;
        atomic_store(&stood_s, atomic_load(&stood_s) + (slept > 3 ? slept : 0));
        if (isatty(STDERR_FILENO)) {
            fprintf(stderr, "\r%.0f of %.0f s, %llu rounds, the longest wait %.3f s ", now() - began, limit_s,
                    atomic_load(&rounds), atomic_load(&longest_s));
        }
        for (int i = 0; i < SUBMITTERS; i++) {
            const int what = atomic_load(&stuck_at[i]);
            const double since = atomic_load(&stuck_since[i]);
            const double stood = atomic_load(&stood_s) - atomic_load(&stood_before[i]);
            if (what != 0 && now() - since - stood > LOST_S && atomic_load(&stuck_at[i]) == what &&
                atomic_load(&stuck_since[i]) == since) {
                fprintf(stderr, "\nsubmitter %d has waited %d s for %s: a wake-up was lost\n", i, LOST_S, words[what]);
                abort();
            }
        }
    }
    return NULL;
}

static void soak(int count, int32_t spin_us, double seconds) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(unsigned), 1, 1)};
    pthread_t threads[SUBMITTERS];
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    desc.devices = "host";
    desc.host_workers = WORKERS;
    desc.spin_us = spin_us;
    kernel_desc.name = "add_one";
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    kernel_desc.host = add_one;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &kernel_desc, &kernel, NULL), PEL_OK);
    for (int i = 0; i < SUBMITTERS; i++) {
        assert_int_equal(pel_buffer_create(runtime, ITEMS * sizeof(unsigned), &memory[i], NULL), PEL_OK);
    }
    limit_s = seconds;
    began = now();
    submitters = count;
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, submitter_main, (void *)i), 0);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        assert_int_equal(pel_buffer_destroy(memory[i]), PEL_OK);
    }
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    assert_int_equal(pel_program_destroy(program), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static double asked_s = 3600;

/* Alone and together, half of the time without any spinning, half of it with the usual one. */
static void test_no_lost_wake_up(void **state) {
    (void)state;
    pthread_t watcher;
    atomic_bool over = false;
    began = now();
    limit_s = asked_s / 4;
    assert_int_equal(pthread_create(&watcher, NULL, watch, &over), 0);
    soak(1, -1, asked_s / 4);
    soak(1, 0, asked_s / 4);
    soak(SUBMITTERS, -1, asked_s / 4);
    soak(SUBMITTERS, 0, asked_s / 4);
    atomic_store(&over, true);
    pthread_join(watcher, NULL);
    print_message("\n%llu rounds and %llu waits in %.0f s (the process was stopped for %.0f of them), none without end; the "
                  "longest %.3f s\n",
                  atomic_load(&rounds), atomic_load(&waited_for), asked_s, atomic_load(&stood_s), atomic_load(&longest_s));
    assert_int_equal(atomic_load(&failures), 0);
    assert_true(atomic_load(&rounds) > 0);
}

int main(int count_of_arguments, char **arguments) {
    const char *wanted = count_of_arguments > 1 ? arguments[1] : getenv("PEL_SOAK_SECONDS");
    asked_s = wanted ? strtod(wanted, NULL) : 3600;
    if (!(asked_s > 0 && asked_s < 1e7)) {
        fprintf(stderr, "usage: %s [SECONDS]\n", arguments[0]);
        return 2;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_lost_wake_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
