/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of a kernel: what was set is remembered, and only what is another one is set again. */
#include "backend/opencl/flight.h"

#include "base/checked.h"
#include <string.h>

/* Fills what is to be remembered; false: this argument is set each time. */
static bool describe(const pel_work_arg *arg, pel_cl_arg_set *set) {
    memset(set, 0, sizeof *set);
    set->kind = (uint64_t)arg->kind;
    if (arg->kind == PEL_WORK_ARG_MEM) {
        set->u.mem = ((const pel_cl_mem *)arg->mem)->id;
        return true;
    }
    set->bytes = arg->bytes;
    if (arg->kind == PEL_WORK_ARG_VALUE && arg->bytes <= sizeof set->u.value) {
        memcpy(set->u.value, arg->host, (size_t)arg->bytes);
        return true;
    }
    return arg->kind == PEL_WORK_ARG_LOCAL;
}

static pel_status set_argument(const pel_cl_device *device, const pel_cl_kernel *kernel, cl_kernel cl, uint32_t i,
                               const pel_work_arg *arg, pel_error **error) {
    size_t bytes = (size_t)arg->bytes;
    const void *value = NULL;
    cl_mem mem = NULL;

    switch (arg->kind) {
    case PEL_WORK_ARG_VALUE:
        value = arg->host;
        break;
    case PEL_WORK_ARG_LOCAL:
        break;
    case PEL_WORK_ARG_NULL:
        bytes = sizeof mem;
        break;
    case PEL_WORK_ARG_MEM:
    case PEL_WORK_ARG_PRIVATE:
        if (device->base.facts->host_coherent && kernel->args && kernel->args[i].alignment > 1 &&
            (uintptr_t)arg->mem->host % kernel->args[i].alignment != 0) {
            return pel_cl_refuse(
                device, error, PEL_INVALID_ARGUMENT, "align the memory, or begin the range elsewhere",
                "argument %u of kernel %s points to elements of %llu bytes and its memory is not aligned to them", i,
                kernel->image->name, (unsigned long long)kernel->args[i].alignment);
        }
        mem = ((pel_cl_mem *)arg->mem)->cl;
        value = &mem;
        bytes = sizeof mem;
        break;
    }
    cl_int code = clSetKernelArg(cl, i, bytes, value);
    return code == CL_SUCCESS ? PEL_OK
                              : pel_cl_fail(device, error, code, "clSetKernelArg", "argument %u of kernel %s is not taken", i,
                                            kernel->image->name);
}

/* Before any argument is set: PoCL accepts too much local memory and then aborts the process, Oclgrind throws an exception. */
pel_status pel_cl_check_local_memory(const pel_cl_device *device, const pel_cl_kernel *kernel, pel_cl_form form,
                                     const pel_work_arg *args, pel_error **error) {
    uint64_t bytes = kernel->local_bytes[form], room = device->base.facts->info.local_memory_bytes;
    for (uint32_t i = 0; i < kernel->image->param_count; i++) {
        if (args[i].kind == PEL_WORK_ARG_LOCAL && !pel_add_u64(bytes, args[i].bytes, &bytes)) {
            bytes = UINT64_MAX;
            break;
        }
    }
    if (bytes > (room != 0 ? room : SIZE_MAX)) {
        return pel_cl_refuse(device, error, PEL_TOO_LARGE, "use smaller work-groups or less local memory",
                             "kernel %s wants %llu bytes of local memory, the device has %llu", kernel->image->name,
                             (unsigned long long)bytes, (unsigned long long)room);
    }
    return PEL_OK;
}

static bool same_set(const pel_cl_arg_set *a, const pel_cl_arg_set *b) {
    return a->kind == b->kind && a->bytes == b->bytes && memcmp(a->u.value, b->u.value, sizeof a->u.value) == 0;
}

/* Only what changed since the last launch of this form. */
pel_status pel_cl_set_arguments(const pel_cl_device *device, pel_cl_kernel *kernel, pel_cl_form form, const pel_work_arg *args,
                                pel_error **error) {
    const uint32_t count = kernel->image->param_count;
    pel_status status = pel_cl_check_local_memory(device, kernel, form, args, error);
    if (!kernel->set) {
        /* without it all are set each time */
        kernel->set = pel_alloc_zero(device->env->allocator, count + 1u, sizeof *kernel->set);
    } else if (kernel->set_form != form) {
        memset(kernel->set, 0, count * sizeof *kernel->set);
    }
    kernel->set_form = form;
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        pel_cl_arg_set set;
        const bool lasting = describe(&args[i], &set) && kernel->set;
        if (lasting && same_set(&set, &kernel->set[i])) {
            continue;
        }
        if (kernel->set) {
            memset(&kernel->set[i], 0, sizeof kernel->set[i]);
        }
        status = set_argument(device, kernel, kernel->kernels[form], i, &args[i], error);
        if (lasting && status == PEL_OK) {
            kernel->set[i] = set;
        }
    }
    return status;
}
