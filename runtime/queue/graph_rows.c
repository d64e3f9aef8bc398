/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows: recorded launches that follow each other on one device replay as one work.
 *
 * The problem: each launch of a replay was planned, built, queued and reported as one that is submitted, and cost more than that
 * does, because launches that are submitted in a row share works (repeat.c) and parts did not (1,000 empty launches on PoCL: 7 to
 * 10 us each, a batch 4 to 6; 2 cores, 2026-11). So a replay that goes command by command leaves its launches' jobs behind, as
 * their drivers want them, and those that follow use them: neighbours on one device are one work (pel_work.row), whose events
 * are still one a launch.
 *
 * The invariant: nobody can tell a row from its launches. Its members are neighbours as recorded, so nothing outside lies between
 * two of them; what comes before any but the first, and after any but the last, is a launch on the same device, which keeps that
 * order by itself. So the row begins when its first could and nobody waits longer. Between heads the edges are condensed once.
 * Before a row begins, its device, driver and memory objects are looked at; where one is another by now, its launches are parts
 * of their own again (scattered). Decisions live as long as habits do (habit.c), then a replay goes command by command.
 *
 * Not where a device has memory of its own (each launch would have to be asked for what it lacks), nor for what repeat.c leaves
 * out. Nothing is saved before a row, so a launch whose bytes were is in none. One that breaks goes on one by one, without those
 * members that ended well, and with what cannot run again as failures of these alone (recall.c). Rejected: rows of one kernel
 * alone, whose works exist (pel_work.times); iterations alternate between kernels or buffers.
 */
#include "queue/graph_rows.h"
#include "queue/graph_plan.h"
#include "queue/repeat.h"
#include "resilience/health.h"
#include <string.h>

/* LONGEST: events that a work has on its device. OLDEST: as habits (repeat.c). ROW_NS: as launches in one work there; also how
 * times are followed. */
enum { LONGEST = 64, OLDEST = 16, OLDEST_ALONE = 128, ROW_NS = 500000, ROBBED = 4, LATELY = 4 };

typedef struct pel_graph_rows {
    uint32_t *head, *end; /* by command: the first of its row; by head: the first one behind it */
    uint32_t *left;       /* by head, of a scattered row: members that are not over; 0: it is none */
    uint32_t *done;       /* by command: of a row that broke, whether it ended well all the same */
    pel_work **works;     /* by command */
    pel_graph_edges edges;  /* between heads */
    uint32_t units, age;
} pel_graph_rows;

typedef struct pel_graph_kept {
    pel_job *job;   /* as it was before it ran; NULL: it may be in no row */
    double took_ns; /* of late */
} pel_graph_kept;

/* ---- what replays leave behind ---- */

static void forget(pel_graph *graph, uint32_t number) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    pel_graph_kept *kept = &graph->kept[number];
    if (kept->job) {
        pel_free(allocator, kept->job->args);
        pel_uses_free(allocator, &kept->job->written);
        pel_free(allocator, kept->job);
    }
    *kept = (pel_graph_kept){0};
}

void pel_graph_rows_drop(pel_graph *graph) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    if (graph->rows) {
        pel_graph_edges_free(allocator, &graph->rows->edges);
        pel_free(allocator, graph->rows->works);
        pel_free(allocator, graph->rows->head);
        pel_free(allocator, graph->rows);
    }
    graph->rows = NULL;
}

void pel_graph_rows_forget(pel_graph *graph) {
    pel_graph_rows_drop(graph);
    for (uint32_t i = 0; graph->kept && i < graph->kept_count; i++) {
        forget(graph, i);
    }
    pel_free(&graph->runtime->allocator, graph->kept);
    graph->kept = NULL;
}

void pel_graph_rows_replaced(pel_graph *graph, uint32_t number) {
    pel_graph_rows_drop(graph);
    if (graph->kept && number < graph->kept_count) {
        forget(graph, number);
    }
}

static bool at_home(const pel_runtime *runtime) {
    bool home = true;
    for (uint32_t i = 0; i < runtime->device_count && home; i++) {
        home = runtime->devices[i].place == 0;
    }
    return home;
}

pel_status pel_graph_rows_prepare(pel_graph *graph) {
    graph->kept_count = graph->count;
    graph->kept = at_home(graph->runtime) ? pel_alloc_zero(&graph->runtime->allocator, graph->count, sizeof *graph->kept) : NULL;
    return graph->kept || !at_home(graph->runtime) ? PEL_OK : PEL_OUT_OF_MEMORY;
}

static bool may_stand(const pel_command *part) {
    const pel_bound *bound = &part->bound;
    return pel_repeat_may_keep(part) && !part->explores && part->asked < PEL_PROTECT_RETRY && part->deadline_ns == 0 &&
           !part->jobs[0].work.sensitive && part->jobs[0].device->driver->backend->rows && bound->verification.share <= 0 &&
           bound->objective.kind == PEL_OBJECTIVE_TIME && bound->objective.deadline_ns <= 0 && !pel_repeat_has_custom(bound) &&
           pel_launch_fold_count(part) == 0;
}

void pel_graph_row_built(pel_command *part) {
    pel_graph *graph = part->part_of ? part->part_of->graph : NULL;
    if (!graph || graph->by_rows || !graph->kept) {
        return;
    }
    forget(graph, part->part);
    pel_job *kept = may_stand(part) ? pel_alloc(&graph->runtime->allocator, sizeof *kept) : NULL;
    if (kept) {
        part->jobs[0].borrowed = true;
        *kept = part->jobs[0];
        graph->kept[part->part].job = kept;
    }
}

/* It would have run again, had its device failed, from bytes that were saved: nobody was queued behind it (retry.c). */
static bool was_saved(const pel_graph *graph, const pel_command *part) {
    bool alone = part->protection >= PEL_PROTECT_RETRY && part->saved;
    for (uint32_t e = graph->edges.first[part->part]; e < graph->edges.first[part->part + 1] && alone; e++) {
        alone = !graph->commands[graph->edges.list[e] >> 1].command->early;
    }
    return alone;
}

void pel_graph_row_ran(const pel_command *part) {
    pel_graph *graph = part->part_of->graph;
    if (graph->by_rows || !graph->kept || !graph->kept[part->part].job) {
        return;
    }
    pel_graph_kept *kept = &graph->kept[part->part];
    const pel_work *work = part->job_count == 1 ? &part->jobs[0].work : NULL; /* it may have failed before it had one */
    if (part->status != PEL_OK || !work || work->cold || work->commands != 1 || was_saved(graph, part)) {
        kept->took_ns = -1; /* its works may still point to the job: it goes with the next one */
        return;
    }
    const double took = (double)(work->launch_ended - work->launch_began), most = kept->job->work.predicted_ns;
    kept->took_ns = most > 0 && took > most ? most : took;
}

/* ---- rows ---- */

static pel_job *job_of(const pel_graph *graph, uint32_t number) {
    return graph->kept[number].took_ns >= 0 ? graph->kept[number].job : NULL;
}

typedef struct meeting {
    bool *in, *out;   /* something other than a launch on the same device comes before it, after it */
    uint32_t *latest; /* number of its latest predecessor, plus 1; 0: none */
} meeting;

static void meet(const pel_graph *graph, const meeting *m) {
    for (uint32_t i = 0; i < graph->count; i++) {
        for (uint32_t e = graph->edges.first[i]; e < graph->edges.first[i + 1]; e++) {
            const uint32_t to = graph->edges.list[e] >> 1;
            const pel_job *before = job_of(graph, i), *after = job_of(graph, to);
            const bool alike = before && after && before->device == after->device;
            m->out[i] = m->out[i] || !alike;
            m->in[to] = m->in[to] || !alike;
            m->latest[to] = i + 1;
        }
    }
}

/* The first command behind the row that begins with `first`. */
static uint32_t end_of(const pel_graph *graph, const meeting *m, uint32_t first) {
    uint32_t end = first + 1;
    const pel_job *job = job_of(graph, first);
    double ns = job ? graph->kept[first].took_ns : 0;
    while (job && end < graph->count && end - first < LONGEST && !m->out[end - 1] && !m->in[end]) {
        const pel_job *next = job_of(graph, end);
        ns += next ? graph->kept[end].took_ns : 0;
        if (!next || next->device != job->device || ns > ROW_NS || (m->in[first] && m->latest[end] <= first) ||
            graph->commands[end].command->priority != graph->commands[first].command->priority) {
            break;
        }
        end++;
    }
    return end;
}

/* What comes after any of the row's members, once each: into *list, or counted. */
static uint32_t condense(const pel_graph *graph, const pel_graph_rows *rows, uint32_t head, uint32_t *mark, uint32_t *list) {
    uint32_t count = 0;
    for (uint32_t i = head; i < rows->end[head]; i++) {
        for (uint32_t e = graph->edges.first[i]; e < graph->edges.first[i + 1]; e++) {
            const uint32_t to = rows->head[graph->edges.list[e] >> 1], data = graph->edges.list[e] & PEL_GRAPH_DATA;
            if (to == head) {
                continue;
            }
            if (mark[to] == 0) {
                mark[to] = ++count;
                if (list) {
                    list[count - 1] = 2 * to;
                }
            }
            if (list) {
                list[mark[to] - 1] |= data;
            }
        }
    }
    for (uint32_t i = head; i < rows->end[head]; i++) {
        for (uint32_t e = graph->edges.first[i]; e < graph->edges.first[i + 1]; e++) {
            mark[rows->head[graph->edges.list[e] >> 1]] = 0;
        }
    }
    return count;
}

static bool make_edges(const pel_graph *graph, pel_graph_rows *rows, uint32_t *mark) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    pel_graph_edges *edges = &rows->edges;
    edges->first = pel_alloc_zero(allocator, graph->count + 1u, sizeof *edges->first);
    edges->predecessors = pel_alloc_zero(allocator, graph->count + 1u, sizeof *edges->predecessors);
    edges->list = pel_alloc_zero(allocator, graph->edges.count + 1u, sizeof *edges->list);
    if (!edges->first || !edges->predecessors || !edges->list) {
        return false;
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        edges->first[i] = edges->count;
        edges->count += rows->head[i] == i ? condense(graph, rows, i, mark, edges->list + edges->count) : 0;
    }
    edges->first[graph->count] = edges->count;
    for (uint32_t e = 0; e < edges->count; e++) {
        edges->predecessors[edges->list[e] >> 1]++;
    }
    return true;
}

static void cut(const pel_graph *graph, pel_graph_rows *rows, const meeting *m) {
    for (uint32_t i = 0; i < graph->count; i = rows->end[i], rows->units++) {
        rows->end[i] = end_of(graph, m, i);
        for (uint32_t k = i; k < rows->end[i]; k++) {
            rows->head[k] = i;
        }
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        pel_job *job = job_of(graph, i);
        rows->works[i] = job ? &job->work : NULL;
    }
}

/* Out of memory: there are none, and the next replay tries again. */
void pel_graph_rows_make(pel_graph *graph) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    const size_t n = graph->count;
    if (!graph->kept) {
        return;
    }
    pel_graph_rows_drop(graph);
    pel_graph_rows *rows = pel_alloc_zero(allocator, 1, sizeof *rows);
    uint32_t *numbers = pel_alloc_zero(allocator, 4 * n, sizeof *numbers), *latest = pel_alloc_zero(allocator, n, sizeof *latest);
    bool *flags = pel_alloc_zero(allocator, 2 * n, sizeof *flags);
    pel_work **works = pel_alloc_zero(allocator, n, sizeof *works);
    bool fine = rows && numbers && latest && flags && works;
    if (fine) {
        const meeting m = {flags, flags + n, latest};
        *rows = (pel_graph_rows){
            .head = numbers, .end = numbers + n, .left = numbers + 2 * n, .done = numbers + 3 * n, .works = works};
        meet(graph, &m);
        cut(graph, rows, &m);
        memset(latest, 0, n * sizeof *latest);
        fine = rows->units < graph->count && make_edges(graph, rows, latest);
        graph->rows = rows;
    } else {
        pel_free(allocator, rows);
        pel_free(allocator, numbers);
        pel_free(allocator, works);
    }
    pel_free(allocator, latest);
    pel_free(allocator, flags);
    if (!fine) {
        pel_graph_rows_drop(graph);
    }
}

/* ---- a replay ---- */

uint32_t pel_graph_rows_begin(pel_graph *graph) {
    pel_graph_rows *rows = graph->rows;
    graph->by_rows = rows && rows->age < (graph->runtime->device_count > 1 ? OLDEST : OLDEST_ALONE);
    graph->links = graph->by_rows ? &rows->edges : &graph->edges;
    if (graph->by_rows) {
        rows->age++;
        memset(rows->left, 0, 2 * graph->count * sizeof *rows->left); /* and who is done */
    }
    return graph->by_rows ? rows->units : graph->count;
}

uint32_t pel_graph_row_end(const pel_graph *graph, uint32_t number) {
    return graph->by_rows ? graph->rows->end[number] : number + 1;
}

static bool is_scattered(const pel_graph *graph, uint32_t number) {
    return graph->by_rows && graph->rows->left[graph->rows->head[number]] > 0;
}

bool pel_graph_in_row(const pel_command *part) {
    return part->part_of && part->part_of->graph->by_rows && !is_scattered(part->part_of->graph, part->part) &&
           pel_graph_row_end(part->part_of->graph, part->part) > part->part + 1;
}

bool pel_graph_row_fits(const pel_command *head) {
    const pel_graph *graph = head->part_of ? head->part_of->graph : NULL;
    bool fits = true;
    if (!graph || !pel_graph_in_row(head)) {
        return true;
    }
    for (uint32_t i = head->part; i < graph->rows->end[head->part] && fits; i++) {
        const pel_bound *bound = &graph->commands[i].command->bound;
        const pel_job *job = graph->kept[i].job;
        const char *const *not_on = (const char *const *)bound->kernel->not_on;
        const bool well = graph->commands[i].command->status == PEL_OK && pel_health_usable(job->device);
        fits = well && (!not_on || !not_on[job->device->index]) && pel_repeat_still_there(job, bound);
    }
    return fits;
}

bool pel_graph_row_decide(pel_command *head) {
    pel_graph *graph = head->part_of->graph;
    double ns = 0;
    if (!pel_graph_in_row(head)) {
        return false;
    }
    head->slices = pel_alloc(&head->runtime->allocator, sizeof *head->slices);
    if (!head->slices) {
        pel_command_fail(head, PEL_OUT_OF_MEMORY, NULL);
        return true;
    }
    for (uint32_t i = head->part; i < graph->rows->end[head->part]; i++) {
        ns += graph->kept[i].took_ns;
    }
    head->slices[0] = (pel_plan_slice){graph->kept[head->part].job->device->index, 0, head->bound.units, ns, 0};
    head->slice_count = head->planned = 1;
    head->protection = PEL_PROTECT_NONE;
    atomic_fetch_add_explicit(&head->bound.kernel->launches, 1, memory_order_relaxed);
    head->expected_ns = 0;
    head->together_probe = head->variant_probe = false;
    return true;
}

bool pel_graph_row_run(pel_command *head) {
    if (!pel_graph_in_row(head)) {
        return false;
    }
    const pel_graph *graph = head->part_of->graph;
    const uint32_t end = graph->rows->end[head->part];
    head->jobs = pel_alloc(&head->runtime->allocator, sizeof *head->jobs);
    if (!head->jobs) {
        pel_command_fail(head, PEL_OUT_OF_MEMORY, NULL);
        return true;
    }
    pel_job *job = head->jobs;
    *job = *graph->kept[head->part].job;
    job->command = head;
    job->work.predicted_ns = head->slices[0].predicted_ns;
    job->work.times = end - head->part;
    job->work.row = graph->rows->works + head->part;
    job->needed = 0;
    head->built = 0;
    for (uint32_t i = head->part; i < end; i++) {
        job->needed += graph->kept[i].job->needed;
        pel_repeat_count_reads(graph->commands[i].command);
    }
    head->job_limit = head->job_count = 1;
    return true;
}

/* ---- not as a row after all ---- */

/* Of a scattered row, predecessors within it that are to run. */
static void count_within(pel_graph *graph, uint32_t head) {
    const pel_graph_rows *rows = graph->rows;
    const uint32_t end = rows->end[head];
    for (uint32_t i = head; i < end; i++) {
        for (uint32_t e = graph->edges.first[i]; e < graph->edges.first[i + 1] && !rows->done[i]; e++) {
            const uint32_t to = graph->edges.list[e] >> 1;
            graph->waiting[to] += to < end ? 1u : 0u;
        }
    }
}

void pel_graph_row_done(const pel_command *head, uint32_t member) {
    head->part_of->graph->rows->done[head->part + member] = 1;
}

static bool join_members(pel_graph *graph, uint32_t head, uint32_t end) {
    for (uint32_t i = head + 1; i < end; i++) {
        if (!graph->rows->done[i] && !pel_graph_part_join(graph->commands[i].command, graph->replay, i)) {
            for (i = head + 1; i < end; i++) {
                pel_graph_part_renew(graph->commands[i].command); /* also those that have failed, and never will be told */
            }
            return false;
        }
    }
    return true;
}

bool pel_graph_row_look(pel_command *head) {
    pel_graph *graph = head->part_of->graph;
    pel_graph_rows *rows = graph->rows;
    if (!pel_graph_in_row(head) || head->slices ||
        (head->status == PEL_OK && !head->restarted && pel_graph_row_fits(head))) {
        return false;
    }
    const uint32_t first = head->part, end = rows->end[first];
    uint32_t left = 0;
    rows->age = OLDEST_ALONE; /* the next replay looks anew who goes where */
    if (!join_members(graph, first, end)) {
        pel_command_fail(head, PEL_OUT_OF_MEMORY, NULL);
        return false;
    }
    for (uint32_t i = first; i < end; i++) {
        left += rows->done[i] ? 0u : 1u;
        graph->waiting[i] = rows->done[i] ? graph->count + 1 : 0; /* more than anybody takes away */
    }
    rows->left[first] = left;
    count_within(graph, first);
    for (uint32_t i = first + 1; i < end; i++) {
        if (graph->waiting[i] == 0) {
            pel_command_make_ready(graph->commands[i].command);
        }
    }
    if (rows->done[first]) {
        pel_graph_part_renew(head);
        return true;
    }
    return false;
}

pel_graph_links pel_graph_links_of(const pel_command *part) {
    const pel_graph *graph = part->part_of->graph;
    if (is_scattered(graph, part->part)) {
        return (pel_graph_links){&graph->edges, graph->rows->end[graph->rows->head[part->part]]};
    }
    return (pel_graph_links){graph->links, graph->count};
}

bool pel_graph_row_leave(const pel_command *part, uint32_t *head) {
    const pel_graph *graph = part->part_of->graph;
    if (!is_scattered(graph, part->part)) {
        return false;
    }
    *head = graph->rows->head[part->part];
    return --graph->rows->left[*head] == 0;
}

void pel_graph_row_over(const pel_command *head) {
    pel_graph *graph = head->part_of->graph;
    const pel_work *work = head->job_count == 1 ? &head->jobs[0].work : NULL;
    if (head->status != PEL_OK || !work || !work->row) {
        return;
    }
    const double each = (double)(work->launch_ended - work->launch_began) / work->times;
    for (uint32_t i = head->part; i < graph->rows->end[head->part]; i++) {
        double *took = &graph->kept[i].took_ns;
        *took += ((each < ROBBED * *took ? each : ROBBED * *took) - *took) / LATELY;
        if (i > head->part) { /* planning it counts the first */
            atomic_fetch_add_explicit(&graph->commands[i].command->bound.kernel->launches, 1, memory_order_relaxed);
        }
    }
}

uint32_t pel_graph_row_failed(const pel_command *head) {
    const pel_work *work = head->job_count == 1 ? &head->jobs[0].work : NULL;
    const bool inside = work && work->row && work->status != PEL_OK && work->reached < work->times;
    return head->part + (inside ? work->reached : 0);
}

const char *pel_graph_row_name(const pel_command *command) {
    return command->part_of ? command->part_of->graph->commands[pel_graph_row_failed(command)].command->name : command->name;
}
