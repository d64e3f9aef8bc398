/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The effects of a work: time is invented, results are real.
 *
 * A launch calls its host variant on the device's own copy of the data, so a transfer that the runtime forgot shows as a wrong
 * result, as it would on a real card. A chunk that fails by plan has done its work before: what it read-wrote in place is spoilt,
 * and only what was saved elsewhere can help, which is what failover has to cope with. One call per launch, on one thread:
 * determinism is the point here.
 */
#include "backend/simulated/internal.h"
#include "base/checked.h"

#include <string.h>

#define LINE 64u

static pel_status fail(pel_simulated_driver *driver, pel_work *work, pel_status status, const char *call, const char *what) {
    const char *name = work->kind == PEL_WORK_LAUNCH ? work->kernel->name : NULL;
    return pel_fail(&work->error, driver->allocator, status,
                    &(pel_story){.device = driver->base.facts->info.id,
                                 .call = call,
                                 .advice = "this machine is simulated: see its description"},
                    "%s%s%s: %s", driver->base.facts->info.id, name != NULL ? ", kernel " : "", name != NULL ? name : "", what);
}

static pel_status move(pel_simulated_driver *driver, pel_work *work, const pel_transfer *transfers, uint32_t count, bool in) {
    for (uint32_t i = 0; i < count; i++) {
        const pel_simulated_mem *mem = (const pel_simulated_mem *)(const void *)transfers[i].mem;
        uint64_t offset = transfers[i].offset, bytes = transfers[i].bytes, rows = pel_transfer_rows(&transfers[i]), last;
        if (!pel_mul_u64(rows - 1, transfers[i].pitch, &last) || !pel_add_u64(last, bytes, &last) ||
            !pel_range_within(offset, last, mem->base.bytes)) {
            return fail(driver, work, PEL_INVALID_ARGUMENT, "transfer", "a transfer leaves its memory object");
        }
        unsigned char *host = pel_transfer_host(&transfers[i]), *device = mem->data + offset;
        for (uint64_t row = 0; row < rows && host != device && bytes > 0; row++) {
            memcpy((in ? device : host) + row * transfers[i].pitch, (in ? host : device) + row * transfers[i].pitch,
                   (size_t)bytes);
        }
    }
    return PEL_OK;
}

static uint64_t divisor_up_to(uint64_t size, uint64_t most) {
    uint64_t divisor = size < most ? size : most;
    while (divisor > 1 && size % divisor != 0) {
        divisor--;
    }
    return divisor > 0 ? divisor : 1;
}

/* Fills what the submitter left open: unused dimensions and the work-group size. */
static void normalise(const pel_span *given, bool groupwise, pel_span *span) {
    *span = *given;
    bool chosen = given->local[0] == 0;
    for (uint32_t d = 0; d < 3; d++) {
        if (d >= span->dims) {
            span->lo[d] = span->offset[d] = 0;
            span->hi[d] = span->global[d] = span->local[d] = 1;
        } else if (chosen || span->local[d] == 0) {
            span->local[d] = groupwise && d == 0 ? divisor_up_to(span->global[0], 64) : 1;
        }
        span->group_lo[d] = span->lo[d] / span->local[d];
        span->group_hi[d] = span->hi[d] / span->local[d] + (span->hi[d] % span->local[d] != 0);
    }
}

static pel_status call_groups(const pel_kernel_image *kernel, const pel_span *span, void *const *arguments, void *scratch) {
    pel_group group = {.dims = span->dims};
    pel_status status = PEL_OK;
    memcpy(group.global, span->global, sizeof group.global);
    memcpy(group.local, span->local, sizeof group.local);
    memcpy(group.offset, span->offset, sizeof group.offset);
    uint64_t *id = group.id;
    for (id[2] = span->group_lo[2]; id[2] < span->group_hi[2]; id[2]++) {
        for (id[1] = span->group_lo[1]; id[1] < span->group_hi[1]; id[1]++) {
            for (id[0] = span->group_lo[0]; id[0] < span->group_hi[0] && status == PEL_OK; id[0]++) {
                for (uint32_t d = 0; d < 3; d++) {
                    group.lo[d] = id[d] * span->local[d];
                    group.hi[d] = group.lo[d] + span->local[d];
                }
                status = kernel->host_group(&group, arguments, scratch, kernel->user);
            }
        }
    }
    return status;
}

/* Bytes of a launch's scratch, local memory and table of arguments, each on cache lines of its own. */
static bool arena_bytes(const pel_work *work, const pel_work_arg *args, uint64_t *bytes) {
    uint64_t total = 2 * LINE, part;
    bool fits = pel_mul_u64(work->kernel->param_count, sizeof(void *), &part) && pel_add_u64(total, part, &total) &&
                pel_add_u64(total, work->kernel->scratch_bytes, &total);
    for (uint32_t i = 0; i < work->kernel->param_count && fits; i++) {
        if (args[i].kind == PEL_WORK_ARG_LOCAL) {
            fits = pel_add_u64(total, LINE, &total) && pel_add_u64(total, args[i].bytes, &total);
        }
    }
    *bytes = total + 2 * LINE;
    return fits && total < SIZE_MAX / 2;
}

static unsigned char *take(unsigned char **at, uint64_t bytes) {
    unsigned char *aligned = (unsigned char *)(((uintptr_t)*at + LINE - 1) & ~(uintptr_t)(LINE - 1));
    *at = aligned + bytes;
    return aligned;
}

/* As numbers: the pointer itself may lie outside of any object, only what the function touches does not. */
static void *rebased(unsigned char *data, uint64_t rebase) { return (void *)((uintptr_t)data - (uintptr_t)rebase); }

static void *argument_of(const pel_work_arg *arg, unsigned char **arena) {
    switch (arg->kind) {
    case PEL_WORK_ARG_VALUE: return arg->host;
    case PEL_WORK_ARG_LOCAL: return take(arena, arg->bytes);
    case PEL_WORK_ARG_MEM:
    case PEL_WORK_ARG_PRIVATE:
        return arg->mem != NULL ? rebased(((const pel_simulated_mem *)(const void *)arg->mem)->data, arg->rebase) : arg->host;
    case PEL_WORK_ARG_NULL: break;
    }
    return NULL;
}

static pel_status launch(pel_simulated_driver *driver, pel_work *work, const pel_span *part, const pel_work_arg *args) {
    const pel_kernel_image *kernel = work->kernel;
    if (kernel->host == NULL && kernel->host_group == NULL) {
        return fail(driver, work, PEL_UNSUPPORTED, "launch", "it has no host variant, and simulated devices run nothing else");
    }
    uint64_t bytes;
    unsigned char *block = arena_bytes(work, args, &bytes) ? pel_alloc(driver->allocator, (size_t)bytes) : NULL;
    if (block == NULL) {
        return fail(driver, work, PEL_OUT_OF_MEMORY, "launch", "no memory for its local and scratch memory");
    }
    unsigned char *at = block;
    void **arguments = (void **)(void *)take(&at, kernel->param_count * sizeof(void *));
    void *scratch = take(&at, kernel->scratch_bytes);
    for (uint32_t i = 0; i < kernel->param_count; i++) {
        arguments[i] = argument_of(&args[i], &at);
    }
    pel_span span;
    normalise(part, kernel->host_group != NULL, &span);
    pel_status status = kernel->host != NULL ? kernel->host(&span, arguments, scratch, kernel->user)
                                             : call_groups(kernel, &span, arguments, scratch);
    if (work->sensitive) {
        pel_wipe(block, bytes);
    }
    pel_free(driver->allocator, block);
    if (status != PEL_OK) {
        char what[64] = "its host variant returned ";
        strncat(what, pel_status_name(status), sizeof what - strlen(what) - 1);
        return fail(driver, work, PEL_TASK_FAILED, "host variant", what);
    }
    return PEL_OK;
}

/* One after the other: what overlaps is time, and steps that run beside each other share no bytes. */
static pel_status launch_steps(pel_simulated_driver *driver, pel_work *work) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < work->step_count && status == PEL_OK; i++) {
        const pel_step *step = &work->steps[i];
        status = move(driver, work, step->in, step->in_count, true);
        status = status == PEL_OK ? launch(driver, work, &step->span, step->args) : status;
        status = status == PEL_OK ? move(driver, work, step->out, step->out_count, false) : status;
    }
    return status;
}

/* Bytes of memory that the kernel may write, as the device sees them. NULL: not such an argument. */
static unsigned char *written_memory(const pel_work *work, uint32_t i) {
    const pel_work_arg *arg = &work->args[i];
    if ((arg->kind != PEL_WORK_ARG_MEM && arg->kind != PEL_WORK_ARG_PRIVATE) || work->kernel->params[i].mode == PEL_READ ||
        arg->bytes == 0) {
        return NULL;
    }
    return arg->mem != NULL ? ((const pel_simulated_mem *)(const void *)arg->mem)->data : arg->host;
}

/* Runs the launch, and flips one bit of a byte that it changed; which one is the device's luck. */
static pel_status launch_wrongly(pel_simulated_driver *driver, pel_work *work) {
    for (uint32_t i = 0; i < work->kernel->param_count; i++) {
        unsigned char *data = written_memory(work, i),
                      *before = data ? pel_alloc(driver->allocator, (size_t)work->args[i].bytes) : NULL;
        if (!before) {
            continue;
        }
        memcpy(before, data, (size_t)work->args[i].bytes);
        pel_status status = launch(driver, work, &work->span, work->args);
        uint64_t changed = 0, chosen = 0;
        for (uint64_t k = 0; k < work->args[i].bytes; k++) { /* each changed byte is chosen with the same chance */
            if (data[k] != before[k] && (double)++changed * pel_simulated_uniform(&driver->stream.random) <= 1.0) {
                chosen = k;
            }
        }
        if (changed > 0) {
            data[chosen] ^= (unsigned char)(1u << (pel_simulated_random(&driver->stream.random) % 8u));
        }
        pel_free(driver->allocator, before);
        return status;
    }
    return launch(driver, work, &work->span, work->args);
}

static pel_status loop(pel_simulated_driver *driver, pel_work *work) {
    /* A few pieces, as there would be with several workers, but in order. */
    uint64_t piece = work->loop_count / 8 + 1;
    piece = piece > work->loop_grain ? piece : work->loop_grain;
    for (uint64_t begin = 0; begin < work->loop_count;) {
        uint64_t end = work->loop_count - begin > piece ? begin + piece : work->loop_count;
        if (work->loop(begin, end, work->context) != PEL_OK) {
            return fail(driver, work, PEL_TASK_FAILED, "host loop", "the loop's function returned a failure");
        }
        begin = end;
    }
    return PEL_OK;
}

static pel_status run(pel_simulated_driver *driver, pel_work *work) {
    bool is_host = driver->base.facts->info.kind == PEL_DEVICE_HOST;
    if (work->kind == PEL_WORK_TRANSFER) {
        return PEL_OK;
    }
    if (work->kind == PEL_WORK_LAUNCH) {
        return work->step_count > 0    ? launch_steps(driver, work)
               : work->child != NULL ? launch_wrongly(driver, work)
                                     : launch(driver, work, &work->span, work->args);
    }
    if (!is_host) {
        return fail(driver, work, PEL_UNSUPPORTED, "submit", "tasks and loops run on the host only");
    }
    if (work->kind == PEL_WORK_LOOP) {
        return loop(driver, work);
    }
    if (work->task(work->context) != PEL_OK) {
        return fail(driver, work, PEL_TASK_FAILED, "host task", "the task's function returned a failure");
    }
    return PEL_OK;
}

void pel_simulated_execute(pel_simulated_driver *driver, pel_work *work) {
    pel_status planned = work->status;
    work->untouched = 0;
    if (atomic_load_explicit(&work->skip, memory_order_acquire)) {
        work->untouched = 1;
        work->status = fail(driver, work, PEL_DEPENDENCY_FAILED, "submit", "not run: what it depends on has failed");
        return;
    }
    if (planned == PEL_DEVICE_LOST) {
        if (work->kind == PEL_WORK_LAUNCH && work->launch_ended > work->launch_began &&
            move(driver, work, work->in, work->in_count, true) == PEL_OK) {
            /* lost on the way: whatever it wrote by then is spoilt, which everything is the worst case of */
            (void)run(driver, work);
            pel_error_destroy(work->error);
            work->error = NULL;
        } else if (work->kind == PEL_WORK_LAUNCH && work->launch_ended == work->launch_began) { /* it was gone before */
            work->untouched = 1;
        }
        (void)fail(driver, work, planned, "simulation", "the device is lost, as its description says (lost_at_chunk)");
        return;
    }
    pel_status status = move(driver, work, work->in, work->in_count, true);
    if (status == PEL_OK) {
        status = run(driver, work);
    }
    if (status == PEL_OK && planned != PEL_OK) {
        status = fail(driver, work, planned, "simulation", "the chunk failed, as its description says (fail_at_chunk)");
    }
    if (status == PEL_OK) {
        status = move(driver, work, work->out, work->out_count, false);
    }
    work->status = status;
}
