/* SPDX-License-Identifier: BSD-3-Clause */
/* The checksums of a matrix product: what was computed rightly passes however it is cut, and a flipped bit that matters is
 * found, wherever it is. */
#include "catalogue.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static pel_span span_of(const pel_case *c, uint64_t lo, uint64_t hi) {
    pel_span span = {.dims = 2, .split = 1};
    for (uint32_t d = 0; d < 2; d++) {
        span.global[d] = c->global[d];
        span.local[d] = c->local[d];
        span.hi[d] = c->global[d];
        span.group_hi[d] = c->global[d] / c->local[d];
    }
    span.lo[1] = lo;
    span.hi[1] = hi;
    return span;
}

static void test_matmul(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 7, 32, 100, 256};
    uint64_t random = 20261122;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const pel_catalogue_kernel *matmul = pel_catalogue_find("matmul");
        void *arguments[PEL_CASE_ARGS];
        pel_case c;
        assert_int_equal(pel_case_setup(matmul, sizes[s], 5, &c), PEL_OK);
        for (uint32_t i = 0; i < c.arg_count; i++) {
            arguments[i] = c.args[i].kind == PEL_CASE_ARRAY ? c.arrays[c.args[i].array].data : (void *)c.args[i].value;
        }
        const pel_span whole = span_of(&c, 0, c.global[1]);
        assert_int_equal(matmul->check(&whole, arguments, NULL), PEL_MISMATCH); /* poisoned */
        assert_int_equal(matmul->host(&whole, arguments, NULL, NULL), PEL_OK);
        float *results = c.arrays[0].data;
        for (uint64_t cut = 0; cut <= c.global[1]; cut++) {
            const pel_span below = span_of(&c, 0, cut), above = span_of(&c, cut, c.global[1]);
            assert_int_equal(matmul->check(&below, arguments, NULL), PEL_OK);
            assert_int_equal(matmul->check(&above, arguments, NULL), PEL_OK);
        }
        for (int k = 0; k < 200; k++) { /* an exponent or a sign: a factor of two at least */
            const uint64_t at = matmul->word(&c, test_random(&random) % matmul->outputs(&c));
            uint32_t bits;
            memcpy(&bits, &results[at], sizeof bits);
            const uint32_t flipped = bits ^ 1u << (23 + test_random(&random) % 9);
            const float before = results[at];
            memcpy(&results[at], &flipped, sizeof flipped);
            if (before > 0.05f || before < -0.05f) {
                assert_int_equal(matmul->check(&whole, arguments, NULL), PEL_MISMATCH);
            }
            results[at] = before;
        }
        assert_int_equal(matmul->check(&whole, arguments, NULL), PEL_OK);
        pel_case_teardown(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matmul)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
