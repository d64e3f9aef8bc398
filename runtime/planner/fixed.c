/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shares that the caller dictates (pel_launch_desc.shares), of few devices and of thousands.
 *
 * Cuts are at rounded cumulative weights, so that a cut depends on the weights before it only and never wanders with the rest.
 * What is asked for is done exactly or refused with the reason: quietly using other devices or other shares would spoil the
 * measurement it was asked for.
 */
#include "planner/internal.h"
#include "planner/wide.h"
#include "topology/core_set.h"

#include <math.h>

typedef struct shares {
    const pel_plan_request *request;
    pel_plan_result *result;
    const pel_planning *few; /* one of these two says what a share takes: */
    const pel_wide *many;
    const uint32_t *devices;
    const double *weights;
    double sum;
    uint32_t last; /* of the weights above 0 */
    uint64_t quanta;
    pel_core_set taken;
    uint64_t named[PEL_PLAN_WIDE_LIMIT / 64]; /* a bit for each device that has a share */
    pel_plan_slice *slices;
} shares;

/* "A uses the same cores as B": the first that has a share and does. */
static pel_status refuse_overlap(const shares *s, uint32_t i) {
    const pel_plan_device *device = &s->request->devices[s->devices[i]], *rival = device;
    for (uint32_t k = 0; k < i && rival == device; k++) {
        const pel_plan_device *other = &s->request->devices[s->devices[k]];
        rival = s->weights[k] > 0.0 && other->cores && pel_core_set_overlaps(device->cores, other->cores) ? other : device;
    }
    pel_words words;
    pel_words_begin(&words, s->result->reason, sizeof s->result->reason);
    pel_words_put(&words, "shares: ");
    pel_words_put(&words, device->id);
    pel_words_put(&words, " uses the same cores as ");
    pel_words_put(&words, rival->id);
    pel_words_put(&words, "; declare disjoint core sets (\"host@0,opencl:0@1\") to run them at once");
    return PEL_CONFLICT;
}

static pel_status check_share(shares *s, uint32_t i) {
    const uint32_t index = s->devices[i];
    if (index >= s->request->device_count || (s->named[index / 64] & pel_bit(index % 64)) != 0) {
        return pel_plan_malformed(s->result, "shares: a device is named twice, or does not belong to the runtime");
    }
    if (!(s->weights[i] >= 0.0) || !isfinite(s->weights[i])) {
        return pel_plan_malformed(s->result, "shares: a weight must be finite and not negative");
    }
    const pel_plan_device *device = &s->request->devices[index];
    if (s->weights[i] > 0.0 && device->excluded) {
        pel_words words;
        pel_words_begin(&words, s->result->reason, sizeof s->result->reason);
        pel_words_put(&words, device->id);
        pel_words_put(&words, " was asked for: ");
        pel_words_put(&words, device->excluded);
        return PEL_NO_DEVICE;
    }
    if (s->weights[i] > 0.0 && device->cores && pel_core_set_overlaps(device->cores, &s->taken)) {
        return refuse_overlap(s, i);
    }
    if (s->weights[i] > 0.0) {
        s->named[index / 64] |= pel_bit(index % 64);
        s->last = i;
        if (device->cores) {
            pel_core_set_unite(&s->taken, device->cores);
        }
    }
    s->sum += s->weights[i];
    return PEL_OK;
}

static pel_status check_shares(shares *s, uint32_t count) {
    if (!s->devices || !s->weights || count == 0 || count > s->request->device_count) {
        return pel_plan_malformed(s->result, "shares: between 1 and one for each device are possible");
    }
    for (uint32_t i = 0; i < count; i++) {
        const pel_status status = check_share(s, i);
        if (status != PEL_OK) {
            return status;
        }
    }
    return s->sum > 0.0 && isfinite(s->sum) ? PEL_OK
                                            : pel_plan_malformed(s->result, "shares: the weights must have a finite sum above 0");
}

/* What [lo, hi) takes there; 0: nobody knows. */
static double time_of(const shares *s, uint32_t index, uint64_t lo, uint64_t hi) {
    const bool alone = hi - lo == s->request->units;
    if (!pel_plan_measured(&s->request->devices[index])) {
        return 0.0;
    }
    if (s->few) {
        return alone ? pel_plan_alone(s->few, index) : pel_plan_time(s->few, index, pel_plan_work(s->request, lo, hi));
    }
    const pel_wide_line *line = &s->many->lines[index];
    const double quanta = (double)(hi - lo) / (double)s->request->granularity;
    return alone ? pel_wide_alone(s->many, index) : line->start + line->unit * fmax(quanta, line->knee);
}

static pel_status add_slice(const shares *s, uint32_t index, uint64_t lo, uint64_t hi) {
    const pel_plan_device *device = &s->request->devices[index];
    if (hi - lo > device->unit_limit) {
        pel_words words;
        pel_words_begin(&words, s->result->reason, sizeof s->result->reason);
        pel_words_put(&words, device->id);
        pel_words_put(&words, " was asked for: ");
        pel_words_memory(&words, device->unit_limit, hi - lo);
        return PEL_TOO_LARGE;
    }
    s->slices[s->result->slice_count++] =
        (pel_plan_slice){.device = index, .lo = lo, .hi = hi, .predicted_ns = time_of(s, index, lo, hi)};
    return PEL_OK;
}

static pel_status cut(const shares *s) {
    const pel_plan_request *request = s->request;
    double passed = 0.0;
    uint64_t lo = 0;
    for (uint32_t i = 0; i <= s->last; i++) {
        passed += s->weights[i];
        const double edge = passed / s->sum * (double)s->quanta + 0.5;
        const uint64_t quanta = edge >= (double)s->quanta ? s->quanta : (uint64_t)edge;
        const uint64_t hi = i == s->last || quanta == s->quanta ? request->units : quanta * request->granularity;
        if (s->weights[i] > 0.0 && hi > lo) {
            const pel_status status = add_slice(s, s->devices[i], lo, hi);
            if (status != PEL_OK) {
                return status;
            }
            lo = hi;
        }
    }
    if (request->single_only && s->result->slice_count > 1) {
        (void)pel_plan_malformed(s->result, "shares: this launch may not be split; name one device");
        return PEL_UNSUPPORTED;
    }
    return PEL_OK;
}

static void summarise(pel_plan_result *result) {
    pel_plan_choice *choice = &result->choices[result->choice_count++];
    const pel_plan_slice *slices = pel_plan_slices(result);
    bool complete = true;
    *choice = (pel_plan_choice){.chosen = true};
    for (uint32_t i = 0; i < result->slice_count; i++) {
        choice->device_mask |= result->many ? 0 : pel_bit(slices[i].device);
        complete = complete && slices[i].predicted_ns > 0.0;
        result->predicted_ns = fmax(result->predicted_ns, slices[i].predicted_ns);
    }
    if (result->many) {
        choice->many = result->slice_count;
        choice->only = slices[0].device;
    }
    result->predicted_ns = complete ? result->predicted_ns : 0.0;
    choice->predicted_ns = result->predicted_ns;
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    pel_words_put(&words, "as the caller asked");
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_put(&words, "fixed shares, as the caller asked");
}

static pel_status divide(shares *s, uint32_t count) {
    pel_plan_result *result = s->result;
    pel_status status = check_shares(s, count);
    if (status == PEL_OK && s->many) {
        result->many = pel_alloc(s->request->allocator, count * sizeof *result->many);
        status = result->many ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    s->slices = result->many ? result->many : result->slices;
    status = status == PEL_OK ? cut(s) : status;
    if (status == PEL_OK) {
        summarise(result);
    } else {
        result->slice_count = 0;
    }
    return status;
}

pel_status pel_planner_fixed(const pel_plan_request *request, const uint32_t *devices, const double *weights, uint32_t count,
                             pel_plan_result *result) {
    shares s = {.request = request, .result = result, .devices = devices, .weights = weights};
    if (request->device_count <= PEL_PLAN_DEVICE_LIMIT) {
        pel_planning few;
        const pel_status status = pel_plan_begin(request, result, &few);
        s.few = &few;
        s.quanta = few.quanta;
        return status == PEL_OK ? divide(&s, count) : status;
    }
    pel_wide many;
    pel_status status = pel_wide_begin(&many, request, result);
    if (status == PEL_OK) {
        s.many = &many;
        s.quanta = many.quanta;
        status = divide(&s, count);
        pel_wide_end(&many);
    }
    return status;
}
