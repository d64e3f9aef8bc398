/* SPDX-License-Identifier: BSD-3-Clause */
/* Graphs: replays with changed arguments against sequential execution, on host workers and on a simulated machine; failures,
 * order with the outside, misuse. */
#include "machines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pel_runtime *runtime;
static pel_queue *queue;

static int set_up(void **state) {
    (void)state;
    runtime = machine_host(4);
    queue = machine_queue(runtime);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)pel_queue_destroy(queue);
    return (int)pel_runtime_destroy(runtime);
}

static pel_graph *new_graph(void) {
    pel_graph *graph = NULL;
    assert_int_equal(pel_graph_create(runtime, &graph, NULL), PEL_OK);
    return graph;
}

/* ---- random graphs of host commands ---- */

enum { BYTES = 512, COMMANDS = 60, REPLAYS = 6 };

typedef struct step {
    int kind; /* 0 to 4: a task; 5: copy; 6: fill; 7: copy of rows; 8: marker; 9: barrier */
    unsigned char *bytes;
    uint64_t from, from_bytes, to, to_bytes, rows, pitch;
    unsigned char salt;
} step;

static pel_status run_step(void *context) { /* the written range becomes a hash of the read range */
    const step *s = context;
    unsigned hash = s->salt;
    for (uint64_t i = s->from; i < s->from + s->from_bytes; i++) {
        hash = hash * 31 + s->bytes[i];
    }
    for (uint64_t i = s->to; i < s->to + s->to_bytes; i++) {
        s->bytes[i] = (unsigned char)(hash + i);
    }
    return PEL_OK;
}

static void run_oracle(const step *original, unsigned char *bytes) {
    step s = *original;
    s.bytes = bytes;
    if (s.kind <= 4) {
        (void)run_step(&s);
    } else if (s.kind == 5) {
        memcpy(bytes + s.to, bytes + s.from, s.to_bytes);
    } else if (s.kind == 6) {
        memset(bytes + s.to, s.salt, s.to_bytes);
    } else if (s.kind == 7) {
        for (uint64_t i = 0; i < s.rows; i++) {
            memcpy(bytes + s.to + i * s.pitch, bytes + s.from + i * s.pitch, s.to_bytes);
        }
    }
}

static void random_step(step *s, unsigned char *bytes) {
    *s = (step){.kind = (int)(machine_random() % 10), .bytes = bytes, .salt = (unsigned char)machine_random()};
    s->from = machine_random() % BYTES;
    s->from_bytes = 1 + machine_random() % (BYTES - s->from);
    s->to = machine_random() % BYTES;
    s->to_bytes = 1 + machine_random() % (BYTES - s->to > 40 ? 40 : BYTES - s->to);
    if (s->kind == 5) { /* halves do not overlap */
        s->from = machine_random() % (BYTES / 4);
        s->to = BYTES / 2 + machine_random() % (BYTES / 4);
        s->to_bytes = 1 + machine_random() % (BYTES / 4);
    } else if (s->kind == 7) {
        s->pitch = 32;
        s->rows = 1 + machine_random() % 8;
        s->to_bytes = 1 + machine_random() % 16;
        s->from = machine_random() % 128;
        s->from -= s->from % 32;
        s->to = s->from + 16;
    }
}

static pel_status submit_step(step *s, pel_buffer *buffer) {
    const pel_access accesses[2] = {PEL_ACCESS(buffer, s->from, s->from_bytes, PEL_READ),
                                    PEL_ACCESS(buffer, s->to, s->to_bytes, PEL_WRITE)};
    const pel_rows to = {buffer, s->to, s->pitch}, from = {buffer, s->from, s->pitch};
    switch (s->kind) {
    case 5:
        return pel_copy(queue, buffer, s->to, buffer, s->from, s->to_bytes, NULL, NULL);
    case 6:
        return pel_fill(queue, buffer, s->to, s->to_bytes, &s->salt, 1, NULL, NULL);
    case 7:
        return pel_copy_rect(queue, &to, &from, s->to_bytes, s->rows, NULL, NULL);
    case 8:
        return pel_marker(queue, NULL, NULL);
    case 9:
        return pel_barrier(queue, NULL, NULL);
    default:
        return pel_task(queue, run_step, s, accesses, 2, NULL, NULL);
    }
}

static void test_random_graphs(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        static step steps[COMMANDS];
        unsigned char bytes[BYTES] = {0}, expected[BYTES] = {0};
        pel_buffer *buffer = NULL;
        pel_graph *graph = new_graph();
        machine_seed(seed);
        assert_int_equal(pel_buffer_wrap(runtime, bytes, BYTES, &buffer), PEL_OK);
        assert_int_equal(pel_graph_record(graph, queue), PEL_OK);
        for (int i = 0; i < COMMANDS; i++) {
            random_step(&steps[i], bytes);
            assert_int_equal(submit_step(&steps[i], buffer), PEL_OK);
        }
        assert_int_equal(pel_graph_end(graph), PEL_OK);
        assert_int_equal(pel_graph_size(graph), COMMANDS);
        for (int replay = 0; replay < REPLAYS; replay++) {
            const int times = 1 + (int)(machine_random() % 3);
            for (int t = 0; t < times; t++) { /* with something before and after that is not of the graph */
                step outside;
                random_step(&outside, bytes);
                outside.kind = 6;
                assert_int_equal(submit_step(&outside, buffer), PEL_OK);
                run_oracle(&outside, expected);
                assert_int_equal(pel_graph_replay(graph, queue, NULL, NULL), PEL_OK);
                for (int i = 0; i < COMMANDS; i++) {
                    run_oracle(&steps[i], expected);
                }
            }
            assert_int_equal(pel_queue_finish(queue), PEL_OK);
            if (memcmp(bytes, expected, BYTES) != 0) {
                fail_msg("seed %llu, replay %d: the result differs from sequential execution", (unsigned long long)seed, replay);
            }
            const uint32_t changed = (uint32_t)(machine_random() % COMMANDS);
            if (machine_random() % 2 && steps[changed].kind <= 4) {
                steps[changed].salt++; /* the same accesses */
            } else {
                random_step(&steps[changed], bytes);
            }
            assert_int_equal(pel_graph_replace(graph, queue, changed), PEL_OK);
            assert_int_equal(submit_step(&steps[changed], buffer), PEL_OK);
        }
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
        assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    }
}

/* ---- shapes ---- */

typedef struct chain {
    uint64_t next;
    bool broken;
} chain;
static chain the_chain;

static pel_status link_task(void *context) {
    the_chain.broken |= the_chain.next != (uint64_t)(uintptr_t)context;
    the_chain.next = (uint64_t)(uintptr_t)context + 1;
    return PEL_OK;
}

static void test_chain(void **state) {
    (void)state;
    enum { LINKS = 20000 };
    pel_graph *graph = new_graph();
    pel_buffer *buffer = NULL;
    assert_int_equal(pel_buffer_create(runtime, 8, &buffer, NULL), PEL_OK);
    const pel_access access = PEL_ACCESS(buffer, 0, 8, PEL_READ_WRITE);
    assert_int_equal(pel_graph_record(graph, queue), PEL_OK);
    for (uint64_t i = 0; i < LINKS; i++) {
        assert_int_equal(pel_task(queue, link_task, (void *)(uintptr_t)i, &access, 1, NULL, NULL), PEL_OK);
    }
    assert_int_equal(pel_graph_end(graph), PEL_OK);
    for (int i = 0; i < 20; i++) {
        the_chain = (chain){0, false};
        assert_int_equal(pel_graph_replay(graph, queue, NULL, NULL), PEL_OK);
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_true(the_chain.next == LINKS && !the_chain.broken);
    }
    assert_int_equal(pel_graph_destroy(graph), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
}

static pel_status count_up(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
    return PEL_OK;
}

static pel_status count_loop(uint64_t begin, uint64_t end, void *context) {
    atomic_fetch_add((atomic_int *)context, (int)(end - begin));
    return PEL_OK;
}

/* More successors than a deque has room for, then one that waits for all; a loop; many roots. Replays pile up, and the graph
 * goes as soon as they are over. */
static void test_wide_graphs(void **state) {
    (void)state;
    enum { WIDTH = 3000, LOOP = 1000, ROOTS = 500 };
    for (int round = 0; round < 30; round++) {
        atomic_int count = 0;
        unsigned char *bytes = calloc(1, WIDTH);
        pel_graph *graph = new_graph();
        pel_buffer *buffer = NULL;
        pel_event *first = NULL;
        assert_int_equal(pel_buffer_wrap(runtime, bytes, WIDTH, &buffer), PEL_OK);
        const pel_access all = PEL_ACCESS(buffer, 0, WIDTH, PEL_READ_WRITE);
        assert_int_equal(pel_graph_record(graph, queue), PEL_OK);
        assert_int_equal(pel_task(queue, count_up, &count, &all, 1, NULL, &first), PEL_OK);
        for (uint64_t i = 0; i < WIDTH; i++) {
            const pel_access one = PEL_ACCESS(buffer, i, 1, PEL_READ_WRITE);
            assert_int_equal(pel_task(queue, count_up, &count, &one, 1, NULL, NULL), PEL_OK);
        }
        assert_int_equal(pel_loop(queue, LOOP, 1, count_loop, &count, &all, 1, NULL, NULL), PEL_OK);
        for (int i = 0; i < ROOTS; i++) {
            assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, NULL, NULL), PEL_OK);
        }
        const pel_event *before = first;
        const pel_task_desc after = {.size = sizeof after, .waits = &before, .wait_count = 1};
        assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, &after, NULL), PEL_OK);
        assert_int_equal(pel_graph_end(graph), PEL_OK);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pel_graph_replay(graph, queue, NULL, NULL), PEL_OK);
        }
        assert_int_equal(pel_queue_finish(queue), PEL_OK);
        assert_int_equal(atomic_load(&count), 3 * (1 + WIDTH + LOOP + ROOTS + 1));
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
        pel_event_release(first);
        assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
        free(bytes);
    }
}

/* ---- failures and misuse ---- */

static atomic_bool fails;
static pel_status fail_sometimes(void *context) {
    (void)context;
    return atomic_load(&fails) ? PEL_IO : PEL_OK;
}

static void test_failures_spread_inside(void **state) {
    (void)state;
    atomic_int count = 0;
    unsigned char bytes[4] = {0};
    pel_graph *graph = new_graph();
    pel_buffer *buffer = NULL;
    pel_event *event = NULL, *reader = NULL;
    assert_int_equal(pel_buffer_wrap(runtime, bytes, sizeof bytes, &buffer), PEL_OK);
    const pel_access write0 = PEL_ACCESS(buffer, 0, 1, PEL_WRITE), read0 = PEL_ACCESS(buffer, 0, 1, PEL_READ);
    const pel_access write1 = PEL_ACCESS(buffer, 1, 1, PEL_WRITE);
    const pel_access through[2] = {PEL_ACCESS(buffer, 0, 1, PEL_READ), PEL_ACCESS(buffer, 2, 1, PEL_WRITE)},
                     read2 = PEL_ACCESS(buffer, 2, 1, PEL_READ);
    const pel_task_desc named = {.size = sizeof named, .name = "culprit"};
    assert_int_equal(pel_graph_record(graph, queue), PEL_OK);
    assert_int_equal(pel_task(queue, fail_sometimes, NULL, &write0, 1, &named, NULL), PEL_OK);
    assert_int_equal(pel_task(queue, count_up, &count, through, 2, NULL, NULL), PEL_OK); /* not run when it fails */
    assert_int_equal(pel_task(queue, count_up, &count, &read2, 1, NULL, NULL), PEL_OK);  /* nor this */
    assert_int_equal(pel_task(queue, count_up, &count, &write1, 1, NULL, NULL), PEL_OK); /* run */
    assert_int_equal(pel_task(queue, count_up, &count, &write0, 1, NULL, NULL), PEL_OK); /* run: it overwrites */
    assert_int_equal(pel_graph_end(graph), PEL_OK);
    for (int round = 0; round < 4; round++) {
        atomic_store(&fails, round % 2 == 1);
        atomic_store(&count, 0);
        assert_int_equal(pel_graph_replay(graph, queue, NULL, &event), PEL_OK);
        assert_int_equal(pel_task(queue, count_up, &count, &read0, 1, NULL, &reader), PEL_OK);
        assert_int_equal(pel_event_wait(event), round % 2 ? PEL_TASK_FAILED : PEL_OK);
        assert_int_equal(pel_event_wait(reader), round % 2 ? PEL_DEPENDENCY_FAILED : PEL_OK);
        assert_int_equal(atomic_load(&count), round % 2 ? 2 : 5);
        if (round % 2) {
            assert_non_null(strstr(pel_error_message(pel_event_error(event)), "command 0 (culprit) returned PEL_IO"));
            assert_int_equal(pel_queue_finish(queue), PEL_TASK_FAILED);
            assert_int_equal(pel_queue_reset(queue), PEL_OK);
        }
        pel_event_release(event);
        pel_event_release(reader);
    }
    assert_int_equal(pel_graph_destroy(graph), PEL_OK);
    assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
}

static void nothing(pel_event *event, void *context) {
    (void)event;
    (void)context;
}

static void note_status(pel_event *event, void *context) { atomic_store((atomic_int *)context, (int)pel_event_status(event)); }

/* The event of a recorded command is over from the start, with an error that says why, and no replay changes that. */
static void expect_only_recorded(pel_event *recorded) {
    atomic_int told = PEL_OK;
    pel_plan *plan = NULL;
    assert_int_equal(pel_event_get_state(recorded), PEL_EVENT_COMPLETE);
    assert_int_equal(pel_event_status(recorded), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_event_wait(recorded), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_event_cancel(recorded), PEL_BUSY);
    assert_int_equal(pel_event_set_status(recorded, PEL_OK), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_event_get_plan(recorded, &plan), PEL_NOT_FOUND);
    assert_non_null(strstr(pel_error_message(pel_event_error(recorded)), "was recorded in a graph, not run"));
    assert_int_equal(pel_callback(queue, recorded, note_status, &told, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&told), PEL_INVALID_ARGUMENT);
}

static void test_misuse(void **state) {
    (void)state;
    atomic_int count = 0;
    pel_graph *graph = new_graph(), *other = new_graph();
    pel_event *recorded = NULL, *gate = NULL, *replay = NULL, *task = NULL;
    assert_int_equal(pel_event_create_user(runtime, &gate, NULL), PEL_OK);
    assert_int_equal(pel_graph_replay(graph, queue, NULL, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_graph_replace(graph, queue, 0), PEL_NOT_FOUND);
    assert_int_equal(pel_graph_record(graph, queue), PEL_OK);
    assert_int_equal(pel_graph_record(other, queue), PEL_CONFLICT);
    assert_int_equal(pel_graph_record(graph, queue), PEL_CONFLICT);
    assert_int_equal(pel_graph_replay(graph, queue, NULL, NULL), PEL_UNSUPPORTED);
    assert_int_equal(pel_callback(queue, gate, nothing, NULL, NULL), PEL_UNSUPPORTED);
    const pel_event *waits = gate;
    const pel_task_desc desc = {.size = sizeof desc, .waits = &waits, .wait_count = 1};
    assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, &desc, NULL), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, NULL, &recorded), PEL_OK);
    assert_int_equal(pel_event_wait(recorded), PEL_INVALID_ARGUMENT);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&count), 0);
    assert_int_equal(pel_graph_end(graph), PEL_OK);
    expect_only_recorded(recorded);
    const pel_event *wrong = recorded;
    const pel_task_desc after = {.size = sizeof after, .waits = &wrong, .wait_count = 1};
    assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, &after, &task), PEL_OK);
    assert_int_equal(pel_event_wait(task), PEL_DEPENDENCY_FAILED);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    /* While a replay waits, nothing can be changed. */
    assert_int_equal(pel_graph_replay(graph, queue, &desc, &replay), PEL_OK);
    assert_int_equal(pel_graph_destroy(graph), PEL_BUSY);
    assert_int_equal(pel_graph_replace(graph, queue, 0), PEL_BUSY);
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    assert_int_equal(pel_event_wait(replay), PEL_OK);
    assert_int_equal(atomic_load(&count), 1);
    expect_only_recorded(recorded);
    /* A replay can be cancelled like any command. */
    pel_event_release(replay);
    pel_event_release(gate);
    assert_int_equal(pel_event_create_user(runtime, &gate, NULL), PEL_OK);
    waits = gate;
    assert_int_equal(pel_graph_replay(graph, queue, &desc, &replay), PEL_OK);
    assert_int_equal(pel_event_cancel(replay), PEL_OK);
    assert_int_equal(pel_event_set_status(gate, PEL_OK), PEL_OK);
    assert_int_equal(pel_event_wait(replay), PEL_CANCELLED);
    assert_int_equal(atomic_load(&count), 1);
    assert_int_equal(pel_queue_reset(queue), PEL_OK);
    pel_event_release(replay);
    pel_event_release(gate);
    pel_event_release(task);
    pel_event_release(recorded);
    assert_int_equal(pel_graph_record(other, queue), PEL_OK);
    assert_int_equal(pel_graph_destroy(other), PEL_OK); /* ends the recording */
    assert_int_equal(pel_task(queue, count_up, &count, NULL, 0, NULL, NULL), PEL_OK);
    assert_int_equal(pel_queue_finish(queue), PEL_OK);
    assert_int_equal(atomic_load(&count), 2);
    assert_int_equal(pel_graph_destroy(graph), PEL_OK);
}

/* ---- launches among host commands, on devices with memory of their own ---- */

enum { N = 600 };

static void test_launches(void **state) {
    (void)state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};
    enum { MOVES = 25 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static int memory[3][N], expected[3][N];
        struct { int kind, from, to; pel_share shares[8]; uint32_t share_count; } moves[MOVES];
        pel_runtime *machine = machine_of_three();
        pel_queue *stream = machine_queue(machine);
        pel_kernel *kernel = machine_kernel(machine, "next", params, 2, machine_add_one, 0);
        pel_buffer *buffers[3];
        pel_graph *graph = NULL;
        machine_seed(seed);
        for (int b = 0; b < 3; b++) {
            for (int i = 0; i < N; i++) {
                memory[b][i] = expected[b][i] = (int)(machine_random() % 1000);
            }
            assert_int_equal(pel_buffer_wrap(machine, memory[b], sizeof memory[b], &buffers[b]), PEL_OK);
        }
        assert_int_equal(pel_graph_create(machine, &graph, NULL), PEL_OK);
        for (int replay = 0; replay < 5; replay++) {
            const int first = replay == 0 ? 0 : (int)(machine_random() % MOVES), last = replay == 0 ? MOVES : first + 1;
            assert_int_equal(replay == 0 ? pel_graph_record(graph, stream) : pel_graph_replace(graph, stream, (uint32_t)first),
                             PEL_OK);
            for (int i = first; i < last; i++) {
                moves[i].kind = (int)(machine_random() % 3);
                moves[i].from = (int)(machine_random() % 3);
                moves[i].to = (moves[i].from + 1 + (int)(machine_random() % 2)) % 3;
                if (moves[i].kind == 0) {
                    assert_int_equal(pel_copy(stream, buffers[moves[i].to], 40, buffers[moves[i].from], 80, 400, NULL, NULL),
                                     PEL_OK);
                    continue;
                }
                pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
                pel_arg args[] = {pel_buf(buffers[moves[i].from]), pel_buf(buffers[moves[i].to])};
                desc.global[0] = N;
                desc.shares = moves[i].shares;
                desc.share_count = moves[i].kind == 1 ? 0 : machine_random_shares(machine, moves[i].shares);
                assert_int_equal(pel_launch(stream, kernel, &desc, args, 2, NULL), PEL_OK);
            }
            assert_int_equal(pel_graph_end(graph), PEL_OK);
            for (int times = 0; times < 2; times++) {
                assert_int_equal(pel_graph_replay(graph, stream, NULL, NULL), PEL_OK);
                for (int i = 0; i < MOVES; i++) {
                    for (int k = 0; k < N && moves[i].kind != 0; k++) {
                        expected[moves[i].to][k] = expected[moves[i].from][k] + 1;
                    }
                    if (moves[i].kind == 0) {
                        memcpy(expected[moves[i].to] + 10, expected[moves[i].from] + 20, 400);
                    }
                }
            }
            machine_finish(stream);
            if (memcmp(memory, expected, sizeof memory) != 0) {
                fail_msg("seed %llu, replay %d: the result differs from sequential execution", (unsigned long long)seed, replay);
            }
        }
        assert_int_equal(pel_graph_destroy(graph), PEL_OK);
        pel_kernel_destroy(kernel);
        pel_queue_destroy(stream);
        for (int b = 0; b < 3; b++) {
            pel_buffer_destroy(buffers[b]);
        }
        assert_int_equal(pel_runtime_destroy(machine), PEL_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs), cmocka_unit_test(test_chain),
                                       cmocka_unit_test(test_wide_graphs),   cmocka_unit_test(test_failures_spread_inside),
                                       cmocka_unit_test(test_misuse),        cmocka_unit_test(test_launches)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
