/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room on devices, for all of a launch at once.
 *
 * A launch claims what it needs of every device's memory before it starts, or nothing: two launches that each hold half of what
 * both need would wait for each other for ever. What it has claimed is pinned until it ends. What nobody has pinned may go: first
 * what no submitted command will use, least recently used first, then what is needed furthest in the future. Bytes that only the
 * device has are written back before, and only those; the launch then looks again, as the world may have changed meanwhile.
 *
 * The oldest launch that waits for room on a device keeps younger ones from claiming any there, so nobody starves; waiting ends,
 * because commands that run never wait for room. A launch that streams wants the device's memory for itself: whatever is left
 * becomes its windows. What could never fit was refused when it was submitted (stream.c).
 */
#include "queue/claim.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include <inttypes.h>
#include <string.h>

enum {
    LOOK_AHEAD = 256, /* commands of a queue that are asked for their next use: more are too far away to matter */
    LOOK_BACK = 64    /* pins of a command that are asked whether they are the one that is wanted */
};

/* ---- pins ---- */

pel_status pel_command_pin(pel_command *command, pel_allocation *allocation, const pel_device *device) {
    if (device->place == 0) {
        return PEL_OK;
    }
    uint32_t looked_at = 0; /* twice pinned is only a record more, and there may be thousands of devices */
    for (const pel_pin *pin = command->pins; pin && looked_at < LOOK_BACK; pin = pin->next, looked_at++) {
        if (pin->allocation == allocation && pin->device == device->index) {
            return PEL_OK;
        }
    }
    pel_pin *made = pel_alloc(&command->runtime->allocator, sizeof *made);
    if (!made) {
        return PEL_OUT_OF_MEMORY;
    }
    *made = (pel_pin){command->pins, allocation, device->index};
    command->pins = made;
    pel_allocation_pin(allocation, device);
    return PEL_OK;
}

void pel_command_unpin(pel_command *command) {
    const bool any = command->pins != NULL;
    while (command->pins) {
        pel_pin *pin = command->pins;
        command->pins = pin->next;
        pel_allocation_unpin(pin->allocation, &command->runtime->devices[pin->device]);
        pel_free(&command->runtime->allocator, pin);
    }
    if (any) {
        pel_restart_stalled(command->runtime);
    }
}

void pel_command_waives(const pel_command *command) {
    for (uint32_t d = 0; d < command->runtime->device_count; d++) {
        pel_device *device = &command->runtime->devices[d];
        if (device->claimant == command) {
            device->claimant = NULL;
            pel_restart_stalled(command->runtime);
        }
    }
}

/* ---- who goes ---- */

/* How many commands are submitted before one that will use it; UINT64_MAX: none that is known. */
static uint64_t next_use(const pel_runtime *runtime, const pel_allocation *allocation, const pel_command *asks) {
    uint64_t next = UINT64_MAX;
    for (const pel_queue *queue = runtime->dispatcher->queues; queue; queue = queue->next) {
        uint32_t seen = 0;
        for (const pel_command *c = queue->first; c && seen < LOOK_AHEAD; c = c->after, seen++) {
            for (uint32_t i = 0; i < c->uses.count && c != asks && c->phase == PEL_PHASE_WAITING; i++) {
                const uint64_t order = pel_node_order(c->node);
                next = c->uses.data[i].allocation == allocation && order < next ? order : next;
            }
        }
    }
    return next;
}

static bool is_own(const pel_command *command, const pel_device *device, const pel_allocation *allocation) {
    const pel_bound *bound = &command->bound;
    const bool streams = pel_stream_needed(bound, device);
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].allocation == allocation && bound->args[i].param != PEL_PARAM_KIND_REDUCE_PRIVATE &&
            !(streams && pel_stream_windowed(bound, i))) {
            return true;
        }
    }
    return false;
}

/* The copy on `device` that is best given up; NULL: all are pinned, or asked for. */
static pel_allocation *victim(const pel_command *command, const pel_device *device, const pel_uses *chosen) {
    pel_allocation *best = NULL;
    uint64_t best_next = 0;
    for (pel_allocation *a = command->runtime->allocations; a; a = a->next) {
        bool taken = !pel_allocation_may_leave(a, device) || is_own(command, device, a);
        for (uint32_t i = 0; i < chosen->count && !taken; i++) {
            taken = chosen->data[i].allocation == a;
        }
        if (taken) {
            continue;
        }
        const uint64_t next = next_use(command->runtime, a, command);
        /* the caller's word counts for more than what is seen */
        const int rank = best ? pel_allocation_rank(a, device) - pel_allocation_rank(best, device) : -1;
        if (rank < 0 ||
            (rank == 0 && (next > best_next || (next == best_next && a->used[device->index] < best->used[device->index])))) {
            best = a;
            best_next = next;
        }
    }
    return best;
}

/* ---- a claim ---- */

/* Bytes of its arguments that the device does not have yet, and that it has. */
static void count_own(const pel_command *command, const pel_device *device, uint64_t *missing, uint64_t *present) {
    *missing = *present = 0;
    for (const pel_allocation *a = command->runtime->allocations; a; a = a->next) {
        if (is_own(command, device, a)) {
            *(a->mems[device->index] ? present : missing) += a->bytes;
        }
    }
}

typedef struct claim {
    pel_command *command;
    pel_uses *home;    /* what must be written back */
    pel_uses leaving;  /* whose */
    pel_allocation *allocation;
    uint32_t place;
    bool failed, waits;
} claim;

static bool note_alone(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    claim *c = user;
    if (pel_places_are_only(c->command->runtime, places, c->place)) {
        c->failed = !pel_uses_add(&c->command->runtime->allocator, c->home, c->allocation, lo, hi, PEL_READ);
    }
    return !c->failed;
}

/* Frees `bytes` of a device's memory, or notes what has to be written back for that. False: more is pinned than that allows. */
static bool free_bytes(claim *c, pel_device *device, uint64_t bytes) {
    pel_runtime *runtime = c->command->runtime;
    for (uint64_t freed = 0; freed < bytes && !c->failed;) {
        pel_allocation *a = victim(c->command, device, &c->leaving);
        if (!a) {
            return false;
        }
        freed += a->bytes;
        const uint32_t before = c->home->count;
        c->allocation = a;
        c->place = device->place;
        pel_allocation_missing(a, 0, 0, a->bytes, note_alone, c);
        if (c->home->count == before) {
            pel_log(&runtime->logger, PEL_LOG_DEBUG, "%s: dropped a copy of %" PRIu64 " bytes to make room",
                    device->facts->info.id, a->bytes);
            pel_allocation_leave(a, device);
        } else {
            c->failed = c->failed || !pel_uses_add(&runtime->allocator, &c->leaving, a, 0, a->bytes, PEL_READ);
        }
    }
    return true;
}

static bool others_are_pinned(const pel_command *command, const pel_device *device) {
    for (const pel_allocation *a = command->runtime->allocations; a; a = a->next) {
        if (a->pins[device->index] > 0 && !is_own(command, device, a)) {
            return true;
        }
    }
    return device->windows > 0;
}

/* One device; nothing is pinned yet. */
static void claim_device(claim *c, pel_device *device) {
    pel_command *command = c->command;
    const uint64_t budget = device->facts->info.memory_bytes;
    const bool streams = pel_stream_needed(&command->bound, device);
    uint64_t missing, present;
    count_own(command, device, &missing, &present);
    if (budget == 0 || (missing == 0 && !streams)) {
        return;
    }
    if (device->claimant && device->claimant != command &&
        pel_node_order(device->claimant->node) < pel_node_order(command->node)) {
        c->waits = true;
        return;
    }
    if (!streams && device->memory_used + missing <= budget) {
        return;
    }
    const bool busy = others_are_pinned(command, device);
    bool fits = !(streams && busy);
    if (streams && fits) { /* all that may go, goes: what is left becomes windows */
        while (!c->failed && free_bytes(c, device, 1)) {
        }
    } else if (!streams) {
        fits = free_bytes(c, device, device->memory_used + missing - budget);
    }
    if (!fits && busy) { /* they end, and let go */
        c->waits = true;
        device->claimant = !device->claimant || pel_node_order(command->node) < pel_node_order(device->claimant->node)
                               ? command
                               : device->claimant;
    }
}

static pel_status pin_own(pel_command *command, pel_device *device, pel_error **error) {
    pel_status status = PEL_OK;
    for (pel_allocation *a = command->runtime->allocations; a && status == PEL_OK; a = a->next) {
        if (is_own(command, device, a)) {
            pel_mem *mem;
            status = pel_allocation_mem(a, device, &mem, error);
            status = status == PEL_OK ? pel_command_pin(command, a, device) : status;
        }
    }
    device->claimant = device->claimant == command ? NULL : device->claimant;
    return status;
}

pel_status pel_launch_claim(pel_command *command, pel_uses *home, bool *stalled, bool *again) {
    pel_runtime *runtime = command->runtime;
    claim c = {.command = command, .home = home};
    pel_error *error = NULL;
    pel_status status = PEL_OK;
    bool own_memory = false;
    *stalled = *again = false;
    for (uint32_t s = 0; s < command->slice_count && !command->pins; s++) {
        pel_device *device = &runtime->devices[command->slices[s].device];
        if (device->place != 0 && !pel_slice_is_second(command, s)) { /* both its parts need the same, once */
            own_memory = true;
            claim_device(&c, device);
        }
    }
    pel_uses_free(&runtime->allocator, &c.leaving);
    if (c.failed) {
        status = PEL_OUT_OF_MEMORY;
    } else if (c.waits) {
        home->count = 0; /* nothing is written back for a launch that waits */
        *stalled = true;
    } else if (home->count > 0) {
        *again = true;
        for (uint32_t s = 0; s < command->slice_count; s++) { /* what goes now goes for it, not for who comes by meanwhile */
            pel_device *device = &runtime->devices[command->slices[s].device];
            device->claimant = device->place != 0 && !device->claimant ? command : device->claimant;
        }
    } else if (own_memory) {
        for (uint32_t s = 0; s < command->slice_count && status == PEL_OK; s++) {
            pel_device *device = &runtime->devices[command->slices[s].device];
            status = device->place != 0 && !device->lost ? pin_own(command, device, &error) : PEL_OK;
            if (pel_retry_forgives(command, status)) { /* found again when the chunk is built, which then runs elsewhere */
                pel_error_destroy(error);
                error = NULL;
                status = PEL_OK;
            }
        }
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    }
    return status;
}
