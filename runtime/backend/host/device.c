/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host backend's vtable. The device and its workers are one block, each worker on cache lines of its own. Memory objects only
 * remember their range: host memory is where the data lives. There is nothing to build, so `prepare` only asks whether a host
 * variant exists.
 */
#include "backend/backends.h"
#include "backend/host/workers.h"
#include "base/barrier.h"

#include <string.h>

static void destroy(pel_host_device *device) {
    const pel_allocator *allocator = device->env->allocator;
    for (uint32_t i = 0; i < device->worker_count; i++) {
        pel_free(allocator, device->workers[i].arena);
        pel_host_mailbox_destroy(&device->workers[i].mailbox);
    }
    pel_host_tasks_free(&device->tasks, allocator);
    pel_host_teams_destroy(device->teams);
    pthread_cond_destroy(&device->unpark);
    pthread_cond_destroy(&device->drained);
    pthread_cond_destroy(&device->wake_reserve);
    pthread_cond_destroy(&device->wake);
    pthread_mutex_destroy(&device->lock);
    pel_free(allocator, device->block);
}

static uint32_t count_workers(const pel_backend_env *env, const pel_topology_device *facts) {
    uint32_t count = facts->info.cores_count;
    count = facts->info.compute_units > 0 && facts->info.compute_units < count ? facts->info.compute_units : count;
    count = env->host_workers > 0 ? env->host_workers : count;
    return count > 0 ? count : 1;
}

static pel_status host_open(const pel_backend_env *env, const pel_topology_device *facts, pel_backend_device **device,
                            pel_error **error) {
    uint32_t workers = count_workers(env, facts);
    pel_story story = {.device = facts->info.id, .advice = "ask for fewer host workers"};
    if (workers > PEL_CORE_LIMIT) {
        return pel_fail(error, env->allocator, PEL_INVALID_ARGUMENT, &story, "%u host workers are too many; at most %u", workers,
                        (unsigned)PEL_CORE_LIMIT);
    }
    const uint32_t wanted = workers; /* others may be asked for later */
    workers = workers < facts->info.cores_count && facts->info.cores_count <= PEL_CORE_LIMIT ? facts->info.cores_count : workers;
    size_t bytes = sizeof(pel_host_device) + workers * sizeof(pel_host_worker);
    void *block = pel_alloc_zero(env->allocator, 1, bytes + PEL_LINE_PAIR - 1);
    if (block == NULL) {
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, &story, "no memory for %u host workers", workers);
    }
    pel_host_device *host = (pel_host_device *)(((uintptr_t)block + PEL_LINE_PAIR - 1) & ~(uintptr_t)(PEL_LINE_PAIR - 1));
    host->base = (pel_backend_device){&pel_backend_host, facts};
    host->env = env;
    host->block = block;
    host->worker_count = workers;
    host->workers = (pel_host_worker *)(host + 1);
    if (pel_host_tasks_init(&host->tasks, env->allocator, workers, pel_host_wake_one, host) != PEL_OK) {
        pel_free(env->allocator, block);
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, &story, "no memory for %u host workers", workers);
    }
    for (uint32_t i = 0; i < workers; i++) {
        host->workers[i].device = host;
        host->workers[i].index = i;
        host->workers[i].interval = 1;
        host->workers[i].runner = &host->tasks.runners[i];
        pel_host_mailbox_init(&host->workers[i].mailbox);
    }
    atomic_init(&host->guests, wanted > 1);
    host->parked = workers - wanted;
    pthread_mutex_init(&host->lock, NULL); /* default attributes: these three cannot fail on Linux */
    pthread_cond_init(&host->wake, NULL);
    pel_host_reserve_init(host);
    pthread_cond_init(&host->drained, NULL);
    pel_host_teams_init(host->teams);
    host->fork_cpu = -1;
    host->has_barrier = pel_barrier_prepare();
    atomic_init(&host->active, wanted);
    pthread_cond_init(&host->unpark, NULL);
    pel_host_near_init(host);
    pel_status status = pel_host_workers_start(host, error);
    if (status != PEL_OK) {
        destroy(host);
        return status;
    }
    pel_log(env->logger, PEL_LOG_DEBUG, "%s: %u workers", facts->info.id, wanted);
    *device = &host->base;
    return PEL_OK;
}

pel_host_tasks *pel_host_tasks_of(pel_backend_device *device) {
    return device->backend == &pel_backend_host ? &((pel_host_device *)device)->tasks : NULL;
}

bool pel_host_may_help(const pel_backend_device *device) {
    const pel_host_device *host = (const pel_host_device *)device;
    return device->backend == &pel_backend_host && !device->facts->core_set_declared &&
           (host->env->runtime_flags & PEL_RUNTIME_BIND_WORKERS) == 0;
}

static void host_close(pel_backend_device *device) {
    pel_host_device *host = (pel_host_device *)device;
    pel_host_workers_stop(host);
    destroy(host);
}

static pel_status remember(pel_backend_device *device, void *memory, uint64_t bytes, pel_mem **mem, pel_error **error) {
    const pel_allocator *allocator = ((pel_host_device *)device)->env->allocator;
    pel_mem *made = pel_alloc(allocator, sizeof *made);
    if (made == NULL) {
        return pel_fail(error, allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a memory object of %s", device->facts->info.id);
    }
    *made = (pel_mem){.host = memory, .bytes = bytes};
    *mem = made;
    return PEL_OK;
}

static pel_status host_mem_create(pel_backend_device *device, void *memory, uint64_t bytes, pel_mem **mem, pel_error **error) {
    return remember(device, memory, bytes, mem, error);
}

static pel_status host_mem_view(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                                pel_error **error) {
    return remember(device, (char *)parent->host + offset, bytes, view, error);
}

static void host_mem_destroy(pel_backend_device *device, pel_mem *mem) {
    pel_free(((pel_host_device *)device)->env->allocator, mem);
}

static pel_status host_prepare(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                               pel_error **error) {
    (void)program;
    if (kernel == NULL || kernel->host != NULL || kernel->host_group != NULL) {
        return PEL_OK;
    }
    pel_story story = {.device = device->facts->info.id,
                       .advice = "give the kernel a host function, or leave the host out of the device list"};
    return pel_fail(error, ((pel_host_device *)device)->env->allocator, PEL_UNSUPPORTED, &story, "kernel %s has no host variant",
                    kernel->name);
}

static void host_kernel_forget(pel_backend_device *device, const pel_kernel_image *kernel) {
    (void)device;
    (void)kernel;
}

static void host_program_forget(pel_backend_device *device, const pel_program_image *program) {
    (void)device;
    (void)program;
}

static void host_submit(pel_backend_device *device, pel_work *work) {
    pel_host_submit((pel_host_device *)device, work);
}

static void host_begin(pel_backend_device *device) {
    pel_host_begin((pel_host_device *)device);
}

static void host_rouse(pel_backend_device *device) {
    pel_host_rouse((pel_host_device *)device);
}

static bool host_help(pel_backend_device *device) {
    return pel_host_help((pel_host_device *)device);
}

const pel_backend pel_backend_host = {
    .name = "host",
    .open = host_open,
    .close = host_close,
    .mem_create = host_mem_create,
    .mem_view = host_mem_view,
    .mem_destroy = host_mem_destroy,
    .prepare = host_prepare,
    .kernel_forget = host_kernel_forget,
    .program_forget = host_program_forget,
    .submit = host_submit,
    .help = host_help,
    .begin = host_begin,
    .rouse = host_rouse,
};
