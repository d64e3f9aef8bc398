/* SPDX-License-Identifier: BSD-3-Clause */
/* One item an element: compilers vectorise it across items, GPUs coalesce it. */
kernel void triad(global float *a, global const float *b, global const float *c, float s) {
    size_t i = get_global_id(0);
    a[i] = fma(s, c[i], b[i]);
}
