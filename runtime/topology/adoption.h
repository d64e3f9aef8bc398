/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the caller's pel_opencl_adoption for floors that may not know OpenCL's types. */
#ifndef PEL_TOPOLOGY_ADOPTION_H
#define PEL_TOPOLOGY_ADOPTION_H

#include <pel/runtime.h>
#include <pel/status.h>

/* The contexts of an adoption (NULL: none). UNSUPPORTED without OpenCL, INVALID_ARGUMENT for a wrong size or a NULL context. */
pel_status pel_adoption_contexts(const struct pel_opencl_adoption *adoption, const pel_allocator *allocator, void *const **contexts,
                                 uint32_t *count, pel_error **error);

#endif
