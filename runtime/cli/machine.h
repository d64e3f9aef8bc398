/* SPDX-License-Identifier: BSD-3-Clause */
/* What `pel info` and `pel doctor` share: discovery as the commands do it, and devices as words and as JSON. */
#ifndef PEL_CLI_MACHINE_H
#define PEL_CLI_MACHINE_H

#include "topology/topology.h"
#include <jansson.h>
#include <stdbool.h>

typedef struct pel_cli_discovery {
    const char *devices; /* NULL: $PEL_DEVICES, else the default */
    bool probe;
    pel_log_level level; /* what is printed on stderr */
} pel_cli_discovery;

/* The topology, with pel's cache directory. The caller destroys both. */
pel_status pel_cli_discover(const char *command, const pel_cli_discovery *how, pel_topology **topology, pel_error **error);

const char *pel_cli_class_word(const pel_device_info *info); /* "host", "CPU", "integrated GPU", ... */

/* "0-3,6" into `text`, which is returned; cut with "..." when it does not fit. */
const char *pel_cli_core_text(const pel_core_set *cores, char *text, size_t capacity);

json_t *pel_cli_device_json(const pel_topology_device *device);

#endif
