/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From whom a worker steals. What it takes from a neighbour is in a cache that both have, or at least in memory of its own node;
 * what it takes from another package comes over the link between them, as does every look into an empty deque there. So each
 * worker has a list of the others, the nearest first, and of a job's ranges a near one counts for more. Bound workers are where
 * they are bound. All others run where the system puts them, mostly where they ran before: each looks where it is when it wakes,
 * which is rare and dear anyway, and when somebody has moved far, or workers have become more or fewer, everybody makes a new
 * list at its next waking. A list is its owner's alone.
 *
 * Invariant: every list has everybody in it, so what is near decides when something is found and never whether. Rejected: keeping
 * unbound workers on the node of their number (binding is the caller's to ask for), and asking for the processor at each steal
 * (20 ns where a look at a deque takes 2).
 */
#include "backend/host/host.h"
#include "topology/core_set.h"

#include <sched.h>
#include <string.h>

enum { OUT_OF_SERVICE = PEL_PLACE_LEVELS + 1, FAR = 3 };

uint32_t pel_host_home_core(const pel_host_device *device, uint32_t worker) {
    const pel_device_info *info = &device->base.facts->info;
    uint32_t skip = info->cores_count > 0 ? worker % info->cores_count : 0;
    for (uint32_t core = 0; core < PEL_CORE_LIMIT; core++) {
        if (pel_core_set_has(&info->cores, core) && skip-- == 0) {
            return core;
        }
    }
    return PEL_CORE_LIMIT;
}

void pel_host_order_victims(uint16_t *list, uint32_t self, uint32_t workers, uint32_t runners, const uint8_t *distance) {
    uint32_t count = 0;
    for (uint32_t d = 0; d <= OUT_OF_SERVICE; d++) {
        for (uint32_t k = 0; k < workers; k++) {
            const uint32_t i = (self + k) % workers;
            if (i != self && distance[i] == d) {
                list[count++] = (uint16_t)i;
            }
        }
    }
    for (uint32_t i = workers; i < runners; i++) {
        if (i != self) {
            list[count++] = (uint16_t)i;
        }
    }
}

static uint32_t core_of(const pel_host_worker *worker) {
    return atomic_load_explicit(&((pel_host_worker *)(uintptr_t)worker)->core, memory_order_relaxed);
}

static void make_list(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    pel_host_tasks *tasks = &device->tasks;
    uint8_t distance[PEL_CORE_LIMIT];
    worker->moves_seen = atomic_load_explicit(&device->moves, memory_order_relaxed);
    for (uint32_t i = 0; i < device->worker_count; i++) {
        const pel_host_worker *other = &device->workers[i];
        distance[i] = pel_host_is_parked(other) ? OUT_OF_SERVICE
                                                : (uint8_t)pel_place_distance(device->places, core_of(worker), core_of(other));
    }
    pel_host_order_victims(tasks->victims + (size_t)worker->index * (tasks->runner_count - 1), worker->index,
                           device->worker_count, tasks->runner_count, distance);
}

/* Whether distances differ at all. */
static bool is_uneven(const pel_host_device *device) {
    uint32_t least = PEL_PLACE_LEVELS, most = 0;
    for (uint32_t i = 0; i < device->worker_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            const uint32_t distance =
                pel_place_distance(device->places, core_of(&device->workers[i]), core_of(&device->workers[k]));
            least = distance < least ? distance : least;
            most = distance > most ? distance : most;
        }
    }
    return most > least;
}

void pel_host_near_init(pel_host_device *device) {
    for (uint32_t i = 0; i < device->worker_count; i++) {
        atomic_init(&device->workers[i].core, pel_host_home_core(device, i));
    }
    device->places = device->base.facts->places;
    if (!device->places || !is_uneven(device)) {
        device->places = NULL;
        return;
    }
    for (uint32_t i = 0; i < device->worker_count; i++) {
        make_list(&device->workers[i]);
    }
}

void pel_host_near_look(pel_host_worker *worker) {
    pel_host_device *device = worker->device;
    if (!device->places) {
        return;
    }
    const int cpu = pel_host_is_bound(device) ? -1 : sched_getcpu();
    const uint32_t before = core_of(worker), now = cpu < 0 ? before : (uint32_t)cpu,
                   moved = now == before ? 0 : pel_place_distance(device->places, now, before);
    atomic_store_explicit(&worker->core, now, memory_order_relaxed);
    if (moved >= FAR) {
        atomic_fetch_add_explicit(&device->moves, 1, memory_order_relaxed);
    }
    if (moved > 0 || worker->moves_seen != atomic_load_explicit(&device->moves, memory_order_relaxed)) {
        make_list(worker);
    }
}

uint32_t pel_host_near_weight(const pel_host_worker *lane, const pel_host_worker *other) {
    const pel_places *places = lane->device->places;
    return places ? 1 + PEL_PLACE_LEVELS - pel_place_distance(places, core_of(lane), core_of(other)) : 1;
}
