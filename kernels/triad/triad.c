/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Triad, a = b + s c: two reads, one write, one multiply-add an element, so it measures memory. The one kernel whose local size
 * is left to the library when n is odd: it is where tails are exercised.
 */
#include "catalogue.h"
#include "isa.h"
#include "kernels_cl.h"
#include <math.h>

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(float), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(float), 1, 1), PEL_PARAM_VALUE(float)};

PEL_INLINE pel_status triad_body(const pel_span *span, void *const *arguments, pel_isa isa) {
    float *restrict a = (float *)arguments[0];
    const float *restrict b = (const float *)arguments[1], *restrict c = (const float *)arguments[2];
    const float s = *(const float *)arguments[3];
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        a[i] = pel_fused(isa, s, c[i], b[i]);
    }
    return PEL_OK;
}
PEL_HOST_VARIANT(triad)

static const float factor = 2.5f;

static void shape(pel_case *c) {
    c->global[0] = c->n;
    c->local[0] = c->n % 256 == 0 ? 256 : 0;
    pel_case_add_array(c, c->n * sizeof(float), true);
    pel_case_add_array(c, c->n * sizeof(float), false);
    pel_case_add_array(c, c->n * sizeof(float), false);
    pel_case_add_f32(c, factor);
}

static void fill(pel_case *c) {
    float *b = (float *)c->arrays[1].data, *d = (float *)c->arrays[2].data;
    for (uint64_t i = 0; i < c->n; i++) {
        b[i] = pel_uniform(c->seed, i);
        d[i] = pel_uniform(c->seed + 1, i) - 0.5f;
    }
}

static uint64_t outputs(const pel_case *c) {
    return c->n;
}
static uint64_t word(const pel_case *c, uint64_t i) {
    (void)c;
    return i;
}
static double result(const pel_case *c, uint64_t i) {
    return (double)((const float *)c->arrays[0].data)[i];
}

static double reference(const pel_case *c, uint64_t i, double *scale) {
    const double b = (double)((const float *)c->arrays[1].data)[i], d = (double)((const float *)c->arrays[2].data)[i];
    *scale = fabs(b) + fabs((double)factor * d);
    return b + (double)factor * d;
}

static double flops(uint64_t n) {
    return 2.0 * (double)n;
}
static double bytes(uint64_t n) {
    return 12.0 * (double)n;
}

const pel_catalogue_kernel pel_catalogue_triad = {.name = "triad",
                                                  .about = "a = b + s c: memory bound",
                                                  .source = pel_cl_triad,
                                                  .entry = "triad",
                                                  .params = params,
                                                  .param_count = 4,
                                                  .cost_hint = 1.0,
                                                  .host = triad_host,
                                                  .largest = UINT64_C(1) << 36,
                                                  .step = 256,
                                                  .exponent = 1,
                                                  .tolerance = 2e-7,
                                                  .shape = shape,
                                                  .fill = fill,
                                                  .outputs = outputs,
                                                  .word = word,
                                                  .result = result,
                                                  .reference = reference,
                                                  .flops = flops,
                                                  .bytes = bytes};
