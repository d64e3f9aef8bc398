/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers: handles on ranges of allocations, and the public API.
 *
 * Wraps may overlap in any way, yet a byte must have one truth. A wrap inside a known allocation joins it. A wrap that sticks
 * out of one, or bridges several, makes a new allocation over all of them; since commands and device memory refer to the old
 * ones, that waits until these are quiet and their bytes are home. Rejected: chains of allocations per buffer, because every
 * transfer, hazard and view would have to walk them for the sake of a case that hardly occurs.
 */
#include "base/checked.h"
#include "memory/residency.h"
#include <string.h>
#include <time.h>

/*
 * A thread may hold an allocation for microseconds between binding a launch and submitting it: 1000 looks, 100 us apart,
 * outlast any such moment.
 */
#define SETTLE_LOOKS 1000
#define SETTLE_PAUSE_NS 100000

static void add_buffer(pel_allocation *allocation, pel_buffer *buffer, uint64_t offset) {
    buffer->allocation = allocation;
    buffer->offset = offset;
    buffer->data = allocation->base + offset;
    if (allocation->away) {
        atomic_store_explicit(&buffer->away, true, memory_order_relaxed);
    }
    buffer->next = allocation->buffers;
    allocation->buffers = buffer;
    allocation->wraps += buffer->wrapped;
    pel_allocation_retain(allocation);
}

static void remove_buffer(pel_buffer *buffer) {
    pel_allocation *allocation = buffer->allocation;
    for (pel_buffer **link = &allocation->buffers; *link; link = &(*link)->next) {
        if (*link == buffer) {
            *link = buffer->next;
            break;
        }
    }
    allocation->wraps -= buffer->wrapped;
    pel_allocation_release(allocation);
}

static uint64_t address_of(const void *pointer) {
    return (uint64_t)(uintptr_t)pointer;
}

static bool overlaps(const pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    return address_of(allocation->base) < hi && lo < address_of(allocation->base) + allocation->bytes;
}

/* Whether commands use some of these bytes. */
static bool in_use(const pel_allocation *allocation, uint64_t offset, uint64_t bytes) {
    const pel_memory_hooks *hooks = pel_memory_hooks_get(allocation->runtime);
    return allocation->commands > 0 || (hooks && hooks->busy && hooks->busy(allocation->runtime, allocation, offset, bytes));
}

static bool at_home(const pel_allocation *allocation) {
    return allocation->fetching == 0 && pel_allocation_missing_bytes(allocation, 0, 0, allocation->bytes) == 0;
}

/*
 * Waits until the commands of an allocation are done and its bytes are home. Holds the lock on entry and on return, not
 * between.
 */
static pel_status settle(pel_allocation *allocation) {
    pel_runtime *runtime = allocation->runtime;
    const pel_memory_hooks *hooks = pel_memory_hooks_get(runtime);
    if (!hooks) {
        return PEL_OK;
    }
    pel_allocation_retain(allocation);
    pthread_mutex_unlock(&runtime->lock);
    pel_status status = hooks->idle(runtime, allocation);
    if (status == PEL_OK) {
        status = hooks->sync(runtime, allocation, 0, allocation->bytes);
    }
    pthread_mutex_lock(&runtime->lock);
    pel_allocation_release(allocation);
    return status;
}

static void pause_unlocked(pel_runtime *runtime) {
    const struct timespec pause = {0, SETTLE_PAUSE_NS};
    pthread_mutex_unlock(&runtime->lock);
    (void)nanosleep(&pause, NULL);
    pthread_mutex_lock(&runtime->lock);
}

/* Takes allocations that no buffer and no command uses off the list: their addresses may by now mean other memory. */
static void unlist_dead(pel_runtime *runtime, uint64_t lo, uint64_t hi) {
    for (pel_allocation *next, *allocation = runtime->allocations; allocation; allocation = next) {
        next = allocation->next;
        if (overlaps(allocation, lo, hi) && !allocation->buffers && allocation->fetching == 0 &&
            !in_use(allocation, 0, allocation->bytes)) {
            pel_allocation_unlist(allocation);
        }
    }
}

/* The first allocation that [lo, hi) touches and that is in use or not at home. */
static pel_allocation *first_unsettled(const pel_runtime *runtime, uint64_t lo, uint64_t hi) {
    for (pel_allocation *allocation = runtime->allocations; allocation; allocation = allocation->next) {
        if (overlaps(allocation, lo, hi) &&
            (!pel_allocation_quiet(allocation) || !at_home(allocation) || in_use(allocation, 0, allocation->bytes))) {
            return allocation;
        }
    }
    return NULL;
}

static pel_allocation *containing(const pel_runtime *runtime, uint64_t lo, uint64_t hi) {
    for (pel_allocation *allocation = runtime->allocations; allocation; allocation = allocation->next) {
        uint64_t base = address_of(allocation->base);
        if (lo >= base && hi - base <= allocation->bytes) {
            return allocation;
        }
    }
    return NULL;
}

/* Moves the buffers of `from` to `to`, which covers it, and frees it. */
static void absorb(pel_allocation *to, pel_allocation *from) {
    uint64_t shift = address_of(from->base) - address_of(to->base);
    while (from->buffers) {
        pel_buffer *buffer = from->buffers;
        from->buffers = buffer->next;
        from->references--;
        add_buffer(to, buffer, buffer->offset + shift);
    }
    to->sensitive |= from->sensitive;
    to->stays |= from->stays;
    to->leaves |= from->leaves & ~to->stays;
    pel_allocation_delist(from); /* a failed writer of these bytes still counts */
    pel_allocation_destroy(from);
}

/* One allocation for [lo, hi) and every settled allocation that it touches. */
static pel_status make_union(pel_runtime *runtime, uint64_t lo, uint64_t hi, pel_allocation **made) {
    uint64_t first = lo, last = hi;
    for (const pel_allocation *allocation = runtime->allocations; allocation; allocation = allocation->next) {
        if (!overlaps(allocation, lo, hi)) {
            continue;
        }
        if (allocation->owned) {
            return PEL_INVALID_ARGUMENT; /* reaches beyond the pages of a buffer of ours */
        }
        uint64_t base = address_of(allocation->base);
        first = base < first ? base : first;
        last = base + allocation->bytes > last ? base + allocation->bytes : last;
    }
    *made = pel_allocation_create(runtime, (unsigned char *)(uintptr_t)first, last - first, false);
    if (!*made) {
        return PEL_OUT_OF_MEMORY;
    }
    for (pel_allocation *next, *allocation = (*made)->next; allocation; allocation = next) {
        next = allocation->next;
        if (overlaps(allocation, lo, hi)) {
            absorb(*made, allocation);
        }
    }
    return PEL_OK;
}

/* What the caller wraps is what it sees: copies that devices made earlier of an idle range may be older than that. */
static pel_status trust_host(pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    uint64_t base = address_of(allocation->base);
    bool idle = !in_use(allocation, 0, allocation->bytes) && allocation->fetching == 0;
    if (!idle || pel_allocation_missing_bytes(allocation, 0, lo - base, hi - base) != 0) {
        return PEL_OK;
    }
    return pel_allocation_written(allocation, 0, lo - base, hi - base);
}

/* (L) An allocation that covers [lo, hi). */
static pel_status find_or_make(pel_runtime *runtime, uint64_t lo, uint64_t hi, pel_allocation **allocation) {
    for (uint32_t looks = 0;;) {
        unlist_dead(runtime, lo, hi);
        *allocation = containing(runtime, lo, hi);
        if (*allocation) {
            return trust_host(*allocation, lo, hi);
        }
        pel_allocation *busy = first_unsettled(runtime, lo, hi);
        if (!busy) {
            return make_union(runtime, lo, hi, allocation);
        }
        if (busy->owned) {
            return PEL_INVALID_ARGUMENT;
        }
        if (looks++ == SETTLE_LOOKS) {
            return PEL_BUSY;
        }
        bool held_only = !in_use(busy, 0, busy->bytes) && at_home(busy);
        if (held_only) {
            pause_unlocked(runtime);
            continue;
        }
        pel_status status = settle(busy);
        if (status != PEL_OK) {
            return status;
        }
    }
}

static pel_status wrap(pel_runtime *runtime, void *memory, uint64_t bytes, bool sensitive, pel_buffer **buffer) {
    uint64_t end;
    if (buffer) {
        *buffer = NULL;
    }
    if (!runtime || !memory || !buffer || bytes == 0 || !pel_add_u64(address_of(memory), bytes, &end) || bytes > PTRDIFF_MAX) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pel_buffer *made = pel_alloc_zero(&runtime->allocator, 1, sizeof *made);
    if (!made) {
        return PEL_OUT_OF_MEMORY;
    }
    made->runtime = runtime;
    made->bytes = bytes;
    made->wrapped = true;
    pel_allocation *allocation = NULL;
    pthread_mutex_lock(&runtime->lock);
    status = find_or_make(runtime, address_of(memory), end, &allocation);
    if (status == PEL_OK) {
        add_buffer(allocation, made, address_of(memory) - address_of(allocation->base));
        allocation->sensitive |= sensitive;
    }
    pthread_mutex_unlock(&runtime->lock);
    if (status != PEL_OK) {
        pel_free(&runtime->allocator, made);
        return status;
    }
    pel_object_made(runtime, PEL_OBJECT_BUFFER);
    *buffer = made;
    return PEL_OK;
}

pel_status pel_buffer_wrap(pel_runtime *runtime, void *memory, uint64_t bytes, pel_buffer **buffer) {
    return wrap(runtime, memory, bytes, false, buffer);
}

/* The last buffer of an allocation takes it along, but not from under the tasks that use it. */
static pel_status hold_for_tasks(pel_buffer *buffer) {
    pel_runtime *runtime = buffer->runtime;
    const pel_memory_hooks *hooks = pel_memory_hooks_get(runtime);
    pthread_mutex_lock(&runtime->lock);
    pel_allocation *allocation = buffer->allocation;
    bool last = allocation->buffers == buffer && !buffer->next;
    bool busy = last && hooks && hooks->busy && hooks->busy(runtime, allocation, 0, allocation->bytes);
    pthread_mutex_unlock(&runtime->lock);
    pel_status status = busy ? hooks->hold(runtime, allocation) : PEL_OK;
    return status == PEL_OK ? PEL_OK : hooks->idle(runtime, allocation);
}

static void *take_memory(const pel_buffer_desc *desc) {
    void *memory = desc->source ? desc->source->allocate(desc->source->user, desc->bytes) : pel_pages_alloc(desc->bytes);
    if (memory && desc->source) {
        memset(memory, 0, (size_t)desc->bytes);
    } else if (memory && (desc->flags & PEL_BUFFER_SENSITIVE) != 0) {
        pel_pages_conceal(memory, desc->bytes);
    }
    return memory;
}

static void give_memory(const pel_buffer_desc *desc, void *memory) {
    if (desc->source) {
        desc->source->release(desc->source->user, memory, desc->bytes);
    } else {
        pel_pages_free(memory, desc->bytes);
    }
}

static pel_status create_owned(pel_runtime *runtime, const pel_buffer_desc *desc, pel_buffer *buffer, pel_error **error) {
    void *memory = take_memory(desc);
    if (!memory) {
        pel_story story = {.advice = desc->source ? "see what its memory source says"
                                                  : "use smaller buffers, or raise the limits of this process (ulimit -v)"};
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, &story, "no memory for a buffer of %llu bytes",
                        (unsigned long long)desc->bytes);
    }
    pthread_mutex_lock(&runtime->lock);
    /*
     * The system may hand out addresses that a wrap of memory unmapped since still names: such a wrap is dead and must not be
     * met again.
     */
    unlist_dead(runtime, address_of(memory), address_of(memory) + desc->bytes);
    pel_allocation *allocation = pel_allocation_create(runtime, memory, desc->bytes, true);
    if (allocation) {
        allocation->sensitive = (desc->flags & PEL_BUFFER_SENSITIVE) != 0;
        allocation->source = desc->source ? *desc->source : (pel_memory_source){NULL, NULL, NULL};
        add_buffer(allocation, buffer, 0);
    }
    pthread_mutex_unlock(&runtime->lock);
    if (!allocation) {
        give_memory(desc, memory);
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a buffer's records");
    }
    return PEL_OK;
}

/* NULL: all is well. */
static const char *wrong_desc(const pel_buffer_desc *desc) {
    if (desc->size != 0 && desc->size != sizeof *desc) {
        return "pel_buffer_desc.size is not one that this library knows";
    }
    if ((desc->flags & ~(uint32_t)PEL_BUFFER_SENSITIVE) != 0 || desc->reserved != 0) {
        return "pel_buffer_desc has an unknown flag, or a reserved field that is not 0";
    }
    if (desc->source && (desc->memory || !desc->source->allocate || !desc->source->release)) {
        return desc->memory ? "pel_buffer_desc has both memory and a source of it" : "pel_memory_source lacks a function";
    }
    return NULL;
}

pel_status pel_buffer_create_with(pel_runtime *runtime, const pel_buffer_desc *desc, pel_buffer **buffer, pel_error **error) {
    if (buffer) {
        *buffer = NULL;
    }
    if (!runtime || !buffer || !desc) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_buffer_create: %s is NULL",
                        !runtime ? "runtime" : buffer ? "desc" : "buffer");
    }
    pel_status status = pel_runtime_check(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    const char *why = desc->bytes == 0 ? "a buffer of 0 bytes was asked for" : wrong_desc(desc);
    if (why) {
        return pel_fail(error, &runtime->allocator, PEL_INVALID_ARGUMENT, NULL, "%s", why);
    }
    if (desc->bytes > PTRDIFF_MAX) {
        return pel_fail(error, &runtime->allocator, PEL_TOO_LARGE, NULL,
                        "a buffer of %llu bytes is more than a process can address", (unsigned long long)desc->bytes);
    }
    if (desc->memory) {
        status = wrap(runtime, desc->memory, desc->bytes, (desc->flags & PEL_BUFFER_SENSITIVE) != 0, buffer);
        return status == PEL_OK
                   ? status
                   : pel_fail(error, &runtime->allocator, status, NULL, "memory cannot be wrapped: %s", pel_status_text(status));
    }
    pel_buffer *made = pel_alloc_zero(&runtime->allocator, 1, sizeof *made);
    if (!made) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a buffer's records");
    }
    made->runtime = runtime;
    made->bytes = desc->bytes;
    status = create_owned(runtime, desc, made, error);
    if (status != PEL_OK) {
        pel_free(&runtime->allocator, made);
        return status;
    }
    pel_object_made(runtime, PEL_OBJECT_BUFFER);
    *buffer = made;
    return PEL_OK;
}

pel_status pel_buffer_create(pel_runtime *runtime, uint64_t bytes, pel_buffer **buffer, pel_error **error) {
    const pel_buffer_desc desc = {.bytes = bytes};
    return pel_buffer_create_with(runtime, &desc, buffer, error);
}

bool pel_buffer_is_sensitive(const pel_buffer *buffer) {
    pthread_mutex_lock(&buffer->runtime->lock);
    bool sensitive = buffer->allocation->sensitive;
    pthread_mutex_unlock(&buffer->runtime->lock);
    return sensitive;
}

/* (L) Host memory holds them from now on, as it is. */
static pel_status discard(const pel_buffer *buffer) {
    pel_allocation *allocation = buffer->allocation;
    const pel_memory_hooks *hooks = pel_memory_hooks_get(buffer->runtime);
    if (allocation->commands > 0 || allocation->fetching > 0 ||
        (hooks && hooks->busy(buffer->runtime, allocation, buffer->offset, buffer->bytes))) {
        return PEL_BUSY;
    }
    return pel_allocation_written(allocation, 0, buffer->offset, buffer->offset + buffer->bytes);
}

static void set_advice(pel_allocation *allocation, pel_advice advice, uint64_t devices) {
    allocation->stays &= ~devices;
    allocation->leaves &= ~devices;
    *(advice == PEL_ADVICE_KEEP ? &allocation->stays : &allocation->leaves) |= advice == PEL_ADVICE_NONE ? 0 : devices;
}

pel_status pel_buffer_advise(pel_buffer *buffer, pel_advice advice, const pel_device *device) {
    if (!buffer || (unsigned)advice > PEL_ADVICE_DISCARD ||
        (device && (advice == PEL_ADVICE_DISCARD || device->runtime != buffer->runtime))) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(buffer->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&buffer->runtime->lock);
    if (advice == PEL_ADVICE_DISCARD) {
        status = discard(buffer);
    } else {
        set_advice(buffer->allocation, advice, device ? pel_device_bit(device) : UINT64_MAX);
    }
    pthread_mutex_unlock(&buffer->runtime->lock);
    return status;
}

uint64_t pel_buffer_bytes(const pel_buffer *buffer) {
    return buffer ? buffer->bytes : 0;
}

void *pel_buffer_data(const pel_buffer *buffer) {
    if (!buffer || pel_runtime_check(buffer->runtime, NULL) != PEL_OK) {
        return NULL;
    }
    pthread_mutex_lock(&buffer->runtime->lock); /* the address never changes, but the allocation that knows it may */
    void *data = buffer->allocation->base + buffer->offset;
    pthread_mutex_unlock(&buffer->runtime->lock);
    return data;
}

/* (L), dropped while it waits. Brings the bytes of a buffer home when a device may have newer ones. */
static pel_status bring_home(pel_buffer *buffer) {
    pel_runtime *runtime = buffer->runtime;
    pel_allocation *allocation = buffer->allocation;
    const pel_memory_hooks *hooks = pel_memory_hooks_get(runtime);
    bool current = !in_use(allocation, buffer->offset, buffer->bytes) && allocation->fetching == 0 &&
                   pel_allocation_missing_bytes(allocation, 0, buffer->offset, buffer->offset + buffer->bytes) == 0;
    if (current || !hooks) {
        return PEL_OK;
    }
    uint64_t offset = buffer->offset;
    pel_allocation_retain(allocation);
    pthread_mutex_unlock(&runtime->lock);
    pel_status status = hooks->sync(runtime, allocation, offset, buffer->bytes);
    pthread_mutex_lock(&runtime->lock);
    pel_allocation_release(allocation);
    return status;
}

pel_status pel_buffer_sync(pel_buffer *buffer) {
    if (!buffer) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(buffer->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    pthread_mutex_lock(&buffer->runtime->lock);
    status = bring_home(buffer);
    pthread_mutex_unlock(&buffer->runtime->lock);
    return status;
}

pel_status pel_buffer_destroy(pel_buffer *buffer) {
    if (!buffer) {
        return PEL_OK;
    }
    pel_runtime *runtime = buffer->runtime;
    pel_status status = pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    status = hold_for_tasks(buffer);
    if (status == PEL_OK && buffer->let_go) {
        const pel_memory_hooks *hooks = pel_memory_hooks_get(runtime);
        status = hooks ? hooks->idle(runtime, buffer->allocation) : PEL_OK;
    }
    if (status != PEL_OK) { /* no memory, inside a task */
        return status;
    }
    pthread_mutex_lock(&runtime->lock);
    status = buffer->wrapped ? bring_home(buffer) : PEL_OK;
    if (status == PEL_WOULD_DEADLOCK) { /* inside a task: nothing is destroyed, the caller can do it outside */
        pthread_mutex_unlock(&runtime->lock);
        return status;
    }
    remove_buffer(buffer);
    pthread_mutex_unlock(&runtime->lock);
    if (buffer->let_go) {
        buffer->let_go(buffer->user);
    }
    pel_free(&runtime->allocator, buffer);
    pel_object_gone(runtime, PEL_OBJECT_BUFFER);
    return status;
}

void pel_buffer_get_counters(const pel_buffer *buffer, pel_buffer_counters *counters) {
    if (!counters) {
        return;
    }
    *counters = (pel_buffer_counters){0, 0, 0};
    if (!buffer || pel_runtime_check(buffer->runtime, NULL) != PEL_OK) {
        return;
    }
    pthread_mutex_lock(&buffer->runtime->lock);
    *counters = buffer->counters;
    pthread_mutex_unlock(&buffer->runtime->lock);
}
