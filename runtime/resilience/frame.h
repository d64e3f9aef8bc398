/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers in files: little-endian whatever the machine is. */
#ifndef PEL_RESILIENCE_FRAME_H
#define PEL_RESILIENCE_FRAME_H

#include <stdint.h>

static inline void pel_put32(unsigned char *at, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> 8 * i);
    }
}

static inline void pel_put64(unsigned char *at, uint64_t value) {
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (unsigned char)(value >> 8 * i);
    }
}

static inline uint32_t pel_get32(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t pel_get64(const unsigned char *at) {
    return (uint64_t)pel_get32(at) | (uint64_t)pel_get32(at + 4) << 32;
}

#endif
