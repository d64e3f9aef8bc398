/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A box blur of radius r, for `pel run`:
 *
 *   pel run blur.cl --range 1920x1080 --arg in=photo.png:read:block:halo=2 --arg out=blurred.png:write:block --arg r=2
 *
 * One work-item computes one pixel. It reads r rows above and below its own: that is the halo. At the borders of the image the
 * nearest pixel counts.
 */
kernel void blur(global const uchar4 *in, global uchar4 *out, int r) {
    const int width = get_global_size(0), height = get_global_size(1);
    const int x = get_global_id(0), y = get_global_id(1);
    uint4 sum = 0;
    for (int dy = -r; dy <= r; dy++) {
        const int row = clamp(y + dy, 0, height - 1);
        for (int dx = -r; dx <= r; dx++) {
            sum += convert_uint4(in[row * width + clamp(x + dx, 0, width - 1)]);
        }
    }
    const uint count = (2 * r + 1) * (2 * r + 1);
    out[y * width + x] = convert_uchar4((sum + count / 2) / count);
}
