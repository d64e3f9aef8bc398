/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Planning one launch.
 *
 * The question is which devices take how much. Alternatives are every device alone and the water-filled division among each maximal set of devices with
 * disjoint cores (subsets need no look of their own: water-filling leaves out whoever starts too late). The rule is "never knowingly slower":
 * a division is chosen only when it beats the best single device by more than the margin, which grows with the scatter of the measurements.
 * Invariants: the answer depends on the request alone; every unit is in exactly one slice; no core is used twice; nothing is allocated.
 * Rejected: searching over all subsets (2^n, and 5 us is the budget), and dynamic chunks from a common pool (each costs a start, see ANCHORS.md).
 */
#include "planner/internal.h"

#include <math.h>
#include <string.h>

#define MARGIN_DEFAULT 0.03
#define MARGIN_MOST 0.5   /* whatever the scatter, a predicted gain of a factor of two is worth a try */
#define SINGLE_LIMIT 16u  /* entries of result->choices kept for single devices; the rest is for combinations */

static bool overlap(const pel_core_set *a, const pel_core_set *b) {
    uint64_t common = 0;
    if (a == NULL || b == NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof a->bits / sizeof a->bits[0]; i++) {
        common |= a->bits[i] & b->bits[i];
    }
    return common != 0;
}

static bool usable_cost(const pel_cost *cost) {
    return cost->samples > 0 && isfinite(cost->start_ns) && cost->start_ns >= 0.0 && isfinite(cost->unit_ns) && cost->unit_ns > 0.0;
}

static double prior_of(const pel_plan_device *device) {
    return isfinite(device->prior_rate) && device->prior_rate > 0.0 ? device->prior_rate : 1.0;
}

static double not_negative(double value) { return isfinite(value) && value > 0.0 ? value : 0.0; }

static pel_status malformed(pel_plan_result *result, const char *why) {
    pel_words words;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_put(&words, why);
    return PEL_INVALID_ARGUMENT;
}

/* Clears what readers of the result look at; the rest of its 7 KB is written when it is counted. */
static void clear(pel_plan_result *result) {
    result->slice_count = 0;
    result->choice_count = 0;
    result->predicted_ns = 0.0;
    result->exploring = false;
    result->reason[0] = '\0';
}

static pel_status check(const pel_plan_request *request, pel_plan_result *result) {
    if (request->units == 0 || request->granularity == 0) {
        return malformed(result, "a launch needs at least one unit and a granularity of at least one");
    }
    if (request->devices == NULL || request->device_count == 0 || request->device_count > PEL_PLAN_DEVICE_LIMIT) {
        return malformed(result, "between 1 and 64 devices can be planned for");
    }
    if (!(request->margin >= 0.0 && request->margin < 1.0)) {
        return malformed(result, "the margin must be at least 0 and below 1");
    }
    for (uint32_t i = 0; i < request->device_count; i++) {
        if (request->devices[i].id == NULL) {
            return malformed(result, "a device without an id");
        }
    }
    return PEL_OK;
}

/* Speed of measured devices relative to their priors, so that priors of the others can be put beside them. */
static double prior_scale(const pel_plan_request *request) {
    double sum = 0.0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->device_count; i++) {
        if (usable_cost(&request->devices[i].cost)) {
            /* Geometric mean: one device that its prior misjudges by a factor of 100 must not decide. */
            sum += log(request->devices[i].cost.unit_ns * prior_of(&request->devices[i]));
            count++;
        }
    }
    return count > 0 ? exp(sum / count) : 1.0;
}

static void digest_devices(pel_planning *planning) {
    const pel_plan_request *request = planning->request;
    double grain = (double)request->granularity, scale = prior_scale(request);
    for (uint32_t i = 0; i < request->device_count; i++) {
        const pel_plan_device *device = &request->devices[i];
        bool measured = usable_cost(&device->cost);
        planning->limit[i] = device->unit_limit >= request->units ? planning->quanta : device->unit_limit / request->granularity;
        planning->start[i] = (measured ? device->cost.start_ns : 0.0) + not_negative(device->move_start_ns);
        planning->unit[i] = ((measured ? device->cost.unit_ns : scale / prior_of(device)) + not_negative(device->move_unit_ns)) * grain;
        if (device->excluded == NULL && planning->limit[i] > 0) {
            planning->usable |= pel_bit(i);
            *(measured && device->cost.samples > 1 ? &planning->known : &planning->unknown) |= pel_bit(i);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (!overlap(device->cores, request->devices[j].cores)) {
                planning->beside[i] |= pel_bit(j);
                planning->beside[j] |= pel_bit(i);
            }
        }
    }
}

static void digest(const pel_plan_request *request, pel_plan_result *result, pel_planning *planning) {
    memset(planning, 0, sizeof *planning);
    planning->request = request;
    planning->result = result;
    planning->quanta = request->units / request->granularity + (request->units % request->granularity != 0);
    planning->margin = request->margin > 0.0 ? request->margin : MARGIN_DEFAULT;
    digest_devices(planning);
}

double pel_plan_alone(const pel_planning *planning, uint32_t device) {
    return planning->start[device] + planning->unit[device] / (double)planning->request->granularity * (double)planning->request->units;
}

void pel_plan_emit(pel_planning *planning, const pel_filling *filling) {
    const pel_plan_request *request = planning->request;
    pel_plan_result *result = planning->result;
    uint64_t lo = 0;
    bool complete = true;
    result->slice_count = 0;
    result->predicted_ns = 0.0;
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        pel_plan_slice *slice = &result->slices[result->slice_count++];
        /* The last slice ends at the range's end, which need not be a whole quantum. */
        uint64_t hi = (rest & (rest - 1)) == 0 ? request->units : lo + filling->share[device] * request->granularity;
        double units = (double)(hi - lo);
        bool measured = usable_cost(&request->devices[device].cost);
        double time = planning->start[device] + planning->unit[device] / (double)request->granularity * units;
        *slice = (pel_plan_slice){.device = device, .lo = lo, .hi = hi, .predicted_ns = measured ? time : 0.0};
        complete = complete && measured;
        result->predicted_ns = time > result->predicted_ns ? time : result->predicted_ns;
        lo = hi;
    }
    if (!complete) {
        result->predicted_ns = 0.0;
    }
}

/* The alternatives while they are compared. */
typedef struct contest {
    pel_planning *planning;
    uint32_t best_single;            /* among known devices; PEL_PLAN_DEVICE_LIMIT: none */
    double single_ns;
    pel_filling best;                /* best combination that passes its margin */
    bool has_best;
    uint64_t seen[PEL_PLAN_CHOICE_LIMIT];
    double margin[PEL_PLAN_CHOICE_LIMIT];
    double makespan[PEL_PLAN_CHOICE_LIMIT];
    uint32_t combinations;
} contest;

static double deviation_of(const pel_plan_request *request, uint32_t device) {
    return not_negative(request->devices[device].cost.deviation);
}

/* The gain that a combination must promise: two standard deviations of whoever scatters most in the comparison. */
static double margin_for(const contest *state, uint64_t mask, uint32_t *noisiest) {
    const pel_plan_request *request = state->planning->request;
    double worst = state->best_single < PEL_PLAN_DEVICE_LIMIT ? deviation_of(request, state->best_single) : 0.0;
    double worst_member = -1.0;
    for (; mask != 0; mask &= mask - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(mask);
        if (deviation_of(request, device) > worst_member) {
            worst_member = deviation_of(request, device);
            *noisiest = device;
        }
    }
    worst = worst_member > worst ? worst_member : worst;
    double margin = 2.0 * worst > state->planning->margin ? 2.0 * worst : state->planning->margin;
    return margin < MARGIN_MOST ? margin : MARGIN_MOST;
}

static bool is_new(const contest *state, uint64_t mask) {
    for (uint32_t i = 0; i < state->combinations; i++) {
        if (state->seen[i] == mask) {
            return false;
        }
    }
    return state->combinations < PEL_PLAN_CHOICE_LIMIT - SINGLE_LIMIT;
}

/* Fills one set; when scatter forbids the split, tries again without whoever scatters most: one noisy device must not disable the rest. */
static void compete(void *user, uint64_t set) {
    contest *state = user;
    while ((set & (set - 1)) != 0) {
        pel_filling filling;
        uint32_t noisiest = 0;
        if (!pel_plan_fill(state->planning, set, state->planning->quanta, &filling) || (filling.mask & (filling.mask - 1)) == 0 ||
            !is_new(state, filling.mask)) {
            return;
        }
        double margin = margin_for(state, filling.mask, &noisiest);
        bool passes = state->best_single == PEL_PLAN_DEVICE_LIMIT || filling.makespan < state->single_ns * (1.0 - margin);
        state->seen[state->combinations] = filling.mask;
        state->margin[state->combinations] = margin;
        state->makespan[state->combinations++] = filling.makespan;
        if (passes && (!state->has_best || filling.makespan < state->best.makespan)) {
            state->best = filling;
            state->has_best = true;
        }
        if (passes || filling.makespan >= state->single_ns) {
            return;
        }
        set = filling.mask & ~pel_bit(noisiest);
    }
}

static void find_best_single(contest *state) {
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
static bool decide(contest *state) {
    pel_planning *planning = state->planning;
    if (state->has_best) {
        pel_plan_emit(planning, &state->best);
        return true;
    }
    if (state->best_single < PEL_PLAN_DEVICE_LIMIT) {
        pel_filling alone;
        memset(alone.share, 0, sizeof alone.share);
        alone.share[state->best_single] = planning->quanta;
        alone.mask = pel_bit(state->best_single);
        alone.makespan = state->single_ns;
        pel_plan_emit(planning, &alone);
        return true;
    }
    return false;
}

static uint64_t chosen_mask(const pel_plan_result *result) {
    uint64_t mask = 0;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        mask |= pel_bit(result->slices[i].device);
    }
    return mask;
}

static void explain_single(const contest *state, uint32_t device, pel_plan_choice *choice) {
    const pel_planning *planning = state->planning;
    const pel_plan_device *facts = &planning->request->devices[device];
    const pel_plan_result *result = planning->result;
    double alone = pel_plan_alone(planning, device);
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    choice->device_mask = pel_bit(device);
    choice->chosen = chosen_mask(result) == choice->device_mask;
    choice->predicted_ns = 0.0;
    if (facts->excluded != NULL) {
        pel_words_put(&words, facts->excluded);
        return;
    }
    if (planning->limit[device] < planning->quanta) {
        pel_words_put(&words, "its memory holds ");
        pel_words_number(&words, facts->unit_limit);
        pel_words_put(&words, " of ");
        pel_words_number(&words, planning->request->units);
        pel_words_put(&words, " units");
        return;
    }
    if (!usable_cost(&facts->cost)) {
        pel_words_put(&words, choice->chosen ? "never measured with this kernel: tried now" : "never measured with this kernel");
        return;
    }
    choice->predicted_ns = alone;
    pel_words_put(&words, facts->id);
    pel_words_put(&words, " alone: ");
    pel_words_time(&words, alone);
    if (choice->chosen) {
        pel_words_put(&words, result->exploring ? ", measured once: tried again" : "");
    } else if (result->predicted_ns > 0.0 && alone > result->predicted_ns) {
        pel_words_put(&words, "; slower than ");
        pel_words_devices(&words, planning->request, chosen_mask(result));
        pel_words_put(&words, " (");
        pel_words_time(&words, result->predicted_ns);
        pel_words_put(&words, ")");
    }
}

static void explain_combination(const contest *state, uint32_t index, pel_plan_choice *choice) {
    const pel_planning *planning = state->planning;
    double time = state->makespan[index], single = state->single_ns;
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    choice->device_mask = state->seen[index];
    choice->predicted_ns = time;
    choice->chosen = chosen_mask(planning->result) == choice->device_mask && !planning->result->exploring;
    pel_words_put(&words, "together: ");
    pel_words_time(&words, time);
    if (state->best_single == PEL_PLAN_DEVICE_LIMIT) {
        pel_words_put(&words, choice->chosen ? "; no device can hold it alone" : "; slower than the chosen one");
        return;
    }
    const char *rival = planning->request->devices[state->best_single].id;
    if (time >= single) {
        pel_words_put(&words, "; slower than ");
        pel_words_put(&words, rival);
        pel_words_put(&words, " alone");
    } else if (time < single * (1.0 - state->margin[index])) {
        pel_words_put(&words, "; ");
        pel_words_percent(&words, 1.0 - time / single);
        pel_words_put(&words, " less than ");
        pel_words_put(&words, rival);
        pel_words_put(&words, choice->chosen ? " alone" : " alone, but not the best");
    } else {
        pel_words_put(&words, "; gains ");
        pel_words_percent(&words, 1.0 - time / single);
        pel_words_put(&words, " over ");
        pel_words_put(&words, rival);
        pel_words_put(&words, " alone, the margin for that is ");
        pel_words_percent(&words, state->margin[index]);
    }
}

static void list_choices(const contest *state) {
    const pel_planning *planning = state->planning;
    pel_plan_result *result = planning->result;
    uint64_t chosen = chosen_mask(result);
    uint32_t singles = 0;
    for (uint32_t i = 0; i < planning->request->device_count; i++) {
        /* The last entries are kept for the devices that matter. */
        if (singles < SINGLE_LIMIT - 2 || i == state->best_single || (singles < SINGLE_LIMIT && chosen == pel_bit(i))) {
            explain_single(state, i, &result->choices[result->choice_count++]);
            singles++;
        }
    }
    for (uint32_t i = 0; i < state->combinations && result->choice_count < PEL_PLAN_CHOICE_LIMIT; i++) {
        explain_combination(state, i, &result->choices[result->choice_count++]);
    }
    bool listed = false;
    for (uint32_t i = 0; i < result->choice_count; i++) {
        listed = listed || result->choices[i].chosen;
    }
    if (!listed && result->choice_count < PEL_PLAN_CHOICE_LIMIT) {
        pel_plan_choice *choice = &result->choices[result->choice_count++];
        pel_words words;
        *choice = (pel_plan_choice){.device_mask = chosen, .predicted_ns = result->predicted_ns, .chosen = true};
        pel_words_begin(&words, choice->reason, sizeof choice->reason);
        pel_words_put(&words, "to learn what the new devices can do");
    }
}

/* Why a usable device has no part in the decision although it is fast enough to be asked about: it would take cores twice. */
static void append_overlaps(pel_words *words, const pel_planning *planning, uint64_t chosen) {
    for (uint64_t rest = planning->usable & ~chosen; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        uint64_t rivals = chosen & ~planning->beside[device];
        if (rivals != 0) {
            pel_words_put(words, "; ");
            pel_words_put(words, planning->request->devices[device].id);
            pel_words_put(words, " uses the same cores as ");
            pel_words_devices(words, planning->request, rivals);
        }
    }
}

static void explain_result(const contest *state) {
    const pel_planning *planning = state->planning;
    pel_plan_result *result = planning->result;
    uint64_t chosen = chosen_mask(result);
    pel_words words;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_devices(&words, planning->request, chosen);
    if (state->has_best && state->best_single < PEL_PLAN_DEVICE_LIMIT) {
        pel_words_put(&words, " together: ");
        pel_words_time(&words, result->predicted_ns);
        pel_words_put(&words, " instead of ");
        pel_words_time(&words, state->single_ns);
        pel_words_put(&words, " on ");
        pel_words_put(&words, planning->request->devices[state->best_single].id);
        pel_words_put(&words, " alone");
    } else if (state->has_best) {
        pel_words_put(&words, " together: no device can hold it alone");
    } else {
        pel_words_put(&words, " alone: ");
        pel_words_time(&words, state->single_ns);
        pel_words_put(&words, planning->request->single_only      ? ", the fastest; it may not be split"
                              : planning->quanta == 1             ? ", the fastest; too small to split"
                              : (planning->usable & (planning->usable - 1)) == 0 ? ", the only usable device"
                              : state->combinations == 0          ? ", the fastest; nothing can usefully run beside it"
                                                                  : ", the fastest; together gains too little");
    }
    append_overlaps(&words, planning, chosen);
}

static pel_status no_device(const pel_planning *planning) {
    const pel_plan_request *request = planning->request;
    pel_words words;
    pel_words_begin(&words, planning->result->reason, sizeof planning->result->reason);
    pel_words_put(&words, "no device can run this");
    for (uint32_t i = 0; i < request->device_count; i++) {
        pel_words_put(&words, i == 0 ? ": " : "; ");
        pel_words_put(&words, request->devices[i].id);
        pel_words_put(&words, ": ");
        if (request->devices[i].excluded != NULL) {
            pel_words_put(&words, request->devices[i].excluded);
        } else {
            pel_words_put(&words, "its memory holds ");
            pel_words_number(&words, request->devices[i].unit_limit);
            pel_words_put(&words, " of ");
            pel_words_number(&words, request->units);
            pel_words_put(&words, " units");
        }
    }
    return PEL_NO_DEVICE;
}

pel_status pel_planner_plan(const pel_plan_request *request, pel_plan_result *result) {
    pel_planning planning;
    clear(result);
    pel_status status = check(request, result);
    if (status != PEL_OK) {
        return status;
    }
    digest(request, result, &planning);
    contest state = {.planning = &planning};
    find_best_single(&state);
    if (!request->single_only && planning.quanta > 1) {
        pel_plan_disjoint_sets(&planning, planning.known, PEL_PLAN_CHOICE_LIMIT - SINGLE_LIMIT, compete, &state);
    }
    if (!pel_plan_explore(&planning)) {
        if (!decide(&state)) {
            /* Only all of them together, the unknown ones too, may have room enough. */
            pel_filling filling;
            if (request->single_only || !pel_plan_best_set(&planning, planning.usable, planning.quanta, &filling)) {
                return no_device(&planning);
            }
            pel_plan_emit(&planning, &filling);
            state.has_best = true;
        }
        explain_result(&state);
    }
    list_choices(&state);
    return PEL_OK;
}

static pel_status check_fixed(const pel_planning *planning, const uint32_t *devices, const double *weights, uint32_t count,
                              double *sum, pel_plan_result *result) {
    uint64_t used = 0;
    pel_words words;
    *sum = 0.0;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    for (uint32_t i = 0; i < count; i++) {
        if (devices[i] >= planning->request->device_count || (used & pel_bit(devices[i])) != 0) {
            return malformed(result, "shares: a device is named twice, or does not belong to the runtime");
        }
        if (!(weights[i] >= 0.0) || !isfinite(weights[i])) {
            return malformed(result, "shares: a weight must be finite and not negative");
        }
        const pel_plan_device *device = &planning->request->devices[devices[i]];
        *sum += weights[i];
        if (weights[i] > 0.0 && device->excluded != NULL) {
            pel_words_put(&words, device->id);
            pel_words_put(&words, " was asked for: ");
            pel_words_put(&words, device->excluded);
            return PEL_NO_DEVICE;
        }
        uint64_t rivals = weights[i] > 0.0 ? used & ~planning->beside[devices[i]] : 0;
        if (rivals != 0) {
            pel_words_put(&words, "shares: ");
            pel_words_put(&words, device->id);
            pel_words_put(&words, " uses the same cores as ");
            pel_words_devices(&words, planning->request, rivals);
            pel_words_put(&words, "; declare disjoint core sets (\"host@0,opencl:0@1\") to run them at once");
            return PEL_CONFLICT;
        }
        used |= weights[i] > 0.0 ? pel_bit(devices[i]) : 0;
    }
    if (!(*sum > 0.0) || !isfinite(*sum)) {
        return malformed(result, "shares: the weights must have a finite sum above 0");
    }
    return PEL_OK;
}

pel_status pel_planner_fixed(const pel_plan_request *request, const uint32_t *devices, const double *weights, uint32_t count,
                             pel_plan_result *result) {
    pel_planning planning;
    double sum, passed = 0.0;
    clear(result);
    pel_status status = check(request, result);
    if (status != PEL_OK) {
        return status;
    }
    if (devices == NULL || weights == NULL || count == 0 || count > PEL_PLAN_DEVICE_LIMIT) {
        return malformed(result, "shares: between 1 and 64 are possible");
    }
    digest(request, result, &planning);
    status = check_fixed(&planning, devices, weights, count, &sum, result);
    if (status != PEL_OK) {
        return status;
    }
    uint64_t lo = 0, mask = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        last = weights[i] > 0.0 ? i : last;
    }
    bool complete = true;
    for (uint32_t i = 0; i <= last; i++) {
        passed += weights[i];
        double edge = passed / sum * (double)planning.quanta + 0.5;
        uint64_t quanta = edge >= (double)planning.quanta ? planning.quanta : (uint64_t)edge;
        uint64_t hi = i == last || quanta == planning.quanta ? request->units : quanta * request->granularity;
        if (weights[i] <= 0.0 || hi <= lo) {
            continue;
        }
        const pel_plan_device *device = &request->devices[devices[i]];
        pel_words words;
        pel_words_begin(&words, result->reason, sizeof result->reason);
        if (hi - lo > device->unit_limit) {
            pel_words_put(&words, device->id);
            pel_words_put(&words, ": its memory holds ");
            pel_words_number(&words, device->unit_limit);
            pel_words_put(&words, " units, its share has ");
            pel_words_number(&words, hi - lo);
            return PEL_TOO_LARGE;
        }
        bool measured = usable_cost(&device->cost);
        double time = planning.start[devices[i]] + planning.unit[devices[i]] / (double)request->granularity * (double)(hi - lo);
        result->slices[result->slice_count++] =
            (pel_plan_slice){.device = devices[i], .lo = lo, .hi = hi, .predicted_ns = measured ? time : 0.0};
        complete = complete && measured;
        result->predicted_ns = time > result->predicted_ns ? time : result->predicted_ns;
        mask |= pel_bit(devices[i]);
        lo = hi;
    }
    if (request->single_only && result->slice_count > 1) {
        result->slice_count = 0;
        result->predicted_ns = 0.0;
        (void)malformed(result, "shares: this launch may not be split; name one device");
        return PEL_UNSUPPORTED;
    }
    if (!complete) {
        result->predicted_ns = 0.0;
    }
    pel_plan_choice *choice = &result->choices[result->choice_count++];
    *choice = (pel_plan_choice){.device_mask = mask, .predicted_ns = result->predicted_ns, .chosen = true};
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    pel_words_put(&words, "as the caller asked");
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_put(&words, "fixed shares, as the caller asked");
    return PEL_OK;
}
