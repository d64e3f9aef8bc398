/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plan as an object of its own: nothing in it points into the runtime, so that a report can be written after everything else
 * is gone. The dispatcher keeps one mutable plan per launch and fills in the actual times; callers only ever get snapshots.
 */
#include "planner/plan.h"
#include "base/text.h"
#include <inttypes.h>
#include <string.h>

struct pel_plan {
    pel_allocator allocator;
    pel_plan_chunk *chunks;
    uint32_t chunk_count, candidate_count, unlisted;
    pel_plan_candidate *candidates;
    char *kernel, *reason, *restriction, *protection, *text;
    uint32_t split_dimension;
    double predicted_ns, actual_ns;
    double expected_ns; /* of the best known plan while this one explores */
    pel_plan_bytes bytes;
    pel_plan_verification verification; /* texts owned */
    bool together_probe;
    double predicted_joules;
    pel_energy_source energy_source;
    double held_back; /* part of the range */
    bool deprived;    /* its devices lost their cores for a while */
    pel_tail *tail;   /* NULL: nothing is held back */
};

static char *names_of(const pel_allocator *allocator, const pel_plan_request *request, const pel_plan_choice *choice) {
    const uint64_t mask = choice->device_mask;
    pel_text text;
    pel_text_init(&text, allocator);
    if (choice->many == 1) {
        pel_text_append(&text, request->devices[choice->only].id);
        return pel_text_take(&text);
    }
    if (choice->many > 1) {
        pel_text_format(&text, "%" PRIu32 " devices", choice->many);
        return pel_text_take(&text);
    }
    for (uint32_t i = 0; i < request->device_count && i < PEL_PLAN_DEVICE_LIMIT; i++) {
        if ((mask >> i & 1u) != 0) {
            pel_text_append(&text, text.length > 0 ? " + " : "");
            pel_text_append(&text, request->devices[i].id);
        }
    }
    return pel_text_take(&text);
}

static pel_plan *plan_new(const pel_allocator *allocator, uint32_t chunks, uint32_t candidates) {
    pel_plan *plan = pel_alloc_zero(allocator, 1, sizeof *plan);
    if (!plan) {
        return NULL;
    }
    plan->allocator = *allocator;
    plan->chunk_count = chunks;
    plan->candidate_count = candidates;
    plan->chunks = pel_alloc_zero(allocator, chunks + 1u, sizeof *plan->chunks);
    plan->candidates = pel_alloc_zero(allocator, candidates + 1u, sizeof *plan->candidates);
    if (!plan->chunks || !plan->candidates) {
        pel_plan_destroy(plan);
        return NULL;
    }
    return plan;
}

static char *copy_of(const pel_plan *plan, const char *text) {
    return pel_strdup(&plan->allocator, text ? text : "");
}

static bool complete(const pel_plan *plan) {
    const pel_plan_verification *v = &plan->verification;
    bool whole =
        plan->kernel && plan->reason && plan->restriction && plan->protection && v->devices && v->wrong_devices && v->text;
    for (uint32_t i = 0; i < plan->chunk_count; i++) {
        whole = whole && plan->chunks[i].device && plan->chunks[i].failure;
    }
    for (uint32_t i = 0; i < plan->candidate_count; i++) {
        whole = whole && plan->candidates[i].devices && plan->candidates[i].reason;
    }
    return whole;
}

/* False: no memory. */
static bool take_tail(pel_plan *plan, const pel_tail *tail, double units) {
    if (!tail || !pel_tail_left(tail)) {
        return true;
    }
    plan->held_back = (double)(tail->hi - tail->lo) / units;
    plan->tail = pel_alloc(&plan->allocator, sizeof *plan->tail);
    if (plan->tail) {
        *plan->tail = *tail;
    }
    return plan->tail != NULL;
}

pel_plan *pel_plan_build(const pel_allocator *allocator, const pel_plan_request *request, const pel_plan_result *result,
                         const pel_plan_context *context) {
    pel_plan *plan = plan_new(allocator, result->slice_count, result->choice_count);
    if (!plan) {
        return NULL;
    }
    for (uint32_t i = 0; i < result->slice_count; i++) {
        const pel_plan_slice *slice = &pel_plan_slices(result)[i];
        plan->chunks[i] = (pel_plan_chunk){.device = copy_of(plan, request->devices[slice->device].id),
                                           .lo = slice->lo,
                                           .hi = slice->hi,
                                           .share = (double)(slice->hi - slice->lo) / (double)request->units,
                                           .work_group = slice->group,
                                           .predicted_ns = slice->predicted_ns,
                                           .failure = copy_of(plan, NULL)};
    }
    for (uint32_t i = 0; i < result->choice_count; i++) {
        plan->candidates[i] = (pel_plan_candidate){.devices = names_of(allocator, request, &result->choices[i]),
                                                   .predicted_ns = result->choices[i].predicted_ns,
                                                   .reason = copy_of(plan, result->choices[i].reason),
                                                   .chosen = result->choices[i].chosen};
    }
    plan->kernel = copy_of(plan, context->kernel);
    plan->reason = copy_of(plan, result->reason);
    plan->restriction = copy_of(plan, context->restriction);
    plan->protection = copy_of(plan, context->protection);
    plan->verification = (pel_plan_verification){
        .devices = copy_of(plan, NULL), .wrong_devices = copy_of(plan, NULL), .text = copy_of(plan, NULL)};
    plan->split_dimension = context->split_dimension;
    plan->unlisted = result->unlisted;
    plan->predicted_ns = result->predicted_ns;
    plan->expected_ns = result->expected_ns;
    plan->predicted_joules = result->predicted_joules;
    plan->energy_source = result->energy_source;
    plan->together_probe = result->together_probe;
    if (!take_tail(plan, &result->tail, (double)request->units) || !complete(plan)) {
        pel_plan_destroy(plan);
        return NULL;
    }
    return plan;
}

pel_tail *pel_plan_tail(pel_plan *plan) {
    return plan ? plan->tail : NULL;
}

void pel_plan_set_actual(pel_plan *plan, uint32_t index, const pel_plan_chunk *measured) {
    if (!plan || index >= plan->chunk_count) {
        return;
    }
    pel_plan_chunk *chunk = &plan->chunks[index];
    chunk->began_ns = measured->began_ns;
    chunk->actual_ns = measured->actual_ns;
    chunk->compute_ns = measured->compute_ns;
    chunk->bytes_in = measured->bytes_in;
    chunk->bytes_out = measured->bytes_out;
    chunk->cold = measured->cold;
}

pel_status pel_plan_add_chunk(pel_plan *plan, const char *device, const pel_plan_slice *slice, uint64_t units) {
    if (!plan) {
        return PEL_OK;
    }
    pel_plan_chunk *grown = pel_resize(&plan->allocator, plan->chunks, (plan->chunk_count + 2u) * sizeof *grown);
    if (!grown) {
        return PEL_OUT_OF_MEMORY;
    }
    plan->chunks = grown;
    pel_plan_chunk *chunk = &grown[plan->chunk_count++];
    *chunk = (pel_plan_chunk){.device = copy_of(plan, device),
                              .lo = slice->lo,
                              .hi = slice->hi,
                              .share = (double)(slice->hi - slice->lo) / (double)units,
                              .work_group = slice->group,
                              .predicted_ns = slice->predicted_ns,
                              .failure = copy_of(plan, NULL)};
    return chunk->device && chunk->failure ? PEL_OK : PEL_OUT_OF_MEMORY;
}

void pel_plan_chunk_failed(pel_plan *plan, uint32_t index, const char *why) {
    char *text = plan && index < plan->chunk_count ? copy_of(plan, why && why[0] ? why : "its device was lost") : NULL;
    if (text) { /* without memory the plan lacks a remark */
        pel_free(&plan->allocator, (char *)(uintptr_t)plan->chunks[index].failure);
        plan->chunks[index].failure = text;
    }
}

void pel_plan_set_protection(pel_plan *plan, const char *text) {
    char *copy = plan ? copy_of(plan, text) : NULL;
    if (copy) {
        pel_free(&plan->allocator, plan->protection);
        plan->protection = copy;
    }
}

static void free_verification(const pel_allocator *allocator, const pel_plan_verification *v) {
    pel_free(allocator, (char *)(uintptr_t)v->devices);
    pel_free(allocator, (char *)(uintptr_t)v->wrong_devices);
    pel_free(allocator, (char *)(uintptr_t)v->text);
}

void pel_plan_set_verification(pel_plan *plan, const pel_plan_verification *verification) {
    if (!plan) {
        return;
    }
    pel_plan_verification copy = *verification;
    copy.devices = copy_of(plan, verification->devices);
    copy.wrong_devices = copy_of(plan, verification->wrong_devices);
    copy.text = copy_of(plan, verification->text);
    const bool whole = copy.devices && copy.wrong_devices && copy.text;
    free_verification(&plan->allocator, whole ? &plan->verification : &copy);
    plan->verification = whole ? copy : plan->verification;
}

pel_status pel_plan_get_verification(const pel_plan *plan, pel_plan_verification *verification) {
    if (!plan || !verification) {
        return PEL_INVALID_ARGUMENT;
    }
    *verification = plan->verification;
    return PEL_OK;
}

void pel_plan_into_lesson(const pel_plan *plan, pel_lesson *lesson) {
    lesson->expected_ns = plan ? plan->expected_ns : 0.0;
    lesson->together_probe = plan && plan->together_probe;
}

void pel_plan_set_bytes(pel_plan *plan, const pel_plan_bytes *bytes) {
    if (plan) {
        plan->bytes = *bytes;
    }
}

pel_status pel_plan_get_bytes(const pel_plan *plan, pel_plan_bytes *bytes) {
    if (!plan || !bytes) {
        return PEL_INVALID_ARGUMENT;
    }
    *bytes = plan->bytes;
    return PEL_OK;
}

void pel_plan_set_makespan(pel_plan *plan, double actual_ns) {
    if (plan) {
        plan->actual_ns = actual_ns;
    }
}

void pel_plan_set_deprived(pel_plan *plan) {
    if (plan) {
        plan->deprived = true;
    }
}

static void append_time(pel_text *text, double ns) {
    if (ns <= 0) {
        pel_text_append(text, "unknown");
    } else if (ns < 1e6) {
        pel_text_number(text, ns / 1e3, 1);
        pel_text_append(text, " us");
    } else {
        pel_text_number(text, ns / 1e6, 3);
        pel_text_append(text, " ms");
    }
}

static void append_chunk(pel_text *text, const pel_plan *plan, const pel_plan_chunk *chunk) {
    pel_text_append(text, "  ");
    pel_text_append(text, chunk->device);
    pel_text_format(text, ": units %" PRIu64 " to %" PRIu64 " (", chunk->lo, chunk->hi);
    pel_text_number(text, chunk->share * 100, 1);
    pel_text_append(text, " %), predicted ");
    append_time(text, chunk->predicted_ns);
    if (chunk->work_group > 0) {
        pel_text_format(text, ", work-groups of %" PRIu32 " items", chunk->work_group);
    }
    if (plan->actual_ns > 0) {
        pel_text_append(text, ", took ");
        append_time(text, chunk->actual_ns);
        if (chunk->bytes_in + chunk->bytes_out > 0) {
            pel_text_format(text, ", moved %" PRIu64 " bytes in and %" PRIu64 " out", chunk->bytes_in, chunk->bytes_out);
        }
        pel_text_append(text, chunk->cold ? ", compiled on the way (not learned from)" : "");
    }
    if (chunk->failure[0]) {
        pel_text_append(text, "; failed, and runs again below: ");
        pel_text_append(text, chunk->failure);
    }
    pel_text_append(text, "\n");
}

static void compose(pel_text *text, const pel_plan *plan) {
    pel_text_append(text, plan->kernel);
    pel_text_append(text, ": ");
    pel_text_append(text, plan->reason);
    if (plan->restriction[0]) {
        pel_text_append(text, "\nmay not be split: ");
        pel_text_append(text, plan->restriction);
    } else {
        pel_text_format(text, "\n%s along dimension %u", plan->chunk_count > 1 ? "split" : "may be split", plan->split_dimension);
    }
    pel_text_append(text, "\npredicted ");
    append_time(text, plan->predicted_ns);
    if (plan->actual_ns > 0) {
        pel_text_append(text, ", took ");
        append_time(text, plan->actual_ns);
        if (plan->deprived) {
            pel_text_append(text, "; others had its devices' cores for a while, so this says little about the devices");
        }
    }
    if (plan->predicted_joules > 0) {
        pel_text_append(text, plan->energy_source == PEL_ENERGY_MEASURED
                                  ? "\nenergy, predicted from measured watts: "
                                  : "\nenergy, modelled from declared watts: ");
        pel_text_number(text, plan->predicted_joules, 4);
        pel_text_append(text, " J");
    }
    if (plan->held_back > 0) {
        pel_text_append(text, "\nheld back at the end of the range, for whoever is done first: ");
        pel_text_number(text, 100 * plan->held_back, 1);
        pel_text_append(text, " %");
    }
    pel_text_append(text, "\nprotection: ");
    pel_text_append(text, plan->protection);
    if (plan->verification.text[0]) {
        pel_text_append(text, "\nverification: ");
        pel_text_append(text, plan->verification.text);
    }
    pel_text_append(text, "\nchunks:\n");
    for (uint32_t i = 0; i < plan->chunk_count; i++) {
        append_chunk(text, plan, &plan->chunks[i]);
    }
    pel_text_append(text, plan->candidate_count > 0 ? "considered:\n" : "");
    for (uint32_t i = 0; i < plan->candidate_count; i++) {
        pel_text_append(text, plan->candidates[i].chosen ? "  * " : "  - ");
        pel_text_append(text, plan->candidates[i].devices);
        pel_text_append(text, ": ");
        append_time(text, plan->candidates[i].predicted_ns);
        pel_text_append(text, "; ");
        pel_text_append(text, plan->candidates[i].reason);
        pel_text_append(text, "\n");
    }
    if (plan->unlisted > 0) {
        pel_text_format(text, "  and %" PRIu32 " more device%s, for which there was no room here\n", plan->unlisted,
                        plan->unlisted > 1 ? "s" : "");
    }
}

pel_plan *pel_plan_snapshot(const pel_plan *plan) {
    pel_plan *copy = plan_new(&plan->allocator, plan->chunk_count, plan->candidate_count);
    if (!copy) {
        return NULL;
    }
    for (uint32_t i = 0; i < plan->chunk_count; i++) {
        copy->chunks[i] = plan->chunks[i];
        copy->chunks[i].device = copy_of(copy, plan->chunks[i].device);
        copy->chunks[i].failure = copy_of(copy, plan->chunks[i].failure);
    }
    for (uint32_t i = 0; i < plan->candidate_count; i++) {
        copy->candidates[i] = plan->candidates[i];
        copy->candidates[i].devices = copy_of(copy, plan->candidates[i].devices);
        copy->candidates[i].reason = copy_of(copy, plan->candidates[i].reason);
    }
    copy->kernel = copy_of(copy, plan->kernel);
    copy->reason = copy_of(copy, plan->reason);
    copy->restriction = copy_of(copy, plan->restriction);
    copy->protection = copy_of(copy, plan->protection);
    copy->deprived = plan->deprived;
    copy->verification = plan->verification;
    copy->verification.devices = copy_of(copy, plan->verification.devices);
    copy->verification.wrong_devices = copy_of(copy, plan->verification.wrong_devices);
    copy->verification.text = copy_of(copy, plan->verification.text);
    copy->split_dimension = plan->split_dimension;
    copy->unlisted = plan->unlisted;
    copy->predicted_ns = plan->predicted_ns;
    bool tailed = take_tail(copy, plan->tail, 1.0);
    copy->held_back = plan->held_back;
    copy->predicted_joules = plan->predicted_joules;
    copy->energy_source = plan->energy_source;
    copy->actual_ns = plan->actual_ns;
    copy->bytes = plan->bytes;
    if (tailed && complete(copy)) {
        pel_text text;
        pel_text_init(&text, &copy->allocator);
        compose(&text, copy);
        copy->text = pel_text_take(&text);
    }
    if (!copy->text) {
        pel_plan_destroy(copy);
        return NULL;
    }
    return copy;
}

uint32_t pel_plan_chunk_count(const pel_plan *plan) {
    return plan ? plan->chunk_count : 0;
}

pel_status pel_plan_get_chunk(const pel_plan *plan, uint32_t index, pel_plan_chunk *chunk) {
    if (!plan || !chunk || index >= plan->chunk_count) {
        return PEL_INVALID_ARGUMENT;
    }
    *chunk = plan->chunks[index];
    return PEL_OK;
}

uint32_t pel_plan_candidate_count(const pel_plan *plan) {
    return plan ? plan->candidate_count : 0;
}

pel_status pel_plan_get_candidate(const pel_plan *plan, uint32_t index, pel_plan_candidate *candidate) {
    if (!plan || !candidate || index >= plan->candidate_count) {
        return PEL_INVALID_ARGUMENT;
    }
    *candidate = plan->candidates[index];
    return PEL_OK;
}

const char *pel_plan_reason(const pel_plan *plan) {
    return plan ? plan->reason : "";
}
const char *pel_plan_restriction(const pel_plan *plan) {
    return plan ? plan->restriction : "";
}
const char *pel_plan_protection(const pel_plan *plan) {
    return plan ? plan->protection : "";
}
double pel_plan_predicted_ns(const pel_plan *plan) {
    return plan ? plan->predicted_ns : 0;
}
double pel_plan_actual_ns(const pel_plan *plan) {
    return plan ? plan->actual_ns : 0;
}
double pel_plan_predicted_joules(const pel_plan *plan) {
    return plan ? plan->predicted_joules : 0;
}
pel_energy_source pel_plan_energy_source(const pel_plan *plan) {
    return plan ? plan->energy_source : PEL_ENERGY_UNKNOWN;
}
uint32_t pel_plan_split_dimension(const pel_plan *plan) {
    return plan ? plan->split_dimension : 0;
}
const char *pel_plan_text(const pel_plan *plan) {
    return plan && plan->text ? plan->text : "";
}

void pel_plan_destroy(pel_plan *plan) {
    if (!plan) {
        return;
    }
    pel_allocator allocator = plan->allocator;
    for (uint32_t i = 0; plan->chunks && i < plan->chunk_count; i++) {
        pel_free(&allocator, (char *)(uintptr_t)plan->chunks[i].device);
        pel_free(&allocator, (char *)(uintptr_t)plan->chunks[i].failure);
    }
    for (uint32_t i = 0; plan->candidates && i < plan->candidate_count; i++) {
        pel_free(&allocator, (char *)(uintptr_t)plan->candidates[i].devices);
        pel_free(&allocator, (char *)(uintptr_t)plan->candidates[i].reason);
    }
    pel_free(&allocator, plan->chunks);
    pel_free(&allocator, plan->candidates);
    pel_free(&allocator, plan->kernel);
    pel_free(&allocator, plan->reason);
    pel_free(&allocator, plan->restriction);
    pel_free(&allocator, plan->protection);
    free_verification(&allocator, &plan->verification);
    pel_free(&allocator, plan->text);
    pel_free(&allocator, plan->tail);
    pel_free(&allocator, plan);
}
