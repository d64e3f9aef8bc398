/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What models remember, as numbers and back (the history store keeps them).
 *
 * A line is its fit and what company costs it; an irregular kernel's profile is a state of its own, because the lines of all its
 * devices are over the work that it describes: without it they would be read as lines over units. Invariant: whatever the numbers
 * are, what was taken predicts finite times; what cannot have been a model's is refused and changes nothing. A profile's
 * covariance is not kept, only how sure each bin was: neighbours are taken to be alike again, which a few launches correct.
 * Rejected: the sights that it was made from (ten times the bytes, and speeds of devices that may have changed).
 */
#include "model/table.h"

#include <math.h>
#include <string.h>

#define COMPANY_WORDS 3u
#define COMPANY_MOST 64.0  /* devices */
#define SLOWNESS_MOST 0.71 /* logarithm, a companion; company.c stays below */
#define PROFILES_EACH 3u /* a record: all devices', and two of their own */
#define PROFILE_WORDS (2u * PEL_PROFILE_BINS)
/* No device: a profile is all of them's. XORed with a device it is that one's own, whose line has the other key. */
#define PROFILE_DEVICE 0x70656c70726f6669u

_Static_assert(PEL_MODEL_PROFILE_BINS == PEL_PROFILE_BINS, "readers of a state see all bins");
_Static_assert(PROFILE_WORDS <= PEL_MODEL_STATE_LIMIT, "a profile fits into a state");

static uint32_t write_line(const pel_model_entry *entry, double *values) {
    uint32_t count = pel_fit_write(&entry->fit, values, PEL_MODEL_STATE_LIMIT - COMPANY_WORDS);
    values[count++] = entry->companions;
    values[count++] = entry->company;
    values[count++] = entry->company_variance;
    return count;
}

static bool read_line(const pel_model_state *state, pel_model_entry *entry) {
    const bool line = state->aspect != PEL_MODEL_PROFILE && state->aspect != PEL_MODEL_POWER;
    if (!line || state->count < COMPANY_WORDS || state->count > PEL_MODEL_STATE_LIMIT) {
        return false;
    }
    const double *company = state->values + state->count - COMPANY_WORDS;
    bool good = company[0] >= 0.0 && company[0] < COMPANY_MOST && fabs(company[1]) < SLOWNESS_MOST && company[2] >= 0.0 &&
                company[2] < 1.0;
    entry->companions = company[0];
    entry->company = company[1];
    entry->company_variance = company[2];
    return good && pel_fit_read(state->values, state->count - COMPANY_WORDS, &entry->fit);
}

static void write_profile(const pel_profile *profile, double *values) {
    for (uint32_t i = 0; i < PEL_PROFILE_BINS; i++) {
        values[i] = profile->density[i];
        /* of a device's own a dense bin may be less sure than any prior that is read again, and it is not learned further */
        values[PEL_PROFILE_BINS + i] = fmin(sqrt(fmax(profile->covariance[i][i], 0.0)), PEL_PROFILE_CONTRAST);
    }
}

bool pel_models_next(const pel_models *models, size_t *cursor, pel_model_state *state) {
    while (*cursor < models->capacity) {
        const pel_model_entry *at = &models->entries[(*cursor)++];
        if (at->fit.samples != 0) {
            state->key = at->key;
            state->kernel = at->kernel;
            state->aspect = at->aspect;
            /* What begins anew must not give way to what it was before, which the history may still hold. */
            const bool young = at->fit.anew && at->fit.samples < PEL_MODEL_SEASONED;
            state->samples = young ? PEL_MODEL_SEASONED : at->fit.samples;
            state->count = write_line(at, state->values);
            return true;
        }
    }
    while (*cursor < models->capacity + PROFILES_EACH * models->record_capacity) {
        const size_t place = (*cursor)++ - models->capacity;
        const pel_record_entry *at = &models->records[place / PROFILES_EACH];
        const size_t which = place % PROFILES_EACH; /* 0: all devices' */
        const bool has = which == 0 ? at->profile != NULL : at->own != NULL && at->own->count == 2;
        if (has) {
            state->key = (pel_model_key){at->family, PROFILE_DEVICE ^ (which == 0 ? 0 : at->own->device[which - 1])};
            state->kernel = at->kernel;
            state->aspect = PEL_MODEL_PROFILE;
            state->samples = at->inherited + at->sight_count;
            state->count = PROFILE_WORDS;
            write_profile(which == 0 ? at->profile : &at->own->profile[which - 1], state->values);
            return true;
        }
    }
    const size_t lines = models->capacity + PROFILES_EACH * models->record_capacity;
    if (*cursor >= lines && *cursor - lines < models->watts_count) {
        pel_watts_write(&models->watts[(*cursor)++ - lines], state);
        return true;
    }
    return false;
}

/* One of two devices' own: without the other one it is of no use, and waits for it. */
static pel_status restore_own(pel_models *models, pel_record_entry *place, uint64_t device, const pel_profile *profile) {
    pel_own_profiles *own = place->own;
    if (own == NULL && (own = pel_alloc(&models->allocator, sizeof *own)) == NULL) {
        return PEL_OUT_OF_MEMORY;
    }
    if (place->own == NULL) {
        own->count = 0;
    }
    if (own->count < 2 && (own->count == 0 || own->device[0] != device)) {
        own->device[own->count] = device;
        own->profile[own->count++] = *profile;
    }
    pel_irregular_own(place, own);
    return PEL_OK;
}

static pel_status restore_profile(pel_models *models, const pel_model_state *state) {
    pel_profile profile;
    if (state->count != PROFILE_WORDS || state->samples == 0 ||
        !pel_profile_recall(&profile, state->values, state->values + PEL_PROFILE_BINS)) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_record_entry *place = pel_models_record_place(models, state->key.kernel);
    if (place == NULL) {
        return PEL_OUT_OF_MEMORY;
    }
    if (place->record.launches > 0) {
        return PEL_OK; /* its lines are what this process has seen already */
    }
    const uint64_t device = pel_model_state_device(state);
    if (device != 0) {
        return restore_own(models, place, device, &profile);
    }
    if (place->profile != NULL && place->inherited >= state->samples) {
        return PEL_OK;
    }
    if (place->profile == NULL) {
        place->profile = pel_alloc(&models->allocator, sizeof *place->profile);
        if (place->profile == NULL) {
            return PEL_OUT_OF_MEMORY;
        }
    }
    *place->profile = profile;
    place->record.profile = place->profile->cumulative;
    place->kernel = state->kernel;
    place->inherited = state->samples;
    return PEL_OK;
}

pel_status pel_models_restore(pel_models *models, const pel_model_state *state) {
    pel_model_entry read = {.key = state->key};
    if (state->aspect == PEL_MODEL_PROFILE) {
        return restore_profile(models, state);
    }
    if (state->aspect == PEL_MODEL_POWER) {
        return pel_watts_restore(models, state);
    }
    if (!read_line(state, &read)) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_model_entry *place = pel_models_place(models, state->key);
    if (place == NULL) {
        return PEL_OUT_OF_MEMORY;
    }
    if (place->fit.samples < read.fit.samples) {
        if (place->fit.samples == 0) {
            pel_models_settle(models, place);
        }
        read.last_launch = place->last_launch;
        read.sibling = place->sibling;
        read.linked = place->linked;
        read.kernel = state->kernel;
        read.aspect = state->aspect;
        *place = read;
    }
    return PEL_OK;
}

uint64_t pel_model_state_device(const pel_model_state *state) {
    return state->aspect == PEL_MODEL_PROFILE ? state->key.device ^ PROFILE_DEVICE : state->key.device;
}

bool pel_model_state_cost(const pel_model_state *state, pel_cost *cost) {
    pel_model_entry entry;
    bool good = read_line(state, &entry);
    *cost = good && pel_fit_knows(&entry.fit) ? pel_fit_cost(&entry.fit) : (pel_cost){.outdated = good};
    return good;
}

bool pel_model_state_profile(const pel_model_state *state, double density[PEL_MODEL_PROFILE_BINS]) {
    pel_profile profile;
    if (state->aspect != PEL_MODEL_PROFILE || state->count != PROFILE_WORDS ||
        !pel_profile_recall(&profile, state->values, state->values + PEL_PROFILE_BINS)) {
        return false;
    }
    memcpy(density, profile.density, sizeof profile.density);
    return true;
}
