/* SPDX-License-Identifier: BSD-3-Clause */
/* The held-back tail: what is held back, and that what is handed out is the whole of it, in order, to devices that can use it. */
#include "planner/planner.h"
#include "support/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state;

static double uniform(void) { return test_uniform(&random_state); }

typedef struct machine {
    uint32_t count;
    double start[8], unit[8], scatter;
    char name[8][16];
    pel_plan_device devices[8];
    pel_plan_request request;
} machine;

static void draw(machine *m, double scatter) {
    memset(m, 0, sizeof *m);
    m->count = 2 + (uint32_t)(6.999 * uniform());
    m->scatter = scatter;
    for (uint32_t i = 0; i < m->count; i++) {
        (void)snprintf(m->name[i], sizeof m->name[i], "d%u", (unsigned)i);
        m->start[i] = 20e3 * exp(3.0 * uniform());
        m->unit[i] = 1.0 * exp(2.7 * uniform());
        m->devices[i] = (pel_plan_device){
            .id = m->name[i],
            .prior_rate = 1.0,
            .unit_limit = UINT64_MAX,
            .cost = {.start_ns = m->start[i], .unit_ns = m->unit[i], .deviation = scatter, .samples = 30}};
    }
    m->request = (pel_plan_request){.units = 1 + (uint64_t)(1e4 * exp(9.0 * uniform())),
                                    .granularity = 1 + (uint64_t)(100.0 * uniform()),
                                    .devices = m->devices,
                                    .device_count = m->count,
                                    .pieces = true};
}

/* Hands a tail out with luck, checks what every piece must be, returns when all is over. */
static double play(const machine *m, pel_plan_result *result, uint32_t *pieces) {
    pel_tail *tail = &result->tail;
    double end[8] = {0.0}, began[8] = {0.0}, last = 0.0;
    bool busy[8] = {false};
    uint64_t at = tail->lo;
    *pieces = 0;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        const pel_plan_slice *s = &result->slices[i];
        const pel_tail_piece first = {s->device, s->lo, s->hi, s->predicted_ns};
        pel_tail_begin(tail, &first, 0.0);
        end[s->device] = s->predicted_ns * exp(m->scatter * (2.0 * uniform() - 1.0));
        busy[s->device] = true;
    }
    for (;;) {
        uint32_t next = 8, working = 0;
        for (uint32_t i = 0; i < m->count; i++) {
            working += busy[i];
            next = busy[i] && (next == 8 || end[i] < end[next]) ? i : next;
        }
        if (next == 8) {
            break;
        }
        last = end[next];
        busy[next] = false;
        pel_tail_end(tail, next, end[next] - began[next]);
        for (uint32_t turn = 0; turn <= m->count; turn++) {
            uint32_t device = turn == 0 ? next : turn - 1;
            pel_tail_piece piece;
            if (busy[device] || !pel_tail_next(tail, device, last, working == 1 && turn == m->count && device == next, &piece)) {
                continue;
            }
            assert_true(piece.device == device && piece.lo == at && piece.hi > piece.lo && piece.hi <= tail->hi);
            assert_true(piece.hi == tail->hi || (piece.hi - tail->lo) % tail->grain == 0);
            pel_tail_begin(tail, &piece, last);
            at = piece.hi;
            began[device] = last;
            end[device] = last + piece.predicted_ns * exp(m->scatter * (2.0 * uniform() - 1.0));
            busy[device] = true;
            ++*pieces;
            working += device != next;
        }
        if (working == 1 && !busy[next] && pel_tail_left(tail)) {
            pel_tail_piece piece;
            assert_true(pel_tail_next(tail, next, last, true, &piece)); /* who must, does */
            pel_tail_begin(tail, &piece, last);
            at = piece.hi;
            began[next] = last;
            end[next] = last + piece.predicted_ns;
            busy[next] = true;
            ++*pieces;
        }
    }
    assert_false(pel_tail_left(tail));
    assert_true(at == tail->hi);
    return last;
}

static void pieces_cover_the_tail(void **state) {
    (void)state;
    machine m;
    pel_plan_result result;
    uint32_t tails = 0, pieces;
    double with = 0.0, without = 0.0;
    random_state = 5;
    for (int round = 0; round < 3000; round++) {
        draw(&m, 0.3 * uniform());
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        uint64_t end = result.slices[result.slice_count - 1].hi;
        if (result.tail.lo == result.tail.hi) {
            assert_true(end == m.request.units);
            continue;
        }
        tails++;
        assert_true(result.tail.lo == end && result.tail.hi == m.request.units && result.slice_count > 1);
        assert_true(result.tail.grain % m.request.granularity == 0 && result.tail.lo % m.request.granularity == 0);
        double predicted = result.predicted_ns, took = play(&m, &result, &pieces);
        assert_true(pieces > 0 && pieces <= pel_tail_pieces(&result.tail) && pieces <= PEL_TAIL_PIECES);
        with += took / predicted;
        without += 1.0;
        m.request.pieces = false; /* who may not, does not */
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        assert_true(result.tail.lo == result.tail.hi && result.slices[result.slice_count - 1].hi == m.request.units);
    }
    printf("%u tails of 3000, on average %.3f of the plan's time\n", (unsigned)tails, with / without);
    assert_true(tails > 500);
    assert_true(with / without < 1.05);
}

/* Short launches and steady devices are not worth more starts. */
static void is_not_held_back_for_nothing(void **state) {
    (void)state;
    machine m;
    pel_plan_result result;
    random_state = 6;
    for (int round = 0; round < 300; round++) {
        draw(&m, 0.0);
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        assert_true(result.tail.lo == result.tail.hi);
        draw(&m, 0.1);
        m.request.units = 20000; /* well below a millisecond */
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        assert_true(result.tail.lo == result.tail.hi || result.predicted_ns > 5e5);
    }
    uint32_t cheap = 0, dear = 0; /* what lies between two chunks is a price, too */
    for (int round = 0; round < 300; round++) {
        draw(&m, 0.2);
        m.request.units = 3000000;
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        cheap += result.tail.lo < result.tail.hi;
        for (uint32_t i = 0; i < m.count; i++) {
            m.devices[i].piece_start_ns = 1e7;
        }
        assert_int_equal(pel_planner_plan(&m.request, &result), PEL_OK);
        dear += result.tail.lo < result.tail.hi;
    }
    assert_true(cheap > 50);
    assert_int_equal(dear, 0);
}

/* Whoever is slow, or overdue, gets less than its share on paper. */
static void follows_what_happens(void **state) {
    (void)state;
    pel_tail tail = {.lo = 0, .hi = 100000, .grain = 1000, .units = 1000000, .count = 2};
    for (uint32_t i = 0; i < 2; i++) {
        tail.devices[i] = (pel_tail_device){.device = i, .start = 1e3, .unit = 10.0, .deviation = 0.05, .doubt = 0.01};
    }
    const pel_tail_piece chunks[] = {{0, 100000, 500000, 4e6}, {1, 500000, 1000000, 4e6}};
    pel_tail other, idle = tail;
    pel_tail_piece piece, more, less;
    pel_tail_begin(&tail, &chunks[0], 0.0);
    pel_tail_begin(&tail, &chunks[1], 0.0);
    pel_tail_end(&tail, 0, 4e6);
    other = tail;
    assert_true(pel_tail_next(&tail, 0, 4e6, false, &piece));
    assert_true(pel_tail_next(&other, 0, 4.5e6, false, &more)); /* the other one is overdue */
    assert_true(more.hi - more.lo > piece.hi - piece.lo);
    pel_tail_begin(&idle, &chunks[0], 0.0);
    pel_tail_begin(&idle, &chunks[1], 0.0);
    pel_tail_end(&idle, 0, 12e6); /* three times slower than thought: news */
    assert_true(idle.devices[0].unit > 20.0);
    assert_true(pel_tail_next(&idle, 0, 4e6, false, &less));
    assert_true(less.hi - less.lo < piece.hi - piece.lo);
    assert_false(pel_tail_next(&idle, 7, 4e6, true, &less)); /* not of this launch */
}

/* The smallest piece takes it longer than the others need for everything: it declines, unless nobody else is there. */
static void a_slow_one_declines(void **state) {
    (void)state;
    pel_tail tail = {.lo = 0, .hi = 8000, .grain = 4000, .units = 1000000, .count = 2};
    tail.devices[0] = (pel_tail_device){.device = 0, .start = 1e3, .unit = 1.0, .deviation = 0.05};
    tail.devices[1] = (pel_tail_device){.device = 1, .start = 1e3, .unit = 100.0, .deviation = 0.05};
    pel_tail_piece piece;
    assert_false(pel_tail_next(&tail, 1, 0.0, false, &piece));
    assert_true(pel_tail_next(&tail, 1, 0.0, true, &piece));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_cover_the_tail), cmocka_unit_test(is_not_held_back_for_nothing),
                                       cmocka_unit_test(follows_what_happens), cmocka_unit_test(a_slow_one_declines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
