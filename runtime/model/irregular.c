/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular or not, and what follows.
 *
 * A line over units is right where all units cost alike. Where predictions stay off by more than noise explains, the family gets
 * a profile: the latest chunks are explained by a line a device and one density over the range, in turns, and from then on
 * lines are over *work* (mean 1 a unit), not units. Whole launches mean the same in both, so what was seen alone stays valid.
 * Rejected: a profile for everybody (with 10 % noise it chases luck), and one a device (each sees too little of the range). But
 * where the launches of the learning were divided between two devices, and what is left unexplained falls to half, and below
 * OWN_ERROR when each has a density of its own, they have one each; their lines are then over their own work.
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
#define OWN_CONTRAST 0.6 /* prior standard deviation of a device's density, relative to the one for all */
#define OWN_BETTER 0.5   /* densities of their own must explain the latest chunks so much better (medians) */
#define OWN_ERROR 0.04   /* ... and leave no more: among devices that scatter more a held-back tail gains more than windows */
#define OWN_SIGHTS 6u    /* of each device beside the other one */
#define OWN_WHILE 20u    /* launches since the profile: later each device has seen the same parts again and again */
#define OWN_SEEN 0.1     /* relative error of a density */

double pel_irregular_work(const pel_record *record, uint64_t device, uint64_t lo, uint64_t hi, double units) {
    if (record == NULL || record->profile == NULL || !(units > 0.0)) {
        return hi > lo ? (double)(hi - lo) : 0.0;
    }
    const double *profile = record->profile;
    for (uint32_t i = 0; i < 2; i++) {
        profile = record->own[i] != NULL && record->own_device[i] == device ? record->own[i] : profile;
    }
    return units * (pel_profile_work(profile, (double)hi / units) - pel_profile_work(profile, (double)lo / units));
}

void pel_irregular_own(pel_record_entry *entry, pel_own_profiles *own) {
    entry->own = own;
    for (uint32_t i = 0; i < 2; i++) {
        const bool whole = own != NULL && own->count == 2;
        entry->record.own[i] = whole ? own->profile[i].cumulative : NULL;
        entry->record.own_device[i] = whole ? own->device[i] : 0;
    }
}

/* What is thought of the range: one density for all, and maybe one for each of two devices. */
typedef struct densities {
    const pel_profile *all;
    pel_own_profiles *own; /* NULL: none */
} densities;

/* Of a device; NULL: it has none of its own. */
static pel_profile *own_of(pel_own_profiles *own, uint64_t device) {
    for (uint32_t i = 0; own != NULL && own->count == 2 && i < 2; i++) {
        if (own->device[i] == device) {
            return &own->profile[i];
        }
    }
    return NULL;
}

static double work_of(const densities *of, const pel_sight *sight) {
    const pel_profile *own = own_of(of->own, sight->device), *profile = own != NULL ? own : of->all;
    return sight->units * (pel_profile_work(profile->cumulative, sight->hi) - pel_profile_work(profile->cumulative, sight->lo));
}

typedef struct sight_line {
    double start, unit; /* ns, and ns per unit of work */
} sight_line;

static bool same_line(const pel_sight *a, const pel_sight *b) {
    return a->device == b->device && a->alone == b->alone;
}

/* The line of each sight's device over all its sights, with the work that the profile says. */
static void lines_of(const pel_record_entry *entry, const densities *of, uint32_t count,
                     sight_line lines[PEL_MODEL_SIGHTS]) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = 0;
        pel_fit fit = {.samples = 0};
        while (!same_line(&entry->sights[first], &entry->sights[i])) {
            first++;
        }
        for (uint32_t k = i; k < count && first == i; k++) {
            if (same_line(&entry->sights[k], &entry->sights[i])) {
                pel_fit_observe(&fit, work_of(of, &entry->sights[k]), entry->sights[k].ns, 0.0);
            }
        }
        lines[i] = first == i ? (sight_line){fit.start, fit.slope / fit.scale} : lines[first];
    }
}

/* Absolute logarithmic error of lines over the profile's work, of each sight. Its mean. */
static double errors_of(const pel_record_entry *entry, const densities *of, uint32_t count, double errors[PEL_MODEL_SIGHTS]) {
    sight_line lines[PEL_MODEL_SIGHTS];
    double sum = 0.0;
    lines_of(entry, of, count, lines);
    for (uint32_t i = 0; i < count; i++) {
        const pel_sight *sight = &entry->sights[i];
        errors[i] = fmin(1.0, fabs(log(sight->ns / (lines[i].start + lines[i].unit * work_of(of, sight)))));
        sum += errors[i];
    }
    return sum / count;
}

static double error_of(const pel_record_entry *entry, const pel_profile *profile, uint32_t count) {
    double errors[PEL_MODEL_SIGHTS];
    return errors_of(entry, &(densities){profile, NULL}, count, errors);
}

static void sort(double *errors, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        double value = errors[i];
        uint32_t at = i;
        for (; at > 0 && errors[at - 1] > value; at--) {
            errors[at] = errors[at - 1];
        }
        errors[at] = value;
    }
}

/* The median of those that are parts of a launch: an accident does not move it. */
static double usual_error(const pel_record_entry *entry, const densities *of, uint32_t count) {
    double errors[PEL_MODEL_SIGHTS];
    uint32_t parts = 0;
    (void)errors_of(entry, of, count, errors);
    for (uint32_t i = 0; i < count; i++) {
        if (!entry->sights[i].alone) {
            errors[parts++] = errors[i];
        }
    }
    sort(errors, parts);
    return parts > 0 ? errors[parts / 2] : 0.0;
}

/* Lines from the profile, the profile from the lines, in turns. */
static void explain(const pel_record_entry *entry, pel_profile *profile, uint32_t count) {
    sight_line lines[PEL_MODEL_SIGHTS];
    pel_profile next;
    for (int turn = 0; turn < TURNS; turn++) {
        lines_of(entry, &(densities){profile, NULL}, count, lines);
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

/* The same for a density each, from one for all. */
static void explain_own(const pel_record_entry *entry, pel_own_profiles *own, uint32_t count) {
    sight_line lines[PEL_MODEL_SIGHTS];
    pel_profile next;
    own->profile[0] = own->profile[1] = *entry->profile;
    own->count = 2;
    for (int turn = 0; turn < TURNS; turn++) {
        lines_of(entry, &(densities){entry->profile, own}, count, lines);
        for (uint32_t d = 0; d < 2; d++) {
            pel_profile_begin_like(&next, entry->profile, OWN_CONTRAST);
            for (uint32_t i = 0; i < count; i++) {
                const pel_sight *sight = &entry->sights[i];
                double work = fmax(sight->ns - lines[i].start, 0.1 * sight->ns) / lines[i].unit;
                if (!sight->alone && sight->device == own->device[d]) {
                    pel_profile_observe(&next, sight->lo, sight->hi, work / ((sight->hi - sight->lo) * sight->units), OWN_SEEN);
                }
            }
            own->profile[d] = next;
        }
    }
}

/* Whether all parts of launches were two devices': these. */
static bool are_two(const pel_record_entry *entry, uint32_t count, uint64_t device[2]) {
    uint32_t seen[2] = {0, 0};
    for (uint32_t i = 0; i < count; i++) {
        const pel_sight *sight = &entry->sights[i];
        const uint32_t which = seen[0] == 0 || device[0] == sight->device ? 0 : 1;
        if (sight->alone) {
            continue;
        }
        if (seen[which]++ == 0) {
            device[which] = sight->device;
        } else if (device[which] != sight->device) {
            return false;
        }
    }
    return seen[0] >= OWN_SIGHTS && seen[1] >= OWN_SIGHTS;
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
                    (void)pel_models_enter(models, place, work_of(&(densities){entry->profile, entry->own}, sight), sight->ns);
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
        return age >= 2 && age <= PEL_MODEL_SIGHTS && record->launches >= entry->look_at;
    }
    if (record->told) {
        return record->launches >= TOLD_FROM && count >= TOLD_SIGHTS && (record->launches & (record->launches - 1)) == 0;
    }
    return record->launches >= WATCH_FROM && record->misfit >= MISFIT && count >= PEL_MODEL_SIGHTS / 2;
}

/*
 * A profile of the history, and none of two devices' own: whoever wrote it may have had no calm minute to judge these in. From
 * now on their parts are turned as after a profile of this process, once; divisions that repeat tell nothing.
 */
static void look_anew(pel_record_entry *entry, uint32_t count) {
    uint64_t device[2];
    if (entry->own == NULL && are_two(entry, count, device)) {
        entry->record.profiled_since = entry->record.launches;
        entry->record.turned = 0;
        entry->look_at = entry->record.launches + 2;
    }
}

/* Looks whether two devices need densities of their own, or better ones. */
static bool begin_own(pel_models *models, pel_record_entry *entry, const pel_model_family *family, uint32_t count) {
    const pel_record *record = &entry->record;
    pel_own_profiles *own = NULL, *before = entry->own;
    if (record->profiled_since == 0) {
        look_anew(entry, count);
        return true;
    }
    if (before != NULL && record->launches - record->profiled_since > OWN_WHILE) {
        return true;
    }
    own = pel_alloc(&models->allocator, sizeof *own);
    if (own == NULL) {
        return false;
    }
    own->count = 0;
    if (are_two(entry, count, own->device)) {
        explain_own(entry, own, count);
        const double left = usual_error(entry, &(densities){entry->profile, own}, count);
        const double known = usual_error(entry, &(densities){entry->profile, before}, count);
        const bool better = before != NULL ? left < BETTER_AGAIN * known : left <= OWN_ERROR && left <= OWN_BETTER * known;
        own->count = better ? 2 : 0;
    }
    if (own->count == 0) { /* what is known is as good */
        pel_free(&models->allocator, own);
        return true;
    }
    pel_free(&models->allocator, before);
    pel_irregular_own(entry, own);
    entry->record.misfit = 0.0;
    return relearn(models, entry, family, count);
}

/* Looks for a density for all devices, or for a better one. */
static bool begin_for_all(pel_models *models, pel_record_entry *entry, const pel_model_family *family, uint32_t count) {
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
        entry->record.turned = 0;
    }
    *entry->profile = fresh;
    return relearn(models, entry, family, count);
}

/*
 * Densities of their own are not learned further: devices that always see the same parts cannot tell speed from density, and a
 * bad minute of the machine would move their parts for good. Lines follow. Where parts miss what their lines say for several
 * launches it is the kernel that has changed, and all begins anew.
 */
static bool give_up_own(pel_models *models, pel_record_entry *entry, const pel_model_family *family, uint32_t count) {
    pel_free(&models->allocator, entry->own);
    pel_irregular_own(entry, NULL);
    entry->record.misfit = 0.0;
    entry->record.profiled_since = entry->record.launches;
    entry->record.turned = 0;
    entry->look_at = entry->record.launches + 2;
    return relearn(models, entry, family, count);
}

bool pel_irregular_begin(pel_models *models, pel_record_entry *entry, const pel_model_family *family) {
    uint32_t count = entry->sight_count < PEL_MODEL_SIGHTS ? entry->sight_count : PEL_MODEL_SIGHTS;
    const bool differ = entry->profile != NULL && entry->record.own[0] != NULL; /* a history may have lost some of the three */
    if (differ && entry->record.misfit >= MISFIT) {
        return give_up_own(models, entry, family, count);
    }
    if (!is_time(entry, count)) {
        return true;
    }
    const uint64_t age = entry->profile != NULL ? entry->record.launches - entry->record.profiled_since : 0;
    entry->look_at = entry->record.launches + (age > 2 ? age : 2);
    return (differ || begin_for_all(models, entry, family, count)) &&
           (entry->profile == NULL || begin_own(models, entry, family, count));
}

double pel_irregular_see(pel_record_entry *entry, const pel_cost *line, const pel_sight *sight) {
    entry->sights[entry->sight_count++ % PEL_MODEL_SIGHTS] = *sight;
    if (line->samples < 2) {
        return 0.0;
    }
    double width = (sight->hi - sight->lo) * sight->units;
    if (entry->profile == NULL || own_of(entry->own, sight->device) != NULL) {
        const double units = entry->profile == NULL ? width : work_of(&(densities){entry->profile, entry->own}, sight);
        return fabs(log(sight->ns / (line->start_ns + line->unit_ns * pel_cost_counted(line, units))));
    }
    double work = (sight->ns - line->start_ns) / line->unit_ns, n = (double)(line->samples < 50 ? line->samples : 50);
    double error = fmax(line->deviation * sqrt(1.0 + 1.0 / n), ERROR_LEAST);
    pel_profile_observe(entry->profile, sight->lo, sight->hi, work / width, error);
    return 0.0;
}

void pel_irregular_note(pel_record *record, double *errors, uint32_t count) {
    if (count < 2 || (record->profile != NULL && record->own[0] == NULL)) {
        return; /* a whole launch has no parts that could differ */
    }
    sort(errors, count);
    /* The lower median: one device that has changed, or one accident, is no irregular kernel. */
    record->misfit += MISFIT_MEMORY * (fmin(errors[(count - 1) / 2], 1.0) - record->misfit);
}
