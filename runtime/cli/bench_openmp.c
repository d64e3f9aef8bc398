/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_openmp.h"

#ifdef PEL_HAVE_OPENMP
#include <omp.h>

enum { ROWS_AT_ONCE = 4, ITEMS_AT_ONCE = 64 };

bool pel_bench_openmp_available(void) {
    return true;
}

void pel_bench_openmp_begin(unsigned threads) {
    volatile int woken = 0;
#pragma omp parallel num_threads((int)threads)
    {
#pragma omp atomic
        woken += 1;
    }
}

void pel_bench_openmp_end(void) {
#if _OPENMP >= 201811 || __GNUC__ >= 9 /* libgomp has it since GCC 9, which says 201511 until GCC 13 */
    omp_pause_resource_all(omp_pause_soft);
#endif
}

/* The span of work-groups [lo, hi) along the highest dimension. */
static pel_span part_of(const pel_case *c, uint32_t dims, uint64_t group, uint64_t lo, uint64_t hi) {
    pel_span span = {.dims = dims, .split = dims - 1};
    for (uint32_t d = 0; d < dims; d++) {
        span.global[d] = c->global[d];
        span.local[d] = c->local[d] ? c->local[d] : 1;
        span.hi[d] = c->global[d];
        span.group_hi[d] = c->global[d] / span.local[d];
    }
    const uint32_t s = span.split;
    span.lo[s] = lo * group;
    span.hi[s] = hi * group < c->global[s] ? hi * group : c->global[s];
    span.group_lo[s] = lo * group / span.local[s];
    span.group_hi[s] = span.hi[s] / span.local[s];
    return span;
}

bool pel_bench_openmp_run(pel_case *c, unsigned threads) {
    const uint32_t dims = c->global[1] == 0 ? 1 : c->global[2] == 0 ? 2 : 3, s = dims - 1;
    const uint64_t group = c->local[s] > 1 ? c->local[s]
                           : dims > 1      ? 1
                                           : ITEMS_AT_ONCE,
                   groups = (c->global[s] + group - 1) / group;
    void *arguments[PEL_CASE_ARGS];
    for (uint32_t i = 0; i < c->arg_count; i++) {
        pel_case_arg *arg = &c->args[i];
        arguments[i] = arg->kind == PEL_CASE_ARRAY ? c->arrays[arg->array].data : arg->kind == PEL_CASE_VALUE ? arg->value : NULL;
    }
    int failed = 0;
    if (c->kernel->flags & PEL_KERNEL_IRREGULAR) {
#pragma omp parallel for num_threads((int)threads) schedule(dynamic) reduction(| : failed)
        for (uint64_t g = 0; g < groups; g += ROWS_AT_ONCE) {
            pel_span span = part_of(c, dims, group, g, g + ROWS_AT_ONCE < groups ? g + ROWS_AT_ONCE : groups);
            failed |= c->kernel->host(&span, arguments, NULL, NULL) != PEL_OK;
        }
    } else {
#pragma omp parallel for num_threads((int)threads) schedule(static) reduction(| : failed)
        for (unsigned t = 0; t < threads; t++) {
            pel_span span = part_of(c, dims, group, groups * t / threads, groups * (t + 1) / threads);
            failed |= c->kernel->host(&span, arguments, NULL, NULL) != PEL_OK;
        }
    }
    if (c->kernel->fold) {
        c->kernel->fold(c);
    }
    return failed == 0;
}

#else

bool pel_bench_openmp_available(void) {
    return false;
}
void pel_bench_openmp_begin(unsigned threads) {
    (void)threads;
}
bool pel_bench_openmp_run(pel_case *c, unsigned threads) {
    (void)c;
    (void)threads;
    return false;
}
void pel_bench_openmp_end(void) {}

#endif
