/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens the first OpenCL device that discovery selects and runs works on it synchronously. */
#ifndef TESTS_BACKEND_OPENCL_FIXTURE_H
#define TESTS_BACKEND_OPENCL_FIXTURE_H

#include "backend/backend.h"
#include "backend/backends.h"

typedef struct fixture {
    pel_logger logger;
    char log[16384];              /* lines of the log since fixture_open */
    pel_backend_env env;
    pel_topology *topology;
    pel_topology_device facts;    /* a copy that a test may change before fixture_start */
    pel_backend_device *device;
} fixture;

bool fixture_discover(fixture *f);        /* false: there is no OpenCL device */
void fixture_start(fixture *f);           /* opens the device with env and facts as they are now */
void fixture_stop(fixture *f);            /* closes it */
void fixture_end(fixture *f);
void fixture_run(fixture *f, pel_work *work);  /* submits and waits */

/* For groups of tests: discovers, and ends the program as one that is skipped where there is no device; 0. */
int fixture_set_up(fixture *f, void **state);
int fixture_tear_down(void **state);

/* A program image over static text. */
pel_program_image fixture_program(const char *source);
pel_kernel_image fixture_kernel(const pel_program_image *program, const char *entry, const pel_param *params, uint32_t count);
pel_span fixture_span(uint32_t dims, uint64_t x, uint64_t y, uint64_t z);

#endif
