/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From numbered units to calls of a host function. Host functions get rectangles of items cut at work-group boundaries; units
 * make any 1- to 3-D span one-dimensional, so that dealing and stealing know nothing of dimensions. A run of units is at most
 * three rectangles: the rest of a row, whole rows, the start of a row. Rows lie along the split dimension because that is the one
 * along which memory is contiguous between rows; a second dimension is cut only when there are too few rows to keep the workers
 * busy. Cuts are at multiples of the step counted from id 0, not from the span, so that chunks of one launch agree about groups.
 */
#include "backend/host/host.h"

#include "base/checked.h"
#include "base/reduce.h"

#include <string.h>

enum {
    UNITS_PER_WORKER = 8,  /* fewer rows than that: rows are cut into blocks */
    ITEMS_PER_CUT = 16,    /* 1-D items without work-groups are cut at multiples of a cache line of floats ... */
    CUTS_PER_WORKER = 256, /* ... when that leaves so many units */
    LARGEST_GROUP = 64,
    KEPT_ARENA = 1 << 20 /* larger arenas are given back when a later launch does not need them */
};
static const uint64_t largest_rows = 1u << 30;

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}
static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}
static uint64_t divide_up(uint64_t a, uint64_t b) {
    return a / b + (a % b != 0);
}

/* The work-group size along dimension 0 when the launch leaves it open: the largest up to 64 that divides the range and the
 * chunk's ends. */
static uint64_t choose_group(const pel_span *span) {
    uint64_t whole = pel_gcd_u64(span->global[0], pel_gcd_u64(span->lo[0], span->hi[0]));
    for (uint64_t size = LARGEST_GROUP; size > 1; size--) {
        if (whole % size == 0) {
            return size;
        }
    }
    return 1;
}

static void normalise(pel_span *span, bool groupwise) {
    bool open = span->local[0] == 0 && span->local[1] == 0 && span->local[2] == 0;
    for (uint32_t d = span->dims; d < 3; d++) {
        span->lo[d] = span->offset[d] = 0;
        span->hi[d] = span->global[d] = span->local[d] = 1;
    }
    if (open && groupwise) {
        span->local[0] = choose_group(span);
    }
    for (uint32_t d = 0; d < 3; d++) {
        span->local[d] = max_u64(span->local[d], 1);
        span->group_lo[d] = span->lo[d] / span->local[d];
        span->group_hi[d] = divide_up(span->hi[d], span->local[d]);
    }
}

pel_status pel_host_units_of_launch(const pel_span *span, uint32_t workers, bool groupwise, pel_host_units *units) {
    if (span->dims < 1 || span->dims > 3 || span->split >= span->dims) {
        return PEL_INVALID_ARGUMENT;
    }
    *units = (pel_host_units){.span = *span, .blocks = 1};
    for (uint32_t d = 0; d < span->dims; d++) {
        if (span->lo[d] >= span->hi[d]) {
            return PEL_OK;
        }
    }
    pel_span *own = &units->span;
    normalise(own, groupwise);
    uint32_t split = own->split;
    uint64_t groups = own->group_hi[split] - own->group_lo[split], per_row = divide_up(groups, largest_rows);
    if (split == 0 && own->local[0] == 1 && groups / ITEMS_PER_CUT >= (uint64_t)CUTS_PER_WORKER * workers) {
        per_row = divide_up(per_row, ITEMS_PER_CUT) * ITEMS_PER_CUT;
    }
    units->step = own->local[split] * per_row;
    units->first_row = own->lo[split] / units->step;
    units->rows = (uint32_t)(divide_up(own->hi[split], units->step) - units->first_row);
    units->across = split == 0 ? 1 : 0;
    for (uint32_t d = 0; d < own->dims; d++) {
        if (d != split && own->group_hi[d] - own->group_lo[d] > own->group_hi[units->across] - own->group_lo[units->across]) {
            units->across = d;
        }
    }
    uint32_t wanted = workers * UNITS_PER_WORKER;
    uint64_t across = own->group_hi[units->across] - own->group_lo[units->across];
    if (workers > 1 && units->rows < wanted && across > 1) {
        uint64_t per_block = divide_up(across, min_u64(across, divide_up(wanted, units->rows)));
        units->block_step = own->local[units->across] * per_block;
        units->first_block = own->lo[units->across] / units->block_step;
        units->blocks = (uint32_t)(divide_up(own->hi[units->across], units->block_step) - units->first_block);
    }
    units->count = units->rows * units->blocks;
    return PEL_OK;
}

void pel_host_units_of_loop(uint64_t count, uint64_t grain, pel_host_units *units) {
    grain = min_u64(max_u64(grain, 1), max_u64(count, 1));
    grain *= divide_up(count / grain, largest_rows) > 1 ? divide_up(count / grain, largest_rows) : 1;
    *units = (pel_host_units){.step = grain, .blocks = 1};
    units->rows = units->count = (uint32_t)(count / grain); /* the last row takes the rest, so no piece is below the grain */
}

/* A worker's arena: the array of arguments, scratch, then local memory and private copies by argument, each 64-byte aligned. */
static bool lay_out(uint64_t *used, uint64_t bytes, uint64_t *at) {
    *at = *used;
    if (!pel_add_u64(*used, bytes, used) || !pel_add_u64(*used, PEL_HOST_LINE - 1, used)) {
        return false;
    }
    *used &= ~(uint64_t)(PEL_HOST_LINE - 1);
    return true;
}

static uint64_t elements(const pel_work_arg *arg, pel_scalar scalar) {
    uint64_t bytes = pel_scalar_bytes(scalar);
    return bytes > 0 ? arg->bytes / bytes : 0;
}

static bool own_memory(const pel_work_arg *arg) {
    return arg->kind == PEL_WORK_ARG_LOCAL || arg->kind == PEL_WORK_ARG_PRIVATE;
}

bool pel_host_arena_bytes(const pel_work *work, size_t *bytes) {
    uint64_t used = 0, at;
    bool fits =
        lay_out(&used, work->kernel->param_count * sizeof(void *), &at) && lay_out(&used, work->kernel->scratch_bytes, &at);
    for (uint32_t i = 0; i < work->kernel->param_count && fits; i++) {
        fits = !own_memory(&work->args[i]) || lay_out(&used, work->args[i].bytes, &at);
    }
    fits = fits && pel_add_u64(used, PEL_HOST_LINE, &used);
    return fits && used <= PTRDIFF_MAX && pel_u64_to_size(used, bytes);
}

bool pel_host_arena_prepare(pel_host_worker *worker, const pel_work *work, size_t bytes) {
    const pel_allocator *allocator = worker->device->env->allocator;
    if (worker->arena_bytes < bytes || (worker->arena_bytes > KEPT_ARENA && worker->arena_bytes > 2 * bytes)) {
        pel_free(allocator, worker->arena);
        worker->arena = pel_alloc(allocator, bytes);
        worker->arena_bytes = worker->arena != NULL ? bytes : 0;
        if (worker->arena == NULL) {
            return false;
        }
    }
    char *base = (char *)(((uintptr_t)worker->arena + PEL_HOST_LINE - 1) & ~(uintptr_t)(PEL_HOST_LINE - 1));
    const pel_kernel_image *kernel = work->kernel;
    uint64_t used = 0, at = 0;
    lay_out(&used, kernel->param_count * sizeof(void *), &at);
    worker->arguments = (void **)(void *)(base + at);
    lay_out(&used, kernel->scratch_bytes, &at);
    worker->scratch = base + at;
    for (uint32_t i = 0; i < kernel->param_count; i++) {
        const pel_work_arg *arg = &work->args[i];
        worker->arguments[i] = arg->kind == PEL_WORK_ARG_NULL ? NULL : arg->host;
        if (own_memory(arg)) {
            lay_out(&used, arg->bytes, &at);
            worker->arguments[i] = base + at;
        }
        if (arg->kind == PEL_WORK_ARG_PRIVATE) {
            pel_scalar scalar = kernel->params[i].scalar;
            pel_reduce_identity(kernel->params[i].op, scalar, worker->arguments[i], elements(arg, scalar));
        }
    }
    return true;
}

void pel_host_fold_private(pel_host_device *device, const pel_work *work, uint64_t generation) {
    for (uint32_t i = 0; i < work->kernel->param_count; i++) {
        const pel_work_arg *arg = &work->args[i];
        if (arg->kind != PEL_WORK_ARG_PRIVATE) {
            continue;
        }
        const pel_param *param = &work->kernel->params[i];
        for (uint32_t w = 0; w < device->worker_count; w++) {
            if (device->workers[w].prepared == generation) {
                pel_reduce_fold(param->op, param->scalar, arg->host, device->workers[w].arguments[i],
                                elements(arg, param->scalar));
            }
        }
    }
}

/* One call per work-group of a rectangle. */
static pel_status run_groups(pel_host_group_fn function, void *user, const pel_span *span, void *const *arguments,
                             void *scratch) {
    pel_group group = {.dims = span->dims};
    memcpy(group.global, span->global, sizeof group.global);
    memcpy(group.local, span->local, sizeof group.local);
    memcpy(group.offset, span->offset, sizeof group.offset);
    for (group.id[2] = span->group_lo[2]; group.id[2] < span->group_hi[2]; group.id[2]++) {
        for (group.id[1] = span->group_lo[1]; group.id[1] < span->group_hi[1]; group.id[1]++) {
            for (group.id[0] = span->group_lo[0]; group.id[0] < span->group_hi[0]; group.id[0]++) {
                for (uint32_t d = 0; d < 3; d++) {
                    uint64_t lo = group.id[d] * span->local[d];
                    group.lo[d] = max_u64(lo, span->lo[d]);
                    group.hi[d] = span->hi[d] - lo < span->local[d] ? span->hi[d] : lo + span->local[d];
                }
                pel_status status = function(&group, arguments, scratch, user);
                if (status != PEL_OK) {
                    return status;
                }
            }
        }
    }
    return PEL_OK;
}

/* Cuts [lo, hi) of one dimension at multiples of `step`: parts [from, to) counted from part `first`. */
static void cut(pel_span *span, uint32_t d, uint64_t step, uint64_t first, uint64_t from, uint64_t to) {
    uint64_t lo = max_u64(span->lo[d], (first + from) * step);
    span->hi[d] = first + to > span->hi[d] / step ? span->hi[d] : (first + to) * step;
    span->lo[d] = lo;
    span->group_lo[d] = lo / span->local[d];
    span->group_hi[d] = divide_up(span->hi[d], span->local[d]);
}

/* Rows [row, row_end) by blocks [block, block_end). */
static pel_status run_rectangle(const pel_host_worker *worker, const pel_work *work, const pel_host_units *units, uint32_t row,
                                uint32_t row_end, uint32_t block, uint32_t block_end) {
    pel_span span = units->span;
    cut(&span, span.split, units->step, units->first_row, row, row_end);
    if (units->blocks > 1) {
        cut(&span, units->across, units->block_step, units->first_block, block, block_end);
    }
    const pel_kernel_image *kernel = work->kernel;
    if (kernel->host != NULL) {
        return kernel->host(&span, worker->arguments, worker->scratch, kernel->user);
    }
    return run_groups(kernel->host_group, kernel->user, &span, worker->arguments, worker->scratch);
}

bool pel_host_whole_of(pel_host_whole *whole, const pel_kernel_image *kernel, const pel_span *span) {
    pel_host_units units;
    if (pel_host_units_of_launch(span, 1, kernel->host == NULL, &units) != PEL_OK || units.count == 0) {
        return false;
    }
    *whole = (pel_host_whole){kernel->host, kernel->host_group, kernel->user, units.span};
    return true;
}

pel_status pel_host_run_whole(const pel_host_whole *whole, void *const *arguments) {
    return whole->host ? whole->host(&whole->span, arguments, NULL, whole->user)
                       : run_groups(whole->group, whole->user, &whole->span, arguments, NULL);
}

pel_status pel_host_launch_units(pel_host_worker *worker, const pel_work *work, const pel_host_units *units, uint32_t lo,
                                 uint32_t hi) {
    uint32_t blocks = units->blocks, row = lo / blocks, row_end = hi / blocks, head = lo % blocks, tail = hi % blocks;
    if (row == row_end) {
        return run_rectangle(worker, work, units, row, row + 1, head, tail);
    }
    pel_status status = PEL_OK;
    if (head > 0) {
        status = run_rectangle(worker, work, units, row, row + 1, head, blocks);
        row++;
    }
    if (status == PEL_OK && row < row_end) {
        status = run_rectangle(worker, work, units, row, row_end, 0, blocks);
    }
    if (status == PEL_OK && tail > 0) {
        status = run_rectangle(worker, work, units, row_end, row_end + 1, 0, tail);
    }
    return status;
}
