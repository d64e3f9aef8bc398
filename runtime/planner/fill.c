/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Water-filling, and the sets of devices it is asked about.
 *
 * Each device is a vessel whose floor is its start cost and whose width is its speed; work poured in rises to one level, the
 * makespan. A wide device's floor is higher (its knee): it takes nothing until the level reaches what any share of it takes, and
 * then all up to its knee at once. Invariant: shares are whole quanta, sum to the request, stay within each device's memory, and
 * no other division of whole quanta finishes earlier: the level is rounded down and what is left goes, quantum by quantum, to
 * whoever would finish it first. Proportional shares (start costs ignored) were rejected: at 1 ms they lose to the best single
 * device, see ANCHORS.md on HGuided.
 */
#include "planner/internal.h"

#include <string.h>

/* The devices of `mask`, by ascending floor. */
static uint32_t sorted_by_floor(const pel_planning *planning, uint64_t mask, uint32_t order[PEL_PLAN_DEVICE_LIMIT]) {
    uint32_t count = 0;
    while (mask != 0) {
        uint32_t device = (uint32_t)__builtin_ctzll(mask);
        mask &= mask - 1;
        uint32_t at = count++;
        const double floor = pel_plan_floor(planning, device);
        while (at > 0 && pel_plan_floor(planning, order[at - 1]) > floor) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = device;
    }
    return count;
}

/* The level at which `quanta` fill the devices of `order` that are not in `full`. */
static double level_of(const pel_planning *planning, const uint32_t *order, uint32_t count, uint64_t full, double quanta) {
    double weighted = 0.0, speed = 0.0, level = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t device = order[i];
        if ((full & pel_bit(device)) != 0) {
            continue;
        }
        const double floor = pel_plan_floor(planning, device);
        if (speed > 0.0 && floor >= level) {
            break;
        }
        weighted += planning->start[device] / planning->unit[device];
        speed += 1.0 / planning->unit[device];
        level = (quanta + weighted) / speed;
        if (level < floor) {
            level = floor; /* it need not even be full: the last one, and it takes what the others leave */
        }
    }
    return level;
}

/* Whole quanta that `device` finishes until `level`. */
static uint64_t quanta_until(const pel_planning *planning, uint32_t device, double level) {
    double fluid = (level - planning->start[device]) / planning->unit[device];
    if (!(fluid >= 1.0) || level < pel_plan_floor(planning, device)) {
        return 0;
    }
    return fluid >= (double)planning->limit[device] ? planning->limit[device] : (uint64_t)fluid;
}

static double finish_of(const pel_planning *planning, uint32_t device, uint64_t share) {
    return pel_plan_finish(planning, device, (double)share);
}

/* Hands `rest` quanta, few of them, to whoever finishes each first. */
static bool hand_out(const pel_planning *planning, const uint32_t *order, uint32_t count, uint64_t rest, pel_filling *filling) {
    while (rest > 0) {
        uint32_t best = PEL_PLAN_DEVICE_LIMIT;
        double earliest = 0.0;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t device = order[i];
            double finish = finish_of(planning, device, filling->share[device] + 1);
            if (filling->share[device] < planning->limit[device] && (best == PEL_PLAN_DEVICE_LIMIT || finish < earliest)) {
                best = device;
                earliest = finish;
            }
        }
        if (best == PEL_PLAN_DEVICE_LIMIT) {
            return false;
        }
        /* More than one quantum a device is left only where doubles cannot count quanta one by one any more. */
        uint64_t piece = rest > 2ull * count ? rest - 2ull * count : 1;
        uint64_t room = planning->limit[best] - filling->share[best];
        piece = piece < room ? piece : room;
        filling->share[best] += piece;
        rest -= piece;
    }
    return true;
}

static void summarise(const pel_planning *planning, const uint32_t *order, uint32_t count, pel_filling *filling) {
    filling->mask = 0;
    filling->makespan = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t device = order[i];
        if (filling->share[device] > 0) {
            double finish = finish_of(planning, device, filling->share[device]);
            filling->mask |= pel_bit(device);
            filling->makespan = finish > filling->makespan ? finish : filling->makespan;
        }
    }
}

bool pel_plan_fill(const pel_planning *planning, uint64_t mask, uint64_t quanta, pel_filling *filling) {
    uint32_t order[PEL_PLAN_DEVICE_LIMIT] = {0};
    uint32_t count = sorted_by_floor(planning, mask, order);
    uint64_t full = 0, left = quanta;
    double level;
    memset(filling->share, 0, sizeof filling->share);
    filling->mask = 0;
    filling->window_lo = filling->window_hi = 0;
    /* A device that its memory limits leaves more to the others: the level only rises, so each is found full once. */
    for (bool again = true; again;) {
        again = false;
        level = level_of(planning, order, count, full, (double)left);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t device = order[i];
            if ((full & pel_bit(device)) == 0 && planning->limit[device] < left &&
                quanta_until(planning, device, level) >= planning->limit[device]) {
                full |= pel_bit(device);
                filling->share[device] = planning->limit[device];
                left -= planning->limit[device];
                again = true;
            }
        }
    }
    /* By ascending floor: what rounding gave too much, and what a wide device need not take, is the last one's to go without. */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t device = order[i];
        if ((full & pel_bit(device)) == 0) {
            uint64_t share = quanta_until(planning, device, level);
            filling->share[device] = share < left ? share : left;
            left -= filling->share[device];
        }
    }
    if (!hand_out(planning, order, count, left, filling)) {
        return false;
    }
    summarise(planning, order, count, filling);
    return true;
}

/* Bron and Kerbosch's enumeration of maximal cliques (CACM 16, 1973), with a pivot, on ranks instead of device numbers. */
typedef struct set_search {
    uint64_t beside[PEL_PLAN_DEVICE_LIMIT]; /* by rank */
    uint32_t device[PEL_PLAN_DEVICE_LIMIT]; /* rank -> device, fastest first */
    uint32_t left;                          /* sets that may still be visited */
    uint32_t steps;                         /* and steps for it: odd core sets must not make a plan slow */
    void (*visit)(void *user, uint64_t set);
    void *user;
} set_search;

static void extend(set_search *search, uint64_t devices, uint64_t candidates, uint64_t done) {
    if (candidates == 0) {
        if (done == 0 && search->left > 0) {
            search->left--;
            search->visit(search->user, devices);
        }
        return;
    }
    /* The fastest candidate is the pivot and goes first: the first set visited is the greedy one, which a limit never cuts. */
    uint64_t branches = candidates & ~search->beside[__builtin_ctzll(candidates)];
    while (branches != 0 && search->left > 0 && search->steps > 0) {
        search->steps--;
        uint32_t rank = (uint32_t)__builtin_ctzll(branches);
        branches &= branches - 1;
        extend(search, devices | pel_bit(search->device[rank]), candidates & search->beside[rank], done & search->beside[rank]);
        candidates &= ~pel_bit(rank);
        done |= pel_bit(rank);
    }
}

void pel_plan_disjoint_sets(const pel_planning *planning, uint64_t mask, uint32_t limit, void (*visit)(void *user, uint64_t set),
                            void *user) {
    set_search search = {.left = limit, .steps = 64 * limit, .visit = visit, .user = user};
    uint32_t count = 0;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        uint32_t at = count++;
        while (at > 0 && planning->unit[search.device[at - 1]] > planning->unit[device]) {
            search.device[at] = search.device[at - 1];
            at--;
        }
        search.device[at] = device;
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < count; j++) {
            if (i != j && (planning->beside[search.device[i]] & pel_bit(search.device[j])) != 0) {
                search.beside[i] |= pel_bit(j);
            }
        }
    }
    if (count > 0) {
        extend(&search, 0, count == 64 ? UINT64_MAX : pel_bit(count) - 1, 0);
    }
}

typedef struct best_search {
    const pel_planning *planning;
    uint64_t quanta;
    pel_filling *best;
    bool found;
} best_search;

static void consider(void *user, uint64_t set) {
    best_search *search = user;
    pel_filling filling;
    if (pel_plan_fill(search->planning, set, search->quanta, &filling) &&
        (!search->found || filling.makespan < search->best->makespan)) {
        *search->best = filling;
        search->found = true;
    }
}

bool pel_plan_best_set(const pel_planning *planning, uint64_t mask, uint64_t quanta, pel_filling *filling) {
    best_search search = {.planning = planning, .quanta = quanta, .best = filling};
    pel_plan_disjoint_sets(planning, mask, 8, consider, &search);
    return search.found;
}
