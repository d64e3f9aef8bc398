/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shares that the caller dictates (pel_launch_desc.shares).
 *
 * Cuts are at rounded cumulative weights, so that a cut depends on the weights before it only and never wanders with the rest.
 * What is asked for is done exactly or refused with the reason: quietly using other devices or other shares would spoil the
 * measurement it was asked for.
 */
#include "planner/internal.h"
#include "planner/wide.h"

#include <math.h>

/* One share of a fixed division. */
static pel_status check_share(const pel_planning *planning, uint32_t index, double weight, uint64_t used) {
    pel_plan_result *result = planning->result;
    if (index >= planning->request->device_count || (used & pel_bit(index)) != 0) {
        return pel_plan_malformed(result, "shares: a device is named twice, or does not belong to the runtime");
    }
    if (!(weight >= 0.0) || !isfinite(weight)) {
        return pel_plan_malformed(result, "shares: a weight must be finite and not negative");
    }
    const pel_plan_device *device = &planning->request->devices[index];
    uint64_t rivals = used & ~planning->beside[index];
    pel_words words;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    if (weight > 0.0 && device->excluded != NULL) {
        pel_words_put(&words, device->id);
        pel_words_put(&words, " was asked for: ");
        pel_words_put(&words, device->excluded);
        return PEL_NO_DEVICE;
    }
    if (weight > 0.0 && rivals != 0) {
        pel_words_put(&words, "shares: ");
        pel_words_put(&words, device->id);
        pel_words_put(&words, " uses the same cores as ");
        pel_words_devices(&words, planning->request, rivals);
        pel_words_put(&words, "; declare disjoint core sets (\"host@0,opencl:0@1\") to run them at once");
        return PEL_CONFLICT;
    }
    return PEL_OK;
}

/* Checks all shares; *sum: of the weights, *last: index of the last one above 0. */
static pel_status check_shares(const pel_planning *planning, const uint32_t *devices, const double *weights, uint32_t count,
                               double *sum, uint32_t *last) {
    if (devices == NULL || weights == NULL || count == 0 || count > PEL_PLAN_DEVICE_LIMIT) {
        return pel_plan_malformed(planning->result, "shares: between 1 and 64 are possible");
    }
    uint64_t used = 0;
    *sum = 0.0;
    *last = 0;
    for (uint32_t i = 0; i < count; i++) {
        pel_status status = check_share(planning, devices[i], weights[i], used);
        if (status != PEL_OK) {
            return status;
        }
        *sum += weights[i];
        if (weights[i] > 0.0) {
            used |= pel_bit(devices[i]);
            *last = i;
        }
    }
    return *sum > 0.0 && isfinite(*sum)
               ? PEL_OK
               : pel_plan_malformed(planning->result, "shares: the weights must have a finite sum above 0");
}

static pel_status add_slice(const pel_planning *planning, uint32_t index, uint64_t lo, uint64_t hi) {
    pel_plan_result *result = planning->result;
    const pel_plan_device *device = &planning->request->devices[index];
    if (hi - lo > device->unit_limit) {
        pel_words words;
        pel_words_begin(&words, result->reason, sizeof result->reason);
        pel_words_put(&words, device->id);
        pel_words_put(&words, " was asked for: ");
        pel_words_memory(&words, device->unit_limit, hi - lo);
        return PEL_TOO_LARGE;
    }
    bool alone = hi - lo == planning->request->units;
    double time = !pel_plan_measured(device) ? 0.0
                  : alone                    ? pel_plan_alone(planning, index)
                                             : pel_plan_time(planning, index, pel_plan_work(planning->request, lo, hi));
    result->slices[result->slice_count++] = (pel_plan_slice){.device = index, .lo = lo, .hi = hi, .predicted_ns = time};
    return PEL_OK;
}

static void summarise(pel_plan_result *result) {
    pel_plan_choice *choice = &result->choices[result->choice_count++];
    *choice = (pel_plan_choice){.chosen = true};
    bool complete = true;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        double time = result->slices[i].predicted_ns;
        choice->device_mask |= pel_bit(result->slices[i].device);
        complete = complete && time > 0.0;
        result->predicted_ns = time > result->predicted_ns ? time : result->predicted_ns;
    }
    result->predicted_ns = complete ? result->predicted_ns : 0.0;
    choice->predicted_ns = result->predicted_ns;
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    pel_words_put(&words, "as the caller asked");
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_put(&words, "fixed shares, as the caller asked");
}

pel_status pel_planner_fixed(const pel_plan_request *request, const uint32_t *devices, const double *weights, uint32_t count,
                             pel_plan_result *result) {
    pel_planning planning;
    double sum = 0.0, passed = 0.0;
    uint32_t last = 0;
    uint64_t lo = 0;
    if (request->device_count > PEL_PLAN_DEVICE_LIMIT) {
        return pel_wide_fixed(request, devices, weights, count, result);
    }
    pel_status status = pel_plan_begin(request, result, &planning);
    status = status == PEL_OK ? check_shares(&planning, devices, weights, count, &sum, &last) : status;
    for (uint32_t i = 0; status == PEL_OK && i <= last; i++) {
        passed += weights[i];
        double edge = passed / sum * (double)planning.quanta + 0.5;
        uint64_t quanta = edge >= (double)planning.quanta ? planning.quanta : (uint64_t)edge;
        uint64_t hi = i == last || quanta == planning.quanta ? request->units : quanta * request->granularity;
        if (weights[i] > 0.0 && hi > lo) {
            status = add_slice(&planning, devices[i], lo, hi);
            lo = hi;
        }
    }
    if (status == PEL_OK && request->single_only && result->slice_count > 1) {
        (void)pel_plan_malformed(result, "shares: this launch may not be split; name one device");
        status = PEL_UNSUPPORTED;
    }
    if (status != PEL_OK) {
        result->slice_count = 0;
        return status;
    }
    summarise(result);
    return PEL_OK;
}
