/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * C = A B, an item a tile of 4 rows x 16 columns held in registers: for each k one vector of B serves four rows. No local memory:
 * PoCL pays for barriers, and caches do that work; a work-group is a column of tiles, which share their part of B. Pitches are in
 * elements, those of A and C for a whole unit of 4 rows.
 */
kernel void matmul(global float *c, global const float *a, global const float *b, uint inner, uint c_unit, uint a_unit,
                   uint b_pitch) {
    const size_t c_pitch = c_unit / 4, a_pitch = a_unit / 4;
    global const float *a0 = a + get_global_id(1) * a_unit, *a1 = a0 + a_pitch, *a2 = a1 + a_pitch, *a3 = a2 + a_pitch;
    b += get_global_id(0) * 16;
    c += get_global_id(1) * c_unit + get_global_id(0) * 16;
    float16 s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
    for (uint k = 0; k < inner; k++) {
        const float16 row = vload16(0, b + (size_t)k * b_pitch);
        s0 = fma((float16)a0[k], row, s0);
        s1 = fma((float16)a1[k], row, s1);
        s2 = fma((float16)a2[k], row, s2);
        s3 = fma((float16)a3[k], row, s3);
    }
    vstore16(s0, 0, c);
    vstore16(s1, 0, c + c_pitch);
    vstore16(s2, 0, c + 2 * c_pitch);
    vstore16(s3, 0, c + 3 * c_pitch);
}
