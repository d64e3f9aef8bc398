/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of hwloc that discovery needs: which processors there are, what they are called, and what is near to what. */
#ifndef PEL_TOPOLOGY_HARDWARE_H
#define PEL_TOPOLOGY_HARDWARE_H

#include "base/alloc.h"
#include "topology/places.h"
#include <pel/device.h>
#include <pel/status.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pel_hardware {
    void *topology; /* hwloc_topology_t; NULL: hwloc failed, nothing is known but affinity */
    bool owned;
    bool this_system; /* false: a recorded machine; affinity and cgroups of the real one do not apply */
} pel_hardware;

/* Where a PCI device sits. */
typedef struct pel_pci_address {
    bool known, domain_known;
    uint32_t domain, bus, device, function;
} pel_pci_address;

/* `given`: a loaded topology of the caller's to use, or NULL to load one. Never fails: see pel_hardware.topology. */
void pel_hardware_open(pel_hardware *hardware, void *given);
void pel_hardware_close(pel_hardware *hardware);

bool pel_hardware_cores(const pel_hardware *hardware, pel_core_set *cores); /* the processors allowed; false: unknown */
const char *pel_hardware_cpu_model(const pel_hardware *hardware);           /* "" unknown; belongs to the topology */
const char *pel_hardware_cpu_vendor(const pel_hardware *hardware);

/* The one NUMA node (operating-system number) that all of `cores` belong to; -1: several, or unknown. */
int32_t pel_hardware_node_of_cores(const pel_hardware *hardware, const pel_core_set *cores);

/* Where each processor is; *places belongs to the caller, NULL: unknown. OUT_OF_MEMORY or OK. */
pel_status pel_hardware_places(const pel_hardware *hardware, const pel_allocator *allocator, pel_places **places);

/* The NUMA node next to a PCI device; -1 unknown. sysfs below `root`, or the caller's topology where it has I/O objects. */
int32_t pel_hardware_node_of_pci(const pel_hardware *hardware, const char *root, const pel_pci_address *address);

#endif
