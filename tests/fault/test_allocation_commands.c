/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every allocation fails in turn, once and for ever, in a life with what test_allocation leaves out: graphs with launches that
 * are recorded, replayed and replaced, callbacks, user events, rectangles, fills, loops, parallel reductions, children of tasks,
 * mappings, barriers, rows of bare tasks. Each step is either done, and what it does is right, or refused with a story; nothing
 * leaks and nobody waits for ever.
 */
#include "support/counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include <pel/pel.h>

enum { N = 64, BARE = 70, REPLAYS = 3 };

typedef struct life {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_graph *graph;
    pel_buffer *x, *y;
    atomic_uint bare, called, looped;
    bool waits; /* tasks do: not on a simulated machine, where one thread does all */
} life;

static pel_status add_one(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[0])[i]++;
    }
    return PEL_OK;
}

static pel_status count_bare(void *context) {
    atomic_fetch_add(&((life *)context)->bare, 1);
    return PEL_OK;
}

static void count_call(pel_event *watched, void *context) {
    (void)watched;
    atomic_fetch_add(&((life *)context)->called, 1);
}

static pel_status count_pieces(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add(&((life *)context)->looped, (unsigned)(end - begin));
    return PEL_OK;
}

static pel_status sum_part(const pel_range *part, void *partial, void *context) {
    (void)context;
    for (uint64_t i = part->lo[0]; i < part->hi[0]; i++) {
        *(uint64_t *)partial += i;
    }
    return PEL_OK;
}

static void merge(void *into, const void *from, void *context) {
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

static pel_status add_to_first(void *context) {
    uint32_t *x = pel_buffer_data(((life *)context)->x);
    x[0] += 10;
    return PEL_OK;
}

/* Its child may find no memory: then it fails, too. */
static pel_status parent(void *context) {
    life *l = context;
    const pel_access first = PEL_ACCESS(l->x, 0, sizeof(uint32_t), PEL_READ_WRITE);
    pel_event *event = NULL;
    pel_status status = pel_task(l->queue, add_to_first, l, &first, 1, NULL, &event);
    status = status == PEL_OK && l->waits ? pel_event_wait(event) : status;
    pel_event_release(event);
    return status;
}

static void drop(pel_error *error, pel_status status) {
    if (error) {
        assert_int_equal(pel_error_status(error), status);
        pel_error_destroy(error);
    }
}

static pel_status build(life *l, const pel_runtime_desc *desc) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_error *error = NULL;
    pel_status status;
    kernel_desc.name = "add_one";
    kernel_desc.params = params;
    kernel_desc.param_count = 1;
    kernel_desc.host = add_one;
    if ((status = pel_runtime_create(desc, &l->runtime, &error)) != PEL_OK ||
        (status = pel_queue_create(l->runtime, NULL, &l->queue, &error)) != PEL_OK ||
        (status = pel_buffer_create(l->runtime, N * sizeof(uint32_t), &l->x, &error)) != PEL_OK ||
        (status = pel_buffer_create(l->runtime, N * sizeof(uint32_t), &l->y, &error)) != PEL_OK ||
        (status = pel_program_create(l->runtime, &program_desc, &l->program, &error)) != PEL_OK ||
        (status = pel_kernel_create(l->program, &kernel_desc, &l->kernel, &error)) != PEL_OK ||
        (status = pel_graph_create(l->runtime, &l->graph, &error)) != PEL_OK) {
        drop(error, status);
    }
    return status;
}

static pel_status launch(const life *l, pel_buffer *buffer) {
    const pel_arg arg = pel_buf(buffer);
    return pel_launch(l->queue, l->kernel, &(pel_launch_desc){.global = {N}}, &arg, 1, NULL);
}

/* x gets one more with each replay; then y does, because the second command of the three is replaced. */
static pel_status use_graph(life *l) {
    pel_status status = pel_graph_record(l->graph, l->queue);
    if (status != PEL_OK) {
        return status;
    }
    const pel_access all = PEL_ACCESS(l->y, 0, 0, PEL_READ);
    if ((status = launch(l, l->x)) == PEL_OK && (status = launch(l, l->x)) == PEL_OK) {
        status = pel_task(l->queue, count_bare, l, &all, 1, NULL, NULL);
    }
    const pel_status ended = pel_graph_end(l->graph);
    status = status == PEL_OK ? ended : status;
    for (int i = 0; i < REPLAYS && status == PEL_OK; i++) {
        status = pel_graph_replay(l->graph, l->queue, NULL, NULL);
    }
    status = status == PEL_OK ? pel_queue_finish(l->queue) : status;
    if (status == PEL_OK && (status = pel_graph_replace(l->graph, l->queue, 1)) == PEL_OK) {
        status = launch(l, l->y);
        (void)pel_graph_end(l->graph);
    }
    return status == PEL_OK ? pel_graph_replay(l->graph, l->queue, NULL, NULL) : status;
}

/* Whatever else fails, the user event is ended: nobody may wait for it for ever. */
static pel_status use_events(life *l) {
    pel_error *error = NULL;
    pel_event *user = NULL, *waiting = NULL, *called = NULL;
    pel_status status = pel_event_create_user(l->runtime, &user, &error);
    drop(error, status);
    if (status != PEL_OK) {
        return status;
    }
    const pel_event *waits[] = {user};
    pel_task_desc desc = PEL_TASK_DESC_INIT;
    desc.name = "waits";
    desc.waits = waits;
    desc.wait_count = 1;
    status = pel_task(l->queue, count_bare, l, NULL, 0, &desc, &waiting);
    if (status == PEL_OK) {
        status = pel_callback(l->queue, waiting, count_call, l, &called);
    }
    if (status == PEL_OK) {
        status = pel_marker(l->queue, NULL, NULL);
    }
    const pel_status set = pel_event_set_status(user, PEL_OK);
    status = status == PEL_OK ? set : status;
    pel_event_release(user);
    pel_event_release(waiting);
    pel_event_release(called);
    return status;
}

static pel_status use_memory(life *l) {
    static const uint32_t pattern = 7;
    const pel_rows to = {l->y, 0, 16}, from = {l->x, 128, 32};
    pel_mapping *mapping = NULL;
    void *data = NULL;
    pel_status status;
    if ((status = pel_fill(l->queue, l->x, 128, 128, &pattern, sizeof pattern, NULL, NULL)) != PEL_OK ||
        (status = pel_copy_rect(l->queue, &to, &from, 16, 4, NULL, NULL)) != PEL_OK ||
        (status = pel_barrier(l->queue, NULL, NULL)) != PEL_OK ||
        (status = pel_map(l->queue, l->y, 0, 64, PEL_MAP_READ | PEL_MAP_WRITE, NULL, &mapping)) != PEL_OK) {
        return status;
    }
    if ((status = pel_map_wait(mapping, &data)) == PEL_OK) {
        for (int i = 0; i < 16; i++) {
            assert_int_equal(((const uint32_t *)data)[i], pattern);
        }
        status = pel_unmap(mapping);
    }
    pel_mapping_destroy(mapping);
    return status;
}

static pel_status use_tasks(life *l) {
    const pel_access first = PEL_ACCESS(l->x, 0, sizeof(uint32_t), PEL_READ_WRITE);
    const pel_range range = PEL_RANGE_1D(1000);
    const uint64_t zero = 0;
    uint64_t sum = 0;
    pel_status status = PEL_OK;
    for (int i = 0; i < BARE && status == PEL_OK; i++) {
        status = pel_task(l->queue, count_bare, l, NULL, 0, NULL, NULL);
    }
    if (status != PEL_OK || (status = pel_task(l->queue, parent, l, &first, 1, NULL, NULL)) != PEL_OK ||
        (status = pel_loop(l->queue, 20, 1, count_pieces, l, NULL, 0, NULL, NULL)) != PEL_OK ||
        (status = pel_parallel_reduce(l->runtime, &range, sum_part, merge, sizeof sum, &zero, &sum, NULL, NULL)) != PEL_OK) {
        return status;
    }
    assert_int_equal(sum, 999 * 1000 / 2);
    return PEL_OK;
}

/* All steps, whatever the ones before did: a queue that has failed takes commands. */
static pel_status use_all(life *l) {
    static pel_status (*const steps[])(life *l) = {use_graph, use_events, use_memory, use_tasks};
    pel_status first = PEL_OK;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const pel_status status = steps[i](l);
        first = first == PEL_OK ? status : first;
    }
    const pel_status finished = pel_queue_finish(l->queue);
    first = first == PEL_OK ? finished : first;
    pel_error *error = pel_queue_error(l->queue);
    assert_true(first == PEL_OK || finished != PEL_OK || error || first == PEL_OUT_OF_MEMORY);
    pel_error_destroy(error);
    return first;
}

static void check(const life *l) {
    const uint32_t *x = pel_buffer_data(l->x), *y = pel_buffer_data(l->y);
    const uint32_t by_graph = 2 * REPLAYS + 1;
    assert_int_equal(atomic_load(&((life *)(uintptr_t)l)->bare), BARE + 1 + REPLAYS + 1);
    assert_int_equal(atomic_load(&((life *)(uintptr_t)l)->called), 1);
    assert_int_equal(atomic_load(&((life *)(uintptr_t)l)->looped), 20);
    for (int i = 0; i < N; i++) {
        assert_int_equal(x[i], i >= 32 ? 7 : by_graph + (i == 0 ? 10 : 0));
        assert_int_equal(y[i], i < 16 ? 7 : 1);
    }
}

static bool live_once(counted *memory, const pel_runtime_desc *wanted) {
    static life l;
    const pel_allocator allocator = {counted_reallocate, memory};
    pel_runtime_desc desc = *wanted;
    memset(&l, 0, sizeof l);
    desc.allocator = &allocator;
    l.waits = !desc.simulation;
    pel_status status = build(&l, &desc);
    if (status == PEL_OK) {
        status = use_all(&l);
    }
    if (status == PEL_OK && (status = pel_buffer_sync(l.x)) == PEL_OK && (status = pel_buffer_sync(l.y)) == PEL_OK) {
        check(&l);
    }
    (void)pel_graph_destroy(l.graph);
    pel_kernel_destroy(l.kernel);
    pel_program_destroy(l.program);
    (void)pel_queue_destroy(l.queue);
    pel_buffer_destroy(l.x);
    pel_buffer_destroy(l.y);
    assert_int_equal(pel_runtime_destroy(l.runtime), PEL_OK);
    return status == PEL_OK;
}

static void test_host(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = 2;
    desc.flags = PEL_RUNTIME_NO_CACHE;
    desc.history = "off";
    counted_every_site("host", live_once, &desc);
}

static void test_simulated(void **state) {
    (void)state;
    counted_every_site_simulated(live_once);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_simulated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
