/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Discovery in five steps: read the device list, load hwloc and the budget, ask OpenCL (unless the list means the host only),
 * select, then cut CPU devices down to the cores that they may use. The result never changes, so every thread may read it without
 * a lock, and nothing is kept in globals: two runtimes discover twice. Rejected: a table cached in the process, which would go
 * stale when the binding of the thread that creates the next runtime differs.
 */
#include "topology/topology.h"
#include "base/alloc.h"
#include "base/error.h"
#include "topology/core_set.h"
#include "topology/opencl.h"
#include "topology/probe.h"
#include "topology/rows.h"
#include <stdlib.h>
#include <string.h>

typedef struct topology_owner {
    pel_topology topology;
    pel_keep keep;
} topology_owner;

typedef struct discovery {
    const pel_topology_options *options;
    pel_device_list list;
    pel_device_rows table;
    pel_device_choice *choices;
    uint32_t choice_count;
    uint32_t *selection; /* row of each choice */
    pel_places *places;
} discovery;

static pel_status read_list(discovery *work, pel_error **error) {
    const char *text = work->options->devices, *source = "the device list";
    if (!text) {
        text = secure_getenv("PEL_DEVICES");
        source = "PEL_DEVICES";
        if (!text || *text == '\0') {
            text = NULL;
            source = "the default device list";
        }
    }
    return pel_device_list_parse(text, source, work->table.allocator, &work->list, error);
}

/* The cores of this process: what hwloc sees, what the thread may run on, what cgroups leave. A recorded machine is taken whole.
 */
static void find_budget(pel_device_rows *table) {
    pel_core_set cores;
    pel_budget_read(table->root, NULL, &table->budget);
    if (!pel_hardware_cores(&table->hardware, &cores))
        return;
    if (!table->hardware.this_system) {
        table->budget.cores = cores;
        table->budget.quota_millicores = UINT64_MAX;
    } else if (pel_core_set_overlaps(&table->budget.cores, &cores)) {
        pel_core_set_intersect(&table->budget.cores, &cores);
    }
    table->budget.core_count = pel_core_set_count(&table->budget.cores);
    uint64_t whole = table->budget.quota_millicores / 1000;
    table->budget.usable = table->budget.core_count;
    if (whole < table->budget.usable)
        table->budget.usable = whole > 0 ? (uint32_t)whole : 1;
}

static pel_status add_host(pel_device_rows *table, pel_error **error) {
    pel_status status = pel_rows_add(table, error);
    if (status)
        return status;
    pel_topology_device *host = &table->devices[0];
    pel_device_info *info = &host->info;
    const char *model = pel_hardware_cpu_model(&table->hardware), *vendor = pel_hardware_cpu_vendor(&table->hardware);
    if (*model == '\0')
        model = "host processor";
    table->candidates[0].type = PEL_TYPE_HOST;
    table->candidates[0].driver_units = table->budget.usable;
    info->id = "host";
    info->name = pel_keep_bytes(&table->keep, model, strlen(model));
    info->vendor = pel_keep_bytes(&table->keep, vendor, strlen(vendor));
    info->identity = pel_keep_format(&table->keep, "name:%s", info->name);
    info->kind = PEL_DEVICE_HOST;
    info->device_class = PEL_CLASS_HOST_CPU;
    info->compute_units = info->cores_count = table->budget.usable;
    info->cores = table->budget.cores;
    info->numa_node = pel_hardware_node_of_cores(&table->hardware, &info->cores);
    info->memory_bytes = info->max_allocation_bytes = table->budget.memory_available;
    info->max_work_group = 4096; /* a loop in the worker: the limit of PoCL, so that kernels move between the two */
    info->local_memory_bytes = 1u << 20;
    info->address_bits = (uint32_t)(8 * sizeof(void *));
    info->shares_host_memory = info->supports_double = 1;
    host->host_coherent = true;
    return PEL_OK;
}

static bool runs_on_cores(const pel_topology_device *device) {
    return device->info.device_class == PEL_CLASS_HOST_CPU || device->info.device_class == PEL_CLASS_SOFTWARE;
}

/* Enters a declared core set in a row. */
static void declare_cores(pel_device_rows *table, uint32_t row, const pel_core_set *cores) {
    pel_topology_device *device = &table->devices[row];
    uint32_t units = pel_core_set_count(cores), most = table->candidates[row].driver_units;
    if (units > table->budget.usable)
        units = table->budget.usable;
    if (units > most)
        units = most;
    device->core_set_declared = true;
    device->info.cores = *cores;
    device->info.compute_units = device->info.cores_count = units;
    device->info.numa_node = pel_hardware_node_of_cores(&table->hardware, cores);
}

/* Cuts the device of rows[] down to the units that the rows may use. Without a declaration that is best effort. */
static pel_status limit_units(pel_device_rows *table, const uint32_t *rows, const uint32_t *units, uint32_t count,
                              pel_error **error) {
    const pel_topology_device *device = &table->devices[rows[0]];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += units[i];
    uint32_t most = table->candidates[rows[0]].driver_units;
    if (sum > most) {
        return pel_fail(error, table->allocator, PEL_CONFLICT, &(pel_story){.device = device->info.id},
                        "%s has %u compute units and the device list declares %llu cores for it", device->info.id, (unsigned)most,
                        (unsigned long long)sum);
    }
    if (count == 1 && sum == most)
        return PEL_OK;
    if (device->cl_context) {
        if (!device->core_set_declared)
            return PEL_OK;
        return pel_fail(error, table->allocator, PEL_UNSUPPORTED, &(pel_story){.device = device->info.id},
                        "%s belongs to an adopted context: it cannot be limited to declared cores", device->info.id);
    }
    pel_error *failure = NULL;
    pel_status status = pel_opencl_split(table, rows, units, count, &failure);
    if (status && status != PEL_OUT_OF_MEMORY && !device->core_set_declared) {
        pel_log(table->logger, PEL_LOG_WARNING, "%s may start more threads than this process has cores", device->info.id);
        pel_error_destroy(failure);
        return PEL_OK;
    }
    pel_error_hand_over(error, failure);
    return status;
}

static const char *part_id(pel_device_rows *table, const char *id, const pel_core_set *cores) {
    pel_text text;
    pel_text_init(&text, table->allocator);
    pel_text_format(&text, "%s@", id);
    pel_core_set_format(cores, '+', &text);
    return pel_keep_text(&table->keep, &text);
}

/* The choices of one device: the first keeps its row, each further one gets a copy of it. rows and units: scratch of choice_count
 * each. */
static pel_status apply_device(discovery *work, uint32_t device, uint32_t *rows, uint32_t *units, pel_error **error) {
    pel_device_rows *table = &work->table;
    const char *id = table->devices[device].info.id;
    const pel_topology_device original = table->devices[device];
    uint32_t count = 0;
    for (uint32_t i = 0; i < work->choice_count; i++) {
        if (work->choices[i].device != device)
            continue;
        uint32_t row = device;
        if (count > 0) {
            pel_status status = pel_rows_add(table, error);
            if (status)
                return status;
            row = table->count - 1;
            table->devices[row] = original;
            table->devices[row].cl_context = NULL;
            table->devices[row].cl_queue = NULL;
            table->candidates[row] = table->candidates[device];
        }
        table->devices[row].selected = true;
        pel_device_options_apply(&work->choices[i].options, &table->devices[row]);
        if (work->choices[i].declared)
            declare_cores(table, row, &work->choices[i].cores);
        work->selection[i] = row;
        units[count] = table->devices[row].info.compute_units;
        rows[count++] = row;
    }
    for (uint32_t i = 0; count > 1 && i < count; i++) {
        table->devices[rows[i]].info.id = part_id(table, id, &table->devices[rows[i]].info.cores);
    }
    const pel_topology_device *first = &table->devices[device];
    /* An emulator takes the number of its threads from the environment, and their cores from the thread that starts it. */
    bool emulator = first->info.device_class == PEL_CLASS_SOFTWARE && count == 1;
    if (count == 0 || first->info.kind != PEL_DEVICE_OPENCL || !runs_on_cores(first) || emulator)
        return PEL_OK;
    return limit_units(table, rows, units, count, error);
}

static pel_status select_devices(discovery *work, pel_error **error) {
    pel_device_rows *table = &work->table;
    pel_device_table view = {table->devices, table->candidates, table->count, &table->budget.cores};
    pel_status status = pel_device_list_select(&work->list, &view, &work->choices, &work->choice_count, error);
    if (status)
        return status;
    uint32_t found = table->count;
    uint32_t *scratch = pel_alloc_zero(table->allocator, work->choice_count, 2 * sizeof *scratch);
    work->selection = pel_alloc_zero(table->allocator, work->choice_count, sizeof *work->selection);
    if (!scratch || !work->selection) {
        status = pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the selected devices");
    }
    for (uint32_t row = 0; row < found; row++) {
        bool chosen = false;
        for (uint32_t i = 0; i < work->choice_count; i++)
            chosen = chosen || work->choices[i].device == row;
        if (!chosen)
            table->devices[row].why_not = pel_device_list_why_not(&work->list, &view, row, &table->keep);
    }
    for (uint32_t row = 0; !status && row < found; row++) {
        status = apply_device(work, row, scratch, scratch + work->choice_count, error);
    }
    pel_free(table->allocator, scratch);
    return status;
}

/* Moves what was found into a topology of its own. */
static pel_status publish(discovery *work, pel_topology **topology, pel_error **error) {
    pel_device_rows *table = &work->table;
    topology_owner *owner = table->keep.failed ? NULL : pel_alloc_zero(table->allocator, 1, sizeof *owner);
    if (!owner)
        return pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the table of devices");
    owner->keep = table->keep;
    owner->topology = (pel_topology){.allocator = table->allocator,
                                     .devices = table->devices,
                                     .device_count = table->count,
                                     .selection = work->selection,
                                     .selection_count = work->choice_count,
                                     .budget_cores = table->budget.cores,
                                     .budget_count = table->budget.usable,
                                     .places = work->places,
                                     .memory_available = table->budget.memory_available,
                                     .opencl_present = table->opencl_present,
                                     .state = &owner->keep};
    pel_keep_init(&table->keep, table->allocator);
    for (uint32_t i = 0; i < table->count; i++)
        table->devices[i].places = table->devices[i].info.kind == PEL_DEVICE_HOST ? work->places : NULL;
    table->devices = NULL;
    table->count = 0;
    work->selection = NULL;
    work->places = NULL;
    *topology = &owner->topology;
    return PEL_OK;
}

/* Devices that the child could not make work are known to be bad: same id, same name, so the same drivers. */
static void apply_findings(pel_device_rows *rows, const pel_probe_answer *answer) {
    for (uint32_t i = 0; i < answer->count; i++) {
        const pel_probe_finding *finding = &answer->findings[i];
        if (finding->driver)
            pel_log(rows->logger, PEL_LOG_WARNING, "OpenCL driver %s %s; it is left out", finding->subject, finding->reason);
        if (finding->driver || *finding->reason == '\0')
            continue;
        for (uint32_t row = 0; row < rows->count; row++) {
            const pel_device_info *info = &rows->devices[row].info;
            if (strcmp(info->id, finding->subject) != 0 || strcmp(info->name, finding->name) != 0)
                continue;
            rows->candidates[row].unusable = pel_keep_format(&rows->keep, "it %s (tried by pel-probe)", finding->reason);
        }
    }
}

static pel_status scan_opencl(discovery *work, pel_error **error) {
    const pel_topology_options *options = work->options;
    pel_device_rows *rows = &work->table;
    pel_icd_list drivers = {0};
    pel_probe_answer answer = {0};
    pel_error *problem = NULL;
    char *directory = NULL;
    pel_core_set cores;
    bool declared = pel_device_list_driver_cores(&work->list, &cores);
    pel_core_set_intersect(&cores, &rows->budget.cores);
    pel_keep_init(&drivers.keep, rows->allocator);
    pel_keep_init(&answer.keep, rows->allocator);
    pel_status status = PEL_OK;
    if (options->probe) {
        status = pel_icd_list_read("", rows->allocator, &drivers, error);
        if (!status)
            status = pel_probe_ask(&drivers, rows->allocator, rows->logger, options->cache_directory, false, &answer, error);
        if (!status && pel_probe_make_directory(&drivers, &answer, rows->allocator, &directory, &problem)) {
            pel_error_hand_over(error, problem); /* going on would load the driver that crashes */
            status = PEL_IO;
        }
        rows->vendors = directory;
    }
    if (!status)
        status = pel_opencl_scan(rows, declared && pel_core_set_count(&cores) > 0 ? &cores : NULL, error);
    if (!status)
        apply_findings(rows, &answer);
    if (!status)
        status = pel_opencl_adopt(rows, options->cl_contexts, options->cl_context_count, error);
    if (!status)
        status = pel_opencl_adopt_queues(rows, options->cl_queues, options->cl_queue_count, error);
    rows->vendors = NULL;
    pel_probe_remove_directory(rows->allocator, directory);
    pel_probe_free(&answer);
    pel_icd_list_free(&drivers);
    return status;
}

static pel_status run_discovery(discovery *work, pel_error **error) {
    const pel_topology_options *options = work->options;
    pel_device_rows *table = &work->table;
    pel_status status = read_list(work, error);
    if (status)
        return status;
    pel_hardware_open(&table->hardware, options->hwloc_topology);
    if (!table->hardware.topology)
        pel_log(table->logger, PEL_LOG_WARNING, "hwloc cannot read this machine; NUMA nodes stay unknown");
    find_budget(table);
    if (pel_hardware_places(&table->hardware, table->allocator, &work->places))
        return pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for where the processors are");
    status = add_host(table, error);
    if (status)
        return status;
    if (!options->ignore_opencl && pel_device_list_wants_opencl(&work->list)) {
        status = scan_opencl(work, error);
    }
    return status ? status : select_devices(work, error);
}

pel_status pel_topology_discover(const pel_topology_options *options, pel_topology **topology, pel_error **error) {
    discovery work = {.options = options};
    const pel_allocator *allocator = options->allocator ? options->allocator : &pel_allocator_default;
    pel_rows_init(&work.table, allocator, options->logger, options->root ? options->root : "");
    pel_status status = run_discovery(&work, error);
    if (!status)
        status = publish(&work, topology, error);
    pel_device_list_free(&work.list);
    pel_free(allocator, work.choices);
    pel_free(allocator, work.selection);
    pel_free(allocator, work.places);
    pel_rows_free(&work.table);
    return status;
}

void pel_topology_destroy(pel_topology *topology) {
    if (!topology)
        return;
    const pel_allocator *allocator = topology->allocator;
    pel_keep keep = *(pel_keep *)topology->state;
    for (uint32_t i = 0; i < topology->device_count; i++)
        pel_opencl_release(&topology->devices[i]);
    pel_free(allocator, topology->devices);
    pel_free(allocator, topology->selection);
    pel_free(allocator, topology->places);
    pel_keep_free(&keep);
    pel_free(allocator, topology);
}
