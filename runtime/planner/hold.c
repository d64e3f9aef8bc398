/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of a division is held back (planner/tail.h), and whether that is worth it.
 *
 * What may be gained is the wait for the latest of several devices that scatter; what it costs are more starts, and bytes that
 * move to whoever takes a piece. A tail of a launch of a millisecond would cost more than it saves. Rejected: small pieces from
 * the begin on for irregular kernels without a profile: lines learn from many parts of different density and look uncertain for
 * long.
 */
#include "planner/internal.h"
#include "planner/tail.h"

#include <math.h>
#include <string.h>

#define SPREADS 1.2 /* deviations held back; anchor above 20 ms, 24 seeds, mean gap: 1.0 gives 1.6 %, 1.5 gives 2.1 % */
#define HOLD_MOST 0.5 /* of a device's part */
#define PIECES_EXPECTED 2.0 /* a device, in a tail */
#define WORTH 4.0          /* the expected gain over the price */
#define SCATTER_UNTOLD 0.1 /* of a device with few measurements */
#define PIECES_EACH 16u    /* grains of a tail, a device */
#define SEEN 3u            /* pieces that tell what one costs */
#define MISFIT 0.18        /* usual error of predictions from which a kernel is irregular (model/irregular.c) */

/* Predictions miss because the kernel works more in some places of its range, and it is not known where. */
static bool is_unexplained(const pel_plan_request *request) {
    const pel_record *record = request->record;
    if (record != NULL && record->profile != NULL) {
        return false;
    }
    return request->irregular || (record != NULL && record->misfit > MISFIT);
}

static double scatter_of(const pel_planning *planning, uint32_t device) {
    double scatter = pel_plan_deviation(planning->request, device);
    return pel_plan_samples(&planning->request->devices[device]) < 4 ? fmax(scatter, SCATTER_UNTOLD) : scatter;
}

/* What a piece costs: seen, or as larger chunks do. */
static pel_line piece_line(const pel_planning *planning, uint32_t device) {
    const pel_plan_device *of = &planning->request->devices[device];
    double grain = (double)planning->request->granularity, moved = of->piece_unit_ns > 0.0 ? of->piece_unit_ns : 0.0;
    pel_line line = of->cost.piece;
    if (line.samples < SEEN || !isfinite(line.start_ns) || !(line.start_ns >= 0.0) || !(line.unit_ns > 0.0)) {
        line.start_ns = pel_plan_floor(planning, device); /* pieces are small: above the knee that is too much */
        line.unit_ns = planning->unit[device] / grain;
    }
    line.unit_ns += moved;
    line.start_ns += of->piece_start_ns > 0.0 ? of->piece_start_ns : 0.0;
    return line;
}

/* Expected wait for the latest over the price of more starts, both ns. */
static bool is_worth_it(const pel_planning *planning, const pel_filling *filling) {
    double square = 0.0, starts = 0.0, speed = 0.0;
    uint32_t count = (uint32_t)__builtin_popcountll(filling->mask);
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        double spread = scatter_of(planning, device) * planning->unit[device] * (double)filling->share[device];
        square += spread * spread / count;
        starts += piece_line(planning, device).start_ns / planning->unit[device];
        speed += 1.0 / planning->unit[device];
    }
    double price = starts / speed * PIECES_EXPECTED;
    return sqrt(square) * pel_plan_latest_of(count) > WORTH * price;
}

/* Whether a tail can be handed out at all, and what is known bears it. */
static bool may_hold(const pel_planning *planning, const pel_filling *filling) {
    const pel_plan_request *request = planning->request;
    /* Who is free first is luck: a division that must be the same again holds nothing back. */
    if (!request->pieces || request->frozen || request->objective != PEL_AIM_TIME || (filling->mask & (filling->mask - 1)) == 0 ||
        is_unexplained(request)) {
        return false;
    }
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        if (planning->limit[device] < planning->quanta) {
            return false; /* whose memory is small cannot take whatever comes */
        }
        if (!pel_plan_measured(&request->devices[device])) {
            return false; /* a launch of unknown length may be too short for pieces */
        }
    }
    return true;
}

static void describe(const pel_planning *planning, const pel_filling *filling, pel_tail *tail) {
    const pel_plan_request *request = planning->request;
    const double *profile = pel_plan_profile(request);
    tail->units = request->units;
    tail->profiled = profile != NULL;
    tail->count = 0;
    if (profile != NULL) {
        memcpy(tail->cumulative, profile, sizeof tail->cumulative);
    }
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        pel_line line = piece_line(planning, device);
        tail->devices[tail->count++] = (pel_tail_device){.device = device,
                                                         .start = line.start_ns,
                                                         .unit = line.unit_ns,
                                                         .deviation = scatter_of(planning, device),
                                                         .doubt = planning->error[device]};
    }
}

bool pel_plan_hold_back(const pel_planning *planning, pel_filling *filling, pel_tail *tail) {
    uint64_t held = 0;
    if (!may_hold(planning, filling) || !is_worth_it(planning, filling)) {
        return false;
    }
    describe(planning, filling, tail);
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        double part = fmin(SPREADS * hypot(scatter_of(planning, device), planning->error[device]), HOLD_MOST);
        uint64_t back = (uint64_t)(part * (double)filling->share[device]);
        filling->share[device] -= back; /* part < 1: something stays */
        held += back;
    }
    return held > 0;
}

void pel_plan_cut_tail(const pel_planning *planning, uint64_t lo, pel_tail *tail) {
    const pel_plan_request *request = planning->request;
    uint64_t pieces = tail->profiled || PIECES_EACH * tail->count > PEL_TAIL_PIECES ? PEL_TAIL_PIECES : PIECES_EACH * tail->count;
    uint64_t quanta = (request->units - lo + request->granularity - 1) / request->granularity;
    tail->lo = tail->at = lo;
    tail->hi = request->units;
    tail->grain = (quanta + pieces - 1) / pieces * request->granularity;
}
