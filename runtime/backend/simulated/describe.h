/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptions of simulated machines: the text format, and what any description must satisfy. */
#ifndef PEL_BACKEND_SIMULATED_DESCRIBE_H
#define PEL_BACKEND_SIMULATED_DESCRIBE_H

#include "base/alloc.h"
#include <pel/simulated.h>
#include <pel/status.h>
#include <stdbool.h>

#define PEL_SIMULATED_DEVICE_LIMIT 8191 /* beside the host: what a runtime drives */

typedef struct pel_description {
    pel_simulated_device *devices; /* the caller's to free */
    uint32_t device_count;
    uint64_t seed;
} pel_description;

/* Reads a file. Errors name file and line: IO, INVALID_ARGUMENT, TOO_LARGE, OUT_OF_MEMORY. */
pel_status pel_description_read(const pel_allocator *allocator, const char *path, pel_description *description,
                                pel_error **error);

/* The same for text in memory; `path` is for messages only. Any bytes may come. */
pel_status pel_description_parse(const pel_allocator *allocator, const char *path, const char *text, size_t bytes,
                                 pel_description *description, pel_error **error);

/*
 * Sets one key of a device to what would stand behind "key =" in a file; `where` names the text in messages. NOT_FOUND: no such
 * device; INVALID_ARGUMENT: the key or its value. What the fields must satisfy together is checked by pel_description_copy.
 */
pel_status pel_description_change(const pel_allocator *allocator, const char *where, pel_description *description,
                                  const char *device, const char *key, const char *value, pel_error **error);

/* Copies and checks devices given by a program. */
pel_status pel_description_copy(const pel_allocator *allocator, const pel_simulated_device *devices, uint32_t count,
                                pel_description *description, pel_error **error);

#endif
