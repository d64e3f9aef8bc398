/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accelerations of eight bodies an item, by all bodies in order. The loop over all is the long one and cannot be vectorised
 * without reordering its sums; so the lanes are bodies and each loaded position serves eight of them (6 x one body an item on
 * PoCL, 2 cores).
 */
kernel void nbody(global float4 *acceleration, global const float4 *body, uint count, float softening) {
    const size_t first = get_global_id(0) * 8;
    float8 px, py, pz;
    for (int l = 0; l < 8; l++) {
        const float4 p = body[first + l];
        ((float *)&px)[l] = p.x;
        ((float *)&py)[l] = p.y;
        ((float *)&pz)[l] = p.z;
    }
    float8 ax = 0.0f, ay = 0.0f, az = 0.0f;
    for (uint j = 0; j < count; j++) {
        const float4 p = body[j];
        const float8 dx = p.x - px, dy = p.y - py, dz = p.z - pz;
        const float8 inverse = rsqrt(fma(dx, dx, fma(dy, dy, fma(dz, dz, (float8)softening))));
        const float8 pull = p.w * inverse * inverse * inverse;
        ax = fma(pull, dx, ax);
        ay = fma(pull, dy, ay);
        az = fma(pull, dz, az);
    }
    for (int l = 0; l < 8; l++) {
        acceleration[first + l] = (float4)(((float *)&ax)[l], ((float *)&ay)[l], ((float *)&az)[l], 0.0f);
    }
}
