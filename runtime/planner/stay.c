/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Launches that are repeated: a boundary moves only when that pays.
 *
 * Lines wander with every launch, and the best division with them. Where devices have memory of their own each step of a boundary
 * moves bytes, out of one memory and into the other, for a gain that noise may take back with the next launch. So the division of
 * the latest launch stays while the gain of the new one, over as many launches as may still be expected, is less than what moving
 * costs. As many are expected as there have been: whoever has iterated a hundred times will probably go on. A gain counts beyond
 * one standard error of what is predicted only: below, it is noise, and the next launch would move the boundary back. Invariant:
 * the same devices, the same range, and never slower than the best single device. Rejected: a fixed dead band (too wide for dear
 * kernels, too narrow for dear bytes).
 */
#include "planner/internal.h"

#include <math.h>

/* The shares of the latest launch in `old`; false: it was another range, or other devices. */
static bool recall(const pel_planning *planning, uint64_t mask, pel_filling *old) {
    const pel_plan_request *request = planning->request;
    const pel_division *last = &request->record->last;
    uint64_t lo = 0;
    uint32_t at = 0;
    old->mask = mask;
    old->makespan = 0.0;
    if (last->units != request->units || last->count != (uint32_t)__builtin_popcountll(mask)) {
        return false;
    }
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1, at++) { /* slices are in the order of the devices */
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        uint64_t hi = last->hi[at];
        if (last->device[at] != request->devices[device].model || (hi % request->granularity != 0 && hi != request->units)) {
            return false;
        }
        old->share[device] = (hi - lo + request->granularity - 1) / request->granularity;
        if (old->share[device] > planning->limit[device]) {
            return false;
        }
        old->makespan = fmax(old->makespan, pel_plan_finish(planning, device, (double)old->share[device]));
        lo = hi;
    }
    return true;
}

/* How long it takes until each device has what it did not have: the links work at once. */
static double migration(const pel_planning *planning, const pel_filling *old, const pel_filling *fresh) {
    const pel_plan_request *request = planning->request;
    uint64_t old_lo = 0, fresh_lo = 0;
    double longest = 0.0;
    for (uint64_t rest = fresh->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        uint64_t old_hi = old_lo + old->share[device], fresh_hi = fresh_lo + fresh->share[device];
        uint64_t lo = old_lo > fresh_lo ? old_lo : fresh_lo, hi = old_hi < fresh_hi ? old_hi : fresh_hi;
        uint64_t comes = fresh->share[device] - (hi > lo ? hi - lo : 0);
        double each = request->devices[device].piece_unit_ns;
        longest = fmax(longest, each > 0.0 ? each * (double)comes * (double)request->granularity : 0.0);
        old_lo = old_hi;
        fresh_lo = fresh_hi;
    }
    return longest;
}

bool pel_plan_stay(pel_planning *planning, double most_ns, pel_filling *filling) {
    const pel_plan_request *request = planning->request;
    pel_filling old = {.mask = 0};
    if (request->record == NULL || request->record->profile != NULL || !recall(planning, filling->mask, &old) ||
        old.makespan >= most_ns) {
        return false;
    }
    double cost = migration(planning, &old, filling), doubt = 0.0;
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        doubt = fmax(doubt, planning->error[__builtin_ctzll(rest)]);
    }
    double gain = old.makespan - filling->makespan * (1.0 + doubt);
    if (!(cost > 0.0) || gain * (double)request->record->launches > cost) {
        return false;
    }
    *filling = old;
    planning->stays_ns = cost;
    return true;
}
