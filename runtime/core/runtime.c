/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making and destroying a runtime: discovery, then one open driver per selected device.
 *
 * A runtime is wholly real or wholly virtual: with a simulation, the clock, the device table and every driver come from the
 * simulated machine and nothing of the real one is asked. A device that does not open is left out with a warning, unless the
 * caller named the devices: then it is an error, because silently using others would not be what was asked for.
 */
#include "core/runtime.h"
#include "backend/backends.h"
#include "backend/interop.h"
#include "backend/simulated/machine.h"
#include "base/hash.h"
#include "base/text.h"
#include "core/cache_directory.h"
#include "core/energy.h"
#include "core/metering.h"
#include "core/lessons.h"
#include "core/verification.h"
#include "kernel/kernel.h"
#include "memory/places.h"
#include "topology/adoption.h"
#include "topology/power.h"
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

pel_status pel_runtime_check(const pel_runtime *runtime, pel_error **error) {
    if (runtime->fork_mark ? *runtime->fork_mark == 1 : runtime->pid == getpid()) {
        return PEL_OK;
    }
    pel_story story = {.advice = "make the runtime in the child; OpenCL drivers and threads do not survive fork"};
    return pel_fail(error, &pel_allocator_default, PEL_AFTER_FORK, &story, "this runtime was made by process %ld, before a fork",
                    (long)runtime->pid);
}

static const volatile unsigned char *mark_process(void) {
    unsigned char *mark = pel_pages_alloc(1);
    if (mark && madvise(mark, 1, MADV_WIPEONFORK) != 0) { /* Linux before 4.14 */
        pel_pages_free(mark, 1);
        return NULL;
    }
    if (mark) {
        *mark = 1;
    }
    return mark;
}

uint64_t pel_runtime_next_id(pel_runtime *runtime) { return atomic_fetch_add(&runtime->next_id, 1) + 1; }

static uint64_t model_id_of(const pel_topology_device *facts) {
    pel_sha256 sha;
    uint8_t digest[32];
    uint64_t id;
    pel_sha256_init(&sha);
    pel_sha256_text(&sha, facts->info.platform);
    pel_sha256_text(&sha, facts->info.name);
    pel_sha256_text(&sha, facts->info.driver);
    pel_sha256_text(&sha, facts->info.id);
    pel_sha256_update(&sha, &facts->info.compute_units, sizeof facts->info.compute_units);
    if (facts->outside) {
        pel_sha256_text(&sha, "outside"); /* a launch costs more there */
    }
    pel_sha256_final(&sha, digest);
    memcpy(&id, digest, sizeof id);
    return id;
}

static bool shares_cores(const pel_device *a, const pel_device *b) {
    for (size_t i = 0; i < PEL_CORE_LIMIT / 64; i++) {
        if ((a->facts->info.cores.bits[i] & b->facts->info.cores.bits[i]) != 0) {
            return true;
        }
    }
    return false;
}

static pel_status open_device(pel_runtime *runtime, const pel_topology_device *facts, uint32_t index, pel_device *device,
                              pel_error **error) {
    const pel_backend *backend =
        facts->outside ? &pel_backend_outside : pel_backend_for(runtime->machine ? PEL_DEVICE_SIMULATED : facts->info.kind);
    if (!backend) {
        return pel_fail(error, &runtime->allocator, PEL_UNSUPPORTED, NULL, "this build has no backend for %s", facts->info.id);
    }
    *device = (pel_device){.runtime = runtime, .facts = facts, .index = index};
    device->place = facts->info.kind == PEL_DEVICE_HOST || facts->host_coherent ? 0 : 1 + index;
    device->model_id = model_id_of(facts);
    device->busy_watts = facts->busy_watts;
    device->idle_watts = facts->idle_watts;
    return backend->open(&runtime->env, facts, &device->driver, error);
}

static void close_device(pel_device *device) {
    if (device->runtime) {
        pel_free(&device->runtime->allocator, device->overlaps);
    }
    device->overlaps = NULL;
    device->overlap_count = 0;
    if (device->former) {
        device->former->backend->close(device->former);
        device->former = NULL;
    }
    if (device->driver) {
        device->driver->backend->close(device->driver);
        device->driver = NULL;
    }
}

static pel_status open_devices(pel_runtime *runtime, bool named, pel_error **error) {
    const pel_topology *topology = runtime->topology;
    if (topology->selection_count > PEL_RUNTIME_DEVICE_LIMIT) {
        return pel_fail(error, &runtime->allocator, PEL_TOO_LARGE, NULL, "%u devices selected; a runtime drives %d at most",
                        topology->selection_count, PEL_RUNTIME_DEVICE_LIMIT);
    }
    runtime->devices = pel_alloc_zero(&runtime->allocator, topology->selection_count + 1u, sizeof *runtime->devices);
    if (!runtime->devices) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the device table");
    }
    pel_error *first = NULL; /* why the one of the highest preference is not there */
    for (uint32_t i = 0; i < topology->selection_count; i++) {
        const pel_topology_device *facts = &topology->devices[topology->selection[i]];
        pel_error *why = NULL;
        pel_status status = open_device(runtime, facts, runtime->device_count, &runtime->devices[runtime->device_count], &why);
        if (status == PEL_OK) {
            runtime->device_count++;
            continue;
        }
        if (named || status == PEL_OUT_OF_MEMORY) {
            pel_error_destroy(first);
            pel_error_hand_over(error, why);
            return status;
        }
        pel_log(&runtime->logger, PEL_LOG_WARNING, "%s is left out: %s", facts->info.id, pel_error_message(why));
        pel_error_hand_over(&first, why);
    }
    pel_status status = PEL_OK;
    if (runtime->device_count == 0) {
        const pel_story story = {pel_error_device(first), pel_error_call(first), pel_error_code(first), pel_error_advice(first),
                                 pel_error_build_log(first)};
        status = pel_fail(error, &runtime->allocator, PEL_NO_DEVICE, &story, "no device could be opened: %s",
                          pel_error_message(first));
    }
    pel_error_destroy(first);
    return status;
}

/* Host tasks need workers even when the device list has no host. */
static pel_status find_task_device(pel_runtime *runtime, pel_error **error) {
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        if (runtime->devices[i].facts->info.kind == PEL_DEVICE_HOST) {
            runtime->task_device = &runtime->devices[i];
            return PEL_OK;
        }
    }
    runtime->task_device = &runtime->hidden_host;
    return open_device(runtime, &runtime->topology->devices[0], runtime->device_count, &runtime->hidden_host, error);
}

/* The others are asked twice, so that each list has the room that it needs. Only who computes on cores can share any. */
static bool list_overlaps(const pel_runtime *runtime, pel_device *device, pel_device **on_cores, uint32_t count) {
    uint32_t sharing = 0;
    for (uint32_t i = 0; i < count; i++) {
        sharing += on_cores[i] != device && shares_cores(device, on_cores[i]) ? 1u : 0u;
    }
    device->overlaps = sharing > 0 ? pel_alloc_zero(&runtime->allocator, sharing, sizeof *device->overlaps) : NULL;
    for (uint32_t i = 0; i < count && device->overlaps; i++) {
        if (on_cores[i] != device && shares_cores(device, on_cores[i])) {
            device->overlaps[device->overlap_count++] = on_cores[i];
        }
    }
    return sharing == device->overlap_count;
}

static pel_status find_overlaps(pel_runtime *runtime, pel_error **error) {
    pel_device **on_cores = pel_alloc_zero(&runtime->allocator, runtime->device_count + 1u, sizeof(pel_device *));
    uint32_t count = 0;
    bool listed = on_cores != NULL;
    for (uint32_t i = 0; i < runtime->device_count && on_cores; i++) {
        if (runtime->devices[i].facts->info.cores_count > 0) {
            on_cores[count++] = &runtime->devices[i];
        }
    }
    if (on_cores && runtime->task_device == &runtime->hidden_host) {
        on_cores[count++] = &runtime->hidden_host;
    }
    for (uint32_t i = 0; i < count && listed; i++) {
        listed = list_overlaps(runtime, on_cores[i], on_cores, count);
    }
    pel_free(&runtime->allocator, on_cores);
    return listed ? PEL_OK
                  : pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for which devices share cores");
}

static pel_status discover(pel_runtime *runtime, const pel_runtime_desc *desc, pel_error **error) {
    if (desc->simulation) {
        pel_status status = pel_machine_create(&runtime->allocator, desc->simulation, desc->devices, &runtime->machine,
                                               &runtime->topology, error);
        if (status == PEL_OK) {
            runtime->clock = pel_machine_clock(runtime->machine);
        }
        return status;
    }
    pel_topology_options options = {.allocator = &runtime->allocator,
                                    .logger = &runtime->logger,
                                    .devices = desc->devices,
                                    .hwloc_topology = desc->hwloc_topology,
                                    .probe = (desc->flags & PEL_RUNTIME_PROBE) != 0,
                                    .cache_directory = runtime->cache_directory};
    pel_status status = pel_adoption_read(desc->opencl, &options, error);
    return status == PEL_OK ? pel_topology_discover(&options, &runtime->topology, error) : status;
}

static pel_status check_desc(const pel_runtime_desc *desc, pel_error **error) {
    if (desc->size != 0 && desc->size != sizeof *desc) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
                        "pel_runtime_desc.size is %zu; this library knows %zu", desc->size, sizeof *desc);
    }
    const uint32_t known = PEL_RUNTIME_PROBE | PEL_RUNTIME_NO_CACHE | PEL_RUNTIME_REPRODUCIBLE | PEL_RUNTIME_BIND_WORKERS |
                           PEL_RUNTIME_PRIVILEGED;
    if ((desc->flags & ~known) != 0) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "unknown flags %#x in pel_runtime_desc",
                        desc->flags & ~known);
    }
    if (desc->reserved != 0) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
                        "pel_runtime_desc.reserved is not 0 (use PEL_RUNTIME_DESC_INIT)");
    }
    if (desc->verification && pel_verification_refusal(desc->verification)) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_runtime_desc.verification: %s",
                        pel_verification_refusal(desc->verification));
    }
    if (desc->allocator && !desc->allocator->reallocate) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_allocator.reallocate is NULL");
    }
    if (desc->executor && (!desc->executor->submit || desc->executor->reserved != 0)) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_runtime_desc.executor: %s",
                        desc->executor->submit ? "reserved is not 0" : "submit is NULL");
    }
    if (desc->simulation && (desc->opencl || desc->hwloc_topology)) {
        return pel_fail(
            error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL,
            "a simulation cannot be mixed with real contexts or a real topology: a runtime is wholly virtual or wholly real");
    }
    return PEL_OK;
}

/* A simulation loads nothing and reads no environment. */
static pel_status check_rights(const pel_runtime_desc *desc, pel_error **error) {
    if (getauxval(AT_SECURE) == 0 || desc->simulation || (desc->flags & PEL_RUNTIME_PRIVILEGED) != 0) {
        return PEL_OK;
    }
    pel_story story = {
        .call = "getauxval(AT_SECURE)",
        .code = 1,
        .advice = "drop the rights before the program starts; or set PEL_RUNTIME_PRIVILEGED, "
                  "if all that the environment names is trusted"};
    return pel_fail(
        error, &pel_allocator_default, PEL_UNSUPPORTED, &story,
        "this program has more rights than its user: OpenCL drivers that the user's environment names would get them");
}

static void dismantle(pel_runtime *runtime) {
    if (runtime->quiesce && !runtime->quiesce(runtime)) {
        pel_log(&runtime->logger, PEL_LOG_ERROR,
                "a driver hangs in a launch that was given up: the runtime's memory is left to it");
        return;
    }
    if (runtime->dispatcher_destroy) {
        runtime->dispatcher_destroy(runtime);
    }
    if (runtime->released_kernels) {
        pel_kernels_reap(runtime);
    }
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        close_device(&runtime->devices[i]);
    }
    close_device(&runtime->hidden_host);
    if (runtime->known_answers_destroy) {
        runtime->known_answers_destroy(runtime);
    }
    pel_lessons_end(runtime);
    pel_metering_end(runtime);
    pel_power_close(runtime->power);
    pel_allocator allocator = runtime->allocator;
    pel_models_destroy(runtime->models);
    pel_topology_destroy(runtime->topology);
    pel_machine_destroy(runtime->machine);
    pel_place_sets_destroy(&allocator, runtime->place_sets);
    pel_free(&allocator, runtime->devices);
    pel_free(&allocator, runtime->cache_directory);
    pel_logger_destroy(&runtime->logger);
    pthread_mutex_destroy(&runtime->lock);
    pel_pages_free((void *)(uintptr_t)runtime->fork_mark, 1);
    pel_free(&allocator, runtime);
}

/*
 * From submission to the start of the work: 0.2-0.8 us when a worker spins, 28-55 us when all sleep (2 cores, virtual machine,
 * 2026-11). So spinning for about as long as a wake-up takes costs at most twice the ideal, and bridges the gap between commands
 * that follow each other.
 */
enum { SPIN_US = 50, MOST_SPIN_US = 1000000 };

/*
 * A variable that decides what is computed, or where, is refused when it is not understood (PEL_DEVICES, PEL_VERIFY): the caller
 * would get something else than was asked for. One that only tunes is warned of and taken as not set, as here.
 */
static int64_t spin_of(pel_runtime *runtime, const pel_runtime_desc *desc) {
    int64_t us = desc->spin_us;
    const char *text = desc->simulation ? NULL : secure_getenv("PEL_SPIN");
    if (us == 0) {
        char *end = NULL;
        us = text && text[0] ? strtol(text, &end, 10) : SPIN_US; /* beyond its type: the largest, so refused below */
        if (end && (*end || end == text || us > MOST_SPIN_US)) {
            pel_log(&runtime->logger, PEL_LOG_WARNING,
                    "PEL_SPIN=%s is no whole number of microseconds up to %d: %d are taken", text, MOST_SPIN_US, SPIN_US);
            us = SPIN_US;
        }
    }
    return us < 0 ? 0 : us < MOST_SPIN_US ? us * 1000 : (int64_t)MOST_SPIN_US * 1000;
}

static pel_status take_verification(pel_runtime *runtime, const pel_runtime_desc *desc, pel_error **error) {
    const char *text = desc->simulation || desc->verification ? NULL : secure_getenv("PEL_VERIFY");
    runtime->verification = desc->verification ? *desc->verification : (pel_verification)PEL_VERIFICATION_INIT;
    if (text && text[0] && !pel_verification_parse(text, &runtime->verification)) {
        pel_story story = {.advice = "a share of the chunks in per cent, and what follows: PEL_VERIFY=10,f32=4"};
        return pel_fail(error, &runtime->allocator, PEL_INVALID_ARGUMENT, &story, "PEL_VERIFY=%s is not understood", text);
    }
    return PEL_OK;
}

static pel_status set_up(pel_runtime *runtime, const pel_runtime_desc *desc, pel_error **error) {
    const char *environment = secure_getenv("PEL_DEVICES");
    bool named = (desc->devices && desc->devices[0]) || (environment && environment[0]);
    if ((desc->flags & PEL_RUNTIME_NO_CACHE) == 0 && !desc->simulation) {
        runtime->cache_directory = pel_cache_directory(&runtime->allocator, desc->cache_directory, &runtime->logger);
    }
    pel_status status = take_verification(runtime, desc, error);
    status = status == PEL_OK ? discover(runtime, desc, error) : status;
    if (status != PEL_OK) {
        return status;
    }
    runtime->env = (pel_backend_env){.allocator = &runtime->allocator,
                                     .logger = &runtime->logger,
                                     .clock = runtime->clock,
                                     .cache_directory = runtime->cache_directory,
                                     .runtime_flags = desc->flags,
                                     .host_workers = desc->host_workers > 0 || !desc->executor ? desc->host_workers : 1,
                                     .spin_ns = spin_of(runtime, desc),
                                     .machine = runtime->machine};
    runtime->models = pel_models_create(&runtime->allocator);
    if (!runtime->models) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the cost models");
    }
    status = pel_lessons_begin(runtime, desc, error);
    if (status == PEL_OK) {
        status = open_devices(runtime, named, error);
    }
    if (status == PEL_OK) {
        status = find_task_device(runtime, error);
    }
    if (status == PEL_OK && runtime->device_count >= PEL_PLACE_BITS) {
        runtime->place_sets = pel_place_sets_create(&runtime->allocator, runtime->device_count);
        status = runtime->place_sets ? PEL_OK
                                     : pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL,
                                                "no memory for what is known of bytes on so many devices");
    }
    return status == PEL_OK ? find_overlaps(runtime, error) : status;
}

pel_status pel_runtime_create(const pel_runtime_desc *desc, pel_runtime **runtime, pel_error **error) {
    static const pel_runtime_desc defaults = PEL_RUNTIME_DESC_INIT;
    if (!runtime) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_runtime_create: runtime is NULL");
    }
    *runtime = NULL;
    desc = desc ? desc : &defaults;
    pel_status status = check_desc(desc, error);
    status = status == PEL_OK ? check_rights(desc, error) : status;
    if (status != PEL_OK) {
        return status;
    }
    const pel_allocator *allocator = desc->allocator ? desc->allocator : &pel_allocator_default;
    pel_runtime *made = pel_alloc_zero(allocator, 1, sizeof *made);
    if (!made) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a runtime");
    }
    made->allocator = *allocator;
    made->clock = &pel_clock_monotonic;
    made->pid = getpid();
    made->fork_mark = mark_process();
    made->flags = desc->flags;
    made->executor = desc->executor ? *desc->executor : (pel_executor){0};
    const char *freeze = secure_getenv("PEL_FREEZE");
    made->frozen = freeze && freeze[0] && strcmp(freeze, "0") != 0;
    pthread_mutex_init(&made->lock, NULL);
    pel_logger_init(&made->logger, desc->log, desc->log_user, desc->log_level);
    status = set_up(made, desc, error);
    if (status != PEL_OK) {
        dismantle(made);
        return status;
    }
    *runtime = made;
    return PEL_OK;
}

uint32_t pel_objects_alive(const pel_runtime *runtime) {
    uint32_t alive = 0;
    for (int kind = 0; kind < PEL_OBJECT_KINDS; kind++) {
        alive += atomic_load((atomic_uint *)(uintptr_t)&runtime->objects[kind]);
    }
    return alive;
}

/* There is no error to tell it with, but a log. */
static void tell_alive(pel_runtime *runtime) {
    static const char *const names[PEL_OBJECT_KINDS] = {"queues",      "buffers", "kernels", "programs", "checkpoints",
                                                        "user events", "graphs",  "mappings"};
    pel_text text;
    pel_text_init(&text, &runtime->allocator);
    for (int kind = 0; kind < PEL_OBJECT_KINDS; kind++) {
        uint32_t alive = atomic_load(&runtime->objects[kind]);
        if (alive > 0) {
            pel_text_format(&text, "%s%s: %u", text.length ? ", " : "", names[kind], alive);
        }
    }
    char *list = pel_text_take(&text);
    pel_log(&runtime->logger, PEL_LOG_WARNING, "pel_runtime_destroy: the runtime stays, not destroyed yet: %s",
            list ? list : "objects of it");
    pel_free(&runtime->allocator, list);
}

pel_status pel_runtime_destroy(pel_runtime *runtime) {
    if (!runtime) {
        return PEL_OK;
    }
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    if (pel_objects_alive(runtime) != 0) {
        tell_alive(runtime);
        return PEL_BUSY;
    }
    pthread_mutex_lock(&runtime->lock); /* whoever ended the last object may be on the way out */
    pthread_mutex_unlock(&runtime->lock);
    dismantle(runtime);
    return PEL_OK;
}

uint32_t pel_runtime_device_count(const pel_runtime *runtime) { return runtime ? runtime->device_count : 0; }

const pel_device *pel_runtime_device(const pel_runtime *runtime, uint32_t index) {
    return runtime && index < runtime->device_count ? &runtime->devices[index] : NULL;
}

const pel_device *pel_runtime_find_device(const pel_runtime *runtime, const char *id) {
    for (uint32_t i = 0; runtime && id && i < runtime->device_count; i++) {
        if (strcmp(runtime->devices[i].facts->info.id, id) == 0) {
            return &runtime->devices[i];
        }
    }
    return NULL;
}

pel_runtime *pel_device_runtime(const pel_device *device) { return device->runtime; }

pel_status pel_device_usable(const pel_device *device, pel_error **error) { return pel_runtime_check(device->runtime, error); }

uint32_t pel_device_drivers(pel_device *device, pel_backend_device *drivers[2]) {
    pthread_mutex_lock(&device->runtime->lock);
    drivers[0] = device->driver;
    drivers[1] = device->former;
    pthread_mutex_unlock(&device->runtime->lock);
    return drivers[1] ? 2 : 1;
}

pel_backend_device *pel_device_driver(const pel_device *device) { return device ? device->driver : NULL; }

const pel_device_info *pel_device_get_info(const pel_device *device) { return device ? &device->facts->info : NULL; }

pel_status pel_device_set_power(const pel_device *device, double busy_watts, double idle_watts) {
    /* finite: comparisons with NaN are false */
    if (!device || !(idle_watts >= 0 && idle_watts <= busy_watts && busy_watts <= 1e9)) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(device->runtime, NULL);
    if (status == PEL_OK) {
        pthread_mutex_lock(&device->runtime->lock);
        pel_device *declared = &device->runtime->devices[device->index];
        pel_energy_settle(declared); /* what is over was drawn at the old ones */
        declared->busy_watts = busy_watts;
        declared->idle_watts = idle_watts;
        pthread_mutex_unlock(&device->runtime->lock);
    }
    return status;
}

void pel_device_get_counters(const pel_device *device, pel_device_counters *counters) {
    if (!counters) {
        return;
    }
    *counters = (pel_device_counters){0, 0, 0};
    if (device && pel_runtime_check(device->runtime, NULL) == PEL_OK) {
        pthread_mutex_lock(&device->runtime->lock);
        *counters = device->counters;
        pthread_mutex_unlock(&device->runtime->lock);
    }
}

void pel_device_get_health(const pel_device *device, pel_device_health *health) {
    if (!health) {
        return;
    }
    memset(health, 0, sizeof *health);
    if (device && pel_runtime_check(device->runtime, NULL) == PEL_OK) {
        pthread_mutex_lock(&device->runtime->lock);
        *health = device->health;
        pthread_mutex_unlock(&device->runtime->lock);
    }
}

int64_t pel_runtime_now(const pel_runtime *runtime) { return runtime ? pel_clock_now(runtime->clock) : 0; }
