/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs inside. A recorded command is a pel_command that was made as always and stopped on its way into the queue. Its accesses
 * go through hazards of the graph's own, once, with every command "under way", so that edges are those that the queue would have
 * found; and through a map of what is written and what is read before it is written, which is the whole graph's footprint.
 *
 * A replay is a command of kind GRAPH with that footprint. A graph of host commands alone becomes *steps* (graph_steps.c): a
 * tight loop in which host workers take each other's steps without the dispatcher. With launches, or on a virtual machine, the
 * recorded commands themselves go through the dispatcher's state machine (graph_parts.c), with the edges that are known.
 *
 * Rejected: replaying by submission of cached commands (the hazards' map alone costs 100 ns a task), and updating arguments at
 * the replay (every replay under way would need its own copy of what may change).
 */
#ifndef PEL_QUEUE_GRAPH_H
#define PEL_QUEUE_GRAPH_H

#include "backend/host/deque.h"
#include "queue/command.h"
#include <pel/graph.h>

#define PEL_GRAPH_NONE UINT32_MAX

typedef struct pel_recorded {
    pel_command *command;      /* never submitted itself */
    uint32_t *waits;           /* recorded commands */
    uint32_t wait_count;
} pel_recorded;

/* Edges in the order of where they begin: those of `i` are list[first[i]] to list[first[i + 1] - 1]. */
enum { PEL_GRAPH_DATA = 1 }; /* an entry: the successor's number times two, and this when its predecessor's failure is its own */
typedef struct pel_graph_edges {
    uint32_t *first, *list;
    uint32_t *predecessors;    /* how many, by successor */
    uint32_t count;            /* of edges */
} pel_graph_edges;

/* 32 bytes: what the replay of a step touches. */
typedef struct pel_graph_step {
    pel_task_fn task;          /* NULL: only an order */
    void *context;
    uint32_t first, count;     /* successors */
    atomic_uint pending;       /* of those with several predecessors: set back by whoever runs it */
    uint32_t predecessors;
} pel_graph_step;

/* A piece of a loop. */
typedef struct pel_graph_piece {
    pel_loop_fn loop;
    void *context;
    uint64_t begin, end;
} pel_graph_piece;

typedef struct pel_graph_lane {
    pel_host_deque deque;      /* of steps' numbers + 1 */
    _Alignas(64) atomic_bool taken;
} pel_graph_lane;

/* What helpers know: it stays while one of them does, though the graph may be gone or have another one by then. */
typedef struct pel_graph_program {
    pel_graph *graph;          /* meaningful while a replay runs */
    pel_runtime *runtime;
    pel_graph_step *steps;
    uint32_t step_count, root_count, sink_count;
    uint32_t *successors;      /* as in pel_graph_edges */
    uint32_t *ready;           /* roots, then what did not fit into a lane's deque */
    uint32_t *command_of;      /* by step */
    uint32_t *first_step, *last_step; /* by command */
    pel_graph_piece *pieces;
    atomic_uchar *poisoned;    /* by step: what it reads failed */
    pel_graph_lane *lanes;
    uint32_t lane_count;
    bool soiled;               /* the replay before failed */
    void *block, *lanes_block; /* as allocated */
    pthread_mutex_t overflow;

    _Alignas(64) _Atomic uint64_t head; /* epoch in the upper half, place in `ready` below */
    _Alignas(64) _Atomic uint64_t tail; /* likewise; appended under `overflow` */
    _Alignas(64) atomic_uint sinks;     /* that have not ended */
    _Alignas(64) atomic_uint helpers;   /* invited or at work */
    _Alignas(64) atomic_bool failing;
    _Atomic uint64_t first_failure;     /* command in the upper half, status below; UINT64_MAX: none */
    atomic_uint references;             /* the graph, and helpers that were invited and have not left */
} pel_graph_program;

struct pel_graph {
    pel_runtime *runtime;
    uint64_t id;
    pthread_mutex_t guard;     /* over recording, analysing, submitting; taken before runtime->lock */

    /* Under the guard. */
    pel_queue *recording;
    uint32_t replaced;         /* the command whose place the next one takes; PEL_GRAPH_NONE: append */
    pel_recorded *commands;
    uint32_t count, capacity;
    bool analysed;
    bool host_only;            /* as steps */
    pel_graph_edges edges;
    pel_uses footprint;        /* allocations are held by the commands */
    pel_graph_program *program;

    /* Under runtime->lock. */
    pel_event *last;           /* of the replay submitted last, retained */
    uint32_t unfinished;       /* replays */
    pel_command *replay;       /* the one that runs */
    uint32_t *waiting;         /* graph_parts.c: predecessors that are not over, by command */
    uint32_t parts_left, failed_part;
    struct pel_graph_kept *kept;       /* graph_rows.c, as what follows; NULL: there is nothing to gain */
    uint32_t kept_count;
    struct pel_graph_rows *rows;       /* NULL: none */
    bool by_rows;                      /* the replay under way goes so */
    const pel_graph_edges *links;      /* between its units */
    struct pel_graph_outlook *outlook; /* graph_plan.h; NULL: there is nothing to choose */
};

/* graph.c */
pel_status pel_graph_take(pel_graph *graph, pel_command *command, const pel_event *const *waits, uint32_t wait_count,
                          pel_event **event);
pel_status pel_graph_follow_last(pel_command *replay); /* under the lock */
void pel_graph_submitted(pel_command *replay);         /* likewise */
void pel_graph_replay_ends(pel_command *replay);       /* likewise */

/* graph_edges.c. OUT_OF_MEMORY: as before. */
pel_status pel_graph_analyse(pel_graph *graph);
void pel_graph_edges_free(const pel_allocator *allocator, pel_graph_edges *edges);

/* graph_steps.c */
pel_status pel_graph_program_build(pel_graph *graph);
void pel_graph_program_release(pel_graph_program *program);         /* NULL: nothing */
void pel_graph_program_refresh(pel_graph *graph, uint32_t command); /* the same accesses, another function or context */
pel_status pel_graph_steps_begin(pel_command *replay);              /* under the lock */

/* graph_parts.c, under the lock */
pel_status pel_graph_parts_begin(pel_command *replay);
/* all parts that come after it */
void pel_graph_part_visit(const pel_command *part, void (*visit)(pel_command *after, void *user), void *user);
void pel_graph_part_over(pel_command *part);
bool pel_graph_part_join(pel_command *part, pel_command *replay, uint32_t number); /* false: no memory, nothing has happened */
void pel_graph_part_renew(pel_command *part); /* as it was recorded */

#endif
