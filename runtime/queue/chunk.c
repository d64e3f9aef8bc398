/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chunk of a launch as one work: arguments as its device sees them, transfers in for what is missing there, transfers out for
 * partial results, and private copies for reductions. And the merge of those partial results when all chunks are done.
 */
#include "base/checked.h"
#include "base/reduce.h"
#include "queue/command.h"
#include "queue/isolate.h"
#include "queue/stream.h"
#include <stdatomic.h>
#include <string.h>

/* A device's own copy of a reduction's array, or the flag that tells a chunk to end early. */
typedef struct pel_private {
    struct pel_private *next;
    uint32_t arg;
    void *host;
    pel_mem *mem; /* NULL on the host device */
} pel_private;

static const pel_param *param_of(const pel_command *command, uint32_t arg) { return &command->bound.kernel->image.params[arg]; }

static void wipe_private(const pel_job *job, const pel_private *p) {
    if (job->work.sensitive && p->host) {
        pel_wipe(p->host, param_of(job->command, p->arg)->num * param_of(job->command, p->arg)->bytes);
        pel_device_wipe(job->device, p->mem);
    }
}

void pel_privates_free(pel_job *job) {
    const pel_allocator *allocator = &job->command->runtime->allocator;
    while (job->privates) {
        pel_private *p = job->privates;
        job->privates = p->next;
        wipe_private(job, p);
        if (p->mem) {
            job->driver->backend->mem_destroy(job->driver, p->mem);
        }
        pel_free(allocator, p->host);
        pel_free(allocator, p);
    }
}

void *pel_private_data(const pel_job *job, uint32_t arg) {
    for (const pel_private *p = job->privates; p; p = p->next) {
        if (p->arg == arg) {
            return p->host;
        }
    }
    return NULL;
}

static pel_status add_private(pel_job *job, uint32_t index, pel_work_arg *out, pel_error **error) {
    pel_command *command = job->command;
    const pel_allocator *allocator = &command->runtime->allocator;
    const pel_param *param = param_of(command, index);
    uint64_t bytes = param->num * param->bytes; /* checked when the launch was bound */
    pel_private *p = pel_alloc_zero(allocator, 1, sizeof *p);
    if (!p) {
        return PEL_OUT_OF_MEMORY;
    }
    p->next = job->privates;
    p->arg = index;
    job->privates = p;
    p->host = pel_alloc(allocator, (size_t)bytes);
    if (!p->host) {
        return PEL_OUT_OF_MEMORY;
    }
    if (param->kind == PEL_PARAM_KIND_CANCEL) {
        memset(p->host, 0, (size_t)bytes);
    } else {
        pel_reduce_identity(param->op, param->scalar, p->host, param->num);
    }
    pel_status status = PEL_OK;
    if (job->device->facts->info.kind != PEL_DEVICE_HOST) {
        status = job->device->driver->backend->mem_create(job->device->driver, p->host, bytes, &p->mem, error);
        if (status == PEL_OK && job->device->place != 0) {
            status = pel_job_transfer_in(job, p->mem, 0, bytes);
        }
        if (status == PEL_OK && job->device->place != 0 && param->kind != PEL_PARAM_KIND_CANCEL) {
            status = pel_job_bring_out(job, p->mem, NULL, 0, bytes);
        }
    }
    *out = (pel_work_arg){.kind = param->kind == PEL_PARAM_KIND_CANCEL ? PEL_WORK_ARG_MEM : PEL_WORK_ARG_PRIVATE,
                          .mem = p->mem,
                          .host = p->host,
                          .bytes = bytes};
    return status;
}

void pel_job_cancel(pel_job *job) {
    for (const pel_private *p = job->privates; p; p = p->next) {
        if (param_of(job->command, p->arg)->kind == PEL_PARAM_KIND_CANCEL) {
            atomic_store((_Atomic int *)p->host, 1);
        }
    }
}

/* Rows that will be folded on the host, and what is to be compared there. */
static pel_status bring_home(pel_job *job, pel_allocation *allocation, bool partial, uint64_t lo, uint64_t hi,
                             pel_error **error) {
    pel_mem *mem = NULL;
    if (job->device->place == 0 || (!partial && !job->sampled && !job->vote)) {
        return PEL_OK;
    }
    if (job->vote) {
        return pel_isolate_bring_out(job, allocation, NULL, lo, hi);
    }
    pel_status status = pel_allocation_mem(allocation, job->device, &mem, error);
    status = status == PEL_OK ? pel_command_pin(job->command, allocation, job->device) : status;
    if (status == PEL_OK && job->sampled) {
        status = pel_isolate_bring_out(job, allocation, mem, lo, hi);
    }
    return status == PEL_OK && partial ? pel_job_bring_out(job, mem, allocation, lo, hi) : status;
}

static pel_status add_writes(pel_job *job, uint32_t index, const pel_footprint *footprint, pel_error **error) {
    const pel_bound_arg *arg = &job->command->bound.args[index];
    const pel_param *param = param_of(job->command, index);
    bool partial = arg->param == PEL_PARAM_KIND_PER_GROUP && param->op != PEL_REDUCE_NONE;
    for (uint32_t i = 0; i < footprint->writes.count; i++) {
        uint64_t lo = arg->offset + footprint->writes.data[i].lo, hi = arg->offset + footprint->writes.data[i].hi;
        if (!pel_uses_add(&job->command->runtime->allocator, &job->written, arg->allocation, lo, hi, PEL_WRITE)) {
            return PEL_OUT_OF_MEMORY;
        }
        pel_status status = bring_home(job, arg->allocation, partial, lo, hi, error);
        if (status != PEL_OK) {
            return status;
        }
    }
    return PEL_OK;
}

static bool streams(const pel_job *job) { return pel_stream_needed(&job->command->bound, job->device); }

static pel_status count_streamed(pel_job *job, uint32_t index, pel_footprint *footprint) {
    pel_status status = pel_footprint_query(&job->command->bound, &job->work.span, index, footprint);
    for (uint32_t i = 0; i < footprint->reads.count && status == PEL_OK; i++) {
        job->needed += footprint->reads.data[i].hi - footprint->reads.data[i].lo;
        job->streamed_needed += footprint->reads.data[i].hi - footprint->reads.data[i].lo;
    }
    return status;
}

static pel_status add_buffer(pel_job *job, uint32_t index, pel_work_arg *out, pel_footprint *footprint, pel_error **error) {
    const pel_bound_arg *arg = &job->command->bound.args[index];
    pel_mem *view = NULL;
    if (arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE) {
        return add_private(job, index, out, error);
    }
    if (streams(job) && pel_stream_windowed(&job->command->bound, index)) {
        *out = (pel_work_arg){.kind = PEL_WORK_ARG_MEM, .host = arg->allocation->base + arg->offset, .bytes = arg->bytes};
        return count_streamed(job, index, footprint);
    }
    unsigned char *host = arg->allocation->base + arg->offset;
    const bool private = pel_isolate_wants(job, index);
    pel_status status = private ? pel_isolate_arg(job, index, &view, &host, error)
                                : pel_allocation_view(arg->allocation, job->device, arg->offset, arg->bytes, &view, error);
    *out = (pel_work_arg){.kind = PEL_WORK_ARG_MEM, .mem = view, .host = host, .bytes = arg->bytes};
    status = status == PEL_OK && !private ? pel_command_pin(job->command, arg->allocation, job->device) : status;
    if (status == PEL_OK) {
        status = pel_footprint_query(&job->command->bound, &job->work.span, index, footprint);
    }
    for (uint32_t i = 0; i < footprint->reads.count && status == PEL_OK; i++) {
        const uint64_t lo = arg->offset + footprint->reads.data[i].lo, hi = arg->offset + footprint->reads.data[i].hi;
        status = job->vote && private ? PEL_OK : pel_job_bring_in(job, arg->allocation, lo, hi);
        status = status == PEL_OK && private ? pel_isolate_reads(job, arg->allocation, lo, hi) : status;
    }
    return status == PEL_OK ? add_writes(job, index, footprint, error) : status;
}

static pel_status add_arg(pel_job *job, uint32_t index, pel_work_arg *out, pel_footprint *footprint, pel_error **error) {
    const pel_bound_arg *arg = &job->command->bound.args[index];
    switch (arg->kind) {
    case PEL_ARG_VALUE:
    case PEL_ARG_STRUCT:
        *out =
            (pel_work_arg){.kind = PEL_WORK_ARG_VALUE, .mem = NULL, .host = (void *)(uintptr_t)arg->value, .bytes = arg->bytes};
        return PEL_OK;
    case PEL_ARG_LOCAL:
        *out = (pel_work_arg){.kind = PEL_WORK_ARG_LOCAL, .mem = NULL, .host = NULL, .bytes = arg->bytes};
        return PEL_OK;
    case PEL_ARG_BUFFER:
    case PEL_ARG_RANGE:
        return add_buffer(job, index, out, footprint, error);
    case PEL_ARG_NULL:
        if (arg->param == PEL_PARAM_KIND_CANCEL) {
            return add_private(job, index, out, error);
        }
        break;
    case PEL_ARG_IMAGE:
    case PEL_ARG_SAMPLER:
        break;
    }
    *out = (pel_work_arg){.kind = PEL_WORK_ARG_NULL};
    return PEL_OK;
}

pel_status pel_chunk_build(pel_job *job, const pel_plan_slice *slice, pel_error **error) {
    pel_command *command = job->command;
    const pel_bound *bound = &command->bound;
    pel_footprint footprint = {0};
    job->driver = job->device->driver;
    job->lo = slice->lo;
    job->hi = slice->hi;
    job->work.kind = PEL_WORK_LAUNCH;
    job->work.kernel = &bound->kernel->image;
    job->work.chunked = slice->lo != 0 || slice->hi != bound->units;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        job->work.sensitive |= bound->args[i].allocation && bound->args[i].allocation->sensitive;
    }
    job->work.predicted_ns = slice->predicted_ns;
    job->work.group = slice->group;
    pel_bound_span(bound, slice->lo, slice->hi, &job->work.span);
    job->args = pel_alloc_zero(&command->runtime->allocator, bound->arg_count + 1u, sizeof *job->args);
    pel_status status = job->args ? PEL_OK : PEL_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < bound->arg_count && status == PEL_OK; i++) {
        status = add_arg(job, i, &job->args[i], &footprint, error);
    }
    job->work.args = job->args;
    pel_footprint_free(&command->runtime->allocator, &footprint);
    status = status == PEL_OK ? pel_job_seal_in(job, error) : status;
    return status == PEL_OK && streams(job) ? pel_stream_build(job, error) : status;
}

/* The merge. */

static bool folds(const pel_command *command, uint32_t arg) {
    const pel_bound_arg *bound = &command->bound.args[arg];
    return bound->allocation && (bound->param == PEL_PARAM_KIND_REDUCE_PRIVATE ||
                                 (bound->param == PEL_PARAM_KIND_PER_GROUP && param_of(command, arg)->op != PEL_REDUCE_NONE));
}

static uint64_t group_count(const pel_command *command) {
    pel_span whole;
    uint64_t groups = 1;
    pel_bound_span(&command->bound, 0, command->bound.units, &whole);
    for (uint32_t d = 0; d < whole.dims; d++) {
        groups *= whole.group_hi[d] - whole.group_lo[d];
    }
    return groups;
}

uint64_t pel_launch_fold_count(const pel_command *command) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < command->bound.arg_count; i++) {
        if (folds(command, i)) {
            const uint64_t rows =
                command->bound.args[i].param == PEL_PARAM_KIND_PER_GROUP ? group_count(command) : command->job_count;
            count += 1 + rows * param_of(command, i)->num;
        }
    }
    return count;
}

void pel_launch_fold(pel_command *command) {
    for (uint32_t i = 0; i < command->bound.arg_count; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        const pel_param *param = param_of(command, i);
        if (!folds(command, i)) {
            continue;
        }
        unsigned char *target = arg->allocation->base + arg->offset;
        if (arg->param == PEL_PARAM_KIND_PER_GROUP) {
            pel_reduce_tree(param->op, param->scalar, target, group_count(command), param->num);
            continue;
        }
        for (uint32_t j = 0; j < command->job_count; j++) {
            for (const pel_private *p = command->jobs[j].privates; p; p = p->next) {
                if (p->arg == i) {
                    pel_reduce_fold(param->op, param->scalar, target, p->host, param->num);
                }
            }
        }
    }
}

void pel_launch_folded(pel_command *command) {
    for (uint32_t i = 0; i < command->bound.arg_count; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        const pel_param *param = param_of(command, i);
        if (!folds(command, i)) {
            continue;
        }
        uint64_t rows = arg->param == PEL_PARAM_KIND_PER_GROUP ? group_count(command) : 1;
        pel_status status =
            pel_allocation_written(arg->allocation, 0, arg->offset, arg->offset + rows * param->num * param->bytes);
        if (status != PEL_OK) {
            pel_command_fail(command, status, NULL);
        }
    }
}
