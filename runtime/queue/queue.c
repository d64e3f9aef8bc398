/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues, waiting, bringing data home, and the dispatcher's own birth and death. */
#include "core/lessons.h"
#include "kernel/declaration.h"
#include "queue/command.h"

static pel_status sync_hook(pel_runtime *runtime, pel_allocation *allocation, uint64_t offset, uint64_t bytes) {
    pel_uses uses = {0};
    if (!pel_uses_add(&runtime->allocator, &uses, allocation, offset, offset + bytes, PEL_READ)) {
        return PEL_OUT_OF_MEMORY;
    }
    return pel_bring_home(runtime, &uses);
}

static bool is_idle(void *user) { return ((const pel_allocation *)user)->commands == 0; }

static pel_status idle_hook(pel_runtime *runtime, pel_allocation *allocation) {
    if (pel_inside_task(runtime)) {
        return PEL_WOULD_DEADLOCK;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_wait_for(runtime, is_idle, NULL, allocation);
    pel_status status = is_idle(allocation) ? PEL_OK : PEL_INTERNAL;
    pthread_mutex_unlock(&runtime->lock);
    return status;
}

static void gone_hook(pel_runtime *runtime, const pel_allocation *allocation) {
    uint64_t base = (uintptr_t)allocation->base;
    pel_hazards_forget(runtime->dispatcher->hazards, base, base + allocation->bytes);
}

const pel_memory_hooks *pel_memory_hooks_get(const pel_runtime *runtime) {
    static const pel_memory_hooks hooks = {sync_hook, idle_hook, gone_hook};
    return runtime->dispatcher ? &hooks : NULL;
}

static void destroy_dispatcher(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    if (dispatcher) {
        pel_hazards_destroy(dispatcher->hazards);
        pel_error_destroy(dispatcher->own.error);
        pel_error_destroy(dispatcher->own.refused);
        pthread_cond_destroy(&dispatcher->changed);
        pel_free(&runtime->allocator, dispatcher);
        runtime->dispatcher = NULL;
    }
}

pel_status pel_dispatcher_ensure(pel_runtime *runtime, pel_error **error) {
    pel_status status = PEL_OK;
    pthread_mutex_lock(&runtime->lock);
    if (!runtime->dispatcher) {
        pel_dispatcher *dispatcher = pel_alloc_zero(&runtime->allocator, 1, sizeof *dispatcher);
        pel_hazards *hazards = dispatcher ? pel_hazards_create(&runtime->allocator) : NULL;
        if (hazards) {
            dispatcher->hazards = hazards;
            dispatcher->own.runtime = runtime;
            dispatcher->own.first_failure = UINT64_MAX;
            dispatcher->own.id = pel_runtime_next_id(runtime);
            pthread_cond_init(&dispatcher->changed, NULL);
            runtime->dispatcher = dispatcher;
            runtime->dispatcher_destroy = destroy_dispatcher;
        } else {
            pel_free(&runtime->allocator, dispatcher);
            status = pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the dispatcher");
        }
    }
    pthread_mutex_unlock(&runtime->lock);
    return status;
}

pel_status pel_queue_create(pel_runtime *runtime, const pel_queue_desc *desc, pel_queue **queue, pel_error **error) {
    if (!runtime || !queue) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_queue_create: the %s is NULL", runtime ? "queue" : "runtime");
    }
    *queue = NULL;
    pel_status status = pel_runtime_check(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    if (desc && desc->size != 0 && desc->size != sizeof *desc) {
        return pel_fail(error, &runtime->allocator, PEL_INVALID_ARGUMENT, NULL, "pel_queue_desc.size is %zu; this library knows %zu", desc->size,
                        sizeof *desc);
    }
    status = pel_dispatcher_ensure(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    pel_queue *made = pel_alloc_zero(&runtime->allocator, 1, sizeof *made);
    if (made && desc && desc->name) {
        made->name = pel_strdup(&runtime->allocator, desc->name);
    }
    if (!made || (desc && desc->name && !made->name)) {
        pel_free(&runtime->allocator, made);
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a queue");
    }
    made->runtime = runtime;
    made->id = pel_runtime_next_id(runtime);
    made->max_in_flight = desc ? desc->max_in_flight : 0;
    made->first_failure = UINT64_MAX;
    pthread_mutex_lock(&runtime->lock);
    made->next = runtime->dispatcher->queues;
    runtime->dispatcher->queues = made;
    pthread_mutex_unlock(&runtime->lock);
    atomic_fetch_add(&runtime->objects, 1);
    *queue = made;
    return PEL_OK;
}

typedef struct drain {
    pel_queue *queue;
    uint64_t sequence; /* commands up to this one, and what tasks submit meanwhile */
} drain;

static bool is_drained(void *user) {
    const drain *d = user;
    const pel_command *first = d->queue->first;
    return !first || (first->sequence > d->sequence && first->sequence > d->queue->nested);
}

static const uint32_t *drain_works(void *user) { return ((const drain *)user)->queue->on_device; }

/* Waits for what has been submitted to the queue so far. */
static pel_status drain_queue(pel_queue *queue) {
    pel_runtime *runtime = queue->runtime;
    if (pel_inside_task(runtime)) {
        return PEL_WOULD_DEADLOCK;
    }
    pthread_mutex_lock(&runtime->lock);
    drain d = {queue, runtime->dispatcher->sequence};
    pel_wait_for(runtime, is_drained, drain_works, &d);
    pel_status status = is_drained(&d) ? PEL_OK : PEL_INTERNAL;
    pthread_mutex_unlock(&runtime->lock);
    return status;
}

typedef struct homeless {
    pel_runtime *runtime;
    pel_allocation *allocation;
    pel_uses uses;
    uint64_t lost; /* devices */
    bool failed;
} homeless;

static bool add_homeless(void *user, uint64_t lo, uint64_t hi, uint64_t places) {
    homeless *h = user;
    if ((places >> 1 & ~h->lost) != 0) { /* what was lost with its device cannot come */
        h->failed = !pel_uses_add(&h->runtime->allocator, &h->uses, h->allocation, lo, hi, PEL_READ);
    }
    return !h->failed;
}

/* An owned allocation too, when somebody has wrapped a part of it. */
static bool callers_memory(const pel_allocation *allocation) { return !allocation->owned || allocation->wraps > 0; }

/* The caller may look at wrapped memory after finish: whatever only devices hold of it comes home. */
static pel_status bring_wraps_home(pel_runtime *runtime) {
    homeless h = {.runtime = runtime};
    pthread_mutex_lock(&runtime->lock);
    h.lost = pel_lost_devices(runtime);
    for (h.allocation = runtime->allocations; h.allocation && !h.failed; h.allocation = h.allocation->next) {
        if (callers_memory(h.allocation)) {
            pel_allocation_missing(h.allocation, 0, 0, h.allocation->bytes, add_homeless, &h);
        }
    }
    for (uint32_t i = 0; i < h.uses.count && !h.failed; i++) { /* held until the command holds them */
        pel_allocation_retain(h.uses.data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    if (h.failed || h.uses.count == 0) {
        pel_uses_free(&runtime->allocator, &h.uses);
        return h.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
    }
    return pel_bring_home_held(runtime, &h.uses, true); /* what a failed command left is undefined, but the rest must come */
}

static void release_uses(pel_runtime *runtime, pel_uses *uses) {
    pthread_mutex_lock(&runtime->lock);
    for (uint32_t i = 0; i < uses->count; i++) {
        pel_allocation_release(uses->data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_uses_free(&runtime->allocator, uses);
}

pel_status pel_bring_home_held(pel_runtime *runtime, pel_uses *uses, bool tolerant) {
    pel_error *error = NULL;
    pel_event *event = NULL;
    pel_command *command = pel_command_new(&runtime->dispatcher->own, PEL_COMMAND_MARKER, "bring home", 0, &error);
    if (!command) {
        pel_error_destroy(error);
        release_uses(runtime, uses);
        return PEL_OUT_OF_MEMORY;
    }
    command->tolerant = tolerant;
    command->uses = *uses; /* with their references */
    *uses = (pel_uses){0};
    pel_status status = pel_command_submit(command, NULL, 0, &event);
    if (status == PEL_OK) {
        status = pel_event_wait(event);
        pel_event_release(event);
    }
    return status;
}

pel_status pel_bring_home(pel_runtime *runtime, pel_uses *uses) {
    if (pel_inside_task(runtime)) {
        pel_uses_free(&runtime->allocator, uses);
        return PEL_WOULD_DEADLOCK;
    }
    pthread_mutex_lock(&runtime->lock);
    for (uint32_t i = 0; i < uses->count; i++) {
        pel_allocation_retain(uses->data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    return pel_bring_home_held(runtime, uses, false);
}

static bool add_busy(void *user, uint64_t lo, uint64_t hi, uint64_t places) {
    homeless *h = user;
    (void)places;
    h->failed = !pel_uses_add(&h->runtime->allocator, &h->uses, h->allocation, lo, hi, PEL_READ);
    return !h->failed;
}

static int by_address(const void *left, const void *right) {
    const pel_use *a = left, *b = right;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

/*
 * What cannot be given back: bytes that are not at home, and those that commands of other queues use still. The runtime's own commands only
 * bring bytes home; they do not mind.
 */
static bool find_busy(homeless *h) {
    pel_allocation *a = h->allocation;
    h->uses.count = 0;
    pel_allocation_missing(a, 0, 0, a->bytes, add_busy, h);
    for (pel_queue *queue = h->runtime->dispatcher->queues; queue && a->commands > 0; queue = queue->next) {
        for (pel_command *command = queue->first; command; command = command->after) {
            for (uint32_t i = 0; i < command->uses.count && !h->failed; i++) {
                const pel_use *use = &command->uses.data[i];
                h->failed = use->allocation == a && !pel_uses_add(&h->runtime->allocator, &h->uses, a, use->lo, use->hi, PEL_READ);
            }
        }
    }
    if (h->uses.count > 1 && !h->failed) {
        pel_heap_sort(h->uses.data, h->uses.count, sizeof *h->uses.data, by_address);
    }
    return !h->failed;
}

/* From now on the caller may also change wrapped memory, and nobody will tell: copies on devices no longer count. */
static pel_status give_wraps_back(pel_runtime *runtime) {
    homeless h = {.runtime = runtime};
    pel_status status = PEL_OK;
    pthread_mutex_lock(&runtime->lock);
    for (pel_allocation *a = runtime->allocations; a && status == PEL_OK; a = a->next) {
        if (!callers_memory(a) || pel_interval_map_is_empty(a->residency)) {
            continue;
        }
        h.allocation = a;
        status = find_busy(&h) ? PEL_OK : PEL_OUT_OF_MEMORY;
        uint64_t at = 0;
        for (uint32_t i = 0; i < h.uses.count && status == PEL_OK; i++) {
            status = pel_allocation_written(a, 0, at, h.uses.data[i].lo);
            at = h.uses.data[i].hi > at ? h.uses.data[i].hi : at;
        }
        status = status == PEL_OK ? pel_allocation_written(a, 0, at, a->bytes) : status;
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_uses_free(&runtime->allocator, &h.uses);
    return status;
}

pel_status pel_queue_finish(pel_queue *queue) {
    if (!queue) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status == PEL_OK) {
        status = drain_queue(queue);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_kernels_reap(queue->runtime);
    pel_status home = bring_wraps_home(queue->runtime);
    if (home == PEL_OK) {
        home = give_wraps_back(queue->runtime);
    }
    pthread_mutex_lock(&queue->runtime->lock);
    status = queue->status;
    pthread_mutex_unlock(&queue->runtime->lock);
    pel_lessons_keep(queue->runtime);
    return status != PEL_OK ? status : home;
}

pel_error *pel_queue_error(pel_queue *queue) {
    if (!queue || pel_runtime_check(queue->runtime, NULL) != PEL_OK) {
        return NULL;
    }
    pthread_mutex_lock(&queue->runtime->lock);
    pel_error *copy = pel_error_clone(queue->error ? queue->error : queue->refused, &queue->runtime->allocator);
    pthread_mutex_unlock(&queue->runtime->lock);
    return copy;
}

/* What was lost with a device counts as host memory's again, whatever that holds. */
static void forgive_losses(pel_runtime *runtime) {
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        for (pel_allocation *a = runtime->allocations; a && runtime->devices[i].lost; a = a->next) {
            pel_allocation_forget_device(a, &runtime->devices[i]);
        }
    }
}

pel_status pel_queue_reset(pel_queue *queue) {
    if (!queue) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status == PEL_OK) {
        status = drain_queue(queue);
    }
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&queue->runtime->lock);
    pel_hazards_forgive(queue->runtime->dispatcher->hazards, queue->id);
    forgive_losses(queue->runtime);
    pel_error_destroy(queue->error);
    pel_error_destroy(queue->refused);
    queue->error = queue->refused = NULL;
    queue->status = PEL_OK;
    queue->first_failure = UINT64_MAX;
    pthread_mutex_unlock(&queue->runtime->lock);
    return PEL_OK;
}

pel_status pel_queue_destroy(pel_queue *queue) {
    if (!queue) {
        return PEL_OK;
    }
    pel_status status = pel_queue_finish(queue);
    if (status == PEL_AFTER_FORK || status == PEL_WOULD_DEADLOCK) {
        return status;
    }
    pel_runtime *runtime = queue->runtime;
    pthread_mutex_lock(&runtime->lock);
    pel_queue **link = &runtime->dispatcher->queues;
    while (*link != queue) {
        link = &(*link)->next;
    }
    *link = queue->next;
    pthread_mutex_unlock(&runtime->lock);
    pel_error_destroy(queue->error);
    pel_error_destroy(queue->refused);
    pel_free(&runtime->allocator, queue->name);
    pel_free(&runtime->allocator, queue);
    atomic_fetch_sub(&runtime->objects, 1);
    return status;
}

static bool event_is_over(void *user) { return pel_event_is_complete(user); }

static const uint32_t *event_works(void *user) {
    const pel_event *event = user;
    return event->command ? event->command->queue->on_device : NULL;
}

pel_status pel_event_wait(pel_event *event) {
    if (!event) {
        return PEL_INVALID_ARGUMENT;
    }
    if (pel_event_is_complete(event)) {
        return event->status;
    }
    pel_runtime *runtime = event->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    if (pel_inside_task(runtime)) {
        return PEL_WOULD_DEADLOCK;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_wait_for(runtime, event_is_over, event_works, event);
    pthread_mutex_unlock(&runtime->lock);
    return pel_event_is_complete(event) ? event->status : PEL_INTERNAL;
}
