/* SPDX-License-Identifier: BSD-3-Clause */
#include "resilience/checksum.h"

#include <string.h>

#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u
#define P5 0x27D4EB2F165667C5u

static uint64_t rotate(uint64_t value, unsigned by) {
    return value << by | value >> (64 - by);
}

/* Little-endian on every machine: a checkpoint may be checked on another one than it was written on. */
static uint64_t load64(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static uint64_t load32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static uint64_t round_of(uint64_t lane, uint64_t input) {
    return rotate(lane + input * P2, 31) * P1;
}

static uint64_t merge(uint64_t hash, uint64_t lane) {
    return (hash ^ round_of(0, lane)) * P1 + P4;
}

uint64_t pel_checksum(const void *data, size_t bytes, uint64_t seed) {
    const unsigned char *at = data;
    size_t left = bytes;
    uint64_t hash = seed + P5;
    if (left >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        for (; left >= 32; left -= 32, at += 32) {
            a = round_of(a, load64(at));
            b = round_of(b, load64(at + 8));
            c = round_of(c, load64(at + 16));
            d = round_of(d, load64(at + 24));
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        hash = merge(merge(merge(merge(hash, a), b), c), d);
    }
    hash += bytes;
    for (; left >= 8; left -= 8, at += 8) {
        hash = rotate(hash ^ round_of(0, load64(at)), 27) * P1 + P4;
    }
    if (left >= 4) {
        hash = rotate(hash ^ load32(at) * P1, 23) * P2 + P3;
        at += 4;
        left -= 4;
    }
    for (; left > 0; left--, at++) {
        hash = rotate(hash ^ *at * P5, 11) * P1;
    }
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}
