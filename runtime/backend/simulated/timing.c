/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invented time: when a work begins and ends, and what goes wrong with it.
 *
 * A job starts when it is the first of its device and nobody who shares the device's cores runs; of several, the one submitted
 * first. From then on its end is known, unless the devices disturb each other (`contention`): then every start and end changes
 * how fast the others go, and what they have left is spread anew. So only jobs that run have an end, the next event is the
 * soonest of them, and submission, which must not fail, allocates nothing. Each device draws from a stream of its own: what one
 * device does never shifts the luck of another. Rejected: deciding at submission; it cannot know who will be busy meanwhile.
 */
#include "backend/simulated/internal.h"

#include <math.h>

#define LONGEST_NS 1e17 /* three years: sums of such times stay far inside int64_t */
#define ENDLESS_NS 1e200 /* more than any description gives */
#define NOTICE_NS 1000  /* how long it takes to find out that a device is gone */

static double items_of(const pel_span *span) {
    double items = 1.0;
    for (uint32_t d = 0; d < span->dims && d < 3; d++) {
        items *= (double)(span->hi[d] - span->lo[d]);
    }
    return items;
}

static double launch_time(pel_simulated_driver *driver, const pel_work *work, const pel_span *span) {
    const pel_machine *machine = driver->machine;
    double items = items_of(span), cost = work->kernel->cost_hint > 0.0 ? work->kernel->cost_hint : 1.0;
    double amount =
        machine->work ? machine->work(machine->work_user, driver->base.facts->info.id, work->kernel->name, span) : 0.0;
    if (!(amount > 0.0) || !isfinite(amount)) {
        amount = items * cost;
    }
    return pel_simulated_cost(driver->spec, driver->chunks, (double)machine->now, items, amount) *
           pel_simulated_luck(driver->spec, &driver->stream);
}

static double transfer_time(const pel_simulated_driver *driver, const pel_transfer *transfers, uint32_t count) {
    const pel_simulated_device *spec = driver->spec;
    double time = 0.0;
    for (uint32_t i = 0; spec->link_bytes_per_ns > 0.0 && i < count; i++) {
        time += spec->link_latency_ns + (double)(pel_transfer_rows(&transfers[i]) * transfers[i].bytes) / spec->link_bytes_per_ns;
    }
    return time;
}

static int64_t after(int64_t when, double duration) {
    int64_t step = (int64_t)fmin(duration + 0.5, LONGEST_NS), sum;
    if (duration >= ENDLESS_NS) {
        return PEL_SIMULATED_NEVER;
    }
    return __builtin_add_overflow(when, step, &sum) ? INT64_MAX : sum;
}

/* Time of one launch, and what goes wrong in it. */
static double time_launch(pel_simulated_driver *driver, pel_work *work, const pel_span *span) {
    const pel_simulated_device *spec = driver->spec;
    driver->chunks++;
    double duration = launch_time(driver, work, span);
    if (spec->lost_at > 0 && driver->chunks >= spec->lost_at) {
        driver->lost = true;
        work->status = PEL_DEVICE_LOST; /* on the way */
        duration *= spec->lost_part > 0.0 ? spec->lost_part : 0.5;
    } else if (driver->chunks == spec->fail_at || (driver->chunks > spec->fail_at && driver->chunks <= spec->fail_until)) {
        work->status = PEL_DEVICE_FAILED;
    }
    work->child = spec->wrong_every > 0 && driver->chunks % spec->wrong_every == 0 ? work : NULL; /* marked for execute.c */
    if (driver->chunks == spec->hang_at) {
        duration = spec->hang_ns > 0.0 ? duration + spec->hang_ns : ENDLESS_NS;
    }
    return duration;
}

/* The link carries both directions at once (PCIe does, GPUs have an engine for each), the processors compute beside it. */
static void start_steps(pel_simulated_driver *driver, pel_work *work) {
    double in_free = 0.0, computer_free = 0.0, out_free = 0.0, computed = 0.0, over[PEL_SIMULATED_DEPTH] = {0};
    uint32_t depth = work->step_depth < PEL_SIMULATED_DEPTH ? work->step_depth : PEL_SIMULATED_DEPTH;
    for (uint32_t i = 0; i < work->step_count && work->status == PEL_OK; i++) {
        const pel_step *step = &work->steps[i];
        double *slot = &over[depth > 0 ? i % depth : 0];
        in_free = fmax(in_free, *slot) + transfer_time(driver, step->in, step->in_count);
        double duration = time_launch(driver, work, &step->span);
        computer_free = fmax(computer_free, in_free) + duration;
        computed += duration;
        out_free =
            fmax(out_free, computer_free) + (work->status == PEL_OK ? transfer_time(driver, step->out, step->out_count) : 0.0);
        *slot = out_free;
    }
    work->launch_ended = after(work->launch_began, out_free);
    work->computed = (int64_t)fmin(computed, LONGEST_NS);
}

int64_t pel_simulated_soonest_begin(const pel_simulated_driver *driver, const pel_work *work) {
    const int64_t now = driver->machine->now;
    const bool late = work->kind == PEL_WORK_LAUNCH && driver->jobs.first == NULL;
    return late ? after(now, driver->spec->begins_late_ns) : now;
}

/* The first job of the driver has the device from now on; its times are those without company. */
static void start(pel_simulated_driver *driver) {
    pel_work *work = driver->jobs.first;
    const int64_t now = driver->machine->now;
    work->began = now > work->began ? now : work->began;
    atomic_store(&work->started, work->began > 0 ? work->began : 1);
    driver->running = true;
    driver->machine->running++;
    driver->since = work->began; /* a late begin is no work that company could stretch */
    driver->stretch = 1.0;
    driver->returning = 0;
    if (driver->lost) {
        work->status = PEL_DEVICE_LOST;
        work->launch_began = work->launch_ended = work->ended = after(work->began, NOTICE_NS);
    } else {
        work->launch_began = after(work->began, transfer_time(driver, work->in, work->in_count));
        work->launch_ended = work->launch_began;
        if (work->kind == PEL_WORK_LAUNCH) {
            if (work->step_count > 0) {
                start_steps(driver, work);
            } else {
                work->launch_ended = after(work->launch_began, time_launch(driver, work, &work->span));
            }
        } else if (work->kind == PEL_WORK_LOOP) {
            double luck = pel_simulated_luck(driver->spec, &driver->stream);
            double duration = (driver->spec->start_ns + 1e3 * (double)work->loop_count / driver->spec->rate) * luck;
            work->launch_ended = after(work->launch_began, duration);
        }
        work->ended = work->launch_ended;
        if (work->status == PEL_OK) {
            work->ended = after(work->launch_ended, transfer_time(driver, work->out, work->out_count));
            driver->returning = work->ended - work->launch_ended;
        }
    }
    driver->remaining = (double)(work->ended - work->began);
    pel_simulated_changed(driver);
}

static bool cores_are_free(const pel_simulated_driver *driver) {
    bool running = driver->running;
    for (const pel_simulated_driver *other = driver->peer; other != driver && !running; other = other->peer) {
        running = other->running;
    }
    return !running;
}

static bool is_kept_back(const pel_work *work) { return work->gate && !pel_gate_is_open(work->gate); }

/* The job that waits longest among those that can start. */
static pel_simulated_driver *next_to_start(const pel_machine *machine) {
    pel_simulated_driver *best = NULL;
    for (pel_simulated_driver *at = machine->idle; at != NULL; at = at->idle_next) {
        if (!is_kept_back(at->jobs.first) &&
            (best == NULL || at->jobs.first->sequence < best->jobs.first->sequence) && cores_are_free(at)) {
            best = at;
        }
    }
    return best;
}

static void spread(pel_simulated_driver *driver, double stretch) {
    pel_work *work = driver->jobs.first;
    const int64_t now = driver->machine->now, from = now > driver->since ? now : driver->since;
    if (stretch == driver->stretch || work->ended == PEL_SIMULATED_NEVER) {
        return;
    }
    driver->remaining -= (double)(from - driver->since) / driver->stretch;
    driver->remaining = driver->remaining > 0.0 ? driver->remaining : 0.0;
    driver->since = from;
    driver->stretch = stretch;
    work->ended = after(from, driver->remaining * stretch);
    work->launch_ended = work->ended - driver->returning;
    if (work->launch_ended < work->launch_began) {
        work->launch_ended = work->launch_began;
    }
    pel_simulated_changed(driver);
}

void pel_simulated_settle(pel_machine *machine) {
    for (pel_simulated_driver *next; (next = next_to_start(machine)) != NULL;) {
        start(next);
    }
    for (pel_simulated_driver *at = machine->drivers; machine->disturbed > 0 && at != NULL; at = at->next) {
        if (at->running) {
            spread(at, 1.0 + at->spec->contention * ((double)machine->running - 1.0));
        }
    }
}
