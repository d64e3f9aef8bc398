/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device list: its language (see pel/runtime.h), and which devices of a table it means. Pure functions of text and table.
 */
#ifndef PEL_TOPOLOGY_DEVICES_H
#define PEL_TOPOLOGY_DEVICES_H

#include "topology/keep.h"
#include "topology/topology.h"
#include <stdbool.h>

typedef enum pel_device_type { PEL_TYPE_HOST, PEL_TYPE_CPU, PEL_TYPE_GPU, PEL_TYPE_ACCELERATOR, PEL_TYPE_OTHER } pel_device_type;

#define PEL_NO_DEVICE_INDEX UINT32_MAX
#define PEL_STAGING_MOST (1ull << 28)

/* What selection must know about a device beside its public facts. Row i describes row i of the table. */
typedef struct pel_candidate {
    pel_device_type type;
    bool software;         /* an emulator: only when named */
    uint32_t driver_units; /* compute units as the driver counts them */
    const char *unusable;  /* why nobody can use it, or NULL */
    uint32_t same_as;      /* index of an earlier device that is this one seen through another platform, or PEL_NO_DEVICE_INDEX */
} pel_candidate;

/*
 * What "[memory=64M;allocation=16M;own;staging=1M;outside]" says behind an item: budgets below what the device has, that host
 * memory is not to be used in place, how large the pieces are in which bytes pass through pinned memory on their way there, and
 * that a process of its own drives the device.
 */
typedef struct pel_device_options {
    uint64_t memory, allocation; /* bytes; 0: all */
    uint64_t staging;            /* bytes; 0: as is good for the driver */
    bool own, outside;
} pel_device_options;

typedef struct pel_device_item {
    const char *text; /* within the list; not terminated; without '!' and '@...' */
    size_t length;
    bool negative;
    bool declared; /* has a core set */
    pel_core_set cores;
    pel_device_options options;
} pel_device_item;

typedef struct pel_device_list {
    const pel_allocator *allocator;
    char *text;
    const char *source; /* "the device list" or "PEL_DEVICES", for messages */
    pel_device_item *items;
    uint32_t count; /* 0: the default */
} pel_device_list;

/* text NULL: the default. INVALID_ARGUMENT names the malformed item. Free the list also after a failure. */
pel_status pel_device_list_parse(const char *text, const char *source, const pel_allocator *allocator, pel_device_list *list,
                                 pel_error **error);
void pel_device_list_free(pel_device_list *list);

/* Whether the list can mean anything but the host: if not, OpenCL is never touched. */
bool pel_device_list_wants_opencl(const pel_device_list *list);

/* The union of core sets declared for other devices than the host; false: none declared. */
bool pel_device_list_driver_cores(const pel_device_list *list, pel_core_set *cores);

/* One chosen device, in order of preference. A device may be chosen more than once, with core sets that are disjoint. */
typedef struct pel_device_choice {
    uint32_t device;
    bool declared;
    pel_core_set cores;
    pel_device_options options;
} pel_device_choice;

typedef struct pel_device_table {
    const pel_topology_device *devices;
    const pel_candidate *candidates;
    uint32_t count;
    const pel_core_set *budget_cores;
} pel_device_table;

/*
 * Applies a list to a table. *choices is the caller's (pel_free). Errors: NOT_FOUND (an item matches nothing; lists what there
 * is), CONFLICT (overlapping core sets, naming both), INVALID_ARGUMENT (cores outside the budget, a core set on a GPU, rings
 * that leave less than half of the memory), NO_DEVICE (nothing left).
 */
pel_status pel_device_list_select(const pel_device_list *list, const pel_device_table *table, pel_device_choice **choices,
                                  uint32_t *choice_count, pel_error **error);

/* Narrows a chosen device's facts. */
void pel_device_options_apply(const pel_device_options *options, pel_topology_device *device);

/* Why a device that was not chosen was not: static or kept text. */
const char *pel_device_list_why_not(const pel_device_list *list, const pel_device_table *table, uint32_t device, pel_keep *keep);

#endif
