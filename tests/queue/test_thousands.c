/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches over two thousand simulated devices: right bytes, whoever is lost, and inputs that all of them keep. */
#include "machines.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 2000, EACH = 4 };

typedef struct machine {
    pel_simulated_device devices[MOST];
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel;
    uint32_t *x, *y;
    pel_buffer *in, *out, *scale;
    uint32_t factor[8];
} machine;

static pel_status multiply(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const uint32_t *x = arguments[0], *factor = arguments[1];
    uint32_t *y = arguments[2];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = x[i] * factor[i % 8];
    }
    return PEL_OK;
}

static void begin(machine *m, uint32_t count, bool own_memory, uint32_t lost, uint64_t at) {
    static const pel_param params[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1), PEL_PARAM_WHOLE(PEL_READ),
                                       PEL_PARAM_ELEMENTWISE(PEL_WRITE, sizeof(uint32_t), 1, 1)};
    for (uint32_t i = 0; i < count; i++) {
        pel_simulated_device *d = &m->devices[i];
        (void)snprintf(d->name, sizeof d->name, i == 0 ? "host" : "d%u", (unsigned)i);
        d->rate = 0.001 * (1 + i % 3);
        d->start_ns = 100;
        d->noise = 0.05;
        d->link_bytes_per_ns = own_memory && i > 0 ? 10.0 : 0.0;
        d->lost_at = i == lost ? at : 0;
    }
    m->runtime = machine_create(m->devices, count, NULL);
    assert_int_equal(pel_runtime_device_count(m->runtime), count);
    m->queue = machine_queue(m->runtime);
    m->kernel = machine_kernel(m->runtime, "multiply", params, 3, multiply, 0);
    m->x = calloc(count * EACH, sizeof *m->x);
    m->y = calloc(count * EACH, sizeof *m->y);
    assert_true(m->x && m->y);
    assert_int_equal(pel_buffer_wrap(m->runtime, m->x, count * EACH * sizeof *m->x, &m->in), PEL_OK);
    assert_int_equal(pel_buffer_wrap(m->runtime, m->y, count * EACH * sizeof *m->y, &m->out), PEL_OK);
    assert_int_equal(pel_buffer_wrap(m->runtime, m->factor, sizeof m->factor, &m->scale), PEL_OK);
}

static void end(machine *m) {
    pel_queue_destroy(m->queue);
    pel_kernel_destroy(m->kernel);
    pel_buffer_destroy(m->in);
    pel_buffer_destroy(m->out);
    pel_buffer_destroy(m->scale);
    assert_int_equal(pel_runtime_destroy(m->runtime), PEL_OK);
    free(m->x);
    free(m->y);
    free(m);
}

/* One launch with new inputs and its results; how many chunks it had, failed ones included, which are counted. */
static uint32_t run(machine *m, uint32_t count, uint32_t number, uint32_t *failed) {
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    const pel_arg args[] = {pel_buf(m->in), pel_buf(m->scale), pel_buf(m->out)};
    pel_event *event;
    pel_plan *plan;
    for (uint32_t i = 0; i < count * EACH; i++) {
        m->x[i] = i + number;
    }
    for (uint32_t i = 0; i < 8; i++) {
        m->factor[i] = 3 * i + number;
    }
    desc.global[0] = count * EACH;
    desc.local[0] = 1; /* so that items can go anywhere */
    desc.protection = PEL_PROTECT_RETRY;
    assert_int_equal(pel_launch(m->queue, m->kernel, &desc, args, 3, &event), PEL_OK);
    assert_int_equal(pel_queue_finish(m->queue), PEL_OK);
    assert_int_equal(pel_event_get_plan(event, &plan), PEL_OK);
    for (uint32_t i = 0; i < count * EACH; i++) {
        assert_int_equal(m->y[i], (i + number) * (3 * (i % 8) + number));
    }
    const uint32_t chunks = pel_plan_chunk_count(plan);
    for (uint32_t i = 0; i < chunks; i++) {
        pel_plan_chunk chunk;
        assert_int_equal(pel_plan_get_chunk(plan, i, &chunk), PEL_OK);
        *failed += chunk.failure[0] ? 1u : 0u;
    }
    assert_non_null(strstr(pel_plan_text(plan), " devices"));
    pel_plan_destroy(plan);
    pel_event_release(event);
    return chunks;
}

static void two_thousand_share_a_launch(void **state) {
    (void)state;
    machine *m = calloc(1, sizeof *m);
    assert_non_null(m);
    uint32_t failed = 0;
    begin(m, MOST, false, MOST, 0);
    assert_int_equal(run(m, MOST, 1, &failed), MOST); /* all are tried */
    for (uint32_t launch = 2; launch < 5; launch++) {
        assert_true(run(m, MOST, launch, &failed) > MOST / 2);
    }
    assert_int_equal(failed, 0);
    end(m);
}

/* One of a thousand is lost in its first chunk, with bytes in memories of their own: what it had runs again elsewhere. */
static void one_of_a_thousand_is_lost(void **state) {
    (void)state;
    enum { COUNT = 1000, LOST = 777 };
    machine *m = calloc(1, sizeof *m);
    assert_non_null(m);
    uint32_t failed = 0;
    begin(m, COUNT, true, LOST, 1);
    for (uint32_t launch = 1; launch < 4; launch++) {
        (void)run(m, COUNT, launch, &failed);
    }
    assert_int_equal(failed, 1);
    end(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_thousand_share_a_launch),
                                       cmocka_unit_test(one_of_a_thousand_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
