/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many steps, and how large their windows.
 *
 * Small steps fill and drain the pipeline quickly; each costs a launch and the starts of its transfers. With n steps the time
 * lost is about (in + out) / n + n * fixed, least at n = sqrt((in + out) / fixed). Memory may ask for more steps than that, never
 * for fewer. The windows that a step needs are taken from its footprint, not from an average: halos, tails and custom functions
 * may differ from step to step. So a guess is made, measured on all its steps, and shrunk until it fits.
 */
#include "queue/stream_shape.h"
#include "base/checked.h"
#include "queue/stream.h"
#include <math.h>
#include <string.h>

enum { MOST_STEPS = 1 << 16, FEWEST_STEPS = 8 };

void pel_stream_shape_free(pel_stream_shape *shape) {
    if (shape->allocator) {
        pel_free(shape->allocator, shape->group);
        pel_free(shape->allocator, shape->ranges);
        pel_free(shape->allocator, shape->sizes);
    }
    *shape = (pel_stream_shape){0};
}

void pel_stream_step(const pel_stream_shape *shape, uint64_t lo, uint64_t hi, uint32_t step, uint64_t *from, uint64_t *to) {
    *from = lo + step * shape->step_units;
    *to = hi - *from > shape->step_units ? *from + shape->step_units : hi;
}

/* The hull of what one argument needs in [from, to), within its allocation; empty: hi is 0. */
static pel_status hull_of(const pel_bound *bound, uint32_t arg, uint64_t from, uint64_t to, pel_footprint *footprint,
                          pel_window_range *hull) {
    pel_span span;
    *hull = (pel_window_range){UINT64_MAX, 0};
    pel_bound_span(bound, from, to, &span);
    pel_status status = pel_footprint_query(bound, &span, arg, footprint);
    for (int pass = 0; pass < 2 && status == PEL_OK; pass++) {
        const pel_intervals *list = pass == 0 ? &footprint->reads : &footprint->writes;
        if (list->count > 0) {
            hull->lo = list->data[0].lo < hull->lo ? list->data[0].lo : hull->lo;
            hull->hi = list->data[list->count - 1].hi > hull->hi ? list->data[list->count - 1].hi : hull->hi;
        }
    }
    if (hull->hi != 0) {
        hull->lo = (bound->args[arg].offset + hull->lo) / PEL_WINDOW_ALIGNMENT * PEL_WINDOW_ALIGNMENT;
        hull->hi += bound->args[arg].offset;
    }
    return status;
}

/* hulls[step * arg_count + arg] */
static pel_status find_hulls(const pel_bound *bound, uint64_t lo, uint64_t hi, const pel_stream_shape *shape,
                             pel_window_range *hulls) {
    pel_footprint footprint = {0};
    pel_status status = PEL_OK;
    for (uint32_t s = 0; s < shape->step_count && status == PEL_OK; s++) {
        uint64_t from, to;
        pel_stream_step(shape, lo, hi, s, &from, &to);
        for (uint32_t i = 0; i < bound->arg_count && status == PEL_OK; i++) {
            pel_window_range *hull = &hulls[(size_t)s * bound->arg_count + i];
            *hull = (pel_window_range){UINT64_MAX, 0};
            status = pel_stream_windowed(bound, i) ? hull_of(bound, i, from, to, &footprint, hull) : PEL_OK;
        }
    }
    pel_footprint_free(shape->allocator, &footprint);
    return status;
}

static bool meet(const pel_window_range *a, const pel_window_range *b) { return a->lo < b->hi && b->lo < a->hi; }

/* Two windows over one byte would be two truths: arguments that meet in any step are one group in all. */
static void group_arguments(const pel_bound *bound, pel_stream_shape *shape, const pel_window_range *hulls) {
    const uint32_t args = bound->arg_count;
    for (uint32_t i = 0; i < args; i++) {
        shape->group[i] = pel_stream_windowed(bound, i) ? i : PEL_NO_WINDOW;
        for (uint32_t j = 0; j < i && shape->group[i] == i; j++) {
            bool together = false;
            for (uint32_t s = 0; s < shape->step_count && !together && shape->group[j] != PEL_NO_WINDOW; s++) {
                together = bound->args[i].allocation == bound->args[j].allocation &&
                           meet(&hulls[(size_t)s * args + i], &hulls[(size_t)s * args + j]);
            }
            shape->group[i] = together ? shape->group[j] : i;
        }
        /* It may join two groups that did not meet each other. */
        for (uint32_t j = 0; j < i && shape->group[i] != PEL_NO_WINDOW; j++) {
            bool together = false;
            for (uint32_t s = 0;
                 s < shape->step_count && !together && shape->group[j] != PEL_NO_WINDOW && shape->group[j] != shape->group[i];
                 s++) {
                together = bound->args[i].allocation == bound->args[j].allocation &&
                           meet(&hulls[(size_t)s * args + i], &hulls[(size_t)s * args + j]);
            }
            for (uint32_t k = 0, from = shape->group[j]; together && k <= i; k++) {
                shape->group[k] = shape->group[k] == from ? shape->group[i] : shape->group[k];
            }
        }
    }
}

/* Numbers the groups and takes the hulls of their arguments together. */
static pel_status measure_groups(const pel_bound *bound, pel_stream_shape *shape, const pel_window_range *hulls) {
    const uint32_t args = bound->arg_count;
    uint32_t count = 0;
    for (uint32_t i = 0; i < args; i++) {
        const uint32_t name = shape->group[i];
        if (name == PEL_NO_WINDOW || (name & 1u << 31) != 0) {
            continue;
        }
        for (uint32_t k = i; k < args; k++) {
            shape->group[k] = shape->group[k] == name ? count | 1u << 31 : shape->group[k];
        }
        count++;
    }
    for (uint32_t i = 0; i < args; i++) {
        shape->group[i] = shape->group[i] == PEL_NO_WINDOW ? PEL_NO_WINDOW : shape->group[i] & ~(1u << 31);
    }
    pel_free(shape->allocator, shape->ranges);
    pel_free(shape->allocator, shape->sizes);
    shape->group_count = count;
    shape->ranges = pel_alloc_zero(shape->allocator, (size_t)shape->step_count * count + 1, sizeof *shape->ranges);
    shape->sizes = pel_alloc_zero(shape->allocator, count + 1u, sizeof *shape->sizes);
    if (!shape->ranges || !shape->sizes) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t s = 0; s < shape->step_count; s++) {
        for (uint32_t i = 0; i < args; i++) {
            const pel_window_range *hull = &hulls[(size_t)s * args + i];
            if (shape->group[i] != PEL_NO_WINDOW && hull->hi != 0) {
                pel_window_range *range = &shape->ranges[(size_t)s * count + shape->group[i]];
                range->lo = range->hi == 0 || hull->lo < range->lo ? hull->lo : range->lo;
                range->hi = hull->hi > range->hi ? hull->hi : range->hi;
            }
        }
        for (uint32_t g = 0; g < count; g++) {
            const pel_window_range *range = &shape->ranges[(size_t)s * count + g];
            shape->sizes[g] = range->hi - range->lo > shape->sizes[g] ? range->hi - range->lo : shape->sizes[g];
        }
    }
    return PEL_OK;
}

/* The shape with steps of step_units. */
static pel_status measure(const pel_bound *bound, uint64_t lo, uint64_t hi, pel_stream_shape *shape) {
    shape->step_count = (uint32_t)((hi - lo + shape->step_units - 1) / shape->step_units);
    pel_window_range *hulls = pel_alloc(shape->allocator, (size_t)shape->step_count * (bound->arg_count + 1u) * sizeof *hulls);
    if (!hulls) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_status status = find_hulls(bound, lo, hi, shape, hulls);
    if (status == PEL_OK) {
        group_arguments(bound, shape, hulls);
        status = measure_groups(bound, shape, hulls);
    }
    pel_free(shape->allocator, hulls);
    return status;
}

/* Whether `depth` windows of every group fit; notes what they take. */
static bool fits(pel_stream_shape *shape, const pel_stream_room *room, uint32_t depth) {
    uint64_t sum = 0;
    bool fine = true;
    shape->depth = depth < shape->step_count ? depth : shape->step_count;
    for (uint32_t g = 0; g < shape->group_count; g++) {
        uint64_t bytes;
        fine = fine && (room->largest == 0 || shape->sizes[g] <= room->largest);
        if (!pel_mul_u64(shape->sizes[g], shape->depth, &bytes) || !pel_add_u64(sum, bytes, &sum)) {
            sum = UINT64_MAX;
        }
    }
    shape->bytes = sum;
    return fine && sum <= room->bytes;
}

static uint64_t first_guess(const pel_bound *bound, uint64_t units, const pel_stream_room *room) {
    double steps = room->fixed_ns > 0 && room->moving_ns > 0 ? sqrt(room->moving_ns / room->fixed_ns) : FEWEST_STEPS;
    steps = steps < FEWEST_STEPS ? FEWEST_STEPS : steps > MOST_STEPS / 16 ? MOST_STEPS / 16 : steps;
    uint64_t guess = (uint64_t)((double)units / steps) / bound->granularity * bound->granularity;
    return guess > bound->granularity ? guess : bound->granularity;
}

pel_status pel_stream_shape_make(const pel_bound *bound, uint64_t lo, uint64_t hi, const pel_stream_room *room,
                                 pel_stream_shape *shape) {
    const uint64_t units = hi - lo, granule = bound->granularity;
    *shape = (pel_stream_shape){.allocator = &bound->kernel->runtime->allocator, .step_units = first_guess(bound, units, room)};
    shape->group = pel_alloc_zero(shape->allocator, bound->arg_count + 1u, sizeof *shape->group);
    pel_status status = shape->group ? PEL_OK : PEL_OUT_OF_MEMORY;
    while (status == PEL_OK) {
        if ((units + shape->step_units - 1) / shape->step_units > MOST_STEPS) {
            status = PEL_TOO_LARGE;
            break;
        }
        status = measure(bound, lo, hi, shape);
        if (status != PEL_OK || fits(shape, room, PEL_STREAM_DEPTH)) {
            return status;
        }
        if (shape->step_units <= granule) { /* better without overlap than not at all */
            return fits(shape, room, 2) || fits(shape, room, 1) ? PEL_OK : PEL_TOO_LARGE;
        }
        /* What is too much by a factor is cut by it, and a little more for what does not shrink. */
        double factor = shape->bytes > room->bytes ? (double)room->bytes / (double)shape->bytes : 0.75;
        uint64_t smaller = (uint64_t)((double)shape->step_units * (factor < 0.75 ? factor : 0.75)) / granule * granule;
        shape->step_units = smaller > granule ? smaller : granule;
    }
    return status;
}
