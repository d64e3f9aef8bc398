/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of cost models.
 *
 * One model per (kernel, device): a history shared between kernels is poisoned by whoever ran last (ANCHORS.md, libGPGPU). An
 * open-addressing table that only grows: a few hundred bytes a pair, looked up once per chunk. Invariant: a failed allocation
 * loses one observation, never the table. What kernels of a device share is its start cost (driver, wake-up, link), so the median
 * over the others stands in while a kernel has not told its own.
 */
#include "model/model.h"
#include "base/hash.h"
#include "model/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 16u
#define MEDIAN_OVER 33u /* start costs looked at for the median: more do not make it better */
#define YOUNG 8u        /* observations */
#define LARGEST 2e19    /* beyond 64-bit counts nothing is a measurement, and squares of what is learned must stay finite */
#define SMALLEST 1e-9

pel_models *pel_models_create(const pel_allocator *allocator) {
    pel_models *models = pel_alloc_zero(allocator, 1, sizeof *models);
    if (models != NULL) {
        models->allocator = *allocator;
    }
    return models;
}

void pel_models_destroy(pel_models *models) {
    if (models != NULL) {
        pel_allocator allocator = models->allocator;
        pel_free(&allocator, models->entries);
        pel_free(&allocator, models->devices);
        for (size_t i = 0; i < models->record_capacity; i++) {
            pel_free(&allocator, models->records[i].profile);
            pel_free(&allocator, models->records[i].own);
        }
        pel_free(&allocator, models->records);
        pel_free(&allocator, models->watts);
        pel_free(&allocator, models);
    }
}

/* The key's place, or the free one where it would go. NULL only in an empty table. */
static pel_model_entry *find(const pel_models *models, pel_model_key key) {
    if (models->capacity == 0) {
        return NULL;
    }
    size_t at = (size_t)pel_mix_u64(key.kernel, key.device) & (models->capacity - 1);
    while (models->entries[at].fit.samples != 0 &&
           (models->entries[at].key.kernel != key.kernel || models->entries[at].key.device != key.device)) {
        at = (at + 1) & (models->capacity - 1);
    }
    return &models->entries[at];
}

/* Where the first entry of a device is told, or would be. There are at most as many devices as entries, so some are free. */
static uint32_t *first_of(const pel_models *models, uint64_t device) {
    size_t at = (size_t)pel_mix_u64(0, device) & (models->capacity - 1);
    while (models->devices[at] != 0 && models->entries[models->devices[at] - 1].key.device != device) {
        at = (at + 1) & (models->capacity - 1);
    }
    return &models->devices[at];
}

static void link_sibling(pel_models *models, pel_model_entry *place) {
    uint32_t *first = first_of(models, place->key.device);
    place->sibling = *first;
    place->linked = true;
    *first = (uint32_t)(place - models->entries) + 1;
}

void pel_models_settle(pel_models *models, pel_model_entry *place) {
    models->count++;
    if (!place->linked) {
        link_sibling(models, place);
    }
}

static bool grow(pel_models *models) {
    pel_models larger = *models;
    larger.capacity = models->capacity == 0 ? FIRST_CAPACITY : 2 * models->capacity;
    larger.entries = pel_alloc_zero(&models->allocator, larger.capacity, sizeof *larger.entries);
    larger.devices = pel_alloc_zero(&models->allocator, larger.capacity, sizeof *larger.devices);
    if (larger.entries == NULL || larger.devices == NULL) {
        pel_free(&models->allocator, larger.entries);
        pel_free(&models->allocator, larger.devices);
        return false;
    }
    for (size_t i = 0; i < models->capacity; i++) {
        if (models->entries[i].fit.samples != 0) {
            pel_model_entry *place = find(&larger, models->entries[i].key);
            *place = models->entries[i];
            link_sibling(&larger, place);
        }
    }
    pel_free(&models->allocator, models->entries);
    pel_free(&models->allocator, models->devices);
    *models = larger;
    return true;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Median start cost of the device over kernels that know theirs, of computing or of moving; 0 when there is none. */
__attribute__((noinline)) static double typical_start(const pel_models *models, pel_model_key key, pel_model_aspect aspect) {
    double starts[MEDIAN_OVER];
    size_t count = 0;
    for (uint32_t i = *first_of(models, key.device); i != 0 && count < MEDIAN_OVER; i = models->entries[i - 1].sibling) {
        const pel_model_entry *other = &models->entries[i - 1];
        if (other->fit.samples != 0 && other->fit.anchored && other->key.device == key.device &&
            other->key.kernel != key.kernel && (other->aspect == PEL_MODEL_MOVING) == (aspect == PEL_MODEL_MOVING)) {
            starts[count++] = other->fit.anchor;
        }
    }
    if (count == 0) {
        return 0.0;
    }
    qsort(starts, count, sizeof starts[0], ascending);
    return starts[(count - 1) / 2];
}

pel_model_entry *pel_models_find(const pel_models *models, pel_model_key key) {
    pel_model_entry *place = find(models, key);
    return place == NULL || place->fit.samples == 0 || !pel_fit_knows(&place->fit) ? NULL : place;
}

bool pel_models_outdated(const pel_models *models, pel_model_key key) {
    const pel_model_entry *place = find(models, key);
    return place != NULL && place->fit.samples != 0 && !pel_fit_knows(&place->fit);
}

/* What is rare stays out of line, here and below: its registers and its frame would be paid for by every chunk. */
__attribute__((noinline)) static pel_model_entry *make_place(pel_models *models, pel_model_key key) {
    if (4 * (models->count + 1) > 3 * models->capacity && !grow(models)) {
        return NULL;
    }
    pel_model_entry *place = find(models, key);
    *place = (pel_model_entry){.key = key, .sibling = place->sibling, .linked = place->linked};
    return place;
}

pel_model_entry *pel_models_place(pel_models *models, pel_model_key key) {
    pel_model_entry *place = find(models, key);
    return place == NULL || place->fit.samples == 0 ? make_place(models, key) : place;
}

bool pel_models_enter(pel_models *models, pel_model_entry *place, double units, double ns) {
    if (!(units > SMALLEST && units < LARGEST) || !(ns > SMALLEST && ns < LARGEST)) {
        return false;
    }
    /* What the other kernels say matters while the model is young; later they need not be asked. */
    bool young = !place->fit.anchored && place->fit.samples < YOUNG;
    if (place->fit.samples == 0) {
        pel_models_settle(models, place);
    }
    pel_fit_observe(&place->fit, units, ns, young ? typical_start(models, place->key, place->aspect) : place->fit.anchor);
    return true;
}

pel_status pel_models_observe(pel_models *models, pel_model_key key, double units, double ns) {
    pel_model_entry *place = pel_models_place(models, key);
    if (place != NULL) {
        (void)pel_models_enter(models, place, units, ns);
    }
    return place != NULL ? PEL_OK : PEL_OUT_OF_MEMORY;
}

pel_cost pel_fit_cost(const pel_fit *fit) {
    double correction = pel_fit_correction(fit);
    return (pel_cost){.start_ns = fit->start * correction,
                      .unit_ns = fit->slope * correction / fit->scale,
                      .deviation = sqrt(fit->variance),
                      .samples = fit->samples,
                      .largest_units = fit->largest,
                      .knee_units = fit->knee.size * fit->scale};
}

pel_cost pel_models_predict(const pel_models *models, pel_model_key key) {
    const pel_model_entry *place = pel_models_find(models, key);
    const pel_cost unknown = {0};
    return place == NULL ? unknown : pel_fit_cost(&place->fit);
}
