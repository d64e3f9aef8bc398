/* SPDX-License-Identifier: BSD-3-Clause */
/* Host commands through the public API: order by data, failures and how far they spread, waiting, many threads, misuse. */
#include "machines.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pel/pel.h>

static pel_runtime *runtime;

static int set_up(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_error *error = NULL;
    desc.devices = "host";
    desc.host_workers = 4;
    pel_status status = pel_runtime_create(&desc, &runtime, &error);
    if (status != PEL_OK) {
        fprintf(stderr, "%s\n", pel_error_story(error));
        pel_error_destroy(error);
    }
    return (int)status;
}

static int tear_down(void **state) {
    (void)state;
    return (int)pel_runtime_destroy(runtime);
}

static pel_queue *new_queue(void) {
    pel_queue *queue = NULL;
    assert_int_equal(pel_queue_create(runtime, NULL, &queue, NULL), PEL_OK);
    return queue;
}

/* Order by data against a sequential oracle. */

typedef struct step {
    unsigned char *bytes;
    uint64_t read_lo, read_hi, write_lo, write_hi;
} step;

static pel_status run_step(void *context) { /* the written range becomes a hash of the read range */
    const step *s = context;
    unsigned hash = 17;
    for (uint64_t i = s->read_lo; i < s->read_hi; i++) {
        hash = hash * 31 + s->bytes[i];
    }
    for (uint64_t i = s->write_lo; i < s->write_hi; i++) {
        s->bytes[i] = (unsigned char)(hash + i);
    }
    return PEL_OK;
}

static uint64_t random_state;
static uint64_t next_random(void) { return test_random(&random_state); }

enum { BYTES = 256, STEPS = 500 };

static void random_step(step *s, unsigned char *bytes) {
    s->bytes = bytes;
    s->read_lo = next_random() % BYTES;
    s->read_hi = s->read_lo + 1 + next_random() % (BYTES - s->read_lo);
    s->write_lo = next_random() % BYTES;
    uint64_t room = BYTES - s->write_lo;
    s->write_hi = s->write_lo + 1 + next_random() % (room > 16 ? 16 : room);
}

static void test_random_graphs(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        unsigned char bytes[BYTES] = {0}, expected[BYTES] = {0};
        static step steps[STEPS];
        pel_buffer *whole = NULL, *upper = NULL;
        pel_queue *queues[2] = {new_queue(), new_queue()};
        assert_int_equal(pel_buffer_wrap(runtime, bytes, BYTES, &whole), PEL_OK);
        assert_int_equal(pel_buffer_wrap(runtime, bytes + BYTES / 2, BYTES / 2, &upper), PEL_OK); /* an alias */
        random_state = seed;
        for (int i = 0; i < STEPS; i++) {
            random_step(&steps[i], bytes);
            step oracle = steps[i];
            oracle.bytes = expected;
            run_step(&oracle);
            bool alias = steps[i].write_lo >= BYTES / 2;
            pel_access accesses[2] = {PEL_ACCESS(whole, steps[i].read_lo, steps[i].read_hi - steps[i].read_lo, PEL_READ),
                                      PEL_ACCESS(alias ? upper : whole, steps[i].write_lo - (alias ? BYTES / 2 : 0),
                                                 steps[i].write_hi - steps[i].write_lo, PEL_WRITE)};
            assert_int_equal(pel_task(queues[next_random() % 2], run_step, &steps[i], accesses, 2, NULL, NULL), PEL_OK);
        }
        assert_int_equal(pel_queue_finish(queues[0]), PEL_OK);
        assert_int_equal(pel_queue_finish(queues[1]), PEL_OK);
        if (memcmp(bytes, expected, BYTES) != 0) {
            fail_msg("seed %llu: the result differs from sequential execution", (unsigned long long)seed);
        }
        assert_int_equal(pel_queue_destroy(queues[0]), PEL_OK);
        assert_int_equal(pel_queue_destroy(queues[1]), PEL_OK);
        assert_int_equal(pel_buffer_destroy(upper), PEL_OK);
        assert_int_equal(pel_buffer_destroy(whole), PEL_OK);
    }
}

/* Two tasks on disjoint bytes must be able to meet; each waits for the other. */
static atomic_int meeting;
static pel_status meet(void *context) {
    (void)context;
    atomic_fetch_add(&meeting, 1);
    while (atomic_load(&meeting) < 2) {
        usleep(50);
    }
    return PEL_OK;
}

static void test_disjoint_tasks_run_at_once(void **state) {
    (void)state;
    int bytes[2];
    pel_buffer *buffer = NULL;
    pel_queue *queue = new_queue();
    assert_int_equal(pel_buffer_wrap(runtime, bytes, sizeof bytes, &buffer), PEL_OK);
    atomic_store(&meeting, 0);
    pel_access low = PEL_ACCESS(buffer, 0, sizeof(int), PEL_WRITE),
               high = PEL_ACCESS(buffer, sizeof(int), sizeof(int), PEL_WRITE);
    assert_int_equal(pel_task(queue, meet, NULL, &low, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, meet, NULL, &high, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    pel_queue_destroy(queue);
    pel_buffer_destroy(buffer);
}

static pel_status add_one(void *context) {
    ++*(int *)context;
    return PEL_OK;
}

static pel_status refuse(void *context) {
    (void)context;
    return PEL_IO;
}

static void test_failures_spread_by_data_only(void **state) {
    (void)state;
    int a = 0, b = 0, ran = 0;
    pel_buffer *x = NULL, *y = NULL;
    pel_queue *queue = new_queue();
    pel_event *bad = NULL, *reader = NULL, *writer = NULL, *other = NULL, *after = NULL;
    assert_int_equal(pel_buffer_wrap(runtime, &a, sizeof a, &x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &b, sizeof b, &y), PEL_OK);
    pel_access write_x = PEL_ACCESS(x, 0, 0, PEL_WRITE), read_x = PEL_ACCESS(x, 0, 0, PEL_READ),
               write_y = PEL_ACCESS(y, 0, 0, PEL_WRITE);
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.name = "writer that fails";
    assert_int_equal(pel_task(queue, refuse, NULL, &write_x, 1, &desc, &bad), PEL_OK);
    assert_int_equal(pel_task(queue, add_one, &ran, &read_x, 1, NULL, &reader), PEL_OK);
    assert_int_equal(pel_task(queue, add_one, &b, &write_y, 1, NULL, &other), PEL_OK);
    assert_int_equal(pel_event_wait(bad), PEL_TASK_FAILED);
    assert_int_equal(pel_event_wait(reader), PEL_DEPENDENCY_FAILED);
    assert_int_equal(pel_event_wait(other), PEL_OK);
    assert_non_null(strstr(pel_error_message(pel_event_error(reader)), "writer that fails"));
    assert_int_equal(ran, 0);
    assert_int_equal(b, 1);
    assert_int_equal(pel_task(queue, add_one, &a, &write_x, 1, NULL, &writer), PEL_OK); /* overwritten: defined again */
    assert_int_equal(pel_task(queue, add_one, &ran, &read_x, 1, NULL, &after), PEL_OK);
    assert_int_equal(pel_event_wait(writer), PEL_OK);
    assert_int_equal(pel_event_wait(after), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED); /* the first cause, not what followed from it */
    pel_error *story = pel_queue_error(queue);
    assert_int_equal(pel_error_status(story), PEL_TASK_FAILED);
    pel_error_destroy(story);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_null(pel_queue_error(queue));
    pel_event_release(bad), pel_event_release(reader), pel_event_release(writer), pel_event_release(other),
        pel_event_release(after);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
    pel_buffer_destroy(y);
}

/* Nobody has its event any more but the bytes that it failed to write, and the task that learns of it takes these for itself. */
static void test_a_failure_whose_event_nobody_has(void **state) {
    (void)state;
    int value = 0, ran = 0;
    pel_buffer *x = NULL;
    pel_queue *queue = new_queue();
    assert_int_equal(pel_buffer_wrap(runtime, &value, sizeof value, &x), PEL_OK);
    const pel_access both = PEL_ACCESS(x, 0, 0, PEL_READ_WRITE);
    for (int i = 0; i < 2; i++) {
        pel_event *bad = NULL, *after = NULL;
        assert_int_equal(pel_task(queue, refuse, NULL, &both, 1, NULL, &bad), PEL_OK);
        assert_int_equal(pel_event_wait(bad), PEL_TASK_FAILED);
        pel_event_release(bad);
        assert_int_equal(pel_task(queue, add_one, &ran, &both, 1, NULL, i == 0 ? NULL : &after), PEL_OK);
        if (after) {
            assert_int_equal(pel_event_wait(after), PEL_DEPENDENCY_FAILED);
            assert_non_null(strstr(pel_error_message(pel_event_error(after)), "returned PEL_IO"));
        }
        pel_event_release(after);
        assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
        assert_int_equal(pel_queue_reset(queue), PEL_OK);
    }
    assert_int_equal(ran, 0);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
}

/* A wider wrap of the same memory replaces the allocation behind the first one; what failed in it stays failed. */
static void test_failures_outlive_merged_wraps(void **state) {
    (void)state;
    int values[4] = {0}, ran = 0;
    pel_buffer *narrow = NULL, *wide = NULL;
    pel_queue *queue = new_queue();
    assert_int_equal(pel_buffer_wrap(runtime, values + 1, sizeof *values, &narrow), PEL_OK);
    pel_access write_narrow = PEL_ACCESS(narrow, 0, 0, PEL_WRITE);
    assert_int_equal(pel_task(queue, refuse, NULL, &write_narrow, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(pel_buffer_wrap(runtime, values, sizeof values, &wide), PEL_OK);
    pel_access reads[] = {PEL_ACCESS(narrow, 0, 0, PEL_READ), PEL_ACCESS(wide, 0, 8, PEL_READ)},
               beside = PEL_ACCESS(wide, 8, 8, PEL_READ);
    for (int i = 0; i < 2; i++) {
        pel_event *reader = NULL;
        assert_int_equal(pel_task(queue, add_one, &ran, &reads[i], 1, NULL, &reader), PEL_OK);
        assert_int_equal(pel_event_wait(reader), PEL_DEPENDENCY_FAILED);
        pel_event_release(reader);
    }
    assert_int_equal(ran, 0);
    assert_int_equal(pel_task(queue, add_one, &ran, &beside, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(ran, 1);
    pel_queue_destroy(queue);
    pel_buffer_destroy(narrow);
    pel_buffer_destroy(wide);
}

typedef struct tile_step {
    uint32_t *matrix;
    uint64_t row, column; /* of tiles */
    uint32_t add;
} tile_step;

enum { MATRIX = 64, TILE = 8, TILES = MATRIX / TILE };

static pel_status add_to_tile(void *context) {
    const tile_step *s = context;
    for (uint64_t i = 0; i < TILE * TILE; i++) {
        uint32_t *cell = &s->matrix[(s->row * TILE + i / TILE) * MATRIX + s->column * TILE + i % TILE];
        *cell = *cell * 3 + s->add; /* the order shows */
    }
    return PEL_OK;
}

/* Tiles of one matrix, whole rows, and a transposed pitch now and then; the same as one after the other. */
static void test_rectangles(void **state) {
    (void)state;
    static uint32_t matrix[MATRIX * MATRIX], expected[MATRIX * MATRIX];
    enum { TILE_STEPS = 2000 };
    static tile_step steps[TILE_STEPS];
    pel_buffer *buffer = NULL;
    pel_queue *queue = new_queue();
    assert_int_equal(pel_buffer_wrap(runtime, matrix, sizeof matrix, &buffer), PEL_OK);
    for (int i = 0; i < TILE_STEPS; i++) {
        steps[i] = (tile_step){expected, next_random() % TILES, next_random() % TILES, (uint32_t)i};
        (void)add_to_tile(&steps[i]);
        steps[i].matrix = matrix;
        uint64_t at = (steps[i].row * TILE * MATRIX + steps[i].column * TILE) * sizeof *matrix, row = MATRIX * sizeof *matrix;
        pel_access tile = PEL_ACCESS_RECTANGLE(buffer, at, TILE * sizeof *matrix, TILE, row, PEL_READ_WRITE);
        pel_access rows = PEL_ACCESS(buffer, steps[i].row * TILE * row, TILE * row, PEL_READ_WRITE);
        /* more than the tile */
        pel_access half = PEL_ACCESS_RECTANGLE(buffer, at, TILE * sizeof *matrix, 2 * TILE - 1, row / 2, PEL_READ_WRITE);
        uint64_t kind = next_random() % 16;
        pel_access *access = kind == 0 ? &rows : kind == 1 && steps[i].row + 1 < TILES ? &half : &tile;
        assert_int_equal(pel_task(queue, add_to_tile, &steps[i], access, 1, NULL, NULL), PEL_OK);
    }
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_memory_equal(matrix, expected, sizeof matrix);
    pel_queue_destroy(queue);
    pel_buffer_destroy(buffer);
}

static void test_reset_forgives(void **state) {
    (void)state;
    int a = 0, ran = 0;
    pel_buffer *x = NULL;
    pel_queue *queue = new_queue();
    assert_int_equal(pel_buffer_wrap(runtime, &a, sizeof a, &x), PEL_OK);
    pel_access write_x = PEL_ACCESS(x, 0, 0, PEL_WRITE), read_x = PEL_ACCESS(x, 0, 0, PEL_READ);
    assert_int_equal(pel_task(queue, refuse, NULL, &write_x, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    assert_int_equal(pel_task(queue, add_one, &ran, &read_x, 1, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(ran, 1);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
}

static void test_explicit_waits_and_markers(void **state) {
    (void)state;
    int order = 0;
    pel_queue *queue = new_queue(), *second = new_queue();
    pel_event *first = NULL, *mark = NULL, *bad = NULL;
    atomic_store(&meeting, 0);
    assert_int_equal(pel_task(queue, meet, NULL, NULL, 0, NULL, &first), PEL_OK);
    const pel_event *waits[] = {first};
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.waits = waits;
    desc.wait_count = 1;
    assert_int_equal(pel_task(second, add_one, &order, NULL, 0, &desc, NULL), PEL_OK);
    assert_int_equal(pel_marker(queue, NULL, &mark), PEL_OK);
    assert_int_equal(pel_event_status(mark), PEL_BUSY); /* the first task waits for us */
    assert_int_equal(order, 0);
    atomic_fetch_add(&meeting, 1);
    assert_int_equal(pel_event_wait(mark), PEL_OK);
    assert_int_equal(pel_queue_finish(second), PEL_OK);
    assert_int_equal(order, 1);
    assert_int_equal(pel_task(queue, refuse, NULL, NULL, 0, NULL, &bad), PEL_OK);
    waits[0] = bad;
    assert_int_equal(pel_task(second, add_one, &order, NULL, 0, &desc, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(second), PEL_DEPENDENCY_FAILED); /* explicit edges carry failures */
    assert_int_equal(order, 1);
    pel_event_release(first), pel_event_release(mark), pel_event_release(bad);
    pel_queue_destroy(queue);
    pel_queue_destroy(second);
}

typedef struct inner {
    pel_queue *queue;
    pel_event *event;
    pel_status wait, finish;
    int ran;
} inner;

static pel_status nested(void *context) {
    inner *in = context;
    pel_status status = pel_task(in->queue, add_one, &in->ran, NULL, 0, NULL, &in->event);
    in->wait = pel_event_wait(in->event);
    in->finish = pel_queue_finish(in->queue);
    return status;
}

static void test_a_task_waits_for_its_child(void **state) {
    (void)state;
    inner in = {.queue = new_queue()};
    assert_int_equal(pel_task(in.queue, nested, &in, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(in.queue), PEL_OK);
    assert_int_equal(in.wait, PEL_OK);
    assert_int_equal(in.finish, PEL_WOULD_DEADLOCK);
    assert_int_equal(pel_event_wait(in.event), PEL_OK);
    assert_int_equal(in.ran, 1);
    pel_event_release(in.event);
    pel_queue_destroy(in.queue);
}

static pel_status finish_in_kernel(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span, (void)arguments, (void)scratch;
    return pel_queue_finish(*(pel_queue **)user) == PEL_WOULD_DEADLOCK ? PEL_OK : PEL_INTERNAL;
}

static void test_waiting_inside_a_host_kernel_is_refused(void **state) {
    (void)state;
    pel_queue *queue = new_queue();
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_launch_desc launch = PEL_LAUNCH_DESC_INIT;
    pel_program *program = NULL;
    pel_kernel *kernel = NULL;
    desc.host = finish_in_kernel;
    desc.user = &queue;
    launch.global[0] = 64;
    assert_int_equal(pel_program_create(runtime, &program_desc, &program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(program, &desc, &kernel, NULL), PEL_OK);
    assert_int_equal(pel_launch(queue, kernel, &launch, NULL, 0, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    pel_kernel_destroy(kernel);
    pel_program_destroy(program);
    pel_queue_destroy(queue);
}

/* A task that submits to its own queue: its children belong to what finish and destroy wait for. */
typedef struct parent {
    pel_queue *queue;
    atomic_int left, ran; /* generations to come, tasks that ran */
} parent;

static pel_status submit_child(void *context) {
    parent *p = context;
    usleep(2000); /* whoever waits for the queue is asleep by now */
    atomic_fetch_add(&p->ran, 1);
    return atomic_fetch_sub(&p->left, 1) > 0 ? pel_task(p->queue, submit_child, p, NULL, 0, NULL, NULL) : PEL_OK;
}

static void test_children_are_waited_for(void **state) {
    (void)state;
    parent p = {.queue = new_queue()};
    atomic_store(&p.left, 3);
    assert_int_equal(pel_task(p.queue, submit_child, &p, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(p.queue), PEL_OK);
    assert_int_equal(atomic_load(&p.ran), 4);
    atomic_store(&p.left, 3);
    assert_int_equal(pel_task(p.queue, submit_child, &p, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_destroy(p.queue), PEL_OK); /* not under the feet of a child */
    assert_int_equal(atomic_load(&p.ran), 8);
}

static void test_copy_fill_read_write(void **state) {
    (void)state;
    enum { N = (5 << 20) + 12 };
    pel_queue *queue = new_queue();
    pel_buffer *a = NULL, *b = NULL;
    unsigned *out = malloc(N);
    unsigned pattern = 0xdeadbeef, patch = 42;
    assert_int_equal(pel_buffer_create(runtime, N, &a, NULL), PEL_OK);
    assert_int_equal(pel_buffer_create(runtime, N, &b, NULL), PEL_OK);
    assert_int_equal(pel_fill(queue, a, 0, N, &pattern, sizeof pattern, NULL, NULL), PEL_OK);
    assert_int_equal(pel_write(queue, a, 8, sizeof patch, &patch, NULL, NULL), PEL_OK);
    assert_int_equal(pel_copy(queue, b, 4, a, 0, N - 4, NULL, NULL), PEL_OK);
    assert_int_equal(pel_read(queue, b, 0, N, out, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(out[0], 0);
    for (size_t i = 1; i < N / sizeof *out; i++) {
        assert_int_equal(out[i], i == 3 ? patch : pattern);
    }
    assert_int_equal(pel_copy(queue, a, 0, a, 100, 200, NULL, NULL), PEL_CONFLICT);
    assert_int_equal(pel_copy(queue, a, N - 10, b, 0, 11, NULL, NULL), PEL_TOO_LARGE);
    assert_int_equal(pel_copy(queue, a, UINT64_MAX, b, 0, 11, NULL, NULL), PEL_TOO_LARGE);
    assert_int_equal(pel_fill(queue, a, 0, 7, &pattern, sizeof pattern, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_read(queue, a, 0, 0, out, NULL, NULL), PEL_INVALID_ARGUMENT);
    pel_error *story = pel_queue_error(queue);
    assert_non_null(strstr(pel_error_message(story), "read"));
    pel_error_destroy(story);
    free(out);
    pel_queue_destroy(queue);
    pel_buffer_destroy(a);
    pel_buffer_destroy(b);
}

static pel_status count_range(uint64_t begin, uint64_t end, void *context) {
    unsigned char *seen = context;
    for (uint64_t i = begin; i < end; i++) {
        seen[i]++;
    }
    return PEL_OK;
}

static void test_loops_cover_once(void **state) {
    (void)state;
    pel_queue *queue = new_queue();
    static unsigned char seen[100003];
    const uint64_t counts[] = {1, 2, 7, 64, 1000, 100003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        memset(seen, 0, sizeof seen);
        assert_int_equal(pel_loop(queue, counts[i], i % 3, count_range, seen, NULL, 0, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        for (size_t k = 0; k < sizeof seen; k++) {
            assert_int_equal(seen[k], k < counts[i]);
        }
    }
    assert_int_equal(pel_loop(queue, 0, 0, count_range, seen, NULL, 0, NULL, NULL), PEL_INVALID_ARGUMENT);
    pel_queue_destroy(queue);
}

typedef struct submitter {
    pel_queue *queue;
    pel_buffer *buffer;
    atomic_int *count;
} submitter;

static pel_status count_up(void *context) { /* every task reads and writes the same bytes: a data race if two ran at once */
    atomic_int *count = context;
    int seen = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, seen + 1, memory_order_relaxed);
    return PEL_OK;
}

static void *submit_many(void *context) {
    submitter *s = context;
    for (int i = 0; i < 500; i++) {
        pel_access access = PEL_ACCESS(s->buffer, 0, 0, PEL_READ_WRITE);
        pel_event *event = NULL;
        if (pel_task(s->queue, count_up, s->count, &access, 1, NULL, i % 50 == 0 ? &event : NULL) != PEL_OK) {
            return "submission failed";
        }
        if (event && pel_event_wait(event) != PEL_OK) {
            return "a task failed";
        }
        pel_event_release(event);
    }
    return pel_queue_finish(s->queue) == PEL_OK ? NULL : "finish failed";
}

static void test_many_submitters(void **state) {
    (void)state;
    atomic_int count = 0;
    pel_buffer *buffer = NULL;
    pel_queue_desc desc = PEL_QUEUE_DESC_INIT;
    pel_queue *limited = NULL, *free_running = new_queue();
    desc.max_in_flight = 3;
    assert_int_equal(pel_queue_create(runtime, &desc, &limited, NULL), PEL_OK);
    assert_int_equal(pel_buffer_wrap(runtime, &count, sizeof count, &buffer), PEL_OK);
    pthread_t threads[4];
    submitter submitters[4];
    for (int i = 0; i < 4; i++) {
        submitters[i] = (submitter){i % 2 ? limited : free_running, buffer, &count};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *why = NULL;
        pthread_join(threads[i], &why);
        assert_null(why);
    }
    assert_int_equal(atomic_load(&count), 2000);
    pel_queue_destroy(limited);
    pel_queue_destroy(free_running);
    pel_buffer_destroy(buffer);
}

static void test_misuse(void **state) {
    (void)state;
    int a = 0;
    pel_buffer *x = NULL;
    pel_queue *queue = new_queue();
    assert_int_equal(pel_buffer_wrap(runtime, &a, sizeof a, &x), PEL_OK);
    pel_access bad[] = {PEL_ACCESS(NULL, 0, 0, PEL_READ),
                        PEL_ACCESS(x, 0, 5, PEL_READ),
                        PEL_ACCESS(x, 4, 0, PEL_READ),
                        PEL_ACCESS(x, 0, 4, (pel_access_mode)0),
                        PEL_ACCESS(x, 2, UINT64_MAX, PEL_READ),
                        PEL_ACCESS_RECTANGLE(x, 0, 1, 3, 2, PEL_READ),
                        PEL_ACCESS_RECTANGLE(x, 0, 2, 2, 1, PEL_READ),
                        PEL_ACCESS_RECTANGLE(x, 0, 1, UINT64_MAX, UINT64_MAX, PEL_READ),
                        PEL_ACCESS_RECTANGLE(x, 0, 0, 2, 2, PEL_READ),
                        PEL_ACCESS_RECTANGLE(x, 4, 1, 2, 1, PEL_READ),
                        {x, 0, 1, PEL_READ, 1, 0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pel_event *event = NULL;
        pel_status status = pel_task(queue, add_one, &a, &bad[i], 1, NULL, &event);
        assert_true(status == PEL_INVALID_ARGUMENT || status == PEL_TOO_LARGE);
        assert_null(event);
        pel_error *story = pel_queue_error(queue);
        assert_non_null(strstr(pel_error_message(story), "access 0"));
        pel_error_destroy(story);
    }
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.wait_count = 1;
    assert_int_equal(pel_task(queue, add_one, &a, NULL, 0, &desc, NULL), PEL_INVALID_ARGUMENT);
    desc = (pel_task_desc)PEL_TASK_DESC_INIT;
    desc.size = 3;
    assert_int_equal(pel_task(queue, add_one, &a, NULL, 0, &desc, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_task(queue, NULL, &a, NULL, 0, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_task(NULL, add_one, &a, NULL, 0, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_destroy(runtime), PEL_BUSY);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(a, 0);
    pel_queue_destroy(queue);
    pel_buffer_destroy(x);
}

static void test_after_fork(void **state) {
    (void)state;
    pel_queue *queue = new_queue();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int a = 0;
        bool right = pel_task(queue, add_one, &a, NULL, 0, NULL, NULL) == PEL_AFTER_FORK &&
                     pel_queue_finish(queue) == PEL_AFTER_FORK && pel_runtime_destroy(runtime) == PEL_AFTER_FORK;
        _exit(right ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    pel_queue_destroy(queue);
}

static void test_events_outlive_everything(void **state) {
    (void)state;
    pel_queue *queue = NULL;
    pel_event *event = NULL;
    pel_event_timing timing;
    int a = 0;
    pel_runtime *own = machine_host(0);
    queue = machine_queue(own);
    assert_int_equal(pel_task(queue, add_one, &a, NULL, 0, NULL, &event), PEL_OK);
    assert_int_equal(pel_queue_destroy(queue), PEL_OK);
    assert_int_equal(pel_runtime_destroy(own), PEL_OK);
    assert_int_equal(pel_event_wait(event), PEL_OK);
    pel_event_get_timing(event, &timing);
    assert_true(timing.submitted > 0 && timing.submitted <= timing.began && timing.began <= timing.ended);
    pel_plan *plan = NULL;
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_NOT_FOUND);
    pel_event_release(event);
}

typedef struct whose {
    pthread_t by;
    atomic_bool in, open;
} whose;

static pel_status stay(void *context) {
    whose *w = context;
    atomic_store(&w->in, true);
    while (!atomic_load(&w->open)) {
        sched_yield();
    }
    return PEL_OK;
}

static pel_status note_thread(void *context) {
    ((whose *)context)->by = pthread_self();
    return PEL_OK;
}

/* With the only worker busy, whoever waits for a task runs it. A queue without times has none; one with times has them. */
static void test_a_waiter_runs_what_nobody_has_begun(void **state) {
    (void)state;
    pel_queue_desc untimed = PEL_QUEUE_DESC_INIT;
    untimed.flags = PEL_QUEUE_UNTIMED;
    pel_runtime *own = machine_host(1);
    for (int i = 0; i < 2; i++) {
        pel_queue *queue = NULL;
        pel_event *events[2];
        pel_event_timing timing;
        whose w = {.in = false};
        assert_int_equal(pel_queue_create(own, i == 0 ? NULL : &untimed, &queue, NULL), PEL_OK);
        assert_int_equal(pel_task(queue, stay, &w, NULL, 0, NULL, NULL), PEL_OK);
        while (!atomic_load(&w.in)) {
            sched_yield();
        }
        for (int k = 0; k < 2; k++) { /* the first is offered, the second is in the list */
            assert_int_equal(pel_task(queue, note_thread, &w, NULL, 0, NULL, &events[k]), PEL_OK);
        }
        for (int k = 0; k < 2; k++) {
            assert_int_equal(pel_event_wait(events[k]), PEL_OK);
            assert_true(pthread_equal(w.by, pthread_self()));
            pel_event_get_timing(events[k], &timing);
            assert_true(i == 1 ? timing.submitted == 0 && timing.began == 0 && timing.ended == 0
                               : timing.submitted > 0 && timing.submitted <= timing.began && timing.began <= timing.ended);
            pel_event_release(events[k]);
        }
        atomic_store(&w.open, true);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(pel_task(queue, refuse, NULL, NULL, 0, NULL, &events[0]), PEL_OK);
        assert_int_equal(pel_event_wait(events[0]), PEL_TASK_FAILED);
        pel_event_get_timing(events[0], &timing);
        assert_int_equal(timing.ended == 0, i == 1);
        pel_event_release(events[0]);
        assert_int_equal(pel_queue_destroy(queue), PEL_TASK_FAILED);
    }
    untimed.flags = 1u << 31;
    pel_queue *none = NULL;
    assert_int_equal(pel_queue_create(own, &untimed, &none, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_runtime_destroy(own), PEL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_a_waiter_runs_what_nobody_has_begun),
        cmocka_unit_test(test_disjoint_tasks_run_at_once),
        cmocka_unit_test(test_failures_spread_by_data_only),
        cmocka_unit_test(test_a_failure_whose_event_nobody_has),
        cmocka_unit_test(test_failures_outlive_merged_wraps),
        cmocka_unit_test(test_rectangles),
        cmocka_unit_test(test_reset_forgives),
        cmocka_unit_test(test_explicit_waits_and_markers),
        cmocka_unit_test(test_a_task_waits_for_its_child),
        cmocka_unit_test(test_waiting_inside_a_host_kernel_is_refused),
        cmocka_unit_test(test_children_are_waited_for),
        cmocka_unit_test(test_copy_fill_read_write),
        cmocka_unit_test(test_loops_cover_once),
        cmocka_unit_test(test_many_submitters),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_after_fork),
        cmocka_unit_test(test_events_outlive_everything),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
