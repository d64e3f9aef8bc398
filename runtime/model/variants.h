/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sizes of work-groups that are told apart, where a launch leaves its local size open. A device with each of them has lines of
 * its own, as if it were another device: so what they take is learned, aged, kept in the history and forgotten like everything
 * else. Rejected: a size in the family's shape, which would make the other devices of a division learn anew whenever one of them
 * changes its groups.
 */
#ifndef PEL_MODEL_VARIANTS_H
#define PEL_MODEL_VARIANTS_H

#include <stdint.h>

#define PEL_GROUP_ARMS 4u

/* Items of each; the first, 0, is the device's default. */
extern const uint32_t pel_group_sizes[PEL_GROUP_ARMS];

/* The name under which models know a device that uses one of them. */
uint64_t pel_group_device(uint64_t device, uint32_t arm);

#endif
