/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches on a fake runtime, shared by the tests of kernel/: memory, wraps of it, kernels with a do-nothing host variant. */
#ifndef PEL_TESTS_LAUNCHES_H
#define PEL_TESTS_LAUNCHES_H

#include "kernel/footprint.h"
#include "support/fake_runtime.h"

#define LAUNCH_MEMORY 8192
#define LAUNCH_BUFFERS 8

typedef struct launches {
    fake_runtime fake;
    pel_program *program;
    pel_buffer *buffers[LAUNCH_BUFFERS];
    uint32_t buffer_count;
    _Alignas(64) unsigned char memory[LAUNCH_MEMORY];
} launches;

void launches_begin(launches *l, const char *devices);
void launches_end(launches *l);

/* Wraps a part of l->memory; released at the end. */
pel_buffer *launches_wrap(launches *l, uint64_t offset, uint64_t bytes);

/* A host kernel; it must be right. */
pel_kernel *launches_kernel(launches *l, const pel_param *params, uint32_t count, uint32_t split_dimension);

void launches_unbind(launches *l, pel_bound *bound);

/* A custom access: column `arguments[0]` (uint32_t) of a matrix of 16 columns of 4-byte elements, one row per unit. */
uint32_t launches_column(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                         uint32_t capacity);

#endif
