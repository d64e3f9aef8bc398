/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernels on one device: one cl_kernel per form, and the checks of a declaration against what the driver knows of the entry.
 *
 * The problem: a wrong number, kind or size of an argument is answered by drivers late, vaguely, or by a crash. The invariant:
 * after prepare has said OK, as many parameters are declared as the entry has, and each has the right address space and, where
 * its type has a known size, the right size. What the driver does not tell (no argument information: some binaries, some drivers)
 * is not checked. Rejected: parsing the source for signatures, which macros and typedefs defeat.
 */
#include "backend/opencl/internal.h"

#include "base/hash.h"
#include <stdio.h>
#include <string.h>

static pel_cl_kernel **bucket_of(pel_cl_device *device, uint64_t id) { return &device->kernels[id % PEL_CL_BUCKETS]; }

/* Needs table_lock. */
static pel_cl_kernel *look_up(pel_cl_device *device, uint64_t id) {
    pel_cl_kernel *found = *bucket_of(device, id);
    while (found && found->id != id) {
        found = found->next;
    }
    return found;
}

static uint64_t hash_text(const char *text) {
    uint64_t hash = 0;
    for (; *text; text++) {
        hash = pel_mix_u64(hash, (unsigned char)*text);
    }
    return hash;
}

pel_cl_kernel *pel_cl_kernel_known(pel_cl_device *device, uint64_t id) {
    pthread_mutex_lock(&device->table_lock);
    pel_cl_kernel *kernel = look_up(device, id);
    pthread_mutex_unlock(&device->table_lock);
    return kernel;
}

/* A work holds its kernel: as long as none has been forgotten since, what was found for it is still there. */
pel_cl_kernel *pel_cl_kernel_recent(pel_cl_device *device, uint64_t id) {
    const unsigned forgotten = atomic_load_explicit(&device->forgotten, memory_order_acquire);
    if (!device->recent || device->recent_id != id || device->recent_forgotten != forgotten) {
        device->recent = pel_cl_kernel_known(device, id);
        device->recent_id = id;
        device->recent_forgotten = forgotten;
    }
    return device->recent;
}

/* Finds or makes the record. */
static pel_status find(pel_cl_device *device, const pel_kernel_image *image, pel_cl_kernel **kernel, pel_error **error) {
    pel_cl_program *program;
    pel_status status = pel_cl_program_find(device, image->program, &program, error);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&device->table_lock);
    *kernel = look_up(device, image->id);
    if (!*kernel && (*kernel = pel_alloc_zero(device->env->allocator, 1, sizeof **kernel)) != NULL) {
        (*kernel)->id = image->id;
        (*kernel)->image = image;
        (*kernel)->program = program;
        (*kernel)->entry_key = hash_text(image->entry);
        (*kernel)->next = *bucket_of(device, image->id);
        *bucket_of(device, image->id) = *kernel;
    }
    pthread_mutex_unlock(&device->table_lock);
    return *kernel ? PEL_OK
                   : pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory for kernel %s", image->name);
}

/* ---- making a cl_kernel ---- */

static pel_status no_such_entry(const pel_cl_device *device, cl_program program, const pel_kernel_image *image, cl_int code,
                                pel_error **error) {
    char names[512] = "";
    size_t bytes = 0;
    if (code != CL_INVALID_KERNEL_NAME) {
        return pel_cl_fail(device, error, code, "clCreateKernel", "kernel %s of program %s cannot be made", image->entry,
                           image->program->name);
    }
    if (clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof names, names, &bytes) != CL_SUCCESS || bytes > sizeof names) {
        strcpy(names, "unknown");
    }
    pel_story story = {
        .device = device->label, .call = "clCreateKernel", .code = code, .advice = "name one of the program's kernels"};
    char renamed[128]; /* PoCL's headers redefine the built-in functions as macros, and so a kernel of such a name */
    snprintf(renamed, sizeof renamed, "_cl_%s", image->entry);
    if (strstr(names, renamed)) {
        story.advice =
            "the name is that of a built-in function of OpenCL C, which this driver redefines; give the kernel another name";
    }
    return pel_fail(error, device->env->allocator, PEL_NOT_FOUND, &story, "program %s has no kernel %s; its kernels: %s",
                    image->program->name, image->entry, names[0] ? names : "none");
}

static void learn_limits(const pel_cl_device *device, cl_kernel kernel, pel_cl_limits *limits, uint64_t *local_bytes) {
    size_t group = 0, required[3] = {0, 0, 0};
    cl_ulong local = 0;
    uint64_t most = device->base.facts->info.max_work_group;

    if (clGetKernelWorkGroupInfo(kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof group, &group, NULL) != CL_SUCCESS) {
        group = 0;
    }
    if (clGetKernelWorkGroupInfo(kernel, device->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof required, required, NULL) !=
        CL_SUCCESS) {
        memset(required, 0, sizeof required);
    }
    /* Asked before any argument is set, so this is what the kernel's own __local variables take. */
    if (clGetKernelWorkGroupInfo(kernel, device->id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL) != CL_SUCCESS) {
        local = 0;
    }
    most = group != 0 && (most == 0 || group < most) ? group : most;
    *limits = (pel_cl_limits){.max_group = most != 0 ? most : 1, .required = {required[0], required[1], required[2]}};
    *local_bytes = local;
}

static pel_status make(pel_cl_device *device, pel_cl_kernel *kernel, pel_cl_form form, pel_error **error) {
    cl_int code = CL_SUCCESS;
    cl_program program = kernel->program->forms[form].program;
    cl_kernel made = clCreateKernel(program, kernel->image->entry, &code);
    pel_cl_limits limits;
    uint64_t local_bytes;

    if (!made || code != CL_SUCCESS) {
        return no_such_entry(device, program, kernel->image, code == CL_SUCCESS ? CL_OUT_OF_HOST_MEMORY : code, error);
    }
    learn_limits(device, made, &limits, &local_bytes);
    pthread_mutex_lock(&device->table_lock);
    if (!kernel->kernels[form]) {
        kernel->limits[form] = limits;
        kernel->local_bytes[form] = local_bytes;
        kernel->kernels[form] = made;
        made = NULL;
    }
    pthread_mutex_unlock(&device->table_lock);
    if (made) {
        clReleaseKernel(made); /* another thread was faster */
    }
    return PEL_OK;
}

bool pel_cl_kernel_is_made(pel_cl_device *device, const pel_kernel_image *image, pel_cl_form form) {
    pthread_mutex_lock(&device->table_lock);
    const pel_cl_kernel *kernel = look_up(device, image->id);
    const bool made = kernel && kernel->kernels[form];
    pthread_mutex_unlock(&device->table_lock);
    return made;
}

pel_status pel_cl_kernel_get(pel_cl_device *device, const pel_kernel_image *image, pel_cl_form form, pel_cl_kernel **kernel,
                             bool *built, pel_error **error) {
    pthread_mutex_lock(&device->table_lock);
    *kernel = look_up(device, image->id);
    bool ready = *kernel && (*kernel)->kernels[form];
    pthread_mutex_unlock(&device->table_lock);
    if (ready) {
        return PEL_OK;
    }
    if (!image->entry) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "name an entry of the program, or use the host",
                             "kernel %s has a host function only", image->name);
    }
    pel_status status = find(device, image, kernel, error);
    if (status == PEL_OK) {
        status = pel_cl_form_build(device, (*kernel)->program, form, built, error);
    }
    return status == PEL_OK ? make(device, *kernel, form, error) : status;
}

/* ---- checking a declaration ---- */

/* Size of an OpenCL C scalar or vector type by name; 0: not one of these. */
static uint64_t type_bytes(const char *name) {
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"char", 1}, {"uchar", 1},  {"short", 2}, {"ushort", 2}, {"half", 2}, {"int", 4},
                 {"uint", 4}, {"float", 4}, {"long", 8},  {"ulong", 8},  {"double", 8}};
    if (strncmp(name, "unsigned ", 9) == 0) {
        name += 9;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t length = strlen(types[i].name);
        if (strncmp(name, types[i].name, length) != 0) {
            continue;
        }
        static const struct {
            const char *suffix;
            uint64_t lanes;
        } widths[] = {{"", 1}, {"2", 2}, {"3", 4}, {"4", 4}, {"8", 8}, {"16", 16}};
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            if (strcmp(name + length, widths[w].suffix) == 0) {
                return types[i].bytes * widths[w].lanes;
            }
        }
    }
    return 0;
}

/* Alignment of what "float4*" points to; 0: unknown. */
static uint64_t pointee_bytes(const char *type) {
    char name[64];
    size_t length = strlen(type);
    if (length < 2 || length >= sizeof name || type[length - 1] != '*') {
        return 0;
    }
    memcpy(name, type, length - 1);
    name[length - 1] = '\0';
    return type_bytes(name);
}

/* Bytes by which a declaration goes on along the array, where they must be whole elements of the kernel; 0: whatever the
 * kernel has. */
static uint64_t declared_step(const pel_param *param) {
    if (param->kind == PEL_PARAM_KIND_ELEMENTWISE) {
        return param->bytes * param->num;
    }
    return param->kind == PEL_PARAM_KIND_BLOCK && param->pitch == 0 ? param->bytes : 0;
}

static const char *space_name(cl_kernel_arg_address_qualifier space) {
    switch (space) {
    case CL_KERNEL_ARG_ADDRESS_GLOBAL: return "a __global pointer";
    case CL_KERNEL_ARG_ADDRESS_CONSTANT: return "a __constant pointer";
    case CL_KERNEL_ARG_ADDRESS_LOCAL: return "a __local pointer";
    default: return "a value";
    }
}

static bool kind_matches(const pel_param *param, cl_kernel_arg_address_qualifier space) {
    switch (param->kind) {
    case PEL_PARAM_KIND_VALUE: return space == CL_KERNEL_ARG_ADDRESS_PRIVATE;
    case PEL_PARAM_KIND_LOCAL: return space == CL_KERNEL_ARG_ADDRESS_LOCAL;
    default: return space == CL_KERNEL_ARG_ADDRESS_GLOBAL || space == CL_KERNEL_ARG_ADDRESS_CONSTANT;
    }
}

static const char *kind_name(const pel_param *param) {
    return param->kind == PEL_PARAM_KIND_VALUE ? "a value" : param->kind == PEL_PARAM_KIND_LOCAL ? "local memory" : "a buffer";
}

/* Checks one parameter; *known is false when the driver does not tell. */
static pel_status check_param(const pel_cl_device *device, cl_kernel cl, const pel_kernel_image *image, uint32_t i,
                              pel_cl_arg_facts *facts, bool *known, pel_error **error) {
    cl_kernel_arg_address_qualifier space = CL_KERNEL_ARG_ADDRESS_PRIVATE;
    char type[128] = "", name[128] = "";
    const pel_param *param = &image->params[i];

    *known = clGetKernelArgInfo(cl, i, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof space, &space, NULL) == CL_SUCCESS;
    if (!*known) {
        return PEL_OK;
    }
    if (clGetKernelArgInfo(cl, i, CL_KERNEL_ARG_TYPE_NAME, sizeof type, type, NULL) != CL_SUCCESS) {
        type[0] = '\0';
    }
    if (clGetKernelArgInfo(cl, i, CL_KERNEL_ARG_NAME, sizeof name, name, NULL) != CL_SUCCESS) {
        name[0] = '\0';
    }
    if (strncmp(type, "image", 5) == 0 || strcmp(type, "sampler_t") == 0 || strncmp(type, "pipe", 4) == 0) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "pass the data in a buffer",
                             "parameter %u (%s %s) of kernel %s: images, samplers and pipes are not supported", i, type, name,
                             image->entry);
    }
    if (!kind_matches(param, space)) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT, "declare the parameter as what the kernel says it is",
                             "parameter %u (%s %s) of kernel %s is %s in the program and declared as %s", i, type, name,
                             image->entry, space_name(space), kind_name(param));
    }
    uint64_t bytes = param->kind == PEL_PARAM_KIND_VALUE ? type_bytes(type) : 0;
    if (bytes != 0 && param->bytes != bytes) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT, "declare the parameter with the type that the kernel gives it",
                             "parameter %u (%s %s) of kernel %s has %llu bytes in the program and is declared with %llu", i, type,
                             name, image->entry, (unsigned long long)bytes, (unsigned long long)param->bytes);
    }
    uint64_t element = pointee_bytes(type), declared = declared_step(param);
    if (element != 0 && declared % element != 0) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT,
                             "declare the size of the kernel's elements; where several items share one, say so with num and den",
                             "parameter %u (%s %s) of kernel %s has elements of %llu bytes and is declared with %llu", i, type,
                             name, image->entry, (unsigned long long)element, (unsigned long long)declared);
    }
    facts->alignment = param->kind == PEL_PARAM_KIND_VALUE || param->kind == PEL_PARAM_KIND_LOCAL ? 0 : pointee_bytes(type);
    return PEL_OK;
}

static pel_status check_declaration(pel_cl_device *device, pel_cl_kernel *kernel, pel_error **error) {
    const pel_kernel_image *image = kernel->image;
    cl_kernel cl = kernel->kernels[PEL_CL_PLAIN];
    cl_uint count = 0;
    bool known = true;
    cl_int code = clGetKernelInfo(cl, CL_KERNEL_NUM_ARGS, sizeof count, &count, NULL);

    if (code != CL_SUCCESS) {
        return pel_cl_fail(device, error, code, "clGetKernelInfo", "kernel %s does not tell its arguments", image->entry);
    }
    if (count != image->param_count) {
        return pel_cl_refuse(device, error, PEL_INVALID_ARGUMENT,
                             "declare one parameter per argument of the kernel, in its order",
                             "kernel %s has %u arguments and is declared with %u", image->entry, count, image->param_count);
    }
    pel_cl_arg_facts *facts = pel_alloc_zero(device->env->allocator, (size_t)count + 1, sizeof *facts);
    if (!facts) {
        return pel_cl_refuse(device, error, PEL_OUT_OF_MEMORY, "free host memory", "no memory for kernel %s", image->name);
    }
    for (uint32_t i = 0; i < count && known; i++) {
        pel_status status = check_param(device, cl, image, i, &facts[i], &known, error);
        if (status != PEL_OK) {
            pel_free(device->env->allocator, facts);
            return status;
        }
    }
    pthread_mutex_lock(&device->table_lock);
    pel_cl_arg_facts *old = kernel->args;
    kernel->args = facts;
    pthread_mutex_unlock(&device->table_lock);
    pel_free(device->env->allocator, old);
    return PEL_OK;
}

pel_status pel_cl_prepare(pel_backend_device *base, const pel_program_image *image, const pel_kernel_image *kernel_image,
                          pel_error **error) {
    pel_cl_device *device = (pel_cl_device *)base;
    pel_cl_kernel *kernel;
    pel_cl_program *program;
    bool built = false;

    if (!kernel_image) {
        pel_status status = pel_cl_program_find(device, image, &program, error);
        return status == PEL_OK ? pel_cl_form_build(device, program, PEL_CL_PLAIN, &built, error) : status;
    }
    pel_status status = pel_cl_kernel_get(device, kernel_image, PEL_CL_PLAIN, &kernel, &built, error);
    return status == PEL_OK ? check_declaration(device, kernel, error) : status;
}

uint64_t pel_cl_largest_group(pel_backend_device *base, const pel_kernel_image *image, bool *fixed) {
    pel_cl_device *device = (pel_cl_device *)base;
    pthread_mutex_lock(&device->table_lock);
    const pel_cl_kernel *kernel = look_up(device, image->id);
    const pel_cl_limits *limits = kernel && kernel->kernels[PEL_CL_PLAIN] ? &kernel->limits[PEL_CL_PLAIN] : NULL;
    const uint64_t most = limits ? limits->max_group : 0;
    *fixed = limits && limits->required[0] != 0;
    pthread_mutex_unlock(&device->table_lock);
    return most;
}

void pel_cl_kernel_forget(pel_backend_device *base, const pel_kernel_image *image) {
    pel_cl_device *device = (pel_cl_device *)base;
    pel_cl_kernel *gone = NULL;

    pthread_mutex_lock(&device->table_lock);
    for (pel_cl_kernel **link = bucket_of(device, image->id); *link; link = &(*link)->next) {
        if ((*link)->id == image->id) {
            gone = *link;
            *link = gone->next;
            break;
        }
    }
    atomic_fetch_add_explicit(&device->forgotten, 1, memory_order_release);
    pthread_mutex_unlock(&device->table_lock);
    if (!gone) {
        return;
    }
    for (unsigned form = 0; form < PEL_CL_FORMS; form++) {
        if (gone->kernels[form]) {
            clReleaseKernel(gone->kernels[form]);
        }
    }
    pel_cl_windowed_forget(device, gone);
    pel_free(device->env->allocator, gone->set);
    pel_free(device->env->allocator, gone->args);
    pel_free(device->env->allocator, gone);
}
