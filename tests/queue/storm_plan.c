/* SPDX-License-Identifier: BSD-3-Clause */
/* The generator of the storm: plans depend on the seed alone. */
#include "storm.h"

#include "support/random.h"
#include <string.h>

enum { CELL = 16 };

typedef struct maker {
    storm_plan *plan;
    uint64_t random;
    uint32_t trouble; /* one in so many fails; 0: none */
    bool cells, rectangles, open, aligned;
    bool brisk, readers; /* STORM_CELLS; that read them as a rule */
    uint32_t graph_first[STORM_GRAPHS], graph_count[STORM_GRAPHS], graphs;
} maker;

static uint32_t below(maker *m, uint32_t limit) {
    return (uint32_t)(test_random(&m->random) % limit);
}
static bool chance(maker *m, uint32_t one_in) {
    return one_in > 0 && below(m, one_in) == 0;
}

static uint32_t bytes_of(uint32_t buffer) {
    return buffer == 2 ? STORM_PART_BYTES : STORM_AREA;
}

static storm_access cell(maker *m, pel_access_mode mode) {
    return (storm_access){
        .mode = mode, .buffer = below(m, 24) / 23, .offset = CELL * below(m, 6), .bytes = CELL, .rows = 1, .pitch = CELL};
}

static storm_access piece(maker *m, pel_access_mode mode) {
    storm_access a = {.mode = mode, .buffer = below(m, STORM_BUFFERS), .rows = 1};
    if (m->brisk) {
        return cell(m, mode);
    }
    const uint32_t room = bytes_of(a.buffer);
    if (m->cells && !chance(m, 12)) {
        a.bytes = CELL;
        a.offset = CELL * below(m, (room < 128 ? room : 128) / CELL);
    } else {
        a.offset = below(m, room);
        a.bytes = 1 + below(m, room - a.offset);
        a.bytes = a.bytes > 48 && !chance(m, 8) ? 1 + a.bytes % 48 : a.bytes;
    }
    a.pitch = a.bytes;
    const uint32_t beyond = m->aligned ? storm_address(&a, 0) % STORM_AREA % m->plan->align : 0;
    a.offset -= beyond <= a.offset ? beyond : 0;
    return a;
}

static storm_access rectangle(maker *m, pel_access_mode mode) {
    static const uint32_t pitches[] = {16, 20, 24, 40, 48};
    storm_access a = {.mode = mode, .buffer = below(m, STORM_BUFFERS), .rows = 2 + below(m, 6), .pitch = STORM_PITCH};
    a.pitch = m->plan->wild ? pitches[below(m, 5)] : STORM_PITCH;
    a.bytes = 1 + below(m, a.pitch);
    a.offset = below(m, bytes_of(a.buffer) - (a.rows - 1) * a.pitch - a.bytes + 1);
    return a;
}

static storm_access any_access(maker *m, pel_access_mode mode) {
    return m->rectangles && chance(m, 3) ? rectangle(m, mode) : piece(m, mode);
}

static bool overlap(const storm_access *a, const storm_access *b) {
    bool used[STORM_SPACE] = {false}, yes = false;
    for (uint32_t k = 0; k < storm_items(a); k++) {
        used[storm_address(a, k)] = true;
    }
    for (uint32_t k = 0; k < storm_items(b) && !yes; k++) {
        yes = used[storm_address(b, k)];
    }
    return yes;
}

/* A destination, and as a rule a source of the same shape that does not overlap it. */
static void give_items(maker *m, storm_op *op, bool needs_source, bool rows) {
    op->accesses[0] = rows ? rectangle(m, PEL_WRITE) : piece(m, PEL_WRITE);
    op->access_count = 1;
    for (uint32_t i = 0; (needs_source || (i == 0 && chance(m, 2))) && op->access_count == 1; i++) {
        storm_access *to = &op->accesses[0], from = rows ? rectangle(m, PEL_READ) : piece(m, PEL_READ);
        if (rows && i < 20) {
            from.rows = to->rows;
            from.bytes = to->bytes;
            from.pitch = from.pitch < from.bytes ? from.bytes : from.pitch;
        } else {
            from.bytes = to->bytes = from.bytes < to->bytes ? from.bytes : to->bytes;
            from.rows = to->rows = from.rows < to->rows ? from.rows : to->rows;
            from.pitch = rows ? from.pitch : from.bytes;
            to->pitch = rows ? to->pitch : to->bytes;
        }
        if (from.offset + (from.rows - 1) * from.pitch + from.bytes <= bytes_of(from.buffer) && !overlap(to, &from)) {
            op->accesses[op->access_count++] = from;
        }
    }
}

/* One to three cells of one size: what most tasks of most programs have. */
static void give_cells(maker *m, storm_op *op) {
    for (uint32_t wanted = 1 + below(m, 3); op->access_count < wanted;) {
        storm_access *a = &op->accesses[op->access_count];
        *a = cell(m, m->readers && !chance(m, 4) ? PEL_READ : 1 + below(m, 3));
        bool fresh = true;
        for (uint32_t i = 0; i < op->access_count; i++) {
            fresh = fresh && !overlap(&op->accesses[i], a);
        }
        op->access_count += fresh ? 1 : 0;
    }
}

static void give_accesses(maker *m, storm_op *op) {
    if (m->brisk) {
        give_cells(m, op);
        return;
    }
    op->access_count = below(m, STORM_ACCESSES + 1);
    for (uint32_t i = 0; i < op->access_count; i++) {
        const uint32_t mode = below(m, 5);
        op->accesses[i] = any_access(m, mode < 2 ? PEL_READ : mode < 4 ? PEL_WRITE : PEL_READ_WRITE);
    }
}

static void give_memory(maker *m, storm_op *op) {
    switch (op->kind) {
    case STORM_TASK:
    case STORM_PARENT:
        give_accesses(m, op);
        break;
    case STORM_LOOP:
    case STORM_LAUNCH:
        m->aligned = op->kind == STORM_LAUNCH && m->plan->align > 0 && !chance(m, 3);
        give_items(m, op, false, false);
        m->aligned = false;
        op->accesses[0].mode = op->access_count == 1 && chance(m, 2) ? PEL_READ_WRITE : PEL_WRITE;
        break;
    case STORM_COPY:
        give_items(m, op, true, false);
        break;
    case STORM_COPY_RECT:
        give_items(m, op, true, true);
        break;
    case STORM_FILL:
    case STORM_WRITE:
        op->accesses[op->access_count++] = piece(m, PEL_WRITE);
        break;
    case STORM_READ:
        op->accesses[op->access_count++] = piece(m, PEL_READ);
        break;
    case STORM_MAP: {
        const uint32_t mode = below(m, 3);
        op->accesses[op->access_count++] = piece(m, mode == 0 ? PEL_READ : mode == 1 ? PEL_WRITE : PEL_READ_WRITE);
        op->guarded = chance(m, 4);
        break;
    }
    default:
        break;
    }
}

static storm_op *new_op(maker *m, storm_op *list, uint32_t *count, storm_kind kind) {
    storm_op *op = &list[*count];
    memset(op, 0, sizeof *op);
    op->number = (*count)++;
    op->kind = kind;
    op->queue = below(m, m->plan->queues);
    op->salt = (uint32_t)test_random(&m->random);
    op->status = PEL_OK;
    return op;
}

/* Waits for some of [first, its own place) of the list that have events. */
static void give_waits(maker *m, storm_op *op, storm_op *list, uint32_t first) {
    for (uint32_t i = first; i < op->number && chance(m, 3) && op->wait_count < STORM_WAITS; i++) {
        const uint32_t near = op->number - first < 6 ? op->number - first : 6;
        const uint32_t at = op->number - 1 - below(m, near);
        if (list[at].wants_event && (storm_is_command(&list[at]) || list[at].kind == STORM_USER)) {
            op->waits[op->wait_count++] = at;
        }
    }
}

static void give_details(maker *m, storm_op *op) {
    op->pause = m->plan->pauses && chance(m, 3) ? 1 + below(m, 40) : 0;
    op->fails = (op->kind <= STORM_LOOP || op->kind == STORM_LAUNCH) && chance(m, m->trouble) ? 1 : 0;
    if (m->brisk && op->kind == STORM_TASK && !chance(m, 16)) {
        return;
    }
    op->named = chance(m, 8);
    op->priority = chance(m, 12) ? (int32_t)below(m, 3) - 1 : 0;
    op->wants_event = chance(m, 3);
    op->grain = below(m, 20);
}

/* Part of something that the parent has declared; its own writes for writing. */
static bool part_of(maker *m, const storm_op *parent, storm_access *part, pel_access_mode mode) {
    for (uint32_t tries = 0; tries < 8 && parent->access_count > 0; tries++) {
        const storm_access *whole = &parent->accesses[below(m, parent->access_count)];
        if ((mode & PEL_WRITE) == 0 || storm_writes(whole)) {
            const uint32_t from = below(m, whole->bytes), row = below(m, whole->rows);
            *part = (storm_access){.mode = mode, .buffer = whole->buffer, .rows = 1};
            part->offset = whole->offset + row * whole->pitch + from;
            part->pitch = part->bytes = 1 + below(m, whole->bytes - from);
            return true;
        }
    }
    return false;
}

static void give_child_memory(maker *m, const storm_op *parent, storm_op *child) {
    storm_access *to = &child->accesses[0], from;
    const pel_access_mode mode = chance(m, 3) ? PEL_READ_WRITE : PEL_WRITE;
    if (child->kind == STORM_MARKER) {
        return;
    }
    if (child->kind == STORM_TASK && chance(m, 4)) {
        child->access_count = part_of(m, parent, to, PEL_READ) ? 1 : 0;
        return;
    }
    if (!part_of(m, parent, to, mode)) {
        child->kind = STORM_TASK;
        return;
    }
    child->access_count = 1;
    if (child->kind == STORM_FILL) {
        to->mode = PEL_WRITE;
    } else if (chance(m, 2) && part_of(m, parent, &from, PEL_READ)) {
        from.bytes = from.pitch = to->bytes = to->pitch = from.bytes < to->bytes ? from.bytes : to->bytes;
        if (child->kind == STORM_TASK || !overlap(to, &from)) {
            to->mode = PEL_WRITE;
            child->accesses[child->access_count++] = from;
        }
    }
    if (child->kind == STORM_COPY && child->access_count == 1) {
        child->kind = STORM_LOOP;
    }
}

static void give_children(maker *m, storm_op *parent) {
    static const storm_kind kinds[] = {STORM_TASK, STORM_TASK, STORM_TASK,   STORM_LOOP,
                                       STORM_COPY, STORM_FILL, STORM_LAUNCH, STORM_MARKER};
    storm_plan *plan = m->plan;
    parent->first = plan->inner_count;
    for (uint32_t wanted = 1 + below(m, 4); wanted > 0 && plan->inner_count < STORM_INNER; wanted--) {
        storm_op *child = new_op(m, plan->inner, &plan->inner_count, kinds[below(m, 8)]);
        child->queue = parent->queue;
        give_child_memory(m, parent, child);
        give_details(m, child);
        give_waits(m, child, plan->inner, parent->first);
    }
    parent->count = plan->inner_count - parent->first;
    parent->waits_inside = chance(m, 2);
}

static void make_recorded(maker *m, uint32_t queue, uint32_t first) {
    static const storm_kind kinds[] = {STORM_TASK, STORM_TASK, STORM_TASK,  STORM_LOOP,   STORM_COPY,   STORM_COPY_RECT,
                                       STORM_FILL, STORM_READ, STORM_WRITE, STORM_LAUNCH, STORM_MARKER, STORM_BARRIER};
    storm_op *op = new_op(m, m->plan->inner, &m->plan->inner_count, kinds[below(m, 12)]);
    op->kind = op->kind == STORM_COPY_RECT && !m->rectangles ? STORM_COPY : op->kind;
    op->queue = queue;
    give_memory(m, op);
    give_details(m, op);
    op->wants_event = chance(m, 3);
    if (first <= op->number) {
        give_waits(m, op, m->plan->inner, first);
    }
}

static void make_record(maker *m, storm_op *op) {
    const uint32_t wanted = 2 + below(m, 5);
    if (m->graphs == STORM_GRAPHS || m->plan->inner_count + wanted > STORM_INNER) {
        op->kind = STORM_MARKER;
        return;
    }
    op->target = m->graphs;
    op->first = m->graph_first[m->graphs] = m->plan->inner_count;
    op->count = m->graph_count[m->graphs++] = wanted;
    for (uint32_t i = 0; i < wanted; i++) {
        make_recorded(m, op->queue, op->first);
    }
}

/* Another command in the place of a recorded one: nobody waits for it, and it for nobody. */
static void make_replace(maker *m, storm_op *op) {
    if (m->graphs == 0 || m->plan->inner_count == STORM_INNER) {
        op->kind = STORM_MARKER;
        return;
    }
    op->target = below(m, m->graphs);
    op->first = m->plan->inner_count;
    op->count = below(m, m->graph_count[op->target]);
    make_recorded(m, op->queue, UINT32_MAX);
}

static bool find_target(maker *m, storm_op *op, bool user) {
    for (uint32_t tries = 0; tries < 6 && op->number > 0; tries++) {
        const storm_op *at = &m->plan->ops[below(m, op->number)];
        if (at->wants_event && (storm_is_command(at) || (user && at->kind == STORM_USER))) {
            op->target = at->number;
            return true;
        }
    }
    return false;
}

static void make_user(maker *m, storm_op *op) {
    op->wants_event = true;
    op->ends_as = chance(m, m->trouble) ? PEL_IO : PEL_OK;
    op->ender = m->plan->limit > 0 || chance(m, 2)                        ? STORM_BY_TASK
                : chance(m, 3) && m->trouble > 0 && chance(m, m->trouble) ? STORM_BY_CANCEL
                : chance(m, 4) && find_target(m, op, false)               ? STORM_BY_CALLBACK
                                                                          : STORM_BY_THREAD;
}

/* Of the queue's commands; what has bytes has cells. */
static bool keeps_cells(uint32_t kind) {
    return kind != STORM_PARENT && kind != STORM_COPY_RECT && kind != STORM_REPLAY && kind != STORM_MAP && kind != STORM_RECORD &&
           kind != STORM_REPLACE;
}

static void make_op(maker *m) {
    /* mostly what is done mostly */
    static const unsigned char weights[STORM_KINDS] = {
        [STORM_TASK] = 30,   [STORM_PARENT] = 5,   [STORM_LOOP] = 5,    [STORM_COPY] = 6,   [STORM_COPY_RECT] = 5,
        [STORM_FILL] = 4,    [STORM_READ] = 3,     [STORM_WRITE] = 3,   [STORM_LAUNCH] = 8, [STORM_MARKER] = 3,
        [STORM_BARRIER] = 2, [STORM_CALLBACK] = 3, [STORM_REPLAY] = 6,  [STORM_MAP] = 3,    [STORM_USER] = 4,
        [STORM_FIRE] = 2,    [STORM_RECORD] = 3,   [STORM_REPLACE] = 1, [STORM_CANCEL] = 3, [STORM_WAIT] = 2,
        [STORM_FINISH] = 1,  [STORM_RESET] = 1};
    uint32_t total = 0, kind = 0;
    for (uint32_t i = 0; i < STORM_KINDS; i++) {
        total += weights[i];
    }
    for (uint32_t at = below(m, total); at >= weights[kind]; kind++) {
        at -= weights[kind];
    }
    kind = m->brisk && (!chance(m, 12) || !keeps_cells(kind)) ? STORM_TASK : kind;
    storm_plan *plan = m->plan;
    storm_op *op = new_op(m, plan->ops, &plan->count, (storm_kind)kind);
    const bool waits = kind == STORM_WAIT || kind == STORM_FINISH || kind == STORM_RESET || kind == STORM_REPLACE;
    if ((waits && m->open) || (kind == STORM_MAP && m->open) || (kind == STORM_COPY_RECT && !m->rectangles) ||
        ((kind == STORM_CANCEL || kind == STORM_RESET) && m->trouble == 0)) {
        op->kind = STORM_TASK; /* whoever has a mapping must not wait */
    }
    give_memory(m, op);
    if (storm_is_command(op)) {
        give_details(m, op);
    }
    if (storm_is_command(op) && !(m->brisk && op->kind == STORM_TASK)) {
        give_waits(m, op, plan->ops, 0);
    }
    switch (op->kind) {
    case STORM_TASK:
        op->divided = op->access_count > 0 && !m->brisk && chance(m, 8);
        op->retries = !m->brisk && chance(m, 8) ? below(m, 3) : 0;
        op->fails = op->fails > 0 ? 1 + below(m, 3) : 0;
        break;
    case STORM_PARENT:
        give_children(m, op);
        break;
    case STORM_CALLBACK:
        op->wait_count = 0;
        op->kind = find_target(m, op, true) ? STORM_CALLBACK : STORM_MARKER;
        break;
    case STORM_REPLAY:
        op->target = below(m, m->graphs > 0 ? m->graphs : 1);
        op->kind = m->graphs > 0 ? STORM_REPLAY : STORM_MARKER;
        op->wants_event = true;
        break;
    case STORM_MAP:
        op->wants_event = false;
        m->open = true;
        break;
    case STORM_USER:
        make_user(m, op);
        break;
    case STORM_RECORD:
        make_record(m, op);
        break;
    case STORM_REPLACE:
        make_replace(m, op);
        break;
    case STORM_CANCEL:
    case STORM_WAIT:
    case STORM_FIRE:
        op->kind = find_target(m, op, true) ? op->kind : STORM_MARKER;
        break;
    default:
        break;
    }
    if (op->kind == STORM_MARKER) {
        op->access_count = 0;
    }
}

/* Tasks that wait until the submitting thread waits, so that whatever is to come after them and does not is seen. */
static void make_hold(maker *m) {
    storm_plan *plan = m->plan;
    storm_op *user = new_op(m, plan->ops, &plan->count, STORM_USER);
    user->wants_event = true;
    user->ender = STORM_BY_THREAD;
    for (uint32_t i = 0; i < 3; i++) {
        storm_op *op = new_op(m, plan->ops, &plan->count, STORM_TASK);
        give_cells(m, op);
        op->waits[op->wait_count++] = user->number;
    }
}

static void make_unmap(maker *m) {
    storm_op *op = new_op(m, m->plan->ops, &m->plan->count, STORM_UNMAP);
    for (op->target = op->number - 1; m->plan->ops[op->target].kind != STORM_MAP; op->target--) {
    }
    m->open = false;
}

void storm_plan_make(storm_plan *plan, uint64_t seed, uint32_t steps, uint32_t flags) {
    static const uint32_t troubles[] = {0, 0, 24, 8};
    plan->seed = seed;
    plan->align = (flags & STORM_OPENCL) != 0 ? 128 : 0; /* PoCL's CL_DEVICE_MEM_BASE_ADDR_ALIGN */
    plan->count = plan->inner_count = 0;
    maker m = {.plan = plan, .random = seed};
    plan->queues = 1 + below(&m, STORM_QUEUES);
    plan->limit = chance(&m, 6) ? 2 + below(&m, 6) : 0;
    plan->wild = chance(&m, 5);
    m.trouble = troubles[below(&m, 4)];
    m.cells = chance(&m, 2);
    m.rectangles = plan->wild || chance(&m, 2);
    m.brisk = (flags & STORM_CELLS) != 0;
    m.readers = chance(&m, 3);
    plan->pauses = chance(&m, 2);
    for (uint32_t q = 0; q < STORM_QUEUES; q++) {
        plan->weights[q] = below(&m, 4);
        plan->flags[q] = chance(&m, 2) ? PEL_QUEUE_UNTIMED : 0;
    }
    uint32_t wanted = 1 + below(&m, 40);
    wanted = m.brisk || chance(&m, 16) ? STORM_OPS - 1 : wanted;
    wanted = wanted < steps ? wanted : steps;
    while (plan->count < wanted) {
        if (m.brisk && plan->limit == 0 && plan->count + 5 < wanted && chance(&m, 8)) {
            make_hold(&m);
        }
        make_op(&m);
        if (m.open && (plan->limit > 0 || chance(&m, 3))) {
            make_unmap(&m);
        }
    }
    if (m.open) {
        make_unmap(&m);
    }
}

static const char *const names[STORM_KINDS] = {"task",   "parent", "loop",    "copy",     "copy_rect", "fill",   "read", "write",
                                               "launch", "marker", "barrier", "callback", "replay",    "map",    "user", "fire",
                                               "unmap",  "record", "replace", "cancel",   "wait",      "finish", "reset"};

static void print_number(const char *what, long number, FILE *file) {
    if (number != 0) {
        fprintf(file, "%s %ld", what, number);
    }
}

static void print_op(const storm_op *op, const char *before, FILE *file) {
    fprintf(file, "%s%u %s q%u", before, op->number, names[op->kind], op->queue);
    for (uint32_t i = 0; i < op->access_count; i++) {
        const storm_access *a = &op->accesses[i];
        fprintf(file, " %s%u[%u+%u",
                a->mode == PEL_READ    ? "r"
                : a->mode == PEL_WRITE ? "w"
                                       : "rw",
                a->buffer, a->offset, a->bytes);
        fprintf(file, a->rows > 1 ? " x%u/%u]" : "]", a->rows, a->pitch);
    }
    for (uint32_t i = 0; i < op->wait_count; i++) {
        fprintf(file, " after %u", op->waits[i]);
    }
    if (!storm_is_command(op) || op->kind == STORM_CALLBACK || op->kind == STORM_REPLAY) {
        fprintf(file, " of %u", op->target);
    }
    fprintf(file, "%s%s%s", op->named ? " named" : "", op->divided ? " divided" : "", op->refused ? " refused" : "");
    print_number(" fails", (long)op->fails, file);
    print_number(" retries", (long)op->retries, file);
    print_number(" priority", (long)op->priority, file);
    if (op->kind == STORM_USER) {
        fprintf(file, " ends as %s by %d", pel_status_name(op->ends_as), (int)op->ender);
    }
    fprintf(file, ": %s", pel_status_name(op->status));
    if (op->event || op->said != PEL_OK) {
        fprintf(file, ", was %s, said %s", op->event ? pel_status_name(pel_event_status(op->event)) : "-",
                pel_status_name(op->said));
    }
    fprintf(file, ", ran %u\n", atomic_load(&op->ran));
}

void storm_plan_print(const storm *s, FILE *file) {
    const storm_plan *plan = &s->plan;
    fprintf(file, "seed 0x%llx: %u queues, limit %u%s\n", (unsigned long long)plan->seed, plan->queues, plan->limit,
            plan->wild ? ", several pitches" : "");
    for (uint32_t i = 0; i < plan->count; i++) {
        const storm_op *op = &plan->ops[i];
        print_op(op, "  ", file);
        const uint32_t inner = op->kind == STORM_REPLACE ? 1 : op->count;
        for (uint32_t k = 0; k < inner; k++) {
            print_op(&plan->inner[op->first + k], "      ", file);
        }
    }
}
