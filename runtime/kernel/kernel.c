/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernels: an entry and/or a host variant with a declaration that is checked once and never changes.
 *
 * A launch relies on its declaration for everything: what moves, what may run at once, where it may be cut. So a declaration
 * that contradicts itself is refused here, by name and number of the parameter, and what forbids splitting for good is written
 * down as a reason for the plans. Devices that cannot run the kernel are left out with their reasons; a wrong entry or
 * parameter is the caller's error even if the host variant could run alone, because the caller believes that the device takes
 * part.
 */
#include "base/checked.h"
#include "base/hash.h"
#include "base/reduce.h"
#include "base/text.h"
#include "core/code_identity.h"
#include "core/lessons.h"
#include "kernel/declaration.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct maker {
    pel_runtime *runtime;
    const pel_allocator *allocator;
    const pel_kernel_desc *desc;
    const char *name;
    pel_program *program;
    pel_kernel *kernel;
    pel_error **error;
} maker;

#define FAIL(m, status, ...) pel_fail((m)->error, (m)->allocator, status, NULL, __VA_ARGS__)

static pel_status no_memory(const maker *m) {
    return FAIL(m, PEL_OUT_OF_MEMORY, "no memory for kernel %s", m->name);
}

/* --- the declaration --- */

static pel_status wrong(const maker *m, uint32_t index, const char *what) {
    return FAIL(m, PEL_INVALID_ARGUMENT, "parameter %u of kernel %s (%s): %s", index, m->name,
                pel_param_kind_name(m->desc->params[index].kind), what);
}

static pel_status check_block_param(const maker *m, uint32_t index) {
    const pel_param *param = &m->desc->params[index];
    if (param->pitch_argument == 0) {
        return PEL_OK;
    }
    if (param->pitch != 0) {
        return wrong(m, index, "has both a pitch and a pitch argument");
    }
    if (param->pitch_argument < 0 || (uint32_t)param->pitch_argument > m->desc->param_count) {
        return wrong(m, index, "its pitch argument is not one of the parameters");
    }
    const pel_param *by = &m->desc->params[param->pitch_argument - 1];
    bool integer = by->bytes == 1 || by->bytes == 2 || by->bytes == 4 || by->bytes == 8;
    return by->kind == PEL_PARAM_KIND_VALUE && integer ? PEL_OK : wrong(m, index, "its pitch argument is not an integer value");
}

static pel_status check_reduction(const maker *m, uint32_t index) {
    const pel_param *param = &m->desc->params[index];
    bool private = param->kind == PEL_PARAM_KIND_REDUCE_PRIVATE;
    uint64_t row;
    if (param->num == 0 || !pel_mul_u64(param->num, param->bytes, &row)) {
        return wrong(m, index, "its count is 0 or beyond 2^64 bytes");
    }
    if (param->op == PEL_REDUCE_NONE && !private) {
        return PEL_OK; /* rows are left as they are: elements of any type */
    }
    if (pel_scalar_bytes(param->scalar) == 0) {
        return wrong(m, index, "its scalar type is unknown");
    }
    if (pel_scalar_bytes(param->scalar) != param->bytes) {
        return wrong(m, index, "its element size is not that of its scalar type");
    }
    if (!pel_reduce_valid(param->op, param->scalar)) {
        return wrong(m, index, "its operation does not exist for its scalar type");
    }
    if (private && !pel_reduce_exact(param->op, param->scalar)) {
        return wrong(m, index, "sums of floating-point numbers depend on their order; declare it per-group instead");
    }
    return PEL_OK;
}

static pel_status check_param(const maker *m, uint32_t index) {
    const pel_param *param = &m->desc->params[index];
    bool known_mode = param->mode == PEL_READ || param->mode == PEL_WRITE || param->mode == PEL_READ_WRITE;
    if (!known_mode) {
        return wrong(m, index, "its access mode is not read, write or read-write");
    }
    if (param->bytes == 0 && param->kind != PEL_PARAM_KIND_LOCAL && param->kind != PEL_PARAM_KIND_POINTER &&
        param->kind != PEL_PARAM_KIND_WHOLE && param->kind != PEL_PARAM_KIND_CUSTOM) {
        return wrong(m, index, "its size is 0 bytes");
    }
    uint64_t scaled;
    switch (param->kind) {
    case PEL_PARAM_KIND_VALUE:
        return param->mode == PEL_READ ? PEL_OK : wrong(m, index, "values are read only");
    case PEL_PARAM_KIND_LOCAL:
    case PEL_PARAM_KIND_POINTER:
    case PEL_PARAM_KIND_WHOLE:
        return PEL_OK;
    case PEL_PARAM_KIND_ELEMENTWISE:
        if (param->num == 0 || param->den == 0) {
            return wrong(m, index, "num and den must be 1 or more");
        }
        return pel_mul_u64(param->num, param->bytes, &scaled) ? PEL_OK : wrong(m, index, "num elements are beyond 2^64 bytes");
    case PEL_PARAM_KIND_BLOCK:
        return check_block_param(m, index);
    case PEL_PARAM_KIND_PER_GROUP:
        return param->mode == PEL_WRITE ? check_reduction(m, index)
                                        : wrong(m, index, "groups write their rows: the mode is PEL_WRITE");
    case PEL_PARAM_KIND_REDUCE_PRIVATE:
        return param->mode == PEL_READ_WRITE ? check_reduction(m, index) : wrong(m, index, "a reduction is PEL_READ_WRITE");
    case PEL_PARAM_KIND_CANCEL:
        return param->mode == PEL_READ && param->bytes == sizeof(int) && param->num == 1
                   ? PEL_OK
                   : wrong(m, index, "a cancel flag is declared by PEL_PARAM_CANCEL");
    case PEL_PARAM_KIND_CUSTOM:
        return param->custom ? PEL_OK : wrong(m, index, "its access function is NULL");
    }
    return FAIL(m, PEL_INVALID_ARGUMENT, "parameter %u of kernel %s is of unknown kind %d", index, m->name, (int)param->kind);
}

static pel_status check_kernel_desc(const maker *m) {
    const pel_kernel_desc *desc = m->desc;
    const uint32_t flags = PEL_KERNEL_SINGLE_DEVICE | PEL_KERNEL_CHUNK_SAFE | PEL_KERNEL_IRREGULAR;
    if (desc->size != 0 && desc->size != sizeof *desc) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "pel_kernel_desc.size is %zu; this library knows %zu", desc->size, sizeof *desc);
    }
    if ((desc->flags & ~flags) != 0 || desc->reserved != 0) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s: unknown flags %#x, or the reserved field is not 0", m->name,
                    desc->flags & ~flags);
    }
    if (!desc->entry && !desc->host && !desc->host_group) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s has neither an entry nor a host variant", m->name);
    }
    if (desc->host && desc->host_group) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s has two host variants; give host or host_group", m->name);
    }
    if (desc->entry && !m->program->image.source) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s: program %s has no source, so no entry %s", m->name,
                    m->program->image.name, desc->entry);
    }
    if (desc->split_dimension > 3) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s: split_dimension is %u; it is 0, or 1 + dimension", m->name,
                    desc->split_dimension);
    }
    if (!isfinite(desc->cost_hint) || desc->cost_hint < 0) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s: cost_hint is negative or not finite", m->name);
    }
    if (desc->param_count > 0 && !desc->params) {
        return FAIL(m, PEL_INVALID_ARGUMENT, "kernel %s: params is NULL, but param_count is %u", m->name, desc->param_count);
    }
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < desc->param_count && status == PEL_OK; i++) {
        status = check_param(m, i);
    }
    return status;
}

/* --- may it be split? --- */

static bool declares_reduction(const pel_kernel_desc *desc) {
    for (uint32_t i = 0; i < desc->param_count; i++) {
        if (desc->params[i].kind == PEL_PARAM_KIND_REDUCE_PRIVATE) {
            return true;
        }
    }
    return false;
}

static void write_restriction(const maker *m, pel_text *text) {
    const pel_kernel_desc *desc = m->desc;
    bool trusted = (desc->flags & PEL_KERNEL_CHUNK_SAFE) != 0;
    if ((desc->flags & PEL_KERNEL_SINGLE_DEVICE) != 0) {
        pel_text_append(text, "the kernel is declared PEL_KERNEL_SINGLE_DEVICE");
        return;
    }
    for (uint32_t i = 0; i < desc->param_count; i++) {
        pel_param_kind kind = desc->params[i].kind;
        if (desc->params[i].mode != PEL_READ && (kind == PEL_PARAM_KIND_POINTER || kind == PEL_PARAM_KIND_WHOLE)) {
            pel_text_format(text,
                            kind == PEL_PARAM_KIND_WHOLE ? "every item may write all of argument %u"
                                                         : "what it writes through argument %u is not declared",
                            i);
            return;
        }
    }
    if (!desc->entry) {
        return;
    }
    if (m->program->unsafe && (!trusted || m->program->image.plain_only)) {
        pel_text_format(text, "its source cannot be split: %s", m->program->unsafe);
    } else if (m->program->uses_atomics && !trusted && !declares_reduction(desc)) {
        pel_text_append(text, "its source uses atomics, and no parameter is declared as a private reduction");
    }
}

static pel_status find_restriction(const maker *m) {
    pel_text text;
    pel_text_init(&text, m->allocator);
    write_restriction(m, &text);
    if (text.length > 0 || text.failed) {
        m->kernel->single = pel_text_take(&text);
        return m->kernel->single ? PEL_OK : no_memory(m);
    }
    return PEL_OK;
}

/* --- devices --- */

/* Why a device cannot even be asked; NULL: it can. */
static const char *not_for(const maker *m, const pel_device *device) {
    if (!pel_device_builds_source(device)) {
        return m->desc->host || m->desc->host_group ? NULL : "it has no host variant";
    }
    if (!m->desc->entry) {
        return "it has no OpenCL entry";
    }
    return m->program->not_on[device->index];
}

/* Whether a failure is the caller's mistake and not the device's inability. */
static bool is_mistake(pel_status status) {
    return status == PEL_NOT_FOUND || status == PEL_INVALID_ARGUMENT || status == PEL_OUT_OF_MEMORY;
}

/* What the device takes, and what is left of that with what this kernel needs of it: registers, for one. */
static uint64_t largest_group(const maker *m, const pel_device *device) {
    const pel_backend *backend = device->driver->backend;
    bool fixed = false;
    const uint64_t own = backend->largest_group ? backend->largest_group(device->driver, &m->kernel->image, &fixed) : 0;
    m->kernel->fixed_group |= fixed ? pel_device_bit(device) : 0;
    const uint64_t all = device->facts->info.max_work_group;
    return own != 0 && (all == 0 || own < all) ? own : all;
}

static pel_status ask_devices(const maker *m) {
    pel_error *first = NULL;
    pel_status first_status = PEL_OK;
    uint32_t able = 0;
    for (uint32_t i = 0; i < m->runtime->device_count; i++) {
        pel_device *device = &m->runtime->devices[i];
        pel_error *why = NULL;
        const char *reason = not_for(m, device);
        if (!reason) {
            pel_status status = device->driver->backend->prepare(device->driver, &m->program->image, &m->kernel->image, &why);
            if (status == PEL_OK) {
                m->kernel->largest_group[i] = largest_group(m, device);
                able++;
                continue;
            }
            if (is_mistake(status)) {
                pel_error_destroy(first);
                pel_error_hand_over(m->error, why);
                return status;
            }
            reason = pel_error_message(why)[0] ? pel_error_message(why) : pel_status_text(status);
            first_status = first_status == PEL_OK ? status : first_status;
            pel_log(&m->runtime->logger, PEL_LOG_WARNING, "kernel %s is not used on %s: %s", m->name, device->facts->info.id,
                    reason);
        }
        m->kernel->not_on[i] = pel_strdup(m->allocator, reason);
        if (!first) {
            first = why;
            why = NULL;
        }
        pel_error_destroy(why);
        if (!m->kernel->not_on[i]) {
            pel_error_destroy(first);
            return no_memory(m);
        }
    }
    if (able == 0 && first_status != PEL_OK) {
        pel_error_hand_over(m->error, first);
        return first_status;
    }
    pel_error_destroy(first);
    if (able == 0) {
        pel_story story = {.advice =
                               "give the kernel a host variant, or an entry of a program and a runtime with an OpenCL device"};
        return pel_fail(m->error, m->allocator, PEL_NO_DEVICE, &story, "no device of this runtime can run kernel %s; on %s: %s",
                        m->name, m->runtime->devices[0].facts->info.id, m->kernel->not_on[0]);
    }
    return PEL_OK;
}

/* --- identity --- */

static void hash_number(pel_sha256 *sha, uint64_t number) {
    pel_sha256_update(sha, &number, sizeof number);
}

/* What the cost model knows a kernel by: the same in every process that makes the same kernel. */
static uint64_t model_id_of(const pel_kernel *kernel) {
    const pel_kernel_image *image = &kernel->image;
    pel_sha256 sha;
    uint8_t digest[32];
    uint64_t id;
    pel_sha256_init(&sha);
    pel_sha256_text(&sha, image->name);
    pel_sha256_text(&sha, image->entry);
    pel_sha256_update(&sha, image->program->digest, sizeof image->program->digest);
    hash_number(&sha, pel_code_identity((void (*)(void))image->host));
    hash_number(&sha, pel_code_identity((void (*)(void))image->host_group));
    hash_number(&sha, image->flags);
    hash_number(&sha, kernel->split_dimension);
    for (uint32_t i = 0; i < image->param_count; i++) {
        const pel_param *param = &image->params[i];
        const uint64_t numbers[] = {(uint64_t)param->kind,
                                    (uint64_t)param->mode,
                                    param->bytes,
                                    param->num,
                                    param->den,
                                    param->pitch,
                                    param->halo_lo,
                                    param->halo_hi,
                                    (uint64_t)param->pitch_argument,
                                    (uint64_t)param->op,
                                    (uint64_t)param->scalar};
        pel_sha256_update(&sha, numbers, sizeof numbers);
    }
    pel_sha256_final(&sha, digest);
    memcpy(&id, digest, sizeof id);
    return id;
}

/* --- life --- */

static void free_kernel(pel_kernel *kernel) {
    pel_runtime *runtime = kernel->runtime;
    const pel_allocator *allocator = &runtime->allocator;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_backend_device *drivers[2];
        const uint32_t count = kernel->image.id != 0 ? pel_device_drivers(&runtime->devices[i], drivers) : 0;
        for (uint32_t k = 0; k < count; k++) {
            if (drivers[k]->backend->kernel_forget) {
                drivers[k]->backend->kernel_forget(drivers[k], &kernel->image);
            }
        }
        if (kernel->not_on) {
            pel_free(allocator, kernel->not_on[i]);
        }
    }
    pel_free(allocator, kernel->not_on);
    pel_free(allocator, kernel->largest_group);
    pel_free(allocator, kernel->single);
    pel_free(allocator, (void *)(uintptr_t)kernel->image.name);
    pel_free(allocator, (void *)(uintptr_t)kernel->image.entry);
    pel_free(allocator, (void *)(uintptr_t)kernel->image.params);
    pel_program_release(kernel->program);
    pel_free(allocator, kernel);
}

void pel_kernel_retain(pel_kernel *kernel) {
    atomic_fetch_add(&kernel->references, 1);
}

void pel_kernel_release(pel_kernel *kernel) {
    if (atomic_fetch_sub(&kernel->references, 1) == 1) {
        free_kernel(kernel);
    }
}

void pel_kernel_release_locked(pel_kernel *kernel) {
    if (atomic_fetch_sub(&kernel->references, 1) == 1) {
        kernel->next_released = kernel->runtime->released_kernels;
        kernel->runtime->released_kernels = kernel;
    }
}

void pel_kernels_reap(pel_runtime *runtime) {
    pthread_mutex_lock(&runtime->lock);
    pel_kernel *kernel = runtime->released_kernels;
    runtime->released_kernels = NULL;
    pthread_mutex_unlock(&runtime->lock);
    while (kernel) {
        pel_kernel *next = kernel->next_released;
        free_kernel(kernel);
        kernel = next;
    }
}

static pel_status copy_desc(const maker *m) {
    const pel_kernel_desc *desc = m->desc;
    pel_kernel *kernel = m->kernel;
    pel_kernel_image *image = &kernel->image;
    pel_param *params = pel_alloc_zero(m->allocator, desc->param_count + 1u, sizeof *params);
    image->params = params;
    image->name = pel_strdup(m->allocator, m->name);
    image->entry = pel_strdup(m->allocator, desc->entry);
    kernel->not_on = pel_alloc_zero(m->allocator, m->runtime->device_count + 1u, sizeof(char *));
    kernel->largest_group = pel_alloc_zero(m->allocator, m->runtime->device_count + 1u, sizeof *kernel->largest_group);
    if (!params || !image->name || (desc->entry && !image->entry) || !kernel->not_on || !kernel->largest_group) {
        return no_memory(m);
    }
    if (desc->param_count > 0) {
        memcpy(params, desc->params, desc->param_count * sizeof *params);
    }
    image->program = &m->program->image;
    image->param_count = desc->param_count;
    image->flags = desc->flags;
    image->host = desc->host;
    image->host_group = desc->host_group;
    image->check = desc->check;
    image->scratch_bytes = desc->scratch_bytes;
    image->user = desc->user;
    image->cost_hint = desc->cost_hint > 0 ? desc->cost_hint : 1;
    image->id = pel_runtime_next_id(m->runtime);
    kernel->split_dimension = desc->split_dimension;
    kernel->granularity = desc->granularity > 0 ? desc->granularity : 1;
    kernel->model_id = model_id_of(kernel);
    return PEL_OK;
}

static pel_status make(maker *m) {
    m->kernel = pel_alloc_zero(m->allocator, 1, sizeof *m->kernel);
    if (!m->kernel) {
        return no_memory(m);
    }
    m->kernel->runtime = m->runtime;
    m->kernel->program = m->program;
    atomic_init(&m->kernel->references, 1);
    atomic_init(&m->kernel->launches, 0);
    atomic_fetch_add(&m->program->references, 1);
    pel_status status = copy_desc(m);
    if (status == PEL_OK) {
        status = find_restriction(m);
    }
    if (status == PEL_OK) {
        status = ask_devices(m);
    }
    if (status == PEL_OK) {
        pel_lessons_name(m->runtime, m->kernel->model_id, m->kernel->image.name);
    }
    if (status != PEL_OK) {
        free_kernel(m->kernel);
    }
    return status;
}

pel_status pel_kernel_create(pel_program *program, const pel_kernel_desc *desc, pel_kernel **kernel, pel_error **error) {
    if (kernel) {
        *kernel = NULL;
    }
    if (!program || !desc || !kernel) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_kernel_create: %s is NULL",
                        !program ? "program"
                        : !desc  ? "desc"
                                 : "kernel");
    }
    pel_status status = pel_runtime_check(program->runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    maker m = {
        .runtime = program->runtime, .allocator = &program->runtime->allocator, .desc = desc, .program = program, .error = error};
    m.name = desc->name ? desc->name : desc->entry ? desc->entry : "(unnamed)";
    status = check_kernel_desc(&m);
    if (status == PEL_OK) {
        status = make(&m);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_object_made(program->runtime, PEL_OBJECT_KERNEL);
    *kernel = m.kernel;
    return PEL_OK;
}

pel_status pel_kernel_destroy(pel_kernel *kernel) {
    if (!kernel) {
        return PEL_OK;
    }
    pel_runtime *runtime = kernel->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pel_kernel_release(kernel);
    pel_kernels_reap(runtime);
    pel_object_gone(runtime, PEL_OBJECT_KERNEL);
    return PEL_OK;
}
