/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * XXH64 (Yann Collet, 2012; the algorithm's published description): a 64-bit checksum at memory speed. It finds damage, it does
 * not resist an attacker. SHA-256 of base/hash.h takes 10 ns a byte, a checkpoint of a gigabyte would wait ten seconds for it.
 */
#ifndef PEL_RESILIENCE_CHECKSUM_H
#define PEL_RESILIENCE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t pel_checksum(const void *data, size_t bytes, uint64_t seed);

#endif
