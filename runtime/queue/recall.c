/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recall: launches that are queued behind one whose device failed come back and begin anew.
 *
 * The problem: a launch that others are queued behind could not run again when its device failed: they may have run on what it
 * did not compute, and have overwritten what it reads. So it failed, and all that followed with it, and of a row or of launches
 * in one work those too that had ended well or had never begun. The invariant: no launch is lost that did not spoil its own
 * input. When a work fails, those behind it are told not to run (pel_work.skip), and it waits until they have come back. Then it
 * is known of every launch whether it ended well, may have begun, or has not (pel_work.reached, untouched), and what runs again
 * is chosen by what it reads, in program order:
 *
 *   - one that ended well stays so, unless it read what one that runs again writes, or wrote the same bytes after it;
 *   - one runs again if none of the bytes that it reads was overwritten by a launch that may have begun, after it or itself;
 *     bytes that earlier ones write, which run again and only write them, count for nothing: they are written once more.
 *
 * That is idempotence of a region as compilers see it: no clobbered antidependence (de Kruijf, Sankaralingam and Jha, PLDI 2012).
 * Others fail, with the story of their device. What begins anew does so as any launch that has not begun, and is planned without
 * the device that failed it; nobody is queued behind it, and it behind nobody, so from then on retry.c guards it.
 *
 * Rejected: saving what a row overwrites before it begins (for empty launches that is dearer than they are, and it is there to be
 * asked for: PEL_PROTECT_RETRY); running again from the last launch that all others came from (lineage: commands and arguments
 * of all that ended would have to be kept).
 */
#include "base/interval_map.h"
#include "queue/graph_rows.h"
#include "queue/isolate.h"
#include "queue/retry.h"
#include <stdlib.h>
#include <string.h>

enum { CHANCES = 2 }; /* of a launch whose device failed it, while another one is left; else one */

/* One launch: a command, or a member of its row. */
typedef struct item {
    const pel_command *command;
    const pel_uses *uses;
    bool ended;          /* well */
    bool wrote, half;    /* it may have written; and so may a launch of it that did not end well */
    bool tainted;        /* it read what comes again, or wrote there */
    bool again, spoiled; /* it must run again; and cannot, or may not */
} item;

typedef struct region {
    pel_command **commands;
    item *items;
    uint32_t count, capacity, item_count;
    bool fits; /* there was memory */
} region;

/* ---- who is behind it ---- */

static void gather(pel_command *command, void *user) {
    region *r = user;
    if (command->gathered || !(command->early || command->stirred || command->broken) || !r->fits) {
        return;
    }
    if (r->count == r->capacity) {
        const uint32_t capacity = r->capacity > 0 ? 2 * r->capacity : 16;
        pel_command **grown = pel_resize(&command->runtime->allocator, r->commands, capacity * sizeof *grown);
        r->fits = grown != NULL;
        if (!grown) {
            return;
        }
        r->commands = grown;
        r->capacity = capacity;
    }
    command->gathered = true;
    r->commands[r->count++] = command;
}

/* In program order. */
static int compare(const void *a, const void *b) {
    const pel_command *one = *(pel_command *const *)a, *other = *(pel_command *const *)b;
    const bool before = one->order < other->order || (one->order == other->order && one->part < other->part),
               after = one->order > other->order || (one->order == other->order && one->part > other->part);
    return before ? -1 : after ? 1 : 0;
}

/* The command and all that are queued behind it, directly or through others. */
static region find_region(pel_command *root) {
    region r = {.fits = true};
    gather(root, &r);
    for (uint32_t i = 0; i < r.count; i++) {
        pel_chain_visit(r.commands[i], gather, &r);
    }
    for (uint32_t i = 0; i < r.count; i++) {
        r.commands[i]->gathered = false;
    }
    if (r.count > 1) {
        qsort(r.commands, r.count, sizeof *r.commands, compare);
    }
    return r;
}

static void forget_region(const pel_runtime *runtime, region *r) {
    pel_free(&runtime->allocator, r->commands);
    pel_free(&runtime->allocator, r->items);
}

/* ---- what of it ran ---- */

static uint32_t times_of(const pel_job *job) { return job->work.times > 1 ? job->work.times : 1; }

/* How many launches it is, as recorded: what was submitted again in one work counts once. */
static uint32_t count_of(const pel_command *command) {
    return pel_graph_in_row(command) ? pel_graph_row_end(command->part_of->graph, command->part) - command->part : 1;
}

static bool another_is_left(const pel_command *command, const pel_device *failed) {
    bool left = false;
    for (uint32_t i = 0; i < command->runtime->device_count && !left; i++) {
        left = i != failed->index && pel_retry_may_go_to(command, i);
    }
    return left;
}

static const pel_job *failed_job(const pel_command *command) {
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_status status = command->jobs[i].work.status;
        if (status != PEL_OK && status != PEL_DEPENDENCY_FAILED) {
            return &command->jobs[i];
        }
    }
    return NULL;
}

bool pel_recall_may(const pel_command *command, const pel_job *job) {
    /* fixed shares are an order to use these devices, and who asked for no protection gets none */
    const bool may = command->asked == PEL_PROTECT_DEFAULT && command->share_count == 0 && !command->tail && !command->verify;
    return may && (command->failures == 0 || (command->failures < CHANCES && another_is_left(command, job->device)));
}

static item item_of(pel_command *command) {
    item it = {.command = command,
               .uses = &command->uses,
               .ended = command->job_count > 0,
               .wrote = command->stirred,
               .spoiled = command->status != PEL_OK};
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        const pel_work *work = &job->work;
        const bool well = work->status == PEL_OK;
        /* of a device's own memory nothing is left when it is lost, so what it began there has spoiled nothing, but for what it
         * sent home on the way */
        const bool gone = !well && job->device->lost && job->device->place != 0 && !job->stream && job->drained.count == 0;
        it.ended = it.ended && well;
        it.wrote = it.wrote || well || (!gone && work->untouched < times_of(job));
        it.half = it.half || well || (!gone && work->reached + work->untouched < times_of(job));
    }
    return it;
}

/* A member's own failure, not one of what came before: is it to be forgiven? */
static bool is_forgiven(const pel_command *member, const pel_job *failed) {
    return pel_retry_is_the_devices(pel_job_verdict(failed)) && pel_recall_may(member, failed);
}

static item item_of_member(pel_command *head, uint32_t member) {
    const pel_command *command = head->part_of->graph->commands[head->part + member].command;
    const pel_job *failed = failed_job(head);
    const pel_work *work = head->job_count > 0 ? &head->jobs[0].work : NULL;
    const bool well = work && (work->status == PEL_OK || (work->well >> member & 1) != 0),
               half = work && !well && member + work->untouched < work->times;
    return (item){.command = head,
                  .uses = &command->uses,
                  .ended = well,
                  .wrote = well || half || head->stirred,
                  .half = half,
                  .spoiled = head->status != PEL_OK || (failed && member == work->reached && !is_forgiven(command, failed))};
}

static bool list_items(const pel_runtime *runtime, region *r) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        count += count_of(r->commands[i]);
    }
    r->items = r->fits ? pel_alloc(&runtime->allocator, (count + 1u) * sizeof *r->items) : NULL;
    for (uint32_t i = 0; i < r->count && r->items; i++) {
        const bool row = pel_graph_in_row(r->commands[i]);
        for (uint32_t k = 0; k < count_of(r->commands[i]); k++) {
            r->items[r->item_count++] = row ? item_of_member(r->commands[i], k) : item_of(r->commands[i]);
        }
    }
    return r->items != NULL;
}

/* ---- what must run again, and can ---- */

/*
 * By addresses: what those write that must run again, and who wrote last, as an index from 1. So the choice takes n log n and not
 * each launch's look at all others.
 */
typedef struct written {
    pel_interval_map *again, *last;
} written;

enum {
    WRITTEN = 1,       /* by one that must run again, and may be spoiled */
    WRITTEN_AGAIN = 2, /* by one that runs again */
    WRITTEN_ANEW = 4   /* and does not look at what was there */
};

static bool reads(const pel_use *use) { return (use->mode & PEL_READ) != 0; }

static bool writes(const pel_use *use) { return (use->mode & PEL_WRITE) != 0; }

static uint64_t begin_of(const pel_use *use) { return (uintptr_t)use->allocation->base + use->lo; }

static uint64_t end_of(const pel_use *use) { return (uintptr_t)use->allocation->base + use->hi; }

typedef struct search {
    uint64_t value;
    bool found;
} search;

static bool find_any(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    search *s = user;
    (void)lo, (void)hi;
    s->found = (value.a & s->value) != 0;
    return !s->found;
}

static bool find_lack(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    search *s = user;
    (void)lo, (void)hi;
    s->found = (value.a & s->value) == 0;
    return !s->found;
}

static bool find_later(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    search *s = user;
    (void)lo, (void)hi;
    s->found = value.a > s->value;
    return !s->found;
}

static bool finds(const pel_interval_map *map, const pel_use *use, pel_interval_visit_fn find, uint64_t value) {
    search s = {.value = value};
    pel_interval_map_visit(map, begin_of(use), end_of(use), find, &s, NULL);
    return s.found;
}

/* One that fails leaves alone what was written after it, but not who read its result. */
static bool is_tainted(const written *w, const pel_uses *uses) {
    bool tainted = false;
    for (uint32_t u = 0; u < uses->count && !tainted; u++) {
        tainted = finds(w->again, &uses->data[u], find_any, reads(&uses->data[u]) ? WRITTEN : WRITTEN_AGAIN);
    }
    return tainted;
}

static bool writes_into(const item *it, const pel_use *use) {
    bool into = false;
    for (uint32_t i = 0; i < it->uses->count && !into; i++) {
        const pel_use *w = &it->uses->data[i];
        into = writes(w) && w->allocation == use->allocation && w->lo < use->hi && use->lo < w->hi;
    }
    return into;
}

/* `saved`: what it spoilt itself is put back. */
static bool is_clobbered(const region *r, const written *w, uint32_t at, const pel_use *use, bool saved) {
    const item *it = &r->items[at];
    const bool anew = !finds(w->again, use, find_lack, WRITTEN_ANEW), by_itself = !saved && it->half && writes_into(it, use);
    return !anew && (by_itself || finds(w->last, use, find_later, at + 1u));
}

static bool note_last(const region *r, const written *w) {
    bool fits = true;
    for (uint32_t i = 0; i < r->item_count; i++) {
        const pel_uses *uses = r->items[i].uses;
        for (uint32_t u = 0; u < uses->count && r->items[i].wrote && fits; u++) {
            const pel_use *use = &uses->data[u];
            const pel_interval_value value = {i + 1u, 0};
            fits = !writes(use) || pel_interval_map_set(w->last, begin_of(use), end_of(use), value, NULL) == PEL_OK;
        }
    }
    return fits;
}

static bool note_again(const written *w, const item *it) {
    bool fits = true;
    for (uint32_t u = 0; u < it->uses->count && fits; u++) {
        const pel_use *use = &it->uses->data[u];
        const bool anew = use->mode == PEL_WRITE && use->pitch == 0;
        const uint64_t bits = it->spoiled ? WRITTEN : anew ? WRITTEN | WRITTEN_AGAIN | WRITTEN_ANEW : WRITTEN | WRITTEN_AGAIN;
        fits = !writes(use) || pel_interval_map_mask(w->again, begin_of(use), end_of(use), 0, bits, NULL) == PEL_OK;
    }
    return fits;
}

/* In program order: what is noted was before. False: no memory. */
static bool choose_by(region *r, const written *w) {
    bool fits = note_last(r, w);
    for (uint32_t i = 0; i < r->item_count && fits; i++) {
        item *it = &r->items[i];
        it->tainted = is_tainted(w, it->uses);
        it->half = it->half || (it->tainted && it->wrote);
        it->again = !it->ended || it->tainted;
        for (uint32_t u = 0; u < it->uses->count && it->again && !it->spoiled; u++) {
            const pel_use *use = &it->uses->data[u];
            it->spoiled = reads(use) && is_clobbered(r, w, i, use, it->command->protection >= PEL_PROTECT_RETRY);
        }
        fits = !it->again || note_again(w, it);
    }
    return fits;
}

static bool choose(const pel_runtime *runtime, region *r) {
    const written w = {pel_interval_map_create(&runtime->allocator, NULL), pel_interval_map_create(&runtime->allocator, NULL)};
    const bool fits = w.again && w.last && choose_by(r, &w);
    pel_interval_map_destroy(w.again);
    pel_interval_map_destroy(w.last);
    return fits;
}

/* ---- it begins anew ---- */

void pel_recall_forget(pel_command *command) {
    pel_error_destroy(command->cause);
    command->cause = NULL;
    command->broken = command->recalled = command->restarted = command->stirred = false;
    command->failures = 0;
    command->more = 0;
    command->bound.avoid = 0;
}

pel_error *pel_recall_told(const pel_command *command, pel_status *status, pel_error *error) {
    const pel_error *cause = command->cause;
    pel_error *told = NULL;
    if (*status == PEL_DEPENDENCY_FAILED || *status == PEL_CANCELLED) {
        return error;
    }
    const pel_story story = {pel_error_device(cause), pel_error_call(cause), pel_error_code(cause), pel_error_advice(cause),
                             pel_error_build_log(cause)};
    *status = pel_error_status(cause);
    pel_fail(&told, &command->runtime->allocator, *status, &story, "%s; it could not run again: %s", pel_error_message(cause),
             pel_error_message(error));
    pel_error_destroy(error);
    return told;
}

static void note_cause(pel_command *command, const pel_job *job) {
    command->failures++;
    pel_error_destroy(command->cause);
    command->cause = pel_job_story(job);
    command->bound.avoid = another_is_left(command, job->device) ? job->device->index + 1u : 0;
    pel_log(&command->runtime->logger, PEL_LOG_WARNING, "%s; it begins anew", pel_error_message(command->cause));
}

/* As if it had not begun. */
static void restart(pel_command *command, bool wrote) {
    command->stirred = command->stirred || wrote;
    pel_chain_stop(command);
    pel_retry_free(command);
    pel_chain_unplan(command);
    command->restarted = true;
    command->broken = command->early = command->held = false;
    command->phase = PEL_PHASE_WAITING;
    if (pel_chain_pending(command) == 0) {
        pel_command_make_ready(command);
    }
}

static void fail_spoiled(pel_command *command, const pel_job *job) {
    const char *name = command->name ? command->name : "launch";
    pel_error *why = job ? pel_job_story(job) : NULL, *error = NULL;
    const pel_status status = job ? pel_job_verdict(job) : PEL_DEPENDENCY_FAILED;
    const pel_story story = {pel_error_device(why), pel_error_call(why), pel_error_code(why), pel_error_advice(why),
                             pel_error_build_log(why)};
    if (job) {
        pel_fail(&error, &command->runtime->allocator, status, &story,
                 "%s; it could not run again: what it reads was overwritten by then (PEL_PROTECT_RETRY saves it)",
                 pel_error_message(why));
    } else {
        pel_fail(&error, &command->runtime->allocator, status, NULL,
                 "%s ran behind a launch that failed, and overwrote what it would have to read (PEL_PROTECT_RETRY saves it)",
                 name);
    }
    pel_error_destroy(why);
    pel_command_fail(command, status, error);
}

/* Its members are marked, and go one by one when it is its turn. */
static void restart_row(pel_command *head, const item *items, uint32_t count) {
    const pel_recorded *members = head->part_of->graph->commands + head->part;
    const pel_job *failed = failed_job(head);
    const uint32_t blamed = failed ? head->jobs[0].work.reached : count;
    bool wrote = false;
    for (uint32_t i = 0; i < count; i++) {
        pel_command *member = members[i].command;
        wrote = wrote || items[i].wrote;
        if (!items[i].again) {
            pel_graph_row_done(head, i);
        } else if (i == blamed && !is_forgiven(member, failed)) {
            pel_command_fail(member, pel_job_verdict(failed), pel_job_story(failed));
        } else if (items[i].spoiled) {
            fail_spoiled(member, i == blamed ? failed : NULL);
        } else if (i == blamed) {
            note_cause(member, failed);
        }
    }
    pel_error *error = head->error;
    const pel_status status = head->status;
    head->error = NULL; /* it is the first member's own, and stays */
    restart(head, wrote);
    head->error = error;
    head->status = status;
}

/* What becomes of one command of the region; its items. */
static void settle(pel_command *command, const item *items, uint32_t count) {
    const pel_job *failed = failed_job(command);
    const pel_work *work = &command->jobs[0].work;
    bool again = false;
    for (uint32_t i = 0; i < count; i++) {
        again = again || items[i].again;
    }
    command->recalled = false;
    if (!again || command->status != PEL_OK) {
        return;
    }
    if (pel_graph_in_row(command)) {
        restart_row(command, items, count);
    } else if (items[0].spoiled) {
        fail_spoiled(command, failed);
    } else if (command->protection < PEL_PROTECT_RETRY || command->early) {
        command->more += times_of(command->jobs) - (items[0].tainted || !failed ? 0 : work->reached) - 1;
        if (failed) {
            note_cause(command, failed);
        }
        restart(command, items[0].wrote);
    }
}

static void take_out(pel_dispatcher *dispatcher, const pel_command *command) {
    for (pel_command **link = &dispatcher->broken; *link; link = &(*link)->next) {
        if (*link == command) {
            *link = command->next;
            return;
        }
    }
}

/* All of its region are back. */
static void mend(pel_command *root, region *r) {
    pel_runtime *runtime = root->runtime;
    const bool chosen = list_items(runtime, r) && choose(runtime, r);
    if (!chosen) { /* those that were told not to run fail, too, when it is their turn */
        pel_command_fail(root, PEL_OUT_OF_MEMORY, NULL);
    }
    for (uint32_t i = 0, at = 0; i < r->count && chosen; i++) {
        pel_command *command = r->commands[i];
        const uint32_t count = count_of(command);
        if (command->job_count > 0) { /* else it begins anew already */
            if (command != root && command->broken && command->status == PEL_OK) {
                take_out(runtime->dispatcher, command);
                command->broken = false;
                command->held = true;
            }
            settle(command, &r->items[at], count);
        }
        at += count;
    }
    if (root->phase == PEL_PHASE_RUNNING) { /* it has failed, or is protected */
        root->broken = false;
        pel_chain_stop(root); /* who still follows it need not have come back */
        if (!pel_chain_holds(root)) {
            pel_command_phase_over(root);
        }
    }
}

/* ---- when ---- */

void pel_recall_begin(pel_job *job) {
    pel_command *command = job->command;
    const bool alone = !command->leads && !command->early;
    if (command->kind != PEL_COMMAND_LAUNCH || command->phase != PEL_PHASE_RUNNING || job->vote || command->broken ||
        command->recalled || (alone && (command->status != PEL_OK || command->protection >= PEL_PROTECT_RETRY))) {
        return;
    }
    command->broken = true;
    region r = find_region(command);
    for (uint32_t i = 0; i < r.count; i++) {
        if (r.commands[i] != command && r.commands[i]->early) {
            r.commands[i]->recalled = !r.commands[i]->broken;
            pel_chain_spread_failure(r.commands[i]);
        }
    }
    for (uint32_t i = 0; i < r.count; i++) { /* they know: so nobody need wait for these any more */
        for (uint32_t k = 0; k < r.commands[i]->job_count; k++) {
            if (r.commands[i]->jobs[k].over) { /* again: it was not told to then */
                pel_chain_job_over(&r.commands[i]->jobs[k]);
            }
        }
    }
    forget_region(command->runtime, &r);
}

bool pel_recall_takes(pel_command *command) {
    if (!command->broken) {
        return false;
    }
    command->next = command->runtime->dispatcher->broken;
    command->runtime->dispatcher->broken = command;
    return true;
}

/* What is queued behind it has come back. */
static bool is_home(const pel_command *root, const region *r) {
    bool home = true;
    for (uint32_t i = 0; i < r->count && home; i++) {
        home = r->commands[i] == root || !r->commands[i]->early || r->commands[i]->held || r->commands[i]->outstanding == 0;
    }
    return home;
}

void pel_recall_look(pel_runtime *runtime) {
    pel_command **link = &runtime->dispatcher->broken;
    while (*link) {
        pel_command *root = *link;
        region r = find_region(root);
        if (r.fits && !is_home(root, &r)) {
            link = &root->next;
        } else {
            *link = root->next;
            root->next = NULL;
            mend(root, &r);
            link = &runtime->dispatcher->broken; /* others may have left */
        }
        forget_region(runtime, &r);
    }
}

bool pel_recall_more(pel_command *command) {
    if (command->more == 0 || command->status != PEL_OK) {
        return false;
    }
    command->more--;
    pel_retry_free(command);
    pel_chain_unplan(command);
    command->phase = PEL_PHASE_WAITING;
    pel_command_make_ready(command);
    return true;
}
