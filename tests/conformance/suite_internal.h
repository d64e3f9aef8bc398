/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the suite share: an open device, the suite's kernels, memory on both sides, works that count their
 * completions.
 */
#ifndef PEL_CONFORMANCE_SUITE_INTERNAL_H
#define PEL_CONFORMANCE_SUITE_INTERNAL_H

#include "suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

enum kernel_id {
    KERNEL_SCALE,
    KERNEL_CHAIN,
    KERNEL_IDS,
    KERNEL_MIXED,
    KERNEL_REVERSE,
    KERNEL_TOTAL,
    KERNEL_SLOW,
    KERNEL_FAILS,
    KERNEL_COUNT
};

enum { IDS_FIELDS = 16 };
/*
 * What KERNEL_IDS writes per item: global id, size, offset, group id, number of groups of three dimensions each, and the
 * dimensions.
 */
enum { IDS_ID = 0, IDS_SIZE = 3, IDS_OFFSET = 6, IDS_GROUP = 9, IDS_GROUPS = 12, IDS_DIMS = 15 };

typedef struct suite_record { /* a value argument of KERNEL_MIXED */
    uint64_t a;
    uint32_t b;
    float c;
    uint64_t d[2];
} suite_record;

typedef struct suite {
    const pel_conformance_fixture *fixture;
    pel_backend_device *device;
    pel_program_image program;
    pel_kernel_image kernels[KERNEL_COUNT];
} suite;

/* suite_kernels.c */
void suite_describe_program(suite *self);
extern const char suite_source[];

/* Host memory and the device's mirror of it. */
typedef struct area {
    unsigned char *host;
    uint64_t bytes;
    pel_mem *mem;
} area;
area area_make(suite *self, uint64_t bytes);
void area_free(suite *self, area *memory);

enum { JOB_ARGS = 6 };
typedef struct job {
    pel_work work; /* first: a work is its job */
    pel_work_arg args[JOB_ARGS];
    pel_transfer in[JOB_ARGS], out[JOB_ARGS];
    uint32_t arg_count;
    atomic_uint completions;
    unsigned order;  /* of completion, over the process */
    struct job *behind; /* depends on this one: told to skip when it fails */
    unsigned rounds; /* left to be resubmitted */
    suite *owner;
} job;

/* A work without anything in it; kernel KERNEL_COUNT: only transfers. */
void job_begin(job *self, suite *owner, enum kernel_id kernel);
void job_value(job *self, const void *value, uint64_t bytes);
void job_local(job *self, uint64_t bytes);
void job_null(job *self);
void job_area(job *self, const area *memory, pel_access_mode mode); /* with transfers of all of it, in and out as `mode` says */
void job_range(job *self, uint64_t items);                          /* a whole 1-D launch, local size left open */
void job_submit(job *self);
void job_wait(job *self);    /* until it has completed; fails the test after a minute */
void job_wait_ok(job *self); /* and its status is OK */
void job_end(job *self);     /* checks that it completed exactly once; releases its error */

/* A span of a launch: items [lo, hi) along `split`, everything along the others. */
pel_span span_of(uint32_t dims, uint32_t split, const uint64_t global[3], const uint64_t local[3], const uint64_t offset[3],
                 uint64_t lo, uint64_t hi);

/* Opens a device of its own beside the suite's; the kernels are prepared on it. */
void suite_open(suite *self, const pel_conformance_fixture *fixture);
void suite_close(suite *self);
bool suite_flag(const suite *self, uint32_t flag);

/* The tests. */
void test_launches_of_many_sizes(void **state);
void test_ids_of_whole_launches(void **state);
void test_ids_of_chunks(void **state);
void test_values_structs_and_null(void **state);
void test_local_memory(void **state);
void test_private_reduction(void **state);
void test_empty_span(void **state);
void test_transfers_move_exactly_their_bytes(void **state);
void test_views(void **state);
void test_works_without_a_launch(void **state);
void test_order(void **state);
void test_many_works(void **state);
void test_resubmission_inside_complete(void **state);
void test_concurrent_submitters(void **state);
void test_close_waits(void **state);
void test_open_and_close_again(void **state);
void test_failure_leaves_the_device_usable(void **state);
void test_prepare_refuses(void **state);
void test_prepare_while_work_runs(void **state);
void test_failing_host_function(void **state);
void test_cold_and_times(void **state);
void test_tasks_and_loops(void **state);
void test_help(void **state);
void test_works_behind_a_failed_one(void **state);

#endif
