/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Before a launch is verified: whether it can be, by whom, what that is expected to cost, and how plans say it.
 *
 * Who may vote is asked again for each vote, as devices come and go; what is foreseen is the plan's, and nothing holds on to it.
 * Verification of its own accord (a runtime's default) never refuses a launch, one that was asked for does: it would otherwise
 * end as if it had been verified.
 */
#include "queue/verify.h"
#include "core/verification.h"
#include "planner/plan.h"
#include "queue/isolate.h"
#include "queue/stream.h"
#include <inttypes.h>

/* ---- what is asked for ---- */

/* Why this device cannot vote, or NULL; *text is for the caller to free. */
static const char *exclusion(const pel_bound *bound, const pel_device *device, pel_protection protection, char **text) {
    *text = NULL;
    const char *why = pel_launch_exclusion(bound, device, text);
    why = why || protection != PEL_PROTECT_ISOLATE ? why : pel_isolate_refusal(bound, device);
    return why ? why : pel_stream_needed(bound, device) ? "the launch goes through it in windows only" : NULL;
}

bool pel_voter_may(const pel_bound *bound, const pel_device *device, pel_protection protection) {
    char *text;
    const bool is = !exclusion(bound, device, protection, &text);
    pel_free(&device->runtime->allocator, text);
    return is;
}

static uint32_t count_able(const pel_runtime *runtime, const pel_bound *bound, pel_protection protection) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        count += pel_voter_may(bound, &runtime->devices[i], protection) ? 1u : 0u;
    }
    return count;
}

static pel_status refuse(const pel_runtime *runtime, const pel_bound *bound, pel_protection protection, pel_error **error) {
    pel_text list;
    pel_text_init(&list, &runtime->allocator);
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        char *text;
        const char *why = exclusion(bound, &runtime->devices[i], protection, &text);
        pel_text_append(&list, i > 0 ? "; " : "");
        pel_text_append(&list, runtime->devices[i].facts->info.id);
        pel_text_append(&list, why ? ": " : " can");
        pel_text_append(&list, why ? why : "");
        pel_free(&runtime->allocator, text);
    }
    char *devices = pel_text_take(&list);
    pel_story story = {.advice = "name more devices, or set PEL_VERIFY_SAME_DEVICE to have the same one compute twice"};
    pel_status status = pel_fail(error, &runtime->allocator, PEL_NO_DEVICE, &story,
                                 "%s cannot be verified, as there are no two devices that can compute it: %s",
                                 bound->kernel->image.name, devices ? devices : "");
    pel_free(&runtime->allocator, devices);
    return status;
}

pel_status pel_verify_ask(pel_runtime *runtime, const pel_launch_desc *desc, pel_bound *bound, pel_error **error) {
    bound->verification = desc->verification ? *desc->verification : runtime->verification;
    bound->unverified = NULL;
    if (bound->verification.share == 0 && !desc->verification) {
        return PEL_OK;
    }
    const char *wrong = pel_verification_refusal(&bound->verification);
    if (wrong) {
        return pel_fail(error, &runtime->allocator, PEL_INVALID_ARGUMENT, NULL, "launch of %s: verification: %s",
                        bound->kernel->image.name, wrong);
    }
    const uint32_t needed = bound->kernel->image.check || (bound->verification.flags & PEL_VERIFY_SAME_DEVICE) != 0 ? 1 : 2;
    pel_status status = PEL_OK;
    pthread_mutex_lock(&runtime->lock);
    if (bound->verification.share > 0 && count_able(runtime, bound, desc->protection) < needed) {
        bound->unverified = "not verified: there are no two devices that can compute it";
        status = desc->verification ? refuse(runtime, bound, desc->protection, error) : PEL_OK;
    }
    pthread_mutex_unlock(&runtime->lock);
    if (bound->unverified) {
        bound->verification.share = 0;
    }
    return status;
}

/* ---- which device, and what it will cost ---- */

pel_device *pel_voter_choose(const pel_runtime *runtime, const pel_bound *bound, pel_protection protection, const uint32_t *votes,
                             uint32_t most, const pel_device_set *without, uint64_t units, const double *load) {
    pel_device *best = NULL;
    double best_ns = 0;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_device *device = &runtime->devices[i];
        if (votes[i] >= most || pel_device_set_has(without, i) || (best && votes[i] > votes[best->index]) ||
            !pel_voter_may(bound, device, protection)) {
            continue;
        }
        const double ns = load[i] + pel_launch_predict(runtime, bound, device, units);
        if (!best || votes[i] < votes[best->index] || ns < best_ns) {
            best = device;
            best_ns = ns;
        }
    }
    return best;
}

void pel_voters_list(pel_text *text, const pel_runtime *runtime, const pel_device_set *devices) {
    for (uint32_t i = 0, seen = 0; i < runtime->device_count && seen < devices->count; i++) {
        if (pel_device_set_has(devices, i)) {
            pel_text_append(text, seen++ > 0 ? ", " : "");
            pel_text_append(text, runtime->devices[i].facts->info.id);
        }
    }
}

void pel_verify_say_how(pel_text *text, const pel_verification *how) {
    if (how->scalar == 0) {
        pel_text_append(text, "bit by bit");
    } else {
        pel_text_format(text, "to within %" PRIu64 " units in the last place", how->ulps);
    }
}

void pel_verify_say_ms(pel_text *text, double ns) {
    pel_text_number(text, ns / 1e6, 3);
    pel_text_append(text, " ms");
}

void pel_verify_foresee(const pel_runtime *runtime, const pel_bound *bound, pel_protection protection,
                        const pel_plan_result *result, pel_plan *plan) {
    double longest = 0;
    pel_plan_verification v = {.devices = "", .wrong_devices = "", .text = bound->unverified ? bound->unverified : ""};
    pel_text text, names;
    pel_device_set voters = {0};
    const pel_device_set nobody = {0};
    if (bound->verification.share == 0) {
        pel_plan_set_verification(plan, &v);
        return;
    }
    double *load = pel_alloc_zero(&runtime->allocator, runtime->device_count, sizeof *load + sizeof(uint32_t));
    if (!load) {
        return; /* the plan lacks a remark */
    }
    uint32_t *votes = (uint32_t *)(void *)(load + runtime->device_count);
    const bool checks = bound->kernel->image.check != NULL;
    bool known = !checks;
    for (uint32_t i = 0; i < result->slice_count && !checks; i++) {
        const pel_plan_slice *slice = &pel_plan_slices(result)[i];
        const uint64_t units = slice->hi - slice->lo;
        votes[slice->device] = 1;
        const pel_device *device = pel_voter_choose(runtime, bound, protection, votes, PEL_VOTER_TWICE, &nobody, units, load);
        const double ns = device ? pel_launch_predict(runtime, bound, device, units) : 0;
        votes[slice->device] = 0;
        known = known && ns > 0;
        if (device) {
            pel_device_set_add(&voters, device->index);
            load[device->index] += ns;
            longest = load[device->index] > longest ? load[device->index] : longest;
        }
    }
    pel_text_init(&text, &runtime->allocator);
    pel_text_init(&names, &runtime->allocator);
    pel_free(&runtime->allocator, load);
    pel_voters_list(&names, runtime, &voters);
    char *devices = pel_text_take(&names);
    const double percent = 100 * bound->verification.share;
    pel_text_number(&text, percent, percent == (double)(int)percent ? 0 : 2);
    pel_text_append(&text, checks ? " % of the chunks are checked by the kernel's own check"
                                  : " % of the chunks are computed again on ");
    pel_text_append(&text, checks || !devices ? "" : devices);
    if (!checks) {
        pel_text_append(&text, " and compared ");
        pel_verify_say_how(&text, &bound->verification);
    }
    if (known) {
        v.predicted_ns = bound->verification.share * longest;
        pel_text_append(&text, ", predicted to take ");
        pel_verify_say_ms(&text, v.predicted_ns);
    }
    char *said = pel_text_take(&text);
    v.text = said ? said : "";
    v.devices = devices ? devices : "";
    pel_plan_set_verification(plan, &v);
    pel_free(&runtime->allocator, said);
    pel_free(&runtime->allocator, devices);
}
