/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular or not, and what follows.
 *
 * A line over units is right where all units cost alike. Where predictions stay off by more than noise explains, the family gets
 * a profile: the latest chunks are explained by a speed a device and one density over the range, in turns, and from then on
 * lines are over *work* (mean 1 a unit), not units. Whole launches mean the same in both, so what was seen alone stays valid.
 * Rejected: a profile for everybody (with 10 % noise it chases luck), and one a device (each sees too little of the range).
 */
#include "model/table.h"

#include <math.h>
#include <string.h>

#define MISFIT_MEMORY 0.15 /* weight of one launch */
#define MISFIT 0.18        /* usual median error from which a kernel may be irregular; noise of 10 % gives 0.07 */
#define BETTER 0.5         /* a profile must explain the latest chunks so much better than speeds alone */
#define WATCH_FROM 8u      /* launches: before, lines are young and miss for that reason */
#define TURNS 4
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

/* Time per unit of work on the device of `sight`, over all its sights: the geometric mean, which no single accident decides. */
static double speed_of(const pel_record_entry *entry, uint32_t count, const pel_sight *sight) {
    double sum = 0.0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        const pel_sight *other = &entry->sights[i];
        if (other->device == sight->device && other->alone == sight->alone) {
            sum += log(other->ns / work_of(entry->profile, other));
            n++;
        }
    }
    return exp(sum / n);
}

/* Mean absolute logarithmic error of the speeds, with the entry's profile. */
static double error_of(const pel_record_entry *entry, uint32_t count) {
    double sum = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        const pel_sight *sight = &entry->sights[i];
        sum += fmin(1.0, fabs(log(sight->ns / (work_of(entry->profile, sight) * speed_of(entry, count, sight)))));
    }
    return sum / count;
}

static void explain(pel_record_entry *entry, uint32_t count) {
    pel_profile next;
    for (int turn = 0; turn < TURNS; turn++) {
        pel_profile_begin(&next);
        for (uint32_t i = 0; i < count; i++) {
            const pel_sight *sight = &entry->sights[i];
            double work = sight->ns / speed_of(entry, count, sight), width = (sight->hi - sight->lo) * sight->units;
            pel_profile_observe(&next, sight->lo, sight->hi, work / width, turn + 1 < TURNS ? ERROR_FIRST : ERROR_FIRST / 2.0);
        }
        *entry->profile = next;
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

bool pel_irregular_begin(pel_models *models, pel_record_entry *entry, const pel_model_family *family) {
    uint32_t count = entry->sight_count < PEL_MODEL_SIGHTS ? entry->sight_count : PEL_MODEL_SIGHTS;
    if (entry->profile != NULL || entry->record.launches < WATCH_FROM || entry->record.misfit < MISFIT ||
        count < PEL_MODEL_SIGHTS / 2) {
        return true;
    }
    entry->profile = pel_alloc(&models->allocator, sizeof *entry->profile);
    if (entry->profile == NULL) {
        return false;
    }
    pel_profile_begin(entry->profile);
    double flat = error_of(entry, count);
    explain(entry, count);
    if (error_of(entry, count) > BETTER * flat) {
        pel_free(&models->allocator, entry->profile); /* it is something else: a drift, a start cost, noise */
        entry->profile = NULL;
        entry->record.misfit = 0.0;
        return true;
    }
    entry->record.profile = entry->profile->cumulative;
    entry->record.profiled_since = entry->record.launches;
    return relearn(models, entry, family, count);
}

double pel_irregular_see(pel_record_entry *entry, const pel_cost *line, const pel_sight *sight) {
    entry->sights[entry->sight_count++ % PEL_MODEL_SIGHTS] = *sight;
    if (line->samples < 2) {
        return 0.0;
    }
    double width = (sight->hi - sight->lo) * sight->units;
    if (entry->profile == NULL) {
        return fabs(log(sight->ns / (line->start_ns + line->unit_ns * width)));
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
