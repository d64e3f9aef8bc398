/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invented time: how long a work takes, and what goes wrong with it.
 *
 * Everything is decided when a work is submitted: its begin (the device and whoever shares its cores must be free), its end, its
 * fault. So the queue of a device is sorted by itself, and submission, which must not fail, allocates nothing. Each device draws
 * from a stream of its own: what one device does never shifts the luck of another. Rejected: deciding at start, which needs a
 * second event per work and gives the same times.
 */
#include "backend/simulated/internal.h"
#include "base/hash.h"

#include <math.h>

#define LONGEST_NS 1e17  /* three years: sums of such times stay far inside int64_t */
#define NOTICE_NS 1000   /* how long it takes to find out that a device is gone */

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014). */
static uint64_t next_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Within (0, 1). */
static double uniform(uint64_t *state) { return ((double)(next_random(state) >> 11) + 0.5) * 0x1p-53; }

void pel_simulated_seed(pel_simulated_driver *driver, uint64_t seed, uint32_t index) {
    uint64_t state = seed;
    driver->random = next_random(&state) ^ ((uint64_t)index * 0x9e3779b97f4a7c15u);
}

/*
 * Log-normal with mean 1, and now and then a spike. Always three draws, so that one option does not change the luck of another.
 */
static double luck(pel_simulated_driver *driver) {
    const pel_simulated_device *spec = driver->spec;
    double first = uniform(&driver->random), second = uniform(&driver->random), third = uniform(&driver->random);
    double factor = 1.0;
    if (spec->noise > 0.0) {
        double variance = log1p(spec->noise * spec->noise);
        double normal = sqrt(-2.0 * log(first)) * cos(6.283185307179586 * second); /* Box and Muller */
        factor = exp(sqrt(variance) * normal - 0.5 * variance);
    }
    return third < spec->spike_chance ? factor * spec->spike_factor : factor;
}

static double items_of(const pel_span *span) {
    double items = 1.0;
    for (uint32_t d = 0; d < span->dims && d < 3; d++) {
        items *= (double)(span->hi[d] - span->lo[d]);
    }
    return items;
}

static double launch_time(pel_simulated_driver *driver, const pel_work *work) {
    const pel_simulated_device *spec = driver->spec;
    double rate = spec->rate, cost = work->kernel->cost_hint > 0.0 ? work->kernel->cost_hint : 1.0;
    if (spec->slow_after > 0 && driver->chunks >= spec->slow_after) {
        rate *= spec->slow_factor;
    }
    return (spec->start_ns + 1e3 * items_of(&work->span) * cost / rate) * luck(driver);
}

static double transfer_time(const pel_simulated_driver *driver, const pel_transfer *transfers, uint32_t count) {
    const pel_simulated_device *spec = driver->spec;
    double time = 0.0;
    for (uint32_t i = 0; spec->link_bytes_per_ns > 0.0 && i < count; i++) {
        time += spec->link_latency_ns + (double)transfers[i].bytes / spec->link_bytes_per_ns;
    }
    return time;
}

static int64_t after(int64_t when, double duration) {
    int64_t step = (int64_t)(duration < LONGEST_NS ? duration + 0.5 : LONGEST_NS), sum;
    return __builtin_add_overflow(when, step, &sum) ? INT64_MAX : sum;
}

/* When the device's cores are free: its own work is done, and that of all who share them. */
static int64_t free_from(const pel_simulated_driver *driver) {
    int64_t from = driver->machine->now > driver->free_at ? driver->machine->now : driver->free_at;
    for (const pel_simulated_driver *other = driver->machine->drivers; other != NULL; other = other->next) {
        if (driver->spec->core_group != 0 && other->spec->core_group == driver->spec->core_group && other->free_at > from) {
            from = other->free_at;
        }
    }
    return from;
}

static void schedule_launch(pel_simulated_driver *driver, pel_work *work) {
    const pel_simulated_device *spec = driver->spec;
    driver->chunks++;
    double duration = launch_time(driver, work);
    if (spec->lost_at > 0 && driver->chunks >= spec->lost_at) {
        driver->lost = true;
        work->status = PEL_DEVICE_LOST; /* half way through */
        duration *= 0.5;
    } else if (driver->chunks == spec->fail_at) {
        work->status = PEL_DEVICE_FAILED;
    }
    work->launch_ended = after(work->launch_began, duration);
}

void pel_simulated_schedule(pel_simulated_driver *driver, pel_work *work) {
    work->status = PEL_OK;
    work->error = NULL;
    work->cold = false;
    if (work->kind == PEL_WORK_TASK) {
        work->began = work->launch_began = work->launch_ended = work->ended = driver->machine->now;
        return;
    }
    work->began = free_from(driver);
    if (driver->lost) {
        work->status = PEL_DEVICE_LOST;
        work->launch_began = work->launch_ended = work->ended = after(work->began, NOTICE_NS);
    } else {
        work->launch_began = after(work->began, transfer_time(driver, work->in, work->in_count));
        work->launch_ended = work->launch_began;
        if (work->kind == PEL_WORK_LAUNCH) {
            schedule_launch(driver, work);
        } else if (work->kind == PEL_WORK_LOOP) {
            double duration = (driver->spec->start_ns + 1e3 * (double)work->loop_count / driver->spec->rate) * luck(driver);
            work->launch_ended = after(work->launch_began, duration);
        }
        bool returns = work->status == PEL_OK;
        work->ended = returns ? after(work->launch_ended, transfer_time(driver, work->out, work->out_count)) : work->launch_ended;
    }
    driver->free_at = work->ended;
}
