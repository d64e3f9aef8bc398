/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault/life.h"

#include <stdio.h>
#include <string.h>

static counted memory;

counted *life_memory(void) { return &memory; }

bool life_case(const char *kernel, pel_case *c) {
    static const struct {
        const char *name;
        uint64_t n;
    } sizes[] = {{"triad", 512}, {"dot", 65536}, {"gaussian", 48}, {"matmul", 48}, {"mandelbrot", 32}, {"nbody", 128}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const pel_catalogue_kernel *found = pel_catalogue_find(kernel);
        if (found && strcmp(sizes[i].name, kernel) == 0) {
            return pel_case_setup(found, sizes[i].n, 1, c) == PEL_OK;
        }
    }
    return false;
}

typedef struct life {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_case_binding binding;
} life;

/* An error must tell its story, and the story must be of this status. */
static void judge_error(life_result *result, pel_error *error) {
    const char *message = error ? pel_error_message(error) : NULL;
    if (memory.fail_at > 0 && memory.for_ever && (!error || pel_error_status(error) == PEL_OUT_OF_MEMORY)) {
        pel_error_destroy(error);
        return; /* nor is there any for the story, or a copy of it */
    }
    if (!error || !message || message[0] == '\0') {
        (void)snprintf(result->defect, sizeof result->defect, "%s without a story", pel_status_name(result->status));
    } else if (pel_error_status(error) != result->status) {
        (void)snprintf(result->defect, sizeof result->defect, "%s, but the story is of %s: %.200s",
                       pel_status_name(result->status), pel_status_name(pel_error_status(error)), message);
    } else {
        (void)snprintf(result->story, sizeof result->story, "%.300s", message);
    }
    pel_error_destroy(error);
}

static pel_status build(life *l, const pel_case *c, const char *devices, life_result *result) {
    static const pel_allocator allocator = {counted_reallocate, &memory};
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_error *error = NULL;
    desc.devices = devices;
    desc.allocator = &allocator;
    desc.host_workers = 1;
    pel_status status = pel_runtime_create(&desc, &l->runtime, &error);
    if (status == PEL_OK) {
        status = pel_queue_create(l->runtime, NULL, &l->queue, &error);
    }
    if (status == PEL_OK) {
        status = pel_catalogue_create(l->runtime, c->kernel, false, &l->program, &l->kernel, &error);
    }
    if (status != PEL_OK) {
        result->status = status;
        judge_error(result, error);
    }
    return status;
}

/* All devices get the same share. */
static pel_status launch(life *l, const pel_case *c) {
    pel_share shares[8];
    uint32_t count = pel_runtime_device_count(l->runtime);
    count = count < 8 ? count : 8;
    for (uint32_t i = 0; i < count; i++) {
        shares[i] = (pel_share){pel_runtime_device(l->runtime, i), 1};
    }
    pel_launch_desc *desc = &l->binding.launch;
    desc->shares = shares;
    desc->share_count = count;
    return pel_launch(l->queue, l->kernel, desc, l->binding.args, c->arg_count, NULL);
}

static void run(life *l, pel_case *c, const char *devices, life_result *result) {
    pel_case_verdict verdict;
    if (build(l, c, devices, result) != PEL_OK) {
        return;
    }
    result->status = pel_case_bind(l->runtime, c, &l->binding);
    if (result->status != PEL_OK) {
        return; /* wrapping memory has no story to tell */
    }
    pel_status status = launch(l, c), finished = pel_queue_finish(l->queue);
    status = status != PEL_OK ? status : finished;
    result->status = status;
    if (status != PEL_OK) {
        judge_error(result, pel_queue_error(l->queue));
        return;
    }
    pel_case_verify(c, 1e6, &verdict);
    result->right = verdict.passed;
    if (!verdict.passed) {
        (void)snprintf(result->defect, sizeof result->defect, "WRONG RESULT: %s", verdict.story);
    }
}

void life_run(pel_case *c, const char *devices, life_result *result) {
    life l;
    memset(&l, 0, sizeof l);
    memset(result, 0, sizeof *result);
    pel_case_poison(c);
    run(&l, c, devices, result);
    pel_case_unbind(&l.binding);
    pel_kernel_destroy(l.kernel);
    pel_program_destroy(l.program);
    pel_queue_destroy(l.queue);
    pel_status status = pel_runtime_destroy(l.runtime);
    if (status != PEL_OK && result->defect[0] == '\0') {
        (void)snprintf(result->defect, sizeof result->defect, "the runtime cannot be destroyed: %s", pel_status_name(status));
    }
    long left = atomic_load(&memory.live);
    if (left != 0 && result->defect[0] == '\0') {
        (void)snprintf(result->defect, sizeof result->defect, "%ld blocks of memory left", left);
    }
    atomic_store(&memory.live, 0);
}
