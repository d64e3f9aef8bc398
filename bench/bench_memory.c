/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What it costs to know where bytes are and who uses them, by interval: residency (acquire: what is missing at a place, and that
 * it is there now; release: it was written there) and hazards (look and note of one task), each with 10^6 intervals that do not
 * merge. No work is done and nothing is moved; single-threaded, because both are used under a lock. Then what does move:
 * movement.c.
 */
#include "base/alloc.h"
#include "harness.h"
#include "memory/residency.h"
#include "movement.h"
#include "queue/hazard.h"
#include <stdlib.h>

enum {
    INTERVALS = 1000000,
    BYTES = 64,
    SAMPLES = 11,
    QUICK_SAMPLES = 3,
    BATCH = 100000,
    MATRIX = 8192,
    TILE = 256,
    TILES = MATRIX / TILE
};

static uint64_t random_state = 1;
static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t pick(bool random, uint64_t i) { return random ? next_random() % INTERVALS : i % INTERVALS; }

/* ---- residency ---- */

/* Neighbours are at two places in turn, so that they never merge. */
static bool acquire_and_release(pel_allocation *allocation, uint64_t k, uint64_t *missing) {
    const uint64_t lo = k * BYTES, hi = lo + BYTES;
    const uint32_t home = 1 + (uint32_t)(k % 2), reader = 3;
    *missing += pel_allocation_missing_bytes(allocation, reader, lo, hi);
    return pel_allocation_copied(allocation, reader, lo, hi) == PEL_OK &&
           pel_allocation_written(allocation, home, lo, hi) == PEL_OK;
}

static bool residency_row(pel_results *results, pel_allocation *allocation, const char *row, bool random) {
    double samples[SAMPLES];
    const uint32_t count = results->quick ? QUICK_SAMPLES : SAMPLES;
    uint64_t missing = 0, i = 0;
    bool fine = true;
    if (!pel_results_wants(results, row)) {
        return true;
    }
    for (uint32_t s = 0; s < count; s++) {
        missing = 0;
        const double begin = pel_bench_now();
        for (uint64_t n = 0; n < BATCH; n++, i++) {
            fine = acquire_and_release(allocation, pick(random, i), &missing) && fine;
        }
        samples[s] = (pel_bench_now() - begin) / BATCH / 1e3;
        fine = fine && missing == (uint64_t)BATCH * BYTES;
    }
    fine = fine && pel_interval_map_count(allocation->residency) == INTERVALS;
    pel_results_add(results, row, "acquire and release", "us", samples, count, fine ? NULL : "wrong residency");
    return fine;
}

static bool residency_rows(pel_results *results, pel_runtime *runtime) {
    const uint64_t bytes = (uint64_t)INTERVALS * BYTES;
    void *pages = pel_pages_alloc(bytes); /* addresses only: never touched */
    pthread_mutex_lock(&runtime->lock);
    pel_allocation *allocation = pages ? pel_allocation_create(runtime, pages, bytes, false) : NULL;
    bool fine = allocation != NULL;
    for (uint64_t k = 0; k < INTERVALS && fine; k++) {
        fine = pel_allocation_written(allocation, 1 + (uint32_t)(k % 2), k * BYTES, (k + 1) * BYTES) == PEL_OK;
    }
    fine = fine && residency_row(results, allocation, "acquire ascending, 1e6 intervals", false) &&
           residency_row(results, allocation, "acquire random, 1e6 intervals", true);
    if (allocation) {
        pel_allocation_destroy(allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    if (pages) {
        pel_pages_free(pages, bytes);
    }
    return fine;
}

/* ---- hazards ---- */

static uint64_t edges;
static bool count_edge(void *user, const pel_hazard *before) {
    (void)user;
    (void)before;
    edges++;
    return true;
}

/* Node of the task that is `window` tasks old goes back first, so that so many are under way. */
static pel_hazard_node *next_node(pel_hazards *hazards, pel_hazard_node **ring, uint64_t i, uint64_t window) {
    pel_hazards_give_node(hazards, ring[i % window]);
    return ring[i % window] = pel_hazards_take_node(hazards, NULL);
}

static bool submit(pel_hazards *hazards, const pel_hazard_range *ranges, uint32_t count, pel_hazard_node *node) {
    return node && pel_hazards_look(hazards, ranges, count, node, count_edge, NULL) == PEL_OK &&
           pel_hazards_note(hazards, ranges, count, node) == PEL_OK;
}

/* Tasks that read one interval and write another. */
static bool hazard_row(pel_results *results, const pel_allocator *allocator, const char *row, bool random, uint64_t window) {
    double samples[SAMPLES];
    const uint32_t count = results->quick ? QUICK_SAMPLES : SAMPLES;
    if (!pel_results_wants(results, row)) {
        return true;
    }
    pel_hazards *hazards = pel_hazards_create(allocator);
    pel_hazard_node **ring = calloc((size_t)window, sizeof(pel_hazard_node *));
    bool fine = hazards && ring;
    uint64_t i = 0;
    for (uint32_t s = 0; s <= count && fine; s++) { /* one to fill the map and the ring */
        const uint64_t batch = s == 0 ? INTERVALS : BATCH;
        const double begin = pel_bench_now();
        for (uint64_t n = 0; n < batch && fine; n++, i++) {
            const uint64_t from = pick(random, i) * BYTES, to = ((uint64_t)INTERVALS + pick(random, i)) * BYTES;
            const pel_hazard_range ranges[2] = {{.lo = from, .hi = from + BYTES, .mode = PEL_READ},
                                                {.lo = to, .hi = to + BYTES, .mode = PEL_WRITE}};
            fine = submit(hazards, ranges, 2, next_node(hazards, ring, i, window));
        }
        samples[s == 0 ? 0 : s - 1] = (pel_bench_now() - begin) / (double)batch;
    }
    if (fine) {
        pel_results_add(results, row, "look and note", "ns", samples, count, NULL);
    }
    pel_hazards_destroy(hazards);
    free(ring);
    return fine;
}

static pel_hazard_range tile(uint64_t row, uint64_t column, pel_access_mode mode) {
    const uint64_t pitch = MATRIX * sizeof(double), bytes = TILE * sizeof(double), lo = row * TILE * pitch + column * bytes;
    return (pel_hazard_range){lo, lo + (TILE - 1) * pitch + bytes, mode, pitch, bytes, 0, MATRIX * pitch};
}

/* The updates of a right-looking Cholesky factorization: 32 x 32 tiles of a row-major matrix. All wait behind a gate. */
static bool tiles_row(pel_results *results, const pel_allocator *allocator) {
    double samples[SAMPLES];
    const char *row = "tiles of Cholesky, 8192^2 by 256";
    const uint32_t count = results->quick ? QUICK_SAMPLES : SAMPLES;
    bool fine = true;
    for (uint32_t s = 0; s < count && fine && pel_results_wants(results, row); s++) {
        pel_hazards *hazards = pel_hazards_create(allocator);
        uint64_t tasks = 0;
        edges = 0;
        fine = hazards != NULL;
        const double begin = pel_bench_now();
        for (uint64_t k = 0; k < TILES && fine; k++) {
            for (uint64_t i = k; i < TILES; i++) {
                for (uint64_t j = k; j <= i; j++, tasks++) {
                    const pel_hazard_range ranges[3] = {tile(i, j, PEL_READ_WRITE), tile(i, k, PEL_READ), tile(j, k, PEL_READ)};
                    fine = fine && submit(hazards, ranges, j == k ? 2 : 3, pel_hazards_take_node(hazards, NULL));
                }
            }
        }
        samples[s] = (pel_bench_now() - begin) / (double)tasks;
        pel_hazards_destroy(hazards);
    }
    if (fine && pel_results_wants(results, row)) {
        pel_results_add(results, row, "look and note", "ns", samples, count, edges > 0 ? NULL : "no edges");
    }
    return fine;
}

int main(int argc, char **argv) {
    pel_results results;
    if (!pel_results_open(&results, "memory", argc, argv)) {
        return 2;
    }
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_runtime *runtime = NULL;
    desc.devices = "host";
    bool fine = pel_runtime_create(&desc, &runtime, NULL) == PEL_OK;
    fine = fine && residency_rows(&results, runtime);
    const pel_allocator *allocator = &pel_allocator_default;
    fine = fine && hazard_row(&results, allocator, "two ranges ascending, 64 tasks under way", false, 64) &&
           hazard_row(&results, allocator, "two ranges random, 64 tasks under way", true, 64) &&
           hazard_row(&results, allocator, "two ranges ascending, 1e6 tasks under way", false, INTERVALS) &&
           hazard_row(&results, allocator, "two ranges random, 1e6 tasks under way", true, INTERVALS) &&
           tiles_row(&results, allocator);
    fine = fine && movement_jacobi_rows(&results) && movement_streaming_rows(&results) && movement_wrapped_row(&results) &&
           movement_launch_row(&results);
    if (runtime) {
        fine = pel_runtime_destroy(runtime) == PEL_OK && fine;
    }
    if (!fine) {
        fprintf(stderr, "bench_memory: a measurement failed\n");
    }
    const int status = pel_results_close(&results);
    return fine ? status : 2;
}
