/* SPDX-License-Identifier: BSD-3-Clause */
/* The suite's helpers and its runner. The tests are in suite_launches.c, suite_works.c and suite_failures.c. */
#include "suite_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t completion_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t completion = PTHREAD_COND_INITIALIZER;
static unsigned completion_order; /* under the lock */

bool suite_flag(const suite *self, uint32_t flag) {
    return (self->fixture->flags & flag) != 0;
}

area area_make(suite *self, uint64_t bytes) {
    area made = {.bytes = bytes};
    made.host = aligned_alloc(4096, (size_t)((bytes + 4095) / 4096 * 4096));
    assert_non_null(made.host);
    memset(made.host, 0, (size_t)bytes);
    pel_error *error = NULL;
    pel_status status = self->fixture->backend->mem_create(self->device, made.host, bytes, &made.mem, &error);
    if (status != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    assert_ptr_equal(made.mem->host, made.host);
    assert_int_equal(made.mem->bytes, bytes);
    return made;
}

void area_free(suite *self, area *memory) {
    self->fixture->backend->mem_destroy(self->device, memory->mem);
    free(memory->host);
}

static void completed(pel_work *work) {
    job *self = (job *)work;
    if (self->behind != NULL && work->status != PEL_OK) {
        atomic_store(&self->behind->work.skip, true);
    }
    if (self->rounds > 0) {
        self->rounds--;
        job_submit(self);
        return;
    }
    pthread_mutex_lock(&completion_lock);
    self->order = completion_order++;
    atomic_fetch_add(&self->completions, 1);
    pthread_cond_broadcast(&completion);
    pthread_mutex_unlock(&completion_lock);
}

void job_begin(job *self, suite *owner, enum kernel_id kernel) {
    memset(self, 0, sizeof *self);
    self->owner = owner;
    self->work.kind = kernel == KERNEL_COUNT ? PEL_WORK_TRANSFER : PEL_WORK_LAUNCH;
    self->work.kernel = kernel == KERNEL_COUNT ? NULL : &owner->kernels[kernel];
    self->work.complete = completed;
    self->work.args = self->args;
    self->work.in = self->in;
    self->work.out = self->out;
}

static pel_work_arg *next_arg(job *self) {
    assert_true(self->arg_count < JOB_ARGS);
    return &self->args[self->arg_count++];
}

void job_value(job *self, const void *value, uint64_t bytes) {
    *next_arg(self) = (pel_work_arg){.kind = PEL_WORK_ARG_VALUE, .host = (void *)(uintptr_t)value, .bytes = bytes};
}

void job_local(job *self, uint64_t bytes) {
    *next_arg(self) = (pel_work_arg){.kind = PEL_WORK_ARG_LOCAL, .bytes = bytes};
}

void job_null(job *self) {
    *next_arg(self) = (pel_work_arg){.kind = PEL_WORK_ARG_NULL};
}

void job_area(job *self, const area *memory, pel_access_mode mode) {
    *next_arg(self) = (pel_work_arg){.kind = PEL_WORK_ARG_MEM, .mem = memory->mem, .host = memory->host, .bytes = memory->bytes};
    if ((mode & PEL_READ) != 0) {
        self->in[self->work.in_count++] = (pel_transfer){.mem = memory->mem, .bytes = memory->bytes};
    }
    if ((mode & PEL_WRITE) != 0) {
        self->out[self->work.out_count++] = (pel_transfer){.mem = memory->mem, .bytes = memory->bytes};
    }
}

pel_span span_of(uint32_t dims, uint32_t split, const uint64_t global[3], const uint64_t local[3], const uint64_t offset[3],
                 uint64_t lo, uint64_t hi) {
    pel_span span = {.dims = dims, .split = split};
    for (uint32_t d = 0; d < 3; d++) {
        bool used = d < dims;
        span.global[d] = used ? global[d] : 1;
        span.local[d] = local == NULL ? 0 : used ? local[d] : 1;
        span.offset[d] = used && offset != NULL ? offset[d] : 0;
        span.lo[d] = used && d == split ? lo : 0;
        span.hi[d] = used && d == split ? hi : span.global[d];
        uint64_t group = span.local[d] > 0 ? span.local[d] : 1;
        span.group_lo[d] = span.lo[d] / group;
        span.group_hi[d] = (span.hi[d] + group - 1) / group;
    }
    return span;
}

void job_range(job *self, uint64_t items) {
    uint64_t global[3] = {items, 1, 1};
    self->work.span = span_of(1, 0, global, NULL, NULL, 0, items);
}

void job_submit(job *self) {
    suite *owner = self->owner;
    owner->fixture->backend->submit(owner->device, &self->work);
}

void job_wait(job *self) {
    const pel_conformance_fixture *fixture = self->owner->fixture;
    while (fixture->drive != NULL && atomic_load(&self->completions) == 0) {
        if (!fixture->drive(fixture)) {
            fail_msg("a submitted work has not completed and nothing is pending");
        }
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int late = 0;
    pthread_mutex_lock(&completion_lock);
    while (atomic_load(&self->completions) == 0 && late == 0) {
        late = pthread_cond_timedwait(&completion, &completion_lock, &until);
    }
    pthread_mutex_unlock(&completion_lock);
    if (late != 0) {
        fail_msg("a submitted work has not completed within a minute");
    }
}

void job_wait_ok(job *self) {
    job_wait(self);
    if (self->work.status != PEL_OK) {
        fail_msg("%s: %s", pel_status_name(self->work.status), pel_error_story(self->work.error));
    }
    assert_null(self->work.error);
}

void job_end(job *self) {
    assert_int_equal(atomic_load(&self->completions), 1);
    pel_error_destroy(self->work.error);
    self->work.error = NULL;
}

void suite_open(suite *self, const pel_conformance_fixture *fixture) {
    pel_error *error = NULL;
    self->fixture = fixture;
    self->device = NULL;
    if (fixture->backend->open(fixture->env, fixture->facts, &self->device, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    assert_ptr_equal(self->device->backend, fixture->backend);
    assert_ptr_equal(self->device->facts, fixture->facts);
    suite_describe_program(self);
    for (int i = 0; i < KERNEL_COUNT; i++) {
        if (fixture->backend->prepare(self->device, &self->program, &self->kernels[i], &error) != PEL_OK) {
            fail_msg("%s", pel_error_story(error));
        }
    }
}

void suite_close(suite *self) {
    if (!self->device) {
        return; /* it could not be opened */
    }
    const pel_backend *backend = self->fixture->backend;
    for (int i = 0; i < KERNEL_COUNT; i++) {
        backend->kernel_forget(self->device, &self->kernels[i]);
    }
    backend->program_forget(self->device, &self->program);
    backend->close(self->device);
}

static const pel_conformance_fixture *current; /* cmocka's group set-up takes no argument */

static int group_set_up(void **state) {
    *state = calloc(1, sizeof(suite));
    if (*state == NULL) {
        return -1;
    }
    suite_open(*state, current);
    return 0;
}

static int group_tear_down(void **state) {
    if (*state) {
        suite_close(*state);
    }
    free(*state);
    return 0;
}

int pel_conformance_run(const pel_conformance_fixture *fixture) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_works_without_a_launch),
        cmocka_unit_test(test_launches_of_many_sizes),
        cmocka_unit_test(test_ids_of_whole_launches),
        cmocka_unit_test(test_ids_of_chunks),
        cmocka_unit_test(test_values_structs_and_null),
        cmocka_unit_test(test_local_memory),
        cmocka_unit_test(test_private_reduction),
        cmocka_unit_test(test_empty_span),
        cmocka_unit_test(test_transfers_move_exactly_their_bytes),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_many_works),
        cmocka_unit_test(test_resubmission_inside_complete),
        cmocka_unit_test(test_concurrent_submitters),
        cmocka_unit_test(test_failure_leaves_the_device_usable),
        cmocka_unit_test(test_prepare_refuses),
        cmocka_unit_test(test_prepare_while_work_runs),
        cmocka_unit_test(test_failing_host_function),
        cmocka_unit_test(test_cold_and_times),
        cmocka_unit_test(test_tasks_and_loops),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_works_behind_a_failed_one),
        cmocka_unit_test(test_close_waits),
        cmocka_unit_test(test_open_and_close_again),
    };
    current = fixture;
    return cmocka_run_group_tests_name(fixture->name, tests, group_set_up, group_tear_down);
}
