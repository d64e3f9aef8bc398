/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel/launches.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

void launches_begin(launches *l, const char *devices) {
    memset(l, 0, sizeof *l);
    fake_runtime_init(&l->fake, devices);
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    assert_int_equal(pel_program_create(&l->fake.runtime, &desc, &l->program, NULL), PEL_OK);
}

void launches_end(launches *l) {
    for (uint32_t i = 0; i < l->buffer_count; i++) {
        assert_int_equal(pel_buffer_destroy(l->buffers[i]), PEL_OK);
    }
    assert_int_equal(pel_program_destroy(l->program), PEL_OK);
    fake_runtime_end(&l->fake);
}

pel_buffer *launches_wrap(launches *l, uint64_t offset, uint64_t bytes) {
    assert_true(l->buffer_count < LAUNCH_BUFFERS);
    pel_buffer **buffer = &l->buffers[l->buffer_count++];
    assert_int_equal(pel_buffer_wrap(&l->fake.runtime, l->memory + offset, bytes, buffer), PEL_OK);
    return *buffer;
}

static pel_status do_nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

pel_kernel *launches_kernel(launches *l, const pel_param *params, uint32_t count, uint32_t split_dimension) {
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    desc.name = "tested";
    desc.params = params;
    desc.param_count = count;
    desc.split_dimension = split_dimension;
    desc.host = do_nothing;
    if (pel_kernel_create(l->program, &desc, &kernel, &error) != PEL_OK) {
        print_error("%s\n", pel_error_story(error));
        fail();
    }
    return kernel;
}

void launches_unbind(launches *l, pel_bound *bound) {
    pthread_mutex_lock(&l->fake.runtime.lock);
    pel_unbind(bound);
    pthread_mutex_unlock(&l->fake.runtime.lock);
}

uint32_t launches_column(const pel_span *span, const void *const *arguments, void *user, pel_interval *intervals,
                         uint32_t capacity) {
    uint32_t column, count = 0;
    (void)user;
    memcpy(&column, arguments[0], sizeof column);
    for (uint64_t row = span->hi[span->split]; row-- > span->lo[span->split]; count++) { /* descending: the library sorts */
        if (count < capacity) {
            intervals[count] = (pel_interval){(row * 16 + column) * 4, (row * 16 + column + 1) * 4};
        }
    }
    return count;
}
