/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Planning a graph as a whole: which device takes which launch of a replay, and in which order (planner/schedule.h), from what
 * the models expect of each launch on each device, the links, and where bytes are when the replay begins.
 *
 * The first replays go command by command, which is how devices become known and what a plan must beat: by the models before it
 * is followed, and as measured afterwards, else it is given up. A plan is made again when launches take other times than
 * expected, and now and then because devices that it leaves out may have become better. All under the runtime's lock. Rejected:
 * planning when the graph is analysed (nothing is known then), and moving launches that run.
 */
#ifndef PEL_QUEUE_GRAPH_PLAN_H
#define PEL_QUEUE_GRAPH_PLAN_H

#include "planner/schedule.h"
#include "queue/graph.h"

typedef struct pel_graph_prospect {
    uint32_t way, turn;
    uint64_t devices;           /* 0: the host, beside everything else */
    double begin_ns, end_ns, ns, rank_ns; /* ns: of the launch alone */
    double took_ns;             /* in the replay before; 0: none */
} pel_graph_prospect;

typedef struct pel_graph_outlook {
    uint32_t replays;           /* that have succeeded since the graph was analysed */
    uint32_t next;              /* after so many it is planned again */
    uint32_t pause;             /* between two plans that were made because the times were wrong */
    bool made, followed, slower; /* there is a plan; the replay under way follows it; it took longer than command by command */
    pel_schedule_kind kind;
    double predicted_ns, in_order_ns;   /* by the models */
    double actual_ns;                   /* of the replay before */
    /* the least of those that went command by command, and of those that followed this plan; 0: none yet */
    double in_order_seen_ns, seen_ns;
    uint32_t seen;
    double expected_ns, misfit_ns;      /* of launches of the replay under way: sums */
    int64_t began;
    pel_graph_prospect *commands;
} pel_graph_outlook;

/* Without the lock, under the graph's guard and while no replay is under way. */
pel_status pel_graph_outlook_make(pel_graph *graph);
void pel_graph_outlook_free(pel_graph *graph);
void pel_graph_outlook_forget(pel_graph *graph); /* the commands are others now */

void pel_graph_plan_begin(pel_graph *graph);
uint32_t pel_graph_plan_turn(const pel_graph *graph, uint32_t command);
bool pel_graph_plan_is_followed(const pel_command *replay);
/* Puts the launch where the plan says. False: nowhere, or it cannot be; then it is planned alone. */
bool pel_graph_plan_take(pel_command *part);
void pel_graph_plan_part_over(const pel_command *part); /* while its works are there */
void pel_graph_plan_over(const pel_command *replay);

#endif
