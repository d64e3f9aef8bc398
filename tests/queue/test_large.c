/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Beyond 4 GiB and beyond 2^32: a buffer of 5 GiB of which few pages are touched, split over devices, and ids far beyond 32 bits
 * through launch offsets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pel/pel.h>

#define ITEM_BYTES (1u << 20)
#define ITEMS (5u << 10) /* 5 GiB in all */

static const char source[] = "__kernel void mark(__global uchar *x, ulong stride) {\n"
                             "    size_t i = get_global_id(0);\n"
                             "    x[i * stride] = (uchar)(1 + i % 251);\n"
                             "}\n"
                             "__kernel void far(__global ulong *x) {\n"
                             "    size_t i = get_global_id(0) - get_global_offset(0);\n"
                             "    x[i] = get_global_id(0) * 3 + get_global_size(0);\n"
                             "}\n";

static pel_status mark(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    unsigned char *x = arguments[0];
    const uint64_t stride = *(const uint64_t *)arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i * stride] = (unsigned char)(1 + i % 251);
    }
    return PEL_OK;
}

static pel_status far_ids(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    uint64_t *x = arguments[0];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        x[i] = (i + span->offset[0]) * 3 + span->global[0];
    }
    return PEL_OK;
}

typedef struct fixture {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    bool splits; /* devices 0 and 1 do not share cores */
} fixture;

/* The first two cores as a list of disjoint devices, when there are two and an OpenCL device. */
static void disjoint_list(char *list, size_t bytes) {
    pel_runtime *runtime = NULL;
    uint32_t cores[2], found = 0;
    list[0] = '\0';
    if (pel_runtime_create(NULL, &runtime, NULL) != PEL_OK) {
        return;
    }
    const pel_device_info *host = pel_device_get_info(pel_runtime_find_device(runtime, "host"));
    for (uint32_t core = 0; host && core < PEL_CORE_LIMIT && found < 2; core++) {
        if (pel_core_set_has(&host->cores, core)) {
            cores[found++] = core;
        }
    }
    if (found == 2 && pel_runtime_find_device(runtime, "opencl:0")) {
        snprintf(list, bytes, "host@%u,opencl:0@%u", cores[0], cores[1]);
    }
    pel_runtime_destroy(runtime);
}

static int set_up(void **state) {
    static fixture f;
    char list[64];
    pel_runtime_desc runtime_desc = PEL_RUNTIME_DESC_INIT;
    disjoint_list(list, sizeof list);
    runtime_desc.devices = list[0] ? list : NULL;
    f.splits = list[0] != '\0';
    pel_program_desc desc = PEL_PROGRAM_DESC_INIT;
    desc.source = source;
    *state = &f;
    return pel_runtime_create(&runtime_desc, &f.runtime, NULL) == PEL_OK &&
                   pel_queue_create(f.runtime, NULL, &f.queue, NULL) == PEL_OK &&
                   pel_program_create(f.runtime, &desc, &f.program, NULL) == PEL_OK
               ? 0
               : 1;
}

static int tear_down(void **state) {
    fixture *f = *state;
    pel_queue_destroy(f->queue);
    pel_program_destroy(f->program);
    return (int)pel_runtime_destroy(f->runtime);
}

static pel_kernel *make(fixture *f, const char *entry, const pel_param *params, uint32_t count, pel_host_fn host) {
    pel_kernel_desc desc = PEL_KERNEL_DESC_INIT;
    pel_kernel *kernel = NULL;
    pel_error *error = NULL;
    desc.entry = entry;
    desc.params = params;
    desc.param_count = count;
    desc.host = host;
    if (pel_kernel_create(f->program, &desc, &kernel, &error) != PEL_OK) {
        fail_msg("%s", pel_error_story(error));
    }
    return kernel;
}

/* The first device alone, others in halves with it where that is possible. */
static pel_status launch_on(fixture *f, pel_kernel *kernel, pel_launch_desc desc, const pel_arg *args, uint32_t count,
                            uint32_t device) {
    pel_share shares[2] = {{pel_runtime_device(f->runtime, device), 1}, {pel_runtime_device(f->runtime, 0), 1}};
    desc.shares = shares;
    desc.share_count = f->splits && device > 0 ? 2 : 1;
    pel_event *event = NULL;
    pel_status status = pel_launch(f->queue, kernel, &desc, args, count, &event);
    if (status == PEL_OK) {
        status = pel_event_wait(event);
        if (status != PEL_OK) {
            printf("%s", pel_error_story(pel_event_error(event)));
        }
        pel_event_release(event);
    }
    return status;
}

static void test_five_gibibytes(void **state) {
    fixture *f = *state;
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, ITEM_BYTES, 1, 1), PEL_PARAM_VALUE(uint64_t)};
    pel_kernel *kernel = make(f, "mark", params, 2, mark);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = ITEMS;
    for (uint32_t d = 0; d < pel_runtime_device_count(f->runtime); d++) {
        const pel_device_info *info = pel_device_get_info(pel_runtime_device(f->runtime, d));
        pel_buffer *buffer = NULL;
        assert_int_equal(pel_buffer_create(f->runtime, (uint64_t)ITEMS * ITEM_BYTES, &buffer, NULL), PEL_OK);
        const pel_arg args[] = {pel_buf(buffer), pel_u64(ITEM_BYTES)};
        pel_status status = launch_on(f, kernel, desc, args, 2, d);
        printf("%s: largest allocation %llu bytes: %s\n", info->id, (unsigned long long)info->max_allocation_bytes,
               pel_status_name(status));
        if (info->max_allocation_bytes < (uint64_t)ITEMS * ITEM_BYTES && d > 0) {
            assert_true(status != PEL_INTERNAL); /* refused with numbers, or run in place */
        } else {
            assert_int_equal(status, PEL_OK);
        }
        if (status == PEL_OK) {
            assert_int_equal(pel_buffer_sync(buffer), PEL_OK);
            const unsigned char *x = pel_buffer_data(buffer);
            for (uint64_t i = 0; i < ITEMS; i++) {
                assert_int_equal(x[i * ITEM_BYTES], 1 + i % 251);
            }
        }
        pel_queue_reset(f->queue);
        assert_int_equal(pel_buffer_destroy(buffer), PEL_OK);
    }
    pel_kernel_destroy(kernel);
}

static void test_ids_beyond_32_bits(void **state) {
    fixture *f = *state;
    enum { N = 3 * 64 };
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint64_t), 1, 1)};
    static uint64_t x[N];
    const uint64_t offset = 5ull << 32;
    pel_kernel *kernel = make(f, "far", params, 1, far_ids);
    pel_buffer *buffer = NULL;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    desc.global[0] = N;
    desc.local[0] = 64;
    desc.offset[0] = offset;
    assert_int_equal(pel_buffer_wrap(f->runtime, x, sizeof x, &buffer), PEL_OK);
    const pel_arg args[] = {pel_buf(buffer)};
    for (uint32_t d = 0; d < pel_runtime_device_count(f->runtime); d++) {
        memset(x, 0, sizeof x);
        assert_int_equal(launch_on(f, kernel, desc, args, 1, d), PEL_OK);
        assert_int_equal(pel_queue_finish(f->queue), PEL_OK);
        for (uint64_t i = 0; i < N; i++) {
            assert_true(x[i] == (i + offset) * 3 + N);
        }
    }
    pel_buffer_destroy(buffer);
    pel_kernel_destroy(kernel);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_five_gibibytes), cmocka_unit_test(test_ids_beyond_32_bits)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
