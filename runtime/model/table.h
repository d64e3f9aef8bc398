/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the models share: the table of fits, and that of records. */
#ifndef PEL_MODEL_TABLE_H
#define PEL_MODEL_TABLE_H

#include "model/fit.h"
#include "model/model.h"

typedef struct pel_model_entry {
    pel_model_key key;
    uint64_t kernel; /* of its family; 0: unknown */
    pel_model_aspect aspect;
    uint64_t last_launch; /* of its family; 0: unknown */
    pel_fit fit;          /* samples == 0: a free place */
} pel_model_entry;

typedef struct pel_record_entry {
    uint64_t family;
    bool used;
    pel_record record;
} pel_record_entry;

struct pel_models {
    pel_allocator allocator;
    pel_model_entry *entries;
    size_t capacity, count; /* capacity: a power of two */
    pel_record_entry *records;
    size_t record_capacity, record_count;
};

/* The key's entry; NULL: nothing known. */
pel_model_entry *pel_models_find(const pel_models *models, pel_model_key key);

/* The same, made when it is not there; its fit may be empty. NULL: no memory. */
pel_model_entry *pel_models_place(pel_models *models, pel_model_key key);

/* Observes into a place; false: the values are no measurement. */
bool pel_models_enter(pel_models *models, pel_model_entry *place, double units, double ns);

pel_cost pel_fit_cost(const pel_fit *fit);

#endif
