/* SPDX-License-Identifier: BSD-3-Clause */
/* How spans are cut into enqueues: random launches, checked item by item or by arithmetic. */
#include "backend/opencl/shape.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 20261122;

static uint64_t rnd(uint64_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static pel_span span_of(uint32_t dims, const uint64_t global[3]) {
    pel_span span;
    memset(&span, 0, sizeof span);
    span.dims = dims;
    span.split = dims - 1;
    for (uint32_t d = 0; d < dims; d++) {
        span.global[d] = span.hi[d] = global[d];
    }
    return span;
}

/* Pieces are disjoint strips along dimension 0 (or one), cover the span, and have local sizes that divide and are allowed. */
static void check_shape(const pel_span *span, const pel_cl_limits *limits, const pel_cl_shape *shape) {
    uint64_t next = span->lo[0];
    assert_in_range(shape->count, 1, PEL_CL_PIECES);
    for (uint32_t i = 0; i < shape->count; i++) {
        const pel_cl_piece *piece = &shape->pieces[i];
        assert_int_equal(piece->lo[0], next);
        next = piece->hi[0];
        uint64_t group = 1;
        for (uint32_t d = 0; d < 3; d++) {
            uint64_t lo = d < span->dims ? span->lo[d] : 0, hi = d < span->dims ? span->hi[d] : 1;
            assert_true(piece->hi[d] > piece->lo[d]);
            if (d > 0) {
                assert_int_equal(piece->lo[d], lo);
                assert_int_equal(piece->hi[d], hi);
            }
            assert_int_equal((piece->hi[d] - piece->lo[d]) % piece->local[d], 0);
            if (shape->chunked) {
                assert_int_equal(piece->lo[d] % piece->local[d], 0); /* else group ids of the whole launch would not be whole */
            }
            group *= piece->local[d];
        }
        assert_in_range(group, 1, limits->max_group);
    }
    assert_int_equal(next, span->hi[0]);
}

static void random_launches(void **state) {
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 200000; round++) {
        uint32_t dims = 1 + (uint32_t)rnd(3);
        uint64_t global[3];
        for (int d = 0; d < 3; d++) {
            global[d] = 1 + rnd(rnd(3) == 0 ? 5000 : 70);
        }
        pel_span span = span_of(dims, global);
        pel_cl_limits limits = {.max_group = 1ull << rnd(13)};
        bool chunked = rnd(2) == 0, plain_only = !chunked && rnd(3) == 0;
        if (chunked) {
            span.split = dims == 3 ? 2 : (uint32_t)rnd(dims);
            span.lo[span.split] = rnd(global[span.split]);
            span.hi[span.split] = span.lo[span.split] + 1 + rnd(global[span.split] - span.lo[span.split]);
        }
        if (rnd(4) == 0) {
            span.offset[0] = rnd(1000);
        }
        pel_cl_shape shape;
        pel_status status;
        const char *why = pel_cl_shape_make(&span, chunked, plain_only, &limits, &shape, &status);
        if (chunked && pel_addressing_refusal(&span)) {
            assert_non_null(why);
            continue;
        }
        assert_null(why);
        assert_true(!plain_only || !shape.chunked);
        assert_true(!chunked || shape.chunked);
        assert_true(!shape.chunked || !pel_addressing_refusal(&span));
        check_shape(&span, &limits, &shape);
    }
}

static void usual_choices(void **state) {
    (void)state;
    static const struct {
        uint32_t dims;
        uint64_t global[3];
        uint64_t local[3]; /* of the bulk */
        uint32_t pieces;
        bool chunked;
    } rows[] = {
        {1, {1 << 20, 0, 0}, {64, 1, 1}, 1, false},  {1, {1000, 0, 0}, {64, 1, 1}, 2, true},
        {1, {10, 0, 0}, {1, 1, 1}, 1, false},        {2, {1920, 1080, 0}, {64, 1, 1}, 1, false},
        {2, {1000, 1000, 0}, {200, 1, 1}, 1, false}, {2, {1009, 7, 0}, {64, 1, 1}, 2, true},
        {2, {3, 4096, 0}, {3, 16, 1}, 1, false},     {2, {1, 1, 0}, {1, 1, 1}, 1, false},
        {3, {16, 16, 16}, {16, 4, 1}, 1, false},     {3, {128, 128, 128}, {64, 1, 1}, 1, false},
    };
    const pel_cl_limits limits = {.max_group = 4096};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pel_span span = span_of(rows[i].dims, rows[i].global);
        pel_cl_shape shape;
        pel_status status;
        assert_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
        assert_int_equal(shape.count, rows[i].pieces);
        assert_int_equal(shape.chunked, rows[i].chunked);
        assert_memory_equal(shape.pieces[0].local, rows[i].local, sizeof rows[i].local);
    }
}

static void given_and_required(void **state) {
    (void)state;
    pel_cl_limits limits = {.max_group = 256};
    pel_cl_shape shape;
    pel_status status;
    pel_span span = span_of(1, (const uint64_t[3]){1000, 0, 0});

    span.local[0] = 100;
    assert_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
    assert_int_equal(shape.pieces[0].local[0], 100);
    span.local[0] = 500;
    assert_non_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
    assert_int_equal(status, PEL_UNSUPPORTED);
    span.local[0] = 300;
    assert_non_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
    assert_int_equal(status, PEL_INVALID_ARGUMENT);
    span.local[0] = 0;
    limits.required[0] = 50;
    limits.required[1] = limits.required[2] = 1;
    assert_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
    assert_int_equal(shape.pieces[0].local[0], 50);
    span.local[0] = 25;
    assert_non_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
    span.local[0] = 0;
    limits.required[1] = 2; /* a 1-D launch of a kernel that demands a 2-D group */
    assert_non_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
}

static void empty_spans(void **state) {
    (void)state;
    const pel_cl_limits limits = {.max_group = 256};
    pel_cl_shape shape;
    pel_status status;
    pel_span span = span_of(2, (const uint64_t[3]){0, 10, 0});
    assert_null(pel_cl_shape_make(&span, false, false, &limits, &shape, &status));
    assert_int_equal(shape.count, 0);
    span = span_of(1, (const uint64_t[3]){100, 0, 0});
    span.lo[0] = span.hi[0] = 50;
    assert_null(pel_cl_shape_make(&span, true, false, &limits, &shape, &status));
    assert_int_equal(shape.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_launches), cmocka_unit_test(usual_choices),
                                       cmocka_unit_test(given_and_required), cmocka_unit_test(empty_spans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
