/* SPDX-License-Identifier: BSD-3-Clause */
/* What a launch on a buffer that is already where it is needed costs beyond the raw call: both in one process, in turns, each
 * finished before the next. */
#include "movement.h"

#include "raw_opencl.h"
#include "workload.h"
#include <pel/opencl.h>
#include <pel/pel.h>
#include <stdlib.h>

enum { SINGLES = 400, QUICK_SINGLES = 40, WARM = 20 };

typedef struct launcher {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *buffer;
} launcher;

static bool open_launcher(launcher *l) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc runtime = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    runtime.devices = "opencl:0";
    program.source = raw_opencl_source;
    kernel.entry = "count";
    kernel.params = params;
    kernel.param_count = 1;
    return pel_runtime_create(&runtime, &l->runtime, NULL) == PEL_OK &&
           pel_queue_create(l->runtime, NULL, &l->queue, NULL) == PEL_OK &&
           pel_program_create(l->runtime, &program, &l->program, NULL) == PEL_OK &&
           pel_kernel_create(l->program, &kernel, &l->kernel, NULL) == PEL_OK &&
           pel_buffer_create(l->runtime, RAW_ITEMS * sizeof(uint32_t), &l->buffer, NULL) == PEL_OK;
}

static bool close_launcher(launcher *l) {
    (void)pel_buffer_destroy(l->buffer);
    (void)pel_kernel_destroy(l->kernel);
    (void)pel_program_destroy(l->program);
    (void)pel_queue_destroy(l->queue);
    return pel_runtime_destroy(l->runtime) == PEL_OK;
}

static double launch_one(const launcher *l) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(l->buffer)};
    desc.global[0] = desc.local[0] = RAW_ITEMS;
    const double began = pel_bench_now();
    const bool fine = pel_launch(l->queue, l->kernel, &desc, args, 1, NULL) == PEL_OK && pel_queue_finish(l->queue) == PEL_OK;
    return fine ? pel_bench_now() - began : -1.0;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

bool movement_launch_row(pel_results *results) {
    const char *row = "launch of a resident buffer";
    const uint32_t count = results->quick ? QUICK_SINGLES : SINGLES;
    static double raw[SINGLES], looking[SINGLES], mine[SINGLES], beyond[SINGLES], own[SINGLES];
    launcher l = {NULL, NULL, NULL, NULL, NULL};
    if (!pel_results_wants(results, row)) {
        return true;
    }
    if (!open_launcher(&l) || !raw_opencl_open(pel_opencl_device_id(pel_runtime_device(l.runtime, 0)),
                                               pel_opencl_context(pel_runtime_device(l.runtime, 0)))) {
        pel_results_skip(results, row, "no OpenCL device");
        (void)close_launcher(&l);
        return true;
    }
    bool fine = true;
    for (uint32_t i = 0; i < WARM && fine; i++) { /* the first ones compile */
        (void)raw_opencl_single();
        fine = launch_one(&l) > 0;
    }
    for (uint32_t i = 0; i < count && fine; i++) {
        raw[i] = raw_opencl_single() / 1e3;
        looking[i] = raw_opencl_single_looking() / 1e3;
        mine[i] = launch_one(&l) / 1e3;
        fine = mine[i] > 0;
    }
    qsort(raw, count, sizeof *raw, ascending);
    qsort(looking, count, sizeof *looking, ascending);
    qsort(mine, count, sizeof *mine, ascending);
    for (uint32_t i = 0; i < count; i++) { /* by rank: the two do not come in pairs */
        beyond[i] = mine[i] - raw[i];
        own[i] = mine[i] - looking[i];
    }
    const bool kept = raw_opencl_close(WARM + 2 * count);
    if (fine) {
        const char *why = kept ? NULL : "launches were lost";
        pel_results_add(results, row, "raw", "us", raw, count, why);
        pel_results_add(results, row, "raw, looking", "us", looking, count, why);
        pel_results_add(results, row, "pel", "us", mine, count, why);
        pel_results_add(results, row, "pel - raw", "us", beyond, count, why);
        pel_results_add(results, row, "pel - raw, looking", "us", own, count, why);
    }
    return close_launcher(&l) && fine;
}
