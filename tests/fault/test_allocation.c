/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every allocation of a whole life (runtime, buffers, program, kernel, split launches with all kinds of accesses, tasks, copies,
 * finish, destroy) fails in turn, once and for ever. Each time: the right result or a clean error, and nothing leaks (counted
 * here, and by LeakSanitizer).
 */
#include "support/counted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <pel/pel.h>

enum { LOCAL = 8, GROUPS = 16, N = LOCAL * GROUPS };

static pel_status compute(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *in = arguments[0];
    int *out = arguments[1];
    unsigned *partial = arguments[2], *bins = arguments[3];
    (void)user;
    memset(scratch, 1, 64);
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        out[i] = in[i > 0 ? i - 1 : i] + in[i + 1 < N ? i + 1 : i];
        bins[(unsigned)in[i] % 4]++;
    }
    for (uint64_t g = span->group_lo[0]; g < span->group_hi[0]; g++) {
        partial[g] = 0;
        for (uint64_t i = g * LOCAL; i < (g + 1) * LOCAL; i++) {
            partial[g] += (unsigned)in[i];
        }
    }
    return PEL_OK;
}

static pel_status negate_first(void *context) {
    int *x = context;
    x[0] = -x[0];
    return PEL_OK;
}

static pel_status do_nothing(void *context) {
    (void)context;
    return PEL_OK;
}

typedef struct life {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *in, *out, *partial, *bins, *copy;
    int in_memory[N], out_memory[N];
    unsigned partial_memory[GROUPS], bins_memory[4];
    int copy_memory[N];
} life;

static const pel_param params[] = {PEL_PARAM_BLOCK(PEL_READ, sizeof(int), 0, 1, 1),
                                   PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(int), 1, 1),
                                   PEL_PARAM_PER_GROUP(PEL_REDUCE_SUM, PEL_U32, sizeof(unsigned), 1),
                                   PEL_PARAM_REDUCE_PRIVATE(PEL_REDUCE_SUM, PEL_U32, sizeof(unsigned), 4)};

static pel_status build(life *l, const pel_runtime_desc *desc) {
    pel_status status;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_error *error = NULL;
    kernel_desc.name = "compute";
    kernel_desc.params = params;
    kernel_desc.param_count = 4;
    kernel_desc.host = compute;
    kernel_desc.scratch_bytes = 64;
    if ((status = pel_runtime_create(desc, &l->runtime, &error)) != PEL_OK ||
        (status = pel_queue_create(l->runtime, NULL, &l->queue, &error)) != PEL_OK ||
        (status = pel_buffer_wrap(l->runtime, l->in_memory, sizeof l->in_memory, &l->in)) != PEL_OK ||
        (status = pel_buffer_wrap(l->runtime, l->out_memory, sizeof l->out_memory, &l->out)) != PEL_OK ||
        (status = pel_buffer_wrap(l->runtime, l->partial_memory, sizeof l->partial_memory, &l->partial)) != PEL_OK ||
        (status = pel_buffer_wrap(l->runtime, l->bins_memory, sizeof l->bins_memory, &l->bins)) != PEL_OK ||
        (status = pel_buffer_create(l->runtime, sizeof l->copy_memory, &l->copy, &error)) != PEL_OK ||
        (status = pel_program_create(l->runtime, &program_desc, &l->program, &error)) != PEL_OK ||
        (status = pel_kernel_create(l->program, &kernel_desc, &l->kernel, &error)) != PEL_OK) {
        if (error) {
            assert_int_equal(pel_error_status(error), status);
            pel_error_destroy(error);
        }
    }
    return status;
}

static pel_status submit(life *l) {
    pel_status status;
    pel_share shares[4];
    uint32_t count = pel_runtime_device_count(l->runtime);
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_arg args[] = {pel_buf(l->in), pel_buf(l->out), pel_buf(l->partial), pel_buf(l->bins)};
    pel_access first = PEL_ACCESS(l->in, 0, sizeof(int), PEL_READ_WRITE);
    pel_event *event = NULL, *awaited = NULL;
    for (uint32_t i = 0; i < count && i < 4; i++) {
        shares[i] = (pel_share){pel_runtime_device(l->runtime, i), 1};
    }
    desc.global[0] = N;
    desc.local[0] = LOCAL;
    desc.shares = shares;
    desc.share_count = count;
    if ((status = pel_task(l->queue, do_nothing, NULL, NULL, 0, NULL, &awaited)) != PEL_OK ||
        (status = pel_task(l->queue, negate_first, l->in_memory, &first, 1, NULL, NULL)) != PEL_OK ||
        (status = pel_launch(l->queue, l->kernel, &desc, args, 4, &event)) != PEL_OK ||
        (status = pel_copy(l->queue, l->copy, 0, l->out, 0, sizeof l->out_memory, NULL, NULL)) != PEL_OK ||
        (status = pel_read(l->queue, l->copy, 0, sizeof l->copy_memory, l->copy_memory, NULL, NULL)) != PEL_OK) {
        pel_error_destroy(pel_queue_error(l->queue));
    }
    pel_status finished = pel_queue_finish(l->queue);
    pel_event_release(awaited);
    if (event) {
        pel_plan *plan = NULL;
        assert_int_equal(pel_event_get_state(event), PEL_EVENT_COMPLETE);
        if (pel_event_get_plan(event, &plan) == PEL_OK) {
            pel_plan_destroy(plan);
        }
        pel_event_release(event);
    }
    return status != PEL_OK ? status : finished;
}

static void check_results(const life *l) {
    unsigned bins[4] = {0}, sum = 0;
    for (int i = 0; i < N; i++) {
        int value = l->in_memory[i];
        assert_int_equal(l->copy_memory[i], l->in_memory[i > 0 ? i - 1 : i] + l->in_memory[i + 1 < N ? i + 1 : i]);
        bins[(unsigned)value % 4]++;
        sum += (unsigned)value;
    }
    assert_int_equal(l->partial_memory[0], sum);
    assert_memory_equal(l->bins_memory, bins, sizeof bins);
}

static void tear_down(life *l) {
    pel_kernel_destroy(l->kernel);
    pel_program_destroy(l->program);
    pel_queue_destroy(l->queue);
    pel_buffer_destroy(l->in);
    pel_buffer_destroy(l->out);
    pel_buffer_destroy(l->partial);
    pel_buffer_destroy(l->bins);
    pel_buffer_destroy(l->copy);
    assert_int_equal(pel_runtime_destroy(l->runtime), PEL_OK);
}

static bool live_once(counted *memory, const pel_runtime_desc *wanted) {
    static life l;
    const pel_allocator allocator = {counted_reallocate, memory};
    pel_runtime_desc desc = *wanted;
    memset(&l, 0, sizeof l);
    for (int i = 0; i < N; i++) {
        l.in_memory[i] = i * 7 % 23;
    }
    desc.allocator = &allocator;
    pel_status status = build(&l, &desc);
    if (status == PEL_OK) {
        status = submit(&l);
    }
    if (status == PEL_OK) {
        check_results(&l);
    }
    tear_down(&l);
    return status == PEL_OK;
}

static void test_simulated(void **state) {
    (void)state;
    counted_every_site_simulated(live_once);
}

static void test_host(void **state) {
    (void)state;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = "host";
    desc.host_workers = 2;
    desc.flags = PEL_RUNTIME_NO_CACHE;
    counted_every_site("host", live_once, &desc);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_simulated), cmocka_unit_test(test_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
