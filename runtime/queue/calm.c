/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: on a virtual machine, or beside other programs, a core is taken away for milliseconds. A chunk that lost its core
 * took two or five times as long, which says nothing about its device; where three launches in ten meet that, the lines promise
 * too long times, parts become uneven, and divisions are given up for whole devices (2 vCPUs, launches of 3 ms, 2026-11).
 *
 * A device of one core is at work on that core for as long as its chunk lasts, so a process that got less processor time than
 * its chunks lasted in all was deprived of some. The invariant: no launch is called deprived that had its cores. What else the
 * process computes meanwhile hides a theft, and so does a device with several cores: then the launch counts as it did before.
 * Rejected: the system's own figure (/proc/stat: 10 ms grain, all processes), and a heavier tail in the fit, which would follow
 * real changes late.
 */
#include "queue/calm.h"
#include "backend/host/host.h"

/* worth_ns: reading the clocks takes 1 us, twice. waking_ns: between an enqueue and the driver's thread, and back, nobody
 * runs. */
static const double worth_ns = 500e3, waking_ns = 60e3, part = 0.03;

/* Tasks' runners' clocks: of threads that still run when it is asked, their last milliseconds would be missing (base/clock.h). */
static int64_t processor_now(const pel_command *command) {
    const pel_host_tasks *tasks = command->runtime->dispatcher->tasks;
    return tasks ? pel_host_tasks_processor_ns(tasks) : pel_clock_now(&pel_clock_process);
}

static bool has_one_core_here(const pel_device *device) {
    const pel_topology_device *facts = device->facts;
    return facts->info.device_class == PEL_CLASS_HOST_CPU && facts->info.kind != PEL_DEVICE_SIMULATED && !facts->outside &&
           facts->info.cores_count == 1;
}

int64_t pel_calm_begin(const pel_command *command) {
    double longest = 0.0;
    bool known = true;
    if (command->runtime->machine) {
        return 0; /* virtual time says nothing of the process's */
    }
    for (uint32_t i = 0; i < command->slice_count; i++) {
        const pel_plan_slice *slice = &command->slices[i];
        if (!has_one_core_here(&command->runtime->devices[slice->device])) {
            return 0;
        }
        known = known && slice->predicted_ns > 0.0;
        longest = slice->predicted_ns > longest ? slice->predicted_ns : longest;
    }
    return !known || longest >= worth_ns ? processor_now(command) : 0;
}

bool pel_calm_is_deprived(double busy_ns, double ran_ns, uint32_t chunks) {
    return busy_ns - ran_ns > part * busy_ns + waking_ns * (double)chunks;
}

bool pel_calm_was_deprived(const pel_command *command) {
    double busy = 0.0;
    if (command->processor_ns == 0) {
        return false;
    }
    for (uint32_t i = 0; i < command->job_count; i++) {
        busy += (double)(command->jobs[i].work.launch_ended - command->jobs[i].work.launch_began);
    }
    return pel_calm_is_deprived(busy, (double)(processor_now(command) - command->processor_ns), command->job_count);
}
