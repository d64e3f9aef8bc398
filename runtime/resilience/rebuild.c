/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new driver in the place of a lost one.
 *
 * To open a driver may take as long as it likes: it makes a context, and starts a process where the device is outside. Whoever
 * plans a launch finds that a device's quarantine is over, under the runtime's lock, and must not wait for that; so a host worker
 * opens the driver, without the lock, as a task beside the dispatcher. Meanwhile the device is neither usable nor quarantined
 * (PEL_DEVICE_TESTED), so nobody else begins the same. The invariant: the old driver is the device's until the new one is open
 * and, looked at again under the lock, nothing uses the old one. A runtime that goes waits for that worker (isolate.c). Under a
 * virtual clock nothing takes time, and it is done on the spot; likewise for the host device that would have to do it.
 */
#include "memory/residency.h"
#include "queue/command.h"
#include "resilience/health.h"

typedef struct rebuild {
    pel_device *device;
    pel_backend_device *fresh;
    pel_error *error;
    pel_status status;
    pel_work work;
} rebuild;

static void open_driver(rebuild *r) {
    pel_runtime *runtime = r->device->runtime;
    r->status = r->device->driver->backend->open(&runtime->env, r->device->facts, &r->fresh, &r->error);
}

static void put_in_place(pel_device *device, pel_backend_device *fresh) {
    for (pel_allocation *a = device->runtime->allocations; a; a = a->next) {
        if (device->place != 0) {
            pel_allocation_forget_place(a, device->place);
        }
        pel_allocation_drop_mem(a, device);
    }
    device->former = device->driver;
    device->driver = fresh;
    device->lost = false;
    pel_known_answer_begin(device);
}

/* Under the lock. Returns a driver that nobody has use for, to be closed without it. */
static pel_backend_device *settle(rebuild *r) {
    pel_device *device = r->device;
    if (!device->lost || device->health.state != PEL_DEVICE_TESTED) { /* it was accused anew, and perhaps rebuilt, meanwhile */
        return r->fresh;
    }
    if (r->status == PEL_OK && !pel_health_may_rebuild(device)) {
        r->status = pel_fail(&r->error, &device->runtime->allocator, PEL_BUSY, NULL, "%s is still used by what was lost with it",
                             device->facts->info.id);
    }
    if (r->status == PEL_OK) {
        put_in_place(device, r->fresh);
        return NULL;
    }
    pel_health_tested(device, r->status, r->error, pel_clock_now(device->runtime->clock));
    return r->fresh;
}

static pel_status run(void *context) {
    open_driver(context);
    return PEL_OK; /* what failed is settle's to tell */
}

static void completed(pel_work *work) {
    rebuild *r = work->owner;
    pel_runtime *runtime = r->device->runtime;
    pthread_mutex_lock(&runtime->lock);
    pel_backend_device *left = settle(r);
    pthread_mutex_unlock(&runtime->lock);
    if (left) {
        left->backend->close(left);
    }
    pel_error_destroy(r->error);
    pel_free(&runtime->allocator, r);
    pthread_mutex_lock(&runtime->lock);
    runtime->rebuilding--;
    pthread_mutex_unlock(&runtime->lock);
}

void pel_rebuild_begin(pel_device *device) {
    pel_runtime *runtime = device->runtime;
    if (runtime->machine || device == runtime->task_device) {
        rebuild here = {.device = device};
        device->health.state = PEL_DEVICE_TESTED;
        open_driver(&here);
        (void)settle(&here); /* nothing began to use it meanwhile */
        pel_error_destroy(here.error);
        return;
    }
    rebuild *r = pel_alloc_zero(&runtime->allocator, 1, sizeof *r);
    if (!r) {
        pel_health_tested(device, PEL_OUT_OF_MEMORY, NULL, pel_clock_now(runtime->clock));
        return;
    }
    r->device = device;
    r->work = (pel_work){.kind = PEL_WORK_TASK, .complete = completed, .owner = r, .task = run, .context = r};
    device->health.state = PEL_DEVICE_TESTED;
    runtime->rebuilding++;
    runtime->task_device->driver->backend->submit(runtime->task_device->driver, &r->work);
}
