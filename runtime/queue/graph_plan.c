/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/graph_plan.h"

#include "kernel/declaration.h"
#include "queue/graph_rows.h"
#include "queue/transfers.h"
#include <string.h>

enum {
    FIRST = 2,        /* replays that go command by command, at least */
    PATIENCE = 16,    /* and at most, when devices stay unknown */
    AGAIN = 64,       /* replays between two plans */
    TRIED = 2,        /* replays of a plan before what it takes counts */
    INPUT_LIMIT = 1 << 20
};
#define INPUT 0x80000000u /* marks an edge from one */
static const double tolerated = 0.25; /* of expected times: drift, where noise of 10 % is none */
static const double slower = 1.02;

/* ---- the question ---- */

typedef struct question {
    pel_graph *graph;
    const pel_allocator *allocator;
    pel_schedule_request request;
    pel_schedule_device *devices;
    pel_schedule_edge *edges;
    pel_schedule_way *ways;
    uint64_t *divided, *present;
    double *home_bytes;
    pel_use *inputs;        /* tasks 0 to input_count - 1 */
    uint32_t input_count, input_limit, edge_count, edge_limit;
    bool failed, unknown;
} question;

static double overlap(const pel_use *a, const pel_use *b) { /* rectangles: of what encloses them, in proportion */
    const uint64_t lo = a->lo > b->lo ? a->lo : b->lo, hi = a->hi < b->hi ? a->hi : b->hi;
    if (a->allocation != b->allocation || lo >= hi) {
        return 0;
    }
    const double part = a->pitch > 0 ? (double)a->row_bytes / (double)a->pitch : 1.0;
    return part * (double)(hi - lo);
}

static double bytes_between(const pel_command *from, const pel_command *to) {
    double bytes = 0;
    for (uint32_t i = 0; i < from->uses.count; i++) {
        for (uint32_t k = 0; k < to->uses.count && (from->uses.data[i].mode & PEL_WRITE) != 0; k++) {
            bytes += (to->uses.data[k].mode & PEL_READ) != 0 ? overlap(&to->uses.data[k], &from->uses.data[i]) : 0;
        }
    }
    return bytes;
}

static void add_edge(question *q, uint32_t from, uint32_t to, double bytes) {
    if (q->edge_count == q->edge_limit) {
        const uint32_t limit = 2 * q->edge_limit + 64;
        pel_schedule_edge *grown = limit < UINT32_MAX / 4 ? pel_resize(q->allocator, q->edges, limit * sizeof *grown) : NULL;
        if (!grown) {
            q->failed = true;
            return;
        }
        q->edges = grown;
        q->edge_limit = limit;
    }
    q->edges[q->edge_count++] = (pel_schedule_edge){from, to, bytes};
}

/* The input that is these bytes; inputs are few as a rule, and the latest ones are asked for again. */
static uint32_t input_of(question *q, const pel_use *use) {
    for (uint32_t i = q->input_count, looked = 0; i-- > 0 && looked < 64; looked++) {
        if (q->inputs[i].allocation == use->allocation && q->inputs[i].lo == use->lo && q->inputs[i].hi == use->hi) {
            return i;
        }
    }
    if (q->input_count == q->input_limit) {
        const uint32_t limit = 2 * q->input_limit + 16;
        pel_use *grown = limit < INPUT_LIMIT ? pel_resize(q->allocator, q->inputs, limit * sizeof *grown) : NULL;
        if (!grown) {
            q->failed = true;
            return 0;
        }
        q->inputs = grown;
        q->input_limit = limit;
    }
    q->inputs[q->input_count] = *use;
    return q->input_count++;
}

/* Reads that no command of the graph writes before. */
static void find_inputs(question *q, uint32_t number, double inside) {
    const pel_command *command = q->graph->commands[number].command;
    for (uint32_t i = 0; i < command->uses.count && !q->failed; i++) {
        const pel_use *use = &command->uses.data[i];
        const double bytes = (use->mode & PEL_READ) != 0 ? overlap(use, use) : 0, outside = bytes > inside ? bytes - inside : 0;
        inside -= bytes - outside;
        if (outside > 0) {
            add_edge(q, INPUT | input_of(q, use), number, outside);
        }
    }
}

/* Numbers of commands follow those of inputs, which are known only when all are found. */
static void number_edges(question *q) {
    for (uint32_t e = 0; e < q->edge_count; e++) {
        pel_schedule_edge *edge = &q->edges[e];
        edge->to += q->input_count;
        edge->from = (edge->from & INPUT) != 0 ? edge->from & ~INPUT : edge->from + q->input_count;
    }
}

static void find_edges(question *q) {
    const pel_graph_edges *edges = &q->graph->edges;
    const uint32_t n = q->graph->count;
    double *inside = pel_alloc_zero(q->allocator, n, sizeof *inside); /* bytes that it reads of what the graph writes */
    q->failed = !inside || n >= INPUT / 2;
    for (uint32_t i = 0; i < n && !q->failed; i++) {
        find_inputs(q, i, inside[i]);
        for (uint32_t e = edges->first[i]; e < edges->first[i + 1] && !q->failed; e++) {
            const uint32_t to = edges->list[e] >> 1;
            const double bytes = (edges->list[e] & PEL_GRAPH_DATA) != 0
                                     ? bytes_between(q->graph->commands[i].command, q->graph->commands[to].command)
                                     : 0;
            inside[to] += bytes;
            add_edge(q, i, to, bytes);
        }
    }
    number_edges(q);
    pel_free(q->allocator, inside);
}

static pel_schedule_way *way_of(question *q, uint32_t task, uint32_t way) {
    return &q->ways[(size_t)task * pel_schedule_ways(&q->request) + way];
}

/* At home, and perhaps on devices as well; or on one device only, where it costs nothing to be. */
static void describe_input(question *q, uint32_t input) {
    const pel_runtime *runtime = q->graph->runtime;
    const pel_use *use = &q->inputs[input];
    uint32_t way = pel_schedule_home(&q->request);
    for (uint32_t d = 0; d < runtime->device_count; d++) {
        const uint32_t place = runtime->devices[d].place;
        if (place != 0 && pel_allocation_missing_bytes(use->allocation, place, use->lo, use->hi) == 0) {
            q->present[input] |= 1ull << d;
        }
    }
    if (q->present[input] != 0 && pel_allocation_missing_bytes(use->allocation, 0, use->lo, use->hi) > 0) {
        way = (uint32_t)__builtin_ctzll(q->present[input]);
    }
    *way_of(q, input, way) = (pel_schedule_way){true, 0};
}

static void describe_launch(question *q, uint32_t task, const pel_command *command) {
    const pel_runtime *runtime = q->graph->runtime;
    pel_launch_estimate estimate;
    bool possible = false;
    pel_launch_estimate_now(command, &estimate);
    for (uint32_t d = 0; d < runtime->device_count; d++) {
        if (estimate.ns[d] > 0) {
            *way_of(q, task, d) = (pel_schedule_way){true, estimate.ns[d]};
            possible = true;
        }
    }
    if (estimate.divided != 0) {
        q->divided[task] = estimate.divided;
        *way_of(q, task, pel_schedule_divided(&q->request)) = (pel_schedule_way){true, estimate.divided_ns};
        possible = true;
    }
    q->unknown = q->unknown || !estimate.known;
    q->failed = q->failed || !possible;
}

/* Bytes that the caller's memory wants back, of commands that nobody follows. */
static double wanted_home(const pel_graph *graph, uint32_t number) {
    const pel_command *command = graph->commands[number].command;
    double bytes = 0;
    for (uint32_t i = 0; i < command->uses.count && graph->edges.first[number] == graph->edges.first[number + 1]; i++) {
        const pel_use *use = &command->uses.data[i];
        bytes += (use->mode & PEL_WRITE) != 0 && !use->allocation->owned ? overlap(use, use) : 0;
    }
    return bytes;
}

static void describe_commands(question *q) {
    const pel_graph_outlook *outlook = q->graph->outlook;
    for (uint32_t i = 0; i < q->graph->count && !q->failed; i++) {
        const pel_command *command = q->graph->commands[i].command;
        const uint32_t task = q->input_count + i;
        q->home_bytes[task] = wanted_home(q->graph, i);
        if (command->kind == PEL_COMMAND_LAUNCH) {
            describe_launch(q, task, command);
        } else {
            *way_of(q, task, pel_schedule_home(&q->request)) = (pel_schedule_way){true, outlook->commands[i].took_ns};
        }
    }
}

static uint64_t overlaps_of(const pel_runtime *runtime, const pel_device *device) {
    uint64_t overlaps = 0;
    for (uint32_t i = 0; i < device->overlap_count; i++) {
        overlaps |= device->overlaps[i] != &runtime->hidden_host ? 1ull << device->overlaps[i]->index : 0;
    }
    return overlaps;
}

static void describe_devices(question *q) {
    const pel_runtime *runtime = q->graph->runtime;
    for (uint32_t d = 0; d < runtime->device_count; d++) {
        const pel_device *device = &runtime->devices[d];
        const bool far = device->place != 0;
        q->devices[d] =
            (pel_schedule_device){overlaps_of(runtime, device), far ? pel_link_latency_ns(device) : 0,
                                  far ? 1.0 / pel_link_bytes_per_ns(device) : 0, false};
    }
}

static void ask(question *q, pel_graph *graph) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    *q = (question){.graph = graph, .allocator = allocator};
    q->request.device_count = graph->runtime->device_count;
    find_edges(q);
    const size_t tasks = (size_t)q->input_count + graph->count;
    q->devices = pel_alloc_zero(allocator, q->request.device_count, sizeof *q->devices);
    q->ways = pel_alloc_zero(allocator, tasks * pel_schedule_ways(&q->request), sizeof *q->ways);
    q->divided = pel_alloc_zero(allocator, tasks, sizeof *q->divided);
    q->present = pel_alloc_zero(allocator, tasks, sizeof *q->present);
    q->home_bytes = pel_alloc_zero(allocator, tasks, sizeof *q->home_bytes);
    q->failed = q->failed || !q->devices || !q->ways || !q->divided || !q->present || !q->home_bytes;
    if (q->failed) {
        return;
    }
    describe_devices(q);
    for (uint32_t i = 0; i < q->input_count; i++) {
        describe_input(q, i);
    }
    describe_commands(q);
    q->request = (pel_schedule_request){.task_count = (uint32_t)tasks,
                                        .device_count = q->request.device_count,
                                        .edge_count = q->edge_count,
                                        .devices = q->devices,
                                        .edges = q->edges,
                                        .ways = q->ways,
                                        .divided = q->divided,
                                        .home_bytes = q->home_bytes,
                                        .present = q->present};
}

static void dismiss(question *q) {
    pel_free(q->allocator, q->devices);
    pel_free(q->allocator, q->edges);
    pel_free(q->allocator, q->ways);
    pel_free(q->allocator, q->divided);
    pel_free(q->allocator, q->present);
    pel_free(q->allocator, q->home_bytes);
    pel_free(q->allocator, q->inputs);
}

/* ---- the answer ---- */

typedef struct begun {
    double begin, rank;
    uint32_t command;
} begun;

static int by_begin(const void *left, const void *right) {
    const begun *a = left, *b = right;
    if (a->begin != b->begin) {
        return a->begin < b->begin ? -1 : 1;
    }
    return a->rank != b->rank ? (a->rank > b->rank ? -1 : 1) : a->command < b->command ? -1 : a->command > b->command;
}

static bool note_turns(pel_graph *graph) {
    pel_graph_prospect *commands = graph->outlook->commands;
    begun *list = pel_alloc_zero(&graph->runtime->allocator, graph->count, sizeof *list);
    if (!list) {
        return false;
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        list[i] = (begun){commands[i].begin_ns, commands[i].rank_ns, i};
    }
    pel_heap_sort(list, graph->count, sizeof *list, by_begin);
    for (uint32_t i = 0; i < graph->count; i++) {
        commands[list[i].command].turn = i;
    }
    pel_free(&graph->runtime->allocator, list);
    return true;
}

static void note(pel_graph *graph, const question *q, const pel_schedule *schedule) {
    pel_graph_outlook *outlook = graph->outlook;
    for (uint32_t i = 0; i < graph->count; i++) {
        const uint32_t task = q->input_count + i;
        const pel_schedule_place *place = &schedule->places[task];
        pel_graph_prospect *prospect = &outlook->commands[i];
        prospect->way = place->way;
        prospect->devices = place->way < q->request.device_count              ? 1ull << place->way
                            : place->way == pel_schedule_divided(&q->request) ? q->divided[task]
                                                                              : 0;
        prospect->begin_ns = place->begin_ns;
        prospect->end_ns = place->end_ns;
        prospect->ns = place->ns;
        prospect->rank_ns = place->rank_ns;
    }
    outlook->kind = schedule->kind;
    outlook->predicted_ns = schedule->makespan_ns;
    outlook->in_order_ns = schedule->in_order_ns;
    outlook->made = note_turns(graph);
    outlook->seen = 0;
    outlook->seen_ns = 0;
}

/* Whatever is wrong: no plan, and the commands are planned one by one. */
static void make(pel_graph *graph) {
    pel_graph_outlook *outlook = graph->outlook;
    pel_schedule schedule;
    question q;
    outlook->made = false;
    pel_graph_rows_drop(graph); /* its launches may go elsewhere */
    outlook->next = outlook->replays + AGAIN;
    ask(&q, graph);
    if (q.failed || (q.unknown && outlook->replays < PATIENCE)) {
        outlook->next = outlook->replays + (outlook->replays < PATIENCE ? 1 : AGAIN);
    } else if (pel_schedule_make(&q.request, q.allocator, &schedule) == PEL_OK) {
        note(graph, &q, &schedule);
        pel_schedule_free(&schedule, q.allocator);
    }
    dismiss(&q);
}

/* ---- the life of an outlook ---- */

pel_status pel_graph_outlook_make(pel_graph *graph) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    if (graph->runtime->device_count < 2 || graph->runtime->device_count > PEL_SCHEDULE_DEVICES) {
        return PEL_OK;
    }
    pel_graph_outlook *outlook = pel_alloc_zero(allocator, 1, sizeof *outlook);
    pel_graph_prospect *commands = pel_alloc_zero(allocator, graph->count, sizeof *commands);
    if (!outlook || !commands) {
        pel_free(allocator, outlook);
        pel_free(allocator, commands);
        return PEL_OUT_OF_MEMORY;
    }
    outlook->commands = commands;
    outlook->next = FIRST;
    outlook->pause = 1;
    pthread_mutex_lock(&graph->runtime->lock);
    graph->outlook = outlook;
    pthread_mutex_unlock(&graph->runtime->lock);
    return PEL_OK;
}

void pel_graph_outlook_free(pel_graph *graph) {
    pthread_mutex_lock(&graph->runtime->lock);
    pel_graph_outlook *outlook = graph->outlook;
    graph->outlook = NULL;
    pthread_mutex_unlock(&graph->runtime->lock);
    if (outlook) {
        pel_free(&graph->runtime->allocator, outlook->commands);
        pel_free(&graph->runtime->allocator, outlook);
    }
}

void pel_graph_outlook_forget(pel_graph *graph) {
    pthread_mutex_lock(&graph->runtime->lock);
    if (graph->outlook) {
        pel_graph_prospect *commands = graph->outlook->commands;
        memset(commands, 0, graph->count * sizeof *commands);
        *graph->outlook = (pel_graph_outlook){.commands = commands, .next = FIRST, .pause = 1};
    }
    pthread_mutex_unlock(&graph->runtime->lock);
}

void pel_graph_plan_begin(pel_graph *graph) {
    pel_graph_outlook *outlook = graph->outlook;
    if (!outlook) {
        return;
    }
    if (outlook->replays >= outlook->next) {
        make(graph);
    }
    outlook->followed = outlook->made && outlook->kind != PEL_SCHEDULE_IN_ORDER && !outlook->slower;
    outlook->expected_ns = outlook->misfit_ns = 0;
    outlook->began = pel_clock_now(graph->runtime->clock);
}

bool pel_graph_plan_is_followed(const pel_command *replay) { return replay->graph->outlook && replay->graph->outlook->followed; }

uint32_t pel_graph_plan_turn(const pel_graph *graph, uint32_t command) {
    return graph->outlook && graph->outlook->followed ? graph->outlook->commands[command].turn : command;
}

bool pel_graph_plan_take(pel_command *part) {
    const pel_graph *graph = part->part_of->graph;
    if (!pel_graph_plan_is_followed(part->part_of) || part->share_count > 0) {
        return false;
    }
    const pel_graph_prospect *prospect = &graph->outlook->commands[part->part];
    return prospect->way < graph->runtime->device_count && pel_launch_take_device(part, prospect->way, prospect->ns) == PEL_OK;
}

/* What its longest work took: of a launch, the kernel alone. Parts of a divided one need not begin together. */
static double took(const pel_command *part) {
    double longest = 0;
    for (uint32_t i = 0; i < part->job_count; i++) {
        const pel_work *work = &part->jobs[i].work;
        const bool launch = work->kind == PEL_WORK_LAUNCH;
        const double ns = (double)(launch ? work->launch_ended - work->launch_began : work->ended - work->began);
        if (work->status != PEL_OK || work->ended <= 0 || work->pooled || work->step_count > 0) {
            return 0;
        }
        longest = ns > longest ? ns : longest;
    }
    return longest;
}

void pel_graph_plan_part_over(const pel_command *part) {
    pel_graph_outlook *outlook = part->part_of->graph->outlook;
    if (!outlook || part->status != PEL_OK || part->runtime->frozen) {
        return;
    }
    pel_graph_prospect *prospect = &outlook->commands[part->part];
    prospect->took_ns = took(part);
    if (outlook->followed && part->kind == PEL_COMMAND_LAUNCH && prospect->took_ns > 0) {
        const double expected = prospect->ns;
        outlook->expected_ns += expected;
        outlook->misfit_ns += expected > prospect->took_ns ? expected - prospect->took_ns : prospect->took_ns - expected;
    }
}

/* Times were not as expected: what was seen before says nothing any more. */
static void distrust(pel_graph_outlook *outlook) {
    if (outlook->next > outlook->replays + outlook->pause) { /* else it will be already */
        outlook->next = outlook->replays + outlook->pause;
        outlook->pause = outlook->pause < AGAIN ? 2 * outlook->pause : AGAIN;
    }
    outlook->in_order_seen_ns = outlook->seen_ns = 0;
    outlook->slower = false;
}

void pel_graph_plan_over(const pel_command *replay) {
    pel_graph_outlook *outlook = replay->graph->outlook;
    if (!outlook || replay->status != PEL_OK) {
        return;
    }
    const double ns = (double)(pel_clock_now(replay->runtime->clock) - outlook->began);
    outlook->actual_ns = ns;
    outlook->replays++;
    if (replay->runtime->frozen) { /* what replays take decides nothing */
        return;
    }
    if (!outlook->followed) {
        outlook->in_order_seen_ns =
            outlook->in_order_seen_ns > 0 && outlook->in_order_seen_ns < ns ? outlook->in_order_seen_ns : ns;
        return;
    }
    outlook->seen_ns = outlook->seen_ns > 0 && outlook->seen_ns < ns ? outlook->seen_ns : ns;
    outlook->seen++;
    if (outlook->misfit_ns > tolerated * outlook->expected_ns) {
        distrust(outlook);
    } else if (outlook->seen >= TRIED && outlook->in_order_seen_ns > 0 && outlook->seen_ns > slower * outlook->in_order_seen_ns) {
        outlook->slower = true;
    } else if (outlook->misfit_ns < 0.5 * tolerated * outlook->expected_ns) {
        outlook->pause = 1;
    }
}
