/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/variants.h"
#include "base/hash.h"

const uint32_t pel_group_sizes[PEL_GROUP_ARMS] = {0, 128, 256, 32};

uint64_t pel_group_device(uint64_t device, uint32_t arm) {
    return arm == 0 ? device : pel_mix_u64(device, 0x67726f7570000000u + pel_group_sizes[arm]);
}
