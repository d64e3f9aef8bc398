/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers that come and go while work flows, and spinning as a setting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host/host.h"
#include "core/runtime.h"
#include <pel/pel.h>

enum { WORKERS = 4, TASKS = 400 };

static char warning[256]; /* the last one */

static void keep_warning(void *user, pel_log_level level, const char *message) {
    (void)user, (void)level;
    (void)snprintf(warning, sizeof warning, "%s", message);
}

static pel_runtime *open_runtime(int32_t spin_us) {
    pel_runtime *runtime = NULL;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = WORKERS;
    desc.spin_us = spin_us;
    desc.log = keep_warning;
    desc.log_level = PEL_LOG_WARNING;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    return runtime;
}

static pthread_t caller;
static _Atomic(uintptr_t) seen[WORKERS + 1];

static pel_status note(void *context) {
    const uintptr_t me = (uintptr_t)pthread_self();
    atomic_fetch_add((atomic_int *)context, 1);
    for (int i = 0; i <= WORKERS && !pthread_equal(caller, pthread_self()); i++) {
        uintptr_t there = 0;
        if (atomic_compare_exchange_strong(&seen[i], &there, me) || there == me) {
            break;
        }
    }
    return PEL_OK;
}

static pel_status piece(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add((atomic_int *)context, (int)(end - begin));
    return PEL_OK;
}

static void flow(pel_queue *queue, atomic_int *count) {
    pel_task_desc named = PEL_TASK_DESC_INIT;
    named.name = "named";
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(pel_task(queue, note, count, NULL, 0, i % 10 == 0 ? &named : NULL, NULL), PEL_OK);
    }
    assert_int_equal(pel_loop(queue, TASKS, 1, piece, count, NULL, 0, NULL, NULL), PEL_OK);
}

static void await_parked(pel_runtime *runtime, uint32_t wanted) {
    pel_host_device *device = (pel_host_device *)runtime->task_device->driver;
    for (uint32_t parked = UINT32_MAX; parked != wanted;) {
        pthread_mutex_lock(&device->lock);
        parked = device->parked;
        pthread_mutex_unlock(&device->lock);
        sched_yield();
    }
}

static void test_only_the_wanted_ones_work(void **state) {
    (void)state;
    pel_runtime *runtime = open_runtime(0);
    pel_queue *queue = NULL;
    caller = pthread_self();
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_runtime_get_workers(runtime), WORKERS);
    for (uint32_t wanted = 1; wanted <= WORKERS; wanted++) {
        atomic_int count = 0;
        assert_int_equal(pel_runtime_set_workers(runtime, wanted), PEL_OK);
        assert_int_equal(pel_runtime_get_workers(runtime), wanted);
        await_parked(runtime, ((pel_host_device *)runtime->task_device->driver)->worker_count - wanted);
        memset(seen, 0, sizeof seen);
        flow(queue, &count);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&count), 2 * TASKS);
        int threads = 0;
        for (int i = 0; i <= WORKERS; i++) {
            threads += atomic_load(&seen[i]) != 0;
        }
        assert_true(threads <= (int)wanted);
    }
    assert_int_equal(pel_runtime_set_workers(runtime, 0), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_set_workers(runtime, ((pel_host_device *)runtime->task_device->driver)->worker_count + 1),
                     PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_set_workers(NULL, 1), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_set_workers(runtime, 1), PEL_OK); /* destroyed with parked ones */
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* A machine of six cores (this one may have fewer) and a runtime that begins with one or two workers. */
static void test_growing(void **state) {
    (void)state;
    hwloc_topology_t cores;
    assert_int_equal(hwloc_topology_init(&cores), 0);
    assert_int_equal(hwloc_topology_set_synthetic(cores, "numa:2 core:3 pu:1"), 0);
    assert_int_equal(hwloc_topology_load(cores), 0);
    for (uint32_t begin = 1; begin <= 2; begin++) {
        pel_runtime *runtime = NULL;
        pel_queue *queue = NULL;
        atomic_int count = 0;
        pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
        desc.devices = "host";
        desc.host_workers = begin;
        desc.hwloc_topology = cores;
        assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
        assert_int_equal(pel_runtime_get_workers(runtime), begin);
        assert_int_equal(pel_runtime_set_workers(runtime, 7), PEL_INVALID_ARGUMENT);
        assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
        for (int i = 0; i < 40; i++) {
            flow(queue, &count);
            assert_int_equal(pel_runtime_set_workers(runtime, 1 + (uint32_t)(i * 5) % 6), PEL_OK);
            while (i % 4 == 0 && atomic_load(&count) < 2 * TASKS * (i + 1)) { /* without helping */
                sched_yield();
            }
            if (i % 3 == 0) {
                assert_int_equal(pel_queue_finish(queue), PEL_OK);
            }
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&count), 2 * TASKS * 40);
        assert_int_equal(pel_runtime_set_workers(runtime, 6), PEL_OK);
        assert_int_equal(pel_runtime_get_workers(runtime), 6);
        await_parked(runtime, 0);
        assert_int_equal(pel_queue_destroy(queue), PEL_OK);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
    hwloc_topology_destroy(cores);
}

/* Nothing is lost with whoever goes. The loops and tasks are waited for by sleeping on an event now and then, so that workers
 * must do them. */
static void test_coming_and_going(void **state) {
    (void)state;
    for (int32_t spin = -1; spin <= 1; spin++) {
        pel_runtime *runtime = open_runtime(spin);
        pel_queue *queue = NULL;
        atomic_int count = 0;
        uint64_t random = 1;
        assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
        for (int i = 0; i < 150; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            flow(queue, &count);
            assert_int_equal(pel_runtime_set_workers(runtime, 1 + (uint32_t)(random >> 33) % WORKERS), PEL_OK);
            if (random >> 40 & 1) {
                assert_int_equal(pel_queue_finish(queue), PEL_OK);
            }
            while ((random >> 41 & 3) == 0 && atomic_load(&count) < 2 * TASKS * (i + 1)) { /* without helping */
                sched_yield();
            }
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&count), 2 * TASKS * 150);
        assert_int_equal(pel_queue_destroy(queue), PEL_OK);
        assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    }
}

/* The only worker is held until others have run everything else, so lent threads must have. */
typedef struct lent {
    pel_runtime *runtime;
    atomic_int ran, pieces, stop;
    pel_status status[2];
    atomic_int next;
} lent;

static lent lending;

static pel_status hold(void *context) {
    (void)context;
    while (atomic_load(&lending.ran) < TASKS) {
        sched_yield();
    }
    return PEL_OK;
}

static bool shall_stop(void *user) { return atomic_load((atomic_int *)user) != 0; }

static void *lend_main(void *unused) {
    (void)unused;
    const int me = atomic_fetch_add(&lending.next, 1);
    lending.status[me] = pel_worker_run(lending.runtime, shall_stop, &lending.stop);
    return NULL;
}

static void test_lent_threads(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_queue *queue = NULL;
    pthread_t threads[2];
    desc.devices = "host";
    desc.host_workers = 1;
    memset(&lending, 0, sizeof lending);
    caller = pthread_self();
    assert_int_equal(pel_runtime_create(&desc, &lending.runtime, NULL), PEL_OK);
    assert_int_equal(pel_worker_run(lending.runtime, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_create(lending.runtime, NULL, &queue, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, hold, NULL, NULL, 0, NULL, NULL), PEL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, lend_main, NULL), 0);
    }
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(pel_task(queue, note, &lending.ran, NULL, 0, NULL, NULL), PEL_OK);
    }
    while (atomic_load(&lending.ran) < TASKS) { /* without helping */
        sched_yield();
    }
    assert_int_equal(pel_loop(queue, TASKS, 1, piece, &lending.pieces, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&lending.pieces), TASKS);
    atomic_store(&lending.stop, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (int i = 0; i < 2; i++) { /* numbered in the order in which they began, not in that of their making */
        assert_int_equal(lending.status[i], PEL_OK);
    }
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(lending.runtime), PEL_OK);
}

static int64_t spin_with(const char *text, int32_t us) {
    if (text) {
        setenv("PEL_SPIN", text, 1);
    } else {
        unsetenv("PEL_SPIN");
    }
    warning[0] = '\0';
    pel_runtime *runtime = open_runtime(us);
    const int64_t ns = runtime->env.spin_ns;
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
    unsetenv("PEL_SPIN");
    return ns;
}

static void test_spin(void **state) {
    (void)state;
    assert_int_equal(spin_with(NULL, 0), 50000);
    assert_int_equal(spin_with(NULL, 7), 7000);
    assert_int_equal(spin_with(NULL, -1), 0);
    assert_int_equal(spin_with("20", 0), 20000);
    assert_int_equal(spin_with("0", 0), 0);
    assert_int_equal(spin_with("20", 7), 7000);
    assert_int_equal(spin_with("1000000", 0), 1000000000);
    assert_int_equal(spin_with("-99999999999999999999", 0), 0);
    assert_int_equal(spin_with(NULL, INT32_MAX), 1000000000);
    assert_int_equal(spin_with("", 0), 50000);
    assert_string_equal(warning, "");
    static const char *const wrong[] = {"much", " ", "20us", "1.5", "1000001", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(spin_with(wrong[i], 0), 50000);
        assert_non_null(strstr(warning, "PEL_SPIN"));
        assert_non_null(strstr(warning, wrong[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_wanted_ones_work),
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_coming_and_going),
        cmocka_unit_test(test_lent_threads),
        cmocka_unit_test(test_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
