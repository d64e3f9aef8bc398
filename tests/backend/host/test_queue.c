/* SPDX-License-Identifier: BSD-3-Clause */
/* The order of tasks against a plain model: highest priority first, then the order of submission; jobs first in, first out. */
#include "backend/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKS = 400, STEPS = 200000 };

static uint32_t next_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Which of the waiting works the model takes next; NULL: none of that kind. */
static pel_work *expected(pel_work *works, const bool *waiting, bool task) {
    pel_work *best = NULL;
    for (int i = 0; i < WORKS; i++) {
        pel_work *one = &works[i];
        if (!waiting[i] || (one->kind == PEL_WORK_TASK) != task) {
            continue;
        }
        bool earlier = best == NULL || one->sequence < best->sequence;
        if (best == NULL || (task && one->priority > best->priority) || ((!task || one->priority == best->priority) && earlier)) {
            best = one;
        }
    }
    return best;
}

static void test_against_model(void **state) {
    (void)state;
    uint32_t seed = 20261122;
    print_message("seed %u\n", seed);
    pel_work *works = calloc(WORKS, sizeof *works);
    assert_non_null(works);
    bool waiting[WORKS] = {false};
    pel_host_queue queue = {0};
    for (int step = 0; step < STEPS; step++) {
        uint32_t r = next_random(&seed), bias = (uint32_t)step / 1000 % 2 ? 3 : 1; /* the queue fills and drains in turn */
        uint32_t i = next_random(&seed) % WORKS;
        if (r % 4 < bias && !waiting[i]) {
            works[i] =
                (pel_work){.kind = r & 256 ? PEL_WORK_TASK : PEL_WORK_LAUNCH, .priority = (int32_t)(next_random(&seed) % 5) - 2};
            pel_host_queue_push(&queue, &works[i]);
            waiting[i] = true;
            continue;
        }
        bool task = r & 512;
        pel_work *wanted = expected(works, waiting, task);
        assert_ptr_equal(task ? pel_host_queue_pop_task(&queue) : pel_host_queue_pop_job(&queue), wanted);
        if (wanted != NULL) {
            waiting[wanted - works] = false;
        }
    }
    size_t jobs = 0, tasks = 0;
    for (int i = 0; i < WORKS; i++) {
        jobs += waiting[i] && works[i].kind != PEL_WORK_TASK;
        tasks += waiting[i] && works[i].kind == PEL_WORK_TASK;
    }
    assert_int_equal(queue.jobs, jobs);
    assert_int_equal(queue.tasks, tasks);
    free(works);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
