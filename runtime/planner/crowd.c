/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Divisions among fewer devices, because company costs (model/company.c).
 *
 * Water-filling alone never leaves out a device that starts in time, however little it takes. Where each companion slows the
 * others down, whoever takes least is the first that may not be worth its noise, so sets are thinned one by one. Invariant: where
 * nothing is known of company the lines stay as they are. Rejected: all subsets (2^n in 5 us).
 */
#include "planner/internal.h"

#include <math.h>

void pel_plan_crowd(pel_planning *planning, uint64_t mask, uint32_t count, double errors) {
    for (; mask != 0; mask &= mask - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(mask);
        if (planning->companions[device] > 0.0) {
            double more = (double)count - 1.0 - planning->companions[device];
            double each = planning->company[device] + errors * planning->company_error[device];
            double factor = fabs(more) > 0.02 ? exp(fmax(each, 0.0) * more) : 1.0; /* company never helps */
            planning->start[device] *= factor;
            planning->unit[device] *= factor;
            planning->companions[device] = (double)count - 1.0;
        }
    }
}

bool pel_plan_fill_crowd(pel_planning *planning, uint64_t mask, double errors, pel_filling *filling) {
    uint32_t count = (uint32_t)__builtin_popcountll(mask);
    for (uint32_t pass = 0; pass < 2; pass++) {
        pel_plan_crowd(planning, mask, count, errors);
        if (!pel_plan_fill(planning, mask, planning->quanta, filling)) {
            return false;
        }
        if ((uint32_t)__builtin_popcountll(filling->mask) == count) {
            return true;
        }
        mask = filling->mask;
        count = (uint32_t)__builtin_popcountll(mask);
    }
    return true;
}

uint32_t pel_plan_least(const pel_filling *filling) {
    uint32_t least = PEL_PLAN_DEVICE_LIMIT;
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        if (least == PEL_PLAN_DEVICE_LIMIT || filling->share[device] < filling->share[least]) {
            least = device;
        }
    }
    return least;
}
