/* SPDX-License-Identifier: BSD-3-Clause */
/* Wakes up in time to look after what may hang: a thread of its own, or an alarm of the virtual clock. Under runtime->lock. */
#ifndef PEL_RESILIENCE_WATCHDOG_H
#define PEL_RESILIENCE_WATCHDOG_H

#include "core/runtime.h"

/* Looks at `when` at the latest, and then as long as something is watched. Without memory or threads for it nothing is
 * watched, which is logged. */
void pel_watchdog_wake(pel_runtime *runtime, int64_t when);

/* Without the lock; nothing is looked at any more. */
void pel_watchdog_end(pel_runtime *runtime);

#endif
