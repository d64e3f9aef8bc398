/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular or not, and what follows.
 *
 * A line over units is right where all units cost alike. Where predictions stay off by more than noise explains, the family gets
 * a profile: the latest chunks are explained by a line a device and one density over the range, in turns, and from then on
 * lines are over *work* (mean 1 a unit), not units. Whole launches mean the same in both, so what was seen alone stays valid.
 * Rejected: a profile for everybody (with 10 % noise it chases luck), and one a device (each sees too little of the range).
 */
#include "model/table.h"

#include <math.h>
#include <string.h>

#define MISFIT_MEMORY 0.15 /* weight of one launch */
#define MISFIT 0.18        /* usual median error from which a kernel may be irregular; noise of 10 % gives 0.07 */
#define BETTER 0.5         /* a profile must explain the latest chunks so much better than lines alone */
#define BETTER_TOLD 0.85   /* ... where the kernel's user says that items differ */
#define BETTER_AGAIN 0.97  /* a new profile, so much better than the old one */
#define WATCH_FROM 8u      /* launches: before, lines are young and miss for that reason */
#define TOLD_FROM 3u       /* ... where that is said, so that another reason is not looked for */
#define TOLD_SIGHTS 8u
#define TURNS 6
#define ERROR_FIRST 0.4 /* of a density while speeds are not known */
#define ERROR_LEAST 0.1

double pel_irregular_work(const pel_record *record, uint64_t lo, uint64_t hi, double units) {
    if (record == NULL || record->profile == NULL || !(units > 0.0)) {
        return hi > lo ? (double)(hi - lo) : 0.0;
    }
    return units *
           (pel_profile_work(record->profile, (double)hi / units) - pel_profile_work(record->profile, (double)lo / units));
}

static double work_of(const pel_profile *profile, const pel_sight *sight) {
    return sight->units * (pel_profile_work(profile->cumulative, sight->hi) - pel_profile_work(profile->cumulative, sight->lo));
}

typedef struct sight_line {
    double start, unit; /* ns, and ns per unit of work */
} sight_line;

static bool same_line(const pel_sight *a, const pel_sight *b) {
    return a->device == b->device && a->alone == b->alone;
}

/* The line of each sight's device over all its sights, with the work that the profile says. */
static void lines_of(const pel_record_entry *entry, const pel_profile *profile, uint32_t count,
                     sight_line lines[PEL_MODEL_SIGHTS]) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = 0;
        pel_fit fit = {.samples = 0};
        while (!same_line(&entry->sights[first], &entry->sights[i])) {
            first++;
        }
        for (uint32_t k = i; k < count && first == i; k++) {
            if (same_line(&entry->sights[k], &entry->sights[i])) {
                pel_fit_observe(&fit, work_of(profile, &entry->sights[k]), entry->sights[k].ns, 0.0);
            }
        }
        lines[i] = first == i ? (sight_line){fit.start, fit.slope / fit.scale} : lines[first];
    }
}

/* Mean absolute logarithmic error of lines over the profile's work. */
static double error_of(const pel_record_entry *entry, const pel_profile *profile, uint32_t count) {
    sight_line lines[PEL_MODEL_SIGHTS];
    double sum = 0.0;
    lines_of(entry, profile, count, lines);
    for (uint32_t i = 0; i < count; i++) {
        const pel_sight *sight = &entry->sights[i];
        sum += fmin(1.0, fabs(log(sight->ns / (lines[i].start + lines[i].unit * work_of(profile, sight)))));
    }
    return sum / count;
}

/* Lines from the profile, the profile from the lines, in turns. */
static void explain(const pel_record_entry *entry, pel_profile *profile, uint32_t count) {
    sight_line lines[PEL_MODEL_SIGHTS];
    pel_profile next;
    for (int turn = 0; turn < TURNS; turn++) {
        lines_of(entry, profile, count, lines);
        pel_profile_begin(&next);
        for (uint32_t i = 0; i < count; i++) {
            const pel_sight *sight = &entry->sights[i];
            double work = fmax(sight->ns - lines[i].start, 0.1 * sight->ns) / lines[i].unit;
            double width = (sight->hi - sight->lo) * sight->units;
            pel_profile_observe(&next, sight->lo, sight->hi, work / width, turn + 1 < TURNS ? ERROR_FIRST : ERROR_FIRST / 2.0);
        }
        *profile = next;
    }
}

/* Lines start again, over work. */
static bool relearn(pel_models *models, pel_record_entry *entry, const pel_model_family *family, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        pel_model_entry *place = pel_models_line(models, family, entry->sights[i].device, entry->sights[i].alone);
        if (place != NULL && place->fit.samples > 0) {
            models->count--;
            memset(&place->fit, 0, sizeof place->fit);
            /* At once something in it again: an empty place in the table would hide others. */
            for (uint32_t k = 0; k < count; k++) {
                const pel_sight *sight = &entry->sights[k];
                if (sight->device == entry->sights[i].device && sight->alone == entry->sights[i].alone) {
                    (void)pel_models_enter(models, place, work_of(entry->profile, sight), sight->ns);
                }
            }
        }
    }
    return true;
}

/* Whether it is time to look for a profile, or for a better one: what the first few launches told is soon out of date. */
static bool is_time(const pel_record_entry *entry, uint32_t count) {
    const pel_record *record = &entry->record;
    if (entry->profile != NULL) {
        uint64_t age = record->launches - record->profiled_since;
        if (record->profiled_since == 0 && count < PEL_MODEL_SIGHTS / 2) {
            return false; /* what the history says comes from more than these few chunks */
        }
        return age >= 2 && age <= PEL_MODEL_SIGHTS && (age & (age - 1)) == 0;
    }
    if (record->told) {
        return record->launches >= TOLD_FROM && count >= TOLD_SIGHTS && (record->launches & (record->launches - 1)) == 0;
    }
    return record->launches >= WATCH_FROM && record->misfit >= MISFIT && count >= PEL_MODEL_SIGHTS / 2;
}

bool pel_irregular_begin(pel_models *models, pel_record_entry *entry, const pel_model_family *family) {
    uint32_t count = entry->sight_count < PEL_MODEL_SIGHTS ? entry->sight_count : PEL_MODEL_SIGHTS;
    if (!is_time(entry, count)) {
        return true;
    }
    pel_profile flat, fresh;
    pel_profile_begin(&flat);
    fresh = flat;
    explain(entry, &fresh, count);
    double bar = entry->profile != NULL  ? BETTER_AGAIN * error_of(entry, entry->profile, count)
                 : entry->record.told ? BETTER_TOLD * error_of(entry, &flat, count)
                                      : BETTER * error_of(entry, &flat, count);
    if (error_of(entry, &fresh, count) > bar) {
        /* The old one is as good; or it is something else: a drift, a start cost, noise. */
        entry->record.misfit = entry->profile == NULL ? 0.0 : entry->record.misfit;
        return true;
    }
    if (entry->profile == NULL) {
        entry->profile = pel_alloc(&models->allocator, sizeof *entry->profile);
        if (entry->profile == NULL) {
            return false;
        }
        entry->record.profile = entry->profile->cumulative;
        entry->record.profiled_since = entry->record.launches;
    }
    *entry->profile = fresh;
    return relearn(models, entry, family, count);
}

double pel_irregular_see(pel_record_entry *entry, const pel_cost *line, const pel_sight *sight) {
    entry->sights[entry->sight_count++ % PEL_MODEL_SIGHTS] = *sight;
    if (line->samples < 2) {
        return 0.0;
    }
    double width = (sight->hi - sight->lo) * sight->units;
    if (entry->profile == NULL) {
        return fabs(log(sight->ns / (line->start_ns + line->unit_ns * pel_cost_counted(line, width))));
    }
    double work = (sight->ns - line->start_ns) / line->unit_ns, n = (double)(line->samples < 50 ? line->samples : 50);
    double error = fmax(line->deviation * sqrt(1.0 + 1.0 / n), ERROR_LEAST);
    pel_profile_observe(entry->profile, sight->lo, sight->hi, work / width, error);
    return 0.0;
}

void pel_irregular_note(pel_record *record, double *errors, uint32_t count) {
    if (count < 2 || record->profile != NULL) {
        return; /* a whole launch has no parts that could differ */
    }
    for (uint32_t i = 1; i < count; i++) {
        double value = errors[i];
        uint32_t at = i;
        for (; at > 0 && errors[at - 1] > value; at--) {
            errors[at] = errors[at - 1];
        }
        errors[at] = value;
    }
    /* The lower median: one device that has changed, or one accident, is no irregular kernel. */
    record->misfit += MISFIT_MEMORY * (fmin(errors[(count - 1) / 2], 1.0) - record->misfit);
}
