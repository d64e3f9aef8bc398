/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `pel info`: what there is, in one table, the way a device list calls it. Devices that were found but not selected are listed
 * with the reason, because the next question is always why. Everything else about what is missing is `pel doctor`'s.
 *
 * Health belongs to a runtime and its launches, so a fresh process knows none: with --test the selected devices are opened and
 * compute a known answer, and what is shown is what they are after that.
 */
#include "base/error.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/output.h"
#include "topology/core_set.h"
#include "topology/power.h"
#include <pel/version.h>
#include <stdio.h>
#include <string.h>

enum { OPTION_DEVICES, OPTION_JSON, OPTION_NO_PROBE, OPTION_TEST };

static const pel_cli_option options[] = {
    {'d', "devices", "LIST", "the device list to select by; else $PEL_DEVICES, else every trustworthy device"},
    {0, "json", NULL, "print JSON instead of a table"},
    {0, "no-probe", NULL, "do not try the OpenCL drivers in a child process first"},
    {0, "test", NULL, "open the selected devices, have each compute a known answer, and show how they are"},
    {0, NULL, NULL, NULL}};

static const pel_cli_usage usage = {
    "info", "[--devices LIST] [--json] [--test]",
    "Shows the processors that pel finds: how a device list calls them, what they may use, and why some are not used.", options,
    "`pel doctor` says why a device is missing altogether."};

static const char *bytes_text(char text[32], uint64_t bytes) {
    return bytes == UINT64_MAX ? "unknown" : pel_format_bytes(text, (double)bytes);
}

static void print_devices(const pel_topology *topology) {
    pel_table table;
    pel_table_init(&table, "lllrlrrll");
    static const char *const heading[] = {"", "device", "class", "units", "cores", "memory", "max buffer", "fp64", "name"};
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++)
        pel_table_cell(&table, "%s", heading[i]);
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const pel_device_info *info = &topology->devices[i].info;
        char cores[24], memory[32], largest[32];
        pel_table_cell(&table, "%s", topology->devices[i].selected ? "*" : "-");
        pel_table_cell(&table, "%s", info->id);
        pel_table_cell(&table, "%s", pel_cli_class_word(info));
        pel_table_cell(&table, "%u", (unsigned)info->compute_units);
        pel_table_cell(&table, "%s", pel_cli_core_text(&info->cores, cores, sizeof cores));
        pel_table_cell(&table, "%s", bytes_text(memory, info->memory_bytes));
        pel_table_cell(&table, "%s", bytes_text(largest, info->max_allocation_bytes));
        pel_table_cell(&table, "%s", info->supports_double ? "yes" : "no");
        pel_table_cell(&table, "%s%s%s", info->name, *info->platform ? " | " : "", info->platform);
    }
    if (!pel_table_print(&table, stdout, ""))
        pel_cli_error("info", "out of memory");
    pel_table_free(&table);
}

/* Devices on the same cores are alternatives: say so once per pair. */
static void print_sharing(const pel_topology *topology) {
    for (uint32_t i = 0; i < topology->selection_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            const pel_device_info *a = &topology->devices[topology->selection[j]].info,
                                  *b = &topology->devices[topology->selection[i]].info;
            char text[64];
            pel_core_set both = a->cores;
            pel_core_set_intersect(&both, &b->cores);
            if (pel_core_set_count(&both) == 0)
                continue;
            printf("%s and %s are two ways to use cores %s: a launch uses one of them at a time.\n", a->id, b->id,
                   pel_cli_core_text(&both, text, sizeof text));
        }
    }
}

/* Which meter tells the device's energy, or why none does. */
static bool is_measured(pel_power *power, const pel_device_info *info, const char **how) {
    double joules;
    *how = "no meter is known for it";
    if (power && (info->device_class == PEL_CLASS_HOST_CPU || info->device_class == PEL_CLASS_SOFTWARE) &&
        pel_power_packages(power, &joules, how)) {
        *how = "intel-rapl, whole processor packages";
        return true;
    }
    if (power && info->device_class != PEL_CLASS_HOST_CPU && strncmp(info->identity, "pci:", 4) == 0 &&
        pel_power_nvidia(power, info->identity + 4, &joules, how)) {
        *how = "NVML, the whole GPU";
        return true;
    }
    return false;
}

static void print_energy(const pel_topology *topology) {
    pel_power *power = pel_power_open(&pel_allocator_default, NULL, NULL);
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const char *how;
        if (topology->devices[i].selected) {
            const bool measured = is_measured(power, &topology->devices[i].info, &how);
            printf("%s: energy is %s (%s)\n", topology->devices[i].info.id,
                   measured ? "measured" : "modelled from declared watts, if there are any", how);
        }
    }
    pel_power_close(power);
}

static void add_energy(const pel_topology *topology, json_t *devices) {
    pel_power *power = pel_power_open(&pel_allocator_default, NULL, NULL);
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const char *how;
        json_t *device = json_array_get(devices, i);
        json_object_set_new(device, "energy_measured", json_boolean(is_measured(power, &topology->devices[i].info, &how)));
        json_object_set_new(device, "energy_how", json_string(how));
    }
    pel_power_close(power);
}

static void print_text(const pel_topology *topology) {
    char cores[64], memory[32];
    printf("This process may use %u core%s (of %s) and %s of memory.\n\n", (unsigned)topology->budget_count,
           topology->budget_count == 1 ? "" : "s", pel_cli_core_text(&topology->budget_cores, cores, sizeof cores),
           bytes_text(memory, topology->memory_available));
    print_devices(topology);
    printf("\n* used%s", topology->selection_count > 1 ? ", in this order of preference:" : "");
    for (uint32_t i = 0; topology->selection_count > 1 && i < topology->selection_count; i++) {
        printf("%s %s", i ? "," : "", topology->devices[topology->selection[i]].info.id);
    }
    printf("\n");
    print_sharing(topology);
    print_energy(topology);
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const pel_topology_device *device = &topology->devices[i];
        if (device->selected && device->outside)
            printf("%s is driven by a process of its own: a crash of its driver loses what runs there, not the program.\n",
                   device->info.id);
        if (!device->selected)
            printf("- %s (%s): %s\n", device->info.id, device->info.name, device->why_not);
    }
    if (!topology->opencl_present && topology->device_count == 1)
        printf("No OpenCL device. `pel doctor` says why.\n");
}

static json_t *to_json(const pel_topology *topology) {
    char cores[64];
    json_t *root = json_object(), *devices = json_array(), *order = json_array();
    for (uint32_t i = 0; i < topology->device_count; i++)
        json_array_append_new(devices, pel_cli_device_json(&topology->devices[i]));
    for (uint32_t i = 0; i < topology->selection_count; i++) {
        json_array_append_new(order, pel_json_text(topology->devices[topology->selection[i]].info.id));
    }
    json_object_set_new(root, "pel", pel_json_text(pel_version_string()));
    json_object_set_new(root, "cores", pel_json_text(pel_cli_core_text(&topology->budget_cores, cores, sizeof cores)));
    json_object_set_new(root, "core_count", json_integer(topology->budget_count));
    bool known = topology->memory_available <= INT64_MAX;
    json_object_set_new(root, "memory_available_bytes",
                        known ? json_integer((json_int_t)topology->memory_available) : json_null());
    json_object_set_new(root, "opencl", json_boolean(topology->opencl_present));
    add_energy(topology, devices);
    json_object_set_new(root, "devices", devices);
    json_object_set_new(root, "selection", order);
    return root;
}

/* ---- how they are ---- */

typedef struct tested {
    pel_runtime *runtime;
    pel_status status;
    pel_error *error;
} tested;

static void test_devices(const pel_cli_discovery *how, tested *t) {
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    desc.devices = how->devices;
    desc.flags = how->probe ? PEL_RUNTIME_PROBE : 0;
    desc.history = "off";
    t->status = pel_runtime_create(&desc, &t->runtime, &t->error);
    if (t->status == PEL_OK)
        t->status = pel_runtime_test_devices(t->runtime, &t->error);
}

static const char *state_word(pel_device_state state) {
    switch (state) {
    case PEL_DEVICE_WELL: return "well";
    case PEL_DEVICE_QUARANTINED: return "quarantined";
    case PEL_DEVICE_TESTED: return "tested";
    case PEL_DEVICE_RETIRED: return "retired";
    case PEL_DEVICE_SUSPECT: return "suspect";
    }
    return "unknown";
}

static void print_health(const tested *t) {
    for (uint32_t i = 0; i < pel_runtime_device_count(t->runtime); i++) {
        const pel_device *device = pel_runtime_device(t->runtime, i);
        pel_device_health health;
        pel_device_get_health(device, &health);
        printf("%s is %s%s%s\n", pel_device_get_info(device)->id, state_word(health.state),
               health.state == PEL_DEVICE_WELL ? ": it computed the known answer" : ": ",
               health.state == PEL_DEVICE_WELL ? "" : health.reason);
    }
}

static json_t *health_json(const tested *t) {
    json_t *all = json_array();
    for (uint32_t i = 0; i < pel_runtime_device_count(t->runtime); i++) {
        const pel_device *device = pel_runtime_device(t->runtime, i);
        pel_device_health health;
        pel_device_get_health(device, &health);
        json_t *one = json_object();
        json_object_set_new(one, "device", pel_json_text(pel_device_get_info(device)->id));
        json_object_set_new(one, "state", json_string(state_word(health.state)));
        json_object_set_new(one, "reason", pel_json_text(health.reason));
        json_object_set_new(one, "wrong_results", json_integer(health.wrong_results));
        json_array_append_new(all, one);
    }
    return all;
}

/* True: all of them are well. */
static bool end_test(tested *t) {
    if (t->status != PEL_OK)
        pel_cli_error("info", "%s", t->error ? pel_error_message(t->error) : pel_status_text(t->status));
    pel_error_destroy(t->error);
    (void)pel_runtime_destroy(t->runtime);
    return t->status == PEL_OK;
}

int pel_cmd_info(int argc, char **argv) {
    pel_cli_discovery how = {.probe = true, .level = PEL_LOG_WARNING};
    bool json = false, test = false;
    const char *value;
    for (int option; (option = pel_cli_next(&usage, argc, argv, &value)) != PEL_CLI_END;) {
        switch (option) {
        case OPTION_DEVICES:
            how.devices = value;
            break;
        case OPTION_JSON:
            json = true;
            break;
        case OPTION_NO_PROBE:
            how.probe = false;
            break;
        case OPTION_TEST:
            test = true;
            break;
        default:
            return option == PEL_CLI_HELP ? PEL_CLI_OK : PEL_CLI_USAGE;
        }
    }
    if (!pel_cli_no_operands(&usage, argc, argv))
        return PEL_CLI_USAGE;
    pel_topology *topology = NULL;
    pel_error *error = NULL;
    if (pel_cli_discover("info", &how, &topology, &error) != PEL_OK) {
        pel_cli_error("info", "%s", pel_error_message(error));
        if (*pel_error_advice(error))
            pel_cli_error("info", "%s", pel_error_advice(error));
        pel_error_destroy(error);
        return PEL_CLI_FAILED;
    }
    tested t = {.status = PEL_OK};
    if (test)
        test_devices(&how, &t);
    bool written = true;
    if (json) {
        json_t *root = to_json(topology);
        if (test)
            json_object_set_new(root, "health", health_json(&t));
        written = pel_output_json("info", "-", root);
    } else {
        print_text(topology);
        print_health(&t);
    }
    pel_topology_destroy(topology);
    return end_test(&t) && written ? PEL_CLI_OK : PEL_CLI_FAILED;
}
