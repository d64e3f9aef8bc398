/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/watts.h"
#include "model/table.h"

#include <math.h>
#include <string.h>

#define FIRST 1000.0     /* watts: deviation of what nothing is known of */
#define NOISE 0.03       /* of a window: what else runs, and the meter's steps (1 ms of a window of 20 is 5 % at most) */
#define LEAST_NOISE 0.05 /* watts */
#define FORGETS 0.98     /* of what is known stays, a window: fans, heat, other programs */
#define SURE 0.2         /* relative standard error up to which a power counts as known */
#define SURE_WATTS 0.5   /* or that many watts */
#define MOST 1e6         /* watts */
#define WORDS 4u         /* of a state */

/* The kernel's part of the key under which the history keeps what a device draws: no kernel's. */
#define POWER_KEY 0x70656c77617474u

void pel_watts_begin(pel_watts *watts, uint32_t count) {
    memset(watts, 0, sizeof *watts);
    watts->count = count;
    for (uint32_t i = 0; i <= count; i++) {
        watts->covariance[i][i] = FIRST * FIRST;
    }
}

void pel_watts_recall(pel_watts *watts, uint32_t device, const pel_model_watts *known) {
    if (known->windows == 0) {
        return;
    }
    watts->mean[1 + device] = known->busy_watts - known->idle_watts;
    watts->covariance[1 + device][1 + device] = known->extra_error * known->extra_error;
    watts->mean[0] = known->idle_watts * watts->count;
    watts->covariance[0][0] = known->idle_error * known->idle_error * watts->count * watts->count;
    watts->windows = known->windows > watts->windows ? known->windows : watts->windows;
}

static void forget(pel_watts *watts) {
    for (uint32_t i = 0; i <= watts->count; i++) {
        /* row and column alike, so that it stays a covariance; none becomes less known than nothing */
        const double grown = fmin(sqrt(1.0 / FORGETS), FIRST / sqrt(watts->covariance[i][i]));
        for (uint32_t j = 0; j <= watts->count; j++) {
            watts->covariance[i][j] *= grown;
            watts->covariance[j][i] *= grown;
        }
    }
}

void pel_watts_observe(pel_watts *watts, double seconds, double joules, const double *busy_seconds) {
    const uint32_t n = watts->count + 1;
    double part[PEL_WATTS_DEVICES + 1] = {1.0}, gain[PEL_WATTS_DEVICES + 1] = {0.0}, error, variance;
    if (!(seconds > 0.0 && joules >= 0.0 && joules < MOST * seconds)) {
        return;
    }
    const double seen = joules / seconds;
    error = seen;
    variance = fmax(NOISE * seen, LEAST_NOISE) * fmax(NOISE * seen, LEAST_NOISE);
    for (uint32_t i = 1; i < n; i++) {
        part[i] = fmin(fmax(busy_seconds[i - 1] / seconds, 0.0), 1.0);
    }
    forget(watts);
    for (uint32_t i = 0; i < n; i++) {
        error -= part[i] * watts->mean[i];
        for (uint32_t j = 0; j < n; j++) {
            gain[i] += watts->covariance[i][j] * part[j];
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        variance += part[i] * gain[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        watts->mean[i] += gain[i] / variance * error;
        for (uint32_t j = 0; j < n; j++) {
            watts->covariance[i][j] -= gain[i] * gain[j] / variance;
        }
    }
    watts->windows++;
}

pel_model_watts pel_watts_of(const pel_watts *watts, uint32_t device) {
    const double idle = fmax(watts->mean[0], 0.0) / watts->count, extra = fmax(watts->mean[1 + device], 0.0);
    const double extra_error = sqrt(fmax(watts->covariance[1 + device][1 + device], 0.0)),
                 idle_error = sqrt(fmax(watts->covariance[0][0], 0.0)) / watts->count;
    return (pel_model_watts){.busy_watts = idle + extra,
                             .idle_watts = idle,
                             .extra_error = extra_error,
                             .idle_error = idle_error,
                             .windows = watts->windows,
                             .known = watts->windows > 1 && extra > 0.0 && extra_error <= fmax(SURE * extra, SURE_WATTS) &&
                                      idle_error <= fmax(SURE * idle, SURE_WATTS)};
}

/* ---- in the table, and in the history ---- */

static pel_watts_entry *place_of(const pel_models *models, uint64_t device) {
    for (uint32_t i = 0; i < models->watts_count; i++) {
        if (models->watts[i].device == device) {
            return &models->watts[i];
        }
    }
    return NULL;
}

pel_model_watts pel_models_watts(const pel_models *models, uint64_t device) {
    const pel_watts_entry *found = place_of(models, device);
    return found ? found->watts : (pel_model_watts){0};
}

pel_status pel_models_set_watts(pel_models *models, uint64_t device, const pel_model_watts *watts) {
    pel_watts_entry *place = place_of(models, device);
    if (!place) {
        pel_watts_entry *grown = pel_resize(&models->allocator, models->watts, (models->watts_count + 1u) * sizeof *grown);
        if (!grown) {
            return PEL_OUT_OF_MEMORY;
        }
        models->watts = grown;
        place = &grown[models->watts_count++];
        place->device = device;
    }
    place->watts = *watts;
    return PEL_OK;
}

void pel_watts_write(const pel_watts_entry *entry, pel_model_state *state) {
    const pel_model_watts *watts = &entry->watts;
    state->key = (pel_model_key){POWER_KEY, entry->device};
    state->kernel = 0;
    state->aspect = PEL_MODEL_POWER;
    state->samples = watts->windows;
    state->count = WORDS;
    state->values[0] = watts->busy_watts;
    state->values[1] = watts->idle_watts;
    state->values[2] = watts->extra_error;
    state->values[3] = watts->idle_error;
}

bool pel_model_state_watts(const pel_model_state *state, pel_model_watts *watts) {
    if (state->aspect != PEL_MODEL_POWER || state->key.kernel != POWER_KEY || state->count != WORDS || state->samples == 0) {
        return false;
    }
    for (uint32_t i = 0; i < WORDS; i++) {
        if (!(state->values[i] >= 0.0 && state->values[i] <= MOST)) {
            return false;
        }
    }
    const double extra = state->values[0] - state->values[1];
    *watts = (pel_model_watts){.busy_watts = state->values[0],
                               .idle_watts = state->values[1],
                               .extra_error = fmax(state->values[2], LEAST_NOISE),
                               .idle_error = fmax(state->values[3], LEAST_NOISE),
                               .windows = state->samples};
    watts->known = extra > 0.0 && watts->extra_error <= fmax(SURE * extra, SURE_WATTS) &&
                   watts->idle_error <= fmax(SURE * watts->idle_watts, SURE_WATTS);
    return extra >= 0.0;
}

pel_status pel_watts_restore(pel_models *models, const pel_model_state *state) {
    pel_model_watts watts;
    if (!pel_model_state_watts(state, &watts)) {
        return PEL_INVALID_ARGUMENT;
    }
    const pel_watts_entry *known = place_of(models, state->key.device);
    return known && known->watts.windows >= watts.windows ? PEL_OK : pel_models_set_watts(models, state->key.device, &watts);
}
