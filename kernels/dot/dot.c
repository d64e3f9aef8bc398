/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dot product: each work-group writes one partial at its number in the whole launch, and the library folds the partials in a
 * fixed tree, so any split gives the same bits. The last group is ragged; what a group reads is therefore given by a function,
 * clipped at the number of elements.
 */
#include "catalogue.h"
#include "isa.h"
#include "kernels_cl.h"
#include <math.h>

enum { LOCAL = 64, PER_ITEM = 64, PER_GROUP = LOCAL * PER_ITEM, LANES = 32 };
enum { PARTIAL, A, B, COUNT, SUMS, ARGUMENTS };

static uint32_t elements_of(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                            uint32_t capacity) {
    (void)user;
    const uint64_t count = *(const uint64_t *)arguments[COUNT], lo = span->group_lo[0] * PER_GROUP,
                   hi = span->group_hi[0] * PER_GROUP;
    if (lo >= count || lo >= hi) {
        return 0;
    }
    if (capacity > 0) {
        intervals[0].lo = lo * sizeof(float);
        intervals[0].hi = (hi < count ? hi : count) * sizeof(float);
    }
    return 1;
}

static const pel_param params[] = {PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_F32, sizeof(float), 1),
                                   PEL_PARAM_CUSTOM(PEL_READ, elements_of, NULL), PEL_PARAM_CUSTOM(PEL_READ, elements_of, NULL),
                                   PEL_PARAM_VALUE(uint64_t), PEL_PARAM_LOCAL};

PEL_INLINE float group_sum(pel_isa isa, const float *restrict a, const float *restrict b, uint64_t count) {
    float lanes[LANES] = {0}, rest = 0.0f;
    uint64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lanes[l] = pel_fused(isa, a[i + (uint64_t)l], b[i + (uint64_t)l], lanes[l]);
        }
    }
    for (; i < count; i++) {
        rest = pel_fused(isa, a[i], b[i], rest);
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            lanes[l] += lanes[l + half];
        }
    }
    return lanes[0] + rest;
}

PEL_INLINE pel_status dot_body(const pel_span *span, void *const *arguments, pel_isa isa) {
    const uint64_t count = *(const uint64_t *)arguments[COUNT];
    for (uint64_t g = span->group_lo[0]; g < span->group_hi[0]; g++) {
        const uint64_t lo = g * PER_GROUP, have = lo < count ? count - lo : 0;
        ((float *)arguments[PARTIAL])[g] = group_sum(isa, (const float *)arguments[A] + lo, (const float *)arguments[B] + lo,
                                                     have < PER_GROUP ? have : PER_GROUP);
    }
    return PEL_OK;
}
PEL_HOST_VARIANT(dot)

static void shape(pel_case *c) {
    const uint64_t groups = (c->n + PER_GROUP - 1) / PER_GROUP;
    c->global[0] = groups * LOCAL;
    c->local[0] = LOCAL;
    pel_case_add_array(c, groups * sizeof(float), true);
    pel_case_add_array(c, c->n * sizeof(float), false);
    pel_case_add_array(c, c->n * sizeof(float), false);
    pel_case_add_u64(c, c->n);
    pel_case_add_local(c, LOCAL * sizeof(float));
}

static void fill(pel_case *c) {
    float *a = (float *)c->arrays[1].data, *b = (float *)c->arrays[2].data;
    for (uint64_t i = 0; i < c->n; i++) {
        a[i] = pel_uniform(c->seed, i);
        b[i] = pel_uniform(c->seed + 1, i) - 0.25f;
    }
}

static uint64_t outputs(const pel_case *c) {
    (void)c;
    return 1;
}
static uint64_t word(const pel_case *c, uint64_t i) {
    (void)c;
    return i;
}
static double result(const pel_case *c, uint64_t i) {
    return (double)((const float *)c->arrays[0].data)[i];
}

static double reference(const pel_case *c, uint64_t i, double *scale) {
    const float *a = (const float *)c->arrays[1].data, *b = (const float *)c->arrays[2].data;
    double sum = 0.0;
    (void)i;
    *scale = 0.0;
    for (uint64_t k = 0; k < c->n; k++) {
        sum += (double)a[k] * (double)b[k];
        *scale += fabs((double)a[k] * (double)b[k]);
    }
    return sum;
}

/* The same tree as the library's, so that a program without it gets the same bits. */
static void fold(pel_case *c) {
    float *partial = (float *)c->arrays[0].data;
    const uint64_t groups = c->arrays[0].bytes / sizeof(float);
    for (uint64_t step = 1; step < groups; step *= 2) {
        for (uint64_t g = 0; g + step < groups; g += 2 * step) {
            partial[g] += partial[g + step];
        }
    }
}

static double flops(uint64_t n) {
    return 2.0 * (double)n;
}
static double bytes(uint64_t n) {
    return 8.0 * (double)n;
}

const pel_catalogue_kernel pel_catalogue_dot = {.name = "dot",
                                                .about = "dot product: partials by group, folded in a fixed tree",
                                                .source = pel_cl_dot,
                                                .entry = "dot_product",
                                                .params = params,
                                                .param_count = ARGUMENTS,
                                                .cost_hint = PER_ITEM,
                                                .host = dot_host,
                                                .largest = UINT64_C(1) << 36,
                                                .step = PER_GROUP,
                                                .exponent = 1,
                                                .tolerance = 2e-6,
                                                .shape = shape,
                                                .fill = fill,
                                                .outputs = outputs,
                                                .word = word,
                                                .result = result,
                                                .reference = reference,
                                                .fold = fold,
                                                .flops = flops,
                                                .bytes = bytes};
