/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtual machine: a clock, and the works that wait for it.
 *
 * Time stands still while programs compute and jumps to the next completion when somebody waits. Each device runs its works in
 * order (timing.c), so the next event is the soonest of a few queue heads: a scan instead of a heap, because a heap of
 * works would allocate in submit, which must not fail. Ties go to the device opened first, its tasks before its jobs. Invariant:
 * same description, seed and calls, same trace. Made for one thread; a lock keeps several from breaking it (they lose the
 * determinism, not the program): one delivers, the others wait for that.
 */
#include "backend/simulated/machine.h"
#include "backend/simulated/describe.h"
#include "backend/simulated/internal.h"
#include "base/hash.h"
#include "topology/core_set.h"
#include "topology/devices.h"

#include <string.h>

#define MEMORY_UNLIMITED (1ull << 46)
#define HOST_RATE 1000.0   /* items per microsecond of a host that nobody described: a core at a multiply-add per nanosecond */
#define HOST_START_NS 2000.0

static int64_t read_clock(void *state) {
    pel_machine *machine = state;
    pthread_mutex_lock(&machine->lock);
    int64_t now = machine->now;
    pthread_mutex_unlock(&machine->lock);
    return now;
}

uint32_t pel_machine_find(const pel_machine *machine, const char *id) {
    const char *name = strncmp(id, "sim:", 4) == 0 ? id + 4 : id;
    for (uint32_t i = 0; i < machine->spec_count; i++) {
        if (strcmp(machine->specs[i].name, name) == 0) {
            return i;
        }
    }
    return machine->spec_count;
}

/* The host first, described or not, then the devices in their order. */
static pel_status take_specs(pel_machine *machine, const pel_description *description, pel_error **error) {
    machine->specs = pel_alloc_zero(&machine->allocator, description->device_count + 1u, sizeof *machine->specs);
    if (machine->specs == NULL) {
        return pel_fail(error, &machine->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the simulated machine");
    }
    machine->specs[0] = (pel_simulated_device){.name = "host", .start_ns = HOST_START_NS, .rate = HOST_RATE};
    machine->spec_count = 1;
    for (uint32_t i = 0; i < description->device_count; i++) {
        bool is_host = strcmp(description->devices[i].name, "host") == 0;
        machine->specs[is_host ? 0 : machine->spec_count] = description->devices[i];
        machine->spec_count += !is_host;
    }
    machine->specs[0].core_group = PEL_SIMULATED_HOST_GROUP;
    return PEL_OK;
}

static pel_status describe(pel_machine *machine, const pel_simulation *simulation, pel_error **error) {
    pel_description description = {0};
    if (simulation->size != 0 && simulation->size != sizeof *simulation) {
        return pel_fail(error, &machine->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_simulation.size is %zu; this library knows %zu", simulation->size, sizeof *simulation);
    }
    pel_status status =
        simulation->path != NULL
            ? pel_description_read(&machine->allocator, simulation->path, &description, error)
            : pel_description_copy(&machine->allocator, simulation->devices, simulation->device_count, &description, error);
    if (status == PEL_OK) {
        machine->seed = simulation->seed != 0 ? simulation->seed : description.seed;
        machine->work = simulation->work;
        machine->work_user = simulation->work_user;
        status = take_specs(machine, &description, error);
    }
    pel_free(&machine->allocator, description.devices);
    return status;
}

/* The table: rows as discovery would find them on such a machine. */
typedef struct simulated_topology {
    pel_topology topology;
    pel_keep keep;
} simulated_topology;

/* A device of another description is another device to the cost models' history. */
static uint64_t description_of(const pel_simulated_device *spec) {
    const double numbers[] = {spec->start_ns,
                              spec->rate,
                              spec->noise,
                              spec->spike_chance,
                              spec->spike_factor,
                              (double)spec->memory_bytes,
                              spec->link_bytes_per_ns,
                              spec->link_latency_ns,
                              (double)spec->slow_after,
                              spec->slow_factor,
                              (double)spec->core_group,
                              spec->knee_items,
                              spec->cliff_items,
                              spec->cliff_factor,
                              spec->spike_factor_most,
                              spec->noise_memory,
                              (double)spec->slow_until,
                              spec->drift,
                              spec->drift_period_ns,
                              spec->contention};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint64_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        hash = pel_mix_u64(hash, bits);
    }
    return hash;
}

static void fill_row(const pel_simulated_device *spec, bool is_host, pel_keep *keep, pel_topology_device *row,
                     pel_candidate *candidate) {
    pel_device_info *info = &row->info;
    bool shared = is_host || spec->link_bytes_per_ns <= 0.0, on_cores = shared && spec->core_group != 0;
    info->id = pel_keep_format(keep, is_host ? "%s" : "sim:%s", spec->name);
    info->name = pel_keep_bytes(keep, spec->name, strlen(spec->name));
    info->vendor = "pel";
    info->platform = "simulation";
    info->driver = pel_keep_format(keep, "description %016llx", (unsigned long long)description_of(spec));
    info->identity = pel_keep_format(keep, "name:%s", spec->name);
    info->kind = is_host ? PEL_DEVICE_HOST : PEL_DEVICE_SIMULATED;
    info->device_class = on_cores ? PEL_CLASS_HOST_CPU : shared ? PEL_CLASS_INTEGRATED : PEL_CLASS_DISCRETE;
    info->compute_units = 1;
    if (spec->core_group != 0) {
        pel_core_set_add(&info->cores, spec->core_group - 1); /* one invented core per group */
        info->cores_count = 1;
    }
    info->numa_node = -1;
    info->memory_bytes = info->max_allocation_bytes = spec->memory_bytes != 0 ? spec->memory_bytes : MEMORY_UNLIMITED;
    info->max_work_group = 4096;
    info->local_memory_bytes = 1u << 20;
    info->address_bits = (uint32_t)(8 * sizeof(void *));
    info->shares_host_memory = shared;
    info->supports_double = 1;
    row->busy_watts = spec->busy_watts;
    row->idle_watts = spec->idle_watts;
    row->host_coherent = shared;
    row->view_alignment = spec->view_alignment;
    row->why_not = "";
    *candidate = (pel_candidate){.type = is_host ? PEL_TYPE_HOST : on_cores ? PEL_TYPE_CPU : PEL_TYPE_GPU,
                                 .driver_units = 1,
                                 .same_as = PEL_NO_DEVICE_INDEX};
}

static pel_status select_all(pel_topology *topology, pel_error **error) {
    topology->selection = pel_alloc_zero(topology->allocator, topology->device_count, sizeof *topology->selection);
    if (topology->selection == NULL) {
        return pel_fail(error, topology->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the simulated machine");
    }
    for (uint32_t i = 0; i < topology->device_count; i++) {
        topology->selection[topology->selection_count++] = i;
        topology->devices[i].selected = true;
    }
    return PEL_OK;
}

static pel_status select_listed(pel_topology *topology, pel_keep *keep, const pel_candidate *candidates, const char *text,
                                pel_error **error) {
    pel_device_list list;
    pel_device_choice *choices = NULL;
    uint32_t count = 0;
    const pel_device_table table = {topology->devices, candidates, topology->device_count, &topology->budget_cores};
    pel_status status = pel_device_list_parse(text, "the device list", topology->allocator, &list, error);
    if (status == PEL_OK) {
        status = pel_device_list_select(&list, &table, &choices, &count, error);
    }
    topology->selection = status == PEL_OK ? pel_alloc_zero(topology->allocator, count, sizeof *topology->selection) : NULL;
    if (status == PEL_OK && topology->selection == NULL) {
        status = pel_fail(error, topology->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the simulated machine");
    }
    for (uint32_t i = 0; i < count && status == PEL_OK; i++) {
        if (choices[i].declared) {
            status = pel_fail(
                error, topology->allocator, PEL_UNSUPPORTED, &(pel_story){.advice = "use core_group in the description"},
                "%s: a simulated machine's core sets are given by its description", topology->devices[choices[i].device].info.id);
        }
        pel_device_options_apply(&choices[i].options, &topology->devices[choices[i].device]);
        topology->devices[choices[i].device].selected = true;
        topology->selection[topology->selection_count++] = choices[i].device;
    }
    for (uint32_t i = 0; i < topology->device_count && status == PEL_OK; i++) {
        if (!topology->devices[i].selected) {
            topology->devices[i].why_not = pel_device_list_why_not(&list, &table, i, keep);
        }
    }
    pel_free(topology->allocator, choices);
    pel_device_list_free(&list);
    return status;
}

static pel_status make_topology(const pel_machine *machine, const pel_allocator *allocator, const char *device_list,
                                pel_topology **topology, pel_error **error) {
    simulated_topology *made = pel_alloc_zero(allocator, 1, sizeof *made);
    pel_candidate *candidates = pel_alloc_zero(allocator, machine->spec_count, sizeof *candidates);
    pel_topology_device *rows = pel_alloc_zero(allocator, machine->spec_count, sizeof *rows);
    if (made == NULL || candidates == NULL || rows == NULL) {
        pel_free(allocator, made);
        pel_free(allocator, candidates);
        pel_free(allocator, rows);
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the simulated machine's devices");
    }
    pel_keep_init(&made->keep, allocator);
    made->topology = (pel_topology){.allocator = allocator,
                                    .devices = rows,
                                    .device_count = machine->spec_count,
                                    .memory_available = MEMORY_UNLIMITED,
                                    .state = &made->keep};
    for (uint32_t i = 0; i < machine->spec_count; i++) {
        fill_row(&machine->specs[i], i == 0, &made->keep, &rows[i], &candidates[i]);
        pel_core_set_unite(&made->topology.budget_cores, &rows[i].info.cores);
    }
    made->topology.budget_count = pel_core_set_count(&made->topology.budget_cores);
    pel_status status = device_list == NULL ? select_all(&made->topology, error)
                                            : select_listed(&made->topology, &made->keep, candidates, device_list, error);
    if (status == PEL_OK && made->keep.failed) {
        status = pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the simulated machine's devices");
    }
    pel_free(allocator, candidates);
    if (status != PEL_OK) {
        pel_topology_destroy(&made->topology);
        return status;
    }
    *topology = &made->topology;
    return PEL_OK;
}

pel_status pel_machine_create(const pel_allocator *allocator, const pel_simulation *description, const char *device_list,
                              pel_machine **machine, pel_topology **topology, pel_error **error) {
    pel_machine *made = pel_alloc_zero(allocator, 1, sizeof *made);
    if (made == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the simulated machine");
    }
    made->allocator = *allocator;
    made->alarm = INT64_MAX;
    made->clock = (pel_clock){.now = read_clock, .state = made};
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->delivered, NULL);
    pel_status status = describe(made, description, error);
    if (status == PEL_OK) {
        status = make_topology(made, allocator, device_list, topology, error);
    }
    if (status != PEL_OK) {
        pel_machine_destroy(made);
        return status;
    }
    *machine = made;
    return PEL_OK;
}

void pel_machine_destroy(pel_machine *machine) {
    if (machine != NULL) {
        pel_allocator allocator = machine->allocator;
        pthread_cond_destroy(&machine->delivered);
        pthread_mutex_destroy(&machine->lock);
        pel_free(&allocator, machine->events);
        pel_free(&allocator, machine->specs);
        pel_free(&allocator, machine);
    }
}

void pel_machine_alarm(pel_machine *machine, int64_t when, void (*ring)(void *user), void *user) {
    pthread_mutex_lock(&machine->lock);
    machine->alarm = when == INT64_MAX || when < machine->alarm ? when : machine->alarm;
    machine->ring = ring;
    machine->ring_user = user;
    pthread_mutex_unlock(&machine->lock);
}

void pel_machine_release(pel_machine *machine) {
    pthread_mutex_lock(&machine->lock);
    for (pel_simulated_driver *at = machine->drivers; at != NULL; at = at->next) {
        if (at->jobs.first != NULL && at->running && at->jobs.first->ended == PEL_SIMULATED_NEVER) {
            at->jobs.first->ended = at->jobs.first->launch_ended = machine->now;
            pel_simulated_changed(at);
        }
    }
    pthread_mutex_unlock(&machine->lock);
}

const pel_clock *pel_machine_clock(pel_machine *machine) { return &machine->clock; }

/* Advances the clock to the end of the soonest work and takes that out of its lane. NULL: nothing waits, or *rings: the alarm
 * is sooner. */
static pel_work *take_next(pel_machine *machine, pel_simulated_driver **driver, bool *rings) {
    pel_simulated_driver *next = pel_simulated_soonest(machine);
    *rings = machine->alarm != INT64_MAX && (next == NULL || machine->alarm < next->event);
    if (*rings) {
        machine->now = machine->alarm > machine->now ? machine->alarm : machine->now;
        machine->alarm = INT64_MAX;
    }
    if (*rings || next == NULL) {
        return NULL;
    }
    const bool is_task = next->tasks.first != NULL && next->tasks.first->ended == next->event; /* before jobs of that moment */
    pel_simulated_lane *lane = is_task ? &next->tasks : &next->jobs;
    pel_work *work = lane->first;
    *driver = next;
    machine->now = work->ended > machine->now ? work->ended : machine->now;
    machine->running -= is_task ? 0u : 1u;
    next->running = next->running && is_task;
    lane->first = work->next;
    if (lane->first == NULL) {
        lane->last = NULL;
    }
    work->next = NULL;
    pel_simulated_changed(next);
    pel_simulated_settle(machine);
    return work;
}

bool pel_machine_advance(pel_machine *machine) {
    pel_simulated_driver *driver = NULL;
    pel_work *work = NULL;
    pthread_mutex_lock(&machine->lock);
    if (machine->delivering && pthread_equal(machine->deliverer, pthread_self())) {
        /* From inside a task or a completion: time cannot go on before that returns. */
        pthread_mutex_unlock(&machine->lock);
        return false;
    }
    bool waited = machine->delivering;
    while (machine->delivering) {
        pthread_cond_wait(&machine->delivered, &machine->lock);
    }
    bool rings = false;
    if (!waited) {
        work = take_next(machine, &driver, &rings);
    }
    if (work == NULL && !rings) {
        pthread_mutex_unlock(&machine->lock);
        return waited; /* another thread made progress meanwhile: look again */
    }
    machine->delivering = true;
    machine->deliverer = pthread_self();
    pthread_mutex_unlock(&machine->lock);
    if (rings) {
        machine->ring(machine->ring_user);
    } else {
        pel_simulated_execute(driver, work);
        work->complete(work);
    }
    pthread_mutex_lock(&machine->lock);
    if (!rings) {
        driver->pending--;
    }
    pel_simulated_settle(machine); /* the completion may have opened gates */
    machine->delivering = false;
    pthread_cond_broadcast(&machine->delivered);
    pthread_mutex_unlock(&machine->lock);
    return true;
}
