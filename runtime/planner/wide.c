/* SPDX-License-Identifier: BSD-3-Clause */
#include "planner/wide.h"
#include "planner/internal.h"
#include "topology/core_set.h"

#include <math.h>
#include <string.h>

#define MARGIN_DEFAULT 0.03 /* as in planner.c, and so are the next two */
#define MARGIN_MOST 0.5
#define DOUBT_MOST 0.1
#define CALMER 4         /* times that the noisier ones are left out */
#define PATIENCE 64u     /* launches, after which who stays unknown is tried on every fourth launch only */
#define HOPELESS 2.0     /* times slower than a known one, of a device whose cores that would need */
#define LISTED 14u       /* of PEL_PLAN_SINGLE_LIMIT alternatives */
#define NAMED 3u         /* devices that are told by their names */
#define VARIED 1.6       /* sizes of a second measurement differ from the first by that, one way or the other */

typedef struct decision {
    uint32_t best_single; /* wide->count: none */
    double single_ns, together_ns, margin;
    uint32_t together; /* devices with a share; 0: nothing can be divided */
    bool divided;      /* that was chosen */
} decision;

static uint64_t samples_of(const pel_wide *wide, uint32_t device) { return pel_plan_samples(&wide->request->devices[device]); }

/* ---- words ---- */

/* "gpu1 + gpu2", or "1000 devices". */
static void say_some(pel_words *words, const pel_wide *wide, bool (*is)(const pel_wide *wide, uint32_t device)) {
    uint32_t some[NAMED], count = 0;
    for (uint32_t i = 0; i < wide->count; i++) {
        if (is(wide, i)) {
            some[count < NAMED ? count : NAMED - 1] = i;
            count++;
        }
    }
    if (count > NAMED) {
        pel_words_number(words, count);
        pel_words_put(words, " devices");
    }
    for (uint32_t i = 0; i < count && count <= NAMED; i++) {
        pel_words_put(words, i > 0 ? " + " : "");
        pel_words_put(words, wide->request->devices[some[i]].id);
    }
}

static bool has_share(const pel_wide *wide, uint32_t device) { return wide->lines[device].share > 0; }
static bool is_probe(const pel_wide *wide, uint32_t device) { return has_share(wide, device) && wide->lines[device].in; }
static bool is_helper(const pel_wide *wide, uint32_t device) { return has_share(wide, device) && !wide->lines[device].in; }

static void begin_reason(pel_words *words, const pel_wide *wide) {
    const pel_plan_request *request = wide->request;
    pel_words_begin(words, wide->result->reason, sizeof wide->result->reason);
    const bool aims = request->objective != PEL_AIM_TIME, hurries = request->deadline_ns > 0.0;
    if (aims) {
        pel_words_put(words, "the fastest, because energy is not weighed among more than 64 devices");
    } else if (hurries) {
        pel_words_put(words, "as fast as possible");
    }
    pel_words_put(words, hurries ? " (deadlines are not weighed among more than 64 devices): " : aims ? ": " : "");
}

static pel_status tell_no_device(const pel_wide *wide) {
    pel_words words;
    pel_words_begin(&words, wide->result->reason, sizeof wide->result->reason);
    pel_words_put(&words, "no device can run this");
    for (uint32_t i = 0; i < NAMED; i++) {
        const pel_plan_device *device = &wide->request->devices[i];
        pel_words_put(&words, i == 0 ? ": " : "; ");
        pel_words_put(&words, device->id);
        pel_words_put(&words, ": ");
        if (device->excluded != NULL) {
            pel_words_put(&words, device->excluded);
        } else {
            pel_words_memory(&words, device->unit_limit, wide->request->units);
        }
    }
    pel_words_put(&words, "; and ");
    pel_words_number(&words, wide->count - NAMED);
    pel_words_put(&words, " more");
    return PEL_NO_DEVICE;
}

static void list_single(const pel_wide *wide, uint32_t device, pel_plan_choice *choice) {
    const pel_plan_device *facts = &wide->request->devices[device];
    const pel_plan_result *result = wide->result;
    const double alone = pel_wide_alone(wide, device);
    pel_words words;
    *choice = (pel_plan_choice){.many = 1, .only = device};
    choice->chosen = result->slice_count == 1 && pel_plan_slices(result)[0].device == device;
    pel_words_begin(&words, choice->reason, sizeof choice->reason);
    if (facts->excluded != NULL) {
        pel_words_put(&words, facts->excluded);
    } else if (wide->lines[device].limit < wide->quanta) {
        pel_words_memory(&words, facts->unit_limit, wide->request->units);
    } else if (!pel_plan_measured(facts)) {
        pel_words_put(&words, choice->chosen ? "never measured with this kernel: tried now" : "never measured with this kernel");
    } else {
        choice->predicted_ns = alone;
        pel_words_put(&words, facts->id);
        pel_words_put(&words, " alone: ");
        pel_words_time(&words, alone);
        pel_words_put(&words, choice->chosen                                              ? ""
                              : result->predicted_ns > 0.0 && alone > result->predicted_ns ? "; slower than the plan"
                                                                                           : "; not surely faster than the plan");
    }
}

/* The first devices, the best of all, and the plan or what speaks against dividing. Whoever has no line is counted. */
static void list_choices(const pel_wide *wide, const decision *d) {
    pel_plan_result *result = wide->result;
    pel_words words;
    for (uint32_t i = 0; i < wide->count; i++) {
        if (i < LISTED || i == d->best_single || (result->slice_count == 1 && pel_plan_slices(result)[0].device == i)) {
            list_single(wide, i, &result->choices[result->choice_count++]);
        } else {
            result->unlisted++;
        }
    }
    if (d->together > 1 || result->slice_count > 1) {
        pel_plan_choice *choice = &result->choices[result->choice_count++];
        *choice = (pel_plan_choice){.many = d->together > 1 ? d->together : result->slice_count,
                                    .predicted_ns = d->together > 1 ? d->together_ns : 0.0,
                                    .chosen = result->slice_count > 1};
        pel_words_begin(&words, choice->reason, sizeof choice->reason);
        pel_words_put(&words, result->exploring ? "to learn what the new devices can do" : "together: ");
        if (!result->exploring) {
            pel_words_time(&words, choice->predicted_ns);
        }
        if (!choice->chosen) {
            pel_words_put(&words, "; the margin over the best device alone is ");
            pel_words_percent(&words, d->margin);
        }
    }
}

/* ---- what is known ---- */

/* The best device that holds all of it: of the known ones, else of all. */
static void find_best_single(const pel_wide *wide, decision *d) {
    d->best_single = wide->count;
    for (int pass = 0; pass < 2 && d->best_single == wide->count; pass++) {
        for (uint32_t i = 0; i < wide->count; i++) {
            const pel_wide_line *line = &wide->lines[i];
            const double alone = pel_wide_alone(wide, i);
            if (line->usable && (line->known || pass == 1) && line->limit >= wide->quanta &&
                (d->best_single == wide->count || alone < d->single_ns)) {
                d->best_single = i;
                d->single_ns = alone;
            }
        }
    }
}

static void clear_shares(pel_wide *wide) {
    for (uint32_t i = 0; i < wide->count; i++) {
        wide->lines[i].share = 0;
    }
}

/* What a division must gain: doubt, and the wait for the latest of those with a share. *noisiest: the largest deviation. */
static double margin_of(const pel_wide *wide, const decision *d, double *noisiest) {
    const double least = wide->request->margin > 0.0 ? wide->request->margin : MARGIN_DEFAULT;
    double square = 0.0, error = d->best_single < wide->count ? wide->lines[d->best_single].alone_error : 0.0;
    *noisiest = 0.0;
    for (uint32_t i = 0; i < wide->count; i++) {
        if (wide->lines[i].share > 0) {
            const double deviation = pel_plan_deviation(wide->request, i);
            square += deviation * deviation / d->together;
            error = fmax(error, wide->lines[i].error);
            *noisiest = fmax(*noisiest, deviation);
        }
    }
    const double wait = sqrt(square) * pel_plan_latest_of(d->together);
    return fmin(fmax(fmin(2.0 * error, DOUBT_MOST), least) + wait, MARGIN_MOST);
}

/* Shares among those that are in; false: they cannot hold it, or one alone would do all of it. */
static bool divide(pel_wide *wide, decision *d) {
    clear_shares(wide);
    d->together = 0;
    if (!pel_wide_fill(wide, wide->quanta, &d->together_ns)) {
        return false;
    }
    for (uint32_t i = 0; i < wide->count; i++) {
        d->together += wide->lines[i].share > 0 ? 1u : 0u;
    }
    return d->together > 1;
}

/* A division of the known devices that beats the best single one by its margin: of all of them, else of the calmer ones. */
static void compare(pel_wide *wide, decision *d) {
    pel_core_set taken = {{0}};
    for (uint32_t i = 0; i < wide->count; i++) {
        wide->lines[i].in = wide->lines[i].known;
    }
    pel_wide_disjoin(wide, &taken);
    for (int round = 0; round <= CALMER && divide(wide, d); round++) {
        double noisiest;
        d->margin = margin_of(wide, d, &noisiest);
        d->divided = d->best_single == wide->count || d->together_ns < d->single_ns * (1.0 - d->margin);
        if (d->divided || d->together_ns >= d->single_ns) {
            return;
        }
        for (uint32_t i = 0; i < wide->count; i++) {
            wide->lines[i].in = wide->lines[i].in && pel_plan_deviation(wide->request, i) <= 0.5 * noisiest;
        }
    }
}

static void take_single(pel_wide *wide, uint32_t device) {
    clear_shares(wide);
    wide->lines[device].share = wide->quanta;
}

static void explain(pel_wide *wide, const decision *d) {
    pel_words words;
    begin_reason(&words, wide);
    say_some(&words, wide, has_share);
    if (d->divided) {
        pel_words_put(&words, " together: ");
        pel_words_time(&words, wide->result->predicted_ns);
        if (d->best_single < wide->count) {
            pel_words_put(&words, " instead of ");
            pel_words_time(&words, d->single_ns);
            pel_words_put(&words, " on ");
            pel_words_put(&words, wide->request->devices[d->best_single].id);
            pel_words_put(&words, " alone");
        } else {
            pel_words_put(&words, ": no device can hold it alone");
        }
        /* where one of few devices might have got a smaller part (hold.c) */
        if (wide->request->pieces && !wide->request->frozen && wide->request->objective == PEL_AIM_TIME) {
            pel_words_put(&words, "; no tail is held back among more than 64 devices");
        }
        return;
    }
    pel_words_put(&words, " alone: ");
    pel_words_time(&words, d->single_ns);
    pel_words_put(&words, wide->request->single_only ? ", the fastest; it may not be split"
                          : wide->quanta == 1        ? ", the fastest; too small to split"
                                                     : ", the fastest; together gains too little");
}

/* ---- learning ---- */

/* Measured once, and far behind a known one: where only one of them can work, it is not asked again. */
static bool is_hopeless(const pel_wide *wide, const decision *d, uint32_t device) {
    const bool rival = d->best_single < wide->count && wide->lines[d->best_single].known;
    return rival && samples_of(wide, device) > 0 && pel_wide_alone(wide, device) > HOPELESS * d->single_ns;
}

/* One after the other: a launch that may not be split. False: nobody is left to try. */
static bool probe_single(pel_wide *wide, const decision *d) {
    const uint32_t first = wide->request->launches_seen % wide->count;
    for (uint32_t turn = 0; turn < wide->count; turn++) {
        const uint32_t device = (first + turn) % wide->count;
        const pel_wide_line *line = &wide->lines[device];
        if (line->usable && !line->known && line->limit >= wide->quanta && !is_hopeless(wide, d, device)) {
            take_single(wide, device);
            wide->lines[device].in = true;
            return true;
        }
    }
    return false;
}

/* Another size than last time, where the range allows: at least a quarter away. */
static uint64_t vary(const pel_wide *wide, uint32_t device, uint64_t share, uint64_t most) {
    const double last = wide->request->devices[device].cost.largest_units / (double)wide->request->granularity;
    if (samples_of(wide, device) == 0 || (double)share < 0.75 * last || (double)share > 1.25 * last) {
        return share;
    }
    return share <= most / 2 ? 2 * share : share > 1 ? share / 2 : share;
}

/* Parts for the probes, beside known devices that finish everything at `level`: half of the range at most. */
static uint64_t size_probes(pel_wide *wide, uint32_t probes, double level) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < wide->count; i++) {
        pel_wide_line *line = &wide->lines[i];
        if (!line->probe) {
            continue;
        }
        const bool first = samples_of(wide, i) == 0;
        uint64_t most = wide->quanta / (2ull * (probes > 4 ? probes : 4) * (first ? 2 : 1));
        most = most < line->limit ? most : line->limit;
        const double fair = (level * (first ? 0.25 : 0.5) - line->start) / line->unit;
        const uint64_t share = fair >= (double)most ? most : fair >= 1.0 ? (uint64_t)fair : 1;
        line->share = vary(wide, i, share > 0 ? share : 1, most);
        total += line->share;
    }
    return total;
}

/* Those that are in become the probes; the known ones that share no cores with them are in instead. */
static void swap_sides(pel_wide *wide, pel_core_set *taken) {
    for (uint32_t i = 0; i < wide->count; i++) {
        pel_wide_line *line = &wide->lines[i];
        line->probe = line->in;
        line->in = line->known && !line->probe;
    }
    pel_wide_disjoin(wide, taken);
}

/* The known ones that can work beside the probes do what these leave. The probes are in, before and after. */
static bool fill_beside(pel_wide *wide, uint32_t probes, pel_core_set *taken) {
    double level;
    bool filled = false;
    swap_sides(wide, taken);
    if (pel_wide_fill(wide, wide->quanta, &level)) {
        const uint64_t total = size_probes(wide, probes, level);
        filled = total < wide->quanta && pel_wide_fill(wide, wide->quanta - total, &level);
    }
    for (uint32_t i = 0; i < wide->count; i++) {
        wide->lines[i].in = wide->lines[i].probe;
    }
    return filled;
}

/* Nobody is known: the probes share everything by what there is. A second time in other sizes than the first. */
static bool fill_alone(pel_wide *wide) {
    double level;
    bool filled, measured = false;
    for (uint32_t i = 0; i < wide->count; i++) {
        measured = measured || samples_of(wide, i) > 0;
    }
    for (uint32_t i = 0; i < wide->count; i++) {
        /* priors are not in ns before anybody was measured: then what moving takes cannot be put beside them */
        wide->lines[i].start = measured ? wide->lines[i].start : 0.0;
        wide->lines[i].unit *= samples_of(wide, i) == 1 && i % 2 == 1 ? VARIED : 1.0;
    }
    filled = pel_wide_fill(wide, wide->quanta, &level);
    for (uint32_t i = 0; i < wide->count; i++) {
        wide->lines[i].unit /= samples_of(wide, i) == 1 && i % 2 == 1 ? VARIED : 1.0;
    }
    return filled;
}

/* Marks unknown devices, as many as there may be, beginning where the last launch ended. How many they are. */
static uint32_t choose_probes(pel_wide *wide, uint64_t most, pel_core_set *taken) {
    const uint64_t turn = most < wide->count ? most * wide->request->launches_seen : 0;
    uint32_t left = most < wide->count ? (uint32_t)most : wide->count, count = 0;
    for (uint32_t i = 0; i < wide->count; i++) {
        wide->lines[i].in = false;
    }
    for (uint32_t i = 0; i < wide->count && left > 0; i++) {
        pel_wide_line *line = &wide->lines[(turn + i) % wide->count];
        line->in = line->usable && !line->known;
        left -= line->in ? 1u : 0u;
    }
    pel_wide_disjoin(wide, taken);
    for (uint32_t i = 0; i < wide->count; i++) {
        count += wide->lines[i].in ? 1u : 0u;
    }
    return count;
}

static bool any_known(const pel_wide *wide) {
    bool any = false;
    for (uint32_t i = 0; i < wide->count && !any; i++) {
        any = wide->lines[i].known;
    }
    return any;
}

static bool may_split(const pel_wide *wide) { return !wide->request->single_only && wide->quanta > 1; }

/* Somebody is not known yet, and this launch may be used to learn. */
static bool wants_to_explore(const pel_wide *wide) {
    const pel_plan_request *request = wide->request;
    bool unknown = false;
    for (uint32_t i = 0; i < wide->count && !unknown; i++) {
        unknown = wide->lines[i].usable && !wide->lines[i].known;
    }
    if (!unknown || request->frozen || !any_known(wide)) {
        return unknown && !request->frozen;
    }
    return pel_plan_may_try(request) && (request->launches_seen < PATIENCE || request->launches_seen % 4 == 0);
}

/* Shares for a launch that learns, the probes marked as in. False: nothing to explore now. */
static bool explore(pel_wide *wide, const decision *d) {
    const bool known = any_known(wide);
    if (!may_split(wide)) {
        return probe_single(wide, d);
    }
    for (uint64_t most = known ? wide->quanta / 4 + 1 : wide->quanta; most > 0; most /= 4) {
        pel_core_set taken = {{0}};
        const uint32_t probes = choose_probes(wide, most, &taken);
        if (probes == 0) {
            return false;
        }
        clear_shares(wide);
        if ((known && fill_beside(wide, probes, &taken)) || fill_alone(wide)) {
            return true;
        }
    }
    return false;
}

static void explain_probes(pel_wide *wide) {
    pel_words words;
    begin_reason(&words, wide);
    pel_words_put(&words, "learning: ");
    say_some(&words, wide, is_probe);
    pel_words_put(&words, " hardly known with this kernel");
    bool helped = false;
    for (uint32_t i = 0; i < wide->count; i++) {
        helped = helped || is_helper(wide, i);
    }
    if (helped) {
        pel_words_put(&words, "; a small part of the work tells, ");
        say_some(&words, wide, is_helper);
        pel_words_put(&words, helped ? " do the rest" : "");
    } else {
        pel_words_put(&words, "; this launch's work tells");
    }
}

/* A division leaves some out whom it knows from few measurements, or has not seen for long: the smallest part tells. */
static bool remeasure(pel_wide *wide, decision *d) {
    uint64_t given = 0;
    for (uint32_t i = 0; i < wide->count; i++) {
        const pel_wide_line *line = &wide->lines[i];
        given += line->in && line->share == 0 && pel_plan_due_again(wide->request, i) ? 1u : 0u;
    }
    if (given == 0 || given > wide->quanta / 16) {
        return false;
    }
    for (uint32_t i = 0; i < wide->count; i++) {
        pel_wide_line *line = &wide->lines[i];
        if (line->in && line->share == 0 && pel_plan_due_again(wide->request, i)) {
            line->share = 1;
            line->in = false; /* not filled any more */
        }
    }
    const double before = d->together_ns;
    if (!pel_wide_fill(wide, wide->quanta - given, &d->together_ns)) {
        return false;
    }
    wide->result->expected_ns = before;
    return true;
}

/* ---- */

static pel_status choose(pel_wide *wide, decision *d) {
    if (may_split(wide)) {
        compare(wide, d);
    }
    if (d->divided) {
        if (pel_plan_may_try(wide->request) && remeasure(wide, d)) {
            wide->result->exploring = true;
        }
        return PEL_OK;
    }
    if (d->best_single < wide->count) {
        take_single(wide, d->best_single);
        return PEL_OK;
    }
    /* Only all of them together, the unknown ones too, may have room enough. */
    pel_core_set taken = {{0}};
    for (uint32_t i = 0; i < wide->count; i++) {
        wide->lines[i].in = wide->lines[i].usable;
    }
    pel_wide_disjoin(wide, &taken);
    d->divided = !wide->request->single_only && divide(wide, d);
    return d->divided ? PEL_OK : tell_no_device(wide);
}

/* What the plan would be, or take, if nothing were tried. */
static void what_is_known(pel_wide *wide, decision *d) {
    if (any_known(wide) && may_split(wide)) {
        compare(wide, d);
    }
    const bool single = d->best_single < wide->count && wide->lines[d->best_single].known;
    wide->result->expected_ns = d->divided ? d->together_ns : single ? d->single_ns : 0.0;
    d->divided = false;
}

pel_status pel_wide_plan(const pel_plan_request *request, pel_plan_result *result) {
    pel_wide wide;
    decision d = {.best_single = 0};
    pel_status status = pel_wide_begin(&wide, request, result);
    if (status != PEL_OK) {
        return status;
    }
    find_best_single(&wide, &d);
    bool exploring = wants_to_explore(&wide);
    if (exploring) {
        what_is_known(&wide, &d);
        exploring = explore(&wide, &d);
    }
    if (exploring) {
        result->exploring = true;
    } else {
        result->expected_ns = 0.0;
        status = choose(&wide, &d);
    }
    if (status == PEL_OK) {
        status = pel_wide_emit(&wide);
    }
    if (status == PEL_OK && exploring) {
        explain_probes(&wide);
        list_choices(&wide, &d);
    } else if (status == PEL_OK) {
        explain(&wide, &d);
        list_choices(&wide, &d);
    }
    pel_wide_end(&wide);
    return status;
}
