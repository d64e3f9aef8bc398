/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One job on all free workers. The problem: regular loops want one contiguous range per worker and no overhead, irregular ones
 * want to be rebalanced, and nobody says which is which; a worker may also come late (it slept, or runs a task) or never. So
 * ranges are dealt out to all workers, present or not, and whoever has nothing steals the back half of the fullest range. A range
 * is two 32-bit numbers in one word, so claiming and stealing are single compare-and-swaps, and the word alone decides: a late
 * swap on a range that has come back to the same value is as good as a timely one. Invariant: every unit is in a range, or
 * claimed by a worker that is inside the gate. Workers leave only after they saw all ranges empty (or a failure), so whoever
 * leaves last ends the job. Rejected: a shared counter (one contended line, pieces of one worker scattered over memory) and
 * OpenMP's static schedule (no rebalancing).
 */
#include "backend/host/host.h"

#include "base/checked.h"
#include "base/thread_local.h"

#include <sched.h>
#include <string.h>

/*
 * What a piece should take. A piece of nothing takes 0.11 us (clock, swap, call; 2 workers, 2026-11), so overhead allows short
 * ones; but a host function keeps in its caches what a whole piece shares (matmul: a panel of B), so regular ones are long. The
 * last pieces are what the others wait for: towards the end of a range they shrink to 1/32.
 */
static const int64_t piece_ns = 1000000, irregular_piece_ns = 20000;
/* The first piece of a range is this part of it, to learn the speed. */
enum { FIRST_PIECE = 256, GROWTH = 8, SHRINK = 32, RESCANS = 3 };
/*
 * A piece reads what is declared `whole` anew, from beyond the core's own cache when that is large: a piece takes at least this
 * many times what that costs at 10 bytes per nanosecond (matmul, n = 640: B has 1.6 MB and a second-level cache 1.25 MB; six
 * pieces instead of one took 1.15 times as long).
 */
enum { WHOLE_READS = 50, WHOLE_RATE = 10 };
/* In place of the reserve a guest usually comes at once (it launches, then waits). Whoever begins the job waits a moment for
 * it, then works in short pieces until the reserve is called. */
static const int64_t guest_arrival_ns = 5000, guest_grace_ns = 50000;
/* Waking a sleeper costs its waker 10-19 us, and it comes 20-40 us later (see workers.c): shorter jobs are done by whoever is
 * awake. */
static const double worth_waking_ns = 20000.0;

static uint64_t pack(uint32_t lo, uint32_t hi) {
    return (uint64_t)hi << 32 | lo;
}
static uint32_t range_lo(uint64_t range) {
    return (uint32_t)range;
}
static uint32_t range_hi(uint64_t range) {
    return (uint32_t)(range >> 32);
}
static uint32_t range_count(uint64_t range) {
    return range_hi(range) > range_lo(range) ? range_hi(range) - range_lo(range) : 0;
}

/* How fast the worker's pieces of this job are. */
typedef struct pace {
    int64_t target, last;
    uint32_t piece; /* units to claim next */
    uint32_t least; /* not worth cutting further */
} pace;

static void pace_learn(pace *speed, uint32_t done, int64_t now) {
    int64_t took = now - speed->last > 0 ? now - speed->last : 1;
    uint64_t wanted = pel_muldiv_u64(done, (uint64_t)speed->target, (uint64_t)took), most = (uint64_t)done * GROWTH;
    wanted = wanted < most ? wanted : most;
    speed->piece = wanted < 1 ? 1 : wanted > UINT32_MAX ? UINT32_MAX : (uint32_t)wanted;
    speed->last = now;
}

/* Claims from the front of the worker's own range. Towards its end pieces shrink, to leave something to steal. */
static uint32_t claim(pel_host_worker *lane, const pace *speed, uint32_t most, uint32_t *lo) {
    uint64_t range = atomic_load_explicit(&lane->range, memory_order_relaxed);
    for (;;) {
        uint32_t left = range_count(range), count = speed->piece < left / 2 ? speed->piece : left / 2;
        count = count > speed->piece / SHRINK ? count : speed->piece / SHRINK;
        count = count > speed->least ? count : speed->least;
        count = count < most ? count : most;
        count = lane->device->job.lanes == 1 || count > left ? left : count < 1 ? 1 : count;
        if (left == 0) {
            return 0;
        }
        *lo = range_lo(range);
        if (atomic_compare_exchange_weak_explicit(&lane->range, &range, pack(*lo + count, range_hi(range)),
                                                  memory_order_acq_rel, memory_order_relaxed)) {
            return count;
        }
    }
}

/* Moves the back half of the fullest range, where near ones count for more, to the worker's own, empty one. False: all ranges
 * are empty. */
static bool steal(pel_host_worker *lane) {
    pel_host_device *device = lane->device;
    for (;;) {
        pel_host_worker *victim = NULL;
        uint64_t best = 0, most = 0;
        for (uint32_t i = 1; i < device->worker_count; i++) {
            pel_host_worker *other = &device->workers[(lane->index + i) % device->worker_count];
            uint64_t range = atomic_load_explicit(&other->range, memory_order_relaxed);
            const uint64_t worth = range_count(range) > 0 ? (uint64_t)range_count(range) * pel_host_near_weight(lane, other) : 0;
            if (worth > most) {
                victim = other;
                best = range;
                most = worth;
            }
        }
        if (victim == NULL) {
            return false;
        }
        uint32_t lo = range_lo(best), hi = range_hi(best), middle = lo + (hi - lo) / 2;
        if (atomic_compare_exchange_strong_explicit(&victim->range, &best, pack(lo, middle), memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            atomic_store_explicit(&lane->range, pack(middle, hi), memory_order_release);
            return true;
        }
    }
}

static const char *work_name(const pel_work *work) {
    return work->kind == PEL_WORK_LAUNCH ? work->kernel->name : "";
}

/* The first failure wins; it is visible to whoever ends the job through the gate. */
static void fail(pel_host_worker *lane, pel_status returned, pel_status status) {
    pel_host_device *device = lane->device;
    pel_work *work = device->job.work;
    if (atomic_exchange(&device->job.failed, true)) {
        return;
    }
    pel_story story = {.device = device->base.facts->info.id};
    if (status == PEL_TASK_FAILED) {
        story.code = (int64_t)returned;
        story.advice = "the function itself reported this; see what it does for these items";
        work->status = pel_fail(&work->error, device->env->allocator, status, &story,
                                "the host function of %s %s returned %s (%s)", work->kind == PEL_WORK_LOOP ? "a loop" : "kernel",
                                work_name(work), pel_status_name(returned), pel_status_text(returned));
    } else {
        story.advice = "use less scratch, local or private memory, or fewer host workers";
        work->status = pel_fail(&work->error, device->env->allocator, status, &story,
                                "no memory for a worker's scratch, local memory and private copies of kernel %s (%zu bytes)",
                                work_name(work), device->job.arena_bytes);
    }
}

static pel_status run_units(pel_host_worker *lane, pel_host_job *job, uint32_t lo, uint32_t count) {
    pel_work *work = job->work;
    if (work->kind == PEL_WORK_LAUNCH) {
        return pel_host_launch_units(lane, work, &job->units, lo, lo + count);
    }
    uint64_t begin = lo * job->units.step;
    uint64_t end = lo + count == job->units.count ? work->loop_count : begin + count * job->units.step;
    return work->loop(begin, end, work->context);
}

static uint64_t whole_bytes(const pel_work *work) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; work->kind == PEL_WORK_LAUNCH && i < work->kernel->param_count; i++) {
        const pel_param_kind kind = work->kernel->params[i].kind;
        const bool whole = kind == PEL_PARAM_KIND_WHOLE || kind == PEL_PARAM_KIND_POINTER;
        bytes += whole && work->args[i].kind == PEL_WORK_ARG_MEM && work->args[i].bytes < UINT64_MAX / 2 - bytes
                     ? work->args[i].bytes
                     : 0;
    }
    return bytes;
}

/* How to begin: with a small part, to learn the speed, or, when the models predict it, with half the lane's range. */
static pace pace_begin(const pel_host_device *device) {
    const pel_host_job *job = &device->job;
    const pel_work *work = job->work;
    bool irregular = work->kind == PEL_WORK_LAUNCH && (work->kernel->flags & PEL_KERNEL_IRREGULAR) != 0;
    uint32_t share = job->units.count / job->lanes;
    pace speed = {irregular ? irregular_piece_ns : piece_ns, 0, share / FIRST_PIECE, 1};
    if (!irregular && work->predicted_ns > 0.0) {
        double per_unit = work->predicted_ns * job->lanes / job->units.count;
        double least = WHOLE_READS / (double)WHOLE_RATE * (double)whole_bytes(work) / per_unit;
        speed.piece = share;
        speed.least = least < share ? (uint32_t)least : share + 1;
    }
    return speed;
}

/* How many units may be claimed now. While nobody has the last lane, few at a time, and after a while the reserve is called. */
static uint32_t most_now(pel_host_worker *lane, const pace *speed) {
    pel_host_job *job = &lane->device->job;
    if (pel_host_is_last(lane) || !atomic_load_explicit(&job->last_lane_free, memory_order_relaxed) ||
        atomic_load_explicit(&job->reserve_called, memory_order_relaxed)) {
        return UINT32_MAX;
    }
    if (pel_clock_now(&pel_clock_monotonic) - job->opened > guest_grace_ns) {
        if (!atomic_exchange(&job->reserve_called, true)) {
            pel_host_wake_reserve(lane->device);
        }
        return UINT32_MAX;
    }
    const pel_work *work = job->work;
    if (work->predicted_ns <= 0.0) {
        return UINT32_MAX; /* pieces are small at first anyway */
    }
    double units = (double)guest_grace_ns * job->units.count / (work->predicted_ns * job->lanes);
    return units < 1.0 ? 1 : units < speed->piece ? (uint32_t)units : UINT32_MAX;
}

static PEL_THREAD_LOCAL const pel_host_piece *pieces;

void pel_host_piece_enter(pel_host_piece *piece, const pel_backend_device *device) {
    *piece = (pel_host_piece){pieces, device};
    pieces = piece;
}

void pel_host_piece_leave(const pel_host_piece *piece) { pieces = piece->outer; }

bool pel_host_in_piece(const pel_backend_device *device) {
    const pel_host_piece *piece = pieces;
    while (piece && piece->device != device) {
        piece = piece->outer;
    }
    return piece != NULL;
}

/* Runs pieces until nothing is left to claim or steal. */
static void work_off(pel_host_worker *lane) {
    pel_host_device *device = lane->device;
    pel_host_job *job = &device->job;
    const uint64_t generation = atomic_load_explicit(&job->generation, memory_order_relaxed);
    pace speed = pace_begin(device);
    for (int empty = 0; empty < RESCANS && !atomic_load_explicit(&job->failed, memory_order_relaxed);) {
        uint32_t lo, count = claim(lane, &speed, most_now(lane, &speed), &lo);
        if (count == 0) {
            empty = steal(lane) ? 0 : empty + 1;
            continue;
        }
        if (job->work->kind == PEL_WORK_LAUNCH && lane->prepared != generation) {
            if (!pel_host_arena_prepare(lane, job->work, job->arena_bytes)) {
                fail(lane, PEL_OUT_OF_MEMORY, PEL_OUT_OF_MEMORY);
                break;
            }
            lane->prepared = generation;
        }
        if (speed.last == 0) {
            speed.last = pel_clock_now(&pel_clock_monotonic);
        }
        pel_host_piece piece;
        pel_host_piece_enter(&piece, &device->base);
        pel_status status = run_units(lane, job, lo, count);
        pel_host_piece_leave(&piece);
        if (status != PEL_OK) {
            fail(lane, status, PEL_TASK_FAILED);
            break;
        }
        pace_learn(&speed, count, pel_clock_now(&pel_clock_monotonic));
    }
}

/* Of those that took part; whatever their scratch, local and private memory held. */
static void wipe_arenas(pel_host_device *device, uint64_t generation) {
    for (uint32_t w = 0; w < device->worker_count; w++) {
        if (device->workers[w].prepared == generation) {
            pel_wipe(device->workers[w].arena, device->workers[w].arena_bytes);
        }
    }
}

/* Leaves the gate; the last one out closes it and ends the job. */
static bool leave(pel_host_worker *lane) {
    pel_host_device *device = lane->device;
    pel_host_job *job = &device->job;
    if (atomic_fetch_sub_explicit(&job->gate, 1, memory_order_acq_rel) != (PEL_HOST_OPEN | 1u)) {
        return false;
    }
    unsigned open = PEL_HOST_OPEN;
    if (!atomic_compare_exchange_strong_explicit(&job->gate, &open, 0, memory_order_acq_rel, memory_order_relaxed)) {
        return false; /* somebody came in; it will be the last */
    }
    pel_work *work = job->work;
    work->launch_ended = pel_clock_now(device->env->clock);
    if (work->kind == PEL_WORK_LAUNCH && work->status == PEL_OK) {
        pel_host_fold_private(device, work, atomic_load_explicit(&job->generation, memory_order_relaxed));
    }
    if (work->kind == PEL_WORK_LAUNCH && work->sensitive) {
        wipe_arenas(device, atomic_load_explicit(&job->generation, memory_order_relaxed));
    }
    return true;
}

bool pel_host_job_join(pel_host_worker *lane, bool guest, uint64_t *seen, bool *ended) {
    pel_host_job *job = &lane->device->job;
    *ended = false;
    unsigned gate = atomic_load_explicit(&job->gate, memory_order_relaxed);
    if (atomic_load_explicit(&job->generation, memory_order_relaxed) == *seen) {
        return false;
    }
    do {
        if ((gate & PEL_HOST_OPEN) == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&job->gate, &gate, gate + 1, memory_order_acq_rel, memory_order_relaxed));
    *seen = atomic_load_explicit(&job->generation, memory_order_relaxed);
    const bool mine = !(guest && job->work->alone) && /* inside the gate, so it is this job's */
                      (!pel_host_is_last(lane) || atomic_exchange_explicit(&job->last_lane_free, false, memory_order_acq_rel));
    if (mine) {
        work_off(lane);
    }
    *ended = leave(lane);
    return mine || *ended;
}

/* Whether there is anything to share out; sets the units. */
static bool prepare(pel_host_device *device, pel_work *work) {
    pel_host_job *job = &device->job;
    memset(&job->units, 0, sizeof job->units);
    if (work->kind == PEL_WORK_LOOP) {
        pel_host_units_of_loop(work->loop_count, work->loop_grain, &job->units);
        return job->units.count > 0;
    }
    if (work->kind != PEL_WORK_LAUNCH) {
        return false;
    }
    pel_story story = {.device = device->base.facts->info.id};
    if (work->kernel->host == NULL && work->kernel->host_group == NULL) {
        story.advice = "give the kernel a host function, or leave the host out of the device list";
        work->status = pel_fail(&work->error, device->env->allocator, PEL_UNSUPPORTED, &story, "kernel %s has no host variant",
                                work->kernel->name);
        return false;
    }
    if (!pel_host_arena_bytes(work, &job->arena_bytes)) {
        work->status = pel_fail(&work->error, device->env->allocator, PEL_OUT_OF_MEMORY, &story,
                                "scratch, local and private memory of kernel %s exceed the address space", work->kernel->name);
        return false;
    }
    if (pel_host_units_of_launch(&work->span, job->lanes, work->kernel->host == NULL, &job->units) != PEL_OK) {
        work->status =
            pel_fail(&work->error, device->env->allocator, PEL_INVALID_ARGUMENT, &story,
                     "the span of kernel %s has no dimensions or splits along one that it does not have", work->kernel->name);
        return false;
    }
    return job->units.count > 0;
}

/* Deals the units out and lets others in. */
static void open_job(pel_host_worker *lane) {
    pel_host_device *device = lane->device;
    pel_host_job *job = &device->job;
    const uint32_t lanes = job->lanes;
    for (uint32_t i = 0; i < device->worker_count; i++) { /* the last worker, who always stays, has the last lane */
        const uint32_t place = i + 1 == device->worker_count ? lanes - 1 : i < lanes - 1 ? i : lanes;
        const uint32_t lo = (uint32_t)((uint64_t)job->units.count * place / lanes),
                       hi = place == lanes ? lo : (uint32_t)((uint64_t)job->units.count * (place + 1) / lanes);
        atomic_store_explicit(&device->workers[i].range, pack(lo, hi), memory_order_relaxed);
    }
    atomic_store_explicit(&job->failed, false, memory_order_relaxed);
    atomic_store_explicit(&job->last_lane_free, !pel_host_is_last(lane), memory_order_relaxed);
    const bool no_guests = job->work->alone || !atomic_load_explicit(&device->guests, memory_order_relaxed);
    atomic_store_explicit(&job->reserve_called, no_guests, memory_order_relaxed);
    job->opened = job->work->launch_began;
    atomic_store_explicit(&job->cpu, sched_getcpu(), memory_order_relaxed);
    atomic_fetch_add_explicit(&job->generation, 1, memory_order_relaxed);
    atomic_store_explicit(&job->gate, PEL_HOST_OPEN | 1u, memory_order_release);
}

/* Others are told, and a guest is given the moment that it needs to arrive. */
static void call_others(pel_host_worker *lane) {
    pel_host_device *device = lane->device;
    pel_host_job *job = &device->job;
    const bool short_job = job->work->predicted_ns > 0.0 && job->work->predicted_ns < worth_waking_ns;
    if (job->lanes == 1 || job->units.count == 1 || short_job) {
        return;
    }
    pel_host_wake_for_job(device, lane);
    if (job->work->alone) { /* who was woken may be queued on this core while the waiter's is idle: let it go there */
        (void)sched_yield();
    }
    while (!atomic_load_explicit(&job->reserve_called, memory_order_relaxed) &&
           atomic_load_explicit(&job->last_lane_free, memory_order_relaxed) &&
           pel_clock_now(&pel_clock_monotonic) - job->opened < guest_arrival_ns) {
    }
}

bool pel_host_job_run(pel_host_worker *lane, uint64_t *seen, pel_work *work) {
    pel_host_device *device = lane->device;
    pel_host_job *job = &device->job;
    work->began = work->launch_began = pel_clock_now(device->env->clock);
    atomic_store_explicit(&work->started, work->began, memory_order_relaxed);
    job->work = work;
    job->lanes = atomic_load_explicit(&device->active, memory_order_relaxed);
    if (!prepare(device, work)) {
        work->launch_ended = work->launch_began;
        return true;
    }
    open_job(lane);
    *seen = atomic_load_explicit(&job->generation, memory_order_relaxed);
    call_others(lane);
    work_off(lane);
    return leave(lane);
}
