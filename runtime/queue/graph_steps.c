/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replaying host commands: steps in one array, successors in another, and a loop that allocates nothing.
 *
 * The replay invites *helpers*, tasks of the engine that take steps until the replay is over or nothing is there for a while;
 * whoever makes more ready than it can run itself invites another, up to one per worker. A helper keeps the first successor that
 * it makes ready and puts the others into its lane's deque. Only steps with several predecessors have a counter that anybody
 * touches, and its runner sets it back for the next replay; the end is found by counting steps without successors, so that a
 * chain touches no shared line at all. Roots, and what does not fit into a deque, are taken from one array by its head.
 *
 * A helper that finds nothing looks for LOOK_NS, counts itself out and looks once more: whoever pushes asks afterwards how many
 * helpers there are, so one of both sees the other. Helpers of one replay may go on with the next; heads and tails carry the
 * replay's epoch, so that one who was slow takes nothing twice.
 */
#include "queue/graph.h"

#include "backend/host/host.h"
#include "base/checked.h"
#include <sched.h>

enum { LOOK_NS = 50000, LOOKS_PER_CLOCK = 32, BATCH = 8, PIECES_PER_WORKER = 4 };

#define PLACE 0xffffffffu

/* ---- building ---- */

static uint32_t worker_count(const pel_graph *graph) { return graph->runtime->dispatcher->tasks->worker_count; }

static uint32_t pieces_of(const pel_graph *graph, const pel_command *command) {
    if (command->kind != PEL_COMMAND_LOOP) {
        return 0;
    }
    const uint64_t grain = command->loop_grain > 0 ? command->loop_grain : 1,
                   most = (uint64_t)worker_count(graph) * PIECES_PER_WORKER;
    const uint64_t pieces = (command->loop_count - 1) / grain + 1;
    return (uint32_t)(pieces < most ? pieces : most);
}

static pel_status run_piece(void *context) {
    const pel_graph_piece *piece = context;
    return piece->loop(piece->begin, piece->end, piece->context);
}

/* A loop in several pieces is a step before them, the pieces, and a step after them. */
static uint32_t steps_of(uint32_t pieces) { return pieces > 1 ? pieces + 2 : 1; }

static void set_pieces(pel_graph_piece *to, uint32_t pieces, const pel_command *command) {
    for (uint32_t i = 0; i < pieces; i++) {
        const uint64_t share = command->loop_count / pieces, more = command->loop_count % pieces;
        const uint64_t begin = i * share + (i < more ? i : more);
        to[i] = (pel_graph_piece){command->loop, command->context, begin, begin + share + (i < more ? 1 : 0)};
    }
}

static bool allocate(const pel_allocator *allocator, const pel_graph *graph, pel_graph_program *p, uint64_t steps,
                     uint64_t pieces, uint64_t edges) {
    p->lane_count = worker_count(graph);
    p->steps = pel_alloc_zero(allocator, steps, sizeof *p->steps);
    p->successors = pel_alloc_zero(allocator, edges + 1, sizeof *p->successors);
    p->ready = pel_alloc_zero(allocator, steps, sizeof *p->ready);
    p->command_of = pel_alloc_zero(allocator, steps, sizeof *p->command_of);
    p->first_step = pel_alloc_zero(allocator, graph->count, sizeof *p->first_step);
    p->last_step = pel_alloc_zero(allocator, graph->count, sizeof *p->last_step);
    p->pieces = pel_alloc_zero(allocator, pieces + 1, sizeof *p->pieces);
    p->poisoned = pel_alloc_zero(allocator, steps, sizeof *p->poisoned);
    p->lanes_block = pel_alloc_zero(allocator, 1, p->lane_count * sizeof(pel_graph_lane) + 63);
    p->lanes = (pel_graph_lane *)(((uintptr_t)p->lanes_block + 63) & ~(uintptr_t)63);
    return p->steps && p->successors && p->ready && p->command_of && p->first_step && p->last_step && p->pieces && p->poisoned &&
           p->lanes_block;
}

void pel_graph_program_release(pel_graph_program *p) {
    if (!p || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    const pel_allocator *allocator = &p->runtime->allocator;
    pthread_mutex_destroy(&p->overflow);
    pel_free(allocator, p->steps);
    pel_free(allocator, p->successors);
    pel_free(allocator, p->ready);
    pel_free(allocator, p->command_of);
    pel_free(allocator, p->first_step);
    pel_free(allocator, p->last_step);
    pel_free(allocator, p->pieces);
    pel_free(allocator, p->poisoned);
    pel_free(allocator, p->lanes_block);
    pel_free(allocator, p->block);
}

static pel_graph_program *new_program(pel_graph *graph) {
    void *block = pel_alloc_zero(&graph->runtime->allocator, 1, sizeof(pel_graph_program) + 63);
    pel_graph_program *p = (pel_graph_program *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    if (!block) {
        return NULL;
    }
    p->block = block;
    p->graph = graph;
    p->runtime = graph->runtime;
    atomic_init(&p->references, 1);
    pthread_mutex_init(&p->overflow, NULL);
    return p;
}

static void lay_out_loop(pel_graph_program *p, uint32_t first, uint32_t pieces, pel_graph_piece *piece, uint32_t *edges) {
    const uint32_t last = first + pieces + 1;
    p->steps[first].first = *edges;
    p->steps[first].count = pieces;
    for (uint32_t i = 0; i < pieces; i++) {
        p->successors[(*edges)++] = (first + 1 + i) << 1 | PEL_GRAPH_DATA;
    }
    for (uint32_t i = 0; i < pieces; i++) {
        pel_graph_step *step = &p->steps[first + 1 + i];
        *step = (pel_graph_step){.task = run_piece, .context = &piece[i], .first = *edges, .count = 1, .predecessors = 1};
        p->successors[(*edges)++] = last << 1 | PEL_GRAPH_DATA;
    }
    p->steps[last].predecessors = pieces;
}

static void lay_out(const pel_graph *graph, pel_graph_program *p) {
    uint32_t at = 0, edges = 0, pieces_used = 0;
    for (uint32_t i = 0; i < graph->count; i++) {
        const pel_command *command = graph->commands[i].command;
        const uint32_t pieces = pieces_of(graph, command), steps = steps_of(pieces);
        p->first_step[i] = at;
        p->last_step[i] = at + steps - 1;
        for (uint32_t k = 0; k < steps; k++) {
            p->command_of[at + k] = i;
        }
        set_pieces(&p->pieces[pieces_used], pieces, command);
        if (pieces > 1) {
            lay_out_loop(p, at, pieces, &p->pieces[pieces_used], &edges);
        } else {
            p->steps[at].task = pieces == 1 ? run_piece : command->task;
            p->steps[at].context = pieces == 1 ? &p->pieces[pieces_used] : command->context;
        }
        p->steps[at].predecessors = graph->edges.predecessors[i];
        pieces_used += pieces;
        at += steps;
    }
    p->step_count = at;
    for (uint32_t i = 0; i < graph->count; i++) {
        pel_graph_step *last = &p->steps[p->last_step[i]];
        last->first = edges;
        last->count = graph->edges.first[i + 1] - graph->edges.first[i];
        for (uint32_t k = graph->edges.first[i]; k < graph->edges.first[i + 1]; k++) {
            const uint32_t to = graph->edges.list[k];
            p->successors[edges++] = p->first_step[to >> 1] << 1 | (to & PEL_GRAPH_DATA);
        }
    }
    for (uint32_t i = 0; i < at; i++) {
        atomic_store_explicit(&p->steps[i].pending, p->steps[i].predecessors, memory_order_relaxed);
        if (p->steps[i].predecessors == 0) {
            p->ready[p->root_count++] = i;
        }
        p->sink_count += p->steps[i].count == 0;
    }
}

pel_status pel_graph_program_build(pel_graph *graph) {
    const pel_allocator *allocator = &graph->runtime->allocator;
    uint64_t steps = 0, pieces = 0, edges = graph->edges.count;
    for (uint32_t i = 0; i < graph->count; i++) {
        const uint32_t of = pieces_of(graph, graph->commands[i].command);
        steps += steps_of(of);
        pieces += of;
        edges += of > 1 ? 2 * (uint64_t)of : 0;
    }
    if (steps > UINT32_MAX / 2 || edges > UINT32_MAX / 2) {
        return PEL_TOO_LARGE;
    }
    pel_graph_program *p = new_program(graph);
    if (!p || !allocate(allocator, graph, p, steps, pieces, edges)) {
        pel_graph_program_release(p);
        return PEL_OUT_OF_MEMORY;
    }
    lay_out(graph, p);
    pel_graph_program_release(graph->program);
    graph->program = p;
    return PEL_OK;
}

void pel_graph_program_refresh(pel_graph *graph, uint32_t index) {
    pel_graph_program *p = graph->program;
    const pel_command *command = graph->commands[index].command;
    pel_graph_step *step = &p->steps[p->first_step[index]];
    const uint32_t pieces = pieces_of(graph, command);
    if (pieces == 0) {
        step->task = command->task;
        step->context = command->context;
        return;
    }
    set_pieces(pieces == 1 ? step->context : p->steps[p->first_step[index] + 1].context, pieces, command);
}

/* ---- running ---- */

static pel_status help(void *context);

/* NULL: no memory. */
static pel_node *take_invitation(pel_graph_program *p, pel_host_self *self, pel_stage *stage) {
    pel_node *node = pel_node_take(&p->runtime->dispatcher->pools, self, PEL_NODE_TASK);
    if (node) {
        node->task = help;
        node->hazard.user = p;
        node->stage = stage;
    }
    return node;
}

static void send_invitation(pel_graph_program *p, pel_host_runner *runner, pel_host_self *self, pel_node *node) {
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    pel_stage_enter(node->stage, self->shard);
    if (runner) {
        pel_host_runner_push(runner, &node->item);
    } else {
        pel_task_put(p->runtime, node);
    }
}

/* Without memory for it whoever is at work does it all. */
static void invite_another(pel_graph_program *p, pel_host_runner *runner) {
    unsigned helpers = atomic_load_explicit(&p->helpers, memory_order_seq_cst);
    while (helpers < p->lane_count) {
        if (atomic_compare_exchange_weak_explicit(&p->helpers, &helpers, helpers + 1, memory_order_seq_cst,
                                                  memory_order_seq_cst)) {
            pel_node *node = take_invitation(p, &runner->self, pel_frame_top(p->runtime)->node->stage);
            if (node) {
                send_invitation(p, runner, &runner->self, node);
            } else {
                atomic_fetch_sub_explicit(&p->helpers, 1, memory_order_seq_cst);
            }
            return;
        }
    }
}

static uint32_t take_ready(pel_graph_program *p, pel_graph_lane *lane) {
    uint64_t head = atomic_load_explicit(&p->head, memory_order_relaxed);
    for (;;) {
        const uint64_t tail = atomic_load_explicit(&p->tail, memory_order_acquire);
        if (head >> 32 != tail >> 32 || head >= tail) {
            const uint64_t again = atomic_load_explicit(&p->head, memory_order_acquire);
            if (again == head) {
                return PEL_GRAPH_NONE;
            }
            head = again;
            continue;
        }
        const uint64_t left = tail - head, fair = left / (2 * p->lane_count), count = fair < 1 ? 1 : fair > BATCH ? BATCH : fair;
        if (atomic_compare_exchange_weak_explicit(&p->head, &head, head + count, memory_order_acq_rel, memory_order_relaxed)) {
            const uint32_t *ready = &p->ready[head & PLACE];
            for (uint64_t i = count - 1; i > 0; i--) { /* a lane's deque is empty when it comes here */
                (void)pel_host_deque_push(&lane->deque, (uintptr_t)ready[i] + 1, false);
            }
            return ready[0];
        }
    }
}

static uint32_t take(pel_graph_program *p, pel_graph_lane *lane) {
    uintptr_t item = pel_host_deque_take(&lane->deque);
    if (item != 0) {
        return (uint32_t)(item - 1);
    }
    const uint32_t ready = take_ready(p, lane);
    const uint32_t count = p->lane_count;
    const uint32_t own = (uint32_t)(lane - p->lanes);
    for (uint32_t i = 1; ready == PEL_GRAPH_NONE && i < count; i++) {
        item = pel_host_deque_steal(&p->lanes[(own + i) % count].deque);
        if (item != 0) {
            return (uint32_t)(item - 1);
        }
    }
    return ready;
}

static void put(pel_graph_program *p, pel_graph_lane *lane, pel_host_runner *runner, uint32_t step) {
    if (!pel_host_deque_push(&lane->deque, (uintptr_t)step + 1, true)) {
        pthread_mutex_lock(&p->overflow);
        const uint64_t tail = atomic_load_explicit(&p->tail, memory_order_relaxed);
        p->ready[tail & PLACE] = step;
        atomic_store_explicit(&p->tail, tail + 1, memory_order_seq_cst);
        pthread_mutex_unlock(&p->overflow);
    }
    if (atomic_load_explicit(&p->helpers, memory_order_seq_cst) < p->lane_count) {
        invite_another(p, runner);
    }
}

static bool sees_work(const pel_graph_program *p) {
    pel_graph_program *g = (pel_graph_program *)(uintptr_t)p;
    if (atomic_load_explicit(&g->head, memory_order_seq_cst) != atomic_load_explicit(&g->tail, memory_order_seq_cst)) {
        return true;
    }
    for (uint32_t i = 0; i < g->lane_count; i++) {
        if (pel_host_deque_any(&g->lanes[i].deque)) {
            return true;
        }
    }
    return false;
}

static void note_failure(pel_graph_program *p, uint32_t step, pel_status status) {
    const uint64_t mine = (uint64_t)p->command_of[step] << 32 | (uint64_t)status;
    uint64_t first = atomic_load_explicit(&p->first_failure, memory_order_relaxed);
    while (mine < first &&
           !atomic_compare_exchange_weak_explicit(&p->first_failure, &first, mine, memory_order_relaxed, memory_order_relaxed)) {
    }
    atomic_store_explicit(&p->poisoned[step], 1, memory_order_relaxed);
    atomic_store_explicit(&p->failing, true, memory_order_relaxed);
}

/* Before its successors are released: those that read its result fail, too. */
static void spread(const pel_graph_program *p, const pel_graph_step *step) {
    for (uint32_t i = 0; i < step->count; i++) {
        const uint32_t to = p->successors[step->first + i];
        if ((to & PEL_GRAPH_DATA) != 0) {
            atomic_store_explicit(&p->poisoned[to >> 1], 1, memory_order_relaxed);
        }
    }
}

/* The last step has ended: the replay is a command again, and ends as one. */
static void finish(pel_graph_program *p) {
    pel_runtime *runtime = p->runtime;
    pel_graph *graph = p->graph;
    pthread_mutex_lock(&runtime->lock);
    pel_command *replay = graph->replay;
    const uint64_t failure = atomic_load_explicit(&p->first_failure, memory_order_relaxed);
    if (failure == UINT64_MAX) {
        pel_job_apply(&replay->jobs[0]);
    } else {
        const pel_command *part = graph->commands[failure >> 32].command;
        pel_error *error = NULL;
        pel_fail(&error, &runtime->allocator, PEL_TASK_FAILED, NULL, "graph: command %u (%s) returned %s",
                 (unsigned)(failure >> 32), part->name ? part->name : "task", pel_status_name((pel_status)(failure & PLACE)));
        p->soiled = true;
        pel_command_fail(replay, PEL_TASK_FAILED, error);
    }
    pel_command_phase_over(replay);
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true);
}

/* Runs a step; returns one that became ready by it, or NONE. */
static inline uint32_t run(pel_graph_program *p, pel_graph_lane *lane, pel_host_runner *runner, uint32_t index) {
        pel_graph_step *step = &p->steps[index];
    uint32_t next = PEL_GRAPH_NONE;
    if (step->predecessors > 1) {
        atomic_store_explicit(&step->pending, step->predecessors, memory_order_relaxed);
    }
    const bool failing = atomic_load_explicit(&p->failing, memory_order_relaxed);
    const bool poisoned = failing && atomic_load_explicit(&p->poisoned[index], memory_order_relaxed) != 0;
    pel_status status = PEL_OK;
    if (step->task && !poisoned) {
        status = step->task(step->context);
    }
    if (__builtin_expect(status != PEL_OK, 0)) {
        note_failure(p, index, status);
    }
    if (__builtin_expect(poisoned || status != PEL_OK, 0)) {
        spread(p, step);
    }
    const uint32_t *successors = &p->successors[step->first], count = step->count;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t to = successors[i] >> 1;
        pel_graph_step *after = &p->steps[to];
        if (after->predecessors > 1 && atomic_fetch_sub_explicit(&after->pending, 1, memory_order_acq_rel) != 1) {
            continue;
        }
        if (next == PEL_GRAPH_NONE) {
            next = to;
        } else {
            put(p, lane, runner, to);
        }
    }
    if (count == 0 && atomic_fetch_sub_explicit(&p->sinks, 1, memory_order_acq_rel) == 1) {
        finish(p);
    }
    return next;
}

/* Nothing to take: true when there may be something again. */
static bool look(const pel_graph_program *p) {
    pel_graph_program *g = (pel_graph_program *)(uintptr_t)p;
    int64_t until = 0;
    for (uint32_t i = 1; atomic_load_explicit(&g->sinks, memory_order_acquire) != 0; i++) {
        if (sees_work(p)) {
            return true;
        }
        pel_host_pause();
        if (i % LOOKS_PER_CLOCK == 0) {
            const int64_t now = pel_clock_now(&pel_clock_monotonic);
            until = until == 0 ? now + LOOK_NS : until;
            if (now > until) {
                return false;
            }
        }
    }
    return false;
}

/* As many lanes as helpers: one that is on its way out gives its own back at once. */
static pel_graph_lane *claim_lane(const pel_graph_program *p) {
    for (uint32_t i = 0;; i++) {
        pel_graph_lane *lane = &p->lanes[i % p->lane_count];
        if (!atomic_load_explicit(&lane->taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&lane->taken, true, memory_order_acquire)) {
            return lane;
        }
        if (i % p->lane_count == p->lane_count - 1) {
            sched_yield();
        }
    }
}

/* Counts itself out first; what was pushed before that is found by looking once more, what comes after finds one helper less. */
static bool may_leave(pel_graph_program *p) {
    atomic_fetch_sub_explicit(&p->helpers, 1, memory_order_seq_cst);
    if (!sees_work(p)) {
        return true;
    }
    unsigned helpers = atomic_load_explicit(&p->helpers, memory_order_seq_cst);
    while (helpers < p->lane_count) {
        if (atomic_compare_exchange_weak_explicit(&p->helpers, &helpers, helpers + 1, memory_order_seq_cst,
                                                  memory_order_seq_cst)) {
            return false;
        }
    }
    return true; /* others came instead */
}

static pel_status help(void *context) {
    pel_graph_program *p = context;
    pel_host_runner *runner = pel_host_runner_current(p->runtime->dispatcher->tasks);
    pel_graph_lane *lane = claim_lane(p);
    pel_frame_top(p->runtime)->loop = true; /* like a loop's pieces: what steps submit is the queue's, and they cannot wait */
    do {
        do {
            for (uint32_t step = take(p, lane); step != PEL_GRAPH_NONE; step = take(p, lane)) {
                while (step != PEL_GRAPH_NONE) {
                    step = run(p, lane, runner, step);
                }
            }
        } while (look(p));
    } while (!may_leave(p));
    atomic_store_explicit(&lane->taken, false, memory_order_release);
    pel_frame_top(p->runtime)->loop = false;
    pel_graph_program_release(p);
    return PEL_OK;
}

static void clean(pel_graph_program *p) {
    for (uint32_t i = 0; i < p->step_count && p->soiled; i++) {
        atomic_store_explicit(&p->poisoned[i], 0, memory_order_relaxed);
    }
    p->soiled = false;
    atomic_store_explicit(&p->failing, false, memory_order_relaxed);
    atomic_store_explicit(&p->first_failure, UINT64_MAX, memory_order_relaxed);
}

pel_status pel_graph_steps_begin(pel_command *replay) {
    pel_graph_program *p = replay->graph->program;
    pel_host_self *self = &p->runtime->dispatcher->self;
    /* before anything is to be done: without one nobody would come */
    pel_node *node = take_invitation(p, self, replay->node->stage);
    if (!node) {
        return PEL_OUT_OF_MEMORY;
    }
    const uint64_t epoch = ((atomic_load_explicit(&p->head, memory_order_relaxed) >> 32) + 1) << 32;
    clean(p);
    replay->graph->replay = replay;
    atomic_store_explicit(&p->sinks, p->sink_count, memory_order_relaxed);
    atomic_store_explicit(&p->head, epoch, memory_order_release);
    atomic_store_explicit(&p->tail, epoch | p->root_count, memory_order_seq_cst);
    for (uint32_t i = 0; i < p->root_count && node; i++) {
        unsigned helpers = atomic_load_explicit(&p->helpers, memory_order_seq_cst);
        do { /* helpers of the replay before may be at it already */
        } while (helpers < p->lane_count && !atomic_compare_exchange_weak_explicit(&p->helpers, &helpers, helpers + 1,
                                                                                   memory_order_seq_cst, memory_order_seq_cst));
        if (helpers >= p->lane_count) {
            break;
        }
        send_invitation(p, NULL, self, node);
        node = i + 1 < p->root_count ? take_invitation(p, self, replay->node->stage) : NULL;
    }
    if (node) {
        pel_node_give(&p->runtime->dispatcher->pools, self, node);
    }
    return PEL_OK;
}
