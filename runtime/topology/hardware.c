/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hwloc, kept small. Loaded with I/O objects it takes 48 ms instead of 4 and, with Debian's OpenCL plugin, starts PoCL inside the
 * caller's process; so I/O is left out, the components that would start drivers are blacklisted, and a GPU's NUMA node is read
 * from its sysfs file, which is all that hwloc's PCI scan would have told us. The x86 component is left out as well: it moves the
 * calling thread from core to core to ask each with cpuid, which costs 0.5 ms, and the thread is the caller's.
 * RESTRICT_TO_CPUBINDING because hwloc by itself ignores taskset. The caller's topology is taken as it is, never changed, never
 * destroyed; one that is not of this machine (XML, synthetic) describes a machine in its own right.
 */
#include "topology/hardware.h"
#include "topology/core_set.h"
#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static hwloc_topology_t load(void) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return NULL;
    static const char *const unwanted[] = {"opencl", "cuda", "nvml", "rsmi", "levelzero", "gl", "pci", "x86"};
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++) {
        /* Fails for a component that this hwloc does not have, which is as good. */
        (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, unwanted[i]);
    }
    unsigned long flags =
        HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING | HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING;
    if (hwloc_topology_set_flags(topology, flags) != 0 || hwloc_topology_load(topology) != 0) {
        hwloc_topology_destroy(topology);
        return NULL;
    }
    return topology;
}

void pel_hardware_open(pel_hardware *hardware, void *given) {
    hardware->topology = given ? given : load();
    hardware->owned = !given;
    hardware->this_system = !given || hwloc_topology_is_thissystem(given);
}

void pel_hardware_close(pel_hardware *hardware) {
    if (hardware->owned && hardware->topology)
        hwloc_topology_destroy(hardware->topology);
    hardware->topology = NULL;
}

static void set_from_bitmap(hwloc_const_bitmap_t bitmap, pel_core_set *cores) {
    memset(cores, 0, sizeof *cores);
    for (int core = hwloc_bitmap_first(bitmap); core >= 0 && core < PEL_CORE_LIMIT; core = hwloc_bitmap_next(bitmap, core)) {
        pel_core_set_add(cores, (uint32_t)core);
    }
}

bool pel_hardware_cores(const pel_hardware *hardware, pel_core_set *cores) {
    if (!hardware->topology)
        return false;
    hwloc_const_bitmap_t allowed = hwloc_topology_get_allowed_cpuset(hardware->topology);
    if (!allowed || hwloc_bitmap_weight(allowed) <= 0)
        return false;
    set_from_bitmap(allowed, cores);
    return true;
}

static const char *cpu_info(const pel_hardware *hardware, const char *key) {
    if (!hardware->topology)
        return "";
    const char *value = NULL;
    hwloc_obj_t package = hwloc_get_obj_by_type(hardware->topology, HWLOC_OBJ_PACKAGE, 0);
    if (package)
        value = hwloc_obj_get_info_by_name(package, key);
    if (!value)
        value = hwloc_obj_get_info_by_name(hwloc_get_root_obj(hardware->topology), key);
    return value ? value : "";
}

const char *pel_hardware_cpu_model(const pel_hardware *hardware) {
    return cpu_info(hardware, "CPUModel");
}
const char *pel_hardware_cpu_vendor(const pel_hardware *hardware) {
    return cpu_info(hardware, "CPUVendor");
}

int32_t pel_hardware_node_of_cores(const pel_hardware *hardware, const pel_core_set *cores) {
    if (!hardware->topology)
        return -1;
    for (hwloc_obj_t node = NULL; (node = hwloc_get_next_obj_by_type(hardware->topology, HWLOC_OBJ_NUMANODE, node));) {
        pel_core_set near;
        set_from_bitmap(node->cpuset, &near);
        if (pel_core_set_count(&near) > 0 && pel_core_set_within(cores, &near))
            return (int32_t)node->os_index;
    }
    return -1;
}

pel_status pel_hardware_places(const pel_hardware *hardware, const pel_allocator *allocator, pel_places **places) {
    static const hwloc_obj_type_t levels[PEL_PLACE_LEVELS] = {HWLOC_OBJ_CORE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE,
                                                              HWLOC_OBJ_NUMANODE, HWLOC_OBJ_PACKAGE};
    hwloc_topology_t topology = hardware->topology;
    *places = NULL;
    const int last = topology ? hwloc_bitmap_last(hwloc_topology_get_topology_cpuset(topology)) : -1;
    if (last < 0)
        return PEL_OK;
    const uint32_t count = last < PEL_CORE_LIMIT ? (uint32_t)last + 1 : PEL_CORE_LIMIT;
    pel_places *made = pel_alloc_zero(allocator, 1, sizeof *made + count * sizeof(pel_place));
    if (!made)
        return PEL_OUT_OF_MEMORY;
    made->count = count;
    for (int level = 0; level < PEL_PLACE_LEVELS; level++) {
        for (hwloc_obj_t part = NULL; (part = hwloc_get_next_obj_by_type(topology, levels[level], part));) {
            for (int core = hwloc_bitmap_first(part->cpuset); core >= 0 && core < (int)count;
                 core = hwloc_bitmap_next(part->cpuset, core)) {
                uint16_t *of = &made->at[core].of[level];
                /* of several nodes (fast and slow memory) the first */
                *of = *of != 0 ? *of : (uint16_t)(part->logical_index + 1);
            }
        }
    }
    *places = made;
    return PEL_OK;
}

static int32_t node_from_topology(const pel_hardware *hardware, const pel_pci_address *address) {
    hwloc_obj_t device =
        hwloc_get_pcidev_by_busid(hardware->topology, address->domain, address->bus, address->device, address->function);
    hwloc_obj_t near = device ? hwloc_get_non_io_ancestor_obj(hardware->topology, device) : NULL;
    if (!near || !near->nodeset || hwloc_bitmap_weight(near->nodeset) != 1)
        return -1;
    return (int32_t)hwloc_bitmap_first(near->nodeset);
}

static int32_t node_from_sysfs(const char *root, const pel_pci_address *address) {
    char path[PATH_MAX], text[32];
    int length =
        snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%04x:%02x:%02x.%x/numa_node", root, (unsigned)address->domain,
                 (unsigned)address->bus, (unsigned)address->device, (unsigned)address->function);
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    if (count <= 0)
        return -1;
    text[count] = '\0';
    char *end;
    errno = 0;
    long node = strtol(text, &end, 10);
    return errno == 0 && end > text && node >= 0 && node <= INT32_MAX ? (int32_t)node : -1;
}

int32_t pel_hardware_node_of_pci(const pel_hardware *hardware, const char *root, const pel_pci_address *address) {
    if (!address->known)
        return -1;
    int32_t node = hardware->topology ? node_from_topology(hardware, address) : -1;
    if (node < 0 && hardware->this_system)
        node = node_from_sysfs(root, address);
    return node;
}
