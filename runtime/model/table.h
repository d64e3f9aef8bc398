/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the models share: the table of fits, and that of records. */
#ifndef PEL_MODEL_TABLE_H
#define PEL_MODEL_TABLE_H

#include "model/fit.h"
#include "model/model.h"
#include "model/profile.h"

typedef struct pel_model_entry {
    pel_model_key key;
    uint64_t kernel; /* of its family; 0: unknown */
    pel_model_aspect aspect;
    uint32_t sibling;        /* 1 + place of the next entry of its device; 0: none */
    bool linked;             /* it is in such a list: once, even where its fit begins anew */
    uint64_t last_launch;    /* of its family; 0: unknown */
    double companions;       /* devices beside it, at which the line holds; company.c */
    double company;          /* natural logarithm of the slowness that each one more adds, */
    double company_variance; /* and how uncertain that is; 0: nothing is known */
    pel_fit fit;             /* samples == 0: a free place */
} pel_model_entry;

#define PEL_MODEL_SIGHTS 48u

/* A chunk as it was seen: what a profile is first made from. */
typedef struct pel_sight {
    uint64_t device;
    double lo, hi, units, ns; /* lo, hi: parts of the range of `units` */
    bool alone;
} pel_sight;

/* What two devices need along the range, where they differ. */
typedef struct pel_own_profiles {
    uint64_t device[2];
    pel_profile profile[2];
    uint32_t count; /* so many are known: a history may have lost one, and then none is used */
} pel_own_profiles;

typedef struct pel_record_entry {
    uint64_t family;
    uint64_t kernel; /* of the family; 0: unknown */
    bool used;
    pel_record record;
    pel_profile *profile; /* NULL: regular as far as is known */
    pel_own_profiles *own; /* NULL: that one for all devices */
    pel_sight sights[PEL_MODEL_SIGHTS];
    uint32_t sight_count; /* ever; the latest ones are kept */
    uint64_t inherited;   /* sights behind the profile that came from the history */
    uint64_t look_at;     /* launch from which on a better profile is looked for; 0: never looked */
} pel_record_entry;

typedef struct pel_watts_entry {
    uint64_t device;
    pel_model_watts watts;
} pel_watts_entry;

struct pel_models {
    pel_allocator allocator;
    pel_model_entry *entries;
    size_t capacity, count; /* capacity: a power of two */
    uint32_t *devices; /* as many, by hash of the device: 1 + place of one of its entries; 0: free */
    pel_record_entry *records;
    size_t record_capacity, record_count;
    pel_watts_entry *watts;
    uint32_t watts_count;
};

/* The key's entry; NULL: nothing known. */
pel_model_entry *pel_models_find(const pel_models *models, pel_model_key key);

/* Something was known, and is forgotten. */
bool pel_models_outdated(const pel_models *models, pel_model_key key);

/* The same, made when it is not there; its fit may be empty. NULL: no memory. */
pel_model_entry *pel_models_place(pel_models *models, pel_model_key key);

/* The place has been free until now, and is about to have samples: counts it, and finds it by its device from now on. */
void pel_models_settle(pel_models *models, pel_model_entry *place);

/* The record of a family's key, made when it is not there. NULL: no memory. learn.c. */
pel_record_entry *pel_models_record_place(pel_models *models, uint64_t family);

/* Observes into a place; false: the values are no measurement. */
bool pel_models_enter(pel_models *models, pel_model_entry *place, double units, double ns);

/* The line of a family on a device, alone or beside others; learn.c. NULL: nothing known. */
pel_model_entry *pel_models_line(const pel_models *models, const pel_model_family *family, uint64_t device, bool alone);

/* Work in [lo, hi) of a range of `units` on a device: the number of units when the family is regular. irregular.c. */
double pel_irregular_work(const pel_record *record, uint64_t device, uint64_t lo, uint64_t hi, double units);

/* The entry's devices have these, or none (NULL): tells the record. irregular.c. */
void pel_irregular_own(pel_record_entry *entry, pel_own_profiles *own);

/*
 * Watches a chunk before its line learns from it; `line` is that line. The error of what it predicted, while there is no
 * profile.
 */
double pel_irregular_see(pel_record_entry *entry, const pel_cost *line, const pel_sight *sight);

/* Notes the errors of a launch's chunks, which it sorts. */
void pel_irregular_note(pel_record *record, double *errors, uint32_t count);

/* Makes a profile when it is time for one. False: no memory. */
bool pel_irregular_begin(pel_models *models, pel_record_entry *entry, const pel_model_family *family);

/*
 * Learns from `ns` for `units` beside so many others what company costs, before the line learns; yields the time as it would have
 * been in the line's own company. company.c.
 */
double pel_company_learn(pel_model_entry *entry, double units, double ns, double companions);

/*
 * The machine has changed, and the line beside others has begun anew; it had so many samples. What the line alone told of company
 * is kept, and the rest of that line is forgotten. NULL: there was none. company.c.
 */
void pel_company_keep(pel_model_entry *beside, uint64_t samples, pel_model_entry *alone);

/* Fills in the company of a cost from both lines of a device. */
void pel_company_cost(const pel_model_entry *beside, const pel_model_entry *alone, pel_cost *cost);

/* The line of `cost`, which is that of `fit`, with what the pieces of tails tell of it, where they agree. kindred.c. */
void pel_kindred_join(const pel_fit *fit, const pel_fit *pieces, const pel_cost *of_pieces, pel_cost *cost);

/* What a device draws, as a state and back; watts.c. */
void pel_watts_write(const pel_watts_entry *entry, pel_model_state *state);
pel_status pel_watts_restore(pel_models *models, const pel_model_state *state);

pel_cost pel_fit_cost(const pel_fit *fit);

#endif
