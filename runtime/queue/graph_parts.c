/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replaying launches among other commands: the recorded commands themselves go through the dispatcher's state machine, as parts
 * of the replay. What a submission would do for each, binding, footprint, hazards, edges and events, was done when they were
 * recorded; left are planning, works and completions. All under the lock. A part is as new after its end: replays of one graph
 * never overlap.
 */
#include "queue/graph.h"
#include "queue/graph_plan.h"
#include "queue/graph_rows.h"

#include "queue/isolate.h"
#include "queue/retry.h"
#include "queue/verify.h"
#include <string.h>

void pel_graph_part_renew(pel_command *part) {
    const pel_allocator *allocator = &part->runtime->allocator;
    for (uint32_t i = 0; i < part->job_count; i++) {
        pel_job_clear(&part->jobs[i]);
    }
    if (part->fold.command) {
        pel_job_clear(&part->fold);
    }
    pel_isolate_forget_moved(part);
    pel_command_unpin(part);
    pel_command_waives(part);
    pel_retry_free(part);
    pel_verify_free(part);
    pel_free(allocator, part->tail);
    pel_free(allocator, part->jobs);
    pel_free(allocator, part->slices);
    pel_error_destroy(part->error);
    pel_plan_destroy(part->plan);
    pel_event_release(part->event);
    pel_command_unpin(part);
    pel_command_waives(part);
    part->makes_room = false;
    part->fold = (pel_job){0};
    part->jobs = NULL;
    part->slices = NULL;
    part->job_count = part->slice_count = part->outstanding = 0;
    part->error = NULL;
    part->plan = NULL;
    part->event = NULL;
    part->status = PEL_OK;
    part->phase = PEL_PHASE_WAITING;
    part->tail = NULL;
    part->job_limit = part->planned = 0;
    part->makes_room = part->together_probe = part->variant_probe = part->explores = false;
    part->fetched = 0;
    part->had_children = false;
    part->leads = part->astray = part->early = part->held = false;
    pel_recall_forget(part);
    part->chained = 0;
    part->scope = NULL;
    part->next = NULL;
    part->node = NULL;
    part->part_of = NULL;
}

bool pel_graph_part_join(pel_command *part, pel_command *replay, uint32_t number) {
    part->event = pel_event_new(part->runtime);
    if (part->event) {
        part->event->queue = replay->queue->id;
        part->part_of = replay;
        part->part = number;
        part->turn = pel_graph_plan_turn(replay->graph, number);
        part->queue = replay->queue;
        part->node = replay->node;
        part->order = replay->order;
    }
    return part->event;
}

pel_status pel_graph_parts_begin(pel_command *replay) {
    pel_graph *graph = replay->graph;
    graph->replay = replay;
    graph->failed_part = PEL_GRAPH_NONE;
    pel_graph_plan_begin(graph);
    graph->parts_left = pel_graph_rows_begin(graph);
    memcpy(graph->waiting, graph->links->predecessors, graph->count * sizeof *graph->waiting);
    for (uint32_t i = 0; i < graph->count; i = pel_graph_row_end(graph, i)) {
        if (!pel_graph_part_join(graph->commands[i].command, replay, i)) {
            for (uint32_t k = 0; k < i; k = pel_graph_row_end(graph, k)) {
                pel_graph_part_renew(graph->commands[k].command);
            }
            return PEL_OUT_OF_MEMORY;
        }
    }
    for (uint32_t i = 0; i < graph->count; i = pel_graph_row_end(graph, i)) {
        if (graph->waiting[i] == 0) {
            pel_command_make_ready(graph->commands[i].command);
        }
    }
    return PEL_OK;
}

/* The first failure in the order of recording is the replay's. */
static void note_failure(pel_graph *graph, const pel_command *part) {
    pel_command *replay = graph->replay;
    const uint32_t number = pel_graph_row_failed(part);
    if (number >= graph->failed_part) {
        return;
    }
    graph->failed_part = number;
    pel_error_destroy(replay->error);
    replay->error = pel_error_clone(part->error, &graph->runtime->allocator);
    replay->status = part->status;
}

static void spread(pel_command *to, const char *from, const pel_error *why) {
    pel_error *error = NULL;
    pel_fail(&error, &to->runtime->allocator, PEL_DEPENDENCY_FAILED, NULL, "%s was not run: %s, which it depends on, failed: %s",
             to->name ? to->name : "a command", from ? from : "a command", pel_error_message(why));
    pel_command_fail(to, PEL_DEPENDENCY_FAILED, error);
    pel_chain_spread_failure(to);
}

void pel_graph_part_visit(const pel_command *part, void (*visit)(pel_command *after, void *user), void *user) {
    const pel_graph *graph = part->part_of->graph;
    const pel_graph_links links = pel_graph_links_of(part);
    for (uint32_t i = links.edges->first[part->part]; i < links.edges->first[part->part + 1]; i++) {
        const uint32_t to = links.edges->list[i] >> 1;
        if (to < links.end) {
            visit(graph->commands[to].command, user);
        }
    }
}

/* Only what reads the results of the command itself, not of its whole row; a row that has a failed member goes one by one. */
static void fail_dependents(const pel_command *part) {
    const pel_graph *graph = part->part_of->graph;
    const uint32_t end = pel_graph_in_row(part) ? pel_graph_row_end(graph, part->part) : part->part + 1;
    for (uint32_t i = part->part; i < end; i++) {
        for (uint32_t e = graph->edges.first[i]; e < graph->edges.first[i + 1]; e++) {
            const uint32_t to = graph->edges.list[e] >> 1;
            if ((graph->edges.list[e] & PEL_GRAPH_DATA) != 0 && (to >= end)) {
                spread(graph->commands[to].command, pel_graph_row_name(part), part->error);
            }
        }
    }
}

/* What comes after `number` hears that it is over: the part, or the scattered row that ended with it, which nobody was queued
 * behind. */
static void pass_on(const pel_command *part, uint32_t number, pel_graph_links links, bool ends_row) {
    pel_graph *graph = part->part_of->graph;
    for (uint32_t i = links.edges->first[number]; i < links.edges->first[number + 1]; i++) {
        const uint32_t to = links.edges->list[i] >> 1;
        if (to >= links.end) {
            continue;
        }
        pel_command *after = graph->commands[to].command;
        if (!ends_row) {
            pel_chain_left_part(part, after);
        }
        if (--graph->waiting[to] == 0 && (!after->early || after->held)) { /* else it is queued on its device already */
            pel_command_make_ready(after);
        }
    }
}

void pel_graph_part_over(pel_command *part) {
    pel_command *replay = part->part_of;
    pel_graph *graph = replay->graph;
    const pel_graph_links links = pel_graph_links_of(part);
    const bool scattered = links.edges != graph->links;
    uint32_t head;
    if (part->status != PEL_OK) {
        note_failure(graph, part);
        fail_dependents(part);
    }
    pel_graph_row_ran(part);
    pel_graph_row_over(part);
    pass_on(part, part->part, links, false);
    const bool last = pel_graph_row_leave(part, &head);
    if (last) {
        pass_on(part, head, (pel_graph_links){graph->links, graph->count}, true);
    }
    pel_graph_plan_part_over(part);
    pel_graph_part_renew(part);
    if ((last || !scattered) && --graph->parts_left == 0) {
        pel_graph_plan_over(replay);
        if (replay->status != PEL_OK) {
            pel_graph_rows_drop(graph);
        } else if (!graph->by_rows) {
            pel_graph_rows_make(graph);
        }
        pel_command_end(replay);
    }
}
