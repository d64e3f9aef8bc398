/* SPDX-License-Identifier: BSD-3-Clause */
/* The one place that looks into pel_opencl_adoption: a cl_context is a pointer, and travels as one below this point. */
#include "topology/adoption.h"
#include "base/error.h"

#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>

pel_status pel_adoption_contexts(const struct pel_opencl_adoption *adoption, const pel_allocator *allocator, void *const **contexts,
                                 uint32_t *count, pel_error **error) {
    *contexts = NULL;
    *count = 0;
    if (!adoption) {
        return PEL_OK;
    }
    if (adoption->size != 0 && adoption->size != sizeof *adoption) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_adoption.size is %zu; this library knows %zu",
                        adoption->size, sizeof *adoption);
    }
    if (adoption->context_count > 0 && !adoption->contexts) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_adoption.contexts is NULL");
    }
    for (uint32_t i = 0; i < adoption->context_count; i++) {
        if (!adoption->contexts[i]) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_adoption.contexts[%u] is NULL", i);
        }
    }
    *contexts = (void *const *)(const void *)adoption->contexts;
    *count = adoption->context_count;
    return PEL_OK;
}
#else
pel_status pel_adoption_contexts(const struct pel_opencl_adoption *adoption, const pel_allocator *allocator, void *const **contexts,
                                 uint32_t *count, pel_error **error) {
    *contexts = NULL;
    *count = 0;
    return adoption ? pel_fail(error, allocator, PEL_UNSUPPORTED, NULL, "this build of pel has no OpenCL; contexts cannot be adopted")
                    : PEL_OK;
}
#endif
