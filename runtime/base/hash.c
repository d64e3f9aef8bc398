/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SHA-256 as FIPS 180-4 states it. Cached program binaries are named and checked by it: they are handed to a driver that will
 * execute them, so a hash that can be forged, or collides by chance, is not enough. Own code because no library at hand is worth
 * a dependency for one function; its speed (a few hundred MB/s) is far above what sources and binaries of some hundred KB need.
 */
#include "base/hash.h"

#include <string.h>

static const uint32_t round_constants[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};

static uint32_t rotate(uint32_t value, unsigned by) {
    return value >> by | value << (32u - by);
}

static void compress(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        const uint8_t *at = block + 4 * i;
        w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void pel_sha256_init(pel_sha256 *sha) {
    static const uint32_t start[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                      0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    memcpy(sha->state, start, sizeof start);
    sha->bytes = 0;
    memset(sha->block, 0, sizeof sha->block);
}

void pel_sha256_update(pel_sha256 *sha, const void *data, size_t bytes) {
    const uint8_t *at = data;
    while (bytes > 0) {
        size_t filled = (size_t)(sha->bytes % 64), take = 64 - filled;
        if (filled == 0 && bytes >= 64) {
            compress(sha->state, at);
            take = 64;
        } else {
            take = take < bytes ? take : bytes;
            memcpy(sha->block + filled, at, take);
            if (filled + take == 64) {
                compress(sha->state, sha->block);
            }
        }
        sha->bytes += take;
        at += take;
        bytes -= take;
    }
}

void pel_sha256_text(pel_sha256 *sha, const char *text) {
    size_t length = text != NULL ? strlen(text) : 0;
    uint8_t prefix[8];
    for (unsigned i = 0; i < 8; i++) {
        prefix[i] = (uint8_t)((uint64_t)length >> (8 * i));
    }
    pel_sha256_update(sha, prefix, sizeof prefix);
    pel_sha256_update(sha, text, length);
}

void pel_sha256_final(pel_sha256 *sha, uint8_t digest[32]) {
    uint64_t bits = sha->bytes * 8;
    static const uint8_t padding[64] = {0x80};
    size_t filled = (size_t)(sha->bytes % 64);
    pel_sha256_update(sha, padding, filled < 56 ? 56 - filled : 120 - filled);
    uint8_t length[8];
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    pel_sha256_update(sha, length, sizeof length);
    for (unsigned i = 0; i < 32; i++) {
        digest[i] = (uint8_t)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void pel_sha256_hex(const uint8_t digest[32], char hex[65]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = '\0';
}
