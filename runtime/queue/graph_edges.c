/* SPDX-License-Identifier: BSD-3-Clause */
/* What recorded commands wait for among each other, and what the whole graph reads and writes. */
#include "queue/graph.h"

#include "base/alloc.h"
#include "kernel/declaration.h"
#include <string.h>

enum { READ_FIRST = 2, WRITTEN = 1, RECTANGLES = 4096 };

typedef struct edge {
    uint32_t from, to; /* to: times two, plus PEL_GRAPH_DATA */
} edge;

typedef struct analysis {
    pel_graph *graph;
    const pel_allocator *allocator;
    pel_hazards *hazards;
    pel_hazard_node **nodes;
    edge *edges;
    uint32_t edge_count, edge_capacity;
    uint32_t *latest;     /* by command: its last edge + 1, to find repeated ones */
    bool *has_successor;
    uint32_t current;
    pel_uses rectangles;
    pel_interval_map *bytes;
} analysis;

static bool add_edge(analysis *a, uint32_t from, bool data) {
    uint32_t at = a->latest[from];
    if (at != 0 && a->edges[at - 1].to >> 1 == a->current) {
        a->edges[at - 1].to |= data ? PEL_GRAPH_DATA : 0;
        return true;
    }
    if (a->edge_count == a->edge_capacity) {
        uint32_t capacity = a->edge_capacity ? 2 * a->edge_capacity : 64;
        edge *grown = capacity < UINT32_MAX / 2 ? pel_resize(a->allocator, a->edges, capacity * sizeof *grown) : NULL;
        if (!grown) {
            return false;
        }
        a->edges = grown;
        a->edge_capacity = capacity;
    }
    a->edges[a->edge_count++] = (edge){from, a->current << 1 | (data ? PEL_GRAPH_DATA : 0)};
    a->latest[from] = a->edge_count;
    a->has_successor[from] = true;
    return true;
}

static bool found(void *user, const pel_hazard *before) {
    return add_edge(user, (uint32_t)(uintptr_t)before->node->user, before->data);
}

static pel_status order_by_accesses(analysis *a, const pel_command *command) {
    pel_hazard_node *node = a->nodes[a->current];
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < command->uses.count && status == PEL_OK; i++) {
        const pel_hazard_range range = pel_use_range(&command->uses.data[i]);
        status = pel_hazards_look(a->hazards, &range, 1, node, found, a);
    }
    for (uint32_t i = 0; i < command->uses.count && status == PEL_OK; i++) {
        const pel_hazard_range range = pel_use_range(&command->uses.data[i]);
        status = pel_hazards_note(a->hazards, &range, 1, node);
    }
    return status;
}

/* A marker without waits comes after everything; after what nobody waits for yet is enough. */
static bool joins(const pel_recorded *recorded) {
    return recorded->command->kind == PEL_COMMAND_MARKER && recorded->wait_count == 0 && recorded->command->uses.count == 0;
}

static pel_status order_one(analysis *a, uint32_t *gate) {
    const pel_recorded *recorded = &a->graph->commands[a->current];
    bool fine = *gate == PEL_GRAPH_NONE || add_edge(a, *gate, true);
    for (uint32_t i = 0; i < recorded->wait_count && fine; i++) {
        fine = add_edge(a, recorded->waits[i], true);
    }
    for (uint32_t i = 0; joins(recorded) && i < a->current && fine; i++) {
        fine = a->has_successor[i] || add_edge(a, i, false);
    }
    *gate = recorded->command->is_gate ? a->current : *gate;
    return fine ? order_by_accesses(a, recorded->command) : PEL_OUT_OF_MEMORY;
}

/* ---- the footprint ---- */

static bool mark_written(void *user, pel_interval_value *value) {
    (void)user;
    value->a |= WRITTEN;
    return true;
}

static bool mark_read(void *user, pel_interval_value *value) {
    (void)user;
    value->a |= (value->a & WRITTEN) != 0 ? 0 : READ_FIRST;
    return true;
}

/* Rectangles as they are, each once: what of them is read although the graph writes it before counts as read all the same,
 * unless it is written as a whole first. */
static bool add_rectangle(analysis *a, const pel_use *use) {
    for (uint32_t i = 0; i < a->rectangles.count; i++) {
        pel_use *known = &a->rectangles.data[i];
        if (known->allocation == use->allocation && known->lo == use->lo && known->hi == use->hi && known->pitch == use->pitch &&
            known->row_bytes == use->row_bytes) {
            known->mode |= known->mode == PEL_WRITE ? PEL_WRITE : use->mode;
            return true;
        }
    }
    return pel_uses_append(a->allocator, &a->rectangles, *use);
}

static pel_status add_to_footprint(analysis *a, const pel_command *command) {
    pel_status status = PEL_OK;
    for (int pass = 0; pass < 2 && status == PEL_OK; pass++) {
        for (uint32_t i = 0; i < command->uses.count && status == PEL_OK; i++) {
            const pel_use *use = &command->uses.data[i];
            const pel_access_mode wanted = pass == 0 ? PEL_READ : PEL_WRITE;
            const uint64_t base = (uintptr_t)use->allocation->base;
            /* too many count as what encloses them, read and written in part */
            const bool exact = use->pitch == 0 || a->rectangles.count < RECTANGLES;
            if (use->pitch != 0 && exact) {
                status = pass == 1 || add_rectangle(a, use) ? PEL_OK : PEL_OUT_OF_MEMORY;
            } else if ((use->mode & wanted) != 0 || !exact) {
                status = pel_interval_map_update(a->bytes, base + use->lo, base + use->hi, pass == 0 ? mark_read : mark_written,
                                                 NULL, NULL);
            }
        }
    }
    return status;
}

typedef struct gathering {
    const pel_allocator *allocator;
    pel_allocation *allocation;
    pel_uses *uses;
    uint64_t wanted;
    bool failed;
} gathering;

static bool gather(void *user, uint64_t lo, uint64_t hi, pel_interval_value value) {
    gathering *g = user;
    const uint64_t base = (uintptr_t)g->allocation->base;
    if ((value.a & g->wanted) != 0) {
        g->failed = !pel_uses_add(g->allocator, g->uses, g->allocation, lo - base, hi - base,
                                  g->wanted == WRITTEN ? PEL_WRITE : PEL_READ);
    }
    return !g->failed;
}

static int by_allocation(const void *left, const void *right) {
    const pel_allocation *a = *(pel_allocation *const *)left, *b = *(pel_allocation *const *)right;
    return a < b ? -1 : a > b;
}

/* Each allocation that the graph uses, once. NULL: no memory. */
static pel_allocation **find_allocations(const analysis *a, uint32_t *count) {
    uint64_t uses = 0;
    for (uint32_t i = 0; i < a->graph->count; i++) {
        uses += a->graph->commands[i].command->uses.count;
    }
    pel_allocation **list = pel_alloc_zero(a->allocator, uses + 1, sizeof(pel_allocation *));
    pel_allocation *before = NULL;
    uint32_t found_so_far = 0, kept = 0;
    for (uint32_t i = 0; i < a->graph->count && list; i++) {
        const pel_uses *of = &a->graph->commands[i].command->uses;
        for (uint32_t k = 0; k < of->count; k++) {
            if (of->data[k].allocation != before) {
                list[found_so_far++] = before = of->data[k].allocation;
            }
        }
    }
    if (found_so_far > 1) {
        pel_heap_sort(list, found_so_far, sizeof *list, by_allocation);
    }
    for (uint32_t i = 0; i < found_so_far; i++) {
        if (i == 0 || list[i] != list[i - 1]) {
            list[kept++] = list[i];
        }
    }
    *count = kept;
    return list;
}

/* All reads first, then all writes, as for any command. */
static pel_status collect_footprint(const analysis *a, pel_uses *footprint) {
    uint32_t count = 0;
    bool fine = true;
    pel_allocation **allocations = find_allocations(a, &count);
    for (int pass = 0; pass < 2 && allocations && fine; pass++) {
        for (uint32_t i = 0; i < count && fine; i++) {
            gathering g = {a->allocator, allocations[i], footprint, pass == 0 ? READ_FIRST : WRITTEN, false};
            const uint64_t base = (uintptr_t)allocations[i]->base;
            pel_interval_map_visit(a->bytes, base, base + allocations[i]->bytes, gather, &g, NULL);
            fine = !g.failed;
        }
        for (uint32_t i = 0; i < a->rectangles.count && fine; i++) {
            pel_use use = a->rectangles.data[i];
            const pel_access_mode wanted = pass == 0 ? PEL_READ : PEL_WRITE;
            const bool has = (use.mode & wanted) != 0;
            use.mode = wanted;
            fine = !has || pel_uses_append(a->allocator, footprint, use);
        }
    }
    fine = fine && allocations;
    pel_free(a->allocator, allocations);
    return fine ? PEL_OK : PEL_OUT_OF_MEMORY;
}

/* ---- both together ---- */

void pel_graph_edges_free(const pel_allocator *allocator, pel_graph_edges *edges) {
    pel_free(allocator, edges->first);
    pel_free(allocator, edges->list);
    pel_free(allocator, edges->predecessors);
    *edges = (pel_graph_edges){0};
}

static pel_status sort_edges(const analysis *a, pel_graph_edges *sorted) {
    const uint32_t n = a->graph->count;
    sorted->first = pel_alloc_zero(a->allocator, (size_t)n + 2, sizeof *sorted->first);
    sorted->list = pel_alloc_zero(a->allocator, (size_t)a->edge_count + 1, sizeof *sorted->list);
    sorted->predecessors = pel_alloc_zero(a->allocator, n, sizeof *sorted->predecessors);
    if (!sorted->first || !sorted->list || !sorted->predecessors) {
        return PEL_OUT_OF_MEMORY;
    }
    sorted->count = a->edge_count;
    for (uint32_t i = 0; i < a->edge_count; i++) {
        sorted->first[a->edges[i].from + 2]++;
        sorted->predecessors[a->edges[i].to >> 1]++;
    }
    for (uint32_t i = 2; i < n + 2; i++) {
        sorted->first[i] += sorted->first[i - 1];
    }
    for (uint32_t i = 0; i < a->edge_count; i++) {
        sorted->list[sorted->first[a->edges[i].from + 1]++] = a->edges[i].to;
    }
    return PEL_OK;
}

static bool prepare(analysis *a) {
    const uint32_t n = a->graph->count;
    a->hazards = pel_hazards_create(a->allocator);
    a->bytes = pel_interval_map_create(a->allocator, NULL);
    a->nodes = pel_alloc_zero(a->allocator, n, sizeof *a->nodes);
    a->latest = pel_alloc_zero(a->allocator, n, sizeof *a->latest);
    a->has_successor = pel_alloc_zero(a->allocator, n, sizeof *a->has_successor);
    bool fine = a->hazards && a->bytes && a->nodes && a->latest && a->has_successor;
    for (uint32_t i = 0; i < n && fine; i++) {
        a->nodes[i] = pel_hazards_take_node(a->hazards, (void *)(uintptr_t)i);
        fine = a->nodes[i];
    }
    return fine;
}

static void dismiss(analysis *a) {
    pel_hazards_destroy(a->hazards);
    pel_interval_map_destroy(a->bytes);
    pel_uses_free(a->allocator, &a->rectangles);
    pel_free(a->allocator, a->nodes);
    pel_free(a->allocator, a->latest);
    pel_free(a->allocator, a->has_successor);
    pel_free(a->allocator, a->edges);
}

pel_status pel_graph_analyse(pel_graph *graph) {
    analysis a = {.graph = graph, .allocator = &graph->runtime->allocator};
    pel_graph_edges edges = {0};
    pel_uses footprint = {0};
    uint32_t gate = PEL_GRAPH_NONE;
    pel_status status = prepare(&a) ? PEL_OK : PEL_OUT_OF_MEMORY;
    for (a.current = 0; a.current < graph->count && status == PEL_OK; a.current++) {
        status = order_one(&a, &gate);
        if (status == PEL_OK) {
            status = add_to_footprint(&a, graph->commands[a.current].command);
        }
    }
    if (status == PEL_OK) {
        status = sort_edges(&a, &edges);
    }
    if (status == PEL_OK) {
        status = collect_footprint(&a, &footprint);
    }
    dismiss(&a);
    if (status != PEL_OK) {
        pel_graph_edges_free(a.allocator, &edges);
        pel_uses_free(a.allocator, &footprint);
        return status;
    }
    pel_graph_edges_free(a.allocator, &graph->edges);
    pel_uses_free(a.allocator, &graph->footprint);
    graph->edges = edges;
    graph->footprint = footprint;
    return PEL_OK;
}
