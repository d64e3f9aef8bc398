/* SPDX-License-Identifier: BSD-3-Clause */
#include "triad_openmp.h"

#ifdef PEL_HAVE_OPENMP
#include <omp.h>

bool triad_openmp_available(void) {
    return true;
}

void triad_openmp_wake(unsigned threads) {
    volatile unsigned woken = 0;
#pragma omp parallel num_threads((int)threads)
    {
#pragma omp atomic
        woken += 1;
    }
}

void triad_openmp_run(double *a, const double *b, const double *c, uint64_t count, unsigned threads) {
#pragma omp parallel for num_threads((int)threads) schedule(static)
    for (unsigned t = 0; t < threads; t++) {
        workload_triad(a, b, c, count / threads * t, t + 1 == threads ? count : count / threads * (t + 1));
    }
}

void triad_openmp_rest(void) {
#if _OPENMP >= 201811 || __GNUC__ >= 9 /* libgomp has it since GCC 9, which says 201511 until GCC 13 */
    omp_pause_resource_all(omp_pause_soft);
#endif
}

#else

bool triad_openmp_available(void) {
    return false;
}
void triad_openmp_wake(unsigned threads) {
    (void)threads;
}
void triad_openmp_run(double *a, const double *b, const double *c, uint64_t count, unsigned threads) {
    (void)threads;
    workload_triad(a, b, c, 0, count);
}
void triad_openmp_rest(void) {
}
#endif
