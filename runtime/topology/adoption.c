/* SPDX-License-Identifier: BSD-3-Clause */
/* The one place that looks into pel_opencl_adoption: OpenCL's handles are pointers, and travel as such below this point. */
#include "topology/adoption.h"
#include "base/error.h"

#ifdef PEL_HAVE_OPENCL
#include <pel/opencl.h>

static pel_status check_list(const pel_allocator *allocator, void *const *list, uint32_t count, const char *name,
                             pel_error **error) {
    if (count > 0 && !list) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_adoption.%s is NULL", name);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!list[i]) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "pel_opencl_adoption.%s[%u] is NULL", name, i);
        }
    }
    return PEL_OK;
}

pel_status pel_adoption_read(const struct pel_opencl_adoption *adoption, pel_topology_options *options, pel_error **error) {
    if (!adoption) {
        return PEL_OK;
    }
    if (adoption->size != 0 && adoption->size != sizeof *adoption) {
        return pel_fail(error, options->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_opencl_adoption.size is %zu; this library knows %zu", adoption->size, sizeof *adoption);
    }
    options->cl_contexts = (void *const *)(const void *)adoption->contexts;
    options->cl_context_count = adoption->context_count;
    options->cl_queues = (void *const *)(const void *)adoption->queues;
    options->cl_queue_count = adoption->queue_count;
    pel_status status = check_list(options->allocator, options->cl_contexts, options->cl_context_count, "contexts", error);
    return status == PEL_OK ? check_list(options->allocator, options->cl_queues, options->cl_queue_count, "queues", error)
                            : status;
}
#else
pel_status pel_adoption_read(const struct pel_opencl_adoption *adoption, pel_topology_options *options, pel_error **error) {
    return adoption ? pel_fail(error, options->allocator, PEL_UNSUPPORTED, NULL,
                               "this build of pel has no OpenCL; nothing of it can be adopted")
                    : PEL_OK;
}
#endif
