/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the planner share: the request digested once, and the steps that work on it. */
#ifndef PEL_PLANNER_INTERNAL_H
#define PEL_PLANNER_INTERNAL_H

#include "planner/planner.h"
#include "planner/tail.h"

#include <string.h>

/* A request digested: one line t(n) = start + unit n per device, n in quanta of `granularity` units; masks index devices. */
typedef struct pel_planning {
    const pel_plan_request *request;
    pel_plan_result *result;
    uint64_t quanta;                           /* units in quanta, rounded up */
    double margin;                             /* smallest relative gain worth a split */
    uint64_t usable, known, unknown;           /* known: measured twice or more; unknown: usable, but not known */
    uint64_t beside[PEL_PLAN_DEVICE_LIMIT];    /* devices whose cores are disjoint from this one's */
    uint64_t sharing;                          /* devices that share the host's memory with another one */
    uint64_t seen_alone;                       /* devices that have been measured while nothing else ran */
    uint64_t told;                             /* or were, before the machine changed */
    double start[PEL_PLAN_DEVICE_LIMIT];       /* beside others: ns, transfers included; 0 when never measured */
    double unit[PEL_PLAN_DEVICE_LIMIT];        /* ns per quantum; when never measured, from the prior */
    double error[PEL_PLAN_DEVICE_LIMIT];       /* relative standard error of what these two predict */
    double alone_start[PEL_PLAN_DEVICE_LIMIT]; /* the same while nothing else runs */
    double alone_unit[PEL_PLAN_DEVICE_LIMIT];
    double alone_error[PEL_PLAN_DEVICE_LIMIT];
    double companions[PEL_PLAN_DEVICE_LIMIT]; /* beside how many others the lines hold; 0: that makes no difference */
    double company[PEL_PLAN_DEVICE_LIMIT];    /* logarithm of the slowness that each more adds, */
    double company_error[PEL_PLAN_DEVICE_LIMIT];
    double knee[PEL_PLAN_DEVICE_LIMIT];    /* quanta below which a share takes no less time; 0: none */
    uint64_t limit[PEL_PLAN_DEVICE_LIMIT]; /* quanta that fit; `quanta` when everything does */
    uint64_t variants, standby;             /* known devices with the very cores of another one; of these, those not chosen */
    uint8_t usual[PEL_PLAN_DEVICE_LIMIT];  /* of a variant: the default of its cores */
    double stays_ns;                       /* what moving the boundaries would have cost; 0: they are where the lines say */
} pel_planning;

typedef struct pel_filling {
    uint64_t share[PEL_PLAN_DEVICE_LIMIT]; /* quanta */
    uint64_t mask;                         /* devices with a share */
    double makespan;                       /* ns */
    /* Of two devices that differ along the range (windows.c): `inner` has these quanta of it, the other one what is on both
     * sides; shares are of their own work then. window_hi 0: parts in the order of the devices. */
    uint64_t window_lo, window_hi;
    uint32_t inner;
} pel_filling;

/*
 * Words into a fixed array, cut when full, always terminated. No stdio: it is slow here, and its decimal point is the locale's.
 */
typedef struct pel_words {
    char *at, *end;
} pel_words;

#define PEL_PLAN_SINGLE_LIMIT 16u /* entries of result->choices kept for single devices; the rest is for combinations */
#define PEL_PLAN_COMBINATION_LIMIT (PEL_PLAN_CHOICE_LIMIT - PEL_PLAN_SINGLE_LIMIT)

/* The alternatives while they are compared. */
typedef struct pel_contest {
    pel_planning *planning;
    uint32_t best_single; /* among known devices; PEL_PLAN_DEVICE_LIMIT: none */
    double single_ns;
    /* the lines as they were digested, while others in another company stand in their place */
    double start[PEL_PLAN_DEVICE_LIMIT], unit[PEL_PLAN_DEVICE_LIMIT], companions[PEL_PLAN_DEVICE_LIMIT];
    pel_filling best;     /* best combination that passes its margin */
    double best_expected; /* its makespan with the expected wait for the latest */
    bool has_best;
    uint64_t seen[PEL_PLAN_COMBINATION_LIMIT];
    double margin[PEL_PLAN_COMBINATION_LIMIT];
    double makespan[PEL_PLAN_COMBINATION_LIMIT];
    double joules[PEL_PLAN_COMBINATION_LIMIT]; /* where the aim is another one than time */
    uint32_t combinations;
    bool pursued; /* the aim, or the deadline, made the plan another one than the fastest */
} pel_contest;

static inline uint64_t pel_bit(uint32_t index) {
    return 1ull << index;
}

/* When `quanta` beside others would be over; and the least that any share takes. */
static inline double pel_plan_finish(const pel_planning *planning, uint32_t device, double quanta) {
    return planning->start[device] +
           planning->unit[device] * (quanta > planning->knee[device] ? quanta : planning->knee[device]);
}
static inline double pel_plan_floor(const pel_planning *planning, uint32_t device) {
    return pel_plan_finish(planning, device, 0.0);
}

/*
 * Spreads `quanta` over the devices of `mask` so that the last to finish does so as early as possible. False: they cannot hold
 * it.
 */
bool pel_plan_fill(const pel_planning *planning, uint64_t mask, uint64_t quanta, pel_filling *filling);

/*
 * Calls visit with sets of `mask` whose cores are disjoint and to which nothing can be added, the one with the fastest devices
 * first; at most `limit`.
 */
void pel_plan_disjoint_sets(const pel_planning *planning, uint64_t mask, uint32_t limit, void (*visit)(void *user, uint64_t set),
                            void *user);

/* The set among the disjoint ones within `mask` that finishes `quanta` first. False: none can hold it. */
bool pel_plan_best_set(const pel_planning *planning, uint64_t mask, uint64_t quanta, pel_filling *filling);

/* Chooses probes for devices whose cost is not known. False: nothing to explore now. */
bool pel_plan_explore(pel_planning *planning);

/* Tries, within the budget, what the decision rests on without having been seen. False: nothing to try now. */
bool pel_plan_second_opinion(const pel_contest *contest);

/* Whether `cost_ns` more may go into exploring: 1 % of the time so far. */
bool pel_plan_affords(const pel_plan_request *request, double cost_ns);

/*
 * The lines of the devices of `mask`, as they are when `count` devices work at once and company costs `errors` standard errors
 * more than thought; crowd.c.
 */
void pel_plan_crowd(pel_planning *planning, uint64_t mask, uint32_t count, double errors);

/* What is known of company on some devices becomes what is thought of it on the others; crowd.c. */
void pel_plan_share_company(pel_planning *planning);

/* pel_plan_fill with the lines of as many devices as get a share; planning->start and unit become these. */
bool pel_plan_fill_crowd(pel_planning *planning, uint64_t mask, double errors, pel_filling *filling);

/*
 * The shares become those of the family's latest launch where moving the boundaries would cost more than it would save in the
 * launches that may be expected; stay.c. False: they stay as they are.
 */
bool pel_plan_stay(pel_planning *planning, double most_ns, pel_filling *filling);

/* The device of a filling that takes least. */
uint32_t pel_plan_least(const pel_filling *filling);

/* A known device that the plan leaves out deserves another look. */
bool pel_plan_due_again(const pel_plan_request *request, uint32_t device);

/* Adds slices for known devices outside of `chosen` that do. False: none now. */
bool pel_plan_remeasure(pel_planning *planning, uint64_t chosen);

/* Turns shares into contiguous slices in the order of the devices; what they leave over is held back when result->tail has
 * devices. */
void pel_plan_emit(pel_planning *planning, const pel_filling *filling);

/* The same with a tail, where that is worth it; the shares become what is not held back. */
void pel_plan_emit_held(pel_planning *planning, pel_filling *filling);

/* Joules of the machine while a division runs, and how long that is. */
double pel_plan_joules(const pel_planning *planning, const pel_filling *filling, double *makespan_ns);

/* Whether the aim is another one than time, and all watts that it needs are known. */
bool pel_plan_is_priced(const pel_planning *planning);

/* What the aim wants least of. */
double pel_plan_aim_value(pel_aim aim, double joules, double ns);

/* Time by which the request's deadline is met with some certainty, for a set; INFINITY: there is none. */
double pel_plan_sure_by(const pel_planning *planning, uint64_t mask);

/* Replaces the fastest plan, which has been emitted, by the one that the request's aim asks for; objective.c. False: it stays. */
bool pel_plan_pursue(pel_planning *planning, const pel_filling *fastest);

/* Takes from the shares what is held back. False: nothing, the shares are as before. hold.c. */
bool pel_plan_hold_back(const pel_planning *planning, pel_filling *filling, pel_tail *tail);

/* The tail begins at `lo`. */
void pel_plan_cut_tail(const pel_planning *planning, uint64_t lo, pel_tail *tail);

/* The profile to plan by; NULL: work is units. */
const double *pel_plan_profile(const pel_plan_request *request);

/* Where in the range `quanta` of `all` end: an irregular kernel's are not where they would be on an even range. */
uint64_t pel_plan_edge(const pel_plan_request *request, const double *profile, uint64_t quanta, uint64_t all);

/* Work in [lo, hi) on a device, which may need its own for it. */
double pel_plan_work_on(const pel_plan_request *request, uint32_t device, uint64_t lo, uint64_t hi);

/* Where two devices differ along the range: the shares become the best window of one of them, or two parts; windows.c. */
void pel_plan_place(pel_planning *planning, pel_filling *filling);

/* Whether the family's profile is being learned: devices take other parts in each launch, because one that always sees the same
 * part cannot tell its own speed from that part's density. */
bool pel_plan_is_turning(const pel_plan_request *request);

/* Two devices' shares, from another place of the range on in each launch. False: not now. */
bool pel_plan_turn(const pel_planning *planning, const pel_filling *filling, pel_filling *turned);

/* The parts of a filling with a window, at most three; their times are not filled in. */
uint32_t pel_plan_parts(const pel_planning *planning, const pel_filling *filling, pel_plan_slice parts[3]);

/* Why its parts are where they are; nothing where there is no window. */
void pel_plan_say_window(pel_words *words, const pel_planning *planning, const pel_filling *filling);

/* Scatter of one observation, and the expected latest of `count` standard normal draws. */
double pel_plan_deviation(const pel_plan_request *request, uint32_t device);
double pel_plan_latest_of(uint32_t count);

/* Devices that have a slice. */
uint64_t pel_plan_chosen(const pel_plan_result *result);

/* Time of so much work beside others, or of the whole launch while nothing else runs, on one device, ns. */
double pel_plan_time(const pel_planning *planning, uint32_t device, double work);

/* Work in [lo, hi): units, unless the kernel is irregular. */
double pel_plan_work(const pel_plan_request *request, uint64_t lo, uint64_t hi);
double pel_plan_alone(const pel_planning *planning, uint32_t device);

/* Whether a cost says anything about this kernel, and from how many measurements. */
bool pel_plan_measured(const pel_plan_device *device);
uint64_t pel_plan_samples(const pel_plan_device *device);

/* Time that bytes of `units` take to where the device computes, and back, ns. */
double pel_plan_moving(const pel_plan_device *device, double units);

/* Speed of measured devices relative to their priors and to what was borrowed, so that those of the others can be put beside
 * them; and what a unit takes, by that, on one that was not measured, its bytes included. digest.c. */
typedef struct pel_plan_scales {
    double prior, kin;
} pel_plan_scales;
pel_plan_scales pel_plan_scales_of(const pel_plan_request *request);
double pel_plan_guess(const pel_plan_device *device, const pel_plan_scales *scales);

/* Fills in what is known of the devices; digest.c. */
void pel_plan_digest(pel_planning *planning);

/* Starts a result and checks and digests its request. */
pel_status pel_plan_begin(const pel_plan_request *request, pel_plan_result *result, pel_planning *planning);

/* INVALID_ARGUMENT with `why` as the reason. */
pel_status pel_plan_malformed(pel_plan_result *result, const char *why);

/* Fills result->choices, and the reason of the whole; the plan has been emitted. */
void pel_plan_list_choices(const pel_contest *contest);
void pel_plan_explain(const pel_contest *contest);

/* NO_DEVICE with a reason that names each device. */
pel_status pel_plan_no_device(const pel_planning *planning);

void pel_words_begin(pel_words *words, char *buffer, size_t bytes);
void pel_words_cut(pel_words *words, const char *text, size_t length);
/* Inline: nearly all words are literals, and a plan has a hundred of them. */
static inline void pel_words_copy(pel_words *words, const char *text, size_t length) {
    if (length < (size_t)(words->end - words->at)) {
        memcpy(words->at, text, length);
        words->at += length;
        *words->at = '\0';
    } else {
        pel_words_cut(words, text, length);
    }
}
static inline void pel_words_put(pel_words *words, const char *text) {
    pel_words_copy(words, text, strlen(text));
}
void pel_words_number(pel_words *words, uint64_t value);
void pel_words_time(pel_words *words, double ns);
void pel_words_joules(pel_words *words, double joules);
void pel_words_percent(pel_words *words, double fraction);
/* "its memory holds 600 of 1000 units" */
void pel_words_memory(pel_words *words, uint64_t limit, uint64_t units);
void pel_words_devices(pel_words *words, const pel_plan_request *request, uint64_t mask);

#endif
