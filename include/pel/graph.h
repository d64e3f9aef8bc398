/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Graphs: a stretch of commands that is recorded once and replayed many times. What the commands wait for among each other is
 * found out once; a replay is one command of a queue, with one set of accesses (those of the whole graph) and one event, and
 * costs a small fraction of submitting its commands.
 *
 *     pel_graph_create(runtime, &graph, &error);
 *     pel_graph_record(graph, queue);
 *     pel_task(queue, ...); pel_launch(queue, ...); pel_copy(queue, ...);      recorded, not run
 *     pel_graph_end(graph);
 *     for (...) pel_graph_replay(graph, queue, NULL, NULL);
 *
 * Launches, tasks, loops, copies (also rectangular), fills, reads, writes, markers and barriers can be recorded (launches with
 * PEL_PROTECT_ISOLATE cannot); others are UNSUPPORTED while a recording lasts. A recorded task may submit commands, which are the
 * queue's own and not waited for by the replay, but not wait. Buffers and kernels that were recorded are held until the graph
 * goes. Replays of one graph run one after the other. Any thread.
 */
#ifndef PEL_GRAPH_H
#define PEL_GRAPH_H

#include <pel/event.h>
#include <pel/export.h>
#include <pel/queue.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_graph pel_graph;

/* An empty graph, the caller's (pel_graph_destroy). Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, AFTER_FORK. */
PEL_API PEL_MUST_CHECK pel_status pel_graph_create(pel_runtime *runtime, pel_graph **graph, pel_error **error);

/* Ends a recording that is under way. BUSY: replays are not finished, and it stays. NULL: OK. AFTER_FORK. Does not wait. */
PEL_API pel_status pel_graph_destroy(pel_graph *graph);

/*
 * From now on whatever any thread submits to the queue is appended to the graph instead of being run, until pel_graph_end. An
 * event that such a call yields stands for the recorded command: it may be waited for by later commands of the same graph, and is
 * nothing else. To all others it is the event of a command that was not run: complete from the start, status INVALID_ARGUMENT,
 * with an error that says so, whether the graph has been replayed or not; a command outside of the graph that waits for it ends
 * as DEPENDENCY_FAILED, a callback is called. What a replay has done is told by the replay's own event. Events of other commands
 * cannot be waited for in a recording: let the replay wait. CONFLICT: the queue records, or the graph is being recorded; BUSY:
 * replays are not finished.
 */
PEL_API PEL_MUST_CHECK pel_status pel_graph_record(pel_graph *graph, pel_queue *queue);

/*
 * The next command that is submitted to the queue takes the place of the recorded command `index` (they count from 0 in the order
 * of recording), and ends the recording: new arguments, buffers, sizes, or another command altogether. Commands that waited for
 * its event still do. When it accesses the same bytes as before, nothing is found out anew; otherwise the next replay analyses
 * the graph again. Errors as pel_graph_record; NOT_FOUND: no such command.
 */
PEL_API PEL_MUST_CHECK pel_status pel_graph_replace(pel_graph *graph, pel_queue *queue, uint32_t index);

/* Ends the recording. OK also when none is under way; INVALID_ARGUMENT: NULL. */
PEL_API pel_status pel_graph_end(pel_graph *graph);

/* How many commands have been recorded; 0 for NULL. Does not wait. */
PEL_API uint32_t pel_graph_size(pel_graph *graph);

/*
 * Submits the whole graph to a queue of the same runtime: it begins when its accesses and the waits of `desc` allow, and
 * completes when all its commands have. The replay fails with the first failure in the order of recording; inside, a failure
 * spreads as between single commands and the rest runs. What a failed replay should have written is undefined as a whole. The
 * name and waits of `desc` count, its priority does not. INVALID_ARGUMENT: nothing has been recorded; CONFLICT: the graph is
 * being recorded. Other errors as for submitting functions.
 */
PEL_API PEL_MUST_CHECK pel_status pel_graph_replay(pel_graph *graph, pel_queue *queue, const pel_task_desc *desc,
                                                   pel_event **event);

/*
 * How the graph is placed over several devices: launches by earliest finish time (HEFT), over the whole graph, from what the cost
 * models expect of each launch on each device and what moving its bytes costs. The first replays go command by command, until the
 * models know the devices. A plan is followed only where it is predicted to be faster than that, and given up if it is measured
 * not to be; it is made anew when launches take other times than expected, and every 64 replays. Launches with fixed shares keep
 * them; a launch whose device is not usable any more is planned alone. An owned snapshot: nothing changes it, it outlives graph
 * and runtime.
 */
typedef struct pel_graph_plan pel_graph_plan;

typedef struct pel_graph_place {
    uint32_t command;      /* as recorded */
    uint32_t turn;         /* in the order of begin */
    const char *name;      /* of the command, "" for none; owned by the plan, as the following */
    const char *devices;   /* "gpu0"; "gpu0 + gpu1": divided, by a plan of its own; "": the host, beside everything else */
    double begin_ns, end_ns; /* from the begin of the replay, as predicted */
    double rank_ns;        /* upward rank: from its begin to the end of the graph, in the mean over devices */
    double actual_ns;      /* what it took in the latest replay, without transfers; 0: not known */
} pel_graph_place;

typedef struct pel_graph_times {
    uint32_t followed;     /* 1: replays are placed so; 0: command by command, and pel_graph_plan_text says why */
    uint32_t replays;      /* that have succeeded since the graph was analysed */
    double predicted_ns;   /* makespan of the plan */
    double in_order_ns;    /* what command by command would take by the same models */
    double actual_ns;      /* of the latest replay */
    double in_order_actual_ns; /* least of the replays that went command by command; 0: none since times have changed */
} pel_graph_times;

/* A copy of the plan for replays. NOT_FOUND: there is none (yet): too few replays, unknown devices, one device only, more than
 * 63, or host commands only. OUT_OF_MEMORY. Any thread. */
PEL_API PEL_MUST_CHECK pel_status pel_graph_get_plan(pel_graph *graph, pel_graph_plan **plan);
/* By command: pel_graph_plan_size is their number. NOT_FOUND beyond. NULL plans: 0, NOT_FOUND, "". */
PEL_API uint32_t pel_graph_plan_size(const pel_graph_plan *plan);
PEL_API pel_status pel_graph_plan_get_place(const pel_graph_plan *plan, uint32_t command, pel_graph_place *place);
PEL_API pel_status pel_graph_plan_get_times(const pel_graph_plan *plan, pel_graph_times *times);
/* All of it in words, a line a command; owned by the plan. */
PEL_API const char *pel_graph_plan_text(const pel_graph_plan *plan);
PEL_API void pel_graph_plan_destroy(pel_graph_plan *plan); /* any thread, when no other reads it; NULL is allowed */

PEL_END_DECLS
#endif
