/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Second opinions: trying what a decision rests on without having been seen.
 *
 * "Never knowingly slower" compares a division with the best device *alone*, and a device that has only ever worked beside
 * others may be much faster alone: one memory feeds both. So where devices share memory, the best of them works alone once
 * before a division of them is believed. The other way round, a division that company made slow gets another chance now and
 * then, and so does a device that nobody uses: machines change. All of this is paid from a budget of 1 % of the family's time
 * (pel_record), with longer and longer pauses. Invariant: without a record nothing is tried. Rejected: sampling from the models
 * (Thompson): it explores where uncertainty is wide, and pays for it at random times.
 */
#include "planner/internal.h"
#include "planner/variant.h"

#include <math.h>

#define BUDGET 0.01       /* of the family's time */
#define SETTLING 3u       /* launches before which everything is new anyway */
#define ERRORS 2.0        /* how much better than predicted a device may be */
#define COMPANY_ERRORS 1.5 /* how much worse than thought company may be */
#define FIRST_PAUSE 16u   /* launches; doubled after each trial */
#define LONGEST_PAUSE 10u /* doublings */
#define ANEW 16u          /* observations */
#define HOPEFUL_PAUSE 4u  /* launches, where the division is expected to win, and only not surely enough */

bool pel_plan_affords(const pel_plan_request *request, double cost_ns) {
    const pel_record *record = request->record;
    return record != NULL && record->explored_ns + fmax(cost_ns, 0.0) <= BUDGET * record->total_ns;
}

static void emit_alone(pel_planning *planning, uint32_t device) {
    pel_filling alone = {.mask = pel_bit(device), .makespan = pel_plan_alone(planning, device)};
    alone.share[device] = planning->quanta;
    pel_plan_emit(planning, &alone);
    planning->result->exploring = true;
}

static void say(const pel_planning *planning, const char *before, uint64_t devices, const char *after) {
    pel_words words;
    pel_words_begin(&words, planning->result->reason, sizeof planning->result->reason);
    pel_words_put(&words, "learning: ");
    pel_words_put(&words, before);
    pel_words_devices(&words, planning->request, devices);
    pel_words_put(&words, after);
}

/* Devices whose lines beside others began anew not long ago. One has changed by itself; of two it may be the company. */
static uint32_t began_anew(const pel_planning *planning, uint64_t mask) {
    uint32_t count = 0;
    for (; mask != 0 && planning->request->record->launches > 2 * ANEW; mask &= mask - 1) {
        count += planning->request->devices[__builtin_ctzll(mask)].cost.samples < ANEW;
    }
    return count;
}

/* A division was chosen: is there a device that might do as well alone and has never been seen so? */
static bool try_alone(const pel_contest *contest, uint64_t chosen) {
    pel_planning *planning = contest->planning;
    double together = planning->result->predicted_ns, least = together;
    uint32_t best = PEL_PLAN_DEVICE_LIMIT;
    bool untold = (planning->seen_alone & planning->sharing) == 0 &&
                  ((planning->told & planning->sharing) == 0 || began_anew(planning, chosen & planning->sharing) > 1);
    double crowd = fmax(1.0, (double)__builtin_popcountll(chosen & planning->sharing));
    for (uint64_t rest = planning->known & ~planning->seen_alone; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        double hoped = pel_plan_alone(planning, device) * fmax(0.0, 1.0 - ERRORS * planning->alone_error[device]);
        if (untold && (planning->sharing & pel_bit(device)) != 0) {
            hoped = pel_plan_alone(planning, device) / crowd; /* one memory: each had at least its share of it */
        }
        if (planning->limit[device] >= planning->quanta && hoped < least) {
            best = device;
            least = hoped;
        }
    }
    if (best == PEL_PLAN_DEVICE_LIMIT) {
        return false;
    }
    /* The first of those that share memory is owed: without it every division of them is a guess. */
    bool owed = (planning->sharing & chosen & pel_bit(best)) != 0 && untold;
    if (!owed && !pel_plan_affords(planning->request, pel_plan_alone(planning, best) - together)) {
        return false;
    }
    emit_alone(planning, best);
    say(planning, "", pel_bit(best), " has never been seen alone: company may have slowed it down");
    return true;
}

/* One device was chosen: would a division win if company did as little harm as it might by now? */
static bool try_together(const pel_contest *contest) {
    pel_planning *planning = contest->planning;
    const pel_record *record = planning->request->record;
    uint64_t pauses = record->together_probes < LONGEST_PAUSE ? record->together_probes : LONGEST_PAUSE;
    pel_planning undisturbed = *planning;
    pel_filling hoped, filling;
    if (record->launches < record->together_last + HOPEFUL_PAUSE) {
        return false;
    }
    for (uint64_t rest = planning->known; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        undisturbed.start[device] = fmin(planning->start[device], planning->alone_start[device]);
        undisturbed.unit[device] = fmin(planning->unit[device], planning->alone_unit[device]);
    }
    if (!pel_plan_best_set(&undisturbed, planning->known, planning->quanta, &hoped) || (hoped.mask & (hoped.mask - 1)) == 0 ||
        hoped.makespan > contest->single_ns * (1.0 - 2.0 * planning->margin) ||
        !pel_plan_fill(planning, hoped.mask, planning->quanta, &filling) || (filling.mask & (filling.mask - 1)) == 0) {
        return false;
    }
    /* Company is seldom as bad as in its worst minute, and scatter from that minute forbids what is likely to win: that costs
     * nothing to try. */
    uint64_t pause = filling.makespan < contest->single_ns ? HOPEFUL_PAUSE : FIRST_PAUSE << pauses;
    if (record->launches < record->together_last + pause ||
        !pel_plan_affords(planning->request, filling.makespan - contest->single_ns)) {
        return false;
    }
    pel_plan_emit(planning, &filling);
    planning->result->exploring = planning->result->together_probe = true;
    say(planning, "", filling.mask, " together looked slower; tried again, in case the machine has changed");
    return true;
}

/*
 * A device that nobody has used for a long time, on the chosen one's cores or for a launch that may not be split: it would have
 * to work alone.
 */
static bool try_idle(const pel_contest *contest, uint64_t chosen) {
    pel_planning *planning = contest->planning;
    const pel_plan_request *request = planning->request;
    bool whole = request->single_only || planning->quanta == 1;
    uint32_t best = PEL_PLAN_DEVICE_LIMIT;
    for (uint64_t rest = (planning->known | planning->standby) & ~chosen; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        bool beside = (chosen & ~planning->beside[device]) == 0;
        uint64_t last = request->devices[device].cost.last_launch;
        if ((!beside || whole) && planning->limit[device] >= planning->quanta &&
            request->record->launches >= 2 * last + FIRST_PAUSE &&
            (best == PEL_PLAN_DEVICE_LIMIT || pel_plan_alone(planning, device) < pel_plan_alone(planning, best))) {
            best = device;
        }
    }
    if (best == PEL_PLAN_DEVICE_LIMIT ||
        !pel_plan_affords(request, pel_plan_alone(planning, best) - planning->result->predicted_ns)) {
        return false;
    }
    emit_alone(planning, best);
    say(planning, "", pel_bit(best), " has not been used for long; tried again, in case the machine has changed");
    return true;
}

/* Whoever takes least of what the devices of `mask` take. */
static uint32_t least_of(const pel_filling *filling, uint64_t mask) {
    uint32_t least = (uint32_t)__builtin_ctzll(mask);
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        least = filling->share[device] < filling->share[least] ? device : least;
    }
    return least;
}

/* Tries the devices of `fewer` where they may win by the margin, and that can be paid. */
static bool try_these(const pel_contest *contest, uint64_t fewer) {
    pel_planning *planning = contest->planning;
    const double now = contest->best.makespan;
    pel_planning crowd = *planning;
    pel_filling hoped, likely;
    if (!pel_plan_fill_crowd(&crowd, fewer, COMPANY_ERRORS, &hoped) || __builtin_popcountll(hoped.mask) < 2 ||
        hoped.makespan >= now * (1.0 - planning->margin)) {
        return false;
    }
    crowd = *planning;
    if (!pel_plan_fill_crowd(&crowd, fewer, 0.0, &likely) || __builtin_popcountll(likely.mask) < 2 ||
        !pel_plan_affords(planning->request, likely.makespan - now)) {
        return false;
    }
    pel_plan_crowd(planning, likely.mask, (uint32_t)__builtin_popcountll(likely.mask), 0.0);
    pel_plan_emit(planning, &likely);
    planning->result->exploring = true;
    say(planning, "", likely.mask, " without the others, which may slow them down more than they help");
    return true;
}

/* By how much faster a device may be for each other one that is left out, as a logarithm. */
static double relief_of(const pel_planning *planning, uint32_t device) {
    const double each = planning->company[device] + COMPANY_ERRORS * planning->company_error[device];
    return planning->companions[device] > 0.0 && each > 0.0 ? each : 0.0;
}

/*
 * A division was chosen: would fewer devices be faster, if company costs as much as it might? That is learned by leaving out
 * whoever takes least. Filling each of these sets took half of a plan's time, nearly always for nothing: what all their speeds
 * together need at the least, starts left out, is looked at first; and before that, as if all gained as much as one may.
 */
static bool try_fewer(const pel_contest *contest, uint64_t chosen) {
    const pel_planning *planning = contest->planning;
    const double enough = contest->best.makespan * (1.0 - planning->margin);
    double speed[PEL_PLAN_DEVICE_LIMIT], relief[PEL_PLAN_DEVICE_LIMIT], most = 0.0;
    if (!contest->has_best) {
        return false;
    }
    for (uint64_t rest = chosen; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        relief[device] = relief_of(planning, device);
        most = relief[device] > most ? relief[device] : most;
        speed[device] = 1.0 / planning->unit[device];
    }
    const double step = exp(most);
    double all = 1.0, left_out = 0.0;
    for (uint64_t fewer = chosen; __builtin_popcountll(fewer) > 2;) {
        double together = 0.0, relieved = 0.0;
        fewer &= ~pel_bit(least_of(&contest->best, fewer));
        all *= step;
        left_out += 1.0;
        for (uint64_t rest = fewer; rest != 0; rest &= rest - 1) {
            together += speed[__builtin_ctzll(rest)];
        }
        if ((double)planning->quanta >= enough * together * all) {
            continue;
        }
        for (uint64_t rest = fewer; rest != 0; rest &= rest - 1) {
            uint32_t device = (uint32_t)__builtin_ctzll(rest);
            relieved += speed[device] * exp(relief[device] * left_out);
        }
        if ((double)planning->quanta < enough * relieved && try_these(contest, fewer)) {
            return true;
        }
    }
    return false;
}

bool pel_plan_second_opinion(const pel_contest *contest) {
    const pel_plan_request *request = contest->planning->request;
    uint64_t chosen = pel_plan_chosen(contest->planning->result);
    if (request->record == NULL || request->record->launches < SETTLING || contest->best_single >= PEL_PLAN_DEVICE_LIMIT) {
        return false;
    }
    if (pel_variant_try(contest, chosen)) {
        return true;
    }
    if ((chosen & (chosen - 1)) != 0) {
        return try_alone(contest, chosen) || try_fewer(contest, chosen) || try_idle(contest, chosen);
    }
    bool split = !request->single_only && contest->planning->quanta > 1;
    return (split && try_together(contest)) || try_idle(contest, chosen);
}
