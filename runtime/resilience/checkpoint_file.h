/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One checkpoint file: written whole, read whole, every byte under a checksum. See docs/design/resilience.md for the layout.
 *
 * Fields are little-endian; the header says in which byte order the *data* is. A reader believes no number that it has not
 * checked against the size of the file, and never asks for more memory than a block and the directory, both limited below.
 */
#ifndef PEL_RESILIENCE_CHECKPOINT_FILE_H
#define PEL_RESILIENCE_CHECKPOINT_FILE_H

#include "resilience/file_io.h"
#include <pel/runtime.h>
#include <pel/status.h>
#include <stdbool.h>

enum {
    PEL_CHECKPOINT_VERSION = 1,
    PEL_CHECKPOINT_BLOCK = 1 << 20, /* bytes of data in one block */
    PEL_CHECKPOINT_LARGEST_BLOCK = 1 << 24,
    PEL_CHECKPOINT_ITEMS = 4096,
    PEL_CHECKPOINT_NAME = 255 /* bytes of a name */
};

typedef struct pel_checkpoint_part {
    const char *name; /* when read: owned by the header */
    uint64_t bytes;
    void *data; /* when read: where to put it; NULL: checked only */
} pel_checkpoint_part;

typedef struct pel_checkpoint_header {
    uint64_t generation, step, saved_at; /* seconds since 1970 */
    uint64_t total_bytes;                /* of data */
    uint64_t file_bytes;                 /* of the whole file; read only */
    uint32_t part_count, block_bytes, blocks;
    bool compressed; /* some block is; known after the blocks were read */
    bool foreign;    /* the data has the other byte order */
    pel_checkpoint_part *parts;
    char *names; /* storage of the names */
} pel_checkpoint_header;

/* Where messages and memory go. */
typedef struct pel_checkpoint_env {
    const pel_allocator *allocator;
    const pel_file_io *io;
} pel_checkpoint_env;

/*
 * Writes a file at its final place: temporary, sync, rename, sync of the directory. After a failure the file that was there
 * before is there still, and no temporary.
 */
pel_status pel_checkpoint_save(const pel_checkpoint_env *env, const char *path, const char *temporary,
                               const pel_checkpoint_part *parts, uint32_t count, uint64_t generation, uint64_t step,
                               bool compress, pel_error **error);

/*
 * Opens a file and reads header and directory. NOT_FOUND: there is no file. IO: it is damaged, or cannot be read. UNSUPPORTED: of
 * a later version. On success `*file` is open behind the directory, and the header is to be freed.
 */
pel_status pel_checkpoint_load_header(const pel_checkpoint_env *env, const char *path, pel_checkpoint_header *header, int *file,
                                      pel_error **error);
void pel_checkpoint_free_header(const pel_checkpoint_env *env, pel_checkpoint_header *header);

/* Reads and checks the rest into parts[].data. Data may have been written there when it fails. Closes nothing. */
pel_status pel_checkpoint_load_parts(const pel_checkpoint_env *env, const char *path, pel_checkpoint_header *header, int file,
                                     pel_error **error);

/* ---- the journal of finished chunks beside a file ---- */

enum { PEL_CHECKPOINT_JOURNAL_HEADER = 24, PEL_CHECKPOINT_JOURNAL_FRAME = 64 };

typedef struct pel_checkpoint_record {
    uint64_t task, lo, hi; /* items [lo, hi) of a task of the program's are finished */
    uint32_t part;         /* whose bytes follow; UINT32_MAX: none */
    uint64_t offset, bytes;
} pel_checkpoint_record;

/* Starts an empty journal for a generation; *file is open at its end, byte PEL_CHECKPOINT_JOURNAL_HEADER. */
pel_status pel_checkpoint_journal_start(const pel_checkpoint_env *env, const char *path, uint64_t generation, int *file,
                                        pel_error **error);
pel_status pel_checkpoint_journal_append(const pel_checkpoint_env *env, const char *path, int file, uint64_t generation,
                                         uint64_t number, const pel_checkpoint_record *record, const void *data,
                                         pel_error **error);

/* Called for each whole record in order; not OK ends the reading with that status. */
typedef pel_status (*pel_checkpoint_visit)(void *user, const pel_checkpoint_record *record, const void *data);

/*
 * Reads a journal. One of another generation, or none, has no records. What stands behind the last whole record (a torn one) is
 * ignored, and cut off where `keep` is not NULL: then *keep is the file, open for appending at byte *end (-1: there is no journal
 * of this generation).
 */
pel_status pel_checkpoint_journal_read(const pel_checkpoint_env *env, const char *path, uint64_t generation,
                                       const pel_checkpoint_header *header, pel_checkpoint_visit visit, void *user,
                                       uint64_t *records, uint64_t *end, int *keep, pel_error **error);

#endif
