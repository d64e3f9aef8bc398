/* SPDX-License-Identifier: BSD-3-Clause */
#include "planner/internal.h"
#include "planner/wide.h"
#include "topology/core_set.h"

#include <math.h>
#include <string.h>

#define BISECTIONS 100 /* enough for the last bit of a double, from whatever begin */

/* Lines do not depend on the other devices, but for what shares the host's memory: so they are digested in blocks. */
static void digest_block(pel_wide *wide, uint32_t first, const pel_plan_scales *scales) {
    pel_plan_request part = *wide->request;
    pel_planning planning;
    const uint32_t left = wide->count - first;
    part.devices += first;
    part.device_count = left < PEL_PLAN_DEVICE_LIMIT ? left : PEL_PLAN_DEVICE_LIMIT;
    if (pel_plan_begin(&part, wide->result, &planning) != PEL_OK) {
        return; /* it was checked before */
    }
    for (uint32_t i = 0; i < part.device_count; i++) {
        const pel_plan_device *device = &part.devices[i];
        const bool guessed = !pel_plan_measured(device); /* from what the others do, in this block or not */
        const double unit = guessed ? pel_plan_guess(device, scales) * (double)part.granularity : planning.unit[i];
        wide->lines[first + i] = (pel_wide_line){.start = planning.start[i],
                                                 .unit = unit,
                                                 .error = planning.error[i],
                                                 .knee = planning.knee[i],
                                                 .alone_start = planning.alone_start[i],
                                                 .alone_unit = guessed ? unit : planning.alone_unit[i],
                                                 .alone_error = planning.alone_error[i],
                                                 .limit = planning.limit[i],
                                                 .usable = (planning.usable & pel_bit(i)) != 0,
                                                 .known = (planning.known & pel_bit(i)) != 0};
    }
}

pel_status pel_wide_begin(pel_wide *wide, const pel_plan_request *request, pel_plan_result *result) {
    pel_plan_request few = *request;
    pel_planning planning;
    few.device_count = 1;
    pel_status status = pel_plan_begin(&few, result, &planning); /* what is no matter of how many devices */
    if (status != PEL_OK) {
        return status;
    }
    if (request->device_count > PEL_PLAN_WIDE_LIMIT || request->allocator == NULL) {
        return pel_plan_malformed(result, "between 1 and 8192 devices can be planned for, more than 64 with an allocator");
    }
    for (uint32_t i = 0; i < request->device_count; i++) {
        if (request->devices[i].id == NULL) {
            return pel_plan_malformed(result, "a device without an id");
        }
    }
    *wide = (pel_wide){.request = request, .result = result, .count = request->device_count, .quanta = planning.quanta};
    wide->profile = pel_plan_profile(request);
    wide->lines = pel_alloc(request->allocator, request->device_count * (sizeof *wide->lines + sizeof *wide->order));
    if (wide->lines == NULL) {
        (void)pel_plan_malformed(result, "no memory to plan for so many devices");
        return PEL_OUT_OF_MEMORY;
    }
    wide->order = (uint32_t *)(void *)(wide->lines + request->device_count);
    const pel_plan_scales scales = pel_plan_scales_of(request);
    for (uint32_t first = 0; first < wide->count; first += PEL_PLAN_DEVICE_LIMIT) {
        digest_block(wide, first, &scales);
    }
    return PEL_OK;
}

void pel_wide_end(pel_wide *wide) { pel_free(wide->request->allocator, wide->lines); }

double pel_wide_finish(const pel_wide_line *line, uint64_t quanta) {
    return line->start + line->unit * fmax((double)quanta, line->knee);
}

double pel_wide_alone(const pel_wide *wide, uint32_t device) {
    const pel_wide_line *line = &wide->lines[device];
    const double quanta = (double)wide->request->units / (double)wide->request->granularity;
    return line->alone_start + line->alone_unit * fmax(quanta, line->knee);
}

/* Heap sort of wide->order by the lines' units, the fastest first, ties by number: the order of equal ones must not depend on
 * luck. */
static bool is_slower(const pel_wide *wide, uint32_t a, uint32_t b) {
    const double left = wide->lines[a].unit, right = wide->lines[b].unit;
    return left > right || (left >= right && a > b);
}

static void sift(pel_wide *wide, uint32_t at, uint32_t count) {
    uint32_t *order = wide->order;
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && is_slower(wide, order[child + 1], order[child]) ? 1u : 0u;
        if (!is_slower(wide, order[child], order[at])) {
            return;
        }
        const uint32_t swap = order[at];
        order[at] = order[child];
        order[child] = swap;
    }
}

static void sort_by_unit(pel_wide *wide, uint32_t count) {
    for (uint32_t at = count / 2; at-- > 0;) {
        sift(wide, at, count);
    }
    for (uint32_t end = count; end-- > 1;) {
        const uint32_t swap = wide->order[0];
        wide->order[0] = wide->order[end];
        wide->order[end] = swap;
        sift(wide, 0, end);
    }
}

void pel_wide_disjoin(pel_wide *wide, pel_core_set *taken) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < wide->count; i++) {
        if (wide->lines[i].in && wide->request->devices[i].cores != NULL) {
            wide->order[count++] = i;
        }
    }
    sort_by_unit(wide, count);
    for (uint32_t i = 0; i < count; i++) {
        const pel_core_set *cores = wide->request->devices[wide->order[i]].cores;
        if (pel_core_set_overlaps(cores, taken)) {
            wide->lines[wide->order[i]].in = false;
        } else {
            pel_core_set_unite(taken, cores);
        }
    }
}

/* Whole quanta that it finishes until `level`; as fill.c. */
static uint64_t quanta_until(const pel_wide_line *line, double level) {
    const double fluid = (level - line->start) / line->unit;
    if (!(fluid >= 1.0) || level < pel_wide_finish(line, 0)) {
        return 0;
    }
    return fluid >= (double)line->limit ? line->limit : (uint64_t)fluid;
}

/* Whether those that are in finish `quanta` until `level`. */
static bool holds(const pel_wide *wide, double level, uint64_t quanta) {
    uint64_t left = quanta;
    for (uint32_t i = 0; i < wide->count && left > 0; i++) {
        const uint64_t share = wide->lines[i].in ? quanta_until(&wide->lines[i], level) : 0;
        left -= share < left ? share : left;
    }
    return left == 0;
}

/* Neighbouring levels, of which one is too low; false: none is high enough. */
static bool find_level(const pel_wide *wide, uint64_t quanta, double *low, double *high) {
    *low = 0.0;
    *high = 1.0;
    for (int i = 0; i < 1100 && isfinite(*high) && !holds(wide, *high, quanta); i++) {
        *low = *high;
        *high *= 2.0;
    }
    if (!isfinite(*high) || !holds(wide, *high, quanta)) {
        return false;
    }
    for (int i = 0; i < BISECTIONS; i++) {
        const double middle = 0.5 * (*low + *high);
        if (middle <= *low || middle >= *high) {
            break;
        }
        *(holds(wide, middle, quanta) ? high : low) = middle;
    }
    return true;
}

bool pel_wide_fill(pel_wide *wide, uint64_t quanta, double *makespan) {
    double low, high;
    uint64_t room = 0, left = quanta;
    *makespan = 0.0;
    for (uint32_t i = 0; i < wide->count && room < quanta; i++) {
        room += wide->lines[i].in ? wide->lines[i].limit : 0; /* none is more than the whole, so this ends before it overflows */
    }
    if (quanta == 0 || room < quanta || !find_level(wide, quanta, &low, &high)) {
        return false;
    }
    /* What is done until the lower level is not enough; the rest goes to the first ones of those that step between the two. */
    for (uint32_t i = 0; i < wide->count; i++) {
        pel_wide_line *line = &wide->lines[i];
        if (line->in) {
            const uint64_t share = quanta_until(line, low);
            line->share = share < left ? share : left;
            left -= line->share;
        }
    }
    for (uint32_t i = 0; i < wide->count; i++) {
        pel_wide_line *line = &wide->lines[i];
        if (line->in) {
            const uint64_t share = quanta_until(line, high), more = share > line->share ? share - line->share : 0;
            line->share += more < left ? more : left;
            left -= more < left ? more : left;
            *makespan = line->share > 0 ? fmax(*makespan, pel_wide_finish(line, line->share)) : *makespan;
        }
    }
    return left == 0;
}

pel_status pel_wide_emit(pel_wide *wide) {
    const pel_plan_request *request = wide->request;
    pel_plan_result *result = wide->result;
    uint32_t count = 0;
    for (uint32_t i = 0; i < wide->count; i++) {
        count += wide->lines[i].share > 0 ? 1u : 0u;
    }
    pel_plan_slice *slices = pel_alloc(request->allocator, (count + 1u) * sizeof *slices);
    if (slices == NULL) {
        (void)pel_plan_malformed(result, "no memory for a plan of so many parts");
        return PEL_OUT_OF_MEMORY;
    }
    pel_plan_result_free(request->allocator, result);
    result->many = slices;
    result->slice_count = 0;
    result->predicted_ns = 0.0;
    bool complete = true;
    uint64_t lo = 0, given = 0;
    for (uint32_t i = 0, seen = 0; i < wide->count; i++) {
        const pel_wide_line *line = &wide->lines[i];
        if (line->share == 0) {
            continue;
        }
        given += line->share;
        uint64_t hi = ++seen == count ? request->units : pel_plan_edge(request, wide->profile, given, wide->quanta);
        hi = hi > request->units ? request->units : hi;
        if (hi <= lo) {
            continue; /* a part of dense work that is narrower than a quantum */
        }
        const bool measured = pel_plan_measured(&request->devices[i]);
        const double time = count == 1 ? pel_wide_alone(wide, i) : pel_wide_finish(line, line->share);
        slices[result->slice_count++] = (pel_plan_slice){.device = i, .lo = lo, .hi = hi, .predicted_ns = measured ? time : 0.0};
        complete = complete && measured;
        result->predicted_ns = fmax(result->predicted_ns, time);
        lo = hi;
    }
    result->predicted_ns = complete ? result->predicted_ns : 0.0;
    return PEL_OK;
}
