/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exploration: what to do while costs are not known.
 *
 * A device counts as known after two measurements, because one number cannot tell start cost from speed. Until then it gets
 * useful work: beside known devices a modest slice, of another size each time; among devices that are all new the prior decides.
 * Devices that share cores are tried in turn. Invariants: an unknown device never keeps known ones from working beside it, and
 * never takes more than an eighth of a range that known devices can hold. Rejected: trial runs of their own (they cost time and
 * need private outputs), and "greedy until all are known" (one device that never answers would disable the plan for ever, as in
 * StarPU).
 */
#include "planner/internal.h"

/*
 * After so many launches per device the rest is tried on every fourth launch only: a device whose chunks are never learned must
 * not cost for ever.
 */
#define PATIENCE_PER_DEVICE 8u
#define SETTLED 12u
#define IDLE_PAUSE 64u /* launches; then twice as long each time */

static uint64_t samples_of(const pel_planning *planning, uint32_t device) {
    return pel_plan_samples(&planning->request->devices[device]);
}

/*
 * Measured once and, although a single measurement flatters no one at full size, far behind a known device whose cores it would
 * take.
 */
static bool hopeless(const pel_planning *planning, uint32_t device) {
    uint64_t rivals = planning->request->single_only ? planning->known : planning->known & ~planning->beside[device];
    if (samples_of(planning, device) == 0) {
        return false;
    }
    for (; rivals != 0; rivals &= rivals - 1) {
        uint32_t rival = (uint32_t)__builtin_ctzll(rivals);
        if (planning->limit[rival] >= planning->quanta &&
            pel_plan_alone(planning, device) > 2.0 * pel_plan_alone(planning, rival)) {
            return true;
        }
    }
    return false;
}

/*
 * A known device that the plan leaves out, known from few and perhaps unlucky measurements: it would never be measured again.
 * Until it has been seen SETTLED times it gets a slice now and then, more rarely each time: ten probes in all; then, where an
 * account is kept, from its budget and with pauses that grow.
 */
bool pel_plan_due_again(const pel_plan_request *request, uint32_t device) {
    const pel_record *record = request->record;
    uint64_t samples = pel_plan_samples(&request->devices[device]);
    if (samples < SETTLED) {
        return request->launches_seen % (2 * (samples > 0 ? samples : 1)) == 0;
    }
    return record != NULL && 4 * record->launches >= 5 * request->devices[device].cost.last_launch + 4 * IDLE_PAUSE &&
           pel_plan_affords(request, 0.0);
}

/* The devices to probe now: fewest measurements first, in turn among equals; they run at once, so their cores are disjoint. */
static uint64_t choose_probes(const pel_planning *planning, uint64_t candidates, uint32_t limit) {
    uint64_t chosen = 0;
    uint32_t count = planning->request->device_count;
    for (uint32_t taken = 0; candidates != 0 && taken < limit; taken++) {
        uint32_t best = PEL_PLAN_DEVICE_LIMIT;
        for (uint32_t turn = 0; turn < count; turn++) {
            uint32_t device = (turn + planning->request->launches_seen) % count;
            if ((candidates & pel_bit(device)) != 0 &&
                (best == PEL_PLAN_DEVICE_LIMIT || samples_of(planning, device) < samples_of(planning, best))) {
                best = device;
            }
        }
        if (best == PEL_PLAN_DEVICE_LIMIT) {
            break;
        }
        chosen |= pel_bit(best);
        candidates &= planning->beside[best];
    }
    return chosen;
}

/* Another size than last time, where the range allows: at least a quarter away. */
static uint64_t vary(const pel_planning *planning, uint32_t device, uint64_t share, uint64_t most) {
    double last = planning->request->devices[device].cost.largest_units / (double)planning->request->granularity;
    if (samples_of(planning, device) == 0 || (double)share < 0.75 * last || (double)share > 1.25 * last) {
        return share;
    }
    if (share <= most / 2) {
        return 2 * share;
    }
    return share > 1 ? share / 2 : share;
}

/* Slices for `probes` beside known devices that finish `quanta` at `level`: first a sixteenth at most, then an eighth. */
static uint64_t size_probes(const pel_planning *planning, uint64_t probes, double level, pel_filling *filling) {
    uint64_t total = 0;
    uint64_t count = (uint64_t)__builtin_popcountll(probes);
    for (uint64_t rest = probes; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        bool first = samples_of(planning, device) == 0;
        uint64_t most = planning->quanta / (first ? 16 : 8);
        if (count > 4) {
            most = planning->quanta / (2 * count * (first ? 2 : 1));
        }
        most = most < planning->limit[device] ? most : planning->limit[device];
        /* As much as it is expected to finish in a quarter (half) of the time that the others need for everything. */
        double fair = (level * (first ? 0.25 : 0.5) - planning->start[device]) / planning->unit[device];
        uint64_t share = fair >= (double)most ? most : fair >= 1.0 ? (uint64_t)fair : 1;
        share = vary(planning, device, share > 0 ? share : 1, most);
        filling->share[device] = share;
        total += share;
    }
    return total;
}

/* Known devices do the work, each probe takes a slice of it. False: no known device can work beside these probes. */
static bool probe_beside_known(const pel_planning *planning, uint64_t probes, pel_filling *filling) {
    uint64_t helpers = planning->known;
    for (uint64_t rest = probes; rest != 0; rest &= rest - 1) {
        helpers &= planning->beside[__builtin_ctzll(rest)];
    }
    pel_filling known;
    if (helpers == 0 || !pel_plan_best_set(planning, helpers, planning->quanta, &known)) {
        return false;
    }
    pel_filling sized = {.mask = 0};
    uint64_t total = size_probes(planning, probes, known.makespan, &sized);
    if (total >= planning->quanta || !pel_plan_best_set(planning, helpers, planning->quanta - total, filling)) {
        return false;
    }
    for (uint64_t rest = probes; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        filling->share[device] = sized.share[device];
    }
    filling->mask |= probes;
    return true;
}

/* Nobody is known: the probes share everything by what there is, single measurements and priors. */
static bool probe_alone(const pel_planning *planning, uint64_t probes, pel_filling *filling) {
    if (!pel_plan_fill(planning, probes, planning->quanta, filling)) {
        return false;
    }
    /* A second launch must not repeat the sizes of the first: slow one device down in thought, so that work moves. */
    for (uint64_t rest = probes; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        if ((filling->mask & ~pel_bit(device)) != 0 && filling->share[device] > 1 &&
            vary(planning, device, filling->share[device], 0) != filling->share[device]) {
            pel_planning altered = *planning;
            altered.unit[device] *= 2.0;
            pel_filling other;
            if (pel_plan_fill(&altered, probes, planning->quanta, &other)) {
                *filling = other;
            }
            break;
        }
    }
    return true;
}

static void explain(pel_planning *planning, uint64_t probes, const pel_filling *filling) {
    pel_words words;
    pel_words_begin(&words, planning->result->reason, sizeof planning->result->reason);
    pel_words_put(&words, "learning: ");
    uint64_t never = 0, once = 0, rarely = 0;
    for (uint64_t rest = probes & filling->mask; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        uint64_t samples = samples_of(planning, device);
        *(samples == 0 ? &never : samples == 1 ? &once : &rarely) |= pel_bit(device);
    }
    if (never != 0) {
        pel_words_devices(&words, planning->request, never);
        pel_words_put(&words, " never measured with this kernel");
    }
    if (once != 0) {
        pel_words_put(&words, never != 0 ? ", " : "");
        pel_words_devices(&words, planning->request, once);
        pel_words_put(&words, " measured once");
    }
    if (rarely != 0) {
        pel_words_devices(&words, planning->request, rarely);
        pel_words_put(&words, " measured a few times only");
    }
    uint64_t helpers = filling->mask & ~probes;
    if (helpers != 0) {
        pel_words_put(&words, "; a small part of the work tells, ");
        pel_words_devices(&words, planning->request, helpers);
        pel_words_put(&words, " does the rest");
    } else {
        pel_words_put(&words, "; this launch's work tells");
    }
}

static void finish(pel_planning *planning, uint64_t probes, pel_filling *filling) {
    pel_plan_emit_held(planning, filling);
    planning->result->exploring = true;
    explain(planning, probes, filling);
}

bool pel_plan_remeasure(pel_planning *planning, uint64_t chosen) {
    uint64_t candidates = 0;
    if (planning->request->single_only || planning->quanta < 2) {
        return false;
    }
    for (uint64_t rest = planning->known & ~chosen; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        /* Beside what was chosen only: alternatives on the same cores would have to be tried alone, at the full price. */
        const bool beside = (chosen & ~planning->beside[device]) == 0;
        candidates |= beside && pel_plan_due_again(planning->request, device) ? pel_bit(device) : 0;
    }
    pel_filling filling;
    uint64_t probes = candidates == 0 ? 0 : choose_probes(planning, candidates, PEL_PLAN_DEVICE_LIMIT);
    planning->known &= ~probes;
    bool probing = probes != 0 && probe_beside_known(planning, probes, &filling);
    planning->known |= probes;
    /* Company may cost more than the slice itself: who has an account pays for it. */
    double price = probing ? filling.makespan - planning->result->predicted_ns : 0.0;
    probing = probing && (planning->request->record == NULL || price <= 0.0 || pel_plan_affords(planning->request, price));
    if (probing) {
        finish(planning, probes, &filling);
    }
    return probing;
}

bool pel_plan_explore(pel_planning *planning) {
    const pel_plan_request *request = planning->request;
    uint64_t candidates = 0;
    for (uint64_t rest = planning->unknown; rest != 0; rest &= rest - 1) {
        uint32_t device = (uint32_t)__builtin_ctzll(rest);
        candidates |= hopeless(planning, device) ? 0 : pel_bit(device);
    }
    if (candidates == 0 || (planning->known != 0 && request->launches_seen / PATIENCE_PER_DEVICE >= request->device_count &&
                            request->launches_seen % 4 != 0)) {
        return false;
    }
    bool split = !request->single_only && planning->quanta > 1;
    if (!split) {
        for (uint64_t rest = candidates; rest != 0; rest &= rest - 1) {
            uint32_t device = (uint32_t)__builtin_ctzll(rest);
            candidates &= planning->limit[device] < planning->quanta ? ~pel_bit(device) : UINT64_MAX;
        }
    }
    pel_filling filling;
    /* With fewer quanta than probes, or too little memory for all, fewer probes. */
    for (uint32_t limit = split ? PEL_PLAN_DEVICE_LIMIT : 1; limit > 0; limit /= 2) {
        uint64_t probes = choose_probes(planning, candidates, limit);
        if (probes != 0 &&
            ((split && probe_beside_known(planning, probes, &filling)) || probe_alone(planning, probes, &filling))) {
            finish(planning, probes, &filling);
            return true;
        }
    }
    return false;
}
