/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoint and restart: the contents of named buffers and how far the program is, in files that survive being killed at any
 * moment.
 *
 * A checkpoint has a path. Beside it lie two generations, PATH.0 and PATH.1, and each one's journal, PATH.0.log and PATH.1.log.
 * pel_checkpoint_write replaces the older generation; pel_checkpoint_note adds to the journal of the newest: a chunk that is
 * finished, with the bytes that it wrote. Whatever happens in between, pel_checkpoint_read finds the newest state that is whole:
 * every byte is under a checksum, and nothing damaged is ever accepted. A pel_checkpoint is used by one thread at a time and
 * closed before its runtime is destroyed; buffers stay the caller's. Getters do not block. A file may be read on another machine
 * with other devices, but not on one with the other byte order.
 */
#ifndef PEL_CHECKPOINT_H
#define PEL_CHECKPOINT_H

#include <pel/buffer.h>
#include <pel/export.h>
#include <pel/queue.h>
#include <pel/runtime.h>
#include <pel/status.h>
#include <stddef.h>
#include <stdint.h>

PEL_BEGIN_DECLS

typedef struct pel_checkpoint pel_checkpoint;

enum {
    PEL_CHECKPOINT_COMPRESS = 1u << 0 /* with zstd, where the build has it (else UNSUPPORTED) */
};

typedef struct pel_checkpoint_desc {
    size_t size;       /* sizeof(pel_checkpoint_desc); 0: the layout of the first release */
    const char *path;  /* copied; its directory must exist */
    uint32_t flags;    /* PEL_CHECKPOINT_* */
    uint32_t reserved;
} pel_checkpoint_desc;
#define PEL_CHECKPOINT_DESC_INIT {sizeof(pel_checkpoint_desc), NULL, 0, 0}

/* A buffer under the name by which it is found again; 1 to 255 bytes, no two alike. */
typedef struct pel_checkpoint_item {
    const char *name;
    pel_buffer *buffer;
} pel_checkpoint_item;

/*
 * Opens a checkpoint, which need not exist yet. One process at a time: BUSY while another one has it open (a lock on PATH.lock,
 * which goes with the process). Errors: INVALID_ARGUMENT, IO, BUSY, UNSUPPORTED, OUT_OF_MEMORY, AFTER_FORK.
 */
PEL_API PEL_MUST_CHECK pel_status pel_checkpoint_open(pel_runtime *runtime, const pel_checkpoint_desc *desc,
                                                      pel_checkpoint **checkpoint, pel_error **error);

/* Closes it, after what is under way; the files stay. A failure that was not waited for goes to the log. NULL is allowed. */
PEL_API void pel_checkpoint_close(pel_checkpoint *checkpoint);

/*
 * Writes a new generation: the items as they are when everything submitted to the queue before is done, and `step`, a number of
 * the program's own. Later commands that write to the items wait meanwhile. Returns when the file is on the disk. On failure the
 * generations before are untouched. Sensitive buffers (PEL_BUFFER_SENSITIVE) are refused, UNSUPPORTED, here and as chunks: no
 * file holds their contents. Blocks; from one thread at a time; not from inside a task. Errors: INVALID_ARGUMENT, IO,
 * UNSUPPORTED, OUT_OF_MEMORY, WOULD_DEADLOCK, and those of the commands that should have written the items.
 */
PEL_API PEL_MUST_CHECK pel_status pel_checkpoint_write(pel_checkpoint *checkpoint, pel_queue *queue,
                                                       const pel_checkpoint_item *items, uint32_t count, uint64_t step,
                                                       pel_error **error);

/*
 * The same while the queue goes on: a task of the queue copies the items when everything submitted before is done, and a thread
 * of its own writes the copy to the disk. Later commands wait for the copying only; `items` is the caller's again at once. Needs
 * memory for one copy. pel_checkpoint_wait tells how it went; every other call of this checkpoint waits for it first, and returns
 * its error, doing nothing else, if it failed. Blocks only for a checkpoint begun before. Errors: those of pel_checkpoint_write.
 */
PEL_API PEL_MUST_CHECK pel_status pel_checkpoint_begin(pel_checkpoint *checkpoint, pel_queue *queue,
                                                       const pel_checkpoint_item *items, uint32_t count, uint64_t step,
                                                       pel_error **error);

/* Waits until the checkpoint that was begun is on the disk; OK also when none is under way. Errors: those of
 * pel_checkpoint_write. */
PEL_API PEL_MUST_CHECK pel_status pel_checkpoint_wait(pel_checkpoint *checkpoint, pel_error **error);

/* Whether a checkpoint is under way that pel_checkpoint_wait would block for. */
PEL_API int pel_checkpoint_pending(const pel_checkpoint *checkpoint);

/* A finished piece of work: items [lo, hi) of a task of the program's own numbering, which wrote [offset, offset + bytes) of
 * an item (bytes 0: nothing). */
typedef struct pel_checkpoint_chunk {
    uint64_t task, lo, hi;
    const char *item;       /* its name in the newest generation; NULL: nothing was written */
    pel_buffer *buffer;
    uint64_t offset, bytes;
} pel_checkpoint_chunk;

/*
 * Adds a finished chunk to the journal of the newest generation, which this pel_checkpoint must have written or read. Returns
 * when it is on the disk. Ordered and blocking like pel_checkpoint_write. A failure leaves what was noted before.
 */
PEL_API PEL_MUST_CHECK pel_status pel_checkpoint_note(pel_checkpoint *checkpoint, pel_queue *queue,
                                                      const pel_checkpoint_chunk *chunk, pel_error **error);

typedef struct pel_checkpoint_state {
    uint64_t generation, step, chunks; /* chunks: how many were noted after it */
} pel_checkpoint_state;

/*
 * Reads the newest whole generation into the items, which must be in it with the same sizes (other parts of the file are passed
 * over), then the chunks of its journal. NOT_FOUND: there is none. When the newest generation is damaged, the one before is read
 * and a warning logged; IO: none is whole. On failure the items' contents are undefined. Blocks; not from inside a task.
 */
PEL_API PEL_MUST_CHECK pel_status pel_checkpoint_read(pel_checkpoint *checkpoint, pel_queue *queue,
                                                      const pel_checkpoint_item *items, uint32_t count,
                                                      pel_checkpoint_state *state, pel_error **error);

/* Chunk `index` of those that the last read found, in the order in which they were noted. False beyond the last. */
PEL_API int pel_checkpoint_finished(const pel_checkpoint *checkpoint, uint64_t index, uint64_t *task, uint64_t *lo, uint64_t *hi);

/*
 * How often to write. From the time that a checkpoint takes and the mean time between failures, both in seconds: Daly's
 * higher-order optimum (J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", FGCS 22,
 * 2006), which for cheap checkpoints is Young's sqrt(2 cost mtbf) (CACM 17, 1974).
 */
typedef struct pel_checkpoint_advice {
    double cost_s;      /* of one checkpoint */
    double interval_s;  /* of work between the end of one and the begin of the next */
    double overhead;    /* share of the time that goes into checkpoints, without failures */
    double loss;        /* share of the time lost in all: checkpoints, repeated work, restarts */
} pel_checkpoint_advice;

/* False: cost or mtbf is not a positive finite number. A restart is taken to cost what a checkpoint costs. */
PEL_API int pel_checkpoint_advise(double cost_s, double mtbf_s, pel_checkpoint_advice *advice);

/*
 * What a checkpoint has cost so far, smoothed, in seconds, for pel_checkpoint_advise; 0: none yet. Of pel_checkpoint_write the
 * whole time; of pel_checkpoint_begin what somebody may have waited: beginning, copying, and pel_checkpoint_wait or the next
 * call.
 */
PEL_API double pel_checkpoint_cost(const pel_checkpoint *checkpoint);

PEL_END_DECLS
#endif
