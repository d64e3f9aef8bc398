/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 5 x 5 blur, one item a pixel. Rows of `in` are two pixels longer on either side, copies of the border, so that only the row
 * needs clamping: it is the same for a whole work-group, and compilers vectorise along x with plain loads.
 */
static float five(global const float *w, global const float *p, float sum) {
    sum = fma(w[0], p[0], sum);
    sum = fma(w[1], p[1], sum);
    sum = fma(w[2], p[2], sum);
    sum = fma(w[3], p[3], sum);
    return fma(w[4], p[4], sum);
}

kernel void gaussian(global float *out, global const float *in, global const float *weights, uint width, uint height,
                     uint pitch) {
    const int x = (int)get_global_id(0), y = (int)get_global_id(1), last = (int)height - 1;
    float sum = five(weights, in + (size_t)max(y - 2, 0) * pitch + x, 0.0f);
    sum = five(weights + 5, in + (size_t)max(y - 1, 0) * pitch + x, sum);
    sum = five(weights + 10, in + (size_t)y * pitch + x, sum);
    sum = five(weights + 15, in + (size_t)min(y + 1, last) * pitch + x, sum);
    sum = five(weights + 20, in + (size_t)min(y + 2, last) * pitch + x, sum);
    out[(size_t)y * width + x] = sum;
}
