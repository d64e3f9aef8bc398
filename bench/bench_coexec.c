/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What devices give together. Two that share nothing, one host worker on one core and PoCL with one thread on another, 30 ms
 * launches: the efficiency S / S_max of kernels that can gain, and the time over the best single device of kernels that can not
 * (one memory feeds both cores). Beside each stands what two plain threads reach on the same cores; rounds in which these do not get both
 * cores do not count.
 */
#include "cli/bench_disjoint.h"
#include "harness.h"
#include <string.h>

static void one_kernel(pel_results *results, pel_bench_session *session, const pel_catalogue_kernel *kernel) {
    pel_bench_row row;
    if (!pel_results_wants(results, kernel->name)) {
        return;
    }
    if (!pel_bench_measure(session, kernel, 0, &row) || row.speedup <= 0.0) {
        pel_results_add_one(results, kernel->name, "ran", "", 0.0, 0, row.hybrid.story);
        results->missed++;
        return;
    }
    results->missed += !row.verified;
    for (uint32_t d = 0; d < row.device_count; d++) {
        pel_results_add_one(results, kernel->name, row.alone[d].device, "ms", row.alone[d].median_ns * 1e-6, row.alone[d].runs,
                            NULL);
    }
    const char *why = !row.verified ? row.hybrid.story : *row.void_story ? row.void_story : NULL;
    pel_results_add_one(results, kernel->name, "control two threads", "ratio", row.both_cores, row.hybrid.runs + row.void_rounds, NULL);
    pel_results_add_one(results, kernel->name, "all", "ms", row.hybrid.median_ns * 1e-6, row.hybrid.runs, why);
    pel_results_add_one(results, kernel->name, "speed-up", "ratio", row.speedup, row.hybrid.runs, why);
    pel_results_add_one(results, kernel->name, "efficiency", "ratio", row.efficiency, row.hybrid.runs, why);
    pel_results_add_one(results, kernel->name, "over best single", "ratio", row.hybrid.median_ns / row.best_ns, row.hybrid.runs,
                        why);
}

int main(int argc, char **argv) {
    pel_results results;
    pel_bench_session session;
    char list[PEL_BENCH_DISJOINT_LIST];
    if (!pel_results_open(&results, "coexec", argc, argv)) {
        return 2;
    }
    pel_bench_options options = pel_results_options(&results, 30e6);
    options.compare = false;
    options.both_cores = true;
    if (!pel_bench_disjoint("coexec", list)) {
        pel_results_skip(&results, "*", "it takes two cores");
        return pel_results_close(&results);
    }
    if (!pel_bench_open(&session, "coexec", list, &options)) {
        pel_results_skip(&results, "*", "it takes the host and an OpenCL device on the same cores, such as PoCL");
        return pel_results_close(&results);
    }
    for (size_t i = 0; pel_catalogue[i]; i++) {
        one_kernel(&results, &session, pel_catalogue[i]);
    }
    pel_bench_close(&session);
    return pel_results_close(&results);
}
