/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host variants by themselves, without a runtime: right at awkward sizes for each instruction set that this machine has, and
 * the same bits however the range is cut, which is what the library builds on.
 */
#include "catalogue.h"
#include "isa.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cmocka.h>

enum { SEED = 20261122 };

static uint32_t dims_of(const pel_case *c) {
    return c->global[1] == 0 ? 1 : c->global[2] == 0 ? 2 : 3;
}

/* Runs groups [lo, hi) along the highest dimension. */
static void run_part(pel_case *c, uint64_t lo, uint64_t hi) {
    void *arguments[PEL_CASE_ARGS];
    pel_span span = {.dims = dims_of(c), .split = dims_of(c) - 1};
    for (uint32_t d = 0; d < span.dims; d++) {
        span.global[d] = c->global[d];
        span.local[d] = c->local[d] ? c->local[d] : 1;
        span.hi[d] = c->global[d];
        span.group_hi[d] = c->global[d] / span.local[d];
    }
    span.group_lo[span.split] = lo;
    span.group_hi[span.split] = hi;
    span.lo[span.split] = lo * span.local[span.split];
    span.hi[span.split] = hi * span.local[span.split];
    for (uint32_t i = 0; i < c->arg_count; i++) {
        arguments[i] = c->args[i].kind == PEL_CASE_ARRAY ? c->arrays[c->args[i].array].data : (void *)c->args[i].value;
    }
    assert_int_equal(c->kernel->host(&span, arguments, NULL, NULL), PEL_OK);
}

static uint64_t groups_of(const pel_case *c) {
    const uint32_t s = dims_of(c) - 1;
    return c->global[s] / (c->local[s] ? c->local[s] : 1);
}

static void finish(pel_case *c) {
    if (c->kernel->fold) {
        c->kernel->fold(c);
    }
}

static void check(const pel_catalogue_kernel *kernel, uint64_t n) {
    pel_case c;
    pel_case_verdict verdict;
    assert_int_equal(pel_case_setup(kernel, n, SEED, &c), PEL_OK);
    pel_case_verify(&c, 0, &verdict);
    assert_false(verdict.passed); /* nothing has run: every result must be found missing */
    assert_int_equal(verdict.missing, verdict.outputs);
    const uint64_t groups = groups_of(&c);
    run_part(&c, 0, groups);
    finish(&c);
    pel_case_verify(&c, 0, &verdict);
    if (!verdict.passed) {
        fail_msg("%s", verdict.story);
    }
    const uint64_t whole = pel_case_digest(&c);
    for (uint64_t cut = 1; cut < groups; cut += 1 + groups / 7) {
        pel_case_poison(&c);
        run_part(&c, cut, groups);
        run_part(&c, 0, cut);
        finish(&c);
        if (pel_case_digest(&c) != whole) {
            fail_msg("%s n=%llu: other bits when cut at group %llu", kernel->name, (unsigned long long)n,
                     (unsigned long long)cut);
        }
    }
    pel_case_teardown(&c);
}

static void all_kernels_and_sizes(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 17, 31, 64, 67, 130};
    static const uint64_t long_sizes[] = {1, 63, 64, 1000, 4095, 4096, 4097, 100003};
    for (pel_isa_limit = 0; pel_isa_limit <= 2; pel_isa_limit++) {
        for (size_t k = 0; pel_catalogue[k]; k++) {
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                check(pel_catalogue[k], pel_catalogue[k]->exponent == 1 ? long_sizes[i] : sizes[i]);
            }
        }
    }
    pel_isa_limit = 2;
}

/* A comparator that cannot fail proves nothing: one changed result must be found, wherever it is. */
static void comparator_finds_errors(void **state) {
    (void)state;
    for (size_t k = 0; pel_catalogue[k]; k++) {
        const uint64_t n = pel_catalogue[k]->exponent == 1 ? 5000 : 40;
        pel_case c;
        pel_case_verdict verdict;
        assert_int_equal(pel_case_setup(pel_catalogue[k], n, SEED, &c), PEL_OK);
        run_part(&c, 0, groups_of(&c));
        finish(&c);
        const uint64_t outputs = c.kernel->outputs(&c), some = outputs / 2;
        uint32_t *words = (uint32_t *)c.arrays[0].data, kept;
        for (uint64_t spoil = 0; spoil < 3; spoil++) {
            const uint64_t at = c.kernel->word(&c, spoil == 0 ? 0 : spoil == 1 ? some : outputs - 1);
            kept = words[at];
            words[at] = 0xffffffffu;
            pel_case_verify(&c, 0, &verdict);
            assert_false(verdict.passed);
            words[at] = kept;
        }
        if (c.kernel->outliers == 0.0) {
            float *value = (float *)(void *)&words[c.kernel->word(&c, some)];
            *value += 1.0f + *value;
            pel_case_verify(&c, 0, &verdict);
            assert_false(verdict.passed);
            assert_int_equal(verdict.wrong, 1);
            assert_non_null(strstr(verdict.story, c.kernel->name));
        }
        pel_case_teardown(&c);
    }
}

static void inputs_depend_on_the_seed_only(void **state) {
    (void)state;
    pel_case a, b, other;
    const pel_catalogue_kernel *kernel = pel_catalogue_find("matmul");
    assert_non_null(kernel);
    assert_null(pel_catalogue_find("no such kernel"));
    assert_int_equal(pel_case_setup(kernel, 20, 1, &a), PEL_OK);
    assert_int_equal(pel_case_setup(kernel, 20, 1, &b), PEL_OK);
    assert_int_equal(pel_case_setup(kernel, 20, 2, &other), PEL_OK);
    assert_memory_equal(a.arrays[1].data, b.arrays[1].data, (size_t)a.arrays[1].bytes);
    assert_memory_not_equal(a.arrays[1].data, other.arrays[1].data, (size_t)a.arrays[1].bytes);
    pel_case_teardown(&a);
    pel_case_teardown(&b);
    pel_case_teardown(&other);
}

static void wrong_sizes_are_refused(void **state) {
    (void)state;
    for (size_t k = 0; pel_catalogue[k]; k++) {
        pel_case c;
        assert_int_equal(pel_case_setup(pel_catalogue[k], 0, SEED, &c), PEL_INVALID_ARGUMENT);
        pel_case_teardown(&c);
        assert_int_equal(pel_case_setup(pel_catalogue[k], pel_catalogue[k]->largest + 1, SEED, &c), PEL_INVALID_ARGUMENT);
        pel_case_teardown(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kernels_and_sizes),
        cmocka_unit_test(comparator_finds_errors),
        cmocka_unit_test(inputs_depend_on_the_seed_only),
        cmocka_unit_test(wrong_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
