/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenCL's share of discovery. In a build without OpenCL these find nothing. */
#ifndef PEL_TOPOLOGY_OPENCL_H
#define PEL_TOPOLOGY_OPENCL_H

#include "topology/rows.h"

/*
 * Adds a row for every device of every platform: trustworthy ones first, in the loader's order, then emulators; ids "opencl:N" in
 * that order. driver_cores not NULL: the calls are made by a thread bound to these cores, so that a CPU driver's threads inherit
 * them. Failures of a driver cost its devices, not the call; errors are OUT_OF_MEMORY and a failing thread creation only.
 */
pel_status pel_opencl_scan(pel_device_rows *table, const pel_core_set *driver_cores, pel_error **error);

/* Enters the caller's contexts in the rows of their devices, retained. INVALID_ARGUMENT: a context of a device that is not in the
 * table. */
pel_status pel_opencl_adopt(pel_device_rows *table, void *const *contexts, uint32_t count, pel_error **error);
/* After the contexts: one queue a device, which brings its context along. */
pel_status pel_opencl_adopt_queues(pel_device_rows *table, void *const *queues, uint32_t count, pel_error **error);

/*
 * Gives the rows the parts of one CPU device: rows[i] gets a sub-device of units[i] compute units, all made by one call because
 * separate calls may give the same units. DEVICE_FAILED: the driver cannot; rows are as before.
 */
pel_status pel_opencl_split(pel_device_rows *table, const uint32_t *rows, const uint32_t *units, uint32_t count,
                            pel_error **error);

bool pel_opencl_built(void); /* whether this build has OpenCL */

/* Releases what a row owns. */
void pel_opencl_release(pel_topology_device *device);

#endif
