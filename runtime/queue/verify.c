/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification: chunks are computed a second time by somebody else, results are compared, and where they differ a vote decides
 * what is right.
 *
 * The invariant: a vote begins with the bytes with which its chunk began, and writes to memory of its own. The bytes are there
 * because such launches are protected by retry (retry.c): inputs are in host memory, and what chunks write in place was saved.
 * What a device with memory of its own has written comes to the host twice then: its result stays where it is, and a copy to be
 * compared lies beside. Votes begin when all chunks are over, so that devices which are done together are busy again together:
 * two devices of equal speed take twice as long as without. Comparing is done by whoever brings the vote back, outside the lock.
 *
 * One vote for a chunk at a time: first another device, on a difference a third, then those that have voted, once more
 * (resilience/verdict.h says who is right). A device that fails a vote is left out. With a check of the kernel's own the first
 * vote is that check, and only what it refuses is computed again.
 *
 * Rejected: both computations at once into private memory, which costs each launch a copy of its results and gains nothing where
 * all devices are busy anyhow; comparing checksums, which cannot tell a difference of a few units in the last place.
 */
#include "queue/vote.h"
#include "base/text.h"
#include "core/verification.h"
#include "planner/plan.h"
#include "queue/isolate.h"
#include "queue/retry.h"
#include "resilience/health.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FILLED_AT_ONCE = 65536 };

/* ---- the choice of chunks ---- */

pel_status pel_verify_prepare(pel_command *command) {
    if (command->bound.verification.share == 0 || command->verify) {
        return PEL_OK;
    }
    const pel_allocator *allocator = &command->runtime->allocator;
    const uint32_t devices = command->runtime->device_count;
    struct pel_verify *v = pel_alloc_zero(allocator, 1, sizeof *v);
    if (v) { /* all that the choice of voters takes: later a lie could slip through for want of it */
        v->load = pel_alloc(allocator, devices * (sizeof *v->load + sizeof *v->votes));
    }
    if (!v || !v->load) {
        pel_free(allocator, v);
        return PEL_OUT_OF_MEMORY;
    }
    v->votes = (uint32_t *)(void *)(v->load + devices);
    command->verify = v;
    return PEL_OK;
}

bool pel_verify_samples(pel_command *command, const pel_device *device) {
    pel_kernel *kernel = command->bound.kernel;
    if (!command->verify) {
        return false;
    }
    const bool chosen = pel_verdict_chosen(&command->bound.verification, kernel->model_id, kernel->chunks_seen++);
    return chosen || device->lies > 0;
}

/* ---- the verdict ---- */

/* The winner's bytes become the chunk's. */
static void land(pel_checking *c, uint32_t winner) {
    pel_command *command = c->command;
    pel_job *own = &command->jobs[c->job];
    own->landed = true; /* and what it began with is not there any more */
    const pel_vote *vote = c->vote[winner];
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < vote->written.count && status == PEL_OK; i++) {
        const pel_use *use = &vote->written.data[i];
        memcpy(use->allocation->base + use->lo, pel_isolate_data(&vote->job, use->allocation, use->lo),
               (size_t)(use->hi - use->lo)); /* rare, so under the lock */
        status = pel_allocation_written(use->allocation, 0, use->lo, use->hi);
    }
    for (uint32_t i = 0; i < command->bound.arg_count; i++) {
        const pel_param *param = &command->bound.kernel->image.params[i];
        void *to = pel_private_data(own, i);
        const void *from = pel_private_data(&vote->job, i);
        if (to && from) {
            memcpy(to, from, (size_t)(param->num * param->bytes));
        }
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, NULL);
    }
}

static char *tell_where(const pel_checking *c, const char *device, const char *how) {
    const pel_command *command = c->command;
    pel_text text;
    pel_text_init(&text, &command->runtime->allocator);
    pel_text_format(&text, "%s computed units %" PRIu64 " to %" PRIu64 " of %s wrongly", device, command->slices[c->job].lo,
                    command->slices[c->job].hi, command->name ? command->name : "a launch");
    if (c->argument != UINT32_MAX) {
        pel_text_format(&text, ": argument %u differs from byte %" PRIu64 " on", c->argument, c->byte);
    }
    pel_text_append(&text, how);
    return pel_text_take(&text);
}

/* Who was right and who was wrong, to the health of the devices. */
static void judge(pel_checking *c, uint32_t wrong) {
    pel_command *command = c->command;
    pel_runtime *runtime = command->runtime;
    struct pel_verify *v = command->verify;
    for (uint32_t k = 0; k < c->votes.count; k++) {
        pel_device *device = &runtime->devices[c->votes.device[k]];
        if (!c->votes.counts[k]) {
            continue;
        }
        if ((wrong >> k & 1u) == 0) {
            pel_health_verified(device);
            continue;
        }
        char *what = tell_where(c, device->facts->info.id, c->votes.checked ? ", as the kernel's check says" : ", as others say");
        pel_health_lied(device, what ? what : "it computed wrongly", runtime->clock);
        pel_device_set_add(&v->liars, device->index);
        v->story = v->story ? v->story : what;
        if (v->story != what) {
            pel_free(&runtime->allocator, what);
        }
    }
}

static void fail_undecided(pel_checking *c) {
    pel_command *command = c->command;
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_error *error = NULL;
    pel_text names;
    pel_device_set devices = {0};
    for (uint32_t k = 0; k < c->votes.count; k++) {
        if (c->votes.counts[k]) {
            pel_device_set_add(&devices, c->votes.device[k]);
        }
    }
    pel_text_init(&names, allocator);
    pel_voters_list(&names, command->runtime, &devices);
    char *list = pel_text_take(&names);
    pel_story story = {
        .device = list,
        .advice = "if the devices may round differently, compare numbers (pel_verification.scalar) or make the runtime with "
                  "PEL_RUNTIME_REPRODUCIBLE"};
    char where[64] = "";
    if (c->argument != UINT32_MAX) {
        (void)snprintf(where, sizeof where, ", argument %u from byte %" PRIu64 " on", c->argument, c->byte);
    }
    pel_fail(&error, allocator, PEL_MISMATCH, &story,
             "%s: results of units %" PRIu64 " to %" PRIu64 "%s: %s, and nothing tells who is right (%s)",
             command->name ? command->name : "launch", command->slices[c->job].lo, command->slices[c->job].hi, where,
             c->votes.checked ? "the kernel's check refuses them all" : "devices differ, each from all others",
             list ? list : "several devices");
    pel_free(allocator, list);
    pel_command_fail(command, PEL_MISMATCH, error);
}

static void settle(pel_checking *c, bool last) {
    struct pel_verify *v = c->command->verify;
    uint32_t winner = 0, wrong = 0, counting = 0;
    for (uint32_t k = 0; k < c->votes.count; k++) {
        counting += c->votes.counts[k] ? 1u : 0u;
    }
    if (pel_verdict_find(&c->votes, last, &winner, &wrong) == PEL_VERDICT_RIGHT) {
        if (winner != 0 && (wrong & 1u) != 0) {
            land(c, winner);
            v->wrong++;
        }
        judge(c, wrong);
        c->command->jobs[c->job].verified = true;
    } else if (last && (counting > 1 || c->votes.checked)) {
        fail_undecided(c);
    } else if (last) {
        c->command->jobs[c->job].sampled = false; /* not asked again */
        pel_verify_note_why_not(c, "no other device was left to compute them");
        pel_log(&c->command->runtime->logger, PEL_LOG_WARNING, "%s: a chunk was not verified: %s",
                c->command->name ? c->command->name : "launch", v->why_not ? v->why_not : "no device could compute it again");
    }
}

/* ---- rounds ---- */

static void fill_round(const struct pel_verify *v) {
    for (const pel_vote *vote = v->round; vote; vote = vote->next) {
        if (!vote->task) {
            pel_isolate_fill(&vote->job);
            pel_retry_overlay(vote->of->command, vote->of->job, &vote->job);
        }
    }
}

static pel_status run_fill(void *context) {
    fill_round(context);
    return PEL_OK;
}

static void submit_round(pel_command *command) {
    struct pel_verify *v = command->verify;
    command->phase = PEL_PHASE_VERIFYING;
    command->outstanding = 0;
    for (const pel_vote *vote = v->round; vote; vote = vote->next) {
        command->outstanding++;
    }
    for (pel_vote *vote = v->round, *next; vote; vote = next) {
        next = vote->next;
        pel_job_submit(&vote->job);
    }
}

static bool start_round(pel_command *command) {
    struct pel_verify *v = command->verify;
    uint64_t bytes = 0;
    if (!v->round || command->status != PEL_OK) {
        return false;
    }
    for (const pel_vote *vote = v->round; vote; vote = vote->next) {
        bytes += pel_isolate_read_bytes(&vote->job);
    }
    if (bytes <= FILLED_AT_ONCE) {
        fill_round(v);
        submit_round(command);
        return true;
    }
    v->filling = true;
    command->fold = (pel_job){.command = command, .device = command->runtime->task_device};
    command->fold.work.kind = PEL_WORK_TASK;
    command->fold.work.task = run_fill;
    command->fold.work.context = v;
    command->phase = PEL_PHASE_VERIFYING;
    command->outstanding = 1;
    pel_job_submit(&command->fold);
    return true;
}

/* The result's own bytes are there as long as nobody settles it, so votes may be compared with it. */
static bool open_chunk(pel_command *command, uint32_t index) {
    struct pel_verify *v = command->verify;
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_checking *c = pel_alloc_zero(allocator, 1, sizeof *c);
    void **arguments = c ? pel_alloc_zero(allocator, command->bound.arg_count + 1u, sizeof *arguments) : NULL;
    if (!arguments) {
        pel_free(allocator, c);
        pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL);
        return false;
    }
    *c = (pel_checking){.next = v->open, .command = command, .job = index, .argument = UINT32_MAX, .arguments = arguments};
    v->open = c;
    c->votes.count = 1;
    c->votes.counts[0] = true;
    c->votes.device[0] = command->jobs[index].device->index;
    c->votes.checked = command->bound.kernel->image.check != NULL;
    return true;
}

static void end_round(struct pel_verify *v, pel_runtime *runtime) {
    while (v->round) {
        pel_vote *vote = v->round;
        pel_checking *c = vote->of;
        v->round = vote->next;
        if (vote->task) {
            c->asked = true;
            pel_vote_free(runtime, vote);
        } else {
            const pel_status status = pel_job_verdict(&vote->job);
            c->votes.counts[vote->number] = status == PEL_OK;
            if (status != PEL_OK) {
                pel_device_set_add(&c->failed, vote->job.device->index);
                pel_verify_note_why_not(c, pel_error_message(pel_job_verdict_error(&vote->job)));
            }
        }
    }
}

/* What is not settled gets another vote, or its verdict. */
static bool another_round(pel_command *command) {
    struct pel_verify *v = command->verify;
    for (pel_checking **at = &v->open; *at && command->status == PEL_OK;) {
        pel_checking *c = *at;
        uint32_t winner, wrong;
        const bool fresh = c->votes.checked ? !c->asked : c->votes.count == 1 && c->failed.count == 0;
        bool goes_on = false;
        if (fresh && c->votes.checked) {
            goes_on = pel_check_begin(c);
        } else if (fresh || pel_verdict_find(&c->votes, false, &winner, &wrong) == PEL_VERDICT_MORE) {
            goes_on = pel_vote_begin(c);
        }
        if (goes_on) {
            at = &c->next;
            continue;
        }
        settle(c, true);
        *at = c->next;
        c->next = v->settled;
        v->settled = c;
        for (uint32_t k = 1; k < c->votes.count; k++) { /* their memory; but what hangs keeps it */
            if (pel_job_verdict(&c->vote[k]->job) != PEL_TIMED_OUT) {
                pel_vote_free(command->runtime, c->vote[k]);
                c->vote[k] = NULL;
            }
        }
    }
    return start_round(command);
}

bool pel_verify_begin(pel_command *command) {
    struct pel_verify *v = command->verify;
    if (!v || command->status != PEL_OK) {
        return false;
    }
    v->began = pel_clock_now(command->runtime->clock);
    for (uint32_t i = 0; i < command->job_count && command->status == PEL_OK; i++) {
        const pel_job *job = &command->jobs[i];
        if (job->sampled && !job->verified && !job->superseded && pel_job_verdict(job) == PEL_OK) {
            (void)open_chunk(command, i);
        }
    }
    return command->status == PEL_OK && v->open && another_round(command);
}

bool pel_verify_again(pel_command *command) {
    struct pel_verify *v = command->verify;
    if (command->status != PEL_OK) {
        return false;
    }
    if (v->filling) {
        v->filling = false;
        submit_round(command);
        return true;
    }
    end_round(v, command->runtime);
    if (another_round(command)) {
        return true;
    }
    v->took_ns += (double)(pel_clock_now(command->runtime->clock) - v->began);
    return false;
}

void pel_verify_cancel(pel_command *command) {
    for (pel_vote *vote = command->verify ? command->verify->round : NULL; vote; vote = vote->next) {
        pel_job_cancel(&vote->job);
    }
}

/* ---- what came of it ---- */

static void say_result(pel_text *text, const pel_command *command, const char *voters) {
    const struct pel_verify *v = command->verify;
    const bool checks = command->bound.kernel->image.check != NULL;
    pel_text_format(text, "%s %" PRIu32 " of %" PRIu32 " chunks", checks ? "checked" : "verified", v->verified, v->chunks);
    if (v->voters.count != 0) {
        pel_text_append(text, " on ");
        pel_text_append(text, voters ? voters : "other devices");
    }
    if (!checks) {
        pel_text_append(text, ", ");
        pel_verify_say_how(text, &command->bound.verification);
    }
    if (v->took_ns > 0) {
        pel_text_append(text, ", in ");
        pel_verify_say_ms(text, v->took_ns);
    }
    if (v->wrong + v->liars.count > 0) {
        pel_text_append(text, "; ");
        pel_text_append(text, v->story ? v->story : "a device was wrong");
        pel_text_append(text, "; the right bytes are in place");
    } else if (v->verified > 0) {
        pel_text_append(text, checks ? ": all passed" : ": all equal");
    }
    if (v->why_not) {
        pel_text_append(text, "; not verified by all: ");
        pel_text_append(text, v->why_not);
    }
}

void pel_verify_done(pel_command *command) {
    struct pel_verify *v = command->verify;
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_plan_verification told;
    pel_text text, voters, liars;
    if (!v || !command->plan || pel_plan_get_verification(command->plan, &told) != PEL_OK) {
        return;
    }
    v->chunks = v->verified = 0;
    for (uint32_t i = 0; i < command->job_count; i++) {
        v->chunks += command->jobs[i].superseded ? 0u : 1u;
        v->verified += command->jobs[i].verified && !command->jobs[i].superseded ? 1u : 0u;
    }
    pel_text_init(&text, allocator);
    pel_text_init(&voters, allocator);
    pel_text_init(&liars, allocator);
    pel_voters_list(&voters, command->runtime, &v->voters);
    pel_voters_list(&liars, command->runtime, &v->liars);
    char *who = pel_text_take(&voters), *wrong = pel_text_take(&liars);
    say_result(&text, command, who);
    char *said = pel_text_take(&text);
    const pel_plan_verification result = {.chunks = v->chunks,
                                          .verified = v->verified,
                                          .wrong = v->wrong,
                                          .predicted_ns = told.predicted_ns,
                                          .actual_ns = v->took_ns,
                                          .devices = who,
                                          .wrong_devices = wrong,
                                          .text = said};
    pel_plan_set_verification(command->plan, &result);
    pel_free(allocator, who);
    pel_free(allocator, wrong);
    pel_free(allocator, said);
}

bool pel_verify_uses(const pel_command *command, const pel_device *device) {
    return command->verify && pel_device_set_has(&command->verify->voters, device->index);
}

static void free_checking(pel_runtime *runtime, pel_checking *c) {
    for (uint32_t k = 1; k < c->votes.count; k++) {
        if (c->vote[k]) {
            pel_vote_free(runtime, c->vote[k]);
        }
    }
    pel_free(&runtime->allocator, c->arguments);
    pel_free(&runtime->allocator, c);
}

void pel_verify_free(pel_command *command) {
    struct pel_verify *v = command->verify;
    pel_runtime *runtime = command->runtime;
    if (!v) {
        return;
    }
    for (pel_vote *vote = v->round, *next; vote; vote = next) { /* others are their chunk's */
        next = vote->next;
        if (vote->task) {
            pel_vote_free(runtime, vote);
        }
    }
    for (pel_checking *lists[] = {v->open, v->settled}, **at = lists; at < lists + 2; at++) {
        while (*at) {
            pel_checking *next = (*at)->next;
            free_checking(runtime, *at);
            *at = next;
        }
    }
    pel_free(&runtime->allocator, v->load);
    pel_free(&runtime->allocator, v->why_not);
    pel_free(&runtime->allocator, v->story);
    pel_free(&runtime->allocator, v);
    command->verify = NULL;
}
