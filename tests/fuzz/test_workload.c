/* SPDX-License-Identifier: BSD-3-Clause */
/* What `pel sim` reads beside the machine: the workload's file, and faults in words. What is accepted gives finite costs. */
#include "base/alloc.h"
#include "cli/sim_faults.h"
#include "cli/sim_workload.h"
#include "fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_workload(const uint8_t *data, size_t bytes) {
    static pel_sim_workload workload;
    if (!pel_sim_workload_read(fuzz_file(data, bytes), &workload)) {
        return;
    }
    pel_sim_workload_draw(&workload, 7);
    for (uint32_t k = 0; k < workload.kernel_count; k++) {
        const pel_sim_kernel *kernel = &workload.kernels[k];
        const uint64_t n = kernel->items;
        const pel_span halves[] = {{.dims = 1, .global = {n}, .lo = {0}, .hi = {n / 2}},
                                   {.dims = 1, .global = {n}, .lo = {n / 2}, .hi = {n}}};
        for (int i = 0; i < 2; i++) {
            const double work = pel_sim_work(&workload, "gpu0", kernel->name, &halves[i]);
            if (!isfinite(work) || work < 0.0) {
                abort();
            }
        }
    }
}

static void read_faults(const uint8_t *data, size_t bytes) {
    static const char machine[] = "seed = 1\n[cpu]\nitems_per_us = 1000\n[gpu0]\nitems_per_us = 4000\n";
    pel_description description;
    memset(&description, 0, sizeof description);
    char *words = pel_strndup(&pel_allocator_default, (const char *)data, strnlen((const char *)data, bytes));
    if (!words || pel_description_parse(&pel_allocator_default, "machine", machine, sizeof machine - 1, &description, NULL)) {
        abort();
    }
    (void)pel_sim_faults_apply(words, 7, &description);
    pel_free(&pel_allocator_default, description.devices);
    free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static FILE *nowhere;
    FILE *shown = stderr;
    if (!nowhere && !(nowhere = fopen("/dev/null", "we"))) {
        abort();
    }
    stderr = nowhere; /* of the messages; a sanitizer writes to the descriptor */
    read_workload(data, bytes);
    read_faults(data, bytes);
    stderr = shown;
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t data[FUZZ_BYTES]) {
    static const char *const texts[] = {
        "rounds = 3\n[saxpy]\nitems = 1000\nitems_most = 1000000\nlaunches = 4\nbytes_in_per_item = 8\nbytes_out_per_item = 4\n",
        "[mandelbrot] # dear in the middle\nitems = 4096\ngranularity = 64\ncost = 30\nprofile = hump\ncontrast = 40\n",
        "[a]\nitems = 7\nprofile = steps\nspeed = gpu0 2.5\nspeed = cpu 0.5\nresident = yes\nirregular = no\n",
        "gpu0:lost_at_chunk=1..9,wrong_every_chunks=3;cpu:noise=0.2",
        "gpu0:hang_at_chunk=2"};
    return fuzz_text(texts, sizeof texts / sizeof *texts, index, data);
}
