/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of pel_checkpoint: what reading (checkpoint.c) and writing (checkpoint_write.c) share, and tests that replace the
 * file operations. */
#ifndef PEL_RESILIENCE_CHECKPOINT_H
#define PEL_RESILIENCE_CHECKPOINT_H

#include "queue/command.h"
#include "resilience/checkpoint_file.h"
#include "resilience/file_io.h"
#include <pel/checkpoint.h>

enum { PEL_CHECKPOINT_GENERATIONS = 2, PEL_CHECKPOINT_NO_SLOT = -1 };

typedef struct pel_checkpoint_finished_chunk {
    uint64_t task, lo, hi;
} pel_checkpoint_finished_chunk;

struct pel_checkpoint {
    pel_runtime *runtime;
    pel_file_io io;
    pel_checkpoint_env env;
    uint32_t flags;
    int lock;
    char *paths[PEL_CHECKPOINT_GENERATIONS], *journals[PEL_CHECKPOINT_GENERATIONS], *temporary, *lock_path;
    uint64_t generations[PEL_CHECKPOINT_GENERATIONS]; /* by their headers; 0: none */
    int newest;                        /* the slot that this object wrote or read; PEL_CHECKPOINT_NO_SLOT: neither */
    pel_checkpoint_header header;      /* of that slot: its parts' names and sizes */
    int journal;                       /* file; -1: not begun */
    uint64_t records, journal_end;     /* in the journal; where its last whole record ends */
    pel_checkpoint_finished_chunk *finished;
    uint64_t finished_count, finished_capacity;
    double cost;                       /* seconds, smoothed */
    struct pel_checkpoint_flight *flight; /* begun and not waited for yet; NULL: none */
};

/* What a task is to do with the buffers' bytes, and how it went: a task's own status cannot carry a story. */
typedef struct pel_checkpoint_job {
    pel_checkpoint *c;
    const pel_checkpoint_item *items;
    uint32_t count;
    uint64_t step;
    const pel_checkpoint_chunk *chunk;
    pel_checkpoint_state *state;
    pel_status status;
    pel_error *error;
} pel_checkpoint_job;

/* Like pel_checkpoint_open, with other file operations (copied). */
pel_status pel_checkpoint_open_with(pel_runtime *runtime, const pel_checkpoint_desc *desc, const pel_file_io *io,
                                    pel_checkpoint **checkpoint, pel_error **error);

/* What every call begins with: right arguments, this process, not inside a task, nothing under way. */
pel_status pel_checkpoint_enter(pel_checkpoint *c, const pel_queue *queue, const char *call, pel_error **error);

/* Submits the task and waits for it; the job's status and error become the caller's. */
pel_status pel_checkpoint_run(pel_queue *queue, pel_task_fn function, pel_checkpoint_job *j, const pel_access *accesses,
                              uint32_t count, const char *name, pel_error **error);

/* The accesses of all items, and their parts of a file; owned by the caller, also after a failure. */
pel_status pel_checkpoint_describe(pel_checkpoint *c, const pel_checkpoint_item *items, uint32_t count, pel_access_mode mode,
                                   pel_access **accesses, pel_checkpoint_part **parts, pel_error **error);
void pel_checkpoint_free_items(pel_checkpoint *c, pel_access *accesses, pel_checkpoint_part *parts);

void pel_checkpoint_forget_newest(pel_checkpoint *c);

#endif
