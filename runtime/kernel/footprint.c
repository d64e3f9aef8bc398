/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a declaration and a span to lists of byte intervals.
 *
 * The one invariant: for spans that partition a launch, the answers cover what the items touch, each in its own span's list. So
 * every rounding goes outwards, and an element shared by two spans shows up in both, where the conflict rule sees it. Items are
 * counted over the flattened launch; a span that is cut along a lower dimension is therefore a list of runs, merged where they
 * touch. Answers are computed anew each time instead of being stored with the launch: arithmetic is cheaper than keeping lists
 * per possible cut.
 */
#include "base/checked.h"
#include "kernel/declaration.h"
#include <string.h>

const char *pel_param_kind_name(pel_param_kind kind) {
    switch (kind) {
    case PEL_PARAM_KIND_VALUE:
        return "value";
    case PEL_PARAM_KIND_LOCAL:
        return "local memory";
    case PEL_PARAM_KIND_POINTER:
        return "undeclared pointer";
    case PEL_PARAM_KIND_ELEMENTWISE:
        return "elementwise";
    case PEL_PARAM_KIND_BLOCK:
        return "block";
    case PEL_PARAM_KIND_WHOLE:
        return "whole";
    case PEL_PARAM_KIND_PER_GROUP:
        return "per-group";
    case PEL_PARAM_KIND_REDUCE_PRIVATE:
        return "private reduction";
    case PEL_PARAM_KIND_CUSTOM:
        return "custom";
    case PEL_PARAM_KIND_CANCEL:
        return "a cancel flag";
    }
    return "unknown";
}

const char *pel_access_mode_name(pel_access_mode mode) {
    switch (mode) {
    case PEL_READ:
        return "read";
    case PEL_WRITE:
        return "write";
    case PEL_READ_WRITE:
        return "read-write";
    }
    return "unknown";
}

static void intervals_free(const pel_allocator *allocator, pel_intervals *list) {
    pel_free(allocator, list->data);
    *list = (pel_intervals){NULL, 0, 0};
}

static bool grow(const pel_allocator *allocator, pel_intervals *list, uint32_t capacity) {
    if (capacity <= list->capacity) {
        return true;
    }
    pel_interval *data = pel_resize(allocator, list->data, (size_t)capacity * sizeof *data);
    if (!data) {
        return false;
    }
    list->data = data;
    list->capacity = capacity;
    return true;
}

/* Appends [lo, hi); joins it to the last interval when it touches or overlaps that from above. False: no memory. */
static bool intervals_add(const pel_allocator *allocator, pel_intervals *list, uint64_t lo, uint64_t hi) {
    if (lo >= hi) {
        return true;
    }
    if (list->count > 0) {
        pel_interval *last = &list->data[list->count - 1];
        if (lo >= last->lo && lo <= last->hi) {
            last->hi = hi > last->hi ? hi : last->hi;
            return true;
        }
    }
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        if (capacity <= list->capacity || !grow(allocator, list, capacity)) {
            return false;
        }
    }
    list->data[list->count++] = (pel_interval){lo, hi};
    return true;
}

uint64_t pel_items_below_split(const pel_span *span) {
    uint64_t items = 1;
    for (uint32_t d = 0; d < span->split; d++) {
        items *= span->global[d];
    }
    return items;
}

/* The same of all dimensions but the split one. */
static uint64_t items_per_unit(const pel_span *span) {
    uint64_t items = 1;
    for (uint32_t d = 0; d < span->dims; d++) {
        items *= d == span->split ? 1 : span->global[d];
    }
    return items;
}

/* An unsigned integer of 1, 2, 4 or 8 bytes. */
static uint64_t value_as_u64(const void *value, uint64_t bytes) {
    uint8_t v8;
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (bytes) {
    case 1:
        memcpy(&v8, value, sizeof v8);
        return v8;
    case 2:
        memcpy(&v16, value, sizeof v16);
        return v16;
    case 4:
        memcpy(&v32, value, sizeof v32);
        return v32;
    default:
        memcpy(&v64, value, sizeof v64);
        return v64;
    }
}

bool pel_block_pitch(const pel_bound *bound, uint32_t arg, uint64_t *pitch) {
    const pel_param *param = &bound->kernel->image.params[arg];
    if (param->pitch != 0) {
        *pitch = param->pitch;
        return true;
    }
    uint64_t elements = items_per_unit(&bound->span);
    if (param->pitch_argument != 0) {
        const pel_bound_arg *by = &bound->args[param->pitch_argument - 1];
        elements = value_as_u64(by->value, by->bytes);
    }
    return elements != 0 && pel_mul_u64(elements, param->bytes, pitch);
}

/* Runs of a box within a flattened grid, in ascending order: what elementwise items and per-group rows have in common. */
typedef struct grid_box {
    uint64_t extent[3], lo[3], hi[3];
    uint64_t num, den, bytes; /* run [a, b) touches elements [a num / den, b num / den), rounded outwards */
} grid_box;

static bool add_run(const pel_allocator *allocator, pel_intervals *list, const grid_box *box, uint64_t first, uint64_t last) {
    uint64_t lo = pel_muldiv_u64(first, box->num, box->den);
    uint64_t hi = (uint64_t)(((unsigned __int128)last * box->num + (box->den - 1)) / box->den);
    return intervals_add(allocator, list, lo * box->bytes, hi * box->bytes);
}

static bool add_box(const pel_allocator *allocator, pel_intervals *list, const grid_box *box) {
    const uint64_t *extent = box->extent, *lo = box->lo, *hi = box->hi;
    bool rows_full = lo[0] == 0 && hi[0] == extent[0];
    bool slabs_full = rows_full && lo[1] == 0 && hi[1] == extent[1];
    if (slabs_full) {
        uint64_t slab = extent[0] * extent[1];
        return add_run(allocator, list, box, lo[2] * slab, hi[2] * slab);
    }
    for (uint64_t z = lo[2]; z < hi[2]; z++) {
        uint64_t base = z * extent[1];
        if (rows_full) {
            if (!add_run(allocator, list, box, (base + lo[1]) * extent[0], (base + hi[1]) * extent[0])) {
                return false;
            }
            continue;
        }
        for (uint64_t y = lo[1]; y < hi[1]; y++) {
            uint64_t row = (base + y) * extent[0];
            if (!add_run(allocator, list, box, row + lo[0], row + hi[0])) {
                return false;
            }
        }
    }
    return true;
}

static grid_box item_box(const pel_span *span, const pel_param *param) {
    grid_box box = {{1, 1, 1}, {0, 0, 0}, {1, 1, 1}, param->num, param->den, param->bytes};
    for (uint32_t d = 0; d < span->dims; d++) {
        box.extent[d] = span->global[d];
        box.lo[d] = span->lo[d];
        box.hi[d] = span->hi[d];
    }
    return box;
}

static grid_box group_box(const pel_span *span, const pel_param *param) {
    grid_box box = {{1, 1, 1}, {0, 0, 0}, {1, 1, 1}, param->num, 1, param->bytes};
    for (uint32_t d = 0; d < span->dims; d++) {
        box.extent[d] = span->global[d] / span->local[d];
        box.lo[d] = span->group_lo[d];
        box.hi[d] = span->group_hi[d];
    }
    return box;
}

/* The same list for reads and writes, as the mode says. */
static bool by_mode(const pel_allocator *allocator, pel_footprint *footprint, pel_access_mode mode) {
    if (mode == PEL_READ) {
        return true; /* the list was built in reads */
    }
    pel_intervals *reads = &footprint->reads, *writes = &footprint->writes;
    if (mode == PEL_WRITE) {
        pel_intervals swap = *reads;
        *reads = *writes;
        *writes = swap;
        return true;
    }
    if (!grow(allocator, writes, reads->count)) {
        return false;
    }
    if (reads->count > 0) {
        memcpy(writes->data, reads->data, reads->count * sizeof *reads->data);
    }
    writes->count = reads->count;
    return true;
}

static bool block_footprint(const pel_bound *bound, const pel_span *span, uint32_t arg, pel_footprint *footprint) {
    const pel_param *param = &bound->kernel->image.params[arg];
    const pel_allocator *allocator = &bound->kernel->runtime->allocator;
    uint64_t lo = span->lo[span->split], hi = span->hi[span->split], units = span->global[span->split], pitch = 0;
    if (!pel_block_pitch(bound, arg, &pitch) || lo >= hi) {
        return true; /* the pitch was checked when the launch was bound */
    }
    uint64_t from = lo > param->halo_lo ? lo - param->halo_lo : 0;
    uint64_t to = units - hi > param->halo_hi ? hi + param->halo_hi : units;
    bool fine = true;
    if (param->mode != PEL_WRITE) {
        fine = intervals_add(allocator, &footprint->reads, from * pitch, to * pitch);
    } else {
        fine = intervals_add(allocator, &footprint->reads, from * pitch, lo * pitch) &&
               intervals_add(allocator, &footprint->reads, hi * pitch, to * pitch);
    }
    if (param->mode != PEL_READ) {
        fine = fine && intervals_add(allocator, &footprint->writes, lo * pitch, hi * pitch);
    }
    return fine;
}

static int compare_intervals(const void *left, const void *right) {
    const pel_interval *a = left, *b = right;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static void sort_and_merge(pel_intervals *list) {
    pel_heap_sort(list->data, list->count, sizeof *list->data, compare_intervals);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        pel_interval next = list->data[i];
        if (next.lo >= next.hi) {
            continue;
        }
        if (kept > 0 && next.lo <= list->data[kept - 1].hi) {
            pel_interval *last = &list->data[kept - 1];
            last->hi = next.hi > last->hi ? next.hi : last->hi;
        } else {
            list->data[kept++] = next;
        }
    }
    list->count = kept;
}

/* Asks the user's function. Its answer is not trusted: bytes outside the argument are an error, not a transfer. */
static pel_status custom_footprint(const pel_bound *bound, const pel_span *span, uint32_t arg, pel_footprint *footprint) {
    const pel_param *param = &bound->kernel->image.params[arg];
    const pel_allocator *allocator = &bound->kernel->runtime->allocator;
    pel_intervals *list = &footprint->reads;
    if (!grow(allocator, list, 8)) {
        return PEL_OUT_OF_MEMORY;
    }
    uint32_t count = param->custom(span, (const void *const *)bound->values, param->user, list->data, list->capacity);
    if (count > list->capacity) {
        if (!grow(allocator, list, count)) {
            return PEL_OUT_OF_MEMORY;
        }
        uint32_t again = param->custom(span, (const void *const *)bound->values, param->user, list->data, list->capacity);
        if (again != count) {
            return PEL_INVALID_ARGUMENT; /* same span, other answer: not pure */
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (list->data[i].lo > list->data[i].hi) {
            return PEL_INVALID_ARGUMENT;
        }
        if (list->data[i].hi > bound->args[arg].bytes) {
            return PEL_TOO_LARGE;
        }
    }
    list->count = count;
    sort_and_merge(list);
    return by_mode(allocator, footprint, param->mode) ? PEL_OK : PEL_OUT_OF_MEMORY;
}

pel_status pel_footprint_query(const pel_bound *bound, const pel_span *span, uint32_t arg, pel_footprint *footprint) {
    const pel_param *param = &bound->kernel->image.params[arg];
    const pel_allocator *allocator = &bound->kernel->runtime->allocator;
    footprint->reads.count = footprint->writes.count = 0;
    footprint->known = true;
    if (!bound->args[arg].allocation) {
        return PEL_OK; /* a value, local memory, or a null pointer */
    }
    bool fine = true;
    grid_box box;
    switch (param->kind) {
    case PEL_PARAM_KIND_VALUE:
    case PEL_PARAM_KIND_LOCAL:
        return PEL_OK;
    case PEL_PARAM_KIND_POINTER:
        footprint->known = false;
        fine = intervals_add(allocator, &footprint->reads, 0, bound->args[arg].bytes) &&
               by_mode(allocator, footprint, param->mode == PEL_READ ? PEL_READ : PEL_READ_WRITE);
        break;
    case PEL_PARAM_KIND_WHOLE:
        fine = intervals_add(allocator, &footprint->reads, 0, bound->args[arg].bytes) &&
               by_mode(allocator, footprint, param->mode);
        break;
    case PEL_PARAM_KIND_ELEMENTWISE:
        box = item_box(span, param);
        fine = add_box(allocator, &footprint->reads, &box) && by_mode(allocator, footprint, param->mode);
        break;
    case PEL_PARAM_KIND_PER_GROUP:
        box = group_box(span, param);
        fine = add_box(allocator, &footprint->reads, &box) && by_mode(allocator, footprint, PEL_WRITE);
        break;
    case PEL_PARAM_KIND_BLOCK:
        fine = block_footprint(bound, span, arg, footprint);
        break;
    case PEL_PARAM_KIND_REDUCE_PRIVATE:
        fine = intervals_add(allocator, &footprint->reads, 0, param->num * param->bytes) &&
               by_mode(allocator, footprint, PEL_READ_WRITE);
        break;
    case PEL_PARAM_KIND_CANCEL:
        break;
    case PEL_PARAM_KIND_CUSTOM:
        return custom_footprint(bound, span, arg, footprint);
    }
    return fine ? PEL_OK : PEL_OUT_OF_MEMORY;
}

void pel_footprint_free(const pel_allocator *allocator, pel_footprint *footprint) {
    intervals_free(allocator, &footprint->reads);
    intervals_free(allocator, &footprint->writes);
}
