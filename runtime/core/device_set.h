/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of a runtime's devices, by index, where each must be told apart and adding one must not fail. It has room for as many
 * as a runtime may have, a kilobyte: for objects of which there are few. Where devices meet in every launch, a mark in the device
 * itself (queue/fair.c) or a list is shorter and faster.
 */
#ifndef PEL_CORE_DEVICE_SET_H
#define PEL_CORE_DEVICE_SET_H

#include "core/runtime.h"

typedef struct pel_device_set {
    uint32_t count;
    uint64_t words[PEL_RUNTIME_DEVICE_LIMIT / 64];
} pel_device_set;

static inline bool pel_device_set_has(const pel_device_set *set, uint32_t index) {
    return (set->words[index / 64] >> (index % 64) & 1u) != 0;
}

static inline void pel_device_set_add(pel_device_set *set, uint32_t index) {
    set->count += pel_device_set_has(set, index) ? 0u : 1u;
    set->words[index / 64] |= 1ull << (index % 64);
}

#endif
