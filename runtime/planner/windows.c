/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices that differ along the range: a window for the one, both sides for the other.
 *
 * An item may be dear on one device where it is cheap on another (a vector of lanes that diverge, a branch that one of them
 * predicts). Then it matters not only how much each takes, but where: each should do what it is less bad at than the other. The
 * best that two devices can do gives each bin of the range to one of them by the ratio of their densities; a window is that where
 * the ratio has one hill or one valley, and takes one start more than a division in two parts. For each begin of the window its
 * end follows from "both are done at once", and moves to the right with it: two pointers over the bins. Invariants: every unit in
 * one part, whole quanta, at most three parts; a window only where it gains more than the margin over two parts in the usual
 * order. Rejected: more than one window (each is a start; one hill is what was seen), and the same for more than two devices
 * (their order alone has n! ways; they have contiguous parts in the devices' order, as ever).
 */
#include "planner/internal.h"
#include "model/profile.h"

#include <math.h>

#define TURNING 12u         /* launches; of two devices, divided ones */
#define TURNING_MOST 48u    /* launches, whatever came of them */
#define GOLDEN 0.6180339887 /* parts of a turn: any number of launches in a row see the range evenly */
#define CRUMB 0.03          /* of the range: a side or a window below is not worth its start */
#define STAYS 0.01          /* gain at which a division stays one in windows */

/* Both devices; times as functions of the part of its own work that each does. */
typedef struct pair {
    const pel_planning *planning;
    uint32_t device[2];
    const double *work[2]; /* cumulative */
    double gap[2];         /* between two chunks of the device */
} pair;

typedef struct cut {
    uint32_t inner;  /* 0 or 1 */
    uint64_t lo, hi; /* quanta */
    double ns;
} cut;

bool pel_plan_is_turning(const pel_plan_request *request) {
    const pel_record *record = request->record;
    return record != NULL && !request->frozen &&
           (record->profile != NULL ? record->profiled_since > 0 && record->launches < record->profiled_since + TURNING
                                    : request->irregular && record->launches < TURNING);
}

static const double *own_of(const pel_plan_request *request, uint32_t device) {
    const pel_record *record = request->record;
    for (uint32_t i = 0; i < 2 && record != NULL; i++) {
        if (record->own[i] != NULL && record->own_device[i] == request->devices[device].model) {
            return record->own[i];
        }
    }
    return NULL;
}

double pel_plan_work_on(const pel_plan_request *request, uint32_t device, uint64_t lo, uint64_t hi) {
    const double *own = pel_plan_profile(request) != NULL ? own_of(request, device) : NULL;
    const double units = (double)request->units;
    return own == NULL ? pel_plan_work(request, lo, hi)
                       : units * (pel_profile_work(own, (double)hi / units) - pel_profile_work(own, (double)lo / units));
}

static double time_of(const pair *p, uint32_t which, double work, uint32_t parts) {
    const pel_planning *planning = p->planning;
    return pel_plan_finish(planning, p->device[which], work * (double)planning->quanta) +
           (parts - 1) * (planning->start[p->device[which]] + p->gap[which]);
}

/* By how much the window [lo, hi) of the range ends later than the sides. */
static double later(const pair *p, uint32_t inner, double lo, double hi) {
    const double *in = p->work[inner], *out = p->work[1 - inner];
    const double window = pel_profile_work(in, hi) - pel_profile_work(in, lo);
    const double sides = 1.0 - (pel_profile_work(out, hi) - pel_profile_work(out, lo));
    return time_of(p, inner, window, 1) - time_of(p, 1 - inner, sides, lo > 0.0 && hi < 1.0 ? 2 : 1);
}

/* The cut at about these places, in whole quanta and without crumbs, and what it takes. False: one device does all. */
static bool settle(const pair *p, uint32_t inner, double lo, double hi, cut *out) {
    const double quanta = (double)p->planning->quanta;
    *out = (cut){.inner = inner,
                 .lo = lo < CRUMB ? 0 : (uint64_t)(lo * quanta + 0.5),
                 .hi = hi > 1.0 - CRUMB ? p->planning->quanta : (uint64_t)(hi * quanta + 0.5)};
    if (out->lo >= out->hi || out->hi - out->lo >= p->planning->quanta || hi - lo < CRUMB) {
        return false;
    }
    const double *in = p->work[inner], *around = p->work[1 - inner];
    const double from = (double)out->lo / quanta, to = (double)out->hi / quanta;
    const double window = pel_profile_work(in, to) - pel_profile_work(in, from);
    const double sides = 1.0 - (pel_profile_work(around, to) - pel_profile_work(around, from));
    const uint32_t parts = out->lo > 0 && out->hi < p->planning->quanta ? 2 : 1;
    out->ns = fmax(time_of(p, inner, window, 1), time_of(p, 1 - inner, sides, parts));
    return true;
}

static bool is_better(const cut *a, const cut *b) { return b->ns <= 0.0 || a->ns < b->ns; }

/* The best window of one of them; *first: the best that begins with the range. */
static void look(const pair *p, uint32_t inner, cut *first, cut *best) {
    int end = 1;
    for (int begin = 0; begin < PEL_PROFILE_BINS; begin++) {
        const double lo = (double)begin / PEL_PROFILE_BINS;
        end = end > begin ? end : begin + 1;
        while (end < PEL_PROFILE_BINS && later(p, inner, lo, (double)end / PEL_PROFILE_BINS) < 0.0) {
            end++;
        }
        /* Both are linear within a bin. */
        const double right = (double)end / PEL_PROFILE_BINS, left = right - 1.0 / PEL_PROFILE_BINS;
        const double under = later(p, inner, lo, left), over = later(p, inner, lo, right);
        const double hi = over <= 0.0 ? right : under >= 0.0 ? left : left + (right - left) * under / (under - over);
        cut now;
        if (settle(p, inner, lo, hi, &now)) {
            *first = now.lo == 0 && is_better(&now, first) ? now : *first;
            *best = is_better(&now, best) ? now : *best;
        }
    }
}

/* The launch before was divided so, between the same two. */
static bool recall(const pair *p, cut *old) {
    const pel_plan_request *request = p->planning->request;
    const pel_division *last = &request->record->last;
    const uint64_t model[2] = {request->devices[p->device[0]].model, request->devices[p->device[1]].model};
    const uint64_t grain = request->granularity;
    const double all = (double)p->planning->quanta * (double)grain;
    const bool three = last->count == 3 && last->device[0] == last->device[2];
    if (last->units != request->units || !(three || last->count == 2)) {
        return false;
    }
    const uint32_t inner = last->device[three] == model[0] ? 0 : 1;
    const uint64_t lo = three ? last->hi[0] : 0, hi = last->hi[three];
    return last->device[three] == model[inner] && last->device[!three] == model[1 - inner] && lo % grain == 0 &&
           hi % grain == 0 && settle(p, inner, (double)lo / all, (double)hi / all, old);
}

/* How long it takes to bring what changes hands: what a device has afterwards and had not. */
static double migration(const pair *p, const cut *old, const cut *fresh) {
    const pel_plan_request *request = p->planning->request;
    const uint64_t lo = old->lo > fresh->lo ? old->lo : fresh->lo, hi = old->hi < fresh->hi ? old->hi : fresh->hi;
    const uint64_t both = hi > lo ? hi - lo : 0, all = p->planning->quanta; /* in both windows */
    double longest = 0.0;
    for (uint32_t d = 0; d < 2; d++) {
        const uint64_t now = d == fresh->inner ? fresh->hi - fresh->lo : all - (fresh->hi - fresh->lo);
        const uint64_t window = fresh->hi - fresh->lo, before = old->hi - old->lo;
        const uint64_t had = old->inner == fresh->inner ? (d == fresh->inner ? both : all - window - before + both)
                             : d == fresh->inner        ? window - both
                                                        : before - both;
        const double each = request->devices[p->device[d]].piece_unit_ns;
        longest = fmax(longest, each > 0.0 ? each * (double)(now - had) * (double)request->granularity : 0.0);
    }
    return longest;
}

/* Whether moving from the launch before's division costs more than it brings in as many launches as there have been. */
static bool stays(pel_planning *planning, const pair *p, const cut *old, const cut *fresh, double doubt) {
    const double cost = migration(p, old, fresh), gain = old->ns - fresh->ns * (1.0 + doubt);
    const bool stay = cost > 0.0 && gain * (double)planning->request->record->launches <= cost;
    planning->stays_ns = stay ? cost : planning->stays_ns;
    return stay;
}

/* Else the range counts as even, and two parts of a device may need more than one of both's size. */
static bool may_hold_all(const pel_planning *planning, uint64_t mask) {
    bool all = true;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        all = all && planning->limit[__builtin_ctzll(rest)] >= planning->quanta;
    }
    return all;
}

/* The same for two devices that nobody can work beside: they see windows, not parts in another order, and enough of them. */
static bool is_sliding(const pel_planning *planning, uint64_t mask) {
    const pel_record *record = planning->request->record;
    if (__builtin_popcountll(mask) != 2 || planning->request->frozen || record == NULL || !may_hold_all(planning, mask)) {
        return false;
    }
    uint64_t more = planning->usable & ~mask;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        more &= planning->beside[__builtin_ctzll(rest)];
    }
    return more == 0 && (record->profile == NULL
                             ? pel_plan_is_turning(planning->request)
                             : record->profiled_since > 0 && record->turned < TURNING &&
                                   record->launches < record->profiled_since + TURNING_MOST);
}

void pel_plan_place(pel_planning *planning, pel_filling *filling) {
    const pel_plan_request *request = planning->request;
    pair p = {.planning = planning};
    cut first[2] = {{.ns = 0.0}, {.ns = 0.0}}, best = {.ns = 0.0}, old = {.ns = 0.0};
    double doubt = 0.0;
    if (__builtin_popcountll(filling->mask) != 2 || pel_plan_profile(request) == NULL || is_sliding(planning, filling->mask)) {
        return;
    }
    for (uint32_t d = 0; d < 2; d++) {
        p.device[d] = d == 0 ? (uint32_t)__builtin_ctzll(filling->mask) : 63u - (uint32_t)__builtin_clzll(filling->mask);
        p.work[d] = own_of(request, p.device[d]);
        p.gap[d] = fmax(request->devices[p.device[d]].piece_start_ns, 0.0);
        doubt = fmax(doubt, planning->error[p.device[d]]);
    }
    if (p.work[0] == NULL || p.work[1] == NULL) {
        return;
    }
    look(&p, 0, &first[0], &best);
    look(&p, 1, &first[1], &best);
    if (!(first[0].ns > 0.0)) {
        return; /* not even a crumb for the other one */
    }
    const bool known = recall(&p, &old), was = known && old.inner == best.inner && (old.lo == 0) == (best.lo == 0);
    const double margin = was ? STAYS : planning->margin;
    best = best.ns < first[0].ns * (1.0 - margin) ? best : first[0];
    best = known && stays(planning, &p, &old, &best, doubt) ? old : best;
    filling->window_lo = best.lo;
    filling->window_hi = best.hi;
    filling->inner = p.device[best.inner];
    filling->makespan = best.ns;
    for (uint32_t d = 0; d < 2; d++) {
        const uint64_t lo = best.lo * request->granularity, hi = best.hi * request->granularity;
        const double window = pel_plan_work_on(request, p.device[d], lo, hi < request->units ? hi : request->units);
        const double units = d == best.inner ? window : (double)request->units - window;
        filling->share[p.device[d]] = (uint64_t)ceil(units / (double)request->granularity);
    }
}

bool pel_plan_turn(const pel_planning *planning, const pel_filling *filling, pel_filling *turned) {
    const pel_plan_request *request = planning->request;
    if (!is_sliding(planning, filling->mask)) {
        return false;
    }
    const uint32_t first = (uint32_t)__builtin_ctzll(filling->mask), second = 63u - (uint32_t)__builtin_clzll(filling->mask);
    const double place = (double)request->launches_seen * GOLDEN, all = (double)planning->quanta;
    const double *profile = pel_plan_profile(request);
    const uint64_t from = (uint64_t)((place - floor(place)) * all);
    const uint64_t to = (from + filling->share[first]) % planning->quanta;
    const bool around = to < from; /* the first one's part goes past the end, and on at the begin */
    const uint64_t lo = pel_plan_edge(request, profile, around ? to : from, planning->quanta);
    const uint64_t hi = pel_plan_edge(request, profile, around ? from : to, planning->quanta);
    *turned = *filling;
    turned->inner = around ? second : first;
    turned->window_lo = lo / request->granularity;
    turned->window_hi = hi / request->granularity;
    return from != to && turned->window_lo < turned->window_hi;
}

uint32_t pel_plan_parts(const pel_planning *planning, const pel_filling *filling, pel_plan_slice parts[3]) {
    const pel_plan_request *request = planning->request;
    const uint64_t grain = request->granularity, units = request->units;
    const uint32_t outer = (uint32_t)__builtin_ctzll(filling->mask & ~pel_bit(filling->inner));
    const uint64_t lo = filling->window_lo * grain;
    const uint64_t hi = filling->window_hi < planning->quanta ? filling->window_hi * grain : units;
    uint32_t count = 0;
    if (lo > 0) {
        parts[count++] = (pel_plan_slice){.device = outer, .lo = 0, .hi = lo};
    }
    parts[count++] = (pel_plan_slice){.device = filling->inner, .lo = lo, .hi = hi};
    if (hi < units) {
        parts[count++] = (pel_plan_slice){.device = outer, .lo = hi, .hi = units};
    }
    return count;
}

/* How much longer one of them takes than the other for this part of the range. */
static double ratio(const pel_planning *planning, uint32_t of, uint32_t to, uint64_t lo, uint64_t hi) {
    return planning->unit[of] * pel_plan_work_on(planning->request, of, lo, hi) /
           (planning->unit[to] * pel_plan_work_on(planning->request, to, lo, hi));
}

void pel_plan_say_window(pel_words *words, const pel_planning *planning, const pel_filling *filling) {
    pel_plan_slice parts[3];
    if (filling->window_hi <= filling->window_lo || pel_plan_parts(planning, filling, parts) != 3) {
        return;
    }
    const uint32_t in = parts[1].device, out = parts[0].device;
    const double window = pel_plan_work_on(planning->request, in, parts[1].lo, parts[1].hi);
    const double around = pel_plan_work_on(planning->request, out, parts[1].lo, parts[1].hi);
    const double all = (double)planning->request->units;
    const double sides = planning->unit[in] * (all - window) / (planning->unit[out] * (all - around));
    const double middle = ratio(planning, in, out, parts[1].lo, parts[1].hi);
    pel_words_put(words, "; ");
    pel_words_put(words, planning->request->devices[out].id);
    pel_words_put(words, " takes the two sides, because ");
    pel_words_put(words, planning->request->devices[in].id);
    pel_words_put(words, " loses least in between (");
    pel_words_percent(words, middle);
    pel_words_put(words, " of its time there, ");
    pel_words_percent(words, sides);
    pel_words_put(words, " outside)");
}
