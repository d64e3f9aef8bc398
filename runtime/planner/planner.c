/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Planning one launch.
 *
 * The question is which devices take how much. Alternatives are every device alone and the water-filled division among each
 * maximal set of devices with disjoint cores (subsets need no look of their own: water-filling leaves out whoever starts too
 * late). The rule is "never knowingly slower": a division is chosen only when it beats the best single device by more than the
 * margin, which grows with the scatter of the measurements. Invariants: the answer depends on the request alone; every unit is in
 * exactly one slice; no core is used twice; nothing is allocated. Rejected: searching over all subsets (2^n, and 5 us is the
 * budget), and dynamic chunks from a common pool (each costs a start, see ANCHORS.md).
 */
#include "planner/internal.h"
#include "model/profile.h"
#include "planner/variant.h"
#include "planner/wide.h"

#include <math.h>
#include <string.h>

#define MARGIN_DEFAULT 0.03
#define MARGIN_MOST 0.5  /* whatever the scatter, a predicted gain of a factor of two is worth a try */
#define WAIT_MATTERS 0.2 /* an expected wait for the latest device beyond this counts when combinations are compared */
#define THINNER 1.03       /* one device fewer may cost so much before the next one is tried */
#define COMPANY_SURE 0.5   /* standard errors that it must be above zero */
#define COMPANY_LEAST 0.01 /* logarithm of the slowness by one companion: less is not worth a look */
#define DOUBT_MOST                                                                                                               \
    0.1 /* trying a promised gain of 10 % teaches more than it risks: 300 seeds, regret of 20 launches 5.4 instead of 6.0 (p95) */

static double not_negative(double value) {
    return isfinite(value) && value > 0.0 ? value : 0.0;
}

pel_status pel_plan_malformed(pel_plan_result *result, const char *why) {
    pel_words words;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_put(&words, why);
    return PEL_INVALID_ARGUMENT;
}

/* Clears what readers of the result look at; the rest of its 7 KB is written when it is counted. */
static void clear(pel_plan_result *result) {
    result->many = NULL;
    result->slice_count = 0;
    result->tail.lo = result->tail.hi = result->tail.at = 0;
    result->tail.count = 0;
    result->choice_count = result->unlisted = 0;
    result->predicted_ns = result->predicted_joules = 0.0;
    result->energy_source = PEL_ENERGY_UNKNOWN;
    result->exploring = result->together_probe = result->variant_probe = false;
    result->expected_ns = 0.0;
    result->reason[0] = '\0';
}

static pel_status check(const pel_plan_request *request, pel_plan_result *result) {
    if (request->units == 0 || request->granularity == 0) {
        return pel_plan_malformed(result, "a launch needs at least one unit and a granularity of at least one");
    }
    if (request->devices == NULL || request->device_count == 0 || request->device_count > PEL_PLAN_DEVICE_LIMIT) {
        return pel_plan_malformed(result, "between 1 and 8192 devices can be planned for");
    }
    if (!(request->margin >= 0.0 && request->margin < 1.0)) {
        return pel_plan_malformed(result, "the margin must be at least 0 and below 1");
    }
    for (uint32_t i = 0; i < request->device_count; i++) {
        if (request->devices[i].id == NULL) {
            return pel_plan_malformed(result, "a device without an id");
        }
    }
    return PEL_OK;
}

pel_status pel_plan_begin(const pel_plan_request *request, pel_plan_result *result, pel_planning *planning) {
    clear(result);
    pel_status status = check(request, result);
    if (status != PEL_OK) {
        return status;
    }
    /* The rest of its 8 KB is the digest's, or beyond the devices. */
    planning->usable = planning->known = planning->unknown = planning->sharing = planning->seen_alone = planning->told = 0;
    planning->variants = planning->standby = 0;
    planning->stays_ns = 0.0;
    for (uint32_t i = 0; i < request->device_count; i++) {
        planning->beside[i] = 0;
        planning->companions[i] = planning->company[i] = planning->company_error[i] = planning->knee[i] = 0.0;
    }
    planning->request = request;
    planning->result = result;
    planning->quanta = request->units / request->granularity + (request->units % request->granularity != 0);
    planning->margin = request->margin > 0.0 ? request->margin : MARGIN_DEFAULT;
    pel_plan_digest(planning);
    return PEL_OK;
}

double pel_plan_time(const pel_planning *planning, uint32_t device, double work) {
    return pel_plan_finish(planning, device, work / (double)planning->request->granularity);
}

double pel_plan_alone(const pel_planning *planning, uint32_t device) {
    double quanta = (double)planning->request->units / (double)planning->request->granularity;
    return planning->alone_start[device] + planning->alone_unit[device] * fmax(quanta, planning->knee[device]);
}

/* NULL: work is units. So it is, too, where memory limits shares: those are units. */
const double *pel_plan_profile(const pel_plan_request *request) {
    const double *profile = request->record != NULL ? request->record->profile : NULL;
    for (uint32_t i = 0; i < request->device_count && profile != NULL; i++) {
        profile = request->devices[i].unit_limit < request->units ? NULL : profile;
    }
    return profile;
}

double pel_plan_work(const pel_plan_request *request, uint64_t lo, uint64_t hi) {
    const double *profile = pel_plan_profile(request);
    double units = (double)request->units;
    return profile == NULL
               ? (double)(hi - lo)
               : units * (pel_profile_work(profile, (double)hi / units) - pel_profile_work(profile, (double)lo / units));
}

uint64_t pel_plan_edge(const pel_plan_request *request, const double *profile, uint64_t quanta, uint64_t all) {
    if (quanta >= all) {
        return request->units;
    }
    if (profile == NULL) {
        return quanta * request->granularity;
    }
    double place = pel_profile_place(profile, (double)quanta / (double)all);
    return (uint64_t)(place * (double)all + 0.5) * request->granularity;
}

/*
 * The order in which the devices take their parts. Always the same, so that data stays where it is; but right after a profile
 * was made it is turned from launch to launch.
 */
static uint32_t order_of(const pel_planning *planning, uint64_t mask, uint32_t order[PEL_PLAN_DEVICE_LIMIT]) {
    uint32_t all[PEL_PLAN_DEVICE_LIMIT], count = 0;
    for (; mask != 0; mask &= mask - 1) {
        all[count++] = (uint32_t)__builtin_ctzll(mask);
    }
    uint32_t first =
        pel_plan_is_turning(planning->request) ? (uint32_t)(planning->request->record->launches % count) : 0;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = all[(first + i) % count];
    }
    return count;
}

/* Slices of a window and its sides. The device of the sides does one after the other. */
static void emit_window(pel_planning *planning, const pel_filling *filling) {
    pel_plan_result *result = planning->result;
    const uint32_t count = pel_plan_parts(planning, filling, result->slices);
    double outer = 0.0;
    bool complete = true;
    result->slice_count = count;
    result->predicted_ns = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        pel_plan_slice *slice = &result->slices[i];
        const bool measured = pel_plan_measured(&planning->request->devices[slice->device]);
        const double work = pel_plan_work_on(planning->request, slice->device, slice->lo, slice->hi);
        const double time = pel_plan_time(planning, slice->device, work);
        slice->predicted_ns = measured ? time : 0.0;
        complete = complete && measured;
        outer += slice->device != filling->inner ? time : 0.0;
        result->predicted_ns = fmax(result->predicted_ns, slice->device == filling->inner ? time : outer);
    }
    result->predicted_ns = complete ? fmax(result->predicted_ns, filling->makespan) : 0.0;
}

/* Slices for the shares; what these leave over is the tail. */
static void emit(pel_planning *planning, const pel_filling *filling, bool held) {
    const pel_plan_request *request = planning->request;
    pel_plan_result *result = planning->result;
    uint32_t order[PEL_PLAN_DEVICE_LIMIT], count = order_of(planning, filling->mask, order);
    const double *profile = pel_plan_profile(request);
    uint64_t lo = 0, given = 0;
    bool complete = true;
    result->slice_count = 0;
    result->predicted_ns = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t device = order[i];
        given += filling->share[device];
        /* The last slice ends at the range's end, which need not be a whole quantum. */
        uint64_t hi = i + 1 == count && !held ? request->units : pel_plan_edge(request, profile, given, planning->quanta);
        hi = hi > request->units ? request->units : hi;
        if (hi <= lo) {
            continue; /* a part of dense work that is narrower than a quantum */
        }
        bool measured = pel_plan_measured(&request->devices[device]);
        double time = count == 1 ? pel_plan_alone(planning, device)
                                 : pel_plan_time(planning, device, pel_plan_work_on(request, device, lo, hi));
        result->slices[result->slice_count++] =
            (pel_plan_slice){.device = device, .lo = lo, .hi = hi, .predicted_ns = measured ? time : 0.0};
        complete = complete && measured;
        result->predicted_ns = time > result->predicted_ns ? time : result->predicted_ns;
        lo = hi;
    }
    if (held && lo < request->units) {
        pel_plan_cut_tail(planning, lo, &result->tail);
        result->predicted_ns = filling->makespan;
    }
    if (!complete) {
        result->predicted_ns = 0.0;
    }
}

void pel_plan_emit_held(pel_planning *planning, pel_filling *filling) {
    pel_filling turned;
    const bool placed = filling->window_hi > 0 || pel_plan_turn(planning, filling, &turned);
    if (!placed && pel_plan_hold_back(planning, filling, &planning->result->tail)) {
        emit(planning, filling, true);
    } else {
        pel_plan_emit(planning, filling);
    }
}

void pel_plan_emit(pel_planning *planning, const pel_filling *filling) {
    pel_filling turned;
    planning->result->tail.lo = planning->result->tail.hi = planning->result->tail.at = 0;
    if (filling->window_hi > 0) {
        emit_window(planning, filling);
    } else if (pel_plan_turn(planning, filling, &turned)) {
        emit_window(planning, &turned);
    } else {
        emit(planning, filling, false);
    }
}

/* Scatter of one observation. */
double pel_plan_deviation(const pel_plan_request *request, uint32_t device) {
    const pel_cost *cost = &request->devices[device].cost;
    return not_negative(cost->samples > 0 ? cost->deviation : cost->alone.deviation);
}

/* Expected latest of `count` standard normal draws: scatter makes a division wait for whoever is late. */
double pel_plan_latest_of(uint32_t count) {
    static const double table[] = {0.0, 0.0, 0.564, 0.846, 1.029, 1.163, 1.267, 1.352, 1.424};
    const uint32_t known = sizeof table / sizeof table[0];
    return count < known ? table[count] : sqrt(2.0 * log((double)count)) - 0.6; /* within 3 % from 9 to 64 */
}

uint64_t pel_plan_chosen(const pel_plan_result *result) {
    uint64_t mask = 0;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        mask |= pel_bit(result->slices[i].device);
    }
    return mask;
}

/*
 * The gain that a combination must promise: two standard errors of the most uncertain prediction, and the wait for the latest.
 * For devices that scatter differently the root of the mean square comes close: one that scatters among k - 1 steady ones is
 * late by 0.4 deviations on average.
 */
static double margin_for(const pel_contest *state, uint64_t mask, uint32_t *noisiest, double *wait) {
    const pel_planning *planning = state->planning;
    double most = -1.0, square = 0.0, error = 0.0;
    uint32_t count = (uint32_t)__builtin_popcountll(mask);
    if (state->best_single < PEL_PLAN_DEVICE_LIMIT) {
        error = planning->alone_error[state->best_single];
    }
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        double deviation = pel_plan_deviation(planning->request, device);
        error = fmax(error, planning->error[device]);
        square += deviation * deviation / count;
        if (deviation > most) {
            most = deviation;
            *noisiest = device;
        }
    }
    *wait = sqrt(square) * pel_plan_latest_of(count);
    return fmin(fmax(fmin(2.0 * error, DOUBT_MOST), planning->margin) + *wait, MARGIN_MOST);
}

static bool is_new(const pel_contest *state, uint64_t mask) {
    for (uint32_t i = 0; i < state->combinations; i++) {
        if (state->seen[i] == mask) {
            return false;
        }
    }
    return state->combinations < PEL_PLAN_COMBINATION_LIMIT;
}

/* Somebody is known to be slowed down by the others. */
static bool company_matters(const pel_planning *planning, uint64_t mask) {
    bool matters = false;
    for (; mask != 0; mask &= mask - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(mask);
        matters = matters || (planning->companions[device] > 0.0 && planning->company[device] > COMPANY_LEAST &&
                              planning->company[device] > COMPANY_SURE * planning->company_error[device]);
    }
    return matters;
}

static void keep_lines(pel_contest *state) {
    const pel_planning *planning = state->planning;
    const size_t bytes = planning->request->device_count * sizeof planning->start[0];
    memcpy(state->start, planning->start, bytes);
    memcpy(state->unit, planning->unit, bytes);
    memcpy(state->companions, planning->companions, bytes);
}

static void restore_lines(const pel_contest *state) {
    pel_planning *planning = state->planning;
    const size_t bytes = planning->request->device_count * sizeof planning->start[0];
    memcpy(planning->start, state->start, bytes);
    memcpy(planning->unit, state->unit, bytes);
    memcpy(planning->companions, state->companions, bytes);
}

/* A division of the devices of `set` enters the contest. False: it is none, or was seen before. */
static bool enter(pel_contest *state, uint64_t set, pel_filling *filling, uint32_t *noisiest, bool *enough) {
    const bool counts = state->planning->request->objective != PEL_AIM_TIME;
    const bool filled = pel_plan_fill_crowd(state->planning, set, 0.0, filling);
    if (filled && state->planning->request->record != NULL && state->planning->request->record->own[0] != NULL) {
        pel_plan_place(state->planning, filling);
    }
    const double joules = filled && counts ? pel_plan_joules(state->planning, filling, &(double){0.0}) : 0.0;
    restore_lines(state);
    if (!filled || (filling->mask & (filling->mask - 1)) == 0 || !is_new(state, filling->mask)) {
        return false;
    }
    double wait, margin = margin_for(state, filling->mask, noisiest, &wait);
    bool passes = state->best_single == PEL_PLAN_DEVICE_LIMIT || filling->makespan < state->single_ns * (1.0 - margin);
    state->joules[state->combinations] = joules;
    state->seen[state->combinations] = filling->mask;
    state->margin[state->combinations] = margin;
    state->makespan[state->combinations++] = filling->makespan;
    double expected = filling->makespan * (1.0 + (wait > WAIT_MATTERS ? wait : 0.0)); /* a late device makes all wait */
    if (passes && (!state->has_best || expected < state->best_expected)) {
        state->best = *filling;
        state->best_expected = expected;
        state->has_best = true;
    }
    *enough = (passes && wait <= WAIT_MATTERS) || filling->makespan >= state->single_ns;
    return true;
}

/* Whoever takes least is left out, as long as the rest is faster without its company. */
static void thin(pel_contest *state, pel_filling *filling) {
    uint32_t noisiest = 0;
    bool enough;
    while (__builtin_popcountll(filling->mask) > 2) {
        const double before = filling->makespan;
        uint64_t fewer = filling->mask & ~pel_bit(pel_plan_least(filling));
        if (!enter(state, fewer, filling, &noisiest, &enough) || filling->makespan > before * THINNER) {
            return;
        }
    }
}

/*
 * Fills one set; when scatter forbids the split, tries again without whoever scatters most: one noisy device must not disable the
 * rest.
 */
static void compete(void *user, uint64_t set) {
    pel_contest *state = user;
    while ((set & (set - 1)) != 0) {
        pel_filling filling;
        uint32_t noisiest = 0;
        bool enough;
        if (!enter(state, set, &filling, &noisiest, &enough)) {
            return;
        }
        set = filling.mask & ~pel_bit(noisiest);
        if (__builtin_popcountll(filling.mask) > 2 && company_matters(state->planning, filling.mask)) {
            thin(state, &filling);
        }
        if (enough) {
            return;
        }
    }
}

static void find_best_single(pel_contest *state) {
    state->best_single = PEL_PLAN_DEVICE_LIMIT;
    /* What was measured once counts where nothing better is known. */
    uint64_t eligible = state->planning->known;
    for (int pass = 0; pass < 2 && state->best_single == PEL_PLAN_DEVICE_LIMIT; pass++) {
        for (uint64_t rest = eligible; rest != 0; rest &= rest - 1) {
            uint32_t device = (uint32_t)__builtin_ctzll(rest);
            double alone = pel_plan_alone(state->planning, device);
            if (state->planning->limit[device] >= state->planning->quanta &&
                (state->best_single == PEL_PLAN_DEVICE_LIMIT || alone < state->single_ns)) {
                state->best_single = device;
                state->single_ns = alone;
            }
        }
        eligible = state->planning->unknown;
    }
}

/* Compares alternatives and emits the winner. False: neither one device nor a combination can hold the launch. */
static bool decide(pel_contest *state) {
    pel_planning *planning = state->planning;
    if (state->has_best) {
        const bool single = state->best_single < PEL_PLAN_DEVICE_LIMIT;
        pel_plan_crowd(planning, state->best.mask, (uint32_t)__builtin_popcountll(state->best.mask), 0.0);
        if (planning->request->objective == PEL_AIM_TIME && state->best.window_hi == 0) {
            (void)pel_plan_stay(planning, single ? state->single_ns : INFINITY, &state->best);
        }
        pel_plan_emit_held(planning, &state->best);
        return true;
    }
    if (state->best_single < PEL_PLAN_DEVICE_LIMIT) {
        pel_filling alone;
        memset(alone.share, 0, sizeof alone.share);
        alone.share[state->best_single] = planning->quanta;
        alone.mask = pel_bit(state->best_single);
        alone.window_lo = alone.window_hi = 0;
        alone.makespan = state->single_ns;
        pel_plan_emit(planning, &alone);
        return true;
    }
    return false;
}

/* The aim is another one than time, or there is a deadline. True: the plan is another one, too. */
static bool pursue(pel_contest *state) {
    pel_planning *planning = state->planning;
    pel_filling fastest;
    if (state->has_best) {
        fastest = state->best;
    } else { /* then there is a best single device: else nobody could hold the launch, and there were no plan */
        fastest = (pel_filling){.mask = pel_bit(state->best_single)};
        fastest.share[state->best_single] = planning->quanta;
    }
    return pel_plan_pursue(planning, &fastest);
}

/* Field by field: the rest of it is written before it is read. */
static void begin_contest(pel_contest *state, pel_planning *planning) {
    state->planning = planning;
    state->has_best = state->pursued = false;
    state->combinations = 0;
    state->single_ns = state->best_expected = 0.0;
    keep_lines(state);
}

pel_status pel_planner_plan(const pel_plan_request *request, pel_plan_result *result) {
    pel_planning planning;
    if (request->device_count > PEL_PLAN_DEVICE_LIMIT) {
        return pel_wide_plan(request, result);
    }
    pel_status status = pel_plan_begin(request, result, &planning);
    if (status != PEL_OK) {
        return status;
    }
    pel_contest state;
    pel_variant_choose(&planning);
    begin_contest(&state, &planning);
    find_best_single(&state);
    if (!request->single_only && planning.quanta > 1) {
        pel_plan_disjoint_sets(&planning, planning.known, PEL_PLAN_COMBINATION_LIMIT, compete, &state);
    }
    /* Where nothing at all is known, a deadline cannot be kept by trying nothing either. */
    const bool may_explore = pel_plan_may_try(request) || (!request->frozen && planning.known == 0);
    bool exploring = may_explore && pel_plan_explore(&planning);
    if (exploring) {
        result->expected_ns = state.has_best ? state.best.makespan
                              : state.best_single < PEL_PLAN_DEVICE_LIMIT && (planning.known & pel_bit(state.best_single)) != 0
                                  ? state.single_ns
                                  : 0.0;
    } else {
        if (!decide(&state)) {
            /* Only all of them together, the unknown ones too, may have room enough. */
            pel_filling filling;
            if (request->single_only || !pel_plan_best_set(&planning, planning.usable, planning.quanta, &filling)) {
                return pel_plan_no_device(&planning);
            }
            pel_plan_emit(&planning, &filling);
            state.best = filling;
            state.has_best = true;
        }
        pel_plan_explain(&state);
        state.pursued = (request->objective != PEL_AIM_TIME || request->deadline_ns > 0.0) && pursue(&state);
        double expected = result->predicted_ns;
        if (pel_plan_may_try(request) && !state.pursued &&
            (pel_plan_second_opinion(&state) || pel_plan_remeasure(&planning, pel_plan_chosen(result)))) {
            result->expected_ns = expected;
        }
    }
    pel_plan_list_choices(&state);
    return PEL_OK;
}
