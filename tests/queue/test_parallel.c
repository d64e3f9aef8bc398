/* SPDX-License-Identifier: BSD-3-Clause */
/* Parallel loops: each point once whatever the shape, partition, number of threads and caller; reductions with the same bits;
 * failures; nesting. */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pel/pel.h>

enum { MOST = 1 << 15 };
typedef struct grid {
    atomic_uchar hits[MOST];
    uint64_t lo[3], size[3];
    uint32_t dims;
    atomic_int wrong, parts;
} grid;

static pel_status hit(const pel_range *part, void *context) {
    grid *g = context;
    atomic_fetch_add(&g->parts, 1);
    if (part->dims != g->dims) {
        atomic_fetch_add(&g->wrong, 1);
    }
    for (uint64_t z = part->dims > 2 ? part->lo[2] : 0; z < (part->dims > 2 ? part->hi[2] : 1); z++) {
        for (uint64_t y = part->dims > 1 ? part->lo[1] : 0; y < (part->dims > 1 ? part->hi[1] : 1); y++) {
            for (uint64_t x = part->lo[0]; x < part->hi[0]; x++) {
                const uint64_t at[3] = {x - g->lo[0], g->dims > 1 ? y - g->lo[1] : 0, g->dims > 2 ? z - g->lo[2] : 0};
                if (at[0] >= g->size[0] || at[1] >= g->size[1] || at[2] >= g->size[2]) {
                    atomic_fetch_add(&g->wrong, 1);
                    continue;
                }
                atomic_fetch_add(&g->hits[(at[2] * g->size[1] + at[1]) * g->size[0] + at[0]], 1);
            }
        }
    }
    return PEL_OK;
}

static void cover(pel_runtime *runtime, grid *g, const uint64_t *lo, const uint64_t *size, uint32_t dims,
                  const pel_parallel_desc *desc) {
    pel_range range = {dims, 0, {0}, {0}};
    uint64_t points = 1;
    memset(g, 0, sizeof *g);
    g->dims = dims;
    for (uint32_t d = 0; d < 3; d++) {
        g->lo[d] = d < dims ? lo[d] : 0;
        g->size[d] = d < dims ? size[d] : 1;
        range.lo[d] = d < dims ? lo[d] : 77; /* unused dimensions are ignored */
        range.hi[d] = d < dims ? lo[d] + size[d] : 0;
        points *= g->size[d];
    }
    assert_int_equal(pel_parallel_for(runtime, &range, hit, g, desc), PEL_OK);
    assert_int_equal(atomic_load(&g->wrong), 0);
    for (uint64_t i = 0; i < points; i++) {
        assert_int_equal(atomic_load(&g->hits[i]), 1);
    }
}

static void test_each_point_once(void **state) {
    (void)state;
    grid *g = malloc(sizeof *g);
    assert_non_null(g);
    for (uint32_t workers = 1; workers <= 5; workers += 2) {
        pel_runtime *runtime = machine_host(workers);
        for (uint64_t seed = 0; seed < 300; seed++) {
            pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
            const uint32_t dims = 1 + (uint32_t)(test_mix(seed) % 3);
            const uint64_t most[3] = {MOST, 181, 31};
            uint64_t lo[3], size[3];
            desc.partition = (pel_partition)(test_mix(seed + 1000) % 3);
            desc.grain = test_mix(seed + 2000) % 3 == 0 ? 0 : test_mix(seed + 3000) % 200;
            desc.threads = (uint32_t)(test_mix(seed + 4000) % 4);
            for (uint32_t d = 0; d < 3; d++) {
                const uint64_t random = test_mix(seed * 7 + d);
                size[d] = random % 4 == 0 ? 1 + random / 4 % 3 : 1 + random / 4 % most[dims - 1];
                lo[d] = random % 5 == 0 ? UINT64_MAX - size[d] : random % 3 == 0 ? 0 : random % 1000;
            }
            cover(runtime, g, lo, size, dims, seed % 10 == 0 ? NULL : &desc);
        }
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    free(g);
}

typedef struct half {
    atomic_uint *count;
    pthread_t threads[2];
} half;

static pel_status note_thread(const pel_range *part, void *context) {
    half *h = context;
    for (uint64_t i = part->lo[0]; i < part->hi[0]; i++) {
        h->threads[i] = pthread_self();
        atomic_fetch_add(h->count, 1);
    }
    return PEL_OK;
}

/* Many short regions, so that late comers, shut gates and sleepers meet in every way. */
static void test_many_short_regions(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(3);
    const pel_range range = PEL_RANGE_1D(2);
    pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
    atomic_uint count = 0;
    for (unsigned i = 0; i < 30000; i++) {
        half h = {.count = &count};
        desc.partition = (pel_partition)(i / 1000 % 3);
        assert_int_equal(pel_parallel_for(runtime, &range, note_thread, &h, &desc), PEL_OK);
    }
    assert_int_equal(atomic_load(&count), 60000);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/*
 * Parts that meet: whoever has the last point but one waits there until another thread has come for the last. So a loop that the
 * caller does alone never ends (but for the time-out): workers do come, sleepers too. Static parts wake them at once, others when
 * the caller has worked for a while.
 */
enum { MEETING = 64 };
typedef struct meeting {
    pthread_t caller;
    uint64_t points;
    atomic_uint others; /* parts that others than the caller have begun */
    atomic_bool late;
} meeting;

static void await_another(meeting *m) {
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (atomic_load(&m->others) == 0 && !atomic_load(&m->late)) {
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - began.tv_sec > 100) {
            atomic_store(&m->late, true);
        }
    }
}

static pel_status meet(const pel_range *part, void *context) {
    meeting *m = context;
    const struct timespec moment = {0, 20000};
    if (!pthread_equal(m->caller, pthread_self())) {
        atomic_fetch_add(&m->others, 1);
    } else if (part->hi[0] + 1 >= m->points) {
        await_another(m);
    } else {
        nanosleep(&moment, NULL);
    }
    return PEL_OK;
}

static void test_workers_come(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(2);
    for (unsigned i = 0; i < 60; i++) {
        const bool is_static = i % 2 == 0;
        meeting m = {.caller = pthread_self(), .points = is_static ? 2 : MEETING};
        const pel_range range = PEL_RANGE_1D(is_static ? 2 : MEETING);
        pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
        desc.partition = is_static ? PEL_PARTITION_STATIC : PEL_PARTITION_DYNAMIC;
        desc.grain = 1;
        if (i % 4 < 2) {
            const struct timespec until_they_sleep = {0, 2000000};
            nanosleep(&until_they_sleep, NULL);
        }
        assert_int_equal(pel_parallel_for(runtime, &range, meet, &m, &desc), PEL_OK);
        assert_false(atomic_load(&m.late));
        assert_true(atomic_load(&m.others) > 0);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

typedef struct nest {
    pel_runtime *runtime;
    pel_queue *queue;
    int depth;
    atomic_uint *count;
    pel_status wait, submitted;
} nest;

static pel_status nested(const pel_range *part, void *context) {
    const nest *n = context;
    if (n->depth == 0) {
        atomic_fetch_add(n->count, (unsigned)(part->hi[0] - part->lo[0]));
        return PEL_OK;
    }
    nest inner = *n;
    inner.depth--;
    const pel_range range = PEL_RANGE_1D(10);
    pel_status status = PEL_OK;
    for (uint64_t i = part->lo[0]; i < part->hi[0] && status == PEL_OK; i++) {
        status = pel_parallel_for(n->runtime, &range, nested, &inner, NULL);
    }
    return status;
}

static pel_status task_with_loop(void *context) {
    nest *n = context;
    const pel_range range = PEL_RANGE_1D(10);
    return pel_parallel_for(n->runtime, &range, nested, n, NULL);
}

static void *thread_with_loops(void *context) {
    for (int i = 0; i < 50; i++) {
        if (task_with_loop(context) != PEL_OK) {
            return context;
        }
    }
    return NULL;
}

static void test_nested_and_from_everywhere(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers++) {
        pel_runtime *runtime = machine_host(workers);
        pel_queue *queue = NULL;
        pthread_t threads[6];
        atomic_uint count = 0;
        queue = machine_queue(runtime);
        nest n = {.runtime = runtime, .queue = queue, .depth = 2, .count = &count};
        for (int i = 0; i < 6; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, thread_with_loops, &n), 0);
        }
        for (int i = 0; i < 200; i++) {
            assert_int_equal(pel_task(queue, task_with_loop, &n, NULL, 0, NULL, NULL), PEL_OK);
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        for (int i = 0; i < 6; i++) {
            void *failed = queue;
            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
        assert_int_equal(atomic_load(&count), (200 + 6 * 50) * 1000);
        assert_int_equal(pel_queue_destroy(queue), PEL_OK);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

/* ---- reductions ---- */

static pel_status add_up(const pel_range *part, void *partial, void *context) {
    const float *values = context;
    float sum = *(float *)partial;
    for (uint64_t y = part->lo[1]; y < part->hi[1]; y++) {
        for (uint64_t x = part->lo[0]; x < part->hi[0]; x++) {
            sum += values[y * 100 + x];
        }
    }
    *(float *)partial = sum;
    return PEL_OK;
}

static void add(void *into, const void *from, void *context) {
    (void)context;
    *(float *)into += *(const float *)from;
}

static void test_reductions_have_the_same_bits(void **state) {
    (void)state;
    static float values[10000];
    float first = 0, zero = 0;
    bool have = false;
    double exact = 0;
    for (int i = 0; i < 10000; i++) {
        values[i] = (float)(test_mix((uint64_t)i) % 1000003) * 1e-3f;
        exact += (double)values[i];
    }
    for (uint32_t workers = 1; workers <= 4; workers++) {
        pel_runtime *runtime = machine_host(workers);
        const pel_range range = PEL_RANGE_2D(100, 100);
        for (int i = 0; i < 300; i++) {
            pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
            float sum = -1;
            desc.partition = (pel_partition)(i % 3);
            desc.threads = (uint32_t)(i / 3 % 4);
            assert_int_equal(pel_parallel_reduce(runtime, &range, add_up, add, sizeof sum, &zero, &sum, values, &desc), PEL_OK);
            first = have ? first : sum;
            have = true;
            assert_memory_equal(&sum, &first, sizeof sum);
        }
        const pel_range nothing = {2, 0, {5, 0}, {5, 10}};
        float sum = -1;
        assert_int_equal(pel_parallel_reduce(runtime, &nothing, add_up, add, sizeof sum, &zero, &sum, values, NULL), PEL_OK);
        assert_true(sum == 0.0f);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    assert_true((double)first > exact * 0.9999 && (double)first < exact * 1.0001);
}

/* ---- what goes wrong ---- */

static pel_status fail_at_seven(const pel_range *part, void *context) {
    (void)context;
    return part->lo[0] <= 7 && 7 < part->hi[0] ? PEL_IO : PEL_OK;
}

static pel_status reduce_fails(const pel_range *part, void *partial, void *context) {
    (void)partial;
    return fail_at_seven(part, context);
}

static void test_failures_and_wrong_arguments(void **state) {
    (void)state;
    pel_runtime *runtime = machine_host(2);
    pel_range range = PEL_RANGE_1D(1000), huge = {2, 0, {0, 0}, {UINT64_MAX, 2}}, empty = {2, 0, {3, 0}, {3, UINT64_MAX}},
              backwards = {1, 0, {5}, {4}};
    pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
    float zero = 0, sum = 5;
    for (int i = 0; i < 3; i++) {
        desc.partition = (pel_partition)i;
        assert_int_equal(pel_parallel_for(runtime, &range, fail_at_seven, NULL, &desc), PEL_IO);
    }
    assert_int_equal(pel_parallel_reduce(runtime, &range, reduce_fails, add, sizeof sum, &zero, &sum, NULL, NULL), PEL_IO);
    assert_true(sum == 5.0f);
    assert_int_equal(pel_parallel_for(runtime, &empty, fail_at_seven, NULL, NULL), PEL_OK);
    assert_int_equal(pel_parallel_for(runtime, &huge, fail_at_seven, NULL, NULL), PEL_TOO_LARGE);
    assert_int_equal(pel_parallel_for(runtime, &backwards, fail_at_seven, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_parallel_for(NULL, &range, fail_at_seven, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_parallel_for(runtime, NULL, fail_at_seven, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_parallel_for(runtime, &range, NULL, NULL, NULL), PEL_INVALID_ARGUMENT);
    desc.partition = (pel_partition)3;
    assert_int_equal(pel_parallel_for(runtime, &range, fail_at_seven, NULL, &desc), PEL_INVALID_ARGUMENT);
    desc = (pel_parallel_desc){.size = 1};
    assert_int_equal(pel_parallel_for(runtime, &range, fail_at_seven, NULL, &desc), PEL_INVALID_ARGUMENT);
    range.dims = 4;
    assert_int_equal(pel_parallel_for(runtime, &range, fail_at_seven, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* ---- waiting inside of a body ---- */

typedef struct waiting {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_event *open, *over;  /* an event that ends after the loop; one that is complete */
    atomic_uint bodies, odd; /* parts, and what was not as it should be */
    atomic_int child_ran;
} waiting;

static pel_status waits_in_a_body(const pel_range *part, void *context) {
    waiting *w = context;
    unsigned odd = 0;
    odd += pel_event_wait(w->open) != PEL_WOULD_DEADLOCK;
    odd += pel_event_wait(w->over) != PEL_OK;
    odd += pel_queue_finish(w->queue) != PEL_WOULD_DEADLOCK;
    odd += pel_queue_reset(w->queue) != PEL_WOULD_DEADLOCK;
    odd += pel_queue_destroy(w->queue) != PEL_WOULD_DEADLOCK;
    atomic_fetch_add(&w->odd, odd);
    atomic_fetch_add(&w->bodies, (unsigned)(part->hi[0] - part->lo[0]));
    return PEL_OK;
}

static pel_status loop_with_waits(void *context) {
    waiting *w = context;
    const pel_range range = PEL_RANGE_1D(40);
    for (uint32_t partition = 0; partition < 3; partition++) {
        pel_parallel_desc desc = PEL_PARALLEL_DESC_INIT;
        desc.partition = (pel_partition)partition;
        if (pel_parallel_for(w->runtime, &range, waits_in_a_body, w, &desc) != PEL_OK) {
            return PEL_INTERNAL;
        }
    }
    return PEL_OK;
}

static pel_status mark(void *context) {
    atomic_store((atomic_int *)context, 1);
    return PEL_OK;
}

/* After the loop a task may wait again. */
static pel_status task_with_waits(void *context) {
    waiting *w = context;
    pel_event *child = NULL;
    pel_status status = loop_with_waits(w);
    if (status == PEL_OK && (status = pel_task(w->queue, mark, &w->child_ran, NULL, 0, NULL, &child)) == PEL_OK) {
        status = pel_event_wait(child);
        pel_event_release(child);
    }
    return status;
}

static pel_status loop_of_a_queue(uint64_t begin, uint64_t end, void *context) {
    return begin < end ? loop_with_waits(context) : PEL_OK;
}

/* Refused on every thread: whether a body waits must not depend on whose it is, and never ends in a deadlock. */
static void wait_in_bodies(pel_runtime *runtime) {
    waiting w = {.runtime = runtime};
    pel_event *task = NULL;
    const bool real = pel_runtime_get_workers(runtime) > 0;
    w.queue = machine_queue(runtime);
    assert_int_equal(pel_event_create_user(runtime, &w.open, NULL), PEL_OK);
    assert_int_equal(pel_event_create_user(runtime, &w.over, NULL), PEL_OK);
    assert_int_equal(pel_event_set_status(w.over, PEL_OK), PEL_OK);
    assert_int_equal(loop_with_waits(&w), PEL_OK);
    assert_int_equal(pel_task(w.queue, real ? task_with_waits : loop_with_waits, &w, NULL, 0, NULL, &task), PEL_OK);
    assert_int_equal(pel_event_wait(task), PEL_OK);
    pel_event_release(task);
    assert_int_equal(pel_loop(w.queue, 2, 1, loop_of_a_queue, &w, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    assert_int_equal(pel_event_set_status(w.open, PEL_OK), PEL_OK);
    assert_true(atomic_load(&w.bodies) >= 9 * 40);
    assert_int_equal(atomic_load(&w.odd), 0);
    assert_int_equal(atomic_load(&w.child_ran), real);
    pel_event_release(w.open), pel_event_release(w.over);
    assert_int_equal(pel_queue_destroy(w.queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

static void test_bodies_cannot_wait(void **state) {
    (void)state;
    for (uint32_t workers = 1; workers <= 3; workers++) {
        wait_in_bodies(machine_host(workers));
    }
    pel_simulated_device device = {.rate = 1, .start_ns = 100};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    strcpy(device.name, "near");
    simulation.devices = &device;
    simulation.device_count = 1;
    desc.simulation = &simulation;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    wait_in_bodies(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_point_once),
        cmocka_unit_test(test_many_short_regions),
        cmocka_unit_test(test_workers_come),
        cmocka_unit_test(test_nested_and_from_everywhere),
        cmocka_unit_test(test_reductions_have_the_same_bits),
        cmocka_unit_test(test_failures_and_wrong_arguments),
        cmocka_unit_test(test_bodies_cannot_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
