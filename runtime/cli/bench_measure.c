/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_measure.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

double pel_bench_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

double pel_bench_time(const pel_bench_subject *subject) {
    if (subject->before) {
        subject->before(subject->context);
    }
    const double begin = pel_bench_now();
    const bool fine = subject->run(subject->context);
    const double end = pel_bench_now();
    if (subject->after) {
        subject->after(subject->context);
    }
    return fine ? end - begin : -1.0;
}

bool pel_bench_rounds(pel_bench_subject *subjects, uint32_t count, uint32_t rounds) {
    for (uint32_t r = 0; r < rounds; r++) {
        for (uint32_t i = 0; i < count; i++) {
            pel_bench_subject *subject = &subjects[r % 2 ? count - 1 - i : i];
            const double ns = pel_bench_time(subject);
            if (ns < 0.0) {
                return false;
            }
            if (subject->count < PEL_BENCH_RUNS) {
                subject->ns[subject->count++] = ns;
            }
        }
    }
    return true;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double pel_bench_median(const double *values, uint32_t count) {
    double sorted[PEL_BENCH_RUNS];
    if (count == 0) {
        return 0.0;
    }
    count = count < PEL_BENCH_RUNS ? count : PEL_BENCH_RUNS;
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    return count % 2 ? sorted[count / 2] : 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]);
}

double pel_bench_ratio(const pel_bench_subject *above, const pel_bench_subject *below) {
    double ratios[PEL_BENCH_RUNS];
    const uint32_t count = above->count < below->count ? above->count : below->count;
    for (uint32_t i = 0; i < count; i++) {
        ratios[i] = above->ns[i] / (below->ns[i] > 0.0 ? below->ns[i] : 1.0);
    }
    return pel_bench_median(ratios, count);
}

double pel_bench_ratio_to_pair(const pel_bench_subject *above, const pel_bench_subject *below, const pel_bench_subject *again) {
    double ratios[PEL_BENCH_RUNS];
    uint32_t count = above->count < below->count ? above->count : below->count;
    count = count < again->count ? count : again->count;
    for (uint32_t i = 0; i < count; i++) {
        const double mean = 0.5 * (below->ns[i] + again->ns[i]);
        ratios[i] = above->ns[i] / (mean > 0.0 ? mean : 1.0);
    }
    return pel_bench_median(ratios, count);
}
