/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Element-wise folds for declared reductions. Partial results of devices, workers and groups are combined here and nowhere
 * else, so one definition decides the bits: integers wrap, MIN and MAX of floats ignore NaN and order -0 before +0 (so they do
 * not depend on the order), and sums of floats go through one fixed tree. Elements are read through memcpy because a caller's
 * array may start at any byte of a buffer; compilers make plain (vector) loads of it.
 */
#include "base/reduce.h"

#include <math.h>
#include <string.h>

uint64_t pel_scalar_bytes(pel_scalar scalar) {
    switch (scalar) {
    case PEL_I32:
    case PEL_U32:
    case PEL_F32: return 4;
    case PEL_I64:
    case PEL_U64:
    case PEL_F64: return 8;
    }
    return 0;
}

static bool is_float(pel_scalar scalar) {
    return scalar == PEL_F32 || scalar == PEL_F64;
}

bool pel_reduce_valid(pel_reduce_op op, pel_scalar scalar) {
    if (pel_scalar_bytes(scalar) == 0) {
        return false;
    }
    switch (op) {
    case PEL_REDUCE_NONE: return false;
    case PEL_REDUCE_SUM:
    case PEL_REDUCE_MIN:
    case PEL_REDUCE_MAX: return true;
    case PEL_REDUCE_AND:
    case PEL_REDUCE_OR:
    case PEL_REDUCE_XOR: return !is_float(scalar);
    }
    return false;
}

bool pel_reduce_exact(pel_reduce_op op, pel_scalar scalar) {
    return pel_reduce_valid(op, scalar) && !(op == PEL_REDUCE_SUM && is_float(scalar));
}

#define FOLD(type, expression)                              \
    for (uint64_t i = 0; i < count; i++) {                  \
        type a, b;                                          \
        memcpy(&a, (char *)into + i * sizeof a, sizeof a);  \
        memcpy(&b, (const char *)from + i * sizeof b, sizeof b); \
        a = (type)(expression);                             \
        memcpy((char *)into + i * sizeof a, &a, sizeof a);  \
    }                                                       \
    break

#define FLOAT_MIN(a, b) ((a) < (b) || isnan(b) || ((a) == (b) && signbit(a)) ? (a) : (b))
#define FLOAT_MAX(a, b) ((a) > (b) || isnan(b) || ((a) == (b) && !signbit(a)) ? (a) : (b))

static void fold_u32(pel_reduce_op op, void *into, const void *from, uint64_t count) {
    switch (op) {
    case PEL_REDUCE_NONE: break;
    case PEL_REDUCE_SUM: FOLD(uint32_t, a + b);
    case PEL_REDUCE_MIN: FOLD(uint32_t, a < b ? a : b);
    case PEL_REDUCE_MAX: FOLD(uint32_t, a > b ? a : b);
    case PEL_REDUCE_AND: FOLD(uint32_t, a & b);
    case PEL_REDUCE_OR: FOLD(uint32_t, a | b);
    case PEL_REDUCE_XOR: FOLD(uint32_t, a ^ b);
    }
}

static void fold_u64(pel_reduce_op op, void *into, const void *from, uint64_t count) {
    switch (op) {
    case PEL_REDUCE_NONE: break;
    case PEL_REDUCE_SUM: FOLD(uint64_t, a + b);
    case PEL_REDUCE_MIN: FOLD(uint64_t, a < b ? a : b);
    case PEL_REDUCE_MAX: FOLD(uint64_t, a > b ? a : b);
    case PEL_REDUCE_AND: FOLD(uint64_t, a & b);
    case PEL_REDUCE_OR: FOLD(uint64_t, a | b);
    case PEL_REDUCE_XOR: FOLD(uint64_t, a ^ b);
    }
}

static void fold_i32(pel_reduce_op op, void *into, const void *from, uint64_t count) {
    switch (op) {
    case PEL_REDUCE_MIN: FOLD(int32_t, a < b ? a : b);
    case PEL_REDUCE_MAX: FOLD(int32_t, a > b ? a : b);
    default: fold_u32(op, into, from, count); /* the same bits, and wrapping is defined */
    }
}

static void fold_i64(pel_reduce_op op, void *into, const void *from, uint64_t count) {
    switch (op) {
    case PEL_REDUCE_MIN: FOLD(int64_t, a < b ? a : b);
    case PEL_REDUCE_MAX: FOLD(int64_t, a > b ? a : b);
    default: fold_u64(op, into, from, count);
    }
}

static void fold_f32(pel_reduce_op op, void *into, const void *from, uint64_t count) {
    switch (op) {
    case PEL_REDUCE_SUM: FOLD(float, a + b);
    case PEL_REDUCE_MIN: FOLD(float, FLOAT_MIN(a, b));
    case PEL_REDUCE_MAX: FOLD(float, FLOAT_MAX(a, b));
    default: break;
    }
}

static void fold_f64(pel_reduce_op op, void *into, const void *from, uint64_t count) {
    switch (op) {
    case PEL_REDUCE_SUM: FOLD(double, a + b);
    case PEL_REDUCE_MIN: FOLD(double, FLOAT_MIN(a, b));
    case PEL_REDUCE_MAX: FOLD(double, FLOAT_MAX(a, b));
    default: break;
    }
}

void pel_reduce_fold(pel_reduce_op op, pel_scalar scalar, void *into, const void *from, uint64_t count) {
    switch (scalar) {
    case PEL_I32: fold_i32(op, into, from, count); break;
    case PEL_U32: fold_u32(op, into, from, count); break;
    case PEL_I64: fold_i64(op, into, from, count); break;
    case PEL_U64: fold_u64(op, into, from, count); break;
    case PEL_F32: fold_f32(op, into, from, count); break;
    case PEL_F64: fold_f64(op, into, from, count); break;
    }
}

static void fill(void *array, uint64_t count, const void *value, size_t bytes) {
    for (uint64_t i = 0; i < count; i++) {
        memcpy((char *)array + i * bytes, value, bytes);
    }
}

static uint64_t integer_identity(pel_reduce_op op, bool is_signed, uint64_t largest_signed) {
    switch (op) {
    case PEL_REDUCE_MIN: return is_signed ? largest_signed : UINT64_MAX;
    case PEL_REDUCE_MAX: return is_signed ? largest_signed + 1 : 0; /* the lowest: 100...0, cut to the element's size */
    case PEL_REDUCE_AND: return UINT64_MAX;
    default: return 0;
    }
}

void pel_reduce_identity(pel_reduce_op op, pel_scalar scalar, void *array, uint64_t count) {
    double extreme = op == PEL_REDUCE_MIN ? (double)INFINITY : op == PEL_REDUCE_MAX ? -(double)INFINITY : 0.0;
    float extreme32 = (float)extreme;
    uint64_t wide = integer_identity(op, scalar == PEL_I64, INT64_MAX);
    uint32_t narrow = (uint32_t)integer_identity(op, scalar == PEL_I32, INT32_MAX);
    switch (scalar) {
    case PEL_I32:
    case PEL_U32: fill(array, count, &narrow, sizeof narrow); break;
    case PEL_I64:
    case PEL_U64: fill(array, count, &wide, sizeof wide); break;
    case PEL_F32: fill(array, count, &extreme32, sizeof extreme32); break;
    case PEL_F64: fill(array, count, &extreme, sizeof extreme); break;
    }
}

void pel_reduce_tree(pel_reduce_op op, pel_scalar scalar, void *rows, uint64_t groups, uint64_t count) {
    uint64_t row_bytes = count * pel_scalar_bytes(scalar);
    for (uint64_t step = 1; step < groups; step *= 2) {
        for (uint64_t group = 0; group + step < groups; group += 2 * step) {
            pel_reduce_fold(op, scalar, (char *)rows + group * row_bytes, (const char *)rows + (group + step) * row_bytes, count);
        }
    }
}
