/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings and prefetches: commands that want bytes at a place.
 *
 * The problem: a program wants to look at a buffer without stopping the queue, and what it stores must neither be lost nor
 * overtaken. So a mapping is a command like others: hazards order it, what is missing is fetched; only its end is the program's.
 * Whoever conflicts with it waits for that end, so nothing can become stale under a mapping. The price is that a thread may wait
 * for itself: every command knows which mappings it comes after, directly or through others: a bit for each that is open, 63 at
 * once, and the order of the newest, which tells a bit's former owner from its present one. A thread that has one of these is
 * refused the wait instead of sleeping for ever. Only among more than 63 open mappings, or where a bit was given away under a
 * command that waits for a newer one, may a wait be refused that would have ended.
 *
 * Rejected: to refuse commands that conflict with a mapping (a race between the check and the hazards for tasks that never take
 * the lock), and to let them run, as OpenCL does, where it leaves the contents undefined.
 */
#include "queue/mapping.h"
#include "backend/interop.h"
#include "base/checked.h"
#include <string.h>
#include <sys/mman.h>

/* ---- who waits for whom ---- */

/* (L) */
static const pel_mapping *own_mapping(const pel_dispatcher *dispatcher, uint64_t up_to, uint64_t places, const pel_mapping *but) {
    for (const pel_mapping *m = dispatcher->mappings; m; m = m->next) {
        if (m != but && m->command->order <= up_to && (places >> m->place & 1) != 0 && pthread_equal(m->owner, pthread_self())) {
            return m;
        }
    }
    return NULL;
}

bool pel_mapping_blocks(const pel_command *command) {
    return (command->mapping && pthread_equal(command->mapping->owner, pthread_self())) ||
           (command->behind != 0 && own_mapping(command->runtime->dispatcher, command->behind, command->behind_places, NULL));
}

bool pel_mapping_blocks_queue(const pel_queue *queue) {
    for (const pel_command *c = queue->runtime->dispatcher->mappings ? queue->first : NULL; c; c = c->after) {
        if (pel_mapping_blocks(c)) {
            return true;
        }
    }
    return false;
}

bool pel_mapping_blocks_memory(const pel_allocation *allocation) {
    for (const pel_mapping *m = allocation->runtime->dispatcher->mappings; m; m = m->next) {
        for (uint32_t i = 0; i < m->command->uses.count; i++) {
            if (m->command->uses.data[i].allocation == allocation && pthread_equal(m->owner, pthread_self())) {
                return true;
            }
        }
    }
    return false;
}

bool pel_mapping_mine(const pel_runtime *runtime) { return own_mapping(runtime->dispatcher, UINT64_MAX, UINT64_MAX, NULL); }

void pel_command_come_after(pel_command *command, const pel_command *before) {
    uint64_t behind = before->kind == PEL_COMMAND_MAP ? before->order : before->behind;
    command->behind = behind > command->behind ? behind : command->behind;
    command->behind_places |=
        before->behind_places | (before->kind == PEL_COMMAND_MAP && before->mapping ? UINT64_C(1) << before->mapping->place : 0);
}

/* ---- the command's life, under the lock ---- */

typedef struct gather {
    pel_command *command;
    pel_uses needed;
    pel_allocation *allocation;
    bool failed;
} gather;

static bool gather_missing(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    gather *g = user;
    if (!pel_places_at_home(places)) {
        g->failed = !pel_uses_add(&g->command->runtime->allocator, &g->needed, g->allocation, lo, hi, PEL_READ);
    }
    return !g->failed;
}

pel_status pel_place_start(pel_command *command, bool *stalled) {
    gather g = {.command = command};
    *stalled = false;
    for (uint32_t i = 0; i < command->uses.count && !g.failed; i++) {
        const pel_use *use = &command->uses.data[i];
        g.allocation = use->allocation;
        if ((use->mode & PEL_READ) != 0 && !(command->device && command->device->lost)) {
            pel_allocation_missing(use->allocation, command->device ? command->device->place : 0, use->lo, use->hi,
                                   gather_missing, &g);
        }
    }
    pel_status status = PEL_OUT_OF_MEMORY;
    if (g.failed) {
        pel_command_fail(command, status, NULL);
    } else {
        status = pel_fetch_home(command, &g.needed, stalled);
    }
    pel_uses_free(&command->runtime->allocator, &g.needed);
    return status;
}

static pel_status build_transfer(pel_command *command, pel_error **error) {
    command->jobs = pel_alloc_zero(&command->runtime->allocator, 1, sizeof *command->jobs);
    if (!command->jobs) {
        return PEL_OUT_OF_MEMORY;
    }
    pel_job *job = &command->jobs[0];
    pel_status status = PEL_OK;
    *job = (pel_job){.command = command, .device = command->device};
    job->work.kind = PEL_WORK_TRANSFER;
    command->job_count = 1;
    for (uint32_t i = 0; i < command->uses.count && status == PEL_OK; i++) {
        const pel_use *use = &command->uses.data[i];
        pel_mem *mem = NULL;
        status = pel_allocation_mem(use->allocation, command->device, &mem, error);
        status = status == PEL_OK ? pel_command_pin(command, use->allocation, command->device) : status;
        if (status == PEL_OK && command->mapping) {
            command->mapping->mem = mem;
        }
        if (status == PEL_OK && (use->mode & PEL_READ) != 0) {
            status = pel_job_bring_in(job, use->allocation, use->lo, use->hi);
        }
    }
    return status == PEL_OK ? pel_job_seal_in(job, error) : status;
}

/*
 * A prefetch is a hint: bytes that do not arrive stay where they were, and are moved when they are wanted; then who wants them
 * fails if it must. A failure upstream is told as for any command, and so is a cancellation.
 */
void pel_place_forgive(pel_command *command) {
    if (command->status == PEL_OK || command->status == PEL_DEPENDENCY_FAILED || command->status == PEL_CANCELLED) {
        return;
    }
    const bool no_room = command->status == PEL_DEVICE_MEMORY || command->status == PEL_TOO_LARGE;
    pel_log(&command->runtime->logger, no_room ? PEL_LOG_DEBUG : PEL_LOG_INFO, "prefetch to %s: %s",
            command->device->facts->info.id, pel_error_message(command->error));
    pel_error_destroy(command->error);
    command->error = NULL;
    command->status = PEL_OK;
}

bool pel_place_run(pel_command *command) {
    pel_error *error = NULL;
    pel_device *device = command->device;
    if (!device || (device->lost && command->kind == PEL_COMMAND_PREFETCH) ||
        (command->kind == PEL_COMMAND_MAP && !command->mapping)) {
        pel_place_arrived(command);
        return false;
    }
    pel_status status = device->lost ? PEL_DEVICE_LOST : build_transfer(command, &error);
    if (status == PEL_OK && command->jobs[0].work.in_count > 0) {
        return true;
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    }
    if (command->job_count > 0) {
        pel_job_clear(&command->jobs[0]);
        command->job_count = 0;
    }
    pel_free(&command->runtime->allocator, command->jobs);
    command->jobs = NULL;
    pel_place_arrived(command);
    return false;
}

/* What the program will write is valid nowhere else from now on, so that nothing can fail when it says that it has. */
static pel_status claim(pel_mapping *mapping) {
    const pel_use *use = &mapping->command->uses.data[0];
    uint32_t place = mapping->device ? mapping->device->place : 0;
    if ((mapping->flags & PEL_MAP_WRITE) == 0 || (place == 0 && pel_allocation_at_home(use->allocation, use->lo, use->hi))) {
        return PEL_OK;
    }
    return pel_allocation_written(use->allocation, place, use->lo, use->hi);
}

void pel_place_arrived(pel_command *command) {
    pel_mapping *mapping = command->mapping;
    pel_status status = command->status == PEL_OK && mapping ? claim(mapping) : PEL_OK;
    if (status != PEL_OK) {
        pel_command_fail(command, status, NULL);
    }
    if (command->status != PEL_OK || !mapping) { /* unmapped before it came, or no mapping at all */
        pel_command_end(command);
        return;
    }
    command->phase = PEL_PHASE_MAPPED;
    atomic_store_explicit(&mapping->state, PEL_MAPPING_OPEN, memory_order_release);
}

/* (L) From now on the command knows nothing of the mapping. */
static void detach(pel_mapping *mapping, pel_status status) {
    pel_dispatcher *dispatcher = mapping->runtime->dispatcher;
    for (pel_mapping **link = &dispatcher->mappings; *link; link = &(*link)->next) {
        if (*link == mapping) {
            *link = mapping->next;
            dispatcher->mapping_places &= ~(UINT64_C(1) << mapping->place);
            atomic_fetch_sub_explicit(&dispatcher->mapping_count, 1, memory_order_relaxed);
            break;
        }
    }
    mapping->command->mapping = NULL;
    mapping->command = NULL;
    mapping->mem = NULL;
    mapping->status = status;
    atomic_store_explicit(&mapping->state, PEL_MAPPING_OVER, memory_order_release);
}

void pel_mapping_end(pel_command *command) { detach(command->mapping, command->status); }

/* ---- submission ---- */

static pel_status refuse(pel_queue *queue, pel_status status, const char *name, const char *why) {
    pel_error *error = NULL;
    pel_fail(&error, &queue->runtime->allocator, status, NULL, "%s: %s", name, why);
    return pel_refuse(queue, status, error);
}

/* NULL: all is well. */
static const char *wrong_range(const pel_queue *queue, const pel_buffer *buffer, uint64_t offset, uint64_t *bytes,
                               const pel_task_desc *desc, pel_status *status) {
    *status = PEL_INVALID_ARGUMENT;
    if (!buffer || buffer->runtime != queue->runtime) {
        return buffer ? "the buffer belongs to another runtime" : "the buffer is NULL";
    }
    if (desc && desc->size != 0 && desc->size != sizeof *desc) {
        return "pel_task_desc.size is not one that this library knows";
    }
    if (desc && desc->reserved != 0) {
        return "pel_task_desc.reserved is not 0 (use PEL_TASK_DESC_INIT)";
    }
    *bytes = *bytes == 0 && offset < buffer->bytes ? buffer->bytes - offset : *bytes;
    if (*bytes == 0 || !pel_range_within(offset, *bytes, buffer->bytes)) {
        *status = PEL_TOO_LARGE;
        return "the bytes are not within the buffer";
    }
    return NULL;
}

static pel_command *new_command(pel_queue *queue, pel_command_kind kind, const pel_task_desc *desc, const char *name,
                                pel_error **error) {
    return pel_command_new(queue, kind, desc && desc->name ? desc->name : name, desc ? desc->priority : 0, error);
}

static pel_status use_part(pel_command *command, const pel_buffer *buffer, uint64_t offset, uint64_t bytes,
                           pel_access_mode mode) {
    pthread_mutex_lock(&command->runtime->lock);
    pel_status status =
        pel_command_use(command, buffer->allocation, buffer->offset + offset, buffer->offset + offset + bytes, mode);
    pthread_mutex_unlock(&command->runtime->lock);
    return status;
}

static pel_access_mode mode_of(uint32_t flags) {
    return (flags & PEL_MAP_WRITE) == 0 ? PEL_READ : (flags & PEL_MAP_DISCARD) != 0 ? PEL_WRITE : PEL_READ_WRITE;
}

static const char *wrong_flags(uint32_t flags) {
    const uint32_t known = PEL_MAP_READ | PEL_MAP_WRITE | PEL_MAP_DISCARD | PEL_MAP_GUARD;
    if ((flags & ~known) != 0 || (flags & (PEL_MAP_READ | PEL_MAP_WRITE)) == 0) {
        return "flags are PEL_MAP_READ, PEL_MAP_WRITE or both";
    }
    return (flags & PEL_MAP_DISCARD) != 0 && (flags & (PEL_MAP_READ | PEL_MAP_WRITE)) != PEL_MAP_WRITE
               ? "PEL_MAP_DISCARD goes with PEL_MAP_WRITE and without PEL_MAP_READ"
               : NULL;
}

static void free_mapping(pel_mapping *mapping) {
    pel_pages_free(mapping->pages, mapping->bytes);
    pel_free(&mapping->runtime->allocator, mapping);
}

static pel_mapping *make_mapping(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                                 pel_device *device) {
    pel_mapping *made = pel_alloc_zero(&queue->runtime->allocator, 1, sizeof *made);
    if (!made) {
        return NULL;
    }
    made->runtime = queue->runtime;
    made->device = device;
    made->owner = pthread_self();
    made->flags = flags;
    made->data = buffer->data + offset;
    made->bytes = bytes;
    atomic_init(&made->state, PEL_MAPPING_WAITING);
    if ((flags & PEL_MAP_GUARD) != 0 && (made->pages = pel_pages_alloc(bytes)) == NULL) {
        free_mapping(made);
        return NULL;
    }
    return made;
}

static void enlist(pel_mapping *mapping, pel_command *command) {
    pel_dispatcher *dispatcher = mapping->runtime->dispatcher;
    pthread_mutex_lock(&mapping->runtime->lock);
    mapping->command = command;
    mapping->offset = command->uses.data[0].lo;
    for (mapping->place = 0; mapping->place < PEL_MAPPING_CROWD && (dispatcher->mapping_places >> mapping->place & 1) != 0;
         mapping->place++) {
    }
    dispatcher->mapping_places |= UINT64_C(1) << mapping->place;
    mapping->next = dispatcher->mappings;
    dispatcher->mappings = mapping;
    atomic_fetch_add_explicit(&dispatcher->mapping_count, 1, memory_order_relaxed); /* tasks go the long way from now on */
    command->mapping = mapping;
    command->device = mapping->device;
    pthread_mutex_unlock(&mapping->runtime->lock);
}

static pel_status submit_mapping(pel_queue *queue, pel_buffer *buffer, uint64_t offset, const pel_task_desc *desc,
                                 pel_mapping *made) {
    pel_error *error = NULL;
    pel_command *command = new_command(queue, PEL_COMMAND_MAP, desc, "map", &error);
    if (!command) {
        return pel_refuse(queue, PEL_OUT_OF_MEMORY, error);
    }
    if (use_part(command, buffer, offset, made->bytes, mode_of(made->flags)) != PEL_OK) {
        pel_command_discard(command);
        return refuse(queue, PEL_OUT_OF_MEMORY, "map", "no memory");
    }
    enlist(made, command);
    return pel_command_submit(command, desc ? desc->waits : NULL, desc ? desc->wait_count : 0, NULL);
}

static pel_status make_and_submit(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                                  pel_device *device, const pel_task_desc *desc, pel_mapping **mapping) {
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    const char *why = wrong_range(queue, buffer, offset, &bytes, desc, &status);
    why = why ? why : wrong_flags(flags);
    if (why) {
        return refuse(queue, status, "map", why);
    }
    pel_mapping *made = make_mapping(queue, buffer, offset, bytes, flags, device);
    if (!made) {
        return refuse(queue, PEL_OUT_OF_MEMORY, "map", "no memory");
    }
    pel_object_made(queue->runtime, PEL_OBJECT_MAPPING);
    status = submit_mapping(queue, buffer, offset, desc, made);
    if (status != PEL_OK) {
        pel_object_gone(queue->runtime, PEL_OBJECT_MAPPING);
        free_mapping(made);
        return status;
    }
    *mapping = made;
    return PEL_OK;
}

pel_status pel_map(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                   const pel_task_desc *desc, pel_mapping **mapping) {
    if (mapping) {
        *mapping = NULL;
    }
    if (!queue || !mapping) {
        return PEL_INVALID_ARGUMENT;
    }
    return make_and_submit(queue, buffer, offset, bytes, flags, NULL, desc, mapping);
}

pel_status pel_mapping_on_device(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t flags,
                                 const pel_device *device, const pel_task_desc *desc, pel_mapping **mapping) {
    if (device->runtime != queue->runtime) {
        return refuse(queue, PEL_INVALID_ARGUMENT, "map", "the device belongs to another runtime");
    }
    return make_and_submit(queue, buffer, offset, bytes, flags, &queue->runtime->devices[device->index], desc, mapping);
}

/* ---- the program's side ---- */

static bool is_open(void *user) {
    const pel_mapping *mapping = user;
    return atomic_load_explicit(&((pel_mapping *)(uintptr_t)mapping)->state, memory_order_acquire) != PEL_MAPPING_WAITING;
}

static const uint32_t *mapping_works(void *user) {
    const pel_mapping *mapping = user;
    return mapping->command ? mapping->command->queue->on_device : NULL;
}

/*
 * (L) Behind another mapping of this thread: that comes first. Not itself: a marker follows what is in its queue whatever the
 * orders, which are each thread's own, so that what comes after it may have a lower one than a mapping before it.
 */
static bool waits_for_itself(const pel_mapping *mapping) {
    const pel_command *command = mapping->command;
    return command && command->behind != 0 &&
           own_mapping(mapping->runtime->dispatcher, command->behind, command->behind_places, mapping);
}

/* Until it is open, or over: then its status. */
static pel_status await(pel_mapping *mapping) {
    pel_runtime *runtime = mapping->runtime;
    pel_status status = PEL_OK;
    if (!is_open(mapping)) {
        if (pel_inside_task(runtime)) {
            return PEL_WOULD_DEADLOCK;
        }
        pthread_mutex_lock(&runtime->lock);
        if (waits_for_itself(mapping)) {
            status = PEL_WOULD_DEADLOCK;
        } else {
            pel_wait_for(runtime, &(pel_waiting){is_open, is_open, mapping_works, mapping, 1, true});
            status = is_open(mapping) ? PEL_OK : PEL_WOULD_DEADLOCK;
        }
        pthread_mutex_unlock(&runtime->lock);
    }
    if (status == PEL_OK && atomic_load_explicit(&mapping->state, memory_order_acquire) == PEL_MAPPING_OVER) {
        status = mapping->status != PEL_OK ? mapping->status : PEL_CONFLICT;
    }
    return status;
}

pel_status pel_mapping_mem(pel_mapping *mapping, pel_mem **mem, uint64_t *offset) {
    pel_status status = mapping->device ? pel_runtime_check(mapping->runtime, NULL) : PEL_INVALID_ARGUMENT;
    status = status == PEL_OK ? await(mapping) : status;
    if (status == PEL_OK) {
        *mem = mapping->mem; /* once open, only its owner changes it */
        *offset = mapping->offset;
    }
    return status;
}

pel_status pel_map_wait(pel_mapping *mapping, void **memory) {
    if (memory) {
        *memory = NULL;
    }
    if (!mapping || !memory || mapping->device) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(mapping->runtime, NULL);
    status = status == PEL_OK ? await(mapping) : status;
    if (status != PEL_OK) {
        return status;
    }
    if (mapping->pages && !mapping->filled) {
        if ((mapping->flags & PEL_MAP_DISCARD) == 0) {
            memcpy(mapping->pages, mapping->data, (size_t)mapping->bytes);
        }
        if ((mapping->flags & PEL_MAP_WRITE) == 0) {
            /* refused: stores do not fault, but still reach nothing */
            (void)mprotect(mapping->pages, (size_t)mapping->bytes, PROT_READ);
        }
        mapping->filled = true;
    }
    *memory = mapping->pages ? mapping->pages : mapping->data;
    return PEL_OK;
}

/* Nothing can be read or stored through them any more; the addresses stay taken until the mapping is destroyed, so that they
 * mean nothing else. */
static void close_pages(pel_mapping *mapping) {
    if (mapping->filled && (mapping->flags & PEL_MAP_WRITE) != 0) {
        memcpy(mapping->data, mapping->pages, (size_t)mapping->bytes);
    }
    void *closed = mmap(mapping->pages, (size_t)mapping->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (closed == MAP_FAILED) {
        (void)mprotect(mapping->pages, (size_t)mapping->bytes, PROT_NONE);
    }
}

pel_status pel_unmap(pel_mapping *mapping) {
    if (!mapping) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_runtime *runtime = mapping->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    if (mapping->pages && atomic_load_explicit(&mapping->state, memory_order_acquire) == PEL_MAPPING_OPEN) {
        close_pages(mapping);
    }
    pthread_mutex_lock(&runtime->lock);
    pel_command *command = mapping->command;
    if (!command) {
        pthread_mutex_unlock(&runtime->lock);
        return PEL_CONFLICT;
    }
    bool open = command->phase == PEL_PHASE_MAPPED;
    detach(mapping, PEL_OK);
    if (open) {
        pel_command_end(command);
        pel_dispatch(runtime);
    }
    pel_dispatcher_unlock(runtime, true);
    return PEL_OK;
}

void pel_mapping_destroy(pel_mapping *mapping) {
    if (!mapping || pel_runtime_check(mapping->runtime, NULL) != PEL_OK) {
        return;
    }
    pel_runtime *runtime = mapping->runtime;
    (void)pel_unmap(mapping); /* CONFLICT: it is over already */
    free_mapping(mapping);
    pel_object_gone(runtime, PEL_OBJECT_MAPPING);
}

pel_status pel_prefetch(pel_queue *queue, pel_buffer *buffer, uint64_t offset, uint64_t bytes, const pel_device *device,
                        const pel_task_desc *desc, pel_event **event) {
    pel_error *error = NULL;
    if (event) {
        *event = NULL;
    }
    pel_status status = queue ? pel_runtime_check(queue->runtime, NULL) : PEL_INVALID_ARGUMENT;
    if (status != PEL_OK) {
        return status;
    }
    const char *why = wrong_range(queue, buffer, offset, &bytes, desc, &status);
    if (!why && (!device || device->runtime != queue->runtime)) {
        status = PEL_INVALID_ARGUMENT;
        why = device ? "the device belongs to another runtime" : "the device is NULL";
    }
    if (why) {
        return refuse(queue, status, "prefetch", why);
    }
    pel_command *command = new_command(queue, PEL_COMMAND_PREFETCH, desc, "prefetch", &error);
    if (!command) {
        return pel_refuse(queue, PEL_OUT_OF_MEMORY, error);
    }
    command->device = device->place != 0 ? &queue->runtime->devices[device->index] : NULL;
    if (use_part(command, buffer, offset, bytes, PEL_READ) != PEL_OK) {
        pel_command_discard(command);
        return refuse(queue, PEL_OUT_OF_MEMORY, "prefetch", "no memory");
    }
    return pel_command_submit(command, desc ? desc->waits : NULL, desc ? desc->wait_count : 0, event);
}
