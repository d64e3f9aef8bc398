/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a launch may be cut: at multiples of a granularity chosen so that cuts fall between work-groups and between written
 * elements, or nowhere, with the reason. Two chunks that shared an element would be found by the conflict rule as well, but
 * then the whole launch would stay on one device; choosing the cuts well keeps it splittable. What is only read may be shared
 * and asks for nothing.
 */
#include "backend/addressing.h"
#include "base/checked.h"
#include "base/text.h"
#include "kernel/declaration.h"
#include <inttypes.h>

/*
 * Units per chunk when the library chooses the work-group size: a multiple of every common wavefront in 1-D, rows and slabs as
 * they are.
 */
#define ITEMS_PER_CHUNK_1D 64

/* UINT64_MAX stands for "beyond any launch". */
static uint64_t least_common_multiple(uint64_t a, uint64_t b) {
    uint64_t multiple;
    return pel_mul_u64(a / pel_gcd_u64(a, b), b, &multiple) ? multiple : UINT64_MAX;
}

/* Units after which the boundary between items is a boundary between elements too: u * below * num must be a multiple of den. */
static uint64_t element_alignment(const pel_span *span, const pel_param *param) {
    uint64_t below = pel_items_below_split(span) % param->den;
    uint64_t step = (uint64_t)((unsigned __int128)below * (param->num % param->den) % param->den);
    return param->den / pel_gcd_u64(param->den, step);
}

static uint64_t find_granularity(const pel_bound *bound) {
    const pel_kernel *kernel = bound->kernel;
    const pel_span *span = &bound->span;
    uint64_t local = span->local[span->split];
    uint64_t granularity = least_common_multiple(kernel->granularity, local != 0        ? local
                                                                      : span->dims == 1 ? ITEMS_PER_CHUNK_1D
                                                                                        : 1);
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_param *param = &kernel->image.params[i];
        if (param->kind == PEL_PARAM_KIND_ELEMENTWISE && param->mode != PEL_READ && bound->args[i].allocation) {
            granularity = least_common_multiple(granularity, element_alignment(span, param));
        }
    }
    return granularity < bound->units ? granularity : bound->units;
}

/* Pieces that a chunk's elementwise footprint falls into when the split dimension is not the highest. */
static bool too_many_runs(const pel_bound *bound) {
    uint64_t runs = 1;
    for (uint32_t d = bound->span.split + 1; d < bound->span.dims; d++) {
        runs *= bound->span.global[d];
    }
    if (runs <= PEL_RUN_LIMIT) {
        return false;
    }
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        pel_param_kind kind = bound->kernel->image.params[i].kind;
        if (bound->args[i].allocation && (kind == PEL_PARAM_KIND_ELEMENTWISE || kind == PEL_PARAM_KIND_PER_GROUP)) {
            return true;
        }
    }
    return false;
}

static bool runs_on_opencl(const pel_kernel *kernel) {
    for (uint32_t i = 0; i < kernel->runtime->device_count; i++) {
        if (!kernel->not_on[i] && kernel->runtime->devices[i].facts->info.kind == PEL_DEVICE_OPENCL) {
            return true;
        }
    }
    return false;
}

static pel_status find_restriction(pel_bound *bound, pel_error **error) {
    const pel_kernel *kernel = bound->kernel;
    const pel_allocator *allocator = &kernel->runtime->allocator;
    if (kernel->single) {
        bound->single = kernel->single;
        return PEL_OK;
    }
    if (too_many_runs(bound)) {
        bound->single = "cut along this dimension, an argument's bytes fall into more than 65536 pieces per chunk";
        return PEL_OK;
    }
    if (runs_on_opencl(kernel)) {
        bound->single = pel_addressing_refusal(&bound->span);
    }
    if (bound->single || bound->granularity < bound->units) {
        return PEL_OK;
    }
    pel_text text;
    pel_text_init(&text, allocator);
    pel_text_format(&text,
                    "its %" PRIu64 " unit%s cannot be cut (work-group size, granularity and element boundaries leave no place)",
                    bound->units, bound->units == 1 ? "" : "s");
    bound->single = bound->single_text = pel_text_take(&text);
    return bound->single ? PEL_OK : pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a text");
}

pel_status pel_bound_find_cuts(pel_bound *bound, pel_error **error) {
    bound->granularity = find_granularity(bound);
    return find_restriction(bound, error);
}
