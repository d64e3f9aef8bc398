/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Discovery: hwloc and OpenCL in, one immutable table of devices out.
 *
 * hwloc is loaded first, without its OpenCL component (it would start PoCL) and without I/O objects unless a device needs its
 * locality, restricted to the inherited binding. Budgets are the smallest of affinity, cpuset and cgroup quota. Signal
 * dispositions and HWLOC_PLUGINS_PATH are put back after the OpenCL loader has run. A CPU-type OpenCL device is the host CPU: its
 * cores are the budget's.
 */
#ifndef PEL_TOPOLOGY_TOPOLOGY_H
#define PEL_TOPOLOGY_TOPOLOGY_H

#include "base/alloc.h"
#include "base/log.h"
#include "topology/places.h"
#include <pel/device.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stdbool.h>

enum { PEL_STAGING_SLOTS = 8 }; /* of pinned memory, in both rings of a device: backend/opencl/staging.c */

/* One device of the table. Handles are void * so that only backend/opencl and topology know OpenCL's types. */
typedef struct pel_topology_device {
    pel_device_info info;        /* strings owned by the topology */
    bool selected;               /* by the device list */
    bool core_set_declared;      /* "@..." was given: bind to info.cores */
    const char *why_not;         /* not selected: why, in words; "" otherwise */
    void *cl_platform, *cl_device;
    void *cl_context;            /* adopted, else NULL */
    void *cl_queue;              /* adopted, with its context, else NULL */
    bool cl_sub_device;          /* cl_device was made by clCreateSubDevices: released with the topology */
    bool outside;                /* driven by a process of its own (backend/outside) */
    bool own_memory;             /* "[own]": host memory is not used in place, though it could be */
    /* "[staging=BYTES]": transfers go through pinned memory in such pieces, and info.memory_bytes is without the rings that hold
     * them; 0: where that is good for the driver */
    uint64_t staging_bytes;
    /* buffers made with USE_HOST_PTR are host memory, without any map or copy (PoCL's CPU devices) */
    bool host_coherent;
    double busy_watts, idle_watts; /* declared by a description; 0: not known */
    const pel_places *places;    /* of the processors, of the host; NULL: not known. Owned by the topology */
    uint32_t view_alignment;     /* a part of a buffer in its memory begins at a multiple of this many bytes; 0: anywhere */
    char cl_version[64];
} pel_topology_device;

typedef struct pel_topology {
    const pel_allocator *allocator;
    pel_topology_device *devices; /* all that were found; device 0 is always the host */
    uint32_t device_count;
    uint32_t *selection;          /* indices into devices, in the order of the device list */
    uint32_t selection_count;
    pel_core_set budget_cores;    /* cores that this process may use */
    uint32_t budget_count;        /* how many of them at once (quota) */
    pel_places *places;           /* NULL: hwloc knows nothing */
    uint64_t memory_available;    /* min(MemAvailable, memory cgroup) */
    bool opencl_present;          /* the ICD loader knows at least one platform */
    void *state;                  /* a pel_keep with the table's strings, within the block that begins with this structure */
} pel_topology;

typedef struct pel_topology_options {
    const pel_allocator *allocator;
    pel_logger *logger;
    const char *devices;          /* device list, or NULL: environment, default */
    void *hwloc_topology;         /* the caller's, or NULL */
    void *const *cl_contexts;     /* adopted cl_contexts */
    uint32_t cl_context_count;
    void *const *cl_queues;       /* adopted cl_command_queues */
    uint32_t cl_queue_count;
    bool probe;                   /* ask pel-probe in a child process first */
    const char *cache_directory;  /* where the probe's answer is remembered; NULL: not at all */
    bool ignore_opencl;
    const char *root;             /* before every /proc and /sys path: a recorded machine for tests; NULL: this machine */
} pel_topology_options;

pel_status pel_topology_discover(const pel_topology_options *options, pel_topology **topology, pel_error **error);
void pel_topology_destroy(pel_topology *topology);

#endif
