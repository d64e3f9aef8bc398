/* SPDX-License-Identifier: BSD-3-Clause */
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static pel_status update(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    const int *x = arguments[0];
    int *y = arguments[1];
    (void)scratch, (void)user;
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = (int)(3u * (unsigned)y[i] + (unsigned)x[i]);
    }
    return PEL_OK;
}

pel_kernel *scene_kernel(pel_runtime *runtime) {
    static const pel_param in_place[] = {PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(int), 1, 1),
                                         PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(int), 1, 1)};
    return machine_kernel(runtime, "update", in_place, 2, update, 0);
}

void scene_begin(scene *s, pel_simulated_device *devices, uint32_t count, bool owned, uint64_t n) {
    memset(s, 0, sizeof *s);
    s->owned = owned;
    s->n = n;
    s->runtime = machine_create(devices, count, NULL);
    s->queue = machine_queue(s->runtime);
    s->kernel = scene_kernel(s->runtime);
    s->expected = calloc(n, sizeof(int));
    if (owned) {
        assert_int_equal(pel_buffer_create(s->runtime, n * sizeof(int), &s->x, NULL), PEL_OK);
        assert_int_equal(pel_buffer_create(s->runtime, n * sizeof(int), &s->y, NULL), PEL_OK);
        s->xs = pel_buffer_data(s->x);
        s->ys = pel_buffer_data(s->y);
    } else {
        s->xs = calloc(n, sizeof(int));
        s->ys = calloc(n, sizeof(int));
        assert_int_equal(pel_buffer_wrap(s->runtime, s->xs, n * sizeof(int), &s->x), PEL_OK);
        assert_int_equal(pel_buffer_wrap(s->runtime, s->ys, n * sizeof(int), &s->y), PEL_OK);
    }
    for (uint64_t i = 0; i < n; i++) {
        s->xs[i] = (int)(i * 7);
        s->ys[i] = s->expected[i] = (int)(i ^ 21);
    }
    for (uint32_t i = 0; i < count && i < 4; i++) {
        s->shares[i] = (pel_share){pel_runtime_device(s->runtime, i + 1), 1};
    }
}

void scene_end(scene *s) {
    pel_kernel_destroy(s->kernel);
    pel_queue_destroy(s->queue);
    pel_buffer_destroy(s->x);
    pel_buffer_destroy(s->y);
    assert_int_equal(pel_runtime_destroy(s->runtime), PEL_OK); /* first: a device that hangs may go on reading what was wrapped */
    if (!s->owned) {
        free(s->xs);
        free(s->ys);
    }
    free(s->expected);
}

void scene_expect_update(scene *s) {
    for (uint64_t i = 0; i < s->n; i++) {
        s->expected[i] = (int)(3u * (unsigned)s->expected[i] + (unsigned)(i * 7));
    }
}
