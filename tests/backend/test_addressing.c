/* SPDX-License-Identifier: BSD-3-Clause */
/* What an enqueue carries is enough to know the whole launch, and no field runs into another. */
#include "backend/addressing.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static pel_span span_of(uint32_t dims, uint64_t x, uint64_t y, uint64_t z) {
    pel_span span;
    memset(&span, 0, sizeof span);
    span.dims = dims;
    span.split = dims - 1;
    span.global[0] = x;
    span.global[1] = y;
    span.global[2] = z;
    return span;
}

static void refusals(void **state) {
    (void)state;
    const uint64_t big = 1ull << 32;
    pel_span span = span_of(1, UINT64_MAX, 0, 0);
    assert_null(pel_addressing_refusal(&span));
    span.offset[0] = 1;
    assert_non_null(pel_addressing_refusal(&span));
    span = span_of(1, big * big / 2, 0, 0);
    span.offset[0] = 5;
    assert_null(pel_addressing_refusal(&span));
    span = span_of(2, big - 1, big - 1, 0);
    assert_null(pel_addressing_refusal(&span));
    span.split = 0;
    assert_null(pel_addressing_refusal(&span));
    span = span_of(2, big, 1, 0);
    assert_non_null(pel_addressing_refusal(&span));
    span = span_of(2, 1, big, 0);
    assert_non_null(pel_addressing_refusal(&span));
    span = span_of(3, 8, 8, big - 1);
    assert_null(pel_addressing_refusal(&span));
    span = span_of(3, 8, 8, big);
    assert_non_null(pel_addressing_refusal(&span));
    for (uint32_t d = 0; d < 3; d++) {
        span = span_of(3, 8, 8, 8);
        span.offset[d] = 1;
        assert_non_null(pel_addressing_refusal(&span));
        span = span_of(3, 8, 8, 8);
        span.split = d;
        assert_int_equal(pel_addressing_refusal(&span) == NULL, d == 2);
    }
    span = span_of(0, 1, 1, 1);
    assert_non_null(pel_addressing_refusal(&span));
    span = span_of(4, 1, 1, 1);
    assert_non_null(pel_addressing_refusal(&span));
}

static void encodings(void **state) {
    (void)state;
    pel_addressing a;
    pel_span span = span_of(1, (1ull << 40) + 3, 0, 0);
    span.offset[0] = 9;
    pel_addressing_encode(&span, (const uint64_t[3]){1ull << 39, 0, 0}, (const uint64_t[3]){(1ull << 39) + 64, 1, 1}, &a);
    assert_int_equal(a.offset[0], (1ull << 39) + 9);
    assert_int_equal(a.offset[1], span.global[0]);
    assert_int_equal(a.offset[2], 9);
    assert_int_equal(a.global[0], 64);
    assert_int_equal(a.global[1], 1);
    assert_int_equal(a.global[2], 1);

    const uint64_t most = (1ull << 32) - 1;
    span = span_of(2, most, most, 0);
    pel_addressing_encode(&span, (const uint64_t[3]){64, most - 1, 0}, (const uint64_t[3]){128, most, 1}, &a);
    assert_int_equal(a.offset[2] & most, most);
    assert_int_equal(a.offset[2] >> 32, most);
    assert_int_equal(a.offset[0], 64);
    assert_int_equal(a.offset[1], most - 1);
    assert_int_equal(a.global[2], 1);

    span = span_of(3, 5, 6, most);
    pel_addressing_encode(&span, (const uint64_t[3]){0, 0, most - 1}, (const uint64_t[3]){5, 6, most}, &a);
    assert_int_equal(a.offset[2] & most, most - 1); /* and the last id, most - 1 + 0, does not carry into the size */
    assert_int_equal(a.offset[2] >> 32, most);
    assert_int_equal(a.global[0], 5);
    assert_int_equal(a.global[1], 6);
    assert_int_equal(a.global[2], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(refusals), cmocka_unit_test(encodings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
