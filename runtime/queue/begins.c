/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: the parts of a launch are made together and begin one after the other. The submitter enqueues one device's part
 * (40 us on PoCL), then wakes another one's worker, which comes 50 us later; a line knows only what a chunk takes once it began.
 * So divisions that were even by their lines ended 80 to 100 us apart, one twentieth of a launch of 2 ms, and a device that has
 * to be woken looked as quick as one that has not (2 vCPUs, 2026-11).
 *
 * The invariant: only what a device that had nothing else to do was waited for counts, in a launch that fetched and saved nothing
 * first; a device's second part waits for its first one. The time moves by a limited step: a core that is stolen for a
 * millisecond says as much as one that is late by a little. Rejected: chunks' times from the launch's begin instead of their own.
 * Where launches follow each other, a chunk waits for the one before, and lines would learn queues.
 */
#include "queue/begins.h"
#include "queue/isolate.h"

/* A worker that is roused looks for 50 us, which is a core's time. */
static const double worth_ns = 500e3;

static const double weight = 0.125, step_ns = 10e3, first_most_ns = 200e3;

double pel_begins_after(double known_ns, double seen_ns) {
    if (!(seen_ns > 0.0)) {
        return known_ns;
    }
    if (!(known_ns > 0.0)) {
        return seen_ns < first_most_ns ? seen_ns : first_most_ns;
    }
    const double step = weight * (seen_ns - known_ns);
    return known_ns + (step > step_ns ? step_ns : step < -step_ns ? -step_ns : step);
}

double pel_begins_ns(const pel_device *device) { return device->begins_ns; }

void pel_begins_learn(const pel_command *command) {
    if (command->built == 0 || command->runtime->frozen) {
        return;
    }
    for (uint32_t i = 0; i < command->planned && i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        /* the verdict first: the device of one that was given up may still write the rest */
        if (job->prompt && job->second == 0 && pel_job_verdict(job) == PEL_OK && !job->work.cold && !job->work.pooled) {
            job->device->begins_ns = pel_begins_after(job->device->begins_ns, (double)(job->work.began - command->built));
        }
    }
}

void pel_begins_note(const pel_command *command) {
    pel_runtime *runtime = command->runtime;
    pel_backend_device *found = NULL;
    if (command->share_count > 0) { /* says nothing of where the next one goes that is planned */
        return;
    }
    for (uint32_t i = 0; i < command->slice_count && !found && runtime->dispatcher->submitting; i++) {
        const pel_device *device = &runtime->devices[command->slices[i].device];
        const bool can = device->driver->backend->rouse && device->running == 0;
        found = can && command->slices[i].predicted_ns >= worth_ns ? device->driver : NULL;
    }
    atomic_store_explicit(&command->bound.kernel->roused, found, memory_order_release);
}

void pel_begins_rouse(const pel_kernel *kernel, const pel_launch_desc *desc) {
    pel_backend_device *device = atomic_load_explicit(&((pel_kernel *)(uintptr_t)kernel)->roused, memory_order_acquire);
    if (device && desc->wait_count == 0 && desc->share_count == 0) {
        device->backend->rouse(device);
    }
}
