/* SPDX-License-Identifier: BSD-3-Clause */
/* What allocation.c, buffer.c and residency.c share; users of memory/ include memory.h. All (L). */
#ifndef PEL_MEMORY_RESIDENCY_H
#define PEL_MEMORY_RESIDENCY_H

#include "memory/memory.h"

/* Whether some byte is valid at `place` and nowhere else; false for the host's memory, which is never dropped. */
bool pel_allocation_alone_at(const pel_allocation *allocation, uint32_t place);

/* Nothing is valid at `place` any more; bytes valid nowhere else become host bytes. Cannot fail. */
void pel_allocation_forget_place(pel_allocation *allocation, uint32_t place);

/* An allocation for host memory [base, base + bytes), listed in the runtime, without references. NULL: no memory. */
pel_allocation *pel_allocation_create(pel_runtime *runtime, unsigned char *base, uint64_t bytes, bool owned);

/* Takes an allocation off the runtime's list, so that no wrap finds it any more, and tells the dispatcher. */
void pel_allocation_unlist(pel_allocation *allocation);

/* The same for one whose bytes live on in another: what hazards know of them stays. */
void pel_allocation_delist(pel_allocation *allocation);

/* Unlists and frees whatever the reference count says. */
void pel_allocation_destroy(pel_allocation *allocation);

/* Nothing but buffers holds it: no command, no transfer, nobody waiting. */
bool pel_allocation_quiet(const pel_allocation *allocation);

/* Frees the device's memory object and its views; residency is the caller's. */
void pel_allocation_drop_mem(pel_allocation *allocation, pel_device *device);

#endif
