/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What moves, and what that costs. Bytes are counted on simulated devices with memory of their own, so that the figures hold on
 * any machine; times on two halves of a PoCL device. The ideal pipeline has neither beginning nor end: the longest of bringing
 * all in, computing all, bringing all home.
 */
#include "movement.h"

#include "raw_jacobi.h"
#include <pel/pel.h>
#include <pel/simulated.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 4096, QUICK_SIZE = 1024, ITERATIONS = 100, QUICK_ITERATIONS = 20, ROUNDS = 15, QUICK_ROUNDS = 2 };

/* ---- programs ---- */

static pel_status jacobi(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const float *restrict in = arguments[0];
    float *restrict out = arguments[1];
    const uint64_t w = span->global[0], h = span->global[1];
    (void)scratch, (void)user;
    for (uint64_t y = span->lo[1]; y < span->hi[1]; y++) {
        const float *at = in + y * w;
        for (uint64_t x = span->lo[0]; x < span->hi[0]; x++) {
            const bool rim = x == 0 || y == 0 || x + 1 == w || y + 1 == h;
            out[y * w + x] = rim ? at[x] : 0.25f * (at[x - 1] + at[x + 1] + in[(y - 1) * w + x] + in[(y + 1) * w + x]);
        }
    }
    return PEL_OK;
}

static pel_status twice(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *out = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = 2 * in[i] + 1;
    }
    return PEL_OK;
}

static const char twice_source[] =
    "__kernel void twice(__global const int *in, __global int *out) { size_t i = get_global_id(0); out[i] = 2 * in[i] + 1; }\n";

typedef struct setting {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
} setting;

static bool open_setting(setting *s, const char *devices, const pel_simulation *simulation, const char *source, const char *entry,
                         pel_host_fn host, const pel_param *params, uint32_t count) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    memset(s, 0, sizeof *s);
    desc.devices = devices;
    desc.simulation = simulation;
    if (pel_runtime_create(&desc, &s->runtime, NULL) != PEL_OK) {
        return false;
    }
    program_desc.source = simulation ? NULL : source;
    kernel_desc.name = kernel_desc.entry = entry;
    kernel_desc.entry = simulation ? NULL : entry;
    kernel_desc.host = host;
    kernel_desc.params = params;
    kernel_desc.param_count = count;
    const bool made = pel_queue_create(s->runtime, NULL, &s->queue, NULL) == PEL_OK &&
                      pel_program_create(s->runtime, &program_desc, &program, NULL) == PEL_OK &&
                      pel_kernel_create(program, &kernel_desc, &s->kernel, NULL) == PEL_OK;
    (void)pel_program_destroy(program);
    return made;
}

static bool close_setting(setting *s) {
    (void)pel_kernel_destroy(s->kernel);
    (void)pel_queue_destroy(s->queue);
    return pel_runtime_destroy(s->runtime) == PEL_OK;
}

static pel_simulated_device gpu(const char *name, double rate, uint64_t memory) {
    pel_simulated_device device;
    memset(&device, 0, sizeof device);
    (void)snprintf(device.name, sizeof device.name, "%s", name);
    device.start_ns = 5000; /* of a launch behind others */
    device.rate = rate;
    device.memory_bytes = memory;
    device.link_bytes_per_ns = 12;
    device.link_latency_ns = 2000;
    return device;
}

/* ---- Jacobi ---- */

static void fill_grid(float *grid, uint32_t size) {
    for (uint64_t i = 0; i < (uint64_t)size * size; i++) {
        grid[i] = (float)(i * 2654435761u % 1000);
    }
}

static bool iterate(setting *s, pel_buffer *grids[2], uint32_t size, uint32_t first, uint32_t last, bool finish_each) {
    pel_share halves[] = {{pel_runtime_device(s->runtime, 0), 1}, {pel_runtime_device(s->runtime, 1), 1}};
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    bool fine = true;
    desc.global[0] = desc.global[1] = size;
    desc.shares = halves;
    desc.share_count = 2;
    for (uint32_t r = first; r < last && fine; r++) {
        const pel_arg args[] = {pel_buf(grids[r % 2]), pel_buf(grids[1 - r % 2])};
        fine = pel_launch(s->queue, s->kernel, &desc, args, 2, NULL) == PEL_OK &&
               (!finish_each || pel_queue_finish(s->queue) == PEL_OK);
    }
    return pel_queue_finish(s->queue) == PEL_OK && fine;
}

static uint64_t moved(const setting *s) {
    pel_device_counters c;
    uint64_t bytes = 0;
    for (uint32_t d = 0; d < pel_runtime_device_count(s->runtime); d++) {
        pel_device_get_counters(pel_runtime_device(s->runtime, d), &c);
        bytes += c.to_device + c.to_host;
    }
    return bytes;
}

/* Grids of ours stay on the devices; wrapped ones go home whenever the queue is finished, here after every iteration. */
static bool jacobi_bytes(pel_results *results, bool wrapped) {
    const uint32_t size = results->quick ? QUICK_SIZE : SIZE, iterations = results->quick ? QUICK_ITERATIONS
                                                                           : wrapped      ? ITERATIONS / 10
                                                                                          : ITERATIONS;
    const uint64_t row = size * sizeof(float), grid = size * row;
    const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(float), row, 1, 1),
                                PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), row, 0, 0)};
    const pel_simulated_device devices[] = {gpu("gpu0", 10000, 0), gpu("gpu1", 10000, 0)};
    pel_simulation simulation = PEL_SIMULATION_INIT;
    setting s;
    float *memory[2] = {calloc(1, grid), calloc(1, grid)};
    pel_buffer *grids[2] = {NULL, NULL};
    simulation.devices = devices;
    simulation.device_count = 2;
    bool fine = memory[0] && memory[1] && open_setting(&s, "sim:gpu0,sim:gpu1", &simulation, NULL, "jacobi", jacobi, params, 2);
    for (int g = 0; g < 2 && fine; g++) {
        fill_grid(memory[g], size);
        fine = wrapped ? pel_buffer_wrap(s.runtime, memory[g], grid, &grids[g]) == PEL_OK
                       : pel_buffer_create(s.runtime, grid, &grids[g], NULL) == PEL_OK &&
                             memcpy(pel_buffer_data(grids[g]), memory[g], grid) != NULL;
    }
    fine = fine && iterate(&s, grids, size, 0, 1, true);
    const uint64_t before = fine ? moved(&s) : 0;
    fine = fine && iterate(&s, grids, size, 1, iterations + 1, wrapped);
    const uint64_t bytes = fine ? moved(&s) - before : 0;
    /* A row from each device goes home and on to the other; of wrapped grids all is read anew, and all that is written goes
     * home. */
    const uint64_t least = iterations * (wrapped ? 2 * grid + 2 * row : 4 * row);
    if (fine) {
        pel_results_add_one(results, wrapped ? "Jacobi, host-resident" : "Jacobi, resident", "bytes over least", "x",
                            (double)bytes / (double)least, iterations, NULL);
    }
    for (int g = 0; g < 2; g++) {
        (void)pel_buffer_destroy(grids[g]);
    }
    fine = close_setting(&s) && fine;
    free(memory[0]);
    free(memory[1]);
    return fine;
}

static uint64_t digest(const float *grid, uint64_t bytes) { /* FNV-1a over words */
    const uint32_t *words = (const uint32_t *)(const void *)grid;
    uint64_t hash = 14695981039346656037u;
    for (uint64_t i = 0; i < bytes / sizeof *words; i++) {
        hash = (hash ^ words[i]) * 1099511628211u;
    }
    return hash;
}

static void fill_both(float *grids[2], uint32_t size) {
    fill_grid(grids[0], size);
    fill_grid(grids[1], size);
}

/* In ns, of the one or the other program on the same memory; < 0: it failed. */
static double time_jacobi(setting *s, pel_buffer *grids[2], uint32_t size, uint32_t iterations, bool by_hand) {
    const double began = pel_bench_now();
    if (by_hand) {
        return raw_jacobi_run(iterations);
    }
    return iterate(s, grids, size, 0, iterations, false) ? pel_bench_now() - began : -1.0;
}

/* The same memory for both, one after the other: which pages a grid has, huge or not and where, is worth more than what is
 * looked for here. */
static bool jacobi_time(pel_results *results) {
    const char *name = "Jacobi on two halves of a CPU";
    const uint32_t size = results->quick ? QUICK_SIZE : SIZE, iterations = results->quick ? QUICK_ITERATIONS : ITERATIONS;
    const uint32_t rounds = results->quick ? QUICK_ROUNDS : ROUNDS;
    const uint64_t row = size * sizeof(float), grid = size * row;
    const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(float), row, 1, 1),
                                PEL_PARAM_BLOCK(PEL_WRITE, sizeof(float), row, 0, 0)};
    setting s;
    float *memory[2] = {aligned_alloc(4096, grid), aligned_alloc(4096, grid)};
    pel_buffer *grids[2] = {NULL, NULL};
    double ratios[ROUNDS], pel_ms[ROUNDS], raw_ms[ROUNDS];
    uint64_t results_of[2] = {0, 1};
    if (!open_setting(&s, "opencl:0@0,opencl:0@1", NULL, raw_jacobi_source, "jacobi", NULL, params, 2)) {
        pel_results_skip(results, name, "no OpenCL CPU device that can be parted, or not two cores");
        free(memory[0]);
        free(memory[1]);
        return true;
    }
    bool fine = memory[0] && memory[1] && raw_jacobi_open(size, memory);
    for (int g = 0; g < 2 && fine; g++) {
        fine = pel_buffer_wrap(s.runtime, memory[g], grid, &grids[g]) == PEL_OK;
    }
    for (int hand = 0; hand < 2 && fine; hand++) { /* compiled, pages touched, and the same bits */
        fill_both(memory, size);
        fine = time_jacobi(&s, grids, size, 4, hand == 1) > 0;
        results_of[hand] = digest(memory[0], grid);
    }
    for (uint32_t k = 0; k < rounds && fine; k++) {
        double took[2] = {0, 0};
        for (uint32_t turn = 0; turn < 2; turn++) { /* in turn, so that a drift of the machine favours nobody */
            const uint32_t hand = (turn + k) % 2;
            took[hand] = time_jacobi(&s, grids, size, iterations, hand == 1);
            fine = fine && took[hand] > 0;
        }
        pel_ms[k] = took[0] / 1e6;
        raw_ms[k] = took[1] / 1e6;
        ratios[k] = took[0] / took[1];
    }
    if (fine) {
        pel_results_add(results, name, "pel", "ms", pel_ms, rounds, NULL);
        pel_results_add(results, name, "by hand", "ms", raw_ms, rounds, NULL);
        pel_results_add(results, name, "over by hand", "x", ratios, rounds,
                        results_of[0] == results_of[1] ? NULL : "results differ");
    }
    raw_jacobi_close();
    for (int g = 0; g < 2; g++) {
        (void)pel_buffer_destroy(grids[g]);
    }
    fine = close_setting(&s) && fine;
    free(memory[0]);
    free(memory[1]);
    return fine;
}

bool movement_jacobi_rows(pel_results *results) {
    bool fine = true;
    if (pel_results_wants(results, "Jacobi, resident")) {
        fine = jacobi_bytes(results, false);
    }
    if (fine && pel_results_wants(results, "Jacobi, host-resident")) {
        fine = jacobi_bytes(results, true);
    }
    if (fine && pel_results_wants(results, "Jacobi on two halves of a CPU")) {
        fine = jacobi_time(results);
    }
    return fine;
}

/* ---- more than fits ---- */

static const pel_param twice_params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                         PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1)};

/* *wrong: elements that are not what they should be. */
static bool run_twice(setting *s, uint64_t count, double *took_ns, uint64_t *wrong) {
    pel_buffer *x = NULL, *y = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = count;
    bool fine = pel_buffer_create(s->runtime, count * sizeof(int), &x, NULL) == PEL_OK &&
                pel_buffer_create(s->runtime, count * sizeof(int), &y, NULL) == PEL_OK;
    for (uint64_t i = 0; fine && i < count; i++) {
        ((int *)pel_buffer_data(x))[i] = (int)(i % 100003);
    }
    const pel_arg args[] = {pel_buf(x), pel_buf(y)};
    const int64_t began = fine ? pel_runtime_now(s->runtime) : 0;
    fine = fine && pel_launch(s->queue, s->kernel, &desc, args, 2, NULL) == PEL_OK && pel_queue_finish(s->queue) == PEL_OK;
    *took_ns = fine ? (double)(pel_runtime_now(s->runtime) - began) : 0;
    fine = fine && pel_buffer_sync(y) == PEL_OK;
    *wrong = 0;
    for (uint64_t i = 0; fine && i < count; i++) {
        *wrong += ((const int *)pel_buffer_data(y))[i] != 2 * (int)(i % 100003) + 1 ? 1u : 0u;
    }
    (void)pel_buffer_destroy(x);
    (void)pel_buffer_destroy(y);
    return fine;
}

static bool streaming_row(pel_results *results, const char *row, double computing_over_moving) {
    const uint64_t memory = results->quick ? 16u << 20 : 64u << 20, count = 4 * memory / 2 / sizeof(int);
    const double link = 12, moving = (double)(count * sizeof(int)) / link, computing = moving * computing_over_moving;
    const pel_simulated_device device = gpu("gpu", 1e3 * (double)count / computing, memory);
    pel_simulation simulation = PEL_SIMULATION_INIT;
    setting s;
    double took = 0;
    uint64_t wrong = 0;
    if (!pel_results_wants(results, row)) {
        return true;
    }
    simulation.devices = &device;
    simulation.device_count = 1;
    bool fine =
        open_setting(&s, "sim:gpu", &simulation, NULL, "twice", twice, twice_params, 2) && run_twice(&s, count, &took, &wrong);
    fine = close_setting(&s) && fine;
    if (fine) {
        pel_results_add_one(results, row, "of the ideal pipeline", "x", (moving > computing ? moving : computing) / took, 1,
                            wrong == 0 ? NULL : "wrong results");
    }
    return fine;
}

static bool pocl_row(pel_results *results) {
    const char *row = "4 x the memory of a limited OpenCL device";
    const uint64_t count = 4 * (4u << 20) / 2 / sizeof(int);
    setting s;
    double took = 0;
    uint64_t wrong = 0;
    if (!pel_results_wants(results, row)) {
        return true;
    }
    if (!open_setting(&s, "opencl:0[own;memory=4M]", NULL, twice_source, "twice", NULL, twice_params, 2)) {
        pel_results_skip(results, row, "no OpenCL device");
        return true;
    }
    bool fine = run_twice(&s, count, &took, &wrong);
    fine = close_setting(&s) && fine;
    if (fine) {
        pel_results_add_one(results, row, "wrong elements", "", (double)wrong, 1, NULL);
    }
    return fine;
}

bool movement_streaming_rows(pel_results *results) {
    return streaming_row(results, "4 x the memory, as long to compute as to move", 1) &&
           streaming_row(results, "4 x the memory, twice as long to compute", 2) &&
           streaming_row(results, "4 x the memory, half as long to compute", 0.5) && pocl_row(results);
}

/* ---- wrapped memory ---- */

bool movement_wrapped_row(pel_results *results) {
    enum { COUNT = 1 << 20, LAUNCHES = 10 };
    const char *row = "wrapped memory on an OpenCL CPU device";
    setting s;
    pel_buffer *x = NULL, *y = NULL;
    pel_buffer_counters a, b;
    if (!pel_results_wants(results, row)) {
        return true;
    }
    if (!open_setting(&s, "opencl:0", NULL, twice_source, "twice", NULL, twice_params, 2)) {
        pel_results_skip(results, row, "no OpenCL device");
        return true;
    }
    int *memory = aligned_alloc(4096, 2 * COUNT * sizeof *memory);
    bool fine = memory && memset(memory, 1, 2 * COUNT * sizeof *memory) &&
                pel_buffer_wrap(s.runtime, memory, COUNT * sizeof *memory, &x) == PEL_OK &&
                pel_buffer_wrap(s.runtime, memory + COUNT, COUNT * sizeof *memory, &y) == PEL_OK;
    for (int p = 0; p < 2 * LAUNCHES && fine; p++) {
        pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
        desc.global[0] = COUNT;
        desc.protection = p < LAUNCHES ? PEL_PROTECT_NONE : PEL_PROTECT_RETRY;
        const pel_arg args[] = {pel_buf(x), pel_buf(y)};
        fine = pel_launch(s.queue, s.kernel, &desc, args, 2, NULL) == PEL_OK && pel_queue_finish(s.queue) == PEL_OK;
    }
    pel_buffer_get_counters(x, &a);
    pel_buffer_get_counters(y, &b);
    const uint64_t copied = moved(&s) + a.to_devices + a.to_host + b.to_devices + b.to_host;
    const bool shares = pel_device_get_info(pel_runtime_device(s.runtime, 0))->shares_host_memory != 0;
    if (fine && shares) {
        pel_results_add_one(results, row, "bytes copied", "B", (double)copied, 2 * LAUNCHES,
                            memory[COUNT] == 2 * memory[0] + 1 ? NULL : "wrong results");
    } else if (fine) {
        pel_results_skip(results, row, "opencl:0 has memory of its own");
    }
    (void)pel_buffer_destroy(x);
    (void)pel_buffer_destroy(y);
    fine = close_setting(&s) && fine;
    free(memory);
    return fine;
}
