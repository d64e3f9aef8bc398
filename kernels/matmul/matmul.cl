/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * C = A B, an item a tile of 4 rows x 32 columns held in registers: for each k two vectors of B serve four rows. No local memory:
 * PoCL pays for barriers, and caches do that work; a work-group is a column of tiles, which share their part of B. Pitches are in
 * elements, those of A and C for a whole unit of 4 rows. Tiles of 16 columns took 1.1 to 1.6 x as long (PoCL, one core, n = 512
 * and 1024).
 */
kernel void matmul(global float *c, global const float *a, global const float *b, uint inner, uint c_unit, uint a_unit,
                   uint b_pitch) {
    const size_t c_pitch = c_unit / 4, a_pitch = a_unit / 4;
    global const float *a0 = a + get_global_id(1) * a_unit, *a1 = a0 + a_pitch, *a2 = a1 + a_pitch, *a3 = a2 + a_pitch;
    b += get_global_id(0) * 32;
    c += get_global_id(1) * c_unit + get_global_id(0) * 32;
    float16 s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f, t0 = 0.0f, t1 = 0.0f, t2 = 0.0f, t3 = 0.0f;
    for (uint k = 0; k < inner; k++) {
        const float16 left = vload16(0, b + (size_t)k * b_pitch), right = vload16(1, b + (size_t)k * b_pitch);
        s0 = fma((float16)a0[k], left, s0);
        t0 = fma((float16)a0[k], right, t0);
        s1 = fma((float16)a1[k], left, s1);
        t1 = fma((float16)a1[k], right, t1);
        s2 = fma((float16)a2[k], left, s2);
        t2 = fma((float16)a2[k], right, t2);
        s3 = fma((float16)a3[k], left, s3);
        t3 = fma((float16)a3[k], right, t3);
    }
    vstore16(s0, 0, c);
    vstore16(t0, 1, c);
    vstore16(s1, 0, c + c_pitch);
    vstore16(t1, 1, c + c_pitch);
    vstore16(s2, 0, c + 2 * c_pitch);
    vstore16(t2, 1, c + 2 * c_pitch);
    vstore16(s3, 0, c + 3 * c_pitch);
    vstore16(t3, 1, c + 3 * c_pitch);
}
