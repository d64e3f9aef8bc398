/* SPDX-License-Identifier: BSD-3-Clause */
/* Footprints against a simulation of what each item touches, straight from the words of pel/access.h. */
#include "support/random.h"
#include "kernel/launches.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

typedef struct touched {
    unsigned char read[LAUNCH_MEMORY], written[LAUNCH_MEMORY];
} touched;

static void mark(unsigned char *map, uint64_t lo, uint64_t hi) {
    assert_true(hi <= LAUNCH_MEMORY);
    memset(map + lo, 1, (size_t)(hi - lo));
}

static void mark_by_mode(touched *t, pel_access_mode mode, uint64_t lo, uint64_t hi) {
    if (mode != PEL_WRITE) {
        mark(t->read, lo, hi);
    }
    if (mode != PEL_READ) {
        mark(t->written, lo, hi);
    }
}

static void touch_block(touched *t, const pel_param *param, const pel_span *whole, uint64_t pitch, uint64_t unit, uint64_t lo,
                        uint64_t hi) {
    uint64_t units = whole->global[whole->split];
    mark_by_mode(t, param->mode, unit * pitch, (unit + 1) * pitch);
    for (uint64_t other = 0; other < units; other++) {
        bool before = other < unit && unit - other <= param->halo_lo, after = other > unit && other - unit <= param->halo_hi;
        bool inside = other >= lo && other < hi; /* the chunk's own rows are no halo of it */
        if ((before || after) && !(inside && param->mode == PEL_WRITE)) {
            mark(t->read, other * pitch, (other + 1) * pitch);
        }
    }
}

/* One item, by the definitions. */
static void touch(touched *t, const pel_param *param, const pel_span *whole, uint64_t pitch, const uint64_t id[3], uint64_t lo,
                  uint64_t hi) {
    const uint64_t *g = whole->global;
    uint64_t i = (id[2] * g[1] + id[1]) * g[0] + id[0];
    if (param->kind == PEL_PARAM_KIND_ELEMENTWISE) {
        uint64_t first = i * param->num / param->den, last = ((i + 1) * param->num + param->den - 1) / param->den;
        mark_by_mode(t, param->mode, first * param->bytes, last * param->bytes);
    } else if (param->kind == PEL_PARAM_KIND_BLOCK) {
        touch_block(t, param, whole, pitch, id[whole->split], lo, hi);
    } else if (param->kind == PEL_PARAM_KIND_PER_GROUP) {
        uint64_t n0 = g[0] / whole->local[0], n1 = g[1] / whole->local[1];
        uint64_t group = (id[2] / whole->local[2] * n1 + id[1] / whole->local[1]) * n0 + id[0] / whole->local[0];
        mark(t->written, group * param->num * param->bytes, (group + 1) * param->num * param->bytes);
    }
}

static void simulate(touched *t, const pel_bound *bound, const pel_span *span, uint32_t arg, uint64_t pitch) {
    const pel_param *param = &bound->kernel->image.params[arg];
    uint64_t id[3], lo = span->lo[span->split], hi = span->hi[span->split];
    memset(t, 0, sizeof *t);
    for (id[2] = span->lo[2]; id[2] < span->hi[2]; id[2]++) {
        for (id[1] = span->lo[1]; id[1] < span->hi[1]; id[1]++) {
            for (id[0] = span->lo[0]; id[0] < span->hi[0]; id[0]++) {
                touch(t, param, &bound->span, pitch, id, lo, hi);
            }
        }
    }
}

static void compare_list(const pel_intervals *list, const unsigned char *expected) {
    static unsigned char got[LAUNCH_MEMORY];
    memset(got, 0, sizeof got);
    for (uint32_t i = 0; i < list->count; i++) {
        assert_true(list->data[i].lo < list->data[i].hi);
        assert_true(i == 0 || list->data[i - 1].hi < list->data[i].lo); /* sorted, disjoint, merged */
        mark(got, list->data[i].lo, list->data[i].hi);
    }
    assert_memory_equal(got, expected, sizeof got);
}

static uint64_t below(uint64_t *random, uint64_t limit) {
    return test_random(random) % limit;
}

static pel_param random_param(uint64_t *random) {
    pel_access_mode mode = (pel_access_mode)(1 + below(random, 3));
    switch (below(random, 3)) {
    case 0:
        return (pel_param)PEL_PARAM_ELEMENTWISE(mode, 1 + below(random, 3), 1 + below(random, 3), 1 + below(random, 9));
    case 1:
        return (pel_param)PEL_PARAM_BLOCK(mode, 1 + below(random, 2), below(random, 2) * 7, below(random, 3), below(random, 3));
    default:
        return (pel_param)PEL_PARAM_PER_GROUP(PEL_REDUCE_NONE, PEL_U32, 1 + below(random, 3), 1 + below(random, 3));
    }
}

static uint64_t pitch_of(const pel_param *param, const pel_span *span) {
    uint64_t items = span->global[0] * span->global[1] * span->global[2] / span->global[span->split];
    return param->pitch != 0 ? param->pitch : param->bytes * items;
}

static void test_against_items(void **state) {
    (void)state;
    static touched t;
    uint64_t checked = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t random = seed;
        static launches l;
        launches_begin(&l, "h");
        uint32_t dims = 1 + (uint32_t)below(&random, 3);
        pel_param param = random_param(&random);
        pel_kernel *kernel = launches_kernel(&l, &param, 1, (uint32_t)below(&random, dims + 1));
        pel_buffer *buffer = launches_wrap(&l, 0, LAUNCH_MEMORY);
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        for (uint32_t d = 0; d < dims; d++) {
            desc.local[d] = 1 + below(&random, 3);
            desc.global[d] = desc.local[d] * (1 + below(&random, dims == 1 ? 40 : 4));
        }
        pel_arg arg = pel_buf(buffer);
        pel_bound bound;
        assert_int_equal(pel_bind(kernel, &desc, &arg, 1, &bound, NULL), PEL_OK);
        pel_footprint footprint = {0};
        for (int i = 0; i < 8; i++) {
            pel_span span;
            uint64_t local = bound.span.local[bound.span.split], groups = bound.units / local;
            uint64_t lo = below(&random, groups) * local, hi = lo + (1 + below(&random, groups - lo / local)) * local;
            pel_bound_span(&bound, lo, hi, &span);
            assert_int_equal(pel_footprint_query(&bound, &span, 0, &footprint), PEL_OK);
            simulate(&t, &bound, &span, 0, pitch_of(&param, &bound.span));
            compare_list(&footprint.reads, t.read);
            compare_list(&footprint.writes, t.written);
            assert_true(footprint.known);
            checked++;
        }
        pel_footprint_free(&l.fake.runtime.allocator, &footprint);
        launches_unbind(&l, &bound);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        launches_end(&l);
    }
    assert_int_equal(checked, 3200);
}

static void test_whole_pointer_and_null(void **state) {
    (void)state;
    static launches l;
    launches_begin(&l, "h");
    const pel_param params[] = {PEL_PARAM_WHOLE(PEL_READ),    PEL_PARAM_WHOLE(PEL_WRITE),      PEL_PARAM_POINTER(PEL_READ),
                                PEL_PARAM_POINTER(PEL_WRITE), PEL_PARAM_WHOLE(PEL_READ_WRITE), PEL_PARAM_VALUE(int)};
    const struct {
        uint32_t reads, writes;
        bool known;
    } expected[] = {{1, 0, true}, {0, 1, true}, {1, 0, false}, {1, 1, false}, {0, 0, true}, {0, 0, true}};
    pel_kernel *kernel = launches_kernel(&l, params, 6, 0);
    pel_buffer *buffer = launches_wrap(&l, 0, 100);
    pel_arg args[] = {pel_buf(buffer), pel_buf(buffer), pel_buf(buffer), pel_buf_range(buffer, 10, 20), pel_null(), pel_i32(3)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 1000;
    pel_bound bound;
    pel_footprint footprint = {0};
    assert_int_equal(pel_bind(kernel, &desc, args, 6, &bound, NULL), PEL_OK);
    for (uint32_t i = 0; i < 6; i++) {
        pel_span span;
        pel_bound_span(&bound, 0, 500, &span);
        assert_int_equal(pel_footprint_query(&bound, &span, i, &footprint), PEL_OK);
        assert_int_equal(footprint.reads.count, expected[i].reads);
        assert_int_equal(footprint.writes.count, expected[i].writes);
        assert_int_equal(footprint.known, expected[i].known);
        if (footprint.reads.count > 0) {
            assert_int_equal(footprint.reads.data[0].lo, 0);
            assert_int_equal(footprint.reads.data[0].hi, i == 3 ? 20 : 100);
        }
    }
    pel_footprint_free(&l.fake.runtime.allocator, &footprint);
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static void test_custom(void **state) {
    (void)state;
    static launches l;
    launches_begin(&l, "h");
    const pel_param params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_CUSTOM(PEL_WRITE, launches_column, NULL)};
    pel_kernel *kernel = launches_kernel(&l, params, 2, 0);
    pel_buffer *buffer = launches_wrap(&l, 0, 100 * 64);
    pel_arg args[] = {pel_u32(5), pel_buf(buffer)};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 100;
    pel_bound bound;
    pel_footprint footprint = {0};
    pel_span span;
    assert_int_equal(pel_bind(kernel, &desc, args, 2, &bound, NULL), PEL_OK);
    pel_bound_span(&bound, 20, 90, &span);
    assert_int_equal(pel_footprint_query(&bound, &span, 1, &footprint), PEL_OK);
    assert_int_equal(footprint.reads.count, 0);
    assert_int_equal(footprint.writes.count, 70);
    for (uint64_t i = 0; i < 70; i++) {
        assert_int_equal(footprint.writes.data[i].lo, (20 + i) * 64 + 20);
        assert_int_equal(footprint.writes.data[i].hi, (20 + i) * 64 + 24);
    }
    pel_footprint_free(&l.fake.runtime.allocator, &footprint);
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

/* Pieces that touch, overlap, repeat or are empty, in no order: one sorted list without seams. */
static uint32_t untidy(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                       uint32_t capacity) {
    static const pel_interval answer[] = {{50, 60}, {10, 20}, {20, 30}, {5, 5}, {28, 40}, {10, 12}, {70, 80}, {60, 61}};
    (void)span;
    (void)arguments;
    (void)user;
    memcpy(intervals, answer, (capacity < 8 ? capacity : 8) * sizeof *answer);
    return 8;
}

static void test_custom_is_tidied(void **state) {
    (void)state;
    static launches l;
    launches_begin(&l, "h");
    const pel_param param = PEL_PARAM_CUSTOM(PEL_READ_WRITE, untidy, NULL);
    pel_kernel *kernel = launches_kernel(&l, &param, 1, 0);
    pel_arg arg = pel_buf(launches_wrap(&l, 0, 100));
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 100;
    pel_bound bound;
    pel_footprint footprint = {0};
    assert_int_equal(pel_bind(kernel, &desc, &arg, 1, &bound, NULL), PEL_OK);
    assert_int_equal(pel_footprint_query(&bound, &bound.span, 0, &footprint), PEL_OK);
    const pel_interval expected[] = {{10, 40}, {50, 61}, {70, 80}};
    assert_int_equal(footprint.reads.count, 3);
    assert_int_equal(footprint.writes.count, 3);
    assert_memory_equal(footprint.reads.data, expected, sizeof expected);
    assert_memory_equal(footprint.writes.data, expected, sizeof expected);
    pel_footprint_free(&l.fake.runtime.allocator, &footprint);
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    static launches l;
    for (uint64_t n = 1, failures = 0;; n++) {
        launches_begin(&l, "h");
        const pel_param params[] = {PEL_PARAM_VALUE(uint32_t), PEL_PARAM_CUSTOM(PEL_READ_WRITE, launches_column, NULL),
                                    PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 4, 1, 1)};
        pel_kernel *kernel = launches_kernel(&l, params, 3, 0);
        pel_buffer *buffer = launches_wrap(&l, 0, 100 * 64);
        pel_arg args[] = {pel_u32(5), pel_buf(buffer), pel_buf(buffer)};
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = 100;
        pel_bound bound;
        assert_int_equal(pel_bind(kernel, &desc, args, 3, &bound, NULL), PEL_OK);
        l.fake.memory.fail_from = l.fake.memory.calls + n;
        pel_status status = PEL_OK;
        for (uint32_t i = 1; i < 3 && status == PEL_OK; i++) {
            pel_footprint footprint = {0};
            status = pel_footprint_query(&bound, &bound.span, i, &footprint);
            pel_footprint_free(&l.fake.runtime.allocator, &footprint);
        }
        bool reached = l.fake.memory.calls >= l.fake.memory.fail_from;
        assert_int_equal(status, reached ? PEL_OUT_OF_MEMORY : PEL_OK);
        failures += reached;
        launches_unbind(&l, &bound);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        launches_end(&l);
        if (!reached) {
            assert_true(failures >= 5);
            return;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_items), cmocka_unit_test(test_whole_pointer_and_null),
                                       cmocka_unit_test(test_custom), cmocka_unit_test(test_custom_is_tidied),
                                       cmocka_unit_test(test_every_failing_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
