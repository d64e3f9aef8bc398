/* SPDX-License-Identifier: BSD-3-Clause */
/* Arithmetic on sizes that reports overflow instead of wrapping. True: fine, *out set; false: overflow. */
#ifndef PEL_BASE_CHECKED_H
#define PEL_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool pel_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool pel_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }

/* Greatest common divisor; of 0 and a number: that number. */
static inline uint64_t pel_gcd_u64(uint64_t a, uint64_t b) {
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static inline bool pel_u64_to_size(uint64_t a, size_t *out) {
    *out = (size_t)a;
    return (uint64_t)*out == a;
}
/* Whether [offset, offset + bytes) lies within [0, total). */
static inline bool pel_range_within(uint64_t offset, uint64_t bytes, uint64_t total) {
    return offset <= total && bytes <= total - offset;
}
/* a * b / c without overflow of the product, rounded down; c > 0 and the result must fit. */
static inline uint64_t pel_muldiv_u64(uint64_t a, uint64_t b, uint64_t c) {
    return (uint64_t)((unsigned __int128)a * b / c);
}

#endif
