/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the caller's pel_opencl_adoption for floors that may not know OpenCL's types. */
#ifndef PEL_TOPOLOGY_ADOPTION_H
#define PEL_TOPOLOGY_ADOPTION_H

#include "topology/topology.h"
#include <pel/runtime.h>
#include <pel/status.h>

/* The contexts and queues of an adoption (NULL: none) into the options. UNSUPPORTED without OpenCL, INVALID_ARGUMENT for a
 * wrong size or a NULL handle. */
pel_status pel_adoption_read(const struct pel_opencl_adoption *adoption, pel_topology_options *options, pel_error **error);

#endif
