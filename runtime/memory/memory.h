/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers, allocations, and where each byte is valid.
 *
 * An allocation is a maximal range of host memory covered by overlapping buffers; it owns what devices hold of it. Residency
 * maps its bytes to sets of places (places.h). A byte is always valid somewhere. Functions marked
 * (L) need runtime->lock.
 *
 * Order between commands is not kept here but by hazards (queue/): residency says what is true once everything dispatched so
 * far is done.
 */
#ifndef PEL_MEMORY_MEMORY_H
#define PEL_MEMORY_MEMORY_H

#include "base/interval_map.h"
#include "core/runtime.h"
#include "memory/places.h"
#include <pel/buffer.h>

typedef struct pel_view { /* a mem_view for one (device, offset, bytes), kept with the allocation */
    struct pel_view *next;
    uint32_t device;
    uint64_t offset, bytes;
    pel_mem *mem;
} pel_view;

typedef struct pel_allocation {
    struct pel_allocation *next;   /* runtime->allocations */
    pel_runtime *runtime;
    uint64_t serial;               /* its own: addresses come again */
    unsigned char *base;
    uint64_t bytes;
    bool owned;                    /* memory of ours: of the source, else pages */
    bool sensitive;                /* zeroed before it is released, wherever it is; stays so (L) */
    pel_memory_source source;      /* release NULL: pages */
    uint32_t wraps;                /* buffers of pel_buffer_wrap, also those inside pages of ours (L) */
    uint32_t references;           /* buffers + commands (L) */
    /* unfinished commands that use it, those apart that only the hazards know: see busy below (L) */
    uint32_t commands;
    bool away;                     /* some of it may have been, or may be soon, in a device's own memory only (L) */
    uint32_t fetching;             /* transfers to the host under way (L) */
    uint64_t kept;                 /* devices (pel_device_bit) whose copy is never given up: it is the caller's object (L) */
    uint64_t stays, leaves;        /* devices (pel_device_bit) whose copy goes last, and first: the caller's advice (L) */
    pel_interval_map *residency;   /* (L) offsets -> set of places */
    pel_mem **mems;                /* per device, NULL until used (L) */
    uint32_t *pins;                /* per device: commands that need the copy there (L) */
    uint64_t *used;                /* per device: when it was pinned last, by pel_device.uses (L) */
    pel_view *views;               /* (L) */
    struct pel_buffer *buffers;    /* (L) list through buffer->next, for merging */
} pel_allocation;

struct pel_buffer {
    struct pel_buffer *next;
    pel_runtime *runtime;
    pel_allocation *allocation;    /* changes when wraps merge (L) */
    uint64_t offset, bytes;        /* within the allocation (L) */
    unsigned char *data;           /* its host memory; never changes */
    bool wrapped;                  /* the caller may look at it after pel_queue_finish */
    atomic_bool away;              /* the allocation's; changes under the lock and that of the hazards */
    pel_buffer_counters counters;  /* (L) */
    void (*let_go)(void *user);    /* adopted host memory goes back; else NULL */
    void *user;
};

/* (L) Commands hold their allocations; the last release frees it and its device memory. */
void pel_allocation_retain(pel_allocation *allocation);
void pel_allocation_release(pel_allocation *allocation);

/* (L) Zeroes sensitive contents in the device's own memory before it is released; a failure is logged. Where it is host
 * memory, that is wiped instead. */
void pel_device_wipe(pel_device *device, pel_mem *mem);
bool pel_buffer_is_sensitive(const pel_buffer *buffer); /* takes the lock */

/*
 * (L) The device's memory object for the whole allocation (made on first use; DEVICE_MEMORY, TOO_LARGE), and a view of a part
 * of it. For the host device: NULL, OK.
 */
pel_status pel_allocation_mem(pel_allocation *allocation, pel_device *device, pel_mem **mem, pel_error **error);
pel_status pel_allocation_view(pel_allocation *allocation, pel_device *device, uint64_t offset, uint64_t bytes, pel_mem **view,
                               pel_error **error);

/*
 * evict.c (L): room in a device's memory. reserve: so many bytes more are in use, copies that nobody needs there go for them;
 * DEVICE_MEMORY with the numbers. held: what would stay in use then.
 */
pel_status pel_device_reserve(pel_device *device, uint64_t bytes, pel_error **error);
void pel_device_unreserve(pel_device *device, uint64_t bytes);
uint64_t pel_device_held_bytes(const pel_device *device);
/* (L) A pinned copy is never given up. may_leave: there is one and nobody has pinned it. leave: gives it up; nothing must be
 * valid there alone. */
void pel_allocation_pin(pel_allocation *allocation, const pel_device *device);
void pel_allocation_unpin(pel_allocation *allocation, const pel_device *device);
bool pel_allocation_may_leave(const pel_allocation *allocation, const pel_device *device);
void pel_allocation_leave(pel_allocation *allocation, pel_device *device);
/* (L) the lower, the sooner its copy goes, whatever else is known */
int pel_allocation_rank(const pel_allocation *allocation, const pel_device *device);

/* (L) Parts of [lo, hi) not valid at `place` (0: host; device->place). visit gets the places where they are valid. */
void pel_allocation_missing(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi,
                            bool (*visit)(void *user, uint64_t lo, uint64_t hi, pel_place_set places), void *user);
uint64_t pel_allocation_missing_bytes(const pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi);

/* (L) all of it in host memory, and nowhere else */
bool pel_allocation_at_home(const pel_allocation *allocation, uint64_t lo, uint64_t hi);

/* (L) After a copy: [lo, hi) is valid at `place` too. After a write: valid there only. */
pel_status pel_allocation_copied(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi);
pel_status pel_allocation_written(pel_allocation *allocation, uint32_t place, uint64_t lo, uint64_t hi);

/* (L) Its bytes may be in a device's own memory from now on. */
void pel_allocation_leave_home(pel_allocation *allocation);

/* (L) Drops what a lost device holds; bytes valid nowhere else become host bytes. */
void pel_allocation_forget_device(pel_allocation *allocation, pel_device *device);

/*
 * Hooks into queue/ (a higher floor), set when the dispatcher is made: memory cannot wait for commands by itself. sync and idle
 * are called without the lock. sync: waits for writers of [offset, offset + bytes) and makes the host copy current. idle: waits
 * until no unfinished command uses the allocation.
 */
typedef struct pel_memory_hooks {
    pel_status (*sync)(pel_runtime *runtime, pel_allocation *allocation, uint64_t offset, uint64_t bytes);
    pel_status (*idle)(pel_runtime *runtime, pel_allocation *allocation);
    /* (L) called just before an allocation is freed: its addresses may be reused */
    void (*gone)(pel_runtime *runtime, const pel_allocation *allocation);
    /* (L) whether a task is under way that uses these bytes */
    bool (*busy)(pel_runtime *runtime, const pel_allocation *allocation, uint64_t offset, uint64_t bytes);
    /* without the lock: holds the allocation until the tasks that use it are over. OUT_OF_MEMORY */
    pel_status (*hold)(pel_runtime *runtime, pel_allocation *allocation);
} pel_memory_hooks;
const pel_memory_hooks *pel_memory_hooks_get(const pel_runtime *runtime); /* in queue/; NULL while there is no dispatcher */

#endif
