/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mandelbrot escape times of an n x n image: rows differ in cost by two orders of magnitude, which is what a planner must cope
 * with. An item is sixteen neighbouring pixels; rows are padded to a multiple of that. Near the border of the set a rounding
 * decides when a point escapes, so a small share of pixels may differ from the reference (and between implementations); the rest
 * must agree exactly.
 */
#include "catalogue.h"
#include "isa.h"
#include "kernels_cl.h"
#include <math.h>

enum { LANES = 16, LIMIT = 256 };
enum { OUT, WIDTH, HEIGHT, PITCH, ITERATIONS, ARGUMENTS };

static const pel_param params[] = {PEL_PARAM_BLOCK_BY(PEL_WRITE, sizeof(uint32_t), PITCH, 0, 0), PEL_PARAM_VALUE(uint32_t),
                                   PEL_PARAM_VALUE(uint32_t), PEL_PARAM_VALUE(uint32_t), PEL_PARAM_VALUE(uint32_t)};

PEL_INLINE void lanes(pel_isa isa, const float *restrict cx, float cy, uint32_t limit, uint32_t *restrict out) {
    float zx[LANES] = {0}, zy[LANES] = {0};
    uint32_t count[LANES] = {0}, live[LANES];
    for (int l = 0; l < LANES; l++) {
        live[l] = 1;
    }
    for (uint32_t i = 0; i < limit; i++) {
        uint32_t any = 0;
        for (int l = 0; l < LANES; l++) {
            const float xx = zx[l] * zx[l], yy = zy[l] * zy[l];
            live[l] &= xx + yy <= 4.0f;
            any |= live[l];
            count[l] += live[l];
            zy[l] = pel_fused(isa, zx[l] + zx[l], zy[l], cy);
            zx[l] = xx - yy + cx[l];
        }
        if (any == 0) {
            break;
        }
    }
    for (int l = 0; l < LANES; l++) {
        out[l] = count[l];
    }
}

PEL_INLINE pel_status mandelbrot_body(const pel_span *span, void *const *arguments, pel_isa isa) {
    const float width = (float)*(const uint32_t *)arguments[WIDTH], height = (float)*(const uint32_t *)arguments[HEIGHT];
    const uint64_t pitch = *(const uint32_t *)arguments[PITCH];
    const uint32_t limit = *(const uint32_t *)arguments[ITERATIONS];
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        const float cy = pel_fused(isa, 2.5f / height, (float)y, -1.25f);
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            float cx[LANES];
            for (int l = 0; l < LANES; l++) {
                cx[l] = pel_fused(isa, 3.0f / width, (float)(x * LANES + (uint64_t)l), -2.25f);
            }
            lanes(isa, cx, cy, limit, (uint32_t *)arguments[OUT] + y * pitch + x * LANES);
        }
    }
    return PEL_OK;
}
PEL_HOST_VARIANT(mandelbrot)

static uint64_t pitch_of(const pel_case *c) {
    return pel_round_up(c->n, LANES);
}

static void shape(pel_case *c) {
    const uint64_t pitch = pitch_of(c);
    c->global[0] = pitch / LANES;
    c->global[1] = c->n;
    c->local[1] = 1;
    for (c->local[0] = 8; c->global[0] % c->local[0] != 0;) {
        c->local[0] /= 2;
    }
    pel_case_add_array(c, pitch * c->n * sizeof(uint32_t), true);
    pel_case_add_u32(c, (uint32_t)c->n);
    pel_case_add_u32(c, (uint32_t)c->n);
    pel_case_add_u32(c, (uint32_t)pitch);
    pel_case_add_u32(c, LIMIT);
}

static void fill(pel_case *c) {
    (void)c;
}

static uint64_t outputs(const pel_case *c) {
    return c->n * c->n;
}
static uint64_t word(const pel_case *c, uint64_t i) {
    return i / c->n * pitch_of(c) + i % c->n;
}
static double result(const pel_case *c, uint64_t i) {
    return ((const uint32_t *)c->arrays[0].data)[word(c, i)];
}

static double reference(const pel_case *c, uint64_t i, double *scale) {
    const double n = (double)c->n, cx = -2.25 + 3.0 * (double)(i % c->n) / n, cy = -1.25 + 2.5 * (double)(i / c->n) / n;
    double zx = 0.0, zy = 0.0;
    int count = 0;
    while (count < LIMIT && zx * zx + zy * zy <= 4.0) {
        const double next = zx * zx - zy * zy + cx;
        zy = 2.0 * zx * zy + cy;
        zx = next;
        count++;
    }
    *scale = 1.0;
    return count;
}

/* About a fifth of the points of this window never escape; counted as that share of the limit plus a short escape of the others.
 */
static double flops(uint64_t n) {
    return 8.0 * (double)n * (double)n * (0.2 * LIMIT + 6.0);
}
static double bytes(uint64_t n) {
    return 4.0 * (double)n * (double)n;
}

const pel_catalogue_kernel pel_catalogue_mandelbrot = {.name = "mandelbrot",
                                                       .about = "escape times of an n x n image: irregular rows",
                                                       .source = pel_cl_mandelbrot,
                                                       .entry = "mandelbrot",
                                                       .params = params,
                                                       .param_count = ARGUMENTS,
                                                       .flags = PEL_KERNEL_IRREGULAR,
                                                       .cost_hint = 16.0 * 200.0,
                                                       .host = mandelbrot_host,
                                                       .largest = 1u << 20,
                                                       .step = 128,
                                                       .exponent = 2,
                                                       .tolerance = 0.0,
                                                       .outliers = 0.01,
                                                       .shape = shape,
                                                       .fill = fill,
                                                       .outputs = outputs,
                                                       .word = word,
                                                       .result = result,
                                                       .reference = reference,
                                                       .flops = flops,
                                                       .bytes = bytes};
