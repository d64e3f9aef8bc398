/* SPDX-License-Identifier: BSD-3-Clause */
/* From byte intervals to as few transfers as they are worth. All (L). */
#ifndef PEL_QUEUE_TRANSFERS_H
#define PEL_QUEUE_TRANSFERS_H

#include "queue/command.h"

/* What a transfer costs beyond its bytes, and the bytes per nanosecond after that: as measured, else a guess. */
double pel_link_latency_ns(const pel_device *device);
double pel_link_bytes_per_ns(const pel_device *device);
/* So many transfers of so many bytes in all took so long, one after the other. */
void pel_link_learn(pel_device *device, uint32_t transfers, uint64_t bytes, int64_t ns);

/* Whether bytes that nobody asked for may be copied to a device between others: they are the host's, and nobody else is at
 * them. */
typedef bool (*pel_gap_fn)(void *user, uint64_t lo, uint64_t hi);

/* Sorts intervals of one allocation and merges those that touch; returns how many are left. */
uint32_t pel_uses_merge(pel_use *uses, uint32_t count);

/*
 * Appends transfers for sorted, disjoint intervals of one memory object, which begins at byte `base` of their allocation: equal
 * ones at equal distances as rows; with `gap`, neighbours in one piece where that costs less.
 */
pel_status pel_transfers_append(const pel_device *device, const pel_use *uses, uint32_t count, pel_mem *mem, uint64_t base,
                                pel_gap_fn gap, void *user, pel_transfer **list, uint32_t *list_count);

uint64_t pel_transfers_bytes(const pel_transfer *list, uint32_t count);

#endif
