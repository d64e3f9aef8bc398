/* SPDX-License-Identifier: BSD-3-Clause */
/* Launches of a graph that replay as one work: see graph_rows.c. Under the runtime's lock, unless it says otherwise. */
#ifndef PEL_QUEUE_GRAPH_ROWS_H
#define PEL_QUEUE_GRAPH_ROWS_H

#include "queue/graph.h"

/* Under the graph's guard, while no replay is under way. */
pel_status pel_graph_rows_prepare(pel_graph *graph); /* room for what replays leave behind */
void pel_graph_rows_forget(pel_graph *graph);        /* all of it */
void pel_graph_rows_replaced(pel_graph *graph, uint32_t number); /* the command is another one, with the same accesses */

void pel_graph_rows_drop(pel_graph *graph); /* the next replay goes command by command */
void pel_graph_rows_make(pel_graph *graph); /* of what one that did has left behind */

/* Whether the replay that begins goes by rows (graph->by_rows, graph->links); how many units it has: rows, and commands. */
uint32_t pel_graph_rows_begin(pel_graph *graph);
uint32_t pel_graph_row_end(const pel_graph *graph, uint32_t number); /* the first command behind the unit that begins there */

/* A part that runs as a command: its job is there, as it was built; and it is over, but its jobs are still there. */
void pel_graph_row_built(pel_command *part);
void pel_graph_row_ran(const pel_command *part);

bool pel_graph_in_row(const pel_command *part);      /* it is the head of one, which it runs */
bool pel_graph_row_fits(const pel_command *head);    /* all that its works name is there, and well. Also of other commands: yes */
/* Else its members become parts, those that are not done: nothing else of it has begun. True: `head` itself is done. */
bool pel_graph_row_look(pel_command *head);
void pel_graph_row_done(const pel_command *head, uint32_t member); /* of a row that broke: this one ended well */
bool pel_graph_row_decide(pel_command *head);        /* true: decided, or failed; false: it is in no row */
bool pel_graph_row_run(pel_command *head);           /* likewise: its job is there */
void pel_graph_row_over(const pel_command *head);    /* counts what ran */
uint32_t pel_graph_row_failed(const pel_command *head);   /* the number of the command that failed: a member's, or its own */
const char *pel_graph_row_name(const pel_command *command); /* its name; may be NULL. Also of commands of no graph */

/* The edges that count for a part, to numbers below `end`. */
typedef struct pel_graph_links {
    const pel_graph_edges *edges;
    uint32_t end;
} pel_graph_links;
pel_graph_links pel_graph_links_of(const pel_command *part);
/* A member of a scattered row is over. True: it was the last one; *head: of which row. */
bool pel_graph_row_leave(const pel_command *part, uint32_t *head);

#endif
