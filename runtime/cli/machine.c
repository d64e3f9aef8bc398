/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two commands that look at the machine go below the public API, because they must show what was found but not selected, and
 * what a runtime would refuse. They discover exactly as a runtime does, with the probe on: what they say is what a program will
 * meet.
 */
#include "cli/machine.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/output.h"
#include "core/cache_directory.h"
#include "topology/core_set.h"
#include <stdio.h>
#include <string.h>

static void print_record(void *user, pel_log_level level, const char *message) {
    (void)level;
    pel_cli_error(user, "%s", message);
}

pel_status pel_cli_discover(const char *command, const pel_cli_discovery *how, pel_topology **topology, pel_error **error) {
    char name[32];
    pel_logger logger;
    snprintf(name, sizeof name, "%s", command);
    pel_logger_init(&logger, print_record, name, how->level);
    char *cache = pel_cache_directory(&pel_allocator_default, NULL, NULL);
    pel_topology_options options = {.logger = &logger, .devices = how->devices, .probe = how->probe, .cache_directory = cache};
    pel_status status = pel_topology_discover(&options, topology, error);
    pel_free(&pel_allocator_default, cache);
    pel_logger_destroy(&logger);
    return status;
}

const char *pel_cli_class_word(const pel_device_info *info) {
    switch (info->device_class) {
    case PEL_CLASS_HOST_CPU:
        return info->kind == PEL_DEVICE_HOST ? "host" : "CPU";
    case PEL_CLASS_INTEGRATED:
        return "integrated";
    case PEL_CLASS_DISCRETE:
        return "discrete";
    case PEL_CLASS_SOFTWARE:
        return "emulator";
    }
    return "?";
}

const char *pel_cli_core_text(const pel_core_set *cores, char *text, size_t capacity) {
    pel_text all;
    pel_text_init(&all, &pel_allocator_default);
    if (pel_core_set_count(cores) > 0)
        pel_core_set_format(cores, ',', &all);
    int length = snprintf(text, capacity, "%s", all.data && !all.failed ? all.data : "-");
    if (length > 0 && (size_t)length >= capacity && capacity > 3)
        memcpy(text + capacity - 4, "...", 4);
    pel_text_free(&all);
    return text;
}

static json_t *cores_json(const pel_core_set *cores) {
    json_t *array = json_array();
    for (uint32_t core = 0; core < PEL_CORE_LIMIT; core++) {
        if (pel_core_set_has(cores, core))
            json_array_append_new(array, json_integer(core));
    }
    return array;
}

/* 64-bit quantities beyond JSON's integers (jansson's are signed) mean "unknown" here. */
static json_t *size_json(uint64_t value) {
    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

json_t *pel_cli_device_json(const pel_topology_device *device) {
    const pel_device_info *info = &device->info;
    json_t *object = json_object();
    json_object_set_new(object, "id", pel_json_text(info->id));
    json_object_set_new(object, "name", pel_json_text(info->name));
    json_object_set_new(object, "vendor", pel_json_text(info->vendor));
    json_object_set_new(object, "platform", pel_json_text(info->platform));
    json_object_set_new(object, "driver", pel_json_text(info->driver));
    json_object_set_new(object, "version", pel_json_text(device->cl_version));
    json_object_set_new(object, "identity", pel_json_text(info->identity));
    json_object_set_new(object, "class", pel_json_text(pel_cli_class_word(info)));
    json_object_set_new(object, "selected", json_boolean(device->selected));
    json_object_set_new(object, "reason", pel_json_text(device->why_not));
    json_object_set_new(object, "compute_units", json_integer(info->compute_units));
    json_object_set_new(object, "cores", cores_json(&info->cores));
    json_object_set_new(object, "cores_declared", json_boolean(device->core_set_declared));
    json_object_set_new(object, "numa_node", info->numa_node < 0 ? json_null() : json_integer(info->numa_node));
    json_object_set_new(object, "memory_bytes", size_json(info->memory_bytes));
    json_object_set_new(object, "max_allocation_bytes", size_json(info->max_allocation_bytes));
    json_object_set_new(object, "local_memory_bytes", size_json(info->local_memory_bytes));
    json_object_set_new(object, "max_work_group", size_json(info->max_work_group));
    json_object_set_new(object, "address_bits", json_integer(info->address_bits));
    json_object_set_new(object, "shares_host_memory", json_boolean(info->shares_host_memory != 0));
    json_object_set_new(object, "outside", json_boolean(info->outside != 0));
    json_object_set_new(object, "supports_double", json_boolean(info->supports_double != 0));
    return object;
}
