/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The request digested: for each device one line beside others and one for when it works alone.
 *
 * What is known of one bears on the other, as far as company does not matter: a discrete device hardly notices its neighbours,
 * cores that share one memory may slow each other down by half. So each of the two lines is a weighted mean of what was seen in
 * both situations, the other situation's weight limited by how much company may matter (a standard deviation, COMPANY_*). Where
 * several devices share memory and one was seen both ways, its ratio is what is expected of the rest. Invariant: an answer for
 * every usable device, from what there is, measured, borrowed from other shapes of the kernel or from the prior, and how far it
 * may be off. Without an account (pel_record) costs are taken at their word.
 */
#include "planner/internal.h"

#include <math.h>

#define MEMORY 50u          /* observations that a model with lambda 0.98 remembers; with 0.99 more, and nobody relies on them */
#define COMPANY_APART 0.015 /* devices with processors and memory of their own: launch threads and the link are shared */
#define COMPANY_SHARED                                                                                                           \
    0.25 /* cores that share caches and memory: two halves of a machine gained between 0 and 95 % (bench/coexec) */
#define COMPANY_TOLD 0.08 /* ... once another device's ratio is known */
#define TELLING 8u        /* observations of one situation after which the other one's no longer count for it */
#define ACCIDENT 1.5      /* alone so much slower than beside others: company does not help, something else happened */
#define WORST_COMPANY 2.2 /* two devices on one memory, each slowed down by the other: rarely more */
#define CONFIRMED 3u      /* observations after which even that is believed */
#define BORROWED_LEAST 4u /* observations of other shapes that make them worth borrowing */
#define BORROWED_ERROR 0.3

typedef struct weighted {
    double start, unit, precision;
} weighted;

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

/* Of finite values; fmax is a call. */
static inline double larger(double a, double b) {
    return a > b ? a : b;
}

static double not_negative(double value) {
    return isfinite(value) && value > 0.0 ? value : 0.0;
}

static bool sane(double start, double unit) {
    return isfinite(start) && start >= 0.0 && isfinite(unit) && unit > 0.0;
}

static bool seen_beside(const pel_cost *cost) {
    return cost->samples > 0 && sane(cost->start_ns, cost->unit_ns);
}
static bool seen_alone(const pel_cost *cost) {
    return cost->alone.samples > 0 && sane(cost->alone.start_ns, cost->alone.unit_ns);
}
static bool has_kin(const pel_cost *cost) {
    return cost->kin.samples >= BORROWED_LEAST && sane(cost->kin.start_ns, cost->kin.unit_ns);
}

bool pel_plan_measured(const pel_plan_device *device) {
    return seen_beside(&device->cost) || seen_alone(&device->cost);
}

uint64_t pel_plan_samples(const pel_plan_device *device) {
    return (seen_beside(&device->cost) ? device->cost.samples : 0) + (seen_alone(&device->cost) ? device->cost.alone.samples : 0);
}

double pel_plan_moving(const pel_plan_device *device, double units) {
    return not_negative(device->move_start_ns) + not_negative(device->move_unit_ns) * units;
}

static double prior_of(const pel_plan_device *device) {
    return isfinite(device->prior_rate) && device->prior_rate > 0.0 ? device->prior_rate : 1.0;
}

/*
 * Speed of measured devices relative to a guess (priors, or what was borrowed), so that guesses of the others can be put beside
 * them.
 */
static double scale_of(const pel_plan_request *request, bool borrowed) {
    double sum = 0.0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->device_count; i++) {
        const pel_plan_device *device = &request->devices[i];
        if (!pel_plan_measured(device) || (borrowed && !has_kin(&device->cost))) {
            continue;
        }
        double unit = seen_beside(&device->cost) ? device->cost.unit_ns : device->cost.alone.unit_ns;
        /* Geometric mean: one device that its prior misjudges by a factor of 100 must not decide. */
        sum += log(borrowed ? unit / device->cost.kin.unit_ns : unit * prior_of(device));
        count++;
    }
    return count > 0 ? exp(sum / count) : 1.0;
}

pel_plan_scales pel_plan_scales_of(const pel_plan_request *request) {
    return (pel_plan_scales){.prior = scale_of(request, false), .kin = scale_of(request, true)};
}

double pel_plan_guess(const pel_plan_device *device, const pel_plan_scales *scales) {
    const double unit = has_kin(&device->cost) ? device->cost.kin.unit_ns * scales->kin : scales->prior / prior_of(device);
    return unit + not_negative(device->move_unit_ns);
}

/* Squared relative error of a line, from its scatter and from `company`, what the other situation may change. */
static double variance_of(double deviation, uint64_t samples, double company) {
    double n = (double)(samples < MEMORY ? samples : MEMORY);
    return deviation * deviation / n + company * company;
}

static void add(weighted *sum, double start, double unit, double variance) {
    double precision = 1.0 / larger(variance, 1e-30);
    sum->start += precision * start;
    sum->unit += precision * unit;
    sum->precision += precision;
}

/* Few observations alone, and wildly slower ones than beside others: accidents. */
static bool believes_alone(const pel_cost *cost, double units) {
    return seen_alone(cost) &&
           (!seen_beside(cost) || cost->alone.samples >= TELLING ||
            cost->alone.start_ns + cost->alone.unit_ns * units < ACCIDENT * (cost->start_ns + cost->unit_ns * units));
}

/* One or two observations beside others, slower than company explains: a driver that compiles a variant for its first part
 * does not say so. */
static bool believes_beside(const pel_cost *cost, double units) {
    return seen_beside(cost) &&
           (!seen_alone(cost) || cost->alone.samples < 2 || cost->samples >= CONFIRMED ||
            cost->start_ns + cost->unit_ns * units < WORST_COMPANY * (cost->alone.start_ns + cost->alone.unit_ns * units));
}

/*
 * The line beside others (`alone` false) or alone; after `enough` observations of one the other one's do not count; `ratio`
 * turns a time beside others into one alone.
 */
static weighted blend(const pel_cost *cost, double units, bool alone, uint64_t enough, double company, double ratio) {
    weighted sum = {0.0, 0.0, 0.0};
    bool use_alone = believes_alone(cost, units), use_beside = believes_beside(cost, units) || !use_alone;
    double scatter =
        larger(use_alone ? not_negative(cost->alone.deviation) : 0.0, use_beside ? not_negative(cost->deviation) : 0.0);
    if (use_beside && !(alone && use_alone && cost->alone.samples >= enough)) {
        double factor = alone ? ratio : 1.0;
        add(&sum, cost->start_ns * factor, cost->unit_ns * factor, variance_of(scatter, cost->samples, alone ? company : 0.0));
    }
    if (use_alone && !(!alone && use_beside && cost->samples >= enough)) {
        double factor = alone ? 1.0 : 1.0 / ratio;
        add(&sum, cost->alone.start_ns * factor, cost->alone.unit_ns * factor,
            variance_of(scatter, cost->alone.samples, alone ? 0.0 : company));
    }
    return (weighted){sum.start / sum.precision, sum.unit / sum.precision, sum.precision};
}

/* Time alone over time beside others, of the devices that share memory and were seen both ways; false: none was. */
static bool ratio_of(const pel_planning *planning, double *ratio) {
    const pel_plan_request *request = planning->request;
    double sum = 0.0;
    uint32_t count = 0;
    for (uint64_t rest = planning->sharing; rest != 0; rest &= rest - 1) {
        const pel_cost *cost = &request->devices[__builtin_ctzll(rest)].cost;
        const double units = pel_cost_counted(cost, (double)request->units);
        if (believes_alone(cost, units) && believes_beside(cost, units)) {
            sum += log((cost->alone.start_ns + cost->alone.unit_ns * units) / (cost->start_ns + cost->unit_ns * units));
            count++;
        }
    }
    *ratio = count > 0 ? fmin(1.0, exp(sum / count)) : 1.0;
    return count > 0;
}

static void digest_lines(pel_planning *planning, uint32_t index, double ratio, bool told, const pel_plan_scales *scales) {
    const pel_plan_device *device = &planning->request->devices[index];
    const pel_cost *cost = &device->cost;
    double grain = (double)planning->request->granularity,
           move = not_negative(device->move_start_ns) + not_negative(device->begins_ns);
    bool sharing = (planning->sharing & pel_bit(index)) != 0;
    double company = planning->request->record == NULL ? 0.0 : sharing ? (told ? COMPANY_TOLD : COMPANY_SHARED) : COMPANY_APART;
    if (!pel_plan_measured(device)) {
        planning->error[index] = planning->alone_error[index] = BORROWED_ERROR;
        planning->start[index] = planning->alone_start[index] = (has_kin(cost) ? cost->kin.start_ns : 0.0) + move;
        planning->unit[index] = planning->alone_unit[index] = pel_plan_guess(device, scales) * grain;
        return;
    }
    double own = seen_alone(cost) && seen_beside(cost) ? 1.0
                 : cost->outdated                      ? exp(-fmax(cost->company, 0.0) * cost->companions)
                 : sharing                             ? ratio
                                                       : 1.0;
    double units = pel_cost_counted(cost, (double)planning->request->units);
    uint64_t enough = sharing ? 1 : TELLING; /* what is worth little is not worth mixing in */
    weighted beside = blend(cost, units, false, enough, company, own), alone = blend(cost, units, true, enough, company, own);
    planning->knee[index] = not_negative(cost->knee_units) / grain;
    planning->start[index] = beside.start + move;
    planning->unit[index] = (beside.unit + not_negative(device->move_unit_ns)) * grain;
    planning->error[index] = 1.0 / sqrt(beside.precision);
    if (seen_beside(cost) && isfinite(cost->company) && cost->companions > 0.0) {
        planning->companions[index] = cost->companions;
        planning->company[index] = cost->company;
        planning->company_error[index] = not_negative(cost->company_error);
    }
    planning->alone_start[index] = alone.start + move;
    planning->alone_unit[index] = (alone.unit + not_negative(device->move_unit_ns)) * grain;
    planning->alone_error[index] = 1.0 / sqrt(alone.precision);
}

static void digest_sets(pel_planning *planning) {
    const pel_plan_request *request = planning->request;
    for (uint32_t i = 0; i < request->device_count; i++) {
        const pel_plan_device *device = &request->devices[i];
        planning->limit[i] = device->unit_limit >= request->units ? planning->quanta : device->unit_limit / request->granularity;
        if (device->excluded == NULL && planning->limit[i] > 0) {
            planning->usable |= pel_bit(i);
            bool known = pel_plan_samples(device) > 1 || (pel_plan_samples(device) == 0 && has_kin(&device->cost));
            *(known ? &planning->known : &planning->unknown) |= pel_bit(i);
            planning->seen_alone |= seen_alone(&device->cost) ? pel_bit(i) : 0;
            planning->told |= seen_alone(&device->cost) || device->cost.outdated ? pel_bit(i) : 0;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (!overlap(device->cores, request->devices[j].cores)) {
                planning->beside[i] |= pel_bit(j);
                planning->beside[j] |= pel_bit(i);
            }
        }
    }
    for (uint64_t rest = planning->usable; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(rest);
        uint64_t others = request->devices[i].host_memory ? planning->usable & planning->beside[i] : 0;
        for (; others != 0; others &= others - 1) {
            planning->sharing |= request->devices[__builtin_ctzll(others)].host_memory ? pel_bit(i) : 0;
        }
    }
}

void pel_plan_digest(pel_planning *planning) {
    const pel_plan_request *request = planning->request;
    double ratio;
    bool guessing = false; /* scales put guesses beside measurements */
    for (uint32_t i = 0; i < request->device_count; i++) {
        guessing = guessing || !pel_plan_measured(&request->devices[i]);
    }
    const pel_plan_scales scales = guessing ? pel_plan_scales_of(request) : (pel_plan_scales){1.0, 1.0};
    digest_sets(planning);
    bool told = ratio_of(planning, &ratio);
    for (uint32_t i = 0; i < request->device_count; i++) {
        digest_lines(planning, i, ratio, told, &scales);
    }
    pel_plan_share_company(planning);
}
