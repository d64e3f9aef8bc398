/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings and prefetches: what moves for them (counted, on simulated devices with memory of their own), who waits for whom, what
 * a stale mapping can still do, and many threads that map parts of one buffer at once.
 */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 1000, BYTES = N * (int)sizeof(int) };

static const pel_param double_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                          PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};

typedef struct world {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    pel_share on_gpu;
} world;

static world begin(void) {
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10), machine_device("cpu", 1, 0)};
    world w = {.runtime = machine_create(devices, 2, NULL)};
    w.queue = machine_queue(w.runtime);
    w.kernel = machine_kernel(w.runtime, "doubled", double_params, 2, machine_double, 0);
    assert_int_equal(pel_buffer_create(w.runtime, BYTES, &w.x, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(w.runtime, BYTES, &w.y, NULL), PEL_OK);
    w.on_gpu = (pel_share){pel_runtime_find_device(w.runtime, "sim:gpu"), 1};
    return w;
}

static void end(world *w) {
    pel_kernel_destroy(w->kernel);
    assert_int_equal(pel_queue_destroy(w->queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(w->x), PEL_OK);
    assert_int_equal(pel_buffer_destroy(w->y), PEL_OK);
    assert_int_equal(pel_runtime_destroy(w->runtime), PEL_OK);
}

/* y = 2 * x on the device. */
static pel_event *launch(world *w) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    pel_arg args[] = {pel_buf(w->x), pel_buf(w->y)};
    desc.global[0] = N;
    desc.shares = &w->on_gpu;
    desc.share_count = 1;
    assert_int_equal(pel_launch(w->queue, w->kernel, &desc, args, 2, &event), PEL_OK);
    return event;
}

static void launch_and_forget(world *w) { pel_event_release(launch(w)); }

static pel_mapping *map(world *w, pel_buffer *buffer, uint64_t first, uint64_t count, uint32_t flags) {
    pel_mapping *mapping = NULL;
    assert_int_equal(pel_map(w->queue, buffer, first * sizeof(int), count * sizeof(int), flags, NULL, &mapping), PEL_OK);
    return mapping;
}

static int *open_now(pel_mapping *mapping) {
    void *memory = NULL;
    assert_int_equal(pel_map_wait(mapping, &memory), PEL_OK);
    assert_non_null(memory);
    return memory;
}

static void close_now(pel_mapping *mapping) {
    assert_int_equal(pel_unmap(mapping), PEL_OK);
    pel_mapping_destroy(mapping);
}

static uint64_t fetched(const pel_buffer *buffer) {
    pel_buffer_counters counters;
    pel_buffer_get_counters(buffer, &counters);
    return counters.to_host;
}

static uint64_t sent(const pel_buffer *buffer) {
    pel_buffer_counters counters;
    pel_buffer_get_counters(buffer, &counters);
    return counters.to_devices;
}

static void test_only_what_is_missing_is_fetched(void **state) {
    (void)state;
    world w = begin();
    pel_mapping *m = map(&w, w.x, 0, N, PEL_MAP_WRITE | PEL_MAP_DISCARD);
    int *data = open_now(m);
    assert_ptr_equal(data, pel_buffer_data(w.x));
    for (int i = 0; i < N; i++) {
        data[i] = i;
    }
    close_now(m);
    launch_and_forget(&w);
    m = map(&w, w.y, 100, 50, PEL_MAP_READ);
    data = open_now(m);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(data[i], 2 * (100 + i));
    }
    close_now(m);
    assert_int_equal(fetched(w.y), 50 * sizeof(int));
    m = map(&w, w.y, 120, 50, PEL_MAP_READ); /* 30 of them are there */
    assert_int_equal(open_now(m)[49], 2 * 169);
    close_now(m);
    assert_int_equal(fetched(w.y), 70 * sizeof(int));
    m = map(&w, w.y, 200, 10, PEL_MAP_WRITE); /* what is not written must stay */
    data = open_now(m);
    data[3] = -1;
    close_now(m);
    assert_int_equal(fetched(w.y), 80 * sizeof(int));
    m = map(&w, w.y, 300, 100, PEL_MAP_WRITE | PEL_MAP_DISCARD);
    data = open_now(m);
    memset(data, 0, 100 * sizeof(int));
    close_now(m);
    assert_int_equal(fetched(w.y), 80 * sizeof(int));
    assert_int_equal(pel_buffer_sync(w.y), PEL_OK);
    data = pel_buffer_data(w.y);
    for (int i = 0; i < N; i++) {
        assert_int_equal(data[i], i == 203 ? -1 : i >= 300 && i < 400 ? 0 : 2 * i);
    }
    assert_int_equal(fetched(w.y), (N - 100) * sizeof(int));
    end(&w);
}

static void test_what_was_written_reaches_the_device_and_nothing_else(void **state) {
    (void)state;
    world w = begin();
    launch_and_forget(&w);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    uint64_t before = sent(w.x);
    pel_mapping *m = map(&w, w.x, 10, 5, PEL_MAP_READ | PEL_MAP_WRITE);
    open_now(m)[2] = 21;
    close_now(m);
    launch_and_forget(&w);
    m = map(&w, w.y, 12, 1, PEL_MAP_READ);
    assert_int_equal(open_now(m)[0], 42);
    close_now(m);
    assert_int_equal(sent(w.x) - before, 5 * sizeof(int));
    end(&w);
}

static void test_who_conflicts_waits_for_the_unmap(void **state) {
    (void)state;
    world w = begin();
    pel_mapping *m = map(&w, w.x, 0, N, PEL_MAP_WRITE | PEL_MAP_DISCARD);
    int *data = open_now(m);
    pel_event *event = launch(&w);
    assert_int_equal(pel_event_status(event), PEL_BUSY);
    for (int i = 0; i < N; i++) { /* after the launch was submitted, and still before it */
        data[i] = 7;
    }
    assert_int_equal(pel_unmap(m), PEL_OK);
    pel_mapping_destroy(m);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_release(event);
    m = map(&w, w.x, 0, N, PEL_MAP_READ); /* who only reads does not wait */
    assert_int_equal(open_now(m)[0], 7);
    event = launch(&w);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_release(event);
    close_now(m);
    m = map(&w, w.y, N - 1, 1, PEL_MAP_READ);
    assert_int_equal(open_now(m)[0], 14);
    close_now(m);
    end(&w);
}

static pel_status do_nothing(void *context) {
    (void)context;
    return PEL_OK;
}

static void test_nobody_waits_for_himself(void **state) {
    (void)state;
    world w = begin();
    pel_mapping *m = map(&w, w.x, 0, 10, PEL_MAP_WRITE), *second = NULL, *other = NULL;
    pel_queue *elsewhere = machine_queue(w.runtime);
    pel_access reads_x = PEL_ACCESS(w.x, 0, 0, PEL_READ);
    pel_event *after = NULL, *marker = NULL, *task = NULL, *independent = NULL;
    pel_task_desc follows = PEL_TASK_DESC_INIT;
    void *memory;
    open_now(m);
    pel_event *event = launch(&w);
    follows.waits = (const pel_event *const *)&event;
    follows.wait_count = 1;
    assert_int_equal(pel_task(elsewhere, do_nothing, NULL, NULL, 0, &follows, &after), PEL_OK); /* through the launch */
    assert_int_equal(pel_task(elsewhere, do_nothing, NULL, &reads_x, 1, NULL, &task), PEL_OK);
    assert_int_equal(pel_task(elsewhere, do_nothing, NULL, NULL, 0, NULL, &independent), PEL_OK);
    assert_int_equal(pel_marker(w.queue, NULL, &marker), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_event_wait(after), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_event_wait(task), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_event_wait(marker), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_event_wait(independent), PEL_OK);
    assert_int_equal(pel_queue_finish(w.queue), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_queue_finish(elsewhere), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_queue_destroy(w.queue), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_queue_reset(w.queue), PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_buffer_sync(w.x), PEL_WOULD_DEADLOCK);
    second = map(&w, w.x, 5, 10, PEL_MAP_READ);
    assert_int_equal(pel_map_wait(second, &memory), PEL_WOULD_DEADLOCK);
    other = map(&w, w.x, 500, 10, PEL_MAP_READ); /* elsewhere in the buffer */
    open_now(other);
    assert_int_equal(pel_unmap(m), PEL_OK);
    assert_int_equal(pel_map_wait(second, &memory), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    assert_int_equal(pel_event_wait(task), PEL_OK);
    pel_mapping_destroy(second); /* unmaps */
    pel_mapping_destroy(other);
    pel_mapping_destroy(m);
    assert_int_equal(pel_event_wait(marker), PEL_OK);
    assert_int_equal(pel_event_wait(after), PEL_OK);
    assert_int_equal(pel_queue_destroy(elsewhere), PEL_OK);
    pel_event *all[] = {event, after, marker, task, independent};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pel_event_release(all[i]);
    }
    end(&w);
}

static void test_a_full_queue_takes_more_from_who_has_a_mapping(void **state) {
    (void)state;
    world w = begin();
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    pel_queue *small = NULL;
    pel_mapping *m = NULL;
    pel_access writes_x = PEL_ACCESS(w.x, 0, 0, PEL_WRITE);
    desc.max_in_flight = 2;
    assert_int_equal(pel_queue_create(w.runtime, &desc, &small, NULL), PEL_OK);
    assert_int_equal(pel_map(small, w.x, 0, 0, PEL_MAP_READ, NULL, &m), PEL_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pel_task(small, do_nothing, NULL, &writes_x, 1, NULL, NULL), PEL_OK);
    }
    close_now(m);
    assert_int_equal(pel_queue_destroy(small), PEL_OK);
    end(&w);
}

static void test_a_stale_mapping_is_refused(void **state) {
    (void)state;
    world w = begin();
    void *memory = &w;
    pel_mapping *m = map(&w, w.x, 0, N, PEL_MAP_WRITE);
    open_now(m);
    assert_int_equal(pel_unmap(m), PEL_OK);
    assert_int_equal(pel_unmap(m), PEL_CONFLICT);
    assert_int_equal(pel_map_wait(m, &memory), PEL_CONFLICT);
    assert_null(memory);
    pel_mapping_destroy(m);
    /* Unmapped before it was there: the launch before it goes on, and so does what follows. */
    launch_and_forget(&w);
    m = map(&w, w.y, 0, N, PEL_MAP_READ | PEL_MAP_WRITE);
    assert_int_equal(pel_unmap(m), PEL_OK);
    assert_int_equal(pel_unmap(m), PEL_CONFLICT);
    assert_int_equal(pel_map_wait(m, &memory), PEL_CONFLICT);
    launch_and_forget(&w);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    pel_mapping_destroy(m);
    /* The runtime stays as long as there is one. */
    m = map(&w, w.x, 0, 1, PEL_MAP_READ);
    assert_int_equal(pel_unmap(m), PEL_OK);
    assert_int_equal(pel_runtime_destroy(w.runtime), PEL_BUSY);
    pel_mapping_destroy(m);
    end(&w);
}

/* A child stores; how does it end? */
static int store_in_a_child(int *at) {
    int how = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile int *)at = 5;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how) == 0 ? 0 : SIGSEGV; /* sanitizers end with a code of theirs */
}

static void test_guarded_stores_fault_where_they_are_stale(void **state) {
    (void)state;
    world w = begin();
    pel_mapping *m = map(&w, w.x, 3, 10, PEL_MAP_WRITE | PEL_MAP_GUARD);
    int *data = open_now(m);
    assert_ptr_not_equal(data, (int *)pel_buffer_data(w.x) + 3);
    assert_int_equal(data[0], 0);
    data[0] = 9;
    assert_int_equal(((int *)pel_buffer_data(w.x))[3], 0);
    assert_int_equal(store_in_a_child(data), 0);
    assert_int_equal(pel_unmap(m), PEL_OK);
    assert_int_equal(((int *)pel_buffer_data(w.x))[3], 9);
    assert_int_equal(store_in_a_child(data), SIGSEGV);
    pel_mapping_destroy(m);
    m = map(&w, w.x, 3, 10, PEL_MAP_READ | PEL_MAP_GUARD);
    data = open_now(m);
    assert_int_equal(data[0], 9);
    assert_int_equal(store_in_a_child(data), SIGSEGV);
    close_now(m);
    end(&w);
}

static pel_status fail_it(void *context) {
    (void)context;
    return PEL_INTERNAL;
}

static void test_failures_reach_a_mapping_that_reads(void **state) {
    (void)state;
    world w = begin();
    pel_access writes_x = PEL_ACCESS(w.x, 0, 0, PEL_WRITE);
    void *memory;
    assert_int_equal(pel_task(w.queue, fail_it, NULL, &writes_x, 1, NULL, NULL), PEL_OK);
    pel_mapping *m = map(&w, w.x, 0, 10, PEL_MAP_READ);
    assert_int_equal(pel_map_wait(m, &memory), PEL_DEPENDENCY_FAILED);
    assert_null(memory);
    assert_int_equal(pel_unmap(m), PEL_CONFLICT);
    pel_mapping_destroy(m);
    m = map(&w, w.x, 0, N, PEL_MAP_WRITE | PEL_MAP_DISCARD); /* writes all anew */
    memset(open_now(m), 0, BYTES);
    close_now(m);
    m = map(&w, w.x, 0, 10, PEL_MAP_READ);
    open_now(m);
    close_now(m);
    assert_int_equal(pel_queue_reset(w.queue), PEL_OK);
    end(&w);
}

static void test_refusals(void **state) {
    (void)state;
    world w = begin();
    pel_mapping *m = (pel_mapping *)(void *)&w;
    pel_task_desc strange = PEL_TASK_DESC_INIT;
    pel_event *event = (pel_event *)(void *)&w;
    void *memory;
    strange.size = 3;
    assert_int_equal(pel_map(NULL, w.x, 0, 1, PEL_MAP_READ, NULL, &m), PEL_INVALID_ARGUMENT);
    assert_null(m);
    assert_int_equal(pel_map(w.queue, NULL, 0, 1, PEL_MAP_READ, NULL, &m), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, PEL_MAP_READ, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, 0, NULL, &m), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, PEL_MAP_DISCARD, NULL, &m), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, PEL_MAP_READ | PEL_MAP_WRITE | PEL_MAP_DISCARD, NULL, &m), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, PEL_MAP_READ | 1u << 20, NULL, &m), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, PEL_MAP_READ, &strange, &m), PEL_INVALID_ARGUMENT);
    strange = (pel_task_desc)PEL_TASK_DESC_INIT;
    strange.reserved = 1;
    assert_int_equal(pel_map(w.queue, w.x, 0, 1, PEL_MAP_READ, &strange, &m), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_map(w.queue, w.x, BYTES, 0, PEL_MAP_READ, NULL, &m), PEL_TOO_LARGE);
    assert_int_equal(pel_map(w.queue, w.x, 1, BYTES, PEL_MAP_READ, NULL, &m), PEL_TOO_LARGE);
    assert_int_equal(pel_map(w.queue, w.x, UINT64_MAX, UINT64_MAX, PEL_MAP_READ, NULL, &m), PEL_TOO_LARGE);
    assert_int_equal(pel_map_wait(NULL, &memory), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_unmap(NULL), PEL_INVALID_ARGUMENT);
    pel_mapping_destroy(NULL);
    assert_int_equal(pel_prefetch(NULL, w.x, 0, 0, w.on_gpu.device, NULL, &event), PEL_INVALID_ARGUMENT);
    assert_null(event);
    assert_int_equal(pel_prefetch(w.queue, w.x, 0, 0, NULL, NULL, &event), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_prefetch(w.queue, w.x, BYTES, 0, w.on_gpu.device, NULL, &event), PEL_TOO_LARGE);
    pel_error *error = pel_queue_error(w.queue);
    assert_non_null(strstr(pel_error_message(error), "prefetch"));
    pel_error_destroy(error);
    end(&w);
}

static void test_prefetched_bytes_are_there(void **state) {
    (void)state;
    world w = begin();
    pel_event *event = NULL;
    pel_buffer_counters counters;
    assert_int_equal(pel_prefetch(w.queue, w.x, 0, BYTES / 2, w.on_gpu.device, NULL, &event), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_release(event);
    assert_int_equal(sent(w.x), BYTES / 2);
    assert_int_equal(pel_prefetch(w.queue, w.x, 0, BYTES / 2, w.on_gpu.device, NULL, NULL), PEL_OK); /* nothing to do */
    launch_and_forget(&w);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    pel_buffer_get_counters(w.x, &counters);
    assert_int_equal(counters.to_devices, BYTES);
    assert_int_equal(counters.used_in_place, BYTES);
    /* Where the device computes in host memory, a prefetch brings home. */
    assert_int_equal(pel_prefetch(w.queue, w.y, 0, 0, pel_runtime_find_device(w.runtime, "sim:cpu"), NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(w.queue), PEL_OK);
    assert_int_equal(fetched(w.y), BYTES);
    assert_int_equal(pel_buffer_sync(w.y), PEL_OK);
    assert_int_equal(fetched(w.y), BYTES);
    end(&w);
}

static void test_a_prefetch_without_room_is_only_a_hint(void **state) {
    (void)state;
    pel_simulated_device devices[] = {machine_device("gpu", 1, 10)};
    devices[0].memory_bytes = BYTES;
    pel_runtime *runtime = machine_create(devices, 1, NULL);
    pel_queue *queue = machine_queue(runtime);
    pel_buffer *large = NULL;
    assert_int_equal(pel_buffer_create(runtime, 2 * BYTES, &large, NULL), PEL_OK);
    assert_int_equal(pel_prefetch(queue, large, 0, 0, pel_runtime_find_device(runtime, "sim:gpu"), NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(sent(large), 0);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(large), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* ---- many threads ---- */

enum { THREADS = 4, TURNS = 300, CELLS = 8 };

typedef struct worker {
    pel_queue *queue;
    pel_buffer *buffer;
    uint64_t random;
    uint64_t added[CELLS];
    bool well;
} worker;

static uint64_t draw(uint64_t *random) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

typedef struct addition {
    uint64_t *cell;
} addition;

static pel_status add_one(void *context) {
    ++*((addition *)context)->cell;
    return PEL_OK;
}

static bool add_by_mapping(worker *w, uint64_t first, uint64_t count, uint32_t flags) {
    pel_mapping *m = NULL;
    void *memory = NULL;
    if (pel_map(w->queue, w->buffer, first * sizeof(uint64_t), count * sizeof(uint64_t), flags, NULL, &m) != PEL_OK ||
        pel_map_wait(m, &memory) != PEL_OK) {
        return false;
    }
    uint64_t *cells = memory, sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        if ((flags & PEL_MAP_WRITE) != 0) {
            cells[i]++;
            w->added[first + i]++;
        }
        sum += cells[i];
    }
    bool well = sum < UINT64_MAX && pel_unmap(m) == PEL_OK;
    pel_mapping_destroy(m);
    return well;
}

static void *work(void *argument) {
    worker *w = argument;
    static _Thread_local addition additions[TURNS];
    uint64_t *cells = pel_buffer_data(w->buffer);
    w->well = true;
    for (int turn = 0; turn < TURNS && w->well; turn++) {
        uint64_t first = draw(&w->random) % CELLS, count = 1 + draw(&w->random) % (CELLS - first), kind = draw(&w->random) % 4;
        if (kind == 0) {
            pel_access access = PEL_ACCESS(w->buffer, first * sizeof(uint64_t), sizeof(uint64_t), PEL_READ_WRITE);
            additions[turn].cell = cells + first;
            w->well = pel_task(w->queue, add_one, &additions[turn], &access, 1, NULL, NULL) == PEL_OK;
            w->added[first]++;
        } else {
            static const uint32_t flags[] = {PEL_MAP_READ, PEL_MAP_READ | PEL_MAP_WRITE, PEL_MAP_WRITE | PEL_MAP_GUARD};
            w->well = add_by_mapping(w, first, count, flags[kind - 1]);
        }
    }
    w->well = pel_queue_finish(w->queue) == PEL_OK && w->well; /* contexts are this thread's */
    return NULL;
}

static void test_many_threads(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    pel_buffer *buffer = NULL;
    pthread_t threads[THREADS];
    static worker workers[THREADS];
    desc.devices = "host";
    desc.host_workers = 2;
    desc.flags = PEL_RUNTIME_NO_CACHE;
    assert_int_equal(pel_runtime_create(&desc, &runtime, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, CELLS * sizeof(uint64_t), &buffer, NULL), PEL_OK);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.buffer = buffer, .random = (uint64_t)i + 1};
        workers[i].queue = machine_queue(runtime);
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    uint64_t expected[CELLS] = {0};
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(workers[i].well);
        assert_int_equal(pel_queue_destroy(workers[i].queue), PEL_OK);
        for (int c = 0; c < CELLS; c++) {
            expected[c] += workers[i].added[c];
        }
    }
    assert_memory_equal(pel_buffer_data(buffer), expected, sizeof expected);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* ---- orders of two threads ---- */

enum { AHEAD = 20000 };

typedef struct elder {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_buffer *buffer;
    pthread_barrier_t *mapped;
} elder;

/* What this thread submits has higher orders than what the other one submits later. It unmaps when the other one is likely to
 * wait. */
static void *map_with_high_order(void *user) {
    const elder *e = user;
    pel_queue *own = NULL;
    pel_mapping *mapping = NULL;
    void *memory = NULL;
    bool fine = pel_queue_create(e->runtime, NULL, &own, NULL) == PEL_OK;
    for (int i = 0; i < AHEAD && fine; i++) {
        fine = pel_task(own, do_nothing, NULL, NULL, 0, NULL, NULL) == PEL_OK;
    }
    fine = fine && pel_queue_destroy(own) == PEL_OK &&
           pel_map(e->queue, e->buffer, 0, 64, PEL_MAP_READ, NULL, &mapping) == PEL_OK &&
           pel_map_wait(mapping, &memory) == PEL_OK;
    pthread_barrier_wait(e->mapped);
    pthread_barrier_wait(e->mapped);
    usleep(20000);
    fine = fine && pel_unmap(mapping) == PEL_OK;
    pel_mapping_destroy(mapping);
    return fine ? user : NULL;
}

/* A barrier of this thread's comes after the other one's mapping, and this one's mapping after the barrier: it does not wait
 * for itself. */
static void test_nobody_waits_for_himself_behind_a_barrier(void **state) {
    (void)state;
    pel_buffer *buffer = NULL;
    pthread_barrier_t mapped;
    pthread_t thread;
    void *fine = NULL;
    pel_runtime *runtime = machine_host(1);
    pel_queue *queue = machine_queue(runtime);
    assert_int_equal(pel_buffer_create(runtime, 128, &buffer, NULL), PEL_OK);
    assert_int_equal(pthread_barrier_init(&mapped, NULL, 2), 0);
    elder e = {runtime, queue, buffer, &mapped};
    assert_int_equal(pthread_create(&thread, NULL, map_with_high_order, &e), 0);
    pthread_barrier_wait(&mapped);
    assert_int_equal(pel_barrier(queue, NULL, NULL), PEL_OK);
    pel_mapping *mapping = NULL;
    assert_int_equal(pel_map(queue, buffer, 64, 64, PEL_MAP_READ, NULL, &mapping), PEL_OK);
    pthread_barrier_wait(&mapped);
    (void)open_now(mapping);
    close_now(mapping);
    assert_int_equal(pthread_join(thread, &fine), 0);
    assert_non_null(fine);
    pthread_barrier_destroy(&mapped);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

/* ---- a newer mapping of another thread ---- */

typedef struct other_thread {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_buffer *buffer;
    pthread_barrier_t *turn;
    int ahead; /* what it submits before, so that its mapping is the newer one by order, too */
} other_thread;

static void *map_and_hold(void *user) {
    const other_thread *o = user;
    pel_mapping *mapping = NULL;
    void *memory = NULL;
    pel_queue *own = NULL;
    bool fine = pel_queue_create(o->runtime, NULL, &own, NULL) == PEL_OK;
    for (int i = 0; i < o->ahead && fine; i++) {
        fine = pel_task(own, do_nothing, NULL, NULL, 0, NULL, NULL) == PEL_OK;
    }
    fine = pel_queue_destroy(own) == PEL_OK && fine &&
           pel_map(o->queue, o->buffer, 0, 64, PEL_MAP_WRITE, NULL, &mapping) == PEL_OK &&
           pel_map_wait(mapping, &memory) == PEL_OK;
    pthread_barrier_wait(o->turn);
    pthread_barrier_wait(o->turn);
    usleep(5000);
    const bool closed = mapping && pel_unmap(mapping) == PEL_OK;
    pel_mapping_destroy(mapping);
    return fine && closed ? user : NULL;
}

/* Who has an older mapping, which has nothing to do with it, may wait for what comes after another thread's newer one, and for
 * a task behind its own may not. */
static void test_mappings_that_are_not_in_the_way(void **state) {
    (void)state;
    pel_buffer *buffers[2] = {NULL, NULL};
    pel_runtime *runtime = machine_host(1);
    pel_queue *queue = machine_queue(runtime);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_buffer_create(runtime, 64, &buffers[i], NULL), PEL_OK);
    }
    enum { ROUNDS = 70 }; /* more than there are bits, one after the other */
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_t turn;
        pthread_t thread;
        void *fine = NULL;
        pel_mapping *mine = NULL;
        pel_event *behind_theirs = NULL, *behind_mine = NULL;
        other_thread o = {runtime, queue, buffers[1], &turn, round == 0 ? AHEAD : 0};
        const pel_access theirs = PEL_ACCESS(buffers[1], 0, 64, PEL_READ), own = PEL_ACCESS(buffers[0], 0, 64, PEL_READ);
        assert_int_equal(pthread_barrier_init(&turn, NULL, 2), 0);
        assert_int_equal(pel_map(queue, buffers[0], 0, 64, PEL_MAP_WRITE, NULL, &mine), PEL_OK);
        (void)open_now(mine);
        assert_int_equal(pthread_create(&thread, NULL, map_and_hold, &o), 0);
        pthread_barrier_wait(&turn);
        assert_int_equal(pel_task(queue, do_nothing, NULL, &theirs, 1, NULL, &behind_theirs), PEL_OK);
        assert_int_equal(pel_task(queue, do_nothing, NULL, &own, 1, NULL, &behind_mine), PEL_OK);
        pthread_barrier_wait(&turn);
        assert_int_equal(pel_event_wait(behind_mine), PEL_WOULD_DEADLOCK);
        assert_int_equal(pel_event_wait(behind_theirs), PEL_OK);
        close_now(mine);
        assert_int_equal(pel_event_wait(behind_mine), PEL_OK);
        assert_int_equal(pthread_join(thread, &fine), 0);
        assert_non_null(fine);
        pthread_barrier_destroy(&turn);
        pel_event_release(behind_theirs), pel_event_release(behind_mine);
    }
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pel_buffer_destroy(buffers[i]), PEL_OK);
    }
    assert_int_equal(pel_runtime_destroy(runtime), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_missing_is_fetched),
        cmocka_unit_test(test_what_was_written_reaches_the_device_and_nothing_else),
        cmocka_unit_test(test_who_conflicts_waits_for_the_unmap),
        cmocka_unit_test(test_nobody_waits_for_himself), cmocka_unit_test(test_nobody_waits_for_himself_behind_a_barrier),
        cmocka_unit_test(test_mappings_that_are_not_in_the_way),
        cmocka_unit_test(test_a_full_queue_takes_more_from_who_has_a_mapping),
        cmocka_unit_test(test_a_stale_mapping_is_refused),
        cmocka_unit_test(test_guarded_stores_fault_where_they_are_stale),
        cmocka_unit_test(test_failures_reach_a_mapping_that_reads),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_prefetched_bytes_are_there),
        cmocka_unit_test(test_a_prefetch_without_room_is_only_a_hint),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
