/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend of simulated devices, see backend/backend.h.
 *
 * A device with a link has memory of its own: a private copy of each mirrored range, poisoned at birth, which only transfers and
 * kernels touch. One without shares the host's. Nothing happens but in pel_machine_advance; close advances until its own works
 * are done.
 */
#include "backend/simulated/internal.h"
#include "base/checked.h"

#include <string.h>

#define POISON 0xa5
#define POISON_LIMIT (256ull << 20) /* of a machine's devices; beyond, untouched pages stay uncommitted and read as zero */

static pel_simulated_driver *driver_of(pel_backend_device *device) { return (pel_simulated_driver *)(void *)device; }

static pel_status device_open(const pel_backend_env *env, const pel_topology_device *facts, pel_backend_device **device,
                              pel_error **error) {
    pel_machine *machine = env->machine;
    uint32_t index = machine != NULL ? pel_machine_find(machine, facts->info.id) : 0;
    if (machine == NULL || index == machine->spec_count) {
        return pel_fail(error, env->allocator, PEL_NOT_FOUND, &(pel_story){.device = facts->info.id},
                        "%s is not a device of a simulated machine", facts->info.id);
    }
    pel_simulated_driver *driver = pel_alloc_zero(env->allocator, 1, sizeof *driver);
    if (driver == NULL) {
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, &(pel_story){.device = facts->info.id}, "no memory to open %s",
                        facts->info.id);
    }
    driver->base.backend = &pel_backend_simulated;
    driver->base.facts = facts;
    driver->machine = machine;
    driver->allocator = env->allocator;
    driver->spec = &machine->specs[index];
    pel_simulated_seed(&driver->stream, machine->seed, index);
    pthread_mutex_lock(&machine->lock);
    const bool joined = pel_simulated_join(machine, driver);
    pthread_mutex_unlock(&machine->lock);
    if (!joined) {
        pel_free(env->allocator, driver);
        return pel_fail(error, env->allocator, PEL_OUT_OF_MEMORY, &(pel_story){.device = facts->info.id}, "no memory to open %s",
                        facts->info.id);
    }
    *device = &driver->base;
    return PEL_OK;
}

static size_t pending(pel_simulated_driver *driver) {
    pthread_mutex_lock(&driver->machine->lock);
    size_t count = driver->pending;
    pthread_mutex_unlock(&driver->machine->lock);
    return count;
}

static void device_close(pel_backend_device *device) {
    pel_simulated_driver *driver = driver_of(device);
    pel_machine *machine = driver->machine;
    while (pending(driver) > 0 && pel_machine_advance(machine)) {
    }
    pthread_mutex_lock(&machine->lock);
    pel_simulated_leave(machine, driver);
    pthread_mutex_unlock(&machine->lock);
    pel_free(driver->allocator, driver);
}

/* Takes `bytes` of the device's memory. False: it has not so much. */
static bool reserve(pel_simulated_driver *driver, uint64_t bytes) {
    uint64_t sum, limit = driver->spec->memory_bytes;
    pthread_mutex_lock(&driver->machine->lock);
    bool fits = pel_add_u64(driver->memory_used, bytes, &sum) && (limit == 0 || sum <= limit);
    driver->memory_used = fits ? sum : driver->memory_used;
    pthread_mutex_unlock(&driver->machine->lock);
    return fits;
}

static void unreserve(pel_simulated_driver *driver, uint64_t bytes) {
    pthread_mutex_lock(&driver->machine->lock);
    driver->memory_used -= bytes;
    pthread_mutex_unlock(&driver->machine->lock);
}

/* Thousands of devices each have a copy of which they touch a thousandth. */
static bool may_poison(pel_simulated_driver *driver, uint64_t bytes) {
    pel_machine *machine = driver->machine;
    pthread_mutex_lock(&machine->lock);
    const bool may = bytes <= POISON_LIMIT - machine->poisoned;
    machine->poisoned += may ? bytes : 0;
    pthread_mutex_unlock(&machine->lock);
    return may;
}

static pel_status mem_create(pel_backend_device *device, void *host, uint64_t bytes, pel_mem **mem, pel_error **error) {
    pel_simulated_driver *driver = driver_of(device);
    const pel_story story = {.device = device->facts->info.id, .call = "mem_create"};
    pel_simulated_mem *made = pel_alloc_zero(driver->allocator, 1, sizeof *made);
    if (made == NULL) {
        return pel_fail(error, driver->allocator, PEL_OUT_OF_MEMORY, &story, "no memory for a memory object of %s", story.device);
    }
    made->base = (pel_mem){.host = host, .bytes = bytes};
    made->data = host;
    if (!device->facts->host_coherent) {
        if (!reserve(driver, bytes)) {
            pel_free(driver->allocator, made);
            return pel_fail(error, driver->allocator, PEL_DEVICE_MEMORY, &story,
                            "%s: %llu bytes do not fit into its memory of %llu", story.device, (unsigned long long)bytes,
                            (unsigned long long)driver->spec->memory_bytes);
        }
        made->owned = bytes;
        made->data = pel_pages_alloc(bytes);
        if (made->data == NULL) {
            unreserve(driver, bytes);
            pel_free(driver->allocator, made);
            return pel_fail(error, driver->allocator, PEL_OUT_OF_MEMORY, &story, "no host memory to simulate %llu bytes of %s",
                            (unsigned long long)bytes, story.device);
        }
        if (may_poison(driver, bytes)) {
            made->poisoned = true;
            memset(made->data, POISON, (size_t)bytes);
        }
    }
    *mem = &made->base;
    return PEL_OK;
}

static pel_status mem_view(pel_backend_device *device, pel_mem *parent, uint64_t offset, uint64_t bytes, pel_mem **view,
                           pel_error **error) {
    pel_simulated_driver *driver = driver_of(device);
    const pel_story story = {.device = device->facts->info.id, .call = "mem_view"};
    if (!pel_range_within(offset, bytes, parent->bytes)) {
        return pel_fail(error, driver->allocator, PEL_INVALID_ARGUMENT, &story,
                        "a view of %llu bytes at %llu leaves memory of %llu bytes", (unsigned long long)bytes,
                        (unsigned long long)offset, (unsigned long long)parent->bytes);
    }
    if (!device->facts->host_coherent && driver->spec->view_alignment > 1 && offset % driver->spec->view_alignment != 0) {
        return pel_fail(error, driver->allocator, PEL_UNSUPPORTED, &story,
                        "a view that begins at byte %llu: this device wants multiples of %u bytes", (unsigned long long)offset,
                        driver->spec->view_alignment);
    }
    pel_simulated_mem *made = pel_alloc_zero(driver->allocator, 1, sizeof *made);
    if (made == NULL) {
        return pel_fail(error, driver->allocator, PEL_OUT_OF_MEMORY, &story, "no memory for a view in memory of %s",
                        story.device);
    }
    made->base = (pel_mem){.host = (unsigned char *)parent->host + offset, .bytes = bytes};
    made->data = ((pel_simulated_mem *)(void *)parent)->data + offset;
    *view = &made->base;
    return PEL_OK;
}

static void mem_destroy(pel_backend_device *device, pel_mem *mem) {
    pel_simulated_driver *driver = driver_of(device);
    pel_simulated_mem *gone = (pel_simulated_mem *)(void *)mem;
    if (gone != NULL && gone->owned > 0) {
        pel_pages_free(gone->data, gone->owned);
        unreserve(driver, gone->owned);
        pthread_mutex_lock(&driver->machine->lock);
        driver->machine->poisoned -= gone->poisoned ? gone->owned : 0;
        pthread_mutex_unlock(&driver->machine->lock);
    }
    pel_free(driver->allocator, gone);
}

static pel_status mem_wipe(pel_backend_device *device, pel_mem *mem, pel_error **error) {
    const pel_simulated_mem *gone = (const pel_simulated_mem *)(const void *)mem;
    (void)device, (void)error;
    if (gone->owned > 0) {
        pel_wipe(gone->data, gone->owned);
    }
    return PEL_OK;
}

static pel_status prepare(pel_backend_device *device, const pel_program_image *program, const pel_kernel_image *kernel,
                          pel_error **error) {
    (void)program;
    if (kernel != NULL && kernel->host == NULL && kernel->host_group == NULL) {
        return pel_fail(
            error, driver_of(device)->allocator, PEL_UNSUPPORTED,
            &(pel_story){.device = device->facts->info.id, .advice = "give the kernel a host variant (pel_kernel_desc.host)"},
            "kernel %s has no host variant, and simulated devices run nothing else", kernel->name);
    }
    return PEL_OK;
}

static void kernel_forget(pel_backend_device *device, const pel_kernel_image *kernel) {
    (void)device;
    (void)kernel;
}

static void program_forget(pel_backend_device *device, const pel_program_image *program) {
    (void)device;
    (void)program;
}

static bool windows(pel_backend_device *device, const pel_kernel_image *kernel, const char **why) {
    (void)device;
    (void)kernel;
    *why = "";
    return true;
}

/* Tasks of one moment go by priority, then by submission; jobs by submission. */
static void enqueue(pel_simulated_lane *lane, pel_work *work) {
    work->next = NULL;
    if (lane->first == NULL) {
        lane->first = lane->last = work;
        return;
    }
    bool before_last = work->kind == PEL_WORK_TASK && lane->last->ended == work->ended && lane->last->priority < work->priority;
    if (!before_last) {
        lane->last->next = work;
        lane->last = work;
        return;
    }
    pel_work **at = &lane->first;
    while ((*at)->ended < work->ended || (*at)->priority >= work->priority) {
        at = &(*at)->next;
    }
    work->next = *at;
    *at = work;
}

static void submit(pel_backend_device *device, pel_work *work) {
    pel_simulated_driver *driver = driver_of(device);
    pthread_mutex_lock(&driver->machine->lock);
    work->status = PEL_OK;
    work->error = NULL;
    work->cold = false;
    work->computed = 0;
    work->sequence = driver->machine->submissions++;
    work->launch_began = work->launch_ended = work->ended = driver->machine->now;
    work->began = pel_simulated_soonest_begin(driver, work); /* not before */
    enqueue(work->kind == PEL_WORK_TASK ? &driver->tasks : &driver->jobs, work);
    driver->pending++;
    pel_simulated_changed(driver);
    pel_simulated_settle(driver->machine);
    pthread_mutex_unlock(&driver->machine->lock);
}

static bool gates(const pel_backend_device *device) { return device->facts->host_coherent; }

const pel_backend pel_backend_simulated = {
    .name = "simulated",
    .chains = true,
    .open = device_open,
    .close = device_close,
    .mem_create = mem_create,
    .mem_view = mem_view,
    .mem_destroy = mem_destroy,
    .mem_wipe = mem_wipe,
    .prepare = prepare,
    .kernel_forget = kernel_forget,
    .program_forget = program_forget,
    .submit = submit,
    .help = NULL,
    .gates = gates,
    .windows = windows,
};
