/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What it costs in time that a real device goes, at the two boundaries of its chunk.
 *
 * The machine's CPU is divided: a core for the host device, another for an OpenCL device, in front of which the fault layer
 * (libpel-faults.so, $PEL_FAULTS_LAYER) makes the device vanish: when its chunk is enqueued, and when the chunk has been computed
 * and is waited for. A kernel that updates in place runs in halves under retry, the host does the lost half again, and the bits
 * must be right. Over the survivors' ideal, which is the whole launch by the host device alone, and the time that the lost chunk
 * had taken: nothing, or all of an undisturbed launch. A program of its own, because the layer stays in front of all OpenCL calls
 * of a process; each loss has a runtime of its own, because a device is built anew once only.
 */
#include "faults/faults.h"
#include "harness.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 1 << 18, WORK = 200, WARM = 2, LAUNCHES = 5, LOSSES = 9 };

static const char source[] =
    "kernel void place(global const uint *x, global uint *y) { size_t i = get_global_id(0); uint v = x[i] ^ y[i];\n"
    "    for (int k = 0; k < 200; k++) v = v * 1664525u + 1013904223u; y[i] = v; }\n";

static uint32_t place_one(uint32_t x, uint32_t y) {
    uint32_t v = x ^ y;
    for (int k = 0; k < WORK; k++) {
        v = v * 1664525u + 1013904223u;
    }
    return v;
}

static pel_status place(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0];
    uint32_t *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = place_one(x[i], y[i]);
    }
    return PEL_OK;
}

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    uint32_t *memory; /* x, y, and what y must be */
} scene;

static bool make_scene(scene *s) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1),
                                       PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    desc.devices = "host@0,opencl:0@1";
    desc.history = "off";
    program_desc.source = source;
    kernel_desc.entry = kernel_desc.name = "place";
    kernel_desc.params = params;
    kernel_desc.param_count = 2;
    kernel_desc.host = place;
    for (uint32_t i = 0; i < ITEMS; i++) {
        s->memory[i] = i * 2654435761u;
        s->memory[ITEMS + i] = s->memory[2 * ITEMS + i] = i;
    }
    return pel_runtime_create(&desc, &s->runtime, NULL) == PEL_OK &&
           pel_queue_create(s->runtime, NULL, &s->queue, NULL) == PEL_OK &&
           pel_program_create(s->runtime, &program_desc, &s->program, NULL) == PEL_OK &&
           pel_kernel_create(s->program, &kernel_desc, &s->kernel, NULL) == PEL_OK &&
           pel_buffer_wrap(s->runtime, s->memory, ITEMS * sizeof(uint32_t), &s->x) == PEL_OK &&
           pel_buffer_wrap(s->runtime, s->memory + ITEMS, ITEMS * sizeof(uint32_t), &s->y) == PEL_OK;
}

static void unmake_scene(scene *s) {
    (void)pel_kernel_destroy(s->kernel);
    (void)pel_program_destroy(s->program);
    (void)pel_queue_destroy(s->queue);
    (void)pel_buffer_destroy(s->x);
    (void)pel_buffer_destroy(s->y);
    (void)pel_runtime_destroy(s->runtime);
}

/* By the first `count` devices in equal parts, in ns; < 0: it failed. */
static double launch(scene *s, uint32_t count) {
    pel_share shares[2];
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(s->x), pel_buf(s->y)};
    for (uint32_t i = 0; i < 2; i++) {
        shares[i] = (pel_share){pel_runtime_device(s->runtime, i), 1};
    }
    desc.global[0] = ITEMS;
    desc.shares = shares;
    desc.share_count = count;
    desc.protection = PEL_PROTECT_RETRY;
    const int64_t began = pel_runtime_now(s->runtime);
    const bool fine = pel_launch(s->queue, s->kernel, &desc, args, 2, NULL) == PEL_OK && pel_queue_finish(s->queue) == PEL_OK;
    const double took = (double)(pel_runtime_now(s->runtime) - began);
    for (uint32_t i = 0; i < ITEMS && fine; i++) {
        s->memory[2 * ITEMS + i] = place_one(s->memory[i], s->memory[2 * ITEMS + i]);
    }
    return fine ? took : -1;
}

static int by_size(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The middle of a few; the first ones compile and learn. */
static double usual(scene *s, uint32_t count) {
    double took[WARM + LAUNCHES];
    for (int i = 0; i < WARM + LAUNCHES; i++) {
        took[i] = launch(s, count);
        if (took[i] < 0) {
            return -1;
        }
    }
    qsort(took + WARM, LAUNCHES, sizeof *took, by_size);
    return took[WARM + LAUNCHES / 2];
}

/* Over the ideal; < 0: *why. */
static double lose(const pel_faults_control *faults, uint32_t *memory, bool at_the_end, const char **why) {
    scene s = {.memory = memory};
    char text[256];
    const bool made = make_scene(&s);
    const double alone = made ? usual(&s, 1) : -1, both = alone > 0 ? usual(&s, 2) : -1;
    double took = -1;
    *why = !made ? "no two disjoint devices" : both <= 0 ? "a launch failed" : NULL;
    if (!*why && faults->set(at_the_end ? "clFinish@1:vanish" : "clEnqueueNDRangeKernel@1:vanish", text, sizeof text) == 0) {
        pel_device_health health;
        took = launch(&s, 2);
        pel_device_get_health(pel_runtime_device(s.runtime, 1), &health);
        *why = took < 0                                                                              ? "the launch failed"
               : health.state == PEL_DEVICE_WELL                                                     ? "the device was not lost"
               : memcmp(memory + ITEMS, memory + 2 * ITEMS, ITEMS * sizeof *memory) != 0             ? "wrong bits"
                                                                                                     : NULL;
    }
    (void)faults->set("", text, sizeof text);
    unmake_scene(&s);
    return *why ? -1 : took / (alone + (at_the_end ? both : 0));
}

static const pel_faults_control *load_layer(void) {
    const char *path = getenv("PEL_FAULTS_LAYER");
    void *library = path && setenv("OPENCL_LAYERS", path, 1) == 0 ? dlopen(path, RTLD_NOW) : NULL;
    pel_faults_get_control *get = library ? (pel_faults_get_control *)(uintptr_t)dlsym(library, "pel_faults_control_get") : NULL;
    return get ? get(PEL_FAULTS_CONTROL_VERSION) : NULL;
}

int main(int argc, char **argv) {
    static const char row[] = "device lost (real", subject[] = "over the survivors' ideal and the lost chunk";
    pel_results results;
    if (!pel_results_open(&results, "resilience", argc, argv)) {
        return 2;
    }
    const pel_faults_control *faults = pel_results_wants(&results, row) ? load_layer() : NULL;
    uint32_t *memory = aligned_alloc(4096, (size_t)3 * ITEMS * sizeof *memory);
    if (pel_results_wants(&results, row) && (!faults || !memory)) {
        pel_results_skip(&results, "device lost (real)", "PEL_FAULTS_LAYER names no fault layer");
    }
    for (int at_the_end = 0; at_the_end < 2 && faults && memory; at_the_end++) {
        double over[LOSSES];
        const char *why = NULL;
        uint32_t count = 0;
        for (; count < (results.quick ? 3 : LOSSES) && !why; count++) {
            over[count] = lose(faults, memory, at_the_end != 0, &why);
        }
        char name[64];
        (void)snprintf(name, sizeof name, "%s, %s)", row, at_the_end ? "end" : "begin");
        pel_results_add(&results, name, subject, "x", over, why ? 0 : count, why);
        results.missed += why != NULL;
    }
    free(memory);
    return pel_results_close(&results);
}
