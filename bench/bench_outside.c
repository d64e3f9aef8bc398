/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device in a process of its own costs, at the driver contract: an empty launch alone, one of 64 that follow each other,
 * transfers in and out, opening. Beside it the same device in-process: in place, and with memory of its own ([own]), which copies
 * as a discrete device would.
 */
#include "harness.h"

#include "backend/backends.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1024, TRAIN = 64 };

typedef struct subject {
    pel_topology *topology;
    pel_backend_env env;
    const pel_backend *backend;
    pel_backend_device *device;
    pel_program_image program;
    pel_kernel_image kernel;
    pel_mem *mem;
    void *host;
} subject;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static atomic_uint pending;
static atomic_bool failed;

static void complete(pel_work *work) {
    if (work->status != PEL_OK) {
        atomic_store(&failed, true);
        pel_error_destroy(work->error);
    }
    pthread_mutex_lock(&lock);
    atomic_fetch_sub(&pending, 1);
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
}

/* Submits and waits as a queue does: by help, then asleep. */
static double run(const subject *s, pel_work *works, uint32_t count) {
    const int64_t from = pel_clock_now(&pel_clock_monotonic);
    atomic_store(&pending, count);
    for (uint32_t i = 0; i < count; i++) {
        s->backend->submit(s->device, &works[i]);
    }
    while (atomic_load(&pending) > 0) {
        if (!s->backend->help(s->device)) {
            pthread_mutex_lock(&lock);
            while (atomic_load(&pending) > 0) {
                pthread_cond_wait(&ended, &lock);
            }
            pthread_mutex_unlock(&lock);
        }
    }
    return (double)(pel_clock_now(&pel_clock_monotonic) - from);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nine figures: each the median of a ninth of the runs. */
static void add(pel_results *results, const char *row, const char *name, double *values, uint32_t count, double unit) {
    double figures[9];
    for (uint32_t i = 0; i < 9; i++) {
        double *part = values + count / 9 * i;
        qsort(part, count / 9, sizeof *part, ascending);
        figures[i] = part[count / 18] / unit;
    }
    pel_results_add(results, row, name, "us", figures, 9, atomic_load(&failed) ? "a work failed" : NULL);
}

static void measure_launches(pel_results *results, const subject *s, const char *name, uint32_t runs) {
    static pel_work works[TRAIN];
    static double values[MOST];
    for (uint32_t i = 0; i < TRAIN; i++) {
        works[i] = (pel_work){.kind = PEL_WORK_LAUNCH, .complete = complete, .kernel = &s->kernel};
        works[i].span = (pel_span){.dims = 1, .hi = {64, 1, 1}, .global = {64, 1, 1}, .local = {64, 1, 1}, .group_hi = {1, 1, 1}};
    }
    for (uint32_t i = 0; i < 20; i++) {
        (void)run(s, works, TRAIN);
    }
    for (uint32_t i = 0; i < runs; i++) {
        values[i] = run(s, works, 1);
    }
    add(results, "empty launch", name, values, runs, 1e3);
    for (uint32_t i = 0; i < runs; i++) {
        values[i] = run(s, works, TRAIN) / TRAIN;
    }
    add(results, "empty launch, of 64", name, values, runs, 1e3);
}

static void measure_transfers(pel_results *results, const subject *s, const char *name, uint64_t bytes, uint32_t runs) {
    static double values[MOST];
    const pel_transfer transfer = {.mem = s->mem, .bytes = bytes};
    pel_work in = {.kind = PEL_WORK_TRANSFER, .complete = complete, .in = &transfer, .in_count = 1};
    pel_work out = {.kind = PEL_WORK_TRANSFER, .complete = complete, .out = &transfer, .out_count = 1};
    char row[48];
    (void)run(s, &in, 1);
    (void)run(s, &out, 1);
    for (uint32_t i = 0; i < runs; i++) {
        values[i] = run(s, &in, 1);
    }
    (void)snprintf(row, sizeof row, "%u MB in", (unsigned)(bytes >> 20));
    add(results, row, name, values, runs, 1e3);
    for (uint32_t i = 0; i < runs; i++) {
        values[i] = run(s, &out, 1);
    }
    (void)snprintf(row, sizeof row, "%u MB out", (unsigned)(bytes >> 20));
    add(results, row, name, values, runs, 1e3);
}

static bool open_subject(subject *s, const char *list, double *opened_ns) {
    static const char source[] = "kernel void empty(void) {}\n";
    const pel_topology_options options = {.allocator = &pel_allocator_default, .devices = list};
    const uint64_t bytes = UINT64_C(64) << 20;
    memset(s, 0, sizeof *s);
    s->env = (pel_backend_env){.allocator = &pel_allocator_default, .clock = &pel_clock_monotonic};
    if (pel_topology_discover(&options, &s->topology, NULL) != PEL_OK) {
        return false;
    }
    const pel_topology_device *facts = &s->topology->devices[s->topology->selection[0]];
    s->program =
        (pel_program_image){.id = 1, .name = "empty", .source = source, .source_bytes = sizeof source - 1, .options = ""};
    s->kernel = (pel_kernel_image){.id = 2, .program = &s->program, .entry = "empty", .name = "empty", .cost_hint = 1};
    s->backend = facts->outside ? &pel_backend_outside : pel_backend_for(facts->info.kind);
    s->host = aligned_alloc(4096, bytes);
    const int64_t from = pel_clock_now(&pel_clock_monotonic);
    bool fine = s->host && s->backend->open(&s->env, facts, &s->device, NULL) == PEL_OK;
    *opened_ns = (double)(pel_clock_now(&pel_clock_monotonic) - from);
    if (fine) {
        memset(s->host, 1, bytes);
        fine = s->backend->prepare(s->device, &s->program, &s->kernel, NULL) == PEL_OK &&
               s->backend->mem_create(s->device, s->host, bytes, &s->mem, NULL) == PEL_OK;
    }
    return fine;
}

static void close_subject(subject *s) {
    if (s->mem) {
        s->backend->mem_destroy(s->device, s->mem);
    }
    if (s->device) {
        s->backend->kernel_forget(s->device, &s->kernel);
        s->backend->program_forget(s->device, &s->program);
        s->backend->close(s->device);
    }
    pel_topology_destroy(s->topology);
    free(s->host);
}

int main(int argc, char **argv) {
    static const char *const lists[] = {"opencl:0", "opencl:0[own]", "opencl:0[outside]", "opencl:0[own;outside]"};
    pel_results results;
    if (!pel_results_open(&results, "outside", argc, argv)) {
        return 2;
    }
    const uint32_t runs = results.quick ? 45 : 900;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        subject s;
        double opened_ns = 0;
        if (open_subject(&s, lists[i], &opened_ns)) {
            pel_results_add_one(&results, "open", lists[i], "us", opened_ns / 1e3, 1, NULL);
            measure_launches(&results, &s, lists[i], runs);
            measure_transfers(&results, &s, lists[i], UINT64_C(1) << 20, runs);
            measure_transfers(&results, &s, lists[i], UINT64_C(64) << 20, results.quick ? 9 : 45);
        } else {
            pel_results_skip(&results, lists[i], "there is no such device, or no pel-device");
        }
        close_subject(&s);
    }
    return pel_results_close(&results);
}
