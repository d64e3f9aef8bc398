/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows: a kernel computes on parts of its buffers with the addresses of the whole.
 *
 * The problem: `x[get_global_id(0)]` needs byte 0 of x to exist, and buffers that are larger than the device have none there. A
 * generated wrapper takes the window and the number of bytes that lie before it, and calls the user's kernel with a pointer that
 * lies so far before the window. What the kernel touches is in the window again. Such arithmetic is undefined in C; as integers
 * of the size of a pointer it is what every flat address space does. So each device has to prove it once, by a canary: a kernel
 * of ours, with an offset beyond 32 bits and one that wraps around. Oclgrind is refused by name: it passes the canary (21.10), as
 * only the address of the access counts there, but who runs it wants to be told of pointers outside of their buffers.
 *
 * The wrapper is made from what the driver tells of the arguments. A kernel with __local variables of its own is refused: whether
 * those may be in a function that a kernel calls is left to the implementation. Rejected: rewriting the source, which needs a
 * compiler's front end.
 */
#include "backend/opencl/internal.h"

#include "base/hash.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the wrapper ---- */

static bool is_pointer(cl_kernel_arg_address_qualifier space) {
    return space == CL_KERNEL_ARG_ADDRESS_GLOBAL || space == CL_KERNEL_ARG_ADDRESS_CONSTANT;
}

/* Which type the argument has, as it is written; false: the driver does not tell. */
static bool type_of(cl_kernel plain, cl_uint i, cl_kernel_arg_address_qualifier *space, char *text, size_t bytes) {
    cl_kernel_arg_type_qualifier qualifiers = 0;
    char type[128] = "";
    if (clGetKernelArgInfo(plain, i, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof *space, space, NULL) != CL_SUCCESS ||
        clGetKernelArgInfo(plain, i, CL_KERNEL_ARG_TYPE_NAME, sizeof type, type, NULL) != CL_SUCCESS || type[0] == '\0' ||
        clGetKernelArgInfo(plain, i, CL_KERNEL_ARG_TYPE_QUALIFIER, sizeof qualifiers, &qualifiers, NULL) != CL_SUCCESS) {
        return false;
    }
    const char *where = *space == CL_KERNEL_ARG_ADDRESS_GLOBAL     ? "__global "
                        : *space == CL_KERNEL_ARG_ADDRESS_CONSTANT ? "__constant "
                        : *space == CL_KERNEL_ARG_ADDRESS_LOCAL    ? "__local "
                                                                   : "";
    const bool fixed = is_pointer(*space) && (qualifiers & CL_KERNEL_ARG_TYPE_CONST) != 0 && strncmp(type, "const ", 6) != 0;
    const bool shaky = (qualifiers & CL_KERNEL_ARG_TYPE_VOLATILE) != 0 && is_pointer(*space);
    snprintf(text, bytes, "%s%s%s%s", where, fixed ? "const " : "", shaky ? "volatile " : "", type);
    return true;
}

/* The wrapper's text; NULL: no memory, or the driver does not tell the types. */
static char *write_wrapper(const pel_cl_device *device, cl_kernel plain, const pel_kernel_image *image) {
    pel_text head, call;
    bool known = true;
    pel_text_init(&head, device->env->allocator);
    pel_text_init(&call, device->env->allocator);
    pel_text_format(&head, "\n__kernel void pel_windowed_%s(", image->entry);
    for (uint32_t i = 0; i < image->param_count && known; i++) {
        cl_kernel_arg_address_qualifier space;
        char type[192];
        known = type_of(plain, i, &space, type, sizeof type);
        const char *comma = i > 0 ? ", " : "";
        if (known && is_pointer(space)) {
            pel_text_format(&head, "%s%s pel_a%" PRIu32 ", ulong pel_o%" PRIu32, comma, type, i, i);
            pel_text_format(&call, "%s(%s)((ulong)pel_a%" PRIu32 " - pel_o%" PRIu32 ")", comma, type, i, i);
        } else if (known) {
            pel_text_format(&head, "%s%s pel_a%" PRIu32, comma, type, i);
            pel_text_format(&call, "%spel_a%" PRIu32, comma, i);
        }
    }
    char *arguments = pel_text_take(&call);
    pel_text_format(&head, ") { %s(%s); }\n", image->entry, arguments ? arguments : "");
    char *text = pel_text_take(&head);
    if (!known || !arguments) {
        pel_free(device->env->allocator, text);
        text = NULL;
    }
    pel_free(device->env->allocator, arguments);
    return text;
}

/*
 * The user's source with the wrapper behind it, as a program like any other: built per form, kept in the cache under a digest of
 * both, saved when idle.
 */
struct pel_cl_wrapping {
    pel_program_image image;
    pel_cl_program *program;
    cl_kernel kernels[PEL_CL_FORMS]; /* NULL: not made yet */
    char source[];
};

#define WRAPPED_ID (1ull << 63) /* programs and kernels are numbered from 1 on: nobody has these */

static struct pel_cl_wrapping *make_wrapping(const pel_cl_device *device, const pel_kernel_image *kernel, const char *text) {
    const pel_program_image *image = kernel->program;
    struct pel_cl_wrapping *made =
        pel_alloc_zero(device->env->allocator, 1, sizeof *made + image->source_bytes + strlen(text) + 1);
    if (made) {
        pel_sha256 sha;
        memcpy(made->source, image->source, image->source_bytes);
        memcpy(made->source + image->source_bytes, text, strlen(text) + 1);
        made->image = *image;
        made->image.id = WRAPPED_ID | kernel->id;
        made->image.source = made->source;
        made->image.source_bytes = image->source_bytes + strlen(text);
        pel_sha256_init(&sha);
        pel_sha256_update(&sha, image->digest, sizeof image->digest);
        pel_sha256_text(&sha, text);
        pel_sha256_final(&sha, made->image.digest);
    }
    return made;
}

static pel_status find_wrapping(pel_cl_device *device, pel_cl_kernel *kernel, pel_error **error) {
    const pel_kernel_image *image = kernel->image;
    pel_cl_kernel *plain;
    bool built;
    if (kernel->wrapping) {
        return PEL_OK;
    }
    pel_status status = pel_cl_kernel_get(device, image, PEL_CL_PLAIN, &plain, &built, error);
    if (status != PEL_OK) {
        return status;
    }
    char *text = write_wrapper(device, plain->kernels[PEL_CL_PLAIN], image);
    struct pel_cl_wrapping *made = text ? make_wrapping(device, image, text) : NULL;
    pel_free(device->env->allocator, text);
    if (!made) {
        return pel_cl_refuse(device, error, PEL_UNSUPPORTED, "use smaller buffers",
                             "no wrapper for kernel %s: the driver does not tell its arguments, or no memory", image->name);
    }
    status = pel_cl_program_find(device, &made->image, &made->program, error);
    if (status != PEL_OK) {
        pel_free(device->env->allocator, made);
        return status;
    }
    kernel->wrapping = made;
    return PEL_OK;
}

pel_status pel_cl_windowed_get(pel_cl_device *device, pel_cl_kernel *kernel, pel_cl_form form, bool *built, pel_error **error) {
    cl_int code = CL_SUCCESS;
    char name[256];
    pel_status status = find_wrapping(device, kernel, error);
    if (status != PEL_OK || kernel->wrapping->kernels[form]) {
        return status;
    }
    struct pel_cl_wrapping *wrapping = kernel->wrapping;
    status = pel_cl_form_build(device, wrapping->program, form, built, error);
    if (status != PEL_OK) {
        return status;
    }
    (void)snprintf(name, sizeof name, "pel_windowed_%s", kernel->image->entry);
    cl_kernel made = clCreateKernel(wrapping->program->forms[form].program, name, &code);
    if (!made || code != CL_SUCCESS) {
        return pel_cl_fail(device, error, code == CL_SUCCESS ? CL_OUT_OF_HOST_MEMORY : code, "clCreateKernel",
                           "no kernel %s for windows", kernel->image->entry);
    }
    wrapping->kernels[form] = made;
    return PEL_OK;
}

cl_kernel pel_cl_windowed_kernel(const pel_cl_kernel *kernel, pel_cl_form form) { return kernel->wrapping->kernels[form]; }
pel_cl_program *pel_cl_windowed_program(const pel_cl_kernel *kernel) { return kernel->wrapping->program; }

void pel_cl_windowed_forget(pel_cl_device *device, pel_cl_kernel *kernel) {
    struct pel_cl_wrapping *gone = kernel->wrapping;
    for (unsigned form = 0; gone && form < PEL_CL_FORMS; form++) {
        if (gone->kernels[form]) {
            clReleaseKernel(gone->kernels[form]);
        }
    }
    if (gone) {
        pel_cl_program_forget(&device->base, &gone->image);
        pel_free(device->env->allocator, gone);
    }
}

pel_status pel_cl_windowed_arguments(const pel_cl_device *device, const pel_cl_kernel *kernel, pel_cl_form form,
                                     const pel_work_arg *args, pel_error **error) {
    cl_kernel cl = kernel->wrapping->kernels[form];
    cl_uint at = 0;
    for (uint32_t i = 0; i < kernel->image->param_count; i++) {
        const pel_work_arg *arg = &args[i];
        const pel_param_kind kind = kernel->image->params[i].kind;
        const bool pointer = kind != PEL_PARAM_KIND_VALUE && kind != PEL_PARAM_KIND_LOCAL;
        cl_mem mem = arg->mem ? ((pel_cl_mem *)arg->mem)->cl : NULL;
        const cl_ulong before = arg->rebase;
        cl_int code = pointer ? clSetKernelArg(cl, at++, sizeof mem, &mem)
                              : clSetKernelArg(cl, at++, (size_t)arg->bytes, arg->kind == PEL_WORK_ARG_LOCAL ? NULL : arg->host);
        if (code == CL_SUCCESS && pointer) {
            code = clSetKernelArg(cl, at++, sizeof before, &before);
        }
        if (code != CL_SUCCESS) {
            return pel_cl_fail(device, error, code, "clSetKernelArg", "argument %u of kernel %s is not taken", i,
                               kernel->image->name);
        }
    }
    return PEL_OK;
}

/* ---- the canary ---- */

enum { WORDS = 64, FIRST = 16 };

static const char canary_source[] =
    "static void pel_touch(__global int *x, ulong first) { size_t i = first + get_global_id(0); x[i] = x[i] * 3 + (int)i; }\n"
    "__kernel void pel_canary(__global int *window, ulong before, ulong first) { pel_touch((__global int *)((ulong)window - "
    "before), first); }\n";

/* Elements [first, first + WORDS / 2) of an invented array, of which the window begins FIRST elements earlier. */
static bool sing(const pel_cl_device *device, cl_kernel kernel, cl_mem mem, cl_command_queue queue, cl_ulong first) {
    cl_int words[WORDS];
    const size_t items = WORDS / 2;
    const cl_ulong before = (first - FIRST) * sizeof *words;
    for (int i = 0; i < WORDS; i++) {
        words[i] = i;
    }
    (void)device;
    bool fine = clEnqueueWriteBuffer(queue, mem, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL) == CL_SUCCESS &&
                clSetKernelArg(kernel, 0, sizeof mem, &mem) == CL_SUCCESS &&
                clSetKernelArg(kernel, 1, sizeof before, &before) == CL_SUCCESS &&
                clSetKernelArg(kernel, 2, sizeof first, &first) == CL_SUCCESS &&
                clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL) == CL_SUCCESS &&
                clFinish(queue) == CL_SUCCESS &&
                clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, sizeof words, words, 0, NULL, NULL) == CL_SUCCESS;
    for (int i = 0; i < WORDS && fine; i++) {
        const cl_uint touched = (cl_uint)i * 3u + (cl_uint)(first + (cl_ulong)(i - FIRST));
        fine = words[i] == (i >= FIRST && i < FIRST + WORDS / 2 ? (cl_int)touched : i);
    }
    return fine;
}

static bool try_canary(pel_cl_device *device) {
    cl_int code = CL_SUCCESS;
    const char *source = canary_source;
    bool fine = false;
    cl_program program = clCreateProgramWithSource(device->context, 1, &source, NULL, &code);
    cl_command_queue queue = clCreateCommandQueue(device->context, device->id, 0, &code);
    cl_mem mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE, WORDS * sizeof(cl_int), NULL, &code);
    if (program && queue && mem && clBuildProgram(program, 1, &device->id, "", NULL, NULL) == CL_SUCCESS) {
        cl_kernel kernel = clCreateKernel(program, "pel_canary", &code);
        fine = kernel && sing(device, kernel, mem, queue, FIRST) &&
               sing(device, kernel, mem, queue, 3) && /* the window begins before the array */
               sing(device, kernel, mem, queue, ((cl_ulong)1 << 33) + 5);
        if (kernel) {
            clReleaseKernel(kernel);
        }
    }
    if (mem) {
        clReleaseMemObject(mem);
    }
    if (queue) {
        clReleaseCommandQueue(queue);
    }
    if (program) {
        clReleaseProgram(program);
    }
    return fine;
}

/* Two threads may try at once: both find the same. */
static bool rebases(pel_cl_device *device) {
    int known = atomic_load(&device->rebases);
    if (known == 0) {
        const bool checks_addresses = strstr(device->base.facts->info.platform, "Oclgrind") != NULL;
        known = !checks_addresses && pel_cl_ready(device, NULL) == PEL_OK && try_canary(device) ? 1 : -1;
        atomic_store(&device->rebases, known);
        pel_log(device->env->logger, PEL_LOG_DEBUG, "%s: windows of buffers %s", device->label,
                known > 0 ? "work" : "do not work");
    }
    return known > 0;
}

bool pel_cl_windows(pel_backend_device *base, const pel_kernel_image *image, const char **why) {
    pel_cl_device *device = (pel_cl_device *)base;
    pel_cl_kernel *kernel = NULL;
    cl_kernel_arg_address_qualifier space;
    bool built;
    char type[192];
    *why = "";
    if (device->base.facts->info.address_bits < 64) {
        *why = "the device has 32-bit addresses";
    } else if (image->program->plain_only) {
        *why = "its source changes the functions that tell ids and sizes";
    } else if (!rebases(device)) {
        *why = "pointers that begin before their buffer do not work on this device";
    } else if (pel_cl_kernel_get(device, image, PEL_CL_PLAIN, &kernel, &built, NULL) != PEL_OK) {
        *why = "the kernel does not build for this device";
    } else if (kernel->local_bytes[PEL_CL_PLAIN] > 0) {
        *why = "the kernel has __local variables of its own (give it local memory by argument)";
    }
    for (uint32_t i = 0; i < image->param_count && kernel && **why == '\0'; i++) {
        *why = type_of(kernel->kernels[PEL_CL_PLAIN], i, &space, type, sizeof type)
                   ? ""
                   : "the driver does not tell the kernel's arguments";
    }
    return **why == '\0';
}
