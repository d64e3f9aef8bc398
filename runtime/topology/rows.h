/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of devices while discovery builds it. */
#ifndef PEL_TOPOLOGY_ROWS_H
#define PEL_TOPOLOGY_ROWS_H

#include "topology/budget.h"
#include "topology/devices.h"
#include "topology/hardware.h"
#include "topology/keep.h"
#include "topology/topology.h"

typedef struct pel_device_rows {
    const pel_allocator *allocator;
    pel_logger *logger;
    const char *root; /* "" or a recorded tree, before /proc and /sys */
    pel_keep keep;    /* owns every string of the rows */
    pel_hardware hardware;
    pel_budget budget;
    pel_topology_device *devices;
    pel_candidate *candidates; /* row by row beside devices */
    uint32_t count, capacity;
    bool opencl_present;
    const char *vendors; /* where the ICD loader shall look instead (the probe excluded a driver); NULL: as it is */
} pel_device_rows;

void pel_rows_init(pel_device_rows *table, const pel_allocator *allocator, pel_logger *logger, const char *root);
void pel_rows_free(pel_device_rows *table); /* releases sub-devices and contexts too */

/* A zeroed row at the end with empty strings, numa_node -1 and same_as none; its index is count - 1. */
pel_status pel_rows_add(pel_device_rows *table, pel_error **error);

#endif
