/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include "base/hash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

enum { SKIPPED = 77 };

static atomic_ullong next_id = 1;

static void collect(void *user, pel_log_level level, const char *message) {
    fixture *f = user;
    size_t used = strlen(f->log), bytes = strlen(message);
    (void)level;
    if (used + bytes + 2 < sizeof f->log) {
        memcpy(f->log + used, message, bytes);
        memcpy(f->log + used + bytes, "\n", 2);
    }
}

bool fixture_discover(fixture *f) {
    pel_error *error = NULL;
    memset(f, 0, sizeof *f);
    pel_logger_init(&f->logger, collect, f, PEL_LOG_DEBUG);
    pel_topology_options options = {.allocator = &pel_allocator_default, .logger = &f->logger, .devices = "opencl:0"};
    if (pel_topology_discover(&options, &f->topology, &error) != PEL_OK) {
        print_message("no OpenCL device: %s\n", pel_error_message(error));
        pel_error_destroy(error);
        pel_logger_destroy(&f->logger);
        return false;
    }
    f->facts = f->topology->devices[f->topology->selection[0]];
    f->env = (pel_backend_env){.allocator = &pel_allocator_default, .logger = &f->logger, .clock = &pel_clock_monotonic};
    return true;
}

void fixture_start(fixture *f) {
    pel_error *error = NULL;
    pel_status status = pel_backend_opencl.open(&f->env, &f->facts, &f->device, &error);
    if (error) {
        print_message("%s\n", pel_error_story(error));
    }
    assert_int_equal(status, PEL_OK);
}

void fixture_stop(fixture *f) {
    f->device->backend->close(f->device);
    f->device = NULL;
}

void fixture_end(fixture *f) {
    if (f->device) {
        fixture_stop(f);
    }
    pel_topology_destroy(f->topology);
    pel_logger_destroy(&f->logger);
}

int fixture_set_up(fixture *f, void **state) {
    if (!fixture_discover(f)) {
        exit(SKIPPED);
    }
    *state = f;
    return 0;
}

int fixture_tear_down(void **state) {
    fixture_end(*state);
    return 0;
}

typedef struct done {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool done;
} done;

static void complete(pel_work *work) {
    done *d = work->owner;
    pthread_mutex_lock(&d->mutex);
    d->done = true;
    pthread_cond_signal(&d->condition);
    pthread_mutex_unlock(&d->mutex);
}

void fixture_run(fixture *f, pel_work *work) {
    done d = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    work->owner = &d;
    work->complete = complete;
    f->device->backend->submit(f->device, work);
    pthread_mutex_lock(&d.mutex);
    while (!d.done) {
        pthread_cond_wait(&d.condition, &d.mutex);
    }
    pthread_mutex_unlock(&d.mutex);
    pthread_mutex_destroy(&d.mutex);
    pthread_cond_destroy(&d.condition);
}

pel_program_image fixture_program(const char *source) {
    pel_program_image image = {.id = atomic_fetch_add(&next_id, 1),
                               .name = "test",
                               .source = source,
                               .source_bytes = strlen(source),
                               .options = "",
                               .cacheable = true};
    pel_sha256 sha;
    pel_sha256_init(&sha);
    pel_sha256_text(&sha, source);
    pel_sha256_final(&sha, image.digest);
    return image;
}

pel_kernel_image fixture_kernel(const pel_program_image *program, const char *entry, const pel_param *params, uint32_t count) {
    return (pel_kernel_image){.id = atomic_fetch_add(&next_id, 1),
                              .program = program,
                              .entry = entry,
                              .name = entry,
                              .params = params,
                              .param_count = count,
                              .cost_hint = 1};
}

pel_span fixture_span(uint32_t dims, uint64_t x, uint64_t y, uint64_t z) {
    pel_span span;
    memset(&span, 0, sizeof span);
    span.dims = dims;
    span.split = dims - 1;
    span.global[0] = span.hi[0] = x;
    span.global[1] = span.hi[1] = y;
    span.global[2] = span.hi[2] = z;
    return span;
}
