/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the host's workers share: workers.c (their lives), wake.c (submitting and waking), place.c (where they run),
 * guest.c (a caller in the last one's place), reserve.c (the last one, out of a submitter's way). */
#ifndef PEL_BACKEND_HOST_WORKERS_H
#define PEL_BACKEND_HOST_WORKERS_H

#include "backend/host/host.h"

/* wake.c. Under the lock: the counts for those who look without it; after each change, whom the task engine may have woken. */
void pel_host_publish_counts(pel_host_device *device);
void pel_host_publish_sleepers(pel_host_device *device);
/* Under the lock: tokens for what waits, beyond those who look already; then send_tokens without the lock, a few at a time. */
uint32_t pel_host_issue_for_waiting(pel_host_device *device);
void pel_host_send_tokens(pel_host_device *device, uint32_t count);
void pel_host_wake_for_waiting(pel_host_device *device); /* both */
/* Delivers a work that is done. It may be gone afterwards. */
void pel_host_complete(pel_host_device *device, pel_work *work, bool job);

/* place.c. make_room: leaves the core to the thread that is known to be there. */
void pel_host_confine(const pel_host_worker *worker);
void pel_host_make_room(const pel_host_worker *worker, int cpu);

/* reserve.c. After something was done: the reserve sleeps as long as a submitter needs its core more than the tasks need it. */
void pel_host_stand_back(pel_host_worker *worker);
void pel_host_reserve_init(pel_host_device *device);

/* workers.c. The calling thread counts as a worker of the device until told otherwise; returns what it was before. */
const pel_host_device *pel_host_become_worker(const pel_host_device *device);

static inline bool pel_host_job_open(const pel_host_device *device, uint64_t seen) {
    pel_host_job *job = &((pel_host_device *)(uintptr_t)device)->job;
    return (atomic_load_explicit(&job->gate, memory_order_relaxed) & PEL_HOST_OPEN) != 0 &&
           atomic_load_explicit(&job->generation, memory_order_relaxed) != seen;
}

#endif
