/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why this plan: the alternatives with what speaks against them, and one sentence for the whole.
 *
 * The reader is a physicist who asks "why is my GPU idle?": reasons name devices, times and the rule that decided, not internals.
 * Written after the decision, from its numbers, so that words and plan cannot disagree.
 */
#include "planner/internal.h"
#include "planner/variant.h"

#define MOVES_SHOW 0.02 /* part of a time from which moving is worth a word */

static double joules_alone(const pel_planning *planning, uint32_t device) {
    pel_filling alone = {.mask = pel_bit(device)};
    double ns;
    alone.share[device] = planning->quanta;
    return pel_plan_joules(planning, &alone, &ns);
}

/* ", 20 mJ" where energy matters. */
static void put_energy(pel_words *words, const pel_planning *planning, double joules) {
    if (pel_plan_is_priced(planning)) {
        pel_words_put(words, ", ");
        pel_words_joules(words, joules);
    }
}

/* What speaks for a plan that is not the fastest. */
static void say_aim(pel_words *words, const pel_planning *planning) {
    const pel_aim aim = planning->request->objective;
    pel_words_put(words, aim == PEL_AIM_TIME ? "; sure to meet the deadline" : aim == PEL_AIM_ENERGY ? "; least energy"
                                                                                                 : "; least energy x time");
}

/* And against an alternative to it: the devices of `mask` in `ns`. */
static void say_against(pel_words *words, const pel_planning *planning, uint64_t mask, double ns, double joules) {
    const pel_plan_result *result = planning->result;
    const pel_aim aim = planning->request->objective;
    const double deadline = planning->request->deadline_ns;
    if (deadline > 0.0 && ns > pel_plan_sure_by(planning, mask)) {
        pel_words_put(words, ns > deadline ? "; misses the deadline of " : "; scatters too much for the deadline of ");
        pel_words_time(words, deadline);
        return;
    }
    const bool less = pel_plan_aim_value(aim, joules, ns) <
                      pel_plan_aim_value(aim, result->predicted_joules, result->predicted_ns) * (1.0 - 1e-9);
    pel_words_put(words, less                   ? "; not among the divisions that were compared"
                         : aim == PEL_AIM_TIME  ? "; slower than the plan"
                         : aim == PEL_AIM_ENERGY ? "; needs more energy than the plan ("
                                                 : "; needs more energy x time than the plan (");
    if (!less && aim != PEL_AIM_TIME) {
        pel_words_joules(words, result->predicted_joules);
        pel_words_put(words, " in ");
        pel_words_time(words, result->predicted_ns);
        pel_words_put(words, ")");
    }
}

/* `rival`: what to say of a device that is slower than the plan; the same for all, and the dearest words of a plan. */
static void explain_single(const pel_contest *contest, uint32_t device, uint64_t chosen, const char *rival,
                           pel_plan_choice *choice) {
    const pel_planning *planning = contest->planning;
    const pel_plan_device *facts = &planning->request->devices[device];
    const pel_plan_result *result = planning->result;
    double alone = pel_plan_alone(planning, device);
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    choice->device_mask = pel_bit(device);
    choice->many = 0;
    choice->chosen = chosen == choice->device_mask;
    choice->predicted_ns = 0.0;
    if (facts->excluded != NULL) {
        pel_words_put(&words, facts->excluded);
        return;
    }
    if (planning->limit[device] < planning->quanta) {
        pel_words_memory(&words, facts->unit_limit, planning->request->units);
        return;
    }
    if (!pel_plan_measured(facts)) {
        pel_words_put(&words, choice->chosen ? "never measured with this kernel: tried now" : "never measured with this kernel");
        return;
    }
    choice->predicted_ns = alone;
    pel_words_put(&words, facts->id);
    pel_words_put(&words, " alone: ");
    pel_words_time(&words, alone);
    const double moving = pel_plan_moving(facts, (double)planning->request->units);
    if (moving > MOVES_SHOW * alone) {
        pel_words_put(&words, ", ");
        pel_words_time(&words, moving);
        pel_words_put(&words, " of it to move what is elsewhere");
    }
    if (planning->knee[device] > 0.0 && facts->cost.knee_units < 1e15) {
        pel_words_put(&words, ", not full below ");
        pel_words_number(&words, (uint64_t)facts->cost.knee_units);
        pel_words_put(&words, " units");
    }
    const double joules = pel_plan_is_priced(planning) ? joules_alone(planning, device) : 0.0;
    put_energy(&words, planning, joules);
    if (choice->chosen) {
        pel_words_put(&words, result->exploring ? ", measured once: tried again" : "");
        if (contest->pursued) {
            say_aim(&words, planning);
        }
    } else if (contest->pursued) {
        say_against(&words, planning, choice->device_mask, alone, joules);
    } else if (result->predicted_ns > 0.0 && alone > result->predicted_ns) {
        pel_words_put(&words, rival);
    } else {
        pel_words_put(&words, result->exploring ? "; not now: this launch learns" : "; not surely faster than the plan");
    }
    pel_variant_say(&words, planning, device);
}

static void explain_combination(const pel_contest *contest, uint32_t index, uint64_t chosen, pel_plan_choice *choice) {
    const pel_planning *planning = contest->planning;
    double time = contest->makespan[index], single = contest->single_ns;
    pel_words words;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    choice->device_mask = contest->seen[index];
    choice->many = 0;
    choice->predicted_ns = time;
    choice->chosen = chosen == choice->device_mask && !planning->result->exploring;
    pel_words_put(&words, "together: ");
    if (choice->chosen && contest->pursued) { /* in other shares than the fastest division of these devices */
        choice->predicted_ns = planning->result->predicted_ns;
        pel_words_time(&words, choice->predicted_ns);
        put_energy(&words, planning, planning->result->predicted_joules);
        say_aim(&words, planning);
        return;
    }
    pel_words_time(&words, time);
    put_energy(&words, planning, contest->joules[index]);
    if (contest->pursued) {
        say_against(&words, planning, choice->device_mask, time, contest->joules[index]);
        return;
    }
    if (contest->best_single == PEL_PLAN_DEVICE_LIMIT) {
        pel_words_put(&words, choice->chosen ? "; no device can hold it alone" : "; slower than the chosen one");
        return;
    }
    const char *rival = planning->request->devices[contest->best_single].id;
    if (time >= single) {
        pel_words_put(&words, "; slower than ");
        pel_words_put(&words, rival);
        pel_words_put(&words, " alone");
    } else if (time < single * (1.0 - contest->margin[index])) {
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
        pel_words_percent(&words, contest->margin[index]);
    }
}

void pel_plan_list_choices(const pel_contest *contest) {
    const pel_planning *planning = contest->planning;
    pel_plan_result *result = planning->result;
    uint64_t chosen = pel_plan_chosen(result);
    uint32_t singles = 0;
    char rival[sizeof result->choices[0].reason];
    pel_words words;
    pel_words_begin(&words, rival, sizeof rival);
    pel_words_put(&words, "; slower than ");
    pel_words_devices(&words, planning->request, chosen);
    pel_words_put(&words, " (");
    pel_words_time(&words, result->predicted_ns);
    pel_words_put(&words, ")");
    for (uint32_t i = 0; i < planning->request->device_count; i++) {
        /* The last entries are kept for the devices that matter. */
        if (singles < PEL_PLAN_SINGLE_LIMIT - 2 || i == contest->best_single ||
            (singles < PEL_PLAN_SINGLE_LIMIT && chosen == pel_bit(i))) {
            explain_single(contest, i, chosen, rival, &result->choices[result->choice_count++]);
            singles++;
        } else {
            result->unlisted++;
        }
    }
    for (uint32_t i = 0; i < contest->combinations && result->choice_count < PEL_PLAN_CHOICE_LIMIT; i++) {
        explain_combination(contest, i, chosen, &result->choices[result->choice_count++]);
    }
    bool listed = false;
    for (uint32_t i = 0; i < result->choice_count; i++) {
        listed = listed || result->choices[i].chosen;
    }
    if (!listed && result->choice_count < PEL_PLAN_CHOICE_LIMIT) {
        pel_plan_choice *choice = &result->choices[result->choice_count++];
        *choice = (pel_plan_choice){.device_mask = chosen, .predicted_ns = result->predicted_ns, .chosen = true};
        pel_words_begin(&words, choice->reason, sizeof choice->reason);
        if (contest->pursued) {
            pel_words_put(&words, choice->device_mask == 0 || (choice->device_mask & (choice->device_mask - 1)) == 0
                                      ? "alone: "
                                      : "together: ");
            pel_words_time(&words, result->predicted_ns);
            put_energy(&words, planning, result->predicted_joules);
            say_aim(&words, planning);
        } else {
            pel_words_put(&words, result->exploring ? "to learn what the new devices can do" : "only together can they hold it");
        }
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
    for (uint64_t rest = chosen & planning->variants; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        if (device != planning->usual[device]) {
            pel_words_put(words, "; ");
            pel_words_devices(words, planning->request, pel_bit(device));
            pel_variant_say(words, planning, device);
        }
    }
}

void pel_plan_explain(const pel_contest *contest) {
    const pel_planning *planning = contest->planning;
    pel_plan_result *result = planning->result;
    uint64_t chosen = pel_plan_chosen(result);
    pel_words words;
    pel_words_begin(&words, result->reason, sizeof result->reason);
    pel_words_devices(&words, planning->request, chosen);
    if (contest->has_best && contest->best_single < PEL_PLAN_DEVICE_LIMIT) {
        pel_words_put(&words, " together: ");
        pel_words_time(&words, result->predicted_ns);
        pel_words_put(&words, " instead of ");
        pel_words_time(&words, contest->single_ns);
        pel_words_put(&words, " on ");
        pel_words_put(&words, planning->request->devices[contest->best_single].id);
        pel_words_put(&words, " alone");
    } else if (contest->has_best) {
        pel_words_put(&words, " together: no device can hold it alone");
    } else {
        pel_words_put(&words, " alone: ");
        pel_words_time(&words, contest->single_ns);
        pel_words_put(&words, planning->request->single_only                     ? ", the fastest; it may not be split"
                              : planning->quanta == 1                            ? ", the fastest; too small to split"
                              : (planning->usable & (planning->usable - 1)) == 0 ? ", the only usable device"
                              : contest->combinations == 0 ? ", the fastest; nothing can usefully run beside it"
                                                           : ", the fastest; together gains too little");
    }
    if (planning->stays_ns > 0.0) {
        pel_words_put(&words, "; parts as before: moving them would take ");
        pel_words_time(&words, planning->stays_ns);
    }
    if (contest->has_best) {
        pel_plan_say_window(&words, planning, &contest->best);
    }
    append_overlaps(&words, planning, chosen);
}

pel_status pel_plan_no_device(const pel_planning *planning) {
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
            pel_words_memory(&words, request->devices[i].unit_limit, request->units);
        }
    }
    return PEL_NO_DEVICE;
}
