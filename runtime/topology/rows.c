/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows grow while drivers are asked, so the public table and what selection must know beside it are two arrays of one length: the
 * public one is handed out as it stands, the other is dropped when discovery ends. Rows refer to each other by index, never by
 * pointer.
 */
#include "topology/rows.h"
#include "base/alloc.h"
#include "base/error.h"
#include "topology/opencl.h"
#include <string.h>

void pel_rows_init(pel_device_rows *table, const pel_allocator *allocator, pel_logger *logger, const char *root) {
    memset(table, 0, sizeof *table);
    table->allocator = allocator;
    table->logger = logger;
    table->root = root;
    pel_keep_init(&table->keep, allocator);
}

void pel_rows_free(pel_device_rows *table) {
    for (uint32_t i = 0; i < table->count; i++)
        pel_opencl_release(&table->devices[i]);
    pel_free(table->allocator, table->devices);
    pel_free(table->allocator, table->candidates);
    pel_keep_free(&table->keep);
    pel_hardware_close(&table->hardware);
    table->devices = NULL;
    table->candidates = NULL;
    table->count = table->capacity = 0;
}

static bool grow(pel_device_rows *table) {
    uint32_t capacity = table->capacity ? 2 * table->capacity : 4;
    pel_topology_device *devices = pel_resize(table->allocator, table->devices, capacity * sizeof *devices);
    if (!devices)
        return false;
    table->devices = devices;
    pel_candidate *candidates = pel_resize(table->allocator, table->candidates, capacity * sizeof *candidates);
    if (!candidates)
        return false;
    table->candidates = candidates;
    table->capacity = capacity;
    return true;
}

pel_status pel_rows_add(pel_device_rows *table, pel_error **error) {
    if (table->count == table->capacity && !grow(table)) {
        return pel_fail(error, table->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the table of devices");
    }
    pel_topology_device *device = &table->devices[table->count];
    memset(device, 0, sizeof *device);
    device->info.id = device->info.name = device->info.vendor = "";
    device->info.platform = device->info.driver = device->info.identity = "";
    device->info.numa_node = -1;
    device->why_not = "";
    table->candidates[table->count] = (pel_candidate){.type = PEL_TYPE_OTHER, .same_as = PEL_NO_DEVICE_INDEX};
    table->count++;
    return PEL_OK;
}
