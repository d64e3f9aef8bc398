/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group sums the products of 64 x 8 x 8 elements into one partial. An item takes eight vectors of eight, a whole group's width
 * apart: GPUs read contiguously, CPUs get vector loads.
 */
kernel void dot_product(global float *partial, global const float *a, global const float *b, ulong count, local float *sums) {
    const size_t item = get_local_id(0), items = get_local_size(0);
    float8 wide = 0.0f;
    float rest = 0.0f;
    for (size_t k = 0; k < 8; k++) {
        size_t i = ((get_group_id(0) * 8 + k) * items + item) * 8;
        if (i + 8 <= count) {
            wide = fma(vload8(0, a + i), vload8(0, b + i), wide);
        } else {
            for (; i < count; i++) {
                rest = fma(a[i], b[i], rest);
            }
        }
    }
    sums[item] = rest + (((wide.s0 + wide.s1) + (wide.s2 + wide.s3)) + ((wide.s4 + wide.s5) + (wide.s6 + wide.s7)));
    for (size_t reach = items / 2; reach > 0; reach /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < reach) {
            sums[item] += sums[item + reach];
        }
    }
    if (item == 0) {
        partial[get_group_id(0)] = sums[0];
    }
}
