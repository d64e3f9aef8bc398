/* SPDX-License-Identifier: BSD-3-Clause */
/* The conflict rule against sets of bytes, on random launches over aliasing memory. */
#include "support/random.h"
#include "kernel/launches.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ARGS 3
#define CHUNKS 5

static uint64_t below(uint64_t *random, uint64_t limit) {
    return test_random(random) % limit;
}

static pel_param random_param(uint64_t *random) {
    pel_access_mode mode = below(random, 2) ? PEL_READ : (pel_access_mode)(2 + below(random, 2));
    switch (below(random, 6)) {
    case 0:
    case 1:
        return (pel_param)PEL_PARAM_ELEMENTWISE(mode, 1 + below(random, 4), 1 + below(random, 2), 1 + below(random, 3));
    case 2:
        return (pel_param)PEL_PARAM_BLOCK(mode, 2, 0, below(random, 2), below(random, 2));
    case 3:
        return (pel_param)PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, 4, 3);
    case 4:
        return (pel_param)PEL_PARAM_PER_GROUP(PEL_REDUCE_NONE, PEL_U32, 4, 1);
    default:
        return (pel_param)PEL_PARAM_WHOLE(PEL_READ);
    }
}

/* Bytes by chunk and argument, as bit masks: chunk c of an ordinary argument has bit c. */
static unsigned char readers[LAUNCH_MEMORY], writers[LAUNCH_MEMORY], reductions[LAUNCH_MEMORY];

static void mark(const launches *l, const pel_bound_arg *arg, const pel_intervals *list, unsigned char *map, unsigned bit) {
    uint64_t at = (uint64_t)(arg->allocation->base - l->memory) + arg->offset;
    for (uint32_t i = 0; i < list->count; i++) {
        for (uint64_t b = at + list->data[i].lo; b < at + list->data[i].hi; b++) {
            map[b] = (unsigned char)(map[b] | bit);
        }
    }
}

static bool naive(const launches *l, const pel_bound *bound, const uint64_t *cuts, uint32_t chunks) {
    pel_footprint f = {0};
    memset(readers, 0, sizeof readers);
    memset(writers, 0, sizeof writers);
    memset(reductions, 0, sizeof reductions);
    for (uint32_t a = 0; a < bound->arg_count; a++) {
        for (uint32_t c = 0; c < chunks; c++) {
            pel_span span;
            pel_bound_span(bound, cuts[c], cuts[c + 1], &span);
            assert_int_equal(pel_footprint_query(bound, &span, a, &f), PEL_OK);
            if (bound->args[a].param == PEL_PARAM_KIND_REDUCE_PRIVATE) {
                mark(l, &bound->args[a], &f.writes, reductions, 1u << a);
            } else {
                mark(l, &bound->args[a], &f.reads, readers, 1u << c);
                mark(l, &bound->args[a], &f.writes, writers, 1u << c);
            }
        }
    }
    pel_footprint_free(&l->fake.runtime.allocator, &f);
    for (uint64_t b = 0; b < LAUNCH_MEMORY; b++) {
        unsigned r = readers[b], w = writers[b], p = reductions[b];
        if ((w & (w - 1)) != 0 || (w != 0 && (r & ~w) != 0) || (p & (p - 1)) != 0 || (p != 0 && (r | w) != 0)) {
            return true;
        }
    }
    return false;
}

static void test_against_sets(void **state) {
    (void)state;
    static launches l;
    uint64_t conflicts = 0, fine = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t random = seed;
        pel_param params[ARGS];
        pel_arg args[ARGS];
        launches_begin(&l, "h");
        uint64_t spread = below(&random, 3);
        for (uint32_t i = 0; i < ARGS; i++) {
            params[i] = random_param(&random);
            uint64_t offset = spread == 0 ? 0 : spread == 1 ? i * 2600u : below(&random, 3000);
            pel_buffer *buffer = launches_wrap(&l, offset, 2500);
            args[i] = below(&random, 4) == 0 ? pel_buf_range(buffer, below(&random, 100), 2000) : pel_buf(buffer);
        }
        uint32_t dims = 1 + (uint32_t)below(&random, 2);
        pel_kernel *kernel = launches_kernel(&l, params, ARGS, (uint32_t)below(&random, dims + 1));
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        for (uint32_t d = 0; d < dims; d++) {
            desc.global[d] = dims == 1 ? 24 + 2 * below(&random, 100) : 4 + 2 * below(&random, 6);
            desc.local[d] = 2;
        }
        pel_bound bound;
        assert_int_equal(pel_bind(kernel, &desc, args, ARGS, &bound, NULL), PEL_OK);
        uint64_t cuts[CHUNKS + 1] = {0}, step = below(&random, 3) == 0 ? 1 : bound.granularity < 4 ? bound.granularity : 2;
        uint32_t chunks = 0;
        while (chunks < CHUNKS && cuts[chunks] < bound.units) {
            uint64_t next = cuts[chunks] + step * (1 + below(&random, 4));
            chunks++;
            cuts[chunks] = chunks == CHUNKS || next > bound.units ? bound.units : next;
        }
        char *why = NULL;
        pel_status status = pel_conflict_check(&bound, cuts, chunks, &why);
        bool expected = chunks > 1 && naive(&l, &bound, cuts, chunks);
        if (status != (expected ? PEL_CONFLICT : PEL_OK)) {
            print_error("seed %llu: %s\n", (unsigned long long)seed, why ? why : "no conflict found");
        }
        assert_int_equal(status, expected ? PEL_CONFLICT : PEL_OK);
        assert_int_equal(why != NULL, expected);
        conflicts += expected;
        fine += !expected;
        pel_free(&l.fake.runtime.allocator, why);
        launches_unbind(&l, &bound);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        launches_end(&l);
    }
    assert_true(conflicts > 300 && fine > 300); /* the test saw both */
}

static pel_status check_halves(launches *l, const pel_param *params, const pel_arg *args, uint32_t count, uint64_t items,
                               char **why) {
    pel_kernel *kernel = launches_kernel(l, params, count, 0);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = items;
    pel_bound bound;
    assert_int_equal(pel_bind(kernel, &desc, args, count, &bound, NULL), PEL_OK);
    const uint64_t cuts[] = {0, items / 2, items};
    pel_status status = pel_conflict_check(&bound, cuts, 2, why);
    launches_unbind(l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    return status;
}

static void test_words(void **state) {
    (void)state;
    static launches l;
    launches_begin(&l, "h");
    pel_buffer *buffer = launches_wrap(&l, 0, 4000);
    const pel_param stencil[] = {PEL_PARAM_BLOCK(PEL_READ, 4, 4, 1, 1), PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4, 1, 1)};
    const pel_arg in_place[] = {pel_buf(buffer), pel_buf(buffer)};
    char *why = NULL;
    assert_int_equal(check_halves(&l, stencil, in_place, 2, 1000, &why), PEL_CONFLICT);
    assert_string_equal(
        why, "bytes [1996, 2000) of argument 1 are written by the chunk of units [0, 500) (argument 1) and read by the "
             "chunk of units [500, 1000) (argument 0)");
    pel_free(&l.fake.runtime.allocator, why);
    why = NULL;
    const pel_param sums[] = {PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_I32, 4, 2),
                              PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_MIN, PEL_I32, 4, 2)};
    const pel_arg apart[] = {pel_buf_range(buffer, 0, 8), pel_buf_range(buffer, 8, 8)};
    const pel_arg same[] = {pel_buf_range(buffer, 0, 8), pel_buf_range(buffer, 4, 8)};
    assert_int_equal(check_halves(&l, sums, apart, 2, 1000, &why), PEL_OK);
    assert_null(why);
    assert_int_equal(check_halves(&l, sums, same, 2, 1000, &why), PEL_CONFLICT);
    assert_non_null(strstr(why, "every chunk's reduction"));
    pel_free(&l.fake.runtime.allocator, why);
    launches_end(&l);
}

/* A chunk gets more than the whole launch: the hazards of the launch would not cover it. */
static uint32_t creeping(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                         uint32_t capacity) {
    (void)arguments;
    (void)user;
    bool whole = span->hi[0] - span->lo[0] == span->global[0];
    if (capacity > 0) {
        intervals[0] = (pel_interval){span->lo[0], whole ? span->hi[0] - 1 : span->hi[0]};
    }
    return 1;
}

static void test_custom_beyond_the_whole(void **state) {
    (void)state;
    static launches l;
    launches_begin(&l, "h");
    const pel_param params[] = {PEL_PARAM_CUSTOM(PEL_WRITE, creeping, NULL)};
    const pel_arg args[] = {pel_buf(launches_wrap(&l, 0, 4000))};
    char *why = NULL;
    assert_int_equal(check_halves(&l, params, args, 1, 1000, &why), PEL_CONFLICT);
    assert_non_null(strstr(why, "access function of argument 0"));
    pel_free(&l.fake.runtime.allocator, why);
    launches_end(&l);
}

/* 4096 strided pieces in each of two chunks: the sweep must not be quadratic. */
static void test_many_pieces(void **state) {
    (void)state;
    static launches l;
    launches_begin(&l, "h");
    const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 1, 1, 1)};
    const pel_arg args[] = {pel_buf(launches_wrap(&l, 0, LAUNCH_MEMORY))};
    pel_kernel *kernel = launches_kernel(&l, params, 1, 1);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = 2;
    desc.global[1] = 4096;
    pel_bound bound;
    assert_int_equal(pel_bind(kernel, &desc, args, 1, &bound, NULL), PEL_OK);
    const uint64_t cuts[] = {0, 1, 2};
    char *why = NULL;
    assert_int_equal(pel_conflict_check(&bound, cuts, 2, &why), PEL_OK);
    launches_unbind(&l, &bound);
    assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
    launches_end(&l);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    static launches l;
    const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, 4, 4, 1, 1), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, 4, 1, 1)};
    for (uint64_t n = 1, failures = 0;; n++) {
        launches_begin(&l, "h");
        pel_buffer *buffer = launches_wrap(&l, 0, 4000);
        const pel_arg args[] = {pel_buf(buffer), pel_buf(buffer)};
        pel_kernel *kernel = launches_kernel(&l, params, 2, 0);
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = 1000;
        pel_bound bound;
        assert_int_equal(pel_bind(kernel, &desc, args, 2, &bound, NULL), PEL_OK);
        const uint64_t cuts[] = {0, 500, 1000};
        char *why = NULL;
        l.fake.memory.fail_from = l.fake.memory.calls + n;
        pel_status status = pel_conflict_check(&bound, cuts, 2, &why);
        bool reached = l.fake.memory.calls >= l.fake.memory.fail_from;
        assert_int_equal(status, reached ? PEL_OUT_OF_MEMORY : PEL_CONFLICT);
        assert_int_equal(why != NULL, !reached);
        failures += reached;
        pel_free(&l.fake.runtime.allocator, why);
        launches_unbind(&l, &bound);
        assert_int_equal(pel_kernel_destroy(kernel), PEL_OK);
        launches_end(&l);
        if (!reached) {
            assert_true(failures >= 3);
            return;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_sets), cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_custom_beyond_the_whole), cmocka_unit_test(test_many_pieces),
                                       cmocka_unit_test(test_every_failing_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
