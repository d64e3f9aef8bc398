/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quarantine.
 *
 * One failed chunk may be the kernel's fault, three in a row are the device's: it is left out for a second, then for two, four,
 * ... and must pass a known-answer test each time before it works again. A device that said that it is lost needs a new context
 * for that: it gets one, once; who is lost again is retired. The context is only replaced while nothing of the old one is in use
 * and no byte is valid there alone: such bytes stay marked as lost until they are written anew, or given up by pel_queue_reset.
 * The old driver is kept, asleep, until the runtime ends: closing it could block, and this never does. Nor does opening the new
 * one, which may take seconds: a host worker does that (rebuild.c).
 *
 * A result that was compared and found wrong makes a device suspect: all its chunks of verified launches are compared from then
 * on. The second one before 64 right ones in a row quarantines it; a known-answer test says little about a fault that comes now
 * and then, so it comes back as a suspect.
 *
 * Nobody is left without any device for a suspicion: failures alone exclude a device only while another one is well. There is no
 * thread and no timer: who plans a launch looks whether somebody's time is over, so an idle runtime tests nothing.
 */
#include "resilience/health.h"
#include "base/text.h"
#include "memory/residency.h"
#include "queue/command.h"
#include "queue/verify.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { STREAK = 3, LONGEST_DOUBLINGS = 9, LIES = 2, FORGIVEN_AFTER = 64 };
#define FIRST_NS 1000000000ll

static void set_reason(pel_device *device, const char *why) {
    (void)snprintf(device->health.reason, sizeof device->health.reason, "%s", why && why[0] ? why : "it reported no reason");
}

/* It is not to be used for a while. */
static void quarantine(pel_device *device, const char *why, int64_t now) {
    pel_device_health *h = &device->health;
    if (h->state == PEL_DEVICE_RETIRED || h->state == PEL_DEVICE_QUARANTINED) {
        return;
    }
    const uint32_t doublings = h->quarantines < LONGEST_DOUBLINGS ? h->quarantines : LONGEST_DOUBLINGS;
    set_reason(device, why);
    h->state = device->lost && device->former ? PEL_DEVICE_RETIRED : PEL_DEVICE_QUARANTINED;
    h->quarantines++;
    h->since = now;
    h->until = now + (FIRST_NS << doublings);
    pel_log(&device->runtime->logger, PEL_LOG_WARNING, "%s is %s: %s", device->facts->info.id,
            h->state == PEL_DEVICE_RETIRED ? "retired, as its context was built anew before" : "quarantined", h->reason);
}

void pel_health_note(pel_device *device, pel_status status, const pel_error *why, const pel_clock *clock) {
    if (status == PEL_OK) {
        device->streak = 0;
        return;
    }
    if (status != PEL_DEVICE_FAILED && status != PEL_DEVICE_LOST && status != PEL_TIMED_OUT) {
        return;
    }
    device->health.failures++;
    device->streak++;
    if (status != PEL_DEVICE_FAILED || device->streak >= STREAK) {
        device->streak = 0;
        quarantine(device, pel_error_message(why), pel_clock_now(clock));
    }
}

void pel_health_verified(pel_device *device) {
    pel_device_health *h = &device->health;
    h->verified++;
    if (device->lies > 0 && ++device->truths >= FORGIVEN_AFTER) {
        device->lies = device->truths = 0;
        h->state = h->state == PEL_DEVICE_SUSPECT ? PEL_DEVICE_WELL : h->state;
        pel_log(&device->runtime->logger, PEL_LOG_INFO, "%s computed %d chunks rightly in a row and is trusted again",
                device->facts->info.id, FORGIVEN_AFTER);
    }
}

void pel_health_lied(pel_device *device, const char *what, const pel_clock *clock) {
    pel_device_health *h = &device->health;
    h->lies++;
    h->wrong_results++;
    device->lies++;
    device->truths = 0;
    if (device->lies >= LIES) {
        quarantine(device, what, pel_clock_now(clock));
        return;
    }
    set_reason(device, what);
    if (h->state == PEL_DEVICE_WELL) {
        h->state = PEL_DEVICE_SUSPECT;
        h->since = pel_clock_now(clock);
    }
    pel_log(&device->runtime->logger, PEL_LOG_WARNING, "%s is suspect: %s", device->facts->info.id, h->reason);
}

static bool another_is_well(const pel_device *device) {
    const pel_runtime *runtime = device->runtime;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        const pel_device *other = &runtime->devices[i];
        if (other != device && pel_health_usable(other)) {
            return true;
        }
    }
    return false;
}

const char *pel_health_exclusion(const pel_device *device, char **text) {
    const pel_device_health *h = &device->health;
    const int64_t now = pel_clock_now(device->runtime->clock);
    if (!device->lost && h->state != PEL_DEVICE_RETIRED && h->wrong_results == 0 && !another_is_well(device)) {
        return NULL;
    }
    pel_text why;
    pel_text_init(&why, &device->runtime->allocator);
    if (h->state == PEL_DEVICE_WELL || h->state == PEL_DEVICE_SUSPECT) {
        return "lost: it reported that it is gone";
    }
    if (h->state == PEL_DEVICE_RETIRED) {
        pel_text_append(&why, "retired: lost again after its context was built anew");
    } else if (h->state == PEL_DEVICE_TESTED) {
        pel_text_append(&why, "tested now, after a quarantine");
    } else {
        pel_text_append(&why, "quarantined since ");
        pel_text_number(&why, (double)(now - h->since) / 1e9, 3);
        pel_text_append(&why, " s");
    }
    pel_text_append(&why, " because ");
    pel_text_append(&why, h->reason);
    *text = pel_text_take(&why);
    return *text ? *text : "quarantined";
}

static bool needs_it(const pel_command *command, const pel_device *device) {
    bool needs = command->device == device || pel_verify_uses(command, device);
    for (uint32_t i = 0; i < command->job_count && !needs; i++) {
        needs = command->jobs[i].device == device;
    }
    return needs;
}

static bool uses_it(const pel_queue *queue, const pel_device *device) {
    for (const pel_command *command = queue->first; command; command = command->after) {
        if (needs_it(command, device)) {
            return true;
        }
    }
    return false;
}

bool pel_health_may_rebuild(const pel_device *device) {
    const pel_dispatcher *dispatcher = device->runtime->dispatcher;
    for (const pel_allocation *a = device->runtime->allocations; a; a = a->next) {
        if (device->place != 0 && pel_allocation_alone_at(a, device->place)) {
            return false;
        }
    }
    bool used = uses_it(&dispatcher->own, device);
    /* it still computes with that memory */
    for (const pel_command *command = dispatcher->kept; command && !used; command = command->next) {
        used = needs_it(command, device);
    }
    for (const pel_queue *queue = dispatcher->queues; queue && !used; queue = queue->next) {
        used = uses_it(queue, device);
    }
    return !used;
}

void pel_health_tested(pel_device *device, pel_status status, const pel_error *why, int64_t now) {
    pel_device_health *h = &device->health;
    if (status == PEL_OK) {
        pel_log(&device->runtime->logger, PEL_LOG_INFO, "%s passed its known-answer test and is used again",
                device->facts->info.id);
        h->state = device->lies > 0 ? PEL_DEVICE_SUSPECT : PEL_DEVICE_WELL;
        h->wrong_results = 0;
        return;
    }
    h->wrong_results += status == PEL_MISMATCH ? 1u : 0u;
    device->lost = device->lost || status == PEL_DEVICE_LOST;
    h->state = PEL_DEVICE_WELL; /* so that it is quarantined anew, for longer */
    quarantine(device, pel_error_message(why), now);
}

void pel_health_tend(pel_runtime *runtime) {
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_device *device = &runtime->devices[i];
        if (device->health.state != PEL_DEVICE_QUARANTINED) {
            continue;
        }
        const int64_t now = pel_clock_now(runtime->clock);
        if (now < device->health.until || (device->lost && !pel_health_may_rebuild(device))) {
            continue;
        }
        if (device->lost) {
            pel_rebuild_begin(device);
        } else {
            pel_known_answer_begin(device);
        }
    }
}
