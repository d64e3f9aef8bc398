/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A runtime whose kernel changes memory in place, y = 3 y + x, beside what y must be: what retry, votes, lost devices and long
 * runs are tested with. A step that is done twice, not at all or by half shows in every item. Integers, so that OpenCL and the
 * host function agree to the bit.
 */
#ifndef TESTS_SUPPORT_UPDATE_H
#define TESTS_SUPPORT_UPDATE_H

#include <pel/pel.h>
#include <stdbool.h>
#include <stdint.h>

/* Another kernel than the plain one: parameters of its own come before x and y, which it is given as the last two. */
typedef struct update_variant {
    const char *source; /* of an entry called update; NULL: a host function only */
    const pel_param *params;
    uint32_t param_count;
    pel_host_fn host;
} update_variant;

#define UPDATE_PARAMS                                                                                                            \
    PEL_PARAM_ELEMENTWISE(PEL_READ, sizeof(uint32_t), 1, 1), PEL_PARAM_ELEMENTWISE(PEL_READ_WRITE, sizeof(uint32_t), 1, 1)

typedef struct update_scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_program *program;
    pel_kernel *kernel;
    pel_buffer *x, *y;
    uint32_t *xs, *ys, *expected;
    uint32_t count;
} update_scene;

extern const char update_source[];

/* What a host function does once it knows where x and y are. */
void update_items(const pel_span *span, const uint32_t *x, uint32_t *y);
/* The host function of the plain kernel. */
pel_status update_on_host(const pel_span *span, void *const *arguments, void *scratch, void *user);

/* variant NULL: the plain kernel. What pel_runtime_create returns; whatever fails after that fails the test. */
pel_status update_begin(update_scene *scene, const pel_runtime_desc *desc, const update_variant *variant, uint32_t count,
                        pel_error **error);
/* One step more in what y must be. */
void update_expect(update_scene *scene);
bool update_is_right(const update_scene *scene);
/* Fails the test when the runtime cannot be destroyed. Returns how the queue ended; not the memory: update_free. */
pel_status update_end(update_scene *scene);
void update_free(update_scene *scene);

#endif
