/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Matrix product of n x n: blocks of rows of A, all of B, blocks of rows of C. Rows are padded to 32 columns and blocks to 4
 * rows, with zeros, so that tiles are always full. Pitches of A and B are kept off multiples of 4 KiB: there, a column of a tile
 * would use one set of the cache only.
 */
#include "catalogue.h"
#include "isa.h"
#include "kernels_cl.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 4, COLUMNS = 32, HALF = 16 }; /* of an item */
enum { C, A, B, INNER, C_UNIT, A_UNIT, B_PITCH, ARGUMENTS };

static const pel_param params[] = {PEL_PARAM_BLOCK_BY(PEL_WRITE, sizeof(float), C_UNIT, 0, 0),
                                   PEL_PARAM_BLOCK_BY(PEL_READ, sizeof(float), A_UNIT, 0, 0),
                                   PEL_PARAM_WHOLE(PEL_READ),
                                   PEL_PARAM_VALUE(uint32_t),
                                   PEL_PARAM_VALUE(uint32_t),
                                   PEL_PARAM_VALUE(uint32_t),
                                   PEL_PARAM_VALUE(uint32_t)};

typedef struct pitches {
    uint64_t inner, c, a, b;
} pitches;

#define TILE(name, rows, columns)                                                                                                \
    PEL_INLINE void name(pel_isa isa, const pitches *p, const float *restrict a, const float *restrict b, float *restrict c) {   \
        float sum[rows][columns] = {{0}};                                                                                        \
        for (uint64_t k = 0; k < p->inner; k++) {                                                                                \
            PEL_UNROLL                                                                                                           \
            for (uint64_t r = 0; r < (rows); r++) {                                                                              \
                const float x = a[r * p->a + k];                                                                                 \
                for (uint64_t l = 0; l < (columns); l++) {                                                                       \
                    sum[r][l] = pel_fused(isa, x, b[k * p->b + l], sum[r][l]);                                                   \
                }                                                                                                                \
            }                                                                                                                    \
        }                                                                                                                        \
        PEL_UNROLL                                                                                                               \
        for (uint64_t r = 0; r < (rows); r++) {                                                                                  \
            for (uint64_t l = 0; l < (columns); l++) {                                                                           \
                c[r * p->c + l] = sum[r][l];                                                                                     \
            }                                                                                                                    \
        }                                                                                                                        \
    }
TILE(tile, ROWS, HALF)
TILE(tall_tile, 2 * ROWS, HALF)
TILE(wide_tile, 2 * ROWS, COLUMNS)

/*
 * Columns outside, rows inside: a panel of B stays in the cache while all rows of the span use it. The tile's size depends on
 * what is left, but every sum has the same order in all of them, so a span's result does not depend on how the launch was cut.
 */
PEL_INLINE pel_status matmul_body(const pel_span *span, void *const *arguments, pel_isa isa) {
    const uint64_t a_unit = *(const uint32_t *)arguments[A_UNIT], c_unit = *(const uint32_t *)arguments[C_UNIT];
    const pitches p = {*(const uint32_t *)arguments[INNER], c_unit / ROWS, a_unit / ROWS, *(const uint32_t *)arguments[B_PITCH]};
    const float *a = (const float *)arguments[A], *b = (const float *)arguments[B];
    float *c = (float *)arguments[C];
    for (uint64_t x = span->lo[0] * COLUMNS; x < span->hi[0] * COLUMNS; x += COLUMNS) {
        uint64_t y = span->lo[1];
        for (; isa.wide && y + 2 <= span->hi[1]; y += 2) {
            wide_tile(isa, &p, a + y * a_unit, b + x, c + y * c_unit + x);
        }
        for (; y + 2 <= span->hi[1]; y += 2) {
            tall_tile(isa, &p, a + y * a_unit, b + x, c + y * c_unit + x);
            tall_tile(isa, &p, a + y * a_unit, b + x + HALF, c + y * c_unit + x + HALF);
        }
        for (; y < span->hi[1]; y++) {
            tile(isa, &p, a + y * a_unit, b + x, c + y * c_unit + x);
            tile(isa, &p, a + y * a_unit, b + x + HALF, c + y * c_unit + x + HALF);
        }
    }
    return PEL_OK;
}
PEL_HOST_VARIANT(matmul)

/*
 * Huang and Abraham (IEEE Trans. Computers C-33, 1984): the sum of a row of A B is that row of A times the row sums of B, which
 * takes n^2 where the product takes n^3. Sums of rounding errors stay far below an epsilon of the sum of magnitudes (25 standard
 * deviations at n = 256, more beyond), so nothing right is refused; what is smaller than that goes unseen, as it does among the
 * errors.
 */
static pel_status check_rows(const pel_span *span, void *const *arguments, double *sums, double *magnitudes) {
    const uint64_t a_unit = *(const uint32_t *)arguments[A_UNIT], c_unit = *(const uint32_t *)arguments[C_UNIT];
    const uint64_t inner = *(const uint32_t *)arguments[INNER], b_pitch = *(const uint32_t *)arguments[B_PITCH];
    const uint64_t from = span->lo[0] * COLUMNS, to = span->hi[0] * COLUMNS;
    const float *a = (const float *)arguments[A], *b = (const float *)arguments[B], *c = (const float *)arguments[C];
    for (uint64_t k = 0; k < inner; k++) {
        sums[k] = magnitudes[k] = 0;
        for (uint64_t x = from; x < to; x++) {
            sums[k] += (double)b[k * b_pitch + x];
            magnitudes[k] += fabs((double)b[k * b_pitch + x]);
        }
    }
    for (uint64_t row = span->lo[1] * ROWS; row < span->hi[1] * ROWS; row++) {
        const float *of_a = a + row * (a_unit / ROWS), *of_c = c + row * (c_unit / ROWS);
        double expected = 0, scale = 0, sum = 0;
        for (uint64_t k = 0; k < inner; k++) {
            expected += (double)of_a[k] * sums[k];
            scale += fabs((double)of_a[k]) * magnitudes[k];
        }
        for (uint64_t x = from; x < to; x++) {
            sum += (double)of_c[x];
        }
        if (!(fabs(sum - expected) <= (double)FLT_EPSILON * scale)) { /* so written, a NaN is refused */
            return PEL_MISMATCH;
        }
    }
    return PEL_OK;
}

static pel_status matmul_check(const pel_span *span, void *const *arguments, void *user) {
    const uint64_t inner = *(const uint32_t *)arguments[INNER];
    double *sums = malloc((size_t)(2 * inner + 1) * sizeof *sums);
    (void)user;
    pel_status status = sums ? check_rows(span, arguments, sums, sums + inner) : PEL_OUT_OF_MEMORY;
    free(sums);
    return status;
}

static uint64_t c_pitch_of(uint64_t n) {
    return pel_round_up(n, COLUMNS);
}
static uint64_t ab_pitch_of(uint64_t n) {
    return c_pitch_of(n) + HALF;
}

static void shape(pel_case *c) {
    const uint64_t n = c->n, rows = pel_round_up(n, ROWS);
    c->global[0] = c_pitch_of(n) / COLUMNS;
    c->global[1] = rows / ROWS;
    c->local[0] = 1;
    for (c->local[1] = 8; c->global[1] % c->local[1] != 0;) {
        c->local[1] /= 2;
    }
    pel_case_add_array(c, rows * c_pitch_of(n) * sizeof(float), true);
    pel_case_add_array(c, rows * ab_pitch_of(n) * sizeof(float), false);
    pel_case_add_array(c, n * ab_pitch_of(n) * sizeof(float), false);
    pel_case_add_u32(c, (uint32_t)n);
    pel_case_add_u32(c, (uint32_t)(ROWS * c_pitch_of(n)));
    pel_case_add_u32(c, (uint32_t)(ROWS * ab_pitch_of(n)));
    pel_case_add_u32(c, (uint32_t)ab_pitch_of(n));
}

static void fill(pel_case *c) {
    const uint64_t n = c->n, pitch = ab_pitch_of(n);
    for (uint32_t m = 1; m <= 2; m++) {
        float *matrix = (float *)c->arrays[m].data;
        for (uint64_t y = 0; y < n; y++) {
            for (uint64_t x = 0; x < n; x++) {
                matrix[y * pitch + x] = pel_uniform(c->seed + m, y * n + x) - 0.5f;
            }
        }
    }
}

static uint64_t outputs(const pel_case *c) {
    return c->n * c->n;
}
static uint64_t word(const pel_case *c, uint64_t i) {
    return i / c->n * c_pitch_of(c->n) + i % c->n;
}
static double result(const pel_case *c, uint64_t i) {
    return (double)((const float *)c->arrays[0].data)[word(c, i)];
}

static double reference(const pel_case *c, uint64_t i, double *scale) {
    const uint64_t n = c->n, pitch = ab_pitch_of(n);
    const float *a = (const float *)c->arrays[1].data + i / n * pitch, *b = (const float *)c->arrays[2].data + i % n;
    double sum = 0.0;
    *scale = 0.0;
    for (uint64_t k = 0; k < n; k++) {
        sum += (double)a[k] * (double)b[k * pitch];
        *scale += fabs((double)a[k] * (double)b[k * pitch]);
    }
    return sum;
}

static double flops(uint64_t n) {
    return 2.0 * (double)n * (double)n * (double)n;
}
static double bytes(uint64_t n) {
    return 12.0 * (double)n * (double)n;
}

const pel_catalogue_kernel pel_catalogue_matmul = {.name = "matmul",
                                                   .about = "product of two n x n matrices, in registers",
                                                   .source = pel_cl_matmul,
                                                   .entry = "matmul",
                                                   .params = params,
                                                   .param_count = ARGUMENTS,
                                                   .cost_hint = ROWS * COLUMNS * 1024.0,
                                                   .host = matmul_host,
                                                   .check = matmul_check,
                                                   .largest = 1u << 17,
                                                   .step = 32,
                                                   .exponent = 3,
                                                   .tolerance = 2e-6,
                                                   .shape = shape,
                                                   .fill = fill,
                                                   .outputs = outputs,
                                                   .word = word,
                                                   .result = result,
                                                   .reference = reference,
                                                   .flops = flops,
                                                   .bytes = bytes};
