/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks every OpenCL platform for its devices, inside a guard because drivers start themselves here, and believes them as little
 * as possible: a CPU device's cores, compute units and memory come from the budget, not from the driver, which counts the cores
 * of the machine; emulators are told by name; identity comes from PCI or UUID, because two equal cards have equal names and one
 * card may be shown by two platforms. The invariant: a driver that fails costs its own devices only. Rejected: hwloc's OpenCL
 * objects (the plugin starts drivers unguarded and skips CPU devices), and setting POCL_* variables to shrink its pool (the
 * environment is the caller's).
 */
#include "topology/opencl.h"
#include "base/error.h"

#ifdef PEL_HAVE_OPENCL

#include "base/alloc.h"
#include "base/text.h"
#include "topology/core_set.h"
#include "topology/guard.h"
#include <dirent.h>
#include <pel/opencl.h>
#include <CL/cl_ext.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STRICTEST_ALIGNMENT                                                                                                      \
    128u /* bytes, for devices that do not tell: the size of long16, the largest minimum of the specification */

/* Values of the Khronos registry and of the vendors' headers, which older header packages lack. */
enum {
    DEVICE_PCI_BUS_INFO_KHR = 0x410F,
    DEVICE_UUID_KHR = 0x106A,
    DEVICE_TOPOLOGY_AMD = 0x4037,
    DEVICE_PCI_BUS_ID_NV = 0x4008,
    DEVICE_PCI_SLOT_ID_NV = 0x4009,
    DEVICE_PCI_DOMAIN_ID_NV = 0x400A,
    PLATFORM_NOT_FOUND_KHR = -1001
};

enum { MOST_PLATFORMS = 64, MOST_DEVICES = 1024 };

static const char *device_text(pel_device_rows *table, cl_device_id device, cl_device_info what) {
    char text[1024];
    size_t bytes = 0;
    if (clGetDeviceInfo(device, what, sizeof text, text, &bytes) != CL_SUCCESS || bytes == 0 || bytes > sizeof text)
        return "";
    text[bytes - 1] = '\0';
    const char *first = text + strspn(text, " ");
    size_t length = strlen(first);
    while (length > 0 && first[length - 1] == ' ')
        length--;
    return pel_keep_bytes(&table->keep, first, length);
}

static const char *platform_text(pel_device_rows *table, cl_platform_id platform, cl_platform_info what) {
    char text[1024];
    size_t bytes = 0;
    if (clGetPlatformInfo(platform, what, sizeof text, text, &bytes) != CL_SUCCESS || bytes == 0 || bytes > sizeof text)
        return "";
    return pel_keep_bytes(&table->keep, text, strnlen(text, bytes));
}

static uint64_t device_number(cl_device_id device, cl_device_info what) {
    union {
        cl_uint small;
        cl_ulong large;
    } value;
    size_t bytes = 0;
    memset(&value, 0, sizeof value);
    if (clGetDeviceInfo(device, what, sizeof value, &value, &bytes) != CL_SUCCESS)
        return 0;
    return bytes == sizeof value.small ? value.small : bytes == sizeof value.large ? value.large : 0;
}

/* PCI address by KHR, then AMD, then NVIDIA. */
static pel_pci_address device_pci(cl_device_id device) {
    pel_pci_address pci = {0};
    struct {
        cl_uint domain, bus, device, function;
    } khr;
    unsigned char amd[24];
    size_t bytes = 0;
    if (clGetDeviceInfo(device, DEVICE_PCI_BUS_INFO_KHR, sizeof khr, &khr, &bytes) == CL_SUCCESS && bytes == sizeof khr) {
        pci = (pel_pci_address){true, true, khr.domain, khr.bus, khr.device, khr.function};
        return pci;
    }
    if (clGetDeviceInfo(device, DEVICE_TOPOLOGY_AMD, sizeof amd, amd, &bytes) == CL_SUCCESS && bytes == sizeof amd) {
        cl_uint type;
        memcpy(&type, amd, sizeof type);
        if (type == 1)
            return (pel_pci_address){true, false, 0, amd[21], amd[22], amd[23]};
    }
    cl_uint bus, slot, domain = 0;
    if (clGetDeviceInfo(device, DEVICE_PCI_BUS_ID_NV, sizeof bus, &bus, NULL) == CL_SUCCESS &&
        clGetDeviceInfo(device, DEVICE_PCI_SLOT_ID_NV, sizeof slot, &slot, NULL) == CL_SUCCESS) {
        bool known = clGetDeviceInfo(device, DEVICE_PCI_DOMAIN_ID_NV, sizeof domain, &domain, NULL) == CL_SUCCESS;
        pci = (pel_pci_address){true, known, known ? domain : 0, bus, slot >> 3, slot & 7};
    }
    return pci;
}

static const char *device_uuid(pel_device_rows *table, cl_device_id device) {
    unsigned char uuid[16];
    char text[33];
    size_t bytes = 0;
    if (clGetDeviceInfo(device, DEVICE_UUID_KHR, sizeof uuid, uuid, &bytes) != CL_SUCCESS || bytes != sizeof uuid)
        return NULL;
    bool zero = true;
    for (size_t i = 0; i < sizeof uuid; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", uuid[i]);
        zero = zero && uuid[i] == 0;
    }
    return zero ? NULL : pel_keep_format(&table->keep, "uuid:%s", text);
}

/* Whether an earlier device of this platform has that identity: then it does not identify. */
static bool identity_taken(const pel_device_rows *table, uint32_t row, const char *identity) {
    for (uint32_t i = 0; i < row; i++) {
        if (table->devices[i].cl_platform == table->devices[row].cl_platform &&
            strcmp(table->devices[i].info.identity, identity) == 0) {
            return true;
        }
    }
    return false;
}

/* PCI, UUID, name: the first that no earlier device of the platform has. MIG parts of a card share its PCI address, for example.
 */
static void identify(pel_device_rows *table, uint32_t row, const pel_pci_address *pci) {
    pel_topology_device *device = &table->devices[row];
    bool is_cpu = table->candidates[row].type == PEL_TYPE_CPU;
    const char *by_uuid = is_cpu ? NULL : device_uuid(table, device->cl_device);
    if (pci->known && (pci->domain_known || !by_uuid)) {
        const char *by_pci = pel_keep_format(&table->keep, "pci:%04x:%02x:%02x.%x", (unsigned)pci->domain, (unsigned)pci->bus,
                                             (unsigned)pci->device, (unsigned)pci->function);
        if (!identity_taken(table, row, by_pci)) {
            device->info.identity = by_pci;
            return;
        }
    }
    if (by_uuid && !identity_taken(table, row, by_uuid)) {
        device->info.identity = by_uuid;
        return;
    }
    const char *by_name = pel_keep_format(&table->keep, "name:%s/%s", device->info.platform, device->info.name);
    for (unsigned copy = 1; identity_taken(table, row, by_name) && !table->keep.failed; copy++) {
        by_name = pel_keep_format(&table->keep, "name:%s/%s#%u", device->info.platform, device->info.name, copy);
    }
    device->info.identity = by_name;
}

static bool has_word(const char *text, const char *word) {
    return strcasestr(text, word) != NULL;
}

static bool is_emulator(const pel_device_info *info) {
    static const char *const names[] = {"llvmpipe", "softpipe", "swrast", "lavapipe", "oclgrind"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (has_word(info->name, names[i]) || has_word(info->platform, names[i]))
            return true;
    }
    return false;
}

static const char *unusable_reason(pel_device_rows *table, cl_device_id device, const pel_topology_device *facts,
                                   cl_device_type type) {
    unsigned major = 0, minor = 0;
    if ((type & (CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR)) == 0) {
        return "a custom device: it does not run OpenCL C";
    }
    if (!device_number(device, CL_DEVICE_AVAILABLE))
        return "its driver says that it is not available";
    if (!device_number(device, CL_DEVICE_COMPILER_AVAILABLE))
        return "its driver has no compiler";
    if (!device_number(device, CL_DEVICE_ENDIAN_LITTLE))
        return "its byte order is not the host's";
    if (sscanf(facts->cl_version, "OpenCL %u.%u", &major, &minor) != 2 || major < 1 || (major == 1 && minor < 2)) {
        return pel_keep_format(&table->keep, "its version is %s; 1.2 is needed", facts->cl_version);
    }
    return NULL;
}

/* What a device that runs on the host's cores may use is the budget's to say. */
static void budget_cpu(const pel_device_rows *table, pel_topology_device *device) {
    pel_device_info *info = &device->info;
    info->cores = table->budget.cores;
    if (info->compute_units > table->budget.usable)
        info->compute_units = table->budget.usable;
    info->cores_count = info->compute_units;
    info->numa_node = pel_hardware_node_of_cores(&table->hardware, &info->cores);
    info->memory_bytes = table->budget.memory_available;
    if (info->max_allocation_bytes > info->memory_bytes)
        info->max_allocation_bytes = info->memory_bytes;
    info->shares_host_memory = 1;
}

static void classify(pel_device_rows *table, uint32_t row, cl_device_type type) {
    pel_topology_device *device = &table->devices[row];
    pel_candidate *candidate = &table->candidates[row];
    candidate->type = type & CL_DEVICE_TYPE_CPU           ? PEL_TYPE_CPU
                      : type & CL_DEVICE_TYPE_GPU         ? PEL_TYPE_GPU
                      : type & CL_DEVICE_TYPE_ACCELERATOR ? PEL_TYPE_ACCELERATOR
                                                          : PEL_TYPE_OTHER;
    candidate->software = is_emulator(&device->info);
    if (candidate->software) {
        device->info.device_class = PEL_CLASS_SOFTWARE;
    } else if (candidate->type == PEL_TYPE_CPU) {
        device->info.device_class = PEL_CLASS_HOST_CPU;
    } else {
        bool unified = device_number(device->cl_device, CL_DEVICE_HOST_UNIFIED_MEMORY) != 0;
        device->info.device_class = unified ? PEL_CLASS_INTEGRATED : PEL_CLASS_DISCRETE;
    }
    device->host_coherent =
        candidate->type == PEL_TYPE_CPU && !candidate->software && has_word(device->info.platform, "Portable Computing Language");
}

static void describe(pel_device_rows *table, uint32_t row, const pel_topology_device *platform, cl_device_id id) {
    pel_topology_device *device = &table->devices[row];
    pel_device_info *info = &device->info;
    device->cl_platform = platform->cl_platform;
    device->cl_device = id;
    info->platform = platform->info.platform;
    info->kind = PEL_DEVICE_OPENCL;
    info->name = device_text(table, id, CL_DEVICE_NAME);
    info->vendor = device_text(table, id, CL_DEVICE_VENDOR);
    info->driver = device_text(table, id, CL_DRIVER_VERSION);
    (void)snprintf(device->cl_version, sizeof device->cl_version, "%s", device_text(table, id, CL_DEVICE_VERSION));
    cl_device_type type = device_number(id, CL_DEVICE_TYPE);
    classify(table, row, type);
    table->candidates[row].unusable = unusable_reason(table, id, device, type);
    info->compute_units = table->candidates[row].driver_units = (uint32_t)device_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->memory_bytes = device_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_allocation_bytes = device_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->max_work_group = device_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->local_memory_bytes = device_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->address_bits = (uint32_t)device_number(id, CL_DEVICE_ADDRESS_BITS);
    uint64_t alignment_bits = device_number(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN);
    device->view_alignment = alignment_bits >= 8 ? (uint32_t)(alignment_bits / 8) : STRICTEST_ALIGNMENT;
    info->supports_double = device_number(id, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
    pel_pci_address pci = {0};
    if (info->device_class == PEL_CLASS_HOST_CPU || info->device_class == PEL_CLASS_SOFTWARE) {
        budget_cpu(table, device);
    } else {
        pci = device_pci(id);
        info->numa_node = pel_hardware_node_of_pci(&table->hardware, table->root, &pci);
        info->shares_host_memory = info->device_class == PEL_CLASS_INTEGRATED;
        if (info->shares_host_memory && info->memory_bytes > table->budget.memory_available)
            info->memory_bytes = table->budget.memory_available;
    }
    identify(table, row, &pci);
}

static pel_status scan_platform(pel_device_rows *table, cl_platform_id platform, pel_error **error) {
    cl_uint count = 0;
    pel_topology_device shared = {.cl_platform = platform};
    shared.info.platform = platform_text(table, platform, CL_PLATFORM_NAME);
    cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
    if (code != CL_SUCCESS || count == 0) {
        pel_log(table->logger, PEL_LOG_INFO, "OpenCL platform \"%s\" has no device (clGetDeviceIDs: %d)", shared.info.platform,
                (int)code);
        return PEL_OK;
    }
    if (count > MOST_DEVICES)
        count = MOST_DEVICES;
    cl_device_id *ids = pel_alloc_zero(table->allocator, count, sizeof *ids);
    if (!ids)
        return pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for %u devices", (unsigned)count);
    pel_status status = PEL_OK;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids, NULL) != CL_SUCCESS)
        count = 0;
    for (cl_uint i = 0; i < count && !status; i++) {
        status = pel_rows_add(table, error);
        if (!status)
            describe(table, table->count - 1, &shared, ids[i]);
    }
    pel_free(table->allocator, ids);
    return status;
}

/* Emulators behind the others, so that "opencl:0" keeps its meaning when one is switched on; then ids and doubles. */
static pel_status order_rows(pel_device_rows *table, uint32_t first, pel_error **error) {
    uint32_t count = table->count - first, at = 0;
    if (count == 0)
        return PEL_OK;
    pel_topology_device *devices = pel_alloc_zero(table->allocator, count, sizeof *devices);
    pel_candidate *candidates = pel_alloc_zero(table->allocator, count, sizeof *candidates);
    if (!devices || !candidates) {
        pel_free(table->allocator, devices);
        pel_free(table->allocator, candidates);
        return pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to order %u devices", (unsigned)count);
    }
    for (int software = 0; software <= 1; software++) {
        for (uint32_t i = first; i < table->count; i++) {
            if (table->candidates[i].software != (software == 1))
                continue;
            devices[at] = table->devices[i];
            candidates[at++] = table->candidates[i];
        }
    }
    memcpy(table->devices + first, devices, count * sizeof *devices);
    memcpy(table->candidates + first, candidates, count * sizeof *candidates);
    pel_free(table->allocator, devices);
    pel_free(table->allocator, candidates);
    for (uint32_t i = first; i < table->count; i++) {
        pel_topology_device *device = &table->devices[i];
        device->info.id = pel_keep_format(&table->keep, "opencl:%u", (unsigned)(i - first));
        if (strncmp(device->info.identity, "name:", 5) == 0)
            continue;
        for (uint32_t j = first; j < i && table->candidates[i].same_as == PEL_NO_DEVICE_INDEX; j++) {
            bool other_platform = table->devices[j].cl_platform != device->cl_platform;
            if (other_platform && !table->candidates[j].unusable &&
                strcmp(table->devices[j].info.identity, device->info.identity) == 0) {
                table->candidates[i].same_as = j;
            }
        }
    }
    return PEL_OK;
}

static pel_status scan_platforms(pel_device_rows *table, pel_error **error) {
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_uint count = 0;
    uint32_t first = table->count;
    cl_int code = clGetPlatformIDs(MOST_PLATFORMS, platforms, &count);
    if (code != CL_SUCCESS || count == 0) {
        pel_log(table->logger, code == PLATFORM_NOT_FOUND_KHR ? PEL_LOG_INFO : PEL_LOG_WARNING,
                "no OpenCL platform (clGetPlatformIDs: %d)", (int)code);
        return PEL_OK;
    }
    if (count > MOST_PLATFORMS)
        count = MOST_PLATFORMS;
    table->opencl_present = true;
    for (cl_uint i = 0; i < count; i++) {
        pel_status status = scan_platform(table, platforms[i], error);
        if (status)
            return status;
    }
    pel_status status = order_rows(table, first, error);
    if (!status && table->keep.failed)
        status = pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the names of devices");
    return status;
}

typedef struct scan_job {
    pel_device_rows *table;
    const pel_core_set *cores;
    pel_error **error;
    pel_status status;
} scan_job;

static unsigned thread_count(void) {
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks)
        return 0;
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

static void *scan_bound(void *argument) {
    scan_job *job = argument;
    stack_t signal_stack; /* LLVM gives the thread another one; it must not outlive this */
    (void)sigaltstack(NULL, &signal_stack);
    if (syscall(SYS_sched_setaffinity, 0, sizeof job->cores->bits, job->cores->bits) != 0) {
        pel_log(job->table->logger, PEL_LOG_WARNING, "cannot bind the OpenCL driver to its declared cores: error %d", errno);
    }
    unsigned before = thread_count();
    job->status = scan_platforms(job->table, job->error);
    const char *affinity = getenv("POCL_AFFINITY");
    if (affinity && strcmp(affinity, "1") == 0) {
        pel_log(job->table->logger, PEL_LOG_WARNING,
                "POCL_AFFINITY=1 overrides the core set that was declared for PoCL's device");
    } else if (before > 0 && thread_count() <= before) {
        pel_log(
            job->table->logger, PEL_LOG_WARNING,
            "the OpenCL driver was running before: its threads keep the cores they had, not those declared in the device list");
    }
    (void)sigaltstack(&signal_stack, NULL);
    return NULL;
}

/* In a thread of our own, whose binding the driver's pool inherits; the caller's thread keeps its own. */
static pel_status scan_in_thread(pel_device_rows *table, const pel_core_set *cores, pel_error **error) {
    scan_job job = {.table = table, .cores = cores, .error = error, .status = PEL_OK};
    pthread_t thread;
    int code = pthread_create(&thread, NULL, scan_bound, &job);
    if (code != 0) {
        return pel_fail(error, table->allocator, code == EAGAIN ? PEL_OUT_OF_MEMORY : PEL_IO,
                        &(pel_story){.call = "pthread_create", .code = code},
                        "cannot start the thread that finds OpenCL devices");
    }
    pthread_join(thread, NULL);
    return job.status;
}

pel_status pel_opencl_scan(pel_device_rows *table, const pel_core_set *driver_cores, pel_error **error) {
    pel_guard guard;
    pel_status status = pel_guard_enter(&guard, table->allocator);
    if (status)
        return pel_fail(error, table->allocator, status, NULL, "no memory to remember the environment");
    if (table->vendors && setenv("OCL_ICD_VENDORS", table->vendors, 1) != 0) {
        status = pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to leave out a broken OpenCL driver");
    } else if (driver_cores) {
        status = scan_in_thread(table, driver_cores, error);
    } else {
        status = scan_platforms(table, error);
    }
    pel_guard_leave(&guard);
    if (guard.took_sigfpe)
        pel_log(table->logger, PEL_LOG_DEBUG, "an OpenCL driver handles SIGFPE from now on");
    return status;
}

static pel_status adopt_one(pel_device_rows *table, cl_context context, uint32_t number, pel_error **error) {
    cl_device_id devices[MOST_PLATFORMS];
    size_t bytes = 0;
    cl_int code = clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof devices, devices, &bytes);
    if (code != CL_SUCCESS) {
        return pel_fail(error, table->allocator, PEL_INVALID_ARGUMENT, &(pel_story){.call = "clGetContextInfo", .code = code},
                        "adopted context %u does not answer", (unsigned)number);
    }
    for (size_t i = 0; i < bytes / sizeof *devices; i++) {
        bool known = false;
        for (uint32_t row = 0; row < table->count; row++) {
            if (table->devices[row].cl_device != devices[i])
                continue;
            known = true;
            if (table->devices[row].cl_context)
                continue;
            code = clRetainContext(context);
            if (code != CL_SUCCESS) {
                return pel_fail(error, table->allocator, PEL_INVALID_ARGUMENT,
                                &(pel_story){.call = "clRetainContext", .code = code}, "adopted context %u cannot be retained",
                                (unsigned)number);
            }
            table->devices[row].cl_context = context;
        }
        if (!known) {
            return pel_fail(error, table->allocator, PEL_INVALID_ARGUMENT,
                            &(pel_story){.advice = "adopt contexts of root devices that clGetDeviceIDs lists"},
                            "adopted context %u has a device that the OpenCL loader does not list", (unsigned)number);
        }
    }
    return PEL_OK;
}

pel_status pel_opencl_adopt(pel_device_rows *table, void *const *contexts, uint32_t count, pel_error **error) {
    for (uint32_t i = 0; i < count; i++) {
        if (!contexts[i])
            return pel_fail(error, table->allocator, PEL_INVALID_ARGUMENT, NULL, "adopted context %u is NULL", (unsigned)i);
        pel_status status = adopt_one(table, contexts[i], i, error);
        if (status)
            return status;
    }
    return PEL_OK;
}

static pel_status refuse_queue(const pel_device_rows *table, uint32_t number, const char *call, cl_int code, const char *why,
                               const char *advice, pel_error **error) {
    return pel_fail(error, table->allocator, PEL_INVALID_ARGUMENT, &(pel_story){.call = call, .code = code, .advice = advice},
                    "adopted queue %u %s", (unsigned)number, why);
}

/* Works rely on the order of their queue. */
static pel_status adopt_queue(pel_device_rows *table, cl_command_queue queue, uint32_t number, pel_error **error) {
    cl_context context = NULL;
    cl_device_id id = NULL;
    cl_command_queue_properties properties = 0;
    pel_topology_device *device = NULL;
    cl_int code = clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(cl_context), &context, NULL);
    code = code ? code : clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(cl_device_id), &id, NULL);
    code = code ? code : clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (code != CL_SUCCESS)
        return refuse_queue(table, number, "clGetCommandQueueInfo", code, "does not answer", "", error);
    if (properties & (CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_ON_DEVICE))
        return refuse_queue(table, number, NULL, 0, "is not an in-order queue of the host", "adopt an in-order queue", error);
    for (uint32_t row = 0; row < table->count; row++) {
        if (table->devices[row].cl_device == id)
            device = &table->devices[row];
    }
    if (!device)
        return refuse_queue(table, number, NULL, 0, "is of a device that the OpenCL loader does not list",
                            "adopt queues of root devices", error);
    if (device->cl_queue || (device->cl_context && device->cl_context != context))
        return refuse_queue(table, number, NULL, 0, "is of a device whose queue or context is another adopted one",
                            "adopt one for each device", error);
    code = device->cl_context ? CL_SUCCESS : clRetainContext(context);
    if (code != CL_SUCCESS)
        return refuse_queue(table, number, "clRetainContext", code, "has a context that cannot be retained", "", error);
    device->cl_context = context;
    code = clRetainCommandQueue(queue);
    if (code != CL_SUCCESS)
        return refuse_queue(table, number, "clRetainCommandQueue", code, "cannot be retained", "", error);
    device->cl_queue = queue;
    return PEL_OK;
}

pel_status pel_opencl_adopt_queues(pel_device_rows *table, void *const *queues, uint32_t count, pel_error **error) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < count && !status; i++)
        status = adopt_queue(table, queues[i], i, error);
    return status;
}

pel_status pel_opencl_split(pel_device_rows *table, const uint32_t *rows, const uint32_t *units, uint32_t count,
                            pel_error **error) {
    const pel_allocator *allocator = table->allocator;
    pel_topology_device *first = &table->devices[rows[0]];
    cl_device_partition_property *properties = pel_alloc_zero(allocator, (size_t)count + 3, sizeof *properties);
    cl_device_id *parts = pel_alloc_zero(allocator, count, sizeof *parts);
    pel_status status = PEL_OK;
    if (!properties || !parts) {
        status = pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to split %s", first->info.id);
    } else {
        properties[0] = CL_DEVICE_PARTITION_BY_COUNTS;
        for (uint32_t i = 0; i < count; i++)
            properties[1 + i] = (cl_device_partition_property)units[i];
        properties[1 + count] = CL_DEVICE_PARTITION_BY_COUNTS_LIST_END;
        cl_uint made = 0;
        /* Asked before, because Mesa 22.3 has no such function behind the loader's: a call of it is a jump to nowhere. */
        bool possible = device_number(first->cl_device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES) >= count;
        cl_int code =
            possible ? clCreateSubDevices(first->cl_device, properties, count, parts, &made) : CL_DEVICE_PARTITION_FAILED;
        if (code == CL_SUCCESS && made != count) {
            for (cl_uint i = 0; i < made && i < count; i++)
                clReleaseDevice(parts[i]);
            code = CL_DEVICE_PARTITION_FAILED;
        }
        if (code != CL_SUCCESS) {
            status = pel_fail(error, allocator, PEL_DEVICE_FAILED,
                              &(pel_story){.device = first->info.id, .call = "clCreateSubDevices", .code = code},
                              "%s cannot be limited to a part of its %u compute units", first->info.id,
                              (unsigned)device_number(first->cl_device, CL_DEVICE_MAX_COMPUTE_UNITS));
        }
    }
    for (uint32_t i = 0; !status && i < count; i++) {
        table->devices[rows[i]].cl_device = parts[i];
        table->devices[rows[i]].cl_sub_device = true;
    }
    pel_free(allocator, properties);
    pel_free(allocator, parts);
    return status;
}

void pel_opencl_release(pel_topology_device *device) {
    if (device->cl_queue)
        clReleaseCommandQueue(device->cl_queue);
    if (device->cl_context)
        clReleaseContext(device->cl_context);
    if (device->cl_sub_device)
        clReleaseDevice(device->cl_device);
    device->cl_context = device->cl_queue = NULL;
    device->cl_sub_device = false;
}

bool pel_opencl_built(void) {
    return true;
}

#else

bool pel_opencl_built(void) {
    return false;
}

pel_status pel_opencl_scan(pel_device_rows *table, const pel_core_set *driver_cores, pel_error **error) {
    (void)table, (void)driver_cores, (void)error;
    return PEL_OK;
}

pel_status pel_opencl_adopt(pel_device_rows *table, void *const *contexts, uint32_t count, pel_error **error) {
    (void)contexts;
    if (count == 0)
        return PEL_OK;
    return pel_fail(error, table->allocator, PEL_UNSUPPORTED, NULL, "this build has no OpenCL: it cannot adopt contexts");
}

pel_status pel_opencl_adopt_queues(pel_device_rows *table, void *const *queues, uint32_t count, pel_error **error) {
    return pel_opencl_adopt(table, queues, count, error);
}

pel_status pel_opencl_split(pel_device_rows *table, const uint32_t *rows, const uint32_t *units, uint32_t count,
                            pel_error **error) {
    (void)units, (void)count;
    return pel_fail(error, table->allocator, PEL_UNSUPPORTED, NULL, "this build has no OpenCL: it cannot split %s",
                    table->devices[rows[0]].info.id);
}

void pel_opencl_release(pel_topology_device *device) {
    (void)device;
}

#endif
