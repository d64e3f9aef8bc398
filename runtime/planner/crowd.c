/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Divisions among fewer devices, because company costs (model/company.c).
 *
 * Water-filling alone never leaves out a device that starts in time, however little it takes. Where each companion slows the
 * others down, whoever takes least is the first that may not be worth its noise, so sets are thinned one by one. What one device
 * has shown of company is what is thought of the others: it is mostly the machine's and the kernel's, and a launch alone, which
 * tells it, is dear. Invariant: where nothing is known of company the lines stay as they are. Rejected: all subsets (2^n in 5
 * us), and a larger fixed guess (right on machines where company costs, wrong on all others).
 */
#include "planner/internal.h"

#include <math.h>

#define PRIOR (PEL_COMPANY_PRIOR * PEL_COMPANY_PRIOR)
#define COMMON 0.7 /* part of that variance which devices have in common */
#define APART ((1.0 - COMMON) * PRIOR)
#define TOLD_LEAST 1.0   /* precision; the prior's is 400 */
#define SHARED_MOST 0.15 /* three prior deviations: more is something of that device's own */

/* What a device's own observations tell of company, its prior taken off, and what that is worth to the others. */
typedef struct told {
    double mean, precision; /* 0: nothing */
    double weight, common;
} told;

static told own_of(const pel_planning *planning, uint32_t device) {
    const double error = planning->company_error[device];
    told own = {.precision = 1.0 / (error * error) - 1.0 / PRIOR};
    if (!(own.precision > TOLD_LEAST)) {
        return (told){.mean = 0.0};
    }
    own.mean = planning->company[device] / (error * error * own.precision);
    own.weight = 1.0 / (APART + 1.0 / own.precision);
    own.common = fmin(fmax(own.mean, -SHARED_MOST), SHARED_MOST);
    return own;
}

/* A device's company = what all of `mask` have in common + what is its own: both Gaussian, and each learns from the others. */
static void learn_from_others(pel_planning *planning, uint64_t mask) {
    double precision = 1.0 / (COMMON * PRIOR), sum = 0.0;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        const told own = own_of(planning, (uint32_t)__builtin_ctzll(rest));
        precision += own.weight;
        sum += own.weight * own.common;
    }
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        const uint32_t device = (uint32_t)__builtin_ctzll(rest);
        const told own = own_of(planning, device);
        const double others = precision - own.weight, guess = 1.0 / (APART + 1.0 / others);
        const double all = own.precision + guess;
        planning->company[device] = (own.precision * own.mean + guess * (sum - own.weight * own.common) / others) / all;
        planning->company_error[device] = 1.0 / sqrt(all);
    }
}

void pel_plan_share_company(pel_planning *planning) {
    uint64_t uncertain = 0; /* an error of 0 is no guess: it stays */
    for (uint64_t rest = planning->usable; rest != 0; rest &= rest - 1) {
        const uint32_t device = (uint32_t)__builtin_ctzll(rest);
        uncertain |= planning->companions[device] > 0.0 && planning->company_error[device] > 0.0 ? pel_bit(device) : 0;
    }
    learn_from_others(planning, uncertain & planning->sharing); /* one memory slows down more than links do */
    learn_from_others(planning, uncertain & ~planning->sharing);
}

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
