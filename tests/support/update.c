/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

const char update_source[] =
    "kernel void update(global const uint *x, global uint *y) { size_t i = get_global_id(0); y[i] = 3 * y[i] + x[i]; }";

void update_items(const pel_span *span, const uint32_t *x, uint32_t *y) {
    for (uint64_t i = span->lo[0]; i < span->hi[0]; i++) {
        y[i] = 3 * y[i] + x[i];
    }
}

pel_status update_on_host(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)scratch, (void)user;
    update_items(span, arguments[0], arguments[1]);
    return PEL_OK;
}

/* In whole pages, which a device may use in place. */
static uint32_t *pages(uint32_t count) {
    const size_t bytes = count * sizeof(uint32_t);
    uint32_t *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    assert_non_null(memory);
    return memory;
}

pel_status update_begin(update_scene *scene, const pel_runtime_desc *desc, const update_variant *variant, uint32_t count,
                        pel_error **error) {
    static const pel_param params[] = {UPDATE_PARAMS};
    static const update_variant plain = {update_source, params, 2, update_on_host};
    pel_program_desc program = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel = PEL_KERNEL_DESC_INIT;
    *scene = (update_scene){.count = count};
    variant = variant ? variant : &plain;
    const pel_status status = pel_runtime_create(desc, &scene->runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    program.source = variant->source;
    kernel.entry = variant->source ? "update" : NULL;
    kernel.name = "update";
    kernel.params = variant->params;
    kernel.param_count = variant->param_count;
    kernel.host = variant->host;
    assert_int_equal(pel_queue_create(scene->runtime, NULL, &scene->queue, NULL), PEL_OK);
    assert_int_equal(pel_program_create(scene->runtime, &program, &scene->program, NULL), PEL_OK);
    assert_int_equal(pel_kernel_create(scene->program, &kernel, &scene->kernel, NULL), PEL_OK);
    scene->xs = pages(count);
    scene->ys = pages(count);
    scene->expected = pages(count);
    for (uint32_t i = 0; i < count; i++) {
        scene->xs[i] = i * 7;
        scene->ys[i] = scene->expected[i] = i ^ 21;
    }
    assert_int_equal(pel_buffer_wrap(scene->runtime, scene->xs, count * sizeof(uint32_t), &scene->x), PEL_OK);
    assert_int_equal(pel_buffer_wrap(scene->runtime, scene->ys, count * sizeof(uint32_t), &scene->y), PEL_OK);
    return PEL_OK;
}

void update_expect(update_scene *scene) {
    for (uint32_t i = 0; i < scene->count; i++) {
        scene->expected[i] = 3 * scene->expected[i] + scene->xs[i];
    }
}

bool update_is_right(const update_scene *scene) {
    return memcmp(scene->ys, scene->expected, scene->count * sizeof(uint32_t)) == 0;
}

pel_status update_end(update_scene *scene) {
    pel_kernel_destroy(scene->kernel);
    pel_program_destroy(scene->program);
    const pel_status status = pel_queue_destroy(scene->queue);
    pel_buffer_destroy(scene->x);
    pel_buffer_destroy(scene->y);
    assert_int_equal(pel_runtime_destroy(scene->runtime), PEL_OK);
    return status;
}

void update_free(update_scene *scene) {
    free(scene->xs);
    free(scene->ys);
    free(scene->expected);
}
