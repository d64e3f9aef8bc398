/* SPDX-License-Identifier: BSD-3-Clause */
/* How works follow each other: order, completion, numbers, threads, closing, times, tasks. */
#include "suite_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void test_works_without_a_launch(void **state) {
    suite *self = *state;
    area x = area_make(self, 4096);
    for (int i = 0; i < 3; i++) {
        job work;
        job_begin(&work, self, KERNEL_COUNT);
        if (i > 0) {
            work.in[work.work.in_count++] = (pel_transfer){.mem = x.mem, .bytes = 4096};
            work.out[work.work.out_count++] = (pel_transfer){.mem = x.mem, .offset = 1, .bytes = 4094};
        }
        memset(x.host, i, 4096);
        job_submit(&work);
        job_wait_ok(&work);
        for (int b = 0; b < 4096; b++) {
            assert_int_equal(x.host[b], i);
        }
        job_end(&work);
    }
    area_free(self, &x);
}

/* Makes `count` works x[i] = x[i] * 3 + k, k = first, first + 1, ... that carry x along; the caller frees them. */
static job *chain_make(suite *self, area *x, uint32_t *values, unsigned count, uint32_t first) {
    job *works = calloc(count, sizeof *works);
    assert_non_null(works);
    for (unsigned k = 0; k < count; k++) {
        values[k] = first + k;
        job_begin(&works[k], self, KERNEL_CHAIN);
        job_value(&works[k], &values[k], sizeof values[k]);
        job_area(&works[k], x, PEL_READ_WRITE);
        job_range(&works[k], x->bytes / 4);
    }
    return works;
}

static uint32_t chain_result(uint32_t start, uint32_t first, unsigned count) {
    for (unsigned k = 0; k < count; k++) {
        start = start * 3u + first + k;
    }
    return start;
}

static void check_chain(const area *x, uint32_t first, unsigned count) {
    const uint32_t *values = (const uint32_t *)(const void *)x->host;
    for (uint64_t i = 0; i < x->bytes / 4; i++) {
        assert_int_equal(values[i], chain_result(0, first, count));
    }
}

void test_order(void **state) {
    suite *self = *state;
    enum { COUNT = 200 };
    uint32_t values[COUNT];
    area x = area_make(self, 1000 * 4);
    job *works = chain_make(self, &x, values, COUNT, 1);
    for (int k = 0; k < COUNT; k++) {
        job_submit(&works[k]);
    }
    for (int k = 0; k < COUNT; k++) {
        job_wait_ok(&works[k]);
    }
    for (int k = 1; k < COUNT; k++) {
        assert_true(works[k].order > works[k - 1].order);
        assert_true(works[k].work.launch_began >= works[k - 1].work.launch_ended);
    }
    check_chain(&x, 1, COUNT);
    for (int k = 0; k < COUNT; k++) {
        job_end(&works[k]);
    }
    free(works);
    area_free(self, &x);
}

void test_many_works(void **state) {
    suite *self = *state;
    enum { COUNT = 3000 };
    uint32_t *values = calloc(COUNT, sizeof *values);
    assert_non_null(values);
    area x = area_make(self, 64 * 4);
    job *works = chain_make(self, &x, values, COUNT, 7);
    for (int k = 0; k < COUNT; k++) {
        job_submit(&works[k]);
    }
    for (int k = COUNT - 1; k >= 0; k--) {
        job_wait_ok(&works[k]);
        job_end(&works[k]);
    }
    check_chain(&x, 7, COUNT);
    free(works);
    free(values);
    area_free(self, &x);
}

void test_resubmission_inside_complete(void **state) {
    suite *self = *state;
    enum { ROUNDS = 300 };
    uint32_t zero = 1;
    area x = area_make(self, 64 * 4);
    job work;
    job_begin(&work, self, KERNEL_CHAIN);
    job_value(&work, &zero, sizeof zero);
    job_area(&work, &x, PEL_READ_WRITE);
    job_range(&work, 64);
    work.rounds = ROUNDS;
    job_submit(&work);
    job_wait_ok(&work);
    uint32_t expected = 0;
    for (int k = 0; k <= ROUNDS; k++) {
        expected = expected * 3u + 1u;
    }
    for (int i = 0; i < 64; i++) {
        assert_int_equal(((uint32_t *)(void *)x.host)[i], expected);
    }
    job_end(&work);
    area_free(self, &x);
}

enum { SUBMITTERS = 4, EACH = 100 };

static void *submit_all(void *argument) {
    job *works = argument;
    for (int k = 0; k < EACH; k++) {
        job_submit(&works[k]);
    }
    return NULL;
}

void test_concurrent_submitters(void **state) {
    suite *self = *state;
    if (suite_flag(self, PEL_FIXTURE_ONE_THREAD)) {
        skip();
    }
    area x[SUBMITTERS];
    job *works[SUBMITTERS];
    uint32_t values[SUBMITTERS][EACH];
    pthread_t threads[SUBMITTERS];
    for (uint32_t t = 0; t < SUBMITTERS; t++) {
        x[t] = area_make(self, 100 * 4);
        works[t] = chain_make(self, &x[t], values[t], EACH, t * 1000);
    }
    for (uint32_t t = 0; t < SUBMITTERS; t++) {
        assert_int_equal(pthread_create(&threads[t], NULL, submit_all, works[t]), 0);
    }
    for (uint32_t t = 0; t < SUBMITTERS; t++) {
        pthread_join(threads[t], NULL);
    }
    for (uint32_t t = 0; t < SUBMITTERS; t++) {
        for (int k = 0; k < EACH; k++) {
            job_wait_ok(&works[t][k]);
            job_end(&works[t][k]);
        }
        check_chain(&x[t], t * 1000, EACH);
        free(works[t]);
        area_free(self, &x[t]);
    }
}

void test_close_waits(void **state) {
    suite own;
    suite_open(&own, ((suite *)*state)->fixture);
    enum { COUNT = 30 };
    static uint32_t values[COUNT];
    area x = area_make(&own, 20000 * 4);
    job *works = chain_make(&own, &x, values, COUNT, 3);
    for (int k = 0; k < COUNT; k++) {
        job_submit(&works[k]);
    }
    /* Memory may not be destroyed while work uses it, and not after its device; so one more work, and the memory object last. */
    job slow;
    uint32_t rounds = 1000;
    area y = area_make(&own, 1000 * 4);
    job_begin(&slow, &own, KERNEL_SLOW);
    job_value(&slow, &rounds, sizeof rounds);
    job_area(&slow, &y, PEL_WRITE);
    job_range(&slow, 1000);
    job_submit(&slow);
    job_wait_ok(&slow);
    area_free(&own, &x);
    area_free(&own, &y);
    job_end(&slow);
    job pending[COUNT];
    for (int k = 0; k < COUNT; k++) { /* nothing but the close waits for these */
        job_begin(&pending[k], &own, KERNEL_COUNT);
        job_submit(&pending[k]);
    }
    suite_close(&own);
    for (int k = 0; k < COUNT; k++) {
        assert_int_equal(works[k].work.status, PEL_OK);
        job_end(&works[k]);
        assert_int_equal(pending[k].work.status, PEL_OK);
        job_end(&pending[k]);
    }
    free(works);
}

void test_open_and_close_again(void **state) {
    for (int i = 0; i < 5; i++) {
        suite own;
        suite_open(&own, ((suite *)*state)->fixture);
        suite_close(&own);
    }
}

void test_cold_and_times(void **state) {
    suite *self = *state;
    enum { N = 4096 };
    area y = area_make(self, N * 4);
    uint32_t rounds = 100;
    for (int i = 0; i < 4; i++) {
        job work;
        job_begin(&work, self, KERNEL_SLOW);
        job_value(&work, &rounds, sizeof rounds);
        job_area(&work, &y, PEL_WRITE);
        job_range(&work, N);
        const pel_clock *clock = self->fixture->env->clock;
        int64_t before = pel_clock_now(clock);
        job_submit(&work);
        job_wait_ok(&work);
        int64_t after = pel_clock_now(clock);
        assert_true(before <= work.work.began);
        assert_true(work.work.began <= work.work.launch_began);
        assert_true(work.work.launch_began <= work.work.launch_ended);
        assert_true(work.work.launch_ended <= work.work.ended);
        assert_true(work.work.ended <= after);
        if (i > 1 || !suite_flag(self, PEL_FIXTURE_COMPILES)) {
            assert_false(work.work.cold); /* nothing is left to compile */
        }
        job_end(&work);
    }
    area_free(self, &y);
}

typedef struct tally {
    atomic_uint calls;
    unsigned char *hits;
    pel_status result;
} tally;

static pel_status count_call(void *context) {
    tally *its = context;
    atomic_fetch_add(&its->calls, 1);
    return its->result;
}

static pel_status count_range(uint64_t begin, uint64_t end, void *context) {
    tally *its = context;
    atomic_fetch_add(&its->calls, 1);
    for (uint64_t i = begin; i < end; i++) {
        its->hits[i]++; /* a second visit, even a concurrent one, shows */
    }
    return its->result;
}

void test_tasks_and_loops(void **state) {
    suite *self = *state;
    if (!suite_flag(self, PEL_FIXTURE_TASKS)) {
        skip();
    }
    static const uint64_t counts[] = {0, 1, 2, 999, 10007}, grains[] = {0, 1, 10, 20000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
            tally its = {.hits = calloc(1, counts[i] + 1)};
            assert_non_null(its.hits);
            job work;
            job_begin(&work, self, KERNEL_COUNT);
            work.work.kind = PEL_WORK_LOOP;
            work.work.loop = count_range;
            work.work.context = &its;
            work.work.loop_count = counts[i];
            work.work.loop_grain = grains[g];
            job_submit(&work);
            job_wait_ok(&work);
            for (uint64_t k = 0; k < counts[i]; k++) {
                assert_int_equal(its.hits[k], 1);
            }
            assert_true(atomic_load(&its.calls) <= (grains[g] > 0 ? counts[i] / grains[g] + 1 : counts[i]));
            job_end(&work);
            free(its.hits);
        }
    }
    for (int result = 0; result < 2; result++) {
        tally its = {.result = result ? PEL_IO : PEL_OK};
        job work;
        job_begin(&work, self, KERNEL_COUNT);
        work.work.kind = PEL_WORK_TASK;
        work.work.task = count_call;
        work.work.context = &its;
        job_submit(&work);
        job_wait(&work);
        assert_int_equal(atomic_load(&its.calls), 1);
        assert_int_equal(work.work.status, result ? PEL_TASK_FAILED : PEL_OK);
        assert_int_equal(pel_error_status(work.work.error), result ? PEL_TASK_FAILED : PEL_OK);
        job_end(&work);
    }
}

/* A thread that waits may run what is queued; with it or without it, everything completes once. */
void test_help(void **state) {
    suite *self = *state;
    const pel_backend *backend = self->fixture->backend;
    if (backend->help == NULL) {
        skip();
    }
    enum { COUNT = 200 };
    uint32_t values[COUNT];
    area x = area_make(self, 64 * 4);
    job *works = chain_make(self, &x, values, COUNT, 5);
    for (int k = 0; k < COUNT; k++) {
        job_submit(&works[k]);
        if (k % 3 == 0) {
            while (backend->help(self->device)) {
            }
        }
    }
    for (int k = 0; k < COUNT; k++) {
        job_wait_ok(&works[k]);
    }
    assert_false(backend->help(self->device));
    check_chain(&x, 5, COUNT);
    for (int k = 0; k < COUNT; k++) {
        job_end(&works[k]);
    }
    free(works);
    area_free(self, &x);
}
