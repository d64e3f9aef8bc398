/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rivals get what their papers ask the user for: static and HGuided the true speeds, the single device the right choice. Luck
 * comes from one stream per device and policy with the same seed, as in the runtime's own simulation.
 *
 * HGuided as in EngineCL (Nozal et al., FGCS 2020): a package of max(minimum, remaining x power / (k x sum of powers)) units, k =
 * 2, minimum by power, to the device that asks. EWMA as in Qilin-like schedulers without its training run: equal shares first,
 * then shares by smoothed units per time.
 */
#include "planner_policies.h"
#include "planner_learner.h"

#include "core/runtime.h"
#include "model/table.h"
#include "planner/plan.h"
#include <math.h>
#include <pel/pel.h>
#include <pel/simulated.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EWMA_NEW 0.3
#define HGUIDED_K 2.0
#define HGUIDED_LEAST 0.01 /* of the range, for a device of mean power */

const char *const pel_policy_names[PEL_POLICY_COUNT] = {"pel",     "best single", "static",   "EWMA",
                                                        "HGuided", "learner",     "knows all"};

/* --- the real one --- */

struct pel_real {
    pel_runtime *runtime;
    pel_kernel *kernel;
    pel_queue *queue;
    const pel_world *world;
};

static pel_status nothing(const pel_span *span, void *const *arguments, void *scratch, void *user) {
    (void)span;
    (void)arguments;
    (void)scratch;
    (void)user;
    return PEL_OK;
}

static double work_of(void *user, const char *device, const char *kernel, const pel_span *span) {
    const pel_world *world = user;
    (void)kernel;
    return pel_world_work(world, (uint32_t)(device[strlen(device) - 1] - '0'), span->global[0], span->lo[0], span->hi[0]);
}

static bool failed(const char *what, pel_status status, pel_error *error) {
    fprintf(stderr, "bench planner: %s: %s\n", what, error ? pel_error_message(error) : pel_status_text(status));
    pel_error_destroy(error);
    return false;
}

static void real_close(struct pel_real *real) {
    if (real) {
        (void)pel_queue_destroy(real->queue);
        (void)pel_kernel_destroy(real->kernel);
        (void)pel_runtime_destroy(real->runtime);
        free(real);
    }
}

static bool real_open(const pel_world *world, struct pel_real **out) {
    pel_simulation simulation = PEL_SIMULATION_INIT;
    pel_runtime_desc desc = PEL_RUNTIME_DESC_INIT;
    pel_program_desc program_desc = PEL_PROGRAM_DESC_INIT;
    pel_kernel_desc kernel_desc = PEL_KERNEL_DESC_INIT;
    pel_program *program = NULL;
    pel_error *error = NULL;
    struct pel_real *real = calloc(1, sizeof *real);
    if (!real) {
        return failed("runtime", PEL_OUT_OF_MEMORY, NULL);
    }
    real->world = world;
    simulation.seed = world->seed + 1;
    simulation.devices = world->devices;
    simulation.device_count = world->count;
    simulation.work = work_of;
    simulation.work_user = (void *)(uintptr_t)world;
    desc.simulation = &simulation;
    desc.devices = "!host";
    kernel_desc.name = "kernel";
    kernel_desc.host = nothing;
    kernel_desc.granularity = world->granularity;
    kernel_desc.flags = world->irregular ? PEL_KERNEL_IRREGULAR : 0;
    pel_status status = pel_runtime_create(&desc, &real->runtime, &error);
    status = status == PEL_OK ? pel_program_create(real->runtime, &program_desc, &program, &error) : status;
    status = status == PEL_OK ? pel_kernel_create(program, &kernel_desc, &real->kernel, &error) : status;
    (void)pel_program_destroy(program);
    status = status == PEL_OK ? pel_queue_create(real->runtime, NULL, &real->queue, &error) : status;
    if (status != PEL_OK) {
        real_close(real);
        return failed("runtime", status, error);
    }
    *out = real;
    return true;
}

/* Who works on what in a division without luck. */
typedef struct replay {
    const pel_world *world;
    double began; /* of the launch */
    uint64_t units;
    double now, since[PEL_WORLD_DEVICES], left[PEL_WORLD_DEVICES]; /* left: undisturbed ns */
    pel_tail *tail;                                                /* NULL: nothing is held back */
} replay;

static void replay_begin(replay *run, uint32_t device, uint64_t lo, uint64_t hi, double predicted_ns) {
    run->left[device] = pel_world_time(run->world, run->began, run->units, (pel_world_range){device, lo, hi});
    run->since[device] = run->now;
    if (run->tail) {
        const pel_tail_piece piece = {device, lo, hi, predicted_ns};
        pel_tail_begin(run->tail, &piece, run->now);
    }
}

static void replay_ask(replay *run, uint32_t device, bool must) {
    pel_tail_piece piece;
    if (run->tail && run->left[device] <= 0.0 && pel_tail_next(run->tail, device, run->now, must, &piece)) {
        replay_begin(run, device, piece.lo, piece.hi, piece.predicted_ns);
    }
}

/* Until the next chunk is over; false: none runs. */
static bool replay_step(replay *run) {
    double step = INFINITY, busy = 0.0;
    uint32_t first = 0;
    for (uint32_t i = 0; i < run->world->count; i++) {
        busy += run->left[i] > 0.0;
    }
    for (uint32_t i = 0; i < run->world->count; i++) {
        double needs = run->left[i] * (1.0 + run->world->devices[i].contention * (busy - 1.0));
        if (run->left[i] > 0.0 && needs < step) {
            step = needs;
            first = i;
        }
    }
    if (busy == 0.0) {
        return false;
    }
    for (uint32_t i = 0; i < run->world->count; i++) {
        double done = step / (1.0 + run->world->devices[i].contention * (busy - 1.0));
        run->left[i] = i == first ? 0.0 : fmax(0.0, run->left[i] - done);
    }
    run->now += step;
    if (run->tail) {
        pel_tail_end(run->tail, first, run->now - run->since[first]);
    }
    replay_ask(run, first, false);
    for (uint32_t i = 0; i < run->world->count; i++) {
        replay_ask(run, i, false);
    }
    if (busy == 1.0 && run->left[first] <= 0.0) { /* nobody else will */
        replay_ask(run, first, true);
    }
    return true;
}

/* What the plan would take without luck, its tail handed out by what happens then. */
static double without_luck(const pel_world *world, pel_plan *plan, double began, uint64_t units) {
    replay run = {.world = world, .began = began, .units = units, .tail = pel_plan_tail(plan)};
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        (void)pel_plan_get_chunk(plan, i, &chunk);
        replay_begin(&run, (uint32_t)(chunk.device[strlen(chunk.device) - 1] - '0'), chunk.lo, chunk.hi, chunk.predicted_ns);
    }
    while (replay_step(&run)) {
    }
    return run.now;
}

static uint32_t number_of(const pel_plan_chunk *chunk) {
    return (uint32_t)(chunk->device[strlen(chunk->device) - 1] - '0');
}

static uint32_t devices_of(const pel_plan *plan) {
    uint32_t devices = 0;
    for (uint32_t i = 0; i < pel_plan_chunk_count(plan); i++) {
        pel_plan_chunk chunk;
        (void)pel_plan_get_chunk(plan, i, &chunk);
        devices |= 1u << number_of(&chunk);
    }
    return devices;
}

static bool real_launch(pel_contestant *contestant, uint64_t units, pel_outcome *outcome) {
    struct pel_real *real = contestant->real;
    pel_launch_desc desc = PEL_LAUNCH_DESC_INIT;
    pel_event *event = NULL;
    pel_plan *plan = NULL;
    desc.global[0] = units;
    double began = (double)pel_runtime_now(real->runtime), ideal = 0.0;
    uint32_t devices = 0;
    bool held = false;
    pel_status status = pel_launch_plan(real->queue, real->kernel, &desc, NULL, 0, &plan);
    if (status == PEL_OK) { /* the same that the launch will follow: planning is pure */
        held = pel_plan_tail(plan) != NULL;
        devices = devices_of(plan);
        ideal = without_luck(real->world, plan, began, units);
        pel_plan_destroy(plan);
        plan = NULL;
        status = pel_launch(real->queue, real->kernel, &desc, NULL, 0, &event);
    }
    status = status == PEL_OK ? pel_queue_finish(real->queue) : status;
    status = status == PEL_OK ? pel_event_get_plan(event, &plan) : status;
    pel_event_release(event);
    if (status != PEL_OK) {
        return failed("launch", status, pel_queue_error(real->queue));
    }
    pel_lesson lesson = {.expected_ns = 0.0};
    pel_plan_into_lesson(plan, &lesson);
    *outcome = (pel_outcome){.ns = (double)pel_runtime_now(real->runtime) - began,
                             .ideal = ideal,
                             .exploring = lesson.expected_ns > 0.0 || strncmp(pel_plan_reason(plan), "learning", 8) == 0,
                             .chunks = pel_plan_chunk_count(plan),
                             .devices = devices,
                             .held = held};
    pel_plan_destroy(plan);
    return true;
}

bool pel_contestant_get_line(const pel_contestant *contestant, uint32_t device, pel_contestant_line *line) {
    const pel_runtime *runtime = contestant->real->runtime;
    const pel_model_entry *found = NULL;
    for (size_t i = 0; i < runtime->models->capacity; i++) {
        const pel_model_entry *entry = &runtime->models->entries[i];
        if (entry->fit.samples > 1 && entry->aspect == PEL_MODEL_BESIDE &&
            entry->key.device == runtime->devices[device].model_id) {
            found = entry;
        }
    }
    if (found) {
        const pel_cost cost = pel_fit_cost(&found->fit);
        *line = (pel_contestant_line){cost.start_ns, cost.unit_ns, found->companions};
    }
    return found != NULL;
}

bool pel_contestant_restart(pel_contestant *contestant) {
    struct pel_real *old = contestant->real, *fresh = NULL;
    pel_model_state state;
    size_t cursor = 0;
    if (!real_open(contestant->world, &fresh)) {
        return false;
    }
    while (pel_models_next(old->runtime->models, &cursor, &state)) {
        if (pel_models_restore(fresh->runtime->models, &state) != PEL_OK) {
            real_close(fresh);
            return failed("models", PEL_INVALID_ARGUMENT, NULL);
        }
    }
    real_close(old);
    contestant->real = fresh;
    return true;
}

/* --- the rivals --- */

static double with_luck(pel_contestant *contestant, double ideal, uint32_t device) {
    return ideal > 0.0 ? ideal * pel_simulated_luck(&contestant->world->devices[device], &contestant->luck[device]) : 0.0;
}

/* Shares by weights, in the order of the devices, in whole grains. */
static void divide(pel_contestant *contestant, uint64_t units, const double *weight, pel_outcome *outcome) {
    const pel_world *world = contestant->world;
    double ideal[PEL_WORLD_DEVICES] = {0.0}, lucky[PEL_WORLD_DEVICES] = {0.0}, sum = 0.0, before = 0.0;
    uint64_t lo = 0, grains = units / world->granularity;
    *outcome = (pel_outcome){.ns = 0.0};
    for (uint32_t i = 0; i < world->count; i++) {
        sum += weight[i];
    }
    for (uint32_t i = 0; i < world->count; i++) {
        before += weight[i];
        uint64_t hi = i + 1 == world->count ? units : world->granularity * (uint64_t)((double)grains * before / sum + 0.5);
        hi = hi < units ? hi : units;
        ideal[i] = pel_world_time(world, contestant->now, units, (pel_world_range){i, lo, hi});
        lucky[i] = with_luck(contestant, ideal[i], i);
        if (contestant->policy == PEL_POLICY_EWMA && hi > lo) {
            double rate = (double)(hi - lo) / lucky[i];
            contestant->rate[i] = contestant->rate[i] > 0.0 ? (1.0 - EWMA_NEW) * contestant->rate[i] + EWMA_NEW * rate : rate;
        }
        outcome->chunks += hi > lo;
        lo = hi;
    }
    outcome->ns = pel_world_together(world, lucky);
    outcome->ideal = pel_world_together(world, ideal);
}

static void shares(pel_contestant *contestant, uint64_t units, pel_outcome *outcome) {
    double weight[PEL_WORLD_DEVICES] = {0.0};
    for (uint32_t i = 0; i < contestant->world->count; i++) {
        weight[i] = contestant->policy == PEL_POLICY_SINGLE   ? (i == contestant->single ? 1.0 : 0.0)
                    : contestant->policy == PEL_POLICY_STATIC ? contestant->world->devices[i].rate
                    : contestant->rate[i] > 0.0               ? contestant->rate[i]
                                                              : 1.0;
    }
    divide(contestant, units, weight, outcome);
}

/* The best division of the world as it is, or as the learner thinks that it is. */
static void best_division(pel_contestant *contestant, uint64_t units, pel_outcome *outcome) {
    const pel_world *world = contestant->world;
    double ideal[PEL_WORLD_DEVICES] = {0.0}, lucky[PEL_WORLD_DEVICES] = {0.0};
    uint64_t edges[PEL_WORLD_DEVICES + 1];
    *outcome = (pel_outcome){.ns = 0.0};
    memcpy(edges, contestant->best, sizeof edges);
    if (contestant->learner) {
        (void)pel_world_divide(pel_learner_world(contestant->learner), contestant->now, units, edges);
    }
    for (uint32_t i = 0; i < world->count; i++) {
        ideal[i] = pel_world_time(world, contestant->now, units, (pel_world_range){i, edges[i], edges[i + 1]});
        lucky[i] = with_luck(contestant, ideal[i], i);
        if (contestant->learner && ideal[i] > 0.0) {
            pel_learner_see(contestant->learner, contestant->now, units, (pel_world_range){i, edges[i], edges[i + 1]}, lucky[i]);
        }
        outcome->chunks += edges[i + 1] > edges[i];
    }
    outcome->ns = pel_world_together(world, lucky);
    outcome->ideal = pel_world_together(world, ideal);
}

/* The next package of HGuided, in whole grains. */
static uint64_t package(const pel_world *world, uint32_t device, uint64_t units, uint64_t left) {
    double powers = 0.0;
    for (uint32_t i = 0; i < world->count; i++) {
        powers += world->devices[i].rate;
    }
    double power = world->devices[device].rate / powers, least = HGUIDED_LEAST * (double)units * power * world->count;
    double wanted = fmax(least, (double)left * power / HGUIDED_K);
    uint64_t size = (uint64_t)ceil(wanted / (double)world->granularity) * world->granularity;
    return size < left ? size : left;
}

/* Packages to whoever is free, with luck or without; the time until the last is over. */
static double hguided(pel_contestant *contestant, uint64_t units, bool lucky, uint32_t *packages) {
    const pel_world *world = contestant->world;
    double left[PEL_WORLD_DEVICES] = {0.0}, now = 0.0;
    for (uint64_t at = 0;;) {
        uint32_t busy = 0, first = 0;
        double step = INFINITY;
        for (uint32_t i = 0; i < world->count; i++) {
            if (left[i] <= 0.0 && at < units) {
                uint64_t size = package(world, i, units, units - at);
                left[i] = pel_world_time(world, contestant->now, units, (pel_world_range){i, at, at + size});
                left[i] = lucky ? with_luck(contestant, left[i], i) : left[i];
                at += size;
                ++*packages;
            }
            busy += left[i] > 0.0;
        }
        if (busy == 0) {
            return now;
        }
        for (uint32_t i = 0; i < world->count; i++) {
            double needs = left[i] * (1.0 + world->devices[i].contention * (double)(busy - 1));
            if (left[i] > 0.0 && needs < step) {
                step = needs;
                first = i;
            }
        }
        for (uint32_t i = 0; i < world->count; i++) {
            left[i] = i == first ? 0.0 : fmax(0.0, left[i] - step / (1.0 + world->devices[i].contention * (double)(busy - 1)));
        }
        now += step;
    }
}

bool pel_contestant_begin(pel_contestant *contestant, pel_policy policy, const pel_world *world) {
    *contestant = (pel_contestant){.policy = policy, .world = world};
    for (uint32_t i = 0; i < world->count; i++) {
        pel_simulated_seed(&contestant->luck[i], world->seed + 1, i + 1);
    }
    (void)pel_world_single(world, 0.0, world->units, &contestant->single);
    if (policy == PEL_POLICY_LEARNER && !(contestant->learner = pel_learner_create(world))) {
        return failed("learner", PEL_OUT_OF_MEMORY, NULL);
    }
    return policy != PEL_POLICY_PEL || real_open(world, &contestant->real);
}

bool pel_contestant_launch(pel_contestant *contestant, uint64_t units, pel_outcome *outcome) {
    if (contestant->policy == PEL_POLICY_PEL) {
        if (!real_launch(contestant, units, outcome)) {
            return false;
        }
    } else if (contestant->policy == PEL_POLICY_HGUIDED) {
        *outcome = (pel_outcome){.ideal = hguided(contestant, units, false, &(uint32_t){0})};
        outcome->ns = hguided(contestant, units, true, &outcome->chunks);
    } else if (contestant->policy == PEL_POLICY_KNOWS || contestant->policy == PEL_POLICY_LEARNER) {
        best_division(contestant, units, outcome);
    } else {
        shares(contestant, units, outcome);
    }
    contestant->now += outcome->ns;
    return true;
}

void pel_contestant_end(pel_contestant *contestant) {
    real_close(contestant->real);
    contestant->real = NULL;
    free(contestant->learner);
    contestant->learner = NULL;
}
