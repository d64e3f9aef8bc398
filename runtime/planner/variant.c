/* SPDX-License-Identifier: BSD-3-Clause */
#include "planner/variant.h"
#include "planner/confidence.h"

#include <string.h>

#define ENOUGH 16u /* launches of a variant that is expected to lose, after which pauses are those of devices that nobody uses */
#define FEW 4u     /* launches of each from which on a difference is believed: in one of two a core may have been stolen, */
#define GROSS 2.0  /* unless one takes so many times as long */
#define PAUSE 8u   /* launches between trials of one that is expected to lose */

static bool same_cores(const pel_plan_device *a, const pel_plan_device *b) {
    return a->cores != NULL && b->cores != NULL && memcmp(a->cores, b->cores, sizeof *a->cores) == 0;
}

/* The usable devices with the very cores of `device`, itself included, that hold the whole launch as it does. */
static uint64_t class_of(const pel_planning *planning, uint32_t device) {
    const pel_plan_device *devices = planning->request->devices;
    uint64_t class = pel_bit(device);
    for (uint64_t rest = planning->usable & ~planning->beside[device] & ~class; rest != 0; rest &= rest - 1) {
        const uint32_t other = (uint32_t)__builtin_ctzll(rest);
        const bool holds = planning->limit[other] >= planning->quanta && planning->limit[device] >= planning->quanta;
        class |= holds && same_cores(&devices[device], &devices[other]) ? pel_bit(other) : 0;
    }
    return class;
}

static uint32_t usual_of(const pel_planning *planning, uint64_t class) {
    uint32_t usual = (uint32_t)__builtin_ctzll(class);
    for (uint64_t rest = class; rest != 0; rest &= rest - 1) {
        const uint32_t device = (uint32_t)__builtin_ctzll(rest);
        usual = planning->request->devices[device].prior_rate > planning->request->devices[usual].prior_rate ? device : usual;
    }
    return usual;
}

/* Both as they were seen alike: alone, or beside others; where that is not so, by what each is thought to take alone. */
static double lead(const pel_planning *planning, uint32_t device, uint32_t rival, double *gain) {
    const pel_plan_device *devices = planning->request->devices;
    const uint64_t both = pel_bit(device) | pel_bit(rival);
    const bool beside =
        (planning->seen_alone & both) != both && devices[device].cost.samples > 0 && devices[rival].cost.samples > 0;
    const double work = pel_plan_work(planning->request, 0, planning->request->units);
    const double mine = beside ? pel_plan_time(planning, device, work) : pel_plan_alone(planning, device);
    const double its = beside ? pel_plan_time(planning, rival, work) : pel_plan_alone(planning, rival);
    *gain = 1.0 - mine / its;
    return pel_confidence_lead(mine, beside ? planning->error[device] : planning->alone_error[device], its,
                               beside ? planning->error[rival] : planning->alone_error[rival]);
}

/* Whether `device` replaces the default, and by what part it is faster. */
static bool replaces(const pel_planning *planning, uint32_t device, uint32_t usual, double *gain) {
    const pel_plan_device *devices = planning->request->devices;
    const double ahead = lead(planning, device, usual, gain);
    const bool often = pel_plan_samples(&devices[device]) >= FEW && pel_plan_samples(&devices[usual]) >= FEW;
    return ahead > PEL_CONFIDENCE_SURE && (often || *gain > 1.0 - 1.0 / GROSS);
}

/* The default, or of those that are surely faster than it the one that is faster by most. */
static uint32_t chosen_of(const pel_planning *planning, uint64_t class, uint32_t usual) {
    uint32_t chosen = usual;
    double most = 0.0;
    for (uint64_t rest = class & planning->known & ~pel_bit(usual); rest != 0; rest &= rest - 1) {
        const uint32_t device = (uint32_t)__builtin_ctzll(rest);
        double gain;
        if (replaces(planning, device, usual, &gain) && gain > most) {
            chosen = device;
            most = gain;
        }
    }
    return chosen;
}

void pel_variant_choose(pel_planning *planning) {
    if (planning->request->objective != PEL_AIM_TIME || planning->request->record == NULL) {
        return; /* they may draw different power, and what is slower be the aim; without an account nothing can be tried */
    }
    for (uint64_t rest = planning->known; rest != 0;) {
        const uint64_t class = class_of(planning, (uint32_t)__builtin_ctzll(rest)), known = class & planning->known;
        rest &= ~class;
        if ((known & (known - 1)) == 0) {
            continue;
        }
        const uint32_t usual = usual_of(planning, known), chosen = chosen_of(planning, known, usual);
        planning->standby |= known & ~pel_bit(chosen);
        planning->variants |= known;
        for (uint64_t of = known; of != 0; of &= of - 1) {
            planning->usual[__builtin_ctzll(of)] = (uint8_t)usual;
        }
    }
    planning->known &= ~planning->standby;
}

/* It is expected to win and not yet surely, in every other launch; it may win still, and can be paid, in every eighth. */
static bool is_due(const pel_planning *planning, uint32_t device, uint32_t chosen) {
    const pel_plan_request *request = planning->request;
    const uint64_t last = request->devices[device].cost.last_launch, now = request->record->launches;
    double gain;
    const double ahead = lead(planning, device, chosen, &gain);
    if (ahead > 0.0) {
        return now >= last + 1;
    }
    return ahead > -PEL_CONFIDENCE_SURE && pel_plan_samples(&request->devices[device]) < ENOUGH && now >= last + PAUSE;
}

static bool emit_instead(pel_planning *planning, uint64_t chosen, uint32_t usual, uint32_t device) {
    const uint64_t set = (chosen & ~pel_bit(usual)) | pel_bit(device);
    pel_filling filling = {.mask = set, .makespan = pel_plan_alone(planning, device)};
    if (set == pel_bit(device)) {
        filling.share[device] = planning->quanta;
    } else if (!pel_plan_fill(planning, set, planning->quanta, &filling) || (filling.mask & pel_bit(device)) == 0) {
        return false;
    }
    if (!pel_plan_affords(planning->request, filling.makespan - planning->result->predicted_ns)) {
        return false;
    }
    pel_plan_emit(planning, &filling);
    planning->result->exploring = true;
    return true;
}

bool pel_variant_try(const pel_contest *contest, uint64_t chosen) {
    pel_planning *planning = contest->planning;
    for (uint64_t rest = planning->standby; rest != 0; rest &= rest - 1) {
        const uint32_t device = (uint32_t)__builtin_ctzll(rest);
        const uint64_t rivals = chosen & ~planning->beside[device];
        const uint32_t rival = rivals != 0 ? (uint32_t)__builtin_ctzll(rivals) : device;
        const pel_plan_device *devices = planning->request->devices;
        if (rivals != pel_bit(rival) || rival == device || !same_cores(&devices[device], &devices[rival]) ||
            !is_due(planning, device, rival) || !emit_instead(planning, chosen, rival, device)) {
            continue;
        }
        pel_words words;
        pel_words_begin(&words, planning->result->reason, sizeof planning->result->reason);
        pel_words_put(&words, "learning: ");
        pel_words_devices(&words, planning->request, pel_bit(device));
        pel_words_put(&words, " may be faster than ");
        pel_words_devices(&words, planning->request, pel_bit(rival));
        pel_words_put(&words, " on the same cores, which is not yet 95 % sure either way");
        return true;
    }
    return false;
}

void pel_variant_say(pel_words *words, const pel_planning *planning, uint32_t device) {
    if ((planning->variants & pel_bit(device)) == 0) {
        return;
    }
    const uint32_t usual = planning->usual[device];
    double gain;
    if (device == usual) {
        pel_words_put(words, "; the usual variant on these cores");
        return;
    }
    const bool sure = replaces(planning, device, usual, &gain);
    pel_words_put(words, "; ");
    pel_words_percent(words, fabs(gain));
    pel_words_put(words, gain > 0.0 ? " less than " : " more than ");
    pel_words_put(words, planning->request->devices[usual].id);
    pel_words_put(words, gain <= 0.0 ? ", the usual variant on these cores"
                         : sure      ? ", the usual variant on these cores (95 % sure)"
                                     : ", the usual variant on these cores: not yet 95 % sure");
}
