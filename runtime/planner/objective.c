/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Other aims than time: least energy, least energy x time, each by a deadline.
 *
 * While a launch takes T, every device of the machine draws its idle power; a device that computes draws the difference to its
 * busy power on top, for its own time. So with a set of devices and a T the energy is a sum of fixed parts (starts) and of a
 * price per unit of work, and the cheapest division fills the devices in the order of that price, each up to what it finishes by
 * T. Seen as a function of T this is convex and has its corners where the first k devices just hold all the work; energy is least
 * at a corner or at the deadline, and so is energy x time (between corners it is rising, or concave). Sets are tried exhaustively
 * up to six devices, beyond that by dropping the dearest. Invariant: with a deadline that some division meets, the plan meets it,
 * as far as the models know; when none does, the fastest plan is made and says so. Rejected: weighting time and energy with a
 * factor, which nobody can choose.
 */
#include "planner/internal.h"

#include <math.h>
#include <string.h>

#define EXHAUSTIVE 6u
#define SURE 2.0 /* deviations kept from the deadline */

typedef struct search {
    const pel_planning *planning;
    pel_filling best; /* makespan: predicted */
    double best_value, best_joules;
    bool found;
} search;

static double extra_watts(const pel_planning *planning, uint32_t device) {
    const pel_plan_device *of = &planning->request->devices[device];
    return fmax(0.0, of->busy_watts - of->idle_watts);
}

static bool is_single(uint64_t mask) {
    return (mask & (mask - 1)) == 0;
}

static double start_of(const pel_planning *planning, uint32_t device, bool alone) {
    return alone ? planning->alone_start[device] : planning->start[device];
}
static double unit_of(const pel_planning *planning, uint32_t device, bool alone) {
    return alone ? planning->alone_unit[device] : planning->unit[device];
}

double pel_plan_joules(const pel_planning *planning, const pel_filling *filling, double *makespan_ns) {
    double idle = 0.0, joules = 0.0, latest = 0.0;
    bool alone = is_single(filling->mask);
    for (uint64_t rest = filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        double quanta = fmax((double)filling->share[device], planning->knee[device]);
        double time = start_of(planning, device, alone) + unit_of(planning, device, alone) * quanta;
        joules += extra_watts(planning, device) * time * 1e-9;
        latest = fmax(latest, time);
    }
    for (uint32_t i = 0; i < planning->request->device_count; i++) {
        idle += fmax(0.0, planning->request->devices[i].idle_watts);
    }
    *makespan_ns = latest;
    return joules + idle * latest * 1e-9;
}

double pel_plan_sure_by(const pel_planning *planning, uint64_t mask) {
    double most = 0.0;
    if (!(planning->request->deadline_ns > 0.0)) {
        return INFINITY;
    }
    for (; mask != 0; mask &= mask - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(mask);
        most = fmax(most, hypot(pel_plan_deviation(planning->request, device), planning->error[device]));
    }
    return planning->request->deadline_ns / (1.0 + SURE * most);
}

double pel_plan_aim_value(pel_aim aim, double joules, double ns) {
    return aim == PEL_AIM_TIME ? ns : aim == PEL_AIM_ENERGY ? joules : joules * ns;
}

static void consider(search *s, const pel_filling *filling) {
    double makespan, joules = pel_plan_joules(s->planning, filling, &makespan);
    double value = pel_plan_aim_value(s->planning->request->objective, joules, makespan);
    if (filling->mask != 0 && makespan <= pel_plan_sure_by(s->planning, filling->mask) && (!s->found || value < s->best_value)) {
        s->best = *filling;
        s->best.makespan = makespan;
        s->best_value = value;
        s->best_joules = joules;
        s->found = true;
    }
}

/* Fills the devices of `order` one after the other, each up to what it finishes by T; what is left over goes to the next. */
static void fill_by(search *s, const uint32_t *order, uint32_t count, double T) {
    pel_filling filling = {.mask = 0};
    uint64_t left = s->planning->quanta;
    bool alone = count == 1;
    for (uint32_t i = 0; i < count && left > 0; i++) {
        uint32_t device = order[i];
        double fluid = (T - start_of(s->planning, device, alone)) / unit_of(s->planning, device, alone) * (1.0 + 1e-12);
        uint64_t share = !(fluid >= 1.0)                               ? 0
                         : fluid >= (double)s->planning->limit[device] ? s->planning->limit[device]
                                                                       : (uint64_t)fluid;
        share = share < left ? share : left;
        filling.share[device] = share;
        filling.mask |= share > 0 ? pel_bit(device) : 0;
        left -= share;
    }
    if (left == 0) {
        consider(s, &filling);
    }
}

/* All that may be best with the devices of this set. */
static void try_set(search *s, uint64_t mask) {
    uint32_t order[PEL_PLAN_DEVICE_LIMIT] = {0}, count = 0;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest), at = count++;
        double price = extra_watts(s->planning, device) * s->planning->unit[device];
        while (at > 0 && extra_watts(s->planning, order[at - 1]) * s->planning->unit[order[at - 1]] > price) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = device;
    }
    uint64_t prefix = 0;
    for (uint32_t i = 0; i < count; i++) { /* the first ones alone, at their common level */
        pel_filling level;
        prefix |= pel_bit(order[i]);
        if (pel_plan_fill(s->planning, prefix, s->planning->quanta, &level)) {
            consider(s, &level);
            fill_by(s, order, count, level.makespan);
        }
    }
    if (s->planning->request->deadline_ns > 0.0) {
        fill_by(s, order, count, pel_plan_sure_by(s->planning, mask));
    }
}

static void try_subsets(void *user, uint64_t set) {
    search *s = user;
    if ((uint32_t)__builtin_popcountll(set) <= EXHAUSTIVE) {
        for (uint64_t part = set; part != 0; part = (part - 1) & set) {
            try_set(s, part);
        }
        return;
    }
    for (uint64_t rest = set; rest != 0;) {
        uint32_t dearest = 0;
        double most = -1.0;
        try_set(s, rest);
        for (uint64_t each = rest; each != 0; each &= each - 1) {
            uint32_t device = (uint32_t)__builtin_ctzll(each);
            double price = extra_watts(s->planning, device) * s->planning->unit[device];
            if (price > most) {
                most = price;
                dearest = device;
            }
        }
        rest &= ~pel_bit(dearest);
    }
}

static const pel_plan_device *unknown_power(const pel_planning *planning) {
    for (uint64_t rest = planning->known; rest != 0; rest &= rest - 1) {
        const pel_plan_device *device = &planning->request->devices[__builtin_ctzll(rest)];
        if (!(device->busy_watts > 0.0)) {
            return device;
        }
    }
    return NULL;
}

/* One declared figure makes a model of the whole; devices without any are not part of it. */
static pel_energy_source source_of(const pel_plan_request *request) {
    bool measured = true;
    for (uint32_t i = 0; i < request->device_count; i++) {
        measured = measured && (request->devices[i].watts_measured || !(request->devices[i].busy_watts > 0.0));
    }
    return measured ? PEL_ENERGY_MEASURED : PEL_ENERGY_MODELLED;
}

/* What is said when the aim cannot be followed: the plan is the fastest. */
static void tell_fastest(pel_planning *planning, const char *before, const char *what, const char *after) {
    char reason[sizeof planning->result->reason];
    pel_words words;
    memcpy(reason, planning->result->reason, sizeof reason);
    pel_words_begin(&words, planning->result->reason, sizeof planning->result->reason);
    pel_words_put(&words, before);
    pel_words_put(&words, what);
    pel_words_put(&words, after);
    pel_words_put(&words, reason);
}

bool pel_plan_is_priced(const pel_planning *planning) {
    return planning->request->objective != PEL_AIM_TIME && unknown_power(planning) == NULL;
}

/* The best division of all sets, for the aim and by the deadline; and the fastest, if it will do. */
static void look(search *s, const pel_filling *fastest) {
    const pel_planning *planning = s->planning;
    if (planning->request->single_only) {
        for (uint64_t rest = planning->known; rest != 0; rest &= rest - 1) {
            try_set(s, rest & (~rest + 1));
        }
    } else {
        pel_plan_disjoint_sets(planning, planning->known, PEL_PLAN_COMBINATION_LIMIT, try_subsets, s);
    }
    consider(s, fastest);
}

static void tell_found(const search *s, double fastest_ns, double fastest_joules) {
    const pel_plan_request *request = s->planning->request;
    pel_plan_result *result = s->planning->result;
    pel_words words;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_devices(&words, request, s->best.mask);
    if (request->objective == PEL_AIM_TIME) {
        pel_words_put(&words, ": sure to meet the deadline, in ");
        pel_words_time(&words, s->best.makespan);
        pel_words_put(&words, "; the fastest needs ");
        pel_words_time(&words, fastest_ns);
        pel_words_put(&words, " and scatters too much for it");
        return;
    }
    pel_words_put(&words, request->objective == PEL_AIM_ENERGY ? ": least energy, " : ": least energy x time, ");
    pel_words_joules(&words, s->best_joules);
    pel_words_put(&words, " in ");
    pel_words_time(&words, s->best.makespan);
    pel_words_put(&words, "; the fastest needs ");
    pel_words_joules(&words, fastest_joules);
    pel_words_put(&words, " in ");
    pel_words_time(&words, fastest_ns);
    pel_words_put(&words, result->energy_source == PEL_ENERGY_MEASURED ? " (measured watts)" : " (declared watts)");
}

/* Of a plan that stays the fastest, although there is a deadline which it does not surely meet. */
static void tell_doubt(pel_planning *planning, double planned_ns) {
    const double deadline = planning->request->deadline_ns;
    if (planned_ns > deadline) {
        tell_fastest(planning, "the deadline cannot be met; as good as possible", "", ": ");
    } else if (planned_ns > 0.0) {
        tell_fastest(planning, "the deadline is met, but with less than two deviations to spare", "", ": ");
    } else {
        tell_fastest(planning, "whether the deadline is met is not known", "", ": ");
    }
}

bool pel_plan_pursue(pel_planning *planning, const pel_filling *fastest) {
    const pel_plan_request *request = planning->request;
    pel_plan_result *result = planning->result;
    double fastest_ns, fastest_joules = pel_plan_joules(planning, fastest, &fastest_ns), planned_ns = result->predicted_ns;
    const pel_plan_device *unknown = unknown_power(planning);
    const bool sure = planned_ns > 0.0 && fastest_ns <= pel_plan_sure_by(planning, fastest->mask);
    search s = {.planning = planning};
    if (request->objective == PEL_AIM_TIME ? !sure : unknown == NULL) {
        look(&s, fastest);
    }
    result->predicted_joules = unknown == NULL ? fastest_joules : 0.0;
    result->energy_source = result->predicted_joules > 0.0 ? source_of(request) : PEL_ENERGY_UNKNOWN;
    if (s.found) {
        pel_plan_emit(planning, &s.best);
        result->predicted_joules = unknown == NULL ? s.best_joules : 0.0;
        result->energy_source = result->predicted_joules > 0.0 ? source_of(request) : PEL_ENERGY_UNKNOWN;
        tell_found(&s, fastest_ns, fastest_joules);
        return true;
    }
    if (request->objective != PEL_AIM_TIME && unknown != NULL) {
        tell_fastest(planning, "the fastest, because the power of ", unknown->id,
                     unknown->watts_pending ? " is not known yet (its meter is read; pauses and launches of 20 ms tell it): "
                                            : " is not known: ");
    } else if (request->deadline_ns > 0.0 && !sure) {
        tell_doubt(planning, planned_ns);
    }
    return false;
}
