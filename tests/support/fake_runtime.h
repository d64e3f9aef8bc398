/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A runtime without discovery, threads or dispatcher, for tests of memory/ and kernel/: devices are invented, a fake backend
 * counts what it is asked, and the allocator fails on demand and counts what lives.
 */
#ifndef PEL_TESTS_FAKE_RUNTIME_H
#define PEL_TESTS_FAKE_RUNTIME_H

#include "core/runtime.h"

typedef struct fake_allocator {
    pel_allocator allocator;
    uint64_t live;      /* blocks */
    uint64_t calls;     /* requests for memory */
    uint64_t fail_from; /* this request (1-based) fails; 0: none */
    bool for_ever;      /* and so do all later ones */
} fake_allocator;

void fake_allocator_init(fake_allocator *fake);

typedef struct fake_device {
    pel_backend_device base;
    struct fake_runtime *owner;
    uint32_t index;
    pel_status build_status;       /* what prepare answers for a program */
    pel_status kernel_status;      /* and for a kernel */
    uint64_t largest_group;        /* what it tells of each kernel; 0: nothing */
    uint64_t view_alignment;       /* views elsewhere are UNSUPPORTED; 0: everywhere */
    uint32_t live_mems, made_mems; /* views count as mems */
    uint32_t programs_prepared, programs_forgotten, kernels_prepared, kernels_forgotten;
} fake_device;

#define FAKE_DEVICES 4

typedef struct fake_runtime {
    pel_runtime runtime;
    fake_allocator memory;
    pel_topology_device facts[FAKE_DEVICES];
    pel_device devices[FAKE_DEVICES];
    fake_device drivers[FAKE_DEVICES];
    uint32_t log_lines;
} fake_runtime;

/* One letter a device: h host, c coherent OpenCL, d discrete OpenCL with 1 MiB (256 KiB at most per allocation), s simulated. */
void fake_runtime_init(fake_runtime *fake, const char *devices);

/* Fails the test when anything lives that should not. */
void fake_runtime_end(fake_runtime *fake);

#endif
