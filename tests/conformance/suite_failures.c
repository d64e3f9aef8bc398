/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes wrong, and that it stays where it went wrong. */
#include "suite_internal.h"

#include <pthread.h>
#include <string.h>

static void check_that_it_works(suite *self) {
    enum { N = 100 };
    area x = area_make(self, N * 4);
    uint32_t k = 42;
    job work;
    job_begin(&work, self, KERNEL_CHAIN);
    job_value(&work, &k, sizeof k);
    job_area(&work, &x, PEL_READ_WRITE);
    job_range(&work, N);
    job_submit(&work);
    job_wait_ok(&work);
    for (int i = 0; i < N; i++) {
        assert_int_equal(((uint32_t *)(void *)x.host)[i], 42);
    }
    job_end(&work);
    area_free(self, &x);
}

/* More local memory than any device has: the launch fails with a story, those before and behind it do not. */
void test_failure_leaves_the_device_usable(void **state) {
    suite *self = *state;
    enum { N = 64 };
    area x = area_make(self, N * 4), y = area_make(self, N * 4);
    uint64_t global[3] = {N, 1, 1}, local[3] = {16, 1, 1};
    job works[3];
    for (int i = 0; i < 3; i++) {
        job_begin(&works[i], self, KERNEL_REVERSE);
        job_area(&works[i], &x, PEL_READ);
        job_area(&works[i], &y, PEL_WRITE);
        job_local(&works[i], i == 1 ? UINT64_MAX - 64 : 64);
        works[i].work.span = span_of(1, 0, global, local, NULL, 0, N);
        job_submit(&works[i]);
    }
    job_wait_ok(&works[0]);
    job_wait(&works[1]);
    job_wait_ok(&works[2]);
    assert_int_not_equal(works[1].work.status, PEL_OK);
    assert_int_not_equal(works[1].work.status, PEL_DEVICE_LOST);
    assert_int_equal(pel_error_status(works[1].work.error), works[1].work.status);
    assert_string_not_equal(pel_error_message(works[1].work.error), "");
    for (int i = 0; i < 3; i++) {
        job_end(&works[i]);
    }
    check_that_it_works(self);
    area_free(self, &y);
    area_free(self, &x);
}

/*
 * Rule 6: of works behind each other the second fails. What depends on it fails too, or does not matter; what does not depend on
 * it is done, all complete once and in order.
 */
void test_works_behind_a_failed_one(void **state) {
    suite *self = *state;
    enum { N = 64, COUNT = 8 };
    if (!self->fixture->backend->chains) {
        skip();
    }
    area x = area_make(self, N * 4), y = area_make(self, N * 4);
    uint64_t global[3] = {N, 1, 1}, local[3] = {16, 1, 1};
    uint32_t k = 5;
    job works[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const bool other = i % 2 == 1 && i > 1; /* 3, 5, 7 count on y; 1 fails; 2, 4, 6 depend on 1 */
        job_begin(&works[i], self, i == 1 ? KERNEL_REVERSE : KERNEL_CHAIN);
        if (i == 1) {
            job_area(&works[i], &x, PEL_READ);
            job_area(&works[i], &x, PEL_WRITE);
            job_local(&works[i], UINT64_MAX - 64);
            works[i].work.span = span_of(1, 0, global, local, NULL, 0, N);
        } else {
            job_value(&works[i], &k, sizeof k);
            job_area(&works[i], other ? &y : &x, PEL_READ_WRITE);
            job_range(&works[i], N);
        }
    }
    for (int i = 1; i + 1 < COUNT; i += i == 1 ? 1 : 2) {
        works[i].behind = &works[i == 1 ? 2 : i + 2];
    }
    works[6].behind = NULL;
    for (int i = 0; i < COUNT; i++) {
        job_submit(&works[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        job_wait(&works[i]);
        assert_true(i == 0 || works[i].order > works[i - 1].order);
        assert_true(works[i].work.began <= works[i].work.ended);
    }
    job_wait_ok(&works[0]);
    assert_int_not_equal(works[1].work.status, PEL_OK);
    for (int i = 2; i < COUNT; i++) {
        if (i % 2 == 1) {
            assert_int_equal(works[i].work.status, PEL_OK);
        } else if (works[i].work.status != PEL_OK) { /* it may have begun before it was told */
            assert_int_equal(works[i].work.status, PEL_DEPENDENCY_FAILED);
            assert_int_equal(pel_error_status(works[i].work.error), PEL_DEPENDENCY_FAILED);
        }
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(((uint32_t *)(void *)y.host)[i], 5 + 3 * (5 + 3 * 5));
    }
    for (int i = 0; i < COUNT; i++) {
        job_end(&works[i]);
    }
    check_that_it_works(self);
    area_free(self, &y);
    area_free(self, &x);
}

static void expect_refusal(suite *self, const pel_program_image *program, const pel_kernel_image *kernel, pel_status expected,
                           const char *named) {
    const pel_backend *backend = self->fixture->backend;
    pel_error *error = NULL;
    pel_status status = backend->prepare(self->device, program, kernel, &error);
    if (status != expected || error == NULL) {
        fail_msg("prepare returned %s (%s), not %s", pel_status_name(status), pel_error_story(error), pel_status_name(expected));
    }
    assert_int_equal(pel_error_status(error), expected);
    if (strstr(pel_error_story(error), named) == NULL) {
        fail_msg("the story does not name \"%s\":\n%s", named, pel_error_story(error));
    }
    pel_error_destroy(error);
    assert_int_equal(backend->prepare(self->device, program, kernel, NULL), expected);
}

void test_prepare_refuses(void **state) {
    suite *self = *state;
    pel_kernel_image kernel = self->kernels[KERNEL_SCALE];
    if (suite_flag(self, PEL_FIXTURE_COMPILES)) {
        kernel.id = UINT64_MAX;
        kernel.entry = kernel.name = "no_such_entry";
        expect_refusal(self, &self->program, &kernel, PEL_NOT_FOUND, "no_such_entry");
        self->fixture->backend->kernel_forget(self->device, &kernel);
        pel_program_image bad = self->program;
        bad.id = UINT64_MAX - 1;
        bad.source = "kernel void broken(global int *x) { x[0] = unheard_of; }\n";
        bad.source_bytes = strlen(bad.source);
        memset(bad.digest, 0xee, sizeof bad.digest);
        expect_refusal(self, &bad, NULL, PEL_BUILD_FAILED, "unheard_of");
        self->fixture->backend->program_forget(self->device, &bad);
    }
    if (suite_flag(self, PEL_FIXTURE_HOST_FUNCTIONS)) {
        kernel = self->kernels[KERNEL_SCALE];
        kernel.id = UINT64_MAX - 2;
        kernel.name = "only_a_source";
        kernel.host = NULL;
        expect_refusal(self, &self->program, &kernel, PEL_UNSUPPORTED, "only_a_source");
        self->fixture->backend->kernel_forget(self->device, &kernel);
    }
    check_that_it_works(self);
}

typedef struct preparer {
    suite *owner;
    pel_kernel_image kernels[8];
    pel_status status;
} preparer;

static void *prepare_again(void *argument) {
    preparer *self = argument;
    for (uint32_t i = 0; i < 8; i++) {
        self->kernels[i] = self->owner->kernels[i % 2 ? KERNEL_SCALE : KERNEL_MIXED];
        self->kernels[i].id = UINT64_MAX - 100 - i;
        pel_status status =
            self->owner->fixture->backend->prepare(self->owner->device, &self->owner->program, &self->kernels[i], NULL);
        self->status = status != PEL_OK ? status : self->status;
    }
    return NULL;
}

void test_prepare_while_work_runs(void **state) {
    suite *self = *state;
    if (suite_flag(self, PEL_FIXTURE_ONE_THREAD)) {
        skip();
    }
    enum { N = 1000, COUNT = 20 };
    area y = area_make(self, N * 4);
    uint32_t rounds = 2000;
    job works[COUNT];
    for (int k = 0; k < COUNT; k++) {
        job_begin(&works[k], self, KERNEL_SLOW);
        job_value(&works[k], &rounds, sizeof rounds);
        job_area(&works[k], &y, PEL_WRITE);
        job_range(&works[k], N);
        job_submit(&works[k]);
    }
    preparer other = {.owner = self, .status = PEL_OK};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, prepare_again, &other), 0);
    pthread_join(thread, NULL);
    assert_int_equal(other.status, PEL_OK);
    for (int k = 0; k < COUNT; k++) {
        job_wait_ok(&works[k]);
        job_end(&works[k]);
    }
    for (int i = 0; i < 8; i++) {
        self->fixture->backend->kernel_forget(self->device, &other.kernels[i]);
    }
    area_free(self, &y);
}

void test_failing_host_function(void **state) {
    suite *self = *state;
    if (!suite_flag(self, PEL_FIXTURE_HOST_FUNCTIONS)) {
        skip();
    }
    area y = area_make(self, 1000 * 4);
    job work;
    job_begin(&work, self, KERNEL_FAILS);
    job_area(&work, &y, PEL_WRITE);
    job_range(&work, 1000);
    job_submit(&work);
    job_wait(&work);
    assert_int_equal(work.work.status, PEL_TASK_FAILED);
    assert_non_null(strstr(pel_error_story(work.work.error), "fails"));        /* the kernel */
    assert_non_null(strstr(pel_error_story(work.work.error), "PEL_MISMATCH")); /* what it returned */
    job_end(&work);
    check_that_it_works(self);
    area_free(self, &y);
}
