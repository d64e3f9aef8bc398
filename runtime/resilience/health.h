/* SPDX-License-Identifier: BSD-3-Clause */
/* Which devices may be used: quarantine, known-answer tests, a context built anew. Everything needs runtime->lock. */
#ifndef PEL_RESILIENCE_HEALTH_H
#define PEL_RESILIENCE_HEALTH_H

#include "core/runtime.h"

/* A chunk ended on it. */
void pel_health_note(pel_device *device, pel_status status, const pel_error *why, const pel_clock *clock);

/* A result of its was compared: right, or wrong. */
void pel_health_verified(pel_device *device);
void pel_health_lied(pel_device *device, const char *what, const pel_clock *clock);

/* Well, or nearly so. */
static inline bool pel_health_usable(const pel_device *device) {
    return !device->lost && (device->health.state == PEL_DEVICE_WELL || device->health.state == PEL_DEVICE_SUSPECT);
}

/* Why an unwell device may not be used now, in *text for the caller to free, or static; NULL: it may, as no other is better. */
const char *pel_health_exclusion(const pel_device *device, char **text);

/* Has those tested whose time is over. Costs a look at each device; never blocks. */
void pel_health_tend(pel_runtime *runtime);

/* Whether nothing uses what a lost device holds, and nothing is there alone. */
bool pel_health_may_rebuild(const pel_device *device);

/* rebuild.c: a new driver for a lost device, then a known-answer test; what fails counts as a failed test. Does not wait. */
void pel_rebuild_begin(pel_device *device);

/* known_answer.c: submits a test; its end changes the device's state. What does not even begin counts as failed. */
void pel_known_answer_begin(pel_device *device);
/* How a test ended: OK, MISMATCH, or what failed. */
void pel_health_tested(pel_device *device, pel_status status, const pel_error *why, int64_t now);

#endif
