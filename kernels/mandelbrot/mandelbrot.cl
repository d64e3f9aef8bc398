/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Escape times, sixteen neighbours of a row an item: loops that end at different times are not vectorised across items, so the
 * lanes are spelled out (6 x on PoCL, 2 cores). A lane that has escaped goes on until all have, without counting.
 * Multiply-adds are left to the compiler, which fuses them where the device can (PoCL: as before, to the bit); fma() itself is a
 * function of 100 instructions where it cannot (llvmpipe: 11 x).
 */
kernel void mandelbrot(global uint *out, uint width, uint height, uint pitch, uint limit) {
    const uint x = (uint)get_global_id(0) * 16, y = (uint)get_global_id(1);
    const float16 column = convert_float16((uint16)x + (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const float16 cx = (float16)(3.0f / (float)width) * column - 2.25f;
    const float16 cy = (float16)(2.5f / (float)height * (float)y - 1.25f);
    float16 zx = 0.0f, zy = 0.0f;
    int16 live = -1;
    uint16 count = 0;
    for (uint i = 0; i < limit; i++) {
        const float16 xx = zx * zx, yy = zy * zy;
        live &= xx + yy <= 4.0f;
        if (!any(live)) {
            break;
        }
        count -= as_uint16(live);
        zy = (zx + zx) * zy + cy;
        zx = xx - yy + cx;
    }
    vstore16(count, 0, out + (size_t)y * pitch + x);
}
