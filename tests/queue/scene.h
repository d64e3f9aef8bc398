/* SPDX-License-Identifier: BSD-3-Clause */
/* A simulated machine with two buffers and a kernel that computes in place, y = 3 y + x: done twice, or from spoilt bytes, it
 * shows. */
#ifndef PEL_TESTS_SCENE_H
#define PEL_TESTS_SCENE_H

#include "machines.h"
#include <stdbool.h>

typedef struct scene {
    pel_runtime *runtime;
    pel_queue *queue;
    pel_kernel *kernel; /* "update", of x and y */
    pel_buffer *x, *y;
    int *xs, *ys, *expected;
    bool owned;         /* by the buffers: xs and ys */
    uint64_t n;
    pel_share shares[4]; /* equal ones, of all devices but the host */
} scene;

pel_kernel *scene_kernel(pel_runtime *runtime);
void scene_begin(scene *s, pel_simulated_device *devices, uint32_t count, bool owned, uint64_t n);
void scene_end(scene *s);
void scene_expect_update(scene *s); /* one more launch is in `expected` */

#endif
