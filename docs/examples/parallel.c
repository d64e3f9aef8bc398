/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parallel loops on the host, without a queue: a 2-D stencil whose rows are divided among threads, and a sum that has the same
 * bits with any number of them. The call returns when the loop is done.
 */
#include "check.h"

enum { W = 640, H = 480 };
static float in[H][W], out[H][W];

static pel_status smooth(const pel_range *part, void *context) {
    (void)context;
    for (uint64_t y = part->lo[1]; y < part->hi[1]; y++)
        for (uint64_t x = part->lo[0]; x < part->hi[0]; x++)
            out[y][x] = (in[y][x] + in[y - 1][x] + in[y + 1][x] + in[y][x - 1] + in[y][x + 1]) / 5;
    return PEL_OK;
}

static pel_status add_rows(const pel_range *part, void *partial, void *context) {
    double *sum = partial;
    (void)context;
    for (uint64_t y = part->lo[1]; y < part->hi[1]; y++)
        for (uint64_t x = part->lo[0]; x < part->hi[0]; x++)
            *sum += (double)out[y][x];
    return PEL_OK;
}

static void add(void *into, const void *from, void *context) {
    (void)context;
    *(double *)into += *(const double *)from;
}

int main(void) {
    pel_error *error = NULL;
    pel_runtime *runtime;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    check(pel_runtime_create(&desc, &runtime, &error), "runtime", &error);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            in[y][x] = (float)(x % 2 + y % 2);

    const pel_range inside = {2, 0, {1, 1, 0}, {W - 1, H - 1, 1}}; /* dimension 0: columns; dimension 1: rows, which are cut */
    check(pel_parallel_for(runtime, &inside, smooth, NULL, NULL), "loop", NULL);

    const double zero = 0;
    double one_thread, all_threads;
    pel_parallel_desc alone = {.threads = 1};
    check(pel_parallel_reduce(runtime, &inside, add_rows, add, sizeof zero, &zero, &one_thread, NULL, &alone), "sum", NULL);
    check(pel_parallel_reduce(runtime, &inside, add_rows, add, sizeof zero, &zero, &all_threads, NULL, NULL), "sum", NULL);
    printf("mean %.3f\n", all_threads / ((W - 2) * (H - 2)));
    pel_runtime_destroy(runtime);
    return one_thread != all_threads;
}
