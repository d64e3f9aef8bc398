/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The oracle of the storm: the plan in program order, on memory of its own. Of each byte it knows the value, and whether a failed
 * command should have written it (then of which queue, whose reset forgives that). Who reads such a byte, waits for a failed
 * event, or is behind a failed barrier must end as DEPENDENCY_FAILED, and nobody else; who overwrites it wholly makes it good.
 *
 * In two places one failure too many is allowed, and what was seen decides how it goes on: of rectangles in graphs what the graph
 * itself writes before it reads may count as read; and what a command that was refused for want of memory would have written may
 * count as undefined. Where requests for memory fail, OUT_OF_MEMORY is believed, and what follows from it is not.
 */
#include "storm.h"

#include <string.h>

enum { FAILED_INSIDE = 1, SLOTS = 8, FOR_EVER = 255 };
typedef enum verdict { NO, MAYBE, YES } verdict;

typedef struct oracle {
    storm *s;
    unsigned char memory[STORM_SPACE];
    unsigned char mark[STORM_SPACE];  /* 0: good; 1 + queue: undefined */
    unsigned char doubt[STORM_SPACE]; /* 1 + queue, or FOR_EVER: perhaps taken for undefined */
    unsigned char *bases[STORM_BUFFERS];
    bool gate_failed[STORM_QUEUES], guessed[STORM_QUEUES];
    pel_status first[STORM_QUEUES];
    uint32_t slots[STORM_GRAPHS][SLOTS], slot_count[STORM_GRAPHS], slot_first[STORM_GRAPHS];
} oracle;

/* ---- what commands compute ---- */

uint32_t storm_hash(const storm_op *op, unsigned char *const *bases) {
    uint32_t hash = op->salt;
    for (uint32_t i = 0; i < op->access_count; i++) {
        const storm_access *a = &op->accesses[i];
        for (uint32_t k = 0; storm_reads(a) && k < storm_items(a); k++) {
            hash = hash * 31 + bases[a->buffer][storm_place(a, k)];
        }
    }
    return hash;
}

void storm_write_hash(const storm_access *a, uint32_t hash, unsigned char *const *bases, uint32_t begin, uint32_t end) {
    for (uint32_t k = begin; k < end; k++) {
        unsigned char *byte = &bases[a->buffer][storm_place(a, k)];
        *byte = (unsigned char)(hash + 7 * k + (storm_reads(a) ? *byte * 5u : 0));
    }
}

uint32_t storm_apply(const storm_op *op, unsigned char *const *bases) {
    const uint32_t hash = storm_hash(op, bases);
    for (uint32_t i = 0; i < op->access_count; i++) {
        if (storm_writes(&op->accesses[i])) {
            storm_write_hash(&op->accesses[i], hash, bases, 0, storm_items(&op->accesses[i]));
        }
    }
    return hash;
}

uint32_t storm_pattern_bytes(const storm_op *op) {
    const uint32_t wanted = 1 + op->salt % 8;
    return op->accesses[0].bytes % wanted == 0 ? wanted : 1;
}

unsigned char storm_item(const storm_op *op, uint32_t k, unsigned old, unsigned source) {
    switch (op->kind) {
    case STORM_COPY:
    case STORM_COPY_RECT:
        return (unsigned char)source;
    case STORM_FILL:
        return (unsigned char)(op->salt + 7 * (k % storm_pattern_bytes(op)));
    case STORM_WRITE:
        return (unsigned char)(op->salt + 13 * k);
    default:
        return (unsigned char)(op->salt + 3 * k + (op->access_count > 1 ? 31 * source : 0) +
                               (storm_reads(&op->accesses[0]) ? 5 * old : 0));
    }
}

void storm_apply_items(const storm_op *op, unsigned char *const *bases, uint32_t begin, uint32_t end) {
    const storm_access *to = &op->accesses[0], *from = &op->accesses[1];
    for (uint32_t k = begin; k < end; k++) {
        unsigned char *byte = &bases[to->buffer][storm_place(to, k)];
        *byte = storm_item(op, k, *byte, op->access_count > 1 ? bases[from->buffer][storm_place(from, k)] : 0);
    }
}

/* ---- how far failures spread ---- */

static verdict worse(verdict a, verdict b) {
    return a > b ? a : b;
}

/* Without memory for a better way a rectangle counts as all that it encloses, read and written in part. */
static bool is_coarse(const oracle *o, const storm_access *a) {
    return storm_is_lean(o->s) && a->rows > 1;
}
static uint32_t enclosed(const storm_access *a) {
    return (a->rows - 1) * a->pitch + a->bytes;
}

static verdict spoilt(const oracle *o, const storm_access *a) {
    verdict v = NO;
    for (uint32_t k = 0; storm_reads(a) && k < storm_items(a); k++) {
        const uint32_t at = storm_address(a, k);
        v = worse(v, o->mark[at] != 0 ? YES : o->doubt[at] != 0 ? MAYBE : NO);
    }
    for (uint32_t at = storm_address(a, 0), end = is_coarse(o, a) ? at + enclosed(a) : at; at < end; at++) {
        v = worse(v, o->mark[at] != 0 || o->doubt[at] != 0 ? MAYBE : NO);
    }
    return v;
}

static void doubt(oracle *o, const storm_access *a, uint32_t value) {
    const uint32_t from = storm_address(a, 0), to = from + (is_coarse(o, a) ? enclosed(a) : a->bytes);
    for (uint32_t at = from; at < to; at++) {
        o->doubt[at] = (unsigned char)(o->doubt[at] == FOR_EVER ? FOR_EVER : value);
    }
}

static void spoil(oracle *o, const storm_access *a, uint32_t queue) {
    for (uint32_t k = 0; k < storm_items(a); k++) {
        o->mark[storm_address(a, k)] = (unsigned char)(1 + queue);
    }
    if (is_coarse(o, a)) {
        doubt(o, a, 1 + queue);
    }
}

static void make_good(oracle *o, const storm_access *a) {
    for (uint32_t k = 0; k < storm_items(a); k++) {
        const uint32_t at = storm_address(a, k);
        const bool stays = is_coarse(o, a) || o->doubt[at] == FOR_EVER;
        o->doubt[at] = !stays ? 0 : o->doubt[at] != 0 ? o->doubt[at] : o->mark[at];
        o->mark[at] = 0;
    }
}

/* ---- children and recorded commands ---- */

typedef struct family {
    storm_op **members;
    uint32_t count;
    pel_status first; /* failure in their order */
    bool wrote;       /* one that failed should have written */
    bool seen;        /* their events tell what became of them, for want of memory */
} family;

static pel_status run_alone(oracle *o, storm_op *op);

static bool reads_failed(const storm_op *op, const unsigned char *failed) {
    bool yes = false;
    for (uint32_t i = 0; i < op->access_count; i++) {
        const storm_access *a = &op->accesses[i];
        for (uint32_t k = 0; storm_reads(a) && k < storm_items(a) && !yes; k++) {
            yes = failed[storm_address(a, k)] != 0;
        }
    }
    return yes;
}

static void note_outputs(const storm_op *op, unsigned char *failed) {
    for (uint32_t i = 0; i < op->access_count; i++) {
        for (uint32_t k = 0; storm_writes(&op->accesses[i]) && k < storm_items(&op->accesses[i]); k++) {
            failed[storm_address(&op->accesses[i], k)] = op->status != PEL_OK ? FAILED_INSIDE : 0;
        }
    }
}

/* base: the number of the first member when the waits were made. */
static void run_family(oracle *o, family *f, uint32_t base) {
    unsigned char failed[STORM_SPACE] = {0};
    bool gate_failed = false, trouble = false;
    for (uint32_t i = 0; i < f->count; i++) {
        storm_op *op = f->members[i];
        if (op->refused) {
            trouble = true;
            continue;
        }
        bool fails = gate_failed || reads_failed(op, failed);
        for (uint32_t w = 0; w < op->wait_count; w++) {
            fails = fails || f->members[op->waits[w] - base]->status != PEL_OK;
        }
        const pel_status was = f->seen && op->event ? pel_event_status(op->event) : PEL_OK;
        if (was == PEL_OUT_OF_MEMORY || (was == PEL_DEPENDENCY_FAILED && trouble)) {
            op->status = was;
            op->should_run = op->should_result = UINT32_MAX;
            trouble = true;
        } else {
            op->status = fails ? PEL_DEPENDENCY_FAILED : run_alone(o, op);
        }
        note_outputs(op, failed);
        gate_failed = gate_failed || (op->kind == STORM_BARRIER && op->status != PEL_OK);
        for (uint32_t k = 0; k < op->access_count && op->status != PEL_OK; k++) {
            f->wrote = f->wrote || storm_writes(&op->accesses[k]);
        }
        f->first = f->first == PEL_OK ? op->status : f->first;
    }
}

static void note_failure(oracle *o, uint32_t queue, pel_status status) {
    o->first[queue] = o->first[queue] == PEL_OK ? status : o->first[queue];
}

static pel_status run_parent(oracle *o, storm_op *op) {
    storm_op *members[STORM_INNER];
    family f = {.members = members, .count = op->count, .seen = storm_is_lean(o->s)};
    for (uint32_t i = 0; i < op->count; i++) {
        members[i] = &o->s->plan.inner[op->first + i];
    }
    op->should_result = storm_apply(op, o->bases);
    run_family(o, &f, op->first);
    note_failure(o, op->queue, f.first);
    for (uint32_t i = 0; i < op->count; i++) {
        if (!members[i]->refused && members[i]->event && pel_event_status(members[i]->event) != members[i]->status) {
            storm_complain(o->s, members[i], "a child's status", (long)pel_event_status(members[i]->event),
                           (long)members[i]->status);
        }
    }
    return f.wrote ? PEL_DEPENDENCY_FAILED : PEL_OK;
}

static void members_of(oracle *o, uint32_t graph, family *f) {
    f->count = o->slot_count[graph];
    for (uint32_t i = 0; i < f->count; i++) {
        f->members[i] = &o->s->plan.inner[o->slots[graph][i]];
    }
}

/* What it would have written, and what the commands of its replay would. */
static void doubt_all(oracle *o, const storm_op *op, uint32_t value) {
    storm_op *members[SLOTS + 1];
    family f = {.members = members};
    if (op->kind == STORM_REPLAY) {
        members_of(o, op->target, &f);
    }
    members[f.count] = (storm_op *)(uintptr_t)op;
    for (uint32_t i = 0; i <= f.count; i++) {
        for (uint32_t k = 0; k < members[i]->access_count; k++) {
            if (storm_writes(&members[i]->accesses[k])) {
                doubt(o, &members[i]->accesses[k], value);
            }
        }
    }
}

static pel_status run_replay(oracle *o, const storm_op *op) {
    storm_op *members[SLOTS];
    family f = {.members = members};
    members_of(o, op->target, &f);
    const pel_status was = storm_is_lean(o->s) ? pel_event_status(op->event) : PEL_OK;
    if (was == PEL_OUT_OF_MEMORY) { /* whichever of them had none */
        f.first = was;
        doubt_all(o, op, FOR_EVER);
    } else {
        run_family(o, &f, o->slot_first[op->target]);
    }
    for (uint32_t i = 0; i < f.count && was != PEL_OK; i++) { /* behind the first failure there may be others */
        members[i]->should_run = members[i]->should_result = UINT32_MAX;
    }
    return f.first;
}

/* What a replay reads: what it has not written before, for certain; with rectangles perhaps all that is read in it. */
static verdict replay_spoilt(oracle *o, const storm_op *op) {
    unsigned char written[STORM_SPACE] = {0};
    storm_op *members[SLOTS];
    family f = {.members = members};
    bool rectangles = false;
    verdict v = NO;
    members_of(o, op->target, &f);
    for (uint32_t i = 0; i < f.count * STORM_ACCESSES; i++) {
        const storm_op *member = members[i / STORM_ACCESSES];
        rectangles = rectangles || (i % STORM_ACCESSES < member->access_count && member->accesses[i % STORM_ACCESSES].rows > 1);
    }
    for (uint32_t i = 0; i < f.count; i++) {
        for (uint32_t n = 0; n < members[i]->access_count; n++) {
            const storm_access *a = &members[i]->accesses[n];
            v = worse(v, rectangles && spoilt(o, a) != NO ? MAYBE : NO);
            for (uint32_t k = 0; storm_reads(a) && k < storm_items(a); k++) {
                const uint32_t at = storm_address(a, k);
                v = worse(v, written[at] ? NO : o->mark[at] != 0 ? YES : o->doubt[at] != 0 ? MAYBE : NO);
            }
        }
        for (uint32_t n = 0; n < members[i]->access_count; n++) {
            const storm_access *a = &members[i]->accesses[n];
            for (uint32_t k = 0; storm_writes(a) && k < storm_items(a); k++) {
                written[storm_address(a, k)] = 1;
            }
        }
    }
    return v;
}

/* ---- commands ---- */

/* Nothing that it comes after has failed. */
static pel_status run_alone(oracle *o, storm_op *op) {
    switch (op->kind) {
    case STORM_TASK:
    case STORM_PARENT:
        op->should_run += op->should_run == UINT32_MAX ? 0 : op->fails > op->retries ? op->retries + 1 : op->fails + 1;
        if (op->fails > op->retries) {
            return PEL_TASK_FAILED;
        }
        if (op->kind == STORM_PARENT) {
            return run_parent(o, op);
        }
        op->should_result = storm_apply(op, o->bases);
        return PEL_OK;
    case STORM_LOOP:
    case STORM_LAUNCH:
        if (op->access_count == 0) { /* a loop over nothing but its items */
            return PEL_OK;
        }
        if (op->fails > 0) {
            op->should_run = UINT32_MAX;
            return PEL_TASK_FAILED;
        }
        op->should_run += op->should_run != UINT32_MAX ? storm_items(&op->accesses[0]) : 0;
        storm_apply_items(op, o->bases, 0, storm_items(&op->accesses[0]));
        return PEL_OK;
    case STORM_COPY:
    case STORM_COPY_RECT:
    case STORM_FILL:
    case STORM_WRITE:
        storm_apply_items(op, o->bases, 0, storm_items(&op->accesses[0]));
        return PEL_OK;
    case STORM_MAP:
        op->should_result = storm_apply(op, o->bases);
        return PEL_OK;
    case STORM_CALLBACK:
        op->should_run++;
        return PEL_OK;
    case STORM_REPLAY:
        return run_replay(o, op);
    default:
        return PEL_OK;
    }
}

static verdict predict(oracle *o, const storm_op *op) {
    verdict v = op->kind == STORM_REPLAY ? replay_spoilt(o, op) : NO;
    if (op->kind == STORM_CALLBACK) {
        return NO;
    }
    for (uint32_t i = 0; i < op->wait_count; i++) {
        v = worse(v, o->s->plan.ops[op->waits[i]].status != PEL_OK ? YES : NO);
    }
    for (uint32_t i = 0; i < op->access_count; i++) {
        v = worse(v, spoilt(o, &op->accesses[i]));
    }
    return worse(v, o->gate_failed[op->queue] ? YES : NO);
}

static void end_accesses(oracle *o, const storm_op *op, const storm_access *accesses, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (storm_writes(&accesses[i]) && op->status != PEL_OK) {
            spoil(o, &accesses[i], op->queue);
        } else if (storm_writes(&accesses[i])) {
            make_good(o, &accesses[i]);
        }
    }
}

static void end_command(oracle *o, const storm_op *op) {
    note_failure(o, op->queue, op->status);
    end_accesses(o, op, op->accesses, op->access_count);
    if (op->kind == STORM_REPLAY) {
        storm_op *members[SLOTS];
        family f = {.members = members};
        members_of(o, op->target, &f);
        for (uint32_t i = 0; i < f.count; i++) {
            end_accesses(o, op, members[i]->accesses, members[i]->access_count);
        }
    }
    o->gate_failed[op->queue] = o->gate_failed[op->queue] || (op->kind == STORM_BARRIER && op->status != PEL_OK);
}

/* Of a parent that had no memory: it may have submitted some. */
static void note_children(const oracle *o, const storm_op *op) {
    for (uint32_t i = 0; op->kind == STORM_PARENT && i < op->count; i++) {
        o->s->plan.inner[op->first + i].should_run = UINT32_MAX;
    }
}

static void judge_command(oracle *o, storm_op *op) {
    const bool seen = op->event || op->kind == STORM_MAP;
    if (op->refused) {
        doubt_all(o, op, 1 + op->queue);
        return;
    }
    const verdict v = predict(o, op);
    const bool silent = storm_is_lean(o->s) && !seen && op->kind == STORM_TASK && atomic_load(&op->ran) == 0; /* it failed */
    const pel_status was = op->kind == STORM_MAP ? op->said
                           : seen                ? pel_event_status(op->event)
                           : !silent             ? PEL_OK
                           : v == NO             ? PEL_OUT_OF_MEMORY
                                                 : PEL_DEPENDENCY_FAILED;
    if (silent && v != NO) { /* or for want of memory: which is not known */
        o->guessed[op->queue] = true;
        doubt_all(o, op, FOR_EVER);
    }
    if (was == PEL_OUT_OF_MEMORY && storm_is_lean(o->s) && op->kind != STORM_REPLAY) {
        op->status = was;
        op->should_run = UINT32_MAX;
        note_children(o, op);
        doubt_all(o, op, FOR_EVER); /* kept in few places, and coarsely */
    } else if (op->cancelled) {
        op->status = was == PEL_DEPENDENCY_FAILED && v != NO ? was : PEL_CANCELLED;
    } else if (v == YES || (v == MAYBE && was == PEL_DEPENDENCY_FAILED && atomic_load(&op->ran) == 0)) {
        op->status = PEL_DEPENDENCY_FAILED;
    } else {
        op->status = run_alone(o, op);
    }
    if (seen && was != op->status) {
        storm_complain(o->s, op, "its status", (long)was, (long)op->status);
        fprintf(stderr, "%s\n",
                op->event && pel_event_error(op->event) ? pel_error_story(pel_event_error(op->event)) : "no story");
        op->status = was; /* what follows from it is not complained about */
    }
    if (op->kind == STORM_CALLBACK && op->status == PEL_OK && op->said != o->s->plan.ops[op->target].status) {
        storm_complain(o->s, op, "what a callback saw", (long)op->said, (long)o->s->plan.ops[op->target].status);
    }
    if (op->kind == STORM_READ && op->status == PEL_OK) {
        const storm_access *a = &op->accesses[0];
        if (memcmp(op->bytes, &o->memory[storm_address(a, 0)], a->bytes) != 0) {
            storm_complain(o->s, op, "what was read: a byte", 0, 0);
        }
    }
    end_command(o, op);
}

static void judge_other(oracle *o, storm_op *op) {
    storm_plan *plan = &o->s->plan;
    switch (op->kind) {
    case STORM_USER:
        op->status = op->refused ? PEL_OK : op->cancelled || op->ender == STORM_BY_CANCEL ? PEL_CANCELLED : op->ends_as;
        if (!op->refused && pel_event_status(op->event) != op->status) {
            storm_complain(o->s, op, "a user event", (long)pel_event_status(op->event), (long)op->status);
        }
        return;
    case STORM_WAIT:
        if (!plan->ops[op->target].refused && op->said != plan->ops[op->target].status) {
            storm_complain(o->s, op, "a wait", (long)op->said, (long)plan->ops[op->target].status);
        }
        return;
    case STORM_FINISH:
        if (op->said != o->first[op->queue] && !(storm_is_lean(o->s) && op->said == PEL_OUT_OF_MEMORY)) {
            storm_complain(o->s, op, "finish", (long)op->said, (long)o->first[op->queue]);
        }
        return;
    case STORM_RESET:
        for (uint32_t at = 0; at < STORM_SPACE; at++) {
            o->memory[at] = o->mark[at] != 0 ? op->bytes[at] : o->memory[at];
            o->mark[at] = o->mark[at] == 1 + op->queue ? 0 : o->mark[at];
            o->doubt[at] = o->doubt[at] == 1 + op->queue ? 0 : o->doubt[at];
        }
        o->gate_failed[op->queue] = false;
        o->first[op->queue] = PEL_OK;
        return;
    case STORM_RECORD:
        o->slot_count[op->target] = op->refused ? 0 : op->count;
        o->slot_first[op->target] = op->first;
        for (uint32_t i = 0; i < op->count; i++) {
            o->slots[op->target][i] = op->first + i;
        }
        return;
    case STORM_REPLACE:
        o->slots[op->target][op->count] = op->refused ? o->slots[op->target][op->count] : op->first;
        return;
    default:
        return;
    }
}

static void judge_runs(storm *s, const storm_op *op) {
    const uint32_t ran = atomic_load(&op->ran);
    if (op->should_run == UINT32_MAX || (op->kind == STORM_LAUNCH && (s->scene->flags & STORM_OPENCL) != 0)) {
        return; /* devices do not count */
    }
    if (op->kind == STORM_LAUNCH ? ran < op->should_run : ran != op->should_run) { /* a chunk may have to run again */
        storm_complain(s, op, "runs", ran, op->should_run);
    }
    if ((op->kind == STORM_TASK || op->kind == STORM_PARENT || op->kind == STORM_MAP) && op->result != op->should_result) {
        storm_complain(s, op, "the hash of what was read", op->result, op->should_result);
    }
}

static void judge_memory(oracle *o) {
    storm *s = o->s;
    for (uint32_t at = 0; at < STORM_SPACE; at++) {
        const unsigned is = at < STORM_AREA ? s->memory[at] : s->bases[1][at - STORM_AREA];
        if (o->mark[at] == 0 && is != o->memory[at]) {
            fprintf(stderr, "byte %u of the %s area: ", at % STORM_AREA, at < STORM_AREA ? "first" : "second");
            storm_complain(s, NULL, "memory", (long)is, o->memory[at]);
            return;
        }
    }
}

void storm_judge(storm *s) {
    oracle o = {.s = s};
    for (uint32_t b = 0; b < STORM_BUFFERS; b++) {
        o.bases[b] = o.memory + storm_base(b);
    }
    for (uint32_t i = 0; i < s->plan.count; i++) {
        if (storm_is_command(&s->plan.ops[i])) {
            judge_command(&o, &s->plan.ops[i]);
        } else {
            judge_other(&o, &s->plan.ops[i]);
        }
    }
    for (uint32_t q = 0; q < s->plan.queues; q++) {
        const bool fits = o.guessed[q] && s->finished[q] != PEL_OK && o.first[q] != PEL_OK;
        if (s->finished[q] != o.first[q] && !fits) {
            storm_complain(s, NULL, "the last finish", (long)s->finished[q], (long)o.first[q]);
        }
    }
    for (uint32_t i = 0; i < s->plan.count; i++) {
        judge_runs(s, &s->plan.ops[i]);
    }
    for (uint32_t i = 0; i < s->plan.inner_count; i++) {
        judge_runs(s, &s->plan.inner[i]);
    }
    judge_memory(&o);
}
