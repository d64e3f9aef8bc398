/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What pel costs on one device. Per kernel: its time over that of a hand-written raw OpenCL program (same source, local size,
 * memory and binary), and over that of an OpenMP loop with the same body, for launches of 5 ms; and the latency of a launch that
 * does next to nothing.
 */
#include "harness.h"
#include <string.h>

/* A launch of 64 items that write one word each: all overhead. */
static const char empty_source[] = "kernel void empty(global uint *out) { out[get_global_id(0)] = 7; }\n";
static const pel_param empty_params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1)};

static pel_status empty_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch;
    (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        ((uint32_t *)arguments[0])[i] = 7;
    }
    return PEL_OK;
}
static void empty_shape(pel_case *c) {
    c->global[0] = c->n;
    c->local[0] = c->n;
    pel_case_add_array(c, c->n * sizeof(uint32_t), true);
}
static void empty_fill(pel_case *c) {
    (void)c;
}
static uint64_t empty_outputs(const pel_case *c) {
    return c->n;
}
static uint64_t empty_word(const pel_case *c, uint64_t i) {
    (void)c;
    return i;
}
static double empty_result(const pel_case *c, uint64_t i) {
    return ((const uint32_t *)c->arrays[0].data)[i];
}
static double empty_reference(const pel_case *c, uint64_t i, double *scale) {
    (void)c;
    (void)i;
    *scale = 1.0;
    return 7.0;
}
static double empty_cost(uint64_t n) {
    return (double)n;
}
static const pel_catalogue_kernel empty = {.name = "empty",
                                           .about = "next to nothing",
                                           .source = empty_source,
                                           .entry = "empty",
                                           .params = empty_params,
                                           .param_count = 1,
                                           .host = empty_host,
                                           .largest = 64,
                                           .step = 64,
                                           .exponent = 1,
                                           .shape = empty_shape,
                                           .fill = empty_fill,
                                           .outputs = empty_outputs,
                                           .word = empty_word,
                                           .result = empty_result,
                                           .reference = empty_reference,
                                           .flops = empty_cost,
                                           .bytes = empty_cost};

static void add_comparison(pel_results *results, const char *kernel, const char *against,
                           const pel_bench_comparison *comparison) {
    char row[64], control[64];
    snprintf(row, sizeof row, "%s %s", kernel, comparison->tried ? comparison->device : against);
    if (!comparison->tried) {
        pel_results_skip(results, row, "no such device or program here");
        return;
    }
    snprintf(control, sizeof control, "control %s", against);
    const char *why = comparison->valid ? NULL : comparison->story;
    pel_results_add_one(results, row, against, "ratio", comparison->ratio, comparison->tries, why);
    pel_results_add_one(results, row, control, "ratio", comparison->control, comparison->tries, NULL);
}

static void one_kernel(pel_results *results, pel_bench_session *session, const pel_catalogue_kernel *kernel, uint64_t n) {
    pel_bench_row row;
    if (!pel_results_wants(results, kernel->name)) {
        return;
    }
    if (!pel_bench_measure(session, kernel, n, &row)) {
        pel_results_add_one(results, kernel->name, "ran", "", 0.0, 0, row.hybrid.story);
        results->missed++;
        return;
    }
    results->missed += !row.verified;
    for (uint32_t d = 0; d < row.device_count; d++) {
        char name[64];
        snprintf(name, sizeof name, "%s %s", kernel->name, row.alone[d].device);
        pel_results_add_one(results, name, "pel", "us", row.alone[d].median_ns * 1e-3, row.alone[d].runs,
                            row.alone[d].verified ? NULL : row.alone[d].story);
    }
    add_comparison(results, kernel->name, "raw OpenCL", &row.raw);
    add_comparison(results, kernel->name, "OpenMP loop", &row.openmp);
}

int main(int argc, char **argv) {
    pel_results results;
    pel_bench_session session;
    if (!pel_results_open(&results, "overhead", argc, argv)) {
        return 2;
    }
    pel_bench_options options = pel_results_options(&results, 5e6);
    if (!pel_bench_open(&session, "overhead", NULL, &options)) {
        (void)pel_results_close(&results);
        return 1;
    }
    for (size_t i = 0; pel_catalogue[i]; i++) {
        one_kernel(&results, &session, pel_catalogue[i], 0);
    }
    session.options.rounds = 51;
    one_kernel(&results, &session, &empty, 64);
    pel_bench_close(&session);
    return pel_results_close(&results);
}
