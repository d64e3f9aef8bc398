/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gaussian blur of an n x n image with a 5 x 5 stencil, borders clamped. The rows that a chunk reads overlap its neighbours' by
 * the halo of two: the declaration says so, and it is what is tested here. The weights are a plain 5 x 5 table, not separable
 * passes: one launch, one halo.
 */
#include "catalogue.h"
#include "isa.h"
#include "kernels_cl.h"
#include <math.h>

enum { RADIUS = 2, TAPS = 2 * RADIUS + 1 };
enum { OUT, IN, WEIGHTS, WIDTH, HEIGHT, PITCH, ARGUMENTS };

static const pel_param params[] = {PEL_PARAM_BLOCK_BY(PEL_WRITE, sizeof(float), WIDTH, 0, 0),
                                   PEL_PARAM_BLOCK_BY(PEL_READ, sizeof(float), PITCH, RADIUS, RADIUS),
                                   PEL_PARAM_WHOLE(PEL_READ),
                                   PEL_PARAM_VALUE(uint32_t),
                                   PEL_PARAM_VALUE(uint32_t),
                                   PEL_PARAM_VALUE(uint32_t)};

PEL_INLINE float five(pel_isa isa, const float *w, const float *p, float sum) {
    sum = pel_fused(isa, w[0], p[0], sum);
    sum = pel_fused(isa, w[1], p[1], sum);
    sum = pel_fused(isa, w[2], p[2], sum);
    sum = pel_fused(isa, w[3], p[3], sum);
    return pel_fused(isa, w[4], p[4], sum);
}

PEL_INLINE const float *row_of(const float *in, uint64_t y, int64_t step, uint64_t height, uint64_t pitch) {
    int64_t row = (int64_t)y + step, last = (int64_t)height - 1;
    return in + (uint64_t)(row < 0 ? 0 : row > last ? last : row) * pitch;
}

PEL_INLINE pel_status gaussian_body(const pel_span *span, void *const *arguments, pel_isa isa) {
    const float *in = (const float *)arguments[IN], *weights = (const float *)arguments[WEIGHTS];
    const uint64_t width = *(const uint32_t *)arguments[WIDTH], height = *(const uint32_t *)arguments[HEIGHT];
    const uint64_t pitch = *(const uint32_t *)arguments[PITCH];
    float w[TAPS * TAPS];
    for (int i = 0; i < TAPS * TAPS; i++) {
        w[i] = weights[i];
    }
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        const float *restrict r0 = row_of(in, y, -2, height, pitch), *restrict r1 = row_of(in, y, -1, height, pitch);
        const float *restrict r2 = row_of(in, y, 0, height, pitch), *restrict r3 = row_of(in, y, 1, height, pitch);
        const float *restrict r4 = row_of(in, y, 2, height, pitch);
        float *restrict out = (float *)arguments[OUT] + y * width;
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            float sum = five(isa, w, r0 + x, 0.0f);
            sum = five(isa, w + 5, r1 + x, sum);
            sum = five(isa, w + 10, r2 + x, sum);
            sum = five(isa, w + 15, r3 + x, sum);
            out[x] = five(isa, w + 20, r4 + x, sum);
        }
    }
    return PEL_OK;
}
PEL_HOST_VARIANT(gaussian)

static void shape(pel_case *c) {
    const uint64_t n = c->n, pitch = n + 2 * RADIUS;
    c->global[0] = n;
    c->global[1] = n;
    if (n % 64 == 0) {
        c->local[0] = 64;
        c->local[1] = 1;
    }
    pel_case_add_array(c, n * n * sizeof(float), true);
    pel_case_add_array(c, n * pitch * sizeof(float), false);
    pel_case_add_array(c, TAPS * TAPS * sizeof(float), false);
    pel_case_add_u32(c, (uint32_t)n);
    pel_case_add_u32(c, (uint32_t)n);
    pel_case_add_u32(c, (uint32_t)pitch);
}

static void fill(pel_case *c) {
    const uint64_t n = c->n, pitch = n + 2 * RADIUS;
    float *in = (float *)c->arrays[1].data, *weights = (float *)c->arrays[2].data;
    for (uint64_t y = 0; y < n; y++) {
        for (uint64_t x = 0; x < pitch; x++) {
            const uint64_t inside = x < RADIUS ? 0 : x - RADIUS >= n ? n - 1 : x - RADIUS;
            in[y * pitch + x] = pel_uniform(c->seed, y * n + inside);
        }
    }
    double total = 0.0, one[TAPS];
    for (int i = 0; i < TAPS; i++) {
        one[i] = exp(-0.5 * (i - RADIUS) * (i - RADIUS));
        total += one[i];
    }
    for (int i = 0; i < TAPS * TAPS; i++) {
        weights[i] = (float)(one[i / TAPS] * one[i % TAPS] / (total * total));
    }
}

static uint64_t outputs(const pel_case *c) {
    return c->n * c->n;
}
static uint64_t word(const pel_case *c, uint64_t i) {
    (void)c;
    return i;
}
static double result(const pel_case *c, uint64_t i) {
    return (double)((const float *)c->arrays[0].data)[i];
}

/* Straight from the definition: clamps both coordinates in the image itself and ignores the copies of the border. */
static double reference(const pel_case *c, uint64_t i, double *scale) {
    const int64_t n = (int64_t)c->n, x = (int64_t)(i % c->n), y = (int64_t)(i / c->n);
    const float *in = (const float *)c->arrays[1].data, *weights = (const float *)c->arrays[2].data;
    double sum = 0.0;
    for (int64_t dy = -RADIUS; dy <= RADIUS; dy++) {
        for (int64_t dx = -RADIUS; dx <= RADIUS; dx++) {
            const int64_t px = x + dx < 0 ? 0 : x + dx >= n ? n - 1 : x + dx;
            const int64_t py = y + dy < 0 ? 0 : y + dy >= n ? n - 1 : y + dy;
            sum += (double)weights[(dy + RADIUS) * TAPS + dx + RADIUS] * (double)in[py * (n + 2 * RADIUS) + RADIUS + px];
        }
    }
    *scale = sum;
    return sum;
}

static double flops(uint64_t n) {
    return 2.0 * TAPS * TAPS * (double)n * (double)n;
}
static double bytes(uint64_t n) {
    return 8.0 * (double)n * (double)n;
}

const pel_catalogue_kernel pel_catalogue_gaussian = {.name = "gaussian",
                                                     .about = "5 x 5 blur of an n x n image: a halo of two rows",
                                                     .source = pel_cl_gaussian,
                                                     .entry = "gaussian",
                                                     .params = params,
                                                     .param_count = ARGUMENTS,
                                                     .cost_hint = 25.0,
                                                     .host = gaussian_host,
                                                     .largest = 1u << 20,
                                                     .step = 64,
                                                     .exponent = 2,
                                                     .tolerance = 2e-6,
                                                     .shape = shape,
                                                     .fill = fill,
                                                     .outputs = outputs,
                                                     .word = word,
                                                     .result = result,
                                                     .reference = reference,
                                                     .flops = flops,
                                                     .bytes = bytes};
