/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA-256 (FIPS 180-4) for names of cached files and their check, and a fast 64-bit mix for in-memory keys. */
#ifndef PEL_BASE_HASH_H
#define PEL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct pel_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} pel_sha256;

void pel_sha256_init(pel_sha256 *sha);
void pel_sha256_update(pel_sha256 *sha, const void *data, size_t bytes);
void pel_sha256_text(pel_sha256 *sha, const char *text); /* with its length first, so that fields cannot run together; NULL: "" */
void pel_sha256_final(pel_sha256 *sha, uint8_t digest[32]);
void pel_sha256_hex(const uint8_t digest[32], char hex[65]);

/*
 * Combines two keys: the finaliser of MurmurHash3 over both words, every input bit changes about half of the output bits. In
 * line, because each chunk that is learned from needs several.
 */
static inline uint64_t pel_mix_u64(uint64_t a, uint64_t b) {
    uint64_t x = a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2));
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    x ^= x >> 33;
    return x;
}

#endif
