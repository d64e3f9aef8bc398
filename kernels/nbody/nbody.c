/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One step of gravity among n bodies, all pairs: every item reads all positions (whole) and writes its own bodies' accelerations
 * (a slice). Compute bound. Memory is padded to a multiple of 64 bodies; the padding has no mass and its accelerations are
 * computed and ignored, which keeps items alike.
 */
#include "catalogue.h"
#include "isa.h"
#include "kernels_cl.h"
#include <math.h>

enum { PER_ITEM = 8, LOCAL = 8, LANES = 16 };
enum { ACCELERATION, BODY, COUNT, SOFTENING, ARGUMENTS };

static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, 4 * sizeof(float), PER_ITEM, 1), PEL_PARAM_WHOLE(PEL_READ),
                                   PEL_PARAM_VALUE(uint32_t), PEL_PARAM_VALUE(float)};

/* Lanes are bodies, as in the OpenCL C; a group has 64 of them, so spans are whole multiples of the lanes. */
PEL_INLINE void lanes(pel_isa isa, const float *restrict body, uint32_t count, float softening, const float *own,
                      float *restrict out) {
    float px[LANES], py[LANES], pz[LANES], ax[LANES] = {0}, ay[LANES] = {0}, az[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
        px[l] = own[4 * l];
        py[l] = own[4 * l + 1];
        pz[l] = own[4 * l + 2];
    }
    for (uint64_t j = 0; j < count; j++) {
        const float x = body[4 * j], y = body[4 * j + 1], z = body[4 * j + 2], mass = body[4 * j + 3];
        for (int l = 0; l < LANES; l++) {
            const float dx = x - px[l], dy = y - py[l], dz = z - pz[l];
            const float r2 = pel_fused(isa, dx, dx, pel_fused(isa, dy, dy, pel_fused(isa, dz, dz, softening)));
            const float inverse = 1.0f / sqrtf(r2), pull = mass * inverse * inverse * inverse;
            ax[l] = pel_fused(isa, pull, dx, ax[l]);
            ay[l] = pel_fused(isa, pull, dy, ay[l]);
            az[l] = pel_fused(isa, pull, dz, az[l]);
        }
    }
    for (int l = 0; l < LANES; l++) {
        out[4 * l] = ax[l];
        out[4 * l + 1] = ay[l];
        out[4 * l + 2] = az[l];
        out[4 * l + 3] = 0.0f;
    }
}

PEL_INLINE pel_status nbody_body(const pel_span *span, void *const *arguments, pel_isa isa) {
    const float *body = (const float *)arguments[BODY];
    for (uint64_t i = span->lo[0] * PER_ITEM; i < span->hi[0] * PER_ITEM; i += LANES) {
        lanes(isa, body, *(const uint32_t *)arguments[COUNT], *(const float *)arguments[SOFTENING], body + 4 * i,
              (float *)arguments[ACCELERATION] + 4 * i);
    }
    return PEL_OK;
}
PEL_HOST_VARIANT(nbody)

static const float softening = 0.01f;

static void shape(pel_case *c) {
    const uint64_t padded = pel_round_up(c->n, PER_ITEM * LOCAL);
    c->global[0] = padded / PER_ITEM;
    c->local[0] = LOCAL;
    pel_case_add_array(c, padded * 4 * sizeof(float), true);
    pel_case_add_array(c, padded * 4 * sizeof(float), false);
    pel_case_add_u32(c, (uint32_t)c->n);
    pel_case_add_f32(c, softening);
}

static void fill(pel_case *c) {
    float *body = (float *)c->arrays[1].data;
    for (uint64_t i = 0; i < 4 * c->n; i++) {
        body[i] = i % 4 == 3 ? 0.5f + pel_uniform(c->seed, i) : 2.0f * pel_uniform(c->seed, i) - 1.0f;
    }
}

static uint64_t outputs(const pel_case *c) {
    return 3 * c->n;
}
static uint64_t word(const pel_case *c, uint64_t i) {
    (void)c;
    return i / 3 * 4 + i % 3;
}
static double result(const pel_case *c, uint64_t i) {
    return (double)((const float *)c->arrays[0].data)[word(c, i)];
}

static double reference(const pel_case *c, uint64_t i, double *scale) {
    const float *body = (const float *)c->arrays[1].data, *own = body + i / 3 * 4;
    double sum = 0.0;
    *scale = 0.0;
    for (uint64_t j = 0; j < c->n; j++) {
        double d[3], r2 = (double)softening;
        for (int k = 0; k < 3; k++) {
            d[k] = (double)body[4 * j + (uint64_t)k] - (double)own[k];
            r2 += d[k] * d[k];
        }
        const double term = (double)body[4 * j + 3] * d[i % 3] / (r2 * sqrt(r2));
        sum += term;
        *scale += fabs(term);
    }
    return sum;
}

static double flops(uint64_t n) {
    return 20.0 * (double)n * (double)n;
}
static double bytes(uint64_t n) {
    return 32.0 * (double)n;
}

const pel_catalogue_kernel pel_catalogue_nbody = {.name = "nbody",
                                                  .about = "gravity of n bodies, all pairs: compute bound",
                                                  .source = pel_cl_nbody,
                                                  .entry = "nbody",
                                                  .params = params,
                                                  .param_count = ARGUMENTS,
                                                  .cost_hint = 8.0 * 10.0 * 4096.0,
                                                  .host = nbody_host,
                                                  .largest = UINT64_C(1) << 31,
                                                  .step = 64,
                                                  .exponent = 2,
                                                  .tolerance = 2e-5,
                                                  .shape = shape,
                                                  .fill = fill,
                                                  .outputs = outputs,
                                                  .word = word,
                                                  .result = result,
                                                  .reference = reference,
                                                  .flops = flops,
                                                  .bytes = bytes};
